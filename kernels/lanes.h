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

/* Classes of the widest row that takes the way through a tile. */
#define TILE_CLASSES (4 * LANES)

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

/* lanes_max where a NaN was lost: see vec_larger. */
static __attribute__((noinline)) void lanes_max_again(struct lane_view x, size_t classes, int vectors, size_t lanes, vec max[GROUP])
{
    for (int v = 0; v < vectors; v++) {
        max[v] = vec_set((real)-INFINITY);
        for (size_t j = 0; j < classes; j++)
            max[v] = vec_max(lanes_load(x, v * x.vector_step + (ptrdiff_t)j * x.stride, lanes), max[v]);
    }
}

/* Row maxima, NaN passed over. Several classes at a time, lest each maximum wait for the last. Places are added up:
 * compilers would leave multiplications by the stride in the loop, and not every core is quick at these. */
MATH void lanes_max(struct lane_view x, size_t classes, const int vectors, const size_t lanes, vec max[GROUP])
{
    const int ways = 2 * GROUP / vectors;
    vec part[2 * GROUP], all = vec_set(0);
    size_t j = 0;
    ptrdiff_t at = 0;
    UNROLL for (int w = 0; w < 2 * GROUP; w++) part[w] = vec_set((real)-INFINITY);
    for (; j + (size_t)ways <= classes; j += (size_t)ways, at += ways * x.stride)
        UNROLL for (int w = 0; w < ways; w++)
            UNROLL for (int v = 0; v < vectors; v++)
                part[w * vectors + v] =
                    vec_larger(lanes_load(x, v * x.vector_step + at + w * x.stride, lanes), part[w * vectors + v]);
    for (; j < classes; j++, at += x.stride)
        UNROLL for (int v = 0; v < vectors; v++)
            part[v] = vec_larger(lanes_load(x, v * x.vector_step + at, lanes), part[v]);
    UNROLL for (int v = 0; v < vectors; v++) {
        max[v] = part[v];
        UNROLL for (int w = 1; w < ways; w++) max[v] = vec_larger(max[v], part[w * vectors + v]);
        all = v ? vec_larger(max[v], all) : max[v];
    }
    if (vec_larger_lost(all)) lanes_max_again(x, classes, vectors, lanes, max);
    UNROLL for (int v = 0; v < vectors; v++) max[v] = vec_add(max[v], vec_set(0)); /* a zero maximum is +0 */
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

/* One virtual lane's sums in a block, of each vector of rows: the tree of block_sum over its
 * steps. All terms come first, for they don't wait for each other. */
MATH void lane_sum(enum sum_term term, const struct lane_args *a, size_t first, size_t steps, const int vectors,
                   const size_t lanes, vec sum[GROUP], veci ties[GROUP])
{
    vec value[STEPS][GROUP];
    size_t s = 0; /* there is at least one step */
    do
        UNROLL for (int v = 0; v < vectors; v++) value[s][v] = lane_step(term, a, first + s * LANES, v, lanes, &ties[v]);
    while (++s < steps);
    for (size_t half = 1; half < steps; half *= 2)
        for (s = 0; s + half < steps; s += 2 * half)
            UNROLL for (int v = 0; v < vectors; v++) value[s][v] = vec_add(value[s][v], value[s + half][v]);
    UNROLL for (int v = 0; v < vectors; v++) sum[v] = value[0][v];
}

/* The same of few classes, whose terms are all there. */
MATH wide lane_total(const vec *term, const size_t vectors, size_t l, size_t classes)
{
    const size_t step = vectors * LANES;
    const vec *at = term + l * vectors;
    vec sum = at[0];
    if (l + LANES < classes) sum = vec_add(sum, at[step]);
    if (l + 2 * LANES < classes) {
        vec high = at[2 * step];
        if (l + 3 * LANES < classes) high = vec_add(high, at[3 * step]);
        sum = vec_add(sum, high);
    }
    return wide_from_vec(sum);
}

/* lanes_sum where vectors times classes is at most TILE_CLASSES, and not 0. */
MATH void lanes_sum_narrow(enum sum_term term, const struct lane_args *a, size_t classes, const int vectors,
                           const size_t lanes, wide sum[GROUP], veci ties[GROUP])
{
    vec term_of[TILE_CLASSES];
    const size_t n = (size_t)vectors;
    struct lane_args own = *a; /* and what else no store into a tensor can change */
    struct row_lanes row[GROUP];
    veci found[GROUP];
    own.row = row;
    UNROLL for (int v = 0; v < vectors; v++) {
        row[v] = a->row[v];
        found[v] = veci_set(0);
    }
    for (size_t j = 0; j < classes; j++)
        UNROLL for (int v = 0; v < vectors; v++) term_of[j * n + (size_t)v] = lane_step(term, &own, j, v, lanes, &found[v]);
    UNROLL for (int v = 0; v < vectors; v++) ties[v] = found[v];
    ROLLED for (int v = 0; v < vectors; v++) {
        const vec *terms = term_of + v;
        wide fold[8];
        UNROLL for (size_t k = 0; k < 8; k++) {
            fold[k] = wide_set(0.0);
            if (k >= classes) continue;
            fold[k] = lane_total(terms, n, k, classes);
            if (k + 16 < classes) fold[k] = wide_add(fold[k], lane_total(terms, n, k + 16, classes));
            if (k + 8 >= classes) continue;
            wide high = lane_total(terms, n, k + 8, classes);
            if (k + 24 < classes) high = wide_add(high, lane_total(terms, n, k + 24, classes));
            fold[k] = wide_add(fold[k], high);
        }
        sum[v] = wide_add(wide_add(wide_add(fold[0], fold[4]), wide_add(fold[2], fold[6])),
                          wide_add(wide_add(fold[1], fold[5]), wide_add(fold[3], fold[7])));
    }
}

MATH wide fold_total(wide fold[8][GROUP], int v)
{
    return wide_add(wide_add(wide_add(fold[0][v], fold[4][v]), wide_add(fold[2][v], fold[6][v])),
                    wide_add(wide_add(fold[1][v], fold[5][v]), wide_add(fold[3][v], fold[7][v])));
}

/* A block's sums into the bins of their rows. */
MATH void lanes_bin(wide fold[8][GROUP], const int vectors, const struct row_lanes *row, struct bins *bins)
{
    total sums[VEC_WIDTH];
    real units[VEC_WIDTH];
    vec unused;
    for (int v = 0; v < vectors; v++) {
        wide_store_total(sums, fold_total(fold, v));
        vec_store(units, exp_row_unit(row[v].max, row[v].exp, &unused));
        for (int w = 0; w < VEC_WIDTH; w++) bins_add_total(&bins[v * VEC_WIDTH + w], sums[w], bins_shifter(units[w]));
    }
}

/* Sum of a term over the classes, a row a lane, wide. ties: of SUM_EXP_BUT_MAX. */
MATH void lanes_sum(enum sum_term term, const struct lane_args *a, size_t classes, const int vectors,
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
        ROLLED for (size_t k = 0; k < 8 && k < count; k++) {
            /* (k + k+16) + (k+8 + k+24); a lane without a class is zero, and left out */
            wide half[2][GROUP];
            size_t halves = k + 8 < count ? 2 : 1;
            ROLLED for (size_t h = 0; h < halves; h++)
                ROLLED for (size_t l = k + 8 * h; l < LANES && l < count; l += 16) {
                    vec lane[GROUP];
                    lane_sum(term, a, first + l, (count - l + LANES - 1) / LANES, vectors, lanes, lane, ties);
                    UNROLL for (int v = 0; v < vectors; v++) {
                        wide sum_l = wide_from_vec(lane[v]);
                        half[h][v] = l < 16 ? sum_l : wide_add(half[h][v], sum_l);
                    }
                }
            UNROLL for (int v = 0; v < vectors; v++) {
                if (halves == 2) half[0][v] = wide_add(half[0][v], half[1][v]);
                fold[k][v] = wide_add(fold[k][v], half[0][v]);
            }
        }
        if (binned) lanes_bin(fold, vectors, a->row, a->bins);
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
    lanes_sum(term, a, classes, 1, VEC_WIDTH, sum, ties);
}

/* a: x, x2, w, row and target are used. */
MATH void lanes_write(const enum write_term term, const struct lane_args *a, struct lane_view out, size_t classes,
                      const int vectors, const size_t lanes)
{
    struct lane_view x = a->x, x2 = a->x2;
    struct row_lanes row[GROUP]; /* which no store into a tensor can change */
    ptrdiff_t at = 0, at2 = 0, to = 0;
    UNROLL for (int v = 0; v < vectors; v++) row[v] = a->row[v];
    for (size_t j = 0; j < classes; j++, at += x.stride, at2 += x2.stride, to += out.stride)
        UNROLL for (int v = 0; v < vectors; v++) {
            vec in = lanes_load(x, v * x.vector_step + at, lanes);
            vec in2 = write_reads_second(term) && x2.data ? lanes_load(x2, v * x2.vector_step + at2, lanes) : in;
            vec w = write_reads_weight(term) ? lane_weight(a->w, (ptrdiff_t)j) : in;
            vec value = write_value(term, in, in2, w, &row[v], a->target);
            lanes_store(out, v * out.vector_step + to, value, lanes);
        }
}

/* -- Rows that do not lie side by side: VEC_WIDTH of them are brought into a tile,
 * tile[j * VEC_WIDTH + lane], and back. -- */

MATH void *tensor_at(const struct row_tensor *tensor, size_t row, size_t j)
{
    return (char *)tensor->data + (tensor->row[row] + (ptrdiff_t)j * tensor->class_stride) * (ptrdiff_t)dtype_size(tensor->dtype);
}

/* Whether count rows follow each other at this distance: at 1, one class of them can go as a run; at
 * the number of classes, where these lie side by side, all rows can. */
MATH int rows_follow(const struct row_tensor *tensor, size_t first, size_t count, size_t distance)
{
    for (size_t w = 1; w < count; w++)
        if (tensor->row[first + w] != tensor->row[first] + (ptrdiff_t)(w * distance)) return 0;
    return 1;
}

/* Rows first ... of a tensor, of which count exist; the other lanes repeat the last one. */
static void tile_read(const struct row_tensor *tensor, size_t first, size_t count, size_t classes, double softcap,
                      real *tile)
{
    real scratch[TILE_CLASSES * VEC_WIDTH];
    const real *rows[VEC_WIDTH];
    const ptrdiff_t stride = tensor->class_stride;
    if (stride != 1 && count == VEC_WIDTH && rows_follow(tensor, first, count, 1))
        for (size_t j = 0; j < classes; j++)
            storage_read(tensor_at(tensor, first, j), tensor->dtype, 1, VEC_WIDTH, tile + j * VEC_WIDTH);
    else {
        int in_place = tensor->dtype == REAL_DTYPE && stride == 1;
        for (size_t w = 0; w < VEC_WIDTH; w++)
            rows[w] = in_place ? (const real *)tensor->data + tensor->row[first + (w < count ? w : count - 1)]
                               : scratch + (w < count ? w : count - 1) * classes;
        if (!in_place && stride == 1 && rows_follow(tensor, first, count, classes))
            storage_read(tensor_at(tensor, first, 0), tensor->dtype, 1, count * classes, scratch);
        else if (!in_place)
            for (size_t w = 0; w < count; w++)
                storage_read(tensor_at(tensor, first + w, 0), tensor->dtype, stride, classes, scratch + w * classes);
        for (size_t j = 0; classes >= 4; j = j + 8 > classes ? classes - 4 : j + 4) { /* the last four may overlap */
            vec columns[4];
            vec_load_rows4(rows, (ptrdiff_t)j, columns);
            for (size_t c = 0; c < 4; c++) vec_store(tile + (j + c) * VEC_WIDTH, columns[c]);
            if (j + 4 == classes) break;
        }
        for (size_t j = 0; classes < 4 && j < classes; j++)
            for (size_t w = 0; w < VEC_WIDTH; w++) tile[j * VEC_WIDTH + w] = rows[w][j];
    }
    if (softcap != 0.0) softcap_all(tile, classes * VEC_WIDTH, softcap);
}

static void tile_write(const struct row_tensor *tensor, size_t first, size_t count, size_t classes, const real *tile)
{
    real scratch[TILE_CLASSES * VEC_WIDTH], *rows[VEC_WIDTH];
    const ptrdiff_t stride = tensor->class_stride;
    if (stride != 1 && count == VEC_WIDTH && rows_follow(tensor, first, count, 1)) {
        for (size_t j = 0; j < classes; j++)
            storage_write(tensor_at(tensor, first, j), tensor->dtype, 1, VEC_WIDTH, tile + j * VEC_WIDTH);
        return;
    }
    int in_place = tensor->dtype == REAL_DTYPE && stride == 1 && count == VEC_WIDTH;
    for (size_t w = 0; w < VEC_WIDTH; w++)
        rows[w] = in_place ? (real *)tensor->data + tensor->row[first + w] : scratch + w * classes;
    for (size_t j = 0; classes >= 4; j = j + 8 > classes ? classes - 4 : j + 4) {
        vec columns[4];
        for (size_t c = 0; c < 4; c++) columns[c] = vec_load(tile + (j + c) * VEC_WIDTH);
        vec_store_rows4(rows, (ptrdiff_t)j, columns);
        if (j + 4 == classes) break;
    }
    for (size_t j = 0; classes < 4 && j < classes; j++)
        for (size_t w = 0; w < VEC_WIDTH; w++) rows[w][j] = tile[j * VEC_WIDTH + w];
    if (in_place) return;
    if (stride == 1 && rows_follow(tensor, first, count, classes))
        storage_write(tensor_at(tensor, first, 0), tensor->dtype, 1, count * classes, scratch);
    else
        for (size_t w = 0; w < count; w++)
            storage_write(tensor_at(tensor, first + w, 0), tensor->dtype, stride, classes, scratch + w * classes);
}

#endif
