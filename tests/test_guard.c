/* Nothing is read or written that is not an element of a tensor: every tensor lies between
 * two pages that can't be touched, against the one before it or the one after it, at every
 * length up to 300. run_problem checks besides that gaps and neighbours keep their bytes.
 *
 * A fault ends the program at once: the last name printed says which test it was in, and
 * that test alone, by its name, runs under a debugger. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels.h"

enum { LONGEST = 300 };

struct subject {
    enum kernel kernel;
    xent_tier tier;
    char name[64];
};

static void run_both_ends(const struct subject *subject, const struct layout *layout, int64_t rows,
                          int64_t classes)
{
    /* What a call reads depends on its options: weights, i32 targets and so on in turn. */
    const unsigned variant = (unsigned)(rows + classes) % 6;
    const enum kind kind = subject->kernel == KERNEL_bce ? NORMAL : (rows & 1) != 0 ? MASKED : TIES;
    struct problem problem =
        problem_make(subject->kernel, rows, classes, kind, variant, ANY_COEFFICIENTS);
    for (enum placement placement = AT_FRONT; placement <= AT_BACK; placement++) {
        struct results results = run_problem(&problem, layout, subject->tier, placement);
        assert_status(results.status, XENT_OK, &results.error);
        if (results_find(&results, "state") != NULL) {
            xent_row_state *states = results_states(&results);
            problem.state = states;
            problem.only = "gradient";
            struct results later = run_problem(&problem, layout, subject->tier, placement);
            assert_same_results(&later, &results, &problem, layout, subject->tier, "the fused call");
            results_free(&later);
            problem.state = NULL;
            problem.only = NULL;
            free(states);
        }
        results_free(&results);
    }
    problem_free(&problem);
}

static void guard(void **state)
{
    const struct subject *subject = *state;
    if (!check_tier_available(subject->tier)) {
        skip();
    }
    const bool needs_class = subject->kernel == KERNEL_cross_entropy || subject->kernel == KERNEL_nll;
    const struct layout *plain = &layouts[CONTIGUOUS], *misaligned = &layouts[MISALIGNED], *inner = &layouts[INNER],
                        *in_place = &layouts[IN_PLACE], *odd = &layouts[ODD_STRIDES], *reversed = &layouts[NEGATIVE];
    const int step = check_quick() ? 7 : 1;
    for (int64_t length = 0; length <= LONGEST; length += step) {
        const int64_t classes = length == 0 && needs_class ? 1 : length;
        run_both_ends(subject, plain, 1 + length % 3, classes);
        run_both_ends(subject, misaligned, 1, classes);
        run_both_ends(subject, in_place, 2, classes);
        if (kernel_elementwise(subject->kernel)) {
            continue;
        }
        run_both_ends(subject, plain, length, 3);
        run_both_ends(subject, plain, length, 10);
        run_both_ends(subject, inner, length, 5); /* (1, C, N): positions in the lanes */
        run_both_ends(subject, inner, 3, classes);
    }
    for (int64_t length = 1; length <= LONGEST; length += 13 * step) {
        run_both_ends(subject, odd, 3, length);
        run_both_ends(subject, reversed, 3, length);
        run_both_ends(subject, inner, length, 40);
    }
}

int main(int argc, char **argv)
{
    static struct subject subjects[KERNEL_COUNT * XENT_TIER_COUNT];
    static struct CMUnitTest tests[KERNEL_COUNT * XENT_TIER_COUNT];
    size_t count = 0;
    for (int tier = XENT_TIER_SCALAR; tier < XENT_TIER_COUNT; tier++) {
        for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
            struct subject *subject = &subjects[count];
            subject->kernel = (enum kernel)kernel;
            subject->tier = (xent_tier)tier;
            snprintf(subject->name, sizeof subject->name, "%s %s",
                     xent_tier_name(subject->tier), kernel_name(subject->kernel));
            tests[count++] = (struct CMUnitTest){subject->name, guard, NULL, NULL, subject};
        }
    }
    return check_run("guard pages", tests, count, argc, argv);
}
