#!/usr/bin/env python3
"""Judges what vocoders make of recordings: mel L1, multi-resolution STFT distance, PESQ (wide band) and STOI.

    python3 -m pip install numpy scipy pesq pystoi
    Scripts/judge-vocoder.py speech/held-out speech/held-out-voice --tool .build/release/toeplitz --model bundled=DIR --model new=runs/voice

For each model and folder the means over all recordings. The mel spectrogram is that of HiFi-GAN's V3 (80 bands up to 8 kHz).
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import wave

import numpy
import scipy.signal
from pesq import pesq
from pystoi import stoi


def read(path):
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        samples = numpy.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float) / 32768
    return samples, rate


def spectrum(x, size, hop, window, pad):
    x = numpy.pad(x, pad, mode="reflect")
    taps = numpy.zeros(size)
    start = (size - window) // 2
    taps[start:start + window] = scipy.signal.get_window("hann", window)
    frames = numpy.lib.stride_tricks.sliding_window_view(x, size)[::hop] * taps
    return numpy.abs(numpy.fft.rfft(frames))


def mel_filters(rate, size, count, top):
    """Triangles on Slaney's scale, each of unit area, as librosa has them."""
    def to_mel(f):
        return f * 3 / 200 if f < 1000 else 15 + numpy.log(f / 1000) * 27 / numpy.log(6.4)

    def to_hertz(m):
        return numpy.where(m < 15, m * 200 / 3, 1000 * numpy.exp((m - 15) * numpy.log(6.4) / 27))

    edges = to_hertz(numpy.linspace(0, to_mel(top), count + 2))
    bins = numpy.linspace(0, rate / 2, size // 2 + 1)
    rise = (bins - edges[:-2, None]) / numpy.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / numpy.diff(edges)[1:, None]
    return numpy.maximum(0, numpy.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]


def log_mel(x, rate, filters):
    magnitudes = numpy.sqrt(spectrum(x, 1024, 256, 1024, 384) ** 2 + 1e-9)
    return numpy.log(numpy.maximum(magnitudes @ filters.T, 1e-5))


def stft_distance(x, y):
    total = 0
    for size, hop, window in [(1024, 120, 600), (2048, 240, 1200), (512, 50, 240)]:
        a, b = (numpy.maximum(spectrum(z, size, hop, window, size // 2), 1e-3) for z in (x, y))
        total += numpy.linalg.norm(b - a) / numpy.linalg.norm(b) + numpy.abs(numpy.log(a) - numpy.log(b)).mean()
    return total / 3


def judge(original, made, rate, filters):
    count = min(len(original), len(made))
    x, y = made[:count], original[:count]
    a, b = (scipy.signal.resample_poly(z, 320, 441) for z in (y, x))
    return [numpy.abs(log_mel(x, rate, filters) - log_mel(y, rate, filters)).mean(), stft_distance(x, y),
            pesq(16000, a, b, "wb"), stoi(y, x, rate)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=pathlib.Path, nargs="+")
    parser.add_argument("--tool", default=".build/release/toeplitz")
    parser.add_argument("--model", action="append", required=True, help="NAME=FOLDER")
    options = parser.parse_args()
    filters = mel_filters(22050, 1024, 80, 8000)
    print(f"{'folder':16} {'model':12} {'mel L1':>8} {'STFT':>8} {'PESQ':>8} {'STOI':>8}")
    for folder in options.folders:
        for model in options.model:
            name, place = model.split("=", 1)
            results = []
            for path in sorted(folder.glob("*.wav")):
                original, rate = read(path)
                if rate != 22050:
                    sys.exit(f"{path}: expected 22050 Hz, got {rate}")
                with tempfile.NamedTemporaryFile(suffix=".wav") as made:
                    subprocess.run([options.tool, "vocode", str(path), "--model", place, "-o", made.name, "--quiet"],
                                   check=True, stdout=subprocess.DEVNULL)
                    results.append(judge(original, read(made.name)[0], rate, filters))
            means = numpy.mean(results, axis=0)
            print(f"{folder.name:16} {name:12} " + " ".join(f"{value:8.4f}" for value in means), flush=True)


if __name__ == "__main__":
    main()
