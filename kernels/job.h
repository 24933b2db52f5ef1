/* What the dispatcher hands to a kernel: validated, folded to rows or to runs of
 * elements, and small enough to live on the stack. Nothing here depends on a tier. */
#ifndef XENT_KERNELS_JOB_H
#define XENT_KERNELS_JOB_H

#include <stddef.h>
#include <stdint.h>

#include "list.h"

/* Rows of a job. Also the block in which row losses are summed (dispatch/reduce.c). */
#define XENT_ROWS 64
/* With room for a whole vector from any row on. */
#define XENT_ROW_SLOTS (XENT_ROWS + 16)

/* Up to XENT_ROWS rows of a softmax-family tensor. Row i's class j is
 * tensor.data[tensor.row[i] + j * tensor.class_stride]. */
struct row_tensor {
    float *data;
    ptrdiff_t class_stride;
    ptrdiff_t row[XENT_ROWS];
};

enum { XENT_NO_TARGET = -1 }; /* in row_job.target: the row is ignored */

struct row_job {
    size_t rows, classes;
    /* Rows follow each other at distance 1 in every tensor: positions fill the lanes. */
    int unit_rows;
    struct row_tensor in;  /* logits; log-probabilities (nll); the forward output (backward) */
    struct row_tensor in2; /* the incoming gradient (softmax_backward, log_softmax_backward) */
    struct row_tensor out; /* gradient or output; data NULL: not wanted */
    int want_log;          /* lse or loss is wanted */
    int have_state;        /* max and rest are given, not to be computed */
    int64_t target[XENT_ROWS];
    float weight[XENT_ROW_SLOTS]; /* of the target's class; multiplies the loss */
    double scale[XENT_ROW_SLOTS]; /* multiplies the gradient: weight, reduction, incoming gradient */
    float max[XENT_ROW_SLOTS];    /* row state, in or out */
    double rest[XENT_ROW_SLOTS];
    float lse[XENT_ROW_SLOTS], loss[XENT_ROW_SLOTS]; /* out */
};

/* Elements of a job, and the block in which element losses are summed. */
#define XENT_ELEMENTS 1024

/* Up to XENT_ELEMENTS elements, contiguous in every array. */
struct element_job {
    size_t count;
    const float *in;  /* input; the forward output (sigmoid_backward) */
    const float *in2; /* target, or the incoming gradient (backward kernels) */
    const float *weight, *pos_weight, *in_scale; /* NULL: ones. in_scale multiplies the gradients */
    float scale;      /* multiplies the gradients as well */
    float *out;       /* output, or gradient; NULL: not wanted */
    float *out2;      /* gradient in the target; NULL: not wanted */
    float *loss;      /* NULL: not wanted */
    int want_sum;
    double sum;       /* out: of the losses */
    ptrdiff_t invalid; /* out (bce): first element with a probability outside [0,1], or -1;
                          nothing is written then */
};

/* The table of a tier: one kernel for each line of the list. */
struct xent_kernels {
#define X(name, job) void (*name)(struct job *);
    XENT_KERNELS(X)
#undef X
};

#endif
