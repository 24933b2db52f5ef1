/* Positions next to each other, whose classes are strided, go through the kernels a page at a time, in ways that depend on how many
 * they are, how far apart their classes are, and what the logits are like. The bits of all are those of the same rows packed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "vector/half.h"

enum { SOFTMAX, LOG_SOFTMAX, LOG_SUM_EXP, CROSS_ENTROPY, FUNCTIONS };
static const char *const names[] = {"softmax", "log_softmax", "log_sum_exp", "cross_entropy"};

/* What the logits are like. */
enum kind {
    SPREAD,   /* normal, deviation 2: with many classes few rows have a maximum that matters */
    FLAT,     /* deviation 1/2: none has */
    WIDE,     /* deviation 30, so that sums are not exact */
    PEAKED,   /* one class of each row is 20 */
    FEW_PEAKS, /* one in every hundredth row */
    LATE,     /* 120 is added from the 70th class on, which no guess foresees, in every third row */
    FAR,      /* around 1000, and every third row around -1000 */
    SPECIAL,  /* rows with NaN, with infinities, with classes that are masked, and all masked */
    KINDS
};
static const char *const kind_names[] = {"spread", "flat", "wide", "peaked", "few peaks", "late", "far", "special"};

static size_t size_of(xent_dtype dtype) { return dtype == XENT_F64 ? 8 : dtype == XENT_F32 ? 4 : 2; }

static void put(void *tensor, xent_dtype dtype, size_t at, double value)
{
    if (dtype == XENT_F64) ((double *)tensor)[at] = value;
    else if (dtype == XENT_F32) ((float *)tensor)[at] = (float)value;
    else ((uint16_t *)tensor)[at] = dtype == XENT_BF16 ? half_to_bf16((float)value) : half_to_f16((float)value);
}

static double logit(enum kind kind, size_t row, size_t class, size_t classes, struct generator *g)
{
    const double x = 2 * (double)generate_normal(g);
    switch (kind) {
    case FLAT: return x / 4;
    case WIDE: return x * 15;
    case PEAKED: return class == row * 31 % classes ? 20 : x;
    case FEW_PEAKS: return row % 100 == 7 && class == row * 31 % classes ? 20 : x / 4;
    case LATE: return x + (row % 3 == 0 && class >= 70 ? 120 : 0);
    case FAR: return x + (row % 3 == 0 ? -1000 : 1000);
    case SPECIAL:
        if (row % 7 == 1 && class == row % classes) return row % 2 ? NAN : INFINITY;
        return row % 7 == 2 || (row % 7 == 3 && class % 5 == 0) ? -INFINITY : x;
    default: return x;
    }
}

/* What a call takes and gives. strides: of classes, and rows of 1 beside them; 0: packed rows. */
struct call {
    xent_dtype dtype;
    size_t rows, classes, stride;
    void *logits, *output; /* may be the same; output NULL: not wanted */
    int64_t *target;
    xent_row_state *state_in;
    xent_row_state *state;
    double *lse, *loss; /* of f64 logits; else as many floats */
    double mean;
};

static void run(int function, struct call *c, xent_tier tier)
{
    const int64_t rows[] = {(int64_t)c->rows, (int64_t)c->classes}, positions[] = {1, (int64_t)c->classes, (int64_t)c->rows};
    const int64_t strides[] = {1, (int64_t)c->stride, 1};
    const bool strided = c->stride != 0;
    const xent_tensor logits = {c->logits, c->dtype, strided ? 3 : 2, strided ? positions : rows, strided ? strides : NULL};
    xent_tensor output = logits, target = {c->target, XENT_I64, 1, rows, NULL}, loss;
    xent_tensor lse = {c->lse, c->dtype == XENT_F64 ? XENT_F64 : XENT_F32, 1, rows, NULL};
    const int64_t one_by[] = {1, (int64_t)c->rows};
    if (strided) target.ndim = lse.ndim = 2, target.shape = lse.shape = one_by;
    loss = lse;
    loss.data = c->loss;
    output.data = c->output;
    const xent_execution execution = check_execution(tier);
    xent_error error;
    xent_softmax_options options;
    xent_cross_entropy_options loss_options;
    xent_softmax_options_init(&options, sizeof options);
    xent_cross_entropy_options_init(&loss_options, sizeof loss_options);
    options.execution = loss_options.execution = &execution;
    options.state = loss_options.state = c->state_in;
    const xent_log_sum_exp_outputs lse_outputs = {
        .size = sizeof lse_outputs, .lse = &lse, .gradient = c->output ? &output : NULL, .state = c->state};
    const xent_cross_entropy_outputs outputs = {.size = sizeof outputs,
                                                .loss = &loss,
                                                .lse = &lse,
                                                .mean = &c->mean,
                                                .gradient = c->output ? &output : NULL,
                                                .state = c->state};
    switch (function) {
    case SOFTMAX: assert_status(xent_softmax(&logits, &options, &output, &error), XENT_OK, &error); break;
    case LOG_SOFTMAX: assert_status(xent_log_softmax(&logits, &options, &output, &error), XENT_OK, &error); break;
    case LOG_SUM_EXP: assert_status(xent_log_sum_exp(&logits, &options, &lse_outputs, &error), XENT_OK, &error); break;
    default: assert_status(xent_cross_entropy(&logits, &target, &loss_options, &outputs, &error), XENT_OK, &error); break;
    }
}

static bool same(xent_dtype dtype, const void *a, size_t i, const void *b, size_t j)
{
    if (dtype == XENT_F64) return check_same64(((const double *)a)[i], ((const double *)b)[j]);
    if (dtype == XENT_F32) return check_same(((const float *)a)[i], ((const float *)b)[j]);
    const uint16_t x = ((const uint16_t *)a)[i], y = ((const uint16_t *)b)[j], infinity = dtype == XENT_BF16 ? 0x7f80 : 0x7c00;
    return x == y || ((x & 0x7fff) > infinity && (y & 0x7fff) > infinity);
}

/* Whether all that is wanted of them is the same. */
static void compare(const struct call *strided, const struct call *packed, int function, const char *what, xent_tier tier)
{
    const xent_dtype dtype = packed->dtype, row_dtype = dtype == XENT_F64 ? XENT_F64 : XENT_F32;
    for (size_t r = 0; r < packed->rows; r++) {
        for (size_t j = 0; packed->output && j < packed->classes; j++)
            if (!same(dtype, strided->output, j * strided->stride + r, packed->output, r * packed->classes + j))
                fail_msg("%s: %s of %zux%zu, stride %zu, dtype %d, %s: row %zu, class %zu", xent_tier_name(tier), names[function],
                         packed->rows, packed->classes, packed->stride, (int)dtype, what, r, j);
        if (function < LOG_SUM_EXP) continue;
        if (!same(row_dtype, strided->lse, r, packed->lse, r) || !check_same64(strided->state[r].max, packed->state[r].max) ||
            !check_same64(strided->state[r].rest, packed->state[r].rest) ||
            (function == CROSS_ENTROPY && !same(row_dtype, strided->loss, r, packed->loss, r)))
            fail_msg("%s: %s of %zux%zu, stride %zu, dtype %d, %s: row %zu", xent_tier_name(tier), names[function], packed->rows,
                     packed->classes, strided->stride, (int)dtype, what, r);
    }
    if (function == CROSS_ENTROPY && !check_same64(strided->mean, packed->mean)) fail_msg("%s: the mean", xent_tier_name(tier));
}

/* What lies between the rows of classes is not written. */
static void check_gaps(const struct call *c, const unsigned char *pattern)
{
    const size_t item = size_of(c->dtype);
    for (size_t j = 0; j + 1 < c->classes; j++)
        for (size_t i = c->rows; i < c->stride; i++)
            assert_memory_equal((const char *)c->output + (j * c->stride + i) * item, pattern, item);
}

static void check_shape(xent_tier tier, xent_dtype dtype, size_t rows, size_t classes, size_t stride, enum kind kind)
{
    static const unsigned char pattern[8] = {0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a};
    const size_t item = size_of(dtype), count = rows * classes, room = stride * classes;
    struct generator g = {rows * 1000003 + classes * 10007 + (size_t)kind};
    struct call packed = {.dtype = dtype, .rows = rows, .classes = classes}, strided = packed;
    strided.stride = stride;
    void *const x = malloc(count * item), *const expected = malloc(count * item), *const y = malloc(room * item);
    /* got is at the border of a cache line, where whole lines are written, and, in place, where they are not. */
    void *const got = aligned_alloc(64, (room * item + 63) / 64 * 64);
    packed.target = strided.target = malloc(rows * sizeof *packed.target);
    double *const values = malloc(4 * rows * sizeof *values);
    xent_row_state *const states = malloc(2 * rows * sizeof *states);
    packed.lse = values, packed.loss = values + rows, strided.lse = values + 2 * rows, strided.loss = values + 3 * rows;
    packed.state = states, strided.state = states + rows;
    memset(y, 0x5a, room * item);
    for (size_t r = 0; r < rows; r++) {
        packed.target[r] = r % 11 == 5 ? -100 : (int64_t)(r * 31 % classes);
        for (size_t j = 0; j < classes; j++) {
            const double value = logit(kind, r, j, classes, &g);
            put(x, dtype, r * classes + j, value);
            put(y, dtype, j * stride + r, value);
        }
    }
    for (int function = 0; function < FUNCTIONS; function++) {
        packed.logits = x, strided.logits = y;
        packed.state_in = strided.state_in = NULL;
        packed.output = expected, strided.output = got;
        memset(got, 0x5a, room * item);
        run(function, &packed, tier);
        run(function, &strided, tier);
        compare(&strided, &packed, function, kind_names[kind], tier);
        check_gaps(&strided, pattern);
        memcpy(got, y, room * item);
        strided.logits = got;
        run(function, &strided, tier);
        compare(&strided, &packed, function, "in place", tier);
        check_gaps(&strided, pattern);
        if (function < LOG_SUM_EXP) continue;
        strided.logits = y;
        strided.output = packed.output = NULL;
        run(function, &strided, tier);
        compare(&strided, &packed, function, "nothing written", tier);
        strided.output = got, packed.output = expected;
        strided.state_in = packed.state;
        memset(got, 0x5a, room * item);
        run(function, &strided, tier);
        compare(&strided, &packed, function, "states given", tier);
    }
    free(x), free(y), free(expected), free(got), free(packed.target), free(values), free(states);
}

/* Around the vectors' widths and the page's, around blocks of classes, and from where on rows' maxima are guessed. */
static void shapes(xent_tier tier)
{
    static const size_t sizes[][3] = {{16, 41, 16},   {17, 256, 17},  {100, 128, 128}, {31, 300, 40},   {64, 700, 64},
                                      {200, 520, 200}, {513, 50, 520}, {1040, 60, 1040}, {1030, 513, 1030}, {24, 4500, 24}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int kind = 0; kind < KINDS; kind++) {
            if (check_quick() && sizes[s][0] * sizes[s][1] > 60000) continue;
            check_shape(tier, XENT_F32, sizes[s][0], sizes[s][1], sizes[s][2], (enum kind)kind);
            static const xent_dtype others[] = {XENT_F64, XENT_BF16, XENT_F16};
            check_shape(tier, others[(s + (size_t)kind) % 3], sizes[s][0], sizes[s][1], sizes[s][2], (enum kind)kind);
        }
}

/* Of which the last class is more than 8 MiB from the first: whole cache lines go past the caches, or, with an odd number of rows, not; of whole
 * pages, too, some tiers keep exponentials; and of 128 rows two may be summed again on their own. */
static void far_apart(xent_tier tier)
{
    static const size_t sizes[][3] = {{32, 4200, 512}, {35, 4200, 521}, {48, 600, 3600}, {128, 4200, 512}, {520, 513, 4100}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int kind = 0; kind < KINDS; kind++) {
            if (check_quick() && (kind == FLAT || s == 0 || s > 2)) continue;
            if (s > 2 && kind != FEW_PEAKS && kind != LATE) continue;
            check_shape(tier, XENT_F32, sizes[s][0], sizes[s][1], sizes[s][2], (enum kind)kind);
            if (s == 1) check_shape(tier, kind % 2 ? XENT_F64 : XENT_BF16, sizes[s][0], sizes[s][1], 2 * sizes[s][2], (enum kind)kind);
        }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {on_every_tier(shapes), on_every_tier(far_apart)};
    return check_run("pages", tests, sizeof tests / sizeof *tests, argc, argv);
}
