#include "rows.h"

#include <math.h>
#include <string.h>

#include "error.h"
#include "parallel.h"
#include "value.h"

void xent_row_call_init(struct row_call *call)
{
    memset(call, 0, offsetof(struct row_call, fold));
    call->scale = 1.0;
    for (int o = 0; o < OPERANDS; o++) xent_view_absent(&call->operand[o]);
    xent_view_absent(&call->weight);
}

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
        if (o <= OUT2) status = xent_check_shape(view, in->shape, in->ndim, in->name, error);
        else if (o == OUTPUT_GRADIENT && view->ndim == 0) continue; /* a scalar: stride 0 */
        else status = xent_check_shape(view, shape, ndim, "the input without its class axis", error);
        if (status) return status;
        for (int d = 0, row = 0; d < view->ndim; d++)
            if (o > OUT2 || d != class_axis) strides[o][row++] = view->strides[d];
        if (o <= OUT2) call->class_stride[o] = view->ndim ? (ptrdiff_t)view->strides[class_axis] : 1;
    }
    call->classes = in->ndim ? in->shape[class_axis] : 1;
    xent_fold(&call->fold, shape, ndim, OPERANDS, strides);
    call->rows = call->fold.count;
    return XENT_OK;
}

/* Row states, sums and maxima are plain arrays of the caller's, one element a row. */
static void view_array(struct view *view, const void *array, size_t size, const char *name, int64_t rows)
{
    xent_view_absent(view);
    if (!array || rows == 0) return;
    view->name = name;
    view->data = (char *)(uintptr_t)array;
    view->item = 1;
    view->ndim = 1;
    view->shape[0] = view->count = rows * (int64_t)size;
    view->strides[0] = 1;
    view->low = (uintptr_t)array;
    view->high = view->low + (uintptr_t)view->count;
}

/* Every output against every other tensor of the call. The gradient may lie over an input
 * that has the class axis, and the saved states be written back to where they are. */
xent_status xent_rows_check_overlaps(const struct row_call *call, xent_error *error)
{
    static const enum operand outputs[] = {OUT, OUT2, LOSS, LSE, Z_LOSS, ENTROPY, ARGMAX, CORRECT, TARGET_LOGIT};
    const int count = (int)(sizeof outputs / sizeof *outputs);
    struct view arrays[3], given[2];
    view_array(&arrays[0], call->state_out, sizeof *call->state_out, "outputs.state", call->rows);
    view_array(&arrays[1], call->max_out, sizeof *call->max_out, "outputs.max", call->rows);
    view_array(&arrays[2], call->sums_out, sizeof *call->sums_out, "outputs.sum", call->rows);
    view_array(&given[0], call->state_in, sizeof *call->state_in, "options.state", call->rows);
    view_array(&given[1], call->max_in, sizeof *call->max_in, "options.max", call->rows);
    for (int o = 0; o < count; o++) {
        const struct view *output = &call->operand[outputs[o]];
        if (!output->name) continue;
        TRY(xent_check_no_self_overlap(output, error));
        for (int other = 0; other < OPERANDS; other++) {
            int may_alias = outputs[o] == OUT && (other == IN || other == IN2);
            if (other != (int)outputs[o]) TRY(xent_check_overlap(output, &call->operand[other], may_alias, error));
        }
        TRY(xent_check_overlap(output, &call->weight, 0, error));
        for (int g = 0; g < 2; g++) TRY(xent_check_overlap(output, &given[g], 0, error));
    }
    for (int a = 0; a < 3; a++) {
        if (!arrays[a].name) continue;
        for (int other = 0; other < OPERANDS; other++) TRY(xent_check_overlap(&arrays[a], &call->operand[other], 0, error));
        TRY(xent_check_overlap(&arrays[a], &call->weight, 0, error));
        for (int g = 0; g < 2; g++) TRY(xent_check_overlap(&arrays[a], &given[g], a == g, error));
        for (int other = 0; other < a; other++) TRY(xent_check_overlap(&arrays[a], &arrays[other], 0, error));
    }
    return XENT_OK;
}

static void offsets_of(const struct row_call *call, enum operand operand, int64_t first, size_t count, ptrdiff_t *offsets)
{
    xent_fold_offsets(&call->fold, (int)operand, first, count, offsets);
}

static void describe(struct row_tensor *tensor, const struct row_call *call, enum operand operand, int64_t first,
                     size_t count)
{
    const struct view *view = &call->operand[operand];
    static char nothing[8]; /* of a tensor without elements, which is there all the same */
    tensor->data = !view->name ? NULL : view->data ? view->data : nothing;
    tensor->dtype = view->dtype;
    tensor->class_stride = call->class_stride[operand];
    if (view->name) offsets_of(call, operand, first, count, tensor->row);
}

/* -- One value a row, from and to the tensors of the caller's -- */

static void gather(const struct row_call *call, enum operand operand, int64_t first, size_t count, double *values)
{
    ptrdiff_t offsets[XENT_ROWS];
    offsets_of(call, operand, first, count, offsets);
    for (size_t i = 0; i < count; i++) values[i] = xent_value(&call->operand[operand], offsets[i]);
}

static void scatter(const struct row_call *call, enum operand operand, int64_t first, size_t count, const double *values)
{
    if (!call->operand[operand].name) return;
    ptrdiff_t offsets[XENT_ROWS];
    offsets_of(call, operand, first, count, offsets);
    for (size_t i = 0; i < count; i++) xent_set_value(&call->operand[operand], offsets[i], values[i]);
}

/* count indices of a run to packed ones. */
static void read_indices(const struct view *target, ptrdiff_t at, ptrdiff_t step, size_t count, int64_t *to)
{
#define READ(type) \
    for (size_t i = 0; i < count; i++) to[i] = ((const type *)(const void *)target->data)[at + (ptrdiff_t)i * step]
    switch (target->dtype) {
    case XENT_I32: READ(int32_t); break;
    case XENT_U8: READ(uint8_t); break;
    default: READ(int64_t); break;
    }
#undef READ
}

void xent_rows_read_targets(const struct row_call *call, int64_t first, size_t count, int64_t *targets)
{
    for (size_t done = 0; done < count;) {
        ptrdiff_t at, step;
        int64_t left = xent_fold_run(&call->fold, TARGET, first + (int64_t)done, &at, &step);
        size_t run = (int64_t)(count - done) < left ? count - done : (size_t)left;
        read_indices(&call->operand[TARGET], at, step, run, targets + done);
        done += run;
    }
}

/* What is the same for all jobs of a call. */
static void prepare_constants(struct row_job *job, const struct row_call *call, int64_t rows)
{
    for (int64_t i = 0; i < XENT_ROWS && i < rows; i++) {
        job->target[i] = XENT_TARGET_ABSENT;
        job->weight[i] = job->row_weight[i] = 1.0;
        job->scale[i] = call->scale;
    }
}

static void prepare_targets(struct row_job *job, const struct row_call *call, int64_t first)
{
    const struct view *weight = &call->weight;
    const uint64_t classes = (uint64_t)call->classes;
    const int64_t ignored = call->ignore_index, offset = call->class_offset;
    if (!call->operand[TARGET].name) return;
    xent_rows_read_targets(call, first, job->rows, job->target);
    for (size_t i = 0; weight->name && i < job->rows; i++)
        job->weight[i] = job->target[i] == ignored ? 1.0 : xent_value(weight, (ptrdiff_t)(job->target[i] * weight->strides[0]));
    for (size_t i = 0; i < job->rows; i++) {
        int64_t index = job->target[i], here = index - offset;
        here = (uint64_t)here < classes ? here : XENT_TARGET_ABSENT;
        job->target[i] = index == ignored ? XENT_NO_TARGET : here;
    }
}

static void prepare_scales(struct row_job *job, const struct row_call *call, int64_t first)
{
    const int weighted = call->operand[ROW_WEIGHT].name != NULL, incoming = call->operand[OUTPUT_GRADIENT].name != NULL;
    if (weighted) gather(call, ROW_WEIGHT, first, job->rows, job->row_weight);
    if ((!job->out.data && !job->out2.data) || (!weighted && !incoming)) return;
    if (incoming) gather(call, OUTPUT_GRADIENT, first, job->rows, job->scale);
    for (size_t i = 0; i < job->rows; i++) {
        double scale = incoming ? job->scale[i] * call->scale : call->scale;
        job->scale[i] = weighted ? scale * job->row_weight[i] : scale;
    }
}

static void deliver_argmax(const struct row_job *job, const struct row_call *call, int64_t first, struct xent_totals *totals)
{
    const struct view *argmax = &call->operand[ARGMAX], *correct = &call->operand[CORRECT];
    ptrdiff_t offsets[XENT_ROWS];
    if (argmax->name) {
        offsets_of(call, ARGMAX, first, job->rows, offsets);
        for (size_t i = 0; i < job->rows; i++)
            if (argmax->dtype == XENT_I32) ((int32_t *)(void *)argmax->data)[offsets[i]] = (int32_t)job->argmax[i];
            else ((int64_t *)(void *)argmax->data)[offsets[i]] = job->argmax[i];
    }
    if (correct->name) offsets_of(call, CORRECT, first, job->rows, offsets);
    for (size_t i = 0; i < job->rows; i++) {
        int right = job->target[i] >= 0 && job->target[i] == job->argmax[i];
        if (correct->name) ((uint8_t *)correct->data)[offsets[i]] = (uint8_t)right;
        if (call->want_correct_count) totals->correct += right;
    }
}

static void deliver(struct row_job *job, const struct row_call *call, int64_t first, struct xent_totals *totals)
{
    const struct row_options *options = call->options;
    if (call->want_sum) xent_sum_add_rows(&totals->sum, job->loss, job->rows);
    if (options && options->z_loss != 0.0) {
        if (call->want_sum) xent_sum_add_rows(&totals->z_sum, job->z_loss, job->rows);
        for (size_t i = 0; i < job->rows; i++) job->loss[i] += job->z_loss[i];
    }
    for (size_t i = 0; call->want_non_finite && i < job->rows; i++)
        xent_totals_note(totals, first + (int64_t)i, job->loss[i]);
    scatter(call, LOSS, first, job->rows, job->loss);
    scatter(call, LSE, first, job->rows, job->lse);
    scatter(call, Z_LOSS, first, job->rows, job->z_loss);
    scatter(call, ENTROPY, first, job->rows, job->entropy);
    scatter(call, TARGET_LOGIT, first, job->rows, job->target_logit);
    if (call->want_argmax) deliver_argmax(job, call, first, totals);
    if (call->max_out) memcpy(call->max_out + first, job->max, job->rows * sizeof *job->max);
    if (call->state_out)
        for (size_t i = 0; i < job->rows; i++)
            call->state_out[first + (int64_t)i] = (xent_row_state){job->max[i], job->rest[i]};
}

/* Rows of which positions next to each other can fill the lanes: enough of them in a run,
 * or too many classes for a tile anyhow. */
static int rows_are_unit(const struct row_call *call)
{
    int inner = call->fold.ndim - 1;
    for (int o = IN; o <= OUT2; o++)
        if (call->operand[o].name && call->fold.stride[o][inner] != 1) return 0;
    return call->fold.size[inner] >= 8 || (call->classes > 128 && call->fold.size[inner] > 1);
}

/* Rows first ... end - 1. */
static void run_rows(const void *context, int64_t first, int64_t end, struct xent_totals *totals)
{
    const struct row_call *call = context;
    struct row_job job;
    int unit = rows_are_unit(call);
    int64_t inner = call->fold.size[call->fold.ndim - 1]; /* rows in a run */
    job.classes = (size_t)call->classes;
    job.unit_rows = unit;
    job.want_log = call->want_log;
    job.want_argmax = call->want_argmax;
    job.have_state = call->state_in != NULL;
    job.have_max = call->max_in != NULL;
    job.max_only = call->max_only;
    job.options = call->options;
    prepare_constants(&job, call, end - first);
    for (; first < end; first += (int64_t)job.rows) {
        int64_t left = end - first, run = inner - first % inner;
        if (unit && run < left) left = run;
        job.rows = left < XENT_ROWS ? (size_t)left : XENT_ROWS;
        describe(&job.in, call, IN, first, job.rows);
        describe(&job.in2, call, IN2, first, job.rows);
        describe(&job.out, call, OUT, first, job.rows);
        describe(&job.out2, call, OUT2, first, job.rows);
        if (call->with_target) prepare_targets(&job, call, first);
        prepare_scales(&job, call, first);
        if (job.have_state)
            for (size_t i = 0; i < job.rows; i++) {
                job.max[i] = call->state_in[first + (int64_t)i].max;
                job.rest[i] = call->state_in[first + (int64_t)i].rest;
            }
        if (job.have_max) memcpy(job.max, call->max_in + first, job.rows * sizeof *job.max);
        job.sums = call->sums_out ? call->sums_out + first : NULL;
        call->kernel(&job);
        deliver(&job, call, first, totals);
    }
}

void xent_rows_run(const struct row_call *call)
{
    /* Whole jobs, unless few rows make a span. */
    int64_t elements = call->classes > 0 ? call->classes : 1, unit = XENT_SPAN / elements;
    unit = unit < 1 ? 1 : unit < XENT_ROWS ? unit : XENT_ROWS;
    struct spans spans = xent_spans(&call->execution, call->rows, unit, elements);
    xent_spans_run(&spans, &call->execution, call->totals, run_rows, call);
}
