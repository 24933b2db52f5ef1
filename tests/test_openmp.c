/* xent/openmp.h, compiled with OpenMP: every task once, on as many threads as OpenMP is told to
 * use, and the bits of the caller's thread alone. (Without OpenMP it is in test_threads.) */
#include <stdio.h>
#include <string.h>

#include <xent/openmp.h>

#include "kernels.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER
#endif

#if defined(_OPENMP) && !defined(THREAD_SANITIZER)
#include <omp.h>

enum { MOST_THREADS = 4, TASKS = 1000 };

static int calls;

static void on_openmp(void *host, size_t tasks, void (*task)(void *context, size_t index), void *context)
{
    calls++;
    xent_openmp_for(host, tasks, task, context);
}

struct record {
    int times[TASKS], team[TASKS]; /* how often a task was run, and the threads there were then */
};

static void note(void *context, size_t index)
{
    struct record *record = context;
    record->times[index]++;
    record->team[index] = omp_get_num_threads();
}

static void every_task_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        static const size_t counts[] = {0, 1, 2, 7, TASKS};
        omp_set_num_threads(threads);
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            struct record record;
            memset(&record, 0, sizeof record);
            xent_openmp_for(NULL, counts[c], note, &record);
            for (size_t i = 0; i < TASKS; i++) {
                assert_int_equal(record.times[i], i < counts[c] ? 1 : 0);
                if (i < counts[c]) assert_int_equal(record.team[i], threads);
            }
        }
    }
}

/* More than a few tasks, of rows in the lanes, along the rows, and of rows as long as a task. */
static void same_bits(void **state)
{
    static const struct {
        int64_t rows, classes;
        int layout;
    } shapes[] = {{20002, 7, CONTIGUOUS}, {1500, 100, IN_PLACE}, {102, 1000, SPLIT}, {6, 40000, CONTIGUOUS}};
    const enum kernel kernel = *(const enum kernel *)*state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        struct problem problem = problem_make(kernel, shapes[s].rows, shapes[s].classes, NORMAL, (unsigned)s, ANY_COEFFICIENTS);
        const struct layout *layout = &layouts[shapes[s].layout];
        struct results alone = run_problem(&problem, layout, XENT_TIER_AUTO, AT_BACK);
        for (int threads = 1; threads <= MOST_THREADS; threads++) {
            omp_set_num_threads(threads);
            check_lend_threads(on_openmp, NULL);
            calls = 0;
            struct results results = run_problem(&problem, layout, XENT_TIER_AUTO, AT_BACK);
            check_lend_threads(NULL, NULL);
            assert_int_equal(calls, 1);
            assert_same_results(&results, &alone, &problem, layout, XENT_TIER_AUTO, "the caller's thread");
            results_free(&results);
        }
        results_free(&alone);
        problem_free(&problem);
    }
}

/* Calls from within a parallel region, whose threads each hand their tasks to OpenMP again. */
static void calls_within_a_parallel_region(void **state)
{
    enum { ROWS = 9000, CLASSES = 10 };
    static float x[ROWS * CLASSES];
    static const int64_t shape[] = {ROWS, CLASSES};
    (void)state;
    struct generator g = {41};
    for (int i = 0; i < ROWS * CLASSES; i++) x[i] = generate_normal(&g);
    static const int64_t zeros[ROWS];
    const xent_tensor logits = {x, XENT_F32, 2, shape, NULL}, target = {(void *)(uintptr_t)zeros, XENT_I64, 1, shape, NULL};
    double sum[1 + MOST_THREADS] = {0};
    xent_status status[1 + MOST_THREADS];
    omp_set_num_threads(MOST_THREADS);
    for (int nested = 0; nested < 2; nested++) {
        omp_set_max_active_levels(1 + nested);
#pragma omp parallel for schedule(static, 1)
        for (int i = 0; i <= MOST_THREADS; i++) {
            const xent_execution execution = {.size = sizeof execution, .parallel_for = i == 0 ? NULL : xent_openmp_for};
            const xent_cross_entropy_options options = {.size = sizeof options, .execution = &execution, .axis = XENT_AXIS_DEFAULT, .ignore_index = -100};
            const xent_cross_entropy_outputs outputs = {.size = sizeof outputs, .sum = &sum[i]};
            status[i] = xent_cross_entropy(&logits, &target, &options, &outputs, NULL);
        }
        for (int i = 0; i <= MOST_THREADS; i++) {
            assert_int_equal(status[i], XENT_OK);
            assert_same(sum[i], sum[0]);
        }
    }
}

int main(int argc, char **argv)
{
    static enum kernel kernels[KERNEL_COUNT];
    struct CMUnitTest tests[KERNEL_COUNT + 2];
    for (int i = 0; i < KERNEL_COUNT; i++) {
        kernels[i] = (enum kernel)i;
        tests[i] = (struct CMUnitTest){kernel_name(kernels[i]), same_bits, NULL, NULL, &kernels[i]};
    }
    tests[KERNEL_COUNT] = (struct CMUnitTest)cmocka_unit_test(every_task_once);
    tests[KERNEL_COUNT + 1] = (struct CMUnitTest)cmocka_unit_test(calls_within_a_parallel_region);
    omp_set_dynamic(0);
    return check_run("openmp", tests, sizeof tests / sizeof *tests, argc, argv);
}
#else

/* 77 is a test skipped, to Meson. */
int main(void)
{
#ifdef THREAD_SANITIZER
    puts("skipped: openmp (ThreadSanitizer does not see what OpenMP's own runtime synchronises, and reports races that are none)");
#else
    puts("skipped: openmp (this compiler lacks OpenMP)");
#endif
    return 77;
}
#endif
