"""--help and --version of every tool: median and worst of RUNS (20) after one that warms the page cache.
Aims: me2-preprocess, which links no LibTorch, 50 ms; the others 400 ms."""
import os
import pathlib
import statistics
import subprocess
import sys
import time

runs = int(os.environ.get("RUNS", 20))
tools = sorted((pathlib.Path(sys.argv[1]).parent / "bin").glob("me2-*"))
print(f"{'tool':<16}{'--help (ms)':>14}{'worst':>8}{'--version (ms)':>16}{'worst':>8}")
for tool in tools:
    cells = []
    for option in ("--help", "--version"):
        times = []
        for i in range(runs + 1):
            start = time.perf_counter()
            subprocess.run([tool, option], stdout=subprocess.DEVNULL, check=True)
            if i:
                times.append((time.perf_counter() - start) * 1e3)
        cells += [statistics.median(times), max(times)]
    print(f"{tool.name:<16}{cells[0]:>14.1f}{cells[1]:>8.1f}{cells[2]:>16.1f}{cells[3]:>8.1f}")
