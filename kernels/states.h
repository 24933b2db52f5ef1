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
        struct row_sums found = {.ties = sum->ties};
        memcpy(found.others_bins.part, sum->parts, sizeof found.others_bins.part);
        memcpy(found.whole_bins.part, sum->whole, sizeof found.whole_bins.part);
        found.others = bins_total(&found.others_bins);
        found.whole = bins_total(&found.whole_bins);
        vec max = vec_set((real)sum->max);
        struct exp_row exp = exp_row_of(max);
        real top[VEC_WIDTH];
        total totals[VEC_WIDTH];
        double ties[VEC_WIDTH], rest[VEC_WIDTH];
        vec_store(top, exp_scaled(max, exp));
        for (size_t w = 0; w < VEC_WIDTH; w++) totals[w] = sums_choose(&found, top[0], (size_t)sum->classes, &ties[w]);
        wide others = wide_sub(wide_load(ties), wide_set(1.0));
        wide_store(rest, wide_add(wide_mul(wide_load_total(totals), row_inverse(max, exp)), others));
        job->merged[i] = (xent_row_state){sum->max, rest[0]};
    }
}

#endif
