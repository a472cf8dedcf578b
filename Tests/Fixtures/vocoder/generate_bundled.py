#!/usr/bin/env python3
"""What the bundled generator gives in PyTorch, in float64: vocoded.npy for mel.npy, and intermediate.safetensors for its first frames.

    python3 generate_bundled.py [FOLDER with config.json and generator.safetensors]
"""

import json
import pathlib
import sys

import numpy
import torch
from generate_variants import Generator
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

HERE = pathlib.Path(__file__).resolve().parent
BUNDLED = HERE.parents[2] / "Sources" / "ToeplitzCommand" / "Resources" / "vocoder"


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLED
    model = Generator(json.loads((folder / "config.json").read_text()))
    model.load_state_dict(load_file(str(folder / "generator.safetensors")))
    model.double().eval()
    mel = torch.from_numpy(numpy.load(HERE / "mel.npy")).double()
    with torch.no_grad():
        vocoded = model(mel).float().numpy()
        x = mel[:, :, :12]
        found = {"mel": x, "output": model(x)}
        x = found["conv_pre"] = model.conv_pre(x)
        for index, up in enumerate(model.ups):
            x = found[f"ups.{index}"] = up(F.leaky_relu(x, 0.1))
            x = sum(b(x) for b in model.resblocks[index * model.count : (index + 1) * model.count]) / model.count
            found[f"stage.{index}"] = x
    old = numpy.load(HERE / "vocoded.npy")
    print("distance to the file before:", numpy.abs(old - vocoded).max())
    numpy.save(HERE / "vocoded.npy", vocoded)
    save_file({name: value.float().contiguous() for name, value in found.items()}, str(HERE / "intermediate.safetensors"))


if __name__ == "__main__":
    main()
