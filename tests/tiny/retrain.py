#!/usr/bin/env python3
"""Trains every shipped tiny model anew for its first steps, from the recorded seed, and holds the losses against the recorded ones.

    tests/tiny/retrain.py BUILD        about ten minutes of one core; a folder of its own under TMPDIR

The recorded losses lie in pipelines/tiny/models/*/config.json. What a part is trained on (tokens, latents) comes from the shipped
16-bit models here, hence the tolerance; a wrong seed, batch order, rate or loss is off by far more.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parents[2]
models = root / "pipelines" / "tiny" / "models"
tools = pathlib.Path(sys.argv[1]).resolve() / "bin"
TOLERANCE = 0.02
failed = []


def run(tool, *words):
    subprocess.run([tools / tool, *map(str, words), "-q"], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})


def config(folder):
    return json.loads((pathlib.Path(folder) / "config.json").read_text())


def hold(what, measured, recorded):
    for i, (m, r) in enumerate(zip(measured, recorded, strict=True)):
        good = abs(m - r) <= TOLERANCE * abs(r)
        print(f"{what} {i}: {m:.5f}, recorded {r:.5f}{'' if good else '  DIFFERENT'}", flush=True)
        if not good:
            failed.append(what)


def recorded_command(part, drop=("--steps", "--epochs")):
    words = config(models / part)["me2"]["command"]
    out, skip = [], False
    for word in words[2:]:
        if skip or word in drop:
            skip = not skip and word in drop
            continue
        out.append(word)
    return words[0], words[1], out


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    os.makedirs("out/tiny")
    os.symlink(root / "pipelines", "pipelines")
    run("me2-preprocess", "simulate", "out/tiny/scenes", "--scenes-only", 30000, "--seed", 7)
    for part in ("encoder", "scorer"):
        tool, verb, words = recorded_command(part)
        run(tool, verb, *words, "--steps", 100)  # all of them warm-up, as in the whole training
        curve = {row["step"]: row["loss"] for row in config(f"out/tiny/{part}")["curve"]}
        known = {row["step"]: row["loss"] for row in config(models / part)["curve"]}
        hold(part, [curve[s] for s in (1, 50, 100)], [known[s] for s in (1, 50, 100)])

    run("me2-decode", "train", "out/tiny/scenes/stimuli.zarr", "squares", "--part", "vae", "--config", "pipelines/tiny/vae.json", "--steps", 10, "--lr", "2e-3", "--warmup", 50,
        "--cosine", "--average", 0.99, "--crop", 32, "--batch-size", 16, "--seed", 7)
    hold("vae on squares", config("squares")["training"]["loss"][:10], config(models / "vae")["training"]["squares_first_losses"])

    run("me2-embed", "images", "out/tiny/scenes/stimuli.zarr", "out/tiny/targets.zarr", "--model", models / "encoder")
    for part in ("unet", "refiner"):
        tool, verb, words = recorded_command(part)
        words[1] = part
        for option, value in (("--vae", models / "vae"), ("--text", models / "encoder")):
            if option in words:
                words[words.index(option) + 1] = value
        run(tool, verb, *words, "--steps", 10)
        hold(part, config(part)["training"]["loss"][:10], config(models / part)["training"]["first_losses"])

    tool, verb, words = recorded_command("git", drop=())
    run(tool, verb, *words)
    hold("git", config("out/tiny/git")["loss_curve"], config(models / "git")["loss_curve"])

sys.exit(f"other losses than recorded: {', '.join(sorted(set(failed)))}" if failed else 0)
