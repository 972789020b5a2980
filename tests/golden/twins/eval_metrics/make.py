#!/usr/bin/env python3
"""Makes config.json and io.safetensors beside this file: the scores of reconstructions, on rendered scenes and drawn features.

    make.py BUILD        # BUILD/bin/me2-preprocess simulate renders the scenes

torchvision 0.26.0 on torch 2.11.0 (resizes without antialiasing; the training loop's correlation), scikit-image 0.26.0 (rgb2gray, structural_similarity),
scipy 1.17.1 (pearsonr for PixCorr and brain correlation, distance.correlation, stats.sem), numpy 2 (corrcoef for two-way identification, argsort),
scikit-learn 1.9.1 (cosine_similarity for retrieval). Same names and rules as the shared case of this name, other sizes.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import zarr
from safetensors.torch import save_file
from scipy.spatial.distance import correlation
from scipy.stats import pearsonr, sem
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity
from sklearn.metrics.pairwise import cosine_similarity
from torchvision.transforms import Resize

here = pathlib.Path(__file__).parent
N, SIDE = 7, 48
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([f"{sys.argv[1]}/bin/me2-preprocess", "simulate", f"{folder}/scenes", "--scenes-only", str(2 * N), "--side", str(SIDE), "--seed", "11", "-q"], check=True)
    (store,) = [p.parent for p in pathlib.Path(folder).rglob("image") if p.is_dir()]
    scenes = torch.from_numpy(zarr.open_group(str(store), mode="r")["image"][:])

rng = np.random.default_rng(20)
images = scenes[:N]
noise = torch.from_numpy(rng.integers(-40, 41, images.shape))
mixed = (0.6 * images.float() + 0.4 * scenes[N:2 * N].float()).long()  # a reconstruction: part the right scene, part another, noise
recons = (mixed + noise).clamp(0, 255).to(torch.uint8)
blurry = torch.nn.functional.avg_pool2d(images.float(), 3).add(12).clamp(0, 255).to(torch.uint8)  # [N, 3, 16, 16]
tensors = {"in.images": images.contiguous(), "in.recons": recons, "in.blurry": blurry}

unit = {k: Resize((256, 256), antialias=False)(x.float() / 255) for k, x in (("images", images), ("recons", recons), ("blurry", blurry))}
unit["enhanced"] = unit["recons"] * 0.75 + unit["blurry"] * 0.25
tensors["out.averaged_256_first1_stride9"] = unit["enhanced"][:1, :, ::9, ::9].contiguous()
big = {k: Resize(425, antialias=False)(x) for k, x in unit.items()}
gray = {k: [rgb2gray(x.permute(1, 2, 0).numpy()) for x in v] for k, v in big.items()}
tensors["out.gray_425_first_stride16"] = torch.from_numpy(gray["images"][0][::16, ::16].astype(np.float32).copy())


def put(name, values):
    tensors["out." + name] = torch.tensor(np.asarray(values, np.float64))


for kind in ("recons", "enhanced", "blurry"):
    r = [pearsonr(a.flatten().double().numpy(), b.flatten().double().numpy()).statistic for a, b in zip(big["images"], big[kind])]
    s = [structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0) for a, b in zip(gray["images"], gray[kind])]
    put(f"pixcorr_{kind}", r), put(f"mean_pixcorr_{kind}", [np.mean(r)])
    put(f"ssim_{kind}", s), put(f"mean_ssim_{kind}", [np.mean(s)])
pairs = torch.stack([torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] for a, b in zip(big["images"], big["enhanced"])])
put("train_pixcorr", [torch.nanmean(pairs).item()])

real = rng.standard_normal((N + 4, 33)).astype(np.float32)
pred = (0.7 * real + rng.standard_normal(real.shape)).astype(np.float32)
ties = real.copy()
ties[3] = ties[6]
tensors.update({"in.feat_real": torch.from_numpy(real), "in.feat_pred": torch.from_numpy(pred), "in.feat_real_ties": torch.from_numpy(ties)})
for kind, features in (("", real), ("_ties", ties)):
    r = np.corrcoef(features.astype(np.float64), pred.astype(np.float64))[:len(real), len(real):]
    wins = (r < np.diag(r)).sum(0)
    if not kind:
        put("twoway_r", r)
    else:
        assert r[3, 6] == r[6, 6]
    tensors[f"out.twoway{kind}_success_count"] = torch.from_numpy(wins)
    put(f"twoway{kind}_percent", [np.mean(wins / (len(real) - 1))])
distance = np.array([correlation(a, b) for a, b in zip(real.astype(np.float64), pred.astype(np.float64))])
tensors["out.correlation_distance"] = torch.from_numpy(distance.astype(np.float32))
tensors["out.mean_correlation_distance"] = torch.tensor([np.float32(distance.mean())])

image = rng.standard_normal((40, 4, 7)).astype(np.float32)
brain = (0.35 * image + rng.standard_normal(image.shape)).astype(np.float32)
draws = np.stack([rng.choice(40, 25, replace=False) for _ in range(9)])
tensors.update({"in.retrieval_clip_image": torch.from_numpy(image), "in.retrieval_clip_brain": torch.from_numpy(brain), "in.retrieval_draws": torch.from_numpy(draws)})
forward, backward = [], []
for index in draws:
    similarity = cosine_similarity(image[index].reshape(25, -1), brain[index].reshape(25, -1))  # rows: images, columns: brain
    forward.append(np.mean(np.argsort(similarity, 1)[:, -1] == np.arange(25)))
    backward.append(np.mean(np.argsort(similarity, 0)[-1] == np.arange(25)))
for name, values in (("fwd", forward), ("bwd", backward)):
    put(f"retrieval_{name}", values)
    mean, error = np.mean(values), sem(values, ddof=0)
    put(f"retrieval_{name}_mean_sem_ci", [mean, error, mean - 1.959963984540054 * error, mean + 1.959963984540054 * error])
tensors["out.retrieval_fwd_sim_last"] = torch.from_numpy(similarity[:6, :6].copy())
tensors["out.retrieval_top5_first4"] = torch.from_numpy(np.argsort(similarity[:4], 1)[:, :-6:-1].copy())

measured = rng.standard_normal((N, 50)).astype(np.float32)
predicted = (0.4 * measured + rng.standard_normal(measured.shape)).astype(np.float32)
tensors.update({"in.brain_voxels_avg": torch.from_numpy(measured), "in.brain_beta_pred": torch.from_numpy(predicted)})
for k, region in enumerate(("nsd_general", "V1", "V2", "V3", "V4", "higher_vis")):
    mask = np.ones(50, bool) if k == 0 else rng.random(50) < 0.3
    tensors[f"in.brain_mask_{region}"] = torch.from_numpy(mask)
    r = [pearsonr(a[mask].astype(np.float64), b[mask].astype(np.float64)).statistic for a, b in zip(measured, predicted)]
    put(f"brain_corr_{region}", r), put(f"brain_corr_mean_{region}", [np.mean(r)])

save_file(tensors, here / "io.safetensors")
tolerance = {"pixcorr": 1e-5, "ssim": 2e-5, "correlation_distance": 1e-5, "brain_corr": 1e-5, "counts and top-1": 0, "pixels": 1e-5}
(here / "config.json").write_text(json.dumps({"resize_before": 256, "resize_metric": 425, "antialias": False, "enhanced_weight": 0.75, "blurry_weight": 0.25,
                                              "reference": __doc__.strip(), "tolerance": tolerance}, indent=1) + "\n")
