/* F4, F5, F13: a remove callback that ends its thread, by pthread_exit or because it is cancelled. What the
 * flush had still to call back for is not lost: the next flush of the context goes on with it, or the context's
 * end does. Stock keeps the lock of a flush locked for ever; that of SSL_CTX_remove_session is free by then. */
/* Leaks: what the end of a thread passes over in this program and in libssl is not freed. */
#include "support.h"

#include <unistd.h>

#define MANY 100

static int freed, freed_index, unwound;
static unsigned end_at;
static void (*how)(void);

static void on_free(void *parent, void *mark, CRYPTO_EX_DATA *data, int index, long l, void *p)
{
    (void)parent, (void)data, (void)index, (void)l, (void)p;
    freed += mark != NULL;
}

static void note_unwinding(void *arg)
{
    (void)arg;
    unwound++;
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (end_at != 0 && session_number(session) == end_at)
        how();
}

static void by_exit(void)
{
    pthread_exit(&end_at);
}

static gate waiting = GATE_INITIALIZER;

static void by_cancel(void)
{
    gate_open(&waiting);
    for (;;)
        pause();
}

static void free_session(void *session)
{
    SSL_SESSION_free(session);
}

static void add(SSL_CTX *ctx, unsigned n)
{
    SSL_SESSION *session = numbered_session(n, 1000, 100 + (long)n);
    SSL_SESSION_set_ex_data(session, freed_index, &freed);
    pthread_cleanup_push(free_session, session);
    SSL_CTX_add_session(ctx, session);
    pthread_cleanup_pop(1);
}

static SSL_CTX *filled(unsigned count, unsigned at)
{
    SSL_CTX *ctx = server_context();
    forget_removals();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    freed = unwound = 0;
    end_at = 0;
    for (unsigned n = 1; n <= count; n++)
        add(ctx, n);
    end_at = at;
    return ctx;
}

/* Each of 1..count once, in this order, marked, and out of the cache. */
static int each_once(unsigned count)
{
    int ok = removals() == count;
    for (unsigned n = 1; ok && n <= count; n++)
        ok = removal_at(n - 1).session == n && removal_at(n - 1).resumable == 0;
    return ok;
}

static void flush_all(SSL_CTX *ctx)
{
    flush(ctx, 0);
}

static void remove_one(SSL_CTX *ctx)
{
    SSL_SESSION *same = numbered_session(7, 1, 1);
    pthread_cleanup_push(free_session, same);
    SSL_CTX_remove_session(ctx, same);
    pthread_cleanup_pop(1);
}

static void add_more(SSL_CTX *ctx)
{
    add(ctx, 1001);
}

static void (*what)(SSL_CTX *ctx);

static void *work(void *ctx)
{
    pthread_cleanup_push(note_unwinding, NULL);
    what(ctx);
    pthread_cleanup_pop(0);
    return NULL;
}

/* Whether the thread that does this was ended by its callback. */
static int ended(SSL_CTX *ctx, void (*action)(SSL_CTX *), void (*in)(void))
{
    pthread_t thread;
    void *result = NULL;
    what = action;
    how = in;
    if (pthread_create(&thread, NULL, work, ctx) != 0)
        give_up("pthread_create");
    if (in == by_cancel && (!gate_wait(&waiting, 60) || pthread_cancel(thread) != 0))
        give_up("pthread_cancel");
    pthread_join(thread, &result);
    waiting.open = 0;
    end_at = 0;
    return result == (in == by_cancel ? PTHREAD_CANCELED : &end_at) && unwound == 1;
}

static void removing(void (*in)(void), const char *name)
{
    SSL_CTX *ctx = filled(20, 7);
    expect("C5", ended(ctx, remove_one, in), "SSL_CTX_remove_session: the thread ends by %s", name);
    expect("C5", removals() == 1 && SSL_CTX_sess_number(ctx) == 19, "the session is out, and no other");
    expect("C5", store(ctx, 50, 1000, 100) == 1 && SSL_CTX_sess_number(ctx) == 20, "the context goes on");
    SSL_CTX_free(ctx);
    expect("C15", removals() == 21, "to its end");
    better("C5", freed == 20, "no reference is lost");
}

static void flushing(void (*in)(void), const char *name)
{
    const unsigned at[] = {1, 50, MANY};
    for (int i = 0; i < 3; i++) {
        SSL_CTX *ctx = filled(MANY, at[i]);
        better("F5", ended(ctx, flush_all, in), "a flush: the thread ends by %s in callback %u", name, at[i]);
        better("F4", removals() == at[i] && SSL_CTX_sess_number(ctx) == 0, "so many were called");
        better("F4", freed == (int)at[i], "and their references dropped");
        better("C3", store(ctx, 2000, 9000, 100) == 1, "the context goes on");
        flush(ctx, 1); /* nothing is due */
        better("F13", each_once(MANY) && freed == MANY, "the next flush calls back for the others");
        better("F13", SSL_CTX_sess_number(ctx) == 1, "and for nothing else");
        SSL_CTX_free(ctx);

        ctx = filled(MANY, at[i]);
        ended(ctx, flush_all, in);
        SSL_CTX_free(ctx);
        better("C15", each_once(MANY) && freed == MANY, "or the end of the context does");
    }
}

static void evicting(void)
{
    SSL_CTX *ctx = filled(MANY, 1);
    SSL_CTX_sess_set_cache_size(ctx, MANY);
    better("C2", ended(ctx, add_more, by_exit), "an eviction: the thread ends");
    better("C2", removals() == 1 && freed == 1 && SSL_CTX_sess_number(ctx) == MANY, "the other was stored");
    SSL_CTX_free(ctx);
    better("C15", removals() == MANY + 1 && freed == MANY + 1, "nothing is lost");

    ctx = filled(MANY, 5);
    SSL_CTX_sess_set_cache_size(ctx, MANY / 2);
    better("C2", ended(ctx, add_more, by_exit), "several leave for one: the thread ends at the fifth");
    better("C2", removals() == 5, "%zu callbacks", removals());
    flush(ctx, 1);
    better("C2", removals() > 5 && (long)removals() + SSL_CTX_sess_number(ctx) == MANY,
           "the next flush calls back for those that had left");
    SSL_CTX_free(ctx);
    /* The one that they made room for was not stored any more. */
    better("C15", removals() == MANY && freed == MANY + 1, "nothing is lost");
}

/* With no remove callback it is the free function of a session's data that can end the thread. */
static int end_index, drops;

static void exit_on_free(void *parent, void *mark, CRYPTO_EX_DATA *data, int index, long l, void *p)
{
    (void)parent, (void)data, (void)index, (void)l, (void)p;
    if (mark == &end_index && ++drops == 10)
        pthread_exit(&end_at);
}

static void freeing(void)
{
    SSL_SESSION *held[MANY];
    SSL_CTX *ctx = server_context();
    int marked = 0;
    unwound = 0;
    for (unsigned n = 0; n < MANY; n++) {
        held[n] = numbered_session(n + 1, 1000, 100);
        SSL_CTX_add_session(ctx, held[n]);
    }
    /* The first ten are the cache's alone. */
    for (unsigned n = 0; n < 10; n++) {
        SSL_SESSION_set_ex_data(held[n], end_index, &end_index);
        SSL_SESSION_free(held[n]);
    }
    better("F4", ended(ctx, flush_all, by_exit), "no callback: the thread ends where a session is freed");
    flush(ctx, 0);
    for (unsigned n = 10; n < MANY; n++) {
        marked += !SSL_SESSION_is_resumable(held[n]);
        SSL_SESSION_free(held[n]);
    }
    better("F4", marked == MANY - 10 && SSL_CTX_sess_number(ctx) == 0, "the next flush leaves none unmarked");
    SSL_CTX_free(ctx);
}

/* None of these functions is a cancellation point in libssl: one that is pending waits. */
static SSL_CTX *made, *other;
static int reached;

static void *use_all(void *arg)
{
    pthread_cancel(pthread_self());
    made = SSL_CTX_new(TLS_server_method());
    reached++;
    SSL *ssl = SSL_new(made);
    SSL_set_SSL_CTX(ssl, other);
    SSL_free(ssl);
    reached++;
    store(made, 1, 1000, 100);
    flush(made, 0);
    reached++;
    pthread_testcancel();
    return arg;
}

static void pending(void)
{
    pthread_t thread;
    void *result = NULL;
    other = server_context();
    SSL_free(SSL_new(other)); /* libcrypto has begun: its own first steps are not asked */
    if (pthread_create(&thread, NULL, use_all, NULL) != 0)
        give_up("pthread_create");
    pthread_join(thread, &result);
    expect("F5", result == PTHREAD_CANCELED && reached == 3,
           "a thread that is being cancelled makes and uses a context, and ends where it asks");
    SSL_CTX_free(made);
    SSL_CTX_free(other);
}

int main(void)
{
    limit_time();
    freed_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, on_free);
    end_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, exit_on_free);
    pending();
    removing(by_exit, "pthread_exit");
    removing(by_cancel, "cancellation");
    if (libssl_calls_back_unlocked() || !stock_cannot("F5", "the lock of the flush is never unlocked")) {
        flushing(by_exit, "pthread_exit");
        flushing(by_cancel, "cancellation");
        evicting();
        freeing();
    }
    expect("F5", no_errors(), "no error is left in the queue");
    return done();
}
