"""Single operations that dominate the networks of nets.py where Toeplitz was slow: M[name] = (onnx model, inputs)."""

import numpy as np
from onnx import helper as h, numpy_helper as nh

rs = np.random.RandomState(0)
f = lambda *s: rs.randn(*s).astype("f")
M = {}


def case(name, nodes, inputs, inits={}, opset=20):
    typed = lambda k, v: h.make_tensor_value_info(k, h.np_dtype_to_tensor_dtype(v.dtype), v.shape)
    g = h.make_graph(
        nodes,
        "g",
        [typed(k, v) for k, v in inputs.items()],
        [h.make_empty_tensor_value_info("y")],
        [nh.from_array(np.asarray(v), k) for k, v in inits.items()],
    )
    g.output[0].type.tensor_type.elem_type = 1
    M[name] = (h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=8), inputs)


def one(name, op, x, inits={}, opset=20, **a):
    case(name, [h.make_node(op, ["x"] + list(inits), ["y"], **a)], {"x": x}, inits, opset)


X = np.abs(f(1, 256, 1999)) + 0.01
for e in (2.0, 3.0, 0.5, 1.7):
    one(f"pow_{e}", "Pow", X, {"e": np.array(e, "f")})
for op in "Sin Cos Exp Tanh Sigmoid Erf Sqrt Log Abs Neg Softplus Elu Gelu Reciprocal Floor".split():
    one(op.lower(), op, X)
snake = dict(a=np.abs(f(1, 64, 1)) + 0.5, b=f(1, 64, 1))
N = h.make_node
case(
    "snake",
    [
        N("Mul", ["x", "a"], ["m"]),
        N("Sin", ["m"], ["s"]),
        N("Pow", ["s", "e"], ["p"]),
        N("Mul", ["p", "b"], ["q"]),
        N("Add", ["x", "q"], ["y"]),
    ],
    {"x": f(1, 64, 11008)},
    dict(snake, e=np.array(2, "f")),
)
for m, k, n in ((500, 384, 1536), (200, 256, 1024), (1, 512, 512), (196, 768, 3072), (8, 512, 10)):
    one(f"linear_{m}x{k}x{n}", "MatMul", f(1, m, k), {"w": f(k, n)})
for name, a, b in (
    ("qk", (4, 4, 256, 16), (4, 4, 16, 256)),
    ("av", (4, 4, 256, 256), (4, 4, 256, 16)),
    ("tiny", (1, 8, 49, 49), (1, 8, 49, 64)),
    ("window", (64, 3, 49, 32), (64, 3, 32, 49)),
    ("long", (1, 6, 500, 64), (1, 6, 64, 500)),
):
    case(f"matmul_{name}", [N("MatMul", ["x", "z"], ["y"])], {"x": f(*a), "z": f(*b)})
one("softmax_last", "Softmax", f(1, 6, 500, 500), axis=-1)
one("softmax_inner", "Softmax", f(1, 4, 16, 8400), axis=2)
one("reducesum_outer", "ReduceSum", f(1, 2, 128, 56, 56), {"a": np.array([1])}, keepdims=0)
one("reducemean_two", "ReduceMean", f(1, 256, 1999), opset=17, axes=[1, 2], keepdims=1)
one("layernorm", "LayerNormalization", f(1, 500, 384), dict(s=f(384), b=f(384)), axis=-1)
empty = np.array([], "f")
near = dict(mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric")
one("resize_nearest_sizes", "Resize", f(1, 960, 4, 4), {"r": empty, "s": empty, "z": np.array([1, 960, 7, 7])}, **near)
one("resize_nearest_2x", "Resize", f(1, 256, 40, 40), {"r": empty, "s": np.array([1, 1, 2, 2], "f")}, **near)
one(
    "resize_linear_2x",
    "Resize",
    f(1, 256, 32, 32),
    {"r": empty, "s": np.array([1, 1, 2, 2], "f")},
    mode="linear",
    coordinate_transformation_mode="half_pixel",
)
case(
    "cast_bool",
    [N("Greater", ["x", "c"], ["b"]), N("Cast", ["b"], ["y"], to=1)],
    {"x": f(1, 2048, 257)},
    {"c": np.array(0, "f")},
)
one("cast_int64", "Cast", rs.randint(0, 99, (1, 2048, 257)), to=1)
one("maxpool_3x3s2", "MaxPool", f(1, 64, 112, 112), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
one("maxpool_5x5s1", "MaxPool", f(1, 256, 20, 20), kernel_shape=[5, 5], pads=[2] * 4)
one("transpose_heads", "Transpose", f(1, 500, 6, 64), perm=[0, 2, 1, 3])
one("transpose_time", "Transpose", f(1, 512, 1599), perm=[0, 2, 1])
case(
    "linear_batchnorm",
    [
        N("MatMul", ["x", "w"], ["m"]),
        N("Reshape", ["m", "s"], ["r"]),
        N("BatchNormalization", ["r", "g", "b", "u", "v"], ["y"]),
    ],
    {"x": f(1, 196, 128)},
    dict(w=f(128, 256), s=np.array([196, 256]), g=f(256), b=f(256), u=f(256), v=np.abs(f(256))),
)
one("conv1x1", "Conv", f(1, 512, 94), {"w": f(1536, 512, 1)})
for op, gates in (("GRU", 3), ("LSTM", 4), ("RNN", 1)):
    for hidden in (32, 128, 512):
        g = lambda *s: 0.1 * f(*s)
        if op == "RNN":
            g = lambda *s: 0.02 * f(*s)
        extra = dict(linear_before_reset=1) if op == "GRU" else {}
        one(
            f"{op.lower()}_{hidden}",
            op,
            f(200, 1, hidden),
            dict(w=g(2, gates * hidden, hidden), r=g(2, gates * hidden, hidden), b=g(2, 2 * gates * hidden)),
            hidden_size=hidden,
            direction="bidirectional",
            **extra,
        )
case(
    "weightnorm_19MB",
    [
        N("ReduceL2", ["v", "ax"], ["n"]),
        N("Div", ["v", "n"], ["d"]),
        N("Mul", ["d", "g"], ["w"]),
        N("ConvTranspose", ["x", "w"], ["y"], strides=[8], pads=[4, 4]),
    ],
    {"x": f(1, 768, 43)},
    dict(v=f(768, 384, 16), g=f(768, 1, 1), ax=np.array([1, 2])),
)
qdq = [N("QuantizeLinear", ["x", "s", "z"], ["q"]), N("DequantizeLinear", ["q", "s", "z"], ["y"])]
case("qdq", qdq, {"x": f(1, 64, 112, 112)}, dict(s=np.array(0.05, "f"), z=np.array(128, "u1")))
