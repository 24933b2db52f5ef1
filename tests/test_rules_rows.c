/* What goes with the rows of cross-entropy, on four rows of four classes, in f32 and in f64, on every
 * tier: by-products, the types of targets, slices of the classes, means of nothing, and losses that
 * are not finite. The expected values were computed from the formulas alone, in 80 digits. */
#include <math.h>
#include <string.h>

#include "rules.h"

enum { ROWS = 4, CLASSES = 4, COUNT = ROWS * CLASSES };

/* The second row has its greatest twice. */
static const double logits[COUNT] = {1.5, -0.5, 2.25, 0.75, -3, 4, 0.5, 4, 0.25, 0.25, -1, 3, -1.5, -1.25, -1, -3};
static const int64_t labels[ROWS] = {2, 3, 200, 1}; /* of which 200 is ignored */
static const double weights[CLASSES] = {0.5, 2, 4, 0.25}, weights_of_rows[ROWS] = {2, 0.5, 4, 0.25};
static const double inf = (double)INFINITY, nan_value = (double)NAN;

static const xent_dtype dtypes[] = {XENT_F32, XENT_F64};

static xent_cross_entropy_options defaults(const xent_execution *execution)
{
    xent_cross_entropy_options options;
    assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
    options.execution = execution;
    options.ignore_index = 200;
    return options;
}

static xent_tensor rows_of(const void *data, xent_dtype dtype)
{
    static const int64_t shape[] = {ROWS};
    return (xent_tensor){(void *)(uintptr_t)data, dtype, 1, shape, NULL};
}

/* ---- By-products ------------------------------------------------------------------------ */

static void by_products(xent_tier tier)
{
    static const double lse[ROWS] = {2.814986809055112, 4.708582079963489, -INFINITY, -0.07547655965242983};
    static const double rest[ROWS] = {0.7594245740961522, 1.031109265387873, -1, 1.520666726020651}, max[ROWS] = {2.25, 4, -INFINITY, -1};
    static const double entropy[ROWS] = {1.0564951043402908, 0.763760803061674, 0, 1.2294570851498843};
    static const double z_loss[ROWS] = {3.9620753675771407, 2.7713431504691615, 0, 0.00035604444106042486}, z_terms[ROWS] = {0, 0, 0, 0.0625}; /* of max^2 */
    static const double loss[ROWS] = {5.092048985687365, 3.125634190450906, 0, 0.29398690452795295};
    static const double target_logit[ROWS] = {2.25, 4, -INFINITY, -1.25}, lse_terms[ROWS] = {2.25, 4, 0, 1};
    static const int64_t argmax[ROWS] = {2, 1, -1, 2};
    static const uint8_t correct[ROWS] = {1, 0, 0, 0};
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        struct stored x, r, gradient, out[5];
        xent_row_state state[ROWS];
        int64_t index[ROWS], count = 99;
        int32_t index32[ROWS];
        uint8_t right[ROWS];
        xent_cross_entropy_options options = defaults(&execution);
        options.z_loss = 0.25;
        options.row_weight = store(&r, dtypes[d], 1, ROWS, 1, weights_of_rows);
        const xent_tensor target = rows_of(labels, XENT_I64), right_tensor = rows_of(right, XENT_U8);
        const xent_tensor index_tensor = d == 0 ? rows_of(index, XENT_I64) : rows_of(index32, XENT_I32);
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs,
                                                    .loss = store(&out[0], dtypes[d], 1, ROWS, 1, NULL),
                                                    .lse = store(&out[1], dtypes[d], 1, ROWS, 1, NULL),
                                                    .z_loss = store(&out[2], dtypes[d], 1, ROWS, 1, NULL),
                                                    .entropy = store(&out[3], dtypes[d], 1, ROWS, 1, NULL),
                                                    .target_logit = store(&out[4], dtypes[d], 1, ROWS, 1, NULL),
                                                    .gradient = store(&gradient, dtypes[d], 2, ROWS, CLASSES, NULL),
                                                    .state = state,
                                                    .argmax = &index_tensor,
                                                    .correct = &right_tensor,
                                                    .correct_count = &count};
        xent_error error = {0};
        assert_status(xent_cross_entropy(store(&x, dtypes[d], 2, ROWS, CLASSES, logits), &target, &options, &outputs, &error), XENT_OK, &error);
        assert_all_near("loss", &out[0], loss, NULL, 12);
        assert_all_near("lse", &out[1], lse, lse_terms, 2.5);
        assert_all_near("z_loss", &out[2], z_loss, z_terms, 12);
        assert_all_near("entropy", &out[3], entropy, NULL, 5);
        assert_all_near("target_logit", &out[4], target_logit, NULL, 0);
        for (int i = 0; i < ROWS; i++) {
            assert_same(state[i].max, max[i]);
            assert_near("rest", i, dtypes[d], state[i].rest, rest[i], 1.5);
            assert_int_equal(d == 0 ? index[i] : index32[i], argmax[i]);
            assert_int_equal(right[i], correct[i]);
        }
        for (int c = 0; c < CLASSES; c++) assert_true(element_get(gradient.memory, dtypes[d], 2 * CLASSES + c) == 0); /* ignored */
        assert_int_equal(count, 1);
    }
}

/* The first NaN, if there is one, else the first of the greatest: so among -inf, and zeros of either sign. */
static void argmax_of_special_rows(xent_tier tier)
{
    const double special[COUNT] = {5, nan_value, 1, nan_value, -inf, -inf, -inf, -inf, -inf, 2, inf, inf, -0.0, 0, -0.0, 0};
    static const int64_t expected[ROWS] = {1, 0, 2, 0}, target_indices[ROWS] = {1, 1, 2, 1};
    static const uint8_t expected_right[ROWS] = {1, 0, 1, 0};
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        struct stored x;
        int64_t index[ROWS], count = 99;
        uint8_t right[ROWS];
        const xent_cross_entropy_options options = defaults(&execution);
        const xent_tensor target = rows_of(target_indices, XENT_I64), index_tensor = rows_of(index, XENT_I64), right_tensor = rows_of(right, XENT_U8);
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .argmax = &index_tensor, .correct = &right_tensor, .correct_count = &count};
        xent_error error = {0};
        assert_status(xent_cross_entropy(store(&x, dtypes[d], 2, ROWS, CLASSES, special), &target, &options, &outputs, &error), XENT_OK, &error);
        for (int i = 0; i < ROWS; i++) {
            assert_int_equal(index[i], expected[i]);
            assert_int_equal(right[i], expected_right[i]);
        }
        assert_int_equal(count, 2);
    }
}

/* ---- Types of targets --------------------------------------------------------------------- */

static void targets_of_any_type(xent_tier tier)
{
    static const double expected[ROWS] = {0.564986809055112, 0.7085820799634885, 0, 1.1745234403475702};
    const int32_t labels32[ROWS] = {2, 3, 200, 1};
    const uint8_t labels8[ROWS] = {2, 3, 200, 1};
    const xent_tensor targets[] = {rows_of(labels, XENT_I64), rows_of(labels32, XENT_I32), rows_of(labels8, XENT_U8)};
    const xent_execution execution = check_execution(tier);
    for (int i = 0; i < 6; i++) {
        struct stored x, loss, gradient;
        xent_cross_entropy_options options = defaults(&execution);
        options.reduction = XENT_REDUCTION_SUM;
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs,
                                                    .loss = store(&loss, dtypes[i % 2], 1, ROWS, 1, NULL),
                                                    .gradient = store(&gradient, dtypes[i % 2], 2, ROWS, CLASSES, NULL)};
        xent_error error = {0};
        assert_status(xent_cross_entropy(store(&x, dtypes[i % 2], 2, ROWS, CLASSES, logits), &targets[i / 2], &options, &outputs, &error), XENT_OK, &error);
        assert_all_near("loss", &loss, expected, NULL, i % 2 == 0 ? 2 : 3);
        for (int row = 0; row < ROWS; row++)
            for (int c = 0; c < CLASSES; c++) {
                const double slope = element_get(gradient.memory, dtypes[i % 2], row * CLASSES + c);
                assert_true(labels[row] == 200 ? slope == 0 : labels[row] == c ? slope < 0 : slope > 0);
            }
    }
}

/* ---- Slices of the classes ---------------------------------------------------------------- */

static void slices_merged_to_the_whole(xent_tier tier)
{
    static const double expected_gradient[COUNT] =
        {1.073911458770383, 0.1453381114437337, -1.726529423942557, 0.5072798537284402, 0.00011223940300675769,
            0.12308545101942532, 0.0037168585581425903, -0.12691454898057467, 0, 0, 0, 0, 0.48124621430628933,
            -1.3820676291459688, 0.7934408699706915, 0.10738054486898792};
    static const double expected_loss[ROWS] = {0.564986809055112, 0.7085820799634885, 0, 1.1745234403475702}; /* unweighted */
    static const double target_logit[2][ROWS] = {{-INFINITY, -INFINITY, -INFINITY, -INFINITY}, {2.25, 4, -INFINITY, -1.25}};
    static const int64_t first[] = {0, 1, 4}; /* a slice of one class, and one of three */
    const xent_tensor target = rows_of(labels, XENT_I64);
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        struct stored x, w, gradient, logit;
        xent_row_state parts[2][ROWS], merged[ROWS];
        double logits_of_targets[ROWS], loss[ROWS];
        const size_t size = element_size(dtypes[d]);
        store(&x, dtypes[d], 2, ROWS, CLASSES, logits);
        store(&gradient, dtypes[d], 2, ROWS, CLASSES, NULL);
        xent_cross_entropy_options options = defaults(&execution);
        options.reduction = XENT_REDUCTION_SUM;
        options.weight = store(&w, dtypes[d], 1, CLASSES, 1, weights); /* of all classes */
        options.class_count = CLASSES;
        for (int pass = 0; pass < 4; pass++) { /* states of both slices, then their gradients */
            const int s = pass % 2;
            const int64_t shape[] = {ROWS, first[s + 1] - first[s]}, strides[] = {CLASSES, 1};
            const xent_tensor part = {x.memory + (size_t)first[s] * size, dtypes[d], 2, shape, strides};
            const xent_tensor out = {gradient.memory + (size_t)first[s] * size, dtypes[d], 2, shape, strides};
            options.class_offset = first[s];
            options.state = pass < 2 ? NULL : merged;
            const xent_cross_entropy_outputs outputs = {.size = sizeof outputs,
                                                        .state = pass < 2 ? parts[s] : NULL,
                                                        .target_logit = pass < 2 ? store(&logit, dtypes[d], 1, ROWS, 1, NULL) : NULL,
                                                        .gradient = pass < 2 ? NULL : &out};
            xent_error error = {0};
            assert_status(xent_cross_entropy(&part, &target, &options, &outputs, &error), XENT_OK, &error);
            if (pass < 2) assert_all_near("target_logit", &logit, target_logit[s], NULL, 0);
            if (pass == 1) assert_int_equal(xent_row_state_merge(ROWS, parts[0], parts[1], merged, &execution), XENT_OK);
        }
        for (int i = 0; i < ROWS; i++) logits_of_targets[i] = target_logit[1][i];
        assert_int_equal(xent_row_state_finish(ROWS, merged, logits_of_targets, NULL, loss, &execution), XENT_OK);
        for (int i = 0; i < ROWS; i++)
            if (labels[i] != 200) assert_near("loss", i, dtypes[d], loss[i], expected_loss[i], d == 0 ? 4 : 6);
        assert_same(merged[2].max, -inf); /* ignored */
        assert_same(merged[2].rest, -1);
        assert_all_near("gradient", &gradient, expected_gradient, NULL, d == 0 ? 5 : 7);
    }
}

/* ---- Means of nothing --------------------------------------------------------------------- */

/* All rows ignored, or none there: the mean is NaN, or 0 where the option says so; the gradient is 0. */
static void means_of_no_row(xent_tier tier)
{
    static const int64_t ignored[ROWS] = {200, 200, 200, 200};
    const xent_execution execution = check_execution(tier);
    for (int i = 0; i < 16; i++) {
        const bool is_zero = i & 1, empty = i & 2, nll = i & 4;
        const xent_dtype dtype = dtypes[i >> 3];
        const double zeros[COUNT] = {0};
        const int64_t rows = empty ? 0 : ROWS;
        struct stored x, gradient;
        double sum = 9, divisor = 9, mean = 9;
        xent_cross_entropy_options options = defaults(&execution);
        options.empty_mean_is_zero = is_zero;
        const xent_tensor target = {(void *)(uintptr_t)ignored, XENT_I64, 1, &rows, NULL};
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .sum = &sum, .divisor = &divisor, .mean = &mean,
                                                    .gradient = store(&gradient, dtype, 2, rows, CLASSES, logits)};
        const xent_tensor *in = store(&x, dtype, 2, rows, CLASSES, logits);
        xent_error error = {0};
        assert_status(nll ? xent_nll(in, &target, &options, &outputs, &error) : xent_cross_entropy(in, &target, &options, &outputs, &error), XENT_OK, &error);
        assert_same(sum, 0);
        assert_same(divisor, 0);
        assert_same(mean, is_zero ? 0 : nan_value);
        assert_all_near("gradient", &gradient, zeros, NULL, 0);
    }
}

/* Rows that count, but weigh nothing: that is no mean of nothing. */
static void means_of_rows_without_weight(xent_tier tier)
{
    static const double nothing[ROWS] = {0, 0, 0, 0};
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        struct stored x, r;
        double sum = 9, divisor = 9, mean = 9;
        xent_cross_entropy_options options = defaults(&execution);
        options.empty_mean_is_zero = 1;
        options.row_weight = store(&r, dtypes[d], 1, ROWS, 1, nothing);
        const xent_tensor target = rows_of(labels, XENT_I64);
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .sum = &sum, .divisor = &divisor, .mean = &mean};
        xent_error error = {0};
        assert_status(xent_cross_entropy(store(&x, dtypes[d], 2, ROWS, CLASSES, logits), &target, &options, &outputs, &error), XENT_OK, &error);
        assert_same(sum, 0);
        assert_same(divisor, 0);
        assert_same(mean, nan_value);
    }
}

/* ---- Losses that are not finite ------------------------------------------------------------ */

/* The first row that counts is reported, if wanted; the outputs are the same, reported or not. */
static void the_first_row_that_is_not_finite(xent_tier tier)
{
    const double special[COUNT] = {nan_value, 0, 0, 0, 1, 2, -inf, -inf, inf, 0, 0, 0, 0, nan_value, 0, 0};
    const double expected[ROWS] = {0, inf, nan_value, nan_value};
    static const int64_t indices[ROWS] = {200, 2, 1, 0}; /* a NaN in an ignored row is none */
    const xent_tensor target = rows_of(indices, XENT_I64);
    const xent_execution execution = check_execution(tier);
    for (int i = 0; i < 4; i++) {
        struct stored x, loss;
        double sum = 9;
        xent_cross_entropy_options options = defaults(&execution);
        options.report_non_finite = i / 2;
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .loss = store(&loss, dtypes[i % 2], 1, ROWS, 1, NULL), .sum = &sum};
        xent_error error = {.row = -7};
        const xent_status status = xent_cross_entropy(store(&x, dtypes[i % 2], 2, ROWS, CLASSES, special), &target, &options, &outputs, &error);
        assert_int_equal(status, i / 2 ? XENT_ERROR_NON_FINITE : XENT_OK);
        assert_int_equal(error.row, i / 2 ? 1 : -7);
        if (i / 2) {
            assert_same(error.value, inf);
            assert_int_equal(error.status, XENT_ERROR_NON_FINITE);
            assert_string_equal(error.argument, "outputs.loss");
            assert_non_null(strstr(error.message, "row 1"));
        }
        assert_all_near("loss", &loss, expected, NULL, 0);
        assert_same(sum, nan_value);
    }
}

/* So is the first element of a binary loss. */
static void the_first_element_that_is_not_finite(xent_tier tier)
{
    const double special[COUNT] = {0, 1, 2, 3, -3, inf, -inf, nan_value};
    static const double targets[COUNT] = {0, 1, 0, 1, 1, 0, 1, 0};
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        struct stored x, y, loss;
        xent_bce_options options;
        assert_int_equal(xent_bce_options_init(&options, sizeof options), XENT_OK);
        options.execution = &execution;
        options.report_non_finite = 1;
        const xent_bce_outputs outputs = {.size = sizeof outputs, .loss = store(&loss, dtypes[d], 2, ROWS, CLASSES, NULL)};
        xent_error error = {0};
        const xent_status status = xent_bce_with_logits(store(&x, dtypes[d], 2, ROWS, CLASSES, special), store(&y, dtypes[d], 2, ROWS, CLASSES, targets),
                                                        &options, &outputs, &error);
        assert_int_equal(status, XENT_ERROR_NON_FINITE);
        assert_int_equal(error.row, 5);
        assert_same(error.value, inf);
        assert_same(element_get(loss.memory, dtypes[d], 6), inf);
        assert_same(element_get(loss.memory, dtypes[d], 7), nan_value);
        assert_true(element_get(loss.memory, dtypes[d], COUNT - 1) > 0); /* all outputs are written */
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        on_every_tier(by_products),
        on_every_tier(argmax_of_special_rows),
        on_every_tier(targets_of_any_type),
        on_every_tier(slices_merged_to_the_whole),
        on_every_tier(means_of_no_row),
        on_every_tier(means_of_rows_without_weight),
        on_every_tier(the_first_row_that_is_not_finite),
        on_every_tier(the_first_element_that_is_not_finite),
    };
    return check_run("rules, rows", tests, sizeof tests / sizeof *tests, argc, argv);
}
