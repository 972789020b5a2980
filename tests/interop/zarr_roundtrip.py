#!/usr/bin/env python3
"""Random arrays between our Zarr and everyone else's, in both directions, bit for bit.

    zarr_roundtrip.py --tool BUILD/tests/me2-test-zarr [--count N] [--seed S] [--libraries zarr,tensorstore,xarray]

Each round trip draws a shape, chunks, shards, a dtype, codecs and values, and is one of
    theirs   the library writes, we read
    ours     we write, the library reads
    into     the library makes the array (any codec chain it can), we write into it, it reads
`zarr` is whichever zarr-python this interpreter has: run it once with 2.13 and once with 3.x. Exit status 77: no library to test with.
"""
import argparse, json, os, random, shutil, subprocess, sys, tempfile, warnings
import numpy as np

warnings.simplefilter("ignore")

DTYPES = {"bool": "?", "i1": "i1", "i2": "<i2", "i4": "<i4", "i8": "<i8", "u1": "u1", "u2": "<u2", "u4": "<u4", "u8": "<u8",
          "f2": "<f2", "f4": "<f4", "f8": "<f8"}


class Tool:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "ME2_FSYNC": "off"})

    def __call__(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"{command}: {answer['error']}")
        return answer


def draw_case(rng, formats):
    axes = rng.choice([0, 1, 1, 2, 2, 3, 4])
    case = {"format": rng.choice(formats), "shape": [rng.choice([0, 1] + list(range(1, 14))) for _ in range(axes)], "dtype": rng.choice(list(DTYPES)),
            "codec": rng.choice(["raw", "zstd", "gzip", "blosc_lz4", "blosc_zstd"])}
    case["chunks"] = [rng.randint(1, max(1, n)) for n in case["shape"]]
    case["crc32c"] = case["format"] == 3 and rng.random() < 0.3
    if case["format"] == 3 and axes and rng.random() < 0.5:
        case["shards"] = [c * rng.randint(1, 3) for c in case["chunks"]]
    return case


def draw_values(rng, case):
    size = int(np.prod(case["shape"], dtype=np.int64))
    dtype = np.dtype(DTYPES[case["dtype"]])
    raw = np.frombuffer(rng.randbytes(max(1, size) * dtype.itemsize), dtype="u1").copy()
    if case["dtype"] == "bool":
        raw &= 1
    if rng.random() < 0.3:
        raw[: len(raw) // 2] = 0  # something to compress
    return raw.view(dtype)[:size].reshape(case["shape"])


def same(a, b):
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    return a.shape == b.shape and a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=") and a.astype(a.dtype.newbyteorder("<")).tobytes() == b.astype(b.dtype.newbyteorder("<")).tobytes()


class Zarr:
    def __init__(self):
        import zarr
        self.zarr, self.three = zarr, int(zarr.__version__.split(".")[0]) >= 3
        self.name = "zarr-python " + zarr.__version__
        self.formats = [2, 3] if self.three else [2]

    def make(self, rng, store, case):
        chunks, shape, dtype = tuple(case["chunks"]), tuple(case["shape"]), np.dtype(DTYPES[case["dtype"]])
        if case["format"] == 2:
            import numcodecs
            compressor = rng.choice([None, numcodecs.Zstd(level=rng.choice([-3, 1, 9])), numcodecs.GZip(rng.randint(0, 9)), numcodecs.Zlib(rng.randint(0, 9))] +
                                    [numcodecs.Blosc(cname=c, clevel=rng.randint(0, 9), shuffle=s) for c in ("lz4", "lz4hc", "zstd", "zlib", "blosclz") for s in (0, 1, 2)])
            if dtype.itemsize > 1 and rng.random() < 0.3:
                dtype = dtype.newbyteorder(">")
            if self.three:
                group = self.zarr.open_group(store, mode="a", zarr_format=2)
                return group.create_array("x", shape=shape, chunks=chunks, dtype=dtype, compressors=compressor, order=rng.choice("CF"),
                                          chunk_key_encoding={"name": "v2", "separator": rng.choice("./")})
            group = self.zarr.open_group(store, mode="a")
            return group.create_dataset("x", shape=shape, chunks=chunks, dtype=dtype, compressor=compressor, order=rng.choice("CF"))
        from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec
        inner = [BytesCodec(endian=rng.choice(["little", "big"]) if dtype.itemsize > 1 else None)]
        if len(shape) > 1 and rng.random() < 0.3:
            order = list(range(len(shape)))
            rng.shuffle(order)
            inner.insert(0, TransposeCodec(order=order))
        for _ in range(rng.choice([0, 1, 1, 2])):
            inner.append(rng.choice([ZstdCodec(level=rng.choice([0, 1, 7]), checksum=rng.random() < 0.5), GzipCodec(level=rng.randint(0, 9)), Crc32cCodec(),
                                     BloscCodec(typesize=dtype.itemsize, cname=rng.choice(["lz4", "lz4hc", "zstd", "zlib", "blosclz"]), clevel=rng.randint(0, 9),
                                                shuffle=rng.choice(["noshuffle", "shuffle", "bitshuffle"]))]))
        codecs, grid = inner, chunks
        if "shards" in case:
            index = [BytesCodec(endian=rng.choice(["little", "big"]))] + ([Crc32cCodec()] if rng.random() < 0.7 else [])
            codecs, grid = [ShardingCodec(chunk_shape=chunks, codecs=inner, index_codecs=index, index_location=rng.choice(["start", "end"]))], tuple(case["shards"])
        self.zarr.open_group(store, mode="a", zarr_format=3)
        return self.zarr.create(store=store, path="x", shape=shape, chunks=grid, dtype=dtype, codecs=codecs, zarr_format=3,
                                chunk_key_encoding=(rng.choice(["default", "v2"]), rng.choice("./")))

    def write(self, rng, store, case, values):
        self.make(rng, store, case)[...] = values

    def read(self, store, case):
        return np.asarray(self.zarr.open_group(store, mode="r")["x"][...])


class Tensorstore:
    formats = [2, 3]

    def __init__(self):
        import tensorstore
        self.ts, self.name = tensorstore, "tensorstore"

    def open(self, store, case, **more):
        return self.ts.open({"driver": "zarr3" if case["format"] == 3 else "zarr", "kvstore": {"driver": "file", "path": store + "/x/"}, **more}, **({"create": True} if more else {})).result()

    def make(self, rng, store, case):
        names = {"bool": "bool", "i": "int", "u": "uint", "f": "float"}
        dtype = np.dtype(DTYPES[case["dtype"]])
        if case["format"] == 2:
            metadata = {"shape": case["shape"], "chunks": case["chunks"], "dtype": dtype.str.replace("=", "<"), "order": rng.choice("CF") if len(case["shape"]) > 1 else "C",
                        "compressor": rng.choice([None, {"id": "zstd", "level": 3}, {"id": "zlib", "level": 4}, {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}])}
        else:
            inner = [{"name": "bytes", "configuration": {"endian": rng.choice(["little", "big"])}}]
            inner += rng.choice([[], [{"name": "zstd", "configuration": {"level": 2}}], [{"name": "gzip", "configuration": {"level": 2}}], [{"name": "crc32c"}]])
            codecs, grid = inner, case["chunks"]
            if "shards" in case:
                codecs, grid = [{"name": "sharding_indexed", "configuration": {"chunk_shape": case["chunks"], "codecs": inner, "index_location": rng.choice(["start", "end"]),
                    "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]}}], case["shards"]
            metadata = {"shape": case["shape"], "data_type": "bool" if dtype.kind == "b" else names[dtype.kind] + str(8 * dtype.itemsize),
                        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": grid}}, "codecs": codecs}
        os.makedirs(store)
        with open(store + ("/zarr.json" if case["format"] == 3 else "/.zgroup"), "w") as f:
            json.dump({"zarr_format": 3, "node_type": "group"} if case["format"] == 3 else {"zarr_format": 2}, f)
        return self.open(store, case, metadata=metadata)

    def write(self, rng, store, case, values):
        self.make(rng, store, case).write(values).result()

    def read(self, store, case):
        return np.asarray(self.open(store, case).read().result())


class Xarray:
    formats = [2, 3]

    def __init__(self):
        import xarray, zarr
        self.xr, self.name = xarray, "xarray " + xarray.__version__
        if int(zarr.__version__.split(".")[0]) < 3:
            self.formats = [2]

    make = None

    def write(self, rng, store, case, values):
        data = self.xr.Dataset({"x": ([f"d{k}" for k in range(values.ndim)], values)})
        data.to_zarr(store, zarr_format=case["format"], consolidated=rng.random() < 0.5)

    def read(self, store, case):
        data = self.xr.open_zarr(store, consolidated=True, mask_and_scale=False)["x"]
        if data.ndim:
            assert list(data.dims) == [f"x_{k}" for k in range(data.ndim)], data.dims
        assert data.attrs["units"] == "1" and data.attrs["long_name"] == "test values", data.attrs
        return data.values


def round_trip(rng, tool, library, folder):
    case, store, data = draw_case(rng, library.formats), os.path.join(folder, "s.zarr"), os.path.join(folder, "data")
    values = draw_values(rng, case)
    way = rng.choice(["theirs", "ours"] + (["into"] if library.make else []))
    try:
        if way == "theirs":
            library.write(rng, store, case, values)
            answer = tool(op="read", store=store, array="x", file=data)
            dtype = np.dtype(DTYPES[case["dtype"]])
            assert answer["dtype"] == case["dtype"] and answer["shape"] == case["shape"], answer
            got = np.fromfile(data, dtype=dtype).reshape(case["shape"])
        else:
            values.tofile(data)
            if way == "ours":
                tool(op="create", store=store, array="x", **case)
            else:
                library.make(rng, store, case)
            tool(op="write", store=store, array="x", file=data)
            if way == "ours":
                tool(op="consolidate", store=store)
            got = library.read(store, case)
        assert same(values, got), "the values differ"
    except Exception as error:
        print(f"{library.name}, {way}, {case}: {type(error).__name__}: {error}")
        for name in ("x/zarr.json", "x/.zarray"):
            if os.path.exists(os.path.join(store, name)):
                print(open(os.path.join(store, name)).read())
        raise SystemExit(1)
    shutil.rmtree(store)
    return way


def strings(tool, library, folder):
    values = ["", "a", "größe", "三匹の猫", "🐈", "x" * 500]
    for format in library.formats:
        store, data = os.path.join(folder, "t.zarr"), os.path.join(folder, "data")
        with open(data, "w") as f:
            json.dump(values, f)
        tool(op="create", store=store, array="x", format=format, shape=[6], dtype="string", chunks=[4], codec="zstd")
        tool(op="write", store=store, array="x", file=data)
        tool(op="consolidate", store=store)
        assert [str(v) for v in library.read(store, {"format": format})] == values
        shutil.rmtree(store)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--count", type=int, default=500, help="round trips with each library")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--libraries", default="zarr,tensorstore,xarray")
    args = parser.parse_args()
    tool, tested = Tool(args.tool), 0
    with tempfile.TemporaryDirectory() as folder:
        for name in args.libraries.split(","):
            try:
                library = {"zarr": Zarr, "tensorstore": Tensorstore, "xarray": Xarray}[name]()
            except ImportError as error:
                print(f"{name}: skipped: {error}")
                continue
            rng = random.Random(f"{args.seed}/{name}")
            ways = [round_trip(rng, tool, library, folder) for _ in range(args.count)]
            if name != "tensorstore":
                strings(tool, library, folder)
            print(f"{library.name}: {len(ways)} round trips equal bit for bit:", ", ".join(f"{w} {ways.count(w)}" for w in sorted(set(ways))), flush=True)
            tested += 1
    sys.exit(0 if tested else 77)


main()
