/* The natural logarithm, of x and of 1 + x.
 *
 * x = 2^k m, 0.6875 <= m < 1.375, f = m - 1, and
 *   log x = k ln2 + log(1 + f),   log(1 + f) = f - f^2/2 + f^3 (c3 + c4 f + ... + c11 f^8).
 * k and the bits of m come out of x with one integer subtraction of 0.6875 and a mask. The
 * mask leaves k << 23, which is what k is taken off the exponent with; so k is carried
 * as the float 2^23 k, and ln2 with 2^-23 in it.
 *
 * The error is the last addition's rounding and little else. ln2 is cut into a high part of 15
 * bits, whose product with k is exact, and a low part. high = k ln2_high + f rounds once, and
 * what it rounds off comes back exactly (Fast2Sum: |k ln2_high| > |f|, or k = 0). The small
 * terms all go into low; result = high + low. -f/2 is exact, and joins the polynomial before
 * the last product with f: f^2 rounded, times -1/2, would cost 0.05 ulp more, for one
 * operation less. Of k = 0, low is below 1/16 at both ends of the interval, which is why
 * it is where it is: [2/3, 4/3] costs some 0.05 ulp, and [0.75, 1.5] some 0.15.
 *
 * Coefficients: Sollya, for [|3,...,11|] with the formats [|24,...,24|],
 *   fpminimax(log1p(x), ..., [-0.3125; 0.375], floating, relative, x - x^2/2);
 * remainder 2^-30. One term less costs up to 0.04 ulp.
 *
 * Worst errors: see each function. A host that has set DAZ gets log 0 of a subnormal
 * number, and one that has set FTZ gets 0 for a subnormal result of log1p.
 */
#ifndef XENT_KERNELS_MATH_LOG_H
#define XENT_KERNELS_MATH_LOG_H

#include <math.h> /* INFINITY, NAN */

#ifndef MATH
#define MATH static inline __attribute__((always_inline, unused))
#endif

#define LOG_LEAST_BITS 0x3f300000       /* of 0.6875, the least m */
#define LOG_ONE_BITS 0x3f800000         /* of 1 */
#define LOG_EXPONENT_BITS (-0x00800000) /* sign and exponent */
#define LOG_LN2_HIGH 0x1.62e4p-24f      /* 2^-23 ln 2, 15 bits */
#define LOG_LN2_LOW 0x1.7f7d1cp-43f     /* the rest of it */

/* An unevaluated sum. */
struct log_sum {
    vec high, low;
};

/* k << 23 of a positive normal number. */
MATH veci log_exponent(vec x)
{
    return veci_and(veci_sub(vec_bits(x), veci_set(LOG_LEAST_BITS)), veci_set(LOG_EXPONENT_BITS));
}

/* k ln2 + f, for 2^23 k. */
MATH struct log_sum log_leading(vec exponent, vec f)
{
    vec high = vec_fma(exponent, vec_set(LOG_LN2_HIGH), f);
    vec lost = vec_sub(f, vec_fma(exponent, vec_set(-LOG_LN2_HIGH), high));
    return (struct log_sum){high, vec_fma(exponent, vec_set(LOG_LN2_LOW), lost)};
}

/* sum + (log(1 + f) - f), rounded to one float. */
MATH vec log_rounded(struct log_sum sum, vec f)
{
    vec p = vec_fma(vec_set(0x1.69411ep-4f), f, vec_set(-0x1.000638p-3f));
    p = vec_fma(p, f, vec_set(0x1.d73a26p-4f));
    p = vec_fma(p, f, vec_set(-0x1.f6133cp-4f));
    p = vec_fma(p, f, vec_set(0x1.23ba06p-3f));
    p = vec_fma(p, f, vec_set(-0x1.55877cp-3f));
    p = vec_fma(p, f, vec_set(0x1.99a11ep-3f));
    p = vec_fma(p, f, vec_set(-0x1.ffff54p-3f));
    p = vec_fma(p, f, vec_set(0x1.55554cp-2f));
    vec half = vec_mul(f, vec_set(-0.5f));
    vec small = vec_fma(vec_fma(vec_mul(f, f), p, half), f, sum.low);
    return vec_add(sum.high, small);
}

/* log where 0 < x < inf, and elsewhere what log x is: -inf for a zero of either sign, +inf,
 * or NaN. */
MATH vec log_with_edges(vec x, vec log)
{
    vec upper = vec_select(vec_less(x, vec_set(INFINITY)), log, x);
    vec lower = vec_select(vec_equal(x, vec_set(0.0f)), vec_set(-INFINITY), vec_set(NAN));
    return vec_select(vec_less(vec_set(0.0f), x), upper, lower);
}

/* log x: -inf for +-0, +inf for +inf, NaN for NaN and below zero. Subnormal x are
 * scaled by 2^23 first.
 *
 * Worst error 0.730 ulp, at x = 0x1.45d5acp+0; sse2 0.756, at 0x1.5d1178p-1 (all 2^32 inputs:
 * tests/accuracy).
 * 33 operations, 16 of them multiplications or fma. */
MATH vec log_positive(vec x)
{
    mask tiny = vec_less(x, vec_set(0x1p-126f));
    vec normal = vec_select(tiny, vec_mul(x, vec_set(0x1p+23f)), x);
    vec scaling = vec_select(tiny, vec_set(-23 * 0x1p+23f), vec_set(0.0f));
    veci exponent = log_exponent(normal);
    vec f = vec_sub(vec_from_bits(veci_sub(vec_bits(normal), exponent)), vec_set(1.0f));
    struct log_sum sum = log_leading(vec_add(vec_from_int(exponent), scaling), f);
    return log_with_edges(x, log_rounded(sum, f));
}

/* 1 + x, cut into 2^k (1 + f + lost). With s = 2^-k, f + lost = s x + (s - 1): s x is
 * exact, and so is s - 1 unless it makes no difference. f is exact too but
 * for k = 1 and x < 1/2, where lost is what it rounds off. 1 + x itself only picks k. */
struct log1p_parts {
    vec rounded;       /* 1 + x */
    vec exponent;      /* 2^23 k */
    vec quadruple;     /* 4 s: s itself would not be a normal number for the greatest x */
    vec f, lost;
};
MATH struct log1p_parts log1p_cut(vec x)
{
    vec rounded = vec_add(x, vec_set(1.0f));
    veci exponent = log_exponent(rounded);
    vec quadruple = vec_from_bits(veci_sub(veci_set(LOG_ONE_BITS + (2 << 23)), exponent));
    vec scaled = vec_from_bits(veci_sub(vec_bits(x), exponent));
    vec shift = vec_fma(quadruple, vec_set(0.25f), vec_set(-1.0f));
    vec f = vec_add(scaled, shift);
    vec lost = vec_sub(scaled, vec_sub(f, shift));
    return (struct log1p_parts){rounded, vec_from_int(exponent), quadruple, f, lost};
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
 * high between 0.2 and 0.6 in size.
 * 37 operations, 20 of them multiplications or fma. */
MATH vec log1p_sum(vec high, vec low)
{
    struct log1p_parts cut = log1p_cut(high);
    struct log_sum sum = log_leading(cut.exponent, cut.f);
    vec rest = vec_fma(low, vec_mul(cut.quadruple, vec_set(0.25f)), cut.lost);
    vec slope = vec_fma(cut.f, vec_set(-1.04f), vec_set(1.06f));
    sum.low = vec_fma(rest, slope, sum.low);
    return log_with_edges(cut.rounded, log_rounded(sum, cut.f));
}

/* log(1 + x): log1p_sum(x, 0) in three operations less, though not always with its bits.
 * lost is only ever other than 0 for f in [-0.3125, -0.25], where 1 / (1 + f) is about 1.4.
 *
 * Worst error 0.732 ulp, at x = 0x1.1d7deap-2; sse2 0.773, at -0x1.487b72p-2 (all 2^32 inputs:
 * tests/accuracy).
 * 34 operations, 17 of them multiplications or fma. */
MATH vec log1p_of(vec x)
{
    struct log1p_parts cut = log1p_cut(x);
    struct log_sum sum = log_leading(cut.exponent, cut.f);
    sum.low = vec_fma(cut.lost, vec_set(1.4f), sum.low);
    return log_with_edges(cut.rounded, log_rounded(sum, cut.f));
}

#endif
