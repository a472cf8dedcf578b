#!/usr/bin/env python3
"""Streams silero-vad's step model over ten minutes of speech, and compares with its offline model.

The wheel of silero-vad (`pip download --no-deps silero-vad`) holds a model of single steps (512 samples with the 64 before them,
a state in and out) and one of whole sequences. Speech is made with espeak-ng. Both run through Toeplitz and through ONNX Runtime;
the step loop of the stream interface must equal the offline model within 1e-6.

    Scripts/stream-speech-detector.py silero_vad-6.2.3-py3-none-any.whl [--tool .build/release/toeplitz]
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import wave
import zipfile

import numpy as np
import onnxruntime

TEXT = [
    "The quick brown fox jumps over the lazy dog.", "She sells sea shells by the sea shore.",
    "Convolution is multiplication by a Toeplitz matrix.", "Peter Piper picked a peck of pickled peppers.",
    "How much wood would a woodchuck chuck if a woodchuck could chuck wood?",
]
BLOCK, CONTEXT = 512, 64


def speech(folder, minutes):
    """Samples at 16 kHz: sentences of several voices with pauses."""
    parts, total, index = [], 0, 0
    while total < minutes * 60 * 16000:
        file = f"{folder}/sentence.wav"
        voice = ["en", "en-us", "en+f3", "en+m5"][index % 4]
        subprocess.run(
            ["espeak-ng", "-v", voice, "-s", str(120 + 10 * (index % 9)), "-w", file, TEXT[index % len(TEXT)]], check=True)
        with wave.open(file) as sound:
            rate = sound.getframerate()
            samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32) / 32768
        times = np.arange(int(len(samples) * 16000 / rate)) * rate / 16000
        samples = np.interp(times, np.arange(len(samples)), samples).astype(np.float32)
        pause = np.zeros(4000 + 1777 * (index % 7), np.float32)
        parts += [samples, pause]
        total += len(samples) + len(pause)
        index += 1
    return np.concatenate(parts)[: minutes * 60 * 16000]


def run(tool, folder, *arguments):
    command = [tool, "run", *arguments, "--output-dir", folder, "--time-limit", "3600", "--memory", "8000"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    return result.stdout.strip().splitlines()[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel")
    parser.add_argument("--tool", default=".build/release/toeplitz")
    parser.add_argument("--minutes", type=int, default=10)
    arguments = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(arguments.wheel).extractall(folder)
        models = pathlib.Path(folder) / "silero_vad/data"
        x = speech(folder, arguments.minutes)
        count = len(x) // BLOCK
        x = x[: count * BLOCK]
        padded = np.concatenate([np.zeros(CONTEXT, np.float32), x])
        frames = np.stack([padded[i * BLOCK : i * BLOCK + BLOCK + CONTEXT] for i in range(count)])
        np.save(f"{folder}/x.npy", x[None])
        np.save(f"{folder}/frames.npy", frames)
        np.save(f"{folder}/sr.npy", np.array(16000, np.int64))
        zeros = np.zeros((1, 1, 128), np.float32)
        np.save(f"{folder}/zeros.npy", zeros)
        sequence = str(models / "silero_vad_16k_sequence.onnx")
        session = onnxruntime.InferenceSession(sequence)
        reference = session.run(None, {"input": frames, "h": zeros, "c": zeros})[0].reshape(-1)
        run(
            arguments.tool, f"{folder}/offline", sequence, "--input", f"input={folder}/frames.npy", "--input",
            f"h={folder}/zeros.npy", "--input", f"c={folder}/zeros.npy")
        offline = np.load(f"{folder}/offline/speech_probs.npy").reshape(-1)
        rows = [("offline, one run", offline)]
        for chunk in (1, 1000):
            run(
                arguments.tool, f"{folder}/sequence", sequence, "--input", f"input={folder}/frames.npy", "--chunk", str(chunk),
                "--block", "1", "--time-axis", "0")
            rows.append((f"offline model, {chunk} frames at a time", np.load(f"{folder}/sequence/speech_probs.npy").reshape(-1)))
        for name, extra in [
            ("silero_vad.onnx", ["--input", f"sr={folder}/sr.npy"]),
            ("silero_vad_16k_op15.onnx", ["--input", f"sr={folder}/sr.npy"]), ("silero_vad_openvino_16k.onnx", []),
        ]:
            for chunk in (320, 16000):
                summary = run(
                    arguments.tool, f"{folder}/steps", str(models / name), "--input", f"input={folder}/x.npy", *extra, "--chunk",
                    str(chunk), "--block", str(BLOCK), "--context", str(CONTEXT))
                rows.append((f"{name}, {chunk} samples at a time", np.load(f"{folder}/steps/output.npy").reshape(-1)))
        print(f"{count} steps of {BLOCK} samples, {arguments.minutes} minutes; speech in {np.mean(reference > 0.5):.0%}")
        for name, values in rows:
            same = len(values) == count
            against = [float(np.abs(values - other).max()) if same else np.inf for other in (offline, reference)]
            bad = not against[0] <= 1e-6
            failures += bad
            print(
                f"{'FAILS ' if bad else ''}{name}: {against[0]:.1e} from the offline model, {against[1]:.1e} from ONNX Runtime's")
        print(summary)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
