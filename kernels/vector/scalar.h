/* The vocabulary, one lane wide: the reference for what each word means.
 *
 * Every other header of this folder spells the same words for one instruction set,
 * with the same result in every lane, bit for bit (NaN counts as NaN). The algorithms
 * are written on these words alone. Comparisons are ordered: false if a lane is NaN.
 *
 *   vec    VEC_WIDTH floats          veci   as many int32 (wrapping)
 *   wide   as many doubles           mask   as many truth values
 *   fold8  eight doubles, the eight sums that 32 virtual lanes fold into
 *   total  a double, the sum of a row
 *
 * real is the type of an element, here float; scalar_f64.h and its siblings spell the same
 * words for doubles.
 *
 * VEC_FUSED is 1 where vec_fma and wide_fma round once. Where it is 0 (sse2) they
 * round the product and the sum, and results may differ from the other tiers.
 */
#ifndef XENT_KERNELS_VECTOR_SCALAR_H
#define XENT_KERNELS_VECTOR_SCALAR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "half.h"

#define VEC_WIDTH 1
#define VEC_FUSED 1
#define WORD static inline __attribute__((always_inline, unused))

typedef float real;
typedef float vec;
typedef int32_t veci;
typedef double wide;
typedef int mask;
typedef struct { double lane[8]; } fold8;
typedef double total; /* sum of a row */

/* -- Memory. No alignment is asked for. -- */

WORD vec vec_load(const float *p) { return *p; }
WORD void vec_store(float *p, vec a) { *p = a; }
/* As vec_store, to a p that is aligned to a vec, and past the caches if the instruction set knows how. stream_end() comes before
 * anybody else may read there. */
WORD void vec_stream(float *p, vec a) { *p = a; }
WORD void stream_end(void) {}
/* The first n lanes, 0 <= n <= VEC_WIDTH, from memory, the others from fill. Nothing
 * beyond the n elements is touched. */
WORD vec vec_load_partial(const float *p, size_t n, vec fill) { return n ? *p : fill; }
WORD void vec_store_partial(float *p, vec a, size_t n) { if (n) *p = a; }
WORD wide wide_load(const double *p) { return *p; }
WORD void wide_store(double *p, wide a) { *p = a; }

/* Rows to lanes and back: four consecutive elements of each of VEC_WIDTH rows, out[c]
 * holding element c of row w in lane w. rows: where each begins, in elements: who has these in memory would wait for pointers that
 * were only just put there. */
WORD void vec_load_rows4(const float *from, const ptrdiff_t *rows, vec out[4])
{
    for (int c = 0; c < 4; c++) out[c] = from[rows[0] + c];
}
WORD void vec_store_rows4(float *to, const ptrdiff_t *rows, const vec in[4])
{
    for (int c = 0; c < 4; c++) to[rows[0] + c] = in[c];
}

/* -- Arithmetic. -- */

WORD vec vec_set(float a) { return a; }
WORD vec vec_add(vec a, vec b) { return a + b; }
WORD vec vec_sub(vec a, vec b) { return a - b; }
WORD vec vec_mul(vec a, vec b) { return a * b; }
WORD vec vec_div(vec a, vec b) { return a / b; }
/* a b + c. */
WORD vec vec_fma(vec a, vec b, vec c) { return fmaf(a, b, c); }
/* a > b ? a : b: the second where either is NaN, and for zeros of either sign. */
WORD vec vec_max(vec a, vec b) { return a > b ? a : b; }
/* a < b ? a : b: likewise. */
WORD vec vec_min(vec a, vec b) { return a < b ? a : b; }
/* For the largest of many, from -inf on: max = vec_larger(next, max). As vec_max, but a zero may have either sign, and where
 * an operand is NaN, so may the result be: then it stays so, and vec_larger_lost(max) is not 0, and tells to look again
 * with vec_max. */
WORD vec vec_larger(vec a, vec b) { return vec_max(a, b); }
WORD int vec_larger_lost(vec a) { (void)a; return 0; }

/* -- Bits. -- */

WORD veci vec_bits(vec a) { veci i; memcpy(&i, &a, sizeof i); return i; }
WORD vec vec_from_bits(veci a) { vec f; memcpy(&f, &a, sizeof f); return f; }
WORD vec vec_abs(vec a) { return vec_from_bits(vec_bits(a) & INT32_MAX); }
WORD vec vec_negate(vec a) { return vec_from_bits(vec_bits(a) ^ INT32_MIN); }
/* The magnitude of a with the sign of b. */
WORD vec vec_copy_sign(vec a, vec b)
{
    return vec_from_bits((vec_bits(a) & INT32_MAX) | (vec_bits(b) & INT32_MIN));
}
WORD veci veci_set(int32_t a) { return a; }
WORD veci veci_add(veci a, veci b) { return (veci)((uint32_t)a + (uint32_t)b); }
WORD veci veci_sub(veci a, veci b) { return (veci)((uint32_t)a - (uint32_t)b); }
WORD veci veci_and(veci a, veci b) { return a & b; }
/* Shifts by a constant 0 <= n < 32; to the right with the sign. */
WORD veci veci_shift_left(veci a, const int n) { return (veci)((uint32_t)a << n); }
WORD veci veci_shift_right(veci a, const int n) { return a >> n; }
/* Nearest float of an integer, and its double. */
WORD vec vec_from_int(veci a) { return (float)a; }
WORD wide wide_from_int(veci a) { return a; }

/* -- Truth values. -- */

WORD mask vec_equal(vec a, vec b) { return a == b; }
WORD mask vec_less(vec a, vec b) { return a < b; }
WORD mask mask_and(mask a, mask b) { return a & b; }
WORD mask mask_or(mask a, mask b) { return a | b; }
WORD int mask_any(mask m) { return m; }
WORD vec vec_select(mask m, vec yes, vec no) { return m ? yes : no; }
/* +0 where m holds, also if a is NaN. */
WORD vec vec_zero_where(mask m, vec a) { return m ? 0.0f : a; }
/* a + 1 where m holds. */
WORD veci veci_count(veci a, mask m) { return veci_add(a, m); }
WORD wide wide_select(mask m, wide yes, wide no) { return m ? yes : no; }

/* -- A table of eight pairs (high, low) of floats, looked up by the low three bits of an
 * index; the others may hold anything. -- */

typedef struct { const float (*pair)[2]; } table8; /* a copy would be made again and again */
WORD table8 table8_load(const float pairs[8][2]) { return (table8){pairs}; }
WORD void table8_look_up(const table8 *t, veci index, vec *high, vec *low)
{
    *high = t->pair[index & 7][0];
    *low = t->pair[index & 7][1];
}

/* -- Doubles. -- */

WORD wide wide_set(double a) { return a; }
WORD wide wide_from_vec(vec a) { return a; }
WORD vec vec_from_wide(wide a) { return (float)a; } /* to nearest even */
WORD wide wide_add(wide a, wide b) { return a + b; }
WORD wide wide_sub(wide a, wide b) { return a - b; }
WORD wide wide_mul(wide a, wide b) { return a * b; }
WORD wide wide_div(wide a, wide b) { return a / b; }
WORD wide wide_fma(wide a, wide b, wide c) { return fma(a, b, c); }

/* -- Storage: VEC_WIDTH elements of another type. -- */

/* Sums of rows. */
WORD wide wide_load_total(const total *p) { return *p; }
WORD void wide_store_total(total *p, wide a) { *p = a; }
/* Doubles, rounded to nearest even on the way in. */
WORD vec vec_load_double(const double *p) { return (float)*p; }
WORD void vec_store_double(double *p, vec a) { *p = a; }
/* Elements of a tensor in its own type. Loads are exact. Stores round once, to nearest even:
 * what is too large becomes infinite, subnormal results are exact to their last place, and NaN
 * stays NaN. */
WORD vec vec_load_f32(const float *p) { return *p; }
WORD void vec_store_f32(float *p, vec a) { *p = a; }
WORD vec vec_load_bf16(const uint16_t *p) { return half_from_bf16(*p); }
WORD void vec_store_bf16(uint16_t *p, vec a) { *p = half_to_bf16(a); }
/* Two vectors, side by side; of a NaN the lower 16 bits have to be 0, as of all that bf16 and arithmetic make. */
WORD void vec_store2_bf16(uint16_t *p, vec a, vec b)
{
    vec_store_bf16(p, a);
    vec_store_bf16(p + VEC_WIDTH, b);
}
WORD vec vec_load_f16(const uint16_t *p) { return half_from_f16(*p); }
WORD void vec_store_f16(uint16_t *p, vec a) { *p = half_to_f16(a); }

/* -- Reductions. -- */

/* Largest lane of a vector without NaN; of zeros, either. */
WORD float vec_reduce_max(vec a) { return a; }
WORD int32_t veci_reduce_add(veci a) { return a; }

/* Virtual lane l = 0 ... 31 is lane l % VEC_WIDTH of vector l / VEC_WIDTH. Each becomes a
 * double, and result k is (lane k + lane k + 16) + (lane k + 8 + lane k + 24). */
WORD fold8 fold8_lanes(const vec lanes[32 / VEC_WIDTH])
{
    fold8 r;
    for (int k = 0; k < 8; k++)
        r.lane[k] = ((double)lanes[k] + (double)lanes[k + 16]) + ((double)lanes[k + 8] + (double)lanes[k + 24]);
    return r;
}
WORD fold8 fold8_zero(void) { return (fold8){{0}}; }
WORD fold8 fold8_add(fold8 a, fold8 b)
{
    for (int k = 0; k < 8; k++) a.lane[k] += b.lane[k];
    return a;
}
/* ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)). */
WORD total fold8_total(fold8 a)
{
    return ((a.lane[0] + a.lane[4]) + (a.lane[2] + a.lane[6])) + ((a.lane[1] + a.lane[5]) + (a.lane[3] + a.lane[7]));
}
/* The same of a vector of rows, a row a lane. */
WORD wide fold8_totals(const fold8 rows[VEC_WIDTH]) { return fold8_total(rows[0]); }

#endif
