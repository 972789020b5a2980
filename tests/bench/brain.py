"""Backbone and prior beside PyTorch eager of the same networks: same machine, same threads, one run, medians of REPEATS (5).
The peer's networks are those of networks.py; where dalle2-pytorch can be imported, the prior's layers are its own, and those of
networks.py are left out.
THREADS=2 REPEATS=5 BATCHES="1 32" DTYPES="f32 bf16" python brain.py BUILD/bench [backbone] [prior] [tiny]. Needs: torch; dalle2-pytorch if it is there."""
import os
import statistics
import subprocess
import sys
import time

try:
    import torch
    from networks import Backbone, Prior, dalle2_prior, has_dalle2
except ImportError as e:
    print("skipped:", e)
    sys.exit(0)

threads = int(os.environ.get("THREADS", len(os.sched_getaffinity(0))))
repeats = int(os.environ.get("REPEATS", 5))
batches = [int(b) for b in os.environ.get("BATCHES", "").split()]
torch.set_num_threads(threads)
dtypes = os.environ.get("DTYPES", "f32 bf16").split()
wanted = sys.argv[2:] or ["tiny", "prior", "backbone"]


def peer(f):
    f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def ours(what, dtype, batch):
    run = subprocess.run([sys.argv[1] + "/brain_bench", what, dtype, str(batch), str(threads), str(repeats)], capture_output=True, text=True, check=True,
                         env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    return statistics.median(map(float, run.stdout.split())), run.stderr.strip()


def theirs(what, kind, batch, layers):
    net = layers() if what != "tiny" else layers(48, 2, 4, 12, 16)
    net = (net.to(kind).to_empty(device="cpu") if what == "backbone" else net.to(kind)).eval()
    for t in list(net.parameters()) + list(net.buffers()):
        if t.is_floating_point():
            t.fill_(.01) if t.numel() > 1 << 26 else t.normal_(0, .02)
    if what == "backbone":
        x = torch.randn(batch, 1, 4096, dtype=kind)
        return peer(lambda: net(x))
    brain, x, t = torch.randn(batch, net.n, net.d, dtype=kind), torch.randn(batch, net.n, net.d, dtype=kind), torch.full((batch,), 50)
    calls = 1 if what == "prior" else 19
    return peer(lambda: [net(x, t, brain) for _ in range(calls)])


def backbone():
    with torch.device("meta"):
        return Backbone()


if not has_dalle2():
    print("without dalle2-pytorch: the prior's peer is networks.py")
print(f"{'work (s), ' + str(threads) + ' threads':<34}{'ours':>10}{'peer':>10}{'peer/ours':>11}", flush=True)
with torch.inference_mode():
    for what in wanted:
        for dtype in dtypes:
            kind = torch.float32 if dtype == "f32" else torch.bfloat16
            if what == "tiny" and dtype == "bf16":
                continue
            for batch in batches or ((1, 32) if what == "backbone" else (1, 16)):
                mine, memory = ours(what, dtype, batch)
                print(f"{f'{what} {dtype}, batch {batch}':<34}{mine:>10.4f}", end="", flush=True)
                seconds = theirs(what, kind, batch, backbone if what == "backbone" else dalle2_prior if has_dalle2() else Prior)
                print(f"{seconds:>10.4f}{seconds / mine:>11.2f}  {memory}", flush=True)
