/* C9, C10, C13: callbacks of a handshake that do not return: the thread ends there, or longjmp leaves. libssl
 * holds no lock meanwhile, so all that is lost is the connection, and what the program itself held. */
/* Leaks: what is left behind of a handshake in this program and in libssl is not freed. */
#include "handshake.h"

#include <openssl/rand.h>

#include <setjmp.h>

static enum { STAY, EXIT, JUMP } how;
static jmp_buf back;
static hs_pair pair;

static void leave(void)
{
    if (how == EXIT)
        pthread_exit(&back);
    if (how == JUMP)
        longjmp(back, 1);
}

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    leave();
    return 0;
}

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    leave();
    return NULL;
}

static int on_generate(SSL *ssl, unsigned char *id, unsigned *length)
{
    (void)ssl;
    leave();
    return RAND_bytes(id, (int)*length);
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    leave();
}

static void *drive(void *ignored)
{
    (void)ignored;
    if (setjmp(back) == 0)
        hs_drive(&pair);
    return how == JUMP ? &back : NULL;
}

static void shaking_hands(int version, int i)
{
    static const char *const names[] = {"new", "get", "generate"};
    static const char *const ways[] = {"", "the thread ends", "longjmp leaves"};
    for (int way = EXIT; way <= JUMP; way++) {
        pthread_t thread;
        void *result = NULL;
        SSL_CTX *server = hs_server(version, WITHOUT_TICKETS), *client = hs_client(version);
        SSL_SESSION *session = hs_first(server, client);
        how = STAY;
        if (i == 0)
            SSL_CTX_sess_set_new_cb(server, on_new);
        if (i == 1) {
            flush(server, 0);
            SSL_CTX_sess_set_get_cb(server, on_get);
        }
        if (i == 2)
            SSL_CTX_set_generate_session_id(server, on_generate);
        pair = hs_new(server, client, i == 1 ? session : NULL);
        how = way;
        hs_start(&thread, drive, NULL);
        pthread_join(thread, &result);
        how = STAY;
        expect("C10", result == &back, "TLS %x, callback %s: %s", version, names[i], ways[way]);
        hs_drop(&pair);
        ERR_clear_error();
        expect("C10", hs_connect(server, client, NULL, NULL) == HS_FULL, "the next handshake is as ever");
        SSL_SESSION_free(session);
        session = hs_first(server, client);
        expect("C9", hs_resume(server, client, session) == HS_RESUMED, "and is resumed");
        record_removals(server, 'A');
        forget_removals();
        long before = SSL_CTX_sess_number(server);
        flush(server, 0);
        expect("F2", (long)removals() == before && SSL_CTX_sess_number(server) == 0, "and flushed");
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

/* libssl removes a session that it finds to have expired, without its lock. */
static void expired(void)
{
    for (int way = EXIT; way <= JUMP; way++) {
        pthread_t thread;
        void *result = NULL;
        SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
        SSL_SESSION *session = hs_first(server, client), *stored = hs_stored(server, session);
        record_removals(server, 'A');
        SSL_CTX_sess_set_remove_cb(server, on_remove);
        forget_removals();
        hs_age(stored);
        SSL_SESSION_free(stored);
        pair = hs_new(server, client, session);
        how = way;
        hs_start(&thread, drive, NULL);
        pthread_join(thread, &result);
        how = STAY;
        expect("C9", result == &back && removals() == 1, "the remove callback of an expired session is left");
        hs_drop(&pair);
        ERR_clear_error();
        expect("C9", SSL_CTX_sess_number(server) == 0, "which is out of the cache");
        SSL_SESSION_free(session);
        session = hs_first(server, client);
        expect("C9", hs_resume(server, client, session) == HS_RESUMED, "the context goes on");
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

int main(void)
{
    limit_time();
    for (int i = 0; i < 3; i++)
        shaking_hands(TLS1_2_VERSION, i);
    shaking_hands(TLS1_3_VERSION, 0);
    shaking_hands(TLS1_3_VERSION, 1);
    expired();
    return done();
}
