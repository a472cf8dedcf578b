#!/usr/bin/env python3
"""Makes random networks and compares what the tool computes of them, with all that it fuses, with ONNX Runtime.

    Scripts/random-models.py [--tool .build/release/toeplitz] [--count 300] [--first 0] [--keep FOLDER]

Needs the Python packages numpy, onnx and onnxruntime. Network number i is the same each time: some ten matrix products,
convolutions, normalisations, activations, sums, slices, permutations and joins of each other's results, on one row, some
rows, sequences, signals or images. Values differ by at most 2e-4 of the largest. Networks that differ are kept in FOLDER.
"""

import argparse
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

TOLERANCE = 2e-4
ACTIVATIONS = ["Relu", "Sigmoid", "Tanh", "Elu", "HardSigmoid", "Softplus", "Erf", "Neg", "Abs", "LeakyRelu"]


class Network:
    """Nodes that are added at random; `values` has the name and the shape of each result."""

    def __init__(self, seed):
        self.choice = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.nodes, self.constants = [], []
        batch, channels = self.choice.choice([1, 1, 2, 3, 5]), self.choice.choice([3, 8, 16, 33, 64, 100, 128, 200, 300])
        size = {"rows": [], "sequence": [1, 2, 7], "signal": [1, 5, 17, 40], "image": [1, 4, 9, 16]}
        self.kind = self.choice.choice(["rows", "rows", "sequence", "signal", "image"])
        sizes = [self.choice.choice(size[self.kind]) for _ in range({"rows": 0, "image": 2}.get(self.kind, 1))]
        convolves = self.kind in ("signal", "image")
        self.shape = (batch, channels, *sizes) if convolves else (batch, *sizes, channels)
        self.values = [("x", self.shape), ("z", self.shape)]
        for _ in range(self.choice.randint(3, 14)):
            self.grow()

    def constant(self, values):
        self.constants.append(numpy_helper.from_array(np.asarray(values), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def normal(self, *shape, scale=0.3):
        return self.numbers.normal(0, scale, shape).astype(np.float32)

    def add(self, operation, inputs, shape, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], **attributes))
        self.values.append((name, shape))
        return name

    def likely(self, probability):
        return self.choice.random() < probability

    def linear(self, name, shape):
        """A convolution or a product with a matrix."""
        if self.kind in ("signal", "image"):
            if len(shape) != len(self.shape):
                return name, shape
            rank, kernel = len(shape) - 2, self.choice.choice([1, 1, 3, 3, 5])
            channels = self.choice.choice([shape[1], shape[1], shape[1], 16, 33])
            groups = shape[1] if channels == shape[1] and self.likely(0.2) else 1
            depth = shape[1] // groups
            weight = self.normal(channels, depth, *[kernel] * rank, scale=(depth * kernel**rank) ** -0.5)
            inputs = [name, self.constant(weight)] + ([self.constant(self.normal(channels))] if self.likely(0.5) else [])
            result = (shape[0], channels, *shape[2:])
            name = self.add("Conv", inputs, result, kernel_shape=[kernel] * rank, pads=[kernel // 2] * 2 * rank, group=groups)
            if self.likely(0.3):
                parts = [self.normal(channels), self.normal(channels), self.normal(channels), abs(self.normal(channels)) + 0.5]
                name = self.add("BatchNormalization", [name] + [self.constant(part) for part in parts], result)
            return name, result
        columns = self.choice.choice([shape[-1], shape[-1], shape[-1], 64, 33])
        weight = self.normal(shape[-1], columns, scale=shape[-1] ** -0.5)
        result = (*shape[:-1], columns)
        if len(shape) == 2 and self.likely(0.3):
            return self.add("Gemm", [name, self.constant(weight.T.copy()), self.constant(self.normal(columns))], result, transB=1), result
        name = self.add("MatMul", [name, self.constant(weight)], result)
        if self.likely(0.4):
            name = self.add("Add", [name, self.constant(self.normal(columns))], result)
        return name, result

    def partner(self, name, shape):
        """Another value of the same shape, if there is one."""
        others = [other for other, size in self.values if size == shape and other != name]
        return self.choice.choice(others) if others else name

    def grow(self):
        name, shape = self.choice.choice(self.values[-7:])
        other = self.partner(name, shape)
        way = self.choice.choice(["linear"] * 4 + ["branches"] * 3 + ["sum"] * 3 + ["activation"] * 2
                                 + ["gate", "number", "slice", "permute", "join", "softmax", "reshape"])
        if way == "linear":
            self.linear(name, shape)
        elif way == "branches":
            # Two ways that meet again, as in recurrent cells and residual units.
            (left, size), (right, other_size) = self.linear(name, shape), self.linear(other, shape)
            if size == other_size:
                sum = self.add(self.choice.choice(["Add", "Add", "Sub", "Mul"]), [left, right], size)
                if self.likely(0.5):
                    self.add(self.choice.choice(ACTIVATIONS), [sum], size)
        elif way == "sum":
            pair = self.choice.sample([name, other], 2)
            self.add(self.choice.choice(["Add", "Add", "Add", "Mul", "Sub", "Max"]), pair, shape)
        elif way == "activation":
            self.add(self.choice.choice(ACTIVATIONS), [name], shape)
        elif way == "gate":
            self.add("Mul", [name, self.add("Sigmoid", [name], shape)], shape)
        elif way == "number":
            number = self.choice.choice([np.float32(self.choice.choice([0.5, 2, -1])), self.normal(*shape[1:]), self.normal(shape[-1])])
            self.add(self.choice.choice(["Mul", "Add", "Sub", "Div"]), [name, self.constant(number)], shape)
        elif way == "slice" and shape[-1] >= 4:
            start, step = self.choice.randint(0, shape[-1] // 2), self.choice.choice([1, 1, 2])
            end = self.choice.randint(start + 1, shape[-1])
            bounds = [self.constant(np.array([bound])) for bound in (start, end, len(shape) - 1, step)]
            self.add("Slice", [name, *bounds], (*shape[:-1], len(range(start, end, step))))
        elif way == "permute" and len(shape) >= 3:
            axes = list(range(1, len(shape)))
            self.choice.shuffle(axes)
            self.add("Transpose", [name], (shape[0], *[shape[axis] for axis in axes]), perm=[0, *axes])
        elif way == "join":
            axis = self.choice.randint(1, len(shape) - 1)
            self.add("Concat", [name, other], tuple(2 * size if at == axis else size for at, size in enumerate(shape)), axis=axis)
        elif way == "softmax":
            self.add("Softmax", [name], shape, axis=-1)
        elif way == "reshape" and len(shape) >= 3:
            result = (shape[0], int(np.prod(shape[1:-1])), shape[-1])
            self.add("Reshape", [name, self.constant(np.array([shape[0], -1, shape[-1]]))], result)

    def model(self):
        """The model and its inputs; None if it has none or is too large."""
        used = {name for node in self.nodes for name in node.input}
        inputs = [name for name in ("x", "z") if name in used]
        outputs = [value for value in self.values[2:] if value[0] not in used or self.likely(0.1)]
        if not inputs or sum(int(np.prod(shape)) for _, shape in self.values) > 1 << 22:
            return None
        port = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "random", [port(name, self.shape) for name in inputs],
                                  [port(*value) for value in outputs], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return model, {name: self.normal(*self.shape, scale=1) for name in inputs}


def differences(tool, model, inputs, folder):
    """What is wrong with the outputs; empty if nothing is."""
    onnx.save(model, folder / "model.onnx")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    # Some of its own optimisations refuse such networks.
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), settings, providers=["CPUExecutionProvider"])
    command = [tool, "run", folder / "model.onnx", "--output-dir", folder / "out"]
    for name, value in inputs.items():
        np.save(folder / f"{name}.npy", value)
        command += ["--input", f"{name}={folder / name}.npy"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        return run.stderr.strip()
    for port, expected in zip(session.get_outputs(), session.run(None, inputs)):
        got = np.load(folder / "out" / f"{port.name}.npy")
        if got.shape != expected.shape:
            return f"{port.name}: {got.shape} for {expected.shape}"
        # Products of differences and quotients may be large, or no numbers in both.
        same = (got == expected) | np.isnan(got) & np.isnan(expected)
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=1e-6)
        worst = np.abs(np.where(same, 0, got - expected)).max(initial=0) / scale
        if not worst <= TOLERANCE:
            return f"{port.name}: differs by {worst:.1e}"
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=".build/release/toeplitz")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", type=pathlib.Path)
    options = parser.parse_args()
    runs = wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(options.first, options.first + options.count):
            made = Network(seed).model()
            if made is None:
                continue
            runs += 1
            problem = differences(options.tool, *made, pathlib.Path(temporary))
            if problem:
                wrong += 1
                print(f"{seed}: {problem}", flush=True)
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    onnx.save(made[0], options.keep / f"{seed}.onnx")
    print(f"{runs - wrong} of {runs} networks agree")
    sys.exit(wrong != 0 or runs == 0)


if __name__ == "__main__":
    main()
