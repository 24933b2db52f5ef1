/* From validated tensors to row jobs: the dimensions beside the class axis are folded to as
 * few as there can be, and the rows handed to a kernel in jobs of up to XENT_ROWS. */
#ifndef XENT_DISPATCH_ROWS_H
#define XENT_DISPATCH_ROWS_H

#include "../kernels/job.h"
#include "fold.h"
#include "reduce.h"
#include "tensor.h"

/* The tensors of a call. The first four have the class axis, the others one value a row. Of
 * the latter, those from LOSS on are outputs. */
enum operand {
    IN, IN2, OUT, OUT2, TARGET, OUTPUT_GRADIENT, ROW_WEIGHT, LOSS, LSE, Z_LOSS, ENTROPY, ARGMAX, CORRECT,
    TARGET_LOGIT, OPERANDS
};

struct row_call {
    void (*kernel)(struct row_job *);
    ptrdiff_t class_stride[OUT2 + 1];
    int64_t classes, rows;
    int want_log, want_argmax;
    int with_target;                       /* cross-entropy and NLL; TARGET absent: a distribution */
    const struct row_options *options;     /* NULL: none */
    const xent_row_state *state_in;        /* NULL: none */
    xent_row_state *state_out;             /* NULL: not wanted */
    const double *max_in;                  /* NULL: none */
    double *max_out;                       /* NULL: not wanted */
    xent_row_sum *sums_out;                /* NULL: not wanted */
    int max_only;
    int64_t ignore_index, class_offset;
    double scale;                          /* of all gradients */
    int want_sum, want_correct_count, want_non_finite;
    struct xent_totals *totals;            /* where these go; NULL: none is wanted */
    xent_execution execution;
    /* From here on nothing is set up beforehand, but that the tensors are absent. */
    struct fold fold;                      /* of the dimensions beside the class axis */
    struct view operand[OPERANDS];         /* name NULL: absent */
    struct view weight;                    /* class weights; name NULL: ones */
};

/* Zeros, and the scale 1. A small call has no time to clear what it does not use. */
void xent_row_call_init(struct row_call *call);

/* Checks the axis, takes it out of the operands' dimensions, and folds the others. */
xent_status xent_rows_fold(struct row_call *call, int32_t axis, xent_error *error);

/* Every output against itself and every other tensor. After the fold. */
xent_status xent_rows_check_overlaps(const struct row_call *call, xent_error *error);

/* The class indices of rows first ... first + count - 1, as they stand. */
void xent_rows_read_targets(const struct row_call *call, int64_t first, size_t count, int64_t *targets);

/* All rows of the call, on the host's threads where that pays. */
void xent_rows_run(const struct row_call *call);

#endif
