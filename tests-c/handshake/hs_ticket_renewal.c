/* A TLS 1.2 server that renews a ticket makes the client drop the session of the old one. */
#include "handshake.h"

static int on_issue(SSL *ssl, void *arg)
{
    (void)ssl, (void)arg;
    return 1;
}

static SSL_TICKET_RETURN on_use(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t length,
                                SSL_TICKET_STATUS status, void *arg)
{
    (void)ssl, (void)session, (void)name, (void)length, (void)arg;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_IGNORE_RENEW;
}

static int news;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    number_session(session, (unsigned)++news);
    return 0;
}

int main(void)
{
    limit_time();
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITH_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_CTX_set_session_ticket_cb(server, on_issue, on_use, NULL);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(client, on_new);
    record_removals(client, 'C');

    SSL_SESSION *session = hs_first(server, client), *next;
    expect("C7", SSL_CTX_sess_number(client) == 1 && news == 1, "the client stores its session");
    expect("C9", hs_connect(server, client, session, &next) == HS_RESUMED, "it resumes");
    expect("C12", removals() == 1 && removal_at(0).session == 1, "the old one leaves: %s", removed());
    expect("F4", !SSL_SESSION_is_resumable(session) && SSL_SESSION_is_resumable(next), "the next is resumable");
    say("%d new, %s", news, hs_counters(client));
    expect("C9", hs_resume(server, client, next) == HS_RESUMED, "and resumes");
    say("%d new, %zu removed, %s", news, removals(), hs_counters(client));
    SSL_SESSION_free(session);
    SSL_SESSION_free(next);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
