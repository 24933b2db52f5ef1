/* Bad tensors, structs and options: for each function and each thing that a caller can get
 * wrong, the status, the argument blamed, and nothing written. Bad values, that is labels and
 * probabilities, are in test_errors_values. */
#include <stdio.h>
#include <string.h>

#include "arguments.h"

static struct call call;

static void make(enum kernel kernel)
{
    call_make(&call, kernel, XENT_TIER_SCALAR);
}

/* What is wrong, for the message. */
static const char *what(const char *format, ...)
{
    static char text[128];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return text;
}

/* ---- Tensors: each argument of each kernel in turn ------------------------------------- */

struct subject {
    void (*test)(enum kernel kernel, int index);
};

static void for_each_argument(void **subject)
{
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
        make((enum kernel)kernel);
        const int count = call.count;
        for (int i = 0; i < count; i++) {
            ((const struct subject *)*subject)->test((enum kernel)kernel, i);
        }
    }
}

static void valid_calls_pass(void **state)
{
    (void)state;
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
        make((enum kernel)kernel);
        assert_status(call_invoke(&call), XENT_OK, &call.error);
        for (int i = 0; i < call.count; i++) { /* and without what is optional */
            make((enum kernel)kernel);
            call.arguments[i].passed = call.arguments[i].required;
            assert_status(call_invoke(&call), XENT_OK, &call.error);
        }
    }
}

static void null_argument(enum kernel kernel, int i)
{
    make(kernel);
    struct argument *a = &call.arguments[i];
    if (a->required) {
        a->passed = false;
        assert_refused(&call, XENT_ERROR_NULL, a->name, what("%s NULL", a->name));
    }
    make(kernel);
    a->tensor.data = NULL;
    assert_refused(&call, XENT_ERROR_NULL, a->name, what("%s.data NULL", a->name));
    make(kernel);
    a->tensor.shape = NULL;
    assert_refused(&call, XENT_ERROR_NULL, a->name, what("%s.shape NULL", a->name));
}

/* The first tensor may be of any floating type, after which the others go. */
static unsigned legal_dtypes(enum kernel kernel, int i)
{
    const struct argument *a = &call.arguments[i];
    if (i == 0) {
        return 1u << XENT_F32 | 1u << XENT_F64 | 1u << XENT_F16 | 1u << XENT_BF16;
    }
    const bool index = (a->dtypes & 1u << XENT_I64) != 0;
    return a->dtypes | (index ? 1u << XENT_U8 : 0) | (index && kernel == KERNEL_cross_entropy ? 1u << XENT_F32 : 0);
}

static void wrong_dtype(enum kernel kernel, int i)
{
    static const int dtypes[] = {-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33, 1000, INT32_MAX, INT32_MIN};
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        make(kernel);
        struct argument *a = &call.arguments[i];
        if (dtypes[d] < 0 || dtypes[d] > 31 || (legal_dtypes(kernel, i) >> dtypes[d] & 1u) == 0) {
            a->tensor.dtype = (xent_dtype)dtypes[d];
            assert_refused(&call, XENT_ERROR_DTYPE, a->name, what("%s.dtype %d", a->name, dtypes[d]));
        }
    }
}

static void wrong_ndim(enum kernel kernel, int i)
{
    static const int32_t ndims[] = {-1, 9, 10, INT32_MAX, INT32_MIN};
    for (size_t n = 0; n < sizeof ndims / sizeof *ndims; n++) {
        make(kernel);
        struct argument *a = &call.arguments[i];
        a->tensor.ndim = ndims[n];
        assert_refused(&call, XENT_ERROR_SHAPE, a->name, what("%s.ndim %d", a->name, (int)ndims[n]));
    }
    make(kernel);
    struct argument *a = &call.arguments[i];
    for (int32_t dim = a->tensor.ndim; dim < XENT_MAX_NDIM; dim++) {
        a->shape[dim] = a->strides[dim] = 1;
    }
    a->tensor.ndim++; /* one dimension of one element more than fits with the others */
    assert_refused(&call, XENT_ERROR_SHAPE, NULL, what("%s.ndim one more", a->name));
}

static void wrong_shape(enum kernel kernel, int i)
{
    const int64_t negative[] = {-1, -4, INT64_MIN};
    make(kernel);
    for (int32_t dim = 0; dim < call.arguments[i].tensor.ndim; dim++) {
        struct argument *a = &call.arguments[i];
        for (size_t n = 0; n < sizeof negative / sizeof *negative; n++) {
            make(kernel);
            a->shape[dim] = negative[n];
            assert_refused(&call, XENT_ERROR_SHAPE, a->name,
                           what("%s.shape[%d] %lld", a->name, (int)dim, (long long)negative[n]));
        }
        const int changes[] = {1, -1, 100};
        for (int c = 0; c < 3; c++) {
            make(kernel);
            if (call.count > 1) {
                a->shape[dim] += changes[c];
                a->tensor.strides = NULL;
                assert_refused(&call, XENT_ERROR_SHAPE, NULL,
                               what("%s.shape[%d] %+d", a->name, (int)dim, changes[c]));
            }
        }
    }
}

static void overflowing_size(enum kernel kernel, int i)
{
    const int64_t huge[] = {INT64_MAX, INT64_C(1) << 62, INT64_C(1) << 61, INT64_C(1) << 32};
    for (size_t h = 0; h < sizeof huge / sizeof *huge; h++) {
        for (int broadcast = 0; broadcast < 2; broadcast++) {
            make(kernel);
            struct argument *a = &call.arguments[i];
            for (int32_t dim = 0; dim < a->tensor.ndim; dim++) {
                a->shape[dim] = huge[h];
            }
            if (a->tensor.ndim < 2 && huge[h] < INT64_C(1) << 61) {
                continue; /* one dimension of 2^32 fits */
            }
            const int64_t none[XENT_MAX_NDIM] = {0};
            a->tensor.strides = broadcast ? none : NULL;
            assert_refused(&call, XENT_ERROR_OVERFLOW, a->name,
                           what("%s of %lld in each dimension", a->name, (long long)huge[h]));
        }
    }
}

static void overflowing_address(enum kernel kernel, int i)
{
    const int64_t strides[] = {INT64_MAX,     INT64_MIN,           INT64_MAX / 2,       INT64_MAX / 3,
                               INT64_MIN / 2, -(INT64_C(1) << 61), INT64_C(1) << 61,    (INT64_C(1) << 62) + 1,
                               INT64_MAX / 4, INT64_C(1) << 60,    -(INT64_C(1) << 60)};
    for (size_t s = 0; s < sizeof strides / sizeof *strides; s++) {
        make(kernel);
        struct argument *a = &call.arguments[i];
        a->strides[0] = strides[s];
        assert_refused(&call, XENT_ERROR_OVERFLOW, a->name,
                       what("%s.strides[0] %lld", a->name, (long long)strides[s]));
    }
    make(kernel);
    struct argument *a = &call.arguments[i];
    a->tensor.data = (void *)(UINTPTR_MAX - 7); /* ends beyond the last address */
    assert_refused(&call, XENT_ERROR_OVERFLOW, a->name, what("%s at the last address", a->name));
    make(kernel);
    a->tensor.data = (void *)(uintptr_t)4; /* begins before address 0 */
    a->strides[0] = -a->strides[0];
    assert_refused(&call, XENT_ERROR_OVERFLOW, a->name, what("%s before address 0", a->name));
}

static void self_overlap(enum kernel kernel, int i)
{
    const int64_t strides[][2] = {{0, 1}, {1, 1}, {2, 1}, {-1, 1}, {1, 0}, {0, 0}, {2, -1}, {1, 3}, {3, 2}};
    for (size_t s = 0; s < sizeof strides / sizeof *strides; s++) {
        make(kernel);
        struct argument *a = &call.arguments[i];
        if (a->is_output && (a->tensor.ndim == 2 || strides[s][0] == 0)) {
            a->strides[0] = strides[s][0];
            a->strides[1] = strides[s][1];
            assert_refused(&call, XENT_ERROR_STRIDES, a->name,
                           what("%s.strides (%d, %d)", a->name, (int)strides[s][0], (int)strides[s][1]));
        }
    }
}

/* An output one element into another tensor, at its end, or over it in another order; and an
 * output exactly over another output. */
static void overlap(enum kernel kernel, int i)
{
    make(kernel);
    struct argument *a = &call.arguments[i];
    for (int j = 0; j < call.count; j++) {
        struct argument *other = &call.arguments[j];
        if (j == i || !a->is_output) {
            continue;
        }
        make(kernel);
        a->tensor.data = (unsigned char *)other->tensor.data + 4;
        assert_refused(&call, XENT_ERROR_OVERLAP, NULL, what("%s one element into %s", a->name, other->name));
        make(kernel);
        a->tensor.data = (unsigned char *)other->tensor.data - 4;
        assert_refused(&call, XENT_ERROR_OVERLAP, NULL, what("%s one element before %s", a->name, other->name));
        make(kernel);
        a->tensor.data = (unsigned char *)other->tensor.data + 2;
        assert_refused(&call, XENT_ERROR_OVERLAP, NULL, what("%s half an element into %s", a->name, other->name));
        make(kernel);
        a->tensor.data = other->tensor.data;
        if (other->is_output || other->tensor.ndim != a->tensor.ndim || (other->dtypes & 1u << XENT_F32) == 0) {
            assert_refused(&call, XENT_ERROR_OVERLAP, NULL, what("%s over %s", a->name, other->name));
        }
        if (a->tensor.ndim == 2) {
            make(kernel);
            a->tensor.data = other->tensor.data;
            a->strides[0] = 1;
            a->strides[1] = CALL_ROWS;
            assert_refused(&call, XENT_ERROR_OVERLAP, NULL, what("%s over %s, transposed", a->name, other->name));
        }
    }
}

/* ---- Structs ------------------------------------------------------------------------------- */

static void refuse_size(enum kernel kernel, size_t *(*size_of)(struct call *), const char *argument)
{
    make(kernel);
    const size_t right = *size_of(&call), wrong[] = {0, 1, 8, right - 1, right - 8, right + 1, right + 8, SIZE_MAX};
    for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
        make(kernel);
        *size_of(&call) = wrong[w];
        assert_refused(&call, XENT_ERROR_STRUCT_SIZE, argument, what("%s.size %zu", argument, wrong[w]));
    }
}

static size_t *execution_size(struct call *c)
{
    return &c->execution.size;
}

static void struct_sizes(void **state)
{
    (void)state;
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
        refuse_size((enum kernel)kernel, call_options_size, "options");
        refuse_size((enum kernel)kernel, execution_size, "execution");
        make((enum kernel)kernel);
        if (call_has_outputs(&call)) {
            refuse_size((enum kernel)kernel, call_outputs_size, "outputs");
            make((enum kernel)kernel);
            call.pass_outputs = false;
            assert_refused(&call, XENT_ERROR_NULL, "outputs", "outputs NULL");
        }
    }
}

static void init_functions(void **state)
{
    (void)state;
    xent_softmax_options softmax;
    xent_cross_entropy_options loss;
    xent_elementwise_options elementwise;
    xent_bce_options bce;
    assert_int_equal(xent_softmax_options_init(NULL, sizeof softmax), XENT_ERROR_NULL);
    assert_int_equal(xent_cross_entropy_options_init(NULL, sizeof loss), XENT_ERROR_NULL);
    assert_int_equal(xent_elementwise_options_init(NULL, sizeof elementwise), XENT_ERROR_NULL);
    assert_int_equal(xent_bce_options_init(NULL, sizeof bce), XENT_ERROR_NULL);
    guarded_fill(&loss, sizeof loss);
    const xent_cross_entropy_options before = loss;
    const ptrdiff_t wrong[] = {1, 8, 4096, -1, -8};
    for (int i = 0; i < 8; i++) { /* off the right size, and hardly any */
#define SIZE(options) (i < 5 ? (size_t)((ptrdiff_t)sizeof options + wrong[i]) : (size_t)i - 5)
        assert_int_equal(xent_softmax_options_init(&softmax, SIZE(softmax)), XENT_ERROR_STRUCT_SIZE);
        assert_int_equal(xent_cross_entropy_options_init(&loss, SIZE(loss)), XENT_ERROR_STRUCT_SIZE);
        assert_int_equal(xent_elementwise_options_init(&elementwise, SIZE(elementwise)), XENT_ERROR_STRUCT_SIZE);
        assert_int_equal(xent_bce_options_init(&bce, SIZE(bce)), XENT_ERROR_STRUCT_SIZE);
#undef SIZE
    }
    assert_memory_equal(&loss, &before, sizeof loss);
}

/* ---- Options --------------------------------------------------------------------------------- */

static void wrong_axis(void **state)
{
    (void)state;
    const int32_t axes[] = {2, 3, -3, 8, INT32_MAX, INT32_MIN + 1};
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
        for (size_t a = 0; a < sizeof axes / sizeof *axes; a++) {
            make((enum kernel)kernel);
            if (call_has_axis(&call)) {
                call.softmax.axis = call.cross_entropy.axis = axes[a];
                assert_refused(&call, XENT_ERROR_AXIS, "axis", what("axis %d", (int)axes[a]));
            }
        }
    }
}

static void wrong_reduction(void **state)
{
    (void)state;
    const int reductions[] = {-1, 3, 99, INT32_MAX, INT32_MIN};
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
        for (size_t r = 0; r < sizeof reductions / sizeof *reductions; r++) {
            make((enum kernel)kernel);
            if (call_has_reduction(&call)) {
                call.cross_entropy.reduction = call.bce.reduction = (xent_reduction)reductions[r];
                assert_refused(&call, XENT_ERROR_REDUCTION, "reduction", what("reduction %d", reductions[r]));
            }
        }
    }
}

static void wrong_tier(void **state)
{
    (void)state;
    const int tiers[] = {1, 2, 3, 4, 5, 6, XENT_TIER_COUNT, 31, 32, 99, -1, INT32_MAX, INT32_MIN};
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
        for (size_t t = 0; t < sizeof tiers / sizeof *tiers; t++) {
            const bool known = tiers[t] > 0 && tiers[t] < XENT_TIER_COUNT;
            if (!known || !check_tier_available((xent_tier)tiers[t])) {
                call_make(&call, (enum kernel)kernel, (xent_tier)tiers[t]);
                assert_refused(&call, XENT_ERROR_TIER, "execution", what("tier %d", tiers[t]));
            }
        }
    }
}

/* What one function has and its neighbour has not. */
static void options_of_others(void **state)
{
    (void)state;
    const enum kernel no_gradient[] = {KERNEL_softmax, KERNEL_log_softmax, KERNEL_softmax_backward,
                                       KERNEL_log_softmax_backward};
    const float one = 1;
    const xent_tensor scalar = {(void *)(uintptr_t)&one, XENT_F32, 0, NULL, NULL};
    for (int i = 0; i < 4; i++) {
        make(no_gradient[i]);
        call.softmax.output_gradient = &scalar;
        assert_refused(&call, XENT_ERROR_VALUE, "output_gradient", "options.output_gradient");
    }
    for (int i = 2; i < 4; i++) {
        make(no_gradient[i]);
        call.softmax.state = call.state;
        assert_refused(&call, XENT_ERROR_VALUE, "state", "options.state of a backward function");
    }
    make(KERNEL_nll);
    call.cross_entropy.state = call.state;
    assert_refused(&call, XENT_ERROR_VALUE, "state", "options.state of NLL");
    make(KERNEL_nll);
    call.loss_outputs.state = call.state;
    assert_refused(&call, XENT_ERROR_VALUE, "state", "outputs.state of NLL");
    make(KERNEL_nll);
    float lse[CALL_ROWS];
    const int64_t shape[] = {CALL_ROWS};
    const xent_tensor lse_tensor = {lse, XENT_F32, 1, shape, NULL};
    call.loss_outputs.lse = &lse_tensor;
    assert_refused(&call, XENT_ERROR_VALUE, "lse", "outputs.lse of NLL");
    make(KERNEL_bce);
    call.bce.pos_weight = &scalar;
    assert_refused(&call, XENT_ERROR_VALUE, "pos_weight", "pos_weight without logits");
}

/* A reduced loss has one incoming gradient. */
static void a_gradient_a_row_of_a_reduced_loss(void **state)
{
    (void)state;
    const enum kernel losses[] = {KERNEL_cross_entropy, KERNEL_nll, KERNEL_bce, KERNEL_bce_with_logits};
    for (int i = 0; i < 4; i++) {
        for (int reduction = XENT_REDUCTION_MEAN; reduction <= XENT_REDUCTION_SUM; reduction++) {
            make(losses[i]);
            call.cross_entropy.reduction = call.bce.reduction = (xent_reduction)reduction;
            assert_refused(&call, XENT_ERROR_SHAPE, "output_gradient", "one gradient a row");
        }
    }
}

static void no_error_struct_is_needed(void **state)
{
    (void)state;
    const float x = 0;
    float y = 7;
    const xent_tensor in = {(void *)(uintptr_t)&x, XENT_F64, 0, NULL, NULL}, out = {&y, XENT_F32, 0, NULL, NULL};
    assert_int_equal(xent_sigmoid(&in, NULL, &out, NULL), XENT_ERROR_DTYPE);
    assert_int_equal(xent_sigmoid(NULL, NULL, &out, NULL), XENT_ERROR_NULL);
    assert_same(y, 7);
}

static void every_status_has_a_text(void **state)
{
    (void)state;
    for (int status = XENT_OK; status <= XENT_ERROR_TIER; status++) {
        assert_true(strlen(xent_status_string((xent_status)status)) > 0);
    }
    assert_non_null(xent_status_string((xent_status)999));
    assert_non_null(xent_status_string((xent_status)-1));
    assert_null(xent_tier_name((xent_tier)99));
    assert_string_equal(xent_tier_name(XENT_TIER_NEON_SIMDE), "neon-simde");
    assert_string_equal(xent_tier_name(XENT_TIER_AUTO), "auto");
}

#define each_argument(test) {#test, for_each_argument, NULL, NULL, &(struct subject) { test }}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_calls_pass),
        each_argument(null_argument),
        each_argument(wrong_dtype),
        each_argument(wrong_ndim),
        each_argument(wrong_shape),
        each_argument(overflowing_size),
        each_argument(overflowing_address),
        each_argument(self_overlap),
        each_argument(overlap),
        cmocka_unit_test(struct_sizes),
        cmocka_unit_test(init_functions),
        cmocka_unit_test(wrong_axis),
        cmocka_unit_test(wrong_reduction),
        cmocka_unit_test(wrong_tier),
        cmocka_unit_test(options_of_others),
        cmocka_unit_test(a_gradient_a_row_of_a_reduced_loss),
        cmocka_unit_test(no_error_struct_is_needed),
        cmocka_unit_test(every_status_has_a_text),
    };
    return check_run("errors", tests, sizeof tests / sizeof *tests, argc, argv);
}
