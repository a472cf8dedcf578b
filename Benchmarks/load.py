#!/usr/bin/env python3
"""Load time and peak memory of whole models: `toeplitz run` against ONNX Runtime.

Each measurement is a process of its own; the two take turns, and the table shows the median of the rounds (for memory
too). `load` is from the path to something that can be called (`Executable(contentsOf:)`, `InferenceSession`), `first` is
the first run, in which Toeplitz prepares the weights that ONNX Runtime prepares while it loads, `both` is their sum.
`memory` is the largest resident memory of the process in megabytes, less that of a process which runs a model of one node in
the same way.

    Benchmarks/load.py FOLDER [--rounds 7] [--threads 2] [NAME ...]

FOLDER is what `Scripts/make-onnx-models.py FOLDER` writes.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import numpy as np
from onnx import TensorProto, helper

NAMES = ["resnet50", "mobilenetv2", "unet", "hifigan"]

PEER = """
import sys, time
import numpy as np
import onnxruntime
def resident(key):
    return int(next(line for line in open("/proc/self/status") if line.startswith(key)).split()[1]) / 1024
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[3])
x = np.load(sys.argv[2])
start = time.perf_counter()
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
loaded = time.perf_counter()
session.run(None, {"x": x})
first = time.perf_counter()
for _ in range(int(sys.argv[4]) - 1):
    session.run(None, {"x": x})
print((loaded - start) * 1e3, (first - loaded) * 1e3, resident("VmHWM"))
"""


def run(command):
    """What a command prints, and the most megabytes that it held."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}: status {status}")
    return text, usage.ru_maxrss / 1024


def ours(tool, test, threads, runs):
    """Milliseconds to load and of the first run, and megabytes."""
    command = [
        str(tool), "run", str(test / "model.onnx"), "--input", f"x={test / 'x.npy'}", "--threads", str(threads),
        "--repeat", str(runs), "--profile"]
    text, megabytes = run(command)
    load = float(re.search(r"^loaded in ([\d.]+) ms", text, re.M)[1])
    first = float(re.search(r"^first run in ([\d.]+) ms", text, re.M)[1])
    return load, first, megabytes


def peer(test, threads, runs):
    """The same of ONNX Runtime."""
    command = [sys.executable, "-c", PEER, str(test / "model.onnx"), str(test / "x.npy"), str(threads), str(runs)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(float(number) for number in result.stdout.split()[-3:])


def one_node(folder):
    """A model that does nothing, with its input."""
    node = helper.make_node("Relu", ["x"], ["y"])
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "g", ports[:1], ports[1:]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    np.save(folder / "x.npy", np.zeros(4, np.float32))
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--tool", default=root / ".build/release/toeplitz")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=3, help="runs in each process")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{'':14}{'load ms':>20}{'first ms':>20}{'both ms':>20}{'memory MB':>20}  load  both  memory")
    print(f"{'model':14}" + f"{'ours':>10}{'ort':>10}" * 4)
    with tempfile.TemporaryDirectory() as scratch:
        nothing = one_node(pathlib.Path(scratch))
        idle = [
            min(side[2] for side in sides) for sides in zip(*[
                (ours(arguments.tool, nothing, arguments.threads, arguments.runs), peer(nothing, arguments.threads, arguments.runs))
                for _ in range(3)])]
    print(f"memory of a model of one node, taken off: {idle[0]:.1f} and {idle[1]:.1f} MB")
    for name in arguments.names:
        test = arguments.folder / name
        found = ([], [])
        for _ in range(arguments.rounds):
            found[0].append(ours(arguments.tool, test, arguments.threads, arguments.runs))
            found[1].append(peer(test, arguments.threads, arguments.runs))
        rows = [[(a, b, a + b, c - base) for a, b, c in side] for side, base in zip(found, idle)]
        a, b = [[statistics.median(column) for column in zip(*side)] for side in rows]
        cells = "".join(f"{x:10.1f}{y:10.1f}" for x, y in zip(a, b))
        print(f"{name:14}{cells}  {b[0] / a[0]:4.2f}  {b[2] / a[2]:4.2f}  {a[3] / b[3]:6.2f}", flush=True)


if __name__ == "__main__":
    main()
