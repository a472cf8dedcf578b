#!/usr/bin/env python3
"""Checks training on several processes: the same bits on 1, 2 and 4, a killed process ends the job, and the job goes on.

    Scripts/check-mpi.py [--tool toeplitz-built-with-MPI]

Builds the tool with the package trait MPI unless it is given one. Needs Debian's libopenmpi-dev and openmpi-bin; says so and ends well
where they are missing.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import training_runs

ROOT = pathlib.Path(__file__).resolve().parent.parent
# mpirun refuses root, whom containers run everything as.
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
failures = []


def expect(condition, what):
    print(f"{'ok' if condition else 'FAILED'}: {what}", flush=True)
    if not condition:
        failures.append(what)


def has_headers():
    program = "#if !(__has_include(<mpi.h>) || __has_include(<mpi/mpi.h>) || __has_include(<openmpi/mpi.h>))\n#error\n#endif\n"
    return subprocess.run(["clang", "-fsyntax-only", "-x", "c", "-"], input=program, text=True,
                          stderr=subprocess.DEVNULL).returncode == 0


def build():
    command = ["swift", "build", "--package-path", str(ROOT), "--scratch-path", str(ROOT / ".build/mpi"),
               "--traits", "default,MPI", "--product", "toeplitz"]
    built = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    warned = [line for line in built.stdout.splitlines() if "warning:" in line and "/checkouts/" not in line]
    if built.returncode != 0 or warned:
        sys.exit("\n".join(warned) or built.stdout[-4000:])
    return ROOT / ".build/mpi/debug/toeplitz"


def mpirun(count, command):
    return ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(count), *command]


def run(command):
    return subprocess.run(command, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)


def status(process):
    """State and parent of a process; nothing if there is none, or only its entry."""
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    state, parent = text[text.rindex(")") + 2:].split()[:2]
    return None if state in "ZX" else (state, int(parent))


def children(process):
    numbers = [int(entry.name) for entry in pathlib.Path("/proc").glob("[0-9]*")]
    return sorted(number for number in numbers if (found := status(number)) and found[1] == process)


def wait_for(processes, seconds=10):
    """Those that are still there afterwards."""
    end = time.monotonic() + seconds
    while (left := [process for process in processes if status(process)]) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def check_bits(name, command, folder, counts, shards):
    """One run without mpirun, and others on several processes."""
    wanted = folder / f"{name}-alone"
    alone = run([*command, "--out", str(wanted), "--shards", str(shards), "--quiet"])
    expect(alone.returncode == 0, f"{name}: {shards} shards on one process {alone.stderr[-500:]}")
    for count in counts:
        out = folder / f"{name}-{count}"
        shared = run(mpirun(count, [*command, "--out", str(out), "--shards", str(shards), "--distributed"]))
        sent = next((line for line in shared.stderr.splitlines() if "MB a step" in line), "nothing sent")
        expect(shared.returncode == 0 and not training_runs.differences(out, wanted),
               f"{name}: the same bits on {count} processes, {sent} {shared.stderr[-500:] if shared.returncode else ''}")


def check_kills(command, folder):
    """A process is killed again and again; the job goes on with another number of them."""
    wanted, out = folder / "classifier-alone", folder / "killed"
    last = training_runs.steps(wanted)
    for round, (count, victim) in enumerate([(4, 2), (2, 0), (4, 3)]):
        until = last * (round + 1) // 4
        job = subprocess.Popen(mpirun(count, [*command, "--out", str(out), "--distributed", "--quiet"]), env=ENVIRONMENT,
                               text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + 120
        while training_runs.steps(out) < until and job.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        processes = children(job.pid)
        if len(processes) == count:
            os.kill(processes[victim], signal.SIGKILL)
        try:
            errors = job.communicate(timeout=60)[1]
        except subprocess.TimeoutExpired:
            job.kill()
            errors = job.communicate()[1]
        left = wait_for(processes)
        expect(job.returncode not in (0, None) and errors.count("exited on signal 9") == 1 and not left,
               f"process {victim} of {count} killed near step {until} of {last}: the job ends, saying so once "
               f"{f'but {left} go on' if left else ''}")
    done = run([*command, "--out", str(out), "--shards", "8", "--quiet"])
    expect(done.returncode == 0 and not training_runs.differences(out, wanted),
           f"resumed on one process: the same bits {done.stderr[-500:]}")


def check_refusals(command, folder):
    three = run(mpirun(3, [*command, "--out", str(folder / "three"), "--distributed"]))
    expect(three.returncode != 0 and three.stderr.count("error: ") == 1 and "power of two" in three.stderr,
           "3 processes are refused, by one of them")
    other = [*command, "--out", str(folder / "seeds"), "--distributed", "--seed"]
    seeds = run(mpirun(1, [*other, "1", ":", "-n", "1", *other, "2"]))
    expect(seeds.returncode != 0 and seeds.stderr.count("error: ") == 1 and "seed 1" in seeds.stderr,
           "different seeds are refused, by one of them")
    missing = run(mpirun(4, [*command, "--data", str(folder / "nothing.npz"), "--out", str(folder / "none"), "--distributed"]))
    expect(missing.returncode != 0 and missing.stderr.count("error: ") == 1, "a missing file is told of once")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool")
    arguments = parser.parse_args()
    if not shutil.which("mpirun") or not has_headers():
        print("training over MPI: skipped (needs Debian's libopenmpi-dev and openmpi-bin)")
        return 0
    tool = str(arguments.tool or build())
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        training_runs.write_bars(folder / "bars")
        training_runs.write_sounds(folder / "sounds")
        classifier = [tool, "train", "classifier", "--data", str(folder / "bars"), "--epochs", "8", "--batch-size", "32",
                      "--checkpoint-every", "3", "--threads", "1"]
        check_bits("classifier", classifier, folder, [1, 2, 4], 8)
        check_kills(classifier, folder)
        check_refusals(classifier, folder)
        sounds = ["--data", str(folder / "sounds"), "--validation", str(folder / "sounds"), "--batch-size", "4", "--threads", "1"]
        check_bits("denoiser", [tool, "train", "denoiser", *sounds, "--epochs", "1"], folder, [4], 4)
        vocoder = [tool, "train", "vocoder", *sounds, "--epochs", "1", "--segment", "2048", "--divisor", "8"]
        check_bits("vocoder", vocoder, folder, [2], 2)
    print(f"training over MPI: {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
