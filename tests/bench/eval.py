#!/usr/bin/env python3
"""Evaluation against the Python it replaces: PixCorr + SSIM (torchvision + scikit-image), BCa (scipy), captions (nltk, rouge_score).

    tests/bench/eval.py [--build build] [--pairs 200] [--captions CAPTIONS.json --references REFERENCES.json]
Times are whole processes of me2-eval against the loop alone in Python; two threads each. Prints one line per row of docs/performance.md.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--build", default="build")
parser.add_argument("--pairs", type=int, default=200)
parser.add_argument("--captions")
parser.add_argument("--references")
args = parser.parse_args()
tool = os.path.join(args.build, "bin", "me2-eval")


def ours(*command):
    start = time.perf_counter()
    out = subprocess.run([tool, *command, "--json", "--threads", "2"], check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - start, json.loads(out)["scores"]


def line(name, mine, theirs, note=""):
    print(f"{name:<34} me2 {mine:8.2f} s   Python {theirs:8.2f} s   {theirs / mine:6.1f}x  {note}", flush=True)


def pixels(folder):
    import torch
    from skimage.color import rgb2gray
    from skimage.metrics import structural_similarity
    from torchvision.transforms import Resize
    torch.set_num_threads(2)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (args.pairs, 3, 16, 16), dtype=np.uint8).repeat(16, 2).repeat(16, 3)
    other = np.clip(coarse.astype(int) + rng.integers(-60, 60, coarse.shape), 0, 255).astype(np.uint8)
    np.save(f"{folder}/a.npy", coarse)
    np.save(f"{folder}/b.npy", other)
    mine, scores = ours("score", f"{folder}/b.npy", "--truth", f"{folder}/a.npy", "--metrics", "pixcorr,ssim")
    start = time.perf_counter()
    resize = Resize(425, antialias=False)
    a, b = (resize(torch.from_numpy(x).float() / 255) for x in (coarse, other))
    r = np.mean([np.corrcoef(x.flatten(), y.flatten())[0, 1] for x, y in zip(a.numpy(), b.numpy())])
    s = np.mean([structural_similarity(rgb2gray(x.permute(1, 2, 0).numpy()), rgb2gray(y.permute(1, 2, 0).numpy()), gaussian_weights=True, sigma=1.5,
                                       use_sample_covariance=False, data_range=1.0) for x, y in zip(a, b)])
    theirs = time.perf_counter() - start
    line(f"PixCorr + SSIM, {args.pairs} pairs", mine, theirs, f"differences {abs(r - scores['pixcorr']['value']):.1e} {abs(s - scores['ssim']['value']):.1e}")


def captions():
    from rouge_score import rouge_scorer
    mine, scores = ours("score", "--captions", args.captions, "--references", args.references, "--metrics", "rouge1", "--resamples", "10000")
    with open(args.captions) as f, open(args.references) as g:
        said, refs = json.load(f), json.load(g)
    start = time.perf_counter()
    scorer = rouge_scorer.RougeScorer(["rouge1"])
    mean = np.mean([max(scorer.score(r, said[k])["rouge1"].fmeasure for r in refs[k]) for k in said])
    line("ROUGE-1 with BCa interval", mine, time.perf_counter() - start, f"difference {abs(mean - scores['rouge1']['value']):.1e}, interval not in Python's time")


with tempfile.TemporaryDirectory() as folder:
    pixels(folder)
    if args.captions:
        captions()
