/* The hyperbolic tangent.
 *
 * |x| < 0.5625: tanh x = x + x^3 (c3 + c5 x^2 + ...). Sollya, for [|3,5,7,9,11|] with
 * the formats [|24,...,24|],
 *   fpminimax(tanh(x), ..., [2^-10; 0.5625], floating, relative, x);
 * remainder 2^-29.4; for doubles [|3,5,...,23|], [|53,...,53|], 2^-59.8. Above:
 * 1 - 2 e / (1 + e) with e = exp(-2 |x|), which is positive, and gets the sign of x at the end.
 * Both are always computed. The cut lies just above tanh x = 1/2: below that, an error made in
 * e would count for twice as many ulp.
 *
 * Worst error: see tanh_of.
 */
#ifndef XENT_KERNELS_MATH_TANH_H
#define XENT_KERNELS_MATH_TANH_H

#include "exp.h"
#include "polynomial.h"

#ifdef XENT_REAL_F64
static const real tanh_coefficients[] = {
    -0x1.555555555554bp-2, 0x1.1111111110268p-3, -0x1.ba1ba1b9328e8p-5, 0x1.664f4848be627p-6,
    -0x1.226e2cf24e8b5p-7, 0x1.d6d2456e24301p-9, -0x1.7d8b7e03a3739p-10, 0x1.346000c7eea4bp-11,
    -0x1.e8048a154d5e6p-13, 0x1.5962f4694b812p-14, -0x1.3d05af5525053p-16,
};
#else
static const real tanh_coefficients[] = {
    -0x1.555548p-2f, 0x1.110c64p-3f, -0x1.b9075ap-5f, 0x1.58226p-6f, -0x1.94bf44p-8f,
};
#endif

/* tanh x: odd, -0 included; +-1 from about 9.01 (19.06) on and for +-inf; NaN for NaN.
 *
 * Worst error 1.417 ulp, at x = 0x1.28e86ep-1; sse2 1.420, at 0x1.3f20f2p-1 (all 2^32 inputs:
 * tests/accuracy). For doubles 1.427, at 0x1.584a3dc4b3c47p-1; sse2 1.440, at
 * 0x1.2b79315cad26p-1 (10^8 inputs).
 * 16 operations, one of them a division, besides exp_nonpositive's; for doubles 6 fma more. */
MATH vec tanh_of(vec x)
{
    vec size = vec_abs(x);
    vec square = vec_mul(x, x);
    vec near = vec_fma(vec_mul(square, x), POLYNOMIAL(square, tanh_coefficients), x);

    vec e = exp_nonpositive(vec_mul(size, vec_set(-2)));
    vec complement = vec_div(vec_add(e, e), vec_add(e, vec_set(1)));
    vec far = vec_sub(vec_set(1), complement);

    return vec_copy_sign(vec_select(vec_less(size, vec_set(0.5625f)), near, far), x);
}

#endif
