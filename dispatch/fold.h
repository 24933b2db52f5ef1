/* Dimensions shared by several tensors, folded to as few as there can be. */
#ifndef XENT_DISPATCH_FOLD_H
#define XENT_DISPATCH_FOLD_H

#include "tensor.h"

#define XENT_OPERANDS_MAX 14

struct fold {
    int ndim;      /* at least 1 */
    int64_t count; /* of all positions */
    int64_t size[XENT_MAX_NDIM];
    int64_t stride[XENT_OPERANDS_MAX][XENT_MAX_NDIM]; /* of the operands that are folded */
};

/* Folds shape[ndim] without its dimension skipped (-1: none). Operands' views have the strides of
 * the same dimensions, those of the set skipping that of the skipped one too. */
void xent_fold(struct fold *fold, const int64_t *shape, int ndim, int skipped, const struct view *views,
               arguments operands, arguments skipping);

/* Offsets, in elements, of count positions of an operand in C order, from position first on. */
void xent_fold_offsets(const struct fold *fold, int operand, int64_t first, size_t count, ptrdiff_t *offsets);

/* How many positions from the first on follow each other a step apart; *offset, *step: where,
 * in elements. */
int64_t xent_fold_find_run(const struct fold *fold, int operand, int64_t first, ptrdiff_t *offset, ptrdiff_t *step);
static inline int64_t xent_fold_run(const struct fold *fold, int operand, int64_t first, ptrdiff_t *offset, ptrdiff_t *step)
{
    if (fold->ndim > 1) return xent_fold_find_run(fold, operand, first, offset, step);
    *step = (ptrdiff_t)fold->stride[operand][0];
    *offset = (ptrdiff_t)first * *step;
    return fold->count - first;
}

/* Whether an operand lies packed in C order. */
int xent_fold_packed(const struct fold *fold, int operand);

#endif
