"""Where xent differs from PyTorch on purpose, each difference with its reason.

A rule says, for a case and an output in which PyTorch in float64 is not what the oracle of xent
says, which values it explains. Whatever no rule explains is a failure of the run; a rule that
explained nothing in it is named at its end."""
from dataclasses import dataclass
from functools import cached_property
from typing import Callable

import numpy as np
import torch

from oracle import Loss, to_rows
from ulps import FORMATS, REAL, computed_in, overflows, real

OF_ROWS = ("cross_entropy", "cross_entropy_beyond", "cross_entropy_probabilities", "nll", "slices")


@dataclass
class Difference:
    name: str
    reason: str
    explains: Callable  # of a Look: the values it explains, as a mask


class Look:
    """One output of one case, where PyTorch and xent differ."""

    def __init__(self, case, name, expected, got):
        self.case, self.name, self.expected, self.got = case, name, expected.exact, got
        self.shape = got.shape
        self.none = np.zeros(self.shape, bool)

    @cached_property
    def loss(self):
        return Loss(self.case)

    @cached_property
    def x(self):
        by_row = self.case.function in OF_ROWS or "softmax" in self.case.function or self.case.function == "log_sum_exp"
        return to_rows(self.case.x, self.case.class_axis) if by_row else real(self.case.x.values())

    def rows(self, mask):
        """A mask of rows as one of this output; a reduced output has any row in it."""
        if self.name in ("sum", "mean", "divisor"):
            return np.full(self.shape, mask.any())
        return np.broadcast_to(mask[:, None] if len(self.shape) == 2 else mask, self.shape)

    @cached_property
    def y(self):
        return real(self.case.target.values())


def ignored(look):
    return look.rows(look.loss.ignored) if look.case.function in OF_ROWS else look.none


def ignored_lse(look):
    return ignored(look) if look.name == "lse" else look.none


def ignored_gradient(look):
    return ignored(look) & np.isnan(look.got) if look.name == "gradient" else look.none


def overflow(look):
    """Finite logits near the largest number: sums and differences of them do not fit."""
    limit = torch.finfo(computed_in(look.case.dtype)).max / 4096
    if look.case.option("z_loss"):
        limit = limit ** 0.5
    size = np.abs(np.where(np.isfinite(look.x), look.x, 0))
    if look.case.function not in OF_ROWS and look.case.function != "log_softmax":
        return size > limit if look.name not in ("sum", "mean") else np.full(look.shape, (size > limit).any())
    return look.rows((size > limit).any(1))


def infinite_row(look):
    if look.case.function != "log_sum_exp" or look.name != "gradient":
        return look.none
    return look.rows(np.isposinf(look.x).any(1)) & (look.got == 0)


def binary_at_infinity(look):
    if look.case.function not in ("bce_with_logits", "bce_with_logits_beyond"):
        return look.none
    at = np.isneginf(look.x) & ((look.y != 0) | bool(look.case.option("label_smoothing")))
    return np.full(look.shape, at.any()) if look.name in ("sum", "mean") else at


def no_class(look):
    if look.case.class_count() != 0:
        return look.none
    return np.isnan(look.got) & (ignored(look) | (look.name == "mean"))


def smoothing_of_one(look):
    if not (look.case.function in OF_ROWS and look.case.option("label_smoothing") == 1 and look.loss.indexed):
        return look.none
    return np.isnan(look.got)


def smoothing_without_weight(look):
    if not (look.name == "mean" and look.case.option("label_smoothing") and look.loss.indexed and look.loss.divisor == 0):
        return look.none
    return np.isnan(look.got)


def focal_written_out(look):
    """In PyTorch's operations, autograd makes 0 infinity of (1 - p)^gamma at p = 1."""
    if not look.case.option("focal_gamma"):
        return look.none
    return np.isnan(look.got)


SEMANTIC = [
    Difference("ignored rows, gradient", "the gradient of an ignored row is 0 whatever its logits hold; PyTorch "
               "multiplies 0 by what they hold and gives NaN where that is NaN or infinite", ignored_gradient),
    Difference("ignored rows, log-sum-exp", "an ignored row's logits are not read: its log-sum-exp is that of no "
               "element, -inf", ignored_lse),
    Difference("overflow", "logits so large that lse - x overflows the type computed in: the loss is infinite, as "
               "in PyTorch in that type; float64 has room for it", overflow),
    Difference("rows of +inf, gradient of log-sum-exp", "the whole row is NaN; PyTorch has NaN only at +inf and 0 "
               "elsewhere", infinite_row),
    Difference("binary cross-entropy at -inf", "(1 - y) softplus(x) + y softplus(-x) is infinite at x = -inf, y = 1; "
               "PyTorch's form of it has 0 times infinity there", binary_at_infinity),
    Difference("no class", "an ignored row's loss is 0, and so is the mean loss of empty distributions; PyTorch "
               "divides by the number of classes",
               no_class),
    Difference("label smoothing of 1", "the term with the factor 1 - e = 0 is not formed; PyTorch forms 0 times "
               "infinity where the target is masked", smoothing_of_one),
    Difference("smoothed mean of total weight 0", "it is the sum by 0, infinite; PyTorch divides the terms one by one, "
               "and the target's is 0 by 0", smoothing_without_weight),
    Difference("focal loss at certainty", "PyTorch has no such loss; written out in its operations, autograd forms 0 "
               "times infinity at p = 0 and p = 1", focal_written_out),
]


def explained(case, name, expected, got, ok, fired):
    """Which of the values that are not ok the rules explain."""
    mask = np.zeros(ok.shape, bool)
    if ok.all():
        return mask
    look = Look(case, name, expected, got)
    for difference in SEMANTIC:
        left = ~ok & ~mask
        if not left.any():
            break
        found = difference.explains(look) & left
        if found.any():
            fired[difference.name] += 1
            mask = mask | found
    return mask


# ---- What PyTorch does not take at all --------------------------------------------------------

def integers(*dtypes):
    return lambda case: case.target is not None and case.target.dtype in dtypes


def mixed(case):
    return case.dtype in (torch.bfloat16, torch.float16) and case.weight is not None and case.weight.dtype == torch.float32


INPUTS = [
    ("i32 targets", "PyTorch takes i64", integers(torch.int32)),
    ("u8 targets", "PyTorch takes them in two dimensions only", integers(torch.uint8)),
    ("f32 weights of 16-bit logits", "PyTorch wants one type", mixed),
]


def inputs(case, fired):
    for name, _, applies in INPUTS:
        if applies(case):
            fired[name] += 1


REFUSED = [
    ("no class at all", "PyTorch's reductions over it fail in some shapes", lambda case, text: case.class_count() == 0),
]


def refused(case, text):
    for name, _, applies in REFUSED:
        if applies(case, text):
            return name
    return None


# ---- Where PyTorch in the case's own type is far off, and xent is not ------------------------------

def vanishes(case, name, exact, got):
    if name not in ("loss", "gradient", "mean", "sum"):
        return False
    digits, least, _ = FORMATS[case.dtype]
    return bool(((got == 0) & (np.abs(exact) >= REAL(2) ** (least + digits))).any())


def wrong_mean(case, name, exact, got):
    return (case.dtype in (torch.bfloat16, torch.float16) and name == "mean" and case.function in ("cross_entropy", "nll")
            and np.prod(case.row_shape) > 256 and bool((np.abs(got - exact) > np.abs(exact) / 50).any()))


PRECISION = [
    ("the loss never vanishes", "a confident row's loss and gradient are tiny, not 0; PyTorch loses them in lse - x "
     "and p - 1", vanishes),
    ("means of many 16-bit rows", "the divisor and the sum are kept in double; PyTorch counts rows in the logits' type, "
     "in bf16 up to 256", wrong_mean),
]


def observe(case, name, expected, got, fired):
    for title, _, applies in PRECISION:
        if applies(case, name, expected.exact, got):
            fired[title] += 1


def print_fired(fired):
    print("\ndifferences from PyTorch, and how many outputs of the run show them")
    everything = [(d.name, d.reason) for d in SEMANTIC] + [(n, r) for n, r, _ in INPUTS + REFUSED + PRECISION]
    for name, reason in everything:
        print(f"  {fired[name] or 'unused':>7}  {name}: {reason}")
