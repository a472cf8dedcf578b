"""The convolution cases of `toeplitz bench`, as PyTorch calls and one-node ONNX models."""

import dataclasses
import json
import math
import pathlib
import subprocess

import numpy as np

TOOL = str(pathlib.Path(__file__).resolve().parent.parent / ".build/release/toeplitz")


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    rank: int
    transposed: bool
    batch: int
    cin: int
    cout: int
    size: tuple
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def family(self):
        if self.groups > 1 or min(self.cin, self.cout) <= 3:
            return "depthwise and few channels"
        return "transposed" if self.transposed else f"{self.rank}-d dense"

    def output_size(self):
        if self.transposed:
            return [
                (n - 1) * self.stride - 2 * self.padding + self.dilation * (self.kernel - 1) + 1 for n in self.size
            ]
        return [(n + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1 for n in self.size]

    def flops(self):
        positions = math.prod(self.size if self.transposed else self.output_size())
        return 2 * self.batch * self.cin * self.cout // self.groups * self.kernel**self.rank * positions

    def weight_shape(self):
        first, second = (self.cin, self.cout) if self.transposed else (self.cout, self.cin)
        return [first, second // self.groups] + [self.kernel] * self.rank

    def torch_call(self, x, weight, bias):
        import torch.nn.functional as functional

        name = f"conv_transpose{self.rank}d" if self.transposed else f"conv{self.rank}d"
        call = getattr(functional, name)
        return lambda: call(
            x, weight, bias, stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups
        )

    def onnx_model(self, weight, bias):
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        node = helper.make_node(
            "ConvTranspose" if self.transposed else "Conv",
            ["x", "w", "b"],
            ["y"],
            kernel_shape=[self.kernel] * self.rank,
            strides=[self.stride] * self.rank,
            pads=[self.padding] * (2 * self.rank),
            dilations=[self.dilation] * self.rank,
            group=self.groups,
        )
        graph = helper.make_graph(
            [node],
            "case",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [self.batch, self.cin, *self.size])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [self.batch, self.cout, *self.output_size()])],
            [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        return model.SerializeToString()


def all_cases():
    """The cases that the tool knows."""
    lines = subprocess.run([TOOL, "bench", "--list"], check=True, capture_output=True, text=True).stdout.splitlines()
    return [
        Case(
            name=entry["name"],
            rank=entry["rank"],
            transposed=entry["isTransposed"],
            batch=entry["batch"],
            cin=entry["inChannels"],
            cout=entry["outChannels"],
            size=tuple(entry["size"]),
            kernel=entry["kernel"],
            stride=entry["stride"],
            padding=entry["padding"],
            dilation=entry["dilation"],
            groups=entry["groups"],
        )
        for entry in map(json.loads, lines)
    ]


def data(case):
    """Input, weight and bias of a case, the same on every run."""
    random = np.random.default_rng(7)
    scale = 1 / math.sqrt(case.cin // case.groups * case.kernel**case.rank)
    x = random.uniform(-1, 1, [case.batch, case.cin, *case.size]).astype(np.float32)
    weight = (random.uniform(-1, 1, case.weight_shape()) * scale).astype(np.float32)
    bias = random.uniform(-1, 1, [case.cout]).astype(np.float32)
    return x, weight, bias
