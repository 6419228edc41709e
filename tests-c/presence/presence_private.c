/* P6, P12: a program that gets libssl's functions by dlsym on a handle of its own calls them past us. A context that it makes so
 * is libssl's, also on a libssl whose own calls go through the PLT: its SSL_CTX_new jumps to SSL_CTX_new_ex, which then
 * looks like a call of the program's. It works as before, also where the program mixes both ways. */
#include "handshake.h"

/* A server as hs_server makes it, but born past us. */
static SSL_CTX *private_server(SSL_CTX *model)
{
    SSL_CTX *(*new)(const SSL_METHOD *);
    *(void **)&new = libssl_function_past("SSL_CTX_new");
    SSL_CTX *ctx = new (TLS_server_method());
    SSL_CTX_use_certificate(ctx, SSL_CTX_get0_certificate(model));
    SSL_CTX_use_PrivateKey(ctx, SSL_CTX_get0_privatekey(model));
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"tests", 5);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    return ctx;
}

static int made;

static int count_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    made++;
    return 0;
}

/* Born past us, with all that is set on it set past us too, as .NET has it. */
static void all_past_us(SSL_CTX *model, SSL_CTX *client)
{
    void (*set_new)(SSL_CTX *, int (*)(SSL *, SSL_SESSION *));
    long (*ctrl)(SSL_CTX *, int, long, void *);
    *(void **)&set_new = libssl_function_past("SSL_CTX_sess_set_new_cb");
    *(void **)&ctrl = libssl_function_past("SSL_CTX_ctrl");
    for (int i = 0; i < 3; i++) { /* what the first one learned must not mislead for the next */
        SSL_CTX *server = private_server(model);
        set_new(server, count_new);
        made = 0;
        SSL_SESSION *session = hs_first(server, client);
        expect("P12", ctrl(server, SSL_CTRL_SESS_NUMBER, 0, NULL) == 1, "libssl stores the session");
        expect("P12", made == 1 && hs_resume(server, client, session) == HS_RESUMED, "and it is resumed, as the program set it");
        SSL_SESSION_free(session);
        SSL_CTX_free(server);
    }
}

/* Born past us, used in the ordinary way. */
static void mixed(SSL_CTX *model, SSL_CTX *client)
{
    SSL_CTX *server = private_server(model);
    record_removals(server, 'P');
    SSL_SESSION *session = hs_first(server, client);
    expect("P6", SSL_CTX_sess_number(server) == 1, "stored");
    expect("P6", hs_resume(server, client, session) == HS_RESUMED, "resumed");
    expect("P6", store(server, 1, 1000, 100) == 1, "one more by hand");
    flush(server, 1100);
    expect("P6", removals() == 0, "not yet expired");
    flush(server, 1101);
    expect("P6", removals() == 1 && removal_at(0).session == 1, "flushed: %s", removed());
    say("%s", hs_counters(server));
    flush(server, 0);
    expect("P6", hs_resume(server, client, session) == HS_FULL, "all flushed");
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    say("at the end: %zu callbacks", removals());
}

/* Born in the ordinary way, flushed and freed past us. */
static void other_way_round(SSL_CTX *client)
{
    void (*private_flush)(SSL_CTX *, long);
    void (*private_free)(SSL_CTX *);
    int (*private_add)(SSL_CTX *, SSL_SESSION *);
    *(void **)&private_flush = libssl_function_past("SSL_CTX_flush_sessions");
    *(void **)&private_free = libssl_function_past("SSL_CTX_free");
    *(void **)&private_add = libssl_function_past("SSL_CTX_add_session");
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    SSL_SESSION *session = hs_first(server, client), *one = numbered_session(2, 1000, 100);
    private_add(server, one);
    private_flush(server, 0);
    private_flush(server, 2000);
    hs_result result = hs_resume(server, client, session);
    /* Whether that flush reached our cache depends on how libssl is linked. */
    expect("P6", result != HS_FAILED, "a flush past us harms nothing");
    SSL_SESSION_free(one);
    SSL_SESSION_free(session);
    record_removals(server, 'Q');
    forget_removals();
    long stored = SSL_CTX_sess_number(server);
    private_free(server);
    expect("P6", (long)removals() >= stored, "freed past us, no callback is lost");
}

/* Made by a call of SSL_CTX_new_ex that is the program's own: ours. */
static void made_directly(void)
{
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    SSL_CTX *ctx = SSL_CTX_new_ex(NULL, NULL, TLS_method());
    SSL_CTX_sess_set_cache_size(ctx, 2);
    for (unsigned n = 1; n <= 3; n++)
        store(ctx, n, 1000, 100 + (long)n);
    better("C1", SSL_CTX_sess_number(ctx) == 2, "SSL_CTX_new_ex: the size is exact, the cache is ours");
    SSL_CTX_free(ctx);
#else
    better("C1", 1, "SSL_CTX_new_ex: the size is exact, the cache is ours");
#endif
}

int main(void)
{
    limit_time();
    SSL_CTX *model = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    made_directly();
    all_past_us(model, client);
    mixed(model, client);
    other_way_round(client);
    expect("C12", no_errors(), "the error queue is empty");
    SSL_CTX_free(client);
    SSL_CTX_free(model);
    return done();
}
