/* What is added up over rows and elements. None of it depends on the order of the rows, nor on how
 * the work was cut. */
#ifndef XENT_DISPATCH_REDUCE_H
#define XENT_DISPATCH_REDUCE_H

#include <stddef.h>
#include <stdint.h>

#include "../kernels/job.h"

/* 2046 + 53 bits of a double's range in digits of 32 bits, and room above for 2^64 sums. */
#define XENT_SUM_DIGITS 68

/* A sum of doubles, kept exactly in a fixed-point number that is wide enough for any, and rounded
 * once. */
struct xent_sum {
    size_t count;     /* doubles added: 0, 1 or more */
    double only;      /* the first of them; the digits are used from the second on */
    unsigned special; /* those that are not finite: which there were */
    int64_t digits[XENT_SUM_DIGITS]; /* of weight 2^(32 i - 1074); each may leave its range */
};

void xent_sum_init(struct xent_sum *sum);
void xent_sum_add(struct xent_sum *sum, double value);
/* Up to XENT_ROWS values. */
void xent_sum_add_rows(struct xent_sum *sum, const double *values, size_t count);
/* Nearest double. Values may be added no more. */
double xent_sum_round(struct xent_sum *sum);
/* All in one. */
double xent_sum_of(const double *values, size_t count);

/* What comes together over all rows, or elements, of a call. */
struct xent_totals {
    struct xent_sum sum, z_sum; /* of losses, and of z-losses */
    int64_t correct;            /* rows whose target is the argmax */
    int64_t invalid;            /* first element with an improper probability; INT64_MAX: none */
    int64_t non_finite;         /* first loss that is not finite, 4 position + which; INT64_MAX: none */
};

void xent_totals_init(struct xent_totals *totals);
/* After init: several threads may now merge theirs into it, and nothing else. */
void xent_totals_share(struct xent_totals *totals);
void xent_totals_merge(struct xent_totals *shared, struct xent_totals *own);

/* Notes the loss at a position if it is not finite. Positions come in rising order. */
void xent_totals_note(struct xent_totals *totals, int64_t position, double loss);
/* The first that was noted: where, or -1, and *loss. */
int64_t xent_totals_non_finite(const struct xent_totals *totals, double *loss);

#endif
