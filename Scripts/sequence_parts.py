"""Layers of sequence-layers as ONNX: what `sequence-layers.py` and its stacks are made of."""

import dataclasses
import enum
import fractions

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


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


def serial(parts, graph, x):
    for part in parts:
        x = part.export(graph, x)
    return x
