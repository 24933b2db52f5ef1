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
    BCE_LABELS, /* BCE of targets that are 0 or 1: the same bits with one logarithm */
    BCE_WITH_LOGITS
};

/* Vectors that go through each step side by side: one's chain of operations is longer than what a core
 * looks ahead. */
#define ABREAST 4

/* Elements that are read, and whose losses are summed, at once. */
#define PASS (2 * LANES)

struct element_values {
    vec loss, out, out2;
};

MATH vec sigmoid_numerator(vec x, vec z) { return vec_select(vec_less(x, vec_set(0)), z, vec_set(1)); }

/* n elements from element at on; n is VEC_WIDTH but in a last vector. */
MATH vec element_load(const void *p, size_t at, const size_t n)
{
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
    return p ? vec_mul(element_load(p, at, n), a) : a;
}

/* loss = -w (y max(log p, -100) + (1 - y) max(log1p(-p), -100)), and the gradient that
 * PyTorch gives: not the derivative of the clamped loss, but w (p - y) / max((1 - p) p, 1e-12).
 * p is in [0, 1]. Of labels log_p is the only logarithm: of what y says. */
MATH struct element_values bce_values(const enum element_kind kind, vec p, vec y, vec negatives, vec log_p, vec log_q,
                                      const struct element_job *job, size_t at, const size_t n, vec weighted, int want_logs)
{
    struct element_values r = {p, p, p};
    vec zero = vec_set(0), one = vec_set(1);
    if (want_logs) {
        /* Of log1p(-1), NaN, too. */
        vec least = vec_set(-100), sum = vec_max(log_p, least);
        if (kind == BCE) sum = vec_fma(y, sum, vec_mul(negatives, vec_max(log_q, least)));
        r.loss = times(vec_sub(zero, sum), job->weight, at, n);
        if (job->out2) {
            vec infinity = vec_set((real)-INFINITY);
            log_p = vec_select(vec_equal(p, zero), infinity, log_p);
            log_q = vec_select(vec_equal(p, one), infinity, log_q);
            r.out2 = vec_mul(weighted, vec_sub(log_q, log_p));
        }
    }
    if (job->out) {
        vec product = vec_max(vec_mul(vec_sub(one, p), p), vec_set((real)1e-12f) /* the float, in both precisions */);
        r.out = vec_mul(weighted, vec_div(vec_sub(p, y), product));
    }
    return r;
}

/* loss = w ((1 - y) sp(x) + P y sp(-x)) and its gradients, where nothing cancels if y is 0 or 1. Let
 * (A, B) be (-P y, 1 - y), or (1 - y, -P y) for negative x. The loss is w (B x + (1 - y + P y) log1p(z)), where B x
 * is not negative and the factor is 1 if there is no P, and its gradient w (A z + B) / (1 + z). */
MATH struct element_values bce_with_logits_values(vec x, vec y, vec negatives, vec z, vec log_z, const struct element_job *job,
                                                  size_t at, const size_t n, vec weighted, int want_logs)
{
    struct element_values r = {x, x, x};
    vec zero = vec_set(0), positives = times(y, job->pos_weight, at, n), withheld = vec_negate(positives);
    mask below = vec_less(x, zero);
    vec other = vec_select(below, negatives, withheld), own = vec_select(below, withheld, negatives);
    if (want_logs) {
        vec both = job->pos_weight ? vec_mul(vec_add(positives, negatives), log_z) : log_z;
        r.loss = times(vec_fma(own, x, both), job->weight, at, n);
        if (job->out2) {
            vec plus = vec_add(log_z, vec_max(x, zero)), minus = vec_add(log_z, vec_max(vec_negate(x), zero));
            r.out2 = vec_mul(weighted, vec_sub(times(minus, job->pos_weight, at, n), plus));
        }
    }
    if (job->out) r.out = vec_mul(weighted, vec_div(vec_fma(other, z, own), vec_add(z, vec_set(1))));
    return r;
}

/* Focal loss: f (1 - p_t)^gamma ce, where ce is the binary cross-entropy, p_t = y s(x) + (1 - y) s(-x)
 * the probability of what y says, and f = alpha y + (1 - alpha)(1 - y) if there is an alpha (Lin et
 * al. 2017, in the form that torchvision gives it, for any y in [0, 1]). 1 - p_t is formed as
 * y s(-x) + (1 - y) s(x), so that it does not cancel.
 *
 *   gradient = f m^gamma ((1 - y) s(x) - y s(-x)) - f gamma m^(gamma - 1) ce s(x) s(-x) (2 y - 1), m = 1 - p_t */
MATH struct element_values focal_values(vec x, vec y, vec negatives, vec z, vec log_z, vec weight, vec scale,
                                        const struct element_job *job)
{
    struct element_values r = {x, x, x};
    vec zero = vec_set(0), one = vec_set(1), gamma = vec_set((real)job->focal_gamma), alpha = vec_set((real)job->focal_alpha);
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

/* What the formulas begin with: z = exp(-|x|) and log1p(z), or log p and log(1 - p). */
struct element_start {
    vec x, first, second;
};

/* The rest of one vector, written where it is wanted; its losses, 0 in lanes without an element. */
MATH vec element_finish(const enum element_kind kind, const struct element_job *job, size_t at, const size_t n,
                        struct element_start start, int want_logs)
{
    vec x = start.x, z = start.first, one = vec_set(1);
    vec x2 = kind == SIGMOID || kind == LOG_SIGMOID ? one : element_load(job->in2, at, n);
    struct element_values r = {x, x, x};
    if (kind == SIGMOID)
        r.out = vec_div(sigmoid_numerator(x, z), vec_add(one, z));
    else if (kind == SIGMOID_BACKWARD)
        r.out = vec_mul(vec_mul(x2, vec_sub(one, x)), x);
    else if (kind == LOG_SIGMOID)
        r.out = vec_sub(vec_min(x, vec_set(0)), start.second);
    else if (kind == LOG_SIGMOID_BACKWARD)
        r.out = vec_mul(x2, vec_div(sigmoid_numerator(vec_negate(x), z), vec_add(one, z)));
    else {
        /* 1 - (keep y + spread) is keep (1 - y) + spread, whose terms don't cancel. */
        vec negatives = vec_sub(one, x2), keep = vec_set((real)job->keep);
        if (job->keep != 1.0) {
            x2 = vec_fma(x2, keep, vec_set((real)job->spread));
            negatives = vec_fma(negatives, keep, vec_set((real)job->spread));
        }
        vec scale = times(vec_set((real)job->scale), job->in_scale, at, n);
        if (kind == BCE_WITH_LOGITS && job->focal_gamma != 0.0)
            r = focal_values(x, x2, negatives, z, start.second, times(one, job->weight, at, n), scale, job);
        else {
            vec weighted = times(scale, job->weight, at, n);
            r = kind == BCE_WITH_LOGITS
                    ? bce_with_logits_values(x, x2, negatives, z, start.second, job, at, n, weighted, want_logs)
                    : bce_values(kind, x, x2, negatives, start.first, start.second, job, at, n, weighted, want_logs);
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

/* count vectors, n elements each, and their losses. */
MATH void element_vectors(const enum element_kind kind, const struct element_job *job, size_t at, const size_t n,
                          const size_t count, vec *losses)
{
    const int of_probabilities = kind == BCE || kind == BCE_LABELS;
    const int has_log = kind == LOG_SIGMOID || kind == BCE_WITH_LOGITS || kind == BCE;
    int want_logs = kind == LOG_SIGMOID || job->loss || job->want_sum || job->out2 || job->focal_gamma != 0.0;
    struct element_start start[ABREAST];
    UNROLL for (size_t v = 0; v < count; v++) {
        vec x = element_load(job->in, at + v * VEC_WIDTH, n);
        start[v] = (struct element_start){x, x, x};
        if (kind == SIGMOID_BACKWARD) continue;
        if (!of_probabilities) start[v].first = exp_nonpositive(vec_copy_sign(x, vec_set(-1)));
        else if (!want_logs) continue;
        else if (kind == BCE) start[v].first = log_of_probability(x);
        else start[v].first = log_of_either(x, vec_less(vec_set(0), element_load(job->in2, at + v * VEC_WIDTH, n)));
    }
    if (has_log && want_logs)
        UNROLL for (size_t v = 0; v < count; v++)
            start[v].second = of_probabilities ? log_of_complement(start[v].x) : log1p_unit(start[v].first);
    UNROLL for (size_t v = 0; v < count; v++)
        losses[v] = element_finish(kind, job, at + v * VEC_WIDTH, n, start[v], want_logs);
}

/* The sum of as many losses, over 32 virtual lanes. */
MATH fold8 pass_sum(fold8 sum, const vec losses[PASS / VEC_WIDTH])
{
    UNROLL for (size_t k = 0; k < PASS / VEC_WIDTH; k += LANES / VEC_WIDTH) sum = fold8_add(sum, fold8_lanes(losses + k));
    return sum;
}

/* Fetches what the pass 4 KiB ahead reads and writes: in tensors that outgrow the caches all that a memcpy takes would
 * be added to the computing. */
#define AHEAD_BYTES 4096
MATH void element_fetch(const struct element_job *job, size_t at)
{
    const void *const arrays[] = {job->in, job->in2, job->out};
    UNROLL for (size_t a = 0; a < 3; a++)
        if (arrays[a]) fetch((uintptr_t)arrays[a] + at * sizeof(real) + AHEAD_BYTES, PASS * sizeof(real));
}

/* All elements of a job. The losses' sum is folded in double. */
MATH void element_loop(const enum element_kind kind, struct element_job *job, const size_t abreast)
{
    fold8 sum = fold8_zero();
    size_t i = 0;
    for (; i + PASS <= job->count; i += PASS) {
        vec losses[PASS / VEC_WIDTH];
        element_fetch(job, i);
        ROLLED for (size_t k = 0; k < PASS / VEC_WIDTH; k += abreast)
            element_vectors(kind, job, i + k * VEC_WIDTH, VEC_WIDTH, abreast, losses + k);
        if (job->want_sum) sum = pass_sum(sum, losses);
    }
    if (i < job->count) {
        vec losses[PASS / VEC_WIDTH];
        ROLLED for (size_t k = 0; k < PASS / VEC_WIDTH; k++, i += VEC_WIDTH) {
            size_t left = i < job->count ? job->count - i : 0;
            if (left) element_vectors(kind, job, i, left < VEC_WIDTH ? left : VEC_WIDTH, 1, losses + k);
            else losses[k] = vec_set(0);
        }
        if (job->want_sum) sum = pass_sum(sum, losses);
    }
    job->sum = total_rounded(fold8_total(sum));
}

/* First of count values that is not in [0, 1], or -1. */
MATH ptrdiff_t first_improper(const real *p, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(p[i] >= 0 && p[i] <= 1)) return (ptrdiff_t)i;
    return -1;
}

/* Of a - a^2 for all inputs and targets, the square rounded: as it never gets past a, this is less than 0 for a
 * outside [0, 1], 0 for 0 and 1, and NaN for NaN and infinities. A NaN may get lost in least, but not in the sums. */
struct probability_check {
    vec least, sum, target_sum;
};
MATH struct probability_check probability_check_add(struct probability_check check, vec p, vec y)
{
    vec of_p = vec_sub(p, vec_mul(p, p)), of_y = vec_sub(y, vec_mul(y, y));
    return (struct probability_check){vec_min(check.least, vec_min(of_p, of_y)), vec_add(check.sum, of_p),
                                      vec_add(check.target_sum, of_y)};
}

enum targets { TARGETS_IMPROPER, TARGETS_SOFT, TARGETS_LABELS };
/* Whether all inputs and targets are in [0, 1], and all targets 0 or 1. */
MATH enum targets targets_of(const struct element_job *job)
{
    const real *p = job->in, *y = job->in2;
    vec zero = vec_set(0), one = vec_set(1);
    struct probability_check check = {zero, zero, zero};
    size_t i = 0;
    for (; i + VEC_WIDTH <= job->count; i += VEC_WIDTH)
        check = probability_check_add(check, vec_load(p + i), vec_load(y + i));
    if (i < job->count) {
        size_t left = job->count - i;
        check = probability_check_add(check, vec_load_partial(p + i, left, zero), vec_load_partial(y + i, left, zero));
    }
    mask proper = mask_and(vec_equal(check.least, zero), mask_and(vec_equal(check.sum, check.sum), vec_equal(check.target_sum, check.target_sum)));
    if (vec_reduce_max(vec_zero_where(proper, one)) > 0) return TARGETS_IMPROPER;
    return vec_reduce_max(check.target_sum) > 0 ? TARGETS_SOFT : TARGETS_LABELS;
}

static void kernel_sigmoid(struct element_job *job) { element_loop(SIGMOID, job, ABREAST); }
static void kernel_sigmoid_backward(struct element_job *job) { element_loop(SIGMOID_BACKWARD, job, ABREAST); }
static void kernel_log_sigmoid(struct element_job *job) { element_loop(LOG_SIGMOID, job, ABREAST); }
static void kernel_log_sigmoid_backward(struct element_job *job) { element_loop(LOG_SIGMOID_BACKWARD, job, ABREAST); }

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
        element_loop(kind, &own, ABREAST);
    } else element_loop(kind == BCE_LABELS ? BCE : kind, &own, 1);
    job->sum = own.sum;
}

static void kernel_bce_with_logits(struct element_job *job) { binary_loop(BCE_WITH_LOGITS, job); }

static void kernel_bce(struct element_job *job)
{
    enum targets targets = targets_of(job);
    job->invalid = -1;
    if (targets == TARGETS_LABELS) binary_loop(BCE_LABELS, job);
    else if (targets == TARGETS_SOFT) binary_loop(BCE, job);
    else {
        ptrdiff_t in = first_improper(job->in, job->count), in2 = first_improper(job->in2, job->count);
        job->invalid = in < 0 || (in2 >= 0 && in2 < in) ? in2 : in;
    }
}

#endif
