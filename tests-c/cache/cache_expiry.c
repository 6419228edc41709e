/* C6: flush and eviction act on the expiry that a session has now, whenever and however it was set. */
#include "support.h"

#include <dlfcn.h>
#include <limits.h>
#include <string.h>

static SSL_CTX *ctx;
static SSL_SESSION *session[6];

/* Sessions 1 to 5 expire at 1100, 1200, ... 1500. */
static void begin(void)
{
    ctx = server_context();
    forget_removals();
    record_removals(ctx, 'A');
    for (unsigned n = 1; n <= 5; n++) {
        session[n] = numbered_session(n, 1000, 100 * (long)n);
        SSL_CTX_add_session(ctx, session[n]);
    }
}

static void end(void)
{
    SSL_CTX_free(ctx);
    for (int n = 1; n <= 5; n++)
        SSL_SESSION_free(session[n]);
}

static void after(time_t tm, const char *wanted, const char *what)
{
    flush(ctx, tm);
    expect("C6", strcmp(removed_sorted(), wanted) == 0, "%s: %s", what, removed_sorted());
}

static void setters(void)
{
    begin();
    SSL_SESSION_set_time(session[1], 2000); /* 2100 */
    SSL_SESSION_set_time(session[5], 500);  /* 1000 */
    after(1101, "A5", "set_time, later and earlier");
    after(2100, "A2 A3 A4 A5", "the later one holds up nobody");
    after(2101, "A1 A2 A3 A4 A5", "and leaves in its turn");
    end();

    begin();
    SSL_SESSION_set_timeout(session[1], 1100); /* 2100 */
    SSL_SESSION_set_timeout(session[5], 0);    /* 1000 */
    after(1101, "A5", "set_timeout, longer and shorter");
    after(2100, "A2 A3 A4 A5", "the longer one holds up nobody");
    after(2101, "A1 A2 A3 A4 A5", "and leaves in its turn");
    end();

    begin();
    for (long i = 0; i < 100; i++) {
        SSL_SESSION_set_time(session[3], 5000 - i * 40);
        SSL_SESSION_set_timeout(session[3], 100 + i);
    }
    after(1238, "A1 A2", "set many times (to 1239)");
    after(1240, "A1 A2 A3", "the last word counts");
    end();
}

static void results(void)
{
    begin();
    expect("C6", SSL_SESSION_set_time(session[1], 4242) == 4242, "set_time returns the time");
    expect("C6", SSL_SESSION_get_time(session[1]) == 4242, "that can be read");
    expect("C6", SSL_SESSION_set_timeout(session[1], 77) == 1, "set_timeout returns 1");
    expect("C6", SSL_SESSION_get_timeout(session[1]) == 77, "and is read back");
    end();

    /* 1.1.1 takes a negative timeout, and so do we there: what libssl answers is the session's expiry. */
    begin();
    int taken = SSL_SESSION_set_timeout(session[1], -1) == 1;
    expect("C6", taken == !libssl_since(0x300), "a negative timeout is refused, or taken by 1.1.1");
    expect("C6", SSL_SESSION_get_timeout(session[1]) == (taken ? -1 : 100), "and read back");
    after(taken ? 999 : 1100, "", "the session has the expiry that this means");
    after(taken ? 1000 : 1101, "A1", "and not a later one");
    end();
}

/* Stock 1.1.1 adds the time and overflows. */
static void never(void)
{
    void (*state)(const char *, int, const char *, ...) = libssl_since(0x300) ? expect : better;
    begin();
    SSL_SESSION_set_timeout(session[1], LONG_MAX);
    SSL_SESSION_set_timeout(session[2], LONG_MAX);
    flush(ctx, 100000);
    state("C6", strcmp(removed_sorted(), "A3 A4 A5") == 0, "an endless timeout: %s", removed_sorted());
    SSL_SESSION_set_timeout(session[1], 100);
    flush(ctx, 100000);
    state("C6", strcmp(removed_sorted(), "A1 A3 A4 A5") == 0, "can be taken back: %s", removed_sorted());
    end();
}

/* Stock 1.1.1 lets the session go that was stored first. */
static void eviction(void)
{
    void (*state)(const char *, int, const char *, ...) = libssl_since(0x300) ? expect : better;
    begin();
    SSL_SESSION_set_time(session[1], 9000);
    SSL_SESSION_set_timeout(session[4], 1);
    SSL_CTX_sess_set_cache_size(ctx, size_to_hold(5));
    store(ctx, 6, 1000, 5000);
    state("C6", strcmp(removed_sorted(), "A4") == 0, "eviction goes by the new expiry: %s", removed_sorted());
    store(ctx, 7, 1000, 5000);
    state("C6", strcmp(removed_sorted(), "A2 A4") == 0, "again: %s", removed_sorted());
    end();
}

static void no_longer_stored(void)
{
    begin();
    flush(ctx, 1201);
    SSL_CTX_remove_session(ctx, session[3]);
    forget_removals();
    for (int n = 1; n <= 3; n++) {
        SSL_SESSION_set_time(session[n], 5000);
        SSL_SESSION_set_timeout(session[n], 5);
    }
    expect("C6", SSL_CTX_sess_number(ctx) == 2, "the setters bring nothing back");
    after(0, "A4 A5", "into the cache");
    end();
}

static void replaced(void)
{
    begin();
    store(ctx, 1, 1000, 900);
    SSL_SESSION_set_time(session[1], 1); /* the former one, ours alone now */
    after(1501, "A2 A3 A4 A5", "the expiry of a replaced session is nobody's");
    after(1901, "A1 A2 A3 A4 A5", "that of its successor counts");
    end();
}

static void update_time(void)
{
    begin();
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_UPDATE_TIME);
    store(ctx, 6, 1000, 100);
    time_t before = time(NULL);
    SSL_CTX_add_session(ctx, session[1]);
    long is = SSL_SESSION_get_time(session[1]);
    /* Stock 1.1.1 does not know the flag. */
    (libssl_since(0x300) ? expect : better)("C6", is >= before && is <= time(NULL) + 1,
                                            "UPDATE_TIME: adding again sets the present time");
    expect("C6", SSL_SESSION_get_timeout(session[1]) == 100, "and leaves the timeout");
    expect("C6", SSL_SESSION_get_time(session[2]) == 1000, "of that session only");
    /* Stock 4.0 does not sort a session anew that is added again. */
    flush(ctx, 1000000);
    better("C6", strcmp(removed_sorted(), "A2 A3 A4 A5") == 0, "both that were added live on: %s", removed_sorted());
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    SSL_CTX_add_session(ctx, session[2]);
    expect("C6", SSL_SESSION_get_time(session[2]) == 1000, "without the flag nothing is set");
    end();
}

/* 3.3 and later. */
static void set_time_ex(void)
{
    time_t (*set_ex)(SSL_SESSION *, time_t);
    *(void **)&set_ex = libssl_function("SSL_SESSION_set_time_ex", "OPENSSL_3.3.0");
    if (set_ex == NULL)
        return;
    begin();
    better("C6", set_ex(session[1], 4294967296) == 4294967296, "set_time_ex returns the time");
    set_ex(session[5], 600);
    flush(ctx, 1201);
    better("C6", strcmp(removed_sorted(), "A2 A5") == 0, "set_time_ex: %s", removed_sorted());
    flush(ctx, 4294967397);
    better("C6", removals() == 5, "beyond 32 bits: %s", removed_sorted());
    end();
}

int main(void)
{
    setters();
    results();
    never();
    eviction();
    no_longer_stored();
    replaced();
    update_time();
    set_time_ex();
    expect("C6", no_errors(), "no error is left in the queue");
    return done();
}
