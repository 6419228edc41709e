/* NULL, given to every function that sslsweep stands before. Where stock answers we answer the same;
 * where stock crashes we do nothing and return the failure value. */
#include "support.h"

#include <dlfcn.h>

/* The queue must end up as on stock, too: the reason of the error, or 0. */
static int reason(void)
{
    int code = ERR_GET_REASON(ERR_peek_last_error());
    ERR_clear_error();
    return code;
}

static void answered_by_stock(void)
{
    SSL_CTX *ctx = server_context(), *other = server_context();
    SSL *ssl = SSL_new(ctx);
    unsigned char id[32] = {0};
    SSL_SESSION *empty = make_session(TLS1_2_VERSION, id, 0, 1000, 100);

    expect("C5", SSL_CTX_remove_session(NULL, NULL) == 0, "SSL_CTX_remove_session(NULL, NULL)");
    expect("C5", SSL_CTX_remove_session(ctx, NULL) == 0, "SSL_CTX_remove_session(ctx, NULL)");
    expect("C5", SSL_CTX_remove_session(NULL, empty) == 0, "SSL_CTX_remove_session(NULL, without an id)");
    expect("C7", SSL_CTX_set_session_cache_mode(NULL, SSL_SESS_CACHE_BOTH) == 0
                     && SSL_CTX_get_session_cache_mode(NULL) == 0, "session cache mode of NULL");
    expect("C1", SSL_CTX_sess_set_cache_size(NULL, 5) == 0 && SSL_CTX_sess_get_cache_size(NULL) == 0,
           "cache size of NULL");
    expect("C12", SSL_CTX_sess_number(NULL) == 0 && SSL_CTX_sess_hits(NULL) == 0 && SSL_CTX_sess_cb_hits(NULL) == 0
                      && SSL_CTX_sess_misses(NULL) == 0 && SSL_CTX_sess_cache_full(NULL) == 0
                      && SSL_CTX_sess_timeouts(NULL) == 0 && SSL_CTX_sess_accept(NULL) == 0, "counters of NULL");
    expect("C12", SSL_CTX_ctrl(NULL, 9999, 1, NULL) == 0, "SSL_CTX_ctrl(NULL, an unknown command)");
    expect("C6", SSL_SESSION_set_time(NULL, 5) == 0 && SSL_SESSION_set_timeout(NULL, 5) == 0,
           "setters of a NULL session");
    SSL_CTX_free(NULL);
    SSL_free(NULL);
    SSL_SESSION_free(NULL);
    expect("C15", reason() == 0, "freeing NULL, and no error of all this");

    expect("C15", SSL_CTX_new(NULL) == NULL, "SSL_CTX_new(NULL)");
    say("C15 - reason %d", reason());
    expect("C13", SSL_new(NULL) == NULL, "SSL_new(NULL)");
    say("C13 - reason %d", reason());
    expect("C13", SSL_set_SSL_CTX(ssl, NULL) == ctx, "SSL_set_SSL_CTX(ssl, NULL) is the first context");
    expect("C13", SSL_set_SSL_CTX(ssl, other) == other && SSL_set_SSL_CTX(ssl, NULL) == ctx, "also after a switch");
    expect("C14", SSL_has_matching_session_id(ssl, NULL, 0) == 0, "SSL_has_matching_session_id(ssl, NULL, 0)");
    expect("C14", SSL_has_matching_session_id(ssl, NULL, 33) == 0, "SSL_has_matching_session_id(ssl, NULL, 33)");
    expect("C15", SSL_CTX_get_ex_data(ctx, 9999) == NULL, "SSL_CTX_get_ex_data(ctx, one that is not there)");

    SSL_SESSION_free(empty);
    SSL_free(ssl);
    SSL_CTX_free(other);
    SSL_CTX_free(ctx);
}

static void crashes_on_stock(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *session = numbered_session(1, 1000, 100);
    unsigned char id[32] = {0};

    flush(NULL, 0);
    flush(NULL, 5000);
    SSL_CTX_flush_sessions(NULL, 0);
    better("F8", reason() == 0, "flushing NULL does nothing");
    better("C3", SSL_CTX_add_session(NULL, session) == 0, "SSL_CTX_add_session(NULL, session)");
    better("C3", SSL_CTX_add_session(ctx, NULL) == 0, "SSL_CTX_add_session(ctx, NULL)");
    better("C3", SSL_CTX_add_session(NULL, NULL) == 0, "SSL_CTX_add_session(NULL, NULL)");
    better("C5", SSL_CTX_remove_session(NULL, session) == 0, "SSL_CTX_remove_session(NULL, session)");
    SSL_CTX_sess_set_new_cb(NULL, NULL);
    SSL_CTX_sess_set_remove_cb(NULL, record_removal);
    SSL_CTX_sess_set_get_cb(NULL, NULL);
    better("C7", SSL_CTX_sess_get_new_cb(NULL) == NULL && SSL_CTX_sess_get_remove_cb(NULL) == NULL
                     && SSL_CTX_sess_get_get_cb(NULL) == NULL, "callbacks of NULL");
    better("C14", SSL_CTX_sessions(NULL) == NULL, "SSL_CTX_sessions(NULL)");
    better("C14", SSL_has_matching_session_id(NULL, id, sizeof id) == 0, "SSL_has_matching_session_id(NULL)");
    better("C18", SSL_SESSION_set1_id(NULL, id, sizeof id) == 0, "SSL_SESSION_set1_id(NULL)");
    better("C18", SSL_SESSION_set_protocol_version(NULL, TLS1_2_VERSION) == 0,
           "SSL_SESSION_set_protocol_version(NULL)");
    better("C13", SSL_set_SSL_CTX(NULL, ctx) == NULL, "SSL_set_SSL_CTX(NULL, ctx)");
    better("C13", SSL_dup(NULL) == NULL, "SSL_dup(NULL)");
    better("C14", SSL_CTX_set_generate_session_id(NULL, NULL) == 0
                      && SSL_set_generate_session_id(NULL, NULL) == 0, "id generators of NULL");
    SSL_set_accept_state(NULL);
    better("S11", SSL_accept(NULL) == 0 && SSL_stateless(NULL) == 0 && DTLSv1_listen(NULL, NULL) == -1
                      && SSL_read_early_data(NULL, NULL, 0, NULL) == SSL_READ_EARLY_DATA_ERROR, "NULL as a server");
    better("S11", SSL_get_options(NULL) == 0 && SSL_set_options(NULL, 1) == 0 && SSL_clear_options(NULL, 1) == 0,
           "options of NULL");
    better("S11", SSL_CTX_callback_ctrl(NULL, 72, NULL) == 0 && SSL_CTX_set_session_ticket_cb(NULL, NULL, NULL, NULL) == 0,
           "ticket callbacks of NULL");
    better("C14", reason() == 0, "no error of all this");
    better("C3", SSL_CTX_sess_number(ctx) == 0, "and nothing is stored");
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
}

static void optional(void)
{
    long long (*set_ex)(SSL_SESSION *, time_t);
    *(void **)&set_ex = libssl_function("SSL_SESSION_set_time_ex", "OPENSSL_3.3.0");
    if (set_ex != NULL)
        better("C6", set_ex(NULL, 5) == 0, "SSL_SESSION_set_time_ex(NULL)");
}

int main(void)
{
    answered_by_stock();
    if (!stock_cannot("F8", "it reads through the NULL context"))
        crashes_on_stock();
    optional();
    return done();
}
