/* The vocabulary on AArch64's NEON, four lanes wide; what the words mean stands in scalar.h.
 *
 * On other machines SIMDe spells the intrinsics; on x86 with -mavx2 -mfma, so that its
 * vfmaq_f32 and vfmaq_f64 are fused (without the flag they round twice). Never let SIMDe add
 * floats across lanes (vaddvq_f32): its loops carry a pragma that lets clang reorder the sum.
 * FMAX returns NaN if either operand is one and +0 of two zeros, so vec_max and vec_min compare
 * and select, and vec_larger, which need not, is one instruction. vfmaq takes the addend first.
 * A mask is all ones or all zeros in each lane.
 */
#ifndef XENT_KERNELS_VECTOR_NEON_H
#define XENT_KERNELS_VECTOR_NEON_H

#include <stddef.h>
#include <stdint.h>

#define WORD static inline __attribute__((always_inline, unused))

#ifdef __aarch64__
#include <arm_neon.h>
#else
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/arm/neon.h>

/* SIMDe 0.7.4 lacks these. Its aliases are macros, so a later one's take precedence. */
#ifndef vdivq_f32
WORD float32x4_t vdivq_f32(float32x4_t a, float32x4_t b)
{
    float over[4], under[4];
    vst1q_f32(over, a);
    vst1q_f32(under, b);
    for (int w = 0; w < 4; w++) over[w] /= under[w];
    return vld1q_f32(over);
}
#endif
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
#ifndef vcvt_high_f64_f32
#define vcvt_high_f64_f32(a) vcvt_f64_f32(vget_high_f32(a))
#endif
#ifndef vcvt_high_f32_f64
#define vcvt_high_f32_f64(low, a) vcombine_f32(low, vcvt_f32_f64(a))
#endif
#endif

#define VEC_WIDTH 4
#if defined(__aarch64__) || defined(__FMA__)
#define VEC_FUSED 1
#else
#define VEC_FUSED 0
#endif

typedef float real;
typedef float32x4_t vec;
typedef int32x4_t veci;
typedef struct { float64x2_t low, high; } wide;
typedef uint32x4_t mask;
typedef struct { float64x2_t pair[4]; } fold8;
typedef double total; /* sum of a row */

/* -- Memory. -- */

WORD vec vec_load(const float *p) { return vld1q_f32(p); }
WORD void vec_store(float *p, vec a) { vst1q_f32(p, a); }
WORD void vec_stream(float *p, vec a) { vec_store(p, a); }
WORD void stream_end(void) {}
WORD vec vec_load_partial(const float *p, size_t n, vec fill)
{
    if (n == 4) return vld1q_f32(p);
    if (n > 0) fill = vld1q_lane_f32(p, fill, 0);
    if (n > 1) fill = vld1q_lane_f32(p + 1, fill, 1);
    if (n > 2) fill = vld1q_lane_f32(p + 2, fill, 2);
    return fill;
}
WORD void vec_store_partial(float *p, vec a, size_t n)
{
    if (n == 4) {
        vst1q_f32(p, a);
        return;
    }
    if (n > 0) vst1q_lane_f32(p, a, 0);
    if (n > 1) vst1q_lane_f32(p + 1, a, 1);
    if (n > 2) vst1q_lane_f32(p + 2, a, 2);
}
WORD wide wide_load(const double *p) { return (wide){vld1q_f64(p), vld1q_f64(p + 2)}; }
WORD void wide_store(double *p, wide a)
{
    vst1q_f64(p, a.low);
    vst1q_f64(p + 2, a.high);
}

WORD void transpose4(vec row[4])
{
    vec low02 = vzip1q_f32(row[0], row[2]), high02 = vzip2q_f32(row[0], row[2]);
    vec low13 = vzip1q_f32(row[1], row[3]), high13 = vzip2q_f32(row[1], row[3]);
    row[0] = vzip1q_f32(low02, low13);
    row[1] = vzip2q_f32(low02, low13);
    row[2] = vzip1q_f32(high02, high13);
    row[3] = vzip2q_f32(high02, high13);
}
WORD void vec_load_rows4(const float *from, const ptrdiff_t *rows, vec out[4])
{
    for (int w = 0; w < 4; w++) out[w] = vld1q_f32(from + rows[w]);
    transpose4(out);
}
WORD void vec_store_rows4(float *to, const ptrdiff_t *rows, const vec in[4])
{
    vec row[4] = {in[0], in[1], in[2], in[3]};
    transpose4(row);
    for (int w = 0; w < 4; w++) vst1q_f32(to + rows[w], row[w]);
}

/* -- Arithmetic. -- */

WORD vec vec_set(float a) { return vdupq_n_f32(a); }
WORD vec vec_add(vec a, vec b) { return vaddq_f32(a, b); }
WORD vec vec_sub(vec a, vec b) { return vsubq_f32(a, b); }
WORD vec vec_mul(vec a, vec b) { return vmulq_f32(a, b); }
WORD vec vec_div(vec a, vec b) { return vdivq_f32(a, b); }
WORD vec vec_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
WORD vec vec_max(vec a, vec b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
WORD vec vec_min(vec a, vec b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
WORD vec vec_larger(vec a, vec b) { return vmaxq_f32(a, b); }
WORD int vec_larger_lost(vec a) { return vminvq_u32(vceqq_f32(a, a)) == 0; }

/* -- Bits. -- */

WORD veci vec_bits(vec a) { return vreinterpretq_s32_f32(a); }
WORD vec vec_from_bits(veci a) { return vreinterpretq_f32_s32(a); }
WORD vec vec_abs(vec a) { return vabsq_f32(a); }
WORD vec vec_negate(vec a) { return vnegq_f32(a); }
WORD vec vec_copy_sign(vec a, vec b) { return vbslq_f32(vdupq_n_u32(0x80000000u), b, a); }
WORD veci veci_set(int32_t a) { return vdupq_n_s32(a); }
WORD veci veci_add(veci a, veci b) { return vaddq_s32(a, b); }
WORD veci veci_sub(veci a, veci b) { return vsubq_s32(a, b); }
WORD veci veci_and(veci a, veci b) { return vandq_s32(a, b); }
/* Macros, for the instructions ask for a constant; SSHR's begins at 1. */
#define veci_shift_left(a, n) vshlq_n_s32(a, n)
#define veci_shift_right(a, n) ((n) == 0 ? (a) : vshrq_n_s32(a, (n) + ((n) == 0)))
WORD vec vec_from_int(veci a) { return vcvtq_f32_s32(a); }
WORD wide wide_from_int(veci a)
{
    return (wide){vcvtq_f64_s64(vmovl_s32(vget_low_s32(a))), vcvtq_f64_s64(vmovl_s32(vget_high_s32(a)))};
}

/* -- Truth values. -- */

WORD mask vec_equal(vec a, vec b) { return vceqq_f32(a, b); }
WORD mask vec_less(vec a, vec b) { return vcltq_f32(a, b); }
WORD mask mask_and(mask a, mask b) { return vandq_u32(a, b); }
WORD mask mask_or(mask a, mask b) { return vorrq_u32(a, b); }
WORD int mask_any(mask m) { return vmaxvq_u32(m) != 0; }
WORD vec vec_select(mask m, vec yes, vec no) { return vbslq_f32(m, yes, no); }
WORD vec vec_zero_where(mask m, vec a) { return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(a), m)); }
WORD veci veci_count(veci a, mask m) { return vsubq_s32(a, vreinterpretq_s32_u32(m)); }
WORD wide wide_select(mask m, wide yes, wide no)
{
    int32x4_t all = vreinterpretq_s32_u32(m);
    uint64x2_t low = vreinterpretq_u64_s64(vmovl_s32(vget_low_s32(all)));
    uint64x2_t high = vreinterpretq_u64_s64(vmovl_s32(vget_high_s32(all)));
    return (wide){vbslq_f64(low, yes.low, no.low), vbslq_f64(high, yes.high, no.high)};
}

/* -- A table of eight pairs. -- */

typedef struct { uint8x16x2_t high, low; } table8;
WORD uint8x16x2_t table_bytes(const float entry[8])
{
    uint8x16x2_t bytes;
    bytes.val[0] = vreinterpretq_u8_f32(vld1q_f32(entry));
    bytes.val[1] = vreinterpretq_u8_f32(vld1q_f32(entry + 4));
    return bytes;
}
WORD table8 table8_load(const float pairs[8][2])
{
    float high[8], low[8];
    for (int k = 0; k < 8; k++) {
        high[k] = pairs[k][0];
        low[k] = pairs[k][1];
    }
    return (table8){table_bytes(high), table_bytes(low)};
}
WORD void table8_look_up(const table8 *t, veci index, vec *high, vec *low)
{
    /* TBL looks up bytes: entry i is at 4 i, 4 i + 1, 4 i + 2, 4 i + 3. */
    uint32x4_t entry = vandq_u32(vreinterpretq_u32_s32(index), vdupq_n_u32(7));
    uint32x4_t bytes = vmlaq_u32(vdupq_n_u32(0x03020100u), entry, vdupq_n_u32(0x04040404u));
    *high = vreinterpretq_f32_u8(vqtbl2q_u8(t->high, vreinterpretq_u8_u32(bytes)));
    *low = vreinterpretq_f32_u8(vqtbl2q_u8(t->low, vreinterpretq_u8_u32(bytes)));
}

/* -- Doubles. -- */

WORD wide wide_set(double a) { return (wide){vdupq_n_f64(a), vdupq_n_f64(a)}; }
WORD wide wide_from_vec(vec a) { return (wide){vcvt_f64_f32(vget_low_f32(a)), vcvt_high_f64_f32(a)}; }
WORD vec vec_from_wide(wide a) { return vcvt_high_f32_f64(vcvt_f32_f64(a.low), a.high); }
WORD wide wide_add(wide a, wide b) { return (wide){vaddq_f64(a.low, b.low), vaddq_f64(a.high, b.high)}; }
WORD wide wide_sub(wide a, wide b) { return (wide){vsubq_f64(a.low, b.low), vsubq_f64(a.high, b.high)}; }
WORD wide wide_mul(wide a, wide b) { return (wide){vmulq_f64(a.low, b.low), vmulq_f64(a.high, b.high)}; }
WORD wide wide_div(wide a, wide b) { return (wide){vdivq_f64(a.low, b.low), vdivq_f64(a.high, b.high)}; }
WORD wide wide_fma(wide a, wide b, wide c)
{
    return (wide){vfmaq_f64(c.low, a.low, b.low), vfmaq_f64(c.high, a.high, b.high)};
}

/* -- Storage. -- */

WORD wide wide_load_total(const total *p) { return wide_load(p); }
WORD void wide_store_total(total *p, wide a) { wide_store(p, a); }
WORD vec vec_load_double(const double *p) { return vec_from_wide(wide_load(p)); }
WORD void vec_store_double(double *p, vec a) { wide_store(p, wide_from_vec(a)); }
WORD vec vec_load_f32(const float *p) { return vec_load(p); }
WORD void vec_store_f32(float *p, vec a) { vec_store(p, a); }

WORD vec vec_load_bf16(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vld1_u16(p)), 16));
}
WORD uint32x4_t round_upper(uint32x4_t bits)
{
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    return vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
}
WORD void vec_store_bf16(uint16_t *p, vec a)
{
    uint32x4_t bits = vreinterpretq_u32_f32(a), quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    vst1_u16(p, vshrn_n_u32(vbslq_u32(vceqq_f32(a, a), round_upper(bits), quiet), 16));
}
WORD void vec_store2_bf16(uint16_t *p, vec a, vec b)
{
    uint32x4_t low = round_upper(vreinterpretq_u32_f32(a)), high = round_upper(vreinterpretq_u32_f32(b));
    vst1q_u16(p, vuzp2q_u16(vreinterpretq_u16_u32(low), vreinterpretq_u16_u32(high)));
}
WORD vec vec_load_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
WORD void vec_store_f16(uint16_t *p, vec a) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a))); }

/* -- Reductions. -- */

WORD float vec_reduce_max(vec a) { return vmaxvq_f32(a); }
/* Unsigned, for SIMDe adds in a scalar, whose overflow must be defined. */
WORD int32_t veci_reduce_add(veci a) { return (int32_t)vaddvq_u32(vreinterpretq_u32_s32(a)); }

WORD fold8 fold8_lanes(const vec lanes[32 / VEC_WIDTH])
{
    fold8 r;
    for (int half = 0; half < 2; half++) { /* results 0 ... 3, then 4 ... 7 */
        wide sum = wide_add(wide_add(wide_from_vec(lanes[half]), wide_from_vec(lanes[half + 4])),
                            wide_add(wide_from_vec(lanes[half + 2]), wide_from_vec(lanes[half + 6])));
        r.pair[2 * half] = sum.low;
        r.pair[2 * half + 1] = sum.high;
    }
    return r;
}
WORD fold8 fold8_zero(void)
{
    float64x2_t zero = vdupq_n_f64(0.0);
    return (fold8){{zero, zero, zero, zero}};
}
WORD fold8 fold8_add(fold8 a, fold8 b)
{
    for (int k = 0; k < 4; k++) a.pair[k] = vaddq_f64(a.pair[k], b.pair[k]);
    return a;
}
WORD float64x2_t fold_even_odd(fold8 a)
{
    float64x2_t sum04_15 = vaddq_f64(a.pair[0], a.pair[2]);
    float64x2_t sum26_37 = vaddq_f64(a.pair[1], a.pair[3]);
    return vaddq_f64(sum04_15, sum26_37);
}
WORD total fold8_total(fold8 a)
{
    float64x2_t even_odd = fold_even_odd(a);
    return vgetq_lane_f64(even_odd, 0) + vgetq_lane_f64(even_odd, 1);
}
WORD wide fold8_totals(const fold8 rows[VEC_WIDTH])
{
    return (wide){vpaddq_f64(fold_even_odd(rows[0]), fold_even_odd(rows[1])),
                  vpaddq_f64(fold_even_odd(rows[2]), fold_even_odd(rows[3]))};
}

#endif
