/* Labels out of range and numbers that are no probabilities: the error names the row and the
 * value, and nothing is written; of a BCE, nothing from the block on in which it is found. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

enum { ROWS = 200, CLASSES = 5, BLOCK = 1024, ELEMENTS = 3 * BLOCK + 100 };

/* The outputs of a call, and what they held before it. */
struct outputs {
    float loss[ELEMENTS], gradient[ELEMENTS], target_gradient[ELEMENTS], lse[ELEMENTS];
    double sum, divisor, mean;
    xent_row_state state[ROWS];
};

static struct outputs written, untouched;

static void reset_outputs(void)
{
    guarded_fill(&written, sizeof written);
    guarded_fill(&untouched, sizeof untouched);
}

static void assert_contains(const char *message, const char *format, long long number)
{
    char text[32];
    snprintf(text, sizeof text, format, number);
    if (strstr(message, text) == NULL) {
        fail_msg("\"%s\" does not say %s", message, text);
    }
}

/* ---- Labels ------------------------------------------------------------------------ */

/* Which shape the rows have: (N, C), (N, C, d), or (C, N) with axis 0. */
struct batch {
    int32_t ndim, axis;
    int64_t shape[3], row_shape[2];
};

static const struct batch batches[] = {
    {2, XENT_AXIS_DEFAULT, {ROWS, CLASSES}, {ROWS}},
    {3, XENT_AXIS_DEFAULT, {8, CLASSES, ROWS / 8}, {8, ROWS / 8}},
    {2, 0, {CLASSES, ROWS}, {ROWS}},
};

static xent_status call_loss(const struct batch *batch, const void *target, xent_dtype dtype, bool nll,
                             xent_tier tier, xent_error *error)
{
    static float logits[ROWS * CLASSES];
    const xent_execution execution = check_execution(tier);
    xent_cross_entropy_options options;
    assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
    options.execution = &execution;
    options.axis = batch->axis;
    const xent_tensor x = {logits, XENT_F32, batch->ndim, batch->shape, NULL};
    const xent_tensor y = {(void *)(uintptr_t)target, dtype, batch->ndim - 1, batch->row_shape, NULL};
    const xent_tensor loss = {written.loss, XENT_F32, batch->ndim - 1, batch->row_shape, NULL};
    const xent_tensor lse = {written.lse, XENT_F32, batch->ndim - 1, batch->row_shape, NULL};
    const xent_tensor gradient = {written.gradient, XENT_F32, batch->ndim, batch->shape, NULL};
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs,
        .loss = &loss,
        .sum = &written.sum,
        .divisor = &written.divisor,
        .mean = &written.mean,
        .gradient = &gradient,
        .lse = nll ? NULL : &lse,
        .state = nll ? NULL : written.state,
    };
    return (nll ? xent_nll : xent_cross_entropy)(&x, &y, &options, &outputs, error);
}

static void refuse_label(int64_t row, int64_t label, xent_dtype dtype, xent_tier tier)
{
    int64_t wide[ROWS];
    int32_t narrow[ROWS];
    for (int i = 0; i < ROWS; i++) {
        wide[i] = i == 7 ? -100 : i % CLASSES; /* an ignored row counts as a row */
    }
    wide[row] = label;
    if (row + 1 < ROWS) {
        wide[ROWS - 1] = CLASSES + 77; /* the first is reported */
    }
    for (int i = 0; i < ROWS; i++) {
        narrow[i] = (int32_t)wide[i];
    }
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
        for (int nll = 0; nll < 2; nll++) {
            reset_outputs();
            xent_error error = {0};
            const void *target = dtype == XENT_I64 ? (const void *)wide : narrow;
            const xent_status status = call_loss(&batches[b], target, dtype, nll == 1, tier, &error);
            assert_status(status, XENT_ERROR_TARGET, &error);
            assert_int_equal(error.status, XENT_ERROR_TARGET);
            assert_non_null(strstr(error.argument, "target"));
            assert_int_equal(error.row, row);
            assert_same(error.value, (double)label);
            assert_contains(error.message, "%lld", (long long)label);
            assert_contains(error.message, "%lld", (long long)row);
            assert_memory_equal(&written, &untouched, sizeof written);
        }
    }
}

static void labels_out_of_range(xent_tier tier)
{
    const int64_t labels[] = {-1,        CLASSES,   CLASSES + 1,     -99,        -101,
                              INT32_MAX, INT32_MIN, INT64_MAX,       INT64_MIN,  INT64_C(1) << 32,
                              (INT64_C(1) << 32) + 1, -(INT64_C(1) << 32), (INT64_C(1) << 32) - 100};
    const int64_t rows[] = {0, 1, 63, 64, 65, 131, ROWS - 1};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        for (size_t l = 0; l < sizeof labels / sizeof *labels; l++) {
            refuse_label(rows[r], labels[l], XENT_I64, tier);
            if (labels[l] >= INT32_MIN && labels[l] <= INT32_MAX) {
                refuse_label(rows[r], labels[l], XENT_I32, tier);
            }
        }
    }
}

/* With no class every label is out of range, but for the ignored one. */
static void labels_of_no_class(xent_tier tier)
{
    const struct batch batch = {2, XENT_AXIS_DEFAULT, {2, 0}, {2}};
    int64_t target[] = {-100, 0};
    xent_error error = {0};
    assert_status(call_loss(&batch, target, XENT_I64, false, tier, &error), XENT_ERROR_TARGET, &error);
    assert_int_equal(error.row, 1);
    target[1] = -100;
    assert_status(call_loss(&batch, target, XENT_I64, false, tier, &error), XENT_OK, &error);
    assert_same(written.mean, NAN);
}

/* ---- Probabilities --------------------------------------------------------------------- */

static void refuse_probability(int64_t element, float value, bool in_target, xent_tier tier)
{
    static float p[ELEMENTS], y[ELEMENTS];
    for (int i = 0; i < ELEMENTS; i++) {
        p[i] = (float)(i % 5) / 4;
        y[i] = (float)(i % 2);
    }
    (in_target ? y : p)[element] = value;
    if (element + 3 < ELEMENTS) {
        p[element + 3] = 7; /* the first is reported */
    }
    reset_outputs();
    const xent_execution execution = check_execution(tier);
    xent_bce_options options;
    assert_int_equal(xent_bce_options_init(&options, sizeof options), XENT_OK);
    options.execution = &execution;
    const int64_t shape[] = {2, ELEMENTS / 2};
    const xent_tensor input = {p, XENT_F32, 2, shape, NULL}, target = {y, XENT_F32, 2, shape, NULL};
    const xent_tensor loss = {written.loss, XENT_F32, 2, shape, NULL};
    const xent_tensor gradient = {written.gradient, XENT_F32, 2, shape, NULL};
    const xent_tensor target_gradient = {written.target_gradient, XENT_F32, 2, shape, NULL};
    const xent_bce_outputs outputs = {
        .size = sizeof outputs,
        .loss = &loss,
        .sum = &written.sum,
        .divisor = &written.divisor,
        .mean = &written.mean,
        .gradient = &gradient,
        .target_gradient = &target_gradient,
    };
    xent_error error = {0};
    assert_status(xent_bce(&input, &target, &options, &outputs, &error), XENT_ERROR_PROBABILITY, &error);
    assert_int_equal(error.status, XENT_ERROR_PROBABILITY);
    assert_non_null(strstr(error.argument, in_target ? "target" : "input"));
    assert_int_equal(error.row, element);
    assert_same(error.value, (double)value);
    assert_contains(error.message, "%lld", (long long)element);
    const size_t kept = (size_t)element / BLOCK * BLOCK; /* blocks before it may be written */
    const size_t bytes = (ELEMENTS - kept) * sizeof(float);
    assert_memory_equal(written.loss + kept, untouched.loss, bytes);
    assert_memory_equal(written.gradient + kept, untouched.gradient, bytes);
    assert_memory_equal(written.target_gradient + kept, untouched.target_gradient, bytes);
    assert_memory_equal(&written.sum, &untouched.sum, 3 * sizeof(double));
}

static void probabilities_out_of_range(xent_tier tier)
{
    const float values[] = {NAN, -NAN, INFINITY, -INFINITY, 1.00000012f, -1e-45f, -1, 2, 3e38f};
    const int64_t elements[] = {0, 1, 15, 16, 31, 1000, BLOCK - 1, BLOCK, BLOCK + 7, 3 * BLOCK - 1, ELEMENTS - 1};
    for (size_t e = 0; e < sizeof elements / sizeof *elements; e++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            refuse_probability(elements[e], values[v], false, tier);
            refuse_probability(elements[e], values[v], true, tier);
        }
    }
}

/* Each lane of a vector looks for itself, in the body and in the tail. */
static void every_element_is_checked(xent_tier tier)
{
    enum { COUNT = 83 };
    float p[COUNT], y[COUNT], loss[COUNT];
    const xent_execution execution = check_execution(tier);
    xent_bce_options options;
    assert_int_equal(xent_bce_options_init(&options, sizeof options), XENT_OK);
    options.execution = &execution;
    for (int64_t count = 1; count <= COUNT; count++) {
        for (int64_t element = 0; element < count; element++) {
            for (int i = 0; i < COUNT; i++) {
                p[i] = i < count ? 0.5f : 9; /* what follows the end is not looked at */
                y[i] = i < count ? 0.5f : 9;
            }
            (element % 2 == 0 ? p : y)[element] = 1.5f;
            const int64_t shape[] = {count};
            const xent_tensor input = {p, XENT_F32, 1, shape, NULL}, target = {y, XENT_F32, 1, shape, NULL};
            const xent_tensor loss_tensor = {loss, XENT_F32, 1, shape, NULL};
            const xent_bce_outputs outputs = {.size = sizeof outputs, .loss = &loss_tensor};
            xent_error error = {0};
            assert_status(xent_bce(&input, &target, &options, &outputs, &error), XENT_ERROR_PROBABILITY, &error);
            assert_int_equal(error.row, element);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        on_every_tier(labels_out_of_range),
        on_every_tier(labels_of_no_class),
        on_every_tier(probabilities_out_of_range),
        on_every_tier(every_element_is_checked),
    };
    return check_run("errors, values", tests, sizeof tests / sizeof *tests, argc, argv);
}
