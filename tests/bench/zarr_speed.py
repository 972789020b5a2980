#!/usr/bin/env python3
"""Speed of our Zarr against zarr-python 3, tensorstore and plain pwrite/pread, in one run on one folder.

    zarr_speed.py --tool BUILD/tests/me2-test-zarr [--rows 512] [--repeat 3] [--folder DIR]

512 x 256 x 1664 float16 (CLIP tokens of 512 images, 436 MB; normal values), raw and zstd level 1, one row per chunk and shards of 64
rows; then rows of the sharded store in random order, one by one and in one call. Writing is durable where the peer's is: tensorstore and plain fsync as
we do, zarr-python does not (its figure is compared with ours without fsync too). Smallest time of `repeat` runs; reading is from the
page cache. A ratio above 1 means that we are faster.
"""
import argparse, json, os, shutil, subprocess, tempfile, time, warnings
import numpy as np

warnings.simplefilter("ignore")


class Tool:
    def __init__(self, path, fsync):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "ME2_FSYNC": "on" if fsync else "off"})

    def __call__(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


def timed(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def zarr_array(store, shape, codec, sharded):
    import zarr
    from zarr.codecs import ZstdCodec
    row = (1,) + shape[1:]
    return zarr.create_array(store, shape=shape, chunks=row, shards=((64,) + shape[1:]) if sharded else None, dtype="f2",
                             compressors=ZstdCodec(level=1, checksum=True) if codec == "zstd" else None, overwrite=True)


def tensorstore_array(store, shape, codec, sharded, create=True):
    import tensorstore
    inner = [{"name": "bytes", "configuration": {"endian": "little"}}] + ([{"name": "zstd", "configuration": {"level": 1}}] if codec == "zstd" else [])
    row, codecs, grid = [1, *shape[1:]], inner, [1, *shape[1:]]
    if sharded:
        grid = [64, *shape[1:]]
        codecs = [{"name": "sharding_indexed", "configuration": {"chunk_shape": row, "codecs": inner,
                   "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]}}]
    metadata = {"shape": list(shape), "data_type": "float16", "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": grid}}, "codecs": codecs}
    return tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": store + "/"}, "metadata": metadata}, create=create, open=not create).result()


def plain_write(folder, values, rows_per_file):
    os.makedirs(folder, exist_ok=True)
    for first in range(0, len(values), rows_per_file):
        fd = os.open(f"{folder}/{first}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        view = memoryview(values[first:first + rows_per_file]).cast("B")
        done = 0
        while done < len(view):
            done += os.pwrite(fd, view[done:], done)
        os.fsync(fd)
        os.close(fd)


def plain_read(folder, out, rows_per_file):
    for first in range(0, len(out), rows_per_file):
        fd = os.open(f"{folder}/{first}", os.O_RDONLY)
        view = memoryview(out[first:first + rows_per_file]).cast("B")
        done = 0
        while done < len(view):
            done += os.preadv(fd, [view[done:]], done)
        os.close(fd)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder")
    args = parser.parse_args()
    durable, fast = Tool(args.tool, True), Tool(args.tool, False)
    shape = (args.rows, 256, 1664)
    values = np.random.default_rng(1).standard_normal(shape, dtype=np.float32).astype(np.float16)
    gigabytes = values.nbytes / 1e9
    folder = tempfile.mkdtemp(dir=args.folder)
    out = np.empty(shape, np.float16)
    out[...] = 1
    print("| work | me2 GB/s | zarr-python | tensorstore | plain |\n|---|---|---|---|---|")

    def line(work, times, units=gigabytes):
        ours = min(times["me2"])
        cells = [f"{units / ours:.2f}"]
        for peer in ("zarr", "tensorstore", "plain"):
            cells.append(f"{min(times[peer]) / min(times.get('me2 for ' + peer, times['me2'])):.2f}" if times.get(peer) else "")
        print(f"| {work} | " + " | ".join(cells) + " |", flush=True)

    try:
        np.asarray(values).tofile(folder + "/values")
        for codec in ("raw", "zstd"):
            for sharded in (False, True):
                name = f"{codec}, {'shards of 64' if sharded else 'chunks of 1'}"
                writes = {k: [] for k in ("me2", "me2 for zarr", "zarr", "tensorstore", "plain")}
                reads = {k: [] for k in ("me2", "zarr", "tensorstore", "plain")}
                per_file = 64 if sharded else 1
                for turn in range(args.repeat):
                    for tool, key in ((durable, "me2"), (fast, "me2 for zarr")):
                        store = f"{folder}/{key}.zarr"
                        shutil.rmtree(store, ignore_errors=True)
                        more = {"shards": [64, *shape[1:]]} if sharded else {}
                        tool(op="create", store=store, array="x", format=3, shape=shape, dtype="f2", chunks=[1, *shape[1:]], codec=codec, level=1, **more)
                        writes[key].append(tool(op="time", store=store, array="x", what="write", file=folder + "/values")["seconds"])
                    shutil.rmtree(folder + "/z", ignore_errors=True)
                    z = zarr_array(folder + "/z", shape, codec, sharded)
                    writes["zarr"].append(timed(lambda: z.__setitem__(..., values)))
                    shutil.rmtree(folder + "/t", ignore_errors=True)
                    t = tensorstore_array(folder + "/t", shape, codec, sharded)
                    writes["tensorstore"].append(timed(lambda: t.write(values).result()))
                    if codec == "raw":
                        shutil.rmtree(folder + "/p", ignore_errors=True)
                        writes["plain"].append(timed(lambda: plain_write(folder + "/p", values, per_file)))
                for turn in range(args.repeat):
                    reads["me2"].append(durable(op="time", store=folder + "/me2.zarr", array="x", what="read")["seconds"])
                    reads["zarr"].append(timed(lambda: z.get_basic_selection(out=__import__("zarr").core.buffer.cpu.NDBuffer.from_numpy_array(out))))
                    t = tensorstore_array(folder + "/t", shape, codec, sharded, create=False)
                    reads["tensorstore"].append(timed(lambda: t.read().result()))
                    if codec == "raw":
                        reads["plain"].append(timed(lambda: plain_read(folder + "/p", out, per_file)))
                line(f"write {name}", writes)
                line(f"read {name}", reads)
                if sharded:
                    rows = np.random.default_rng(2).integers(0, args.rows, 200).tolist()
                    for what in ("rows", "gather"):  # one read each, and all in one call
                        times = {k: [] for k in ("me2", "zarr", "tensorstore")}
                        for turn in range(args.repeat):
                            times["me2"].append(durable(op="time", store=folder + "/me2.zarr", array="x", what=what, rows=rows)["seconds"])
                            t = tensorstore_array(folder + "/t", shape, codec, sharded, create=False)
                            times["zarr"].append(timed(lambda: [z[r] for r in rows]))  # many times faster than z.oindex[rows]
                            if what == "rows":
                                times["tensorstore"].append(timed(lambda: [t[r].read().result() for r in rows]))
                            else:
                                times["tensorstore"].append(timed(lambda: t[rows].read().result()))
                        line(f"200 random rows{' in one call' if what == 'gather' else ''}, {name}", times, gigabytes * len(rows) / args.rows)
    finally:
        shutil.rmtree(folder)


main()
