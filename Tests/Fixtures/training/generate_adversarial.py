#!/usr/bin/env python3
"""Golden values of spectral norm, of HiFi-GAN's discriminators and of optimisers' state dictionaries from PyTorch.

    python3 generate_adversarial.py     # writes adversarial.json and optimizers.pt beside this file

The discriminators are those of Kong et al. (https://github.com/jik876/hifi-gan, models.py, MIT licence) with an eighth of the channels;
their weights are a formula, so that no weights need to be stored.
"""

import json
import pathlib
import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm, weight_norm
from torch.nn.utils.parametrizations import spectral_norm as parametrized_spectral_norm

warnings.filterwarnings("ignore")
FOLDER = pathlib.Path(__file__).resolve().parent
torch.set_default_dtype(torch.float64)
torch.manual_seed(0)


def plain(tensor):
    return {"shape": list(tensor.shape), "values": tensor.detach().reshape(-1).tolist()}


def spectral():
    cases = []
    for name, layer, dim in [("Conv1d", nn.Conv1d(4, 6, 3, groups=2), None), ("ConvTranspose1d", nn.ConvTranspose1d(4, 6, 4, stride=2), None),
                             ("Linear", nn.Linear(5, 3), None), ("Conv2d", nn.Conv2d(2, 3, (3, 2)), None)]:
        for wrap in (spectral_norm, parametrized_spectral_norm):
            state = {key: value.clone() for key, value in layer.state_dict().items()}
            kind = type(layer)
            fresh = nn.Linear(5, 3) if kind is nn.Linear else kind(
                layer.in_channels, layer.out_channels, layer.kernel_size, stride=layer.stride, groups=layer.groups)
            fresh.load_state_dict(state)
            for iterations in (1, 2):
                model = type(fresh)(5, 3) if kind is nn.Linear else kind(
                    layer.in_channels, layer.out_channels, layer.kernel_size, stride=layer.stride, groups=layer.groups)
                model.load_state_dict(state)
                model = wrap(model, n_power_iterations=iterations)
                start = {key: plain(value) for key, value in model.state_dict().items()}
                x = torch.randn(2, 5) if kind is nn.Linear else torch.randn(2, 2, 5, 4) if kind is nn.Conv2d else torch.randn(2, 4, 9)
                outputs = []
                for _ in range(3):
                    model.zero_grad()
                    y = model(x)
                    outputs.append(plain(y))
                (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum().backward()
                gradients = {key: plain(value.grad) for key, value in model.named_parameters()}
                end = {key: plain(value) for key, value in model.state_dict().items()}
                model.eval()
                cases.append({
                    "layer": name, "parametrized": wrap is parametrized_spectral_norm, "iterations": iterations, "start": start,
                    "input": plain(x), "outputs": outputs, "gradients": gradients, "end": end, "evaluated": plain(model(x))})
    return cases


class DiscriminatorP(nn.Module):
    def __init__(self, period, divisor):
        super().__init__()
        self.period = period
        c = [n // divisor for n in (32, 128, 512, 1024, 1024)]
        pad = (2, 0)
        self.convs = nn.ModuleList([
            weight_norm(nn.Conv2d(1, c[0], (5, 1), (3, 1), padding=pad)), weight_norm(nn.Conv2d(c[0], c[1], (5, 1), (3, 1), padding=pad)),
            weight_norm(nn.Conv2d(c[1], c[2], (5, 1), (3, 1), padding=pad)), weight_norm(nn.Conv2d(c[2], c[3], (5, 1), (3, 1), padding=pad)),
            weight_norm(nn.Conv2d(c[3], c[4], (5, 1), 1, padding=(2, 0)))])
        self.conv_post = weight_norm(nn.Conv2d(c[4], 1, (3, 1), 1, padding=(1, 0)))

    def forward(self, x):
        fmap = []
        b, c, t = x.shape
        if t % self.period != 0:
            n_pad = self.period - (t % self.period)
            x = F.pad(x, (0, n_pad), "reflect")
            t = t + n_pad
        x = x.view(b, c, t // self.period, self.period)
        for layer in self.convs:
            x = F.leaky_relu(layer(x), 0.1)
            fmap.append(x)
        x = self.conv_post(x)
        fmap.append(x)
        return torch.flatten(x, 1, -1), fmap


class DiscriminatorS(nn.Module):
    def __init__(self, use_spectral_norm, divisor):
        super().__init__()
        norm = spectral_norm if use_spectral_norm else weight_norm
        c = [n // divisor for n in (128, 128, 256, 512, 1024, 1024, 1024)]
        self.convs = nn.ModuleList([
            norm(nn.Conv1d(1, c[0], 15, 1, padding=7)), norm(nn.Conv1d(c[0], c[1], 41, 2, groups=4, padding=20)),
            norm(nn.Conv1d(c[1], c[2], 41, 2, groups=16, padding=20)), norm(nn.Conv1d(c[2], c[3], 41, 4, groups=16, padding=20)),
            norm(nn.Conv1d(c[3], c[4], 41, 4, groups=16, padding=20)), norm(nn.Conv1d(c[4], c[5], 41, 1, groups=16, padding=20)),
            norm(nn.Conv1d(c[5], c[6], 5, 1, padding=2))])
        self.conv_post = norm(nn.Conv1d(c[6], 1, 3, 1, padding=1))

    def forward(self, x):
        fmap = []
        for layer in self.convs:
            x = F.leaky_relu(layer(x), 0.1)
            fmap.append(x)
        x = self.conv_post(x)
        fmap.append(x)
        return torch.flatten(x, 1, -1), fmap


class MultiPeriod(nn.Module):
    def __init__(self, divisor):
        super().__init__()
        self.discriminators = nn.ModuleList([DiscriminatorP(p, divisor) for p in (2, 3, 5, 7, 11)])

    def forward(self, x):
        return [d(x) for d in self.discriminators]


class MultiScale(nn.Module):
    def __init__(self, divisor):
        super().__init__()
        self.discriminators = nn.ModuleList([DiscriminatorS(i == 0, divisor) for i in range(3)])
        self.meanpools = nn.ModuleList([nn.AvgPool1d(4, 2, padding=2), nn.AvgPool1d(4, 2, padding=2)])

    def forward(self, x):
        found = []
        for i, d in enumerate(self.discriminators):
            if i != 0:
                x = self.meanpools[i - 1](x)
            found.append(d(x))
        return found


def formula(model):
    """Weights from the positions of keys in alphabetical order and of elements."""
    state = model.state_dict()
    for index, key in enumerate(sorted(state)):
        count = state[key].numel()
        values = torch.sin(torch.arange(count) * 0.37 + index)
        scale = 1 if key.endswith(("_g", "_u")) else 0.1
        state[key] = (values.abs() + 0.5 if key.endswith("_g") else values * scale).reshape(state[key].shape)
    model.load_state_dict(state)


def discriminators():
    real = torch.sin(torch.arange(2 * 1030) * 0.05).reshape(2, 1, 1030)
    fake = torch.cos(torch.arange(2 * 1030) * 0.07).reshape(2, 1, 1030) * 0.5
    found = {}
    for name, model in [("mpd", MultiPeriod(8)), ("msd", MultiScale(8))]:
        formula(model)
        model.train()
        a, b = model(real), model(fake)
        d_loss = sum(torch.mean((1 - x[0]) ** 2) + torch.mean(y[0] ** 2) for x, y in zip(a, b))
        g_loss = sum(torch.mean((1 - y[0]) ** 2) for y in b)
        f_loss = 2 * sum(torch.mean(torch.abs(u - v)) for x, y in zip(a, b) for u, v in zip(x[1], y[1]))
        found[name] = {
            "keys": {key: list(value.shape) for key, value in model.state_dict().items()},
            "scores": [plain(x[0]) for x in a], "features": [[f.abs().mean().item() for f in x[1]] for x in a],
            "discriminator": d_loss.item(), "adversarial": g_loss.item(), "matching": f_loss.item()}
    return found


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = weight_norm(nn.Conv1d(2, 3, 3))
        self.head = nn.Linear(3, 2)


def optimizers():
    """Three steps, the state, and where five more steps lead."""
    cases, files = [], {}
    for name, make in [
        ("adam", lambda p: torch.optim.Adam(p, lr=0.03, betas=(0.8, 0.99), amsgrad=True)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.03)),
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01)),
        ("rmsprop", lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True)),
    ]:
        model = Network()
        optimizer = make(model.parameters())

        def step():
            found = {}
            for key, parameter in model.named_parameters():
                parameter.grad = torch.randn_like(parameter)
                found[key] = plain(parameter.grad)
            optimizer.step()
            return found

        for _ in range(3):
            step()
        files[name] = {"model": {k: v.clone() for k, v in model.state_dict().items()}, "optimizer": optimizer.state_dict()}
        files = {k: torch.load(save(v), weights_only=False) if k == name else v for k, v in files.items()}
        gradients = [step() for _ in range(5)]
        cases.append({"name": name, "gradients": gradients, "end": {k: plain(v) for k, v in model.state_dict().items()}})
    torch.save(files, FOLDER / "optimizers.pt")
    return cases


def save(value):
    import io

    stream = io.BytesIO()
    torch.save(value, stream)
    stream.seek(0)
    return stream


if __name__ == "__main__":
    found = {"spectral": spectral(), "discriminators": discriminators(), "optimizers": optimizers()}
    (FOLDER / "adversarial.json").write_text(json.dumps(found, separators=(",", ":")) + "\n")
