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
    void (*run)(void *call, int64_t first, int64_t end);
    void *call;
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
    task->run(task->call, begin(task->spans, (int64_t)index), begin(task->spans, (int64_t)index + 1));
}

void xent_spans_run(const struct spans *spans, const xent_execution *execution,
                    void (*run)(void *call, int64_t first, int64_t end), void *call)
{
    struct task task = {spans, run, call};
    execution->parallel_for(execution->host, (size_t)spans->tasks, run_task, &task);
}
