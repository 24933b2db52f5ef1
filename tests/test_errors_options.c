/* Options out of range or that don't go together, and dtypes that don't go beside the logits':
 * the status, the argument blamed, and nothing written. Losses that are not finite are reported
 * where the caller asks for it, and then everything is written. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arguments.h"
#include "calls.h"
#include "vector/half.h"

static struct call call;

static void make(enum kernel kernel)
{
    call_make(&call, kernel, XENT_TIER_SCALAR);
}

/* One more output, of one value a row, that is watched as the others are. */
static const xent_tensor *extra(xent_dtype dtype)
{
    struct argument *a = &call.arguments[call.count++];
    assert_true(call.count <= MAX_ARGUMENTS);
    *a = (struct argument){.name = "extra", .is_output = true, .passed = true};
    a->shape[0] = CALL_ROWS;
    a->tensor = (xent_tensor){a->memory + ARGUMENT_BYTES / 2, dtype, 1, a->shape, NULL};
    guarded_fill(a->memory, sizeof a->memory);
    return &a->tensor;
}

/* ---- Values ---------------------------------------------------------------------------- */

struct wrong {
    size_t offset; /* of the option */
    double value;
    xent_status status;
    const char *argument;
};

#define WRONG(options, member, value, status) {offsetof(xent_##options##_options, member), (value), XENT_ERROR_##status, #member}

static void refuse_doubles(enum kernel kernel, const struct wrong *wrong, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        make(kernel);
        char what[96];
        snprintf(what, sizeof what, "%s %g", wrong[i].argument, wrong[i].value);
        call.bce.pos_weight = NULL;
        const bool binary = kernel == KERNEL_bce || kernel == KERNEL_bce_with_logits;
        memcpy((char *)(binary ? (void *)&call.bce : &call.cross_entropy) + wrong[i].offset, &wrong[i].value, sizeof(double));
        assert_refused(&call, wrong[i].status, wrong[i].argument, what);
    }
}

static void doubles_out_of_range(void **state)
{
    (void)state;
    const double nan = (double)NAN, inf = (double)INFINITY, least = 5e-324;
    const struct wrong loss[] = {
        WRONG(cross_entropy, label_smoothing, -0.1, VALUE), WRONG(cross_entropy, label_smoothing, 1.1, VALUE),
        WRONG(cross_entropy, label_smoothing, nan, VALUE),  WRONG(cross_entropy, label_smoothing, inf, VALUE),
        WRONG(cross_entropy, label_smoothing, -least, VALUE), WRONG(cross_entropy, label_smoothing, 1 + 0x1p-52, VALUE),
        WRONG(cross_entropy, z_loss, inf, VALUE),           WRONG(cross_entropy, z_loss, -inf, VALUE),
        WRONG(cross_entropy, z_loss, nan, VALUE),           WRONG(cross_entropy, softcap, -1, VALUE),
        WRONG(cross_entropy, softcap, -least, VALUE),       WRONG(cross_entropy, softcap, nan, VALUE),
        WRONG(cross_entropy, softcap, inf, VALUE),          WRONG(cross_entropy, focal_gamma, -2, VALUE),
        WRONG(cross_entropy, focal_gamma, -least, VALUE),   WRONG(cross_entropy, focal_gamma, nan, VALUE),
        WRONG(cross_entropy, focal_gamma, inf, VALUE),
    };
    const struct wrong binary[] = {
        WRONG(bce, label_smoothing, -0.1, VALUE), WRONG(bce, label_smoothing, 1.1, VALUE), WRONG(bce, label_smoothing, nan, VALUE),
        WRONG(bce, label_smoothing, -least, VALUE), WRONG(bce, focal_gamma, -1, VALUE), WRONG(bce, focal_gamma, nan, VALUE),
        WRONG(bce, focal_gamma, inf, VALUE),      WRONG(bce, focal_alpha, -0.5, VALUE),    WRONG(bce, focal_alpha, 1.1, VALUE),
        WRONG(bce, focal_alpha, nan, VALUE),      WRONG(bce, focal_alpha, -2, VALUE),
        WRONG(bce, focal_gamma, 2, VALUE), /* which on probabilities, or beside pos_weight, is no loss */
    };
    const struct wrong nll[] = {
        WRONG(cross_entropy, label_smoothing, 0.1, VALUE), WRONG(cross_entropy, z_loss, 1e-4, VALUE),
        WRONG(cross_entropy, softcap, 30, VALUE),          WRONG(cross_entropy, focal_gamma, 2, VALUE),
    };
    refuse_doubles(KERNEL_cross_entropy, loss, sizeof loss / sizeof *loss);
    refuse_doubles(KERNEL_nll, loss, sizeof loss / sizeof *loss);
    refuse_doubles(KERNEL_nll, nll, sizeof nll / sizeof *nll);
    refuse_doubles(KERNEL_bce, binary, sizeof binary / sizeof *binary);
    refuse_doubles(KERNEL_bce_with_logits, binary, sizeof binary / sizeof *binary);
}

static void divisor_kinds(void **state)
{
    (void)state;
    const enum kernel kernels[] = {KERNEL_cross_entropy, KERNEL_nll, KERNEL_bce, KERNEL_bce_with_logits};
    const int kinds[] = {-1, 3, 99, INT32_MAX, INT32_MIN};
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < 5; i++) {
            make(kernels[k]);
            call.cross_entropy.divisor_kind = call.bce.divisor_kind = (xent_divisor)kinds[i];
            assert_refused(&call, XENT_ERROR_VALUE, "divisor_kind", "divisor_kind");
        }
    }
}

/* ---- What does not go together ------------------------------------------------------------ */

static void make_indices(void)
{
    make(KERNEL_cross_entropy);
}

static void make_distribution(void)
{
    make_indices();
    struct argument *target = call_argument(&call, "target");
    target->tensor.dtype = XENT_F32;
    target->tensor.ndim = 2;
    target->strides[0] = CALL_CLASSES;
    target->strides[1] = 1;
}

static void focal_loss_stands_alone(void **state)
{
    (void)state;
    make(KERNEL_cross_entropy);
    call.cross_entropy.focal_gamma = 2;
    call.cross_entropy.label_smoothing = 0.1;
    assert_refused(&call, XENT_ERROR_VALUE, "focal_gamma", "focal loss with smoothing");
    make_distribution();
    assert_status(call_invoke(&call), XENT_OK, &call.error);
    make_distribution();
    call.cross_entropy.focal_gamma = 2;
    assert_refused(&call, XENT_ERROR_VALUE, "focal_gamma", "focal loss of a distribution");
    make(KERNEL_bce_with_logits);
    call_argument(&call, "pos_weight")->passed = false;
    call.bce.focal_gamma = 2;
    assert_status(call_invoke(&call), XENT_OK, &call.error);
}

static void outputs_that_need_a_kind_of_target(void **state)
{
    (void)state;
    make(KERNEL_cross_entropy);
    xent_tensor t = *extra(XENT_F32);
    t.ndim = 2;
    call.arguments[call.count - 1].shape[1] = CALL_CLASSES;
    call.loss_outputs.target_gradient = &t;
    assert_refused(&call, XENT_ERROR_VALUE, "target_gradient", "target_gradient of indices");
    make_distribution();
    call.loss_outputs.correct = extra(XENT_U8);
    assert_refused(&call, XENT_ERROR_VALUE, "correct", "correct of a distribution");
    make_distribution();
    call.loss_outputs.correct_count = (int64_t *)extra(XENT_I64)->data;
    assert_refused(&call, XENT_ERROR_VALUE, "correct", "correct_count of a distribution");
    make_distribution();
    call.loss_outputs.target_logit = extra(XENT_F32);
    assert_refused(&call, XENT_ERROR_VALUE, "target_logit", "target_logit of a distribution");
}

/* Softmax's outputs, of NLL: each in turn. */
static void nll_has_no_softmax(void **state)
{
    (void)state;
    static const char *const names[] = {"lse", "z_loss", "entropy", "argmax", "correct", "target_logit", "correct_count", "class_count"};
    for (int i = 0; i < 8; i++) {
        make(KERNEL_nll);
        xent_cross_entropy_outputs *o = &call.loss_outputs;
        const xent_tensor **const outputs[] = {&o->lse, &o->z_loss, &o->entropy, &o->argmax, &o->correct, &o->target_logit};
        const xent_tensor *t = extra(i == 3 || i == 6 ? XENT_I64 : i == 4 ? XENT_U8 : XENT_F32);
        if (i < 6) *outputs[i] = t;
        o->correct_count = i == 6 ? (int64_t *)t->data : NULL;
        call.cross_entropy.class_count = i == 7 ? CALL_CLASSES : 0;
        assert_refused(&call, XENT_ERROR_VALUE, names[i], names[i]);
    }
}

/* ---- Slices -------------------------------------------------------------------------------- */

enum { ALL_CLASSES = 7, OFFSET = 2 };

/* A valid call for the state of a slice. */
static void make_slice(bool distribution)
{
    (distribution ? make_distribution : make_indices)();
    call_argument(&call, "loss")->passed = false;
    call_argument(&call, "gradient")->passed = false;
    call_argument(&call, "lse")->passed = false;
    call_argument(&call, "weight")->shape[0] = ALL_CLASSES;
    call.loss_outputs.sum = call.loss_outputs.mean = NULL;
    call.cross_entropy.class_count = ALL_CLASSES;
    call.cross_entropy.class_offset = OFFSET;
}

static void refuse_slice(xent_status status, const char *argument, const char *what)
{
    call.loss_outputs.divisor = &call.totals[1];
    assert_refused(&call, status, argument, what);
}

static void a_slice_is_not_a_row(void **state)
{
    (void)state;
    make_slice(false);
    assert_status(call_invoke(&call), XENT_OK, &call.error);
    make_slice(true);
    refuse_slice(XENT_ERROR_VALUE, NULL, "a slice, probability targets");
    const char *const names[] = {"smoothing", "focal loss", "report_non_finite", "loss", "sum", "mean", "entropy", "argmax", "correct",
                                 "correct_count", "gradient without the merged states"};
    for (int i = 0; i < 11; i++) {
        make_slice(false);
        xent_cross_entropy_options *o = &call.cross_entropy;
        xent_cross_entropy_outputs *w = &call.loss_outputs;
        switch (i) {
        case 0: o->label_smoothing = 0.1; break;
        case 1: o->focal_gamma = 2; break;
        case 2: o->report_non_finite = 1; break;
        case 3: call_argument(&call, "loss")->passed = true; break;
        case 4: w->sum = &call.totals[0]; break;
        case 5: w->mean = &call.totals[2]; break;
        case 6: w->entropy = extra(XENT_F32); break;
        case 7: w->argmax = extra(XENT_I64); break;
        case 8: w->correct = extra(XENT_U8); break;
        case 9: w->correct_count = (int64_t *)extra(XENT_I64)->data; break;
        default: call_argument(&call, "gradient")->passed = true; break;
        }
        refuse_slice(XENT_ERROR_VALUE, NULL, names[i]);
    }
}

static void slices_lie_within_the_row(void **state)
{
    (void)state;
    const int64_t wrong[][2] = {{-1, 7}, {5, 7}, {7, 7}, {8, 7}, {0, 2}, {0, -1}, {0, INT64_MIN}, {INT64_MAX, 7}, {INT64_MIN, 7},
                                {INT64_MAX, INT64_MAX}, {INT64_MAX - 1, INT64_MAX}, {-1, INT64_MAX}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        make_slice(false);
        call_argument(&call, "weight")->passed = false;
        call.cross_entropy.class_offset = wrong[i][0];
        call.cross_entropy.class_count = wrong[i][1];
        char what[64];
        snprintf(what, sizeof what, "class_offset %lld of %lld", (long long)wrong[i][0], (long long)wrong[i][1]);
        refuse_slice(XENT_ERROR_SHAPE, "class_", what);
    }
    make_slice(false);
    call.cross_entropy.class_count = 0;
    call_argument(&call, "weight")->shape[0] = CALL_CLASSES;
    refuse_slice(XENT_ERROR_VALUE, "class_offset", "class_offset without class_count");
    make_slice(false);
    call_argument(&call, "weight")->shape[0] = CALL_CLASSES;
    refuse_slice(XENT_ERROR_SHAPE, "weight", "weights of the slice alone");
    make_slice(false);
    ((int64_t *)call_argument(&call, "target")->tensor.data)[3] = ALL_CLASSES;
    refuse_slice(XENT_ERROR_TARGET, "target", "a target beyond all classes");
    assert_int_equal(call.error.row, 3);
    assert_same(call.error.value, ALL_CLASSES);
    make_slice(false);
    ((int64_t *)call_argument(&call, "target")->tensor.data)[3] = ALL_CLASSES - 1;
    assert_status(call_invoke(&call), XENT_OK, &call.error);
}

/* ---- Dtypes ------------------------------------------------------------------------------------ */

#define BIT(dtype) (1u << XENT_##dtype)

/* What an argument other than the first may be, beside logits of a dtype. */
static unsigned legal(enum kernel kernel, const struct argument *a, xent_dtype dtype)
{
    const bool index = (kernel == KERNEL_cross_entropy || kernel == KERNEL_nll) && strcmp(a->name, "target") == 0;
    const unsigned beside = BIT(F32) | 1u << dtype;
    if (index) return BIT(I64) | BIT(I32) | BIT(U8) | (kernel == KERNEL_cross_entropy ? beside : 0);
    if (!a->is_output) return beside;
    if (strcmp(a->name, "loss") == 0 || strcmp(a->name, "lse") == 0) return dtype == XENT_F64 ? BIT(F64) : beside;
    return strcmp(a->name, "target_gradient") == 0 ? BIT(F32) : 1u << dtype; /* the target is f32 here */
}

static void make_typed(enum kernel kernel, xent_dtype dtype)
{
    make(kernel);
    call.arguments[0].tensor.dtype = dtype;
    guarded_fill(call.arguments[0].memory, ARGUMENT_BYTES);
    memset(call.arguments[0].tensor.data, 0, ARGUMENT_BYTES / 2); /* probabilities, too */
    for (int i = 1; i < call.count; i++) {
        struct argument *a = &call.arguments[i];
        a->tensor.dtype = a->is_output && strcmp(a->name, "target_gradient") != 0 ? dtype : a->tensor.dtype;
    }
}

static void dtypes_beside(void **state)
{
    (void)state;
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
        for (xent_dtype dtype = XENT_F32; dtype <= XENT_BF16; dtype++) {
            make_typed((enum kernel)kernel, dtype);
            assert_status(call_invoke(&call), XENT_OK, &call.error);
            const int count = call.count;
            for (int i = 1; i < count; i++) {
                for (int other = 0; other < 12; other++) {
                    make_typed((enum kernel)kernel, dtype);
                    struct argument *a = &call.arguments[i];
                    char what[96];
                    snprintf(what, sizeof what, "%s of dtype %d beside logits of dtype %d", a->name, other, (int)dtype);
                    if ((legal((enum kernel)kernel, a, dtype) >> other & 1u) == 0) {
                        a->tensor.dtype = (xent_dtype)other;
                        assert_refused(&call, XENT_ERROR_DTYPE, a->name, what);
                    }
                }
            }
        }
    }
}

/* Those that call_make knows nothing of: cross-entropy's row_weight and by-products. */
static void dtypes_of_by_products(void **state)
{
    (void)state;
    static const char *const names[] = {"row_weight", "z_loss", "entropy", "target_logit", "argmax", "correct"};
    for (xent_dtype dtype = XENT_F32; dtype <= XENT_BF16; dtype++) {
        const unsigned beside = BIT(F32) | 1u << dtype, of_rows = dtype == XENT_F64 ? BIT(F64) : beside;
        const unsigned allowed[] = {beside, of_rows, of_rows, of_rows, BIT(I64) | BIT(I32), BIT(U8)};
        for (int i = 0; i < 6; i++) {
            for (int other = 0; other < 12; other++) {
                make_typed(KERNEL_cross_entropy, dtype);
                call_argument(&call, "loss")->passed = call_argument(&call, "lse")->passed = false;
                const xent_tensor *t = extra((xent_dtype)other);
                xent_cross_entropy_outputs *o = &call.loss_outputs;
                const xent_tensor **const places[] = {&call.cross_entropy.row_weight, &o->z_loss, &o->entropy, &o->target_logit, &o->argmax, &o->correct};
                *places[i] = t;
                if ((allowed[i] >> other & 1u) == 0) {
                    assert_refused(&call, XENT_ERROR_DTYPE, names[i], names[i]);
                } else {
                    assert_status(call_invoke(&call), XENT_OK, &call.error);
                }
            }
        }
    }
}

/* ---- Losses that are not finite ------------------------------------------------------------------ */

enum { LONG = 1500, CLASSES = 2 };

struct report {
    float loss[LONG], gradient[LONG * CLASSES];
    double totals[3];
    xent_status status;
    xent_error error;
};

/* Rows of (0, 0) with target 0, or elements 0 with target 1; but for that in row (and a later one, which
 * is not the first), whose logit at the target is value. */
static void call_reporting(struct report *r, enum kernel kernel, xent_dtype dtype, int64_t row, double value, bool is_ignored,
                           bool reports, xent_tier tier)
{
    static double x64[LONG * CLASSES];
    static float x32[LONG * CLASSES];
    static uint16_t x16[LONG * CLASSES];
    static int64_t y[LONG];
    static float t[LONG];
    const bool binary = kernel == KERNEL_bce_with_logits;
    const int64_t width = binary ? 1 : CLASSES;
    for (int64_t i = 0; i < LONG * width; i++) {
        x64[i] = row >= 0 && (i == row * width || (i == (row + 100) * width && !is_ignored)) ? value : 0;
        x32[i] = (float)x64[i];
        x16[i] = dtype == XENT_F16 ? half_to_f16(x32[i]) : half_to_bf16(x32[i]);
    }
    for (int64_t i = 0; i < LONG; i++) {
        y[i] = is_ignored && i == row ? -100 : 0;
        t[i] = 1;
    }
    memset(r, 0, sizeof *r);
    guarded_fill(r->gradient, sizeof r->gradient);
    const void *data = dtype == XENT_F64 ? (const void *)x64 : dtype == XENT_F32 ? (const void *)x32 : x16;
    const int64_t shape[] = {LONG, width};
    const xent_tensor x = {(void *)(uintptr_t)data, dtype, binary ? 1 : 2, shape, NULL};
    const xent_tensor gradient = {r->gradient, dtype, x.ndim, shape, NULL}, *loss = VECTOR(r->loss, XENT_F32, LONG);
    const xent_execution execution = check_execution(tier);
    const bool wants_loss = dtype != XENT_F64 && row % 2 == 0, wants_gradient = dtype != XENT_F64;
    if (binary) {
        xent_bce_options options;
        assert_int_equal(xent_bce_options_init(&options, sizeof options), XENT_OK);
        options.execution = &execution;
        options.report_non_finite = reports;
        const xent_bce_outputs outputs = {sizeof outputs, wants_loss ? loss : NULL, &r->totals[0], &r->totals[1], &r->totals[2], wants_gradient ? &gradient : NULL, NULL};
        r->status = xent_bce_with_logits(&x, VECTOR(t, XENT_F32, LONG), &options, &outputs, &r->error);
        return;
    }
    xent_cross_entropy_options options;
    assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
    options.execution = &execution;
    options.report_non_finite = reports;
    const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .loss = wants_loss ? loss : NULL, .sum = &r->totals[0],
                                                .divisor = &r->totals[1], .mean = &r->totals[2], .gradient = wants_gradient ? &gradient : NULL};
    r->status = (kernel == KERNEL_nll ? xent_nll : xent_cross_entropy)(&x, VECTOR(y, XENT_I64, LONG), &options, &outputs, &r->error);
}

static void non_finite_losses(xent_tier tier)
{
    static struct report with, without;
    const enum kernel kernels[] = {KERNEL_cross_entropy, KERNEL_nll, KERNEL_bce_with_logits};
    const int64_t rows[] = {0, 1, 63, 64, 70, 1023, 1024, LONG - 101, LONG - 1};
    for (int k = 0; k < 3; k++) {
        for (xent_dtype dtype = XENT_F32; dtype <= XENT_BF16; dtype++) {
            for (int i = 0; i < 9 * 3; i++) {
                const int64_t row = rows[i % 9];
                const double value = i < 9 ? -(double)INFINITY : (double)NAN, loss = i < 9 ? (double)INFINITY : (double)NAN;
                const bool is_ignored = i >= 18;
                if (is_ignored && kernels[k] == KERNEL_bce_with_logits) continue;
                call_reporting(&with, kernels[k], dtype, row, value, is_ignored, true, tier);
                call_reporting(&without, kernels[k], dtype, row, value, is_ignored, false, tier);
                assert_status(without.status, XENT_OK, &without.error);
                assert_status(with.status, is_ignored ? XENT_OK : XENT_ERROR_NON_FINITE, &with.error);
                if (!is_ignored) {
                    assert_int_equal(with.error.status, XENT_ERROR_NON_FINITE);
                    assert_non_null(with.error.argument);
                    assert_int_equal(with.error.row, row);
                    assert_same(with.error.value, loss);
                    assert_true(strlen(with.error.message) > 0);
                }
                assert_memory_equal(with.loss, without.loss, sizeof with.loss);
                assert_memory_equal(with.gradient, without.gradient, sizeof with.gradient);
                assert_memory_equal(with.totals, without.totals, sizeof with.totals);
            }
            call_reporting(&with, kernels[k], dtype, -1, 0, false, true, tier);
            assert_status(with.status, XENT_OK, &with.error);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles_out_of_range),
        cmocka_unit_test(divisor_kinds),
        cmocka_unit_test(focal_loss_stands_alone),
        cmocka_unit_test(outputs_that_need_a_kind_of_target),
        cmocka_unit_test(nll_has_no_softmax),
        cmocka_unit_test(a_slice_is_not_a_row),
        cmocka_unit_test(slices_lie_within_the_row),
        cmocka_unit_test(dtypes_beside),
        cmocka_unit_test(dtypes_of_by_products),
        on_every_tier(non_finite_losses),
    };
    return check_run("errors, options", tests, sizeof tests / sizeof *tests, argc, argv);
}
