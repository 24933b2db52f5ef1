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

/* The lanes' maxima are kept for each of up to CHUNKS chunks: only a chunk that holds the row's
 * maximum need look out for it later. */
#define CHUNKS 64
MATH size_t chunk_classes(size_t classes) { return BLOCK * (classes / (BLOCK * CHUNKS) + 1); }
MATH size_t chunk_count(size_t classes) { return (classes + chunk_classes(classes) - 1) / chunk_classes(classes); }

/* Vectors of maxima that do not wait for each other. */
#define MAXIMA (VECTORS < 4 ? 4 : VECTORS)

/* The lanes' maxima of packed elements, NaN passed over. The last ones may be looked at twice. */
MATH vec run_max(const real *x, size_t count)
{
    const size_t step = MAXIMA * VEC_WIDTH;
    vec lanes[MAXIMA];
    UNROLL for (int k = 0; k < MAXIMA; k++) lanes[k] = vec_set((real)-INFINITY);
#define MAXIMUM(at) UNROLL for (size_t k = 0; k < MAXIMA; k++) lanes[k] = vec_max(vec_load(x + (at) + k * VEC_WIDTH), lanes[k])
    for (size_t j = 0; j + step <= count; j += step) MAXIMUM(j);
    if (count % step && count >= step) MAXIMUM(count - step);
#undef MAXIMUM
    for (size_t j = 0; count < step && j < count; j += VEC_WIDTH) {
        vec part = j + VEC_WIDTH <= count ? vec_load(x + j) : vec_load_partial(x + j, count - j, lanes[0]);
        lanes[0] = vec_max(part, lanes[0]);
    }
    UNROLL for (int half = MAXIMA / 2; half; half /= 2)
        for (int k = 0; k < half; k++) lanes[k] = vec_max(lanes[k], lanes[k + half]);
    return lanes[0];
}

/* The lanes' maxima of a row, and of its chunks. */
MATH void along_max(const struct row_view *row, size_t classes, real lanes[VEC_WIDTH], real (*chunks)[VEC_WIDTH])
{
    real tile[BLOCK];
    vec all = vec_set((real)-INFINITY);
    const size_t chunk = chunk_classes(classes);
    for (size_t begin = 0; begin < classes; begin += chunk) {
        vec max = vec_set((real)-INFINITY);
        size_t end = begin + chunk < classes ? begin + chunk : classes;
        if (view_is_plain(row)) max = run_max((const real *)row->data + begin, end - begin);
        else
            for (size_t first = begin; first < end; first += BLOCK) {
                size_t count = block_count(end, first);
                max = vec_max(run_max(row_read(row, first, count, tile), count), max);
            }
        vec_store(chunks[begin / chunk], max);
        all = vec_max(all, max);
    }
    vec_store(lanes, all);
}

/* The maxima of a vector of rows: of count, whose lanes' maxima are given. */
MATH vec rows_max(real (*lanes)[VEC_WIDTH], size_t count)
{
    real max[VEC_WIDTH];
#if VEC_WIDTH >= 4
    const real *rows[VEC_WIDTH];
    vec all = vec_set((real)-INFINITY);
    for (size_t w = 0; w < VEC_WIDTH; w++) rows[w] = lanes[w < count ? w : 0];
    UNROLL for (ptrdiff_t j = 0; j < VEC_WIDTH; j += 4) {
        vec columns[4];
        vec_load_rows4(rows, j, columns);
        all = vec_max(all, vec_max(vec_max(columns[0], columns[1]), vec_max(columns[2], columns[3])));
    }
    vec_store(max, all);
#else
    for (size_t w = 0; w < VEC_WIDTH; w++) max[w] = vec_reduce_max(vec_load(lanes[w < count ? w : 0]));
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
    const real *x, *x2, *w;
    real *store; /* where SUM_EXP... leave exp_scaled(x); a tile if nobody wants it */
    const struct row_lanes *row;
    const struct row_target *target;
};

/* The terms of n classes of a block, from class at on; 0 in the other lanes. */
MATH vec block_step(enum sum_term term, const struct block_args *a, size_t at, const size_t n, veci *ties)
{
    const real fill = sum_stores(term) ? (real)-INFINITY : 0; /* whose exponential is nothing */
    const int whole = n == VEC_WIDTH;
    vec zero = vec_set(0), x = whole ? vec_load(a->x + at) : vec_load_partial(a->x + at, n, vec_set(fill));
    vec x2 = !sum_reads_second(term) ? zero : whole ? vec_load(a->x2 + at) : vec_load_partial(a->x2 + at, n, zero);
    vec w = !sum_reads_weight(term) ? zero : whole ? vec_load(a->w + at) : vec_load_partial(a->w + at, n, zero);
    vec stored, value = sum_value(term, x, x2, w, a->row, a->target, &stored, ties);
    if (sum_stores(term) && whole) vec_store(a->store + at, stored);
    else if (sum_stores(term)) vec_store_partial(a->store + at, stored, n);
    else if (!whole) {
        real lanes[VEC_WIDTH];
        vec_store(lanes, value);
        value = vec_load_partial(lanes, n, zero);
    }
    return value;
}

/* The 32 virtual lanes' sums of a block, folded wide: of count classes, which are some whole steps,
 * and perhaps a last one that ends among the lanes. */
MATH fold8 block_sum(const enum sum_term term, const struct block_args *a, const size_t count, veci *ties)
{
    const size_t whole = count / LANES, steps = (count + LANES - 1) / LANES;
    vec lanes[VECTORS];
    ROLLED for (size_t k = 0; k < VECTORS; k++) {
        size_t column = k * VEC_WIDTH, at = whole * LANES + column;
        vec rest = vec_set(0);
        if (whole < steps && at + VEC_WIDTH <= count) rest = block_step(term, a, at, VEC_WIDTH, ties);
        else if (whole < steps && at < count) rest = block_step(term, a, at, count - at, ties);
#define STEP(s) ((s) < whole ? block_step(term, a, (s) * LANES + column, VEC_WIDTH, ties) : rest)
        vec low = STEP(0), high, last;
        if (steps > 1) low = vec_add(low, STEP(1));
        if (steps > 2) {
            high = STEP(2);
            if (steps > 3) high = vec_add(high, STEP(3));
            low = vec_add(low, high);
        }
        if (steps > 4) {
            high = STEP(4);
            if (steps > 5) high = vec_add(high, STEP(5));
            if (steps > 6) {
                last = STEP(6);
                if (steps > 7) last = vec_add(last, STEP(7));
                high = vec_add(high, last);
            }
            low = vec_add(low, high);
        }
        lanes[k] = low;
#undef STEP
    }
    return fold8_lanes(lanes);
}

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
    veci ties = veci_set(0);
    for (size_t first = 0; first < classes; first += BLOCK) {
        size_t count = block_count(classes, first);
        struct block_args a = {.row = row, .target = &from->target};
        a.x = row_read(&from->x, first, count, tile);
        a.x2 = from->x2.data && sum_reads_second(term) ? row_read(&from->x2, first, count, tile2) : a.x;
        a.w = from->w.data && sum_reads_weight(term) ? row_read(&from->w, first, count, tile3) : a.x;
        sum = fold8_add(sum, block_sum(term, &a, count, &ties));
    }
    return fold8_total(sum);
}

/* Sum of exp_scaled over all elements but those equal to the maximum, and the number of
 * these. store: plain reals, where exp_scaled of every element goes as well, or NULL. x is shifted
 * already. chunks: their lanes' maxima, before the shift; NULL: every chunk may hold the maximum. */
MATH total along_exp_sum(const struct row_view *x, real *store, size_t classes, const struct row_lanes *row,
                           real (*chunks)[VEC_WIDTH], real max, double *ties, struct bins *bins)
{
    real tile[BLOCK], tile2[BLOCK];
    total sums[STEPS], sum = fold8_total(fold8_zero());
    size_t pending = 0;
    const size_t chunk = chunk_classes(classes);
    int64_t found = 0;
    if (classes > BLOCK) *bins = (struct bins){{0}};
    for (size_t begin = 0; begin < classes; begin += chunk) {
        size_t end = begin + chunk < classes ? begin + chunk : classes;
        int holds_max = !chunks || mask_any(vec_equal(vec_load(chunks[begin / chunk]), vec_set(max)));
        for (size_t first = begin; first < end; first += BLOCK) {
            veci equal = veci_set(0);
            size_t count = block_count(classes, first);
            struct block_args a = {.row = row};
            a.x = row_read(x, first, count, tile);
            a.store = store ? store + first : tile2;
            sum = fold8_total(count < BLOCK ? block_sum(SUM_EXP_BUT_MAX, &a, count, &equal)
                              : holds_max   ? block_sum(SUM_EXP_BUT_MAX, &a, BLOCK, &equal)
                                            : block_sum(SUM_EXP, &a, BLOCK, &equal));
            if (holds_max) found += veci_reduce_add(equal);
            if (count < BLOCK && max == (real)-INFINITY) found -= (int64_t)((VEC_WIDTH - count % VEC_WIDTH) % VEC_WIDTH); /* lanes beyond the row */
            if (classes <= BLOCK) break;
            /* Into the bins when the next blocks are under way, lest these wait. */
            sums[pending++] = sum;
            if (pending < STEPS && first + BLOCK < classes) continue;
            for (size_t b = 0; b < pending; b++) bins_add_total(bins, sums[b]);
            pending = 0;
        }
    }
    *ties = (double)found;
    return classes > BLOCK ? bins_total(bins) : sum;
}

/* -- Writing -- */

MATH void along_write(const enum write_term term, const struct row_operands *from, const struct row_view *out,
                      size_t classes, const struct row_lanes *row)
{
    real tile[BLOCK], tile2[BLOCK], tile3[BLOCK];
    int in_place = view_is_plain(out);
    for (size_t first = 0; first < classes; first += BLOCK) {
        size_t count = block_count(classes, first), whole = count / VEC_WIDTH * VEC_WIDTH;
        const real *x = row_read(&from->x, first, count, tile);
        const real *x2 = write_reads_second(term) && from->x2.data ? row_read(&from->x2, first, count, tile2) : x;
        const real *w = write_reads_weight(term) && from->w.data ? row_read(&from->w, first, count, tile3) : x;
        real *to = in_place ? (real *)out->data + first : tile;
        vec zero = vec_set(0);
        /* Cheap terms four vectors at a time. */
        const size_t step = term == WRITE_SCALED || term == WRITE_LOG_SOFTMAX ? 4 * VEC_WIDTH : VEC_WIDTH;
        size_t j = 0;
#define WRITE(at) \
    vec_store(to + (at), write_value(term, vec_load(x + (at)), vec_load(x2 + (at)), vec_load(w + (at)), row, &from->target))
        for (; j + step <= whole; j += step)
            UNROLL for (size_t u = 0; u < step; u += VEC_WIDTH) WRITE(j + u);
        for (; j < whole; j += VEC_WIDTH) WRITE(j);
        if (term == WRITE_SCALED && x != to && whole && whole < count) { /* the last ones are written twice */
            WRITE(count - VEC_WIDTH);
            whole = count;
        }
#undef WRITE
        if (whole < count) {
            size_t n = count - whole;
            vec value = write_value(term, vec_load_partial(x + whole, n, zero), vec_load_partial(x2 + whole, n, zero),
                                    vec_load_partial(w + whole, n, zero), row, &from->target);
            vec_store_partial(to + whole, value, n);
        }
        if (!in_place) view_write(out, first, count, tile);
    }
}

#endif
