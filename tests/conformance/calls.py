"""Carries a case out with xent. A result is (values, dtype) by the output's name, the values as
the oracle has them: (rows, classes), (rows) or one number."""
import ctypes

import numpy as np
import torch

from cases import Case
from dice import Dice
from layouts import Array, place
from oracle import to_rows
from ulps import REAL, real

BY_PRODUCTS = ["z_loss", "entropy", "argmax"]
OF_INDICES = ["correct", "correct_count", "target_logit"]


class Outputs:
    """Memory for the outputs that a case asks for."""

    def __init__(self, case, names):
        self.case, self.dice = case, Dice(1, case.number)
        # In-place: the library gets a copy to write over.
        self.x = Array(case.x.view.clone()) if case.layout == "in-place" else case.x
        self.tensors, self.numbers, self.states = {}, {}, None
        for name in names:
            if name in ("gradient", "output"):
                self.tensors[name] = self.x if case.layout == "in-place" else self.like(case.x.shape, case.dtype)
            elif name == "target_gradient":
                self.tensors[name] = self.like(case.target.shape, case.target.dtype)
            elif name in ("sum", "mean", "divisor"):
                self.numbers[name] = ctypes.c_double(7)
            elif name == "correct_count":
                self.numbers[name] = ctypes.c_int64(7)
            elif name == "state":
                self.states = np.full((int(np.prod(case.row_shape, initial=1)), 2), 7.0)
            else:
                self.tensors[name] = self.of_rows(name)

    def like(self, shape, dtype):
        layout = self.case.output_layout
        return place(torch.full(shape, 7, dtype=dtype), layout, self.dice)

    def of_rows(self, name):
        case = self.case
        dtype = {"argmax": case.index_dtype, "correct": torch.uint8}.get(name, case.values_dtype)
        shape = case.x.shape if case.function.startswith("bce") else case.row_shape
        layout = self.dice.choice(["contiguous", "strided", "reversed"]) if shape else "contiguous"
        return place(torch.full(shape, 7, dtype=dtype), layout, self.dice)

    def members(self):
        return {**self.tensors, **self.numbers, **({} if self.states is None else {"state": self.states})}

    def results(self):
        case, results = self.case, {}
        elements = "bce" in case.function or "sigmoid" in case.function
        for name, a in self.tensors.items():
            by_class = name in ("gradient", "output", "target_gradient")
            values = (real(a.values()) if elements else
                      to_rows(a, case.class_axis) if by_class else real(a.values()).reshape(-1))
            results[name] = values, a.dtype if a.dtype.is_floating_point else torch.float64
        for name, number in self.numbers.items():
            results[name] = np.array([number.value], REAL), torch.float64
        if self.states is not None:
            results["state.max"] = self.states[:, 0].astype(REAL), torch.float64
            results["state.rest"] = self.states[:, 1].astype(REAL), torch.float64
        return results


def options_of(case):
    """The numbers and tensors that a case sets."""
    tensors = {"output_gradient": case.incoming, "weight": case.weight, "pos_weight": case.pos_weight,
               "row_weight": case.row_weight, "axis": case.axis}
    return {**case.options, **{name: value for name, value in tensors.items() if value is not None}}


def log_sum_exp(library, case):
    out, options = Outputs(case, ["lse", "gradient", "state"]), options_of(case)
    if case.saved_state:
        first = Outputs(case, ["state"])
        library.log_sum_exp(out.x, first.members(), **options)
        options["state"] = first.states
    library.log_sum_exp(out.x, out.members(), **options)
    return out.results()


def softmax(library, case):
    out, options = Outputs(case, ["output"]), options_of(case)
    if case.saved_state:
        first = Outputs(case, ["state"])
        library.log_sum_exp(out.x, first.members(), **options)
        options["state"] = first.states
    library.softmax(case.function, [out.x], out.tensors["output"], **options)
    return out.results()


def softmax_backward(library, case):
    out = Outputs(case, ["gradient"])
    options = {} if case.axis is None else {"axis": case.axis}
    library.softmax(case.function, [out.x, case.incoming], out.tensors["gradient"], **options)
    return out.results()


def cross_entropy(library, case):
    indexed = not case.target.dtype.is_floating_point
    names = ["loss", "sum", "divisor", "mean", "gradient"]
    if case.function != "nll":
        names += ["lse", "state"] + ([] if indexed else ["target_gradient"])
    if case.function == "cross_entropy_beyond":
        names += BY_PRODUCTS + (OF_INDICES if indexed else [])
    out, options = Outputs(case, case.wanted or names), options_of(case)
    function = "nll" if case.function == "nll" else "cross_entropy"
    if case.saved_state:
        first = Outputs(case, ["state"])
        library.cross_entropy(function, out.x, case.target, first.members(), **options)
        options["state"] = first.states
    library.cross_entropy(function, out.x, case.target, out.members(), **options)
    return out.results()


def elementwise(library, case):
    name = "gradient" if case.function.endswith("backward") else "output"
    out = Outputs(case, [name])
    tensors = [out.x] if case.incoming is None else [out.x, case.incoming]
    library.elementwise(case.function, tensors, out.tensors[name])
    return out.results()


def bce(library, case):
    names = ["loss", "sum", "divisor", "mean", "gradient"]
    if not case.option("focal_gamma"):
        names.append("target_gradient")
    out = Outputs(case, case.wanted or names)
    name = "bce_with_logits" if "logits" in case.function else "bce"
    library.bce(name, out.x, case.target, out.members(), **options_of(case))
    return out.results()
