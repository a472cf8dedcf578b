#!/usr/bin/env python3
"""Runs the inputs in Tests/Fixtures/cases, which users of other systems brought, and compares with what is right.

Each folder's README says what its case is. Needs numpy. Two cases are Swift programs (main.swift), which are built only
with --programs, into a folder that is kept for the next time.

    Scripts/user-cases.py [--tool .build/release/toeplitz] [--filter TEXT] [--programs FOLDER]
"""

import argparse
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import threading

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
CASES = ROOT / "Tests/Fixtures/cases"


class Wrong(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Wrong(what)


class Case:
    """A copy of a case's folder, and the tool in it."""

    def __init__(self, tool, folder):
        self.tool, self.folder = tool, folder

    def call(self, *arguments, stdin=None, status=0):
        run = subprocess.run([self.tool, *arguments], cwd=self.folder, input=stdin, capture_output=True, timeout=300)
        errors = run.stderr.decode(errors="replace")
        need(run.returncode == status, f"{' '.join(arguments)}: status {run.returncode}: {errors.strip()}")
        return run.stdout, errors

    def run(self, model, *inputs, output="y"):
        """An output of `toeplitz run`."""
        arguments = [part for given in inputs for part in ("--input", given)]
        self.call("run", model, *arguments, "--output-dir", "out")
        return np.load(self.folder / "out" / f"{output}.npy")

    def vocode(self, *arguments):
        self.call("vocode", *arguments, "-o", "out.wav", "-q")
        return sound((self.folder / "out.wav").read_bytes())

    def tensors(self, file):
        """The tensors of a safetensors file, as names and shapes."""
        data = (self.folder / file).read_bytes()
        header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
        return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


def sound(data):
    """The samples of a 16-bit WAV file."""
    start = data.index(b"data") + 8
    return np.frombuffer(data[start : start + (len(data) - start) // 2 * 2], "<i2") / 32768


def close(got, expected, tolerance=1e-5):
    got = np.asarray(got, np.float64)
    need(np.allclose(got, expected, rtol=0, atol=tolerance), f"expected {expected}, got {got.reshape(-1)[:8]}")


def shape(got, expected):
    need(got.shape == expected, f"expected shape {expected}, got {got.shape}")


def checkpoint_names(case):
    for file in ["g_02500000", "MODEL.PT"]:
        text = case.call("inspect", file)[0].decode()
        need("generator.weight: float32[3, 2, 3]" in text and "generator.bias: float32[3]" in text, text)


def hf_cache_symlinks(case):
    y = case.run("snapshots/a/model.onnx", "x=x.npy")
    shape(y, (1, 3, 3))
    close(y[0, 0], 15)


def hifigan_generator_key(case):
    for model in ["g_00000001.pt", "."]:
        need(len(case.vocode("in.wav", "--model", model)) == 11008, f"{model}: not 11008 samples")


def hifigan_kernel_2x_odd_rate(case):
    need(len(case.vocode("in.wav", "--model", ".")) == 8000, "not 8000 samples")


def weightnorm_dead_filter(case):
    samples = case.vocode("in.wav", "--model", ".")
    need(len(samples) == 11008, f"{len(samples)} samples")
    close(np.abs(samples).max(), 0.0756, 1e-4)


def jpeg_420_chroma(case):
    x = case.run("id.onnx", "x=edge420.jpg")
    close(x[0, 0, 8, 12:19] * 255, [254, 229, 177, 78, 26, 0, 0], 1)


def jpeg_exif_rotation(case):
    x = case.run("id.onnx", "x=portrait.jpg")
    shape(x, (1, 3, 32, 16))
    top, bottom = x[0, :, :12].mean((1, 2)), x[0, :, -12:].mean((1, 2))
    need(top[0] > top[1] and bottom[1] > bottom[0], "expected red above green")


def jpeg_kinds_refused(case):
    shape(case.run("id.onnx", "x=progressive.jpg"), (1, 3, 24, 24))


def jpeg_rgb_colours(case):
    close(case.run("id.onnx", "x=red.jpg")[0, :, 8, 8] * 255, [200, 30, 60], 1)


def legacy_pt(case):
    case.call("convert", "legacy.pt", "out.safetensors")
    need(case.tensors("out.safetensors") == {"weight": (3, 2, 3), "bias": (3,)}, "other tensors")


def npz_string_member(case):
    shape(case.run("m.onnx", "x=data.npz:x"), (2, 3))


def onnx_com_microsoft(case):
    y = case.run("fused.onnx", "x=x.npy")
    shape(y, (1, 3, 3)) if y.ndim == 3 else None
    close(y, 6)


def onnx_dim_minus_one(case):
    shape(case.run("m.onnx", "x=x.npy"), (2, 3, 4))


def onnx_initializer_override(case):
    close(case.run("m.onnx", "x=x.npy", "w=w.npy"), 12)


def onnx_random_ops(case):
    y = case.run("noise.onnx", "x=x.npy", "s=s.npy")
    shape(y, (1, 2, 5))
    close(y, 1, 0)


def resize_align_corners_scale(case):
    y = case.run("m.onnx", "x=x.npy")
    close(y.reshape(-1)[-1], 29, 1e-4)


def run_memory_message(case):
    arguments = ["run", "sr.onnx", "--input", "x=hd.jpg"]
    run = subprocess.run([case.tool, *arguments], cwd=case.folder, capture_output=True, text=True, timeout=600)
    if run.returncode == 0:
        need("float32[1, 3, 4320, 7680]" in run.stdout, run.stdout)
    else:
        need(run.returncode == 1 and "--memory" in run.stderr, run.stderr.strip())


def pipes(case):
    stream = (case.folder / "stream.wav").read_bytes()
    expected = case.vocode("stream.wav")
    need(len(expected) == 5888, f"{len(expected)} samples")
    for name in ["-", "/dev/stdin"]:
        case.call("vocode", name, "-o", "out.wav", "-q", stdin=stream)
        close(sound((case.folder / "out.wav").read_bytes()), expected, 0)
    for name in ["-", "/dev/stdout"]:
        close(sound(case.call("vocode", "stream.wav", "-o", name, "-q")[0]), expected, 0)
        close(sound(case.call("vocode", "-", "-o", name, "-q", stdin=stream)[0]), expected, 0)
    fifos = [case.folder / "in.fifo", case.folder / "out.fifo"]
    for fifo in fifos:
        os.mkfifo(fifo)
    got = []
    threads = [
        threading.Thread(target=lambda: fifos[0].write_bytes(stream)),
        threading.Thread(target=lambda: got.append(fifos[1].read_bytes())),
    ]
    [thread.start() for thread in threads]
    case.call("vocode", "in.fifo", "-o", "out.fifo", "-q")
    [thread.join() for thread in threads]
    close(sound(got[0]), expected, 0)
    need(not (case.folder / "-").exists(), "a file named -")
    # The other commands.
    checkpoint = (CASES / "checkpoint_names/MODEL.PT").read_bytes()
    (case.folder / "piped.safetensors").write_bytes(
        case.call("convert", "-", "-", "--format", "safetensors", stdin=checkpoint)[0])
    need(len(case.tensors("piped.safetensors")) == 2, "convert - -")
    need(b"generator.bias" in case.call("inspect", "-", stdin=checkpoint)[0], "inspect -")
    model, picture = CASES / "jpeg_rgb_colours/id.onnx", CASES / "jpeg_rgb_colours/red.jpg"
    data = case.call("run", str(model), "--input", "x=-", "--output", "y=-", stdin=picture.read_bytes())[0]
    (case.folder / "y.npy").write_bytes(data)
    close(np.load(case.folder / "y.npy")[0, :, 8, 8] * 255, [200, 30, 60], 1)
    (case.folder / "g.onnx").write_bytes(case.call("export", "-", "--frames", "3")[0])
    need(b"x: float32[1, 80, 3]" in case.call("inspect", "-", stdin=(case.folder / "g.onnx").read_bytes())[0], "export -")


def pt_foreign_object(case):
    for file in ["counter.pt", "namespace.pt", "numpy_scalar.pt"]:
        case.call("convert", file, "out.safetensors", "--inside", "state_dict")
        need(set(case.tensors("out.safetensors")) == {"weight", "bias"}, f"{file}: {case.tensors('out.safetensors')}")


def pt_key_collision(case):
    for file in ["dotted.pt", "int_and_text.pt"]:
        run = subprocess.run([case.tool, "convert", file, "out.safetensors"], cwd=case.folder, capture_output=True, text=True)
        if run.returncode == 0:
            need(len(case.tensors("out.safetensors")) == 2, f"{file}: one tensor is lost")
        else:
            need(run.returncode == 1 and run.stderr.startswith("error: "), run.stderr)


def wav_declared_size(case):
    for file, count in [("arecord_pipe", 8000), ("int32max_pipe", 8000), ("truncated", 6000)]:
        # Whole frames of 256 samples.
        expected = count // 256 * 256
        need(len(case.vocode(f"{file}.wav")) == expected, f"{file}: not {expected} samples")


def wav_g711(case):
    samples = case.vocode("ulaw.wav")
    need(len(samples) == 22050 // 256 * 256 and np.abs(samples).max() > 0.01, f"{len(samples)} samples")


def wav_input_channels(case):
    for model in ["fixed.onnx", "open.onnx"]:
        y = case.run(model, "x=stereo.wav")
        shape(y, (1, 2, 100))
        close(y[0, 0], 0.244, 1e-3)
        close(y[0, 1], -0.244, 1e-3)


def program(name, folder, build):
    """Builds and runs the main.swift of a case."""
    package = build / name
    (package / "Sources").mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "main.swift", package / "Sources/main.swift")
    products = ", ".join(f'.product(name: "{p}", package: "Toeplitz")' for p in ("Toeplitz", "ToeplitzONNX"))
    (package / "Package.swift").write_text(
        f"""// swift-tools-version: 6.2
import PackageDescription
let package = Package(
  name: "Case", platforms: [.macOS(.v15)], dependencies: [.package(name: "Toeplitz", path: "{ROOT}")],
  targets: [.executableTarget(name: "Case", dependencies: [{products}], path: "Sources")])
""")
    command = ["swift", "run", "--package-path", str(package), "--scratch-path", str(build / "scratch"), "Case"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    need(run.returncode == 0, (run.stderr.strip() or run.stdout.strip())[-600:])
    return run.stdout


def batchnorm_old_state_dict(output, folder):
    need("all keys fit" in output, output)


def export_circular(output, folder):
    need((folder / "circular.onnx").stat().st_size > 0, "no file")


PROGRAMS = {"batchnorm_old_state_dict": batchnorm_old_state_dict, "export_circular": export_circular}


def copy(name, target):
    folder = target / name
    shutil.copytree(CASES / name, folder)
    # The links of a cache of Hugging Face are kept as files that hold where they lead.
    for file in folder.rglob("snapshots/*/*"):
        link = file.read_bytes()
        if link.startswith(b"../") and len(link) < 200:
            file.unlink()
            file.symlink_to(link.decode())
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", type=pathlib.Path, default=ROOT / ".build/release/toeplitz")
    parser.add_argument("--filter", default="", help="only cases whose names hold this")
    parser.add_argument("--programs", type=pathlib.Path, help="also build the two programs, in this folder")
    arguments = parser.parse_args()
    names = sorted(path.name for path in CASES.iterdir() if path.is_dir())
    failed = 0
    for name in names:
        if arguments.filter not in name:
            continue
        if name in PROGRAMS and not arguments.programs:
            print(f"left out {name} (a program; --programs FOLDER builds it)")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            folder = copy(name, pathlib.Path(scratch))
            try:
                if name in PROGRAMS:
                    PROGRAMS[name](program(name, folder, arguments.programs.resolve()), folder)
                else:
                    globals()[name](Case(arguments.tool.resolve(), folder))
                print(f"passed {name}", flush=True)
            except (Wrong, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"FAILED {name}: {error}", flush=True)
    print(f"{failed} failed")
    return 1 if failed else 0


sys.exit(main())
