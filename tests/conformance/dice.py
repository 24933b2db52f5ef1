"""Seeded choices: the same case for the same seed and number, on every machine."""
import random

import numpy as np
import torch

# Kinds of logits, and how often each comes.
KINDS = {"gaussian": 10, "mixed": 8, "confident": 4, "far": 3, "offset": 2, "wide": 2, "ties": 2, "constant": 2,
         "masked": 4, "huge": 2, "largest": 1, "tiny": 2, "all masked": 1, "infinite": 1, "nan": 1}


class Dice(random.Random):
    def __init__(self, seed, number):
        super().__init__(seed * 1_000_003 + number)
        self.numbers = np.random.default_rng((seed, number))

    def chance(self, probability):
        return self.random() < probability

    def integer(self, low, high):
        return self.randint(low, high)

    def pick(self, weighted):
        """A key of a dictionary of weights."""
        return self.choices(list(weighted), weighted.values())[0]

    def normal(self, *shape):
        return self.numbers.standard_normal(shape)

    def uniform_array(self, low, high, *shape):
        return self.numbers.uniform(low, high, shape)

    def logits(self, kind, rows, classes, dtype):
        """(rows, classes) doubles, most of them finite in the dtype."""
        if kind == "mixed":
            kinds = [k for k in KINDS if k != "mixed"]
            return np.concatenate([np.empty((0, classes))] +
                                  [self.logits(self.choice(kinds), 1, classes, dtype) for _ in range(rows)])
        x = self.normal(rows, classes)
        limits = torch.finfo(dtype)
        wide = 700 if dtype == torch.float64 else 100
        if classes == 0:
            return x
        somewhere = (np.arange(rows), self.numbers.integers(0, classes, rows))
        if kind == "gaussian":
            x *= self.choice([0.1, 1, 3, 10])
        elif kind == "confident":
            x[somewhere] += self.uniform_array(10, 60, rows)
        elif kind == "far":
            x -= self.uniform_array(0.6 * wide, 1.04 * wide, rows, 1)
            x[somewhere] = self.uniform_array(0, 1, rows)
            x += self.uniform_array(-150, 300, rows, 1)
        elif kind == "offset":
            x += self.choice([-1e4, 1e4, 300])
        elif kind == "wide":
            x = self.uniform_array(-wide, wide, rows, classes)
        elif kind == "ties":
            x = self.numbers.integers(-2, 3, (rows, classes)).astype(float)
        elif kind == "constant":
            x = np.repeat(3 * self.normal(rows, 1), classes, 1)
        elif kind == "masked":
            x[self.uniform_array(0, 1, rows, classes) < 0.4] = -np.inf
        elif kind == "huge":
            x = np.clip(x * (limits.max / 8), -limits.max, limits.max)
        elif kind == "largest":
            x = self.numbers.choice([-limits.max, limits.max, 0], (rows, classes))
        elif kind == "tiny":
            x *= limits.tiny * self.choice([0.001, 1, 1000])
        elif kind == "all masked":
            x[self.uniform_array(0, 1, rows) < 0.5] = -np.inf
        elif kind == "infinite":
            x[self.uniform_array(0, 1, rows, classes) < 0.2] = np.inf
        elif kind == "nan":
            x[self.uniform_array(0, 1, rows, classes) < 0.2] = np.nan
        return x
