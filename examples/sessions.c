/* Visits the sessions of a context, here to remove those of one user, for instance after a change of password.
 *
 *   linked:      cc sessions.c $(pkg-config --cflags --libs sslsweep) -lssl -lcrypto
 *   without:     cc sessions.c -I... -lssl -lcrypto, and sslsweep is used when it is preloaded
 *
 * libssl's SSL_CTX_sessions(3) returns its live table: meanwhile no other thread may use the context, and no session
 * may be removed. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/ssl.h>

#pragma weak sslsweep_for_each_session
#include <sslsweep.h>

static int user_index; /* of a session's ex_data, which holds its user */

struct search {
    SSL_CTX *ctx;
    const char *user;
    int removed;
};

/* Called for each session of a snapshot, with no lock held, so it may call any function. Returns 0 to continue. */
static int remove_if_of_user(SSL_SESSION *session, void *argument)
{
    struct search *search = argument;
    const char *user = SSL_SESSION_get_ex_data(session, user_index);

    if (user != NULL && strcmp(user, search->user) == 0)
        search->removed += SSL_CTX_remove_session(search->ctx, session);
    return 0;
}

/* A session as a handshake leaves it behind, for an example without a network. */
static void store(SSL_CTX *ctx, unsigned number, const char *user)
{
    unsigned char id[32] = {(unsigned char)number, (unsigned char)(number >> 8)};
    SSL_SESSION *session = SSL_SESSION_new();

    SSL_SESSION_set_protocol_version(session, TLS1_2_VERSION);
    SSL_SESSION_set1_id(session, id, sizeof id);
    SSL_SESSION_set_timeout(session, 300);
    SSL_SESSION_set_ex_data(session, user_index, (void *)user);
    SSL_CTX_add_session(ctx, session);
    SSL_SESSION_free(session);
}

int main(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    struct search search = {ctx, "alice", 0};

    if (ctx == NULL)
        return 1;
    if (sslsweep_for_each_session == NULL) {
        printf("no sslsweep here\n");
        SSL_CTX_free(ctx);
        return 0;
    }
    user_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    for (unsigned number = 0; number < 100; number++)
        store(ctx, number, number % 4 ? "bob" : "alice");

    long long visited = sslsweep_for_each_session(ctx, remove_if_of_user, &search);
    printf("visited %lld, removed %d, %ld are left\n", visited, search.removed, SSL_CTX_sess_number(ctx));
    SSL_CTX_free(ctx);
    return 0;
}
