/* Work in spans, which the host's threads run where it lends some. */
#ifndef XENT_DISPATCH_PARALLEL_H
#define XENT_DISPATCH_PARALLEL_H

#include <stdint.h>

#include "reduce.h"

/* Fewest elements of a span. That many take ten microseconds and more; a thread that sleeps comes
 * after ten to sixty. */
#define XENT_SPAN 32768
/* Most spans of a call: several for each of many threads, so that none waits long for the last,
 * and few enough for a host to whom a task costs something. */
#define XENT_SPANS 256

struct spans {
    int64_t count; /* of rows or elements, in tasks that begin at multiples of the unit */
    int64_t unit;
    int64_t tasks; /* at least 1 */
};

/* count rows, or elements, of so many elements each. One task if the host lends no threads. */
struct spans xent_spans(const xent_execution *execution, int64_t count, int64_t unit, int64_t elements);

/* Runs positions first ... end - 1 of each task, on whatever threads the host has it run, and
 * returns when all are done. totals, fresh from xent_totals_init, get what all runs add to theirs;
 * NULL where no run adds any. */
void xent_spans_run(const struct spans *spans, const xent_execution *execution, struct xent_totals *totals,
                    void (*run)(const void *call, int64_t first, int64_t end, struct xent_totals *totals), const void *call);

#endif
