/* From validated tensors to row jobs: the dimensions beside the class axis are folded to as
 * few as there can be, and the rows handed to a kernel in jobs of up to XENT_ROWS. */
#ifndef XENT_DISPATCH_ROWS_H
#define XENT_DISPATCH_ROWS_H

#include <stdbool.h>

#include "../kernels/job.h"
#include "fold.h"
#include "reduce.h"
#include "tensor.h"

/* The arguments of a call. The first four have the class axis, the other operands one value a
 * row; then there are class weights, and plain arrays of one element a row. */
enum operand {
    IN, IN2, OUT, OUT2, TARGET, OUTPUT_GRADIENT, ROW_WEIGHT, LOSS, LSE, Z_LOSS, ENTROPY, ARGMAX, CORRECT,
    TARGET_LOGIT, OPERANDS,
    WEIGHT = OPERANDS, STATE_IN, STATE_OUT, MAX_IN, MAX_OUT, SUMS_OUT, ARGUMENTS
};

struct row_call {
    arguments given;
    bool log_softmax;
    bool want_log, want_argmax, want_sum, want_correct_count, want_non_finite, max_only;
    bool with_target;                  /* cross-entropy and NLL; TARGET absent: a distribution */
    bool targets_plain;                /* none is ignored, and all are among these classes */
    const int64_t *targets;            /* where they lie as a kernel takes them, side by side; NULL: not so */
    const struct row_options *options; /* NULL: none */
    const struct xent_kernels *pages;  /* those that take strided classes a page at a time; NULL: none for this call */
    const xent_row_state *state_in;    /* NULL: none */
    xent_row_state *state_out;         /* NULL: not wanted */
    const double *max_in;              /* NULL: none */
    double *max_out;                   /* NULL: not wanted */
    xent_row_sum *sums_out;            /* NULL: not wanted */
    struct xent_totals *totals;        /* where these go; NULL: none is wanted */
    int64_t ignore_index, class_offset;
    double scale;                      /* of all gradients; behind it nothing is set up beforehand */
    void (*kernel)(struct row_job *);
    xent_execution execution;
    int64_t classes, rows;
    ptrdiff_t class_stride[OUT2 + 1];
    struct fold fold;                  /* of the dimensions beside the class axis */
    struct view view[ARGUMENTS];       /* of those given */
};

static inline int has(const struct row_call *call, enum operand operand)
{
    return (call->given & argument((int)operand)) != 0;
}

/* Zeros, and the scale 1. A small call has no time to clear what it does not use. */
void xent_row_call_init(struct row_call *call);

/* Checks the axis, takes it out of the operands' dimensions, and folds the others. */
xent_status xent_rows_fold(struct row_call *call, int32_t axis, xent_error *error);

/* Every output against itself and every other argument. After the fold. */
xent_status xent_rows_check_overlaps(struct row_call *call, xent_error *error);

/* The class indices of rows first ... first + count - 1, as they stand: where they lie, or in
 * buffer, which has room for XENT_ROWS. */
const int64_t *xent_rows_read_targets(const struct row_call *call, int64_t first, size_t count, int64_t *buffer);
static inline const int64_t *xent_rows_targets(const struct row_call *call, int64_t first, size_t count, int64_t *buffer)
{
    return call->targets ? call->targets + first : xent_rows_read_targets(call, first, count, buffer);
}

/* Whether all of these are classes. Not inline: the loop is slow where registers are short. */
int xent_all_are_classes(const int64_t *targets, size_t count, int64_t classes);

/* All rows of the call, on the host's threads where that pays. */
void xent_rows_run(const struct row_call *call);

#endif
