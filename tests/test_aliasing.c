/* What may lie over what: every output that is allowed over an input gives the bits that it
 * gives apart, on every tier, in several shapes, layouts and types, together with all else that
 * is made of the same inputs; and any other output over a tensor of its very layout is refused. */
#include <string.h>

#include "random_call.h"

enum { ELEMENTS = 70 * 40, BYTES = ELEMENTS * 8 };

enum tensor_of_call { FIRST, OTHER, WEIGHTS, POS_WEIGHTS, SCALES, OUTPUT, OTHER_OUTPUT, LOSSES, TENSORS };

struct alias {
    enum kernel kernel;
    enum tensor_of_call output, input;
    bool allowed;
};

static const struct alias aliases[] = {
    {KERNEL_log_sum_exp, OUTPUT, FIRST, true},
    {KERNEL_softmax, OUTPUT, FIRST, true},
    {KERNEL_log_softmax, OUTPUT, FIRST, true},
    {KERNEL_softmax_backward, OUTPUT, FIRST, true},
    {KERNEL_softmax_backward, OUTPUT, OTHER, true},
    {KERNEL_log_softmax_backward, OUTPUT, FIRST, true},
    {KERNEL_log_softmax_backward, OUTPUT, OTHER, true},
    {KERNEL_cross_entropy, OUTPUT, FIRST, true},
    {KERNEL_cross_entropy, OUTPUT, OTHER, true},
    {KERNEL_cross_entropy, OTHER_OUTPUT, FIRST, false},
    {KERNEL_cross_entropy, OTHER_OUTPUT, OTHER, false},
    {KERNEL_cross_entropy, OTHER_OUTPUT, OUTPUT, false},
    {KERNEL_sigmoid, OUTPUT, FIRST, true},
    {KERNEL_log_sigmoid, OUTPUT, FIRST, true},
    {KERNEL_sigmoid_backward, OUTPUT, FIRST, true},
    {KERNEL_sigmoid_backward, OUTPUT, OTHER, true},
    {KERNEL_log_sigmoid_backward, OUTPUT, FIRST, true},
    {KERNEL_log_sigmoid_backward, OUTPUT, OTHER, true},
#define OF_BCE(kernel) \
    {kernel, OUTPUT, FIRST, true}, {kernel, OUTPUT, OTHER, true}, {kernel, OTHER_OUTPUT, OTHER, true}, \
    {kernel, OTHER_OUTPUT, FIRST, false}, {kernel, OTHER_OUTPUT, OUTPUT, false}, {kernel, OUTPUT, WEIGHTS, false}, \
    {kernel, OUTPUT, SCALES, false}, {kernel, OTHER_OUTPUT, WEIGHTS, false}, {kernel, OTHER_OUTPUT, SCALES, false}, \
    {kernel, LOSSES, FIRST, false}, {kernel, LOSSES, OTHER, false}, {kernel, LOSSES, WEIGHTS, false}, \
    {kernel, LOSSES, SCALES, false}, {kernel, LOSSES, OUTPUT, false}, {kernel, LOSSES, OTHER_OUTPUT, false}
    OF_BCE(KERNEL_bce),
    OF_BCE(KERNEL_bce_with_logits),
    {KERNEL_bce_with_logits, OUTPUT, POS_WEIGHTS, false},
    {KERNEL_bce_with_logits, OTHER_OUTPUT, POS_WEIGHTS, false},
    {KERNEL_bce_with_logits, LOSSES, POS_WEIGHTS, false},
};

/* Class axis and strides: (N, C) packed, with gaps, and reversed, and (C, N). */
struct shape {
    int32_t axis;
    int64_t size[2], strides[2], first;
};

static const struct shape shapes[] = {
    {1, {1, 5}, {5, 1}, 0},         {1, {70, 7}, {7, 1}, 0},      {1, {3, 300}, {300, 1}, 0},
    {1, {37, 17}, {34, 2}, 0},      {1, {2, 1000}, {-1000, 1}, 1000}, {0, {7, 70}, {70, 1}, 0},
    {0, {40, 37}, {37, 1}, 0},      {0, {9, 19}, {1, 9}, 0},
};

struct memory {
    _Alignas(8) unsigned char bytes[TENSORS][BYTES];
    double totals[3];
};

static xent_status invoke(const struct alias *alias, const struct shape *shape, xent_dtype dtype, bool apart,
                          xent_tier tier, struct memory *memory, xent_error *error)
{
    const enum kernel kernel = alias->kernel;
    struct generator g = {17};
    xent_tensor t[TENSORS];
    memset(memory, 0, sizeof *memory);
    for (int i = 0; i < TENSORS; i++) {
        for (int64_t j = 0; i < OUTPUT && j < ELEMENTS; j++) {
            const bool is_probability = i == OTHER || kernel == KERNEL_bce;
            element_put(memory->bytes[i], dtype, j, (double)generate_uniform(&g, is_probability ? 0 : -4, is_probability ? 1 : 4));
        }
        const int from = !apart && i == (int)alias->output ? (int)alias->input : i;
        t[i] = (xent_tensor){memory->bytes[from] + shape->first * (int64_t)element_size(dtype), dtype, 2, shape->size, shape->strides};
    }
    const xent_execution execution = check_execution(tier);
    xent_softmax_options softmax;
    xent_cross_entropy_options loss;
    xent_bce_options binary;
    const xent_elementwise_options elements = {sizeof elements, &execution};
    assert_int_equal(xent_softmax_options_init(&softmax, sizeof softmax), XENT_OK);
    assert_int_equal(xent_cross_entropy_options_init(&loss, sizeof loss), XENT_OK);
    assert_int_equal(xent_bce_options_init(&binary, sizeof binary), XENT_OK);
    softmax.execution = loss.execution = binary.execution = &execution;
    softmax.axis = loss.axis = shape->axis;
    loss.label_smoothing = 0.25;
    binary.reduction = XENT_REDUCTION_NONE;
    binary.weight = &t[WEIGHTS];
    binary.output_gradient = &t[SCALES];
    if (kernel == KERNEL_bce_with_logits) binary.pos_weight = &t[POS_WEIGHTS];
    double *totals = memory->totals;
    const xent_log_sum_exp_outputs lse_outputs = {.size = sizeof lse_outputs, .gradient = &t[OUTPUT]};
    const xent_cross_entropy_outputs loss_outputs = {.size = sizeof loss_outputs, .sum = totals, .mean = totals + 1, .gradient = &t[OUTPUT],
                                                     .target_gradient = &t[OTHER_OUTPUT]};
    const xent_bce_outputs binary_outputs = {sizeof binary_outputs, &t[LOSSES], totals, totals + 1, totals + 2, &t[OUTPUT], &t[OTHER_OUTPUT]};
    switch (kernel) {
    case KERNEL_log_sum_exp: return xent_log_sum_exp(&t[FIRST], &softmax, &lse_outputs, error);
    case KERNEL_softmax: return xent_softmax(&t[FIRST], &softmax, &t[OUTPUT], error);
    case KERNEL_log_softmax: return xent_log_softmax(&t[FIRST], &softmax, &t[OUTPUT], error);
    case KERNEL_softmax_backward: return xent_softmax_backward(&t[FIRST], &t[OTHER], &softmax, &t[OUTPUT], error);
    case KERNEL_log_softmax_backward: return xent_log_softmax_backward(&t[FIRST], &t[OTHER], &softmax, &t[OUTPUT], error);
    case KERNEL_cross_entropy: return xent_cross_entropy(&t[FIRST], &t[OTHER], &loss, &loss_outputs, error);
    case KERNEL_sigmoid: return xent_sigmoid(&t[FIRST], &elements, &t[OUTPUT], error);
    case KERNEL_log_sigmoid: return xent_log_sigmoid(&t[FIRST], &elements, &t[OUTPUT], error);
    case KERNEL_sigmoid_backward: return xent_sigmoid_backward(&t[FIRST], &t[OTHER], &elements, &t[OUTPUT], error);
    case KERNEL_log_sigmoid_backward: return xent_log_sigmoid_backward(&t[FIRST], &t[OTHER], &elements, &t[OUTPUT], error);
    case KERNEL_bce: return xent_bce(&t[FIRST], &t[OTHER], &binary, &binary_outputs, error);
    default: return xent_bce_with_logits(&t[FIRST], &t[OTHER], &binary, &binary_outputs, error);
    }
}

static void compare(const struct alias *alias, const struct shape *shape, xent_dtype dtype, xent_tier tier)
{
    static struct memory apart, over;
    xent_error error = {0};
    assert_status(invoke(alias, shape, dtype, true, tier, &apart, &error), XENT_OK, &error);
    const xent_status status = invoke(alias, shape, dtype, false, tier, &over, &error);
    assert_status(status, alias->allowed ? XENT_OK : XENT_ERROR_OVERLAP, &error);
    if (status != XENT_OK) return;
    for (int i = OUTPUT; i < TENSORS; i++)
        for (int64_t row = 0; row < shape->size[0]; row++)
            for (int64_t column = 0; column < shape->size[1]; column++) {
                const int64_t at = shape->first + row * shape->strides[0] + column * shape->strides[1];
                const unsigned char *got = over.bytes[i == (int)alias->output ? (int)alias->input : i];
                const double a = element_get(got, dtype, at), b = element_get(apart.bytes[i], dtype, at);
                if (!check_same64(a, b))
                    fail_msg("%s, tier %s, dtype %d, (%d, %d): output %d over %d: tensor %d[%d, %d] is %.9g, not %.9g", kernel_name(alias->kernel),
                             xent_tier_name(tier), (int)dtype, (int)shape->size[0], (int)shape->size[1], (int)alias->output, (int)alias->input, i,
                             (int)row, (int)column, a, b);
            }
    for (int i = 0; i < 3; i++) assert_same(over.totals[i], apart.totals[i]);
}

static void outputs_over_inputs(xent_tier tier)
{
    static const xent_dtype dtypes[] = {XENT_F32, XENT_F64, XENT_F16, XENT_BF16};
    for (size_t a = 0; a < sizeof aliases / sizeof *aliases; a++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int d = 0; d < 4; d++) compare(&aliases[a], &shapes[s], dtypes[d], tier);
}

/* One value a row: no output may lie over an input of one. */
static void values_of_rows_over_inputs(xent_tier tier)
{
    float logits[6] = {1, 2, 3, 4, 5, 6}, weight[2] = {1, 2}, scale[2] = {3, 4}, loss[2];
    const int64_t target[2] = {0, 2};
    const xent_execution execution = check_execution(tier);
    for (int which = 0; which < 10; which++) {
        float *const over = which % 2 == 0 ? weight : scale;
        const int64_t rows[] = {2}, shape[] = {2, 3};
        const xent_tensor x = {logits, XENT_F32, 2, shape, NULL}, y = {(void *)(uintptr_t)target, XENT_I64, 1, rows, NULL},
                          w = {weight, XENT_F32, 1, rows, NULL}, g = {scale, XENT_F32, 1, rows, NULL},
                          out = {over, XENT_F32, 1, rows, NULL}, apart = {loss, XENT_F32, 1, rows, NULL};
        xent_cross_entropy_options options;
        assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
        options.execution = &execution;
        options.reduction = XENT_REDUCTION_NONE;
        options.row_weight = &w;
        options.output_gradient = &g;
        const int output = which / 2;
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs,
                                                    .loss = output == 0 ? &out : &apart,
                                                    .lse = output == 1 ? &out : NULL,
                                                    .z_loss = output == 2 ? &out : NULL,
                                                    .entropy = output == 3 ? &out : NULL,
                                                    .target_logit = output == 4 ? &out : NULL};
        xent_error error = {0};
        assert_status(xent_cross_entropy(&x, &y, &options, &outputs, &error), XENT_ERROR_OVERLAP, &error);
    }
}

/* ---- Arrays of one value a row --------------------------------------------------------------- */

enum { MANY = 150, FEW = 7 };

enum placing { APART_FROM, OVER, SHIFTED };

/* What log-sum-exp, or cross-entropy, makes of saved states, or of maxima; zeroed beforehand, padding
 * included, so that its bytes can be compared. */
struct row_answers {
    double lse[MANY], gradient[MANY * FEW], max[MANY];
    xent_row_state state[MANY];
    xent_row_sum sum[MANY];
};

static double block[7 * MANY + 7]; /* for any of these arrays, whatever else is in it */
static double row_logits[MANY * FEW];
static int64_t row_targets[MANY];
static const int64_t many[] = {MANY}, matrix[] = {MANY, FEW};

static xent_tensor doubles(double *data, int32_t ndim)
{
    return (xent_tensor){data, XENT_F64, ndim, ndim == 1 ? many : matrix, NULL};
}

static void fill_rows(void)
{
    struct generator g = {23};
    for (int i = 0; i < MANY * FEW; i++) row_logits[i] = (double)generate_uniform(&g, -3, 3);
    for (int i = 0; i < MANY; i++) row_targets[i] = i % 10 == 3 ? -100 : i % FEW;
}

static xent_status of_given_states(bool with_target, enum placing placing, xent_tier tier, struct row_answers *to, xent_error *error)
{
    const xent_execution execution = check_execution(tier);
    const xent_tensor x = doubles(row_logits, 2), y = {row_targets, XENT_I64, 1, many, NULL};
    const xent_tensor lse = doubles(to->lse, 1), gradient = doubles(to->gradient, 2);
    xent_row_state *given = (xent_row_state *)(void *)block, *states = placing == APART_FROM ? to->state : given + (placing == SHIFTED);
    memset(to, 0, sizeof *to);
    for (int i = 0; i < MANY; i++) given[i] = (xent_row_state){3 + i % 2, 0.25 + i};
    xent_status status;
    if (with_target) {
        xent_cross_entropy_options options;
        assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
        options.execution = &execution;
        options.state = given;
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .lse = &lse, .gradient = &gradient, .state = states};
        status = xent_cross_entropy(&x, &y, &options, &outputs, error);
    } else {
        const xent_softmax_options options = {.size = sizeof options, .execution = &execution, .axis = XENT_AXIS_DEFAULT, .state = given};
        const xent_log_sum_exp_outputs outputs = {.size = sizeof outputs, .lse = &lse, .gradient = &gradient, .state = states};
        status = xent_log_sum_exp(&x, &options, &outputs, error);
    }
    if (states != to->state) memcpy(to->state, states, sizeof to->state);
    return status;
}

static void states_over_given_states(xent_tier tier)
{
    static struct row_answers apart, over;
    fill_rows();
    for (int with_target = 0; with_target < 2; with_target++) {
        xent_error error = {0};
        assert_status(of_given_states(with_target, APART_FROM, tier, &apart, &error), XENT_OK, &error);
        assert_status(of_given_states(with_target, OVER, tier, &over, &error), XENT_OK, &error);
        assert_memory_equal(&over, &apart, sizeof over);
        assert_status(of_given_states(with_target, SHIFTED, tier, &over, &error), XENT_ERROR_OVERLAP, &error);
    }
}

static xent_status of_given_maxima(enum placing placing, xent_tier tier, struct row_answers *to, xent_error *error)
{
    const xent_execution execution = check_execution(tier);
    const xent_tensor x = doubles(row_logits, 2), lse = doubles(to->lse, 1), gradient = doubles(to->gradient, 2);
    double *max = placing == APART_FROM ? to->max : block + (placing == SHIFTED);
    memset(to, 0, sizeof *to);
    for (int i = 0; i < MANY; i++) block[i] = 3 + i % 2;
    const xent_softmax_options options = {.size = sizeof options, .execution = &execution, .axis = XENT_AXIS_DEFAULT, .max = block};
    const xent_log_sum_exp_outputs outputs = {.size = sizeof outputs, .lse = &lse, .gradient = &gradient, .state = to->state, .max = max, .sum = to->sum};
    const xent_status status = xent_log_sum_exp(&x, &options, &outputs, error);
    if (max != to->max) memcpy(to->max, max, sizeof to->max);
    return status;
}

static void maxima_over_given_maxima(xent_tier tier)
{
    static struct row_answers apart, over;
    xent_error error = {0};
    fill_rows();
    assert_status(of_given_maxima(APART_FROM, tier, &apart, &error), XENT_OK, &error);
    assert_status(of_given_maxima(OVER, tier, &over, &error), XENT_OK, &error);
    assert_memory_equal(&over, &apart, sizeof over);
    assert_status(of_given_maxima(SHIFTED, tier, &over, &error), XENT_ERROR_OVERLAP, &error);
}

/* Nothing else may lie over states or maxima, given or made. */
static void other_outputs_over_arrays_of_rows(xent_tier tier)
{
    static double elsewhere[MANY * FEW];
    const xent_execution execution = check_execution(tier);
    const xent_tensor x = doubles(row_logits, 2), lse = doubles(block, 1), gradient = doubles(block, 2), apart = doubles(elsewhere, 1);
    fill_rows();
    for (int which = 0; which < 11; which++) {
        memset(block, 0, sizeof block);
        xent_softmax_options options = {.size = sizeof options, .execution = &execution, .axis = XENT_AXIS_DEFAULT};
        xent_log_sum_exp_outputs outputs = {.size = sizeof outputs, .lse = &apart};
        if (which < 4) options.max = block;
        else if (which < 7) options.state = (xent_row_state *)(void *)block;
        else if (which < 9) outputs.max = block;
        else outputs.state = (xent_row_state *)(void *)block;
        switch (which) {
        case 0: outputs.state = (xent_row_state *)(void *)block; break;
        case 1: outputs.sum = (xent_row_sum *)(void *)block; break;
        case 2: case 4: case 7: case 9: outputs.lse = &lse; break;
        case 3: case 5: case 10: outputs.gradient = &gradient; break;
        case 6: outputs.max = block; break;
        default: outputs.state = (xent_row_state *)(void *)block; break;
        }
        xent_error error = {0};
        assert_status(xent_log_sum_exp(&x, &options, &outputs, &error), XENT_ERROR_OVERLAP, &error);
    }
}

/* ---- NLL --------------------------------------------------------------------------------------- */

/* The gradient may lie over the input, and nothing over anything else. */
static void nll_over_its_inputs(xent_tier tier)
{
    static const xent_dtype dtypes[] = {XENT_F32, XENT_F64, XENT_F16, XENT_BF16};
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 4; d++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            static unsigned char x[BYTES], gradient[BYTES];
            double sum[2];
            float loss[2][70], weight[1000];
            int64_t target[70];
            struct generator g = {29};
            const struct shape *const shape = &shapes[s];
            const int64_t *const rows = &shape->size[1 - shape->axis], classes = shape->size[shape->axis];
            const size_t item = element_size(dtypes[d]);
            for (int64_t i = 0; i < 1000; i++) weight[i] = generate_uniform(&g, 0, 2);
            for (int64_t i = 0; i < *rows; i++) target[i] = i % 5 == 4 ? -100 : (int64_t)generate_below(&g, (uint32_t)classes);
            for (int over = 0; over < 3; over++) { /* apart, over the input, and over it but for one element */
                struct generator same = {31};
                for (int64_t i = 0; i < ELEMENTS; i++) element_put(x, dtypes[d], i, (double)generate_uniform(&same, -4, 0));
                const xent_tensor in = {x + shape->first * (int64_t)item, dtypes[d], 2, shape->size, shape->strides};
                const xent_tensor y = {target, XENT_I64, 1, rows, NULL}, w = {weight, XENT_F32, 1, &classes, NULL};
                xent_tensor out = in;
                if (over == 0) out.data = gradient + shape->first * (int64_t)item;
                if (over == 2) out.data = (unsigned char *)in.data + shape->strides[shape->axis] * (int64_t)item;
                const xent_tensor losses = {loss[over == 1], XENT_F32, 1, rows, NULL};
                xent_cross_entropy_options options;
                assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
                options.execution = &execution;
                options.axis = shape->axis;
                if (dtypes[d] != XENT_F64) options.weight = &w;
                const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .loss = dtypes[d] == XENT_F64 ? NULL : &losses,
                                                            .sum = &sum[over == 1], .gradient = &out};
                xent_error error = {0};
                const xent_status status = xent_nll(&in, &y, &options, &outputs, &error);
                assert_status(status, over == 2 && *rows * classes > 1 ? XENT_ERROR_OVERLAP : XENT_OK, &error);
                if (over != 1) continue;
                assert_same(sum[1], sum[0]);
                if (dtypes[d] != XENT_F64) assert_memory_equal(loss[1], loss[0], (size_t)*rows * sizeof **loss);
                for (int64_t i = 0; i < shape->size[0]; i++)
                    for (int64_t j = 0; j < shape->size[1]; j++) {
                        const int64_t at = shape->first + i * shape->strides[0] + j * shape->strides[1];
                        assert_same(element_get(x, dtypes[d], at), element_get(gradient, dtypes[d], at));
                    }
            }
        }
}

static void nll_refuses_other_overlaps(xent_tier tier)
{
    double x[8] = {-1, -2, -3, -4, -5, -6, -7, -8}, weight[8] = {1, 1, 1, 1}, scale[8] = {1, 1}, elsewhere[8];
    int64_t target[8] = {0, 3};
    const int64_t rows[] = {2}, classes[] = {4}, shape[] = {2, 4}, transposed[] = {1, 2};
    const xent_execution execution = check_execution(tier);
    void *const memory[] = {x, weight, scale, target};
    for (int which = 0; which < 8; which++) {
        const xent_tensor in = {x, XENT_F64, 2, shape, NULL}, y = {target, XENT_I64, 1, rows, NULL}, w = {weight, XENT_F64, 1, classes, NULL},
                          g = {scale, XENT_F64, 1, rows, NULL};
        const bool of_loss = which >= 4; /* over each of the inputs; before: the gradient, over x in another layout */
        const xent_tensor loss = {of_loss ? memory[which - 4] : elsewhere, XENT_F64, 1, rows, NULL};
        const xent_tensor gradient = {of_loss ? elsewhere : memory[which % 4], XENT_F64, 2, shape, which == 0 ? transposed : NULL};
        xent_cross_entropy_options options;
        assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
        options.execution = &execution;
        options.reduction = XENT_REDUCTION_NONE;
        options.weight = &w;
        options.output_gradient = &g;
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .loss = of_loss ? &loss : NULL, .gradient = of_loss ? NULL : &gradient};
        xent_error error = {0};
        assert_status(xent_nll(&in, &y, &options, &outputs, &error), XENT_ERROR_OVERLAP, &error);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        on_every_tier(outputs_over_inputs),
        on_every_tier(values_of_rows_over_inputs),
        on_every_tier(states_over_given_states),
        on_every_tier(maxima_over_given_maxima),
        on_every_tier(other_outputs_over_arrays_of_rows),
        on_every_tier(nll_over_its_inputs),
        on_every_tier(nll_refuses_other_overlaps),
    };
    return check_run("aliasing", tests, sizeof tests / sizeof *tests, argc, argv);
}
