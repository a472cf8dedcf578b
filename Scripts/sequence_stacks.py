"""Random stacks of layers, in sequence-layers and as ONNX with the same weights, for `sequence-layers.py`."""

import fractions
import math
import random

import jax.numpy as jnp
import numpy as np
import sequence_layers.jax as sl
from sequence_layers.jax import utils

from sequence_parts import Part, View, padding_of, serial, transposed_padding_of

MOST_BLOCK, MOST_RATIO = 24, 16


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
        # Of positions that are not valid not all that they reach would be left out.
        return Part(label, config, outputs, export, fractions.Fraction(stride), whole=padding == "valid")

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
        # Whether the length is no multiple of the block any more, as positions that are not valid are left out.
        shorter = False
        parts, ratio, block, latency = [], fractions.Fraction(1), 1, 0
        # Whether a delay was put in for the sake of alignment, and whether something upsamples.
        self.aligned = self.rounds = False
        for _ in range(self.random.randint(1, 8)):
            draw = self.random.choices(*zip(*kinds))[0]
            part = draw(channels)
            next_ratio = ratio * part.ratio
            denominators = [next_ratio.denominator, (ratio / part.stride).denominator]
            if (
                part.channels > 12 or next_ratio > MOST_RATIO or math.lcm(block, *denominators) > MOST_BLOCK
                or part.whole and shorter
            ):
                continue
            added = []
            if self.steps:
                wait = -latency % part.stride
                if wait:
                    added, self.aligned = [self.delay(channels, wait)], True
                latency = utils.get_output_latency(part.config, latency + wait)
            self.rounds = self.rounds or part.ratio > 1
            shorter = shorter or any(word in part.label for word in ("reverse_causal_valid", ", valid", "look-ahead"))
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
