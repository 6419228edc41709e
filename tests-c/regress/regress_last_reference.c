/* F5, F8, C15: a context whose last reference goes with a session that its own flush frees.
 *
 * The story: without a remove callback to wait for, each session of a batch was marked and freed in turn, and whether
 * the context had ended was asked before the freeing, in which ex_data functions of the program run. So the next session
 * was marked through a context that was no more. */
#include "support.h"

enum { MANY = 100 };

static int freed;

static void let_context_go(void *parent, void *ctx, CRYPTO_EX_DATA *data, int index, long l, void *p)
{
    (void)parent, (void)data, (void)index, (void)l, (void)p;
    if (ctx != NULL) {
        freed++;
        SSL_CTX_free(ctx);
    }
}

static void flush_with(int index, void (*callback)(SSL_CTX *, SSL_SESSION *), unsigned holder)
{
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_remove_cb(ctx, callback);
    SSL_SESSION *last = NULL;
    for (unsigned n = 1; n <= MANY; n++) {
        SSL_SESSION *session = numbered_session(n, 1000, 100);
        SSL_CTX_add_session(ctx, session);
        if (n == holder && (!SSL_CTX_up_ref(ctx) || !SSL_SESSION_set_ex_data(session, index, ctx)))
            give_up("the reference");
        if (n == MANY)
            last = session;
        else
            SSL_SESSION_free(session);
    }
    SSL_CTX_free(ctx); /* one is left */
    freed = 0;
    flush(ctx, 2000);
    (libssl_since(0x300) ? expect : better)("C15", freed == 1, "the context has ended in its flush, by session %u", holder);
    (libssl_since(0x300) ? expect : better)("C15", !SSL_SESSION_is_resumable(last), "the last session was in it");
    SSL_SESSION_free(last);
}

static void nothing(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
}

int main(void)
{
    int index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, let_context_go);
    /* 1.1.1 frees the sessions with the context's lock held. */
    if (libssl_since(0x300) || !stock_cannot("C15", "a context that ends inside its own flush")) {
        for (unsigned holder = 1; holder < MANY; holder += 33) {
            flush_with(index, NULL, holder);
            flush_with(index, nothing, holder);
        }
    }
    expect("C15", no_errors(), "no error is left in the queue");
    return done();
}
