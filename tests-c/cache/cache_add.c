/* C3, C4, C5, C16: adding and removing by hand, and what makes two sessions the same. */
#include "support.h"

#include <string.h>

static int freed, free_index;

static void on_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    freed += ptr != NULL;
}

static SSL_SESSION *watched(unsigned n)
{
    SSL_SESSION *session = numbered_session(n, 1000, 100);
    SSL_SESSION_set_ex_data(session, free_index, &freed);
    return session;
}

static void adding(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *one = watched(1), *same = watched(1);
    record_removals(ctx, 'A');
    freed = 0;
    expect("C3", SSL_CTX_add_session(ctx, one) == 1, "stored: 1");
    expect("C3", SSL_CTX_add_session(ctx, one) == 0, "this very object again: 0");
    expect("C3", SSL_CTX_sess_number(ctx) == 1, "and it is there once");
    expect("C3", SSL_CTX_add_session(ctx, same) == 1, "another object with the same key: 1");
    expect("C3", SSL_CTX_sess_number(ctx) == 1, "which takes the place");
    expect("C3", removals() == 0, "without a callback");
    expect("C3", SSL_SESSION_is_resumable(one), "the replaced one can still be resumed");
    SSL_SESSION_free(one);
    expect("C3", freed == 1, "and the cache holds no reference on it");
    SSL_SESSION_free(same);
    expect("C3", freed == 1, "but one on the other");
    flush(ctx, 0);
    expect("C3", freed == 2 && removals() == 1, "exactly one");
    SSL_CTX_free(ctx);
    forget_removals();
}

/* A program that uses only tickets, or keeps sessions elsewhere, may still add by hand. */
static void any_mode(void)
{
    const long modes[] = {SSL_SESS_CACHE_OFF, SSL_SESS_CACHE_CLIENT,
                          SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE,
                          SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP,
                          SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL,
                          SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        SSL_CTX *ctx = server_context();
        SSL_SESSION *session = numbered_session(1, 1000, 100);
        SSL_CTX_set_session_cache_mode(ctx, modes[i]);
        expect("C3", SSL_CTX_add_session(ctx, session) == 1 && SSL_CTX_sess_number(ctx) == 1
                         && SSL_CTX_add_session(ctx, session) == 0 && SSL_CTX_remove_session(ctx, session) == 1,
               "adding and removing work in mode %lx", modes[i]);
        SSL_SESSION_free(session);
        SSL_CTX_free(ctx);
    }
}

static void keys(void)
{
    static const unsigned char id[32] = {1, 2, 3, 4, 5, 6, 7, 8};
    unsigned char last[32];
    SSL_CTX *ctx = server_context();
    memcpy(last, id, sizeof last);
    last[31] = 1;
    SSL_SESSION *all[] = {
        make_session(TLS1_2_VERSION, id, 32, 1000, 100),   make_session(TLS1_3_VERSION, id, 32, 1000, 100),
        make_session(TLS1_1_VERSION, id, 32, 1000, 100),   make_session(TLS1_2_VERSION, id, 31, 1000, 100),
        make_session(TLS1_2_VERSION, id, 4, 1000, 100),    make_session(TLS1_2_VERSION, id, 1, 1000, 100),
        make_session(TLS1_2_VERSION, last, 32, 1000, 100), make_session(0, id, 32, 1000, 100),
        make_session(DTLS1_2_VERSION, id, 32, 1000, 100),
    };
    const int count = sizeof all / sizeof *all;
    for (int i = 0; i < count; i++)
        SSL_CTX_add_session(ctx, all[i]);
    expect("C4", SSL_CTX_sess_number(ctx) == count, "version, length and every byte of the id count");
    int found = 0;
    for (int i = count - 1; i >= 0; i--)
        found += SSL_CTX_remove_session(ctx, all[i]) && SSL_CTX_sess_number(ctx) == i;
    expect("C4", found == count, "each is found by its own key");
    for (int i = 0; i < count; i++)
        SSL_SESSION_free(all[i]);
    SSL_CTX_free(ctx);
}

/* Where all 32 bits that stock hashes are equal its table is one list, and this takes far too long. */
static void common_prefix(void)
{
    const unsigned count = slowly() ? 2000 : 200000;
    unsigned char id[32] = "common prefix";
    SSL_CTX *ctx = server_context();
    if (stock_cannot("C4", "it hashes four bytes: ids with a common prefix make its table a list")) {
        SSL_CTX_free(ctx);
        return;
    }
    SSL_CTX_sess_set_cache_size(ctx, 0);
    for (unsigned n = 0; n < count; n++) {
        memcpy(id + 28, &n, sizeof n);
        SSL_SESSION *session = make_session(TLS1_2_VERSION, id, sizeof id, 1000, 100);
        SSL_CTX_add_session(ctx, session);
        SSL_SESSION_free(session);
    }
    better("C4", SSL_CTX_sess_number(ctx) == (long)count, "ids with a common prefix are no burden");
    SSL_CTX_free(ctx);
}

static SSL_SESSION *seen;
static int calls;

static void note(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx;
    seen = session;
    calls++;
}

static void removing(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *stored = watched(1), *same = watched(1), *empty = make_session(TLS1_2_VERSION, "", 0, 1000, 100);
    SSL_CTX_sess_set_remove_cb(ctx, note);
    freed = calls = 0;
    SSL_CTX_add_session(ctx, stored);
    expect("C5", SSL_CTX_remove_session(ctx, same) == 1, "another object with the same key: 1");
    expect("C5", SSL_CTX_sess_number(ctx) == 0, "takes out what was stored under it");
    expect("C5", calls == 1 && seen == same, "the callback is given the argument");
    expect("C5", !SSL_SESSION_is_resumable(same), "which is marked");
    expect("C5", SSL_SESSION_is_resumable(stored), "the stored object is not");
    SSL_SESSION_free(stored);
    expect("C5", freed == 1, "and its reference is dropped");

    SSL_SESSION *absent = watched(2);
    expect("C5", SSL_CTX_remove_session(ctx, absent) == 0, "nothing stored: 0");
    expect("C5", calls == 2 && seen == absent, "with a callback all the same");
    expect("C5", !SSL_SESSION_is_resumable(absent), "and marked");
    expect("C5", SSL_CTX_remove_session(ctx, NULL) == 0 && calls == 2, "NULL: 0, no callback");
    expect("C5", SSL_CTX_remove_session(ctx, empty) == 0 && calls == 2, "a zero-length id: 0, no callback");

    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    SSL_SESSION *quiet = watched(3);
    SSL_CTX_add_session(ctx, quiet);
    expect("C5", SSL_CTX_remove_session(ctx, quiet) == 1 && calls == 2, "without a callback set: 1, in silence");
    expect("C5", !SSL_SESSION_is_resumable(quiet), "and marked");
    expect("C3", SSL_CTX_add_session(ctx, quiet) == 1, "what was removed can be added again");
    SSL_CTX_free(ctx);
    SSL_SESSION_free(same);
    SSL_SESSION_free(absent);
    SSL_SESSION_free(empty);
    SSL_SESSION_free(quiet);
    expect("C5", freed == 4, "no reference is lost");
}

static void identity(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *session = watched(7);
    SSL_CTX_sess_set_remove_cb(ctx, note);
    SSL_CTX_add_session(ctx, session);
    calls = 0;
    flush(ctx, 0);
    expect("C16", calls == 1 && seen == session, "a flush hands out the very object that was stored");
    SSL_CTX_add_session(ctx, session);
    SSL_CTX_free(ctx);
    expect("C16", calls == 2 && seen == session, "so does the end of a context");
    SSL_SESSION_free(session);
}

int main(void)
{
    free_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, on_free);
    adding();
    any_mode();
    keys();
    common_prefix();
    removing();
    identity();
    expect("C3", no_errors(), "no error is left in the queue");
    return done();
}
