/* S1, S2, S5: which contexts resume each other's sessions. Each difference between two contexts alone keeps their sessions
 * apart, in both directions, and the handshake is a full one, never a failure; equal contexts resume. Once between two contexts
 * of one process, and once across a fork. */
#include "sharing.h"

#include <string.h>

#include <openssl/x509_vfy.h>

static identity ec, ed, rsa;

/* ---- Differences ---- */

static void nothing(SSL_CTX *ctx)
{
    (void)ctx;
}

static void other_certificate(SSL_CTX *ctx)
{
    use_identity(ctx, &ec);
}

static void added_certificate(SSL_CTX *ctx)
{
    use_identity(ctx, &ed);
}

static void added_rsa(SSL_CTX *ctx)
{
    use_identity(ctx, &rsa);
}

static void client_authority(SSL_CTX *ctx)
{
    SSL_CTX_add_client_CA(ctx, ec.certificate);
}

static void client_authorities(SSL_CTX *ctx)
{
    SSL_CTX_add_client_CA(ctx, ec.certificate);
    SSL_CTX_add_client_CA(ctx, ed.certificate);
}

static int accept_any(int ok, X509_STORE_CTX *store)
{
    (void)ok, (void)store;
    return 1;
}

static int accept_all(X509_STORE_CTX *store, void *arg)
{
    (void)store, (void)arg;
    return 1;
}

static void asks_for_certificate(SSL_CTX *ctx)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, accept_any);
}

static void asks_once(SSL_CTX *ctx)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, NULL);
}

static void verify_callback(SSL_CTX *ctx)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, accept_any);
}

static void verify_all_callback(SSL_CTX *ctx)
{
    SSL_CTX_set_cert_verify_callback(ctx, accept_all, NULL);
}

static void depth(SSL_CTX *ctx)
{
    SSL_CTX_set_verify_depth(ctx, 3);
}

static void checks_revocation(SSL_CTX *ctx)
{
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_CRL_CHECK);
}

static void auth_level(SSL_CTX *ctx)
{
    X509_VERIFY_PARAM_set_auth_level(SSL_CTX_get0_param(ctx), 4);
}

static void peer_host(SSL_CTX *ctx)
{
    X509_VERIFY_PARAM_set1_host(SSL_CTX_get0_param(ctx), "client.example", 0);
}

static void fewer_ciphers(SSL_CTX *ctx)
{
    if (!SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES256-GCM-SHA384"))
        give_up("cipher list");
}

static void fewer_suites(SSL_CTX *ctx)
{
    if (!SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384"))
        give_up("cipher suites");
}

static void other_order(SSL_CTX *ctx)
{
    if (!SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"))
        give_up("cipher suites");
}

static void security_level(SSL_CTX *ctx)
{
    SSL_CTX_set_security_level(ctx, 0);
}

static void id_context(SSL_CTX *ctx)
{
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"others", 6);
}

static void no_id_context(SSL_CTX *ctx)
{
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"", 0);
}

static int on_hello(SSL *ssl, int *alert, void *arg)
{
    (void)ssl, (void)alert, (void)arg;
    return SSL_CLIENT_HELLO_SUCCESS;
}

static void hello_callback(SSL_CTX *ctx)
{
    SSL_CTX_set_client_hello_cb(ctx, on_hello, NULL);
}

static int on_certificate(SSL *ssl, void *arg)
{
    (void)ssl, (void)arg;
    return 1;
}

static void certificate_callback(SSL_CTX *ctx)
{
    SSL_CTX_set_cert_cb(ctx, on_certificate, NULL);
}

static int allow(const SSL *ssl, const SSL_CTX *ctx, int what, int bits, int nid, void *other, void *arg)
{
    (void)ssl, (void)ctx, (void)what, (void)bits, (void)nid, (void)other, (void)arg;
    return 1;
}

static void security_callback(SSL_CTX *ctx)
{
    SSL_CTX_set_security_callback(ctx, allow);
}

static void early_data(SSL_CTX *ctx)
{
    SSL_CTX_set_max_early_data(ctx, 4096);
}

static void early_data_with_replays(SSL_CTX *ctx)
{
    SSL_CTX_set_max_early_data(ctx, 4096);
    SSL_CTX_set_options(ctx, SSL_OP_NO_ANTI_REPLAY);
}

#ifdef SSL_OP_NO_EXTENDED_MASTER_SECRET
static void no_master_secret(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
}
#endif

static void any_version(SSL_CTX *ctx)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION);
}

static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *length, const unsigned char *in, unsigned size, void *arg)
{
    (void)ssl, (void)out, (void)length, (void)in, (void)size, (void)arg;
    return SSL_TLSEXT_ERR_NOACK;
}

static void protocols(SSL_CTX *ctx)
{
    SSL_CTX_set_alpn_select_cb(ctx, select_protocol, NULL);
}

static void groups(SSL_CTX *ctx)
{
    if (!SSL_CTX_set1_groups_list(ctx, "P-384"))
        give_up("groups");
}

static SSL_CTX *host;

static int to_host(SSL *ssl, int *alert, void *arg)
{
    (void)alert, (void)arg;
    SSL_set_SSL_CTX(ssl, host);
    return SSL_TLSEXT_ERR_OK;
}

static void switches(SSL_CTX *ctx)
{
    SSL_CTX_set_tlsext_servername_callback(ctx, to_host);
}

static int to_nowhere(SSL *ssl, int *alert, void *arg)
{
    (void)ssl, (void)alert, (void)arg;
    return SSL_TLSEXT_ERR_NOACK;
}

static void name_callback(SSL_CTX *ctx)
{
    SSL_CTX_set_tlsext_servername_callback(ctx, to_nowhere);
}

/* Of one connection. */
static void connection_asks(SSL *ssl)
{
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
}

static void connection_certificate(SSL *ssl)
{
    if (!SSL_use_certificate(ssl, ec.certificate) || !SSL_use_PrivateKey(ssl, ec.key))
        give_up("cannot use a certificate");
}

static void connection_level(SSL *ssl)
{
    SSL_set_security_level(ssl, 0);
}

static void connection_ciphers(SSL *ssl)
{
    if (!SSL_set_cipher_list(ssl, "ECDHE-ECDSA-AES256-GCM-SHA384"))
        give_up("cipher list");
}

static void connection_id_context(SSL *ssl)
{
    SSL_set_session_id_context(ssl, (const unsigned char *)"others", 6);
}

static void connection_callback(SSL *ssl)
{
    SSL_set_cert_cb(ssl, on_certificate, NULL);
}

static void connection_security(SSL *ssl)
{
    SSL_set_security_callback(ssl, allow);
}

/* What two contexts of a kind do with each other's sessions, and what both do with those of a plain one. */
typedef enum sharing { APART, SHARED } sharing;

typedef struct difference {
    const char *name;
    void (*context)(SSL_CTX *);
    sharing with_equal, with_plain;
    void (*connection)(SSL *);
    int only; /* with this version; 0: with all */
} difference;

static const difference differences[] = {
    {"nothing", nothing, SHARED, SHARED, NULL, 0},
    {"another certificate", other_certificate, SHARED, APART, NULL, 0},
    {"a certificate of another type as well", added_certificate, SHARED, APART, NULL, 0},
    {"an RSA certificate as well", added_rsa, SHARED, APART, NULL, 0},
    {"a client authority", client_authority, SHARED, APART, NULL, 0},
    {"two client authorities", client_authorities, SHARED, APART, NULL, 0},
    {"verification of the client", asks_for_certificate, APART, APART, NULL, 0},
    {"verification once", asks_once, APART, APART, NULL, 0},
    {"a verify callback that is not asked", verify_callback, SHARED, SHARED, NULL, 0},
    {"a callback of verification that is not asked", verify_all_callback, SHARED, SHARED, NULL, 0},
    {"verify depth", depth, SHARED, APART, NULL, 0},
    {"checks of revocation", checks_revocation, SHARED, APART, NULL, 0},
    {"level of verification", auth_level, SHARED, APART, NULL, 0},
    {"name of the peer", peer_host, SHARED, APART, NULL, 0},
    {"fewer ciphers", fewer_ciphers, SHARED, APART, NULL, 0},
    {"fewer cipher suites", fewer_suites, SHARED, APART, NULL, 0},
    {"another order of cipher suites", other_order, SHARED, APART, NULL, 0},
    {"security level", security_level, SHARED, APART, NULL, 0},
    {"session id context", id_context, SHARED, APART, NULL, 0},
    {"no session id context", no_id_context, SHARED, APART, NULL, 0},
    {"a client hello callback", hello_callback, APART, APART, NULL, 0},
    {"a certificate callback", certificate_callback, APART, APART, NULL, 0},
    {"a security callback", security_callback, APART, APART, NULL, 0},
    {"0-RTT", early_data, SHARED, APART, NULL, 0},
    {"0-RTT with replays", early_data_with_replays, SHARED, SHARED, NULL, 0},
#ifdef SSL_OP_NO_EXTENDED_MASTER_SECRET
    {"no extended master secret", no_master_secret, SHARED, APART, NULL, TLS1_2_VERSION},
    {"no extended master secret", no_master_secret, SHARED, SHARED, NULL, TLS1_3_VERSION},
#endif
    {"more protocol versions", any_version, SHARED, SHARED, NULL, 0},
    {"protocols", protocols, SHARED, SHARED, NULL, 0},
    {"groups", groups, SHARED, SHARED, NULL, 0},
    {"a server name that leads to another context", switches, SHARED, APART, NULL, 0},
    {"a servername callback that does nothing", name_callback, SHARED, SHARED, NULL, 0},
    {"a connection's verification", nothing, APART, APART, connection_asks, 0},
    {"a connection's certificate", nothing, SHARED, APART, connection_certificate, 0},
    {"a connection's security level", nothing, SHARED, APART, connection_level, 0},
    {"a connection's ciphers", nothing, SHARED, APART, connection_ciphers, 0},
    {"a connection's session id context", nothing, SHARED, APART, connection_id_context, 0},
    {"a connection's certificate callback", nothing, APART, APART, connection_callback, 0},
    {"a connection's security callback", nothing, APART, APART, connection_security, 0},
};

/* ---- All of them ---- */

typedef struct side {
    SSL_CTX *ctx, *client;
    const char *name;
    void (*adjust)(SSL *);
} side;

static SSL_SESSION *first_at(void *arg)
{
    side *s = arg;
    SSL_SESSION *session = NULL;
    if (visit(s->ctx, s->client, s->name, s->adjust, NULL, &session) != HS_FULL)
        give_up("a first handshake was not a full one");
    return session;
}

static SSL_SESSION *made_at(side *s, int across)
{
    return across ? session_elsewhere(first_at, s) : first_at(s);
}

static hs_result resumed_at(side *s, SSL_SESSION *session)
{
    return visit(s->ctx, s->client, s->name, s->adjust, session, NULL);
}

static side new_side(int version, const difference *d, SSL_CTX *client, const char *name)
{
    side s = {hs_server(version, WITHOUT_TICKETS), client, name, d == NULL ? NULL : d->connection};
    if (d != NULL)
        d->context(s.ctx);
    /* Where a servername callback may choose another context, the process has to have seen what it does. */
    if (d != NULL && (d->context == switches || d->context == name_callback))
        SSL_SESSION_free(first_at(&s));
    return s;
}

static void state(sharing wanted, int version, int across, const difference *d, const char *what, hs_result got)
{
    const char *where = across ? "across a fork" : "in one process";
    if (wanted == SHARED)
        better("S1", got == HS_RESUMED, "%s, %s, %s: %s: %s", version_name(version), where, d->name, what, hs_word(got));
    else
        expect("S2, S5", got == HS_FULL, "%s, %s, %s: %s: %s", version_name(version), where, d->name, what, hs_word(got));
}

static void try(int version, const difference *d, int across)
{
    SSL_CTX *client = hs_client(version);
    const char *name = "host.example";
    side plain = new_side(version, NULL, client, name), plain_too = new_side(version, NULL, client, name);
    side other = new_side(version, d, client, name), other_too = new_side(version, d, client, name);

    SSL_SESSION *session = made_at(&plain, across);
    state(d->with_plain, version, across, d, "there a plain one's session", resumed_at(&other, session));
    state(SHARED, version, across, d, "which a plain one resumes", resumed_at(&plain_too, session));
    SSL_SESSION_free(session);

    session = made_at(&other, across);
    state(d->with_plain, version, across, d, "a session from there at a plain one", resumed_at(&plain, session));
    SSL_SESSION_free(session);

    session = made_at(&other, across);
    state(d->with_equal, version, across, d, "and at an equal one", resumed_at(&other_too, session));
    SSL_SESSION_free(session);

    SSL_CTX_free(plain.ctx);
    SSL_CTX_free(plain_too.ctx);
    SSL_CTX_free(other.ctx);
    SSL_CTX_free(other_too.ctx);
    SSL_CTX_free(client);
}

static void names(int version)
{
    SSL_CTX *client = hs_client(version);
    const char *name[] = {NULL, "a.example", "b.example"};
    side sides[3], again[3];
    for (int i = 0; i < 3; i++) {
        sides[i] = new_side(version, NULL, client, name[i]);
        again[i] = new_side(version, NULL, client, name[i]);
    }
    for (int i = 0; i < 3; i++) {
        SSL_SESSION *session = first_at(&sides[i]);
        for (int j = 0; j < 3; j++) {
            hs_result got = resumed_at(&again[j], session);
            const char *of = name[i] == NULL ? "no name" : name[i], *at = name[j] == NULL ? "no name" : name[j];
            if (i == j)
                better("S1", got == HS_RESUMED, "%s: a session of %s for %s: %s", version_name(version), of, at, hs_word(got));
            else
                expect("S2, S5", got == HS_FULL, "%s: a session of %s for %s: %s", version_name(version), of, at, hs_word(got));
        }
        SSL_SESSION_free(session);
    }
    for (int i = 0; i < 3; i++) {
        SSL_CTX_free(sides[i].ctx);
        SSL_CTX_free(again[i].ctx);
    }
    SSL_CTX_free(client);
}

/* ---- A context that changes while it is in use ---- */

static void live_change(int version)
{
    SSL_CTX *client = hs_client(version);
    side one = new_side(version, NULL, client, NULL), other = new_side(version, NULL, client, NULL);
    SSL_SESSION *session = first_at(&one), *later;
    better("S1", resumed_at(&other, session) == HS_RESUMED, "%s: before a change, sessions are shared", version_name(version));
    use_identity(other.ctx, &ec);
    expect("S2, S5", resumed_at(&other, session) == HS_FULL, "%s: with another certificate no more", version_name(version));
    later = first_at(&other);
    expect("S2, S5", resumed_at(&one, later) == HS_FULL, "%s: nor the other way round", version_name(version));
    use_identity(one.ctx, &ec);
    better("S1", resumed_at(&one, later) == HS_RESUMED, "%s: when both have changed, what came since is shared", version_name(version));
    SSL_SESSION_free(later);
    later = first_at(&other);
    SSL_CTX_set_verify_depth(one.ctx, 2);
    expect("S2, S5", resumed_at(&one, later) == HS_FULL, "%s: a change of depth", version_name(version));
    SSL_CTX_set_client_hello_cb(other.ctx, on_hello, NULL);
    SSL_SESSION_free(session);
    session = first_at(&one);
    SSL_CTX_set_verify_depth(other.ctx, 2);
    expect("S2, S5", resumed_at(&other, session) == HS_FULL, "%s: a callback that comes later", version_name(version));
    SSL_SESSION_free(session);
    SSL_SESSION_free(later);
    SSL_CTX_free(one.ctx);
    SSL_CTX_free(other.ctx);
    SSL_CTX_free(client);
}

/* ---- Server names ---- */

static SSL_CTX *hosts[2];

static int choose(SSL *ssl, int *alert, void *which)
{
    (void)alert;
    SSL_set_SSL_CTX(ssl, hosts[*(int *)which]);
    return SSL_TLSEXT_ERR_OK;
}

/* Of two contexts whose callbacks lead to hosts of equal trust, one host changes its certificate: it cannot be foreseen at the
 * lookup. So one handshake ends in an alert, and the next one is a full one. */
static void changed_host(int version)
{
    static int number[2] = {0, 1};
    const char *v = version_name(version), *name = "host.example";
    SSL_CTX *client = hs_client(version), *server[2];
    for (int i = 0; i < 2; i++) {
        server[i] = hs_server(version, WITHOUT_TICKETS);
        hosts[i] = hs_server(version, WITHOUT_TICKETS);
        use_identity(hosts[i], &ec);
        SSL_CTX_set_tlsext_servername_callback(server[i], choose);
        SSL_CTX_set_tlsext_servername_arg(server[i], &number[i]);
    }
    SSL_SESSION *session, *second;
    visit(server[0], client, name, NULL, NULL, &session);
    expect("S2, S5", visit(server[1], client, name, NULL, session, NULL) == HS_FULL,
           "%s: what a callback will do is not known before it has been called", v);
    better("S1", visit(server[1], client, name, NULL, session, NULL) == HS_RESUMED, "%s: then it is", v);
    expect("S2, S5", visit(server[1], client, "another.example", NULL, session, NULL) == HS_FULL, "%s: for that name", v);
    visit(server[0], client, name, NULL, NULL, &second);

    use_identity(hosts[1], &ed);
    SSL_SESSION *copies[3] = {SSL_SESSION_dup(session), SSL_SESSION_dup(second), SSL_SESSION_dup(second)};
    hs_pair pair = hs_new(server[1], client, copies[0]);
    SSL_set_tlsext_host_name(pair.client, name);
    hs_result got = hs_drive(&pair);
    better("S5", got == HS_FAILED && pair.client_error == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
           "%s: a host that has changed under a running process: one handshake ends in an alert", v);
    printf("# %s: %s, errors %d and %d\n", v, hs_word(got), pair.server_error, pair.client_error);
    expect("S2", got != HS_RESUMED, "%s: and never resumes", v);
    hs_close(&pair);
    expect("S2, S5", visit(server[1], client, name, NULL, copies[1], NULL) == HS_FULL, "%s: the next one is a full one", v);
    expect("S2, S5", visit(server[1], client, name, NULL, copies[2], NULL) == HS_FULL, "%s: and so is the one after that", v);
    better("S1", visit(server[0], client, name, NULL, second, NULL) == HS_RESUMED, "%s: the other context goes on", v);

    SSL_SESSION_free(second);
    visit(server[1], client, name, NULL, NULL, &second);
    expect("S2, S5", visit(server[0], client, name, NULL, second, NULL) != HS_RESUMED,
           "%s: a session of the changed host is not resumed where it has not changed", v);
    for (int i = 0; i < 3; i++)
        SSL_SESSION_free(copies[i]);
    SSL_SESSION_free(second);
    SSL_SESSION_free(session);
    for (int i = 0; i < 2; i++) {
        SSL_CTX_free(server[i]);
        SSL_CTX_free(hosts[i]);
    }
    SSL_CTX_free(client);
}

/* ---- Clients ---- */

/* Clients whose second hello differs from the first: libssl would end the handshake for some of them. */
static void other_hellos(void)
{
    SSL_CTX *one = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *other = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    SSL_CTX *client = hs_client(TLS1_2_VERSION), *changed = hs_client(TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(client, "ECDHE-ECDSA-AES128-GCM-SHA256");
    SSL_CTX_set_cipher_list(changed, "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256");
    SSL_SESSION *session = hs_first(one, client);
    better("S1", hs_resume(other, changed, session) == HS_RESUMED, "a client that offers more ciphers");
#ifdef SSL_OP_NO_EXTENDED_MASTER_SECRET
    SSL_CTX_set_options(changed, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    expect("S5", hs_resume(other, changed, session) == HS_FULL, "a client without extended master secret, a session with it");
    SSL_SESSION_free(session);
    session = hs_first(one, changed);
    better("S1", hs_resume(other, changed, session) == HS_RESUMED, "both without");
    expect("S5", hs_resume(other, client, session) == HS_FULL, "a client with it, a session without");
#endif
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(changed);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
}

int main(int argc, char **argv)
{
    (void)argc;
    sharing_on(argv);
    ec = new_identity(EVP_PKEY_EC);
    ed = new_identity(EVP_PKEY_ED25519);
    if (!slowly())
        rsa = new_identity(EVP_PKEY_RSA);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        host = hs_server(version, WITHOUT_TICKETS);
        use_identity(host, &ec);
        for (size_t i = 0; i < sizeof differences / sizeof *differences; i++) {
            const difference *d = &differences[i];
            /* A tool is slow at making RSA keys. */
            if ((d->only != 0 && d->only != version) || (d->context == added_rsa && slowly()))
                continue;
            /* 1.1.1 does not tell the name; and it has no effect where the client is not verified. */
            if (d->context == peer_host && !libssl_since(0x300))
                continue;
            for (int across = 0; across <= 1; across++)
                if (!slowly() || (i + (size_t)version) % 2 == (size_t)across)
                    try(version, d, across);
        }
        SSL_CTX_free(host);
        names(version);
        live_change(version);
        changed_host(version);
    }
    other_hellos();
    expect("C12", no_errors(), "the error queue is empty");
    free_identity(&ec);
    free_identity(&ed);
    free_identity(&rsa);
    hs_end();
    return done();
}
