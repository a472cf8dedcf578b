#!/usr/bin/env python3
"""Writes a state dictionary in Modular MAX's names and order of axes for each kind of convolution, with PyTorch's outputs.

Needs torch and safetensors. MAX's order is [k..., in / groups, out], transposed [k..., out / groups, in]; its layers with weight
norm keep `weight_g` of shape (C, 1, 1) and the bias of the convolution inside as `conv.bias`.
"""

import pathlib

import torch
from safetensors.torch import save_file

torch.manual_seed(23)
HERE = pathlib.Path(__file__).resolve().parent


def permuted(weight):
    rank = weight.dim() - 2
    return weight.permute(*range(2, rank + 2), 1, 0).contiguous()


def main():
    cases = {
        "conv1d": (torch.nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 11), "weight", "bias"),
        "named": (torch.nn.Conv1d(3, 5, 3), (1, 3, 9), "up.weight", "up.bias"),
        "filter": (torch.nn.Conv2d(3, 4, (3, 2), padding=(1, 0)), (1, 3, 6, 7), "filter", "bias"),
        "transposed": (torch.nn.ConvTranspose1d(6, 4, 4, stride=2, padding=1, groups=2), (1, 6, 5), "weight", "bias"),
        "bare": (torch.nn.ConvTranspose1d(3, 2, 4, stride=2, bias=False), (1, 3, 5), "weight", None),
    }
    for name, (layer, shape, weight, bias) in cases.items():
        x = torch.randn(shape)
        state = {weight: permuted(layer.weight.detach())}
        if bias:
            state[bias] = layer.bias.detach()
        save_file(state, HERE / f"{name}.safetensors")
        save_file({"x": x, "y": layer(x).detach()}, HERE / f"{name}.values.safetensors")
    layer = torch.nn.utils.weight_norm(torch.nn.ConvTranspose1d(6, 4, 4, stride=2, padding=1))
    with torch.no_grad():
        layer.weight_g.mul_(1.5)
    x = torch.randn(1, 6, 5)
    state = {
        "weight_g": layer.weight_g.detach(),
        "weight_v": permuted(layer.weight_v.detach()),
        "conv.bias": layer.bias.detach(),
    }
    save_file(state, HERE / "weightnorm.safetensors")
    save_file({"x": x, "y": layer(x).detach()}, HERE / "weightnorm.values.safetensors")


main()
