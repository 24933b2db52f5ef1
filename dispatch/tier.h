/* The choice of the tier. */
#ifndef XENT_DISPATCH_TIER_H
#define XENT_DISPATCH_TIER_H

#include "../kernels/job.h"
#include "xent/xent.h"

/* A tier's kernels in each precision. */
struct xent_tables {
    const struct xent_kernels *f32, *f64;
};

/* Bytes of logits from which on a job is large (struct row_job) on this CPU. On Intel's server cores a store that misses the
 * caches reads the line from memory before, and the L3 cache is hardly faster than memory: on an Emerald Rapids the gradients of
 * 15.6 MiB take 0.7 to 0.87 times as long written past them, those of 14.5 MiB as long, of 8 MiB up to 1.2 times. On Zen 4 it takes 1.2 to 1.45
 * times as long, and on Zen 5 it does not pay. */
int64_t xent_large_bytes(void);

/* Whether pages that are far apart are quick to read one by one (struct page_job): on an Emerald Rapids they are, on a Zen 4 not. */
int xent_pages_are_near_by(void);

/* How a call with the given execution (NULL: the default) is carried out: the kernels it is to
 * run, and, in *ours, the execution itself. */
xent_status xent_choose(const xent_execution *given, xent_execution *ours, struct xent_tables *tables,
                        xent_error *error);

/* The kernels for logits of this dtype: f64 is computed in f64, all else in f32. */
static inline const struct xent_kernels *xent_kernels_for(const struct xent_tables *tables, xent_dtype dtype)
{
    return dtype == XENT_F64 ? tables->f64 : tables->f32;
}

#endif
