#include "parallel.h"

struct spans xent_spans(const xent_execution *execution, int64_t count, int64_t unit, int64_t elements)
{
    struct spans spans = {count, unit, 1};
    if (!execution->parallel_for) return spans;
    int64_t units = count / unit + (count % unit != 0), worth = count * elements / XENT_SPAN;
    spans.tasks = worth < XENT_SPANS ? worth : XENT_SPANS;
    if (spans.tasks > units) spans.tasks = units;
    if (spans.tasks < 1) spans.tasks = 1;
    return spans;
}

struct task {
    const struct spans *spans;
    struct xent_totals *totals;
    void (*run)(const void *call, int64_t first, int64_t end, struct xent_totals *totals);
    const void *call;
};

/* Where a task begins: units are spread evenly, the first tasks taking one more. */
static int64_t begin(const struct spans *spans, int64_t index)
{
    int64_t units = spans->count / spans->unit + (spans->count % spans->unit != 0);
    int64_t each = units / spans->tasks, more = units % spans->tasks;
    int64_t first = (index * each + (index < more ? index : more)) * spans->unit;
    return first < spans->count ? first : spans->count;
}

static void run_task(void *context, size_t index)
{
    const struct task *task = context;
    struct xent_totals own;
    xent_totals_init(&own);
    task->run(task->call, begin(task->spans, (int64_t)index), begin(task->spans, (int64_t)index + 1), &own);
    if (task->totals) xent_totals_merge(task->totals, &own);
}

void xent_spans_run(const struct spans *spans, const xent_execution *execution, struct xent_totals *totals,
                    void (*run)(const void *call, int64_t first, int64_t end, struct xent_totals *totals), const void *call)
{
    struct task task = {spans, totals, run, call};
    if (spans->tasks == 1) {
        run(call, 0, spans->count, totals);
        return;
    }
    if (totals) xent_totals_share(totals);
    execution->parallel_for(execution->host, (size_t)spans->tasks, run_task, &task);
}
