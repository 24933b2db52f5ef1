/* How many ulp the elementary functions are off, against libm in the next wider type.
 *
 *     accuracy [stride [function]]
 *
 * goes through every stride-th of the 2^32 floats (1 for all; by default about ten seconds'
 * worth), and through all near the points where something changes. Compiled with
 * XENT_REAL_F64, it takes 2^30 / stride doubles from each of several ranges. Prints the worst
 * error of each function, the input that shows it, and a hash of all its results, which is the
 * same on all tiers with a fused multiply-add (NaN counts as NaN). Fails if an error exceeds
 * its bound (accuracy.h), 77 if this CPU lacks the instruction set.
 *
 * Double, off by an ulp of its own or two, settles a float's ulp to 2^-28; long double of
 * 64 bits a double's to 2^-10, and where long double is no wider than double there is nothing
 * to compare with: 77.
 */
#include "accuracy.h"

#include <float.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tgmath.h>

#if defined(XENT_VECTOR_AVX2) || (defined(XENT_VECTOR_NEON) && defined(__x86_64__))
#define CPU_HAS_IT (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#elif defined(XENT_VECTOR_AVX512)
#define CPU_HAS_IT                                                              \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && \
     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
#else
#define CPU_HAS_IT 1
#endif

/* judge: what the truth is computed in. */
#ifdef XENT_REAL_F64
typedef long double judge;
typedef uint64_t bit_pattern;
#define BITS_OF_NAN UINT64_C(0x7ff8000000000000)
#define GOLDEN UINT64_C(11400714819323198485)
#define REAL_DIGITS DBL_MANT_DIG
#define REAL_MIN_EXP DBL_MIN_EXP
#define DEFAULT_STRIDE 997
#define RADIUS 0x400
#define HALF_RANGE 0x1p+1023
#define CAN_JUDGE (LDBL_MANT_DIG >= 64)
#else
typedef double judge;
typedef uint32_t bit_pattern;
#define BITS_OF_NAN UINT32_C(0x7fc00000)
#define GOLDEN UINT32_C(2654435769)
#define REAL_DIGITS FLT_MANT_DIG
#define REAL_MIN_EXP FLT_MIN_EXP
#define DEFAULT_STRIDE 61
#define RADIUS 0x2000
#define HALF_RANGE 0x1p+127f
#define CAN_JUDGE 1
#endif

static real real_of(bit_pattern bits)
{
    real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static bit_pattern bits_of(real x)
{
    bit_pattern bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* 32 bits that look like chance, and 24 of them as a fraction. */
static uint32_t random_of(real x) { return (uint32_t)(bits_of(x) * GOLDEN >> (8 * sizeof x - 32)); }
static real fraction_of(uint32_t random) { return (real)((double)(random & 0xffffff) * 0x1p-24); }

/* -- The truth, the inputs that a function is meant for, and its second argument. -- */

static real no_second(real x)
{
    (void)x;
    return 0;
}
static int takes_all(real x, real unused)
{
    (void)x;
    (void)unused;
    return 1;
}

static judge exp_nonpositive_truth(real x, real unused)
{
    (void)unused;
    return exp((judge)x);
}
static int exp_nonpositive_takes(real x, real unused)
{
    (void)unused;
    return !(x > 0);
}
#define exp_nonpositive_second no_second

/* The maximum in octaves, where it is not subtracted. */
static double octaves_of(real max) { return fabs(max) < accuracy_exp_shift_from ? (double)max / log(2.0) : 0; }
/* The span that holds it, and where it lies there, from 0 to 1. */
static double spans_of(real max, double *within)
{
    double spans = (octaves_of(max) + accuracy_exp_low) / accuracy_exp_span;
    *within = spans - floor(spans);
    return floor(spans);
}

/* exp(x) 2^-k EXP_ROW_SCALE, or exp(x - max) EXP_ROW_SCALE; nothing EXP_REACH below the span's maxima. */
static judge exp_scaled_truth(real x, real max)
{
    double within, k = accuracy_exp_span * spans_of(max, &within);
    judge shift = fabs(max) < accuracy_exp_shift_from ? 0 : (judge)max;
    if ((judge)x - shift < (k - accuracy_exp_low) * log((judge)2) - accuracy_exp_reach) return 0;
    return accuracy_exp_row_scale * ldexp(exp(x - shift), -(int)k);
}
/* Not if it is uncertain which span it is, or whether x counts. */
static int row_takes(real max)
{
    double within;
    spans_of(max, &within);
    return !isnan(max) && within > 1e-5 && within < 1 - 1e-5;
}
static int exp_scaled_takes(real x, real max)
{
    double within, k = accuracy_exp_span * spans_of(max, &within);
    judge shift = fabs(max) < accuracy_exp_shift_from ? 0 : (judge)max;
    judge floor = (k - accuracy_exp_low) * log((judge)2) - accuracy_exp_reach;
    return row_takes(max) && !(x > max) && !(fabs((judge)x - shift - floor) < 1e-2);
}
static real exp_scaled_second(real x)
{
#ifdef XENT_REAL_F64
    static const real maxima[8] = {0, 38.5, -13.3, 709.3, -1200.7, 1699.5, 1700.3, -123456.7};
#else
    static const real maxima[8] = {0.0f, 38.5f, -13.3f, 88.5f, -200.7f, 351.5f, 1000.3f, -123456.7f};
#endif
    return maxima[random_of(x) >> 29];
}

/* 1 / (exp(max) 2^-k EXP_ROW_SCALE), of max as above or 0. */
static judge row_inverse_truth(real max, real unused)
{
    (void)unused;
    double within, k = accuracy_exp_span * spans_of(max, &within);
    judge rest = fabs(max) < accuracy_exp_shift_from ? (judge)max : 0;
    return ldexp(exp(-rest), (int)k) / accuracy_exp_row_scale;
}
static int row_inverse_takes(real max, real unused)
{
    (void)unused;
    return row_takes(max);
}
#define row_inverse_second no_second

static judge log_of_probability_truth(real p, real unused)
{
    (void)unused;
    return log((judge)p);
}
static int log_of_probability_takes(real p, real unused)
{
    (void)unused;
    return p > 0 && p <= 1;
}
#define log_of_probability_second no_second

static judge log_of_complement_truth(real p, real unused)
{
    (void)unused;
    return log1p(-(judge)p) + 0; /* -0 becomes 0 */
}
static int log_of_complement_takes(real p, real unused)
{
    (void)unused;
    return p >= 0 && p < 1;
}
#define log_of_complement_second no_second

static judge log1p_sum_truth(real high, real low)
{
    return log1p((judge)high + low) + 0; /* -0 becomes 0 */
}
#define log1p_sum_takes takes_all
/* A pseudorandom part of half the distance to the next number; every fourth the whole. */
static real log1p_sum_second(real high)
{
    if (!(fabs(high) < HALF_RANGE) || high < -0.5f) return 0;
    real size = fabs(high), half_ulp = (real_of(bits_of(size) + 1) - size) / 2;
    uint32_t random = random_of(high);
    real part = random >> 30 ? fraction_of(random) : 1;
    return random >> 29 & 1 ? half_ulp * part : -half_ulp * part;
}

#define log1p_of_truth log1p_sum_truth
#define log1p_of_takes takes_all
#define log1p_of_second no_second
#define log1p_unit_truth log1p_sum_truth
#define log1p_unit_second no_second
static int log1p_unit_takes(real x, real unused)
{
    (void)unused;
    return !(x < 0 || x > 1);
}

static judge tanh_of_truth(real x, real unused)
{
    (void)unused;
    return tanh((judge)x);
}
#define tanh_of_takes takes_all
#define tanh_of_second no_second

static judge power_of_truth(real base, real exponent)
{
    return isnan(base) || isnan(exponent) ? (judge)NAN : pow((judge)base, (judge)exponent);
}
static int power_of_takes(real base, real unused)
{
    (void)unused;
    return !(base < 0 || base > 1);
}
/* Half of the exponents are what one meets, half make results over the whole range: there the
 * logarithm is interpolated between powers of 2, for what libm makes of it may differ. */
static real power_of_second(real base)
{
    static const real usual[8] = {0, 0.25f, 0.5f, 1, 1.7f, 2, 3, 5};
    uint32_t random = random_of(base);
    if (random >> 31 || !(base > 0 && base < 1)) return usual[random >> 28 & 7];
    int power;
    real fraction = frexp(base, &power); /* in [1/2, 1) */
    real binary_digits = (real)(REAL_DIGITS - REAL_MIN_EXP) + 2;
    return fraction_of(random) * binary_digits / (2 - 2 * fraction - (real)power);
}

static const struct function {
    const char *name;
    elementary *measured;
    judge (*truth)(real, real);
    int (*takes)(real, real);
    real (*second)(real);
    double bound[2]; /* [fused] */
} functions[] = {
#ifdef XENT_REAL_F64
#define X(name, f32_bound, f32_unfused, bound, unfused) \
    {#name, accuracy_##name, name##_truth, name##_takes, name##_second, {unfused, bound}},
#else
#define X(name, bound, unfused, f64_bound, f64_unfused) \
    {#name, accuracy_##name, name##_truth, name##_takes, name##_second, {unfused, bound}},
#endif
    ELEMENTARY_FUNCTIONS(X)
#undef X
};

/* -- The measurement. -- */

struct findings {
    double worst;
    real first, second, result; /* where */
    uint64_t hash;
};

/* In ulp of a real near the truth; infinite where no rounding explains the difference. */
static double ulp_off(real result, judge truth)
{
    if (isnan(truth)) return isnan(result) ? 0 : (double)INFINITY;
    if (isnan(result) || isinf(result) || isinf(truth)) return (judge)result == truth ? 0 : (double)INFINITY;
    if (truth == 0) return result == 0 && !signbit(result) == !signbit(truth) ? 0 : (double)INFINITY;
    int exponent; /* |truth| in [1/2, 1) 2^exponent */
    (void)frexp(truth, &exponent);
    if (exponent < REAL_MIN_EXP) exponent = REAL_MIN_EXP;
    return (double)fabs(ldexp(result - truth, REAL_DIGITS - exponent));
}

enum { BATCH = 256 };
struct batch {
    size_t n;
    real first[BATCH], second[BATCH], result[BATCH];
};

static void measure(const struct function *f, struct batch *batch, struct findings *found)
{
    for (size_t i = batch->n; i < BATCH; i++) batch->first[i] = batch->second[i] = 0;
    f->measured(batch->first, batch->second, batch->result, BATCH);
    for (size_t i = 0; i < batch->n; i++) {
        real first = batch->first[i], second = batch->second[i], result = batch->result[i];
        double off = ulp_off(result, f->truth(first, second));
        if (off > found->worst) {
            found->worst = off;
            found->first = first;
            found->second = second;
            found->result = result;
        }
        bit_pattern bits = isnan(result) ? BITS_OF_NAN : bits_of(result);
        found->hash = (found->hash ^ bits) * UINT64_C(0x100000001b3);
        found->hash ^= found->hash >> 29;
    }
    batch->n = 0;
}

/* Every stride-th number from first to last, by bits. */
static void measure_range(const struct function *f, bit_pattern first, bit_pattern last, bit_pattern stride,
                          struct findings *found)
{
    struct batch batch = {.n = 0};
    for (uint64_t left = (last - first) / stride + UINT64_C(1); left > 0; left--, first += stride) {
        real x = real_of(first), second = f->second(x);
        if (!f->takes(x, second)) continue;
        batch.first[batch.n] = x;
        batch.second[batch.n++] = second;
        if (batch.n == BATCH) measure(f, &batch, found);
    }
    if (batch.n) measure(f, &batch, found);
}

static void measure_all(const struct function *f, uint32_t stride, struct findings *found)
{
#ifdef XENT_REAL_F64
    const struct { double first, last; } ranges[] = {
        {0x1p-60, 0x1p+11}, {-0x1p-60, -0x1p+11}, {0.125, 2.0}, {-0.125, -800.0},
    };
    uint64_t points = (UINT64_C(1) << 30) / stride + 1;
    measure_range(f, 0, UINT64_MAX, UINT64_MAX / points | 1, found);
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        uint64_t first = bits_of(ranges[i].first), last = bits_of(ranges[i].last);
        measure_range(f, first, last, (last - first) / points | 1, found);
    }
#else
    measure_range(f, 0, UINT32_MAX, stride, found);
#endif
}

/* Where a function changes its ways, or is worst. */
static const real hard_points[] = {
#ifdef XENT_REAL_F64
    0x1p-1074, 0x1p-1022, 0x1p-53, 0.25, 0.375, 0.5, 0.5625, 0.6875, 1.0, 1.375, 2.0, 0x1p+53, 0x1.6p+1023,
    0x1.fffffffffffffp+1023, -0x1p-1074, -0x1p-1022, -0x1p-53, -0.3125, -0.5, -0.5625, -1.0, -19.06,
    -708.39, -745.13, -0x1.fffffffffffffp+1023, -0x1.493f1439293e7p+4, -0x1.4ab997c6c6f54p+7,
    -0x1.6244adae4df93p+9, 0x1.40c7d0fb90be7p-1, 0x1.5bce9c97a7662p-3, 0x1.7fac5dcd1ee03p-2, 0x1.a8ddc1871d5cp-1,
    0x1.19567c8a4db32p-4, 0x1.40475c31a7f68p-4, 0x1.1dcd0a2427261p-2, -0x1.42829fbc43252p-2, 0x1.1bb8a2d1d2b0ep-2,
    0x1.22019670cb879p-2, -0x1.4129e4f857193p-2, 0x1.584a3dc4b3c47p-1, 0x1.2b79315cad26p-1, 0x1.f4fe2239d1a49p-1,
    0x1.f5aae45dc733fp-1,
#else
    0x1p-149f, 0x1p-126f, 0x1.bc3068p-99f, 0x1p-24f, 0.25f, 0x1.1718p-2f, 0x1.1d7deap-2f, 0x1.1faap-2f, 0.375f, 0.5f, 0.5625f, 0x1.28e86ep-1f,
    0x1.3f20f2p-1f, 0.6875f, 0x1.8f3102p-1f, 0x1.8ecf6cp-1f, 0x1.c4cde6p-3f, 0x1.c4c25p-3f, 0x1.345516p-4f,
    0x1.37bc66p-4f, 1.0f, 1.375f, 2.0f, 0x1p+24f, 0x1.6p+127f, 0x1.fffffep+127f,
    -0x1p-149f, -0x1p-126f, -0x1p-24f, -0.3125f, -0x1.487b72p-2f,
    -0.5f, -0.5625f, -1.0f, -9.01f, -0x1.a62e8cp+4f,
    -0x1.5d8e16p+6f, -87.33f, -103.8f, -0x1.fffffep+127f,
#endif
};

int main(int argc, char **argv)
{
    const int skipped_for_meson = 77;
    const bit_pattern radius = RADIUS, sign = (bit_pattern)1 << (8 * sizeof(real) - 1);
    if (!CPU_HAS_IT || !CAN_JUDGE) {
        puts(CAN_JUDGE ? "skipped: this CPU lacks the instruction set" : "skipped: long double is no wider than double");
        return skipped_for_meson;
    }
    unsigned long stride = argc > 1 ? strtoul(argv[1], NULL, 10) : DEFAULT_STRIDE;
    if (stride == 0 || stride > UINT32_MAX / 2) {
        fprintf(stderr, "usage: %s [stride [function]]\n", argv[0]);
        return 2;
    }
    int failed = 0;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const struct function *f = &functions[i];
        struct findings found = {.hash = UINT64_C(0xcbf29ce484222325)};
        if (argc > 2 && strcmp(argv[2], f->name) != 0) continue;
        measure_all(f, (uint32_t)stride, &found);
        for (size_t point = 0; point < sizeof hard_points / sizeof *hard_points; point++) {
            bit_pattern bits = bits_of(hard_points[point]);
            bit_pattern below = bits & (sign - 1), least = bits - (below < radius ? below : radius);
            measure_range(f, least, bits + radius, 1, &found);
        }
        double bound = f->bound[accuracy_fused];
        int exceeds = !(found.worst <= bound);
        printf("%-16s %.4f ulp at (%a, %a): %a   hash %016llx%s\n", f->name, found.worst,
               (double)found.first, (double)found.second, (double)found.result,
               (unsigned long long)found.hash, exceeds ? "   EXCEEDS ITS BOUND" : "");
        if (exceeds) printf("%-16s bound %.3f\n", "", bound);
        failed |= exceeds;
    }
    return failed;
}
