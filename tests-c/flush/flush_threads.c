/* F13: flushes from several threads, with others adding and removing, remove each session once. */
#include "support.h"

#include <stdlib.h>

#define THREADS 4
#define MAX_SESSIONS 20000

static unsigned count;
static unsigned calls[MAX_SESSIONS + 1];
static unsigned gone; /* sessions whose last reference went */
static unsigned absent; /* removals that found nothing: these call back too (C5) */
static pthread_barrier_t start;
static SSL_CTX *shared;
static int gone_index;

static void on_gone(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    if (ptr != NULL)
        __atomic_add_fetch(&gone, 1, __ATOMIC_RELAXED);
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx;
    __atomic_add_fetch(&calls[session_number(session)], 1, __ATOMIC_RELAXED);
}

static SSL_SESSION *counted_session(unsigned n)
{
    SSL_SESSION *session = numbered_session(n, 1000, (long)(n % 100));
    SSL_SESSION_set_ex_data(session, gone_index, &gone);
    return session;
}

static void add(unsigned n)
{
    SSL_SESSION *session = counted_session(n);
    SSL_CTX_add_session(shared, session);
    SSL_SESSION_free(session);
}

static void *flush_in_steps(void *arg)
{
    (void)arg;
    pthread_barrier_wait(&start);
    for (time_t tm = 1000; tm <= 1100; tm += 10)
        flush(shared, tm);
    flush(shared, 0);
    return NULL;
}

static void *add_some(void *arg)
{
    unsigned part = (unsigned)(size_t)arg;
    pthread_barrier_wait(&start);
    for (unsigned n = part + 1; n <= count; n += THREADS)
        add(n);
    return NULL;
}

static void *remove_some(void *arg)
{
    (void)arg;
    pthread_barrier_wait(&start);
    for (unsigned n = 1; n <= count; n += 3) {
        /* By key: an object of our own, which the callback is then given. */
        SSL_SESSION *same = numbered_session(n, 1, 1);
        if (!SSL_CTX_remove_session(shared, same))
            __atomic_add_fetch(&absent, 1, __ATOMIC_RELAXED);
        SSL_SESSION_free(same);
    }
    return NULL;
}

static void run(void *(*const work[])(void *))
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&start, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work[i], (void *)i) != 0)
            give_up("pthread_create");
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
}

static void begin(int filled)
{
    shared = server_context();
    SSL_CTX_sess_set_cache_size(shared, 0);
    SSL_CTX_sess_set_remove_cb(shared, on_remove);
    gone = absent = 0;
    for (unsigned n = 0; n <= count; n++)
        calls[n] = 0;
    for (unsigned n = 1; filled && n <= count; n++)
        add(n);
}

static unsigned total(void)
{
    unsigned sum = 0;
    for (unsigned n = 1; n <= count; n++)
        sum += calls[n];
    return sum;
}

static int each_once(void)
{
    for (unsigned n = 1; n <= count; n++)
        if (calls[n] != 1)
            return 0;
    return 1;
}

int main(void)
{
    void *(*const flushers[THREADS])(void *) = {flush_in_steps, flush_in_steps, flush_in_steps, flush_in_steps};
    void *(*const mixed[THREADS])(void *) = {flush_in_steps, flush_in_steps, remove_some, remove_some};
    void *(*const adders[THREADS])(void *) = {add_some, add_some, add_some, add_some};
    void *(*const all[THREADS])(void *) = {add_some, flush_in_steps, add_some, flush_in_steps};

    count = slowly() ? 1000 : MAX_SESSIONS;
    gone_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, on_gone);

    begin(1);
    run(flushers);
    expect("F13", each_once(), "four threads flush: one callback for each session");
    expect("F13", gone == count && SSL_CTX_sess_number(shared) == 0, "each is dropped once");
    SSL_CTX_free(shared);

    begin(1);
    run(mixed);
    expect("F13", total() == count + absent, "two flush, two remove: one callback for each that left");
    expect("F13", gone == count && SSL_CTX_sess_number(shared) == 0, "each is dropped once");
    SSL_CTX_free(shared);

    begin(0);
    run(adders);
    expect("F13", SSL_CTX_sess_number(shared) == (long)count, "four threads add");
    SSL_CTX_free(shared);
    expect("C15", each_once() && gone == count, "the end takes them all");

    begin(0);
    run(all);
    flush(shared, 0);
    /* Two of the four parts were added; none of their sessions may be lost or counted twice. */
    expect("F13", total() == count / 2 && gone == count / 2, "two add, two flush");
    SSL_CTX_free(shared);
    expect("F13", total() == count / 2, "and nothing was left");
    expect("F13", no_errors(), "no error is left in the queue");
    return done();
}
