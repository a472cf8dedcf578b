"""Networks that people bring, with random weights: N[name] = (factory, example inputs, dynamic axes of each input)."""

import torch, torch.nn as nn, torch.nn.functional as F, math

torch.manual_seed(0)
N = {}  # name -> (factory, inputs, dynamic axes spec list of dict per input)


def reg(name, f, inputs, dyn):
    N[name] = (f, inputs, dyn)


def rnd(m):  # make norm statistics non trivial
    g = torch.Generator().manual_seed(1)
    for x in m.modules():
        if isinstance(x, (nn.BatchNorm1d, nn.BatchNorm2d)):
            x.running_mean.copy_(torch.randn(x.running_mean.shape, generator=g) * 0.1)
            x.running_var.copy_(torch.rand(x.running_var.shape, generator=g) * 0.5 + 0.75)
    return m.eval()


import torchvision.models as tv

I = lambda s=224, b=1: torch.randn(b, 3, s, s)
B = {0: "batch"}
BHW = {0: "batch", 2: "height", 3: "width"}
for n in ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "swin_t", "googlenet"]:
    kw = {"init_weights": False, "aux_logits": False} if n == "googlenet" else {}
    reg(n, lambda n=n, kw=kw: rnd(getattr(tv, n)(weights=None, **kw)), (I(),), [B])


class Out(nn.Module):
    def __init__(s, m):
        super().__init__()
        s.m = m

    def forward(s, x):
        return s.m(x)["out"]


reg(
    "deeplabv3_mobilenet",
    lambda: rnd(Out(tv.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None))),
    (I(256),),
    [BHW],
)


# YOLO-like
class CBS(nn.Sequential):
    def __init__(s, i, o, k=3, st=1):
        super().__init__(nn.Conv2d(i, o, k, st, k // 2, bias=False), nn.BatchNorm2d(o), nn.SiLU())


class C2f(nn.Module):
    def __init__(s, c, n=1):
        super().__init__()
        s.a = CBS(c, c, 1)
        s.m = nn.ModuleList(nn.Sequential(CBS(c // 2, c // 2), CBS(c // 2, c // 2)) for _ in range(n))
        s.b = CBS(c + n * c // 2, c, 1)

    def forward(s, x):
        y = list(s.a(x).chunk(2, 1))
        for m in s.m:
            y.append(y[-1] + m(y[-1]))
        return s.b(torch.cat(y, 1))


class Yolo(nn.Module):
    def __init__(s, nc=20):
        super().__init__()
        s.nc = nc
        s.s1 = nn.Sequential(CBS(3, 16, 3, 2), CBS(16, 32, 3, 2), C2f(32), CBS(32, 64, 3, 2), C2f(64))
        s.s2 = nn.Sequential(CBS(64, 128, 3, 2), C2f(128))
        s.s3 = nn.Sequential(CBS(128, 256, 3, 2), C2f(256))
        s.mp = nn.MaxPool2d(5, 1, 2)
        s.r2 = CBS(256 + 128, 128, 1)
        s.r1 = CBS(128 + 64, 64, 1)
        s.h = nn.ModuleList(nn.Conv2d(c, 64 + nc, 1) for c in (64, 128, 256))

    def forward(s, x):
        a = s.s1(x)
        b = s.s2(a)
        c = s.s3(b)
        c = c + s.mp(c)
        b = s.r2(torch.cat([F.interpolate(c, scale_factor=2.0, mode="nearest"), b], 1))
        a = s.r1(torch.cat([F.interpolate(b, scale_factor=2.0, mode="nearest"), a], 1))
        out = []
        anc = []
        strd = []
        for f, h, st in zip((a, b, c), s.h, (8, 16, 32)):
            o = h(f)
            hh, ww = o.shape[2], o.shape[3]
            gy, gx = torch.meshgrid(
                torch.arange(hh, device=o.device) + 0.5, torch.arange(ww, device=o.device) + 0.5, indexing="ij"
            )
            anc.append(torch.stack([gx, gy], 0).reshape(2, -1))
            strd.append(torch.full((1, hh * ww), float(st)))
            out.append(o.flatten(2))
        o = torch.cat(out, 2)
        anc = torch.cat(anc, 1)
        strd = torch.cat(strd, 1)
        d, cl = o.split([64, s.nc], 1)
        d = d.reshape(d.shape[0], 4, 16, -1).softmax(2)
        d = (d * torch.arange(16.0).reshape(1, 1, 16, 1)).sum(2)
        lt, rb = d.chunk(2, 1)
        x1 = anc - lt
        x2 = anc + rb
        return torch.cat([(x1 + x2) / 2 * strd, (x2 - x1) * strd, cl.sigmoid()], 1)


reg("yolo", lambda: rnd(Yolo()), (torch.rand(1, 3, 640, 640),), [BHW])
# --- audio
BL = {0: "batch", 2: "length"}


class SLSTM(nn.Module):
    def __init__(s, d, n=2):
        super().__init__()
        s.l = nn.LSTM(d, d, n)

    def forward(s, x):
        y = x.permute(2, 0, 1)
        z, _ = s.l(y)
        return (z + y).permute(1, 2, 0)


class PConv(nn.Module):
    def __init__(s, i, o, k, st=1, d=1):
        super().__init__()
        s.c = torch.nn.utils.parametrizations.weight_norm(nn.Conv1d(i, o, k, st, dilation=d))
        s.p = (k - 1) * d - (st - 1)

    def forward(s, x):
        return s.c(F.pad(x, (s.p - s.p // 2, s.p // 2), mode="reflect"))


class RB(nn.Module):
    def __init__(s, c, d):
        super().__init__()
        s.a = PConv(c, c // 2, 3, d=d)
        s.b = PConv(c // 2, c, 1)

    def forward(s, x):
        return x + s.b(F.elu(s.a(F.elu(x))))


class Encodec(nn.Module):
    def __init__(s, f=32):
        super().__init__()
        L = [PConv(1, f, 7)]
        c = f
        for r in (2, 4, 5, 8):
            L += [RB(c, 1), nn.ELU(), PConv(c, 2 * c, 2 * r, r)]
            c *= 2
        L += [SLSTM(c), nn.ELU(), PConv(c, 128, 7)]
        s.e = nn.Sequential(*L)
        s.cb = nn.Parameter(torch.randn(4, 1024, 128))
        D = [PConv(128, c, 7), SLSTM(c)]
        for r in (8, 5, 4, 2):
            D += [
                nn.ELU(),
                nn.ConvTranspose1d(c, c // 2, 2 * r, r, padding=r // 2 + r % 2, output_padding=r % 2),
                RB(c // 2, 1),
            ]
            c //= 2
        D += [nn.ELU(), PConv(c, 1, 7)]
        s.d = nn.Sequential(*D)

    def forward(s, x):
        z = s.e(x)
        r = z.permute(0, 2, 1)
        q = 0
        ids = []
        for i in range(4):
            cb = s.cb[i]
            d = -(r.pow(2).sum(-1, keepdim=True) - 2 * r @ cb.t() + cb.pow(2).sum(-1))
            k = d.argmax(-1)
            v = F.embedding(k, cb)
            q = q + v
            r = r - v
            ids.append(k)
        return s.d(q.permute(0, 2, 1)), torch.stack(ids, 1)


reg("encodec", lambda: Encodec().eval(), (torch.randn(1, 1, 24000) * 0.1,), [BL])


class Snake(nn.Module):
    def __init__(s, c):
        super().__init__()
        s.a = nn.Parameter(torch.rand(1, c, 1) + 0.5)

    def forward(s, x):
        return x + (s.a + 1e-9).reciprocal() * torch.sin(s.a * x).pow(2)


WN = torch.nn.utils.parametrizations.weight_norm


class DRU(nn.Module):
    def __init__(s, c, d):
        super().__init__()
        s.b = nn.Sequential(
            Snake(c), WN(nn.Conv1d(c, c, 7, dilation=d, padding=3 * d)), Snake(c), WN(nn.Conv1d(c, c, 1))
        )

    def forward(s, x):
        return x + s.b(x)


class DAC(nn.Module):
    def __init__(s, c=512):
        super().__init__()
        L = [WN(nn.Conv1d(256, c, 7, padding=3))]
        for r in (8, 8, 4, 2):
            L += [Snake(c), WN(nn.ConvTranspose1d(c, c // 2, 2 * r, r, padding=r // 2))] + [
                DRU(c // 2, d) for d in (1, 3, 9)
            ]
            c //= 2
        L += [Snake(c), WN(nn.Conv1d(c, 1, 7, padding=3)), nn.Tanh()]
        s.m = nn.Sequential(*L)

    def forward(s, x):
        return s.m(x)


reg("dac_decoder", lambda: DAC().eval(), (torch.randn(1, 256, 43),), [BL])


class CNB(nn.Module):
    def __init__(s, d):
        super().__init__()
        s.dw = nn.Conv1d(d, d, 7, padding=3, groups=d)
        s.n = nn.LayerNorm(d)
        s.a = nn.Linear(d, 3 * d)
        s.b = nn.Linear(3 * d, d)
        s.g = nn.Parameter(torch.rand(d))

    def forward(s, x):
        y = s.b(F.gelu(s.a(s.n(s.dw(x).transpose(1, 2))))) * s.g
        return x + y.transpose(1, 2)


class Vocos(nn.Module):
    def __init__(s, d=512, n=1024, h=256):
        super().__init__()
        s.e = nn.Conv1d(100, d, 7, padding=3)
        s.n0 = nn.LayerNorm(d)
        s.b = nn.Sequential(*[CNB(d) for _ in range(8)])
        s.n1 = nn.LayerNorm(d)
        s.o = nn.Linear(d, n + 2)
        s.nf = n
        s.h = h
        s.register_buffer("w", torch.hann_window(n))

    def spec(s, x):
        y = s.b(s.n0(s.e(x).transpose(1, 2)).transpose(1, 2))
        o = s.o(s.n1(y.transpose(1, 2))).transpose(1, 2)
        m, p = o.chunk(2, 1)
        m = torch.clip(torch.exp(m), max=1e2)
        return m * torch.cos(p), m * torch.sin(p)


class VocosConv(Vocos):  # istft by conv_transpose with a DFT basis, as ONNX exports do
    def __init__(s):
        super().__init__()
        n = s.nf
        k = torch.arange(n // 2 + 1)[:, None] * torch.arange(n)[None] * 2 * math.pi / n
        c = torch.full((n // 2 + 1, 1), 2.0)
        c[0] = c[-1] = 1
        s.register_buffer("basis", torch.cat([c * torch.cos(k) / n, -c * torch.sin(k) / n], 0)[:, None] * s.w)
        s.register_buffer("w2", (s.w**2)[None, None])

    def forward(s, x):
        re, im = s.spec(x)
        y = F.conv_transpose1d(torch.cat([re, im], 1), s.basis, stride=s.h)
        e = F.conv_transpose1d(torch.ones_like(x[:1, :1]), s.w2, stride=s.h)
        p = s.nf // 2
        return y[..., p:-p] / e[..., p:-p]


reg("vocos_convT", lambda: VocosConv().eval(), (torch.randn(1, 100, 94),), [BL])


class gLN(nn.Module):
    def __init__(s, c):
        super().__init__()
        s.g = nn.Parameter(torch.ones(1, c, 1))
        s.b = nn.Parameter(torch.zeros(1, c, 1))

    def forward(s, x):
        m = x.mean((1, 2), keepdim=True)
        v = ((x - m) ** 2).mean((1, 2), keepdim=True)
        return s.g * (x - m) / (v + 1e-8).sqrt() + s.b


class TB(nn.Module):
    def __init__(s, b, h, d):
        super().__init__()
        s.m = nn.Sequential(
            nn.Conv1d(b, h, 1),
            nn.PReLU(),
            gLN(h),
            nn.Conv1d(h, h, 3, dilation=d, padding=d, groups=h),
            nn.PReLU(),
            gLN(h),
        )
        s.r = nn.Conv1d(h, b, 1)
        s.k = nn.Conv1d(h, b, 1)

    def forward(s, x):
        y = s.m(x)
        return x + s.r(y), s.k(y)


class ConvTasNet(nn.Module):
    def __init__(s, n=256, l=16, b=128, h=256):
        super().__init__()
        s.e = nn.Conv1d(1, n, l, l // 2, bias=False)
        s.n = gLN(n)
        s.bt = nn.Conv1d(n, b, 1)
        s.t = nn.ModuleList(TB(b, h, 2**i) for _ in range(2) for i in range(8))
        s.o = nn.Sequential(nn.PReLU(), nn.Conv1d(b, 2 * n, 1))
        s.d = nn.ConvTranspose1d(n, 1, l, l // 2, bias=False)

    def forward(s, x):
        w = F.relu(s.e(x))
        y = s.bt(s.n(w))
        k = 0
        for t in s.t:
            y, q = t(y)
            k = k + q
        m = s.o(k).reshape(x.shape[0], 2, w.shape[1], -1).sigmoid()
        z = m * w[:, None]
        return s.d(z.reshape(-1, w.shape[1], z.shape[-1])).reshape(x.shape[0], 2, -1)


reg("conv_tasnet", lambda: ConvTasNet().eval(), (torch.randn(1, 1, 16000),), [BL])


class WaveNet(nn.Module):
    def __init__(s, r=64, k=128, cond=80):
        super().__init__()
        s.i = nn.Conv1d(1, r, 1)
        s.d = nn.ModuleList(nn.Conv1d(r, 2 * r, 2, dilation=2 ** (i % 10)) for i in range(20))
        s.c = nn.ModuleList(nn.Conv1d(cond, 2 * r, 1) for i in range(20))
        s.r = nn.ModuleList(nn.Conv1d(r, r, 1) for _ in range(20))
        s.k = nn.ModuleList(nn.Conv1d(r, k, 1) for _ in range(20))
        s.o = nn.Sequential(nn.ReLU(), nn.Conv1d(k, k, 1), nn.ReLU(), nn.Conv1d(k, 256, 1))

    def forward(s, x, m):
        c = F.interpolate(m, size=x.shape[2], mode="linear", align_corners=False)
        x = s.i(x)
        q = 0
        for i, (d, cc, r, k) in enumerate(zip(s.d, s.c, s.r, s.k)):
            h = d(F.pad(x, (2 ** (i % 10), 0))) + cc(c)
            a, b = h.chunk(2, 1)
            h = torch.tanh(a) * torch.sigmoid(b)
            q = q + k(h)
            x = x + r(h)
        return F.log_softmax(s.o(q), 1)


reg(
    "wavenet",
    lambda: WaveNet().eval(),
    (torch.randn(1, 1, 8000), torch.randn(1, 80, 32)),
    [BL, {0: "batch", 2: "frames"}],
)


class Demucs(nn.Module):
    def __init__(s, c=48, depth=4):
        super().__init__()
        s.e = nn.ModuleList()
        s.d = nn.ModuleList()
        i = 1
        ch = c
        for k in range(depth):
            s.e.append(nn.Sequential(nn.Conv1d(i, ch, 8, 4), nn.ReLU(), nn.Conv1d(ch, 2 * ch, 1), nn.GLU(1)))
            L = [nn.Conv1d(ch, 2 * ch, 1), nn.GLU(1), nn.ConvTranspose1d(ch, i, 8, 4)] + ([nn.ReLU()] if k else [])
            s.d.insert(0, nn.Sequential(*L))
            i = ch
            ch *= 2
        s.l = nn.LSTM(i, i, 2, bidirectional=True)
        s.p = nn.Linear(2 * i, i)

    def forward(s, x):
        sd = x.std(2, keepdim=True) + 1e-3
        n = x.shape[2]
        x = x / sd
        sk = []
        for e in s.e:
            x = e(x)
            sk.append(x)
        y, _ = s.l(x.permute(2, 0, 1))
        x = s.p(y).permute(1, 2, 0)
        for d in s.d:
            k = sk.pop()
            x = x + k[..., : x.shape[2]]
            x = d(x)
        return x * sd


def dl(n, d=4):
    for _ in range(d):
        n = math.ceil((n - 8) / 4) + 1
    for _ in range(d):
        n = (n - 1) * 4 + 8
    return n


reg("demucs", lambda: Demucs().eval(), (torch.randn(1, 1, dl(16000)),), [BL])


class Whisper(nn.Module):
    def __init__(s, d=384, n=4, h=6):
        super().__init__()
        s.c1 = nn.Conv1d(80, d, 3, padding=1)
        s.c2 = nn.Conv1d(d, d, 3, 2, padding=1)
        s.pe = nn.Parameter(torch.randn(1500, d) * 0.01)
        s.b = nn.ModuleList(
            nn.ModuleDict(
                dict(
                    n1=nn.LayerNorm(d),
                    q=nn.Linear(d, d),
                    k=nn.Linear(d, d, bias=False),
                    v=nn.Linear(d, d),
                    o=nn.Linear(d, d),
                    n2=nn.LayerNorm(d),
                    f=nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d)),
                )
            )
            for _ in range(n)
        )
        s.n = nn.LayerNorm(d)
        s.h = h

    def forward(s, x):
        x = F.gelu(s.c2(F.gelu(s.c1(x)))).permute(0, 2, 1)
        x = x + s.pe[: x.shape[1]]
        for b in s.b:
            y = b["n1"](x)
            sh = lambda t: t.view(t.shape[0], t.shape[1], s.h, -1).transpose(1, 2)
            y = F.scaled_dot_product_attention(sh(b["q"](y)), sh(b["k"](y)), sh(b["v"](y)))
            x = x + b["o"](y.transpose(1, 2).flatten(2))
            x = x + b["f"](b["n2"](x))
        return s.n(x)


reg("whisper_encoder", lambda: Whisper().eval(), (torch.randn(1, 80, 1000),), [BL])


class CRNN(nn.Module):
    def __init__(s, nc=37):
        super().__init__()
        c = (
            lambda i, o, k=3, p=1, bn=False: [nn.Conv2d(i, o, k, 1, p)]
            + ([nn.BatchNorm2d(o)] if bn else [])
            + [nn.ReLU()]
        )
        s.c = nn.Sequential(
            *c(1, 64),
            nn.MaxPool2d(2, 2),
            *c(64, 128),
            nn.MaxPool2d(2, 2),
            *c(128, 256, bn=True),
            *c(256, 256),
            nn.MaxPool2d((2, 2), (2, 1), (0, 1)),
            *c(256, 512, bn=True),
            *c(512, 512),
            nn.MaxPool2d((2, 2), (2, 1), (0, 1)),
            *c(512, 512, 2, 0, True)
        )
        s.r = nn.LSTM(512, 256, 2, bidirectional=True)
        s.o = nn.Linear(512, nc)

    def forward(s, x):
        y = s.c(x).squeeze(2).permute(2, 0, 1)
        y, _ = s.r(y)
        return F.log_softmax(s.o(y), 2)


reg("crnn_ocr", lambda: rnd(CRNN()), (torch.randn(1, 1, 32, 160),), [{0: "batch", 3: "width"}])


class GRUNet(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = nn.Conv1d(80, 256, 5, padding=2)
        s.g = nn.GRU(256, 256, 2, batch_first=True, bidirectional=True)
        s.o = nn.Linear(512, 10)

    def forward(s, x):
        y, h = s.g(F.relu(s.c(x)).transpose(1, 2))
        return s.o(y), h


reg("gru_net", lambda: GRUNet().eval(), (torch.randn(1, 80, 200),), [BL])


class AA(nn.Module):  # BigVGAN antialiased activation
    def __init__(s, c):
        super().__init__()
        s.a = nn.Parameter(torch.rand(c) * 0.2)
        s.b = nn.Parameter(torch.rand(c) * 0.2)
        k = torch.kaiser_window(12, periodic=False, beta=4.6638)
        t = torch.arange(-6, 6) + 0.5
        f = 0.5 * k * torch.sinc(0.5 * t)
        s.register_buffer("f", (f / f.sum())[None, None])
        s.c = c

    def forward(s, x):
        c = s.c
        x = F.pad(x, (5, 5), mode="replicate")
        x = 2 * F.conv_transpose1d(x, s.f.expand(c, -1, -1), stride=2, groups=c)
        x = x[..., 15:-15]
        a = s.a.exp()[None, :, None]
        b = s.b.exp()[None, :, None]
        x = x + 1 / (b + 1e-9) * torch.sin(x * a).pow(2)
        x = F.pad(x, (5, 6), mode="replicate")
        return F.conv1d(x, s.f.expand(c, -1, -1), stride=2, groups=c)


class AMP(nn.Module):
    def __init__(s, c, k):
        super().__init__()
        s.c1 = nn.ModuleList(WN(nn.Conv1d(c, c, k, dilation=d, padding=d * (k - 1) // 2)) for d in (1, 3, 5))
        s.c2 = nn.ModuleList(WN(nn.Conv1d(c, c, k, padding=(k - 1) // 2)) for d in (1, 3, 5))
        s.a = nn.ModuleList(AA(c) for _ in range(6))

    def forward(s, x):
        for i in range(3):
            x = x + s.c2[i](s.a[2 * i + 1](s.c1[i](s.a[2 * i](x))))
        return x


class BigVGAN(nn.Module):
    def __init__(s, c=256):
        super().__init__()
        s.p = WN(nn.Conv1d(80, c, 7, padding=3))
        s.u = nn.ModuleList()
        s.r = nn.ModuleList()
        for r in (8, 8, 4):
            s.u.append(WN(nn.ConvTranspose1d(c, c // 2, 2 * r, r, padding=r // 2)))
            c //= 2
            s.r.append(nn.ModuleList(AMP(c, k) for k in (3, 7, 11)))
        s.a = AA(c)
        s.o = WN(nn.Conv1d(c, 1, 7, padding=3))

    def forward(s, x):
        x = s.p(x)
        for u, r in zip(s.u, s.r):
            x = u(x)
            x = sum(b(x) for b in r) / 3
        return torch.tanh(s.o(s.a(x)))


reg("bigvgan", lambda: BigVGAN().eval(), (torch.randn(1, 80, 40),), [BL])


# other bits
class RAFTish(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = nn.Conv2d(3, 32, 3, 2, 1)

    def forward(s, x, f):
        y = s.c(x)
        b, c, h, w = y.shape
        g = torch.stack(torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")[::-1], -1)[
            None
        ]
        return F.grid_sample(y, g + f, mode="bilinear", padding_mode="border", align_corners=True)


reg("grid_sample", lambda: RAFTish().eval(), (torch.rand(1, 3, 128, 128), torch.randn(1, 64, 64, 2) * 0.05), [{}, {}])


class Deform(nn.Module):
    def __init__(s):
        super().__init__()
        from torchvision.ops import DeformConv2d

        s.o = nn.Conv2d(16, 18, 3, padding=1)
        s.d = DeformConv2d(16, 32, 3, padding=1)

    def forward(s, x):
        return s.d(x, s.o(x))
