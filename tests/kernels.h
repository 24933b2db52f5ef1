/* Calls any kernel of the list, in any layout, on any tier, and brings all its outputs
 * into one form in which two runs can be compared bit by bit. */
#ifndef XENT_TESTS_KERNELS_H
#define XENT_TESTS_KERNELS_H

#include "check.h"
#include "layout.h"
#include "problem.h"

#define MAX_OUTPUTS 8

/* One output of a call, in C order: a value for each row and class, or for each row, or
 * one alone. In double, which holds every float. */
struct output {
    const char *name;
    bool is_double; /* the library's own type is double, not float */
    int64_t rows, classes;
    double *values;
};

struct results {
    xent_status status;
    xent_error error;
    int count;
    struct output outputs[MAX_OUTPUTS];
};

/* Runs the problem's kernel. Every tensor lies between guard pages; fails if a byte was
 * written that is no element of an output, or an input was changed. The caller frees. */
struct results run_problem(const struct problem *problem, const struct layout *layout,
                           xent_tier tier, enum placement placement);

void results_free(struct results *results);

/* The output of that name; NULL: the call has none. */
const struct output *results_find(const struct results *results, const char *name);

/* The row states among the results, as a call can be given them. The caller frees. */
xent_row_state *results_states(const struct results *results);

/* What a failure is told about: "avx2: cross_entropy, (7, 33), normal, odd strides". */
void print_run(const struct problem *problem, const struct layout *layout, xent_tier tier);

/* Fails unless all outputs of one run are those of the other with the same name, bit by
 * bit; reference_name says whose the reference's are: "scalar". A sum over elements is left
 * out where the layout has them in another order. */
void assert_same_results(const struct results *results, const struct results *reference,
                         const struct problem *problem, const struct layout *layout,
                         xent_tier tier, const char *reference_name);

/* As if values of row (of several) were all there is: for comparing a row alone with the same
 * row in a batch. Outputs that belong to no row are left out. The caller frees. */
struct results results_row(const struct results *results, int64_t row);

/* Adds all bits of the results to a hash. */
uint64_t results_hash(const struct results *results, uint64_t hash);

#endif
