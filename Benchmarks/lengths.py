#!/usr/bin/env python3
"""What the first call of a layer with a length not seen before costs, over the second call with that length.

Two hundred different lengths in random order go through one one-dimensional convolution, after a warm-up at the largest:
through ours, through PyTorch's and through ONNX Runtime's with a free length. Each call has an input of its own, so
that none finds it in the cache. For ours also how many large blocks of memory the system had to give after the
warm-up.
"""

import argparse
import os
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


def calls(case, lengths, function, convert):
    """Milliseconds of the first and second call at each length."""
    for _ in range(3):
        function(convert(case.input))
    inputs = [[convert(np.ascontiguousarray(case.input[..., :n])) for _ in range(2)] for n in lengths]
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--case", action="append", default=[], help="default: hifigan.mrf256.k3, hifigan.mrf64.k11d5")
    arguments = parser.parse_args()
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
