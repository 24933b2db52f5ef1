"""Where the elements of a tensor lie. Every case puts its inputs and outputs into one of these
layouts; values stay what they are."""
import torch

INPUTS = ["contiguous", "offset", "strided", "channels-last", "cropped", "reversed", "expanded"]
OUTPUTS = INPUTS[:-1]  # an output can't have two elements at one address


class Array:
    """A tensor in memory: as the library sees it (data_ptr, dtype, shape, stride) and, with
    values(), as PyTorch can, which has no negative strides."""

    def __init__(self, view, flipped=()):
        self.view, self.flipped = view, tuple(flipped)
        self.dtype, self.shape = view.dtype, tuple(view.shape)

    def stride(self):
        return tuple(-s if d in self.flipped else s for d, s in enumerate(self.view.stride()))

    def data_ptr(self):
        if self.view.numel() == 0:
            return self.view.data_ptr()
        first = sum((self.shape[d] - 1) * self.view.stride(d) for d in self.flipped)
        return self.view.data_ptr() + first * self.view.element_size()

    def values(self):
        return self.view.flip(self.flipped) if self.flipped else self.view

    def narrow(self, dim, start, length):
        """A part of a dimension, in the same memory."""
        if dim in self.flipped:
            start = self.shape[dim] - start - length
        return Array(self.view.narrow(dim, start, length), self.flipped)


def possible(layout, ndim):
    """channels-last: the second dimension, or the only other one, innermost."""
    return ndim >= {"contiguous": 0, "offset": 0, "channels-last": 2}.get(layout, 1)


def expanded(values, dim):
    """The first slice of values in a dimension, seen over and over (stride 0)."""
    return values.narrow(dim, 0, min(1, values.shape[dim])).expand(values.shape) if values.shape[dim] else values


def place(values, layout, dice):
    """A copy of values in the layout. What lies between them is not a number."""
    shape, fill = list(values.shape), 7 if not values.dtype.is_floating_point else float("nan")
    if layout == "expanded":
        return Array(expanded(values.clone(), dice.integer(0, len(shape) - 1)))
    if layout == "offset":
        front = dice.integer(1, 3)
        view = torch.full((values.numel() + front,), fill, dtype=values.dtype)[front:].view(shape)
    elif layout == "strided":
        step = dice.integer(2, 3)
        view = torch.full(shape[:-1] + [shape[-1] * step], fill, dtype=values.dtype)[..., ::step]
    elif layout == "channels-last":
        order = [0, *range(2, len(shape)), 1] if len(shape) > 2 else [1, 0]
        base = torch.full([shape[d] for d in order], fill, dtype=values.dtype)
        view = base.permute([order.index(d) for d in range(len(shape))])
    elif layout == "cropped":  # x[:, 1:4, :, :4]: some dimensions are part of larger ones
        more = [dice.integer(0, 2) for _ in shape]
        more[-1] += 1
        view = torch.full([s + m for s, m in zip(shape, more)], fill, dtype=values.dtype)
        for d, (s, m) in enumerate(zip(shape, more)):
            view = view.narrow(d, dice.integer(0, m), s)
    elif layout == "reversed":
        flipped = [d for d in range(len(shape)) if dice.chance(0.5)] or [len(shape) - 1]
        return Array(values.flip(flipped).contiguous(), flipped)
    else:
        view = torch.empty(shape, dtype=values.dtype)
    view.copy_(values)
    return Array(view)
