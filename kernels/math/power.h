/* Powers of numbers from 0 to 1.
 *
 * base^exponent = exp(exponent log base). An error of log base counts exponent |log base| times,
 * up to 104 (745), before the result is 0; so log base is a sum high + low here, good to 2^-33
 * (2^-62). log.h's, of a larger f, would not do.
 *
 * base = 2^k m, 0.73046875 <= m < 1.4609375, and m = (1 + f) / c with c one of eight numbers
 * of at most five bits after the point, picked by the top bits of m; -0.0586 < f < 0.0860.
 *   log base = k ln2 - log c + f - f^2/2 + f^3 (c3 + c4 f + ...).
 * f = c m - 1 is exact: for m < 1 it is a multiple of 2^-28 (2^-57) and for m >= 1 too, and
 * below 1/16 in size; or c is 1. That is what the intervals, whose ends are 0.73046875 plus
 * multiples of 1/16, from 1 on of 1/8, were chosen for; and c = 1 around m = 1, so that nothing
 * cancels there.
 * k ln2_high - (log c)_high is exact too, being a multiple of 2^-15 (2^-42). To it are added f
 * and then -f^2/2, the error of each sum kept (Fast2Sum: the second number is the smaller),
 * and that of the square; all the rest is small.
 *
 * Coefficients: Sollya, for [|3,...,7|] with the formats [|24,...,24|],
 *   fpminimax(log1p(x), ..., [-0.0586; 0.0859375], floating, relative, x - x^2/2);
 * remainder 2^-35; for doubles [|3,...,13|] and [|53,...,53|], 2^-65.
 *
 * Worst errors: see power_of.
 */
#ifndef XENT_KERNELS_MATH_POWER_H
#define XENT_KERNELS_MATH_POWER_H

#include "exp.h"
#include "log.h"
#include "polynomial.h"

/* power_logs: -log c, the high part a multiple of ln2_high's last bit, and the rest.
 * POWER_LEAST: the bits of 0.73046875 LOG_LIFT; POWER_INDEX_SHIFT takes the three bits below the
 * exponent down. */
#ifdef XENT_REAL_F64
#define POWER_LEAST 0x4327600000000000
#define POWER_INDEX_SHIFT 49
static const real power_logs[8][2] = {
    {-0x1.1675cababap-2, -0x1.8380e731f55c4p-44}, {-0x1.5ff3070a7ap-3, 0x1.8586f183bebf2p-44},
    {-0x1.e27076e2bp-4, 0x1.a342c2af0003cp-45}, {-0x1.f0a30c0118p-5, 0x1.d599e83368e91p-45},
    {0.0, 0.0}, {0x1.1178e8227ep-3, 0x1.1ef78ce2d07f2p-45},
    {0x1.f991c6cb3cp-3, -0x1.90d04cd7cc834p-44}, {0x1.522ae0738ap-2, 0x1.ebe708164c759p-45},
};
static const real power_coefficients[] = {
    0x1.5555555555558p-2, -0x1.ffffffffffef2p-3, 0x1.9999999994a84p-3, -0x1.55555555d9c35p-3,
    0x1.2492493d1e13ep-3, -0x1.fffffd976c462p-4, 0x1.c71c0456f430ep-4, -0x1.999b0acfdb268p-4,
    0x1.74cd58ba9cf3ap-4, -0x1.56830f1f10712p-4, 0x1.10efcfc1bab97p-4,
};
#else
#define POWER_LEAST 0x4abb0000
#define POWER_INDEX_SHIFT 20
static const real power_logs[8][2] = {
    {-0x1.1678p-2f, 0x1.1aa2a2p-17f}, {-0x1.5ffp-3f, -0x1.83853cp-18f},
    {-0x1.e28p-4f, 0x1.f123aap-17f}, {-0x1.f0cp-5f, 0x1.cf3feep-17f},
    {0.0f, 0.0f}, {0x1.118p-3f, -0x1.c5f76p-17f},
    {0x1.f99p-3f, 0x1.c6cb3cp-19f}, {0x1.5228p-2f, 0x1.7039c6p-17f},
};
static const real power_coefficients[] = {
    0x1.555552p-2f, -0x1.ffff9ep-3f, 0x1.99b38p-3f, -0x1.569242p-3f, 0x1.107c5cp-3f,
};
#endif

/* {c / LOG_LIFT, nothing}. */
static const real power_inverses[8][2] = {
    {1.3125f / LOG_LIFT, 0}, {1.1875f / LOG_LIFT, 0}, {1.125f / LOG_LIFT, 0}, {1.0625f / LOG_LIFT, 0},
    {1 / LOG_LIFT, 0}, {0.875f / LOG_LIFT, 0}, {0.78125f / LOG_LIFT, 0}, {0.71875f / LOG_LIFT, 0},
};

/* a b - product, exactly, product being a b rounded. */
MATH vec product_error(vec a, vec b, vec product)
{
    if (VEC_FUSED) return vec_fma(a, b, vec_negate(product));
    wide exact = wide_mul(wide_from_vec(a), wide_from_vec(b));
    return vec_from_wide(wide_sub(exact, wide_from_vec(product)));
}

/* log base, for 0 < base <= 2. |low| <= ulp(high) / 2. base and m are LOG_LIFT times as large, so that
 * no base is subnormal, and c as much smaller. */
MATH struct log_sum power_log(vec base)
{
    vec lifted = vec_mul(base, vec_set(LOG_LIFT));
    veci least = veci_set(POWER_LEAST), exponent = log_exponent(lifted, least);
    vec m = vec_from_bits(veci_sub(vec_bits(lifted), exponent)), k = log_factor(exponent);

    table8 logs = table8_load(power_logs), inverses = table8_load(power_inverses);
    veci index = veci_shift_right(veci_sub(vec_bits(m), least), POWER_INDEX_SHIFT);
    vec log_high, log_low, c, nothing;
    table8_look_up(&logs, index, &log_high, &log_low);
    table8_look_up(&inverses, index, &c, &nothing);

    vec near_one = vec_mul(c, m); /* where vec_fma rounds this, there is something to add */
    vec f = VEC_FUSED ? vec_fma(c, m, vec_set(-1))
                      : vec_add(vec_sub(near_one, vec_set(1)), product_error(c, m, near_one));
    vec square = vec_mul(f, f), half = vec_mul(square, vec_set(-0.5f));
    vec square_error = product_error(f, f, square);

    vec steps = vec_fma(k, vec_set(LOG_LN2_HIGH), log_high);
    vec first = vec_add(steps, f), first_error = vec_sub(f, vec_sub(first, steps));
    vec second = vec_add(first, half), second_error = vec_sub(half, vec_sub(second, first));
    vec small = vec_fma(k, vec_set(LOG_LN2_LOW), log_low);
    small = vec_fma(square_error, vec_set(-0.5f), small);
    small = vec_fma(vec_mul(square, f), POLYNOMIAL(f, power_coefficients), small);
    small = vec_add(small, vec_add(first_error, second_error));
    vec high = vec_add(second, small);
    return (struct log_sum){high, vec_sub(small, vec_sub(high, second))};
}

/* exp(exponent (log.high + log.low)), for |log.low| <= ulp(log.high) / 2. The product is a sum
 * high + low again, and its exponential exp(high) (1 + low). */
MATH vec power_of_log(struct log_sum log, vec exponent)
{
    vec high = vec_mul(log.high, exponent);
    vec low = vec_fma(log.low, exponent, product_error(log.high, exponent, high));
    vec e = exp_reduced(high);
    e = vec_zero_where(vec_less(high, vec_set(-EXP_REACH)), vec_fma(e, low, e));
    return vec_mul(e, vec_set(EXP_UNBIAS));
}

/* base^exponent, for 0 <= base <= 2, 0 <= exponent < inf and results up to 2^64. 0^0 = 1, and
 * 0^exponent = 0 otherwise; NaN where either is NaN. Subnormal results are kept, as in
 * exp_nonpositive.
 *
 * Worst error 1.413 ulp, at (0x1.bc3068p-99, 0x1.dfa65ep-1), sse2 as well (all 2^30 bases, with
 * one exponent each: tests/accuracy). For doubles 2.351, at (0x1.f4fe2239d1a49p-1,
 * 0x1.86bd39116a13cp+14); sse2 2.469, at (0x1.f5aae45dc733fp-1, 0x1.7a4424b6102d3p+14) (10^8
 * inputs); with exponents up to 5, 1.13.
 * 49 operations besides exp_reduced's; for doubles 7 more, 6 of them fma. */
MATH vec power_of(vec base, vec exponent)
{
    vec power = power_of_log(power_log(base), exponent);
    mask zero = mask_and(vec_equal(base, vec_set(0)), vec_less(vec_set(0), exponent));
    vec either = vec_add(base, exponent);
    return vec_select(vec_equal(either, either), vec_zero_where(zero, power), either);
}

#endif
