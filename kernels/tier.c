/* One tier: compiled once for each instruction set, with XENT_VECTOR_<ISA> and its flags,
 * and XENT_TIER_TABLE, the name of the table it exports. */
#include "backward.h"
#include "elements.h"
#include "softmax.h"

extern const struct xent_kernels XENT_TIER_TABLE;
const struct xent_kernels XENT_TIER_TABLE = {
#define X(name, job) .name = kernel_##name,
    XENT_KERNELS(X)
#undef X
};
