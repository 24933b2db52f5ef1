#define _GNU_SOURCE /* MAP_ANONYMOUS */

#include "check.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- Running ------------------------------------------------------------- */

int check_run(const char *group, const struct CMUnitTest *tests, size_t count, int argc,
              char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    check_print_skipped();
    return _cmocka_run_group_tests(group, tests, count, NULL, NULL) == 0 ? 0 : 1;
}

bool check_quick(void)
{
    const char *quick = getenv("XENT_TEST_QUICK");
    return quick != NULL && strcmp(quick, "1") == 0;
}

/* ---- Tiers ---------------------------------------------------------------- */

static xent_info get_info(void)
{
    xent_info info;
    if (xent_get_info(&info, sizeof info) != XENT_OK) {
        fprintf(stderr, "xent_get_info failed\n");
        abort();
    }
    return info;
}

bool check_tier_available(xent_tier tier)
{
    return (get_info().available >> (unsigned)tier & 1u) != 0;
}

size_t check_tiers(xent_tier tiers[XENT_TIER_COUNT])
{
    size_t count = 0;
    for (int tier = XENT_TIER_SCALAR; tier < XENT_TIER_COUNT; tier++) {
        if (check_tier_available((xent_tier)tier)) {
            tiers[count++] = (xent_tier)tier;
        }
    }
    if (count == 0 || tiers[0] != XENT_TIER_SCALAR) {
        fprintf(stderr, "the scalar tier, the reference, is not available\n");
        abort();
    }
    return count;
}

#if defined(__x86_64__)
/* Whether the CPU tells which vector registers are in use. */
static bool tells_use(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return check_tier_available(XENT_TIER_AVX2) && __get_cpuid_count(13, 1, &a, &b, &c, &d) && (a & 4) != 0;
}

void check_clear_uppers(void)
{
    if (tells_use()) __asm__ volatile("vzeroupper");
}

bool check_uppers_clear(void)
{
    unsigned in_use = 0, high = 0;
    if (tells_use()) __asm__ volatile("xgetbv" : "=a"(in_use), "=d"(high) : "c"(1));
    return (in_use & 4) == 0;
}
#else
void check_clear_uppers(void) {}
bool check_uppers_clear(void)
{
    return true;
}
#endif

bool check_tier_fused(xent_tier tier)
{
    return tier != XENT_TIER_SSE2;
}

void check_print_skipped(void)
{
    const xent_info info = get_info();
    for (int tier = XENT_TIER_SCALAR; tier < XENT_TIER_COUNT; tier++) {
        if ((info.available >> (unsigned)tier & 1u) == 0) {
            const bool built = (info.built >> (unsigned)tier & 1u) != 0;
            printf("skipped: %s (this %s lacks it)\n", xent_tier_name((xent_tier)tier),
                   built ? "CPU" : "build");
        }
    }
    fflush(stdout);
}

static xent_execution lent;

void check_lend_threads(void (*parallel_for)(void *, size_t, void (*)(void *, size_t), void *), void *host)
{
    lent.parallel_for = parallel_for;
    lent.host = host;
}

xent_execution check_execution(xent_tier tier)
{
    xent_execution execution = lent;
    execution.size = sizeof execution;
    execution.tier = tier;
    return execution;
}

static xent_tier running = XENT_TIER_AUTO; /* the tier a rule is being tested on */

void check_on_every_tier(void **rule)
{
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t count = check_tiers(tiers);
    for (size_t i = 0; i < count; i++) {
        running = tiers[i];
        ((const struct rule *)*rule)->test(tiers[i]);
    }
    running = XENT_TIER_AUTO;
}

/* ---- Bits and ulps ---------------------------------------------------------- */

uint32_t check_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits;
}

uint64_t check_bits64(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7fffffffffffffffu) > 0x7ff0000000000000u ? 0x7ff8000000000000u : bits;
}

bool check_same(float a, float b)
{
    return check_bits(a) == check_bits(b);
}

bool check_same64(double a, double b)
{
    return check_bits64(a) == check_bits64(b);
}

/* Floats in order, as integers in order; both zeros are 0. */
static int64_t rank(float value)
{
    const uint32_t bits = check_bits(value);
    const int64_t magnitude = bits & 0x7fffffffu;
    return (bits >> 31) != 0 ? -magnitude : magnitude;
}

uint64_t check_distance(float a, float b)
{
    if (isnan(a) || isnan(b)) {
        return isnan(a) && isnan(b) ? 0 : UINT64_MAX;
    }
    const int64_t distance = rank(a) - rank(b);
    return (uint64_t)(distance < 0 ? -distance : distance);
}

double check_ulp(double exact)
{
    const double magnitude = fabs(exact);
    if (!(magnitude >= (double)FLT_MIN)) {
        return 0x1p-149;
    }
    return ldexp(1.0, ilogb(fmin(magnitude, (double)FLT_MAX)) - 23);
}

double check_ulps(float got, double exact)
{
    const double overflow = 0x1p128 - 0x1p103; /* from here on, rounding gives infinity */
    if (isnan(got) || isnan(exact)) {
        return isnan(got) && isnan(exact) ? 0.0 : (double)INFINITY;
    }
    if (fabs(exact) >= overflow && isinf(got) && (got > 0) == (exact > 0)) {
        return 0.0;
    }
    if (isinf(exact)) {
        return (double)INFINITY;
    }
    /* An infinity out of an exact value below it has overstepped the next float's place. */
    const double value = isinf(got) ? copysign(0x1p128, (double)got) : (double)got;
    return fabs(value - exact) / check_ulp(exact);
}

void check_assert_same(double got, double expected, const char *what, const char *file, int line)
{
    if (!check_same64(got, expected)) {
        print_error("%s: %s is %a (%.9g), not %a (%.9g)\n", xent_tier_name(running), what, got, got,
                    expected, expected);
        _fail(file, line);
    }
}

void check_assert_ulps(float got, double exact, double bound, const char *what, const char *file,
                       int line)
{
    const double ulps = check_ulps(got, exact);
    if (!(ulps <= bound)) {
        print_error("%s: %s is %a (%.9g), not %a (%.9g): %.3f ulp, %.3f allowed\n",
                    xent_tier_name(running), what, (double)got, (double)got, exact, exact, ulps,
                    bound);
        _fail(file, line);
    }
}

void check_assert_status(xent_status got, xent_status expected, const xent_error *error,
                         const char *file, int line)
{
    if (got != expected) {
        print_error("%s: status %d (%s), not %d (%s)%s%s\n", xent_tier_name(running), (int)got, xent_status_string(got),
                    (int)expected, xent_status_string(expected),
                    got != XENT_OK && error != NULL ? ": " : "",
                    got != XENT_OK && error != NULL ? error->message : "");
        _fail(file, line);
    }
}

/* ---- A generator -------------------------------------------------------------- */

uint32_t generate(struct generator *g) /* splitmix64, upper half */
{
    g->state += 0x9e3779b97f4a7c15u;
    uint64_t z = g->state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

uint32_t generate_below(struct generator *g, uint32_t bound)
{
    return (uint32_t)(((uint64_t)generate(g) * bound) >> 32);
}

float generate_uniform(struct generator *g, float low, float high)
{
    const double fraction = (double)generate(g) * 0x1p-32;
    return (float)((double)low + ((double)high - (double)low) * fraction);
}

float generate_normal(struct generator *g)
{
    const uint32_t a = generate(g), b = generate(g);
    /* Four uniform numbers in [0, 2^16); their sum has deviation 2^16 sqrt(4 / 12). */
    const int32_t sum = (int32_t)((a >> 16) + (a & 0xffff) + (b >> 16) + (b & 0xffff));
    return (float)(sum - 0x1fffe) * (float)(1.7320508 / 65536.0);
}

/* ---- Memory ---------------------------------------------------------------------- */

enum { NEIGHBOURHOOD = 256, PATTERN = 0xA5 };

static void grow(struct guarded *guarded, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t size = (bytes + page) / page * page;
    if (guarded->pages != NULL) {
        munmap(guarded->pages - page, guarded->size + 2 * page);
    }
    unsigned char *all = mmap(NULL, size + 2 * page, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all, page, PROT_NONE) != 0 ||
        mprotect(all + page + size, page, PROT_NONE) != 0) {
        perror("guard pages");
        abort();
    }
    *guarded = (struct guarded){all + page, size};
}

/* The block and what lies within NEIGHBOURHOOD bytes of it on these pages. */
static void neighbourhood(const struct guarded *guarded, const void *block, size_t bytes,
                          unsigned char **begin, unsigned char **end)
{
    const size_t before = (size_t)((const unsigned char *)block - guarded->pages);
    const size_t after = guarded->size - before - bytes;
    *begin = guarded->pages + (before > NEIGHBOURHOOD ? before - NEIGHBOURHOOD : 0);
    *end = guarded->pages + before + bytes + (after > NEIGHBOURHOOD ? NEIGHBOURHOOD : after);
}

void *guarded_block(struct guarded *guarded, size_t bytes, size_t shift, enum placement placement)
{
    if (guarded->pages == NULL || bytes + shift > guarded->size) {
        grow(guarded, (bytes + shift) * 3 / 2);
    }
    unsigned char *block = placement == AT_FRONT ? guarded->pages + shift
                                                 : guarded->pages + guarded->size - bytes - shift;
    unsigned char *begin, *end;
    neighbourhood(guarded, block, bytes, &begin, &end);
    guarded_fill(begin, (size_t)(end - begin));
    return block;
}

void guarded_fill(void *memory, size_t bytes)
{
    memset(memory, PATTERN, bytes);
}

bool guarded_untouched(const struct guarded *guarded, const void *block, size_t bytes)
{
    unsigned char *begin, *end;
    neighbourhood(guarded, block, bytes, &begin, &end);
    /* All bytes are the pattern if the first is and each equals its neighbour. */
    return begin == end ||
           (begin[0] == PATTERN && memcmp(begin, begin + 1, (size_t)(end - begin) - 1) == 0);
}
