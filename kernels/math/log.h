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
 * as it is carried. */
#ifdef XENT_REAL_F64
#define LOG_LEAST 0x3fe6000000000000
#define LOG_FOUR 0x4010000000000000
#define LOG_EXPONENT (-0x0010000000000000)
#define LOG_SHIFT 52
#define LOG_LN2_HIGH 0x1.62e42fefa38p-1     /* 42 bits */
#define LOG_LN2_LOW 0x1.ef35793c7673p-45    /* the rest of it */
#define LOG_LEAST_NORMAL 0x1p-1022
#define LOG_LIFT 0x1p+52                    /* makes subnormal numbers normal */
#define LOG_LIFT_EXPONENT 52.0              /* of it, as k */
static const real log_coefficients[] = {
    0x1.555555555555bp-2, -0x1.00000000001a5p-2, 0x1.9999999998754p-3, -0x1.5555555518653p-3,
    0x1.249249251709p-3, -0x1.0000001a60bc4p-3, 0x1.c71c719d2d5dcp-4, -0x1.99998de024636p-4,
    0x1.745d1695e2551p-4, -0x1.5556d8d82627ap-4, 0x1.3b14baed070ep-4, -0x1.2473b68ecdf11p-4,
    0x1.10ec703bbd275p-4, -0x1.017a455195545p-4, 0x1.e6cc1a9ed2604p-5, -0x1.b1ea0dfc7603ap-5,
    0x1.81391e1db8095p-5, -0x1.e1f67eabda652p-5, 0x1.301babe8455fp-4, -0x1.6512828c387dap-5,
};
static const real log_unit_coefficients[] = {
    0x1.555555555554ap-2, -0x1.0000000000157p-2, 0x1.999999999c724p-3, -0x1.555555552c09p-3,
    0x1.24924922a1953p-3, -0x1.0000000d28d6dp-3, 0x1.c71c730bc2ff6p-4, -0x1.9999967a6fd23p-4,
    0x1.745cde70074e4p-4, -0x1.55554b0577aefp-4, 0x1.3b191464f6253p-4, -0x1.249d88eba8ff5p-4,
    0x1.10d29f24cdecbp-4, -0x1.fded7ecf49107p-5, 0x1.e2a85c107fa86p-5, -0x1.d95a7a10ff845p-5,
    0x1.cfa4fa3344dc9p-5, -0x1.82d8a7f3115e9p-5, 0x1.b3d9d777cae63p-6, -0x1.d0b93013d77e2p-8,
};
#else
#define LOG_LEAST 0x3f300000
#define LOG_FOUR 0x40800000
#define LOG_EXPONENT (-0x00800000)
#define LOG_SHIFT 0
#define LOG_LN2_HIGH 0x1.62e4p-24f     /* 2^-23 ln 2, 15 bits */
#define LOG_LN2_LOW 0x1.7f7d1cp-43f
#define LOG_LEAST_NORMAL 0x1p-126f
#define LOG_LIFT 0x1p+23f
#define LOG_LIFT_EXPONENT (23 * 0x1p+23f)
static const real log_coefficients[] = {
    0x1.55554cp-2f, -0x1.ffff54p-3f, 0x1.99a11ep-3f, -0x1.55877cp-3f, 0x1.23ba06p-3f,
    -0x1.f6133cp-4f, 0x1.d73a26p-4f, -0x1.000638p-3f, 0x1.69411ep-4f,
};
static const real log_unit_coefficients[] = {
    0x1.55555ap-2f, -0x1.00006ep-2f, 0x1.99975ep-3f, -0x1.5519ccp-3f, 0x1.246456p-3f,
    -0x1.04af5p-3f, 0x1.df10fcp-4f, -0x1.74d5dp-4f, 0x1.33c87p-5f,
};
#endif

/* An unevaluated sum. */
struct log_sum {
    vec high, low;
};

/* A positive number as a normal one, and what that adds to k. */
struct log_lifted {
    vec normal, exponent;
};
MATH struct log_lifted log_lift(vec x)
{
    mask tiny = vec_less(x, vec_set(LOG_LEAST_NORMAL));
    return (struct log_lifted){vec_select(tiny, vec_mul(x, vec_set(LOG_LIFT)), x),
                               vec_select(tiny, vec_set(-LOG_LIFT_EXPONENT), vec_set(0))};
}

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

/* sum + (log(1 + f) - f), rounded once. */
MATH vec log_rounded(struct log_sum sum, vec f)
{
    vec p = POLYNOMIAL(f, log_coefficients);
    vec half = vec_mul(f, vec_set(-0.5f));
    vec small = vec_fma(vec_fma(vec_mul(f, f), p, half), f, sum.low);
    return vec_add(sum.high, small);
}

/* log where 0 < x < inf, and elsewhere what log x is: -inf for a zero of either sign, +inf,
 * or NaN. */
MATH vec log_with_edges(vec x, vec log)
{
    vec upper = vec_select(vec_less(x, vec_set(INFINITY)), log, x);
    vec lower = vec_select(vec_equal(x, vec_set(0)), vec_set(-INFINITY), vec_set(NAN));
    return vec_select(vec_less(vec_set(0), x), upper, lower);
}

/* log x: -inf for +-0, +inf for +inf, NaN for NaN and below zero. Subnormal x are
 * scaled by 2^23 (2^52) first.
 *
 * Worst error 0.730 ulp, at x = 0x1.45d5acp+0; sse2 0.756, at 0x1.5d1178p-1 (all 2^32 inputs:
 * tests/accuracy). For doubles 0.741, at 0x1.4865b8d0c05b1p+0; sse2 0.758, at
 * 0x1.481b59f31f8cdp+0 (10^8 inputs).
 * 33 operations, 16 of them multiplications or fma; for doubles 12 more, 11 of them fma. */
MATH vec log_finite(vec x) /* log x where 0 < x < inf; elsewhere anything, but below -100 for 0 */
{
    struct log_lifted lifted = log_lift(x);
    veci exponent = log_exponent(lifted.normal, veci_set(LOG_LEAST));
    vec f = vec_sub(vec_from_bits(veci_sub(vec_bits(lifted.normal), exponent)), vec_set(1));
    struct log_sum sum = log_leading(vec_add(log_factor(exponent), lifted.exponent), f);
    return log_rounded(sum, f);
}
MATH vec log_positive(vec x) { return log_with_edges(x, log_finite(x)); }

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
MATH vec log1p_sum(vec high, vec low)
{
    struct log1p_parts cut = log1p_cut(high);
    struct log_sum sum = log_leading(cut.k, cut.f);
    vec rest = vec_fma(low, vec_mul(cut.quadruple, vec_set(0.25f)), cut.lost);
    vec slope = vec_fma(cut.f, vec_set(-1.04f), vec_set(1.06f));
    sum.low = vec_fma(rest, slope, sum.low);
    return log_with_edges(cut.rounded, log_rounded(sum, cut.f));
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
    return log_rounded(sum, cut.f);
}
MATH vec log1p_of(vec x) { return log_with_edges(vec_add(x, vec_set(1)), log1p_finite(x)); }

/* log(1 + x) for 0 <= x <= 1; NaN for NaN.
 *
 * log(1 + x) = k ln2 + log(1 + f), k = 1 and f = (x - 1) / 2 from 1/2 on, which is exact, and else k = 0
 * and f = x. For k = 1, log(1 + f) is at most 0.29 in size, and its rounding error a fraction of
 * the result's last place; nothing is kept of it, nor of ln2, which as a double is 0.42 of the
 * result's last place off below 1/2.
 * Coefficients: Sollya, as above for [-0.25; 0.5]: remainder 2^-30; for doubles 2^-59.
 *
 * Worst error 0.882 ulp, at x = 0x1.2223d8p-1; sse2 0.879, at 0x1.ffcd84p-2 (all floats in
 * [0, 1]: tests/accuracy). For doubles 1.242, at 0x1.240dea478957ep-1; sse2 1.208, at
 * 0x1.2231526f02e3p-1.
 * 17 operations, 13 of them multiplications or fma; for doubles 11 more, all fma. */
MATH vec log1p_unit(vec x)
{
    vec half = vec_set(0.5f);
    mask below = vec_less(x, half);
    vec f = vec_select(below, x, vec_fma(x, half, vec_set(-0.5f)));
    vec p = POLYNOMIAL(f, log_unit_coefficients);
    vec log = vec_fma(vec_mul(f, f), vec_fma(p, f, vec_set(-0.5f)), f);
    return vec_add(log, vec_zero_where(below, vec_set((real)0x1.62e42fefa39efp-1)));
}

#endif
