/* F4: what a remove callback is given during a flush, and what happens to the references. */
#include "support.h"

#include <string.h>

static int freed;           /* sessions whose last reference went */
static int calls, good;     /* callbacks, and those that saw what is promised */
static SSL_CTX *expected_ctx;

static void on_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    if (ptr != NULL)
        freed++;
}

static int free_index;

static SSL_SESSION *watched_session(unsigned n, time_t time, long timeout)
{
    SSL_SESSION *session = numbered_session(n, time, timeout);
    SSL_SESSION_set_ex_data(session, free_index, &freed);
    return session;
}

/* Everything readable, not resumable, out of the cache: the number is one that no longer counts it. */
static void inspect(SSL_CTX *ctx, SSL_SESSION *session)
{
    unsigned length = 0;
    const unsigned char *id = SSL_SESSION_get_id(session, &length);
    int was_freed = freed;
    calls++;
    good += ctx == expected_ctx && length == 32 && id[31] == 0x5a && session_number(session) > 0
            && SSL_SESSION_get_time(session) == 1000 && SSL_SESSION_get_timeout(session) == 100
            && SSL_SESSION_get_protocol_version(session) == TLS1_2_VERSION
            && !SSL_SESSION_is_resumable(session) && freed == was_freed;
}

static SSL_CTX *context(void (*callback)(SSL_CTX *, SSL_SESSION *))
{
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_remove_cb(ctx, callback);
    expected_ctx = ctx;
    calls = good = freed = 0;
    return ctx;
}

static void add(SSL_CTX *ctx, unsigned n)
{
    SSL_SESSION *session = watched_session(n, 1000, 100);
    SSL_CTX_add_session(ctx, session);
    SSL_SESSION_free(session);
}

static void with_callback(void)
{
    SSL_CTX *ctx = context(inspect);
    for (unsigned n = 1; n <= 40; n++)
        add(ctx, n);
    expect("F4", freed == 0, "the cache holds a reference on what it stores");
    flush(ctx, 1101);
    expect("F4", calls == 40, "the callback runs once for each session");
    expect("F4", good == 40, "with the context and a valid session that cannot be resumed");
    expect("F4", freed == 40, "then the cache's reference is dropped");
    SSL_CTX_free(ctx);
    expect("F4", calls == 40 && freed == 40, "and that was the only time");
}

static void without_callback(void)
{
    SSL_CTX *ctx = context(NULL);
    SSL_SESSION *kept = watched_session(1, 1000, 100);
    SSL_CTX_add_session(ctx, kept);
    add(ctx, 2);
    flush(ctx, 1101);
    expect("F4", freed == 1 && SSL_CTX_sess_number(ctx) == 0, "no callback: the session is dropped");
    expect("F4", !SSL_SESSION_is_resumable(kept), "and marked for whoever still holds it");
    SSL_CTX_free(ctx);
    expect("F4", freed == 1, "the holder's own reference is left alone");
    SSL_SESSION_free(kept);
    expect("F4", freed == 2, "until the holder drops it");
}

static SSL_SESSION *taken;

static void keep_one(SSL_CTX *ctx, SSL_SESSION *session)
{
    inspect(ctx, session);
    if (session_number(session) == 2 && SSL_SESSION_up_ref(session))
        taken = session;
}

static void reference_taken(void)
{
    SSL_CTX *ctx = context(keep_one);
    for (unsigned n = 1; n <= 3; n++)
        add(ctx, n);
    flush(ctx, 0);
    expect("F4", calls == 3 && freed == 2, "a reference taken in the callback keeps the session");
    SSL_CTX_free(ctx);
    expect("F4", session_number(taken) == 2, "even beyond the context");
    SSL_SESSION_free(taken);
    expect("F4", freed == 3, "then it is gone");
}

static void number_inside(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    store(ctx, 1, 1000, 100);
    flush(ctx, 1101);
    expect("F4", removal_at(0).stored == 0, "a lone session is already out of the cache in its callback");
    forget_removals();
    store(ctx, 1, 1000, 100);
    store(ctx, 2, 1000, 9000);
    flush(ctx, 1101);
    expect("F4", removal_at(0).stored == 1, "and the one that stays is counted");
    forget_removals();
    for (unsigned n = 3; n <= 200; n++)
        store(ctx, n, 1000, 100);
    flush(ctx, 1101);
    int out = removals() == 198;
    for (size_t i = 0; i < removals(); i++)
        out = out && removal_at(i).stored <= 198 - (long)i;
    expect("F4", out, "of many, none is counted any more when its callback runs");
    forget_removals();
    SSL_CTX_free(ctx);
}

int main(void)
{
    free_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, on_free);
    with_callback();
    without_callback();
    reference_taken();
    number_inside();
    expect("F4", no_errors(), "no error is left in the queue");
    return done();
}
