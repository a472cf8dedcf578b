#!/usr/bin/env python3
"""Writes small models of kinds that users' reports describe, with what ONNX Runtime computes.

Needs the Python packages onnx, onnxruntime and numpy. Beside each NAME.onnx lies NAME.npz with an array for each input under `in.NAME`
and for each output under `out.NAME`.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
RANDOM = np.random.default_rng(8)


def save(name, model, given):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
    arrays = {f"in.{key}": value for key, value in given.items()}
    arrays |= {f"out.{port.name}": value for port, value in zip(session.get_outputs(), session.run(None, given))}
    np.savez_compressed(HERE / f"{name}.npz", **arrays)


def model(nodes, inputs, outputs, initializers=(), opset=17):
    def port(item):
        return helper.make_tensor_value_info(item[0], item[2] if len(item) > 2 else TensorProto.FLOAT, item[1])

    constants = [numpy_helper.from_array(value, key) for key, value in dict(initializers).items()]
    graph = helper.make_graph(nodes, "case", [port(item) for item in inputs], [port(item) for item in outputs], constants)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


def floats(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def resize():
    """Scales that do not give whole sizes, with corners aligned: the last output is the last input."""
    for name, mode, scales, opset, size in [
        ("linear", "linear", [1, 1, 1.7, 2.3], 11, (5, 4)), ("cubic", "cubic", [1, 1, 1.7, 2.3], 13, (5, 4)),
        ("smaller", "linear", [1, 1, 0.55, 0.8], 19, (9, 7)),
    ]:
        node = helper.make_node("Resize", ["x", "roi", "s"], ["y"], mode=mode, coordinate_transformation_mode="align_corners")
        made = model([node], [("x", [1, 1, *size])], [("y", None)],
                     {"roi": np.zeros(0, np.float32), "s": np.array(scales, np.float32)}, opset)
        save(f"resize_corners_{name}", made, {"x": floats(1, 1, *size)})


def minus_one():
    """Open sizes written as -1."""
    save("minus_one_batch", model([helper.make_node("Relu", ["x"], ["y"])], [("x", [-1, 3, 4])], [("y", [-1, 3, 4])]), {"x": floats(2, 3, 4)})
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    save("minus_one_sides", model([node], [("x", [1, 2, -1, -1])], [("y", [1, 3, -1, -1])], {"w": floats(3, 2, 2, 2)}), {"x": floats(1, 2, 4, 5)})
    # Two open sizes need not be one.
    node = helper.make_node("Concat", ["a", "b"], ["y"], axis=0)
    save("minus_one_two_inputs", model([node], [("a", [-1, 2]), ("b", [-1, 2])], [("y", [-1, 2])]), {"a": floats(3, 2), "b": floats(1, 2)})


def override():
    """Constants that are inputs too, which a caller may replace."""
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"])]
    ports = [("x", [2, 3]), ("w", [3, 4]), ("b", [4])]
    constants = {"w": floats(3, 4), "b": floats(4)}
    x = floats(2, 3)
    save("override_none", model(nodes, ports, [("y", [2, 4])], constants), {"x": x})
    save("override_bias", model(nodes, ports, [("y", [2, 4])], constants), {"x": x, "b": floats(4)})
    save("override_both", model(nodes, ports, [("y", [2, 4])], constants), {"x": x, "w": floats(3, 4), "b": floats(4)})
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    made = model([node], [("x", [2, 6]), ("s", [2], TensorProto.INT64)], [("y", None)], {"s": np.array([3, 4])})
    save("override_shape", made, {"x": floats(2, 6), "s": np.array([4, 3])})
    # A graph inside sees the value that is given.
    inner = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["z"])], "then", [], [helper.make_tensor_value_info("z", 1, None)])
    other = helper.make_graph([helper.make_node("Add", ["x", "w"], ["z2"])], "else", [], [helper.make_tensor_value_info("z2", 1, None)])
    nodes = [helper.make_node("ReduceSum", ["x"], ["t"], keepdims=0), helper.make_node("Greater", ["t", "zero"], ["c"]),
             helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=other)]
    made = model(nodes, [("x", [3]), ("w", [3])], [("y", None)], {"w": np.ones(3, np.float32), "zero": np.array(0, np.float32)})
    save("override_inside", made, {"x": floats(3), "w": floats(3)})


def noise():
    """Noise that a factor of zero takes away, as speech models have it."""
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["n"]), helper.make_node("Mul", ["n", "s"], ["m"]),
             helper.make_node("Add", ["x", "m"], ["y"])]
    save("noise_like", model(nodes, [("x", [1, 2, 5]), ("s", [])], [("y", [1, 2, 5])]), {"x": floats(1, 2, 5), "s": np.array(0, np.float32)})
    nodes = [helper.make_node("RandomUniform", [], ["n"], shape=[3, 2], low=2.0, high=3.0), helper.make_node("Floor", ["n"], ["f"]),
             helper.make_node("Mul", ["x", "f"], ["y"])]
    save("noise_uniform", model(nodes, [("x", [3, 2])], [("y", [3, 2])]), {"x": floats(3, 2)})
    # Only one class has any weight.
    nodes = [helper.make_node("Multinomial", ["x"], ["y"], sample_size=4)]
    logits = np.full((2, 3), -1e9, np.float32)
    logits[0, 2] = logits[1, 0] = 0
    save("noise_classes", model(nodes, [("x", [2, 3])], [("y", None, TensorProto.INT32)]), {"x": logits})


def operator(name, operation, given, results=1, domain="", opset=20, **attributes):
    node = helper.make_node(operation, list(given), [f"y{i}" for i in range(results)], domain=domain, **attributes)
    ports = [(key, value.shape, helper.np_dtype_to_tensor_dtype(value.dtype)) for key, value in given.items()]
    made = model([node], ports, [], opset=opset)
    if domain:
        made.opset_import.append(helper.make_opsetid(domain, 4))
    for index in range(results):
        made.graph.output.append(onnx.ValueInfoProto(name=f"y{index}"))
    save(name, made, given)


def operators():
    """Operators whose tests in the ONNX project are few or none."""
    x, ml = floats(3, 5), "ai.onnx.ml"
    operator("ml_scaler", "Scaler", {"x": x}, domain=ml, offset=[1.0, 2.0, 0.0, -1.0, 0.5], scale=[2.0, 1.0, 0.5, 3.0, 1.0])
    operator("ml_scaler_one", "Scaler", {"x": np.arange(6, dtype=np.int64).reshape(2, 3)}, domain=ml, offset=[1.0], scale=[0.5])
    for norm in ["MAX", "L1", "L2"]:
        operator(f"ml_normalizer_{norm.lower()}", "Normalizer", {"x": np.vstack([np.abs(x), np.zeros((1, 5), np.float32)])}, domain=ml, norm=norm)
    operator("ml_labels_int_float", "LabelEncoder", {"x": np.array([3, 1, 9], np.int64)}, domain=ml,
             keys_int64s=[1, 3, 5], values_floats=[0.5, 1.5, 2.5], default_float=-7.0)
    operator("ml_labels_float_int", "LabelEncoder", {"x": np.array([[0.5, np.nan], [7, 1.5]], np.float32)}, domain=ml,
             keys_floats=[0.5, 1.5, float("nan")], values_int64s=[4, 5, 6], default_int64=-3)
    operator("ml_array_features", "ArrayFeatureExtractor", {"x": x, "i": np.array([4, 0, 4], np.int64)}, domain=ml)
    words = np.array([[1, 2, 3, 2, 1, 2], [7, 2, 3, 3, 1, 1]], np.int64)
    grams = dict(min_gram_length=1, max_gram_length=2, max_skip_count=2, ngram_counts=[0, 3], ngram_indexes=[4, 0, 1, 3, 2],
                 pool_int64s=[1, 2, 3, 1, 2, 2, 1], weights=[0.5, 2.0, 3.0, 1.0, 0.25])
    for mode in ["TF", "IDF", "TFIDF"]:
        operator(f"grams_{mode.lower()}", "TfIdfVectorizer", {"x": words}, mode=mode, **grams)
    image = floats(2, 3, 9, 8)
    regions = np.array([[0, 0, 0, 7, 8], [1, 2, 1, 5, 6], [0, 3, 3, 3, 3], [1, 6, 6, 20, 20]], np.float32)
    operator("regions_max", "MaxRoiPool", {"x": image, "r": regions}, pooled_shape=[3, 2], spatial_scale=0.7)
    corners = np.array([[0.3, 0.2, 6.5, 7.9], [2.5, 1, 5.2, 6], [3, 3, 2, 2]], np.float32)
    for opset in [10, 16]:
        operator(f"regions_align_{opset}", "RoiAlign", {"x": image, "r": corners, "b": np.array([0, 1, 1], np.int64)}, opset=opset,
                 output_height=3, output_width=2, spatial_scale=0.8, sampling_ratio=0 if opset == 10 else 2)
    operator("fold", "Col2Im", {"x": floats(2, 3 * 6, 12), "s": np.array([5, 6], np.int64), "k": np.array([2, 3], np.int64)}, opset=18,
             strides=[2, 1], pads=[1, 0, 1, 0], dilations=[2, 1])
    operator("unique_rows", "Unique", {"x": np.array([[1, 2], [-1, 5], [1, 2], [-1, 4]], np.float32)}, 4, opset=11, axis=0)
    operator("unique_numbers", "Unique", {"x": np.array([5, -3, 5, 0, -3, 2**60 + 1, 2**60], np.int64)}, 4, opset=11, sorted=0)
    operator("mel", "MelWeightMatrix", {
        "n": np.array(13, np.int64), "d": np.array(64, np.int64), "s": np.array(8000, np.int64), "l": np.array(20, np.float32),
        "h": np.array(3900, np.float32)}, opset=17)


if __name__ == "__main__":
    for make in [resize, minus_one, override, noise, operators]:
        make()
    print(f"{len(list(HERE.glob('*.onnx')))} models")
