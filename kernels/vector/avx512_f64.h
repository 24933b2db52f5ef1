/* The vocabulary for doubles on AVX-512 (F, VL, BW, DQ), eight lanes wide; what the words mean
 * stands in scalar.h and scalar_f64.h, and how AVX-512 is to live with in avx512.h. vpermpd heeds
 * three bits of an index, just what a table asks for.
 */
#ifndef XENT_KERNELS_VECTOR_AVX512_F64_H
#define XENT_KERNELS_VECTOR_AVX512_F64_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define VEC_WIDTH 8
#define VEC_FUSED 1
#define WORD static inline __attribute__((always_inline, unused))

typedef double real;
typedef __m512d vec;
typedef __m512i veci;
typedef __mmask8 mask;

/* -- Memory. -- */

WORD vec vec_load(const double *p) { return _mm512_loadu_pd(p); }
WORD void vec_store(double *p, vec a) { _mm512_storeu_pd(p, a); }
WORD void vec_stream(double *p, vec a) { _mm512_stream_pd(p, a); }
WORD void stream_end(void) { _mm_sfence(); }
WORD mask mask_first(size_t n) { return (mask)((1u << n) - 1); }
WORD vec vec_load_partial(const double *p, size_t n, vec fill) { return _mm512_mask_loadu_pd(fill, mask_first(n), p); }
WORD void vec_store_partial(double *p, vec a, size_t n) { _mm512_mask_storeu_pd(p, mask_first(n), a); }

WORD vec load_halves(const double *low, const double *high)
{
    return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd(low)), _mm256_loadu_pd(high), 1);
}
/* Of two rows, elements 0 and 2 or 1 and 3 side by side; quarters then make whole columns. */
WORD void vec_load_rows4(const double *from, const ptrdiff_t *rows, vec out[4])
{
    vec rows02 = load_halves(from + rows[0], from + rows[2]);
    vec rows13 = load_halves(from + rows[1], from + rows[3]);
    vec rows46 = load_halves(from + rows[4], from + rows[6]);
    vec rows57 = load_halves(from + rows[5], from + rows[7]);
    vec even0123 = _mm512_unpacklo_pd(rows02, rows13), odd0123 = _mm512_unpackhi_pd(rows02, rows13);
    vec even4567 = _mm512_unpacklo_pd(rows46, rows57), odd4567 = _mm512_unpackhi_pd(rows46, rows57);
    out[0] = _mm512_shuffle_f64x2(even0123, even4567, _MM_SHUFFLE(2, 0, 2, 0));
    out[1] = _mm512_shuffle_f64x2(odd0123, odd4567, _MM_SHUFFLE(2, 0, 2, 0));
    out[2] = _mm512_shuffle_f64x2(even0123, even4567, _MM_SHUFFLE(3, 1, 3, 1));
    out[3] = _mm512_shuffle_f64x2(odd0123, odd4567, _MM_SHUFFLE(3, 1, 3, 1));
}
WORD void store_halves(double *low, double *high, vec a)
{
    _mm256_storeu_pd(low, _mm512_castpd512_pd256(a));
    _mm256_storeu_pd(high, _mm512_extractf64x4_pd(a, 1));
}
WORD void vec_store_rows4(double *to, const ptrdiff_t *rows, const vec in[4])
{
    /* Of rows 0 2 4 6, or 1 3 5 7: their columns 0 and 1, and 2 and 3. */
    vec even01 = _mm512_unpacklo_pd(in[0], in[1]), odd01 = _mm512_unpackhi_pd(in[0], in[1]);
    vec even23 = _mm512_unpacklo_pd(in[2], in[3]), odd23 = _mm512_unpackhi_pd(in[2], in[3]);
    veci first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    veci last = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    store_halves(to + rows[0], to + rows[2], _mm512_permutex2var_pd(even01, first, even23));
    store_halves(to + rows[1], to + rows[3], _mm512_permutex2var_pd(odd01, first, odd23));
    store_halves(to + rows[4], to + rows[6], _mm512_permutex2var_pd(even01, last, even23));
    store_halves(to + rows[5], to + rows[7], _mm512_permutex2var_pd(odd01, last, odd23));
}

WORD vec vec_load_f32(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
WORD void vec_store_f32(float *p, vec a) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(a)); }

/* -- Arithmetic. -- */

WORD vec vec_set(double a) { return _mm512_set1_pd(a); }
WORD vec vec_add(vec a, vec b) { return _mm512_add_pd(a, b); }
WORD vec vec_sub(vec a, vec b) { return _mm512_sub_pd(a, b); }
WORD vec vec_mul(vec a, vec b) { return _mm512_mul_pd(a, b); }
WORD vec vec_div(vec a, vec b) { return _mm512_div_pd(a, b); }
WORD vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_pd(a, b, c); }
WORD vec vec_max(vec a, vec b) { return _mm512_max_pd(a, b); }
WORD vec vec_min(vec a, vec b) { return _mm512_min_pd(a, b); }
WORD vec vec_larger(vec a, vec b) { return vec_max(a, b); }
WORD int vec_larger_lost(vec a) { (void)a; return 0; }

/* -- Bits. -- */

WORD veci vec_bits(vec a) { return _mm512_castpd_si512(a); }
WORD vec vec_from_bits(veci a) { return _mm512_castsi512_pd(a); }
WORD vec vec_abs(vec a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
WORD vec vec_negate(vec a) { return _mm512_xor_pd(a, _mm512_set1_pd(-0.0)); }
WORD vec vec_copy_sign(vec a, vec b)
{
    veci sign = _mm512_set1_epi64(INT64_MIN);
    /* 0xca: where the first has a one, the second's bit, elsewhere the third's. */
    return vec_from_bits(_mm512_ternarylogic_epi64(sign, vec_bits(b), vec_bits(a), 0xca));
}
WORD veci veci_set(int64_t a) { return _mm512_set1_epi64(a); }
WORD veci veci_add(veci a, veci b) { return _mm512_add_epi64(a, b); }
WORD veci veci_sub(veci a, veci b) { return _mm512_sub_epi64(a, b); }
WORD veci veci_and(veci a, veci b) { return _mm512_and_si512(a, b); }
WORD veci veci_shift_left(veci a, const int n) { return _mm512_slli_epi64(a, (unsigned)n); }
WORD veci veci_shift_right(veci a, const int n) { return _mm512_srai_epi64(a, (unsigned)n); }
WORD vec vec_from_int(veci a) { return _mm512_cvtepi64_pd(a); }

/* -- Truth values. -- */

WORD mask vec_equal(vec a, vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
WORD mask vec_less(vec a, vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
WORD mask mask_and(mask a, mask b) { return (mask)(a & b); }
WORD mask mask_or(mask a, mask b) { return (mask)(a | b); }
WORD int mask_any(mask m) { return m != 0; }
WORD vec vec_select(mask m, vec yes, vec no) { return _mm512_mask_blend_pd(m, no, yes); }
WORD vec vec_zero_where(mask m, vec a) { return _mm512_maskz_mov_pd((mask)~m, a); }
WORD veci veci_count(veci a, mask m) { return _mm512_mask_add_epi64(a, m, a, _mm512_set1_epi64(1)); }

/* -- A table of eight pairs. -- */

typedef struct { __m512d high, low; } table8;
WORD table8 table8_load(const double pairs[8][2])
{
    veci even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
    vec pairs0123 = _mm512_loadu_pd(pairs[0]), pairs4567 = _mm512_loadu_pd(pairs[4]);
    return (table8){_mm512_permutex2var_pd(pairs0123, even, pairs4567),
                    _mm512_permutex2var_pd(pairs0123, odd, pairs4567)};
}
WORD void table8_look_up(const table8 *t, veci index, vec *high, vec *low)
{
    *high = _mm512_permutexvar_pd(index, t->high);
    *low = _mm512_permutexvar_pd(index, t->low);
}

/* -- Reductions. -- */

/* Lane i is lane i + n of a, what comes after the last the first. */
WORD vec vec_lanes_down(vec a, const int n)
{
    return _mm512_castsi512_pd(n == 4   ? _mm512_alignr_epi64(vec_bits(a), vec_bits(a), 4)
                               : n == 2 ? _mm512_alignr_epi64(vec_bits(a), vec_bits(a), 2)
                                        : _mm512_alignr_epi64(vec_bits(a), vec_bits(a), 1));
}
WORD double vec_reduce_max(vec a) { return _mm512_reduce_max_pd(a); }
/* Not _mm512_reduce_add_epi64: GCC 12's ends in an addition of long long, whose overflow is undefined. */
WORD int64_t veci_reduce_add(veci a)
{
    __m256i four = _mm256_add_epi64(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    return _mm_cvtsi128_si64(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two)));
}

#include "pair.h"

#endif
