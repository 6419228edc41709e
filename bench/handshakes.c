/*
 * Real handshakes, client and server in one thread and memory between them, so that what is counted is
 * libssl's own work. All of them share one server context, whose cache holds `count` other sessions.
 */
#include "bench.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
    MEASURED_NS = 400000000,
    RESUMABLE = 64, /* sessions of each thread, resumed in turn */
    THREADS = 2
};

struct client {
    pthread_t thread;
    SSL_CTX *context;
    bool resume;
    uint64_t (*clock)(void);
    SSL_SESSION *sessions[RESUMABLE];
    double each_second;
};

struct connection connect_to(SSL_CTX *server_context, SSL_CTX *client_context, SSL_SESSION *with, bool want,
                             uint64_t (*clock)(void))
{
    struct connection made = {NULL, false, 0};
    BIO *client_end, *server_end;
    SSL *client = SSL_new(client_context), *server = SSL_new(server_context);
    if (!client || !server || BIO_new_bio_pair(&client_end, 0, &server_end, 0) != 1)
        die("no connection");
    SSL_set_bio(client, client_end, client_end);
    SSL_set_bio(server, server_end, server_end);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    if (with && SSL_set_session(client, with) != 1)
        die("a session cannot be offered");
    for (int done = 0, turns = 0; done != 3; turns++) {
        done = SSL_do_handshake(client) == 1;
        uint64_t before = clock ? clock() : 0;
        done |= (SSL_do_handshake(server) == 1) << 1;
        made.server_ns += clock ? clock() - before : 0;
        if (turns == 10)
            die("a handshake does not end");
    }
    made.resumed = SSL_session_reused(server);
    if (want) {
        char nothing;
        SSL_read(client, &nothing, 1); /* TLS 1.3: takes the tickets in */
        made.session = SSL_get1_session(client);
    }
    /* Closed in order, since a session whose connection was cut off is not resumable. */
    SSL_set_quiet_shutdown(client, 1);
    SSL_set_quiet_shutdown(server, 1);
    SSL_shutdown(client);
    SSL_shutdown(server);
    SSL_free(client);
    SSL_free(server);
    return made;
}

SSL_SESSION *handshake(SSL_CTX *client_context, SSL_SESSION *with, bool want)
{
    struct connection made = connect_to(ctx, client_context, with, want, NULL);
    if (with && !made.resumed)
        die("a session was not resumed");
    return made.session;
}

static void *shake(void *argument)
{
    struct client *me = argument;
    size_t made = 0;
    uint64_t from = me->clock(), now = from;
    while (now - from < MEASURED_NS) {
        handshake(me->context, me->resume ? me->sessions[made % RESUMABLE] : NULL, false);
        made++;
        now = me->clock();
    }
    me->each_second = (double)made * 1e9 / (double)(now - from);
    return NULL;
}

void get_certificate(SSL_CTX *context)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
    X509 *certificate = X509_new();
    if (!maker || EVP_PKEY_keygen_init(maker) != 1 ||
        EVP_PKEY_CTX_set_ec_paramgen_curve_nid(maker, NID_X9_62_prime256v1) != 1 ||
        EVP_PKEY_keygen(maker, &key) != 1 || !certificate || X509_set_version(certificate, 2) != 1 ||
        !X509_gmtime_adj(X509_getm_notBefore(certificate), 0) ||
        !X509_gmtime_adj(X509_getm_notAfter(certificate), 86400) || X509_set_pubkey(certificate, key) != 1 ||
        !X509_sign(certificate, key, EVP_sha256()) || SSL_CTX_use_certificate(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey(context, key) != 1)
        die("no certificate");
    EVP_PKEY_CTX_free(maker);
    EVP_PKEY_free(key);
    X509_free(certificate);
}

SSL_CTX *client_of(int version)
{
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    if (!made || SSL_CTX_set_min_proto_version(made, version) != 1 || SSL_CTX_set_max_proto_version(made, version) != 1)
        die("no context");
    SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
    return made;
}

/* Full and resumed handshakes of one version, on one thread and on two. */
static void both_kinds(int version, const char *name)
{
    struct client clients[THREADS];
    for (int i = 0; i < THREADS; i++) {
        struct client *me = &clients[i];
        memset(me, 0, sizeof *me);
        me->context = client_of(version);
        for (int j = 0; j < RESUMABLE; j++)
            if (!(me->sessions[j] = handshake(me->context, NULL, true)))
                die("no session to resume");
    }
    for (int resume = 0; resume < 2; resume++)
        for (int threads = 1; threads <= THREADS; threads++) {
            char figure[32];
            double each_second = 0;
            for (int i = 0; i < threads; i++) {
                clients[i].resume = resume;
                clients[i].clock = threads == 1 ? own_ns : now_ns;
                if (pthread_create(&clients[i].thread, NULL, shake, &clients[i]) != 0)
                    die("no thread");
            }
            for (int i = 0; i < threads; i++) {
                pthread_join(clients[i].thread, NULL);
                each_second += clients[i].each_second;
            }
            snprintf(figure, sizeof figure, "%s_%s_%d", name, resume ? "resumed" : "full", threads);
            print(figure, each_second, "/s");
        }
}

static void prepare_server(size_t count)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET); /* sessions are kept by the server, in TLS 1.3 too */
    if (SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"bench", 5) != 1)
        die("no session id context");
    get_certificate(ctx);
    pool_stored(count, false);
}

/* Functions of their own, so that profile.py finds them. */
static __attribute__((noinline)) void shake_full(SSL_CTX *client)
{
    for (size_t i = 0; i < calls_each; i++)
        handshake(client, NULL, false);
}

static __attribute__((noinline)) void shake_resumed(SSL_CTX *client, SSL_SESSION *session)
{
    for (size_t i = 0; i < calls_each; i++) {
        SSL_SESSION *next = handshake(client, session, true);
        SSL_SESSION_free(session);
        session = next;
    }
    SSL_SESSION_free(session);
}

/* As many as the cache holds are stored already, so each session that is stored takes the place of another one. */
static SSL_CTX *prepare_full(size_t count, int version)
{
    SSL_CTX *client = client_of(version);
    SSL_CTX_set_timeout(ctx, SECONDS_OF_A_DAY);
    prepare_server(count);
    SSL_CTX_sess_set_cache_size(ctx, (long)count);
    handshake(client, NULL, false); /* what the first one alone has to do */
    return client;
}

void measure_full_handshakes(size_t count, int version) { shake_full(prepare_full(count, version)); }

void measure_resumed_handshakes(size_t count, int version)
{
    SSL_CTX *client = prepare_full(count, version);
    shake_resumed(client, handshake(client, NULL, true));
}

void measure_handshakes(size_t count)
{
    prepare_server(count);
    both_kinds(TLS1_2_VERSION, "tls12");
#ifdef BORING
    left_out("tls13_full_1", "it stores no session of TLS 1.3 in a server");
#else
    both_kinds(TLS1_3_VERSION, "tls13");
#endif
}
