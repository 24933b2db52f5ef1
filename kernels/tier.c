/* One tier in one precision: compiled for each instruction set, with XENT_VECTOR_<ISA> and its
 * flags, a second time with XENT_REAL_F64, and XENT_TIER_TABLE, the name of the table it
 * exports. */

/* Where clang's sanitizers are on, the scalar tier alone looks for pointers that overflow: what computes pointers is the
 * same in all tiers, and looked at in each it is a third of the time that they take to compile. */
#if defined __clang__ && !defined XENT_VECTOR_SCALAR
#pragma clang attribute push(__attribute__((no_sanitize("pointer-overflow"))), apply_to = function)
#endif

#include "backward.h"
#include "elements.h"
#include "softmax.h"
#include "states.h"

extern const struct xent_kernels XENT_TIER_TABLE;
const struct xent_kernels XENT_TIER_TABLE = {
#define X(name, job) .name = kernel_##name,
    XENT_KERNELS(X)
#undef X
    .page_states = kernel_page_states,
    .page_finish = kernel_page_finish,
    .page_write = kernel_page_write,
    .read = kernel_read,
    .write = kernel_write,
    .merge = kernel_merge,
    .finish = kernel_finish,
    .close = kernel_close,
};

#if defined __clang__ && !defined XENT_VECTOR_SCALAR
#pragma clang attribute pop
#endif
