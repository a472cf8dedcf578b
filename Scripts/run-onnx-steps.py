#!/usr/bin/env python3
"""Streams every step model of a folder by ONNX Runtime: NAME.onnx on NAME.x.npy gives NAME.y.npy.

A step model is what `StreamPlan.exportONNX` writes: its metadata tell the block, the pairs of states and where the stream's positions
lie in the output. The length of x must be a multiple of the block.

    Scripts/run-onnx-steps.py FOLDER
"""

import pathlib
import sys

import numpy as np
import onnxruntime


def stream(path, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    block, axis = int(said["stream.block"]), int(said["stream.axis"])
    pairs = {key[len("stream.state.") :]: name for key, name in said.items() if key.startswith("stream.state.")}
    out_axis, numerator, denominator, delay, rest = map(int, said["stream.output.y"].split())
    # State inputs have first values of their own; length matters after the last position.
    states, pieces = {}, []

    def step(piece, given):
        names = ["y", *pairs.values()]
        results = dict(zip(names, session.run(names, {"x": piece, **states, **given})))
        states.update({name: results[output] for name, output in pairs.items()})
        pieces.append(results["y"])

    for first in range(0, x.shape[axis], block):
        step(x.take(range(first, first + block), axis), {})
    wanted = x.shape[axis] * numerator // denominator + rest + delay
    given = {said["stream.length"]: np.array([x.shape[axis]])} if "stream.length" in said else {}
    while sum(piece.shape[out_axis] for piece in pieces) < wanted:
        step(np.zeros_like(x.take(range(block), axis)), given)
    return np.concatenate(pieces, out_axis).take(range(delay, wanted), out_axis)


def main():
    for model in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
        np.save(f"{model.with_suffix('')}.y.npy", stream(model, np.load(f"{model.with_suffix('')}.x.npy")))


main()
