/* Along the row: the lanes hold neighbouring classes of one row.
 *
 * Element j belongs to virtual lane j mod 32. Whole blocks of a contiguous row are read
 * where they lie; the last, partial block, and every block of a row whose classes are
 * strided, goes through a tile on the stack, padded with what adds nothing. */
#ifndef XENT_KERNELS_ALONG_H
#define XENT_KERNELS_ALONG_H

#include "terms.h"

#define VECTORS (LANES / VEC_WIDTH)

/* A row's classes in memory. */
struct row_view {
    float *data;
    ptrdiff_t stride;
};

/* count elements from class first on: where they lie, or in the tile, padded to whole
 * steps. An all-pad tile is never asked for. */
MATH const float *row_read(struct row_view row, size_t first, size_t count, float fill, float tile[BLOCK])
{
    const float *x = row.data + (ptrdiff_t)first * row.stride;
    if (row.stride == 1 && count == BLOCK) return x;
    if (row.stride == 1) memcpy(tile, x, count * sizeof *x);
    else
        for (size_t j = 0; j < count; j++) tile[j] = x[(ptrdiff_t)j * row.stride];
    for (size_t j = count; j % LANES; j++) tile[j] = fill;
    return tile;
}

MATH void row_write(struct row_view row, size_t first, size_t count, const float tile[BLOCK])
{
    float *x = row.data + (ptrdiff_t)first * row.stride;
    if (row.stride == 1) memcpy(x, tile, count * sizeof *x);
    else
        for (size_t j = 0; j < count; j++) x[(ptrdiff_t)j * row.stride] = tile[j];
}

MATH size_t block_count(size_t classes, size_t first) { return classes - first < BLOCK ? classes - first : BLOCK; }

/* -- Maximum -- */

/* The row's maximum, NaN passed over, and the lanes' maxima of each of up to
 * CHUNKS chunks: only a chunk that holds the maximum need look out for it later. */
#define CHUNKS 64
struct row_max {
    float max;
    size_t chunk; /* classes of a chunk, a multiple of BLOCK */
    float lanes[CHUNKS][VEC_WIDTH];
};

static void along_max(struct row_view row, size_t classes, struct row_max *m)
{
    float tile[BLOCK];
    vec all = vec_set(-INFINITY);
    m->chunk = BLOCK * (classes / (BLOCK * CHUNKS) + 1);
    for (size_t c = 0; c * m->chunk < classes; c++) {
        size_t end = (c + 1) * m->chunk < classes ? (c + 1) * m->chunk : classes;
        vec lanes[VECTORS];
        UNROLL for (int k = 0; k < VECTORS; k++) lanes[k] = vec_set(-INFINITY);
        for (size_t first = c * m->chunk; first < end; first += BLOCK) {
            size_t count = block_count(classes, first);
            const float *x = row_read(row, first, count, -INFINITY, tile);
            for (size_t j = 0; j < count; j += LANES)
                UNROLL for (int k = 0; k < VECTORS; k++) lanes[k] = vec_max(vec_load(x + j + k * VEC_WIDTH), lanes[k]);
        }
        UNROLL for (int half = VECTORS / 2; half; half /= 2)
            for (int k = 0; k < half; k++) lanes[k] = vec_max(lanes[k], lanes[k + half]);
        vec_store(m->lanes[c], lanes[0]);
        all = vec_max(all, lanes[0]);
    }
    m->max = vec_reduce_max(all) + 0.0f; /* a zero maximum is +0, whichever came first */
}

/* -- Sums -- */

struct block_args {
    const float *x, *x2;
    float *store; /* where SUM_EXP... leave exp_scaled(x); a tile if nobody wants it */
    size_t steps;
    const struct row_lanes *row;
};

MATH vec block_step(const enum sum_term term, const struct block_args *a, size_t step, ptrdiff_t column, veci *ties)
{
    if (step >= a->steps) return vec_set(0.0f);
    ptrdiff_t at = (ptrdiff_t)(step * LANES) + column;
    vec x2 = sum_reads_second(term) ? vec_load(a->x2 + at) : vec_set(0.0f);
    vec stored, value = sum_value(term, vec_load(a->x + at), x2, a->row, &stored, ties);
    if (!sum_reads_second(term)) vec_store(a->store + at, stored);
    return value;
}

/* The 32 virtual lanes' sums of a block, folded in double. */
MATH fold8 block_sum(const enum sum_term term, const struct block_args *a, veci *ties)
{
    vec lanes[VECTORS];
    ROLLED for (int k = 0; k < VECTORS; k++) {
#define STEP(s) block_step(term, a, s, k * VEC_WIDTH, ties)
        vec low = STEP(0), high;
        low = vec_add(low, STEP(1));
        high = STEP(2);
        high = vec_add(high, STEP(3));
        low = vec_add(low, high);
        high = STEP(4);
        high = vec_add(high, STEP(5));
        vec last = STEP(6);
        last = vec_add(last, STEP(7));
        lanes[k] = vec_add(low, vec_add(high, last));
#undef STEP
    }
    return fold8_lanes(lanes);
}

/* Sum of a term over a whole row (SUM_PRODUCT, SUM_SECOND). */
MATH double along_sum(const enum sum_term term, struct row_view x, struct row_view x2, size_t classes)
{
    float tile[BLOCK], tile2[BLOCK];
    fold8 sum = fold8_zero();
    veci ties = veci_set(0);
    for (size_t first = 0; first < classes; first += BLOCK) {
        size_t count = block_count(classes, first);
        struct block_args a = {row_read(x, first, count, 0.0f, tile), row_read(x2, first, count, 0.0f, tile2),
                               NULL, (count + LANES - 1) / LANES, NULL};
        sum = fold8_add(sum, block_sum(term, &a, &ties));
    }
    return fold8_total(sum);
}

/* Sum of exp_scaled over all elements but those equal to the maximum, and the number of
 * these. store: where exp_scaled of every element goes as well; contiguous, or data NULL. */
static double along_exp_sum(struct row_view x, struct row_view store, size_t classes, const struct row_max *m,
                          double *ties)
{
    float tile[BLOCK], tile2[BLOCK];
    fold8 sum = fold8_zero();
    vec max = vec_set(m->max);
    struct row_lanes row = {exp_row_of(max), max, max, max, max, max};
    int64_t found = 0;
    for (size_t c = 0; c * m->chunk < classes; c++) {
        size_t end = (c + 1) * m->chunk < classes ? (c + 1) * m->chunk : classes;
        int holds_max = mask_any(vec_equal(vec_load(m->lanes[c]), max));
        for (size_t first = c * m->chunk; first < end; first += BLOCK) {
            size_t count = block_count(classes, first);
            veci equal = veci_set(0);
            struct block_args a = {row_read(x, first, count, -INFINITY, tile), NULL,
                                   store.data ? store.data + first : tile2, STEPS, &row};
            if (count < BLOCK) {
                a.steps = (count + LANES - 1) / LANES;
                a.store = tile2;
                sum = fold8_add(sum, block_sum(SUM_EXP_BUT_MAX, &a, &equal));
                if (store.data) row_write(store, first, count, tile2);
                if (m->max == -INFINITY) found -= (int64_t)(a.steps * LANES - count); /* the padding */
            } else if (holds_max) sum = fold8_add(sum, block_sum(SUM_EXP_BUT_MAX, &a, &equal));
            else sum = fold8_add(sum, block_sum(SUM_EXP, &a, &equal));
            if (holds_max) found += veci_reduce_add(equal);
        }
    }
    *ties = (double)found;
    return fold8_total(sum);
}

/* -- Writing -- */

MATH void along_write(const enum write_term term, struct row_view x, struct row_view x2, struct row_view out,
                      size_t classes, const struct row_lanes *row)
{
    float tile[BLOCK], tile2[BLOCK];
    for (size_t first = 0; first < classes; first += BLOCK) {
        size_t count = block_count(classes, first), whole = count / VEC_WIDTH * VEC_WIDTH;
        int direct = out.stride == 1;
        /* A partial block of a contiguous row is no matter here: every element stands alone. */
        const float *in = x.stride == 1 ? x.data + first : row_read(x, first, count, 0.0f, tile);
        const float *in2 = !write_reads_second(term) ? in
                           : x2.stride == 1          ? x2.data + first
                                                     : row_read(x2, first, count, 0.0f, tile2);
        float *to = direct ? out.data + first : tile;
        vec zero = vec_set(0.0f);
        for (size_t j = 0; j < whole; j += VEC_WIDTH)
            vec_store(to + j, write_value(term, vec_load(in + j), vec_load(in2 + j), row));
        if (whole < count) {
            size_t n = count - whole;
            vec value = write_value(term, vec_load_partial(in + whole, n, zero), vec_load_partial(in2 + whole, n, zero), row);
            vec_store_partial(to + whole, value, n);
        }
        if (!direct) row_write(out, first, count, tile);
    }
}

#endif
