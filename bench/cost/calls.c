/* The calls whose instructions are counted, one at a time, under callgrind: for each, a dump
 * named "tier|call|unit|units". The data are the same in every run, and so is every address: buffers
 * are static, and the calls run on a stack of their own, which neither the environment nor
 * the arguments move. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/callgrind.h>
#include <xent/xent.h>

#define ELEMENTS (1000 * 1024) /* of the largest */

static _Alignas(4096) unsigned char input[8 * ELEMENTS], other[8 * ELEMENTS], output[8 * ELEMENTS];
static _Alignas(4096) int64_t classes_of[ELEMENTS];
static _Alignas(4096) unsigned char stack[1 << 20];

/* What one case works on. */
struct operands {
    xent_tensor x, y, out; /* y: the target, or nothing */
    const xent_execution *execution;
};

static xent_status forward(const struct operands *o, __typeof__(xent_softmax) *function)
{
    xent_softmax_options options;
    xent_softmax_options_init(&options, sizeof options);
    options.execution = o->execution;
    return function(&o->x, &options, &o->out, NULL);
}

static xent_status softmax(const struct operands *o) { return forward(o, xent_softmax); }
static xent_status log_softmax(const struct operands *o) { return forward(o, xent_log_softmax); }

/* gradient: where to, or NULL. */
static xent_status mean_loss(const struct operands *o, const xent_tensor *gradient)
{
    double mean;
    xent_cross_entropy_options options;
    xent_cross_entropy_options_init(&options, sizeof options);
    options.execution = o->execution;
    xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .mean = &mean, .gradient = gradient};
    return xent_cross_entropy(&o->x, &o->y, &options, &outputs, NULL);
}

static xent_status cross_entropy(const struct operands *o) { return mean_loss(o, NULL); }
static xent_status cross_entropy_gradient(const struct operands *o) { return mean_loss(o, &o->out); }

static xent_status elementwise(const struct operands *o, __typeof__(xent_sigmoid) *function)
{
    xent_elementwise_options options = {sizeof options, o->execution};
    return function(&o->x, &options, &o->out, NULL);
}

static xent_status sigmoid(const struct operands *o) { return elementwise(o, xent_sigmoid); }
static xent_status log_sigmoid(const struct operands *o) { return elementwise(o, xent_log_sigmoid); }

static xent_status binary(const struct operands *o, __typeof__(xent_bce) *function)
{
    double mean;
    xent_bce_options options;
    xent_bce_options_init(&options, sizeof options);
    options.execution = o->execution;
    xent_bce_outputs outputs = {.size = sizeof outputs, .mean = &mean, .gradient = &o->out};
    return function(&o->x, &o->y, &options, &outputs, NULL);
}

static xent_status bce_gradient(const struct operands *o) { return binary(o, xent_bce); }
static xent_status bce_with_logits_gradient(const struct operands *o) { return binary(o, xent_bce_with_logits); }

enum target { NONE, INDICES, VALUES };

struct call {
    const char *name;
    xent_status (*run)(const struct operands *);
    enum target target;
    xent_dtype dtype;
    int32_t ndim;
    int64_t shape[3];
};

#define ROWS(name, run, target, dtype, rows, classes) {name, run, target, dtype, 2, {rows, classes}}
#define FOUR_SHAPES(name, run, target)            \
    ROWS(name, run, target, XENT_F32, 1024, 10),  \
    ROWS(name, run, target, XENT_F32, 256, 100),  \
    ROWS(name, run, target, XENT_F32, 64, 1000),  \
    ROWS(name, run, target, XENT_F32, 4, 32000)

static const struct call calls[] = {
    FOUR_SHAPES("softmax", softmax, NONE),
    FOUR_SHAPES("log_softmax", log_softmax, NONE),
    FOUR_SHAPES("cross_entropy gradient", cross_entropy_gradient, INDICES),
    {"cross_entropy gradient", cross_entropy_gradient, INDICES, XENT_F32, 3, {1, 10, 1024}},
    {"cross_entropy gradient", cross_entropy_gradient, INDICES, XENT_F32, 3, {1, 1000, 96}},
    {"cross_entropy gradient", cross_entropy_gradient, INDICES, XENT_F32, 3, {1, 1000, 1024}},
    ROWS("cross_entropy gradient", cross_entropy_gradient, INDICES, XENT_BF16, 1024, 10),
    ROWS("cross_entropy gradient", cross_entropy_gradient, INDICES, XENT_BF16, 64, 1000),
    ROWS("cross_entropy gradient", cross_entropy_gradient, INDICES, XENT_F64, 64, 1000),
    {"sigmoid", sigmoid, NONE, XENT_F32, 1, {10000}},
    {"log_sigmoid", log_sigmoid, NONE, XENT_F32, 1, {10000}},
    {"bce gradient", bce_gradient, VALUES, XENT_F32, 1, {10000}},
    {"bce_with_logits gradient", bce_with_logits_gradient, VALUES, XENT_F32, 1, {10000}},
    ROWS("cross_entropy", cross_entropy, INDICES, XENT_F32, 1, 10),
};

/* Uniform in [0, 1), always the same (Knuth's MMIX generator). */
static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 40) * 0x1p-24;
}

static void fill(void *to, xent_dtype dtype, size_t count, double low, double high, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        double value = low + (high - low) * uniform(&seed);
        union { float value; uint32_t bits; } single = {(float)value};
        if (dtype == XENT_F64) ((double *)to)[i] = value;
        else if (dtype == XENT_F32) ((float *)to)[i] = single.value;
        else ((uint16_t *)to)[i] = (uint16_t)(single.bits >> 16);
    }
}

static const char *dtype_name(xent_dtype dtype)
{
    return dtype == XENT_F64 ? "f64" : dtype == XENT_F32 ? "f32" : "bf16";
}

static void check(const struct call *call, xent_tier tier, xent_status status)
{
    if (!status) return;
    fprintf(stderr, "%s, %s: %s\n", call->name, xent_tier_name(tier), xent_status_string(status));
    exit(1);
}

static void count(const struct call *call, xent_tier tier)
{
    int64_t elements = 1, rows = 1, row_shape[2] = {call->shape[0], call->shape[2]};
    for (int32_t d = 0; d < call->ndim; d++) elements *= call->shape[d];
    xent_execution execution = {sizeof execution, tier};
    struct operands o = {
        .x = {input, call->dtype, call->ndim, call->shape, NULL},
        .out = {output, call->dtype, call->ndim, call->shape, NULL},
        .execution = &execution,
    };
    int probabilities = call->run == bce_gradient;
    fill(input, call->dtype, (size_t)elements, probabilities ? 0 : -8, probabilities ? 1 : 8, 1);
    if (call->target == VALUES) {
        fill(other, call->dtype, (size_t)elements, 0, 1, 2);
        o.y = (xent_tensor){other, call->dtype, call->ndim, call->shape, NULL};
    } else if (call->target == INDICES) {
        uint64_t seed = 3;
        rows = elements / call->shape[1];
        for (int64_t i = 0; i < rows; i++) classes_of[i] = (int64_t)(uniform(&seed) * (double)call->shape[1]);
        o.y = (xent_tensor){classes_of, XENT_I64, call->ndim - 1, row_shape, NULL};
    }
    check(call, tier, call->run(&o)); /* the first call of a process also looks at the CPU */
    CALLGRIND_ZERO_STATS;
    CALLGRIND_TOGGLE_COLLECT;
    xent_status status = call->run(&o);
    CALLGRIND_TOGGLE_COLLECT;
    check(call, tier, status);

    char shape[64], name[160];
    int end = 0;
    for (int32_t d = 0; d < call->ndim; d++)
        end += snprintf(shape + end, sizeof shape - (size_t)end, d ? "x%lld" : "%lld", (long long)call->shape[d]);
    int small = elements == call->shape[1] && call->ndim == 2;
    snprintf(name, sizeof name, "%s|%s %s %s|%s|%lld", xent_tier_name(tier), call->name, dtype_name(call->dtype), shape,
             small ? "call" : "element", small ? 1LL : (long long)elements);
    CALLGRIND_DUMP_STATS_AT(name);
}

static void *count_all(void *unused)
{
    static const xent_tier tiers[] = {XENT_TIER_SCALAR, XENT_TIER_SSE2, XENT_TIER_AVX2};
    for (size_t t = 0; t < sizeof tiers / sizeof *tiers; t++)
        for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) count(&calls[c], tiers[t]);
    return unused;
}

int main(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) || pthread_attr_setstack(&attributes, stack, sizeof stack) ||
        pthread_create(&thread, &attributes, count_all, NULL) || pthread_join(thread, NULL))
        return 1;
    return 0;
}
