/* Cross-entropy of few plain rows, straight to the kernel. */
#ifndef XENT_DISPATCH_DIRECT_H
#define XENT_DISPATCH_DIRECT_H

#include "tier.h"

/* Carries out a call of the plainest kind and returns 1: rows of one job, packed in two dimensions,
 * i64 targets none of which is ignored, nothing wanted but sum, divisor, mean and gradient, and
 * options that add nothing to the loss (which the caller has checked). Of any other call, and of any that
 * is not evidently right, it leaves everything as it is and returns 0: the general way knows what is
 * wrong. All but the kernel takes 400 instructions for one row of ten, and 1230 the general way. */
int xent_cross_entropy_direct(const xent_tensor *logits, const xent_tensor *target, const xent_cross_entropy_options *o,
                              const xent_cross_entropy_outputs *w, const struct xent_tables *tables);

#endif
