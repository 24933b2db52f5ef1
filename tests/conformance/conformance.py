"""The conformance run: xent against PyTorch. See --help, and run.sh."""
import argparse
import collections
import functools
import multiprocessing
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


CHUNK, SHOWN = 100, 40  # cases that a process takes at a time; failures that are printed
library = None          # opened before the processes part
DTYPES = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16, "f16": torch.float16}


def judge(expected, got, dtype, case, tolerance=None):
    """Which values of one output are right, and their errors in ulps."""
    ok, units = expected.compare(got, dtype, tolerance, computed_in(case.dtype))
    left_out = ~np.broadcast_to(getattr(expected, "judged", True), ok.shape)
    return ok | left_out, np.where(left_out | expected.absolute, 0, units)


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
        self.table = {}
        self.fired = collections.Counter()
        self.passed, self.failures = 0, []

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
        add(self.table, (case.function, case.dtype, case.layout), (1, worst, theirs))
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
        self.failures.append("\n".join([f"FAILED: --seed {self.seed} --case {case.number}: {case.dtype}, {case.describe()}",
                                        *("  " + text for text in wrong)]))
        return False

    def merge(self, other):
        for key, entry in other.table.items():
            add(self.table, key, entry)
        self.fired += other.fired
        self.passed += other.passed
        self.failures += other.failures


def add(table, key, entry):
    """Cases counted, and the worst errors of xent and PyTorch."""
    n, ours, theirs = table.get(key, (0, REAL(0), REAL(0)))
    table[key] = n + entry[0], max(ours, entry[1]), max(theirs, entry[2])


def short(value):
    return "-" if value == 0 else f"{float(value):.3f}" if value < 100 else f"{float(value):.2g}"


def print_table(table):
    print("\ncases, worst error of xent, of PyTorch in the same type (ulps of the result's type;\n"
          "without values whose bound is absolute, and with softcap its 3 ulp of the cap count as an error of the logits)")
    print(f"{'':30}" + "".join(f"{name:>26}" for name in DTYPES))
    sums = {}
    for (function, dtype, layout), entry in table.items():
        add(sums, (function, dtype), entry)
        add(sums, ("all", dtype), entry)
    for function in dict.fromkeys([*FUNCTIONS, "all"]):
        print_line(function, [sums.get((function, dtype)) for dtype in DTYPES.values()])
        for layout in sorted({key[2] for key in table if key[0] == function}):
            print_line("  " + layout, [table.get((function, dtype, layout)) for dtype in DTYPES.values()])


def print_line(title, entries):
    print(f"{title:30}" + "".join(f"{n:8d}{short(a):>9}{short(b):>9}" for n, a, b in (e or (0, 0, 0) for e in entries)))


def part(arguments, numbers):
    """The run of some of the cases, without the library, which stays in its process."""
    run = Run(library, arguments.seed)
    for number in numbers:
        run.case(number, arguments.dtype)
    run.library = None
    return run


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
    global library
    library = Library(arguments.library or os.path.join(arguments.root, "build", "libxent.so"), arguments.tier)
    tier = library.info().tier_name.decode() if arguments.tier == "auto" else arguments.tier
    print(f"xent ({tier}) against PyTorch {torch.__version__}, seed {arguments.seed}")
    run, started, shown, printed = Run(library, arguments.seed), time.monotonic(), 0.0, 0
    numbers = [arguments.case] if arguments.case is not None else [*slices.MILLION_CASES, *range(arguments.cases)]
    numbers = [n for n in numbers if arguments.only in (None, "slices" if n >= slices.MILLION else FUNCTIONS[n % len(FUNCTIONS)])]
    large, rest = [n for n in numbers if n >= slices.MILLION], [n for n in numbers if n < slices.MILLION]
    chunks = [[n] for n in large] + [rest[i:i + CHUNK] for i in range(0, len(rest), CHUNK)]
    # Forked, so that the library is there; in the order of the cases.
    with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0))) as pool:
        for done in pool.imap(functools.partial(part, arguments), chunks):
            run.merge(done)
            for text in run.failures[printed:SHOWN]:
                print("\n" + text, flush=True)
            printed = len(run.failures)
            if time.monotonic() - shown > 15:
                shown = time.monotonic()
                print(f"{run.passed + printed} cases, {printed} failed, {shown - started:.0f} s", flush=True)
    print_table(run.table)
    differences.print_fired(run.fired)
    print(f"{time.monotonic() - started:.0f} s")
    print(f"{run.passed} passed, {printed} failed")
    return 1 if printed else 0


if __name__ == "__main__":
    sys.exit(main())
