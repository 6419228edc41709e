/* DTLS 1.2 with session ids. The key holds the version: a DTLS session is no TLS session. */
#include "handshake.h"

static SSL_SESSION *given;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    given = session;
    number_session(session, 1);
    return 0;
}

int main(void)
{
    limit_time();
    SSL_CTX *server = hs_server(DTLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(DTLS1_2_VERSION);
    SSL_CTX_sess_set_new_cb(server, on_new);
    record_removals(server, 'D');

    SSL_SESSION *session = hs_first(server, client);
    SSL_SESSION *stored = hs_stored(server, session);
    expect("C1", SSL_CTX_sess_number(server) == 1 && stored == given, "stored");
    expect("C4", SSL_SESSION_get_protocol_version(stored) == DTLS1_2_VERSION, "as DTLS 1.2");
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "resumed");
    say("%s", hs_counters(server));

    unsigned length;
    const unsigned char *id = SSL_SESSION_get_id(session, &length);
    SSL_SESSION *same_id = make_session(TLS1_2_VERSION, id, length, time(NULL), 300);
    expect("C4", SSL_CTX_add_session(server, same_id) == 1 && SSL_CTX_sess_number(server) == 2,
           "the same id as TLS 1.2 is another session");
    expect("C4", hs_resume(server, client, session) == HS_RESUMED, "DTLS still finds its own");
    expect("C5", SSL_CTX_remove_session(server, same_id) == 1 && SSL_CTX_sess_number(server) == 1,
           "removed alone");
    SSL_SESSION_free(same_id);

    forget_removals();
    hs_age(stored);
    expect("C9", hs_resume(server, client, session) == HS_FULL, "expired, it is refused");
    expect("C9", removals() == 1 && removal_at(0).session == 1, "and removed: %s", removed());
    say("%s", hs_counters(server));
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);

    session = hs_first(server, client);
    flush(server, 0);
    expect("F2", SSL_CTX_sess_number(server) == 0, "flushed");
    expect("F2", hs_resume(server, client, session) == HS_FULL, "refused");
    SSL_SESSION_free(session);

    /* A lost association takes its session along. */
    forget_removals();
    hs_pair pair = hs_new(server, client, NULL);
    expect("C1", hs_drive(&pair) == HS_FULL, "connected");
    hs_drop(&pair);
    say("lost: %zu removed, %s", removals(), hs_counters(server));
    expect("C12", no_errors(), "the error queue is empty");
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return done();
}
