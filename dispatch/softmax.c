/* The entry points of log-sum-exp, softmax and log-softmax. */
#include <math.h>
#include <string.h>

#include "error.h"
#include "rows.h"
#include "tier.h"

static const xent_softmax_options defaults = {.axis = XENT_AXIS_DEFAULT};

xent_status xent_softmax_options_init(xent_softmax_options *options, size_t size)
{
    return xent_init_struct(options, size, &defaults, sizeof defaults, sizeof defaults);
}

/* The options of a call whose row_call is fresh, and what they say of how it is carried out. */
static xent_status read_softmax_options(xent_softmax_options *ours, const xent_softmax_options *given,
                                        struct row_call *call, struct xent_tables *tables, xent_error *error)
{
    xent_row_call_init(call);
    TRY(xent_check_struct(given, sizeof defaults, sizeof defaults, 0, "options", error));
    const xent_softmax_options *read = xent_read_struct(ours, given, &defaults, sizeof defaults);
    *ours = *read;
    return xent_choose(ours->execution, &call->execution, tables, error);
}

static xent_status view(struct row_call *call, enum operand which, const xent_tensor *tensor, unsigned dtypes,
                        int required, const char *name, xent_error *error)
{
    return xent_view_argument(call->view, &call->given, (int)which, tensor, dtypes, required, name, error);
}

xent_status xent_log_sum_exp(const xent_tensor *logits, const xent_softmax_options *options,
                             const xent_log_sum_exp_outputs *outputs, xent_error *error)
{
    static const xent_log_sum_exp_outputs none;
    struct row_call call;
    const struct view *in = &call.view[IN];
    xent_softmax_options ours;
    xent_log_sum_exp_outputs outputs_read;
    struct xent_tables tables;
    TRY(read_softmax_options(&ours, options, &call, &tables, error));
    TRY(xent_check_struct(outputs, sizeof none, sizeof none, 1, "outputs", error));
    const xent_log_sum_exp_outputs *wanted = xent_read_struct(&outputs_read, outputs, &none, sizeof none);
    TRY(view(&call, IN, logits, XENT_FLOATS, 1, "logits", error));
    TRY(view(&call, OUTPUT_GRADIENT, ours.output_gradient, xent_dtypes_beside(in->dtype), 0, "options.output_gradient", error));
    TRY(view(&call, LSE, wanted->lse, xent_dtypes_of_rows(in->dtype), 0, "outputs.lse", error));
    TRY(view(&call, OUT, wanted->gradient, DTYPE(in->dtype), 0, "outputs.gradient", error));
    TRY(xent_rows_fold(&call, ours.axis, error));
    call.pages = xent_kernels_for(&tables, in->dtype);
    call.kernel = call.pages->log_sum_exp;
    call.want_log = wanted->lse != NULL;
    call.state_in = ours.state;
    call.state_out = wanted->state;
    call.max_in = ours.max;
    call.max_out = wanted->max;
    call.sums_out = wanted->sum;
    call.max_only = wanted->max && !wanted->lse && !wanted->gradient && !wanted->state && !wanted->sum;
    if (ours.state && (ours.max || wanted->sum))
        return xent_fail(error, XENT_ERROR_VALUE, "options.state", "leaves no maximum or sum to be computed");
    TRY(xent_rows_check_overlaps(&call, error));
    xent_rows_run(&call);
    return XENT_OK;
}

/* softmax and log-softmax: one output of the input's shape. */
static xent_status forward(const xent_tensor *logits, const xent_softmax_options *options, const xent_tensor *output,
                           int log, xent_error *error)
{
    struct row_call call;
    const struct view *in = &call.view[IN];
    xent_softmax_options ours;
    struct xent_tables tables;
    TRY(read_softmax_options(&ours, options, &call, &tables, error));
    if (ours.output_gradient || ours.max)
        return xent_fail(error, XENT_ERROR_VALUE, ours.max ? "options.max" : "options.output_gradient",
                         "has no meaning here, and must be NULL");
    TRY(view(&call, IN, logits, XENT_FLOATS, 1, "logits", error));
    TRY(view(&call, OUT, output, DTYPE(in->dtype), 1, "output", error));
    TRY(xent_rows_fold(&call, ours.axis, error));
    const struct xent_kernels *kernels = xent_kernels_for(&tables, in->dtype);
    call.pages = kernels;
    call.log_softmax = log;
    call.kernel = log ? kernels->log_softmax : kernels->softmax;
    call.state_in = ours.state;
    TRY(xent_rows_check_overlaps(&call, error));
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
    struct row_call call;
    const struct view *in = &call.view[IN];
    xent_softmax_options ours;
    struct xent_tables tables;
    TRY(read_softmax_options(&ours, options, &call, &tables, error));
    if (ours.output_gradient || ours.state || ours.max)
        return xent_fail(error, XENT_ERROR_VALUE,
                         ours.state ? "options.state" : ours.max ? "options.max" : "options.output_gradient",
                         "has no meaning here, and must be NULL");
    TRY(view(&call, IN, output, XENT_FLOATS, 1, "output", error));
    TRY(view(&call, IN2, output_gradient, xent_dtypes_beside(in->dtype), 1, "output_gradient", error));
    TRY(view(&call, OUT, gradient, DTYPE(in->dtype), 1, "gradient", error));
    TRY(xent_rows_fold(&call, ours.axis, error));
    const struct xent_kernels *kernels = xent_kernels_for(&tables, in->dtype);
    call.kernel = log ? kernels->log_softmax_backward : kernels->softmax_backward;
    TRY(xent_rows_check_overlaps(&call, error));
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
