#!/usr/bin/env python3
"""Writes the table of ONNX operators' signatures, `Sources/ToeplitzONNX/Format/OperatorSchemas.swift`.

Needs the Python packages onnx and onnxruntime (whose operators stand in the domain com.microsoft). With --check it compares the
file with what it would write. A line of the table says what an operator takes, from each version on that changed it,
as `OperatorSchema` reads it:

    Cast 1 1:r 1-1 to:s! | 6 1:r 1-1 to:i! | 19 1:r 1-1 saturate:i to:i!
"""

import argparse
import pathlib
import sys

TARGET = pathlib.Path(__file__).resolve().parent.parent / "Sources/ToeplitzONNX/Format/OperatorSchemas.swift"
KINDS = {
    "FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "SPARSE_TENSOR": "x", "TYPE_PROTO": "p",
    "FLOATS": "F", "INTS": "I", "STRINGS": "S", "TENSORS": "T", "GRAPHS": "G", "SPARSE_TENSORS": "X", "TYPE_PROTOS": "P",
}
ANY = 2147483647
# Operators of the standard domain that ONNX Runtime gave it before ONNX did, or that only it has.
RUNTIME_STANDARD = {("LayerNormalization", 1), ("SimplifiedLayerNormalization", 1)}


def name(value):
    return str(value).split(".")[-1]


def inputs(schema):
    letters = {"single": "r", "optional": "o", "variadic": "*"}
    return f"{schema.min_input}:" + "".join(letters[name(port.option).lower()] for port in schema.inputs)


def signature(schema):
    most = "" if schema.max_output >= ANY else schema.max_output
    attributes = []
    for key in sorted(schema.attributes):
        attribute = schema.attributes[key]
        attributes.append(f"{key}:{KINDS[name(attribute.type)]}{'!' if attribute.required else ''}")
    return " ".join([inputs(schema), f"{schema.min_output}-{most}"] + attributes)


def schemas():
    import onnx.defs
    import onnxruntime.capi.onnxruntime_pybind11_state as runtime

    for schema in onnx.defs.get_all_schemas_with_history():
        yield schema
    for schema in runtime.get_all_operator_schema():
        if schema.domain == "com.microsoft" or (schema.name, schema.since_version) in RUNTIME_STANDARD:
            yield schema


def table():
    domains = {}
    for schema in schemas():
        # What is deprecated takes what it took before.
        if schema.deprecated:
            continue
        versions = domains.setdefault(schema.domain, {}).setdefault(schema.name, {})
        versions[schema.since_version] = signature(schema)
    lines = []
    for domain in sorted(domains):
        lines.append(f"@{domain}")
        for operator in sorted(domains[domain]):
            last, versions = None, []
            for version, text in sorted(domains[domain][operator].items()):
                if text != last:
                    versions.append(f"{version} {text}")
                last = text
            lines.append(f"{operator} " + " | ".join(versions))
    return lines


def source():
    import onnx
    import onnxruntime

    lines = "\n".join(table())
    return f"""// Written by Scripts/make-onnx-schemas.py from onnx {onnx.__version__} and onnxruntime {onnxruntime.__version__}.
// swift-format-ignore-file

extension OperatorSchema {{
  /// What operators take: a line for each, with the versions that changed it.
  static let table = #\"\"\"
{lines}
\"\"\"#
}}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    arguments = parser.parse_args()
    text = source()
    if arguments.check:
        same = TARGET.exists() and TARGET.read_text() == text
        print("the table is that of the packages" if same else f"{TARGET} differs from what the packages say")
        return 0 if same else 1
    TARGET.write_text(text)
    print(f"{TARGET}: {len(text)} bytes, {len(text.splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
