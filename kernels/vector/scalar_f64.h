/* The vocabulary for doubles, one lane wide: the words of scalar.h, with the same names, for
 * algorithms that are compiled a second time with XENT_REAL_F64. What follows from real being
 * double needs no words here; said is what a reader of scalar.h would not guess.
 *
 *   vec    VEC_WIDTH doubles                 veci   as many int64 (wrapping)
 *   wide   as many pairs of doubles          mask   as many truth values
 *   total  a pair of doubles in memory       fold8  eight such pairs
 *
 * Pairs, and all that is made of them, stand in pair.h. They are the same bits everywhere but
 * where VEC_FUSED is 0, as with the words of scalar.h.
 */
#ifndef XENT_KERNELS_VECTOR_SCALAR_F64_H
#define XENT_KERNELS_VECTOR_SCALAR_F64_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VEC_WIDTH 1
#define VEC_FUSED 1
#define WORD static inline __attribute__((always_inline, unused))

typedef double real;
typedef double vec;
typedef int64_t veci;
typedef int mask;

/* -- Memory. -- */

WORD vec vec_load(const double *p) { return *p; }
WORD void vec_store(double *p, vec a) { *p = a; }
WORD void vec_stream(double *p, vec a) { *p = a; }
WORD void stream_end(void) {}
WORD vec vec_load_partial(const double *p, size_t n, vec fill) { return n ? *p : fill; }
WORD void vec_store_partial(double *p, vec a, size_t n) { if (n) *p = a; }

WORD void vec_load_rows4(const double *from, const ptrdiff_t *rows, vec out[4])
{
    for (int c = 0; c < 4; c++) out[c] = from[rows[0] + c];
}
WORD void vec_store_rows4(double *to, const ptrdiff_t *rows, const vec in[4])
{
    for (int c = 0; c < 4; c++) to[rows[0] + c] = in[c];
}

/* Floats; stores round to nearest even. */
WORD vec vec_load_f32(const float *p) { return *p; }
WORD void vec_store_f32(float *p, vec a) { *p = (float)a; }

/* -- Arithmetic. -- */

WORD vec vec_set(double a) { return a; }
WORD vec vec_add(vec a, vec b) { return a + b; }
WORD vec vec_sub(vec a, vec b) { return a - b; }
WORD vec vec_mul(vec a, vec b) { return a * b; }
WORD vec vec_div(vec a, vec b) { return a / b; }
WORD vec vec_fma(vec a, vec b, vec c) { return fma(a, b, c); }
WORD vec vec_max(vec a, vec b) { return a > b ? a : b; }
WORD vec vec_min(vec a, vec b) { return a < b ? a : b; }
WORD vec vec_larger(vec a, vec b) { return vec_max(a, b); }
WORD int vec_larger_lost(vec a) { (void)a; return 0; }

/* -- Bits. -- */

WORD veci vec_bits(vec a) { veci i; memcpy(&i, &a, sizeof i); return i; }
WORD vec vec_from_bits(veci a) { vec f; memcpy(&f, &a, sizeof f); return f; }
WORD vec vec_abs(vec a) { return vec_from_bits(vec_bits(a) & INT64_MAX); }
WORD vec vec_negate(vec a) { return vec_from_bits(vec_bits(a) ^ INT64_MIN); }
WORD vec vec_copy_sign(vec a, vec b)
{
    return vec_from_bits((vec_bits(a) & INT64_MAX) | (vec_bits(b) & INT64_MIN));
}
WORD veci veci_set(int64_t a) { return a; }
WORD veci veci_add(veci a, veci b) { return (veci)((uint64_t)a + (uint64_t)b); }
WORD veci veci_sub(veci a, veci b) { return (veci)((uint64_t)a - (uint64_t)b); }
WORD veci veci_and(veci a, veci b) { return a & b; }
/* Shifts by a constant 0 <= n < 64. */
WORD veci veci_shift_left(veci a, const int n) { return (veci)((uint64_t)a << n); }
WORD veci veci_shift_right(veci a, const int n) { return a >> n; }
/* Of integers from -2^51 to 2^51 - 1, exact; others may give anything, for SSE2 and AVX2 have
 * no instruction for them. wide_from_int likewise. */
WORD vec vec_from_int(veci a) { return (double)a; }

/* -- Truth values. -- */

WORD mask vec_equal(vec a, vec b) { return a == b; }
WORD mask vec_less(vec a, vec b) { return a < b; }
WORD mask mask_and(mask a, mask b) { return a & b; }
WORD mask mask_or(mask a, mask b) { return a | b; }
WORD int mask_any(mask m) { return m; }
WORD vec vec_select(mask m, vec yes, vec no) { return m ? yes : no; }
WORD vec vec_zero_where(mask m, vec a) { return m ? 0.0 : a; }
WORD veci veci_count(veci a, mask m) { return veci_add(a, m); }

/* -- A table of eight pairs. -- */

typedef struct { const double (*pair)[2]; } table8; /* a copy would be made again and again */
WORD table8 table8_load(const double pairs[8][2]) { return (table8){pairs}; }
WORD void table8_look_up(const table8 *t, veci index, vec *high, vec *low)
{
    *high = t->pair[index & 7][0];
    *low = t->pair[index & 7][1];
}

/* -- Reductions. -- */

WORD double vec_reduce_max(vec a) { return a; }
WORD int64_t veci_reduce_add(veci a) { return a; }

#include "pair.h"

#endif
