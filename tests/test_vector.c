/* Every word of the vocabulary against what scalar.h says of it, lane by lane and bit for bit
 * (NaN counts as NaN). Compiled once per instruction set.
 *
 * Most words are lines of the list WORDS below: the word on vectors, and the same in plain C
 * on one lane. Each is tried with special values in one lane, every lane in its turn, and other
 * ordinary values in all others, so that a leak between lanes shows; then with random bits.
 * Memory is touched between two guard pages, right after one and right before the other.
 */
#define _DEFAULT_SOURCE
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/vector/vector.h"

extern const char *const xent_test_isa;
int xent_test_vector(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))
#define NOT_FOLDED __attribute__((noinline))

/* -- Values. -- */

static uint64_t random_state;

static uint64_t random_bits(void) /* splitmix64 */
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static float float_of(int32_t bits) { float f; memcpy(&f, &bits, sizeof f); return f; }
static int32_t bits_of(float f) { int32_t bits; memcpy(&bits, &f, sizeof bits); return bits; }
static float random_float(void) { return float_of((int32_t)(uint32_t)random_bits()); }
static double random_double(void) { double d; uint64_t bits = random_bits(); memcpy(&d, &bits, sizeof d); return d; }

/* Of magnitudes so far apart that the order of a sum in double shows. */
static float random_term(void)
{
    float significand = (float)((int32_t)(random_bits() & 0xffffff) - 0x800000);
    return ldexpf(significand, (int)(random_bits() % 70) - 64);
}

static const float special_floats[] = {
    0.0f, -0.0f, 1.0f, -1.0f, 3.0f, -0.75f, INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX,
    0x1p-126f, 0x1.fffffcp-127f, 0x1p-149f, -0x1p-149f, 0x1.8p-75f, 0x1p64f, 0x1.fffffep-1f,
    0x1.000002p0f, -0x1.000004p0f, /* (1 + e)^2 - (1 + 2 e): 0, or fused e^2 */
    0x1.001p0f, 0x1p-80f,          /* (1 + 2^-12)^2 + tiny: also wrong if rounded to double first */
};
static const double special_doubles[] = {
    0.0, -0.0, 1.0, -1.0, -3.0, INFINITY, -INFINITY, NAN, DBL_MAX, -DBL_MAX, DBL_MIN, 0x1p-1074,
    0x1.0000000000001p0, -0x1.0000000000002p0, 0x1p53,
    0x1.000001p0, 0x1.000003p0,                           /* half way between two floats */
    0x1.ffffffp127, 0x1.fffffefffffffp127, 0x1.000003p-126, /* at overflow, and at underflow */
    0x1p-150, -0x1.0000000000001p-150, 0x1.8p-149,
};
static const int32_t special_ints[] = {
    0, 1, -1, 7, -8, 255, INT32_MAX, INT32_MIN, INT32_MIN + 1, 0x3f800000, 0x00800000, 0x55555555,
    16777217, -16777219, 0x7fffffbf, 0x7fffffc0, 0x40000040, /* not floats */
};
enum { SPECIALS = 23 };
_Static_assert(sizeof special_doubles / sizeof *special_doubles == SPECIALS, "the longest list");

/* -- Operands of a word: a field for each type and place. -- */

struct operands {
    float a[VEC_WIDTH], b[VEC_WIDTH], c[VEC_WIDTH];
    int32_t i[VEC_WIDTH], j[VEC_WIDTH];
    double x[VEC_WIDTH], y[VEC_WIDTH], z[VEC_WIDTH];
    int m[VEC_WIDTH], n[VEC_WIDTH];
    float same_a; /* for words that make a vector of one number */
    int32_t same_i;
    double same_x;
};
struct vectors {
    vec a, b, c;
    veci i, j;
    wide x, y, z;
    mask m, n;
};
struct scalars {
    float a, b, c;
    int32_t i, j;
    double x, y, z;
    int m, n;
};

static veci ints_from_memory(const int32_t ints[VEC_WIDTH])
{
    float bits[VEC_WIDTH];
    memcpy(bits, ints, sizeof bits);
    return vec_bits(vec_load(bits));
}

static mask mask_from_memory(const int truth[VEC_WIDTH])
{
    float number[VEC_WIDTH];
    for (int lane = 0; lane < VEC_WIDTH; lane++) number[lane] = truth[lane] ? 1.0f : 0.0f;
    return vec_equal(vec_load(number), vec_set(1.0f));
}

static struct vectors vectors_of(const struct operands *in)
{
    return (struct vectors){
        vec_load(in->a), vec_load(in->b), vec_load(in->c),
        ints_from_memory(in->i), ints_from_memory(in->j),
        wide_load(in->x), wide_load(in->y), wide_load(in->z),
        mask_from_memory(in->m), mask_from_memory(in->n),
    };
}

static struct scalars lane_of(const struct operands *in, int lane)
{
    return (struct scalars){
        in->a[lane], in->b[lane], in->c[lane], in->i[lane], in->j[lane],
        in->x[lane], in->y[lane], in->z[lane], in->m[lane], in->n[lane],
    };
}

static void set_special(struct operands *in, int lane, int first, int second, int third)
{
    in->a[lane] = special_floats[first % COUNT(special_floats)];
    in->b[lane] = special_floats[second % COUNT(special_floats)];
    in->c[lane] = special_floats[third % COUNT(special_floats)];
    in->i[lane] = special_ints[first % COUNT(special_ints)];
    in->j[lane] = special_ints[second % COUNT(special_ints)];
    in->x[lane] = special_doubles[first];
    in->y[lane] = special_doubles[second];
    in->z[lane] = special_doubles[third];
    in->m[lane] = third & 1;
    in->n[lane] = third >> 1 & 1;
    in->same_a = in->a[lane];
    in->same_i = in->i[lane];
    in->same_x = in->x[lane];
}

static void set_ordinary(struct operands *in, int lane)
{
    float number = (float)lane;
    in->a[lane] = 1.5f + number;
    in->b[lane] = -2.25f - 3.0f * number;
    in->c[lane] = 100.0f + 7.0f * number;
    in->i[lane] = 1000 + 17 * lane;
    in->j[lane] = -77 - 5 * lane;
    in->x[lane] = 10.125 + lane;
    in->y[lane] = -20.5 - 3.0 * lane;
    in->z[lane] = 300.0 + 9.0 * lane;
    in->m[lane] = lane % 3 == 1;
    in->n[lane] = lane % 5 < 2;
}

static void set_random(struct operands *in, int lane)
{
    in->same_a = in->a[lane] = random_float();
    in->b[lane] = random_float();
    in->c[lane] = random_float();
    in->same_i = in->i[lane] = (int32_t)(uint32_t)random_bits();
    in->j[lane] = (int32_t)(uint32_t)random_bits();
    in->same_x = in->x[lane] = random_double();
    in->y[lane] = random_double();
    in->z[lane] = random_double();
    in->m[lane] = (int)(random_bits() & 1);
    in->n[lane] = (int)(random_bits() & 1);
}

/* -- Results, as bits. -- */

enum type { FLOAT, INT, DOUBLE, TRUTH };

static uint64_t float_result(float f) { return (uint32_t)bits_of(f); }
static uint64_t int_result(int32_t i) { return (uint32_t)i; }
static uint64_t double_result(double d) { uint64_t bits; memcpy(&bits, &d, sizeof bits); return bits; }
static uint64_t truth_result(int truth) { return truth != 0; }

static void float_results(vec a, uint64_t out[VEC_WIDTH])
{
    float lanes[VEC_WIDTH];
    vec_store(lanes, a);
    for (int lane = 0; lane < VEC_WIDTH; lane++) out[lane] = float_result(lanes[lane]);
}
static void int_results(veci a, uint64_t out[VEC_WIDTH]) { float_results(vec_from_bits(a), out); }
static void double_results(wide a, uint64_t out[VEC_WIDTH])
{
    double lanes[VEC_WIDTH];
    wide_store(lanes, a);
    for (int lane = 0; lane < VEC_WIDTH; lane++) out[lane] = double_result(lanes[lane]);
}
static void truth_results(mask m, uint64_t out[VEC_WIDTH])
{
    float_results(vec_select(m, vec_from_bits(veci_set(1)), vec_from_bits(veci_set(0))), out);
}

static float float_of_result(uint64_t result) { return float_of((int32_t)(uint32_t)result); }
static double double_of_result(uint64_t result) { double d; memcpy(&d, &result, sizeof d); return d; }

static int same(enum type type, uint64_t got, uint64_t expected)
{
    if (type == FLOAT && isnan(float_of_result(expected))) return isnan(float_of_result(got));
    if (type == DOUBLE && isnan(double_of_result(expected))) return isnan(double_of_result(got));
    return got == expected;
}

static void describe(enum type type, uint64_t result, char text[64])
{
    if (type == FLOAT) snprintf(text, 64, "%a (%#010llx)", (double)float_of_result(result), (unsigned long long)result);
    if (type == INT) snprintf(text, 64, "%d (%#010llx)", (int32_t)(uint32_t)result, (unsigned long long)result);
    if (type == DOUBLE) snprintf(text, 64, "%a (%#018llx)", double_of_result(result), (unsigned long long)result);
    if (type == TRUTH) snprintf(text, 64, "%s", result ? "true" : "false");
}

static void expect(const char *word, int lane, enum type type, uint64_t got, uint64_t expected)
{
    char got_text[64], expected_text[64];
    if (same(type, got, expected)) return;
    describe(type, got, got_text);
    describe(type, expected, expected_text);
    fail_msg("%s: %s, lane %d: got %s, expected %s", xent_test_isa, word, lane, got_text, expected_text);
}
static void expect_float(const char *word, int lane, float got, float expected)
{
    expect(word, lane, FLOAT, float_result(got), float_result(expected));
}
static void expect_double(const char *word, int lane, double got, double expected)
{
    expect(word, lane, DOUBLE, double_result(got), double_result(expected));
}

/* -- The words that work lane by lane. -- */

static float fma_in_c(float a, float b, float c) { return VEC_FUSED ? fmaf(a, b, c) : a * b + c; }
static double wide_fma_in_c(double a, double b, double c) { return VEC_FUSED ? fma(a, b, c) : a * b + c; }
static int32_t wrap(int64_t a) { return (int32_t)(uint32_t)(uint64_t)a; }
static int32_t shift_left_in_c(int32_t a, int n) { return wrap(a * ((int64_t)1 << n)); }
static int32_t shift_right_in_c(int32_t a, int n) { return a < 0 ? ~(~a >> n) : a >> n; }

/* X(name, type of result, how many operands matter (m and n: the third), on vectors, on a lane) */
#define WORDS(X)                                                                                  \
    X(vec_set, float, FLOAT, 1, vec_set(in->same_a), in->same_a)                                  \
    X(vec_add, float, FLOAT, 2, vec_add(v.a, v.b), s.a + s.b)                                     \
    X(vec_sub, float, FLOAT, 2, vec_sub(v.a, v.b), s.a - s.b)                                     \
    X(vec_mul, float, FLOAT, 2, vec_mul(v.a, v.b), s.a * s.b)                                     \
    X(vec_div, float, FLOAT, 2, vec_div(v.a, v.b), s.a / s.b)                                     \
    X(vec_fma, float, FLOAT, 3, vec_fma(v.a, v.b, v.c), fma_in_c(s.a, s.b, s.c))                  \
    X(vec_max, float, FLOAT, 2, vec_max(v.a, v.b), s.a > s.b ? s.a : s.b)                         \
    X(vec_min, float, FLOAT, 2, vec_min(v.a, v.b), s.a < s.b ? s.a : s.b)                         \
    X(vec_bits, int, INT, 1, vec_bits(v.a), bits_of(s.a))                                         \
    X(vec_from_bits, float, FLOAT, 1, vec_from_bits(v.i), float_of(s.i))                          \
    X(vec_abs, float, FLOAT, 1, vec_abs(v.a), fabsf(s.a))                                         \
    X(vec_negate, float, FLOAT, 1, vec_negate(v.a), -s.a)                                         \
    X(vec_copy_sign, float, FLOAT, 2, vec_copy_sign(v.a, v.b), copysignf(s.a, s.b))               \
    X(veci_set, int, INT, 1, veci_set(in->same_i), in->same_i)                                    \
    X(veci_add, int, INT, 2, veci_add(v.i, v.j), wrap((int64_t)s.i + s.j))                        \
    X(veci_sub, int, INT, 2, veci_sub(v.i, v.j), wrap((int64_t)s.i - s.j))                        \
    X(veci_and, int, INT, 2, veci_and(v.i, v.j), s.i & s.j)                                       \
    X(veci_shift_left_0, int, INT, 1, veci_shift_left(v.i, 0), s.i)                               \
    X(veci_shift_left_20, int, INT, 1, veci_shift_left(v.i, 20), shift_left_in_c(s.i, 20))        \
    X(veci_shift_left_23, int, INT, 1, veci_shift_left(v.i, 23), shift_left_in_c(s.i, 23))        \
    X(veci_shift_left_31, int, INT, 1, veci_shift_left(v.i, 31), shift_left_in_c(s.i, 31))        \
    X(veci_shift_right_0, int, INT, 1, veci_shift_right(v.i, 0), s.i)                             \
    X(veci_shift_right_3, int, INT, 1, veci_shift_right(v.i, 3), shift_right_in_c(s.i, 3))        \
    X(veci_shift_right_23, int, INT, 1, veci_shift_right(v.i, 23), shift_right_in_c(s.i, 23))     \
    X(veci_shift_right_31, int, INT, 1, veci_shift_right(v.i, 31), shift_right_in_c(s.i, 31))     \
    X(vec_from_int, float, FLOAT, 1, vec_from_int(v.i), (float)s.i)                               \
    X(wide_from_int, double, DOUBLE, 1, wide_from_int(v.i), (double)s.i)                          \
    X(vec_equal, truth, TRUTH, 2, vec_equal(v.a, v.b), s.a == s.b)                                \
    X(vec_less, truth, TRUTH, 2, vec_less(v.a, v.b), s.a < s.b)                                   \
    X(mask_and, truth, TRUTH, 3, mask_and(v.m, v.n), s.m && s.n)                                  \
    X(mask_or, truth, TRUTH, 3, mask_or(v.m, v.n), s.m || s.n)                                    \
    X(vec_select, float, FLOAT, 3, vec_select(v.m, v.a, v.b), s.m ? s.a : s.b)                    \
    X(vec_zero_where, float, FLOAT, 3, vec_zero_where(v.m, v.a), s.m ? 0.0f : s.a)                \
    X(veci_count, int, INT, 3, veci_count(v.i, v.m), wrap((int64_t)s.i + s.m))                    \
    X(wide_select, double, DOUBLE, 3, wide_select(v.m, v.x, v.y), s.m ? s.x : s.y)                \
    X(wide_set, double, DOUBLE, 1, wide_set(in->same_x), in->same_x)                              \
    X(wide_from_vec, double, DOUBLE, 1, wide_from_vec(v.a), (double)s.a)                          \
    X(vec_from_wide, float, FLOAT, 1, vec_from_wide(v.x), (float)s.x)                             \
    X(wide_add, double, DOUBLE, 2, wide_add(v.x, v.y), s.x + s.y)                                 \
    X(wide_sub, double, DOUBLE, 2, wide_sub(v.x, v.y), s.x - s.y)                                 \
    X(wide_mul, double, DOUBLE, 2, wide_mul(v.x, v.y), s.x * s.y)                                 \
    X(wide_div, double, DOUBLE, 2, wide_div(v.x, v.y), s.x / s.y)                                 \
    X(wide_fma, double, DOUBLE, 3, wide_fma(v.x, v.y, v.z), wide_fma_in_c(s.x, s.y, s.z))

struct word {
    const char *name;
    enum type type;
    int arity;
    void (*on_vectors)(const struct operands *in, uint64_t out[VEC_WIDTH]);
    uint64_t (*on_lane)(const struct operands *in, int lane);
};

#define DEFINE_WORD(name, kind, result_type, arity, vector_expression, lane_expression)           \
    static NOT_FOLDED void name##_on_vectors(const struct operands *in, uint64_t out[VEC_WIDTH])  \
    {                                                                                             \
        struct vectors v = vectors_of(in);                                                        \
        (void)v;                                                                                  \
        kind##_results(vector_expression, out);                                                   \
    }                                                                                             \
    static NOT_FOLDED uint64_t name##_on_lane(const struct operands *in, int lane)                \
    {                                                                                             \
        struct scalars s = lane_of(in, lane);                                                     \
        (void)s;                                                                                  \
        return kind##_result(lane_expression);                                                    \
    }                                                                                             \
    static struct word name##_word = {#name, result_type, arity, name##_on_vectors, name##_on_lane};
WORDS(DEFINE_WORD)

static void check_word(const struct word *word, const struct operands *in)
{
    uint64_t got[VEC_WIDTH];
    word->on_vectors(in, got);
    for (int lane = 0; lane < VEC_WIDTH; lane++) {
        uint64_t expected = word->on_lane(in, lane);
        if (same(word->type, got[lane], expected)) continue;
        struct scalars s = lane_of(in, lane);
        print_error("operands: a %a, b %a, c %a, i %d, j %d, x %a, y %a, z %a, m %d, n %d\n",
                    (double)s.a, (double)s.b, (double)s.c, s.i, s.j, s.x, s.y, s.z, s.m, s.n);
        expect(word->name, lane, word->type, got[lane], expected);
    }
}

static void test_word(void **state)
{
    const struct word *word = *state;
    struct operands in;
    int firsts = SPECIALS, seconds = word->arity > 1 ? SPECIALS : 1, thirds = word->arity > 2 ? SPECIALS : 1;
    for (int place = 0; place < VEC_WIDTH; place++) {
        for (int lane = 0; lane < VEC_WIDTH; lane++) set_ordinary(&in, lane);
        for (int first = 0; first < firsts; first++)
            for (int second = 0; second < seconds; second++)
                for (int third = 0; third < thirds; third++) {
                    set_special(&in, place, first, second, third);
                    check_word(word, &in);
                }
    }
    random_state = 1;
    for (int round = 0; round < 2000; round++) {
        for (int lane = 0; lane < VEC_WIDTH; lane++) set_random(&in, lane);
        check_word(word, &in);
    }
}

/* Known answers, so that a libm whose fma rounds twice can't hide a word that does. */
static void test_fused(void **state)
{
    (void)state;
    volatile float near_one = 0x1.000002p0f, minus = -0x1.000004p0f, half_way = 0x1.001p0f, tiny = 0x1p-80f;
    volatile double wide_near_one = 0x1.0000000000001p0, wide_minus = -0x1.0000000000002p0;
    struct operands out;
    vec_store(out.a, vec_fma(vec_set(near_one), vec_set(near_one), vec_set(minus)));
    vec_store(out.b, vec_fma(vec_set(half_way), vec_set(half_way), vec_set(tiny)));
    wide_store(out.x, wide_fma(wide_set(wide_near_one), wide_set(wide_near_one), wide_set(wide_minus)));
    for (int lane = 0; lane < VEC_WIDTH; lane++) {
        expect_float("vec_fma", lane, out.a[lane], VEC_FUSED ? 0x1p-46f : 0.0f);
        expect_float("vec_fma", lane, out.b[lane], VEC_FUSED ? 0x1.002002p0f : 0x1.002p0f);
        expect_double("wide_fma", lane, out.x[lane], VEC_FUSED ? 0x1p-104 : 0.0);
    }
}

/* -- Memory. -- */

/* Pages that may be touched, from begin to end, between two that may not. */
struct guarded {
    char *mapping, *begin, *end;
    size_t page;
};

static struct guarded guarded_new(void)
{
    struct guarded g;
    g.page = (size_t)sysconf(_SC_PAGESIZE);
    g.mapping = mmap(NULL, 3 * g.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.mapping != MAP_FAILED);
    g.begin = g.mapping + g.page;
    g.end = g.begin + g.page;
    assert_int_equal(mprotect(g.begin, g.page, PROT_READ | PROT_WRITE), 0);
    return g;
}
static void guarded_free(struct guarded g) { assert_int_equal(munmap(g.mapping, 3 * g.page), 0); }

/* The place of count elements right after the first guard page, or right before the second, or
 * (otherwise) one element away from it. */
enum place { AFTER_GUARD, BEFORE_GUARD, UNALIGNED, PLACES };

static void *guarded_place(struct guarded g, enum place place, size_t count, size_t size)
{
    if (place == AFTER_GUARD) return g.begin;
    return g.end - (count + (place == UNALIGNED)) * size;
}

static float element(size_t index) { return (float)index + 0.5f; }

static void test_load(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    for (int place = 0; place < PLACES; place++) {
        float *p = guarded_place(g, (enum place)place, VEC_WIDTH, sizeof *p), out[VEC_WIDTH];
        for (size_t k = 0; k < VEC_WIDTH; k++) p[k] = element(k);
        vec_store(out, vec_load(p));
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_float("vec_load", lane, out[lane], element((size_t)lane));

        double *q = guarded_place(g, (enum place)place, VEC_WIDTH, sizeof *q), wide_out[VEC_WIDTH];
        for (size_t k = 0; k < VEC_WIDTH; k++) q[k] = 0x1p-40 + (double)k;
        wide_store(wide_out, wide_load(q));
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_double("wide_load", lane, wide_out[lane], 0x1p-40 + lane);
    }
    guarded_free(g);
}

static void test_store(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    float lanes[VEC_WIDTH];
    double wide_lanes[VEC_WIDTH];
    for (size_t k = 0; k < VEC_WIDTH; k++) {
        lanes[k] = element(k);
        wide_lanes[k] = 0x1p-40 + (double)k;
    }
    for (int place = 0; place < PLACES; place++) {
        float *p = guarded_place(g, (enum place)place, VEC_WIDTH, sizeof *p);
        vec_store(p, vec_load(lanes));
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_float("vec_store", lane, p[lane], lanes[lane]);

        double *q = guarded_place(g, (enum place)place, VEC_WIDTH, sizeof *q);
        wide_store(q, wide_load(wide_lanes));
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_double("wide_store", lane, q[lane], wide_lanes[lane]);
    }
    guarded_free(g);
}

static NOT_FOLDED void load_partial(const float *p, size_t n, const float *fill, float *out)
{
    vec_store(out, vec_load_partial(p, n, vec_load(fill)));
}
static NOT_FOLDED void store_partial(float *p, const float *lanes, size_t n)
{
    vec_store_partial(p, vec_load(lanes), n);
}

static void test_load_partial(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    for (int place = 0; place < PLACES; place++)
        for (size_t n = 0; n <= VEC_WIDTH; n++)
            for (int nan_place = -1; nan_place < VEC_WIDTH; nan_place++) { /* in the fill, or in memory */
                float *p = guarded_place(g, (enum place)place, n, sizeof *p), fill[VEC_WIDTH], out[VEC_WIDTH];
                for (size_t k = 0; k < VEC_WIDTH; k++) fill[k] = (int)k == nan_place ? NAN : -element(k);
                for (size_t k = 0; k < n; k++) p[k] = (int)k == nan_place ? NAN : element(k);
                load_partial(p, n, fill, out);
                for (size_t k = 0; k < VEC_WIDTH; k++)
                    expect_float("vec_load_partial", (int)k, out[k], k < n ? p[k] : fill[k]);
            }
    guarded_free(g);
}

static void test_store_partial(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    float lanes[VEC_WIDTH];
    size_t page_floats = g.page / sizeof *lanes;
    for (size_t k = 0; k < VEC_WIDTH; k++) lanes[k] = element(k);
    for (int place = 0; place < PLACES; place++)
        for (size_t n = 0; n <= VEC_WIDTH; n++) {
            float *page = (float *)(void *)g.begin, *p = guarded_place(g, (enum place)place, n, sizeof *p);
            for (size_t k = 0; k < page_floats; k++) page[k] = -7.0f;
            store_partial(p, lanes, n);
            for (size_t k = 0; k < page_floats; k++) {
                ptrdiff_t lane = &page[k] - p;
                int stored = lane >= 0 && lane < (ptrdiff_t)n;
                expect_float("vec_store_partial", (int)lane, page[k], stored ? lanes[lane] : -7.0f);
            }
        }
    guarded_free(g);
}

/* Rows lie in memory in another order than in the lanes. */
static size_t row_start(int lane, size_t stride) { return (size_t)(3 * lane + 1) % VEC_WIDTH * stride; }

static const size_t strides[] = {4, 5, 7, 33};
static const ptrdiff_t offsets[] = {0, 1, 3, -2};

static void test_load_rows4(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    for (int place = 0; place < PLACES; place++)
        for (int s = 0; s < COUNT(strides); s++)
            for (int o = 0; o < COUNT(offsets); o++) {
                size_t count = (VEC_WIDTH - 1) * strides[s] + 4;
                float *p = guarded_place(g, (enum place)place, count, sizeof *p), out[VEC_WIDTH];
                const float *rows[VEC_WIDTH];
                vec columns[4];
                for (size_t k = 0; k < count; k++) p[k] = element(k);
                for (int lane = 0; lane < VEC_WIDTH; lane++) rows[lane] = p + row_start(lane, strides[s]) - offsets[o];
                vec_load_rows4(rows, offsets[o], columns);
                for (size_t c = 0; c < 4; c++) {
                    vec_store(out, columns[c]);
                    for (int lane = 0; lane < VEC_WIDTH; lane++)
                        expect_float("vec_load_rows4", lane, out[lane], element(row_start(lane, strides[s]) + c));
                }
            }
    guarded_free(g);
}

static void test_store_rows4(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    for (int place = 0; place < PLACES; place++)
        for (int s = 0; s < COUNT(strides); s++)
            for (int o = 0; o < COUNT(offsets); o++) {
                size_t count = (VEC_WIDTH - 1) * strides[s] + 4;
                float *p = guarded_place(g, (enum place)place, count, sizeof *p), column[VEC_WIDTH];
                float *rows[VEC_WIDTH], expected[15 * 33 + 4];
                vec columns[4];
                for (size_t k = 0; k < count; k++) p[k] = expected[k] = -7.0f;
                for (size_t c = 0; c < 4; c++) {
                    for (int lane = 0; lane < VEC_WIDTH; lane++) {
                        column[lane] = element(100 * c + (size_t)lane);
                        expected[row_start(lane, strides[s]) + c] = column[lane];
                    }
                    columns[c] = vec_load(column);
                }
                for (int lane = 0; lane < VEC_WIDTH; lane++) rows[lane] = p + row_start(lane, strides[s]) - offsets[o];
                vec_store_rows4(rows, offsets[o], columns);
                for (int lane = 0; lane < VEC_WIDTH; lane++)
                    for (size_t c = 0; c < strides[s] && row_start(lane, strides[s]) + c < count; c++)
                        expect_float("vec_store_rows4", lane, p[row_start(lane, strides[s]) + c],
                                     expected[row_start(lane, strides[s]) + c]);
            }
    guarded_free(g);
}

/* -- The table. -- */

static NOT_FOLDED void look_up(const float (*pairs)[2], const int32_t *indices, float *high, float *low)
{
    table8 table = table8_load(pairs);
    vec high_lanes, low_lanes;
    table8_look_up(&table, ints_from_memory(indices), &high_lanes, &low_lanes);
    vec_store(high, high_lanes);
    vec_store(low, low_lanes);
}

static void test_table8(void **state)
{
    (void)state;
    static const int32_t dirt[] = {0, 8, 0x10, 0x20, 0x78, 0x100, 0x10000, 0x7ffffff8, INT32_MIN, -8};
    struct guarded g = guarded_new();
    for (int place = 0; place < PLACES; place++) {
        float(*pairs)[2] = guarded_place(g, (enum place)place, 16, sizeof(float));
        for (size_t k = 0; k < 8; k++) {
            pairs[k][0] = element(k);
            pairs[k][1] = -0x1p-30f * element(k);
        }
        pairs[2][0] = NAN;
        pairs[5][1] = -0.0f;
        for (int d = 0; d < COUNT(dirt); d++)
            for (int index_place = 0; index_place < VEC_WIDTH; index_place++)
                for (int32_t index = 0; index < 8; index++) {
                    int32_t indices[VEC_WIDTH];
                    float high[VEC_WIDTH], low[VEC_WIDTH];
                    for (int lane = 0; lane < VEC_WIDTH; lane++) indices[lane] = (3 * lane + 1 + d) % 8;
                    indices[index_place] = index | dirt[d];
                    look_up((const float(*)[2])pairs, indices, high, low);
                    for (int lane = 0; lane < VEC_WIDTH; lane++) {
                        expect_float("table8_look_up (high)", lane, high[lane], pairs[indices[lane] & 7][0]);
                        expect_float("table8_look_up (low)", lane, low[lane], pairs[indices[lane] & 7][1]);
                    }
                }
    }
    guarded_free(g);
}

/* -- Reductions. -- */

static void check_any(const int truth[VEC_WIDTH], int lane)
{
    int expected = 0;
    for (int k = 0; k < VEC_WIDTH; k++) expected |= truth[k];
    expect("mask_any", lane, TRUTH, truth_result(mask_any(mask_from_memory(truth))), truth_result(expected));
}

static void test_mask_any(void **state)
{
    (void)state;
    int truth[VEC_WIDTH] = {0};
    check_any(truth, -1);
    for (int lane = 0; lane < VEC_WIDTH; lane++) {
        truth[lane] = 1;
        check_any(truth, lane);
        truth[lane] = 0;
    }
    for (int lane = 0; lane < VEC_WIDTH; lane++) {
        truth[lane] = 1;
        check_any(truth, lane);
    }
}

static NOT_FOLDED float reduce_max(const float *lanes) { return vec_reduce_max(vec_load(lanes)); }
static NOT_FOLDED int32_t reduce_add(const int32_t *lanes) { return veci_reduce_add(ints_from_memory(lanes)); }

static void check_reduce_max(const float lanes[VEC_WIDTH])
{
    float expected = lanes[0], got = reduce_max(lanes);
    int place = 0;
    for (int lane = 1; lane < VEC_WIDTH; lane++)
        if (lanes[lane] > expected) expected = lanes[place = lane];
    if (got == 0.0f && expected == 0.0f) return; /* of zeros, either */
    expect_float("vec_reduce_max (lane: of the largest)", place, got, expected);
}

static void test_reduce_max(void **state)
{
    (void)state;
    static const float others[] = {-INFINITY, -FLT_MAX, -1.0f, -0x1p-149f, -0.0f, 0.0f, 0x1p-149f, 2.0f};
    static const float tops[] = {-INFINITY, -FLT_MAX, -0x1p-149f, 0.0f, 0x1p-149f, 1.0f, 0x1.000002p0f, FLT_MAX, INFINITY};
    float lanes[VEC_WIDTH];
    for (int place = 0; place < VEC_WIDTH; place++)
        for (int o = 0; o < COUNT(others); o++)
            for (int t = 0; t < COUNT(tops); t++) {
                for (int lane = 0; lane < VEC_WIDTH; lane++) lanes[lane] = others[o];
                lanes[place] = tops[t];
                check_reduce_max(lanes);
            }
    random_state = 2;
    for (int round = 0; round < 10000; round++) {
        for (int lane = 0; lane < VEC_WIDTH; lane++)
            do lanes[lane] = random_float();
            while (isnan(lanes[lane]));
        check_reduce_max(lanes);
    }
}

static void test_reduce_add(void **state)
{
    (void)state;
    int32_t lanes[VEC_WIDTH];
    random_state = 3;
    for (int round = 0; round < 10000; round++) {
        int64_t sum = 0;
        for (int lane = 0; lane < VEC_WIDTH; lane++) sum += lanes[lane] = (int32_t)(uint32_t)random_bits();
        expect("veci_reduce_add", 0, INT, int_result(reduce_add(lanes)), int_result(wrap(sum)));
    }
}

static NOT_FOLDED fold8 fold_of(const float lanes[32])
{
    vec vectors[32 / VEC_WIDTH];
    for (int k = 0; k < 32 / VEC_WIDTH; k++) vectors[k] = vec_load(lanes + k * VEC_WIDTH);
    return fold8_lanes(vectors);
}

static double one_fold_in_c(double lane, double plus8, double plus16, double plus24)
{
    volatile double outer = lane + plus16, inner = plus8 + plus24;
    return outer + inner;
}
static void fold_in_c(const float lanes[32], double sums[8])
{
    for (int k = 0; k < 8; k++)
        sums[k] = one_fold_in_c((double)lanes[k], (double)lanes[k + 8], (double)lanes[k + 16], (double)lanes[k + 24]);
}
static double total_in_c(const double sums[8])
{
    volatile double sum04 = sums[0] + sums[4], sum26 = sums[2] + sums[6];
    volatile double sum15 = sums[1] + sums[5], sum37 = sums[3] + sums[7];
    volatile double even = sum04 + sum26, odd = sum15 + sum37;
    return even + odd;
}

/* One of the eight sums at a time: the others are zero, and so the total is that sum. */
static void test_fold8_lanes(void **state)
{
    (void)state;
    int order_shows[8] = {0};
    random_state = 4;
    for (int round = 0; round < 1000; round++)
        for (int k = 0; k < 8; k++) {
            float lanes[32] = {0};
            double sums[8], in_a_row = 0.0;
            for (int l = k; l < 32; l += 8) {
                lanes[l] = random_term();
                in_a_row += (double)lanes[l];
            }
            fold_in_c(lanes, sums);
            order_shows[k] += in_a_row < sums[k] || in_a_row > sums[k];
            expect_double("fold8_lanes", k, fold8_total(fold_of(lanes)), sums[k]);
        }
    for (int k = 0; k < 8; k++) assert_true(order_shows[k] > 20);
}

static void test_fold8_total(void **state)
{
    (void)state;
    int order_shows = 0;
    random_state = 5;
    for (int round = 0; round < 10000; round++) {
        float lanes[32];
        double sums[8], in_a_row = 0.0;
        for (int l = 0; l < 32; l++) lanes[l] = l < 8 || round % 2 ? random_term() : 0.0f;
        fold_in_c(lanes, sums);
        for (int k = 0; k < 8; k++) in_a_row += sums[k];
        order_shows += in_a_row < total_in_c(sums) || in_a_row > total_in_c(sums);
        expect_double("fold8_total", 0, fold8_total(fold_of(lanes)), total_in_c(sums));
    }
    assert_true(order_shows > 1000);
}

static void test_fold8_special(void **state)
{
    (void)state;
    for (int l = 0; l < 32; l++)
        for (int first = 0; first < COUNT(special_floats); first++) {
            float lanes[32];
            double sums[8];
            for (int k = 0; k < 32; k++) lanes[k] = -0.0f;
            lanes[l] = special_floats[first];
            lanes[(l + 11) % 32] = l % 2 ? -INFINITY : -0.0f;
            fold_in_c(lanes, sums);
            expect_double("fold8_lanes (lane: of the special value)", l, fold8_total(fold_of(lanes)), total_in_c(sums));
        }
}

static void test_fold8_add(void **state)
{
    (void)state;
    expect_double("fold8_zero", 0, fold8_total(fold8_zero()), 0.0);
    random_state = 6;
    for (int round = 0; round < 10000; round++) {
        fold8 running = fold8_zero();
        double sums[8], running_sums[8] = {0};
        for (int block = 0; block < 3; block++) {
            float lanes[32];
            for (int l = 0; l < 32; l++) lanes[l] = random_term();
            fold_in_c(lanes, sums);
            for (int k = 0; k < 8; k++) running_sums[k] += sums[k];
            running = fold8_add(running, fold_of(lanes));
        }
        expect_double("fold8_add", 0, fold8_total(running), total_in_c(running_sums));
    }
}

int xent_test_vector(void)
{
#define TEST_OF_WORD(name, kind, result_type, arity, vector_expression, lane_expression) \
    {#name, test_word, NULL, NULL, &name##_word},
    const struct CMUnitTest tests[] = {
        WORDS(TEST_OF_WORD)
        {"vec_fma, wide_fma, known answers", test_fused, NULL, NULL, NULL},
        {"vec_load, wide_load", test_load, NULL, NULL, NULL},
        {"vec_store, wide_store", test_store, NULL, NULL, NULL},
        {"vec_load_partial", test_load_partial, NULL, NULL, NULL},
        {"vec_store_partial", test_store_partial, NULL, NULL, NULL},
        {"vec_load_rows4", test_load_rows4, NULL, NULL, NULL},
        {"vec_store_rows4", test_store_rows4, NULL, NULL, NULL},
        {"table8_load, table8_look_up", test_table8, NULL, NULL, NULL},
        {"mask_any", test_mask_any, NULL, NULL, NULL},
        {"vec_reduce_max", test_reduce_max, NULL, NULL, NULL},
        {"veci_reduce_add", test_reduce_add, NULL, NULL, NULL},
        {"fold8_lanes", test_fold8_lanes, NULL, NULL, NULL},
        {"fold8_total", test_fold8_total, NULL, NULL, NULL},
        {"fold8_lanes, special values", test_fold8_special, NULL, NULL, NULL},
        {"fold8_zero, fold8_add", test_fold8_add, NULL, NULL, NULL},
    };
    return cmocka_run_group_tests_name(xent_test_isa, tests, NULL, NULL);
}
