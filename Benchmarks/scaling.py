#!/usr/bin/env python3
"""How much faster two threads are than one, for every case that takes more than a millisecond on one.

Both take turns. Needs as many free processors as the larger number of threads.
"""

import argparse
import statistics

from cases import chosen_cases
from contenders import bench


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2, help="for each number of threads in each round")
    parser.add_argument("--numerics", choices=("invariant", "fast"), default="invariant")
    parser.add_argument("--case", action="append", default=[], help="only this case; may be repeated")
    arguments = parser.parse_args()

    def times(case, threads, seconds):
        options = ["--threads", threads, "--numerics", arguments.numerics, "--no-machine", "--times"]
        return bench("--case", case.name, *options, "--seconds", seconds)[0]["times_ms"]

    print(f"{'case':22} {'1 thread':>11} {f'{arguments.threads} threads':>11} {'ratio':>7}")
    ratios = []
    for case in chosen_cases(arguments.case):
        if statistics.median(times(case, 1, 0.02)) < 1:
            continue
        found = {1: [], arguments.threads: []}
        for _ in range(arguments.rounds):
            for threads, values in found.items():
                values += times(case, threads, arguments.seconds)
        one, many = (statistics.median(values) for values in found.values())
        ratios.append(one / many)
        print(f"{case.name:22} {one:11.4f} {many:11.4f} {one / many:7.2f}", flush=True)
    if ratios:
        print(f"lowest {min(ratios):.2f}, median {statistics.median(ratios):.2f}, {len(ratios)} cases")


if __name__ == "__main__":
    main()
