#!/usr/bin/env python3
"""What --dry-run foretells of time and memory beside what is used (docs/performance.md, "Estimates"; the rates are in libcommon/base/work.h).

tests/bench/estimates.py BUILD        one thread each; some minutes
"""
import json
import os
import subprocess
import sys
import tempfile
import time

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
build = os.path.abspath(sys.argv[1]).removesuffix("/bench")
models = f"{root}/pipelines/tiny/models"
os.environ.update(PATH=f"{build}/bin:{os.environ['PATH']}", OMP_NUM_THREADS="1", ME2_FSYNC="off")
SETUP = """me2-preprocess simulate s --subjects 1 --sessions 2 --trials-per-session 200 --test-images 40 --validation-images 0
me2-embed images s/stimuli.zarr targets.zarr --model M/encoder
me2-align fit s/subj01.zarr ridge --to tokens --from-tokens targets.zarr
me2-align apply s/subj01.zarr ridge.zarr --model ridge --split test
me2-embed train targets.zarr model --subjects s/subj01.zarr --no-lowlevel --hidden 512 --epochs 1
me2-align apply s/subj01.zarr latent.zarr --model model
me2-embed brain latent.zarr tokens.zarr --model model --average none
me2-decode unclip ridge.zarr recon.zarr --model M/unet --vae M/vae --steps 2
me2-caption generate ridge.zarr caption.zarr --model M/git"""
RUNS = """me2-preprocess simulate other --subjects 2 --sessions 4 --trials-per-session 300
me2-align fit s/subj01.zarr other --to tokens --from-tokens targets.zarr
me2-align apply s/subj01.zarr other --model model
me2-embed brain latent.zarr other --model model --average none
me2-embed images s/stimuli.zarr other --model M/encoder --batch-size 32
me2-embed train targets.zarr other --subjects s/subj01.zarr --no-lowlevel --hidden 1024 --epochs 3
me2-prior sample tokens.zarr other --model model
me2-decode unclip ridge.zarr other --model M/unet --vae M/vae
me2-decode unclip ridge.zarr other --model M/unet --vae M/vae --size 256 --steps 3
me2-decode refine recon.zarr caption.zarr other --model M/refiner --vae M/vae --size 64 --timepoint 8
me2-decode train s/stimuli.zarr other --part vae --model M/vae --steps 20
me2-decode train s/stimuli.zarr other --tokens targets.zarr --model M/unet --vae M/vae --steps 20
me2-caption generate ridge.zarr other --model M/git
me2-caption train targets.zarr s/stimuli.zarr other --part git --epochs 3
me2-eval score recon.zarr --truth s/stimuli.zarr --metrics pixcorr,ssim --allow-missing
me2-eval retrieval tokens.zarr --truth targets.zarr --truth-array clip_tokens --allow-missing --ways 40"""


def words(line):
    return line.replace("M/", models + "/").split()


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for line in SETUP.splitlines():
        subprocess.run([*words(line), "-q"], check=True, stdout=subprocess.DEVNULL)
    print("| command | seconds foretold | taken | memory foretold, MiB | peak |\n|---|---|---|---|---|")
    for line in RUNS.splitlines():
        subprocess.run(["rm", "-rf", "other"], check=True)
        plan = json.loads(subprocess.run([*words(line), "--dry-run", "--json", "-q"], check=True, capture_output=True).stdout)
        started = time.monotonic()
        child = subprocess.Popen([*words(line), "-q"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        taken = time.monotonic() - started
        assert status == 0, line
        print(f"| `{line}` | {plan['seconds']:.1f} | {taken:.1f} | {plan['memory_bytes'] / 2**20:.0f} | {usage.ru_maxrss / 1024:.0f} |", flush=True)
