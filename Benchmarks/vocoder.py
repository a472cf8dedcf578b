#!/usr/bin/env python3
"""Races `toeplitz vocode` on the bundled recording against PyTorch running the same generator on the same mel frames.

Ours is the whole command's work as it reports it: reading, mel spectrogram, preparing the weights, generator, writing.
PyTorch's is the generator alone, warmed up, weight norm already multiplied out. They take turns.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch

from networks import HiFiGAN

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "Sources/ToeplitzCommand/Resources/vocoder"


def tensors(path):
    """The tensors of a safetensors file of float32 values."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        values = np.frombuffer(data[8 + length + first : 8 + length + last], dtype="<f4")
        found[name] = torch.from_numpy(values.copy()).reshape(entry["shape"])
    return found


def bundled_generator():
    """The generator with the bundled weights, weight norm multiplied out."""
    generator = HiFiGAN(json.loads((BUNDLE / "config.json").read_text()))
    state = tensors(BUNDLE / "generator.safetensors")
    for key in [key for key in state if key.endswith(".weight_g")]:
        name = key[: -len("_g")]
        state[name] = torch._weight_norm(state.pop(name + "_v"), state.pop(key), 0)
    generator.load_state_dict(state)
    return generator


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    mel = torch.from_numpy(np.load(ROOT / "Tests/Fixtures/vocoder/mel.npy")).float()
    generator = bundled_generator()
    theirs, ours = [], []
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        output = str(pathlib.Path(folder) / "out.wav")
        command = [str(ROOT / ".build/release/toeplitz"), "vocode", "-o", output, "--threads", str(arguments.threads)]
        error = np.abs(generator(mel).numpy() - np.load(ROOT / "Tests/Fixtures/vocoder/vocoded.npy")).max()
        print(f"PyTorch's generator against the golden output: {error:.1e}")
        for _ in range(arguments.rounds):
            start = time.perf_counter()
            generator(mel)
            theirs.append(time.perf_counter() - start)
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            ours.append(float(re.search(r"in ([\d.]+) s", text).group(1)))
    for name, times in (("torch (generator)", theirs), ("toeplitz (whole command)", ours)):
        print(f"{name:26} median {statistics.median(times) * 1e3:7.1f} ms, fastest {min(times) * 1e3:7.1f} ms")
    print(f"ratio of the medians {statistics.median(theirs) / statistics.median(ours):.2f}")


if __name__ == "__main__":
    main()
