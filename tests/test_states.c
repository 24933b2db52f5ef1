/* Row states of parts of a row: merged, they stand for the whole row. A million classes in
 * chunks and shards, what is neutral and what is infinite, merging both ways round, and the
 * gradients of slices, which joined are the gradient of the row. (What slices refuse is in
 * test_errors_options.) */
#include <math.h>
#include <string.h>

#include "calls.h"
#include "vector/half.h"

static const xent_row_state neutral = {-(double)INFINITY, -1};

static xent_cross_entropy_options options_on(const xent_execution *execution)
{
    xent_cross_entropy_options options;
    assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
    options.execution = execution;
    return options;
}

static xent_row_state merge(xent_row_state a, xent_row_state b, xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    xent_row_state merged;
    assert_int_equal(xent_row_state_merge(1, &a, &b, &merged, &execution), XENT_OK);
    return merged;
}

static void finish(xent_row_state state, double target_logit, double *lse, double *loss, xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    assert_int_equal(xent_row_state_finish(1, &state, &target_logit, lse, loss, &execution), XENT_OK);
}

static void assert_same_state(xent_row_state got, xent_row_state expected)
{
    assert_same(got.max, expected.max);
    assert_same(got.rest, expected.rest);
}

/* ---- A million classes -------------------------------------------------------------- */

enum { MILLION = 1000000 };

static double logits[MILLION];
static float narrow[MILLION];

/* Normal, or with one far above; as doubles too, which f64 logits fill. */
static void make_logits(xent_dtype dtype, int64_t classes, bool peaked)
{
    struct generator g = {(uint64_t)dtype};
    for (int64_t j = 0; j < classes; j++) {
        const double x = peaked && j == classes / 3 ? 30 : 4 * (double)generate_normal(&g);
        logits[j] = dtype == XENT_F64 ? x + (double)generate_normal(&g) * 0x1p-30 : x;
        narrow[j] = (float)logits[j];
        logits[j] = dtype == XENT_F64 ? logits[j] : (double)narrow[j];
    }
}

/* log(1 + rest), in long double with the lost parts added: more than 60 bits of it are right. */
static long double exact_log1p_rest(int64_t classes, double *max)
{
    int64_t top = 0;
    for (int64_t j = 1; j < classes; j++) top = logits[j] > logits[top] ? j : top;
    long double rest = 0, lost = 0;
    for (int64_t j = 0; j < classes; j++) {
        const long double term = j == top ? 0 : expl((long double)logits[j] - (long double)logits[top]), sum = rest + term;
        lost += rest >= term ? (rest - sum) + term : (term - sum) + rest;
        rest = sum;
    }
    *max = logits[top];
    return log1pl(rest + lost);
}

/* Classes first to end, as a slice of the row: streamed in chunks of odd sizes. */
static xent_row_state stream(xent_dtype dtype, int64_t first, int64_t end, int64_t classes, int64_t target, double *target_logit,
                             xent_tier tier)
{
    static const int64_t sizes[] = {999, 4097, 1, 257, 30001, 65, 131071, 3};
    const xent_execution execution = check_execution(tier);
    xent_cross_entropy_options options = options_on(&execution);
    options.class_count = classes;
    xent_row_state all = neutral;
    for (int i = 0; first < end; i++) {
        const int64_t count = sizes[i % 8] < end - first ? sizes[i % 8] : end - first, shape[] = {1, count};
        const xent_tensor x = {dtype == XENT_F64 ? (void *)(logits + first) : (void *)(narrow + first), dtype, 2, shape, NULL};
        xent_row_state part;
        double logit = 0;
        float logit32 = 0;
        const xent_cross_entropy_outputs outputs = {
            .size = sizeof outputs,
            .state = &part,
            .target_logit = dtype == XENT_F64 ? VECTOR(&logit, XENT_F64, 1) : VECTOR(&logit32, XENT_F32, 1)};
        options.class_offset = first;
        xent_error error = {0};
        assert_status(xent_cross_entropy(&x, VECTOR(&target, XENT_I64, 1), &options, &outputs, &error), XENT_OK, &error);
        logit = dtype == XENT_F64 ? logit : (double)logit32;
        assert_same(logit, target >= first && target < first + count ? logits[target] : -(double)INFINITY);
        *target_logit = fmax(*target_logit, logit);
        all = merge(all, part, tier);
        first += count;
    }
    return all;
}

/* Within so many ulp of the logits' type of the exact value, scale being what the ulp is that of. */
static void assert_near(double got, long double exact, long double scale, double bound, xent_dtype dtype, const char *what)
{
    const long double ulp = ldexpl(1, ilogb((double)scale) - (dtype == XENT_F64 ? 52 : 23));
    if (!(fabsl((long double)got - exact) <= (long double)bound * ulp)) {
        fail_msg("%s is %a, exactly %La: %Lg ulp apart", what, got, exact, fabsl((long double)got - exact) / ulp);
    }
}

static void stream_classes(xent_dtype dtype, bool peaked, double bound)
{
    static const int shards[] = {1, 2, 3, 8};
    const int64_t classes = check_quick() ? 100003 : MILLION;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    make_logits(dtype, classes, peaked);
    double max;
    const long double log_rest = exact_log1p_rest(classes, &max);
    for (size_t t = 0; t < tier_count; t++) {
        for (int s = 0; s < 4; s++) {
            const int64_t target = s == 0 ? classes / 3 : classes - 1 - s;
            double target_logit = -(double)INFINITY, lse, loss;
            xent_row_state whole = neutral;
            for (int i = 0; i < shards[s]; i++) {
                const int64_t first = classes * i / shards[s], end = classes * (i + 1) / shards[s];
                const xent_row_state shard = stream(dtype, first, end, classes, target, &target_logit, tiers[t]);
                whole = s % 2 == 0 ? merge(whole, shard, tiers[t]) : merge(shard, whole, tiers[t]);
            }
            finish(whole, target_logit, &lse, &loss, tiers[t]);
            assert_same(whole.max, max);
            assert_same(target_logit, logits[target]);
            assert_near(lse, max + log_rest, fmaxl(fabsl(max), log_rest), bound, dtype, "lse");
            assert_near(loss, (max - (long double)logits[target]) + log_rest, (max - (long double)logits[target]) + log_rest, bound, dtype, "loss");
        }
    }
}

static void a_million_classes(void **state)
{
    (void)state;
    for (int peaked = 0; peaked < 2; peaked++) {
        stream_classes(XENT_F32, peaked == 1, 4);
        stream_classes(XENT_F64, peaked == 1, 6);
    }
}

/* ---- What is neutral, infinite, or NaN -------------------------------------------------- */

static void the_neutral_state_changes_nothing(xent_tier tier)
{
    const double inf = (double)INFINITY;
    const xent_row_state states[] = {neutral, {5, 0.25}, {5, 0}, {-3e38, 1e-300}, {1e300, 4e5}, {-inf, 0}, {-inf, 2}, {inf, 0}, {inf, 3},
                                     {5, (double)NAN}, {-inf, (double)NAN}, {inf, (double)NAN}, {0, 5e-324}};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        assert_same_state(merge(neutral, states[i], tier), states[i]);
        assert_same_state(merge(states[i], neutral, tier), states[i]);
    }
}

static void finished_states(xent_tier tier)
{
    const double inf = (double)INFINITY, nan = (double)NAN;
    const struct {
        xent_row_state state;
        double target_logit, lse, loss;
    } rules[] = {
        {neutral, 0, -inf, nan},     {{-inf, 0}, -inf, -inf, nan}, {{-inf, 2}, -inf, -inf, nan}, {{inf, 0}, 1, inf, nan},
        {{inf, 3}, inf, inf, nan},   {{5, 0}, 5, 5, 0},            {{5, 0}, -inf, 5, inf},       {{5, nan}, 5, nan, nan},
        {{inf, nan}, 5, nan, nan},   {{5, 0}, 2, 5, 3},            {{-2, 0}, -2.5, -2, 0.5},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        double lse = 99, loss = 99;
        finish(rules[i].state, rules[i].target_logit, &lse, &loss, tier);
        assert_same(lse, rules[i].lse);
        assert_same(loss, rules[i].loss);
        finish(rules[i].state, rules[i].target_logit, NULL, &loss, tier);
        assert_same(loss, rules[i].loss);
    }
    double lse, loss; /* what is small stays */
    finish((xent_row_state){20, 2.0611536224385578e-9}, 20, &lse, &loss, tier);
    assert_near(loss, 2.0611536203144e-9L, 2.06e-9L, 200, XENT_F64, "loss");
}

/* Special logits anywhere in a row of six, cut anywhere: the lse of the merged states is what
 * the whole row's has to be. */
static void special_rows_in_parts(xent_tier tier)
{
    enum { CLASSES = 6 };
    const float specials[] = {INFINITY, -INFINITY, NAN, 3e38f, 0};
    const xent_execution execution = check_execution(tier);
    const xent_softmax_options options = {.size = sizeof options, .execution = &execution, .axis = XENT_AXIS_DEFAULT};
    for (int number = 0; number < 15625; number += check_quick() ? 31 : 1) { /* 5^6 rows */
        float x[CLASSES];
        int infinite = 0, nans = 0, finite = 0;
        for (int j = 0, digits = number; j < CLASSES; j++, digits /= 5) {
            x[j] = specials[digits % 5];
            infinite += digits % 5 == 0;
            nans += digits % 5 == 2;
            finite += digits % 5 > 2;
        }
        xent_row_state part[2], whole;
        const int64_t cut = 1 + number % (CLASSES - 1);
        for (int i = 0; i < 3; i++) {
            const float *first = i == 1 ? x + cut : x;
            const int64_t count = i == 0 ? cut : i == 1 ? CLASSES - cut : CLASSES;
            const xent_log_sum_exp_outputs outputs = {.size = sizeof outputs, .state = i < 2 ? &part[i] : &whole};
            xent_error error = {0};
            assert_status(xent_log_sum_exp(MATRIX(first, 1, count), &options, &outputs, &error), XENT_OK, &error);
        }
        const xent_row_state merged = merge(part[0], part[1], tier);
        assert_same_state(merge(part[1], part[0], tier), merged);
        double lse, loss, whole_lse;
        finish(merged, 0, &lse, &loss, tier);
        finish(whole, 0, &whole_lse, &loss, tier);
        assert_same(lse, whole_lse);
        assert_same(merged.max, whole.max);
        assert_true(nans > 0 ? isnan(lse) : infinite > 0 ? isinf(lse) && lse > 0 : finite == 0 ? isinf(lse) && lse < 0 : isfinite(lse));
    }
}

/* ---- Merging ------------------------------------------------------------------------------ */

static xent_row_state random_state(struct generator *g)
{
    const double fraction = (double)generate(g) * 0x1p-32 + (double)generate(g) * 0x1p-64;
    const double max = (double)generate_normal(g) + (double)generate_normal(g) * 0x1p-30;
    return (xent_row_state){max * ldexp(1, (int)generate_below(g, 9) - 4), fraction * ldexp(1, (int)generate_below(g, 60) - 40)};
}

/* Two states, in every fourth pair of one maximum. */
static void random_pair(struct generator *g, int number, xent_row_state pair[2])
{
    pair[0] = random_state(g);
    pair[1] = random_state(g);
    if (number % 4 == 0) pair[1].max = pair[0].max;
}

/* Within 4 ulp of double of r1 + (1 + r2) exp(m2 - m1). */
static void merging(xent_tier tier)
{
    struct generator g = {5};
    for (int i = 0; i < (check_quick() ? 2000 : 20000); i++) {
        xent_row_state p[2];
        random_pair(&g, i, p);
        const int h = p[0].max >= p[1].max ? 0 : 1;
        const xent_row_state merged = merge(p[0], p[1], tier);
        assert_same(merged.max, p[h].max);
        const long double exact = (long double)p[h].rest + (1 + (long double)p[!h].rest) * expl((long double)p[!h].max - (long double)p[h].max);
        assert_near(merged.rest, exact, exact, 4, XENT_F64, "rest");
    }
}

/* The same bits both ways round, in place or not. */
static void merging_commutes(xent_tier tier)
{
    struct generator g = {5};
    const xent_execution execution = check_execution(tier);
    for (int i = 0; i < (check_quick() ? 2000 : 20000); i++) {
        xent_row_state a[2], b[2];
        random_pair(&g, i, a);
        b[0] = a[1], b[1] = a[0];
        const xent_row_state merged = merge(a[0], a[1], tier);
        assert_int_equal(xent_row_state_merge(2, a, b, i % 2 == 0 ? a : b, &execution), XENT_OK);
        assert_same_state((i % 2 == 0 ? a : b)[0], merged);
        assert_same_state((i % 2 == 0 ? a : b)[1], merged);
    }
}

static void states_are_the_same_on_every_tier(void **state)
{
    (void)state;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t count = check_tiers(tiers);
    struct generator g = {6};
    for (int i = 0; i < 5000; i++) {
        const xent_row_state a = random_state(&g), b = random_state(&g), merged = merge(a, b, XENT_TIER_SCALAR);
        double lse[2], loss[2];
        finish(a, b.max, &lse[0], &loss[0], XENT_TIER_SCALAR);
        for (size_t t = 1; t < count; t++) {
            if (!check_tier_fused(tiers[t])) continue;
            assert_same_state(merge(a, b, tiers[t]), merged);
            finish(a, b.max, &lse[1], &loss[1], tiers[t]);
            assert_same(lse[1], lse[0]);
            assert_same(loss[1], loss[0]);
        }
    }
}

/* ---- Slices and their gradients -------------------------------------------------------------- */

enum { ROWS = 5, MOST = ROWS * 1000 };

struct sliced {
    xent_dtype dtype, target_dtype;
    int64_t classes;
    unsigned char x[8 * MOST], target[8 * ROWS];
    float weight[MOST], row_weight[ROWS];
    bool has_weight, has_row_weight;
    xent_cross_entropy_options options;
};

static size_t item_size(xent_dtype dtype)
{
    return dtype == XENT_F64 || dtype == XENT_I64 ? 8 : dtype == XENT_F32 || dtype == XENT_I32 ? 4 : dtype == XENT_U8 ? 1 : 2;
}

static void make_sliced(struct sliced *s, xent_dtype dtype, int64_t classes, unsigned number)
{
    struct generator g = {(uint64_t)classes * 64 + number};
    *s = (struct sliced){.dtype = dtype, .target_dtype = (xent_dtype)(XENT_I64 + number % 3), .classes = classes};
    for (int64_t i = 0; i < ROWS * classes; i++) {
        const float value = i % 13 == 5 ? -INFINITY : 3 * generate_normal(&g);
        const double wide = (double)value + (i % 13 == 5 ? 0 : (double)generate_normal(&g) * 0x1p-28);
        const uint16_t f16 = half_to_f16(value), bf16 = half_to_bf16(value);
        const void *const of_type[] = {NULL, &value, &wide, &f16, &bf16};
        memcpy(s->x + (size_t)i * item_size(dtype), of_type[dtype], item_size(dtype));
    }
    for (int row = 0; row < ROWS; row++) { /* one ignored */
        const int64_t index = row == 2 ? 1 : generate_below(&g, classes < 256 ? (uint32_t)classes : 256);
        const void *const of_type[] = {&index, &(int32_t){(int32_t)index}, &(uint8_t){(uint8_t)index}};
        memcpy(s->target + (size_t)row * item_size(s->target_dtype), of_type[number % 3], item_size(s->target_dtype));
        s->row_weight[row] = generate_uniform(&g, 0, 2);
    }
    for (int64_t c = 0; c < classes; c++) s->weight[c] = generate_uniform(&g, -0.5f, 2);
    assert_int_equal(xent_cross_entropy_options_init(&s->options, sizeof s->options), XENT_OK);
    s->options.ignore_index = 1;
    s->options.reduction = (xent_reduction)(number % 3);
    s->has_weight = number % 2 == 0;
    s->has_row_weight = number % 5 == 0;
    s->options.z_loss = number % 4 == 1 ? 1e-3 : 0;
    s->options.softcap = number % 3 == 1 ? 10 : 0;
}

/* Classes first ... end - 1 of the rows: state and target_logit, or the gradient from the merged states. */
static void call_slice(const struct sliced *s, int64_t first, int64_t end, xent_tier tier, const xent_row_state *merged,
                       xent_row_state *states, double *target_logit, unsigned char *gradient)
{
    const xent_execution execution = check_execution(tier);
    const int64_t shape[] = {ROWS, end - first}, strides[] = {s->classes, 1};
    const size_t offset = (size_t)first * item_size(s->dtype);
    const xent_tensor x = {(void *)(uintptr_t)(s->x + offset), s->dtype, 2, shape, strides}, out = {gradient + offset, s->dtype, 2, shape, strides};
    float logit32[ROWS];
    xent_cross_entropy_options options = s->options;
    options.execution = &execution;
    options.weight = s->has_weight ? VECTOR(s->weight, XENT_F32, s->classes) : NULL; /* of all classes */
    options.row_weight = s->has_row_weight ? VECTOR(s->row_weight, XENT_F32, ROWS) : NULL;
    options.class_count = s->classes;
    options.class_offset = first;
    options.state = merged;
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs,
        .state = states,
        .target_logit = s->dtype == XENT_F64 ? VECTOR(target_logit, XENT_F64, ROWS) : VECTOR(logit32, XENT_F32, ROWS),
        .gradient = merged != NULL ? &out : NULL,
    };
    xent_error error = {0};
    assert_status(xent_cross_entropy(&x, VECTOR(s->target, s->target_dtype, ROWS), &options, &outputs, &error), XENT_OK, &error);
    for (int row = 0; row < ROWS && s->dtype != XENT_F64; row++) target_logit[row] = (double)logit32[row];
}

/* The slices' states merged, the best of their target logits, and their gradients side by side. */
static void run_slices(const struct sliced *s, const int64_t *cuts, int count, xent_tier tier, const xent_row_state *given,
                       xent_row_state merged[ROWS], double target_logit[ROWS], unsigned char *gradient)
{
    const xent_execution execution = check_execution(tier);
    for (int row = 0; row < ROWS; row++) merged[row] = neutral, target_logit[row] = -(double)INFINITY;
    for (int i = 0; i < count; i++) {
        xent_row_state states[ROWS];
        double logit[ROWS];
        call_slice(s, cuts[i], cuts[i + 1], tier, NULL, states, logit, gradient);
        assert_int_equal(xent_row_state_merge(ROWS, merged, states, merged, &execution), XENT_OK);
        for (int row = 0; row < ROWS; row++) target_logit[row] = fmax(target_logit[row], logit[row]);
    }
    for (int i = 0; i < count; i++) {
        double logit[ROWS];
        call_slice(s, cuts[i], cuts[i + 1], tier, given != NULL ? given : merged, NULL, logit, gradient);
    }
}

static void gradients_of_slices(void **state)
{
    (void)state;
    static const int64_t widths[] = {2, 10, 37, 128, 130, 300, 1000};
    static struct sliced s;
    static unsigned char slices[8 * MOST], whole[8 * MOST], scalar[8 * MOST];
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    for (int w = 0; w < 7; w++) {
        const int64_t c = widths[w], cuts[] = {0, c / 7, c / 7 + 1, c / 2, c};
        for (unsigned number = 0; number < (check_quick() ? 5 : 60); number++) {
            const xent_dtype dtype = (xent_dtype)(XENT_F32 + number % 4);
            const size_t bytes = (size_t)(ROWS * c) * item_size(dtype);
            make_sliced(&s, dtype, c, number);
            xent_row_state first[ROWS];
            for (size_t t = 0; t < tier_count; t++) {
                xent_row_state merged[ROWS], direct[ROWS];
                double target_logit[ROWS], whole_logit[ROWS];
                run_slices(&s, cuts, 4, tiers[t], NULL, merged, target_logit, slices);
                run_slices(&s, (const int64_t[]){0, c}, 1, tiers[t], merged, direct, whole_logit, whole);
                assert_memory_equal(slices, whole, bytes);
                if (t == 0) memcpy(scalar, slices, bytes), memcpy(first, merged, sizeof first);
                if (check_tier_fused(tiers[t])) assert_memory_equal(slices, scalar, bytes);
                for (int row = 0; row < ROWS; row++) {
                    assert_same(target_logit[row], whole_logit[row]);
                    assert_same(merged[row].max, direct[row].max);
                    if (row == 2) assert_same_state(merged[row], neutral); /* ignored */
                    if (check_tier_fused(tiers[t])) assert_same_state(merged[row], first[row]);
                }
            }
        }
    }
}

static void states_need_pointers(xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    xent_row_state a = neutral;
    double number = 0;
    assert_int_equal(xent_row_state_merge(0, NULL, NULL, NULL, &execution), XENT_OK);
    assert_int_equal(xent_row_state_merge(1, NULL, &a, &a, &execution), XENT_ERROR_NULL);
    assert_int_equal(xent_row_state_merge(1, &a, NULL, &a, &execution), XENT_ERROR_NULL);
    assert_int_equal(xent_row_state_merge(1, &a, &a, NULL, &execution), XENT_ERROR_NULL);
    assert_int_equal(xent_row_state_finish(0, NULL, NULL, NULL, NULL, &execution), XENT_OK);
    assert_int_equal(xent_row_state_finish(1, NULL, NULL, &number, NULL, &execution), XENT_ERROR_NULL);
    assert_int_equal(xent_row_state_finish(1, &a, NULL, &number, &number, &execution), XENT_ERROR_NULL);
    assert_int_equal(xent_row_state_finish(1, &a, NULL, &number, NULL, &execution), XENT_OK);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_million_classes),
        on_every_tier(the_neutral_state_changes_nothing),
        on_every_tier(finished_states),
        on_every_tier(special_rows_in_parts),
        on_every_tier(merging),
        on_every_tier(merging_commutes),
        cmocka_unit_test(states_are_the_same_on_every_tier),
        cmocka_unit_test(gradients_of_slices),
        on_every_tier(states_need_pointers),
    };
    return check_run("states", tests, sizeof tests / sizeof *tests, argc, argv);
}
