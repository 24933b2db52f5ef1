/* xent_execution.parallel_for on OpenMP:
 *
 *     xent_execution execution = {.size = sizeof execution, .parallel_for = xent_openmp_for};
 *
 * Compile with -fopenmp or the like; without it the tasks run one after the other. Inside a parallel
 * region of the host's, OpenMP's own rules for nesting apply. */
#ifndef XENT_OPENMP_H
#define XENT_OPENMP_H

#include <stddef.h>

static inline void xent_openmp_for(void *host, size_t tasks, void (*task)(void *context, size_t index), void *context)
{
    ptrdiff_t index, count = (ptrdiff_t)tasks; /* signed for the sake of old OpenMP */
    (void)host;
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic)
#endif
    for (index = 0; index < count; index++) task(context, (size_t)index);
}

#endif
