/* Log-sum-exp, softmax, log-softmax and cross-entropy, forward and gradient.
 *
 * Three passes over a group of rows small enough to stay in cache: the row states (max,
 * rest), what follows from them for each row (vectorised over the rows), and the writing
 * of exp(x_j - max) factor, or (x_j - max) - offset. Where the output can hold it, the
 * first pass leaves exp_scaled(x_j) there, and the last only multiplies. */
#ifndef XENT_KERNELS_SOFTMAX_H
#define XENT_KERNELS_SOFTMAX_H

#include "along.h"
#include "job.h"
#include "lanes.h"
#include "math/log.h"

/* Of each row of a job, between the passes. */
struct row_pass {
    double total[XENT_ROW_SLOTS];         /* sum of exp_scaled, maxima left out */
    double ties[XENT_ROW_SLOTS];          /* elements equal to the maximum */
    float target_logit[XENT_ROW_SLOTS];
    float target_gradient[XENT_ROW_SLOTS];
    float factor[XENT_ROW_SLOTS];         /* of exp_scaled(x): makes scale softmax(x) */
    float top[XENT_ROW_SLOTS];            /* exp_scaled(max) */
    float peak[XENT_ROW_SLOTS];           /* scale softmax(max) */
    float offset[XENT_ROW_SLOTS];         /* log1p(rest), or NaN where the maximum is infinite */
};

/* Rows first ... first + count - 1, and up to a vector's width beyond.
 *
 *   rest     = total inverse + (ties - 1)
 *   lse      = max + log1p(rest)
 *   loss     = w_y ((max - x_y) + log1p(rest)): neither term can cancel the other
 *   factor   = scale inverse / (1 + rest)
 *   gradient at the target = -scale rest / (1 + rest) where it attains the maximum, else
 *              exp_scaled(x_y) factor - scale, where softmax is at most 1/2
 *
 * rest, and what is made of it, are doubles until the one rounding at the end. A row whose
 * maximum is infinite has lse max (or NaN, by total), and NaN everywhere else. */
static void finish_rows(struct row_job *job, struct row_pass *pass, size_t first, size_t count, int want_log,
                        int want_factor, int with_target)
{
    for (size_t i = first; i < first + count; i += VEC_WIDTH) {
        vec max = vec_load(job->max + i);
        struct exp_row row = exp_row_of(max);
        mask infinite = vec_equal(vec_abs(max), vec_set(INFINITY));
        wide inverse = row_inverse(max, row), one = wide_set(1.0), rest;
        if (job->have_state) rest = wide_load(job->rest + i);
        else {
            wide others = wide_sub(wide_load(pass->ties + i), one);
            rest = wide_add(wide_mul(wide_load(pass->total + i), inverse), others);
            wide_store(job->rest + i, rest);
        }
        vec target = with_target ? vec_load(pass->target_logit + i) : max;
        if (want_log) {
            vec high = vec_from_wide(rest), low = vec_from_wide(wide_sub(rest, wide_from_vec(high)));
            vec log_rest = log1p_sum(high, low);
            vec_store(job->lse + i, vec_add(max, log_rest));
            log_rest = vec_select(infinite, vec_set(NAN), log_rest);
            vec_store(pass->offset + i, log_rest);
            if (with_target)
                vec_store(job->loss + i, vec_mul(vec_load(job->weight + i), vec_add(vec_sub(max, target), log_rest)));
        }
        if (want_factor) {
            wide scale = wide_load(job->scale + i);
            wide share = wide_div(wide_select(infinite, wide_set(NAN), scale), wide_add(one, rest));
            vec factor = vec_from_wide(wide_mul(share, inverse));
            vec_store(pass->factor + i, factor);
            vec_store(pass->top + i, exp_scaled(max, row));
            vec_store(pass->peak + i, vec_from_wide(share));
            if (with_target) {
                vec negative = vec_from_wide(wide_sub(wide_set(0.0), scale));
                vec at_max = vec_from_wide(wide_sub(wide_set(0.0), wide_mul(share, rest)));
                vec below = vec_fma(exp_scaled(target, row), factor, negative);
                vec_store(pass->target_gradient + i, vec_select(vec_equal(target, max), at_max, below));
            }
        }
    }
}

MATH int row_ignored(const struct row_job *job, size_t i, int with_target)
{
    return with_target && job->target[i] == XENT_NO_TARGET;
}

MATH struct row_view row_of(const struct row_tensor *tensor, size_t i)
{
    return (struct row_view){tensor->data ? tensor->data + tensor->row[i] : NULL, tensor->class_stride};
}

MATH void row_zero(struct row_view row, size_t classes)
{
    for (size_t j = 0; j < classes; j++) row.data[(ptrdiff_t)j * row.stride] = 0.0f;
}

MATH void load_target_logits(const struct row_job *job, struct row_pass *pass, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++)
        if (job->target[i] != XENT_NO_TARGET)
            pass->target_logit[i] = job->in.data[job->in.row[i] + (ptrdiff_t)job->target[i] * job->in.class_stride];
}

/* The target's own gradient, and the zeros of ignored rows, over what was written to all. */
MATH void store_target_gradients(const struct row_job *job, const struct row_pass *pass, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        struct row_view out = row_of(&job->out, i);
        if (job->target[i] == XENT_NO_TARGET) row_zero(out, job->classes);
        else out.data[(ptrdiff_t)job->target[i] * out.stride] = pass->target_gradient[i];
    }
}

/* -- Along the rows -- */

static void softmax_along(struct row_job *job, struct row_pass *pass, size_t first, size_t count,
                          enum write_term write, int with_target)
{
    int keep = write == WRITE_SOFTMAX && job->out.data && job->out.class_stride == 1 && !job->have_state;
    if (with_target) load_target_logits(job, pass, first, count);
    for (size_t i = first; i < first + count; i++) {
        if (job->have_state || row_ignored(job, i, with_target)) continue;
        struct row_max max;
        struct row_view none = {NULL, 1};
        along_max(row_of(&job->in, i), job->classes, &max);
        job->max[i] = max.max;
        pass->total[i] = along_exp_sum(row_of(&job->in, i), keep ? row_of(&job->out, i) : none, job->classes, &max,
                                       &pass->ties[i]);
    }
    finish_rows(job, pass, first, count, job->want_log || write == WRITE_LOG_SOFTMAX,
                job->out.data && write == WRITE_SOFTMAX, with_target);
    if (!job->out.data) return;
    for (size_t i = first; i < first + count; i++) {
        if (row_ignored(job, i, with_target)) continue;
        vec max = vec_set(job->max[i]);
        struct row_lanes row = {exp_row_of(max),           max, vec_set(pass->factor[i]), vec_set(pass->offset[i]),
                                vec_set(pass->top[i]), vec_set(pass->peak[i])};
        struct row_view in = row_of(&job->in, i), out = row_of(&job->out, i);
        if (keep) along_write(WRITE_SCALED, out, out, out, job->classes, &row);
        else if (write == WRITE_SOFTMAX) along_write(WRITE_SOFTMAX, in, in, out, job->classes, &row);
        else along_write(WRITE_LOG_SOFTMAX, in, in, out, job->classes, &row);
    }
    if (with_target) store_target_gradients(job, pass, first, count);
}

/* -- Rows in the lanes -- */

/* vectors whole vectors of rows from row first on, or one with the given number of lanes. */
MATH void softmax_lanes(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x,
                        struct lane_view out, const int vectors, const size_t lanes, enum write_term write,
                        int with_target)
{
    int keep = write == WRITE_SOFTMAX && out.data && !job->have_state;
    struct row_lanes row[GROUP];
    float nowhere[VEC_WIDTH];
    struct lane_view store = keep ? out : (struct lane_view){nowhere, 0, 0};
    vec max[GROUP];
    if (job->have_state)
        UNROLL for (int v = 0; v < vectors; v++) max[v] = vec_load(job->max + first + (size_t)v * VEC_WIDTH);
    else lanes_max(x, job->classes, vectors, lanes, max);
    UNROLL for (int v = 0; v < vectors; v++) row[v] = (struct row_lanes){exp_row_of(max[v]), max[v], max[v], max[v], max[v], max[v]};
    if (!job->have_state) {
        wide sum[GROUP];
        veci ties[GROUP];
        struct lane_args a = {x, x, store, row};
        lanes_sum(SUM_EXP_BUT_MAX, &a, job->classes, vectors, lanes, sum, ties);
        UNROLL for (int v = 0; v < vectors; v++) {
            vec_store(job->max + first + (size_t)v * VEC_WIDTH, max[v]);
            wide_store(pass->total + first + (size_t)v * VEC_WIDTH, sum[v]);
            wide_store(pass->ties + first + (size_t)v * VEC_WIDTH, wide_from_int(ties[v]));
        }
    }
    finish_rows(job, pass, first, (size_t)vectors * VEC_WIDTH, job->want_log || write == WRITE_LOG_SOFTMAX,
                out.data && write == WRITE_SOFTMAX, with_target);
    if (!out.data) return;
    UNROLL for (int v = 0; v < vectors; v++) {
        row[v].factor = vec_load(pass->factor + first + (size_t)v * VEC_WIDTH);
        row[v].offset = vec_load(pass->offset + first + (size_t)v * VEC_WIDTH);
        row[v].top = vec_load(pass->top + first + (size_t)v * VEC_WIDTH);
        row[v].peak = vec_load(pass->peak + first + (size_t)v * VEC_WIDTH);
    }
    if (keep) lanes_write(WRITE_SCALED, out, out, out, job->classes, vectors, lanes, row);
    else if (write == WRITE_SOFTMAX) lanes_write(WRITE_SOFTMAX, x, x, out, job->classes, vectors, lanes, row);
    else lanes_write(WRITE_LOG_SOFTMAX, x, x, out, job->classes, vectors, lanes, row);
}

/* The three sizes, of which each is compiled once. */
static void softmax_group(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x,
                          struct lane_view out, enum write_term write, int with_target)
{
    softmax_lanes(job, pass, first, x, out, GROUP, VEC_WIDTH, write, with_target);
}

static void softmax_vector(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x,
                           struct lane_view out, enum write_term write, int with_target)
{
    softmax_lanes(job, pass, first, x, out, 1, VEC_WIDTH, write, with_target);
}

static void softmax_partial(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x,
                            struct lane_view out, size_t lanes, enum write_term write, int with_target)
{
    softmax_lanes(job, pass, first, x, out, 1, lanes, write, with_target);
}

/* Positions next to each other in memory. */
static void softmax_direct(struct row_job *job, struct row_pass *pass, enum write_term write, int with_target)
{
    if (with_target) load_target_logits(job, pass, 0, job->rows);
    for (size_t i = 0, next; i < job->rows; i = next) {
        struct lane_view x = {job->in.data + job->in.row[i], job->in.class_stride, VEC_WIDTH};
        struct lane_view out = {NULL, 0, 0};
        if (job->out.data)
            out = (struct lane_view){job->out.data + job->out.row[i], job->out.class_stride, VEC_WIDTH};
        size_t left = job->rows - i;
        if (left >= GROUP * VEC_WIDTH) {
            next = i + GROUP * VEC_WIDTH;
            softmax_group(job, pass, i, x, out, write, with_target);
        } else if (left >= VEC_WIDTH) {
            next = i + VEC_WIDTH;
            softmax_vector(job, pass, i, x, out, write, with_target);
        } else {
            next = job->rows;
            softmax_partial(job, pass, i, x, out, left, write, with_target);
        }
    }
    if (with_target && job->out.data) store_target_gradients(job, pass, 0, job->rows);
}

/* Rows anywhere, of at most TILE_CLASSES classes, through a tile. */
static void softmax_tiled(struct row_job *job, struct row_pass *pass, size_t first, size_t count,
                          enum write_term write, int with_target)
{
    float tile[TILE_CLASSES * VEC_WIDTH];
    const float *in[VEC_WIDTH];
    float *out[VEC_WIDTH];
    struct lane_view view = {tile, VEC_WIDTH, VEC_WIDTH}, none = {NULL, 0, 0};
    for (size_t w = 0; w < VEC_WIDTH; w++) { /* lanes without a row repeat the last one */
        size_t i = first + (w < count ? w : count - 1);
        in[w] = job->in.data + job->in.row[i];
        out[w] = job->out.data ? job->out.data + job->out.row[i] : NULL;
    }
    if (with_target) load_target_logits(job, pass, first, count);
    tile_read(in, job->in.class_stride, job->classes, tile);
    softmax_vector(job, pass, first, view, job->out.data ? view : none, write, with_target);
    if (!job->out.data) return;
    tile_write(out, job->out.class_stride, job->classes, count, tile);
    if (with_target) store_target_gradients(job, pass, first, count);
}

/* Rows of a group along the row, so that what they keep stays in cache. */
MATH size_t along_group(size_t classes) { return classes <= 256 ? 16 : classes <= 2048 ? 4 : 1; }

/* Whether a tile of count rows is cheaper than the rows one by one: a tile takes as
 * many exponentials as there are classes, however few its rows. */
MATH int tile_pays(size_t count, size_t classes)
{
    return classes <= TILE_CLASSES && count * (classes / VEC_WIDTH + 4) >= classes;
}

static void softmax_job(struct row_job *job, enum write_term write, int with_target)
{
    struct row_pass pass;
    memset(&pass, 0, sizeof pass);
    if (job->unit_rows) softmax_direct(job, &pass, write, with_target);
    else
        for (size_t i = 0, count; i < job->rows; i += count) {
            size_t left = job->rows - i;
            count = left < VEC_WIDTH ? left : VEC_WIDTH;
            if (tile_pays(count, job->classes)) {
                softmax_tiled(job, &pass, i, count, write, with_target);
                continue;
            }
            size_t group = along_group(job->classes);
            count = left < group ? left : group;
            softmax_along(job, &pass, i, count, write, with_target);
        }
}

static void kernel_log_sum_exp(struct row_job *job) { softmax_job(job, WRITE_SOFTMAX, 0); }
static void kernel_softmax(struct row_job *job) { softmax_job(job, WRITE_SOFTMAX, 0); }
static void kernel_log_softmax(struct row_job *job) { softmax_job(job, WRITE_LOG_SOFTMAX, 0); }

static void kernel_cross_entropy(struct row_job *job)
{
    softmax_job(job, WRITE_SOFTMAX, 1);
    for (size_t i = 0; i < job->rows; i++)
        if (job->target[i] == XENT_NO_TARGET) {
            job->loss[i] = 0.0f;
            job->lse[i] = job->max[i] = -INFINITY;
            job->rest[i] = -1.0;
        }
}

#endif
