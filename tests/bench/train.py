#!/usr/bin/env python3
"""Ridge fit and training step against their peers: same threads, median of several runs, as a table.

    train.py BUILD_DIR [--threads 2] [--trials 750] [--voxels 15724] [--targets 4096] [--runs 5]

Needs numpy, scikit-learn, himalaya, zarr and torch beside a build of this project. The peers of the ridge fit choose one of the same ten
penalties by leave-one-out (scikit-learn: RidgeCV; himalaya: RidgeCV with 5 folds, its default solver) from arrays in memory; ours is the whole
command `me2-align fit`, reading both stores and writing the model, so start-up and files count against us. "bare Cholesky" is one
penalty, dual form, nothing chosen.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("build")
for name, default in (("threads", 2), ("trials", 750), ("voxels", 15724), ("targets", 4096), ("runs", 5)):
    parser.add_argument("--" + name, type=int, default=default)
args = parser.parse_args()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(args.threads)

import numpy as np  # noqa: E402  (threads first)
import torch  # noqa: E402
import zarr  # noqa: E402

torch.set_num_threads(args.threads)


def median(work, runs=args.runs):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def store(path, attributes, **arrays):
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.attrs.update(attributes)
    for name, value in arrays.items():
        group.create_array(name, data=value, chunks=(min(64, len(value)),) + value.shape[1:], compressors=None)


def ridge():
    rng = np.random.default_rng(0)
    n, p, t = args.trials, args.voxels, args.targets
    x = rng.standard_normal((n, p), dtype=np.float32)
    y = (x[:, :64] @ rng.standard_normal((64, t), dtype=np.float32) / 8 + rng.standard_normal((n, t), dtype=np.float32)).astype(np.float32)
    alphas = np.logspace(1, 6, 10)
    folder = tempfile.mkdtemp()
    store(folder + "/s.zarr", {"subject": "s"}, betas=x, stimulus=np.arange(n, dtype=np.int32), session=np.ones(n, np.int16), split=np.zeros(n, np.int8))
    store(folder + "/l.zarr", {"kind": "latent"}, latent=y, stimulus=np.arange(n, dtype=np.int32))

    def ours(*more):
        shutil.rmtree(folder + "/m", ignore_errors=True)
        subprocess.run([args.build + "/bin/me2-align", "fit", folder + "/s.zarr", folder + "/m", "--targets", folder + "/l.zarr", "--alphas",
                        ",".join(map(str, alphas)), "--threads", str(args.threads), "-q", *more], check=True)

    def cholesky():
        xc, yc = torch.from_numpy(x - x.mean(0)), torch.from_numpy(y - y.mean(0))
        k = xc @ xc.T
        k.diagonal().add_(1000.0)
        return xc.T @ torch.cholesky_solve(yc, torch.linalg.cholesky(k))

    rows = [("me2-align fit --single (whole command)", median(lambda: ours("--single"))), ("me2-align fit (float64, whole command)", median(ours)),
            ("bare Cholesky in torch, one alpha, f32", median(cholesky))]
    try:
        from himalaya.ridge import RidgeCV as Himalaya
        rows.append(("himalaya RidgeCV, 5 folds", median(lambda: Himalaya(alphas=alphas, cv=5).fit(x, y), 1)))
    except ImportError:
        rows.append(("himalaya: not installed", float("nan")))
    try:
        from sklearn.linear_model import RidgeCV
        rows.append(("scikit-learn RidgeCV (leave-one-out)", median(lambda: RidgeCV(alphas=alphas).fit(x, y), 1)))
    except ImportError:
        rows.append(("scikit-learn: not installed", float("nan")))
    shutil.rmtree(folder)
    print(f"ridge fit, {n} trials x {p} voxels -> {t} targets, 10 penalties, {args.threads} threads")
    for name, seconds in rows:
        print(f"  {seconds:8.2f} s  {rows[0][1] and seconds / rows[0][1]:6.2f}x  {name}", flush=True)
    print(json.dumps({"ridge": dict(rows)}))


ridge()
