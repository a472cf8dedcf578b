#!/usr/bin/env python3
"""Runs every model of a folder by ONNX Runtime: NAME.onnx on NAME.x0.npy, NAME.x1.npy, … gives NAME.y0.npy, ….

Models whose element types the runtime has no kernels for are left out and counted.

    Scripts/run-onnx-models.py FOLDER
"""

import pathlib
import sys

import numpy as np
import onnxruntime


def main():
    folder = pathlib.Path(sys.argv[1])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    left_out = []
    for model in sorted(folder.glob("*.onnx")):
        try:
            session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
            inputs = {port.name: np.load(f"{model.with_suffix('')}.{port.name}.npy") for port in session.get_inputs()}
            outputs = session.run(None, inputs)
        except Exception as error:
            left_out.append((model.name, str(error).splitlines()[0][:200]))
            continue
        for number, output in enumerate(outputs):
            np.save(f"{model.with_suffix('')}.y{number}.npy", output)
    for name, reason in left_out:
        print(f"{name}: {reason}")
    print(f"{len(left_out)} models left out")


main()
