/* Threads that the host lends: the same bits as without, however many there are and however they
 * come by the tasks; the same errors; and small work stays at home. */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <xent/openmp.h>
#include <xent/pthreads.h>

#include "kernels.h"

typedef void task_function(void *context, size_t index);
typedef void for_function(void *host, size_t tasks, task_function *task, void *context);

/* ---- Hosts ---------------------------------------------------------------------- */

static int calls;        /* of any of these hosts */
static size_t last_tasks;

static void in_order(void *host, size_t tasks, task_function *task, void *context)
{
    (void)host;
    calls++;
    last_tasks = tasks;
    for (size_t i = 0; i < tasks; i++) {
        task(context, i);
    }
}

static void in_reverse(void *host, size_t tasks, task_function *task, void *context)
{
    (void)host;
    calls++;
    for (size_t i = tasks; i-- > 0;) {
        task(context, i);
    }
}

static void shuffled(void *host, size_t tasks, task_function *task, void *context)
{
    struct generator *g = host;
    size_t order[256];
    calls++;
    assert_true(tasks <= 256);
    for (size_t i = 0; i < tasks; i++) {
        const size_t j = generate_below(g, (uint32_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (size_t i = 0; i < tasks; i++) {
        task(context, order[i]);
    }
}

static void on_pool(void *host, size_t tasks, task_function *task, void *context)
{
    calls++;
    xent_pthreads_for(host, tasks, task, context);
}

static void on_openmp(void *host, size_t tasks, task_function *task, void *context)
{
    calls++;
    xent_openmp_for(host, tasks, task, context);
}

enum { POOLS = 4, HOSTS = 4 + POOLS };
static const int pool_threads[POOLS] = {1, 2, 3, 8};
static xent_pthreads pools[POOLS];
static struct generator shuffler = {7};

static void lend(int host)
{
    static for_function *const functions[] = {in_order, in_reverse, shuffled, on_openmp};
    if (host < 4) {
        check_lend_threads(functions[host], host == 2 ? &shuffler : NULL);
    } else {
        check_lend_threads(on_pool, &pools[host - 4]);
    }
}

static int start_pools(void **state)
{
    (void)state;
    for (int i = 0; i < POOLS; i++) {
        if (xent_pthreads_start(&pools[i], pool_threads[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

static int stop_pools(void **state)
{
    (void)state;
    for (int i = 0; i < POOLS; i++) {
        xent_pthreads_stop(&pools[i]);
    }
    return 0;
}

/* ---- Bits ------------------------------------------------------------------------ */

/* More than a few tasks; rows that end amid a block of 64, pages, and rows as long as a task. */
static const struct {
    int64_t rows, classes;
    enum kind kind;
    int layout;
} shapes[] = {
    {20002, 7, NORMAL, CONTIGUOUS}, {2998, 33, SPECIALS, PADDED_TO_ODD}, {1500, 100, WIDE, IN_PLACE},
    {2500, 60, CONFIDENT, INNER},   {102, 1000, NORMAL, SPLIT},          {6, 40000, VERY_WIDE, CONTIGUOUS},
};

static void same_bits(void **state)
{
    const enum kernel kernel = *(const enum kernel *)*state;
    xent_tier tiers[XENT_TIER_COUNT];
    const size_t tier_count = check_tiers(tiers);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        struct problem problem = problem_make(kernel, shapes[s].rows, shapes[s].classes, shapes[s].kind,
                                              (unsigned)s % 6, ANY_COEFFICIENTS);
        const struct layout *layout = &layouts[shapes[s].layout];
        const xent_tier tier = tiers[tier_count - 1 - s % (check_quick() ? 1 : tier_count)];
        check_lend_threads(NULL, NULL);
        struct results alone = run_problem(&problem, layout, tier, AT_BACK);
        for (int host = 0; host < HOSTS; host++) {
            lend(host);
            calls = 0;
            struct results results = run_problem(&problem, layout, tier, AT_BACK);
            assert_int_equal(calls, 1);
            assert_same_results(&results, &alone, &problem, layout, tier, "the caller's thread");
            results_free(&results);
        }
        results_free(&alone);
        problem_free(&problem);
    }
}

/* ---- What is found, counted and added up ------------------------------------------- */

enum { ROWS = 9000, CLASSES = 10 };
static float x[ROWS][CLASSES], t[ROWS][CLASSES];
static int64_t y[ROWS];
static const int64_t shape[] = {ROWS, CLASSES};
static const xent_tensor logits = {x, XENT_F32, 2, shape, NULL}, probabilities = {t, XENT_F32, 2, shape, NULL};
static const xent_tensor target = {y, XENT_I64, 1, shape, NULL};

static void fill(void)
{
    struct generator g = {11};
    for (int64_t i = 0; i < ROWS; i++) {
        y[i] = generate_below(&g, CLASSES);
        for (int64_t j = 0; j < CLASSES; j++) {
            x[i][j] = generate_uniform(&g, 0, 1);
            t[i][j] = generate_uniform(&g, 0, 1);
        }
    }
}

struct totals {
    double sum, divisor, mean;
    int64_t correct;
    xent_status status;
    xent_error error;
};

static struct totals cross_entropy(xent_tier tier)
{
    struct totals totals;
    memset(&totals, 0, sizeof totals);
    const xent_execution execution = check_execution(tier);
    xent_cross_entropy_options options;
    assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
    options.execution = &execution;
    options.z_loss = 0.25;
    options.report_non_finite = 1;
    const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .sum = &totals.sum, .divisor = &totals.divisor,
                                                .mean = &totals.mean, .correct_count = &totals.correct};
    totals.status = xent_cross_entropy(&logits, &target, &options, &outputs, &totals.error);
    return totals;
}

static struct totals bce(xent_tier tier)
{
    struct totals totals;
    memset(&totals, 0, sizeof totals);
    const xent_execution execution = check_execution(tier);
    xent_bce_options options;
    assert_int_equal(xent_bce_options_init(&options, sizeof options), XENT_OK);
    options.execution = &execution;
    options.report_non_finite = 1;
    const xent_bce_outputs outputs = {.size = sizeof outputs, .sum = &totals.sum, .divisor = &totals.divisor, .mean = &totals.mean};
    totals.status = xent_bce(&logits, &probabilities, &options, &outputs, &totals.error);
    return totals;
}

/* Runs it on every host, and fails unless all find what the caller's thread finds, which is returned. */
static struct totals on_every_host(struct totals (*run)(xent_tier tier), xent_tier tier)
{
    check_lend_threads(NULL, NULL);
    const struct totals alone = run(tier);
    for (int host = 0; host < HOSTS; host++) {
        lend(host);
        calls = 0;
        const struct totals totals = run(tier);
        assert_int_equal(calls, 1);
        assert_int_equal(totals.status, alone.status);
        assert_same(totals.sum, alone.sum);
        assert_same(totals.divisor, alone.divisor);
        assert_same(totals.mean, alone.mean);
        assert_int_equal(totals.correct, alone.correct);
        assert_int_equal(totals.error.row, alone.error.row);
        assert_same(totals.error.value, alone.error.value);
        assert_string_equal(totals.error.message, alone.error.message);
    }
    check_lend_threads(NULL, NULL);
    return alone;
}

static void counts(xent_tier tier)
{
    fill();
    int64_t right = 0;
    for (int64_t i = 0; i < ROWS; i++) {
        int64_t best = 0;
        for (int64_t j = 1; j < CLASSES; j++) {
            best = x[i][j] > x[i][best] ? j : best;
        }
        right += y[i] == best;
    }
    const struct totals totals = on_every_host(cross_entropy, tier);
    assert_int_equal(totals.status, XENT_OK);
    assert_int_equal(totals.correct, right);
}

/* Several rows are not finite, in ways that differ: the first counts. */
static void first_loss_that_is_not_finite(xent_tier tier)
{
    fill();
    x[8500][3] = NAN;
    x[5001][(y[5001] + 1) % CLASSES] = INFINITY;
    x[5001][y[5001]] = 0;
    x[4000][y[4000]] = -INFINITY;
    struct totals totals = on_every_host(cross_entropy, tier);
    assert_int_equal(totals.status, XENT_ERROR_NON_FINITE);
    assert_int_equal(totals.error.row, 4000);
    assert_same(totals.error.value, INFINITY);
    x[1][y[1]] = NAN;
    totals = on_every_host(cross_entropy, tier);
    assert_int_equal(totals.error.row, 1);
    assert_same(totals.error.value, NAN);
}

static void first_improper_probability(xent_tier tier)
{
    fill();
    x[8990][0] = -1;
    t[8000][9] = 2;
    t[4321][5] = NAN;
    struct totals totals = on_every_host(bce, tier);
    assert_int_equal(totals.status, XENT_ERROR_PROBABILITY);
    assert_int_equal(totals.error.row, 4321 * CLASSES + 5);
    assert_same(totals.error.value, NAN);
    x[4321][4] = 1.5f;
    totals = on_every_host(bce, tier);
    assert_int_equal(totals.error.row, 4321 * CLASSES + 4);
    assert_same(totals.error.value, 1.5);
}

/* A sum is exact, so that it cancels, and overflows, as it would on paper. */
static void sums_that_cancel(void **state)
{
    (void)state;
    enum { COUNT = 70000 };
    float *values = calloc(COUNT, sizeof *values);
    int64_t *zeros = calloc(COUNT, sizeof *zeros);
    const int64_t sizes[] = {COUNT, 1};
    const xent_tensor input = {values, XENT_F32, 2, sizes, NULL}, indices = {zeros, XENT_I64, 1, sizes, NULL};
    struct generator g = {3};
    for (int i = 0; i < COUNT / 2; i++) {
        values[i] = generate_normal(&g) * ldexpf(1, (int)generate_below(&g, 250) - 125);
        values[COUNT - 1 - i] = -values[i];
    }
    values[COUNT / 3] += 0x1p-100f * fabsf(values[COUNT / 3]);
    values[0] = 0x1p-140f;
    values[COUNT - 1] = 0;
    for (int host = 0; host < HOSTS; host++) {
        lend(host);
        const xent_execution execution = check_execution(XENT_TIER_AUTO);
        xent_cross_entropy_options options;
        assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
        options.execution = &execution;
        double sum = 0;
        const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .sum = &sum};
        calls = 0;
        assert_int_equal(xent_nll(&input, &indices, &options, &outputs, NULL), XENT_OK);
        assert_int_equal(calls, 1);
        assert_same(sum, -0x1p-140);
    }
    check_lend_threads(NULL, NULL);
    free(values);
    free(zeros);
}

/* ---- How it is called ------------------------------------------------------------------ */

/* Fewer than two tasks' worth of elements stay with the caller; so does a single row. */
static void small_work_stays(void **state)
{
    const enum kernel kernel = *(const enum kernel *)*state;
    const struct {
        int64_t rows, classes;
        int calls;
        size_t tasks;
    } sizes[] = {{6553, 10, 0, 0}, {63, 1024, 0, 0}, {64, 1024, 1, 2}, {6554, 10, 1, 2}, {2, 70000, 1, 2}, {1, 70000, 0, 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i].rows == 2 && kernel_elementwise(kernel)) {
            continue;
        }
        struct problem problem = problem_make(kernel, sizes[i].rows, sizes[i].classes, NORMAL, 0, NO_COEFFICIENTS);
        check_lend_threads(in_order, NULL);
        calls = 0;
        struct results results = run_problem(&problem, &layouts[CONTIGUOUS], XENT_TIER_AUTO, AT_BACK);
        check_lend_threads(NULL, NULL);
        const bool cut = sizes[i].calls != 0 || (kernel_elementwise(kernel) && sizes[i].rows == 1);
        assert_int_equal(calls, cut ? 1 : 0);
        if (cut) {
            assert_int_equal(last_tasks, 2);
        }
        results_free(&results);
        problem_free(&problem);
    }
}

/* Calls from several threads of a pool at once, each of which has the same pool: it is busy, and
 * they do without. */
static struct totals nested[8];

static void nested_task(void *context, size_t index)
{
    (void)context;
    nested[index] = cross_entropy(XENT_TIER_AUTO);
}

static void calls_within_tasks(void **state)
{
    (void)state;
    fill();
    check_lend_threads(NULL, NULL);
    const struct totals alone = cross_entropy(XENT_TIER_AUTO);
    check_lend_threads(xent_pthreads_for, &pools[2]);
    xent_pthreads_for(&pools[2], 8, nested_task, NULL);
    check_lend_threads(NULL, NULL);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(nested[i].status, XENT_OK);
        assert_same(nested[i].sum, alone.sum);
    }
}

/* ---- The pool itself --------------------------------------------------------------------- */

enum { MOST_TASKS = 300, CALLERS = 3 };

/* Of one call: how often each task was run. */
struct record {
    int times[MOST_TASKS];
    int64_t pause; /* of each task, in nanoseconds */
};

static void pause_for(int64_t nanoseconds)
{
    const struct timespec time = {0, (long)nanoseconds};
    if (nanoseconds != 0) {
        nanosleep(&time, NULL);
    }
}

static void note(void *context, size_t index)
{
    struct record *record = context;
    record->times[index]++;
    pause_for(record->pause);
}

static bool every_task_once(xent_pthreads *pool, size_t tasks, int64_t pause)
{
    struct record record;
    memset(&record, 0, sizeof record);
    record.pause = pause;
    xent_pthreads_for(pool, tasks, note, &record);
    for (size_t i = 0; i < MOST_TASKS; i++) {
        if (record.times[i] != (i < tasks ? 1 : 0)) {
            return false;
        }
    }
    return true;
}

/* Calls on each other's heels, and so far apart that threads sleep before them; tasks that end at
 * once, and tasks that keep those without one waiting until they sleep. */
static void tasks_of_a_pool(void **state)
{
    static const size_t counts[] = {2, 0, 3, 1, 7, MOST_TASKS};
    const int rounds = check_quick() ? 200 : 2000;
    (void)state;
    for (int i = 0; i < POOLS; i++) {
        for (int round = 0; round < rounds; round++) {
            for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
                assert_true(every_task_once(&pools[i], counts[c], 0));
            }
            if (round % 20 == 0) {
                pause_for(1000000);
            }
            if (round % 20 == 10) {
                assert_true(every_task_once(&pools[i], 3, 1000000));
            }
        }
    }
}

/* One of several that call the same pool. */
static void *caller(void *result)
{
    const int rounds = check_quick() ? 1000 : 10000;
    bool *all_well = result;
    *all_well = true;
    for (int round = 0; round < rounds; round++) {
        *all_well &= every_task_once(&pools[POOLS - 1], (size_t)round % 9, 0);
    }
    return NULL;
}

static void callers_of_a_pool(void **state)
{
    pthread_t thread[CALLERS];
    bool all_well[CALLERS];
    (void)state;
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, caller, &all_well[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_true(all_well[i]);
    }
}

/* With nothing to do, after a call, and after none. */
static void pools_that_stop(void **state)
{
    (void)state;
    for (int round = 0; round < (check_quick() ? 20 : 200); round++) {
        xent_pthreads pool;
        assert_int_equal(xent_pthreads_start(&pool, 1 + round % 5), 0);
        if (round % 2 == 1) {
            assert_true(every_task_once(&pool, (size_t)round % 7, 0));
        }
        pause_for(round % 3 == 2 ? 1000000 : 0);
        xent_pthreads_stop(&pool);
    }
}

/* ---- The stack of a task ---------------------------------------------------------- */

/* Sanitizers make frames larger. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACKS_ARE_TRUE 0
#elif defined(__has_feature)
#define STACKS_ARE_TRUE !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer))
#else
#define STACKS_ARE_TRUE 1
#endif

struct stack_calls {
    xent_tier tier;
    xent_status worst;
};

/* All ways through the kernels: rows short, long, and too long for what is kept of them; along and in the lanes; with
 * and without options; of every type. */
static void *calls_on_a_small_stack(void *context)
{
    struct stack_calls *calls_made = context;
    static const int64_t classes[] = {10, 100, 300, 1000, 5000, 32000, 70000};
    const xent_execution execution = {.size = sizeof execution, .tier = calls_made->tier};
    for (size_t c = 0; c < sizeof classes / sizeof *classes; c++)
        for (int way = 0; way < 16; way++) {
            static const xent_dtype dtypes[] = {XENT_F32, XENT_F64, XENT_BF16, XENT_F16};
            const int strided = way & 4, options_given = way & 8;
            const int64_t rows = classes[c] > 1000 ? 2 : 70;
            const int64_t block[] = {1, classes[c], rows}, matrix[] = {rows, classes[c]}, positions[] = {1, rows};
            void *in = calloc((size_t)(rows * classes[c]), 8), *out = calloc((size_t)(rows * classes[c]), 8);
            int64_t *indices = calloc((size_t)rows, sizeof *indices);
            const xent_tensor input = {in, dtypes[way & 3], strided ? 3 : 2, strided ? block : matrix, NULL};
            const xent_tensor labels = {indices, XENT_I64, strided ? 2 : 1, strided ? positions : positions + 1, NULL};
            const xent_tensor gradient = {out, input.dtype, input.ndim, input.shape, NULL};
            xent_cross_entropy_options options;
            xent_cross_entropy_options_init(&options, sizeof options);
            options.execution = &execution;
            if (options_given) options.z_loss = 0.1, options.softcap = 20.0, options.label_smoothing = 0.1;
            double mean;
            const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .mean = &mean, .gradient = &gradient};
            const xent_status status = xent_cross_entropy(&input, &labels, &options, &outputs, NULL);
            if (status != XENT_OK) calls_made->worst = status;
            free(in);
            free(out);
            free(indices);
        }
    return NULL;
}

/* xent.h grants a task 256 KiB. */
static void stack_of_a_task(xent_tier tier)
{
    if (!STACKS_ARE_TRUE) skip();
    struct stack_calls calls_made = {tier, XENT_OK};
    pthread_attr_t attributes;
    pthread_t thread;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, 256 * 1024), 0);
    assert_int_equal(pthread_create(&thread, &attributes, calls_on_a_small_stack, &calls_made), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
    assert_int_equal(calls_made.worst, XENT_OK);
}

int main(int argc, char **argv)
{
    static enum kernel kernels[KERNEL_COUNT];
    static char small_names[KERNEL_COUNT][64];
    struct CMUnitTest tests[2 * KERNEL_COUNT + 9];
    size_t count = 0;
    for (int i = 0; i < KERNEL_COUNT; i++) {
        kernels[i] = (enum kernel)i;
        tests[count++] = (struct CMUnitTest){kernel_name(kernels[i]), same_bits, NULL, NULL, &kernels[i]};
        strcpy(small_names[i], "small ");
        strncat(small_names[i], kernel_name(kernels[i]), 50);
        tests[count++] = (struct CMUnitTest){small_names[i], small_work_stays, NULL, NULL, &kernels[i]};
    }
    const struct CMUnitTest others[] = {
        on_every_tier(counts),
        on_every_tier(first_loss_that_is_not_finite),
        on_every_tier(first_improper_probability),
        on_every_tier(stack_of_a_task),
        cmocka_unit_test(sums_that_cancel),
        cmocka_unit_test(calls_within_tasks),
        cmocka_unit_test(tasks_of_a_pool),
        cmocka_unit_test(callers_of_a_pool),
        cmocka_unit_test(pools_that_stop),
    };
    memcpy(tests + count, others, sizeof others);
    void *none = NULL;
    if (start_pools(&none) != 0) {
        return 1;
    }
    const int failed = check_run("threads", tests, count + sizeof others / sizeof *others, argc, argv);
    stop_pools(&none);
    return failed;
}
