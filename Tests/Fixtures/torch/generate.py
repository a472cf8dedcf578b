#!/usr/bin/env python3
"""Writes PyTorch checkpoints and what they hold as safetensors. Needs the Python packages torch and safetensors."""

import collections
import pathlib

import safetensors.torch
import torch

HERE = pathlib.Path(__file__).resolve().parent


def main():
    torch.manual_seed(5)
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = collections.OrderedDict(
        {
            "conv.weight": torch.nn.Parameter(torch.rand(3, 2, 3)),
            "half": torch.rand(5).half(),
            "bfloat": torch.rand(5).bfloat16(),
            "double": torch.rand(2, 2, dtype=torch.float64),
            "long": torch.arange(-3, 3),
            "int": torch.arange(4, dtype=torch.int32),
            "short": torch.arange(4, dtype=torch.int16),
            "byte": torch.arange(4, dtype=torch.uint8),
            "char": torch.arange(-2, 2, dtype=torch.int8),
            "bool": torch.tensor([True, False, True]),
            "num_batches_tracked": torch.tensor(7),
            "empty": torch.zeros(0, 3),
            # Views of one storage.
            "whole": base,
            "transposed": base.t(),
            "part": base[1:3, 2:5],
        }
    )
    torch.save(state, HERE / "state.pt")
    torch.save({"model": {"layers": [state["conv.weight"], {"x": state["long"]}]}, "epoch": 12, "rate": 0.5, "name": "test"},
               HERE / "nested.pth")
    torch.save({"hook": print}, HERE / "refused.ckpt")
    plain = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    safetensors.torch.save_file(plain, HERE / "state.safetensors")


if __name__ == "__main__":
    main()
