/* 0-RTT where the sessions come from elsewhere: an external cache, another id context, SNI. libssl asks
 * its internal cache for leave to accept early data, whoever found the session. */
#include "handshake.h"

static SSL_SESSION *external;
static int gets;

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length;
    gets++;
    *copy = 1;
    return external;
}

static SSL_CTX *early_server(long mode)
{
    SSL_CTX *server = hs_server(TLS1_3_VERSION, WITH_TICKETS);
    SSL_CTX_set_max_early_data(server, 4096);
    SSL_CTX_set_num_tickets(server, 1);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | mode);
    record_removals(server, 'A');
    forget_removals();
    return server;
}

static void try_early(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *ticket, const char *id_context,
                      const char *what)
{
    int accepted;
    hs_pair pair = hs_new(server, client, ticket);
    if (id_context != NULL)
        SSL_set_session_id_context(pair.server, (const unsigned char *)id_context, 1);
    hs_result result = hs_drive_early(&pair, &accepted);
    hs_close(&pair);
    say("%s: %s, early data %s, %zu callbacks, %d gets, %s", what, hs_word(result),
        accepted ? "accepted" : "refused",
        removals(), gets, hs_counters(server));
}

static void outside(SSL_CTX *client, long mode, const char *name)
{
    SSL_CTX *server = early_server(mode);
    external = NULL;
    gets = 0;
    /* With NO_INTERNAL_STORE the server's session is nowhere but in the connection: catch it there. */
    hs_pair pair = hs_new(server, client, NULL);
    hs_drive(&pair);
    SSL_SESSION *ticket = SSL_get1_session(pair.client);
    external = SSL_SESSION_dup(SSL_get_session(pair.server));
    hs_close(&pair);
    SSL_CTX_sess_set_get_cb(server, on_get);
    SSL_SESSION *second = SSL_SESSION_dup(external), *third = SSL_SESSION_dup(external);

    say("%s", name);
    try_early(server, client, ticket, NULL, "first");
    SSL_SESSION_free(external);
    external = NULL;
    try_early(server, client, ticket, NULL, "again");
    flush(server, 0);
    external = second;
    try_early(server, client, ticket, NULL, "another copy from outside");
    SSL_SESSION_free(external);
    external = third;
    hs_age(external);
    try_early(server, client, ticket, NULL, "an expired copy from outside");
    long number = SSL_CTX_sess_number(server);
    flush(server, 0);
    expect("C11", SSL_CTX_sess_number(server) == 0, "nothing stays behind");
    say("%ld flushed, %zu callbacks", number, removals());
    SSL_SESSION_free(external);
    SSL_SESSION_free(ticket);
    SSL_CTX_free(server);
    say("%zu callbacks in all", removals());
}

/* Refused for its id context after the cache has given it up. */
static void other_id_context(SSL_CTX *client)
{
    SSL_CTX *server = early_server(0);
    gets = 0;
    SSL_SESSION *ticket = hs_first(server, client);
    try_early(server, client, ticket, "x", "other id context");
    try_early(server, client, ticket, NULL, "then the right one");
    SSL_SESSION_free(ticket);
    SSL_CTX_free(server);
}

/* Refused for its cipher: AES-256 with SHA-384 then, AES-128 with SHA-256 now. */
static void other_cipher(SSL_CTX *client)
{
    SSL_CTX *server = early_server(0);
    gets = 0;
    SSL_CTX_set_ciphersuites(server, "TLS_AES_256_GCM_SHA384");
    SSL_SESSION *ticket = hs_first(server, client);
    SSL_CTX_set_ciphersuites(server, "TLS_AES_128_GCM_SHA256");
    try_early(server, client, ticket, NULL, "other cipher");
    SSL_CTX_set_ciphersuites(server, "TLS_AES_256_GCM_SHA384");
    try_early(server, client, ticket, NULL, "then the right one");
    SSL_SESSION_free(ticket);
    SSL_CTX_free(server);
}

static SSL_CTX *other;

static int on_name(SSL *ssl, int *alert, void *arg)
{
    (void)alert, (void)arg;
    SSL_set_SSL_CTX(ssl, other);
    return SSL_TLSEXT_ERR_OK;
}

static void moved(SSL_CTX *client)
{
    SSL_CTX *server = early_server(0);
    gets = 0;
    other = early_server(0);
    SSL_CTX_set_tlsext_servername_callback(server, on_name);
    SSL_SESSION *ticket = hs_first(server, client);
    try_early(server, client, ticket, NULL, "moved");
    try_early(server, client, ticket, NULL, "moved, again");
    say("other: %s", hs_counters(other));
    SSL_SESSION_free(ticket);
    SSL_CTX_free(server);
    SSL_CTX_free(other);
}

int main(void)
{
    limit_time();
    SSL_CTX *client = hs_client(TLS1_3_VERSION);
    outside(client, 0, "both caches");
    outside(client, SSL_SESS_CACHE_NO_INTERNAL_LOOKUP, "no internal lookup");
    outside(client, SSL_SESS_CACHE_NO_INTERNAL_STORE, "no internal store");
    outside(client, SSL_SESS_CACHE_NO_INTERNAL, "no internal");
    other_id_context(client);
    other_cipher(client);
    moved(client);
    expect("C12", no_errors(), "the error queue is empty");
    SSL_CTX_free(client);
    return done();
}
