"""From the start of the process to the first denoising step of an unCLIP checkpoint in the page cache, beside PyTorch's torch.load and
.to(bfloat16) of the same file (its imports not counted). CHANNELS sets the size of the U-Net (320: SDXL's, 10 GB; 192: 3.8 GB); PyTorch
needs two and a half times the file in memory. Best of REPEATS (3). THREADS=2 CHANNELS=192 python startup.py BUILD/bench FOLDER."""
import os
import pathlib
import subprocess
import sys
import time

threads, repeats, channels = int(os.environ.get("THREADS", len(os.sched_getaffinity(0)))), int(os.environ.get("REPEATS", 3)), os.environ.get("CHANNELS", "192")
if sys.argv[1] == "--peer":
    import torch

    torch.set_num_threads(threads)
    start = time.perf_counter()
    state = torch.load(sys.argv[2], map_location="cpu", weights_only=True)
    state = {k: v.to(torch.bfloat16) if hasattr(v, "to") else v for k, v in state.get("state_dict", state).items() if hasattr(v, "to")}
    print(time.perf_counter() - start)
    sys.exit()

bench, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
file = folder / f"unclip_{channels}.ckpt"
environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
if not file.exists():
    subprocess.run([bench / "startup_bench", "make", file, channels], check=True)
with open(file, "rb") as f:  # into the page cache
    while f.read(1 << 24):
        pass


def ours(dtype):
    start = time.perf_counter()
    subprocess.run([bench / "startup_bench", "open", file, dtype, str(threads)], check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def theirs():
    return float(subprocess.run([sys.executable, __file__, "--peer", file], check=True, capture_output=True, text=True, env=environment).stdout)


mine = {dtype: min(ours(dtype) for _ in range(repeats)) for dtype in ("bf16", "f32")}
peer = min(theirs() for _ in range(repeats))
print(f"{file.stat().st_size / 1e9:.2f} GB, {threads} threads: ours bf16 {mine['bf16']:.2f} s, f32 {mine['f32']:.2f} s; torch.load + to(bfloat16) {peer:.2f} s: {peer / mine['bf16']:.2f} times")
