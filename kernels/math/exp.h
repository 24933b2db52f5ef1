/* The exponential function, for sums over a row and for elementwise use.
 *
 * exp(x) = 2^(n/8) exp(r), n = round(8 x / ln 2), r = x - n ln2/8, |r| <= ln2/16 + 2^-17.
 * n comes out of one fma with the magic number 1.5 * 2^23, whose last place is 1: the
 * sum's low bits are n, and subtracting the magic number again leaves n as a float.
 * 2^(n/8) = 2^(n div 8) 2^(n mod 8 / 8): the fraction is one of eight table entries, a
 * pair (high, low) with low the relative error of high; its high halves have i << 20
 * taken off beforehand, so that one integer addition of n << 20 both takes the fraction's
 * bits out again and adds n div 8 to the exponent. exp(r) = 1 + r + c2 r^2 + c3 r^3 + c4 r^4.
 * Coefficients: Sollya, fpminimax(exp(x), [|2,3,4|], [|SG,SG,SG|], [-0.0435;0.0435],
 * relative, 1+x), off by 2^-32. ln2/8 is cut in two parts of 24 bits, and
 * since n is small, fma(n, -high, x) is exact; where vec_fma rounds the product, in three
 * parts, the first two of 11 bits, with the same effect for |n| < 2^13.
 *
 * Worst errors: see exp_scaled and exp_nonpositive.
 */
#ifndef XENT_KERNELS_MATH_EXP_H
#define XENT_KERNELS_MATH_EXP_H

#include "../vector/vector.h"

#ifndef MATH
#define MATH static inline __attribute__((always_inline, unused))
#endif

#define EXP_MAGIC 0x1.8p+23f
#define EXP_EIGHTHS 0x1.715476p+3f        /* 8 / ln 2 */
#define EXP_EIGHTH_LN2 0x1.62e42fefa39efp-4 /* ln 2 / 8, as a double */

/* Results are scaled by 2^EXP_BIAS, so that those down to 2^-174 are normal numbers. */
#define EXP_BIAS 48
#define EXP_UNBIAS 0x1p-48f
/* exp_scaled is 0 for x this far below the row's maximum: round(8 * 120 / ln 2) + 1 eighths
 * keep the scaled result normal, and even a million times exp(-120) is less than a tenth of
 * the smallest subnormal. */
#define EXP_REACH 120.0f
/* Beyond this the row's maximum is subtracted before the reduction: for |max| >= 240,
 * x - max is exact for every x within EXP_REACH of max (Sterbenz), and below 256 + 120,
 * n has less than 13 bits. */
#define EXP_SHIFT_FROM 256.0f

/* What all elements of a row (one row a lane) share. exp(x - max) is not formed from the
 * rounded difference, which would cost up to 61 ulp: with k = round(8 max / ln 2), in
 * eighths, folded into the magic number, exp_scaled is exp(x) 2^(-k/8) 2^EXP_BIAS straight
 * from x, and row_inverse is what makes exp(x - max) of it. */
struct exp_row {
    vec shift;     /* 0, or max where |max| >= EXP_SHIFT_FROM; subtracted from x, exactly */
    vec magic;     /* EXP_MAGIC - k */
    vec floor;     /* max - shift - EXP_REACH */
};

MATH struct exp_row exp_row_of(vec max)
{
    mask near = vec_less(vec_abs(max), vec_set(EXP_SHIFT_FROM));
    vec rest = vec_select(near, max, vec_set(0.0f));
    vec k = vec_sub(vec_fma(rest, vec_set(EXP_EIGHTHS), vec_set(EXP_MAGIC)), vec_set(EXP_MAGIC));
    return (struct exp_row){vec_zero_where(near, max), vec_sub(vec_set(EXP_MAGIC), k),
                            vec_sub(rest, vec_set(EXP_REACH))};
}

/* exp(x) 2^EXP_BIAS of the reduced argument: x, and magic as in struct exp_row. */
MATH vec exp_reduced(vec x, vec magic)
{
    /* {2^(i/8) 2^EXP_BIAS less i << 20 in its bits, (2^(i/8) - its float) / its float} */
    static const float eighths[8][2] = {
        {0x1.000000p+48f, 0.0f}, {0x1.f72b84p+47f, -0x1.9c0c22p-27f},
        {0x1.f06fe0p+47f, 0x1.125002p-25f}, {0x1.ebfdaep+47f, -0x1.0a3550p-25f},
        {0x1.ea09e6p+47f, 0x1.26055cp-26f}, {0x1.eace54p+47f, 0x1.67a1cap-28f},
        {0x1.ee89fap+47f, -0x1.f9c304p-27f}, {0x1.f5818ep+47f, -0x1.a5217cp-28f},
    };
    table8 table = table8_load(eighths);
    vec t = vec_fma(x, vec_set(EXP_EIGHTHS), magic);
    vec n = vec_sub(t, magic);
    vec r, high, low;
    if (VEC_FUSED) {
        r = vec_fma(n, vec_set(-0x1.62e430p-4f), x);
        r = vec_fma(n, vec_set(0x1.05c610p-32f), r);
    } else {
        r = vec_sub(x, vec_mul(n, vec_set(0x1.62cp-4f)));
        r = vec_sub(r, vec_mul(n, vec_set(0x1.214p-15f)));
        r = vec_sub(r, vec_mul(n, vec_set(0x1.fbe8e8p-26f)));
    }
    table8_look_up(&table, vec_bits(t), &high, &low);
    vec p = vec_fma(vec_set(0x1.54c0aap-5f), r, vec_set(0x1.555c84p-3f));
    p = vec_fma(p, r, vec_set(0x1.000004p-1f));
    p = vec_fma(p, r, vec_set(1.0f));
    p = vec_fma(p, r, low);
    vec power = vec_from_bits(veci_add(vec_bits(high), veci_shift_left(vec_bits(t), 20)));
    return vec_fma(power, p, power);
}

/* exp(x - max) 2^EXP_BIAS / row_inverse's reciprocal: see struct exp_row. x <= max, or NaN,
 * which gives NaN; 0 where x < max - EXP_REACH. x = max = +-inf gives NaN.
 *
 * Worst error 0.592 ulp, at x = -0x1.a62e8cp+4, max = 0; sse2 0.818, at x = -0x1.2f4d5p+8,
 * max = -200.7 (all 2^32 x for eight maxima: tests/accuracy). */
MATH vec exp_scaled(vec x, struct exp_row row)
{
    vec y = vec_sub(x, row.shift);
    return vec_zero_where(vec_less(y, row.floor), exp_reduced(y, row.magic));
}

/* exp(x) for x <= 0 (also NaN, and -inf: 0). Subnormal results are kept.
 *
 * Worst error 0.592 ulp as above where the result is normal, 0.785, at x = -0x1.5d8e16p+6,
 * where it is subnormal and rounds again (all 2^32 inputs: tests/accuracy). */
MATH vec exp_nonpositive(vec x)
{
    vec e = exp_reduced(x, vec_set(EXP_MAGIC));
    return vec_mul(vec_zero_where(vec_less(x, vec_set(-EXP_REACH)), e), vec_set(EXP_UNBIAS));
}

/* 2^-EXP_BIAS 2^(k/8) exp(-max'), max' being max less the row's shift: the factor that makes
 * exp(x - max) of exp_scaled. In double, by the Taylor polynomial of degree 5 of the
 * reduced argument; it is off by less than 2^-36. max = +-inf: as for 0. */
MATH wide row_inverse(vec max, struct exp_row row)
{
    vec rest = vec_select(vec_equal(row.shift, vec_set(0.0f)), max, vec_set(0.0f));
    wide k = wide_from_vec(vec_sub(vec_set(EXP_MAGIC), row.magic));
    wide r = wide_fma(k, wide_set(EXP_EIGHTH_LN2), wide_sub(wide_set(0), wide_from_vec(rest)));
    wide p = wide_fma(r, wide_set(1.0 / 120), wide_set(1.0 / 24));
    p = wide_fma(p, r, wide_set(1.0 / 6));
    p = wide_fma(p, r, wide_set(0.5));
    p = wide_fma(p, r, wide_set(1.0));
    p = wide_fma(p, r, wide_set(1.0));
    return wide_mul(p, wide_set((double)EXP_UNBIAS));
}

#endif
