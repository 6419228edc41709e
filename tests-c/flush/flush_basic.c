/* Which sessions a flush removes, and what it leaves alone. */
#include "support.h"

#include <dlfcn.h>

static void boundaries(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    store(ctx, 1, 1000, 100);
    store(ctx, 2, 1000, 101);
    store(ctx, 3, 900, 200);
    store(ctx, 4, 1000, 0);

    flush(ctx, 1000);
    expect("F1", removals() == 0, "expiry == tm stays");
    flush(ctx, 1001);
    expect("F1", removals() == 1, "tm = expiry + 1 removes: %s", removed_sorted());
    flush(ctx, 1100);
    expect("F1", removals() == 1, "nothing between two expiries");
    flush(ctx, 1101);
    expect("F1", removals() == 3, "expiry is time + timeout, both count: %s", removed_sorted());
    flush(ctx, 1101);
    expect("F1", removals() == 3 && SSL_CTX_sess_number(ctx) == 1, "the same tm again removes nothing");

    flush(ctx, 0);
    expect("F2", removals() == 4 && SSL_CTX_sess_number(ctx) == 0, "tm == 0 removes every session");
    flush(ctx, 0);
    flush(ctx, 5000);
    expect("F2", removals() == 4, "flushing an empty cache is nothing");
    SSL_CTX_free(ctx);
    forget_removals();
}

static void everything(void)
{
    const unsigned many = slowly() ? 500 : 5000;
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    for (unsigned n = 1; n <= many; n++)
        store(ctx, n, 1000 + n % 7, 100 + (n % 2 ? 0 : 1000000));
    expect("F1", SSL_CTX_sess_number(ctx) == (long)many, "all are stored");
    flush(ctx, 1200);
    expect("F1", removals() == many / 2 && SSL_CTX_sess_number(ctx) == (long)many / 2,
           "exactly the expired half leaves");
    flush(ctx, 0);
    expect("F2", removals() == many && SSL_CTX_sess_number(ctx) == 0, "then all the others");
    SSL_CTX_free(ctx);
    expect("F2", removals() == many, "and nothing is left for the end");
    forget_removals();
}

static void other_contexts(void)
{
    SSL_CTX *a = server_context(), *b = server_context();
    record_removals(a, 'A');
    record_removals(b, 'B');
    /* The same ids in both: a different object each. */
    for (unsigned n = 1; n <= 3; n++) {
        store(a, n, 1000, 100);
        store(b, n, 1000, 100);
    }
    flush(a, 2000);
    expect("F3", SSL_CTX_sess_number(b) == 3, "another context keeps its sessions: %s", removed_sorted());
    flush(b, 2000);
    expect("F3", removals() == 6, "until it is flushed itself");
    SSL_CTX_free(a);
    SSL_CTX_free(b);
    forget_removals();
}

static int lookups, news;

static SSL_SESSION *count_lookup(SSL *ssl, const unsigned char *id, int len, int *copy)
{
    (void)ssl, (void)id, (void)len, (void)copy;
    lookups++;
    return NULL;
}

static int count_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    news++;
    return 0;
}

static void external_cache(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_get_cb(ctx, count_lookup);
    SSL_CTX_sess_set_new_cb(ctx, count_new);
    store(ctx, 1, 1000, 100);
    store(ctx, 2, 1000, 5000);
    flush(ctx, 2000);
    flush(ctx, 0);
    expect("F3", lookups == 0 && news == 0, "the external cache is not asked: removed %s", removed_sorted());
    SSL_CTX_free(ctx);
    forget_removals();
}

static void both_functions(void)
{
    SSL_CTX *ctx = server_context();
    void (*flush_ex)(SSL_CTX *, time_t);
    record_removals(ctx, 'A');
    store(ctx, 1, 1000, 100);
    store(ctx, 2, 1000, 200);
    store(ctx, 3, 1000, 300);
    store(ctx, 4, 1000, 400);
    SSL_CTX_flush_sessions(ctx, 1100);
    expect("F7", removals() == 0, "the legacy function: expiry == tm stays");
    SSL_CTX_flush_sessions(ctx, 1101);
    expect("F7", removals() == 1, "the legacy function removes the expired: %s", removed_sorted());

    /* libssl 1.1.1 and 3.0 to 3.3 do not have the other one. */
    *(void **)&flush_ex = dlsym(RTLD_DEFAULT, "SSL_CTX_flush_sessions_ex");
    better("F11", flush_ex != NULL, "the process has SSL_CTX_flush_sessions_ex");
    if (flush_ex != NULL)
        flush_ex(ctx, 1200);
    better("F11", removals() == 1, "expiry == tm stays");
    if (flush_ex != NULL)
        flush_ex(ctx, 1201);
    better("F11", removals() == 2, "the expired leave");
    if (flush_ex != NULL)
        flush_ex(ctx, 0);
    better("F11", removals() == 4, "0 removes all");
    SSL_CTX_free(ctx);
    forget_removals();
}

/* A client's context, and one whose mode is off: what was added is there to be flushed. */
static void any_context(void)
{
    SSL_CTX *client = SSL_CTX_new(TLS_client_method()), *off = SSL_CTX_new(TLS_method());
    record_removals(client, 'C');
    record_removals(off, 'O');
    SSL_CTX_set_session_cache_mode(off, SSL_SESS_CACHE_OFF);
    store(client, 1, 1000, 100);
    store(off, 2, 1000, 100);
    flush(client, 1101);
    flush(off, 1101);
    expect("F1", removals() == 2, "client's and mode-off contexts are flushed as well: %s", removed_sorted());
    SSL_CTX_free(client);
    SSL_CTX_free(off);
    forget_removals();
}

int main(void)
{
    boundaries();
    everything();
    other_contexts();
    external_cache();
    both_functions();
    any_context();
    expect("F1", no_errors(), "no error is left in the queue");
    return done();
}
