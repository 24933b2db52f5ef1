#include "tensor.h"

/* Most elements, and most elements that a dimension may span: more than any address space has. With
 * eight dimensions and eight bytes an element nothing overflows below. */
#define ELEMENTS_MAX (INT64_MAX / 32)

/* *to = a b, unless it is out of bounds on either side. */
static int product_fits(int64_t a, int64_t b, int64_t *to)
{
    return !__builtin_mul_overflow(a, b, to) && (uint64_t)*to + ELEMENTS_MAX <= 2 * (uint64_t)ELEMENTS_MAX;
}

/* Of a tensor without elements, or with too many: which of the two, or what is wrong with it. */
static xent_status check_odd_sizes(struct view *view, xent_error *error)
{
    int empty = 0;
    for (int d = 0; d < view->ndim; d++) {
        if (view->shape[d] < 0)
            return xent_fail(error, XENT_ERROR_SHAPE, view->name, "dimension %d has size %lld", d, (long long)view->shape[d]);
        empty |= view->shape[d] == 0;
        view->strides[d] = 0;
    }
    if (!empty) return xent_fail(error, XENT_ERROR_OVERFLOW, view->name, "has more elements, or longer strides, than fit");
    view->count = 0;
    view->low = view->high = 0;
    view->packed = 1;
    return XENT_OK;
}

static xent_status check_sizes(struct view *view, const int64_t *strides, xent_error *error)
{
    int64_t count = 1, below = 0, above = 0; /* data, in elements */
    view->packed = 1;
    for (int d = view->ndim - 1; d >= 0; d--) {
        int64_t size = view->shape[d], span;
        view->strides[d] = 0;
        if (size == 1) continue;
        int64_t stride = strides ? strides[d] : count;
        if (size <= 0 || !product_fits(stride, size - 1, &span)) return check_odd_sizes(view, error);
        view->strides[d] = stride;
        view->packed &= stride == count;
        if (!product_fits(count, size, &count)) return check_odd_sizes(view, error);
        if (span < 0) below -= span;
        else above += span;
    }
    if (above + below > ELEMENTS_MAX) return check_odd_sizes(view, error);
    if (!view->data) return xent_fail(error, XENT_ERROR_NULL, view->name, "data is NULL");
    view->count = count;
    if (__builtin_sub_overflow((uintptr_t)view->data, (uintptr_t)(below * view->item), &view->low) ||
        __builtin_add_overflow((uintptr_t)view->data, (uintptr_t)((above + 1) * view->item), &view->high))
        return xent_fail(error, XENT_ERROR_OVERFLOW, view->name, "reaches beyond the address space");
    return XENT_OK;
}

xent_status xent_view_tensor(struct view *view, const xent_tensor *tensor, unsigned dtypes, const char *name,
                             xent_error *error)
{
    if (!xent_dtype_is(tensor->dtype, dtypes))
        return xent_fail(error, XENT_ERROR_DTYPE, name, "can't have dtype %d", (int)tensor->dtype);
    if (tensor->ndim < 0 || tensor->ndim > XENT_MAX_NDIM)
        return xent_fail(error, XENT_ERROR_SHAPE, name, "has %d dimensions; 0 to %d are possible", (int)tensor->ndim,
                         XENT_MAX_NDIM);
    if (tensor->ndim && !tensor->shape) return xent_fail(error, XENT_ERROR_NULL, name, "shape is NULL");
    view->name = name;
    view->data = tensor->data;
    view->dtype = tensor->dtype;
    view->item = xent_item_size(tensor->dtype);
    view->ndim = tensor->ndim;
    view->shape = tensor->shape;
    return check_sizes(view, tensor->strides, error);
}

static xent_status check_no_self_overlap(const struct view *view, xent_error *error)
{
    if (view->packed || view->count == 0) return XENT_OK;
    /* Dimensions in the order of their strides, by insertion: there are eight at most. */
    int64_t stride[XENT_MAX_NDIM], size[XENT_MAX_NDIM], reach = 0;
    int used = 0;
    for (int d = 0; d < view->ndim; d++) {
        if (view->shape[d] == 1) continue;
        int64_t s = view->strides[d] < 0 ? -view->strides[d] : view->strides[d];
        int at = used++;
        for (; at > 0 && stride[at - 1] > s; at--) {
            stride[at] = stride[at - 1];
            size[at] = size[at - 1];
        }
        stride[at] = s;
        size[at] = view->shape[d];
    }
    for (int d = 0; d < used; d++) {
        if (stride[d] <= reach)
            return xent_fail(error, XENT_ERROR_STRIDES, view->name, "strides may bring two elements of this output to one address");
        reach += stride[d] * (size[d] - 1);
    }
    return XENT_OK;
}

xent_status xent_check_shape(const struct view *view, const int64_t *shape, int ndim, const char *like,
                             xent_error *error)
{
    if (view->ndim != ndim)
        return xent_fail(error, XENT_ERROR_SHAPE, view->name, "has %d dimensions; %d expected, as %s", view->ndim, ndim, like);
    for (int d = 0; d < ndim; d++)
        if (view->shape[d] != shape[d])
            return xent_fail(error, XENT_ERROR_SHAPE, view->name, "has size %lld in dimension %d; %lld expected, as %s",
                             (long long)view->shape[d], d, (long long)shape[d], like);
    return XENT_OK;
}

static int same_layout(const struct view *a, const struct view *b)
{
    if (a->ndim != b->ndim || a->item != b->item) return 0;
    for (int d = 0; d < a->ndim; d++)
        if (a->shape[d] > 1 && b->shape[d] > 1 && a->strides[d] != b->strides[d]) return 0;
    return 1;
}

static int same_shape(const struct view *a, const struct view *b)
{
    for (int d = 0; d < a->ndim; d++)
        if (a->shape[d] != b->shape[d]) return 0;
    return 1;
}

/* Whether element steps can make up a distance between an element of a and one of b:
 * sum over dimensions of k stride = distance, -(size of a - 1) <= k <= size of b - 1. The
 * dimensions left are the bits of todo, the one with the longest stride taken first, so that
 * what the others can make up leaves few k to try. */
static int can_meet(const struct view *a, const struct view *b, unsigned todo, int64_t distance)
{
    int longest = -1;
    int64_t reach = 0, most = 0;
    for (int d = 0; d < a->ndim; d++) {
        if (!(todo >> d & 1)) continue;
        int64_t stride = a->strides[d] ? a->strides[d] : b->strides[d], size = a->shape[d] > b->shape[d] ? a->shape[d] : b->shape[d];
        int64_t length = stride < 0 ? -stride : stride;
        reach += length * (size - 1);
        if (longest < 0 || length > most) longest = d, most = length;
    }
    if (longest < 0) return distance == 0;
    if (most == 0) return 1;
    int64_t stride = a->strides[longest] ? a->strides[longest] : b->strides[longest];
    int64_t size = a->shape[longest] > b->shape[longest] ? a->shape[longest] : b->shape[longest];
    reach -= most * (size - 1);
    if (stride < 0) distance = -distance; /* k turns round; the bounds below cover both signs */
    int64_t from = (distance - reach) / most - 1, to = (distance + reach) / most + 1;
    if (to - from > 8) return 1; /* strides that interleave: not worth finding out */
    for (int64_t k = from; k <= to; k++) {
        if (k > size - 1 || k < -(size - 1)) continue;
        int64_t left = distance - k * most;
        if (can_meet(a, b, todo & ~(1u << longest), stride < 0 ? -left : left)) return 1;
    }
    return 0;
}

/* An output and another tensor whose extents meet. */
static xent_status check_overlapping(const struct view *output, const struct view *other, int may_alias, xent_error *error)
{
    uintptr_t at = (uintptr_t)output->data, other_at = (uintptr_t)other->data;
    if (same_layout(output, other)) {
        if (may_alias && at == other_at && output->dtype == other->dtype && same_shape(output, other)) return XENT_OK;
        int64_t bytes = (int64_t)(other_at - at), item = output->item;
        if (bytes % item == 0 && !can_meet(output, other, (1u << output->ndim) - 1, bytes / item)) return XENT_OK;
    }
    return xent_fail(error, XENT_ERROR_OVERLAP, output->name, "overlaps %s", other->name);
}

xent_status xent_check_overlaps(const struct view *views, arguments given, arguments outputs, const arguments *may_alias,
                                xent_error *error)
{
    for (outputs &= given; outputs;) {
        int output = argument_take(&outputs);
        TRY(check_no_self_overlap(&views[output], error));
        given &= ~argument(output);
        for (arguments others = given; others;) {
            int other = argument_take(&others);
            if (views[output].high <= views[other].low || views[other].high <= views[output].low) continue;
            TRY(check_overlapping(&views[output], &views[other], (int)(may_alias[output] >> other & 1), error));
        }
    }
    return XENT_OK;
}

xent_status xent_broadcast(struct view *input, const int64_t *shape, int ndim, const char *like, xent_error *error)
{
    int missing = ndim - input->ndim;
    if (missing < 0)
        return xent_fail(error, XENT_ERROR_SHAPE, input->name, "has %d dimensions; %s has %d", input->ndim, like, ndim);
    for (int d = ndim - 1; d >= 0; d--) {
        int64_t size = d < missing ? 1 : input->shape[d - missing];
        if (size != shape[d] && size != 1)
            return xent_fail(error, XENT_ERROR_SHAPE, input->name, "has size %lld where %s has %lld: can't broadcast",
                             (long long)size, like, (long long)shape[d]);
        input->strides[d] = size == 1 ? 0 : input->strides[d - missing];
    }
    input->ndim = ndim;
    input->shape = shape;
    return XENT_OK;
}
