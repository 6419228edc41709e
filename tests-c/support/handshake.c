#include "handshake.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/x509.h>

/* ---- Key and certificate ---- */

static EVP_PKEY *key;
static X509 *certificate;
static pthread_mutex_t identity_lock = PTHREAD_MUTEX_INITIALIZER;

static void make_identity(void)
{
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
    if (maker == NULL || EVP_PKEY_keygen_init(maker) <= 0
        || EVP_PKEY_CTX_set_ec_paramgen_curve_nid(maker, NID_X9_62_prime256v1) <= 0
        || EVP_PKEY_keygen(maker, &key) <= 0)
        give_up("cannot make a key");
    EVP_PKEY_CTX_free(maker);

    certificate = X509_new();
    X509_NAME *name = X509_NAME_new();
    if (certificate == NULL || name == NULL)
        give_up("out of memory");
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"tests", -1, -1, 0);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
    X509_set_subject_name(certificate, name);
    X509_set_issuer_name(certificate, name);
    X509_set_pubkey(certificate, key);
    X509_NAME_free(name);
    if (!X509_sign(certificate, key, EVP_sha256()))
        give_up("cannot sign the certificate");
}

void hs_end(void)
{
    EVP_PKEY_free(key);
    X509_free(certificate);
    key = NULL;
    certificate = NULL;
}

/* ---- Contexts ---- */

static int is_dtls(int version)
{
    return version == DTLS1_2_VERSION || version == DTLS1_VERSION;
}

static void set_version(SSL_CTX *ctx, int version)
{
    int from = version == ANY_TLS ? TLS1_2_VERSION : version;
    int to = version == ANY_TLS ? TLS1_3_VERSION : version;
    if (!SSL_CTX_set_min_proto_version(ctx, from) || !SSL_CTX_set_max_proto_version(ctx, to))
        give_up("version %x", version);
    if (is_dtls(version))
        SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU); /* memory has none */
}

SSL_CTX *hs_server(int version, int tickets)
{
    pthread_mutex_lock(&identity_lock);
    if (key == NULL)
        make_identity();
    pthread_mutex_unlock(&identity_lock);
    SSL_CTX *ctx = SSL_CTX_new(is_dtls(version) ? DTLS_server_method() : TLS_server_method());
    if (ctx == NULL || !SSL_CTX_use_certificate(ctx, certificate) || !SSL_CTX_use_PrivateKey(ctx, key)
        || !SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"tests", 5))
        give_up("cannot make a server");
    set_version(ctx, version);
    if (tickets == WITHOUT_TICKETS)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    return ctx;
}

SSL_CTX *hs_client(int version)
{
    SSL_CTX *ctx = SSL_CTX_new(is_dtls(version) ? DTLS_client_method() : TLS_client_method());
    if (ctx == NULL)
        give_up("cannot make a client");
    set_version(ctx, version);
    return ctx;
}

/* ---- One connection ---- */

const char *hs_word(hs_result result)
{
    return result == HS_FAILED ? "failed" : result == HS_FULL ? "full" : "resumed";
}

static BIO *memory(void)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL)
        give_up("out of memory");
    BIO_set_mem_eof_return(bio, -1);
    return bio;
}

hs_pair hs_new(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *resume)
{
    hs_pair pair = {.server = SSL_new(server), .client = SSL_new(client)};
    if (pair.server == NULL || pair.client == NULL)
        give_up("SSL_new");
    BIO *to_server = memory(), *to_client = memory();
    BIO_up_ref(to_server);
    BIO_up_ref(to_client);
    SSL_set_bio(pair.server, to_server, to_client);
    SSL_set_bio(pair.client, to_client, to_server);
    if (SSL_is_dtls(pair.server)) {
        SSL_set_mtu(pair.server, 16384); /* one flight, one datagram: memory keeps no borders */
        SSL_set_mtu(pair.client, 16384);
    }
    SSL_set_accept_state(pair.server);
    SSL_set_connect_state(pair.client);
    if (resume != NULL && !SSL_set_session(pair.client, resume))
        give_up("SSL_set_session");
    return pair;
}

/* Notes the oldest error as the reason and leaves the queue clean. */
static int take_reason(void)
{
    int reason = ERR_GET_REASON(ERR_peek_error());
    ERR_clear_error();
    return reason;
}

/* One step of one side: 1 done, 0 would wait, -1 failed. */
static int step(SSL *ssl, int *reason)
{
    int n = SSL_do_handshake(ssl);
    if (n == 1)
        return 1;
    int error = SSL_get_error(ssl, n);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return 0;
    *reason = take_reason();
    return -1;
}

/* Reads what has no data in it: tickets of TLS 1.3, alerts. */
static void read_what_follows(SSL *ssl)
{
    char byte;
    if (SSL_read(ssl, &byte, 1) <= 0)
        ERR_clear_error();
}

hs_result hs_drive(hs_pair *pair)
{
    int server = 0, client = 0;
    for (int i = 0; i < 64 && (client != 1 || server != 1); i++) {
        if (client == 0)
            client = step(pair->client, &pair->client_error);
        if (server == 0)
            server = step(pair->server, &pair->server_error);
        if (client < 0 && server < 0)
            break;
        /* One has failed; the other has had its turn to see the alert. */
        if (i > 8 && (client < 0 || server < 0))
            break;
    }
    if (client == 1)
        read_what_follows(pair->client);
    if (server == 1)
        read_what_follows(pair->server);
    if (client != 1 || server != 1)
        return HS_FAILED;
    if (SSL_session_reused(pair->client) != SSL_session_reused(pair->server))
        give_up("the ends disagree about resumption");
    return SSL_session_reused(pair->server) ? HS_RESUMED : HS_FULL;
}

hs_result hs_drive_early(hs_pair *pair, int *accepted)
{
    static const char text[] = "early";
    char got[sizeof text];
    size_t n = 0;
    int read = SSL_READ_EARLY_DATA_ERROR;
    if (!SSL_write_early_data(pair->client, text, sizeof text, &n))
        give_up("SSL_write_early_data");
    for (int i = 0; i < 8; i++) {
        read = SSL_read_early_data(pair->server, got, sizeof got, &n);
        if (read != SSL_READ_EARLY_DATA_SUCCESS)
            break;
    }
    ERR_clear_error(); /* the server waits for the client's end of early data */
    hs_result result = hs_drive(pair);
    *accepted = SSL_get_early_data_status(pair->server) == SSL_EARLY_DATA_ACCEPTED;
    return result;
}

void hs_drop(hs_pair *pair)
{
    SSL_free(pair->client);
    SSL_free(pair->server);
    pair->client = pair->server = NULL;
}

void hs_close(hs_pair *pair)
{
    if (!SSL_in_init(pair->client))
        SSL_shutdown(pair->client);
    if (!SSL_in_init(pair->server))
        SSL_shutdown(pair->server);
    ERR_clear_error();
    hs_drop(pair);
}

hs_result hs_connect(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *resume, SSL_SESSION **next)
{
    hs_pair pair = hs_new(server, client, resume);
    hs_result result = hs_drive(&pair);
    if (next != NULL)
        *next = result == HS_FAILED ? NULL : SSL_get1_session(pair.client);
    hs_close(&pair);
    return result;
}

SSL_SESSION *hs_first(SSL_CTX *server, SSL_CTX *client)
{
    SSL_SESSION *session = NULL;
    hs_result result = hs_connect(server, client, NULL, &session);
    if (result != HS_FULL || session == NULL)
        give_up("a full handshake was %s", hs_word(result));
    return session;
}

hs_result hs_resume(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *resume)
{
    return hs_connect(server, client, resume, NULL);
}

void hs_age(SSL_SESSION *session)
{
    SSL_SESSION_set_time(session, 1000);
}

/* ---- What a cache holds ---- */

typedef struct wanted {
    const unsigned char *id;
    unsigned length;
    SSL_SESSION *found;
} wanted;

static void compare(SSL_SESSION *session, wanted *w)
{
    unsigned length;
    const unsigned char *id = SSL_SESSION_get_id(session, &length);
    if (length == w->length && memcmp(id, w->id, length) == 0)
        w->found = session;
}

static void compare_thunk(void *session, void *w)
{
    compare(session, w);
}

SSL_SESSION *hs_stored(SSL_CTX *server, SSL_SESSION *client_session)
{
    wanted w = {0};
    size_t ticket_length = 0;
    SSL_SESSION_get0_ticket(client_session, &w.id, &ticket_length);
    w.length = (unsigned)ticket_length;
    if (w.length != SSL_MAX_SSL_SESSION_ID_LENGTH)
        w.id = SSL_SESSION_get_id(client_session, &w.length);
    OPENSSL_LH_doall_arg((OPENSSL_LHASH *)SSL_CTX_sessions(server), compare_thunk, &w);
    if (w.found != NULL)
        SSL_SESSION_up_ref(w.found);
    return w.found;
}

const char *hs_counters(SSL_CTX *ctx)
{
    static _Thread_local char text[256];
    snprintf(text, sizeof text,
             "number %ld, connect %ld good %ld renegotiate %ld, accept %ld good %ld renegotiate %ld, "
             "hits %ld, cb_hits %ld, misses %ld, timeouts %ld, full %ld",
             SSL_CTX_sess_number(ctx), SSL_CTX_sess_connect(ctx), SSL_CTX_sess_connect_good(ctx),
             SSL_CTX_sess_connect_renegotiate(ctx), SSL_CTX_sess_accept(ctx),
             SSL_CTX_sess_accept_good(ctx), SSL_CTX_sess_accept_renegotiate(ctx),
             SSL_CTX_sess_hits(ctx), SSL_CTX_sess_cb_hits(ctx), SSL_CTX_sess_misses(ctx),
             SSL_CTX_sess_timeouts(ctx), SSL_CTX_sess_cache_full(ctx));
    return text;
}

static int follow_index = -1;
static atomic_int freed;
static pthread_once_t follow_once = PTHREAD_ONCE_INIT;

static void end_of_followed(void *parent, void *mark, CRYPTO_EX_DATA *data, int index, long l, void *p)
{
    (void)parent, (void)data, (void)index, (void)l, (void)p;
    if (mark != NULL)
        atomic_fetch_add(&freed, 1);
}

/* libssl copies sessions on its own: a copy is not followed. */
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
static int copy_of_followed(CRYPTO_EX_DATA *to, const CRYPTO_EX_DATA *from, void **mark, int index,
                            long l, void *p)
#else
static int copy_of_followed(CRYPTO_EX_DATA *to, const CRYPTO_EX_DATA *from, void *mark, int index,
                            long l, void *p)
#endif
{
    (void)to, (void)from, (void)index, (void)l, (void)p;
    *(void **)mark = NULL;
    return 1;
}

static void new_follow_index(void)
{
    follow_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, copy_of_followed, end_of_followed);
}

void hs_follow(SSL_SESSION *session)
{
    pthread_once(&follow_once, new_follow_index);
    if (follow_index < 0 || !SSL_SESSION_set_ex_data(session, follow_index, &freed))
        give_up("hs_follow");
}

int hs_freed(void)
{
    return atomic_load(&freed);
}

/* ---- Load ---- */

typedef struct shared_load {
    hs_load *load;
    int listener;
    struct sockaddr_in address;
    atomic_int left; /* connections not yet accepted */
    atomic_int next_client, full, resumed, failed;
} shared_load;

void hs_start(pthread_t *thread, void *(*body)(void *), void *arg)
{
    if (pthread_create(thread, NULL, body, arg) != 0)
        give_up("pthread_create");
}

/* A peer that never comes must not hang the test, and no small packet waits for another. */
static void prepare(int fd)
{
    struct timeval limit = {.tv_sec = 20};
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static SSL *on_socket(SSL_CTX *ctx, int fd)
{
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL || !SSL_set_fd(ssl, fd))
        give_up("SSL_set_fd");
    return ssl;
}

/* Both sides wait for the other's goodbye, so that no reset overtakes data. */
static void say_goodbye(SSL *ssl)
{
    if (SSL_shutdown(ssl) == 0)
        SSL_shutdown(ssl);
}

static void *serve(void *arg)
{
    shared_load *shared = arg;
    while (atomic_fetch_sub(&shared->left, 1) > 0) {
        int fd = accept(shared->listener, NULL, NULL);
        if (fd < 0)
            break;
        prepare(fd);
        SSL *ssl = on_socket(shared->load->server, fd);
        char byte;
        if (SSL_accept(ssl) != 1 || SSL_write(ssl, "x", 1) != 1 || SSL_read(ssl, &byte, 1) != 0)
            atomic_fetch_add(&shared->failed, 1);
        say_goodbye(ssl);
        ERR_clear_error();
        SSL_free(ssl);
        close(fd);
    }
    return NULL;
}

static hs_result visit(shared_load *shared, SSL_CTX *ctx, SSL_SESSION *resume, SSL_SESSION **next)
{
    hs_result result = HS_FAILED;
    char byte;
    *next = NULL;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&shared->address, sizeof shared->address) != 0)
        give_up("cannot connect");
    prepare(fd);
    SSL *ssl = on_socket(ctx, fd);
    if (resume != NULL)
        SSL_set_session(ssl, resume);
    if (SSL_connect(ssl) == 1 && SSL_read(ssl, &byte, 1) == 1) {
        result = SSL_session_reused(ssl) ? HS_RESUMED : HS_FULL;
        *next = SSL_get1_session(ssl);
    }
    say_goodbye(ssl);
    ERR_clear_error();
    SSL_free(ssl);
    close(fd);
    return result;
}

static void *visit_often(void *arg)
{
    shared_load *shared = arg;
    hs_load *load = shared->load;
    int me = atomic_fetch_add(&shared->next_client, 1);
    SSL_CTX *ctx = hs_client(load->version[me % load->versions]);
    SSL_SESSION *session = NULL;
    for (int round = 0; round < load->rounds; round++) {
        SSL_SESSION *next;
        hs_result result = visit(shared, ctx, round % 2 ? session : NULL, &next);
        SSL_SESSION_free(session);
        session = next;
        atomic_fetch_add(result == HS_FULL      ? &shared->full
                         : result == HS_RESUMED ? &shared->resumed
                                                : &shared->failed,
                         1);
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
    return NULL;
}

void hs_run(hs_load *load)
{
    enum { MOST = 16 };
    pthread_t servers[MOST], clients[MOST];
    shared_load shared = {.load = load, .left = load->clients * load->rounds};
    socklen_t length = sizeof shared.address;
    if (load->servers > MOST || load->clients > MOST)
        give_up("too many threads");
    signal(SIGPIPE, SIG_IGN);
    shared.address.sin_family = AF_INET;
    shared.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    shared.listener = socket(AF_INET, SOCK_STREAM, 0);
    if (shared.listener < 0 || bind(shared.listener, (struct sockaddr *)&shared.address, length) != 0
        || listen(shared.listener, 64) != 0
        || getsockname(shared.listener, (struct sockaddr *)&shared.address, &length) != 0)
        give_up("cannot listen on 127.0.0.1");
    prepare(shared.listener);
    for (int i = 0; i < load->servers; i++)
        hs_start(&servers[i], serve, &shared);
    for (int i = 0; i < load->clients; i++)
        hs_start(&clients[i], visit_often, &shared);
    for (int i = 0; i < load->clients; i++)
        pthread_join(clients[i], NULL);
    for (int i = 0; i < load->servers; i++)
        pthread_join(servers[i], NULL);
    close(shared.listener);
    load->full = shared.full;
    load->resumed = shared.resumed;
    load->failed = shared.failed;
}
