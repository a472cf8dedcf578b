// Written by Scripts/make-onnx-schemas.py from onnx 1.23.2 and onnxruntime 1.32.0.
// swift-format-ignore-file

extension OperatorSchema {
  /// What operators take: a line for each, with the versions that changed it.
  static let table = #"""
@
Abs 1 1:r 1-1 consumed_inputs:I | 6 1:r 1-1
Acos 7 1:r 1-1
Acosh 9 1:r 1-1
Add 1 2:rr 1-1 axis:i broadcast:i consumed_inputs:I | 6 2:rr 1-1 axis:i broadcast:i | 7 2:rr 1-1
AffineGrid 20 2:rr 1-1 align_corners:i
And 1 2:rr 1-1 axis:i broadcast:i | 7 2:rr 1-1
ArgMax 1 1:r 1-1 axis:i keepdims:i | 12 1:r 1-1 axis:i keepdims:i select_last_index:i
ArgMin 1 1:r 1-1 axis:i keepdims:i | 12 1:r 1-1 axis:i keepdims:i select_last_index:i
Asin 7 1:r 1-1
Asinh 9 1:r 1-1
Atan 7 1:r 1-1
Atanh 9 1:r 1-1
Attention 23 3:rrrooo 1-4 is_causal:i kv_num_heads:i q_num_heads:i qk_matmul_output_mode:i scale:f softcap:f softmax_precision:i | 24 3:rrroooo 1-4 is_causal:i kv_num_heads:i q_num_heads:i qk_matmul_output_mode:i scale:f softcap:f softmax_precision:i | 25 3:rrroooo 1-4 is_causal:i kv_num_heads:i left_window_size:i q_num_heads:i qk_matmul_output_mode:i right_window_size:i scale:f softcap:f softmax_precision:i
AveragePool 1 1:r 1-1 auto_pad:s kernel_shape:I! pads:I strides:I | 7 1:r 1-1 auto_pad:s count_include_pad:i kernel_shape:I! pads:I strides:I | 10 1:r 1-1 auto_pad:s ceil_mode:i count_include_pad:i kernel_shape:I! pads:I strides:I | 19 1:r 1-1 auto_pad:s ceil_mode:i count_include_pad:i dilations:I kernel_shape:I! pads:I strides:I
BatchNormalization 1 5:rrrrr 1-5 consumed_inputs:I! epsilon:f is_test:i momentum:f spatial:i | 6 5:rrrrr 1-5 epsilon:f is_test:i momentum:f spatial:i | 7 5:rrrrr 1-5 epsilon:f momentum:f spatial:i | 9 5:rrrrr 1-5 epsilon:f momentum:f | 14 5:rrrrr 1-3 epsilon:f momentum:f training_mode:i
Bernoulli 15 1:r 1-1 dtype:i seed:f
BitCast 26 1:r 1-1 to:i!
BitShift 11 2:rr 1-1 direction:s!
BitwiseAnd 18 2:rr 1-1
BitwiseNot 18 1:r 1-1
BitwiseOr 18 2:rr 1-1
BitwiseXor 18 2:rr 1-1
BlackmanWindow 17 1:r 1-1 output_datatype:i periodic:i
Cast 1 1:r 1-1 to:s! | 6 1:r 1-1 to:i! | 19 1:r 1-1 saturate:i to:i! | 24 1:r 1-1 round_mode:s saturate:i to:i!
CastLike 15 2:rr 1-1 | 19 2:rr 1-1 saturate:i | 24 2:rr 1-1 round_mode:s saturate:i
CausalConvWithState 27 2:rroo 2-2 activation:s
Ceil 1 1:r 1-1 consumed_inputs:I | 6 1:r 1-1
Celu 12 1:r 1-1 alpha:f
CenterCropPad 18 2:rr 1-1 axes:I
Clip 1 1:r 1-1 consumed_inputs:I max:f min:f | 6 1:r 1-1 max:f min:f | 11 1:roo 1-1
Col2Im 18 3:rrr 1-1 dilations:I pads:I strides:I
Compress 9 2:rr 1-1 axis:i
Concat 1 1:* 1-1 axis:i | 4 1:* 1-1 axis:i!
ConcatFromSequence 11 1:r 1-1 axis:i! new_axis:i
Constant 1 0: 1-1 value:t! | 11 0: 1-1 sparse_value:x value:t | 12 0: 1-1 sparse_value:x value:t value_float:f value_floats:F value_int:i value_ints:I value_string:s value_strings:S
ConstantOfShape 9 1:r 1-1 value:t
Conv 1 2:rro 1-1 auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I
ConvInteger 10 2:rroo 1-1 auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I
ConvTranspose 1 2:rro 1-1 auto_pad:s dilations:I group:i kernel_shape:I output_padding:I output_shape:I pads:I strides:I
Cos 7 1:r 1-1
Cosh 9 1:r 1-1
CumProd 26 2:rr 1-1 exclusive:i reverse:i
CumSum 11 2:rr 1-1 exclusive:i reverse:i
DFT 17 1:ro 1-1 axis:i inverse:i onesided:i | 20 1:roo 1-1 inverse:i onesided:i
DeformConv 19 3:rrroo 1-1 dilations:I group:i kernel_shape:I offset_group:i pads:I strides:I
DepthToSpace 1 1:r 1-1 blocksize:i! | 11 1:r 1-1 blocksize:i! mode:s
DequantizeLinear 10 2:rro 1-1 | 13 2:rro 1-1 axis:i | 21 2:rro 1-1 axis:i block_size:i | 23 2:rro 1-1 axis:i block_size:i output_dtype:i
Det 11 1:r 1-1
Div 1 2:rr 1-1 axis:i broadcast:i consumed_inputs:I | 6 2:rr 1-1 axis:i broadcast:i | 7 2:rr 1-1
Dropout 1 1:r 1-2 consumed_inputs:I is_test:i ratio:f | 6 1:r 1-2 is_test:i ratio:f | 7 1:r 1-2 ratio:f | 12 1:roo 1-2 seed:i
DynamicQuantizeLinear 11 1:r 3-3
Einsum 12 1:* 1-1 equation:s!
Elu 1 1:r 1-1 alpha:f consumed_inputs:I | 6 1:r 1-1 alpha:f
Equal 1 2:rr 1-1 axis:i broadcast:i | 7 2:rr 1-1
Erf 9 1:r 1-1
Exp 1 1:r 1-1 consumed_inputs:I | 6 1:r 1-1
Expand 8 2:rr 1-1
EyeLike 9 1:r 1-1 dtype:i k:i
Flatten 1 1:r 1-1 axis:i
Floor 1 1:r 1-1 consumed_inputs:I | 6 1:r 1-1
GRU 1 3:rrrooo 2-2 activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i output_sequence:i | 3 3:rrrooo 0-2 activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i linear_before_reset:i output_sequence:i | 7 3:rrrooo 0-2 activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i linear_before_reset:i | 14 3:rrrooo 0-2 activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i layout:i linear_before_reset:i
Gather 1 2:rr 1-1 axis:i
GatherElements 11 2:rr 1-1 axis:i
GatherND 11 2:rr 1-1 | 12 2:rr 1-1 batch_dims:i
Gelu 20 1:r 1-1 approximate:s
Gemm 1 3:rrr 1-1 alpha:f beta:f broadcast:i transA:i transB:i | 7 3:rrr 1-1 alpha:f beta:f transA:i transB:i | 11 2:rro 1-1 alpha:f beta:f transA:i transB:i
GlobalAveragePool 1 1:r 1-1
GlobalLpPool 1 1:r 1-1 p:f | 2 1:r 1-1 p:i
GlobalMaxPool 1 1:r 1-1
Greater 1 2:rr 1-1 axis:i broadcast:i | 7 2:rr 1-1
GreaterOrEqual 12 2:rr 1-1
GridSample 16 2:rr 1-1 align_corners:i mode:s padding_mode:s
GroupNormalization 21 3:rrr 1-1 epsilon:f num_groups:i! stash_type:i
HammingWindow 17 1:r 1-1 output_datatype:i periodic:i
HannWindow 17 1:r 1-1 output_datatype:i periodic:i
HardSigmoid 1 1:r 1-1 alpha:f beta:f consumed_inputs:I | 6 1:r 1-1 alpha:f beta:f
HardSwish 14 1:r 1-1
Hardmax 1 1:r 1-1 axis:i
Identity 1 1:r 1-1
If 1 1:r 1- else_branch:g! then_branch:g!
ImageDecoder 20 1:r 1-1 pixel_format:s
InstanceNormalization 1 3:rrr 1-1 consumed_inputs:I epsilon:f | 6 3:rrr 1-1 epsilon:f
IsInf 10 1:r 1-1 detect_negative:i detect_positive:i
IsNaN 9 1:r 1-1
LRN 1 1:r 1-1 alpha:f beta:f bias:f size:i!
LSTM 1 3:rrrooooo 0-3 activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i input_forget:i output_sequence:i | 7 3:rrrooooo 0-3 activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i input_forget:i | 14 3:rrrooooo 0-3 activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i input_forget:i layout:i
LayerNormalization 1 2:rro 1-3 axis:i epsilon:f stash_type:i
LeakyRelu 1 1:r 1-1 alpha:f consumed_inputs:I | 6 1:r 1-1 alpha:f
Less 1 2:rr 1-1 axis:i broadcast:i | 7 2:rr 1-1
LessOrEqual 12 2:rr 1-1
LinearAttention 27 3:rrrooo 2-2 chunk_size:i kv_num_heads:i! q_num_heads:i! scale:f update_rule:s
Log 1 1:r 1-1 consumed_inputs:I | 6 1:r 1-1
LogSoftmax 1 1:r 1-1 axis:i
Loop 1 3:oo* 1- body:g! | 11 2:oo* 1- body:g!
LpNormalization 1 1:r 1-1 axis:i p:i
LpPool 1 1:r 1-1 auto_pad:s kernel_shape:I p:f pads:I strides:I | 2 1:r 1-1 auto_pad:s kernel_shape:I! p:i pads:I strides:I | 18 1:r 1-1 auto_pad:s ceil_mode:i dilations:I kernel_shape:I! p:i pads:I strides:I
MatMul 1 2:rr 1-1
MatMulInteger 10 2:rroo 1-1
Max 1 1:* 1-1 consumed_inputs:I | 6 1:* 1-1
MaxPool 1 1:r 1-1 auto_pad:s kernel_shape:I! pads:I strides:I | 8 1:r 1-2 auto_pad:s kernel_shape:I! pads:I storage_order:i strides:I | 10 1:r 1-2 auto_pad:s ceil_mode:i dilations:I kernel_shape:I! pads:I storage_order:i strides:I
MaxRoiPool 1 2:rr 1-1 pooled_shape:I! spatial_scale:f
MaxUnpool 9 2:rro 1-1 kernel_shape:I! pads:I strides:I
Mean 1 1:* 1-1 consumed_inputs:I | 6 1:* 1-1
MeanVarianceNormalization 9 1:r 1-1 axes:I
MelWeightMatrix 17 5:rrrrr 1-1 output_datatype:i
Min 1 1:* 1-1 consumed_inputs:I | 6 1:* 1-1
Mish 18 1:r 1-1
Mod 10 2:rr 1-1 fmod:i
Mul 1 2:rr 1-1 axis:i broadcast:i consumed_inputs:I | 6 2:rr 1-1 axis:i broadcast:i | 7 2:rr 1-1
Multinomial 7 1:r 1-1 dtype:i sample_size:i seed:f
Neg 1 1:r 1-1 consumed_inputs:I | 6 1:r 1-1
NegativeLogLikelihoodLoss 12 2:rro 1-1 ignore_index:i reduction:s
NonMaxSuppression 10 2:rrooo 1-1 center_point_box:i
NonZero 9 1:r 1-1
Not 1 1:r 1-1
OneHot 9 3:rrr 1-1 axis:i
Optional 15 0:o 1-1 type:p
OptionalGetElement 15 1:r 1-1
OptionalHasElement 15 1:r 1-1 | 18 0:o 1-1
Or 1 2:rr 1-1 axis:i broadcast:i | 7 2:rr 1-1
PRelu 1 2:rr 1-1 consumed_inputs:I | 6 2:rr 1-1
Pad 1 1:r 1-1 mode:s paddings:I! value:f | 2 1:r 1-1 mode:s pads:I! value:f | 11 2:rro 1-1 mode:s | 18 2:rroo 1-1 mode:s
Pow 1 2:rr 1-1 axis:i broadcast:i | 7 2:rr 1-1
QLinearConv 10 8:rrrrrrrro 1-1 auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I
QLinearMatMul 10 8:rrrrrrrr 1-1
QuantizeLinear 10 2:rro 1-1 | 13 2:rro 1-1 axis:i | 19 2:rro 1-1 axis:i saturate:i | 21 2:rro 1-1 axis:i block_size:i output_dtype:i saturate:i | 23 2:rro 1-1 axis:i block_size:i output_dtype:i precision:i saturate:i
RMSNormalization 23 2:rr 1-1 axis:i epsilon:f stash_type:i
RNN 1 3:rrrooo 0-2 activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i output_sequence:i | 7 3:rrrooo 0-2 activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i | 14 3:rrrooo 0-2 activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i layout:i
RandomNormal 1 0: 1-1 dtype:i mean:f scale:f seed:f shape:I!
RandomNormalLike 1 1:r 1-1 dtype:i mean:f scale:f seed:f
RandomUniform 1 0: 1-1 dtype:i high:f low:f seed:f shape:I!
RandomUniformLike 1 1:r 1-1 dtype:i high:f low:f seed:f
Range 11 3:rrr 1-1 | 27 3:rrr 1-1 stash_type:i
Reciprocal 1 1:r 1-1 consumed_inputs:I | 6 1:r 1-1
ReduceL1 1 1:r 1-1 axes:I keepdims:i | 18 1:ro 1-1 keepdims:i noop_with_empty_axes:i
ReduceL2 1 1:r 1-1 axes:I keepdims:i | 18 1:ro 1-1 keepdims:i noop_with_empty_axes:i
ReduceLogSum 1 1:r 1-1 axes:I keepdims:i | 18 1:ro 1-1 keepdims:i noop_with_empty_axes:i
ReduceLogSumExp 1 1:r 1-1 axes:I keepdims:i | 18 1:ro 1-1 keepdims:i noop_with_empty_axes:i
ReduceMax 1 1:r 1-1 axes:I keepdims:i | 18 1:ro 1-1 keepdims:i noop_with_empty_axes:i
ReduceMean 1 1:r 1-1 axes:I keepdims:i | 18 1:ro 1-1 keepdims:i noop_with_empty_axes:i
ReduceMin 1 1:r 1-1 axes:I keepdims:i | 18 1:ro 1-1 keepdims:i noop_with_empty_axes:i
ReduceProd 1 1:r 1-1 axes:I keepdims:i | 18 1:ro 1-1 keepdims:i noop_with_empty_axes:i
ReduceSum 1 1:r 1-1 axes:I keepdims:i | 13 1:ro 1-1 keepdims:i noop_with_empty_axes:i
ReduceSumSquare 1 1:r 1-1 axes:I keepdims:i | 18 1:ro 1-1 keepdims:i noop_with_empty_axes:i
RegexFullMatch 20 1:r 1-1 pattern:s
Relu 1 1:r 1-1 consumed_inputs:I | 6 1:r 1-1
Reshape 1 1:r 1-1 consumed_inputs:I shape:I | 5 2:rr 1-1 | 14 2:rr 1-1 allowzero:i
Resize 10 2:rr 1-1 mode:s | 11 3:rrro 1-1 coordinate_transformation_mode:s cubic_coeff_a:f exclude_outside:i extrapolation_value:f mode:s nearest_mode:s | 13 1:rooo 1-1 coordinate_transformation_mode:s cubic_coeff_a:f exclude_outside:i extrapolation_value:f mode:s nearest_mode:s | 18 1:rooo 1-1 antialias:i axes:I coordinate_transformation_mode:s cubic_coeff_a:f exclude_outside:i extrapolation_value:f keep_aspect_ratio_policy:s mode:s nearest_mode:s
ReverseSequence 10 2:rr 1-1 batch_axis:i time_axis:i
RoiAlign 10 3:rrr 1-1 mode:s output_height:i output_width:i sampling_ratio:i spatial_scale:f | 16 3:rrr 1-1 coordinate_transformation_mode:s mode:s output_height:i output_width:i sampling_ratio:i spatial_scale:f
RotaryEmbedding 23 3:rrro 1-1 interleaved:i num_heads:i rotary_embedding_dim:i
Round 11 1:r 1-1
STFT 17 2:rroo 1-1 onesided:i
Scan 8 2:o* 1- body:g! directions:I num_scan_inputs:i! | 9 1:* 1- body:g! num_scan_inputs:i! scan_input_axes:I scan_input_directions:I scan_output_axes:I scan_output_directions:I
Scatter 9 3:rrr 1-1 axis:i
ScatterElements 11 3:rrr 1-1 axis:i | 16 3:rrr 1-1 axis:i reduction:s
ScatterND 11 3:rrr 1-1 | 16 3:rrr 1-1 reduction:s
Selu 1 1:r 1-1 alpha:f consumed_inputs:I gamma:f | 6 1:r 1-1 alpha:f gamma:f
SequenceAt 11 2:rr 1-1
SequenceConstruct 11 1:* 1-1
SequenceEmpty 11 0: 1-1 dtype:i
SequenceErase 11 1:ro 1-1
SequenceInsert 11 2:rro 1-1
SequenceLength 11 1:r 1-1
SequenceMap 17 1:r* 1- body:g!
Shape 1 1:r 1-1 | 15 1:r 1-1 end:i start:i
Shrink 9 1:r 1-1 bias:f lambd:f
Sigmoid 1 1:r 1-1 consumed_inputs:I | 6 1:r 1-1
Sign 9 1:r 1-1
SimplifiedLayerNormalization 1 2:rr 1-2 axis:i epsilon:f stash_type:i
Sin 7 1:r 1-1
Sinh 9 1:r 1-1
Size 1 1:r 1-1
Slice 1 1:r 1-1 axes:I ends:I! starts:I! | 10 3:rrroo 1-1
Softmax 1 1:r 1-1 axis:i
SoftmaxCrossEntropyLoss 12 2:rro 1-2 ignore_index:i reduction:s
Softplus 1 1:r 1-1
Softsign 1 1:r 1-1
SpaceToDepth 1 1:r 1-1 blocksize:i! | 28 1:r 1-1 blocksize:i! mode:s
Split 1 1:ro 1- axis:i split:I | 2 1:r 1- axis:i split:I | 13 1:ro 1- axis:i | 18 1:ro 1- axis:i num_outputs:i
SplitToSequence 11 1:ro 1-1 axis:i keepdims:i
Sqrt 1 1:r 1-1 consumed_inputs:I | 6 1:r 1-1
Squeeze 1 1:r 1-1 axes:I | 13 1:ro 1-1
StringConcat 20 2:rr 1-1
StringNormalizer 10 1:r 1-1 case_change_action:s is_case_sensitive:i locale:s stopwords:S
StringSplit 20 1:r 2-2 delimiter:s maxsplit:i
Sub 1 2:rr 1-1 axis:i broadcast:i consumed_inputs:I | 6 2:rr 1-1 axis:i broadcast:i | 7 2:rr 1-1
Sum 1 1:* 1-1 consumed_inputs:I | 6 1:* 1-1
SwiGLU 28 2:rr 1-1 alpha:f
Swish 24 1:r 1-1 alpha:f
Tan 7 1:r 1-1
Tanh 1 1:r 1-1 consumed_inputs:I | 6 1:r 1-1
TensorScatter 24 2:rro 1-1 axis:i mode:s
TfIdfVectorizer 9 1:r 1-1 max_gram_length:i! max_skip_count:i! min_gram_length:i! mode:s! ngram_counts:I! ngram_indexes:I! pool_int64s:I pool_strings:S weights:F
ThresholdedRelu 10 1:r 1-1 alpha:f
Tile 1 3:rrr 1-1 | 6 2:rr 1-1
TopK 1 1:r 2-2 axis:i k:i! | 10 2:rr 2-2 axis:i | 11 2:rr 2-2 axis:i largest:i sorted:i
Transpose 1 1:r 1-1 perm:I
Trilu 14 1:ro 1-1 upper:i
Unique 11 1:r 1-4 axis:i sorted:i
Unsqueeze 1 1:r 1-1 axes:I! | 13 2:rr 1-1
Upsample 1 1:r 1-1 height_scale:f! mode:s width_scale:f! | 7 1:r 1-1 mode:s scales:F! | 9 2:rr 1-1 mode:s
Where 9 3:rrr 1-1
Xor 1 2:rr 1-1 axis:i broadcast:i | 7 2:rr 1-1
@ai.onnx.ml
ArrayFeatureExtractor 1 2:rr 1-1
Binarizer 1 1:r 1-1 threshold:f
CastMap 1 1:r 1-1 cast_to:s map_form:s max_map:i
CategoryMapper 1 1:r 1-1 cats_int64s:I cats_strings:S default_int64:i default_string:s
DictVectorizer 1 1:r 1-1 int64_vocabulary:I string_vocabulary:S
FeatureVectorizer 1 1:* 1-1 inputdimensions:I
Imputer 1 1:r 1-1 imputed_value_floats:F imputed_value_int64s:I replaced_value_float:f replaced_value_int64:i
LabelEncoder 1 1:r 1-1 classes_strings:S default_int64:i default_string:s | 2 1:r 1-1 default_float:f default_int64:i default_string:s keys_floats:F keys_int64s:I keys_strings:S values_floats:F values_int64s:I values_strings:S | 4 1:r 1-1 default_float:f default_int64:i default_string:s default_tensor:t keys_floats:F keys_int64s:I keys_strings:S keys_tensor:t values_floats:F values_int64s:I values_strings:S values_tensor:t
LinearClassifier 1 1:r 2-2 classlabels_ints:I classlabels_strings:S coefficients:F! intercepts:F multi_class:i post_transform:s
LinearRegressor 1 1:r 1-1 coefficients:F intercepts:F post_transform:s targets:i
Normalizer 1 1:r 1-1 norm:s
OneHotEncoder 1 1:r 1-1 cats_int64s:I cats_strings:S zeros:i
SVMClassifier 1 1:r 2-2 classlabels_ints:I classlabels_strings:S coefficients:F kernel_params:F kernel_type:s post_transform:s prob_a:F prob_b:F rho:F support_vectors:F vectors_per_class:I
SVMRegressor 1 1:r 1-1 coefficients:F kernel_params:F kernel_type:s n_supports:i one_class:i post_transform:s rho:F support_vectors:F
Scaler 1 1:r 1-1 offset:F scale:F
TreeEnsemble 5 1:r 1-1 aggregate_function:i leaf_targetids:I! leaf_weights:t! membership_values:t n_targets:i nodes_falseleafs:I! nodes_falsenodeids:I! nodes_featureids:I! nodes_hitrates:t nodes_missing_value_tracks_true:I nodes_modes:t! nodes_splits:t! nodes_trueleafs:I! nodes_truenodeids:I! post_transform:i tree_roots:I!
TreeEnsembleClassifier 1 1:r 2-2 base_values:F class_ids:I class_nodeids:I class_treeids:I class_weights:F classlabels_int64s:I classlabels_strings:S nodes_falsenodeids:I nodes_featureids:I nodes_hitrates:F nodes_missing_value_tracks_true:I nodes_modes:S nodes_nodeids:I nodes_treeids:I nodes_truenodeids:I nodes_values:F post_transform:s | 3 1:r 2-2 base_values:F base_values_as_tensor:t class_ids:I class_nodeids:I class_treeids:I class_weights:F class_weights_as_tensor:t classlabels_int64s:I classlabels_strings:S nodes_falsenodeids:I nodes_featureids:I nodes_hitrates:F nodes_hitrates_as_tensor:t nodes_missing_value_tracks_true:I nodes_modes:S nodes_nodeids:I nodes_treeids:I nodes_truenodeids:I nodes_values:F nodes_values_as_tensor:t post_transform:s
TreeEnsembleRegressor 1 1:r 1-1 aggregate_function:s base_values:F n_targets:i nodes_falsenodeids:I nodes_featureids:I nodes_hitrates:F nodes_missing_value_tracks_true:I nodes_modes:S nodes_nodeids:I nodes_treeids:I nodes_truenodeids:I nodes_values:F post_transform:s target_ids:I target_nodeids:I target_treeids:I target_weights:F | 3 1:r 1-1 aggregate_function:s base_values:F base_values_as_tensor:t n_targets:i nodes_falsenodeids:I nodes_featureids:I nodes_hitrates:F nodes_hitrates_as_tensor:t nodes_missing_value_tracks_true:I nodes_modes:S nodes_nodeids:I nodes_treeids:I nodes_truenodeids:I nodes_values:F nodes_values_as_tensor:t post_transform:s target_ids:I target_nodeids:I target_treeids:I target_weights:F target_weights_as_tensor:t
ZipMap 1 1:r 1-1 classlabels_int64s:I classlabels_strings:S
@ai.onnx.preview
FlexAttention 1 3:rrr 1-1 prob_mod:g scale:f score_mod:g softmax_precision:i
@ai.onnx.preview.training
Adagrad 1 3:rr* 1- decay_factor:f epsilon:f norm_coefficient:f
Adam 1 3:rr* 1- alpha:f beta:f epsilon:f norm_coefficient:f norm_coefficient_post:f
Gradient 1 1:* 1- xs:S! y:s! zs:S
Momentum 1 3:rr* 1- alpha:f! beta:f! mode:s! norm_coefficient:f!
@com.microsoft
Attention 1 2:rrooooo 1-2 do_rotary:i mask_filter_value:f num_heads:i! past_present_share_buffer:i qkv_hidden_sizes:I rotary_embedding_dim:i scale:f unidirectional:i
AttnLSTM 1 3:rrrooooooooooo 0-3 activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i input_forget:i
BeamSearch 1 5:rrorrooooooo 1-3 decoder:g! decoder_start_token_id:i early_stopping:i encoder:g eos_token_id:i! init_decoder:g model_type:i no_repeat_ngram_size:i pad_token_id:i! vocab_size:i
BiasAdd 1 3:rrr 1-1
BiasDropout 1 2:rrooo 1-2 seed:i
BiasGelu 1 2:rr 1-1
BiasSoftmax 1 2:rr 1-1 axis:i is_inner_broadcast:i!
BiasSplitGelu 1 2:rr 1-1
BifurcationDetector 1 3:rrro 2-2 max_ngram_size:i min_ngram_size:i
BitmaskBiasDropout 1 2:rrooo 1-2 seed:i
BitmaskDropout 1 1:roo 1-2 seed:i
BranchwiseRMSNorm 1 1:ro 1-1 epsilon:f num_branches:i
CDist 1 2:rr 1-1 metric:s
CausalConvWithState 1 2:rroo 2-3 activation:s channels_last:i dilation:i input_channel_offset:i input_channels:i ndim:i state_channels_last:i state_length:i state_update_capacity:i state_window:i
ComplexMul 1 2:rr 1-1
ComplexMulConj 1 2:rr 1-1
ConvStateReplay 1 4:rrrr 1-1
ConvTransposeWithDynamicPads 1 2:rroo 1-1 auto_pad:s dilations:I group:i kernel_shape:I output_padding:I strides:I
CropAndResize 1 4:rrrr 1-1 extrapolation_value:f mode:s
DecoderAttention 1 12:rrrrrooorrrr 1-3 mask_filter_value:f num_heads:i!
DecoderMaskedMultiHeadAttention 1 1:roooooooooo 1-4 mask_filter_value:f num_heads:i! output_qk:i past_present_share_buffer:i scale:f
DecoderMaskedSelfAttention 1 7:rrrororoo 2-2 do_rotary:i mask_filter_value:f num_heads:i! past_present_share_buffer:i scale:f
DequantizeBFP 1 3:rrr 1-1 bfp_type:i! block_dim:i dtype:i
DequantizeLinear 1 2:rro 1-1 axis:i
DequantizeWithOrder 1 2:rr 1-1 order_input:i! order_output:i! to:i!
DynamicQuantizeLSTM 1 12:rrrooooorrrr 0-3 activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i input_forget:i
DynamicQuantizeMatMul 1 3:rrroo 1-1
DynamicSparseAttention 1 11:roooooorrrrooooooooo 1-4 attention_mode:s auxiliary_kv_shared:i do_rotary:i is_causal:i kv_num_heads:i! local_window_size:i num_heads:i! output_bf16:i qk_norm_epsilon:f rotary_interleaved:i rotary_offset:i scale:f selected_kv_source:s smooth_softmax:i
DynamicTimeWarping 1 1:r 1-1
EPContext 1 0:* 1- embed_mode:i ep_cache_context:s ep_sdk_version:s hardware_architecture:s main_context:i max_size:i notes:s onnx_model_filename:s partition_name:s source:s
EmbedLayerNormalization 1 7:rorrorroo 1-3 epsilon:f mask_index_type:i
EngramGate 1 5:rrrrro 1-2 epsilon:f
ExpandDims 1 2:rr 1-1
FastGelu 1 1:ro 1-1
FusedConv 1 2:rroo 1-1 activation:s activation_params:F auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I
FusedGemm 1 2:rro 1-1 activation:s activation_alpha:f activation_beta:f activation_gamma:f alpha:f beta:f transA:i transB:i
FusedMatMul 1 2:rr 1-1 alpha:f transA:i transB:i transBatchA:i transBatchB:i
FusedMatMulActivation 1 2:rr 1-1 activation:s! activation_alpha:f activation_axis:i activation_beta:f activation_gamma:f alpha:f transA:i transB:i transBatchA:i transBatchB:i
GatedAdd 1 3:rrro 1-1
GatedDeltaNet 1 1:roooooooooo 1-3 beta_activation:s chunk_size:i gate_activation:s gate_lower_bound:f qk_l2_norm:i scale:f state_update_capacity:i update_rule:s
GatedDeltaNetStateReplay 1 4:rrrr 1-1
GatedRMSNorm 1 3:rrr 1-1 activation:s epsilon:f
GatedRelativePositionBias 1 6:rrrrrro 1-1 num_heads:i!
GatherBlockQuantized 1 3:rrro 1-1 bits:i block_size:i gather_axis:i quantize_axis:i
GatherND 1 2:rr 1-1
GatherPacked 1 2:rr 1-1 K:i! output_dtype:i packed_type:i!
Gelu 1 1:r 1-1
GemmFastGelu 1 2:rro 1-1
GemmFloat8 1 2:rroooo 1-1 activation:s alpha:f beta:f dtype:i transA:i transB:i
GemmaRotaryEmbedding 1 5:rrrrr 2-2
GreedySearch 1 2:rrooooo 1-1 decoder:g! decoder_start_token_id:i encoder:g eos_token_id:i! init_decoder:g model_type:i no_repeat_ngram_size:i pad_token_id:i! vocab_size:i
GridSample 1 2:rr 1-1 align_corners:i mode:s padding_mode:s
GroupNorm 1 3:rrr 1-1 activation:i! channels_last:i epsilon:f groups:i!
GroupQueryAttention 1 7:roooorroooooooooo 1-4 causal:i do_rotary:i k_norm_epsilon:f k_quant_type:s kv_cache_bit_width:i kv_num_heads:i! local_window_size:i num_heads:i! q_norm_epsilon:f qk_norm_epsilon:f qk_output:i rotary_interleaved:i scale:f sliding_window_cache:i smooth_softmax:i softcap:f v_quant_type:s
HyperConnectionLowRankMix 1 5:rrrrroo 2-3 epsilon:f gate_div:f gate_mul:f num_branches:i! reduction_scale:f silu_alpha:f
HyperConnectionPostMix 1 3:rrro 1-1 num_branches:i
HyperConnectionPreMix 1 2:rr 1-1 num_branches:i reduction_scale:f
Inverse 1 1:r 1-1
Irfft 1 1:r 1-1 normalized:i onesided:i signal_ndim:i!
IsAllFinite 1 1:* 1-1 isinf_only:i isnan_only:i
LinearAttention 1 3:rrrooo 2-2 chunk_size:i kv_num_heads:i! q_num_heads:i! scale:f state_window:i update_rule:s
LinearAttentionGate 1 3:rrro 1-2
LongformerAttention 1 7:rrrrrrr 1-1 num_heads:i! window:i!
MRotaryEmbedding 1 4:rrrr 1-1 interleaved:i is_packed_batching:i mrope_layout:i mrope_section:I! num_heads:i rotary_embedding_dim:i scale:f
Mamba2Verify 1 10:rrrrrrrrrr 3-5 d_state:i epsilon:f head_dim:i heads:i! n_groups:i! time_step_min:f
MatMulBlockQuantizedFp4Weight 1 4:rrrroo 1-1 block_size:i
MatMulBlockQuantizedFp8Weight 1 3:rrroo 1-1 block_size:i
MatMulBnb4 1 3:rrr 1-1 K:i! N:i! block_size:i! quant_type:i! training_mode:i transB:i
MatMulFpQ4 1 3:rrr 1-1 blk_quant_type:i
MatMulInteger16 1 2:rr 1-1
MatMulIntegerToFloat 1 4:rrrrooo 1-1
MatMulNBits 1 3:rrrooo 1-1 K:i! N:i! accuracy_level:i bits:i block_size:i! weight_prepacked:i
MatMulNBitsMlp 1 8:roorrorro 1-2 K:i! N:i! accuracy_level:i activation:s! bits:i block_size:i! epsilon:f
MatMulNBitsQLoRA 1 7:rrrrrrr 1-1 K:i! N:i! accuracy_level:i bits:i block_size:i lora_bits:i lora_block_size:i
MatMulNBitsQkv 1 11:rorrrorrorro 3-4 K:i! Nkv:i! Nq:i! accuracy_level:i bits:i block_size:i! epsilon:f
MatMulPacked 1 2:rro 1-1 K:i! N:i! activation_type:s packed_type:i!
MaxpoolWithMask 1 2:rr 1-1 auto_pad:s kernel_shape:I pads:I storage_order:i strides:I
MoE 1 5:rrrorooo 1-1 activation_alpha:f activation_beta:f activation_type:s k:i normalize_routing_weights:i swiglu_fusion:i swiglu_limit:f swiglu_limit_after_activation:i use_sparse_mixer:i
MoEGroupRouter 1 2:rro 0-3 group_topk:i n_group:i router_sentinel:f top_k:i! topk_group:i
MoEPacked 1 5:rrroro 1-1 activation_type:s down_type:i! gate_type:i! k:i normalize_routing_weights:i routed_scaling_factor:f routing_epsilon:f up_type:i
MulInteger 1 3:roro 1-1
MultiHeadAttention 1 1:rooooooooo 1-4 mask_filter_value:f num_heads:i! scale:f unidirectional:i
MurmurHash3 1 1:r 1-1 positive:i seed:i
NGramHashMapping 1 3:rrroooo 1-2 max_ngram_size:i! n_head_per_ngram:i! pad_id:i! reset_on_eos:i
NGramRepeatBlock 1 2:rr 1-1 ngram_size:i!
NhwcConv 1 2:rro 1-1 auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I
NhwcFusedConv 1 2:rroo 1-1 activation:s activation_params:F auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I
NhwcMaxPool 1 1:r 1-1 auto_pad:s ceil_mode:i dilations:I kernel_shape:I! pads:I strides:I
PackedAttention 1 5:rrrrro 1-1 num_heads:i! qkv_hidden_sizes:I scale:f
PackedMultiHeadAttention 1 6:rooorro 1-1 mask_filter_value:f num_heads:i! scale:f
PackedSparseAttentionIndexer 1 16:rorrrrrroooorroroooooo 6-9 compress_ratio:i! epsilon:f head_weight_scale:f index_topk:i indexshare_state_policy:s max_output_entries:i policy_mode:s! scale:f state_capacity:i! state_update_capacity:i token_budget:i
PackedSparseAttentionIndexerMerge 1 3:rrroooo 3-3 max_output_entries:i! policy_mode:s!
Pad 1 2:rro 1-1 mode:s
PagedAttention 1 8:roororrrooooooooo 1-3 do_rotary:i is_causal:i k_cache_dtype:s k_quant_type:s kv_cache_layout:s kv_num_heads:i! local_window_size:i num_heads:i! qk_norm_epsilon:f rotary_interleaved:i rotary_offset:i scale:f softcap:f v_cache_dtype:s v_head_size:i v_quant_type:s
QAttention 1 5:rrrrroooo 1-2 do_rotary:i mask_filter_value:f num_heads:i! past_present_share_buffer:i scale:f unidirectional:i
QEmbedLayerNormalization 1 18:rorrorrorrorrrrorr 2-2 epsilon:f
QGemm 1 6:rrrrrrooo 1-1 alpha:f transA:i transB:i
QLinearAdd 1 7:rrorroro 1-1
QLinearAveragePool 1 4:rroro 1-1 auto_pad:s ceil_mode:i channels_last:i count_include_pad:i kernel_shape:I! pads:I strides:I
QLinearConcat 1 3:rr* 1-1 axis:i!
QLinearConv 1 8:rrrrrrrro 1-1 auto_pad:s channels_last:i dilations:I group:i kernel_shape:I pads:I strides:I
QLinearGlobalAveragePool 1 5:rrrrr 1-1 channels_last:i
QLinearLeakyRelu 1 4:rroro 1-1 alpha:f
QLinearMul 1 7:rrorroro 1-1
QLinearReduceMean 1 4:rroro 1-1 axes:I! keepdims:i!
QLinearSigmoid 1 4:rroro 1-1
QLinearSoftmax 1 5:rrorr 1-1 axis:i opset:i!
QLinearWhere 1 9:rrrrrrrrr 1-1
QMoE 1 6:rrroorooooooooooooooo 1-1 accuracy_level:i activation_alpha:f activation_beta:f activation_type:s block_size:i expert_weight_bits:i fc1_expert_weight_bits:i fc2_expert_weight_bits:i fc3_expert_weight_bits:i k:i normalize_routing_weights:i quant_type:s swiglu_fusion:i swiglu_limit:f swiglu_limit_after_activation:i use_sparse_mixer:i weights_prepacked:i
QOrderedAttention 1 17:rrrrrrrrrrrrrroorooo 1-1 num_heads:i! order_input:i! order_output:i! order_weight:i! qkv_hidden_sizes:I unidirectional:i
QOrderedGelu 1 3:rrr 1-1 order_X:i order_Y:i
QOrderedLayerNormalization 1 5:rrror 1-1 axis:i epsilon:f order_X:i order_Y:i
QOrderedLongformerAttention 1 14:rrrrrrrrrrrrrr 1-1 num_heads:i! order_global_weight:i! order_input:i! order_output:i! order_weight:i! window:i!
QOrderedMatMul 1 5:rrrrrooo 1-1 order_A:i! order_B:i! order_Y:i!
QuantizeBFP 1 1:r 3-3 bfp_type:i! block_dim:i
QuantizeLinear 1 2:rro 1-1 axis:i
QuantizeWithOrder 1 2:rr 1-1 order_input:i! order_output:i!
QuickGelu 1 1:r 1-1 alpha:f
RMSNormRotary 1 5:rrrrro 1-2 epsilon:f flatten_batch:i input_start:i input_width:i output_fp16:i rotary_embedding_dim:i! use_fp32_arithmetic:i
Range 1 2:rro 1-1
ReduceSumInteger 1 1:r 1-1 axes:I! keepdims:i!
RelativePositionBias 1 3:rrr 1-1 is_bidirectional:i max_distance:i!
RemovePadding 1 2:rr 4-4
RestorePadding 1 2:rr 1-1
Rfft 1 1:r 1-1 normalized:i onesided:i signal_ndim:i
RotaryEmbedding 1 4:rrrr 1-1 interleaved:i is_packed_batching:i num_heads:i rotary_embedding_dim:i scale:f
RouterGateUpProj 1 2:rr 2-2 activation:s activation_alpha:f activation_beta:f limit:f router_size:i!
SampleOp 1 1:r 1-1
Sampling 1 2:rrooooooo 1-2 custom:i decoder:g! decoder_start_token_id:i encoder:g eos_token_id:i! filter_value:f init_decoder:g min_tokens_to_keep:i model_type:i no_repeat_ngram_size:i pad_token_id:i! presence_penalty:f temperature:f top_p:f vocab_size:i
ScaledSiLU 1 1:ro 1-1 alpha:f
SkipGroupNorm 1 4:rrrro 1-2 activation:i! channels_last:i epsilon:f groups:i!
SkipLayerNormalization 1 3:rrroo 1-4 epsilon:f
SkipSimplifiedLayerNormalization 1 3:rrro 1-4 epsilon:f
Snpe 1 1:* 1- DLC:s! notes:s snpe_version:s target_device:s
SparseAttention 1 9:roorrrrrroo 3-3 do_rotary:i kv_num_heads:i! num_heads:i! rotary_interleaved:i scale:f sparse_block_size:i!
SparseAttentionIndexer 1 8:rorrrroroooooo 2-3 compress_ratio:i! epsilon:f head_weight_scale:f index_topk:i policy_mode:s! scale:f token_budget:i
SparsePagedAttention 1 11:roorrrrrorrooooooooooo 1-3 attention_mode:s auxiliary_cache_layout:s auxiliary_kv_shared:i do_rotary:i is_causal:i k_quant_type:s kv_num_heads:i! local_window_size:i num_heads:i! qk_norm_epsilon:f rotary_interleaved:i rotary_offset:i scale:f selected_kv_source:s softcap:f v_quant_type:s
SparseToDenseMatMul 1 2:rr 1-1 alpha:f transA:i transB:i
SpeculativePrefixCommit 1 7:rrrrrrr 3-3 head_rows:i
SwiGLU 1 1:ro 1-1 activation_alpha:f activation_beta:f limit:f round_activation:i
Tokenizer 1 1:r 1-1 mark:i! mincharnum:i! pad_value:s! separators:S tokenexp:s
TorchEmbedding 1 2:rroo 1-1
TransposeMatMul 1 2:rr 1-1 alpha:f transA:i transB:i
Trilu 1 1:ro 1-1 upper:i
UnfoldTensor 1 1:r 1-1 dim:i size:i! step:i
Unique 1 1:r 3-3
VarlenCausalConvWithState 1 5:rrrorooo 2-3 activation:s delta_offset:i dilation:i group_size:i state_update_capacity:i
VarlenNGramHashMapping 1 4:rrrroooooo 1-4 max_ngram_size:i! n_head_per_ngram:i! pad_id:i! reset_on_eos:i state_update_capacity:i
WhisperBeamSearch 1 5:rrorroooooooooo 1-5 beginning_timestamp_token_id:i decoder:g! decoder_output_cross_qk:i decoder_start_token_id:i early_stopping:i encoder:g eos_token_id:i! init_decoder:g model_type:i no_repeat_ngram_size:i no_speech_token_id:i no_timestamps_token_id:i pad_token_id:i! start_of_lm_token_id:i transcribe_token_id:i translate_token_id:i vocab_size:i
WordConvEmbedding 1 4:rrrr 1-1 char_embedding_size:i conv_window_size:i embedding_size:i
"""#
}
