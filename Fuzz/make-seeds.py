#!/usr/bin/env python3
"""Writes the seeds in Fuzz/Corpus that no fixture of the tests is. Needs the Python packages numpy and safetensors.

    Scripts/onnx-backend-tests.py --folder FOLDER; Fuzz/make-seeds.py FOLDER
"""

import json
import pathlib
import struct
import sys

import numpy as np
from safetensors.numpy import save

CORPUS = pathlib.Path(__file__).resolve().parent / "Corpus"
# Operators with texts, sequences, optional values and graphs in them.
MODELS = ("string", "sequence", "optional", "tfidf", "regex", "ai_onnx_ml", "loop", "if_", "scan", "split_to", "label",
          "identity_opt", "identity_seq", "bernoulli", "unique", "image_decoder", "random")


def write(parser, name, data):
    folder = CORPUS / parser
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


for model in sorted(pathlib.Path(sys.argv[1]).glob("*/model.onnx")):
    name = model.parent.name.removeprefix("test_")
    if not any(word in name for word in MODELS) or model.stat().st_size > 4096:
        continue
    write("onnx", name + ".onnx", model.read_bytes())
    for value in sorted(model.parent.glob("test_data_set_0/input_*.pb"))[:1]:
        if value.stat().st_size < 1024 and any(word in name for word in ("sequence", "optional", "string")):
            write("value", name + ".pb", value.read_bytes())

for code, kind in ((8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")):
    numbers = np.arange(6, dtype=kind).reshape(2, 3)
    write("idx", f"{code}.idx", bytes([0, 0, code, 2]) + struct.pack(">2I", 2, 3) + numbers.tobytes())
write("idx", "empty.idx", bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 28, 28))

for name, array in (("wide", np.array([["a", "bc"], ["日本", ""]])), ("bytes", np.array([b"a", b"bcd"])),
                    ("big", np.array(["x", "yz"]).astype(">U2"))):
    folder = CORPUS / "strings"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.npy", array)
    (folder / f"{name}.npy").rename(folder / f"{name}.strings")

for index, (pattern, text) in enumerate([
        (r"^[\w.]+@\w+\.(com|org)$", "some.body@example.org"), (r"(?:a|b)*?c{2,3}[^x-z]\d+", "abcc7"),
        (r"(a*)*b|\bfoo\b(?i:BAR)", "aaaaaaaa"), (r"\p{L}+[[:alpha:]]\x41\u0041.?", "é")]):
    write("regex", f"{index}.regex", f"{pattern}\n{text}".encode())
for index, (ranks, equation) in enumerate([(0b1010, "ij,jk->ik"), (0b1111, "bij,bjk->bik"), (0b0101, "i,i"), (0b0010, "ii->i"),
                                           (0b1011, "...ij,jk->...ik"), (0b1010, "ij,ij->")]):
    write("einsum", f"{index}.einsum", bytes([ranks]) + equation.encode())

progress = {"step": 3, "epoch": 1, "position": 2, "best": 0.5, "worse": 0, "settings": {}}
state = {"model.weight": np.ones((1, 2), np.float32), "model.bias": np.ones(1, np.float32)}
for name, shape in (("weight", (1, 2)), ("bias", (1,))):
    for moment in ("exp_avg", "exp_avg_sq", "step"):
        state[f"optimizer.{name}.{moment}"] = np.array(3) if moment == "step" else np.ones(shape, np.float32)
write("training", "state.safetensors", save(state, {"format": "toeplitz.training.1", "progress": json.dumps(progress)}))
