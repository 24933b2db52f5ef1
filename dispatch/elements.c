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
#define OUTPUTS (argument(OUT) | argument(OUT2) | argument(LOSS))

struct element_call {
    void (*kernel)(struct element_job *);
    const struct xent_kernels *kernels;
    arguments given;
    int want_sum, want_non_finite;
    double scale, keep, spread, focal_gamma, focal_alpha;
    xent_execution execution;
    struct fold fold;
    struct view view[OPERANDS]; /* of those given */
    struct xent_totals totals;
};

static int has(const struct element_call *call, int operand) { return (call->given & argument(operand)) != 0; }

/* What the functions without options of their own leave as it is. */
static void init(struct element_call *call)
{
    call->given = 0;
    call->want_sum = call->want_non_finite = 0;
    call->scale = call->keep = 1.0;
    call->spread = call->focal_gamma = call->focal_alpha = 0.0;
}

static xent_status view(struct element_call *call, enum operand which, const xent_tensor *tensor, unsigned dtypes,
                        int required, const char *name, xent_error *error)
{
    return xent_view_argument(call->view, &call->given, (int)which, tensor, dtypes, required, name, error);
}

/* Shapes must be the input's by now, or broadcast to it. */
static xent_status fold_operands(struct element_call *call, xent_error *error)
{
    /* The gradient may lie over the input, or over whatever else is read with it, and the
     * gradient in the target over the target. */
    static const arguments may_alias[OPERANDS] = {[OUT] = 1u << IN | 1u << IN2, [OUT2] = 1u << IN2};
    const struct view *in = &call->view[IN];
    for (arguments left = call->given & ~argument(IN); left;)
        TRY(xent_check_shape(&call->view[argument_take(&left)], in->shape, in->ndim, in->name, error));
    TRY(xent_check_overlaps(call->view, call->given, OUTPUTS, may_alias, error));
    xent_fold(&call->fold, in->shape, in->ndim, -1, call->view, call->given, 0);
    return XENT_OK;
}

/* count elements of an operand from element first on, to or from a tile. */
static void transfer(const struct element_call *call, int operand, int64_t first, size_t count, char *tile,
                     void (*how)(const struct storage_job *))
{
    const struct view *view = &call->view[operand];
    size_t real = call->view[IN].dtype == XENT_F64 ? sizeof(double) : sizeof(float);
    for (size_t done = 0; done < count;) {
        ptrdiff_t at, step;
        int64_t left = xent_fold_run(&call->fold, operand, first + (int64_t)done, &at, &step);
        size_t run = (int64_t)(count - done) < left ? count - done : (size_t)left;
        how(&(struct storage_job){view->data + at * view->item, view->dtype, step, run, tile + done * real});
        done += run;
    }
}

/* The value of an input's element. */
static double element(const struct element_call *call, int operand, int64_t position)
{
    ptrdiff_t offset;
    xent_fold_offsets(&call->fold, operand, position, 1, &offset);
    return xent_value(&call->view[operand], offset);
}

/* Elements first ... end - 1, or up to a block with an improper probability. */
static void run_elements(const void *context, int64_t first, int64_t end, struct xent_totals *totals)
{
    const struct element_call *call = context;
    struct element_job job = {.scale = call->scale, .keep = call->keep, .spread = call->spread,
                              .focal_gamma = call->focal_gamma, .focal_alpha = call->focal_alpha,
                              .want_sum = call->want_sum, .invalid = -1};
    double tile[OPERANDS][XENT_ELEMENTS]; /* doubles or floats */
    char *at[OPERANDS] = {NULL};
    const xent_dtype real = call->view[IN].dtype == XENT_F64 ? XENT_F64 : XENT_F32;
    arguments tiled = 0; /* not read or written where they lie */
    for (arguments left = call->given; left;) {
        int o = argument_take(&left);
        if (call->view[o].dtype != real || !xent_fold_packed(&call->fold, o)) tiled |= argument(o);
    }
    for (; first < end; first += XENT_ELEMENTS) {
        size_t count = end - first < XENT_ELEMENTS ? (size_t)(end - first) : XENT_ELEMENTS;
        for (arguments left = call->given; left;) {
            int o = argument_take(&left);
            at[o] = tiled & argument(o) ? (char *)tile[o] : call->view[o].data + first * call->view[o].item;
        }
        for (arguments left = tiled & ~OUTPUTS; left;) {
            int o = argument_take(&left);
            transfer(call, o, first, count, at[o], call->kernels->read);
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
        for (arguments left = tiled & OUTPUTS; left;) {
            int o = argument_take(&left);
            transfer(call, o, first, count, at[o], call->kernels->write);
        }
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
    static const xent_elementwise_options defaults;
    return xent_init_struct(options, size, &defaults, sizeof defaults, sizeof defaults);
}

static xent_status choose(const xent_elementwise_options *given, struct element_call *call, struct xent_tables *tables,
                          xent_error *error)
{
    static const xent_elementwise_options defaults;
    xent_elementwise_options room;
    TRY(xent_check_struct(given, sizeof defaults, sizeof defaults, 0, "options", error));
    const xent_elementwise_options *o = xent_read_struct(&room, given, &defaults, sizeof defaults);
    return xent_choose(o->execution, &call->execution, tables, error);
}

/* One of these functions: the offset of its kernel in the table, one or (in2_name not NULL)
 * two inputs, and one output. */
static xent_status elementwise(const xent_elementwise_options *options, size_t kernel, const xent_tensor *in,
                               const char *in_name, const xent_tensor *in2, const char *in2_name, const xent_tensor *out,
                               const char *out_name, xent_error *error)
{
    struct element_call call;
    struct xent_tables tables;
    init(&call);
    TRY(choose(options, &call, &tables, error));
    TRY(view(&call, IN, in, XENT_FLOATS, 1, in_name, error));
    xent_dtype dtype = call.view[IN].dtype;
    if (in2_name) TRY(view(&call, IN2, in2, xent_dtypes_beside(dtype), 1, in2_name, error));
    TRY(view(&call, OUT, out, DTYPE(dtype), 1, out_name, error));
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

static const xent_bce_options bce_defaults = {.focal_alpha = -1.0};

xent_status xent_bce_options_init(xent_bce_options *options, size_t size)
{
    return xent_init_struct(options, size, &bce_defaults, sizeof bce_defaults, sizeof bce_defaults);
}

static xent_status check_bce_options(const xent_bce_options *o, int with_logits, xent_error *error)
{
    if ((int)o->reduction < XENT_REDUCTION_MEAN || o->reduction > XENT_REDUCTION_NONE)
        return xent_fail(error, XENT_ERROR_REDUCTION, "options.reduction", "%d is unknown", (int)o->reduction);
    if (!with_logits && o->pos_weight)
        return xent_fail(error, XENT_ERROR_VALUE, "options.pos_weight", "is for logits, and must be NULL");
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

static xent_status view_tensors(struct element_call *call, const xent_tensor *input, const xent_tensor *target,
                                const xent_bce_options *o, const xent_bce_outputs *w, xent_error *error)
{
    const struct view *in = &call->view[IN];
    TRY(view(call, IN, input, XENT_FLOATS, 1, "input", error));
    const unsigned same = DTYPE(in->dtype), beside = xent_dtypes_beside(in->dtype);
    TRY(view(call, IN2, target, beside, 1, "target", error));
    TRY(view(call, WEIGHT, o->weight, beside, 0, "options.weight", error));
    TRY(view(call, POS_WEIGHT, o->pos_weight, beside, 0, "options.pos_weight", error));
    TRY(view(call, IN_SCALE, o->output_gradient, beside, 0, "options.output_gradient", error));
    TRY(view(call, OUT, w->gradient, same, 0, "outputs.gradient", error));
    TRY(view(call, OUT2, w->target_gradient, DTYPE(call->view[IN2].dtype), 0, "outputs.target_gradient", error));
    TRY(view(call, LOSS, w->loss, xent_dtypes_of_rows(in->dtype), 0, "outputs.loss", error));
    arguments broadcast = call->given & (argument(WEIGHT) | argument(POS_WEIGHT));
    if (has(call, IN_SCALE) && call->view[IN_SCALE].ndim == 0) broadcast |= argument(IN_SCALE);
    else if (has(call, IN_SCALE) && o->reduction != XENT_REDUCTION_NONE)
        return xent_fail(error, XENT_ERROR_SHAPE, "options.output_gradient", "must be a scalar for a reduced loss");
    while (broadcast) TRY(xent_broadcast(&call->view[argument_take(&broadcast)], in->shape, in->ndim, "input", error));
    return fold_operands(call, error);
}

static xent_status binary_loss(const xent_tensor *input, const xent_tensor *target, const xent_bce_options *options,
                               const xent_bce_outputs *outputs, int with_logits, xent_error *error)
{
    static const xent_bce_outputs none;
    xent_bce_options options_read;
    xent_bce_outputs outputs_read;
    struct element_call call;
    struct xent_tables tables;
    init(&call);
    TRY(xent_check_struct(options, sizeof bce_defaults, sizeof bce_defaults, 0, "options", error));
    const xent_bce_options *o = xent_read_struct(&options_read, options, &bce_defaults, sizeof bce_defaults);
    TRY(xent_choose(o->execution, &call.execution, &tables, error));
    TRY(xent_check_struct(outputs, sizeof none, sizeof none, 1, "outputs", error));
    const xent_bce_outputs *w = xent_read_struct(&outputs_read, outputs, &none, sizeof none);
    TRY(check_bce_options(o, with_logits, error));
    TRY(view_tensors(&call, input, target, o, w, error));
    call.kernels = xent_kernels_for(&tables, call.view[IN].dtype);
    call.kernel = with_logits ? call.kernels->bce_with_logits : call.kernels->bce;
    call.keep = 1.0 - o->label_smoothing;
    call.spread = o->label_smoothing / 2.0;
    call.focal_gamma = o->focal_gamma;
    call.focal_alpha = o->focal_alpha;
    call.want_non_finite = o->report_non_finite;
    call.want_sum = w->sum || w->mean;
    double divisor = o->divisor_kind == XENT_DIVISOR_GIVEN ? o->divisor : (double)call.fold.count;
    if (o->reduction == XENT_REDUCTION_MEAN) call.scale = 1.0 / divisor;
    xent_status status = run(&call, error);
    if (status && status != XENT_ERROR_NON_FINITE) return status;
    double total = call.want_sum ? xent_sum_round(&call.totals.sum) : 0.0;
    if (w->sum) *w->sum = total;
    if (w->divisor) *w->divisor = divisor;
    if (w->mean) *w->mean = call.fold.count == 0 && o->empty_mean_is_zero ? 0.0 : total / divisor;
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
