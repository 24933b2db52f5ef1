/* The entry points of sigmoid, log-sigmoid and the binary cross-entropies: any shape and
 * strides, in jobs of XENT_ELEMENTS elements, which are read where they lie if packed, and
 * through a tile on the stack if not. */
#include <math.h>
#include <string.h>

#include "error.h"
#include "fold.h"
#include "reduce.h"
#include "tensor.h"
#include "tier.h"

#define FLOATS DTYPE(XENT_F32)

enum operand { IN, IN2, WEIGHT, POS_WEIGHT, IN_SCALE, OUT, OUT2, LOSS, OPERANDS };

struct element_call {
    void (*kernel)(struct element_job *);
    struct view operand[OPERANDS]; /* name NULL: absent */
    struct fold fold;
    float scale;
    struct xent_sum *sum; /* of the losses; NULL: not wanted */
};

/* Shapes must be the input's by now, or broadcast to it. */
static xent_status fold_operands(struct element_call *call, xent_error *error)
{
    const struct view *in = &call->operand[IN];
    int64_t strides[OPERANDS][XENT_MAX_NDIM] = {{0}};
    for (int o = 0; o < OPERANDS; o++) {
        struct view *view = &call->operand[o];
        if (!view->name) continue;
        TRY(xent_check_shape(view, in->shape, in->ndim, in->name, error));
        memcpy(strides[o], view->strides, sizeof strides[o]);
    }
    /* The gradient may lie over the input, or over whatever else is read with it, and the
     * gradient in the target over the target. */
    for (int o = OUT; o < OPERANDS; o++) {
        TRY(xent_check_no_self_overlap(&call->operand[o], error));
        for (int other = 0; other < o; other++) {
            int may_alias = (o == OUT && (other == IN || other == IN2)) || (o == OUT2 && other == IN2);
            TRY(xent_check_overlap(&call->operand[o], &call->operand[other], may_alias, error));
        }
    }
    xent_fold(&call->fold, in->shape, in->ndim, OPERANDS, strides);
    return XENT_OK;
}

/* count elements of an operand from element first on, packed; NULL if it is absent. */
static float *packed(const struct element_call *call, enum operand operand, int is_packed, int64_t first, size_t count,
                     const ptrdiff_t *offsets, float *tile)
{
    const struct view *view = &call->operand[operand];
    if (!view->name) return NULL;
    float *data = (float *)(void *)view->data;
    if (is_packed) return data + first;
    if (operand < OUT)
        for (size_t i = 0; i < count; i++) tile[i] = data[offsets[i]];
    return tile;
}

static xent_status run(const struct element_call *call, xent_error *error)
{
    struct element_job job = {.scale = call->scale, .want_sum = call->sum != NULL, .invalid = -1};
    float tile[OPERANDS][XENT_ELEMENTS];
    ptrdiff_t offsets[XENT_ELEMENTS];
    int is_packed[OPERANDS];
    for (int o = 0; o < OPERANDS; o++) is_packed[o] = xent_fold_packed(&call->fold, o);
    int64_t total = call->fold.count;
    for (int64_t first = 0; first < total; first += XENT_ELEMENTS) {
        size_t count = total - first < XENT_ELEMENTS ? (size_t)(total - first) : XENT_ELEMENTS;
        float *at[OPERANDS];
        for (int o = 0; o < OPERANDS; o++) {
            if (call->operand[o].name && !is_packed[o] && o < OUT) xent_fold_offsets(&call->fold, o, first, count, offsets);
            at[o] = packed(call, (enum operand)o, is_packed[o], first, count, offsets, tile[o]);
        }
        job.count = count;
        job.in = at[IN];
        job.in2 = at[IN2];
        job.weight = at[WEIGHT];
        job.pos_weight = at[POS_WEIGHT];
        job.in_scale = at[IN_SCALE];
        job.out = at[OUT];
        job.out2 = at[OUT2];
        job.loss = at[LOSS];
        call->kernel(&job);
        if (job.invalid >= 0) {
            float p = job.in[job.invalid], y = job.in2[job.invalid];
            int of_input = !(p >= 0.0f && p <= 1.0f);
            return xent_fail_at(error, XENT_ERROR_PROBABILITY, of_input ? "input" : "target",
                                first + (int64_t)job.invalid, of_input ? (double)p : (double)y,
                                "%.9g in element %lld is not in [0, 1]", of_input ? (double)p : (double)y,
                                (long long)(first + (int64_t)job.invalid));
        }
        for (int o = OUT; o < OPERANDS; o++) {
            if (!at[o] || is_packed[o]) continue;
            float *data = (float *)(void *)call->operand[o].data;
            xent_fold_offsets(&call->fold, o, first, count, offsets);
            for (size_t i = 0; i < count; i++) data[offsets[i]] = at[o][i];
        }
        if (call->sum) xent_sum_add(call->sum, job.sum);
    }
    return XENT_OK;
}

/* -- Sigmoid and log-sigmoid -- */

xent_status xent_elementwise_options_init(xent_elementwise_options *options, size_t size)
{
    xent_elementwise_options defaults = {sizeof defaults, NULL};
    if (!options) return XENT_ERROR_NULL;
    if (size != sizeof defaults) return XENT_ERROR_STRUCT_SIZE;
    *options = defaults;
    return XENT_OK;
}

static xent_status choose(const xent_elementwise_options *options, const struct xent_kernels **kernels, xent_error *error)
{
    xent_elementwise_options ours = {sizeof ours, NULL};
    TRY(xent_read_struct(&ours, sizeof ours, options, 0, "options", error));
    return xent_choose(ours.execution, kernels, error);
}

/* One or (in2_name not NULL) two inputs, and one output. */
static xent_status elementwise(struct element_call *call, const xent_tensor *in, const char *in_name,
                               const xent_tensor *in2, const char *in2_name, const xent_tensor *out, const char *out_name,
                               xent_error *error)
{
    TRY(xent_view_tensor(&call->operand[IN], in, FLOATS, 1, in_name, error));
    if (in2_name) TRY(xent_view_tensor(&call->operand[IN2], in2, FLOATS, 1, in2_name, error));
    TRY(xent_view_tensor(&call->operand[OUT], out, FLOATS, 1, out_name, error));
    TRY(fold_operands(call, error));
    return run(call, error);
}

xent_status xent_sigmoid(const xent_tensor *input, const xent_elementwise_options *options, const xent_tensor *output,
                         xent_error *error)
{
    const struct xent_kernels *kernels;
    TRY(choose(options, &kernels, error));
    struct element_call call = {.kernel = kernels->sigmoid};
    return elementwise(&call, input, "input", NULL, NULL, output, "output", error);
}

xent_status xent_log_sigmoid(const xent_tensor *input, const xent_elementwise_options *options,
                             const xent_tensor *output, xent_error *error)
{
    const struct xent_kernels *kernels;
    TRY(choose(options, &kernels, error));
    struct element_call call = {.kernel = kernels->log_sigmoid};
    return elementwise(&call, input, "input", NULL, NULL, output, "output", error);
}

xent_status xent_sigmoid_backward(const xent_tensor *output, const xent_tensor *output_gradient,
                                  const xent_elementwise_options *options, const xent_tensor *gradient, xent_error *error)
{
    const struct xent_kernels *kernels;
    TRY(choose(options, &kernels, error));
    struct element_call call = {.kernel = kernels->sigmoid_backward};
    return elementwise(&call, output, "output", output_gradient, "output_gradient", gradient, "gradient", error);
}

xent_status xent_log_sigmoid_backward(const xent_tensor *input, const xent_tensor *output_gradient,
                                      const xent_elementwise_options *options, const xent_tensor *gradient,
                                      xent_error *error)
{
    const struct xent_kernels *kernels;
    TRY(choose(options, &kernels, error));
    struct element_call call = {.kernel = kernels->log_sigmoid_backward};
    return elementwise(&call, input, "input", output_gradient, "output_gradient", gradient, "gradient", error);
}

/* -- Binary cross-entropy -- */

xent_status xent_bce_options_init(xent_bce_options *options, size_t size)
{
    xent_bce_options defaults = {sizeof defaults, NULL, XENT_REDUCTION_MEAN, NULL, NULL, NULL};
    if (!options) return XENT_ERROR_NULL;
    if (size != sizeof defaults) return XENT_ERROR_STRUCT_SIZE;
    *options = defaults;
    return XENT_OK;
}

static xent_status binary_loss(const xent_tensor *input, const xent_tensor *target, const xent_bce_options *options,
                               const xent_bce_outputs *outputs, int with_logits, xent_error *error)
{
    struct element_call call = {.scale = 1.0f};
    xent_bce_options ours;
    xent_bce_outputs wanted = {0};
    const struct xent_kernels *kernels;
    xent_bce_options_init(&ours, sizeof ours);
    TRY(xent_read_struct(&ours, sizeof ours, options, 0, "options", error));
    TRY(xent_choose(ours.execution, &kernels, error));
    TRY(xent_read_struct(&wanted, sizeof wanted, outputs, 1, "outputs", error));
    if ((int)ours.reduction < XENT_REDUCTION_MEAN || ours.reduction > XENT_REDUCTION_NONE)
        return xent_fail(error, XENT_ERROR_REDUCTION, "options.reduction", "%d is unknown", (int)ours.reduction);
    if (!with_logits && ours.pos_weight)
        return xent_fail(error, XENT_ERROR_VALUE, "options.pos_weight", "is for logits, and must be NULL");
    call.kernel = with_logits ? kernels->bce_with_logits : kernels->bce;
    struct view *view = call.operand;
    TRY(xent_view_tensor(&view[IN], input, FLOATS, 1, "input", error));
    TRY(xent_view_tensor(&view[IN2], target, FLOATS, 1, "target", error));
    TRY(xent_view_tensor(&view[WEIGHT], ours.weight, FLOATS, 0, "options.weight", error));
    TRY(xent_view_tensor(&view[POS_WEIGHT], ours.pos_weight, FLOATS, 0, "options.pos_weight", error));
    TRY(xent_view_tensor(&view[IN_SCALE], ours.output_gradient, FLOATS, 0, "options.output_gradient", error));
    TRY(xent_view_tensor(&view[OUT], wanted.gradient, FLOATS, 0, "outputs.gradient", error));
    TRY(xent_view_tensor(&view[OUT2], wanted.target_gradient, FLOATS, 0, "outputs.target_gradient", error));
    TRY(xent_view_tensor(&view[LOSS], wanted.loss, FLOATS, 0, "outputs.loss", error));
    TRY(xent_broadcast(&view[WEIGHT], view[IN].shape, view[IN].ndim, "input", error));
    TRY(xent_broadcast(&view[POS_WEIGHT], view[IN].shape, view[IN].ndim, "input", error));
    if (view[IN_SCALE].name && view[IN_SCALE].ndim > 0) {
        if (ours.reduction != XENT_REDUCTION_NONE)
            return xent_fail(error, XENT_ERROR_SHAPE, "options.output_gradient", "must be a scalar for a reduced loss");
    } else TRY(xent_broadcast(&view[IN_SCALE], view[IN].shape, view[IN].ndim, "input", error));
    TRY(fold_operands(&call, error));
    double count = (double)call.fold.count;
    if (ours.reduction == XENT_REDUCTION_MEAN) call.scale = (float)(1.0 / count);
    struct xent_sum sum;
    int want_sum = wanted.sum || wanted.mean;
    if (want_sum) {
        xent_sum_init(&sum);
        call.sum = &sum;
    }
    TRY(run(&call, error));
    double total = want_sum ? xent_sum_round(&sum) : 0.0;
    if (wanted.sum) *wanted.sum = total;
    if (wanted.divisor) *wanted.divisor = count;
    if (wanted.mean) *wanted.mean = total / count;
    return XENT_OK;
}

xent_status xent_bce(const xent_tensor *input, const xent_tensor *target, const xent_bce_options *options,
                     const xent_bce_outputs *outputs, xent_error *error)
{
    return binary_loss(input, target, options, outputs, 0, error);
}

xent_status xent_bce_with_logits(const xent_tensor *input, const xent_tensor *target, const xent_bce_options *options,
                                 const xent_bce_outputs *outputs, xent_error *error)
{
    return binary_loss(input, target, options, outputs, 1, error);
}
