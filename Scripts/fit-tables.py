#!/usr/bin/env python3
"""Makes Sources/CToeplitzKernels/elementwise/tables.h: pieces of erf and tanh as polynomials around their middles.

Weighted least squares whose weights grow where the relative error is large (Lawson, 1961). Needs numpy.

    Scripts/fit-tables.py > Sources/CToeplitzKernels/elementwise/tables.h
"""
import math
import textwrap

import numpy as np


def fit(f, low, high, powers):
    """Coefficients of the given powers that approximate f on low...high with the least relative error."""
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    y = np.array([f(v) for v in x])
    weight, lawson = 1 / np.abs(y), np.ones(400)
    terms = np.stack([x**p for p in powers], 1)
    for _ in range(60):
        scale = np.sqrt(lawson) * weight
        c = np.linalg.lstsq(terms * scale[:, None], y * scale, rcond=None)[0]
        error = np.abs((terms @ c - y) * weight)
        lawson *= error / error.max() + 1e-3
        lawson /= lawson.sum()
    return c


def table(name, values):
    text = f"static const float tz_{name}[32] = {{" + ", ".join(f"{np.float32(v):#.9g}f" for v in values) + "};"
    print(textwrap.fill(text, 120, subsequent_indent="  "))


def erf_rows():
    """Pieces of width 1/8 around i / 8, degree 4."""
    half = 1 / 16 * 1.0001
    yield np.concatenate(
        [[0], fit(lambda t: math.erf(t) / t if t > 1e-9 else 2 / math.sqrt(math.pi), 1e-12, half, range(4))])
    for i in range(1, 32):
        yield fit(lambda t: math.erf(i / 8 + t), -half, half, range(5))


def tanh_rows():
    """Quarters of octaves from 1/8 on, degree 5; the first piece is odd. Each with its middle."""
    edges = [0.0] + [2.0**o * (1 + m / 4) for o in range(-3, 4) for m in range(4)] + [16.0]
    c = fit(lambda t: math.tanh(t) / t if t > 1e-9 else 1.0, 1e-12, edges[1], [0, 2, 4])
    yield 0.0, np.array([0, c[0], 0, c[1], 0, c[2]])
    for low, high in zip(edges[1:29], edges[2:30]):
        middle, half = float(np.float32((low + high) / 2)), (high - low) / 2
        yield middle, fit(lambda t: math.tanh(middle + t), -half, half, range(6))


print("// Pieces of the error function and the hyperbolic tangent as polynomials around their middles, made by")
print("// Scripts/fit-tables.py.")
print("#ifndef TZ_ELEMENTWISE_TABLES_H\n#define TZ_ELEMENTWISE_TABLES_H")
rows = np.array(list(erf_rows()))
for k in range(5):
    table(f"erf_c{k}", rows[:, k])
middles, rows = zip(*tanh_rows())
middles, rows = list(middles), list(rows)
while len(rows) < 32:
    middles.append(20.0)
    rows.append(np.array([1.0, 0, 0, 0, 0, 0]))
rows = np.array(rows)
for k in range(6):
    table(f"tanh_c{k}", rows[:, k])
table("tanh_m", middles)
print("// 2 to the power of sixteenths.")
values = [2 ** (j / 16) for j in range(16)]
text = "static const float tz_exp2[16] = {" + ", ".join(f"{np.float32(v):#.9g}f" for v in values) + "};"
print(textwrap.fill(text, 120, subsequent_indent="  "))
print("#endif")
