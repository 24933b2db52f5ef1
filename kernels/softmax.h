/* Log-sum-exp, softmax, log-softmax and cross-entropy, forward and gradient.
 *
 * Passes over a group of rows small enough to stay in cache: the maxima, and the sums of exp_scaled(x_j), along longer
 * rows both at once, by guessing the constants that depend on the maximum; what follows from them for each
 * row (finish.h); and the writing of exp(x_j - max) factor, or (x_j - max) - offset. Where there is room for it,
 * exp_scaled(x_j) is kept, and the last pass only multiplies. */
#ifndef XENT_KERNELS_SOFTMAX_H
#define XENT_KERNELS_SOFTMAX_H

#include "along.h"
#include "finish.h"
#include "job.h"
#include "lanes.h"

/* dtype: the tensor's, which may be known beforehand. */
MATH void *row_start(const struct row_tensor *tensor, const xent_dtype dtype, size_t i)
{
    return (char *)tensor->data + tensor->row[i] * (ptrdiff_t)dtype_size(dtype);
}

MATH struct row_view row_of(const struct row_tensor *tensor, size_t i)
{
    struct row_view view = {NULL, tensor->dtype, tensor->class_stride, 0.0, 0};
    if (tensor->data) view.data = row_start(tensor, tensor->dtype, i);
    return view;
}

MATH struct row_view logits_of(const struct row_job *job, size_t i)
{
    struct row_view view = row_of(&job->in, i);
    if (job->options) view.softcap = job->options->softcap;
    return view;
}

MATH struct row_target target_of(const struct row_job *job)
{
    const struct row_options *options = job->options;
    struct row_target target = {0, 0, 0, vec_set(1), vec_set(0), 0.0};
    if (!options) return target;
    target.has_second = job->in2.data != NULL;
    target.has_weight = options->weight != NULL;
    target.has_amount = target.has_second || options->spread != 0.0;
    target.keep = vec_set((real)options->keep);
    target.spread = vec_set((real)options->spread);
    target.softcap = options->softcap;
    return target;
}

MATH int row_ignored(const struct row_job *job, size_t i, int with_target)
{
    return with_target && job->target[i] == XENT_NO_TARGET;
}

static void row_zero(const struct row_view *row, size_t classes)
{
    for (size_t j = 0; j < classes; j++) write_one(row->data, row->dtype, (ptrdiff_t)j * row->stride, 0);
}

static void load_target_logits(const struct row_job *job, struct row_pass *pass, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        pass->target_logit[i] = (real)-INFINITY;
        if (job->target[i] < 0) continue;
        struct row_view in = logits_of(job, i);
        real x = read_one(in.data, in.dtype, (ptrdiff_t)job->target[i] * in.stride);
        if (in.softcap != 0.0) softcap_all(&x, 1, in.softcap);
        pass->target_logit[i] = x;
    }
}

/* The target's own gradient, and the zeros of ignored rows, over what was written to all. */
static void store_target_gradients(const struct row_job *job, const struct row_pass *pass, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        struct row_view out = row_of(&job->out, i), out2 = row_of(&job->out2, i);
        if (job->target[i] == XENT_NO_TARGET) {
            if (out.data) row_zero(&out, job->classes);
            if (out2.data) row_zero(&out2, job->classes);
        } else if (job->target[i] >= 0 && out.data)
            write_one(out.data, out.dtype, (ptrdiff_t)job->target[i] * out.stride, pass->target_gradient[i]);
    }
}

/* Which sums over a distribution the options ask for. */
MATH int wants_gap(const struct row_job *job, int with_target)
{
    return job->options && (job->in2.data || (with_target && job->options->spread != 0.0));
}

/* -- Along the rows -- */

/* Rows that can be read, and written, where they lie. */
MATH int tensor_is_plain(const struct row_tensor *tensor) { return tensor->dtype == REAL_DTYPE && tensor->class_stride == 1; }

/* What is kept of a group's rows between the passes, if it fits: exp_scaled, where it can't be kept in the output, and
 * rows that have to be unpacked or softcapped. */
#define SCRATCH (128 * 1024 / sizeof(real))

/* No options, nothing given, and nothing out of the ordinary wanted. */
MATH int job_is_bare(const struct row_job *job)
{
    return !job->options && !job->have_state && !job->have_max && !job->max_only && !job->want_argmax;
}

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

/* Rows of a group along the row: as many as keep logits and gradients in the L2 cache. Between its passes little comes
 * from memory, so the longer these are the better: with 32 KiB of logits a group 4096x1000 takes 1.2 times as
 * long, with 16 KiB 2 times. */
#define GROUP_ROWS XENT_ROWS
#define GROUP_BYTES (256 * 1024)
#define GROUP_CHUNKS (GROUP_BYTES / BLOCK / sizeof(real) + GROUP_ROWS) /* one a block, and each row's last */
#define SHORT_ROWS 16 /* of softmax_short */

/* Never 0. */
MATH size_t along_pitch(size_t classes) { return classes ? (classes + VEC_WIDTH - 1) / VEC_WIDTH * VEC_WIDTH : VEC_WIDTH; }
/* Whether what is written goes past the caches; and whether exp_scaled can be kept in the output, where log-softmax is
 * written over it. */
MATH int out_streams(const struct row_job *job)
{
    return job->large && job->out.data && job->out.data != job->in.data && tensor_is_plain(&job->out);
}
MATH int out_keeps(const struct row_job *job)
{
    return !job->large && job->out.data && job->out.data != job->in.data && tensor_is_plain(&job->out);
}

/* Where a row of 16 bits that is too long for the scratch keeps exp_scaled of half its classes: in the output, aligned, to be written over from
 * the first on, so that what is written never reaches what is not yet read. Or nothing. (One lane wide, that would be an access to what
 * is of another type.) */
MATH struct kept half_kept(const struct row_job *job, size_t i)
{
    if (VEC_WIDTH == 1 || !dtype_is_half(job->out.dtype) || job->out.class_stride != 1 || job->out.data == job->in.data)
        return (struct kept){NULL, 0};
    const uintptr_t aligned = ((uintptr_t)row_start(&job->out, job->out.dtype, i) + 63) / 64 * 64;
    return (struct kept){(real *)aligned, (job->classes - 32) / 2 / BLOCK * BLOCK};
}

MATH size_t along_group(const struct row_job *job)
{
    const size_t most = GROUP_BYTES / sizeof(real) / (job->classes + 1), fit = SCRATCH / along_pitch(job->classes);
    const size_t group = most > GROUP_ROWS ? GROUP_ROWS : most > 1 ? most : 1;
    if (rows_are_short(job)) return SHORT_ROWS;
    /* Rows that are unpacked or softcapped are so once, in the scratch. Where nothing is written, taking a few exponentials
     * again is cheaper than a small group. */
    const int large = tensor_is_plain(&job->in) && !(job->options && job->options->softcap != 0.0) && (!job->out.data || out_keeps(job));
    return large || fit == 0 || group < fit ? group : fit;
}

/* What follows from the rows' maxima, for a group. */
struct group_maxima {
    real max[XENT_ROW_SLOTS], shift[XENT_ROW_SLOTS], magic[XENT_ROW_SLOTS], floor[XENT_ROW_SLOTS], unit[XENT_ROW_SLOTS];
};

/* From the rows' lanes' maxima, with room for whole vectors of rows; NULL: the maxima are given. */
MATH void group_maxima_of(struct row_job *job, size_t first, size_t count, real (*lanes)[VEC_WIDTH], struct group_maxima *of)
{
    for (size_t r = count; lanes && r % VEC_WIDTH; r++) vec_store(lanes[r], vec_set(0));
    for (size_t r = 0; r < count; r += VEC_WIDTH) {
        vec unused, max = lanes ? rows_max(lanes + r) : vec_load_double(job->max + first + r);
        struct exp_row exp = exp_row_of(max);
        if (lanes) vec_store_double(job->max + first + r, max);
        vec_store(of->max + r, max);
        vec_store(of->shift + r, exp.shift);
        vec_store(of->magic + r, exp.magic);
        vec_store(of->floor + r, exp.floor);
        vec_store(of->unit + r, exp_row_unit(max, exp, &unused));
    }
}
#define ROW_EXP(r) {vec_set(of.shift[r]), vec_set(of.magic[r]), vec_set(of.floor[r])}

/* A guess at a row's constants, and those of its group, from its first block. */
MATH struct exp_row guess_of(const struct row_view *row, size_t classes, real *floor)
{
    real tile[BLOCK], lanes[VEC_WIDTH];
    size_t count = block_count(classes, 0);
    real max = vec_reduce_max(run_max(row_read(row, 0, count, tile), count));
    int near = max < EXP_SHIFT_FROM && max > -EXP_SHIFT_FROM;
    struct exp_row exp = exp_row_of(vec_set(near ? max : 0));
    vec_store(lanes, exp.floor);
    *floor = lanes[0];
    return exp;
}

/* plain: no options, nothing given, and the rows packed reals, or to be unpacked. Then, what the
 * other rows ask for is not looked at. */
MATH void softmax_along(struct row_job *job, struct row_pass *pass, size_t first, size_t count,
                        enum write_term write, int with_target, const int plain)
{
    _Alignas(64) real scratch[SCRATCH], lanes[GROUP_ROWS][VEC_WIDTH], chunks[GROUP_CHUNKS][VEC_WIDTH];
    total sums[STRETCH_BLOCKS];
    void *x[GROUP_ROWS];
    struct kept kept[GROUP_ROWS];
    struct group_maxima of;
    const size_t classes = job->classes, pitch = along_pitch(classes), row_chunks = chunk_count(classes), blocks = (classes + BLOCK - 1) / BLOCK;
    struct row_view like = logits_of(job, first);
    const int given = !plain && (job->have_state || job->have_max), packed = view_is_plain(&like), fits = count * pitch <= SCRATCH;
    const int want_entropy = !plain && job->options && job->options->want_entropy, want_gap = !plain && wants_gap(job, with_target);
    const int want_out2 = !plain && job->out2.data, want_sums = plain || !(job->have_state || job->max_only);
    const int softmax = job->out.data && write == WRITE_SOFTMAX, options = !plain && job->options;
    const int guess = !given && want_sums && classes > BLOCK && classes <= STRETCH, unpack = !packed && fits && (options || !guess);
    const int stream = out_streams(job);
    struct row_operands from = {.w = plain_view(NULL)};
    struct row_lanes row = {.max = vec_set(0)};
    struct exp_row guessed = row.exp;
    real guessed_floor = 0;
    int have_guess = 0;
    uint64_t holding[GROUP_ROWS]; /* 0: the guess was wrong */
    struct folds folds;
    folds_begin(&folds);
    if (!plain) from.w = weights_of(job), from.target = target_of(job);
    if (with_target) load_target_logits(job, pass, first, count);
    if (unpack || (plain && packed)) like = plain_view(NULL);
    from.x = like;
    for (size_t r = 0; r < count; r++) {
        x[r] = row_of(&job->in, first + r).data;
        vec_store(lanes[r], vec_set(0));
        if (row_ignored(job, first + r, with_target)) continue;
        kept[r] = (struct kept){NULL, 0};
        if (!options && out_keeps(job)) kept[r] = (struct kept){row_of(&job->out, first + r).data, classes};
        else if (!options && fits && (guess || softmax)) kept[r] = (struct kept){scratch + r * pitch, classes};
        else if (!options && softmax) kept[r] = half_kept(job, first + r);
        if (unpack) {
            struct row_view in = logits_of(job, first + r);
            x[r] = scratch + r * pitch;
            view_read(&in, 0, classes, x[r]);
        }
        from.x.data = x[r];
        if (guess) {
            if (!have_guess) guessed = guess_of(&from.x, classes, &guessed_floor);
            have_guess = 1;
            const int fetched = kept[r].count == classes && job->out.data && job->out.class_stride == 1;
            const void *next = fetched ? row_of(&job->out, first + r).data : NULL;
            vec_store(lanes[r], along_exp(&from.x, kept[r], next, classes, &guessed, job->large, chunks + r * row_chunks, sums + r * blocks,
                                          &folds));
        } else if (!given) vec_store(lanes[r], along_max(&from.x, classes));
    }
    folds_end(&folds);
    group_maxima_of(job, first, count, given ? NULL : lanes, &of);
    /* Of all rows before the first is summed again, which would wait for it, and the next one in turn. */
    for (size_t r = 0; guess && r < count; r++) {
        const int right = !row_ignored(job, first + r, with_target) && of.shift[r] == 0 && of.floor[r] == guessed_floor;
        holding[r] = right ? chunks_holding(chunks + r * row_chunks, classes, vec_set(of.max[r])) : 0;
    }
    for (size_t r = 0; r < count; r++) {
        size_t i = first + r;
        if (row_ignored(job, i, with_target)) continue;
        row = (struct row_lanes){.exp = ROW_EXP(r), .max = vec_set(of.max[r])};
        from.x = like;
        from.x.data = x[r];
        if (!plain && job->want_argmax) job->argmax[i] = along_argmax(&from.x, classes, of.max[r]);
        if (want_gap) {
            from.x2 = row_of(&job->in2, i);
            pass->gap[i] = along_sum(SUM_GAP, &from, classes, &row);
        }
        if (want_gap && job->in2.data) pass->mass[i] = along_sum(SUM_MASS, &from, classes, &row);
        if (want_entropy) pass->entropy[i] = along_sum(SUM_ENTROPY, &from, classes, &row);
        if (!want_sums) continue;
        from.x.shift = of.shift[r];
        row.max = vec_sub(row.max, row.exp.shift);
        row.exp.shift = vec_set(0);
        const double shifter = bins_shifter(of.unit[r]);
        if (guess && holding[r]) {
            pass->bins[i] = (struct bins){{0}};
            pass->ties[i] = along_settle(&from.x, kept[r], classes, &row, of.max[r], holding[r], sums + r * blocks, shifter,
                                         &pass->bins[i]);
            pass->total[i] = bins_total(&pass->bins[i]);
        } else
            pass->total[i] = along_exp_sum(&from.x, kept[r], classes, &row, of.max[r] - of.shift[r], shifter, chunks + r * row_chunks,
                                           sums + r * blocks, &pass->ties[i], &pass->bins[i]);
    }
    finish_rows(job, pass, first, count, job->want_log || write == WRITE_LOG_SOFTMAX, softmax, with_target);
    for (size_t r = 0; r < count && (job->out.data || want_out2); r++) {
        size_t i = first + r;
        if (row_ignored(job, i, with_target)) continue;
        row = (struct row_lanes){ROW_EXP(r), vec_set(of.max[r]), vec_set(pass->lift[i]), vec_set(pass->factor[i]), vec_set(pass->offset[i]),
                                 vec_set(pass->top[i]), vec_set(pass->peak[i]), vec_set(0)};
        struct row_view out = row_of(&job->out, i);
        from.x = like;
        from.x.data = x[r];
        if (!plain) from.x2 = row_of(&job->in2, i);
        if (want_out2) {
            struct row_view out2 = row_of(&job->out2, i);
            row.amount = vec_set(pass->target_amount[i]);
            along_write(WRITE_TARGET_GRADIENT, &from, &out2, classes, &row, 0);
        }
        if (!job->out.data) continue;
        if (write == WRITE_LOG_SOFTMAX) along_write(WRITE_LOG_SOFTMAX, &from, &out, classes, &row, stream);
        else if (options) {
            row.amount = vec_set(pass->amount[i]);
            along_write(WRITE_SOFTMAX_LESS, &from, &out, classes, &row, 0);
        } else {
            const size_t held = want_sums ? kept[r].count : 0;
            const int lifted = pass->lift[i] != 1;
            struct row_view beyond = from.x;
            beyond.data = view_at(&from.x, held);
            beyond.shift = of.shift[r];
            from.x = plain_view(kept[r].exps);
            if (held && !lifted) along_write(WRITE_SCALED, &from, &out, held, &row, stream);
            else if (held) along_write(WRITE_LIFTED, &from, &out, held, &row, 0);
            if (held == classes) continue;
            from.x = beyond;
            out.data = view_at(&out, held);
            row.exp.shift = vec_set(0);
            if (!lifted) along_write(WRITE_SOFTMAX, &from, &out, classes - held, &row, stream);
            else along_write(WRITE_SOFTMAX_LIFTED, &from, &out, classes - held, &row, 0);
        }
    }
    if (stream) stream_end();
    if (with_target) store_target_gradients(job, pass, first, count);
}

static void softmax_along_plain(struct row_job *job, struct row_pass *pass, size_t first, size_t count, enum write_term write, int with_target)
{
    softmax_along(job, pass, first, count, write, with_target, 1);
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

static void softmax_along_any(struct row_job *job, struct row_pass *pass, size_t first, size_t count, enum write_term write, int with_target)
{
    softmax_along(job, pass, first, count, write, with_target, 0);
}

/* Of the rows next to go along: as a group. Returns their number. */
static size_t softmax_along_group(struct row_job *job, struct row_pass *pass, size_t first, enum write_term write, int with_target)
{
    const size_t group = along_group(job), left = job->rows - first, count = left < group ? left : group;
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

/* -- Rows in the lanes -- */

/* Of wide rows: apart, so that what these loops need is not set up for narrow ones. */
static __attribute__((noinline)) void lanes_exp_sum(const struct lane_args *a, size_t classes, int vectors, int far, wide sum[GROUP],
                                                    veci ties[GROUP])
{
    if (far) lanes_sum(SUM_EXP_BUT_MAX, a, classes, vectors, VEC_WIDTH, 1, sum, ties);
    else lanes_sum(SUM_EXP_BUT_MAX, a, classes, vectors, VEC_WIDTH, 0, sum, ties);
}

static __attribute__((noinline)) void lanes_exp_sum_partial(const struct lane_args *a, size_t classes, size_t lanes, wide sum[GROUP], veci ties[GROUP])
{
    lanes_sum(SUM_EXP_BUT_MAX, a, classes, 1, lanes, 0, sum, ties);
}

/* Row i of a view. */
MATH real *lane_row(struct lane_view view, size_t i)
{
    return view.data + (ptrdiff_t)(i / VEC_WIDTH) * view.vector_step + i % VEC_WIDTH;
}

MATH void lanes_target_logits(const struct row_job *job, struct row_pass *pass, size_t first, size_t count, struct lane_view x)
{
    for (size_t v = 0; v < count; v += VEC_WIDTH, x.data += x.vector_step)
        for (size_t i = v; i < count && i < v + VEC_WIDTH; i++) {
            int64_t y = job->target[first + i];
            pass->target_logit[first + i] = y >= 0 ? x.data[(ptrdiff_t)(i - v) + (ptrdiff_t)y * x.stride] : (real)-INFINITY;
        }
}

static void lanes_zero(struct lane_view view, size_t i, size_t classes)
{
    for (size_t j = 0; view.data && j < classes; j++) lane_row(view, i)[(ptrdiff_t)j * view.stride] = 0;
}

struct lane_outputs {
    struct lane_view out, out2; /* data NULL: not wanted */
};

/* The target's own gradient, and the zeros of ignored rows, over what was written to all. */
MATH void lanes_target_gradients(const struct row_job *job, const struct row_pass *pass, size_t first, size_t count,
                                 const struct lane_outputs *to)
{
    struct lane_view out = to->out;
    for (size_t v = 0; out.data && v < count; v += VEC_WIDTH, out.data += out.vector_step)
        for (size_t i = v; i < count && i < v + VEC_WIDTH; i++) {
            int64_t y = job->target[first + i];
            if (y >= 0) out.data[(ptrdiff_t)(i - v) + (ptrdiff_t)y * out.stride] = pass->target_gradient[first + i];
        }
    for (size_t i = 0; i < count && !job->all_have_targets; i++)
        if (job->target[first + i] == XENT_NO_TARGET) {
            lanes_zero(to->out, i, job->classes);
            lanes_zero(to->out2, i, job->classes);
        }
}

/* Room for what is kept of strided rows between the passes, and the least that one class must bring of them, in bytes. */
#define DIRECT_TILE (128 * 1024 / sizeof(real))
#define DIRECT_BYTES 128

/* vectors whole vectors of rows from row first on, or one with the given number of lanes. out
 * may be x. tile: room for all of them, where they and their exponentials are kept, or NULL: strided classes share few sets of a
 * cache, which loses them from one pass to the next. */
MATH void softmax_lanes(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x, real *tile,
                        struct lane_view x2, const struct lane_outputs *to, const int vectors, const size_t lanes,
                        enum write_term write, int with_target)
{
    const int options = vectors == 1 && lanes == VEC_WIDTH && job->options;
    const size_t classes = job->classes;
    const struct lane_view none = {NULL, 0, 0}, copy = {tile, vectors * VEC_WIDTH, VEC_WIDTH};
    const int far = vectors == GROUP && !tile && classes > DIRECT_TILE * sizeof(real) / DIRECT_BYTES;
    int keep = write == WRITE_SOFTMAX && to->out.data && !job->have_state && !job->options;
    /* options come with whole single vectors only: see rows_are_direct */
    int want_entropy = options && job->options->want_entropy, want_gap = options && wants_gap(job, with_target);
    real nowhere[VEC_WIDTH];
    struct row_lanes row[GROUP];
    struct row_target target = target_of(job);
    struct row_view weights = weights_of(job);
    struct lane_args a = {x, x2, &weights, {nowhere, 0, 0}, row, pass->bins + first, &target};
    const size_t rows = job->rows - first < (size_t)vectors * lanes ? job->rows - first : (size_t)vectors * lanes;
    vec max[GROUP];
    wide sum[GROUP];
    veci ties[GROUP];
    if (with_target) lanes_target_logits(job, pass, first, rows, x);
#define SLOT(v) (first + (size_t)(v) * VEC_WIDTH)
    if (keep) a.store = tile ? copy : to->out;
    if (job->have_state || job->have_max)
        UNROLL for (int v = 0; v < vectors; v++) max[v] = vec_load_double(job->max + SLOT(v));
    else if (tile) lanes_max(x, copy, classes, vectors, lanes, 0, max);
    else if (far) lanes_max(x, none, classes, vectors, lanes, 1, max);
    else lanes_max(x, none, classes, vectors, lanes, 0, max);
    if (tile) a.x = copy;
    UNROLL for (int v = 0; v < vectors; v++) {
        row[v].exp = exp_row_of(max[v]);
        row[v].max = max[v];
        vec_store_double(job->max + SLOT(v), max[v]);
    }
    if (want_gap) {
        lanes_sum_any(SUM_GAP, &a, classes, sum);
        wide_store_total(pass->gap + first, sum[0]);
    }
    if (want_gap && x2.data) {
        lanes_sum_any(SUM_MASS, &a, classes, sum);
        wide_store_total(pass->mass + first, sum[0]);
    }
    if (want_entropy) {
        lanes_sum_any(SUM_ENTROPY, &a, classes, sum);
        wide_store_total(pass->entropy + first, sum[0]);
    }
    if (!job->have_state && !job->max_only) {
        if (classes - 1 < TILE_CLASSES / (size_t)vectors) lanes_sum_narrow(SUM_EXP_BUT_MAX, &a, classes, vectors, lanes, sum, ties);
        else if (lanes == VEC_WIDTH) lanes_exp_sum(&a, classes, vectors, far, sum, ties);
        else lanes_exp_sum_partial(&a, classes, lanes, sum, ties);
        UNROLL for (int v = 0; v < vectors; v++) {
            wide_store_total(pass->total + SLOT(v), sum[v]);
            wide_store(pass->ties + SLOT(v), wide_from_int(ties[v]));
        }
    }
    finish_rows(job, pass, first, (size_t)vectors * VEC_WIDTH, job->want_log || write == WRITE_LOG_SOFTMAX,
                to->out.data && write == WRITE_SOFTMAX, with_target);
    if (!to->out.data && !to->out2.data) return;
    UNROLL for (int v = 0; v < vectors; v++) {
        row[v].lift = vec_load(pass->lift + SLOT(v));
        row[v].factor = vec_load(pass->factor + SLOT(v));
        row[v].offset = vec_load(pass->offset + SLOT(v));
        row[v].top = vec_load(pass->top + SLOT(v));
        row[v].peak = vec_load(pass->peak + SLOT(v));
        row[v].amount = vec_load(pass->target_amount + SLOT(v));
    }
    if (options && to->out2.data) lanes_write(WRITE_TARGET_GRADIENT, &a, to->out2, classes, vectors, lanes, 0);
    UNROLL for (int v = 0; v < vectors; v++) row[v].amount = vec_load(pass->amount + SLOT(v));
#undef SLOT
    if (keep) {
        a.x = a.store;
        vec lift = vec_set(1);
        UNROLL for (int v = 0; v < vectors; v++) lift = vec_min(row[v].lift, lift);
        if (mask_any(vec_less(lift, vec_set(1)))) lanes_write(WRITE_LIFTED, &a, to->out, classes, vectors, lanes, 0);
        else if (far) lanes_write(WRITE_SCALED, &a, to->out, classes, vectors, lanes, 1);
        else lanes_write(WRITE_SCALED, &a, to->out, classes, vectors, lanes, 0);
    } else if (to->out.data) {
        if (write == WRITE_LOG_SOFTMAX && far) lanes_write(WRITE_LOG_SOFTMAX, &a, to->out, classes, vectors, lanes, 1);
        else if (write == WRITE_LOG_SOFTMAX) lanes_write(WRITE_LOG_SOFTMAX, &a, to->out, classes, vectors, lanes, 0);
        else if (options) lanes_write(WRITE_SOFTMAX_LESS, &a, to->out, classes, vectors, lanes, 0);
        else lanes_write(WRITE_SOFTMAX_LIFTED, &a, to->out, classes, vectors, lanes, 0);
    }
    if (with_target) lanes_target_gradients(job, pass, first, rows, to);
}

/* The sizes, of which each is compiled once. */
static void softmax_group(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x, real *tile,
                          struct lane_view x2, const struct lane_outputs *to, enum write_term write, int with_target)
{
    softmax_lanes(job, pass, first, x, tile, x2, to, GROUP, VEC_WIDTH, write, with_target);
}

static void softmax_half_group(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x, real *tile,
                               struct lane_view x2, const struct lane_outputs *to, enum write_term write, int with_target)
{
    softmax_lanes(job, pass, first, x, tile, x2, to, GROUP / 2, VEC_WIDTH, write, with_target);
}

static void softmax_vector(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x, struct lane_view x2,
                           const struct lane_outputs *to, enum write_term write, int with_target)
{
    softmax_lanes(job, pass, first, x, NULL, x2, to, 1, VEC_WIDTH, write, with_target);
}

static void softmax_partial(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x, struct lane_view x2,
                            const struct lane_outputs *to, size_t lanes, enum write_term write, int with_target)
{
    softmax_lanes(job, pass, first, x, NULL, x2, to, 1, lanes, write, with_target);
}

MATH struct lane_view positions_of(const struct row_tensor *tensor, size_t i)
{
    if (!tensor->data) return (struct lane_view){NULL, 0, 0};
    return (struct lane_view){(real *)tensor->data + tensor->row[i], tensor->class_stride, VEC_WIDTH};
}

/* Positions next to each other in memory, of this precision. tile: room for group vectors of them, or NULL. */
MATH void softmax_positions(struct row_job *job, struct row_pass *pass, real *tile, const size_t group, enum write_term write, int with_target)
{
    for (size_t i = 0, next; i < job->rows; i = next) {
        size_t left = job->rows - i;
        struct lane_view x = positions_of(&job->in, i), x2 = positions_of(&job->in2, i);
        struct lane_outputs to = {positions_of(&job->out, i), positions_of(&job->out2, i)};
        if (left >= group * VEC_WIDTH) {
            next = i + group * VEC_WIDTH;
            (group == GROUP ? softmax_group : softmax_half_group)(job, pass, i, x, tile, x2, &to, write, with_target);
        } else if (left >= VEC_WIDTH) {
            next = i + VEC_WIDTH;
            softmax_vector(job, pass, i, x, x2, &to, write, with_target);
        } else {
            next = job->rows;
            softmax_partial(job, pass, i, x, x2, &to, left, write, with_target);
        }
    }
}

/* Apart, lest everybody has the tile on the stack. */
static __attribute__((noinline)) void softmax_positions_kept(struct row_job *job, struct row_pass *pass, size_t group, enum write_term write,
                                                             int with_target)
{
    _Alignas(64) real tile[DIRECT_TILE];
    softmax_positions(job, pass, tile, group, write, with_target);
}

/* Narrow rows, and dense ones, stay in cache where they lie. */
static void softmax_direct(struct row_job *job, struct row_pass *pass, enum write_term write, int with_target)
{
    const size_t fit = DIRECT_TILE / VEC_WIDTH / (job->classes + 1), group = fit >= GROUP ? GROUP : GROUP / 2;
    const int dense = job->in.class_stride == (ptrdiff_t)job->rows && job->out.class_stride == (ptrdiff_t)job->rows;
    const int keep = job->out.data && job_is_bare(job) && job->classes > TILE_CLASSES / GROUP && !dense;
    if (keep && fit >= group && group * VEC_WIDTH * sizeof(real) >= DIRECT_BYTES) softmax_positions_kept(job, pass, group, write, with_target);
    else softmax_positions(job, pass, NULL, GROUP, write, with_target);
}

/* Rows anywhere, of at most TILE_CLASSES classes, through tiles: a vector of rows each. Returns
 * the number of rows taken, which is more than a vector's where their tiles take no more room. Apart, so that its tiles do
 * not stand on the stack of the ways along. */
static __attribute__((noinline)) size_t softmax_tiled(struct row_job *job, struct row_pass *pass, size_t first, enum write_term write,
                            int with_target)
{
    real tile[TILE_CLASSES * VEC_WIDTH], tile2[TILE_CLASSES * VEC_WIDTH], tile3[TILE_CLASSES * VEC_WIDTH];
    const size_t left = job->rows - first, size = job->classes * VEC_WIDTH;
    const int group = left >= GROUP * VEC_WIDTH && job->classes <= TILE_CLASSES / GROUP && !job->options;
    const size_t count = group ? GROUP * VEC_WIDTH : left < VEC_WIDTH ? left : VEC_WIDTH;
    struct lane_view none = {NULL, 0, 0}, x = {tile, VEC_WIDTH, (ptrdiff_t)size}, x2 = none;
    struct lane_outputs to = {job->out.data ? x : none, none};
    if (job->out2.data) to.out2 = (struct lane_view){tile3, VEC_WIDTH, VEC_WIDTH};
    for (size_t i = 0; i < count; i += VEC_WIDTH)
        tile_read(&job->in, first + i, group ? VEC_WIDTH : count, job->classes,
                  job->options ? job->options->softcap : 0.0, tile + i / VEC_WIDTH * size);
    if (job->in2.data) {
        tile_read(&job->in2, first, count, job->classes, 0.0, tile2);
        x2 = (struct lane_view){tile2, VEC_WIDTH, VEC_WIDTH};
    }
    if (group) softmax_group(job, pass, first, x, NULL, x2, &to, write, with_target);
    else softmax_vector(job, pass, first, x, x2, &to, write, with_target);
    for (size_t i = 0; job->out.data && i < count; i += VEC_WIDTH)
        tile_write(&job->out, first + i, group ? VEC_WIDTH : count, job->classes, tile + i / VEC_WIDTH * size);
    if (job->out2.data) tile_write(&job->out2, first, count, job->classes, tile3);
    return count;
}

/* Whether a tile of count rows is cheaper than the rows one by one: a tile takes as
 * many exponentials as there are classes, however few its rows. */
MATH int tile_pays(size_t count, size_t classes)
{
    return classes <= TILE_CLASSES && count * (classes / VEC_WIDTH + 4) >= classes;
}

/* Whether the lanes can take positions from where they lie. */
MATH int rows_are_direct(const struct row_job *job)
{
    const struct row_tensor *tensors[] = {&job->in, &job->in2, &job->out, &job->out2};
    if (!job->unit_rows || job->want_argmax || job->options) return 0;
    for (int t = 0; t < 4; t++)
        if (tensors[t]->data && tensors[t]->dtype != REAL_DTYPE) return 0;
    return 1;
}

/* Where they are wanted: the sums in the form in which parts of rows can be added. */
static void deliver_sums(struct row_job *job, struct row_pass *pass)
{
    real units[VEC_WIDTH];
    vec unused;
    for (size_t i = 0; job->sums && i < job->rows; i++) {
        if (job->classes <= BLOCK) {
            vec max = vec_set((real)job->max[i]);
            vec_store(units, exp_row_unit(max, exp_row_of(max), &unused));
            pass->bins[i] = (struct bins){{0}};
            bins_add_total(&pass->bins[i], pass->total[i], bins_shifter(units[0]));
        }
        job->sums[i].max = job->max[i];
        job->sums[i].ties = pass->ties[i];
        memcpy(job->sums[i].parts, pass->bins[i].part, sizeof pass->bins[i].part);
    }
}

static void softmax_job(struct row_job *job, enum write_term write, int with_target)
{
    struct row_pass pass;
    const size_t slots = job->rows + VEC_WIDTH;
    memset(pass.total, 0, slots * sizeof *pass.total);
    memset(pass.ties, 0, slots * sizeof *pass.ties);
    memset(pass.target_logit, 0, slots * sizeof *pass.target_logit);
    if (rows_are_direct(job)) {
        softmax_direct(job, &pass, write, with_target);
        deliver_sums(job, &pass);
        return;
    }
    for (size_t i = 0, count; i < job->rows; i += count) {
        size_t left = job->rows - i;
        count = left < VEC_WIDTH ? left : VEC_WIDTH;
        int along = rows_are_short(job) && job->classes > 40; /* faster than a tile */
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
    for (size_t i = 0; i < job->rows; i++) {
        if (!job->classes) job->entropy[i] = 0.0; /* a sum of no term */
        if (job->target[i] == XENT_NO_TARGET) {
            job->loss[i] = job->z_loss[i] = job->entropy[i] = 0.0;
            job->lse[i] = job->max[i] = -INFINITY;
            job->rest[i] = -1.0;
            job->argmax[i] = -1;
        }
    }
}

#endif
