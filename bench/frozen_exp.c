/* Frozen: see frozen_exp.h. Compiled once per ISA, which is chosen by the macro
 * FROZEN_EXP_<ISA>.
 *
 * x = n ln 2 + r, |r| <= ln 2 / 2. Adding the magic number 1.5 x 2^23, in the fma
 * that multiplies by 1 / ln 2, leaves n in the low bits of the sum; ln 2 is taken
 * in two constants; exp(r) is a polynomial of degree 6; 2^n is scalef on AVX-512
 * and an addition to the exponent elsewhere. */
#include "frozen_exp.h"

#if defined(FROZEN_EXP_AVX512)

#include <immintrin.h>
#define NAME frozen_exp_avx512
#define LANES 16
typedef __m512 vector;
static inline vector splat(float a) { return _mm512_set1_ps(a); }
static inline vector load(const float *p) { return _mm512_loadu_ps(p); }
static inline void store(float *p, vector a) { _mm512_storeu_ps(p, a); }
static inline vector sub(vector a, vector b) { return _mm512_sub_ps(a, b); }
static inline vector fma3(vector a, vector b, vector c) { return _mm512_fmadd_ps(a, b, c); }
static inline vector scale(vector a, vector n, vector shifted_n)
{
    (void)shifted_n;
    return _mm512_scalef_ps(a, n);
}

#elif defined(FROZEN_EXP_AVX2)

#include <immintrin.h>
#define NAME frozen_exp_avx2
#define LANES 8
typedef __m256 vector;
static inline vector splat(float a) { return _mm256_set1_ps(a); }
static inline vector load(const float *p) { return _mm256_loadu_ps(p); }
static inline void store(float *p, vector a) { _mm256_storeu_ps(p, a); }
static inline vector sub(vector a, vector b) { return _mm256_sub_ps(a, b); }
static inline vector fma3(vector a, vector b, vector c) { return _mm256_fmadd_ps(a, b, c); }
static inline vector scale(vector a, vector n, vector shifted_n)
{
    (void)n;
    return _mm256_castsi256_ps(_mm256_add_epi32(
        _mm256_castps_si256(a), _mm256_slli_epi32(_mm256_castps_si256(shifted_n), 23)));
}

#elif defined(FROZEN_EXP_SSE2)

#include <emmintrin.h>
#define NAME frozen_exp_sse2
#define LANES 4
typedef __m128 vector;
static inline vector splat(float a) { return _mm_set1_ps(a); }
static inline vector load(const float *p) { return _mm_loadu_ps(p); }
static inline void store(float *p, vector a) { _mm_storeu_ps(p, a); }
static inline vector sub(vector a, vector b) { return _mm_sub_ps(a, b); }
static inline vector fma3(vector a, vector b, vector c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
static inline vector scale(vector a, vector n, vector shifted_n)
{
    (void)n;
    return _mm_castsi128_ps(
        _mm_add_epi32(_mm_castps_si128(a), _mm_slli_epi32(_mm_castps_si128(shifted_n), 23)));
}

#elif defined(FROZEN_EXP_NEON)

#include <arm_neon.h>
#define NAME frozen_exp_neon
#define LANES 4
typedef float32x4_t vector;
static inline vector splat(float a) { return vdupq_n_f32(a); }
static inline vector load(const float *p) { return vld1q_f32(p); }
static inline void store(float *p, vector a) { vst1q_f32(p, a); }
static inline vector sub(vector a, vector b) { return vsubq_f32(a, b); }
static inline vector fma3(vector a, vector b, vector c) { return vfmaq_f32(c, a, b); }
static inline vector scale(vector a, vector n, vector shifted_n)
{
    (void)n;
    return vreinterpretq_f32_s32(vaddq_s32(
        vreinterpretq_s32_f32(a), vshlq_n_s32(vreinterpretq_s32_f32(shifted_n), 23)));
}

#else

#include <math.h>
#include <stdint.h>
#include <string.h>
#define NAME frozen_exp_scalar
#define LANES 1
typedef float vector;
static inline vector splat(float a) { return a; }
static inline vector load(const float *p) { return *p; }
static inline void store(float *p, vector a) { *p = a; }
static inline vector sub(vector a, vector b) { return a - b; }
static inline vector fma3(vector a, vector b, vector c)
{
#ifdef FP_FAST_FMAF
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}
static inline vector scale(vector a, vector n, vector shifted_n)
{
    uint32_t bits, exponent;
    (void)n;
    memcpy(&bits, &a, sizeof bits);
    memcpy(&exponent, &shifted_n, sizeof exponent);
    bits += exponent << 23;
    memcpy(&a, &bits, sizeof bits);
    return a;
}

#endif

/* Vectors in lockstep, so that their latencies overlap. */
#define GROUP 4

void NAME(const float *x, float *y, size_t n)
{
    const vector magic = splat(12582912.0f);
    const vector inverse_ln2 = splat(1.44269504f);
    const vector minus_ln2_high = splat(-0.693359375f);
    const vector minus_ln2_low = splat(2.12194440e-4f);

    for (size_t at = 0; at < n; at += GROUP * LANES) {
        vector shifted[GROUP], whole[GROUP], rest[GROUP], sum[GROUP];
        for (int i = 0; i < GROUP; i++)
            rest[i] = load(x + at + (size_t)i * LANES);
        for (int i = 0; i < GROUP; i++)
            shifted[i] = fma3(rest[i], inverse_ln2, magic);
        for (int i = 0; i < GROUP; i++)
            whole[i] = sub(shifted[i], magic);
        for (int i = 0; i < GROUP; i++)
            rest[i] = fma3(whole[i], minus_ln2_high, rest[i]);
        for (int i = 0; i < GROUP; i++)
            rest[i] = fma3(whole[i], minus_ln2_low, rest[i]);
        for (int i = 0; i < GROUP; i++)
            sum[i] = fma3(splat(0x1.6a2434p-10f), rest[i], splat(0x1.1239e2p-7f));
        for (int i = 0; i < GROUP; i++)
            sum[i] = fma3(sum[i], rest[i], splat(0x1.5558f2p-5f));
        for (int i = 0; i < GROUP; i++)
            sum[i] = fma3(sum[i], rest[i], splat(0x1.555492p-3f));
        for (int i = 0; i < GROUP; i++)
            sum[i] = fma3(sum[i], rest[i], splat(0x1.fffffcp-2f));
        for (int i = 0; i < GROUP; i++)
            sum[i] = fma3(sum[i], rest[i], splat(1.0f));
        for (int i = 0; i < GROUP; i++)
            sum[i] = fma3(sum[i], rest[i], splat(1.0f));
        for (int i = 0; i < GROUP; i++)
            store(y + at + (size_t)i * LANES, scale(sum[i], whole[i], shifted[i]));
    }
}
