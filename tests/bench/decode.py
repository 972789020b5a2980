"""Image decoder beside PyTorch eager of the same networks: SDXL's U-Net at a quarter of its width, and its autoencoder at 512 px.
The peer's networks are written here in plain torch from their description; diffusers' own where it is installed. Medians of REPEATS (5),
same threads, one run. THREADS=2 REPEATS=5 TYPES="f32 bf16" python decode.py BUILD/bench [unet] [vae]. Needs: torch."""
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

threads = int(os.environ.get("THREADS", len(os.sched_getaffinity(0))))
repeats = int(os.environ.get("REPEATS", 5))


class Res(nn.Module):
    def __init__(self, i, o, emb, groups, eps=1e-5):
        super().__init__()
        self.n1, self.c1 = nn.GroupNorm(groups, i, eps), nn.Conv2d(i, o, 3, padding=1)
        self.e = nn.Linear(emb, o) if emb else None
        self.n2, self.c2 = nn.GroupNorm(groups, o, eps), nn.Conv2d(o, o, 3, padding=1)
        self.s = nn.Identity() if i == o else nn.Conv2d(i, o, 1)

    def forward(self, x, emb=None):
        h = self.c1(F.silu(self.n1(x)))
        if self.e is not None:
            h = h + self.e(F.silu(emb))[:, :, None, None]
        return self.s(x) + self.c2(F.silu(self.n2(h)))


class Attention(nn.Module):
    def __init__(self, c, ctx, heads):
        super().__init__()
        self.q, self.k, self.v, self.o = nn.Linear(c, c, False), nn.Linear(ctx, c, False), nn.Linear(ctx, c, False), nn.Linear(c, c)
        self.h = heads

    def forward(self, x, y):
        split = lambda t: t.unflatten(-1, (self.h, -1)).transpose(1, 2)
        return self.o(F.scaled_dot_product_attention(split(self.q(x)), split(self.k(y)), split(self.v(y))).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, c, ctx, heads):
        super().__init__()
        self.n1, self.n2, self.n3 = nn.LayerNorm(c), nn.LayerNorm(c), nn.LayerNorm(c)
        self.a1, self.a2 = Attention(c, c, heads), Attention(c, ctx, heads)
        self.f1, self.f2 = nn.Linear(c, 8 * c), nn.Linear(4 * c, c)

    def forward(self, x, ctx):
        n = self.n1(x)
        x = self.a1(n, n) + x
        x = self.a2(self.n2(x), ctx) + x
        a, g = self.f1(self.n3(x)).chunk(2, -1)
        return self.f2(a * F.gelu(g)) + x


class Transformer(nn.Module):
    def __init__(self, c, ctx, heads, depth, groups):
        super().__init__()
        self.n, self.i, self.o = nn.GroupNorm(groups, c, 1e-6), nn.Linear(c, c), nn.Linear(c, c)
        self.b = nn.ModuleList([Block(c, ctx, heads) for _ in range(depth)])

    def forward(self, x, ctx):
        b, c, h, w = x.shape
        y = self.i(self.n(x).flatten(2).transpose(1, 2))
        for block in self.b:
            y = block(y, ctx)
        return self.o(y).transpose(1, 2).reshape(b, c, h, w) + x


class UNet(nn.Module):
    def __init__(self, ch=80, mult=(1, 2, 4), depth=(0, 2, 10), head=16, groups=16, ctx=416, adm=1024):
        super().__init__()
        emb = 4 * ch
        self.ch = ch
        self.t = nn.Sequential(nn.Linear(ch, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.y = nn.Sequential(nn.Linear(adm, emb), nn.SiLU(), nn.Linear(emb, emb))
        tr = lambda c, d: [Transformer(c, ctx, c // head, d, groups)] if d else []
        c, skips, self.ins = ch, [ch], nn.ModuleList([nn.ModuleList([nn.Conv2d(4, ch, 3, padding=1)])])
        for level, m in enumerate(mult):
            for _ in range(2):
                self.ins.append(nn.ModuleList([Res(c, m * ch, emb, groups)] + tr(m * ch, depth[level])))
                c = m * ch
                skips.append(c)
            if level + 1 < len(mult):
                self.ins.append(nn.ModuleList([nn.Conv2d(c, c, 3, stride=2, padding=1)]))
                skips.append(c)
        self.mid = nn.ModuleList([Res(c, c, emb, groups)] + tr(c, depth[-1]) + [Res(c, c, emb, groups)])
        self.outs = nn.ModuleList()
        for level in reversed(range(len(mult))):
            for i in range(3):
                block = [Res(c + skips.pop(), mult[level] * ch, emb, groups)] + tr(mult[level] * ch, depth[level])
                c = mult[level] * ch
                if level and i == 2:
                    block += [nn.Upsample(scale_factor=2), nn.Conv2d(c, c, 3, padding=1)]
                self.outs.append(nn.ModuleList(block))
        self.n, self.o = nn.GroupNorm(groups, c), nn.Conv2d(c, 4, 3, padding=1)

    def run(self, block, h, emb, ctx):
        for layer in block:
            h = layer(h, emb) if isinstance(layer, Res) else layer(h, ctx) if isinstance(layer, Transformer) else layer(h)
        return h

    def forward(self, x, t, ctx, y):
        half = self.ch // 2
        a = t[:, None].float() * torch.exp(-9.210340371976184 * torch.arange(half) / half)
        emb = self.t(torch.cat([a.cos(), a.sin()], 1).to(x.dtype)) + self.y(y)
        hs, h = [], x
        for block in self.ins:
            h = self.run(block, h, emb, ctx)
            hs.append(h)
        h = self.run(self.mid, h, emb, ctx)
        for block in self.outs:
            h = self.run(block, torch.cat([h, hs.pop()], 1), emb, ctx)
        return self.o(F.silu(self.n(h)))


class Decoder(nn.Module):
    def __init__(self, chs=(512, 512, 256, 128)):
        super().__init__()
        c = chs[0]
        self.i, self.m1, self.m2 = nn.Conv2d(4, c, 3, padding=1), Res(c, c, 0, 32, 1e-6), Res(c, c, 0, 32, 1e-6)
        self.n0, self.q, self.k, self.v, self.p = nn.GroupNorm(32, c, 1e-6), *[nn.Conv2d(c, c, 1) for _ in range(4)]
        self.ups = nn.ModuleList()
        for step, o in enumerate(chs):
            for _ in range(3):
                self.ups.append(Res(c, o, 0, 32, 1e-6))
                c = o
            if step < 3:
                self.ups += [nn.Upsample(scale_factor=2), nn.Conv2d(c, c, 3, padding=1)]
        self.n, self.o = nn.GroupNorm(32, c, 1e-6), nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, z):
        h = self.m1(self.i(z))
        n = self.n0(h)
        q, k, v = (f(n).flatten(2).transpose(1, 2)[:, None] for f in (self.q, self.k, self.v))
        h = h + self.p(F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(h.shape))
        h = self.m2(h)
        for layer in self.ups:
            h = layer(h)
        return self.o(F.silu(self.n(h)))


def diffusers_network(what):  # the same sizes under diffusers' own classes
    from diffusers import AutoencoderKL, UNet2DConditionModel
    if what == "vae":
        net = AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(128, 256, 512, 512), layers_per_block=2)
        del net.encoder, net.quant_conv
        return net, lambda net, args: net.decode(*args)
    net = UNet2DConditionModel(down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                               block_out_channels=(80, 160, 320), transformer_layers_per_block=(1, 2, 10), attention_head_dim=(5, 10, 20), cross_attention_dim=416, norm_num_groups=16,
                               use_linear_projection=True, class_embed_type="projection", projection_class_embeddings_input_dim=1024)
    return net, lambda net, a: net(a[0], a[1], a[2], class_labels=a[3])


def peer(what, dtype, library):  # in a process of its own, for its peak memory
    torch.set_num_threads(threads)
    with torch.inference_mode():
        if what == "unet":
            net, args = UNet(), (torch.randn(2, 4, 48, 48), torch.full((2,), 500), torch.randn(2, 256, 416), torch.randn(2, 1024))
        else:
            net, args = Decoder(), (torch.randn(1, 4, 64, 64),)
        if library == "diffusers":
            net, call = diffusers_network(what)
        else:
            call = lambda net, args: net(*args)
        net = net.to(dtype).eval()
        args = [a.to(dtype) if a.is_floating_point() else a for a in args]
        call(net, args)
        for _ in range(repeats):
            start = time.perf_counter()
            call(net, args)
            print(time.perf_counter() - start)
        print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def result(command):
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    return statistics.median(float(x) for x in lines if x and not x.startswith("peak")), next(x for x in lines if x.startswith("peak")).split()[1]


if sys.argv[1] == "--peer":
    peer(sys.argv[2], torch.bfloat16 if sys.argv[3] == "bf16" else torch.float32, sys.argv[4])
    sys.exit()
build, wanted = sys.argv[1], sys.argv[2:] or ["unet", "vae"]
libraries = ["eager"] + (["diffusers"] if importlib.util.find_spec("diffusers") else [])
types = os.environ.get("TYPES", "f32 bf16").split()
print(f"{'':24}{'ours s':>10}{'MB':>8}" + "".join(f"{name + ' s':>12}{'MB':>8}{'times':>8}" for name in libraries))
for what in wanted:
    for dtype in types:
        theirs = [result([sys.executable, __file__, "--peer", what, dtype, name]) for name in libraries]
        for rows in ([], ["64"]) if what == "vae" else ([],):
            ours = result([f"{build}/decode_bench", what, dtype, str(threads), str(repeats), *rows])
            print(f"{what + ' ' + dtype + (' strips' if rows else ''):24}{ours[0]:10.4f}{ours[1]:>8}" + "".join(f"{t[0]:12.4f}{t[1]:>8}{t[0] / ours[0]:8.2f}" for t in theirs), flush=True)
