#include "fold.h"

void xent_fold(struct fold *fold, const int64_t *shape, int ndim, int skipped, const struct view *views,
               arguments operands, arguments skipping)
{
    fold->ndim = 0;
    fold->count = 1;
    for (int d = 0; d < ndim; d++) {
        if (d == skipped) continue;
        fold->count *= shape[d];
        if (shape[d] == 1) continue;
        /* One with the dimension before it, where it continues that in every operand. */
        int joins = fold->ndim > 0, without = d - (skipped >= 0 && d > skipped);
        for (arguments left = operands; joins && left;) {
            int o = argument_take(&left);
            int64_t stride = views[o].strides[skipping & argument(o) ? without : d];
            joins = fold->stride[o][fold->ndim - 1] == stride * shape[d];
        }
        int to = joins ? fold->ndim - 1 : fold->ndim++;
        fold->size[to] = joins ? fold->size[to] * shape[d] : shape[d];
        for (arguments left = operands; left;) {
            int o = argument_take(&left);
            fold->stride[o][to] = views[o].strides[skipping & argument(o) ? without : d];
        }
    }
    if (fold->ndim) return;
    fold->ndim = 1;
    fold->size[0] = 1;
    while (operands) fold->stride[argument_take(&operands)][0] = 1;
}

int64_t xent_fold_find_run(const struct fold *fold, int operand, int64_t first, ptrdiff_t *offset, ptrdiff_t *step)
{
    const int64_t *stride = fold->stride[operand];
    const int inner = fold->ndim - 1;
    int64_t position = first % fold->size[inner], outer = first / fold->size[inner], at = position * stride[inner];
    for (int d = inner - 1; d >= 0; d--) {
        at += outer % fold->size[d] * stride[d];
        outer /= fold->size[d];
    }
    *step = (ptrdiff_t)stride[inner];
    *offset = (ptrdiff_t)at;
    return fold->size[inner] - position;
}

void xent_fold_offsets(const struct fold *fold, int operand, int64_t first, size_t count, ptrdiff_t *offsets)
{
    for (size_t done = 0; done < count;) {
        ptrdiff_t at, step;
        int64_t left = xent_fold_run(fold, operand, first + (int64_t)done, &at, &step);
        size_t run = (int64_t)(count - done) < left ? count - done : (size_t)left;
        for (size_t i = 0; i < run; i++, at += step) offsets[done + i] = at;
        done += run;
    }
}

int xent_fold_packed(const struct fold *fold, int operand)
{
    int64_t expected = 1;
    for (int d = fold->ndim - 1; d >= 0; d--) {
        if (fold->stride[operand][d] != expected) return 0;
        expected *= fold->size[d];
    }
    return 1;
}
