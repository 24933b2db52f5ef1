/* Backward of softmax and of log-softmax: from the forward output y and the incoming
 * gradient g, y_j (g_j - sum y g) and g_j - exp(y_j) sum g; and NLL with its gradient. */
#ifndef XENT_KERNELS_BACKWARD_H
#define XENT_KERNELS_BACKWARD_H

#include "softmax.h"

MATH void backward_along(const struct row_job *job, size_t i, const enum sum_term sum, const enum write_term write)
{
    struct row_view y = row_of(&job->in, i), g = row_of(&job->in2, i), out = row_of(&job->out, i);
    vec offset = vec_set((float)along_sum(sum, y, g, job->classes));
    struct row_lanes row = {exp_row_of(offset), offset, offset, offset, offset, offset};
    along_write(write, y, g, out, job->classes, &row);
}

MATH void backward_lanes(const struct row_job *job, struct lane_view y, struct lane_view g, struct lane_view out,
                         const int vectors, const size_t lanes, const enum sum_term sum, const enum write_term write)
{
    wide sums[GROUP];
    veci ties[GROUP];
    struct row_lanes row[GROUP];
    struct lane_args a = {y, g, y, row}; /* these terms don't look at the row */
    lanes_sum(sum, &a, job->classes, vectors, lanes, sums, ties);
    UNROLL for (int v = 0; v < vectors; v++) {
        vec offset = vec_from_wide(sums[v]);
        row[v] = (struct row_lanes){exp_row_of(offset), offset, offset, offset, offset, offset};
    }
    lanes_write(write, y, g, out, job->classes, vectors, lanes, row);
}

MATH void backward_direct(const struct row_job *job, const enum sum_term sum, const enum write_term write)
{
    for (size_t i = 0, next; i < job->rows; i = next) {
        size_t left = job->rows - i;
        struct lane_view y = {job->in.data + job->in.row[i], job->in.class_stride, VEC_WIDTH};
        struct lane_view g = {job->in2.data + job->in2.row[i], job->in2.class_stride, VEC_WIDTH};
        struct lane_view out = {job->out.data + job->out.row[i], job->out.class_stride, VEC_WIDTH};
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
    float tile[TILE_CLASSES * VEC_WIDTH], tile2[TILE_CLASSES * VEC_WIDTH];
    const float *y[VEC_WIDTH], *g[VEC_WIDTH];
    float *out[VEC_WIDTH];
    struct lane_view view = {tile, VEC_WIDTH, VEC_WIDTH}, view2 = {tile2, VEC_WIDTH, VEC_WIDTH};
    for (size_t w = 0; w < VEC_WIDTH; w++) {
        size_t i = first + (w < count ? w : count - 1);
        y[w] = job->in.data + job->in.row[i];
        g[w] = job->in2.data + job->in2.row[i];
        out[w] = job->out.data + job->out.row[i];
    }
    tile_read(y, job->in.class_stride, job->classes, tile);
    tile_read(g, job->in2.class_stride, job->classes, tile2);
    backward_lanes(job, view, view2, view, 1, VEC_WIDTH, sum, write);
    tile_write(out, job->out.class_stride, job->classes, count, tile);
}

MATH void backward_job(const struct row_job *job, const enum sum_term sum, const enum write_term write)
{
    if (job->unit_rows) backward_direct(job, sum, write);
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

/* loss = -w_y x_y; gradient -scale at the target, else 0. The gradient may lie over the
 * input, so the losses come first. */
static void kernel_nll(struct row_job *job)
{
    for (size_t i = 0; i < job->rows; i++) {
        struct row_view in = row_of(&job->in, i);
        ptrdiff_t target = (ptrdiff_t)job->target[i];
        job->loss[i] = target == XENT_NO_TARGET ? 0.0f : job->weight[i] * -in.data[target * in.stride];
    }
    if (!job->out.data) return;
    if (job->unit_rows)
        for (size_t j = 0; j < job->classes; j++)
            memset(job->out.data + job->out.row[0] + (ptrdiff_t)j * job->out.class_stride, 0,
                   job->rows * sizeof *job->out.data);
    for (size_t i = 0; i < job->rows; i++) {
        struct row_view out = row_of(&job->out, i);
        ptrdiff_t target = (ptrdiff_t)job->target[i];
        if (!job->unit_rows) row_zero(out, job->classes);
        if (target != XENT_NO_TARGET) out.data[target * out.stride] = (float)-job->scale[i];
    }
}

#endif
