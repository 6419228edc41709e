/* Setters from several threads on sessions that sit in a cache, while others store, flush and remove the
 * same ones. A session's own fields are only as well guarded as libssl guards them; what is promised is
 * that the cache stays whole. Stock relinks its list here under the lock of an owner that may be gone. */
#include "support.h"

#define THREADS 4
#define SESSIONS 400

static SSL_CTX *shared;
static SSL_SESSION *session[SESSIONS];
static int rounds, gone, gone_index;
static unsigned callbacks;

static void on_gone(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    gone += ptr != NULL;
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *removed)
{
    (void)ctx;
    __atomic_add_fetch(&callbacks, session_number(removed) != 0, __ATOMIC_RELAXED);
}

static void *set(void *arg)
{
    unsigned n = (unsigned)(size_t)arg + 1;
    for (int i = 0; i < rounds; i++) {
        n = n * 1103515245u + 12345u;
        SSL_SESSION *one = session[(n >> 8) % SESSIONS];
        SSL_SESSION_set_time(one, 1000 + (long)(n >> 16) % 1000);
        SSL_SESSION_set_timeout(one, (long)(n >> 20) % 1000);
    }
    return NULL;
}

static void *store_and_flush(void *arg)
{
    unsigned n = (unsigned)(size_t)arg + 1;
    for (int i = 0; i < rounds; i++) {
        n = n * 1103515245u + 12345u;
        SSL_SESSION *one = session[(n >> 8) % SESSIONS];
        switch ((n >> 24) % 8) {
        case 0:
            flush(shared, 1000 + (time_t)(n >> 16) % 2000);
            break;
        case 1:
            SSL_CTX_remove_session(shared, one);
            break;
        case 2:
            (void)SSL_CTX_sess_number(shared);
            break;
        default:
            SSL_CTX_add_session(shared, one);
        }
    }
    return NULL;
}

static void *resize(void *arg)
{
    (void)arg;
    for (int i = 0; i < rounds; i++) {
        SSL_CTX_sess_set_cache_size(shared, i % 300);
        SSL_CTX_sess_set_remove_cb(shared, i % 2 ? on_remove : NULL);
        SSL_CTX_set_session_cache_mode(shared, i % 3 ? SSL_SESS_CACHE_BOTH : SSL_SESS_CACHE_SERVER);
    }
    return NULL;
}

static void run(void *(*const work[THREADS])(void *))
{
    pthread_t thread[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&thread[i], NULL, work[i], (void *)i) != 0)
            give_up("pthread_create");
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
}

static void whole(const char *what)
{
    int in_order = 1;
    /* Now that all is quiet, every session must leave by the expiry that it has, and only then. */
    SSL_CTX_sess_set_cache_size(shared, 0);
    for (unsigned n = 0; n < SESSIONS; n++) {
        SSL_CTX_add_session(shared, session[n]);
        SSL_SESSION_set_time(session[n], 1000);
        SSL_SESSION_set_timeout(session[n], (long)n);
    }
    better("C6", SSL_CTX_sess_number(shared) == SESSIONS, "%s: all can be stored", what);
    for (time_t tm = 1001; tm <= 1000 + SESSIONS; tm++) {
        flush(shared, tm);
        in_order = in_order && SSL_CTX_sess_number(shared) == 1000 + SESSIONS - tm;
    }
    better("C6", in_order, "%s: each leaves by its own expiry", what);
    better("C6", gone == 0, "%s: none is dropped too often", what);
}

int main(void)
{
    void *(*const setting[THREADS])(void *) = {set, set, set, set};
    void *(*const mixed[THREADS])(void *) = {set, store_and_flush, set, store_and_flush};
    void *(*const all[THREADS])(void *) = {set, store_and_flush, store_and_flush, resize};

    if (stock_cannot("C6", "setters on stored sessions crash it when others store and flush them"))
        return done();
    rounds = slowly() ? 2000 : 100000;
    gone_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, on_gone);
    shared = server_context();
    SSL_CTX_sess_set_remove_cb(shared, on_remove);
    for (unsigned n = 0; n < SESSIONS; n++) {
        session[n] = numbered_session(n + 1, 1000, 100);
        SSL_SESSION_set_ex_data(session[n], gone_index, &gone);
        SSL_CTX_add_session(shared, session[n]);
    }
    run(setting);
    whole("four set");
    run(mixed);
    whole("two set, two store and flush");
    run(all);
    whole("one sets, two store and flush, one resizes");
    SSL_CTX_free(shared);
    for (unsigned n = 0; n < SESSIONS; n++)
        SSL_SESSION_free(session[n]);
    better("C6", gone == SESSIONS, "no reference is lost");
    better("C6", no_errors(), "no error is left in the queue");
    return done();
}
