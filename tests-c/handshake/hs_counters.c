/* A scripted mix of traffic: every counter as stock has it. */
#include "handshake.h"

static SSL_SESSION *external; /* what the get callback gives */

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length;
    *copy = 1;
    return external;
}

static void tell(const char *what, SSL_CTX *ctx)
{
    say("%s: %s", what, hs_counters(ctx));
}

static void renegotiate(hs_pair *pair)
{
    char byte;
    SSL_renegotiate(pair->server);
    SSL_do_handshake(pair->server);
    for (int i = 0; i < 6; i++) {
        SSL_read(pair->client, &byte, 1);
        SSL_read(pair->server, &byte, 1);
    }
    ERR_clear_error();
    if (SSL_renegotiate_pending(pair->server))
        give_up("no renegotiation");
}

static void server_side(void)
{
    SSL_CTX *server = hs_server(ANY_TLS, WITHOUT_TICKETS);
    SSL_CTX *tls12 = hs_client(TLS1_2_VERSION), *tls13 = hs_client(TLS1_3_VERSION);
    SSL_SESSION *a = hs_first(server, tls12), *b = hs_first(server, tls13), *c = hs_first(server, tls12);
    tell("three full", server);

    for (int i = 0; i < 3; i++)
        hs_resume(server, tls12, a);
    for (int i = 0; i < 2; i++)
        hs_resume(server, tls13, b);
    tell("five resumed", server);

    /* A session of TLS 1.2 offered to a connection of TLS 1.3: the id is a mere legacy field there. */
    SSL_CTX *any = hs_client(ANY_TLS);
    say("TLS 1.2 session, TLS 1.3 client: %s", hs_word(hs_resume(server, any, a)));
    tell("offered", server);

    SSL_SESSION *stored = hs_stored(server, c), *again = SSL_SESSION_dup(stored);
    hs_age(stored);
    hs_resume(server, tls12, c);
    hs_resume(server, tls12, c);
    tell("expired, then unknown", server);

    SSL_CTX_sess_set_get_cb(server, on_get);
    hs_resume(server, tls12, c);
    tell("asked outside, nothing there", server);
    external = again;
    say("found outside: %s", hs_word(hs_resume(server, tls12, c)));
    tell("found outside", server);
    say("now inside: %s", hs_word(hs_resume(server, tls12, c)));
    tell("now inside", server);
    SSL_CTX_sess_set_get_cb(server, NULL);

    SSL_CTX *old = hs_client(TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(old, "TLS_CHACHA20_POLY1305_SHA256");
    SSL_CTX *narrow = hs_server(TLS1_3_VERSION, WITHOUT_TICKETS);
    SSL_CTX_set_ciphersuites(narrow, "TLS_AES_128_GCM_SHA256");
    say("no common cipher: %s", hs_word(hs_connect(narrow, old, NULL, NULL)));
    tell("failed", narrow);

    hs_pair pair = hs_new(server, tls12, NULL);
    hs_drive(&pair);
    renegotiate(&pair);
    tell("renegotiated", server);
    hs_drop(&pair);
    tell("lost", server);

    pair = hs_new(server, tls13, NULL);
    SSL_do_handshake(pair.client);
    SSL_do_handshake(pair.server);
    hs_drop(&pair);
    ERR_clear_error();
    tell("given up in the middle", server);

    flush(server, time(NULL) - 100000);
    tell("flushed what is old", server);
    flush(server, 0);
    tell("flushed all", server);

    SSL_SESSION_free(stored);
    SSL_SESSION_free(again);
    SSL_SESSION_free(a);
    SSL_SESSION_free(b);
    SSL_SESSION_free(c);
    SSL_CTX_free(any);
    SSL_CTX_free(old);
    SSL_CTX_free(narrow);
    SSL_CTX_free(tls12);
    SSL_CTX_free(tls13);
    SSL_CTX_free(server);
}

/* One context plays both roles: its cache holds both sides' sessions. */
static void both_roles(int version)
{
    SSL_CTX *server = hs_server(version, WITH_TICKETS), *ctx = hs_client(version);
    hs_pair pair;
    SSL_CTX_free(server);
    server = hs_server(version, WITHOUT_TICKETS);
    SSL_CTX_set_ssl_version(ctx, TLS_method());
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH);
    record_removals(ctx, 'X');
    forget_removals();
    SSL_SESSION *session = hs_first(server, ctx);
    hs_resume(server, ctx, session);
    tell("client of another", ctx);
    tell("the other", server);
    flush(server, 0);
    hs_resume(server, ctx, session);
    tell("the other has forgotten", ctx);
    pair = hs_new(server, ctx, NULL);
    hs_drive(&pair);
    hs_drop(&pair);
    tell("lost", ctx);
    say("removed: %zu", removals());
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
    SSL_CTX_free(server);
}

static void evictions(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_CTX_sess_set_cache_size(server, 4);
    for (int i = 0; i < 10; i++)
        hs_connect(server, client, NULL, NULL);
    better("C12", SSL_CTX_sess_number(server) == 4 && SSL_CTX_sess_cache_full(server) == 6, "six of ten left");
    SSL_CTX_sess_set_cache_size(server, 0);
    for (int i = 0; i < 10; i++)
        hs_connect(server, client, NULL, NULL);
    better("C12", SSL_CTX_sess_number(server) == 14 && SSL_CTX_sess_cache_full(server) == 6, "no limit");
    say("accept %ld, good %ld", SSL_CTX_sess_accept(server), SSL_CTX_sess_accept_good(server));
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    limit_time();
    server_side();
    both_roles(TLS1_2_VERSION);
    both_roles(TLS1_3_VERSION);
    evictions();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
