/* C6: a setter reaches the session in its cache however many other contexts there are, and while other
 * threads end some of those and begin others. */
#include "support.h"

#define MOST 1500

static SSL_CTX *others[MOST];
static int rounds, number_of_others;
static int ended;

static void *end_others(void *arg)
{
    (void)arg;
    for (int i = 0; i < number_of_others; i++)
        SSL_CTX_free(others[i]);
    __atomic_store_n(&ended, 1, __ATOMIC_RELAXED);
    return NULL;
}

/* The very first sessions of a context, from several threads at once. */
#define THREADS 4
static SSL_CTX *fresh;
static pthread_barrier_t begin, end;

static void *store_first(void *arg)
{
    unsigned n = (unsigned)(size_t)arg + 1;
    for (int i = 0; i < rounds; i++) {
        SSL_SESSION *session = numbered_session(n, 1000, 5000);
        pthread_barrier_wait(&begin);
        SSL_CTX_add_session(fresh, session);
        SSL_SESSION_set_timeout(session, 100);
        pthread_barrier_wait(&end);
        SSL_SESSION_free(session);
    }
    return NULL;
}

static void first_stores(void)
{
    pthread_t threads[THREADS];
    int left = 0;
    pthread_barrier_init(&begin, NULL, THREADS + 1);
    pthread_barrier_init(&end, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, store_first, (void *)i) != 0)
            give_up("pthread_create");
    for (int i = 0; i < rounds; i++) {
        fresh = server_context();
        pthread_barrier_wait(&begin);
        pthread_barrier_wait(&end);
        flush(fresh, 1101);
        left += SSL_CTX_sess_number(fresh) != 0;
        SSL_CTX_free(fresh);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    expect("C6", left == 0, "setters reach the first sessions of a context, stored by several threads at once");
}

/* Contexts that are older than ours end while we set. */
static void among_others(void)
{
    pthread_t thread;
    int late = 0, early = 0;
    for (int i = 0; i < number_of_others; i++) {
        others[i] = server_context();
        store(others[i], 1000, 1000, 9000);
    }
    SSL_CTX *ctx = server_context();
    SSL_SESSION *session = numbered_session(1, 1000, 5000);
    ended = 0;
    if (pthread_create(&thread, NULL, end_others, NULL) != 0)
        give_up("pthread_create");
    do {
        SSL_SESSION_set_timeout(session, 5000);
        SSL_CTX_add_session(ctx, session);
        SSL_SESSION_set_timeout(session, 100);
        flush(ctx, 1101);
        late += SSL_CTX_sess_number(ctx) != 0;
        SSL_CTX_add_session(ctx, session);
        SSL_SESSION_set_timeout(session, 6000);
        flush(ctx, 5000);
        early += SSL_CTX_sess_number(ctx) != 1;
        flush(ctx, 0);
    } while (!__atomic_load_n(&ended, __ATOMIC_RELAXED));
    pthread_join(thread, NULL);
    expect("C6", late == 0, "a shorter timeout is always in force at once");
    expect("C6", early == 0, "and a longer one");
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
}

int main(void)
{
    rounds = slowly() ? 20 : 2000;
    number_of_others = slowly() ? 50 : MOST;
    first_stores();
    for (int i = 0; i < 3; i++)
        among_others();
    return done();
}
