/* sum, divisor and mean: as near to the exact sum of the row losses as xent.h says, with few
 * rows, many, and ones that cancel; and the mean is their quotient. */
#include <float.h>
#include <math.h>

#include "kernels.h"

/* The sum of values, and of their magnitudes: compensated, so exact enough to judge by. */
struct exact_sum {
    long double sum, lost, magnitude;
};

static void add(struct exact_sum *s, double value)
{
    const long double x = (long double)value, sum = s->sum + x;
    s->lost += fabsl(s->sum) >= fabsl(x) ? (s->sum - sum) + x : (x - sum) + s->sum;
    s->sum = sum;
    s->magnitude += fabsl(x);
}

/* Exact but for the last rounding; sums over the elements of a block also round as they go. What the
 * compensated sum above loses is less than 2^-120 of the magnitudes. */
static void assert_sum(const struct exact_sum *exact, double got, bool of_elements, const char *what)
{
    const long double sum = exact->sum + exact->lost;
    const long double ulp = fabs((double)sum) < DBL_MIN ? 0x1p-1074L : ldexpl(1, ilogb((double)sum) - 52);
    const long double error = fabsl((long double)got - sum);
    const long double bound = of_elements ? ulp + 10 * 0x1p-53L * exact->magnitude : 0.5001L * ulp + 0x1p-120L * exact->magnitude;
    if (!(error <= bound)) {
        fail_msg("%s is %a, exactly %La: off by %Lg, the sum of magnitudes being %Lg", what, got, sum,
                 error, exact->magnitude);
    }
}

static void check_totals(const struct problem *problem, xent_tier tier)
{
    struct results results = run_problem(problem, &layouts[CONTIGUOUS], tier, AT_BACK);
    assert_status(results.status, XENT_OK, &results.error);
    const struct output *loss = results_find(&results, "loss");
    const double sum = results_find(&results, "sum")->values[0];
    const double divisor = results_find(&results, "divisor")->values[0];
    struct exact_sum losses = {0, 0, 0}, weights = {0, 0, 0};
    for (int64_t i = 0; i < loss->rows * loss->classes; i++) {
        add(&losses, loss->values[i]);
        if (problem->y == NULL) {
            add(&weights, 1); /* a BCE counts elements */
        } else if (!problem_ignores(problem, i)) {
            add(&weights, problem->weight != NULL ? (double)problem->weight[problem->y[i]] : 1);
        }
    }
    assert_sum(&losses, sum, problem->y == NULL, "sum");
    assert_sum(&weights, divisor, false, "divisor");
    assert_same(results_find(&results, "mean")->values[0], sum / divisor);
    results_free(&results);
}

static const int64_t row_counts[] = {1, 2, 63, 64, 65, 127, 128, 129, 1000, 20000};

static void totals(void **state)
{
    const enum kernel kernel = *(const enum kernel *)*state;
    const enum kind kinds[] = {NORMAL, WIDE, CONFIDENT, VANISHING, ZEROS};
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    for (size_t i = 0; i < sizeof row_counts / sizeof *row_counts; i++) {
        for (unsigned variant = 0; variant < 6; variant++) {
            struct problem problem = problem_make(kernel, row_counts[i], 5, kinds[variant % 5], variant,
                                                  variant < 4 ? MILD_COEFFICIENTS : ANY_COEFFICIENTS);
            for (size_t t = 0; t < tier_count; t++) {
                check_totals(&problem, tiers[t]);
            }
            problem_free(&problem);
        }
    }
}

/* Losses that cancel, over all the range of a float: what a running double would lose. */
static void cancelling_losses(void **state)
{
    (void)state;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    struct problem problem = problem_make(KERNEL_nll, 3001, 1, NORMAL, 0, NO_COEFFICIENTS);
    struct generator g = {1};
    for (int64_t row = 0; row < 1500; row++) {
        problem.x[row] = generate_normal(&g) * ldexpf(1, (int)generate_below(&g, 250) - 125);
        problem.x[3000 - row] = -problem.x[row];
    }
    problem.x[1500] = 1e-40f;
    for (size_t t = 0; t < tier_count; t++) {
        check_totals(&problem, tiers[t]);
    }
    problem_free(&problem);
}

/* A float is too short to count these. */
static void many_rows_are_all_counted(void **state)
{
    (void)state;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    const int64_t rows = (INT64_C(1) << 24) + 1;
    const float x = -1;
    const int64_t y = 0, shape[] = {rows, 1}, strides[] = {0, 1};
    const xent_tensor logits = {(void *)(uintptr_t)&x, XENT_F32, 2, shape, strides};
    const xent_tensor target = {(void *)(uintptr_t)&y, XENT_I64, 1, shape, strides};
    for (size_t t = 0; t < tier_count; t++) {
        const xent_execution execution = check_execution(tiers[t]);
        xent_cross_entropy_options options;
        assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
        options.execution = &execution;
        double sum = 0, divisor = 0;
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .sum = &sum, .divisor = &divisor};
        xent_error error = {0};
        if (tiers[t] == XENT_TIER_SCALAR || !check_quick()) {
            assert_status(xent_nll(&logits, &target, &options, &outputs, &error), XENT_OK, &error);
            assert_same(sum, (double)rows);
            assert_same(divisor, (double)rows);
        }
    }
}

int main(int argc, char **argv)
{
    static enum kernel kernels[] = {KERNEL_cross_entropy, KERNEL_nll, KERNEL_bce, KERNEL_bce_with_logits};
    const struct CMUnitTest tests[] = {
        {"cross_entropy", totals, NULL, NULL, &kernels[0]},
        {"nll", totals, NULL, NULL, &kernels[1]},
        {"bce", totals, NULL, NULL, &kernels[2]},
        {"bce_with_logits", totals, NULL, NULL, &kernels[3]},
        cmocka_unit_test(cancelling_losses),
        cmocka_unit_test(many_rows_are_all_counted),
    };
    return check_run("sums", tests, sizeof tests / sizeof *tests, argc, argv);
}
