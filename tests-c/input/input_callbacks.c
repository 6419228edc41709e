/* Callbacks that change the ground under the removal that calls them, where stock can bear it too: a
 * callback replaced in mid-flush, and all that may be done from SSL_CTX_remove_session's. */
#include "support.h"

#include <string.h>

static void second(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
}

static void replace_by_second(SSL_CTX *ctx, SSL_SESSION *session)
{
    SSL_CTX_sess_set_remove_cb(ctx, second);
    better("F6", session_number(session) == 1, "the first callback: %u", session_number(session));
}

static void replace_by_none(SSL_CTX *ctx, SSL_SESSION *session)
{
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    record_removal(ctx, session);
}

static SSL_CTX *filled_context(void (*callback)(SSL_CTX *, SSL_SESSION *))
{
    SSL_CTX *ctx = server_context();
    forget_removals();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_remove_cb(ctx, callback);
    for (unsigned n = 1; n <= 100; n++)
        store(ctx, n, 1000, 100 + (long)n);
    return ctx;
}

static void replaced(void)
{
    SSL_CTX *ctx = filled_context(replace_by_second);
    flush(ctx, 0);
    expect("F4", removals() == 99, "a callback set in mid-flush is called for the rest");
    expect("C7", SSL_CTX_sess_get_remove_cb(ctx) == second, "and read back");
    SSL_CTX_free(ctx);

    ctx = filled_context(replace_by_none);
    flush(ctx, 0);
    expect("F4", removals() == 1 && SSL_CTX_sess_number(ctx) == 0, "one taken away in mid-flush is not called again");
    SSL_CTX_free(ctx);

    ctx = filled_context(replace_by_second);
    SSL_CTX_free(ctx);
    expect("C15", removals() == 99, "the same at the end of a context");
}

static void set_much(SSL_CTX *ctx, SSL_SESSION *session)
{
    SSL_CTX_sess_set_cache_size(ctx, 1 + (long)session_number(session));
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_sess_set_new_cb(ctx, NULL);
    SSL_CTX_sess_set_get_cb(ctx, NULL);
    SSL_CTX_set_timeout(ctx, 5);
    /* Its own removal is done: nobody's cache holds it. */
    SSL_SESSION_set_time(session, 1 << 30);
    SSL_SESSION_set_timeout(session, 1 << 30);
    record_removal(ctx, session);
}

static void setters(void)
{
    SSL_CTX *ctx = filled_context(set_much);
    flush(ctx, 1151);
    expect("F4", removals() == 50 && SSL_CTX_sess_number(ctx) == 50, "setters in mid-flush: size, mode, times");
    expect("C7", SSL_CTX_get_session_cache_mode(ctx) == SSL_SESS_CACHE_OFF, "are in force afterwards");
    SSL_CTX_free(ctx);
}

/* From here on: SSL_CTX_remove_session, whose callback runs without a lock on stock as well. */
static int depth;

static void remove_again(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (++depth <= 3)
        better("C5", SSL_CTX_remove_session(ctx, session) == 0, "removing it again in its callback is nothing");
    depth--;
}

static void flush_rest(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (depth++ == 0) {
        SSL_CTX_sess_set_remove_cb(ctx, second);
        flush(ctx, 1151);
    }
}

static void add_again(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (depth++ == 0)
        say("C3 - adding it again in its callback: %d", SSL_CTX_add_session(ctx, session));
}

static void from_remove(void)
{
    SSL_SESSION *first = numbered_session(1, 1, 1);

    SSL_CTX *ctx = filled_context(remove_again);
    depth = 0;
    expect("C5", SSL_CTX_remove_session(ctx, first) == 1, "a callback that removes its session again");
    better("C5", removals() == 1, "and is not called again: %s", removed());
    expect("C5", SSL_CTX_sess_number(ctx) == 99, "it is gone");
    depth = 9;
    SSL_CTX_free(ctx);

    ctx = filled_context(flush_rest);
    depth = 0;
    expect("C5", SSL_CTX_remove_session(ctx, first) == 1, "a callback that flushes");
    expect("F13", removals() == 50 && SSL_CTX_sess_number(ctx) == 50, "each leaves once");
    SSL_CTX_free(ctx);

    ctx = filled_context(add_again);
    depth = 0;
    expect("C5", SSL_CTX_remove_session(ctx, first) == 1, "a callback that adds its session again");
    expect("C3", SSL_CTX_sess_number(ctx) == 100 && removals() == 1, "which is stored");
    expect("C16", SSL_CTX_add_session(ctx, first) == 0, "this very object");
    SSL_CTX_free(ctx);
    SSL_SESSION_free(first);
}

int main(void)
{
    replaced();
    setters();
    from_remove();
    expect("F4", no_errors(), "no error is left in the queue");
    return done();
}
