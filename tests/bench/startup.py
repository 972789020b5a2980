"""From the start of the process to the first denoising step of an unCLIP checkpoint in the page cache, beside PyTorch's torch.load and
.to(dtype) of the same file (its imports not counted; each tensor is let go once it is cast), also with mmap=True, which is not what the
reference does. CHANNELS sets the size of the U-Net (320: SDXL's, 10 GB; 192: 3.8 GB); PyTorch needs the file once more in memory, and
half of it. Best of REPEATS (3). THREADS=2 CHANNELS=320 python startup.py BUILD/bench FOLDER [make: only the file]."""
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
    state = torch.load(sys.argv[2], map_location="cpu", weights_only=True, mmap=sys.argv[3] == "mmap")
    state = state.get("state_dict", state.get("model_state_dict", state))
    assert all(hasattr(value, "to") for value in state.values())
    for name in list(state):
        state[name] = state[name].to({"bf16": torch.bfloat16, "f32": torch.float32}[sys.argv[4]])
    print(time.perf_counter() - start)
    sys.exit()

bench, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
file = folder / f"unclip_{channels}.ckpt"
environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
if not file.exists():
    subprocess.run([bench / "startup_bench", "make", file, channels], check=True)
if sys.argv[3:] == ["make"]:
    sys.exit()
with open(file, "rb") as f:  # into the page cache
    while f.read(1 << 24):
        pass


def ours(dtype):
    start = time.perf_counter()
    subprocess.run([bench / "startup_bench", "open", file, dtype, str(threads)], check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def theirs(how, dtype):
    return float(subprocess.run([sys.executable, __file__, "--peer", file, how, dtype], check=True, capture_output=True, text=True, env=environment).stdout)


mine = {dtype: min(ours(dtype) for _ in range(repeats)) for dtype in ("bf16", "f32")}
print(f"{file.stat().st_size / 1e9:.2f} GB, {threads} threads: ours bf16 {mine['bf16']:.2f} s, f32 {mine['f32']:.2f} s", flush=True)
for how in ("plain", "mmap"):
    for dtype in mine:
        peer = min(theirs(how, dtype) for _ in range(repeats))
        print(f"torch.load{', mmap' if how == 'mmap' else ''} + to({dtype}) {peer:.2f} s: {peer / mine[dtype]:.2f} times", flush=True)
