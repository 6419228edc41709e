/* C15: a process that ends with contexts, sessions and connections in its hands crashes nowhere, and
 * nothing is called back; nor when something of ours is freed very late. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

static SSL_CTX *contexts[20];
static SSL *connection;
static SSL_SESSION *kept;
static int ending;

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    if (ending)
        printf("FAILED C15 - a callback at the end of the process\n");
}

/* Runs after what libcrypto registered with atexit, as destructors of global objects may. */
__attribute__((destructor)) static void late(void)
{
    printf("C15 - the last destructor is reached\n");
}

int main(void)
{
    for (int i = 0; i < 20; i++) {
        contexts[i] = server_context();
        SSL_CTX_sess_set_remove_cb(contexts[i], on_remove);
        for (unsigned n = 1; n <= 100; n++)
            store(contexts[i], n, 1000, 100);
    }
    flush(contexts[0], 0);
    connection = SSL_new(contexts[1]);
    SSL_set_SSL_CTX(connection, contexts[2]);
    kept = numbered_session(500, 1000, 100);
    SSL_CTX_add_session(contexts[3], kept);
    expect("C15", SSL_CTX_sess_number(contexts[3]) == 101, "everything is left as it is");
    ending = 1;
    return done();
}
