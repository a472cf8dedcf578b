#!/usr/bin/env python3
"""Counts the files that define something about each operation, and fails where there are more than six.

An operation has its own file (attributes, shapes, gradient, time), its kernel, its layer or function, its ONNX family and at
most two lowering passes. A file counts if it names the operation's type in code.

    Scripts/check-operations.py [NAME ...]

prints the numbers, and with names the files of those operations.
"""
import re
import sys
from pathlib import Path

LIMIT = 6
root = Path(__file__).resolve().parent.parent
declaration = re.compile(r"^(?:public |package )?struct (\w+)(?:<[^>]*>)?: (?:Tensor|Unary)Operation\b", re.M)


def code(path):
    """The text without comments and strings."""
    text = re.sub(r"//[^\n]*", "", path.read_text())
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', text)


def main():
    texts = {path.relative_to(root / "Sources"): code(path) for path in sorted((root / "Sources").rglob("*.swift"))}
    operations = sorted({name for text in texts.values() for name in declaration.findall(text)})
    if len(operations) < 60:
        sys.exit(f"only {len(operations)} operations were found")
    wrong = 0
    for name in operations:
        files = [str(path) for path, text in texts.items() if re.search(rf"\b{name}\b", text)]
        wrong += len(files) > LIMIT
        if not sys.argv[1:]:
            print(f"{len(files):3} {name}" + (f": more than {LIMIT}" if len(files) > LIMIT else ""))
        elif name in sys.argv[1:]:
            print(name, *files, sep="\n  ")
    if wrong:
        sys.exit(f"{wrong} of {len(operations)} operations are defined in more than {LIMIT} files")
    print(f"{len(operations)} operations, each defined in at most {LIMIT} files")


main()
