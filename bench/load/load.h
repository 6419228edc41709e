/*
 * What the server and its clients agree upon. The server restores sessions, and the clients know the secrets of
 * the first of them, so that they can resume sessions that no handshake has made.
 */
#ifndef LOAD_H
#define LOAD_H

#include "../bench.h"

enum {
    KNOWN = 20000,      /* restored sessions of TLS 1.2 that clients know */
    EXPIRED_EVERY = 10, /* of these, one in so many has expired before it is restored */
    SECRET_LENGTH = 48  /* a master secret of TLS 1.2 */
};

/* One cipher, since a session can be resumed with its own only. */
#define CIPHER_OF_TLS12 "ECDHE-ECDSA-AES128-GCM-SHA256"

/* The id and the secret of the known session n, the same in each process. */
void make_known(SSL_SESSION *session, unsigned n);
bool known_expired(unsigned n);

_Noreturn void serve(void);
_Noreturn void visit(int argc, char **argv);

#endif
