/* Peers for the tests of sharing: contexts of equal and of other trust, in this process and in another one.
 *
 * Without sharing (on stock) no context gets a session of another one. So what must not be shared is an `expect`, and what
 * is shared a `better`. */
#ifndef TESTS_SHARING_H
#define TESTS_SHARING_H

#include "handshake.h"

/* The program again, with SSLSWEEP_SHARE=family in its environment, and a limit of time. Begin main with it. */
void sharing_on(char **argv);

/* ---- A segment with a name, and its key ---- */

/* The program again, with SSLSWEEP_SHARE=host:SEGMENT and a key file in its environment. Begin main with it. */
void sharing_on_host(char **argv);

/* Removes what sharing_on_host has made. */
void sharing_end(void);

/* The line of a key file, whose key fleet_mac uses. */
extern const char fleet_key[];

enum { FLEET_RANDOM = 24, FLEET_ID = 32 };

/* Writes behind the random bytes of a session id what tells holders of the key that one of them has made it. */
void fleet_mac(unsigned char id[FLEET_ID]);

/* ---- Certificates ---- */

typedef struct identity {
    EVP_PKEY *key;
    X509 *certificate;
} identity;

/* A self-signed certificate: EVP_PKEY_EC, EVP_PKEY_ED25519 or EVP_PKEY_RSA. */
identity new_identity(int type);
void free_identity(identity *who);

/* Writes a key and a certificate, made now, into a file. */
void write_identity(const char *file);

/* Gives it to a context, beside those of other types. */
void use_identity(SSL_CTX *ctx, const identity *who);

/* ---- Connections ---- */

/* One connection to a server of this name (NULL: none), as hs_connect; `adjust`, if given, sees the server's end first. */
hs_result visit(SSL_CTX *server, SSL_CTX *client, const char *name, void (*adjust)(SSL *), SSL_SESSION *resume,
                SSL_SESSION **next);

/* TLS 1.2, TLS 1.3, DTLS 1.2. */
const char *version_name(int version);

/* ---- Another process ---- */

/* The exit status of work(arg) in a child of fork; the negative signal if one has ended it. */
int elsewhere(int (*work)(void *), void *arg);

/* The client's session of a full handshake in a child of fork, which has ended since. */
SSL_SESSION *first_elsewhere(SSL_CTX *server, SSL_CTX *client);

/* The session that make(arg) returns in a child of fork, which has ended since. NULL if it is NULL. */
SSL_SESSION *session_elsewhere(SSL_SESSION *(*make)(void *), void *arg);

/* hs_resume in a child of fork. */
hs_result resume_elsewhere(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session);

/* ---- A sandbox ---- */

#if defined __x86_64__ || defined __aarch64__
# define HAS_SANDBOX 1
#else
# define HAS_SANDBOX 0
#endif

/* From here on a system call ends the process, with few exceptions: libcrypto asks for random numbers, and in a child for its
 * pid. (Each context has stored something before: its first session makes its tables, also without sharing; `may_map` allows them to grow.) 0 if it cannot be. */
int close_sandbox(int may_map);

/* Before that: the C library takes memory from the system now, and none later. */
void take_memory(void);

#endif
