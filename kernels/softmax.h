/* Log-sum-exp, softmax, log-softmax and cross-entropy, forward and gradient.
 *
 * Passes over a group of rows small enough to stay in cache: the maxima, and the sums of exp_scaled(x_j), of rows
 * that may be spread both at once, by guessing the constants that depend on the maximum; what follows from them for each
 * row (finish.h); and the writing of exp(x_j - max) factor, or (x_j - max) - offset. Where there is room for it,
 * exp_scaled(x_j) is kept, and the last pass only multiplies. */
#ifndef XENT_KERNELS_SOFTMAX_H
#define XENT_KERNELS_SOFTMAX_H

#include "softmax_lanes.h"
#include "softmax_pages.h"
#include "softmax_short.h"

MATH size_t along_group(const struct row_job *job, enum write_term write)
{
    const size_t most = GROUP_BYTES / sizeof(real) / (job->classes + 1), fit = SCRATCH / along_pitch(job->classes);
    const size_t group = most > GROUP_ROWS ? GROUP_ROWS : most > 1 ? most : 1;
    if (rows_are_short(job)) return SHORT_ROWS;
    /* Rows that are unpacked or softcapped are so once, in the scratch. Where nothing is written, taking a few exponentials
     * again is cheaper than a small group. */
    const int large = tensor_is_plain(&job->in) && !(job->options && job->options->softcap != 0.0) && (!job->out.data || out_keeps(job, write));
    return large || fit == 0 || group < fit ? group : fit;
}

/* Of the rows next to go along: as a group. Returns their number. */
static size_t softmax_along_group(struct row_job *job, struct row_pass *pass, size_t first, enum write_term write, int with_target)
{
    const size_t group = along_group(job, write), left = job->rows - first, count = left < group ? left : group;
    int taken = 0;
    if (rows_are_short(job)) {
#ifndef XENT_REAL_F64
        if (job->in.dtype == XENT_BF16) taken = softmax_short_bf16(job, pass, first, count, write, with_target);
        if (job->in.dtype == XENT_F16) taken = softmax_short_f16(job, pass, first, count, write, with_target);
#endif
        if (job->in.dtype == REAL_DTYPE) taken = softmax_short(job, pass, first, count, write, with_target);
    }
    if (!taken) (job_is_bare(job) ? softmax_along_plain : softmax_along_any)(job, pass, first, count, write, with_target);
    return count;
}

/* Whether a tile of count rows is cheaper than the rows one by one: a tile takes as
 * many exponentials as there are classes, however few its rows. */
MATH int tile_pays(size_t count, size_t classes)
{
    return classes <= TILE_CLASSES && count * (classes / VEC_WIDTH + 4) >= classes;
}

/* Where they are wanted: the sums in the form in which parts of rows can be added. */
static void deliver_sums(struct row_job *job, struct row_pass *pass)
{
    real units[VEC_WIDTH];
    vec unused;
    for (size_t i = 0; job->sums && i < job->rows; i++) {
        struct row_sums *sums = &pass->sums[i];
        if (job->classes <= BLOCK) {
            vec max = vec_set((real)job->max[i]);
            vec_store(units, exp_row_unit(max, exp_row_of(max), &unused));
            sums->whole_bins = sums->others_bins = (struct bins){{0}};
            bins_add_total(&sums->whole_bins, sums->whole, BINS_WHOLE_SHIFTER);
            bins_add_total(&sums->others_bins, sums->others, bins_shifter(units[0]));
        }
        job->sums[i] = (xent_row_sum){.max = job->max[i], .ties = sums->ties, .classes = (double)job->classes};
        memcpy(job->sums[i].parts, sums->others_bins.part, sizeof sums->others_bins.part);
        memcpy(job->sums[i].whole, sums->whole_bins.part, sizeof sums->whole_bins.part);
    }
}

static void softmax_job(struct row_job *job, enum write_term write, int with_target)
{
    struct row_pass pass;
    const size_t slots = job->rows + VEC_WIDTH;
    memset(pass.total, 0, slots * sizeof *pass.total);
    memset(pass.ties, 0, slots * sizeof *pass.ties);
    memset(pass.target_logit, 0, slots * sizeof *pass.target_logit);
    pass.few_spread = 0;
    if (rows_are_direct(job)) {
        softmax_direct(job, &pass, write, with_target);
        deliver_sums(job, &pass);
        return;
    }
    for (size_t i = 0, count; i < job->rows; i += count) {
        size_t left = job->rows - i;
        count = left < VEC_WIDTH ? left : VEC_WIDTH;
        int along = rows_are_short(job) && job->classes > SPREAD_CLASSES; /* faster than a tile */
        if (!along && tile_pays(count, job->classes) && !job->want_argmax) {
            count = softmax_tiled(job, &pass, i, write, with_target);
            continue;
        }
        count = softmax_along_group(job, &pass, i, write, with_target);
    }
    deliver_sums(job, &pass);
}

static void kernel_log_sum_exp(struct row_job *job) { softmax_job(job, WRITE_SOFTMAX, 0); }
static void kernel_softmax(struct row_job *job) { softmax_job(job, WRITE_SOFTMAX, 0); }
static void kernel_log_softmax(struct row_job *job) { softmax_job(job, WRITE_LOG_SOFTMAX, 0); }

static void kernel_cross_entropy(struct row_job *job)
{
    softmax_job(job, WRITE_SOFTMAX, 1);
    if (job->all_have_targets && job->classes) return;
    for (size_t i = 0; !job->classes && i < job->rows; i++) job->entropy[i] = 0.0; /* a sum of no term */
    ignore_rows(job);
}

#endif
