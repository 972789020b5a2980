#!/usr/bin/env python3
"""Ridge fit and training step against their peers: same threads, median of several runs, as a table.

    train.py BUILD_DIR [ridge] [step] [cache] [--threads 2] [--trials 750] [--voxels 15724] [--targets 4096] [--runs 5]
             [--large [--batch 24]] [--keep FILE [--side ours|peer|images]]

Needs numpy, scikit-learn, himalaya, zarr and torch beside a build of this project. The peers of the ridge fit choose one of the same ten
penalties by leave-one-out (scikit-learn: RidgeCV; himalaya: KernelRidgeCV with 5 folds, numpy) from arrays in memory; ours is the whole
command `me2-align fit`, reading both stores and writing the model, so start-up and files count against us. "bare Cholesky" is one
penalty, dual form, nothing chosen.

The training step is the reference's: ridge, backbone, 30 x prior + contrastive loss (BiMixCo, then SoftCLIP), AdamW, OneCycle, batch 24, targets
cached in memory on both sides, float32, with the figures that the reference's loop takes of every step (losses, cosine, both retrievals). Ours is the median of the rates that `me2-embed train` prints for its epochs after the first. Sizes: tiny
(hidden 64, 16 tokens of 104), and with --large hidden 1024 with 256 tokens of 1664 (needs about 20 GB; one step of 24 samples is 17 TFLOP). Ours
then is stopped after its last epoch, before it writes a model.

cache: what it costs to embed a batch's images anew, beside the step that reads their tokens: with the tiny encoder, or with --large and arbitrary
weights of ViT-bigG/14's size.

--keep FILE: seconds of each side are kept in FILE and taken from there, so that a long measurement can be made in parts (--side), one after another.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("build")
parser.add_argument("parts", nargs="*", default=["ridge", "step", "cache"])
parser.add_argument("--large", action="store_true")
parser.add_argument("--keep", help="a JSON file for the seconds of each side")
parser.add_argument("--side", choices=("ours", "peer", "images"), help="measure this one alone, and write it to --keep")
parser.add_argument("--few", action="store_true", help="ridge: without numpy and scikit-learn, which take a minute")
for name, default in (("threads", 2), ("trials", 750), ("voxels", 15724), ("targets", 4096), ("runs", 5), ("batch", 24)):
    parser.add_argument("--" + name, type=int, default=default)
args = parser.parse_args()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(args.threads)

import numpy as np  # noqa: E402  (threads first)
import torch  # noqa: E402
import zarr  # noqa: E402

torch.set_num_threads(args.threads)
signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that what was started is ended too


def median(work, runs=args.runs):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measured(side, what, work):
    """The seconds that `work(keep)` gives, or those kept in --keep; None where another side alone was asked for. What `work` hands to `keep` is not lost."""
    kept = json.load(open(args.keep)) if args.keep and os.path.exists(args.keep) else {}
    key = f"{what}, batch {args.batch if args.large else 24}, {args.threads} threads"

    def keep(times):
        kept.setdefault(key, {})[side] = times
        if args.keep:
            with open(args.keep, "w") as out:
                json.dump(kept, out, indent=1)

    if args.side == side or (args.side is None and side not in kept.get(key, {})):
        keep(work(keep))
    return kept.get(key, {}).get(side)


def store(path, attributes, **arrays):
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.attrs.update(attributes)
    for name, value in arrays.items():
        group.create_array(name, data=value, chunks=(min(64, len(value)),) + value.shape[1:], compressors=None)


def ridge():
    rng = np.random.default_rng(0)
    n, p, t = args.trials, args.voxels, args.targets
    x = rng.standard_normal((n, p), dtype=np.float32)
    y = (x[:, :64] @ rng.standard_normal((64, t), dtype=np.float32) / 8 + rng.standard_normal((n, t), dtype=np.float32)).astype(np.float32)
    alphas = np.logspace(1, 6, 10)
    folder = tempfile.mkdtemp()
    store(folder + "/s.zarr", {"subject": "s"}, betas=x, stimulus=np.arange(n, dtype=np.int32), session=np.ones(n, np.int16), split=np.zeros(n, np.int8))
    store(folder + "/l.zarr", {"kind": "latent"}, latent=y, stimulus=np.arange(n, dtype=np.int32))

    def ours(*more):
        shutil.rmtree(folder + "/m", ignore_errors=True)
        subprocess.run([args.build + "/bin/me2-align", "fit", folder + "/s.zarr", folder + "/m", "--targets", folder + "/l.zarr", "--alphas",
                        ",".join(map(str, alphas)), "--threads", str(args.threads), "-q", *more], check=True)

    def cholesky():
        xc, yc = torch.from_numpy(x - x.mean(0)), torch.from_numpy(y - y.mean(0))
        k = xc @ xc.T
        k.diagonal().add_(1000.0)
        return xc.T @ torch.cholesky_solve(yc, torch.linalg.cholesky(k))

    subprocess.run([args.build + "/bin/me2-align", "--version"], stdout=subprocess.DEVNULL)  # into the page cache
    def in_memory(dtype):
        said = subprocess.run([args.build + "/bench/ridge_bench", str(n), str(p), str(t), dtype, str(args.threads), str(args.runs)], capture_output=True, text=True, check=True).stdout
        parts = [tuple(map(float, line.split()[:3])) for line in said.splitlines()]
        factored, solved, chosen = (statistics.median(column) for column in zip(*parts))
        print(f"  ours in memory, {dtype}: Gram matrix and eigenvectors {factored:.3f} s, choice and weights {solved:.3f} s, choice and coefficients alone {chosen:.3f} s")
        return factored + solved, factored + chosen

    def primal():  # with the weights of voxels, as ours and Cholesky's
        model = KernelRidgeCV(alphas=alphas, cv=5).fit(as_array(x), as_array(y))
        return as_array(x).T @ model.dual_coef_

    single, double = in_memory("f32"), in_memory("f64")
    rows = [("our fit, float32, in memory", single[0]), ("our fit, float32, in memory, coefficients only (no weights of voxels)", single[1]), ("our fit, float64, in memory", double[0]),
            ("me2-align fit --single (whole command)", median(lambda: ours("--single"))), ("me2-align fit (float64, whole command)", median(ours)), ("bare Cholesky in torch, one alpha, f32", median(cholesky))]
    try:
        from himalaya.backend import set_backend
        from himalaya.kernel_ridge import KernelRidgeCV  # what himalaya advises with fewer trials than voxels; its RidgeCV is slower
        for backend in ("torch",) if args.few else ("torch", "numpy"):
            as_array = set_backend(backend).asarray
            rows.append((f"himalaya KernelRidgeCV, 5 folds, f32, {backend}, dual coefficients only", median(lambda: KernelRidgeCV(alphas=alphas, cv=5).fit(as_array(x), as_array(y)), 3)))
            rows.append((f"the same and X' times them ({backend})", median(primal, 3)))
    except ImportError:
        rows.append(("himalaya: not installed", float("nan")))
    try:
        if args.few:
            raise ImportError
        from sklearn.linear_model import RidgeCV
        rows.append(("scikit-learn RidgeCV (leave-one-out)", median(lambda: RidgeCV(alphas=alphas).fit(x, y), 1)))
    except ImportError:
        rows.append(("scikit-learn: passed over", float("nan")))
    shutil.rmtree(folder)
    print(f"ridge fit, {n} trials x {p} voxels -> {t} targets, 10 penalties, {args.threads} threads")
    for name, seconds in rows:
        print(f"  {seconds:8.2f} s  {seconds / rows[0][1]:6.2f}x  {name}", flush=True)
    print(json.dumps({"ridge": dict(rows)}))


def peer_steps(x, y, hidden, depth, steps, batch, mixing, so_far=lambda times: None):
    """Seconds of each of the reference's steps with targets cached; `so_far` is told those of the steps after the first as they come."""
    import torch.nn.functional as F
    from networks import Backbone, Prior
    tokens, width = y.shape[1:]
    ridge, backbone, prior = torch.nn.Linear(x.shape[1], hidden), Backbone(hidden, tokens, width), Prior(width, depth, width // 52, 52, tokens)
    modules = torch.nn.ModuleList([ridge, backbone, prior])
    optimizer = torch.optim.AdamW(modules.parameters(), lr=3e-4, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-4, total_steps=steps + 1)
    bar = torch.cumprod(1 - torch.linspace(1e-4, .02, 100), 0)
    times = []
    for step in range(steps):
        pick = torch.randint(len(x), (batch,))
        start = time.perf_counter()
        optimizer.zero_grad()
        voxels, target = x[pick], y[pick]
        if mixing:
            perm, betas = torch.randperm(batch), torch.distributions.Beta(.15, .15).sample([batch])
            betas = torch.where(torch.rand(batch) <= .5, betas, torch.ones(batch))
            voxels = voxels * betas[:, None] + voxels[perm] * (1 - betas[:, None])
        brain, clip = backbone(ridge(voxels)[:, None])
        t, noise = torch.randint(100, (batch,)), torch.randn_like(target)
        scaled = target * width ** .5
        a = bar[t].view(-1, 1, 1)
        predicted = prior(a.sqrt() * scaled + (1 - a).sqrt() * noise, t, brain)
        denoising = F.mse_loss(predicted, scaled)
        p, q = F.normalize(clip.flatten(1), dim=-1), F.normalize(target.flatten(1), dim=-1)
        if mixing:
            logits = p @ q.T / .006
            probs = torch.diag(betas)
            probs[torch.arange(batch), perm] += 1 - betas
            contrastive = (-(logits.log_softmax(-1) * probs).sum(-1).mean() - (logits.T.log_softmax(-1) * probs.T).sum(-1).mean()) / 2
        else:
            own, logits = (q @ q.T / .004).softmax(-1), p @ q.T / .004
            contrastive = -((logits.log_softmax(-1) * own).sum(-1).mean() + (logits.T.log_softmax(-1) * own).sum(-1).mean()) / 2
        loss = 30 * denoising + contrastive
        # What the reference's loop logs of every step.
        with torch.no_grad():
            F.cosine_similarity(predicted, target).mean().item(), F.mse_loss(predicted, target).item(), contrastive.item(), denoising.item()
            similarity, own = (q @ p.T) / (q.norm(dim=1)[:, None] @ p.norm(dim=1)[None]), torch.arange(batch)
            for view in (similarity, similarity.T):
                (torch.argsort(view, axis=1)[:, -1:] == own[:, None]).any(1).float().mean().item()
        if loss.isnan().any():
            raise ValueError("NaN loss")
        loss.backward()
        optimizer.step()
        loss.item()
        schedule.step()
        times.append(time.perf_counter() - start)
        so_far(times[1:])
    return times


def our_steps(x, y, hidden, depth, steps_per_epoch, epochs, batch):
    """Seconds of a step in each epoch of `me2-embed train` after the first."""
    folder = tempfile.mkdtemp()
    stimulus = np.arange(len(x), dtype=np.int32)
    store(folder + "/s.zarr", {"subject": "s"}, betas=x, stimulus=stimulus, session=np.ones(len(x), np.int16), split=np.zeros(len(x), np.int8))
    store(folder + "/t.zarr", {"kind": "targets"}, clip_tokens=y, stimulus=stimulus)
    process = subprocess.Popen([args.build + "/bin/me2-embed", "train", folder + "/t.zarr", folder + "/m", "--subjects", folder + "/s.zarr", "--no-lowlevel", "--hidden", str(hidden),
                                "--prior-depth", str(depth), "--epochs", str(epochs), "--samples-per-epoch", str(batch * steps_per_epoch), "--batch-size", str(batch),
                                "--checkpoint-interval", "1000", "--evaluate-interval", "0", "--threads", str(args.threads), "--log-format", "json"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    rates, said = [], []
    try:
        for line in process.stderr:
            said.append(line)
            event = json.loads(line)
            if event.get("event") == "epoch":
                rates.append(event["samples_per_second"])
            if len(rates) == epochs:
                break
    finally:
        process.kill()  # what comes after the last epoch is writing the model
        process.wait()
        shutil.rmtree(folder)
    if len(rates) < epochs:
        raise RuntimeError("me2-embed train: " + "".join(said))
    return [batch / rate for rate in rates[1:]]


def step(name, trials, voxels, hidden, tokens, width, depth, steps_per_epoch, epochs, batch=24):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((trials, voxels), dtype=np.float32), rng.standard_normal((trials, tokens, width), dtype=np.float32)
    ours = measured("ours", name, lambda keep: our_steps(x, y, hidden, depth, steps_per_epoch, epochs, batch))
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    if args.large:  # takes too long for both losses
        peer = measured("peer", name, lambda keep: peer_steps(tx, ty, hidden, depth, args.runs + 1, batch, True, keep)[1:])
    else:
        peer = measured("peer", name, lambda keep: [statistics.median(peer_steps(tx, ty, hidden, depth, steps_per_epoch, batch, mixing)[1:]) for mixing in (True, False)])
    if ours and peer:
        a, b = statistics.median(ours), statistics.median(peer)
        print(f"training step, {name}, batch {batch}, {args.threads} threads: ours {a * 1e3:.1f} ms (median of {len(ours)} epochs), PyTorch {b * 1e3:.1f} ms, {b / a:.2f}x", flush=True)
    return ours


def embed_tiny(batch, images=960):
    """Seconds of a batch with the tiny encoder, from stimuli in a store to tokens in another."""
    folder = tempfile.mkdtemp()
    tool = lambda *words: subprocess.run([args.build + "/bin/" + words[0], *words[1:], "--threads", str(args.threads), "-q"], check=True, stdout=subprocess.DEVNULL)
    encoder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pipelines/tiny/models/encoder")
    times = []
    for n in (batch, images + batch):  # the difference is free of start-up
        tool("me2-preprocess", "simulate", f"{folder}/{n}", "--scenes-only", str(n))
        number = iter(range(100))
        times.append(median(lambda: tool("me2-embed", "images", f"{folder}/{n}/stimuli.zarr", f"{folder}/t{n}.{next(number)}.zarr", "--model", encoder)))
    shutil.rmtree(folder)
    return [(times[1] - times[0]) / images * batch]


def embed_large(batch):
    said = subprocess.run([args.build + "/bench/images_bench", str(args.threads), "3", str(batch), "bigg"], check=True, capture_output=True, text=True).stdout
    return [float(line) for line in said.split("\n") if line and not line.startswith("peak")]


def cache(name, ours, encoder, work):
    again = measured("images", name, work)
    if ours and again:
        again, ours = statistics.median(again), statistics.median(ours)
        print(f"embedding a batch anew with {encoder}: {again * 1e3:.1f} ms; with that a step of {ours * 1e3:.1f} ms would take {(ours + again) / ours:.2f} times as long", flush=True)


if "ridge" in args.parts:
    ridge()
if "step" in args.parts or "cache" in args.parts:
    if args.large:
        name = "hidden 1024, 256 x 1664"
        ours = step(name, 72, 15724, 1024, 256, 1664, 6, 1, args.runs + 1, args.batch)
        if "cache" in args.parts:
            cache(name, ours, "a tower of ViT-bigG/14's size", lambda keep: embed_large(args.batch))
    else:
        name = "tiny (hidden 64, 16 x 104)"
        ours = step(name, 240, 500, 64, 16, 104, 2, 20, 12)
        if "cache" in args.parts:
            cache(name, ours, "the tiny encoder", lambda keep: embed_tiny(24))
