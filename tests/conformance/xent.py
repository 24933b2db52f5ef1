"""The public API of xent, as xent.h declares it, through ctypes.

A tensor is anything with data_ptr(), dtype, shape and stride() as a torch.Tensor has them;
strides count elements and may be negative. Options and outputs are given by the names of
their members. A call that fails raises Failure."""
import ctypes
from ctypes import POINTER, Structure, c_char, c_char_p, c_double, c_int, c_int32, c_int64, c_size_t, c_void_p

import numpy as np
import torch

DTYPES = {torch.float32: 1, torch.float64: 2, torch.float16: 3, torch.bfloat16: 4,
          torch.int64: 5, torch.int32: 6, torch.uint8: 7}
TIERS = ["auto", "scalar", "sse2", "avx2", "avx512", "neon", "neon-simde"]
STATUS = ["OK", "NULL", "STRUCT_SIZE", "DTYPE", "SHAPE", "STRIDES", "OVERLAP", "OVERFLOW", "AXIS", "REDUCTION",
          "TARGET", "PROBABILITY", "VALUE", "TIER", "NON_FINITE"]
REDUCTIONS = {"mean": 0, "sum": 1, "none": 2}
DIVISORS = {"weights": 0, "rows": 1, "given": 2}


class Tensor(Structure):
    _fields_ = [("data", c_void_p), ("dtype", c_int), ("ndim", c_int32),
                ("shape", POINTER(c_int64)), ("strides", POINTER(c_int64))]


class RowState(Structure):
    _fields_ = [("max", c_double), ("rest", c_double)]


class RowSum(Structure):
    _fields_ = [("max", c_double), ("ties", c_double), ("parts", c_double * 5), ("whole", c_double * 5), ("classes", c_double)]


class Error(Structure):
    _fields_ = [("status", c_int), ("argument", c_char_p), ("row", c_int64), ("value", c_double),
                ("message", c_char * 232)]


class Info(Structure):
    _fields_ = [("tier", c_int), ("tier_name", c_char_p), ("reason", c_char_p),
                ("built", ctypes.c_uint), ("available", ctypes.c_uint)]


class Execution(Structure):
    _fields_ = [("size", c_size_t), ("tier", c_int), ("parallel_for", c_void_p), ("host", c_void_p)]


Tensor_p, RowState_p = POINTER(Tensor), POINTER(RowState)
OPTIONS = [("size", c_size_t), ("execution", POINTER(Execution))]


class SoftmaxOptions(Structure):
    _fields_ = OPTIONS + [("axis", c_int32), ("state", RowState_p), ("output_gradient", Tensor_p),
                          ("max", POINTER(c_double))]


class LogSumExpOutputs(Structure):
    _fields_ = [("size", c_size_t), ("lse", Tensor_p), ("gradient", Tensor_p), ("state", RowState_p),
                ("max", POINTER(c_double)), ("sum", c_void_p)]


class CrossEntropyOptions(Structure):
    _fields_ = OPTIONS + [
        ("axis", c_int32), ("reduction", c_int), ("ignore_index", c_int64), ("weight", Tensor_p),
        ("output_gradient", Tensor_p), ("state", RowState_p), ("label_smoothing", c_double),
        ("row_weight", Tensor_p), ("divisor_kind", c_int), ("divisor", c_double),
        ("empty_mean_is_zero", c_int32), ("report_non_finite", c_int32), ("z_loss", c_double),
        ("softcap", c_double), ("focal_gamma", c_double), ("class_offset", c_int64), ("class_count", c_int64)]


class CrossEntropyOutputs(Structure):
    _fields_ = [
        ("size", c_size_t), ("loss", Tensor_p), ("sum", POINTER(c_double)), ("divisor", POINTER(c_double)),
        ("mean", POINTER(c_double)), ("gradient", Tensor_p), ("lse", Tensor_p), ("state", RowState_p),
        ("target_gradient", Tensor_p), ("z_loss", Tensor_p), ("entropy", Tensor_p), ("argmax", Tensor_p),
        ("correct", Tensor_p), ("correct_count", POINTER(c_int64)), ("target_logit", Tensor_p)]


class ElementwiseOptions(Structure):
    _fields_ = OPTIONS


class BceOptions(Structure):
    _fields_ = OPTIONS + [
        ("reduction", c_int), ("weight", Tensor_p), ("pos_weight", Tensor_p), ("output_gradient", Tensor_p),
        ("label_smoothing", c_double), ("focal_gamma", c_double), ("focal_alpha", c_double),
        ("divisor_kind", c_int), ("divisor", c_double), ("empty_mean_is_zero", c_int32),
        ("report_non_finite", c_int32)]


class BceOutputs(Structure):
    _fields_ = [("size", c_size_t), ("loss", Tensor_p), ("sum", POINTER(c_double)), ("divisor", POINTER(c_double)),
                ("mean", POINTER(c_double)), ("gradient", Tensor_p), ("target_gradient", Tensor_p)]


class Failure(Exception):
    def __init__(self, status, error=None):
        self.status, self.row, self.value = STATUS[status], -1, 0.0
        text = ""
        if error is not None and error.status:
            self.row, self.value = error.row, error.value
            text = f": {(error.argument or b'').decode()}: {error.message.decode()}"
        super().__init__(f"XENT_ERROR_{self.status}{text}")


def describe(tensor):
    """The xent_tensor of a tensor, whose memory must outlive it."""
    shape = tuple(tensor.shape)
    sizes = c_int64 * len(shape)
    return Tensor(tensor.data_ptr(), DTYPES[tensor.dtype], len(shape), sizes(*shape), sizes(*tensor.stride()))


def pointer_to(array, kind):
    """Doubles of NumPy's as what they stand for: (rows, 2) as row states (max, rest), (rows, 7) as
    row sums, (rows) as themselves."""
    return ctypes.cast(c_void_p(array.ctypes.data), kind)


def set_members(struct, members):
    kinds = dict(struct._fields_)
    for name, value in members.items():
        if value is None:
            continue
        if kinds[name] is Tensor_p:
            value = ctypes.pointer(describe(value))
        elif isinstance(value, np.ndarray):
            value = pointer_to(value, kinds[name])
        elif name == "reduction":
            value = REDUCTIONS[value]
        elif name == "divisor_kind":
            value = DIVISORS[value]
        elif kinds[name] in (POINTER(c_double), POINTER(c_int64)):
            value = ctypes.pointer(value)
        setattr(struct, name, value)
    return struct


class Library:
    def __init__(self, path, tier="auto"):
        self.c = ctypes.CDLL(path)
        self.c.xent_status_string.restype = c_char_p
        self.execution = Execution(ctypes.sizeof(Execution), TIERS.index(tier))

    def info(self):
        info = Info()
        self.check(self.c.xent_get_info(ctypes.byref(info), c_size_t(ctypes.sizeof(info))))
        return info

    @staticmethod
    def check(status, error=None):
        if status:
            raise Failure(status, error)

    def options(self, kind, members):
        """Defaults from the library's own init function, and these members."""
        options, init = kind(), {SoftmaxOptions: self.c.xent_softmax_options_init,
                                 CrossEntropyOptions: self.c.xent_cross_entropy_options_init,
                                 ElementwiseOptions: self.c.xent_elementwise_options_init,
                                 BceOptions: self.c.xent_bce_options_init}[kind]
        self.check(init(ctypes.byref(options), c_size_t(ctypes.sizeof(options))))
        options.execution = ctypes.pointer(self.execution)
        return set_members(options, members)

    def call(self, function, tensors, options, outputs):
        """Tensors before the options, then the outputs: one tensor, or a struct."""
        error = Error()
        before = [ctypes.byref(describe(t)) for t in tensors]
        last = outputs if isinstance(outputs, Structure) else describe(outputs)
        self.check(function(*before, ctypes.byref(options), ctypes.byref(last), ctypes.byref(error)), error)

    def log_sum_exp(self, logits, outputs, **options):
        struct = LogSumExpOutputs(ctypes.sizeof(LogSumExpOutputs))
        self.call(self.c.xent_log_sum_exp, [logits], self.options(SoftmaxOptions, options),
                  set_members(struct, outputs))

    def softmax(self, name, tensors, output, **options):
        """softmax, log_softmax (of logits), softmax_backward, log_softmax_backward (of output and gradient)."""
        self.call(getattr(self.c, "xent_" + name), tensors, self.options(SoftmaxOptions, options), output)

    def elementwise(self, name, tensors, output):
        """sigmoid, log_sigmoid (of input), and their _backward."""
        self.call(getattr(self.c, "xent_" + name), tensors, self.options(ElementwiseOptions, {}), output)

    def cross_entropy(self, name, logits, target, outputs, **options):
        """cross_entropy or nll."""
        struct = CrossEntropyOutputs(ctypes.sizeof(CrossEntropyOutputs))
        self.call(getattr(self.c, "xent_" + name), [logits, target], self.options(CrossEntropyOptions, options),
                  set_members(struct, outputs))

    def bce(self, name, tensor, target, outputs, **options):
        """bce or bce_with_logits."""
        struct = BceOutputs(ctypes.sizeof(BceOutputs))
        self.call(getattr(self.c, "xent_" + name), [tensor, target], self.options(BceOptions, options),
                  set_members(struct, outputs))

    def merge(self, a, b, merged):
        """Row states."""
        pointers = [pointer_to(array, RowState_p) for array in (a, b, merged)]
        self.check(self.c.xent_row_state_merge(c_size_t(len(a)), *pointers, ctypes.byref(self.execution)))

    def finish(self, states, target_logits, lse, loss):
        pointers = [c_void_p(array.ctypes.data) for array in (states, target_logits, lse, loss)]
        self.check(self.c.xent_row_state_finish(c_size_t(len(states)), *pointers, ctypes.byref(self.execution)))

    def merge_sums(self, a, b, merged):
        error, pointers = Error(), [c_void_p(array.ctypes.data) for array in (a, b, merged)]
        self.check(self.c.xent_row_sum_merge(c_size_t(len(a)), *pointers, ctypes.byref(error)), error)

    def finish_sums(self, dtype, sums, states):
        pointers = [c_void_p(array.ctypes.data) for array in (sums, states)]
        self.check(self.c.xent_row_sum_finish(c_size_t(len(sums)), DTYPES[dtype], *pointers,
                                              ctypes.byref(self.execution)))
