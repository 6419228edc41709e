/* P12: a program, or a wrapper that finds libssl's functions behind ours, that sets the cache mode, the size or a
 * callback of a managed context past us. The next SSL_new or flush takes it in: it is the program's from then on, as
 * if it had been set through us. Until then libssl may keep sessions as well, and that is sane: what is stored is
 * found, each removal calls back once, and nothing outlives its flush or its context. */
#include "handshake.h"


static long (*real_ctrl)(SSL_CTX *, int, long, void *);
static int (*real_add)(SSL_CTX *, SSL_SESSION *);
static void (*real_set_remove)(SSL_CTX *, void (*)(SSL_CTX *, SSL_SESSION *));
static void (*real_set_new)(SSL_CTX *, int (*)(SSL *, SSL_SESSION *));
static void (*real_set_get)(SSL_CTX *, SSL_SESSION *(*)(SSL *, const unsigned char *, int, int *));

static int (*(*real_get_new)(SSL_CTX *))(SSL *, SSL_SESSION *);
static void (*(*real_get_remove)(SSL_CTX *))(SSL_CTX *, SSL_SESSION *);
static SSL_SESSION *(*(*real_get_get)(SSL_CTX *))(SSL *, const unsigned char *, int, int *);

static int followed;

static SSL_CTX *filled(int version, SSL_CTX *client, SSL_SESSION **session, void (*behind)(SSL_CTX *))
{
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS);
    record_removals(server, 'A');
    forget_removals();
    behind(server);
    for (int i = 0; i < 5; i++)
        session[i] = hs_first(server, client);
    followed = hs_freed();
    for (int i = 0; i < 5; i++) {
        SSL_SESSION *stored = hs_stored(server, session[i]);
        hs_follow(stored);
        SSL_SESSION_free(stored);
    }
    return server;
}

static void end(SSL_CTX *server, SSL_SESSION **session, const char *name)
{
    for (int i = 0; i < 5; i++)
        SSL_SESSION_free(session[i]);
    SSL_CTX_free(server);
    expect("C15", hs_freed() - followed == 5, "%s: no session outlives the context", name);
}

static void mode_on(SSL_CTX *ctx)
{
    real_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_BOTH, NULL);
}

/* Everything that a program sees of its sessions when libssl keeps them as well. */
static void kept_twice(int version)
{
    SSL_SESSION *session[5];
    SSL_CTX *client = hs_client(version), *server = filled(version, client, session, mode_on);
    expect("C7", removals() == 0 && SSL_CTX_sess_number(server) >= 5, "TLS %x: sessions are stored", version);
    expect("C9", hs_resume(server, client, session[0]) == HS_RESUMED, "and resumed");
    expect("P12", SSL_CTX_get_session_cache_mode(server) == SSL_SESS_CACHE_BOTH, "the mode is the one set past us");

    SSL_SESSION *stored = hs_stored(server, session[1]);
    expect("C5", SSL_CTX_remove_session(server, stored) == 1 && removals() == 1, "one is removed: one callback");
    SSL_SESSION_free(stored);
    expect("C5", hs_resume(server, client, session[1]) == HS_FULL, "and not resumed");

    long before = SSL_CTX_sess_number(server);
    forget_removals();
    flush(server, 0);
    expect("F4", (long)removals() == before, "a flush calls back once for each");
    int resumed = 0;
    for (int i = 0; i < 5; i++)
        resumed += hs_resume(server, client, session[i]) == HS_RESUMED;
    expect("F2", resumed == 0, "and none is resumed");
    /* The full handshakes of those attempts are stored anew. */
    forget_removals();
    before = SSL_CTX_sess_number(server);
    end(server, session, "twice");
    expect("C15", (long)removals() == before, "the end calls back once for each");
    SSL_CTX_free(client);
}

/* A session that lies in libssl's cache alone. */
static void added_behind(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *session = numbered_session(2, 1000, 100);
    record_removals(ctx, 'A');
    forget_removals();
    store(ctx, 1, 1000, 100);
    real_add(ctx, session);
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
    expect("C15", removals() == 2, "what was added past us is called back for at the end: %s", removed_sorted());
}

/* libssl's own eviction and automatic flush, which we do not expect. */
static void by_libssl(void)
{
    SSL_SESSION *session[5];
    SSL_CTX *client = hs_client(TLS1_2_VERSION), *server = filled(TLS1_2_VERSION, client, session, mode_on);
    real_ctrl(server, SSL_CTRL_SET_SESS_CACHE_SIZE, 2, NULL);
    for (int i = 0; i < 3; i++)
        hs_connect(server, client, NULL, NULL);
    SSL_SESSION *last = hs_first(server, client);
    expect("C9", hs_resume(server, client, last) == HS_RESUMED, "a small size for libssl: the last is resumed");
    flush(server, 0);
    expect("F4", removals() == 9 && SSL_CTX_sess_number(server) == 0, "evicted or flushed, each has called back once");
    SSL_SESSION_free(last);
    end(server, session, "small size");

    server = filled(TLS1_2_VERSION, client, session, mode_on);
    for (int i = 0; i < 5; i++) {
        SSL_SESSION *stored = hs_stored(server, session[i]);
        hs_age(stored);
        SSL_SESSION_free(stored);
    }
    for (int i = 0; i < 300; i++)
        hs_connect(server, client, NULL, NULL);
    expect("C8", removals() == 5, "an automatic flush of libssl or of ours: each has called back once");
    end(server, session, "automatic flush");
    SSL_CTX_free(client);
}

/* ---- Callbacks put in the place of ours ---- */

static int news, removes, gets;

static int own_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    news++;
    return 0;
}

static void own_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    removes++;
}

static SSL_SESSION *own_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    gets++;
    return NULL;
}

static void counters(int *n, int *r, int *g)
{
    *n = news, *r = removes, *g = gets;
    news = removes = gets = 0;
}

/* Set past us, on a fresh context and on one that has sessions and callbacks of the program's. */
static void replaced(int version)
{
    int n, r, g;
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS), *client = hs_client(version);
    SSL_SESSION *session = hs_first(server, client);
    record_removals(server, 'A');
    forget_removals();
    counters(&n, &r, &g);
    real_set_new(server, own_new);
    real_set_remove(server, own_remove);
    real_set_get(server, own_get);
    expect("P12", hs_resume(server, client, session) == HS_RESUMED, "TLS %x: what was stored before is resumed", version);
    expect("P12", SSL_CTX_sess_get_new_cb(server) == own_new && SSL_CTX_sess_get_remove_cb(server) == own_remove
           && SSL_CTX_sess_get_get_cb(server) == own_get, "callbacks set past us are the program's");
    counters(&n, &r, &g);
    SSL_SESSION *next = hs_first(server, client);
    counters(&n, &r, &g);
    expect("P12", n > 0 && r == 0 && g == 0, "a new session: the new callback");
    expect("P12", hs_resume(server, client, next) == HS_RESUMED, "which is stored and found");
    long before = SSL_CTX_sess_number(server);
    counters(&n, &r, &g);
    flush(server, 0);
    counters(&n, &r, &g);
    expect("P12", r == before && removals() == 0 && SSL_CTX_sess_number(server) == 0, "the remove callback, once for each");
    expect("P12", hs_resume(server, client, session) == HS_FULL, "flushed is flushed");
    counters(&n, &r, &g);
    expect("P12", g > 0, "the get callback is asked");
    /* The last word counts, whichever way it comes. */
    real_set_remove(server, NULL);
    SSL_CTX_sess_set_remove_cb(server, record_removal);
    flush(server, 0);
    counters(&n, &r, &g);
    expect("P12", r == 0 && removals() > 0, "set past us and then through us: the latter counts");
    store(server, 1, 1000, 100);
    real_set_remove(server, NULL);
    forget_removals();
    flush(server, 0);
    expect("P12", removals() == 0 && SSL_CTX_sess_get_remove_cb(server) == NULL, "taken away past us");
    SSL_SESSION_free(next);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void size_and_mode(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    forget_removals();
    real_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_SIZE, size_to_hold(3), NULL);
    flush(ctx, 1);
    expect("P12", SSL_CTX_sess_get_cache_size(ctx) == size_to_hold(3), "a size set past us reads back");
    for (unsigned n = 1; n <= 5; n++)
        store(ctx, n, 1000, 100 + n);
    expect("P12", SSL_CTX_sess_number(ctx) == 3 && removals() == 2, "and is in force");
    real_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_SIZE, 0, NULL);
    SSL_free(SSL_new(ctx));
    for (unsigned n = 6; n <= 9; n++)
        store(ctx, n, 1000, 100 + n);
    expect("P12", SSL_CTX_sess_get_cache_size(ctx) == 0 && SSL_CTX_sess_number(ctx) == 7, "unlimited, too");
    real_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_SIZE, 5, NULL);
    expect("P12", SSL_CTX_sess_set_cache_size(ctx, 0) == 5, "the size set past us is the former one");
    SSL_CTX_free(ctx);

    static const long modes[] = {SSL_SESS_CACHE_OFF, SSL_SESS_CACHE_CLIENT, SSL_SESS_CACHE_SERVER, SSL_SESS_CACHE_BOTH,
                                 SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL,
                                 SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE,
                                 SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_AUTO_CLEAR};
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        real_ctrl(server, SSL_CTRL_SET_SESS_CACHE_MODE, modes[i], NULL);
        SSL_SESSION *session = hs_first(server, client);
        expect("P12", SSL_CTX_get_session_cache_mode(server) == modes[i], "mode %lx set past us reads back", modes[i]);
        say("and is in force: %ld stored, %s", SSL_CTX_sess_number(server), hs_word(hs_resume(server, client, session)));
        SSL_SESSION_free(session);
        flush(server, 0);
    }
    /* Read past us, changed and set past us: what we have added to it is not the program's wish. */
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER);
    long mode = real_ctrl(server, SSL_CTRL_GET_SESS_CACHE_MODE, 0, NULL);
    real_ctrl(server, SSL_CTRL_SET_SESS_CACHE_MODE, mode | SSL_SESS_CACHE_CLIENT, NULL);
    SSL_free(SSL_new(server));
    expect("P12", SSL_CTX_get_session_cache_mode(server) == SSL_SESS_CACHE_BOTH, "a bit more");
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* ---- A wrapper that keeps what it finds, and calls it: which is ours, in the place of the program's ---- */

static int (*found_new)(SSL *, SSL_SESSION *);
static void (*found_remove)(SSL_CTX *, SSL_SESSION *);
static SSL_SESSION *(*found_get)(SSL *, const unsigned char *, int, int *);
static int wrapped;

static int wrap_new(SSL *ssl, SSL_SESSION *session)
{
    wrapped++;
    return found_new(ssl, session);
}

static int (*found_again)(SSL *, SSL_SESSION *);

static int wrap_new_again(SSL *ssl, SSL_SESSION *session)
{
    wrapped++;
    return found_again(ssl, session);
}

static void wrap_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    wrapped++;
    found_remove(ctx, session);
}

static SSL_SESSION *wrap_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    wrapped++;
    return found_get(ssl, id, length, copy);
}

static void chained(int version)
{
    int n, r, g;
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS), *client = hs_client(version);
    SSL_CTX_sess_set_new_cb(server, own_new);
    SSL_CTX_sess_set_remove_cb(server, own_remove);
    SSL_CTX_sess_set_get_cb(server, own_get);
    found_new = real_get_new(server);
    found_remove = real_get_remove(server);
    found_get = real_get_get(server);
    real_set_new(server, wrap_new);
    real_set_remove(server, wrap_remove);
    real_set_get(server, wrap_get);
    counters(&n, &r, &g);
    wrapped = 0;
    SSL_SESSION *session = hs_first(server, client);
    long stored = SSL_CTX_sess_number(server);
    counters(&n, &r, &g);
    expect("P12", n > 0 && wrapped == n, "TLS %x: a wrapper calls the new callback that it has replaced", version);
    expect("P12", stored == n && hs_resume(server, client, session) == HS_RESUMED, "sessions are stored once, and found");
    stored = SSL_CTX_sess_number(server);
    counters(&n, &r, &g);
    wrapped = 0;
    flush(server, 0);
    counters(&n, &r, &g);
    expect("P12", r == stored && wrapped == r && SSL_CTX_sess_number(server) == 0, "the remove callback, too");
    wrapped = 0;
    expect("P12", hs_resume(server, client, session) == HS_FULL, "a lookup of what is gone");
    counters(&n, &r, &g);
    expect("P12", g == 1 && n > 0 && wrapped == g + n + r, "and the get callback");
    /* One more around that: it finds ours in the place of the first, and no end of calls comes of it. */
    found_again = real_get_new(server);
    real_set_new(server, wrap_new_again);
    wrapped = 0;
    hs_connect(server, client, NULL, NULL);
    counters(&n, &r, &g);
    expect("P12", wrapped == 2 * n || (sweeping() && wrapped > 0), "a second wrapper calls the first");
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    limit_time();
    *(void **)&real_ctrl = libssl_function_past("SSL_CTX_ctrl");
    *(void **)&real_add = libssl_function_past("SSL_CTX_add_session");
    *(void **)&real_set_new = libssl_function_past("SSL_CTX_sess_set_new_cb");
    *(void **)&real_set_remove = libssl_function_past("SSL_CTX_sess_set_remove_cb");
    *(void **)&real_set_get = libssl_function_past("SSL_CTX_sess_set_get_cb");
    *(void **)&real_get_new = libssl_function_past("SSL_CTX_sess_get_new_cb");
    *(void **)&real_get_remove = libssl_function_past("SSL_CTX_sess_get_remove_cb");
    *(void **)&real_get_get = libssl_function_past("SSL_CTX_sess_get_get_cb");
    kept_twice(TLS1_2_VERSION);
    kept_twice(TLS1_3_VERSION);
    added_behind();
    by_libssl();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        replaced(version);
        chained(version);
    }
    size_and_mode();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
