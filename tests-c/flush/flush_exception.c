/* F4, F5, C9, C10, C14: callbacks that throw an exception of C++, caught by the caller of the function that calls
 * them back. What the flush had still to call back for is not lost: the next flush goes on with it. Stock lets
 * exceptions through as well, but keeps the lock of a flush locked for ever. See plugins.mk for the build. */
/* Leaks: what an exception passes over in this program and in libssl is not freed. */
#include "handshake.h"

#include <openssl/lhash.h>
#include <openssl/rand.h>

#include <unistd.h>

int caught(void (*call)(void *), void *argument);
void throw_number(int number);

#define MANY 100

static unsigned throw_at;

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (session_number(session) == throw_at)
        throw_number((int)throw_at);
}

static SSL_CTX *filled(unsigned count, unsigned at)
{
    SSL_CTX *ctx = server_context();
    forget_removals();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    throw_at = 0;
    for (unsigned n = 1; n <= count; n++)
        store(ctx, n, 1000, 100 + (long)n);
    throw_at = at;
    return ctx;
}

static void flush_all(void *ctx)
{
    flush(ctx, 0);
}

static void remove_seven(void *ctx)
{
    SSL_SESSION *same = numbered_session(7, 1, 1);
    SSL_CTX_remove_session(ctx, same);
    SSL_SESSION_free(same);
}

static void add_more(void *ctx)
{
    store(ctx, 1000, 9000, 100);
}

static void removing(void)
{
    SSL_CTX *ctx = filled(20, 7);
    expect("C5", caught(remove_seven, ctx) == 7, "SSL_CTX_remove_session: the caller catches it");
    expect("C5", SSL_CTX_sess_number(ctx) == 19 && store(ctx, 50, 1000, 100) == 1, "the context goes on");
    throw_at = 0;
    SSL_CTX_free(ctx);
    expect("C15", removals() == 21, "to its end");
}

static int in_order(unsigned count)
{
    int ok = removals() == count;
    for (unsigned n = 1; ok && n <= count; n++)
        ok = removal_at(n - 1).session == n && removal_at(n - 1).resumable == 0;
    return ok;
}

static void flushing(void)
{
    SSL_CTX *ctx = filled(MANY, 50);
    better("F5", caught(flush_all, ctx) == 50, "a flush: the caller catches it");
    better("F4", removals() == 50 && SSL_CTX_sess_number(ctx) == 0, "fifty callbacks ran");
    better("C3", store(ctx, 1000, 9000, 100) == 1, "the context goes on");
    throw_at = 75;
    better("F13", caught(flush_all, ctx) == 75, "the next flush goes on, until it throws again");
    flush(ctx, 1);
    better("F13", in_order(MANY) && SSL_CTX_sess_number(ctx) == 1, "each is called once");
    SSL_CTX_free(ctx);

    ctx = filled(MANY, 1);
    SSL_CTX_sess_set_cache_size(ctx, MANY);
    better("C2", caught(add_more, ctx) == 1, "an eviction: the caller catches it");
    better("C2", removals() == 1 && SSL_CTX_sess_number(ctx) == MANY, "one left for the new one");
    SSL_CTX_free(ctx);
    better("C15", removals() == MANY + 1, "nothing is lost");
}

/* Through libcrypto's walk over what SSL_CTX_sessions gives. */
static int visited;

static void visit(void *session)
{
    (void)session;
    if (++visited == 3)
        throw_number(33);
}

static void walk(void *ctx)
{
    OPENSSL_LH_doall((OPENSSL_LHASH *)SSL_CTX_sessions(ctx), visit);
}

static void listing(void)
{
    SSL_CTX *ctx = filled(10, 0);
    visited = 0;
    expect("C14", caught(walk, ctx) == 33 && visited == 3, "a walk over the stored sessions: the caller catches it");
    visited = 3;
    expect("C14", caught(walk, ctx) == 0 && visited == 13, "and walks again");
    flush(ctx, 0);
    expect("F2", removals() == 10, "the context goes on");
    SSL_CTX_free(ctx);
}

/* ---- Through the handshake of libssl, which knows nothing of exceptions ---- */

static int number;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    if (number != 0)
        throw_number(number);
    return 0;
}

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    if (number != 0)
        throw_number(number);
    return NULL;
}

static int on_generate(SSL *ssl, unsigned char *id, unsigned *length)
{
    (void)ssl;
    if (number != 0)
        throw_number(number);
    return RAND_bytes(id, (int)*length);
}

static hs_pair pair;

static void drive(void *ignored)
{
    (void)ignored;
    hs_drive(&pair);
}

static void shaking_hands(void)
{
    static const char *const names[] = {"new", "get", "generate"};
    for (int i = 0; i < 3; i++) {
        SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
        SSL_SESSION *session = hs_first(server, client);
        if (i == 0)
            SSL_CTX_sess_set_new_cb(server, on_new);
        if (i == 1) {
            flush(server, 0);
            SSL_CTX_sess_set_get_cb(server, on_get);
        }
        if (i == 2)
            SSL_CTX_set_generate_session_id(server, on_generate);
        pair = hs_new(server, client, i == 1 ? session : NULL);
        number = 11 + i;
        expect("C10", caught(drive, NULL) == number, "thrown by the %s callback of a handshake, and caught", names[i]);
        number = 0;
        hs_drop(&pair);
        expect("C10", hs_connect(server, client, NULL, NULL) == HS_FULL, "the next handshake is as ever");
        store(server, 5, 1000, 100);
        long before = SSL_CTX_sess_number(server);
        flush(server, 1101);
        expect("F1", SSL_CTX_sess_number(server) == before - 1, "and so is a flush");
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

int main(void)
{
    limit_time();
    removing();
    listing();
    shaking_hands();
    if (libssl_calls_back_unlocked() || !stock_cannot("F5", "the lock of the flush is never unlocked"))
        flushing();
    expect("F5", no_errors(), "no error is left in the queue");
    return done();
}
