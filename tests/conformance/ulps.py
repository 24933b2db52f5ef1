"""Exact values, and how far a result is from them, in units in the last place.

Exact values are computed in the C compiler's long double: 11 bits more than a double on x86
(60 on machines where it is a binary128), 40 more than a float."""
import numpy as np
import torch

REAL = np.longdouble
if np.finfo(REAL).nmant < 63:
    raise SystemExit("conformance: long double is no wider than double here, so doubles can't be judged")

# Digits, the least exponent of a unit in the last place, and the exponent of the largest number.
FORMATS = {torch.float32: (24, -149, 127), torch.float64: (53, -1074, 1023),
           torch.float16: (11, -24, 15), torch.bfloat16: (8, -133, 127)}


def real(tensor):
    """A tensor's values, exactly."""
    return tensor.detach().double().numpy().astype(REAL)


def computed_in(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def ulp(value, dtype):
    """The spacing of the dtype's numbers around value; of its subnormals at least."""
    digits, least, _ = FORMATS[dtype]
    value = np.abs(np.asarray(value, REAL))
    exponent = np.where(value == 0, least, np.frexp(value)[1] - digits)
    return np.ldexp(REAL(1), np.maximum(exponent, least))


def overflows(value, dtype):
    """Whether value rounds to an infinity."""
    digits, _, top = FORMATS[dtype]
    return np.abs(value) >= np.ldexp(2 - np.ldexp(REAL(1), -digits), top)


def factor_roundings(computed):
    """How often weight and reduction round: in double, so once in f32, and each of them in f64
    (class weight, row weight, incoming gradient, divisor)."""
    return 1 if FORMATS[computed][0] < FORMATS[torch.float64][0] else 4


def infinite_beyond(values, dtype):
    """The values, infinite where they do not fit in the dtype."""
    return np.where(overflows(values, dtype), np.copysign(REAL(np.inf), values), values)


class Expected:
    """One output: its exact values, and the error allowed.

    exact, largest: before the factor (weight and reduction). The bound counts ulps, of the
        type computed in, of largest: the value itself or its largest term.
    coarse: 10^-12 of it is what PyTorch in float64 may differ by."""

    def __init__(self, exact, bound, dtype, largest=None, factor=None, coarse=None, least=0):
        computed = computed_in(dtype)
        exact = np.asarray(exact, REAL)
        largest = exact if largest is None else largest
        # What does not fit before the factor is infinite with it.
        exact = infinite_beyond(exact, computed)
        one = factor is None
        factor = REAL(1) if one else np.asarray(factor, REAL)
        self.exact = exact * factor
        self.unit = ulp(largest, computed) * np.abs(factor)
        self.tolerance = np.maximum(bound * self.unit, least) + (0 if one else ulp(self.exact, computed) * factor_roundings(computed) / 2)
        self.largest = np.maximum(np.abs(self.exact), np.abs(largest * factor))
        # Where the bound is no number of ulps of the result: a floor holds, or the value is subnormal
        # before the factor, which makes more of its spacing.
        self.absolute = (bound * self.unit < least) | (np.abs(largest) < torch.finfo(computed).tiny)
        self.coarse = self.largest if coarse is None else np.broadcast_to(coarse, self.exact.shape)
        self.dtype = computed

    def compare(self, got, dtype, tolerance=None, unit_of=None):
        """Which of got's values are right, and all errors in ulps of got's dtype (inf: a NaN or
        an infinity in the wrong place)."""
        got = np.asarray(got, REAL)
        exact = self.exact
        allowed = self.tolerance if tolerance is None else tolerance
        if tolerance is None and FORMATS[dtype][0] < FORMATS[self.dtype][0]:
            allowed = allowed + ulp(exact, dtype) / 2
        same = (got == exact) | (np.isnan(got) & np.isnan(exact))
        # An exact value beyond the largest number, or within the error of that, may be infinite.
        same |= np.isinf(got) & (np.sign(got) == np.sign(exact)) & overflows(np.abs(exact) + allowed, dtype)
        error = np.where(same, 0, np.abs(got - exact))
        wrong = ~same & ~(np.isfinite(got) & np.isfinite(exact))
        right = same | (~wrong & (error <= allowed))
        error = np.where(wrong, REAL(np.inf), error)
        # In units of the type computed in where that is narrower: sums are doubles of floats' sums.
        dtype = min(dtype, unit_of or dtype, key=lambda d: FORMATS[d][0])
        units = np.where(error == 0, 0, error / ulp(np.minimum(self.largest, np.finfo(np.float64).max), dtype))
        return right, units
