#!/usr/bin/env python3
"""Checks that sources import only what Package.swift lets their target use, and that files stay readable.

A downward import that skips a declared dependency compiles in SwiftPM if it is reachable through another one, so the
compiler alone does not keep the layers apart.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MOST_LINES = 400
SYSTEM = {"Foundation", "FoundationEssentials", "Synchronization", "Glibc", "Musl", "Darwin", "Testing", "ArgumentParser", "AVFAudio", "CoreGraphics"}


def layers():
    """The targets of Package.swift with what each may import: the table's `uses`."""
    text = (ROOT / "Package.swift").read_text()
    table = text[text.index("let layers") : text.index("func target")]
    found = {}
    for entry in re.split(r"\bLayer\(", table)[1:]:
        name = re.search(r'name:\s*"(\w+)"', entry).group(1)
        uses = re.search(r"uses:\s*\[(.*?)\]", entry, re.S)
        found[name] = re.findall(r'"(\w+)"', uses.group(1)) if uses else []
    return found


def main():
    problems = []
    order = layers()
    seen = []
    for name, uses in order.items():
        problems += [f"Package.swift: {name} uses {use}, which stands below it" for use in uses if use not in seen]
        seen.append(name)
    for name, uses in order.items():
        folder = ROOT / "Sources" / name
        if not folder.is_dir():
            folder = ROOT / "Tests" / name
        if not folder.is_dir():
            problems.append(f"Package.swift: {name} has no folder")
            continue
        allowed = set(uses) | SYSTEM
        # The umbrella stands for what it re-exports.
        if "Toeplitz" in uses:
            allowed |= set(order["Toeplitz"])
        for file in sorted(folder.rglob("*.swift")):
            lines = file.read_text().splitlines()
            place = file.relative_to(ROOT)
            for number, line in enumerate(lines, 1):
                match = re.match(r"\s*(?:@\w+(?:\(\w+\))?\s+)*(?:public |package |internal |private )?import (?:\w+ )?(\w+)", line)
                if match and match.group(1) not in allowed:
                    problems.append(f"{place}:{number}: {name} may not import {match.group(1)}")
            if len(lines) > MOST_LINES:
                problems.append(f"{place}: {len(lines)} lines, more than {MOST_LINES}")
    print("\n".join(problems) if problems else f"imports of {len(order)} targets follow Package.swift")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
