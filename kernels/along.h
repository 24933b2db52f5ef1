/* Along the row: the lanes hold neighbouring classes of one row.
 *
 * Element j belongs to virtual lane j mod 32. Blocks of a plain row are read where they lie; those
 * of a row that is strided, of another type, softcapped or shifted go through a tile on the stack. */
#ifndef XENT_KERNELS_ALONG_H
#define XENT_KERNELS_ALONG_H

#include "bins.h"
#include "terms.h"

#define VECTORS (LANES / VEC_WIDTH)

/* count elements from class first on: where they lie, or in the tile. */
MATH const real *row_read(const struct row_view *row, size_t first, size_t count, real tile[BLOCK])
{
    if (view_is_plain(row)) return (const real *)row->data + first;
    view_read(row, first, count, tile);
    return tile;
}

MATH size_t block_count(size_t classes, size_t first) { return classes - first < BLOCK ? classes - first : BLOCK; }

/* -- Maximum -- */

/* Vectors of maxima that do not wait for each other. */
#define MAXIMA (VECTORS < 4 ? 4 : VECTORS)

/* run_max where a NaN was lost: see vec_larger. */
static __attribute__((noinline)) vec run_max_again(const real *x, size_t count)
{
    vec max = vec_set((real)-INFINITY);
    for (size_t j = 0; j < count; j += VEC_WIDTH)
        max = vec_max(vec_load_partial(x + j, count - j < VEC_WIDTH ? count - j : VEC_WIDTH, max), max);
    return max;
}

/* The lanes' maxima of packed elements, NaN passed over. The last ones may be looked at twice. */
MATH vec run_max(const real *x, size_t count)
{
    const size_t step = MAXIMA * VEC_WIDTH;
    vec lanes[MAXIMA];
    UNROLL for (int k = 0; k < MAXIMA; k++) lanes[k] = vec_set((real)-INFINITY);
#define MAXIMUM(at) UNROLL for (size_t k = 0; k < MAXIMA; k++) lanes[k] = vec_larger(vec_load(x + (at) + k * VEC_WIDTH), lanes[k])
    for (size_t j = 0; j + step <= count; j += step) MAXIMUM(j);
    if (count % step && count >= step) MAXIMUM(count - step);
#undef MAXIMUM
    for (size_t j = 0; count < step && j < count; j += VEC_WIDTH) {
        vec part = j + VEC_WIDTH <= count ? vec_load(x + j) : vec_load_partial(x + j, count - j, lanes[0]);
        lanes[0] = vec_larger(part, lanes[0]);
    }
    UNROLL for (int half = MAXIMA / 2; half; half /= 2)
        for (int k = 0; k < half; k++) lanes[k] = vec_larger(lanes[k], lanes[k + half]);
    return vec_larger_lost(lanes[0]) ? run_max_again(x, count) : lanes[0];
}

/* The lanes' maxima of a row. */
MATH vec along_max(const struct row_view *row, size_t classes)
{
    real tile[BLOCK];
    vec all = vec_set((real)-INFINITY);
    if (view_is_plain(row)) return run_max(row->data, classes);
    for (size_t first = 0; first < classes; first += BLOCK) {
        size_t count = block_count(classes, first);
        all = vec_max(run_max(row_read(row, first, count, tile), count), all);
    }
    return all;
}

/* The maxima of a vector of rows, whose lanes' maxima are given. */
MATH vec rows_max(real (*lanes)[VEC_WIDTH])
{
    real max[VEC_WIDTH];
#if VEC_WIDTH >= 4
    ptrdiff_t rows[VEC_WIDTH];
    vec all = vec_set((real)-INFINITY);
    for (int w = 0; w < VEC_WIDTH; w++) rows[w] = w * VEC_WIDTH;
    UNROLL for (int j = 0; j < VEC_WIDTH; j += 4) {
        vec columns[4];
        vec_load_rows4(lanes[0] + j, rows, columns);
        all = vec_max(all, vec_max(vec_max(columns[0], columns[1]), vec_max(columns[2], columns[3])));
    }
    vec_store(max, all);
#else
    for (size_t w = 0; w < VEC_WIDTH; w++) max[w] = vec_reduce_max(vec_load(lanes[w]));
#endif
    return vec_add(vec_load(max), vec_set(0)); /* a zero maximum is +0, whichever came first */
}

/* First class that attains the maximum; a NaN comes before any. */
static int64_t along_argmax(const struct row_view *row, size_t classes, real max)
{
    real tile[BLOCK];
    int64_t found = -1;
    for (size_t first = 0; first < classes; first += BLOCK) {
        size_t count = block_count(classes, first);
        const real *x = row_read(row, first, count, tile);
        for (size_t j = 0; j < count; j++) {
            if (x[j] != x[j]) return (int64_t)(first + j);
            if (found < 0 && !(x[j] < max)) found = (int64_t)(first + j);
        }
    }
    return found;
}

/* -- Sums -- */

struct block_args {
    const void *x;
    xent_dtype dtype; /* of x, see packed_load */
    const real *x2, *w;
    real *store; /* where SUM_EXP... leave exp_scaled(x); a tile if nobody wants it */
    const struct row_lanes *row;
    const struct row_target *target;
};

/* The terms of n classes of a block, from class at on; 0 in the other lanes. */
MATH vec block_step(enum sum_term term, const struct block_args *a, size_t at, const size_t n, const int want_max, struct sum_notes *notes)
{
    const int exps = sum_stores(term) || term == SUM_KEPT_BUT_MAX;
    const real fill = exps ? (real)-INFINITY : 0; /* whose exponential is nothing */
    const int whole = n == VEC_WIDTH;
    vec zero = vec_set(0), x = whole ? packed_load(a->x, a->dtype, at) : vec_load_partial((const real *)a->x + at, n, vec_set(fill));
    vec x2 = !sum_reads_second(term) ? zero : whole ? vec_load(a->x2 + at) : vec_load_partial(a->x2 + at, n, zero);
    vec w = !sum_reads_weight(term) ? zero : whole ? vec_load(a->w + at) : vec_load_partial(a->w + at, n, zero);
    vec stored, value = sum_value(term, x, x2, w, a->row, a->target, &stored, &notes->ties);
    if (want_max) notes->max = vec_max(x, notes->max);
    if (sum_stores(term) && whole) vec_store(a->store + at, stored);
    else if (sum_stores(term)) vec_store_partial(a->store + at, stored, n);
    else if (!whole) {
        real lanes[VEC_WIDTH];
        vec_store(lanes, value);
        value = vec_load_partial(lanes, n, zero);
    }
    return value;
}

/* Of count terms in memory, at most a block of them and not 0: the 32 virtual lanes' sums, as a tree, folded wide. but_top: without those that
 * equal top. finite: see pair.h. */
MATH fold8 tree_sum_of(const real *terms, size_t count, const int finite, const int but_top, vec top)
{
    const size_t steps = (count + LANES - 1) / LANES, whole = (steps - 1) * LANES;
    vec lanes[VECTORS], part[VECTORS], high[VECTORS], last[VECTORS];
#if LANES / VEC_WIDTH > 8 /* more than there are registers: only compilers would take longer */
#define EACH ROLLED for (size_t k = 0; k < VECTORS; k++)
#else
#define EACH UNROLL for (size_t k = 0; k < VECTORS; k++)
#endif
    EACH
    {
        const size_t at = whole + k * VEC_WIDTH;
        last[k] = at + VEC_WIDTH <= count ? vec_load(terms + at) : at < count ? vec_load_partial(terms + at, count - at, vec_set(0)) : vec_set(0);
    }
#define VALUE(x) (but_top ? vec_zero_where(vec_equal(x, top), x) : (x))
#define TERM(s) VALUE((s) + 1 == steps ? last[k] : vec_load(terms + (s) * LANES + k * VEC_WIDTH))
    EACH lanes[k] = TERM(0);
    if (steps > 1) EACH lanes[k] = vec_add(lanes[k], TERM(1));
    if (steps > 2) EACH part[k] = TERM(2);
    if (steps > 3) EACH part[k] = vec_add(part[k], TERM(3));
    if (steps > 2) EACH lanes[k] = vec_add(lanes[k], part[k]);
    if (steps > 4) {
        EACH high[k] = TERM(4);
        if (steps > 5) EACH high[k] = vec_add(high[k], TERM(5));
        if (steps > 6) EACH part[k] = TERM(6);
        if (steps > 7) EACH part[k] = vec_add(part[k], TERM(7));
        if (steps > 6) EACH high[k] = vec_add(high[k], part[k]);
        EACH lanes[k] = vec_add(lanes[k], high[k]);
    }
#undef TERM
#undef VALUE
#undef EACH
    return fold8_of(lanes, finite);
}

/* Of exponentials. */
MATH fold8 tree_sum(const real *terms, size_t count) { return tree_sum_of(terms, count, 1, 0, vec_set(0)); }

/* The same of the terms of count classes. In the order of memory, but for pairs of steps: where every second line comes first, even within
 * half a block, a row that lies beyond L2, or is stored there, takes up to twice as long on a Zen 4. */
MATH fold8 block_sum(const enum sum_term term, const struct block_args *a, const size_t count, const int want_max, struct sum_notes *notes)
{
    if (count < BLOCK || VECTORS > 8) { /* more sums than there are registers */
        real terms[BLOCK];
        size_t at = 0;
        for (; at + VEC_WIDTH <= count; at += VEC_WIDTH) vec_store(terms + at, block_step(term, a, at, VEC_WIDTH, want_max, notes));
        if (at < count) {
            vec_store(terms + at, block_step(term, a, at, count - at, want_max, notes));
            at += VEC_WIDTH;
        }
        for (const size_t end = count > BLOCK / 2 ? BLOCK : BLOCK / 2; at < end; at += VEC_WIDTH) vec_store(terms + at, vec_set(0));
        return tree_sum_of(terms, count > BLOCK / 2 ? BLOCK : BLOCK / 2, sum_of_exps(term), 0, vec_set(0));
    }
    vec low[VECTORS], high[VECTORS], part[VECTORS];
#define STEP(s) block_step(term, a, (s) * LANES + k * VEC_WIDTH, VEC_WIDTH, want_max, notes)
#define EACH UNROLL for (size_t k = 0; k < VECTORS; k++)
#define PAIR(to, s) \
    EACH \
    { \
        vec even = STEP(s), odd = STEP((s) + 1); \
        to[k] = vec_add(even, odd); \
    }
    PAIR(low, 0)
    PAIR(part, 2)
    EACH low[k] = vec_add(low[k], part[k]);
    PAIR(high, 4)
    PAIR(part, 6)
    EACH low[k] = vec_add(low[k], vec_add(high[k], part[k]));
#undef PAIR
#undef EACH
#undef STEP
    return fold8_of(low, sum_of_exps(term));
}

/* Block sums on their way to memory. Eight pairs of doubles are folded for a vector of blocks at once: one by one, each step waiting
 * for the last, they would take a quarter of the time of a row's exponentials. */
#ifdef XENT_REAL_F64
struct folds {
    fold8 of[VEC_WIDTH];
    total *to[VEC_WIDTH];
    size_t count;
};

MATH void folds_begin(struct folds *folds)
{
    for (int w = 0; w < VEC_WIDTH; w++) folds->of[w] = fold8_zero();
    folds->count = 0;
}

static __attribute__((noinline)) void folds_end(struct folds *folds)
{
    if (!folds->count) return;
    total totals[VEC_WIDTH];
    wide_store_total(totals, fold8_totals(folds->of));
    for (size_t w = 0; w < folds->count; w++) *folds->to[w] = totals[w];
    folds->count = 0;
}

MATH void folds_add(struct folds *folds, fold8 sum, total *to)
{
    folds->of[folds->count] = sum;
    folds->to[folds->count] = to;
    if (++folds->count == VEC_WIDTH) folds_end(folds);
}
#else
struct folds {
    int none;
};

MATH void folds_begin(struct folds *folds) { folds->none = 0; }
MATH void folds_end(struct folds *folds) { (void)folds; }
MATH void folds_add(struct folds *folds, fold8 sum, total *to)
{
    (void)folds;
    *to = fold8_total(sum);
}
#endif

/* The tensors a term may read; x2's and w's data NULL: there is none. */
struct row_operands {
    struct row_view x, x2, w;
    struct row_target target;
};

/* Sum over a whole row of a term that stores nothing. row: NULL if the term does not ask. The term
 * is looked at for every vector: none of these is worth code of its own. */
static total along_sum(enum sum_term term, const struct row_operands *from, size_t classes, const struct row_lanes *row)
{
    real tile[BLOCK], tile2[BLOCK], tile3[BLOCK];
    fold8 sum = fold8_zero();
    struct sum_notes unused = {veci_set(0), vec_set(0)};
    for (size_t first = 0; first < classes; first += BLOCK) {
        size_t count = block_count(classes, first);
        const real *x = row_read(&from->x, first, count, tile);
        struct block_args a = {.x = x, .row = row, .target = &from->target};
        a.x2 = from->x2.data && sum_reads_second(term) ? row_read(&from->x2, first, count, tile2) : x;
        a.w = from->w.data && sum_reads_weight(term) ? row_read(&from->w, first, count, tile3) : x;
        sum = fold8_add(sum, block_sum(term, &a, count, 0, &unused));
    }
    return fold8_total(sum);
}

/* The lanes' maxima are kept for each of up to CHUNKS chunks: only one that holds the row's maximum is
 * looked at again. */
#define CHUNKS 64
MATH size_t chunk_classes(size_t classes) { return BLOCK * (classes / (BLOCK * CHUNKS) + 1); }
MATH size_t chunk_count(size_t classes) { return (classes + chunk_classes(classes) - 1) / chunk_classes(classes); }

/* Blocks of a row, or of a stretch of it, whose sums are kept until the maximum is known. */
#define STRETCH_BLOCKS 1024
#define STRETCH (STRETCH_BLOCKS * BLOCK)

/* Large jobs (struct row_job) fetch what lies this many bytes ahead from memory: from next on, for each block that is computed or
 * written so many bytes. */
#define AHEAD 8192
/* And rows of 16 bits in jobs of any size, this many: from memory a Zen 4 takes 8 to 25 % less time, from its caches the same. */
#define HALVES_AHEAD 2048
struct ahead {
    uintptr_t next;
    size_t step; /* 0: nothing */
    int far;     /* into L2 only */
};

MATH void fetch_ahead(struct ahead *ahead, size_t bytes)
{
    if (ahead->far) fetch_far(ahead->next, bytes);
    else fetch(ahead->next, bytes);
    ahead->next += bytes;
}

/* exp_scaled of a row's first count classes. */
struct kept {
    real *exps;
    size_t count;
};

/* Those of a block, or other where it is not kept; and what is kept beyond a class. */
MATH real *kept_block(struct kept kept, size_t first, size_t count, real *other)
{
    return first + count <= kept.count ? kept.exps + first : other;
}
MATH struct kept kept_beyond(struct kept kept, size_t first)
{
    return first < kept.count ? (struct kept){kept.exps + first, kept.count - first} : (struct kept){NULL, 0};
}

/* One pass over at most a stretch, by a row's constants or by a guess at them: the lanes' maxima of its chunks,
 * and each block's sum of exp_scaled, maxima included. x is shifted already. kept: where exp_scaled goes as well. direct: x is packed,
 * of this dtype. next: where rows of 16 bits will be written, packed, when the pass is over, which is fetched meanwhile, or NULL. sums:
 * where they will be once folds have ended. Returns the lanes' maxima of all. */
MATH vec along_exp_of(const int direct, const xent_dtype dtype, const struct row_view *x, struct kept kept, const void *next, size_t classes,
                      const struct exp_row *exp, struct ahead *ahead, real (*chunks)[VEC_WIDTH], total *sums, struct folds *folds)
{
    real tile[BLOCK], tile2[BLOCK];
    const struct row_lanes constants = {.exp = {vec_set(0), exp->magic, exp->floor}};
    vec all = vec_set((real)-INFINITY);
    const size_t chunk = chunk_classes(classes);
    for (size_t first = 0; first < classes;) {
        const size_t end = classes - first < chunk ? classes : first + chunk;
        struct block_args a = {.row = &constants};
        struct sum_notes notes = {veci_set(0), vec_set((real)-INFINITY)};
        for (; first + BLOCK <= end; first += BLOCK) {
            a.dtype = dtype;
            a.x = direct ? view_at(x, first) : row_read(x, first, BLOCK, tile);
            a.store = kept_block(kept, first, BLOCK, tile2);
            fetch_ahead(ahead, ahead->step);
            if (dtype != REAL_DTYPE && next) fetch_to_write((uintptr_t)next + first * dtype_size(dtype), BLOCK * dtype_size(dtype));
            folds_add(folds, block_sum(SUM_EXP, &a, BLOCK, 1, &notes), sums++);
        }
        if (first < end) {
            a.dtype = REAL_DTYPE;
            a.x = row_read(x, first, end - first, tile);
            a.store = kept_block(kept, first, end - first, tile2);
            fetch_ahead(ahead, ahead->step);
            folds_add(folds, block_sum(SUM_EXP, &a, end - first, 1, &notes), sums++);
            first = end;
        }
        vec_store(*chunks++, notes.max);
        all = vec_max(all, notes.max);
    }
    return all;
}

#define ALONG_EXP(name, direct, dtype)                                                                                        \
    static __attribute__((noinline)) vec name(const struct row_view *x, struct kept kept, const void *next, size_t classes,   \
                                              const struct exp_row *exp, struct ahead *ahead, real (*chunks)[VEC_WIDTH],      \
                                              total *sums, struct folds *folds)                                               \
    {                                                                                                                         \
        return along_exp_of(direct, dtype, x, kept, next, classes, exp, ahead, chunks, sums, folds);                          \
    }
ALONG_EXP(along_exp_any, 0, REAL_DTYPE)
ALONG_EXP(along_exp_real, 1, REAL_DTYPE)
#ifndef XENT_REAL_F64
ALONG_EXP(along_exp_bf16, 1, XENT_BF16)
ALONG_EXP(along_exp_f16, 1, XENT_F16)
#endif
#undef ALONG_EXP

MATH vec along_exp(const struct row_view *x, struct kept kept, const void *next, size_t classes, const struct exp_row *exp, struct ahead *ahead,
                   real (*chunks)[VEC_WIDTH], total *sums, struct folds *folds)
{
    if (view_is_plain(x)) return along_exp_real(x, kept, next, classes, exp, ahead, chunks, sums, folds);
#ifndef XENT_REAL_F64
    if (view_is_packed(x) && x->dtype == XENT_BF16) return along_exp_bf16(x, kept, next, classes, exp, ahead, chunks, sums, folds);
    if (view_is_packed(x)) return along_exp_f16(x, kept, next, classes, exp, ahead, chunks, sums, folds);
#endif
    return along_exp_any(x, kept, next, classes, exp, ahead, chunks, sums, folds);
}

/* Lanes beyond the row, which hold -inf, among those that equal the maximum. */
MATH int64_t ties_beyond(size_t classes, real max)
{
    return max == (real)-INFINITY ? (int64_t)((VEC_WIDTH - classes % VEC_WIDTH) % VEC_WIDTH) : 0;
}

/* Which of a row's chunks hold its maximum. */
MATH uint64_t chunks_holding(real (*chunks)[VEC_WIDTH], size_t classes, vec max)
{
    const size_t count = chunk_count(classes);
    uint64_t holding = 0;
    for (size_t c = 0; c < count; c++)
        holding |= (uint64_t)mask_any(vec_equal(vec_load(chunks[c]), max)) << c; /* no branch: it would be mispredicted */
    return holding;
}

/* The sums of a row's blocks into its bins. */
MATH void along_bin(const total *sums, size_t classes, double shifter, struct bins *bins)
{
    struct bins into = *bins;
    for (size_t b = 0; b * BLOCK < classes; b++) bins_add_total(&into, sums[b], shifter);
    *bins = into;
}

/* The sum of a block's exp_scaled but those of elements equal to the maximum, which are counted. a->x2: what is kept of it, or NULL. */
MATH total block_others(const struct block_args *a, size_t count, int64_t *ties)
{
    real tile[BLOCK];
    struct sum_notes notes = {veci_set(0), vec_set(0)};
    struct block_args own = *a;
    own.store = tile;
    fold8 sum = a->x2 ? block_sum(SUM_KEPT_BUT_MAX, &own, count, 0, &notes) : block_sum(SUM_EXP_BUT_MAX, &own, count, 0, &notes);
    *ties += veci_reduce_add(notes.ties);
    return fold8_total_finite(sum);
}

/* Takes the maximum out of what along_exp left, once it is known: sums again the blocks of those chunks that hold it, without the
 * elements equal to it, of which it returns the number. */
MATH double along_settle(const struct row_view *x, struct kept kept, size_t classes, const struct row_lanes *row, real max,
                         uint64_t holding, total *sums)
{
    real tile[BLOCK];
    const size_t chunk = chunk_classes(classes);
    int64_t found = 0;
    for (; holding; holding &= holding - 1) {
        size_t c = (size_t)__builtin_ctzll(holding);
        size_t end = (c + 1) * chunk < classes ? (c + 1) * chunk : classes;
        for (size_t first = c * chunk; first < end; first += BLOCK) {
            size_t count = block_count(classes, first);
            struct block_args a = {.x = row_read(x, first, count, tile), .x2 = kept_block(kept, first, count, NULL), .row = row};
            sums[first / BLOCK] = block_others(&a, count, &found);
        }
    }
    return (double)(found - ties_beyond(classes, max));
}

/* The whole of it, by a row's own constants. x is shifted already. chunks: room. */
static __attribute__((noinline)) struct row_sums along_exp_sum(const struct row_view *x, struct kept kept, size_t classes,
                                                               const struct row_lanes *row, real max, double shifter,
                                                               real (*chunks)[VEC_WIDTH], total *sums)
{
    real tile[BLOCK], tile2[BLOCK];
    struct row_sums of = {.ties = 0.0};
    if (classes == 0) return of;
    if (classes <= BLOCK) {
        struct sum_notes notes = {veci_set(0), vec_set(0)};
        struct block_args a = {.x = row_read(x, 0, classes, tile), .store = kept_block(kept, 0, classes, tile2), .row = row};
        int64_t ties = -ties_beyond(classes, max);
        of.whole = fold8_total_finite(block_sum(SUM_EXP, &a, classes, 0, &notes));
        a.x2 = a.store;
        of.others = block_others(&a, classes, &ties);
        of.ties = (double)ties;
        return of;
    }
    const struct exp_row exp = row->exp;
    struct folds folds;
    struct ahead none = {0, 0, 0};
    folds_begin(&folds);
    for (size_t first = 0; first < classes; first += STRETCH) {
        size_t count = classes - first < STRETCH ? classes - first : STRETCH;
        struct row_view part = *x;
        part.data = view_at(x, first);
        along_exp(&part, kept_beyond(kept, first), NULL, count, &exp, &none, chunks, sums, &folds);
        folds_end(&folds);
        along_bin(sums, count, BINS_WHOLE_SHIFTER, &of.whole_bins);
        of.ties += along_settle(&part, kept_beyond(kept, first), count, row, max, chunks_holding(chunks, count, row->max), sums);
        along_bin(sums, count, shifter, &of.others_bins);
    }
    of.whole = bins_total(&of.whole_bins);
    of.others = bins_total(&of.others_bins);
    return of;
}

/* -- Writing -- */

/* A NaN without a payload for any other. */
MATH vec plain_nan(vec a) { return vec_select(vec_equal(a, a), a, vec_set((real)NAN)); }

/* Of packed elements, at least a vector's width of them. row and to do not overlap, so that the constants stay in registers. to may be
 * x. aligned: reals, whole vectors of which are stored where they are aligned. */
MATH void typed_write(const enum write_term term, const void *x, const xent_dtype from, const real *x2, const real *w, void *to,
                      const xent_dtype into, size_t count, const struct row_lanes *lanes, const struct row_target *target, const int aligned)
{
    struct row_lanes row = *lanes;
    if (term == WRITE_SOFTMAX) row.exp.shift = vec_set(0); /* of x that is shifted already */
    if (into == XENT_BF16) { /* what vec_store2_bf16 asks of NaN holds of the elements, which were bf16, but not of a given scale */
        row.factor = plain_nan(row.factor);
        row.peak = plain_nan(row.peak);
        row.offset = plain_nan(row.offset);
    }
    /* Cheap terms four vectors at a time. */
    const size_t step = (term == WRITE_SCALED || term == WRITE_LIFTED || term == WRITE_LOG_SOFTMAX) ? 4 * VEC_WIDTH : VEC_WIDTH;
    /* x2 and w may be no reals where the term reads none. */
#define OR_ZERO(reads, p, at) ((reads) ? vec_load((p) + (at)) : vec_set(0))
#define VALUE(at)                                                                                             \
    write_value(term, packed_load(x, from, at), OR_ZERO(write_reads_second(term), x2, at), OR_ZERO(write_reads_weight(term), w, at), &row, \
                target)
#define STORE(at) packed_store(to, into, at, VALUE(at))
    vec begin = vec_set(0), end = VALUE(count - VEC_WIDTH); /* may overlap what comes between: taken while x is still there */
    void *const first = to;
    const size_t skip = aligned ? (size_t)(-(uintptr_t)to % sizeof(vec)) / sizeof(real) : 0, left = count - skip;
    size_t j = 0;
    if (aligned) {
        begin = VALUE(0);
        x = (const real *)x + skip;
        x2 += skip;
        w += skip;
        to = (real *)to + skip;
    }
    for (; into == XENT_BF16 && j + 2 * VEC_WIDTH <= left; j += 2 * VEC_WIDTH)
        vec_store2_bf16((uint16_t *)to + j, VALUE(j), VALUE(j + VEC_WIDTH));
    for (; j + step <= left; j += step)
        UNROLL for (size_t u = 0; u < step; u += VEC_WIDTH) STORE(j + u);
    for (; j + VEC_WIDTH < left; j += VEC_WIDTH) STORE(j);
#undef STORE
#undef VALUE
#undef OR_ZERO
    if (aligned) packed_store(first, into, 0, begin);
    packed_store(first, into, count - VEC_WIDTH, end);
}

/* The same of reals, not in place, and past the caches, while logits are fetched. Only whole cache lines go past them, and nothing else is
 * stored to these: it would wait for memory, twice in each row (1000 classes took 1.3 times as long on an Emerald Rapids). */
MATH void stream_write(const enum write_term term, const real *x, real *to, size_t count, const struct row_lanes *lanes, struct ahead *ahead)
{
    const vec zero = vec_set(0);
    const size_t line = 64 / sizeof(real), edge = (size_t)(-(uintptr_t)to % 64) / sizeof(real), head = edge < count ? edge : count;
    struct row_lanes row = *lanes;
    if (term == WRITE_SOFTMAX) row.exp.shift = zero; /* see typed_write */
    size_t j = 0;
#define VALUE(x) write_value(term, x, zero, zero, &row, NULL)
#define PARTS(end)                                                           \
    for (size_t n; j < (end); j += n) {                                      \
        n = (end) - j < VEC_WIDTH ? (end) - j : VEC_WIDTH;                   \
        vec_store_partial(to + j, VALUE(vec_load_partial(x + j, n, zero)), n); \
    }
    PARTS(head)
    for (; j + line <= count; j += line) {
        if (ahead->step && (j - head) % (2 * line) == 0) fetch_ahead(ahead, 64);
        UNROLL for (size_t u = 0; u < line; u += VEC_WIDTH) vec_stream(to + j + u, VALUE(vec_load(x + j + u)));
    }
    PARTS(count)
#undef PARTS
#undef VALUE
}

/* typed_write of reals, however few. */
MATH void run_write(const enum write_term term, const real *x, const real *x2, const real *w, real *to, size_t count,
                    const struct row_lanes *row, const struct row_target *target)
{
    vec zero = vec_set(0);
    if (count >= VEC_WIDTH) {
        typed_write(term, x, REAL_DTYPE, x2, w, to, REAL_DTYPE, count, row, target, 0);
        return;
    }
    vec value = write_value(term, vec_load_partial(x, count, zero), vec_load_partial(x2, count, zero), vec_load_partial(w, count, zero),
                            row, target);
    vec_store_partial(to, value, count);
}

/* Whether a term reads exp_scaled, which is reals, and not x. */
MATH int write_reads_kept(const enum write_term term) { return term == WRITE_SCALED || term == WRITE_LIFTED; }

/* stream: NULL, or past the caches where there is code for it. */
MATH void along_write(const enum write_term term, const struct row_operands *from, const struct row_view *out,
                      size_t classes, const struct row_lanes *row, struct ahead *stream)
{
    real tile[BLOCK], tile2[BLOCK], tile3[BLOCK];
    const int reals = view_is_plain(&from->x) && view_is_plain(out);
    /* The terms that are worth code of their own for each type. */
    if ((term == WRITE_SCALED || term == WRITE_SOFTMAX || term == WRITE_LOG_SOFTMAX) && classes >= VEC_WIDTH && view_is_packed(out) &&
        view_is_packed(&from->x) && from->x.dtype == (write_reads_kept(term) ? REAL_DTYPE : out->dtype)) {
        const real *x = from->x.data; /* in the place of what is not read */
#define WRITE(type, aligned)                                                                                            \
    typed_write(term, x, write_reads_kept(term) ? REAL_DTYPE : (type), x, x, out->data, type, classes, row, &from->target, aligned)
        /* Rows of a length that is no multiple of four floats take a third longer to store as they come. */
        if (reals && stream) stream_write(term, x, out->data, classes, row, stream);
        else if (reals) WRITE(REAL_DTYPE, (uintptr_t)out->data % 16 != 0);
        else if (out->dtype == XENT_BF16) WRITE(XENT_BF16, 0);
        else WRITE(XENT_F16, 0);
#undef WRITE
        return;
    }
    for (size_t first = 0; first < classes; first += BLOCK) {
        size_t count = block_count(classes, first);
        const real *x = row_read(&from->x, first, count, tile);
        const real *x2 = write_reads_second(term) && from->x2.data ? row_read(&from->x2, first, count, tile2) : x;
        const real *w = write_reads_weight(term) && from->w.data ? row_read(&from->w, first, count, tile3) : x;
        real *to = view_is_plain(out) ? (real *)out->data + first : tile;
        run_write(term, x, x2, w, to, count, row, &from->target);
        if (to == tile) view_write(out, first, count, tile);
    }
}

#endif
