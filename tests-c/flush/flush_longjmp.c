/* F4, F5, F13: a remove callback that leaves by longjmp. What the flush had still to call back for is not
 * lost: the next flush by that thread that is no deeper in its stack goes on with it, or the context's end does.
 * Up to 3.6.3 stock keeps the lock of a flush locked for ever; that of SSL_CTX_remove_session is free by then. */
/* Leaks: what is jumped over in this program, in the library and in libssl is not freed. */
#include "own.h"

#include <setjmp.h>
#include <unistd.h>

#define MANY 100

static jmp_buf back;
static unsigned leave_at; /* 0: none; MANY + 1: every one */

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (session_number(session) == leave_at || leave_at == MANY + 1)
        longjmp(back, 1);
}

static SSL_CTX *filled(unsigned count, unsigned at)
{
    SSL_CTX *ctx = server_context();
    forget_removals();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    leave_at = 0;
    for (unsigned n = 1; n <= count; n++)
        store(ctx, n, 1000, 100 + (long)n);
    leave_at = at;
    return ctx;
}

static int in_order(unsigned count)
{
    int ok = removals() == count;
    for (unsigned n = 1; ok && n <= count; n++)
        ok = removal_at(n - 1).session == n && removal_at(n - 1).resumable == 0;
    return ok;
}

/* A flush that is called from some other depth of the stack. */
static __attribute__((noinline)) void deeper_flush(SSL_CTX *ctx, time_t tm, int depth)
{
    volatile char room[512];
    room[0] = room[511] = 1;
    if (depth > 0)
        deeper_flush(ctx, tm, depth - 1);
    else
        flush(ctx, tm);
}

static void removing(void)
{
    SSL_CTX *ctx = filled(20, 7);
    SSL_SESSION *same = numbered_session(7, 1, 1);
    int left = setjmp(back);
    if (!left)
        SSL_CTX_remove_session(ctx, same);
    expect("C5", left && removals() == 1, "SSL_CTX_remove_session is left by longjmp");
    expect("C5", SSL_CTX_sess_number(ctx) == 19, "the session is out, and no other");
    leave_at = 0;
    expect("C5", store(ctx, 50, 1000, 100) == 1 && SSL_CTX_sess_number(ctx) == 20, "the context goes on");
    SSL_CTX_remove_session(ctx, same);
    expect("C5", removals() == 2, "so does SSL_CTX_remove_session");
    SSL_SESSION_free(same);
    SSL_CTX_free(ctx);
    expect("C15", removals() == 22, "to its end");
}

static void flushing(void)
{
    const int from[] = {3, 3}, to[] = {3, 0};
    for (volatile int i = 0; i < 2; i++) {
        SSL_CTX *ctx = filled(MANY, 50);
        int left = setjmp(back);
        if (!left)
            deeper_flush(ctx, 0, from[i]);
        leave_at = 0;
        better("F5", left && removals() == 50, "a flush is left by longjmp in its fiftieth callback");
        better("C3", SSL_CTX_sess_number(ctx) == 0 && store(ctx, 1000, 9000, 100) == 1, "the context goes on");
        deeper_flush(ctx, 1, to[i]); /* nothing is due */
        better("F13", in_order(MANY) && SSL_CTX_sess_number(ctx) == 1, "the next flush, %s, calls back for the others",
               i == 0 ? "from as deep" : "from further up");
        SSL_CTX_free(ctx);
    }
    SSL_CTX *ctx = filled(MANY, 50);
    int left = setjmp(back);
    if (!left)
        flush(ctx, 0);
    leave_at = 0;
    SSL_CTX_free(ctx);
    better("C15", left && in_order(MANY), "or the end of the context does");
}

static void every_one(void)
{
    static SSL_CTX *ctx;
    static volatile int times;
    ctx = filled(MANY, MANY + 1);
    times = 0;
    if (setjmp(back))
        times++;
    if (times <= MANY)
        flush(ctx, 0);
    better("F13", times == MANY && in_order(MANY), "left in every callback: each is called once");
    leave_at = 0;
    SSL_CTX_free(ctx);
}

/* Many leave at once when the size has been lowered. They stay resumable. */
static void evicting(void)
{
    SSL_CTX *ctx = filled(20, 7);
    SSL_SESSION *another = numbered_session(50, 1000, 500);
    SSL_CTX_sess_set_cache_size(ctx, 5);
    int left = setjmp(back);
    if (!left)
        SSL_CTX_add_session(ctx, another);
    leave_at = 0;
    better("C19", left && removals() == 7, "an eviction of many is left by longjmp in its seventh callback");
    flush(ctx, 1); /* nothing is due */
    better("F13", removals() == 15, "the next flush calls back for the others: %s", removed());
    SSL_SESSION_free(another);
    SSL_CTX_free(ctx);
}

/* ---- Flushes inside of a flush ---- */

static SSL_CTX *other;
static int inner_left;

/* Leaves an inner flush, of this context or of another, and returns from the callback itself. */
static void flush_within(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (session_number(session) != 5 || leave_at == 0)
        return;
    if (setjmp(back) == 0)
        flush(other, 0);
    else
        inner_left++;
    leave_at = 0;
}

static void within(void)
{
    SSL_CTX *ctx = filled(20, 0);
    SSL_CTX_sess_set_remove_cb(ctx, flush_within);
    other = server_context();
    SSL_CTX_sess_set_remove_cb(other, on_remove);
    for (unsigned n = 101; n <= 120; n++)
        store(other, n, 1000, 100 + (long)n);
    leave_at = 110;
    inner_left = 0;
    flush(ctx, 0);
    better("F5", inner_left == 1 && removals() == 30, "a flush of another context within is left: this one goes on");
    flush(other, 0);
    better("F13", removals() == 40, "and the other's next");
    SSL_CTX_free(other);
    SSL_CTX_free(ctx);
}

/* The inner flush must see that the outer one has not been left, and let its callbacks alone. */
static void same_within(SSL_CTX *ctx, SSL_SESSION *session)
{
    unsigned n = session_number(session);
    record_removal(ctx, session);
    if (n == 5 && leave_at != 0) {
        for (unsigned more = 201; more <= 210; more++)
            store(ctx, more, 1000, 100 + (long)more);
        if (setjmp(back) == 0)
            flush(ctx, 0);
        else
            inner_left++;
        leave_at = 0;
        better("F13", removals() == 8 && removal_at(5).session == 201, "the inner flush has called its own: %s", removed());
    }
    if (n == leave_at)
        longjmp(back, 1);
}

static void within_same(void)
{
    SSL_CTX *ctx = filled(10, 0);
    SSL_CTX_sess_set_remove_cb(ctx, same_within);
    leave_at = 203;
    inner_left = 0;
    flush(ctx, 0);
    better("F5", inner_left == 1 && removals() == 13, "a flush of the same context within is left: %s", removed());
    flush(ctx, 1);
    better("F13", removals() == 20 && SSL_CTX_sess_number(ctx) == 0, "the next calls back for the rest: %s", removed());
    SSL_CTX_free(ctx);
}

/* sslsweep_flush goes on with what was left, as any flush does. */
static void with_a_budget(void)
{
    SSL_CTX *ctx = filled(MANY, 50);
    if (setjmp(back) == 0)
        flush(ctx, 0);
    better("O1", removals() == 50, "a flush is left by longjmp");
    leave_at = 0;
    own_flush(ctx, 1, 0, 0, NULL);
    better("O1", in_order(MANY), "one with a budget goes on with what that left");
    SSL_CTX_free(ctx);
    ctx = filled(MANY, 50);
    if (setjmp(back) == 0)
        own_flush(ctx, 0, 0, 0, NULL);
    better("O1", removals() == 50, "one with a budget is left by longjmp");
    leave_at = 0;
    flush(ctx, 1);
    better("O1", in_order(MANY), "and one without goes on with what that left");
    SSL_CTX_free(ctx);
}

int main(void)
{
    limit_time();
    removing();
    if (libssl_calls_back_unlocked() || !stock_cannot("F5", "the lock of the flush is never unlocked")) {
        flushing();
        every_one();
        evicting();
        within();
        within_same();
        if (own_functions("O1"))
            with_a_budget();
    }
    expect("F5", no_errors(), "no error is left in the queue");
    return done();
}
