/* Rows in the lanes: each lane holds a row of its own, and the loop runs over the classes.
 *
 * The sums take the very tree of along.h: class j of a row is in virtual lane j mod 32,
 * which here is a vector of its own, so the bits are the same. The rows may lie in memory
 * next to each other (positions of an (N,C,d) tensor), or in a tile on the stack. */
#ifndef XENT_KERNELS_LANES_H
#define XENT_KERNELS_LANES_H

#include "terms.h"

/* Vectors of rows that go through the classes together, so that a strided class brings
 * more than one cache line. */
#define GROUP 4

/* Row v * VEC_WIDTH + lane, class j: data[v * vector_step + j * stride + lane]. */
struct lane_view {
    float *data;
    ptrdiff_t stride, vector_step;
};

/* lanes: VEC_WIDTH, or fewer in a last vector, of which the others read as zero. */
MATH vec lanes_load(struct lane_view view, ptrdiff_t at, const size_t lanes)
{
    return lanes == VEC_WIDTH ? vec_load(view.data + at) : vec_load_partial(view.data + at, lanes, vec_set(0.0f));
}

MATH void lanes_store(struct lane_view view, ptrdiff_t at, vec value, const size_t lanes)
{
    if (lanes == VEC_WIDTH) vec_store(view.data + at, value);
    else vec_store_partial(view.data + at, value, lanes);
}

/* Row maxima, NaN passed over. */
MATH void lanes_max(struct lane_view x, size_t classes, const int vectors, const size_t lanes, vec max[GROUP])
{
    vec odd[GROUP];
    UNROLL for (int v = 0; v < vectors; v++) max[v] = odd[v] = vec_set(-INFINITY);
    size_t j = 0;
    for (; j + 2 <= classes; j += 2)
        UNROLL for (int v = 0; v < vectors; v++) {
            ptrdiff_t at = v * x.vector_step + (ptrdiff_t)j * x.stride;
            max[v] = vec_max(lanes_load(x, at, lanes), max[v]);
            odd[v] = vec_max(lanes_load(x, at + x.stride, lanes), odd[v]);
        }
    UNROLL for (int v = 0; v < vectors; v++) {
        if (j < classes) max[v] = vec_max(lanes_load(x, v * x.vector_step + (ptrdiff_t)j * x.stride, lanes), max[v]);
        max[v] = vec_add(vec_max(max[v], odd[v]), vec_set(0.0f)); /* a zero maximum is +0 */
    }
}

struct lane_args {
    struct lane_view x, x2;
    struct lane_view store; /* where SUM_EXP... leave exp_scaled(x); strides 0 if nobody wants it */
    const struct row_lanes *row;   /* one a vector of the group */
};

MATH vec lane_step(const enum sum_term term, const struct lane_args *a, size_t class_index, int v, const size_t lanes,
                   veci *ties)
{
    ptrdiff_t j = (ptrdiff_t)class_index;
    vec x2 = sum_reads_second(term) ? lanes_load(a->x2, v * a->x2.vector_step + j * a->x2.stride, lanes) : vec_set(0.0f);
    vec x = lanes_load(a->x, v * a->x.vector_step + j * a->x.stride, lanes);
    vec stored, value = sum_value(term, x, x2, &a->row[v], &stored, ties);
    if (!sum_reads_second(term)) lanes_store(a->store, v * a->store.vector_step + j * a->store.stride, stored, lanes);
    return value;
}

/* One virtual lane's sum in a block: the tree over its steps, in double. */
MATH wide lane_sum(const enum sum_term term, const struct lane_args *a, size_t first, size_t steps, int v,
                   const size_t lanes, veci *ties)
{
#define STEP(s) lane_step(term, a, first + (s) * LANES, v, lanes, ties)
    vec low, high;
    if (steps == STEPS) {
        low = STEP(0);
        low = vec_add(low, STEP(1));
        high = STEP(2);
        high = vec_add(high, STEP(3));
        low = vec_add(low, high);
        high = STEP(4);
        high = vec_add(high, STEP(5));
        vec last = STEP(6);
        last = vec_add(last, STEP(7));
        low = vec_add(low, vec_add(high, last));
    } else { /* the same tree, held[i] being a finished part of 2^i steps */
        vec held[3];
        low = vec_set(0.0f);
        for (size_t s = 0; s < steps; s++) {
            low = STEP(s);
            size_t level = 0;
            for (; s >> level & 1; level++) low = vec_add(held[level], low);
            if (level < 3) held[level] = low;
        }
        if (steps) { /* parts that nothing joined, the smallest first */
            size_t level = 0;
            while (!(steps >> level & 1)) level++;
            for (low = held[level++]; steps >> level; level++)
                if (steps >> level & 1) low = vec_add(held[level], low);
        }
    }
#undef STEP
    return wide_from_vec(low);
}

/* Sum of a term over the classes, a row a lane, in double. ties: of SUM_EXP_BUT_MAX. */
MATH void lanes_sum(const enum sum_term term, const struct lane_args *a, size_t classes, const int vectors,
                    const size_t lanes, wide sum[GROUP], veci ties[GROUP])
{
    wide fold[8][GROUP];
    ROLLED for (int k = 0; k < 8; k++)
        UNROLL for (int v = 0; v < vectors; v++) fold[k][v] = wide_set(0.0);
    UNROLL for (int v = 0; v < vectors; v++) ties[v] = veci_set(0);
    for (size_t first = 0; first < classes; first += BLOCK) {
        size_t count = classes - first < BLOCK ? classes - first : BLOCK;
        ROLLED for (size_t k = 0; k < 8 && k < count; k++)
            ROLLED for (int v = 0; v < vectors; v++) {
                /* (k + k+16) + (k+8 + k+24); a lane without a class is zero, and left out */
                wide half[2];
                size_t halves = k + 8 < count ? 2 : 1;
                ROLLED for (size_t h = 0; h < halves; h++)
                    ROLLED for (size_t l = k + 8 * h; l < LANES && l < count; l += 16) {
                        wide sum_l = lane_sum(term, a, first + l, (count - l + LANES - 1) / LANES, v, lanes, &ties[v]);
                        half[h] = l < 16 ? sum_l : wide_add(half[h], sum_l);
                    }
                if (halves == 2) half[0] = wide_add(half[0], half[1]);
                fold[k][v] = wide_add(fold[k][v], half[0]);
            }
    }
    UNROLL for (int v = 0; v < vectors; v++)
        sum[v] = wide_add(wide_add(wide_add(fold[0][v], fold[4][v]), wide_add(fold[2][v], fold[6][v])),
                          wide_add(wide_add(fold[1][v], fold[5][v]), wide_add(fold[3][v], fold[7][v])));
}

MATH void lanes_write(const enum write_term term, struct lane_view x, struct lane_view x2, struct lane_view out,
                      size_t classes, const int vectors, const size_t lanes, const struct row_lanes row[GROUP])
{
    for (size_t j = 0; j < classes; j++)
        UNROLL for (int v = 0; v < vectors; v++) {
            vec in = lanes_load(x, v * x.vector_step + (ptrdiff_t)j * x.stride, lanes);
            vec in2 = write_reads_second(term) ? lanes_load(x2, v * x2.vector_step + (ptrdiff_t)j * x2.stride, lanes) : in;
            lanes_store(out, v * out.vector_step + (ptrdiff_t)j * out.stride, write_value(term, in, in2, &row[v]), lanes);
        }
}

/* -- Rows that do not lie side by side: VEC_WIDTH of them are brought into a tile,
 * tile[j * VEC_WIDTH + lane], and back. -- */

/* Classes of the widest row that takes this way. */
#define TILE_CLASSES 128

MATH void tile_read(const float *const rows[VEC_WIDTH], ptrdiff_t stride, size_t classes, float *tile)
{
    if (stride == 1 && classes >= 4)
        for (size_t j = 0;; j = j + 8 > classes ? classes - 4 : j + 4) { /* the last four may overlap */
            vec columns[4];
            vec_load_rows4(rows, (ptrdiff_t)j, columns);
            for (size_t c = 0; c < 4; c++) vec_store(tile + (j + c) * VEC_WIDTH, columns[c]);
            if (j + 4 == classes) return;
        }
    for (size_t w = 0; w < VEC_WIDTH; w++)
        for (size_t j = 0; j < classes; j++) tile[j * VEC_WIDTH + w] = rows[w][(ptrdiff_t)j * stride];
}

/* lanes: rows that exist; the others' pointers are not followed. */
MATH void tile_write(float *const rows[VEC_WIDTH], ptrdiff_t stride, size_t classes, size_t lanes, const float *tile)
{
    if (stride == 1 && classes >= 4 && lanes == VEC_WIDTH)
        for (size_t j = 0;; j = j + 8 > classes ? classes - 4 : j + 4) {
            vec columns[4];
            for (size_t c = 0; c < 4; c++) columns[c] = vec_load(tile + (j + c) * VEC_WIDTH);
            vec_store_rows4(rows, (ptrdiff_t)j, columns);
            if (j + 4 == classes) return;
        }
    for (size_t w = 0; w < lanes; w++)
        for (size_t j = 0; j < classes; j++) rows[w][(ptrdiff_t)j * stride] = tile[j * VEC_WIDTH + w];
}

#endif
