/* Sums over rows and elements that do not depend on how the work was cut.
 *
 * Values are added as a fixed tree within blocks of XENT_ROWS, in double; the block sums are
 * added exactly, in a fixed-point number wide enough for any double, and rounded once. So the
 * error is that of a tree of six additions, whatever the number of rows, and the order in
 * which blocks arrive does not matter. */
#ifndef XENT_DISPATCH_REDUCE_H
#define XENT_DISPATCH_REDUCE_H

#include <stddef.h>
#include <stdint.h>

#include "../kernels/job.h"

/* 2046 + 53 bits of a double's range in digits of 32 bits, and room above for 2^64 sums. */
#define XENT_SUM_DIGITS 68

struct xent_sum {
    size_t count;   /* doubles added */
    double only;    /* the first of them; the digits are used from the second on */
    double special; /* sum of those that are not finite */
    int64_t digits[XENT_SUM_DIGITS]; /* of weight 2^(32 i - 1074); each may leave its range */
    size_t pending; /* values that wait for their block to be whole */
    double block[XENT_ROWS];
};

void xent_sum_init(struct xent_sum *sum);
/* Exactly. */
void xent_sum_add(struct xent_sum *sum, double value);
/* Values of consecutive rows, which fill up blocks. */
void xent_sum_add_rows(struct xent_sum *sum, const double *values, size_t count);
/* Nearest double, an unfinished block included. Values may be added no more. */
double xent_sum_round(struct xent_sum *sum);

#endif
