#!/usr/bin/env python3
"""What subnormal weights and inputs cost, over normal ones: ours, PyTorch and ONNX Runtime with their usual settings.

The three variants of a contender take turns. A weight or input is made subnormal by scaling it below 1.2e-38.
"""

import argparse
import os
import pathlib
import statistics
import tempfile

import numpy as np

from cases import chosen_cases
from contenders import PEERS, Ours

CASES = ["hifigan.mrf128.k7d3", "hifigan.up2", "vocos.dw7", "resnet.28.3x3", "resnet.14.1x1"]


def tiny(array):
    """The same numbers, all below the least normal one."""
    small = (array * np.float32(1e-39)).astype(np.float32)
    assert np.all(np.abs(small) < np.finfo(np.float32).tiny) and np.any(small)
    return small


def variants(case):
    x, weight, _ = case.arrays
    return {"normal": case, "weights": case.with_arrays(weight=tiny(weight)), "inputs": case.with_arrays(x=tiny(x))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="for each variant in each round")
    parser.add_argument("--peers", default="torch,ort", help="torch,ort,openvino or some of them")
    parser.add_argument("--case", action="append", default=[], help=f"default: {', '.join(CASES)}")
    arguments = parser.parse_args()
    for case in chosen_cases(arguments.case or CASES):
        if case.is_network:
            raise SystemExit(f"error: {case.name} is no convolution")
        print(f"{case.name}, {arguments.threads} threads: milliseconds and their ratio to those of normal numbers")
        for name in ("toeplitz", *arguments.peers.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                racers = {}
                for kind, variant in variants(case).items():
                    place = pathlib.Path(folder) / kind
                    place.mkdir()
                    variant.write(place)
                    ours = name == "toeplitz"
                    racers[kind] = Ours(variant, arguments.threads, place) if ours else PEERS[name](variant, arguments.threads, 4)
                times = {kind: [] for kind in racers}
                for _ in range(arguments.rounds):
                    for kind, racer in racers.items():
                        times[kind] += racer.times(arguments.seconds)
            medians = {kind: statistics.median(values) for kind, values in times.items()}
            cells = [f"{kind} {ms:10.4f} ({ms / medians['normal']:7.2f})" for kind, ms in medians.items()]
            print(f"  {name:10} " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
