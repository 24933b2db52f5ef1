/* Row states of parts of a row: merging two, and finishing one to log-sum-exp and loss. The
 * states are doubles whatever the logits are; these are for the table of doubles. */
#ifndef XENT_KERNELS_STATES_H
#define XENT_KERNELS_STATES_H

#include "finish.h"

/* Of (m1, r1) and (m2, r2), m1 >= m2: (m1, r1 + (1 + r2) exp(m2 - m1)). What the difference
 * loses comes back to first order (2Sum, Knuth): far below, it would be many ulps. Equal maxima, infinite
 * ones too, have the exponential 1, so that (-inf, -1), the state of no element, is neutral. */
static void kernel_merge(const struct state_job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        xent_row_state high = job->a[i], low = job->b[i];
        if (low.max > high.max || (low.max == high.max && low.rest > high.rest)) high = job->b[i], low = job->a[i];
        real lanes[VEC_WIDTH];
        double gap = high.max == low.max ? 0.0 : low.max - high.max, back = gap + high.max;
        double lost = (low.max - back) + ((back - gap) - high.max);
        vec e = exp_nonpositive(vec_set((real)gap));
        if (isfinite(lost)) e = vec_fma(e, vec_set((real)lost), e);
        vec_store(lanes, vec_fma(vec_add(vec_set((real)low.rest), vec_set(1)), e, vec_set((real)high.rest)));
        job->merged[i] = (xent_row_state){high.max, lanes[0]};
    }
}

static void kernel_finish(const struct state_job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        real lanes[VEC_WIDTH];
        double max = job->a[i].max;
        vec_store(lanes, log1p_of(vec_set((real)job->a[i].rest)));
        if (job->lse) job->lse[i] = max + lanes[0];
        if (!job->loss) continue;
        job->loss[i] = isinf(max) ? NAN : (max - job->target_logit[i]) + lanes[0];
    }
}

/* The states of rows whose sums are complete, as finish_state makes them. */
static void kernel_close(const struct state_job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        const xent_row_sum *sum = &job->sums[i];
        struct bins whole_bins, bins;
        memcpy(bins.part, sum->parts, sizeof bins.part);
        memcpy(whole_bins.part, sum->whole, sizeof whole_bins.part);
        vec max = vec_set((real)sum->max);
        struct exp_row exp = exp_row_of(max);
        real top[VEC_WIDTH];
        total totals[VEC_WIDTH];
        double rest[VEC_WIDTH];
        vec_store(top, exp_scaled(max, exp));
        const total whole = bins_total(&whole_bins);
        const int spread = row_is_spread(whole, top[0], (size_t)sum->classes);
        for (size_t w = 0; w < VEC_WIDTH; w++) totals[w] = spread ? total_less(whole, top[0]) : bins_total(&bins);
        wide others = wide_sub(wide_set(spread ? 1.0 : sum->ties), wide_set(1.0));
        wide_store(rest, wide_add(wide_mul(wide_load_total(totals), row_inverse(max, exp)), others));
        job->merged[i] = (xent_row_state){sum->max, rest[0]};
    }
}

#endif
