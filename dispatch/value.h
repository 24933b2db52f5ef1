/* Single values of tensors, of whatever type: those of a row, one at a time. */
#ifndef XENT_DISPATCH_VALUE_H
#define XENT_DISPATCH_VALUE_H

#include "../kernels/vector/half.h"
#include "tensor.h"

static inline double xent_value(const struct view *view, ptrdiff_t at)
{
    const void *data = view->data;
    switch (view->dtype) {
    case XENT_F64: return ((const double *)data)[at];
    case XENT_F16: return half_from_f16(((const uint16_t *)data)[at]);
    case XENT_BF16: return half_from_bf16(((const uint16_t *)data)[at]);
    default: return ((const float *)data)[at];
    }
}

/* Rounded to nearest even, once. */
static inline void xent_set_value(const struct view *view, ptrdiff_t at, double value)
{
    void *data = view->data;
    switch (view->dtype) {
    case XENT_F64: ((double *)data)[at] = value; break;
    case XENT_F16: ((uint16_t *)data)[at] = half_to_f16(half_odd_float(value)); break;
    case XENT_BF16: ((uint16_t *)data)[at] = half_to_bf16(half_odd_float(value)); break;
    default: ((float *)data)[at] = (float)value; break;
    }
}

#endif
