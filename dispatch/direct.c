#include "direct.h"

#include "parallel.h"
#include "rows.h"

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

static int is_plain(const xent_cross_entropy_options *o, const xent_cross_entropy_outputs *w)
{
    return !o->weight && !o->output_gradient && !o->state && !o->row_weight && !o->report_non_finite && !o->class_offset &&
           !o->class_count && (o->axis == XENT_AXIS_DEFAULT || o->axis == 1 || o->axis == -1) && !w->loss && !w->lse &&
           !w->state && !w->target_gradient && !w->z_loss && !w->entropy && !w->argmax && !w->correct &&
           !w->correct_count && !w->target_logit;
}

static void describe(struct row_tensor *tensor, const xent_tensor *t, size_t rows, size_t classes)
{
    tensor->data = t->data;
    tensor->dtype = t->dtype;
    tensor->class_stride = 1;
    for (size_t i = 0; i < rows; i++) tensor->row[i] = (ptrdiff_t)(i * classes);
}

int xent_cross_entropy_direct(const xent_tensor *x, const xent_tensor *target, const xent_cross_entropy_options *o,
                              const xent_cross_entropy_outputs *w, const struct xent_tables *tables)
{
    const xent_tensor *gradient = w->gradient;
    if (!x || !target || x->ndim != 2 || target->ndim != 1 || !x->shape || !target->shape || !is_plain(o, w)) return 0;
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
    job.unit_rows = job.want_argmax = job.have_state = job.have_max = job.max_only = 0;
    job.want_log = w->sum || w->mean;
    job.sums = NULL;
    job.options = NULL;
    job.target = targets;
    job.all_have_targets = 1;
    job.weight = job.row_weight = (struct row_values){NULL, 1.0};
    job.scale = (struct row_values){NULL, gradient && o->reduction == XENT_REDUCTION_MEAN ? 1.0 / divisor : 1.0};
    xent_kernels_for(tables, x->dtype)->cross_entropy(&job);
    if (w->divisor) *w->divisor = divisor;
    if (!job.want_log) return 1;
    struct xent_sum sum;
    xent_sum_init(&sum);
    xent_sum_add_rows(&sum, job.loss, job.rows);
    const double total = xent_sum_round(&sum);
    if (w->sum) *w->sum = total;
    if (w->mean) *w->mean = total / divisor;
    return 1;
}
