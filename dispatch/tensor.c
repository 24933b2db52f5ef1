#include "tensor.h"

#include <stdint.h>

#include "error.h"

static size_t item_size(xent_dtype dtype)
{
    switch (dtype) {
    case XENT_F64:
    case XENT_I64: return 8;
    case XENT_F32:
    case XENT_I32: return 4;
    case XENT_F16:
    case XENT_BF16: return 2;
    case XENT_U8: return 1;
    }
    return 0;
}

/* Largest byte offsets a tensor may span: half the address space is more than any has. */
#define EXTENT_MAX (INT64_MAX / 4)

/* Bytes from data to the lowest and to beyond the highest element. */
static void extent(const struct view *view, int64_t *low, int64_t *high)
{
    *low = 0;
    *high = (int64_t)view->item;
    for (int d = 0; d < view->ndim; d++) {
        int64_t span = (view->shape[d] - 1) * view->strides[d] * (int64_t)view->item;
        if (span < 0) *low += span;
        else *high += span;
    }
}

static xent_status check_sizes(struct view *view, const xent_tensor *tensor, xent_error *error)
{
    const char *name = view->name;
    view->count = 1;
    int empty = 0;
    for (int d = 0; d < view->ndim; d++) {
        int64_t size = tensor->shape[d];
        if (size < 0) return xent_fail(error, XENT_ERROR_SHAPE, name, "dimension %d has size %lld", d, (long long)size);
        view->shape[d] = size;
        if (size == 0) empty = 1;
    }
    if (empty) view->count = 0;
    for (int d = view->ndim - 1; d >= 0; d--) {
        int64_t size = view->shape[d];
        view->strides[d] = 0;
        if (empty) continue;
        if (size > 1) view->strides[d] = tensor->strides ? tensor->strides[d] : view->count;
        if (size > EXTENT_MAX / 8 / view->count)
            return xent_fail(error, XENT_ERROR_OVERFLOW, name, "has more elements than fit");
        view->count *= size;
    }
    view->low = view->high = 0;
    if (empty) return XENT_OK;
    int64_t reach = 0; /* bytes between any two elements, at most */
    for (int d = 0; d < view->ndim; d++) {
        int64_t stride = view->strides[d], steps = view->shape[d] - 1;
        if (steps == 0 || stride == 0) continue;
        if (stride == INT64_MIN || (stride < 0 ? -stride : stride) > EXTENT_MAX / 8 / steps)
            return xent_fail(error, XENT_ERROR_OVERFLOW, name, "stride %lld of dimension %d leads too far",
                             (long long)stride, d);
        reach += (stride < 0 ? -stride : stride) * steps * (int64_t)view->item;
        if (reach > EXTENT_MAX) return xent_fail(error, XENT_ERROR_OVERFLOW, name, "spans more bytes than fit");
    }
    if (!tensor->data) return xent_fail(error, XENT_ERROR_NULL, name, "data is NULL");
    int64_t low, high;
    extent(view, &low, &high);
    uintptr_t address = (uintptr_t)tensor->data;
    if (address < (uintptr_t)-low || address > UINTPTR_MAX - (uintptr_t)high)
        return xent_fail(error, XENT_ERROR_OVERFLOW, name, "reaches beyond the address space");
    view->low = address + (uintptr_t)low;
    view->high = address + (uintptr_t)high;
    return XENT_OK;
}

xent_status xent_view_tensor(struct view *view, const xent_tensor *tensor, unsigned dtypes, int required,
                             const char *name, xent_error *error)
{
    xent_view_absent(view);
    if (!tensor) return required ? xent_fail(error, XENT_ERROR_NULL, name, "is NULL") : XENT_OK;
    view->name = name;
    if ((unsigned)tensor->dtype > 31 || !(dtypes & DTYPE(tensor->dtype)))
        return xent_fail(error, XENT_ERROR_DTYPE, name, "can't have dtype %d", (int)tensor->dtype);
    if (tensor->ndim < 0 || tensor->ndim > XENT_MAX_NDIM)
        return xent_fail(error, XENT_ERROR_SHAPE, name, "has %d dimensions; 0 to %d are possible", (int)tensor->ndim,
                         XENT_MAX_NDIM);
    if (tensor->ndim && !tensor->shape) return xent_fail(error, XENT_ERROR_NULL, name, "shape is NULL");
    view->data = tensor->data;
    view->dtype = tensor->dtype;
    view->item = item_size(tensor->dtype);
    view->ndim = tensor->ndim;
    return check_sizes(view, tensor, error);
}

xent_status xent_check_no_self_overlap(const struct view *view, xent_error *error)
{
    if (!view->name || view->count == 0) return XENT_OK;
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
    if (!view->name) return XENT_OK;
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

/* Their extents meet. */
xent_status xent_check_overlapping(const struct view *output, const struct view *other, int may_alias, xent_error *error)
{
    if (output->count == 0 || other->count == 0) return XENT_OK;
    uintptr_t at = (uintptr_t)output->data, other_at = (uintptr_t)other->data;
    if (same_layout(output, other)) {
        if (may_alias && at == other_at && output->dtype == other->dtype && same_shape(output, other)) return XENT_OK;
        int64_t bytes = (int64_t)(other_at - at), item = (int64_t)output->item;
        if (bytes % item == 0 && !can_meet(output, other, (1u << output->ndim) - 1, bytes / item)) return XENT_OK;
    }
    return xent_fail(error, XENT_ERROR_OVERLAP, output->name, "overlaps %s", other->name);
}

xent_status xent_check_axis(int32_t axis, int ndim, int *checked, xent_error *error)
{
    int dimensions = ndim ? ndim : 1;
    if (axis == XENT_AXIS_DEFAULT) axis = dimensions > 1 ? 1 : 0;
    if (axis < -dimensions || axis >= dimensions)
        return xent_fail(error, XENT_ERROR_AXIS, "options.axis", "is %d; the tensor has %d dimensions", (int)axis, ndim);
    *checked = axis < 0 ? axis + dimensions : axis;
    return XENT_OK;
}

xent_status xent_broadcast(struct view *input, const int64_t *shape, int ndim, const char *like, xent_error *error)
{
    if (!input->name) return XENT_OK;
    struct view ours = *input;
    ours.ndim = ndim;
    int missing = ndim - input->ndim;
    if (missing < 0)
        return xent_fail(error, XENT_ERROR_SHAPE, input->name, "has %d dimensions; %s has %d", input->ndim, like, ndim);
    for (int d = 0; d < ndim; d++) {
        int64_t size = d < missing ? 1 : input->shape[d - missing];
        if (size != shape[d] && size != 1)
            return xent_fail(error, XENT_ERROR_SHAPE, input->name, "has size %lld where %s has %lld: can't broadcast",
                             (long long)size, like, (long long)shape[d]);
        ours.shape[d] = shape[d];
        ours.strides[d] = size == 1 ? 0 : input->strides[d - missing];
    }
    ours.count = input->count; /* of the tensor as given: it is never an output */
    *input = ours;
    return XENT_OK;
}
