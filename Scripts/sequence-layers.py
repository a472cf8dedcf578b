#!/usr/bin/env python3
"""Makes random stacks of layers in Google's sequence-layers, and compares what it computes and tells with Toeplitz.

    Scripts/sequence-layers.py [--tool .build/release/toeplitz] [--count 300] [--first 0] [--jobs 1] [--keep FOLDER]

Needs the Python packages sequence-layers (0.2, in JAX on a CPU), numpy and onnx. Stack number i is the same each time: some
layers that both have (convolutions, transposed convolutions, pooling, frames and their sums, up- and downsampling, dense layers,
activations, gated units, layer normalisation, LSTMs, residual and parallel branches, delays and look-ahead), with random strides,
dilations, groups and paddings. The same weights are written as an ONNX model. Compared are

- outputs: of all layers at once, of steps of a block each, and of Toeplitz's offline run, within 1e-6 of the largest output (or
  of 1); Toeplitz's run in pieces of a random length must have the bits of its offline run;
- block size and output ratio;
- `receptive_field_per_step`: first and last input position for each output position of a block. Where they differ, what a
  change of each input position changes in sequence-layers' own outputs decides;
- `output_latency` with `latency`, and `input_latency` with `lookahead`, which are defined differently: see `View`.

Stacks that differ are printed and kept in FOLDER. Of four stacks one has layers that sequence-layers cannot step (`same` and
`valid` padding); all but latencies are compared of it.
"""

import argparse
import collections
import fractions
import json
import math
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import sequence_layers.jax as sl

from sequence_parts import Graph, View
from sequence_stacks import Draw

TOLERANCE = 1e-6
# Inputs that probing for a receptive field takes at most on either side.
MOST_FIELD = 400


class Reference:
    """What sequence-layers computes and tells of a stack."""

    def __init__(self, config, channels, steps, length):
        self.layer = config.make()
        shape = jax.ShapeDtypeStruct((channels,), jnp.float32)
        self.shape = shape
        start = sl.Sequence.from_values(jnp.zeros((1, length, channels)))
        self.variables = self.layer.init(jax.random.PRNGKey(0), start, training=False)
        bound = self.layer.bind(self.variables)
        self.block, self.ratio = bound.block_size, bound.output_ratio
        self.steps = steps and bound.supports_step
        self.input_latency = self.output_latency = None
        if self.steps:
            self.output_latency = bound.output_latency
            try:
                self.input_latency = bound.input_latency
            except ValueError as error:
                # Counted backwards, the branches of a sum have unequal latencies once a stride rounds one of them up.
                if "latency" not in str(error):
                    raise
        self.fields = bound.receptive_field_per_step
        self.initial = lambda: bound.get_initial_state(1, shape, training=False)
        self.whole = jax.jit(lambda x: self.layer.apply(self.variables, x, training=False, method="layer"))
        self.step = jax.jit(lambda x, state: self.layer.apply(self.variables, x, state, training=False, method="step"))

    def offline(self, x):
        y = self.whole(sl.Sequence.from_values(jnp.asarray(x)))
        return np.asarray(y.values), np.asarray(y.mask)

    def stepwise(self, x):
        """Steps of a block, over what `input_latency` adds as well, without what `output_latency` tells to leave out."""
        ahead = 4 * self.block * (self.output_latency + 1) if self.input_latency is None else self.input_latency
        sequence = sl.Sequence.from_values(jnp.asarray(x)).pad_time(0, ahead, valid=False)
        sequence = sequence.pad_to_multiple(self.block)
        state, ys = self.initial(), []
        for start in range(0, sequence.shape[1], self.block):
            y, state = self.step(sequence[:, start : start + self.block], state)
            ys.append(np.asarray(y.values))
        return np.concatenate(ys, axis=1)[:, self.output_latency :]

    def probed(self, span, count):
        """First and last input position that outputs of a block read, found by what changes it."""
        middle = -(-span // self.block) * self.block
        length = 2 * middle + (1 + self.block) * self.block
        x = np.random.default_rng(0).normal(size=(1, length, self.shape.shape[0])).astype(np.float32)
        x = np.repeat(x, length + 1, axis=0)
        reached = False
        # Some of XLA's functions make numbers of NaN, and extremes may hide one that is not large.
        for value in (np.nan, 1e3, -1e3):
            x[np.arange(length), np.arange(length)] = value
            y = self.offline(x)[0]
            reached |= ~(np.abs(y - y[-1]) <= 1e-5).all(axis=2)
        first = int(middle * self.ratio)
        fields = []
        for phase in range(count):
            read = np.nonzero(reached[:length, first + phase])[0] - middle - int(phase // self.ratio)
            fields.append([int(read[0]), int(read[-1])] if len(read) else None)
        return fields


def same_fields(ours, theirs):
    """Whether they are equal; of what reads all that has been (a recurrent layer) only the ends are compared."""
    if (ours is None) != (theirs is None):
        return False
    return ours is None or ((theirs[0] == -math.inf or ours[0] == theirs[0]) and ours[1] == theirs[1])


class Tool:
    def __init__(self, path, folder):
        self.path, self.folder = path, pathlib.Path(folder)

    def call(self, *arguments):
        result = subprocess.run(
            [self.path, *map(str, arguments), "--threads", "1"], capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(result.stderr.strip())
        return result.stdout

    def plan(self, draw, part, view):
        path = self.folder / f"{view.value}.onnx"
        Graph(view).model(part, draw.inputs, path)
        return json.loads(self.call("inspect", path, "--stream", "--json"))

    def run(self, x, *extra):
        np.save(self.folder / "x.npy", x.transpose(0, 2, 1))
        self.call("run", self.folder / "network.onnx", "--input", f"x={self.folder / 'x.npy'}", "--output-dir", self.folder, *extra)
        return np.load(self.folder / "y.npy").transpose(0, 2, 1)


def compare(seed, path, folder):
    """Compares stack number `seed`.

    Returns its description, what differs, what differs for a known reason, largest differences of outputs, and what was compared.
    """
    draw = Draw(seed)
    part = draw.stack()
    faults, notes, counts = [], collections.Counter(), collections.Counter()
    label = f"{seed}: {draw.inputs} channels → {part.label}"
    tool, reference = Tool(path, folder), Reference(part.config, draw.inputs, draw.steps, 20 * draw.block)
    try:
        plan = tool.plan(draw, part, View.NETWORK)
    except RuntimeError as error:
        return label, [f"refused: {error}"], notes, {}, counts

    def expect(name, ours, theirs):
        counts[name] += 1
        if ours != theirs:
            faults.append(f"{name}: {ours}, sequence-layers {theirs}")

    expect("block size", plan["block"], reference.block)
    expect("output ratio", fractions.Fraction(*plan["output_ratio"]), reference.ratio)
    fields, theirs = plan["receptive_fields"], reference.fields
    count = math.lcm(len(fields), len(theirs))
    counts["receptive field"] += 1
    counts["positions' receptive fields"] += len(fields)
    ours, theirs = ([told[i % len(told)] for i in range(count)] for told in (fields, theirs))
    if not all(map(same_fields, ours, theirs)):
        span = max([1, *(abs(end) for field in fields if field for end in field)])
        probed = reference.probed(span, count) if span <= MOST_FIELD else None
        # Of what reads all that has been, probing and sequence-layers tell no beginning.
        begins = [field is None or field[0] > -math.inf for field in theirs]
        if probed and all(map(same_fields, ours, [
            field if field is None or begin else (-math.inf, field[1]) for field, begin in zip(probed, begins)])):
            notes["receptive field: sequence-layers tells another, probing its own outputs finds ours"] += 1
        else:
            faults.append(f"receptive field: {ours}, sequence-layers {theirs}, probing {probed}")

    # Outputs. Their lengths are those of the valid positions.
    blocks = reference.block
    length = blocks * draw.random.randint(-(-150 // blocks), -(-300 // blocks))
    if not part.whole:
        length += draw.random.randrange(blocks)
    x = draw.normal(1, length, draw.inputs)
    values, mask = reference.offline(x)
    valid = np.nonzero(mask[0])[0]
    end = int(valid[-1]) + 1 if len(valid) else 0
    whole = tool.run(x)
    chunked = tool.run(x, "--chunk", draw.random.randint(1, 3 * blocks + 5))
    counts["outputs"] += 1
    differences = {}
    if not np.array_equal(whole, chunked):
        faults.append("pieces have not the bits of the whole")
    if whole.shape[1] != end:
        faults.append(f"{whole.shape[1]} outputs for {length} inputs, sequence-layers {end}")
    elif end:
        scale = max(1.0, float(np.abs(values[:, valid]).max()))

        def differ(name, other):
            differences[name] = float(np.abs(whole[:, valid] - other[:, valid]).max()) / scale
            if not differences[name] <= TOLERANCE:
                faults.append(f"outputs differ by {differences[name]:.1e} from {name}")

        differ("layer", values)
        if reference.steps:
            steps = reference.stepwise(x)
            own = float(np.abs(steps[:, valid] - values[:, valid]).max()) / scale
            counts["outputs of steps"] += 1
            if own > 1e-4 and "causal_valid" in part.label:
                # Its steps mark as valid what a `reverse_causal_valid` layer gives before it has a whole window, and the layers
                # behind take that into their context; `causal_valid` layers behind a latency mark the first outputs as not valid.
                notes["steps: sequence-layers' own layers differ from them as well"] += 1
            else:
                differ("step", steps)

    # Latencies
    if reference.steps != draw.steps:
        faults.append("cannot be stepped")
    if reference.steps:
        # Toeplitz gives at once what a delay puts in front, so it is ahead by as much; sequence-layers has both results begin so.
        latency, theirs = plan["latency"] + draw.front, reference.output_latency
        if draw.aligned:
            notes["output latency: sequence-layers needs delays that align strides"] += 1
            notes["output latency: of these, ours is less"] += latency < theirs
            if latency > theirs:
                faults.append(f"latency {latency}, sequence-layers {theirs}")
        else:
            expect("output latency, as it is", latency, theirs)
        expect("output latency", tool.plan(draw, part, View.DELAYS)["latency"] + draw.front, theirs)
        lookahead, theirs = tool.plan(draw, part, View.DECLARED)["lookahead"], reference.input_latency
        if theirs is None:
            notes["input latency: sequence-layers refuses to tell it, as branches differ"] += 1
        elif lookahead < theirs and draw.rounds:
            # Counted backwards, it is rounded up to whole positions where a layer upsamples, and a stride in front multiplies that.
            notes["input latency: sequence-layers rounds up"] += 1
        else:
            expect("input latency", lookahead, theirs)
    return label, faults, notes, differences, counts


def compare_in_folder(arguments):
    seed, tool, keep = arguments
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = compare(seed, tool, folder)
        except Exception as error:  # what one of them refuses is told with the stack's number
            result = f"{seed}", [f"{type(error).__name__}: {str(error)[:600]}"], {}, {}, {}
        if result[1] and keep:
            for file in pathlib.Path(folder).glob("*"):
                target = pathlib.Path(keep) / f"{seed}-{file.name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=".build/release/toeplitz")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep")
    arguments = parser.parse_args()
    failures, equal = 0, 0
    largest, notes, counts = collections.Counter(), collections.Counter(), collections.Counter()
    seeds = [(arguments.first + i, arguments.tool, arguments.keep) for i in range(arguments.count)]
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        for label, faults, noted, differences, counted in pool.imap(compare_in_folder, seeds):
            counts.update(counted)
            notes.update(noted)
            equal += not faults and not noted
            for name, difference in differences.items():
                largest[name] = max(largest[name], difference)
            if faults:
                failures += 1
                print(label, *(f"\n    {fault}" for fault in faults), flush=True)
    for name, count in counts.items():
        print(f"{count} compared: {name}")
    for name, count in notes.items():
        print(f"{count} of {name}")
    for name, difference in largest.items():
        print(f"largest difference from {name}: {difference:.1e}")
    print(f"{arguments.count} stacks, {equal} equal in everything, {failures} differ for no known reason")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
