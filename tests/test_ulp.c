/* Accuracy: every output of every kernel within the bounds that xent.h states, at two
 * classes and at a million, however far apart the logits are. The program prints the worst
 * error found, in ulps, by tier and kernel.
 *
 * The sums are not here but in test_sums. All inputs of the elementary functions, and random
 * rows by the hour, are a matter for a longer search; here are the rows known to be hard. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "expected.h"

struct worst {
    const char *name;
    double error;
    bool exceeds; /* the header's bound */
};

static struct worst worst_of[XENT_TIER_COUNT][KERNEL_COUNT][MAX_OUTPUTS];

static void check_output(const struct problem *problem, const struct expected *expected,
                         const struct output *got, xent_tier tier, struct worst *worst)
{
    worst->name = expected->name;
    const int64_t count = expected->rows * expected->classes;
    assert_int_equal(got->rows * got->classes, count);
    for (int64_t at = 0; at < count; at++) {
        const double error = expected_error(expected, got, at);
        if (error > expected->bound && error > worst->error) {
            worst->exceeds = true;
            print_run(problem, &layouts[CONTIGUOUS], tier);
            print_error("  %s, row %lld, class %lld: got %a, exactly %a: %.3f ulp, %g allowed\n",
                        got->name, (long long)(at / got->classes), (long long)(at % got->classes),
                        got->values[at], expected->exact[at], error, expected->bound);
        }
        worst->error = fmax(worst->error, error);
    }
}

/* The search goes on beyond an error that is too large, for the worst one; here it fails. */
static void assert_bounds_kept(enum kernel kernel)
{
    for (int tier = 0; tier < XENT_TIER_COUNT; tier++) {
        for (int i = 0; i < MAX_OUTPUTS; i++) {
            if (worst_of[tier][kernel][i].exceeds) {
                fail_msg("%s: %s of %s is off by %.3f ulp", xent_tier_name((xent_tier)tier),
                         worst_of[tier][kernel][i].name, kernel_name(kernel),
                         worst_of[tier][kernel][i].error);
            }
        }
    }
}

static void check_tier(const struct problem *problem, const struct expectation *expectation,
                       xent_tier tier)
{
    struct results results = run_problem(problem, &layouts[CONTIGUOUS], tier, AT_FRONT);
    assert_status(results.status, XENT_OK, &results.error);
    for (int i = 0; i < expectation->count; i++) {
        const struct output *got = results_find(&results, expectation->outputs[i].name);
        assert_non_null(got);
        check_output(problem, &expectation->outputs[i], got, tier,
                     &worst_of[tier][problem->kernel][i]);
    }
    results_free(&results);
}

/* ---- What is run -------------------------------------------------------------------- */

struct size {
    int64_t rows, classes;
};

/* Rows enough to meet a few bad roundings. */
static const struct size row_sizes[] = {{64, 1},  {3000, 2},  {1000, 3},  {300, 10},   {100, 33},
                                        {40, 100}, {16, 257}, {6, 1000}, {2, 32000}, {1, 1000000}};
static const struct size element_sizes[] = {{1, 50000}};

/* The longest rows: only where many terms make a difference, and without weights. */
static bool left_out(const struct size *size, enum kind kind, bool weighted)
{
    const bool hardest = kind == EQUAL || kind == FAR_EQUAL;
    const bool hard = hardest || kind == NORMAL || kind == WIDE || kind == TIES || kind == AROUND_1E5;
    return size->classes >= 32000 && (weighted || !hard || (check_quick() && !hardest));
}

static void accuracy(void **state)
{
    const enum kernel kernel = *(const enum kernel *)*state;
    const bool elements = kernel_elementwise(kernel);
    const struct size *sizes = elements ? element_sizes : row_sizes;
    const size_t count = elements ? sizeof element_sizes / sizeof *element_sizes
                                  : sizeof row_sizes / sizeof *row_sizes;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    for (size_t i = 0; i < count; i++) {
        for (int kind = 0; kind < SPECIALS; kind++) {
            /* The bare formula, then with a reduction and weights in turn. */
            for (int weighted = 0; weighted < 2; weighted++) {
                if (!elements && left_out(&sizes[i], (enum kind)kind, weighted == 1)) {
                    continue;
                }
                struct problem problem = problem_make(
                    kernel, sizes[i].rows, sizes[i].classes, (enum kind)kind,
                    (unsigned)kind % 6, weighted ? MILD_COEFFICIENTS : NO_COEFFICIENTS);
                struct expectation expectation = expect(&problem);
                for (size_t t = 0; t < tier_count; t++) {
                    check_tier(&problem, &expectation, tiers[t]);
                }
                expectation_free(&expectation);
                problem_free(&problem);
            }
        }
    }
    assert_bounds_kept(kernel);
}

/* ---- Far gaps at two classes ------------------------------------------------------------- */

/* Where forming x - max first costs up to 61 ulp: two logits, one near a power of two or
 * otherwise high, 60 to 104 apart. */
static void far_gaps(void **state)
{
    (void)state;
    enum { ROWS = 20000 };
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    struct problem problem =
        problem_make(KERNEL_cross_entropy, ROWS, 2, NORMAL, 1, NO_COEFFICIENTS);
    struct generator g = {80};
    for (int64_t row = 0; row < ROWS; row++) {
        const float high = generate_uniform(&g, -150, 300);
        const int lead = (int)generate_below(&g, 2);
        problem.x[2 * row + lead] = high;
        problem.x[2 * row + 1 - lead] = high - generate_uniform(&g, 60, 104);
        problem.y[row] = generate_below(&g, 4) == 0 ? 1 - lead : lead;
    }
    struct expectation expectation = expect(&problem);
    for (size_t t = 0; t < tier_count; t++) {
        check_tier(&problem, &expectation, tiers[t]);
    }
    expectation_free(&expectation);
    problem_free(&problem);
    assert_bounds_kept(KERNEL_cross_entropy);
}

/* ---- Rows about to be spread -------------------------------------------------------------- */

/* Where a row's sum is 2.5 times its greatest term, or 3 times beyond 128 classes, the maximum becomes a part of it. */
static void nearly_spread(void **state)
{
    static const int64_t widths[] = {40, 41, 100, 128, 129, 256, 257, 600};
    enum { ROWS = 1000 };
    (void)state;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    struct generator g = {90};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        const int64_t classes = widths[i];
        struct problem problem = problem_make(KERNEL_cross_entropy, ROWS, classes, NORMAL, 1, NO_COEFFICIENTS);
        for (int64_t row = 0; row < ROWS; row++) {
            float *x = problem.x + row * classes;
            const int64_t lead = (int64_t)generate_below(&g, (uint32_t)classes);
            const float high = generate_uniform(&g, -40, 80);
            const double wanted = (classes > 128 ? 2 : 1.5) * (double)generate_uniform(&g, 0.9f, 1.3f);
            double sum = 0;
            for (int64_t j = 0; j < classes; j++) {
                x[j] = generate_uniform(&g, -4, 4);
                if (j != lead) sum += exp((double)x[j]);
            }
            for (int64_t j = 0; j < classes; j++) x[j] = fminf(high, (float)((double)high + (double)x[j] + log(wanted / sum)));
            x[lead] = high;
            problem.y[row] = generate_below(&g, 4) == 0 ? 0 : lead;
        }
        struct expectation expectation = expect(&problem);
        for (size_t t = 0; t < tier_count; t++) check_tier(&problem, &expectation, tiers[t]);
        expectation_free(&expectation);
        problem_free(&problem);
    }
    assert_bounds_kept(KERNEL_cross_entropy);
}

static void print_table(void **state)
{
    (void)state;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    print_message("worst error found, in ulps:\n");
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
        for (size_t t = 0; t < tier_count; t++) {
            print_message("%-21s %-10s", kernel_name((enum kernel)kernel), xent_tier_name(tiers[t]));
            for (int i = 0; i < MAX_OUTPUTS && worst_of[tiers[t]][kernel][i].name != NULL; i++) {
                print_message("  %s %.3f", worst_of[tiers[t]][kernel][i].name,
                              worst_of[tiers[t]][kernel][i].error);
            }
            print_message("\n");
        }
    }
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[KERNEL_COUNT + 3];
    static enum kernel kernels[KERNEL_COUNT];
    for (int i = 0; i < KERNEL_COUNT; i++) {
        kernels[i] = (enum kernel)i;
        tests[i] = (struct CMUnitTest){kernel_name(kernels[i]), accuracy, NULL, NULL, &kernels[i]};
    }
    tests[KERNEL_COUNT] = (struct CMUnitTest)cmocka_unit_test(far_gaps);
    tests[KERNEL_COUNT + 1] = (struct CMUnitTest)cmocka_unit_test(nearly_spread);
    tests[KERNEL_COUNT + 2] = (struct CMUnitTest)cmocka_unit_test(print_table);
    return check_run("accuracy", tests, KERNEL_COUNT + 3, argc, argv);
}
