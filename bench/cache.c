/* Time and memory of the cache's operations, one thread at work unless it says otherwise. */
#include "bench.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    IDLE_FLUSHES = 2000,        /* at most, and at most so long: */
    IDLE_FLUSHING_NS = 50000000 /* stock 1.1.1 walks through the whole cache each time */
};

/* ---- Lookups by one or two threads ---- */

static const char *lookup_figures[2][2] = {{"miss_1", "miss_2"}, {"hit_1", "hit_2"}};

#ifdef BORING
static void lookups(struct pool *pool)
{
    (void)pool;
    for (int hits = 0; hits < 2; hits++)
        for (int threads = 0; threads < 2; threads++)
            left_out(lookup_figures[hits][threads], "no function of its API looks a session up");
}
#else
struct searcher {
    pthread_t thread;
    const struct pool *pool;
    size_t begin, found;
    uint64_t (*clock)(void);
    uint64_t took;
};

static void search(struct searcher *me)
{
    SSL *ssl = SSL_new(ctx);
    size_t at = me->begin;
    if (!ssl)
        die("no connection");
    uint64_t from = me->clock();
    for (size_t i = 0; i < calls_each; i++) {
        me->found += SSL_has_matching_session_id(ssl, me->pool->ids[at], ID_LENGTH) != 0;
        if (++at == me->pool->count)
            at = 0;
    }
    me->took = me->clock() - from;
    SSL_free(ssl);
}

/* Functions of their own, so that profile.py can tell them apart. */
static void *search_found(void *argument)
{
    struct searcher *me = argument;
    search(me);
    if (me->found != calls_each)
        die("a stored session was not found");
    return NULL;
}

static void *search_absent(void *argument)
{
    struct searcher *me = argument;
    search(me);
    if (me->found != 0)
        die("a session was found that is not stored");
    return NULL;
}

static void lookup(const struct pool *pool, bool hits, int threads)
{
    struct searcher searchers[2];
    double took = 0;

    for (int i = 0; i < threads; i++) {
        searchers[i] = (struct searcher){.pool = pool, .begin = pool->count / 2 * (size_t)i};
        searchers[i].clock = threads == 1 ? own_ns : now_ns;
        if (pthread_create(&searchers[i].thread, NULL, hits ? search_found : search_absent, &searchers[i]) != 0)
            die("no thread");
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(searchers[i].thread, NULL);
        took += (double)searchers[i].took / threads;
    }
    print(lookup_figures[hits][threads - 1], took / (double)calls_each, "ns");
}

static void lookups(struct pool *pool)
{
    lookup(pool, true, 1);
    lookup(pool, true, 2);
    struct pool absent = *pool;
    absent.ids = malloc(absent.count * sizeof *absent.ids);
    if (!absent.ids)
        die("no memory");
    for (size_t i = 0; i < absent.count; i++)
        random_id(absent.ids[i]);
    lookup(&absent, false, 1);
    lookup(&absent, false, 2);
    free(absent.ids);
}
#endif

/* ---- Storing, and what leaves the cache as it was ---- */

static struct pool timed_store(size_t count, enum deadlines deadlines, const char *figure)
{
    struct pool pool = pool_new(count, deadlines);
    uint64_t from = own_ns();
    pool_store(&pool);
    print(figure, (double)(own_ns() - from) / (double)count, "ns");
    expect_stored(count);
    return pool;
}

void measure_store(size_t count)
{
    struct pool pool = timed_store(count, UNIFORM, "uniform");
    pool_shuffle(&pool);
    lookups(&pool);
    uint64_t from = own_ns();
    pool_remove(&pool);
    print("remove", (double)(own_ns() - from) / (double)count, "ns");
    expect_stored(0);
}

void measure_store_mixed(size_t count) { timed_store(count, MIXED, "mixed"); }

/* Each takes the place of the one that expires first, which the cache alone holds: what a server does for most of its life. */
void measure_store_full(size_t count)
{
    pool_stored(count, true);
    SSL_CTX_sess_set_cache_size(ctx, (long)count);
    struct pool pool = pool_new(count, UNIFORM);
    for (size_t i = 0; i < count; i++)
        SET_TIME(pool.sessions[i], start + SPREAD_SECONDS + (time_t)(i * SPREAD_SECONDS / count));
    uint64_t from = own_ns();
    pool_store(&pool);
    print("evicting", (double)(own_ns() - from) / (double)count, "ns");
    if ((size_t)SSL_CTX_sess_number(ctx) > count)
        die("the cache holds more than its size");
}

/* ---- Setters of stored sessions ---- */

static __attribute__((noinline)) void set_times(const struct pool *pool)
{
    for (size_t i = 0; i < pool->count; i++)
        SET_TIME(pool->sessions[i], start + SPREAD_SECONDS + (time_t)(i * SPREAD_SECONDS / pool->count));
}

static __attribute__((noinline)) void set_timeouts(const struct pool *pool)
{
    for (size_t i = 0; i < pool->count; i++)
        SET_TIMEOUT(pool->sessions[i], TIMEOUT_SECONDS + SPREAD_SECONDS);
}

static void set_mixed_timeouts(const struct pool *pool)
{
    for (size_t i = 0; i < pool->count; i++)
        SET_TIMEOUT(pool->sessions[i], 1 + SPREAD_SECONDS + (long)(random_number() % SECONDS_OF_A_DAY));
}

static void timed_setter(const struct pool *pool, void (*set)(const struct pool *), const char *figure)
{
    uint64_t from = own_ns();
    set(pool);
    print(figure, (double)(own_ns() - from) / (double)pool->count, "ns");
}

/* Each session becomes the last to expire, as one that is used again. (profile.py finds the two setters by name.) */
void measure_set_latest(size_t count)
{
    struct pool pool = pool_new(count, UNIFORM);
    pool_store(&pool);
    pool_shuffle(&pool);
    timed_setter(&pool, set_times, "time");
    timed_setter(&pool, set_timeouts, "timeout");
    flush(start + 2 * SPREAD_SECONDS + TIMEOUT_SECONDS); /* by when all would have expired */
    expect_stored(count);
}

/* Each session goes to a place anywhere among the others. */
void measure_set_mixed(size_t count)
{
    struct pool pool = pool_new(count, UNIFORM);
    pool_store(&pool);
    pool_shuffle(&pool);
    timed_setter(&pool, set_mixed_timeouts, "mixed");
    flush(start + 1 + SPREAD_SECONDS); /* none has so short a timeout any more */
    expect_stored(count);
}

/* ---- Flushes ---- */

void measure_flush_none(size_t count)
{
    int calls = 0;
    pool_stored(count, false);
    uint64_t from = own_ns(), now = from;
    while (calls < IDLE_FLUSHES && now - from < IDLE_FLUSHING_NS) {
        flush(start);
        calls++;
        if (calls % 50 == 0 || calls < 5) /* so that the clock costs nothing */
            now = own_ns();
    }
    print("call", (double)(own_ns() - from) / calls, "ns");
    expect_stored(count);
}

void measure_flush(size_t count, bool shuffled, bool all)
{
    size_t stay = all ? 0 : count - (count + 1) / 2;
    pool_stored(count, shuffled);
    uint64_t from = own_ns();
    flush(all ? 0 : half());
    print("each", (double)(own_ns() - from) / (double)(count - stay), "ns");
    expect_stored(stay);
}

/* ---- Memory ---- */

static double kilobytes(const char *path, const char *format)
{
    char line[256];
    double value = -1;
    FILE *file = fopen(path, "r");
    if (!file)
        die("no figures of memory in /proc");
    while (fgets(line, sizeof line, file) && sscanf(line, format, &value) != 1)
        ;
    fclose(file);
    return value;
}

/* Exact; VmRSS is summed up with a delay. */
static double resident_bytes(void) { return kilobytes("/proc/self/smaps_rollup", "Rss: %lf") * 1024; }

/* What is there to be written, by malloc or not, but for what malloc has free. */
static double allocated_bytes(void)
{
    return kilobytes("/proc/self/status", "VmData: %lf") * 1024 - (double)mallinfo2().fordblks;
}

void measure_memory(size_t count)
{
    resident_bytes(); /* the first call allocates */
    SSL_SESSION_free(session_new((session_id){1}, start, TIMEOUT_SECONDS)); /* and so does this */
    double nothing = resident_bytes();
    struct pool pool = pool_new(count, UNIFORM);
    double own = (double)(count * (sizeof *pool.sessions + sizeof *pool.ids)), made = resident_bytes();
    double made_heap = allocated_bytes();
    pool_store(&pool);
    double stored = resident_bytes(), stored_heap = allocated_bytes();
    print("index", (stored - made) / (double)count, "B");
    print("index_heap", (stored_heap - made_heap) / (double)count, "B");
    print("total", (stored - nothing - own) / (double)count, "B");
    flush(0); /* the pool still holds the sessions, so that what is given up is the index alone */
    expect_stored(0);
    print("after_heap", (allocated_bytes() - made_heap) / (double)count, "B");
    print("after", (resident_bytes() - made) / (double)count, "B");
}
