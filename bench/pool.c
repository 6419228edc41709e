#include "pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void die(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(2);
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

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

struct pool pool_new(size_t count, enum deadlines deadlines, time_t start)
{
    struct pool pool = {count, calloc(count, sizeof *pool.sessions), calloc(count, sizeof *pool.ids)};
    if (!pool.sessions || !pool.ids)
        die("no memory");
    for (size_t i = 0; i < count; i++) {
        SSL_SESSION *session = SSL_SESSION_new();
        random_id(pool.ids[i]);
        if (!session || SSL_SESSION_set1_id(session, pool.ids[i], ID_LENGTH) != 1 ||
            SSL_SESSION_set_protocol_version(session, TLS1_2_VERSION) != 1)
            die("no session");
        time_t begun = deadlines == UNIFORM ? start + (time_t)(i * SPREAD_SECONDS / count) : start;
        SSL_SESSION_set_time(session, (long)begun);
        SSL_SESSION_set_timeout(session,
                                deadlines == UNIFORM ? TIMEOUT_SECONDS : 1 + (long)(random_number() % 86400));
        pool.sessions[i] = session;
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

void pool_release(struct pool *pool)
{
    for (size_t i = 0; i < pool->count; i++)
        SSL_SESSION_free(pool->sessions[i]);
    free(pool->sessions);
    pool->sessions = NULL;
}
