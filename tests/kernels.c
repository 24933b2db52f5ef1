/* The kernels: one runner each. */
#include "run.h"

static xent_softmax_options softmax_options(struct run *run)
{
    xent_softmax_options options;
    assert_int_equal(xent_softmax_options_init(&options, sizeof options), XENT_OK);
    options.execution = &run->execution;
    options.axis = layout_axis(run->layout);
    options.state = saved(run);
    return options;
}

static void run_log_sum_exp(struct run *run)
{
    const xent_tensor *logits = matrix(run, "logits", run->problem->x);
    xent_softmax_options options = softmax_options(run);
    options.output_gradient = incoming(run, false);
    const xent_log_sum_exp_outputs outputs = {
        .size = sizeof outputs,
        .lse = rows_out(run, "lse"),
        .gradient = matrix_out(run, "gradient", 0, 0),
        .state = state_out(run),
    };
    run->results.status = xent_log_sum_exp(logits, &options, &outputs, &run->results.error);
}

typedef xent_status softmax_function(const xent_tensor *, const xent_softmax_options *,
                                     const xent_tensor *, xent_error *);

static void run_either_softmax(struct run *run, softmax_function *function)
{
    const xent_tensor *logits = matrix(run, "logits", run->problem->x);
    const xent_softmax_options options = softmax_options(run);
    run->results.status =
        function(logits, &options, matrix_out(run, "output", 0, 0), &run->results.error);
}

static void run_softmax(struct run *run)
{
    run_either_softmax(run, xent_softmax);
}

static void run_log_softmax(struct run *run)
{
    run_either_softmax(run, xent_log_softmax);
}

typedef xent_status softmax_backward_function(const xent_tensor *, const xent_tensor *,
                                              const xent_softmax_options *, const xent_tensor *,
                                              xent_error *);

static void run_either_softmax_backward(struct run *run, softmax_backward_function *function)
{
    const xent_tensor *output = matrix(run, "output", run->problem->x);
    const xent_tensor *gradient = matrix(run, "output_gradient", run->problem->g);
    const xent_softmax_options options = softmax_options(run);
    run->results.status = function(output, gradient, &options, matrix_out(run, "gradient", 0, 1),
                                   &run->results.error);
}

static void run_softmax_backward(struct run *run)
{
    run_either_softmax_backward(run, xent_softmax_backward);
}

static void run_log_softmax_backward(struct run *run)
{
    run_either_softmax_backward(run, xent_log_softmax_backward);
}

static xent_cross_entropy_options cross_entropy_options(struct run *run)
{
    xent_cross_entropy_options options;
    assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
    options.execution = &run->execution;
    options.axis = layout_axis(run->layout);
    options.reduction = run->problem->reduction;
    options.ignore_index = run->problem->ignore_index;
    options.weight = vector(run, "weight", run->problem->weight);
    options.output_gradient = incoming(run, false);
    options.state = saved(run);
    return options;
}

static void run_cross_entropy(struct run *run)
{
    const xent_tensor *logits = matrix(run, "logits", run->problem->x);
    const xent_tensor *target = indices(run);
    const xent_cross_entropy_options options = cross_entropy_options(run);
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs,
        .loss = rows_out(run, "loss"),
        .sum = double_out(run, "sum"),
        .divisor = double_out(run, "divisor"),
        .mean = double_out(run, "mean"),
        .gradient = matrix_out(run, "gradient", 0, 0),
        .lse = rows_out(run, "lse"),
        .state = state_out(run),
    };
    run->results.status =
        xent_cross_entropy(logits, target, &options, &outputs, &run->results.error);
}

static void run_nll(struct run *run)
{
    const xent_tensor *log_probabilities = matrix(run, "log_probabilities", run->problem->x);
    const xent_tensor *target = indices(run);
    const xent_cross_entropy_options options = cross_entropy_options(run);
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs,
        .loss = rows_out(run, "loss"),
        .sum = double_out(run, "sum"),
        .divisor = double_out(run, "divisor"),
        .mean = double_out(run, "mean"),
        .gradient = matrix_out(run, "gradient", 0, 0),
    };
    run->results.status =
        xent_nll(log_probabilities, target, &options, &outputs, &run->results.error);
}

static xent_elementwise_options elementwise_options(struct run *run)
{
    xent_elementwise_options options;
    assert_int_equal(xent_elementwise_options_init(&options, sizeof options), XENT_OK);
    options.execution = &run->execution;
    return options;
}

typedef xent_status elementwise_function(const xent_tensor *, const xent_elementwise_options *,
                                         const xent_tensor *, xent_error *);

static void run_elementwise(struct run *run, elementwise_function *function)
{
    const xent_tensor *input = matrix(run, "input", run->problem->x);
    const xent_elementwise_options options = elementwise_options(run);
    run->results.status =
        function(input, &options, matrix_out(run, "output", 0, 0), &run->results.error);
}

static void run_sigmoid(struct run *run)
{
    run_elementwise(run, xent_sigmoid);
}

static void run_log_sigmoid(struct run *run)
{
    run_elementwise(run, xent_log_sigmoid);
}

typedef xent_status elementwise_backward_function(const xent_tensor *, const xent_tensor *,
                                                  const xent_elementwise_options *,
                                                  const xent_tensor *, xent_error *);

static void run_elementwise_backward(struct run *run, elementwise_backward_function *function)
{
    const xent_tensor *input = matrix(run, "input or output", run->problem->x);
    const xent_tensor *gradient = matrix(run, "output_gradient", run->problem->g);
    const xent_elementwise_options options = elementwise_options(run);
    run->results.status = function(input, gradient, &options, matrix_out(run, "gradient", 0, 1),
                                   &run->results.error);
}

static void run_sigmoid_backward(struct run *run)
{
    run_elementwise_backward(run, xent_sigmoid_backward);
}

static void run_log_sigmoid_backward(struct run *run)
{
    run_elementwise_backward(run, xent_log_sigmoid_backward);
}

typedef xent_status bce_function(const xent_tensor *, const xent_tensor *, const xent_bce_options *,
                                 const xent_bce_outputs *, xent_error *);

static void run_either_bce(struct run *run, bce_function *function)
{
    const xent_tensor *input = matrix(run, "input", run->problem->x);
    const xent_tensor *target = matrix(run, "target", run->problem->t);
    xent_bce_options options;
    assert_int_equal(xent_bce_options_init(&options, sizeof options), XENT_OK);
    options.execution = &run->execution;
    options.reduction = run->problem->reduction;
    options.weight = matrix(run, "weight", run->problem->weight);
    options.pos_weight = matrix(run, "pos_weight", run->problem->pos_weight);
    options.output_gradient = incoming(run, true);
    const xent_bce_outputs outputs = {
        .size = sizeof outputs,
        .loss = matrix_out(run, "loss", -1, -1),
        .sum = double_out(run, "sum"),
        .divisor = double_out(run, "divisor"),
        .mean = double_out(run, "mean"),
        .gradient = matrix_out(run, "gradient", 0, 1),
        .target_gradient = matrix_out(run, "target_gradient", 1, -1),
    };
    run->results.status = function(input, target, &options, &outputs, &run->results.error);
}

static void run_bce(struct run *run)
{
    run_either_bce(run, xent_bce);
}

static void run_bce_with_logits(struct run *run)
{
    run_either_bce(run, xent_bce_with_logits);
}

/* A kernel of the list without a runner here does not compile. */
#define RUNNER(name, job) run_##name,
static void (*const runners[KERNEL_COUNT])(struct run *) = {XENT_KERNELS(RUNNER)};
#undef RUNNER

struct results run_problem(const struct problem *problem, const struct layout *layout,
                           xent_tier tier, enum placement placement)
{
    static struct run run;
    run = (struct run){
        .problem = problem,
        .layout = layout,
        .execution = check_execution(tier),
        .placement = placement,
    };
    check_clear_uppers();
    runners[problem->kernel](&run);
    const bool clear = check_uppers_clear();
    finish_run(&run);
    if (!clear) {
        print_run(problem, layout, tier);
        fail_msg("the upper halves of vector registers are left in use");
    }
    return run.results;
}
