/* One answer, for any options: calls put together at random, of every function, with every
 * dtype and legal combination of options, outputs, shape and axis. The scalar tier, on packed
 * tensors, is the reference; all that the other tiers with a fused multiply-add give must have
 * its bits, in any strides, in place, with the batch cut in two, from saved row states, and
 * with but one output asked for.
 * sse2 is compared with itself.
 *
 * The program prints a hash of all outputs, by tier: the same number on every machine. A call
 * follows from its kernel and number alone; a failure names both. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels.h"
#include "vector/half.h"

/* ---- A call ------------------------------------------------------------------------ */

/* Inputs, then outputs. SECOND is of the shape of X: a target, or an incoming gradient. */
enum slot {
    X, SECOND, TARGET, WEIGHT, POS_WEIGHT, ROW_WEIGHT, INCOMING,
    GRADIENT, TARGET_GRADIENT, LOSS, LSE, Z_LOSS, ENTROPY, TARGET_LOGIT, ARGMAX, CORRECT, STATE, SLOTS
};

static const char *const slot_names[SLOTS] = {
    "input", "second input", "target", "weight", "pos_weight", "row_weight", "output_gradient", "gradient or output",
    "target_gradient", "loss", "lse", "z_loss", "entropy", "target_logit", "argmax", "correct", "state"};

enum { DIMS = 4, MOST = 1 << 17, MOST_ROWS = 1 << 10 };

struct tensor {
    bool present;
    xent_dtype dtype;
    int32_t ndim, cut; /* the dimension that the batch is cut along, or -1 */
    int64_t shape[DIMS], count;
};

struct random_call {
    enum kernel kernel;
    int number;
    struct tensor tensor[SLOTS];
    double (*values)[MOST]; /* of the inputs, in C order */
    int32_t axis;           /* of the classes, from the front; -1: elementwise */
    int64_t classes;
    int64_t cut, inner; /* where the batch can be cut in two (0: nowhere), and the rows in a step to there */
    double focal_alpha;
    xent_cross_entropy_options options; /* for the others, as far as they have them */
};

static bool is_loss(enum kernel kernel)
{
    return kernel == KERNEL_cross_entropy || kernel == KERNEL_nll || kernel == KERNEL_bce || kernel == KERNEL_bce_with_logits;
}

static bool is_backward(enum kernel kernel)
{
    return strstr(kernel_name(kernel), "backward") != NULL;
}

/* ---- Putting it together ----------------------------------------------------------------- */

static bool one_in(struct generator *g, uint32_t n)
{
    return generate_below(g, n) == 0;
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

/* A tensor of X's shape, or without the class axis, which leaves an elementwise function's as it is. */
static void add(struct random_call *call, enum slot slot, xent_dtype dtype, bool by_row)
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
    struct tensor x = {true, (xent_dtype)(XENT_F32 + generate_below(g, 4)), (int32_t)ndim, -1, {0}, 1};
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
    struct tensor x = call->tensor[X], t = {true, beside(g, call, false), 1, -1, {call->classes}, call->classes};
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
    add(call, distribution ? SECOND : TARGET, distribution ? beside(g, call, false) : (xent_dtype)(XENT_I64 + generate_below(g, 3)), !distribution);
    if (one_in(g, 2)) make_weight(call, WEIGHT, g);
    if (one_in(g, 2) && call->kernel == KERNEL_bce_with_logits && o->focal_gamma <= 0) make_weight(call, POS_WEIGHT, g);
    if (one_in(g, 3) && !binary) add(call, ROW_WEIGHT, beside(g, call, false), true);
    if (one_in(g, 2) && distribution) add(call, TARGET_GRADIENT, call->tensor[SECOND].dtype, false);
}

static void make_outputs(struct random_call *call, struct generator *g)
{
    const enum kernel k = call->kernel;
    const bool ce = k == KERNEL_cross_entropy, lse = k == KERNEL_log_sum_exp, choice = is_loss(k) || lse;
    if (!choice || !one_in(g, 4)) add(call, GRADIENT, call->tensor[X].dtype, false);
    for (enum slot slot = LOSS; slot <= STATE; slot++) {
        const bool has = slot == LOSS ? is_loss(k) : slot == LSE || slot == STATE ? ce || lse : ce;
        if (has && one_in(g, 2) && (call->tensor[TARGET].present || (slot != CORRECT && slot != TARGET_LOGIT))) {
            add(call, slot, slot == ARGMAX ? (xent_dtype)(XENT_I64 + generate_below(g, 2)) : slot == CORRECT ? XENT_U8 : beside(g, call, true), true);
        }
    }
    if (choice && one_in(g, 2)) {
        add(call, INCOMING, beside(g, call, false), true);
        if ((is_loss(k) && call->options.reduction != XENT_REDUCTION_NONE) || one_in(g, 2)) { /* a scalar */
            call->tensor[INCOMING] = (struct tensor){true, call->tensor[INCOMING].dtype, 0, -1, {0}, 1};
        }
    }
}

static size_t item_size(xent_dtype dtype)
{
    static const size_t sizes[] = {0, 4, 8, 2, 2, 8, 4, 1};
    return sizes[dtype];
}

static double get(const void *data, xent_dtype dtype, int64_t at)
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

static void put(void *data, xent_dtype dtype, int64_t at, double value)
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

static void make_call(struct random_call *call, enum kernel kernel, int number)
{
    static double values[INCOMING + 1][MOST];
    struct generator g = {(uint64_t)kernel * 1000003 + (uint64_t)number};
    *call = (struct random_call){.kernel = kernel, .number = number, .values = values, .focal_alpha = -1};
    assert_int_equal(xent_cross_entropy_options_init(&call->options, sizeof call->options), XENT_OK);
    make_shape(call, &g);
    if (is_loss(kernel)) make_loss(call, &g);
    if (is_backward(kernel)) add(call, SECOND, beside(&g, call, false), false);
    make_outputs(call, &g);
    const uint32_t kind = generate_below(&g, 8);
    for (enum slot slot = X; slot <= INCOMING; slot++) {
        const struct tensor *t = &call->tensor[slot];
        for (int64_t i = 0; t->present && i < t->count; i++) {
            double item; /* rounded to the type */
            put(&item, t->dtype, 0, make_value(call, slot, kind, &g));
            values[slot][i] = get(&item, t->dtype, 0);
        }
    }
}

/* ---- Running it ------------------------------------------------------------------------ */

struct way {
    xent_tier tier;
    uint64_t layout; /* 0: packed; another number: strides at random */
    bool cut;        /* the batch, in two calls */
    enum slot only;  /* output asked for; SLOTS: all; X: gradients */
    const xent_row_state *saved; /* NULL: none */
};

struct answers {
    bool has[SLOTS];
    xent_status status;
    int64_t row;         /* and value, of the error */
    double value;
    double totals[2][3]; /* sum, divisor, mean: of each part */
    int64_t correct[2];
    xent_row_state state[MOST_ROWS];
    double values[SLOTS][MOST];
};

struct placed {
    struct guarded *memory;
    unsigned char *block;
    size_t bytes;
    int64_t strides[DIMS], first;
};

/* Of a tensor's elements in C order, relative to the first. */
static const int64_t *find_places(const struct tensor *t, const int64_t *strides)
{
    static int64_t places[MOST];
    int64_t count = 1; /* places of the dimensions done, which each step of the next one repeats */
    places[0] = 0;
    for (int32_t d = t->ndim - 1; d >= 0; count *= t->shape[d--])
        for (int64_t i = count; i < count * t->shape[d]; i++) places[i] = places[i % count] + i / count * strides[d];
    return places;
}

/* Packed in C order, or dimensions in any order, spaced out, some turned round. */
static void place(const struct tensor *t, struct placed *p, struct generator *g, bool packed)
{
    int32_t order[DIMS] = {0, 1, 2, 3};
    for (int32_t d = t->ndim - 1; d > 0 && !packed && one_in(g, 2); d--) {
        const int32_t other = (int32_t)generate_below(g, (uint32_t)d + 1), held = order[d];
        order[d] = order[other];
        order[other] = held;
    }
    int64_t step = packed || !one_in(g, 5) ? 1 : 2 + generate_below(g, 2), last = 0;
    p->first = 0;
    for (int32_t i = t->ndim - 1; i >= 0; i--) {
        const int64_t size = t->shape[order[i]];
        const bool reversed = !packed && one_in(g, 4);
        p->strides[order[i]] = reversed ? -step : step;
        p->first += reversed ? (size - 1) * step : 0;
        last += (size - 1) * step;
        step = step * size + (packed || one_in(g, 2) ? 0 : generate_below(g, 6));
    }
    p->bytes = (size_t)(last + 1) * item_size(t->dtype);
    p->block = guarded_block(p->memory, p->bytes, packed ? 0 : generate_below(g, 16) * item_size(t->dtype), one_in(g, 2) ? AT_FRONT : AT_BACK);
}

/* The input that an output is to be written over; itself: none. */
static enum slot lies_over(const struct random_call *call, enum slot slot, struct generator *g)
{
    const struct tensor *t = call->tensor;
    if (slot == GRADIENT && one_in(g, 3)) {
        const bool over_second = t[SECOND].present && t[SECOND].dtype == t[X].dtype && !t[TARGET_GRADIENT].present;
        return over_second && one_in(g, 2) ? SECOND : X;
    }
    return slot == TARGET_GRADIENT && call->axis < 0 && one_in(g, 3) ? SECOND : slot;
}

/* One part of the call, of the tensors t, whose first row is row. */
static xent_status invoke(const struct random_call *call, const struct way *way, const xent_tensor *t[SLOTS],
                          int64_t row, int part, struct answers *to, xent_error *error)
{
    const xent_execution execution = check_execution(way->tier);
    const xent_elementwise_options elements = {sizeof elements, &execution};
    xent_cross_entropy_options o = call->options;
    o.execution = &execution;
    o.weight = t[WEIGHT];
    o.row_weight = t[ROW_WEIGHT];
    o.output_gradient = t[INCOMING];
    o.state = way->saved == NULL ? NULL : way->saved + row;
    const xent_softmax_options softmax = {.size = sizeof softmax, .execution = &execution, .axis = o.axis, .state = o.state, .output_gradient = t[INCOMING]};
    const xent_bce_options bce = {sizeof bce, &execution, o.reduction, t[WEIGHT], t[POS_WEIGHT], t[INCOMING], o.label_smoothing, o.focal_gamma,
                                  call->focal_alpha, o.divisor_kind, o.divisor, o.empty_mean_is_zero, o.report_non_finite};
    double *totals = to->totals[part];
    xent_row_state *states = to->has[STATE] ? to->state + row : NULL;
    const xent_log_sum_exp_outputs lse = {.size = sizeof lse, .lse = t[LSE], .gradient = t[GRADIENT], .state = states};
    const xent_bce_outputs binary = {sizeof binary, t[LOSS], totals, totals + 1, totals + 2, t[GRADIENT], t[TARGET_GRADIENT]};
    xent_cross_entropy_outputs outputs = {
        sizeof outputs, t[LOSS], totals, totals + 1, totals + 2, t[GRADIENT], t[LSE], states, t[TARGET_GRADIENT], t[Z_LOSS],
        t[ENTROPY], t[ARGMAX], t[CORRECT], t[CORRECT] == NULL ? NULL : &to->correct[part], t[TARGET_LOGIT]};
    if (way->only != SLOTS) outputs.sum = outputs.divisor = outputs.mean = NULL;
    switch (call->kernel) {
    case KERNEL_log_sum_exp: return xent_log_sum_exp(t[X], &softmax, &lse, error);
    case KERNEL_softmax: return xent_softmax(t[X], &softmax, t[GRADIENT], error);
    case KERNEL_log_softmax: return xent_log_softmax(t[X], &softmax, t[GRADIENT], error);
    case KERNEL_softmax_backward: return xent_softmax_backward(t[X], t[SECOND], &softmax, t[GRADIENT], error);
    case KERNEL_log_softmax_backward: return xent_log_softmax_backward(t[X], t[SECOND], &softmax, t[GRADIENT], error);
    case KERNEL_cross_entropy: return xent_cross_entropy(t[X], t[t[TARGET] != NULL ? TARGET : SECOND], &o, &outputs, error);
    case KERNEL_nll: return xent_nll(t[X], t[TARGET], &o, &outputs, error);
    case KERNEL_sigmoid: return xent_sigmoid(t[X], &elements, t[GRADIENT], error);
    case KERNEL_sigmoid_backward: return xent_sigmoid_backward(t[X], t[SECOND], &elements, t[GRADIENT], error);
    case KERNEL_log_sigmoid: return xent_log_sigmoid(t[X], &elements, t[GRADIENT], error);
    case KERNEL_log_sigmoid_backward: return xent_log_sigmoid_backward(t[X], t[SECOND], &elements, t[GRADIENT], error);
    case KERNEL_bce: return xent_bce(t[X], t[SECOND], &bce, &binary, error);
    default: return xent_bce_with_logits(t[X], t[SECOND], &bce, &binary, error);
    }
}

/* Reads the outputs; then everything a tensor has no element in must hold its pattern, and an
 * input its values. */
static void collect(const struct random_call *call, const struct placed *placed, struct answers *to)
{
    for (enum slot slot = X; slot < STATE; slot++) {
        const struct tensor *t = &call->tensor[slot];
        const int64_t *places = to->has[slot] ? find_places(t, placed[slot].strides) : NULL;
        for (int64_t i = 0; to->has[slot] && i < t->count; i++)
            to->values[slot][i] = get(placed[slot].block, t->dtype, placed[slot].first + places[i]);
    }
    for (enum slot slot = X; slot < STATE; slot++) {
        const struct tensor *t = &call->tensor[slot];
        if (!to->has[slot]) continue;
        bool is_overwritten = slot >= GRADIENT;
        for (enum slot other = GRADIENT; other <= TARGET_GRADIENT; other++)
            is_overwritten |= to->has[other] && placed[other].block == placed[slot].block;
        for (int64_t i = 0; !is_overwritten && i < t->count; i++)
            assert_true(check_same64(to->values[slot][i], call->values[slot][i]));
        const int64_t *places = find_places(t, placed[slot].strides);
        for (int64_t i = 0; i < t->count; i++)
            guarded_fill(placed[slot].block + (placed[slot].first + places[i]) * (int64_t)item_size(t->dtype), item_size(t->dtype));
        assert_true(guarded_untouched(placed[slot].memory, placed[slot].block, placed[slot].bytes));
    }
}

static void run(const struct random_call *call, const struct way *way, struct answers *to)
{
    static struct guarded memory[SLOTS];
    struct generator g = {way->layout};
    struct placed placed[SLOTS];
    const struct tensor *x = &call->tensor[X];
    for (enum slot slot = X; slot < SLOTS; slot++) {
        const struct tensor *t = &call->tensor[slot];
        to->has[slot] = t->present && (slot <= INCOMING || way->only == SLOTS || slot == way->only || (way->only == X && slot <= TARGET_GRADIENT));
        if (!to->has[slot] || slot == STATE) continue;
        const enum slot over = way->layout == 0 ? slot : lies_over(call, slot, &g);
        placed[slot] = over != slot ? placed[over] : (struct placed){.memory = &memory[slot]};
        if (over == slot) place(t, &placed[slot], &g, way->layout == 0);
        const int64_t *places = find_places(t, placed[slot].strides);
        for (int64_t i = 0; slot < GRADIENT && i < t->count; i++)
            put(placed[slot].block, t->dtype, placed[slot].first + places[i], call->values[slot][i]);
    }
    to->status = XENT_OK;
    to->row = -1;
    to->value = 0;
    for (int part = 0; part < (way->cut ? 2 : 1); part++) {
        xent_tensor tensors[SLOTS];
        const xent_tensor *given[SLOTS] = {0};
        int64_t shapes[SLOTS][DIMS];
        const int64_t from = part * call->cut, end = way->cut && part == 0 ? call->cut : x->cut < 0 ? 1 : x->shape[x->cut];
        for (enum slot slot = X; slot < STATE; slot++) {
            const struct tensor *t = &call->tensor[slot];
            if (!to->has[slot]) continue;
            memcpy(shapes[slot], t->shape, sizeof t->shape);
            int64_t first = placed[slot].first;
            if (t->cut >= 0) {
                shapes[slot][t->cut] = end - from;
                first += from * placed[slot].strides[t->cut];
            }
            tensors[slot] = (xent_tensor){placed[slot].block + first * (int64_t)item_size(t->dtype), t->dtype, t->ndim, shapes[slot], placed[slot].strides};
            given[slot] = &tensors[slot];
        }
        xent_error error = {.row = -1};
        const xent_status status = invoke(call, way, given, from * call->inner, part, to, &error);
        if (status != XENT_OK) assert_status(status, XENT_ERROR_NON_FINITE, &error);
        if (status == XENT_OK || to->status != XENT_OK) continue;
        to->status = status;
        to->row = error.row + from * call->inner;
        to->value = error.value;
    }
    collect(call, placed, to);
    for (int64_t row = 0; to->has[STATE] && row < call->tensor[STATE].count; row++) {
        to->values[STATE][2 * row] = to->state[row].max;
        to->values[STATE][2 * row + 1] = to->state[row].rest;
    }
}

/* ---- Comparing ----------------------------------------------------------------------------- */

static int64_t count_of(const struct random_call *call, enum slot slot)
{
    return call->tensor[slot].count * (slot == STATE ? 2 : 1);
}

static void fail_at(const struct random_call *call, const struct way *way, const char *what, int64_t at, double got, double expected)
{
    const xent_cross_entropy_options *o = &call->options;
    print_error("%s: %s, call %d, shape (", xent_tier_name(way->tier), kernel_name(call->kernel), call->number);
    for (int32_t d = 0; d < call->tensor[X].ndim; d++) print_error("%s%d", d > 0 ? ", " : "", (int)call->tensor[X].shape[d]);
    print_error("), axis %d, %s%s%s\n  dtypes:", (int)call->axis, way->layout == 0 ? "packed" : "strided", way->cut ? ", cut" : "",
                way->saved != NULL ? ", from the saved state" : way->only != SLOTS ? ", one output alone" : "");
    for (enum slot slot = X; slot < SLOTS; slot++)
        if (call->tensor[slot].present) print_error(" %s %d,", slot_names[slot], (int)call->tensor[slot].dtype);
    print_error("\n  reduction %d, divisor kind %d, smoothing %g, z-loss %g, softcap %g, focal %g (%g), ignore_index %d\n",
                (int)o->reduction, (int)o->divisor_kind, o->label_smoothing, o->z_loss, o->softcap, o->focal_gamma, call->focal_alpha, (int)o->ignore_index);
    fail_msg("%s %lld is %a (%.9g), not %a (%.9g)", what, (long long)at, got, got, expected, expected);
}

/* Sums of the parts, added, are that of the whole, but for the three roundings to double: three halves of
 * an ulp of the largest; with z-loss, which is summed apart, three times as much. Elements are summed
 * in blocks of their own: twice the header's bound. */
static void compare_totals(const struct random_call *call, const struct way *way, const struct answers *got, const struct answers *expected)
{
    static const char *const names[] = {"sum", "divisor", "mean"};
    const double allowed = call->axis < 0 ? 16 : call->options.z_loss > 0 ? 4.5 : 1.5;
    for (int i = 0; i < (way->cut ? 2 : 3); i++) {
        const double whole = expected->totals[0][i], a = got->totals[0][i], b = got->totals[1][i];
        const bool given = i == 1 && call->options.divisor_kind == XENT_DIVISOR_GIVEN;
        if (!way->cut || given || !isfinite(whole)) {
            if (!check_same64(way->cut && !given ? a + b : a, whole)) fail_at(call, way, names[i], 0, a, whole);
            continue;
        }
        const double largest = fmax(fmax(fabs(a), fabs(b)), fabs(whole)), high = a + b, low = b - (high - a); /* the exact sum */
        const double ulp = largest > 0 ? ldexp(1, ilogb(largest) - 52) : 0;
        if (!(fabs((high - whole) + low) <= allowed * ulp)) fail_at(call, way, names[i], 0, high, whole);
    }
    if (got->has[CORRECT] && got->correct[0] + (way->cut ? got->correct[1] : 0) != expected->correct[0])
        fail_at(call, way, "correct_count", 0, (double)got->correct[0], (double)expected->correct[0]);
}

static void compare(const struct random_call *call, const struct way *way, const struct answers *expected)
{
    static struct answers got;
    run(call, way, &got);
    if (got.status != expected->status || got.row != expected->row || !check_same64(got.value, expected->value))
        fail_at(call, way, "error in row", got.row, got.value, expected->value);
    for (enum slot slot = GRADIENT; slot < SLOTS; slot++)
        for (int64_t i = 0; got.has[slot] && i < count_of(call, slot); i++)
            if (!check_same64(got.values[slot][i], expected->values[slot][i]))
                fail_at(call, way, slot_names[slot], i, got.values[slot][i], expected->values[slot][i]);
    if (is_loss(call->kernel) && way->only == SLOTS) compare_totals(call, way, &got, expected);
}

static uint64_t hash_double(uint64_t hash, double value)
{
    return (hash ^ check_bits64(value)) * 0x9e3779b97f4a7c15u + (hash >> 29);
}

static uint64_t hash_answers(const struct random_call *call, const struct answers *a, uint64_t hash)
{
    hash = hash_double(hash, (double)a->status + a->value);
    for (enum slot slot = GRADIENT; slot < SLOTS; slot++)
        for (int64_t i = 0; a->has[slot] && i < count_of(call, slot); i++) hash = hash_double(hash, a->values[slot][i]);
    for (int i = 0; is_loss(call->kernel) && i < 3; i++) hash = hash_double(hash, a->totals[0][i]);
    return hash;
}

static uint64_t hashes[XENT_TIER_COUNT];
static bool complete[KERNEL_COUNT];

/* softmax and log_softmax take the states that log_sum_exp saves. */
static const xent_row_state *states_for(const struct random_call *call, xent_tier tier, const struct answers *fused)
{
    static struct random_call lse;
    static struct answers answers;
    if (call->kernel != KERNEL_softmax && call->kernel != KERNEL_log_softmax) return fused->has[STATE] ? fused->state : NULL;
    lse = *call;
    lse.kernel = KERNEL_log_sum_exp;
    lse.tensor[GRADIENT].present = false;
    add(&lse, STATE, XENT_F64, true);
    run(&lse, &(struct way){.tier = tier, .only = SLOTS}, &answers);
    return answers.state;
}

static void compare_on(xent_tier tier, const struct random_call *call, const struct answers *expected)
{
    const uint64_t seed = (uint64_t)call->number * 64 + (uint64_t)tier * 8;
    const bool may_cut = call->cut > 0 && !(is_loss(call->kernel) && call->options.reduction == XENT_REDUCTION_MEAN &&
                                            call->options.divisor_kind != XENT_DIVISOR_GIVEN);
    for (uint64_t i = 1; i <= (tier == XENT_TIER_SCALAR || check_quick() ? 1 : 2); i++)
        compare(call, &(struct way){.tier = tier, .layout = seed + i, .cut = i == 1 && may_cut, .only = SLOTS}, expected);
    const xent_row_state *saved = states_for(call, tier, expected);
    if (saved != NULL && call->tensor[GRADIENT].present)
        compare(call, &(struct way){.tier = tier, .layout = call->number % 2 == 0 ? 0 : seed, .only = X, .saved = saved}, expected);
    const enum slot only = (enum slot)(GRADIENT + call->number % (SLOTS - GRADIENT));
    if (call->tensor[only].present) compare(call, &(struct way){.tier = tier, .only = only}, expected);
}

static void options(void **state)
{
    static struct random_call call;
    static struct answers reference, own;
    const enum kernel kernel = *(const enum kernel *)*state;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t count = check_tiers(tiers);
    const int calls = kernel == KERNEL_cross_entropy ? 1500 : kernel == KERNEL_bce_with_logits ? 300 : 150;
    for (int number = 0; number < calls; number++) {
        make_call(&call, kernel, number);
        run(&call, &(struct way){.tier = XENT_TIER_SCALAR, .only = SLOTS}, &reference);
        for (size_t i = 0; i < count; i++) {
            run(&call, &(struct way){.tier = tiers[i], .only = SLOTS}, &own);
            hashes[tiers[i]] = hash_answers(&call, &own, hashes[tiers[i]]);
            if (check_tier_fused(tiers[i])) compare(&call, &(struct way){.tier = tiers[i], .only = SLOTS}, &reference);
            compare_on(tiers[i], &call, check_tier_fused(tiers[i]) ? &reference : &own);
        }
    }
    complete[kernel] = true;
}

static void hashes_agree(void **state)
{
    (void)state;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t count = check_tiers(tiers);
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++)
        if (!complete[kernel]) {
            print_message("no hash: %s has not run, or failed\n", kernel_name((enum kernel)kernel));
            skip();
        }
    for (size_t i = 0; i < count; i++)
        print_message("options hash of all outputs: %016llx (%s)\n", (unsigned long long)hashes[tiers[i]], xent_tier_name(tiers[i]));
    for (size_t i = 0; i < count; i++) assert_true(!check_tier_fused(tiers[i]) || hashes[tiers[i]] == hashes[XENT_TIER_SCALAR]);
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[KERNEL_COUNT + 1];
    static enum kernel kernels[KERNEL_COUNT];
    for (int i = 0; i < KERNEL_COUNT; i++) {
        kernels[i] = (enum kernel)i;
        tests[i] = (struct CMUnitTest){kernel_name(kernels[i]), options, NULL, NULL, &kernels[i]};
    }
    tests[KERNEL_COUNT] = (struct CMUnitTest){"hashes agree", hashes_agree, NULL, NULL, NULL};
    return check_run("options", tests, KERNEL_COUNT + 1, argc, argv);
}
