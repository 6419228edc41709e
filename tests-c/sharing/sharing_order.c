/* S2: the order of libssl's callbacks, which trust rests on. A session is looked up before the server's name has chosen a
 * context, and is made after that; the certificate callback is not called for one that is resumed. */
#include "handshake.h"

#include <string.h>

static SSL_CTX *first, *second;
static char order[32];
static SSL_SESSION *kept;
static int named_early, hello_has_name;

static void note(char letter)
{
    size_t length = strlen(order);
    if (length + 1 < sizeof order)
        order[length] = letter;
}

static int on_hello(SSL *ssl, int *alert, void *arg)
{
    (void)ssl, (void)alert, (void)arg;
    note('H');
    return SSL_CLIENT_HELLO_SUCCESS;
}

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    const unsigned char *name;
    size_t size;
    (void)id, (void)length;
    note('G');
    named_early |= SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) != NULL;
    hello_has_name &= SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &name, &size) == 1 && size > 0;
    *copy = 1;
    return kept;
}

static int on_name(SSL *ssl, int *alert, void *arg)
{
    (void)alert, (void)arg;
    note('N');
    return SSL_set_SSL_CTX(ssl, second) == second ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int on_certificate(SSL *ssl, void *arg)
{
    (void)ssl, (void)arg;
    note('C');
    return 1;
}

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    note('S');
    SSL_SESSION_free(kept);
    kept = session;
    return 1;
}

static hs_result connect_by_name(SSL_CTX *client, SSL_SESSION *resume, SSL_SESSION **next)
{
    hs_pair pair = hs_new(first, client, resume);
    SSL_set_tlsext_host_name(pair.client, "host.example");
    memset(order, 0, sizeof order);
    hs_result result = hs_drive(&pair);
    if (next != NULL)
        *next = SSL_get1_session(pair.client);
    hs_close(&pair);
    return result;
}

static void callbacks(int version, int with_hello, const char *full, const char *resumed, const char *refused)
{
    const char *name = version == TLS1_2_VERSION ? "TLS 1.2" : "TLS 1.3";
    SSL_CTX *client = hs_client(version);
    SSL_SESSION *session;
    first = hs_server(version, WITHOUT_TICKETS);
    second = hs_server(version, WITHOUT_TICKETS);
    SSL_CTX_set_num_tickets(first, 1);
    SSL_CTX_set_num_tickets(second, 1);
    SSL_CTX_set_session_cache_mode(first, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    if (with_hello)
        SSL_CTX_set_client_hello_cb(first, on_hello, NULL);
    SSL_CTX_sess_set_get_cb(first, on_get);
    SSL_CTX_sess_set_new_cb(first, on_new);
    SSL_CTX_set_tlsext_servername_callback(first, on_name);
    SSL_CTX_set_cert_cb(second, on_certificate, NULL);
    named_early = 0;
    hello_has_name = 1;

    expect("S2", connect_by_name(client, NULL, &session) == HS_FULL && strcmp(order, full) == 0, "%s: a full handshake: %s", name, order);
    expect("S2", connect_by_name(client, session, NULL) == HS_RESUMED && strcmp(order, resumed) == 0, "%s: a resumed one: %s", name,
           order);
    SSL_SESSION_free(kept);
    kept = NULL;
    expect("S2", connect_by_name(client, session, NULL) == HS_FULL && strcmp(order, refused) == 0, "%s: a session that is not found: %s",
           name, order);
    expect("S2", !named_early, "%s: when it is looked up, the server's name is not known", name);
    expect("S2", hello_has_name, "%s: but stands in the hello", name);
    SSL_SESSION_free(kept);
    kept = NULL;
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(first);
    SSL_CTX_free(second);
}

int main(void)
{
    limit_time();
    callbacks(TLS1_2_VERSION, 1, "HNCS", "HGN", "HGNCS");
    callbacks(TLS1_3_VERSION, 1, "HNCS", "HGNS", "HGNCS");
    /* What the hello says can be read without such a callback, too. */
    callbacks(TLS1_2_VERSION, 0, "NCS", "GN", "GNCS");
    callbacks(TLS1_3_VERSION, 0, "NCS", "GNS", "GNCS");
    expect("C12", no_errors(), "the error queue is empty");
    hs_end();
    return done();
}
