#!/usr/bin/env python3
"""Writes models of operators of the domain com.microsoft with what ONNX Runtime computes.

Needs the Python packages onnx, onnxruntime, torch and numpy. Beside each NAME.onnx lies NAME.npz with input_0 …, output_0 …. Where ONNX
Runtime has no kernel for processors (GroupNorm, BiasSplitGelu, NhwcConv) the values are PyTorch's.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
RANDOM = np.random.default_rng(5)


def floats(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def case(name, operator, inputs, outputs=1, expected=None, domain="com.microsoft", opset=17, **attributes):
    names = [None if value is None else f"x{index}" for index, value in enumerate(inputs)]
    made = helper.make_node(operator, [n or "" for n in names], [f"y{i}" for i in range(outputs)], domain=domain, **attributes)
    given = {n: v for n, v in zip(names, inputs) if n}
    graph = helper.make_graph(
        [made], name,
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()],
        [helper.make_value_info(f"y{i}", onnx.TypeProto(tensor_type=onnx.TypeProto.Tensor(elem_type=0))) for i in range(outputs)])
    model = helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)])
    if expected is None:
        for output in model.graph.output:
            output.ClearField("type")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        expected = session.run(None, given)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
    arrays = {f"input_{i}": value for i, value in enumerate(given.values())}
    arrays |= {f"output_{i}": np.asarray(value) for i, value in enumerate(expected)}
    np.savez_compressed(HERE / f"{name}.npz", **arrays)


def products():
    x, w, b = floats(2, 4, 6, 5), floats(6, 2, 3, 3), floats(6)
    case("fused_conv_relu", "FusedConv", [x, w, b], activation="Relu", group=2, pads=[1, 1, 1, 1])
    case("fused_conv_sum", "FusedConv", [x, w, b, floats(2, 6, 4, 3)], activation="Relu", group=2)
    for name, parameters in [("LeakyRelu", [0.3]), ("Clip", [-0.5, 0.7]), ("HardSigmoid", [0.3, 0.4])]:
        case(f"fused_conv_{name.lower()}", "FusedConv", [x, w, b], activation=name, activation_params=parameters, group=2)
    case("fused_conv_tanh", "FusedConv", [x, w, b], activation="Tanh", group=2)
    case("fused_gemm", "FusedGemm", [floats(3, 4), floats(5, 4), floats(5)], activation="LeakyRelu", activation_alpha=0.2,
         transB=1, alpha=0.5, beta=2.0)
    case("fused_matmul", "FusedMatMul", [floats(2, 4, 3), floats(2, 4, 5)], transA=1, alpha=0.3)
    case("fused_matmul_batch_a", "FusedMatMul", [floats(3, 2, 4), floats(2, 4, 5)], transBatchA=1)
    case("fused_matmul_batch_b", "FusedMatMul", [floats(2, 3, 4), floats(5, 2, 4)], transBatchB=1, transB=1)
    case("transpose_matmul", "TransposeMatMul", [floats(3, 4), floats(5, 4)], transB=1, alpha=2.0)
    x, w, b = floats(1, 5, 6, 4), floats(3, 3, 2, 4), floats(3)
    expected = functional.conv2d(
        torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(w).permute(0, 3, 1, 2), torch.tensor(b), stride=2, padding=1)
    case("nhwc_conv", "NhwcConv", [x, w, b], expected=[expected.permute(0, 2, 3, 1).numpy()], strides=[2, 2], pads=[1, 1, 1, 1])


def elements():
    x = floats(2, 3, 8) * 3
    case("gelu", "Gelu", [x])
    case("bias_gelu", "BiasGelu", [x, floats(8)])
    case("fast_gelu", "FastGelu", [x])
    case("fast_gelu_bias", "FastGelu", [x, floats(8)])
    case("quick_gelu", "QuickGelu", [x])
    case("quick_gelu_alpha", "QuickGelu", [x], alpha=0.7)
    bias = floats(8)
    left, right = torch.tensor(x + bias).chunk(2, -1)
    case("bias_split_gelu", "BiasSplitGelu", [x, bias], expected=[(left * functional.gelu(right)).numpy()])
    case("cdist", "CDist", [floats(4, 3), floats(5, 3)], metric="euclidean")
    case("cdist_squared", "CDist", [floats(4, 3), floats(5, 3)], metric="sqeuclidean")
    grid = (RANDOM.random((2, 3, 4, 2)) * 2.6 - 1.3).astype(np.float32)
    case("grid_sample", "GridSample", [floats(2, 3, 5, 4), grid], mode="bilinear", padding_mode="border")
    case("grid_sample_cubic", "GridSample", [floats(2, 3, 5, 4), grid], mode="bicubic", padding_mode="reflection", align_corners=1)


def norms():
    x, gamma, beta = floats(2, 3, 8), floats(8), floats(8)
    case("skip_layer_norm", "SkipLayerNormalization", [x, floats(2, 3, 8), gamma, beta, floats(8)], epsilon=1e-5)
    case("skip_layer_norm_sum", "SkipLayerNormalization", [x, floats(1, 3, 8), gamma, beta], 4, epsilon=1e-5)
    case("skip_simplified_norm", "SkipSimplifiedLayerNormalization", [x, floats(2, 3, 8), gamma, floats(8)], 1, epsilon=1e-6)
    case("simplified_norm", "SimplifiedLayerNormalization", [x, gamma], domain="", epsilon=1e-6, axis=-1)
    case("layer_norm_opset_11", "LayerNormalization", [x, gamma, beta], domain="", opset=11, epsilon=1e-5)
    words = RANDOM.integers(0, 7, (2, 3)).astype(np.int32)
    segments = RANDOM.integers(0, 2, (2, 3)).astype(np.int32)
    mask = np.array([[1, 1, 0], [1, 1, 1]], np.int32)
    tables = [floats(7, 8), floats(5, 8), floats(2, 8)]
    case("embed_layer_norm", "EmbedLayerNormalization", [words, segments, *tables, gamma, beta, mask], 2)
    case("embed_layer_norm_sum", "EmbedLayerNormalization",
         [words, None, *tables[:2], None, gamma, beta, None, np.array([[2, 0, 1], [3, 4, 1]], np.int32)], 3)
    x, gamma, beta = floats(2, 4, 3, 8), floats(8), floats(8)
    normal = functional.group_norm(torch.tensor(x).permute(0, 3, 1, 2), 4, torch.tensor(gamma), torch.tensor(beta), 1e-5)
    case("group_norm", "GroupNorm", [x, gamma, beta], expected=[functional.silu(normal).permute(0, 2, 3, 1).numpy()],
         groups=4, activation=1, epsilon=1e-5)
    case("group_norm_first", "GroupNorm", [np.ascontiguousarray(x.transpose(0, 3, 1, 2)), gamma, beta], expected=[normal.numpy()],
         groups=4, activation=0, channels_last=0, epsilon=1e-5)


def attention():
    b, s, n, d = 2, 3, 2, 4
    x, w, bias = floats(b, s, 6), floats(6, 3 * n * d), floats(3 * n * d)
    case("attention", "Attention", [x, w, bias], num_heads=n)
    case("attention_causal", "Attention", [x, w, bias], num_heads=n, unidirectional=1, scale=0.4)
    case("attention_lengths", "Attention", [x, w, bias, np.array([2, 3], np.int32)], num_heads=n)
    case("attention_ends", "Attention", [x, w, bias, np.array([2, 3, 0, 1], np.int32)], num_heads=n)
    case("attention_mask", "Attention", [x, w, bias, np.array([[1, 0, 1], [1, 1, 0]], np.int32)], num_heads=n)
    case("attention_past", "Attention", [x, w, bias, None, floats(2, b, n, 2, d)], 2, num_heads=n, unidirectional=1)
    case("attention_bias", "Attention", [x, w, bias, None, None, floats(b, n, s, s)], num_heads=n)
    case("attention_sizes", "Attention", [x, floats(6, 8 + 8 + 4), floats(20)], num_heads=n, qkv_hidden_sizes=[8, 8, 4])
    q, k, v = floats(b, s, n * d), floats(b, 5, n * d), floats(b, 5, n * 3)
    case("multi_head", "MultiHeadAttention", [q, k, v], num_heads=n)
    case("multi_head_bias", "MultiHeadAttention", [q, k, v, floats(2 * n * d + n * 3)], num_heads=n, scale=0.3)
    case("multi_head_mask", "MultiHeadAttention", [q, k, v, None, np.array([[1, 1, 0, 1, 1], [0, 1, 1, 1, 0]], np.int32)], num_heads=n)
    case("multi_head_attention_bias", "MultiHeadAttention", [q, k, v, None, None, floats(1, n, s, 5)], num_heads=n)
    k, v = floats(b, s, n * d), floats(b, s, n * d)
    case("multi_head_past", "MultiHeadAttention",
         [q, k, v, None, None, None, floats(b, n, 2, d), floats(b, n, 2, d)], 3, num_heads=n, unidirectional=1)
    case("multi_head_cross", "MultiHeadAttention", [q, floats(b, n, 5, d), floats(b, n, 5, d)], num_heads=n)
    positions = np.arange(6)[:, None] / np.array([1, 7.0])
    cosine, sine = np.cos(positions).astype(np.float32), np.sin(positions).astype(np.float32)
    case("rotary", "RotaryEmbedding", [q, np.array([2], np.int64), cosine, sine])
    case("rotary_interleaved", "RotaryEmbedding", [floats(b, n, s, d), np.array([[0, 2, 1], [3, 4, 5]], np.int64), cosine, sine], interleaved=1)
    case("rotary_part", "RotaryEmbedding", [floats(b, s, n * 6), np.array([[0, 2, 1], [3, 4, 5]], np.int64), cosine, sine],
         num_heads=n, rotary_embedding_dim=4)


if __name__ == "__main__":
    for make in [products, elements, norms, attention]:
        make()
    print(f"{len(list(HERE.glob('*.onnx')))} models")
