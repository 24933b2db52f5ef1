/* Calls put together at random, of any function, with any dtypes and legal combination of
 * options, outputs, shape and axis, and ways to make each of them. For test_options.c. */
#ifndef XENT_TESTS_RANDOM_CALL_H
#define XENT_TESTS_RANDOM_CALL_H

#include "kernels.h"

/* Inputs, then outputs. SECOND is of the shape of X: a target, or an incoming gradient. */
enum slot {
    X, SECOND, TARGET, WEIGHT, POS_WEIGHT, ROW_WEIGHT, INCOMING,
    GRADIENT, TARGET_GRADIENT, LOSS, LSE, Z_LOSS, ENTROPY, TARGET_LOGIT, ARGMAX, CORRECT, STATE, SLOTS
};

enum { DIMS = 4, MOST = 1 << 17, MOST_ROWS = 1 << 10 };

struct tensor {
    bool present;
    xent_dtype dtype;
    int32_t ndim, cut; /* the dimension that the batch is cut along, or -1 */
    int32_t repeated;  /* the dimension along which an input's values repeat, so that its stride may be 0, or -1 */
    int64_t shape[DIMS], count;
};

struct random_call {
    enum kernel kernel;
    int number;
    struct tensor tensor[SLOTS];
    double (*values)[MOST]; /* of the inputs, in C order */
    int32_t axis;           /* of the classes, from the front; -1: elementwise */
    int64_t classes;
    int64_t cut, inner; /* where the batch can be cut in two (0: nowhere), and the rows in a step to there */
    double focal_alpha;
    xent_cross_entropy_options options; /* for the others, as far as they have them */
};

bool is_loss(enum kernel kernel);

/* Deterministic: the kernel and the number make the call. The values are the module's own, until
 * the next one is made. */
void random_call_make(struct random_call *call, enum kernel kernel, int number);

/* A tensor of X's shape, or without the class axis, which leaves an elementwise function's as it is. */
void random_call_add(struct random_call *call, enum slot slot, xent_dtype dtype, bool by_row);

struct way {
    xent_tier tier;
    uint64_t layout; /* 0: packed; another number: strides at random */
    bool cut;        /* the batch, in two calls */
    enum slot only;  /* output asked for; SLOTS: all; X: gradients */
    const xent_row_state *saved; /* NULL: none */
};

struct answers {
    bool has[SLOTS];
    xent_status status;
    int64_t row;         /* and value, of the error */
    double value;
    double totals[2][3]; /* sum, divisor, mean: of each part */
    int64_t correct[2];
    xent_row_state state[MOST_ROWS];
    double values[SLOTS][MOST];
};

/* Fails if a byte was written that is no element of an output, or an input was changed. */
void random_call_run(const struct random_call *call, const struct way *way, struct answers *to);

/* Elements of any dtype; a value put is rounded to it. */
size_t element_size(xent_dtype dtype);
double element_get(const void *data, xent_dtype dtype, int64_t at);
void element_put(void *data, xent_dtype dtype, int64_t at, double value);

static inline bool one_in(struct generator *g, uint32_t n)
{
    return generate_below(g, n) == 0;
}

#endif
