/* Edge cases of sigmoid, log-sigmoid and the binary cross-entropies: a rule each, with the
 * numbers written out, on every tier. */
#include <math.h>

#include "calls.h"

static const double E_20 = 2.0611536224385578e-9; /* exp(-20) */
static const double LOG_2 = 0.69314718055994531;

#define FLOATS(...) ((const float[]){__VA_ARGS__})

/* ---- Sigmoid, log-sigmoid ----------------------------------------------------------- */

typedef xent_status forward_function(const xent_tensor *, const xent_elementwise_options *,
                                     const xent_tensor *, xent_error *);
typedef xent_status backward_function(const xent_tensor *, const xent_tensor *,
                                      const xent_elementwise_options *, const xent_tensor *,
                                      xent_error *);

static float forward(forward_function *function, float x, xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    const xent_elementwise_options options = {sizeof options, &execution};
    float result = 7;
    xent_error error = {0};
    const xent_status status = function(SCALAR(&x, XENT_F32), &options, SCALAR(&result, XENT_F32), &error);
    assert_status(status, XENT_OK, &error);
    return result;
}

static float backward(backward_function *function, float x, float g, xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    const xent_elementwise_options options = {sizeof options, &execution};
    float result = 7;
    xent_error error = {0};
    const xent_status status = function(SCALAR(&x, XENT_F32), SCALAR(&g, XENT_F32), &options,
                                        SCALAR(&result, XENT_F32), &error);
    assert_status(status, XENT_OK, &error);
    return result;
}

static void sigmoid(xent_tier tier)
{
    assert_same(forward(xent_sigmoid, 0, tier), 0.5);
    assert_same(forward(xent_sigmoid, -0.0f, tier), 0.5);
    assert_same(forward(xent_sigmoid, INFINITY, tier), 1);
    assert_same(forward(xent_sigmoid, -INFINITY, tier), 0);
    assert_same(forward(xent_sigmoid, 3e38f, tier), 1);
    assert_same(forward(xent_sigmoid, -3e38f, tier), 0);
    assert_same(forward(xent_sigmoid, NAN, tier), NAN);
    assert_ulps(forward(xent_sigmoid, -20, tier), E_20 - E_20 * E_20, 2);
    assert_ulps(forward(xent_sigmoid, -100, tier), 3.7200759760208361e-44, 2);
    assert_ulps(forward(xent_sigmoid, -88, tier), 6.0546018954011856e-39, 2);
}

static void sigmoid_backward(xent_tier tier)
{
    assert_same(backward(xent_sigmoid_backward, 0.5f, 1, tier), 0.25);
    assert_same(backward(xent_sigmoid_backward, 0.25f, -8, tier), -1.5);
    assert_same(backward(xent_sigmoid_backward, 0, 3, tier), 0);
    assert_same(backward(xent_sigmoid_backward, 1, 3, tier), 0);
    assert_same(backward(xent_sigmoid_backward, NAN, 3, tier), NAN);
    assert_same(backward(xent_sigmoid_backward, 0.5f, NAN, tier), NAN);
}

static void log_sigmoid(xent_tier tier)
{
    assert_ulps(forward(xent_log_sigmoid, 0, tier), -LOG_2, 2);
    assert_same(forward(xent_log_sigmoid, -INFINITY, tier), -INFINITY);
    assert_same(forward(xent_log_sigmoid, INFINITY, tier), 0.0);
    assert_same(forward(xent_log_sigmoid, NAN, tier), NAN);
    assert_same(forward(xent_log_sigmoid, -1e30f, tier), -1e30f);
    assert_ulps(forward(xent_log_sigmoid, 20, tier), -(E_20 - E_20 * E_20 / 2), 2);
    assert_ulps(forward(xent_log_sigmoid, 100, tier), -3.7200759760208361e-44, 2);
}

static void log_sigmoid_backward(xent_tier tier)
{
    assert_same(backward(xent_log_sigmoid_backward, -INFINITY, 3, tier), 3);
    assert_same(backward(xent_log_sigmoid_backward, INFINITY, 3, tier), 0);
    assert_same(backward(xent_log_sigmoid_backward, 0, 3, tier), 1.5);
    assert_same(backward(xent_log_sigmoid_backward, NAN, 3, tier), NAN);
    assert_ulps(backward(xent_log_sigmoid_backward, 20, 1, tier), E_20 - E_20 * E_20, 2);
}

/* ---- BCE of probabilities ------------------------------------------------------------- */

static void a_tiny_probability_counts(xent_tier tier)
{
    struct bce_call b = {.count = 2, .input = FLOATS(1e-20f, 1e-40f), .target = FLOATS(0, 0)};
    call_bce(&b, tier);
    assert_ulps(b.loss[0], (double)1e-20f, 3);
    assert_ulps(b.loss[1], (double)1e-40f, 3);
}

static void the_logarithm_stops_at_minus_100(xent_tier tier)
{
    struct bce_call b = {.count = 6,
                         .input = FLOATS(0, 1, 0, 1, 1e-45f, -0.0f),
                         .target = FLOATS(1, 0, 0, 1, 1, 0.5f),
                         .reduction = XENT_REDUCTION_SUM};
    call_bce(&b, tier);
    assert_same(b.loss[0], 100);
    assert_same(b.loss[1], 100);
    assert_true(b.loss[2] == 0 && b.loss[3] == 0);
    assert_same(b.loss[4], 100); /* log 1e-45 = -103.3 */
    assert_same(b.loss[5], 50);
}

static void the_gradient_stops_at_1e_12(xent_tier tier)
{
    struct bce_call b = {.count = 6,
                         .input = FLOATS(0, 1, 0, 1, 0.25f, 1e-20f),
                         .target = FLOATS(1, 0, 0, 1, 1, 0),
                         .reduction = XENT_REDUCTION_SUM};
    call_bce(&b, tier);
    assert_ulps(b.gradient[0], -1 / (double)1e-12f, 4);
    assert_ulps(b.gradient[1], 1 / (double)1e-12f, 4);
    assert_true(b.gradient[2] == 0 && b.gradient[3] == 0);
    assert_same(b.gradient[4], -4);
    assert_ulps(b.gradient[5], (double)1e-20f / (double)1e-12f, 4);
}

/* Targets that are all 0 or 1 take one logarithm an element; one that is not, and each takes two. */
static void one_soft_target_changes_no_other_element(xent_tier tier)
{
    enum { LABELS = 60 };
    const float some[] = {0, 1e-45f, 1e-40f, 1e-30f, 1e-7f, 0.1f, 0.3124f, 0.3125f, 0.3126f, 0.4999f,
                          0.5f, 0.6874f, 0.6875f, 0.7f, 0.8f, 0.9f, 0.99f, 0.999999f, 0x1.fffffep-1f, 1};
    float input[LABELS + 1], target[LABELS + 1];
    for (int i = 0; i < LABELS; i++) {
        input[i] = some[i % 20];
        target[i] = i < 20 ? 0 : i < 40 ? 1 : -0.0f;
    }
    input[0] = -0.0f;
    input[LABELS] = target[LABELS] = 0.25f;
    float loss[2][LABELS + 1], gradient[2][LABELS + 1];
    for (int soft = 0; soft < 2; soft++) {
        const int64_t count = LABELS + soft;
        const xent_execution execution = check_execution(tier);
        const xent_bce_options options = {.size = sizeof options, .execution = &execution, .reduction = XENT_REDUCTION_SUM, .focal_alpha = -1};
        const xent_bce_outputs outputs = {.size = sizeof outputs,
                                          .loss = VECTOR(loss[soft], XENT_F32, count),
                                          .gradient = VECTOR(gradient[soft], XENT_F32, count)};
        xent_error error = {0};
        const xent_status status = xent_bce(VECTOR(input, XENT_F32, count), VECTOR(target, XENT_F32, count), &options,
                                            &outputs, &error);
        assert_status(status, XENT_OK, &error);
    }
    for (int i = 0; i < LABELS; i++) {
        assert_same(loss[0][i], loss[1][i]);
        assert_same(gradient[0][i], gradient[1][i]);
        const double p = fabs((double)input[i]);
        assert_ulps(loss[0][i], fmin(target[i] == 1 ? -log(p) : -log1p(-p), 100), 4);
    }
}

static void the_gradient_in_the_target_does_not_stop(xent_tier tier)
{
    struct bce_call b = {.count = 4,
                         .input = FLOATS(0, 1, 0.5f, 0.25f),
                         .target = FLOATS(0, 0, 1, 0.3f),
                         .reduction = XENT_REDUCTION_SUM};
    call_bce(&b, tier);
    assert_same(b.target_gradient[0], INFINITY);
    assert_same(b.target_gradient[1], -INFINITY);
    assert_true(b.target_gradient[2] == 0);
    assert_ulps(b.target_gradient[3], 1.0986122886681098, 4); /* log 3 */
}

/* ---- BCE of logits --------------------------------------------------------------------- */

static void a_confident_binary_loss_does_not_vanish(xent_tier tier)
{
    struct bce_call b = {.count = 2,
                         .input = FLOATS(20, -20),
                         .target = FLOATS(1, 0),
                         .reduction = XENT_REDUCTION_SUM};
    call_bce_with_logits(&b, tier);
    for (int i = 0; i < 2; i++) {
        assert_ulps(b.loss[i], E_20 - E_20 * E_20 / 2, 4);
        assert_ulps(fabsf(b.gradient[i]), E_20 - E_20 * E_20, 4);
    }
    assert_same(b.loss[0], 2.0611536e-9f);
    assert_same(b.gradient[0], -2.0611536e-9f);
    assert_same(b.gradient[1], 2.0611536e-9f);
    assert_ulps(b.target_gradient[0], -20, 4);
    assert_ulps(b.target_gradient[1], 20, 4);
}

static void at_infinite_logits_the_formula_decides(xent_tier tier)
{
    struct bce_call b = {.count = 5,
                         .input = FLOATS(INFINITY, INFINITY, -INFINITY, -INFINITY, NAN),
                         .target = FLOATS(0, 1, 0, 1, 0),
                         .reduction = XENT_REDUCTION_SUM};
    call_bce_with_logits(&b, tier);
    assert_same(b.loss[0], INFINITY);
    assert_same(b.loss[1], NAN); /* (1 - 1) times infinity */
    assert_same(b.loss[2], NAN);
    assert_same(b.loss[3], INFINITY);
    assert_same(b.loss[4], NAN);
    assert_same(b.gradient[0], 1);
    assert_true(b.gradient[1] == 0 && b.gradient[2] == 0);
    assert_same(b.gradient[3], -1);
    assert_same(b.gradient[4], NAN);
    assert_same(b.target_gradient[0], -INFINITY);
    assert_same(b.target_gradient[3], INFINITY);
}

static void pos_weight_weighs_the_positive(xent_tier tier)
{
    struct bce_call b = {.count = 2,
                         .input = FLOATS(0, 0),
                         .target = FLOATS(1, 0),
                         .weight = FLOATS(2, 2),
                         .pos_weight = FLOATS(3, 3)};
    call_bce_with_logits(&b, tier);
    assert_ulps(b.loss[0], 6 * LOG_2, 4);
    assert_ulps(b.loss[1], 2 * LOG_2, 4);
    assert_same(b.divisor, 2); /* elements, weights or not */
    assert_same(b.mean, b.sum / 2);
    assert_same(b.gradient[0], -1.5);
    assert_same(b.gradient[1], 0.5);
    assert_ulps(b.target_gradient[0], 2 * LOG_2, 12); /* 2 (3 log 2 - log 2) / 2: 4 of the larger */
}

static void a_logit_target_may_be_any_number(xent_tier tier)
{
    struct bce_call b = {.count = 3,
                         .input = FLOATS(0, 0, 0),
                         .target = FLOATS(2, -1, NAN),
                         .reduction = XENT_REDUCTION_SUM};
    call_bce_with_logits(&b, tier);
    assert_ulps(b.loss[0], LOG_2, 8); /* (1 - 2) log 2 + 2 log 2: 4 of the larger */
    assert_same(b.gradient[0], -1.5);
    assert_ulps(b.loss[1], LOG_2, 8);
    assert_same(b.gradient[1], 1.5);
    assert_same(b.loss[2], NAN);
}

/* ---- Both ----------------------------------------------------------------------------------- */

static void bce_reductions(xent_tier tier)
{
    const float incoming[] = {2, -4};
    const double factor[3][2] = {{2.0 / 2, 2.0 / 2}, {2, 2}, {2, -4}};
    for (int reduction = XENT_REDUCTION_MEAN; reduction <= XENT_REDUCTION_NONE; reduction++) {
        struct bce_call b = {.count = 2,
                             .input = FLOATS(0.5f, 0.5f),
                             .target = FLOATS(1, 0),
                             .incoming = incoming,
                             .reduction = (xent_reduction)reduction};
        call_bce(&b, tier);
        assert_ulps(b.loss[0], LOG_2, 3);
        assert_same(b.sum, (double)b.loss[0] + (double)b.loss[1]);
        assert_same(b.divisor, 2);
        assert_same(b.mean, b.sum / 2);
        assert_same(b.gradient[0], -2 * factor[reduction][0]);
        assert_same(b.gradient[1], 2 * factor[reduction][1]);
        b.input = FLOATS(0, 0);
        call_bce_with_logits(&b, tier);
        assert_ulps(b.loss[0], LOG_2, 4);
        assert_same(b.gradient[0], -0.5 * factor[reduction][0]);
        assert_same(b.gradient[1], 0.5 * factor[reduction][1]);
    }
}

static void no_element(xent_tier tier)
{
    struct bce_call b = {.count = 0, .input = FLOATS(0), .target = FLOATS(0)};
    call_bce(&b, tier);
    assert_same(b.sum, 0);
    assert_same(b.divisor, 0);
    assert_same(b.mean, NAN);
    b.sum = b.mean = 7;
    call_bce_with_logits(&b, tier);
    assert_same(b.sum, 0);
    assert_same(b.mean, NAN);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        on_every_tier(sigmoid),
        on_every_tier(sigmoid_backward),
        on_every_tier(log_sigmoid),
        on_every_tier(log_sigmoid_backward),
        on_every_tier(a_tiny_probability_counts),
        on_every_tier(the_logarithm_stops_at_minus_100),
        on_every_tier(the_gradient_stops_at_1e_12),
        on_every_tier(one_soft_target_changes_no_other_element),
        on_every_tier(the_gradient_in_the_target_does_not_stop),
        on_every_tier(a_confident_binary_loss_does_not_vanish),
        on_every_tier(at_infinite_logits_the_formula_decides),
        on_every_tier(pos_weight_weighs_the_positive),
        on_every_tier(a_logit_target_may_be_any_number),
        on_every_tier(bce_reductions),
        on_every_tier(no_element),
    };
    return check_run("edges, binary", tests, sizeof tests / sizeof *tests, argc, argv);
}
