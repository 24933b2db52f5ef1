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

/* A group on its way. */
struct short_group {
    _Alignas(64) real kept[SHORT_ROWS * BLOCK + VEC_WIDTH]; /* rows side by side; what comes after them may be overwritten */
    real lanes[SHORT_ROWS][VEC_WIDTH];
    fold8 sums[SHORT_ROWS]; /* a vector's width at least */
    struct group_maxima of;
    size_t first, count;
};

MATH void short_write_as(const enum write_term term, const void *x, xent_dtype from, void *to, xent_dtype dtype, size_t classes,
                         const struct row_lanes *row)
{
    if (dtype == REAL_DTYPE) run_write(term, x, x, x, to, classes, row, NULL);
    else typed_write(term, x, from, x, x, to, dtype, classes, row, NULL, 0);
}

/* What is written of a group's row r. */
MATH void short_write(const xent_dtype dtype, const struct row_job *job, const struct row_pass *pass, const struct short_group *g, size_t r,
                         enum write_term write, int with_target)
{
    const size_t i = g->first + r;
    void *to = row_start(&job->out, dtype, i);
    if (row_ignored(job, i, with_target)) {
        const struct row_view out = row_of(&job->out, i);
        row_zero(&out, job->classes);
        return;
    }
    struct row_lanes row = {.max = vec_set(g->of.max[r])};
    const real *kept = g->kept + r * job->classes;
    if (write == WRITE_LOG_SOFTMAX) {
        row.offset = vec_set(pass->offset[i]);
        short_write_as(WRITE_LOG_SOFTMAX, row_start(&job->in, dtype, i), dtype, to, dtype, job->classes, &row);
        return;
    }
    row.lift = vec_set(pass->lift[i]);
    row.factor = vec_set(pass->factor[i]);
    row.top = vec_set(pass->top[i]);
    row.peak = vec_set(pass->peak[i]);
    if (pass->lift[i] == 1) short_write_as(WRITE_SCALED, kept, REAL_DTYPE, to, dtype, job->classes, &row);
    else short_write_as(WRITE_LIFTED, kept, REAL_DTYPE, to, dtype, job->classes, &row);
    if (with_target && job->target[i] >= 0) write_one(to, dtype, job->target[i], pass->target_gradient[i]);
}

/* The same of all rows, which lie side by side as what was kept of them does: so vectors are stored where they are aligned, if the rows are, and those
 * between two rows once. At least a vector's width of classes, and no row is lifted. */
MATH void short_write_packed(const xent_dtype dtype, const struct row_job *job, const struct row_pass *pass, const struct short_group *g, int with_target)
{
    static const real indices[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const vec index = vec_load(indices);
    const size_t classes = job->classes, all = g->count * classes;
    void *to = row_start(&job->out, dtype, g->first);
#define CONSTANTS(r) \
    {.factor = vec_set(pass->factor[g->first + (r)]), .top = vec_set(pass->top[g->first + (r)]), .peak = vec_set(pass->peak[g->first + (r)])}
#define VALUE(of) softmax_value(e, e, &(of))
    struct row_lanes row = CONSTANTS(0);
    for (size_t r = 0, j = 0; r < g->count; r++) {
        const size_t end = (r + 1) * classes;
        for (; j + VEC_WIDTH <= end; j += VEC_WIDTH) {
            vec e = vec_load(g->kept + j);
            packed_store(to, dtype, j, VALUE(row));
        }
        if (end == all) break;
        const struct row_lanes next = CONSTANTS(r + 1);
        if (j < end) {
            vec e = vec_load(g->kept + j);
            packed_store(to, dtype, j, vec_select(vec_less(index, vec_set((real)(int)(end - j))), VALUE(row), VALUE(next)));
            j += VEC_WIDTH;
        }
        row = next;
    }
    vec e = vec_load(g->kept + all - VEC_WIDTH); /* may overlap the last one */
    packed_store(to, dtype, all - VEC_WIDTH, VALUE(row));
#undef VALUE
#undef CONSTANTS
    for (size_t i = g->first; with_target && i < g->first + g->count; i++) {
        const struct row_view out = row_of(&job->out, i);
        if (job->target[i] >= 0) write_one(out.data, dtype, job->target[i], pass->target_gradient[i]);
        else if (row_ignored(job, i, with_target)) row_zero(&out, classes);
    }
}

/* Whether it can be. bf16 is faster row by row, two vectors at a time. */
MATH int short_writes_packed(const xent_dtype dtype, const struct row_job *job, const struct row_pass *pass, const struct short_group *g,
                             enum write_term write)
{
    real lift = 1;
    if (write != WRITE_SOFTMAX || dtype == XENT_BF16 || job->classes < VEC_WIDTH || !rows_follow(&job->out, g->first, g->count, job->classes)) return 0;
    for (size_t i = g->first; i < g->first + g->count; i++) lift = pass->lift[i] < lift ? pass->lift[i] : lift;
    return lift == 1;
}

/* Maxima are guessed of rows of more classes than this only. */
_Static_assert(SPREAD_CLASSES >= VEC_WIDTH, "see short_guess and short_guessed_of");

/* A guess at a row's maximum: that of its first classes. */
MATH vec short_guess(const void *row, const xent_dtype dtype)
{
    return exp_row_rest(vec_set(vec_reduce_max(packed_load(row, dtype, 0))));
}

/* A row's lanes' maxima. Vectors may overlap. */
MATH vec short_max(const xent_dtype dtype, const void *row, size_t classes)
{
    vec max = vec_set((real)-INFINITY);
    if (classes < VEC_WIDTH) return vec_max(vec_load_partial(row, classes, max), max);
    vec other = max, end = vec_max(packed_load(row, dtype, classes - VEC_WIDTH), max); /* a NaN is no maximum */
    size_t j = 0;
    for (; j + 2 * VEC_WIDTH <= classes; j += 2 * VEC_WIDTH) {
        max = vec_max(packed_load(row, dtype, j), max);
        other = vec_max(packed_load(row, dtype, j + VEC_WIDTH), other);
    }
    if (j + VEC_WIDTH <= classes) end = vec_max(packed_load(row, dtype, j), end);
    return vec_max(end, vec_max(other, max));
}

/* A group's exponentials and their sums, by one guess at the maxima, which are found on the way. Of rows side by side (packed), a vector may reach
 * from one to the next. A row's sum waits for the second next: one that came next would wait for its stores, and the exponentials of others, which
 * take the multiply-add pipes, and sums, which take the rest, would not go side by side. */
MATH void short_guessed_of(const xent_dtype dtype, const int packed, const struct row_job *job, vec guess, int with_target, struct short_group *g)
{
    enum { LAG = 2 };
    struct exp_row exp = exp_row_of(guess);
    exp.shift = vec_set(0); /* as it is of any guess: let compilers know */
    const size_t classes = job->classes, first = g->first, count = g->count, bytes = dtype_size(dtype), line = 64 / bytes;
    const void *from = row_start(&job->in, dtype, first);
    real *kept = g->kept;
    /* Where the next group is likely to be, of this job or the next, and where this one goes to. No pass but this one computes for long enough to
     * hide what memory takes. */
    uintptr_t next = (uintptr_t)from + count * classes * bytes, out = job->out.data ? (uintptr_t)row_start(&job->out, dtype, first) : next;
    size_t j = 0;
    for (size_t r = 0; r < count + LAG; r++) {
        if (r < count && !packed) {
            from = row_start(&job->in, dtype, first + r);
            next = (uintptr_t)from + count * classes * bytes;
            out = job->out.data ? (uintptr_t)row_start(&job->out, dtype, first + r) : next;
            kept = g->kept + r * classes;
            j = 0;
        }
        if (r < count) {
            const size_t start = packed ? r * classes : 0, end = start + classes, all = packed ? count * classes : classes;
            vec max = vec_set((real)-INFINITY);
#define EXPS(x)                                            \
    do {                                                   \
        if (VEC_WIDTH >= line || j % line == 0) {          \
            fetch(next + j * bytes, 1);                    \
            fetch(out + j * bytes, 1);                     \
        }                                                  \
        vec_store(kept + j, exp_scaled(x, exp));           \
        j += VEC_WIDTH;                                    \
    } while (0)
            UNROLL2 for (; j + VEC_WIDTH <= end;) {
                vec x = packed_load(from, dtype, j);
                max = vec_max(x, max);
                EXPS(x);
            }
            if (j < end && j + VEC_WIDTH <= all) EXPS(packed_load(from, dtype, j));
#undef EXPS
            /* What the vectors within the row leave out: its beginning and its end, and of the last row, exponentials too. */
            vec last = packed_load(from, dtype, end - VEC_WIDTH);
            if (j < end) vec_store(kept + end - VEC_WIDTH, exp_scaled(last, exp));
            max = vec_max(last, vec_max(packed_load(from, dtype, start), max));
            vec_store(g->lanes[r], row_ignored(job, first + r, with_target) ? guess : max);
        }
        if (r < LAG) continue;
        const size_t s = r - LAG;
        g->sums[s] = row_ignored(job, first + s, with_target) ? fold8_zero() : tree_sum(g->kept + s * classes, classes);
    }
}

/* Compiled once for each layout: what is the same for all rows side by side stays in registers. */
MATH void short_guessed(const xent_dtype dtype, const struct row_job *job, vec guess, int with_target, struct short_group *g)
{
    if (rows_follow(&job->in, g->first, g->count, job->classes)) short_guessed_of(dtype, 1, job, guess, with_target, g);
    else short_guessed_of(dtype, 0, job, guess, with_target, g);
}

/* The exponentials, and their sums without the maxima, which are known by g->of; in g->lanes are the ties. */
MATH void short_known(const xent_dtype dtype, const struct row_job *job, int with_target, struct short_group *g)
{
    const vec zero = vec_set(0), none = vec_set((real)-INFINITY);
    const size_t classes = job->classes, whole = classes / VEC_WIDTH * VEC_WIDTH;
    real terms[BLOCK];
    for (size_t r = 0; r < g->count; r++) {
        const void *row = row_start(&job->in, dtype, g->first + r);
        real last[2 * VEC_WIDTH], *kept = g->kept + r * classes;
        if (row_ignored(job, g->first + r, with_target)) {
            vec_store(g->lanes[r], zero);
            g->sums[r] = fold8_zero();
            continue;
        }
        const struct row_lanes of = {.exp = {zero, vec_set(g->of.magic[r]), vec_set(g->of.floor[r])}, .max = vec_set(g->of.max[r])};
        /* A last, partial vector, filled up. */
        const real *tail = last;
        if (dtype == REAL_DTYPE) vec_store(last, vec_load_partial((const real *)row + whole, classes - whole, none));
        else {
            vec_store(last, packed_load(row, dtype, classes - VEC_WIDTH));
            vec_store(last + VEC_WIDTH, none);
            tail = last + (VEC_WIDTH - (classes - whole));
        }
        struct sum_notes notes = {veci_set(0), none};
        UNROLL2 for (size_t j = 0; j < classes; j += VEC_WIDTH) {
            vec x, e;
            if (dtype == REAL_DTYPE) x = vec_load(j < whole ? (const real *)row + j : last);
            else if (j < whole) x = packed_load(row, dtype, j);
            else x = vec_load(tail);
            vec_store(terms + j, sum_value(SUM_EXP_BUT_MAX, x, zero, zero, &of, NULL, &e, &notes.ties));
            vec_store(kept + j, e);
        }
        g->sums[r] = tree_sum(terms, classes);
        vec_store(g->lanes[r], vec_from_bits(notes.ties));
    }
}

/* Maxima alone. */
MATH void short_maxima(const xent_dtype dtype, const struct row_job *job, int with_target, struct short_group *g)
{
    for (size_t r = 0; r < g->count; r++)
        vec_store(g->lanes[r], row_ignored(job, g->first + r, with_target) ? vec_set(0)
                                                                           : short_max(dtype, row_start(&job->in, dtype, g->first + r), job->classes));
}

/* The rows' sums, a vector of them at once; for one row, as in a small call, that would be all for nothing. */
MATH void short_totals(struct short_group *g, total *totals)
{
    if (g->count == 1) totals[0] = fold8_total_finite(g->sums[0]);
    for (size_t r = g->count; g->count > 1 && r % VEC_WIDTH; r++) g->sums[r] = fold8_zero();
    for (size_t r = 0; g->count > 1 && r < g->count; r += VEC_WIDTH) wide_store_total(totals + r, fold8_totals(g->sums + r));
}

/* The state's sums where maxima were known. Returns the number of rows that are not spread. */
static __attribute__((noinline)) size_t short_take_known(const struct row_job *job, struct row_pass *pass, struct short_group *g)
{
    total *totals = pass->total + g->first;
    double *ties = pass->ties + g->first;
    size_t others = g->count;
    short_totals(g, totals);
    for (size_t r = 0; r < g->count; r++) {
        ties[r] = (double)(veci_reduce_add(vec_bits(vec_load(g->lanes[r]))) - ties_beyond(job->classes, g->of.max[r]));
        if (!row_may_be_spread(totals[r], ties[r], g->of.top[r], job->classes)) continue;
        total whole = fold8_total_finite(tree_sum(g->kept + r * job->classes, job->classes));
        others -= (size_t)take_spread(pass, g->first + r, whole, g->of.top[r], job->classes);
    }
    return others;
}

/* And where they were guessed. */
static __attribute__((noinline)) size_t short_take_guessed(const struct row_job *job, struct row_pass *pass, int with_target, struct short_group *g)
{
    total *totals = pass->total + g->first;
    uint32_t others = 0; /* rows that are not spread: which they are could not be predicted */
    real tile[BLOCK];
    short_totals(g, totals);
    for (size_t r = 0; r < g->count; r++) {
        others |= (uint32_t)!row_is_spread(totals[r], g->of.top[r], job->classes) << r;
        totals[r] = total_less(totals[r], g->of.top[r]);
        pass->ties[g->first + r] = 1.0;
    }
    for (uint32_t left = others; left; left &= left - 1) {
        const size_t r = (size_t)__builtin_ctz(left), i = g->first + r;
        const real *kept = g->kept + r * job->classes;
        if (row_ignored(job, i, with_target)) continue;
        /* Where one exponential alone equals that of the maximum, as the sums tell, it is the maximum's. */
        const double spread = total_rounded(totals[r]), top = (double)g->of.top[r];
        totals[r] = fold8_total_finite(tree_sum_of(kept, job->classes, 1, 1, vec_set(g->of.top[r])));
        if (spread - total_rounded(totals[r]) < 0.5 * top) continue;
        struct row_view in = row_of(&job->in, i);
        struct row_lanes row = {.max = vec_set(g->of.max[r])};
        struct block_args a = {.x = row_read(&in, 0, job->classes, tile), .x2 = kept, .row = &row};
        int64_t ties = -ties_beyond(job->classes, g->of.max[r]);
        totals[r] = block_others(&a, job->classes, &ties);
        pass->ties[i] = (double)ties;
    }
    return (size_t)__builtin_popcount(others);
}

/* Packed rows of at most a block, with nothing given: softmax_along without all that these have no use
 * for. dtype: of the logits. The maxima are guessed unless most rows so far were not spread, or none can be. Returns 0, and has written
 * nothing, where a row has to be shifted: that is not worth a subtraction here. */
MATH int softmax_short_of(const xent_dtype dtype, struct row_job *job, struct row_pass *pass, size_t first, size_t count, enum write_term write,
                          int with_target)
{
    struct short_group g;
    int known = job->classes <= SPREAD_CLASSES || pass->few_spread, shifted = 0, wrong = 0;
    real floor[VEC_WIDTH];
    g.first = first;
    g.count = count;
    for (size_t i = first; with_target && i < first + count; i++) {
        int64_t y = job->target[i];
        pass->target_logit[i] = y >= 0 ? read_one(row_start(&job->in, dtype, i), dtype, y) : (real)-INFINITY;
    }
    if (known) short_maxima(dtype, job, with_target, &g);
    else {
        vec guess = short_guess(row_start(&job->in, dtype, first), dtype);
        vec_store(floor, exp_row_of(guess).floor);
        short_guessed(dtype, job, guess, with_target, &g);
    }
    group_maxima_of(job, first, count, g.lanes, 0, &g.of);
    for (size_t r = 0; r < count; r++) {
        shifted |= g.of.shift[r] != 0;
        wrong |= !known && g.of.floor[r] != floor[0];
    }
    if (shifted) return 0;
    known |= wrong;
    if (known) short_known(dtype, job, with_target, &g);
    const size_t others = known ? short_take_known(job, pass, &g) : short_take_guessed(job, pass, with_target, &g);
    pass->few_spread = others > count / 2;
    finish_rows(job, pass, first, count, job->want_log || write == WRITE_LOG_SOFTMAX, job->out.data && write == WRITE_SOFTMAX, with_target);
    if (!job->out.data) return 1;
    if (short_writes_packed(dtype, job, pass, &g, write)) short_write_packed(dtype, job, pass, &g, with_target);
    else
        for (size_t r = 0; r < count; r++) short_write(dtype, job, pass, &g, r, write, with_target);
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
