/* F5, F12: while a callback blocks, other threads go on with the same context, including a flush of
 * their own; the blocked one goes on only when they are through. */
#include "support.h"

#define PATIENCE 60 /* seconds, were it to fail */

static gate inside = GATE_INITIALIZER, others_done = GATE_INITIALIZER;
static int released, calls;

static void block_once(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    if (__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) == 1) {
        gate_open(&inside);
        released = gate_wait(&others_done, PATIENCE);
    }
}

static void *work(void *arg)
{
    SSL_CTX *ctx = arg;
    unsigned char id[32] = {0};
    if (!gate_wait(&inside, PATIENCE))
        return NULL;
    SSL_SESSION *mine = numbered_session(5000, 1000, 9000);
    SSL_CTX_add_session(ctx, mine);
    SSL_SESSION_set_time(mine, 1001);
    SSL_SESSION_set_timeout(mine, 9001);
    SSL_CTX_remove_session(ctx, mine);
    SSL_CTX_add_session(ctx, mine);
    SSL_SESSION_free(mine);
    (void)SSL_CTX_sess_number(ctx);
    SSL *ssl = SSL_new(ctx);
    SSL_has_matching_session_id(ssl, id, sizeof id);
    SSL_free(ssl);
    flush(ctx, 5000);
    flush(ctx, 0);
    gate_open(&others_done);
    return NULL;
}

static void reset(void)
{
    inside.open = others_done.open = 0;
    released = calls = 0;
}

static SSL_CTX *filled_context(unsigned count)
{
    SSL_CTX *ctx = server_context();
    reset();
    SSL_CTX_sess_set_remove_cb(ctx, block_once);
    for (unsigned n = 1; n <= count; n++)
        store(ctx, n, 1000, 100);
    return ctx;
}

static pthread_t started(SSL_CTX *ctx)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, ctx) != 0)
        give_up("pthread_create");
    return thread;
}

int main(void)
{
    if (!libssl_calls_back_unlocked() && stock_cannot("F5", "the callbacks of a flush and of an eviction hold the context's lock"))
        return done();

    SSL_CTX *ctx = filled_context(1000);
    pthread_t thread = started(ctx);
    flush(ctx, 0);
    pthread_join(thread, NULL);
    better("F12", released, "flush: another thread adds, removes, sets, looks up and flushes meanwhile");
    better("F13", calls == 1002 && SSL_CTX_sess_number(ctx) == 0, "each session leaves once");
    SSL_CTX_free(ctx);

    ctx = filled_context(10);
    SSL_CTX_sess_set_cache_size(ctx, 10);
    thread = started(ctx);
    store(ctx, 2000, 1000, 9000);
    pthread_join(thread, NULL);
    better("F5", released, "eviction: another thread goes on meanwhile");
    SSL_CTX_free(ctx);

    ctx = filled_context(10);
    SSL_SESSION *first = numbered_session(1, 1, 1);
    thread = started(ctx);
    SSL_CTX_remove_session(ctx, first);
    pthread_join(thread, NULL);
    better("F5", released, "SSL_CTX_remove_session: another thread goes on meanwhile");
    SSL_SESSION_free(first);
    SSL_CTX_free(ctx);
    return done();
}
