#!/usr/bin/env python3
"""Writes ExpressionTests and FunctionTests of Tests/ToeplitzNNTests: one-line expressions in Swift, and what the same in NumPy gives.

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


def parts(a):
    return np.stack([a.real, a.imag], axis=-1)


def stft(a, size, hop, window):
    """torch.stft with its defaults, as real and imaginary parts."""
    left = (size - len(window)) // 2
    window = np.pad(window, (left, size - len(window) - left))
    wide = np.pad(a, [(0, 0), (size // 2, size // 2)], mode="reflect")
    frames = [wide[:, at : at + size] * window for at in range(0, wide.shape[1] - size + 1, hop)]
    return parts(np.fft.rfft(np.stack(frames, axis=1))).transpose(0, 2, 1, 3)


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
    ("x.max(axis: 0)", x.max(axis=0)),
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
    ("Tensor.stack(x.rows().reversed())", np.stack(list(x)[::-1])),
    ("Tensor([[1, 2], [3, 4]]) + m", np.array([[1, 2], [3, 4]], np.float32) + m),
    ("Tensor(0..<6).reshaped(2, 3)", np.arange(6).reshape(2, 3)),
    ("(x - x.mean(axis: -1, keepsAxis: true)).isFinite()", np.isfinite(x - x.mean(-1, keepdims=True))),
]

FUNCTIONS = [
    ("sum(x, [0, 2]) + product(m, axis: 0).sum()", x.sum(axis=(0, 2)) + m.prod(axis=0).sum()),
    ("mean(x, axis: 1) - max(x, axis: 1)", x.mean(axis=1) - x.max(axis=1)),
    ("std(x, axis: 0, correction: 0)", x.std(axis=0)),
    ("x.std()", x.std(ddof=1)),
    ("argmin(m, axis: 1)", m.argmin(axis=1)),
    ("cumsum(x, axis: 1)", x.cumsum(axis=1)),
    ("cumprod(v, axis: 0)", v.cumprod()),
    ("log10(v) + log2(v)", np.log10(v) + np.log2(v)),
    ("asinh(m) + acosh(v).sum() + atanh(v / 4).sum()", np.arcsinh(m) + np.arccosh(v).sum() + np.arctanh(v / 4).sum()),
    ("trunc(x) + square(x) + reciprocal(x)", np.trunc(x) + np.square(x) + np.reciprocal(x)),
    ("rsqrt(v)", 1 / np.sqrt(v)),
    ("remainder(m, m + 3)", np.remainder(m, m + 3)),
    ("logicalXor(m > 0, m > 2)", np.logical_xor(m > 0, m > 2)),
    ("logicalNot(isNaN(m / 0))", ~np.isnan(m / np.array(0, np.float32))),
    ("x.transposed()", x.T),
    ("Tensor.eye(3) + Tensor.linspace(-1, 1, 3)", np.eye(3) + np.linspace(-1, 1, 3)),
    ("m.sorted() + m.sorted(axis: 0, descending: true)", np.sort(m) - np.sort(-m, axis=0)),
    ("m.argsort()", np.argsort(m)),
    ("v.tiled(2, 2)", np.tile(v, (2, 2))),
    ("i[0..<1].oneHot(9)", np.eye(9)[[7]]),
    ("m.tril() + x[0].triu(1)[..<2, ..<2]", np.tril(m) + np.triu(x[0], 1)[:2, :2]),
    ("pad(m, [1, 0, 0, 2], value: 7)", np.pad(m, [(0, 2), (1, 0)], constant_values=7)),
    ("x.rfft()", parts(np.fft.rfft(x))),
    ("x.rfft(n: 5, axis: 1)", parts(np.fft.rfft(x, 5, axis=1))),
    ("x.rfft(axis: 0).irfft(axis: 0)", x),
    ("x.rfft(axis: 1).irfft(n: 3, axis: 1)", x),
    ("stack([x, 0 * x + 1], axis: -1).fft(axis: 1)", parts(np.fft.fft(x + 1j, axis=1))),
    ("stack([x, 0 * x + 1], axis: -1).ifft(n: 6)", parts(np.fft.ifft(x + 1j, 6))),
    ("Tensor.hann(5)", 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(5) / 5)),
    ("Tensor.hann(5, isPeriodic: false)", np.hanning(5)),
    (
        "x.reshaped(2, 12).stft(fftSize: 6, hopSize: 2, window: .hann(4))",
        stft(x.reshape(2, 12), 6, 2, 0.5 - 0.5 * np.cos(np.pi * np.arange(4) / 2)),
    ),
    ("v.stft(fftSize: 2, isCentered: false)", parts(np.fft.rfft(np.stack([v[:2], v[1:]]))).transpose(1, 0, 2)),
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


def suite(name, summary, table, printed):
    """A file of tests of one table."""
    lines = [
        "import Testing",
        "import Toeplitz",
        "",
        "// Made by Tests/Fixtures/expressions/generate.py, which has the expressions and computes the values with NumPy.",
        "",
        f"/// {summary}",
        f"@Suite struct {name} {{",
        SETUP,
        "  private func check(",
        "    _ shape: [Int], _ values: [Double], line: Int = #line, column: Int = #column, _ expression: () throws -> Tensor",
        "  ) throws {",
        "    let result = try expression()",
        "    let place = SourceLocation(fileID: #fileID, filePath: #filePath, line: line, column: column)",
        "    #expect(result.shape == TensorShape(shape), sourceLocation: place)",
        "    let got = try result.cast(to: .float64).scalars(of: Double.self)",
        "    guard got.count == values.count else { return }",
        "    for (a, b) in zip(got, values) where a != b && !(abs(a - b) <= 1e-6 * max(1, abs(b))) {",
        '      Issue.record("\\(a) instead of \\(b)", sourceLocation: place)',
        "      return",
        "    }",
        "  }",
        "",
    ]
    for start in range(0, len(table), 10):
        lines.append(f"  @Test func valuesAreThoseOfNumPy{start // 10 + 1}() throws {{")
        for swift, value in table[start : start + 10]:
            value = np.asarray(value)
            numbers = swift_list(np.asarray(value, np.float64).reshape(-1))
            lines.append(f"    try check({list(value.shape)}, {numbers}) {{ try {swift} }}")
        lines += ["  }", ""]
    if printed:
        lines.append("  @Test func textsAreThoseOfNumPy() throws {")
        for swift, value in printed:
            text = str(value).replace("\n", "\\n")
            value = swift if swift.isidentifier() else f"try ({swift})"
            lines.append(f'    #expect({value}.description == "{text}")')
        lines += ["  }"]
    lines += ["}", ""]
    out = pathlib.Path(__file__).resolve().parents[2] / "ToeplitzNNTests" / f"{name}.swift"
    out.write_text("\n".join(lines))
    print(f"{len(table)} expressions, {len(printed)} texts")


def main():
    suite("ExpressionTests", "Expressions as people write them, and the values that NumPy gives.", TABLE, PRINTED)
    suite("FunctionTests", "Functions under the field's names, and the values that NumPy gives.", FUNCTIONS, [])


main()
