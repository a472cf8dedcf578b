#!/usr/bin/env python3
"""Fits the polynomials of Sources/CToeplitzKernels/elementwise/elementwise.inc.h.

Least squares at Chebyshev points in double precision, printed as rounded to float32 with the largest relative error
before rounding. Needs numpy and mpmath.
"""

import mpmath as mp
import numpy as np
from numpy.polynomial import chebyshev, polynomial

mp.mp.dps = 40


def fit(name, function, low, high, degree, points=400):
    """Prints the polynomial of `degree` that approximates `function` on low...high, lowest power first."""
    t = np.cos(np.pi * (np.arange(points) + 0.5) / points)
    x = (low + high) / 2 + (high - low) / 2 * t
    y = np.array([float(function(mp.mpf(float(v)))) for v in x])
    scaled = chebyshev.cheb2poly(chebyshev.chebfit(t, y, degree))
    line = np.array([-(low + high) / (high - low), 2 / (high - low)])
    result, power = np.zeros(1), np.ones(1)
    for coefficient in scaled:
        result = polynomial.polyadd(result, coefficient * power)
        power = polynomial.polymul(power, line)
    error = np.max(np.abs(polynomial.polyval(x, result) / y - 1))
    print(f"{name}: {[float(np.float32(c)) for c in result]} error {error:.2g}")


def odd(function):
    """function(x) / x in terms of x squared."""
    return lambda z: function(mp.sqrt(z)) / mp.sqrt(z)


fit("exp", mp.exp, -0.3466, 0.3466, 6)
fit("tanh / x in x^2, below 0.625", odd(mp.tanh), 1e-12, 0.625**2, 5)
fit("erf / x in x^2, below 1", odd(mp.erf), 1e-12, 1, 6)
fit("erfc exp(x^2) in 1 / (1 + x / 2), 1 to 6", lambda t: (lambda x: mp.erfc(x) * mp.exp(x * x))((1 / t - 1) * 2), 0.25, 1 / 1.5, 8)
fit("sin / x in x^2, to pi / 2", odd(mp.sin), 1e-12, (float(mp.pi) / 2) ** 2, 5)
fit(
    "(log1p(f) - f + f^2 / 2) / f^3",
    lambda f: (mp.log1p(f) - f + f * f / 2) / f**3 if abs(f) > 1e-9 else mp.mpf(1) / 3,
    0.5**0.5 - 1,
    2**0.5 - 1,
    8,
)
