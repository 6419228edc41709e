/* QUIC servers (OpenSSL 3.5 and later): the sessions of their connections live in the same cache, but
 * libssl calls back with its own locks held and calls the version 1. */
#include "handshake.h"

#if OPENSSL_VERSION_NUMBER >= 0x30500000L && !defined(OPENSSL_NO_QUIC)

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/quic.h>

static int news;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    number_session(session, (unsigned)++news);
    return 0;
}

/* ---- Generators of session ids: libssl asks with a connection inside the one that the program knows ---- */

static enum { NOTHING, ON_CONNECTION, TAKE_FROM_CONTEXT } at_hello;
static int of_connection, of_context, matching;

static int generate(SSL *ssl, unsigned char *id, unsigned *length, int *calls)
{
    memset(id, 0, *length);
    id[0] = (unsigned char)++*calls;
    id[1] = calls == &of_context;
    matching += SSL_has_matching_session_id(ssl, id, *length);
    return 1;
}

static int for_connection(SSL *ssl, unsigned char *id, unsigned *length)
{
    return generate(ssl, id, length, &of_connection);
}

static int for_context(SSL *ssl, unsigned char *id, unsigned *length)
{
    return generate(ssl, id, length, &of_context);
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                           const unsigned char *in, unsigned in_length, void *arg)
{
    (void)arg;
    if (at_hello == ON_CONNECTION) {
        SSL_CTX *before = SSL_get_SSL_CTX(ssl), *other = server_context();
        int set = SSL_set_generate_session_id(ssl, for_connection);
        expect("C14", set == 1, "a connection takes a generator");
        /* Neither is there for QUIC; and nothing may be noted of them. */
        expect("C13", SSL_set_SSL_CTX(ssl, other) == NULL && SSL_get_SSL_CTX(ssl) == before,
               "and stays with its context");
        expect("C13", SSL_dup(ssl) == NULL, "and has no copies");
        ERR_clear_error();
        SSL_CTX_free(other);
    } else if (at_hello == TAKE_FROM_CONTEXT) {
        SSL_CTX_set_generate_session_id(SSL_get_SSL_CTX(ssl), NULL);
    }
    if (in_length < 6)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = in + 1;
    *out_length = in[0];
    return SSL_TLSEXT_ERR_OK;
}

static int bound_socket(struct sockaddr_in *address)
{
    socklen_t length = sizeof *address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)address, length) != 0
        || getsockname(fd, (struct sockaddr *)address, &length) != 0)
        give_up("cannot bind to 127.0.0.1");
    return fd;
}

static SSL_CTX *quic_server(int tickets, SSL_CTX *model)
{
    SSL_CTX *ctx = SSL_CTX_new(OSSL_QUIC_server_method());
    if (ctx == NULL || !SSL_CTX_use_certificate(ctx, SSL_CTX_get0_certificate(model))
        || !SSL_CTX_use_PrivateKey(ctx, SSL_CTX_get0_privatekey(model)))
        give_up("cannot make a QUIC server");
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"tests", 5);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    SSL_CTX_sess_set_new_cb(ctx, on_new);
    if (tickets == WITHOUT_TICKETS)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    return ctx;
}

/* One connection to its end over loopback, both ends in this thread. */
static hs_result connect_quic(SSL *listener, const struct sockaddr_in *to, SSL_CTX *client_ctx,
                              SSL_SESSION *resume, SSL_SESSION **next)
{
    struct sockaddr_in own;
    int fd = bound_socket(&own), done_client = 0;
    BIO_ADDR *peer = BIO_ADDR_new();
    SSL *client = SSL_new(client_ctx), *server = NULL;
    hs_result result = HS_FAILED;
    char byte = 'x';
    if (client == NULL || peer == NULL
        || !BIO_ADDR_rawmake(peer, AF_INET, &to->sin_addr, sizeof to->sin_addr, to->sin_port)
        || !SSL_set_fd(client, fd) || !SSL_set1_initial_peer_addr(client, peer)
        || !SSL_set_blocking_mode(client, 0)
        || SSL_set_alpn_protos(client, (const unsigned char *)"\5tests", 6) != 0)
        give_up("cannot make a QUIC client");
    if (resume != NULL)
        SSL_set_session(client, resume);
    *next = NULL;

    /* The client has all tickets when it has read what the server wrote after them. */
    for (;;) {
        SSL_handle_events(listener);
        if (!done_client)
            done_client = SSL_connect(client) == 1 && SSL_write(client, &byte, 1) == 1;
        else
            SSL_handle_events(client);
        if (server == NULL
            && (server = SSL_accept_connection(listener, SSL_ACCEPT_CONNECTION_NO_BLOCK)) != NULL)
            SSL_set_blocking_mode(server, 0);
        if (server != NULL) {
            SSL_handle_events(server);
            char got;
            if (SSL_read(server, &got, 1) == 1 && SSL_write(server, &got, 1) != 1)
                give_up("cannot echo");
        }
        if (done_client && SSL_read(client, &byte, 1) == 1)
            break;
        sched_yield();
    }
    result = SSL_session_reused(client) ? HS_RESUMED : HS_FULL;
    *next = SSL_get1_session(client);
    for (int i = 0; i < 3; i++) {
        SSL_shutdown_ex(client, SSL_SHUTDOWN_FLAG_RAPID | SSL_SHUTDOWN_FLAG_NO_BLOCK, NULL, 0);
        SSL_shutdown_ex(server, SSL_SHUTDOWN_FLAG_RAPID | SSL_SHUTDOWN_FLAG_NO_BLOCK, NULL, 0);
        SSL_handle_events(listener);
    }
    SSL_free(client);
    SSL_free(server);
    BIO_ADDR_free(peer);
    close(fd);
    ERR_clear_error();
    return result;
}

static SSL *listening(SSL_CTX *server, int fd)
{
    SSL *listener = SSL_new_listener(server, 0);
    if (listener == NULL || !SSL_set_fd(listener, fd) || !SSL_set_blocking_mode(listener, 0)
        || !SSL_listen(listener))
        give_up("cannot listen");
    return listener;
}

static void serve(int tickets, const char *name)
{
    SSL_CTX *model = hs_server(TLS1_3_VERSION, tickets), *server = quic_server(tickets, model);
    SSL_CTX *client = SSL_CTX_new(OSSL_QUIC_client_method());
    struct sockaddr_in address;
    int fd = bound_socket(&address);
    SSL *listener = listening(server, fd);
    news = 0;
    if (tickets == WITHOUT_TICKETS)
        record_removals(server, 'Q');
    forget_removals();

    SSL_SESSION *first, *second, *third;
    expect("C10", connect_quic(listener, &address, client, NULL, &first) == HS_FULL, "%s: a full handshake",
           name);
    say("%s: %d new, number %ld", name, news, SSL_CTX_sess_number(server));
    expect("C9", connect_quic(listener, &address, client, first, &second) == HS_RESUMED, "%s: resumed", name);
    say("%s: %d new, number %ld, hits %ld, misses %ld", name, news, SSL_CTX_sess_number(server),
        SSL_CTX_sess_hits(server), SSL_CTX_sess_misses(server));
    flush(server, 0);
    expect("F2", SSL_CTX_sess_number(server) == 0, "%s: flushed", name);
    hs_result result = connect_quic(listener, &address, client, second, &third);
    expect("F2", result == (tickets == WITHOUT_TICKETS ? HS_FULL : HS_RESUMED), "%s: then %s", name,
           hs_word(result));
    say("%s: %zu removed, number %ld, misses %ld", name, removals(), SSL_CTX_sess_number(server),
        SSL_CTX_sess_misses(server));
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    SSL_SESSION_free(third);
    SSL_free(listener);
    close(fd);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    SSL_CTX_free(model);
    say("%s: at the end %zu removed", name, removals());
}

static void generators(void)
{
    SSL_CTX *model = hs_server(TLS1_3_VERSION, WITHOUT_TICKETS), *server = quic_server(WITHOUT_TICKETS, model);
    SSL_CTX *client = SSL_CTX_new(OSSL_QUIC_client_method());
    struct sockaddr_in address;
    int fd = bound_socket(&address);
    SSL *listener = listening(server, fd);
    static const char *const names[] = {"the context's", "the connection's", "the context's, taken away meanwhile"};
    for (int way = NOTHING; way <= TAKE_FROM_CONTEXT; way++) {
        SSL_SESSION *session;
        of_connection = of_context = matching = 0;
        flush(server, 0);
        SSL_CTX_set_generate_session_id(server, for_context);
        at_hello = way;
        expect("C14", connect_quic(listener, &address, client, NULL, &session) == HS_FULL, "%s: a handshake",
               names[way]);
        at_hello = NOTHING;
        expect("C14", (way == ON_CONNECTION ? of_connection : of_context) > 0, "%s: it is asked", names[way]);
        say("%s: asked %d of the connection, %d of the context, %d matched, number %ld", names[way], of_connection,
            of_context, matching, SSL_CTX_sess_number(server));
        SSL_SESSION *next;
        expect("C14", connect_quic(listener, &address, client, session, &next) == HS_RESUMED, "%s: and resumed",
               names[way]);
        SSL_SESSION_free(session);
        SSL_SESSION_free(next);
    }
    SSL_free(listener);
    close(fd);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    SSL_CTX_free(model);
}

int main(void)
{
    limit_time();
    generators();
    serve(WITHOUT_TICKETS, "stateful");
    serve(WITH_TICKETS, "stateless");
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}

#else

int main(void)
{
    expect("C9", 1, "this libssl has no QUIC servers");
    return done();
}

#endif
