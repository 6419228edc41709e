/* C7: the program reads back what it set, never what the real libssl was given in its place. */
#include "support.h"

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    return 0;
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
}

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int len, int *copy)
{
    (void)ssl, (void)id, (void)len, (void)copy;
    return NULL;
}

static void modes(const char *kind, const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    expect("C7", SSL_CTX_get_session_cache_mode(ctx) == SSL_SESS_CACHE_SERVER, "%s: the default is SERVER", kind);
    long previous = SSL_SESS_CACHE_SERVER;
    int returned = 1, read_back = 1;
    for (long mode = 0; mode <= 0x7ff; mode++) {
        returned = returned && SSL_CTX_set_session_cache_mode(ctx, mode) == previous;
        read_back = read_back && SSL_CTX_get_session_cache_mode(ctx) == mode;
        previous = mode;
    }
    expect("C7", returned, "%s: the setter returns the previous mode, whatever it was", kind);
    expect("C7", read_back, "%s: every mode is read back", kind);

    /* libssl keeps 32 bits of it. */
    SSL_CTX_set_session_cache_mode(ctx, -1);
    expect("C7", SSL_CTX_get_session_cache_mode(ctx) == 0xffffffff, "%s: -1 is read back in 32 bits", kind);
    SSL_CTX_set_session_cache_mode(ctx, 0x100000000 | SSL_SESS_CACHE_CLIENT);
    expect("C7", SSL_CTX_get_session_cache_mode(ctx) == SSL_SESS_CACHE_CLIENT, "%s: and no more", kind);

    /* libssl itself may change the real context's mode when callbacks come; it must not show. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH);
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    SSL_CTX_sess_set_new_cb(ctx, on_new);
    SSL_CTX_sess_set_get_cb(ctx, on_get);
    store(ctx, 1, 1000, 100);
    flush(ctx, 0);
    expect("C7", SSL_CTX_get_session_cache_mode(ctx) == SSL_SESS_CACHE_BOTH, "%s: use changes nothing", kind);
    SSL_CTX_free(ctx);
}

static void callbacks(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    expect("C7", SSL_CTX_sess_get_new_cb(ctx) == NULL && SSL_CTX_sess_get_remove_cb(ctx) == NULL
                     && SSL_CTX_sess_get_get_cb(ctx) == NULL, "no callbacks at first");
    SSL_CTX_sess_set_new_cb(ctx, on_new);
    expect("C7", SSL_CTX_sess_get_new_cb(ctx) == on_new && SSL_CTX_sess_get_remove_cb(ctx) == NULL
                     && SSL_CTX_sess_get_get_cb(ctx) == NULL, "the new callback");
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    SSL_CTX_sess_set_get_cb(ctx, on_get);
    expect("C7", SSL_CTX_sess_get_new_cb(ctx) == on_new && SSL_CTX_sess_get_remove_cb(ctx) == on_remove
                     && SSL_CTX_sess_get_get_cb(ctx) == on_get, "all three");
    SSL_CTX_sess_set_new_cb(ctx, NULL);
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    SSL_CTX_sess_set_get_cb(ctx, NULL);
    expect("C7", SSL_CTX_sess_get_new_cb(ctx) == NULL && SSL_CTX_sess_get_remove_cb(ctx) == NULL
                     && SSL_CTX_sess_get_get_cb(ctx) == NULL, "none again");
    SSL_CTX_free(ctx);
}

static void independent(void)
{
    SSL_CTX *a = SSL_CTX_new(TLS_method()), *b = SSL_CTX_new(TLS_method());
    SSL_CTX_set_session_cache_mode(a, SSL_SESS_CACHE_OFF);
    SSL_CTX_sess_set_cache_size(a, 5);
    SSL_CTX_sess_set_remove_cb(a, on_remove);
    expect("C7", SSL_CTX_get_session_cache_mode(b) == SSL_SESS_CACHE_SERVER
                     && SSL_CTX_sess_get_cache_size(b) == 20480 && SSL_CTX_sess_get_remove_cb(b) == NULL,
           "one context's settings are its own");
    SSL_CTX_free(a);
    SSL_CTX_free(b);
}

/* An address that was a context before must not show anything of it. */
static void reused_address(void)
{
    int fresh = 1;
    for (int i = 0; i < 50; i++) {
        SSL_CTX *ctx = SSL_CTX_new(TLS_method());
        fresh = fresh && SSL_CTX_get_session_cache_mode(ctx) == SSL_SESS_CACHE_SERVER
                && SSL_CTX_sess_get_cache_size(ctx) == 20480 && SSL_CTX_sess_get_new_cb(ctx) == NULL
                && SSL_CTX_sess_number(ctx) == 0 && SSL_CTX_sess_cache_full(ctx) == 0;
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_sess_set_cache_size(ctx, 2);
        SSL_CTX_sess_set_new_cb(ctx, on_new);
        for (unsigned n = 1; n <= 5; n++)
            store(ctx, n, 1000, 100);
        SSL_CTX_free(ctx);
    }
    expect("C7", fresh, "each new context starts afresh");
}

/* The rest of SSL_CTX_ctrl passes through. */
static void other_commands(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY | SSL_MODE_RELEASE_BUFFERS);
    expect("C7", (SSL_CTX_get_mode(ctx) & SSL_MODE_RELEASE_BUFFERS) != 0, "SSL_CTX_set_mode");
    expect("C7", SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1
                     && SSL_CTX_get_min_proto_version(ctx) == TLS1_2_VERSION, "SSL_CTX_set_min_proto_version");
    expect("C7", SSL_CTX_set_timeout(ctx, 123) > 0 && SSL_CTX_get_timeout(ctx) == 123, "SSL_CTX_set_timeout");
    expect("C7", SSL_CTX_ctrl(ctx, 9999, 0, NULL) == 0, "an unknown command: 0");
    expect("C12", SSL_CTX_sess_connect(ctx) == 0 && SSL_CTX_sess_connect_good(ctx) == 0
                      && SSL_CTX_sess_connect_renegotiate(ctx) == 0 && SSL_CTX_sess_accept(ctx) == 0
                      && SSL_CTX_sess_accept_good(ctx) == 0 && SSL_CTX_sess_accept_renegotiate(ctx) == 0
                      && SSL_CTX_sess_hits(ctx) == 0 && SSL_CTX_sess_cb_hits(ctx) == 0
                      && SSL_CTX_sess_misses(ctx) == 0 && SSL_CTX_sess_timeouts(ctx) == 0
                      && SSL_CTX_sess_cache_full(ctx) == 0, "every counter starts at 0");
    for (unsigned n = 1; n <= 10; n++)
        store(ctx, n, 1000, 100);
    flush(ctx, 5000);
    expect("C12", SSL_CTX_sess_timeouts(ctx) == 0 && SSL_CTX_sess_misses(ctx) == 0
                      && SSL_CTX_sess_hits(ctx) == 0, "a flush counts nothing");
    SSL_CTX_free(ctx);
}

/* C8 speaks of sessions that handshakes store: adding by hand clears nothing. */
static void no_auto_flush(void)
{
    SSL_CTX *ctx = server_context();
    for (unsigned n = 1; n <= 2000; n++)
        store(ctx, n, 1000, 100);
    expect("C8", SSL_CTX_sess_number(ctx) == 2000, "2000 expired sessions can be added by hand");
    SSL_CTX_free(ctx);
}

int main(void)
{
    modes("server", TLS_server_method());
    modes("client", TLS_client_method());
    modes("both", TLS_method());
    modes("DTLS", DTLS_method());
    callbacks();
    independent();
    reused_address();
    other_commands();
    no_auto_flush();
    expect("C7", no_errors(), "no error is left in the queue");
    return done();
}
