/* C15: the end of a context takes its sessions out with callbacks, while the context and everything that
 * the program keeps in it can still be used, whenever and however that was registered. */
#include "support.h"

#define SESSIONS 70

static struct {
    int index;
    int freed; /* times that the free function ran */
    int calls_then; /* callbacks that had run by then */
} slot[4];

static int calls, usable;
static SSL_CTX *ending;

static void on_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)ad, (void)argp;
    if (ptr == NULL)
        return;
    usable += parent == ending && idx == slot[argl].index && ptr == &slot[argl];
    slot[argl].freed++;
    slot[argl].calls_then = calls;
    /* Touching the cache from here is allowed: libssl's own comments say so. */
    if (SSL_CTX_sess_number(parent) != 0)
        calls = -1000;
    flush(parent, 0);
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    int ok = ctx == ending && session_number(session) != 0 && SSL_CTX_get_app_data(ctx) == &calls;
    for (int i = 0; i < 4; i++)
        ok = ok && SSL_CTX_get_ex_data(ctx, slot[i].index) == &slot[i] && slot[i].freed == 0;
    ok = ok && SSL_CTX_sess_get_cache_size(ctx) == 1234 && SSL_CTX_get_timeout(ctx) == 77
         && SSL_CTX_get_session_cache_mode(ctx) == SSL_SESS_CACHE_BOTH
         && SSL_CTX_sess_get_remove_cb(ctx) == on_remove && SSL_CTX_sess_number(ctx) < SESSIONS
         && !SSL_SESSION_is_resumable(session);
    calls++;
    usable += ok;
}

static void new_index(int i)
{
    slot[i].index = SSL_CTX_get_ex_new_index(i, NULL, NULL, NULL, i % 2 ? on_free : NULL);
}

static SSL_CTX *filled_context(void)
{
    SSL_CTX *ctx = server_context();
    SSL_CTX_set_app_data(ctx, &calls);
    for (int i = 0; i < 4; i++) {
        SSL_CTX_set_ex_data(ctx, slot[i].index, &slot[i]);
        slot[i].freed = 0;
        slot[i].calls_then = -1;
    }
    SSL_CTX_sess_set_cache_size(ctx, 1234);
    SSL_CTX_set_timeout(ctx, 77);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH);
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    for (unsigned n = 1; n <= SESSIONS; n++)
        store(ctx, n, 1000, 100);
    calls = usable = 0;
    return ending = ctx;
}

static void check(const char *what)
{
    expect("C15", calls == SESSIONS, "%s: a callback for each session", what);
    expect("C15", usable == SESSIONS + 2, "%s: the context and its data were usable in each", what);
    expect("C15", slot[1].freed == 1 && slot[3].freed == 1, "%s: the data was freed once", what);
    expect("C15", slot[1].calls_then == SESSIONS && slot[3].calls_then == SESSIONS, "%s: after the callbacks", what);
}

static void references(void)
{
    SSL_CTX *ctx = filled_context();
    SSL_CTX_up_ref(ctx);
    SSL_CTX_free(ctx);
    expect("C15", calls == 0 && SSL_CTX_sess_number(ctx) == SESSIONS, "one reference of two: nothing happens");
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    expect("C15", calls == 0, "a connection holds the last one");
    SSL_free(ssl);
    check("freed by SSL_free");
}

static int late_calls;

static void on_remove_adding(SSL_CTX *ctx, SSL_SESSION *session)
{
    if (late_calls++ < 1000)
        SSL_CTX_add_session(ctx, session);
}

static int sessions_gone;

static void on_session_gone(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    sessions_gone += ptr != NULL;
}

/* Nothing may be kept by a context that is going, or called back about when it is gone. */
static void adding_at_the_end(void)
{
    if (!libssl_since(0x300) && stock_cannot("C15", "adding from a callback unlocks the lock of SSL_CTX_free's flush"))
        return;
    int index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, on_session_gone);
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_remove_cb(ctx, on_remove_adding);
    for (unsigned n = 1; n <= 10; n++) {
        SSL_SESSION *session = numbered_session(n, 1000, 100);
        SSL_SESSION_set_ex_data(session, index, &sessions_gone);
        SSL_CTX_add_session(ctx, session);
        SSL_SESSION_free(session);
    }
    SSL_CTX_free(ctx);
    better("C15", late_calls >= 10 && late_calls < 1000, "callbacks that add again do not hold the end up");
    better("C15", sessions_gone == 10, "and no session is lost");
}

static void many(void)
{
    int all = 1;
    for (int i = 0; i < 100; i++) {
        SSL_CTX *ctx = filled_context();
        if (i % 2)
            flush(ctx, 0);
        SSL_CTX_free(ctx);
        all = all && calls == SESSIONS && slot[1].freed == 1;
    }
    expect("C15", all, "a hundred contexts one after another");
}

int main(void)
{
    /* Two before libssl has seen any context, two after. */
    new_index(0);
    new_index(1);
    SSL_CTX_free(SSL_CTX_new(TLS_method()));
    new_index(2);
    new_index(3);

    SSL_CTX_free(filled_context());
    check("freed");
    references();
    adding_at_the_end();
    many();
    SSL_CTX_free(NULL);
    expect("C15", no_errors(), "no error is left in the queue");
    return done();
}
