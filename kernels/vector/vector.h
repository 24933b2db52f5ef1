/* Picks the vocabulary of the tier that this translation unit is compiled for. */
#if defined(XENT_VECTOR_SCALAR)
#include "scalar.h"
#elif defined(XENT_VECTOR_SSE2)
#include "sse2.h"
#elif defined(XENT_VECTOR_AVX2)
#include "avx2.h"
#elif defined(XENT_VECTOR_AVX512)
#include "avx512.h"
#elif defined(XENT_VECTOR_NEON)
#include "neon.h"
#else
#error "compile with -DXENT_VECTOR_<ISA>"
#endif
