/* One tier in one precision: compiled for each instruction set, with XENT_VECTOR_<ISA> and its
 * flags, a second time with XENT_REAL_F64, and XENT_TIER_TABLE, the name of the table it
 * exports. */
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
