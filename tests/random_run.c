#include <string.h>

#include "random_call.h"

struct placed {
    struct guarded *memory;
    unsigned char *block;
    size_t bytes;
    int64_t strides[DIMS], first;
    bool broadcast; /* has a stride 0 */
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

/* Packed in C order, or dimensions in any order, spaced out, some turned round, and one along which
 * the values repeat perhaps of stride 0. */
static void place(const struct tensor *t, struct placed *p, struct generator *g, bool packed)
{
    p->broadcast = !packed && t->repeated >= 0 && one_in(g, 2);
    int32_t order[DIMS] = {0, 1, 2, 3};
    for (int32_t d = t->ndim - 1; d > 0 && !packed && one_in(g, 2); d--) {
        const int32_t other = (int32_t)generate_below(g, (uint32_t)d + 1), held = order[d];
        order[d] = order[other];
        order[other] = held;
    }
    int64_t step = packed || !one_in(g, 5) ? 1 : 2 + generate_below(g, 2), last = 0;
    p->first = 0;
    for (int32_t i = t->ndim - 1; i >= 0; i--) {
        const int64_t size = p->broadcast && order[i] == t->repeated ? 1 : t->shape[order[i]];
        const bool reversed = !packed && one_in(g, 4);
        p->strides[order[i]] = reversed ? -step : step;
        p->first += reversed ? (size - 1) * step : 0;
        last += (size - 1) * step;
        step = step * size + (packed || one_in(g, 2) ? 0 : generate_below(g, 6));
    }
    if (p->broadcast) p->strides[t->repeated] = 0;
    p->bytes = (size_t)(last + 1) * element_size(t->dtype);
    p->block = guarded_block(p->memory, p->bytes, packed ? 0 : generate_below(g, 16) * element_size(t->dtype), one_in(g, 2) ? AT_FRONT : AT_BACK);
}

/* The input that an output is to be written over; itself: none. */
static enum slot lies_over(const struct random_call *call, const struct placed *placed, enum slot slot, struct generator *g)
{
    const struct tensor *t = call->tensor;
    enum slot over = slot;
    if (slot == GRADIENT && one_in(g, 3)) {
        const bool over_second = t[SECOND].present && t[SECOND].dtype == t[X].dtype && !t[TARGET_GRADIENT].present;
        over = over_second && one_in(g, 2) ? SECOND : X;
    } else if (slot == TARGET_GRADIENT && call->axis < 0 && one_in(g, 3)) {
        over = SECOND;
    }
    return over != slot && placed[over].broadcast ? slot : over;
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
            to->values[slot][i] = element_get(placed[slot].block, t->dtype, placed[slot].first + places[i]);
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
            guarded_fill(placed[slot].block + (placed[slot].first + places[i]) * (int64_t)element_size(t->dtype), element_size(t->dtype));
        assert_true(guarded_untouched(placed[slot].memory, placed[slot].block, placed[slot].bytes));
    }
}

void random_call_run(const struct random_call *call, const struct way *way, struct answers *to)
{
    static struct guarded memory[SLOTS];
    struct generator g = {way->layout};
    struct placed placed[SLOTS];
    const struct tensor *x = &call->tensor[X];
    for (enum slot slot = X; slot < SLOTS; slot++) {
        const struct tensor *t = &call->tensor[slot];
        to->has[slot] = t->present && (slot <= INCOMING || way->only == SLOTS || slot == way->only || (way->only == X && slot <= TARGET_GRADIENT));
        if (!to->has[slot] || slot == STATE) continue;
        const enum slot over = way->layout == 0 ? slot : lies_over(call, placed, slot, &g);
        placed[slot] = over != slot ? placed[over] : (struct placed){.memory = &memory[slot]};
        if (over == slot) place(t, &placed[slot], &g, way->layout == 0);
        const int64_t *places = find_places(t, placed[slot].strides);
        for (int64_t i = 0; slot < GRADIENT && i < t->count; i++)
            element_put(placed[slot].block, t->dtype, placed[slot].first + places[i], call->values[slot][i]);
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
            tensors[slot] = (xent_tensor){placed[slot].block + first * (int64_t)element_size(t->dtype), t->dtype, t->ndim, shapes[slot], placed[slot].strides};
            given[slot] = &tensors[slot];
        }
        xent_error error = {.row = -1};
        check_clear_uppers();
        const xent_status status = invoke(call, way, given, from * call->inner, part, to, &error);
        assert_true(check_uppers_clear());
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
