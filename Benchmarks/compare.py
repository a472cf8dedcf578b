#!/usr/bin/env python3
"""Races `toeplitz bench` against PyTorch, ONNX Runtime and OpenVINO on the same convolutions and networks.

The contenders take turns, round after round, with the same number of threads and one at a time, so that a machine that
slows down slows all of them. Quoted are medians over all rounds, and the best peer's time over ours: above 1 we are
faster. With --low it is the tenth percentile: on a machine that others use too, what calls took that met nobody. Before the race every contender's output is compared with the first peer's. Inputs and outputs rotate for all
(see contenders.py).

    pip install -r requirements.txt && swift build -c release --product toeplitz
    python compare.py --numerics invariant,fast --chart ../docs/images/race

With --results FILE the race adds to what the file already holds, so that it can be run in parts.
"""

import argparse
import collections
import json
import math
import os
import pathlib
import statistics
import sys
import tempfile

from cases import all_cases, chosen_cases
from contenders import LIMITS, PEERS, Ours, OnnxRuntime, bench, limit_instructions, make_peers, relative_error

#: How far an output may be from the first peer's, for each unit of its largest magnitude.
TOLERANCE = {"invariant": 1e-4, "fast": 1e-3}


def ours(numerics):
    """The name of our contender."""
    return "toeplitz" if numerics == "invariant" else f"toeplitz.{numerics}"


def race(case, arguments):
    """Medians in milliseconds and relative errors of all contenders."""
    times = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        case.write(folder)
        tools = [Ours(case, arguments.threads, folder, mode) for mode in arguments.numerics]
        peers = make_peers(arguments.peers, case, arguments.threads, tools[0].buffers)
        contenders = peers + tools
        reference = contenders[0].output
        errors = {contender.name: relative_error(contender.output, reference) for contender in contenders}
        for contender in contenders:
            limit = TOLERANCE["fast" if contender.name.endswith("fast") else "invariant"]
            if not errors[contender.name] < limit:
                sys.exit(f"{case.name}: {contender.name} gives another result (error {errors[contender.name]:.2g})")
        for _ in range(arguments.rounds):
            for contender in contenders:
                times[contender.name] += contender.times(arguments.seconds)
    return {
        "case": case.name,
        "family": case.family,
        "transposed": case.transposed,
        "network": case.is_network,
        "gflop": tools[0].operations / 1e9,
        "buffers": tools[0].buffers,
        "threads": arguments.threads,
        "isa": arguments.isa,
        "unlimited": arguments.unlimited,
        "ms": {name: statistics.median(values) for name, values in times.items()},
        "low": {name: sorted(values)[len(values) // 10] for name, values in times.items()},
        "errors": errors,
    }


def quoted(row, low):
    """The row with the times to be quoted as `ms`."""
    return {**row, "ms": row["low"]} if low else row


def best_peer(row):
    """The least time of the peers that use no higher instruction set than we do."""
    fair = [name for name in row["ms"] if name in PEERS and name not in row["unlimited"]]
    return min((row["ms"][name] for name in fair), default=float("nan"))


def ratio(row, numerics):
    """The best peer's time over ours; NaN where either did not run."""
    return best_peer(row) / row["ms"].get(ours(numerics), float("nan"))


def modes(rows):
    """The numeric modes that occur."""
    return [mode for mode in TOLERANCE if any(ours(mode) in row["ms"] for row in rows)]


class Table:
    """Prints rows as they come."""

    def __init__(self, names, numerics, peak):
        self.names, self.numerics, self.peak = names, numerics, peak
        cells = [f"{name:>13}" for name in names]
        for mode in numerics:
            cells.append(f"{mode[:9]:>9} {'GFLOP/s':>8}" + (f" {'peak':>5}" if peak else "") + f" {'error':>8}")
        print(f"{'case':22} {'GFLOP':>8} " + " ".join(cells))

    def add(self, row):
        cells = [f"{row['ms'][n]:13.4f}" if n in row["ms"] else f"{'–':>13}" for n in self.names]
        for mode in self.numerics:
            rate = row["gflop"] / row["ms"].get(ours(mode), float("nan")) * 1e3
            share = f" {100 * rate / self.peak:4.0f}%" if self.peak else ""
            error = row["errors"].get(ours(mode), float("nan"))
            cells.append(f"{ratio(row, mode):9.2f} {rate:8.1f}{share} {error:8.1e}")
        print(f"{row['case']:22} {row['gflop']:8.3f} " + " ".join(cells), flush=True)


def mean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))


def summarize(rows, numerics):
    """Prints the geometric means by family and the cases that we lose."""
    for mode in numerics:
        families = collections.defaultdict(list)
        for row in rows:
            value = ratio(row, mode)
            if math.isnan(value):
                continue
            families[row["family"]].append(value)
            if row["transposed"]:
                families["all transposed"].append(value)
            if not row["network"]:
                families["all convolutions"].append(value)
        print(f"\ngeometric means of the ratio, {mode}")
        for family, ratios in families.items():
            print(f"{family:28} {mean(ratios):6.2f}  (lowest {min(ratios):.2f}, {len(ratios)} cases)")
        slow = [row["case"] for row in rows if ratio(row, mode) < 1]
        print(f"below 1: {', '.join(slow) or 'none'}")


def chart(rows, numerics, path):
    """A bar for each case and mode, as PATH.svg and PATH.png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colors = {"invariant": ("#2a78b5", "#c5523f"), "fast": ("#7fb8dc", "#e3a79b")}
    height = 0.8 / len(numerics)
    figure, axes = pyplot.subplots(figsize=(7, 0.2 * (1 + 0.4 * len(numerics)) * len(rows) + 1))
    for index, mode in enumerate(numerics):
        ratios = [ratio(row, mode) for row in rows]
        places = [place + (index - (len(numerics) - 1) / 2) * height for place in range(len(rows))]
        bars = axes.barh(places, ratios, height, color=[colors[mode][0 if r >= 1 else 1] for r in ratios], label=mode)
        axes.bar_label(bars, [f"{r:.2f}" for r in ratios], fontsize=6, padding=2)
    axes.set_yticks(range(len(rows)), [row["case"] for row in rows])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("best peer's time over ours")
    if len(numerics) > 1:
        handles = [pyplot.Rectangle((0, 0), 1, 1, color=colors[mode][0]) for mode in numerics]
        axes.legend(handles, numerics, loc="lower right", fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(f"{path}.svg")
    figure.savefig(f"{path}.png", dpi=110)


def measured_peak(threads):
    """GFLOP/s of multiply-adds in registers on so many threads."""
    result = bench("--case", "resnet.56.3x3", "--threads", threads, "--seconds", 0.05)[0]
    return result["gflops"] / result["peak_share"]


def save(path, rows):
    """Writes the rows of all cases, aside first, so that an interrupted run leaves the file whole."""
    aside = f"{path}.tmp"
    with open(aside, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    os.replace(aside, path)


def main():
    def list_of(known):
        def parse(text):
            names = [name for name in text.split(",") if name]
            for name in names:
                if name not in known:
                    raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
            return names

        return parse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.15, help="for each contender in each round")
    parser.add_argument("--case", action="append", default=[], help="only this case; may be repeated")
    parser.add_argument("--numerics", type=list_of(TOLERANCE), default=["invariant"], help="invariant,fast for both")
    parser.add_argument("--peers", type=list_of(PEERS), default=list(PEERS), help=",".join(PEERS))
    parser.add_argument("--isa", choices=LIMITS, help="a lower instruction set for us and, where they can, the peers")
    parser.add_argument("--spin", action="store_true", help="let ONNX Runtime's workers spin between calls")
    parser.add_argument("--low", action="store_true", help="quote tenth percentiles, not medians")
    parser.add_argument("--results", help="a JSON file to add the results to")
    parser.add_argument("--report", action="store_true", help="race nobody; table and chart of what --results holds")
    parser.add_argument("--chart", help="write PATH.svg and PATH.png")
    arguments = parser.parse_args()
    arguments.unlimited = limit_instructions(arguments.isa) if arguments.isa else []
    for name in arguments.unlimited:
        print(f"{name} cannot be limited to {arguments.isa} and does not count for the ratio")
    OnnxRuntime.spins = arguments.spin

    rows = {}
    if arguments.results and os.path.exists(arguments.results):
        with open(arguments.results) as file:
            rows = {row["case"]: row for row in json.load(file)}
        other = [row for row in rows.values() if (row["threads"], row["isa"]) != (arguments.threads, arguments.isa)]
        if other:
            sys.exit(f"error: {arguments.results} holds results of {other[0]['threads']} threads, isa {other[0]['isa']}")
    order = [case.name for case in all_cases()]
    cases = [] if arguments.report else chosen_cases(arguments.case)
    peak = measured_peak(arguments.threads)
    print(f"{arguments.threads} threads, multiply-adds in registers {peak:.0f} GFLOP/s; milliseconds, ratio, rate, share")
    if cases:
        table = Table([*arguments.peers, *map(ours, arguments.numerics)], arguments.numerics, peak)
    for case in cases:
        row = race(case, arguments)
        table.add(quoted(row, arguments.low))
        rows[case.name] = row
        if arguments.results:
            save(arguments.results, [rows[name] for name in order if name in rows])
    found = [quoted(rows[name], arguments.low) for name in order if name in rows]
    numerics = modes(found)
    if arguments.report:
        names = [name for name in [*PEERS, *map(ours, numerics)] if any(name in row["ms"] for row in found)]
        table = Table(names, numerics, peak)
        for row in found:
            table.add(row)
    summarize(found, numerics)
    if arguments.chart and found:
        chart(found, numerics, arguments.chart)


if __name__ == "__main__":
    main()
