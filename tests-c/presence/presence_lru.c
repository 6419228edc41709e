/* O6: SSLSWEEP_EVICTION=lru. For lack of room the session leaves whose last use is longest ago, whatever its
 * expiry. Stock knows no such option: 3.0 and later evict by expiry, 1.1.1 by the time of the store. */
#include "handshake.h"
#include "own.h"

#include <stdio.h>
#include <string.h>

static SSL_CTX *context(long size)
{
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, size_to_hold(size));
    record_removals(ctx, 'A');
    forget_removals();
    return ctx;
}

static int removed_is(const char *wanted)
{
    int same = strcmp(removed(), wanted) == 0;
    if (!same)
        printf("# removed: %s\n", removed());
    return same;
}

static void by_store(void)
{
    time_t now = time(NULL);
    SSL_CTX *ctx = context(3);
    store(ctx, 1, now, 9000); /* would be the last to go by expiry */
    store(ctx, 2, now, 100);
    store(ctx, 3, now, 200);
    store(ctx, 4, now, 50);
    better("O6", removed_is("A1"), "the first stored leaves, though it expires last");
    store(ctx, 5, now, 9000);
    better("O6", removed_is("A1 A2"), "then the second");
    expect("C2", SSL_CTX_sess_cache_full(ctx) == 2, "counted");
    expect("C1", SSL_CTX_sess_number(ctx) == 3, "the cache is full");

    /* Storing it again is a use, by the same object or another one. */
    SSL_SESSION *again = numbered_session(3, now, 200);
    SSL_CTX_add_session(ctx, again);
    store(ctx, 6, now, 1);
    better("O6", removed_is("A1 A2 A4"), "one stored anew stays");
    store(ctx, 7, now, 1);
    SSL_CTX_add_session(ctx, again);
    store(ctx, 8, now, 1);
    better("O6", removed_is("A1 A2 A4 A5 A6"), "and so does one that is added while it is there");
    better("C19", removal_at(0).resumable == 1, "who leaves for lack of room stays resumable");
    SSL_SESSION_free(again);

    SSL_CTX_sess_set_cache_size(ctx, size_to_hold(1));
    store(ctx, 9, now, 1);
    better("O6", removed_is("A1 A2 A4 A5 A6 A7 A3 A8"), "a smaller size: several leave in the order of their last use");
    SSL_CTX_free(ctx);
}

/* The issue that this is for: a session in use that expires before those that are not. */
static void by_lookup(int version, const char *name)
{
    time_t now = time(NULL);
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS), *client = hs_client(version);
    SSL_CTX_set_timeout(server, 60);
    SSL_SESSION *session = hs_first(server, client);
    SSL_SESSION *stored = hs_stored(server, session);
    number_session(stored, 99);
    SSL_SESSION_free(stored);
    record_removals(server, 'A');
    long held = SSL_CTX_sess_number(server);
    SSL_CTX_sess_set_cache_size(server, size_to_hold(held + 2));
    forget_removals();

    store(server, 1, now, 9000);
    store(server, 2, now, 9000);
    int resumed = hs_resume(server, client, session) == HS_RESUMED;
    int kept = 1;
    for (unsigned n = 3; n <= 30; n++) {
        store(server, n, now, 9000);
        /* Under TLS 1.3 a resumption stores sessions of its own: room enough for those. */
        if (version == TLS1_2_VERSION)
            resumed &= hs_resume(server, client, session) == HS_RESUMED;
    }
    /* Under TLS 1.3 it is used once, and goes with the others at last. */
    for (size_t i = 0; version == TLS1_2_VERSION && i < removals(); i++)
        kept &= removal_at(i).session != 99;
    better("O6", resumed && kept, "%s: a session that is resumed outlives others that expire later", name);
    better("O6", removals() >= 27, "%s: which left in its place", name);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A use decides who leaves for lack of room, and nothing else. */
static void flush_goes_by_expiry(void)
{
    SSL_CTX *ctx = context(100);
    for (unsigned n = 1; n <= 6; n++)
        store(ctx, n, 1000, 700 - 100 * (long)n);
    flush(ctx, 1401);
    (libssl_since(0x300) && !libssl_calls_back_unlocked() ? expect : better)("F6", removed_is("A6 A5 A4 A3"), "a flush removes in the order of expiry");
    store(ctx, 7, time(NULL), 3600);
    expect("C1", SSL_CTX_sess_number(ctx) == 3, "the others stay");
    SSL_CTX_free(ctx);
}

/* The order of use follows what leaves in other ways. */
static void mixed(void)
{
    time_t now = time(NULL);
    SSL_CTX *ctx = context(4);
    SSL_SESSION *first = numbered_session(1, now, 500);
    SSL_CTX_add_session(ctx, first);
    store(ctx, 2, 1000, 100);
    store(ctx, 3, now, 400);
    store(ctx, 4, now, 300);
    SSL_CTX_remove_session(ctx, first);
    flush(ctx, now);
    forget_removals();
    SSL_SESSION_set_timeout(first, 1);
    store(ctx, 5, now, 200);
    store(ctx, 6, now, 100);
    store(ctx, 7, now, 9000);
    better("O6", removed_is("A3"), "after a removal and a flush, the one used least recently leaves");
    SSL_SESSION_free(first);
    SSL_CTX_free(ctx);
}

static void *use(void *arg)
{
    SSL_CTX *ctx = arg;
    for (unsigned n = 1; n <= (slowly() ? 300 : 20000); n++) {
        SSL_SESSION *session = numbered_session(n % 97, 1000, 100 + n % 7);
        SSL_CTX_add_session(ctx, session);
        if (n % 5 == 0)
            SSL_CTX_remove_session(ctx, session);
        if (n % 500 == 0)
            flush(ctx, 1103);
        SSL_SESSION_free(session);
    }
    return NULL;
}

static void threads(void)
{
    pthread_t thread[4];
    SSL_CTX *ctx = context(40);
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    for (int i = 0; i < 4; i++)
        hs_start(&thread[i], use, ctx);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    better("O6", SSL_CTX_sess_number(ctx) <= 40, "threads: never more than there is room for");
    flush(ctx, 0);
    expect("F2", SSL_CTX_sess_number(ctx) == 0, "threads: a flush empties it");
    SSL_CTX_free(ctx);
}

int main(int argc, char **argv)
{
    (void)argc;
    own_option(argv, "SSLSWEEP_EVICTION", "lru");
    limit_time();
    by_store();
    by_lookup(TLS1_2_VERSION, "TLS 1.2");
    by_lookup(TLS1_3_VERSION, "TLS 1.3");
    flush_goes_by_expiry();
    mixed();
    threads();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
