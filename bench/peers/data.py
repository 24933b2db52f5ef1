"""The numbers that all workers compute on: files in one folder, of which a case takes the front."""
import os

import numpy as np

CLASSES = 32_833_536    # the largest N * C of the cases: 256 x 128256
ROWS = 1 << 20
DTYPES = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": np.uint16}


def to_bf16(x):
    """Rounded to nearest even; the upper halves of float32."""
    bits = x.view(np.uint32)
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def logits(folder, dtype, count):
    return np.fromfile(os.path.join(folder, f"logits.{dtype}"), DTYPES[dtype], count)


def probabilities(folder, count):
    return np.fromfile(os.path.join(folder, "probabilities.f32"), np.float32, count)


def labels(folder, count):
    return np.fromfile(os.path.join(folder, "labels.f32"), np.float32, count)


def targets(folder, n, c):
    return np.fromfile(os.path.join(folder, "targets.i64"), np.int64, n) % c


def make(folder):
    """Logits as of a model in training: normal, with standard deviation 2. Probabilities stay
    clear of 0 and 1, where PyTorch clamps."""
    done = os.path.join(folder, "done")
    if os.path.exists(done):
        return
    os.makedirs(folder, exist_ok=True)
    random = np.random.default_rng(20)
    x = random.standard_normal(CLASSES, np.float32) * np.float32(2)
    save = lambda name, array: array.tofile(os.path.join(folder, name))
    save("logits.f32", x)
    save("logits.f64", x.astype(np.float64) + random.uniform(-1e-8, 1e-8, CLASSES))
    save("logits.f16", x.astype(np.float16))
    save("logits.bf16", to_bf16(x))
    count = 10_000_000
    save("probabilities.f32", random.uniform(0.001, 0.999, count).astype(np.float32))
    save("labels.f32", random.integers(0, 2, count).astype(np.float32))
    save("targets.i64", random.integers(0, 1 << 40, ROWS))
    open(done, "w").close()
