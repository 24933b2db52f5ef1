/* Small plain calls of cross-entropy go straight to the kernel. Whatever such a call is like, wanting
 * one thing more (the row states, for which there is no such way) changes neither its status
 * nor a bit of what it writes. */
#include <math.h>
#include <string.h>

#include "check.h"

#define CLASSES 5
#define MOST_ROWS 70

/* One call, its tensors in one piece of memory. */
struct plain {
    xent_tensor logits, target, gradient;
    int64_t shape[2], strides[2], target_shape[2], target_strides[1], gradient_shape[2], gradient_strides[2];
    xent_cross_entropy_options options;
    int want_gradient, want_sums;
    int64_t indices[MOST_ROWS];
    union {
        unsigned char bytes[3][MOST_ROWS * CLASSES * sizeof(double)];
        float floats[3][2 * MOST_ROWS * CLASSES];
        double doubles[3][MOST_ROWS * CLASSES];
        uint16_t halves[3][4 * MOST_ROWS * CLASSES];
    } memory; /* logits, gradient, and what else there is */
};

static void set_rows(struct plain *c, int64_t rows)
{
    c->shape[0] = c->target_shape[0] = c->gradient_shape[0] = rows;
}

static void set_up(struct plain *c)
{
    struct generator g = {7};
    memset(c, 0, sizeof *c);
    c->logits = (xent_tensor){c->memory.bytes[0], XENT_F32, 2, c->shape, NULL};
    c->gradient = (xent_tensor){c->memory.bytes[1], XENT_F32, 2, c->gradient_shape, NULL};
    c->target = (xent_tensor){c->indices, XENT_I64, 1, c->target_shape, NULL};
    c->shape[1] = c->gradient_shape[1] = CLASSES;
    set_rows(c, 3);
    for (int i = 0; i < MOST_ROWS; i++) c->indices[i] = (int64_t)generate_below(&g, CLASSES);
    for (int i = 0; i < 2 * MOST_ROWS * CLASSES; i++) c->memory.floats[0][i] = generate_normal(&g);
    assert_int_equal(xent_cross_entropy_options_init(&c->options, sizeof c->options), XENT_OK);
    c->want_gradient = c->want_sums = 1;
}

static void set_dtype(struct plain *c, xent_dtype dtype)
{
    struct generator g = {8};
    c->logits.dtype = c->gradient.dtype = dtype;
    if (dtype == XENT_F64)
        for (int i = 0; i < MOST_ROWS * CLASSES; i++) c->memory.doubles[0][i] = (double)generate_normal(&g);
    else
        for (int i = 0; i < MOST_ROWS * CLASSES; i++) c->memory.halves[0][i] = (uint16_t)generate_below(&g, 0x4000);
}

static void set_strides(struct plain *c, int64_t row, int64_t class)
{
    c->logits.strides = c->strides;
    c->strides[0] = row;
    c->strides[1] = class;
}

static void set_gradient_strides(struct plain *c, int64_t row, int64_t class)
{
    c->gradient.strides = c->gradient_strides;
    c->gradient_strides[0] = row;
    c->gradient_strides[1] = class;
}

static void set_target_strides(struct plain *c, int64_t stride)
{
    c->target.strides = c->target_strides;
    c->target_strides[0] = stride;
}

/* What a call may be like: a name, and what is done to the plain one. */
#define CASES(X) \
    X(plain, (void)c) \
    X(no_gradient, c->want_gradient = 0) \
    X(no_sums, c->want_sums = 0) \
    X(nothing_wanted, c->want_sums = c->want_gradient = 0) \
    X(gradient_over_logits, c->gradient.data = c->logits.data) \
    X(no_row, set_rows(c, 0)) \
    X(one_row, set_rows(c, 1)) \
    X(a_whole_job, set_rows(c, 64)) \
    X(more_than_a_job, set_rows(c, 65)) \
    X(one_class, c->shape[1] = c->gradient_shape[1] = 1; memset(c->indices, 0, sizeof c->indices)) \
    X(no_class, c->shape[1] = c->gradient_shape[1] = 0) \
    X(doubles, set_dtype(c, XENT_F64)) \
    X(halves, set_dtype(c, XENT_F16)) \
    X(brain_halves, set_dtype(c, XENT_BF16)) \
    X(integers, set_dtype(c, XENT_I32)) \
    X(gradient_of_another_type, c->gradient.dtype = XENT_F64) \
    X(packed_strides, set_strides(c, CLASSES, 1); set_gradient_strides(c, CLASSES, 1); set_target_strides(c, 1)) \
    X(rows_apart, set_strides(c, CLASSES + 1, 1)) \
    X(rows_all_the_same, set_strides(c, 0, 1)) \
    X(classes_apart, set_strides(c, 1, 3)) \
    X(gradient_rows_apart, set_gradient_strides(c, CLASSES + 2, 1)) \
    X(gradient_classes_apart, set_gradient_strides(c, 1, 3)) \
    X(gradient_over_itself, set_gradient_strides(c, 1, 1)) \
    X(targets_apart, set_target_strides(c, 2)) \
    X(one_target_for_all, set_target_strides(c, 0)) \
    X(narrow_targets, c->target.dtype = XENT_I32; c->indices[0] = c->indices[1] = c->indices[2] = 1) \
    X(a_target_too_large, c->indices[2] = CLASSES) \
    X(a_target_far_too_large, c->indices[0] = INT64_MAX) \
    X(a_negative_target, c->indices[1] = -1) \
    X(the_most_negative_target, c->indices[1] = INT64_MIN) \
    X(an_ignored_target, c->indices[1] = -100) \
    X(an_ignored_class, c->options.ignore_index = c->indices[1]) \
    X(gradient_a_row_after_logits, c->gradient.data = &c->memory.floats[0][CLASSES]) \
    X(gradient_right_after_logits, c->gradient.data = &c->memory.floats[0][3 * CLASSES]) \
    X(gradient_the_last_element_of_logits, c->gradient.data = &c->memory.floats[0][3 * CLASSES - 1]) \
    X(logits_the_last_element_of_gradient, c->gradient.data = c->memory.floats[0]; c->logits.data = &c->memory.floats[0][3 * CLASSES - 1]) \
    X(logits_in_the_gradient, c->gradient.data = c->memory.floats[0]; c->logits.data = &c->memory.floats[0][7]) \
    X(gradient_over_targets, c->gradient.data = c->indices) \
    X(gradient_over_the_last_target, c->gradient.data = &c->indices[2]) \
    X(logits_over_targets, c->logits.data = c->indices) \
    X(no_logits, c->logits.data = NULL) \
    X(no_targets, c->target.data = NULL) \
    X(no_gradient_data, c->gradient.data = NULL) \
    X(logits_beyond_memory, c->logits.data = (void *)(UINTPTR_MAX - 8)) \
    X(logits_alone_beyond_memory, c->logits.data = (void *)(UINTPTR_MAX - 8); c->want_gradient = 0) \
    X(gradient_beyond_memory, c->gradient.data = (void *)(UINTPTR_MAX - 8)) \
    X(targets_beyond_memory, c->target.data = (void *)(UINTPTR_MAX - 7)) \
    X(no_shape, c->logits.shape = NULL) \
    X(no_target_shape, c->target.shape = NULL) \
    X(no_gradient_shape, c->gradient.shape = NULL) \
    X(negative_rows, set_rows(c, -1)) \
    X(negative_classes, c->shape[1] = c->gradient_shape[1] = -CLASSES) \
    X(too_many_classes, c->shape[1] = c->gradient_shape[1] = INT64_MAX / 2) \
    X(fewer_targets, c->target_shape[0] = 2) \
    X(fewer_gradient_rows, c->gradient_shape[0] = 2) \
    X(fewer_gradient_classes, c->gradient_shape[1] = CLASSES - 1) \
    X(one_dimension, c->logits.ndim = 1) \
    X(a_gradient_of_one_dimension, c->gradient.ndim = 1) \
    X(targets_of_two_dimensions, c->target.ndim = 2; c->target_shape[1] = 1) \
    X(probabilities, c->target = c->logits) \
    X(the_last_axis, c->options.axis = -1) \
    X(axis_1, c->options.axis = 1) \
    X(axis_0, c->options.axis = 0; set_rows(c, CLASSES)) \
    X(no_such_axis, c->options.axis = 2) \
    X(sum, c->options.reduction = XENT_REDUCTION_SUM) \
    X(none, c->options.reduction = XENT_REDUCTION_NONE) \
    X(divided_by_rows, c->options.divisor_kind = XENT_DIVISOR_ROWS) \
    X(divided_by_seven, c->options.divisor_kind = XENT_DIVISOR_GIVEN; c->options.divisor = 7) \
    X(weighted, c->options.weight = &c->logits) \
    X(rows_weighted, c->options.row_weight = &(const xent_tensor){c->memory.floats[2], XENT_F32, 1, c->shape, NULL}) \
    X(incoming, c->options.output_gradient = &(const xent_tensor){c->memory.floats[0], XENT_F32, 0, NULL, NULL}) \
    X(with_states, c->options.state = (const xent_row_state *)(const void *)c->memory.bytes[2]) \
    X(a_slice, c->options.class_count = 9; c->want_sums = 0) \
    X(an_offset, c->options.class_offset = 1) \
    X(not_finite, c->memory.floats[0][4] = NAN) \
    X(not_finite_reported, c->memory.floats[0][4] = INFINITY; c->options.report_non_finite = 1) \
    X(smoothed, c->options.label_smoothing = 0.25) \
    X(capped, c->options.softcap = 2) \
    X(focal, c->options.focal_gamma = 2) \
    X(with_z_loss, c->options.z_loss = 0.5) \
    X(wrongly_smoothed, c->options.label_smoothing = 2)

struct answers {
    xent_status status;
    const char *argument;
    double sum, divisor, mean;
};

static struct answers run(struct plain *c, const xent_execution *execution, xent_row_state *states)
{
    struct answers a = {.sum = -1, .divisor = -1, .mean = -1, .argument = ""};
    xent_error error = {0};
    xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .state = states};
    if (c->want_gradient) outputs.gradient = &c->gradient;
    if (c->want_sums) outputs.sum = &a.sum, outputs.divisor = &a.divisor, outputs.mean = &a.mean;
    c->options.execution = execution;
    a.status = xent_cross_entropy(&c->logits, &c->target, &c->options, &outputs, &error);
    if (a.status) a.argument = error.argument;
    return a;
}

static void check(struct plain *c, const struct answers *direct, const unsigned char *written, const xent_execution *execution)
{
    xent_row_state states[MOST_ROWS];
    const struct answers general = run(c, execution, states);
    assert_int_equal(direct->status, general.status);
    assert_string_equal(direct->argument, general.argument);
    assert_same(direct->sum, general.sum);
    assert_same(direct->divisor, general.divisor);
    assert_same(direct->mean, general.mean);
    assert_memory_equal(written, &c->memory, sizeof c->memory);
}

#define X(name, ...) \
    static void name(xent_tier tier) \
    { \
        static struct plain call, *const c = &call; \
        static unsigned char before[sizeof call.memory], written[sizeof call.memory]; \
        const xent_execution execution = check_execution(tier); \
        set_up(c); \
        __VA_ARGS__; \
        memcpy(before, &c->memory, sizeof before); \
        const struct answers direct = run(c, &execution, NULL); \
        memcpy(written, &c->memory, sizeof written); \
        memcpy(&c->memory, before, sizeof before); \
        check(c, &direct, written, &execution); \
    }

CASES(X)
#undef X

int main(int argc, char **argv)
{
#define X(name, ...) on_every_tier(name),
    const struct CMUnitTest tests[] = {CASES(X)};
    return check_run("direct", tests, sizeof tests / sizeof *tests, argc, argv);
}
