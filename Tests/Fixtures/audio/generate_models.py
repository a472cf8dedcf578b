"""Makes the small models that tests of the tool give sound, or inspect.

    pip install onnx; python generate_models.py
"""

import pathlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
F = TensorProto.FLOAT


def save(name, nodes, inputs, outputs, initializers=(), opset=17, domains=()):
    graph = helper.make_graph(
        nodes, name, [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
        [helper.make_tensor_value_info(n, t, s) for n, t, s in outputs], list(initializers))
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in domains]
    (HERE / f"{name}.onnx").write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def identity(name, shape, kind=F):
    save(name, [helper.make_node("Identity", ["x"], ["y"])], [("x", kind, shape)], [("y", kind, [None] * len(shape))])


identity("takes-1-1-t", [1, 1, "t"])
identity("takes-1-2-t", ["batch", 2, "t"])
identity("takes-1-c-t", [1, "channels", "t"])
identity("takes-1-t-2", [1, "t", 2])
identity("takes-t-1", ["t", 1])
identity("takes-2-t", [2, "t"])
identity("takes-batch-t", ["batch_size", "t"])
identity("takes-c-t", ["channels", "t"])
identity("takes-t", ["t"])
identity("takes-64", [1, "c", 64])
identity("takes-half", [1, 1, "t"], TensorProto.FLOAT16)
identity("takes-four", [1, "c", "t", 1])

node = helper.make_node
save("shared-symbol", [node("MatMul", ["b", "a"], ["y"])], [("a", F, ["batch", 8]), ("b", F, [3, "batch"])], [("y", F, [3, 8])])
save("wants-100", [node("AveragePool", ["x"], ["y"], kernel_shape=[100])], [("x", F, ["n", 1, "t"])], [("y", F, None)])
save("wants-16000", [node("AveragePool", ["x"], ["y"], kernel_shape=[16000])], [("x", F, ["n", 1, "t"])], [("y", F, None)])
table = numpy_helper.from_array(np.ones((1, 4, 3), np.float32), "table")
save("wants-4", [node("Add", ["x", "table"], ["s"]), node("Reshape", ["s", "to"], ["y"])],
     [("x", F, ["n", "t", 3])], [("y", F, None)], [table, numpy_helper.from_array(np.array([-1, 4, 3]), "to")])
save("wants-35", [node("Reshape", ["x", "to"], ["r"], name="cut"), node("Relu", ["r"], ["y"], name="act")],
     [("x", F, [1, "t"])], [("y", F, None)], [numpy_helper.from_array(np.array([1, 5, 7]), "to")])
save("unknown-operators",
     [node("Foo", ["x"], ["a"], name="first", domain="far.away"), node("Foo", ["a"], ["b"], name="second", domain="far.away"),
      node("Bar", ["b"], ["c"], name="only", domain="far.away"), node("Foo", ["c"], ["y"], name="third", domain="far.away")],
     [("x", F, [1])], [("y", F, None)], domains=["far.away"])

S, I = TensorProto.STRING, TensorProto.INT64
save("takes-strings", [node("StringNormalizer", ["s"], ["n"], case_change_action="UPPER"), node("StringConcat", ["n", "n"], ["y"])],
     [("s", S, ["words"])], [("y", S, ["words"])], opset=20)
save("takes-scalar", [node("Cast", ["rate"], ["r"], to=F), node("Mul", ["x", "r"], ["y"])],
     [("x", F, ["t"]), ("rate", I, [])], [("y", F, ["t"])])
save("takes-unknown", [node("Relu", ["x"], ["y"])], [("x", F, ["?", 3, "?", "?"])], [("y", F, ["?", 3, "?", "?"])])
save("wants-step", [node("Slice", ["x", "from", "to", "", "steps"], ["y"])],
     [("x", F, [6])] + [(name, I, [1]) for name in ("from", "to", "steps")], [("y", F, [None])])
save("wants-divisor", [node("Mod", ["x", "by"], ["m"], name="rest"), node("Sub", ["by", "one"], ["d"]), node("Div", ["m", "d"], ["y"])],
     [("x", I, [3]), ("by", I, [3])], [("y", I, [3])], [numpy_helper.from_array(np.array([1]), "one")])


def special(name, kind, shape, nodes):
    made = {"sequence": helper.make_tensor_sequence_value_info, "optional": lambda name, element, shape: helper.make_value_info(
        name, helper.make_optional_type_proto(helper.make_tensor_type_proto(element, shape)))}
    graph = helper.make_graph(nodes, name, [made[kind]("x", F, shape)], [helper.make_tensor_value_info("y", F, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())


special("takes-sequence", "sequence", ["n", 3], [node("ConcatFromSequence", ["x"], ["y"], axis=0)])
nothing = helper.make_graph([node("Constant", [], ["none"], value_floats=[0.0])], "nothing", [], [helper.make_tensor_value_info("none", F, [1])])
something = helper.make_graph([node("OptionalGetElement", ["x"], ["given"])], "something", [], [helper.make_tensor_value_info("given", F, None)])
special("takes-optional", "optional", ["t"], [node("OptionalHasElement", ["x"], ["has"]),
                                              node("If", ["has"], ["y"], then_branch=something, else_branch=nothing)])

true = numpy_helper.from_array(np.array(True), "true")
half = numpy_helper.from_array(np.array(0.5, np.float32), "half")
ones = [numpy_helper.from_array(np.ones(2, np.float32), name) for name in ("w", "b", "m", "v")]
save("trained-dropout", [node("Constant", [], ["yes"], value=true), node("Dropout", ["x", "half", "yes"], ["d"], name="first"),
                         node("Dropout", ["d", "half", "true"], ["e"], name="second"), node("Dropout", ["e", "half"], ["y"])],
     [("x", F, [4])], [("y", F, [4])], [half, true])
save("trained-statistics", [node("BatchNormalization", ["x", "w", "b", "m", "v"], ["y", "nm", "nv"], name="norm", training_mode=1)],
     [("x", F, [3, 2])], [("y", F, [3, 2])], ones)
save("trained-before", [node("BatchNormalization", ["x", "w", "b", "m", "v"], ["y", "nm", "nv", "sm", "sv"], name="norm")],
     [("x", F, [3, 2])], [("y", F, [3, 2])], ones, opset=9)
table = numpy_helper.from_array(np.ones((100, 8), np.float32), "table")
save("takes-state", [node("Slice", ["x", "from", "to", "axis"], ["c"]), node("MatMul", ["c", "table"], ["h"]),
                     node("Unsqueeze", ["h", "first"], ["u"]), node("Concat", ["u", "state"], ["y"], axis=0)],
     [("x", F, [None, None]), ("state", F, [2, None, 8])], [("y", F, None)],
     [table, *(numpy_helper.from_array(np.array([n]), name) for name, n in (("from", 0), ("to", 100), ("axis", 1), ("first", 0)))])
