"""Data for runs of `toeplitz train` that scripts disturb, in nothing but Python's own library."""

import math
import pathlib
import random
import struct
import wave


def write_bars(folder, count=512, size=8):
    """A folder as MNIST's: images of a bar that lies, stands or is missing."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    draw = random.Random(3)
    pixels, labels = bytearray(), bytearray()
    for image in range(count):
        label, at = image % 3, draw.randrange(1, size - 1)
        labels.append(label)
        for place in range(size * size):
            lit = (place // size == at) if label == 0 else (place % size == at) if label == 1 else False
            pixels.append((160 if lit else 0) + draw.randrange(90))
    (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, count, size, size) + pixels)
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels)


def write_sounds(folder, count=8, seconds=1.2, rate=22050):
    """A folder of recordings: chirps with noise."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    draw = random.Random(4)
    for index in range(count):
        low, rise = 150 + 40 * index, 300 + 50 * index
        samples = []
        for place in range(int(seconds * rate)):
            time = place / rate
            value = 0.4 * math.sin(2 * math.pi * (low + rise * time) * time) + 0.02 * draw.uniform(-1, 1)
            samples.append(round(value * 32767))
        with wave.open(str(folder / f"{index}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(struct.pack(f"<{len(samples)}h", *samples))


def steps(folder):
    """Steps that a run has told of."""
    try:
        return (pathlib.Path(folder) / "metrics.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def differences(folder, wanted, names=("model.safetensors", "metrics.jsonl")):
    """The files of two runs that are not the same to the bit."""
    folder, wanted = pathlib.Path(folder), pathlib.Path(wanted)
    return [
        name for name in names
        if not (folder / name).is_file() or (folder / name).read_bytes() != (wanted / name).read_bytes()
    ]
