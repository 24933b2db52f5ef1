/* One answer: a row gives the same bits on every tier with a fused multiply-add, in any
 * layout, at any alignment, alone or in a batch, whether its gradient comes with the
 * loss or from the saved state. The scalar tier is the reference; sse2, which has one
 * answer of its own, is compared with itself.
 *
 * The program prints a hash of all outputs, by tier: the same number on every machine. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels.h"

/* ---- What is run -------------------------------------------------------------- */

struct shape {
    int64_t rows, classes;
};

/* Many rows where rows lie in the lanes, few where they are long; not a prime number, so
 * that they can be cut in (N/d, d). */
static int64_t rows_for(int64_t classes)
{
    return classes <= 4 ? 150 : classes <= 40 ? 38 : classes <= 64 ? 18 : classes <= 300 ? 6 : 4;
}

/* Every width up to 300, then those around the blocks of 256 and far beyond, then more rows
 * than the dispatcher hands out at once. False: there are no more. */
static bool shape_number(int index, struct shape *shape)
{
    static const int64_t wide[] = {511, 512, 513, 777, 1000, 2049, 4097, 8191, 32000, 100003};
    static const struct shape long_batches[] = {{1000, 10}, {200, 7}, {131, 33}, {195, 65}, {150, 130}, {100, 257}};
    const int narrow = 301, wides = 10, batches = 6;
    if (index < narrow + wides) {
        const int64_t classes = index < narrow ? index : wide[index - narrow];
        *shape = (struct shape){rows_for(classes), classes};
    } else if (index < narrow + wides + batches) {
        *shape = long_batches[index - narrow - wides];
    }
    return index < narrow + wides + batches;
}

/* The kinds of a width: all of them up to 40 classes, some in turn beyond. */
static bool kind_runs(enum kind kind, int64_t classes, int index)
{
    return classes <= 40 || (int)kind % 4 == index % 4 || kind == SPECIALS;
}

static uint64_t hashes[XENT_TIER_COUNT];
static bool hash_complete[KERNEL_COUNT];

/* The saved-state call must give what the fused call gave, whatever else it gives. */
static void compare_saved_state(const struct problem *problem, const struct results *fused,
                                xent_tier tier)
{
    if (results_find(fused, "state") == NULL) {
        return;
    }
    xent_row_state *states = results_states(fused);
    struct problem later = *problem;
    later.state = states;
    struct results results = run_problem(&later, &layouts[CONTIGUOUS], tier, AT_BACK);
    assert_same_results(&results, fused, &later, &layouts[CONTIGUOUS], tier, "the fused call");
    results_free(&results);

    later.only = "gradient";
    results = run_problem(&later, &layouts[INNER], tier, AT_BACK);
    assert_same_results(&results, fused, &later, &layouts[INNER], tier, "the fused call");
    results_free(&results);
    free(states);
}

/* softmax and log_softmax take the state that log_sum_exp saved. */
static void compare_foreign_state(const struct problem *problem, const struct results *direct,
                                  xent_tier tier)
{
    if (problem->kernel != KERNEL_softmax && problem->kernel != KERNEL_log_softmax) {
        return;
    }
    struct problem later = *problem;
    later.kernel = KERNEL_log_sum_exp;
    later.incoming = INCOMING_NONE;
    struct results lse = run_problem(&later, &layouts[CONTIGUOUS], tier, AT_FRONT);
    xent_row_state *states = results_states(&lse);
    later = *problem;
    later.state = states;
    struct results results = run_problem(&later, &layouts[CONTIGUOUS], tier, AT_BACK);
    assert_same_results(&results, direct, &later, &layouts[CONTIGUOUS], tier, "the direct call");
    results_free(&results);
    results_free(&lse);
    free(states);
}

/* Each output alone is what it is among all. */
static void compare_each_output(const struct problem *problem, const struct results *all,
                                xent_tier tier, int turn)
{
    struct problem one = *problem;
    one.only = all->outputs[turn % all->count].name;
    struct results results = run_problem(&one, &layouts[CONTIGUOUS], tier, AT_FRONT);
    assert_int_equal(results.count, 1);
    assert_same_results(&results, all, &one, &layouts[CONTIGUOUS], tier, "the call for all outputs");
    results_free(&results);
}

/* A row alone is what it is in its batch; the mean's gradient apart, which the batch scales. */
static void compare_row_alone(const struct problem *problem, const struct results *batch,
                              xent_tier tier, int64_t row)
{
    if (problem->rows < 2 || (problem->reduction == XENT_REDUCTION_MEAN &&
                              results_find(batch, "mean") != NULL)) {
        return;
    }
    struct problem alone = problem_row(problem, row);
    struct results expected = results_row(batch, row);
    struct results results = run_problem(&alone, &layouts[CONTIGUOUS], tier, AT_BACK);
    assert_same_results(&results, &expected, &alone, &layouts[CONTIGUOUS], tier, "its batch");
    results_free(&results);
    results_free(&expected);
    problem_free(&alone);
}

/* How many of the layouts, from one that turns on, a tier is run in. */
static int layouts_for(xent_tier tier, const struct problem *problem)
{
    if (check_quick() || tier == XENT_TIER_SCALAR || problem->classes > 300) {
        return 1;
    }
    return problem->classes < 20 ? 6 : 4;
}

static void compare_tier(const struct problem *problem, const struct results *reference,
                         xent_tier tier, int turn)
{
    const char *whose = tier == XENT_TIER_SSE2 ? "sse2, contiguous," : "scalar";
    for (int i = 0; i < layouts_for(tier, problem); i++) {
        const struct layout *layout = &layouts[1 + (turn + i) % (LAYOUT_COUNT - 1)];
        struct results results = run_problem(problem, layout, tier, (turn & 1) != 0 ? AT_BACK : AT_FRONT);
        assert_same_results(&results, reference, problem, layout, tier, whose);
        results_free(&results);
    }
    compare_saved_state(problem, reference, tier);
    compare_foreign_state(problem, reference, tier);
    compare_each_output(problem, reference, tier, turn);
    compare_row_alone(problem, reference, tier, turn % (problem->rows > 0 ? problem->rows : 1));
}

static void compare_problem(const struct problem *problem, int turn)
{
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t count = check_tiers(tiers);
    struct results reference = run_problem(problem, &layouts[CONTIGUOUS], XENT_TIER_SCALAR, AT_FRONT);
    assert_status(reference.status, XENT_OK, &reference.error);
    for (size_t i = 0; i < count; i++) {
        struct results results = run_problem(problem, &layouts[CONTIGUOUS], tiers[i], AT_BACK);
        hashes[tiers[i]] = results_hash(&results, hashes[tiers[i]]);
        if (check_tier_fused(tiers[i])) {
            assert_same_results(&results, &reference, problem, &layouts[CONTIGUOUS], tiers[i], "scalar");
        } else {
            assert_status(results.status, XENT_OK, &results.error);
        }
        compare_tier(problem, check_tier_fused(tiers[i]) ? &reference : &results, tiers[i], turn);
        results_free(&results);
    }
    results_free(&reference);
}

/* ---- The tests: one a kernel -------------------------------------------------------- */

static bool target_fits(enum kernel kernel, int64_t classes)
{
    return classes > 0 || (kernel != KERNEL_cross_entropy && kernel != KERNEL_nll);
}

static void same_bits(void **state)
{
    const enum kernel kernel = *(const enum kernel *)*state;
    int turn = 0;
    struct shape shape;
    for (int index = 0; shape_number(index, &shape); index++) {
        for (int kind = 0; kind < KIND_COUNT; kind++) {
            if (kind_runs((enum kind)kind, shape.classes, index) && target_fits(kernel, shape.classes)) {
                /* Elementwise kernels need no second dimension for their sizes. */
                const int64_t rows = kernel_elementwise(kernel) ? 2 : shape.rows;
                struct problem problem =
                    problem_make(kernel, rows, shape.classes, (enum kind)kind,
                                 (unsigned)(index + kind) % 6, ANY_COEFFICIENTS);
                compare_problem(&problem, turn++);
                problem_free(&problem);
            }
        }
    }
    hash_complete[kernel] = true;
}

static void hashes_agree(void **state)
{
    (void)state;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t count = check_tiers(tiers);
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
        if (!hash_complete[kernel]) {
            print_message("no hash: %s has not run, or failed\n", kernel_name((enum kernel)kernel));
            skip();
        }
    }
    for (size_t i = 0; i < count; i++) {
        print_message("hash of all outputs: %016llx (%s)\n", (unsigned long long)hashes[tiers[i]],
                      xent_tier_name(tiers[i]));
    }
    for (size_t i = 0; i < count; i++) {
        if (check_tier_fused(tiers[i])) {
            assert_true(hashes[tiers[i]] == hashes[XENT_TIER_SCALAR]);
        }
    }
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[KERNEL_COUNT + 1];
    static enum kernel kernels[KERNEL_COUNT];
    for (int i = 0; i < KERNEL_COUNT; i++) {
        kernels[i] = (enum kernel)i;
        tests[i] = (struct CMUnitTest){kernel_name(kernels[i]), same_bits, NULL, NULL, &kernels[i]};
    }
    tests[KERNEL_COUNT] = (struct CMUnitTest){"hashes agree", hashes_agree, NULL, NULL, NULL};
    return check_run("same bits", tests, KERNEL_COUNT + 1, argc, argv);
}
