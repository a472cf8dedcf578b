#!/usr/bin/env python3
"""Races two builds of the tool, such as those before and after a change, case by case in turns.

    Benchmarks/builds.py BEFORE AFTER [--rounds 3] [--seconds 0.15] [--numerics invariant] [--case NAME ...]

prints for each case the least median of both in milliseconds, and their ratio (below 1: AFTER is faster), then the
geometric mean.
"""
import argparse, json, math, subprocess


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.15)
    parser.add_argument("--numerics", default="invariant")
    parser.add_argument("--threads")
    parser.add_argument("--case", action="append")
    options = parser.parse_args()
    names = options.case or [
        json.loads(line)["name"] for line in output(options.after, "--list").splitlines()
    ]
    ratios = []
    for name in names:
        arguments = ["--case", name, "--json", "--no-machine", "--numerics", options.numerics]
        arguments += ["--seconds", str(options.seconds)]
        if options.threads:
            arguments += ["--threads", options.threads]
        least = [math.inf, math.inf]
        for turn in range(options.rounds):
            # Who comes first changes, so that neither always finds the machine warm.
            for which in (0, 1) if turn % 2 == 0 else (1, 0):
                line = output([options.before, options.after][which], *arguments)
                least[which] = min(least[which], json.loads(line)["ms"])
        ratios.append(least[1] / least[0])
        print(f"{name:24} {least[0]:10.4f} {least[1]:10.4f} {ratios[-1]:7.3f}", flush=True)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"{'geometric mean':24} {'':21} {mean:7.3f}   worst {max(ratios):.3f}")


def output(tool, *arguments):
    return subprocess.run([tool, "bench", *arguments], check=True, capture_output=True, text=True).stdout


main()
