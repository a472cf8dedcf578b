#!/usr/bin/env python3
"""Writes Tests/ToeplitzNNTests/ExpressionTests.swift: one-line expressions in Swift, and what the same in NumPy gives.

Needs numpy. Run it from anywhere; the order of the lines is that of the table below.
"""

import pathlib

import numpy as np

# The operands, in both languages.
x = (np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 11.5) / 4
m = np.array([[1, -2], [3, 4]], np.float32)
v = np.array([1, 2, 3], np.float32)
i = np.array([7, -7, 12], np.int64)
b = np.array([True, False, True])
n = 2
new = None

SETUP = """\
  private let x: Tensor
  private let m: Tensor = [[1, -2], [3, 4]]
  private let v: Tensor = [1, 2, 3]
  private let i: Tensor
  private let b: Tensor = [true, false, true]
  private let n = 2

  init() throws {
    x = try (Tensor.range(to: 24).reshaped(2, 3, 4) - 11.5) / 4
    i = try Tensor([7, -7, 12] as [Int])
  }
"""


def softmax(a, axis):
    e = np.exp(a - a.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


TABLE = [
    ("x[0]", x[0]),
    ("x[-1]", x[-1]),
    ("x[1, 2, 3]", x[1, 2, 3]),
    ("x[0, 1]", x[0, 1]),
    ("x[0..., 0, (-2)...]", x[:, 0, -2:]),
    ("x[0..<1]", x[0:1]),
    ("x[0..., 1...2]", x[:, 1:3]),
    ("x[0..., ..<2]", x[:, :2]),
    ("x[0..., ...1]", x[:, :2]),
    ("x[.ellipsis, 0]", x[..., 0]),
    ("x[.ellipsis, ..<(-1)]", x[..., :-1]),
    ("x[0, .ellipsis]", x[0, ...]),
    ("x[1, 0..., (-3)..<(-1)]", x[1, :, -3:-1]),
    ("x[.ellipsis, ...(-2)]", x[..., :-1]),
    ("x[.ellipsis, 0..<99]", x[..., 0:99]),
    ("x[.slice(by: -1)]", x[::-1]),
    ("x[.ellipsis, .slice(by: 2)]", x[..., ::2]),
    ("x[.ellipsis, .slice(from: 1, to: -1, by: 2)]", x[..., 1:-1:2]),
    ("x[.ellipsis, .slice(from: -1, to: 0, by: -2)]", x[..., -1:0:-2]),
    ("x[.ellipsis, .slice(from: 3, by: -1)]", x[..., 3::-1]),
    ("x[.newAxis, 0]", x[new, 0]),
    ("v[0..., .newAxis]", v[:, new]),
    ("v[.newAxis]", v[new]),
    ("x[0..., [2, 0]]", x[:, [2, 0]]),
    ("x[.ellipsis, [-1]]", x[..., [-1]]),
    ("x[0..., b]", x[:, b]),
    ("x[x > 1.5]", x[x > 1.5]),
    ("x[0, 0..., n]", x[0, :, n]),
    ("m[m < 0]", m[m < 0]),
    ("m + m", m + m),
    ("m + 1", m + 1),
    ("1 - m", 1 - m),
    ("2 * m - 0.5", 2 * m - 0.5),
    ("m / 4", m / 4),
    ("1 / v", 1 / v),
    ("-m", -m),
    ("n * v", n * v),
    ("v + Float(n)", v + np.float32(n)),
    ("m * [10, 100]", m * np.array([10, 100], np.float32)),
    ("i % 5", i % 5),
    ("i * 3 - 1", i * 3 - 1),
    ("m == 3", m == 3),
    ("m != m.transposed(0, 1)", m != m.T),
    ("m >= 1", m >= 1),
    ("(m > -3) & (m < 3)", (m > -3) & (m < 3)),
    ("~b | (v > 2)", ~b | (v > 2)),
    ("m.sum()", m.sum()),
    ("x.sum(axis: 1)", x.sum(axis=1)),
    ("x.mean(axis: -1, keepsAxis: true)", x.mean(axis=-1, keepdims=True)),
    ("x.maximum(axis: 0)", x.max(axis=0)),
    ("x.argmax(axis: 2)", x.argmax(axis=2)),
    ("x.variance(axis: 2, correction: 0)", x.var(axis=2)),
    ("matmul(m, m)", m @ m),
    ("matmul(x, x.transposed(1, 2))", x @ x.transpose(0, 2, 1)),
    ("exp(v) + tanh(v) * sqrt(v)", np.exp(v) + np.tanh(v) * np.sqrt(v)),
    ("pow(v, 2) - log(v)", v**2 - np.log(v)),
    ("abs(m) + sin(m)", np.abs(m) + np.sin(m)),
    ("maximum(m, 0)", np.maximum(m, 0)),
    ("clip(m, -1, 3)", np.clip(m, -1, 3)),
    ("Tensor.where(m > 0, m, 0)", np.where(m > 0, m, np.float32(0))),
    ("softmax(x, axis: -1)", softmax(x, -1)),
    ("concatenate([m, m + 1], axis: 1)", np.concatenate([m, m + 1], axis=1)),
    ("stack([v, v * 2])", np.stack([v, v * 2])),
    ("x.reshaped(6, -1)", x.reshape(6, -1)),
    ("x.permuted(2, 0, 1)", x.transpose(2, 0, 1)),
    ("v.expanded(to: [2, 3])", np.broadcast_to(v, (2, 3))),
    ("Tensor.stacked(x.rows().reversed())", np.stack(list(x)[::-1])),
    ("Tensor([[1, 2], [3, 4]]) + m", np.array([[1, 2], [3, 4]], np.float32) + m),
    ("Tensor(0..<6).reshaped(2, 3)", np.arange(6).reshape(2, 3)),
    ("(x - x.mean(axis: -1, keepsAxis: true)).isFinite()", np.isfinite(x - x.mean(-1, keepdims=True))),
]

PRINTED = [
    ("m", m),
    ("v", v),
    ("x", x),
    ("i", i),
    ("b", b),
    ("m / 3", m / np.float32(3)),
    ("m * 1e6", m * np.float32(1e6)),
    ("v * 1e8", v * np.float32(1e8)),
    ("v / 1e5", v / np.float32(1e5)),
    ("1 / (v - 1)", np.array([np.inf, 1, 0.5], np.float32)),
    ("Tensor([-Double.nan, -1.25, Double.infinity])", np.array([np.nan, -1.25, np.inf])),
    ("Tensor([0.1, 123.456, 1e-3])", np.array([0.1, 123.456, 1e-3], np.float32)),
    ("Tensor([100, 0.125] as [Double])", np.array([100, 0.125])),
    ("Tensor([0.1, 2] as [Float16])", np.array([0.1, 2], np.float16)),
    ("Tensor.range(to: 40)", np.arange(40, dtype=np.float32)),
    ("Tensor.range(to: 1200).reshaped(3, 20, 20)", np.arange(1200, dtype=np.float32).reshape(3, 20, 20)),
    ("Tensor(0..<2000)", np.arange(2000)),
    ("Tensor.zeros([0, 3])", np.zeros((0, 3))),
    ("Tensor(scalar: 2.5 as Float)", np.array(2.5, np.float32)),
    ("Tensor(scalar: -3)", np.array(-3)),
    ("Tensor(scalar: true)", np.array(True)),
    ("m[0] > 0", m[0] > 0),
    ("Tensor([-1000000.5, 0.001] as [Double])", np.array([-1000000.5, 0.001])),
    ("Tensor([[1.5e-9, 2], [3, 4e20]])", np.array([[1.5e-9, 2], [3, 4e20]], np.float32)),
]


def swift_list(values):
    def one(value):
        if value == np.inf:
            return ".infinity"
        text = repr(float(value))
        return text[:-2] if text.endswith(".0") else text

    return "[" + ", ".join(one(value) for value in values) + "]"


def main():
    lines = [
        "import Testing",
        "import Toeplitz",
        "",
        "// Made by Tests/Fixtures/expressions/generate.py, which has the expressions and computes the values with NumPy.",
        "",
        "/// Expressions as people write them, and the values that NumPy gives.",
        "@Suite struct ExpressionTests {",
        SETUP,
        "  private func check(",
        "    _ shape: [Int], _ values: [Double], line: Int = #line, column: Int = #column, _ expression: () throws -> Tensor",
        "  ) throws {",
        "    let result = try expression()",
        "    let place = SourceLocation(fileID: #fileID, filePath: #filePath, line: line, column: column)",
        "    #expect(result.shape == Shape(shape), sourceLocation: place)",
        "    let got = try result.cast(to: .float64).scalars(of: Double.self)",
        "    guard got.count == values.count else { return }",
        "    for (a, b) in zip(got, values) where abs(a - b) > 1e-6 * max(1, abs(b)) {",
        '      Issue.record("\\(a) instead of \\(b)", sourceLocation: place)',
        "      return",
        "    }",
        "  }",
        "",
    ]
    for start in range(0, len(TABLE), 10):
        lines.append(f"  @Test func valuesAreThoseOfNumPy{start // 10 + 1}() throws {{")
        for swift, value in TABLE[start : start + 10]:
            value = np.asarray(value)
            numbers = swift_list(np.asarray(value, np.float64).reshape(-1))
            lines.append(f"    try check({list(value.shape)}, {numbers}) {{ try {swift} }}")
        lines += ["  }", ""]
    lines.append("  @Test func textsAreThoseOfNumPy() throws {")
    for swift, value in PRINTED:
        text = str(value).replace("\n", "\\n")
        value = swift if swift.isidentifier() else f"try ({swift})"
        lines.append(f'    #expect({value}.description == "{text}")')
    lines += ["  }", "}", ""]
    out = pathlib.Path(__file__).resolve().parents[2] / "ToeplitzNNTests" / "ExpressionTests.swift"
    out.write_text("\n".join(lines))
    print(f"{len(TABLE)} expressions, {len(PRINTED)} texts")


main()
