#include "rows.h"

#include <math.h>
#include <string.h>

#include "error.h"

xent_status xent_rows_fold(struct row_call *call, int32_t axis, xent_error *error)
{
    const struct view *in = &call->operand[IN];
    int class_axis;
    xent_status status = xent_check_axis(axis, in->ndim, &class_axis, error);
    if (status) return status;
    int64_t shape[XENT_MAX_NDIM], strides[OPERANDS][XENT_MAX_NDIM] = {{0}};
    int ndim = 0;
    for (int d = 0; d < in->ndim; d++)
        if (d != class_axis) shape[ndim++] = in->shape[d];
    for (int o = 0; o < OPERANDS; o++) {
        const struct view *view = &call->operand[o];
        if (!view->name) continue;
        if (o <= OUT) status = xent_check_shape(view, in->shape, in->ndim, in->name, error);
        else if (o == OUTPUT_GRADIENT && view->ndim == 0) continue; /* a scalar: stride 0 */
        else status = xent_check_shape(view, shape, ndim, "the input without its class axis", error);
        if (status) return status;
        for (int d = 0, row = 0; d < view->ndim; d++)
            if (o > OUT || d != class_axis) strides[o][row++] = view->strides[d];
        if (o <= OUT) call->class_stride[o] = view->ndim ? (ptrdiff_t)view->strides[class_axis] : 1;
    }
    call->classes = in->ndim ? in->shape[class_axis] : 1;
    xent_fold(&call->fold, shape, ndim, OPERANDS, strides);
    call->rows = call->fold.count;
    return XENT_OK;
}

int64_t xent_target(const struct row_call *call, ptrdiff_t offset)
{
    const struct view *view = &call->operand[TARGET];
    if (view->dtype == XENT_I32) return ((const int32_t *)(const void *)view->data)[offset];
    return ((const int64_t *)(const void *)view->data)[offset];
}

static float *floats(const struct view *view) { return (float *)(void *)view->data; }

static void describe(struct row_tensor *tensor, const struct row_call *call, enum operand operand, int64_t first,
                     size_t count)
{
    const struct view *view = &call->operand[operand];
    tensor->data = view->name ? floats(view) : NULL;
    tensor->class_stride = call->class_stride[operand];
    if (view->name) xent_fold_offsets(&call->fold, (int)operand, first, count, tensor->row);
}

/* One value a row from the job to a tensor of the caller's. */
static void scatter(const struct row_call *call, enum operand operand, int64_t first, size_t count, const float *values)
{
    if (!call->operand[operand].name) return;
    ptrdiff_t offsets[XENT_ROWS];
    float *data = floats(&call->operand[operand]);
    xent_fold_offsets(&call->fold, (int)operand, first, count, offsets);
    for (size_t i = 0; i < count; i++) data[offsets[i]] = values[i];
}

static void prepare_targets(struct row_job *job, const struct row_call *call, int64_t first)
{
    ptrdiff_t offsets[XENT_ROWS];
    xent_fold_offsets(&call->fold, TARGET, first, job->rows, offsets);
    const struct view *weight = call->weight;
    for (size_t i = 0; i < job->rows; i++) {
        int64_t target = xent_target(call, offsets[i]);
        int ignored = target == call->ignore_index;
        job->target[i] = ignored ? XENT_NO_TARGET : target;
        job->weight[i] = ignored || !weight->name ? 1.0f : floats(weight)[target * weight->strides[0]];
    }
}

static void prepare_scales(struct row_job *job, const struct row_call *call, int64_t first)
{
    for (size_t i = 0; i < job->rows; i++) job->scale[i] = call->scale;
    if (call->operand[OUTPUT_GRADIENT].name) {
        ptrdiff_t offsets[XENT_ROWS];
        xent_fold_offsets(&call->fold, OUTPUT_GRADIENT, first, job->rows, offsets);
        for (size_t i = 0; i < job->rows; i++)
            job->scale[i] *= floats(&call->operand[OUTPUT_GRADIENT])[offsets[i]];
    }
    if (call->weight && call->weight->name)
        for (size_t i = 0; i < job->rows; i++) job->scale[i] *= job->weight[i];
}

/* Rows of which positions next to each other can fill the lanes: enough of them in a run,
 * or too many classes for a tile anyhow. */
static int rows_are_unit(const struct row_call *call)
{
    int inner = call->fold.ndim - 1;
    for (int o = IN; o <= OUT; o++)
        if (call->operand[o].name && call->fold.stride[o][inner] != 1) return 0;
    return call->fold.size[inner] >= 8 || (call->classes > 128 && call->fold.size[inner] > 1);
}

void xent_rows_run(const struct row_call *call)
{
    struct row_job job;
    int unit = rows_are_unit(call);
    int64_t inner = call->fold.size[call->fold.ndim - 1]; /* rows in a run */
    job.classes = (size_t)call->classes;
    job.unit_rows = unit;
    job.want_log = call->want_log;
    job.have_state = call->state_in != NULL;
    for (int64_t first = 0; first < call->rows; first += (int64_t)job.rows) {
        int64_t left = call->rows - first, run = inner - first % inner;
        if (unit && run < left) left = run;
        job.rows = left < XENT_ROWS ? (size_t)left : XENT_ROWS;
        describe(&job.in, call, IN, first, job.rows);
        describe(&job.in2, call, IN2, first, job.rows);
        describe(&job.out, call, OUT, first, job.rows);
        if (call->operand[TARGET].name) prepare_targets(&job, call, first);
        if (job.out.data) prepare_scales(&job, call, first);
        if (job.have_state)
            for (size_t i = 0; i < job.rows; i++) {
                job.max[i] = (float)call->state_in[first + (int64_t)i].max;
                job.rest[i] = call->state_in[first + (int64_t)i].rest;
            }
        call->kernel(&job);
        scatter(call, LOSS, first, job.rows, job.loss);
        scatter(call, LSE, first, job.rows, job.lse);
        if (call->state_out)
            for (size_t i = 0; i < job.rows; i++)
                call->state_out[first + (int64_t)i] = (xent_row_state){job.max[i], job.rest[i]};
        if (call->sum) xent_sum_add_rows(call->sum, job.loss, job.rows);
    }
}
