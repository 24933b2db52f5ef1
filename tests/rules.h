/* Rules in numbers: packed tensors of a few literal values, of any dtype, and results against
 * the exact values, in ulps. */
#ifndef XENT_TESTS_RULES_H
#define XENT_TESTS_RULES_H

#include "random_call.h"

enum { STORED_MOST = 32 };

struct stored {
    _Alignas(8) unsigned char memory[STORED_MOST * sizeof(double)];
    xent_tensor tensor;
    int64_t shape[2];
};

/* Of shape (), (rows) or (rows, columns). values NULL: an output, which holds anything. */
const xent_tensor *store(struct stored *s, xent_dtype dtype, int32_t ndim, int64_t rows, int64_t columns, const double *values);

/* PyTorch's defaults, with this reduction. */
xent_cross_entropy_options cross_entropy_defaults(xent_reduction reduction);

/* Fails unless got is within bound ulps (of f32, f64) of exact. */
void assert_near(const char *what, int64_t at, xent_dtype dtype, double got, double exact, double bound);

/* All elements stored. largest: of the terms that each is a sum of, to whose ulps the bound
 * refers; NULL, or less than it: itself. */
void assert_all_near(const char *what, const struct stored *got, const double *exact, const double *largest, double bound);

#endif
