/* F9: any time is taken literally. Stock 3.0 does so too; 3.2 and later count nanoseconds in 64 bits
 * and wrap: there -1 removes nearly all and 18446744074 seconds remove nothing. */
#include "support.h"

#include <limits.h>

#define FOREVER ((time_t)LONG_MAX)

static void flush_and_count(SSL_CTX *ctx, time_t tm, size_t wanted, const char *what)
{
    forget_removals();
    flush(ctx, tm);
    better("F9", removals() == wanted, "%s removes %zu: %s", what, wanted, removed_sorted());
}

/* From 3.2 on libssl keeps a session's time as unsigned nanoseconds: some times it cannot hold. */
static int libssl_holds(time_t time)
{
    SSL_SESSION *session = make_session(TLS1_2_VERSION, "t", 1, time, 0);
    int holds = SSL_SESSION_get_time(session) == time;
    SSL_SESSION_free(session);
    return holds;
}

static void negative(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    store(ctx, 1, 0, 0);
    store(ctx, 2, 1000, 100);
    store(ctx, 3, FOREVER, 100);
    flush_and_count(ctx, -1, 0, "-1");
    flush_and_count(ctx, LONG_MIN, 0, "the least time");
    flush_and_count(ctx, -18446744074, 0, "minus 2^64 ns");
    flush_and_count(ctx, INT_MIN, 0, "the least int");
    flush_and_count(ctx, 1, 1, "1");
    SSL_CTX_free(ctx);
}

/* Times before 1970 are odd, yet they are numbers like others. */
static void expiry_before_zero(void)
{
    if (!libssl_holds(-1000)) {
        say("this libssl holds no time before 1970");
        return;
    }
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    store(ctx, 1, -1000, 100);
    store(ctx, 2, -50, 100);
    flush_and_count(ctx, -900, 0, "tm == expiry, both negative,");
    flush_and_count(ctx, -899, 1, "tm == expiry + 1, both negative,");
    flush_and_count(ctx, 50, 0, "tm == expiry with a negative time");
    flush_and_count(ctx, 51, 1, "tm == expiry + 1 with a negative time");
    SSL_CTX_free(ctx);
}

static void huge(void)
{
    SSL_CTX *ctx = server_context();
    int all = libssl_holds(FOREVER - 10);
    record_removals(ctx, 'A');
    store(ctx, 1, 1000, 100);
    store(ctx, 2, 4000000000, 5);          /* beyond 32 bits unsigned */
    store(ctx, 3, 18446744073, 1);         /* 2^64 ns is 18446744073.7 s */
    if (all) {
        store(ctx, 4, 1L << 40, 0);
        store(ctx, 5, FOREVER - 10, 9);    /* one below the last second */
        store(ctx, 6, FOREVER - 10, 11);   /* overflows: never expires */
        store(ctx, 7, 1000, LONG_MAX);     /* overflows too */
    }
    flush_and_count(ctx, 4000000005, 1, "just below the second");
    flush_and_count(ctx, 4000000006, 1, "just above the second");
    flush_and_count(ctx, 18446744074, 0, "2^64 ns");
    flush_and_count(ctx, 18446744075, 1, "2^64 ns and a second");
    flush_and_count(ctx, FOREVER - 1, all, "the last second but one");
    flush_and_count(ctx, FOREVER, all, "the last second");
    flush_and_count(ctx, FOREVER, 0, "once more: `never` stays; it");
    flush_and_count(ctx, 0, all ? 2 : 0, "0");
    SSL_CTX_free(ctx);
}

/* Where no version of libssl is in doubt: these must hold on stock too. */
static void ordinary(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    store(ctx, 1, 1000, 100);
    store(ctx, 2, 2147483647, 1); /* beyond 32 bits signed */
    flush(ctx, 2147483647);
    expect("F9", removals() == 1, "2^31 - 1: %s", removed_sorted());
    flush(ctx, 2147483648);
    expect("F9", removals() == 1, "2^31 is the expiry of the other");
    flush(ctx, 2147483649);
    expect("F9", removals() == 2, "2^31 + 1: %s", removed_sorted());
    SSL_CTX_free(ctx);
    forget_removals();
}

int main(void)
{
    ordinary();
    negative();
    expiry_before_zero();
    huge();
    expect("F9", no_errors(), "no error is left in the queue");
    return done();
}
