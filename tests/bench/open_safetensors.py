"""Opening a 2 GB .safetensors of 2,000 tensors and summing one of them, against the Python package (its torch reader). File in page cache, one
thread, eleven runs each in turn, the best of each (other work on the machine only adds); start-up of either process is not counted. Needs: safetensors, torch."""
import json
import struct
import subprocess
import sys
import tempfile

try:
    import safetensors  # noqa: F401
    import torch  # noqa: F401
except ImportError as e:
    print("skipped:", e)
    sys.exit(0)

bench = sys.argv[1] + "/open_safetensors_bench"
peer = """
import sys, time, torch
from safetensors import safe_open
torch.set_num_threads(1)
torch.ones(1 << 20).sum().item()
t = time.perf_counter()
with safe_open(sys.argv[1], "pt") as f:
    s = f.get_tensor(sys.argv[2]).sum().item()
print(f"{time.perf_counter() - t:.6f} {s:.9g}")
"""
count, rows = 2000, 512
with tempfile.NamedTemporaryFile(suffix=".safetensors") as f:
    size = rows * rows * 4
    names = [f"model.diffusion_model.blocks.{i}.attn.to_q.weight" for i in range(count)]
    header = json.dumps({n: {"dtype": "F32", "shape": [rows, rows], "data_offsets": [i * size, (i + 1) * size]} for i, n in enumerate(names)}).encode()
    header += b" " * (-len(header) % 8)
    f.write(struct.pack("<Q", len(header)) + header)
    block = struct.pack("<f", 0.25) * (rows * rows)
    for _ in range(count):
        f.write(block)
    f.flush()
    ours, theirs = [], []
    for i in range(12):
        name = names[(i * 577) % count]
        a = subprocess.run([bench, f.name, name], capture_output=True, text=True, check=True, env={"OMP_NUM_THREADS": "1"}).stdout.split()
        b = subprocess.run([sys.executable, "-c", peer, f.name, name], capture_output=True, text=True, check=True).stdout.split()
        assert a[1] == b[1], (a, b)
        if i:  # the first warms the page cache
            ours.append(float(a[0]))
            theirs.append(float(b[0]))
a, b = min(ours), min(theirs)
print(f"{'work':<48}{'ours':>10}{'peer':>10}{'peer/ours':>11}")
print(f"{'open 2.1 GB safetensors, sum one tensor (ms)':<48}{a * 1e3:>10.2f}{b * 1e3:>10.2f}{b / a:>11.2f}")
