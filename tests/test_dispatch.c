/* The choice of a tier, and what a host may do around a call: threads, forks, FTZ and DAZ,
 * errno, the floating-point environment.
 *
 * The choice is made at the first call of a process, so the tests of it run in children
 * forked before this process makes one; they come first. */
#define _GNU_SOURCE /* setenv, barriers */

#include <errno.h>
#include <fenv.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arguments.h"
#include "kernels.h"

/* ---- In a process that has not called yet -------------------------------------------- */

struct answer {
    bool right; /* whether all that the child checked holds */
    xent_tier tier;
    unsigned built, available;
    char name[32], reason[256];
};

static void fill(struct answer *answer)
{
    xent_info info;
    answer->right = xent_get_info(&info, sizeof info) == XENT_OK;
    answer->tier = info.tier;
    answer->built = info.built;
    answer->available = info.available;
    snprintf(answer->name, sizeof answer->name, "%s", info.tier_name);
    snprintf(answer->reason, sizeof answer->reason, "%s", info.reason);
}

static struct answer in_child(const char *xent_tier_variable, void (*work)(struct answer *))
{
    int ends[2];
    struct answer answer = {0};
    fflush(NULL);
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (xent_tier_variable == NULL) {
            unsetenv("XENT_TIER");
        } else {
            setenv("XENT_TIER", xent_tier_variable, 1);
        }
        work(&answer);
        const bool sent = write(ends[1], &answer, sizeof answer) == (ssize_t)sizeof answer;
        _exit(sent ? 0 : 1);
    }
    close(ends[1]);
    const bool received = read(ends[0], &answer, sizeof answer) == (ssize_t)sizeof answer;
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(received && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return answer;
}

static void the_best_tier_is_chosen(void **state)
{
    (void)state;
    const struct answer answer = in_child(NULL, fill);
    assert_true(answer.right);
    assert_true((answer.available & ~answer.built) == 0);
    assert_true((answer.available >> XENT_TIER_SCALAR & 1u) != 0);
    assert_true((answer.available >> answer.tier & 1u) != 0);
    assert_true((answer.available & 1u << XENT_TIER_AUTO) == 0);
    assert_string_equal(answer.name, xent_tier_name(answer.tier));
    /* SIMDe's tier is for tests, and slower. */
    assert_int_not_equal(answer.tier, XENT_TIER_NEON_SIMDE);
    const xent_tier order[] = {XENT_TIER_AVX512, XENT_TIER_AVX2, XENT_TIER_NEON};
    for (int i = 0; i < 3; i++) {
        if ((answer.available >> order[i] & 1u) != 0) {
            assert_int_equal(answer.tier, order[i]);
            break;
        }
    }
    assert_true(strlen(answer.reason) > 0);
    assert_null(strstr(answer.reason, "XENT_TIER"));
}

static void the_variable_names_a_tier(void **state)
{
    (void)state;
    const struct answer best = in_child(NULL, fill);
    for (int tier = XENT_TIER_SCALAR; tier < XENT_TIER_COUNT; tier++) {
        const struct answer answer = in_child(xent_tier_name((xent_tier)tier), fill);
        const bool available = (best.available >> (unsigned)tier & 1u) != 0;
        assert_int_equal(answer.tier, available ? (xent_tier)tier : best.tier);
        assert_int_equal(answer.available, best.available);
        assert_non_null(strstr(answer.reason, "XENT_TIER"));
        assert_int_equal(strstr(answer.reason, "ignored") != NULL, !available);
    }
}

static void a_name_that_is_none_is_ignored(void **state)
{
    (void)state;
    const struct answer best = in_child(NULL, fill);
    const char *names[] = {"AVX2", "avx", "avx2 ", "avx1024", "0", "%s%n", "scalar\n", "-1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct answer answer = in_child(names[i], fill);
        assert_int_equal(answer.tier, best.tier);
        assert_non_null(strstr(answer.reason, "ignored"));
    }
    assert_int_equal(in_child("", fill).tier, best.tier);
}

/* The variable is read once: a change after the first call changes nothing. */
static void change_variable(struct answer *answer)
{
    struct answer before = {0};
    fill(&before);
    setenv("XENT_TIER", "scalar", 1);
    fill(answer);
    answer->right = answer->tier == before.tier && strcmp(answer->reason, before.reason) == 0;
}

static void the_variable_is_read_once(void **state)
{
    (void)state;
    assert_true(in_child(NULL, change_variable).right);
}

/* ---- Threads and forks ------------------------------------------------------------------ */

enum { THREADS = 16 };

static pthread_barrier_t barrier;

struct caller {
    pthread_t thread;
    xent_tier tier;
    float output[37];
};

static void softmax_37(xent_tier tier, float output[37])
{
    float logits[37];
    for (int i = 0; i < 37; i++) {
        logits[i] = (float)(i * i % 23) / 3;
    }
    const int64_t shape[] = {37};
    const xent_execution execution = check_execution(tier);
    const xent_softmax_options options = {.size = sizeof options, .execution = &execution, .axis = XENT_AXIS_DEFAULT};
    const xent_tensor in = {logits, XENT_F32, 1, shape, NULL}, out = {output, XENT_F32, 1, shape, NULL};
    if (xent_softmax(&in, &options, &out, NULL) != XENT_OK) {
        memset(output, 0, 37 * sizeof *output);
    }
}

static void *call_at_once(void *argument)
{
    struct caller *caller = argument;
    xent_info info;
    pthread_barrier_wait(&barrier);
    softmax_37(XENT_TIER_AUTO, caller->output);
    caller->tier = xent_get_info(&info, sizeof info) == XENT_OK ? info.tier : XENT_TIER_AUTO;
    return NULL;
}

static void call_from_threads(struct answer *answer)
{
    static struct caller callers[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&callers[i].thread, NULL, call_at_once, &callers[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(callers[i].thread, NULL);
    }
    fill(answer);
    for (int i = 0; i < THREADS; i++) {
        answer->right &= callers[i].tier == answer->tier && callers[i].output[22] > 0 &&
                         memcmp(callers[i].output, callers[0].output, sizeof callers[0].output) == 0;
    }
}

static void first_call_from_many_threads(void **state)
{
    (void)state;
    const struct answer alone = in_child(NULL, fill);
    for (int i = 0; i < 20; i++) {
        const struct answer answer = in_child(NULL, call_from_threads);
        assert_true(answer.right);
        assert_int_equal(answer.tier, alone.tier);
    }
}

/* Threads, and then a fork that takes along only one of them. */
static void fork_after_threads(struct answer *answer)
{
    float before[37], after[37];
    call_from_threads(answer);
    softmax_37(XENT_TIER_AUTO, before);
    const pid_t child = fork();
    if (child == 0) {
        softmax_37(XENT_TIER_AUTO, after);
        _exit(memcmp(before, after, sizeof before) == 0 ? 0 : 1);
    }
    int status = 1;
    answer->right &= child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static void a_call_in_a_forked_child(void **state)
{
    (void)state;
    assert_true(in_child(NULL, fork_after_threads).right);
}

static void auto_is_the_tier_that_info_tells(void **state)
{
    (void)state;
    xent_info info;
    float by_default[37], by_name[37];
    assert_int_equal(xent_get_info(&info, sizeof info), XENT_OK);
    softmax_37(XENT_TIER_AUTO, by_default);
    softmax_37(info.tier, by_name);
    assert_memory_equal(by_default, by_name, sizeof by_name);
}

static void info_writes_no_more_than_its_size(void **state)
{
    (void)state;
    xent_info whole, part, untouched;
    guarded_fill(&untouched, sizeof untouched);
    assert_int_equal(xent_get_info(&whole, sizeof whole), XENT_OK);
    const size_t size = offsetof(xent_info, reason);
    guarded_fill(&part, sizeof part);
    (void)xent_get_info(&part, size);
    assert_memory_equal((char *)&part + size, (char *)&untouched + size, sizeof part - size);
    assert_int_equal(xent_get_info(NULL, sizeof whole), XENT_ERROR_NULL);
}

/* ---- The floating-point environment ------------------------------------------------------- */

#if defined(__x86_64__)
#include <xmmintrin.h>
enum { FLUSH = 0x8040 /* FTZ, DAZ */, CONTROL = 0xffc0 /* all but the exceptions' flags */ };
static unsigned get_control(void)
{
    return _mm_getcsr();
}
static void set_control(unsigned control)
{
    _mm_setcsr(control);
}
#elif defined(__aarch64__)
enum { FLUSH = 1 << 24 /* FZ */, CONTROL = 0x7fffffff };
static unsigned get_control(void)
{
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return (unsigned)control;
}
static void set_control(unsigned control)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)control));
}
#else
enum { FLUSH = 0, CONTROL = 0 };
static unsigned get_control(void)
{
    return 0;
}
static void set_control(unsigned control)
{
    (void)control;
}
#endif

/* Where the default gives a subnormal number, zero may come instead; below 2^-100 another last
 * place; else the same bits. */
static void assert_same_but_flushed(const struct output *flushed, const struct output *kept)
{
    for (int64_t at = 0; at < kept->rows * kept->classes; at++) {
        const double value = kept->values[at];
        const bool subnormal = value != 0 && fabs(value) < (double)FLT_MIN;
        const bool tiny = fabs(value) < 0x1p-100 && fabs(flushed->values[at] - value) <= 0x1p-23 * fabs(value);
        if (!check_same64(flushed->values[at], value) && !(subnormal && flushed->values[at] == 0) && !tiny) {
            fail_msg("%s, at %lld: %a, but %a if subnormal numbers are kept", kept->name, (long long)at,
                     flushed->values[at], value);
        }
    }
}

static void ftz_and_daz_change_only_subnormals(xent_tier tier)
{
    const enum kind kinds[] = {NORMAL, WIDE, TIES, CONFIDENT, GAP, AROUND_1E5, LARGEST, MASKED, ZEROS, SPECIALS};
    const int64_t shapes[][2] = {{40, 3}, {3, 300}, {2, 1000}};
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            for (int s = 0; s < 3; s++) {
                struct problem problem = problem_make((enum kernel)kernel, shapes[s][0], shapes[s][1], kinds[k],
                                                      1, NO_COEFFICIENTS);
                /* Subnormal inputs are zeros with DAZ, and then anything may follow. */
                for (int64_t i = 0; i < problem.rows * problem.classes; i++) {
                    const float magnitude = fabsf(problem.x[i]);
                    problem.x[i] = magnitude > 0 && magnitude < FLT_MIN ? 0 : problem.x[i];
                }
                struct results kept = run_problem(&problem, &layouts[CONTIGUOUS], tier, AT_FRONT);
                const unsigned control = get_control();
                set_control(control | FLUSH);
                struct results flushed = run_problem(&problem, &layouts[CONTIGUOUS], tier, AT_FRONT);
                const unsigned after = get_control();
                set_control(control);
                assert_int_equal(after & CONTROL, (control | FLUSH) & CONTROL);
                assert_int_equal(flushed.status, XENT_OK);
                for (int i = 0; i < kept.count; i++) {
                    assert_same_but_flushed(&flushed.outputs[i], &kept.outputs[i]);
                }
                results_free(&kept);
                results_free(&flushed);
                problem_free(&problem);
            }
        }
    }
}

static struct call call;

static void the_environment_is_left_alone(xent_tier tier)
{
    const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
        for (int mode = 0; mode < 4; mode++) {
            for (int bad = 0; bad < 2; bad++) {
                call_make(&call, (enum kernel)kernel, tier);
                if (bad) {
                    call.arguments[0].tensor.ndim = -1;
                }
                fesetround(modes[mode]);
                set_control(get_control() & ~(unsigned)FLUSH); /* whatever earlier calls have done */
                const unsigned before = get_control();
                errno = 12345;
                const xent_status status = call_invoke(&call);
                const int errno_after = errno, mode_after = fegetround();
                const unsigned after = get_control();
                fesetround(FE_TONEAREST);
                assert_int_equal(status, bad ? XENT_ERROR_SHAPE : XENT_OK);
                assert_int_equal(errno_after, 12345);
                assert_int_equal(mode_after, modes[mode]);
                assert_int_equal(after & CONTROL, before & CONTROL);
            }
        }
    }
}

/* Every call, good and bad, with all that could be printed going into a pipe. */
static void call_everything(struct answer *answer)
{
    int ends[2];
    answer->right = pipe(ends) == 0 && dup2(ends[1], STDOUT_FILENO) >= 0 && dup2(ends[1], STDERR_FILENO) >= 0;
    for (int kernel = 0; kernel < KERNEL_COUNT; kernel++) {
        for (int i = -1; i < 3; i++) {
            call_make(&call, (enum kernel)kernel, XENT_TIER_AUTO);
            if (i >= 0) {
                call.arguments[i % call.count].tensor.shape = NULL;
            }
            answer->right &= (call_invoke(&call) == XENT_OK) == (i < 0);
        }
    }
    fflush(NULL);
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    close(ends[1]);
    char byte;
    answer->right &= read(ends[0], &byte, 1) == 0;
}

static void nothing_is_printed(void **state)
{
    (void)state;
    assert_true(in_child("no such tier", call_everything).right);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_tier_is_chosen),
        cmocka_unit_test(the_variable_names_a_tier),
        cmocka_unit_test(a_name_that_is_none_is_ignored),
        cmocka_unit_test(the_variable_is_read_once),
        cmocka_unit_test(first_call_from_many_threads),
        cmocka_unit_test(a_call_in_a_forked_child),
        cmocka_unit_test(nothing_is_printed),
        /* From here on this process calls as well. */
        cmocka_unit_test(auto_is_the_tier_that_info_tells),
        cmocka_unit_test(info_writes_no_more_than_its_size),
        on_every_tier(ftz_and_daz_change_only_subnormals),
        on_every_tier(the_environment_is_left_alone),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL) == 0 ? 0 : 1;
}
