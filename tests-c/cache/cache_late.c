/* C15: contexts and sessions that are used and freed by an atexit handler or destructor, some of them
 * after libcrypto's own cleanup. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

static SSL_CTX *early, *later;
static int calls;

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    calls++;
}

static SSL_CTX *filled_context(void)
{
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    for (unsigned n = 1; n <= 100; n++)
        store(ctx, n, 1000, (long)n);
    return ctx;
}

/* Registered last, so it runs first: libcrypto is still in order. */
static void at_exit_first(void)
{
    flush(later, 1051);
    printf("C15 - flushed at exit: %d\n", calls);
    SSL_CTX_free(later);
    printf("C15 - freed at exit: %d\n", calls);
    calls = 0;
}

/* Registered before libcrypto did: it runs after OPENSSL_cleanup. */
static void at_exit_last(void)
{
    SSL_CTX_free(early);
    printf("C15 - freed after the cleanup: %d\n", calls);
}

int main(void)
{
    atexit(at_exit_last);
    early = filled_context();
    later = filled_context();
    atexit(at_exit_first);
    expect("C15", calls == 0, "nothing has left yet");
    return done();
}
