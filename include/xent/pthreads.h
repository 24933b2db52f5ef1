/* xent_execution.parallel_for on plain POSIX threads: a small pool, as an example of one.
 *
 *     xent_pthreads pool;
 *     int failed = xent_pthreads_start(&pool, 4);
 *     xent_execution execution = {.size = sizeof execution, .parallel_for = xent_pthreads_for, .host = &pool};
 *     ... calls, from one thread or several: while one has the pool, the others do without ...
 *     xent_pthreads_stop(&pool);
 */
#ifndef XENT_PTHREADS_H
#define XENT_PTHREADS_H

#include <pthread.h>
#include <stddef.h>
#include <string.h>

#define XENT_PTHREADS_MAX 64

typedef struct xent_pthreads {
    pthread_mutex_t mutex;       /* over all that follows */
    pthread_cond_t begun, ended;
    int threads;                 /* started, beside the caller's */
    int busy, stop;              /* a call has the pool; no more will come */
    size_t next, tasks, running; /* the task to take next; tasks taken and not yet done */
    void (*task)(void *context, size_t index);
    void *context;
    pthread_t thread[XENT_PTHREADS_MAX];
} xent_pthreads;

/* Takes tasks as long as there are any. The mutex is held, but while one runs. */
static inline void xent_pthreads_work(xent_pthreads *pool)
{
    while (pool->next < pool->tasks) {
        size_t index = pool->next++;
        pool->running++;
        pthread_mutex_unlock(&pool->mutex);
        pool->task(pool->context, index);
        pthread_mutex_lock(&pool->mutex);
        pool->running--;
    }
    if (pool->running == 0) pthread_cond_signal(&pool->ended);
}

static inline void *xent_pthreads_main(void *pointer)
{
    xent_pthreads *pool = (xent_pthreads *)pointer;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->stop) {
        if (pool->next < pool->tasks) xent_pthreads_work(pool);
        else pthread_cond_wait(&pool->begun, &pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static inline void xent_pthreads_stop(xent_pthreads *pool)
{
    int i;
    pthread_mutex_lock(&pool->mutex);
    pool->stop = 1;
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
    pthread_mutex_lock(&pool->mutex);
    if (pool->busy) {
        pthread_mutex_unlock(&pool->mutex);
        for (index = 0; index < tasks; index++) task(context, index);
        return;
    }
    pool->busy = 1;
    pool->task = task;
    pool->context = context;
    pool->next = 0;
    pool->tasks = tasks;
    pthread_cond_broadcast(&pool->begun);
    xent_pthreads_work(pool);
    while (pool->running > 0) pthread_cond_wait(&pool->ended, &pool->mutex);
    pool->busy = 0;
    pthread_mutex_unlock(&pool->mutex);
}

#endif
