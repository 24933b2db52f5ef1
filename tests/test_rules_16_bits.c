/* Results of 16 bits, bit by bit, in bf16 and in f16, on every tier: rounded once, to nearest even,
 * subnormal results kept, and what is beyond the largest number infinite. The expected bits were
 * computed from the formulas alone, in 80 digits; none is nearer to a tie than the error that xent.h
 * allows, but where the result before it is rounded is exact. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "rules.h"

static const xent_dtype dtypes[] = {XENT_BF16, XENT_F16};

static xent_tensor tensor_of(const void *data, xent_dtype dtype, int32_t ndim, const int64_t *shape)
{
    return (xent_tensor){(void *)(uintptr_t)data, dtype, ndim, shape, NULL};
}

static void assert_bits(const char *what, xent_dtype dtype, const uint16_t *got, const uint16_t *expected, int count)
{
    for (int i = 0; i < count; i++)
        if (got[i] != expected[i]) fail_msg("%s[%d], %s: 0x%04x, not 0x%04x", what, i, dtype == XENT_F16 ? "f16" : "bf16", got[i], expected[i]);
}

static void put_all(uint16_t *to, xent_dtype dtype, const double *values, int count)
{
    for (int i = 0; i < count; i++) element_put(to, dtype, i, values[i]);
}

/* ---- Exact values, rounded -------------------------------------------------------------- */

enum { VALUES = 20 };

struct rounding {
    float value;
    uint16_t bits;
};

static const struct rounding roundings[2][VALUES] = {
    {
        {0x1.01p0f, 0x3f80}, /* ties */
        {0x1.03p0f, 0x3f82},
        {0x1.010002p0f, 0x3f81}, /* and beside one */
        {0x1.00fffep0f, 0x3f80},
        {0x1.fep127f, 0x7f7f}, /* the largest number */
        {0x1.fefffep127f, 0x7f7f},
        {0x1.ffp127f, 0x7f80},
        {FLT_MAX, 0x7f80},
        {-FLT_MAX, 0xff80},
        {INFINITY, 0x7f80},
        {0x1p-126f, 0x0080}, /* the smallest normal number */
        {0x1.fep-127f, 0x0080},
        {0x1.fcp-127f, 0x007f},
        {0x1p-133f, 0x0001}, /* the smallest of all */
        {0x1p-134f, 0x0000},
        {0x1.8p-133f, 0x0002},
        {0x1.008p-134f, 0x0001},
        {-0x1.8p-133f, 0x8002},
        {0x1p-149f, 0x0000},
        {-0x1p-149f, 0x8000},
    },
    {
        {0x1.002p0f, 0x3c00},
        {0x1.006p0f, 0x3c02},
        {0x1.002002p0f, 0x3c01},
        {0x1.001ffep0f, 0x3c00},
        {65504, 0x7bff},
        {0x1.ffdffep15f, 0x7bff},
        {65520, 0x7c00},
        {1e6f, 0x7c00},
        {-65520, 0xfc00},
        {INFINITY, 0x7c00},
        {0x1p-14f, 0x0400},
        {0x1.ffcp-15f, 0x0400},
        {0x1.ff8p-15f, 0x03ff},
        {0x1p-24f, 0x0001},
        {0x1p-25f, 0x0000},
        {0x1.8p-24f, 0x0002},
        {0x1.000002p-25f, 0x0001},
        {-0x1.8p-24f, 0x8002},
        {0x1p-30f, 0x0000},
        {-0x1p-30f, 0x8000},
    },
};

/* The backward of log-sigmoid at -inf is the incoming gradient, whole vectors of them and a rest. */
static void gradients_of_elements(xent_tier tier)
{
    enum { COUNT = 2 * VALUES + 1 };
    static const int64_t shape[] = {COUNT};
    const xent_execution execution = check_execution(tier);
    const xent_elementwise_options options = {sizeof options, &execution};
    for (int d = 0; d < 2; d++) {
        float incoming[COUNT];
        uint16_t x[COUNT], got[COUNT], expected[COUNT];
        for (int i = 0; i < COUNT; i++) {
            element_put(x, dtypes[d], i, -(double)INFINITY);
            incoming[i] = roundings[d][i % VALUES].value;
            expected[i] = roundings[d][i % VALUES].bits;
        }
        const xent_tensor in = tensor_of(x, dtypes[d], 1, shape), g = tensor_of(incoming, XENT_F32, 1, shape), out = tensor_of(got, dtypes[d], 1, shape);
        xent_error error = {0};
        assert_status(xent_log_sigmoid_backward(&in, &g, &options, &out, &error), XENT_OK, &error);
        assert_bits("gradient", dtypes[d], got, expected, COUNT);
    }
}

/* NLL of -1 is the weight, and its gradient less the weight. */
static void nll_and_its_gradient(xent_tier tier)
{
    static const int64_t rows[] = {VALUES}, shape[] = {VALUES, VALUES};
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        float weights[VALUES];
        int64_t labels[VALUES];
        uint16_t x[VALUES * VALUES], loss[VALUES], gradient[VALUES * VALUES], expected_loss[VALUES], expected[VALUES * VALUES] = {0};
        for (int i = 0; i < VALUES; i++) {
            labels[i] = i;
            weights[i] = roundings[d][i].value;
            expected_loss[i] = roundings[d][i].bits;
            expected[i * VALUES + i] = expected_loss[i] ^ 0x8000;
        }
        for (int i = 0; i < VALUES * VALUES; i++) element_put(x, dtypes[d], i, -1);
        const xent_tensor in = tensor_of(x, dtypes[d], 2, shape), target = tensor_of(labels, XENT_I64, 1, rows), w = tensor_of(weights, XENT_F32, 1, rows);
        const xent_tensor out = tensor_of(loss, dtypes[d], 1, rows), slope = tensor_of(gradient, dtypes[d], 2, shape);
        xent_cross_entropy_options options;
        assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
        options.execution = &execution;
        options.reduction = XENT_REDUCTION_SUM;
        options.weight = &w;
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .loss = &out, .gradient = &slope};
        xent_error error = {0};
        assert_status(xent_nll(&in, &target, &options, &outputs, &error), XENT_OK, &error);
        assert_bits("loss", dtypes[d], loss, expected_loss, VALUES);
        assert_bits("gradient", dtypes[d], gradient, expected, VALUES * VALUES);
    }
}

/* NaN stays NaN. */
static void nan_stays(xent_tier tier)
{
    enum { COUNT = 21 };
    static const int64_t shape[] = {COUNT};
    const xent_execution execution = check_execution(tier);
    const xent_elementwise_options options = {sizeof options, &execution};
    for (int d = 0; d < 2; d++) {
        float incoming[COUNT];
        uint16_t x[COUNT], got[COUNT];
        for (int i = 0; i < COUNT; i++) {
            const uint32_t bits = i % 2 == 0 ? 0x7fffffff : 0xffffffff; /* which rounded up would be zeros */
            memcpy(&incoming[i], &bits, sizeof bits);
            element_put(x, dtypes[d], i, -(double)INFINITY);
        }
        const xent_tensor in = tensor_of(x, dtypes[d], 1, shape), g = tensor_of(incoming, XENT_F32, 1, shape), out = tensor_of(got, dtypes[d], 1, shape);
        xent_error error = {0};
        assert_status(xent_log_sigmoid_backward(&in, &g, &options, &out, &error), XENT_OK, &error);
        for (int i = 0; i < COUNT; i++) assert_true(isnan(element_get(got, dtypes[d], i)));
    }
}

/* ---- A long row ---------------------------------------------------------------------------- */

enum { CLASSES = 39 };

static const double long_row[CLASSES] =
    {-4, -0.5, -1, -1.5, -2, 0, -3, -3.5, -2.5, -5, -6, -7, -8, -9, -9.5, -10, -10.5, -11, -11.5, -12, -13, -14, -15,
        -16, -16.5, -17.25, -18, -20, -60, -86, -87, -88, -89, -90, -91, -92, -92.5, -93, -100};
static const uint16_t long_softmax[2][CLASSES] = {
    {0x3bee, 0x3e76, 0x3e15, 0x3db5, 0x3d5c, 0x3ecb, 0x3ca2, 0x3c44, 0x3d05, 0x3b2f, 0x3a81, 0x39bd, 0x390b, 0x384d,
        0x37f9, 0x3797, 0x3737, 0x36de, 0x3687, 0x3623, 0x3570, 0x34b1, 0x3402, 0x333f, 0x32e8, 0x325b, 0x31cf, 0x3060,
        0x1389, 0x00c1, 0x0047, 0x001a, 0x000a, 0x0004, 0x0001, 0x0000, 0x0000, 0x0000, 0x0000},
    {0x1f6e, 0x33b1, 0x30aa, 0x2da8, 0x2add, 0x3657, 0x250d, 0x2220, 0x282a, 0x1978, 0x1406, 0x0deb, 0x085b, 0x0334,
        0x01f2, 0x012e, 0x00b7, 0x006f, 0x0043, 0x0029, 0x000f, 0x0006, 0x0002, 0x0001, 0x0000, 0x0000, 0x0000, 0x0000,
        0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000},
};
static const uint16_t long_gradient[2][CLASSES] = {
    {0x3cb2, 0x3f39, 0xc024, 0x3e88, 0x3e25, 0x3f98, 0x3d72, 0x3d13, 0x3dc8, 0x3c03, 0x3b41, 0x3a8e, 0x39d1, 0x391a,
        0x38bb, 0x3862, 0x3809, 0x37a7, 0x374a, 0x36f5, 0x3634, 0x3585, 0x34c3, 0x3410, 0x33ae, 0x3325, 0x329b, 0x3128,
        0x144e, 0x0191, 0x00d5, 0x004e, 0x001d, 0x000b, 0x0004, 0x0001, 0x0001, 0x0001, 0x0000},
    {0x2593, 0x39c4, 0xc120, 0x343e, 0x3126, 0x3cc1, 0x2b93, 0x2898, 0x2e3e, 0x201a, 0x1a09, 0x1470, 0x0e88, 0x08ce,
        0x05d5, 0x0389, 0x0225, 0x014d, 0x00ca, 0x007b, 0x002d, 0x0011, 0x0006, 0x0002, 0x0001, 0x0001, 0x0000, 0x0000,
        0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000, 0x0000},
};

static void softmax_of_a_long_row(xent_tier tier)
{
    static const int64_t shape[] = {1, CLASSES};
    const xent_execution execution = check_execution(tier);
    for (int d = 0; d < 2; d++) {
        uint16_t x[CLASSES], p[CLASSES];
        put_all(x, dtypes[d], long_row, CLASSES);
        xent_softmax_options options;
        assert_int_equal(xent_softmax_options_init(&options, sizeof options), XENT_OK);
        options.execution = &execution;
        const xent_tensor in = tensor_of(x, dtypes[d], 2, shape), out = tensor_of(p, dtypes[d], 2, shape);
        xent_error error = {0};
        assert_status(xent_softmax(&in, &options, &out, &error), XENT_OK, &error);
        assert_bits("softmax", dtypes[d], p, long_softmax[d], CLASSES);
    }
}

/* ---- Cross-entropy ------------------------------------------------------------------------- */

/* Loss, of the logits' type, and gradient, the incoming one being a float. */
static void cross_entropy(xent_tier tier, xent_dtype dtype, int64_t rows, int64_t classes, const double *logits, const int64_t *labels,
                          xent_reduction reduction, float incoming, const uint16_t *expected_loss, const uint16_t *expected)
{
    const int64_t shape[] = {rows, classes};
    uint16_t x[CLASSES], loss[CLASSES], gradient[CLASSES];
    const xent_execution execution = check_execution(tier);
    put_all(x, dtype, logits, (int)(rows * classes));
    const xent_tensor in = tensor_of(x, dtype, 2, shape), target = tensor_of(labels, XENT_I64, 1, shape), g = tensor_of(&incoming, XENT_F32, 0, NULL);
    const xent_tensor out = tensor_of(loss, dtype, 1, shape), slope = tensor_of(gradient, dtype, 2, shape);
    xent_cross_entropy_options options;
    assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
    options.execution = &execution;
    options.reduction = reduction;
    options.output_gradient = &g;
    const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .loss = &out, .gradient = &slope};
    xent_error error = {0};
    assert_status(xent_cross_entropy(&in, &target, &options, &outputs, &error), XENT_OK, &error);
    assert_bits("loss", dtype, loss, expected_loss, (int)rows);
    assert_bits("gradient", dtype, gradient, expected, (int)(rows * classes));
}

static void cross_entropy_of_a_long_row(xent_tier tier)
{
    static const uint16_t loss[2][1] = {{0x3ff7}, {0x3fb4}};
    for (int d = 0; d < 2; d++)
        cross_entropy(tier, dtypes[d], 1, CLASSES, long_row, (const int64_t[]){2}, XENT_REDUCTION_SUM, 3, loss[d], long_gradient[d]);
}

static void cross_entropy_of_short_rows(xent_tier tier)
{
    static const double logits[15] = {1.5, -0.5, 2.25, -3, 4, 0.5, 0.25, 0.25, -1, 12, -4, 3, -0.75, 0, 0.125};
    static const int64_t labels[5] = {0, 2, 1, 1, 2};
    static const uint16_t loss[2][5] = {
        {0x3f97, 0x4062, 0x3f54, 0x4180, 0x3f55},
        {0x3cb8, 0x4310, 0x3a9e, 0x4c00, 0x3aa9},
    };
    static const uint16_t gradient[2][15] = {
        {0xbe0e, 0x3c08, 0x3e05, 0x3939, 0x3e47, 0xbe47, 0x3db3, 0xbde6, 0x3ccd, 0x3e4d, 0xbe4d, 0x37cf, 0x3d15, 0x3d9d,
            0xbde7},
        {0xb06f, 0x2043, 0x302a, 0x09cc, 0x3235, 0xb236, 0x2d99, 0xaf34, 0x266a, 0x3266, 0xb266, 0x019e, 0x28a4, 0x2cea,
            0xaf3c},
    };
    for (int d = 0; d < 2; d++) cross_entropy(tier, dtypes[d], 5, 3, logits, labels, XENT_REDUCTION_MEAN, 1, loss[d], gradient[d]);
}

/* Rows so far from their targets that the loss is the gap, softmax 0 and 1, and the gradient the
 * incoming one: 256 + 1 and 256 + 3 are ties in bf16, as 2048 + 1 and 2048 + 3 are in f16. */
static void losses_and_gradients_at_ties(xent_tier tier)
{
    static const double logits[2][6] = {{256, -1, -3, 256, 1e38, -2.5e38}, {2048, -1, -3, 2048, 60000, -60000}};
    static const int64_t labels[3] = {1, 0, 1};
    static const uint16_t loss[2][3] = {{0x4380, 0x4382, 0x7f80}, {0x6800, 0x6802, 0x7c00}};
    static const uint16_t gradient[2][6] = {{0x3f82, 0xbf82, 0xbf82, 0x3f82, 0x3f82, 0xbf82}, {0x3c02, 0xbc02, 0xbc02, 0x3c02, 0x3c02, 0xbc02}};
    for (int d = 0; d < 2; d++)
        cross_entropy(tier, dtypes[d], 3, 2, logits[d], labels, XENT_REDUCTION_SUM, roundings[d][1].value, loss[d], gradient[d]);
}

/* A NaN whose bits, rounded up as those of a number, would be 0. */
static void a_gradient_of_nan(xent_tier tier)
{
    static const int64_t shape[] = {1, CLASSES}, label[] = {2};
    const xent_execution execution = check_execution(tier);
    const uint32_t bits = 0xffffffff;
    float incoming;
    memcpy(&incoming, &bits, sizeof incoming);
    for (int d = 0; d < 2; d++) {
        uint16_t x[CLASSES], gradient[CLASSES];
        put_all(x, dtypes[d], long_row, CLASSES);
        const xent_tensor in = tensor_of(x, dtypes[d], 2, shape), target = tensor_of(label, XENT_I64, 1, shape);
        const xent_tensor g = tensor_of(&incoming, XENT_F32, 0, NULL), slope = tensor_of(gradient, dtypes[d], 2, shape);
        xent_cross_entropy_options options;
        assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
        options.execution = &execution;
        options.reduction = XENT_REDUCTION_SUM;
        options.output_gradient = &g;
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .gradient = &slope};
        xent_error error = {0};
        assert_status(xent_cross_entropy(&in, &target, &options, &outputs, &error), XENT_OK, &error);
        for (int j = 0; j < CLASSES; j++) assert_true(isnan(element_get(gradient, dtypes[d], j)));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        on_every_tier(gradients_of_elements),
        on_every_tier(nll_and_its_gradient),
        on_every_tier(nan_stays),
        on_every_tier(softmax_of_a_long_row),
        on_every_tier(cross_entropy_of_a_long_row),
        on_every_tier(cross_entropy_of_short_rows),
        on_every_tier(losses_and_gradients_at_ties),
        on_every_tier(a_gradient_of_nan),
    };
    return check_run("rules, 16 bits", tests, sizeof tests / sizeof *tests, argc, argv);
}
