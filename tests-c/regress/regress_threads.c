/* Two threads at one moment, as hs_stress found them.
 *
 * A cache holds more than its new size. Two threads store: both are told that it is full, one of them makes
 * room for both, and the other, who found nothing to evict, gave up: its session was not stored.
 *
 * A flush detaches a session, and finds that its time has been moved meanwhile: it goes back. But if another
 * thread has stored it again in between, it was dropped with no callback; and a new session of its id was
 * pushed out by the old one. */
#include "support.h"
#include <sched.h>

static SSL_CTX *ctx;
static SSL_SESSION *moving;
static unsigned rounds, stored, gone, begun, refused;
static int stop;

static void on_remove(SSL_CTX *from, SSL_SESSION *session)
{
    (void)from;
    if (session == moving)
        __atomic_add_fetch(&gone, 1, __ATOMIC_RELAXED);
}

/* Waits until each of two threads has come here so often. It spins, since whoever sleeps wakes too late, but not for
 * as long as the other one may wait for a processor. */
static void meet(unsigned times)
{
    __atomic_add_fetch(&begun, 1, __ATOMIC_ACQ_REL);
    for (int i = 0; __atomic_load_n(&begun, __ATOMIC_ACQUIRE) < 2 * times; i++)
        if (i > 1000)
            sched_yield();
}

static void *add_in_turns(void *which)
{
    unsigned me = (unsigned)(size_t)which;
    for (unsigned i = 0; i < 40 * rounds; i++) {
        if (me == 0) {
            SSL_CTX_sess_set_cache_size(ctx, 0);
            for (unsigned n = 1; n <= 8; n++)
                store(ctx, n, 1000, 10);
            SSL_CTX_sess_set_cache_size(ctx, 4);
        }
        SSL_SESSION *session = numbered_session(100 + me, 1000, 5000);
        meet(2 * i + 1);
        if (!SSL_CTX_add_session(ctx, session))
            __atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
        SSL_SESSION_free(session);
        meet(2 * i + 2);
        if (me == 0)
            flush(ctx, 0);
    }
    return NULL;
}

static void two_into_an_overfull_cache(void)
{
    pthread_t other;
    if (pthread_create(&other, NULL, add_in_turns, (void *)1) != 0)
        give_up("pthread_create");
    add_in_turns(NULL);
    pthread_join(other, NULL);
}

static int stopped(void)
{
    return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void *set_times(void *arg)
{
    (void)arg;
    while (!stopped()) {
        SSL_SESSION_set_time(moving, 1000);
        SSL_SESSION_set_time(moving, 3000);
    }
    return NULL;
}

static void *flush_half(void *arg)
{
    (void)arg;
    while (!stopped())
        flush(ctx, 2000);
    return NULL;
}

/* Returns in how many more times it was stored than removed. */
static long stored_while_put_back(void)
{
    pthread_t setter, flusher;
    moving = numbered_session(1, 1000, 10);
    if (pthread_create(&setter, NULL, set_times, NULL) != 0 || pthread_create(&flusher, NULL, flush_half, NULL) != 0)
        give_up("pthread_create");
    for (unsigned i = 0; i < 1000 * rounds; i++)
        stored += (unsigned)SSL_CTX_add_session(ctx, moving);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(setter, NULL);
    pthread_join(flusher, NULL);
    flush(ctx, 0);
    SSL_SESSION_free(moving);
    return (long)stored - gone;
}

int main(void)
{
    rounds = slowly() ? 10 : 300;
    ctx = server_context();
    two_into_an_overfull_cache();
    expect("C1", refused == 0, "two threads store in an overfull cache, and neither is refused: %u", refused);

    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    if (!stock_cannot("C6", "it moves a session in a list that another thread takes it out of")) {
        long silent = stored_while_put_back();
        printf("# stored %u times\n", stored);
        better("F13", silent == 0, "a session was stored %ld times more than removed", silent);
    }
    SSL_CTX_free(ctx);
    return done();
}
