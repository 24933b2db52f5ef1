#include "rows.h"

#include <math.h>
#include <string.h>

#include "error.h"
#include "parallel.h"
#include "value.h"

#define CLASSED (argument(IN) | argument(IN2) | argument(OUT) | argument(OUT2)) /* have the class axis */

void xent_row_call_init(struct row_call *call)
{
    memset(call, 0, offsetof(struct row_call, scale));
    call->scale = 1.0;
}

xent_status xent_rows_fold(struct row_call *call, int32_t axis, xent_error *error)
{
    const struct view *in = &call->view[IN];
    const arguments operands = call->given & (argument(OPERANDS) - 1);
    int class_axis, ndim = 0;
    TRY(xent_check_axis(axis, in->ndim, &class_axis, error));
    int64_t shape[XENT_MAX_NDIM];
    for (int d = 0; d < in->ndim; d++)
        if (d != class_axis) shape[ndim++] = in->shape[d];
    for (arguments left = operands; left;) {
        int o = argument_take(&left);
        struct view *view = &call->view[o];
        if (o <= OUT2) {
            if (o != IN) TRY(xent_check_shape(view, in->shape, in->ndim, in->name, error));
            call->class_stride[o] = view->ndim ? (ptrdiff_t)view->strides[class_axis] : 1;
        } else if (o == OUTPUT_GRADIENT && view->ndim == 0) memset(view->strides, 0, sizeof view->strides); /* of all rows */
        else TRY(xent_check_shape(view, shape, ndim, "the input without its class axis", error));
    }
    call->classes = in->ndim ? in->shape[class_axis] : 1;
    xent_fold(&call->fold, in->shape, in->ndim, class_axis, call->view, operands, operands & ~CLASSED);
    call->rows = call->fold.count;
    return XENT_OK;
}

/* Row states, sums and maxima are plain arrays of the caller's, one element a row. */
static void view_array(struct row_call *call, enum operand which, const void *array, size_t item, const char *name)
{
    struct view *view = &call->view[which];
    if (!array || call->rows == 0) return;
    call->given |= argument((int)which);
    view->name = name;
    view->data = (char *)(uintptr_t)array;
    view->item = 1;
    view->ndim = view->packed = 1;
    view->count = call->rows * (int64_t)item;
    view->shape = &view->count;
    view->strides[0] = 1;
    view->low = (uintptr_t)array;
    view->high = view->low + (uintptr_t)view->count;
}

/* The gradient may lie over an input that has the class axis, and saved states and maxima be
 * written back to where they are. */
xent_status xent_rows_check_overlaps(struct row_call *call, xent_error *error)
{
    static const arguments may_alias[ARGUMENTS] = {
        [OUT] = 1u << IN | 1u << IN2,
        [STATE_OUT] = 1u << STATE_IN,
        [MAX_OUT] = 1u << MAX_IN,
    };
    static const arguments inputs = 1u << IN | 1u << IN2 | 1u << TARGET | 1u << OUTPUT_GRADIENT | 1u << ROW_WEIGHT |
                                    1u << WEIGHT | 1u << STATE_IN | 1u << MAX_IN;
    view_array(call, STATE_IN, call->state_in, sizeof *call->state_in, "options.state");
    view_array(call, STATE_OUT, call->state_out, sizeof *call->state_out, "outputs.state");
    view_array(call, MAX_IN, call->max_in, sizeof *call->max_in, "options.max");
    view_array(call, MAX_OUT, call->max_out, sizeof *call->max_out, "outputs.max");
    view_array(call, SUMS_OUT, call->sums_out, sizeof *call->sums_out, "outputs.sum");
    return xent_check_overlaps(call->view, call->given, ~inputs, may_alias, error);
}

static void offsets_of(const struct row_call *call, enum operand operand, int64_t first, size_t count, ptrdiff_t *offsets)
{
    xent_fold_offsets(&call->fold, (int)operand, first, count, offsets);
}

static void describe(struct row_tensor *tensor, const struct row_call *call, enum operand operand, int64_t first,
                     size_t count)
{
    const struct view *view = &call->view[operand];
    static char nothing[8]; /* of a tensor without elements, which is there all the same */
    tensor->data = NULL;
    if (!has(call, operand)) return;
    tensor->data = view->data ? view->data : nothing;
    tensor->dtype = view->dtype;
    tensor->class_stride = call->class_stride[operand];
    offsets_of(call, operand, first, count, tensor->row);
}

/* Rows first ... of a tensor, after those of the job before. */
static void advance(struct row_tensor *tensor, const struct row_call *call, enum operand operand, int64_t first,
                    size_t count)
{
    if (!tensor->data) return;
    if (call->fold.ndim > 1) offsets_of(call, operand, first, count, tensor->row);
    else tensor->data = (char *)tensor->data + XENT_ROWS * call->fold.stride[operand][0] * call->view[operand].item;
}

/* -- One value a row, from and to the tensors of the caller's -- */

static void gather(const struct row_call *call, enum operand operand, int64_t first, size_t count, double *values)
{
    ptrdiff_t offsets[XENT_ROWS];
    offsets_of(call, operand, first, count, offsets);
    for (size_t i = 0; i < count; i++) values[i] = xent_value(&call->view[operand], offsets[i]);
}

static void scatter(const struct row_call *call, enum operand operand, int64_t first, size_t count, const double *values)
{
    if (!has(call, operand)) return;
    ptrdiff_t offsets[XENT_ROWS];
    offsets_of(call, operand, first, count, offsets);
    for (size_t i = 0; i < count; i++) xent_set_value(&call->view[operand], offsets[i], values[i]);
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

const int64_t *xent_rows_targets(const struct row_call *call, int64_t first, size_t count, int64_t *buffer)
{
    const struct view *target = &call->view[TARGET];
    for (size_t done = 0; done < count;) {
        ptrdiff_t at, step;
        int64_t left = xent_fold_run(&call->fold, TARGET, first + (int64_t)done, &at, &step);
        size_t run = (int64_t)(count - done) < left ? count - done : (size_t)left;
        if (run == count && step == 1 && target->dtype == XENT_I64) return (const int64_t *)(const void *)target->data + at;
        read_indices(target, at, step, run, buffer + done);
        done += run;
    }
    return buffer;
}

/* What is the same for all jobs of a call. */
static void prepare_constants(struct row_job *job, const struct row_call *call, int64_t rows)
{
    for (int64_t i = 0; i < XENT_ROWS && i < rows; i++) {
        job->weight[i] = job->row_weight[i] = 1.0;
        job->scale[i] = call->scale;
    }
}

static void prepare_targets(struct row_job *job, const struct row_call *call, int64_t first, int64_t *buffer)
{
    const struct view *weight = &call->view[WEIGHT];
    const uint64_t classes = (uint64_t)call->classes;
    const int64_t ignored = call->ignore_index, offset = call->class_offset;
    job->target = buffer;
    if (!has(call, TARGET)) {
        for (size_t i = 0; i < job->rows; i++) buffer[i] = XENT_TARGET_ABSENT;
        return;
    }
    const int64_t *index = xent_rows_targets(call, first, job->rows, buffer);
    if (has(call, WEIGHT))
        for (size_t i = 0; i < job->rows; i++)
            job->weight[i] = index[i] == ignored ? 1.0 : xent_value(weight, (ptrdiff_t)(index[i] * weight->strides[0]));
    if (call->targets_plain) {
        job->target = index;
        return;
    }
    for (size_t i = 0; i < job->rows; i++) {
        int64_t here = (uint64_t)index[i] - (uint64_t)offset < classes ? index[i] - offset : XENT_TARGET_ABSENT;
        buffer[i] = index[i] == ignored ? XENT_NO_TARGET : here;
    }
}

static void prepare_scales(struct row_job *job, const struct row_call *call, int64_t first)
{
    const int weighted = has(call, ROW_WEIGHT), incoming = has(call, OUTPUT_GRADIENT);
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
    const struct view *argmax = &call->view[ARGMAX], *correct = &call->view[CORRECT];
    ptrdiff_t offsets[XENT_ROWS];
    if (has(call, ARGMAX)) {
        offsets_of(call, ARGMAX, first, job->rows, offsets);
        for (size_t i = 0; i < job->rows; i++)
            if (argmax->dtype == XENT_I32) ((int32_t *)(void *)argmax->data)[offsets[i]] = (int32_t)job->argmax[i];
            else ((int64_t *)(void *)argmax->data)[offsets[i]] = job->argmax[i];
    }
    if (has(call, CORRECT)) offsets_of(call, CORRECT, first, job->rows, offsets);
    for (size_t i = 0; i < job->rows; i++) {
        int right = job->target[i] >= 0 && job->target[i] == job->argmax[i];
        if (has(call, CORRECT)) ((uint8_t *)correct->data)[offsets[i]] = (uint8_t)right;
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
        if (has(call, (enum operand)o) && call->fold.stride[o][inner] != 1) return 0;
    return call->fold.size[inner] >= 8 || (call->classes > 128 && call->fold.size[inner] > 1);
}

/* Rows first ... end - 1. */
static void run_rows(const void *context, int64_t first, int64_t end, struct xent_totals *totals)
{
    const struct row_call *call = context;
    struct row_job job;
    struct row_tensor *const tensor[] = {&job.in, &job.in2, &job.out, &job.out2};
    int64_t targets[XENT_ROWS];
    const int64_t begin = first, inner = call->fold.size[call->fold.ndim - 1]; /* rows in a run */
    job.classes = (size_t)call->classes;
    job.unit_rows = rows_are_unit(call);
    job.want_log = call->want_log;
    job.want_argmax = call->want_argmax;
    job.have_state = call->state_in != NULL;
    job.have_max = call->max_in != NULL;
    job.max_only = call->max_only;
    job.options = call->options;
    prepare_constants(&job, call, end - first);
    for (; first < end; first += (int64_t)job.rows) {
        int64_t left = end - first;
        if (job.unit_rows && inner - first % inner < left) left = inner - first % inner;
        job.rows = left < XENT_ROWS ? (size_t)left : XENT_ROWS;
        for (int o = IN; o <= OUT2; o++) {
            if (first == begin) describe(tensor[o], call, (enum operand)o, first, job.rows);
            else advance(tensor[o], call, (enum operand)o, first, job.rows);
        }
        if (call->with_target) prepare_targets(&job, call, first, targets);
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
    if (!call->execution.parallel_for) {
        run_rows(call, 0, call->rows, call->totals);
        return;
    }
    /* Whole jobs, unless few rows make a span. */
    int64_t elements = call->classes > 0 ? call->classes : 1, unit = XENT_SPAN / elements;
    unit = unit < 1 ? 1 : unit < XENT_ROWS ? unit : XENT_ROWS;
    struct spans spans = xent_spans(&call->execution, call->rows, unit, elements);
    xent_spans_run(&spans, &call->execution, call->totals, run_rows, call);
}
