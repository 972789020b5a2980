"""Backbone and prior beside PyTorch eager of the same networks: same machine, same threads, one run, medians of REPEATS (5).
The peer's networks are those of networks.py.
THREADS=2 REPEATS=5 BATCHES="1 32" python brain.py BUILD/bench [backbone] [prior] [tiny]. Needs: torch."""
import os
import statistics
import subprocess
import sys
import time

try:
    import torch
    from networks import Backbone, Prior
except ImportError as e:
    print("skipped:", e)
    sys.exit(0)

threads = int(os.environ.get("THREADS", len(os.sched_getaffinity(0))))
repeats = int(os.environ.get("REPEATS", 5))
batches = [int(b) for b in os.environ.get("BATCHES", "").split()]
torch.set_num_threads(threads)
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


print(f"{'work (s), ' + str(threads) + ' threads':<44}{'ours':>10}{'peer':>10}{'peer/ours':>11}", flush=True)
with torch.inference_mode():
    for what in wanted:
        for dtype, kind in (("f32", torch.float32), ("bf16", torch.bfloat16)):
            if what == "tiny" and dtype == "bf16":
                continue
            for batch in batches or ((1, 32) if what == "backbone" else (1, 16)):
                mine, memory = ours(what, dtype, batch)
                torch.set_default_dtype(kind)
                with torch.device("meta"):
                    net = Backbone() if what == "backbone" else Prior() if what == "prior" else Prior(48, 2, 4, 12, 16)
                net = net.to_empty(device="cpu").eval()
                for name, t in list(net.named_parameters()) + list(net.named_buffers()):
                    t.fill_(.01) if t.numel() > 1 << 26 else t.normal_(0, .02)
                torch.set_default_dtype(torch.float32)
                if what == "backbone":
                    x = torch.randn(batch, 1, 4096, dtype=kind)
                    theirs = peer(lambda: net(x))
                else:
                    brain, x, t = torch.randn(batch, net.n, net.d, dtype=kind), torch.randn(batch, net.n, net.d, dtype=kind), torch.full((batch,), 50)
                    calls = 1 if what == "prior" else 19
                    theirs = peer(lambda: [net(x, t, brain) for _ in range(calls)])
                print(f"{f'{what} {dtype}, batch {batch}':<44}{mine:>10.4f}{theirs:>10.4f}{theirs / mine:>11.2f}  {memory}", flush=True)
                del net
