/* What the tests of the vocabulary share: the precision's types and limits, values that go
 * wrong, comparison bit for bit (NaN counts as NaN), and memory between two guard pages.
 *
 * Each test_vector_*.c is compiled once per instruction set and precision, with the flags of
 * that instruction set; only test_vector_run.c is not. */
#ifndef XENT_TESTS_VECTOR_CHECK_H
#define XENT_TESTS_VECTOR_CHECK_H

#define _DEFAULT_SOURCE
#include <float.h>
#include <inttypes.h>
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
#include "vector_run.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))
#define NOT_FOLDED __attribute__((noinline))
#define CHECK static inline __attribute__((unused))

/* -- The precision: real, and the integer of its size. -- */

#ifdef XENT_REAL_F64
typedef int64_t real_int;
typedef uint64_t real_uint;
#define REAL_MAX DBL_MAX
#define REAL_MIN DBL_MIN
#define REAL_TINY 0x1p-1074
#define REAL_EPSILON DBL_EPSILON
#define REAL_DIGITS 53
#define REAL_BITS 64
#define REAL_GREATEST_POWER 1023
#define REAL_INT_MAX INT64_MAX
#define REAL_INT_MIN INT64_MIN
CHECK real real_fma(real a, real b, real c) { return fma(a, b, c); }
#else
typedef int32_t real_int;
typedef uint32_t real_uint;
#define REAL_MAX FLT_MAX
#define REAL_MIN FLT_MIN
#define REAL_TINY 0x1p-149f
#define REAL_EPSILON FLT_EPSILON
#define REAL_DIGITS 24
#define REAL_BITS 32
#define REAL_GREATEST_POWER 127
#define REAL_INT_MAX INT32_MAX
#define REAL_INT_MIN INT32_MIN
CHECK real real_fma(real a, real b, real c) { return fmaf(a, b, c); }
#endif

CHECK real real_of(real_int bits) { real a; memcpy(&a, &bits, sizeof a); return a; }
CHECK real_int bits_of(real a) { real_int bits; memcpy(&bits, &a, sizeof bits); return bits; }
CHECK double double_of(uint64_t bits) { double a; memcpy(&a, &bits, sizeof a); return a; }
CHECK uint64_t double_bits(double a) { uint64_t bits; memcpy(&bits, &a, sizeof bits); return bits; }
/* Neighbours, upwards and downwards; not beyond zero. */
CHECK real next_up(real a) { return real_of(bits_of(a) + (a > 0 ? 1 : -1)); }
CHECK real next_down(real a) { return real_of(bits_of(a) - (a > 0 ? 1 : -1)); }

/* -- Values. -- */

static uint64_t random_state;

CHECK uint64_t random_bits(void) /* splitmix64 */
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
CHECK real_int random_int(void) { return (real_int)(real_uint)random_bits(); }
CHECK double random_double(void) { return double_of(random_bits()); }

/* An integer of REAL_DIGITS bits, with sign, times 2^least ... 2^most. */
CHECK real random_scaled(int least, int most)
{
    double significand = (double)(random_bits() >> (64 - REAL_DIGITS));
    if (random_bits() & 1) significand = -significand;
    return (real)ldexp(significand, least + (int)(random_bits() % (uint64_t)(most - least + 1)));
}
/* Any bits, or a number near those of the next call. */
CHECK real random_real(void) { return random_bits() & 1 ? real_of(random_int()) : random_scaled(-REAL_DIGITS, -REAL_DIGITS + 4); }

static const real special_reals[] = {
    0, -0.0, 1, -1, 3, -0.75, INFINITY, -INFINITY, NAN, REAL_MAX, -REAL_MAX,
    REAL_MIN, REAL_MIN - REAL_TINY, REAL_TINY, -REAL_TINY, 1 - REAL_EPSILON / 2,
    1 + REAL_EPSILON, -(1 + 2 * REAL_EPSILON), /* (1 + e)^2 - (1 + 2 e): 0, or fused e^2 */
#ifdef XENT_REAL_F64
    0x1.8p-538, 0x1p512,                 /* squares that underflow and overflow */
    1 + 0x1p-26, 1 + 0x1p-27, 0x1p-180, /* product half way between doubles, plus a little */
#else
    0x1.8p-75f, 0x1p64f,
    1 + 0x1p-12f, 0x1p-80f, /* square half way between floats, plus a little */
#endif
};
/* Integers that may be bits of a number; those that are no float, or double, last. */
static const real_int special_ints[] = {
    0, 1, -1, 7, -8, 255, REAL_INT_MAX, REAL_INT_MIN, REAL_INT_MIN + 1, REAL_INT_MAX / 3, 16777217, -16777219,
#ifdef XENT_REAL_F64
    0x3ff0000000000000, 0x0010000000000000, 0x7fffffff00000000, 0x00000000ffffffff, -0x80000000ll, 0x0008000000000001,
#else
    0x3f800000, 0x00800000, 0x7fffffbf, 0x7fffffc0, 0x40000040,
#endif
};
static const double special_doubles[] = {
    0.0, -0.0, 1.0, -1.0, -3.0, INFINITY, -INFINITY, NAN, DBL_MAX, -DBL_MAX, DBL_MIN, 0x1p-1074,
    0x1.0000000000001p0, -0x1.0000000000002p0, 0x1p53,
    0x1.000001p0, 0x1.000003p0,                             /* half way between two floats */
    0x1.ffffffp127, 0x1.fffffefffffffp127, 0x1.000003p-126, /* at overflow, and at underflow */
    0x1p-150, -0x1.0000000000001p-150, 0x1.8p-149,
};

/* -- Results, as bits. -- */

enum type { REAL, INT, DOUBLE, TRUTH };

CHECK uint64_t real_result(real a) { return (real_uint)bits_of(a); }
CHECK uint64_t int_result(real_int a) { return (real_uint)a; }
CHECK uint64_t double_result(double a) { return double_bits(a); }
CHECK uint64_t truth_result(int truth) { return truth != 0; }

CHECK void real_results(vec a, uint64_t out[VEC_WIDTH])
{
    real lanes[VEC_WIDTH];
    vec_store(lanes, a);
    for (int lane = 0; lane < VEC_WIDTH; lane++) out[lane] = real_result(lanes[lane]);
}
CHECK void int_results(veci a, uint64_t out[VEC_WIDTH]) { real_results(vec_from_bits(a), out); }
CHECK void double_results(wide a, uint64_t out[VEC_WIDTH])
{
    double lanes[VEC_WIDTH];
    wide_store(lanes, a);
    for (int lane = 0; lane < VEC_WIDTH; lane++) out[lane] = double_result(lanes[lane]);
}
CHECK void truth_results(mask m, uint64_t out[VEC_WIDTH])
{
    real_results(vec_select(m, vec_from_bits(veci_set(1)), vec_from_bits(veci_set(0))), out);
}

CHECK real real_of_result(uint64_t result) { return real_of((real_int)(real_uint)result); }

CHECK int same(enum type type, uint64_t got, uint64_t expected)
{
    if (type == REAL && isnan(real_of_result(expected))) return isnan(real_of_result(got));
    if (type == DOUBLE && isnan(double_of(expected))) return isnan(double_of(got));
    return got == expected;
}

CHECK void describe(enum type type, uint64_t result, char text[64])
{
    if (type == REAL) snprintf(text, 64, "%a (%#" PRIx64 ")", (double)real_of_result(result), result);
    if (type == INT) snprintf(text, 64, "%" PRId64 " (%#" PRIx64 ")", (int64_t)(real_int)(real_uint)result, result);
    if (type == DOUBLE) snprintf(text, 64, "%a (%#" PRIx64 ")", double_of(result), result);
    if (type == TRUTH) snprintf(text, 64, "%s", result ? "true" : "false");
}

CHECK void expect(const char *word, int lane, enum type type, uint64_t got, uint64_t expected)
{
    char got_text[64], expected_text[64];
    if (same(type, got, expected)) return;
    describe(type, got, got_text);
    describe(type, expected, expected_text);
    fail_msg("%s: %s, lane %d: got %s, expected %s", xent_test_isa, word, lane, got_text, expected_text);
}
CHECK void expect_real(const char *word, int lane, real got, real expected)
{
    expect(word, lane, REAL, real_result(got), real_result(expected));
}
CHECK void expect_double(const char *word, int lane, double got, double expected)
{
    expect(word, lane, DOUBLE, double_result(got), double_result(expected));
}

/* -- Vectors of what memory holds in another shape. -- */

CHECK veci ints_from_memory(const real_int ints[VEC_WIDTH])
{
    real bits[VEC_WIDTH];
    memcpy(bits, ints, sizeof bits);
    return vec_bits(vec_load(bits));
}
CHECK mask mask_from_memory(const int truth[VEC_WIDTH])
{
    real number[VEC_WIDTH];
    for (int lane = 0; lane < VEC_WIDTH; lane++) number[lane] = truth[lane] ? 1 : 0;
    return vec_equal(vec_load(number), vec_set(1));
}

/* -- Pages that may be touched, from begin to end, between two that may not. -- */

struct guarded {
    char *mapping, *begin, *end;
    size_t page;
};

CHECK struct guarded guarded_new(void)
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
CHECK void guarded_free(struct guarded g) { assert_int_equal(munmap(g.mapping, 3 * g.page), 0); }

/* The place of count elements right after the first guard page, or right before the second, or
 * (otherwise) one element away from it. */
enum place { AFTER_GUARD, BEFORE_GUARD, UNALIGNED, PLACES };

CHECK void *guarded_place(struct guarded g, enum place place, size_t count, size_t size)
{
    if (place == AFTER_GUARD) return g.begin;
    return g.end - (count + (place == UNALIGNED)) * size;
}

CHECK real element(size_t index) { return (real)index + (real)0.5; }

#endif
