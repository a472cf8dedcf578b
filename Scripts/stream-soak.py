#!/usr/bin/env python3
"""Streams an hour of sound through the bundled vocoder: memory stays flat, and the last minute is as right as any.

Noise goes into `toeplitz vocode --stream` through a pipe. The resident memory of the process is read every few seconds, and the
samples of the last minute are compared, bit for bit, with those of an offline run over that minute and what it depends on.

    Scripts/stream-soak.py --tool .build/release/toeplitz [--hours 1]
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import wave

import numpy as np

HOP, RATE, CONTEXT = 256, 22050, 64


def resident(process):
    with open(f"/proc/{process}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=".build/release/toeplitz")
    parser.add_argument("--hours", type=float, default=1)
    arguments = parser.parse_args()
    minute = 60 * RATE // HOP
    blocks = max(2, int(arguments.hours * 60))
    random = np.random.default_rng(1)
    recent = []
    options = [arguments.tool, "vocode", "--stream", "--raw", "s16", "--rate", str(RATE), "-", "-o", "-", "--quiet"]
    stream = subprocess.Popen(options, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def feed():
        for _ in range(blocks):
            block = (random.standard_normal(minute * HOP) * 3000).astype("<i2")
            recent.append(block)
            del recent[:-2]
            stream.stdin.write(block.tobytes())
        stream.stdin.close()

    threading.Thread(target=feed).start()
    tail, total, memory = b"", 0, []
    while piece := stream.stdout.read(minute * HOP * 2):
        total += len(piece)
        tail = (tail + piece)[-minute * HOP * 2 :]
        try:
            memory.append(resident(stream.pid))
        except (StopIteration, FileNotFoundError):
            pass
    if stream.wait():
        sys.exit("the stream failed")
    assert total == blocks * minute * HOP * 2, total
    with tempfile.TemporaryDirectory() as folder:
        with wave.open(f"{folder}/in.wav", "wb") as sound:
            sound.setparams((1, 2, RATE, 0, "NONE", ""))
            sound.writeframes(np.concatenate(recent)[-(minute + CONTEXT) * HOP :].tobytes())
        # Without --stream: window after window of the whole.
        subprocess.run([arguments.tool, "vocode", f"{folder}/in.wav", "-o", f"{folder}/out.wav", "--quiet"], check=True)
        with wave.open(f"{folder}/out.wav") as sound:
            whole = sound.readframes(sound.getnframes())
    same = whole[-len(tail) :] == tail
    # The end computes patterns of its own, which are compiled: the last reading is left out.
    going = memory[:-1]
    tenth = max(1, len(going) // 10)
    first, last = max(going[tenth : 2 * tenth + 1]), max(going[-tenth:])
    print(
        f"{blocks * minute * HOP / RATE / 3600:.2f} h of sound; resident {first:.1f} MB after a tenth, {last:.1f} MB in the last tenth; "
        f"last minute {'equal' if same else 'NOT EQUAL'} bit for bit")
    sys.exit(0 if same and last <= first * 1.02 + 1 else 1)


if __name__ == "__main__":
    main()
