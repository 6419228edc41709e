/* A constructor makes a context and shakes hands before main, before any of libssl's or our own
 * initialisation can have run on purpose; a destructor uses it after exit. */
#include "handshake.h"

#include <stdio.h>

static SSL_CTX *server, *client;
static SSL_SESSION *session;
static hs_result early;
static long number;

/* The priority puts it before the constructors of support.c, which print. */
__attribute__((constructor(101))) static void before_main(void)
{
    server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    client = hs_client(TLS1_2_VERSION);
    record_removals(server, 'A');
    session = hs_first(server, client);
    early = hs_resume(server, client, session);
    number = SSL_CTX_sess_number(server);
}

/* libcrypto's own cleanup has run by then. */
__attribute__((destructor(101))) static void after_main(void)
{
    SSL_CTX_free(server);
    printf("C15 - callbacks when all is over: %zu\n", removals());
}

int main(void)
{
    limit_time();
    expect("P1", early == HS_RESUMED && number == 1, "a handshake and a resumption before main");
    expect("P1", hs_resume(server, client, session) == HS_RESUMED, "the session resumes in main");
    SSL_CTX_sess_set_cache_size(server, 3);
    for (unsigned n = 1; n <= 5; n++)
        store(server, n, time(NULL), 100 + (long)n);
    better("C1", SSL_CTX_sess_number(server) == 3, "the cache is ours");
    flush(server, 0);
    expect("P1", hs_resume(server, client, session) == HS_FULL, "flushed, it does not");
    say("number %ld, callbacks %zu", SSL_CTX_sess_number(server), removals());
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    return done();
}
