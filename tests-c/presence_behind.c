/* C7, P6: a program, or a plug-in that libssl's own symbols are bound to, that sets the cache mode, the size or a
 * callback of a managed context past us, by libssl's functions from a handle of its own. libssl then keeps sessions
 * too, beside ours. That is sane: what is stored is found, each removal calls back once, and nothing outlives its
 * flush or its context. What was set so is not what the program reads back from us. */
#include "handshake.h"

#include <dlfcn.h>

static long (*real_ctrl)(SSL_CTX *, int, long, void *);
static int (*real_add)(SSL_CTX *, SSL_SESSION *);
static void (*real_set_remove)(SSL_CTX *, void (*)(SSL_CTX *, SSL_SESSION *));
static void (*real_set_new)(SSL_CTX *, int (*)(SSL *, SSL_SESSION *));
static void (*real_set_get)(SSL_CTX *, SSL_SESSION *(*)(SSL *, const unsigned char *, int, int *));

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
    better("C7", SSL_CTX_get_session_cache_mode(server) == SSL_SESS_CACHE_SERVER, "the mode is the one set through us");

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

/* No more is said than that it works: libssl has no way left to ask us. */
static void replaced(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    real_set_new(server, own_new);
    real_set_remove(server, own_remove);
    real_set_get(server, own_get);
    hs_result result = hs_resume(server, client, session);
    SSL_SESSION *next = hs_first(server, client);
    expect("P6", result != HS_FAILED && news > 0, "callbacks set behind our back are called");
    store(server, 1, 1000, 100);
    flush(server, 0);
    expect("P6", hs_resume(server, client, session) == HS_FULL && gets > 0, "flushed is flushed");
    expect("P6", SSL_CTX_sess_number(server) >= 0, "the context goes on");
    SSL_SESSION_free(next);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void *function(void *libssl, const char *name)
{
    void *address = dlsym(libssl, name);
    if (address == NULL)
        give_up("%s", dlerror());
    return address;
}

int main(void)
{
    hs_limit_time();
    void *libssl = dlopen(LIBSSL_SONAME, RTLD_NOW | RTLD_LOCAL);
    if (libssl == NULL)
        give_up("%s", dlerror());
    *(void **)&real_ctrl = function(libssl, "SSL_CTX_ctrl");
    *(void **)&real_add = function(libssl, "SSL_CTX_add_session");
    *(void **)&real_set_new = function(libssl, "SSL_CTX_sess_set_new_cb");
    *(void **)&real_set_remove = function(libssl, "SSL_CTX_sess_set_remove_cb");
    *(void **)&real_set_get = function(libssl, "SSL_CTX_sess_set_get_cb");
    kept_twice(TLS1_2_VERSION);
    kept_twice(TLS1_3_VERSION);
    added_behind();
    by_libssl();
    replaced();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
