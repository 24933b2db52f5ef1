/* What each kernel's outputs should be, by the oracle, and how far they may be from it. */
#ifndef XENT_TESTS_EXPECTED_H
#define XENT_TESTS_EXPECTED_H

#include "kernels.h"

/* An output's exact values. Each may be off by bound units and the rounding: the unit is
 * the ulp that the header's bound counts, that of the exact value or of its largest term,
 * times the weight; the rounding is what a weight or an incoming gradient adds. */
struct expected {
    const char *name;
    double bound; /* the header's */
    int64_t rows, classes;
    double *exact, *unit, *rounding;
};

struct expectation {
    int count;
    struct expected outputs[MAX_OUTPUTS];
};

struct expectation expect(const struct problem *problem);

void expectation_free(struct expectation *expectation);

/* The error in units, beyond what the rounding allows. */
double expected_error(const struct expected *expected, const struct output *got, int64_t at);

#endif
