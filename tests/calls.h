/* Small calls on literal numbers: packed tensors of a few rows, all outputs at once. */
#ifndef XENT_TESTS_CALLS_H
#define XENT_TESTS_CALLS_H

#include "check.h"

enum { FEW_ROWS = 8, FEW_ELEMENTS = 64 };

/* A packed f32 tensor of shape (rows, columns), valid until the enclosing block ends. */
#define MATRIX(data, rows, columns) \
    (&(const xent_tensor){(void *)(uintptr_t)(data), XENT_F32, 2, (const int64_t[]){(rows), (columns)}, NULL})

#define VECTOR(data, type, count) \
    (&(const xent_tensor){(void *)(uintptr_t)(data), (type), 1, (const int64_t[]){(count)}, NULL})

#define SCALAR(data, type) (&(const xent_tensor){(void *)(uintptr_t)(data), (type), 0, NULL, NULL})

/* Cross-entropy or NLL of (rows, classes). Zero for any member is its default, but for
 * ignore_index, which CE_DEFAULTS sets. */
#define CE_DEFAULTS .ignore_index = -100

struct ce_call {
    int64_t rows, classes;
    const float *logits;
    const int64_t *target;
    const float *weight;   /* one a class */
    const float *incoming; /* one a row, or one alone unless the reduction is NONE */
    xent_reduction reduction;
    int64_t ignore_index;

    xent_status status; /* and the answers */
    xent_error error;
    float loss[FEW_ROWS], lse[FEW_ROWS], gradient[FEW_ELEMENTS];
    double sum, divisor, mean;
    xent_row_state state[FEW_ROWS];
};

void call_cross_entropy(struct ce_call *call, xent_tier tier);
void call_nll(struct ce_call *call, xent_tier tier);

/* The softmax family, of (rows, classes). */
struct softmax_call {
    int64_t rows, classes;
    const float *logits;

    float lse[FEW_ROWS], gradient[FEW_ELEMENTS];
    xent_row_state state[FEW_ROWS];
    float softmax[FEW_ELEMENTS], log_softmax[FEW_ELEMENTS];
};

void call_softmax(struct softmax_call *call, xent_tier tier);

/* Binary cross-entropy of (count). */
struct bce_call {
    int64_t count;
    const float *input, *target;
    const float *weight, *pos_weight; /* one an element */
    const float *incoming;            /* one an element, or one alone unless NONE */
    xent_reduction reduction;

    xent_status status;
    xent_error error;
    float loss[FEW_ELEMENTS], gradient[FEW_ELEMENTS], target_gradient[FEW_ELEMENTS];
    double sum, divisor, mean;
};

void call_bce(struct bce_call *call, xent_tier tier);
void call_bce_with_logits(struct bce_call *call, xent_tier tier);

#endif
