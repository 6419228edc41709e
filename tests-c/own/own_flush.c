/* O1: sslsweep_flush, a flush with a budget of sessions or of time. */
#include "own.h"

#include <string.h>

static struct sslsweep_flushed flushed;

/* A context with sessions 1 to count, session n expiring at 1100 + n. */
static SSL_CTX *filled(unsigned count, void (*callback)(SSL_CTX *, SSL_SESSION *))
{
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, 0);
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_remove_cb(ctx, callback);
    forget_removals();
    for (unsigned n = 1; n <= count; n++)
        store(ctx, n, 1000, 100 + (long)n);
    memset(&flushed, 0x55, sizeof flushed);
    return ctx;
}

static int was(uint64_t removed, uint64_t still_due)
{
    return flushed.removed == removed && flushed.still_due == still_due;
}

/* Sessions first to last have had their callbacks, in this order and nothing else since. */
static int in_order(unsigned first, unsigned last)
{
    int ok = removals() == last - first + 1;
    for (unsigned n = first; ok && n <= last; n++)
        ok = removal_at(n - first).session == n && !removal_at(n - first).resumable;
    return ok;
}

static void sessions(void (*callback)(SSL_CTX *, SSL_SESSION *), const char *how)
{
    SSL_CTX *ctx = filled(100, callback);
    better("O1", own_flush(ctx, 1161, 7, 0, &flushed) == 1 && was(7, 53), "%s: 7 of 60 due are removed", how);
    better("O1", own_flush(ctx, 1161, 32, 0, &flushed) == 1 && was(32, 21), "%s: then 32", how);
    better("O1", own_flush(ctx, 1161, 1, 0, NULL) == 1 && SSL_CTX_sess_number(ctx) == 60, "%s: nobody asks what was done", how);
    better("O1", own_flush(ctx, 1161, 1000, 0, &flushed) == 1 && was(20, 0), "%s: the rest, within the budget", how);
    better("O1", own_flush(ctx, 1161, 1000, 0, &flushed) == 1 && was(0, 0), "%s: nothing more is due", how);
    if (callback != NULL)
        better("F6", in_order(1, 60), "%s: the order goes on from call to call", how);
    better("O1", own_flush(ctx, 0, 33, 0, &flushed) == 1 && was(33, 7), "%s: all sessions, within a budget", how);
    better("O1", own_flush(ctx, 0, 7, 0, &flushed) == 1 && was(7, 0), "%s: a budget that just suffices", how);
    better("O1", SSL_CTX_sess_number(ctx) == 0, "%s: nothing is left", how);
    SSL_CTX_free(ctx);
}

static void whole(void)
{
    SSL_CTX *ctx = filled(300, record_removal);
    better("O1", own_flush(ctx, 1301, 0, 0, &flushed) == 1 && was(200, 0), "without a budget: all that is due");
    better("F6", in_order(1, 200), "in the order of a flush");
    better("O1", flushed.took_ns > 0, "and it took some time");
    better("O1", own_flush(ctx, -1, 0, 0, &flushed) == 1 && was(0, 0), "a negative time is literal");
    better("O1", own_flush(ctx, 0, 0, 0, &flushed) == 1 && was(100, 0), "0 is all");
    SSL_CTX_free(ctx);
}

/* A session that has become younger counts neither as removed nor against the budget. */
static void refreshed(void)
{
    SSL_CTX *ctx = filled(0, record_removal);
    SSL_SESSION *young = numbered_session(1, 1000, 100);
    SSL_CTX_add_session(ctx, young);
    store(ctx, 2, 1000, 200);
    SSL_SESSION_set_timeout(young, 5000);
    better("O1", own_flush(ctx, 1300, 1, 0, &flushed) == 1 && was(1, 0), "a refreshed session is no longer due");
    better("O1", removals() == 1 && removal_at(0).session == 2, "the other one left");
    SSL_SESSION_free(young);
    SSL_CTX_free(ctx);
}

static gate shut = GATE_INITIALIZER;

/* Takes a hundredth of a second at least; no clock is asked. */
static void dawdle(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    struct timespec moment = {0, 10 * 1000 * 1000};
    if (removals() == 1)
        nanosleep(&moment, NULL);
}

static void budget_of_time(void)
{
    SSL_CTX *ctx = filled(200, dawdle);
    better("O1", own_flush(ctx, 0, 0, 1000, &flushed) == 1 && was(32, 168), "a slow callback ends the flush after its batch");
    better("F6", in_order(1, 32), "whose callbacks have all run");
    better("O1", flushed.took_ns >= 10 * 1000 * 1000, "it took what the callback took");
    better("O1", own_flush(ctx, 0, 40, 3600ull * 1000 * 1000, &flushed) == 1 && was(40, 128), "of two budgets the sessions' comes first");
    better("O1", own_flush(ctx, 0, 0, UINT64_MAX, &flushed) == 1 && was(128, 0), "a budget without end");
    SSL_CTX_free(ctx);
}

static int depth, deepest, inner_ok, inner_calls;

/* Flushes the same context within a budget of its own. */
static void nested(SSL_CTX *ctx, SSL_SESSION *session)
{
    struct sslsweep_flushed inner;
    record_removal(ctx, session);
    if (++depth > deepest)
        deepest = depth;
    if (depth < 3) {
        inner_calls++;
        inner_ok += own_flush(ctx, 0, 2, 0, &inner) == 1 && inner.removed <= 2;
    }
    depth--;
}

static void from_callbacks(void)
{
    SSL_CTX *ctx = filled(120, nested);
    better("O1", own_flush(ctx, 0, 20, 0, &flushed) == 1, "a callback may flush with a budget");
    better("F13", deepest == 3 && inner_ok == inner_calls, "also from a callback of that");
    while (own_flush(ctx, 0, 20, 0, &flushed) == 1 && flushed.removed > 0)
        ;
    int seen[121] = {0}, once = removals() == 120;
    for (size_t i = 0; i < removals(); i++)
        seen[removal_at(i).session]++;
    for (int n = 1; n <= 120; n++)
        once &= seen[n] == 1;
    better("F13", once && SSL_CTX_sess_number(ctx) == 0, "each session left once");
    SSL_CTX_free(ctx);
}

static void store_again(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    store(ctx, session_number(session) + 1000, 1000, 100);
}

static void storing(void)
{
    SSL_CTX *ctx = filled(32, store_again);
    better("O1", own_flush(ctx, 0, 100, 0, &flushed) == 1 && was(100, 32), "a budget ends what callbacks store anew");
    SSL_CTX_sess_set_remove_cb(ctx, record_removal);
    SSL_CTX_free(ctx);
}

static void free_context(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (removals() == 1)
        SSL_CTX_free(ctx);
}

static void end_inside(void)
{
    SSL_CTX *ctx = filled(50, free_context);
    better("F5", own_flush(ctx, 0, 5, 0, NULL) == 1, "a callback frees the context");
    better("C15", removals() == 50, "all its sessions have left by then");
}

static void *flush_some(void *arg)
{
    struct sslsweep_flushed mine;
    size_t *removed = arg;
    SSL_CTX *ctx = *(SSL_CTX **)arg;
    *removed = 0;
    if (!gate_wait(&shut, 60))
        return NULL;
    while (own_flush(ctx, 0, 3, 0, &mine) == 1 && mine.removed > 0)
        *removed += mine.removed;
    return NULL;
}

static void threads(void)
{
    enum { THREADS = 4 };
    unsigned count = slowly() ? 500 : 5000;
    union {
        SSL_CTX *ctx;
        size_t removed;
    } of[THREADS];
    pthread_t thread[THREADS];
    SSL_CTX *ctx = filled(count, record_removal);
    size_t all = 0;
    for (int i = 0; i < THREADS; i++) {
        of[i].ctx = ctx;
        if (pthread_create(&thread[i], NULL, flush_some, &of[i]) != 0)
            give_up("pthread_create");
    }
    gate_open(&shut);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        all += of[i].removed;
    }
    better("F13", all == count && removals() == count, "threads with budgets remove each session once");
    SSL_CTX_free(ctx);
}

static void not_ours(void)
{
    memset(&flushed, 0x55, sizeof flushed);
    struct sslsweep_flushed before = flushed;
    better("O1", own_flush(NULL, 0, 0, 0, &flushed) == 0 && own_flush(NULL, 0, 0, 0, NULL) == 0, "NULL: 0");
    better("O1", memcmp(&before, &flushed, sizeof before) == 0, "and nothing is filled in");
}

int main(void)
{
    if (own_functions("O1")) {
        sessions(record_removal, "with a callback");
        sessions(NULL, "without a callback");
        whole();
        refreshed();
        budget_of_time();
        from_callbacks();
        storing();
        end_inside();
        threads();
        not_ours();
        better("C12", no_errors(), "the error queue is empty");
    }
    return done();
}
