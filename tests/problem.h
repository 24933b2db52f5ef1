/* Problems: the numbers that a kernel is called with, apart from layout and tier.
 *
 * They come from a seed without any help from libm, so that they are the same on every
 * machine. */
#ifndef XENT_TESTS_PROBLEM_H
#define XENT_TESTS_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

#include <xent/xent.h>

#include "list.h"

/* KERNEL_log_sum_exp and so on. */
#define KERNEL_ENUM(name, job) KERNEL_##name,
enum kernel { XENT_KERNELS(KERNEL_ENUM) KERNEL_COUNT };
#undef KERNEL_ENUM

const char *kernel_name(enum kernel kernel);

/* Whether it works element by element, rather than along rows of classes. */
bool kernel_elementwise(enum kernel kernel);

/* What the logits of a row look like. Kernels whose inputs are probabilities get the
 * like in [0, 1]. */
enum kind {
    NORMAL,      /* a dozen around 0 */
    WIDE,        /* +-60 */
    VERY_WIDE,   /* near -1e4, 0, 1e4 */
    LARGEST,     /* +-1e30, a few +-3e38 */
    TIES,        /* integers in -2 ... 2 */
    MASKED,      /* NORMAL, every seventh -inf */
    EQUAL,       /* all the same, another number in each row */
    ZEROS,       /* +0 and -0, a few -30 */
    CONFIDENT,   /* one 20, else 0 */
    GAP,         /* one of the size of 100, the others 70 ... 90 below */
    AROUND_200,  /* -200 + NORMAL */
    AROUND_256,  /* 256 + NORMAL */
    AROUND_1E5,  /* 1e5 + NORMAL */
    VANISHING,   /* one 0, the others where exp is subnormal, or 0 */
    FAR_EQUAL,   /* one 0, the others all the same, 70 ... 104 below */
    TINY,        /* smaller than any normal number */
    SPECIALS,    /* NORMAL, but the first rows hold NaN, +inf, only -inf, or several */
    KIND_COUNT
};

const char *kind_name(enum kind kind);

/* What the incoming gradient is. */
enum incoming { INCOMING_NONE, INCOMING_SCALAR, INCOMING_FULL };

/* Arrays are in C order; those a kernel does not take are NULL. */
struct problem {
    enum kernel kernel;
    enum kind kind;
    int64_t rows, classes;
    float *x;      /* logits, or a forward function's input or output: rows by classes */
    float *g;      /* incoming gradient: rows by classes, or one a row */
    float *t;      /* targets of a binary cross-entropy: rows by classes */
    int64_t *y;    /* class indices, one a row */
    bool y_int32;  /* to be passed as i32 */
    float *weight; /* one a class; binary cross-entropy: rows by classes */
    float *pos_weight;
    xent_reduction reduction;
    enum incoming incoming;
    int64_t ignore_index;
    const xent_row_state *state; /* saved; borrowed */
    const char *only;            /* the one output wanted, or NULL: all; borrowed */
};

/* What weights and incoming gradients may be. */
enum coefficients {
    ANY_COEFFICIENTS,  /* zeros and negative ones too */
    MILD_COEFFICIENTS, /* 0.5 to 2, so that a bound on the result can be stated */
    NO_COEFFICIENTS    /* no weights; incoming gradients are 1; nothing is ignored; sum */
};

/* Deterministic: the same arguments make the same problem. Reduction, weights, ignored
 * rows and incoming gradients change with variant, 0 to 5. */
struct problem problem_make(enum kernel kernel, int64_t rows, int64_t classes, enum kind kind,
                            unsigned variant, enum coefficients coefficients);

/* A row of the problem, as a problem of one row. */
struct problem problem_row(const struct problem *problem, int64_t row);

void problem_free(struct problem *problem);

bool problem_ignores(const struct problem *problem, int64_t row);

#endif
