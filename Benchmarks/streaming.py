#!/usr/bin/env python3
"""Latency of pieces of 1, 2, 4 and 8 frames: streams of Toeplitz against PyTorch computing them anew with enough overlap.

For HiFi-GAN V1 and V3 and a decoder as DAC's (Snake, residual units of three dilations, transposed convolutions). PyTorch gets each
piece with the frames before and after it that the piece depends on (the plan's receptive field), as users do who stream what was not
made for it, and cuts the rest off. Both take turns; the best round's medians are compared.

    python Benchmarks/streaming.py --tool .build/release/toeplitz --threads 2
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from networks import HiFiGAN  # noqa: E402

V1 = dict(
    resblock="1", upsample_rates=[8, 8, 2, 2], upsample_kernel_sizes=[16, 16, 4, 4], upsample_initial_channel=512,
    resblock_kernel_sizes=[3, 7, 11], resblock_dilation_sizes=[[1, 3, 5]] * 3, num_mels=80)
V3 = dict(
    resblock="2", upsample_rates=[8, 8, 4], upsample_kernel_sizes=[16, 16, 8], upsample_initial_channel=256,
    resblock_kernel_sizes=[3, 5, 7], resblock_dilation_sizes=[[1, 2], [2, 6], [3, 12]], num_mels=80)


class Snake(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x):
        return x + (self.alpha + 1e-9).reciprocal() * torch.sin(self.alpha * x).pow(2)


class Unit(nn.Module):
    def __init__(self, channels, dilation):
        super().__init__()
        self.block = nn.Sequential(
            Snake(channels), nn.Conv1d(channels, channels, 7, padding=3 * dilation, dilation=dilation), Snake(channels),
            nn.Conv1d(channels, channels, 1))

    def forward(self, x):
        return x + self.block(x)


def dac_decoder(latent=1024, channels=768, rates=(8, 8, 4, 2)):
    """The decoder of DAC at half the published width."""
    layers = [nn.Conv1d(latent, channels, 7, padding=3)]
    for index, rate in enumerate(rates):
        a, b = channels >> index, channels >> (index + 1)
        layers += [Snake(a), nn.ConvTranspose1d(a, b, 2 * rate, rate, padding=rate // 2)]
        layers += [Unit(b, dilation) for dilation in (1, 3, 9)]
    return nn.Sequential(*layers, Snake(b), nn.Conv1d(b, 1, 7, padding=3), nn.Tanh())


def export(model, channels, path):
    with torch.inference_mode():
        torch.onnx.export(
            model, (torch.zeros(1, channels, 32),), path, input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {2: "L"}, "y": {2: "M"}}, opset_version=17, dynamo=False)


def ours(tool, model, chunk, threads, seconds):
    command = [tool, "bench", "--stream", model, "--chunk", str(chunk), "--threads", str(threads), "--json"]
    run = subprocess.run(command + ["--seconds", str(seconds)], capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def theirs(model, channels, frames, seconds):
    """Milliseconds of a piece: the median."""
    x = torch.rand(1, channels, frames) * 2 - 1
    times, end = [], time.perf_counter() + seconds
    with torch.inference_mode():
        for _ in range(5):
            model(x)
        while len(times) < 20 or time.perf_counter() < end:
            start = time.perf_counter()
            model(x)
            times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=".build/release/toeplitz")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    cases = [("HiFi-GAN V1", HiFiGAN(V1), 80), ("HiFi-GAN V3", HiFiGAN(V3), 80), ("DAC's decoder", dac_decoder(), 1024)]
    print("| network | frames | overlap | Toeplitz ms | 99 % | work | cpu 99 %/median | PyTorch ms | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, model, channels in cases:
            model.eval()
            path = f"{folder}/model.onnx"
            export(model, channels, path)
            plan = subprocess.run(
                [arguments.tool, "inspect", path, "--stream"], capture_output=True, text=True, check=True).stdout
            field = int(plan.split("receptive field ")[1].split()[0])
            for chunk in (1, 2, 4, 8):
                rounds = []
                for _ in range(arguments.rounds):
                    report = ours(arguments.tool, path, chunk, arguments.threads, arguments.seconds)
                    rounds.append((report, theirs(model, channels, chunk + field - 1, arguments.seconds)))
                report = min((r for r, _ in rounds), key=lambda r: r["ms"])
                other = min(t for _, t in rounds)
                spread = report.get("cpu_p99_by_median")
                print(
                    f"| {name} | {chunk} | {field - 1} | {report['ms']:.2f} | {report['p99_ms']:.2f} | {report['work_share']:.3f} "
                    f"| {spread:.2f} | {other:.2f} | {other / report['ms']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
