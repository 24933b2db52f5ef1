/* Runs test_vector.c, if this CPU can: that file is compiled for one instruction set, this one
 * for none, so nothing wide runs before the question is asked. */
#include <stdio.h>

#if defined(XENT_VECTOR_SCALAR)
const char *const xent_test_isa = "scalar";
#define CPU_HAS_IT 1
#elif defined(XENT_VECTOR_SSE2)
const char *const xent_test_isa = "sse2";
#define CPU_HAS_IT 1
#elif defined(XENT_VECTOR_AVX2)
const char *const xent_test_isa = "avx2";
#define CPU_HAS_IT (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#elif defined(XENT_VECTOR_AVX512)
const char *const xent_test_isa = "avx512";
#define CPU_HAS_IT                                                                \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&   \
     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
#elif defined(XENT_VECTOR_NEON) && defined(__aarch64__)
const char *const xent_test_isa = "neon";
#define CPU_HAS_IT 1
#elif defined(XENT_VECTOR_NEON) && defined(__x86_64__)
const char *const xent_test_isa = "neon-simde";
#define CPU_HAS_IT (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#elif defined(XENT_VECTOR_NEON)
const char *const xent_test_isa = "neon-simde";
#define CPU_HAS_IT 1
#endif

int xent_test_vector(void);

int main(void)
{
    const int skipped_for_meson = 77;
    if (!CPU_HAS_IT) {
        printf("%s: skipped, this CPU lacks it\n", xent_test_isa);
        return skipped_for_meson;
    }
    return xent_test_vector();
}
