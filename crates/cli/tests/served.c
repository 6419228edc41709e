/* A server's work whose figures are known beforehand, for the tests of the command: it says what it did, and what the public API
 * tells of it, one "CONTEXT FIGURE NUMBER" a line; then "ready". Each further line of input makes it store seven more
 * sessions in its second context; the end of input ends it. */
#include "handshake.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void say_figures(int context, SSL_CTX *ctx)
{
    printf("%d sessions %ld\n%d evictions %ld\n%d misses %ld\n%d sessions_limit %ld\n", context,
           SSL_CTX_sess_number(ctx), context, SSL_CTX_sess_cache_full(ctx), context, SSL_CTX_sess_misses(ctx), context,
           SSL_CTX_sess_get_cache_size(ctx));
}

int main(void)
{
    time_t now = time(NULL);
    SSL_CTX *one = hs_server(ANY_TLS, WITHOUT_TICKETS), *two = hs_server(ANY_TLS, WITHOUT_TICKETS);
    SSL_CTX *three = hs_server(ANY_TLS, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);

    /* Three that are found, one that is not, then twenty in the place of ten. */
    SSL_SESSION *session = hs_first(one, client);
    for (int i = 0; i < 3; i++)
        if (hs_resume(one, client, session) != HS_RESUMED)
            return 3;
    SSL_SESSION *stored = hs_stored(one, session);
    SSL_CTX_remove_session(one, stored);
    if (hs_resume(one, client, session) != HS_FULL)
        return 3;
    SSL_CTX_sess_set_cache_size(one, 10);
    for (unsigned n = 1; n <= 20; n++)
        store(one, n, now, 100000 + (long)n);
    say_figures(1, one);
    printf("1 hits 3\n1 stores 22\n1 removals 1\n1 flushed 0\n1 flushes 0\n");

    /* Thirty have expired, twelve have not. */
    for (unsigned n = 1; n <= 30; n++)
        store(two, n, now - 1000, 100);
    for (unsigned n = 31; n <= 42; n++)
        store(two, n, now, 100000);
    flush(two, now);
    say_figures(2, two);
    printf("2 hits 0\n2 stores 42\n2 removals 0\n2 flushed 30\n2 flushes 1\n2 last_flush_sessions 30\n");

    /* A context that has ended. */
    for (unsigned n = 1; n <= 5; n++)
        store(three, n, now, 100000);
    SSL_CTX_free(three);
    printf("ended stores 5\nended left_at_end 5\nended flushed 0\nended flushes 0\nready\n");
    fflush(stdout);

    char line[64];
    for (unsigned n = 100; fgets(line, sizeof line, stdin) != NULL; n += 7) {
        for (unsigned i = 0; i < 7; i++)
            store(two, n + i, now, 100000);
        printf("more\n");
        fflush(stdout);
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(two);
    SSL_CTX_free(one);
    return 0;
}
