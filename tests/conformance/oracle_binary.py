"""Sigmoid, log-sigmoid and the binary cross-entropies, element by element."""
import numpy as np
import torch

from ulps import REAL, Expected, infinite_beyond, overflows, real, ulp


def sigmoid_of(x):
    z = np.exp(-np.abs(x))
    return np.where(x < 0, z, 1) / (1 + z)


def softplus(x):
    """log(1 + exp(x))."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def size_of(x):
    return np.where(np.isfinite(x), np.maximum(np.abs(x), 1), 1)


def sigmoid(case):
    x = real(case.x.values())
    return {"output": Expected(sigmoid_of(x), 2.5, case.dtype, coarse=size_of(x))}


def log_sigmoid(case):
    x = real(case.x.values())
    return {"output": Expected(-softplus(-x), 2, case.dtype, coarse=size_of(x))}


def sigmoid_backward(case):
    s, g = real(case.x.values()), real(case.incoming.values())
    return {"gradient": Expected(s * (1 - s), 3, case.dtype, factor=g, coarse=np.abs(g))}


def log_sigmoid_backward(case):
    x, g = real(case.x.values()), real(case.incoming.values())
    return {"gradient": Expected(sigmoid_of(-x), 3, case.dtype, factor=g, coarse=size_of(x) * np.abs(g))}


class Elements:
    """What both losses share: weights, smoothing, reductions."""

    def __init__(self, case):
        self.case, self.x, self.y = case, real(case.x.values()), real(case.target.values())
        e = REAL(case.option("label_smoothing"))
        self.keep = 1 - e
        self.y = self.keep * self.y + e / 2 if e else self.y
        shape = self.x.shape
        self.w = np.broadcast_to(REAL(1) if case.weight is None else real(case.weight.values()), shape)
        self.p = np.broadcast_to(REAL(1) if case.pos_weight is None else real(case.pos_weight.values()), shape)
        self.count = REAL(self.x.size)
        given = case.option("divisor_kind", "weights") == "given"
        self.divisor = REAL(case.options["divisor"]) if given else self.count
        g = REAL(1) if case.incoming is None else real(case.incoming.values())
        self.factor = np.broadcast_to(g / (self.divisor if case.reduction == "mean" else 1), shape)

    def terms(self, bound, factor, *terms):
        """A sum of terms, within the bound of the largest of them."""
        largest = np.abs(np.array(np.broadcast_arrays(*terms))).max(0)
        coarse = (size_of(self.x) * size_of(self.y) * (1 + np.abs(self.p)) + largest) * np.abs(factor)
        return Expected(sum(terms), bound, self.case.dtype, largest=largest, factor=factor, coarse=coarse)

    def sums(self, loss):
        dtype, results = torch.float64, {}
        loss_sum = infinite_beyond(infinite_beyond(loss.exact, loss.dtype).sum(), dtype)
        for name, d in (("sum", REAL(1)), ("mean", self.divisor)):
            total = np.atleast_1d(loss_sum / d)
            if name == "mean" and self.count == 0 and self.case.option("empty_mean_is_zero"):
                total = np.zeros(1, REAL)
            size = np.abs(loss.exact).sum() / abs(d)
            e = results[name] = Expected(total, 1, dtype, largest=np.atleast_1d(size),
                                         coarse=np.atleast_1d(loss.coarse.sum() / abs(d)))
            e.tolerance = loss.tolerance.sum() / abs(d) + 2 * ulp(total, dtype) + 8 * REAL(2) ** -53 * size
        # Where an unweighted loss, or their sum, may overflow, so may what is made of it.
        size = size_of(self.x) * size_of(self.y) * (1 + np.abs(self.p)) * (1 + np.abs(self.w))
        if overflows(4 * size.max(initial=0), loss.dtype) or overflows(4 * size.sum(), dtype):
            for name in ("sum", "mean"):
                results[name].judged = np.zeros(1, bool)
        results["divisor"] = Expected(np.atleast_1d(self.divisor), 0, dtype)
        return results


def bce(case):
    e = Elements(case)
    p, y, weighted = e.x, e.y, e.w * e.factor
    log_p, log_q = np.log(p), np.log1p(-p)
    loss = e.terms(4, e.w, -y * np.maximum(log_p, -100), -(1 - y) * np.maximum(log_q, -100))
    clamped = np.maximum((1 - p) * p, REAL(np.float32(1e-12)))
    # A smoothed target is rounded before p is taken from it.
    smoothed = e.keep != 1
    gradient = Expected((p - y) / clamped, 4, case.dtype, factor=weighted,
                        largest=np.maximum(p, y) / clamped if smoothed else None,
                        coarse=np.abs(weighted) / clamped)
    in_target = e.terms(3, weighted * e.keep, log_q, -log_p)
    return {"loss": loss, "gradient": gradient, "target_gradient": in_target, **e.sums(loss)}


def bce_with_logits(case):
    if case.option("focal_gamma"):
        return focal(case)
    e = Elements(case)
    x, y, weighted = e.x, e.y, e.w * e.factor
    loss = e.terms(5, e.w, (1 - y) * softplus(x), e.p * y * softplus(-x))
    gradient = e.terms(5, weighted, (1 - y) * sigmoid_of(x), -e.p * y * sigmoid_of(-x))
    parts = e.p * softplus(-x), -softplus(x)
    in_target = e.terms(5, weighted * e.keep, *parts)
    # With weights a part may overflow before 1 - e, which may be 0, makes it less.
    weighted_part = np.abs(parts).max(0) * 4 * (1 + np.abs(weighted))
    in_target.judged = (e.keep == 1) | ~overflows(weighted_part, in_target.dtype)
    return {"loss": loss, "gradient": gradient, "target_gradient": in_target, **e.sums(loss)}


def focal(case):
    """f m^gamma ce, m = 1 - p_t = y s(-x) + (1 - y) s(x)."""
    e = Elements(case)
    x, y, gamma, alpha = e.x, e.y, REAL(case.option("focal_gamma")), REAL(case.option("focal_alpha", -1.0))
    s, q = sigmoid_of(x), sigmoid_of(-x)
    f = e.w * (alpha * y + (1 - alpha) * (1 - y) if alpha >= 0 else 1)
    m, ce = y * q + (1 - y) * s, y * softplus(-x) + (1 - y) * softplus(x)
    bound = 8 + 4 * float(gamma)
    loss = e.terms(bound, f, m ** gamma * y * softplus(-x), m ** gamma * (1 - y) * softplus(x))
    # As m goes to 0 so does its power over it, times ce.
    inner = np.where((m == 0) & ~np.isnan(ce), 0, gamma * m ** (gamma - 1) * ce * s * q * (2 * y - 1))
    gradient = e.terms(bound, f * e.factor, m ** gamma * (1 - y) * s, -(m ** gamma) * y * q, -inner)
    return {"loss": loss, "gradient": gradient, **e.sums(loss)}
