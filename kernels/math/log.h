/* The natural logarithm, of x and of 1 + x.
 *
 * x = 2^k m, 0.6875 <= m < 1.375, f = m - 1, and
 *   log x = k ln2 + log(1 + f),   log(1 + f) = f - f^2/2 + f^3 (c3 + c4 f + ...).
 * k and the bits of m come out of x with one integer subtraction of 0.6875 and a mask. The
 * mask leaves k << 23 (k << 52), which is what k is taken off the exponent with; so floats carry
 * k as 2^23 k, and ln2 with 2^-23 in it. Doubles shift it down: 64-bit integers of any size do
 * not convert.
 *
 * The error is the last addition's rounding and little else. ln2 is cut into a high part of 15
 * (42) bits, whose product with k is exact, and a low part. high = k ln2_high + f rounds once, and
 * what it rounds off comes back exactly (Fast2Sum: |k ln2_high| > |f|, or k = 0). The small
 * terms all go into low; result = high + low. -f/2 is exact, and joins the polynomial before
 * the last product with f: f^2 rounded, times -1/2, would cost 0.05 ulp more, for one
 * operation less. Of k = 0, low is below 1/16 at both ends of the interval, which is why
 * it is where it is: [2/3, 4/3] costs some 0.05 ulp, and [0.75, 1.5] some 0.15.
 *
 * Coefficients: Sollya, for [|3,...,11|] with the formats [|24,...,24|],
 *   fpminimax(log1p(x), ..., [-0.3125; 0.375], floating, relative, x - x^2/2);
 * remainder 2^-30, and one term less costs up to 0.04 ulp. For doubles [|3,...,22|] and
 * [|53,...,53|], remainder 2^-59.
 *
 * Worst errors: see each function. A host that has set DAZ gets log 0 of a subnormal
 * number, and one that has set FTZ gets 0 for a subnormal result of log1p.
 */
#ifndef XENT_KERNELS_MATH_LOG_H
#define XENT_KERNELS_MATH_LOG_H

#include <math.h> /* INFINITY, NAN */

#include "polynomial.h"

/* Bits: LOG_LEAST of 0.6875, the least m, LOG_FOUR of 4, LOG_EXPONENT of sign and exponent.
 * LOG_SHIFT brings k down from the exponent's place to where it is carried, LOG_LN2 is for k
 * as it is carried. Probabilities are lifted, times LOG_LIFT: LOG_LIFTED_LEAST is LOG_LEAST of them,
 * LOG_LIFTED_SCALE has the bits of 1 / LOG_LIFT. */
#ifdef XENT_REAL_F64
#define LOG_LEAST 0x3fe6000000000000
#define LOG_FOUR 0x4010000000000000
#define LOG_EXPONENT (-0x0010000000000000)
#define LOG_SHIFT 52
#define LOG_LN2_HIGH 0x1.62e42fefa38p-1     /* 42 bits */
#define LOG_LN2_LOW 0x1.ef35793c7673p-45    /* the rest of it */
#define LOG_LIFT 0x1p+52                    /* makes subnormal numbers normal */
#define LOG_LIFTED_LEAST 0x4326000000000000
#define LOG_LIFTED_SCALE 0x3cb0000000000000
#define LOG_LN2 0x1.62e42fefa39efp-1
static const real log_probability_coefficients[] = {
    -0x1.0000000000001p-1, 0x1.5555555555603p-2, -0x1.ffffffffff7b1p-3, 0x1.999999997960cp-3,
    -0x1.555555559c828p-3, 0x1.2492493512ebbp-3, -0x1.ffffffe7d1cddp-4, 0x1.c71c697b73e5dp-4,
    -0x1.99999877c3321p-4, 0x1.745e44ab0abb1p-4, -0x1.55563a7b83ab4p-4, 0x1.3afa0c7e68ff7p-4,
    -0x1.2471d798b8b2dp-4, 0x1.1262b2b4b308bp-4, -0x1.02459704640b4p-4, 0x1.cdeedc589a233p-5,
    -0x1.9ad4664844acep-5, 0x1.f6aced62b3094p-5, -0x1.3a264fed588bp-4, 0x1.73adb4d154003p-5,
};
static const real log_coefficients[] = {
    0x1.555555555555bp-2, -0x1.00000000001a5p-2, 0x1.9999999998754p-3, -0x1.5555555518653p-3,
    0x1.249249251709p-3, -0x1.0000001a60bc4p-3, 0x1.c71c719d2d5dcp-4, -0x1.99998de024636p-4,
    0x1.745d1695e2551p-4, -0x1.5556d8d82627ap-4, 0x1.3b14baed070ep-4, -0x1.2473b68ecdf11p-4,
    0x1.10ec703bbd275p-4, -0x1.017a455195545p-4, 0x1.e6cc1a9ed2604p-5, -0x1.b1ea0dfc7603ap-5,
    0x1.81391e1db8095p-5, -0x1.e1f67eabda652p-5, 0x1.301babe8455fp-4, -0x1.6512828c387dap-5,
};
#define LOG_UNIT_MAGIC 0x1.8p+52
static const real log_unit_coefficients[] = {
    -0x1.0000000000006p-1, 0x1.5555555555325p-2, -0x1.ffffffffdfc7fp-3, 0x1.9999999c8549bp-3,
    -0x1.5555560fd68p-3, 0x1.24923f9fa1f9dp-3, -0x1.fffc92545e6dp-4, 0x1.c734059deec77p-4,
    -0x1.9d240d1985bd6p-4, 0x1.6b9e39af3430ep-4,
};
static const real log_unit_table[8][2] = {
    {1, 0}, {0x1.c3965899b2109p-1, 0x1.012378d74e84dp-3},
    {0x1.9498573a141ebp-1, 0x1.e22d3e67163c9p-3}, {0x1.6d5f9a42db31bp-1, 0x1.59809acc8870fp-2},
    {0x1.4d75de939a95dp-1, 0x1.b7177565cabcep-2}, {0x1.3325a9968c4cep-1, 0x1.05a1802c6fa65p-1},
    {0x1.1be7fac4b425ep-1, 0x1.2deaa54049111p-1}, {0x1.08bd72f2b2783p-1, 0x1.51b3fb6d47ba3p-1},
};
#else
#define LOG_LEAST 0x3f300000
#define LOG_FOUR 0x40800000
#define LOG_EXPONENT (-0x00800000)
#define LOG_SHIFT 0
#define LOG_LN2_HIGH 0x1.62e4p-24f     /* 2^-23 ln 2, 15 bits */
#define LOG_LN2_LOW 0x1.7f7d1cp-43f
#define LOG_LIFT 0x1p+23f
#define LOG_LIFTED_LEAST 0x4ab00000
#define LOG_LIFTED_SCALE 0x34000000
#define LOG_LN2 0x1.62e43p-24f
static const real log_probability_coefficients[] = {
    -0x1.ffffe4p-2f, 0x1.555662p-2f, -0x1.000f18p-2f, 0x1.992554p-3f,
    -0x1.5134acp-3f, 0x1.2aa832p-3f, -0x1.346b62p-3f, 0x1.bf606p-4f,
};
static const real log_coefficients[] = {
    0x1.55554cp-2f, -0x1.ffff54p-3f, 0x1.99a11ep-3f, -0x1.55877cp-3f, 0x1.23ba06p-3f,
    -0x1.f6133cp-4f, 0x1.d73a26p-4f, -0x1.000638p-3f, 0x1.69411ep-4f,
};
#define LOG_UNIT_MAGIC 0x1.8p+23f
static const real log_unit_coefficients[] = {-0x1.ffffcep-2f, 0x1.5556d8p-2f, -0x1.00d14cp-2f, 0x1.95d83ap-3f};
static const real log_unit_table[8][2] = {
    {1, 0}, {0x1.c3cdfap-1f, 0x1.00273ep-3f}, {0x1.93b3eep-1f, 0x1.e6b2b4p-3f}, {0x1.6d1b38p-1f, 0x1.5a4054p-2f},
    {0x1.4dd37cp-1f, 0x1.b5f824p-2f}, {0x1.338576p-1f, 0x1.0501e8p-1f}, {0x1.1c3364p-1f, 0x1.2d62b8p-1f},
    {0x1.08f524p-1f, 0x1.514852p-1f},
};
#endif

/* An unevaluated sum. */
struct log_sum {
    vec high, low;
};

/* k << 23 (k << 52) of a positive normal number, for m at least the number whose bits are least. */
MATH veci log_exponent(vec x, veci least)
{
    return veci_and(veci_sub(vec_bits(x), least), veci_set(LOG_EXPONENT));
}

/* k as it is carried. */
MATH vec log_factor(veci exponent) { return vec_from_int(veci_shift_right(exponent, LOG_SHIFT)); }

/* k ln2 + f. */
MATH struct log_sum log_leading(vec k, vec f)
{
    vec high = vec_fma(k, vec_set(LOG_LN2_HIGH), f);
    vec lost = vec_sub(f, vec_fma(k, vec_set(-LOG_LN2_HIGH), high));
    return (struct log_sum){high, vec_fma(k, vec_set(LOG_LN2_LOW), lost)};
}

/* sum + (log(1 + f) - f), rounded once, which takes *lost. */
MATH vec log_rounded(struct log_sum sum, vec f, vec *lost)
{
    vec p = POLYNOMIAL(f, log_coefficients);
    vec half = vec_mul(f, vec_set(-0.5f));
    vec small = vec_fma(vec_fma(vec_mul(f, f), p, half), f, sum.low);
    vec log = vec_add(sum.high, small);
    *lost = vec_sub(small, vec_sub(log, sum.high));
    return log;
}

/* log where 0 < x < inf, and elsewhere what log x is: -inf for a zero of either sign, +inf,
 * or NaN. */
MATH vec log_with_edges(vec x, vec log)
{
    vec upper = vec_select(vec_less(x, vec_set(INFINITY)), log, x);
    vec lower = vec_select(vec_equal(x, vec_set(0)), vec_set(-INFINITY), vec_set(NAN));
    return vec_select(vec_less(vec_set(0), x), upper, lower);
}

/* 1 + x, cut into 2^k (1 + f + lost). With s = 2^-k, f + lost = s x + (s - 1): s x is
 * exact, and so is s - 1 unless it makes no difference. f is exact too but
 * for k = 1 and x < 1/2, where lost is what it rounds off. 1 + x itself only picks k. */
struct log1p_parts {
    vec rounded;       /* 1 + x */
    vec k;
    vec quadruple;     /* 4 s: s itself would not be a normal number for the greatest x */
    vec f, lost;
};
MATH struct log1p_parts log1p_cut(vec x)
{
    vec rounded = vec_add(x, vec_set(1));
    veci exponent = log_exponent(rounded, veci_set(LOG_LEAST));
    vec quadruple = vec_from_bits(veci_sub(veci_set(LOG_FOUR), exponent));
    vec scaled = vec_from_bits(veci_sub(vec_bits(x), exponent));
    vec shift = vec_fma(quadruple, vec_set(0.25f), vec_set(-1));
    vec f = vec_add(scaled, shift);
    vec lost = vec_sub(scaled, vec_sub(f, shift));
    return (struct log1p_parts){rounded, log_factor(exponent), quadruple, f, lost};
}

/* log(1 + high + low): low is the rounding error of high, |low| <= ulp(high) / 2, and has to
 * be 0 where high < -1/2. -inf for high = -1, NaN below it and for NaN; +inf for +inf.
 * Nothing is absorbed: for tiny high the result is high. (For -0 it is +0, log 1.)
 *
 * low and what f lost enter to first order, as rest / (1 + f); the line 1.06 - 1.04 f is
 * within 0.07 of 1 / (1 + f), and rest is not much over half an ulp.
 *
 * Worst error 0.743 ulp for high >= 0, at (0x1.1faa4p-2, 0x1p-26), and 0.749 below, at
 * (-0x1.401962p-2, -0x1p-26); sse2 0.869, at (0x1.1e8ef4p-2, -0x1.f1fb7ap-28), and 0.819. That is
 * the worst of all 2^32 high with one low each (tests/accuracy), and of 20 for each
 * high between 0.2 and 0.6 in size. For doubles 0.742, at (0x1.1dcd0a2427261p-2, -0x1.cb1582p-56),
 * and 0.754, at (-0x1.42829fbc43252p-2, -0x1p-55); sse2 0.871, at (0x1.1bb8a2d1d2b0ep-2,
 * -0x1.9b1c3p-56) (10^8 inputs).
 * 37 operations, 20 of them multiplications or fma; for doubles 12 more, 11 of them fma. */
MATH vec log1p_sum(vec high, vec low, vec *lost) /* *lost: what the last rounding took, where the result is finite */
{
    struct log1p_parts cut = log1p_cut(high);
    struct log_sum sum = log_leading(cut.k, cut.f);
    vec rest = vec_fma(low, vec_mul(cut.quadruple, vec_set(0.25f)), cut.lost);
    vec slope = vec_fma(cut.f, vec_set(-1.04f), vec_set(1.06f));
    sum.low = vec_fma(rest, slope, sum.low);
    return log_with_edges(cut.rounded, log_rounded(sum, cut.f, lost));
}

/* log(1 + x): log1p_sum(x, 0) in three operations less, though not always with its bits.
 * lost is only ever other than 0 for f in [-0.3125, -0.25], where 1 / (1 + f) is about 1.4.
 *
 * Worst error 0.732 ulp, at x = 0x1.1d7deap-2; sse2 0.773, at -0x1.487b72p-2 (all 2^32 inputs:
 * tests/accuracy). For doubles 0.744, at 0x1.22019670cb879p-2; sse2 0.780, at
 * -0x1.4129e4f857193p-2 (10^8 inputs).
 * 34 operations, 17 of them multiplications or fma; for doubles 12 more, 11 of them fma. */
MATH vec log1p_finite(vec x) /* log(1 + x) where -1 < x < inf; elsewhere anything */
{
    struct log1p_parts cut = log1p_cut(x);
    struct log_sum sum = log_leading(cut.k, cut.f);
    sum.low = vec_fma(cut.lost, vec_set(1.4f), sum.low);
    vec unused;
    return log_rounded(sum, cut.f, &unused);
}
MATH vec log1p_of(vec x) { return log_with_edges(vec_add(x, vec_set(1)), log1p_finite(x)); }

/* The logarithms of a probability 0 <= p <= 1 and of 1 - p.
 *
 * All of it in numbers LOG_LIFT times as large, none of which is subnormal. u = 2^k m is p or 1 - p
 * rounded, which only picks k; and with s = 2^-k, f is s p - 1, or s (1 - p) - 1 = (s - 1) - s p.
 * Both are exact: s and s p are, f is -p where k = 0, 1 - 2 p between that and 1/2, and from 1/2 on 1 - p is
 * exact itself. k ln2 + log(1 + f) rounds its terms once each; ln2 in one part is good enough (relatively, it is
 * off by 2^-29; for doubles 2^-54).
 * Coefficients: Sollya, for [|2,...,9|] with the formats [|24,...,24|],
 *   fpminimax(log1p(x), ..., [-0.3126; 0.376], floating, relative, x);
 * remainder 2^-25; for doubles [|2,...,21|] and [|53,...,53|], 2^-56.6.
 *
 * log 0 is less than -100, and log(1 - 1) is NaN, infinity less infinity: the largest s is 2^150 (2^1075).
 *
 * Worst error of log p 1.089 ulp, at p = 0x1.8f3102p-1; sse2 1.164, at 0x1.8ecf6cp-1 (all floats in [0, 1]:
 * tests/accuracy). For doubles 1.280, at 0x1.40c7d0fb90be7p-1; sse2 1.506, at 0x1.5bce9c97a7662p-3. Of log(1 - p)
 * 1.094, at 0x1.c4cde6p-3; 1.164, at 0x1.c4c25p-3; 1.279, at 0x1.7fac5dcd1ee03p-2; 1.503, at 0x1.a8ddc1871d5cp-1. */
struct log_probability {
    veci exponent; /* k << 23 (k << 52) */
    vec scale;     /* s / LOG_LIFT */
};
MATH struct log_probability log_probability_cut(vec lifted)
{
    veci exponent = log_exponent(lifted, veci_set(LOG_LIFTED_LEAST));
    return (struct log_probability){exponent, vec_from_bits(veci_sub(veci_set(LOG_LIFTED_SCALE), exponent))};
}

MATH vec log_probability_of(struct log_probability cut, vec f)
{
    vec log = vec_fma(vec_mul(f, f), POLYNOMIAL(f, log_probability_coefficients), f);
    return vec_fma(log_factor(cut.exponent), vec_set(LOG_LN2), log);
}

/* s - 1 */
MATH vec log_probability_shift(struct log_probability cut) { return vec_fma(cut.scale, vec_set(LOG_LIFT), vec_set(-1)); }

/* log p. -0 is 0.
 * 16 operations, 12 of them multiplications or fma; for doubles 13 more, 12 of them fma. */
MATH vec log_of_probability(vec p)
{
    vec lifted = vec_fma(p, vec_set(LOG_LIFT), vec_set(0));
    struct log_probability cut = log_probability_cut(lifted);
    return log_probability_of(cut, vec_fma(cut.scale, lifted, vec_set(-1)));
}

/* log(1 - p): 3 operations more. */
MATH vec log_of_complement(vec p)
{
    vec lifted = vec_mul(p, vec_set(-LOG_LIFT));
    struct log_probability cut = log_probability_cut(vec_add(lifted, vec_set(LOG_LIFT)));
    return log_probability_of(cut, vec_add(log_probability_shift(cut), vec_mul(cut.scale, lifted)));
}

/* log_of_probability(p) where so, log_of_complement(p) elsewhere, bit for bit: 6 operations more. */
MATH vec log_of_either(vec p, mask so)
{
    vec lifted = vec_fma(p, vec_set(LOG_LIFT), vec_set(0));
    struct log_probability cut = log_probability_cut(vec_select(so, lifted, vec_sub(vec_set(LOG_LIFT), lifted)));
    vec scaled = vec_mul(cut.scale, lifted);
    vec f = vec_select(so, vec_sub(scaled, vec_set(1)), vec_sub(log_probability_shift(cut), scaled));
    return log_probability_of(cut, f);
}

/* log(1 + x) for 0 <= x <= 1; NaN for NaN.
 *
 * log(1 + x) = -log c + log(1 + r), r = c (1 + x) - 1, with c one of eight numbers, picked by
 * round(7.49 x); -0.0592 < r < 0.0668. The first c is 1, so r = x there; of all numbers near the
 * middle of an interval the others are those whose -log c is the nearest to a float (double): off by
 * less than 2^-13 ulp. c - 1 is exact, so r rounds once, and the last addition's rounding is most of the error.
 * Coefficients: Sollya, for [|2,...,5|] with the formats [|24,...,24|],
 *   fpminimax(log1p(x), ..., [-0.06; 0.0669], floating, relative, x);
 * remainder 2^-26.4; for doubles [|2,...,11|] and [|53,...,53|], 2^-57.2.
 *
 * Worst error 1.099 ulp, at x = 0x1.345516p-4; sse2 1.346, at 0x1.37bc66p-4 (all floats in
 * [0, 1]: tests/accuracy). For doubles 1.050, at 0x1.19567c8a4db32p-4; sse2 1.293, at
 * 0x1.40475c31a7f68p-4.
 * 11 operations, 7 of them multiplications or fma; for doubles 6 more, all fma. */
MATH vec log1p_unit(vec x)
{
    table8 table = table8_load(log_unit_table);
    vec c, log_c;
    table8_look_up(&table, vec_bits(vec_fma(x, vec_set((real)7.49), vec_set(LOG_UNIT_MAGIC))), &c, &log_c);
    vec r = vec_fma(c, x, vec_sub(c, vec_set(1)));
    return vec_add(log_c, vec_fma(vec_mul(r, r), POLYNOMIAL(r, log_unit_coefficients), r));
}

#endif
