/* The same for packed rows of at most a block, with nothing given and nothing out of the ordinary wanted. */
#ifndef XENT_KERNELS_SOFTMAX_SHORT_H
#define XENT_KERNELS_SOFTMAX_SHORT_H

#include "softmax_along.h"

#define SHORT_ROWS 16 /* of a group */

/* What softmax_short can read or write. */
MATH int tensor_is_short(const struct row_tensor *tensor, size_t classes)
{
    return tensor_is_plain(tensor) || (dtype_is_half(tensor->dtype) && tensor->class_stride == 1 && classes >= VEC_WIDTH);
}

MATH int rows_are_short(const struct row_job *job)
{
    return job->classes - 1 < BLOCK && job_is_bare(job) && tensor_is_short(&job->in, job->classes) &&
           (!job->out.data || tensor_is_short(&job->out, job->classes));
}

MATH void short_write(const enum write_term term, const real *x, void *to, xent_dtype dtype, size_t classes, const struct row_lanes *row)
{
    if (dtype == XENT_BF16) typed_write(term, x, REAL_DTYPE, x, x, to, XENT_BF16, classes, row, NULL, 0, 0);
    else if (dtype == XENT_F16) typed_write(term, x, REAL_DTYPE, x, x, to, XENT_F16, classes, row, NULL, 0, 0);
    else run_write(term, x, x, x, to, classes, row, NULL);
}

/* A group on its way. */
struct short_group {
    _Alignas(64) real kept[SHORT_ROWS * BLOCK], unpacked[SHORT_ROWS * BLOCK], lanes[SHORT_ROWS][VEC_WIDTH];
    fold8 sums[SHORT_ROWS]; /* a vector's width at least */
    const real *x[SHORT_ROWS];
    struct group_maxima of;
    size_t pitch; /* of kept and unpacked: whole steps */
};

/* A guess at a row's maximum: that of its first classes. */
MATH vec short_guess(const void *row, const xent_dtype dtype, size_t classes)
{
    vec x = classes < VEC_WIDTH ? vec_load_partial(row, classes, vec_set((real)-INFINITY)) : packed_load(row, dtype, 0);
    real max = vec_reduce_max(x);
    return vec_set(max < EXP_SHIFT_FROM && max > -EXP_SHIFT_FROM ? max : 0);
}

/* Maxima, exponentials and their sums, by one guess for all rows or, again, by what follows from the maxima. */
MATH void short_exps(const xent_dtype dtype, const struct row_job *job, size_t first, size_t count, int with_target, vec guess, int again,
                     struct short_group *g)
{
    struct exp_row exp = exp_row_of(guess);
    const size_t classes = job->classes, whole = classes / VEC_WIDTH * VEC_WIDTH, bytes = classes * dtype_size(dtype);
    for (size_t r = 0; r < count; r++) {
        const void *row = row_start(&job->in, dtype, first + r);
        real last[VEC_WIDTH], *unpacked = g->unpacked + r * g->pitch, *kept = g->kept + r * g->pitch;
        if (row_ignored(job, first + r, with_target)) {
            vec_store(g->lanes[r], guess);
            g->sums[r] = fold8_zero();
            continue;
        }
        if (again) exp = (struct exp_row){vec_set(0), vec_set(g->of.magic[r]), vec_set(g->of.floor[r])};
        g->x[r] = dtype == REAL_DTYPE ? row : unpacked;
        /* Where the next group's row is likely to be, of this job or the next, and where this one goes to. No pass but this
         * one computes for long enough to hide what memory takes. */
        fetch((uintptr_t)row + count * bytes, bytes);
        if (job->out.data) fetch((uintptr_t)row_start(&job->out, dtype, first + r), bytes);
        if (dtype != REAL_DTYPE) vec_store(unpacked + classes - VEC_WIDTH, packed_load(row, dtype, classes - VEC_WIDTH));
        vec_store(last, vec_load_partial(g->x[r] + whole, classes - whole, vec_set((real)-INFINITY)));
        vec max = vec_set((real)-INFINITY);
        size_t j = 0;
        for (; j < classes; j += VEC_WIDTH) {
            vec x;
            if (dtype == REAL_DTYPE) x = vec_load(j < whole ? g->x[r] + j : last);
            else if (j < whole) vec_store(unpacked + j, x = packed_load(row, dtype, j));
            else x = vec_load(last);
            max = vec_max(x, max);
            vec_store(kept + j, exp_scaled(x, exp));
        }
        for (; j < g->pitch; j += VEC_WIDTH) vec_store(kept + j, vec_set(0));
        g->sums[r] = tree_sum(kept, g->pitch / LANES);
        vec_store(g->lanes[r], max);
    }
}

/* The same of rows that are never spread: the maxima come first. */
MATH void short_few(struct row_job *job, struct row_pass *pass, size_t first, size_t count, int with_target, struct short_group *g)
{
    for (size_t r = 0; r < count; r++) {
        g->x[r] = row_start(&job->in, REAL_DTYPE, first + r);
        vec_store(g->lanes[r], row_ignored(job, first + r, with_target) ? vec_set(0) : run_max(g->x[r], job->classes));
    }
    group_maxima_of(job, first, count, g->lanes, 0, &g->of);
    for (size_t r = 0; r < count; r++) {
        if (row_ignored(job, first + r, with_target)) continue;
        struct row_lanes row = {.exp = GROUP_EXP(g->of, r), .max = vec_set(g->of.max[r])};
        struct block_args a = {.x = g->x[r], .store = g->kept + r * g->pitch, .row = &row};
        struct sum_notes notes = {veci_set(0), vec_set(0)};
        pass->total[first + r] = fold8_total(block_sum(SUM_EXP_BUT_MAX, &a, job->classes, 0, &notes));
        pass->ties[first + r] = (double)(veci_reduce_add(notes.ties) - ties_beyond(job->classes, g->of.max[r]));
    }
}

/* The same of others. Returns 0, and has written nothing, where a row has to be shifted: that is not worth a subtraction here. */
MATH int short_many(const xent_dtype dtype, struct row_job *job, struct row_pass *pass, size_t first, size_t count, int with_target,
                    struct short_group *g)
{
    vec guess = short_guess(row_start(&job->in, dtype, first), dtype, job->classes);
    total *whole = pass->total + first;
    real floor[VEC_WIDTH];
    vec_store(floor, exp_row_of(guess).floor);
    for (int again = 0; again < 2; again++) {
        int shifted = 0, wrong = 0;
        short_exps(dtype, job, first, count, with_target, guess, again, g);
        group_maxima_of(job, first, count, g->lanes, 0, &g->of);
        for (size_t r = 0; r < count; r++) {
            shifted |= g->of.shift[r] != 0;
            wrong |= g->of.floor[r] != floor[0];
        }
        if (shifted) return 0;
        if (!wrong) break;
    }
    /* A vector of rows is folded at once; for one row, as in a small call, that would be all for nothing. */
    for (size_t r = count; count > 1 && r % VEC_WIDTH; r++) g->sums[r] = fold8_zero();
    if (count == 1) whole[0] = fold8_total(g->sums[0]);
    for (size_t r = 0; count > 1 && r < count; r += VEC_WIDTH) wide_store_total(whole + r, fold8_totals(g->sums + r));
    for (size_t r = 0; r < count; r++) {
        const int spread = row_is_spread(whole[r], g->of.top[r], job->classes);
        pass->ties[first + r] = 1.0;
        if (spread) whole[r] = total_less(whole[r], g->of.top[r]);
        if (spread || row_ignored(job, first + r, with_target)) continue;
        struct row_lanes row = {.max = vec_set(g->of.max[r])};
        struct block_args a = {.x = g->x[r], .x2 = g->kept + r * g->pitch, .row = &row};
        int64_t ties = -ties_beyond(job->classes, g->of.max[r]);
        whole[r] = block_others(&a, job->classes, &ties);
        pass->ties[first + r] = (double)ties;
    }
    return 1;
}

/* Packed rows of at most a block, with nothing given: softmax_along without all that these have no use
 * for. dtype: of the logits. Returns 0 where that can't be done. */
MATH int softmax_short_of(const xent_dtype dtype, struct row_job *job, struct row_pass *pass, size_t first, size_t count, enum write_term write,
                          int with_target)
{
    struct short_group g;
    const size_t classes = job->classes;
    g.pitch = (classes + LANES - 1) / LANES * LANES;
    for (size_t r = 0; with_target && r < count; r++) {
        int64_t y = job->target[first + r];
        pass->target_logit[first + r] = y >= 0 ? read_one(row_start(&job->in, dtype, first + r), dtype, y) : (real)-INFINITY;
    }
    if (classes <= SPREAD_CLASSES && dtype == REAL_DTYPE) short_few(job, pass, first, count, with_target, &g);
    else if (!short_many(dtype, job, pass, first, count, with_target, &g)) return 0;
    finish_rows(job, pass, first, count, job->want_log || write == WRITE_LOG_SOFTMAX, job->out.data && write == WRITE_SOFTMAX, with_target);
    for (size_t r = 0; r < count && job->out.data; r++) {
        const size_t i = first + r;
        const struct row_view view = row_of(&job->out, i);
        if (row_ignored(job, i, with_target)) {
            row_zero(&view, classes);
            continue;
        }
        struct row_lanes row = {.max = vec_set(g.of.max[r])};
        const real *kept = g.kept + r * g.pitch;
        if (write == WRITE_LOG_SOFTMAX) {
            row.offset = vec_set(pass->offset[i]);
            short_write(WRITE_LOG_SOFTMAX, g.x[r], view.data, dtype, classes, &row);
        } else {
            row.lift = vec_set(pass->lift[i]);
            row.factor = vec_set(pass->factor[i]);
            row.top = vec_set(pass->top[i]);
            row.peak = vec_set(pass->peak[i]);
            if (pass->lift[i] == 1) short_write(WRITE_SCALED, kept, view.data, dtype, classes, &row);
            else short_write(WRITE_LIFTED, kept, view.data, dtype, classes, &row);
            if (with_target && job->target[i] >= 0) write_one(view.data, dtype, job->target[i], pass->target_gradient[i]);
        }
    }
    return 1;
}

/* Apart, so that their rows do not stand on the stack of the ways along. */
static __attribute__((noinline)) int softmax_short(struct row_job *job, struct row_pass *pass, size_t first, size_t count,
                                                   enum write_term write, int with_target)
{
    return softmax_short_of(REAL_DTYPE, job, pass, first, count, write, with_target);
}

#ifndef XENT_REAL_F64
static __attribute__((noinline)) int softmax_short_bf16(struct row_job *job, struct row_pass *pass, size_t first, size_t count,
                                                        enum write_term write, int with_target)
{
    return softmax_short_of(XENT_BF16, job, pass, first, count, write, with_target);
}

static __attribute__((noinline)) int softmax_short_f16(struct row_job *job, struct row_pass *pass, size_t first, size_t count,
                                                        enum write_term write, int with_target)
{
    return softmax_short_of(XENT_F16, job, pass, first, count, write, with_target);
}
#endif

#endif
