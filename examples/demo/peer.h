/* Both ends of a TLS connection over the loopback interface, for the demo's server. */
#ifndef PEER_H
#define PEER_H

#include <openssl/ssl.h>
#include <stdbool.h>

/* The server's end: threads that accept, shake hands, send one byte and close. */
struct listener {
    SSL_CTX *ctx;
    int fd;
    int port;
};

SSL_CTX *server_context(void);
SSL_CTX *client_context(void);
void listener_start(struct listener *listener, SSL_CTX *ctx);
void listener_stop(struct listener *listener);

/* One connection of a client. The session that it ends with is the caller's to free. */
struct visit {
    bool resumed;
    SSL_SESSION *session;
    double started, ready; /* seconds: before connecting, and when the handshake was done */
};

struct visit visit(SSL_CTX *ctx, int port, int version, SSL_SESSION *offer);

double clock_now(void); /* seconds, monotonic */
_Noreturn void die(const char *what);

#endif
