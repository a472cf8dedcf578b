#!/usr/bin/env python3
"""Type-checks every Swift block of README, docs, the documentation catalogue and doc comments.

Each block becomes the body of a function whose parameters are the names in CONTEXT, so that an example may speak of an `x` or
a `model` without making it. The modules are those of the last debug build (`swift build`).

    Scripts/check-snippets.py [BUILD-FOLDER]
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What examples take for granted.
CONTEXT = """\
final class ExampleModel: Module, UnaryLayer {
  let conv: Conv1d
  init() throws { conv = try Conv1d(1, 1, kernelSize: 3, padding: 1) }
  func forward(_ x: Tensor) throws -> Tensor { try conv(x) }
}
final class Encoder: Module, UnaryLayer {
  let conv1: Conv1d
  init(channels: Int) throws { conv1 = try Conv1d(1, channels, kernelSize: 3) }
  func forward(_ x: Tensor) throws -> Tensor { try conv1(x) }
}
final class Decoder: Module, UnaryLayer {
  func forward(_ x: Tensor) throws -> Tensor { x }
}
func accuracy(of model: ExampleModel) throws -> Double { 1 }
"""
PARAMETERS = (
    "x: Tensor, y: Tensor, tensor: Tensor, images: Tensor, row: Tensor, column: Tensor, mask: Tensor, model: ExampleModel, "
    "url: URL, high: [Float], samples: [Float], blocks: [[Float]], path: String, requests: [Tensor], "
    "executable: Executable, decoder: ExampleModel, mel: Tensor, optimizer: Optimizer, step: Int, gradients: Gradients, data: TensorDataset"
)
IMPORTS = ["Foundation", "Toeplitz", "ToeplitzGraph", "ToeplitzModels", "ToeplitzONNX", "ToeplitzTraining"]


def markdown_blocks(path):
    """The blocks of a Markdown file with the numbers of their first lines."""
    block, start, indent = None, 0, 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.strip()
        if block is None and text == "```swift":
            block, start, indent = [], number + 1, len(line) - len(line.lstrip())
        elif block is not None and text == "```":
            yield start, block
            block = None
        elif block is not None:
            block.append(line[indent:])


def comment_blocks(path):
    """The blocks in the doc comments of a Swift file with the numbers of their first lines."""
    block, start = None, 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r"\s*/// ?(.*)$", line)
        text = match.group(1) if match else None
        if text is None:
            block = None
        elif block is None and text.strip() == "```swift":
            block, start = [], number + 1
        elif block is not None and text.strip() == "```":
            yield start, block
            block = None
        elif block is not None:
            block.append(text)


def main():
    build = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".build" / "debug"
    modules = build / "Modules"
    if not modules.exists():
        sys.exit(f"{modules} is not there: run `swift build` first")
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("Sources/**/*.docc/*.md"))]
    found = [(path, *block) for path in documents for block in markdown_blocks(path)]
    sources = sorted(ROOT.glob("Sources/**/*.swift"))
    found += [(path, *block) for path in sources for block in comment_blocks(path)]
    if len(found) < 20:
        sys.exit(f"only {len(found)} blocks were found")

    lines = [f"import {name}" for name in IMPORTS] + [CONTEXT]
    # In a function of any task, and in one of the main actor, as that of a program is.
    places = [(actor, *entry) for actor in ["", "@MainActor "] for entry in found]
    for index, (actor, path, start, block) in enumerate(places):
        lines.append(f"{actor}func snippet{index}({PARAMETERS}) async throws {{")
        lines.append(f'#sourceLocation(file: "{path.relative_to(ROOT)}", line: {start})')
        lines += [line for line in block if not line.startswith("import ")] or ["_ = x"]
        lines += ["#sourceLocation()", "}"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "snippets.swift").write_text("\n".join(lines))
        header = ROOT / "Sources/CToeplitzKernels/include/CToeplitzKernels.h"
        (folder / "module.modulemap").write_text(
            f'module CToeplitzKernels {{\n  umbrella header "{header}"\n  export *\n}}\n'
        )
        command = ["swiftc", "-typecheck", "-swift-version", "6", "-suppress-warnings", "-I", str(modules)]
        command += ["-Xcc", f"-fmodule-map-file={folder}/module.modulemap", str(folder / "snippets.swift")]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(result.stderr)
    print(f"{len(found)} Swift blocks of the documentation compile")


main()
