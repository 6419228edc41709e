/* Callbacks of real handshakes that use the very context they are called for: flush, add, remove, look,
 * set, and even shake hands again.
 *
 * Stock calls new and get callbacks, and the remove callback of SSL_CTX_remove_session, without its
 * lock. Up to 3.6.3 a flush and an eviction hold it: from 3.0 on nested calls are refused there and nested handshakes
 * fail; 1.1.1 goes on without the lock, and unlocks it twice. */
#include "handshake.h"

static SSL_CTX *server, *client;
static int depth, nested_full, nested_failed;
static unsigned next_number;
static SSL_SESSION *external;

static void new_contexts(int version)
{
    server = hs_server(version, WITHOUT_TICKETS);
    client = hs_client(version);
    SSL_CTX_set_num_tickets(server, 1);
    depth = nested_full = nested_failed = 0;
    next_number = 100;
    forget_removals();
}

static void free_contexts(void)
{
    SSL_CTX_sess_set_new_cb(server, NULL);
    SSL_CTX_sess_set_get_cb(server, NULL);
    SSL_CTX_sess_set_remove_cb(server, NULL);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void count(void *session, void *n)
{
    (void)session;
    ++*(int *)n;
}

/* Everything a program may want of its context, from inside a callback. 1: all of it worked. */
static int use_context(SSL_CTX *ctx)
{
    int listed = 0, ok = 1;
    unsigned n = next_number++;
    long number = SSL_CTX_sess_number(ctx);
    SSL_SESSION *session = numbered_session(n, 1000, 100);

    ok &= SSL_CTX_add_session(ctx, session) == 1;
    ok &= SSL_CTX_sess_number(ctx) == number + 1;
    OPENSSL_LH_doall_arg((OPENSSL_LHASH *)SSL_CTX_sessions(ctx), count, &listed);
    ok &= listed == number + 1;
    ok &= SSL_CTX_remove_session(ctx, session) == 1;
    ok &= SSL_CTX_remove_session(ctx, session) == 0;
    SSL_SESSION_free(session);

    ok &= store(ctx, n, 1000, 100) == 1;
    flush(ctx, 1100);
    ok &= SSL_CTX_sess_number(ctx) == number + 1;
    flush(ctx, 1101);
    ok &= SSL_CTX_sess_number(ctx) == number;

    long size = SSL_CTX_sess_set_cache_size(ctx, 1000);
    ok &= SSL_CTX_sess_set_cache_size(ctx, size) == 1000;
    long mode = SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH);
    ok &= SSL_CTX_set_session_cache_mode(ctx, mode) == SSL_SESS_CACHE_BOTH;
    SSL_CTX_set_timeout(ctx, SSL_CTX_get_timeout(ctx));
    SSL_CTX_sess_set_new_cb(ctx, SSL_CTX_sess_get_new_cb(ctx));
    SSL_CTX_sess_set_get_cb(ctx, SSL_CTX_sess_get_get_cb(ctx));
    SSL_CTX_sess_set_remove_cb(ctx, SSL_CTX_sess_get_remove_cb(ctx));
    return ok;
}

static int used, worked;

static void try_all(SSL_CTX *ctx)
{
    if (depth > 0)
        return;
    depth++;
    used++;
    worked += use_context(ctx);
    hs_result result = hs_connect(server, client, NULL, NULL);
    nested_full += result == HS_FULL;
    nested_failed += result == HS_FAILED;
    depth--;
}

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)session;
    try_all(SSL_get_SSL_CTX(ssl));
    return 0;
}

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)id, (void)length;
    try_all(SSL_get_SSL_CTX(ssl));
    *copy = 1;
    return external;
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    if (session_number(session) < 100) /* not for those that we remove ourselves */
        try_all(ctx);
}

static void begin(void)
{
    used = worked = 0;
}

static void from_new(int version)
{
    new_contexts(version);
    SSL_CTX_sess_set_new_cb(server, on_new);
    begin();
    SSL_SESSION *session = hs_first(server, client);
    expect("F5", used == 1 && worked == 1, "the new callback may use its context");
    expect("F5", nested_full == 1, "and shake hands");
    expect("F5", hs_resume(server, client, session) == HS_RESUMED, "the session resumes");
    say("number %ld", SSL_CTX_sess_number(server));
    SSL_SESSION_free(session);
    free_contexts();
}

static void from_get(int version)
{
    new_contexts(version);
    SSL_SESSION *session = hs_first(server, client), *stored = hs_stored(server, session);
    external = SSL_SESSION_dup(stored);
    flush(server, 0);
    SSL_CTX_sess_set_get_cb(server, on_get);
    begin();
    expect("F5", hs_resume(server, client, session) == HS_RESUMED, "found outside");
    expect("F5", used == 1 && worked == 1, "the get callback may use its context");
    expect("F5", nested_full == 1, "and shake hands");
    say("number %ld", SSL_CTX_sess_number(server));

    /* It may even flush what libssl is about to ask for. */
    begin();
    flush(server, 0);
    SSL_SESSION_free(external);
    external = NULL;
    expect("F5", hs_resume(server, client, session) == HS_FULL, "nothing found");
    expect("F5", used == 1 && worked == 1, "used again");
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);
    free_contexts();
}

static void from_remove(int version)
{
    new_contexts(version);
    hs_pair pair = hs_new(server, client, NULL);
    hs_drive(&pair);
    SSL_CTX_sess_set_remove_cb(server, on_remove);
    begin();
    hs_drop(&pair); /* takes the session away */
    expect("F5", used == 1 && worked == 1, "the remove callback of a lost connection may use its context");
    expect("F5", nested_full == 1, "and shake hands");

    SSL_SESSION *session = hs_first(server, client), *stored = hs_stored(server, session);
    hs_age(stored);
    begin();
    expect("F5", hs_resume(server, client, session) == HS_FULL, "expired");
    say("used %d, number %ld", used, SSL_CTX_sess_number(server));
    expect("F5", used == worked, "that of an expired session as well");
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);
    free_contexts();
}

static void from_flush(void)
{
    if (!libssl_since(0x300) && stock_cannot("F5", "these calls unlock the lock of the flush that calls back"))
        return;
    new_contexts(TLS1_2_VERSION);
    for (int i = 0; i < 3; i++)
        hs_connect(server, client, NULL, NULL);
    SSL_CTX_sess_set_remove_cb(server, on_remove);
    begin();
    flush(server, 0);
    better("F5", used == 3 && worked == 3, "the remove callback of a flush may use its context");
    better("F5", nested_full == 3 && nested_failed == 0, "and shake hands, %d times", nested_full);
    better("F13", SSL_CTX_sess_number(server) == 3, "what it stored meanwhile stays");
    free_contexts();
}

static void from_eviction(void)
{
    if (!libssl_since(0x300) && stock_cannot("F5", "these calls unlock the lock of the eviction that calls back"))
        return;
    new_contexts(TLS1_2_VERSION);
    SSL_CTX_sess_set_cache_size(server, 2);
    SSL_CTX_sess_set_remove_cb(server, on_remove);
    begin();
    hs_result last = HS_FULL;
    for (int i = 0; i < 4 && last == HS_FULL; i++)
        last = hs_connect(server, client, NULL, NULL);
    better("F5", last == HS_FULL && used > 0 && nested_failed == 0, "the remove callback of an eviction");
    better("C1", SSL_CTX_sess_number(server) == 2, "the cache is full, not more");
    free_contexts();
}

/* The new callback takes away what was just stored, and its context's last reference but the SSL's. */
static int flush_all_and_free(SSL *ssl, SSL_SESSION *session)
{
    (void)session;
    SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);
    flush(ctx, 0);
    SSL_CTX_free(ctx);
    return 0;
}

static void free_from_new(void)
{
    new_contexts(TLS1_2_VERSION);
    record_removals(server, 'A');
    SSL_CTX_sess_set_new_cb(server, flush_all_and_free);
    hs_pair pair = hs_new(server, client, NULL);
    expect("F5", hs_drive(&pair) == HS_FULL, "a new callback that flushes all and frees the context");
    expect("F4", removals() == 1 && SSL_CTX_sess_number(server) == 0, "the session was removed once");
    hs_close(&pair);
    expect("C15", removals() == 1, "and not again");
    SSL_CTX_free(client);
}

int main(void)
{
    limit_time();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        from_new(version);
        from_get(version);
        from_remove(version);
    }
    from_flush();
    from_eviction();
    free_from_new();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
