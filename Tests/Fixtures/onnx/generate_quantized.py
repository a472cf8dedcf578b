#!/usr/bin/env python3
"""Writes models of quantised operators with the outputs of ONNX Runtime.

Needs the Python packages onnx, onnxruntime and numpy. Beside each NAME.onnx lies NAME.npz with input_0 …, output_0 ….
"""

import pathlib

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
random = np.random.default_rng(21)
TYPES = {np.dtype(k): v for k, v in {"u1": TensorProto.UINT8, "i1": TensorProto.INT8, "f4": TensorProto.FLOAT}.items()}


class Model:
    """Nodes with constants; every node's results are outputs."""

    def __init__(self):
        self.nodes, self.constants, self.inputs, self.outputs = [], [], {}, []

    def constant(self, value, dtype=None):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def input(self, value):
        name = f"x{len(self.inputs)}"
        self.inputs[name] = value
        return name

    def node(self, kind, inputs, domain="com.microsoft", dtype=TensorProto.UINT8, count=1, **attributes):
        names = [f"y{len(self.outputs) + i}" for i in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        self.outputs += [helper.make_tensor_value_info(name, dtype, None) for name in names]

    def save(self, name):
        inputs = [helper.make_tensor_value_info(k, TYPES[v.dtype], v.shape) for k, v in self.inputs.items()]
        graph = helper.make_graph(self.nodes, "g", inputs, self.outputs, self.constants)
        model = helper.make_model(
            graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
        path = HERE / f"{name}.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(model.SerializeToString())
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        arrays = {f"input_{i}": v for i, v in enumerate(self.inputs.values())}
        arrays |= {f"output_{i}": v for i, v in enumerate(session.run(None, self.inputs))}
        np.savez_compressed(HERE / f"{name}.npz", **arrays)


def codes(shape, dtype="u1", low=None, high=None):
    info = np.iinfo(dtype)
    return random.integers(info.min if low is None else low, info.max + 1 if high is None else high, shape).astype(dtype)


def convolutions():
    m = Model()
    x = m.input(codes((2, 8, 9, 7)))
    signed = m.input(codes((1, 4, 20), "i1"))
    f, u, i = (lambda v: m.constant(v, "f4")), (lambda v: m.constant(v, "u1")), (lambda v: m.constant(v, "i1"))
    conv = lambda *a, **k: m.node("QLinearConv", list(a), domain="", **k)
    # Grouped, with a scale for each channel and a bias.
    scales = random.uniform(0.001, 0.003, 6).astype("f4")
    conv(x, f(0.1), u(120), m.constant(codes((6, 4, 3, 3), "i1")), f(scales), m.constant(np.zeros(6, "i1")), f(0.4), u(100),
         m.constant(random.integers(-3000, 3000, 6), "i4"), group=2, pads=[1] * 4, strides=[2, 1])
    # Depthwise; unsigned weights about 128.
    conv(x, f(0.1), u(7), m.constant(codes((8, 1, 3, 3), "i1")), f(0.004), i(0), f(0.5), u(3), group=8, dilations=[2, 1])
    conv(x, f(0.1), u(128), m.constant(codes((5, 8, 1, 1))), f(0.004), u(128), f(0.8), u(128))
    # Weights that are no int8: 255 less 3.
    conv(x, f(0.1), u(128), m.constant(codes((5, 8, 2, 2))), f(0.004), u(3), f(2.0), u(128))
    conv(signed, f(0.1), i(-3), m.constant(codes((3, 4, 5), "i1")), f(0.004), i(0), f(0.3), i(4), dtype=TensorProto.INT8)
    m.node("ConvInteger", [x, m.constant(codes((4, 8, 3, 3))), u(100), u(128)], domain="", dtype=TensorProto.INT32, pads=[1] * 4)
    m.node("ConvInteger", [x, m.constant(codes((8, 1, 3, 3))), u(9), u(128)], domain="", dtype=TensorProto.INT32, group=8)
    m.save("quantized_convolutions")


def products():
    m = Model()
    a = m.input(codes((2, 5, 12)))
    rows = m.input(codes((5, 12)))
    f, u, i = (lambda v: m.constant(v, "f4")), (lambda v: m.constant(v, "u1")), (lambda v: m.constant(v, "i1"))
    m.node("QLinearMatMul", [a, f(0.1), u(120), m.constant(codes((12, 7), "i1")), f(0.01), i(0), f(0.3), u(9)], domain="")
    m.node("MatMulInteger", [a, m.constant(codes((12, 7), "i1")), u(120)], domain="", dtype=TensorProto.INT32)
    bias = m.constant(random.integers(-3000, 3000, 7), "i4")
    m.node("QGemm", [rows, f(0.1), u(120), m.constant(codes((7, 12), "i1")), f(random.uniform(0.01, 0.02, 7)),
                     m.constant(np.zeros(7, "i1")), bias, f(0.4), u(80)], transB=1)
    m.node("QGemm", [rows, f(0.1), u(120), m.constant(codes((12, 7), "i1")), f(0.01), i(0), bias], dtype=TensorProto.FLOAT, alpha=0.5)
    m.node("MatMulIntegerToFloat", [a, m.constant(codes((12, 7), "i1")), f(0.1), f(random.uniform(0.01, 0.02, 7)), u(120), "",
                                    m.constant(random.normal(size=7), "f4")], dtype=TensorProto.FLOAT)
    real = m.input(random.normal(size=(3, 32)).astype("f4"))
    m.node("DynamicQuantizeMatMul", [real, m.constant(codes((32, 6), "i1")), f(0.02), i(0), m.constant(random.normal(size=6), "f4")],
           dtype=TensorProto.FLOAT)
    packed = m.constant(codes((6, 2, 8)))
    scales = m.constant(random.uniform(0.05, 0.1, 12), "f4")
    m.node("MatMulNBits", [real, packed, scales], dtype=TensorProto.FLOAT, K=32, N=6, bits=4, block_size=16)
    m.node("MatMulNBits", [real, packed, scales, m.constant(codes(6))], dtype=TensorProto.FLOAT, K=32, N=6, bits=4, block_size=16)
    m.save("quantized_products")


def others():
    m = Model()
    a, b = m.input(codes((1, 6, 5, 8))), m.input(codes((1, 6, 5, 8)))
    f, u = (lambda v: m.constant(v, "f4")), (lambda v: m.constant(v, "u1"))
    for kind in ("QLinearAdd", "QLinearMul"):
        m.node(kind, [a, f(0.02), u(120), b, f(0.03), u(7), f(0.05), u(100)])
    m.node("QLinearSigmoid", [a, f(0.05), u(120), f(1 / 256), u(0)])
    m.node("QLinearLeakyRelu", [a, f(0.05), u(120), f(0.04), u(60)], alpha=0.2)
    m.node("QLinearSoftmax", [a, f(0.05), u(120), f(1 / 256), u(0)], axis=-1, opset=13)
    m.node("QLinearGlobalAveragePool", [a, f(0.05), u(120), f(0.02), u(128)])
    m.node("QLinearAveragePool", [a, f(0.05), u(120), f(0.04), u(128)], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
    m.node("QLinearConcat", [f(0.05), u(100), a, f(0.05), u(120), b, f(0.07), u(30)], axis=1)
    m.node("DequantizeLinear", [a, f(0.05), u(120)], dtype=TensorProto.FLOAT)
    m.save("quantized_operators")


def recurrent():
    m = Model()
    x = m.input(random.normal(size=(6, 2, 8)).astype("f4"))
    hidden = 5
    weights = [m.constant(codes((1, n, 4 * hidden), "i1")) for n in (8, hidden)]
    scales = [m.constant([0.01], "f4"), m.constant([0], "i1")]
    m.node("DynamicQuantizeLSTM", [x, *weights, m.constant(random.normal(size=(1, 8 * hidden)) * 0.1, "f4"), "", "", "", "",
                                   *scales, *scales], dtype=TensorProto.FLOAT, hidden_size=hidden)
    # The weights are those of int8, the rest of float32, so results differ from ONNX Runtime's by its quantisation of activations.
    m.save("approximate/dynamic_quantize_lstm")


if __name__ == "__main__":
    convolutions()
    products()
    others()
    recurrent()
