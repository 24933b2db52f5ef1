/* CPU detection and the choice of a tier.
 *
 * The choice, and the tiers that can run, are a pure function of the CPU and of XENT_TIER,
 * kept in one atomic word: asking the CPU takes microseconds on a virtual machine. The first calls
 * of several threads may all work it out; they all store the same. */
#include "tier.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

/* The tables of this build: the build defines XENT_HAVE_<TIER> for each. */
#define TABLES(name) extern const struct xent_kernels xent_kernels_##name##_f32, xent_kernels_##name##_f64
#define BOTH(name) {&xent_kernels_##name##_f32, &xent_kernels_##name##_f64}
#define NEITHER {NULL, NULL}
TABLES(scalar);
#ifdef XENT_HAVE_SSE2
TABLES(sse2);
#define TABLES_SSE2 BOTH(sse2)
#else
#define TABLES_SSE2 NEITHER
#endif
#ifdef XENT_HAVE_AVX2
TABLES(avx2);
#define TABLES_AVX2 BOTH(avx2)
#else
#define TABLES_AVX2 NEITHER
#endif
#ifdef XENT_HAVE_AVX512
TABLES(avx512);
#define TABLES_AVX512 BOTH(avx512)
#else
#define TABLES_AVX512 NEITHER
#endif
#ifdef XENT_HAVE_NEON
TABLES(neon);
#define TABLES_NEON BOTH(neon)
#else
#define TABLES_NEON NEITHER
#endif
#ifdef XENT_HAVE_NEON_SIMDE
TABLES(neon_simde);
#define TABLES_NEON_SIMDE BOTH(neon_simde)
#else
#define TABLES_NEON_SIMDE NEITHER
#endif

static const struct {
    const char *name;
    struct xent_tables tables; /* NULL: not in this build */
} tiers[XENT_TIER_COUNT] = {
    [XENT_TIER_AUTO] = {"auto", NEITHER},
    [XENT_TIER_SCALAR] = {"scalar", BOTH(scalar)},
    [XENT_TIER_SSE2] = {"sse2", TABLES_SSE2},
    [XENT_TIER_AVX2] = {"avx2", TABLES_AVX2},
    [XENT_TIER_AVX512] = {"avx512", TABLES_AVX512},
    [XENT_TIER_NEON] = {"neon", TABLES_NEON},
    [XENT_TIER_NEON_SIMDE] = {"neon-simde", TABLES_NEON_SIMDE},
};

static int tier_known(xent_tier tier) { return (int)tier >= 0 && (int)tier < XENT_TIER_COUNT; }

const char *xent_tier_name(xent_tier tier) { return tier_known(tier) ? tiers[tier].name : NULL; }

/* -- What the CPU has, and the operating system saves -- */

#if defined(__x86_64__) || defined(__i386__)

static int cpu_runs(xent_tier tier)
{
    unsigned a, b, c, d, features_c, features_d, extended_b = 0, saved = 0;
    if (!__get_cpuid(1, &a, &b, &features_c, &features_d)) return tier == XENT_TIER_SCALAR;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) extended_b = b;
    /* XGETBV itself exists only where the OS has switched XSAVE on. XCR0 tells which
     * registers it saves: bits 1 and 2 XMM and YMM, 5 to 7 the masks and ZMM. */
    if (features_c & bit_OSXSAVE) {
        unsigned high;
        __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    }
    int avx2 = (saved & 0x06) == 0x06 && features_c & bit_AVX && features_c & bit_FMA && features_c & bit_F16C && extended_b & bit_AVX2;
    unsigned wide = bit_AVX512F | bit_AVX512VL | bit_AVX512BW | bit_AVX512DQ;
    switch (tier) {
    case XENT_TIER_SCALAR: return 1;
    case XENT_TIER_SSE2: return (features_d & bit_SSE2) != 0;
    case XENT_TIER_AVX2:
    case XENT_TIER_NEON_SIMDE: return avx2;
    case XENT_TIER_AVX512: return avx2 && (saved & 0xe6) == 0xe6 && (extended_b & wide) == wide;
    default: return 0;
    }
}

static int cpu_is_intel(void)
{
    unsigned a, b = 0, c, d;
    return __get_cpuid(0, &a, &b, &c, &d) && b == signature_INTEL_ebx;
}

#else

/* On AArch64 every CPU has Advanced SIMD; elsewhere only the scalar tier is built. */
static int cpu_runs(xent_tier tier) { return tier == XENT_TIER_SCALAR || tier == XENT_TIER_NEON; }
static int cpu_is_intel(void) { return 0; }

#endif


/* -- The choice -- */

enum reason { BEST = 1, NAMED, NAMED_UNAVAILABLE, NAMED_UNKNOWN };

static const char *const reasons[] = {
    [BEST] = "the best that this build has and this CPU runs",
    [NAMED] = "named by XENT_TIER",
    [NAMED_UNAVAILABLE] = "the best here; XENT_TIER names a tier that this build or this CPU lacks, and is ignored",
    [NAMED_UNKNOWN] = "the best here; XENT_TIER names no tier, and is ignored",
};

struct choice {
    xent_tier tier;
    enum reason reason;
    unsigned available; /* bit 1 << tier: this build has it and this CPU runs it */
    int intel;          /* see xent_cpu */
};

static int can_run(unsigned available, xent_tier tier) { return tier_known(tier) && (available >> tier & 1); }

/* Apart, so that what every call asks is short. */
static __attribute__((noinline)) struct choice work_out_choice(void)
{
    /* The best first. SSE2 before scalar: nothing is slower than an fmaf in software. */
    static const xent_tier order[] = {XENT_TIER_AVX512, XENT_TIER_AVX2, XENT_TIER_NEON, XENT_TIER_SSE2, XENT_TIER_SCALAR};
    struct choice choice = {XENT_TIER_SCALAR, BEST, 0, cpu_is_intel()};
    for (int tier = 1; tier < XENT_TIER_COUNT; tier++)
        if (tiers[tier].tables.f32 && cpu_runs((xent_tier)tier)) choice.available |= 1u << tier;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (can_run(choice.available, order[i])) {
            choice.tier = order[i];
            break;
        }
    const char *wish = getenv("XENT_TIER");
    if (!wish || !*wish) return choice;
    choice.reason = NAMED_UNKNOWN;
    for (int tier = 1; tier < XENT_TIER_COUNT; tier++)
        if (strcmp(wish, tiers[tier].name) == 0) {
            if (can_run(choice.available, (xent_tier)tier)) return (struct choice){(xent_tier)tier, NAMED, choice.available, choice.intel};
            choice.reason = NAMED_UNAVAILABLE;
        }
    return choice;
}

static inline struct choice default_choice(void)
{
    static _Atomic unsigned chosen; /* tier | reason << 8 | available << 16 | intel << 31; 0: not yet */
    unsigned word = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!word) {
        struct choice choice = work_out_choice();
        word = (unsigned)choice.tier | (unsigned)choice.reason << 8 | choice.available << 16 | (unsigned)choice.intel << 31;
        atomic_store_explicit(&chosen, word, memory_order_relaxed);
    }
    return (struct choice){(xent_tier)(word & 0xff), (enum reason)(word >> 8 & 0xff), word >> 16 & 0x7fff, (int)(word >> 31)};
}

int xent_pages_are_near_by(void) { return default_choice().intel; }
int64_t xent_large_bytes(void) { return default_choice().intel ? 15 << 20 : INT64_MAX; }

xent_status xent_choose(const xent_execution *given, xent_execution *ours, struct xent_tables *tables,
                        xent_error *error)
{
    static const xent_execution defaults = {.size = sizeof defaults, .tier = XENT_TIER_AUTO};
    TRY(xent_check_struct(given, sizeof defaults, sizeof defaults, 0, "execution", error));
    const xent_execution *read = xent_read_struct(ours, given, &defaults, sizeof defaults);
    *ours = *read;
    struct choice choice = default_choice();
    if (ours->tier == XENT_TIER_AUTO) ours->tier = choice.tier;
    else if (!can_run(choice.available, ours->tier)) {
        const char *name = xent_tier_name(ours->tier);
        return xent_fail(error, XENT_ERROR_TIER, "execution", "tier %d (%s) can't run here", (int)ours->tier,
                         name ? name : "unknown");
    }
    *tables = tiers[ours->tier].tables;
    return XENT_OK;
}

xent_status xent_get_info(xent_info *info, size_t size)
{
    if (!info) return XENT_ERROR_NULL;
    struct choice choice = default_choice();
    xent_info ours = {choice.tier, xent_tier_name(choice.tier), reasons[choice.reason], 0, choice.available};
    for (int tier = 1; tier < XENT_TIER_COUNT; tier++)
        if (tiers[tier].tables.f32) ours.built |= 1u << tier;
    /* A shorter struct, of an older header, gets what it has room for. */
    memset(info, 0, size);
    memcpy(info, &ours, size < sizeof ours ? size : sizeof ours);
    return XENT_OK;
}
