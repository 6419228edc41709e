/* Stateless tickets: the cache is not needed, and libssl stores TLS 1.3 sessions only for an application
 * that wants to hear of their end, that is, which set a remove callback of its own. */
#include "handshake.h"

static int news;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    news++;
    return 0;
}

static void tls13(void)
{
    SSL_CTX *server = hs_server(TLS1_3_VERSION, WITH_TICKETS), *client = hs_client(TLS1_3_VERSION);
    SSL_CTX_sess_set_new_cb(server, on_new);
    expect("C11", SSL_CTX_sess_get_remove_cb(server) == NULL, "no remove callback is read back");
    expect("C7", SSL_CTX_get_session_cache_mode(server) == SSL_SESS_CACHE_SERVER, "the mode is read back");

    SSL_SESSION *session = hs_first(server, client);
    expect("C11", SSL_CTX_sess_number(server) == 0, "a stateless ticket's session is not stored");
    expect("C10", news == 2, "the new callback saw both tickets");
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "the ticket resumes all the same");
    expect("C11", SSL_CTX_sess_number(server) == 0, "still nothing stored");
    expect("C10", news == 3, "the new callback saw its successor");
    say("%s", hs_counters(server));

    record_removals(server, 'A');
    expect("C11", SSL_CTX_sess_get_remove_cb(server) == record_removal, "ours is read back");
    hs_connect(server, client, NULL, NULL);
    expect("C11", SSL_CTX_sess_number(server) == 2, "with a remove callback both are stored");
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "the ticket resumes");
    expect("C11", SSL_CTX_sess_number(server) == 3, "its successor is stored");
    say("%s", hs_counters(server));

    SSL_CTX_sess_set_remove_cb(server, NULL);
    expect("C11", SSL_CTX_sess_get_remove_cb(server) == NULL, "taken away again");
    hs_connect(server, client, NULL, NULL);
    expect("C11", SSL_CTX_sess_number(server) == 3, "no more is stored");

    flush(server, 0);
    expect("F2", SSL_CTX_sess_number(server) == 0 && removals() == 0, "a flush without callback");
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "no flush reaches a stateless ticket");
    say("%s", hs_counters(server));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void tls12(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITH_TICKETS), *client = hs_client(TLS1_2_VERSION);
    record_removals(server, 'B');
    SSL_CTX_sess_set_new_cb(server, on_new);
    news = 0;
    SSL_SESSION *session = hs_first(server, client);
    expect("C11", SSL_CTX_sess_number(server) == 0, "TLS 1.2: a ticket's session has no id, is not stored");
    expect("C10", news == 0, "TLS 1.2: nor is the new callback called");
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "TLS 1.2: the ticket resumes");
    say("%s", hs_counters(server));

    /* A client that wants no tickets gets a session id from the same server. */
    SSL_CTX *plain = hs_client(TLS1_2_VERSION);
    SSL_CTX_set_options(plain, SSL_OP_NO_TICKET);
    SSL_SESSION *by_id = hs_first(server, plain);
    expect("C1", SSL_CTX_sess_number(server) == 1 && news == 1, "TLS 1.2: a client without tickets");
    expect("C9", hs_resume(server, plain, by_id) == HS_RESUMED, "TLS 1.2: resumes by id");
    say("%s", hs_counters(server));
    SSL_SESSION_free(by_id);
    SSL_SESSION_free(session);
    SSL_CTX_free(plain);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    limit_time();
    tls13();
    tls12();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
