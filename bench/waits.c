/*
 * How long another thread's operations wait while half of the cache is being flushed.
 *
 * One thread flushes, the other one works without a pause. The longest wait is the longest of its
 * operations. The p99.9 is that of an operation that begins at a random moment of the flush. (Counting
 * operations instead would flatter a cache that lets nobody in: one operation waits for the whole flush,
 * all others were never begun.) Adds and removes take turns, since both need the cache for themselves.
 *
 * The time for which the thread could have run but was given no processor is taken off: that is the
 * machine's other work, in steps of milliseconds. The kernel counts it, and it is asked whenever something
 * took long enough to hold some. What the machine under a virtual one takes is not counted by anybody; so
 * the same is measured on a context of the thread's own, where nothing can make it wait.
 */
#include "bench.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_SAMPLES = 4000000, LONG_NS = 20000 };

static _Atomic uint64_t flush_start, flush_end;
static atomic_bool worker_ready;
static uint64_t callback_ns;

struct worker {
    pthread_t thread;
    const struct pool *pool;
    enum waiting waiting;
    int schedstat;
    uint64_t delayed; /* nanoseconds without a processor, when last asked */
    uint64_t last;    /* when the last operation ended */
    float *samples;   /* nanoseconds */
    size_t count;
};

/* How much of the time since it was last asked went by without a processor. */
static uint64_t newly_delayed(struct worker *me)
{
    char line[128] = "";
    unsigned long long delayed = 0;
    if (pread(me->schedstat, line, sizeof line - 1, 0) <= 0 || sscanf(line, "%*u %llu", &delayed) != 1)
        die("the kernel does not tell how long a thread waits for a processor");
    uint64_t since = delayed - me->delayed;
    me->delayed = delayed;
    return since;
}

/* Takes down the part of an operation that fell into the flush. */
static void record(struct worker *me, uint64_t from, uint64_t to)
{
    uint64_t took = to - from;
    if (from - me->last > LONG_NS && took <= LONG_NS)
        newly_delayed(me); /* not this operation's */
    if (took > LONG_NS) {
        uint64_t delayed = newly_delayed(me);
        took = took > delayed ? took - delayed : 0;
    }
    me->last = to;
    worker_ready = true;
    if (to > flush_start && me->count < MOST_SAMPLES)
        me->samples[me->count++] = (float)(from > flush_start || to - flush_start > took ? took : to - flush_start);
}

static void add_and_remove(struct worker *me, SSL_CTX *context)
{
    session_id id;
    random_id(id);
    SSL_SESSION *session = session_new(id, start + SPREAD_SECONDS, TIMEOUT_SECONDS);
    uint64_t from = now_ns();
    SSL_CTX_add_session(context, session);
    uint64_t between = now_ns();
    record(me, from, between);
    SSL_CTX_remove_session(context, session);
    record(me, between, now_ns());
    SSL_SESSION_free(session);
}

static void *work(void *argument)
{
    struct worker *me = argument;
    size_t at = 0;
    SSL_CTX *context = me->waiting == UPDATE_APART ? new_server_context() : ctx;
    SSL *ssl = SSL_new(ctx);
    if (!ssl)
        die("no connection");
    me->schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    newly_delayed(me);
    me->last = now_ns();
    /* One more when the flush is over, so that there always is one. */
    for (bool last = false; !last;) {
        last = flush_end != 0;
        if (me->waiting != LOOKUP) {
            add_and_remove(me, context);
            continue;
        }
#ifndef BORING
        uint64_t from = now_ns();
        SSL_has_matching_session_id(ssl, me->pool->ids[at], ID_LENGTH);
        record(me, from, now_ns());
#endif
        if (++at == me->pool->count)
            at = 0;
    }
    SSL_free(ssl);
    if (context != ctx)
        SSL_CTX_free(context);
    return NULL;
}

static void on_remove(SSL_CTX *context, SSL_SESSION *session)
{
    (void)context, (void)session;
    wait_ns(callback_ns);
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* The wait that a share of 0.001 of the flush's moments exceeds: a moment inside an operation has what is
 * left of that operation to wait. The samples are the longest first. */
static double p999(const float *samples, size_t count, double duration)
{
    double above = 0; /* the sum of the samples that are longer */
    for (size_t i = 0; i < count; i++) {
        above += samples[i];
        double next = i + 1 < count ? samples[i + 1] : 0, exceeded = above - (double)(i + 1) * next;
        if (exceeded >= duration / 1000)
            return (above - duration / 1000) / (double)(i + 1);
    }
    return 0;
}

void measure_wait(size_t count, enum waiting waiting, int64_t callback)
{
#ifdef BORING
    if (waiting == LOOKUP) {
        left_out("longest", "no function of its API looks a session up");
        return;
    }
#endif
    struct pool pool = pool_stored(count, true);
    struct worker worker = {.pool = &pool, .waiting = waiting};

    worker.samples = malloc(MOST_SAMPLES * sizeof *worker.samples);
    if (!worker.samples)
        die("no memory");
    memset(worker.samples, 1, MOST_SAMPLES * sizeof *worker.samples); /* no page faults later */
    if (callback != NO_CALLBACK) {
        callback_ns = (uint64_t)callback;
        SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    }
    flush_start = UINT64_MAX;
    if (pthread_create(&worker.thread, NULL, work, &worker) != 0)
        die("no thread");
    while (!worker_ready)
        usleep(100);
    usleep(1000);

    uint64_t from = now_ns();
    flush_start = from;
    flush(half());
    uint64_t to = now_ns();
    flush_end = to;
    pthread_join(worker.thread, NULL);
    qsort(worker.samples, worker.count, sizeof *worker.samples, by_size);
    print("longest", worker.samples[0] / 1e3, "us");
    print("p99.9", p999(worker.samples, worker.count, (double)(to - from)) / 1e3, "us");
    print("flush", (double)(to - from) / 1e3, "us");
}
