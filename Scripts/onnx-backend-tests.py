#!/usr/bin/env python3
"""Runs the ONNX project's own backend tests through `toeplitz verify`.

Needs the Python packages onnx and numpy. The node tests are made here by `onnx.backend.test.case`; the stored ones
(`simple`, `pytorch-converted`, `pytorch-operator`, `light`) are copied from the package. One process runs them all.

    Scripts/onnx-backend-tests.py [--tool .build/release/toeplitz] [--folder FOLDER] [--filter TEXT] [--plain]

What does not pass stands in `Tests/Fixtures/onnx/backend-deviations.txt`, a line `STATE NAME REASON` each. Every other difference from that
list fails.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
from onnx import numpy_helper

warnings.filterwarnings("ignore")


def write_data(folder, kind, values, ports):
    for index, (value, port) in enumerate(zip(values, ports)):
        if isinstance(value, (onnx.TensorProto, onnx.SequenceProto, onnx.OptionalProto)):
            proto = value
        elif port.type.HasField("optional_type"):
            proto = numpy_helper.from_optional(value, port.name)
        elif isinstance(value, list):
            proto = numpy_helper.from_list([np.asarray(item) for item in value], port.name)
        else:
            proto = numpy_helper.from_array(np.asarray(value), port.name)
        (folder / f"{kind}_{index}.pb").write_bytes(proto.SerializeToString())


def make_node_tests(target):
    from onnx.backend.test.case.node import collect_testcases

    for case in collect_testcases(None):
        folder = target / case.name
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(case.model.SerializeToString())
        for index, (inputs, outputs) in enumerate(case.data_sets):
            data = folder / f"test_data_set_{index}"
            data.mkdir()
            write_data(data, "input", inputs, case.model.graph.input)
            write_data(data, "output", outputs, case.model.graph.output)


def copy_stored_tests(target):
    stored = pathlib.Path(onnx.__file__).parent / "backend/test/data"
    for kind in ["simple", "pytorch-converted", "pytorch-operator"]:
        for source in sorted((stored / kind).iterdir()):
            if source.is_dir():
                shutil.copytree(source, target / f"{kind}.{source.name}")
    for model in sorted((stored / "light").glob("*.onnx")):
        # These have outputs only; the input is the one that the ONNX project's runner makes.
        folder = target / f"light.{model.stem}"
        data = folder / "test_data_set_0"
        data.mkdir(parents=True)
        proto = onnx.load(model)
        shutil.copy(model, folder / "model.onnx")
        known = {tensor.name for tensor in proto.graph.initializer}
        ports = [port for port in proto.graph.input if port.name not in known]
        for index, port in enumerate(ports):
            shape = [dimension.dim_value for dimension in port.type.tensor_type.shape.dim]
            size = int(np.prod(shape))
            values = (np.arange(size, dtype=np.float32) / np.float32(size)).reshape(shape)
            (data / f"input_{index}.pb").write_bytes(numpy_helper.from_array(values, port.name).SerializeToString())
        for index in range(len(proto.graph.output)):
            output = stored / "light" / f"{model.stem}_output_{index}.pb"
            if output.exists():
                shutil.copy(output, data / f"output_{index}.pb")


ROOT = pathlib.Path(__file__).resolve().parent.parent


def changes(lines, pattern):
    """How the tests that did not pass differ from the list of those that need not."""
    stored = (ROOT / "Tests/Fixtures/onnx/backend-deviations.txt").read_text().splitlines()
    entries = [line.split(" ", 2) for line in stored if line and not line.startswith("#")]
    listed = {name: state for state, name, reason in entries if re.search(pattern, name)}
    found = {}
    for line in lines:
        state, _, rest = line.partition(" ")
        if state in ("failed", "unsupported"):
            found[rest.partition(": ")[0]] = state
    names = sorted(listed.keys() | found.keys())
    return [f"{name}: listed as {listed.get(name, 'passed')}, now {found.get(name, 'passed')}"
            for name in names if listed.get(name) != found.get(name)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = ROOT
    parser.add_argument("--tool", default=root / ".build/release/toeplitz")
    parser.add_argument("--folder", type=pathlib.Path, help="where to keep the tests; made if missing")
    parser.add_argument("--filter", default="", help="only tests whose names match this regular expression")
    parser.add_argument("--plain", action="store_true", help="without joining operations")
    parser.add_argument("--verbose", action="store_true", help="also list what passed")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or pathlib.Path(scratch) / "tests"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            make_node_tests(folder)
            copy_stored_tests(folder)
        chosen = folder
        if arguments.filter:
            chosen = pathlib.Path(scratch) / "chosen"
            chosen.mkdir()
            for test in folder.iterdir():
                if re.search(arguments.filter, test.name):
                    os.symlink(test.resolve(), chosen / test.name)
        command = [str(arguments.tool), "verify", str(chosen)] + (["--plain"] if arguments.plain else [])
        result = subprocess.run(command, capture_output=True, text=True)
    reasons = collections.Counter()
    for line in result.stdout.splitlines():
        if line.startswith("unsupported "):
            operators = re.findall(r"(\w+) \(domain", line)
            reasons[", ".join(sorted(set(operators))) if operators else line.split(": ", 1)[1].split("/")[-1][-120:]] += 1
        if arguments.verbose or not line.startswith("passed test") and not line.startswith("passed "):
            print(line)
    print(f"\nonnx {onnx.__version__}; unsupported by reason:")
    for reason, count in reasons.most_common():
        print(f"  {count:4} {reason}")
    print(result.stdout.splitlines()[-1] if result.stdout else result.stderr)
    if result.returncode not in (0, 1) or not result.stdout:
        print(f"the tool ended with {result.returncode}: {result.stderr[-2000:]}")
        return 1
    different = changes(result.stdout.splitlines()[:-1], arguments.filter)
    for line in different:
        print(f"not as listed: {line}")
    print("all others as Tests/Fixtures/onnx/backend-deviations.txt says" if not different else f"{len(different)} not as listed")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
