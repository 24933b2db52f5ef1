/* Elements of a row between memory, of whatever type and stride, and packed reals. 16 bits are
 * widened and rounded (once, to nearest even) in registers. */
#ifndef XENT_KERNELS_STORAGE_H
#define XENT_KERNELS_STORAGE_H

#include <string.h>

#include "job.h"
#include "math/tanh.h"
#include "vector/half.h"
#include "vector/vector.h"

#ifdef XENT_REAL_F64
#define REAL_DTYPE XENT_F64
#else
#define REAL_DTYPE XENT_F32
#endif

/* A row's classes in memory. */
struct row_view {
    void *data; /* NULL: no such row */
    xent_dtype dtype;
    ptrdiff_t stride;
    double softcap; /* 0, or reading gives softcap tanh(x / softcap) */
    real shift;     /* and takes this off */
};

MATH struct row_view plain_view(real *data) { return (struct row_view){data, REAL_DTYPE, 1, 0.0, 0}; }

/* Asks for the cache lines of what will be wanted soon. Beyond the end of a tensor nobody reads it, which does no harm. */
MATH void fetch(uintptr_t from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch((const void *)(from + at));
}
/* Into L2 only. */
MATH void fetch_far(uintptr_t from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch((const void *)(from + at), 0, 2);
}
MATH void fetch_to_write(uintptr_t to, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch((const void *)(to + at), 1);
}

MATH size_t dtype_size(xent_dtype dtype) { return dtype == XENT_F64 ? 8 : dtype == XENT_F32 ? 4 : 2; }

/* Of 16 bits, where reals are floats. */
MATH int dtype_is_half(xent_dtype dtype) { return sizeof(real) == 4 && (dtype == XENT_BF16 || dtype == XENT_F16); }

/* Elements side by side that are loaded and stored a vector at a time, whatever their type; and reals among them, which can be read, and
 * written, where they lie. */
MATH int view_is_packed(const struct row_view *view)
{
    return (dtype_is_half(view->dtype) || view->dtype == REAL_DTYPE) && view->stride == 1 && view->softcap == 0.0 && view->shift == 0;
}
MATH int view_is_plain(const struct row_view *view) { return view->dtype == REAL_DTYPE && view_is_packed(view); }

/* Of such elements; dtype 0: reals. */
MATH vec packed_load(const void *data, const xent_dtype dtype, size_t at)
{
    switch (dtype) {
    case XENT_BF16: return vec_load_bf16((const uint16_t *)data + at);
    case XENT_F16: return vec_load_f16((const uint16_t *)data + at);
    case XENT_F32: return vec_load_f32((const float *)data + at);
    default: return vec_load((const real *)data + at);
    }
}

MATH void packed_store(void *data, const xent_dtype dtype, size_t at, vec value)
{
    switch (dtype) {
    case XENT_BF16: vec_store_bf16((uint16_t *)data + at, value); break;
    case XENT_F16: vec_store_f16((uint16_t *)data + at, value); break;
    case XENT_F32: vec_store_f32((float *)data + at, value); break;
    default: vec_store((real *)data + at, value); break;
    }
}

MATH void *view_at(const struct row_view *view, size_t first)
{
    return (char *)view->data + (ptrdiff_t)first * view->stride * (ptrdiff_t)dtype_size(view->dtype);
}

MATH real read_one(const void *data, xent_dtype dtype, ptrdiff_t at)
{
    switch (dtype) {
    case XENT_F64: return (real)((const double *)data)[at];
    case XENT_BF16: return half_from_bf16(((const uint16_t *)data)[at]);
    case XENT_F16: return half_from_f16(((const uint16_t *)data)[at]);
    default: return ((const float *)data)[at];
    }
}

MATH void write_one(void *data, xent_dtype dtype, ptrdiff_t at, real value)
{
    switch (dtype) {
    case XENT_F64: ((double *)data)[at] = value; break;
    case XENT_BF16: ((uint16_t *)data)[at] = half_to_bf16(half_odd_float(value)); break;
    case XENT_F16: ((uint16_t *)data)[at] = half_to_f16(half_odd_float(value)); break;
    default: ((float *)data)[at] = (float)value; break;
    }
}

/* At least a vector's width of elements; those of a last, partial vector go twice. */
MATH void packed_read(const void *data, const xent_dtype dtype, size_t count, real *to)
{
    for (size_t j = 0; j + VEC_WIDTH <= count; j += VEC_WIDTH) vec_store(to + j, packed_load(data, dtype, j));
    vec_store(to + count - VEC_WIDTH, packed_load(data, dtype, count - VEC_WIDTH));
}

MATH void packed_write(void *data, const xent_dtype dtype, size_t count, const real *from)
{
    for (size_t j = 0; j + VEC_WIDTH <= count; j += VEC_WIDTH) packed_store(data, dtype, j, vec_load(from + j));
    packed_store(data, dtype, count - VEC_WIDTH, vec_load(from + count - VEC_WIDTH));
}

/* count elements from data on, which to does not overlap. */
static void storage_read(const void *data, xent_dtype dtype, ptrdiff_t stride, size_t count, real *to)
{
    if (stride == 1 && dtype == REAL_DTYPE) memcpy(to, data, count * sizeof *to);
    else if (stride == 1 && count >= VEC_WIDTH && dtype == XENT_BF16) packed_read(data, XENT_BF16, count, to);
    else if (stride == 1 && count >= VEC_WIDTH && dtype == XENT_F16) packed_read(data, XENT_F16, count, to);
    else if (stride == 1 && count >= VEC_WIDTH && dtype == XENT_F32) packed_read(data, XENT_F32, count, to);
    else
        for (size_t j = 0; j < count; j++) to[j] = read_one(data, dtype, (ptrdiff_t)j * stride);
}

static void storage_write(void *data, xent_dtype dtype, ptrdiff_t stride, size_t count, const real *from)
{
    if (stride == 1 && dtype == REAL_DTYPE) memcpy(data, from, count * sizeof *from);
    else if (stride == 1 && count >= VEC_WIDTH && dtype == XENT_BF16) packed_write(data, XENT_BF16, count, from);
    else if (stride == 1 && count >= VEC_WIDTH && dtype == XENT_F16) packed_write(data, XENT_F16, count, from);
    else if (stride == 1 && count >= VEC_WIDTH && dtype == XENT_F32) packed_write(data, XENT_F32, count, from);
    else
        for (size_t j = 0; j < count; j++) write_one(data, dtype, (ptrdiff_t)j * stride, from[j]);
}

/* cap tanh(x / cap), but for -inf, which stays: a masked class stays masked; and where x / cap is
 * so small that its tanh is itself, x stays too. */
MATH vec softcapped(vec x, vec cap)
{
    vec ratio = vec_div(x, cap), capped = vec_mul(cap, tanh_of(ratio));
    mask small = vec_less(vec_abs(ratio), vec_set(sizeof(real) == 8 ? (real)0x1p-28 : (real)0x1p-14));
    return vec_select(mask_or(small, vec_equal(x, vec_set((real)-INFINITY))), x, capped);
}

/* In place; writes up to a vector's width beyond count. */
static void softcap_all(real *x, size_t count, double softcap)
{
    vec cap = vec_set((real)softcap);
    for (size_t j = 0; j < count; j += VEC_WIDTH) {
        size_t n = count - j < VEC_WIDTH ? count - j : VEC_WIDTH;
        vec_store_partial(x + j, softcapped(vec_load_partial(x + j, n, vec_set(0)), cap), n);
    }
}

static void view_read(const struct row_view *view, size_t first, size_t count, real *to)
{
    storage_read(view_at(view, first), view->dtype, view->stride, count, to);
    if (view->softcap != 0.0) softcap_all(to, count, view->softcap);
    for (size_t j = 0; view->shift != 0 && j < count; j++) to[j] -= view->shift;
}

static void view_write(const struct row_view *view, size_t first, size_t count, const real *from)
{
    storage_write(view_at(view, first), view->dtype, view->stride, count, from);
}

static void kernel_read(const struct storage_job *job)
{
    storage_read(job->data, job->dtype, job->stride, job->count, job->packed);
}

static void kernel_write(const struct storage_job *job)
{
    storage_write(job->data, job->dtype, job->stride, job->count, job->packed);
}

#endif
