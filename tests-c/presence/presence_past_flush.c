/* P12: a program that flushes a managed context past us, by libssl's functions from a handle of its own (ctypes, FFI):
 * with tm 0 every session goes, with its callback, and can't be resumed; the context goes on. Another tm removes
 * nothing that has not expired. So do sessions that are added and removed past us harm nothing. */
#include "handshake.h"

#include <stdatomic.h>

static void (*private_flush)(SSL_CTX *, long);
static int (*private_add)(SSL_CTX *, SSL_SESSION *);
static int (*private_remove)(SSL_CTX *, SSL_SESSION *);

enum { TEN = 10 };

static void of_handshakes(int version)
{
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS), *client = hs_client(version);
    SSL_SESSION *session[TEN];
    SSL_CTX_set_num_tickets(server, 1);
    record_removals(server, 'A');
    for (int round = 0; round < 3; round++) {
        forget_removals();
        for (int i = 0; i < TEN; i++)
            session[i] = hs_first(server, client);
        long stored = SSL_CTX_sess_number(server);
        private_flush(server, 0);
        expect("P12", (long)removals() == stored && stored >= TEN && SSL_CTX_sess_number(server) == 0,
               "TLS %x: a flush past us calls back for each", version);
        int resumable = 0, resumed = 0;
        for (size_t i = 0; i < removals(); i++)
            resumable += removal_at(i).resumable;
        expect("P12", resumable == 0, "which is marked");
        for (int i = 0; i < TEN; i++)
            resumed += hs_resume(server, client, session[i]) == HS_RESUMED;
        expect("P12", resumed == 0, "and is not resumed");
        SSL_SESSION *next = hs_first(server, client);
        expect("P12", hs_resume(server, client, next) == HS_RESUMED, "new ones are");
        SSL_SESSION_free(next);
        for (int i = 0; i < TEN; i++)
            SSL_SESSION_free(session[i]);
    }
    forget_removals();
    long stored = SSL_CTX_sess_number(server);
    SSL_CTX_free(server);
    expect("C15", (long)removals() == stored, "the end calls back for the rest");
    SSL_CTX_free(client);
}

/* Expired ones may stay until a flush through us; nothing else may go. */
static void by_time(void)
{
    long now = (long)time(NULL);
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    forget_removals();
    store(ctx, 1, 1000, 100);
    store(ctx, 2, now, 1000);
    store(ctx, 3, now, 1000000);
    private_flush(ctx, 500);
    expect("P12", removals() == 0 && SSL_CTX_sess_number(ctx) == 3, "a flush past us, and nothing has expired");
    private_flush(ctx, 1101);
    private_flush(ctx, now + 100000); /* later than any timeout of libssl's own */
    flush(ctx, now + 100000);
    expect("P12", removals() == 2 && SSL_CTX_sess_number(ctx) == 1, "what has expired is gone at the next through us");
    private_flush(ctx, 0);
    private_flush(ctx, 0);
    expect("P12", removals() == 3 && SSL_CTX_sess_number(ctx) == 0, "and then everything, once");
    SSL_CTX_free(ctx);
}

/* A callback that runs under libssl's lock, up to 3.6.3, may use our cache all the same. */
static int entered;

static void enter_again(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (entered++ == 0) {
        SSL_SESSION *again = numbered_session(50, 1000, 100);
        better("P12", SSL_CTX_add_session(ctx, again) == 1, "a callback adds a session");
        better("P12", SSL_CTX_remove_session(ctx, again) == 1, "removes it");
        better("P12", SSL_CTX_add_session(ctx, again) == 1, "adds it again");
        flush(ctx, 1);
        SSL_SESSION_free(again);
    }
}

static void from_callbacks(void)
{
    if (stock_cannot("P12", "its own lock is taken, or not looked at"))
        return;
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_remove_cb(ctx, enter_again);
    forget_removals();
    entered = 0;
    for (unsigned n = 1; n <= 3; n++)
        store(ctx, n, 1000, 100);
    private_flush(ctx, 0);
    better("P12", SSL_CTX_sess_number(ctx) == 1 && removals() == 4, "what a callback adds stays");
    store(ctx, 7, 1000, 100);
    private_flush(ctx, 0);
    better("P12", SSL_CTX_sess_number(ctx) == 0 && removals() == 6, "until the next flush past us");
    SSL_CTX_free(ctx);
}

static void added_and_removed(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *own = numbered_session(1, 1000, 100), *added = numbered_session(2, 1000, 100);
    record_removals(ctx, 'A');
    forget_removals();
    SSL_CTX_add_session(ctx, own);
    int result = private_remove(ctx, own);
    expect("P12", removals() == 1 && SSL_CTX_sess_number(ctx) == 0 && !SSL_SESSION_is_resumable(own),
           "a removal past us removes, marks and calls back");
    better("P12", result == 0, "though it does not know of it");
    store(ctx, 3, 1000, 100);
    private_add(ctx, added);
    private_flush(ctx, 0);
    /* From 3.4 on one function of libssl calls another, and through the PLT that one is ours. */
    if (sweeping() && !libssl_binds_itself() && libssl_since(0x304))
        private_remove(ctx, added);
    expect("P12", removals() == 3 && SSL_CTX_sess_number(ctx) == 0, "what was added past us is flushed past us");
    private_add(ctx, own);
    expect("P12", private_remove(ctx, own) == 1 && removals() == 4, "or removed");
    private_add(ctx, added);
    store(ctx, 4, 1000, 100);
    SSL_CTX_free(ctx);
    expect("P12", removals() == 6, "or goes with the context");
    SSL_SESSION_free(own);
    SSL_SESSION_free(added);
}

/* libssl makes room in its own cache for what is added past us. That is no flush. */
static void full(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    forget_removals();
    SSL_CTX_sess_set_cache_size(ctx, size_to_hold(3));
    for (unsigned n = 1; n <= 3; n++)
        store(ctx, n, 1000, 100 + (long)n);
    SSL_SESSION *added = numbered_session(9, 1000, 1000);
    private_add(ctx, added);
    better("P12", SSL_CTX_sess_number(ctx) == 3 && removals() == 0, "added past us to a full cache: ours stay");
    private_remove(ctx, added);
    SSL_SESSION_free(added);
    forget_removals();
    store(ctx, 4, 1000, 104);
    private_flush(ctx, 0);
    better("P12", SSL_CTX_sess_number(ctx) == 0 && removals() == 4, "and a flush past us is seen");
    SSL_CTX_free(ctx);
}

static void under_another_library(void)
{
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    forget_removals();
    store(ctx, 1, 1000, 100);
    OSSL_LIB_CTX *usual = OSSL_LIB_CTX_set0_default(library);
    private_flush(ctx, 0);
    store(ctx, 2, 1000, 100);
    size_t flushed = removals();
    SSL_CTX_free(ctx);
    size_t all = removals();
    OSSL_LIB_CTX_set0_default(usual);
    OSSL_LIB_CTX_free(library);
#else
    size_t flushed = 1, all = 2;
#endif
    expect("P12", flushed == 1, "a flush past us under another library context");
    expect("P12", all == 2, "is not the end of the context");
}

/* ---- Beside other threads ---- */

static SSL_CTX *busy;
static atomic_int stop, stored;

static void *store_much(void *arg)
{
    unsigned n = 1 + 100000 * (unsigned)(size_t)arg;
    for (int i = 0; i < (slowly() ? 500 : 5000); i++)
        atomic_fetch_add(&stored, store(busy, n++, 1000, 100));
    return NULL;
}

static void *flush_much(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop))
        private_flush(busy, 0);
    return NULL;
}

static void beside_others(void)
{
    pthread_t storing[2], flushing;
    busy = server_context();
    record_removals(busy, 'A');
    forget_removals();
    SSL_CTX_sess_set_cache_size(busy, 0);
    hs_start(&flushing, flush_much, NULL);
    for (size_t i = 0; i < 2; i++)
        hs_start(&storing[i], store_much, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(storing[i], NULL);
    atomic_store(&stop, 1);
    pthread_join(flushing, NULL);
    flush(busy, 0);
    expect("P12", (int)removals() == atomic_load(&stored), "beside threads that store: each is called back for once");
    store(busy, 1, 1000, 100);
    private_flush(busy, 0);
    expect("P12", SSL_CTX_sess_number(busy) == 0, "and flushes past us are still seen");
    SSL_CTX_free(busy);
}

int main(void)
{
    limit_time();
    *(void **)&private_flush = libssl_function_past("SSL_CTX_flush_sessions");
    *(void **)&private_add = libssl_function_past("SSL_CTX_add_session");
    *(void **)&private_remove = libssl_function_past("SSL_CTX_remove_session");
    of_handshakes(TLS1_2_VERSION);
    of_handshakes(TLS1_3_VERSION);
    by_time();
    from_callbacks();
    added_and_removed();
    full();
    under_another_library();
    beside_others();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
