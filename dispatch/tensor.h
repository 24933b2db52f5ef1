/* Validation of tensors, and their description once it is done. */
#ifndef XENT_DISPATCH_TENSOR_H
#define XENT_DISPATCH_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "xent/xent.h"

/* A validated tensor: nothing about it overflows. */
struct view {
    const char *name; /* the argument's, for errors */
    char *data;
    xent_dtype dtype;
    int ndim;
    int64_t item;         /* bytes of an element */
    int64_t count;        /* elements */
    const int64_t *shape; /* the caller's */
    int64_t strides[XENT_MAX_NDIM]; /* in elements; 0 in dimensions of one element */
    uintptr_t low, high; /* addresses: of the first byte, and behind the last; count 0: alike */
    int packed; /* in C order, one element behind the other */
};

/* The arguments of a call are numbered, and sets of them are words: bit 1 << number. Views of
 * what is not in the set of those given are never looked at, and need not be set up. */
typedef unsigned arguments;

static inline arguments argument(int number) { return 1u << number; }
/* Those of a set one after the other: while (set) { int number = argument_take(&set); ... } */
static inline int argument_take(arguments *set)
{
    int number = __builtin_ctz(*set);
    *set &= *set - 1;
    return number;
}

/* Bytes of an element. */
static inline uint8_t xent_item_size(xent_dtype dtype)
{
    static const uint8_t size[] = {
        [XENT_F64] = 8, [XENT_I64] = 8, [XENT_F32] = 4, [XENT_I32] = 4, [XENT_F16] = 2, [XENT_BF16] = 2, [XENT_U8] = 1,
    };
    return size[dtype];
}

/* Sets of dtypes. */
#define DTYPE(dtype) (1u << (dtype))
static inline int xent_dtype_is(xent_dtype dtype, unsigned set) { return (unsigned)dtype < 32 && (set & DTYPE(dtype)); }

#define XENT_FLOATS (DTYPE(XENT_F32) | DTYPE(XENT_F64) | DTYPE(XENT_F16) | DTYPE(XENT_BF16))
#define XENT_INDICES (DTYPE(XENT_I64) | DTYPE(XENT_I32) | DTYPE(XENT_U8))
/* What may stand beside logits of a dtype, f32 or the same, and hold the values of a row. */
static inline unsigned xent_dtypes_beside(xent_dtype logits) { return DTYPE(XENT_F32) | DTYPE(logits); }
static inline unsigned xent_dtypes_of_rows(xent_dtype logits)
{
    return logits == XENT_F64 ? DTYPE(XENT_F64) : xent_dtypes_beside(logits);
}

xent_status xent_view_tensor(struct view *view, const xent_tensor *tensor, unsigned dtypes, const char *name,
                             xent_error *error);
/* The view of one of a call's arguments. A missing (NULL) tensor is an error if required. */
static inline xent_status xent_view_argument(struct view *views, arguments *given, int number, const xent_tensor *tensor,
                                             unsigned dtypes, int required, const char *name, xent_error *error)
{
    if (!tensor) return required ? xent_fail(error, XENT_ERROR_NULL, name, "is NULL") : XENT_OK;
    *given |= argument(number);
    return xent_view_tensor(&views[number], tensor, dtypes, name, error);
}

/* view has the given shape, that of the named argument. */
xent_status xent_check_shape(const struct view *view, const int64_t *shape, int ndim, const char *like,
                             xent_error *error);

/* Outputs against themselves, and against every other argument given: its strides must not bring two
 * elements to one address, which is to say that with the dimensions in the order of their
 * strides, each stride exceeds the extent of those below; and it lies apart from the others, or
 * is the very same tensor as one of the set may_alias[output]. */
xent_status xent_check_overlaps(const struct view *views, arguments given, arguments outputs, const arguments *may_alias,
                                xent_error *error);

/* input, one dimension for each of shape's, broadcast onto it: trailing dimensions match or
 * are 1; missing ones count as 1. */
xent_status xent_broadcast(struct view *input, const int64_t *shape, int ndim, const char *like, xent_error *error);

#endif
