"""What is timed: the cases, and who takes part in each."""
from dataclasses import dataclass, field

# (N, C) of the logits.
SHAPES = [(1024, 10), (4096, 100), (512, 1000), (4096, 1000), (64, 32000), (1024, 32000), (256, 128256)]
QUICK = [(1024, 10), (512, 1000), (64, 32000)]
# Logits and result lie in one core's share of the caches of every machine of today; far beyond them.
# (4096, 1000) is neither.
CACHED = [(1024, 10), (4096, 100), (512, 1000), (64, 32000)]
MEMORY = [(1024, 32000), (256, 128256)]

# Participants. A peer is timed twice, in two processes.
TORCH, COMPILE, JAX, TENSORFLOW, ORT, ONEDNN = "PyTorch", "torch.compile", "JAX", "TensorFlow", "ONNX Runtime", "oneDNN"
WORKER_OF = {TORCH: "torch", COMPILE: "torch", JAX: "jax", TENSORFLOW: "tensorflow", ORT: "onnxruntime",
             ONEDNN: "onednn"}
MODES = ["installed", "retained"]


@dataclass
class Case:
    section: str
    op: str
    n: int
    c: int = 1
    peers: list = field(default_factory=list)
    xent: dict = field(default_factory=dict)    # participant: words of its job
    dtype: str = "f32"     # of the peers, and of the words above that name none
    layout: str = "rows"
    compare: bool = True   # with the truth, and so with each other

    @property
    def shape(self):
        return shape_name(self.n, self.c)

    @property
    def elements(self):
        return self.n * self.c


def shape_name(n, c):
    return f"{n}" if c == 1 else f"{n}x{c}"


def tiers_of(available, *wanted):
    return {f"xent {tier}": {"tier": tier} for tier in wanted if tier in available}


def best_tier(available):
    return next(tier for tier in ("avx512", "avx2", "neon", "sse2", "scalar") if tier in available)


def cases(available, quick):
    """All cases, for the tiers that the CPU has."""
    shapes = QUICK if quick else SHAPES
    best = best_tier(available)
    both = tiers_of(available, best, "avx2")
    main = tiers_of(available, best)
    all_peers = [TORCH, COMPILE, JAX, TENSORFLOW]
    result = []
    for n, c in shapes:
        jobs = {**both, **tiers_of(available, "sse2")}
        if (n, c) in CACHED and n * c >= 65536:    # with less, xent asks for no thread
            jobs |= {"xent, 2 threads": {"tier": best, "threads": 2}}
        result.append(Case("cross-entropy", "ce", n, c, all_peers, jobs))
    for op, peers in (("softmax", [ONEDNN, ORT, TORCH, JAX]), ("log_softmax", [ONEDNN, ORT, TORCH, JAX]),
                      ("lse", [TORCH])):
        result += [Case(op, op, n, c, peers, both) for n, c in shapes]
    for n in [100_000] if quick else [1000, 100_000, 10_000_000]:
        result.append(Case("bce_logits", "bce_logits", n, 1, [TORCH, COMPILE, JAX], both))
    for op in "bce", "sigmoid":
        result += [Case(op, op, n, 1, [TORCH], both) for n in ([100_000] if quick else [100_000, 10_000_000])]
    for n, c in shapes:
        jobs = {f"{name} {dtype}": {**words, "dtype": dtype} for dtype in ("bf16", "f16", "f32")
                for name, words in both.items()}
        result.append(Case("cross-entropy, 16 bit", "ce", n, c, [TORCH], jobs, dtype="bf16"))
    for n, c in shapes:
        jobs = {**both, **{f"{name} contiguous": {**words, "layout": "rows"} for name, words in both.items()}}
        result.append(Case("cross-entropy, strided", "ce", n, c, [TORCH], jobs, layout="strided"))
    result += [Case("cross-entropy, f64", "ce", n, c, [TORCH], both, dtype="f64") for n, c in shapes]
    jobs = {f"{name} {op}": {**words, "op": op} for op in ("call", "kernel") for name, words in both.items()}
    result.append(Case("small call", "call", 1, 10, [], {**jobs, "1000 cycles": {"op": "clock"}}, compare=False))
    if not quick:
        sweep = [TORCH, JAX, TENSORFLOW]
        result += [Case("classes", "ce", (1 << 20) >> k, 1 << k, sweep, main, compare=False) for k in range(1, 21)]
        result += [Case("rows", "ce", 4 ** k, 1000, sweep, main, compare=False) for k in range(0, 8)]
    return result
