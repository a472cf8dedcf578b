"""More hostile models for onnx-malformed.py: small files that ask for endless work, memory or recursion."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

F, I64, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
MIN64, MAX64 = -(1 << 63), (1 << 63) - 1


def model(nodes, initializers=(), outputs=(("y", None, None),), inputs=(("x", F, [1, 2, 4, 4]),), opset=18, functions=()):
    def info(name, kind, shape):
        made = helper.make_tensor_value_info(name, F if kind is None else kind, shape)
        if kind is None:
            made.ClearField("type")
        return made

    graph = helper.make_graph(
        nodes, "g", [info(*i) for i in inputs], [info(*o) for o in outputs], list(initializers))
    made = helper.make_model(
        graph, ir_version=9, opset_imports=[
            helper.make_opsetid("", opset), helper.make_opsetid("local", 1), helper.make_opsetid("com.microsoft", 1),
            helper.make_opsetid("ai.onnx.ml", 4), helper.make_opsetid("ai.onnx.preview.training", 1)])
    made.functions.extend(functions)
    return made.SerializeToString()


def node(op, inputs, outputs=("y",), **attributes):
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


def ints(name, values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def floats(name, values):
    return numpy_helper.from_array(np.array(values, np.float32), name)


def filled(name, shape):
    """Nodes and initializer that make a constant of any size out of a few bytes."""
    return [node("ConstantOfShape", [name + "_s"], [name + "_c"]), node("Add", [name + "_c", "one"], [name])], [
        ints(name + "_s", shape)]


def subgraph(nodes, inputs, outputs):
    def info(name, kind):
        made = helper.make_tensor_value_info(name, kind or F, None)
        if kind is None:
            made.ClearField("type")
        return made

    return helper.make_graph(nodes, "body", [info(*i) for i in inputs], [info(*o) for o in outputs])


def endless():
    """Models whose rules are kept, but which would take hours or all memory."""
    cases = {}
    one = floats("one", 1)

    def of(name, makers, nodes, extra=()):
        made = [filled(*maker) for maker in makers]
        cases[name] = model(
            [n for pair in made for n in pair[0]] + nodes, [t for pair in made for t in pair[1]] + [one, *extra])

    chain = [node("MatMul", ["a" if i == 0 else f"m{i - 1}", "a"], [f"m{i}"]) for i in range(200)]
    of("matmul-forever", [("a", [5000, 5000])], chain + [node("Identity", ["m199"])])
    of("conv-forever", [("a", [1, 1, 6000, 6000]), ("w", [1, 1, 3000, 3000])], [node("Conv", ["a", "w"])])
    of("pool-forever", [("a", [1, 1, 8000, 8000])], [node("MaxPool", ["a"], kernel_shape=[3999, 3999])])
    of("average-forever", [("a", [1, 1, 8000, 8000])], [node("AveragePool", ["a"], kernel_shape=[3999, 3999])])
    of("lppool-forever", [("a", [1, 1, 8000, 8000])], [node("LpPool", ["a"], kernel_shape=[3999, 3999])])
    of("lrn-forever", [("a", [1, 1 << 20, 8, 8])], [node("LRN", ["a"], size=(1 << 20) + 1)])
    of("einsum-forever", [("a", [40] * 5)], [node("Einsum", ["a", "a", "a"], equation="abcde,fghde,fiabc->i")])
    of("nms-forever", [("a", [1, 3000000, 4]), ("b", [1, 1, 3000000])],
       [node("NonMaxSuppression", ["a", "b", "most"])], [ints("most", [MAX64])])
    of("dft-forever", [("a", [1, 16777213, 1])], [node("DFT", ["a"], axis=1)] * 1)
    of("lstm-forever", [("a", [1 << 22, 1, 4]), ("w", [1, 64, 4]), ("r", [1, 64, 16])],
       [node("LSTM", ["a", "w", "r"], hidden_size=16)])
    of("gathers-forever", [("a", [1, 16])], [node("Gather", ["a", "i"], axis=1)], [
        numpy_helper.from_array(np.full((4,), 99, np.int64), "i")])
    doubling = [node("Concat", ["x" if i == 0 else f"d{i - 1}"] * 2, [f"d{i}"], axis=0) for i in range(60)]
    cases["concat-doubling"] = model(doubling + [node("Identity", ["d59"])])
    tiling = [node("Tile", ["x" if i == 0 else f"t{i - 1}", "n"], [f"t{i}"]) for i in range(30)]
    cases["tile-chain"] = model(tiling + [node("Relu", ["t29"])], [ints("n", [2, 2, 2, 2])])
    expanding = [node("Expand", ["e" if i == 0 else f"e{i - 1}", f"n{i}"], [f"e{i}"]) for i in range(4)]
    cases["expand-chain"] = model(
        [node("ReduceSum", ["x"], ["e"])] + expanding + [node("ReduceSum", ["e3"])],
        [ints(f"n{i}", [1 << 12] * (i + 1)) for i in range(4)])
    many = [n for i in range(20) for n in [node("ConstantOfShape", ["s"], [f"c{i}"]), node("Add", [f"c{i}", "one"], [f"k{i}"])]]
    cases["many-large"] = model(
        many + [node("Concat", [f"k{i}" for i in range(20)], axis=0)], [ints("s", [40 << 20]), one])
    cases["sum-of-many-large"] = model(
        many + [node("Sum", [f"k{i}" for i in range(20)])], [ints("s", [40 << 20]), one])
    for mode in ["reflect", "edge", "wrap"]:
        cases[f"pad-{mode}-huge"] = model(
            [node("Pad", ["x", "p"], mode=mode)], [ints("p", [0, 0, 0, (1 << 31) - 1] + [0, 0, 0, (1 << 31) - 1])], opset=19)
        cases[f"pad-{mode}-long"] = model(
            [node("Pad", ["x", "p"], mode=mode)], [ints("p", [0, 0, 1 << 14, 1 << 14] * 2)], opset=19)
    for mode in ["nearest", "linear", "cubic"]:
        cases[f"resize-{mode}-long"] = model(
            [node("Resize", ["x", "", "", "s"], mode=mode, coordinate_transformation_mode="tf_half_pixel_for_nn")],
            [ints("s", [1, 2, 4, (1 << 24) - 1])])
    cases["resize-antialias-wide"] = model(
        [node("Expand", ["x", "e"], ["z"]), node("Resize", ["z", "", "f"], mode="cubic", antialias=1)],
        [ints("e", [100000, 2, 4, 4]), floats("f", [0.9999, 1, 3000, 3000])])
    cases["eye-huge"] = model(
        [node("ConstantOfShape", ["s"], ["z"]), node("EyeLike", ["z"])], [ints("s", [1 << 14, 1 << 14])])
    cases["trilu-huge"] = model(
        [node("ConstantOfShape", ["s"], ["z"]), node("Trilu", ["z"])], [ints("s", [1 << 14, 1 << 14])])
    cases["shape-of-many"] = model(
        [node("ConstantOfShape", ["s"], ["z"], value=numpy_helper.from_array(np.array([1], np.int64))),
         node("Reshape", ["x", "z"])], [ints("s", [1 << 26])])
    cases["range-infinite"] = model(
        [node("Range", ["a", "b", "c"])], [floats("a", 0), floats("b", np.inf), floats("c", 1)])
    cases["range-nan"] = model([node("Range", ["a", "b", "c"])], [floats("a", 0), floats("b", np.nan), floats("c", 1)])
    cases["range-tiny-step"] = model([node("Range", ["a", "b", "c"])], [floats("a", 0), floats("b", 1), floats("c", 1e-30)])
    cases["topk-huge"] = model(
        [node("TopK", ["x", "k"], ["y", "z"])], [ints("k", [MAX64])], outputs=(("y", None, None), ("z", None, None)))
    cases["onehot-depth"] = model([node("OneHot", ["i", "d", "v"])], [ints("i", [1] * 9), ints("d", [1 << 30]), floats("v", [0, 1])])
    cases["center-huge"] = model([node("CenterCropPad", ["x", "s"])], [ints("s", [1 << 15, 1 << 15, 4, 4])])
    cases["scatter-shape-huge"] = model(
        [node("MaxUnpool", ["x", "i"], kernel_shape=[1 << 15, 1 << 15], strides=[1 << 15, 1 << 15])],
        [numpy_helper.from_array(np.zeros((1, 2, 4, 4), np.int64), "i")])
    cases["window-huge"] = model([node("HannWindow", ["s"])], [ints("s", 1 << 40)])
    return cases | loops() | values()


def values():
    """Random numbers, regions, attention, strings and sequences that ask for too much."""
    one = floats("one", 1)

    def text(name, values, shape=None):
        return helper.make_tensor(name, TensorProto.STRING, shape or [len(values)], [v.encode() for v in values])

    def virtual(name, shape):
        return node("ConstantOfShape", [name + "_s"], [name]), ints(name + "_s", shape)

    cases = {}

    def of(name, virtuals, nodes, extra=(), **options):
        made = [virtual(*item) for item in virtuals]
        cases[name] = model([n for n, _ in made] + nodes, [t for _, t in made] + [one, *extra], **options)

    other = {"domain": "com.microsoft"}
    of("random-huge", [], [node("RandomNormal", [], shape=[1 << 20, 1 << 20])])
    of("random-negative", [], [node("RandomUniform", [], shape=[-1])])
    of("random-like-huge", [("a", [1 << 27])], [node("RandomNormalLike", ["a"])])
    of("bernoulli-huge", [("a", [1 << 26])], [node("Bernoulli", ["a"])])
    of("multinomial-many", [("a", [1 << 20, 4])], [node("Multinomial", ["a"], sample_size=1 << 24)])
    of("multinomial-none", [("a", [2, 0])], [node("Multinomial", ["a"])])
    of("fold-huge", [("a", [1, 4, 1 << 24])], [node("Col2Im", ["a", "s", "k"])], [ints("s", [1 << 20, 1 << 20]), ints("k", [2, 2])])
    of("fold-kernel", [("a", [1, 4, 9])], [node("Col2Im", ["a", "s", "k"])], [ints("s", [2, 2]), ints("k", [1 << 24, 1 << 24])])
    of("fold-stride", [("a", [1, 4, 9])], [node("Col2Im", ["a", "s", "k"], strides=[0, 1])], [ints("s", [4, 4]), ints("k", [2, 2])])
    regions = [floats("r", [[0, 0, 3e38, 3e38]]), ints("b", [0])]
    of("regions-far", [], [node("RoiAlign", ["x", "r", "b"], output_height=2, output_width=2)], regions)
    of("regions-many-samples", [], [node("RoiAlign", ["x", "r", "b"], output_height=1, output_width=1)],
       [floats("r", [[0, 0, 9e3, 9e3]]), ints("b", [0])])
    of("regions-large", [], [node("RoiAlign", ["x", "r", "b"], output_height=1 << 16, output_width=1 << 16)], regions)
    of("regions-sample", [], [node("RoiAlign", ["x", "r", "b"])], [floats("r", [[0, 0, 1, 1]]), ints("b", [7])])
    of("regions-nan", [], [node("RoiAlign", ["x", "r", "b"])], [floats("r", [[np.nan, 0, 1, 1]]), ints("b", [0])])
    for value in [3e38, np.nan, -1, 1]:
        of(f"regions-max-{value}", [], [node("MaxRoiPool", ["x", "r"], pooled_shape=[1, 1], spatial_scale=0.0)],
           [floats("r", [[value, 0, 0, 1, 1]])])
    of("deform-huge", [("o", [1, 18, 1 << 11, 1 << 11])], [node("DeformConv", ["x", "w", "o"])], [floats("w", np.ones((1, 2, 3, 3)))], opset=19)
    of("deform-groups", [("o", [1, 18, 2, 2])], [node("DeformConv", ["x", "w", "o"], offset_group=0)], [floats("w", np.ones((1, 2, 3, 3)))], opset=19)
    of("unique-huge", [("a", [1 << 26])], [node("Unique", ["a"])])
    of("mel-huge", [], [node("MelWeightMatrix", ["n", "d", "s", "l", "h"])], [
        ints("n", 4096), ints("d", (1 << 20) - 1), ints("s", 8000), floats("l", 0), floats("h", 4000)])
    of("mel-nan", [], [node("MelWeightMatrix", ["n", "d", "s", "l", "h"])], [
        ints("n", 4), ints("d", 16), ints("s", 8000), floats("l", np.nan), floats("h", 4000)])
    of("attention-huge", [("q", [1, 1, 1 << 20, 64])], [node("Attention", ["q", "q", "q"])], opset=24)
    of("attention-heads", [("q", [1, 4, 8])], [node("Attention", ["q", "q", "q"], q_num_heads=3, kv_num_heads=3)], opset=24)
    of("attention-zero-heads", [("q", [1, 4, 8])], [node("Attention", ["q", "q", "q"], q_num_heads=0, kv_num_heads=0)], opset=24)
    of("attention-mask", [("q", [1, 1, 4, 8])], [node("Attention", ["q", "q", "q", "m"])], [floats("m", np.ones((3, 3)))], opset=24)
    of("attention-past", [("q", [1, 1, 4, 8])], [node("Attention", ["q", "q", "q", "", "q"])], opset=24)
    of("linear-attention-long", [("q", [1, 1 << 22, 8]), ("d", [1, 1 << 22, 1])], [
        node("LinearAttention", ["q", "q", "q", "", "d", "d"], ["y", "z"], q_num_heads=1, kv_num_heads=1)], opset=27)
    of("rotary-odd", [("q", [1, 1, 4, 7])], [node("RotaryEmbedding", ["q", "q", "q"])], opset=23)
    of("scatter-cache", [("a", [1, 4, 4]), ("b", [1, 9, 4])], [node("TensorScatter", ["a", "b"])], opset=24)
    of("loss-classes", [("a", [2, 3])], [node("NegativeLogLikelihoodLoss", ["a", "c"])], [ints("c", [0, 7])])
    of("loss-rank", [("a", [2])], [node("SoftmaxCrossEntropyLoss", ["a", "c"])], [ints("c", [0])])
    of("sequence-long", [("a", [1 << 26])], [node("SplitToSequence", ["a"], ["s"]), node("SequenceLength", ["s"])])
    of("sequence-parts", [("a", [8])], [node("SplitToSequence", ["a", "n"], ["s"]), node("SequenceLength", ["s"])], [ints("n", [MAX64, MAX64])])
    of("sequence-as-tensor", [], [node("SequenceConstruct", ["x"], ["s"]), node("Relu", ["s"])])
    of("tensor-as-sequence", [], [node("SequenceLength", ["x"])])
    of("sequence-far", [], [node("SequenceConstruct", ["x"], ["s"]), node("SequenceAt", ["s", "n"])], [ints("n", MAX64)])
    of("strings-many", [], [node("Expand", ["t", "n"])], [text("t", ["a"]), ints("n", [1 << 26])])
    of("strings-joined", [], [node("StringConcat", ["t", "u"])], [text("t", ["a"] * 4096, [4096, 1]), text("u", ["b"] * 4096)], opset=20)
    of("strings-split", [], [node("StringSplit", ["t"], ["y", "z"], delimiter=",")], [text("t", ["," * 100000] + [""] * 3000)],
       opset=20, outputs=(("y", None, None), ("z", None, None)))
    of("strings-cast-many", [("a", [1 << 26])], [node("Cast", ["a"], to=8)])
    of("strings-added", [], [node("Add", ["t", "t"])], [text("t", ["a"])])
    for index, pattern in enumerate(["(" * 10000, "((((a{1000}){1000}){1000}){1000}){1000}", "((((){1000}){1000}){1000}){1000}", "[", "\\", "a**?*"]):
        of(f"pattern-{index}", [], [node("RegexFullMatch", ["t"], pattern=pattern)], [text("t", ["a"])], opset=20)
    of("grams-huge", [], [node("TfIdfVectorizer", ["w"], mode="TF", min_gram_length=1, max_gram_length=1, max_skip_count=0,
                               ngram_counts=[0], ngram_indexes=[1 << 60], pool_int64s=[1])], [ints("w", [1])])
    of("grams-counts", [], [node("TfIdfVectorizer", ["w"], mode="TF", min_gram_length=1, max_gram_length=1, max_skip_count=0,
                                 ngram_counts=[-5, MAX64], ngram_indexes=[0], pool_int64s=[1])], [ints("w", [1])])
    of("labels-uneven", [], [node("LabelEncoder", ["w"], keys_int64s=[1, 2], values_int64s=[1], domain="ai.onnx.ml")], [ints("w", [1])])
    of("fused-unknown", [], [node("FusedConv", ["x", "w"], activation="Boom", **other)], [floats("w", np.ones((1, 2, 1, 1)))])
    of("group-norm-odd", [], [node("GroupNorm", ["x", "w", "w"], groups=3, channels_last=0, activation=0, **other)], [floats("w", [1, 1])])
    of("runtime-heads", [("q", [1, 2, 8])], [node("MultiHeadAttention", ["q", "q", "q"], num_heads=0, **other)])
    of("runtime-mask", [("q", [1, 2, 8])], [node("MultiHeadAttention", ["q", "q", "q", "", "m"], num_heads=2, **other)], [ints("m", [1] * 9)])
    of("runtime-sizes", [("q", [1, 2, 8]), ("w", [8, 6])], [
        node("Attention", ["q", "w"], num_heads=2, qkv_hidden_sizes=[MAX64, MAX64, 8], **other)])
    of("gradient-unknown", [], [node("Gradient", ["x"], xs=["nowhere"], y="y", domain="ai.onnx.preview.training")])
    return cases


def loops():
    """Subgraphs and functions that never end or grow."""
    carried = [("i", I64), ("c", B), ("v", F)]
    always = node("Identity", ["c"], ["d"])
    once = subgraph([always, node("Identity", ["v"], ["u"])], carried, [("d", B), ("u", F)])
    keeps = subgraph(
        [always, node("Identity", ["v"], ["u"]), node("Expand", ["v", "big"], ["w0"]), node("Add", ["w0", "v"], ["w"])],
        carried, [("d", B), ("u", F), ("w", F)])
    doubles = subgraph([always, node("Concat", ["v", "v"], ["u"], axis=0)], carried, [("d", B), ("u", F)])
    inner = node("Loop", ["m", "", "v"], ["u"], body=subgraph(
        [node("Identity", ["c2"], ["d2"]), node("Identity", ["v2"], ["u2"])],
        [("i2", I64), ("c2", B), ("v2", F)], [("d2", B), ("u2", F)]))
    nested = subgraph([always, inner], carried, [("d", B), ("u", F)])
    weights = [ints("m", 100000), ints("forever", MAX64), ints("big", [1 << 20]), floats("s", [1])]
    scalar_true = numpy_helper.from_array(np.array(True), "true")
    cases = {
        "while-true": model([node("Loop", ["", "true", "s"], body=once)], weights + [scalar_true]),
        "loop-nested": model([node("Loop", ["m", "", "s"], body=nested)], weights),
        "loop-collects": model(
            [node("Loop", ["m", "", "s"], ["y", "z"], body=keeps)], weights, outputs=(("y", None, None), ("z", None, None))),
        "loop-doubles": model([node("Loop", ["forever", "", "s"], body=doubles)], weights),
        "loop-condition-number": model([node("Loop", ["m", "s", "s"], body=once)], weights),
        "loop-no-body": model([node("Loop", ["m", "", "s"])], weights),
        "loop-negative-results": model([node("Loop", ["m", "", "s"], ["y", "a", "b", "c"], body=once)], weights),
        "scan-no-inputs": model([node("Scan", ["s"], body=once, num_scan_inputs=1 << 40)], weights),
    }
    two = subgraph([node("Identity", ["x"], ["p"]), node("Identity", ["x"], ["q"])], [], [("p", F), ("q", F)])
    none = subgraph([node("Identity", ["undefined"], ["p"])], [], [("p", F)])
    good = subgraph([node("Identity", ["x"], ["p"])], [], [("p", F)])
    false = numpy_helper.from_array(np.array(False), "f")
    cases["if-branches-unlike"] = model(
        [node("If", ["f"], ["y", "z"], then_branch=two, else_branch=good)], [false],
        outputs=(("y", None, None), ("z", None, None)))
    cases["if-undefined"] = model([node("If", ["f"], then_branch=good, else_branch=none)], [false])
    cases["if-number"] = model([node("If", ["x"], then_branch=good, else_branch=good)])
    cases["if-one-branch"] = model([node("If", ["f"], then_branch=good)], [false])
    cases["if-body-inputs"] = model([node("If", ["f"], then_branch=good, else_branch=once)], [false])
    functions = [helper.make_function(
        "local", f"F{i}", ["a"], ["b"],
        [helper.make_node(f"F{i + 1}", ["a"], ["t"], domain="local"), helper.make_node(f"F{i + 1}", ["t"], ["b"], domain="local")],
        [helper.make_opsetid("local", 1)]) for i in range(31)]
    functions.append(helper.make_function("local", "F31", ["a"], ["b"], [node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 18)]))
    cases["functions-double"] = model([helper.make_node("F0", ["x"], ["y"], domain="local")], functions=functions)
    return cases


def rules():
    """Models with one rule of an operator broken."""
    x3 = {"inputs": (("x", F, [1, 2, 4, 4]),)}
    broken = {
        "split-many": ([node("Split", ["x"], [f"y{i}" for i in range(3)], axis=9)], []),
        "split-outputs": ([node("Split", ["x", "s"], ["y", "z"], axis=3)], [ints("s", [MAX64, MAX64])]),
        "concat-axis": ([node("Concat", ["x", "x"], axis=MAX64)], []),
        "concat-axis-low": ([node("Concat", ["x", "x"], axis=MIN64)], []),
        "transpose-short": ([node("Transpose", ["x"], perm=[0])], []),
        "squeeze-twice": ([node("Squeeze", ["x", "a"])], [ints("a", [MIN64])]),
        "unsqueeze-far": ([node("Unsqueeze", ["x", "a"])], [ints("a", [1 << 62])]),
        "unsqueeze-many": ([node("Unsqueeze", ["x", "a"])], [ints("a", list(range(4, 200)))]),
        "flatten-far": ([node("Flatten", ["x"], axis=MIN64)], []),
        "depth-zero": ([node("DepthToSpace", ["x"], blocksize=0)], []),
        "depth-huge": ([node("DepthToSpace", ["x"], blocksize=1 << 40)], []),
        "depth-negative": ([node("SpaceToDepth", ["x"], blocksize=-2)], []),
        "groups-zero": ([node("GroupNormalization", ["x", "w", "w"], num_groups=0)], [floats("w", [1, 1])]),
        "groups-negative": ([node("GroupNormalization", ["x", "w", "w"], num_groups=-1)], [floats("w", [1, 1])]),
        "groups-odd": ([node("GroupNormalization", ["x", "w", "w"], num_groups=3)], [floats("w", [1, 1])]),
        "norm-short": ([node("BatchNormalization", ["x", "w", "w", "w", "w"])], [floats("w", [1])]),
        "instance-short": ([node("InstanceNormalization", ["x", "w", "w"])], [floats("w", [1, 1, 1])]),
        "layer-axis": ([node("LayerNormalization", ["x", "w"], axis=77)], [floats("w", [1])]),
        "lrn-zero": ([node("LRN", ["x"], size=0)], []),
        "lrn-negative": ([node("LRN", ["x"], size=MIN64)], []),
        "output-padding": ([node("ConvTranspose", ["x", "w"], output_padding=[1 << 62, 0])], [floats("w", np.ones((2, 1, 3, 3)))]),
        "output-shape-negative": ([node("ConvTranspose", ["x", "w"], output_shape=[-1, -1])], [floats("w", np.ones((2, 1, 3, 3)))]),
        "transposed-pads": ([node("ConvTranspose", ["x", "w"], pads=[9, 9, 9, 9])], [floats("w", np.ones((2, 1, 3, 3)))]),
        "weight-empty": ([node("Conv", ["x", "w"])], [floats("w", np.ones((0, 2, 3, 3)))]),
        "weight-no-channels": ([node("Conv", ["x", "w"])], [floats("w", np.ones((3, 0, 3, 3)))]),
        "weight-rank": ([node("Conv", ["x", "w"])], [floats("w", np.ones((3, 2)))]),
        "weight-rank-high": ([node("Conv", ["x", "w"])], [floats("w", np.ones((3, 2, 1, 1, 1, 1)))]),
        "bias-long": ([node("Conv", ["x", "w", "b"])], [floats("w", np.ones((3, 2, 1, 1))), floats("b", [1] * 5)]),
        "bias-type": ([node("Conv", ["x", "w", "b"])], [floats("w", np.ones((3, 2, 1, 1))), ints("b", [1] * 3)]),
        "lstm-lengths": ([node("LSTM", ["t", "w", "r", "", "l"], ["y"])], [floats("t", np.ones((2, 1, 3))), floats("w", np.ones((1, 8, 3))), floats("r", np.ones((1, 8, 2))), ints("l", [99])]),
        "gru-direction": ([node("GRU", ["t", "w", "r"], direction="up")], [floats("t", np.ones((2, 1, 3))), floats("w", np.ones((1, 6, 3))), floats("r", np.ones((1, 6, 2)))]),
        "rnn-activation": ([node("RNN", ["t", "w", "r"], activations=["Boom"])], [floats("t", np.ones((2, 1, 3))), floats("w", np.ones((1, 2, 3))), floats("r", np.ones((1, 2, 2)))]),
        "stft-step": ([node("STFT", ["t", "s", "", "l"])], [floats("t", np.ones((1, 64, 1))), ints("s", 0), ints("l", 16)]),
        "stft-step-negative": ([node("STFT", ["t", "s", "", "l"])], [floats("t", np.ones((1, 64, 1))), ints("s", MIN64), ints("l", 16)]),
        "stft-length": ([node("STFT", ["t", "s", "", "l"])], [floats("t", np.ones((1, 64, 1))), ints("s", 4), ints("l", 1 << 40)]),
        "dft-axis": ([node("DFT", ["x"], axis=99)], []),
        "dft-negative": ([node("DFT", ["x", "l"], axis=1)], [ints("l", -5)]),
        "quantize-axis": ([node("QuantizeLinear", ["x", "s"], axis=9)], [floats("s", [1, 1])]),
        "quantize-count": ([node("QuantizeLinear", ["x", "s"], axis=1)], [floats("s", [1] * 7)]),
        "dequantize-block": ([node("DequantizeLinear", ["q", "s"], block_size=MAX64)], [numpy_helper.from_array(np.ones((2, 2), np.int8), "q"), floats("s", [[1, 1]])]),
        "qconv-few": ([node("QLinearConv", ["x", "x"])], []),
        "integer-float": ([node("ConvInteger", ["x", "w"])], [floats("w", np.ones((3, 2, 5, 5)))]),
        "einsum-letters": ([node("Einsum", ["x"], equation="abcdefghijklmnopqrstuvwxyz->a")], []),
        "einsum-output": ([node("Einsum", ["x"], equation="abcd->xyz")], []),
        "einsum-dots": ([node("Einsum", ["x", "x"], equation="...a...,b->")], []),
        "einsum-long": ([node("Einsum", ["x"], equation="," * 100000)], []),
        "gather-low": ([node("Gather", ["x", "i"])], [ints("i", [MIN64])]),
        "gather-axis": ([node("Gather", ["x", "i"], axis=MAX64)], [ints("i", [0])]),
        "gathernd-deep": ([node("GatherND", ["x", "i"])], [ints("i", [[0] * 9])]),
        "gathernd-batch": ([node("GatherND", ["x", "i"], batch_dims=MAX64)], [ints("i", [[0]])]),
        "gather-elements-rank": ([node("GatherElements", ["x", "i"])], [ints("i", [0])]),
        "scatter-elements-low": ([node("ScatterElements", ["x", "i", "u"])], [ints("i", [[[[MIN64]]]]), floats("u", [[[[1]]]])]),
        "scatter-reduction": ([node("ScatterND", ["x", "i", "u"], reduction="boom")], [ints("i", [[0]]), floats("u", np.ones((1, 2, 4, 4)))]),
        "scatter-updates": ([node("ScatterND", ["x", "i", "u"])], [ints("i", [[0]]), floats("u", [1])]),
        "nms-rank": ([node("NonMaxSuppression", ["x", "x"])], []),
        "nms-channels": ([node("NonMaxSuppression", ["b", "s"])], [floats("b", np.ones((1, 5, 3))), floats("s", np.ones((1, 1, 5)))]),
        "cumsum-axis": ([node("CumSum", ["x", "a"])], [ints("a", 44)]),
        "argmax-axis": ([node("ArgMax", ["x"], axis=-9)], []),
        "reduce-axes": ([node("ReduceSum", ["x", "a"])], [ints("a", [0, 0, 99])]),
        "topk-negative": ([node("TopK", ["x", "k"], ["y", "z"])], [ints("k", [-4])]),
        "where-shapes": ([node("Where", ["b", "x", "w"])], [numpy_helper.from_array(np.ones((3,), bool), "b"), floats("w", [1] * 5)]),
        "broadcast": ([node("Add", ["x", "w"])], [floats("w", [1] * 5)]),
        "tile-negative": ([node("Tile", ["x", "n"])], [ints("n", [-1, 1, 1, 1])]),
        "tile-rank": ([node("Tile", ["x", "n"])], [ints("n", [1])]),
        "pad-negative": ([node("Pad", ["x", "p"])], [ints("p", [-9] * 8)]),
        "pad-low": ([node("Pad", ["x", "p"])], [ints("p", [MIN64] * 8)]),
        "pad-mode": ([node("Pad", ["x", "p"], mode="mirror")], [ints("p", [0] * 8)]),
        "pad-reflect-empty": ([node("Pad", ["e", "p"], mode="reflect")], [floats("e", np.ones((0, 2))), ints("p", [1, 1, 1, 1])]),
        "resize-sizes-negative": ([node("Resize", ["x", "", "", "s"])], [ints("s", [1, 2, -4, 4])]),
        "resize-few": ([node("Resize", ["x", "", "s"])], [floats("s", [2])]),
        "resize-negative": ([node("Resize", ["x", "", "s"])], [floats("s", [1, 1, -2, 2])]),
        "resize-infinite": ([node("Resize", ["x", "", "s"])], [floats("s", [1, 1, np.inf, 2])]),
        "resize-mode": ([node("Resize", ["x", "", "s"], mode="magic")], [floats("s", [1, 1, 2, 2])]),
        "resize-nothing": ([node("Resize", ["x"])], []),
        "pool-stride": ([node("MaxPool", ["x"], kernel_shape=[2, 2], strides=[0, 1])], []),
        "pool-pads": ([node("MaxPool", ["x"], kernel_shape=[2, 2], pads=[-1] * 4)], []),
        "pool-rank": ([node("MaxPool", ["x"], kernel_shape=[2])], []),
        "unpool-index": ([node("MaxUnpool", ["x", "i"], kernel_shape=[2, 2])], [numpy_helper.from_array(np.full((1, 2, 4, 4), 999, np.int64), "i")]),
        "bitshift-float": ([node("BitShift", ["x", "x"], direction="LEFT")], []),
        "bitwise-float": ([node("BitwiseAnd", ["x", "x"])], []),
        "mod-zero": ([node("Mod", ["a", "b"])], [ints("a", [1]), ints("b", [0])]),
        "divide-least": ([node("Div", ["a", "b"])], [ints("a", [MIN64]), ints("b", [0])]),
        "det-odd": ([node("Det", ["w"])], [floats("w", np.ones((2, 3)))]),
        "reverse-lengths": ([node("ReverseSequence", ["x", "l"])], [ints("l", [9] * 9)]),
        "constant-empty": ([node("Constant", [])], []),
        "input-many": ([node("Relu", ["x", "x", "x", "nowhere"])], []),
        "no-inputs": ([node("Add", [])], []),
        "newline-name": ([node("Foo\nerror: bar\r\u2028", ["x"])], []),
        "escape-name": ([node("\x1b[2J", ["x"])], []),
        "long-name": ([node("F" * 2000000, ["x"])], []),
    }
    cases = {name: model(nodes, list(initializers), **x3) for name, (nodes, initializers) in broken.items()}
    cases["outputs-alike"] = model(
        [node("Relu", ["x"], ["a/b"]), node("Neg", ["x"], ["a:b"])], outputs=(("a/b", None, None), ("a:b", None, None)))
    cases["output-nul"] = model([node("Relu", ["x"], ["a\0b"])], outputs=(("a\0b", None, None),))
    cases["inputs-alike"] = model([node("Relu", ["x"])], inputs=(("x", F, [1, 2, 4, 4]), ("x", F, [1, 2, 4, 4])))
    for name, index, dims in [("outside", 99, [4]), ("negative", -1, [4]), ("huge", 0, [1 << 62, 1 << 62])]:
        values = numpy_helper.from_array(np.ones(1, np.float32), "w")
        places = numpy_helper.from_array(np.array([index], np.int64))
        made = helper.make_sparse_tensor(values, places, dims)
        cases[f"sparse-{name}"] = model([node("Constant", [], ["w"], sparse_value=made), node("Add", ["x", "w"])])
    return cases
