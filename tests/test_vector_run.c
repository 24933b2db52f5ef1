/* Runs the tests of one vocabulary, if this CPU can: they are compiled for one instruction set,
 * this file for none, so nothing wide runs before the question is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "vector_run.h"

#if defined(__x86_64__)
#include <cpuid.h>
/* clang 14 knows no such feature in __builtin_cpu_supports. */
__attribute__((unused)) static int has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

#if defined(XENT_VECTOR_SCALAR)
#define ISA "scalar"
#define CPU_HAS_IT 1
#elif defined(XENT_VECTOR_SSE2)
#define ISA "sse2"
#define CPU_HAS_IT 1
#elif defined(XENT_VECTOR_AVX2)
#define ISA "avx2"
#define CPU_HAS_IT (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
#elif defined(XENT_VECTOR_AVX512)
#define ISA "avx512"
#define CPU_HAS_IT                                                                \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&   \
     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
#elif defined(XENT_VECTOR_NEON) && defined(__aarch64__)
#define ISA "neon"
#define CPU_HAS_IT 1
#elif defined(XENT_VECTOR_NEON) && defined(__x86_64__)
#define ISA "neon-simde"
#define CPU_HAS_IT (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
#elif defined(XENT_VECTOR_NEON)
#define ISA "neon-simde"
#define CPU_HAS_IT 1
#endif

#ifdef XENT_REAL_F64
const char *const xent_test_isa = ISA " f64";
#else
const char *const xent_test_isa = ISA " f32";
#endif

int main(int argc, char **argv)
{
    const int skipped_for_meson = 77;
    if (!CPU_HAS_IT) {
        printf("%s: skipped, this CPU lacks it\n", xent_test_isa);
        return skipped_for_meson;
    }
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    int failed = xent_test_vector_words() + xent_test_vector_memory();
    failed += xent_test_vector_storage() + xent_test_vector_sums();
#ifdef XENT_REAL_F64
    failed += xent_test_vector_pairs();
#endif
    return failed != 0;
}
