#!/usr/bin/env python3
"""Writes networks with attention to a window of time, as PyTorch's exporters write them, with what PyTorch gives.

    python3 -m pip install torch onnx onnxscript numpy
    python3 Scripts/make-streamed-models.py Tests/Fixtures/onnx/streamed

Each is `NAME.onnx` with an open length, and `NAME.npz` with `x` and `y`.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Windowed(nn.Module):
    """A convolution of stride 2, attention to `past` positions before each and `future` after it, and back."""

    def __init__(self, past, future, fused):
        super().__init__()
        self.past, self.future, self.fused = past, future, fused
        self.down = nn.Conv1d(2, 16, 4, stride=2, padding=1)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)
        self.up = nn.ConvTranspose1d(16, 1, 4, stride=2, padding=1)

    def forward(self, x):
        y = self.down(x).transpose(1, 2)
        n, length, _ = y.shape
        q, k, v = self.qkv(self.norm(y)).reshape(n, length, 3, 2, 8).permute(2, 0, 3, 1, 4)
        positions = torch.arange(length)
        distance = positions[:, None] - positions[None, :]
        seen = (distance <= self.past) & (distance >= -self.future)
        if self.fused:
            z = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        else:
            scores = (q @ k.transpose(-1, -2)) * 8**-0.5
            z = scores.masked_fill(~seen, torch.finfo(torch.float32).min).softmax(-1) @ v
        y = y + self.out(z.transpose(1, 2).reshape(n, length, 16))
        return self.up(y.transpose(1, 2))


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    for dynamo in [False, True]:
        for fused in [False, True]:
            model = Windowed(9, 3 if fused else 0, fused).eval()
            x = torch.randn(1, 2, 128)
            name = f"attention_{'dynamo' if dynamo else 'script'}_{'fused' if fused else 'plain'}"
            path = folder / f"{name}.onnx"
            if dynamo:
                length = torch.export.Dim("half", min=8, max=1 << 14)
                program = torch.onnx.export(
                    model, (x,), dynamo=True, dynamic_shapes=({2: 2 * length},), input_names=["x"], output_names=["y"])
                program.save(str(path), external_data=False)
            else:
                torch.onnx.export(
                    model, (x,), str(path), dynamo=False, input_names=["x"], output_names=["y"], opset_version=17,
                    dynamic_axes={"x": {2: "length"}, "y": {2: "length"}})
            with torch.no_grad():
                np.savez(folder / f"{name}.npz", x=x.numpy(), y=model(x).numpy())
            print(path, path.stat().st_size)


main()
