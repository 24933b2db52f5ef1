/* What test_guard is to f32 logits, for f64, f16 and bf16, and for calls with everything that an
 * option can add: every tensor of a call lies against a page that can't be touched, before it or
 * after it, at every length up to 300; and nothing but the outputs' elements is written.
 *
 * A fault ends the program at once: the last name printed says which test it was in, and
 * that test alone, by its name, runs under a debugger. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "problem.h"
#include "vector/half.h"

enum { LONGEST = 300, TENSORS = 20, MOST = 2 * 8 * LONGEST * 17 };

/* ---- The tensors of a call ------------------------------------------------------------- */

struct block {
    xent_tensor tensor;
    int64_t shape[3], strides[3];
    unsigned char *memory;
    size_t bytes, item;
    bool is_output;
    unsigned char copy[MOST];    /* of an input */
};

/* A call being put together. Shape (rows, classes), or (1, classes, rows) with positions. */
struct call {
    xent_tier tier;
    xent_dtype dtype; /* of the logits */
    int64_t rows, classes;
    bool positions, spread; /* spread: every other element */
    bool beside;            /* weights, values of rows and so on are f32 */
    enum placement placement;
    int count;
    xent_execution execution;
};

static struct block blocks[TENSORS];
static struct guarded pages[TENSORS];

static size_t item_size(xent_dtype dtype)
{
    return dtype == XENT_F64 || dtype == XENT_I64 ? 8 : dtype == XENT_F32 || dtype == XENT_I32 ? 4 : dtype == XENT_U8 ? 1 : 2;
}

/* Quarters, which are probabilities too; or class indices. */
static void fill(struct block *b, int64_t count, int64_t classes)
{
    const int64_t step = b->tensor.ndim > 0 ? b->strides[b->tensor.ndim - 1] : 1;
    for (int64_t i = 0; i < count; i++) {
        unsigned char *to = b->memory + (size_t)(i * step) * b->item;
        const float value = (float)(i * 7 % 5) / 4;
        const int64_t index = i % (classes > 0 ? classes : 1);
        switch (b->tensor.dtype) {
        case XENT_F32: memcpy(to, &value, sizeof value); break;
        case XENT_F64: memcpy(to, &(double){(double)value}, sizeof(double)); break;
        case XENT_F16: memcpy(to, &(uint16_t){half_to_f16(value)}, sizeof(uint16_t)); break;
        case XENT_BF16: memcpy(to, &(uint16_t){half_to_bf16(value)}, sizeof(uint16_t)); break;
        case XENT_I64: memcpy(to, &index, sizeof index); break;
        case XENT_I32: memcpy(to, &(int32_t){(int32_t)index}, sizeof(int32_t)); break;
        case XENT_U8: *to = (unsigned char)index; break;
        }
    }
}

static const xent_tensor *take(struct call *call, xent_dtype dtype, bool is_output, int32_t ndim, const int64_t *shape)
{
    struct block *b = &blocks[call->count];
    int64_t count = 1;
    b->item = item_size(dtype);
    b->is_output = is_output;
    for (int32_t d = ndim - 1; d >= 0; d--) {
        b->shape[d] = shape[d];
        b->strides[d] = count * (call->spread ? 2 : 1);
        count *= shape[d];
    }
    const int64_t span = count == 0 ? 0 : call->spread && ndim > 0 ? 2 * count - 1 : count;
    b->bytes = (size_t)span * b->item;
    assert_true(b->bytes <= sizeof b->copy);
    b->memory = guarded_block(&pages[call->count++], b->bytes, 0, call->placement);
    b->tensor = (xent_tensor){b->memory, dtype, ndim, b->shape, b->strides};
    if (!is_output) {
        fill(b, count, call->classes);
        memcpy(b->copy, b->memory, b->bytes);
    }
    return &b->tensor;
}

static const xent_tensor *matrix(struct call *call, xent_dtype dtype, bool is_output)
{
    const int64_t positions[] = {1, call->classes, call->rows}, rows[] = {call->rows, call->classes};
    return call->positions ? take(call, dtype, is_output, 3, positions) : take(call, dtype, is_output, 2, rows);
}

static const xent_tensor *by_row(struct call *call, xent_dtype dtype, bool is_output)
{
    const int64_t shape[] = {1, call->rows};
    return call->positions ? take(call, dtype, is_output, 2, shape) : take(call, dtype, is_output, 1, shape + 1);
}

static const xent_tensor *vector(struct call *call, int64_t size)
{
    return take(call, call->beside ? XENT_F32 : call->dtype, false, 1, &size);
}

static const xent_tensor *in(struct call *call) /* beside the logits */
{
    return matrix(call, call->beside ? XENT_F32 : call->dtype, false);
}

static const xent_tensor *row_in(struct call *call)
{
    return by_row(call, call->beside ? XENT_F32 : call->dtype, false);
}

static const xent_tensor *row_out(struct call *call)
{
    return by_row(call, call->beside && call->dtype != XENT_F64 ? XENT_F32 : call->dtype, true);
}

static xent_row_state *states(struct call *call)
{
    const int64_t doubles = 2 * call->rows;
    const bool spread = call->spread;
    call->spread = false;
    xent_row_state *memory = take(call, XENT_F64, true, 1, &doubles)->data;
    call->spread = spread;
    return memory;
}

static void finish(struct call *call, xent_status status, const xent_error *error)
{
    assert_status(status, XENT_OK, error);
    for (int i = 0; i < call->count; i++) {
        struct block *b = &blocks[i];
        const bool spread = b->tensor.ndim > 0 && b->strides[b->tensor.ndim - 1] == 2;
        assert_true(b->is_output || memcmp(b->memory, b->copy, b->bytes) == 0);
        for (size_t at = 0; at < b->bytes; at += spread ? 2 * b->item : b->bytes) {
            guarded_fill(b->memory + at, spread ? b->item : b->bytes);
        }
        assert_true(guarded_untouched(&pages[i], b->memory, b->bytes));
    }
}

/* ---- The calls: everything a function can take and give ------------------------------------ */

static void cross_entropy(struct call *call, bool distribution, bool bare)
{
    xent_cross_entropy_options o;
    assert_int_equal(xent_cross_entropy_options_init(&o, sizeof o), XENT_OK);
    o.execution = &call->execution;
    o.reduction = XENT_REDUCTION_NONE;
    const xent_tensor *x = matrix(call, call->dtype, false);
    const xent_tensor *target = distribution ? in(call) : by_row(call, (xent_dtype)(XENT_I64 + (call->rows + call->classes) % (call->classes > 256 ? 2 : 3)), false);
    xent_row_state *state = states(call);
    xent_cross_entropy_outputs w = {.size = sizeof w, .loss = row_out(call), .state = state, .gradient = matrix(call, call->dtype, true)};
    if (!bare) {
        o.weight = vector(call, call->classes);
        o.row_weight = row_in(call);
        o.output_gradient = row_in(call);
        o.label_smoothing = 0.25;
        o.z_loss = 1e-3;
        o.softcap = (call->classes & 1) != 0 ? 20 : 0;
        w.target_gradient = distribution ? matrix(call, call->beside ? XENT_F32 : call->dtype, true) : NULL;
        w.lse = row_out(call);
        w.z_loss = row_out(call);
        w.entropy = row_out(call);
        if ((call->classes & 2) != 0) { /* which takes the tiles out of use */
            w.argmax = by_row(call, call->beside ? XENT_I32 : XENT_I64, true);
            w.correct = distribution ? NULL : by_row(call, XENT_U8, true);
            w.target_logit = distribution ? NULL : row_out(call);
        }
    }
    xent_error error = {0};
    xent_status status = xent_cross_entropy(x, target, &o, &w, &error);
    if (status == XENT_OK) { /* and again, the gradients alone */
        o.state = state;
        const xent_cross_entropy_outputs later = {.size = sizeof later, .gradient = w.gradient, .target_gradient = w.target_gradient};
        status = xent_cross_entropy(x, target, &o, &later, &error);
    }
    finish(call, status, &error);
}

static void nll(struct call *call)
{
    xent_cross_entropy_options o;
    assert_int_equal(xent_cross_entropy_options_init(&o, sizeof o), XENT_OK);
    o.execution = &call->execution;
    o.reduction = XENT_REDUCTION_NONE;
    const xent_tensor *x = matrix(call, call->dtype, false), *target = by_row(call, XENT_I32, false);
    o.weight = vector(call, call->classes);
    o.row_weight = row_in(call);
    o.output_gradient = row_in(call);
    double sum;
    const xent_cross_entropy_outputs w = {.size = sizeof w, .loss = row_out(call), .sum = &sum, .gradient = matrix(call, call->dtype, true)};
    xent_error error = {0};
    finish(call, xent_nll(x, target, &o, &w, &error), &error);
}

static void softmax_family(struct call *call, enum kernel kernel)
{
    const xent_softmax_options plain = {.size = sizeof plain, .execution = &call->execution, .axis = XENT_AXIS_DEFAULT};
    const xent_tensor *x = matrix(call, call->dtype, false), *out = matrix(call, call->dtype, true);
    xent_softmax_options o = plain;
    xent_error error = {0};
    xent_status status;
    if (kernel == KERNEL_log_sum_exp) {
        o.output_gradient = row_in(call);
        const xent_log_sum_exp_outputs w = {.size = sizeof w, .lse = row_out(call), .gradient = out, .state = states(call)};
        status = xent_log_sum_exp(x, &o, &w, &error);
        o.state = w.state;
        const xent_log_sum_exp_outputs later = {.size = sizeof later, .gradient = out};
        status = status == XENT_OK ? xent_log_sum_exp(x, &o, &later, &error) : status;
    } else if (kernel == KERNEL_softmax || kernel == KERNEL_log_softmax) {
        status = (kernel == KERNEL_softmax ? xent_softmax : xent_log_softmax)(x, &o, out, &error);
    } else {
        status = (kernel == KERNEL_softmax_backward ? xent_softmax_backward : xent_log_softmax_backward)(x, in(call), &o, out, &error);
    }
    finish(call, status, &error);
}

static void elementwise(struct call *call, enum kernel kernel)
{
    const xent_elementwise_options plain = {.size = sizeof plain, .execution = &call->execution};
    const xent_tensor *x = matrix(call, call->dtype, false), *out = matrix(call, call->dtype, true);
    xent_error error = {0};
    xent_status status = XENT_OK;
    switch (kernel) {
    case KERNEL_sigmoid: status = xent_sigmoid(x, &plain, out, &error); break;
    case KERNEL_log_sigmoid: status = xent_log_sigmoid(x, &plain, out, &error); break;
    case KERNEL_sigmoid_backward: status = xent_sigmoid_backward(x, in(call), &plain, out, &error); break;
    default: status = xent_log_sigmoid_backward(x, in(call), &plain, out, &error); break;
    }
    finish(call, status, &error);
}

static void binary_loss(struct call *call, enum kernel kernel)
{
    xent_bce_options o;
    assert_int_equal(xent_bce_options_init(&o, sizeof o), XENT_OK);
    o.execution = &call->execution;
    o.reduction = XENT_REDUCTION_NONE;
    o.label_smoothing = 0.25;
    const bool with_logits = kernel == KERNEL_bce_with_logits, focal = with_logits && call->rows == 2;
    const int64_t last = call->positions ? call->rows : call->classes; /* to be broadcast along the others */
    const xent_tensor *x = matrix(call, call->dtype, false), *y = in(call);
    o.weight = call->rows == 1 ? in(call) : vector(call, last);
    o.pos_weight = with_logits && !focal ? vector(call, last) : NULL;
    o.output_gradient = in(call);
    o.focal_gamma = focal ? 1.5 : 0;
    double sum;
    const xent_bce_outputs w = {.size = sizeof w,
                                .loss = matrix(call, call->beside && call->dtype != XENT_F64 ? XENT_F32 : call->dtype, true),
                                .sum = &sum,
                                .gradient = matrix(call, call->dtype, true),
                                .target_gradient = matrix(call, y->dtype, true)};
    xent_error error = {0};
    finish(call, (with_logits ? xent_bce_with_logits : xent_bce)(x, y, &o, &w, &error), &error);
}

/* ---- At every length --------------------------------------------------------------------------- */

struct subject {
    enum kernel kernel;
    xent_tier tier;
    char name[64];
};

static void run_one(const struct call *shape, enum kernel kernel, int variant)
{
    struct call call = *shape;
    if (kernel == KERNEL_cross_entropy) {
        cross_entropy(&call, variant == 1, variant == 2);
    } else if (kernel == KERNEL_nll) {
        nll(&call);
    } else if (kernel == KERNEL_bce || kernel == KERNEL_bce_with_logits) {
        binary_loss(&call, kernel);
    } else if (kernel_elementwise(kernel)) {
        elementwise(&call, kernel);
    } else {
        softmax_family(&call, kernel);
    }
}

/* Against both pages, of every type, in every variant: which f32 goes beside changes with them. */
static void run_all(const struct subject *subject, int64_t rows, int64_t classes, bool positions, bool spread)
{
    const int variants = subject->kernel == KERNEL_cross_entropy ? 3 : 1;
    for (xent_dtype dtype = XENT_F32; dtype <= XENT_BF16; dtype++) {
        for (int variant = 0; variant < variants && !(dtype == XENT_F32 && variant == 2); variant++) {
            const bool front = (rows + classes + variant) % 3 == 0; /* where masks and tails are not, in turn */
            for (enum placement placement = front ? AT_FRONT : AT_BACK; placement <= AT_BACK; placement++) {
                const struct call call = {
                    .tier = subject->tier, .dtype = dtype, .rows = rows, .classes = classes, .positions = positions, .spread = spread,
                    .beside = ((rows + classes + variant + (int64_t)dtype) & 1) == 0, .placement = placement,
                    .execution = check_execution(subject->tier),
                };
                run_one(&call, subject->kernel, variant);
            }
        }
    }
}

static void guard(void **state)
{
    const struct subject *subject = *state;
    if (!check_tier_available(subject->tier)) {
        skip();
    }
    const bool needs_class = subject->kernel == KERNEL_cross_entropy || subject->kernel == KERNEL_nll;
    const int step = check_quick() ? 7 : 1;
    for (int64_t length = 0; length <= LONGEST; length += step) {
        run_all(subject, 1 + length % 3, length == 0 && needs_class ? 1 : length, false, false);
        if (kernel_elementwise(subject->kernel)) {
            continue;
        }
        run_all(subject, length, (length & 1) != 0 ? 3 : 10, false, false);
        run_all(subject, length, (length & 1) != 0 ? 10 : 3, false, false);
        run_all(subject, length, 5, true, false); /* (1, C, N): positions in the lanes */
    }
    for (int64_t length = 1; length <= LONGEST; length += 13 * step) {
        run_all(subject, 3, length, false, true);
        run_all(subject, 17, length, true, true);
        run_all(subject, 1, 1024 + length % 7, false, (length & 1) != 0);
    }
}

int main(int argc, char **argv)
{
    static struct subject subjects[KERNEL_COUNT * XENT_TIER_COUNT];
    static struct CMUnitTest tests[KERNEL_COUNT * XENT_TIER_COUNT];
    size_t count = 0;
    for (int tier = XENT_TIER_SCALAR; tier < XENT_TIER_COUNT; tier++) {
        for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
            struct subject *subject = &subjects[count];
            subject->kernel = (enum kernel)kernel;
            subject->tier = (xent_tier)tier;
            snprintf(subject->name, sizeof subject->name, "%s %s", xent_tier_name(subject->tier), kernel_name(subject->kernel));
            tests[count++] = (struct CMUnitTest){subject->name, guard, NULL, NULL, subject};
        }
    }
    return check_run("guard pages, types", tests, count, argc, argv);
}
