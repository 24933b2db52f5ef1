/* The entry points of cross-entropy and NLL, and of row states. */
#include <math.h>
#include <string.h>

#include "error.h"
#include "parallel.h"
#include "rows.h"
#include "tier.h"
#include "value.h"

static const xent_cross_entropy_options defaults = {.axis = XENT_AXIS_DEFAULT, .ignore_index = -100};

xent_status xent_cross_entropy_options_init(xent_cross_entropy_options *options, size_t size)
{
    return xent_init_struct(options, size, &defaults, sizeof defaults, sizeof defaults);
}

/* One call, on its way. */
struct loss_call {
    struct row_call rows;
    const xent_cross_entropy_options *options;
    const xent_cross_entropy_outputs *wanted;
    struct row_options row_options;
    int sliced, plain;
};

/* -- Validation -- */

static xent_status refuse(xent_error *error, const char *argument, const char *why)
{
    return xent_fail(error, XENT_ERROR_VALUE, argument, "%s", why);
}

/* Without what the options add to the loss. */
static int is_plain(const xent_cross_entropy_options *o)
{
    return o->label_smoothing == 0.0 && o->z_loss == 0.0 && o->softcap == 0.0 && o->focal_gamma == 0.0;
}

static xent_status check_options(const xent_cross_entropy_options *o, int plain, xent_error *error)
{
    if ((int)o->reduction < XENT_REDUCTION_MEAN || o->reduction > XENT_REDUCTION_NONE)
        return xent_fail(error, XENT_ERROR_REDUCTION, "options.reduction", "%d is unknown", (int)o->reduction);
    if ((int)o->divisor_kind < XENT_DIVISOR_WEIGHTS || o->divisor_kind > XENT_DIVISOR_GIVEN)
        return xent_fail(error, XENT_ERROR_VALUE, "options.divisor_kind", "%d is unknown", (int)o->divisor_kind);
    if (plain) return XENT_OK;
    if (!(o->label_smoothing >= 0.0 && o->label_smoothing <= 1.0))
        return xent_fail(error, XENT_ERROR_VALUE, "options.label_smoothing", "%g is not in [0, 1]", o->label_smoothing);
    if (!isfinite(o->z_loss)) return xent_fail(error, XENT_ERROR_VALUE, "options.z_loss", "%g is not finite", o->z_loss);
    if (!(o->softcap >= 0.0 && isfinite(o->softcap)))
        return xent_fail(error, XENT_ERROR_VALUE, "options.softcap", "%g is negative or not finite", o->softcap);
    if (!(o->focal_gamma >= 0.0 && isfinite(o->focal_gamma)))
        return xent_fail(error, XENT_ERROR_VALUE, "options.focal_gamma", "%g is negative or not finite", o->focal_gamma);
    if (o->focal_gamma > 0.0 && o->label_smoothing > 0.0)
        return refuse(error, "options.focal_gamma", "does not go with label_smoothing");
    return XENT_OK;
}

/* NLL has no softmax, and so nothing that is made of one. */
static xent_status check_nll(const struct loss_call *call, xent_error *error)
{
    const xent_cross_entropy_options *o = call->options;
    const xent_cross_entropy_outputs *w = call->wanted;
    const char *option = o->state ? "options.state"
                         : o->label_smoothing != 0.0 ? "options.label_smoothing"
                         : o->z_loss != 0.0 ? "options.z_loss"
                         : o->softcap != 0.0 ? "options.softcap"
                         : o->focal_gamma != 0.0 ? "options.focal_gamma"
                         : o->class_count != 0 ? "options.class_count"
                         : w->state ? "outputs.state"
                         : w->lse ? "outputs.lse"
                         : w->target_gradient ? "outputs.target_gradient"
                         : w->z_loss ? "outputs.z_loss"
                         : w->entropy ? "outputs.entropy"
                         : w->argmax ? "outputs.argmax"
                         : w->correct ? "outputs.correct"
                         : w->correct_count ? "outputs.correct_count"
                         : w->target_logit ? "outputs.target_logit"
                                           : NULL;
    return option ? refuse(error, option, "is not to be had of NLL") : XENT_OK;
}

static xent_status check_slice(const struct loss_call *call, xent_error *error)
{
    const xent_cross_entropy_options *o = call->options;
    const xent_cross_entropy_outputs *w = call->wanted;
    if (!call->sliced)
        return o->class_offset ? refuse(error, "options.class_offset", "needs class_count") : XENT_OK;
    if (o->class_offset < 0 || o->class_count < 0 || o->class_offset > o->class_count ||
        call->rows.classes > o->class_count - o->class_offset)
        return xent_fail(error, XENT_ERROR_SHAPE, "options.class_offset", "classes %lld to %lld are not within %lld",
                         (long long)o->class_offset, (long long)(o->class_offset + call->rows.classes),
                         (long long)o->class_count);
    if (o->label_smoothing != 0.0 || o->focal_gamma != 0.0 || has(&call->rows, IN2))
        return refuse(error, "options.class_count", "smoothing, focal loss and probability targets need all classes");
    if (w->loss || w->sum || w->mean || w->entropy || w->argmax || w->correct || w->correct_count || o->report_non_finite)
        return refuse(error, "options.class_count", "a slice of the classes has no loss, entropy or argmax");
    if ((w->gradient || w->z_loss) && !o->state) return refuse(error, "options.state", "the gradient of a slice needs the merged states");
    return XENT_OK;
}

static xent_status view_tensors(struct loss_call *call, const xent_tensor *input, const xent_tensor *target, int nll,
                                xent_error *error)
{
    const xent_cross_entropy_options *o = call->options;
    const xent_cross_entropy_outputs *w = call->wanted;
    struct row_call *rows = &call->rows;
    struct view *view = rows->view;
#define VIEW(which, tensor, dtypes, required, name) \
    TRY(xent_view_argument(view, &rows->given, which, tensor, dtypes, required, name, error))
    VIEW(IN, input, XENT_FLOATS, 1, nll ? "log_probabilities" : "logits");
    const unsigned same = DTYPE(view[IN].dtype), beside = xent_dtypes_beside(view[IN].dtype);
    const unsigned of_rows = xent_dtypes_of_rows(view[IN].dtype);
    const int distribution = !nll && target && xent_dtype_is(target->dtype, XENT_FLOATS);
    VIEW(distribution ? IN2 : TARGET, target, distribution ? beside : XENT_INDICES, 1, "target");
    if (distribution && o->focal_gamma != 0.0) return refuse(error, "options.focal_gamma", "needs index targets");
    VIEW(WEIGHT, o->weight, beside, 0, "options.weight");
    VIEW(OUTPUT_GRADIENT, o->output_gradient, beside, 0, "options.output_gradient");
    VIEW(ROW_WEIGHT, o->row_weight, beside, 0, "options.row_weight");
    if (o->reduction != XENT_REDUCTION_NONE && has(rows, OUTPUT_GRADIENT) && view[OUTPUT_GRADIENT].ndim > 0)
        return xent_fail(error, XENT_ERROR_SHAPE, "options.output_gradient", "must be a scalar for a reduced loss");
    VIEW(LOSS, w->loss, of_rows, 0, "outputs.loss");
    VIEW(LSE, w->lse, of_rows, 0, "outputs.lse");
    VIEW(Z_LOSS, w->z_loss, of_rows, 0, "outputs.z_loss");
    VIEW(ENTROPY, w->entropy, of_rows, 0, "outputs.entropy");
    VIEW(TARGET_LOGIT, w->target_logit, of_rows, 0, "outputs.target_logit");
    VIEW(ARGMAX, w->argmax, DTYPE(XENT_I64) | DTYPE(XENT_I32), 0, "outputs.argmax");
    VIEW(CORRECT, w->correct, DTYPE(XENT_U8), 0, "outputs.correct");
    VIEW(OUT, w->gradient, same, 0, "outputs.gradient");
    VIEW(OUT2, w->target_gradient, distribution ? DTYPE(view[IN2].dtype) : XENT_FLOATS, 0, "outputs.target_gradient");
#undef VIEW
    if (w->target_gradient && !distribution) return refuse(error, "outputs.target_gradient", "needs probability targets");
    if (distribution && (w->correct || w->correct_count || w->target_logit))
        return refuse(error, w->target_logit ? "outputs.target_logit" : "outputs.correct", "needs index targets");
    TRY(xent_rows_fold(rows, o->axis, error));
    int64_t classes = call->sliced ? o->class_count : rows->classes;
    if (has(rows, WEIGHT)) TRY(xent_check_shape(&view[WEIGHT], &classes, 1, "the class axis", error));
    return XENT_OK;
}

/* Checks every index target, and counts the rows that are not ignored. */
static xent_status check_targets(const struct row_call *call, int64_t classes, int64_t *counted, xent_error *error)
{
    const int64_t ignored = call->ignore_index;
    const int ignores_a_class = ignored >= 0 && ignored < classes;
    *counted = call->rows;
    for (int64_t first = 0; has(call, TARGET) && first < call->rows; first += XENT_ROWS) {
        size_t count = call->rows - first < XENT_ROWS ? (size_t)(call->rows - first) : XENT_ROWS;
        int64_t buffer[XENT_ROWS];
        const int64_t *targets = xent_rows_targets(call, first, count, buffer);
        if (!ignores_a_class && xent_all_are_classes(targets, count, classes)) continue;
        for (size_t i = 0; i < count; i++) {
            int64_t row = first + (int64_t)i, index = targets[i];
            if (index == ignored) --*counted;
            else if (index < 0 || index >= classes)
                return xent_fail_at(error, XENT_ERROR_TARGET, "target", row, (double)index,
                                    "%lld in row %lld is outside [0, %lld) and is not ignore_index, %lld",
                                    (long long)index, (long long)row, (long long)classes, (long long)ignored);
        }
    }
    return XENT_OK;
}

/* What XENT_DIVISOR_WEIGHTS divides by, where there are weights. */
static double total_weight(const struct row_call *call)
{
    const struct view *weight = &call->view[WEIGHT], *row_weight = &call->view[ROW_WEIGHT];
    const int weighted = has(call, TARGET) && has(call, WEIGHT);
    struct xent_sum sum;
    xent_sum_init(&sum);
    for (int64_t first = 0; first < call->rows; first += XENT_ROWS) {
        size_t count = call->rows - first < XENT_ROWS ? (size_t)(call->rows - first) : XENT_ROWS;
        int64_t buffer[XENT_ROWS];
        ptrdiff_t offsets[XENT_ROWS];
        double values[XENT_ROWS];
        const int64_t *targets = has(call, TARGET) ? xent_rows_targets(call, first, count, buffer) : NULL;
        if (has(call, ROW_WEIGHT)) xent_fold_offsets(&call->fold, ROW_WEIGHT, first, count, offsets);
        for (size_t i = 0; i < count; i++) {
            int counts = !targets || targets[i] != call->ignore_index;
            values[i] = counts && weighted ? xent_value(weight, (ptrdiff_t)(targets[i] * weight->strides[0])) : counts;
            if (has(call, ROW_WEIGHT) && values[i] != 0.0) values[i] *= xent_value(row_weight, offsets[i]);
        }
        xent_sum_add_rows(&sum, values, count);
    }
    return xent_sum_round(&sum);
}

/* -- The call -- */

/* The options that plain weighted cross-entropy does without. */
static void set_row_options(struct loss_call *call)
{
    const xent_cross_entropy_options *o = call->options;
    const struct view *weight = &call->rows.view[WEIGHT];
    if (call->plain && !has(&call->rows, IN2) && !call->wanted->entropy && !call->wanted->z_loss) return;
    struct row_options *r = &call->row_options;
    *r = (struct row_options){
        .keep = 1.0 - o->label_smoothing,
        .spread = o->label_smoothing / (double)call->rows.classes,
        .z_loss = o->z_loss,
        .z_ratio = 1.0,
        .softcap = o->softcap,
        .focal_gamma = o->focal_gamma,
        .want_entropy = call->wanted->entropy != NULL,
        .weight_sum = (double)call->rows.classes,
    };
    if (o->label_smoothing == 0.0) r->spread = 0.0; /* also without a class */
    if (has(&call->rows, WEIGHT)) {
        struct xent_sum sum;
        xent_sum_init(&sum);
        for (int64_t c = 0; c < weight->shape[0]; c++)
            xent_sum_add(&sum, xent_value(weight, (ptrdiff_t)(c * weight->strides[0])));
        r->weight_sum = xent_sum_round(&sum);
        r->weight = weight->data;
        r->weight_dtype = weight->dtype;
        r->weight_stride = (ptrdiff_t)weight->strides[0];
    }
    call->rows.options = r;
}

static xent_status run(struct loss_call *call, xent_error *error)
{
    const xent_cross_entropy_options *o = call->options;
    const xent_cross_entropy_outputs *w = call->wanted;
    struct row_call *rows = &call->rows;
    int64_t counted, classes = call->sliced ? o->class_count : rows->classes;
    int scaled = o->reduction == XENT_REDUCTION_MEAN && (w->gradient || w->target_gradient);
    int weighted = has(rows, ROW_WEIGHT) || (has(rows, TARGET) && has(rows, WEIGHT));
    TRY(check_targets(rows, classes, &counted, error));
    rows->targets_plain = counted == rows->rows && !call->sliced;
    double divisor = o->divisor_kind == XENT_DIVISOR_GIVEN  ? o->divisor
                     : o->divisor_kind == XENT_DIVISOR_ROWS ? (double)counted
                     : weighted && (w->divisor || w->mean || scaled) ? total_weight(rows)
                                                                     : (double)counted;
    double z_divisor = o->divisor_kind == XENT_DIVISOR_GIVEN ? divisor : (double)counted;
    if (scaled) {
        rows->scale = 1.0 / divisor;
        call->row_options.z_ratio = divisor / z_divisor;
    }
    struct xent_totals totals;
    xent_totals_init(&totals);
    rows->totals = &totals;
    xent_rows_run(rows);
    double total = 0.0, z_total = 0.0;
    if (rows->want_sum) {
        total = xent_sum_round(&totals.sum);
        if (rows->options) z_total = xent_sum_round(&totals.z_sum);
    }
    if (w->correct_count) *w->correct_count = totals.correct;
    if (w->sum) *w->sum = total + z_total;
    if (w->divisor) *w->divisor = divisor;
    if (w->mean) {
        *w->mean = total / divisor;
        if (o->z_loss != 0.0) *w->mean += z_total / z_divisor;
        if (counted == 0 && o->empty_mean_is_zero) *w->mean = 0.0;
    }
    double value;
    int64_t row = xent_totals_non_finite(&totals, &value);
    if (row >= 0)
        return xent_fail_at(error, XENT_ERROR_NON_FINITE, "outputs.loss", row, value, "%g in row %lld", value, (long long)row);
    return XENT_OK;
}

/* Apart, so that the plainest call does without its frame. */
static __attribute__((noinline)) xent_status any_loss(const xent_tensor *input, const xent_tensor *target,
                                                      const xent_cross_entropy_options *o,
                                                      const xent_cross_entropy_outputs *w, int nll,
                                                      const xent_execution *execution, const struct xent_tables *tables,
                                                      xent_error *error)
{
    struct loss_call call;
    struct row_call *rows = &call.rows;
    call.options = o;
    call.wanted = w;
    call.plain = is_plain(o);
    TRY(check_options(o, call.plain, error));
    if (nll) TRY(check_nll(&call, error));
    xent_row_call_init(rows);
    rows->execution = *execution;
    rows->with_target = 1;
    call.sliced = o->class_count != 0;
    TRY(view_tensors(&call, input, target, nll, error));
    TRY(check_slice(&call, error));
    rows->state_in = o->state;
    rows->state_out = w->state;
    TRY(xent_rows_check_overlaps(rows, error));
    const struct xent_kernels *kernels = xent_kernels_for(tables, rows->view[IN].dtype);
    rows->kernel = nll ? kernels->nll : kernels->cross_entropy;
    rows->pages = nll ? NULL : kernels;
    rows->ignore_index = o->ignore_index;
    rows->class_offset = o->class_offset;
    rows->want_sum = w->sum || w->mean;
    rows->want_correct_count = w->correct_count != NULL;
    rows->want_non_finite = o->report_non_finite != 0;
    rows->want_log = w->loss || w->lse || rows->want_sum || rows->want_non_finite;
    rows->want_argmax = w->argmax || w->correct || w->correct_count;
    if (!nll) set_row_options(&call);
    return run(&call, error);
}

/* -- The plainest call -- */

/* A packed matrix of this shape, that is there. */
static int is_matrix(const xent_tensor *t, int64_t rows, int64_t columns)
{
    return t->ndim == 2 && t->data && t->shape && t->shape[0] == rows && t->shape[1] == columns &&
           (!t->strides || (t->strides[0] == columns && t->strides[1] == 1));
}

/* Neither reaches beyond the address space nor into the other. */
static int are_apart(const xent_tensor *a, size_t a_bytes, const xent_tensor *b, size_t b_bytes)
{
    uintptr_t a_low = (uintptr_t)a->data, a_high = a_low + a_bytes, b_low = (uintptr_t)b->data, b_high = b_low + b_bytes;
    return a_low < a_high && b_low < b_high && (a_high <= b_low || b_high <= a_low);
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Without what adds to the loss, or is wanted beside it. All that must be zero is looked at as one: a branch for each
 * would be a third of all branches here. */
static int is_plainest(const xent_cross_entropy_options *o, const xent_cross_entropy_outputs *w)
{
    const uint64_t numbers = bits_of(o->label_smoothing) | bits_of(o->z_loss) | bits_of(o->softcap) | bits_of(o->focal_gamma) |
                             (uint64_t)o->class_offset | (uint64_t)o->class_count | (uint32_t)o->report_non_finite;
#define AT(pointer) (uintptr_t)(pointer)
    const uintptr_t given = AT(o->weight) | AT(o->output_gradient) | AT(o->state) | AT(o->row_weight);
    const uintptr_t wanted = AT(w->loss) | AT(w->lse) | AT(w->state) | AT(w->target_gradient) | AT(w->z_loss) | AT(w->entropy) |
                             AT(w->argmax) | AT(w->correct) | AT(w->correct_count) | AT(w->target_logit);
#undef AT
    return !(numbers | given | wanted) && (unsigned)o->reduction <= XENT_REDUCTION_NONE &&
           (unsigned)o->divisor_kind <= XENT_DIVISOR_GIVEN && (o->axis == XENT_AXIS_DEFAULT || o->axis == 1 || o->axis == -1);
}

static void describe(struct row_tensor *tensor, const xent_tensor *t, size_t rows, size_t classes)
{
    tensor->data = t->data;
    tensor->dtype = t->dtype;
    tensor->class_stride = 1;
    for (size_t i = 0; i < rows; i++) tensor->row[i] = (ptrdiff_t)(i * classes);
}

/* Carries out a call of the plainest kind and returns 1: rows of one job, packed in two dimensions,
 * i64 targets none of which is ignored, nothing wanted but sum, divisor, mean and gradient, and
 * options that add nothing to the loss. Of any other call, and of any that is not evidently right, it leaves everything
 * as it is and returns 0: the general way knows what is wrong. All but the kernel takes 300 instructions for one row of
 * ten, and 1230 the general way; a call of its own would be 15 of them. */
static inline __attribute__((always_inline)) int direct_loss(const xent_tensor *x, const xent_tensor *target,
                                                             const xent_cross_entropy_options *o,
                                                             const xent_cross_entropy_outputs *w,
                                                             const struct xent_tables *tables)
{
    const xent_tensor *gradient = w->gradient;
    if (!x || !target || x->ndim != 2 || target->ndim != 1 || !x->shape || !target->shape || !is_plainest(o, w)) return 0;
    const int64_t rows = x->shape[0], classes = x->shape[1];
    if (rows < 1 || rows > XENT_ROWS || classes < 1 || classes >= 2 * XENT_SPAN / XENT_ROWS) return 0;
    if (!xent_dtype_is(x->dtype, XENT_FLOATS) || !is_matrix(x, rows, classes)) return 0;
    if (target->dtype != XENT_I64 || !target->data || target->shape[0] != rows || (target->strides && target->strides[0] != 1))
        return 0;
    const size_t bytes = (size_t)(rows * classes) * xent_item_size(x->dtype);
    const size_t target_bytes = (size_t)rows * sizeof(int64_t);
    if (!are_apart(x, bytes, target, target_bytes)) return 0;
    if (gradient && (gradient->dtype != x->dtype || !is_matrix(gradient, rows, classes) ||
                     !are_apart(gradient, bytes, target, target_bytes) ||
                     (gradient->data != x->data && !are_apart(gradient, bytes, x, bytes))))
        return 0;
    const int64_t *targets = target->data;
    if ((o->ignore_index >= 0 && o->ignore_index < classes) || !xent_all_are_classes(targets, (size_t)rows, classes)) return 0;

    const double divisor = o->divisor_kind == XENT_DIVISOR_GIVEN ? o->divisor : (double)rows;
    struct row_job job;
    job.rows = (size_t)rows;
    job.classes = (size_t)classes;
    job.in2.data = job.out.data = job.out2.data = NULL;
    describe(&job.in, x, job.rows, job.classes);
    if (gradient) describe(&job.out, gradient, job.rows, job.classes);
    job.unit_rows = job.large = job.want_argmax = job.have_state = job.have_max = job.max_only = 0;
    job.want_log = w->sum || w->mean;
    job.sums = NULL;
    job.options = NULL;
    job.target = targets;
    job.all_have_targets = 1;
    job.weight = (struct row_values){NULL, 1.0};
    job.row_weight = (struct row_values){NULL, 1.0}; /* not job.weight's: a copy waits for both halves to be stored */
    job.scale = (struct row_values){NULL, gradient && o->reduction == XENT_REDUCTION_MEAN ? 1.0 / divisor : 1.0};
    xent_kernels_for(tables, x->dtype)->cross_entropy(&job);
    if (w->divisor) *w->divisor = divisor;
    if (!job.want_log) return 1;
    const double total = job.rows == 1 ? job.loss[0] + 0.0 : xent_sum_of(job.loss, job.rows);
    if (w->sum) *w->sum = total;
    if (w->mean) *w->mean = total / divisor;
    return 1;
}

static xent_status loss(const xent_tensor *input, const xent_tensor *target, const xent_cross_entropy_options *options,
                        const xent_cross_entropy_outputs *outputs, int nll, xent_error *error)
{
    static const xent_cross_entropy_outputs none;
    xent_cross_entropy_options options_read;
    xent_cross_entropy_outputs outputs_read;
    xent_execution execution;
    struct xent_tables tables;
    TRY(xent_check_struct(options, sizeof defaults, sizeof defaults, 0, "options", error));
    const xent_cross_entropy_options *o = xent_read_struct(&options_read, options, &defaults, sizeof defaults);
    TRY(xent_choose(o->execution, &execution, &tables, error));
    TRY(xent_check_struct(outputs, sizeof none, sizeof none, 1, "outputs", error));
    const xent_cross_entropy_outputs *w = xent_read_struct(&outputs_read, outputs, &none, sizeof none);
    if (!nll && direct_loss(input, target, o, w, &tables)) return XENT_OK;
    return any_loss(input, target, o, w, nll, &execution, &tables, error);
}

xent_status xent_cross_entropy(const xent_tensor *logits, const xent_tensor *target,
                               const xent_cross_entropy_options *options, const xent_cross_entropy_outputs *outputs,
                               xent_error *error)
{
    return loss(logits, target, options, outputs, 0, error);
}

xent_status xent_nll(const xent_tensor *log_probabilities, const xent_tensor *target,
                     const xent_cross_entropy_options *options, const xent_cross_entropy_outputs *outputs,
                     xent_error *error)
{
    return loss(log_probabilities, target, options, outputs, 1, error);
}

/* -- Row states -- */

xent_status xent_row_state_merge(size_t rows, const xent_row_state *a, const xent_row_state *b, xent_row_state *merged,
                                 const xent_execution *execution)
{
    struct xent_tables tables;
    xent_execution ours;
    if (rows && (!a || !b || !merged)) return XENT_ERROR_NULL;
    TRY(xent_choose(execution, &ours, &tables, NULL));
    tables.f64->merge(&(struct state_job){.count = rows, .a = a, .b = b, .merged = merged});
    return XENT_OK;
}

xent_status xent_row_state_finish(size_t rows, const xent_row_state *states, const double *target_logits, double *lse,
                                  double *loss, const xent_execution *execution)
{
    struct xent_tables tables;
    xent_execution ours;
    if (rows && (!states || (loss && !target_logits))) return XENT_ERROR_NULL;
    TRY(xent_choose(execution, &ours, &tables, NULL));
    tables.f64->finish(&(struct state_job){.count = rows, .a = states, .target_logit = target_logits, .lse = lse, .loss = loss});
    return XENT_OK;
}

xent_status xent_row_sum_merge(size_t rows, const xent_row_sum *a, const xent_row_sum *b, xent_row_sum *merged,
                               xent_error *error)
{
    if (rows && (!a || !b || !merged)) return xent_fail(error, XENT_ERROR_NULL, a ? b ? "merged" : "b" : "a", "is NULL");
    for (size_t i = 0; i < rows; i++)
        if (a[i].max < b[i].max || a[i].max > b[i].max)
            return xent_fail_at(error, XENT_ERROR_VALUE, "b", (int64_t)i, b[i].max,
                                "row %zu has the maximum %g, and in a it has %g", i, b[i].max, a[i].max);
    for (size_t i = 0; i < rows; i++) {
        xent_row_sum sum = a[i];
        sum.ties += b[i].ties;
        sum.classes += b[i].classes;
        for (size_t p = 0; p < sizeof sum.parts / sizeof *sum.parts; p++) {
            sum.parts[p] += b[i].parts[p];
            sum.whole[p] += b[i].whole[p];
        }
        merged[i] = sum;
    }
    return XENT_OK;
}

xent_status xent_row_sum_finish(size_t rows, xent_dtype dtype, const xent_row_sum *sums, xent_row_state *states,
                                const xent_execution *execution)
{
    struct xent_tables tables;
    xent_execution ours;
    if (rows && (!sums || !states)) return XENT_ERROR_NULL;
    if (!xent_dtype_is(dtype, XENT_FLOATS)) return XENT_ERROR_DTYPE;
    TRY(xent_choose(execution, &ours, &tables, NULL));
    xent_kernels_for(&tables, dtype)->close(&(struct state_job){.count = rows, .sums = sums, .merged = states});
    return XENT_OK;
}
