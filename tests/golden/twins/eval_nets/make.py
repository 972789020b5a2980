#!/usr/bin/env python3
"""Makes config.json and io.safetensors beside this file: features of a rendered scene in the networks of the evaluation.

    make.py BUILD        # BUILD/bin/me2-preprocess simulate renders the scene

torchvision 0.26.0 on torch 2.11.0: alexnet, inception_v3 (transform_input=True), efficientnet_b1, resnet50 as published, their layers by
create_feature_extractor; Resize and Normalize. open_clip 3.3.0: VisionTransformer of two narrow layers with QuickGELU for CLIP's image tower.
Weights are the published formula (docs/testing.md) over the sorted names of tests/manifests, and over `shapes` in config.json for the small tower.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import open_clip
import torch
import torchvision
import zarr
from safetensors.torch import save_file
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms import Normalize, Resize

here = pathlib.Path(__file__).parent
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([f"{sys.argv[1]}/bin/me2-preprocess", "simulate", f"{folder}/scenes", "--scenes-only", "2", "--side", "112", "--seed", "12", "-q"], check=True)
    (store,) = [p.parent for p in pathlib.Path(folder).rglob("image") if p.is_dir()]
    images = torch.from_numpy(zarr.open_group(str(store), mode="r")["image"][:])[:1].contiguous()  # [1, 3, 112, 112]


def draws(index, n):
    with np.errstate(over="ignore"):
        z = np.arange(1, n + 1, dtype=np.uint64) + np.uint64(index << 40)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return 2.0 * ((z >> np.uint64(11)).astype(np.float64) * 2.0**-53) - 1.0


def formula(shapes, gain):
    out = {}
    for index, name in enumerate(sorted(shapes, key=str.encode)):
        shape = shapes[name]
        if not shape:
            continue
        v = draws(index, int(np.prod(shape)))
        if len(shape) >= 2:
            v = v * np.sqrt(3.0 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            v = 1.0 + 0.25 * (v + 1.0)
        elif name.endswith("running_mean"):
            v = 0.1 * v
        elif name.endswith("weight"):
            v = 1.0 + 0.1 * v
        else:
            v = 0.02 * v
        x = torch.from_numpy(v.astype(np.float32)).reshape(shape)
        out[name] = x * np.float32(gain) if len(shape) >= 2 else x
    return out


tower = open_clip.transformer.VisionTransformer(image_size=224, patch_size=32, width=128, layers=2, heads=2, mlp_ratio=4.0, output_dim=24,
                                                act_layer=open_clip.transformer.QuickGELU).eval()
shapes = {"visual." + k: list(v.shape) for k, v in tower.state_dict().items()}
make = {"alexnet": lambda: torchvision.models.alexnet(weights=None), "efficientnet_b1": lambda: torchvision.models.efficientnet_b1(weights=None),
        "inception_v3": lambda: torchvision.models.inception_v3(weights=None, transform_input=True, init_weights=False), "resnet50_swav": lambda: torchvision.models.resnet50(weights=None)}
imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
clip = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
nets = {"alexnet": ("alexnet", 256, 1.0, ["features.4", "features.11"], 97, 29), "inception_v3": ("inception_v3", 342, 1.625, ["avgpool"], 1, 29),
        "efficientnet_b1": ("efficientnet_b1", 255, 1.5625, ["avgpool"], 1, 29), "resnet50_swav": ("resnet50", 224, 1.0, ["avgpool"], 1, 29), "clip": (None, 224, 1.0, ["image_embed"], 1, 29)}
tensors = {"in.images": images}
config = {"inputs": {}, "outputs": {}, "gain": {}, "manifests": {}, "shapes": {"clip": shapes}, "tolerance": {}, "reference": __doc__.strip()}
with torch.inference_mode():
    for name, (manifest, size, gain, layers, stride, input_stride) in nets.items():
        config["gain"][name] = gain
        if manifest:
            config["manifests"][name] = manifest + ".json"
            with open(here / f"../../../manifests/{manifest}.json") as f:
                weights = formula(json.load(f), gain)
            model = make[name]().eval()
            left = model.load_state_dict(weights, strict=False)
            assert not left.unexpected_keys and all(k.endswith("num_batches_tracked") for k in left.missing_keys), left
            net = create_feature_extractor(model, return_nodes=layers)
        else:
            tower.load_state_dict({k[7:]: v for k, v in formula(shapes, gain).items()})
            net = lambda x: {"image_embed": tower(x)}
        for antialias in (False, True):
            x = Normalize(*(clip if name == "clip" else imagenet))(Resize(size, antialias=antialias)(images.float() / 255))
            if not antialias:
                config["inputs"][name] = {"stride": input_stride}
                tensors[f"out.{name}_input_stride"] = x[:, :, ::input_stride, ::input_stride].contiguous()
            out = net(x)
            for layer in layers:
                flat = out[layer].flatten(1)
                key = f"{name}_{layer}" + ("_antialias" if antialias else "")
                config["outputs"][key] = {"full_length": flat.shape[1], "stride": stride}
                config["tolerance"][key] = 2e-4 * flat.std().item()
                tensors["out." + key] = flat[:, ::stride].contiguous()
save_file(tensors, here / "io.safetensors")
(here / "config.json").write_text(json.dumps(config, indent=1) + "\n")
