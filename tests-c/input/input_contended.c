/* Without any memory, threads that meet at a lock for the first time. A lock that registers something for a thread would
 * end the process here: the C library has no memory to write it down. */
#include "handshake.h"

#include "failing.inc"

enum { THREADS = 8, ROUNDS = 20000 };

static SSL_CTX *ctx;
static SSL_SESSION *session[THREADS];
static pthread_barrier_t all_there;
static atomic_int stored;

static void *meet(void *arg)
{
    size_t me = (size_t)arg;
    pthread_barrier_wait(&all_there);
    failing.at = 0, failing.from_there_on = 1, failing.armed = 1;
    for (int round = 0; round < (slowly() ? ROUNDS / 100 : ROUNDS); round++) {
        stored += SSL_CTX_add_session(ctx, session[me]);
        stored -= SSL_CTX_remove_session(ctx, session[me]);
        SSL_CTX_sess_number(ctx);
    }
    failing.armed = 0;
    return NULL;
}

int main(void)
{
    pthread_t thread[THREADS];
    limit_time();
    if (stock_cannot("C3", "what it had no memory to store stays in its list, and is freed there"))
        return done();
    ctx = server_context();
    for (unsigned i = 0; i < THREADS; i++) {
        session[i] = numbered_session(i + 1, 1000, 100);
        SSL_CTX_add_session(ctx, session[i]);
        stored++;
    }
    pthread_barrier_init(&all_there, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        hs_start(&thread[i], meet, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    better("C3", SSL_CTX_sess_number(ctx) == stored, "threads without memory meet at a lock");
    ERR_clear_error();
    flush(ctx, 0);
    better("F2", SSL_CTX_sess_number(ctx) == 0, "and the cache serves after that");
    for (unsigned i = 0; i < THREADS; i++)
        SSL_SESSION_free(session[i]);
    SSL_CTX_free(ctx);
    return done();
}
