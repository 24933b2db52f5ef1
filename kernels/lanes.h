/* Rows in the lanes: each lane holds a row of its own, and the loop runs over the classes.
 *
 * The sums take the very tree of along.h: class j of a row is in virtual lane j mod 32,
 * which here is a vector of its own, so the bits are the same. The rows may lie in memory
 * next to each other (positions of an (N,C,d) tensor), or in a tile on the stack. */
#ifndef XENT_KERNELS_LANES_H
#define XENT_KERNELS_LANES_H

#include "bins.h"
#include "rows.h"
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

/* Row maxima, NaN passed over. Several classes at a time, lest each maximum wait for
 * the last. Places are added up: compilers would leave multiplications by the stride in the loop, and not every core is quick at
 * these. */
MATH void lanes_max(struct lane_view x, size_t classes, const int vectors, const size_t lanes, vec max[GROUP])
{
    const int ways = 2 * GROUP / vectors;
    vec part[2 * GROUP], all = vec_set(0);
    size_t j = 0;
    ptrdiff_t at = 0;
    UNROLL for (int w = 0; w < 2 * GROUP; w++) part[w] = vec_set((real)-INFINITY);
#define TAKE(w)                                                                                        \
    UNROLL for (int v = 0; v < vectors; v++) {                                                         \
        vec in = lanes_load(x, v * x.vector_step + at + (w) * x.stride, lanes);                        \
        part[(w) * vectors + v] = vec_larger(in, part[(w) * vectors + v]);                             \
    }
    for (; j + (size_t)ways <= classes; j += (size_t)ways, at += ways * x.stride)
        UNROLL for (int w = 0; w < ways; w++) TAKE(w)
    for (; j < classes; j++, at += x.stride) TAKE(0)
#undef TAKE
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
    struct bins *bins;           /* of exponentials over more than a block; one a row */
    const struct row_target *target;
};

MATH vec lane_weight(const struct row_view *w, ptrdiff_t j)
{
    return w->data ? vec_set(read_one(w->data, w->dtype, j * w->stride)) : vec_set(0);
}

MATH vec lane_step(enum sum_term term, const struct lane_args *a, const struct row_lanes *row, size_t class_index, int v, const size_t lanes,
                   struct sum_notes *notes)
{
    ptrdiff_t j = (ptrdiff_t)class_index;
    vec x2 = sum_reads_second(term) && a->x2.data ? lanes_load(a->x2, v * a->x2.vector_step + j * a->x2.stride, lanes) : vec_set(0);
    vec x = lanes_load(a->x, v * a->x.vector_step + j * a->x.stride, lanes);
    vec w = sum_reads_weight(term) ? lane_weight(a->w, j) : vec_set(0);
    vec stored, value = sum_value(term, x, x2, w, row, a->target, &stored, &notes->ties);
    if (sum_stores(term)) lanes_store(a->store, v * a->store.vector_step + j * a->store.stride, stored, lanes);
    return value;
}

/* A virtual lane's sum over up to HALF steps of a block, of which there is at least one, from a class on. */
#define HALF (STEPS / 2)
MATH vec lane_sum(enum sum_term term, const struct lane_args *a, const struct row_lanes *row, size_t at, size_t steps, int v, const size_t lanes,
                  struct sum_notes *notes)
{
#define STEP(s) lane_step(term, a, row, at + (s) * LANES, v, lanes, notes)
    vec sum = STEP(0), high;
    if (steps > 1) sum = vec_add(sum, STEP(1));
    if (steps > 2) {
        high = STEP(2);
        if (steps > 3) high = vec_add(high, STEP(3));
        sum = vec_add(sum, high);
    }
#undef STEP
    return sum;
}

/* The same of a whole block of few classes, whose terms are all there. */
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

MATH wide fold_total(const wide fold[8], const int finite)
{
    wide even = wide_sum(finite, wide_sum(finite, fold[0], fold[4]), wide_sum(finite, fold[2], fold[6]));
    wide odd = wide_sum(finite, wide_sum(finite, fold[1], fold[5]), wide_sum(finite, fold[3], fold[7]));
    return wide_sum(finite, even, odd);
}

/* lanes_sum of exponentials where vectors times classes is at most TILE_CLASSES, and not 0. */
MATH void lanes_sum_narrow(enum sum_term term, const struct lane_args *a, size_t classes, const int vectors,
                           const size_t lanes, wide sum[GROUP], struct sum_notes notes[GROUP])
{
    vec term_of[TILE_CLASSES];
    const size_t n = (size_t)vectors;
    const struct lane_args own = *a; /* and what else no store into a tensor can change */
    struct row_lanes row[GROUP];
    struct sum_notes found[GROUP];
    UNROLL for (int v = 0; v < vectors; v++) {
        row[v] = a->row[v];
        found[v] = (struct sum_notes){veci_set(0), vec_set(0)};
    }
    for (size_t j = 0; j < classes; j++)
        UNROLL for (int v = 0; v < vectors; v++) term_of[j * n + (size_t)v] = lane_step(term, &own, &row[v], j, v, lanes, &found[v]);
    UNROLL for (int v = 0; v < vectors; v++) notes[v] = found[v];
    ROLLED for (int v = 0; v < vectors; v++) {
        const vec *terms = term_of + v;
        wide fold[8];
        UNROLL for (size_t k = 0; k < 8; k++) {
            fold[k] = wide_set(0.0);
            if (k >= classes) continue;
            fold[k] = lane_total(terms, n, k, classes);
            if (k + 16 < classes) fold[k] = wide_add_plain(fold[k], lane_total(terms, n, k + 16, classes));
            if (k + 8 >= classes) continue;
            wide high = lane_total(terms, n, k + 8, classes);
            if (k + 24 < classes) high = wide_add_plain(high, lane_total(terms, n, k + 24, classes));
            fold[k] = k + 16 < classes ? wide_add_finite(fold[k], high) : wide_add_plain(fold[k], high);
        }
        sum[v] = fold_total(fold, 1);
    }
}

/* A block's sums into the bins of their rows. */
MATH void lanes_bin(enum sum_term term, wide sum, const struct row_lanes *row, struct bins *bins)
{
    total sums[VEC_WIDTH];
    real units[VEC_WIDTH];
    vec unused;
    wide_store_total(sums, sum);
    if (term != SUM_EXP) vec_store(units, exp_row_unit(row->max, row->exp, &unused));
    for (int w = 0; w < VEC_WIDTH; w++) bins_add_total(&bins[w], sums[w], term == SUM_EXP ? BINS_WHOLE_SHIFTER : bins_shifter(units[w]));
}

/* Sum of a term over the classes, a row a lane, wide. Half a block at a time, four of its steps side
 * by side, so that the classes are taken in their order: out of it, the hardware would fetch none ahead. */
MATH void lanes_sum(const enum sum_term term, const struct lane_args *a, size_t classes, int vectors, const size_t lanes,
                    wide sum[GROUP], struct sum_notes notes[GROUP])
{
    const struct lane_args own = *a;
    vec lane[GROUP][LANES];
    wide fold[GROUP][8];
    const int exps = sum_of_exps(term), binned = exps && classes > BLOCK;
    if (binned) memset(a->bins, 0, (size_t)vectors * VEC_WIDTH * sizeof *a->bins);
    ROLLED for (int v = 0; v < vectors; v++) {
        notes[v] = (struct sum_notes){veci_set(0), vec_set((real)-INFINITY)};
        ROLLED for (int k = 0; k < 8 && !binned; k++) fold[v][k] = wide_set(0.0);
    }
    for (size_t first = 0; first < classes; first += BLOCK) {
        const size_t count = classes - first < BLOCK ? classes - first : BLOCK;
        for (size_t half = 0; half < count; half += HALF * LANES)
            ROLLED for (size_t l = 0; l < LANES; l++) {
                const size_t at = half + l, steps = at < count ? (count - at + LANES - 1) / LANES : 0;
                ROLLED for (int v = 0; v < vectors; v++) {
                    const struct row_lanes row = a->row[v];
                    struct sum_notes found = notes[v];
                    vec value = steps >= HALF ? lane_sum(term, &own, &row, first + at, HALF, v, lanes, &found)
                                : steps       ? lane_sum(term, &own, &row, first + at, steps, v, lanes, &found)
                                              : vec_set(0);
                    notes[v] = found;
                    lane[v][l] = half ? vec_add(lane[v][l], value) : value;
                }
            }
        ROLLED for (int v = 0; v < vectors; v++) {
            ROLLED for (int k = 0; k < 8; k++) {
                wide low = wide_add_plain(wide_from_vec(lane[v][k]), wide_from_vec(lane[v][k + 16]));
                wide high = wide_add_plain(wide_from_vec(lane[v][k + 8]), wide_from_vec(lane[v][k + 24]));
                low = wide_sum(exps, low, high);
                fold[v][k] = binned ? low : wide_sum(exps, fold[v][k], low);
            }
            if (binned) lanes_bin(term, fold_total(fold[v], exps), &a->row[v], a->bins + v * VEC_WIDTH);
        }
    }
    ROLLED for (int v = 0; v < vectors; v++) {
        total sums[VEC_WIDTH];
        for (size_t w = 0; w < VEC_WIDTH && binned; w++) sums[w] = bins_total(&a->bins[(size_t)v * VEC_WIDTH + w]);
        sum[v] = binned ? wide_load_total(sums) : fold_total(fold[v], exps);
    }
}

/* The same for one whole vector of rows, and any term. */
static void lanes_sum_any(enum sum_term term, const struct lane_args *a, size_t classes, wide sum[GROUP])
{
    struct sum_notes notes[GROUP];
    lanes_sum(term, a, classes, 1, VEC_WIDTH, sum, notes);
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

/* Rows first ... of a tensor, of which count exist; the other lanes repeat the last one. */
static void tile_read(const struct row_tensor *tensor, size_t first, size_t count, size_t classes, double softcap,
                      real *tile)
{
    real scratch[TILE_CLASSES * VEC_WIDTH];
    const ptrdiff_t stride = tensor->class_stride;
    if (stride != 1 && count == VEC_WIDTH && rows_follow(tensor, first, count, 1))
        for (size_t j = 0; j < classes; j++)
            storage_read(tensor_at(tensor, first, j), tensor->dtype, 1, VEC_WIDTH, tile + j * VEC_WIDTH);
    else {
        const int in_place = tensor->dtype == REAL_DTYPE && stride == 1;
        const real *from = in_place ? tensor->data : scratch;
        const ptrdiff_t *rows = tensor->row + first;
        ptrdiff_t own[VEC_WIDTH];
        if (!in_place || count < VEC_WIDTH) {
            for (size_t w = 0; w < VEC_WIDTH; w++) {
                const size_t r = w < count ? w : count - 1;
                own[w] = in_place ? rows[r] : (ptrdiff_t)(r * classes);
            }
            rows = own;
        }
        if (!in_place && stride == 1 && rows_follow(tensor, first, count, classes))
            storage_read(tensor_at(tensor, first, 0), tensor->dtype, 1, count * classes, scratch);
        else if (!in_place)
            for (size_t w = 0; w < count; w++)
                storage_read(tensor_at(tensor, first + w, 0), tensor->dtype, stride, classes, scratch + w * classes);
        for (size_t j = 0; classes >= 4; j = j + 8 > classes ? classes - 4 : j + 4) { /* the last four may overlap */
            vec columns[4];
            vec_load_rows4(from + j, rows, columns);
            for (size_t c = 0; c < 4; c++) vec_store(tile + (j + c) * VEC_WIDTH, columns[c]);
            if (j + 4 == classes) break;
        }
        for (size_t j = 0; classes < 4 && j < classes; j++)
            for (size_t w = 0; w < VEC_WIDTH; w++) tile[j * VEC_WIDTH + w] = from[rows[w] + (ptrdiff_t)j];
    }
    if (softcap != 0.0) softcap_all(tile, classes * VEC_WIDTH, softcap);
}

static void tile_write(const struct row_tensor *tensor, size_t first, size_t count, size_t classes, const real *tile)
{
    real scratch[TILE_CLASSES * VEC_WIDTH];
    const ptrdiff_t stride = tensor->class_stride;
    if (stride != 1 && count == VEC_WIDTH && rows_follow(tensor, first, count, 1)) {
        for (size_t j = 0; j < classes; j++)
            storage_write(tensor_at(tensor, first, j), tensor->dtype, 1, VEC_WIDTH, tile + j * VEC_WIDTH);
        return;
    }
    const int in_place = tensor->dtype == REAL_DTYPE && stride == 1 && count == VEC_WIDTH;
    real *to = in_place ? tensor->data : scratch;
    const ptrdiff_t *rows = tensor->row + first;
    ptrdiff_t own[VEC_WIDTH];
    if (!in_place) {
        for (size_t w = 0; w < VEC_WIDTH; w++) own[w] = (ptrdiff_t)(w * classes);
        rows = own;
    }
    for (size_t j = 0; classes >= 4; j = j + 8 > classes ? classes - 4 : j + 4) {
        vec columns[4];
        for (size_t c = 0; c < 4; c++) columns[c] = vec_load(tile + (j + c) * VEC_WIDTH);
        vec_store_rows4(to + j, rows, columns);
        if (j + 4 == classes) break;
    }
    for (size_t j = 0; classes < 4 && j < classes; j++)
        for (size_t w = 0; w < VEC_WIDTH; w++) to[rows[w] + (ptrdiff_t)j] = tile[j * VEC_WIDTH + w];
    if (in_place) return;
    if (stride == 1 && rows_follow(tensor, first, count, classes))
        storage_write(tensor_at(tensor, first, 0), tensor->dtype, 1, count * classes, scratch);
    else
        for (size_t w = 0; w < count; w++)
            storage_write(tensor_at(tensor, first + w, 0), tensor->dtype, stride, classes, scratch + w * classes);
}

#endif
