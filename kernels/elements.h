/* Sigmoid, log-sigmoid and the binary cross-entropies: formulas of one element.
 *
 * With z = exp(-|x|), which can't overflow: sigmoid(x) is 1 / (1 + z), or z / (1 + z) for
 * negative x, and softplus sp(x) = log(1 + exp(x)) is log1p(z) + max(x, 0), a sum of terms
 * of one sign. */
#ifndef XENT_KERNELS_ELEMENTS_H
#define XENT_KERNELS_ELEMENTS_H

#include "job.h"
#include "math/log.h"
#include "math/power.h"
#include "finish.h"
#include "terms.h"

enum element_kind {
    SIGMOID,
    SIGMOID_BACKWARD,
    LOG_SIGMOID,
    LOG_SIGMOID_BACKWARD,
    BCE,
    BCE_WITH_LOGITS
};

struct element_values {
    vec loss, out, out2;
};

MATH vec sigmoid_numerator(vec x, vec z) { return vec_select(vec_less(x, vec_set(0)), z, vec_set(1)); }

/* n elements from element at on; n is VEC_WIDTH but in a last vector. */
MATH vec element_load(const void *p, size_t at, const size_t n, real missing)
{
    if (!p) return vec_set(missing);
    const real *from = (const real *)p + at;
    return n == VEC_WIDTH ? vec_load(from) : vec_load_partial(from, n, vec_set(0));
}

MATH void element_store(void *p, size_t at, const size_t n, vec a)
{
    if (!p) return;
    if (n == VEC_WIDTH) vec_store((real *)p + at, a);
    else vec_store_partial((real *)p + at, a, n);
}

/* a times the elements of p; NULL: ones. */
MATH vec times(vec a, const void *p, size_t at, const size_t n)
{
    return p ? vec_mul(element_load(p, at, n, 1), a) : a;
}

/* loss = -w (y max(log p, -100) + (1 - y) max(log1p(-p), -100)), and the gradient that
 * PyTorch gives: not the derivative of the clamped loss, but w (p - y) / max((1 - p) p, 1e-12).
 * p is in [0, 1]. */
MATH struct element_values bce_values(vec p, vec y, vec negatives, const struct element_job *job, size_t at, const size_t n,
                                      vec weighted, int want_logs)
{
    struct element_values r = {p, p, p};
    vec one = vec_set(1);
    if (want_logs) {
        vec least = vec_set(-100), infinity = vec_set((real)-INFINITY);
        vec log_p = log_finite(vec_abs(p)) /* -0 is 0 */;
        vec log_q = vec_select(vec_equal(p, one), infinity, log1p_finite(vec_negate(p)));
        vec negative_part = vec_mul(vec_negate(negatives), vec_max(log_q, least));
        r.loss = times(vec_fma(vec_negate(y), vec_max(log_p, least), negative_part), job->weight, at, n);
        if (job->out2) {
            log_p = vec_select(vec_equal(p, vec_set(0)), infinity, log_p);
            r.out2 = vec_mul(weighted, vec_sub(log_q, log_p));
        }
    }
    if (job->out) {
        vec product = vec_max(vec_mul(vec_sub(one, p), p), vec_set((real)1e-12f) /* the float, in both precisions */);
        r.out = vec_mul(weighted, vec_div(vec_sub(p, y), product));
    }
    return r;
}

/* loss = w ((1 - y) sp(x) + P y sp(-x)) and its gradients, where nothing cancels if y is 0 or 1. */
MATH struct element_values bce_with_logits_values(vec x, vec y, vec negatives, const struct element_job *job, size_t at,
                                                  const size_t n, vec weighted, int want_logs)
{
    struct element_values r = {x, x, x};
    vec zero = vec_set(0), one = vec_set(1);
    vec z = exp_nonpositive(vec_negate(vec_abs(x)));
    vec positives = times(y, job->pos_weight, at, n);
    if (want_logs) {
        vec log_z = log1p_unit(z);
        vec plus = vec_add(log_z, vec_max(x, zero)), minus = vec_add(log_z, vec_max(vec_negate(x), zero));
        r.loss = times(vec_fma(positives, minus, vec_mul(negatives, plus)), job->weight, at, n);
        if (job->out2) r.out2 = vec_mul(weighted, vec_sub(times(minus, job->pos_weight, at, n), plus));
    }
    if (job->out) {
        vec large = vec_div(one, vec_add(one, z)), small = vec_mul(z, large);
        mask below = vec_less(x, zero);
        vec plus = vec_select(below, small, large), minus = vec_select(below, large, small);
        r.out = vec_mul(weighted, vec_fma(negatives, plus, vec_negate(vec_mul(positives, minus))));
    }
    return r;
}

/* Focal loss: f (1 - p_t)^gamma ce, where ce is the binary cross-entropy, p_t = y s(x) + (1 - y) s(-x)
 * the probability of what y says, and f = alpha y + (1 - alpha)(1 - y) if there is an alpha (Lin et
 * al. 2017, in the form that torchvision gives it, for any y in [0, 1]). 1 - p_t is formed as
 * y s(-x) + (1 - y) s(x), so that it does not cancel.
 *
 *   gradient = f m^gamma ((1 - y) s(x) - y s(-x)) - f gamma m^(gamma - 1) ce s(x) s(-x) (2 y - 1), m = 1 - p_t */
MATH struct element_values focal_values(vec x, vec y, vec negatives, vec weight, vec scale, const struct element_job *job)
{
    struct element_values r = {x, x, x};
    vec zero = vec_set(0), one = vec_set(1), gamma = vec_set((real)job->focal_gamma), alpha = vec_set((real)job->focal_alpha);
    vec z = exp_nonpositive(vec_negate(vec_abs(x))), log_z = log1p_unit(z);
    vec large = vec_div(one, vec_add(one, z)), small = vec_mul(z, large);
    mask below = vec_less(x, zero);
    vec plus = vec_select(below, small, large), minus = vec_select(below, large, small);
    vec cross = vec_fma(y, vec_add(log_z, vec_max(vec_negate(x), zero)), vec_mul(negatives, vec_add(log_z, vec_max(x, zero))));
    vec miss = vec_fma(y, minus, vec_mul(negatives, plus)), power = power_of(miss, gamma);
    if (job->focal_alpha >= 0.0) weight = vec_mul(weight, vec_fma(alpha, y, vec_mul(vec_sub(one, alpha), negatives)));
    /* As the miss goes to 0, so does power / miss times what follows. */
    vec ratio = vec_select(vec_equal(miss, zero), zero, vec_div(power, miss));
    /* ratio cross is at most miss^gamma |x|; the other factors could overflow with either. */
    vec slope = vec_mul(vec_mul(ratio, cross), vec_mul(vec_mul(gamma, vec_sub(y, negatives)), vec_mul(plus, minus)));
    vec residual = vec_sub(vec_mul(negatives, plus), vec_mul(y, minus));
    r.loss = vec_mul(weight, vec_mul(power, cross));
    r.out = vec_mul(vec_mul(weight, scale), vec_sub(vec_mul(power, residual), slope));
    return r;
}

/* One vector, written where it is wanted; its losses, 0 in lanes without an element. */
MATH vec element_vector(const enum element_kind kind, const struct element_job *job, size_t at, const size_t n)
{
    vec x = element_load(job->in, at, n, 0), x2 = element_load(job->in2, at, n, 0), one = vec_set(1);
    int want_logs = job->loss || job->want_sum || job->out2;
    struct element_values r = {x, x, x};
    if (kind == SIGMOID) {
        vec z = exp_nonpositive(vec_negate(vec_abs(x)));
        r.out = vec_div(sigmoid_numerator(x, z), vec_add(one, z));
    } else if (kind == SIGMOID_BACKWARD) {
        r.out = vec_mul(vec_mul(x2, vec_sub(one, x)), x);
    } else if (kind == LOG_SIGMOID) {
        vec z = exp_nonpositive(vec_negate(vec_abs(x)));
        r.out = vec_sub(vec_min(x, vec_set(0)), log1p_unit(z));
    } else if (kind == LOG_SIGMOID_BACKWARD) {
        vec z = exp_nonpositive(vec_negate(vec_abs(x)));
        r.out = vec_mul(x2, vec_div(sigmoid_numerator(vec_negate(x), z), vec_add(one, z)));
    } else {
        /* 1 - (keep y + spread) is keep (1 - y) + spread, whose terms don't cancel. */
        vec negatives = vec_sub(one, x2), keep = vec_set((real)job->keep);
        if (job->keep != 1.0) {
            x2 = vec_fma(x2, keep, vec_set((real)job->spread));
            negatives = vec_fma(negatives, keep, vec_set((real)job->spread));
        }
        vec scale = times(vec_set((real)job->scale), job->in_scale, at, n);
        if (kind == BCE_WITH_LOGITS && job->focal_gamma != 0.0)
            r = focal_values(x, x2, negatives, element_load(job->weight, at, n, 1), scale, job);
        else {
            vec weighted = times(scale, job->weight, at, n);
            r = kind == BCE ? bce_values(x, x2, negatives, job, at, n, weighted, want_logs)
                            : bce_with_logits_values(x, x2, negatives, job, at, n, weighted, want_logs);
        }
        element_store(job->loss, at, n, r.loss);
        element_store(job->out2, at, n, job->keep != 1.0 ? vec_mul(keep, r.out2) : r.out2);
    }
    element_store(job->out, at, n, r.out);
    if (n == VEC_WIDTH) return r.loss;
    real lanes[VEC_WIDTH];
    vec_store(lanes, r.loss);
    return vec_load_partial(lanes, n, vec_set(0));
}

/* All elements of a job. The losses' sum is over 32 virtual lanes, folded in double. */
MATH void element_loop(const enum element_kind kind, struct element_job *job)
{
    fold8 sum = fold8_zero();
    size_t i = 0;
    for (; i + LANES <= job->count; i += LANES) {
        vec losses[LANES / VEC_WIDTH];
        ROLLED for (size_t k = 0; k < LANES / VEC_WIDTH; k++)
            losses[k] = element_vector(kind, job, i + k * VEC_WIDTH, VEC_WIDTH);
        if (job->want_sum) sum = fold8_add(sum, fold8_lanes(losses));
    }
    if (i < job->count) {
        vec losses[LANES / VEC_WIDTH];
        ROLLED for (size_t k = 0; k < LANES / VEC_WIDTH; k++, i += VEC_WIDTH) {
            size_t left = i < job->count ? job->count - i : 0;
            losses[k] = left >= VEC_WIDTH ? element_vector(kind, job, i, VEC_WIDTH)
                        : left            ? element_vector(kind, job, i, left)
                                          : vec_set(0);
        }
        if (job->want_sum) sum = fold8_add(sum, fold8_lanes(losses));
    }
    job->sum = total_rounded(fold8_total(sum));
}

/* First of count values that is not in [0, 1], or -1. */
MATH ptrdiff_t first_improper(const real *p, size_t count)
{
    vec worst = vec_set(0), one = vec_set(1);
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        size_t n = count - i < VEC_WIDTH ? count - i : VEC_WIDTH;
        vec a = n == VEC_WIDTH ? vec_load(p + i) : vec_load_partial(p + i, n, one);
        vec clamped = vec_min(vec_max(a, vec_set(0)), one);
        worst = vec_max(worst, vec_zero_where(vec_equal(clamped, a), one));
    }
    if (vec_reduce_max(worst) > 0)
        for (size_t i = 0; i < count; i++)
            if (!(p[i] >= 0 && p[i] <= 1)) return (ptrdiff_t)i;
    return -1;
}

static void kernel_sigmoid(struct element_job *job) { element_loop(SIGMOID, job); }
static void kernel_sigmoid_backward(struct element_job *job) { element_loop(SIGMOID_BACKWARD, job); }
static void kernel_log_sigmoid(struct element_job *job) { element_loop(LOG_SIGMOID, job); }
static void kernel_log_sigmoid_backward(struct element_job *job) { element_loop(LOG_SIGMOID_BACKWARD, job); }

/* Where there is nothing but input, target and the gradient in the input, the loop is compiled
 * without the rest. */
MATH void binary_loop(const enum element_kind kind, struct element_job *job)
{
    struct element_job own = *job; /* which no store into a tensor can change */
    if (!own.weight && !own.pos_weight && !own.in_scale && !own.out2 && own.keep == 1.0 && own.focal_gamma == 0.0) {
        own.weight = own.pos_weight = own.in_scale = NULL;
        own.out2 = NULL;
        own.keep = 1.0;
        own.focal_gamma = 0.0;
        element_loop(kind, &own);
    } else element_loop(kind, &own);
    job->sum = own.sum;
}

static void kernel_bce_with_logits(struct element_job *job) { binary_loop(BCE_WITH_LOGITS, job); }

static void kernel_bce(struct element_job *job)
{
    ptrdiff_t in = first_improper(job->in, job->count), in2 = first_improper(job->in2, job->count);
    job->invalid = in < 0 || (in2 >= 0 && in2 < in) ? in2 : in;
    if (job->invalid < 0) binary_loop(BCE, job);
}

#endif
