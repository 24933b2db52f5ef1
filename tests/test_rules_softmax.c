/* The softmax family and NLL on three rows of four classes, in f32 and in f64, on every tier: values,
 * gradients, incoming gradients, and states that are given. The expected values were computed from
 * the formulas alone, the gradients by differentiating numerically, in 80 digits; NLL is exact. */
#include <math.h>

#include "rules.h"

enum { ROWS = 3, CLASSES = 4, COUNT = ROWS * CLASSES };

static const double logits[COUNT] = {1.5, -0.5, 2.25, 0.75, -3, 4, 0.5, -20, -1.5, -1.25, -1, -3};
static const double incoming_of_rows[ROWS] = {2, -0.5, 4};
static const double softmax_of_logits[COUNT] =
    {0.26847786469259577, 0.03633452786093343, 0.5683676440143607, 0.12681996343211005, 0.0008843698685784836,
        0.9698293221981833, 0.02928630789662581, 3.661236176285145e-11, 0.24062310715314467, 0.30896618542701565,
        0.39672043498534576, 0.05369027243449396};
static const double log_softmax_of_logits[COUNT] =
    {-1.314986809055112, -3.314986809055112, -0.564986809055112, -2.064986809055112, -7.030635179463587,
        -0.030635179463587268, -3.5306351794635873, -24.030635179463587, -1.4245234403475702, -1.1745234403475702,
        -0.9245234403475702, -2.92452344034757};
static const double maxima[ROWS] = {2.25, 4, -1}, rests[ROWS] = {0.7594245740961522, 0.031109265425624363, 1.520666726020651};
static const double lse_of_logits[ROWS] = {2.814986809055112, 4.030635179463587, -0.07547655965242983};
static const double lse_terms[ROWS] = {2.25, 4, 1}; /* the larger of |max| and log1p(rest) */

static const xent_dtype dtypes[] = {XENT_F32, XENT_F64};

static xent_softmax_options defaults(const xent_execution *execution)
{
    xent_softmax_options options;
    assert_int_equal(xent_softmax_options_init(&options, sizeof options), XENT_OK);
    options.execution = execution;
    return options;
}

/* ---- Softmax and log-softmax ---------------------------------------------------------- */

typedef xent_status forward_function(const xent_tensor *, const xent_softmax_options *, const xent_tensor *, xent_error *);
typedef xent_status backward_function(const xent_tensor *, const xent_tensor *, const xent_softmax_options *, const xent_tensor *, xent_error *);

static void forward(xent_tier tier, forward_function *function, const xent_row_state *state, const double *expected,
                    const double *largest, double bound)
{
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        struct stored x, out;
        xent_softmax_options options = defaults(&execution);
        options.state = state;
        xent_error error = {0};
        const xent_status status = function(store(&x, dtypes[d], 2, ROWS, CLASSES, logits), &options,
                                            store(&out, dtypes[d], 2, ROWS, CLASSES, NULL), &error);
        assert_status(status, XENT_OK, &error);
        assert_all_near("output", &out, expected, largest, bound);
    }
}

static void softmax(xent_tier tier)
{
    forward(tier, xent_softmax, NULL, softmax_of_logits, NULL, 4);
}

static void log_softmax(xent_tier tier)
{
    forward(tier, xent_log_softmax, NULL, log_softmax_of_logits, NULL, 2);
}

/* The axis is an option: the same rows, as columns. */
static void along_the_first_axis(xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 4; d++) {
        double turned[COUNT], expected[COUNT];
        for (int i = 0; i < COUNT; i++) {
            turned[i % CLASSES * ROWS + i / CLASSES] = logits[i];
            expected[i % CLASSES * ROWS + i / CLASSES] = softmax_of_logits[i];
        }
        struct stored x, out;
        xent_softmax_options options = defaults(&execution);
        options.axis = d / 2 == 0 ? 0 : -2;
        xent_error error = {0};
        const xent_status status = xent_softmax(store(&x, dtypes[d % 2], 2, CLASSES, ROWS, turned), &options,
                                                store(&out, dtypes[d % 2], 2, CLASSES, ROWS, NULL), &error);
        assert_status(status, XENT_OK, &error);
        assert_all_near("output", &out, expected, NULL, 4);
    }
}

/* States that are not those of the rows: they count, the rows' own are not computed. */
static const xent_row_state others[ROWS] = {{3, 1}, {4, 0.25}, {0, 7}};

static void softmax_of_given_states(xent_tier tier)
{
    static const double expected[COUNT] =
        {0.11156508007421491, 0.01509869171115925, 0.23618327637050734, 0.052699612280932166, 0.000729505572443613, 0.8,
            0.0241579067378548, 3.020107635423278e-11, 0.027891270018553727, 0.03581309960752376, 0.04598493014643029,
            0.006223383545982993};
    forward(tier, xent_softmax, others, expected, NULL, 4);
}

static void log_softmax_of_given_states(xent_tier tier)
{
    static const double expected[COUNT] =
        {-2.1931471805599454, -4.193147180559945, -1.4431471805599454, -2.9431471805599454, -7.22314355131421,
            -0.22314355131420976, -3.7231435513142097, -24.22314355131421, -3.5794415416798357, -3.3294415416798357,
            -3.0794415416798357, -5.079441541679836};
    forward(tier, xent_log_softmax, others, expected, NULL, 2);
}

static void backward(xent_tier tier, backward_function *function, const double *outputs, const double *expected, const double *largest)
{
    static const double incoming[COUNT] = {1.5, -2, 0.25, 5, 3, -0.75, 1, -2.5, 7, 0.5, -1.25, -0.125};
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        struct stored p, g, out;
        const xent_softmax_options options = defaults(&execution);
        xent_error error = {0};
        const xent_status status = function(store(&p, dtypes[d], 2, ROWS, CLASSES, outputs), store(&g, dtypes[d], 2, ROWS, CLASSES, incoming),
                                            &options, store(&out, dtypes[d], 2, ROWS, CLASSES, NULL), &error);
        assert_status(status, XENT_OK, &error);
        assert_all_near("gradient", &out, expected, largest, 5);
    }
}

static void softmax_backward(xent_tier tier)
{
    static const double outputs[COUNT] = {0.5, 0.25, 0.125, 0.125, 0.03125, 0.875, 0.0625, 0.03125, 0.25, 0.25, 0.25, 0.25};
    static const double expected[COUNT] =
        {0.296875, -0.7265625, -0.08203125, 0.51171875, 0.11181640625, -0.150390625, 0.0986328125, -0.06005859375,
            1.3671875, -0.2578125, -0.6953125, -0.4140625};
    static const double largest[COUNT] =
        {0.953, 0.5, 0.238, 0.625, 0.0938, 0.779, 0.0625, 0.0781, 1.75, 0.555, 0.555, 0.555};
    backward(tier, xent_softmax_backward, outputs, expected, largest);
}

static void log_softmax_backward(xent_tier tier)
{
    static const double outputs[COUNT] = {-0.5, -2, -1.75, -4, -0.125, -3, -2.5, -20, -1.25, -1.5, -0.75, -2.25};
    static const double expected[COUNT] =
        {-1.3810206336350088, -2.64284259537391, -0.5754262313896144, 4.913000715278512, 2.3381273230615536,
            -0.7873403012758979, 0.938436251032076, -2.500000001545865, 5.245158119231336, -0.8666722309091327,
            -4.143245135538715, -0.770570250441419};
    static const double largest[COUNT] =
        {5.31, 2, 1.52, 5, 6.4, 0.75, 1, 2.5, 7, 1.98, 4.19, 0.935};
    backward(tier, xent_log_softmax_backward, outputs, expected, largest);
}

/* ---- Log-sum-exp ---------------------------------------------------------------------- */

/* incoming: none, one (2), or one a row. */
static void log_sum_exp(xent_tier tier, int incoming, const double *expected)
{
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        struct stored x, g, lse, gradient;
        xent_row_state state[ROWS];
        double max[ROWS];
        xent_softmax_options options = defaults(&execution);
        if (incoming > 0) options.output_gradient = store(&g, dtypes[d], incoming - 1, ROWS, 1, incoming_of_rows);
        const xent_log_sum_exp_outputs outputs = {.size = sizeof outputs,
                                                  .lse = store(&lse, dtypes[d], 1, ROWS, 1, NULL),
                                                  .gradient = store(&gradient, dtypes[d], 2, ROWS, CLASSES, NULL),
                                                  .state = state,
                                                  .max = max};
        xent_error error = {0};
        assert_status(xent_log_sum_exp(store(&x, dtypes[d], 2, ROWS, CLASSES, logits), &options, &outputs, &error), XENT_OK, &error);
        assert_all_near("lse", &lse, lse_of_logits, lse_terms, 2.5);
        assert_all_near("gradient", &gradient, expected, NULL, 4);
        for (int i = 0; i < ROWS; i++) {
            assert_same(max[i], maxima[i]);
            assert_same(state[i].max, maxima[i]);
            assert_near("rest", i, dtypes[d], state[i].rest, rests[i], 1.5);
        }
    }
}

static void log_sum_exp_and_its_gradient(xent_tier tier)
{
    log_sum_exp(tier, 0, softmax_of_logits);
}

static void log_sum_exp_and_an_incoming_gradient(xent_tier tier)
{
    double twice[COUNT];
    for (int i = 0; i < COUNT; i++) twice[i] = 2 * softmax_of_logits[i];
    log_sum_exp(tier, 1, twice);
}

static void log_sum_exp_and_an_incoming_gradient_a_row(xent_tier tier)
{
    static const double expected[COUNT] =
        {0.5369557293851915, 0.07266905572186685, 1.1367352880287214, 0.2536399268642201, -0.0004421849342892418,
            -0.48491466109909165, -0.014643153948312905, -1.8306180881425726e-11, 0.9624924286125787, 1.2358647417080626,
            1.586881739941383, 0.21476108973797584};
    log_sum_exp(tier, 2, expected);
}

static void log_sum_exp_of_given_states(xent_tier tier)
{
    static const double expected[ROWS] = {3.6931471805599454, 4.22314355131421, 2.0794415416798357};
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        struct stored x, lse;
        xent_softmax_options options = defaults(&execution);
        options.state = others;
        const xent_log_sum_exp_outputs outputs = {.size = sizeof outputs, .lse = store(&lse, dtypes[d], 1, ROWS, 1, NULL)};
        xent_error error = {0};
        assert_status(xent_log_sum_exp(store(&x, dtypes[d], 2, ROWS, CLASSES, logits), &options, &outputs, &error), XENT_OK, &error);
        assert_all_near("lse", &lse, expected, NULL, 2.5);
    }
}

/* Softmax is NaN in a row with +inf, with NaN, or of only -inf; log-sum-exp is what it has to be. */
static void logits_that_are_not_finite(xent_tier tier)
{
    const double inf = (double)INFINITY, nan = (double)NAN;
    const double special[COUNT + CLASSES] = {inf, 1, -inf, 0, -inf, -inf, -inf, -inf, 1, nan, inf, 0, -inf, 2, -inf, -inf};
    const double expected[COUNT + CLASSES] = {nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, 0, 1, 0, 0};
    const double log_expected[COUNT + CLASSES] = {nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, -inf, 0, -inf, -inf};
    const double expected_lse[] = {inf, -inf, nan, 2};
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        struct stored x, lse, gradient, p, log_p;
        const xent_softmax_options options = defaults(&execution);
        const xent_tensor *in = store(&x, dtypes[d], 2, 4, CLASSES, special);
        const xent_log_sum_exp_outputs outputs = {.size = sizeof outputs,
                                                  .lse = store(&lse, dtypes[d], 1, 4, 1, NULL),
                                                  .gradient = store(&gradient, dtypes[d], 2, 4, CLASSES, NULL)};
        xent_error error = {0};
        assert_status(xent_log_sum_exp(in, &options, &outputs, &error), XENT_OK, &error);
        assert_status(xent_softmax(in, &options, store(&p, dtypes[d], 2, 4, CLASSES, NULL), &error), XENT_OK, &error);
        assert_status(xent_log_softmax(in, &options, store(&log_p, dtypes[d], 2, 4, CLASSES, NULL), &error), XENT_OK, &error);
        assert_all_near("lse", &lse, expected_lse, NULL, 0);
        assert_all_near("gradient", &gradient, expected, NULL, 0);
        assert_all_near("softmax", &p, expected, NULL, 0);
        assert_all_near("log-softmax", &log_p, log_expected, NULL, 0);
    }
}

/* ---- NLL: exact ------------------------------------------------------------------------ */

static const double log_probabilities[COUNT] = {-1.5, -0.5, -2.25, -0.75, -3, -4, -0.625, -20, -1.5, -1.25, -1, -3};
static const int64_t labels[ROWS] = {0, 2, 1}; /* of which 1 is ignored */
static const double weights[CLASSES] = {0.5, 2, 1.5, 0.25}, weights_of_rows[ROWS] = {4, 0.25, 3};

struct nll_answer {
    double loss[ROWS], sum, divisor, mean, at_label[ROWS]; /* the gradient elsewhere is 0 */
};

static void nll(xent_tier tier, const xent_cross_entropy_options *given, bool by_row, const struct nll_answer *expected)
{
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        struct stored x, w, r, g, loss, gradient;
        double sum, divisor, mean, slope[COUNT] = {0};
        for (int i = 0; i < ROWS; i++) slope[i * CLASSES + labels[i]] = expected->at_label[i];
        xent_cross_entropy_options options = *given;
        options.execution = &execution;
        options.ignore_index = 1;
        options.weight = store(&w, dtypes[d], 1, CLASSES, 1, weights);
        if (by_row) options.row_weight = store(&r, dtypes[d], 1, ROWS, 1, weights_of_rows);
        if (options.reduction == XENT_REDUCTION_NONE) options.output_gradient = store(&g, dtypes[d], 1, ROWS, 1, incoming_of_rows);
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs,
                                                    .loss = store(&loss, dtypes[d], 1, ROWS, 1, NULL),
                                                    .sum = &sum,
                                                    .divisor = &divisor,
                                                    .mean = &mean,
                                                    .gradient = store(&gradient, dtypes[d], 2, ROWS, CLASSES, NULL)};
        const xent_tensor target = {(void *)(uintptr_t)labels, XENT_I64, 1, (const int64_t[]){ROWS}, NULL};
        xent_error error = {0};
        assert_status(xent_nll(store(&x, dtypes[d], 2, ROWS, CLASSES, log_probabilities), &target, &options, &outputs, &error), XENT_OK, &error);
        assert_all_near("loss", &loss, expected->loss, NULL, 0);
        assert_all_near("gradient", &gradient, slope, NULL, 0);
        assert_same(sum, expected->sum);
        assert_same(divisor, expected->divisor);
        assert_same(mean, expected->mean);
    }
}

static void nll_mean(xent_tier tier)
{
    const xent_cross_entropy_options options = cross_entropy_defaults(XENT_REDUCTION_MEAN);
    nll(tier, &options, false, &(const struct nll_answer){{0.75, 0.9375, 0}, 1.6875, 2, 0.84375, {-0.25, -0.75, 0}});
}

static void nll_sum(xent_tier tier)
{
    const xent_cross_entropy_options options = cross_entropy_defaults(XENT_REDUCTION_SUM);
    nll(tier, &options, false, &(const struct nll_answer){{0.75, 0.9375, 0}, 1.6875, 2, 0.84375, {-0.5, -1.5, 0}});
}

static void nll_of_rows_and_their_incoming_gradient(xent_tier tier)
{
    const xent_cross_entropy_options options = cross_entropy_defaults(XENT_REDUCTION_NONE);
    nll(tier, &options, false, &(const struct nll_answer){{0.75, 0.9375, 0}, 1.6875, 2, 0.84375, {-1, 0.75, 0}});
}

static void nll_of_weighted_rows(xent_tier tier)
{
    xent_cross_entropy_options options = cross_entropy_defaults(XENT_REDUCTION_MEAN);
    options.divisor_kind = XENT_DIVISOR_ROWS;
    nll(tier, &options, true, &(const struct nll_answer){{3, 0.234375, 0}, 3.234375, 2, 1.6171875, {-1, -0.1875, 0}});
    options.divisor_kind = XENT_DIVISOR_GIVEN;
    options.divisor = 8;
    nll(tier, &options, true, &(const struct nll_answer){{3, 0.234375, 0}, 3.234375, 8, 0.404296875, {-0.25, -0.046875, 0}});
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        on_every_tier(softmax),
        on_every_tier(log_softmax),
        on_every_tier(along_the_first_axis),
        on_every_tier(softmax_of_given_states),
        on_every_tier(log_softmax_of_given_states),
        on_every_tier(softmax_backward),
        on_every_tier(log_softmax_backward),
        on_every_tier(log_sum_exp_and_its_gradient),
        on_every_tier(log_sum_exp_and_an_incoming_gradient),
        on_every_tier(log_sum_exp_and_an_incoming_gradient_a_row),
        on_every_tier(log_sum_exp_of_given_states),
        on_every_tier(logits_that_are_not_finite),
        on_every_tier(nll_mean),
        on_every_tier(nll_sum),
        on_every_tier(nll_of_rows_and_their_incoming_gradient),
        on_every_tier(nll_of_weighted_rows),
    };
    return check_run("rules, softmax", tests, sizeof tests / sizeof *tests, argc, argv);
}
