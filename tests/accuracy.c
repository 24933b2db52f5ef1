/* How many ulp the elementary functions are off, against libm in double.
 *
 *     accuracy [stride]
 *
 * goes through every stride-th of the 2^32 floats (1 for all; by default about ten seconds'
 * worth), and through all near the points where something changes. Prints the worst error
 * of each function, the input that shows it, and a hash of all its results, which
 * is the same on all tiers with a fused multiply-add (NaN counts as NaN). Fails if an error
 * exceeds its bound (accuracy.h), 77 if this CPU lacks the instruction set.
 *
 * Double, off by an ulp of its own or two, settles a float's ulp to 2^-28.
 */
#include "accuracy.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(XENT_VECTOR_AVX2) || (defined(XENT_VECTOR_NEON) && defined(__x86_64__))
#define CPU_HAS_IT (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#elif defined(XENT_VECTOR_AVX512)
#define CPU_HAS_IT                                                              \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && \
     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
#else
#define CPU_HAS_IT 1
#endif

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* -- The truth, the inputs that a function is meant for, and its second argument. -- */

static float no_second(float x)
{
    (void)x;
    return 0.0f;
}

static double exp_nonpositive_truth(float x, float unused)
{
    (void)unused;
    return exp(x);
}
static int exp_nonpositive_takes(float x, float unused)
{
    (void)unused;
    return !(x > 0);
}
#define exp_nonpositive_second no_second

/* exp(x) 2^(24 - k/8), k = round(8 max / ln 2), for |max| < 256; exp(x - max) 2^24 above; none
 * of it below max - 103.8, where what little there is need not be kept. */
static double exp_scaled_truth(float x, float max)
{
    double eighth = log(2.0) / 8, k = fabsf(max) < 256 ? nearbyint(max / eighth) : 0;
    double shift = fabsf(max) < 256 ? 0 : (double)max;
    return (double)x - max < -103.8 ? 0 : ldexp(exp((double)x - shift - k * eighth), 24);
}
static int exp_scaled_takes(float x, float max)
{
    return !(x > max) && !(fabs((double)x - max + 103.8) < 1e-2);
}
static float exp_scaled_second(float x)
{
    static const float maxima[8] = {0.0f, 1.7f, -13.3f, 88.5f, -200.7f, 255.5f, 1000.3f, -123456.7f};
    return maxima[bits_of(x) * UINT32_C(2654435769) >> 29];
}

static double log_positive_truth(float x, float unused)
{
    (void)unused;
    return log(x);
}
static int log_positive_takes(float x, float unused)
{
    (void)x;
    (void)unused;
    return 1;
}
#define log_positive_second no_second

static double log1p_sum_truth(float high, float low)
{
    return log1p((double)high + low) + 0.0; /* -0 becomes 0 */
}
#define log1p_sum_takes log_positive_takes
/* A pseudorandom part of half the distance to the next float; every fourth the whole. */
static float log1p_sum_second(float high)
{
    if (!(fabsf(high) < 0x1p+127f) || high < -0.5f) return 0.0f;
    uint32_t size = bits_of(fabsf(high)), random = bits_of(high) * UINT32_C(2654435769);
    float half_ulp = 0.5f * (float_of(size + 1) - float_of(size));
    float part = random >> 30 ? (float)(random & 0xffffff) * 0x1p-24f : 1.0f;
    return random >> 29 & 1 ? half_ulp * part : -half_ulp * part;
}

#define log1p_of_truth log1p_sum_truth
#define log1p_of_takes log_positive_takes
#define log1p_of_second no_second

static double tanh_of_truth(float x, float unused)
{
    (void)unused;
    return tanh(x);
}
#define tanh_of_takes log_positive_takes
#define tanh_of_second no_second

static const struct function {
    const char *name;
    elementary *measured;
    double (*truth)(float, float);
    int (*takes)(float, float);
    float (*second)(float);
    double bound[2]; /* [fused] */
} functions[] = {
#define X(name, bound, unfused) \
    {#name, accuracy_##name, name##_truth, name##_takes, name##_second, {unfused, bound}},
    ELEMENTARY_FUNCTIONS(X)
#undef X
};

/* -- The measurement. -- */

struct findings {
    double worst;
    float first, second, result; /* where */
    uint64_t hash;
};

/* In ulp of a float near the truth; infinite where no rounding explains the difference. */
static double ulp_off(float result, double truth)
{
    if (isnan(truth)) return isnan(result) ? 0 : INFINITY;
    if (isnan(result) || isinf(result) || isinf(truth)) return (double)result == truth ? 0 : INFINITY;
    if (truth == 0) return result == 0 && !signbit(result) == !signbit(truth) ? 0 : INFINITY;
    int exponent; /* |truth| in [1/2, 1) 2^exponent */
    frexp(truth, &exponent);
    return fabs(ldexp(result - truth, exponent > -125 ? 24 - exponent : 149));
}

enum { BATCH = 256 };
struct batch {
    size_t n;
    float first[BATCH], second[BATCH], result[BATCH];
};

static void measure(const struct function *f, struct batch *batch, struct findings *found)
{
    for (size_t i = batch->n; i < BATCH; i++) batch->first[i] = batch->second[i] = 0.0f;
    f->measured(batch->first, batch->second, batch->result, BATCH);
    for (size_t i = 0; i < batch->n; i++) {
        float first = batch->first[i], second = batch->second[i], result = batch->result[i];
        double off = ulp_off(result, f->truth(first, second));
        if (off > found->worst) {
            found->worst = off;
            found->first = first;
            found->second = second;
            found->result = result;
        }
        uint32_t bits = isnan(result) ? UINT32_C(0x7fc00000) : bits_of(result);
        found->hash = (found->hash ^ bits) * UINT64_C(0x100000001b3);
        found->hash ^= found->hash >> 29;
    }
    batch->n = 0;
}

/* Every stride-th float from first to last, by bits. */
static void measure_range(const struct function *f, uint32_t first, uint32_t last, uint32_t stride,
                          struct findings *found)
{
    struct batch batch = {.n = 0};
    for (uint64_t bits = first; bits <= last; bits += stride) {
        float x = float_of((uint32_t)bits), second = f->second(x);
        if (!f->takes(x, second)) continue;
        batch.first[batch.n] = x;
        batch.second[batch.n++] = second;
        if (batch.n == BATCH) measure(f, &batch, found);
    }
    if (batch.n) measure(f, &batch, found);
}

/* Where a function changes its ways, or is worst. */
static const float hard_points[] = {
    0x1p-149f, 0x1p-126f, 0x1p-24f, 0.25f, 0x1.1718p-2f, 0x1.1d7deap-2f, 0x1.1faap-2f, 0.375f, 0.5f, 0.5625f, 0x1.28e86ep-1f,
    0x1.3f20f2p-1f, 0.6875f, 0x1.5d1178p-1f, 1.0f, 0x1.45d5acp+0f, 1.375f, 2.0f, 0x1p+24f, 0x1.6p+127f, 0x1.fffffep+127f,
    -0x1p-149f, -0x1p-126f, -0x1p-24f, -0.3125f, -0x1.487b72p-2f,
    -0.5f, -0.5625f, -1.0f, -9.01f, -0x1.a62e8cp+4f,
    -0x1.5d8e16p+6f, -87.33f, -103.8f, -0x1.fffffep+127f,
};

int main(int argc, char **argv)
{
    const int skipped_for_meson = 77;
    const uint32_t radius = 1 << 13;
    if (!CPU_HAS_IT) {
        puts("skipped: this CPU lacks the instruction set");
        return skipped_for_meson;
    }
    unsigned long stride = argc > 1 ? strtoul(argv[1], NULL, 10) : 41;
    if (stride == 0 || stride > UINT32_MAX / 2) {
        fprintf(stderr, "usage: %s [stride]\n", argv[0]);
        return 2;
    }
    int failed = 0;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const struct function *f = &functions[i];
        struct findings found = {.hash = UINT64_C(0xcbf29ce484222325)};
        measure_range(f, 0, UINT32_MAX, (uint32_t)stride, &found);
        for (size_t point = 0; point < sizeof hard_points / sizeof *hard_points; point++) {
            uint32_t bits = bits_of(hard_points[point]);
            uint32_t below = bits & 0x7fffffff, least = bits - (below < radius ? below : radius);
            measure_range(f, least, bits + radius, 1, &found);
        }
        double bound = f->bound[accuracy_fused];
        int exceeds = !(found.worst <= bound);
        printf("%-16s %.4f ulp at (%a, %a): %a   hash %016llx%s\n", f->name, found.worst,
               (double)found.first, (double)found.second, (double)found.result,
               (unsigned long long)found.hash, exceeds ? "   EXCEEDS ITS BOUND" : "");
        if (exceeds) printf("%-16s bound %.2f\n", "", bound);
        failed |= exceeds;
    }
    return failed;
}
