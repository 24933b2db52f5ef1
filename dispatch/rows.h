/* From validated tensors to row jobs: the dimensions beside the class axis are folded to as
 * few as there can be, and the rows handed to a kernel in jobs of up to XENT_ROWS. */
#ifndef XENT_DISPATCH_ROWS_H
#define XENT_DISPATCH_ROWS_H

#include "../kernels/job.h"
#include "fold.h"
#include "reduce.h"
#include "tensor.h"

/* The tensors of a call. The first three have the class axis, the others one value a row. */
enum operand { IN, IN2, OUT, TARGET, LOSS, LSE, OUTPUT_GRADIENT, OPERANDS };

struct row_call {
    void (*kernel)(struct row_job *);
    struct view operand[OPERANDS];         /* name NULL: absent */
    ptrdiff_t class_stride[OUT + 1];
    int64_t classes, rows;
    struct fold fold;                      /* of the dimensions beside the class axis */
    int want_log;
    const xent_row_state *state_in;        /* NULL: none */
    xent_row_state *state_out;             /* NULL: not wanted */
    const struct view *weight;             /* class weights; name NULL: ones */
    int64_t ignore_index;
    double scale;                          /* of all gradients */
    struct xent_sum *sum;                  /* of row losses; NULL: not wanted */
};

/* Checks the axis, takes it out of the operands' dimensions, and folds the others. */
xent_status xent_rows_fold(struct row_call *call, int32_t axis, xent_error *error);

/* The target of row i of the operand TARGET at that offset. */
int64_t xent_target(const struct row_call *call, ptrdiff_t offset);

/* All rows of the call. */
void xent_rows_run(const struct row_call *call);

#endif
