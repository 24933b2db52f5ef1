/* Edge cases of log-sum-exp, softmax, cross-entropy and NLL: a rule each, with the numbers
 * written out, on every tier. Those of the binary losses are in test_edges_binary, those of
 * shapes in test_shapes. */
#include <math.h>

#include "calls.h"

static const double E_20 = 2.0611536224385578e-9; /* exp(-20) */
static const double LOG_2 = 0.69314718055994531;

#define ROWS(...) ((const float[]){__VA_ARGS__})
#define TARGETS(...) ((const int64_t[]){__VA_ARGS__})

/* ---- The loss never vanishes ----------------------------------------------------- */

static void a_confident_loss_does_not_vanish(xent_tier tier)
{
    struct ce_call c = {.rows = 1, .classes = 2, .logits = ROWS(20, 0), .target = TARGETS(0), CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_ulps(c.loss[0], E_20 - E_20 * E_20 / 2, 2);
    assert_ulps(c.gradient[0], -(E_20 - E_20 * E_20), 4);
    assert_ulps(c.gradient[1], E_20 - E_20 * E_20, 4);
    assert_same(c.loss[0], 2.0611536e-9f);
    assert_same(c.gradient[0], -2.0611536e-9f);
    assert_same(c.state[0].max, 20);
    assert_ulps((float)c.state[0].rest, E_20, 2);
}

static void a_loss_is_not_rounded_through_the_lse(xent_tier tier)
{
    /* In float, lse = 10.0000454; less 10 that is 4.54177e-5. */
    struct ce_call c = {.rows = 1, .classes = 2, .logits = ROWS(10, 0), .target = TARGETS(0), CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_ulps(c.loss[0], 4.5398899216864647e-5, 2);
}

static void a_wrong_prediction_costs_its_gap(xent_tier tier)
{
    struct ce_call c = {.rows = 1, .classes = 2, .logits = ROWS(20, 0), .target = TARGETS(1), CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_same(c.loss[0], 20);
    assert_same(c.gradient[0], 1);
    assert_same(c.gradient[1], -1);
}

static void ties_share(xent_tier tier)
{
    struct ce_call c = {.rows = 1, .classes = 2, .logits = ROWS(-7, -7), .target = TARGETS(1), CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_ulps(c.loss[0], LOG_2, 2);
    assert_same(c.gradient[0], 0.5);
    assert_same(c.gradient[1], -0.5);
    assert_same(c.state[0].rest, 1);
    assert_ulps(c.lse[0], -7 + LOG_2, 2);
}

static void one_class_has_no_loss(xent_tier tier)
{
    struct ce_call c = {.rows = 2, .classes = 1, .logits = ROWS(3, -1e30f), .target = TARGETS(0, 0), CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    for (int i = 0; i < 2; i++) {
        assert_true(c.loss[i] == 0 && c.gradient[i] == 0);
        assert_same(c.state[i].rest, 0);
        assert_same(c.lse[i], c.logits[i]);
    }
}

/* ---- Ignored rows -------------------------------------------------------------------- */

static void an_ignored_row_counts_for_nothing(xent_tier tier)
{
    struct ce_call c = {.rows = 3,
                        .classes = 2,
                        .logits = ROWS(0, 0, 5, 1, 0, 0),
                        .target = TARGETS(0, -100, 1),
                        CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_same(c.loss[1], 0);
    assert_same(c.gradient[2], 0);
    assert_same(c.gradient[3], 0);
    assert_same(c.lse[1], -INFINITY);
    assert_same(c.state[1].max, -INFINITY);
    assert_same(c.state[1].rest, -1);
    assert_same(c.divisor, 2);
    assert_same(c.sum, (double)c.loss[0] + (double)c.loss[2]);
    assert_same(c.mean, c.sum / 2);
    assert_same(c.gradient[0], -0.25);
    assert_same(c.gradient[5], -0.25);
}

static void a_class_can_be_ignored(xent_tier tier)
{
    struct ce_call c = {.rows = 2,
                        .classes = 3,
                        .logits = ROWS(1, 1, -INFINITY, 0, 0, 0),
                        .target = TARGETS(0, 1),
                        .ignore_index = 1};
    call_cross_entropy(&c, tier);
    assert_same(c.loss[1], 0);
    assert_same(c.divisor, 1);
    /* An ignored class stays in the denominator. */
    assert_ulps(c.loss[0], LOG_2, 2);
    assert_same(c.gradient[0], -0.5);
    assert_same(c.gradient[1], 0.5);
    assert_same(c.gradient[2], 0);
}

static void any_integer_can_be_ignored(xent_tier tier)
{
    const int64_t ignored[] = {-1, 2, 1000, INT64_MAX, INT64_MIN, 4294967296, -4294967296};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        struct ce_call c = {.rows = 2,
                            .classes = 2,
                            .logits = ROWS(0, 0, 0, 0),
                            .target = TARGETS(ignored[i], 0),
                            .ignore_index = ignored[i]};
        call_cross_entropy(&c, tier);
        assert_same(c.loss[0], 0);
        assert_same(c.divisor, 1);
        call_nll(&c, tier);
        assert_same(c.divisor, 1);
    }
}

/* Compared as a number, not as the bits of the narrower type. */
static void a_narrow_label_is_widened_first(xent_tier tier)
{
    static const struct {
        xent_dtype dtype;
        int64_t label, ignored;
        xent_status status;
    } cases[] = {
        {XENT_U8, 156, -100, XENT_OK}, /* (int8_t)156 is -100; and 156 a class */
        {XENT_U8, 156, 156 - 256, XENT_OK},
        {XENT_U8, 156, 156 + 256, XENT_OK},
        {XENT_U8, 200, -100, XENT_ERROR_TARGET},
        {XENT_I32, -100, INT64_C(4294967196), XENT_ERROR_TARGET}, /* 2^32 - 100 */
        {XENT_I32, 156, INT64_C(4294967296) + 156, XENT_OK},
        {XENT_I32, INT32_MIN, INT64_C(2147483648), XENT_ERROR_TARGET},
    };
    static const float logits[160];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint8_t narrow = (uint8_t)cases[i].label;
        const int32_t middle = (int32_t)cases[i].label;
        const void *target = cases[i].dtype == XENT_U8 ? (const void *)&narrow : &middle;
        const xent_execution execution = check_execution(tier);
        xent_cross_entropy_options options;
        assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
        options.execution = &execution;
        options.ignore_index = cases[i].ignored;
        double sum = 7, divisor = 7;
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .sum = &sum, .divisor = &divisor};
        xent_error error = {0};
        assert_status(xent_cross_entropy(MATRIX(logits, 1, 160), VECTOR(target, cases[i].dtype, 1), &options, &outputs, &error),
                      cases[i].status, &error);
        assert_same(divisor, cases[i].status == XENT_OK ? 1 : 7);
        if (cases[i].status == XENT_OK) assert_ulps((float)sum, 5.0751738152338266, 2); /* log 160 */
    }
}

static void all_rows_ignored(xent_tier tier)
{
    for (int reduction = XENT_REDUCTION_MEAN; reduction <= XENT_REDUCTION_NONE; reduction++) {
        struct ce_call c = {.rows = 2,
                            .classes = 2,
                            .logits = ROWS(0, NAN, 2, INFINITY),
                            .target = TARGETS(-100, -100),
                            .weight = ROWS(2, 3),
                            .reduction = (xent_reduction)reduction,
                            CE_DEFAULTS};
        call_cross_entropy(&c, tier);
        assert_same(c.mean, NAN);
        assert_same(c.sum, 0);
        assert_same(c.divisor, 0);
        for (int i = 0; i < 4; i++) {
            assert_same(c.gradient[i], 0);
        }
    }
}

static void an_ignored_row_may_hold_anything(xent_tier tier)
{
    struct ce_call c = {.rows = 4,
                        .classes = 2,
                        .logits = ROWS(NAN, 0, INFINITY, 0, -INFINITY, -INFINITY, 0, 0),
                        .target = TARGETS(-100, -100, -100, 0),
                        .incoming = ROWS(NAN, INFINITY, NAN, 2),
                        .reduction = XENT_REDUCTION_NONE,
                        CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    for (int i = 0; i < 6; i++) {
        assert_same(c.gradient[i], 0);
        assert_same(c.loss[i / 2], 0);
    }
    assert_same(c.gradient[6], -1);
    call_nll(&c, tier);
    for (int i = 0; i < 6; i++) {
        assert_same(c.gradient[i], 0);
        assert_same(c.loss[i / 2], 0);
    }
    assert_same(c.gradient[6], -2);
}

static void an_empty_batch(xent_tier tier)
{
    struct ce_call c = {.rows = 0, .classes = 3, .logits = ROWS(0), .target = TARGETS(0), CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_same(c.sum, 0);
    assert_same(c.divisor, 0);
    assert_same(c.mean, NAN);
    call_nll(&c, tier);
    assert_same(c.sum, 0);
    assert_same(c.mean, NAN);
    c.classes = 0; /* no row, so no target that would need a class */
    call_cross_entropy(&c, tier);
    assert_same(c.mean, NAN);
}

/* ---- Weights ------------------------------------------------------------------------ */

static void weights_scale_rows_and_divisor(xent_tier tier)
{
    struct ce_call c = {.rows = 2,
                        .classes = 2,
                        .logits = ROWS(0, 0, 0, 0),
                        .target = TARGETS(0, 1),
                        .weight = ROWS(0.5f, 1.5f),
                        CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_ulps(c.loss[0], 0.5 * LOG_2, 2);
    assert_ulps(c.loss[1], 1.5 * LOG_2, 2.5);
    assert_same(c.divisor, 2);
    assert_same(c.gradient[0], -0.125);
    assert_same(c.gradient[1], 0.125);
    assert_same(c.gradient[2], 0.375);
    assert_same(c.gradient[3], -0.375);
}

static void a_weight_means_what_the_formula_says(xent_tier tier)
{
    struct ce_call c = {.rows = 3,
                        .classes = 3,
                        .logits = ROWS(0, 0, -INFINITY, 0, 0, -INFINITY, 0, 0, -INFINITY),
                        .target = TARGETS(0, 1, 2),
                        .weight = ROWS(-1, -0.0f, 2),
                        .reduction = XENT_REDUCTION_SUM,
                        CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_ulps(c.loss[0], -LOG_2, 2);
    assert_same(c.loss[1], -0.0);
    assert_same(c.loss[2], INFINITY);
    assert_same(c.divisor, 1);
    assert_same(c.gradient[0], 0.5);
    assert_same(c.gradient[1], -0.5);
}

static void weight_0_times_an_infinite_loss(xent_tier tier)
{
    struct ce_call c = {.rows = 2,
                        .classes = 2,
                        .logits = ROWS(-INFINITY, 0, 0, 0),
                        .target = TARGETS(0, 1),
                        .weight = ROWS(0, 1),
                        CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_same(c.loss[0], NAN);
    assert_same(c.sum, NAN);
    assert_same(c.mean, NAN);
    assert_true(c.gradient[0] == 0 && c.gradient[1] == 0);
    assert_same(c.gradient[3], -0.5);
}

/* For doubles inf is a pair whose lower half could be NaN. */
static void an_infinite_incoming_gradient_stays_infinite(xent_tier tier)
{
    const float incoming = INFINITY;
    struct ce_call c = {.rows = 1,
                        .classes = 3,
                        .logits = ROWS(1, 2, 3),
                        .target = TARGETS(0),
                        .incoming = &incoming,
                        .reduction = XENT_REDUCTION_SUM,
                        CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_same(c.gradient[0], -INFINITY);
    assert_same(c.gradient[1], INFINITY);
    assert_same(c.gradient[2], INFINITY);

    double logits[3] = {1, 2, 3}, gradient[3], infinite = INFINITY;
    const int64_t target[1] = {0}, shape[2] = {1, 3};
    const xent_tensor in = {logits, XENT_F64, 2, shape, NULL}, out = {gradient, XENT_F64, 2, shape, NULL};
    const xent_execution execution = check_execution(tier);
    xent_cross_entropy_options options;
    xent_error error;
    xent_cross_entropy_options_init(&options, sizeof options);
    options.execution = &execution;
    options.reduction = XENT_REDUCTION_SUM;
    options.output_gradient = SCALAR(&infinite, XENT_F64);
    const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .gradient = &out};
    assert_status(xent_cross_entropy(&in, VECTOR(target, XENT_I64, 1), &options, &outputs, &error), XENT_OK, &error);
    assert_true(check_same64(gradient[0], -INFINITY) && check_same64(gradient[1], INFINITY) && check_same64(gradient[2], INFINITY));
}

static void total_weight_0(xent_tier tier)
{
    struct ce_call c = {.rows = 2,
                        .classes = 2,
                        .logits = ROWS(1, 2, 3, 4),
                        .target = TARGETS(0, 0),
                        .weight = ROWS(0, 1),
                        CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_same(c.sum, 0);
    assert_same(c.divisor, 0);
    assert_same(c.mean, NAN);
    for (int i = 0; i < 4; i++) {
        assert_same(c.gradient[i], NAN);
    }
}

/* ---- Infinities and NaN ------------------------------------------------------------------- */

static void a_masked_target(xent_tier tier)
{
    struct ce_call c = {.rows = 1,
                        .classes = 3,
                        .logits = ROWS(4, -INFINITY, 4),
                        .target = TARGETS(1),
                        .weight = ROWS(1, 3, 1),
                        .reduction = XENT_REDUCTION_SUM,
                        CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_same(c.loss[0], INFINITY);
    assert_same(c.sum, INFINITY);
    assert_ulps(c.gradient[0], 1.5, 4);
    assert_same(c.gradient[1], -3);
    assert_ulps(c.gradient[2], 1.5, 4);
}

static void a_masked_class(xent_tier tier)
{
    struct ce_call c = {.rows = 1,
                        .classes = 3,
                        .logits = ROWS(4, -INFINITY, 4),
                        .target = TARGETS(0),
                        CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_ulps(c.loss[0], LOG_2, 2);
    assert_same(c.gradient[1], 0);
    assert_ulps(c.gradient[2], 0.5, 4);
}

static void a_nan_is_not_lost(xent_tier tier)
{
    struct ce_call c = {.rows = 2,
                        .classes = 3,
                        .logits = ROWS(1, NAN, 2, 0, 0, -INFINITY),
                        .target = TARGETS(0, 0),
                        .reduction = XENT_REDUCTION_SUM,
                        CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    assert_same(c.loss[0], NAN);
    assert_same(c.lse[0], NAN);
    assert_same(c.sum, NAN);
    for (int i = 0; i < 3; i++) {
        assert_same(c.gradient[i], NAN);
    }
    assert_ulps(c.loss[1], LOG_2, 2); /* and stays in its row */
    assert_same(c.gradient[3], -0.5);
}

/* As PyTorch has it, whose loss takes the log-softmax, NaN here, for every target. */
static void a_row_with_infinity_has_no_loss(xent_tier tier)
{
    struct ce_call c = {.rows = 3,
                        .classes = 2,
                        .logits = ROWS(INFINITY, 0, INFINITY, 0, -INFINITY, -INFINITY),
                        .target = TARGETS(1, 0, 0),
                        CE_DEFAULTS};
    call_cross_entropy(&c, tier);
    for (int i = 0; i < 6; i++) {
        assert_same(c.loss[i / 2], NAN);
        assert_same(c.gradient[i], NAN);
    }
    assert_same(c.lse[0], INFINITY);
    assert_same(c.lse[2], -INFINITY);
}

static void softmax_of_what_is_not_finite(xent_tier tier)
{
    struct softmax_call c = {.rows = 4,
                             .classes = 2,
                             .logits = ROWS(-INFINITY, -INFINITY, INFINITY, 0, NAN, 0, NAN, INFINITY)};
    call_softmax(&c, tier);
    assert_same(c.lse[0], -INFINITY);
    assert_same(c.lse[1], INFINITY);
    assert_same(c.lse[2], NAN);
    assert_same(c.lse[3], NAN);
    for (int i = 0; i < 8; i++) {
        assert_same(c.softmax[i], NAN);
        assert_same(c.log_softmax[i], NAN);
        assert_same(c.gradient[i], NAN);
    }
}

static void softmax_of_masked_classes(xent_tier tier)
{
    struct softmax_call c = {.rows = 1, .classes = 3, .logits = ROWS(-INFINITY, 3, -INFINITY)};
    call_softmax(&c, tier);
    assert_same(c.lse[0], 3);
    assert_same(c.softmax[0], 0);
    assert_ulps(c.softmax[1], 1, 4);
    assert_same(c.log_softmax[0], -INFINITY);
    assert_true(c.log_softmax[1] == 0);
    assert_same(c.state[0].max, 3);
    assert_same(c.state[0].rest, 0);
}

/* Exactly, whatever the logit. */
static void softmax_of_one_class_is_1(xent_tier tier)
{
    for (int i = 0; i < 2000; i++) {
        const float x = (float)(i - 1000) * 0.37f;
        struct softmax_call c = {.rows = 1, .classes = 1, .logits = &x};
        call_softmax(&c, tier);
        assert_same(c.softmax[0], 1);
        assert_true(c.log_softmax[0] == 0);
        assert_same(c.lse[0], x);
    }
}

static void no_class(xent_tier tier)
{
    struct softmax_call c = {.rows = 3, .classes = 0, .logits = ROWS(0)};
    call_softmax(&c, tier);
    for (int i = 0; i < 3; i++) {
        assert_same(c.lse[i], -INFINITY);
        assert_same(c.state[i].max, -INFINITY);
        assert_same(c.state[i].rest, -1);
    }
    /* Nor has a distribution over no class any loss or entropy: both are sums of nothing. */
    const xent_execution execution = check_execution(tier);
    const xent_cross_entropy_options options = {.size = sizeof options, .execution = &execution, .axis = -1};
    float loss[3] = {7, 7, 7}, entropy[3] = {7, 7, 7};
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs, .loss = VECTOR(loss, XENT_F32, 3), .entropy = VECTOR(entropy, XENT_F32, 3)};
    xent_error error = {0};
    xent_status status = xent_cross_entropy(MATRIX(c.logits, 3, 0), MATRIX(c.logits, 3, 0), &options, &outputs, &error);
    assert_status(status, XENT_OK, &error);
    for (int i = 0; i < 3; i++) {
        assert_same(loss[i], 0);
        assert_same(entropy[i], 0);
    }
}

static void subnormal_results_are_kept(xent_tier tier)
{
    struct softmax_call c = {.rows = 1, .classes = 2, .logits = ROWS(0, -100)};
    call_softmax(&c, tier);
    assert_ulps(c.softmax[1], 3.7200759760208361e-44, 4);
    assert_true(c.softmax[1] > 0);
    assert_ulps(c.log_softmax[0], -3.7200759760208361e-44, 2);
    assert_true(c.log_softmax[0] < 0);
}

static void large_logits_do_not_overflow(xent_tier tier)
{
    struct softmax_call c = {.rows = 2, .classes = 2, .logits = ROWS(3e38f, 3e38f, -3e38f, -3e38f)};
    call_softmax(&c, tier);
    for (int i = 0; i < 4; i++) {
        assert_same(c.softmax[i], 0.5);
        assert_ulps(c.log_softmax[i], -LOG_2, 2);
    }
    assert_same(c.lse[0], 3e38f);
}

/* ---- Reductions and NLL --------------------------------------------------------------------- */

static void the_reduction_scales_the_gradient(xent_tier tier)
{
    const float none[] = {3, 5}, one[] = {3};
    const double expected[3] = {-0.5 / 2 * 3, -0.5 * 3, -0.5 * 3};
    for (int reduction = XENT_REDUCTION_MEAN; reduction <= XENT_REDUCTION_NONE; reduction++) {
        struct ce_call c = {.rows = 2,
                            .classes = 2,
                            .logits = ROWS(0, 0, 0, 0),
                            .target = TARGETS(0, 0),
                            .reduction = (xent_reduction)reduction,
                            .incoming = reduction == XENT_REDUCTION_NONE ? none : one,
                            CE_DEFAULTS};
        call_cross_entropy(&c, tier);
        assert_same(c.gradient[0], expected[reduction]);
        assert_same(c.gradient[1], -expected[reduction]);
        assert_same(c.gradient[2],
                    reduction == XENT_REDUCTION_NONE ? -2.5 : expected[reduction]);
        assert_ulps(c.loss[1], LOG_2, 2); /* which a reduction does not touch */
        assert_same(c.sum, (double)c.loss[0] + (double)c.loss[1]);
    }
}

static void nll_gathers(xent_tier tier)
{
    struct ce_call c = {.rows = 3,
                        .classes = 2,
                        .logits = ROWS(-1.5f, NAN, INFINITY, -2, -INFINITY, 0),
                        .target = TARGETS(0, 1, 0),
                        .weight = ROWS(3, 0.5f),
                        .reduction = XENT_REDUCTION_SUM,
                        CE_DEFAULTS};
    call_nll(&c, tier);
    assert_same(c.loss[0], 4.5);
    assert_same(c.loss[1], 1);
    assert_same(c.loss[2], INFINITY);
    assert_same(c.gradient[0], -3);
    assert_same(c.gradient[1], 0);
    assert_same(c.gradient[2], 0);
    assert_same(c.gradient[3], -0.5);
    assert_same(c.gradient[4], -3);
    assert_same(c.divisor, 6.5);
}

static void nll_of_certainty_is_0(xent_tier tier)
{
    struct ce_call c = {.rows = 1, .classes = 2, .logits = ROWS(0, -INFINITY), .target = TARGETS(0), CE_DEFAULTS};
    call_nll(&c, tier);
    assert_same(c.loss[0], -0.0); /* -(1 * 0) */
    assert_same(c.gradient[0], -1);
    assert_true(c.sum == 0 && c.mean == 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        on_every_tier(a_confident_loss_does_not_vanish),
        on_every_tier(a_loss_is_not_rounded_through_the_lse),
        on_every_tier(a_wrong_prediction_costs_its_gap),
        on_every_tier(ties_share),
        on_every_tier(one_class_has_no_loss),
        on_every_tier(an_ignored_row_counts_for_nothing),
        on_every_tier(a_class_can_be_ignored),
        on_every_tier(any_integer_can_be_ignored),
        on_every_tier(a_narrow_label_is_widened_first),
        on_every_tier(all_rows_ignored),
        on_every_tier(an_ignored_row_may_hold_anything),
        on_every_tier(an_empty_batch),
        on_every_tier(weights_scale_rows_and_divisor),
        on_every_tier(a_weight_means_what_the_formula_says),
        on_every_tier(weight_0_times_an_infinite_loss),
        on_every_tier(an_infinite_incoming_gradient_stays_infinite),
        on_every_tier(total_weight_0),
        on_every_tier(a_masked_target),
        on_every_tier(a_masked_class),
        on_every_tier(a_nan_is_not_lost),
        on_every_tier(a_row_with_infinity_has_no_loss),
        on_every_tier(softmax_of_what_is_not_finite),
        on_every_tier(softmax_of_masked_classes),
        on_every_tier(softmax_of_one_class_is_1),
        on_every_tier(no_class),
        on_every_tier(subnormal_results_are_kept),
        on_every_tier(large_logits_do_not_overflow),
        on_every_tier(the_reduction_scales_the_gradient),
        on_every_tier(nll_gathers),
        on_every_tier(nll_of_certainty_is_0),
    };
    return check_run("edges", tests, sizeof tests / sizeof *tests, argc, argv);
}
