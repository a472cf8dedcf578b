#!/usr/bin/env python3
"""What the first call of a layer or model with a size not seen before costs, over the second call with that size.

Two hundred different lengths in random order go through one one-dimensional convolution, after a warm-up at the largest:
through ours, through PyTorch's and through ONNX Runtime's with a free length. Each call has an input of its own, so
that none finds it in the cache. For ours also how many large blocks of memory the system had to give after the
warm-up.

With --models the same for whole models: twenty sets of sizes (batch, length, height, width, whatever the model leaves
open) go through each, ours and ONNX Runtime's. FOLDER is what `Scripts/make-onnx-models.py FOLDER` writes.
"""

import argparse
import os
import pathlib
import statistics
import time

import numpy as np

from cases import chosen_cases
from contenders import bench


def report(name, first, second, note=""):
    ratios = sorted(a / b for a, b in zip(first, second))
    print(
        f"{name:20} first {statistics.median(first):8.4f} ms  second {statistics.median(second):8.4f} ms  "
        f"ratio: median {statistics.median(ratios):6.3f}  95 % {ratios[len(ratios) * 95 // 100]:6.3f}  "
        f"worst {ratios[-1]:7.3f}  together {sum(first) / sum(second):6.3f}  {note}"
    )


# The largest of each size, and of what it has to be a multiple.
SIZES = {
    "resnet18": {"N": (2, 1), "H": (320, 1), "W": (320, 1)},
    "resnet50": {"N": (2, 1), "H": (320, 1), "W": (320, 1)},
    "mobilenetv2": {"N": (2, 1), "H": (320, 1), "W": (320, 1)},
    "unet": {"N": (1, 1), "H": (256, 16), "W": (256, 16)},
    "hifigan": {"N": (2, 1), "L": (100, 1)},
    "encodec": {"L": (24000, 40)},
    "yolo": {"H": (416, 32), "W": (416, 32)},
}


def calls(case, lengths, function, convert):
    """Milliseconds of the first and second call at each length."""
    inputs = [[convert(np.ascontiguousarray(case.input[..., :n])) for _ in range(2)] for n in lengths]
    return timed(function, convert(case.input), inputs)


def timed(function, largest, inputs):
    """Milliseconds of the first and second call of each pair of inputs, after a warm-up with the largest."""
    for _ in range(3):
        function(largest)
    times = ([], [])
    for pair in inputs:
        for x, found in zip(pair, times):
            start = time.perf_counter()
            function(x)
            found.append((time.perf_counter() - start) * 1e3)
    return times


def torch_calls(case, lengths, threads):
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return calls(case, lengths, case.torch_function(), lambda x: torch.from_numpy(x.copy()))


def ort_calls(case, lengths, threads):
    import onnx
    import onnxruntime

    model = onnx.load_from_string(case.onnx_model())
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[2].dim_param = value.name + "_length"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return calls(
        case, lengths, lambda x: session.run_with_ort_values(["y"], {"x": x}), onnxruntime.OrtValue.ortvalue_from_numpy
    )


def ort_model(path, ranges, sizes, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    port = session.get_inputs()[0]
    random = np.random.default_rng(1)

    def value(chosen):
        shape = [chosen[size] if isinstance(size, str) else size for size in port.shape]
        return onnxruntime.OrtValue.ortvalue_from_numpy(random.uniform(-1, 1, shape).astype(np.float32))

    output = session.get_outputs()[0].name
    return timed(
        lambda x: session.run_with_ort_values([output], {port.name: x}),
        value({name: largest for name, (largest, _) in ranges.items()}),
        [[value(chosen) for _ in range(2)] for chosen in sizes])


def compare_models(folder, names, count, threads):
    for name in names or SIZES:
        path = folder / name / "model.onnx"
        print(f"{name}, {count} sets of sizes up to {SIZES[name]}, {threads} threads")
        sizes = [word for size, (most, step) in SIZES[name].items() for word in ("--size", f"{size}={most}/{step}")]
        for mode in ("invariant", "fast"):
            ours = bench("--model", path, *sizes, "--threads", threads, "--lengths", count, "--numerics", mode)[0]
            report(f"toeplitz {mode}", ours["first_ms"], ours["second_ms"], f"fresh blocks {ours['fresh_blocks']}")
        report("ort", *ort_model(path, SIZES[name], ours["sizes"], threads))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--count", type=int, help="default: 200, of whole models 20")
    parser.add_argument("--models", type=pathlib.Path, metavar="FOLDER", help="whole models instead of layers")
    parser.add_argument("--case", action="append", default=[], help="default: hifigan.mrf256.k3, hifigan.mrf64.k11d5")
    parser.add_argument("--model", action="append", default=[], choices=SIZES, help="with --models: only this one")
    arguments = parser.parse_args()
    if arguments.models:
        return compare_models(arguments.models, arguments.model, arguments.count or 20, arguments.threads)
    arguments.count = arguments.count or 200
    for case in chosen_cases(arguments.case or ["hifigan.mrf256.k3", "hifigan.mrf64.k11d5"]):
        print(f"{case.name}, {arguments.count} lengths, {arguments.threads} threads")
        for mode in ("invariant", "fast"):
            ours = bench(
                "--case", case.name, "--threads", arguments.threads, "--lengths", arguments.count, "--numerics", mode
            )[0]
            report(f"toeplitz {mode}", ours["first_ms"], ours["second_ms"], f"fresh blocks {ours['fresh_blocks']}")
        lengths = ours["lengths"]
        report("torch", *torch_calls(case, lengths, arguments.threads))
        report("ort", *ort_calls(case, lengths, arguments.threads))


if __name__ == "__main__":
    main()
