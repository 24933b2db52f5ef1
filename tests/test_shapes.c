/* Shapes and strides at their edges, and what may be left out of a call: no dimension, many,
 * broadcast inputs, dimensions of one element, NULL options. Ordinary layouts are in
 * test_same_bits. */
#include <math.h>
#include <string.h>

#include "calls.h"

#define FLOATS(...) ((const float[]){__VA_ARGS__})
#define INTEGERS(...) ((const int64_t[]){__VA_ARGS__})

/* Any f32 tensor, valid until the enclosing block ends. */
#define TENSOR(data, ndim, shape, strides) \
    (&(const xent_tensor){(void *)(uintptr_t)(data), XENT_F32, (ndim), (shape), (strides)})

static xent_softmax_options softmax_options(const xent_execution *execution)
{
    xent_softmax_options options;
    assert_int_equal(xent_softmax_options_init(&options, sizeof options), XENT_OK);
    options.execution = execution;
    return options;
}

static xent_cross_entropy_options loss_options(const xent_execution *execution)
{
    xent_cross_entropy_options options;
    assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
    options.execution = execution;
    return options;
}

static const float some_logits[24] = {0.5f, -1, 2,  3, -4,    1.5f, 7, 7,  -2, 0.25f, -3, 9,
                                      -5,   4,  -6, 1, 0.75f, 8,    2, -7, 3,  1,     -1, 6};

/* ---- Few dimensions, many dimensions --------------------------------------------------- */

static void a_scalar_is_a_row_of_one_class(xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    const xent_softmax_options options = softmax_options(&execution);
    const float x = -3;
    float lse = 7, gradient = 7, softmax = 7, log_softmax = 7;
    xent_error error = {0};
    const xent_log_sum_exp_outputs outputs = {
        .size = sizeof outputs,
        .lse = SCALAR(&lse, XENT_F32),
        .gradient = SCALAR(&gradient, XENT_F32),
    };
    const xent_tensor *logits = SCALAR(&x, XENT_F32);
    assert_status(xent_log_sum_exp(logits, &options, &outputs, &error), XENT_OK, &error);
    assert_status(xent_softmax(logits, &options, SCALAR(&softmax, XENT_F32), &error), XENT_OK, &error);
    assert_status(xent_log_softmax(logits, &options, SCALAR(&log_softmax, XENT_F32), &error), XENT_OK, &error);
    assert_same(lse, -3);
    assert_same(gradient, 1);
    assert_same(softmax, 1);
    assert_true(log_softmax == 0);
}

static void a_vector_is_one_row(xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    const xent_cross_entropy_options options = loss_options(&execution);
    const int64_t target = 2;
    float loss = 7, gradient[3];
    xent_error error = {0};
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs,
        .loss = SCALAR(&loss, XENT_F32),
        .gradient = VECTOR(gradient, XENT_F32, 3),
    };
    assert_status(xent_cross_entropy(VECTOR(some_logits, XENT_F32, 3), SCALAR(&target, XENT_I64),
                                     &options, &outputs, &error),
                  XENT_OK, &error);
    struct ce_call matrix = {.rows = 1, .classes = 3, .logits = some_logits, .target = &target, CE_DEFAULTS};
    call_cross_entropy(&matrix, tier);
    assert_same(loss, matrix.loss[0]);
    for (int j = 0; j < 3; j++) {
        assert_same(gradient[j], matrix.gradient[j]);
    }
}

/* (1, 2, 1, 1, 3, 2, 1, 2), the classes being the 3: rows (2, 2, 2) in C order. */
static void eight_dimensions(xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    const int64_t shape[] = {1, 2, 1, 1, 3, 2, 1, 2}, row_shape[] = {1, 2, 1, 1, 2, 1, 2};
    const int64_t target[] = {0, 1, 2, 0, 1, 2, 0, 1};
    float rows[24], loss[8], gradient[24];
    for (int row = 0; row < 8; row++) {
        for (int j = 0; j < 3; j++) {
            rows[3 * row + j] = some_logits[row / 4 * 12 + j * 4 + row % 4];
        }
    }
    struct ce_call matrix = {.rows = 8, .classes = 3, .logits = rows, .target = target, CE_DEFAULTS};
    call_cross_entropy(&matrix, tier);
    for (int either = 0; either < 2; either++) {
        xent_cross_entropy_options options = loss_options(&execution);
        options.axis = either == 0 ? 4 : -4;
        const xent_cross_entropy_outputs outputs = {
            .size = sizeof outputs,
            .loss = TENSOR(loss, 7, row_shape, NULL),
            .gradient = TENSOR(gradient, 8, shape, NULL),
        };
        xent_tensor indices = *TENSOR(target, 7, row_shape, NULL);
        indices.dtype = XENT_I64;
        xent_error error = {0};
        assert_status(xent_cross_entropy(TENSOR(some_logits, 8, shape, NULL), &indices, &options,
                                         &outputs, &error),
                      XENT_OK, &error);
        for (int row = 0; row < 8; row++) {
            assert_same(loss[row], matrix.loss[row]);
            for (int j = 0; j < 3; j++) {
                assert_same(gradient[row / 4 * 12 + j * 4 + row % 4], matrix.gradient[3 * row + j]);
            }
        }
    }
}

/* ---- Strides ------------------------------------------------------------------------------ */

static void inputs_may_be_broadcast(xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    const xent_cross_entropy_options defaults = loss_options(&execution);
    const int64_t strides[3][2] = {{0, 1}, {1, 0}, {0, 0}};
    for (int i = 0; i < 3; i++) {
        float logits[12], gradient[12], loss[4];
        for (int at = 0; at < 12; at++) {
            logits[at] = some_logits[at / 3 * strides[i][0] + at % 3 * strides[i][1]];
        }
        struct ce_call whole = {.rows = 4,
                                .classes = 3,
                                .logits = logits,
                                .target = INTEGERS(1, 1, 1, 1),
                                .weight = FLOATS(2, 2, 2),
                                CE_DEFAULTS};
        call_cross_entropy(&whole, tier);
        xent_cross_entropy_options options = defaults;
        options.weight = TENSOR(FLOATS(2), 1, INTEGERS(3), INTEGERS(0));
        const int64_t target = 1;
        const xent_tensor targets = {(void *)(uintptr_t)&target, XENT_I64, 1, INTEGERS(4), INTEGERS(0)};
        const xent_cross_entropy_outputs outputs = {
            .size = sizeof outputs,
            .loss = VECTOR(loss, XENT_F32, 4),
            .gradient = MATRIX(gradient, 4, 3),
        };
        xent_error error = {0};
        assert_status(xent_cross_entropy(TENSOR(some_logits, 2, INTEGERS(4, 3), strides[i]), &targets,
                                         &options, &outputs, &error),
                      XENT_OK, &error);
        for (int at = 0; at < 12; at++) {
            assert_same(gradient[at], whole.gradient[at]);
            assert_same(loss[at / 3], whole.loss[at / 3]);
        }
    }
}

/* A scalar incoming gradient, expanded as frameworks do. */
static void an_elements_input_may_be_broadcast(xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    const xent_elementwise_options options = {sizeof options, &execution};
    const int64_t *shape = INTEGERS(2, 12), *expanded = INTEGERS(0, 0);
    float g[24], got[24], expected[24];
    for (int i = 0; i < 24; i++) {
        g[i] = 3;
    }
    xent_error error = {0};
    const xent_tensor *x = TENSOR(some_logits, 2, shape, NULL);
    assert_status(xent_log_sigmoid_backward(x, TENSOR(g, 2, shape, NULL), &options,
                                            TENSOR(expected, 2, shape, NULL), &error),
                  XENT_OK, &error);
    assert_status(xent_log_sigmoid_backward(x, TENSOR(g, 2, shape, expanded), &options,
                                            TENSOR(got, 2, shape, NULL), &error),
                  XENT_OK, &error);
    for (int i = 0; i < 24; i++) {
        assert_same(got[i], expected[i]);
    }
}

/* The stride of a dimension of one element, and every stride of no element, means nothing. */
static void unused_strides_mean_nothing(xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    const xent_softmax_options options = softmax_options(&execution);
    const int64_t unused[] = {0, 1, -5, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 5; i++) {
        float output[3] = {7, 7, 7};
        xent_error error = {0};
        const int64_t strides[] = {unused[i], 1, unused[4 - i]}, *shape = INTEGERS(1, 3, 1);
        assert_status(xent_softmax(TENSOR(some_logits, 3, shape, strides), &options,
                                   TENSOR(output, 3, shape, strides), &error),
                      XENT_OK, &error);
        assert_true(output[0] + output[1] + output[2] > 0.99f && output[1] < output[0]);
        const int64_t *empty = INTEGERS(0, 3, 2), all[] = {unused[i], unused[i], unused[i]};
        const xent_tensor *nothing = TENSOR(NULL, 3, empty, all);
        assert_status(xent_softmax(nothing, &options, nothing, &error), XENT_OK, &error);
    }
}

/* ---- What may be left out ------------------------------------------------------------------- */

static void options_may_be_left_out(void **state)
{
    (void)state;
    const float x[] = {20, 0}, y[] = {1, 0};
    const int64_t target[] = {0};
    double mean = 7;
    float output[2];
    const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .mean = &mean};
    assert_int_equal(xent_cross_entropy(MATRIX(x, 1, 2), VECTOR(target, XENT_I64, 1), NULL, &outputs, NULL), XENT_OK);
    assert_same(mean, (double)2.0611536e-9f);
    assert_int_equal(xent_nll(MATRIX(x, 1, 2), VECTOR(target, XENT_I64, 1), NULL, &outputs, NULL), XENT_OK);
    assert_same(mean, -20);
    assert_int_equal(xent_softmax(MATRIX(x, 1, 2), NULL, MATRIX(output, 1, 2), NULL), XENT_OK);
    assert_same(output[0], 1);
    assert_int_equal(xent_sigmoid(VECTOR(x, XENT_F32, 2), NULL, VECTOR(output, XENT_F32, 2), NULL), XENT_OK);
    assert_same(output[1], 0.5);
    const xent_bce_outputs binary = {.size = sizeof binary, .mean = &mean};
    assert_int_equal(xent_bce(VECTOR(y, XENT_F32, 2), VECTOR(y, XENT_F32, 2), NULL, &binary, NULL), XENT_OK);
    assert_true(mean == 0);
}

static void init_sets_pytorchs_defaults(void **state)
{
    (void)state;
    xent_cross_entropy_options loss;
    memset(&loss, 0x5a, sizeof loss);
    assert_int_equal(xent_cross_entropy_options_init(&loss, sizeof loss), XENT_OK);
    assert_true(loss.size == sizeof loss && loss.execution == NULL && loss.axis == XENT_AXIS_DEFAULT);
    assert_true(loss.reduction == XENT_REDUCTION_MEAN && loss.ignore_index == -100);
    assert_true(loss.weight == NULL && loss.output_gradient == NULL && loss.state == NULL);
    xent_softmax_options softmax;
    memset(&softmax, 0x5a, sizeof softmax);
    assert_int_equal(xent_softmax_options_init(&softmax, sizeof softmax), XENT_OK);
    assert_true(softmax.size == sizeof softmax && softmax.execution == NULL && softmax.axis == XENT_AXIS_DEFAULT);
    assert_true(softmax.state == NULL && softmax.output_gradient == NULL);
    xent_bce_options bce;
    memset(&bce, 0x5a, sizeof bce);
    assert_int_equal(xent_bce_options_init(&bce, sizeof bce), XENT_OK);
    assert_true(bce.size == sizeof bce && bce.execution == NULL && bce.reduction == XENT_REDUCTION_MEAN);
    assert_true(bce.weight == NULL && bce.pos_weight == NULL && bce.output_gradient == NULL);
    xent_elementwise_options elementwise;
    memset(&elementwise, 0x5a, sizeof elementwise);
    assert_int_equal(xent_elementwise_options_init(&elementwise, sizeof elementwise), XENT_OK);
    assert_true(elementwise.size == sizeof elementwise && elementwise.execution == NULL);
}

static void nothing_wanted_is_still_checked(void **state)
{
    (void)state;
    const int64_t good[] = {0}, bad[] = {2};
    const xent_cross_entropy_outputs none = {.size = sizeof none};
    const xent_tensor *logits = MATRIX(some_logits, 1, 2);
    assert_int_equal(xent_cross_entropy(logits, VECTOR(good, XENT_I64, 1), NULL, &none, NULL), XENT_OK);
    assert_int_equal(xent_cross_entropy(logits, VECTOR(bad, XENT_I64, 1), NULL, &none, NULL), XENT_ERROR_TARGET);
    const float probability[] = {0.5f}, beyond[] = {1.5f};
    const xent_bce_outputs no_loss = {.size = sizeof no_loss};
    const xent_tensor *proper = VECTOR(probability, XENT_F32, 1), *improper = VECTOR(beyond, XENT_F32, 1);
    assert_int_equal(xent_bce(proper, proper, NULL, &no_loss, NULL), XENT_OK);
    assert_int_equal(xent_bce(improper, proper, NULL, &no_loss, NULL), XENT_ERROR_PROBABILITY);
    assert_int_equal(xent_bce(proper, improper, NULL, &no_loss, NULL), XENT_ERROR_PROBABILITY);
}

static void success_leaves_the_error_alone(xent_tier tier)
{
    struct ce_call c = {.rows = 1, .classes = 2, .logits = some_logits, .target = INTEGERS(0), CE_DEFAULTS};
    memset(&c.error, 0x5a, sizeof c.error);
    const xent_error before = c.error;
    call_cross_entropy(&c, tier);
    assert_memory_equal(&c.error, &before, sizeof before);
}

/* ---- BCE's weights broadcast onto the input, trailing dimensions first ------------------------- */

static void bce_weights_broadcast(xent_tier tier)
{
    static const struct {
        int ndim;
        int64_t shape[3];
    } shapes[] = {{0, {0}},    {1, {3}},       {1, {1}},       {2, {2, 3}},    {2, {2, 1}},
                  {2, {1, 3}}, {3, {4, 1, 1}}, {3, {4, 2, 3}}, {3, {4, 1, 3}}, {3, {1, 2, 1}}};
    float y[24], w[24], loss[24], gradient[24];
    for (int i = 0; i < 24; i++) {
        y[i] = (float)(i % 3) / 2;
        w[i] = 0.5f + (float)i / 8;
    }
    const xent_execution execution = check_execution(tier);
    const int64_t *full = INTEGERS(4, 2, 3);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        float weight[24];
        for (int64_t i = 0; i < 24; i++) { /* what broadcasting means */
            const int64_t index[] = {i / 6, i / 3 % 2, i % 3};
            int64_t at = 0;
            for (int dim = 0; dim < shapes[s].ndim; dim++) {
                const int64_t extent = shapes[s].shape[dim];
                at = at * extent + (extent == 1 ? 0 : index[3 - shapes[s].ndim + dim]);
            }
            weight[i] = w[at];
        }
        struct bce_call whole = {.count = 24,
                                 .input = some_logits,
                                 .target = y,
                                 .weight = weight,
                                 .pos_weight = weight};
        call_bce_with_logits(&whole, tier);
        xent_bce_options options;
        assert_int_equal(xent_bce_options_init(&options, sizeof options), XENT_OK);
        options.execution = &execution;
        options.weight = TENSOR(w, shapes[s].ndim, shapes[s].shape, NULL);
        options.pos_weight = options.weight;
        const xent_bce_outputs outputs = {
            .size = sizeof outputs,
            .loss = TENSOR(loss, 3, full, NULL),
            .gradient = TENSOR(gradient, 3, full, NULL),
        };
        xent_error error = {0};
        assert_status(xent_bce_with_logits(TENSOR(some_logits, 3, full, NULL), TENSOR(y, 3, full, NULL),
                                           &options, &outputs, &error),
                      XENT_OK, &error);
        for (int i = 0; i < 24; i++) {
            assert_same(loss[i], whole.loss[i]);
            assert_same(gradient[i], whole.gradient[i]);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        on_every_tier(a_scalar_is_a_row_of_one_class),
        on_every_tier(a_vector_is_one_row),
        on_every_tier(eight_dimensions),
        on_every_tier(inputs_may_be_broadcast),
        on_every_tier(an_elements_input_may_be_broadcast),
        on_every_tier(unused_strides_mean_nothing),
        cmocka_unit_test(options_may_be_left_out),
        cmocka_unit_test(init_sets_pytorchs_defaults),
        cmocka_unit_test(nothing_wanted_is_still_checked),
        on_every_tier(success_leaves_the_error_alone),
        on_every_tier(bce_weights_broadcast),
    };
    return check_run("shapes", tests, sizeof tests / sizeof *tests, argc, argv);
}
