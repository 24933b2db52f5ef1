/* Picks the vocabulary of the tier that this translation unit is compiled for: of floats, or
 * with XENT_REAL_F64 of doubles. */
#ifndef XENT_KERNELS_VECTOR_VECTOR_H
#define XENT_KERNELS_VECTOR_VECTOR_H

#if defined(XENT_VECTOR_SCALAR) && defined(XENT_REAL_F64)
#include "scalar_f64.h"
#elif defined(XENT_VECTOR_SCALAR)
#include "scalar.h"
#elif defined(XENT_VECTOR_SSE2) && defined(XENT_REAL_F64)
#include "sse2_f64.h"
#elif defined(XENT_VECTOR_SSE2)
#include "sse2.h"
#elif defined(XENT_VECTOR_AVX2) && defined(XENT_REAL_F64)
#include "avx2_f64.h"
#elif defined(XENT_VECTOR_AVX2)
#include "avx2.h"
#elif defined(XENT_VECTOR_AVX512) && defined(XENT_REAL_F64)
#include "avx512_f64.h"
#elif defined(XENT_VECTOR_AVX512)
#include "avx512.h"
#elif defined(XENT_VECTOR_NEON) && defined(XENT_REAL_F64)
#include "neon_f64.h"
#elif defined(XENT_VECTOR_NEON)
#include "neon.h"
#else
#error "compile with -DXENT_VECTOR_<ISA>"
#endif

/* Words that are of interest where wide numbers are pairs (pair.h). vec_rest_of_wide: what vec_from_wide rounds off. */
#ifndef XENT_REAL_F64
#define wide_add_finite wide_add
#define wide_sum(finite, a, b) ((void)(finite), wide_add(a, b))
#define wide_mul_finite wide_mul
#define wide_add_plain wide_add
#define fold8_of(lanes, finite) ((void)(finite), fold8_lanes(lanes))
#define fold8_total_finite fold8_total
WORD vec vec_rest_of_wide(wide a) { return vec_from_wide(wide_sub(a, wide_from_vec(vec_from_wide(a)))); }
#endif

#endif
