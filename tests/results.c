/* Comparing runs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

void results_free(struct results *results)
{
    for (int i = 0; i < results->count; i++) {
        free(results->outputs[i].values);
    }
    results->count = 0;
}

const struct output *results_find(const struct results *results, const char *name)
{
    for (int i = 0; i < results->count; i++) {
        if (strcmp(results->outputs[i].name, name) == 0) {
            return &results->outputs[i];
        }
    }
    return NULL;
}

xent_row_state *results_states(const struct results *results)
{
    const struct output *state = results_find(results, "state");
    assert_non_null(state);
    xent_row_state *states = malloc(sizeof *states * (size_t)(state->rows + 1));
    assert_non_null(states);
    for (int64_t row = 0; row < state->rows; row++) {
        states[row] = (xent_row_state){state->values[2 * row], state->values[2 * row + 1]};
    }
    return states;
}

/* Whether it is made of all rows. */
static bool is_total(const struct output *output)
{
    return strcmp(output->name, "sum") == 0 || strcmp(output->name, "divisor") == 0 ||
           strcmp(output->name, "mean") == 0;
}

struct results results_row(const struct results *results, int64_t row)
{
    struct results one = {.status = results->status};
    for (int i = 0; i < results->count; i++) {
        const struct output *from = &results->outputs[i];
        if (!is_total(from)) {
            struct output *to = &one.outputs[one.count++];
            *to = *from;
            to->rows = 1;
            to->values = malloc(sizeof(double) * (size_t)(from->classes + 1));
            assert_non_null(to->values);
            memcpy(to->values, from->values + row * from->classes,
                   sizeof(double) * (size_t)from->classes);
        }
    }
    return one;
}

uint64_t results_hash(const struct results *results, uint64_t hash)
{
    for (int i = 0; i < results->count; i++) {
        const struct output *output = &results->outputs[i];
        for (int64_t j = 0; j < output->rows * output->classes; j++) {
            hash = (hash ^ check_bits64(output->values[j])) * 0x100000001b3u;
            hash ^= hash >> 29;
        }
    }
    return hash;
}

/* ---- Telling ---------------------------------------------------------------------- */

void print_run(const struct problem *problem, const struct layout *layout, xent_tier tier)
{
    print_error("%s: %s, (%lld, %lld), %s, %s", xent_tier_name(tier), kernel_name(problem->kernel),
                (long long)problem->rows, (long long)problem->classes, kind_name(problem->kind),
                layout->name);
    print_error("%s%s%s\n", problem->only != NULL ? ", only " : "",
                problem->only != NULL ? problem->only : "",
                problem->state != NULL ? ", from saved state" : "");
}

static void print_difference(const struct output *got, const struct output *reference, int64_t at,
                             const char *reference_name)
{
    const double a = got->values[at], b = reference->values[at];
    print_error("  %s, row %lld, class %lld: got %a, %s gives %a (", got->name,
                (long long)(at / got->classes), (long long)(at % got->classes), a, reference_name,
                b);
    if (isnan(a) || isnan(b)) {
        print_error("a NaN, same bits promised)\n");
    } else if (got->is_double) {
        print_error("%g apart, same bits promised)\n", a - b);
    } else {
        print_error("%llu ulp apart, same bits promised)\n",
                    (unsigned long long)check_distance((float)a, (float)b));
    }
}

static bool same_outputs(const struct output *got, const struct output *reference,
                         const char *reference_name)
{
    const int64_t count = got->rows * got->classes;
    assert_int_equal(count, reference->rows * reference->classes);
    for (int64_t at = 0; at < count; at++) {
        if (!check_same64(got->values[at], reference->values[at])) {
            print_difference(got, reference, at, reference_name);
            return false;
        }
    }
    return true;
}

void assert_same_results(const struct results *results, const struct results *reference,
                         const struct problem *problem, const struct layout *layout,
                         xent_tier tier, const char *reference_name)
{
    bool same = results->status == XENT_OK;
    if (!same) {
        print_error("status %d: %s\n", (int)results->status, results->error.message);
    }
    for (int i = 0; i < results->count; i++) {
        const struct output *got = &results->outputs[i];
        const struct output *expected = results_find(reference, got->name);
        const bool reordered = kernel_elementwise(problem->kernel) && layout_reorders(layout);
        if (expected != NULL && !(is_total(got) && reordered)) {
            same &= same_outputs(got, expected, reference_name);
        }
    }
    if (!same) {
        print_run(problem, layout, tier);
        fail();
    }
}
