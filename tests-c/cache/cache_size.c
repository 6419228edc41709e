/* C1, C2, C12, C19: how much the cache holds, who leaves to make room, and what is counted. */
#include "support.h"

#include <limits.h>
#include <string.h>

static void setter(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    expect("C1", SSL_CTX_sess_get_cache_size(ctx) == SSL_SESSION_CACHE_MAX_SIZE_DEFAULT
                     && SSL_SESSION_CACHE_MAX_SIZE_DEFAULT == 20480, "the default is 20480");
    expect("C1", SSL_CTX_sess_set_cache_size(ctx, 10) == 20480, "the setter returns the previous size");
    expect("C1", SSL_CTX_sess_set_cache_size(ctx, -1) == 0, "a negative size is refused with 0");
    expect("C1", SSL_CTX_sess_set_cache_size(ctx, LONG_MIN) == 0, "however negative");
    expect("C1", SSL_CTX_sess_get_cache_size(ctx) == 10, "and changes nothing");
    expect("C1", SSL_CTX_sess_set_cache_size(ctx, 0) == 10, "0 is a size");
    expect("C1", SSL_CTX_sess_get_cache_size(ctx) == 0, "that is read back");
    expect("C1", SSL_CTX_sess_set_cache_size(ctx, LONG_MAX) == 0, "so is the largest");
    expect("C1", SSL_CTX_sess_get_cache_size(ctx) == LONG_MAX, "number");
    store(ctx, 1, 1000, 100);
    expect("C1", SSL_CTX_sess_number(ctx) == 1, "and it stores");
    SSL_CTX_free(ctx);
}

static void unlimited(void)
{
    const unsigned many = slowly() ? 2000 : 30000;
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, 0);
    for (unsigned n = 1; n <= many; n++)
        store(ctx, n, 1000, 100);
    expect("C1", SSL_CTX_sess_number(ctx) == (long)many && SSL_CTX_sess_cache_full(ctx) == 0,
           "0 is unlimited: more than the default size is stored");
    SSL_CTX_free(ctx);
}

/* Stock 3.0 and later make room when the number *has reached* the size, the new session included: size - 1. */
static void exact(void)
{
    const long sizes[] = {1, 2, 3, 7, 16, 33, 100, 1000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        SSL_CTX *ctx = server_context();
        record_removals(ctx, 'A');
        SSL_CTX_sess_set_cache_size(ctx, sizes[i]);
        for (unsigned n = 1; n <= sizes[i]; n++)
            store(ctx, n, 1000, 100 + (long)n);
        better("C1", SSL_CTX_sess_number(ctx) == sizes[i] && removals() == 0, "room for %ld holds %ld",
               sizes[i], sizes[i]);
        for (unsigned n = 1; n <= 5; n++)
            store(ctx, 5000 + n, 1000, 9000 + (long)n);
        better("C1", SSL_CTX_sess_number(ctx) == sizes[i] && removals() == 5
                         && SSL_CTX_sess_cache_full(ctx) == 5, "and no more");
        forget_removals();
        SSL_CTX_free(ctx);
        forget_removals();
    }
}

/* Stock 1.1.1 lets the session go that was stored first, whatever its expiry. */
static void who_leaves(void)
{
    void (*state)(const char *, int, const char *, ...) = libssl_since(0x300) ? expect : better;
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_cache_size(ctx, size_to_hold(4));
    store(ctx, 1, 1000, 300);
    store(ctx, 2, 1000, 100);
    store(ctx, 3, 1000, 200);
    store(ctx, 4, 1000, 400);
    expect("C2", removals() == 0, "the cache is full");
    store(ctx, 5, 1000, 500);
    state("C2", strcmp(removed(), "A2") == 0, "the one that expires first leaves: %s", removed());
    store(ctx, 6, 1000, 1);
    state("C2", strcmp(removed(), "A2 A3") == 0, "never the one being stored: %s", removed());
    store(ctx, 7, 1000, 600);
    state("C2", strcmp(removed(), "A2 A3 A6") == 0, "which is the first to go the next time: %s", removed());
    expect("C2", SSL_CTX_sess_cache_full(ctx) == 3, "cache_full counts them");
    expect("C12", SSL_CTX_sess_number(ctx) == 4, "the number stays");
    expect("C2", removal_at(0).ctx == ctx, "the callback has its context");
    flush(ctx, 0);
    expect("C2", SSL_CTX_sess_cache_full(ctx) == 3, "a flush is not counted as one");
    SSL_CTX_free(ctx);
    forget_removals();
}

static void equals(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_cache_size(ctx, size_to_hold(3));
    for (unsigned n = 1; n <= 6; n++)
        store(ctx, n, 1000, 100);
    better("C2", strcmp(removed(), "A1 A2 A3") == 0, "among equals the first stored leaves: %s", removed());
    SSL_CTX_free(ctx);
    forget_removals();
}

static void replacing(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_cache_size(ctx, 3);
    for (unsigned n = 1; n <= 3; n++)
        store(ctx, n, 1000, 100 + (long)n);
    store(ctx, 2, 1000, 900);
    /* Stock 3.0's room for 3 holds 2. */
    better("C2", removals() == 0 && SSL_CTX_sess_number(ctx) == 3 && SSL_CTX_sess_cache_full(ctx) == 0,
           "a replaced session needs no room");
    SSL_CTX_free(ctx);
    forget_removals();
}

static void smaller(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    for (unsigned n = 1; n <= 100; n++)
        store(ctx, n, 1000, 100 + (long)n);
    SSL_CTX_sess_set_cache_size(ctx, size_to_hold(10));
    expect("C1", SSL_CTX_sess_number(ctx) == 100 && removals() == 0, "a smaller size removes nothing at once");
    store(ctx, 101, 1000, 900);
    expect("C1", SSL_CTX_sess_number(ctx) == 10 && removals() == 91, "but with the next store");
    expect("C12", SSL_CTX_sess_cache_full(ctx) == 91, "all counted");
    int earliest = 1;
    for (size_t i = 0; i < 91; i++)
        earliest = earliest && removal_at(i).session == i + 1;
    better("C2", earliest, "the earliest first");
    SSL_CTX_sess_set_cache_size(ctx, 0);
    store(ctx, 102, 1000, 900);
    expect("C1", SSL_CTX_sess_number(ctx) == 11, "and a larger one as well");
    SSL_CTX_free(ctx);
    forget_removals();
}

/* Stock marks it, and with it the very object that an external cache may hold. */
static void stays_resumable(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *first = numbered_session(1, 1000, 100);
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_cache_size(ctx, size_to_hold(2));
    SSL_CTX_add_session(ctx, first);
    store(ctx, 2, 1000, 200);
    store(ctx, 3, 1000, 300);
    expect("C2", strcmp(removed(), "A1") == 0, "it left for lack of room");
    better("C19", SSL_SESSION_is_resumable(first) && removal_at(0).resumable, "and can still be resumed");
    expect("C19", SSL_CTX_add_session(ctx, first) == 1, "it can be stored again");
    flush(ctx, 0);
    expect("F4", !SSL_SESSION_is_resumable(first), "a flush marks it");
    SSL_SESSION_free(first);
    SSL_CTX_free(ctx);
    forget_removals();
}

int main(void)
{
    setter();
    unlimited();
    exact();
    who_leaves();
    equals();
    replacing();
    smaller();
    stays_resumable();
    expect("C2", no_errors(), "no error is left in the queue");
    return done();
}
