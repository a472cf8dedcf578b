#!/usr/bin/env python3
"""Makes random stacks of layers in Google's sequence-layers, and compares what it computes and tells with Toeplitz.

    Scripts/sequence-layers.py [--tool .build/release/toeplitz] [--count 300] [--first 0] [--jobs 1] [--keep FOLDER]

Needs the Python packages sequence-layers (0.2, in JAX on a CPU), numpy and onnx. Stack number i is the same each time: some layers
that both have (convolutions, transposed convolutions, pooling, frames and their sums, up- and downsampling, dense layers,
activations, gated units, layer normalisation, LSTMs, residual and parallel branches, delays and look-ahead), with random strides,
dilations, groups and paddings. The same weights are written as an ONNX model. Compared are

- outputs: of all layers at once, of steps of a block each, and of Toeplitz's offline run, within 1e-6 of the largest output (or of
  1); Toeplitz's run in pieces of a random length must have the bits of its offline run;
- block size and output ratio;
- `receptive_field_per_step`: first and last input position for each output position of a block. Where they differ, NaN in each input
  position of sequence-layers' own result decides;
- `output_latency` with `latency`, and `input_latency` with `lookahead`, which are defined differently: see `View`.

Stacks that differ are printed and kept in FOLDER. Of four stacks one has layers that sequence-layers cannot step (`same` and `valid`
padding); all but latencies are compared of it.
"""

import argparse
import collections
import dataclasses
import enum
import fractions
import json
import math
import multiprocessing
import os
import pathlib
import random
import subprocess
import sys
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import sequence_layers.jax as sl
from onnx import TensorProto, helper, numpy_helper
from sequence_layers.jax import utils

TOLERANCE = 1e-6
MOST_BLOCK, MOST_RATIO, MOST_FIELD = 24, 16, 400


class View(enum.Enum):
    """Which network is exported: the one that is computed, or one whose look-ahead is what sequence-layers counts as latency."""

    NETWORK = "network"
    # A delay of the steps alone (`delay_layer_output=False`) changes no result; sequence-layers needs it where branches or strides
    # meet at different latencies. Toeplitz needs none, so its latency is the smaller one. Here such a delay is a layer that looks
    # as far ahead, and `latency` must be `output_latency`.
    DELAYS = "delays"
    # `input_latency` is not derived from what is read, but declared by each kind of layer: a semicausal convolution, which reads
    # stride - 1 positions ahead, declares 0, though `reverse_causal` with a kernel as long as the stride computes the very same
    # and declares stride - 1. It may as the rest of a block is waited for anyway. A `Lookahead` declares none, as its result is
    # shorter; delays of both kinds declare their length; `Downsample1D` declares rate - 1, though it reads the first of a block.
    # Here layers look as far ahead as they declare, and `lookahead` must be `input_latency`.
    DECLARED = "declared"


@dataclasses.dataclass
class Part:
    """A layer, and how it is written as ONNX: a function of graph and input name that returns the output's name."""

    label: str
    config: object
    channels: int
    export: object
    ratio: fractions.Fraction = fractions.Fraction(1)
    # Strides inside, by which a latency in front must be divisible in sequence-layers.
    stride: int = 1
    # Whether the length must be a multiple of the block, as branches meet.
    whole: bool = False


class Graph:
    """ONNX nodes with their weights."""

    def __init__(self, view):
        self.view = view
        self.nodes, self.weights = [], []

    def weight(self, values):
        self.weights.append(numpy_helper.from_array(np.asarray(values), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def add(self, operation, inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operation, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def channels_last(self, x, operation, *weights, **attributes):
        turned = self.add("Transpose", [x], perm=[0, 2, 1])
        return self.add("Transpose", [self.add(operation, [turned, *weights], **attributes)], perm=[0, 2, 1])

    def look_ahead(self, x, count):
        """Reads `count` positions more; what it computes does not matter."""
        return self.add("AveragePool", [x], kernel_shape=[count + 1], pads=[0, count])

    def model(self, part, channels, path):
        y = part.export(self, "x")
        self.nodes.append(helper.make_node("Identity", [y], ["y"]))
        graph = helper.make_graph(
            self.nodes, "stack", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, "time"])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, part.channels, "frames"])], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def padding_of(padding, kernel, stride, dilation, view):
    """Positions in front and behind that a convolution or pooling pads."""
    extent = (kernel - 1) * dilation
    if padding in ("causal", "causal_valid") or (padding == "semicausal" and view is View.DECLARED):
        return [extent, 0]
    if padding == "semicausal":
        front = max(extent + 1 - stride, 0)
        return [front, extent - front]
    if padding == "reverse_causal":
        return [0, extent]
    if padding == "same":
        return [extent // 2, extent - extent // 2]
    return [0, 0]  # of valid paddings the positions that would read beyond the ends do not exist


def transposed_padding_of(padding, kernel, stride, dilation):
    """Positions that a transposed convolution leaves out in front and behind, and that it adds behind."""
    extent = (kernel - 1) * dilation
    if padding == "causal":
        front, behind = 0, extent + 1 - stride
    elif padding == "same":
        total = extent + stride - 1
        left = extent if stride > extent else -(-total // 2)
        front, behind = extent - left, extent - (total - left)
    else:
        front, behind = 0, min(0, extent + 1 - stride)
    return [front, max(0, behind)], max(0, -behind)


class Draw:
    """Draws layers."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.steps = self.random.random() < 0.75
        # Outputs in front that are not valid.
        self.front = 0

    def normal(self, *shape, scale=1.0):
        return self.numbers.normal(0, scale, shape).astype(np.float32)

    def likely(self, probability):
        return self.random.random() < probability

    def paddings(self):
        """Of a convolution or pooling."""
        if not self.steps and self.likely(0.5):
            return self.random.choice(["same", "valid"])
        return self.random.choice(["causal", "causal", "reverse_causal", "semicausal", "semicausal", "reverse_causal_valid"])

    @staticmethod
    def constant(values):
        return lambda key, shape, dtype=jnp.float32: jnp.asarray(values, dtype).reshape(shape)

    # Layers; each takes the channels of its input.

    def convolution(self, channels, kernel=None, stride=None, dilation=None, padding=None, outputs=None):
        kernel = kernel or self.random.randint(1, 7)
        stride = stride or self.random.choice([1, 1, 1, 2, 3, 4])
        dilation = dilation or self.random.choice([1, 1, 2, 3])
        padding = padding or self.paddings()
        if padding == "causal" and self.likely(0.3):
            padding = "causal_valid"
        groups = self.random.choice([g for g in (1, 2, 3) if channels % g == 0])
        outputs = outputs or groups * self.random.randint(1, 3)
        if outputs % groups:
            groups = 1
        depthwise = self.likely(0.15) and outputs % channels == 0
        groups = channels if depthwise else groups
        weight = self.normal(kernel, channels // groups, outputs, scale=(kernel * channels / groups) ** -0.5)
        bias = self.normal(outputs, scale=0.3) if self.likely(0.7) else None
        shared = dict(
            kernel_size=kernel, strides=stride, dilation_rate=dilation, padding=padding, use_bias=bias is not None,
            kernel_init=self.constant(weight), **({} if bias is None else {"bias_init": self.constant(bias)}))
        if depthwise:
            config = sl.DepthwiseConv1D.Config(depth_multiplier=outputs // channels, **shared)
        else:
            config = sl.Conv1D.Config(filters=outputs, groups=groups, **shared)

        def export(graph, x):
            inputs = [x, graph.weight(weight.transpose(2, 1, 0))] + ([] if bias is None else [graph.weight(bias)])
            return graph.add(
                "Conv", inputs, strides=[stride], dilations=[dilation], group=groups,
                pads=padding_of(padding, kernel, stride, dilation, graph.view))

        label = f"conv(k {kernel}, s {stride}, d {dilation}, g {groups}, {padding}, {outputs} out)"
        return Part(label, config, outputs, export, fractions.Fraction(1, stride), stride)

    def transposed(self, channels, stride=None, padding=None, outputs=None):
        kernel, stride = self.random.randint(1, 7), stride or self.random.choice([1, 2, 2, 3, 4])
        dilation = self.random.choice([1, 1, 1, 2])
        padding = padding or ("causal" if self.steps else self.random.choice(["causal", "same", "valid"]))
        groups = self.random.choice([g for g in (1, 2) if channels % g == 0])
        outputs = outputs or groups * self.random.randint(1, 3)
        if outputs % groups:
            groups = 1
        weight = self.normal(kernel, channels // groups, outputs, scale=(kernel * channels / groups / stride) ** -0.5)
        bias = self.normal(outputs, scale=0.3)
        config = sl.Conv1DTranspose.Config(
            filters=outputs, kernel_size=kernel, strides=stride, dilation_rate=dilation, padding=padding, groups=groups,
            kernel_init=self.constant(weight), bias_init=self.constant(bias))

        def export(graph, x):
            # The kernel is reversed, and stands by input channels first.
            parts = [weight[::-1, :, part].transpose(1, 2, 0) for part in np.split(np.arange(outputs), groups)]
            cut, added = transposed_padding_of(padding, kernel, stride, dilation)
            return graph.add(
                "ConvTranspose", [x, graph.weight(np.concatenate(parts)), graph.weight(bias)], strides=[stride],
                dilations=[dilation], group=groups, pads=cut, output_padding=[added])

        label = f"transposed(k {kernel}, s {stride}, d {dilation}, g {groups}, {padding}, {outputs} out)"
        return Part(label, config, outputs, export, fractions.Fraction(stride))

    def pooling(self, channels, stride=None, padding=None):
        size, stride = self.random.randint(1, 5), stride or self.random.choice([1, 2, 3])
        dilation, padding = self.random.choice([1, 1, 2]), padding or self.paddings()
        kind = self.random.choice(["max", "min", "average"])
        counted = kind == "average" and padding in ("causal", "reverse_causal", "semicausal", "same") and self.likely(0.5)
        shared = dict(pool_size=size, strides=stride, dilation_rate=dilation, padding=padding)
        config = {
            "max": lambda: sl.MaxPooling1D.Config(**shared), "min": lambda: sl.MinPooling1D.Config(**shared),
            "average": lambda: sl.AveragePooling1D.Config(**shared, masked_average=counted)}[kind]()

        def export(graph, x):
            attributes = dict(
                kernel_shape=[size], strides=[stride], dilations=[dilation],
                pads=padding_of(padding, size, stride, dilation, graph.view))
            if kind == "average":
                return graph.add("AveragePool", [x], count_include_pad=int(not counted), **attributes)
            if kind == "max":
                return graph.add("MaxPool", [x], **attributes)
            return graph.add("Neg", [graph.add("MaxPool", [graph.add("Neg", [x])], **attributes)])

        label = f"{kind} pooling(k {size}, s {stride}, d {dilation}, {padding}{', counted' if counted else ''})"
        return Part(label, config, channels, export, fractions.Fraction(1, stride), stride)

    def frames(self, channels):
        size, step = self.random.randint(1, 5), self.random.choice([1, 2, 3])
        padding = self.random.choice(["causal", "reverse_causal", "semicausal", "reverse_causal_valid"])
        config = sl.Serial.Config([sl.Frame.Config(size, step, padding=padding), sl.Flatten.Config()])
        weight = np.eye(size * channels, dtype=np.float32).reshape(size * channels, size, channels).transpose(0, 2, 1)

        def export(graph, x):
            return graph.add("Conv", [x, graph.weight(weight)], strides=[step], pads=padding_of(padding, size, step, 1, graph.view))

        return Part(
            f"frames({size}, step {step}, {padding})", config, size * channels, export, fractions.Fraction(1, step), step)

    def overlap_add(self, channels):
        size = self.random.choice([n for n in range(1, channels + 1) if channels % n == 0])
        step = self.random.randint(1, size)
        config = sl.Serial.Config(
            [sl.Reshape.Config((size, channels // size)), sl.OverlapAdd.Config(size, step, padding="causal")])
        weight = np.eye(channels, dtype=np.float32).reshape(channels, size, channels // size).transpose(0, 2, 1)

        def export(graph, x):
            return graph.add("ConvTranspose", [x, graph.weight(weight)], strides=[step], pads=[0, size - step])

        return Part(f"overlap add({size}, step {step})", config, channels // size, export, fractions.Fraction(step))

    def upsample(self, channels, rate=None):
        rate = rate or self.random.choice([2, 2, 3])

        def export(graph, x):
            scales = graph.weight(np.array([1, 1, rate], np.float32))
            return graph.add(
                "Resize", [x, "", scales], mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric")

        return Part(f"upsample({rate})", sl.Upsample1D.Config(rate), channels, export, fractions.Fraction(rate))

    def downsample(self, channels):
        rate = self.random.choice([2, 3])

        def export(graph, x):
            if graph.view is View.DECLARED:
                return graph.add("AveragePool", [x], kernel_shape=[rate], strides=[rate], pads=[0, rate - 1])
            bounds = [graph.weight(np.array([number])) for number in (0, np.iinfo(np.int64).max, 2, rate)]
            return graph.add("Slice", [x, *bounds])

        return Part(f"downsample({rate})", sl.Downsample1D.Config(rate), channels, export, fractions.Fraction(1, rate), rate)

    def dense(self, channels, outputs=None):
        outputs = outputs or self.random.randint(1, 6)
        weight, bias = self.normal(channels, outputs, scale=channels ** -0.5), self.normal(outputs, scale=0.3)
        config = sl.Dense.Config(outputs, kernel_init=self.constant(weight), bias_init=self.constant(bias))

        def export(graph, x):
            product = graph.channels_last(x, "MatMul", graph.weight(weight))
            return graph.add("Add", [product, graph.weight(bias[:, None])])

        return Part(f"dense({outputs})", config, outputs, export)

    def activation(self, channels):
        kinds = {
            "Relu": (sl.Relu.Config(), {}), "LeakyRelu": (sl.LeakyRelu.Config(0.2), {"alpha": 0.2}), "Tanh": (sl.Tanh.Config(), {}),
            "Sigmoid": (sl.Sigmoid.Config(), {}), "Elu": (sl.Elu.Config(), {}), "Softplus": (sl.Softplus.Config(), {}),
            "Abs": (sl.Abs.Config(), {}), "Gelu": (sl.Gelu.Config(), {"approximate": "tanh"})}
        kind = self.random.choice([*kinds, "Swish", "PRelu", "Snake", "Softmax"])
        if kind == "Swish":
            return Part(
                kind, sl.Swish.Config(), channels, lambda graph, x: graph.add("Mul", [x, graph.add("Sigmoid", [x])]))
        if kind == "PRelu":
            return Part(
                kind, sl.PRelu.Config(0.3), channels,
                lambda graph, x: graph.add("PRelu", [x, graph.weight(np.array([0.3], np.float32))]))
        if kind == "Snake":
            # Its parameters begin with logarithms of 1.
            def snake(graph, x):
                sine = graph.add("Sin", [x])
                return graph.add("Add", [x, graph.add("Mul", [sine, sine])])

            return Part(kind, sl.Snake.Config(separate_beta=False), channels, snake)
        if kind == "Softmax":
            return Part(kind, sl.Softmax.Config(), channels, lambda graph, x: graph.add("Softmax", [x], axis=1))
        config, attributes = kinds[kind]
        return Part(kind, config, channels, lambda graph, x: graph.add(kind, [x], **attributes))

    def gated(self, channels):
        if channels % 2:
            return self.activation(channels)
        with_tanh = self.likely(0.5)

        def export(graph, x):
            feature, gate = graph.add("Split", [x], outputs=2, axis=1, num_outputs=2)
            feature = graph.add("Tanh", [feature]) if with_tanh else feature
            return graph.add("Mul", [feature, graph.add("Sigmoid", [gate])])

        config = sl.GatedTanhUnit.Config() if with_tanh else sl.GatedLinearUnit.Config()
        return Part("gated tanh unit" if with_tanh else "gated linear unit", config, channels // 2, export)

    def normalisation(self, channels):
        scale, bias = 1 + self.normal(channels, scale=0.2), self.normal(channels, scale=0.2)
        # Of one or two channels it divides by next to nothing.
        config = sl.LayerNormalization.Config(
            epsilon=0.1, scale_init=self.constant(scale), bias_init=self.constant(bias))
        return Part(
            "layer normalisation", config, channels, lambda graph, x: graph.channels_last(
                x, "LayerNormalization", graph.weight(scale), graph.weight(bias), axis=-1, epsilon=0.1))

    def lstm(self, channels):
        units = self.random.randint(1, 4)
        kernel = self.normal(channels, 4 * units, scale=channels ** -0.5)
        recurrent, bias = self.normal(units, 4 * units, scale=units ** -0.5), self.normal(4 * units, scale=0.3)
        config = sl.LSTM.Config(
            units, kernel_init=self.constant(kernel), recurrent_kernel_init=self.constant(recurrent),
            bias_init=self.constant(bias))
        order = np.concatenate([np.arange(units) + units * gate for gate in (0, 3, 1, 2)])

        def export(graph, x):
            turned = graph.add("Transpose", [x], perm=[2, 0, 1])
            both = np.concatenate([bias[order], np.zeros_like(bias)])
            weights = [graph.weight(values[None]) for values in (kernel.T[order], recurrent.T[order], both)]
            y = graph.add("LSTM", [turned, *weights], hidden_size=units)
            y = graph.add("Squeeze", [y, graph.weight(np.array([1]))])
            return graph.add("Transpose", [y], perm=[1, 2, 0])

        return Part(f"lstm({units})", config, units, export)

    def delay(self, channels, length, with_result=False):
        def export(graph, x):
            if graph.view is View.DECLARED or (graph.view is View.DELAYS and not with_result):
                return graph.look_ahead(x, length)
            if not with_result:
                return x
            return graph.add("Pad", [x, graph.weight(np.array([0, 0, length, 0, 0, 0]))])

        config = sl.Delay.Config(length, delay_layer_output=with_result)
        return Part(f"{'delay' if with_result else 'delay of steps'}({length})", config, channels, export)

    def look_ahead(self, channels):
        length = self.random.randint(1, 4)

        def export(graph, x):
            if graph.view is View.DECLARED:
                return x
            bounds = [graph.weight(np.array([number])) for number in (length, np.iinfo(np.int64).max, 2)]
            return graph.add("Slice", [x, *bounds])

        return Part(f"look-ahead({length})", sl.Lookahead.Config(length), channels, export)

    # Branches

    def residual(self, channels):
        kind = self.random.choice(["causal", "ahead", "strided"])
        if kind == "strided":
            stride = self.random.choice([2, 3])
            padding = self.random.choice(["causal", "semicausal"])
            down = self.convolution(channels, stride=stride, dilation=1, padding=padding)
            body = [down, self.transposed(down.channels, stride=stride, padding="causal", outputs=channels)]
            ahead = 0
        else:
            padding = "causal" if kind == "causal" else "reverse_causal"
            first = self.convolution(channels, stride=1, padding=padding)
            body = [first, self.activation(first.channels), self.dense(first.channels, channels)]
            ahead = (first.config.kernel_size - 1) * first.config.dilation_rate if kind == "ahead" else 0
        shortcut = [self.delay(channels, ahead)] if ahead else []
        config = sl.Residual.Config(
            [part.config for part in body], shortcut_layers=[part.config for part in shortcut] or None)

        def export(graph, x):
            return graph.add("Add", [serial(body, graph, x), serial(shortcut, graph, x)])

        label = f"residual({' → '.join(part.label for part in body)}{''.join(' + ' + part.label for part in shortcut)})"
        return Part(label, config, channels, export, stride=body[0].stride, whole=kind == "strided")

    def parallel(self, channels):
        mode = self.random.choice(["ADD", "CONCAT", "MEAN", "PRODUCT"])
        kind = self.random.choice(["same", "down", "up", "mixed"])
        if kind == "same":
            parts = [self.convolution(channels, stride=1, padding="causal", outputs=channels), self.dense(channels, channels)]
        elif kind == "down":
            stride = self.random.choice([2, 3])
            parts = [
                self.convolution(channels, stride=stride, padding=self.random.choice(["causal", "semicausal"]), outputs=channels),
                self.pooling(channels, stride=stride, padding=self.random.choice(["causal", "semicausal"]))]
        elif kind == "up":
            stride = self.random.choice([2, 3])
            parts = [
                self.upsample(channels, stride), self.transposed(channels, stride=stride, padding="causal", outputs=channels)]
        else:
            # One pattern for each position, and one for each two or three.
            stride = self.random.choice([2, 3])
            down = self.convolution(channels, stride=stride, padding="causal", outputs=channels)
            up = self.upsample(channels, stride)
            pair = Part(
                f"({down.label} → {up.label})", sl.Serial.Config([down.config, up.config]), channels,
                lambda graph, x: serial([down, up], graph, x), stride=stride)
            parts = [pair, self.convolution(channels, stride=1, padding="causal", outputs=channels)]
        combination = utils.CombinationMode[mode]
        config = sl.Parallel.Config([part.config for part in parts], combination=combination)

        def export(graph, x):
            ys = [part.export(graph, x) for part in parts]
            if mode == "CONCAT":
                return graph.add("Concat", ys, axis=1)
            y = graph.add("Mul" if mode == "PRODUCT" else "Add", ys)
            return graph.add("Div", [y, graph.weight(np.array(2, np.float32))]) if mode == "MEAN" else y

        label = f"parallel {mode.lower()}({' | '.join(part.label for part in parts)})"
        outputs = 2 * channels if mode == "CONCAT" else channels
        return Part(label, config, outputs, export, parts[0].ratio, max(part.stride for part in parts), kind == "mixed")

    def stack(self):
        """Some layers one after the other, with the delays that sequence-layers needs."""
        kinds = [
            (self.convolution, 8), (self.transposed, 3), (self.pooling, 3), (self.frames, 1), (self.overlap_add, 1),
            (self.upsample, 2), (self.downsample, 1), (self.dense, 2), (self.activation, 4), (self.gated, 1),
            (self.normalisation, 1), (self.lstm, 1), (self.look_ahead, 1), (self.residual, 2), (self.parallel, 2)]
        self.inputs = channels = self.random.choice([1, 2, 3, 4, 6])
        parts, ratio, block, latency = [], fractions.Fraction(1), 1, 0
        # Whether a delay was put in for the sake of alignment, and whether something upsamples and a layer behind strides.
        self.aligned = self.rounds = False
        for _ in range(self.random.randint(1, 8)):
            draw = self.random.choices(*zip(*kinds))[0]
            part = draw(channels)
            next_ratio = ratio * part.ratio
            denominators = [next_ratio.denominator, (ratio / part.stride).denominator]
            if (
                part.channels > 12 or max(next_ratio, 1) > MOST_RATIO
                or math.lcm(block, *denominators) > MOST_BLOCK
            ):
                continue
            added = []
            if self.steps:
                wait = -latency % part.stride
                if wait:
                    added, self.aligned = [self.delay(channels, wait)], True
                latency = utils.get_output_latency(part.config, latency + wait)
            self.rounds = self.rounds or (part.stride > 1 and any(earlier.ratio > 1 for earlier in parts))
            parts += [*added, part]
            ratio, block, channels = next_ratio, math.lcm(block, *denominators), part.channels
        if not parts:
            parts = [self.convolution(channels)]
        if self.steps and self.likely(0.1):
            # At the end, as layers that read more than one position would mask what is in front.
            self.front = self.random.randint(1, 4)
            parts.append(self.delay(parts[-1].channels, self.front, with_result=True))
        self.block = block
        config = sl.Serial.Config([part.config for part in parts])
        return Part(
            " → ".join(part.label for part in parts), config, parts[-1].channels,
            lambda graph, x: serial(parts, graph, x), ratio, whole=any(part.whole for part in parts))


def serial(parts, graph, x):
    for part in parts:
        x = part.export(graph, x)
    return x


class Reference:
    """What sequence-layers computes and tells of a stack."""

    def __init__(self, config, channels, steps, length):
        self.layer = config.make()
        shape = jax.ShapeDtypeStruct((channels,), jnp.float32)
        self.shape = shape
        start = sl.Sequence.from_values(jnp.zeros((1, length, channels)))
        self.variables = self.layer.init(jax.random.PRNGKey(0), start, training=False)
        bound = self.layer.bind(self.variables)
        self.block, self.ratio = bound.block_size, bound.output_ratio
        self.steps = steps and bound.supports_step
        self.input_latency = self.output_latency = None
        if self.steps:
            self.output_latency = bound.output_latency
            try:
                self.input_latency = bound.input_latency
            except ValueError as error:
                # Counted backwards, the branches of a sum have unequal latencies once a stride rounds one of them up.
                if "latency" not in str(error):
                    raise
        self.fields = bound.receptive_field_per_step
        self.initial = lambda: bound.get_initial_state(1, shape, training=False)
        self.whole = jax.jit(lambda x: self.layer.apply(self.variables, x, training=False, method="layer"))
        self.step = jax.jit(lambda x, state: self.layer.apply(self.variables, x, state, training=False, method="step"))

    def offline(self, x):
        y = self.whole(sl.Sequence.from_values(jnp.asarray(x)))
        return np.asarray(y.values), np.asarray(y.mask)

    def stepwise(self, x):
        """Steps of a block, over what `input_latency` adds as well, without what `output_latency` tells to leave out."""
        ahead = 4 * self.block * (self.output_latency + 1) if self.input_latency is None else self.input_latency
        sequence = sl.Sequence.from_values(jnp.asarray(x)).pad_time(0, ahead, valid=False)
        sequence = sequence.pad_to_multiple(self.block)
        state, ys = self.initial(), []
        for start in range(0, sequence.shape[1], self.block):
            y, state = self.step(sequence[:, start : start + self.block], state)
            ys.append(np.asarray(y.values))
        return np.concatenate(ys, axis=1)[:, self.output_latency :]

    def probed(self, span, count):
        """First and last input position that outputs of a block read, found by NaN."""
        middle = -(-span // self.block) * self.block
        length = 2 * middle + (1 + self.block) * self.block
        x = np.random.default_rng(0).normal(size=(length, length, self.shape.shape[0])).astype(np.float32)
        x[np.arange(length), np.arange(length)] = np.nan
        reached = np.isnan(self.offline(x)[0]).any(axis=2)
        first = int(middle * self.ratio)
        fields = []
        for phase in range(count):
            read = np.nonzero(reached[:, first + phase])[0] - middle - int(phase // self.ratio)
            fields.append([int(read[0]), int(read[-1])] if len(read) else None)
        return fields


def same_fields(ours, theirs):
    """Whether they are equal; of what reads all that has been (a recurrent layer) only the ends are compared."""
    if (ours is None) != (theirs is None):
        return False
    return ours is None or ((theirs[0] == -math.inf or ours[0] == theirs[0]) and ours[1] == theirs[1])


class Tool:
    def __init__(self, path, folder):
        self.path, self.folder = path, pathlib.Path(folder)

    def call(self, *arguments):
        result = subprocess.run(
            [self.path, *map(str, arguments), "--threads", "1"], capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(result.stderr.strip())
        return result.stdout

    def plan(self, draw, part, view):
        path = self.folder / f"{view.value}.onnx"
        Graph(view).model(part, draw.inputs, path)
        return json.loads(self.call("inspect", path, "--stream", "--json"))

    def run(self, x, *extra):
        np.save(self.folder / "x.npy", x.transpose(0, 2, 1))
        self.call("run", self.folder / "network.onnx", "--input", f"x={self.folder / 'x.npy'}", "--output-dir", self.folder, *extra)
        return np.load(self.folder / "y.npy").transpose(0, 2, 1)


def compare(seed, path, folder):
    """Compares stack number `seed`.

    Returns its description, what differs, largest differences of outputs, and what was counted.
    """
    draw = Draw(seed)
    part = draw.stack()
    faults, counts = [], collections.Counter()
    label = f"{seed}: {draw.inputs} channels → {part.label}"
    tool, reference = Tool(path, folder), Reference(part.config, draw.inputs, draw.steps, 20 * draw.block)
    try:
        plan = tool.plan(draw, part, View.NETWORK)
    except RuntimeError as error:
        return label, [f"refused: {error}"], {}, counts

    def expect(name, ours, theirs):
        counts[name] += 1
        if ours != theirs:
            faults.append(f"{name}: {ours}, sequence-layers {theirs}")

    expect("block size", plan["block"], reference.block)
    expect("output ratio", fractions.Fraction(*plan["output_ratio"]), reference.ratio)
    fields, theirs = plan["receptive_fields"], reference.fields
    count = math.lcm(len(fields), len(theirs))
    counts["receptive field"] += 1
    counts["positions' receptive fields"] += len(fields)
    if not all(same_fields(fields[i % len(fields)], theirs[i % len(theirs)]) for i in range(count)):
        span = max([1, *(abs(end) for field in fields if field for end in field)])
        probed = reference.probed(span, count) if span <= MOST_FIELD else None
        told = [theirs[i % len(theirs)] for i in range(count)]
        text = f"{[fields[i % len(fields)] for i in range(count)]}, sequence-layers {told}, probing {probed}"
        if probed == [fields[i % len(fields)] for i in range(count)]:
            counts["receptive field: probing of sequence-layers finds ours"] += 1
            counts["known"] += 1
            if os.environ.get("VERBOSE"):
                print(f"{label}: receptive field: {text}", file=sys.stderr)
        else:
            faults.append(f"receptive field: {text}")

    # Outputs. Their lengths are those of the valid positions.
    blocks = reference.block
    length = blocks * draw.random.randint(-(-150 // blocks), -(-300 // blocks))
    if not part.whole:
        length += draw.random.randrange(blocks)
    x = draw.normal(1, length, draw.inputs)
    values, mask = reference.offline(x)
    valid = np.nonzero(mask[0])[0]
    end = int(valid[-1]) + 1 if len(valid) else 0
    whole = tool.run(x)
    chunked = tool.run(x, "--chunk", draw.random.randint(1, 3 * blocks + 5))
    counts["outputs"] += 1
    differences = {}
    if not np.array_equal(whole, chunked):
        faults.append("pieces have not the bits of the whole")
    if whole.shape[1] != end:
        faults.append(f"{whole.shape[1]} outputs for {length} inputs, sequence-layers {end}")
    elif end:
        scale = max(1.0, float(np.abs(values[:, valid]).max()))

        def differ(name, other):
            differences[name] = float(np.abs(whole[:, valid] - other[:, valid]).max()) / scale
            if not differences[name] <= TOLERANCE:
                faults.append(f"outputs differ by {differences[name]:.1e} from {name}")

        differ("layer", values)
        if reference.steps:
            steps = reference.stepwise(x)
            own = float(np.abs(steps[:, valid] - values[:, valid]).max()) / scale
            counts["outputs of steps"] += 1
            if own > 1e-4 and "reverse_causal_valid" in part.label:
                # Its steps mark as valid what such a layer gives before it has a whole window, and the layers behind take that
                # into their context.
                counts["outputs of steps: sequence-layers' own layer differs too"] += 1
            else:
                differ("step", steps)

    # Latencies
    if reference.steps != draw.steps:
        faults.append("cannot be stepped")
    if reference.steps:
        # Toeplitz gives at once what a delay puts in front, so it is ahead by as much; sequence-layers has both results begin so.
        latency, theirs = plan["latency"] + draw.front, reference.output_latency
        if draw.aligned:
            counts["output latency: sequence-layers needs delays that align strides"] += 1
            counts["output latency: of these, ours is less"] += latency < theirs
            if latency > theirs:
                faults.append(f"latency {latency}, sequence-layers {theirs}")
        else:
            expect("output latency, as it is", latency, theirs)
        expect("output latency", tool.plan(draw, part, View.DELAYS)["latency"] + draw.front, theirs)
        lookahead, theirs = tool.plan(draw, part, View.DECLARED)["lookahead"], reference.input_latency
        if theirs is None:
            counts["input latency: sequence-layers refuses to tell it, as branches differ"] += 1
        elif lookahead < theirs and draw.rounds:
            # Counted backwards, it is rounded up where a layer upsamples, also if a stride behind reads the first of those only.
            counts["input latency: sequence-layers rounds up"] += 1
        else:
            expect("input latency", lookahead, theirs)
    return label, faults, differences, counts


def compare_in_folder(arguments):
    seed, tool, keep = arguments
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = compare(seed, tool, folder)
        except Exception as error:  # what one of them refuses is told with the stack's number
            result = f"{seed}", [f"{type(error).__name__}: {str(error)[:600]}"], {}, collections.Counter()
        if result[1] and keep:
            for file in pathlib.Path(folder).glob("*"):
                target = pathlib.Path(keep) / f"{seed}-{file.name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=".build/release/toeplitz")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep")
    arguments = parser.parse_args()
    failures, largest, counts = 0, collections.Counter(), collections.Counter()
    seeds = [(arguments.first + i, arguments.tool, arguments.keep) for i in range(arguments.count)]
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        for label, faults, differences, counted in pool.imap(compare_in_folder, seeds):
            counts += counted
            for name, difference in differences.items():
                largest[name] = max(largest[name], difference)
            if faults:
                failures += 1
                print(label, *(f"\n    {fault}" for fault in faults), flush=True)
    for name, count in counts.items():
        print(f"{name}: {count}")
    for name, difference in largest.items():
        print(f"largest difference from {name}: {difference:.1e}")
    print(f"{arguments.count} stacks, {failures} differ")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
