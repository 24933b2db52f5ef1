/* A small valid call of any kernel as a list of named tensors, each of which a test can spoil
 * before the call is made, and outputs of which it can then say that nothing was written. */
#ifndef XENT_TESTS_ARGUMENTS_H
#define XENT_TESTS_ARGUMENTS_H

#include "check.h"
#include "problem.h"

enum { CALL_ROWS = 4, CALL_CLASSES = 3, MAX_ARGUMENTS = 8, ARGUMENT_BYTES = 1024 };

#define ALL_DTYPES_COUNT 10 /* the numbers 0 to 9, of which 1 to 7 are types */

struct argument {
    const char *name; /* as an error is to name it */
    bool is_output, required;
    unsigned dtypes;   /* bit 1 << dtype: the argument may have it */
    bool passed;       /* or else NULL is passed */
    xent_tensor tensor; /* of the shape, strides and memory below */
    int64_t shape[XENT_MAX_NDIM + 2], strides[XENT_MAX_NDIM + 2];
    _Alignas(8) unsigned char memory[ARGUMENT_BYTES]; /* the tensor begins amid it */
};

struct call {
    enum kernel kernel;
    int count;
    struct argument arguments[MAX_ARGUMENTS];
    xent_execution execution;
    xent_softmax_options softmax; /* the options and outputs; the kernel's own are passed */
    xent_cross_entropy_options cross_entropy;
    xent_elementwise_options elementwise;
    xent_bce_options bce;
    xent_log_sum_exp_outputs lse_outputs;
    xent_cross_entropy_outputs loss_outputs;
    xent_bce_outputs bce_outputs;
    bool pass_outputs; /* or else NULL is passed */
    double totals[3];  /* sum, divisor, mean */
    xent_row_state state[CALL_ROWS];
    xent_error error;
};

/* A valid call with every tensor that the kernel can take, on the tier. */
void call_make(struct call *call, enum kernel kernel, xent_tier tier);

/* The argument of that name; fails if there is none. */
struct argument *call_argument(struct call *call, const char *name);

xent_status call_invoke(struct call *call);

/* Whether the call has outputs in a struct, a reduction, an axis. */
bool call_has_outputs(const struct call *call);
bool call_has_reduction(const struct call *call);
bool call_has_axis(const struct call *call);

/* The size members of the kernel's own options and outputs. */
size_t *call_options_size(struct call *call);
size_t *call_outputs_size(struct call *call);

/* Makes the call and fails unless it returns the status, fills the error to match, naming the
 * argument unless that is NULL, and has written nothing. what: for the message. */
void assert_refused(struct call *call, xent_status status, const char *argument, const char *what);

#endif
