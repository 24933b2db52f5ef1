#include "problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

const char *kernel_name(enum kernel kernel)
{
#define KERNEL_NAME(name, job) #name,
    static const char *const names[] = {XENT_KERNELS(KERNEL_NAME)};
#undef KERNEL_NAME
    return names[kernel];
}

bool kernel_elementwise(enum kernel kernel)
{
    return kernel == KERNEL_sigmoid || kernel == KERNEL_sigmoid_backward ||
           kernel == KERNEL_log_sigmoid || kernel == KERNEL_log_sigmoid_backward ||
           kernel == KERNEL_bce || kernel == KERNEL_bce_with_logits;
}

const char *kind_name(enum kind kind)
{
    static const char *const names[KIND_COUNT] = {
        "normal",      "wide",       "very wide",  "largest",   "ties",       "masked",
        "equal",       "zeros",      "confident",  "gap",       "around -200", "around 256",
        "around 1e5",  "vanishing",  "far, equal", "tiny",      "specials",
    };
    return names[kind];
}

static float signed_by(struct generator *g, float magnitude)
{
    return (generate(g) & 1u) != 0 ? -magnitude : magnitude;
}

/* ---- Logits ------------------------------------------------------------------ */

/* One logit; lead: it is the row's one high one. */
static float logit(struct generator *g, enum kind kind, bool lead)
{
    switch (kind) {
    case NORMAL:
    case SPECIALS:
    case EQUAL:
    case KIND_COUNT:
        return 3 * generate_normal(g);
    case WIDE:
        return generate_uniform(g, -60, 60);
    case VERY_WIDE:
        return (float)((int)generate_below(g, 3) - 1) * 1e4f + 10 * generate_normal(g);
    case LARGEST:
        return generate_below(g, 16) == 0 ? signed_by(g, 3e38f) : generate_uniform(g, -1e30f, 1e30f);
    case TIES:
        return (float)((int)generate_below(g, 5) - 2);
    case MASKED:
        return generate_below(g, 7) == 0 ? -INFINITY : 3 * generate_normal(g);
    case ZEROS:
        return generate_below(g, 16) == 0 ? -30 : signed_by(g, 0);
    case CONFIDENT:
        return lead ? 20 : 0;
    case GAP:
        return lead ? 100 + 10 * generate_normal(g) : generate_uniform(g, 10, 30);
    case AROUND_200:
        return -200 + generate_normal(g);
    case AROUND_256:
        return 256 + generate_normal(g);
    case AROUND_1E5:
        return 1e5f + 3 * generate_normal(g);
    case VANISHING:
        return lead ? 0 : generate_uniform(g, -106, -86);
    case FAR_EQUAL:
        return lead ? 0 : generate_uniform(g, -104, -70);
    case TINY:
        return generate_normal(g) * 1e-39f;
    }
    return 0;
}

/* NaN, +inf and rows of -inf, at another lane each time. */
static void put_specials(struct generator *g, float *x, int64_t rows, int64_t classes)
{
    for (int64_t row = 0; row < rows && row < 6 && classes > 0; row++, x += classes) {
        float *one = &x[generate_below(g, (uint32_t)classes)];
        float *other = &x[generate_below(g, (uint32_t)classes)];
        if (row == 0) {
            *one = NAN;
        } else if (row == 1) {
            *one = INFINITY;
        } else if (row == 2 || row == 3) {
            for (int64_t c = 0; c < classes; c++) {
                x[c] = -INFINITY;
            }
            *one = row == 2 ? -INFINITY : NAN;
        } else if (row == 4) {
            *other = NAN;
            *one = INFINITY;
        } else {
            *other = INFINITY;
            *one = INFINITY;
        }
    }
}

static void fill_logits(struct generator *g, enum kind kind, float *x, int64_t rows,
                        int64_t classes)
{
    for (int64_t row = 0; row < rows; row++) {
        const int64_t lead = classes > 0 ? generate_below(g, (uint32_t)classes) : 0;
        const float common = logit(g, kind, false);
        for (int64_t c = 0; c < classes; c++) {
            const bool shared = kind == EQUAL || (kind == FAR_EQUAL && c != lead);
            x[row * classes + c] = shared ? common : logit(g, kind, c == lead);
        }
    }
    if (kind == SPECIALS) {
        put_specials(g, x, rows, classes);
    }
}

/* ---- Probabilities --------------------------------------------------------------- */

static float probability(struct generator *g, enum kind kind)
{
    const float uniform = generate_uniform(g, 0, 1);
    switch (kind) {
    case WIDE:
    case VERY_WIDE: /* near 0, subnormal ones too, and near 1 */
    case LARGEST:
        if (generate_below(g, 3) == 0) {
            return 1 - ldexpf(uniform, -(int)generate_below(g, 26));
        }
        return ldexpf(uniform, -(int)generate_below(g, 150));
    case TIES:
        return (float)generate_below(g, 5) / 4;
    case ZEROS:
        return generate_below(g, 16) == 0 ? 1 : signed_by(g, 0);
    case CONFIDENT:
        return generate_below(g, 2) == 0 ? 1 - 0x1p-24f * (float)generate_below(g, 3)
                                         : 1e-20f * (float)generate_below(g, 3);
    case TINY:
    case VANISHING:
        return uniform * 1e-38f;
    default:
        return uniform;
    }
}

static void fill_probabilities(struct generator *g, enum kind kind, float *p, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        p[i] = kind == EQUAL && i > 0 ? p[0] : probability(g, kind);
    }
}

/* Targets of the BCE: mostly 0 and 1, as in life. Without a range check, also beyond. */
static void fill_binary_targets(struct generator *g, bool beyond, float *t, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        switch (generate_below(g, beyond ? 8 : 7)) {
        case 0:
        case 1:
        case 2:
            t[i] = 0;
            break;
        case 3:
        case 4:
            t[i] = 1;
            break;
        case 7:
            t[i] = generate_uniform(g, -1, 3);
            break;
        default:
            t[i] = generate_uniform(g, 0, 1);
            break;
        }
    }
}

/* ---- Coefficients, class indices ------------------------------------------------------ */

static void fill_coefficients(struct generator *g, enum coefficients coefficients, float *w,
                              int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        w[i] = generate_uniform(g, 0.5f, 2);
        if (coefficients == NO_COEFFICIENTS) {
            w[i] = 1;
        } else if (coefficients == ANY_COEFFICIENTS && generate_below(g, 8) == 0) {
            const float odd[] = {0, -0.0f, -1.5f, 1e-30f, -3e5f};
            w[i] = odd[generate_below(g, 5)];
        }
    }
}

/* The largest class in every third row, any class in the others, the ignored one in some. */
static void fill_indices(struct generator *g, struct problem *p, bool ignoring)
{
    for (int64_t row = 0; row < p->rows; row++) {
        const float *x = p->x + row * p->classes;
        p->y[row] = generate_below(g, (uint32_t)p->classes);
        for (int64_t c = 0; row % 3 == 0 && c < p->classes; c++) {
            if (x[c] > x[p->y[row]]) {
                p->y[row] = c;
            }
        }
        if (ignoring && row % 5 == 3) {
            p->y[row] = p->ignore_index;
        }
    }
}

/* ---- Problems -------------------------------------------------------------------------- */

static float *floats(int64_t count)
{
    float *memory = malloc(sizeof(float) * (size_t)(count > 0 ? count : 1));
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static bool is_bce(enum kernel kernel)
{
    return kernel == KERNEL_bce || kernel == KERNEL_bce_with_logits;
}

static bool is_index_loss(enum kernel kernel)
{
    return kernel == KERNEL_cross_entropy || kernel == KERNEL_nll;
}

/* The kernel's first input: what its forward function takes, or has put out. */
static void make_input(struct generator *g, struct problem *p)
{
    const int64_t count = p->rows * p->classes;
    p->x = floats(count);
    switch (p->kernel) {
    case KERNEL_bce:
    case KERNEL_sigmoid_backward:
    case KERNEL_softmax_backward:
        fill_probabilities(g, p->kind, p->x, count);
        if (p->kind == SPECIALS && p->kernel != KERNEL_bce) {
            put_specials(g, p->x, p->rows, p->classes);
        }
        break;
    default:
        fill_logits(g, p->kind, p->x, p->rows, p->classes);
        break;
    }
    /* Log-probabilities are not positive. */
    for (int64_t i = 0; p->kernel == KERNEL_log_softmax_backward && i < count; i++) {
        p->x[i] = -fabsf(p->x[i]);
    }
}

static void make_index_target(struct generator *g, struct problem *p, unsigned variant,
                              enum coefficients coefficients)
{
    p->y = malloc(sizeof(int64_t) * (size_t)(p->rows > 0 ? p->rows : 1));
    if (p->y == NULL) {
        abort();
    }
    /* Both a plain ignored index and one that is a class. */
    p->ignore_index = variant == 5 ? p->classes / 2 : -100;
    p->y_int32 = variant == 5 || variant == 1;
    fill_indices(g, p, variant >= 3 && coefficients != NO_COEFFICIENTS);
    if ((variant == 3 || variant == 4) && coefficients != NO_COEFFICIENTS) {
        p->weight = floats(p->classes);
        fill_coefficients(g, coefficients, p->weight, p->classes);
    }
}

static void make_binary_target(struct generator *g, struct problem *p, unsigned variant,
                               enum coefficients coefficients)
{
    const int64_t count = p->rows * p->classes;
    p->t = floats(count);
    fill_binary_targets(g, p->kernel == KERNEL_bce_with_logits && coefficients == ANY_COEFFICIENTS,
                        p->t, count);
    if (variant >= 3 && coefficients != NO_COEFFICIENTS) {
        p->weight = floats(count);
        fill_coefficients(g, coefficients, p->weight, count);
    }
    if (p->kernel == KERNEL_bce_with_logits && (variant == 4 || variant == 1) &&
        coefficients != NO_COEFFICIENTS) {
        p->pos_weight = floats(count);
        fill_coefficients(g, coefficients, p->pos_weight, count);
    }
}

struct problem problem_make(enum kernel kernel, int64_t rows, int64_t classes, enum kind kind,
                            unsigned variant, enum coefficients coefficients)
{
    struct problem p = {.kernel = kernel, .kind = kind, .rows = rows, .classes = classes};
    struct generator g = {(uint64_t)kernel << 56 | (uint64_t)kind << 48 |
                          (uint64_t)(rows & 0xffff) << 32 | (uint64_t)(classes & 0xffffffff)};
    const int64_t count = rows * classes;
    make_input(&g, &p);
    p.reduction = (xent_reduction)(variant % 3);
    if (coefficients == NO_COEFFICIENTS) {
        p.reduction = XENT_REDUCTION_SUM;
    }
    if (is_index_loss(kernel)) {
        make_index_target(&g, &p, variant, coefficients);
    } else if (is_bce(kernel)) {
        make_binary_target(&g, &p, variant, coefficients);
    }
    const bool losses = is_index_loss(kernel) || is_bce(kernel);
    if (losses) {
        p.incoming = p.reduction == XENT_REDUCTION_NONE ? INCOMING_FULL
                     : variant == 4                    ? INCOMING_SCALAR
                                                       : INCOMING_NONE;
    } else if (kernel == KERNEL_log_sum_exp) {
        p.incoming = (enum incoming)(variant % 3);
    } else {
        p.incoming = INCOMING_FULL; /* of backward functions; others take none */
    }
    p.g = floats(count > rows ? count : rows);
    fill_coefficients(&g, coefficients, p.g, count > rows ? count : rows);
    return p;
}

static float *copy_floats(const float *from, int64_t count)
{
    if (from == NULL) {
        return NULL;
    }
    float *copy = floats(count);
    memcpy(copy, from, sizeof(float) * (size_t)count);
    return copy;
}

static float *copy_row(const float *matrix, int64_t row, int64_t classes)
{
    return matrix == NULL ? NULL : copy_floats(matrix + row * classes, classes);
}

struct problem problem_row(const struct problem *p, int64_t row)
{
    struct problem one = *p;
    one.rows = 1;
    one.x = copy_row(p->x, row, p->classes);
    one.t = copy_row(p->t, row, p->classes);
    one.pos_weight = copy_row(p->pos_weight, row, p->classes);
    one.weight = is_bce(p->kernel) ? copy_row(p->weight, row, p->classes)
                                   : copy_floats(p->weight, p->classes);
    const bool row_gradient = is_index_loss(p->kernel) || p->kernel == KERNEL_log_sum_exp;
    if (p->incoming == INCOMING_FULL && !row_gradient) {
        one.g = copy_row(p->g, row, p->classes);
    } else {
        one.g = copy_floats(p->incoming == INCOMING_FULL ? p->g + row : p->g, 1);
    }
    one.y = NULL;
    if (p->y != NULL) {
        one.y = malloc(sizeof(int64_t));
        if (one.y == NULL) {
            abort();
        }
        one.y[0] = p->y[row];
    }
    one.state = p->state != NULL ? p->state + row : NULL;
    return one;
}

void problem_free(struct problem *p)
{
    free(p->x);
    free(p->g);
    free(p->t);
    free(p->y);
    free(p->weight);
    free(p->pos_weight);
}

bool problem_ignores(const struct problem *p, int64_t row)
{
    return p->y != NULL && p->y[row] == p->ignore_index;
}
