#!/usr/bin/env python3
"""Races steps of training (forward, backward, AdamW) against PyTorch eager, taking turns.

    python3 Benchmarks/training.py --tool .build/release/toeplitz --threads 2
"""

import argparse
import re
import statistics
import subprocess
import time

import torch
import torch.nn.functional as functional
import torchvision

from networks import HiFiGAN

V3 = {"resblock": "2", "upsample_rates": [8, 8, 4], "upsample_kernel_sizes": [16, 16, 8], "upsample_initial_channel": 256,
      "resblock_kernel_sizes": [3, 5, 7], "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]]}


def networks():
    resnet = torchvision.models.resnet18()
    labels = torch.arange(16) * 60
    yield "resnet18", resnet, torch.randn(16, 3, 64, 64), lambda y: functional.cross_entropy(y, labels)
    target = torch.randn(8, 1, 8192)
    generator = HiFiGAN(V3)
    for module in generator.modules():
        if isinstance(module, (torch.nn.Conv1d, torch.nn.ConvTranspose1d)):
            torch.nn.utils.parametrizations.weight_norm(module)
    yield "hifigan", generator, torch.randn(8, 80, 32), lambda y: functional.l1_loss(y, target)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, model, x, loss in networks():
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

        def step():
            optimizer.zero_grad(set_to_none=True)
            loss(model(x)).backward()
            optimizer.step()

        ours, theirs = [], []
        for _ in range(options.rounds):
            for _ in range(2):
                step()
            times = []
            for _ in range(10):
                start = time.perf_counter()
                step()
                times.append(time.perf_counter() - start)
            theirs.append(statistics.median(times) * 1000)
            text = subprocess.run(
                [options.tool, "train", "time", name, "--threads", str(options.threads)], capture_output=True, text=True,
                check=True).stdout
            ours.append(float(re.search(r"([\d.]+) ms a step", text).group(1)))
        a, b = statistics.median(theirs), statistics.median(ours)
        print(f"{name}: PyTorch {a:.1f} ms, Toeplitz {b:.1f} ms a step: {a / b:.2f} times as fast")


if __name__ == "__main__":
    main()
