"""The cases of `toeplitz bench` with random numbers, for our tool and for its peers."""

import dataclasses
import functools
import io
import json
import math
import pathlib
import subprocess
import warnings

import numpy as np

TOOL = str(pathlib.Path(__file__).resolve().parent.parent / ".build/release/toeplitz")


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A single layer."""

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

    is_network = False

    @property
    def family(self):
        if self.groups > 1 or min(self.cin, self.cout) <= 3:
            return "depthwise and few channels"
        return "transposed" if self.transposed else f"{self.rank}-d dense"

    @property
    def input_shape(self):
        return [self.batch, self.cin, *self.size]

    def output_size(self):
        if self.transposed:
            return [
                (n - 1) * self.stride - 2 * self.padding + self.dilation * (self.kernel - 1) + 1 for n in self.size
            ]
        return [(n + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1 for n in self.size]

    @functools.cached_property
    def arrays(self):
        """Input, weight and bias, the same on every run."""
        random = np.random.default_rng(7)
        first, second = (self.cin, self.cout) if self.transposed else (self.cout, self.cin)
        shape = [first, second // self.groups] + [self.kernel] * self.rank
        scale = 1 / math.sqrt(self.cin // self.groups * self.kernel**self.rank)
        x = random.uniform(-1, 1, self.input_shape).astype(np.float32)
        weight = (random.uniform(-1, 1, shape) * scale).astype(np.float32)
        bias = random.uniform(-1, 1, [self.cout]).astype(np.float32)
        return x, weight, bias

    @property
    def input(self):
        return self.arrays[0]

    def write(self, folder):
        """What `toeplitz bench --data` reads."""
        for name, array in zip(("x", "weight", "bias"), self.arrays):
            np.save(folder / f"{name}.npy", array)

    def torch_function(self):
        """The layer as a PyTorch user calls it."""
        import torch

        call = getattr(torch.nn.functional, f"conv_transpose{self.rank}d" if self.transposed else f"conv{self.rank}d")
        weight, bias = (torch.from_numpy(a) for a in self.arrays[1:])
        options = dict(stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups)
        return lambda x: call(x, weight, bias, **options)

    def onnx_model(self):
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
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.input_shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [self.batch, self.cout, *self.output_size()])],
            [numpy_helper.from_array(a, n) for a, n in zip(self.arrays[1:], "wb")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        return model.SerializeToString()

    def with_arrays(self, x=None, weight=None):
        """The same case with another input or weight."""
        other = dataclasses.replace(self)
        old_x, old_weight, bias = self.arrays
        other.__dict__["arrays"] = (old_x if x is None else x, old_weight if weight is None else weight, bias)
        return other

    def with_length(self, length):
        """The same one-dimensional layer with another input."""
        other = dataclasses.replace(self, size=(length,))
        x, weight, bias = self.arrays
        other.__dict__["arrays"] = (np.ascontiguousarray(x[..., :length]), weight, bias)
        return other


@dataclasses.dataclass(frozen=True)
class Network:
    """A whole network."""

    name: str
    network: str
    shape: tuple

    is_network = True
    transposed = False
    family = "whole networks"

    @property
    def input_shape(self):
        return list(self.shape)

    @functools.cached_property
    def input(self):
        return np.random.default_rng(7).uniform(-1, 1, self.shape).astype(np.float32)

    @functools.cached_property
    def module(self):
        import networks

        return networks.random_network(self.network)

    @functools.cached_property
    def folded(self):
        """The module with batch normalisation folded into the convolutions, as every runtime does it for inference."""
        import torch.fx.experimental.optimization as optimization

        return optimization.fuse(self.module)

    def write(self, folder):
        """The input, and the model that ONNX Runtime and OpenVINO get."""
        np.save(folder / "x.npy", self.input)
        (folder / "model.onnx").write_bytes(self.onnx_model())

    def torch_function(self):
        return self.folded

    @functools.cache
    def onnx_model(self):
        import torch

        buffer = io.BytesIO()
        with warnings.catch_warnings():
            # The exporter that needs no further package calls itself old.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                self.folded, (torch.from_numpy(self.input),), buffer, input_names=["x"], output_names=["y"],
                opset_version=17, dynamo=False,
            )  # fmt: skip
        return buffer.getvalue()


def all_cases():
    """The cases that the tool knows."""
    lines = subprocess.run([TOOL, "bench", "--list"], check=True, capture_output=True, text=True).stdout.splitlines()
    return [
        Network(entry["name"], entry["network"], tuple(entry["inputShape"]))
        if "network" in entry
        else Convolution(
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


def chosen_cases(names):
    """The cases of the given names, or all; stops if there is no such case."""
    cases = all_cases()
    known = {case.name for case in cases}
    for name in names:
        if name not in known:
            raise SystemExit(f"error: no case {name}; there are {', '.join(case.name for case in cases)}")
    return [case for case in cases if not names or case.name in names]
