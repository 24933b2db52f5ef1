/* What is summed over a row, and what is written for each element: the formulas, one
 * element a lane. Whether the lanes hold neighbouring classes of one row (along.h) or
 * one class of neighbouring rows (lanes.h) makes no difference here. */
#ifndef XENT_KERNELS_TERMS_H
#define XENT_KERNELS_TERMS_H

#include <math.h>
#include <string.h>

#include "math/exp.h"
#include "vector/vector.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#define ROLLED _Pragma("GCC unroll 1")
#endif

/* Virtual lanes, and the classes of a block: eight steps of all lanes, which are added
 * as a tree. Short blocks keep the sums exact enough (longer ones cost up to 27 ulp). */
#define LANES 32
#define STEPS 8
#define BLOCK (LANES * STEPS)

enum sum_term {
    SUM_EXP,         /* exp_scaled(x), of a row part that does not hold the maximum */
    SUM_EXP_BUT_MAX, /* the same, elements equal to the maximum counted instead of added */
    SUM_PRODUCT,     /* x x2 */
    SUM_SECOND       /* x2 */
};

enum write_term {
    WRITE_SCALED,              /* e factor, e being what SUM_EXP stored; peak where e is top */
    WRITE_SOFTMAX,             /* the same, e = exp_scaled(x) computed again */
    WRITE_LOG_SOFTMAX,         /* (x - max) - offset */
    WRITE_SOFTMAX_BACKWARD,    /* x (x2 - offset) */
    WRITE_LOG_SOFTMAX_BACKWARD /* x2 - exp(x) offset */
};

/* A row's constants: all lanes alike along a row, a row a lane otherwise. */
struct row_lanes {
    struct exp_row exp;
    vec max, factor, offset;
    /* exp_scaled(max), and what is to become of it: e factor would be a rounding or two
     * off, and softmax not exactly 1 where only one class counts, or greater than 1. */
    vec top, peak;
};

/* The term of one vector. *stored is exp_scaled(x), maximum included. */
MATH vec sum_value(const enum sum_term term, vec x, vec x2, const struct row_lanes *row, vec *stored, veci *ties)
{
    switch (term) {
    case SUM_EXP:
        return *stored = exp_scaled(x, row->exp);
    case SUM_EXP_BUT_MAX: {
        mask is_max = vec_equal(x, row->max);
        *ties = veci_count(*ties, is_max);
        *stored = exp_scaled(x, row->exp);
        return vec_zero_where(is_max, *stored);
    }
    case SUM_PRODUCT:
        return vec_mul(x, x2);
    default:
        return x2;
    }
}

MATH vec write_value(const enum write_term term, vec x, vec x2, const struct row_lanes *row)
{
    switch (term) {
    case WRITE_SCALED:
        return vec_select(vec_equal(x, row->top), row->peak, vec_mul(x, row->factor));
    case WRITE_SOFTMAX: {
        vec e = exp_scaled(x, row->exp);
        return vec_select(vec_equal(e, row->top), row->peak, vec_mul(e, row->factor));
    }
    case WRITE_LOG_SOFTMAX:
        return vec_sub(vec_sub(x, row->max), row->offset);
    case WRITE_SOFTMAX_BACKWARD:
        return vec_mul(x, vec_sub(x2, row->offset));
    default:
        return vec_sub(x2, vec_mul(exp_nonpositive(x), row->offset));
    }
}

/* Which of x and x2 a term reads. */
MATH int sum_reads_second(const enum sum_term term) { return term == SUM_PRODUCT || term == SUM_SECOND; }
MATH int write_reads_second(const enum write_term term) { return term >= WRITE_SOFTMAX_BACKWARD; }

#endif
