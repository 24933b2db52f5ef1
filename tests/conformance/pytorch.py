"""The same cases with PyTorch: its own functions where it has one, the formula written out in its
operations where it has none; gradients are autograd's. In float64 it is the truth that the oracle
is held against, in the case's own type it is what xent is compared with.

Results are tensors by the output's name. A case that PyTorch can't be given raises Refused."""
import torch
import torch.nn.functional as F

from cases import BINARY


class Refused(Exception):
    pass


def given(array, dtype, grad=False):
    """In its own layout if in its own type, else packed: not all of PyTorch's functions take all
    layouts."""
    if array is None:
        return None
    values = array.values().detach()
    if array.dtype != dtype or dtype == torch.float64:
        values = values.to(dtype).contiguous()
    return values.requires_grad_(grad)


def takes_as_is(case):
    """Whether PyTorch takes the tensors in their own types: index targets i64, the rest all one."""
    floats = [a for a in (case.weight, case.pos_weight, case.row_weight, case.incoming, case.target)
              if a is not None and a.dtype.is_floating_point]
    return all(a.dtype == case.dtype for a in floats)


def in_pytorch(case, dtype):
    try:
        return FORMULAS[case.function](case, dtype)
    except (RuntimeError, IndexError, ValueError) as error:
        raise Refused(str(error).split("\n")[0]) from error


def backward(result, case, dtype, *inputs):
    """The gradient of a result, or of its sum, times the incoming gradient."""
    g = given(case.incoming, dtype)
    g = torch.ones_like(result) if g is None else g.expand(result.shape)
    return torch.autograd.grad(result, inputs, g, allow_unused=True)


# ---- The softmax family ---------------------------------------------------------------------

def log_sum_exp(case, dtype):
    x = given(case.x, dtype, True)
    lse = torch.logsumexp(x, case.class_axis if x.ndim else 0)
    return {"lse": lse, "gradient": backward(lse, case, dtype, x)[0]}


def softmax(case, dtype):
    return {"output": torch.softmax(given(case.x, dtype), case.class_axis if case.x.shape else 0)}


def log_softmax(case, dtype):
    return {"output": torch.log_softmax(given(case.x, dtype), case.class_axis if case.x.shape else 0)}


def softmax_backward(case, dtype):
    y, g = given(case.x, dtype).contiguous(), given(case.incoming, dtype).contiguous()
    return {"gradient": torch._softmax_backward_data(g, y, case.class_axis, dtype)}


def log_softmax_backward(case, dtype):
    y, g = given(case.x, dtype).contiguous(), given(case.incoming, dtype).contiguous()
    return {"gradient": torch._log_softmax_backward_data(g, y, case.class_axis, dtype)}


# ---- Losses of rows ------------------------------------------------------------------------------

def plain_loss(case, dtype, function, **options):
    """PyTorch's own loss, unreduced, and reduced with its gradients."""
    x, indexed = given(case.x, dtype, True), not case.target.dtype.is_floating_point
    target = case.target.values().long() if indexed else given(case.target, dtype, True)
    front = x.movedim(case.class_axis, 1) if x.ndim > 1 else x
    front = front.contiguous() if dtype == torch.float64 else front
    t_front = target if indexed or x.ndim < 2 else target.movedim(case.class_axis, 1)
    options |= {"weight": given(case.weight, dtype)}
    if indexed:
        options["ignore_index"] = case.option("ignore_index", -100)
    loss = function(front, t_front, reduction="none", **options)
    reduced = loss if case.reduction == "none" else function(front, t_front, reduction=case.reduction, **options)
    gradients = backward(reduced, case, dtype, x, *([] if indexed else [target]))
    results = {"loss": loss.detach(), "gradient": gradients[0]}
    if case.reduction != "none":
        results[case.reduction] = reduced.detach()
    if not indexed:
        results["target_gradient"] = gradients[1]
    return results


def cross_entropy(case, dtype):
    results = plain_loss(case, dtype, F.cross_entropy, label_smoothing=case.option("label_smoothing", 0.0))
    return {**results, "lse": torch.logsumexp(given(case.x, dtype), case.class_axis)}


def nll(case, dtype):
    return plain_loss(case, dtype, F.nll_loss)


def slices(case, dtype):
    """Of the whole rows: the loss unweighted, as xent_row_state_finish gives it."""
    results = plain_loss(case, dtype, F.cross_entropy)
    x = given(case.x, dtype)
    front = x.movedim(case.class_axis, 1) if x.ndim > 1 else x
    loss = F.cross_entropy(front, case.target.values().long(), reduction="none",
                           ignore_index=case.option("ignore_index", -100))
    return {"gradient": results["gradient"], "loss": loss, "lse": torch.logsumexp(x, case.class_axis)}


def cross_entropy_beyond(case, dtype):
    """Written out, but for what F.cross_entropy does of it."""
    x, o, indexed = given(case.x, dtype, True), case.options, not case.target.dtype.is_floating_point
    target = case.target.values().long() if indexed else given(case.target, dtype, True)
    weight, ignore = given(case.weight, dtype), o.get("ignore_index", -100)
    capped, cap = x, o.get("softcap", 0)
    if cap:
        capped = torch.where(x == -torch.inf, x, cap * torch.tanh(x / cap))
    front = capped.movedim(case.class_axis, 1) if x.ndim > 1 else capped
    axis = min(1, x.ndim - 1)
    lp = torch.log_softmax(front, axis)
    if "focal_gamma" in o:
        loss = F.nll_loss((1 - lp.exp()) ** o["focal_gamma"] * lp, target, weight, reduction="none", ignore_index=ignore)
    else:
        t_front = target if indexed or x.ndim < 2 else target.movedim(case.class_axis, 1)
        more = {"ignore_index": ignore} if indexed else {}
        loss = F.cross_entropy(front, t_front, weight, reduction="none",
                               label_smoothing=o.get("label_smoothing", 0.0), **more)
    r = torch.ones_like(loss) if case.row_weight is None else given(case.row_weight, dtype)
    lse = torch.logsumexp(front, axis)
    ignored = target == ignore if indexed else torch.zeros_like(loss, dtype=torch.bool)
    zero = torch.zeros((), dtype=dtype)
    z = torch.where(ignored, zero, o.get("z_loss", 0.0) * r * lse ** 2) if o.get("z_loss") else torch.zeros_like(loss)
    loss = loss * r
    kind = o.get("divisor_kind", "weights")
    rows = (~ignored).sum().to(dtype)
    w_y = weight[torch.where(ignored, 0, target)] if indexed and weight is not None and len(weight) else torch.ones_like(loss)
    divisor = (torch.tensor(o["divisor"], dtype=dtype) if kind == "given" else rows if kind == "rows"
               else torch.where(ignored, zero, w_y * r).sum())
    total, mean = (loss + z).sum(), loss.sum() / divisor
    if o.get("z_loss"):
        mean = mean + z.sum() / (divisor if kind == "given" else rows)
    if rows == 0 and o.get("empty_mean_is_zero"):
        mean = loss.sum()
    reduced = {"none": loss + z, "sum": total, "mean": mean}[case.reduction]
    gradients = backward(reduced, case, dtype, x, *([] if indexed else [target]))
    entropy = -torch.where(lp == -torch.inf, zero, lp.exp() * lp).sum(axis)
    results = {"loss": loss + z, "gradient": gradients[0], "sum": total, "mean": mean, "divisor": divisor,
               "lse": lse, "z_loss": z, "entropy": torch.where(ignored, zero, entropy)}
    if not indexed:
        results["target_gradient"] = gradients[1]
    return {n: v.detach() for n, v in results.items() if v is not None}


# ---- Functions of elements ---------------------------------------------------------------------------

def sigmoid(case, dtype):
    return {"output": torch.sigmoid(given(case.x, dtype))}


def log_sigmoid(case, dtype):
    return {"output": F.logsigmoid(given(case.x, dtype))}


def sigmoid_backward(case, dtype):
    return {"gradient": torch.ops.aten.sigmoid_backward(given(case.incoming, dtype), given(case.x, dtype))}


def log_sigmoid_backward(case, dtype):
    x = given(case.x, dtype, True)
    return {"gradient": backward(F.logsigmoid(x), case, dtype, x)[0]}


def binary(case, dtype):
    x, y, o = given(case.x, dtype, True), given(case.target, dtype, True), case.options
    e = o.get("label_smoothing", 0.0)
    target = (1 - e) * y + e / 2 if e else y
    weight, pos_weight = given(case.weight, dtype), given(case.pos_weight, dtype)

    def loss_of(reduction):
        if "logits" not in case.function:
            return F.binary_cross_entropy(x, target, weight, reduction=reduction)
        if "focal_gamma" not in o:
            return F.binary_cross_entropy_with_logits(x, target, weight, reduction=reduction, pos_weight=pos_weight)
        # As torchvision's sigmoid_focal_loss.
        p = torch.sigmoid(x)
        ce = F.binary_cross_entropy_with_logits(x, target, reduction="none")
        loss = ce * (1 - (p * target + (1 - p) * (1 - target))) ** o["focal_gamma"]
        if o.get("focal_alpha", -1) >= 0:
            loss = loss * (o["focal_alpha"] * target + (1 - o["focal_alpha"]) * (1 - target))
        loss = loss if weight is None else loss * weight
        return {"none": loss, "sum": loss.sum(), "mean": loss.mean()}[reduction]

    loss, total, mean = loss_of("none"), loss_of("sum"), loss_of("mean")
    if o.get("divisor_kind") == "given":
        mean = total / o["divisor"]
    if x.numel() == 0 and o.get("empty_mean_is_zero"):
        mean = total
    reduced = {"none": loss, "sum": total, "mean": mean}[case.reduction]
    gradients = backward(reduced, case, dtype, x, y)
    results = {"loss": loss.detach(), "sum": total.detach(), "mean": mean.detach(), "gradient": gradients[0]}
    return {**results, "target_gradient": gradients[1]}


FORMULAS = {"cross_entropy_probabilities": cross_entropy, **{name: binary for name in BINARY}}
for function in (log_sum_exp, softmax, log_softmax, softmax_backward, log_softmax_backward, cross_entropy, nll, slices,
                 cross_entropy_beyond, sigmoid, log_sigmoid, sigmoid_backward, log_sigmoid_backward):
    FORMULAS[function.__name__] = function
