/* The rows of a job, as what computes along them or with them in the lanes sees them. */
#ifndef XENT_KERNELS_ROWS_H
#define XENT_KERNELS_ROWS_H

#include "finish.h"
#include "job.h"

/* dtype: the tensor's, which may be known beforehand. */
MATH void *row_start(const struct row_tensor *tensor, const xent_dtype dtype, size_t i)
{
    return (char *)tensor->data + tensor->row[i] * (ptrdiff_t)dtype_size(dtype);
}

MATH struct row_view row_of(const struct row_tensor *tensor, size_t i)
{
    struct row_view view = {NULL, tensor->dtype, tensor->class_stride, 0.0, 0};
    if (tensor->data) view.data = row_start(tensor, tensor->dtype, i);
    return view;
}

MATH struct row_view logits_of(const struct row_job *job, size_t i)
{
    struct row_view view = row_of(&job->in, i);
    if (job->options) view.softcap = job->options->softcap;
    return view;
}

MATH struct row_target target_of(const struct row_job *job)
{
    const struct row_options *options = job->options;
    struct row_target target = {0, 0, 0, vec_set(1), vec_set(0), 0.0};
    if (!options) return target;
    target.has_second = job->in2.data != NULL;
    target.has_weight = options->weight != NULL;
    target.has_amount = target.has_second || options->spread != 0.0;
    target.keep = vec_set((real)options->keep);
    target.spread = vec_set((real)options->spread);
    target.softcap = options->softcap;
    return target;
}

MATH int row_ignored(const struct row_job *job, size_t i, int with_target)
{
    return with_target && job->target[i] == XENT_NO_TARGET;
}

/* What comes of ignored rows, whatever was computed for them. */
static void ignore_rows(struct row_job *job)
{
    for (size_t i = 0; i < job->rows; i++) {
        if (job->target[i] != XENT_NO_TARGET) continue;
        job->loss[i] = job->z_loss[i] = job->entropy[i] = 0.0;
        job->lse[i] = job->max[i] = -INFINITY;
        job->rest[i] = -1.0;
        job->argmax[i] = -1;
    }
}

static void row_zero(const struct row_view *row, size_t classes)
{
    for (size_t j = 0; j < classes; j++) write_one(row->data, row->dtype, (ptrdiff_t)j * row->stride, 0);
}

static void load_target_logits(const struct row_job *job, struct row_pass *pass, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        pass->target_logit[i] = (real)-INFINITY;
        if (job->target[i] < 0) continue;
        struct row_view in = logits_of(job, i);
        real x = read_one(in.data, in.dtype, (ptrdiff_t)job->target[i] * in.stride);
        if (in.softcap != 0.0) softcap_all(&x, 1, in.softcap);
        pass->target_logit[i] = x;
    }
}

/* The target's own gradient, and the zeros of ignored rows, over what was written to all. */
static void store_target_gradients(const struct row_job *job, const struct row_pass *pass, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        struct row_view out = row_of(&job->out, i), out2 = row_of(&job->out2, i);
        if (job->target[i] == XENT_NO_TARGET) {
            if (out.data) row_zero(&out, job->classes);
            if (out2.data) row_zero(&out2, job->classes);
        } else if (job->target[i] >= 0 && out.data)
            write_one(out.data, out.dtype, (ptrdiff_t)job->target[i] * out.stride, pass->target_gradient[i]);
    }
}

/* Which sums over a distribution the options ask for. */
MATH int wants_gap(const struct row_job *job, int with_target)
{
    return job->options && (job->in2.data || (with_target && job->options->spread != 0.0));
}

/* Rows that can be read, and written, where they lie. */
MATH int tensor_is_plain(const struct row_tensor *tensor) { return tensor->dtype == REAL_DTYPE && tensor->class_stride == 1; }

/* Whether count rows follow each other at this distance: at 1, one class of them can go as a run; at
 * the number of classes, where these lie side by side, all rows can. */
MATH int rows_follow(const struct row_tensor *tensor, size_t first, size_t count, size_t distance)
{
    for (size_t w = 1; w < count; w++)
        if (tensor->row[first + w] != tensor->row[first] + (ptrdiff_t)(w * distance)) return 0;
    return 1;
}

/* No options, nothing given, and nothing out of the ordinary wanted. */
MATH int job_is_bare(const struct row_job *job)
{
    return !job->options && !job->have_state && !job->have_max && !job->max_only && !job->want_argmax && !job->sums;
}

#endif
