/* F5, F13: a remove callback may use the cache that it is called about. Up to 3.6.3 stock runs the callbacks of a
 * flush under the context's lock, which these calls want. glibc refuses the lock to the thread that holds it: from 3.0
 * on they return 0 or do nothing, while 1.1.1 goes on without the lock and unlocks it twice. Those of
 * SSL_CTX_remove_session run without it (input_callbacks.c). */
#include "support.h"

#include <string.h>

static void (*action)(SSL_CTX *ctx, SSL_SESSION *session);
static int depth, deepest;

static void act(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (++depth > deepest)
        deepest = depth;
    if (depth < 100 && action != NULL)
        action(ctx, session);
    depth--;
}

static SSL_CTX *filled_context(unsigned count, void (*what)(SSL_CTX *, SSL_SESSION *))
{
    SSL_CTX *ctx = server_context();
    forget_removals();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_remove_cb(ctx, act);
    for (unsigned n = 1; n <= count; n++)
        store(ctx, n, 1000, 100 + (long)n);
    action = what;
    depth = deepest = 0;
    return ctx;
}

/* Each of 1..count once. */
static int each_once(unsigned count)
{
    unsigned seen[1000] = {0};
    if (removals() != count)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (seen[removal_at(i).session]++ != 0)
            return 0;
    return 1;
}

static void flush_all(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)session;
    flush(ctx, 0);
}

static void flush_few(SSL_CTX *ctx, SSL_SESSION *session)
{
    flush(ctx, SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session) + 2);
}

static void flush_legacy(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)session;
    SSL_CTX_flush_sessions(ctx, 1150);
}

static void flushing(void)
{
    void (*const actions[])(SSL_CTX *, SSL_SESSION *) = {flush_all, flush_few, flush_legacy};
    const char *const names[] = {"everything", "a few more", "by the legacy function"};
    for (int i = 0; i < 3; i++) {
        SSL_CTX *ctx = filled_context(500, actions[i]);
        flush(ctx, 0);
        better("F13", each_once(500), "a callback that flushes %s: each session once", names[i]);
        better("F5", SSL_CTX_sess_number(ctx) == 0, "and the cache is empty");
        SSL_CTX_free(ctx);
    }
    /* Which order nested flushes give is nobody's promise, but it is the same in every way. */
    SSL_CTX *ctx = filled_context(4, flush_all);
    flush(ctx, 0);
    better("F13", each_once(4), "nested: %s", removed());
    SSL_CTX_free(ctx);
}

static SSL_CTX *other;

static void use_everything(SSL_CTX *ctx, SSL_SESSION *session)
{
    unsigned n = session_number(session);
    SSL_SESSION *fresh = numbered_session(1000 + n, 1000, 9000);
    SSL_CTX_add_session(ctx, fresh);
    SSL_SESSION_set_timeout(fresh, 9001);
    SSL_CTX_add_session(other, fresh);
    SSL_CTX_remove_session(other, fresh);
    SSL_SESSION_free(fresh);
    SSL_CTX_sess_set_cache_size(ctx, 5000 + (long)n);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH);
    SSL *ssl = SSL_new(ctx);
    unsigned char id[32] = {0};
    SSL_has_matching_session_id(ssl, id, sizeof id);
    SSL_free(ssl);
    flush(other, 0);
}

static void everything(void)
{
    other = server_context();
    SSL_CTX *ctx = filled_context(200, use_everything);
    flush(ctx, 5000);
    action = NULL;
    better("F5", each_once(200), "a callback that adds, sets, removes, looks up: each session once");
    better("F5", SSL_CTX_sess_number(ctx) == 200, "what it added stays, as it is not due");
    better("F5", SSL_CTX_sess_get_cache_size(ctx) == 5200, "what it set is set");
    SSL_CTX_free(ctx);
    SSL_CTX_free(other);
}

static void add_again(SSL_CTX *ctx, SSL_SESSION *session)
{
    if (removals() < 5000)
        SSL_CTX_add_session(ctx, session);
}

/* Otherwise a program that refuses to let go would hold the flush up for ever. */
static void adding_again(void)
{
    SSL_CTX *ctx = filled_context(100, add_again);
    flush(ctx, 0);
    better("F13", each_once(100), "a callback that adds its session again: flush(0) removes each once");
    better("F5", SSL_CTX_sess_number(ctx) == 100, "they are stored again");
    forget_removals();
    flush(ctx, 5000);
    better("F13", each_once(100), "flush(tm) removes each once");
    action = NULL;
    forget_removals();
    flush(ctx, 0);
    better("F13", each_once(100) && SSL_CTX_sess_number(ctx) == 0, "and they leave when it stops");
    SSL_CTX_free(ctx);
}

static SSL_SESSION *session_of[101];
static int said_gone;

static void remove_next(SSL_CTX *ctx, SSL_SESSION *session)
{
    unsigned n = session_number(session);
    /* Not from the callbacks of the removals that this makes. */
    if (depth == 1 && n % 2 == 1)
        said_gone += SSL_CTX_remove_session(ctx, session_of[n + 1]) == 0;
}

/* The neighbour is due in the same flush. SSL_CTX_remove_session calls back in any case (C5); when it
 * says that it took the session, the flush must not call back for that one again. */
static void removing_others(void)
{
    SSL_CTX *ctx = server_context();
    forget_removals();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_remove_cb(ctx, act);
    for (unsigned n = 1; n <= 100; n++) {
        session_of[n] = numbered_session(n, 1000, 100 + (long)n);
        SSL_CTX_add_session(ctx, session_of[n]);
    }
    action = remove_next;
    flush(ctx, 0);
    action = NULL;
    better("F13", removals() == 100 + (size_t)said_gone, "a callback that removes another due session");
    better("F5", SSL_CTX_sess_number(ctx) == 0, "leaves nothing behind");
    int marked = 0;
    for (unsigned n = 1; n <= 100; n++) {
        marked += !SSL_SESSION_is_resumable(session_of[n]);
        SSL_SESSION_free(session_of[n]);
    }
    better("F13", marked == 100, "each is marked");
    SSL_CTX_free(ctx);
}

int main(void)
{
    if (libssl_since(0x300) || !stock_cannot("F5", "these calls unlock the lock of the flush that calls back")) {
        flushing();
        everything();
        adding_again();
        removing_others();
    }
    forget_removals();
    better("F5", no_errors(), "no error is left in the queue");
    return done();
}
