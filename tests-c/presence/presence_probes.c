/* O7: what fires the probes. The operations are those of any program; `# probe` lines say what a tracer must have
 * seen, and probes.t holds what one saw against them. */
#include "handshake.h"

#include <stdio.h>

static void fires(const char *name, const void *ctx, const void *session, long long number)
{
    printf("# probe %s %p", name, ctx);
    if (session != NULL)
        printf(" %p", session);
    if (number >= 0)
        printf(" %lld", number);
    printf("\n");
}

#define NONE (-1ll)

static void by_hand(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *session[5];
    SSL_CTX_sess_set_cache_size(ctx, size_to_hold(2));
    for (unsigned n = 1; n <= 4; n++)
        session[n] = numbered_session(n, 1000, 100 * (long)n);
    for (unsigned n = 1; n <= 3; n++) {
        SSL_CTX_add_session(ctx, session[n]);
        fires("store", ctx, session[n], 1000 + 100 * n);
    }
    fires("evict", ctx, session[1], NONE);
    flush(ctx, 1000); /* nothing is due: no flush */
    flush(ctx, 1201);
    fires("flush__start", ctx, NULL, 1201);
    fires("expire", ctx, session[2], NONE);
    fires("flush__done", ctx, NULL, 1);
    SSL_CTX_remove_session(ctx, session[3]); /* one by one: no probe */
    SSL_CTX_add_session(ctx, session[4]);
    fires("store", ctx, session[4], 1400);
    expect("O7", SSL_CTX_sess_number(ctx) == 1, "one is left");
    fires("flush__start", ctx, NULL, 0);
    fires("expire", ctx, session[4], NONE);
    fires("flush__done", ctx, NULL, 1);
    SSL_CTX_free(ctx);
    for (unsigned n = 1; n <= 4; n++)
        SSL_SESSION_free(session[n]);
}

/* Several leave for one when the size has become smaller. */
static void several_evicted(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *session[5];
    for (unsigned n = 1; n <= 4; n++)
        session[n] = numbered_session(n, 1000, 100 * (long)n);
    SSL_CTX_sess_set_cache_size(ctx, 0);
    for (unsigned n = 1; n <= 3; n++) {
        SSL_CTX_add_session(ctx, session[n]);
        fires("store", ctx, session[n], 1000 + 100 * n);
    }
    SSL_CTX_sess_set_cache_size(ctx, size_to_hold(1));
    SSL_CTX_add_session(ctx, session[4]);
    /* Those that are too many, and then one in whose place it comes. */
    for (unsigned n = 1; n <= 2; n++)
        fires("evict", ctx, session[n], NONE);
    fires("store", ctx, session[4], 1400);
    fires("evict", ctx, session[3], NONE);
    expect("O7", SSL_CTX_sess_number(ctx) == 1, "one is left of four");
    SSL_CTX_remove_session(ctx, session[4]);
    SSL_CTX_free(ctx);
    for (unsigned n = 1; n <= 4; n++)
        SSL_SESSION_free(session[n]);
}

static void by_handshakes(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client), *stored = hs_stored(server, session);
    long expiry = SSL_SESSION_get_time(stored) + SSL_SESSION_get_timeout(stored);
    fires("store", server, stored, expiry);
    expect("O7", hs_resume(server, client, session) == HS_RESUMED, "a session is resumed");
    fires("hit", server, stored, NONE);
    SSL_CTX_remove_session(server, stored);
    fires("miss", server, NULL, NONE);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    expect("O7", hs_resume(server, client, session) == HS_FULL, "and once it is removed, is not");
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    limit_time();
    by_hand();
    several_evicted();
    by_handshakes();
    return done();
}
