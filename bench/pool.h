/* Sessions made in advance, and the clock, for bench.c. */
#ifndef POOL_H
#define POOL_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { ID_LENGTH = 32 };

typedef unsigned char session_id[ID_LENGTH];

struct pool {
    size_t count;
    SSL_SESSION **sessions;
    session_id *ids; /* ids[i] is that of sessions[i] */
};

/* How the expiries of a pool are spread. */
enum deadlines {
    UNIFORM, /* one timeout, created over SPREAD_SECONDS: what a server usually has */
    MIXED    /* random timeouts of 1 second to a day */
};
enum { SPREAD_SECONDS = 600, TIMEOUT_SECONDS = 300 };

/* The sessions are created in the order of the array. `start` is when the first of them began. */
struct pool pool_new(size_t count, enum deadlines deadlines, time_t start);
/* Puts them in random order, so that neighbours in the cache are strangers in memory. */
void pool_shuffle(struct pool *pool);
/* Drops the pool's own references, and with that the sessions that no cache holds. */
void pool_release(struct pool *pool);

uint64_t random_number(void); /* always the same sequence, so that runs can be compared */
void random_id(session_id id);
uint64_t now_ns(void);
void wait_ns(uint64_t ns); /* busy, as a callback that computes */
_Noreturn void die(const char *what);

#endif
