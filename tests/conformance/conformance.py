"""The conformance run: xent against PyTorch. See --help, and run.sh."""
import argparse
import collections
import os
import sys
import time

import numpy as np
import torch

import calls
import differences
import oracle
import oracle_binary
import oracle_loss
import pytorch
import slices
from cases import FUNCTIONS, make
from ulps import REAL, real, computed_in
from xent import TIERS, Failure, Library

RUN = {"log_sum_exp": calls.log_sum_exp, "softmax": calls.softmax, "log_softmax": calls.softmax,
       "softmax_backward": calls.softmax_backward, "log_softmax_backward": calls.softmax_backward,
       "slices": slices.run, "row_states": slices.run_states}
EXPECT = {"cross_entropy_beyond": oracle_loss.cross_entropy, "cross_entropy_probabilities": oracle_loss.cross_entropy,
          "cross_entropy": oracle_loss.cross_entropy, "slices": slices.expect, "row_states": slices.expect_states,
          "bce_beyond": oracle_binary.bce, "bce_with_logits_beyond": oracle_binary.bce_with_logits}
for name in dict.fromkeys(FUNCTIONS):
    RUN.setdefault(name, calls.cross_entropy if name.startswith("cross") or name == "nll"
                   else calls.bce if name.startswith("bce") else calls.elementwise)
    EXPECT.setdefault(name, getattr(oracle, name, None) or getattr(oracle_binary, name, None))


DTYPES = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16, "f16": torch.float16}

def judge(expected, got, dtype, case, tolerance=None):
    """Which values of one output are right, and their errors in ulps."""
    ok, units = expected.compare(got, dtype, tolerance, computed_in(case.dtype))
    left_out = ~np.broadcast_to(getattr(expected, "judged", True), ok.shape)
    return ok | left_out, np.where(left_out, 0, units)


def first_wrong(name, ok, got, expected):
    at = np.unravel_index(np.argmin(ok), ok.shape)
    return (f"{name}{[int(i) for i in at]}: got {got[at]!r}, exactly {expected.exact[at]!r}"
            f" ({int((~ok).sum())} of {ok.size} wrong, {float(abs(got[at] - expected.exact[at]) / expected.unit[at]):.4g} units"
            f", {float(expected.tolerance[at] / expected.unit[at]):.4g} allowed)")


def shaped(case, name, value):
    """A result of PyTorch's, as the oracle has it."""
    if name in ("gradient", "output", "target_gradient") and "bce" not in case.function and "sigmoid" not in case.function:
        return oracle.to_rows(value, case.class_axis)
    value = real(value)
    return np.atleast_1d(value) if name in ("sum", "mean", "divisor") else value if "bce" in case.function or "sigmoid" in case.function else value.reshape(-1)


class Run:
    def __init__(self, library, seed):
        self.library, self.seed = library, seed
        self.table = collections.defaultdict(lambda: [0, REAL(0), REAL(0)])
        self.fired = collections.Counter()
        self.passed = self.failed = 0

    def case(self, number, dtype=None):
        case = slices.million(self.seed, number) if number >= slices.MILLION else make(self.seed, number)
        if dtype and DTYPES[dtype] != case.dtype:
            return
        expected = EXPECT[case.function](case)
        wrong, worst = [], REAL(0)
        try:
            results = RUN[case.function](self.library, case)
        except Failure as failure:
            return self.report(case, [f"xent: {failure}"])
        for name, (got, dtype) in results.items():
            ok, units = judge(expected[name], got, dtype, case)
            if not ok.all():
                wrong.append("xent: " + first_wrong(name, ok, got, expected[name]))
            worst = max(worst, units[ok & np.isfinite(units)].max(initial=0))
        theirs = self.pytorch(case, expected, wrong) if case.function in pytorch.FORMULAS else REAL(0)
        entry = self.table[case.function, case.dtype, case.layout]
        entry[0] += 1
        entry[1], entry[2] = max(entry[1], worst), max(entry[2], theirs)
        return self.report(case, wrong)

    def pytorch(self, case, expected, wrong):
        differences.inputs(case, self.fired)
        try:
            truth = pytorch.in_pytorch(case, torch.float64)
        except pytorch.Refused as refused:
            name = differences.refused(case, str(refused))
            self.fired[name] += 1
            if name is None:
                wrong.append(f"PyTorch refuses: {refused}")
            return REAL(0)
        for name, value in truth.items():
            if value is None or name not in expected:
                continue
            got, e = shaped(case, name, value), expected[name]
            ok, _ = judge(e, got, torch.float64, case, 1e-12 * e.coarse + 1e-300)
            ok = ok | differences.explained(case, name, e, got, ok, self.fired)
            if not ok.all():
                wrong.append("PyTorch in float64 differs: " + first_wrong(name, ok, got, e))
        return self.native(case, expected, truth)

    def native(self, case, expected, truth):
        if not pytorch.takes_as_is(case):
            return REAL(0)
        worst = REAL(0)
        try:
            results = pytorch.in_pytorch(case, case.dtype)
        except pytorch.Refused:
            return worst
        for name, value in results.items():
            if value is None or name not in expected:
                continue
            e = expected[name]
            ok, units = judge(e, shaped(case, name, value), value.dtype, case)
            differences.observe(case, name, e, shaped(case, name, value), self.fired)
            worst = max(worst, units[np.isfinite(units)].max(initial=0))
        return worst

    def report(self, case, wrong):
        if not wrong:
            self.passed += 1
            return True
        self.failed += 1
        if self.failed <= 40:
            print(f"\nFAILED: --seed {self.seed} --case {case.number}: {case.dtype}, {case.describe()}")
            for text in wrong:
                print("  " + text)
            sys.stdout.flush()
        return False


def short(value):
    return "-" if value == 0 else f"{float(value):.3f}" if value < 100 else f"{float(value):.2g}"


def print_table(table):
    print("\ncases, worst error of xent, of PyTorch in the same type (ulps of the result's type)")
    print(f"{'':30}" + "".join(f"{name:>26}" for name in DTYPES))
    for function in dict.fromkeys(FUNCTIONS):
        print(function)
        for layout in sorted({key[2] for key in table if key[0] == function}):
            cells = [table.get((function, dtype, layout), [0, 0, 0]) for dtype in DTYPES.values()]
            print(f"  {layout:28}" + "".join(f"{n:8d}{short(a):>9}{short(b):>9}" for n, a, b in cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=".")
    parser.add_argument("--library", help="default: build/libxent.so under --root")
    parser.add_argument("--tier", default="auto", choices=TIERS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=24_000)
    parser.add_argument("--case", type=int, help="this one alone")
    parser.add_argument("--only", help="this function alone")
    parser.add_argument("--dtype", choices=DTYPES, help="this type alone")
    arguments = parser.parse_args()
    np.seterr(all="ignore")
    torch.set_num_threads(1)
    library = Library(arguments.library or os.path.join(arguments.root, "build", "libxent.so"), arguments.tier)
    tier = library.info().tier_name.decode() if arguments.tier == "auto" else arguments.tier
    print(f"xent ({tier}) against PyTorch {torch.__version__}, seed {arguments.seed}")
    run, started, shown = Run(library, arguments.seed), time.monotonic(), 0.0
    numbers = [arguments.case] if arguments.case is not None else [*range(arguments.cases), *slices.MILLION_CASES]
    for number in numbers:
        function = "slices" if number >= slices.MILLION else FUNCTIONS[number % len(FUNCTIONS)]
        if arguments.only not in (None, function):
            continue
        run.case(number, arguments.dtype)
        if time.monotonic() - shown > 15:
            shown = time.monotonic()
            print(f"{run.passed + run.failed} cases, {run.failed} failed, {shown - started:.0f} s", flush=True)
    print_table(run.table)
    differences.print_fired(run.fired)
    print(f"{time.monotonic() - started:.0f} s")
    print(f"{run.passed} passed, {run.failed} failed")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
