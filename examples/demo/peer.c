#include "peer.h"

#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ACCEPTORS = 2, SOCKET_SECONDS = 30 };

static pthread_t acceptors[ACCEPTORS];

double clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void die(const char *what)
{
    fprintf(stderr, "server: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(2);
}

static void must(bool ok, const char *what)
{
    if (!ok)
        die(what);
}

/* A key and a certificate signed with it. The calls are those that 1.1.1 has too. */
static void identify(SSL_CTX *ctx)
{
    EVP_PKEY_CTX *generator = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
    EVP_PKEY *key = NULL;
    must(generator && EVP_PKEY_keygen_init(generator) == 1 &&
             EVP_PKEY_CTX_set_ec_paramgen_curve_nid(generator, NID_X9_62_prime256v1) == 1 &&
             EVP_PKEY_keygen(generator, &key) == 1,
         "no key");
    EVP_PKEY_CTX_free(generator);

    X509 *certificate = X509_new();
    must(certificate != NULL, "no certificate");
    X509_NAME *name = X509_NAME_new();
    must(name && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                            (const unsigned char *)"localhost", -1, -1, 0) == 1,
         "no name");
    must(X509_set_version(certificate, 2) == 1 && X509_set_pubkey(certificate, key) == 1 &&
             X509_set_subject_name(certificate, name) == 1 &&
             X509_set_issuer_name(certificate, name) == 1 &&
             ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
             X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) &&
             X509_gmtime_adj(X509_getm_notAfter(certificate), 86400) &&
             X509_sign(certificate, key, EVP_sha256()) > 0,
         "no certificate");
    must(SSL_CTX_use_certificate(ctx, certificate) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1,
         "the certificate was refused");
    X509_NAME_free(name);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

SSL_CTX *server_context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    must(ctx != NULL, "no context");
    identify(ctx);
    /* No stateless tickets: by TLS 1.2 ids and by stateful TLS 1.3 tickets, the cache is what resumes. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(ctx, 0);
    must(SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"demo", 4) == 1, "no id context");
    return ctx;
}

SSL_CTX *client_context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    must(ctx != NULL, "no context");
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return ctx;
}

/* Nothing here may hang for ever, whatever happens at the other end. */
static void bound_waits(int fd)
{
    struct timeval limit = {.tv_sec = SOCKET_SECONDS};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static void *accept_connections(void *argument)
{
    const struct listener *listener = argument;
    int fd;
    while ((fd = accept(listener->fd, NULL, NULL)) >= 0) {
        bound_waits(fd);
        SSL *ssl = SSL_new(listener->ctx);
        must(ssl && SSL_set_fd(ssl, fd) == 1, "no connection");
        if (SSL_accept(ssl) == 1)
            SSL_write(ssl, "k", 1);
        SSL_shutdown(ssl); /* without it libssl throws the session away */
        SSL_free(ssl);
        close(fd);
    }
    return NULL;
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

void listener_start(struct listener *listener, SSL_CTX *ctx)
{
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    listener->ctx = ctx;
    listener->fd = socket(AF_INET, SOCK_STREAM, 0);
    must(listener->fd >= 0 && bind(listener->fd, (struct sockaddr *)&address, length) == 0 &&
             listen(listener->fd, 64) == 0 &&
             getsockname(listener->fd, (struct sockaddr *)&address, &length) == 0,
         "cannot listen on 127.0.0.1");
    listener->port = ntohs(address.sin_port);
    for (int i = 0; i < ACCEPTORS; i++)
        must(pthread_create(&acceptors[i], NULL, accept_connections, listener) == 0, "no thread");
}

void listener_stop(struct listener *listener)
{
    shutdown(listener->fd, SHUT_RDWR); /* wakes the threads up */
    for (int i = 0; i < ACCEPTORS; i++)
        pthread_join(acceptors[i], NULL);
    close(listener->fd);
}

struct visit visit(SSL_CTX *ctx, int port, int version, SSL_SESSION *offer)
{
    struct visit result = {.started = clock_now()};
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bound_waits(fd);
    must(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "cannot connect");

    SSL *ssl = SSL_new(ctx);
    must(ssl && SSL_set_fd(ssl, fd) == 1 && SSL_set_min_proto_version(ssl, version) == 1 &&
             SSL_set_max_proto_version(ssl, version) == 1,
         "no connection");
    if (offer)
        must(SSL_set_session(ssl, offer) == 1, "a session cannot be offered");
    must(SSL_connect(ssl) == 1, "a handshake failed");
    result.ready = clock_now();
    result.resumed = SSL_session_reused(ssl) == 1;

    char byte;
    must(SSL_read(ssl, &byte, 1) == 1, "no answer"); /* a TLS 1.3 ticket comes before it */
    result.session = SSL_get1_session(ssl);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
    return result;
}
