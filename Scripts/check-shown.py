#!/usr/bin/env python3
"""Lists names of the public interface that the ported models use and that neither README nor the documentation shows."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PORTS = ROOT / "Tests" / "ToeplitzNNTests" / "PortedModels.swift"
SWIFT = {"init", "map", "append", "zip", "enumerated", "squareRoot", "count", "override", "super"}


def main():
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("Sources/**/*.docc/*.md")]
    shown = set(re.findall(r"\w+", " ".join(path.read_text() for path in documents)))
    public = set()
    for path in ROOT.glob("Sources/**/*.swift"):
        pattern = r"(?:public|open) [^\n]*?\b(?:func|var|let|class|struct|enum|typealias|protocol) `?(\w+)"
        public |= set(re.findall(pattern, path.read_text()))
        public |= set(re.findall(r"^  case (\w+)", path.read_text(), re.M))
        public |= set(re.findall(r"^ +(?:_ )?(\w+): ", path.read_text(), re.M))
    used = set()
    for line in PORTS.read_text().splitlines():
        if not line.lstrip().startswith("//"):
            used |= set(re.findall(r"\.(\w+)", line)) | set(re.findall(r"\b(\w+)\(", line)) | set(re.findall(r"\b(\w+):", line))
    own = set(re.findall(r"(?:class|func|let|var) (\w+)", PORTS.read_text()))
    missing = sorted((used & public) - shown - SWIFT - own)
    print(f"{len(used & public)} names are used" + (", not shown: " + ", ".join(missing) if missing else ", all shown"))
    return 1 if missing else 0


sys.exit(main())
