#!/usr/bin/env python3
"""Makes nodes that break the signature of their operator and checks that each is refused with one line.

Needs the Python packages onnx and onnxruntime (whose operators stand in the domain com.microsoft). For every operator that
Toeplitz has, at every version that changed it: too few and too many inputs and outputs, a required input left out, missing required
attributes, attributes of another type, unknown ones, and ones that are given twice. One process reads them all.

    Scripts/onnx-schema-cases.py [--tool .build/release/toeplitz] [--folder FOLDER]
"""

import argparse
import collections
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

import onnx
from onnx import AttributeProto, TensorProto, helper

HERE = pathlib.Path(__file__).resolve().parent
specification = importlib.util.spec_from_file_location("schemas", HERE / "make-onnx-schemas.py")
table = importlib.util.module_from_spec(specification)
specification.loader.exec_module(table)


def graph():
    port = helper.make_tensor_value_info("g", TensorProto.FLOAT, [1])
    return helper.make_graph([helper.make_node("Constant", [], ["g"], value_float=1.0)], "inner", [], [port])


def value(kind):
    return {
        "f": lambda: 1.0, "i": lambda: 1, "s": lambda: "text", "F": lambda: [1.0], "I": lambda: [1], "S": lambda: ["text"],
        "t": lambda: helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0]), "g": graph,
        "T": lambda: [helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])], "G": lambda: [graph()],
        "x": lambda: helper.make_sparse_tensor(
            helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0]), helper.make_tensor("i", TensorProto.INT64, [1], [0]), [2]),
        "p": lambda: helper.make_tensor_type_proto(TensorProto.FLOAT, [1]),
        "P": lambda: [helper.make_tensor_type_proto(TensorProto.FLOAT, [1])],
    }[kind]()


def attribute(name, kind):
    return helper.make_attribute(name, value(kind))


def cases(schema):
    """Pairs of a kind of fault and a node, and a text that the refusal has."""
    kinds = {name: table.KINDS[table.name(entry.type)] for name, entry in schema.attributes.items()}
    required = sorted(name for name, entry in schema.attributes.items() if entry.required)
    least, most = schema.min_input, schema.max_input
    variadic = most >= table.ANY
    options = [table.name(port.option).lower() for port in schema.inputs]
    inputs = [f"x{index}" for index in range(least)]

    def node(inputs=inputs, outputs=max(1, schema.min_output), attributes=None):
        made = helper.make_node(schema.name, inputs, [f"y{i}" for i in range(outputs)], domain=schema.domain)
        made.attribute.extend([attribute(name, kinds[name]) for name in required] if attributes is None else attributes)
        return made

    if least > 0:
        yield "too few inputs", node(inputs[:-1]), " inputs"
        yield "no inputs", node([]), " inputs"
        for index, option in enumerate(options[:least]):
            # The last one given must not be empty, or there are too few.
            if option == "single" and index + 1 < least:
                yield "a required input left out", node(["" if i == index else x for i, x in enumerate(inputs)]), "an input number"
    if not variadic:
        yield "too many inputs", node([f"x{index}" for index in range(most + 1)]), " inputs"
    if schema.max_output < table.ANY:
        yield "too many outputs", node(outputs=schema.max_output + 1), " outputs"
    if schema.min_output > 1:
        yield "too few outputs", node(outputs=schema.min_output - 1), " outputs"
    given = [attribute(name, kinds[name]) for name in required]
    for name in required:
        yield "a missing attribute", node(attributes=[one for one in given if one.name != name]), f"an attribute {name}"
    for name, kind in sorted(kinds.items()):
        others = [one for one in given if one.name != name]
        for wrong in "fisFItg":
            if wrong != kind:
                yield "an attribute of another type", node(attributes=others + [attribute(name, wrong)]), f"attribute {name} as"
        twice = [attribute(name, kind)] * 2
        yield "an attribute given twice", node(attributes=others + twice), "one attribute of each name"
    yield "an unknown attribute", node(attributes=given + [attribute("no_such_attribute", "i")]), "no_such_attribute"
    two = [attribute("no_such_attribute", "i")] * 2
    yield "an unknown attribute given twice", node(attributes=given + two), "one attribute of each name"


def model(schema, node):
    names = sorted({name for name in node.input if name})
    made = helper.make_graph(
        [node], "case", [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)])
    opsets = [helper.make_opsetid(schema.domain, schema.since_version)]
    if schema.domain:
        opsets.append(helper.make_opsetid("", 21))
    return helper.make_model(made, ir_version=10, opset_imports=opsets)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tool", default=HERE.parent / ".build/release/toeplitz")
    parser.add_argument("--folder", type=pathlib.Path, help="where to keep the models")
    arguments = parser.parse_args()
    wanted, counts, operators = {}, collections.Counter(), set()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or pathlib.Path(scratch) / "cases"
        for schema in table.schemas():
            if schema.deprecated:
                continue
            for kind, node, text in cases(schema):
                name = f"{len(wanted):05}-{schema.domain or 'ai.onnx'}-{schema.name}-{schema.since_version}"
                (folder / name).mkdir(parents=True)
                (folder / name / "model.onnx").write_bytes(model(schema, node).SerializeToString())
                wanted[name] = (kind, text)
        result = subprocess.run([str(arguments.tool), "verify", str(folder)], capture_output=True, text=True)
    wrong, missing = [], set()
    lines = result.stdout.splitlines()
    seen = set()
    for line in lines[:-1]:
        state, _, rest = line.partition(" ")
        name, _, message = rest.partition(": ")
        if name not in wanted:
            wrong.append(f"a line that is no refusal: {line}")
            continue
        seen.add(name)
        kind, text = wanted[name]
        operator = "-".join(name.split("-")[1:])
        if "expected operators that Toeplitz has" in message:
            missing.add(operator)
        elif text not in message:
            wrong.append(f"{kind}: {line}")
        else:
            counts[kind] += 1
            operators.add(operator)
    wrong += [f"no answer: {name}" for name in wanted if name not in seen]
    for line in wrong:
        print(line)
    for kind, count in sorted(counts.items()):
        print(f"{count:6} {kind}")
    print(f"{sum(counts.values())} cases of {len(operators)} operator versions refused with one line each, {len(wrong)} not; "
          f"{len(missing)} versions of operators that Toeplitz does not have")
    if result.returncode not in (0, 1) or not lines:
        print(f"the tool ended with {result.returncode}: {result.stderr[-2000:]}")
        return 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
