#!/usr/bin/env python3
"""Builds the documentation with DocC and fails on warnings.

All targets of the library make one documentation, in which pages refer to one another whatever target they belong to: the symbol
graphs of the last debug build's modules (`swift build`) are joined under the name of the umbrella, Toeplitz.

    Scripts/make-docs.py [OUTPUT-FOLDER] [BUILD-FOLDER]

leaves a static site in OUTPUT-FOLDER (nothing if there is none); `python3 -m http.server -d OUTPUT-FOLDER` shows it at
/documentation/toeplitz.
"""

import json
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIBRARIES = ["Tensor", "Ops", "Graph", "CPU", "Checkpoint", "Image", "NN", "", "ONNX", "Models", "Training"]


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(result.stderr or result.stdout)
    return result.stdout + result.stderr


def extract(build, folder):
    """The joined symbol graph of all libraries."""
    header = ROOT / "Sources/CToeplitzKernels/include/CToeplitzKernels.h"
    modules = folder / "module.modulemap"
    modules.write_text(f'module CToeplitzKernels {{\n  umbrella header "{header}"\n  export *\n}}\n')
    graphs = folder / "graphs"
    graphs.mkdir()
    for library in LIBRARIES:
        options = ["-module-name", f"Toeplitz{library}", "-I", str(build / "Modules"), "-output-dir", str(graphs)]
        if platform.system() == "Linux":
            options += ["-target", f"{platform.machine()}-unknown-linux-gnu"]
        options += ["-Xcc", f"-fmodule-map-file={modules}", "-minimum-access-level", "public", "-skip-synthesized-members"]
        run("swift-symbolgraph-extract", *options)
    joined, seen = None, set()
    for path in sorted(graphs.glob("*.symbols.json")):
        # What extends types of the standard library belongs to those.
        if path.name.endswith("@Swift.symbols.json"):
            continue
        graph = json.loads(path.read_text())
        if joined is None:
            joined = {**graph, "symbols": [], "relationships": []}
            joined["module"]["name"] = "Toeplitz"
        for symbol in graph["symbols"]:
            if symbol["identifier"]["precise"] not in seen:
                seen.add(symbol["identifier"]["precise"])
                joined["symbols"].append(symbol)
        joined["relationships"] += graph["relationships"]
    if len(seen) < 1000:
        sys.exit(f"only {len(seen)} symbols were found")
    return joined


def main():
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else None
    build = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / ".build" / "debug"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        graph = extract(build, folder)
        symbols = folder / "symbols"
        symbols.mkdir()
        (symbols / "Toeplitz.symbols.json").write_text(json.dumps(graph))
        report = run(
            "docc", "convert", str(ROOT / "Sources/Toeplitz/Toeplitz.docc"), "--additional-symbol-graph-dir", str(symbols),
            "--output-path", str(output or folder / "site"), "--fallback-display-name", "Toeplitz",
            "--fallback-bundle-identifier", "toeplitz", "--transform-for-static-hosting",
        )
    warnings = re.findall(r"^warning: .*(?:\n +-->.*)?", report, re.M)
    if warnings:
        sys.exit("\n".join(warnings) + f"\n{len(warnings)} warnings")
    print(f"documentation of {len(graph['symbols'])} symbols, without warnings")


main()
