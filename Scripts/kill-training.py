#!/usr/bin/env python3
"""Kills a run of `toeplitz train` at random moments and starts it again: it must end with the bits of one that nobody disturbs.

    Scripts/kill-training.py [--tool .build/release/toeplitz] [--kills 20] [--seed 1]

SIGKILL comes at moments drawn from the seed, anywhere between the start of the process and what it does in a few times the
interval of checkpoints. A run that ends before it has been killed often enough is compared, and another one begun.
"""

import argparse
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import training_runs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=".build/release/toeplitz")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--shards", type=int, default=1)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        training_runs.write_bars(folder / "bars")
        command = [arguments.tool, "train", "classifier", "--data", str(folder / "bars"), "--epochs", str(arguments.epochs),
                   "--batch-size", "32", "--checkpoint-every", "2", "--shards", str(arguments.shards), "--quiet", "--out"]
        start = time.monotonic()
        subprocess.run([*command, str(folder / "whole")], check=True, stdout=subprocess.DEVNULL)
        whole = time.monotonic() - start
        last = training_runs.steps(folder / "whole")
        print(f"undisturbed: {last} steps in {whole:.1f} s, a checkpoint every 2 steps and at the end of each epoch")
        kills, runs, problems, places, halves = 0, 0, [], [], 0
        while kills < arguments.kills or runs == 0 or places:
            out = folder / f"killed-{runs}"
            process = subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL)
            if kills < arguments.kills:
                try:
                    process.wait(draw.uniform(0, 1.6 * whole / arguments.kills))
                except subprocess.TimeoutExpired:
                    process.kill()
            status = process.wait()
            if status == -9:
                kills += 1
                places.append(training_runs.steps(out))
                # What is half written has a name of its own.
                halves += out.is_dir() and any(path.suffix == ".tmp" for path in out.iterdir())
                continue
            differ = training_runs.differences(out, folder / "whole", ("model.safetensors", "best.safetensors", "metrics.jsonl"))
            print(f"run {runs}: killed {len(places)} times, at steps {places}; "
                  + (f"DIFFERS in {differ}" if differ or status else "weights and metrics are the same to the bit"))
            problems += differ or ([f"status {status}"] if status else [])
            runs, places = runs + 1, []
        print(f"{kills} kills in {runs} runs, {halves} of them while a file was written: {len(problems)} differences")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
