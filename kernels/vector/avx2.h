/* The vocabulary on AVX2 and FMA, eight lanes wide; what the words mean stands in scalar.h.
 *
 * Most instructions work within each half of 128 bits; only vpermps and the extracts cross
 * them. vmaxps and vminps return their second operand on NaN and on zeros, as the words ask.
 * A masked load is cheap, but a masked store is slow on some AMD cores, so a partial store
 * goes in pieces. A mask is all ones or all zeros in each lane.
 */
#ifndef XENT_KERNELS_VECTOR_AVX2_H
#define XENT_KERNELS_VECTOR_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "half.h"

#define VEC_WIDTH 8
#define VEC_FUSED 1
#define WORD static inline __attribute__((always_inline, unused))

typedef float real;
typedef __m256 vec;
typedef __m256i veci;
typedef struct { __m256d low, high; } wide;
typedef __m256 mask;
typedef struct { __m256d low, high; } fold8;
typedef double total; /* sum of a row */

#define LOW_HALF(a) _mm256_castps256_ps128(a)
#define HIGH_HALF(a) _mm256_extractf128_ps(a, 1)

/* -- Memory. -- */

WORD vec vec_load(const float *p) { return _mm256_loadu_ps(p); }
WORD void vec_store(float *p, vec a) { _mm256_storeu_ps(p, a); }
WORD void vec_stream(float *p, vec a) { _mm256_stream_ps(p, a); }
WORD void stream_end(void) { _mm_sfence(); }
WORD vec vec_load_partial(const float *p, size_t n, vec fill)
{
    veci lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    veci first_n = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
    return _mm256_blendv_ps(fill, _mm256_maskload_ps(p, first_n), _mm256_castsi256_ps(first_n));
}
WORD void vec_store_partial(float *p, vec a, size_t n)
{
    if (n == 8) {
        _mm256_storeu_ps(p, a);
        return;
    }
    __m128 rest = LOW_HALF(a);
    if (n & 4) {
        _mm_storeu_ps(p, rest);
        rest = HIGH_HALF(a);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_epi64((__m128i *)p, _mm_castps_si128(rest));
        rest = _mm_movehl_ps(rest, rest);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, rest);
}
WORD wide wide_load(const double *p) { return (wide){_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)}; }
WORD void wide_store(double *p, wide a)
{
    _mm256_storeu_pd(p, a.low);
    _mm256_storeu_pd(p + 4, a.high);
}

/* Transposes the two blocks of 4 x 4: rows 0 ... 3 in the low halves, 4 ... 7 in the high. */
WORD void transpose_blocks(vec row[4])
{
    vec low01 = _mm256_unpacklo_ps(row[0], row[1]), high01 = _mm256_unpackhi_ps(row[0], row[1]);
    vec low23 = _mm256_unpacklo_ps(row[2], row[3]), high23 = _mm256_unpackhi_ps(row[2], row[3]);
    row[0] = _mm256_shuffle_ps(low01, low23, _MM_SHUFFLE(1, 0, 1, 0));
    row[1] = _mm256_shuffle_ps(low01, low23, _MM_SHUFFLE(3, 2, 3, 2));
    row[2] = _mm256_shuffle_ps(high01, high23, _MM_SHUFFLE(1, 0, 1, 0));
    row[3] = _mm256_shuffle_ps(high01, high23, _MM_SHUFFLE(3, 2, 3, 2));
}
WORD void vec_load_rows4(const float *from, const ptrdiff_t *rows, vec out[4])
{
    for (int w = 0; w < 4; w++) {
        out[w] = _mm256_castps128_ps256(_mm_loadu_ps(from + rows[w]));
        out[w] = _mm256_insertf128_ps(out[w], _mm_loadu_ps(from + rows[w + 4]), 1);
    }
    transpose_blocks(out);
}
WORD void vec_store_rows4(float *to, const ptrdiff_t *rows, const vec in[4])
{
    vec row[4] = {in[0], in[1], in[2], in[3]};
    transpose_blocks(row);
    for (int w = 0; w < 4; w++) {
        _mm_storeu_ps(to + rows[w], LOW_HALF(row[w]));
        _mm_storeu_ps(to + rows[w + 4], HIGH_HALF(row[w]));
    }
}

/* -- Arithmetic. -- */

WORD vec vec_set(float a) { return _mm256_set1_ps(a); }
WORD vec vec_add(vec a, vec b) { return _mm256_add_ps(a, b); }
WORD vec vec_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
WORD vec vec_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
WORD vec vec_div(vec a, vec b) { return _mm256_div_ps(a, b); }
WORD vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
WORD vec vec_max(vec a, vec b) { return _mm256_max_ps(a, b); }
WORD vec vec_min(vec a, vec b) { return _mm256_min_ps(a, b); }
WORD vec vec_larger(vec a, vec b) { return vec_max(a, b); }
WORD int vec_larger_lost(vec a) { (void)a; return 0; }

/* -- Bits. -- */

WORD veci vec_bits(vec a) { return _mm256_castps_si256(a); }
WORD vec vec_from_bits(veci a) { return _mm256_castsi256_ps(a); }
WORD vec vec_abs(vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
WORD vec vec_negate(vec a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
WORD vec vec_copy_sign(vec a, vec b)
{
    vec sign = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b));
}
WORD veci veci_set(int32_t a) { return _mm256_set1_epi32(a); }
WORD veci veci_add(veci a, veci b) { return _mm256_add_epi32(a, b); }
WORD veci veci_sub(veci a, veci b) { return _mm256_sub_epi32(a, b); }
WORD veci veci_and(veci a, veci b) { return _mm256_and_si256(a, b); }
WORD veci veci_shift_left(veci a, const int n) { return _mm256_slli_epi32(a, n); }
WORD veci veci_shift_right(veci a, const int n) { return _mm256_srai_epi32(a, n); }
WORD vec vec_from_int(veci a) { return _mm256_cvtepi32_ps(a); }
WORD wide wide_from_int(veci a)
{
    return (wide){_mm256_cvtepi32_pd(_mm256_castsi256_si128(a)),
                  _mm256_cvtepi32_pd(_mm256_extracti128_si256(a, 1))};
}

/* -- Truth values. -- */

WORD mask vec_equal(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
WORD mask vec_less(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
WORD mask mask_and(mask a, mask b) { return _mm256_and_ps(a, b); }
WORD mask mask_or(mask a, mask b) { return _mm256_or_ps(a, b); }
WORD int mask_any(mask m) { return _mm256_movemask_ps(m) != 0; }
WORD vec vec_select(mask m, vec yes, vec no) { return _mm256_blendv_ps(no, yes, m); }
WORD vec vec_zero_where(mask m, vec a) { return _mm256_andnot_ps(m, a); }
WORD veci veci_count(veci a, mask m) { return _mm256_sub_epi32(a, _mm256_castps_si256(m)); }
WORD wide wide_select(mask m, wide yes, wide no)
{
    __m256i low = _mm256_cvtepi32_epi64(_mm_castps_si128(LOW_HALF(m)));
    __m256i high = _mm256_cvtepi32_epi64(_mm_castps_si128(HIGH_HALF(m)));
    return (wide){_mm256_blendv_pd(no.low, yes.low, _mm256_castsi256_pd(low)),
                  _mm256_blendv_pd(no.high, yes.high, _mm256_castsi256_pd(high))};
}

/* -- A table of eight pairs. -- */

typedef struct { __m256 high, low; } table8;
WORD table8 table8_load(const float pairs[8][2])
{
    __m256 pairs0123 = _mm256_loadu_ps(pairs[0]), pairs4567 = _mm256_loadu_ps(pairs[4]);
    /* Entries 0 1 4 5 | 2 3 6 7: in order once the middle quarters change places. */
    __m256d high = _mm256_castps_pd(_mm256_shuffle_ps(pairs0123, pairs4567, _MM_SHUFFLE(2, 0, 2, 0)));
    __m256d low = _mm256_castps_pd(_mm256_shuffle_ps(pairs0123, pairs4567, _MM_SHUFFLE(3, 1, 3, 1)));
    return (table8){_mm256_castpd_ps(_mm256_permute4x64_pd(high, _MM_SHUFFLE(3, 1, 2, 0))),
                    _mm256_castpd_ps(_mm256_permute4x64_pd(low, _MM_SHUFFLE(3, 1, 2, 0)))};
}
WORD void table8_look_up(const table8 *t, veci index, vec *high, vec *low)
{
    *high = _mm256_permutevar8x32_ps(t->high, index); /* heeds three bits of an index */
    *low = _mm256_permutevar8x32_ps(t->low, index);
}

/* -- Doubles. -- */

WORD wide wide_set(double a) { return (wide){_mm256_set1_pd(a), _mm256_set1_pd(a)}; }
WORD wide wide_from_vec(vec a) { return (wide){_mm256_cvtps_pd(LOW_HALF(a)), _mm256_cvtps_pd(HIGH_HALF(a))}; }
WORD vec vec_from_wide(wide a) { return _mm256_set_m128(_mm256_cvtpd_ps(a.high), _mm256_cvtpd_ps(a.low)); }
WORD wide wide_add(wide a, wide b) { return (wide){_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)}; }
WORD wide wide_sub(wide a, wide b) { return (wide){_mm256_sub_pd(a.low, b.low), _mm256_sub_pd(a.high, b.high)}; }
WORD wide wide_mul(wide a, wide b) { return (wide){_mm256_mul_pd(a.low, b.low), _mm256_mul_pd(a.high, b.high)}; }
WORD wide wide_div(wide a, wide b) { return (wide){_mm256_div_pd(a.low, b.low), _mm256_div_pd(a.high, b.high)}; }
WORD wide wide_fma(wide a, wide b, wide c)
{
    return (wide){_mm256_fmadd_pd(a.low, b.low, c.low), _mm256_fmadd_pd(a.high, b.high, c.high)};
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
    return vec_from_bits(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}
WORD veci round_upper(veci bits)
{
    veci odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
}
WORD void vec_store2_bf16(uint16_t *p, vec a, vec b)
{
    veci low = _mm256_srli_epi32(round_upper(vec_bits(a)), 16), high = _mm256_srli_epi32(round_upper(vec_bits(b)), 16);
    /* Packing goes by halves: low, high, low, high. */
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), _MM_SHUFFLE(3, 1, 2, 0)));
}
WORD void vec_store_bf16(uint16_t *p, vec a)
{
    veci quiet = _mm256_or_si256(vec_bits(a), _mm256_set1_epi32(0x400000));
    mask is_nan = _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
    vec result = vec_select(is_nan, vec_from_bits(quiet), vec_from_bits(round_upper(vec_bits(a))));
    veci upper = _mm256_srli_epi32(vec_bits(result), 16);
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1)));
}
#ifdef __F16C__
WORD vec vec_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
WORD void vec_store_f16(uint16_t *p, vec a)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
#else
WORD vec vec_load_f16(const uint16_t *p)
{
    float lanes[VEC_WIDTH];
    for (int w = 0; w < VEC_WIDTH; w++) lanes[w] = half_from_f16(p[w]);
    return vec_load(lanes);
}
WORD void vec_store_f16(uint16_t *p, vec a)
{
    float lanes[VEC_WIDTH];
    vec_store(lanes, a);
    for (int w = 0; w < VEC_WIDTH; w++) p[w] = half_to_f16(lanes[w]);
}
#endif

/* -- Reductions. -- */

WORD float vec_reduce_max(vec a)
{
    __m128 top = _mm_max_ps(LOW_HALF(a), HIGH_HALF(a));
    top = _mm_max_ps(top, _mm_movehl_ps(top, top));
    return _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
}
WORD int32_t veci_reduce_add(veci a)
{
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 1)));
}

WORD fold8 fold8_lanes(const vec lanes[32 / VEC_WIDTH])
{
    wide sum = wide_add(wide_add(wide_from_vec(lanes[0]), wide_from_vec(lanes[2])),
                        wide_add(wide_from_vec(lanes[1]), wide_from_vec(lanes[3])));
    return (fold8){sum.low, sum.high};
}
WORD fold8 fold8_zero(void) { return (fold8){_mm256_setzero_pd(), _mm256_setzero_pd()}; }
WORD fold8 fold8_add(fold8 a, fold8 b)
{
    return (fold8){_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)};
}
WORD total fold8_total(fold8 a)
{
    __m256d sum04_15_26_37 = _mm256_add_pd(a.low, a.high);
    __m128d even_odd = _mm_add_pd(_mm256_castpd256_pd128(sum04_15_26_37),
                                  _mm256_extractf128_pd(sum04_15_26_37, 1));
    return _mm_cvtsd_f64(even_odd) + _mm_cvtsd_f64(_mm_unpackhi_pd(even_odd, even_odd));
}
/* Of rows 0 and 2, the sums of what is even and odd side by side. */
WORD __m256d fold_even_odd(const fold8 *rows)
{
    __m256d four0 = _mm256_add_pd(rows[0].low, rows[0].high), four2 = _mm256_add_pd(rows[2].low, rows[2].high);
    return _mm256_add_pd(_mm256_permute2f128_pd(four0, four2, 0x20), _mm256_permute2f128_pd(four0, four2, 0x31));
}
WORD __m256d fold_rows(const fold8 *rows)
{
    __m256d even = fold_even_odd(rows), odd = fold_even_odd(rows + 1);
    return _mm256_add_pd(_mm256_unpacklo_pd(even, odd), _mm256_unpackhi_pd(even, odd));
}
WORD wide fold8_totals(const fold8 rows[VEC_WIDTH]) { return (wide){fold_rows(rows), fold_rows(rows + 4)}; }

#undef LOW_HALF
#undef HIGH_HALF

#endif
