/*
 * bench MEASURE SIZE: takes one measurement of a session cache that holds SIZE sessions, by the public
 * API alone, and prints lines of "NAME VALUE UNIT". run.py runs it on libssl alone and under sslsweep.
 */
#include "pool.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LOOKUPS = 1000000,       /* of each thread */
    IDLE_FLUSHES = 2000,
    MOST_SAMPLES = 4000000,  /* of one thread's operations during a flush */
    LIMIT_SECONDS = 120      /* of the whole program */
};

static SSL_CTX *ctx;
static time_t start;

/* Stock libssl before 3.4 has only the function that takes a long. */
static void (*flush_ex)(SSL_CTX *, time_t);

static void flush(time_t tm)
{
    if (flush_ex)
        flush_ex(ctx, tm);
    else
        SSL_CTX_flush_sessions(ctx, (long)tm);
}

static void print(const char *name, double value, const char *unit) { printf("%s %.3f %s\n", name, value, unit); }

static void expect_stored(size_t count)
{
    if (SSL_CTX_sess_number(ctx) != (long)count)
        die("the cache does not hold what it should");
}

static void insert_all(const struct pool *pool)
{
    for (size_t i = 0; i < pool->count; i++)
        if (SSL_CTX_add_session(ctx, pool->sessions[i]) != 1)
            die("a session was not stored");
}

/* A cache with `count` sessions, which it alone holds, unless `keep`. */
static struct pool filled(size_t count, bool shuffled)
{
    struct pool pool = pool_new(count, UNIFORM, start);
    if (shuffled) {
        /* Shuffle what memory it is, not when it expires: that stays in the order of storing. */
        pool_shuffle(&pool);
        for (size_t i = 0; i < count; i++)
            SSL_SESSION_set_time(pool.sessions[i], (long)(start + (time_t)(i * SPREAD_SECONDS / count)));
    }
    insert_all(&pool);
    expect_stored(count);
    return pool;
}

/* The time at which half of the sessions have expired: half of them began before start + SPREAD / 2. */
static time_t half(void) { return start + SPREAD_SECONDS / 2 + TIMEOUT_SECONDS; }

static void insert(size_t count, enum deadlines deadlines)
{
    struct pool pool = pool_new(count, deadlines, start);
    uint64_t from = now_ns();
    insert_all(&pool);
    print("each", (double)(now_ns() - from) / (double)count, "ns");
    expect_stored(count);
}

static void insert_uniform(size_t count) { insert(count, UNIFORM); }
static void insert_mixed(size_t count) { insert(count, MIXED); }

static void remove_each(size_t count)
{
    struct pool pool = filled(count, false);
    pool_shuffle(&pool);
    uint64_t from = now_ns();
    for (size_t i = 0; i < count; i++)
        if (SSL_CTX_remove_session(ctx, pool.sessions[i]) != 1)
            die("a session was not removed");
    print("each", (double)(now_ns() - from) / (double)count, "ns");
    expect_stored(0);
}

/* Lookups by one or more threads. */
struct searcher {
    pthread_t thread;
    const struct pool *pool;
    size_t begin;
    bool hits;
    uint64_t took;
};

static SSL *new_ssl(void)
{
    SSL *ssl = SSL_new(ctx);
    if (!ssl)
        die("no connection");
    return ssl;
}

static void *search(void *argument)
{
    struct searcher *me = argument;
    SSL *ssl = new_ssl();
    size_t found = 0, at = me->begin;
    uint64_t from = now_ns();
    for (size_t i = 0; i < LOOKUPS; i++) {
        found += SSL_has_matching_session_id(ssl, me->pool->ids[at], ID_LENGTH) != 0;
        if (++at == me->pool->count)
            at = 0;
    }
    me->took = now_ns() - from;
    if (found != (me->hits ? LOOKUPS : 0))
        die("a lookup gave a wrong answer");
    SSL_free(ssl);
    return NULL;
}

static void lookup(size_t count, bool hits, int threads)
{
    struct pool pool = filled(count, false);
    struct searcher searchers[2];
    uint64_t took = 0;

    pool_shuffle(&pool);
    if (!hits)
        for (size_t i = 0; i < count; i++)
            random_id(pool.ids[i]);
    for (int i = 0; i < threads; i++) {
        searchers[i] = (struct searcher){.pool = &pool, .begin = count / 2 * (size_t)i, .hits = hits};
        if (pthread_create(&searchers[i].thread, NULL, search, &searchers[i]) != 0)
            die("no thread");
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(searchers[i].thread, NULL);
        took += searchers[i].took / (uint64_t)threads;
    }
    print("each", (double)took / LOOKUPS, "ns");
}

static void lookup_hit_1(size_t count) { lookup(count, true, 1); }
static void lookup_hit_2(size_t count) { lookup(count, true, 2); }
static void lookup_miss_1(size_t count) { lookup(count, false, 1); }
static void lookup_miss_2(size_t count) { lookup(count, false, 2); }

/* Flushes. */
static void flush_none(size_t count)
{
    struct pool pool = filled(count, false);
    pool_release(&pool);
    uint64_t from = now_ns();
    for (int i = 0; i < IDLE_FLUSHES; i++)
        flush(start);
    print("call", (double)(now_ns() - from) / IDLE_FLUSHES, "ns");
    expect_stored(count);
}

static void flush_some(size_t count, bool shuffled, bool all)
{
    struct pool pool = filled(count, shuffled);
    size_t stay = all ? 0 : count - (count + 1) / 2;
    pool_release(&pool);
    uint64_t from = now_ns();
    flush(all ? 0 : half());
    print("each", (double)(now_ns() - from) / (double)(count - stay), "ns");
    expect_stored(stay);
}

static void flush_half(size_t count) { flush_some(count, false, false); }
static void flush_half_shuffled(size_t count) { flush_some(count, true, false); }
static void flush_all(size_t count) { flush_some(count, false, true); }
static void flush_all_shuffled(size_t count) { flush_some(count, true, true); }

static size_t called;
static uint64_t callback_ns;

static void on_remove(SSL_CTX *context, SSL_SESSION *session)
{
    (void)context, (void)session;
    called++;
    if (callback_ns)
        wait_ns(callback_ns);
}

static void flush_all_callback(size_t count)
{
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    flush_some(count, false, true);
    if (called != count)
        die("the remove callback was not called for each session");
}

/* How long another thread's operations take while a flush of half of the cache is running. */
static _Atomic uint64_t flush_start;
static atomic_bool flush_over, worker_ready;

struct worker {
    pthread_t thread;
    const struct pool *pool;
    bool updates; /* adds and removes; otherwise lookups */
    uint32_t *samples;
    size_t count;
    uint64_t longest;
};

static void *work(void *argument)
{
    struct worker *me = argument;
    SSL *ssl = new_ssl();
    SSL_SESSION *session = NULL;
    size_t at = 0;

    while (!flush_over) {
        bool add = !session;
        if (me->updates && add) {
            session_id id;
            random_id(id);
            session = SSL_SESSION_new();
            if (!session || SSL_SESSION_set1_id(session, id, ID_LENGTH) != 1)
                die("no session");
            SSL_SESSION_set_time(session, (long)start + SPREAD_SECONDS);
            SSL_SESSION_set_timeout(session, TIMEOUT_SECONDS);
        }
        uint64_t from = now_ns();
        if (!me->updates)
            SSL_has_matching_session_id(ssl, me->pool->ids[at], ID_LENGTH);
        else if (add)
            SSL_CTX_add_session(ctx, session);
        else
            SSL_CTX_remove_session(ctx, session);
        uint64_t to = now_ns(), took = to - from;
        if (me->updates && !add) {
            SSL_SESSION_free(session);
            session = NULL;
        }
        if (++at == me->pool->count)
            at = 0;
        worker_ready = true;
        if (to < flush_start) /* it ended before */
            continue;
        if (took > me->longest)
            me->longest = took;
        if (me->count < MOST_SAMPLES)
            me->samples[me->count++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    }
    SSL_SESSION_free(session);
    SSL_free(ssl);
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void waits(size_t count, bool updates, bool callback, uint64_t ns)
{
    struct pool pool = filled(count, true);
    struct worker worker = {.pool = &pool, .updates = updates};

    pool_release(&pool);
    worker.samples = malloc(MOST_SAMPLES * sizeof *worker.samples);
    if (!worker.samples)
        die("no memory");
    memset(worker.samples, 1, MOST_SAMPLES * sizeof *worker.samples); /* no page faults later */
    callback_ns = ns;
    if (callback)
        SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    flush_start = UINT64_MAX;
    if (pthread_create(&worker.thread, NULL, work, &worker) != 0)
        die("no thread");
    while (!worker_ready)
        usleep(100);
    usleep(1000);

    flush_start = now_ns();
    flush(half());
    flush_over = true;
    pthread_join(worker.thread, NULL);
    if (worker.count == 0)
        die("the other thread did nothing");
    qsort(worker.samples, worker.count, sizeof *worker.samples, by_size);
    print("longest", (double)worker.longest / 1e3, "us");
    print("p99.9", worker.samples[(worker.count - 1) * 999 / 1000] / 1e3, "us");
}

static void wait_update(size_t count) { waits(count, true, false, 0); }
static void wait_lookup(size_t count) { waits(count, false, false, 0); }
static void wait_update_1us(size_t count) { waits(count, true, true, 1000); }
static void wait_lookup_1us(size_t count) { waits(count, false, true, 1000); }
static void wait_update_50us(size_t count) { waits(count, true, true, 50000); }
static void wait_lookup_50us(size_t count) { waits(count, false, true, 50000); }

/* What the cache itself takes, without the sessions, which exist before and after. */
static double resident_bytes(void)
{
    char line[256];
    double kilobytes = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "r"); /* exact; VmRSS is summed up with a delay */
    if (!file)
        die("no /proc/self/smaps_rollup");
    while (fgets(line, sizeof line, file) && sscanf(line, "Rss: %lf", &kilobytes) != 1)
        ;
    fclose(file);
    return kilobytes * 1024;
}

static void memory(size_t count)
{
    struct pool pool = pool_new(count, UNIFORM, start);
    resident_bytes(); /* the first call allocates */
    double before = resident_bytes();
    insert_all(&pool);
    print("stored", (resident_bytes() - before) / (double)count, "B");
    flush(0);
    expect_stored(0);
    print("flushed", (resident_bytes() - before) / (double)count, "B");
}

static const struct {
    const char *name;
    void (*run)(size_t count);
} measures[] = {
    {"insert_uniform", insert_uniform},
    {"insert_mixed", insert_mixed},
    {"lookup_hit_1", lookup_hit_1},
    {"lookup_hit_2", lookup_hit_2},
    {"lookup_miss_1", lookup_miss_1},
    {"lookup_miss_2", lookup_miss_2},
    {"remove", remove_each},
    {"flush_none", flush_none},
    {"flush_half", flush_half},
    {"flush_half_shuffled", flush_half_shuffled},
    {"flush_all", flush_all},
    {"flush_all_shuffled", flush_all_shuffled},
    {"flush_all_callback", flush_all_callback},
    {"wait_update", wait_update},
    {"wait_lookup", wait_lookup},
    {"wait_update_1us", wait_update_1us},
    {"wait_lookup_1us", wait_lookup_1us},
    {"wait_update_50us", wait_update_50us},
    {"wait_lookup_50us", wait_lookup_50us},
    {"memory", memory},
};

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        puts(OpenSSL_version(OPENSSL_VERSION));
        return 0;
    }
    long size = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (size < 2)
        die("usage: bench MEASURE SIZE");
    alarm(LIMIT_SECONDS);
    *(void **)&flush_ex = dlsym(RTLD_DEFAULT, "SSL_CTX_flush_sessions_ex");
    start = time(NULL);
    /* A method of one version, so that a lookup, which is by version too, finds the sessions. */
    ctx = SSL_CTX_new(TLSv1_2_server_method());
    if (!ctx)
        die("no context");
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(ctx, 0);

    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++)
        if (strcmp(measures[i].name, argv[1]) == 0) {
            measures[i].run((size_t)size);
            fflush(stdout);
            _exit(0); /* freeing everything would take longer than the measurement */
        }
    die("unknown measure");
}
