/* O5: SSLSWEEP_AUTOFLUSH=incremental. Each store removes some of what is due, so that memory follows expiry
 * without a large flush. Stock knows no such option and goes on as always. */
#include "handshake.h"
#include "own.h"

#define EACH 4 /* sessions that one store removes at most */

static SSL_CTX *filled(unsigned due)
{
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    for (unsigned n = 1; n <= due; n++)
        store(ctx, n, 1000, 100 + (long)n);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    record_removals(ctx, 'A');
    forget_removals();
    return ctx;
}

/* What is due leaves with the stores, earliest first, never more than a few at once. */
static void by_hand(void)
{
    enum { DUE = 100 };
    time_t now = time(NULL);
    SSL_CTX *ctx = filled(DUE);
    size_t before = 0, most = 0, least = DUE;
    unsigned stores = 0;
    while (stores < DUE && removals() < DUE) {
        expect("C3", store(ctx, 1000 + stores, now, 3600) == 1, "store %u", stores);
        size_t left = removals() - before;
        most = left > most ? left : most;
        least = left < least ? left : least;
        before = removals();
        stores++;
        if (!sweeping() && stores == DUE / EACH)
            break;
    }
    better("O5", most <= EACH, "no store removes more than %d", EACH);
    better("O5", least > 1, "each removes more than it adds, while there is something due");
    better("O5", removals() == DUE && stores == DUE / EACH, "%d sessions due have left with %d stores", DUE, DUE / EACH);
    int ordered = removals() == DUE;
    for (unsigned n = 1; ordered && n <= DUE; n++)
        ordered = removal_at(n - 1).session == n && !removal_at(n - 1).resumable;
    better("O5", ordered, "earliest expiry first, marked as a flush does it");
    forget_removals();
    store(ctx, 5000, now, 3600);
    expect("O5", removals() == 0, "nothing is due: nothing leaves");
    SSL_CTX_free(ctx);
}

/* What is stored in vain, or anew, frees nothing or as much as any other. */
static void in_vain(void)
{
    SSL_CTX *ctx = filled(20);
    SSL_SESSION *session = numbered_session(1000, time(NULL), 3600);
    SSL_CTX_add_session(ctx, session);
    size_t before = removals();
    SSL_CTX_add_session(ctx, session);
    expect("O5", removals() == before, "a session that is there already: nothing leaves");
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
}

static void a_store_of_the_past(void)
{
    SSL_CTX *ctx = filled(0);
    expect("C3", store(ctx, 1, 1000, 100) == 1, "a session that has expired is stored");
    better("O5", removals() == 1 && SSL_CTX_sess_number(ctx) == 0, "and leaves at once: its store removes what is due");
    SSL_CTX_free(ctx);
}

/* What has expired by now, to the second, and nothing else. */
static void by_now(void)
{
    time_t now = time(NULL);
    SSL_CTX *ctx = filled(0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    store(ctx, 1, now - 10, 9);
    store(ctx, 2, now, 3000);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    store(ctx, 3, now, 3600);
    better("O5", removals() == 1 && removal_at(0).session == 1, "the present time decides: %s", removed_sorted());
    SSL_CTX_free(ctx);
}

static void no_auto_clear(void)
{
    SSL_CTX *ctx = filled(20);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    for (unsigned n = 100; n < 400; n++)
        store(ctx, n, time(NULL), 3600);
    expect("C7", removals() == 0 && SSL_CTX_sess_number(ctx) == 320, "NO_AUTO_CLEAR: nothing leaves by itself");
    SSL_CTX_free(ctx);
}

static SSL_CTX *server, *client;

/* A handshake stores one session under TLS 1.2 and two under TLS 1.3. */
static void by_handshakes(int version, int each, const char *name)
{
    enum { DUE = 40 };
    server = hs_server(version, WITHOUT_TICKETS);
    client = hs_client(version);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    for (unsigned n = 1; n <= DUE; n++)
        store(server, n, 1000, 100 + (long)n);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER);
    record_removals(server, 'A');
    forget_removals();

    SSL_SESSION *session = hs_first(server, client);
    better("O5", removals() == (size_t)(each * EACH), "%s: a handshake removes %d of what is due for each session", name, EACH);
    size_t before = removals();
    better("O5", hs_resume(server, client, session) == HS_RESUMED && removals() >= before, "%s: sessions resume meanwhile", name);
    for (int i = 0; i < 12; i++) {
        if (hs_connect(server, client, NULL, NULL) != HS_FULL)
            give_up("handshake %d", i);
    }
    better("O5", removals() == DUE, "%s: some handshakes later all are gone", name);
    SSL_SESSION_free(session);
    session = hs_first(server, client);
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "%s: the newest session resumes", name);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static SSL_SESSION *elsewhere;

static SSL_SESSION *fetch(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length;
    *copy = 1;
    return elsewhere;
}

/* A session that the get callback provides is stored, too; one that has expired is not, and leaves as it does in stock. */
static void by_get_callback(void)
{
    server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client), *stored = hs_stored(server, session);
    /* Before the flush, or they would have its mark. */
    SSL_SESSION *good = SSL_SESSION_dup(stored), *late = SSL_SESSION_dup(stored);
    flush(server, 0);
    SSL_CTX_sess_set_get_cb(server, fetch);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    for (unsigned n = 1; n <= 20; n++)
        store(server, n, 1000, 100);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER);
    record_removals(server, 'A');
    forget_removals();
    elsewhere = good;
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "from the get callback: resumed");
    better("O5", removals() == EACH, "its store removes %d", EACH);
    flush(server, 0);
    elsewhere = late;
    hs_age(late);
    forget_removals();
    expect("C9", hs_resume(server, client, session) == HS_FULL, "from the get callback, expired: not resumed");
    (libssl_since(0x300) ? expect : better)("O5", removals() == 1, "it calls back once");
    expect("O5", SSL_CTX_sess_timeouts(server) == 1, "and is counted as timed out");
    SSL_SESSION_free(late);
    SSL_SESSION_free(good);
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* The callback of what leaves stores in turn; that store removes sessions as well. */
static void store_in_turn(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    store(ctx, 10000 + session_number(session), time(NULL), 3600);
}

static void from_callbacks(void)
{
    SSL_CTX *ctx = filled(500);
    SSL_CTX_sess_set_remove_cb(ctx, store_in_turn);
    store(ctx, 5000, time(NULL), 3600);
    better("O5", removals() == 500 && SSL_CTX_sess_number(ctx) == 501, "callbacks may store: each session leaves once");
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    SSL_CTX_free(ctx);
}

/* A cache of sessions that live for a second each second holds no more than what is alive: memory follows expiry. */
static void no_large_flush(void)
{
    SSL_CTX *ctx = filled(0);
    time_t now = time(NULL);
    long most = 0;
    for (unsigned n = 1; n <= 2000; n++) {
        /* Four in five are due as soon as they are stored. */
        store(ctx, n, n % 5 ? 1000 : now, 3600);
        long number = SSL_CTX_sess_number(ctx);
        most = number > most ? number : most;
    }
    better("O5", most <= 2000 / 5 + EACH, "what has expired never gathers");
    if (own_functions("O5")) {
        struct sslsweep_statistics s = own_statistics(ctx);
        better("O5", s.flushed == 1600 && s.batches == own_sum(s.batch_times) && s.evictions == 0, "the statistics count it as flushed");
    }
    SSL_CTX_free(ctx);
}

int main(int argc, char **argv)
{
    (void)argc;
    own_option(argv, "SSLSWEEP_AUTOFLUSH", "incremental");
    limit_time();
    by_hand();
    in_vain();
    a_store_of_the_past();
    by_now();
    no_auto_clear();
    by_get_callback();
    by_handshakes(TLS1_2_VERSION, 1, "TLS 1.2");
    by_handshakes(TLS1_3_VERSION, 2, "TLS 1.3");
    from_callbacks();
    no_large_flush();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
