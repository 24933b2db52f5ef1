#include "arguments.h"

#include <math.h>
#include <string.h>

/* ---- Putting the call together --------------------------------------------------- */

enum { F32 = 1u << XENT_F32, INDEX = 1u << XENT_I64 | 1u << XENT_I32 };

static struct argument *add(struct call *call, const char *name, int ndim, unsigned dtypes)
{
    assert_true(call->count < MAX_ARGUMENTS);
    struct argument *a = &call->arguments[call->count++];
    *a = (struct argument){.name = name, .required = true, .dtypes = dtypes, .passed = true};
    a->tensor = (xent_tensor){
        .data = a->memory + ARGUMENT_BYTES / 2,
        .dtype = dtypes == F32 ? XENT_F32 : XENT_I64,
        .ndim = ndim,
        .shape = a->shape,
    };
    a->shape[0] = CALL_ROWS;
    a->shape[1] = CALL_CLASSES;
    a->strides[0] = ndim == 2 ? CALL_CLASSES : 1;
    a->strides[1] = 1;
    a->tensor.strides = a->strides;
    guarded_fill(a->memory, sizeof a->memory);
    return a;
}

static struct argument *input(struct call *call, const char *name, int ndim, unsigned dtypes)
{
    struct argument *a = add(call, name, ndim, dtypes);
    for (int i = 0; i < CALL_ROWS * CALL_CLASSES; i++) {
        if (dtypes == F32) {
            ((float *)a->tensor.data)[i] = (float)(i % 3) / 4; /* also a probability */
        } else {
            ((int64_t *)a->tensor.data)[i] = i % CALL_CLASSES;
        }
    }
    return a;
}

static void optional_input(struct call *call, const char *name, int ndim)
{
    input(call, name, ndim, F32)->required = false;
}

static void output(struct call *call, const char *name, int ndim, bool required)
{
    struct argument *a = add(call, name, ndim, F32);
    a->is_output = true;
    a->required = required;
}

static void add_tensors(struct call *call)
{
    switch (call->kernel) {
    case KERNEL_log_sum_exp:
        input(call, "logits", 2, F32);
        optional_input(call, "output_gradient", 1);
        output(call, "lse", 1, false);
        output(call, "gradient", 2, false);
        break;
    case KERNEL_softmax:
    case KERNEL_log_softmax:
        input(call, "logits", 2, F32);
        output(call, "output", 2, true);
        break;
    case KERNEL_softmax_backward:
    case KERNEL_log_softmax_backward:
    case KERNEL_sigmoid_backward:
        input(call, "output", 2, F32);
        input(call, "output_gradient", 2, F32);
        output(call, "gradient", 2, true);
        break;
    case KERNEL_cross_entropy:
    case KERNEL_nll:
        input(call, call->kernel == KERNEL_nll ? "log_probabilities" : "logits", 2, F32);
        input(call, "target", 1, INDEX);
        optional_input(call, "weight", 1);
        call_argument(call, "weight")->shape[0] = CALL_CLASSES;
        optional_input(call, "output_gradient", 1);
        output(call, "loss", 1, false);
        output(call, "gradient", 2, false);
        if (call->kernel == KERNEL_cross_entropy) {
            output(call, "lse", 1, false);
        }
        break;
    case KERNEL_sigmoid:
    case KERNEL_log_sigmoid:
        input(call, "input", 2, F32);
        output(call, "output", 2, true);
        break;
    case KERNEL_log_sigmoid_backward:
        input(call, "input", 2, F32);
        input(call, "output_gradient", 2, F32);
        output(call, "gradient", 2, true);
        break;
    case KERNEL_bce:
    case KERNEL_bce_with_logits:
        input(call, "input", 2, F32);
        input(call, "target", 2, F32);
        optional_input(call, "weight", 2);
        if (call->kernel == KERNEL_bce_with_logits) {
            optional_input(call, "pos_weight", 2);
        }
        optional_input(call, "output_gradient", 2);
        output(call, "loss", 2, false);
        output(call, "gradient", 2, false);
        output(call, "target_gradient", 2, false);
        break;
    case KERNEL_COUNT:
        break;
    }
}

void call_make(struct call *call, enum kernel kernel, xent_tier tier)
{
    memset(call, 0, sizeof *call);
    call->kernel = kernel;
    call->execution = check_execution(tier);
    add_tensors(call);
    xent_softmax_options_init(&call->softmax, sizeof call->softmax);
    xent_cross_entropy_options_init(&call->cross_entropy, sizeof call->cross_entropy);
    xent_elementwise_options_init(&call->elementwise, sizeof call->elementwise);
    xent_bce_options_init(&call->bce, sizeof call->bce);
    call->cross_entropy.reduction = XENT_REDUCTION_NONE; /* one incoming gradient a row */
    call->bce.reduction = XENT_REDUCTION_NONE;
    call->softmax.execution = &call->execution;
    call->cross_entropy.execution = &call->execution;
    call->elementwise.execution = &call->execution;
    call->bce.execution = &call->execution;
    call->lse_outputs = (xent_log_sum_exp_outputs){.size = sizeof call->lse_outputs, .state = call->state};
    call->loss_outputs = (xent_cross_entropy_outputs){
        .size = sizeof call->loss_outputs,
        .sum = &call->totals[0],
        .divisor = &call->totals[1],
        .mean = &call->totals[2],
        .state = kernel == KERNEL_nll ? NULL : call->state,
    };
    call->bce_outputs = (xent_bce_outputs){
        .size = sizeof call->bce_outputs,
        .sum = &call->totals[0],
        .divisor = &call->totals[1],
        .mean = &call->totals[2],
    };
    call->pass_outputs = true;
    guarded_fill(call->totals, sizeof call->totals);
    guarded_fill(call->state, sizeof call->state);
    guarded_fill(&call->error, sizeof call->error);
}

static struct argument *find(struct call *call, const char *name, bool output)
{
    for (int i = 0; i < call->count; i++) {
        if (strcmp(call->arguments[i].name, name) == 0 && call->arguments[i].is_output == output) {
            return &call->arguments[i];
        }
    }
    return NULL;
}

struct argument *call_argument(struct call *call, const char *name)
{
    struct argument *a = find(call, name, false);
    a = a != NULL ? a : find(call, name, true);
    assert_non_null(a);
    return a;
}

bool call_has_outputs(const struct call *call)
{
    return call->kernel == KERNEL_log_sum_exp || call_has_reduction(call);
}

bool call_has_reduction(const struct call *call)
{
    return call->kernel == KERNEL_cross_entropy || call->kernel == KERNEL_nll ||
           call->kernel == KERNEL_bce || call->kernel == KERNEL_bce_with_logits;
}

bool call_has_axis(const struct call *call)
{
    return !kernel_elementwise(call->kernel);
}

size_t *call_options_size(struct call *call)
{
    if (call->kernel == KERNEL_cross_entropy || call->kernel == KERNEL_nll) {
        return &call->cross_entropy.size;
    }
    if (call_has_axis(call)) {
        return &call->softmax.size;
    }
    return call_has_reduction(call) ? &call->bce.size : &call->elementwise.size;
}

size_t *call_outputs_size(struct call *call)
{
    if (call->kernel == KERNEL_log_sum_exp) {
        return &call->lse_outputs.size;
    }
    return call_has_axis(call) ? &call->loss_outputs.size : &call->bce_outputs.size;
}

/* ---- Making it -------------------------------------------------------------------------- */

static const xent_tensor *in(struct call *call, const char *name)
{
    struct argument *a = find(call, name, false);
    return a != NULL && a->passed ? &a->tensor : NULL;
}

static const xent_tensor *out(struct call *call, const char *name)
{
    struct argument *a = find(call, name, true);
    return a != NULL && a->passed ? &a->tensor : NULL;
}

static xent_status invoke_index_loss(struct call *call)
{
    xent_cross_entropy_options *options = &call->cross_entropy;
    xent_cross_entropy_outputs *outputs = &call->loss_outputs;
    options->weight = in(call, "weight");
    options->output_gradient = in(call, "output_gradient");
    outputs->loss = out(call, "loss");
    outputs->gradient = out(call, "gradient");
    outputs->lse = outputs->lse != NULL ? outputs->lse : out(call, "lse"); /* nll: a test's own */
    const xent_cross_entropy_outputs *passed = call->pass_outputs ? outputs : NULL;
    return call->kernel == KERNEL_nll
               ? xent_nll(in(call, "log_probabilities"), in(call, "target"), options, passed, &call->error)
               : xent_cross_entropy(in(call, "logits"), in(call, "target"), options, passed, &call->error);
}

static xent_status invoke_bce(struct call *call)
{
    xent_bce_options *options = &call->bce;
    xent_bce_outputs *outputs = &call->bce_outputs;
    options->weight = in(call, "weight");
    options->pos_weight = options->pos_weight != NULL ? options->pos_weight : in(call, "pos_weight");
    options->output_gradient = in(call, "output_gradient");
    outputs->loss = out(call, "loss");
    outputs->gradient = out(call, "gradient");
    outputs->target_gradient = out(call, "target_gradient");
    const xent_bce_outputs *passed = call->pass_outputs ? outputs : NULL;
    return call->kernel == KERNEL_bce
               ? xent_bce(in(call, "input"), in(call, "target"), options, passed, &call->error)
               : xent_bce_with_logits(in(call, "input"), in(call, "target"), options, passed, &call->error);
}

static xent_status invoke_log_sum_exp(struct call *call)
{
    call->softmax.output_gradient = in(call, "output_gradient");
    call->lse_outputs.lse = out(call, "lse");
    call->lse_outputs.gradient = out(call, "gradient");
    return xent_log_sum_exp(in(call, "logits"), &call->softmax, call->pass_outputs ? &call->lse_outputs : NULL,
                            &call->error);
}

xent_status call_invoke(struct call *call)
{
    xent_error *error = &call->error;
    switch (call->kernel) {
    case KERNEL_log_sum_exp:
        return invoke_log_sum_exp(call);
    case KERNEL_softmax:
        return xent_softmax(in(call, "logits"), &call->softmax, out(call, "output"), error);
    case KERNEL_log_softmax:
        return xent_log_softmax(in(call, "logits"), &call->softmax, out(call, "output"), error);
    case KERNEL_softmax_backward:
        return xent_softmax_backward(in(call, "output"), in(call, "output_gradient"), &call->softmax,
                                     out(call, "gradient"), error);
    case KERNEL_log_softmax_backward:
        return xent_log_softmax_backward(in(call, "output"), in(call, "output_gradient"), &call->softmax,
                                         out(call, "gradient"), error);
    case KERNEL_cross_entropy:
    case KERNEL_nll:
        return invoke_index_loss(call);
    case KERNEL_sigmoid:
        return xent_sigmoid(in(call, "input"), &call->elementwise, out(call, "output"), error);
    case KERNEL_log_sigmoid:
        return xent_log_sigmoid(in(call, "input"), &call->elementwise, out(call, "output"), error);
    case KERNEL_sigmoid_backward:
        return xent_sigmoid_backward(in(call, "output"), in(call, "output_gradient"), &call->elementwise,
                                     out(call, "gradient"), error);
    case KERNEL_log_sigmoid_backward:
        return xent_log_sigmoid_backward(in(call, "input"), in(call, "output_gradient"), &call->elementwise,
                                         out(call, "gradient"), error);
    case KERNEL_bce:
    case KERNEL_bce_with_logits:
        return invoke_bce(call);
    case KERNEL_COUNT:
        break;
    }
    return XENT_OK;
}

/* ---- Judging it --------------------------------------------------------------------------- */

void assert_refused(struct call *call, xent_status status, const char *argument, const char *what)
{
    static struct call before;
    before = *call;
    const xent_status got = call_invoke(call);
    const char *name = kernel_name(call->kernel), *tier = xent_tier_name(call->execution.tier);
    if (got != status) {
        fail_msg("%s: %s, %s: status %d (%s), not %d (%s)", tier != NULL ? tier : "?", name, what, (int)got,
                 got == XENT_OK ? "success" : call->error.message, (int)status, xent_status_string(status));
    }
    if (call->error.status != status || strlen(call->error.message) == 0 || call->error.argument == NULL) {
        fail_msg("%s, %s: the error is not filled", name, what);
    }
    if (argument != NULL && strstr(call->error.argument, argument) == NULL) {
        fail_msg("%s, %s: blames \"%s\", not \"%s\": %s", name, what, call->error.argument, argument,
                 call->error.message);
    }
    bool same = memcmp(before.totals, call->totals, sizeof before.totals) == 0 &&
                memcmp(before.state, call->state, sizeof before.state) == 0;
    for (int i = 0; i < call->count; i++) {
        same &= memcmp(before.arguments[i].memory, call->arguments[i].memory, ARGUMENT_BYTES) == 0;
    }
    if (!same) {
        fail_msg("%s, %s: refused, but something was written", name, what);
    }
}
