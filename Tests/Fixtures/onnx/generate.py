#!/usr/bin/env python3
"""Writes some of the ONNX project's backend tests and small networks.

Needs the Python packages onnx, torch and numpy. Beside each NAME.onnx lies NAME.npz with input_0 …, output_0 ….
"""

import pathlib
import sys
import warnings

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).resolve().parent

NODE_TESTS = """
test_convtranspose_output_shape test_conv_with_autopad_same test_convtranspose_group_2 test_basic_conv_with_padding
test_maxpool_2d_ceil test_maxpool_with_argmax_2d_precomputed_pads test_averagepool_2d_precomputed_pads_count_include_pad
test_lppool_2d_same_lower test_lstm_with_peepholes test_gru_batchwise test_rnn_seq_length test_loop11 test_if
test_resize_downsample_scales_cubic_antialias test_resize_tf_crop_and_resize test_resize_upsample_sizes_nearest_ceil_half_pixel
test_einsum_batch_matmul test_gathernd_example_int32_batch_dim1 test_scatternd_add test_scatter_elements_with_axis
test_top_k_smallest test_nonmaxsuppression_suppress_by_IOU test_cumsum_2d_negative_axis test_wrap_pad test_edge_pad
test_quantizelinear_blocked_asymmetric test_qlinearconv test_dequantizelinear_axis test_convinteger_with_padding
test_cast_FLOAT_to_FLOAT8E4M3FN test_cast_FLOAT_to_INT4 test_layer_normalization_3d_axis1_epsilon test_group_normalization_epsilon
test_dft test_stft_with_window test_slice_neg_steps test_mod_mixed_sign_int8 test_bitshift_right_uint16
test_reduce_log_sum_exp_keepdims_random test_argmax_keepdims_random_select_last_index test_lrn test_gemm_all_attributes
test_scan9_sum test_depthtospace_crd_mode_example test_split_variable_parts_default_axis test_training_dropout_mask
test_clip_min_greater_than_max test_clip_default_int8_max
test_attention_4d_causal test_attention_3d_gqa_softcap test_attention_4d_with_past_and_present test_attention_4d_attn_mask_bool
test_attention_4d_diff_heads_mask4d_padded_kv test_attention_3d_with_past_and_present_qk_matmul_softmax test_rotary_embedding_interleaved
test_rotary_embedding_3d_input test_linear_attention_gated_per_head_decay test_causal_conv_with_state_decode_step test_tensorscatter_circular
test_flexattention_gqa test_swiglu_alpha test_sce_NCd1d2d3_none_no_weight_negative_ii test_nllloss_NCd1d2_with_weight_reduction_sum_ii
test_sce_mean_weight_ii_log_prob test_col2im_dilations test_col2im_5d test_deform_conv_with_multiple_offset_groups
test_deform_conv_with_mask_bias test_roialign_aligned_true test_roialign_mode_max test_unique_sorted_with_axis_3d
test_unique_not_sorted_without_axis test_melweightmatrix test_adam_multiple test_nesterov_momentum test_adagrad
test_tfidfvectorizer_tf_batch_uniandbigrams_skip5 test_scan_sum test_ai_onnx_ml_binarizer test_ai_onnx_ml_array_feature_extractor
""".split()


def save(name, model, inputs, outputs):
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
    def array(value):
        return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)

    arrays = {f"input_{i}": array(value) for i, value in enumerate(inputs)}
    arrays |= {f"output_{i}": array(value) for i, value in enumerate(outputs)}
    # NumPy knows the narrow types by way of ml_dtypes only; they are stored as numbers.
    arrays = {
        key: value if value.dtype.kind in "fiub" and value.dtype.isbuiltin else value.astype(np.float32)
        for key, value in arrays.items()
    }
    np.savez_compressed(HERE / f"{name}.npz", **arrays)


def node_tests():
    from onnx.backend.test.case.node import collect_testcases

    for case in collect_testcases(None):
        if case.name in NODE_TESTS:
            inputs, outputs = case.data_sets[0]
            save(case.name.removeprefix("test_"), case.model, inputs, outputs)


class Residual(nn.Module):
    """All that compilation joins to convolutions."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 4, 4, 2, 1, groups=2)
        self.upnorm = nn.BatchNorm2d(4)
        self.gain = nn.Parameter(torch.rand(4, 1, 1) + 0.5)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.first(x)
        y = self.norm(self.second(nn.functional.leaky_relu(x, 0.1)))
        x = nn.functional.relu(x + y + self.second(x)) / 3
        x = self.upnorm(self.up(x)) * self.gain
        return torch.tanh(self.last(x) * torch.sigmoid(self.last(x)) + 1)


def networks():
    torch.manual_seed(3)
    model = Residual().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    x = torch.rand(2, 3, 9, 11)
    with torch.no_grad():
        y = model(x)
    path = HERE / "residual.onnx"
    torch.onnx.export(model, (x,), str(path), input_names=["x"], output_names=["y"], opset_version=17, dynamo=False,
                      do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
                      dynamic_axes={"x": {0: "N", 2: "H", 3: "W"}})
    save("residual", onnx.load(path), [x.numpy()], [y.numpy()])


def functions():
    """A model whose nodes call functions of its own."""
    inner = helper.make_function(
        "local", "Scale", ["a"], ["b"],
        [helper.make_node("Constant", [], ["k"]), helper.make_node("Mul", ["a", "k"], ["b"])],
        [helper.make_opsetid("", 17)], ["factor"])
    attribute = inner.node[0].attribute.add()
    attribute.name, attribute.ref_attr_name, attribute.type = "value_float", "factor", onnx.AttributeProto.FLOAT
    outer = helper.make_function(
        "local", "Twice", ["a"], ["b"],
        [helper.make_node("Scale", ["a"], ["t"], domain="local", factor=2.0),
         helper.make_node("Scale", ["t"], ["b"], domain="local", factor=3.0)],
        [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)])
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="local")], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])])
    model = helper.make_model(
        graph, functions=[inner, outer], ir_version=8,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)])
    x = np.arange(5, dtype=np.float32)
    save("functions", model, [x], [6 * x])


def external():
    """A model whose weight lies in a file beside it."""
    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    (HERE / "external.bin").write_bytes(bytes(64) + weight.tobytes())
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "external.bin", "offset": "64", "length": "48"}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])], [tensor])
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    save("external", model, [x], [x @ weight])


if __name__ == "__main__":
    node_tests()
    networks()
    functions()
    external()
