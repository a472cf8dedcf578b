#!/usr/bin/env python3
"""Writes what five published PyTorch models compute, for Tests/ToeplitzNNTests/PortedModelsTests.swift.

    generate.py FOLDER

Needs torch, torchvision and safetensors, and in FOLDER the models' own files:

    tcn.py       github.com/locuslab/TCN, TCN/tcn.py (MIT)
    unet.py      github.com/mateuszbuda/brain-segmentation-pytorch, unet.py (MIT)
    diffwave.py  github.com/lmnt-com/diffwave, src/diffwave/model.py (Apache 2.0)
    acgan.py     github.com/eriklindernoren/PyTorch-GAN, implementations/acgan/acgan.py (MIT)

The ConvNeXt block is torchvision's (BSD 3-Clause). Parameters and inputs follow from a formula, which the test repeats, so that the
fixture holds names, shapes and outputs only. `lines` counts the lines of the classes that are ported, without blank ones,
comments and doc strings.
"""

import ast
import inspect
import json
import math
import pathlib
import sys
import types

import torch
from safetensors.torch import save_file
from torchvision.models.convnext import CNBlock

HERE = pathlib.Path(__file__).resolve().parent


def value(name, shape, index):
    count = math.prod(shape)
    wave = torch.sin(0.37 * torch.arange(count, dtype=torch.float64) + index)
    if name.endswith(("running_var", "weight_g", "layer_scale")) or (len(shape) == 1 and name.endswith("weight")):
        wave = 1 + 0.3 * wave
    elif len(shape) <= 1:
        wave = 0.1 * wave
    else:
        wave = wave * math.sqrt(2 * shape[0] / count)
    return wave.reshape(shape).to(torch.float32)


def signal(*shape):
    return torch.sin(0.1 * torch.arange(math.prod(shape), dtype=torch.float64) ** 1.5).reshape(shape).to(torch.float32)


def line_count(sources):
    """Lines of code of classes and functions."""
    total = 0
    for source in sources:
        tree = ast.parse(source)
        docs = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                docs |= set(range(node.lineno, node.end_lineno + 1))
        for number, line in enumerate(source.splitlines(), 1):
            if line.strip() and not line.strip().startswith("#") and number not in docs:
                total += 1
    return total


def classes(path, names, scope):
    """The named classes and functions of a file, made in `scope`, and their sources."""
    text = path.read_text()
    found = [node for node in ast.parse(text).body if getattr(node, "name", None) in names]
    for node in found:
        exec(compile(ast.Module([node], []), str(path), "exec"), scope)
    return [ast.get_source_segment(text, node) for node in found]


def main():
    folder = pathlib.Path(sys.argv[1])
    scope = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "sqrt": math.sqrt}
    from collections import OrderedDict

    scope["OrderedDict"] = OrderedDict
    scope["weight_norm"] = torch.nn.utils.weight_norm
    scope["opt"] = types.SimpleNamespace(n_classes=5, latent_dim=6, img_size=8, channels=1)
    scope["Linear"], scope["ConvTranspose2d"] = torch.nn.Linear, torch.nn.ConvTranspose2d
    scope["silu"] = lambda x: x * torch.sigmoid(x)
    sources = {}
    sources["tcn"] = classes(folder / "tcn.py", ["Chomp1d", "TemporalBlock", "TemporalConvNet"], scope)
    sources["unet"] = classes(folder / "unet.py", ["UNet"], scope)
    names = ["Conv1d", "DiffusionEmbedding", "SpectrogramUpsampler", "ResidualBlock", "DiffWave"]
    sources["diffwave"] = classes(folder / "diffwave.py", names, scope)
    sources["acgan"] = classes(folder / "acgan.py", ["Generator"], scope)
    sources["convnext"] = [inspect.getsource(CNBlock)]
    params = types.SimpleNamespace(
        residual_channels=4, unconditional=False, n_mels=4, residual_layers=3, dilation_cycle_length=2, noise_schedule=[0] * 50
    )
    cases = {
        "tcn": (scope["TemporalConvNet"](3, [4, 6], kernel_size=3), [signal(2, 3, 17)]),
        "unet": (scope["UNet"](3, 1, init_features=2), [signal(1, 3, 32, 16)]),
        "convnext": (CNBlock(8, 1e-6, 0.0), [signal(2, 8, 7, 9)]),
        "diffwave": (scope["DiffWave"](params), [signal(2, 512), torch.tensor([3, 41]), signal(2, 4, 2)]),
        "acgan": (scope["Generator"](), [signal(3, 6), torch.tensor([4, 0, 2])]),
    }
    listing, outputs = {}, {}
    for name, (model, inputs) in cases.items():
        state = model.state_dict()
        shapes = {key: list(tensor.shape) for key, tensor in sorted(state.items())}
        # A tensor under two names has the value of its first.
        known = {}
        for index, key in enumerate(sorted(state)):
            pointer = (state[key].data_ptr(), tuple(state[key].shape))
            if state[key].dtype == torch.float32 and pointer not in known:
                known[pointer] = value(key, shapes[key], index)
        with torch.no_grad():
            for key, tensor in state.items():
                if tensor.dtype == torch.float32:
                    tensor.copy_(known[(tensor.data_ptr(), tuple(tensor.shape))])
            outputs[name] = model.eval()(*inputs).contiguous()
        owners = {(state[key].data_ptr(), tuple(state[key].shape)): key for key in sorted(state, reverse=True)}
        same = {key: owners[(state[key].data_ptr(), tuple(state[key].shape))] for key in sorted(state)}
        listing[name] = {
            "keys": [[key, shapes[key], sorted(state).index(same[key])] for key in sorted(state)],
            "lines": line_count(sources[name]),
        }
        print(name, tuple(outputs[name].shape), float(outputs[name].std()), listing[name]["lines"], "lines")
    (HERE / "ported.json").write_text(json.dumps(listing, separators=(",", ":")) + "\n")
    save_file(outputs, HERE / "ported.safetensors")


main()
