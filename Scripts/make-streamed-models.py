#!/usr/bin/env python3
"""Writes networks with attention to a window of time, as PyTorch's exporters write them, with what PyTorch gives, and one with ONNX's
operator Attention, with what ONNX Runtime gives.

    python3 -m pip install torch onnx onnxruntime onnxscript numpy
    python3 Scripts/make-streamed-models.py Tests/Fixtures/onnx/streamed

Each is `NAME.onnx` with an open length, and `NAME.npz` with `x` and `y`.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
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


def operator(path):
    """The same with the operator, which looks at positions before each alone; a mask leaves out those far away."""
    random = np.random.default_rng(1)
    weights = {"down": (16, 2, 4), "q": (16, 16), "k": (16, 16), "v": (16, 16), "up": (16, 1, 4)}
    constants = {name: (random.standard_normal(shape) / 4).astype(np.float32) for name, shape in weights.items()}
    constants |= {name: np.array(value, np.int64) for name, value in
                  {"zero": 0, "one": 1, "two": 2, "first": [0], "second": [1], "past": 9}.items()}
    nodes = [
        helper.make_node("Conv", ["x", "down"], ["channels"], strides=[2], pads=[1, 1]),
        helper.make_node("Transpose", ["channels"], ["rows"], perm=[0, 2, 1]),
        *[helper.make_node("MatMul", ["rows", name], [f"{name}_rows"]) for name in "qkv"],
        helper.make_node("Shape", ["channels"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "two"], ["length"]),
        helper.make_node("Range", ["zero", "length", "one"], ["positions"]),
        helper.make_node("Unsqueeze", ["positions", "second"], ["queries"]),
        helper.make_node("Unsqueeze", ["positions", "first"], ["keys"]),
        helper.make_node("Sub", ["queries", "keys"], ["distance"]),
        helper.make_node("LessOrEqual", ["distance", "past"], ["near"]),
        helper.make_node("Attention", ["q_rows", "k_rows", "v_rows", "near"], ["attended"], is_causal=1,
                         q_num_heads=2, kv_num_heads=2),
        helper.make_node("Transpose", ["attended"], ["mixed"], perm=[0, 2, 1]),
        helper.make_node("ConvTranspose", ["mixed", "up"], ["y"], strides=[2], pads=[1, 1]),
    ]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "length"])
               for name, channels in [("x", 2), ("y", 1)]]
    graph = helper.make_graph(nodes, "operator", tensors[:1], tensors[1:],
                              [numpy_helper.from_array(value, name) for name, value in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    onnx.save(model, str(path))
    x = random.standard_normal((1, 2, 128)).astype(np.float32)
    y, = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})
    np.savez(path.with_suffix(".npz"), x=x, y=y)


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
    operator(folder / "attention_operator.onnx")


main()
