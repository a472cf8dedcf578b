#!/usr/bin/env python3
"""Races `toeplitz bench` against PyTorch, ONNX Runtime and OpenVINO on the same convolutions.

The contenders take turns, round after round, with the same number of threads and one at a time, so that a machine that
slows down slows all of them. Quoted are medians over all rounds, and the best peer's time over ours: above 1 we are
faster. Before the race every contender's output is compared with PyTorch's.

    pip install -r requirements.txt && swift build -c release && python compare.py --chart ../docs/images/race
"""

import argparse
import collections
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from cases import TOOL, all_cases, data


class Ours:
    """The tool runs as a process that times itself; its start-up is not counted."""

    name = "toeplitz"

    def __init__(self, case, arrays, arguments, folder):
        x, weight, bias = arrays
        self.command = [TOOL, "bench", "--case", case.name, "--json"]
        self.command += ["--threads", str(arguments.threads), "--data", str(folder)]
        np.save(folder / "x.npy", x)
        np.save(folder / "weight.npy", weight)
        np.save(folder / "bias.npy", bias)
        self.folder = folder

    def output(self):
        subprocess.run(self.command + ["--seconds", "0.001"], check=True, capture_output=True)
        return np.load(self.folder / "y.npy")

    def times(self, seconds):
        done = subprocess.run(
            self.command + ["--seconds", str(seconds), "--times"], check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)["times_ms"]


class InProcess:
    """A peer that is called in this process."""

    def output(self):
        return np.asarray(self.call())

    def times(self, seconds):
        for _ in range(2):
            self.call()
        found = []
        end = time.perf_counter() + seconds
        while len(found) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            self.call()
            found.append((time.perf_counter() - start) * 1e3)
        return found


class Torch(InProcess):
    name = "torch"

    def __init__(self, case, arrays, arguments, folder):
        import torch

        torch.set_num_threads(arguments.threads)
        torch.set_grad_enabled(False)
        self.call = case.torch_call(*[torch.from_numpy(a) for a in arrays])


class OnnxRuntime(InProcess):
    name = "ort"

    def __init__(self, case, arrays, arguments, folder):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        options.log_severity_level = 3
        # Its workers would otherwise spin on the others' time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if arguments.spin else "0")
        model = case.onnx_model(arrays[1], arrays[2])
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.call = lambda: session.run(None, {"x": arrays[0]})[0]


class OpenVino(InProcess):
    name = "openvino"

    def __init__(self, case, arrays, arguments, folder):
        import openvino

        core = openvino.Core()
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": arguments.threads, "INFERENCE_PRECISION_HINT": "f32"})
        compiled = core.compile_model(core.read_model(case.onnx_model(arrays[1], arrays[2])), "CPU")
        request = compiled.create_infer_request()
        self.call = lambda: request.infer([arrays[0]], share_inputs=True, share_outputs=True)[0]


PEERS = {peer.name: peer for peer in (Torch, OnnxRuntime, OpenVino)}


def check(case, contenders):
    """Compares all outputs with the first one's."""
    reference = contenders[0].output()
    for contender in contenders[1:]:
        output = contender.output()
        error = float(np.max(np.abs(output - reference)) / np.max(np.abs(reference)))
        if output.shape != reference.shape or not error < 1e-4:
            sys.exit(f"{case.name}: {contender.name} gives another result (relative error {error:.2g})")


def race(case, arguments):
    arrays = data(case)
    times = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        kinds = [PEERS[name] for name in arguments.peers] + [Ours]
        contenders = [kind(case, arrays, arguments, pathlib.Path(folder)) for kind in kinds]
        check(case, contenders)
        for _ in range(arguments.rounds):
            for contender in contenders:
                times[contender.name] += contender.times(arguments.seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def mean(values):
    values = list(values)
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else float("nan")


def chart(rows, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [case.name for case, _, _ in rows]
    ratios = [ratio for _, _, ratio in rows]
    figure, axes = pyplot.subplots(figsize=(7, 0.26 * len(rows) + 1))
    axes.barh(names, ratios, color=["#2a78b5" if r >= 1 else "#c5523f" for r in ratios])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("best peer's time over ours")
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(f"{path}.svg")
    figure.savefig(f"{path}.png", dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.15, help="for each contender in each round")
    parser.add_argument("--case", action="append", default=[], help="only this case; may be repeated")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--spin", action="store_true", help="let ONNX Runtime's workers spin between calls")
    parser.add_argument("--chart", help="write PATH.svg and PATH.png")
    arguments = parser.parse_args()
    rows = []
    print(f"{'case':22} {'GFLOP':>6} " + " ".join(f"{n:>9}" for n in [*arguments.peers, "toeplitz"]) + "   ratio  GFLOP/s")
    for case in all_cases():
        if arguments.case and case.name not in arguments.case:
            continue
        medians = race(case, arguments)
        ours = medians["toeplitz"]
        ratio = min(medians[name] for name in arguments.peers) / ours if arguments.peers else float("nan")
        rows.append((case, medians, ratio))
        cells = " ".join(f"{medians[name]:9.4f}" for name in [*arguments.peers, "toeplitz"])
        print(f"{case.name:22} {case.flops() / 1e9:6.3f} {cells} {ratio:7.2f} {case.flops() / ours / 1e6:8.1f}", flush=True)
    print("\ngeometric means of the ratio")
    families = collections.defaultdict(list)
    for case, _, ratio in rows:
        families[case.family].append(ratio)
        if case.transposed:
            families["all transposed"].append(ratio)
        families["all"].append(ratio)
    for family, ratios in families.items():
        print(f"{family:28} {mean(ratios):6.2f}  (lowest {min(ratios):.2f}, {len(ratios)} cases)")
    if arguments.chart:
        chart(rows, arguments.chart)


if __name__ == "__main__":
    main()
