/* Between the passes over the elements: what follows from a row's state (max, rest), with the
 * rows in the lanes.
 *
 *   rest     = total inverse + (ties - 1)
 *   lse      = max + log1p(rest)
 *   loss     = w_y ((max - x_y) + log1p(rest)): neither term can cancel the other
 *   softmax  = exp_scaled(x) inverse share, share = 1 / (1 + rest)
 *   gradient at the target = -scale w_y q, q = 1 - softmax(x_y), which is rest share where the
 *              target attains the max; elsewhere softmax(x_y) is at most 1/2
 *
 * total is the sum of exp_scaled(x_j) but those of the ties, which equal the maximum: nothing may be lost of
 * rest, which has no bound below. But a row of more than SPREAD_CLASSES classes is spread if the sum of all, whole, is more than 2.5
 * times exp_scaled(max), or 3 times if it has more than half a block of classes, and so one more addition to each term: then
 * log1p(rest) is as good as where the maximum is left out, though rest was added to its exponential, which is taken off
 * again, as that of the only tie. So nobody needs to know the maximum before such a row's sum.
 *
 * rest, and what is made of it, are wide until the one rounding at the end. A row whose
 * maximum is infinite has lse max (or NaN, by total), and NaN everywhere else. */
#ifndef XENT_KERNELS_FINISH_H
#define XENT_KERNELS_FINISH_H

#include "bins.h"
#include "job.h"
#include "math/log.h"
#include "math/power.h"
#include "terms.h"

/* Of each row of a job, between the passes. */
struct row_pass {
    /* These three are there, as zeros, also of rows that nobody computes. */
    total total[XENT_ROW_SLOTS];          /* others; of a spread row whole less exp_scaled(max) */
    double ties[XENT_ROW_SLOTS];          /* of a spread row 1 */
    real target_logit[XENT_ROW_SLOTS];
    total gap[XENT_ROW_SLOTS], mass[XENT_ROW_SLOTS], entropy[XENT_ROW_SLOTS]; /* sums of these terms */
    struct row_sums sums[XENT_ROW_SLOTS]; /* where the job asks for them */
    int few_spread;                       /* among the rows so far: a hint */
    double target_share[XENT_ROW_SLOTS];  /* softmax(x_y) */
    double target_rest[XENT_ROW_SLOTS];   /* 1 - softmax(x_y) */
    double target_loss[XENT_ROW_SLOTS];   /* (max - x_y) + log1p(rest) */
    double gain[XENT_ROW_SLOTS];          /* of softmax in the gradient */
    real target_gradient[XENT_ROW_SLOTS];
    real lift[XENT_ROW_SLOTS], factor[XENT_ROW_SLOTS]; /* of exp_scaled(x): make gain softmax(x) */
    real top[XENT_ROW_SLOTS];             /* exp_scaled(max) */
    real peak[XENT_ROW_SLOTS];            /* gain softmax(max) */
    real offset[XENT_ROW_SLOTS];          /* log1p(rest), or NaN where the maximum is infinite */
    real amount[XENT_ROW_SLOTS];          /* of the target distribution in the gradient */
    real target_amount[XENT_ROW_SLOTS];   /* of the gradient in the target distribution */
};

/* The class weights, as a row. */
MATH struct row_view weights_of(const struct row_job *job)
{
    const struct row_options *options = job->options;
    if (!options || !options->weight) return plain_view(NULL);
    return (struct row_view){(void *)(uintptr_t)options->weight, options->weight_dtype, options->weight_stride, 0.0, 0};
}

/* The total and the ties that a row's state is made of, if it is spread. Returns whether. top: exp_scaled(max). */
MATH int take_spread(struct row_pass *pass, size_t i, total whole, real top, size_t classes)
{
    if (!row_is_spread(whole, top, classes)) return 0;
    pass->total[i] = total_less(whole, top);
    pass->ties[i] = 1.0;
    return 1;
}

/* The same of any row. sums->others need not be there where it is spread. */
MATH void take_sums(const struct row_job *job, struct row_pass *pass, size_t i, const struct row_sums *sums, real top)
{
    if (!take_spread(pass, i, sums->whole, top, job->classes)) {
        pass->total[i] = sums->others;
        pass->ties[i] = sums->ties;
    }
    if (job->sums) pass->sums[i] = *sums;
}

MATH wide values_load(const struct row_values *values, size_t i)
{
    return values->each ? wide_load(values->each + i) : wide_set(values->all);
}

/* a + b + lost, rounded once; lost is small beside them (2Sum, Knuth). */
MATH vec sum_rounded(vec a, vec b, vec lost)
{
    vec sum = vec_add(a, b), b_there = vec_sub(sum, a), a_there = vec_sub(sum, b_there);
    vec exact = vec_add(sum, vec_add(vec_add(vec_sub(a, a_there), vec_sub(b, b_there)), lost));
    return vec_select(vec_less(vec_abs(exact), vec_set((real)INFINITY)), exact, sum);
}

/* A state's rest, of sums of exponentials. (states.h does the same of what callers give, which may be infinite.) */
MATH wide state_rest(wide others, wide ties, wide inverse)
{
    return wide_add_finite(wide_mul_finite(others, inverse), wide_add_plain(ties, wide_set(-1.0)));
}

/* One vector of rows: from state to everything but the gradient's gain. */
struct finished {
    vec max, target_loss;
    struct exp_row exp;
    wide share, inverse, target_share, target_rest;
};

MATH struct finished finish_state(struct row_job *job, struct row_pass *pass, size_t i, int want_log, int want_shares,
                                  int with_target)
{
    struct finished f;
    f.max = vec_load_double(job->max + i);
    f.exp = exp_row_of(f.max);
    mask infinite = vec_equal(vec_abs(f.max), vec_set((real)INFINITY));
    wide one = wide_set(1.0), rest;
    f.inverse = row_inverse(f.max, f.exp);
    if (job->have_state) rest = wide_load(job->rest + i);
    else {
        wide_store(job->rest + i, state_rest(wide_load_total(pass->total + i), wide_load(pass->ties + i), f.inverse));
        rest = wide_load(job->rest + i); /* exactly what a later call will be given */
    }
    vec target = with_target ? vec_load(pass->target_logit + i) : f.max;
    if (with_target) vec_store_double(job->target_logit + i, target);
    if (want_log) {
        vec lost, log_rest = log1p_sum(vec_from_wide(rest), vec_rest_of_wide(rest), &lost);
        vec_store_double(job->lse + i, sum_rounded(f.max, log_rest, lost));
        log_rest = vec_select(infinite, vec_set((real)NAN), log_rest);
        vec_store(pass->offset + i, log_rest);
        f.target_loss = log_rest;
        if (with_target) {
            vec gap = vec_sub(f.max, target), back = vec_add(gap, target);
            lost = vec_add(lost, vec_sub(vec_sub(f.max, back), vec_sub(target, vec_sub(back, gap))));
            f.target_loss = sum_rounded(gap, log_rest, lost);
        }
    }
    if (want_shares) {
        f.share = wide_div(wide_select(infinite, wide_set(NAN), one), wide_add_plain(one, rest));
        if (with_target) {
            mask at_max = vec_equal(target, f.max);
            wide below = wide_mul_finite(wide_mul_finite(wide_from_vec(exp_scaled(target, f.exp)), f.inverse), f.share);
            f.target_share = wide_select(at_max, f.share, below);
            f.target_rest = wide_select(at_max, wide_mul_finite(rest, f.share), wide_sub(one, below));
        }
    }
    return f;
}

MATH void finish_gain(struct row_pass *pass, size_t i, const struct finished *f, wide gain)
{
    wide peak = wide_mul(f->share, gain);
    vec_store(pass->peak + i, vec_from_wide(peak));
    /* A factor that would be lost among the subnormals is taken in two steps, of which the first is exact wherever
     * the result is not nothing. */
    wide wide_factor = wide_mul(peak, f->inverse);
    vec factor = vec_from_wide(wide_factor), lift = vec_set(1);
    mask small = vec_less(vec_abs(factor), vec_set(EXP_SMALL));
    if (mask_any(small)) {
        factor = vec_select(small, vec_from_wide(wide_mul(wide_factor, wide_set(0x1p+80))), factor);
        lift = vec_select(small, vec_set((real)0x1p-80), lift);
    }
    vec_store(pass->lift + i, lift);
    vec_store(pass->factor + i, factor);
    vec_store(pass->top + i, exp_scaled(f->max, f->exp));
}

/* (1 - p)^gamma and, in *slope, what multiplies softmax - [j = y] in the gradient of
 * (1 - p)^gamma log(1/p), for p = softmax(x_y): (1 - p)^gamma + gamma (1 - p)^(gamma - 1) p log(1/p). */
static double focal_factor(double share, double rest, double loss, double gamma, double *slope)
{
    real lanes[VEC_WIDTH];
    vec_store(lanes, power_of(vec_set((real)rest), vec_set((real)gamma)));
    double factor = lanes[0];
    /* As p goes to 1, log(1/p) goes as 1 - p, and the second term as (1 - p)^gamma: to 0. */
    double part = rest > 0.0 ? factor / rest * share * loss : 0.0;
    *slope = factor + gamma * part;
    return factor;
}

/* What options make of loss and gradient, of the row i:
 *
 *   gradient_j = gain p_j - amount w_j t_j - kept [j = y]
 */
static void apply_options(struct row_job *job, struct row_pass *pass, size_t i, const struct row_view *weights)
{
    const struct row_options *options = job->options;
    double log_rest = pass->offset[i], lse = job->lse[i], scale = row_value(&job->scale, i);
    double row_weight = row_value(&job->row_weight, i);
    double loss = 0.0, kept = 0.0, spread = 0.0, amount = 0.0;
    if (job->in2.data) {
        double mass = total_rounded(pass->mass[i]);
        loss = job->classes ? total_rounded(pass->gap[i]) + mass * log_rest : 0.0;
        spread = mass;
        amount = 1.0;
    } else {
        double w = row_value(&job->weight, i), nll = pass->target_loss[i];
        if (options->focal_gamma != 0.0) {
            double slope;
            loss = w * focal_factor(pass->target_share[i], pass->target_rest[i], nll, options->focal_gamma, &slope) * nll;
            kept = w * slope;
        } else if (options->keep != 0.0) {
            loss = w * options->keep * nll;
            kept = w * options->keep;
        }
        if (options->spread != 0.0) {
            loss += options->spread * (total_rounded(pass->gap[i]) + options->weight_sum * log_rest);
            spread = options->spread * options->weight_sum;
            amount = options->spread;
        }
    }
    job->loss[i] = row_weight * loss;
    job->z_loss[i] = options->z_loss != 0.0 ? row_weight * options->z_loss * lse * lse : 0.0;
    double others = scale * spread; /* the gain but for the target's own */
    if (options->z_loss != 0.0) others += scale * options->z_ratio * 2.0 * options->z_loss * lse;
    pass->gain[i] = scale * kept + others;
    pass->amount[i] = (real)(scale * amount);
    pass->target_amount[i] = (real)(scale * options->keep);
    if (job->target[i] < 0) return;
    double own = others * pass->target_share[i] - scale * kept * pass->target_rest[i];
    if (amount != 0.0) {
        ptrdiff_t at = (ptrdiff_t)job->target[i] * weights->stride;
        own -= scale * amount * (weights->data ? (double)read_one(weights->data, weights->dtype, at) : 1.0);
    }
    real gradient = (real)own;
    if (options->softcap != 0.0) {
        real lanes[VEC_WIDTH];
        vec_store(lanes, softcap_derivative(vec_set(gradient), vec_set(pass->target_logit[i]), options->softcap));
        gradient = lanes[0];
    }
    pass->target_gradient[i] = gradient;
}

/* Loss and gradient without options. */
MATH void finish_plain(struct row_job *job, struct row_pass *pass, size_t i, const struct finished *f, int want_log,
                       int want_gain, int with_target)
{
    if (with_target && want_log) {
        vec loss = f->target_loss;
        if (job->weight.each || job->row_weight.each)
            loss = vec_mul(vec_from_wide(wide_mul(values_load(&job->weight, i), values_load(&job->row_weight, i))), loss);
        vec_store_double(job->loss + i, loss);
    }
    if (!want_gain) return;
    wide gain = values_load(&job->scale, i);
    if (with_target) {
        if (job->weight.each) gain = wide_mul(gain, wide_load(job->weight.each + i));
        wide own = wide_mul(gain, f->target_rest);
        vec_store(pass->target_gradient + i, vec_negate(vec_from_wide(own)));
    }
    finish_gain(pass, i, f, gain);
}

/* Whether the options ask for outputs only, which must not change a bit of the others. */
MATH int options_are_plain(const struct row_job *job)
{
    const struct row_options *o = job->options;
    return !job->in2.data && o->keep == 1.0 && o->z_loss == 0.0 && o->softcap == 0.0 && o->focal_gamma == 0.0;
}

/* Rows first ... first + count - 1, and up to a vector's width beyond. */
static void finish_rows(struct row_job *job, struct row_pass *pass, size_t first, size_t count, int want_log,
                        int want_gain, int with_target)
{
    const struct row_options *options = job->options;
    struct row_view weights = weights_of(job);
    int plain = !options || options_are_plain(job);
    for (size_t i = first; i < first + count; i += VEC_WIDTH) {
        struct finished f = finish_state(job, pass, i, options || want_log, options || want_gain, with_target);
        if (options && options->want_entropy) {
            wide others = wide_mul(wide_mul(wide_load_total(pass->entropy + i), f.inverse), f.share);
            vec_store_double(job->entropy + i, vec_add(vec_load(pass->offset + i), vec_from_wide(others)));
        }
        if (plain) {
            finish_plain(job, pass, i, &f, options || want_log, options || want_gain, with_target);
            continue;
        }
        vec_store_double(pass->target_loss + i, f.target_loss);
        wide_store(pass->target_share + i, f.target_share);
        wide_store(pass->target_rest + i, f.target_rest);
        for (size_t row = i; row < i + VEC_WIDTH && row < first + count && row < job->rows; row++)
            apply_options(job, pass, row, &weights);
        finish_gain(pass, i, &f, wide_load(pass->gain + i));
    }
    for (size_t i = first; options && plain && i < first + count && i < job->rows; i++) job->z_loss[i] = 0.0;
}

#endif
