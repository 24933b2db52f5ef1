#include "rows.h"

#include <math.h>
#include <string.h>

#include "error.h"
#include "parallel.h"
#include "tier.h"
#include "value.h"

#define CLASSED (argument(IN) | argument(IN2) | argument(OUT) | argument(OUT2)) /* have the class axis */

void xent_row_call_init(struct row_call *call)
{
    memset(call, 0, offsetof(struct row_call, scale));
    call->scale = 1.0;
}

/* The axis an option names, in a tensor taken as having at least one dimension; -1: none. */
static int axis_of(int32_t axis, int ndim)
{
    int dimensions = ndim ? ndim : 1;
    if (axis == XENT_AXIS_DEFAULT) return dimensions > 1;
    if (axis < 0) axis += dimensions;
    return axis < dimensions ? axis : -1;
}

static xent_status check_row_shape(const struct view *view, const struct view *in, int class_axis, xent_error *error)
{
    int64_t shape[XENT_MAX_NDIM];
    int ndim = 0;
    if (in->ndim == 2) return xent_check_shape(view, &in->shape[!class_axis], 1, "the input without its class axis", error);
    for (int d = 0; d < in->ndim; d++)
        if (d != class_axis) shape[ndim++] = in->shape[d];
    return xent_check_shape(view, shape, ndim, "the input without its class axis", error);
}

xent_status xent_rows_fold(struct row_call *call, int32_t axis, xent_error *error)
{
    const struct view *in = &call->view[IN];
    const arguments operands = call->given & (argument(OPERANDS) - 1);
    const int class_axis = axis_of(axis, in->ndim);
    if (class_axis < 0)
        return xent_fail(error, XENT_ERROR_AXIS, "options.axis", "is %d; the tensor has %d dimensions", (int)axis, in->ndim);
    for (arguments left = operands & CLASSED; left;) {
        int o = argument_take(&left);
        if (o != IN) TRY(xent_check_shape(&call->view[o], in->shape, in->ndim, in->name, error));
        call->class_stride[o] = in->ndim ? (ptrdiff_t)call->view[o].strides[class_axis] : 1;
    }
    for (arguments left = operands & ~CLASSED; left;) {
        int o = argument_take(&left);
        struct view *view = &call->view[o];
        if (o == OUTPUT_GRADIENT && view->ndim == 0) memset(view->strides, 0, sizeof view->strides); /* of all rows */
        else TRY(check_row_shape(view, in, class_axis, error));
    }
    call->classes = in->ndim ? in->shape[class_axis] : 1;
    xent_fold(&call->fold, in->shape, in->ndim, class_axis, call->view, operands, operands & ~CLASSED);
    call->rows = call->fold.count;
    const struct view *target = &call->view[TARGET];
    if (has(call, TARGET) && target->dtype == XENT_I64 && call->fold.ndim == 1 && call->fold.stride[TARGET][0] == 1)
        call->targets = (const int64_t *)(const void *)target->data;
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
    view->dtype = (xent_dtype)0; /* none of a tensor's; compared with that of another array */
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
    tensor->data = view->data ? view->data : nothing;
    tensor->dtype = view->dtype;
    tensor->class_stride = call->class_stride[operand];
    if (call->fold.ndim > 1) {
        offsets_of(call, operand, first, count, tensor->row);
        return;
    }
    const ptrdiff_t step = (ptrdiff_t)call->fold.stride[operand][0];
    ptrdiff_t at = (ptrdiff_t)first * step;
    for (size_t i = 0; i < count; i++, at += step) tensor->row[i] = at;
}

/* Rows first ... of a tensor, after those of the job before. */
static void advance(struct row_tensor *tensor, const struct row_call *call, enum operand operand, int64_t first,
                    size_t count)
{
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

const int64_t *xent_rows_read_targets(const struct row_call *call, int64_t first, size_t count, int64_t *buffer)
{
    for (size_t done = 0; done < count;) {
        ptrdiff_t at, step;
        int64_t left = xent_fold_run(&call->fold, TARGET, first + (int64_t)done, &at, &step);
        size_t run = (int64_t)(count - done) < left ? count - done : (size_t)left;
        read_indices(&call->view[TARGET], at, step, run, buffer + done);
        done += run;
    }
    return buffer;
}

/* t in [0, classes) is where neither t nor classes - 1 - t has the sign, which takes no branch. */
int xent_all_are_classes(const int64_t *targets, size_t count, int64_t classes)
{
    uint64_t signs = 0, last = (uint64_t)classes - 1;
    for (size_t i = 0; i < count; i++) signs |= (uint64_t)targets[i] | (last - (uint64_t)targets[i]);
    return !(signs >> 63);
}

/* What a job points to, where it is not what the caller has. */
struct buffers {
    int64_t targets[XENT_ROWS];
    double weight[XENT_ROW_SLOTS], row_weight[XENT_ROW_SLOTS], scale[XENT_ROW_SLOTS];
};

static void prepare_targets(struct row_job *job, const struct row_call *call, int64_t first, struct buffers *to)
{
    const struct view *weight = &call->view[WEIGHT];
    const uint64_t classes = (uint64_t)call->classes;
    const int64_t ignored = call->ignore_index, offset = call->class_offset;
    job->target = to->targets;
    if (!has(call, TARGET)) {
        for (size_t i = 0; i < job->rows; i++) to->targets[i] = XENT_TARGET_ABSENT;
        return;
    }
    const int64_t *index = xent_rows_targets(call, first, job->rows, to->targets);
    if (has(call, WEIGHT)) {
        for (size_t i = 0; i < job->rows; i++)
            to->weight[i] = index[i] == ignored ? 1.0 : xent_value(weight, (ptrdiff_t)(index[i] * weight->strides[0]));
        job->weight.each = to->weight;
    }
    if (call->targets_plain) {
        job->target = index;
        return;
    }
    for (size_t i = 0; i < job->rows; i++) {
        int64_t here = (uint64_t)index[i] - (uint64_t)offset < classes ? index[i] - offset : XENT_TARGET_ABSENT;
        to->targets[i] = index[i] == ignored ? XENT_NO_TARGET : here;
    }
}

static void prepare_scales(struct row_job *job, const struct row_call *call, int64_t first, struct buffers *to)
{
    const int weighted = has(call, ROW_WEIGHT), incoming = has(call, OUTPUT_GRADIENT);
    if (!weighted && !incoming) return;
    if (weighted) {
        gather(call, ROW_WEIGHT, first, job->rows, to->row_weight);
        job->row_weight.each = to->row_weight;
    }
    if (incoming) gather(call, OUTPUT_GRADIENT, first, job->rows, to->scale);
    for (size_t i = 0; i < job->rows; i++) {
        double scale = incoming ? to->scale[i] * call->scale : call->scale;
        to->scale[i] = weighted ? scale * to->row_weight[i] : scale;
    }
    job->scale.each = to->scale;
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
    if (has(call, LOSS)) scatter(call, LOSS, first, job->rows, job->loss);
    if (has(call, LSE)) scatter(call, LSE, first, job->rows, job->lse);
    if (has(call, Z_LOSS)) scatter(call, Z_LOSS, first, job->rows, job->z_loss);
    if (has(call, ENTROPY)) scatter(call, ENTROPY, first, job->rows, job->entropy);
    if (has(call, TARGET_LOGIT)) scatter(call, TARGET_LOGIT, first, job->rows, job->target_logit);
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
    const int inner = call->fold.ndim - 1;
    if (call->fold.size[inner] < (call->classes > 128 ? 2 : 8)) return 0;
    for (arguments left = call->given & CLASSED; left;)
        if (call->fold.stride[argument_take(&left)][inner] != 1) return 0;
    return 1;
}

/* Classes from which on positions go by pages; below, a job of them stays in cache. */
#define PAGE_CLASSES 41

/* Bytes of logits from which on pages are large (struct page_job): with a gradient, 24 MiB. */
#define PAGES_LARGE (12 << 20)

/* Whether they can: nothing but states is given or wanted beyond the plainest. */
static int rows_have_pages(const struct row_call *call)
{
    return call->pages && call->classes >= PAGE_CLASSES && rows_are_unit(call) && !call->options && !call->max_in && !call->max_only &&
           !call->sums_out && !call->want_argmax;
}
static int64_t rows_of_page(const struct row_call *call)
{
    return XENT_PAGE_BYTES / (call->view[IN].dtype == XENT_F64 ? (int64_t)sizeof(double) : (int64_t)sizeof(float));
}

/* What a job is of, beside its targets and scales. */
static void describe_all(struct row_job *job, const struct row_call *call, int64_t first)
{
    struct row_tensor *const tensor[] = {&job->in, &job->in2, &job->out, &job->out2};
    for (arguments tensors = call->given & CLASSED; tensors;) {
        int o = argument_take(&tensors);
        describe(tensor[o], call, (enum operand)o, first, job->rows);
    }
}

static void load_states(const struct row_call *call, int64_t first, size_t count, double *max, double *rest)
{
    for (size_t i = 0; i < count; i++) {
        max[i] = call->state_in[first + (int64_t)i].max;
        rest[i] = call->state_in[first + (int64_t)i].rest;
    }
}

static void *first_element(const struct row_tensor *tensor, const struct view *view)
{
    return tensor->data ? (char *)tensor->data + tensor->row[0] * view->item : NULL;
}

/* Rows next to each other, at most a page of them. job: what all jobs of the call share. Apart, for its room. */
static __attribute__((noinline)) void run_pages(const struct row_call *call, int64_t first, size_t count, struct row_job *job,
                                                struct buffers *buffers, struct xent_totals *totals)
{
    struct page_job page;
    job->rows = 1;
    describe_all(job, call, first);
    page.rows = count;
    page.classes = job->classes;
    page.dtype = call->view[IN].dtype;
    page.in = first_element(&job->in, &call->view[IN]);
    page.out = first_element(&job->out, &call->view[OUT]);
    page.in_stride = job->in.class_stride;
    page.out_stride = page.out ? job->out.class_stride : 0;
    page.large = call->rows * call->classes * call->view[IN].item >= PAGES_LARGE;
    page.near_by = xent_pages_are_near_by();
    page.log = call->log_softmax;
    page.with_target = call->with_target;
    page.kept = 0;
    if (call->state_in) load_states(call, first, count, page.max, page.rest);
    else call->pages->page_states(&page);
    job->have_state = 1;
    for (size_t done = 0; done < count; done += job->rows) {
        const int64_t at = first + (int64_t)done;
        job->rows = count - done < XENT_ROWS ? count - done : XENT_ROWS;
        describe_all(job, call, at);
        memcpy(job->max, page.max + done, job->rows * sizeof *job->max);
        memcpy(job->rest, page.rest + done, job->rows * sizeof *job->rest);
        if (call->with_target) prepare_targets(job, call, at, buffers);
        prepare_scales(job, call, at, buffers);
        call->pages->page_finish(&page, done, job);
        deliver(job, call, at, totals);
    }
    job->have_state = call->state_in != NULL;
    if (page.out) call->pages->page_write(&page);
}

/* Rows first ... end - 1. */
static void run_rows(const void *context, int64_t first, int64_t end, struct xent_totals *totals)
{
    const struct row_call *call = context;
    struct row_job job;
    struct row_tensor *const tensor[] = {&job.in, &job.in2, &job.out, &job.out2};
    struct buffers buffers;
    const int64_t page = rows_have_pages(call) ? rows_of_page(call) : 0;
    const int64_t begin = first, inner = call->fold.size[call->fold.ndim - 1]; /* rows in a run */
    job.in.data = job.in2.data = job.out.data = job.out2.data = NULL;
    job.classes = (size_t)call->classes;
    job.unit_rows = rows_are_unit(call);
    job.large = call->rows * call->classes * call->view[IN].item >= xent_large_bytes();
    job.want_log = call->want_log;
    job.want_argmax = call->want_argmax;
    job.have_state = call->state_in != NULL;
    job.have_max = call->max_in != NULL;
    job.max_only = call->max_only;
    job.options = call->options;
    job.all_have_targets = call->targets_plain && has(call, TARGET);
    job.weight = job.row_weight = (struct row_values){NULL, 1.0};
    job.scale = (struct row_values){NULL, call->scale};
    for (int64_t count; first < end; first += count) {
        int64_t left = end - first;
        if (job.unit_rows && inner - first % inner < left) left = inner - first % inner;
        if (page && left >= XENT_PAGE_ROWS_LEAST) {
            count = left < page ? left : page; /* even parts of 1030 rows would take 1.4 times as long as a page and the rest */
            run_pages(call, first, (size_t)count, &job, &buffers, totals);
            continue;
        }
        count = left < XENT_ROWS ? left : XENT_ROWS;
        job.rows = (size_t)count;
        const int at_once = first == begin || page;
        if (at_once) describe_all(&job, call, first);
        for (arguments tensors = call->given & CLASSED; !at_once && tensors;) {
            int o = argument_take(&tensors);
            advance(tensor[o], call, (enum operand)o, first, job.rows);
        }
        if (call->with_target) prepare_targets(&job, call, first, &buffers);
        prepare_scales(&job, call, first, &buffers);
        if (job.have_state) load_states(call, first, job.rows, job.max, job.rest);
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
    if (rows_have_pages(call)) {
        /* Whole runs, or pages: two threads that write to one page at a time take as long as one. */
        const int64_t page = rows_of_page(call), run = call->fold.size[call->fold.ndim - 1];
        const int far = xent_pages_are_far((size_t)call->classes, call->class_stride[IN], (size_t)call->view[IN].item);
        unit = run < page ? run : page;
        if (far && unit >= 4 * XENT_ROWS) unit = (unit + 1) / 2; /* which are not kept in cache */
    }
    struct spans spans = xent_spans(&call->execution, call->rows, unit, elements);
    xent_spans_run(&spans, &call->execution, call->totals, run_rows, call);
}
