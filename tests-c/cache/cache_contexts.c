/* C7, C15: threads that make, use and free contexts of their own meet only in what sslsweep knows of all
 * contexts. Addresses are reused all the time, across threads. */
#include "support.h"

#define THREADS 4

static int rounds;

struct worker {
    pthread_t thread;
    unsigned char letter;
    int calls, wrong;
};

static int index_of_worker;

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    struct worker *worker = SSL_CTX_get_ex_data(ctx, index_of_worker);
    unsigned length;
    const unsigned char *id = SSL_SESSION_get_id(session, &length);
    worker->calls++;
    worker->wrong += length != 32 || id[0] != worker->letter;
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    for (int i = 0; i < rounds; i++) {
        SSL_CTX *ctx[3];
        for (int c = 0; c < 3; c++) {
            ctx[c] = SSL_CTX_new(TLS_server_method());
            worker->wrong += SSL_CTX_sess_number(ctx[c]) != 0 || SSL_CTX_sess_get_remove_cb(ctx[c]) != NULL
                             || SSL_CTX_sess_get_cache_size(ctx[c]) != 20480;
            SSL_CTX_set_ex_data(ctx[c], index_of_worker, worker);
            SSL_CTX_sess_set_remove_cb(ctx[c], on_remove);
            SSL_CTX_sess_set_cache_size(ctx[c], 1000 + c);
            for (unsigned char n = 0; n < 20; n++) {
                unsigned char id[32] = {worker->letter, n};
                SSL_SESSION *session = make_session(TLS1_2_VERSION, id, sizeof id, 1000, n);
                SSL_CTX_add_session(ctx[c], session);
                SSL_SESSION_set_timeout(session, 100 + n);
                SSL_SESSION_free(session);
            }
        }
        SSL *ssl = SSL_new(ctx[0]);
        SSL_set_SSL_CTX(ssl, ctx[1]);
        flush(ctx[0], 1110);
        SSL_CTX_free(ctx[0]);
        SSL_CTX_free(ctx[1]);
        SSL_free(ssl);
        worker->wrong += SSL_CTX_sess_number(ctx[2]) != 20 || SSL_CTX_sess_get_cache_size(ctx[2]) != 1002;
        SSL_CTX_free(ctx[2]);
    }
    return NULL;
}

int main(void)
{
    struct worker workers[THREADS] = {0};
    int calls = 0, wrong = 0;
    rounds = slowly() ? 10 : 300;
    index_of_worker = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    for (int i = 0; i < THREADS; i++) {
        workers[i].letter = (unsigned char)('a' + i);
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            give_up("pthread_create");
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        calls += workers[i].calls;
        wrong += workers[i].wrong;
    }
    expect("C15", calls == THREADS * rounds * 60, "every session of every context leaves with a callback");
    expect("C7", wrong == 0, "and nobody sees anything of others");
    expect("C15", no_errors(), "no error is left in the queue");
    return done();
}
