/* Real handshakes for the tests: contexts with a key and a certificate made in memory, both ends driven
 * in one thread over memory, and a bounded load over loopback TCP.
 *
 * What a connection came to is one of three words, in this order: failed, full, resumed. */
#ifndef TESTS_HANDSHAKE_H
#define TESTS_HANDSHAKE_H

#include "support.h"

/* ---- Contexts ---- */

#define ANY_TLS 0 /* TLS 1.2 and 1.3 */

enum { WITHOUT_TICKETS, WITH_TICKETS };

/* A server for one version (TLS1_2_VERSION, TLS1_3_VERSION, DTLS1_2_VERSION or ANY_TLS), session id
 * context "tests". Without tickets TLS 1.2 resumes by session id and TLS 1.3 by stateful tickets, so
 * both need the server's cache. */
SSL_CTX *hs_server(int version, int tickets);

/* Gives the key and the certificate back: for a plug-in, which has to leave nothing behind. */
void hs_end(void);

/* A client that trusts anyone and keeps no cache (OpenSSL's default). */
SSL_CTX *hs_client(int version);

/* ---- One connection ---- */

typedef enum hs_result { HS_FAILED, HS_FULL, HS_RESUMED } hs_result;

const char *hs_word(hs_result result);

typedef struct hs_pair {
    SSL *server, *client;
    int server_error, client_error; /* reason codes when the handshake failed, else 0 */
} hs_pair;

/* Both ends, joined and not yet begun, so that a test can set what it needs. */
hs_pair hs_new(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *resume);

/* The handshake to its end and what follows it (tickets). Errors are taken out of the queue. */
hs_result hs_drive(hs_pair *pair);

/* The same with 0-RTT data from the client; *accepted: the server got them. */
hs_result hs_drive_early(hs_pair *pair, int *accepted);

/* A clean end: both sides say goodbye, so that libssl keeps the sessions. */
void hs_close(hs_pair *pair);

/* The connection is lost: no goodbye. libssl takes such sessions out of the cache. */
void hs_drop(hs_pair *pair);

/* One connection from beginning to clean end. next, if given, receives the client's session to be
 * resumed later (the caller frees it; NULL if there is none). */
hs_result hs_connect(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *resume, SSL_SESSION **next);

/* The client's session of a full handshake; gives up when the handshake fails or resumes. */
SSL_SESSION *hs_first(SSL_CTX *server, SSL_CTX *client);

/* Tries to resume and forgets about it. */
hs_result hs_resume(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *resume);

/* Makes a stored session expired without waiting: its time moves into the distant past. */
void hs_age(SSL_SESSION *session);

/* The server's stored session that belongs to the client's one (TLS 1.2: the same id; TLS 1.3: its id is
 * the stateful ticket). A reference of the caller's, or NULL. */
SSL_SESSION *hs_stored(SSL_CTX *server, SSL_SESSION *client_session);

/* Every counter of the context as one line, for say(). Valid until the next call of the thread. */
const char *hs_counters(SSL_CTX *ctx);

/* Follows a session to its end: how many of the followed ones have been freed. */
void hs_follow(SSL_SESSION *session);
int hs_freed(void);

/* ---- Load ---- */

typedef struct hs_load {
    SSL_CTX *server;
    int servers;        /* threads that accept */
    int clients;        /* threads that connect */
    int rounds;         /* connections of each client thread */
    const int *version; /* of client thread i: version[i % versions] */
    int versions;
    /* Results. */
    int full, resumed, failed;
} hs_load;

/* Runs the load over 127.0.0.1 and returns when every thread has ended. Each client thread resumes its
 * last session in every second round. */
void hs_run(hs_load *load);

/* pthread_create, giving up when it fails. */
void hs_start(pthread_t *thread, void *(*body)(void *), void *arg);


#endif
