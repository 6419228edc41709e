/* C2, F5: the callback of an eviction may use the cache that is just making room. Up to 3.6.3 stock
 * calls it under the context's lock: from 3.0 on these calls return 0 or do nothing there, in 1.1.1 they unlock it. */
#include "support.h"

static int made, gone, gone_index, depth;
static void (*action)(SSL_CTX *ctx, SSL_SESSION *session);

static void on_gone(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    gone += ptr != NULL;
}

static void add(SSL_CTX *ctx, unsigned n, long timeout)
{
    SSL_SESSION *session = numbered_session(n, 1000, timeout);
    SSL_SESSION_set_ex_data(session, gone_index, &gone);
    SSL_CTX_add_session(ctx, session);
    SSL_SESSION_free(session);
    made++;
}

static void act(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (++depth <= 20 && action != NULL)
        action(ctx, session);
    depth--;
}

static void run(void (*what)(SSL_CTX *, SSL_SESSION *), const char *text)
{
    SSL_CTX *ctx = server_context();
    forget_removals();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_remove_cb(ctx, act);
    SSL_CTX_sess_set_cache_size(ctx, 50);
    made = gone = 0;
    for (unsigned n = 1; n <= 50; n++)
        add(ctx, n, 100 + (long)n);
    action = what;
    add(ctx, 51, 500);
    action = NULL;
    long held = SSL_CTX_sess_number(ctx);
    better("C1", held <= 50, "%s: no more than there is room for", text);
    better("C2", removals() > 0 && removal_at(0).session == 1, "%s: the first to expire was the first to go", text);
    SSL_CTX_free(ctx);
    better("C2", gone == made, "%s: no session is lost or dropped twice", text);
}

static void add_another(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)session;
    add(ctx, 1000 + (unsigned)depth, 600);
}

static void add_it_again(SSL_CTX *ctx, SSL_SESSION *session)
{
    SSL_CTX_add_session(ctx, session);
}

static void flush_half(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)session;
    flush(ctx, 1125);
}

static void flush_all(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)session;
    flush(ctx, 0);
}

static void remove_by_key(SSL_CTX *ctx, SSL_SESSION *session)
{
    SSL_SESSION *next = numbered_session(session_number(session) + 1, 1, 1), *newest = numbered_session(51, 1, 1);
    void (*during)(SSL_CTX *, SSL_SESSION *) = action;
    action = NULL;
    SSL_CTX_remove_session(ctx, next);
    SSL_CTX_remove_session(ctx, newest);
    action = during;
    SSL_SESSION_free(next);
    SSL_SESSION_free(newest);
}

static void shrink(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)session;
    SSL_CTX_sess_set_cache_size(ctx, 10);
    add(ctx, 1000 + (unsigned)depth, 600);
}

static void change(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx;
    SSL_SESSION_set_time(session, 9000);
    SSL_SESSION_set_timeout(session, 9000);
    SSL_SESSION_set1_id(session, (const unsigned char *)"x", 1);
}

int main(void)
{
    if (!libssl_since(0x300) && stock_cannot("F5", "these calls unlock the lock of the eviction that calls back"))
        return done();
    gone_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, on_gone);
    run(add_another, "adding others");
    run(add_it_again, "adding the evicted again");
    run(flush_half, "flushing some");
    run(flush_all, "flushing all");
    run(remove_by_key, "removing by key");
    run(shrink, "making the cache smaller");
    run(change, "changing what was evicted");
    better("C2", no_errors(), "no error is left in the queue");
    return done();
}
