#!/usr/bin/env python3
"""Races steps of training (forward, backward, AdamW) against PyTorch eager and torch.compile, taking turns.

    python3 Benchmarks/training.py --tool .build/release/toeplitz --threads 2 --compile --numerics invariant,fast

Each contender is a process of its own, so that its peak memory can be told; memory is what the resident set has at its
peak beyond what it had before the model was made (libraries loaded, nothing computed).
"""

import argparse
import os
import re
import statistics
import subprocess
import sys

V3 = {"resblock": "2", "upsample_rates": [8, 8, 4], "upsample_kernel_sizes": [16, 16, 8], "upsample_initial_channel": 256,
      "resblock_kernel_sizes": [3, 5, 7], "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]]}
NAMES = ("hifigan", "resnet18", "unet")


def resident(field):
    """Megabytes of this process, at the moment (VmRSS) or at most so far (VmHWM)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) * 1024 / 1e6


def network(name):
    """A network in training mode, its input and the loss of its output."""
    import torch
    import torch.nn.functional as functional
    from networks import HiFiGAN, UNet

    if name == "resnet18":
        import torchvision

        labels = torch.arange(16) * 60
        return torchvision.models.resnet18(), torch.randn(16, 3, 64, 64), lambda y: functional.cross_entropy(y, labels)
    if name == "unet":
        labels = torch.randint(0, 2, (4, 128, 128))
        return UNet(), torch.randn(4, 3, 128, 128), lambda y: functional.cross_entropy(y, labels)
    target = torch.randn(8, 1, 8192)
    generator = HiFiGAN(V3)
    for module in generator.modules():
        if isinstance(module, (torch.nn.Conv1d, torch.nn.ConvTranspose1d)):
            torch.nn.utils.parametrizations.weight_norm(module)
    return generator, torch.randn(8, 80, 32), lambda y: functional.l1_loss(y, target)


def serve(name, threads, compiles):
    """Times as many steps as each line of the standard input says, and prints their milliseconds and the peak memory."""
    import time

    import torch
    import torchvision  # noqa: F401, part of what was there before

    torch.set_num_threads(threads)
    start = resident("VmRSS")
    model, x, loss = network(name)
    model.train()
    run = torch.compile(lambda: loss(model(x))) if compiles else lambda: loss(model(x))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        run().backward()
        optimizer.step()

    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            begin = time.perf_counter()
            step()
            times.append((time.perf_counter() - begin) * 1000)
        print(*times, resident("VmHWM") - start, flush=True)


class PyTorch:
    """A process that trains with PyTorch as long as this object lives."""

    def __init__(self, name, options, compiles):
        command = [sys.executable, os.path.abspath(__file__), "--serve", name, "--threads", str(options.threads)]
        self.process = subprocess.Popen(
            command + ["--compile"] * compiles, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def steps(self, count):
        """Milliseconds of each step, and megabytes at the peak so far."""
        print(count, file=self.process.stdin, flush=True)
        *times, memory = (float(number) for number in self.process.stdout.readline().split())
        return times, memory

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def toeplitz(name, options, numerics):
    """The median milliseconds of the steps of a run of the tool, and megabytes at its peak."""
    command = [options.tool, "train", "time", name, "--threads", str(options.threads), "--steps", str(options.steps)]
    environment = dict(os.environ, TOEPLITZ_NUMERICS=numerics)
    text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return tuple(float(re.search(rf"([\d.]+) {unit}", text).group(1)) for unit in ("ms a step", "MB at the peak"))


def race(name, options):
    others = {"PyTorch": PyTorch(name, options, False)}
    if options.compile:
        others["torch.compile"] = PyTorch(name, options, True)
    ours = [f"Toeplitz {numerics}" for numerics in options.numerics.split(",")]
    times = {contender: [] for contender in [*others, *ours]}
    memory = dict.fromkeys(times, 0)
    for other in others.values():
        other.steps(2)
    for _ in range(options.rounds):
        for contender, other in others.items():
            other.steps(1)
            steps, memory[contender] = other.steps(options.steps)
            times[contender].append(statistics.median(steps))
        for contender in ours:
            step, peak = toeplitz(name, options, contender.split()[-1])
            times[contender].append(step)
            memory[contender] = max(memory[contender], peak)
    for other in others.values():
        other.close()
    print(f"{name}:")
    for contender in times:
        line = f"  {contender:20} {statistics.median(times[contender]):8.1f} ms a step, {memory[contender]:6.0f} MB"
        if contender in ours:
            # Of each round by itself: what else the machine did then, it did to all.
            ratios = [statistics.median(a / b for a, b in zip(times[other], times[contender])) for other in others]
            line += "; " + ", ".join(f"{ratio:.2f} times {other}" for ratio, other in zip(ratios, others))
        print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=".build/release/toeplitz")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="steps of each round")
    parser.add_argument("--networks", default=",".join(NAMES))
    parser.add_argument("--numerics", default="invariant", help="invariant, fast or both, separated by a comma")
    parser.add_argument("--compile", action="store_true", help="race torch.compile too, which needs a C++ compiler")
    parser.add_argument("--serve", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, options.threads, options.compile)
    for name in options.networks.split(","):
        race(name, options)


if __name__ == "__main__":
    main()
