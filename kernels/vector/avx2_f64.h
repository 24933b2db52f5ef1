/* The vocabulary for doubles on AVX2 and FMA, four lanes wide; what the words mean stands in
 * scalar.h and scalar_f64.h, and how AVX2 is to live with in avx2.h. There is no arithmetic shift
 * of 64 bits, no conversion of integers of 64 bits, and no permute of doubles by a vector: a
 * table is looked up with vpermps, in halves of doubles.
 */
#ifndef XENT_KERNELS_VECTOR_AVX2_F64_H
#define XENT_KERNELS_VECTOR_AVX2_F64_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define VEC_WIDTH 4
#define VEC_FUSED 1
#define WORD static inline __attribute__((always_inline, unused))

typedef double real;
typedef __m256d vec;
typedef __m256i veci;
typedef __m256d mask;

#define LOW_HALF(a) _mm256_castpd256_pd128(a)
#define HIGH_HALF(a) _mm256_extractf128_pd(a, 1)

/* -- Memory. -- */

WORD vec vec_load(const double *p) { return _mm256_loadu_pd(p); }
WORD void vec_store(double *p, vec a) { _mm256_storeu_pd(p, a); }
WORD void vec_stream(double *p, vec a) { _mm256_stream_pd(p, a); }
WORD void stream_end(void) { _mm_sfence(); }
WORD vec vec_load_partial(const double *p, size_t n, vec fill)
{
    veci first_n = _mm256_cmpgt_epi64(_mm256_set1_epi64x((int64_t)n), _mm256_setr_epi64x(0, 1, 2, 3));
    return _mm256_blendv_pd(fill, _mm256_maskload_pd(p, first_n), _mm256_castsi256_pd(first_n));
}
WORD void vec_store_partial(double *p, vec a, size_t n)
{
    if (n == 4) {
        _mm256_storeu_pd(p, a);
        return;
    }
    __m128d rest = LOW_HALF(a);
    if (n & 2) {
        _mm_storeu_pd(p, rest);
        rest = HIGH_HALF(a);
        p += 2;
    }
    if (n & 1) _mm_store_sd(p, rest);
}

WORD __m256d load_halves(const double *low, const double *high)
{
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(low)), _mm_loadu_pd(high), 1);
}
/* Halves of rows 0 and 2, and of rows 1 and 3, interleave to columns. */
WORD void vec_load_rows4(const double *from, const ptrdiff_t *rows, vec out[4])
{
    for (int c = 0; c < 4; c += 2) {
        vec rows02 = load_halves(from + rows[0] + c, from + rows[2] + c);
        vec rows13 = load_halves(from + rows[1] + c, from + rows[3] + c);
        out[c] = _mm256_unpacklo_pd(rows02, rows13);
        out[c + 1] = _mm256_unpackhi_pd(rows02, rows13);
    }
}
WORD void vec_store_rows4(double *to, const ptrdiff_t *rows, const vec in[4])
{
    for (int c = 0; c < 4; c += 2) {
        vec rows02 = _mm256_unpacklo_pd(in[c], in[c + 1]), rows13 = _mm256_unpackhi_pd(in[c], in[c + 1]);
        _mm_storeu_pd(to + rows[0] + c, LOW_HALF(rows02));
        _mm_storeu_pd(to + rows[1] + c, LOW_HALF(rows13));
        _mm_storeu_pd(to + rows[2] + c, HIGH_HALF(rows02));
        _mm_storeu_pd(to + rows[3] + c, HIGH_HALF(rows13));
    }
}

WORD vec vec_load_f32(const float *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
WORD void vec_store_f32(float *p, vec a)
{
    /* In a register: a conversion from memory names no wide one, and a function of nothing else would return without
     * vzeroupper, though Intel's CPUs count the upper halves as in use. */
    __asm__("" : "+x"(a));
    _mm_storeu_ps(p, _mm256_cvtpd_ps(a));
}

/* -- Arithmetic. -- */

WORD vec vec_set(double a) { return _mm256_set1_pd(a); }
WORD vec vec_add(vec a, vec b) { return _mm256_add_pd(a, b); }
WORD vec vec_sub(vec a, vec b) { return _mm256_sub_pd(a, b); }
WORD vec vec_mul(vec a, vec b) { return _mm256_mul_pd(a, b); }
WORD vec vec_div(vec a, vec b) { return _mm256_div_pd(a, b); }
WORD vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_pd(a, b, c); }
WORD vec vec_max(vec a, vec b) { return _mm256_max_pd(a, b); }
WORD vec vec_min(vec a, vec b) { return _mm256_min_pd(a, b); }
WORD vec vec_larger(vec a, vec b) { return vec_max(a, b); }
WORD int vec_larger_lost(vec a) { (void)a; return 0; }

/* -- Bits. -- */

WORD veci vec_bits(vec a) { return _mm256_castpd_si256(a); }
WORD vec vec_from_bits(veci a) { return _mm256_castsi256_pd(a); }
WORD vec vec_abs(vec a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
WORD vec vec_negate(vec a) { return _mm256_xor_pd(a, _mm256_set1_pd(-0.0)); }
WORD vec vec_copy_sign(vec a, vec b)
{
    vec sign = _mm256_set1_pd(-0.0);
    return _mm256_or_pd(_mm256_andnot_pd(sign, a), _mm256_and_pd(sign, b));
}
WORD veci veci_set(int64_t a) { return _mm256_set1_epi64x(a); }
WORD veci veci_add(veci a, veci b) { return _mm256_add_epi64(a, b); }
WORD veci veci_sub(veci a, veci b) { return _mm256_sub_epi64(a, b); }
WORD veci veci_and(veci a, veci b) { return _mm256_and_si256(a, b); }
WORD veci veci_shift_left(veci a, const int n) { return _mm256_slli_epi64(a, n); }
/* Of a + 2^63, which has no sign; the 2^63 comes down as well, and off again. */
WORD veci veci_shift_right(veci a, const int n)
{
    veci least = _mm256_set1_epi64x(INT64_MIN);
    return _mm256_sub_epi64(_mm256_srli_epi64(_mm256_xor_si256(a, least), n), _mm256_srli_epi64(least, n));
}
/* In the low bits of 1.5 * 2^52, whose last place is 1. */
WORD vec vec_from_int(veci a)
{
    vec magic = _mm256_set1_pd(0x1.8p+52);
    return _mm256_sub_pd(_mm256_castsi256_pd(_mm256_add_epi64(a, _mm256_castpd_si256(magic))), magic);
}

/* -- Truth values. -- */

WORD mask vec_equal(vec a, vec b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
WORD mask vec_less(vec a, vec b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
WORD mask mask_and(mask a, mask b) { return _mm256_and_pd(a, b); }
WORD mask mask_or(mask a, mask b) { return _mm256_or_pd(a, b); }
WORD int mask_any(mask m) { return _mm256_movemask_pd(m) != 0; }
WORD vec vec_select(mask m, vec yes, vec no) { return _mm256_blendv_pd(no, yes, m); }
WORD vec vec_zero_where(mask m, vec a) { return _mm256_andnot_pd(m, a); }
WORD veci veci_count(veci a, mask m) { return _mm256_sub_epi64(a, _mm256_castpd_si256(m)); }

/* -- A table of eight pairs: entries 0 ... 3, and 4 ... 7. -- */

typedef struct { __m256 high[2], low[2]; } table8;
WORD table8 table8_load(const double pairs[8][2])
{
    table8 t;
    for (int half = 0; half < 2; half++) {
        vec pairs02 = load_halves(pairs[4 * half], pairs[4 * half + 2]);
        vec pairs13 = load_halves(pairs[4 * half + 1], pairs[4 * half + 3]);
        t.high[half] = _mm256_castpd_ps(_mm256_unpacklo_pd(pairs02, pairs13));
        t.low[half] = _mm256_castpd_ps(_mm256_unpackhi_pd(pairs02, pairs13));
    }
    return t;
}
WORD vec look_up_halves(const __m256 entries[2], veci floats, veci half)
{
    __m256d from0 = _mm256_castps_pd(_mm256_permutevar8x32_ps(entries[0], floats));
    __m256d from4 = _mm256_castps_pd(_mm256_permutevar8x32_ps(entries[1], floats));
    return _mm256_blendv_pd(from0, from4, _mm256_castsi256_pd(half));
}
WORD void table8_look_up(const table8 *t, veci index, vec *high, vec *low)
{
    /* Entry i of four is floats 2 i and 2 i + 1 of eight. The last bit of three becomes the sign. */
    veci even = _mm256_add_epi64(index, index);
    veci floats = _mm256_add_epi32(_mm256_shuffle_epi32(even, _MM_SHUFFLE(2, 2, 0, 0)), _mm256_set1_epi64x((int64_t)1 << 32));
    veci half = _mm256_slli_epi64(index, 61);
    *high = look_up_halves(t->high, floats, half);
    *low = look_up_halves(t->low, floats, half);
}

/* -- Reductions. -- */

/* Lane i is lane i + n of a, what comes after the last the first. */
WORD vec vec_lanes_down(vec a, const int n)
{
    return n == 2 ? _mm256_permute4x64_pd(a, _MM_SHUFFLE(1, 0, 3, 2)) : _mm256_permute4x64_pd(a, _MM_SHUFFLE(0, 3, 2, 1));
}
WORD double vec_reduce_max(vec a)
{
    __m128d top = _mm_max_pd(LOW_HALF(a), HIGH_HALF(a));
    return _mm_cvtsd_f64(_mm_max_sd(top, _mm_unpackhi_pd(top, top)));
}
WORD int64_t veci_reduce_add(veci a)
{
    __m128i sum = _mm_add_epi64(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    return _mm_cvtsi128_si64(_mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum)));
}

#undef LOW_HALF
#undef HIGH_HALF

#include "pair.h"

#endif
