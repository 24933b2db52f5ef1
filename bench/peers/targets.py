"""The targets, and whether the measured ratios hold them.

A row has one column a shape. Ratios above 1 are how many times faster xent is than the peer, the
faster of its two modes; those of rows whose bound is "<=" are xent's time over what it
is compared with."""
import csv
import math
import os

from cases import CACHED, COMPILE, JAX, MEMORY, MODES, ONEDNN, ORT, SHAPES, TENSORFLOW, TORCH, shape_name

CACHED_NAMES = [shape_name(*shape) for shape in CACHED]
MEMORY_NAMES = [shape_name(*shape) for shape in MEMORY]
CLASSES = dict(zip((shape_name(*shape) for shape in SHAPES), (c for _, c in SHAPES)))
COSTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cost", "table.csv")


def light(case):
    """The speed of light, in ns: a copy of the logits, or the frozen exp of each in L1."""
    return max(case["ns"]["memcpy"], case["ns"]["exp"] / 1024 * case["n"] * case["c"])


def peer_ns(case, name):
    """The faster of its modes; None if it is missing."""
    return min((case["ns"][f"{name}, {mode}"] for mode in MODES if f"{name}, {mode}" in case["ns"]), default=None)


def best_peer(case, names):
    """The fastest of them: (ns, name), or None."""
    return min(((peer_ns(case, name), name) for name in names if peer_ns(case, name)), default=None)


def geometric_mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


class Judge:
    def __init__(self, document):
        self.cases = document["cases"]
        self.best = document["tier"]
        self.rows = []

    def section(self, name):
        return {shape_name(case["n"], case["c"]): case for case in self.cases if case["section"] == name}

    def row(self, title, relation, bounds, ratios, *, mean=None, beside=None, against=None, note=None):
        """bounds: a number for all columns, or by column (absent: only shown). beside: the same
        ratios for AVX2, shown and not judged."""
        bound_of = (lambda column: bounds.get(column)) if isinstance(bounds, dict) else (lambda column: bounds)
        meets = (lambda ratio, bound: ratio >= bound) if relation == ">=" else (lambda ratio, bound: ratio <= bound)
        short = [column for column, ratio in ratios.items()
                 if bound_of(column) is not None and not meets(ratio, bound_of(column))]
        average = geometric_mean(ratios.values()) if mean and ratios else None
        if average and not meets(average, mean):
            short.append("geometric mean")
        judged = [column for column in ratios if bound_of(column) is not None]
        self.rows.append({
            "title": title, "relation": relation, "bounds": {c: bound_of(c) for c in ratios}, "ratios": ratios,
            "mean_bound": mean, "mean": average, "avx2": beside or {}, "against": against or {}, "note": note,
            "short": short, "holds": not short if judged else None,
        })

    def against_peers(self, title, section, peers, bounds, mean=None, variant="", shapes=None):
        """xent against the best of the peers, in each shape of the section."""
        found = {column: (case, best_peer(case, peers)) for column, case in self.section(section).items()}
        found = {column: pair for column, pair in found.items() if pair[1] and (not shapes or column in shapes)}

        def ratios(tier):
            key = f"xent {tier}{variant}"
            return {column: peer[0] / case["ns"][key] for column, (case, peer) in found.items() if key in case["ns"]}
        self.row(title, ">=", bounds, ratios(self.best), mean=mean,
                 beside=ratios("avx2") if self.best != "avx2" else None,
                 against={column: peer[1] for column, (_, peer) in found.items()} if len(peers) > 1 else None,
                 note=None if found else "no peer to compare with")

    def own(self, title, section, bounds, numerator, denominator, relation="<=", avx2=True):
        """Of two times of one case; both are functions of the case and the tier. avx2: AVX2 beside it."""
        def ratios(tier):
            result = {}
            for column, case in self.section(section).items():
                try:
                    result[column] = numerator(case, tier) / denominator(case, tier)
                except KeyError:
                    pass    # not measured here
            return result
        main = ratios(self.best)
        self.row(title, relation, bounds, main, beside=ratios("avx2") if avx2 and self.best != "avx2" else None,
                 note=None if main else "not measured here")


def by_classes(table):
    return {name: bound for name, c in CLASSES.items() for classes, bound in table.items() if c == classes}


def judge(document):
    j = Judge(document)
    xent = lambda suffix="": lambda case, tier: case["ns"][f"xent {tier}{suffix}"]

    ce = "cross-entropy"
    j.against_peers("cross-entropy with gradient / the best peer", ce, [TORCH, COMPILE, JAX, TENSORFLOW], 1.5, 2.2)
    j.against_peers("cross-entropy with gradient / PyTorch eager", ce, [TORCH], 3.5, 6)
    bounds = {**by_classes({10: 5, 100: 2.5, 1000: 1.8, 32000: 1.8}), **dict.fromkeys(MEMORY_NAMES, 1.3)}
    j.own("cross-entropy with gradient / the speed of light", ce, bounds, xent(), lambda case, tier: light(case))

    peers = [ONEDNN, ORT, TORCH, JAX]
    bounds = {**dict.fromkeys(CLASSES, 1), **by_classes({10: 3, 1000: 1.15})}
    j.against_peers("softmax / the best peer", "softmax", peers, bounds)
    bounds = {**dict.fromkeys(CLASSES, 1), **dict.fromkeys(CACHED_NAMES, 1.5)}
    j.against_peers("log-softmax / the best peer", "log_softmax", peers, bounds)
    j.against_peers("log-sum-exp / PyTorch", "lse", [TORCH], 4)

    large = ["100000", "10000000"]
    j.against_peers("BCE on logits with gradient / PyTorch", "bce_logits", [TORCH], 5, shapes=large)
    j.against_peers("BCE on logits with gradient / JAX", "bce_logits", [JAX], 2.5, shapes=large)
    j.against_peers("BCE with gradient / PyTorch", "bce", [TORCH], 15)

    narrow = "cross-entropy, 16 bit"
    for dtype in "bf16", "f16":
        j.against_peers(f"cross-entropy, {dtype} / PyTorch bf16", narrow, [TORCH], 3, variant=f" {dtype}")
        bounds = {**dict.fromkeys(CLASSES, 1.25), **dict.fromkeys(MEMORY_NAMES, 1)}
        j.own(f"cross-entropy, {dtype} / our f32", narrow, bounds, xent(f" {dtype}"), xent(" f32"))

    strided = "cross-entropy, strided"
    j.against_peers("strided classes (1,C,d) / PyTorch", strided, [TORCH], 4)
    j.own("strided classes / our contiguous", strided, 1.5, xent(), xent(" contiguous"))

    small_call(j)
    j.own("2 threads: times one thread", ce, 1.8, xent(), lambda case, tier: case["ns"]["xent, 2 threads"], ">=", avx2=False)
    j.against_peers("cross-entropy, f64 / PyTorch f64", "cross-entropy, f64", [TORCH], 3)
    j.own("SSE2 / AVX2", ce, 4, lambda case, tier: case["ns"]["xent sse2"], lambda case, tier: case["ns"]["xent avx2"],
          avx2=False)
    neon_loops(j)
    return j.rows


def neon_loops(j):
    """Counted by llvm-mca (scripts/cost.sh), not timed: the worst of a core's loops, over the bound of
    its vector pipes."""
    ratios, over = {}, []
    if os.path.exists(COSTS):
        with open(COSTS, newline="") as file:
            for line in csv.DictReader(line for line in file if not line.startswith("#")):
                if line["tool"] == "llvm-mca" and line["on"].startswith("neoverse") and line["bound"]:
                    ratio = float(line["cost"]) / float(line["bound"])
                    ratios[line["on"]] = max(ratio, ratios.get(line["on"], 0))
                    over += [line["what"]] if ratio > 1.2 else []
    names = ", ".join(dict.fromkeys(over))
    j.row("NEON's loops / the bound of the vector pipes", "<=", 1.2, ratios,
          note=(f"over: {names}" if names else None) if ratios else "no bench/cost/table.csv")


def small_call(j):
    """N = 1, C = 10, forward: what is not the kernel, in ns; in cycles beside it."""
    case = j.section("small call").get("1x10")
    overhead = {}
    for tier in (j.best, "avx2"):
        call, kernel = (case["ns"].get(f"xent {tier} {what}") if case else None for what in ("call", "kernel"))
        if call and kernel:
            overhead[tier] = call - kernel
    title = "small call minus the kernel, ns (or 100 cycles)"
    if j.best not in overhead:
        j.row(title, "<=", 20, {}, note="not measured here")
        return
    ns_per_cycle = case["ns"].get("1000 cycles", math.nan) / 1000
    bound = max(20, 100 * ns_per_cycle) if ns_per_cycle == ns_per_cycle else 20
    ns = overhead[j.best]
    j.row(title, "<=", bound, {"1x10": ns}, beside={"1x10": overhead["avx2"]} if "avx2" in overhead else None,
          note=f"{ns / ns_per_cycle:.0f} cycles" if ns_per_cycle == ns_per_cycle else None)
