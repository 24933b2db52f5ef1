"""The cases: what is called with what. Case number n of a seed is the same on every machine."""
from dataclasses import dataclass, field

import numpy as np
import torch

from dice import KINDS, Dice
from layouts import INPUTS, OUTPUTS, Array, place, possible

# In turn; how often a function stands here is its share.
FUNCTIONS = (
    ["cross_entropy"] * 8 + ["cross_entropy_beyond"] * 5 + ["cross_entropy_probabilities"] * 5 + ["nll"] * 4
    + ["softmax", "log_softmax", "log_sum_exp"] * 3 + ["softmax_backward", "log_softmax_backward"] * 2
    + ["bce_with_logits"] * 5 + ["bce"] * 4 + ["bce_with_logits_beyond"] * 3 + ["bce_beyond"]
    + ["sigmoid", "log_sigmoid", "sigmoid_backward", "log_sigmoid_backward"] * 2 + ["slices", "row_states"])
DTYPES = {torch.float32: 5, torch.float64: 2, torch.bfloat16: 2, torch.float16: 2}
CLASSES = [1, 2, 2, 3, 4, 7, 8, 10, 10, 16, 17, 31, 32, 33, 63, 64, 65, 100, 255, 256, 257, 513, 1000, 4100]
ROWS = [0, 1, 2, 3, 5, 7, 8, 9, 16, 17, 31, 33, 64, 65, 130, 300]
POSITIONS = [1, 2, 4, 5, 7, 8, 9, 16, 17]
BINARY = ("bce", "bce_beyond", "bce_with_logits", "bce_with_logits_beyond")


@dataclass
class Case:
    number: int
    function: str
    dtype: torch.dtype
    layout: str  # of x; "in-place": packed, and the main output lies over it
    kind: str    # of values
    x: Array
    axis: int = None     # None: the default
    target: Array = None # class indices or probabilities; labels of the binary losses
    incoming: Array = None
    weight: Array = None
    pos_weight: Array = None
    row_weight: Array = None
    options: dict = field(default_factory=dict)  # the numbers, by their names in xent.h
    values_dtype: torch.dtype = None  # of loss, lse...
    index_dtype: torch.dtype = torch.int64  # of argmax
    output_layout: str = "contiguous"
    saved_state: bool = False  # the states come from a call before
    cuts: tuple = ()           # where rows are cut into slices
    wanted: tuple = ()         # outputs that are asked for; empty: all

    def option(self, name, default=0):
        return self.options.get(name, default)

    @property
    def reduction(self):
        return self.options.get("reduction", "mean")

    def class_count(self):
        """Classes of a row; None for elementwise functions."""
        if "bce" in self.function or "sigmoid" in self.function or self.function == "row_states":
            return None
        return self.x.shape[self.class_axis] if len(self.x.shape) else 1

    @property
    def class_axis(self):
        """From the front."""
        if self.axis is None:
            return min(1, len(self.x.shape) - 1)
        return self.axis % max(1, len(self.x.shape))

    @property
    def row_shape(self):
        axis = self.class_axis
        return self.x.shape[:axis] + self.x.shape[axis + 1:] if self.x.shape else ()

    def describe(self):
        arrays = {name: getattr(self, name) for name in
                  ("x", "target", "incoming", "weight", "pos_weight", "row_weight") if getattr(self, name)}
        texts = [f"{name} {a.dtype} {list(a.shape)} strides {list(a.stride())}" for name, a in arrays.items()]
        more = {"axis": self.axis, "output layout": self.output_layout, "values": self.values_dtype,
                "saved state": self.saved_state, "cuts": self.cuts, "wanted": self.wanted, **self.options}
        return f"{self.function}, {self.kind}, {self.layout}\n  " + "\n  ".join(texts) + f"\n  {more}"


def tensor(array, dtype):
    return torch.from_numpy(np.array(array, order="C")).to(dtype)


def some_layout(dice, ndim, layouts=INPUTS):
    layout = dice.choice(layouts) if dice.chance(0.7) else "contiguous"
    return layout if possible(layout, ndim) else "contiguous"


def beside(dice, dtype):
    """What may stand beside logits: their dtype or f32."""
    return dtype if dice.chance(0.7) else torch.float32


def class_shape(dice, budget):
    form = dice.pick({"row": 2, "rows": 6, "1 d": 3, "2 d": 3})
    classes = dice.choice(CLASSES)
    rows = dice.choice(ROWS)
    inner = {"row": 0, "rows": 0, "1 d": 1, "2 d": 2}[form]
    positions = [dice.choice(POSITIONS) for _ in range(inner)]
    if form == "row":
        return (classes,)
    while rows * classes * np.prod(positions, initial=1) > budget:
        largest = max(rows, classes, *positions)
        if rows == largest:
            rows //= 2
        elif classes == largest:
            classes //= 2
        else:
            positions[positions.index(largest)] //= 2
    return (rows, classes, *positions)


def class_values(dice, shape, axis, dtype, kind):
    """Logits of a shape with a class axis."""
    if not shape:
        return tensor(dice.logits(kind, 1, 1, dtype)[0, 0], dtype)
    classes, others = shape[axis], shape[:axis] + shape[axis + 1:]
    x = dice.logits(kind, int(np.prod(others, initial=1)), classes, dtype).reshape(others + (classes,))
    return tensor(np.moveaxis(x, -1, axis), dtype)


def make(seed, number):
    function = FUNCTIONS[number % len(FUNCTIONS)]
    dice = Dice(seed, number)
    dtype, kind = dice.pick(DTYPES), dice.pick(KINDS)
    values_dtype = torch.float64 if dtype == torch.float64 else dtype if dice.chance(0.3) else torch.float32
    budget = 40_000 if dice.chance(0.02) else 1500
    common = dict(number=number, function=function, dtype=dtype, kind=kind, values_dtype=values_dtype)
    if function == "row_states":
        return row_states(dice, common)
    if function in BINARY or "sigmoid" in function:
        return elementwise(dice, common, budget)
    return rows(dice, common, budget)


# ---- Functions of rows ------------------------------------------------------------------

def rows(dice, common, budget):
    function, dtype, kind = common["function"], common["dtype"], common["kind"]
    shape, axis = class_shape(dice, budget), None
    plain_softmax = "softmax" in function or function == "log_sum_exp"
    if plain_softmax and dice.chance(0.03):
        shape = ()
    if plain_softmax and shape and dice.chance(0.03):
        shape = shape[:1] + (0,) + shape[2:] if len(shape) > 1 else (0,)
    if shape and dice.chance(0.25):
        axis = dice.integer(-len(shape), len(shape) - 1)
    layout = "in-place" if dice.chance(0.1) else some_layout(dice, len(shape))
    case = Case(**common, layout=layout, axis=axis, x=None, output_layout=some_layout(dice, len(shape), OUTPUTS))
    front = axis % len(shape) if axis is not None else min(1, len(shape) - 1)
    classes = shape[front] if shape else 1
    values = class_values(dice, shape, front, dtype, kind)
    if function == "nll":
        values = torch.log_softmax(values.double(), front).to(dtype) if dice.chance(0.7) else values
    elif function == "softmax_backward":
        values = torch.softmax(values.double(), front).to(dtype)
    elif function == "log_softmax_backward":
        values = torch.log_softmax(values.double(), front).to(dtype)
    case.x = place(values, "contiguous" if layout == "in-place" else layout, dice)
    row_shape = case.row_shape
    case.index_dtype = dice.choice([torch.int64, torch.int32])
    if function.endswith("backward"):
        case.incoming = place(tensor(dice.normal(*shape), beside(dice, dtype)), some_layout(dice, len(shape)), dice)
        return case
    if function == "log_sum_exp" and dice.chance(0.5):
        case.incoming = incoming(dice, row_shape, dtype)
    case.saved_state = function not in ("nll", "slices") and dice.chance(0.15)
    if plain_softmax:
        return case
    loss_options(dice, case, row_shape, classes)
    if function == "cross_entropy_beyond":
        beyond(dice, case, row_shape)
    if function == "cross_entropy_probabilities" or (function == "cross_entropy_beyond" and dice.chance(0.3)
                                                     and "focal_gamma" not in case.options):
        probabilities(dice, case, shape, front)
    else:
        indices(dice, case, row_shape, classes)
    if function == "slices":
        cut(dice, case, classes)
    elif dice.chance(0.3):
        names = ["loss", "sum", "mean", "divisor", "gradient"]
        names += [] if function == "nll" else ["lse", "state"]
        case.wanted = tuple(n for n in names if dice.chance(0.3)) or (dice.choice(names),)
    return case


def incoming(dice, shape, dtype):
    shape = shape if dice.chance(0.7) else ()
    g = dice.normal(*shape) * dice.choice([1, 1, 1e-3, 1e3, 0])
    return place(tensor(g, beside(dice, dtype)), some_layout(dice, len(shape)), dice)


def loss_options(dice, case, row_shape, classes):
    case.options["reduction"] = dice.choice(["mean", "sum", "none"])
    if dice.chance(0.4):
        case.incoming = incoming(dice, row_shape if case.reduction == "none" else (), case.dtype)
    if dice.chance(0.5):
        w = dice.uniform_array(0.1, 3, classes)
        style = dice.pick({"positive": 6, "zeros": 2, "signs": 1, "small": 1})
        if style == "zeros":
            w[dice.uniform_array(0, 1, classes) < 0.3] = 0
        elif style == "signs":
            w = dice.normal(classes)
        elif style == "small":
            w *= 1e-4
        case.weight = place(tensor(w, beside(dice, case.dtype)), some_layout(dice, 1), dice)
    if case.function not in ("nll", "slices") and dice.chance(0.4):
        case.options["label_smoothing"] = dice.choice([0.1, 0.1, 0.01, 0.5, 1.0, 1e-6, 0.0])


def indices(dice, case, row_shape, classes):
    dtype = dice.pick({torch.int64: 3, torch.int32: 1, torch.uint8: 1})
    ignore = dice.pick({-100: 6, 255: 1, 0: 1, classes - 1: 1, -1: 1, 2**40: 1})
    if classes == 0:  # which is legal where all rows are ignored
        dtype, ignore = torch.int64, -100
    limits = torch.iinfo(dtype)
    y = dice.numbers.integers(0, max(1, min(classes, limits.max + 1)), row_shape)
    if limits.min <= ignore <= limits.max:
        share = 1.0 if classes == 0 or dice.chance(0.05) else dice.choice([0, 0.2, 0.5])
        y = np.where(dice.uniform_array(0, 1, *row_shape) < share, ignore, y)
    case.options["ignore_index"] = ignore
    case.target = place(tensor(y, dtype), some_layout(dice, len(row_shape)), dice)


def probabilities(dice, case, shape, axis):
    """Distributions, some with zeros, and tensors that are none."""
    style = dice.pick({"soft": 4, "sharp": 2, "one hot": 2, "any numbers": 1})
    t = class_values(dice, shape, axis, torch.float64, "gaussian")
    if style in ("soft", "sharp"):
        t = torch.softmax(t * (1 if style == "soft" else 30), axis)
    elif style == "one hot" and shape[axis]:
        t = (t == t.amax(axis, keepdim=True)).double()
    case.target = place(t.to(beside(dice, case.dtype)), some_layout(dice, len(shape)), dice)


def beyond(dice, case, row_shape):
    """Options that PyTorch lacks."""
    o = case.options
    if dice.chance(0.4):
        r = dice.uniform_array(0, 2, *row_shape) * (dice.uniform_array(0, 1, *row_shape) > 0.2)
        case.row_weight = place(tensor(r, beside(dice, case.dtype)), some_layout(dice, len(row_shape)), dice)
    if dice.chance(0.4):
        o["divisor_kind"] = dice.choice(["rows", "given"])
        o["divisor"] = dice.choice([1.0, 48.0, 0.3])
    if dice.chance(0.4):
        o["z_loss"] = dice.choice([1e-4, 0.01, 1.0])
    if dice.chance(0.3):
        o["softcap"] = dice.choice([5.0, 30.0, 50.0])
    if dice.chance(0.4):
        o["focal_gamma"] = dice.choice([0.5, 1.0, 2.0, 3.0, 5.0])
        o.pop("label_smoothing", None)
    o["empty_mean_is_zero"] = int(dice.chance(0.3))


def cut(dice, case, classes):
    count = dice.choice([2, 3, 8])
    case.cuts = tuple(sorted(dice.integer(0, classes) for _ in range(count - 1)))


def row_states(dice, common):
    """States (max, rest) as they come. x is (5, rows): maxima and rests of two, target logits."""
    count = dice.choice([0, 1, 3, 17, 64, 200])
    high = dice.logits(common["kind"], 2, count, torch.float32)
    rest = np.exp(dice.uniform_array(-60, 15, 2, count)) * (dice.uniform_array(0, 1, 2, count) > 0.1)
    none = (dice.uniform_array(0, 1, 2, count) < 0.1) | np.isneginf(high)
    high, rest = np.where(none, -np.inf, high), np.where(none, -1, rest)
    target = high[:1] - np.abs(dice.normal(1, count)) * dice.choice([0, 1, 30])
    common["dtype"] = torch.float64
    x = tensor(np.concatenate([high, rest, target]), torch.float64)
    return Case(**common, layout="contiguous", x=place(x, "contiguous", dice))


# ---- Functions of elements ------------------------------------------------------------------

def element_shape(dice, budget):
    count = dice.pick({0: 1, 1: 4, 2: 5, 3: 4, 4: 3})
    sizes = [dice.choice([0] + 3 * [1] + 4 * POSITIONS + [33, 64, 1025]) for _ in range(count)]
    while np.prod(sizes, initial=1) > budget:
        sizes[sizes.index(max(sizes))] //= 2
    return tuple(sizes)


def some_broadcast(dice, shape):
    """Trailing dimensions, some of them 1."""
    kept = shape[dice.integer(0, len(shape)):] if dice.chance(0.6) else shape
    return tuple(1 if dice.chance(0.3) else s for s in kept)


def element_values(dice, shape, dtype, kind):
    count = int(np.prod(shape, initial=1))
    return tensor(dice.logits(kind, 1, count, dtype).reshape(shape), dtype)


def elementwise(dice, common, budget):
    function, dtype, kind = common["function"], common["dtype"], common["kind"]
    shape = element_shape(dice, budget)
    layout = "in-place" if dice.chance(0.1) else some_layout(dice, len(shape))
    values = element_values(dice, shape, dtype, kind)
    if function in ("bce", "bce_beyond"):
        values = torch.sigmoid(values.double()).nan_to_num(0.5).to(dtype)
    elif function == "sigmoid_backward":
        values = torch.sigmoid(values.double()).to(dtype)
    case = Case(**common, layout=layout, output_layout=some_layout(dice, len(shape), OUTPUTS),
                x=place(values, "contiguous" if layout == "in-place" else layout, dice))
    if function not in BINARY:
        if function.endswith("backward"):
            case.incoming = place(tensor(dice.normal(*shape), beside(dice, dtype)), some_layout(dice, len(shape)), dice)
        return case
    labels(dice, case, shape)
    case.options["reduction"] = dice.choice(["mean", "sum", "none"])
    if dice.chance(0.4):
        case.incoming = incoming(dice, shape if case.reduction == "none" else (), dtype)
    for name in ("weight", "pos_weight"):
        if dice.chance(0.4) and (name == "weight" or "logits" in function):
            wide = some_broadcast(dice, shape)
            w = dice.uniform_array(0, 3, *wide) if dice.chance(0.9) else dice.normal(*wide)
            setattr(case, name, place(tensor(w, beside(dice, dtype)), some_layout(dice, len(wide)), dice))
    if function.endswith("beyond"):
        beyond_binary(dice, case)
    elif dice.chance(0.3):
        names = ["loss", "sum", "mean", "divisor", "gradient", "target_gradient"]
        case.wanted = tuple(n for n in names if dice.chance(0.3)) or (dice.choice(names),)
    return case


def labels(dice, case, shape):
    style = dice.pick({"hard": 4, "soft": 3, "any numbers": 1})
    y = dice.uniform_array(0, 1, *shape)
    if style == "hard":
        y = (y < 0.5).astype(float)
    elif style == "any numbers" and case.function == "bce_with_logits":
        y = 2 * dice.normal(*shape)
    case.target = place(tensor(y, beside(dice, case.dtype)), some_layout(dice, len(shape)), dice)


def beyond_binary(dice, case):
    o = case.options
    if dice.chance(0.5):
        o["label_smoothing"] = dice.choice([0.1, 0.01, 0.5, 1.0])
    if "logits" in case.function and dice.chance(0.6):
        o["focal_gamma"] = dice.choice([0.5, 1.0, 2.0, 3.0, 5.0])
        o["focal_alpha"] = dice.choice([-1.0, 0.25, 0.0, 1.0])
        case.pos_weight = None
    if dice.chance(0.4):
        o["divisor_kind"] = dice.choice(["rows", "given"])
        o["divisor"] = dice.choice([1.0, 48.0, 0.3])
    o["empty_mean_is_zero"] = int(dice.chance(0.3))
