/* What every test program stands on: assertions on bits and ulps, a generator,
 * memory between guard pages, and the tiers to run on.
 *
 * cmocka's assert_float_equal passes for NaN and infinities whatever the other side
 * is, and a tolerance hides a wrong tail: nothing here has a tolerance. */
#ifndef XENT_TESTS_CHECK_H
#define XENT_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <xent/xent.h>

/* ---- Running ------------------------------------------------------------- */

/* Runs the group. The program's first argument, if any, picks tests by name, with *
 * and ? as wildcards; so the one test that fails runs alone as
 *     build/tests/test_guard 'avx2 cross_entropy'
 * and a list of the names is what the run without an argument prints. */
int check_run(const char *group, const struct CMUnitTest *tests, size_t count, int argc,
              char **argv);

/* True if XENT_TEST_QUICK is set to 1: loops that take minutes under an emulator are
 * thinned out. What goes into the hash of test_same_bits stays the same. */
bool check_quick(void);

/* ---- Tiers ---------------------------------------------------------------- */

/* Tiers that this machine can run, the scalar tier first; returns how many. */
size_t check_tiers(xent_tier tiers[XENT_TIER_COUNT]);

bool check_tier_available(xent_tier tier);

/* AVX and AVX-512 leave the upper halves of vector registers in use until they are cleared, and
 * SSE code, the caller's own, takes three times as long the while (Zen 4). Clears them; whether they are
 * clear. On CPUs that can't tell, they are taken to be. */
void check_clear_uppers(void);
bool check_uppers_clear(void);

/* Whether the tier shares the one answer: all but sse2, which has no FMA. */
bool check_tier_fused(xent_tier tier);

/* "skipped: avx512 (this CPU lacks it)", a line for each tier that can't run here. */
void check_print_skipped(void);

/* On this tier, and on the threads lent. */
xent_execution check_execution(xent_tier tier);

/* Has calls made by way of check_execution given this parallel_for from now on; NULL: none. */
void check_lend_threads(void (*parallel_for)(void *, size_t, void (*)(void *, size_t), void *), void *host);

/* A test of one rule, and the cmocka test that runs it on every available tier. A failing
 * assertion of this header names the tier. */
struct rule {
    void (*test)(xent_tier tier);
};
void check_on_every_tier(void **rule);

#define on_every_tier(test) \
    {#test, check_on_every_tier, NULL, NULL, &(struct rule) { test }}

/* ---- Bits and ulps ---------------------------------------------------------- */

uint32_t check_bits(float value);    /* NaN: 0x7fc00000, whatever its own bits */
uint64_t check_bits64(double value); /* likewise */

bool check_same(float a, float b); /* the same bits, or NaN both; so -0 is not +0 */
bool check_same64(double a, double b);

/* Floats between a and b, zeros counted once; a large number if one is NaN. */
uint64_t check_distance(float a, float b);

/* The spacing of floats around the exact value, 2^-149 at least. */
double check_ulp(double exact);

/* |got - exact| in such ulps. NaN for NaN and an infinity for itself, or for a value that
 * rounds to it, are 0 apart; anything else is infinitely far from them. */
double check_ulps(float got, double exact);

/* Fails unless the float has the very bits of the expected one (NaN: any NaN). */
#define assert_same(got, expected) check_assert_same((got), (expected), #got, __FILE__, __LINE__)
void check_assert_same(double got, double expected, const char *what, const char *file, int line);

/* Fails unless got is within bound ulps (of float) of exact. */
#define assert_ulps(got, exact, bound) \
    check_assert_ulps((got), (exact), (bound), #got, __FILE__, __LINE__)
void check_assert_ulps(float got, double exact, double bound, const char *what, const char *file,
                       int line);

/* Fails with the library's own words unless the status is the expected one. */
#define assert_status(got, expected, error) \
    check_assert_status((got), (expected), (error), __FILE__, __LINE__)
void check_assert_status(xent_status got, xent_status expected, const xent_error *error,
                         const char *file, int line);

/* ---- A generator -------------------------------------------------------------- */

/* The same numbers on every machine: no call to libm. */
struct generator {
    uint64_t state;
};

uint32_t generate(struct generator *g);
uint32_t generate_below(struct generator *g, uint32_t bound);
float generate_uniform(struct generator *g, float low, float high);
float generate_normal(struct generator *g); /* about normal: mean 0, deviation 1, |x| < 3.5 */

/* ---- Memory ---------------------------------------------------------------------- */

/* Where a block lies between the two pages that can't be touched. */
enum placement {
    AT_FRONT, /* begins right after the first: reading before it faults */
    AT_BACK   /* ends right before the last: reading past it faults */
};

/* Pages between two that can't be touched; grows, and is used over and over. */
struct guarded {
    unsigned char *pages;
    size_t size;
};

/* bytes of memory, moved off its end by shift bytes, filled with a pattern, as is what
 * lies within 256 bytes of it. */
void *guarded_block(struct guarded *guarded, size_t bytes, size_t shift, enum placement placement);

void guarded_fill(void *memory, size_t bytes); /* with the pattern */

/* Whether a block just taken, and its neighbourhood, hold the pattern (again). */
bool guarded_untouched(const struct guarded *guarded, const void *block, size_t bytes);

#endif
