/* Wide numbers as pairs of doubles (kernels/vector/pair.h): every operation within its bound of
 * the exact result, the result normalised (high is high + low rounded), and high what plain
 * doubles give where they give infinity or NaN. The exact result is computed with 113 bits, in
 * an order that loses nothing the bounds could notice. */
#include "vector_check.h"

#ifdef __aarch64__
typedef long double quad;
#else
__extension__ typedef __float128 quad;
#endif
#define U 0x1p-53

/* Lanes of a wide. */
struct pairs {
    total lane[VEC_WIDTH];
};

static quad quad_abs(quad a) { return a < 0 ? -a : a; }
static quad quad_of(total a) { return (quad)a.high + a.low; }
static total negative(total a) { return (total){-a.high, -a.low}; }
static int is_normalised(total a)
{
    volatile double sum = a.high + a.low;
    return sum == a.high;
}

/* -- The operations: what they give, and what is exact. -- */

enum operation { ADD, SUB, MUL, DIV, FMA };
static const struct {
    const char *name;
    double squares; /* the bound, in U^2 */
} about[] = {{"wide_add", 3}, {"wide_sub", 3}, {"wide_mul", 7}, {"wide_div", 15}, {"wide_fma", 3}};

static NOT_FOLDED struct pairs operate(enum operation operation, const struct pairs *a, const struct pairs *b,
                                       const struct pairs *c)
{
    struct pairs out;
    wide x = wide_load_total(a->lane), y = wide_load_total(b->lane), z = wide_load_total(c->lane);
    wide result = operation == ADD   ? wide_add(x, y)
                  : operation == SUB ? wide_sub(x, y)
                  : operation == MUL ? wide_mul(x, y)
                  : operation == DIV ? wide_div(x, y)
                                     : wide_fma(x, y, z);
    wide_store_total(out.lane, result);
    return out;
}

/* If the high parts cancel, their sum is exact; if it then cancels with that of the low parts,
 * that is exact too. */
static quad quad_sum(total a, total b) { return ((quad)a.high + b.high) + ((quad)a.low + b.low); }

static quad exactly(enum operation operation, total a, total b, total c)
{
    switch (operation) {
    case ADD: return quad_sum(a, b);
    case SUB: return quad_sum(a, negative(b));
    case MUL: return quad_of(a) * quad_of(b);
    case DIV: return quad_of(a) / quad_of(b);
    default: return quad_of(a) * quad_of(b) + quad_of(c);
    }
}

/* Within a factor of two of overflow, where low may be 0. */
static int is_huge(double a) { return fabs(a) >= 0x1p1023; }

/* slack: of a product or quotient whose low part underflows, in units of 2^-1074. */
static void check_lane(enum operation operation, int lane, total a, total b, total c, total got, double slack)
{
    quad exact = exactly(operation, a, b, c), off = quad_abs(quad_of(got) - exact);
    quad bound = quad_abs(exact) * (about[operation].squares * U * U * (1 + 0x1p-40));
    if (operation == FMA) bound += quad_abs(quad_of(a) * quad_of(b)) * (about[MUL].squares * U * U * (1 + 0x1p-40));
    bound += operation == DIV ? 0x1p-1074 * slack * (1 + 1 / quad_abs(b.high)) : 0x1p-1074 * slack;
    if (is_huge(a.high) || is_huge(b.high) || is_huge(got.high)) bound += quad_abs(exact) * (2 * U);
    if (off <= bound && is_normalised(got)) return;
    fail_msg("%s: %s, lane %d: (%a, %a) (%a, %a) (%a, %a): got (%a, %a), off by %g; allowed are %g", xent_test_isa,
             about[operation].name, lane, a.high, a.low, b.high, b.low, c.high, c.low, got.high, got.low, (double)off,
             (double)bound);
}

static void check_all(enum operation operation, const struct pairs *a, const struct pairs *b, const struct pairs *c,
                      double slack)
{
    struct pairs got = operate(operation, a, b, c);
    for (int lane = 0; lane < VEC_WIDTH; lane++)
        check_lane(operation, lane, a->lane[lane], b->lane[lane], c->lane[lane], got.lane[lane], slack);
}

/* -- Pairs of all kinds. -- */

static double ulp_of(double a) { return ldexp(1.0, ilogb(a) - 52); }

/* A low part: ordinary, zero, far below, or as great as can be. */
static double random_low(double high)
{
    double half = ulp_of(high) / 2, low;
    do switch (random_bits() % 8) {
        case 0: low = 0.0; break;
        case 1: low = half * random_scaled(-110, -70); break;
        case 2: low = half; break;
        case 3: low = -half / 2; break;
        case 4: low = half * (1 - U); break;
        default: low = half * random_scaled(-52, -52);
        }
    while (!is_normalised((total){high, low}));
    return low;
}

/* Of about 2^least to 2^most, every eighth a power of two. */
static total random_pair(int least, int most)
{
    double high;
    do high = random_scaled(least - 52, most - 52);
    while (high == 0.0);
    if (random_bits() % 8 == 0) high = ldexp(high < 0 ? -1.0 : 1.0, ilogb(high));
    return (total){high, random_low(high)};
}

/* One that leaves little of a when it is added. */
static total random_opposite(total a)
{
    uint64_t kind = random_bits();
    int few = (int)(kind >> 8 & 7) - 3;
    total b = negative(a);
    if (kind & 1) b.high += few * ulp_of(b.high);
    if (kind & 2) b.high *= 1 - 0x1p-30 * few;
    if (kind & 4) b.low = random_low(b.high);
    else if (b.low > 0 || b.low < 0) b.low += few * ulp_of(b.low);
    return is_normalised(b) ? b : negative(a);
}

static void test_bound(void **state)
{
    enum operation operation = *(const enum operation *)*state;
    int reach = operation == ADD || operation == SUB ? 900 : 300;
    random_state = 1;
    for (int round = 0; round < 40000; round++) {
        struct pairs a, b, c;
        int apart = round % 3 == 0 ? reach : round % 3 == 1 ? 60 : 2;
        for (int lane = 0; lane < VEC_WIDTH; lane++) {
            a.lane[lane] = random_pair(-apart, apart);
            b.lane[lane] = random_pair(-apart, apart);
            c.lane[lane] = random_pair(-2 * apart, apart);
            if (random_bits() & 1) continue;
            if (operation == ADD) b.lane[lane] = random_opposite(a.lane[lane]);
            if (operation == SUB) b.lane[lane] = negative(random_opposite(a.lane[lane]));
            if (operation == FMA) {
                double product = -a.lane[lane].high * b.lane[lane].high;
                c.lane[lane] = random_opposite((total){product, random_low(product)});
            }
        }
        check_all(operation, &a, &b, &c, 0.0);
    }
}

/* Of plain doubles nothing is lost. */
static void test_exact(void **state)
{
    enum operation operation = *(const enum operation *)*state;
    random_state = 5;
    for (int round = 0; round < 20000; round++) {
        struct pairs a, b;
        for (int lane = 0; lane < VEC_WIDTH; lane++) {
            a.lane[lane] = (total){random_pair(-25, 25).high, 0.0};
            b.lane[lane] = (total){random_pair(-25, 25).high, 0.0};
        }
        struct pairs got = operate(operation, &a, &b, &a);
        for (int lane = 0; lane < VEC_WIDTH; lane++) {
            quad exact = exactly(operation, a.lane[lane], b.lane[lane], a.lane[lane]);
            if (quad_of(got.lane[lane]) == exact && is_normalised(got.lane[lane])) continue;
            fail_msg("%s: %s, lane %d: %a, %a: got (%a, %a), off by %g", xent_test_isa, about[operation].name, lane,
                     a.lane[lane].high, b.lane[lane].high, got.lane[lane].high, got.lane[lane].low,
                     (double)(quad_of(got.lane[lane]) - exact));
        }
    }
}

/* Sums are within the bound down there too. */
static void test_underflow(void **state)
{
    enum operation operation = *(const enum operation *)*state;
    random_state = 2;
    for (int round = 0; round < 20000; round++) {
        struct pairs a, b, c;
        for (int lane = 0; lane < VEC_WIDTH; lane++) {
            a.lane[lane] = random_pair(-1060, -900);
            b.lane[lane] = operation == ADD || operation == SUB ? random_pair(-1060, -900) : random_pair(-300, 100);
            c.lane[lane] = random_pair(-1060, -900);
        }
        check_all(operation, &a, &b, &c, operation == ADD || operation == SUB ? 0.0 : 4.0);
    }
}

/* -- Infinities, NaN, zeros. -- */

static double plainly(enum operation operation, double a, double b, double c)
{
    volatile double product = a * b;
    switch (operation) {
    case ADD: return a + b;
    case SUB: return a - b;
    case MUL: return product;
    case DIV: return a / b;
    default: return product + c;
    }
}

static void check_plain(enum operation operation, int lane, total a, total b, total c, total got)
{
    double plain = plainly(operation, a.high, b.high, c.high);
    if (isfinite(plain)) {
        check_lane(operation, lane, a, b, c, got, 4.0);
        return;
    }
    if ((isnan(plain) ? isnan(got.high) : got.high == plain) && got.low == 0.0) return;
    fail_msg("%s: %s, lane %d: (%a, %a) (%a, %a) (%a, %a): got (%a, %a), plain doubles give %a", xent_test_isa,
             about[operation].name, lane, a.high, a.low, b.high, b.low, c.high, c.low, got.high, got.low, plain);
}

static void test_special(void **state)
{
    enum operation operation = *(const enum operation *)*state;
    int thirds = operation == FMA ? COUNT(special_doubles) : 1;
    struct pairs a, b, c;
    for (int lane = 0; lane < VEC_WIDTH; lane++) {
        a.lane[lane] = (total){1.5 + lane, 0x1p-60};
        b.lane[lane] = (total){-2.25 - lane, -0x1p-58};
        c.lane[lane] = (total){100.0 + lane, 0x1p-70};
    }
    for (int place = 0; place < VEC_WIDTH; place++) {
        struct pairs x = a, y = b, z = c;
        for (int first = 0; first < COUNT(special_doubles); first++)
            for (int second = 0; second < COUNT(special_doubles); second++)
                for (int third = 0; third < thirds; third++) {
                    x.lane[place] = (total){special_doubles[first], 0.0};
                    y.lane[place] = (total){special_doubles[second], 0.0};
                    z.lane[place] = (total){special_doubles[third], 0.0};
                    struct pairs got = operate(operation, &x, &y, &z);
                    for (int lane = 0; lane < VEC_WIDTH; lane++)
                        if (lane == place)
                            check_plain(operation, lane, x.lane[lane], y.lane[lane], z.lane[lane], got.lane[lane]);
                        else check_lane(operation, lane, x.lane[lane], y.lane[lane], z.lane[lane], got.lane[lane], 0.0);
                }
    }
}

/* Right below overflow nothing becomes NaN, nor infinite if plain doubles don't (but that a sum may
 * land on the other side for what the low part of a product in it adds). */
static void test_overflow(void **state)
{
    enum operation operation = *(const enum operation *)*state;
    random_state = 3;
    for (int round = 0; round < 20000; round++) {
        struct pairs a, b, c;
        for (int lane = 0; lane < VEC_WIDTH; lane++) {
            double high = DBL_MAX * (1 - (double)(random_bits() % 4) * U), low = 0x1.fffffffffffffp969;
            a.lane[lane] = (total){high, random_bits() & 1 ? low : -low};
            b.lane[lane] = operation == ADD || operation == SUB ? random_pair(800, 1020) : random_pair(-1, 1);
            c.lane[lane] = random_pair(800, 1020);
        }
        struct pairs got = operate(operation, &a, &b, &c);
        for (int lane = 0; lane < VEC_WIDTH; lane++) {
            total r = got.lane[lane];
            double plain = plainly(operation, a.lane[lane].high, b.lane[lane].high, c.lane[lane].high);
            if (isfinite(r.high) ? isfinite(plain) && is_normalised(r) : r.high == plain && r.low == 0.0) continue;
            if (operation == FMA && !isnan(r.high) && is_normalised(r)) continue;
            fail_msg("%s: %s, lane %d: (%a, %a) (%a, %a): got (%a, %a)", xent_test_isa, about[operation].name, lane,
                     a.lane[lane].high, a.lane[lane].low, b.lane[lane].high, b.lane[lane].low, r.high, r.low);
        }
    }
}

/* -- Known answers, and the words that do not round. -- */

static void expect_pair(const char *word, int lane, total got, total expected)
{
    expect_double(word, lane, got.high, expected.high);
    expect_double(word, lane, got.low, expected.low);
}

static void expect_known(enum operation operation, total x, total y, total z, total expected)
{
    struct pairs a, b, c;
    for (int lane = 0; lane < VEC_WIDTH; lane++) {
        a.lane[lane] = x;
        b.lane[lane] = y;
        c.lane[lane] = z;
    }
    struct pairs got = operate(operation, &a, &b, &c);
    for (int lane = 0; lane < VEC_WIDTH; lane++) expect_pair(about[operation].name, lane, got.lane[lane], expected);
}

static void test_known(void **state)
{
    (void)state;
    const total one = {1.0, 0.0}, three = {3.0, 0.0}, none = {0.0, 0.0}, above_one = {1.0, 0x1p-60};
    expect_known(ADD, above_one, (total){-1.0, 0x1p-70}, none, (total){0x1.004p-60, 0.0});
    expect_known(SUB, above_one, one, none, (total){0x1p-60, 0.0});
    expect_known(MUL, above_one, above_one, none, (total){1.0, 0x1p-59});
    expect_known(DIV, one, three, none, (total){0x1.5555555555555p-2, 0x1.5555555555555p-56});
    expect_known(DIV, one, above_one, none, (total){1.0, -0x1p-60});
    expect_known(FMA, above_one, above_one, (total){-1.0, 0.0}, (total){0x1p-59, 0.0});
}

static void test_exact_words(void **state)
{
    (void)state;
    random_state = 4;
    for (int round = 0; round < 10000; round++) {
        struct pairs a, b, got;
        real lanes[VEC_WIDTH];
        real_int ints[VEC_WIDTH];
        int truth[VEC_WIDTH];
        for (int lane = 0; lane < VEC_WIDTH; lane++) {
            a.lane[lane] = random_pair(-100, 100);
            b.lane[lane] = random_pair(-100, 100);
            lanes[lane] = random_real();
            ints[lane] = special_ints[(round + lane) % COUNT(special_ints)] >> 12;
            truth[lane] = (int)(random_bits() & 1);
        }
        wide x = wide_load_total(a.lane), y = wide_load_total(b.lane);
        wide_store_total(got.lane, wide_select(mask_from_memory(truth), x, y));
        for (int lane = 0; lane < VEC_WIDTH; lane++)
            expect_pair("wide_select", lane, got.lane[lane], truth[lane] ? a.lane[lane] : b.lane[lane]);
        wide_store_total(got.lane, wide_from_vec(vec_load(lanes)));
        for (int lane = 0; lane < VEC_WIDTH; lane++)
            expect_pair("wide_from_vec", lane, got.lane[lane], (total){lanes[lane], 0.0});
        wide_store_total(got.lane, wide_from_int(ints_from_memory(ints)));
        for (int lane = 0; lane < VEC_WIDTH; lane++)
            expect_pair("wide_from_int", lane, got.lane[lane], (total){(double)ints[lane], 0.0});
        wide_store_total(got.lane, wide_set(lanes[0]));
        for (int lane = 0; lane < VEC_WIDTH; lane++)
            expect_pair("wide_set", lane, got.lane[lane], (total){lanes[0], 0.0});
        vec_store(lanes, vec_from_wide(x));
        for (int lane = 0; lane < VEC_WIDTH; lane++)
            expect_real("vec_from_wide", lane, lanes[lane], a.lane[lane].high);
        wide_store(lanes, x);
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_real("wide_store", lane, lanes[lane], a.lane[lane].high);
        wide_store_total(got.lane, wide_load(lanes));
        for (int lane = 0; lane < VEC_WIDTH; lane++)
            expect_pair("wide_load", lane, got.lane[lane], (total){lanes[lane], 0.0});
    }
}

/* Of what is finite the words that don't look for infinities give the same bits, and of what is not NaN. */
static void test_finite(void **state)
{
    (void)state;
    random_state = 6;
    for (int round = 0; round < 10000; round++) {
        struct pairs a, b, got, expected;
        real lanes[VEC_WIDTH];
        for (int lane = 0; lane < VEC_WIDTH; lane++) {
            a.lane[lane] = random_pair(-100, 100);
            b.lane[lane] = random_bits() & 1 ? random_opposite(a.lane[lane]) : random_pair(-100, 100);
        }
        wide x = wide_load_total(a.lane), y = wide_load_total(b.lane);
        wide plain_x = wide_from_vec(vec_from_wide(x)), plain_y = wide_from_vec(vec_from_wide(y));
        const wide results[][2] = {{wide_add_finite(x, y), wide_add(x, y)},
                                   {wide_mul_finite(x, y), wide_mul(x, y)},
                                   {wide_add_plain(plain_x, plain_y), wide_add(plain_x, plain_y)}};
        static const char *const words[] = {"wide_add_finite", "wide_mul_finite", "wide_add_plain"};
        for (int word = 0; word < 3; word++) {
            wide_store_total(got.lane, results[word][0]);
            wide_store_total(expected.lane, results[word][1]);
            for (int lane = 0; lane < VEC_WIDTH; lane++) expect_pair(words[word], lane, got.lane[lane], expected.lane[lane]);
        }
        vec_store(lanes, vec_rest_of_wide(x));
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_real("vec_rest_of_wide", lane, lanes[lane], a.lane[lane].low);
        vec_store(lanes, vec_from_wide(wide_add_finite(x, wide_set((double)INFINITY))));
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_real("wide_add_finite of infinity", lane, lanes[lane], (real)NAN);
        vec_store(lanes, vec_from_wide(wide_add(wide_add_plain(plain_x, wide_set((double)INFINITY)), y)));
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_real("wide_add after wide_add_plain", lane, lanes[lane], (real)INFINITY);
    }
}

int xent_test_vector_pairs(void)
{
    static enum operation add = ADD, sub = SUB, mul = MUL, div = DIV, fma_ = FMA;
#define TESTS_OF_OPERATION(name, operation)                                       \
    {name ", bound", test_bound, NULL, NULL, &operation},                         \
    {name ", where low underflows", test_underflow, NULL, NULL, &operation},      \
    {name ", special values", test_special, NULL, NULL, &operation},              \
    {name ", next to overflow", test_overflow, NULL, NULL, &operation}
    const struct CMUnitTest tests[] = {
        TESTS_OF_OPERATION("wide_add", add),
        TESTS_OF_OPERATION("wide_sub", sub),
        TESTS_OF_OPERATION("wide_mul", mul),
        TESTS_OF_OPERATION("wide_div", div),
        TESTS_OF_OPERATION("wide_fma", fma_),
        {"wide_add, of doubles", test_exact, NULL, NULL, &add},
        {"wide_sub, of doubles", test_exact, NULL, NULL, &sub},
        {"wide_mul, of doubles", test_exact, NULL, NULL, &mul},
        {"wide numbers, known answers", test_known, NULL, NULL, NULL},
        {"wide words that do not round", test_exact_words, NULL, NULL, NULL},
        {"wide words of finite numbers", test_finite, NULL, NULL, NULL},
    };
    return cmocka_run_group_tests_name(xent_test_isa, tests, NULL, NULL);
}
