/* The exponential function, for sums over a row and for elementwise use.
 *
 * exp(x) = 2^(n/8) exp(r), n = round(8 x / ln 2), r = x - n ln2/8, |r| <= ln2/16 + 2^-17.
 * n comes out of one fma with the magic number 1.5 * 2^23 (1.5 * 2^52), whose last place is 1:
 * the sum's low bits are n, and subtracting the magic number again leaves n as a real.
 * 2^(n/8) = 2^(n div 8) 2^(n mod 8 / 8): the fraction is one of eight table entries, a
 * pair (high, low) with low the relative error of high; its high halves have i << 20 (i << 49)
 * taken off beforehand, so that one integer addition of n << 20 both takes the fraction's
 * bits out again and adds n div 8 to the exponent. exp(r) = 1 + r + c2 r^2 + c3 r^3 + ...
 * Coefficients: Sollya, fpminimax(exp(x), [|2,...,4|], [|24,...,24|], [-0.0435;0.0435],
 * relative, 1+x), off by 2^-32; for doubles [|2,...,7|], [|53,...,53|], off by 2^-58. ln2/8 is
 * cut in two parts of full length, and since n is small, fma(n, -high, x) is exact; where
 * vec_fma rounds the product, in three parts, the first two of 11 bits (38), with the same
 * effect for |n| < 2^13 (2^15).
 *
 * A row's terms may all have one factor, which its sum gives back (row_inverse). So their table
 * is 2^(i/8) times a number found by search, such that every entry is within 0.032 ulp (0.021) of
 * a real, and needs no low half (Gal's accurate tables, for eight entries at once); and their
 * polynomial, of one degree less, is that of 1.21e-8 more than exp(r): fpminimax(exp(x) (1 +
 * 1.21e-8), [|1,2,3|], [|24,24,24|], [-0.0435;0.0435], relative, 1), off by 2^-25.5.
 * (It gives 1 for the first. For doubles a degree less would be 2^-50: they keep those above.)
 *
 * Worst errors: see exp_scaled and exp_nonpositive.
 */
#ifndef XENT_KERNELS_MATH_EXP_H
#define XENT_KERNELS_MATH_EXP_H

#include <math.h> /* INFINITY */

#include "polynomial.h"

/* exp_step: ln 2 / 8, in two parts, and in three. exp_table: {2^(i/8) 2^EXP_BIAS
 * less i << EXP_PLACES in its bits, (2^(i/8) - its real) / its real}; exp_row_table: 2^(i/8)
 * EXP_ROW_SCALE likewise, without the second, and with the 1.21e-8 taken off. */
#ifdef XENT_REAL_F64
#define EXP_MAGIC 0x1.8p+52
#define EXP_PLACES 49
#define EXP_EIGHTHS 0x1.71547652b82fep+3 /* 8 / ln 2 */
static const real exp_step2[] = {0x1.62e42fefa39efp-4, 0x1.abc9e3b39803fp-59};
static const real exp_step3[] = {0x1.62e42fefap-4, 0x1.cf79abc9ep-43, 0x1.d9cc01f97b57ap-82};
static const real exp_coefficients[] = {
    0x1.0000000000111p-1, 0x1.5555555555115p-3, 0x1.55555547d97p-5,
    0x1.111111263c236p-7, 0x1.6c1cc98d44528p-10, 0x1.a0162d5be8c41p-13,
};
static const real exp_table[8][2] = {
    {0x1p+128, 0.0}, {0x1.f72b83c7d517bp+127, -0x1.01b15eaa59348p-55},
    {0x1.f06fe0a31b715p+127, 0x1.34d754db0abb6p-55}, {0x1.ebfdad5362a27p+127, 0x1.690cebb7aafbp-56},
    {0x1.ea09e667f3bcdp+127, -0x1.3b3efbf5e2228p-54}, {0x1.eace5422aa0dbp+127, 0x1.db72fc1f0eab4p-55},
    {0x1.ee89f995ad3adp+127, 0x1.c1a7792cb3387p-55}, {0x1.f5818dcfba487p+127, 0x1.4a385a63d07a7p-56},
};
static const real exp_row_table[8][2] = {
    {0x1.123fd7ca85077p+140, 0.0}, {0x1.0b123213b5555p+140, 0.0}, {0x1.0623aa95a7a64p+140, 0.0},
    {0x1.03a84ec996576p+140, 0.0}, {0x1.03d8e237aee7dp+140, 0.0}, {0x1.06f34b9f6b2abp+140, 0.0},
    {0x1.0d3b0c0118747p+140, 0.0}, {0x1.16f9c06d75cdbp+140, 0.0},
};
#define EXP_ROW_COEFFICIENTS exp_coefficients
/* Results are scaled by 2^EXP_BIAS, so that those down to 2^-1150 are normal numbers. */
#define EXP_BIAS 128
#define EXP_UNBIAS 0x1p-128
#define EXP_ROW_SCALE 0x1.123fd7ca85077p+140
#define EXP_ROW_POWER 0x1p+140 /* of it: its digits are below 1.09 */
#define EXP_ROW_UNSCALE ((wide){vec_set(0x1.ddee1243b6ed7p-141), vec_set(-0x1.b92674e3c6086p-199)})
/* exp_scaled is 0 for x further below the row's maximum than this, or a little more: even 2^40 times
 * exp(-790) is nothing beside the smallest subnormal. */
#define EXP_REACH 790.0
/* From here on the row's maximum is subtracted before the reduction: x - max is exact
 * for every x that counts, all within 790 + EXP_SPAN ln 2 = 840 of it (Sterbenz: |max| >= 1680), and
 * below 1700 + 840, n has 15 bits. */
#define EXP_SHIFT_FROM 1700.0
#define EXP_DIGITS 52
#define EXP_ONE 1023
#define EXP_SMALL 0x1p-900
#else
#define EXP_MAGIC 0x1.8p+23f
#define EXP_PLACES 20
#define EXP_EIGHTHS 0x1.715476p+3f
static const real exp_step2[] = {0x1.62e430p-4f, -0x1.05c610p-32f};
static const real exp_step3[] = {0x1.62cp-4f, 0x1.214p-15f, 0x1.fbe8e8p-26f};
static const real exp_coefficients[] = {0x1.000004p-1f, 0x1.555c84p-3f, 0x1.54c0aap-5f};
static const real exp_table[8][2] = {
    {0x1.000000p+48f, 0.0f}, {0x1.f72b84p+47f, -0x1.9c0c22p-27f},
    {0x1.f06fe0p+47f, 0x1.125002p-25f}, {0x1.ebfdaep+47f, -0x1.0a3550p-25f},
    {0x1.ea09e6p+47f, 0x1.26055cp-26f}, {0x1.eace54p+47f, 0x1.67a1cap-28f},
    {0x1.ee89fap+47f, -0x1.f9c304p-27f}, {0x1.f5818ep+47f, -0x1.a5217cp-28f},
};
static const real exp_row_table[8][2] = {
    {0x1.16747cp+68f, 0.0f}, {0x1.0fa848p+68f, 0.0f}, {0x1.0b2404p+68f, 0.0f}, {0x1.091c8ap+68f, 0.0f},
    {0x1.09cb7cp+68f, 0.0f}, {0x1.0d6fb4p+68f, 0.0f}, {0x1.144dbcp+68f, 0.0f}, {0x1.1eb052p+68f, 0.0f},
};
static const real exp_row_coefficients[] = {0x1.0009a8p-1f, 0x1.555e34p-3f};
#define EXP_ROW_COEFFICIENTS exp_row_coefficients
/* Likewise: those down to 2^-174 are normal, and a million times exp(-120) is less than a tenth of
 * the smallest subnormal; |max| >= 340, and n has 13 bits below 352 + 170. */
#define EXP_BIAS 48
#define EXP_UNBIAS 0x1p-48f
#define EXP_ROW_SCALE 0x1.16747c30c0682p+68
#define EXP_ROW_POWER 0x1p+68
#define EXP_ROW_UNSCALE wide_set(0x1.d6b629897ce8fp-69)
#define EXP_REACH 120.0f
#define EXP_SHIFT_FROM 352.0f
#define EXP_DIGITS 23
#define EXP_ONE 127
#define EXP_SMALL 0x1p-100f
#endif

/* What all elements of a row (one row a lane) share. exp(x - max) is not formed from the
 * rounded difference, which would cost up to 61 ulp: exp_scaled is exp(x) 2^-k EXP_ROW_SCALE
 * straight from x, with k, a whole number of octaves, folded into the magic number; and row_inverse is what
 * makes exp(x - max) of it.
 *
 * k and floor are the same for all maxima of a span of EXP_SPAN octaves, (k - EXP_LOW ... k - EXP_LOW
 * + EXP_SPAN) ln 2. So the exponentials can be taken before the maximum is known, by the constants
 * of a maximum that is guessed: where that is of the same span, they are the very same. In floats results lie
 * between 2^(68 - EXP_LOW) exp(-120) = 2^-121.1, so that products on the way to them are normal numbers too, and 1.1 2^124, of which
 * eight can be added. */
#define EXP_SPAN 72
#define EXP_LOW 16
#define EXP_OCTAVE 0x1.62e42fefa39efp-1 /* ln 2 */
struct exp_row {
    vec shift;     /* 0, or max where EXP_SHIFT_FROM <= |max| < inf; subtracted from x, exactly */
    vec magic;     /* EXP_MAGIC - 8 k */
    vec floor;     /* EXP_REACH below the span's maxima; +inf where max is infinite */
};

/* The maximum, less the row's shift; for an infinite one 0. */
MATH vec exp_row_rest(vec max) { return vec_select(vec_less(vec_abs(max), vec_set(EXP_SHIFT_FROM)), max, vec_set(0)); }

MATH vec exp_round(vec x) { return vec_sub(vec_add(x, vec_set(EXP_MAGIC)), vec_set(EXP_MAGIC)); }

MATH struct exp_row exp_row_of(vec max)
{
    const double span = EXP_SPAN * EXP_OCTAVE, low = EXP_LOW * EXP_OCTAVE;
    mask near = vec_less(vec_abs(max), vec_set(EXP_SHIFT_FROM)), infinite = vec_equal(vec_abs(max), vec_set((real)INFINITY));
    vec spans = vec_fma(exp_row_rest(max), vec_set((real)(1.0 / span)), vec_set((real)(low / span - 0.5)));
    vec k = exp_round(spans); /* in spans */
    return (struct exp_row){vec_zero_where(mask_or(near, infinite), max),
                            vec_fma(k, vec_set(-8 * EXP_SPAN), vec_set(EXP_MAGIC)),
                            vec_select(infinite, vec_set((real)INFINITY),
                                       vec_fma(k, vec_set((real)span), vec_set((real)(-low - EXP_REACH))))};
}

/* Whether a guess, which never shifts, was right: the span's floor tells. */
MATH int exp_row_same(struct exp_row row, struct exp_row guess)
{
    vec differ = vec_add(vec_abs(row.shift), vec_abs(vec_sub(row.floor, guess.floor)));
    return !mask_any(vec_less(vec_set(0), differ));
}

/* 2^(k - j), j being the maximum, less the row's shift, in whole octaves, *octaves: exp_scaled(max) times this is
 * EXP_ROW_SCALE, to half an octave. */
MATH vec exp_row_unit(vec max, struct exp_row row, vec *octaves)
{
    vec j = exp_round(vec_mul(exp_row_rest(max), vec_set(EXP_EIGHTHS / 8)));
    vec k = vec_mul(vec_sub(vec_set(EXP_MAGIC), row.magic), vec_set((real)0.125));
    vec exponent = vec_add(vec_add(vec_sub(k, j), vec_set(EXP_ONE)), vec_set(EXP_MAGIC)); /* in its low bits */
    *octaves = j;
    return vec_from_bits(veci_shift_left(vec_bits(exponent), EXP_DIGITS));
}

/* r of the argument x, which is reduced already where it is large; t's low bits are n - k: magic as in
 * struct exp_row. */
MATH vec exp_rest(vec x, vec magic, vec *t)
{
    *t = vec_fma(x, vec_set(EXP_EIGHTHS), magic);
    vec n = vec_sub(*t, magic);
    if (VEC_FUSED) {
        vec r = vec_fma(n, vec_set(-exp_step2[0]), x);
        return vec_fma(n, vec_set(-exp_step2[1]), r);
    }
    vec r = vec_sub(x, vec_mul(n, vec_set(exp_step3[0])));
    r = vec_sub(r, vec_mul(n, vec_set(exp_step3[1])));
    return vec_sub(r, vec_mul(n, vec_set(exp_step3[2])));
}

/* A table's entry for n, and n div 8 in its exponent. */
MATH vec exp_power(const real pairs[8][2], vec t, vec *low)
{
    table8 table = table8_load(pairs);
    vec high;
    table8_look_up(&table, vec_bits(t), &high, low);
    return vec_from_bits(veci_add(vec_bits(high), veci_shift_left(vec_bits(t), EXP_PLACES)));
}

/* exp(x) 2^EXP_BIAS of the reduced argument x. */
MATH vec exp_reduced(vec x)
{
    vec t, low, r = exp_rest(x, vec_set(EXP_MAGIC), &t), power = exp_power(exp_table, t, &low);
    vec p = POLYNOMIAL(r, exp_coefficients);
    p = vec_fma(p, r, vec_set(1));
    p = vec_fma(p, r, low);
    return vec_fma(power, p, power);
}

/* exp(x - max) / row_inverse: see struct exp_row. x <= max, or NaN, which gives NaN; 0 where
 * x is below the row's floor, and where x = max = -inf. x = max = +inf gives NaN.
 *
 * Worst error 0.921 ulp, at x = 0x1.aafc66p+1, max = 88.5; sse2 0.964, at x = -0x1.ea0e26p+4, max = 38.5 (all 2^32 x, each
 * with one of eight maxima: tests/accuracy). For doubles 0.623, at x = -0x1.cb98f1b925ad7p+4, max = 38.5; sse2 0.642
 * (10^8 x).
 */
MATH vec exp_scaled(vec x, struct exp_row row)
{
    vec y = vec_sub(x, row.shift), t, unused, r = exp_rest(y, row.magic, &t), power = exp_power(exp_row_table, t, &unused);
    vec p = vec_fma(POLYNOMIAL(r, EXP_ROW_COEFFICIENTS), r, vec_set(1));
    return vec_zero_where(vec_less(y, row.floor), vec_fma(vec_mul(power, r), p, power));
}

/* exp(x) for x <= 0 (also NaN, and -inf: 0). Subnormal results are kept.
 *
 * Worst error 0.592 ulp as above where the result is normal, 0.785, at x = -0x1.5d8e16p+6,
 * where it is subnormal and rounds again (all 2^32 inputs: tests/accuracy). For doubles 0.606
 * and 0.799, at x = -0x1.6244adae4df93p+9 (10^8 inputs). */
MATH vec exp_nonpositive(vec x)
{
    vec e = exp_reduced(x);
    return vec_mul(vec_zero_where(vec_less(x, vec_set(-EXP_REACH)), e), vec_set(EXP_UNBIAS));
}

/* exp(r), r = octaves ln2/8 + eighth, |r| <= ln2/16, by the Taylor polynomial; and p^2. */
#ifdef XENT_REAL_F64
/* r as a pair, from a difference that is exact, as in exp_rest, and less than 2^-45. Of what follows all below r.high^2/2, at most 2^-16, is a plain
 * sum, off by 2^-67.3; the rest is exact, but for what r.low, at most 2^-58, would add to third order. */
MATH wide row_root(vec octaves, vec eighth)
{
    static const real c[] = {1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800};
    wide whole = pair_product(octaves, vec_set(exp_step2[0]));
    wide r = pair_fast_sum(vec_add(eighth, whole.high), vec_fma(octaves, vec_set(exp_step2[1]), whole.low));
    wide square = pair_product(r.high, r.high);
    vec small = vec_fma(r.high, r.low, vec_fma(square.low, vec_set(0.5), r.low));
    small = vec_fma(vec_mul(square.high, r.high), POLYNOMIAL(r.high, c), small);
    wide linear = pair_fast_sum(vec_set(1), r.high), p = pair_fast_sum(linear.high, vec_mul(square.high, vec_set(0.5)));
    return pair_fast_sum(p.high, vec_add(small, vec_add(linear.low, p.low)));
}
MATH wide row_square(wide p)
{
    wide square = pair_product(p.high, p.high);
    return (wide){square.high, vec_fma(vec_add(p.high, p.high), p.low, square.low)};
}
#else
MATH wide row_root(vec octaves, vec eighth)
{
    wide r = wide_fma(wide_from_vec(octaves), wide_set(0x1.62e42fefa39efp-4), wide_from_vec(eighth));
    wide p = wide_fma(r, wide_set(1.0 / 720), wide_set(1.0 / 120));
    p = wide_fma(wide_fma(p, r, wide_set(1.0 / 24)), r, wide_set(1.0 / 6));
    p = wide_fma(p, r, wide_set(0.5));
    p = wide_fma(p, r, wide_set(1.0));
    return wide_fma(p, r, wide_set(1.0));
}
MATH wide row_square(wide p) { return wide_mul(p, p); }
#endif

/* 2^k exp(-max') / EXP_ROW_SCALE, max' being max less the row's shift: the factor that makes
 * exp(x - max) of exp_scaled. In wide numbers: exp of an eighth of what max' has beside whole octaves, squared three times; off by
 * less than 2^-38 (2^-63). max = +-inf: as for 0. */
MATH wide row_inverse(vec max, struct exp_row row)
{
    vec octaves, unit = exp_row_unit(max, row, &octaves);
    wide p = row_root(octaves, vec_mul(exp_row_rest(max), vec_set((real)-0.125)));
    for (int i = 0; i < 3; i++) p = row_square(p);
    return wide_mul_finite(p, wide_mul_finite(EXP_ROW_UNSCALE, wide_from_vec(unit)));
}

#endif
