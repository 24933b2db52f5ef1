#include "expected.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

/* ---- Building ----------------------------------------------------------------- */

static double *doubles(int64_t count)
{
    double *memory = calloc((size_t)count + 1, sizeof *memory);
    assert_non_null(memory);
    return memory;
}

static struct expected *add(struct expectation *all, const char *name, double bound, int64_t rows,
                            int64_t classes)
{
    assert_true(all->count < MAX_OUTPUTS);
    struct expected *e = &all->outputs[all->count++];
    const int64_t count = rows * classes;
    *e = (struct expected){name,           bound,          rows,          classes,
                           doubles(count), doubles(count), doubles(count)};
    return e;
}

/* The exact value, before a factor; the bound counts ulps of largest, the value itself or its
 * largest term. */
static void put(struct expected *e, int64_t at, double exact, double largest, double factor)
{
    /* What does not fit in a float before the weight is infinite with it. */
    const bool overflows = check_ulps(copysignf(INFINITY, (float)exact), exact) <= 0;
    e->exact[at] = (overflows ? copysign((double)INFINITY, exact) : exact) * factor;
    e->unit[at] = check_ulp(largest) * fabs(factor);
    e->rounding[at] = factor == 1 ? 0 : check_ulp(exact * factor) / 2;
}

double expected_error(const struct expected *e, const struct output *got, int64_t at)
{
    const double value = got->values[at], exact = e->exact[at];
    if (check_same64(value, exact) || isinf(e->unit[at])) {
        return 0;
    }
    if (!got->is_double && !isnan(value) && !isnan(exact) && check_ulps((float)value, exact) <= 0) {
        return 0; /* the exact value rounds to the infinity that was got */
    }
    if (!isfinite(value) || !isfinite(exact)) {
        return (double)INFINITY;
    }
    return fmax(fabs(value - exact) - e->rounding[at], 0) / e->unit[at];
}

void expectation_free(struct expectation *all)
{
    for (int i = 0; i < all->count; i++) {
        free(all->outputs[i].exact);
        free(all->outputs[i].unit);
        free(all->outputs[i].rounding);
    }
}

/* The incoming gradient of row, or element, at. */
static double incoming(const struct problem *p, int64_t at)
{
    return p->incoming == INCOMING_NONE     ? 1
           : p->incoming == INCOMING_SCALAR ? (double)p->g[0]
                                            : (double)p->g[at];
}

/* ---- The softmax family ---------------------------------------------------------- */

static void put_state(struct expected *state, int64_t at, struct oracle_row row)
{
    put(state, 2 * at, row.max, 0, 1);
    put(state, 2 * at + 1, row.rest, row.rest, 1);
    state->unit[2 * at] = DBL_MIN; /* exactly an element of the row */
    if (isinf(row.max)) {
        state->unit[2 * at + 1] = (double)INFINITY; /* means nothing, so may be anything */
    }
}

static void expect_log_sum_exp(const struct problem *p, struct expectation *all)
{
    struct expected *lse = add(all, "lse", 2, p->rows, 1);
    struct expected *gradient = add(all, "gradient", 4, p->rows, p->classes);
    struct expected *state = add(all, "state", 1.5, p->rows, 2);
    for (int64_t i = 0; i < p->rows; i++) {
        const float *x = p->x + i * p->classes;
        const struct oracle_row row = oracle_row(x, p->classes);
        put(lse, i, oracle_lse(row), fmax(fabs(row.max), log1p(row.rest)), 1);
        put_state(state, i, row);
        for (int64_t j = 0; j < p->classes; j++) {
            const double softmax = oracle_softmax(row, (double)x[j]);
            put(gradient, i * p->classes + j, softmax, softmax, incoming(p, i));
        }
    }
}

typedef double row_oracle(struct oracle_row, double);

static void expect_forward(const struct problem *p, struct expectation *all, double bound,
                           row_oracle *oracle)
{
    struct expected *output = add(all, "output", bound, p->rows, p->classes);
    for (int64_t i = 0; i < p->rows; i++) {
        const struct oracle_row row = oracle_row(p->x + i * p->classes, p->classes);
        for (int64_t at = i * p->classes; at < (i + 1) * p->classes; at++) {
            const double exact = oracle(row, (double)p->x[at]);
            put(output, at, exact, exact, 1);
        }
    }
}

static void expect_softmax(const struct problem *p, struct expectation *all)
{
    expect_forward(p, all, 4, oracle_softmax);
}

static void expect_log_softmax(const struct problem *p, struct expectation *all)
{
    expect_forward(p, all, 2, oracle_log_softmax);
}

/* p_j (g_j - sum p_c g_c). The header says "relative to the largest term", of which the
 * sum, all its terms taken positive, is one: 4 ulp of that. */
static void expect_softmax_backward(const struct problem *p, struct expectation *all)
{
    struct expected *gradient = add(all, "gradient", 4, p->rows, p->classes);
    for (int64_t i = 0; i < p->rows; i++) {
        const float *output = p->x + i * p->classes, *g = p->g + i * p->classes;
        double sum = 0, magnitudes = 0;
        for (int64_t c = 0; c < p->classes; c++) {
            sum += (double)output[c] * (double)g[c];
            magnitudes += fabs((double)output[c] * (double)g[c]);
        }
        for (int64_t j = 0; j < p->classes; j++) {
            const double probability = (double)output[j], incoming_j = (double)g[j];
            put(gradient, i * p->classes + j, probability * (incoming_j - sum),
                probability * fmax(fabs(incoming_j), magnitudes), 1);
        }
    }
}

/* g_j - exp(output_j) sum g_c, likewise. */
static void expect_log_softmax_backward(const struct problem *p, struct expectation *all)
{
    struct expected *gradient = add(all, "gradient", 4, p->rows, p->classes);
    for (int64_t i = 0; i < p->rows; i++) {
        const float *output = p->x + i * p->classes, *g = p->g + i * p->classes;
        double sum = 0, magnitudes = 0;
        for (int64_t c = 0; c < p->classes; c++) {
            sum += (double)g[c];
            magnitudes += fabs((double)g[c]);
        }
        for (int64_t j = 0; j < p->classes; j++) {
            const double probability = exp((double)output[j]), incoming_j = (double)g[j];
            put(gradient, i * p->classes + j, incoming_j - probability * sum,
                fmax(fabs(incoming_j), probability * magnitudes), 1);
        }
    }
}

/* ---- Reductions ------------------------------------------------------------------- */

/* What a mean's gradient is divided by. sum, divisor and mean themselves are no matter of
 * ulps of a float: test_sums. */
static double mean_divisor(const struct problem *p)
{
    long double divisor = 0;
    for (int64_t i = 0; i < p->rows; i++) {
        if (!problem_ignores(p, i)) {
            divisor += p->weight != NULL ? (long double)p->weight[p->y[i]] : 1;
        }
    }
    return (double)divisor;
}

static void expect_index_loss(const struct problem *p, struct expectation *all)
{
    const bool nll = p->kernel == KERNEL_nll;
    const double divisor = p->reduction == XENT_REDUCTION_MEAN ? mean_divisor(p) : 1;
    struct expected *loss = add(all, "loss", nll ? 0 : 2, p->rows, 1);
    struct expected *gradient = add(all, "gradient", nll ? 0 : 4, p->rows, p->classes);
    struct expected *lse = nll ? NULL : add(all, "lse", 2, p->rows, 1);
    struct expected *state = nll ? NULL : add(all, "state", 1.5, p->rows, 2);
    for (int64_t i = 0; i < p->rows; i++) {
        const float *x = p->x + i * p->classes;
        const bool ignored = problem_ignores(p, i);
        const double weight = ignored ? 0 : p->weight != NULL ? (double)p->weight[p->y[i]] : 1;
        const double factor = ignored ? 0 : weight * incoming(p, i) / divisor;
        const struct oracle_row none = {-(double)INFINITY, -1};
        const struct oracle_row row = ignored || nll ? none : oracle_row(x, p->classes);
        const double target = ignored ? 0 : (double)x[p->y[i]];
        const double exact = ignored ? 0 : nll ? -target : oracle_loss(row, target);
        put(loss, i, exact, exact, weight);
        if (!nll) {
            put(lse, i, oracle_lse(row), fmax(fabs(row.max), log1p(row.rest)), 1);
            put_state(state, i, row);
        }
        for (int64_t j = 0; j < p->classes; j++) {
            const bool is_target = j == p->y[i];
            const double slope = ignored ? 0
                                 : nll   ? (is_target ? -1 : 0)
                                         : oracle_loss_gradient(row, (double)x[j], is_target);
            put(gradient, i * p->classes + j, slope, slope, factor);
        }
    }
}

static void expect_cross_entropy(const struct problem *p, struct expectation *all)
{
    expect_index_loss(p, all);
}

static void expect_nll(const struct problem *p, struct expectation *all)
{
    expect_index_loss(p, all);
}

/* ---- Elementwise -------------------------------------------------------------------- */

static void expect_sigmoid(const struct problem *p, struct expectation *all)
{
    struct expected *output = add(all, "output", 2.5, p->rows, p->classes);
    for (int64_t i = 0; i < p->rows * p->classes; i++) {
        const double exact = oracle_sigmoid((double)p->x[i]);
        put(output, i, exact, exact, 1);
    }
}

static void expect_log_sigmoid(const struct problem *p, struct expectation *all)
{
    struct expected *output = add(all, "output", 2, p->rows, p->classes);
    for (int64_t i = 0; i < p->rows * p->classes; i++) {
        const double exact = oracle_log_sigmoid((double)p->x[i]);
        put(output, i, exact, exact, 1);
    }
}

static void expect_sigmoid_backward(const struct problem *p, struct expectation *all)
{
    struct expected *gradient = add(all, "gradient", 3, p->rows, p->classes);
    for (int64_t i = 0; i < p->rows * p->classes; i++) {
        const double s = (double)p->x[i], exact = s * (1 - s);
        put(gradient, i, exact, exact, (double)p->g[i]);
    }
}

static void expect_log_sigmoid_backward(const struct problem *p, struct expectation *all)
{
    struct expected *gradient = add(all, "gradient", 3, p->rows, p->classes);
    for (int64_t i = 0; i < p->rows * p->classes; i++) {
        const double exact = oracle_sigmoid(-(double)p->x[i]);
        put(gradient, i, exact, exact, (double)p->g[i]);
    }
}

static double bce_factor(const struct problem *p, int64_t i)
{
    const double count = (double)(p->rows * p->classes);
    return incoming(p, i) / (p->reduction == XENT_REDUCTION_MEAN ? count : 1);
}

static void expect_bce(const struct problem *p, struct expectation *all)
{
    struct expected *loss = add(all, "loss", 4, p->rows, p->classes);
    struct expected *gradient = add(all, "gradient", 4, p->rows, p->classes);
    struct expected *target_gradient = add(all, "target_gradient", 3, p->rows, p->classes);
    for (int64_t i = 0; i < p->rows * p->classes; i++) {
        const double probability = (double)p->x[i], y = (double)p->t[i];
        const double weight = p->weight != NULL ? (double)p->weight[i] : 1;
        const double term1 = oracle_bce_term1(probability, y);
        const double term0 = oracle_bce_term0(probability, y);
        put(loss, i, term1 + term0, fmax(term1, term0), weight);
        const double slope = oracle_bce_gradient(probability, y);
        put(gradient, i, slope, slope, weight * bce_factor(p, i));
        const double target_slope = oracle_bce_target_gradient(probability);
        put(target_gradient, i, target_slope, fmax(-log(probability), -log1p(-probability)), weight * bce_factor(p, i));
    }
}

/* A term of one sign and one of the other, or both of one: exact to some ulps of the larger. */
static void put_terms(struct expected *e, int64_t at, double a, double b, double factor)
{
    put(e, at, a + b, fmax(fabs(a), fabs(b)), factor);
}

static void expect_bce_with_logits(const struct problem *p, struct expectation *all)
{
    struct expected *loss = add(all, "loss", 5, p->rows, p->classes);
    struct expected *gradient = add(all, "gradient", 5, p->rows, p->classes);
    struct expected *target_gradient = add(all, "target_gradient", 5, p->rows, p->classes);
    for (int64_t i = 0; i < p->rows * p->classes; i++) {
        const double x = (double)p->x[i], y = (double)p->t[i];
        const double weight = p->weight != NULL ? (double)p->weight[i] : 1;
        const double positive = p->pos_weight != NULL ? (double)p->pos_weight[i] : 1;
        const double factor = weight * bce_factor(p, i);
        put_terms(loss, i, (1 - y) * oracle_softplus(x), positive * y * oracle_softplus(-x), weight);
        put_terms(gradient, i, (1 - y) * oracle_sigmoid(x), -positive * y * oracle_sigmoid(-x),
                  factor);
        put_terms(target_gradient, i, positive * oracle_softplus(-x), -oracle_softplus(x), factor);
    }
}

/* A kernel of the list without an expectation here does not compile. */
#define EXPECT(name, job) expect_##name,
static void (*const expectations[KERNEL_COUNT])(const struct problem *, struct expectation *) = {
    XENT_KERNELS(EXPECT)};
#undef EXPECT

struct expectation expect(const struct problem *problem)
{
    struct expectation all = {0};
    expectations[problem->kernel](problem, &all);
    return all;
}
