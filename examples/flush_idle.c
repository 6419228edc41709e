/* Flushes a few sessions at a time, in the idle moments of an event loop.
 *
 *   linked:      cc flush_idle.c $(pkg-config --cflags --libs sslsweep) -lssl -lcrypto
 *   without:     cc flush_idle.c -I... -lssl -lcrypto, and sslsweep is used when it is preloaded
 *
 * The weak declaration makes one program do both: without sslsweep the function's address is NULL. */
#include <stdio.h>
#include <time.h>

#define OPENSSL_SUPPRESS_DEPRECATED /* every libssl has SSL_CTX_flush_sessions() */
#include <openssl/ssl.h>

#pragma weak sslsweep_flush
#include <sslsweep.h>

/* Called when the loop has nothing else to do. Returns whether there is more, so that the loop calls again
 * instead of sleeping. */
static int flush_a_little(SSL_CTX *ctx, time_t now)
{
    struct sslsweep_flushed flushed;

    if (sslsweep_flush == NULL || !sslsweep_flush(ctx, now, 0, 200 /* microseconds */, &flushed)) {
        SSL_CTX_flush_sessions(ctx, (long)now); /* libssl's own, which flushes everything at once */
        printf("flushed with libssl, in one go\n");
        return 0;
    }
    printf("flushed %llu, %llu are still due\n", (unsigned long long)flushed.removed,
           (unsigned long long)flushed.still_due);
    return flushed.still_due > 0;
}

/* A session as a handshake leaves it behind, for an example without a network. */
static void store(SSL_CTX *ctx, unsigned number, time_t made, long timeout)
{
    unsigned char id[32] = {(unsigned char)number, (unsigned char)(number >> 8), (unsigned char)(number >> 16)};
    SSL_SESSION *session = SSL_SESSION_new();

    SSL_SESSION_set_protocol_version(session, TLS1_2_VERSION);
    SSL_SESSION_set1_id(session, id, sizeof id);
    SSL_SESSION_set_time(session, (long)made);
    SSL_SESSION_set_timeout(session, timeout);
    SSL_CTX_add_session(ctx, session);
    SSL_SESSION_free(session);
}

int main(void)
{
    time_t now = time(NULL);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL)
        return 1;
    for (unsigned number = 0; number < 20000; number++)
        store(ctx, number, number % 2 ? now : now - 600, 300);

    /* The event loop: here it is always idle. */
    while (flush_a_little(ctx, now))
        continue;

    printf("%ld sessions are left\n", SSL_CTX_sess_number(ctx));
    SSL_CTX_free(ctx);
    return 0;
}
