/* Rows, and elements, have nothing to do with each other: something special in each place in
 * turn changes the bits of no other row. So no lane leaks into another, and no tail is
 * filled with what counts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

/* Whether all rows but one, or all elements but one, are as they were. */
static bool others_same(const struct results *results, const struct results *before, int64_t row,
                        int64_t column)
{
    for (int i = 0; i < results->count; i++) {
        const struct output *got = &results->outputs[i], *was = &before->outputs[i];
        for (int64_t at = 0; at < got->rows * got->classes && got->rows > 1; at++) {
            const bool its_own = column < 0 ? at / got->classes == row
                                            : at == row * got->classes + column;
            if (!its_own && !check_same64(got->values[at], was->values[at])) {
                print_error("  %s, row %lld, class %lld\n", got->name, (long long)(at / got->classes),
                            (long long)(at % got->classes));
                return false;
            }
        }
    }
    return true;
}

static void put_in_each_place(struct problem *problem, float *input, const struct layout *layout,
                              xent_tier tier)
{
    const float specials[] = {NAN, INFINITY, -INFINITY, 1e30f};
    const bool elements = kernel_elementwise(problem->kernel);
    struct results before = run_problem(problem, layout, tier, AT_BACK);
    assert_status(before.status, XENT_OK, &before.error);
    const int64_t count = problem->rows * problem->classes;
    for (int64_t at = 0; at < count; at++) {
        const float was = input[at];
        input[at] = problem->kernel == KERNEL_bce ? (float)(at % 2) : specials[at % 4];
        struct results results = run_problem(problem, layout, tier, AT_BACK);
        const int64_t row = at / problem->classes, column = elements ? at % problem->classes : -1;
        if (!others_same(&results, &before, row, column)) {
            print_run(problem, layout, tier);
            fail_msg("changed by %g in row %lld, class %lld", (double)input[at], (long long)row,
                     (long long)(at % problem->classes));
        }
        results_free(&results);
        input[at] = was;
    }
    results_free(&before);
}

/* Whether it takes an incoming gradient of its input's shape. */
static bool backward(enum kernel kernel)
{
    return kernel == KERNEL_softmax_backward || kernel == KERNEL_log_softmax_backward ||
           kernel == KERNEL_sigmoid_backward || kernel == KERNEL_log_sigmoid_backward;
}

static void lanes(void **state)
{
    const enum kernel kernel = *(const enum kernel *)*state;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    const int64_t shapes[][2] = {{39, 3}, {5, 70}, {70, 2}, {2, 35}};
    const int kinds[] = {CONTIGUOUS, INNER, SPLIT};
    for (size_t t = 0; t < tier_count; t++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            /* Row sums would carry what is special: incoming gradients by row instead. */
            struct problem problem =
                problem_make(kernel, shapes[s][0], shapes[s][1], NORMAL, 2, MILD_COEFFICIENTS);
            for (int l = 0; l < 3; l++) {
                put_in_each_place(&problem, problem.x, &layouts[kinds[l]], tiers[t]);
                float *second = problem.t != NULL ? problem.t : backward(kernel) ? problem.g : NULL;
                if (second != NULL) {
                    put_in_each_place(&problem, second, &layouts[kinds[l]], tiers[t]);
                }
            }
            problem_free(&problem);
        }
    }
}

/* An ignored row leaves the others alone wherever it is; its own numbers are not even looked at. */
static void ignored_lanes(void **state)
{
    (void)state;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    for (size_t t = 0; t < tier_count; t++) {
        for (int l = 0; l < 2; l++) {
            const struct layout *layout = &layouts[l == 0 ? CONTIGUOUS : INNER];
            struct problem problem = problem_make(KERNEL_cross_entropy, 67, 3, NORMAL, 2, NO_COEFFICIENTS);
            struct results before = run_problem(&problem, layout, tiers[t], AT_BACK);
            for (int64_t row = 0; row < problem.rows; row++) {
                const int64_t was = problem.y[row];
                problem.y[row] = problem.ignore_index;
                const float logit = problem.x[3 * row];
                problem.x[3 * row] = NAN;
                struct results results = run_problem(&problem, layout, tiers[t], AT_BACK);
                assert_true(others_same(&results, &before, row, -1));
                const struct output *gradient = results_find(&results, "gradient");
                for (int64_t j = 0; j < 3; j++) {
                    assert_same(gradient->values[3 * row + j], 0);
                }
                assert_same(results_find(&results, "loss")->values[row], 0);
                problem.x[3 * row] = logit;
                problem.y[row] = was;
                results_free(&results);
            }
            results_free(&before);
            problem_free(&problem);
        }
    }
}

/* On every tier, rows have the same bits side by side, strided, and alone. */
static void assert_rows_alone(struct problem *problem)
{
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    for (size_t t = 0; t < tier_count; t++) {
        struct results together = run_problem(problem, &layouts[CONTIGUOUS], tiers[t], AT_BACK);
        struct results strided = run_problem(problem, &layouts[INNER], tiers[t], AT_BACK);
        assert_true(others_same(&together, &strided, -1, -1));
        for (int64_t row = 0; row < problem->rows; row++) {
            struct problem one = problem_row(problem, row);
            struct results alone = run_problem(&one, &layouts[CONTIGUOUS], tiers[t], AT_BACK);
            for (int i = 0; i < alone.count; i++) {
                const struct output *got = &together.outputs[i], *own = &alone.outputs[i];
                for (int64_t j = 0; got->rows == problem->rows && j < got->classes; j++)
                    assert_same(got->values[row * got->classes + j], own->values[j]);
            }
            results_free(&alone);
            problem_free(&one);
        }
        results_free(&together);
        results_free(&strided);
    }
}

/* The constants of a group of rows are guessed from the first classes of its first row. A wrong guess costs
 * time, but no bit: neither where the maximum comes late, nor where it is of another span than the neighbours', or
 * infinite, or at the very end of a span. */
static void wrong_guesses(void **state)
{
    const enum kernel kernel = *(const enum kernel *)*state;
    static const float offsets[] = {0,     -11.2f, -11.0f, 38.7f,   39.0f,     -61.1f, 88.7f, 120, -300,
                                    351.8f, 352.2f, 1e5f,   -1e5f, -INFINITY, INFINITY, NAN,   20,  0};
    enum { ROWS = sizeof offsets / sizeof *offsets };
    const int64_t sizes[] = {257, 700, 4500};
    for (size_t s = 0; s < 3; s++) {
        for (int late = 0; late < 3; late++) {
            struct problem problem = problem_make(kernel, ROWS, sizes[s], NORMAL, 2, NO_COEFFICIENTS);
            for (int64_t at = 0; at < ROWS * sizes[s]; at++) {
                const int64_t row = (at / sizes[s] * 7 + late) % ROWS, class = at % sizes[s];
                if (class >= 256) problem.x[at] += offsets[row];
                else if (late < 2) problem.x[at] = late ? -INFINITY : problem.x[at] + offsets[row];
            }
            assert_rows_alone(&problem);
            problem_free(&problem);
        }
    }
}

/* Among rows that are summed once, some whose maximum has to be left out: one of it, or two, or beside it what has the same exponential,
 * but is less. */
static void lone_maxima(void **state)
{
    const enum kernel kernel = *(const enum kernel *)*state;
    enum { ROWS = 35 };
    const int64_t sizes[] = {50, 100, 227};
    for (int s = 0; s < 3; s++) {
        struct problem problem = problem_make(kernel, ROWS, sizes[s], NORMAL, 2, NO_COEFFICIENTS);
        for (int64_t row = 2; row < ROWS; row += 7) {
            float *x = problem.x + row * sizes[s];
            x[row] = 20;
            if (row % 3 != 0) x[sizes[s] - 1] = row % 3 == 1 ? 20 : nextafterf(20, 0);
        }
        assert_rows_alone(&problem);
        problem_free(&problem);
    }
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[KERNEL_COUNT + 9];
    static enum kernel kernels[KERNEL_COUNT];
    static enum kernel guessing[] = {KERNEL_log_sum_exp, KERNEL_softmax, KERNEL_log_softmax, KERNEL_cross_entropy};
    static const char *names[] = {"guesses of log_sum_exp", "guesses of softmax", "guesses of log_softmax", "guesses of cross_entropy"};
    static const char *maxima[] = {"maxima of log_sum_exp", "maxima of softmax", "maxima of log_softmax", "maxima of cross_entropy"};
    for (int i = 0; i < KERNEL_COUNT; i++) {
        kernels[i] = (enum kernel)i;
        tests[i] = (struct CMUnitTest){kernel_name(kernels[i]), lanes, NULL, NULL, &kernels[i]};
    }
    tests[KERNEL_COUNT] = (struct CMUnitTest)cmocka_unit_test(ignored_lanes);
    for (int i = 0; i < 4; i++) {
        tests[KERNEL_COUNT + 1 + i] = (struct CMUnitTest){names[i], wrong_guesses, NULL, NULL, &guessing[i]};
        tests[KERNEL_COUNT + 5 + i] = (struct CMUnitTest){maxima[i], lone_maxima, NULL, NULL, &guessing[i]};
    }
    return check_run("lanes", tests, KERNEL_COUNT + 9, argc, argv);
}
