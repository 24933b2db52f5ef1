/* The vocabulary for doubles on AArch64's NEON, two lanes wide; what the words mean stands in
 * scalar.h and scalar_f64.h, and how NEON, or SIMDe in its stead, is to live with in neon.h.
 */
#ifndef XENT_KERNELS_VECTOR_NEON_F64_H
#define XENT_KERNELS_VECTOR_NEON_F64_H

#include <stddef.h>
#include <stdint.h>

#define WORD static inline __attribute__((always_inline, unused))

#ifdef __aarch64__
#include <arm_neon.h>
#else
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/arm/neon.h>

/* SIMDe 0.7.4 lacks it. */
#ifndef vdivq_f64
WORD float64x2_t vdivq_f64(float64x2_t a, float64x2_t b)
{
    double over[2], under[2];
    vst1q_f64(over, a);
    vst1q_f64(under, b);
    for (int w = 0; w < 2; w++) over[w] /= under[w];
    return vld1q_f64(over);
}
#endif
#endif

#define VEC_WIDTH 2
#if defined(__aarch64__) || defined(__FMA__)
#define VEC_FUSED 1
#else
#define VEC_FUSED 0
#endif

typedef double real;
typedef float64x2_t vec;
typedef int64x2_t veci;
typedef uint64x2_t mask;

/* -- Memory. -- */

WORD vec vec_load(const double *p) { return vld1q_f64(p); }
WORD void vec_store(double *p, vec a) { vst1q_f64(p, a); }
WORD void vec_stream(double *p, vec a) { vec_store(p, a); }
WORD void stream_end(void) {}
WORD vec vec_load_partial(const double *p, size_t n, vec fill)
{
    if (n == 2) return vld1q_f64(p);
    return n ? vld1q_lane_f64(p, fill, 0) : fill;
}
WORD void vec_store_partial(double *p, vec a, size_t n)
{
    if (n == 2) vst1q_f64(p, a);
    else if (n) vst1q_lane_f64(p, a, 0);
}

WORD void vec_load_rows4(const double *from, const ptrdiff_t *rows, vec out[4])
{
    for (int c = 0; c < 4; c += 2) {
        vec row0 = vld1q_f64(from + rows[0] + c), row1 = vld1q_f64(from + rows[1] + c);
        out[c] = vzip1q_f64(row0, row1);
        out[c + 1] = vzip2q_f64(row0, row1);
    }
}
WORD void vec_store_rows4(double *to, const ptrdiff_t *rows, const vec in[4])
{
    for (int c = 0; c < 4; c += 2) {
        vst1q_f64(to + rows[0] + c, vzip1q_f64(in[c], in[c + 1]));
        vst1q_f64(to + rows[1] + c, vzip2q_f64(in[c], in[c + 1]));
    }
}

WORD vec vec_load_f32(const float *p) { return vcvt_f64_f32(vld1_f32(p)); }
WORD void vec_store_f32(float *p, vec a) { vst1_f32(p, vcvt_f32_f64(a)); }

/* -- Arithmetic. -- */

WORD vec vec_set(double a) { return vdupq_n_f64(a); }
WORD vec vec_add(vec a, vec b) { return vaddq_f64(a, b); }
WORD vec vec_sub(vec a, vec b) { return vsubq_f64(a, b); }
WORD vec vec_mul(vec a, vec b) { return vmulq_f64(a, b); }
WORD vec vec_div(vec a, vec b) { return vdivq_f64(a, b); }
WORD vec vec_fma(vec a, vec b, vec c) { return vfmaq_f64(c, a, b); }
WORD vec vec_max(vec a, vec b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
WORD vec vec_min(vec a, vec b) { return vbslq_f64(vcltq_f64(a, b), a, b); }
WORD vec vec_larger(vec a, vec b) { return vmaxq_f64(a, b); }
WORD int vec_larger_lost(vec a) { return vminvq_u32(vreinterpretq_u32_u64(vceqq_f64(a, a))) == 0; }

/* -- Bits. -- */

WORD veci vec_bits(vec a) { return vreinterpretq_s64_f64(a); }
WORD vec vec_from_bits(veci a) { return vreinterpretq_f64_s64(a); }
WORD vec vec_abs(vec a) { return vabsq_f64(a); }
WORD vec vec_negate(vec a) { return vnegq_f64(a); }
WORD vec vec_copy_sign(vec a, vec b) { return vbslq_f64(vdupq_n_u64((uint64_t)1 << 63), b, a); }
WORD veci veci_set(int64_t a) { return vdupq_n_s64(a); }
WORD veci veci_add(veci a, veci b) { return vaddq_s64(a, b); }
WORD veci veci_sub(veci a, veci b) { return vsubq_s64(a, b); }
WORD veci veci_and(veci a, veci b) { return vandq_s64(a, b); }
/* Macros, for the instructions ask for a constant; SSHR's begins at 1. */
#define veci_shift_left(a, n) vshlq_n_s64(a, n)
#define veci_shift_right(a, n) ((n) == 0 ? (a) : vshrq_n_s64(a, (n) + ((n) == 0)))
WORD vec vec_from_int(veci a) { return vcvtq_f64_s64(a); }

/* -- Truth values. -- */

WORD mask vec_equal(vec a, vec b) { return vceqq_f64(a, b); }
WORD mask vec_less(vec a, vec b) { return vcltq_f64(a, b); }
WORD mask mask_and(mask a, mask b) { return vandq_u64(a, b); }
WORD mask mask_or(mask a, mask b) { return vorrq_u64(a, b); }
WORD int mask_any(mask m) { return vmaxvq_u32(vreinterpretq_u32_u64(m)) != 0; }
WORD vec vec_select(mask m, vec yes, vec no) { return vbslq_f64(m, yes, no); }
WORD vec vec_zero_where(mask m, vec a) { return vreinterpretq_f64_u64(vbicq_u64(vreinterpretq_u64_f64(a), m)); }
WORD veci veci_count(veci a, mask m) { return vsubq_s64(a, vreinterpretq_s64_u64(m)); }

/* -- A table of eight pairs. -- */

typedef struct { const double (*pair)[2]; } table8; /* a copy would be made again and again */
WORD table8 table8_load(const double pairs[8][2]) { return (table8){pairs}; }
WORD void table8_look_up(const table8 *t, veci index, vec *high, vec *low)
{
    vec pair0 = vld1q_f64(t->pair[vgetq_lane_s64(index, 0) & 7]);
    vec pair1 = vld1q_f64(t->pair[vgetq_lane_s64(index, 1) & 7]);
    *high = vzip1q_f64(pair0, pair1);
    *low = vzip2q_f64(pair0, pair1);
}

/* -- Reductions. -- */

/* The other lane comes first. */
WORD vec vec_lanes_down(vec a, const int n) { (void)n; return vextq_f64(a, a, 1); }
WORD double vec_reduce_max(vec a)
{
    double lane0 = vgetq_lane_f64(a, 0), lane1 = vgetq_lane_f64(a, 1);
    return lane0 > lane1 ? lane0 : lane1;
}
/* Unsigned, for overflow must be defined. */
WORD int64_t veci_reduce_add(veci a)
{
    return (int64_t)((uint64_t)vgetq_lane_s64(a, 0) + (uint64_t)vgetq_lane_s64(a, 1));
}

#include "pair.h"

#endif
