/* S2, S5: sessions of another context at the border of libssl's own checks. What libssl has no use for, or would end the handshake
 * for, is a full handshake, as it is on stock, where no context gets a session of another one. */
#include "failing.inc"

#include "handshake.h"
#include "own.h"

static const struct {
    int version;
    const char *name;
} versions[] = {{TLS1_2_VERSION, "TLS 1.2"}, {TLS1_3_VERSION, "TLS 1.3"}, {DTLS1_2_VERSION, "DTLS 1.2"}};

/* The outcome of the servername callback. */
static int depth;

static int on_name(SSL *ssl, int *alert, void *arg)
{
    (void)alert, (void)arg;
    SSL_set_verify_depth(ssl, depth);
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *server_by_name(int version)
{
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS);
    SSL_CTX_set_tlsext_servername_callback(server, on_name);
    return server;
}

static hs_result visit(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *resume, SSL_SESSION **next)
{
    hs_pair pair = hs_new(server, client, resume);
    SSL_set_tlsext_host_name(pair.client, "a.example");
    hs_result result = hs_drive(&pair);
    if (next != NULL)
        *next = SSL_get1_session(pair.client);
    hs_close(&pair);
    return result;
}

/* libssl drops a session whose id context is another one. The new session mostly lies where that was, and must not be taken for it,
 * or a changed outcome would end the handshake. */
static void of_another_id_context(int version, const char *name)
{
    SSL_CTX *one = server_by_name(version), *two = server_by_name(version), *client = hs_client(version);
    SSL_CTX_set_session_id_context(two, (const unsigned char *)"other", 5);
    SSL_SESSION *session;
    depth = 3;
    visit(one, client, NULL, &session);
    visit(two, client, NULL, NULL);
    depth = 4;
    expect("S5", visit(two, client, session, NULL) == HS_FULL, "%s: another id context, and an outcome that changes", name);
    SSL_SESSION_free(session);
    SSL_CTX_free(one);
    SSL_CTX_free(two);
    SSL_CTX_free(client);
}

/* RFC 6066: a resumed session keeps its fragment length. libssl ends a handshake whose client asks for another one. */
static void of_another_fragment_length(int version, const char *name)
{
    SSL_CTX *one = hs_server(version, WITHOUT_TICKETS), *two = hs_server(version, WITHOUT_TICKETS);
    SSL_CTX *none = hs_client(version), *small = hs_client(version), *large = hs_client(version);
    SSL_CTX_set_tlsext_max_fragment_length(small, TLSEXT_max_fragment_length_512);
    SSL_CTX_set_tlsext_max_fragment_length(large, TLSEXT_max_fragment_length_2048);
    SSL_SESSION *of_none = hs_first(one, none), *of_small = hs_first(one, small);
    /* (Compared with stock alone: since 3.2, TLS 1.3 fails where a session with a fragment length is offered, resumed or not.) */
    say("%s: a fragment length that is not asked for again: %s", name, hs_word(hs_resume(two, none, of_small)));
    say("%s: another fragment length: %s", name, hs_word(hs_resume(two, large, of_small)));
    expect("S5", hs_resume(two, small, of_none) == HS_FULL, "%s: a fragment length that was not asked for", name);
    if (hs_resume(one, small, of_small) == HS_RESUMED)
        better("S1", hs_resume(two, small, of_small) == HS_RESUMED, "%s: the same fragment length", name);
    SSL_SESSION_free(of_none);
    SSL_SESSION_free(of_small);
    SSL_CTX *all[] = {one, two, none, small, large};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        SSL_CTX_free(all[i]);
}

static X509 *renewed;

static int renew(SSL *ssl, SSL_SESSION *session)
{
    (void)session;
    SSL_CTX_use_certificate(SSL_get_SSL_CTX(ssl), renewed);
    return 0;
}

/* A program may renew a context's certificate while handshakes run: they use what the context had when they began, and so does
 * the sharing of their sessions. */
static void of_a_renewed_certificate(int version, const char *name)
{
    SSL_CTX *one = hs_server(version, WITHOUT_TICKETS), *two = hs_server(version, WITHOUT_TICKETS);
    SSL_CTX *client = hs_client(version);
    renewed = X509_dup(SSL_CTX_get0_certificate(one));
    if (renewed == NULL || !ASN1_INTEGER_set(X509_get_serialNumber(renewed), 77)
        || !X509_sign(renewed, SSL_CTX_get0_privatekey(one), EVP_sha256()))
        give_up("cannot renew a certificate");
    SSL_CTX_sess_set_new_cb(one, renew);
    SSL_SESSION *before = hs_first(one, client), *after = hs_first(one, client);
    better("S1", hs_resume(two, client, before) == HS_RESUMED, "%s: a certificate that is renewed during a handshake", name);
    expect("S2", hs_resume(two, client, after) == HS_FULL, "%s: a renewed certificate", name);
    SSL_SESSION_free(before);
    SSL_SESSION_free(after);
    X509_free(renewed);
    SSL_CTX_free(one);
    SSL_CTX_free(two);
    SSL_CTX_free(client);
}

/* ---- Out of memory ---- */

static SSL_CTX *memory_server, *memory_client;
static SSL_SESSION *memory_session;
static hs_result memory_result;

static hs_pair memory_pair;

static void drive_without_memory(void)
{
    hs_drive(&memory_pair);
}

static void visit_without_memory(void)
{
    memory_result = visit(memory_server, memory_client, memory_session, NULL);
}

/* A fetched session that cannot be noted would not be confirmed after the servername callback. */
static void without_memory(int version, const char *name)
{
    SSL_CTX *one = server_by_name(version);
    memory_server = server_by_name(version), memory_client = hs_client(version);
    int failed = 0, resumed = 0, more = 1;
    for (int changed = 0; changed < 2; changed++, more = 1)
        for (long at = 0; more && at < 100; at++) {
            depth = 3;
            visit(one, memory_client, NULL, &memory_session);
            visit(memory_server, memory_client, NULL, NULL);
            depth += changed;
            more = with_failure(at, 1, 1, visit_without_memory);
            failed += !changed && memory_result == HS_FAILED;
            resumed += changed && memory_result == HS_RESUMED;
            SSL_SESSION_free(memory_session);
        }
    expect("S5", failed == 0, "%s: out of memory no handshake fails", name);
    expect("S2", resumed == 0, "%s: out of memory no session crosses a border", name);
    /* libssl's handshakes may fail now; the process goes on. (Not DTLS: libssl crashes then, since 3.5 at the latest.) */
    more = version != DTLS1_2_VERSION;
    for (long at = 0; more && at < 100000; at += slowly() || !sweeping() ? 997 : 7) {
        depth = 3;
        visit(one, memory_client, NULL, &memory_session);
        visit(memory_server, memory_client, NULL, NULL);
        memory_pair = hs_new(memory_server, memory_client, memory_session);
        SSL_set_tlsext_host_name(memory_pair.client, "a.example");
        more = with_failure(at, 0, 0, drive_without_memory);
        hs_close(&memory_pair);
        ERR_clear_error();
        SSL_SESSION_free(memory_session);
    }
    expect("S7", !more, "%s: any allocation may fail", name);
    SSL_CTX_free(one);
    SSL_CTX_free(memory_server);
    SSL_CTX_free(memory_client);
}

int main(int argc, char **argv)
{
    (void)argc;
    own_option(argv, "SSLSWEEP_SHARE", "family:16m"); /* as in sharing_on() */
    limit_time();
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        of_another_id_context(versions[i].version, versions[i].name);
        of_another_fragment_length(versions[i].version, versions[i].name);
        of_a_renewed_certificate(versions[i].version, versions[i].name);
        without_memory(versions[i].version, versions[i].name);
    }
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
