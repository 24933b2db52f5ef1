#include "calls.h"

typedef xent_status index_loss(const xent_tensor *, const xent_tensor *,
                               const xent_cross_entropy_options *,
                               const xent_cross_entropy_outputs *, xent_error *);

static void call_index_loss(index_loss *function, bool is_nll, struct ce_call *call, xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    const bool one_a_row = call->reduction == XENT_REDUCTION_NONE;
    const xent_tensor *incoming =
        one_a_row ? VECTOR(call->incoming, XENT_F32, call->rows) : SCALAR(call->incoming, XENT_F32);
    xent_cross_entropy_options options;
    assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
    options.execution = &execution;
    options.reduction = call->reduction;
    options.ignore_index = call->ignore_index;
    options.weight = call->weight != NULL ? VECTOR(call->weight, XENT_F32, call->classes) : NULL;
    options.output_gradient = call->incoming != NULL ? incoming : NULL;
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs,
        .loss = VECTOR(call->loss, XENT_F32, call->rows),
        .sum = &call->sum,
        .divisor = &call->divisor,
        .mean = &call->mean,
        .gradient = MATRIX(call->gradient, call->rows, call->classes),
        .lse = is_nll ? NULL : VECTOR(call->lse, XENT_F32, call->rows),
        .state = is_nll ? NULL : call->state,
    };
    call->status = function(MATRIX(call->logits, call->rows, call->classes),
                            VECTOR(call->target, XENT_I64, call->rows), &options, &outputs,
                            &call->error);
    assert_status(call->status, XENT_OK, &call->error);
}

void call_cross_entropy(struct ce_call *call, xent_tier tier)
{
    call_index_loss(xent_cross_entropy, false, call, tier);
}

void call_nll(struct ce_call *call, xent_tier tier)
{
    call_index_loss(xent_nll, true, call, tier);
}

void call_softmax(struct softmax_call *call, xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    xent_softmax_options options;
    assert_int_equal(xent_softmax_options_init(&options, sizeof options), XENT_OK);
    options.execution = &execution;
    const xent_tensor *logits = MATRIX(call->logits, call->rows, call->classes);
    const xent_log_sum_exp_outputs outputs = {
        .size = sizeof outputs,
        .lse = VECTOR(call->lse, XENT_F32, call->rows),
        .gradient = MATRIX(call->gradient, call->rows, call->classes),
        .state = call->state,
    };
    xent_error error = {0};
    xent_status status = xent_log_sum_exp(logits, &options, &outputs, &error);
    assert_status(status, XENT_OK, &error);
    status = xent_softmax(logits, &options, MATRIX(call->softmax, call->rows, call->classes), &error);
    assert_status(status, XENT_OK, &error);
    status = xent_log_softmax(logits, &options,
                              MATRIX(call->log_softmax, call->rows, call->classes), &error);
    assert_status(status, XENT_OK, &error);
}

typedef xent_status bce_function(const xent_tensor *, const xent_tensor *, const xent_bce_options *,
                                 const xent_bce_outputs *, xent_error *);

static void call_either_bce(bce_function *function, struct bce_call *call, xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    const bool one_an_element = call->reduction == XENT_REDUCTION_NONE;
    const int64_t count = call->count;
    const xent_tensor *incoming =
        one_an_element ? VECTOR(call->incoming, XENT_F32, count) : SCALAR(call->incoming, XENT_F32);
    xent_bce_options options;
    assert_int_equal(xent_bce_options_init(&options, sizeof options), XENT_OK);
    options.execution = &execution;
    options.reduction = call->reduction;
    options.weight = call->weight != NULL ? VECTOR(call->weight, XENT_F32, count) : NULL;
    options.pos_weight = call->pos_weight != NULL ? VECTOR(call->pos_weight, XENT_F32, count) : NULL;
    options.output_gradient = call->incoming != NULL ? incoming : NULL;
    const xent_bce_outputs outputs = {
        .size = sizeof outputs,
        .loss = VECTOR(call->loss, XENT_F32, count),
        .sum = &call->sum,
        .divisor = &call->divisor,
        .mean = &call->mean,
        .gradient = VECTOR(call->gradient, XENT_F32, count),
        .target_gradient = VECTOR(call->target_gradient, XENT_F32, count),
    };
    call->status = function(VECTOR(call->input, XENT_F32, count), VECTOR(call->target, XENT_F32, count),
                            &options, &outputs, &call->error);
    assert_status(call->status, XENT_OK, &call->error);
}

void call_bce(struct bce_call *call, xent_tier tier)
{
    call_either_bce(xent_bce, call, tier);
}

void call_bce_with_logits(struct bce_call *call, xent_tier tier)
{
    call_either_bce(xent_bce_with_logits, call, tier);
}
