/* The error queue is the program's: nothing of ours is left in it, and nothing of the program's is lost.
 * Some programs treat any error in the queue as the end of the connection at hand. */
#include "support.h"

#include <string.h>

static SSL_CTX *ctx;

static void use_everything(void)
{
    SSL_SESSION *session = numbered_session(1000, 1000, 100), *empty = make_session(TLS1_2_VERSION, "", 0, 1000, 100);
    SSL_CTX_sess_set_cache_size(ctx, 50);
    for (unsigned n = 1; n <= 100; n++)
        store(ctx, n, 1000, 100);
    SSL_CTX_add_session(ctx, session);
    SSL_CTX_add_session(ctx, session);
    SSL_SESSION_set_time(session, 1001);
    SSL_SESSION_set_timeout(session, 1001);
    SSL_CTX_remove_session(ctx, session);
    SSL_CTX_remove_session(ctx, session);
    SSL_CTX_add_session(ctx, empty);
    SSL_CTX_remove_session(ctx, empty);
    (void)SSL_CTX_sessions(ctx);
    SSL *ssl = SSL_new(ctx);
    unsigned char id[32] = {0};
    SSL_has_matching_session_id(ssl, id, sizeof id);
    SSL_free(ssl);
    flush(ctx, 1000);
    flush(ctx, 1101);
    flush(ctx, 5000);
    flush(ctx, -1);
    flush(ctx, 0);
    SSL_SESSION_free(session);
    SSL_SESSION_free(empty);
}

static void put(unsigned n)
{
#ifdef ERR_raise
    ERR_raise(ERR_LIB_USER, (int)n);
#else
    ERR_put_error(ERR_LIB_USER, 0, (int)n, "program.c", 1);
#endif
}

static unsigned take(void)
{
    return (unsigned)ERR_GET_REASON(ERR_get_error());
}

static int marks_inside;

static void with_errors_of_its_own(SSL_CTX *context, SSL_SESSION *session)
{
    (void)context, (void)session;
    put(7);
    ERR_set_mark();
    put(8);
    marks_inside += ERR_pop_to_mark() == 1;
}

int main(void)
{
    ctx = server_context();
    record_removals(ctx, 'A');
    expect("C3", no_errors(), "making a context leaves no error");
    use_everything();
    expect("F4", no_errors(), "nor does any use of the cache");

    put(1);
    put(2);
    use_everything();
    expect("F4", take() == 1 && take() == 2 && take() == 0, "the program's errors are kept");

    put(1);
    ERR_set_mark();
    put(2);
    use_everything();
    int popped = ERR_pop_to_mark();
    expect("F4", popped == 1 && take() == 1 && take() == 0, "and its mark");

    /* What a callback puts there is the program's as well. */
    store(ctx, 1, 1000, 100);
    store(ctx, 2, 1000, 100);
    SSL_CTX_sess_set_remove_cb(ctx, with_errors_of_its_own);
    flush(ctx, 0);
    unsigned first = take(), second = take(), third = take();
    expect("F4", first == 7 && second == 7 && third == 0 && marks_inside == 2, "errors that a callback raises");

    store(ctx, 1, 1000, 100);
    put(1);
    SSL_CTX_sess_set_remove_cb(ctx, record_removal);
    SSL_CTX_free(ctx);
    expect("C15", take() == 1 && take() == 0, "the end of a context leaves the queue alone");
    return done();
}
