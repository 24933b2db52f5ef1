/* The vocabulary for doubles on SSE2, two lanes wide; what the words mean stands in scalar.h and
 * scalar_f64.h, and how SSE2 is to live with in sse2.h. There is no arithmetic shift of 64 bits
 * either, and no conversion of integers of 64 bits.
 */
#ifndef XENT_KERNELS_VECTOR_SSE2_F64_H
#define XENT_KERNELS_VECTOR_SSE2_F64_H

#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VEC_WIDTH 2
#define VEC_FUSED 0
#define WORD static inline __attribute__((always_inline, unused))

typedef double real;
typedef __m128d vec;
typedef __m128i veci;
typedef __m128d mask;

/* -- Memory. -- */

WORD vec vec_load(const double *p) { return _mm_loadu_pd(p); }
WORD void vec_store(double *p, vec a) { _mm_storeu_pd(p, a); }
WORD void vec_stream(double *p, vec a) { _mm_stream_pd(p, a); }
WORD void stream_end(void) { _mm_sfence(); }
WORD vec vec_load_partial(const double *p, size_t n, vec fill)
{
    if (n == 2) return _mm_loadu_pd(p);
    return n ? _mm_loadl_pd(fill, p) : fill;
}
WORD void vec_store_partial(double *p, vec a, size_t n)
{
    if (n == 2) _mm_storeu_pd(p, a);
    else if (n) _mm_store_sd(p, a);
}

WORD void vec_load_rows4(const double *from, const ptrdiff_t *rows, vec out[4])
{
    for (int c = 0; c < 4; c += 2) {
        vec row0 = _mm_loadu_pd(from + rows[0] + c), row1 = _mm_loadu_pd(from + rows[1] + c);
        out[c] = _mm_unpacklo_pd(row0, row1);
        out[c + 1] = _mm_unpackhi_pd(row0, row1);
    }
}
WORD void vec_store_rows4(double *to, const ptrdiff_t *rows, const vec in[4])
{
    for (int c = 0; c < 4; c += 2) {
        _mm_storeu_pd(to + rows[0] + c, _mm_unpacklo_pd(in[c], in[c + 1]));
        _mm_storeu_pd(to + rows[1] + c, _mm_unpackhi_pd(in[c], in[c + 1]));
    }
}

WORD vec vec_load_f32(const float *p)
{
    return _mm_cvtps_pd(_mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)p)));
}
WORD void vec_store_f32(float *p, vec a)
{
    _mm_storel_epi64((__m128i *)p, _mm_castps_si128(_mm_cvtpd_ps(a)));
}

/* -- Arithmetic. -- */

WORD vec vec_set(double a) { return _mm_set1_pd(a); }
WORD vec vec_add(vec a, vec b) { return _mm_add_pd(a, b); }
WORD vec vec_sub(vec a, vec b) { return _mm_sub_pd(a, b); }
WORD vec vec_mul(vec a, vec b) { return _mm_mul_pd(a, b); }
WORD vec vec_div(vec a, vec b) { return _mm_div_pd(a, b); }
WORD vec vec_fma(vec a, vec b, vec c) { return _mm_add_pd(_mm_mul_pd(a, b), c); }
WORD vec vec_max(vec a, vec b) { return _mm_max_pd(a, b); }
WORD vec vec_min(vec a, vec b) { return _mm_min_pd(a, b); }
WORD vec vec_larger(vec a, vec b) { return vec_max(a, b); }
WORD int vec_larger_lost(vec a) { (void)a; return 0; }

/* -- Bits. -- */

WORD veci vec_bits(vec a) { return _mm_castpd_si128(a); }
WORD vec vec_from_bits(veci a) { return _mm_castsi128_pd(a); }
WORD vec vec_abs(vec a) { return _mm_andnot_pd(_mm_set1_pd(-0.0), a); }
WORD vec vec_negate(vec a) { return _mm_xor_pd(a, _mm_set1_pd(-0.0)); }
WORD vec vec_copy_sign(vec a, vec b)
{
    vec sign = _mm_set1_pd(-0.0);
    return _mm_or_pd(_mm_andnot_pd(sign, a), _mm_and_pd(sign, b));
}
WORD veci veci_set(int64_t a) { return _mm_set1_epi64x(a); }
WORD veci veci_add(veci a, veci b) { return _mm_add_epi64(a, b); }
WORD veci veci_sub(veci a, veci b) { return _mm_sub_epi64(a, b); }
WORD veci veci_and(veci a, veci b) { return _mm_and_si128(a, b); }
WORD veci veci_shift_left(veci a, const int n) { return _mm_slli_epi64(a, n); }
/* Of a + 2^63, which has no sign; the 2^63 comes down as well, and off again. */
WORD veci veci_shift_right(veci a, const int n)
{
    veci least = _mm_set1_epi64x(INT64_MIN);
    return _mm_sub_epi64(_mm_srli_epi64(_mm_xor_si128(a, least), n), _mm_srli_epi64(least, n));
}
/* In the low bits of 1.5 * 2^52, whose last place is 1. */
WORD vec vec_from_int(veci a)
{
    vec magic = _mm_set1_pd(0x1.8p+52);
    return _mm_sub_pd(_mm_castsi128_pd(_mm_add_epi64(a, _mm_castpd_si128(magic))), magic);
}

/* -- Truth values. -- */

WORD mask vec_equal(vec a, vec b) { return _mm_cmpeq_pd(a, b); }
WORD mask vec_less(vec a, vec b) { return _mm_cmplt_pd(a, b); }
WORD mask mask_and(mask a, mask b) { return _mm_and_pd(a, b); }
WORD mask mask_or(mask a, mask b) { return _mm_or_pd(a, b); }
WORD int mask_any(mask m) { return _mm_movemask_pd(m) != 0; }
WORD vec vec_select(mask m, vec yes, vec no) { return _mm_or_pd(_mm_and_pd(m, yes), _mm_andnot_pd(m, no)); }
WORD vec vec_zero_where(mask m, vec a) { return _mm_andnot_pd(m, a); }
WORD veci veci_count(veci a, mask m) { return _mm_sub_epi64(a, _mm_castpd_si128(m)); }

/* -- A table of eight pairs. -- */

typedef struct { const double (*pair)[2]; } table8; /* a copy would be made again and again */
WORD table8 table8_load(const double pairs[8][2]) { return (table8){pairs}; }
WORD void table8_look_up(const table8 *t, veci index, vec *high, vec *low)
{
    vec pair0 = _mm_loadu_pd(t->pair[_mm_extract_epi16(index, 0) & 7]);
    vec pair1 = _mm_loadu_pd(t->pair[_mm_extract_epi16(index, 4) & 7]);
    *high = _mm_unpacklo_pd(pair0, pair1);
    *low = _mm_unpackhi_pd(pair0, pair1);
}

/* -- Reductions. -- */

/* The other lane comes first. */
WORD vec vec_lanes_down(vec a, const int n) { (void)n; return _mm_shuffle_pd(a, a, 1); }
WORD double vec_reduce_max(vec a) { return _mm_cvtsd_f64(_mm_max_sd(a, _mm_unpackhi_pd(a, a))); }
WORD int64_t veci_reduce_add(veci a) { return _mm_cvtsi128_si64(_mm_add_epi64(a, _mm_unpackhi_epi64(a, a))); }

#include "pair.h"

#endif
