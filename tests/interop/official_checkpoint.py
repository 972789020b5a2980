#!/usr/bin/env python3
"""Our exported last.pth in the reference's own classes, and theirs in our tools.

    official_checkpoint.py BUILD REFERENCE

REFERENCE is the src folder of a checkout of MedARC-AI/MindEyeV2. Needs torch, numpy, zarr, dalle2-pytorch (1.15.6) and diffusers (0.23);
packages that the reference imports and this check does not use are stood in for. Exits 77 when something is missing.

For one subject with the low-level head and two subjects without: trains two epochs with `me2-embed train --export-official`, loads the file with
load_state_dict(strict=True) into the modules as the training notebook builds them, compares the tokens, retrieval tokens and low-level latents
of `me2-align apply` and `me2-embed brain` with theirs, and reads a checkpoint that torch.save wrote back with our tools.
"""
import os
import subprocess
import sys
import tempfile

import mindeye2

if len(sys.argv) != 3 or not os.path.exists(os.path.join(sys.argv[2], "models.py")):
    print("skipped: official_checkpoint.py BUILD REFERENCE, REFERENCE being MindEyeV2/src")
    sys.exit(77)
build, reference = map(os.path.abspath, sys.argv[1:])
try:
    import numpy as np
    import torch
    import zarr
    models = mindeye2.models(reference)
except ImportError as error:
    print("skipped:", error)
    sys.exit(77)

HIDDEN, BLOCKS, TOKENS, WIDTH, DEPTH = 16, 2, 4, 104, 2
IMAGES = 60


def reference_model(voxels, lowlevel):
    model = torch.nn.Module()
    model.ridge = mindeye2.ridges(voxels, HIDDEN)
    model.backbone = models.BrainNetwork(h=HIDDEN, in_dim=HIDDEN, seq_len=1, n_blocks=BLOCKS, clip_size=WIDTH, out_dim=WIDTH * TOKENS, blurry_recon=lowlevel, clip_scale=1)
    model.diffusion_prior = mindeye2.diffusion_prior(models, WIDTH, DEPTH, 52, WIDTH // 52, TOKENS)
    return model.eval()


def store(path, attributes, **arrays):
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.attrs.update(attributes)
    for name, value in arrays.items():
        group.create_array(name, data=value, chunks=value.shape, compressors=None)


def ours(*words):
    subprocess.run([os.path.join(build, "bin", words[0]), *words[1:], "-q", "--threads", "1"], check=True)


def check(folder, voxels, lowlevel):
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    stimulus = np.arange(IMAGES, dtype=np.int32)
    targets = {"clip_tokens": normal(IMAGES, TOKENS, WIDTH)}
    if lowlevel:
        targets.update(vae_latent=normal(IMAGES, 4, 28, 28), cnx_feature=normal(IMAGES, 49, 512))
    store(folder + "/targets.zarr", {}, stimulus=stimulus, **targets)
    subjects, betas = [], []
    for i, count in enumerate(voxels):
        betas.append(normal(IMAGES, count))
        store(f"{folder}/subj0{i + 1}.zarr", {"subject": f"subj0{i + 1}"}, betas=betas[-1], stimulus=stimulus, session=np.ones(IMAGES, np.int16), split=np.zeros(IMAGES, np.int8))
        subjects += ["--subjects", f"{folder}/subj0{i + 1}.zarr"]
    last = folder + "/last.pth"
    ours("me2-embed", "train", folder + "/targets.zarr", folder + "/model", *subjects, "--export-official", last, "--hidden", str(HIDDEN), "--blocks", str(BLOCKS),
         "--prior-depth", str(DEPTH), "--epochs", "2", "--batch-size", "10", "--overwrite", *([] if lowlevel else ["--no-lowlevel"]))

    checkpoint = torch.load(last, map_location="cpu")
    model = reference_model(voxels, lowlevel)
    model.load_state_dict(checkpoint["model_state_dict"], strict=True)
    assert checkpoint["epoch"] == 1, checkpoint["epoch"]

    def compare(name, found, wanted):
        error = float(np.abs(found - wanted).max() / np.abs(wanted).max())
        assert error < 1e-5, f"{name}: {error}"
        print(f"  {name}: largest difference {error:.1e} of the largest value")

    def read(path, array):
        return zarr.open_group(path, mode="r")[array][:]

    position = len(voxels) - 1
    name = f"{folder}/subj0{position + 1}.zarr"
    ours("me2-align", "apply", name, folder + "/latent.zarr", "--model", folder + "/model", "--overwrite")
    ours("me2-embed", "brain", folder + "/latent.zarr", folder + "/tokens.zarr", "--model", folder + "/model", "--average", "none", "--overwrite")
    with torch.no_grad():
        latent = model.ridge.linears[position](torch.from_numpy(betas[position]))
        tokens, clip, blurry = model.backbone(latent.unsqueeze(1))
    compare("latent", read(folder + "/latent.zarr", "latent"), latent.numpy())
    compare("tokens", read(folder + "/tokens.zarr", "tokens"), tokens.numpy())
    compare("clip", read(folder + "/tokens.zarr", "clip"), clip.numpy())
    if lowlevel:
        compare("lowlevel", read(folder + "/tokens.zarr", "lowlevel"), blurry[0].numpy())

    torch.manual_seed(1)
    fresh = reference_model(voxels, lowlevel)  # their file into our tools
    torch.save({"epoch": 3, "model_state_dict": fresh.state_dict()}, folder + "/theirs.pth")
    ours("me2-align", "apply", name, folder + "/latent.zarr", "--model", folder + "/theirs.pth", "--overwrite")
    with torch.no_grad():
        compare("latent of a checkpoint of theirs", read(folder + "/latent.zarr", "latent"), fresh.ridge.linears[position](torch.from_numpy(betas[position])).numpy())
    ours("me2-embed", "brain", folder + "/latent.zarr", folder + "/tokens.zarr", "--model", folder + "/theirs.pth", "--overwrite")
    ours("me2-prior", "sample", folder + "/tokens.zarr", folder + "/prior.zarr", "--model", folder + "/theirs.pth", "--steps", "4", "--overwrite")


for voxels, lowlevel in (([31], True), ([31, 23], False)):
    print(f"{len(voxels)} subjects, low-level head {'on' if lowlevel else 'off'}: strict load")
    with tempfile.TemporaryDirectory() as folder:
        check(folder, voxels, lowlevel)
print("done")
