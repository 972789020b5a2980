"""MindEye2's backbone and prior in PyTorch, the peers of the benchmarks: written from their description, operation by operation as the
reference computes them, mixer_blocks1 included; the prior also with the layers of dalle2-pytorch."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class Backbone(nn.Module):
    def __init__(self, h=4096, t=256, d=1664, blocks=4):
        super().__init__()
        mlp = lambda n: nn.Sequential(nn.LayerNorm(n), nn.Sequential(nn.Linear(n, n), nn.GELU(), nn.Dropout(.15), nn.Linear(n, n)))
        self.b1 = nn.ModuleList([mlp(h) for _ in range(blocks)])
        self.b2 = nn.ModuleList([mlp(1) for _ in range(blocks)])
        self.out = nn.Linear(h, t * d)
        self.proj = nn.Sequential(*[m for _ in range(3) for m in (nn.LayerNorm(d), nn.GELU(), nn.Linear(d, d))])
        self.d = d

    def forward(self, x):
        r1, r2 = x, x.permute(0, 2, 1)
        for a, b in zip(self.b1, self.b2):
            x = r1 = a(x) + r1
            x = r2 = b(x.permute(0, 2, 1)) + r2
            x = x.permute(0, 2, 1)
        tokens = self.out(x.reshape(len(x), -1)).reshape(len(x), -1, self.d)
        return tokens, self.proj(tokens)


class Norm(nn.Module):
    def __init__(self, d, stable=False):
        super().__init__()
        self.g, self.stable = nn.Parameter(torch.ones(d)), stable

    def forward(self, x):
        if self.stable:
            x = x / x.amax(-1, keepdim=True).detach()
        var, mean = torch.var(x, -1, unbiased=False, keepdim=True), torch.mean(x, -1, keepdim=True)
        return (x - mean) * (var + (1e-5 if x.dtype == torch.float32 else 1e-3)).rsqrt() * self.g


class Attention(nn.Module):
    def __init__(self, d, heads, dh):
        super().__init__()
        self.heads, self.norm, self.null = heads, Norm(d), nn.Parameter(torch.randn(2, dh))
        self.q, self.kv = nn.Linear(d, heads * dh, bias=False), nn.Linear(d, 2 * dh, bias=False)
        self.out = nn.Sequential(nn.Linear(heads * dh, d, bias=False), Norm(d))
        rot = min(32, dh)
        self.register_buffer("freqs", 10000 ** (-torch.arange(0, rot, 2).float() / rot))

    def rotary(self, x):
        a = torch.einsum("n,f->nf", torch.arange(x.shape[-2]).float(), self.freqs.float()).repeat_interleave(2, -1).to(x.dtype)
        rot, rest = x[..., :a.shape[-1]], x[..., a.shape[-1]:]
        pair = rot.reshape(*rot.shape[:-1], -1, 2)
        half = torch.stack((-pair[..., 1], pair[..., 0]), -1).flatten(-2)
        return torch.cat((rot * a.cos() + half * a.sin(), rest), -1)

    def forward(self, x, bias):
        b, n, _ = x.shape
        x = self.norm(x)
        q, (k, v) = self.q(x), self.kv(x).chunk(2, -1)
        q = q.view(b, n, self.heads, -1).transpose(1, 2) * 16
        q, k = self.rotary(q), self.rotary(k)
        nk, nv = (t.expand(b, 1, -1) for t in self.null.unbind(0))
        k, v = torch.cat((nk, k), 1), torch.cat((nv, v), 1)
        q, k = F.normalize(q, dim=-1) * 4, F.normalize(k, dim=-1) * 4
        sim = torch.einsum("bhid,bjd->bhij", q, k) + bias
        attn = sim.softmax(-1, dtype=torch.float32).type(sim.dtype)
        return self.out(torch.einsum("bhij,bjd->bhid", attn, v).transpose(1, 2).reshape(b, n, -1))


class SwiGLU(nn.Module):
    def forward(self, x):
        x, gate = x.chunk(2, -1)
        return x * F.silu(gate)


class Prior(nn.Module):
    def __init__(self, d=1664, depth=6, heads=32, dh=52, n=256):
        super().__init__()
        self.n, self.d = n, d
        self.query, self.nb, self.ni = (nn.Parameter(torch.randn(n, d)) for _ in range(3))
        self.time = nn.Sequential(nn.Linear(d, 2 * d), nn.SiLU(), nn.Linear(2 * d, 2 * d), nn.SiLU(), nn.Linear(2 * d, d))
        self.table = nn.Embedding(32, heads)
        self.layers = nn.ModuleList([nn.ModuleList([Attention(d, heads, dh), nn.Sequential(Norm(d), nn.Linear(d, 8 * d, bias=False), SwiGLU(), nn.Linear(4 * d, d, bias=False))]) for _ in range(depth)])
        self.norm, self.project, self.body = Norm(d, True), nn.Linear(d, d, bias=False), None

    def forward(self, x, t, brain):
        b = len(x)
        keep = torch.ones(b, 1, 1, dtype=torch.bool)
        brain, x = torch.where(keep, brain, self.nb[None]), torch.where(keep, x, self.ni[None])
        half = self.d // 2
        e = t[:, None].float() * torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))[None]
        e = self.time(torch.cat((e.sin(), e.cos()), -1).to(x.dtype))[:, None]
        return (self.body or self.transform)(torch.cat((brain, e, x + self.query.expand(b, -1, -1)), 1))[:, -self.n:]

    def transform(self, x):
        i = torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1] + 1)[None]
        i = i.clamp_min(0)
        far = (16 + (torch.log(i.float() / 16) / math.log(8) * 16).long()).clamp_max(31)
        bias = self.table(torch.where(i < 16, i, far)).permute(2, 0, 1)
        for a, f in self.layers:
            x = a(x, bias) + x
            x = f(x) + x
        return self.project(self.norm(x))


def has_dalle2():
    try:
        import dalle2_pytorch.dalle2_pytorch  # noqa: F401
        return True
    except ImportError:
        return False


def dalle2_prior(d=1664, depth=6, heads=32, dh=52, n=256):
    """The same with the layers of the package dalle2-pytorch, which the reference builds its prior from (not causal, as there)."""
    from dalle2_pytorch.dalle2_pytorch import CausalTransformer
    net = Prior(d, 0, heads, dh, n)
    layers = CausalTransformer(dim=d, depth=depth, dim_head=dh, heads=heads)
    for attention, _ in layers.layers:
        attention.causal = False
    net.body = layers
    return net
