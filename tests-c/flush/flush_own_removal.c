/* C5: a remove callback that removes the session it was called for, as programs do that were written for OpenSSL
 * 1.0: by a flush, an eviction, the end of a context, SSL_CTX_remove_session, a lost connection; directly, through
 * other sessions, past us, and after a longjmp. It is not called again, and each of those ends.
 *
 * Stock up to 3.6.3 ends the first three, since its lock is taken already; 1.1.1, 4.0 and the others call back for
 * ever. */

/* Leaks: what is jumped over in this program and in the library is not freed. */
#include "handshake.h"

#include <setjmp.h>
#include <stdio.h>

static int (*private_remove)(SSL_CTX *, SSL_SESSION *);
static int calls, inner, depth, deepest;
static SSL_CTX *other;
static SSL_SESSION *ring[3];
static jmp_buf out;

static void begin(void)
{
    calls = inner = depth = deepest = 0;
}

static void enter(void)
{
    calls++;
    if (++depth > deepest)
        deepest = depth;
    if (calls > 2000)
        give_up("endless: the callback calls itself");
}

static void remove_own(SSL_CTX *ctx, SSL_SESSION *session)
{
    enter();
    inner += SSL_CTX_remove_session(ctx, session);
    better("C5", !SSL_SESSION_is_resumable(session), "what its callback removes is marked");
    depth--;
}

static void remove_own_privately(SSL_CTX *ctx, SSL_SESSION *session)
{
    enter();
    inner += private_remove(ctx, session);
    depth--;
}

/* Another object with the same key. */
static void remove_twin(SSL_CTX *ctx, SSL_SESSION *session)
{
    SSL_SESSION *twin = SSL_SESSION_dup(session);
    enter();
    inner += SSL_CTX_remove_session(ctx, twin);
    depth--;
    SSL_SESSION_free(twin);
}

/* Each removes the next one, and the last the first. */
static void remove_next(SSL_CTX *ctx, SSL_SESSION *session)
{
    enter();
    for (int i = 0; i < 3; i++)
        if (session == ring[i])
            inner += SSL_CTX_remove_session(ctx, ring[(i + 1) % 3]);
    depth--;
}

/* The same session in another cache is another matter. */
static void remove_elsewhere(SSL_CTX *ctx, SSL_SESSION *session)
{
    enter();
    if (ctx != other)
        inner += SSL_CTX_remove_session(other, session);
    inner += SSL_CTX_remove_session(ctx, session);
    depth--;
}

static void add_and_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    enter();
    SSL_CTX_add_session(ctx, session);
    inner += SSL_CTX_remove_session(ctx, session);
    depth--;
}

static void jump(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    enter();
    longjmp(out, 1);
}

static SSL_CTX *filled(void (*callback)(SSL_CTX *, SSL_SESSION *), unsigned count)
{
    SSL_CTX *ctx = server_context();
    begin();
    SSL_CTX_sess_set_remove_cb(ctx, callback);
    for (unsigned n = 1; n <= count; n++)
        store(ctx, n, 1000, 100);
    return ctx;
}

static void each_way(void (*callback)(SSL_CTX *, SSL_SESSION *), const char *name)
{
    SSL_CTX *ctx = filled(callback, 3);
    flush(ctx, 1101);
    better("C5", calls == 3 && inner == 0 && SSL_CTX_sess_number(ctx) == 0, "%s: a flush calls back once for each", name);
    better("C5", deepest == 1, "and not from inside");
    SSL_CTX_free(ctx);

    ctx = filled(callback, 0);
    SSL_CTX_sess_set_cache_size(ctx, 2);
    for (unsigned n = 1; n <= 7; n++)
        store(ctx, n, 1000, 100);
    better("C5", calls == 5 && inner == 0 && deepest == 1 && SSL_CTX_sess_number(ctx) == 2, "%s: evictions", name);
    SSL_CTX_sess_set_cache_size(ctx, 1);
    store(ctx, 8, 1000, 100);
    better("C5", calls == 7 && inner == 0 && deepest == 1 && SSL_CTX_sess_number(ctx) == 1, "%s: several at once", name);
    begin();
    SSL_CTX_free(ctx);
    better("C5", calls == 1 && inner == 0 && deepest == 1, "%s: the end of the context", name);

    ctx = filled(callback, 2);
    SSL_SESSION *session = numbered_session(1, 1000, 100), *unknown = numbered_session(9, 1000, 100);
    better("C5", SSL_CTX_remove_session(ctx, session) == 1 && calls == 1, "%s: a removal", name);
    better("C5", SSL_CTX_remove_session(ctx, unknown) == 0 && calls == 2, "%s: of nothing", name);
    better("C5", inner == 0 && deepest == 1 && SSL_CTX_sess_number(ctx) == 1, "%s: each calls back once", name);
    /* It is over: the same key again. */
    SSL_CTX_add_session(ctx, session);
    better("C5", SSL_CTX_remove_session(ctx, session) == 1 && calls == 3, "%s: later it is removed as ever", name);
    SSL_SESSION_free(unknown);
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
}

static void lost_connections(void (*callback)(SSL_CTX *, SSL_SESSION *), const char *name)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *server = hs_server(version, WITHOUT_TICKETS), *client = hs_client(version);
        begin();
        SSL_CTX_sess_set_remove_cb(server, callback);
        hs_pair pair = hs_new(server, client, NULL);
        if (hs_drive(&pair) != HS_FULL)
            give_up("handshake");
        long before = SSL_CTX_sess_number(server);
        hs_drop(&pair);
        better("C5", calls == 1 && inner == 0 && SSL_CTX_sess_number(server) == before - 1,
               "%s, TLS %x: a lost connection calls back once", name, version);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

static void through_others(void)
{
    SSL_CTX *ctx = filled(remove_next, 0);
    for (unsigned n = 0; n < 3; n++) {
        ring[n] = numbered_session(n + 1, 1000, 100);
        SSL_CTX_add_session(ctx, ring[n]);
    }
    better("C5", SSL_CTX_remove_session(ctx, ring[0]) == 1 && calls == 3 && inner == 2 && deepest == 3,
           "each removes the next one, and the last the first");
    better("C5", SSL_CTX_sess_number(ctx) == 0, "nothing is left");
    for (int n = 0; n < 3; n++)
        SSL_CTX_add_session(ctx, ring[n]);
    begin();
    flush(ctx, 0);
    better("C5", SSL_CTX_sess_number(ctx) == 0 && calls >= 3 && calls <= 9, "the same in a flush ends");
    SSL_CTX_free(ctx);

    ctx = filled(remove_elsewhere, 0);
    other = server_context();
    SSL_CTX_sess_set_remove_cb(other, remove_elsewhere);
    SSL_CTX_add_session(ctx, ring[0]);
    SSL_CTX_add_session(other, ring[0]);
    better("C5", SSL_CTX_remove_session(ctx, ring[0]) == 1 && calls == 2 && inner == 1 && SSL_CTX_sess_number(other) == 0,
           "the same session in another context is removed there");
    SSL_CTX_free(other);
    SSL_CTX_free(ctx);

    ctx = filled(add_and_remove, 1);
    flush(ctx, 0);
    better("C5", calls == 1 && inner == 0 && SSL_CTX_sess_number(ctx) == 1, "what its callback stores again stays");
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    SSL_CTX_free(ctx);
    for (int n = 0; n < 3; n++)
        SSL_SESSION_free(ring[n]);
}

/* What a longjmp left is over when its call is. */
static void left_by_longjmp(void)
{
    SSL_CTX *ctx = filled(jump, 2);
    SSL_SESSION *session = numbered_session(1, 1000, 100);
    if (setjmp(out) == 0)
        SSL_CTX_remove_session(ctx, session);
    better("C5", calls == 1, "a callback leaves by longjmp");
    SSL_CTX_sess_set_remove_cb(ctx, remove_own);
    SSL_CTX_add_session(ctx, session);
    better("C5", SSL_CTX_remove_session(ctx, session) == 1 && calls == 2, "the same session is removed again");
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
}

int main(void)
{
    limit_time();
    *(void **)&private_remove = libssl_function_past("SSL_CTX_remove_session");
    if (stock_cannot("C5", "the callback calls itself for ever, but for three ways up to 3.6.3"))
        return done();
    each_way(remove_own, "directly");
    each_way(remove_own_privately, "past us");
    each_way(remove_twin, "another object");
    lost_connections(remove_own, "directly");
    lost_connections(remove_own_privately, "past us");
    through_others();
    left_by_longjmp();
    better("C12", no_errors(), "the error queue is empty");
    return done();
}
