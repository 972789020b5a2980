#!/usr/bin/env python3
"""The chain of MindEye2 in plain torch, from betas to pictures, on the made-up release: makes expected.safetensors.

    me2-test-release make RELEASE                  (the model files, weights by formula)
    make.py RELEASE ../medarc_layout [OUT]

Needs torch, numpy, h5py, safetensors. Nothing of ours computes here: the files are read by torch.load and safetensors, the betas by h5py, the
trials from the tar's members, the random draws by the published formula; the maths is written from the specification of the reference
(ridge, backbone, prior, DDIM, EDM Euler sampler with guidance, autoencoders), in float32 on one thread.
"""
import io
import math
import os
import sys
import tarfile

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.set_num_threads(1)
torch.set_grad_enabled(False)
release, data = sys.argv[1:3]
out_path = sys.argv[3] if len(sys.argv) > 3 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.safetensors")


def load(name, key):
    whole = torch.load(os.path.join(release, name), map_location="cpu", weights_only=True)
    return whole[key] if key else whole


class W:
    """A state dict under a prefix: w["linear"] is the scope, w.weight the tensor."""

    def __init__(self, dict_, prefix=""):
        self.d, self.p = dict_, prefix

    def __getitem__(self, name):
        return W(self.d, f"{self.p}{name}.")

    def __call__(self, name):
        return self.d[self.p + name]

    def has(self, name):
        return any(k.startswith(self.p + name) for k in self.d)


def linear(w, x):
    return F.linear(x, w("weight"), w("bias") if w.has("bias") else None)


def norm(w, x, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], w("weight"), w("bias"), eps)


def group(w, x, groups=32, eps=1e-6):
    return F.group_norm(x, groups, w("weight"), w("bias"), eps)


def conv(w, x, stride=1, pad=1):
    return F.conv2d(x, w("weight"), w("bias") if w.has("bias") else None, stride, pad)


# Draws: splitmix64 of (index << 40) + j + 1, mapped to [-1, 1), times sqrt(3).
def draws(index, shape):
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.arange(1, n + 1, dtype=np.uint64) + np.uint64(index << 40)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    v = 2.0 * ((z >> np.uint64(11)).astype(np.float64) * 2.0**-53) - 1.0
    return torch.from_numpy(((.02 * v).astype(np.float32) * np.float64(math.sqrt(3) / .02)).astype(np.float32)).reshape(shape)


# Betas and trials: the repeats of each test image, filled up to three.
with h5py.File(os.path.join(data, "betas_all_subj01_fp32_renorm.hdf5")) as f:
    betas = torch.from_numpy(f["betas"][:])
trials = {}
with tarfile.open(os.path.join(data, "wds/subj01/new_test/0.tar")) as tar:
    for member in tar.getmembers():
        if member.name.endswith(".behav.npy") and not any(k in member.name for k in ("past", "future", "olds")):
            row = np.load(io.BytesIO(tar.extractfile(member).read()))[0]
            trials.setdefault(int(row[0]), []).append(int(row[5]))
images = sorted(trials)
repeats = [{1: lambda t: t * 3, 2: lambda t: [t[0], t[0], t[1]], 3: lambda t: t}[len(trials[i])](trials[i]) for i in images]

me = W(load("train_logs/final_subj01_pretrained_1sess_24bs/last.pth", "model_state_dict"))


def brain(voxels):
    x = linear(me["ridge.linears.0"], voxels)
    b = me["backbone"]
    r1, r2 = x, x[:, :, None]           # [B, h], [B, h, 1]

    def mixer(w, x):
        return linear(w["1.3"], F.gelu(linear(w["1.0"], norm(w["0"], x))))
    k = 0
    while b.has(f"mixer_blocks1.{k}."):
        x = mixer(b[f"mixer_blocks1.{k}"], x) + r1
        r1 = x
        t = mixer(b[f"mixer_blocks2.{k}"], x[:, :, None]) + r2
        r2 = t
        x = t[:, :, 0]
        k += 1
    prior_tokens, prior_width = me("diffusion_prior.net.learned_query").shape
    tokens = linear(b["backbone_linear"], x).reshape(-1, prior_tokens, prior_width)
    clip = tokens
    for i in (0, 3, 6):
        clip = linear(b[f"clip_proj.{i + 2}"], F.gelu(norm(b[f"clip_proj.{i}"], clip)))
    y = linear(b["blin1"], x)
    y = group(b["bnorm"], y.reshape(len(y), -1, 7, 7), 1, 1e-5)
    return tokens, clip, decoder_diffusers(b["bupsampler"], y)


def resnet(w, x, shortcut):
    h = conv(w["conv1"], F.silu(group(w["norm1"], x)))
    h = conv(w["conv2"], F.silu(group(w["norm2"], h)))
    return (conv(w[shortcut], x, pad=0) if w.has(shortcut) else x) + h


def pixels_attention(w, x, names):
    h = group(w[names[0]], x)
    b, c, hh, ww = h.shape
    h = h.flatten(2).transpose(1, 2)
    q, k, v = (F.linear(h, w(n + ".weight").reshape(c, c), w(n + ".bias")) for n in names[1:4])
    a = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(c), -1) @ v
    a = F.linear(a, w(names[4] + ".weight").reshape(c, c), w(names[4] + ".bias"))
    return x + a.transpose(1, 2).reshape(b, c, hh, ww)


def up(w, x):
    return conv(w, F.interpolate(x, scale_factor=2, mode="nearest"))


def decoder_diffusers(w, z):
    x = conv(w["conv_in"], z)
    x = resnet(w["mid_block.resnets.0"], x, "conv_shortcut")
    x = pixels_attention(w["mid_block.attentions.0"], x, ("group_norm", "to_q", "to_k", "to_v", "to_out.0"))
    x = resnet(w["mid_block.resnets.1"], x, "conv_shortcut")
    i = 0
    while w.has(f"up_blocks.{i}."):
        j = 0
        while w.has(f"up_blocks.{i}.resnets.{j}."):
            x = resnet(w[f"up_blocks.{i}.resnets.{j}"], x, "conv_shortcut")
            j += 1
        if w.has(f"up_blocks.{i}.upsamplers"):
            x = up(w[f"up_blocks.{i}.upsamplers.0.conv"], x)
        i += 1
    return conv(w["conv_out"], F.silu(group(w["conv_norm_out"], x)))


def decoder_sgm(w, z):
    x = conv(w["conv_in"], z)
    x = resnet(w["mid.block_1"], x, "nin_shortcut")
    x = pixels_attention(w["mid.attn_1"], x, ("norm", "q", "k", "v", "proj_out"))
    x = resnet(w["mid.block_2"], x, "nin_shortcut")
    levels = 0
    while w.has(f"up.{levels}."):
        levels += 1
    for level in reversed(range(levels)):
        j = 0
        while w.has(f"up.{level}.block.{j}."):
            x = resnet(w[f"up.{level}.block.{j}"], x, "nin_shortcut")
            j += 1
        if level:
            x = up(w[f"up.{level}.upsample.conv"], x)
    return conv(w["conv_out"], F.silu(group(w["norm_out"], x)))


rows = [brain(torch.stack([betas[t] for t in three])) for three in repeats]
tokens, clip, lowlevel = (torch.stack([r[k].mean(0) for r in rows]) for k in range(3))


# The prior: network, then DDIM of "20" steps (19 calls), eta 1.
net, scheduler = me["diffusion_prior.net"], me["diffusion_prior.noise_scheduler"]


def gain(w, x, name="g"):
    mean, var = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) * torch.rsqrt(var + 1e-5) * w(name)


def rotate(x, freqs):
    angle = torch.arange(x.shape[-2]).float()[:, None] * freqs
    cos, sin, n = angle.cos(), angle.sin(), 2 * len(freqs)
    a, b = x[..., 0:n:2], x[..., 1:n:2]
    turned = torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)
    return torch.cat([turned, x[..., n:]], -1)


def prior_net(brain_tokens, noisy, t):
    batch, n, dim = noisy.shape
    half = dim // 2
    f = torch.exp(torch.arange(half).float() * -(math.log(10000) / (half - 1)))
    time = t[:, None].float() * f
    time = torch.cat([time.sin(), time.cos()], -1)
    w = net["to_time_embeds.0.1.net"]
    time = linear(w["2"], F.silu(linear(w["1.0"], F.silu(linear(w["0.0"], time)))))
    x = torch.cat([brain_tokens, time[:, None], noisy + net("learned_query")], 1)
    c = net["causal_transformer"]
    length = x.shape[1]
    d = torch.arange(length)[:, None] - torch.arange(length + 1)[None]
    far = 16 + (torch.log(d.clamp(min=1).float() / 16) / math.log(8) * 16).long()
    bucket = torch.where(d < 16, d.clamp(min=0), far.clamp(max=31))
    bias = c("rel_pos_bias.relative_attention_bias.weight")[bucket].permute(2, 0, 1)
    layer = 0
    while c.has(f"layers.{layer}."):
        a = c[f"layers.{layer}.0"]
        h = gain(a["norm"], x)
        q = F.linear(h, a("to_q.weight"))
        k, v = F.linear(h, a("to_kv.weight")).chunk(2, -1)
        width = a("null_kv").shape[1]
        heads = q.shape[-1] // width
        q = q.reshape(batch, length, heads, width).transpose(1, 2)
        freqs = a("rotary_emb.freqs")
        q, k = rotate(q * 16, freqs), rotate(k, freqs)
        k = torch.cat([a("null_kv")[0].expand(batch, 1, width), k], 1)
        v = torch.cat([a("null_kv")[1].expand(batch, 1, width), v], 1)
        q, k = F.normalize(q, dim=-1) * 4, F.normalize(k, dim=-1) * 4
        s = torch.softmax(q @ k[:, None].transpose(-1, -2) + bias, -1) @ v[:, None]
        s = F.linear(s.transpose(1, 2).reshape(batch, length, heads * width), a("to_out.0.weight"))
        x = gain(a["to_out.1"], s) + x
        m = c[f"layers.{layer}.1"]
        value, gate = F.linear(gain(m["0"], x), m("1.weight")).chunk(2, -1)
        x = F.linear(value * F.silu(gate), m("5.weight")) + x
        layer += 1
    x = x / x.amax(-1, keepdim=True)
    return F.linear(gain(c["norm"], x), c("project_out.weight"))[:, -n:]


def ddim(brain_tokens, noise):
    times = [int(v) for v in np.trunc(np.linspace(-1, 100, 21))][:-1][::-1]
    previous, x, used = scheduler("alphas_cumprod_prev"), noise[0], 1
    for t, s in zip(times[:-1], times[1:]):
        x0 = prior_net(brain_tokens, x, torch.full((len(x),), t))
        if s < 0:
            return x0
        eps = (scheduler("sqrt_recip_alphas_cumprod")[t] * x - x0) / scheduler("sqrt_recipm1_alphas_cumprod")[t]
        a, b = previous[t], previous[s]
        c1 = torch.sqrt((1 - a / b) * (1 - b) / (1 - a))
        c2 = torch.sqrt(1 - b - c1**2)
        x = x0 * torch.sqrt(b) + c1 * noise[used] + c2 * eps
        used += 1
    raise AssertionError


clip_tokens = ddim(tokens, draws(1001, (19, *tokens.shape)))

# unCLIP: U-Net, 38 Euler steps, guidance 5, decoder, brightening.
engine = W(load("unclip6_epoch0_step110000.ckpt", "state_dict"))
unet, HEAD = engine["model.diffusion_model"], 64


def wave(t, dim):
    half = dim // 2
    f = torch.exp(torch.arange(half).float() * (-math.log(10000) / half))
    arg = t.float()[:, None] * f
    return torch.cat([arg.cos(), arg.sin()], -1)


def attention(w, x, context):
    q, k, v = F.linear(x, w("to_q.weight")), F.linear(context, w("to_k.weight")), F.linear(context, w("to_v.weight"))

    def split(t):
        return t.reshape(t.shape[0], t.shape[1], -1, HEAD).transpose(1, 2)
    a = torch.softmax(split(q) @ split(k).transpose(-1, -2) / math.sqrt(HEAD), -1) @ split(v)
    return linear(w["to_out.0"], a.transpose(1, 2).flatten(2))


def block(w, h, emb, context):
    part = 0
    while w.has(f"{part}."):
        p = w[str(part)]
        if p.has("in_layers"):
            y = conv(p["in_layers.2"], F.silu(group(p["in_layers.0"], h, eps=1e-5)))
            y = y + linear(p["emb_layers.1"], F.silu(emb))[:, :, None, None]
            y = conv(p["out_layers.3"], F.silu(group(p["out_layers.0"], y, eps=1e-5)))
            h = (conv(p["skip_connection"], h, pad=0) if p.has("skip_connection") else h) + y
        elif p.has("transformer_blocks"):
            b, c, hh, ww = h.shape
            x = linear(p["proj_in"], group(p["norm"], h).flatten(2).transpose(1, 2))
            k = 0
            while p.has(f"transformer_blocks.{k}."):
                t = p[f"transformer_blocks.{k}"]
                y = norm(t["norm1"], x)
                x = attention(t["attn1"], y, y) + x
                x = attention(t["attn2"], norm(t["norm2"], x), context) + x
                value, gate = linear(t["ff.net.0.proj"], norm(t["norm3"], x)).chunk(2, -1)
                x = linear(t["ff.net.2"], value * F.gelu(gate)) + x
                k += 1
            h = h + linear(p["proj_out"], x).transpose(1, 2).reshape(b, c, hh, ww)
        elif p.has("op."):
            h = conv(p["op"], h, 2)
        elif p.has("conv."):
            h = up(p["conv"], h)
        else:
            h = conv(p, h)
        part += 1
    return h


def run_unet(x, t, context, y):
    emb = linear(unet["time_embed.2"], F.silu(linear(unet["time_embed.0"], wave(t, unet("time_embed.0.weight").shape[1]))))
    emb = emb + linear(unet["label_emb.0.2"], F.silu(linear(unet["label_emb.0.0"], y)))
    stack, h, i = [], x, 0
    while unet.has(f"input_blocks.{i}."):
        h = block(unet[f"input_blocks.{i}"], h, emb, context)
        stack.append(h)
        i += 1
    h = block(unet["middle_block"], h, emb, context)
    i = 0
    while unet.has(f"output_blocks.{i}."):
        h = block(unet[f"output_blocks.{i}"], torch.cat([h, stack.pop()], 1), emb, context)
        i += 1
    return conv(unet["out.2"], F.silu(group(unet["out.0"], h, eps=1e-5)))


beta = np.linspace(math.sqrt(.00085), math.sqrt(.0120), 1000, dtype=np.float64)**2
alphas = np.cumprod(1 - beta)
table = torch.sqrt(torch.from_numpy(((1 - alphas) / alphas).astype(np.float32)))
levels = torch.cat([table[torch.from_numpy(np.linspace(999, 0, 38, endpoint=False).astype(np.int64)[::1].copy())], torch.zeros(1)])


def unclip(tok, z, noise, offset, empty):
    y = wave(torch.tensor([768., 768., 0., 0.]), 256).reshape(1, -1)
    x = z + (noise + .04 * offset) * levels[0]
    for here, there in zip(levels[:-1], levels[1:]):
        index = (here - table).abs().argmin()
        both = torch.cat([x, x]) / torch.sqrt(here**2 + 1)
        raw = run_unet(both, index.repeat(2), torch.cat([empty, tok]), y.repeat(2, 1))
        free, told = (raw * -here + torch.cat([x, x])).chunk(2)
        clean = free + 5 * (told - free)
        x = x + (there - here) * (x - clean) / here
    w = engine["first_stage_model"]
    decoded = decoder_sgm(w["decoder"], conv(w["post_quant_conv"], x / .13025, pad=0))
    return (decoded * .8 + .2).clamp(0, 1)


n, side = len(images), 8
z, noise = draws(1002, (n, 4, side, side)), draws(1003, (n, 4, side, side))
offset, empty = draws(1004, (n,)), draws(1005, (n, *tokens.shape[1:]))
pictures = torch.cat([unclip(clip_tokens[i:i + 1], z[i:i + 1], noise[i:i + 1], offset[i], empty[i:i + 1]) for i in range(n)])

# The low-level picture: 224 pixels, brought to 64 without antialias.
auto = W(load("sd_image_var_autoenc.pth", None))
blurry = (decoder_diffusers(auto["decoder"], conv(auto["post_quant_conv"], lowlevel / .18215, pad=0)) / 2 + .5).clamp(0, 1)
blurry = F.interpolate(blurry, (64, 64), mode="bilinear", align_corners=False, antialias=False)

save_file({k: v.contiguous() for k, v in {"tokens": tokens, "clip": clip, "lowlevel": lowlevel, "clip_tokens": clip_tokens, "blurry": blurry,
           "image": (pictures * 255).to(torch.uint8)}.items()}, out_path)
print("images", images, "repeats", [len(trials[i]) for i in images])
for name, t in (("tokens", tokens), ("clip", clip), ("lowlevel", lowlevel), ("clip_tokens", clip_tokens), ("blurry", blurry), ("pictures", pictures)):
    print(f"{name:12} {tuple(t.shape)} mean {t.mean():.4f} sd {t.std():.4f} least {t.min():.4f} most {t.max():.4f}")
print("share of saturated pixels", ((pictures <= 0) | (pictures >= 1)).float().mean().item())
