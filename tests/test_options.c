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

#include "random_call.h"

static const char *const slot_names[SLOTS] = {
    "input", "second input", "target", "weight", "pos_weight", "row_weight", "output_gradient", "gradient or output",
    "target_gradient", "loss", "lse", "z_loss", "entropy", "target_logit", "argmax", "correct", "state"};

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
    random_call_run(call, way, &got);
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
    random_call_add(&lse, STATE, XENT_F64, true);
    random_call_run(&lse, &(struct way){.tier = tier, .only = SLOTS}, &answers);
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
        random_call_make(&call, kernel, number);
        random_call_run(&call, &(struct way){.tier = XENT_TIER_SCALAR, .only = SLOTS}, &reference);
        for (size_t i = 0; i < count; i++) {
            random_call_run(&call, &(struct way){.tier = tiers[i], .only = SLOTS}, &own);
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
