#!/usr/bin/env python3
"""Writes the digits that ship with scikit-learn as digits.npz: images float32 [1797, 1, 8, 8] and labels int64 [1797].

    python3 Scripts/make-digits.py digits.npz
    toeplitz train classifier --data digits.npz --out runs/digits --splits 5
"""

import sys

import numpy
from sklearn.datasets import load_digits

digits = load_digits()
numpy.savez_compressed(
    sys.argv[1] if len(sys.argv) > 1 else "digits.npz",
    images=digits.images.astype(numpy.float32)[:, None], labels=digits.target.astype(numpy.int64))
