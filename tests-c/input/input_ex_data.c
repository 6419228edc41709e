/* C7, C12, C15: the functions that a program registers with its ex_data are run by libssl in the middle of
 * making and freeing things. They are the program's code: they see its view, and may use any cache. */
#include "support.h"

static SSL_CTX *looked_at, *other;
static int calls, wrong;
static int last;

/* What the program set and stored, and never what the real libssl was given instead. */
static int sees_its_view(void)
{
    return SSL_CTX_get_session_cache_mode(looked_at) == SSL_SESS_CACHE_BOTH
           && SSL_CTX_sess_get_cache_size(looked_at) == 4321
           && SSL_CTX_sess_get_remove_cb(looked_at) == record_removal
           && SSL_CTX_sess_number(looked_at) == last;
}

static void use_other(void)
{
    SSL_SESSION *session = numbered_session(77, 1000, 100);
    wrong += SSL_CTX_add_session(other, session) != 1 || SSL_CTX_sess_number(other) != 1;
    wrong += SSL_CTX_remove_session(other, session) != 1 || SSL_CTX_sess_number(other) != 0;
    SSL_CTX_add_session(other, session);
    flush(other, 0);
    wrong += SSL_CTX_sess_number(other) != 0;
    SSL_SESSION_free(session);
}

static void on_new(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ptr, (void)ad, (void)idx, (void)argl, (void)argp;
    if (looked_at == NULL)
        return;
    calls++;
    wrong += !sees_its_view();
    if (argl)
        use_other();
}

/* For sessions only those that this marks: others come and go by use_other. */
static void on_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    if (ptr != NULL)
        on_new(parent, ptr, ad, idx, argl, argp);
}

static void check(int wanted, const char *what)
{
    expect("C7", calls == wanted && wrong == 0, "%s: called %d times, with the program's view", what, wanted);
    calls = wrong = 0;
}

static int session_index;

static void add(SSL_CTX *ctx, unsigned n, long timeout)
{
    SSL_SESSION *session = numbered_session(n, 1000, timeout);
    SSL_SESSION_set_ex_data(session, session_index, &calls);
    SSL_CTX_add_session(ctx, session);
    SSL_SESSION_free(session);
}

int main(void)
{
    session_index = SSL_SESSION_get_ex_new_index(1, NULL, NULL, NULL, on_free);
    SSL_get_ex_new_index(1, NULL, on_new, NULL, on_new);
    SSL_CTX_get_ex_new_index(1, NULL, on_new, NULL, on_new);

    SSL_CTX *ctx = server_context();
    other = server_context();
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH);
    SSL_CTX_sess_set_cache_size(ctx, 4321);
    record_removals(ctx, 'A');
    for (unsigned n = 1; n <= 5; n++)
        store(ctx, n, 1000, 9000);
    last = 5;
    looked_at = ctx;

    SSL_CTX *third = SSL_CTX_new(TLS_method());
    check(1, "SSL_CTX_new");
    SSL *ssl = SSL_new(third);
    check(1, "SSL_new");
    SSL *copy = SSL_dup(ssl);
    check(1, "SSL_dup");
    SSL_free(copy);
    SSL_free(ssl);
    check(2, "SSL_free");
    for (unsigned n = 10; n < 15; n++)
        add(third, n, 100);
    check(0, "storing");
    flush(third, 5000);
    check(5, "a flush");
    add(third, 20, 100);
    SSL_SESSION *same = numbered_session(20, 1, 1);
    SSL_CTX_remove_session(third, same);
    SSL_SESSION_free(same);
    check(1, "SSL_CTX_remove_session");
    for (unsigned n = 30; n < 33; n++)
        add(third, n, 100);
    SSL_CTX_free(third);
    check(4, "the end of a context with three sessions");

    looked_at = NULL;
    SSL_CTX_free(ctx);
    SSL_CTX_free(other);
    expect("C15", no_errors(), "no error is left in the queue");
    return done();
}
