/* S11: SSLSWEEP_TICKETS=stateful. A server's tickets name sessions in its cache, so a flush revokes them. Stock knows no such
 * option: its tickets hold the session itself, and no flush reaches them. Without the option: hs_tls13_stateless. */
#include "handshake.h"
#include "own.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
typedef unsigned long option_bits;
#else
typedef uint64_t option_bits;
#endif

static const struct {
    int version;
    const char *name;
    long sessions; /* that a full handshake stores */
} versions[] = {{TLS1_2_VERSION, "TLS 1.2", 1}, {TLS1_3_VERSION, "TLS 1.3", 2}, {DTLS1_2_VERSION, "DTLS 1.2", 1}};

/* What a server may do before its handshake begins. */
typedef void prepare(SSL *ssl);

/* A connection with what `before` does to the server's end; next, if given, receives the client's session. */
static hs_result visit(SSL_CTX *server, SSL_CTX *client, prepare *before, SSL_SESSION *resume, SSL_SESSION **next)
{
    hs_pair pair = hs_new(server, client, resume);
    SSL_set_tlsext_host_name(pair.client, "b.example");
    if (before != NULL)
        before(pair.server);
    hs_result result = hs_drive(&pair);
    if (next != NULL)
        *next = SSL_get1_session(pair.client);
    hs_close(&pair);
    return result;
}

static int hides_option(SSL *ssl)
{
    return (SSL_get_options(ssl) & SSL_OP_NO_TICKET) == 0;
}

static void resumes_and_is_revoked(int version, const char *name, long sessions)
{
    SSL_CTX *server = hs_server(version, WITH_TICKETS), *client = hs_client(version);
    SSL_SESSION *session = hs_first(server, client), *next;
    better("S11", SSL_CTX_sess_number(server) == sessions, "%s: a full handshake stores its sessions", name);
    SSL_SESSION *stored = hs_stored(server, session);
    better("S11", stored != NULL, "%s: the client's ticket or id names one of them", name);
    SSL_SESSION_free(stored);
    better("S11", version == TLS1_3_VERSION || !SSL_SESSION_has_ticket(session), "%s: the client has an id, no ticket, before 1.3", name);
    expect("S11", hs_connect(server, client, session, &next) == HS_RESUMED, "%s: it resumes", name);
    expect("S11", hs_resume(server, client, next) == HS_RESUMED, "%s: and so does what followed", name);
    better("C12", SSL_CTX_sess_misses(server) == 0, "%s: no miss", name);

    hs_pair pair = hs_new(server, client, NULL);
    expect("S11", hides_option(pair.server) && (SSL_CTX_get_options(server) & SSL_OP_NO_TICKET) == 0,
           "%s: the program sees the options that it has set, before the handshake", name);
    hs_drive(&pair);
    expect("S11", hides_option(pair.server), "%s: and after it", name);
    hs_close(&pair);

    flush(server, 0);
    expect("F2", SSL_CTX_sess_number(server) == 0, "%s: a flush removes all", name);
    better("S11", hs_resume(server, client, session) == HS_FULL && hs_resume(server, client, next) == HS_FULL,
           "%s: which revokes the tickets", name);
    SSL_SESSION_free(next);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* What nginx does for a name: it takes away what the other context does not have. */
static SSL_CTX *other;

static int on_name(SSL *ssl, int *alert, void *arg)
{
    (void)alert, (void)arg;
    SSL_set_SSL_CTX(ssl, other);
    SSL_clear_options(ssl, SSL_get_options(ssl) & ~SSL_CTX_get_options(other));
    SSL_set_options(ssl, SSL_CTX_get_options(other));
    return SSL_TLSEXT_ERR_OK;
}

static void hosts(int version, const char *name)
{
    SSL_CTX *server = hs_server(version, WITH_TICKETS), *client = hs_client(version);
    SSL_SESSION *session;
    other = hs_server(version, WITH_TICKETS);
    SSL_CTX_set_tlsext_servername_callback(server, on_name);
    expect("S11", visit(server, client, NULL, NULL, &session) == HS_FULL, "%s: a host by name", name);
    better("S11", SSL_CTX_sess_number(server) > 0 && SSL_CTX_sess_number(other) == 0, "%s: the session is the first context's (C13)", name);
    expect("S11", visit(server, client, NULL, session, NULL) == HS_RESUMED, "%s: and resumes", name);
    flush(server, 0);
    better("S11", visit(server, client, NULL, session, NULL) == HS_FULL, "%s: until a flush", name);
    SSL_SESSION_free(session);
    SSL_CTX_free(other);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* What the program itself says about NO_TICKET of a connection holds. */
static void wants_tickets(SSL *ssl)
{
    SSL_clear_options(ssl, SSL_OP_NO_TICKET);
    SSL_set_accept_state(ssl);
}

static void wants_none(SSL *ssl)
{
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
    expect("S11", !hides_option(ssl), "the program sees NO_TICKET if it has set it");
    SSL_set_accept_state(ssl);
    expect("S11", !hides_option(ssl), "also after that");
}

static void changes_its_mind(SSL *ssl)
{
    option_bits options = SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    expect("S11", (options & SSL_OP_NO_TICKET) == 0, "SSL_set_options returns what the program has set");
    options = SSL_clear_options(ssl, SSL_OP_NO_RENEGOTIATION);
    expect("S11", (options & SSL_OP_NO_TICKET) == 0, "and so does SSL_clear_options");
    wants_none(ssl);
    wants_tickets(ssl);
}

static void of_the_program(int version, const char *name, long sessions)
{
    SSL_CTX *server = hs_server(version, WITH_TICKETS), *client = hs_client(version);
    SSL_SESSION *session;
    expect("S11", visit(server, client, wants_tickets, NULL, &session) == HS_FULL && SSL_CTX_sess_number(server) == 0,
           "%s: a connection whose NO_TICKET is cleared has the program's tickets", name);
    SSL_SESSION_free(session);
    expect("S11", visit(server, client, changes_its_mind, NULL, NULL) == HS_FULL && SSL_CTX_sess_number(server) == 0,
           "%s: also after it was set", name);
    expect("S11", visit(server, client, wants_none, NULL, NULL) == HS_FULL && SSL_CTX_sess_number(server) == sessions,
           "%s: set and not cleared, it holds", name);
    SSL_CTX_free(server);

    server = hs_server(version, WITHOUT_TICKETS);
    hs_pair pair = hs_new(server, client, NULL);
    expect("S11", !hides_option(pair.server), "%s: a context's own NO_TICKET is seen", name);
    hs_close(&pair);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Where the mode stores or finds nothing, stateful tickets would only take resumption away. */
static void modes(int version, const char *name)
{
    static const struct {
        long mode;
        const char *name;
    } modes[] = {
        {SSL_SESS_CACHE_OFF, "OFF"},
        {SSL_SESS_CACHE_CLIENT, "CLIENT"},
        {SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE, "NO_INTERNAL_STORE"},
        {SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP, "NO_INTERNAL_LOOKUP"},
        {SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL, "NO_INTERNAL"},
    };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        SSL_CTX *server = hs_server(version, WITH_TICKETS), *client = hs_client(version);
        SSL_CTX_set_session_cache_mode(server, modes[i].mode);
        SSL_SESSION *session = hs_first(server, client);
        expect("S11", SSL_CTX_sess_number(server) == 0 && hs_resume(server, client, session) == HS_RESUMED,
               "%s: mode %s: the tickets are the program's", name, modes[i].name);
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

/* A context that both serves and asks: its clients still ask for tickets. */
static void clients_of_a_server(void)
{
    SSL_CTX *both = SSL_CTX_new(TLS_method()), *server = hs_server(TLS1_2_VERSION, WITH_TICKETS);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_proto_version(both, TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, both);
    expect("S11", SSL_SESSION_has_ticket(session), "a client of a server's context is given a ticket");
    expect("S11", hs_resume(server, both, session) == HS_RESUMED, "and resumes with it");
    SSL_SESSION_free(session);

    /* SSL_accept goes on as a client where the program has said so. */
    hs_pair pair = hs_new(server, both, NULL);
    SSL_accept(pair.client);
    expect("S11", hs_drive(&pair) == HS_FULL, "a client's handshake that SSL_accept has begun");
    session = SSL_get1_session(pair.client);
    expect("S11", SSL_SESSION_has_ticket(session), "is given a ticket as well");
    SSL_SESSION_free(session);
    hs_close(&pair);
    SSL_CTX_free(server);
    SSL_CTX_free(both);
}

/* ---- The functions that begin a server ---- */

/* Another server in place of the pair's. */
static void replace_server(hs_pair *pair, SSL *fresh)
{
    BIO *in = SSL_get_rbio(pair->server), *out = SSL_get_wbio(pair->server);
    if (fresh == NULL)
        give_up("no connection");
    BIO_up_ref(in);
    BIO_up_ref(out);
    SSL_set_bio(fresh, in, out);
    if (SSL_is_dtls(fresh))
        SSL_set_mtu(fresh, 16384);
    SSL_free(pair->server);
    pair->server = fresh;
}

typedef int begin(hs_pair *pair); /* 1: as it should */

static int by_accept(hs_pair *pair)
{
    return SSL_accept(pair->server) == -1 && SSL_get_error(pair->server, -1) == SSL_ERROR_WANT_READ;
}

static int by_early_data(hs_pair *pair)
{
    char byte;
    size_t n;
    return SSL_read_early_data(pair->server, &byte, 1, &n) == SSL_READ_EARLY_DATA_ERROR
        && SSL_get_error(pair->server, -1) == SSL_ERROR_WANT_READ;
}

static int by_copy(hs_pair *pair)
{
    SSL_set_accept_state(pair->server);
    replace_server(pair, SSL_dup(pair->server));
    return 1;
}

static int make_cookie(SSL *ssl, unsigned char *cookie, size_t *length)
{
    (void)ssl;
    memcpy(cookie, "cookie", *length = 6);
    return 1;
}

static int check_cookie(SSL *ssl, const unsigned char *cookie, size_t length)
{
    (void)ssl;
    return length == 6 && memcmp(cookie, "cookie", 6) == 0;
}

static int by_stateless(hs_pair *pair)
{
    SSL_CTX *ctx = SSL_get_SSL_CTX(pair->server);
    SSL_CTX_set_stateless_cookie_generate_cb(ctx, make_cookie);
    SSL_CTX_set_stateless_cookie_verify_cb(ctx, check_cookie);
    SSL_clear_options(pair->client, SSL_OP_ENABLE_MIDDLEBOX_COMPAT); /* a record between the two hellos */
    SSL_do_handshake(pair->client);
    int first = SSL_stateless(pair->server);
    SSL_do_handshake(pair->client);
    return first == 0 && SSL_stateless(pair->server) == 1;
}

static int make_dtls_cookie(SSL *ssl, unsigned char *cookie, unsigned *length)
{
    size_t size;
    make_cookie(ssl, cookie, &size);
    *length = (unsigned)size;
    return 1;
}

static int check_dtls_cookie(SSL *ssl, const unsigned char *cookie, unsigned length)
{
    return check_cookie(ssl, cookie, length);
}

static int by_listen(hs_pair *pair)
{
    SSL_CTX *ctx = SSL_get_SSL_CTX(pair->server);
    BIO_ADDR *peer = BIO_ADDR_new();
    SSL_CTX_set_cookie_generate_cb(ctx, make_dtls_cookie);
    SSL_CTX_set_cookie_verify_cb(ctx, check_dtls_cookie);
    int listened = 0;
    for (int i = 0; i < 4 && listened == 0; i++) {
        SSL_do_handshake(pair->client);
        listened = DTLSv1_listen(pair->server, peer);
    }
    BIO_ADDR_free(peer);
    return listened == 1 && SSL_accept(pair->server) == -1;
}

static void beginnings(void)
{
    static const struct {
        const char *name;
        int version;
        begin *begin;
    } all[] = {
        {"SSL_accept", TLS1_2_VERSION, by_accept},          {"SSL_accept, 1.3", TLS1_3_VERSION, by_accept},
        {"SSL_read_early_data", TLS1_3_VERSION, by_early_data}, {"SSL_stateless", TLS1_3_VERSION, by_stateless},
        {"SSL_dup", TLS1_2_VERSION, by_copy},               {"SSL_dup, 1.3", TLS1_3_VERSION, by_copy},
        {"DTLSv1_listen", DTLS1_2_VERSION, by_listen},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        SSL_CTX *server = hs_server(all[i].version, WITH_TICKETS), *client = hs_client(all[i].version);
        SSL_SESSION *session = NULL;
        hs_result results[3];
        for (int round = 0; round < 3; round++) {
            hs_pair pair = hs_new(server, client, session);
            /* libssl cannot resume after SSL_stateless: "binder does not verify". */
            if (round == 0 || all[i].begin != by_stateless) {
                replace_server(&pair, SSL_new(server)); /* which is told nothing yet */
                int begun = all[i].begin(&pair);
                expect("S11", begun && hides_option(pair.server), "%s begins a server", all[i].name);
                ERR_clear_error();
            }
            results[round] = hs_drive(&pair);
            if (round == 0) {
                session = SSL_get1_session(pair.client);
                better("S11", SSL_CTX_sess_number(server) > 0, "%s: its session is stored", all[i].name);
            } else if (round == 1) {
                flush(server, 0);
            }
            hs_close(&pair);
        }
        expect("S11", results[0] == HS_FULL && results[1] == HS_RESUMED, "%s: it resumes", all[i].name);
        better("S11", results[2] == HS_FULL, "%s: not after a flush", all[i].name);
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

/* No other function begins one, so no other has to be stood before. */
static void no_other_beginning(void)
{
    SSL_CTX *server = hs_server(TLS1_3_VERSION, WITH_TICKETS);
    SSL *ssl = SSL_new(server);
    char byte;
    int failed = SSL_do_handshake(ssl) <= 0 && SSL_read(ssl, &byte, 1) <= 0 && SSL_write(ssl, "x", 1) <= 0 && SSL_peek(ssl, &byte, 1) <= 0;
    expect("S11", failed && ERR_GET_REASON(ERR_peek_error()) == SSL_R_CONNECTION_TYPE_NOT_SET,
           "a method for servers alone does not begin a handshake");
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(server);
}

/* ---- A program with tickets of its own ---- */

static int key_of_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, HMAC_CTX *mac, int encrypt)
{
    (void)ssl, (void)name, (void)iv, (void)cipher, (void)mac, (void)encrypt;
    return 0;
}

static int make_ticket(SSL *ssl, void *arg)
{
    (void)ssl, (void)arg;
    return 1;
}

static void by_key_callback(SSL_CTX *ctx)
{
    SSL_CTX_set_tlsext_ticket_key_cb(ctx, key_of_ticket);
}

#if OPENSSL_VERSION_NUMBER >= 0x30000000L
static int evp_key_of_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    (void)ssl, (void)name, (void)iv, (void)cipher, (void)mac, (void)encrypt;
    return 0;
}

static void by_evp_callback(SSL_CTX *ctx)
{
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, evp_key_of_ticket);
}
#endif

static void by_ticket_callback(SSL_CTX *ctx)
{
    SSL_CTX_set_session_ticket_cb(ctx, make_ticket, NULL, NULL);
}

static void by_keys(SSL_CTX *ctx)
{
    unsigned char keys[256] = "keys";
    SSL_CTX_set_tlsext_ticket_keys(ctx, keys, SSL_CTX_set_tlsext_ticket_keys(ctx, NULL, 0));
}

/* Sets no keys and no callback. */
static void by_nothing(SSL_CTX *ctx)
{
    SSL_CTX_set_tlsext_ticket_keys(ctx, NULL, 0);
    SSL_CTX_set_tlsext_ticket_key_cb(ctx, NULL);
    SSL_CTX_set_session_ticket_cb(ctx, NULL, NULL, NULL);
}

/* In a child, as what it does holds for its process: whether a server, made before, has its own tickets afterwards. */
static int withdraws(void (*with)(SSL_CTX *))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        SSL_CTX *server = hs_server(TLS1_3_VERSION, WITH_TICKETS), *client = hs_client(TLS1_3_VERSION);
        SSL_CTX *another = hs_server(TLS1_3_VERSION, WITH_TICKETS);
        hs_pair before = hs_new(server, client, NULL);
        with(another);
        SSL_SESSION *session = hs_first(server, client);
        int status = (SSL_CTX_sess_number(server) == 0) + 2 * (hs_resume(server, client, session) == HS_RESUMED);
        flush(server, 0);
        hs_drive(&before); /* one that had begun */
        status += 4 * (SSL_CTX_sess_number(server) == 0);
        hs_close(&before);
        SSL_SESSION_free(session);
        SSL_CTX_free(another);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
        _exit(status);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void of_its_own(void)
{
    static const struct {
        const char *name;
        void (*with)(SSL_CTX *);
    } all[] = {
        {"a ticket key callback", by_key_callback},
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
        {"a ticket key callback of 3.0", by_evp_callback},
#endif
        {"a ticket callback", by_ticket_callback},
        {"ticket keys", by_keys},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int status = withdraws(all[i].with);
        expect("S11", (status & 3) == 3, "with %s no other connection has stateful tickets", all[i].name);
        better("S11", (status & 4) == 0, "with %s one that had begun keeps them", all[i].name);
    }
    better("S11", withdraws(by_nothing) == 2, "asking for the size of keys, or taking callbacks away, changes nothing");
}

int main(int argc, char **argv)
{
    (void)argc;
    own_option(argv, "SSLSWEEP_TICKETS", "stateful");
    limit_time();
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        resumes_and_is_revoked(versions[i].version, versions[i].name, versions[i].sessions);
        hosts(versions[i].version, versions[i].name);
        of_the_program(versions[i].version, versions[i].name, versions[i].sessions);
        modes(versions[i].version, versions[i].name);
    }
    clients_of_a_server();
    beginnings();
    no_other_beginning();
    of_its_own();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
