#!/usr/bin/env python3
"""Checks the names of the public interface: that none collides, and that functions and methods agree.

No top-level name of ours may collide in a file that imports Foundation, or SwiftUI and what comes with it.

Compiles a file that imports Foundation, Observation and all our products and uses every public top-level type of the sources by
its bare name, with the modules of the last debug build (`swift build`); an ambiguous name does not compile. What Linux does not
have is compared by name with Tests/Fixtures/names/apple.txt.

Elementwise functions, reductions and scans of tensors are there as functions and as methods, but for those that are operators.

    Scripts/check-names.py [BUILD-FOLDER]
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIBRARIES = ["Tensor", "Ops", "Graph", "CPU", "Checkpoint", "Image", "NN", "", "ONNX", "Models", "Training"]
PRODUCTS = ["Toeplitz", "ToeplitzGraph", "ToeplitzONNX", "ToeplitzModels", "ToeplitzTraining"]
DECLARATION = re.compile(
    r"^(?:@\w+(?:\([^)]*\))? )*(?:public|open) (?:indirect |final )*(struct|class|enum|protocol|actor|typealias) (\w+)(<[^>{=]*>)?",
    re.M,
)


def declarations():
    """The public top-level types: name to what it is and its parameters."""
    found = {}
    for library in LIBRARIES:
        for path in sorted((ROOT / "Sources" / f"Toeplitz{library}").rglob("*.swift")):
            for kind, name, parameters in DECLARATION.findall(path.read_text()):
                found[name] = (kind, parameters)
    return found


# Methods of one element, of pairs, of whole axes; each is a function too.
FAMILIES = [
    "ActivationOperations", "BinaryOperation", "ChannelActivation", "LogicOperations", "ReductionOperation", "ScanExtensions",
    "ScanOperation", "SoftmaxOperation", "UnaryOperation",
]
# Written as operators: - == != < <= > >= & | ^ ~.
OPERATORS = "negated equal notEqual less lessOrEqual greater greaterOrEqual bitwiseAnd bitwiseOr bitwiseXor bitwiseNot".split()
# Of whole numbers that are bits, for which no operator throws in Swift.
METHODS_ONLY = ["shiftedLeft", "shiftedRight"]
# What takes a list of tensors, or options of a layer, or an order of arguments that a method would turn round.
FUNCTIONS_ONLY = re.compile(r"concatenate|stack|pad|embedding|linear|.*Pool\dd")


def disagreements():
    """Functions without a method of the same name, and methods of the families without a function."""
    operations = ROOT / "Sources" / "ToeplitzOps" / "Operations"
    functions_folder = ROOT / "Sources" / "ToeplitzOps" / "Functions"
    functions, methods, family = set(), set(), set()
    for path in [*functions_folder.glob("*.swift"), *operations.glob("*.swift")]:
        text = path.read_text()
        found = set(re.findall(r"^  public func `?(\w+)", text, re.M))
        methods |= found
        if path.stem in FAMILIES:
            family |= found
        if path.parent == functions_folder:
            functions |= set(re.findall(r"^public func (\w+)", text, re.M))
    if len(family) < 60 or len(functions) < 60:
        sys.exit(f"only {len(family)} methods and {len(functions)} functions were found")
    lonely = sorted(name for name in functions - methods if not FUNCTIONS_ONLY.fullmatch(name))
    missing = sorted(family - functions - set(OPERATORS) - set(METHODS_ONLY))
    return [f"the function {name} is no method" for name in lonely] + [f"the method {name} is no function" for name in missing]


def use(index, name, kind, parameters):
    """A function that has the type in its signature."""
    if kind == "protocol":
        return f"func use{index}<T: {name}>(_: T.Type) {{}}"
    arguments = ", ".join(part.split(":")[0].strip() for part in parameters.strip("<>").split(",")) if parameters else ""
    return f"func use{index}{parameters}(_: {name}{f'<{arguments}>' if arguments else ''}.Type) {{}}"


def main():
    build = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".build" / "debug"
    found = declarations()
    if len(found) < 150:
        sys.exit(f"only {len(found)} types were found")
    fixture = (ROOT / "Tests" / "Fixtures" / "names" / "apple.txt").read_text()
    theirs = {name for line in fixture.splitlines() if not line.startswith("#") for name in line.split()}
    if not {"Layout", "Image", "Operation", "Publisher", "Observable"} <= theirs:
        sys.exit("apple.txt lacks names that everybody knows")
    problems = disagreements()
    if problems:
        sys.exit("\n".join(problems))
    both = sorted(theirs & set(found))
    if both:
        sys.exit("names of Apple's frameworks: " + ", ".join(both))

    lines = [f"import {name}" for name in ["Foundation", "Observation", *PRODUCTS]]
    lines += [use(index, name, *what) for index, (name, what) in enumerate(sorted(found.items()))]
    # Foundation's functions of numbers stay what they are.
    lines.append(
        "func numbers(_ x: Double, _ y: Float, _ n: Int) -> Double {\n"
        "  let a = sqrt(x) + exp(x) + log(x) + log2(x) + log10(x) + pow(x, 2) + abs(x) + tanh(x) + asinh(x) + floor(x) + ceil(x)\n"
        "  let b = round(x) + trunc(x) + max(x, 1) + min(x, 1, 2) + remainder(x, 2) + Double(max(n, 1)) + Double(abs(n))\n"
        "  return a + b + Double(sqrt(y) + erf(y) + atan(y) + max(y, 0))\n}"
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "names.swift").write_text("\n".join(lines) + "\n")
        header = ROOT / "Sources/CToeplitzKernels/include/CToeplitzKernels.h"
        (folder / "module.modulemap").write_text(
            f'module CToeplitzKernels {{\n  umbrella header "{header}"\n  export *\n}}\n'
        )
        command = ["swiftc", "-typecheck", "-swift-version", "6", "-I", str(build / "Modules")]
        command += ["-Xcc", f"-fmodule-map-file={folder}/module.modulemap", str(folder / "names.swift")]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(result.stderr)
    print(f"{len(found)} types of ours collide with none of Foundation and of {len(theirs)} of Apple's frameworks")


main()
