/* Rows in the lanes: each lane holds a row of its own, and the loop runs over the classes.
 *
 * The sums take the very tree of along.h: class j of a row is in virtual lane j mod 32,
 * which here is a vector of its own, so the bits are the same. The rows may lie in memory
 * next to each other (positions of an (N,C,d) tensor), or in a tile on the stack. */
#ifndef XENT_KERNELS_LANES_H
#define XENT_KERNELS_LANES_H

#include "bins.h"
#include "terms.h"

/* Vectors of rows that go through the classes together, so that a strided class brings
 * more than one cache line. */
#define GROUP 4

/* Row v * VEC_WIDTH + lane, class j: data[v * vector_step + j * stride + lane]. */
struct lane_view {
    real *data;
    ptrdiff_t stride, vector_step;
};

/* lanes: VEC_WIDTH, or fewer in a last vector, of which the others read as zero. */
MATH vec lanes_load(struct lane_view view, ptrdiff_t at, const size_t lanes)
{
    return lanes == VEC_WIDTH ? vec_load(view.data + at) : vec_load_partial(view.data + at, lanes, vec_set(0));
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
    UNROLL for (int v = 0; v < vectors; v++) max[v] = odd[v] = vec_set((real)-INFINITY);
    size_t j = 0;
    for (; j + 2 <= classes; j += 2)
        UNROLL for (int v = 0; v < vectors; v++) {
            ptrdiff_t at = v * x.vector_step + (ptrdiff_t)j * x.stride;
            max[v] = vec_max(lanes_load(x, at, lanes), max[v]);
            odd[v] = vec_max(lanes_load(x, at + x.stride, lanes), odd[v]);
        }
    UNROLL for (int v = 0; v < vectors; v++) {
        if (j < classes) max[v] = vec_max(lanes_load(x, v * x.vector_step + (ptrdiff_t)j * x.stride, lanes), max[v]);
        max[v] = vec_add(vec_max(max[v], odd[v]), vec_set(0)); /* a zero maximum is +0 */
    }
}

struct lane_args {
    struct lane_view x, x2; /* x2.data NULL: there is none */
    const struct row_view *w; /* class weights, the same for all rows; data NULL: none */
    struct lane_view store; /* where SUM_EXP... leave exp_scaled(x); strides 0 if nobody wants it */
    const struct row_lanes *row; /* one a vector of the group */
    struct bins *bins;           /* of SUM_EXP_BUT_MAX over more than a block; one a row */
    const struct row_target *target;
};

MATH vec lane_weight(const struct row_view *w, ptrdiff_t j)
{
    return w->data ? vec_set(read_one(w->data, w->dtype, j * w->stride)) : vec_set(0);
}

MATH vec lane_step(enum sum_term term, const struct lane_args *a, size_t class_index, int v, const size_t lanes,
                   veci *ties)
{
    ptrdiff_t j = (ptrdiff_t)class_index;
    vec x2 = sum_reads_second(term) && a->x2.data ? lanes_load(a->x2, v * a->x2.vector_step + j * a->x2.stride, lanes) : vec_set(0);
    vec x = lanes_load(a->x, v * a->x.vector_step + j * a->x.stride, lanes);
    vec w = sum_reads_weight(term) ? lane_weight(a->w, j) : vec_set(0);
    vec stored, value = sum_value(term, x, x2, w, &a->row[v], a->target, &stored, ties);
    if (sum_stores(term)) lanes_store(a->store, v * a->store.vector_step + j * a->store.stride, stored, lanes);
    return value;
}

/* One virtual lane's sum in a block: the tree over its steps, in double. */
MATH wide lane_sum(enum sum_term term, const int unroll, const struct lane_args *a, size_t first, size_t steps, int v,
                   const size_t lanes, veci *ties)
{
#define STEP(s) lane_step(term, a, first + (s) * LANES, v, lanes, ties)
    vec low, high;
    if (unroll && steps == STEPS) {
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
        vec held[4];
        low = vec_set(0);
        for (size_t s = 0; s < steps; s++) {
            low = STEP(s);
            size_t level = 0;
            for (; s >> level & 1; level++) low = vec_add(held[level], low);
            held[level] = low;
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

/* The same tree where no virtual lane has more than one class. */
MATH void lanes_sum_narrow(enum sum_term term, const struct lane_args *a, size_t classes, const int vectors,
                           const size_t lanes, wide sum[GROUP], veci ties[GROUP])
{
    for (int v = 0; v < vectors; v++) {
        vec term_of[LANES];
        wide fold[8];
        veci equal = veci_set(0);
        for (size_t j = 0; j < classes; j++) term_of[j] = lane_step(term, a, j, v, lanes, &equal);
        for (size_t k = 0; k < 8; k++) {
            fold[k] = wide_set(0.0);
            if (k >= classes) continue;
            fold[k] = wide_from_vec(term_of[k]);
            if (k + 16 < classes) fold[k] = wide_add(fold[k], wide_from_vec(term_of[k + 16]));
            if (k + 8 >= classes) continue;
            wide high = wide_from_vec(term_of[k + 8]);
            if (k + 24 < classes) high = wide_add(high, wide_from_vec(term_of[k + 24]));
            fold[k] = wide_add(fold[k], high);
        }
        sum[v] = wide_add(wide_add(wide_add(fold[0], fold[4]), wide_add(fold[2], fold[6])),
                          wide_add(wide_add(fold[1], fold[5]), wide_add(fold[3], fold[7])));
        ties[v] = equal;
    }
}

MATH wide fold_total(wide fold[8][GROUP], int v)
{
    return wide_add(wide_add(wide_add(fold[0][v], fold[4][v]), wide_add(fold[2][v], fold[6][v])),
                    wide_add(wide_add(fold[1][v], fold[5][v]), wide_add(fold[3][v], fold[7][v])));
}

/* A block's sums into the bins of their rows. */
MATH void lanes_bin(wide fold[8][GROUP], const int vectors, struct bins *bins)
{
    total sums[VEC_WIDTH];
    for (int v = 0; v < vectors; v++) {
        wide_store_total(sums, fold_total(fold, v));
        for (int w = 0; w < VEC_WIDTH; w++) bins_add_total(&bins[v * VEC_WIDTH + w], sums[w]);
    }
}

/* Sum of a term over the classes, a row a lane, wide. ties: of SUM_EXP_BUT_MAX. unroll: for
 * the terms that are worth it. */
MATH void lanes_sum(enum sum_term term, const int unroll, const struct lane_args *a, size_t classes, const int vectors,
                    const size_t lanes, wide sum[GROUP], veci ties[GROUP])
{
    wide fold[8][GROUP];
    int binned = term == SUM_EXP_BUT_MAX && classes > BLOCK;
    if (binned) memset(a->bins, 0, (size_t)vectors * VEC_WIDTH * sizeof *a->bins);
    UNROLL for (int v = 0; v < vectors; v++) ties[v] = veci_set(0);
    for (size_t first = 0; first < classes; first += BLOCK) {
        size_t count = classes - first < BLOCK ? classes - first : BLOCK;
        if (first == 0 || binned)
            ROLLED for (int k = 0; k < 8; k++)
                UNROLL for (int v = 0; v < vectors; v++) fold[k][v] = wide_set(0.0);
        ROLLED for (size_t k = 0; k < 8 && k < count; k++)
            ROLLED for (int v = 0; v < vectors; v++) {
                /* (k + k+16) + (k+8 + k+24); a lane without a class is zero, and left out */
                wide half[2];
                size_t halves = k + 8 < count ? 2 : 1;
                ROLLED for (size_t h = 0; h < halves; h++)
                    ROLLED for (size_t l = k + 8 * h; l < LANES && l < count; l += 16) {
                        wide sum_l = lane_sum(term, unroll, a, first + l, (count - l + LANES - 1) / LANES, v, lanes, &ties[v]);
                        half[h] = l < 16 ? sum_l : wide_add(half[h], sum_l);
                    }
                if (halves == 2) half[0] = wide_add(half[0], half[1]);
                fold[k][v] = wide_add(fold[k][v], half[0]);
            }
        if (binned) lanes_bin(fold, vectors, a->bins);
    }
    if (classes == 0)
        ROLLED for (int k = 0; k < 8; k++)
            UNROLL for (int v = 0; v < vectors; v++) fold[k][v] = wide_set(0.0);
    total sums[GROUP * VEC_WIDTH];
    if (binned)
        for (size_t i = 0; i < (size_t)vectors * VEC_WIDTH; i++) sums[i] = bins_total(&a->bins[i]);
    UNROLL for (int v = 0; v < vectors; v++)
        sum[v] = binned ? wide_load_total(sums + v * VEC_WIDTH) : fold_total(fold, v);
}

/* The same for one whole vector of rows, and any term. */
static void lanes_sum_any(enum sum_term term, const struct lane_args *a, size_t classes, wide sum[GROUP])
{
    veci ties[GROUP];
    lanes_sum(term, 0, a, classes, 1, VEC_WIDTH, sum, ties);
}

/* a: x, x2, w, row and target are used. */
MATH void lanes_write(const enum write_term term, const struct lane_args *a, struct lane_view out, size_t classes,
                      const int vectors, const size_t lanes)
{
    struct lane_view x = a->x, x2 = a->x2;
    for (size_t j = 0; j < classes; j++)
        UNROLL for (int v = 0; v < vectors; v++) {
            vec in = lanes_load(x, v * x.vector_step + (ptrdiff_t)j * x.stride, lanes);
            vec in2 = write_reads_second(term) && x2.data ? lanes_load(x2, v * x2.vector_step + (ptrdiff_t)j * x2.stride, lanes) : in;
            vec w = write_reads_weight(term) ? lane_weight(a->w, (ptrdiff_t)j) : in;
            vec value = write_value(term, in, in2, w, &a->row[v], a->target);
            lanes_store(out, v * out.vector_step + (ptrdiff_t)j * out.stride, value, lanes);
        }
}

/* -- Rows that do not lie side by side: VEC_WIDTH of them are brought into a tile,
 * tile[j * VEC_WIDTH + lane], and back. -- */

/* Classes of the widest row that takes this way. */
#define TILE_CLASSES 128

MATH void *tensor_at(const struct row_tensor *tensor, size_t row, size_t j)
{
    return (char *)tensor->data + (tensor->row[row] + (ptrdiff_t)j * tensor->class_stride) * (ptrdiff_t)dtype_size(tensor->dtype);
}

/* Rows first ... of a tensor, of which count exist; the other lanes repeat the last one. */
static void tile_read(const struct row_tensor *tensor, size_t first, size_t count, size_t classes, double softcap,
                      real *tile)
{
    const real *rows[VEC_WIDTH];
    const ptrdiff_t stride = tensor->class_stride;
    int unit = count == VEC_WIDTH; /* neighbours, a lane apart */
    for (size_t w = 0; w < VEC_WIDTH; w++) {
        ptrdiff_t row = tensor->row[first + (w < count ? w : count - 1)];
        rows[w] = (const real *)tensor->data + (tensor->dtype == REAL_DTYPE ? row : 0);
        unit &= row == tensor->row[first] + (ptrdiff_t)w;
    }
    if (tensor->dtype == REAL_DTYPE && stride == 1 && classes >= 4)
        for (size_t j = 0;; j = j + 8 > classes ? classes - 4 : j + 4) { /* the last four may overlap */
            vec columns[4];
            vec_load_rows4(rows, (ptrdiff_t)j, columns);
            for (size_t c = 0; c < 4; c++) vec_store(tile + (j + c) * VEC_WIDTH, columns[c]);
            if (j + 4 == classes) break;
        }
    else if (unit)
        for (size_t j = 0; j < classes; j++) {
            storage_read(tensor_at(tensor, first, j), tensor->dtype, 1, VEC_WIDTH, tile + j * VEC_WIDTH);
        }
    else
        for (size_t w = 0; w < VEC_WIDTH; w++) {
            ptrdiff_t row = tensor->row[first + (w < count ? w : count - 1)];
            for (size_t j = 0; j < classes; j++)
                tile[j * VEC_WIDTH + w] = read_one(tensor->data, tensor->dtype, row + (ptrdiff_t)j * stride);
        }
    if (softcap != 0.0) softcap_all(tile, classes * VEC_WIDTH, softcap);
}

static void tile_write(const struct row_tensor *tensor, size_t first, size_t count, size_t classes, const real *tile)
{
    real *rows[VEC_WIDTH];
    const ptrdiff_t stride = tensor->class_stride;
    int unit = count == VEC_WIDTH;
    if (tensor->dtype == REAL_DTYPE && stride == 1 && classes >= 4 && count == VEC_WIDTH) {
        for (size_t w = 0; w < VEC_WIDTH; w++) rows[w] = (real *)tensor->data + tensor->row[first + w];
        for (size_t j = 0;; j = j + 8 > classes ? classes - 4 : j + 4) {
            vec columns[4];
            for (size_t c = 0; c < 4; c++) columns[c] = vec_load(tile + (j + c) * VEC_WIDTH);
            vec_store_rows4(rows, (ptrdiff_t)j, columns);
            if (j + 4 == classes) return;
        }
    }
    for (size_t w = 0; w < count; w++) unit &= tensor->row[first + w] == tensor->row[first] + (ptrdiff_t)w;
    if (unit)
        for (size_t j = 0; j < classes; j++)
            storage_write(tensor_at(tensor, first, j), tensor->dtype, 1, VEC_WIDTH, tile + j * VEC_WIDTH);
    else
        for (size_t w = 0; w < count; w++)
            for (size_t j = 0; j < classes; j++)
                write_one(tensor->data, tensor->dtype, tensor->row[first + w] + (ptrdiff_t)j * stride, tile[j * VEC_WIDTH + w]);
}

#endif
