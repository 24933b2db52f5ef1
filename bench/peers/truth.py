"""The exact results, in double, that everybody's are compared with.

The leading elements of a result are compared, and the mean loss, which depends on all logits.

An error counts relative to the exact value; where that is a difference that cancels (the gradient
at the target, p - 1; a log-probability near 0), relative to its terms. TOLERANCE is wide
enough for what peers do: sums in f32 of up to 128256 terms, one after another; and log-probabilities of
magnitude 16 to 32 that are rounded to bf16, to within 2^-4, between two passes. A wrong element, row
or divisor is off by far more. f16 is xent's alone.
"""
import functools
import math
import os

import numpy as np

import data

TOLERANCE = {"f32": 2.0 ** -14, "f64": 2.0 ** -40, "f16": 2.0 ** -10, "bf16": 2.0 ** -3}
COUNT = 1 << 19    # elements compared


def widen(array, dtype):
    return (data.from_bf16(array) if dtype == "bf16" else array).astype(np.float64)


class Truth:
    def __init__(self, folder):
        self.folder = folder

    def logits(self, dtype, n, c, layout):
        path = os.path.join(self.folder, f"logits.{dtype}")
        return np.memmap(path, data.DTYPES[dtype], "r", shape=(c, n) if layout == "strided" else (n, c))

    @functools.lru_cache(maxsize=32)
    def lse(self, dtype, n, c, layout):
        """Of each row, some rows at a time: they may be large."""
        x = self.logits(dtype, n, c, layout)
        step = max(1, (1 << 21) // c)
        result = np.empty(n)
        for i in range(0, n, step):
            rows = widen(x[:, i:i + step].T if layout == "strided" else x[i:i + step], dtype)
            greatest = rows.max(1, keepdims=True)
            result[i:i + step] = greatest[:, 0] + np.log(np.exp(rows - greatest).sum(1))
        return result

    def of_rows(self, op, dtype, n, c, layout):
        """Mean, leading elements, and what their errors are at least relative to."""
        lse = self.lse(dtype, n, c, layout)
        if op == "lse":
            return math.nan, lse, np.ones(n)
        x = self.logits(dtype, n, c, layout)
        flat = np.arange(min(COUNT, n * c))
        row, column = (flat % n, flat // n) if layout == "strided" else (flat // c, flat % c)
        log_p = widen(x.reshape(-1)[:len(flat)], dtype) - lse[row]
        if op == "log_softmax":
            return math.nan, log_p, np.ones(len(flat))
        if op == "softmax":
            return math.nan, np.exp(log_p), np.zeros(len(flat))
        target = data.targets(self.folder, n, c)
        at_target = widen(x[target, np.arange(n)] if layout == "strided" else x[np.arange(n), target], dtype)
        hit = target[row] == column
        return (lse - at_target).mean(), (np.exp(log_p) - hit) / n, hit / n

    def of_elements(self, op, n):
        y = data.labels(self.folder, n).astype(np.float64)
        if op == "bce":
            p = data.probabilities(self.folder, n).astype(np.float64)
            mean = -(y * np.log(p) + (1 - y) * np.log1p(-p)).mean()
            return mean, ((p - y) / (p * (1 - p)) / n)[:COUNT], np.zeros(min(COUNT, n))
        x = data.logits(self.folder, "f32", n).astype(np.float64)
        s = 1 / (1 + np.exp(-x))
        if op == "sigmoid":
            return math.nan, s[:COUNT], np.zeros(min(COUNT, n))
        mean = (np.logaddexp(0, x) - x * y).mean()
        return mean, ((s - y) / n)[:COUNT], np.full(min(COUNT, n), 1 / n)

    def error(self, op, dtype, n, c, layout, mean, path):
        """The worst relative error of a result: of its mean loss, and of the elements in the file."""
        if op in ("bce", "bce_logits", "sigmoid"):
            want_mean, want, floor = self.of_elements(op, n)
        else:
            want_mean, want, floor = self.of_rows(op, dtype, n, c, layout)
        got = widen(np.fromfile(path, data.DTYPES[dtype]), dtype)
        if len(got) != len(want):
            return math.inf
        if dtype == "f16":    # below it f16 is subnormal, and has fewer digits
            floor = np.maximum(floor, 2.0 ** -14)
        scale = np.maximum(np.abs(want), floor)
        worst = float((np.abs(got - want) / scale).max())
        if not math.isnan(want_mean):
            worst = max(worst, abs(mean - want_mean) / abs(want_mean))
        return math.inf if math.isnan(worst) else worst

    @staticmethod
    def count(op, n, c):
        return n if op == "lse" else min(COUNT, n * c)
