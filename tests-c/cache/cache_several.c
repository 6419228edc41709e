/* C17: one session in several contexts at once. Stock links a session into one list by pointers inside
 * the session itself: a second context corrupts the first's list. */
#include "support.h"

#include <string.h>

static int gone, gone_index;

static void on_gone(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    gone += ptr != NULL;
}

static SSL_SESSION *watched(unsigned n, long timeout)
{
    SSL_SESSION *session = numbered_session(n, 1000, timeout);
    SSL_SESSION_set_ex_data(session, gone_index, &gone);
    return session;
}

static SSL_CTX *named_context(char name)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, name);
    return ctx;
}

static void life(void)
{
    SSL_CTX *a = named_context('A'), *b = named_context('B'), *c = named_context('C');
    SSL_SESSION *session = watched(1, 100);
    better("C17", SSL_CTX_add_session(a, session) == 1 && SSL_CTX_add_session(b, session) == 1
                      && SSL_CTX_add_session(c, session) == 1, "stored in three contexts");
    better("C17", SSL_CTX_add_session(b, session) == 0, "already in one: 0");
    SSL_SESSION_set_timeout(session, 200);
    flush(a, 1150);
    flush(b, 1150);
    better("C6", removals() == 0, "a setter reaches all");
    flush(a, 1201);
    better("C17", strcmp(removed(), "A1") == 0, "a flush takes it out of its own context: %s", removed());
    better("F4", !SSL_SESSION_is_resumable(session), "and marks it");
    better("C17", SSL_CTX_sess_number(a) == 0 && SSL_CTX_sess_number(b) == 1 && SSL_CTX_sess_number(c) == 1,
           "the others keep it");
    SSL_SESSION_set_time(session, 2000);
    flush(b, 1201);
    better("C6", removals() == 1, "setters still reach those that are left");
    better("C17", SSL_CTX_remove_session(b, session) == 1, "removed from the second");
    better("C17", SSL_CTX_add_session(a, session) == 1, "and back in the first");
    SSL_SESSION_free(session);
    SSL_CTX_free(a);
    better("C17", gone == 0 && SSL_CTX_sess_number(c) == 1, "the end of one context leaves the others alone");
    flush(c, 2201);
    better("C17", gone == 1, "each had a reference of its own");
    better("C17", strcmp(removed_sorted(), "A1 A1 B1 C1") == 0, "each called back: %s", removed_sorted());
    SSL_CTX_free(b);
    SSL_CTX_free(c);
    forget_removals();
}

static void eviction(void)
{
    SSL_CTX *a = named_context('A'), *b = named_context('B');
    SSL_SESSION *session[10];
    gone = 0;
    SSL_CTX_sess_set_cache_size(a, 3);
    for (unsigned n = 0; n < 10; n++) {
        session[n] = watched(n + 1, 100 + (long)n);
        SSL_CTX_add_session(a, session[n]);
        SSL_CTX_add_session(b, session[n]);
        SSL_SESSION_free(session[n]);
    }
    better("C17", SSL_CTX_sess_number(a) == 3 && SSL_CTX_sess_number(b) == 10, "a small and a large cache");
    better("C19", SSL_SESSION_is_resumable(session[0]), "what had to leave the small one is good in the large one");
    flush(b, 1105);
    better("C17", removals() == 7 + 5, "a flush of the large one");
    flush(a, 0);
    better("C17", gone == 5, "the small one's were those of the large one too");
    SSL_CTX_free(b);
    better("C17", gone == 10, "none is lost");
    SSL_CTX_free(a);
    forget_removals();
}

/* The present, which UPDATE_TIME sets, is before what the session had: it must not stay in the other cache
 * until then. */
static void update_time(void)
{
    SSL_CTX *a = named_context('A'), *b = named_context('B');
    SSL_SESSION *session = numbered_session(1, 1L << 40, 100);
    SSL_CTX_add_session(a, session);
    SSL_CTX_set_session_cache_mode(b, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_UPDATE_TIME);
    SSL_CTX_add_session(b, session);
    better("C6", SSL_SESSION_get_time(session) < 1L << 40, "UPDATE_TIME sets the time of a session stored elsewhere");
    flush(a, 1L << 39);
    better("C6", SSL_CTX_sess_number(a) == 0, "which expires there accordingly");
    SSL_SESSION_free(session);
    SSL_CTX_free(a);
    SSL_CTX_free(b);
    forget_removals();
}

/* From several threads, each with its own context and all with the same sessions. */
#define THREADS 4
static SSL_SESSION *common[500];
static unsigned rounds;

static void *cycle(void *arg)
{
    SSL_CTX *ctx = arg;
    for (unsigned i = 0; i < rounds; i++) {
        for (int n = 0; n < 500; n++)
            SSL_CTX_add_session(ctx, common[n]);
        flush(ctx, 1000 + (time_t)i % 100);
        for (int n = 0; n < 500; n += 7)
            SSL_SESSION_set_timeout(common[n], n % 100);
        flush(ctx, 0);
    }
    return NULL;
}

static void threads(void)
{
    pthread_t thread[THREADS];
    SSL_CTX *ctx[THREADS];
    gone = 0;
    rounds = slowly() ? 3 : 50;
    for (unsigned n = 0; n < 500; n++)
        common[n] = watched(n + 1, (long)(n % 100));
    for (int i = 0; i < THREADS; i++) {
        ctx[i] = server_context();
        if (pthread_create(&thread[i], NULL, cycle, ctx[i]) != 0)
            give_up("pthread_create");
    }
    int empty = 1;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        empty = empty && SSL_CTX_sess_number(ctx[i]) == 0;
        SSL_CTX_free(ctx[i]);
    }
    better("C17", empty && gone == 0, "four threads share sessions between four contexts");
    for (int n = 0; n < 500; n++)
        SSL_SESSION_free(common[n]);
    better("C17", gone == 500, "no reference is lost or dropped twice");
}

int main(void)
{
    if (stock_cannot("C17", "a session is in one list only: a second context corrupts the first's"))
        return done();
    gone_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, on_gone);
    life();
    eviction();
    update_time();
    threads();
    better("C17", no_errors(), "no error is left in the queue");
    return done();
}
