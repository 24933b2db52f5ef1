/* What the vocabularies of doubles share, written on their words: wide numbers, the sum of a
 * row, storage of 16 bits.
 *
 *   wide   VEC_WIDTH pairs (high, low): the number high + low, high being that sum rounded, so
 *          |low| <= ulp(high) / 2; about 106 bits
 *   total  the same in memory, of one row
 *   fold8  eight pairs, the eight sums that 32 virtual lanes fold into
 *
 * Names of the algorithms are those of Joldes, Muller and Popescu, "Tight and rigorous error
 * bounds for basic building blocks of double-word arithmetic" (2017), whence the bounds;
 * u = 2^-53. They are relative to the exact result of the operation on the pairs given; sums
 * and products of plain doubles (low = 0) are exact. That holds unless what makes up low
 * falls out of the range of doubles:
 *   - Underflow never hurts a sum. A product below 2^-960 may be off by some 2^-1074 more, and so
 *     may a quotient below that, or by some 2^-1074 / b if a is below it.
 *   - low may be 0 if an operand or the result is within a factor of two of overflow.
 * Where high is infinite or NaN low is 0, and high is what operating on the high parts alone
 * gives: inf + 1 = inf, 1 / inf = 0, inf - inf = NaN. A zero result may have either sign. Of words that end in _finite
 * the result is NaN where an operand is infinite: they take a quarter less.
 */
#ifndef XENT_KERNELS_VECTOR_PAIR_H
#define XENT_KERNELS_VECTOR_PAIR_H

#include <math.h>

#include "half.h"

typedef struct { vec high, low; } wide;
typedef struct { double high, low; } total; /* sum of a row */
typedef struct { wide sum[8 / VEC_WIDTH]; } fold8;

/* -- What rounding loses. high + low is exactly the result, unless high is not finite. -- */

/* 2Sum (Knuth). */
WORD wide pair_sum(vec a, vec b)
{
    vec high = vec_add(a, b), b_there = vec_sub(high, a), a_there = vec_sub(high, b_there);
    return (wide){high, vec_add(vec_sub(a, a_there), vec_sub(b, b_there))};
}

/* Fast2Sum (Dekker), for |a| >= |b| or a = 0. */
WORD wide pair_fast_sum(vec a, vec b)
{
    vec high = vec_add(a, b);
    return (wide){high, vec_sub(b, vec_sub(high, a))};
}

/* The upper 26 bits of a number, rounded on its bits (Veltkamp's multiplication by 2^27 + 1
 * would overflow for numbers from 2^996 on). What is left has 26 bits, and a sign. */
WORD vec pair_upper(vec a)
{
    veci rounded = veci_add(vec_bits(a), veci_set(0x4000000));
    return vec_from_bits(veci_and(rounded, veci_set(-0x8000000)));
}

/* 2Prod: with a fused multiply-add, or Dekker's, where all products but the first are exact. */
WORD wide pair_product(vec a, vec b)
{
    vec high = vec_mul(a, b);
    if (VEC_FUSED) return (wide){high, vec_fma(a, b, vec_negate(high))};
    vec a_upper = pair_upper(a), a_lower = vec_sub(a, a_upper);
    vec b_upper = pair_upper(b), b_lower = vec_sub(b, b_upper);
    vec low = vec_sub(vec_mul(a_upper, b_upper), high);
    low = vec_add(low, vec_mul(a_upper, b_lower));
    low = vec_add(low, vec_mul(a_lower, b_upper));
    return (wide){high, vec_add(low, vec_mul(a_lower, b_lower))};
}

/* (plain, 0) where low is not finite. It never is where high is not. */
WORD wide pair_or_plain(wide a, vec plain)
{
    mask finite = vec_less(vec_abs(a.low), vec_set(INFINITY));
    return (wide){vec_select(finite, a.high, plain), vec_select(finite, a.low, vec_set(0.0))};
}

/* -- Wide numbers. -- */

WORD wide wide_set(double a) { return (wide){vec_set(a), vec_set(0.0)}; }
WORD wide wide_from_vec(vec a) { return (wide){a, vec_set(0.0)}; }
WORD vec vec_from_wide(wide a) { return a.high; }
WORD vec vec_rest_of_wide(wide a) { return a.low; }
WORD wide wide_from_int(veci a) { return wide_from_vec(vec_from_int(a)); }
WORD wide wide_select(mask m, wide yes, wide no)
{
    return (wide){vec_select(m, yes.high, no.high), vec_select(m, yes.low, no.low)};
}

/* AccurateDWPlusDW: off by 3 u^2 / (1 - 4 u), less than 2^-104, whatever the signs. */
WORD wide wide_add_finite(wide a, wide b)
{
    wide high = pair_sum(a.high, b.high), low = pair_sum(a.low, b.low);
    wide sum = pair_fast_sum(high.high, vec_add(high.low, low.high));
    return pair_fast_sum(sum.high, vec_add(low.low, sum.low));
}
WORD wide wide_add(wide a, wide b) { return pair_or_plain(wide_add_finite(a, b), vec_add(a.high, b.high)); }
WORD wide wide_sum(const int finite, wide a, wide b) { return finite ? wide_add_finite(a, b) : wide_add(a, b); }
/* Of two plain doubles; but where high is not finite low is NaN, which goes where the result goes through a word that does not end in _finite. */
WORD wide wide_add_plain(wide a, wide b) { return pair_sum(a.high, b.high); }
WORD wide wide_sub(wide a, wide b)
{
    return wide_add(a, (wide){vec_negate(b.high), vec_negate(b.low)});
}

/* DWTimesDW2, and DWTimesDW1 where vec_fma rounds twice: off by 6 u^2 and 7 u^2, less than
 * 2^-103. */
WORD wide wide_mul_finite(wide a, wide b)
{
    wide product = pair_product(a.high, b.high);
    vec crossed = vec_fma(a.low, b.high, vec_mul(a.high, b.low));
    return pair_fast_sum(product.high, vec_add(product.low, crossed));
}
WORD wide wide_mul(wide a, wide b) { return pair_or_plain(wide_mul_finite(a, b), vec_mul(a.high, b.high)); }

/* DWDivDW2, the product in it being DWTimesFP3, or DWTimesFP2: off by 15 u^2, a little more than
 * 2^-102.1. The quotient of the high parts, and the remainder over the divisor's high part. */
WORD wide wide_div(wide a, wide b)
{
    vec quotient = vec_div(a.high, b.high);
    wide product = pair_product(b.high, quotient);
    product = pair_fast_sum(product.high, vec_fma(b.low, quotient, product.low));
    vec rest = vec_add(vec_sub(a.high, product.high), vec_sub(a.low, product.low));
    return pair_or_plain(pair_fast_sum(quotient, vec_div(rest, b.high)), quotient);
}

/* a b + c in these two steps. */
WORD wide wide_fma(wide a, wide b, wide c) { return wide_add(wide_mul(a, b), c); }

/* -- Memory. -- */

/* Plain doubles: low is 0, or dropped. */
WORD wide wide_load(const double *p) { return wide_from_vec(vec_load(p)); }
WORD void wide_store(double *p, wide a) { vec_store(p, a.high); }
WORD vec vec_load_double(const double *p) { return vec_load(p); }
WORD void vec_store_double(double *p, vec a) { vec_store(p, a); }

WORD wide wide_load_total(const total *p)
{
    double high[VEC_WIDTH], low[VEC_WIDTH];
    for (int w = 0; w < VEC_WIDTH; w++) {
        high[w] = p[w].high;
        low[w] = p[w].low;
    }
    return (wide){vec_load(high), vec_load(low)};
}
WORD void wide_store_total(total *p, wide a)
{
    double high[VEC_WIDTH], low[VEC_WIDTH];
    vec_store(high, a.high);
    vec_store(low, a.low);
    for (int w = 0; w < VEC_WIDTH; w++) p[w] = (total){high[w], low[w]};
}

/* 16 bits, lane by lane: a double becomes a float that loses nothing the second rounding
 * asks about. */
WORD vec vec_load_bf16(const uint16_t *p)
{
    double lanes[VEC_WIDTH];
    for (int w = 0; w < VEC_WIDTH; w++) lanes[w] = half_from_bf16(p[w]);
    return vec_load(lanes);
}
WORD vec vec_load_f16(const uint16_t *p)
{
    double lanes[VEC_WIDTH];
    for (int w = 0; w < VEC_WIDTH; w++) lanes[w] = half_from_f16(p[w]);
    return vec_load(lanes);
}
WORD void vec_store_bf16(uint16_t *p, vec a)
{
    double lanes[VEC_WIDTH];
    vec_store(lanes, a);
    for (int w = 0; w < VEC_WIDTH; w++) p[w] = half_to_bf16(half_odd_float(lanes[w]));
}
WORD void vec_store2_bf16(uint16_t *p, vec a, vec b)
{
    vec_store_bf16(p, a);
    vec_store_bf16(p + VEC_WIDTH, b);
}
WORD void vec_store_f16(uint16_t *p, vec a)
{
    double lanes[VEC_WIDTH];
    vec_store(lanes, a);
    for (int w = 0; w < VEC_WIDTH; w++) p[w] = half_to_f16(half_odd_float(lanes[w]));
}

/* -- Sums of 32 virtual lanes. The order is that of scalar.h, and every addition wide_add, to the bit. -- */

WORD fold8 fold8_of(const vec lanes[32 / VEC_WIDTH], const int finite)
{
    const int eight = 8 / VEC_WIDTH; /* vectors of eight lanes */
    fold8 r;
    for (int k = 0; k < eight; k++) {
        wide outer = pair_sum(lanes[k], lanes[k + 2 * eight]);
        wide inner = pair_sum(lanes[k + eight], lanes[k + 3 * eight]);
        r.sum[k] = wide_sum(finite, outer, inner);
    }
    return r;
}
WORD fold8 fold8_lanes(const vec lanes[32 / VEC_WIDTH]) { return fold8_of(lanes, 0); }
WORD fold8 fold8_zero(void)
{
    fold8 r;
    for (int k = 0; k < 8 / VEC_WIDTH; k++) r.sum[k] = wide_set(0.0);
    return r;
}
WORD fold8 fold8_add(fold8 a, fold8 b)
{
    for (int k = 0; k < 8 / VEC_WIDTH; k++) a.sum[k] = wide_add(a.sum[k], b.sum[k]);
    return a;
}
/* Sum k takes in sum k + 4, then k + 2, then k + 1. Halves shorter than a vector bring lanes along that nobody reads again. In
 * registers: what is stored as a vector and read from its middle has to reach the cache first. */
WORD total fold8_sum(fold8 a, const int finite)
{
    double high[VEC_WIDTH], low[VEC_WIDTH];
    for (int half = 4 / VEC_WIDTH; half > 0; half /= 2)
        for (int k = 0; k < half; k++) a.sum[k] = wide_sum(finite, a.sum[k], a.sum[k + half]);
    wide sum = a.sum[0];
#if VEC_WIDTH >= 8
    sum = wide_sum(finite, sum, (wide){vec_lanes_down(sum.high, 4), vec_lanes_down(sum.low, 4)});
#endif
#if VEC_WIDTH >= 4
    sum = wide_sum(finite, sum, (wide){vec_lanes_down(sum.high, 2), vec_lanes_down(sum.low, 2)});
#endif
#if VEC_WIDTH >= 2
    sum = wide_sum(finite, sum, (wide){vec_lanes_down(sum.high, 1), vec_lanes_down(sum.low, 1)});
#endif
    vec_store(high, sum.high);
    vec_store(low, sum.low);
    return (total){high[0], low[0]};
}
WORD total fold8_total(fold8 a) { return fold8_sum(a, 0); }
WORD total fold8_total_finite(fold8 a) { return fold8_sum(a, 1); }
/* The same of a vector of rows, a row a lane, none of them infinite. */
WORD wide fold8_totals(const fold8 rows[VEC_WIDTH])
{
#if VEC_WIDTH >= 4
    const double *from = (const double *)rows;
    ptrdiff_t at[VEC_WIDTH];
    wide sum[8];
    for (int w = 0; w < VEC_WIDTH; w++) at[w] = w * (ptrdiff_t)(sizeof *rows / sizeof *from);
    for (int k = 0; k < 8; k += 4) {
        const int high = k / VEC_WIDTH * 2 * VEC_WIDTH + k % VEC_WIDTH; /* a vector of these, then one of those */
        vec four[2][4];
        vec_load_rows4(from + high, at, four[0]);
        vec_load_rows4(from + high + VEC_WIDTH, at, four[1]);
        for (int i = 0; i < 4; i++) sum[k + i] = (wide){four[0][i], four[1][i]};
    }
    for (int half = 4; half > 0; half /= 2)
        for (int k = 0; k < half; k++) sum[k] = wide_add_finite(sum[k], sum[k + half]);
    return sum[0];
#else
    total totals[VEC_WIDTH];
    for (int w = 0; w < VEC_WIDTH; w++) totals[w] = fold8_total_finite(rows[w]);
    return wide_load_total(totals);
#endif
}

#endif
