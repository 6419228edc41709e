/* The stored session is one object all along: what the program put in its ex_data comes back. */
#include "handshake.h"

static SSL_SESSION *given; /* by the new callback */
static SSL_SESSION *gone;  /* by the remove callback */
static int note;           /* ex_data index */
static char mark;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    given = session;
    SSL_SESSION_set_ex_data(session, note, &mark);
    return 0;
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx;
    gone = session;
}

static int marked(const SSL_SESSION *session)
{
    return SSL_SESSION_get_ex_data(session, note) == &mark;
}

static void look_for(void *session, void *found)
{
    if (session == given)
        (*(int *)found)++;
}

static int listed(SSL_CTX *ctx)
{
    int found = 0;
    OPENSSL_LH_doall_arg((OPENSSL_LHASH *)SSL_CTX_sessions(ctx), look_for, &found);
    return found;
}

static void server_side(int version)
{
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS), *client = hs_client(version);
    SSL_CTX_sess_set_new_cb(server, on_new);
    SSL_CTX_sess_set_remove_cb(server, on_remove);
    say("server, TLS 1.%d", version - TLS1_VERSION);

    hs_pair pair = hs_new(server, client, NULL);
    hs_drive(&pair);
    expect("C16", SSL_get_session(pair.server) == given, "the new callback gets the connection's session");
    SSL_SESSION *session = SSL_get1_session(pair.client), *stored = given;
    hs_close(&pair);
    expect("C16", listed(server) == 1, "the table holds that very one, once");

    SSL_CTX_set_num_tickets(server, 0); /* else TLS 1.3 replaces the resumed session by its successor */
    for (int i = 0; i < 2; i++) {
        pair = hs_new(server, client, session);
        hs_drive(&pair);
        expect("C16", SSL_session_reused(pair.server) && SSL_get_session(pair.server) == stored,
               "resumed itself");
        expect("C16", marked(SSL_get_session(pair.server)), "with its ex_data");
        hs_close(&pair);
    }

    /* The connection's own reference outlives a flush. */
    pair = hs_new(server, client, session);
    hs_drive(&pair);
    gone = NULL;
    SSL_SESSION_set_timeout(stored, 7201);
    flush(server, (time_t)(SSL_SESSION_get_time(stored) + 7202));
    expect("C16", gone != NULL && listed(server) == 0, "flushed under a connection");
    expect("C16", SSL_get_session(pair.server) == stored && marked(stored), "which still has it");
    hs_close(&pair);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void removal_shows_it(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_CTX_sess_set_new_cb(server, on_new);
    SSL_CTX_sess_set_remove_cb(server, on_remove);
    SSL_SESSION *session = hs_first(server, client);
    SSL_SESSION_up_ref(given);
    flush(server, 0);
    expect("C16", gone == given && marked(gone), "the remove callback gets that very session");
    SSL_SESSION_free(given);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void client_side(int version)
{
    SSL_CTX *server = hs_server(version, WITH_TICKETS), *client = hs_client(version);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(client, on_new);
    say("client, TLS 1.%d", version - TLS1_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    expect("C16", session == given && listed(client) == 1, "the connection's session is the stored one");
    hs_pair pair = hs_new(server, client, session);
    SSL_set_num_tickets(pair.server, 0);
    hs_drive(&pair);
    expect("C16", SSL_get_session(pair.client) == given && marked(given), "also when it resumes");
    hs_close(&pair);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    limit_time();
    note = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        server_side(version);
        client_side(version);
    }
    removal_shows_it();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
