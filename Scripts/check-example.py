#!/usr/bin/env python3
"""Checks that CONTRIBUTING's worked example of an operation is what stands in the sources, in at most six files.

Each code block of the section belongs to the file that was named last before it, and must stand there line by line.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMIT = 6


def main():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = re.search(r"^## To add an operation.*?(?=^## )", text, re.M | re.S).group(0)
    files, problems, blocks = [], [], 0
    pattern = re.compile(r"`((?:Sources|Tests)/[^`]*\.swift)`:|^( *)```swift\n(.*?)^ *```", re.M | re.S)
    for match in pattern.finditer(section):
        if match.group(1):
            if match.group(1) not in files:
                files.append(match.group(1))
            continue
        blocks += 1
        indent = len(match.group(2))
        lines = [line[indent:].strip() for line in match.group(3).splitlines()]
        source = [line.strip() for line in (ROOT / files[-1]).read_text().splitlines()]
        joined, wanted = "\n".join(source), "\n".join(lines)
        if wanted not in joined:
            problems.append(f"{files[-1]} has no such lines:\n{wanted}")
    if len(files) > LIMIT or len(files) < 4 or blocks < len(files):
        problems.append(f"the example takes {len(files)} files and {blocks} pieces of code; at most {LIMIT} files")
    if problems:
        sys.exit("\n".join(problems))
    print(f"the example of CONTRIBUTING takes {len(files)} files, as they stand in the sources")


main()
