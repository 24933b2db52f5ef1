/* Validation of tensors, and their description once it is done. */
#ifndef XENT_DISPATCH_TENSOR_H
#define XENT_DISPATCH_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "xent/xent.h"

/* A validated tensor: nothing about it overflows. */
struct view {
    const char *name; /* the argument's, for errors; NULL: there is no tensor */
    char *data;
    xent_dtype dtype;
    size_t item;      /* bytes of an element */
    int ndim;
    int64_t shape[XENT_MAX_NDIM];
    int64_t strides[XENT_MAX_NDIM]; /* in elements; 0 in dimensions of one element */
    int64_t count;    /* elements */
    uintptr_t low, high; /* addresses: of the first byte, and behind the last; count 0: alike */
};

/* Only these members of an absent view are looked at. */
static inline void xent_view_absent(struct view *view)
{
    view->name = NULL;
    view->dtype = (xent_dtype)0;
    view->ndim = 0;
}

/* Sets of dtypes. */
#define DTYPE(dtype) (1u << (dtype))

#define XENT_FLOATS (DTYPE(XENT_F32) | DTYPE(XENT_F64) | DTYPE(XENT_F16) | DTYPE(XENT_BF16))
#define XENT_INDICES (DTYPE(XENT_I64) | DTYPE(XENT_I32) | DTYPE(XENT_U8))
/* What may stand beside logits of a dtype, f32 or the same, and hold the values of a row. */
static inline unsigned xent_dtypes_beside(xent_dtype logits) { return DTYPE(XENT_F32) | DTYPE(logits); }
static inline unsigned xent_dtypes_of_rows(xent_dtype logits)
{
    return logits == XENT_F64 ? DTYPE(XENT_F64) : xent_dtypes_beside(logits);
}

/* A missing (NULL) tensor is an error if required, else an absent view. */
xent_status xent_view_tensor(struct view *view, const xent_tensor *tensor, unsigned dtypes, int required,
                             const char *name, xent_error *error);
/* view has the given shape, that of the named argument. */
xent_status xent_check_shape(const struct view *view, const int64_t *shape, int ndim, const char *like,
                             xent_error *error);

/* Refuses strides of an output that may bring two elements to one address: with the
 * dimensions in the order of their strides, each stride must exceed the extent of those below. */
xent_status xent_check_no_self_overlap(const struct view *output, xent_error *error);

/* An output against another tensor: either absent, apart, or, where may_alias holds, the very
 * same tensor. */
xent_status xent_check_overlapping(const struct view *output, const struct view *other, int may_alias, xent_error *error);
static inline xent_status xent_check_overlap(const struct view *output, const struct view *other, int may_alias,
                                             xent_error *error)
{
    if (!output->name || !other->name || output->high <= other->low || other->high <= output->low) return XENT_OK;
    return xent_check_overlapping(output, other, may_alias, error);
}

/* The axis an option names, in a tensor taken as having at least one dimension. */
xent_status xent_check_axis(int32_t axis, int ndim, int *checked, xent_error *error);

/* input, one dimension for each of shape's, broadcast onto it: trailing dimensions match or
 * are 1; missing ones count as 1. */
xent_status xent_broadcast(struct view *input, const int64_t *shape, int ndim, const char *like, xent_error *error);

#endif
