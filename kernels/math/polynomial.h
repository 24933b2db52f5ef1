/* What the elementary functions have in common: they are written once for both precisions, on
 * real, and differ in constants and in the number of coefficients. */
#ifndef XENT_KERNELS_MATH_POLYNOMIAL_H
#define XENT_KERNELS_MATH_POLYNOMIAL_H

#include "../vector/vector.h"

#define MATH static inline __attribute__((always_inline, unused))

/* c[0] + c[1] x + ... + c[count - 1] x^(count - 1), by Horner's rule; unrolled, so that c
 * becomes so many constants. */
MATH vec polynomial(vec x, const real *c, const int count)
{
    vec p = vec_set(c[count - 1]);
#if defined(__clang__)
#pragma clang loop unroll(full)
#else
#pragma GCC unroll 32
#endif
    for (int i = count - 2; i >= 0; i--) p = vec_fma(p, x, vec_set(c[i]));
    return p;
}
#define POLYNOMIAL(x, c) polynomial(x, c, (int)(sizeof(c) / sizeof *(c)))

#endif
