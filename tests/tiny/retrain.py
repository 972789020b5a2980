#!/usr/bin/env python3
"""Trains every shipped tiny model anew for its first steps, from the recorded seed, and holds the losses against the recorded ones.

    tests/tiny/retrain.py BUILD [PART ...]      encoder scorer vae unet refiner git; about ten minutes of one core for all

The recorded losses lie in pipelines/tiny/models/*/config.json. What a part is trained on (tokens, latents) comes from the shipped
16-bit models here, hence the tolerance; a wrong seed, batch order, rate or loss is off by far more. Works in a folder of its own under
TMPDIR, or in ME2_RETRAIN, where scenes and tokens of an earlier call are used again.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parents[2]
models = root / "pipelines" / "tiny" / "models"
tools = pathlib.Path(sys.argv[1]).resolve() / "bin"
parts = sys.argv[2:] or ["encoder", "scorer", "vae", "unet", "refiner", "git"]
TOLERANCE = 0.02
failed = []


def run(tool, *words):
    subprocess.run([tools / tool, *map(str, words), "--threads", "1", "--overwrite", "-q"], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})


def config(folder):
    return json.loads((pathlib.Path(folder) / "config.json").read_text())


def hold(what, measured, recorded):
    worst = max(abs(m - r) / abs(r) for m, r in zip(measured, recorded, strict=True))
    print(f"{what}: {len(recorded)} losses, the first {measured[0]:.5f}, recorded {recorded[0]:.5f}; at most {100 * worst:.2f} % apart, {time.process_time() + os.times().children_user:.0f} s so far", flush=True)
    if not worst <= TOLERANCE:
        failed.append(what)
        print("  measured", measured, "\n  recorded", recorded)


# The recorded command, of a part trained in several stages the first one's; the first steps of a cosine are level, but not those of the
# few steps trained here: it is left out.
def recorded_command(part, drop=("--steps", "--epochs"), flags=("--cosine",)):
    known = config(models / part)
    words = iter(known.get("training", {}).get("first_command", known["me2"]["command"]))
    tool, verb, out = next(words), next(words), []
    for word in words:
        if word in drop:
            next(words)
        elif word not in flags:
            out.append(word)
    return tool, verb, out


def scenes():
    if not os.path.exists("out/tiny/scenes/stimuli.zarr"):
        run("me2-preprocess", "simulate", "out/tiny/scenes", "--scenes-only", 30000, "--seed", 7)


def targets():
    if not os.path.exists("out/tiny/targets.zarr"):
        run("me2-embed", "images", "out/tiny/scenes/stimuli.zarr", "out/tiny/targets.zarr", "--model", models / "encoder")


def tower(part):
    tool, verb, words = recorded_command(part)
    run(tool, verb, *words, "--steps", 100)  # all of them warm-up, as in the whole training
    curve = {row["step"]: row["loss"] for row in config(f"out/tiny/{part}")["curve"]}
    known = {row["step"]: row["loss"] for row in config(models / part)["curve"]}
    hold(part, [curve[s] for s in (1, 50, 100)], [known[s] for s in (1, 50, 100)])


def vae():
    run("me2-decode", "train", "out/tiny/scenes/stimuli.zarr", "squares", "--part", "vae", "--config", "pipelines/tiny/vae.json", "--steps", 10, "--lr", "2e-3", "--warmup", 50,
        "--average", 0.99, "--crop", 32, "--batch-size", 16, "--seed", 7)
    hold("vae on squares", config("squares")["training"]["loss"][:10], config(models / "vae")["training"]["squares_first_losses"])


def denoiser(part):
    if part == "unet":
        targets()
    tool, verb, words = recorded_command(part)
    words[1] = part
    for option, value in (("--vae", models / "vae"), ("--text", models / "encoder")):
        if option in words:
            words[words.index(option) + 1] = value
    run(tool, verb, *words, "--steps", 10)
    hold(part, config(part)["training"]["loss"][:10], config(models / part)["training"]["first_losses"])


def git():
    targets()
    tool, verb, words = recorded_command("git", drop=())
    run(tool, verb, *words)
    hold("git", config("out/tiny/git")["loss_curve"], config(models / "git")["loss_curve"])


with tempfile.TemporaryDirectory() as folder:
    os.chdir(os.environ.get("ME2_RETRAIN", folder))
    os.makedirs("out/tiny", exist_ok=True)
    if not os.path.lexists("pipelines"):
        os.symlink(root / "pipelines", "pipelines")
    scenes()
    for part in parts:
        {"encoder": lambda: tower("encoder"), "scorer": lambda: tower("scorer"), "vae": vae, "unet": lambda: denoiser("unet"), "refiner": lambda: denoiser("refiner"), "git": git}[part]()

sys.exit(f"other losses than recorded: {', '.join(failed)}" if failed else 0)
