/* Picks the vocabulary of the tier that this translation unit is compiled for: of floats, or
 * with XENT_REAL_F64 of doubles. */
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
