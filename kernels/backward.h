/* Backward of softmax and of log-softmax: from the forward output y and the incoming
 * gradient g, y_j (g_j - sum y g) and g_j - exp(y_j) sum g; and NLL with its gradient. */
#ifndef XENT_KERNELS_BACKWARD_H
#define XENT_KERNELS_BACKWARD_H

#include "softmax.h"

MATH struct row_lanes row_of_sum(vec sum) { return (struct row_lanes){.exp = exp_row_of(sum), .max = sum, .offset = sum}; }

MATH void backward_along(const struct row_job *job, size_t i, const enum sum_term sum, const enum write_term write)
{
    struct row_operands from = {row_of(&job->in, i), row_of(&job->in2, i), plain_view(NULL), target_of(job)};
    struct row_view out = row_of(&job->out, i);
    struct row_lanes row = row_of_sum(vec_set((real)total_rounded(along_sum(sum, &from, job->classes, NULL))));
    along_write(write, &from, &out, job->classes, &row, NULL);
}

MATH void backward_lanes(const struct row_job *job, struct lane_view y, struct lane_view g, struct lane_view out,
                         const int vectors, const size_t lanes, const enum sum_term sum, const enum write_term write)
{
    wide sums[GROUP];
    struct sum_notes notes[GROUP];
    struct row_lanes row[GROUP];
    struct row_view weights = plain_view(NULL);
    struct row_target target = target_of(job);
    struct lane_args a = {y, g, &weights, y, row, NULL, &target};
    UNROLL for (int v = 0; v < vectors; v++) row[v] = row_of_sum(vec_set(0)); /* the sums don't look at it */
    lanes_sum(sum, &a, job->classes, vectors, lanes, sums, notes);
    UNROLL for (int v = 0; v < vectors; v++) row[v] = row_of_sum(vec_from_wide(sums[v]));
    lanes_write(write, &a, out, job->classes, vectors, lanes);
}

MATH void backward_direct(const struct row_job *job, const enum sum_term sum, const enum write_term write)
{
    for (size_t i = 0, next; i < job->rows; i = next) {
        size_t left = job->rows - i;
        struct lane_view y = positions_of(&job->in, i), g = positions_of(&job->in2, i), out = positions_of(&job->out, i);
        if (left >= GROUP * VEC_WIDTH) {
            next = i + GROUP * VEC_WIDTH;
            backward_lanes(job, y, g, out, GROUP, VEC_WIDTH, sum, write);
        } else if (left >= VEC_WIDTH) {
            next = i + VEC_WIDTH;
            backward_lanes(job, y, g, out, 1, VEC_WIDTH, sum, write);
        } else {
            next = job->rows;
            backward_lanes(job, y, g, out, 1, left, sum, write);
        }
    }
}

MATH void backward_tiled(const struct row_job *job, size_t first, size_t count, const enum sum_term sum,
                         const enum write_term write)
{
    real tile[TILE_CLASSES * VEC_WIDTH], tile2[TILE_CLASSES * VEC_WIDTH];
    struct lane_view view = {tile, VEC_WIDTH, VEC_WIDTH}, view2 = {tile2, VEC_WIDTH, VEC_WIDTH};
    tile_read(&job->in, first, count, job->classes, 0.0, tile);
    tile_read(&job->in2, first, count, job->classes, 0.0, tile2);
    backward_lanes(job, view, view2, view, 1, VEC_WIDTH, sum, write);
    tile_write(&job->out, first, count, job->classes, tile);
}

MATH void backward_job(const struct row_job *job, const enum sum_term sum, const enum write_term write)
{
    if (rows_are_direct(job)) backward_direct(job, sum, write);
    else
        for (size_t i = 0, count; i < job->rows; i += count) {
            size_t left = job->rows - i;
            count = left < VEC_WIDTH ? left : VEC_WIDTH;
            if (tile_pays(count, job->classes)) backward_tiled(job, i, count, sum, write);
            else backward_along(job, i, sum, write), count = 1;
        }
}

static void kernel_softmax_backward(struct row_job *job) { backward_job(job, SUM_PRODUCT, WRITE_SOFTMAX_BACKWARD); }
static void kernel_log_softmax_backward(struct row_job *job)
{
    backward_job(job, SUM_SECOND, WRITE_LOG_SOFTMAX_BACKWARD);
}

/* loss = -w_y x_y; gradient -scale w_y at the target, else 0. The gradient may lie over the
 * input, so the losses come first. */
static void kernel_nll(struct row_job *job)
{
    for (size_t i = 0; i < job->rows; i++) {
        struct row_view in = row_of(&job->in, i);
        job->loss[i] = 0.0;
        if (job->target[i] < 0) continue;
        real x = read_one(in.data, in.dtype, (ptrdiff_t)job->target[i] * in.stride);
        job->loss[i] = (real)(row_value(&job->weight, i) * row_value(&job->row_weight, i)) * -x;
    }
    if (!job->out.data) return;
    if (job->unit_rows)
        for (size_t j = 0; j < job->classes; j++)
            memset(tensor_at(&job->out, 0, j), 0, job->rows * dtype_size(job->out.dtype));
    for (size_t i = 0; i < job->rows; i++) {
        struct row_view out = row_of(&job->out, i);
        if (!job->unit_rows) row_zero(&out, job->classes);
        if (job->target[i] >= 0)
            write_one(out.data, out.dtype, (ptrdiff_t)job->target[i] * out.stride,
                      (real)(-row_value(&job->scale, i) * row_value(&job->weight, i)));
    }
}

#endif
