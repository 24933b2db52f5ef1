/* The vocabulary on AVX-512 (F, VL, BW, DQ), sixteen lanes wide; what the words mean stands in
 * scalar.h.
 *
 * Masks are bits in a register of their own, and a masked-off lane neither faults nor is
 * written. vmaxps and vminps return their second operand on NaN and on zeros, as the words
 * ask. vpermps heeds four bits of an index, so a table holds its eight entries twice.
 */
#ifndef XENT_KERNELS_VECTOR_AVX512_H
#define XENT_KERNELS_VECTOR_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define VEC_WIDTH 16
#define VEC_FUSED 1
#define WORD static inline __attribute__((always_inline, unused))

typedef float real;
typedef __m512 vec;
typedef __m512i veci;
typedef struct { __m512d low, high; } wide;
typedef __mmask16 mask;
typedef struct { __m512d sum; } fold8;
typedef double total; /* sum of a row */

#define LOW_HALF(a) _mm512_castps512_ps256(a)
#define HIGH_HALF(a) _mm512_extractf32x8_ps(a, 1)

/* -- Memory. -- */

WORD vec vec_load(const float *p) { return _mm512_loadu_ps(p); }
WORD void vec_store(float *p, vec a) { _mm512_storeu_ps(p, a); }
WORD void vec_stream(float *p, vec a) { _mm512_stream_ps(p, a); }
WORD void stream_end(void) { _mm_sfence(); }
WORD mask mask_first(size_t n) { return (mask)((1u << n) - 1); }
WORD vec vec_load_partial(const float *p, size_t n, vec fill) { return _mm512_mask_loadu_ps(fill, mask_first(n), p); }
WORD void vec_store_partial(float *p, vec a, size_t n) { _mm512_mask_storeu_ps(p, mask_first(n), a); }
WORD wide wide_load(const double *p) { return (wide){_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)}; }
WORD void wide_store(double *p, wide a)
{
    _mm512_storeu_pd(p, a.low);
    _mm512_storeu_pd(p + 8, a.high);
}

/* Transposes the four blocks of 4 x 4: rows 0 ... 3 in the lowest quarters, and so on. */
WORD void transpose_blocks(vec row[4])
{
    vec low01 = _mm512_unpacklo_ps(row[0], row[1]), high01 = _mm512_unpackhi_ps(row[0], row[1]);
    vec low23 = _mm512_unpacklo_ps(row[2], row[3]), high23 = _mm512_unpackhi_ps(row[2], row[3]);
    row[0] = _mm512_shuffle_ps(low01, low23, _MM_SHUFFLE(1, 0, 1, 0));
    row[1] = _mm512_shuffle_ps(low01, low23, _MM_SHUFFLE(3, 2, 3, 2));
    row[2] = _mm512_shuffle_ps(high01, high23, _MM_SHUFFLE(1, 0, 1, 0));
    row[3] = _mm512_shuffle_ps(high01, high23, _MM_SHUFFLE(3, 2, 3, 2));
}
WORD __m256 load_quarters(const float *low, const float *high)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
}
WORD void vec_load_rows4(const float *from, const ptrdiff_t *rows, vec out[4])
{
    for (int w = 0; w < 4; w++) {
        __m256 low = load_quarters(from + rows[w], from + rows[w + 4]);
        __m256 high = load_quarters(from + rows[w + 8], from + rows[w + 12]);
        out[w] = _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
    }
    transpose_blocks(out);
}
WORD void vec_store_rows4(float *to, const ptrdiff_t *rows, const vec in[4])
{
    vec row[4] = {in[0], in[1], in[2], in[3]};
    transpose_blocks(row);
    for (int w = 0; w < 4; w++) {
        _mm_storeu_ps(to + rows[w], _mm512_castps512_ps128(row[w]));
        _mm_storeu_ps(to + rows[w + 4], _mm512_extractf32x4_ps(row[w], 1));
        _mm_storeu_ps(to + rows[w + 8], _mm512_extractf32x4_ps(row[w], 2));
        _mm_storeu_ps(to + rows[w + 12], _mm512_extractf32x4_ps(row[w], 3));
    }
}

/* -- Arithmetic. -- */

WORD vec vec_set(float a) { return _mm512_set1_ps(a); }
WORD vec vec_add(vec a, vec b) { return _mm512_add_ps(a, b); }
WORD vec vec_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
WORD vec vec_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
WORD vec vec_div(vec a, vec b) { return _mm512_div_ps(a, b); }
WORD vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
WORD vec vec_max(vec a, vec b) { return _mm512_max_ps(a, b); }
WORD vec vec_min(vec a, vec b) { return _mm512_min_ps(a, b); }
WORD vec vec_larger(vec a, vec b) { return vec_max(a, b); }
WORD int vec_larger_lost(vec a) { (void)a; return 0; }

/* -- Bits. -- */

WORD veci vec_bits(vec a) { return _mm512_castps_si512(a); }
WORD vec vec_from_bits(veci a) { return _mm512_castsi512_ps(a); }
WORD vec vec_abs(vec a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
WORD vec vec_negate(vec a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
WORD vec vec_copy_sign(vec a, vec b)
{
    veci sign = _mm512_set1_epi32(INT32_MIN);
    /* 0xca: where the first has a one, the second's bit, elsewhere the third's. */
    return vec_from_bits(_mm512_ternarylogic_epi32(sign, vec_bits(b), vec_bits(a), 0xca));
}
WORD veci veci_set(int32_t a) { return _mm512_set1_epi32(a); }
WORD veci veci_add(veci a, veci b) { return _mm512_add_epi32(a, b); }
WORD veci veci_sub(veci a, veci b) { return _mm512_sub_epi32(a, b); }
WORD veci veci_and(veci a, veci b) { return _mm512_and_si512(a, b); }
WORD veci veci_shift_left(veci a, const int n) { return _mm512_slli_epi32(a, (unsigned)n); }
WORD veci veci_shift_right(veci a, const int n) { return _mm512_srai_epi32(a, (unsigned)n); }
WORD vec vec_from_int(veci a) { return _mm512_cvtepi32_ps(a); }
WORD wide wide_from_int(veci a)
{
    return (wide){_mm512_cvtepi32_pd(_mm512_castsi512_si256(a)),
                  _mm512_cvtepi32_pd(_mm512_extracti32x8_epi32(a, 1))};
}

/* -- Truth values. -- */

WORD mask vec_equal(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
WORD mask vec_less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
WORD mask mask_and(mask a, mask b) { return (mask)(a & b); }
WORD mask mask_or(mask a, mask b) { return (mask)(a | b); }
WORD int mask_any(mask m) { return m != 0; }
WORD vec vec_select(mask m, vec yes, vec no) { return _mm512_mask_blend_ps(m, no, yes); }
WORD vec vec_zero_where(mask m, vec a) { return _mm512_maskz_mov_ps((mask)~m, a); }
WORD veci veci_count(veci a, mask m) { return _mm512_mask_add_epi32(a, m, a, _mm512_set1_epi32(1)); }
WORD wide wide_select(mask m, wide yes, wide no)
{
    return (wide){_mm512_mask_blend_pd((__mmask8)(m & 0xff), no.low, yes.low),
                  _mm512_mask_blend_pd((__mmask8)(m >> 8), no.high, yes.high)};
}

/* -- A table of eight pairs. -- */

typedef struct { __m512 high, low; } table8;
WORD table8 table8_load(const float pairs[8][2])
{
    veci even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
    veci odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    vec all = _mm512_loadu_ps(pairs);
    return (table8){_mm512_permutexvar_ps(even, all), _mm512_permutexvar_ps(odd, all)};
}
WORD void table8_look_up(const table8 *t, veci index, vec *high, vec *low)
{
    *high = _mm512_permutexvar_ps(index, t->high);
    *low = _mm512_permutexvar_ps(index, t->low);
}

/* -- Doubles. -- */

WORD wide wide_set(double a) { return (wide){_mm512_set1_pd(a), _mm512_set1_pd(a)}; }
WORD wide wide_from_vec(vec a) { return (wide){_mm512_cvtps_pd(LOW_HALF(a)), _mm512_cvtps_pd(HIGH_HALF(a))}; }
WORD vec vec_from_wide(wide a)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(a.low)), _mm512_cvtpd_ps(a.high), 1);
}
WORD wide wide_add(wide a, wide b) { return (wide){_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)}; }
WORD wide wide_sub(wide a, wide b) { return (wide){_mm512_sub_pd(a.low, b.low), _mm512_sub_pd(a.high, b.high)}; }
WORD wide wide_mul(wide a, wide b) { return (wide){_mm512_mul_pd(a.low, b.low), _mm512_mul_pd(a.high, b.high)}; }
WORD wide wide_div(wide a, wide b) { return (wide){_mm512_div_pd(a.low, b.low), _mm512_div_pd(a.high, b.high)}; }
WORD wide wide_fma(wide a, wide b, wide c)
{
    return (wide){_mm512_fmadd_pd(a.low, b.low, c.low), _mm512_fmadd_pd(a.high, b.high, c.high)};
}

/* -- Storage. -- */

WORD wide wide_load_total(const total *p) { return wide_load(p); }
WORD void wide_store_total(total *p, wide a) { wide_store(p, a); }
WORD vec vec_load_double(const double *p) { return vec_from_wide(wide_load(p)); }
WORD void vec_store_double(double *p, vec a) { wide_store(p, wide_from_vec(a)); }
WORD vec vec_load_f32(const float *p) { return vec_load(p); }
WORD void vec_store_f32(float *p, vec a) { vec_store(p, a); }

/* Rounded as integers: vcvtneps2bf16 (AVX512_BF16) would flush subnormal numbers. */
WORD vec vec_load_bf16(const uint16_t *p)
{
    /* Elements 0, 1, ... of 16 bits to the upper halves, by one permutation. */
    veci upper = _mm512_slli_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 16);
    veci elements = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)p));
    return vec_from_bits(_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, upper, elements));
}
WORD void vec_store_bf16(uint16_t *p, vec a)
{
    mask is_nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    veci odd = _mm512_and_si512(_mm512_srli_epi32(vec_bits(a), 16), _mm512_set1_epi32(1));
    veci rounded = _mm512_add_epi32(_mm512_add_epi32(vec_bits(a), _mm512_set1_epi32(0x7fff)), odd);
    veci result = _mm512_mask_or_epi32(rounded, is_nan, vec_bits(a), _mm512_set1_epi32(0x400000));
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(result, 16)));
}
WORD void vec_store2_bf16(uint16_t *p, vec a, vec b)
{
    /* Upper and lower halves of both, elements 1, 3, 5 ... and 0, 2, 4 ... of 16 bits. Up is where the lower half is more than a
     * half, or a half beside an odd upper one. */
    veci lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), one = _mm512_set1_epi16(1);
    veci even = _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(0x40004)), _mm512_set1_epi32(0x20000));
    veci upper = _mm512_permutex2var_epi16(vec_bits(a), _mm512_add_epi16(even, one), vec_bits(b));
    veci lower = _mm512_permutex2var_epi16(vec_bits(a), even, vec_bits(b));
    __mmask32 up = _mm512_cmpgt_epu16_mask(_mm512_adds_epu16(lower, _mm512_and_si512(upper, one)), _mm512_set1_epi16((short)0x8000));
    _mm512_storeu_si512(p, _mm512_mask_add_epi16(upper, up, upper, one));
}
WORD vec vec_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
WORD void vec_store_f16(uint16_t *p, vec a)
{
    /* All lanes; without a mask GCC 12 warns of its own macro. */
    __m256i halves = _mm512_maskz_cvtps_ph(0xffff, a, _MM_FROUND_TO_NEAREST_INT);
    _mm256_storeu_si256((__m256i *)p, halves);
}

/* -- Reductions. -- */

WORD float vec_reduce_max(vec a) { return _mm512_reduce_max_ps(a); }
/* Not _mm512_reduce_add_epi32: GCC 12's ends in an addition of int, whose overflow is undefined. */
WORD int32_t veci_reduce_add(veci a)
{
    __m256i eight = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti32x8_epi32(a, 1));
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 1)));
}

WORD fold8 fold8_lanes(const vec lanes[32 / VEC_WIDTH])
{
    wide sum = wide_add(wide_from_vec(lanes[0]), wide_from_vec(lanes[1]));
    return (fold8){_mm512_add_pd(sum.low, sum.high)};
}
WORD fold8 fold8_zero(void) { return (fold8){_mm512_setzero_pd()}; }
WORD fold8 fold8_add(fold8 a, fold8 b) { return (fold8){_mm512_add_pd(a.sum, b.sum)}; }
WORD total fold8_total(fold8 a)
{
    __m256d sum04_15_26_37 = _mm256_add_pd(_mm512_castpd512_pd256(a.sum), _mm512_extractf64x4_pd(a.sum, 1));
    __m128d even_odd = _mm_add_pd(_mm256_castpd256_pd128(sum04_15_26_37),
                                  _mm256_extractf128_pd(sum04_15_26_37, 1));
    return _mm_cvtsd_f64(even_odd) + _mm_cvtsd_f64(_mm_unpackhi_pd(even_odd, even_odd));
}
/* Of rows 0 2 4 6, the sums of what is even and odd side by side. */
WORD __m512d fold_even_odd(const fold8 *rows)
{
    __m512d low02 = _mm512_shuffle_f64x2(rows[0].sum, rows[2].sum, _MM_SHUFFLE(1, 0, 1, 0));
    __m512d high02 = _mm512_shuffle_f64x2(rows[0].sum, rows[2].sum, _MM_SHUFFLE(3, 2, 3, 2));
    __m512d low46 = _mm512_shuffle_f64x2(rows[4].sum, rows[6].sum, _MM_SHUFFLE(1, 0, 1, 0));
    __m512d high46 = _mm512_shuffle_f64x2(rows[4].sum, rows[6].sum, _MM_SHUFFLE(3, 2, 3, 2));
    __m512d four02 = _mm512_add_pd(low02, high02), four46 = _mm512_add_pd(low46, high46);
    return _mm512_add_pd(_mm512_shuffle_f64x2(four02, four46, _MM_SHUFFLE(2, 0, 2, 0)),
                         _mm512_shuffle_f64x2(four02, four46, _MM_SHUFFLE(3, 1, 3, 1)));
}
WORD __m512d fold_rows(const fold8 *rows)
{
    __m512d even = fold_even_odd(rows), odd = fold_even_odd(rows + 1);
    return _mm512_add_pd(_mm512_unpacklo_pd(even, odd), _mm512_unpackhi_pd(even, odd));
}
WORD wide fold8_totals(const fold8 rows[VEC_WIDTH]) { return (wide){fold_rows(rows), fold_rows(rows + 8)}; }

#undef LOW_HALF
#undef HIGH_HALF

#endif
