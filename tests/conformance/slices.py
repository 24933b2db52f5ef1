"""Rows whose classes come in slices, a call each: states, merged, finished; and states as such."""
import numpy as np
import torch

from calls import Outputs, options_of
from cases import Case, tensor
from dice import Dice
from layouts import place
from oracle import Loss, Rows, bounds, finite_max, to_rows
from oracle_loss import plain_terms
from ulps import REAL, Expected, computed_in, real, ulp

MILLION = 1_000_000
SHARDS = ["2", "3", "8", "odd chunks"]


def slices_of(case):
    """(first class, number of classes) of each slice."""
    edges = [0, *case.cuts, case.x.shape[case.class_axis]]
    return [(a, b - a) for a, b in zip(edges, edges[1:])]


def run(library, case):
    """Of each slice its states and target logits; of all, merged, log-sum-exp, loss and gradient."""
    axis, rows = case.class_axis, int(np.prod(case.row_shape, initial=1))
    options = {**options_of(case), "class_count": case.x.shape[axis]}
    merged = np.repeat([[-np.inf, -1.0]], rows, 0)
    targets = np.full(rows, -np.inf)
    for first, count in slices_of(case):
        out = Outputs(case, ["state", "target_logit"])
        library.cross_entropy("cross_entropy", case.x.narrow(axis, first, count), case.target, out.members(),
                              class_offset=first, **options)
        library.merge(merged, out.states, merged)
        targets = np.maximum(targets, real(out.tensors["target_logit"].values()).reshape(-1).astype(float))
    lse, loss = np.full(rows, 7.0), np.full(rows, 7.0)
    library.finish(merged, targets, lse, loss)
    gradient = Outputs(case, ["gradient", "divisor"])
    for first, count in slices_of(case):
        members = {"gradient": gradient.tensors["gradient"].narrow(axis, first, count), "divisor": gradient.numbers["divisor"]}
        library.cross_entropy("cross_entropy", gradient.x.narrow(axis, first, count), case.target, members,
                              class_offset=first, state=merged, **options)
    results = {"lse": lse, "loss": loss, "target_logit": targets, "state.max": merged[:, 0], "state.rest": merged[:, 1]}
    return {**gradient.results(), **{n: (v.astype(REAL), torch.float64) for n, v in results.items()}}


def expect(case):
    loss, at = Loss(case), np.arange(int(np.prod(case.row_shape, initial=1)))
    whole, dtype = Rows(loss.x, computed_in(case.dtype)), case.dtype
    # 1.5 ulp of each slice's rest, as much as it counts in the whole; 2 ulp of double a merge.
    parts = [Rows(loss.x[:, a:a + n], computed_in(dtype)) for a, n in slices_of(case)]
    allowed = 4 * len(parts) * ulp(whole.rest, torch.float64)
    for part in parts:
        share = np.exp(part.max - whole.max)
        allowed = allowed + np.where(np.isfinite(part.max), 1.5 * ulp(part.rest, computed_in(dtype)) * share, 0)
    allowed = np.where(np.isfinite(allowed), allowed, np.inf)
    of_log = allowed / (1 + whole.rest)
    results = plain_terms(case, loss, whole)
    gradient = results["gradient"]
    gradient.tolerance = gradient.tolerance + np.abs(loss.w_y * loss.factor)[:, None] * (np.abs(whole.p) * of_log[:, None])
    size = finite_max(loss.x)
    x_y = loss.x[at, loss.y] if loss.classes else np.full(len(at), REAL(-np.inf))
    gap_y = np.where(loss.ignored, np.nan, whole.gap[at, loss.y] if loss.classes else np.nan)
    results = {"gradient": gradient, "divisor": results["divisor"],
               "lse": Expected(whole.lse, 2, torch.float64, largest=whole.lse_size, coarse=size),
               "loss": Expected(gap_y, 2, torch.float64, coarse=size),
               "state.max": Expected(whole.max, 0, torch.float64),
               "state.rest": Expected(whole.rest, 2, torch.float64),
               "target_logit": Expected(loss.masked(x_y, -np.inf), 0, torch.float64)}
    for name in ("lse", "loss", "state.rest"):
        results[name].tolerance = results[name].tolerance + (allowed if name == "state.rest" else of_log)
        results[name].judged = ~loss.ignored if name != "state.rest" else np.isfinite(whole.max) & ~loss.ignored
    results["loss"].judged = results["loss"].judged & ~np.isinf(results["loss"].exact)
    results["state.max"].judged = ~np.isnan(whole.max) & ~loss.ignored
    if case.row_shape and case.x.shape[case.class_axis] == 0:
        results["loss"].judged = np.zeros(len(at), bool)
    return results


def run_states(library, case):
    x = case.x.values().double().numpy()
    a, b = states_of(case)
    merged = np.full_like(a, 7.0)
    library.merge(a, b, merged)
    lse, loss = np.full(len(a), 7.0), np.full(len(a), 7.0)
    library.finish(merged, np.ascontiguousarray(x[4]), lse, loss)
    results = {"state.max": merged[:, 0], "state.rest": merged[:, 1], "lse": lse, "loss": loss}
    return {n: (v.astype(REAL), torch.float64) for n, v in results.items()}


def states_of(case):
    """x holds maxima of a and b, rests of a and b, and target logits."""
    x = case.x.values().double().numpy()
    return np.stack([x[0], x[2]], 1), np.stack([x[1], x[3]], 1)


def expect_states(case):
    """Of (m1, r1) and (m2, r2), m1 >= m2: (m1, r1 + (1 + r2) exp(m2 - m1))."""
    m1, m2, r1, r2, target = real(case.x.values())
    swap = m2 > m1
    m1, m2, r1, r2 = np.where(swap, m2, m1), np.where(swap, m1, m2), np.where(swap, r2, r1), np.where(swap, r1, r2)
    rest = np.where(np.isneginf(m2), r1, r1 + (1 + r2) * np.exp(m2 - m1))
    rest = np.where(np.isneginf(m1), -1, rest)
    log_rest = np.log1p(rest)
    infinite = np.isinf(m1)
    lse = np.where(infinite, m1, m1 + log_rest)
    loss = np.where(infinite, np.nan, (m1 - target) + log_rest)
    nan = np.isnan(m1) | np.isnan(m2)
    f64 = torch.float64
    results = {"state.max": Expected(m1, 0, f64), "state.rest": Expected(rest, 4, f64),
               "lse": Expected(np.where(nan, np.nan, lse), 4, f64, largest=np.maximum(np.abs(m1), log_rest)),
               "loss": Expected(np.where(nan, np.nan, loss), 4, f64)}
    results["state.max"].judged = ~nan
    results["state.rest"].judged = ~nan & (np.isfinite(m1) | np.isneginf(m1))
    return results


def million(seed, number):
    """Rows of a million classes: cut, and whole."""
    dice = Dice(seed, number)
    at = number - MILLION
    dtype = [torch.float32, torch.float64, torch.bfloat16][at % 3]
    x = dice.logits("gaussian" if dtype == torch.bfloat16 else dice.choice(["gaussian", "wide"]), 2, MILLION, dtype)
    case = Case(number=number, function="slices", dtype=dtype, layout="contiguous", kind="a million classes",
                x=place(tensor(x, dtype), "contiguous", dice), values_dtype=torch.float64 if dtype == torch.float64 else torch.float32,
                target=place(torch.tensor([dice.integer(0, MILLION - 1), MILLION - 1]), "contiguous", dice),
                options={"reduction": "sum"})
    if at < 12:
        shards = SHARDS[at // 3]
        step = 99_991 if shards == "odd chunks" else -(-MILLION // int(shards))
        case.cuts = tuple(range(step, MILLION, step))
    else:
        case.function = ["softmax", "log_softmax", "cross_entropy"][at // 3 - 4]
        if case.function != "cross_entropy":
            case.options, case.target = {}, None
    return case


MILLION_CASES = range(MILLION, MILLION + 21)
