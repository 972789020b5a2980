#!/usr/bin/env python3
"""me2-preprocess medarc against h5py + zarr-python doing the same, on a made-up release.

    tests/bench/medarc.py [--sessions 36] [--trials 750] [--voxels 15724] [--folder DIR] [--tool build/bin/me2-preprocess] [--rounds 3]

The defaults are 27,000 x 15,724 float32 (1.7 GB in, 1.7 GB out, twice). Both read the tars and the HDF5 file, keep train and test
trials, and write betas as Zarr v3 in shards of the same shape; the peer runs in its own process. Prints a table: best wall time of
the rounds, peak resident memory, ratio. Needs numpy, h5py, zarr 3.
"""
import argparse, io, os, resource, shutil, subprocess, sys, tarfile, time
import numpy as np


def make(folder, sessions, trials, voxels):
    import h5py
    rng = np.random.default_rng(1)
    n = sessions * trials
    images = rng.permutation(np.repeat(np.arange(n // 3 + 1), 3)[:n])
    shared = np.zeros(n // 3 + 1, bool)
    shared[rng.choice(shared.size, max(1, shared.size // 10), replace=False)] = True
    os.makedirs(folder, exist_ok=True)
    with h5py.File(f"{folder}/betas_all_subj01_fp32_renorm.hdf5", "w") as f:
        d = f.create_dataset("betas", (n, voxels), "f4")
        for s in range(0, n, 500):
            d[s:s + 500] = rng.standard_normal((min(500, n - s), voxels), dtype="f4")
    with h5py.File(f"{folder}/COCO_73k_subj_indices.hdf5", "w") as f:
        f["subj01"] = images.astype("i8")
    np.save(f"{folder}/shared1000.npy", shared)
    behav = np.zeros((n, 17))
    behav[:, 0], behav[:, 1], behav[:, 5] = images, 1, np.arange(n)
    behav[:, 2] = np.arange(n) // trials + 1
    behav[:, 3] = np.arange(n) % trials // 63 + 1
    behav[:, 16] = shared[images]

    def add(tar, key, t):
        s = behav[t, 2]
        past = [k for k in range(t - 1, t - 16, -1) if k >= 0 and behav[k, 2] == s]
        future = [k for k in range(t + 1, t + 16) if k < n and behav[k, 2] == s]
        for field, rows, size in (("behav", [t], 1), ("future_behav", future, 15), ("olds_behav", [], 3), ("past_behav", past, 15)):
            a = np.full((size, 17), -1.0)
            a[:len(rows)] = behav[rows]
            b = io.BytesIO()
            np.save(b, a)
            info = tarfile.TarInfo(f"sample{key:09d}.{field}.npy")
            info.size = b.getbuffer().nbytes
            b.seek(0)
            tar.addfile(info, b)

    key = 0
    for split in ("train", "new_test"):
        os.makedirs(f"{folder}/wds/subj01/{split}")
    for s in range(sessions):
        with tarfile.open(f"{folder}/wds/subj01/train/{s}.tar", "w") as tar:
            for t in range(s * trials, (s + 1) * trials):
                if not shared[images[t]]:
                    add(tar, key, t)
                    key += 1
    with tarfile.open(f"{folder}/wds/subj01/new_test/0.tar", "w") as tar:
        for key, t in enumerate(np.flatnonzero(shared[images])):
            add(tar, key, t)


def peer(release, out):
    import glob, h5py, zarr
    rows = {}
    for split, pattern in ((0, "train"), (1, "new_test")):
        for path in glob.glob(f"{release}/wds/subj01/{pattern}/*.tar"):
            with tarfile.open(path) as tar:
                for m in tar:
                    if m.name.split(".", 1)[1] == "behav.npy":
                        b = np.load(io.BytesIO(tar.extractfile(m).read()))[0]
                        rows[int(b[5])] = (split, b)
    order = sorted(rows)
    with h5py.File(f"{release}/betas_all_subj01_fp32_renorm.hdf5") as f:
        betas = f["betas"]
        g = zarr.open_group(out, mode="w")
        width = betas.shape[1]
        small = max(1, (256 << 10) // (4 * width))
        shard = max(1, (64 << 20) // (4 * width)) // small * small
        shard = min(shard, max(small, len(order) // small * small))
        z = g.create_array("betas", shape=(len(order), width), chunks=(small, width), shards=(shard, width), dtype="f4", compressors=None)
        for i in range(0, len(order), shard):
            part = order[i:i + shard]
            z[i:i + shard] = betas[part[0]:part[-1] + 1][np.array(part) - part[0]]
        for name, column in (("stimulus", 0), ("session", 2), ("run", 3)):
            g.create_array(name, data=np.array([rows[t][1][column] for t in order], "i4"))
        g.create_array("split", data=np.array([rows[t][0] for t in order], "i1"))
        g.create_array("behaviour", data=np.array([rows[t][1] for t in order], "f4"))


def measure(command):
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"failed: {' '.join(command)}")
    return seconds, usage.ru_maxrss / 1024


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--sessions", type=int, default=36)
    p.add_argument("--trials", type=int, default=750)
    p.add_argument("--voxels", type=int, default=15724)
    p.add_argument("--folder", default="medarc-bench")
    p.add_argument("--tool", default="build/bin/me2-preprocess")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.peer:
        peer(*a.peer)
        sys.exit()
    release = f"{a.folder}/release"
    if not os.path.exists(f"{release}/wds/subj01/new_test/0.tar"):
        shutil.rmtree(release, ignore_errors=True)
        make(release, a.sessions, a.trials, a.voxels)
    best = {"me2": (1e9, 0), "h5py + zarr-python": (1e9, 0)}
    for _ in range(a.rounds):
        for name, command in (("me2", [a.tool, "medarc", release, f"{a.folder}/me2.zarr", "--subject", "1", "--overwrite", "-q"]),
                              ("h5py + zarr-python", [sys.executable, __file__, "--peer", release, f"{a.folder}/peer.zarr"])):
            seconds, mib = measure(command)
            best[name] = (min(best[name][0], seconds), max(best[name][1], mib))
    import zarr
    x, y = zarr.open_group(f"{a.folder}/me2.zarr", mode="r")["betas"], zarr.open_group(f"{a.folder}/peer.zarr", mode="r")["betas"]
    rows = np.linspace(0, x.shape[0] - 1, 20).astype(int)
    assert x.shape == y.shape and all(np.array_equal(x[r], y[r]) for r in rows), "the two stores differ"
    print(f"medarc, {a.sessions * a.trials} x {a.voxels} float32")
    print(f"{'program':<20} {'seconds':>8} {'peak MiB':>9} {'ratio':>6}")
    for name, (seconds, mib) in best.items():
        print(f"{name:<20} {seconds:8.2f} {mib:9.0f} {best['h5py + zarr-python'][0] / seconds:6.2f}")
