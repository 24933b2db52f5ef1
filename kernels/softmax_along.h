/* Log-sum-exp, softmax, log-softmax and cross-entropy along the rows, a group at a time: any rows of any
 * length. See softmax.h. */
#ifndef XENT_KERNELS_SOFTMAX_ALONG_H
#define XENT_KERNELS_SOFTMAX_ALONG_H

#include "along.h"
#include "rows.h"

/* What is kept of a group's rows between the passes, if it fits: exp_scaled, where it can't be kept in the output, and
 * rows that have to be unpacked or softcapped. */
#define SCRATCH (128 * 1024 / sizeof(real))

/* Rows of a group along the row: as many as keep logits and gradients in the L2 cache. Between its passes little comes
 * from memory, so the longer these are the better: with 32 KiB of logits a group 4096x1000 takes 1.2 times as
 * long, with 16 KiB 2 times. */
#define GROUP_ROWS XENT_ROWS
#define GROUP_BYTES (256 * 1024)
#define GROUP_CHUNKS (GROUP_BYTES / BLOCK / sizeof(real) + GROUP_ROWS) /* one a block, and each row's last */

/* Never 0. */
MATH size_t along_pitch(size_t classes) { return classes ? (classes + VEC_WIDTH - 1) / VEC_WIDTH * VEC_WIDTH : VEC_WIDTH; }
/* An output of reals that lie side by side, and not over the logits. */
MATH int out_is_apart(const struct row_job *job)
{
    return job->out.data && job->out.data != job->in.data && tensor_is_plain(&job->out);
}
/* Whether what is written goes past the caches. Softmax that is too long for the scratch has its exponentials taken twice then, which is worth it
 * for eight lanes and more: with four it takes up to 1.7 times as long. */
MATH int out_streams(const struct row_job *job, enum write_term write)
{
    const int once = write == WRITE_LOG_SOFTMAX || along_pitch(job->classes) <= SCRATCH, pays = VEC_WIDTH >= 8 || (VEC_WIDTH > 1 && once);
    return pays && job->large && out_is_apart(job);
}
/* Whether exp_scaled can be kept in the output, where log-softmax is written over it. */
MATH int out_keeps(const struct row_job *job, enum write_term write)
{
    return !out_streams(job, write) && out_is_apart(job);
}

/* Were all logits of a group fetched by the pass that takes their exponentials, nothing would be read while gradients are written. So half of them are
 * fetched while the group before is written, and the others while the exponentials of the first half are taken.
 * x: the group's first logit; halves: of rows, from there on. */
MATH struct ahead ahead_half(const void *x, size_t classes, size_t halves)
{
    return (struct ahead){(uintptr_t)x + AHEAD + halves * classes * sizeof(real) / 2, BLOCK * sizeof(real) / 2, 1};
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

/* What follows from the rows' maxima, for a group. */
struct group_maxima {
    real max[XENT_ROW_SLOTS], shift[XENT_ROW_SLOTS], magic[XENT_ROW_SLOTS], floor[XENT_ROW_SLOTS], unit[XENT_ROW_SLOTS], top[XENT_ROW_SLOTS];
};

/* From the rows' lanes' maxima, with room for whole vectors of rows; NULL: the maxima are given. binned: unit is wanted. */
MATH void group_maxima_of(struct row_job *job, size_t first, size_t count, real (*lanes)[VEC_WIDTH], const int binned, struct group_maxima *of)
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
        if (binned) vec_store(of->unit + r, exp_row_unit(max, exp, &unused));
        vec_store(of->top + r, exp_scaled(max, exp));
    }
}
#define GROUP_EXP(of, r) {vec_set((of).shift[r]), vec_set((of).magic[r]), vec_set((of).floor[r])}

/* A guess at a row's constants, and those of its group, from its first block. */
MATH struct exp_row guess_of(const struct row_view *row, size_t classes, real *floor)
{
    real tile[BLOCK], lanes[VEC_WIDTH];
    size_t count = block_count(classes, 0);
    real max = vec_reduce_max(run_max(row_read(row, 0, count, tile), count));
    struct exp_row exp = exp_row_of(exp_row_rest(vec_set(max)));
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
    const int guess = !given && want_sums && !job->sums && classes > BLOCK && classes <= STRETCH, unpack = !packed && fits && (options || !guess);
    const int stream = out_streams(job, write), halves = stream && packed && rows_follow(&job->in, first, count, classes);
    struct ahead ahead = {0, 0, 0}, *const past = stream ? &ahead : NULL;
    struct row_operands from = {.w = plain_view(NULL)};
    struct row_lanes row = {.max = vec_set(0)};
    struct exp_row guessed = row.exp;
    real guessed_floor = 0;
    int have_guess = 0;
    int right[GROUP_ROWS]; /* the guess */
    uint64_t holding[GROUP_ROWS]; /* of rows that are not spread */
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
        if (!options && out_keeps(job, write)) kept[r] = (struct kept){row_of(&job->out, first + r).data, classes};
        else if (!options && !unpack && fits && (guess || softmax)) kept[r] = (struct kept){scratch + r * pitch, classes};
        else if (!options && !unpack && softmax) kept[r] = half_kept(job, first + r);
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
            if (halves) ahead = ahead_half(x[0], classes, count + r);
            else if (job->large || dtype_is_half(like.dtype))
                ahead = (struct ahead){(uintptr_t)x[r] + (job->large ? AHEAD : HALVES_AHEAD), BLOCK * dtype_size(like.dtype), 0};
            vec_store(lanes[r], along_exp(&from.x, kept[r], next, classes, &guessed, &ahead, chunks + r * row_chunks, sums + r * blocks,
                                          &folds));
        } else if (!given) vec_store(lanes[r], along_max(&from.x, classes));
    }
    folds_end(&folds);
    group_maxima_of(job, first, count, given ? NULL : lanes, 1, &of);
    for (size_t r = 0; guess && r < count; r++) {
        right[r] = !row_ignored(job, first + r, with_target) && of.shift[r] == 0 && of.floor[r] == guessed_floor;
        if (!right[r]) continue;
        struct bins bins = {{0}};
        along_bin(sums + r * blocks, classes, BINS_WHOLE_SHIFTER, &bins);
        const int spread = take_spread(pass, first + r, bins_total(&bins), of.top[r], classes);
        /* Looked up for all rows before the first is summed again, which would wait for it, and the next one in turn. */
        holding[r] = spread ? 0 : chunks_holding(chunks + r * row_chunks, classes, vec_set(of.max[r]));
    }
    for (size_t r = 0; r < count; r++) {
        size_t i = first + r;
        const int summed = guess && right[r];
        if (row_ignored(job, i, with_target) || (plain && summed && !holding[r])) continue;
        row = (struct row_lanes){.exp = GROUP_EXP(of, r), .max = vec_set(of.max[r])};
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
        if (!summed) {
            struct row_sums found = along_exp_sum(&from.x, kept[r], classes, &row, of.max[r] - of.shift[r], shifter,
                                                  chunks + r * row_chunks, sums + r * blocks);
            take_sums(job, pass, i, &found, of.top[r]);
        } else if (holding[r]) {
            struct bins bins = {{0}};
            pass->ties[i] = along_settle(&from.x, kept[r], classes, &row, of.max[r], holding[r], sums + r * blocks);
            along_bin(sums + r * blocks, classes, shifter, &bins);
            pass->total[i] = bins_total(&bins);
        }
    }
    finish_rows(job, pass, first, count, job->want_log || write == WRITE_LOG_SOFTMAX, softmax, with_target);
    for (size_t r = 0; r < count && (job->out.data || want_out2); r++) {
        size_t i = first + r;
        if (row_ignored(job, i, with_target)) continue;
        row = (struct row_lanes){GROUP_EXP(of, r), vec_set(of.max[r]), vec_set(pass->lift[i]), vec_set(pass->factor[i]), vec_set(pass->offset[i]),
                                 vec_set(pass->top[i]), vec_set(pass->peak[i]), vec_set(0)};
        struct row_view out = row_of(&job->out, i);
        from.x = like;
        from.x.data = x[r];
        if (!plain) from.x2 = row_of(&job->in2, i);
        if (want_out2) {
            struct row_view out2 = row_of(&job->out2, i);
            row.amount = vec_set(pass->target_amount[i]);
            along_write(WRITE_TARGET_GRADIENT, &from, &out2, classes, &row, NULL);
        }
        if (!job->out.data) continue;
        if (halves) ahead = ahead_half(x[0], classes, 2 * count + r);
        else ahead.step = 0;
        if (write == WRITE_LOG_SOFTMAX) along_write(WRITE_LOG_SOFTMAX, &from, &out, classes, &row, past);
        else if (options) {
            row.amount = vec_set(pass->amount[i]);
            along_write(WRITE_SOFTMAX_LESS, &from, &out, classes, &row, NULL);
        } else {
            const size_t held = want_sums ? kept[r].count : 0;
            const int lifted = pass->lift[i] != 1;
            struct row_view beyond = from.x;
            beyond.data = view_at(&from.x, held);
            beyond.shift = of.shift[r];
            from.x = plain_view(kept[r].exps);
            if (held && !lifted) along_write(WRITE_SCALED, &from, &out, held, &row, past);
            else if (held) along_write(WRITE_LIFTED, &from, &out, held, &row, NULL);
            if (held == classes) continue;
            from.x = beyond;
            out.data = view_at(&out, held);
            row.exp.shift = vec_set(0);
            if (!lifted) along_write(WRITE_SOFTMAX, &from, &out, classes - held, &row, past);
            else along_write(WRITE_SOFTMAX_LIFTED, &from, &out, classes - held, &row, NULL);
        }
    }
    if (stream) stream_end();
    if (with_target) store_target_gradients(job, pass, first, count);
}

static void softmax_along_plain(struct row_job *job, struct row_pass *pass, size_t first, size_t count, enum write_term write, int with_target)
{
    softmax_along(job, pass, first, count, write, with_target, 1);
}

static void softmax_along_any(struct row_job *job, struct row_pass *pass, size_t first, size_t count, enum write_term write, int with_target)
{
    softmax_along(job, pass, first, count, write, with_target, 0);
}

#endif
