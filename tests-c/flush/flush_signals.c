/* F13: signals during flushes. Handlers without SA_RESTART interrupt threads that flush, store and wait for one
 * another's locks; each session still leaves once. (A handler itself may use no function of OpenSSL.) */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FLUSHERS = 3, ROUNDS = 20, MOST = 400 };

static SSL_CTX *ctx;
static unsigned many, calls[ROUNDS * MOST + 1];
static int finished;
static volatile sig_atomic_t signals;

static void on_signal(int number)
{
    (void)number;
    signals++;
}

static void on_remove(SSL_CTX *of, SSL_SESSION *session)
{
    (void)of;
    __atomic_add_fetch(&calls[session_number(session)], 1, __ATOMIC_RELAXED);
}

static void *flushes(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE))
        flush(ctx, 5000);
    return NULL;
}

static void *stores(void *arg)
{
    (void)arg;
    for (unsigned n = 1; n <= ROUNDS * many; n++) {
        while (n == ROUNDS * many / 2 && signals == 0)
            usleep(100); /* the main thread may be late */
        store(ctx, n, 1000, (long)(n % 100));
    }
    __atomic_store_n(&finished, 1, __ATOMIC_RELEASE);
    return NULL;
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    pthread_t threads[FLUSHERS + 1];
    unsigned once = 0;
    limit_time();
    many = slowly() ? 20 : MOST;
    sigaction(SIGUSR1, &action, NULL);
    ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, 0);
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    for (int i = 0; i <= FLUSHERS; i++)
        if (pthread_create(&threads[i], NULL, i < FLUSHERS ? flushes : stores, NULL) != 0)
            give_up("pthread_create");
    while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE)) {
        for (int i = 0; i <= FLUSHERS; i++)
            pthread_kill(threads[i], SIGUSR1);
        usleep(100);
    }
    for (int i = 0; i <= FLUSHERS; i++)
        pthread_join(threads[i], NULL);
    flush(ctx, 0);
    for (unsigned n = 1; n <= ROUNDS * many; n++)
        once += calls[n] == 1;
    printf("# signals handled: %d\n", (int)signals);
    expect("F13", once == ROUNDS * many && SSL_CTX_sess_number(ctx) == 0, "each session leaves once");
    expect("F13", signals > 0, "while signals were handled");
    SSL_CTX_free(ctx);
    return done();
}
