#!/usr/bin/env python3
"""Makes a speech data set with espeak-ng: OUT/train, OUT/held-out (other sentences, the same voices) and
OUT/held-out-voice (a voice that is never trained with).

    apt-get install espeak-ng
    Scripts/make-speech.py speech --sentences 600

Sentences are built from words at random, from a seed, so that everybody gets the same ones. espeak-ng writes 22.05 kHz, 16 bits.
"""

import argparse
import concurrent.futures
import pathlib
import random
import subprocess

VOICES = ["en-us", "en-gb", "en-gb-scotland", "en-us+f2", "en-gb+f4", "en-us+m3", "en-gb+m5", "en-gb-x-rp"]
HELD_OUT_VOICE = "en-us+f5"

SUBJECTS = ("the old man|a young woman|my brother|their teacher|the quick fox|every child|our neighbour|the captain|"
            "a quiet student|the river|that machine|the committee|her sister|an engineer|the weather|some people").split("|")
VERBS = ("watches|carries|remembers|builds|follows|describes|opens|throws|measures|questions|finishes|repairs|"
         "discovers|imagines|paints|forgets").split("|")
OBJECTS = ("a heavy box|the blue house|seven letters|the broken clock|an unusual story|fresh bread|the long bridge|"
           "a small garden|the wrong answer|their journey|a piece of music|the last page|nothing at all|"
           "three wooden chairs|the moon and the stars|a cup of tea").split("|")
ENDS = ("in the morning|without a word|before the rain|at the station|for the first time|near the harbour|"
        "after breakfast|with great joy|on the other side|while everyone sleeps|because it is Thursday|"
        "as usual|under the trees|during the winter|in a strange voice|again and again").split("|")


def sentence(source: random.Random) -> str:
    parts = [source.choice(words) for words in (SUBJECTS, VERBS, OBJECTS, ENDS)]
    return " ".join(parts).capitalize() + source.choice(".....!?")


def speak(job) -> None:
    path, voice, text, speed, pitch = job
    subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(path), text], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--sentences", type=int, default=600, help="how many are trained with")
    parser.add_argument("--held-out", type=int, default=50, help="how many are held out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    source = random.Random(options.seed)
    texts = []
    while len(texts) < options.sentences + options.held_out:
        text = sentence(source)
        if text not in texts:
            texts.append(text)
    jobs = []
    for folder, part, voices in [("train", texts[options.held_out:], VOICES),
                                 ("held-out", texts[:options.held_out], VOICES),
                                 ("held-out-voice", texts[:options.held_out], [HELD_OUT_VOICE])]:
        (options.out / folder).mkdir(parents=True, exist_ok=True)
        for index, text in enumerate(part):
            path = options.out / folder / f"{index:04}.wav"
            jobs.append((path, voices[index % len(voices)], text, source.randint(140, 190), source.randint(35, 65)))
            (path.with_suffix(".txt")).write_text(text + "\n")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(speak, jobs))
    print(f"{options.out}: {len(jobs)} recordings")


if __name__ == "__main__":
    main()
