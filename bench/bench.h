/* What the measurements share: the context, sessions made in advance, the clock, and how to report. */
#ifndef BENCH_H
#define BENCH_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* The API of BoringSSL and its descendant: other integers, and no function that looks a session up. */
#if defined OPENSSL_IS_BORINGSSL || defined OPENSSL_IS_AWSLC
#define BORING
#define MAKE_SESSION() SSL_SESSION_new(ctx)
#define SET_TIME(session, time) SSL_SESSION_set_time(session, (uint64_t)(time))
#define SET_TIMEOUT(session, timeout) SSL_SESSION_set_timeout(session, (uint32_t)(timeout))
#else
#define MAKE_SESSION() SSL_SESSION_new()
#define SET_TIME(session, time) SSL_SESSION_set_time(session, (long)(time))
#define SET_TIMEOUT(session, timeout) SSL_SESSION_set_timeout(session, timeout)
#endif

enum { ID_LENGTH = 32, SECONDS_OF_A_DAY = 86400 };

typedef unsigned char session_id[ID_LENGTH];

struct pool {
    size_t count;
    SSL_SESSION **sessions; /* in the order in which they expire, unless their deadlines are mixed */
    session_id *ids;        /* ids[i] is that of sessions[i] */
};

/* How the expiries of a pool are spread. */
enum deadlines {
    UNIFORM, /* one timeout, created over SPREAD_SECONDS: what a server usually has */
    MIXED    /* random timeouts of 1 second to a day */
};
enum { SPREAD_SECONDS = 600, TIMEOUT_SECONDS = 300 };

extern SSL_CTX *ctx;
extern time_t start; /* when the first session of a pool began */
extern size_t calls_each; /* by a thread that looks sessions up; handshakes that profile.py counts */

/* ---- Contexts ---- */

SSL_CTX *new_server_context(void);
void flush(time_t tm); /* of ctx, by SSL_CTX_flush_sessions_ex where there is one */
time_t half(void);     /* by then half of a uniform pool has expired */
void expect_stored(size_t count);

/* ---- Sessions ---- */

/* The sessions are created in the order of the array. */
struct pool pool_new(size_t count, enum deadlines deadlines);
SSL_SESSION *session_new(const session_id id, time_t begun, long timeout);
/* Puts them in random order; when they expire moves with them. */
void pool_shuffle(struct pool *pool);
/* The same for what memory they are: they still expire in the order of the array, but neighbours there
 * are strangers in memory, as in a server that has run for long. */
void pool_shuffle_memory(struct pool *pool);
void pool_store(const struct pool *pool);
void pool_remove(const struct pool *pool);
/* Drops the pool's own references, and with that the sessions that no cache holds. */
void pool_release(struct pool *pool);
/* Fills ctx with sessions that it alone holds; of the pool only the ids stay. */
struct pool pool_stored(size_t count, bool shuffled);

/* ---- Handshakes ---- */

struct connection {
    SSL_SESSION *session; /* the client's, if it was wanted */
    bool resumed;
    uint64_t server_ns; /* that the server took, by the clock; 0 without one */
};

/* One in memory; `with`, if not NULL, is offered. */
struct connection connect_to(SSL_CTX *server_context, SSL_CTX *client_context, SSL_SESSION *with, bool want,
                             uint64_t (*clock)(void));
/* One with ctx; `with`, if not NULL, is offered and must be taken. Returns the client's session if `want`. */
SSL_SESSION *handshake(SSL_CTX *client_context, SSL_SESSION *with, bool want);
void get_certificate(SSL_CTX *context); /* makes one for it */
SSL_CTX *client_of(int version); /* a client of this version, without a cache */

/* ---- Clock, chance, report ---- */

uint64_t random_number(void); /* always the same sequence, so that runs can be compared */
void random_id(session_id id);
uint64_t now_ns(void);
/* Of this thread's own processor: what one thread does is measured by it, so that other load of the machine
 * does not count. What threads do to each other is measured by now_ns. */
uint64_t own_ns(void);
void wait_ns(uint64_t ns); /* busy, as a callback that computes */
void print(const char *figure, double value, const char *unit);
/* A figure that this library's API cannot give. */
void left_out(const char *figure, const char *reason);
_Noreturn void die(const char *what);

/* ---- Measurements: each in a process of its own, with `count` sessions ---- */

void measure_store(size_t count);
void measure_store_mixed(size_t count);
void measure_store_full(size_t count);
void measure_set_latest(size_t count);
void measure_set_mixed(size_t count);
void measure_flush_none(size_t count);
void measure_flush(size_t count, bool shuffled, bool all);
void measure_floor(size_t count, bool shuffled, bool all);
void measure_memory(size_t count);
/* `callback`: none, or that many nanoseconds long. */
enum { NO_CALLBACK = -1 };
enum waiting {
    UPDATE,       /* adds and removes, in the context that is flushed */
    UPDATE_APART, /* the same in another one */
    LOOKUP        /* of what is in the context that is flushed */
};
void measure_wait(size_t count, enum waiting waiting, int64_t callback);
void measure_handshakes(size_t count);
void measure_full_handshakes(size_t count, int version); /* calls_each of them, with a full cache */
void measure_resumed_handshakes(size_t count, int version);

#endif
