/* The sums of 32 virtual lanes: in which order what is added, and that to the last bit. Of
 * doubles the additions are those of pairs; what one gives stands here a second time, in
 * plain C (whether it is any good is for test_vector_pairs.c to say). */
#include "vector_check.h"

#ifdef XENT_REAL_F64
static total total_of(real a) { return (total){a, 0.0}; }
static total two_sum(double a, double b)
{
    volatile double high = a + b, b_there = high - a, a_there = high - b_there;
    volatile double a_lost = a - a_there, b_lost = b - b_there;
    return (total){high, a_lost + b_lost};
}
static total fast_two_sum(double a, double b)
{
    volatile double high = a + b, b_there = high - a;
    return (total){high, b - b_there};
}
static total total_add(total a, total b)
{
    total high = two_sum(a.high, b.high), low = two_sum(a.low, b.low);
    total sum = fast_two_sum(high.high, high.low + low.high);
    sum = fast_two_sum(sum.high, low.low + sum.low);
    return isfinite(sum.low) ? sum : total_of(high.high);
}
static int totals_differ(total a, total b) { return a.high < b.high || a.high > b.high || a.low < b.low || a.low > b.low; }
static void expect_total(const char *word, int lane, total got, total expected)
{
    expect_double(word, lane, got.high, expected.high);
    expect_double(word, lane, got.low, expected.low);
}
static real random_term(void) { return random_scaled(-150, -20); }
#else
static total total_of(real a) { return (double)a; }
static total total_add(total a, total b)
{
    volatile double sum = a + b;
    return sum;
}
static int totals_differ(total a, total b) { return a < b || a > b; }
static void expect_total(const char *word, int lane, total got, total expected) { expect_double(word, lane, got, expected); }
static real random_term(void) { return random_scaled(-64, 5); }
#endif

static NOT_FOLDED fold8 fold_of(const real lanes[32])
{
    vec vectors[32 / VEC_WIDTH];
    for (int k = 0; k < 32 / VEC_WIDTH; k++) vectors[k] = vec_load(lanes + k * VEC_WIDTH);
    return fold8_lanes(vectors);
}

static void fold_in_c(const real lanes[32], total sums[8])
{
    for (int k = 0; k < 8; k++)
        sums[k] = total_add(total_add(total_of(lanes[k]), total_of(lanes[k + 16])),
                            total_add(total_of(lanes[k + 8]), total_of(lanes[k + 24])));
}
static total total_in_c(const total sums[8])
{
    total even = total_add(total_add(sums[0], sums[4]), total_add(sums[2], sums[6]));
    total odd = total_add(total_add(sums[1], sums[5]), total_add(sums[3], sums[7]));
    return total_add(even, odd);
}

/* One of the eight sums at a time: the others are zero, and so the total is that sum. */
static void test_fold8_lanes(void **state)
{
    (void)state;
    int order_shows[8] = {0};
    random_state = 4;
    for (int round = 0; round < 1000; round++)
        for (int k = 0; k < 8; k++) {
            real lanes[32] = {0};
            total sums[8], in_a_row = total_of(0);
            for (int l = k; l < 32; l += 8) {
                lanes[l] = random_term();
                in_a_row = total_add(in_a_row, total_of(lanes[l]));
            }
            fold_in_c(lanes, sums);
            order_shows[k] += totals_differ(in_a_row, sums[k]);
            expect_total("fold8_lanes", k, fold8_total(fold_of(lanes)), sums[k]);
        }
    for (int k = 0; k < 8; k++) assert_true(order_shows[k] > 20);
}

static void test_fold8_total(void **state)
{
    (void)state;
    int order_shows = 0;
    random_state = 5;
    for (int round = 0; round < 10000; round++) {
        real lanes[32];
        total sums[8], in_a_row = total_of(0);
        for (int l = 0; l < 32; l++) lanes[l] = l < 8 || round % 2 ? random_term() : 0;
        fold_in_c(lanes, sums);
        for (int k = 0; k < 8; k++) in_a_row = total_add(in_a_row, sums[k]);
        order_shows += totals_differ(in_a_row, total_in_c(sums));
        expect_total("fold8_total", 0, fold8_total(fold_of(lanes)), total_in_c(sums));
    }
    assert_true(order_shows > 1000);
}

static void test_fold8_totals(void **state)
{
    (void)state;
    random_state = 7;
    for (int round = 0; round < 1000; round++) {
        fold8 rows[VEC_WIDTH];
        total expected[VEC_WIDTH], got[VEC_WIDTH];
        for (int w = 0; w < VEC_WIDTH; w++) {
            real lanes[32];
            for (int l = 0; l < 32; l++) lanes[l] = random_term();
            rows[w] = fold_of(lanes);
            expected[w] = fold8_total(rows[w]);
        }
        wide_store_total(got, fold8_totals(rows));
        for (int w = 0; w < VEC_WIDTH; w++) expect_total("fold8_totals", w, got[w], expected[w]);
    }
}

static void test_fold8_special(void **state)
{
    (void)state;
    for (int l = 0; l < 32; l++)
        for (int first = 0; first < COUNT(special_reals); first++) {
            real lanes[32];
            total sums[8];
            for (int k = 0; k < 32; k++) lanes[k] = (real)-0.0;
            lanes[l] = special_reals[first];
            lanes[(l + 11) % 32] = l % 2 ? (real)-INFINITY : (real)-0.0;
            fold_in_c(lanes, sums);
            expect_total("fold8_lanes (lane: of the special value)", l, fold8_total(fold_of(lanes)), total_in_c(sums));
        }
}

static void test_fold8_add(void **state)
{
    (void)state;
    expect_total("fold8_zero", 0, fold8_total(fold8_zero()), total_of(0));
    random_state = 6;
    for (int round = 0; round < 10000; round++) {
        fold8 running = fold8_zero();
        total sums[8], running_sums[8];
        for (int k = 0; k < 8; k++) running_sums[k] = total_of(0);
        for (int block = 0; block < 3; block++) {
            real lanes[32];
            for (int l = 0; l < 32; l++) lanes[l] = random_term();
            fold_in_c(lanes, sums);
            for (int k = 0; k < 8; k++) running_sums[k] = total_add(running_sums[k], sums[k]);
            running = fold8_add(running, fold_of(lanes));
        }
        expect_total("fold8_add", 0, fold8_total(running), total_in_c(running_sums));
    }
}

int xent_test_vector_sums(void)
{
    const struct CMUnitTest tests[] = {
        {"fold8_lanes", test_fold8_lanes, NULL, NULL, NULL},
        {"fold8_total", test_fold8_total, NULL, NULL, NULL},
        {"fold8_totals", test_fold8_totals, NULL, NULL, NULL},
        {"fold8_lanes, special values", test_fold8_special, NULL, NULL, NULL},
        {"fold8_zero, fold8_add", test_fold8_add, NULL, NULL, NULL},
    };
    return cmocka_run_group_tests_name(xent_test_isa, tests, NULL, NULL);
}
