/* The entry points of log-sum-exp, softmax, log-softmax, cross-entropy and NLL. */
#include <math.h>
#include <string.h>

#include "error.h"
#include "rows.h"
#include "tier.h"

#define FLOATS DTYPE(XENT_F32)

xent_status xent_softmax_options_init(xent_softmax_options *options, size_t size)
{
    xent_softmax_options defaults = {sizeof defaults, NULL, XENT_AXIS_DEFAULT, NULL, NULL};
    if (!options) return XENT_ERROR_NULL;
    if (size != sizeof defaults) return XENT_ERROR_STRUCT_SIZE;
    *options = defaults;
    return XENT_OK;
}

xent_status xent_cross_entropy_options_init(xent_cross_entropy_options *options, size_t size)
{
    xent_cross_entropy_options defaults = {sizeof defaults, NULL, XENT_AXIS_DEFAULT, XENT_REDUCTION_MEAN, -100, NULL, NULL, NULL};
    if (!options) return XENT_ERROR_NULL;
    if (size != sizeof defaults) return XENT_ERROR_STRUCT_SIZE;
    *options = defaults;
    return XENT_OK;
}

static const struct view no_weight;

/* The row states are the caller's arrays of the library's own type. */
static struct view state_view(const xent_row_state *state, const char *name, int64_t rows)
{
    struct view view = {0};
    if (!state || rows == 0) return view;
    view.name = name;
    view.data = (char *)(uintptr_t)state;
    view.item = 1;
    view.ndim = 1;
    view.shape[0] = view.count = rows * (int64_t)sizeof *state;
    view.strides[0] = 1;
    return view;
}

/* Every output against every other tensor of the call. The gradient may lie over an input
 * that has the class axis, and the saved states be written back to where they are. */
static xent_status check_overlaps(const struct row_call *call, xent_error *error)
{
    struct view states = state_view(call->state_out, "outputs.state", call->rows);
    struct view saved = state_view(call->state_in, "options.state", call->rows);
    const struct view *outputs[] = {&call->operand[OUT], &call->operand[LOSS], &call->operand[LSE], &states};
    const struct view *inputs[] = {&call->operand[IN], &call->operand[IN2], &call->operand[TARGET],
                                   &call->operand[OUTPUT_GRADIENT], call->weight ? call->weight : &no_weight, &saved};
    for (int o = 0; o < 4; o++) {
        TRY(xent_check_no_self_overlap(outputs[o], error));
        for (int i = 0; i < 6; i++)
            TRY(xent_check_overlap(outputs[o], inputs[i], (o == 0 && i < 2) || (o == 3 && i == 5), error));
        for (int other = 0; other < o; other++) TRY(xent_check_overlap(outputs[o], outputs[other], 0, error));
    }
    return XENT_OK;
}

static xent_status read_softmax_options(xent_softmax_options *ours, const xent_softmax_options *options,
                                        const struct xent_kernels **kernels, xent_error *error)
{
    *ours = (xent_softmax_options){sizeof *ours, NULL, XENT_AXIS_DEFAULT, NULL, NULL};
    TRY(xent_read_struct(ours, sizeof *ours, options, 0, "options", error));
    return xent_choose(ours->execution, kernels, error);
}

xent_status xent_log_sum_exp(const xent_tensor *logits, const xent_softmax_options *options,
                             const xent_log_sum_exp_outputs *outputs, xent_error *error)
{
    struct row_call call = {.scale = 1.0};
    xent_softmax_options ours;
    xent_log_sum_exp_outputs wanted = {0};
    const struct xent_kernels *kernels;
    TRY(read_softmax_options(&ours, options, &kernels, error));
    TRY(xent_read_struct(&wanted, sizeof wanted, outputs, 1, "outputs", error));
    TRY(xent_view_tensor(&call.operand[IN], logits, FLOATS, 1, "logits", error));
    TRY(xent_view_tensor(&call.operand[OUTPUT_GRADIENT], ours.output_gradient, FLOATS, 0, "options.output_gradient", error));
    TRY(xent_view_tensor(&call.operand[LSE], wanted.lse, FLOATS, 0, "outputs.lse", error));
    TRY(xent_view_tensor(&call.operand[OUT], wanted.gradient, FLOATS, 0, "outputs.gradient", error));
    TRY(xent_rows_fold(&call, ours.axis, error));
    call.kernel = kernels->log_sum_exp;
    call.want_log = wanted.lse != NULL;
    call.state_in = ours.state;
    call.state_out = wanted.state;
    TRY(check_overlaps(&call, error));
    xent_rows_run(&call);
    return XENT_OK;
}

/* softmax and log-softmax: one output of the input's shape. */
static xent_status forward(const xent_tensor *logits, const xent_softmax_options *options, const xent_tensor *output,
                           int log, xent_error *error)
{
    struct row_call call = {.scale = 1.0};
    xent_softmax_options ours;
    const struct xent_kernels *kernels;
    TRY(read_softmax_options(&ours, options, &kernels, error));
    if (ours.output_gradient)
        return xent_fail(error, XENT_ERROR_VALUE, "options.output_gradient", "has no meaning here, and must be NULL");
    TRY(xent_view_tensor(&call.operand[IN], logits, FLOATS, 1, "logits", error));
    TRY(xent_view_tensor(&call.operand[OUT], output, FLOATS, 1, "output", error));
    TRY(xent_rows_fold(&call, ours.axis, error));
    call.kernel = log ? kernels->log_softmax : kernels->softmax;
    call.state_in = ours.state;
    TRY(check_overlaps(&call, error));
    xent_rows_run(&call);
    return XENT_OK;
}

xent_status xent_softmax(const xent_tensor *logits, const xent_softmax_options *options, const xent_tensor *output,
                         xent_error *error)
{
    return forward(logits, options, output, 0, error);
}

xent_status xent_log_softmax(const xent_tensor *logits, const xent_softmax_options *options, const xent_tensor *output,
                             xent_error *error)
{
    return forward(logits, options, output, 1, error);
}

static xent_status backward(const xent_tensor *output, const xent_tensor *output_gradient,
                            const xent_softmax_options *options, const xent_tensor *gradient, int log, xent_error *error)
{
    struct row_call call = {.scale = 1.0};
    xent_softmax_options ours;
    const struct xent_kernels *kernels;
    TRY(read_softmax_options(&ours, options, &kernels, error));
    if (ours.output_gradient || ours.state)
        return xent_fail(error, XENT_ERROR_VALUE, ours.state ? "options.state" : "options.output_gradient",
                         "has no meaning here, and must be NULL");
    TRY(xent_view_tensor(&call.operand[IN], output, FLOATS, 1, "output", error));
    TRY(xent_view_tensor(&call.operand[IN2], output_gradient, FLOATS, 1, "output_gradient", error));
    TRY(xent_view_tensor(&call.operand[OUT], gradient, FLOATS, 1, "gradient", error));
    TRY(xent_rows_fold(&call, ours.axis, error));
    call.kernel = log ? kernels->log_softmax_backward : kernels->softmax_backward;
    TRY(check_overlaps(&call, error));
    xent_rows_run(&call);
    return XENT_OK;
}

xent_status xent_softmax_backward(const xent_tensor *output, const xent_tensor *output_gradient,
                                  const xent_softmax_options *options, const xent_tensor *gradient, xent_error *error)
{
    return backward(output, output_gradient, options, gradient, 0, error);
}

xent_status xent_log_softmax_backward(const xent_tensor *output, const xent_tensor *output_gradient,
                                      const xent_softmax_options *options, const xent_tensor *gradient, xent_error *error)
{
    return backward(output, output_gradient, options, gradient, 1, error);
}

/* -- Losses of an index target -- */

/* Checks every target, and adds up the divisor: the weights of the rows not ignored, or
 * their number. */
static xent_status check_targets(const struct row_call *call, int want_divisor, double *divisor, xent_error *error)
{
    struct xent_sum weights;
    const struct view *weight = call->weight;
    int64_t counted = 0;
    xent_sum_init(&weights);
    for (int64_t first = 0; first < call->rows; first += XENT_ROWS) {
        size_t count = call->rows - first < XENT_ROWS ? (size_t)(call->rows - first) : XENT_ROWS;
        ptrdiff_t offsets[XENT_ROWS];
        float values[XENT_ROWS];
        xent_fold_offsets(&call->fold, TARGET, first, count, offsets);
        for (size_t i = 0; i < count; i++) {
            int64_t target = xent_target(call, offsets[i]);
            values[i] = 0.0f;
            if (target == call->ignore_index) continue;
            if (target < 0 || target >= call->classes)
                return xent_fail_at(error, XENT_ERROR_TARGET, "target", first + (int64_t)i, (double)target,
                                    "%lld in row %lld is outside [0, %lld) and is not ignore_index, %lld",
                                    (long long)target, (long long)(first + (int64_t)i), (long long)call->classes,
                                    (long long)call->ignore_index);
            counted++;
            if (weight->name) values[i] = ((const float *)(const void *)weight->data)[target * weight->strides[0]];
        }
        if (weight->name && want_divisor) xent_sum_add_rows(&weights, values, count);
    }
    *divisor = weight->name ? xent_sum_round(&weights) : (double)counted;
    return XENT_OK;
}

static xent_status index_loss(const xent_tensor *input, const xent_tensor *target,
                              const xent_cross_entropy_options *options, const xent_cross_entropy_outputs *outputs,
                              int nll, xent_error *error)
{
    struct row_call call = {.scale = 1.0};
    xent_cross_entropy_options ours;
    xent_cross_entropy_outputs wanted = {0};
    const struct xent_kernels *kernels;
    struct view weight;
    xent_cross_entropy_options_init(&ours, sizeof ours);
    TRY(xent_read_struct(&ours, sizeof ours, options, 0, "options", error));
    TRY(xent_choose(ours.execution, &kernels, error));
    TRY(xent_read_struct(&wanted, sizeof wanted, outputs, 1, "outputs", error));
    if ((int)ours.reduction < XENT_REDUCTION_MEAN || ours.reduction > XENT_REDUCTION_NONE)
        return xent_fail(error, XENT_ERROR_REDUCTION, "options.reduction", "%d is unknown", (int)ours.reduction);
    if (nll && (ours.state || wanted.state || wanted.lse))
        return xent_fail(error, XENT_ERROR_VALUE, ours.state ? "options.state" : wanted.state ? "outputs.state" : "outputs.lse",
                         "is not to be had of NLL, and must be NULL");
    TRY(xent_view_tensor(&call.operand[IN], input, FLOATS, 1, nll ? "log_probabilities" : "logits", error));
    TRY(xent_view_tensor(&call.operand[TARGET], target, DTYPE(XENT_I64) | DTYPE(XENT_I32), 1, "target", error));
    TRY(xent_view_tensor(&weight, ours.weight, FLOATS, 0, "options.weight", error));
    TRY(xent_view_tensor(&call.operand[OUTPUT_GRADIENT], ours.output_gradient, FLOATS, 0, "options.output_gradient", error));
    if (ours.reduction != XENT_REDUCTION_NONE && call.operand[OUTPUT_GRADIENT].ndim > 0)
        return xent_fail(error, XENT_ERROR_SHAPE, "options.output_gradient", "must be a scalar for a reduced loss");
    TRY(xent_view_tensor(&call.operand[LOSS], wanted.loss, FLOATS, 0, "outputs.loss", error));
    TRY(xent_view_tensor(&call.operand[LSE], wanted.lse, FLOATS, 0, "outputs.lse", error));
    TRY(xent_view_tensor(&call.operand[OUT], wanted.gradient, FLOATS, 0, "outputs.gradient", error));
    TRY(xent_rows_fold(&call, ours.axis, error));
    if (weight.name) TRY(xent_check_shape(&weight, &call.classes, 1, "the class axis", error));
    int want_sum = wanted.sum || wanted.mean;
    call.kernel = nll ? kernels->nll : kernels->cross_entropy;
    call.want_log = wanted.loss || wanted.lse || want_sum;
    call.state_in = ours.state;
    call.state_out = wanted.state;
    call.weight = &weight;
    call.ignore_index = ours.ignore_index;
    TRY(check_overlaps(&call, error));
    double divisor = 0.0;
    int scaled = ours.reduction == XENT_REDUCTION_MEAN && wanted.gradient;
    TRY(check_targets(&call, wanted.divisor || wanted.mean || scaled, &divisor, error));
    if (scaled) call.scale = 1.0 / divisor;
    struct xent_sum sum;
    if (want_sum) {
        xent_sum_init(&sum);
        call.sum = &sum;
    }
    xent_rows_run(&call);
    double total = want_sum ? xent_sum_round(&sum) : 0.0;
    if (wanted.sum) *wanted.sum = total;
    if (wanted.divisor) *wanted.divisor = divisor;
    if (wanted.mean) *wanted.mean = total / divisor;
    return XENT_OK;
}

xent_status xent_cross_entropy(const xent_tensor *logits, const xent_tensor *target,
                               const xent_cross_entropy_options *options, const xent_cross_entropy_outputs *outputs,
                               xent_error *error)
{
    return index_loss(logits, target, options, outputs, 0, error);
}

xent_status xent_nll(const xent_tensor *log_probabilities, const xent_tensor *target,
                     const xent_cross_entropy_options *options, const xent_cross_entropy_outputs *outputs,
                     xent_error *error)
{
    return index_loss(log_probabilities, target, options, outputs, 1, error);
}
