/* The choice of the tier. */
#ifndef XENT_DISPATCH_TIER_H
#define XENT_DISPATCH_TIER_H

#include "../kernels/job.h"
#include "xent/xent.h"

/* The kernels that a call with this execution (NULL: the default) is to run. */
xent_status xent_choose(const xent_execution *execution, const struct xent_kernels **kernels, xent_error *error);

#endif
