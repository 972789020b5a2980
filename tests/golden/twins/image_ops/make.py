#!/usr/bin/env python3
"""Makes config.json and io.safetensors beside this file: image operations on rendered pictures.

torchvision 0.26.0 on torch 2.11.0 (resizes), Pillow 13.0.0 (8-bit resizes), kornia 0.7.1 (blur, align_corners resize,
augmentations), scikit-image 0.26.0 (rgb2gray). Nothing here is a photograph: gradients, discs and a chequered floor.
"""
import json
import pathlib

import kornia
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from kornia import enhance
from kornia.geometry.transform import resize as kornia_resize
from safetensors.torch import save_file
from skimage.color import rgb2gray
from torchvision.transforms import InterpolationMode, Normalize, Resize, ToPILImage

here = pathlib.Path(__file__).parent


def picture(h, w, phase):
    y, x = np.mgrid[0:h, 0:w] / max(h, w)
    r = 0.5 + 0.5 * np.sin(9 * x + phase)
    g = ((np.floor(14 * x) + np.floor(11 * y)) % 2) * 0.7 + 0.15 * y
    b = 1.0 / (1 + np.exp(60 * ((x - 0.4) ** 2 + (y - 0.3) ** 2 - 0.04)))
    return torch.from_numpy((np.stack([r, g, b]).clip(0, 1) * 255).astype(np.uint8))


small, big = picture(60, 78, 0.3), picture(158, 130, 1.1)
unit = {"small": small.float().div(255)[None], "big": big.float().div(255)[None]}
raw = {"small": small, "big": big}
tensors, outputs = {"in.small": small, "in.big": big}, {}


def put(name, value, tolerance, stride=4):
    value = value.contiguous()
    outputs[name] = {"full_shape": list(value.shape), "stride_hw": stride, "tolerance": tolerance}
    tensors["out." + name] = value[..., ::stride, ::stride].contiguous()


modes = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
for which, mode, size, aa in [("small", "bilinear", 100, False), ("small", "bilinear", 43, True), ("big", "bilinear", 51, False),
                              ("big", "bilinear", 77, True), ("big", "bicubic", 90, True), ("big", "bicubic", 90, False)]:
    put(f"{which}_{mode}_{size}_{'' if aa else 'no'}aa", Resize(size, modes[mode], antialias=aa)(unit[which]), 5e-6)
put("big_bilinear_64x48_noaa", Resize((64, 48), antialias=False)(unit["big"]), 5e-6)
put("big_nearest_37", F.interpolate(unit["big"], (37, 37), mode="nearest"), 0)
put("small_kornia_bicubic_96_aa", kornia_resize(unit["small"], (96, 96), "bicubic", align_corners=True, antialias=True), 1e-5)
put("big_kornia_bicubic_56_aa", kornia_resize(unit["big"], (56, 56), "bicubic", align_corners=True, antialias=True), 1e-5)
clip = Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
put("big_bigG_preprocess", clip((kornia_resize(unit["big"], (224, 224), "bicubic", align_corners=True, antialias=True) + 1) / 2), 5e-5, 8)
for which, name, size in [("small", "lanczos", 91), ("big", "lanczos", 57), ("small", "bicubic", 41), ("big", "bicubic", 180), ("big", "bilinear", 63)]:
    image = Image.fromarray(raw[which].permute(1, 2, 0).numpy()).resize((size, size), getattr(Image.Resampling, name.upper()))
    put(f"{which}_pil_{name}_{size}", torch.from_numpy(np.array(image)).permute(2, 0, 1), 0)
put("small_rgb2gray", torch.from_numpy(rgb2gray(unit["small"][0].permute(1, 2, 0).numpy())), 2e-6)
put("small_kornia_gray", kornia.color.rgb_to_grayscale(unit["small"])[0], 2e-6)
put("small_gauss_5x5_sigma0.9", kornia.filters.gaussian_blur2d(unit["small"], (5, 5), (0.9, 0.9)), 2e-6)
generator = torch.Generator().manual_seed(5)
topil = torch.rand(3, 9, 11, generator=generator)
tensors["in.topil_float"] = topil
put("topil", torch.from_numpy(np.array(ToPILImage()(topil))).permute(2, 0, 1), 0, 1)

aug = torch.stack([F.interpolate(unit[w], (20, 26), mode="bilinear")[0] for w in ("small", "big", "small")])
aug[2] = torch.rand(3, 20, 26, generator=generator)
aug[0, :, 3, 4] = 0.5  # a gray pixel: delta is 0
tensors["in.aug"] = aug.contiguous()
factors = {"brightness": [0.7, 1.3, 1.0], "contrast": [1.4, 0.6, 0.9], "saturation": [0.8, 1.2, 1.1], "hue": [-0.1, 0.07, 0.02],
           "solarize_threshold": [0.4, 0.5, 0.6], "solarize_addition": [-0.1, 0.1, 0.03]}
for name, values in factors.items():
    tensors["in.aug_" + name] = torch.tensor(values)
f = {k: torch.tensor(v) for k, v in factors.items()}
steps = [lambda x: enhance.adjust_brightness_accumulative(x, f["brightness"]), lambda x: enhance.adjust_contrast_with_mean_subtraction(x, f["contrast"]),
         lambda x: enhance.adjust_saturation_with_gray_subtraction(x, f["saturation"]), lambda x: enhance.adjust_hue(x, f["hue"] * 2 * np.pi)]
for k, (name, tolerance) in enumerate([("brightness", 2e-6), ("contrast", 1e-5), ("saturation", 1e-5), ("hue", 2e-5)]):
    put("aug_" + name, steps[k](aug), tolerance, 1)
y = aug
for k in (1, 3, 0, 2):
    y = steps[k](y)
put("aug_jitter_order_1302", y, 5e-5, 1)
put("aug_solarize", enhance.solarize(aug, f["solarize_threshold"], f["solarize_addition"]), 2e-6, 1)
put("aug_grayscale", kornia.color.rgb_to_grayscale(aug).expand(-1, 3, -1, -1), 2e-6, 1)
source = F.interpolate(unit["big"], (224, 224), mode="bilinear").half()
tensors["in.crop_source_224"] = source
tensors["in.crop_corners_xy"] = torch.tensor([[2.0, 9.0], [214.0, 9.0], [214.0, 221.0], [2.0, 221.0]])
put("aug_resized_crop", F.interpolate(source.float()[..., 9:222, 2:215], (224, 224), mode="bilinear", align_corners=True), 1e-5, 8)

save_file(tensors, here / "io.safetensors")
(here / "config.json").write_text(json.dumps({"outputs": outputs, "reference": __doc__.strip()}, indent=1) + "\n")
