/* The reference exp: the yardstick of the benchmarks, one function per ISA.
 *
 * Frozen. Every ratio to the speed of light that was ever published was taken with
 * this code, so it must never change: not to be faster, not to be more exact, and
 * not to follow the library's own exp, from which it shares nothing. */
#ifndef XENT_BENCH_FROZEN_EXP_H
#define XENT_BENCH_FROZEN_EXP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* n has to be a multiple of this. */
#define FROZEN_EXP_BLOCK 64

/* y[i] = exp(x[i]) for |x[i]| <= 87, i < n, to a relative error of 1e-6. Each is only
 * there where bench/meson.build compiles it, and only for a CPU that has its ISA. */
void frozen_exp_scalar(const float *x, float *y, size_t n);
void frozen_exp_sse2(const float *x, float *y, size_t n);
void frozen_exp_avx2(const float *x, float *y, size_t n);
void frozen_exp_avx512(const float *x, float *y, size_t n);
void frozen_exp_neon(const float *x, float *y, size_t n);

#ifdef __cplusplus
}
#endif

#endif
