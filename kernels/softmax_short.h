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

/* Packed rows of at most a block, with nothing given: softmax_along without all that these have no use
 * for. dtype: of the logits. Returns 0, and has done nothing, where a row has to be shifted: that is not worth a
 * subtraction here. */
MATH int softmax_short_of(const xent_dtype dtype, struct row_job *job, struct row_pass *pass, size_t first, size_t count, enum write_term write,
                           int with_target)
{
    _Alignas(64) real scratch[SHORT_ROWS * BLOCK], unpacked[SHORT_ROWS * BLOCK], terms[BLOCK];
    _Alignas(64) real lanes[SHORT_ROWS][VEC_WIDTH], last[SHORT_ROWS][VEC_WIDTH];
    fold8 sums[SHORT_ROWS];
    const real *x[SHORT_ROWS];
    struct group_maxima of;
    const size_t classes = job->classes, whole = classes / VEC_WIDTH * VEC_WIDTH, rest = classes - whole, pitch = along_pitch(classes);
    for (size_t j = 0; j < BLOCK; j += VEC_WIDTH) vec_store(terms + j, vec_set(0));
    const int reals = dtype == REAL_DTYPE;
    const size_t bytes = classes * dtype_size(dtype);
    for (size_t r = 0; r < count; r++) {
        const void *from = row_start(&job->in, dtype, first + r);
        real *to = unpacked + r * pitch;
        x[r] = reals ? from : to;
        vec_store(lanes[r], vec_set(0));
        if (with_target) {
            int64_t y = job->target[first + r];
            pass->target_logit[first + r] = y >= 0 ? read_one(from, dtype, y) : (real)-INFINITY;
        }
        if (row_ignored(job, first + r, with_target)) continue;
        vec max = vec_set((real)-INFINITY), max2 = max;
        size_t j = 0;
#define TAKE(at) packed_load(from, dtype, at)
        if (!reals) vec_store(to + classes - VEC_WIDTH, TAKE(classes - VEC_WIDTH));
        for (; j + 2 * VEC_WIDTH <= whole; j += 2 * VEC_WIDTH) {
            vec in = TAKE(j), in2 = TAKE(j + VEC_WIDTH);
            max = vec_max(in, max);
            max2 = vec_max(in2, max2);
            if (!reals) vec_store(to + j, in);
            if (!reals) vec_store(to + j + VEC_WIDTH, in2);
        }
        if (j < whole) {
            vec in = TAKE(j);
            max = vec_max(in, max);
            if (!reals) vec_store(to + j, in);
        }
#undef TAKE
        vec tail = vec_load_partial(x[r] + whole, rest, vec_set((real)-INFINITY));
        max2 = vec_max(tail, max2);
        vec_store(last[r], tail);
        vec_store(lanes[r], vec_max(max, max2));
    }
    group_maxima_of(job, first, count, lanes, &of);
    for (size_t r = 0; r < count; r += VEC_WIDTH)
        if (mask_any(vec_less(vec_set(0), vec_abs(vec_load(of.shift + r))))) return 0;
    /* A vector of rows is folded at once; for one row, as in a small call, that would be all for nothing. */
    const size_t folded = count == 1 ? 1 : (count + VEC_WIDTH - 1) / VEC_WIDTH * VEC_WIDTH;
    for (size_t r = 0; r < folded; r++) {
        vec_store(lanes[r], vec_set(0)); /* from here on ties */
        sums[r] = fold8_zero();
        if (r >= count || row_ignored(job, first + r, with_target)) continue;
        const struct row_lanes row = {.exp = {vec_set(0), vec_set(of.magic[r]), vec_set(of.floor[r])}, .max = vec_set(of.max[r])};
        real *kept = scratch + r * pitch;
        /* Where the next group's row is likely to be, of this job or the next, and where this one goes to. No pass but this
         * one computes for long enough to hide what memory takes. */
        const uintptr_t next = (uintptr_t)row_start(&job->in, dtype, first + r) + count * bytes;
        const uintptr_t to = job->out.data ? (uintptr_t)row_start(&job->out, dtype, first + r) : next;
        fetch(next, bytes);
        fetch(to, bytes);
        veci ties = veci_set(0);
        vec e, zero = vec_set(0);
        for (size_t j = 0; j < pitch; j += VEC_WIDTH) {
            const real *from = j < whole ? x[r] + j : last[r];
            vec_store(terms + j, sum_value(SUM_EXP_BUT_MAX, vec_load(from), zero, zero, &row, NULL, &e, &ties));
            vec_store(kept + j, e);
        }
        sums[r] = tree_sum(terms, classes);
        vec_store(lanes[r], vec_from_bits(ties));
    }
    if (count == 1 && !row_ignored(job, first, with_target)) {
        pass->total[first] = fold8_total(sums[0]);
        pass->ties[first] = (double)(veci_reduce_add(vec_bits(vec_load(lanes[0]))) - ties_beyond(classes, of.max[0]));
    }
    for (size_t r = 0; count > 1 && r < count; r += VEC_WIDTH) {
        mask none = vec_equal(vec_load(of.max + r), vec_set((real)-INFINITY)); /* which the lanes beyond the rows equal as well */
        wide beyond = wide_select(none, wide_set((double)(pitch - classes)), wide_set(0.0));
        wide_store_total(pass->total + first + r, fold8_totals(sums + r));
        wide_store(pass->ties + first + r, wide_sub(rows_count(lanes + r), beyond));
    }
    finish_rows(job, pass, first, count, job->want_log || write == WRITE_LOG_SOFTMAX, job->out.data && write == WRITE_SOFTMAX, with_target);
    for (size_t r = 0; r < count && job->out.data; r++) {
        const size_t i = first + r;
        const struct row_view view = row_of(&job->out, i);
        if (row_ignored(job, i, with_target)) {
            row_zero(&view, classes);
            continue;
        }
        struct row_lanes row = {.max = vec_set(of.max[r])};
        const real *kept = scratch + r * pitch;
        if (write == WRITE_LOG_SOFTMAX) {
            row.offset = vec_set(pass->offset[i]);
            short_write(WRITE_LOG_SOFTMAX, x[r], view.data, dtype, classes, &row);
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
#undef ROW_EXP

#endif
