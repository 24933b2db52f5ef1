/* The words that convert between lanes and memory of another type.
 *
 * The reference for 16 bits is the list of all magnitudes of a format, as doubles: a number
 * rounds to the entry whose neighbours' midpoints enclose it, and on a midpoint to the even
 * one. The list goes on to what infinity would be, were it finite, so that overflow needs no
 * rule of its own. */
#include "vector_check.h"

struct format {
    const char *name;
    int fraction_bits, bias;
    int infinity;          /* its bits, and the number of finite magnitudes */
    void (*load)(const uint16_t *p, real out[VEC_WIDTH]);
    void (*store)(uint16_t *p, const real lanes[VEC_WIDTH]);
    double magnitude[0x7f81];
};

static NOT_FOLDED void load_f16(const uint16_t *p, real out[VEC_WIDTH]) { vec_store(out, vec_load_f16(p)); }
static NOT_FOLDED void store_f16(uint16_t *p, const real lanes[VEC_WIDTH]) { vec_store_f16(p, vec_load(lanes)); }
static NOT_FOLDED void load_bf16(const uint16_t *p, real out[VEC_WIDTH]) { vec_store(out, vec_load_bf16(p)); }
static NOT_FOLDED void store_bf16(uint16_t *p, const real lanes[VEC_WIDTH]) { vec_store_bf16(p, vec_load(lanes)); }

static NOT_FOLDED void store2_bf16(uint16_t *p, const real low[VEC_WIDTH], const real high[VEC_WIDTH])
{
    vec_store2_bf16(p, vec_load(low), vec_load(high));
}

static struct format f16 = {"f16", 10, 15, 0x7c00, load_f16, store_f16, {0}};
static struct format bf16 = {"bf16", 7, 127, 0x7f80, load_bf16, store_bf16, {0}};

static void fill_in(struct format *f)
{
    for (int k = 0; k <= f->infinity; k++) {
        int exponent = k >> f->fraction_bits, fraction = k & ((1 << f->fraction_bits) - 1);
        if (exponent > 0) fraction |= 1 << f->fraction_bits;
        else exponent = 1;
        f->magnitude[k] = ldexp(fraction, exponent - f->bias - f->fraction_bits);
    }
}

/* Between magnitudes k and k + 1; exact. */
static double midpoint(const struct format *f, int k) { return (f->magnitude[k] + f->magnitude[k + 1]) / 2; }

static int rounded(const struct format *f, double a)
{
    int least = 0, most = f->infinity, sign = signbit(a) ? 0x8000 : 0;
    a = fabs(a);
    while (least < most) { /* the least k whose midpoint to k + 1 is not below a */
        int k = (least + most) / 2;
        if (midpoint(f, k) < a) least = k + 1;
        else most = k;
    }
    if (least < f->infinity && a >= midpoint(f, least) && least & 1) least++; /* a tie */
    return sign | least;
}

static void check_store(const struct format *f, const real lanes[VEC_WIDTH])
{
    uint16_t out[VEC_WIDTH];
    f->store(out, lanes);
    for (int lane = 0; lane < VEC_WIDTH; lane++) {
        if (isnan(lanes[lane])) {
            int quiet = f->infinity | 1 << (f->fraction_bits - 1);
            if ((out[lane] & quiet) == quiet) continue;
            fail_msg("%s: vec_store_%s, lane %d: got %#x for NaN (%#" PRIx64 ")", xent_test_isa, f->name, lane,
                     out[lane], real_result(lanes[lane]));
        }
        int expected = rounded(f, (double)lanes[lane]);
        if (out[lane] != expected)
            fail_msg("%s: vec_store_%s, lane %d: got %#x for %a, expected %#x", xent_test_isa, f->name, lane,
                     out[lane], (double)lanes[lane], expected);
    }
}

/* vec_store2_bf16 gives what vec_store_bf16 gives twice, and NaN for NaN that suits it. */
static void check_store2_bf16(const real lanes[VEC_WIDTH])
{
    real pair[2][VEC_WIDTH];
    uint16_t out[2 * VEC_WIDTH], expected[2 * VEC_WIDTH];
    for (int lane = 0; lane < VEC_WIDTH; lane++) {
        const real a = lanes[lane];
        const int unfit = isnan(a) && sizeof a == 4 && (bits_of(a) & 0xffff) != 0;
        pair[0][lane] = pair[1][VEC_WIDTH - 1 - lane] = unfit ? real_of((bits_of(a) & ~(real_int)0xffff) | 0x400000) : a;
    }
    store_bf16(expected, pair[0]);
    store_bf16(expected + VEC_WIDTH, pair[1]);
    store2_bf16(out, pair[0], pair[1]);
    for (int at = 0; at < 2 * VEC_WIDTH; at++)
        if (isnan(pair[at / VEC_WIDTH][at % VEC_WIDTH]) ? (out[at] & 0x7fff) <= 0x7f80 : out[at] != expected[at])
            fail_msg("%s: vec_store2_bf16, element %d: got %#x for %a, expected %#x", xent_test_isa, at, out[at],
                     (double)pair[at / VEC_WIDTH][at % VEC_WIDTH], expected[at]);
}

/* Numbers to be stored are gathered until they fill a vector. */
static real gathered[VEC_WIDTH];
static int gathered_count;

static void gather(const struct format *f, real a)
{
    gathered[gathered_count++] = a;
    if (gathered_count < VEC_WIDTH) return;
    check_store(f, gathered);
    if (f == &bf16) check_store2_bf16(gathered);
    gathered_count = 0;
}
/* With a few more, so that what was gathered is stored. */
static void gather_end(const struct format *f)
{
    for (int k = 0; k < VEC_WIDTH; k++) gather(f, element((size_t)k));
    gathered_count = 0;
}

static void test_load_half(void **state)
{
    const struct format *f = *state;
    for (int first = 0; first < 0x10000; first++) {
        uint16_t in[VEC_WIDTH];
        real out[VEC_WIDTH];
        for (int lane = 0; lane < VEC_WIDTH; lane++) in[lane] = (uint16_t)(first + 4321 * lane);
        f->load(in, out);
        for (int lane = 0; lane < VEC_WIDTH; lane++) {
            int magnitude = in[lane] & 0x7fff;
            real expected = magnitude > f->infinity ? (real)NAN
                            : magnitude < f->infinity ? (real)f->magnitude[magnitude] : (real)INFINITY;
            expect_real(f->name, lane, out[lane], in[lane] & 0x8000 ? -expected : expected);
        }
    }
}

/* Every midpoint, its neighbours, and those of the next magnitude. For doubles also what is next
 * to a midpoint as a float: a double a little off a midpoint would round to it on the way. */
static void test_store_half_midpoints(void **state)
{
    const struct format *f = *state;
    for (int k = 0; k < f->infinity; k++)
        for (int sign = -1; sign < 2; sign += 2) {
            real middle = (real)(sign * midpoint(f, k)), stored = (real)(sign * f->magnitude[k + 1]);
            assert_true((double)middle == sign * midpoint(f, k));
            real numbers[] = {middle, next_up(middle), next_down(middle), stored, next_up(stored), next_down(stored)};
            for (int n = 0; n < COUNT(numbers); n++) gather(f, numbers[n]);
#ifdef XENT_REAL_F64
            float near = (float)middle;
            for (int towards = -1; towards < 2; towards += 2) {
                double beside = nextafterf(near, (float)towards * INFINITY);
                double beyond_beside = (middle + beside) / 2; /* half way between floats */
                gather(f, beside);
                gather(f, beyond_beside);
                gather(f, next_up(beyond_beside));
                gather(f, next_down(beyond_beside));
            }
#endif
        }
    gather_end(f);
}

static void test_store_half_special(void **state)
{
    const struct format *f = *state;
    for (int place = 0; place < VEC_WIDTH; place++)
        for (int s = 0; s < COUNT(special_reals); s++) {
            real lanes[VEC_WIDTH];
            for (int lane = 0; lane < VEC_WIDTH; lane++) lanes[lane] = (lane & 1 ? -1 : 1) * element((size_t)lane);
            lanes[place] = special_reals[s];
            check_store(f, lanes);
        }
    const int fraction_bits = REAL_DIGITS - 1;
    const real_int infinite = bits_of(INFINITY);
    for (int bit = 0; bit < fraction_bits; bit++) { /* NaN of one bit, signalling but for the last */
        gather(f, real_of(infinite | (real_int)1 << bit));
        gather(f, real_of(infinite | (real_int)1 << bit | REAL_INT_MIN));
    }
    gather(f, real_of(REAL_INT_MAX));
    gather(f, real_of(-1));
    gather_end(f);
}

static void test_store_half_all_over(void **state)
{
    const struct format *f = *state;
#ifndef XENT_REAL_F64
    for (uint64_t bits = 0; bits < (uint64_t)1 << 32; bits += 4099) gather(f, real_of((int32_t)(uint32_t)bits));
#endif
    random_state = 1;
    for (int round = 0; round < 500000; round++) {
        gather(f, real_of(random_int()));
        gather(f, random_scaled(-40 - REAL_DIGITS, 20 - REAL_DIGITS)); /* the range of f16 */
    }
    gather_end(f);
}

/* -- f32 and doubles. -- */

/* (GCC 12 turns floats made of doubles one by one back into those doubles if it sees SIMDe convert
 * them as a vector.) */
static NOT_FOLDED void load_others(const float *floats, const double *doubles, real from_floats[VEC_WIDTH],
                                   real from_doubles[VEC_WIDTH])
{
    vec_store(from_floats, vec_load_f32(floats));
    vec_store(from_doubles, vec_load_double(doubles));
}
static NOT_FOLDED void store_others(float *floats, double *doubles, const real lanes[VEC_WIDTH])
{
    vec_store_f32(floats, vec_load(lanes));
    vec_store_double(doubles, vec_load(lanes));
}

static void check_float(const char *word, int lane, float got, float expected)
{
    expect_double(word, lane, (double)got, (double)expected);
}

static void check_others(const double doubles[VEC_WIDTH], const real lanes[VEC_WIDTH])
{
    float floats[VEC_WIDTH], stored_floats[VEC_WIDTH];
    double stored_doubles[VEC_WIDTH];
    real from_floats[VEC_WIDTH], from_doubles[VEC_WIDTH];
    for (int lane = 0; lane < VEC_WIDTH; lane++) floats[lane] = (float)doubles[lane];
    load_others(floats, doubles, from_floats, from_doubles);
    store_others(stored_floats, stored_doubles, lanes);
    for (int lane = 0; lane < VEC_WIDTH; lane++) {
        expect_real("vec_load_f32", lane, from_floats[lane], (real)floats[lane]);
        expect_real("vec_load_double", lane, from_doubles[lane], (real)doubles[lane]);
        check_float("vec_store_f32", lane, stored_floats[lane], (float)lanes[lane]);
        expect_double("vec_store_double", lane, stored_doubles[lane], (double)lanes[lane]);
    }
}

static void test_others(void **state)
{
    (void)state;
    double doubles[VEC_WIDTH];
    real lanes[VEC_WIDTH];
    for (int place = 0; place < VEC_WIDTH; place++)
        for (int s = 0; s < COUNT(special_doubles); s++) {
            for (int lane = 0; lane < VEC_WIDTH; lane++) {
                doubles[lane] = 0.1 * lane + 0x1p-30;
                lanes[lane] = element((size_t)lane) / 3;
            }
            doubles[place] = special_doubles[s];
            lanes[place] = (real)special_doubles[s];
            check_others(doubles, lanes);
        }
    random_state = 2;
    for (int round = 0; round < 20000; round++) {
        for (int lane = 0; lane < VEC_WIDTH; lane++) {
            doubles[lane] = round & 1 ? random_double() : ldexp((double)(int64_t)random_bits(), -(int)(random_bits() % 256) - 20);
            lanes[lane] = round & 1 ? random_real() : (real)doubles[lane];
        }
        check_others(doubles, lanes);
    }
}

/* -- Nothing beyond the elements is touched, wherever they lie. -- */

static void check_untouched(struct guarded g, const char *word, const void *from, const void *to)
{
    for (const char *c = g.begin; c < g.end; c++)
        if ((c < (const char *)from || c >= (const char *)to) && *c != 0x55)
            fail_msg("%s: %s: touches a byte %td from its place", xent_test_isa, word, c - (const char *)from);
}

#define CHECK_PLACES(word, stored_type, load, store)                                                \
    for (int place = 0; place < PLACES; place++) {                                                  \
        stored_type *p = guarded_place(g, (enum place)place, VEC_WIDTH, sizeof *p);                 \
        real lanes[VEC_WIDTH], out[VEC_WIDTH];                                                      \
        memset(g.begin, 0x55, g.page);                                                              \
        for (size_t k = 0; k < VEC_WIDTH; k++) lanes[k] = element(k);                               \
        store(p, vec_load(lanes));                                                                  \
        vec_store(out, load(p));                                                                    \
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_real(word, lane, out[lane], lanes[lane]); \
        check_untouched(g, word, p, p + VEC_WIDTH);                                                 \
    }

static void test_places(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    CHECK_PLACES("vec_store_f16, vec_load_f16", uint16_t, vec_load_f16, vec_store_f16)
    CHECK_PLACES("vec_store_bf16, vec_load_bf16", uint16_t, vec_load_bf16, vec_store_bf16)
    for (int place = 0; place < PLACES; place++) {
        uint16_t *p = guarded_place(g, (enum place)place, 2 * VEC_WIDTH, sizeof *p);
        memset(g.begin, 0x55, g.page);
        vec_store2_bf16(p, vec_set(1), vec_set(1));
        check_untouched(g, "vec_store2_bf16", p, p + 2 * VEC_WIDTH);
    }
    CHECK_PLACES("vec_store_f32, vec_load_f32", float, vec_load_f32, vec_store_f32)
    CHECK_PLACES("vec_store_double, vec_load_double", double, vec_load_double, vec_store_double)
    guarded_free(g);
}

static total total_of_lane(size_t k)
{
#ifdef XENT_REAL_F64
    return (total){(double)k + 0.5, 0x1p-60 * (double)(k + 1)};
#else
    return (double)k + 0x1p-40;
#endif
}

static void test_totals(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    for (int place = 0; place < PLACES; place++) {
        total *p = guarded_place(g, (enum place)place, VEC_WIDTH, sizeof *p), out[VEC_WIDTH];
        for (size_t k = 0; k < VEC_WIDTH; k++) p[k] = total_of_lane(k);
        wide sums = wide_load_total(p);
        wide_store_total(out, sums);
        memset(p, 0, VEC_WIDTH * sizeof *p);
        wide_store_total(p, sums);
        for (size_t k = 0; k < VEC_WIDTH; k++) {
            total expected = total_of_lane(k);
            assert_memory_equal(&p[k], &expected, sizeof expected);
            assert_memory_equal(&out[k], &expected, sizeof expected);
        }
    }
    guarded_free(g);
}

int xent_test_vector_storage(void)
{
    fill_in(&f16);
    fill_in(&bf16);
#define TESTS_OF_FORMAT(format)                                                                  \
    {"vec_load_" #format ", all", test_load_half, NULL, NULL, &format},                          \
    {"vec_store_" #format ", midpoints", test_store_half_midpoints, NULL, NULL, &format},        \
    {"vec_store_" #format ", special values", test_store_half_special, NULL, NULL, &format},     \
    {"vec_store_" #format ", all over", test_store_half_all_over, NULL, NULL, &format}
    const struct CMUnitTest tests[] = {
        TESTS_OF_FORMAT(f16),
        TESTS_OF_FORMAT(bf16),
        {"vec_load_f32, vec_store_f32, vec_load_double, vec_store_double", test_others, NULL, NULL, NULL},
        {"storage between guard pages", test_places, NULL, NULL, NULL},
        {"wide_load_total, wide_store_total", test_totals, NULL, NULL, NULL},
    };
    return cmocka_run_group_tests_name(xent_test_isa, tests, NULL, NULL);
}
