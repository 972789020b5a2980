"""OpenCLIP's ViT-L/14 image tower, batch 16, f32, beside open_clip's own (eager). Medians of REPEATS (3) after a first pass, same
threads, one run. THREADS=2 python images.py BUILD/bench. Needs: torch, open_clip_torch."""
import os
import statistics
import subprocess
import sys
import time

try:
    import open_clip
    import torch
except ImportError as e:
    print("skipped:", e)
    sys.exit(0)

threads, repeats, batch = int(os.environ.get("THREADS", len(os.sched_getaffinity(0)))), int(os.environ.get("REPEATS", 3)), int(os.environ.get("BATCH", 16))
torch.set_num_threads(threads)
lines = subprocess.run([sys.argv[1] + "/images_bench", str(threads), str(repeats), str(batch)], check=True, capture_output=True, text=True,
                       env={**os.environ, "OMP_NUM_THREADS": str(threads)}).stdout.split("\n")
ours = statistics.median(float(x) for x in lines if x and not x.startswith("peak"))
tower = open_clip.create_model("ViT-L-14", pretrained=None).visual.eval()
x = torch.randn(batch, 3, 224, 224)
times = []
with torch.inference_mode():
    for _ in range(repeats + 1):
        start = time.perf_counter()
        tower(x)
        times.append(time.perf_counter() - start)
theirs = statistics.median(times[1:])
print(f"ViT-L/14, batch {batch}, {threads} threads: ours {ours:.3f} s, open_clip {theirs:.3f} s, {theirs / ours:.2f} times")
