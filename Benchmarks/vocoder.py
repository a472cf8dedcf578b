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
import torch.nn.functional as functional

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "Sources/ToeplitzCommand/Resources/vocoder"
SLOPE = 0.1


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


class Generator:
    """The HiFi-GAN generator of kind "2", from its published description."""

    def __init__(self):
        self.config = json.loads((BUNDLE / "config.json").read_text())
        state = tensors(BUNDLE / "generator.safetensors")
        self.layers = {}
        for key in state:
            if key.endswith(".weight_g"):
                name = key[: -len(".weight_g")]
                weight = torch._weight_norm(state[name + ".weight_v"], state[key], 0)
                self.layers[name] = (weight, state[name + ".bias"])

    def __call__(self, x):
        config = self.config
        kinds = list(zip(config["resblock_kernel_sizes"], config["resblock_dilation_sizes"]))
        x = functional.conv1d(x, *self.layers["conv_pre"], padding=3)
        stages = zip(config["upsample_rates"], config["upsample_kernel_sizes"])
        for stage, (rate, kernel) in enumerate(stages):
            x = functional.leaky_relu(x, SLOPE)
            x = functional.conv_transpose1d(x, *self.layers[f"ups.{stage}"], stride=rate, padding=(kernel - rate) // 2)
            total = 0
            for kind, (size, dilations) in enumerate(kinds):
                y = x
                for index, dilation in enumerate(dilations):
                    layer = self.layers[f"resblocks.{stage * len(kinds) + kind}.convs.{index}"]
                    padding = dilation * (size - 1) // 2
                    y = y + functional.conv1d(functional.leaky_relu(y, SLOPE), *layer, padding=padding, dilation=dilation)
                total = total + y
            x = total / len(kinds)
        return torch.tanh(functional.conv1d(functional.leaky_relu(x), *self.layers["conv_post"], padding=3))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    mel = torch.from_numpy(np.load(ROOT / "Tests/Fixtures/vocoder/mel.npy")).float()
    generator = Generator()
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
