/* xent_execution.parallel_for on plain POSIX threads: a small pool, as an example of one.
 *
 *     xent_pthreads pool;
 *     int failed = xent_pthreads_start(&pool, 4);
 *     xent_execution execution = {.size = sizeof execution, .parallel_for = xent_pthreads_for, .host = &pool};
 *     ... calls, from one thread or several: while one has the pool, the others do without ...
 *     xent_pthreads_stop(&pool);
 *
 * For GCC, Clang, and what else has their atomic builtins. */
#ifndef XENT_PTHREADS_H
#define XENT_PTHREADS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define XENT_PTHREADS_MAX 64

/* How often a thread without work looks again before it sleeps: for some tens of microseconds, which is what
 * waking it can take in a virtual machine. With more, calls that are further apart find threads awake. */
#ifndef XENT_PTHREADS_LOOKS
#define XENT_PTHREADS_LOOKS 2000
#endif

typedef struct xent_pthreads {
    uint64_t left;       /* tasks of the call that nobody has taken; in the high half, the call's number */
    uint32_t unfinished; /* tasks that have not ended */
    uint32_t tasks;
    void (*task)(void *context, size_t index);
    void *context;
    int busy, stop; /* a call has the pool; no more will come */
    /* All above is atomic. For threads that sleep: */
    pthread_mutex_t mutex;
    pthread_cond_t begun, ended;
    int threads; /* started, beside the caller's */
    pthread_t thread[XENT_PTHREADS_MAX];
} xent_pthreads;

/* A few tens of cycles that leave the core to its other hardware thread, where it has one. */
static inline void xent_pthreads_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" : : : "memory");
#endif
}

static inline uint32_t xent_pthreads_left(const xent_pthreads *pool)
{
    return (uint32_t)__atomic_load_n(&pool->left, __ATOMIC_ACQUIRE);
}

/* Takes a task and runs it, if one is left. Where the exchange succeeds, what was read is of the call that the
 * task is of: there is none after it before the task has ended. */
static inline int xent_pthreads_take(xent_pthreads *pool)
{
    uint64_t left = __atomic_load_n(&pool->left, __ATOMIC_ACQUIRE);
    void (*task)(void *context, size_t index);
    void *context;
    uint32_t tasks;
    do {
        if ((uint32_t)left == 0) return 0;
        task = __atomic_load_n(&pool->task, __ATOMIC_RELAXED);
        context = __atomic_load_n(&pool->context, __ATOMIC_RELAXED);
        tasks = __atomic_load_n(&pool->tasks, __ATOMIC_RELAXED);
    } while (!__atomic_compare_exchange_n(&pool->left, &left, left - 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    task(context, tasks - (uint32_t)left);
    if (__atomic_sub_fetch(&pool->unfinished, 1, __ATOMIC_ACQ_REL) == 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_signal(&pool->ended);
        pthread_mutex_unlock(&pool->mutex);
    }
    return 1;
}

static inline void *xent_pthreads_main(void *pointer)
{
    xent_pthreads *pool = (xent_pthreads *)pointer;
    int looks = 0;
    while (!__atomic_load_n(&pool->stop, __ATOMIC_ACQUIRE)) {
        if (xent_pthreads_take(pool)) looks = 0;
        else if (++looks < XENT_PTHREADS_LOOKS) xent_pthreads_pause();
        else {
            pthread_mutex_lock(&pool->mutex);
            while (!xent_pthreads_left(pool) && !__atomic_load_n(&pool->stop, __ATOMIC_ACQUIRE))
                pthread_cond_wait(&pool->begun, &pool->mutex);
            pthread_mutex_unlock(&pool->mutex);
            looks = 0;
        }
    }
    return NULL;
}

static inline void xent_pthreads_stop(xent_pthreads *pool)
{
    int i;
    pthread_mutex_lock(&pool->mutex);
    __atomic_store_n(&pool->stop, 1, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&pool->begun);
    pthread_mutex_unlock(&pool->mutex);
    for (i = 0; i < pool->threads; i++) pthread_join(pool->thread[i], NULL);
    pthread_cond_destroy(&pool->ended);
    pthread_cond_destroy(&pool->begun);
    pthread_mutex_destroy(&pool->mutex);
}

/* Work for so many threads, 1 to XENT_PTHREADS_MAX + 1, the caller's included. Returns 0, or what
 * pthread_create did; then nothing is left to be stopped. */
static inline int xent_pthreads_start(xent_pthreads *pool, int threads)
{
    int failed = 0;
    memset(pool, 0, sizeof *pool);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->begun, NULL);
    pthread_cond_init(&pool->ended, NULL);
    while (!failed && pool->threads < threads - 1 && pool->threads < XENT_PTHREADS_MAX) {
        failed = pthread_create(&pool->thread[pool->threads], NULL, xent_pthreads_main, pool);
        if (!failed) pool->threads++;
    }
    if (failed) xent_pthreads_stop(pool);
    return failed;
}

static inline void xent_pthreads_for(void *host, size_t tasks, void (*task)(void *context, size_t index), void *context)
{
    xent_pthreads *pool = (xent_pthreads *)host;
    size_t index;
    int looks = 0;
    if (tasks < 2 || tasks > INT32_MAX || __atomic_exchange_n(&pool->busy, 1, __ATOMIC_ACQUIRE)) {
        for (index = 0; index < tasks; index++) task(context, index);
        return;
    }
    __atomic_store_n(&pool->task, task, __ATOMIC_RELAXED);
    __atomic_store_n(&pool->context, context, __ATOMIC_RELAXED);
    __atomic_store_n(&pool->tasks, (uint32_t)tasks, __ATOMIC_RELAXED);
    __atomic_store_n(&pool->unfinished, (uint32_t)tasks, __ATOMIC_RELAXED);
    pthread_mutex_lock(&pool->mutex);
    __atomic_add_fetch(&pool->left, ((uint64_t)1 << 32) + tasks, __ATOMIC_RELEASE);
    for (index = 1; index < tasks && index <= (size_t)pool->threads; index++) pthread_cond_signal(&pool->begun);
    pthread_mutex_unlock(&pool->mutex);
    while (xent_pthreads_take(pool)) continue;
    while (__atomic_load_n(&pool->unfinished, __ATOMIC_ACQUIRE) && ++looks < XENT_PTHREADS_LOOKS) xent_pthreads_pause();
    pthread_mutex_lock(&pool->mutex);
    while (__atomic_load_n(&pool->unfinished, __ATOMIC_ACQUIRE)) pthread_cond_wait(&pool->ended, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    __atomic_store_n(&pool->busy, 0, __ATOMIC_RELEASE);
}

#endif
