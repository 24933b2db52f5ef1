/* The vocabulary on SSE2, four lanes wide; what the words mean stands in scalar.h.
 *
 * Baseline x86-64. There is no fused multiply-add, no blend, no permute by a vector and no
 * masked load: selects are and/andnot/or, and a table is read with scalar loads.
 * maxps and minps return their second operand on NaN and on zeros, as the words ask.
 * A mask is all ones or all zeros in each lane.
 */
#ifndef XENT_KERNELS_VECTOR_SSE2_H
#define XENT_KERNELS_VECTOR_SSE2_H

#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VEC_WIDTH 4
#define VEC_FUSED 0
#define WORD static inline __attribute__((always_inline, unused))

typedef float real;
typedef __m128 vec;
typedef __m128i veci;
typedef struct { __m128d low, high; } wide;
typedef __m128 mask;
typedef struct { __m128d pair[4]; } fold8;
typedef double total; /* sum of a row */

/* Lanes 2 and 3, moved to 0 and 1. */
#define HIGH_HALF(a) _mm_movehl_ps(a, a)

/* -- Memory. -- */

WORD vec vec_load(const float *p) { return _mm_loadu_ps(p); }
WORD void vec_store(float *p, vec a) { _mm_storeu_ps(p, a); }
WORD void vec_stream(float *p, vec a) { _mm_stream_ps(p, a); }
WORD void stream_end(void) { _mm_sfence(); }
WORD __m128 load_two(const float *p) { return _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)p)); }
WORD void store_two(float *p, __m128 a) { _mm_storel_epi64((__m128i *)p, _mm_castps_si128(a)); }
WORD vec vec_load_partial(const float *p, size_t n, vec fill)
{
    if (n == 4) return _mm_loadu_ps(p);
    if (n == 0) return fill;
    if (n == 1) return _mm_move_ss(fill, _mm_load_ss(p));
    vec upper = HIGH_HALF(fill);
    if (n == 3) upper = _mm_move_ss(upper, _mm_load_ss(p + 2));
    return _mm_movelh_ps(load_two(p), upper);
}
WORD void vec_store_partial(float *p, vec a, size_t n)
{
    if (n == 4) {
        _mm_storeu_ps(p, a);
        return;
    }
    if (n & 2) {
        store_two(p, a);
        a = HIGH_HALF(a);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, a);
}
WORD wide wide_load(const double *p) { return (wide){_mm_loadu_pd(p), _mm_loadu_pd(p + 2)}; }
WORD void wide_store(double *p, wide a)
{
    _mm_storeu_pd(p, a.low);
    _mm_storeu_pd(p + 2, a.high);
}

WORD void vec_load_rows4(const float *from, const ptrdiff_t *rows, vec out[4])
{
    for (int w = 0; w < 4; w++) out[w] = _mm_loadu_ps(from + rows[w]);
    _MM_TRANSPOSE4_PS(out[0], out[1], out[2], out[3]);
}
WORD void vec_store_rows4(float *to, const ptrdiff_t *rows, const vec in[4])
{
    vec row[4] = {in[0], in[1], in[2], in[3]};
    _MM_TRANSPOSE4_PS(row[0], row[1], row[2], row[3]);
    for (int w = 0; w < 4; w++) _mm_storeu_ps(to + rows[w], row[w]);
}

/* -- Arithmetic. -- */

WORD vec vec_set(float a) { return _mm_set1_ps(a); }
WORD vec vec_add(vec a, vec b) { return _mm_add_ps(a, b); }
WORD vec vec_sub(vec a, vec b) { return _mm_sub_ps(a, b); }
WORD vec vec_mul(vec a, vec b) { return _mm_mul_ps(a, b); }
WORD vec vec_div(vec a, vec b) { return _mm_div_ps(a, b); }
WORD vec vec_fma(vec a, vec b, vec c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
WORD vec vec_max(vec a, vec b) { return _mm_max_ps(a, b); }
WORD vec vec_min(vec a, vec b) { return _mm_min_ps(a, b); }
WORD vec vec_larger(vec a, vec b) { return vec_max(a, b); }
WORD int vec_larger_lost(vec a) { (void)a; return 0; }

/* -- Bits. -- */

WORD veci vec_bits(vec a) { return _mm_castps_si128(a); }
WORD vec vec_from_bits(veci a) { return _mm_castsi128_ps(a); }
WORD vec vec_abs(vec a) { return _mm_andnot_ps(_mm_set1_ps(-0.0f), a); }
WORD vec vec_negate(vec a) { return _mm_xor_ps(a, _mm_set1_ps(-0.0f)); }
WORD vec vec_copy_sign(vec a, vec b)
{
    vec sign = _mm_set1_ps(-0.0f);
    return _mm_or_ps(_mm_andnot_ps(sign, a), _mm_and_ps(sign, b));
}
WORD veci veci_set(int32_t a) { return _mm_set1_epi32(a); }
WORD veci veci_add(veci a, veci b) { return _mm_add_epi32(a, b); }
WORD veci veci_sub(veci a, veci b) { return _mm_sub_epi32(a, b); }
WORD veci veci_and(veci a, veci b) { return _mm_and_si128(a, b); }
WORD veci veci_shift_left(veci a, const int n) { return _mm_slli_epi32(a, n); }
WORD veci veci_shift_right(veci a, const int n) { return _mm_srai_epi32(a, n); }
WORD vec vec_from_int(veci a) { return _mm_cvtepi32_ps(a); }
WORD wide wide_from_int(veci a)
{
    return (wide){_mm_cvtepi32_pd(a), _mm_cvtepi32_pd(_mm_unpackhi_epi64(a, a))};
}

/* -- Truth values. -- */

WORD mask vec_equal(vec a, vec b) { return _mm_cmpeq_ps(a, b); }
WORD mask vec_less(vec a, vec b) { return _mm_cmplt_ps(a, b); }
WORD mask mask_and(mask a, mask b) { return _mm_and_ps(a, b); }
WORD mask mask_or(mask a, mask b) { return _mm_or_ps(a, b); }
WORD int mask_any(mask m) { return _mm_movemask_ps(m) != 0; }
WORD vec vec_select(mask m, vec yes, vec no) { return _mm_or_ps(_mm_and_ps(m, yes), _mm_andnot_ps(m, no)); }
WORD vec vec_zero_where(mask m, vec a) { return _mm_andnot_ps(m, a); }
WORD veci veci_count(veci a, mask m) { return _mm_sub_epi32(a, _mm_castps_si128(m)); }
WORD __m128d double_select(__m128 m, __m128d yes, __m128d no)
{
    return _mm_or_pd(_mm_and_pd(_mm_castps_pd(m), yes), _mm_andnot_pd(_mm_castps_pd(m), no));
}
WORD wide wide_select(mask m, wide yes, wide no)
{
    return (wide){double_select(_mm_unpacklo_ps(m, m), yes.low, no.low),
                  double_select(_mm_unpackhi_ps(m, m), yes.high, no.high)};
}

/* -- A table of eight pairs. -- */

typedef struct { const float (*pair)[2]; } table8; /* a copy would be made again and again */
WORD table8 table8_load(const float pairs[8][2]) { return (table8){pairs}; }
WORD void table8_look_up(const table8 *t, veci index, vec *high, vec *low)
{
    __m128 pair0 = load_two(t->pair[_mm_extract_epi16(index, 0) & 7]);
    __m128 pair1 = load_two(t->pair[_mm_extract_epi16(index, 2) & 7]);
    __m128 pair2 = load_two(t->pair[_mm_extract_epi16(index, 4) & 7]);
    __m128 pair3 = load_two(t->pair[_mm_extract_epi16(index, 6) & 7]);
    __m128 pairs01 = _mm_movelh_ps(pair0, pair1);
    __m128 pairs23 = _mm_movelh_ps(pair2, pair3);
    *high = _mm_shuffle_ps(pairs01, pairs23, _MM_SHUFFLE(2, 0, 2, 0));
    *low = _mm_shuffle_ps(pairs01, pairs23, _MM_SHUFFLE(3, 1, 3, 1));
}

/* -- Doubles. -- */

WORD wide wide_set(double a) { return (wide){_mm_set1_pd(a), _mm_set1_pd(a)}; }
WORD wide wide_from_vec(vec a) { return (wide){_mm_cvtps_pd(a), _mm_cvtps_pd(HIGH_HALF(a))}; }
WORD vec vec_from_wide(wide a) { return _mm_movelh_ps(_mm_cvtpd_ps(a.low), _mm_cvtpd_ps(a.high)); }
WORD wide wide_add(wide a, wide b) { return (wide){_mm_add_pd(a.low, b.low), _mm_add_pd(a.high, b.high)}; }
WORD wide wide_sub(wide a, wide b) { return (wide){_mm_sub_pd(a.low, b.low), _mm_sub_pd(a.high, b.high)}; }
WORD wide wide_mul(wide a, wide b) { return (wide){_mm_mul_pd(a.low, b.low), _mm_mul_pd(a.high, b.high)}; }
WORD wide wide_div(wide a, wide b) { return (wide){_mm_div_pd(a.low, b.low), _mm_div_pd(a.high, b.high)}; }
WORD wide wide_fma(wide a, wide b, wide c) { return wide_add(wide_mul(a, b), c); }

/* -- Storage. -- */

WORD wide wide_load_total(const total *p) { return wide_load(p); }
WORD void wide_store_total(total *p, wide a) { wide_store(p, a); }
WORD vec vec_load_double(const double *p) { return vec_from_wide(wide_load(p)); }
WORD void vec_store_double(double *p, vec a) { wide_store(p, wide_from_vec(a)); }
WORD vec vec_load_f32(const float *p) { return vec_load(p); }
WORD void vec_store_f32(float *p, vec a) { vec_store(p, a); }

WORD vec vec_load_bf16(const uint16_t *p)
{
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64((const __m128i *)p)));
}
/* The upper 16 bits of each lane. Packing saturates as signed, so they come down signed. */
WORD void store_upper(uint16_t *p, __m128i a)
{
    __m128i upper = _mm_srai_epi32(a, 16);
    _mm_storel_epi64((__m128i *)p, _mm_packs_epi32(upper, upper));
}
WORD veci round_upper(veci bits)
{
    veci odd = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(1));
    return _mm_add_epi32(_mm_add_epi32(bits, _mm_set1_epi32(0x7fff)), odd);
}
WORD void vec_store_bf16(uint16_t *p, vec a)
{
    veci quiet = _mm_or_si128(vec_bits(a), _mm_set1_epi32(0x400000));
    store_upper(p, vec_bits(vec_select(_mm_cmpunord_ps(a, a), vec_from_bits(quiet), vec_from_bits(round_upper(vec_bits(a))))));
}
WORD void vec_store2_bf16(uint16_t *p, vec a, vec b)
{
    veci low = _mm_srai_epi32(round_upper(vec_bits(a)), 16), high = _mm_srai_epi32(round_upper(vec_bits(b)), 16);
    _mm_storeu_si128((__m128i *)p, _mm_packs_epi32(low, high));
}

/* The integer algorithms of half.h, with selects for its branches. */
WORD vec vec_load_f16(const uint16_t *p)
{
    __m128i halves = _mm_unpacklo_epi16(_mm_loadl_epi64((const __m128i *)p), _mm_setzero_si128());
    __m128i magnitude = _mm_and_si128(halves, _mm_set1_epi32(0x7fff));
    __m128i sign = _mm_slli_epi32(_mm_xor_si128(halves, magnitude), 16);
    __m128i rebias = _mm_set1_epi32(112 << 23);
    __m128i beyond = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7bff));
    __m128i normal = _mm_add_epi32(_mm_add_epi32(_mm_slli_epi32(magnitude, 13), rebias), _mm_and_si128(beyond, rebias));
    vec subnormal = _mm_mul_ps(_mm_cvtepi32_ps(magnitude), _mm_set1_ps(0x1p-24f));
    mask small = _mm_castsi128_ps(_mm_cmplt_epi32(magnitude, _mm_set1_epi32(0x0400)));
    return _mm_or_ps(_mm_castsi128_ps(sign), vec_select(small, subnormal, _mm_castsi128_ps(normal)));
}
WORD void vec_store_f16(uint16_t *p, vec a)
{
    vec magnitude = vec_abs(a);
    veci bits = vec_bits(magnitude), odd = _mm_and_si128(_mm_srli_epi32(bits, 13), _mm_set1_epi32(1));
    veci rounded = _mm_add_epi32(_mm_add_epi32(bits, _mm_set1_epi32(0xfff - (112 << 23))), odd);
    vec result = vec_from_bits(_mm_srli_epi32(rounded, 13));
    vec in_half = _mm_add_ps(magnitude, _mm_set1_ps(0.5f));
    vec subnormal = vec_from_bits(_mm_sub_epi32(vec_bits(in_half), _mm_set1_epi32(0x3f000000)));
    result = vec_select(_mm_cmplt_ps(magnitude, _mm_set1_ps(0x1p-14f)), subnormal, result);
    result = vec_select(_mm_cmpge_ps(magnitude, _mm_set1_ps(0x1p+16f)), vec_from_bits(veci_set(0x7c00)), result);
    result = vec_select(_mm_cmpunord_ps(a, a), vec_from_bits(veci_set(0x7e00)), result);
    veci shifted = _mm_slli_epi32(vec_bits(result), 16);
    store_upper(p, _mm_or_si128(shifted, _mm_and_si128(vec_bits(a), _mm_set1_epi32(INT32_MIN))));
}

/* -- Reductions. -- */

WORD float vec_reduce_max(vec a)
{
    a = _mm_max_ps(a, HIGH_HALF(a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_shuffle_ps(a, a, 1)));
}
WORD int32_t veci_reduce_add(veci a)
{
    a = _mm_add_epi32(a, _mm_unpackhi_epi64(a, a));
    return _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, 1)));
}

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
    __m128d zero = _mm_setzero_pd();
    return (fold8){{zero, zero, zero, zero}};
}
WORD fold8 fold8_add(fold8 a, fold8 b)
{
    for (int k = 0; k < 4; k++) a.pair[k] = _mm_add_pd(a.pair[k], b.pair[k]);
    return a;
}
WORD __m128d fold_even_odd(fold8 a)
{
    __m128d sum04_15 = _mm_add_pd(a.pair[0], a.pair[2]);
    __m128d sum26_37 = _mm_add_pd(a.pair[1], a.pair[3]);
    return _mm_add_pd(sum04_15, sum26_37);
}
WORD total fold8_total(fold8 a)
{
    __m128d even_odd = fold_even_odd(a);
    return _mm_cvtsd_f64(even_odd) + _mm_cvtsd_f64(_mm_unpackhi_pd(even_odd, even_odd));
}
WORD __m128d fold_rows(const fold8 *rows)
{
    __m128d first = fold_even_odd(rows[0]), second = fold_even_odd(rows[1]);
    return _mm_add_pd(_mm_unpacklo_pd(first, second), _mm_unpackhi_pd(first, second));
}
WORD wide fold8_totals(const fold8 rows[VEC_WIDTH]) { return (wide){fold_rows(rows), fold_rows(rows + 2)}; }

#undef HIGH_HALF

#endif
