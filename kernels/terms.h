/* What is summed over a row, and what is written for each element: the formulas, one
 * element a lane. Whether the lanes hold neighbouring classes of one row (along.h) or
 * one class of neighbouring rows (lanes.h) makes no difference here. */
#ifndef XENT_KERNELS_TERMS_H
#define XENT_KERNELS_TERMS_H

#include <math.h>
#include <string.h>

#include "math/exp.h"
#include "storage.h"
#include "vector/vector.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL2 _Pragma("clang loop unroll_count(2)")
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#define UNROLL2 _Pragma("GCC unroll 2")
#define ROLLED _Pragma("GCC unroll 1")
#endif

/* Virtual lanes, and the classes of a block: eight steps of all lanes, which are added
 * as a tree. Short blocks keep the sums exact enough (longer ones cost up to 27 ulp). */
#define LANES 32
#define STEPS 8
#define BLOCK (LANES * STEPS)

/* Rows of more classes than these may be spread: see finish.h. */
#define SPREAD_CLASSES 40

enum sum_term {
    SUM_EXP,          /* exp_scaled(x), elements equal to the maximum included */
    SUM_EXP_BUT_MAX,  /* the same, these counted instead of added */
    SUM_KEPT_BUT_MAX, /* the same of exp_scaled(x) that was kept: x2 */
    SUM_PRODUCT,      /* x x2 */
    SUM_SECOND,       /* x2 */
    SUM_GAP,          /* w t (max - x): cross-entropy against the distribution t, before lse */
    SUM_MASS,         /* w t */
    SUM_ENTROPY       /* exp_scaled(x) (max - x) */
};

enum write_term {
    WRITE_SCALED,               /* e factor, e being what SUM_EXP stored; peak where e is top */
    WRITE_LIFTED,               /* the same, the factor being taken in two steps: see finish_gain */
    WRITE_SOFTMAX,              /* e factor, e = exp_scaled(x) computed again; peak likewise */
    WRITE_SOFTMAX_LIFTED,       /* the same in two steps */
    WRITE_SOFTMAX_LESS,         /* the same less amount w t, times the softcap's derivative */
    WRITE_LOG_SOFTMAX,          /* (x - max) - offset */
    WRITE_SOFTMAX_BACKWARD,     /* x (x2 - offset) */
    WRITE_LOG_SOFTMAX_BACKWARD, /* x2 - exp(x) offset */
    WRITE_TARGET_GRADIENT       /* amount w ((max - x) + offset): in a distribution t */
};

/* A row's constants: all lanes alike along a row, a row a lane otherwise. */
struct row_lanes {
    struct exp_row exp;
    vec max, lift, factor, offset;
    /* exp_scaled(max), and what is to become of it: e factor would be a rounding or two
     * off, and softmax not exactly 1 where only one class counts, or greater than 1. */
    vec top, peak;
    vec amount;
};

/* The distribution a row is held against: t = keep x2 + spread, or 1 where there is no x2;
 * and whether there are class weights w. The same for all rows of a job. */
struct row_target {
    int has_second, has_weight, has_amount;
    vec keep, spread;
    double softcap;
};

MATH vec weighted_target(vec x2, vec w, const struct row_target *target)
{
    vec t = target->has_second ? vec_fma(x2, target->keep, target->spread) : vec_set(1);
    return target->has_weight ? vec_mul(w, t) : t;
}

/* What is noted beside a sum. */
struct sum_notes {
    veci ties; /* of SUM_..._BUT_MAX */
    vec max;   /* of x, NaN passed over, where that is asked for */
};

/* The term of one vector. *stored is exp_scaled(x), maximum included. */
MATH vec sum_value(const enum sum_term term, vec x, vec x2, vec w, const struct row_lanes *row,
                   const struct row_target *target, vec *stored, veci *ties)
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
    case SUM_KEPT_BUT_MAX: {
        mask is_max = vec_equal(x, row->max);
        *ties = veci_count(*ties, is_max);
        return vec_zero_where(is_max, x2);
    }
    case SUM_PRODUCT:
        return vec_mul(x, x2);
    case SUM_SECOND:
        return x2;
    case SUM_GAP:
        return vec_mul(weighted_target(x2, w, target), vec_sub(row->max, x));
    case SUM_MASS:
        return weighted_target(x2, w, target);
    default: {
        vec e = exp_scaled(x, row->exp);
        return vec_zero_where(vec_equal(e, vec_set(0)), vec_mul(e, vec_sub(row->max, x)));
    }
    }
}

/* x is softcapped already: the derivative is 1 - (x / cap)^2. A masked class has none. */
MATH vec softcap_derivative(vec gradient, vec x, double softcap)
{
    vec ratio = vec_div(x, vec_set((real)softcap));
    vec slope = vec_mul(vec_sub(vec_set(1), ratio), vec_add(vec_set(1), ratio));
    return vec_select(vec_equal(x, vec_set((real)-INFINITY)), gradient, vec_mul(gradient, slope));
}

/* lifted: e has been multiplied by the row's lift. */
MATH vec softmax_value(vec e, vec lifted, const struct row_lanes *row)
{
    return vec_select(vec_equal(e, row->top), row->peak, vec_mul(lifted, row->factor));
}

MATH vec write_value(const enum write_term term, vec x, vec x2, vec w, const struct row_lanes *row,
                     const struct row_target *target)
{
    switch (term) {
    case WRITE_SCALED:
        return softmax_value(x, x, row);
    case WRITE_LIFTED:
        return softmax_value(x, vec_mul(x, row->lift), row);
    case WRITE_SOFTMAX: {
        vec e = exp_scaled(x, row->exp);
        return softmax_value(e, e, row);
    }
    case WRITE_SOFTMAX_LIFTED: {
        vec e = exp_scaled(x, row->exp);
        return softmax_value(e, vec_mul(e, row->lift), row);
    }
    case WRITE_SOFTMAX_LESS: {
        vec e = exp_scaled(x, row->exp), gradient = softmax_value(e, vec_mul(e, row->lift), row);
        if (target->has_amount)
            gradient = vec_sub(gradient, vec_mul(row->amount, weighted_target(x2, w, target)));
        return target->softcap != 0.0 ? softcap_derivative(gradient, x, target->softcap) : gradient;
    }
    case WRITE_LOG_SOFTMAX:
        return vec_sub(vec_sub(x, row->max), row->offset);
    case WRITE_SOFTMAX_BACKWARD:
        return vec_mul(x, vec_sub(x2, row->offset));
    case WRITE_LOG_SOFTMAX_BACKWARD:
        return vec_sub(x2, vec_mul(exp_nonpositive(x), row->offset));
    default: {
        vec gap = vec_add(vec_sub(row->max, x), row->offset);
        return vec_mul(row->amount, target->has_weight ? vec_mul(w, gap) : gap);
    }
    }
}

/* Which terms are exponentials, none of them infinite; which store exp_scaled(x), and which read x2 and w (if there is any). */
MATH int sum_of_exps(const enum sum_term term) { return term == SUM_EXP || term == SUM_EXP_BUT_MAX || term == SUM_KEPT_BUT_MAX; }
MATH int sum_stores(const enum sum_term term) { return term == SUM_EXP || term == SUM_EXP_BUT_MAX; }
MATH int sum_reads_second(const enum sum_term term) { return term != SUM_EXP && term != SUM_EXP_BUT_MAX && term != SUM_ENTROPY; }
MATH int sum_reads_weight(const enum sum_term term) { return term == SUM_GAP || term == SUM_MASS; }
MATH int write_reads_second(const enum write_term term)
{
    return term == WRITE_SOFTMAX_BACKWARD || term == WRITE_LOG_SOFTMAX_BACKWARD || term == WRITE_SOFTMAX_LESS;
}
MATH int write_reads_weight(const enum write_term term)
{
    return term == WRITE_SOFTMAX_LESS || term == WRITE_TARGET_GRADIENT;
}

#endif
