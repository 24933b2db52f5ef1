"""Cross-entropy with all its options: the terms of xent.h, one by one."""
import numpy as np
import torch

from oracle import Loss, Rows, bounds, expect_state, finite_max, lse_bound, soft_capped, to_rows
from ulps import REAL, Expected, computed_in, overflows, ulp


def mixed(case):
    """Ulp of the largest term, where terms have both signs. A power multiplies the relative error of
    1 - p by its exponent."""
    return max(12, 8 + 4 * case.option("focal_gamma"))


def gradient_floor(case, r, scale):
    """Where scale / (1 + rest) is below 2^-78, scale being all that multiplies softmax, an f32
    gradient is within 2^-101 instead, an f64 one where it is below 2^-894 within 2^-946."""
    below, within = (-894, -946) if case.dtype == torch.float64 else (-78, -101)
    scale = np.abs(scale) / (1 + r.rest)
    return np.where(scale < REAL(2) ** below, REAL(2) ** within, 0)[:, None]


def capped_error(case):
    """Capped logits are within 3 ulp of the cap."""
    return 3 * ulp(REAL(case.option("softcap")), computed_in(case.dtype))


def cross_entropy(case):
    loss = Loss(case)
    cap = REAL(case.option("softcap"))
    x, slope = soft_capped(loss.x, cap) if cap else (loss.x, None)
    r = Rows(x, computed_in(case.dtype))
    if cap:  # max - x_c of logits that are rounded: these are the terms
        finite = np.where(np.isfinite(x), np.abs(x), 0)
        r.gap_size = np.maximum(np.maximum(np.abs(r.max)[:, None], finite), r.log_rest[:, None])
    special = (case.option("label_smoothing") or case.option("z_loss") or case.option("focal_gamma") or cap
               or not loss.indexed)
    results = special_terms(case, loss, r, slope) if special else plain_terms(case, loss, r)
    high, rest = expect_state(r, case)
    lse = Expected(r.lse, lse_bound(case), case.dtype, largest=r.lse_size, coarse=finite_max(loss.x))
    entropy = Expected(r.entropy() if loss.classes else np.zeros(loss.rows), bounds(case)[1], case.dtype, coarse=finite_max(loss.x))
    if cap:  # an error of x' is one of the exponent
        off = capped_error(case)
        slack = 2 * off
        entropy.tolerance = entropy.tolerance + slack * np.abs(entropy.exact)
        rest.tolerance = rest.tolerance + slack * np.abs(rest.exact)
        for e in (lse, high):
            e.tolerance = np.where(np.isfinite(e.exact), e.tolerance + 2 * off, e.tolerance)
    for e, instead in ((high, -np.inf), (rest, -1), (lse, -np.inf), (entropy, 0)):
        e.exact = loss.masked(e.exact, instead)
    high.judged, rest.judged = high.judged | loss.ignored, rest.judged | loss.ignored
    results |= {"lse": lse, "entropy": entropy, "state.max": high, "state.rest": rest}
    if loss.indexed:
        results["target_logit"] = target_logit(case, loss, x, cap)
    results |= ranks(case, loss, x)
    return results


def plain_terms(case, loss, r):
    """w_y r (lse - x_y), and w_y r (p_j - [j = y]): nothing cancels."""
    two, four = bounds(case)
    at = np.arange(loss.rows)
    size = finite_max(loss.x)
    gap_y, gradient = np.zeros(loss.rows, REAL), r.p.copy()
    if loss.classes:
        gap_y = r.gap[at, loss.y]
        gradient[at, loss.y] = -r.not_p(loss.y)
    w_r, w_f = loss.w_y * loss.r, loss.w_y * loss.factor
    row = loss.expected(gap_y, two, factor=w_r, coarse=size * np.abs(w_r))
    g = loss.expected(gradient, four, factor=w_f[:, None], coarse=(size * np.abs(w_f))[:, None],
                      least=gradient_floor(case, r, w_f))
    zero = Expected(np.zeros(loss.rows), 0, case.dtype)
    return {"loss": row, "gradient": g, "z_loss": zero, **loss.sums(row)}


def special_terms(case, loss, r, slope):
    """Terms of both signs: the bound is in ulps of the largest of them, of a sum its terms all taken
    positive. What is multiplied by something large may be a subnormal number before."""
    e, z, gamma = (REAL(case.option(n)) for n in ("label_smoothing", "z_loss", "focal_gamma"))
    w, at, classes = loss.w, np.arange(loss.rows), max(1, loss.classes)
    terms, sizes = [np.zeros(loss.rows, REAL)], [np.zeros(loss.rows, REAL)]                # of the row's loss
    slopes, slope_sizes = [np.zeros(loss.x.shape, REAL)], [np.zeros(loss.x.shape, REAL)]  # of its gradient
    gain = 0                         # what multiplies softmax in it
    w_row = np.broadcast_to(w, loss.x.shape)
    if not loss.indexed:
        t = to_rows(case.target, case.class_axis)
        t_size = np.abs(w_row) * (np.abs((1 - e) * t) + e / classes)
        t = w_row * (((1 - e) * t) + (e / classes if e else 0))
        terms.append((t * r.gap).sum(1))
        sizes.append((t_size * r.gap_size).sum(1))
        mass = t.sum(1, keepdims=True)
        gain = mass[:, 0]
        slopes += [r.p * mass, -t]
        slope_sizes += [r.p * t_size.sum(1, keepdims=True), t_size]
    elif loss.classes:
        if e != 1:
            nll, nll_size = r.gap[at, loss.y], r.gap_size[at, loss.y]
            step = r.p.copy()
            step[at, loss.y] = -r.not_p(loss.y)
            kept, kept_slope = (1 - e) * loss.w_y, (1 - e) * loss.w_y
            if gamma:
                q, p = r.not_p(loss.y), r.p[at, loss.y]
                # As p goes to 1, log(1/p) goes as 1 - p. At 0, 0 times infinity is NaN, as in PyTorch.
                part = np.where(q == 0, 0, gamma * q ** (gamma - 1) * p * nll)
                kept, kept_slope = kept * q ** gamma, kept_slope * (q ** gamma + part)
            terms.append(kept * nll)
            sizes.append(np.abs(kept) * nll_size)
            gain = gain + kept_slope
            slopes.append(kept_slope[:, None] * step)
            slope_sizes.append(np.abs(slopes[-1]))
        if e:
            terms.append(e / classes * (w * r.gap).sum(1))
            sizes.append(e / classes * (np.abs(w) * r.gap_size).sum(1))
            gain = gain + e / classes * w.sum()
            slopes += [e / classes * r.p * w.sum(), -e / classes * w_row]
            slope_sizes += [e / classes * r.p * np.abs(w).sum(), e / classes * np.abs(w_row)]
    finite_gaps = np.where(np.isfinite(r.gap_size), r.gap_size, 0)
    tiny = ulp(0, computed_in(case.dtype)) * (1 + finite_gaps).sum(1) * (1 + np.abs(loss.r))
    without_z = loss.expected(loss.r * sum(terms), mixed(case), largest=np.abs(loss.r) * np.max(sizes, 0), least=tiny)
    z_row = loss.expected(loss.r * z * r.lse ** 2 if z else 0 * loss.r, mixed(case),
                          largest=np.abs(loss.r * z) * r.lse_size ** 2 if z else None)
    if slope is not None and z:
        z_row.tolerance = z_row.tolerance + 4 * np.abs(loss.r * z * finite_max(r.x)) * capped_error(case)
    results = finish(case, loss, r, slope, without_z, z_row, slopes, slope_sizes, gain)
    # Finite logits so large that a part of the loss may overflow: what becomes of it, by factors and
    # parts of the other sign, is open.
    part = 16 * finite_max(loss.x) * (1 + np.abs(w_row).sum(1)) * (1 + (0 if loss.indexed else t_size.sum(1)))
    judged = loss.ignored | ~overflows(part, computed_in(case.dtype))
    if not loss.indexed:  # w t too small for a number, 0, and then times infinity
        vanishing = (t != 0) & (t_size < torch.finfo(computed_in(case.dtype)).tiny) & np.isinf(r.gap)
        judged &= ~vanishing.any(1)
    if z:
        judged &= loss.ignored | ~overflows(16 * finite_max(loss.x) ** 2, torch.float64)
        results["z_loss"].judged = judged
    results["loss"].judged = judged
    for name in ("sum", "mean"):
        results[name].judged = np.atleast_1d(judged.all())
    if not loss.indexed:
        f = ((1 - e) * loss.factor)[:, None]
        largest = None if slope is None else np.abs(w_row) * r.gap_size
        results["target_gradient"] = loss.expected(w_row * r.gap, bounds(case)[1] if slope is None else mixed(case),
                                                   largest=largest, factor=f,
                                                   coarse=finite_max(loss.x)[:, None] * np.abs(w_row * f))
    return results


def finish(case, loss, r, slope, without_z, z_row, slopes, slope_sizes, gain):
    """The sum of the terms, and its error."""
    z = REAL(case.option("z_loss"))
    size = finite_max(loss.x) if slope is None else np.maximum(finite_max(loss.x), r.gap_size.max(1, initial=1))
    weights = np.abs(loss.w).sum() if loss.indexed else 1 + np.abs(to_rows(case.target, case.class_axis) * loss.w).sum(1)
    without_z.coarse = loss.masked(without_z.coarse + size * weights * np.abs(loss.r))
    z_row.coarse = loss.masked(z_row.coarse + (z * size ** 2 * np.abs(loss.r) if z else 0))
    results = {"z_loss": z_row}
    row = results["loss"] = Expected(without_z.exact + (z_row.exact if z else 0), 0, case.dtype,
                                     coarse=without_z.coarse + z_row.coarse)
    row.tolerance = np.maximum(without_z.tolerance, z_row.tolerance)
    row.largest = np.maximum(without_z.largest, z_row.largest)
    row.absolute = without_z.absolute & z_row.absolute
    f, f_z = loss.factor[:, None], loss.z_factor[:, None]
    gain = gain * loss.factor + (loss.z_factor * 2 * z * r.lse if z else 0)
    gradient = sum(s * f for s in slopes)
    largest = np.max([s * np.abs(f) for s in slope_sizes], 0)
    if z:
        gradient = gradient + f_z * 2 * z * r.lse[:, None] * r.p
        largest = np.maximum(largest, np.abs(f_z) * 2 * z * r.lse_size[:, None] * r.p)
    if slope is not None:  # 1 - tanh^2 is of both signs; x' is rounded before it is an exponent
        gradient = gradient * slope
        exponent = np.maximum(np.where(np.isfinite(r.x), np.abs(r.x), 0), np.abs(r.max)[:, None])
        largest = largest * np.maximum(exponent, 1) * (1 + REAL(case.option("focal_gamma")))
    coarse = (size * (weights + 2 * z * size) * (np.abs(loss.factor) + np.abs(loss.z_factor)))[:, None]
    least = np.maximum(gradient_floor(case, r, gain), 2 * ulp(0, computed_in(case.dtype)) * (1 + np.abs(f)))
    results["gradient"] = loss.expected(gradient, mixed(case), largest=largest, coarse=coarse, least=least)
    results["gradient"].judged = ~overflows(16 * gain, computed_in(case.dtype))[:, None]
    return {**results, **loss.sums(without_z, z_row if z else None)}


def target_logit(case, loss, x, cap):
    x_y = x[np.arange(loss.rows), loss.y] if loss.classes else np.full(loss.rows, REAL(-np.inf))
    e = Expected(x_y, 8 if cap else 0, case.dtype, coarse=finite_max(loss.x))
    e.exact = loss.masked(e.exact, -np.inf)
    return e


def ranks(case, loss, x):
    """argmax: the first of the greatest, or of the NaNs. Capped logits are compared as rounded, so
    those as near as that to the greatest may win: they are not judged."""
    exact = x.argmax(1) if loss.classes else np.full(loss.rows, -1)
    judged = np.ones(loss.rows, bool)
    if case.option("softcap") and loss.classes:
        greatest = x.max(1, keepdims=True)
        near = (x == greatest) | (np.abs(x - greatest) < np.abs(greatest) * REAL(2) ** -20)
        judged = near.sum(1) <= 1
    results = {"argmax": Expected(loss.masked(exact, -1), 0, torch.float64)}
    results["argmax"].judged = judged
    if loss.indexed:
        right = loss.masked((exact == loss.y) & bool(loss.classes))
        results["correct"] = Expected(right, 0, torch.float64)
        results["correct"].judged = judged
        results["correct_count"] = Expected(np.atleast_1d(right.sum()), 0, torch.float64)
        results["correct_count"].judged = np.atleast_1d(judged.all())
    return results
