/* A call being put together: its tensors, each between guard pages. For kernels.c. */
#ifndef XENT_TESTS_RUN_H
#define XENT_TESTS_RUN_H

#include "kernels.h"

/* A tensor of a call: its block between guard pages, and the values it holds. */
struct placed {
    const char *name;
    struct arrangement at;
    xent_tensor tensor;
    size_t bytes;
    struct placed *over;  /* the input that this output is written over */
    const float *floats;  /* an input's values, in C order */
    const int64_t *indices;
    int64_t rows, classes;
    struct guarded *guarded;
};

#define MAX_TENSORS 16

/* A call being put together. */
struct run {
    const struct problem *problem;
    const struct layout *layout;
    xent_execution execution;
    enum placement placement;
    int inputs, outputs;
    struct placed input[MAX_TENSORS], output[MAX_TENSORS];
    struct results results;
};

/* Inputs, in the layout's strides. NULL where the problem has none. */
const xent_tensor *matrix(struct run *run, const char *name, const float *values);
const xent_tensor *vector(struct run *run, const char *name, const float *values); /* (C) */
const xent_tensor *indices(struct run *run);
const xent_row_state *saved(struct run *run);

/* The incoming gradient of a loss: none, a scalar, or one a row (or by_element). */
const xent_tensor *incoming(struct run *run, bool by_element);

/* Outputs; NULL where the problem does not want them. first and second: the inputs, by number,
 * that a matrix is written over in an in-place layout; -1: it never is. */
const xent_tensor *matrix_out(struct run *run, const char *name, int first, int second);
const xent_tensor *rows_out(struct run *run, const char *name);
double *double_out(struct run *run, const char *name);
xent_row_state *state_out(struct run *run); /* max and rest of each row */

/* Checks what the call has left, and collects the outputs. */
void finish_run(struct run *run);

#endif
