/* C1 to C6, F1, F2, F6: random calls on one context, each held against a naive model. Stock must agree with
 * the model as well; what stock cannot do (ids changed while stored, one session in two contexts) is
 * left to cache_odd_ids.c and cache_several.c. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#define KEYS 60
#define TWINS 3 /* objects with the same key */
#define OBJECTS (KEYS * TWINS)
#define NONE (-1)

static unsigned random_state;

static unsigned random_below(unsigned n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

/* The model. */
static struct {
    SSL_SESSION *session;
    long time, timeout;
    int resumable;
} object[OBJECTS];
static int stored[KEYS]; /* the object under each key, or NONE */
static long room;        /* 0: unlimited */
static long full;        /* evictions so far */

static SSL_CTX *ctx;
static const char *problem;

static void require(int ok, const char *what)
{
    if (!ok && problem == NULL)
        problem = what;
}

static int key_of(int i)
{
    return i % KEYS;
}

static long expiry(int i)
{
    return object[i].time + object[i].timeout;
}

static long number(void)
{
    long count = 0;
    for (int k = 0; k < KEYS; k++)
        count += stored[k] != NONE;
    return count;
}

/* F6, C2: stock 1.1.1 flushes by hash and evicts what was stored first. */
static int by_expiry(void)
{
    return sweeping() || libssl_since(0x300);
}

/* The object that left as number n: stock that calls back without its lock does so in reverse. */
static int left(size_t n)
{
    int reverse = !sweeping() && libssl_calls_back_unlocked();
    return (int)removal_at(reverse ? removals() - 1 - n : n).session - 1;
}

/* The callbacks since the last look must be of what the model says has expired before tm (all if 0). */
static void expect_flushed(time_t tm)
{
    long last = -1;
    size_t wanted = 0;
    for (int k = 0; k < KEYS; k++)
        wanted += stored[k] != NONE && (tm == 0 || expiry(stored[k]) < tm);
    require(removals() == wanted, "the number of sessions flushed");
    for (size_t n = 0; n < removals(); n++) {
        int i = left(n);
        require(stored[key_of(i)] == i && (tm == 0 || expiry(i) < tm), "which sessions are flushed");
        require(expiry(i) >= last || !by_expiry(), "the order of a flush");
        require(!removal_at(n).resumable, "a flushed session is marked");
        last = expiry(i);
        stored[key_of(i)] = NONE;
        object[i].resumable = 0;
    }
}

/* Those evicted must each be the earliest of the others at its time; equals may go either way here. */
static void expect_evicted(int kept)
{
    for (size_t n = 0; n < removals(); n++) {
        int i = left(n);
        require(stored[key_of(i)] == i && i != kept, "who may be evicted");
        for (int k = 0; k < KEYS; k++)
            if (stored[k] != NONE && stored[k] != kept)
                require(expiry(stored[k]) >= expiry(i) || !by_expiry(), "who is evicted");
        require(room > 0 && number() > room, "evicting without need");
        stored[key_of(i)] = NONE;
        if (!sweeping())
            object[i].resumable = 0; /* C19 */
        full++;
    }
    require(room == 0 || number() <= room, "making room");
}

static void step(void)
{
    int i = (int)random_below(OBJECTS), k = key_of(i), result;
    SSL_SESSION *session = object[i].session;
    forget_removals();
    switch (random_below(16)) {
    case 0:
    case 1:
        result = SSL_CTX_remove_session(ctx, session);
        require(result == (stored[k] != NONE), "what SSL_CTX_remove_session returns");
        require(removals() == 1 && (int)removal_at(0).session == i + 1, "the callback of SSL_CTX_remove_session");
        stored[k] = NONE;
        object[i].resumable = 0;
        break;
    case 2:
    case 3:
        object[i].time = 1000 + (long)random_below(300);
        SSL_SESSION_set_time(session, object[i].time);
        break;
    case 4:
    case 5:
        object[i].timeout = (long)random_below(300);
        SSL_SESSION_set_timeout(session, object[i].timeout);
        break;
    case 6: {
        time_t tm = 1000 + (time_t)random_below(400);
        flush(ctx, tm);
        expect_flushed(tm);
        break;
    }
    case 7:
        if (random_below(20) == 0) {
            flush(ctx, 0);
            expect_flushed(0);
        }
        break;
    case 8:
        if (random_below(10) == 0) {
            room = (long)random_below(KEYS + 5);
            SSL_CTX_sess_set_cache_size(ctx, room == 0 ? 0 : size_to_hold(room));
        }
        break;
    default:
        result = SSL_CTX_add_session(ctx, session);
        require(result == (stored[k] != i), "what SSL_CTX_add_session returns");
        if (result == 1) {
            stored[k] = i;
            expect_evicted(i);
        } else {
            require(removals() == 0, "no callback when nothing is stored");
        }
    }
    require(SSL_CTX_sess_number(ctx) == number(), "SSL_CTX_sess_number");
    require(SSL_CTX_sess_cache_full(ctx) == full, "SSL_CTX_sess_cache_full");
    require(SSL_SESSION_is_resumable(session) == object[i].resumable, "whether a session can be resumed");
}

static void run(unsigned seed, int steps)
{
    random_state = seed;
    ctx = server_context();
    record_removals(ctx, 'A');
    room = full = 0;
    problem = NULL;
    SSL_CTX_sess_set_cache_size(ctx, 0);
    for (int k = 0; k < KEYS; k++)
        stored[k] = NONE;
    for (int i = 0; i < OBJECTS; i++) {
        /* Numbered by the object, with an id of its key. */
        unsigned char id[32];
        memset(id, 1 + key_of(i), sizeof id);
        object[i].time = 1000 + (long)random_below(300);
        object[i].timeout = (long)random_below(300);
        object[i].resumable = 1;
        object[i].session = make_session(TLS1_2_VERSION, id, sizeof id, object[i].time, object[i].timeout);
        number_session(object[i].session, (unsigned)i + 1);
    }
    int n = 0;
    while (n < steps && problem == NULL) {
        step();
        n++;
    }
    if (problem != NULL)
        printf("# step %d\n", n);
    expect("F1", problem == NULL, "random calls, seed %u: %s", seed, problem ? problem : "as the model says");
    forget_removals();
    SSL_CTX_free(ctx);
    if (problem == NULL)
        expect("C15", removals() == (size_t)number(), "the end takes what the model holds");
    for (int i = 0; i < OBJECTS; i++)
        SSL_SESSION_free(object[i].session);
    forget_removals();
}

int main(void)
{
    unsigned seeds = slowly() ? 2 : 30;
    for (unsigned seed = 1; seed <= seeds; seed++)
        run(seed, slowly() ? 1500 : 8000);
    expect("F1", no_errors(), "no error is left in the queue");
    return done();
}
