/* The entry points of sigmoid, log-sigmoid and the binary cross-entropies: any shape and
 * strides, in jobs of XENT_ELEMENTS elements, which are read where they lie if packed, and
 * through a tile on the stack if not. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "error.h"
#include "fold.h"
#include "parallel.h"
#include "reduce.h"
#include "tensor.h"
#include "tier.h"
#include "value.h"

enum operand { IN, IN2, WEIGHT, POS_WEIGHT, IN_SCALE, OUT, OUT2, LOSS, OPERANDS };

struct element_call {
    void (*kernel)(struct element_job *);
    struct view operand[OPERANDS]; /* name NULL: absent */
    struct fold fold;
    const struct xent_kernels *kernels;
    double scale, keep, spread, focal_gamma, focal_alpha;
    int want_sum, want_non_finite;
    struct xent_totals totals;
    xent_execution execution;
};

/* Shapes must be the input's by now, or broadcast to it. */
static xent_status fold_operands(struct element_call *call, xent_error *error)
{
    const struct view *in = &call->operand[IN];
    int64_t strides[OPERANDS][XENT_MAX_NDIM] = {{0}};
    for (int o = 0; o < OPERANDS; o++) {
        struct view *view = &call->operand[o];
        if (!view->name) continue;
        TRY(xent_check_shape(view, in->shape, in->ndim, in->name, error));
        memcpy(strides[o], view->strides, sizeof strides[o]);
    }
    /* The gradient may lie over the input, or over whatever else is read with it, and the
     * gradient in the target over the target. */
    for (int o = OUT; o < OPERANDS; o++) {
        TRY(xent_check_no_self_overlap(&call->operand[o], error));
        for (int other = 0; other < o; other++) {
            int may_alias = (o == OUT && (other == IN || other == IN2)) || (o == OUT2 && other == IN2);
            TRY(xent_check_overlap(&call->operand[o], &call->operand[other], may_alias, error));
        }
    }
    xent_fold(&call->fold, in->shape, in->ndim, OPERANDS, strides);
    return XENT_OK;
}

/* count elements of an operand from element first on, to or from a tile. */
static void transfer(const struct element_call *call, int operand, int64_t first, size_t count, char *tile,
                     void (*how)(const struct storage_job *))
{
    const struct view *view = &call->operand[operand];
    size_t real = call->operand[IN].dtype == XENT_F64 ? sizeof(double) : sizeof(float);
    for (size_t done = 0; done < count;) {
        ptrdiff_t at, step;
        int64_t left = xent_fold_run(&call->fold, operand, first + (int64_t)done, &at, &step);
        size_t run = (int64_t)(count - done) < left ? count - done : (size_t)left;
        how(&(struct storage_job){view->data + at * (ptrdiff_t)view->item, view->dtype, step, run, tile + done * real});
        done += run;
    }
}

/* The value of an input's element. */
static double element(const struct element_call *call, int operand, int64_t position)
{
    ptrdiff_t offset;
    xent_fold_offsets(&call->fold, operand, position, 1, &offset);
    return xent_value(&call->operand[operand], offset);
}

/* Elements first ... end - 1, or up to a block with an improper probability. */
static void run_elements(const void *context, int64_t first, int64_t end, struct xent_totals *totals)
{
    const struct element_call *call = context;
    struct element_job job = {.scale = call->scale, .keep = call->keep, .spread = call->spread,
                              .focal_gamma = call->focal_gamma, .focal_alpha = call->focal_alpha,
                              .want_sum = call->want_sum, .invalid = -1};
    double tile[OPERANDS][XENT_ELEMENTS]; /* doubles or floats */
    int is_packed[OPERANDS];
    xent_dtype real = call->operand[IN].dtype == XENT_F64 ? XENT_F64 : XENT_F32;
    for (int o = 0; o < OPERANDS; o++) is_packed[o] = call->operand[o].dtype == real && xent_fold_packed(&call->fold, o);
    for (; first < end; first += XENT_ELEMENTS) {
        size_t count = end - first < XENT_ELEMENTS ? (size_t)(end - first) : XENT_ELEMENTS;
        char *at[OPERANDS];
        for (int o = 0; o < OPERANDS; o++) {
            const struct view *view = &call->operand[o];
            at[o] = !view->name ? NULL : is_packed[o] ? view->data + first * (int64_t)view->item : (char *)tile[o];
            if (at[o] && !is_packed[o] && o < OUT) transfer(call, o, first, count, at[o], call->kernels->read);
        }
        if (call->want_non_finite && !at[LOSS]) at[LOSS] = (char *)tile[LOSS];
        job.count = count;
        job.in = at[IN];
        job.in2 = at[IN2];
        job.weight = at[WEIGHT];
        job.pos_weight = at[POS_WEIGHT];
        job.in_scale = at[IN_SCALE];
        job.out = at[OUT];
        job.out2 = at[OUT2];
        job.loss = at[LOSS];
        call->kernel(&job);
        if (job.invalid >= 0) {
            totals->invalid = first + (int64_t)job.invalid;
            return;
        }
        for (size_t i = 0; call->want_non_finite && i < count; i++)
            xent_totals_note(totals, first + (int64_t)i,
                             real == XENT_F64 ? ((const double *)job.loss)[i] : (double)((const float *)job.loss)[i]);
        for (int o = OUT; o < OPERANDS; o++)
            if (call->operand[o].name && !is_packed[o]) transfer(call, o, first, count, at[o], call->kernels->write);
        if (call->want_sum) xent_sum_add(&totals->sum, job.sum);
    }
}

static xent_status run(struct element_call *call, xent_error *error)
{
    struct spans spans = xent_spans(&call->execution, call->fold.count, XENT_ELEMENTS, 1);
    xent_totals_init(&call->totals);
    xent_spans_run(&spans, &call->execution, &call->totals, run_elements, call);
    if (call->totals.invalid != INT64_MAX) {
        int64_t at = call->totals.invalid;
        double p = element(call, IN, at);
        int of_input = !(p >= 0.0 && p <= 1.0);
        double improper = of_input ? p : element(call, IN2, at);
        return xent_fail_at(error, XENT_ERROR_PROBABILITY, of_input ? "input" : "target", at, improper,
                            "%.9g in element %lld is not in [0, 1]", improper, (long long)at);
    }
    double loss;
    int64_t at = xent_totals_non_finite(&call->totals, &loss);
    if (at >= 0)
        return xent_fail_at(error, XENT_ERROR_NON_FINITE, "outputs.loss", at, loss, "%g in element %lld", loss, (long long)at);
    return XENT_OK;
}

/* -- Sigmoid and log-sigmoid -- */

xent_status xent_elementwise_options_init(xent_elementwise_options *options, size_t size)
{
    xent_elementwise_options defaults = {0};
    return xent_init_struct(options, size, &defaults, sizeof defaults, sizeof defaults);
}

static xent_status choose(const xent_elementwise_options *options, xent_execution *execution,
                          struct xent_tables *tables, xent_error *error)
{
    xent_elementwise_options ours = {sizeof ours, NULL};
    TRY(xent_read_struct(&ours, sizeof ours, sizeof ours, options, 0, "options", error));
    return xent_choose(ours.execution, execution, tables, error);
}

/* One of these functions: the offset of its kernel in the table, one or (in2_name not NULL)
 * two inputs, and one output. */
static xent_status elementwise(const xent_elementwise_options *options, size_t kernel, const xent_tensor *in,
                               const char *in_name, const xent_tensor *in2, const char *in2_name, const xent_tensor *out,
                               const char *out_name, xent_error *error)
{
    struct element_call call = {.scale = 1.0, .keep = 1.0};
    struct xent_tables tables;
    TRY(choose(options, &call.execution, &tables, error));
    TRY(xent_view_tensor(&call.operand[IN], in, XENT_FLOATS, 1, in_name, error));
    xent_dtype dtype = call.operand[IN].dtype;
    if (in2_name) TRY(xent_view_tensor(&call.operand[IN2], in2, xent_dtypes_beside(dtype), 1, in2_name, error));
    TRY(xent_view_tensor(&call.operand[OUT], out, DTYPE(dtype), 1, out_name, error));
    TRY(fold_operands(&call, error));
    call.kernels = xent_kernels_for(&tables, dtype);
    memcpy(&call.kernel, (const char *)call.kernels + kernel, sizeof call.kernel);
    return run(&call, error);
}

xent_status xent_sigmoid(const xent_tensor *input, const xent_elementwise_options *options,
    const xent_tensor *output, xent_error *error)
{
    return elementwise(options, offsetof(struct xent_kernels, sigmoid), input, "input", NULL, NULL, output, "output", error);
}

xent_status xent_log_sigmoid(const xent_tensor *input, const xent_elementwise_options *options,
    const xent_tensor *output, xent_error *error)
{
    return elementwise(options, offsetof(struct xent_kernels, log_sigmoid), input, "input", NULL, NULL, output, "output", error);
}

xent_status xent_sigmoid_backward(const xent_tensor *output, const xent_tensor *output_gradient, const xent_elementwise_options *options,
    const xent_tensor *gradient, xent_error *error)
{
    return elementwise(options, offsetof(struct xent_kernels, sigmoid_backward), output, "output", output_gradient, "output_gradient", gradient, "gradient", error);
}

xent_status xent_log_sigmoid_backward(const xent_tensor *input, const xent_tensor *output_gradient, const xent_elementwise_options *options,
    const xent_tensor *gradient, xent_error *error)
{
    return elementwise(options, offsetof(struct xent_kernels, log_sigmoid_backward), input, "input", output_gradient, "output_gradient", gradient, "gradient", error);
}

/* -- Binary cross-entropy -- */

xent_status xent_bce_options_init(xent_bce_options *options, size_t size)
{
    xent_bce_options defaults = {.focal_alpha = -1.0};
    return xent_init_struct(options, size, &defaults, sizeof defaults, sizeof defaults);
}

static xent_status check_bce_options(const xent_bce_options *o, int with_logits, xent_error *error)
{
    if ((int)o->divisor_kind < XENT_DIVISOR_WEIGHTS || o->divisor_kind > XENT_DIVISOR_GIVEN)
        return xent_fail(error, XENT_ERROR_VALUE, "options.divisor_kind", "%d is unknown", (int)o->divisor_kind);
    if (!(o->label_smoothing >= 0.0 && o->label_smoothing <= 1.0))
        return xent_fail(error, XENT_ERROR_VALUE, "options.label_smoothing", "%g is not in [0, 1]", o->label_smoothing);
    if (!(o->focal_gamma >= 0.0 && isfinite(o->focal_gamma)))
        return xent_fail(error, XENT_ERROR_VALUE, "options.focal_gamma", "%g is negative or not finite", o->focal_gamma);
    if (o->focal_gamma > 0.0 && (!with_logits || o->pos_weight))
        return xent_fail(error, XENT_ERROR_VALUE, "options.focal_gamma", "is for logits without pos_weight");
    if (!(o->focal_alpha == -1.0 || (o->focal_alpha >= 0.0 && o->focal_alpha <= 1.0)))
        return xent_fail(error, XENT_ERROR_VALUE, "options.focal_alpha", "%g is neither in [0, 1] nor -1", o->focal_alpha);
    return XENT_OK;
}

static xent_status binary_loss(const xent_tensor *input, const xent_tensor *target, const xent_bce_options *options,
                               const xent_bce_outputs *outputs, int with_logits, xent_error *error)
{
    struct element_call call = {.scale = 1.0};
    xent_bce_options ours;
    xent_bce_outputs wanted = {0};
    struct xent_tables tables;
    xent_bce_options_init(&ours, sizeof ours);
    TRY(xent_read_struct(&ours, sizeof ours, sizeof ours, options, 0, "options", error));
    TRY(xent_choose(ours.execution, &call.execution, &tables, error));
    TRY(xent_read_struct(&wanted, sizeof wanted, sizeof wanted, outputs, 1, "outputs", error));
    if ((int)ours.reduction < XENT_REDUCTION_MEAN || ours.reduction > XENT_REDUCTION_NONE)
        return xent_fail(error, XENT_ERROR_REDUCTION, "options.reduction", "%d is unknown", (int)ours.reduction);
    if (!with_logits && ours.pos_weight)
        return xent_fail(error, XENT_ERROR_VALUE, "options.pos_weight", "is for logits, and must be NULL");
    TRY(check_bce_options(&ours, with_logits, error));
    struct view *view = call.operand;
    TRY(xent_view_tensor(&view[IN], input, XENT_FLOATS, 1, "input", error));
    xent_dtype dtype = view[IN].dtype;
    unsigned beside = xent_dtypes_beside(dtype);
    TRY(xent_view_tensor(&view[IN2], target, beside, 1, "target", error));
    TRY(xent_view_tensor(&view[WEIGHT], ours.weight, beside, 0, "options.weight", error));
    TRY(xent_view_tensor(&view[POS_WEIGHT], ours.pos_weight, beside, 0, "options.pos_weight", error));
    TRY(xent_view_tensor(&view[IN_SCALE], ours.output_gradient, beside, 0, "options.output_gradient", error));
    TRY(xent_view_tensor(&view[OUT], wanted.gradient, DTYPE(dtype), 0, "outputs.gradient", error));
    TRY(xent_view_tensor(&view[OUT2], wanted.target_gradient, DTYPE(view[IN2].dtype), 0, "outputs.target_gradient", error));
    TRY(xent_view_tensor(&view[LOSS], wanted.loss, xent_dtypes_of_rows(dtype), 0, "outputs.loss", error));
    TRY(xent_broadcast(&view[WEIGHT], view[IN].shape, view[IN].ndim, "input", error));
    TRY(xent_broadcast(&view[POS_WEIGHT], view[IN].shape, view[IN].ndim, "input", error));
    if (view[IN_SCALE].name && view[IN_SCALE].ndim > 0) {
        if (ours.reduction != XENT_REDUCTION_NONE)
            return xent_fail(error, XENT_ERROR_SHAPE, "options.output_gradient", "must be a scalar for a reduced loss");
    } else TRY(xent_broadcast(&view[IN_SCALE], view[IN].shape, view[IN].ndim, "input", error));
    TRY(fold_operands(&call, error));
    call.kernels = xent_kernels_for(&tables, dtype);
    call.kernel = with_logits ? call.kernels->bce_with_logits : call.kernels->bce;
    call.keep = 1.0 - ours.label_smoothing;
    call.spread = ours.label_smoothing / 2.0;
    call.focal_gamma = ours.focal_gamma;
    call.focal_alpha = ours.focal_alpha;
    call.want_non_finite = ours.report_non_finite;
    call.want_sum = wanted.sum || wanted.mean;
    double divisor = ours.divisor_kind == XENT_DIVISOR_GIVEN ? ours.divisor : (double)call.fold.count;
    if (ours.reduction == XENT_REDUCTION_MEAN) call.scale = 1.0 / divisor;
    xent_status status = run(&call, error);
    if (status && status != XENT_ERROR_NON_FINITE) return status;
    double total = call.want_sum ? xent_sum_round(&call.totals.sum) : 0.0;
    if (wanted.sum) *wanted.sum = total;
    if (wanted.divisor) *wanted.divisor = divisor;
    if (wanted.mean) *wanted.mean = call.fold.count == 0 && ours.empty_mean_is_zero ? 0.0 : total / divisor;
    return status;
}

xent_status xent_bce(const xent_tensor *input, const xent_tensor *target, const xent_bce_options *options,
                     const xent_bce_outputs *outputs, xent_error *error)
{
    return binary_loss(input, target, options, outputs, 0, error);
}

xent_status xent_bce_with_logits(const xent_tensor *input, const xent_tensor *target, const xent_bce_options *options,
                                 const xent_bce_outputs *outputs, xent_error *error)
{
    return binary_loss(input, target, options, outputs, 1, error);
}
