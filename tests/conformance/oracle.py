"""What is right: the formulas of xent.h in long double, in the form in which nothing small is
added to something large before its logarithm is taken.

Every result is an Expected: the exact values and the error that xent.h allows. Rows are lines of
a matrix here, (rows, classes)."""
import numpy as np
import torch

from ulps import REAL, Expected, computed_in, infinite_beyond, overflows, real, ulp


def to_rows(tensor, axis):
    """Exact values of a tensor, the class axis last, (rows, classes)."""
    values = real(tensor if isinstance(tensor, torch.Tensor) else tensor.values())
    if values.ndim == 0:
        return values.reshape(1, 1)
    values = np.moveaxis(values, axis, -1)
    return values.reshape(int(np.prod(values.shape[:-1], initial=1)), values.shape[-1])


def of_rows(array, rows):
    """One value a row; a scalar for all; or ones."""
    return np.ones(rows, REAL) if array is None else np.broadcast_to(real(array.values()).reshape(-1), rows)


def finite_max(x):
    """The largest finite magnitude of each row, at least 1: what PyTorch's rounding goes by."""
    return np.where(np.isfinite(x), np.abs(x), 0).max(1, initial=1)


class Rows:
    """What a row's logits say: the max, rest = sum exp(x - max) over all but one that attains it,
    and with them p = softmax, gap = lse - x, infinite where it does not fit in the type computed in.
    Where the max is infinite all but lse is NaN."""

    def __init__(self, x, computed):
        count, classes = x.shape
        self.x, self.max = x, x.max(1, initial=-np.inf)
        self.max = np.where(np.isnan(x).any(1), np.nan, self.max)
        infinite = np.isinf(self.max)
        e = np.exp(x - self.max[:, None])
        e[infinite] = np.nan
        others = e.copy()
        if classes:
            others[np.arange(count), x.argmax(1)] = 0
        self.rest = np.where(infinite, np.nan, others.sum(1)) if classes else np.full(count, REAL(-1))
        self.log_rest = np.log1p(self.rest)
        self.lse = np.where(infinite, self.max, self.max + self.log_rest)
        self.lse_size = np.where(infinite, self.max, np.maximum(np.abs(self.max), self.log_rest))
        self.e = e
        self.p = e / (1 + self.rest)[:, None]
        self.gap = (self.max[:, None] - x) + self.log_rest[:, None]
        self.gap = infinite_beyond(self.gap, computed)
        self.gap_size = self.gap

    def not_p(self, y):
        """1 - p of class y."""
        at = np.arange(len(y))
        e_y = self.e[at, y]
        others = np.where(self.x[at, y] == self.max, self.rest, 1 + (self.rest - e_y))
        return others / (1 + self.rest)

    def entropy(self):
        """-sum p log p = log1p(rest) + sum p (max - x), 0 log 0 being 0."""
        below = self.max[:, None] - self.x
        return self.log_rest + np.where(self.p == 0, 0, self.p * below).sum(1)


def soft_capped(rows_x, cap):
    """Capped logits, their derivative 1 / cosh^2; a masked class stays."""
    masked = np.isneginf(rows_x)
    return (np.where(masked, rows_x, cap * np.tanh(rows_x / cap)),
            np.where(masked, 1, 1 / np.cosh(rows_x / cap) ** 2))


def bounds(case):
    """(2, 4) for what is said to be within 2 and 4 ulp, in f64 3 and 5."""
    return (3, 5) if case.dtype == torch.float64 else (2, 4)


def lse_bound(case):
    return 3 if case.dtype == torch.float64 else 2.5


# ---- The softmax family -------------------------------------------------------------------

def expect_state(r, case):
    """max exactly, rest within 1.5 ulp; neither means anything where the max is not finite,
    but that an infinite one is there."""
    high, rest = Expected(r.max, 0, case.dtype), Expected(r.rest, 1.5, case.dtype)
    high.judged, rest.judged = ~np.isnan(r.max), np.isfinite(r.max)
    return high, rest


def log_sum_exp(case):
    four = bounds(case)[1]
    r = Rows(to_rows(case.x, case.class_axis), computed_in(case.dtype))
    g = None if case.incoming is None else of_rows(case.incoming, len(r.max))[:, None]
    size = finite_max(r.x)
    high, rest = expect_state(r, case)
    return {"lse": Expected(r.lse, lse_bound(case), case.dtype, largest=r.lse_size, coarse=size),
            "gradient": Expected(r.p, four, case.dtype, factor=g,
                                 coarse=size[:, None] * (1 if g is None else np.abs(g))),
            "state.max": high, "state.rest": rest}


def softmax(case):
    r = Rows(to_rows(case.x, case.class_axis), computed_in(case.dtype))
    return {"output": Expected(r.p, bounds(case)[1], case.dtype, coarse=finite_max(r.x)[:, None])}


def log_softmax(case):
    r = Rows(to_rows(case.x, case.class_axis), computed_in(case.dtype))
    return {"output": Expected(-r.gap, bounds(case)[0], case.dtype, coarse=finite_max(r.x)[:, None])}


def softmax_backward(case):
    """p_j (g_j - sum p_c g_c). The sum, all its terms taken positive, is one of the terms."""
    p, g = to_rows(case.x, case.class_axis), to_rows(case.incoming, case.class_axis)
    total, size = (p * g).sum(1, keepdims=True), np.abs(p * g).sum(1, keepdims=True)
    return {"gradient": Expected(p * (g - total), bounds(case)[1], case.dtype,
                                 largest=np.abs(p) * np.maximum(np.abs(g), size))}


def log_softmax_backward(case):
    """g_j - exp(output_j) sum g_c."""
    p, g = np.exp(to_rows(case.x, case.class_axis)), to_rows(case.incoming, case.class_axis)
    total, size = g.sum(1, keepdims=True), np.abs(g).sum(1, keepdims=True)
    return {"gradient": Expected(g - p * total, bounds(case)[1], case.dtype,
                                 largest=np.maximum(np.abs(g), p * size))}


# ---- Cross-entropy and NLL -------------------------------------------------------------------

class Loss:
    """What all losses of rows share: weights, ignored rows, reductions."""

    def __init__(self, case):
        self.case = case
        self.x = to_rows(case.x, case.class_axis)
        self.rows, self.classes = self.x.shape
        self.indexed = not case.target.dtype.is_floating_point
        self.w = np.ones(self.classes, REAL) if case.weight is None else real(case.weight.values())
        self.r = of_rows(case.row_weight, self.rows)
        self.ignored = np.zeros(self.rows, bool)
        if self.indexed:
            y = case.target.values().numpy().reshape(-1).astype(np.int64)
            self.ignored = y == case.option("ignore_index", -100)
            self.y = np.where(self.ignored, 0, y)
            self.w_y = self.w[self.y] if self.classes else np.ones(self.rows, REAL)
        counted = ~self.ignored
        self.count = counted.sum()
        by_weight = (self.w_y if self.indexed else 1) * self.r
        kind = case.option("divisor_kind", "weights")
        self.divisor = (REAL(case.options["divisor"]) if kind == "given" else
                        REAL(self.count) if kind == "rows" else np.where(counted, by_weight, 0).sum())
        self.z_divisor = self.divisor if kind == "given" else REAL(self.count)
        incoming = of_rows(case.incoming, self.rows)
        mean = case.reduction == "mean"
        # The divisor is within 1 ulp plus 6 2^-53 of the sum of |w_y r|: much, where these cancel.
        self.divisor_size = np.where(counted, np.abs(by_weight), 0).sum()
        self.divisor_error = 6 * REAL(2) ** -53 * self.divisor_size if kind == "weights" else REAL(0)
        self.off = self.divisor_error / np.abs(self.divisor) if self.divisor and np.isfinite(self.divisor) else REAL(0)
        self.factor = self.r * incoming / (self.divisor if mean else 1)
        self.z_factor = self.r * incoming / (self.z_divisor if mean else 1)

    def masked(self, values, instead=0):
        """Ignored rows hold something else."""
        ignored = self.ignored if values.ndim == 1 else self.ignored[:, None]
        return np.where(ignored, REAL(instead), values)

    def expected(self, exact, bound, largest=None, factor=None, coarse=None, least=0, instead=0):
        """An Expected whose ignored rows are exactly `instead`."""
        shape = np.shape(exact)
        largest = exact if largest is None else largest
        factor = None if factor is None else np.broadcast_to(self.masked(np.broadcast_to(factor, shape), 1), shape)
        coarse = None if coarse is None else self.masked(np.broadcast_to(coarse, shape))
        e = Expected(self.masked(exact, instead), bound, self.case.dtype, self.masked(largest), factor, coarse, least)
        if self.case.reduction == "mean":
            e.tolerance = e.tolerance + self.off * e.largest
        return e

    def sums(self, loss, z=None):
        """sum, divisor and mean: of the losses, each with its own error, and then within 1 ulp of
        double plus 6 2^-53 of the sum of |loss|."""
        case, dtype = self.case, torch.float64
        z = Expected(np.zeros(self.rows), 0, dtype) if z is None else z
        loss_sum, z_sum = (infinite_beyond(infinite_beyond(e.exact, e.dtype).sum(), dtype) for e in (loss, z))
        results = {}
        for name, d, d_z in (("sum", REAL(1), REAL(1)), ("mean", self.divisor, self.z_divisor)):
            with_z = np.any(z.exact != 0)
            total = loss_sum / d + (z_sum / d_z if with_z else 0)
            if name == "mean" and self.count == 0 and case.option("empty_mean_is_zero"):
                total = REAL(0)
            size = np.abs(loss.exact).sum() / abs(d) + (np.abs(z.exact).sum() / abs(d_z) if with_z else 0)
            total, size = np.atleast_1d(total), np.atleast_1d(size)
            e = results[name] = Expected(total, 1, dtype, largest=size, coarse=np.atleast_1d(
                loss.coarse.sum() / abs(d) + (z.coarse.sum() / abs(d_z) if with_z else 0)))
            own = loss.tolerance.sum() / abs(d) + (z.tolerance.sum() / abs(d_z) if with_z else 0)
            e.tolerance = own + 2 * ulp(total, dtype) + (8 * REAL(2) ** -53 + self.off * (name == "mean")) * size
            finite = np.where(np.isfinite(loss.exact), loss.exact, 0)
            if name == "mean" and overflows(4 * size * abs(d), dtype) or overflows(finite, loss.dtype).any():
                e.judged = np.zeros(1, bool)  # the sum, or a loss in it, may be infinite
        results["divisor"] = Expected(np.atleast_1d(self.divisor), 1, dtype, coarse=np.atleast_1d(self.divisor_size))
        results["divisor"].tolerance += self.divisor_error
        return results


def nll(case):
    loss = Loss(case)
    at = np.arange(loss.rows)
    x_y = loss.x[at, loss.y] if loss.classes else np.zeros(loss.rows, REAL)
    results = {"loss": loss.expected(-x_y, 0, factor=loss.w_y * loss.r)}
    gradient = np.zeros_like(loss.x)
    if loss.classes:
        gradient[at, loss.y] = -1
    results["gradient"] = loss.expected(gradient, 0, factor=np.where(gradient == 0, 1, (loss.w_y * loss.factor)[:, None]))
    return {**results, **loss.sums(results["loss"])}
