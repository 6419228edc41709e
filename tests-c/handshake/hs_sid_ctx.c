/* The session id context separates what one cache holds; the cache must not bypass that. */
#include "handshake.h"
#include <string.h>

static hs_result resume_as(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session, const char *name)
{
    hs_pair pair = hs_new(server, client, session);
    SSL_set_session_id_context(pair.server, (const unsigned char *)name, (unsigned)strlen(name));
    hs_result result = hs_drive(&pair);
    hs_close(&pair);
    return result;
}

static void separate(int version)
{
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS), *client = hs_client(version);
    record_removals(server, 'A');
    forget_removals();
    SSL_SESSION *session = hs_first(server, client);
    expect("C9", resume_as(server, client, session, "others") == HS_FULL, "another id context: not resumed");
    say("TLS 1.%d: %zu removed, %s", version - TLS1_VERSION, removals(), hs_counters(server));
    expect("C9", resume_as(server, client, session, "tests") == HS_RESUMED, "its own: resumed");
    say("TLS 1.%d: %zu removed, %s", version - TLS1_VERSION, removals(), hs_counters(server));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A session without id context must not be resumed where the peer is to be verified: libssl fails the
 * handshake, so that the program notices. */
static void verify_without(int version)
{
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS), *client = hs_client(version);
    record_removals(server, 'A');
    forget_removals();
    SSL_CTX_set_session_id_context(server, (const unsigned char *)"", 0);

    SSL_SESSION *session = hs_first(server, client);
    say("TLS 1.%d, no id context: number %ld", version - TLS1_VERSION, SSL_CTX_sess_number(server));
    SSL_SESSION *copy = SSL_SESSION_dup(session); /* the failure makes the client give up its own */
    hs_pair pair = hs_new(server, client, session);
    SSL_set_verify(pair.server, SSL_VERIFY_PEER, NULL);
    expect("C9", hs_drive(&pair) == HS_FAILED, "to be verified: the handshake fails");
    expect("C9", pair.server_error == SSL_R_SESSION_ID_CONTEXT_UNINITIALIZED, "with libssl's reason");
    hs_close(&pair);
    say("TLS 1.%d: %zu removed, %s", version - TLS1_VERSION, removals(), hs_counters(server));
    say("without verification: %s", hs_word(hs_resume(server, client, copy)));
    SSL_SESSION_free(copy);
    SSL_SESSION_free(session);

    flush(server, 0);
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER, NULL);
    session = hs_first(server, client);
    expect("C1", SSL_CTX_sess_number(server) == 0, "and such sessions are not stored");
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    limit_time();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        separate(version);
        verify_without(version);
    }
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
