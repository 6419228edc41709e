/* F10: a context that sslsweep does not manage is handed to the real libssl. The program starts itself
 * again with sslsweep told to manage none, so that each line must be stock's own. */
#include "support.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void flushes(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    for (unsigned n = 1; n <= 4; n++)
        store(ctx, n, 1000, 100 * (long)n);
    flush(ctx, 1100);
    expect("F10", removals() == 0, "expiry == tm stays");
    flush(ctx, 1101);
    expect("F10", removals() == 1 && !removal_at(0).resumable, "an expired one leaves: %s", removed_sorted());
    SSL_CTX_flush_sessions(ctx, 1201);
    expect("F10", removals() == 2, "by the legacy function: %s", removed_sorted());
    flush(ctx, 2147483648);
    expect("F10", removals() == 4, "a time beyond 32 bits is not truncated: %s", removed_sorted());
    store(ctx, 5, 1000, 100);
    flush(ctx, 0);
    expect("F10", removals() == 5, "0 removes all");
    SSL_CTX_free(ctx);
    expect("F10", removals() == 5, "each once");
    forget_removals();
}

/* What only stock would do: the size that it holds, and what it marks. */
static void stock_habits(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *first = numbered_session(1, 1000, 100);
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_cache_size(ctx, 4);
    SSL_CTX_add_session(ctx, first);
    for (unsigned n = 2; n <= 6; n++)
        store(ctx, n, 1000, 100 * (long)n);
    say("F10 - with room for 4 the cache holds %ld, evicted %ld: %s", SSL_CTX_sess_number(ctx),
        SSL_CTX_sess_cache_full(ctx), removed());
    say("F10 - an evicted session can be resumed: %d", SSL_SESSION_is_resumable(first));
    SSL_SESSION_free(first);
    SSL_CTX_free(ctx);
    say("F10 - at the end: %s", removed());
    forget_removals();
}

static void functions(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *session = numbered_session(1, 1000, 100);
    record_removals(ctx, 'A');
    expect("F10", SSL_CTX_sess_get_remove_cb(ctx) == record_removal, "callbacks are read back");
    expect("F10", SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH) == SSL_SESS_CACHE_SERVER
                      && SSL_CTX_get_session_cache_mode(ctx) == SSL_SESS_CACHE_BOTH,
           "modes are read back");
    expect("F10", SSL_CTX_add_session(ctx, session) == 1 && SSL_CTX_add_session(ctx, session) == 0,
           "sessions are added");
    SSL_SESSION_set_time(session, 5000);
    SSL_SESSION_set_timeout(session, 10);
    flush(ctx, 5010);
    expect("F10", removals() == 0, "the setters work");
    flush(ctx, 5011);
    expect("F10", removals() == 1, "both of them");
    SSL_CTX_add_session(ctx, session);
    expect("F10", SSL_CTX_remove_session(ctx, session) == 1 && SSL_CTX_remove_session(ctx, session) == 0,
           "sessions are removed");
    expect("F10", removals() == 3, "with a callback for each call");
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
    forget_removals();
}

int main(int argc, char **argv)
{
    (void)argc;
    if (getenv("SSLSWEEP_DISABLE") == NULL) {
        setenv("SSLSWEEP_DISABLE", "1", 1);
        execv(argv[0], argv);
        give_up("execv");
    }
    flushes();
    stock_habits();
    functions();
    expect("F10", no_errors(), "no error is left in the queue");
    return done();
}
