/* Contexts, sessions, clock and report: bench.h tells what each does. */
#include "bench.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

SSL_CTX *ctx;
time_t start;
size_t calls_each;

void die(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(2);
}

void print(const char *figure, double value, const char *unit) { printf("%s %.4f %s\n", figure, value, unit); }
void left_out(const char *figure, const char *reason) { printf("%s - %s\n", figure, reason); }

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
uint64_t own_ns(void) { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

void wait_ns(uint64_t ns)
{
    for (uint64_t until = now_ns() + ns; now_ns() < until;)
        ;
}

/* splitmix64 */
uint64_t random_number(void)
{
    static uint64_t state = 1;
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void random_id(session_id id)
{
    for (size_t at = 0; at < ID_LENGTH; at += sizeof(uint64_t)) {
        uint64_t part = random_number();
        memcpy(id + at, &part, sizeof part);
    }
}

SSL_CTX *new_server_context(void)
{
    SSL_CTX *made = SSL_CTX_new(TLS_server_method());
    if (!made)
        die("no context");
    SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(made, 0);
    return made;
}

void flush(time_t tm)
{
#ifdef BORING
    SSL_CTX_flush_sessions(ctx, (uint64_t)tm);
#else
    /* Stock libssl before 3.4 has only the function that takes a long. */
    static void (*flush_ex)(SSL_CTX *, time_t);
    static bool sought;
    if (!sought)
        *(void **)&flush_ex = dlsym(RTLD_DEFAULT, "SSL_CTX_flush_sessions_ex");
    sought = true;
    if (flush_ex)
        flush_ex(ctx, tm);
    else
        SSL_CTX_flush_sessions(ctx, (long)tm);
#endif
}

/* Half of the sessions began before start + SPREAD / 2. */
time_t half(void) { return start + SPREAD_SECONDS / 2 + TIMEOUT_SECONDS; }

void expect_stored(size_t count)
{
    if ((size_t)SSL_CTX_sess_number(ctx) != count)
        die("the cache does not hold what it should");
}

/* What a connection has before its handshake: SSL_has_matching_session_id looks by version too. (A method
 * of one version would settle it, but 4.0 has none any more.) */
static int version_looked_up(void)
{
    static int version;
    if (version == 0) {
        SSL *ssl = SSL_new(ctx);
        if (!ssl)
            die("no connection");
        version = SSL_version(ssl);
        SSL_free(ssl);
    }
    return version;
}

SSL_SESSION *session_new(const session_id id, time_t begun, long timeout)
{
    SSL_SESSION *session = MAKE_SESSION();
    if (!session || SSL_SESSION_set1_id(session, id, ID_LENGTH) != 1 ||
        SSL_SESSION_set_protocol_version(session, version_looked_up()) != 1)
        die("no session");
    SET_TIME(session, begun);
    SET_TIMEOUT(session, timeout);
    return session;
}

static time_t begun(const struct pool *pool, size_t i)
{
    return start + (time_t)(i * SPREAD_SECONDS / pool->count);
}

struct pool pool_new(size_t count, enum deadlines deadlines)
{
    struct pool pool = {count, calloc(count, sizeof *pool.sessions), calloc(count, sizeof *pool.ids)};
    if (!pool.sessions || !pool.ids)
        die("no memory");
    for (size_t i = 0; i < count; i++) {
        random_id(pool.ids[i]);
        pool.sessions[i] = deadlines == UNIFORM
                               ? session_new(pool.ids[i], begun(&pool, i), TIMEOUT_SECONDS)
                               : session_new(pool.ids[i], start, 1 + (long)(random_number() % SECONDS_OF_A_DAY));
    }
    return pool;
}

void pool_shuffle(struct pool *pool)
{
    for (size_t i = pool->count; i > 1; i--) {
        size_t j = random_number() % i;
        SSL_SESSION *session = pool->sessions[i - 1];
        pool->sessions[i - 1] = pool->sessions[j];
        pool->sessions[j] = session;
        session_id id;
        memcpy(id, pool->ids[i - 1], ID_LENGTH);
        memcpy(pool->ids[i - 1], pool->ids[j], ID_LENGTH);
        memcpy(pool->ids[j], id, ID_LENGTH);
    }
}

void pool_shuffle_memory(struct pool *pool)
{
    pool_shuffle(pool);
    for (size_t i = 0; i < pool->count; i++)
        SET_TIME(pool->sessions[i], begun(pool, i));
}

void pool_store(const struct pool *pool)
{
    for (size_t i = 0; i < pool->count; i++)
        if (SSL_CTX_add_session(ctx, pool->sessions[i]) != 1)
            die("a session was not stored");
}

void pool_remove(const struct pool *pool)
{
    for (size_t i = 0; i < pool->count; i++)
        if (SSL_CTX_remove_session(ctx, pool->sessions[i]) != 1)
            die("a session was not removed");
}

void pool_release(struct pool *pool)
{
    for (size_t i = 0; i < pool->count; i++)
        SSL_SESSION_free(pool->sessions[i]);
    free(pool->sessions);
    pool->sessions = NULL;
}

struct pool pool_stored(size_t count, bool shuffled)
{
    struct pool pool = pool_new(count, UNIFORM);
    if (shuffled)
        pool_shuffle_memory(&pool);
    pool_store(&pool);
    expect_stored(count);
    pool_release(&pool);
    return pool;
}
