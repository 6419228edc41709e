/* F5, C15: a callback may give up the context's last reference in the middle of the removal that it is
 * called from. The context stands until that is over; the other sessions leave with their callbacks. */
#include "support.h"

static int ex_index, freed_index;
static int calls, usable, contexts_gone, sessions_gone, calls_after;
static unsigned release_at;

static void context_gone(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    contexts_gone += ptr != NULL;
}

static void session_gone(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    sessions_gone += ptr != NULL;
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    calls++;
    calls_after += contexts_gone;
    usable += SSL_CTX_get_ex_data(ctx, ex_index) == &calls && session_number(session) != 0;
    if (session_number(session) == release_at)
        SSL_CTX_free(ctx);
}

static SSL_CTX *filled_context(unsigned count, unsigned at)
{
    SSL_CTX *ctx = server_context();
    SSL_CTX_set_ex_data(ctx, ex_index, &calls);
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    calls = usable = contexts_gone = sessions_gone = calls_after = 0;
    release_at = at;
    for (unsigned n = 1; n <= count; n++) {
        SSL_SESSION *session = numbered_session(n, 1000, 100 + (long)n);
        SSL_SESSION_set_ex_data(session, freed_index, &calls);
        SSL_CTX_add_session(ctx, session);
        SSL_SESSION_free(session);
    }
    return ctx;
}

static int all_well(int count)
{
    return calls == count && usable == count && sessions_gone == count && contexts_gone == 1 && calls_after == 0;
}

static void from_flush(void)
{
    const unsigned at[] = {1, 2, 33, 150, 299, 300};
    for (int i = 0; i < 6; i++) {
        flush(filled_context(300, at[i]), 0);
        better("F5", all_well(300), "flush(0), released at session %u of 300", at[i]);
    }
    /* Only some are due: the end of the context takes the others. */
    flush(filled_context(300, 50), 1200);
    better("C15", all_well(300), "flush(tm) of 99, released at session 50: all 300 leave");
    flush(filled_context(300, 99), 1200);
    better("C15", all_well(300), "flush(tm) of 99, released at the last one");
    SSL_CTX_flush_sessions(filled_context(10, 5), 0);
    better("F5", all_well(10), "the legacy flush");
}

static void from_eviction(void)
{
    SSL_CTX *ctx = filled_context(50, 1);
    SSL_SESSION *fresh = numbered_session(51, 1000, 9000);
    SSL_SESSION_set_ex_data(fresh, freed_index, &calls);
    SSL_CTX_sess_set_cache_size(ctx, 50);
    SSL_CTX_add_session(ctx, fresh);
    SSL_SESSION_free(fresh);
    better("C2", calls == usable && contexts_gone == 1 && sessions_gone == 51 && calls_after == 0,
           "released when an eviction calls back");
}

/* Here stock holds no lock. */
static void from_remove(void)
{
    SSL_CTX *ctx = filled_context(50, 7);
    SSL_SESSION *seventh = numbered_session(7, 1, 1);
    SSL_CTX_remove_session(ctx, seventh);
    SSL_SESSION_free(seventh);
    expect("C15", all_well(50), "released when SSL_CTX_remove_session calls back");
}

/* An SSL that goes in the callback may hold the last reference as well. */
static SSL *last_holder;

static void free_holder(SSL_CTX *ctx, SSL_SESSION *session)
{
    SSL *ssl = last_holder;
    calls++;
    calls_after += contexts_gone;
    usable += SSL_CTX_get_ex_data(ctx, ex_index) == &calls && session_number(session) != 0;
    last_holder = NULL;
    SSL_free(ssl);
}

static void by_an_ssl(void)
{
    SSL_CTX *ctx = filled_context(80, 0);
    SSL_CTX_sess_set_remove_cb(ctx, free_holder);
    last_holder = SSL_new(ctx);
    SSL_CTX_free(ctx);
    flush(ctx, 0);
    better("F5", all_well(80), "released by the end of an SSL in the callback");
}

int main(void)
{
    ex_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, context_gone);
    freed_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, session_gone);
    from_remove();
    if (!stock_cannot("F5", "SSL_CTX_free in a flush's callback frees what the flush goes on using")) {
        from_flush();
        from_eviction();
        by_an_ssl();
    }
    expect("F5", no_errors(), "no error is left in the queue");
    return done();
}
