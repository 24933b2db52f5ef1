#include "random_call.h"

#include <math.h>
#include <string.h>

#include "vector/half.h"

bool is_loss(enum kernel kernel)
{
    return kernel == KERNEL_cross_entropy || kernel == KERNEL_nll || kernel == KERNEL_bce || kernel == KERNEL_bce_with_logits;
}

static bool is_backward(enum kernel kernel)
{
    return strstr(kernel_name(kernel), "backward") != NULL;
}

static double between(struct generator *g, float low, float high)
{
    return (double)generate_uniform(g, low, high);
}

static double normal(struct generator *g) /* with a double's last places */
{
    const double high = (double)generate_normal(g);
    return high + (double)generate_normal(g) * 0x1p-30;
}

static double logit(struct generator *g, uint32_t kind)
{
    const double x = normal(g);
    switch (kind) {
    case 0: return 3 * x;
    case 1: return 30 * x;
    case 2: return one_in(g, 7) ? -(double)INFINITY : x;
    case 3: return (double)generate_below(g, 5) - 2;
    case 4: return one_in(g, 8) ? 20 : one_in(g, 3) ? -0.0 : 0.0;
    case 5: return 250 + 2 * x;
    case 6: return one_in(g, 60) ? (double)NAN : one_in(g, 60) ? copysign((double)INFINITY, x) : x;
    default: return one_in(g, 5) ? x * 1e30 : x * 1e-3;
    }
}

static double probability(struct generator *g)
{
    const uint32_t kind = generate_below(g, 6);
    return kind < 2 ? (double)kind : kind == 2 ? ldexp(1, -(int)generate_below(g, 60)) : between(g, 0, 1);
}

/* f32 or the logits' dtype; of a row's values: but f64 beside f64. */
static xent_dtype beside(struct generator *g, const struct random_call *call, bool of_row)
{
    return (of_row && call->tensor[X].dtype == XENT_F64) || one_in(g, 2) ? call->tensor[X].dtype : XENT_F32;
}

void random_call_add(struct random_call *call, enum slot slot, xent_dtype dtype, bool by_row)
{
    struct tensor t = call->tensor[X];
    t.dtype = dtype;
    if (by_row && call->axis >= 0) {
        t.count /= call->classes;
        t.ndim--;
        t.cut = t.ndim > 0 ? 0 : -1;
        for (int32_t d = call->axis; d < t.ndim; d++) t.shape[d] = t.shape[d + 1];
    }
    call->tensor[slot] = t;
}

static void make_shape(struct random_call *call, struct generator *g)
{
    static const int64_t edges[] = {127, 128, 129, 130, 255, 256, 257, 258};
    const uint32_t size = generate_below(g, 40), ndim = 1 + generate_below(g, DIMS);
    const int64_t c = size < 26 ? 1 + generate_below(g, 40) : size < 31 ? edges[generate_below(g, 8)]
                    : size < 39 ? 1 + generate_below(g, 300) : one_in(g, 2) ? 1000 : 5000;
    int64_t rows = c >= 1000 ? 1 + generate_below(g, 3) : one_in(g, c <= 40 ? 2 : 10) ? 65 + generate_below(g, 136) : 1 + generate_below(g, 20);
    struct tensor x = {true, (xent_dtype)(XENT_F32 + generate_below(g, 4)), (int32_t)ndim, -1, -1, {0}, 1};
    const int32_t class_axis = one_in(g, 3) && ndim > 1 ? 1 : (int32_t)generate_below(g, ndim);
    call->classes = c;
    call->inner = 1;
    for (int32_t d = x.ndim - 1; d >= 0; d--) {
        const bool outermost = d == 0 || (d == 1 && class_axis == 0);
        x.shape[d] = d == class_axis ? c : outermost ? rows : 1 + generate_below(g, (uint32_t)(rows < 16 ? rows : 16));
        x.count *= x.shape[d];
        if (d != class_axis && outermost) {
            x.cut = d;
        } else if (d != class_axis) {
            call->inner *= x.shape[d];
            rows = (rows + x.shape[d] - 1) / x.shape[d];
        }
    }
    for (int64_t step = 1; x.cut >= 0 && call->cut == 0 && step < x.shape[x.cut]; step++) {
        call->cut = step * call->inner % 64 == 0 ? step : 0;
    }
    call->axis = kernel_elementwise(call->kernel) ? -1 : class_axis;
    call->options.axis = one_in(g, 2) && class_axis == (ndim > 1) ? XENT_AXIS_DEFAULT : one_in(g, 2) ? class_axis : class_axis - x.ndim;
    assert_true(x.count <= MOST && x.count / c <= MOST_ROWS);
    call->tensor[X] = x;
}

/* Trailing dimensions, one or another being broadcast; or (C). */
static void make_weight(struct random_call *call, enum slot slot, struct generator *g)
{
    struct tensor x = call->tensor[X], t = {true, beside(g, call, false), 1, -1, -1, {call->classes}, call->classes};
    if (call->axis < 0) {
        const int32_t missing = (int32_t)generate_below(g, (uint32_t)x.ndim + 1);
        t.ndim = x.ndim - missing;
        t.count = 1;
        for (int32_t d = 0; d < t.ndim; d++) {
            t.shape[d] = one_in(g, 3) ? 1 : x.shape[d + missing];
            t.count *= t.shape[d];
            t.cut = d + missing == x.cut && t.shape[d] > 1 ? d : t.cut;
        }
    }
    call->tensor[slot] = t;
}

static void make_loss(struct random_call *call, struct generator *g)
{
    xent_cross_entropy_options *o = &call->options;
    const bool ce = call->kernel == KERNEL_cross_entropy, binary = call->axis < 0, distribution = binary || (ce && one_in(g, 3));
    static const int64_t ignored[] = {-100, 3, 0, 255};
    o->reduction = (xent_reduction)generate_below(g, 3);
    o->divisor_kind = (xent_divisor)generate_below(g, 3);
    o->divisor = between(g, 1, 100);
    o->empty_mean_is_zero = one_in(g, 2);
    o->report_non_finite = one_in(g, 3);
    o->ignore_index = ignored[generate_below(g, 4)];
    if (call->kernel != KERNEL_nll && one_in(g, 3)) o->label_smoothing = one_in(g, 5) ? 1 : between(g, 0, 1);
    if (one_in(g, 6) && (call->kernel == KERNEL_bce_with_logits || (ce && !distribution && o->label_smoothing <= 0))) {
        o->focal_gamma = one_in(g, 2) ? 2 : between(g, 0.1f, 4);
        call->focal_alpha = one_in(g, 2) ? -1 : between(g, 0, 1);
    }
    o->z_loss = ce && one_in(g, 3) ? between(g, 0, 0.1f) : 0;
    o->softcap = ce && one_in(g, 4) ? between(g, 1, 40) : 0;
    random_call_add(call, distribution ? SECOND : TARGET, distribution ? beside(g, call, false) : (xent_dtype)(XENT_I64 + generate_below(g, 3)), !distribution);
    if (one_in(g, 2)) make_weight(call, WEIGHT, g);
    if (one_in(g, 2) && call->kernel == KERNEL_bce_with_logits && o->focal_gamma <= 0) make_weight(call, POS_WEIGHT, g);
    if (one_in(g, 3) && !binary) random_call_add(call, ROW_WEIGHT, beside(g, call, false), true);
    if (one_in(g, 2) && distribution) random_call_add(call, TARGET_GRADIENT, call->tensor[SECOND].dtype, false);
}

static void make_outputs(struct random_call *call, struct generator *g)
{
    const enum kernel k = call->kernel;
    const bool ce = k == KERNEL_cross_entropy, lse = k == KERNEL_log_sum_exp, choice = is_loss(k) || lse;
    if (!choice || !one_in(g, 4)) random_call_add(call, GRADIENT, call->tensor[X].dtype, false);
    for (enum slot slot = LOSS; slot <= STATE; slot++) {
        const bool has = slot == LOSS ? is_loss(k) : slot == LSE || slot == STATE ? ce || lse : ce;
        if (has && one_in(g, 2) && (call->tensor[TARGET].present || (slot != CORRECT && slot != TARGET_LOGIT))) {
            random_call_add(call, slot, slot == ARGMAX ? (xent_dtype)(XENT_I64 + generate_below(g, 2)) : slot == CORRECT ? XENT_U8 : beside(g, call, true), true);
        }
    }
    if (choice && one_in(g, 2)) {
        random_call_add(call, INCOMING, beside(g, call, false), true);
        if ((is_loss(k) && call->options.reduction != XENT_REDUCTION_NONE) || one_in(g, 2)) { /* a scalar */
            call->tensor[INCOMING] = (struct tensor){true, call->tensor[INCOMING].dtype, 0, -1, -1, {0}, 1};
        }
    }
}

size_t element_size(xent_dtype dtype)
{
    static const size_t sizes[] = {0, 4, 8, 2, 2, 8, 4, 1};
    return sizes[dtype];
}

double element_get(const void *data, xent_dtype dtype, int64_t at)
{
    switch (dtype) {
    case XENT_F64: return ((const double *)data)[at];
    case XENT_F16: return (double)half_from_f16(((const uint16_t *)data)[at]);
    case XENT_BF16: return (double)half_from_bf16(((const uint16_t *)data)[at]);
    case XENT_I64: return (double)((const int64_t *)data)[at];
    case XENT_I32: return ((const int32_t *)data)[at];
    case XENT_U8: return ((const uint8_t *)data)[at];
    default: return (double)((const float *)data)[at];
    }
}

void element_put(void *data, xent_dtype dtype, int64_t at, double value)
{
    switch (dtype) {
    case XENT_F64: ((double *)data)[at] = value; break;
    case XENT_F16: ((uint16_t *)data)[at] = half_to_f16((float)value); break;
    case XENT_BF16: ((uint16_t *)data)[at] = half_to_bf16((float)value); break;
    case XENT_I64: ((int64_t *)data)[at] = (int64_t)value; break;
    case XENT_I32: ((int32_t *)data)[at] = (int32_t)value; break;
    case XENT_U8: ((uint8_t *)data)[at] = (uint8_t)value; break;
    default: ((float *)data)[at] = (float)value; break;
    }
}

static double make_value(const struct random_call *call, enum slot slot, uint32_t kind, struct generator *g)
{
    const xent_dtype dtype = call->tensor[slot].dtype;
    const xent_cross_entropy_options *o = &call->options;
    switch (slot) {
    case X: return call->kernel == KERNEL_bce ? probability(g) : logit(g, kind);
    case SECOND: return is_loss(call->kernel) ? probability(g) : logit(g, 0);
    case INCOMING: return normal(g);
    case ROW_WEIGHT: return one_in(g, kind + 1) ? one_in(g, 2) : fabs(normal(g));
    case TARGET:
        if (one_in(g, 6) && (dtype != XENT_U8 || o->ignore_index >= 0)) return (double)o->ignore_index;
        return generate_below(g, dtype == XENT_U8 && call->classes > 256 ? 256 : (uint32_t)call->classes);
    default: return (o->z_loss > 0 || call->axis < 0) ? fabs(normal(g)) : normal(g);
    }
}

/* Along the dimension named: those of its index 0. */
static void repeat_values(const struct tensor *t, double *values)
{
    int64_t inner = 1;
    for (int32_t d = t->repeated + 1; d < t->ndim; d++) inner *= t->shape[d];
    const int64_t block = inner * t->shape[t->repeated];
    for (int64_t i = 0; i < t->count; i++) values[i] = values[i / block * block + i % inner];
}

void random_call_make(struct random_call *call, enum kernel kernel, int number)
{
    static double values[INCOMING + 1][MOST];
    struct generator g = {(uint64_t)kernel * 1000003 + (uint64_t)number};
    *call = (struct random_call){.kernel = kernel, .number = number, .values = values, .focal_alpha = -1};
    for (enum slot slot = X; slot < SLOTS; slot++) call->tensor[slot].repeated = -1;
    assert_int_equal(xent_cross_entropy_options_init(&call->options, sizeof call->options), XENT_OK);
    make_shape(call, &g);
    if (is_loss(kernel)) make_loss(call, &g);
    if (is_backward(kernel)) random_call_add(call, SECOND, beside(&g, call, false), false);
    make_outputs(call, &g);
    const uint32_t kind = generate_below(&g, 8);
    for (enum slot slot = X; slot <= INCOMING; slot++) {
        struct tensor *t = &call->tensor[slot];
        if (t->present && t->ndim > 0 && one_in(&g, 5)) t->repeated = (int32_t)generate_below(&g, (uint32_t)t->ndim);
        for (int64_t i = 0; t->present && i < t->count; i++) {
            double item; /* rounded to the type */
            element_put(&item, t->dtype, 0, make_value(call, slot, kind, &g));
            values[slot][i] = element_get(&item, t->dtype, 0);
        }
        if (t->repeated >= 0) repeat_values(t, values[slot]);
    }
}
