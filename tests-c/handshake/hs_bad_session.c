/* libssl takes the session of a connection that went wrong out of the cache. */
#include "handshake.h"
#include <string.h>

static SSL_CTX *server, *client;

static void new_contexts(int version)
{
    server = hs_server(version, WITHOUT_TICKETS);
    client = hs_client(version);
    SSL_CTX_set_num_tickets(server, 1);
    record_removals(server, 'A');
    forget_removals();
}

static void free_contexts(void)
{
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static hs_pair connected(SSL_SESSION *resume)
{
    hs_pair pair = hs_new(server, client, resume);
    if (hs_drive(&pair) != (resume ? HS_RESUMED : HS_FULL))
        give_up("connected");
    number_session(SSL_get_session(pair.server), 1);
    return pair;
}

static void report(const char *what)
{
    expect("C5,P2", removals() == 1 && removal_at(0).session == 1, "%s: its callback ran once: %s", what,
           removed());
    expect("C5", SSL_CTX_sess_number(server) == 0, "%s: out of the cache", what);
    expect("F4", removal_at(0).resumable == 0 && removal_at(0).stored == 0, "%s: before the callback", what);
    say("%s", hs_counters(server));
}

/* Feeds a side bytes that are no valid record. */
static void garbage(SSL *ssl)
{
    static const char record[] = "\x17\x03\x03\x00\x20 these are thirty-two bytes. no.";
    char byte;
    BIO_write(SSL_get_rbio(ssl), record, 5 + 32);
    if (SSL_read(ssl, &byte, 1) > 0)
        give_up("garbage was read");
    ERR_clear_error();
}

static void each(int version)
{
    say("TLS 1.%d", version - TLS1_VERSION);

    new_contexts(version);
    hs_pair pair = connected(NULL);
    hs_drop(&pair);
    report("lost");
    free_contexts();

    new_contexts(version);
    pair = connected(NULL);
    garbage(pair.server);
    report("the server found garbage");
    hs_close(&pair);
    say("closed: %zu", removals());
    free_contexts();

    new_contexts(version);
    pair = connected(NULL);
    garbage(pair.client); /* which sends an alert */
    char byte;
    if (SSL_read(pair.server, &byte, 1) > 0)
        give_up("an alert was read as data");
    ERR_clear_error();
    report("the client sent an alert");
    hs_close(&pair);
    say("closed: %zu", removals());
    free_contexts();

    new_contexts(version);
    pair = connected(NULL);
    SSL_clear(pair.server);
    report("SSL_clear without a goodbye");
    hs_drop(&pair);
    say("dropped: %zu", removals());
    free_contexts();

    new_contexts(version);
    pair = connected(NULL);
    SSL_set_session(pair.server, NULL);
    report("SSL_set_session without a goodbye");
    hs_drop(&pair);
    say("dropped: %zu", removals());
    free_contexts();

    new_contexts(version);
    pair = connected(NULL);
    SSL_set_shutdown(pair.server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    hs_drop(&pair);
    expect("C5", removals() == 0 && SSL_CTX_sess_number(server) == 1, "a quiet shutdown keeps it");
    free_contexts();
}

/* One of two connections of a session goes wrong: no further resumption, but the other goes on. */
static void shared(void)
{
    new_contexts(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    hs_pair one = connected(session), two = connected(session);
    expect("C16", SSL_get_session(one.server) == SSL_get_session(two.server), "two connections, one session");
    hs_drop(&one);
    report("one is lost");
    expect("C5", hs_resume(server, client, session) == HS_FULL, "no third can resume");
    expect("F4", !SSL_SESSION_is_resumable(SSL_get_session(two.server)), "the other's session is marked");
    hs_drop(&two);
    say("the other is lost too: %zu, %s", removals(), hs_counters(server));
    SSL_SESSION_free(session);
    free_contexts();
}

/* The client's last message of a resumption is broken. */
static void broken_resumption(void)
{
    new_contexts(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client), *stored = hs_stored(server, session);
    number_session(stored, 1);
    hs_pair pair = hs_new(server, client, session);
    SSL_do_handshake(pair.client);
    SSL_do_handshake(pair.server);
    SSL_do_handshake(pair.client);
    char *data;
    long length = BIO_get_mem_data(SSL_get_rbio(pair.server), &data);
    data[length - 1] ^= 1;
    int n = SSL_do_handshake(pair.server);
    expect("C5", n != 1 && SSL_session_reused(pair.server), "a resumption with a broken finish fails");
    ERR_clear_error();
    report("broken");
    hs_drop(&pair);
    say("dropped: %zu", removals());
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);
    free_contexts();
}

static int on_name(SSL *ssl, int *alert, void *arg)
{
    (void)alert, (void)arg;
    flush(SSL_get_SSL_CTX(ssl), 0);
    return SSL_TLSEXT_ERR_OK;
}

/* A flush may come between the lookup and the ServerHello, of another thread or as here. Before the fix
 * of CVE-2024-2511 libssl then takes the session id out of its answer but goes on resuming, so that under
 * TLS 1.2 the ends disagree. */
static void flushed_in_between(int version)
{
    new_contexts(version);
    SSL_SESSION *session = hs_first(server, client), *stored = hs_stored(server, session);
    number_session(stored, 1);
    SSL_CTX_set_tlsext_servername_callback(server, on_name);
    hs_pair pair = hs_new(server, client, session);
    hs_result result = hs_drive(&pair);
    hs_close(&pair);
    say("TLS 1.%d, flushed in between: %s, %zu removed, %s", version - TLS1_VERSION, hs_word(result),
        removals(),
        hs_counters(server));
    expect("F4", removal_at(0).session == 1, "the callback of the flush comes first: %s", removed());
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);
    free_contexts();
}

/* The session was never stored: libssl removes it all the same, and the callback hears of it. */
static void not_stored(void)
{
    new_contexts(TLS1_2_VERSION);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    hs_pair pair = connected(NULL);
    hs_drop(&pair);
    expect("C5", removals() == 1 && removal_at(0).session == 1, "a callback for a session that was not stored");
    free_contexts();
}

int main(void)
{
    limit_time();
    each(TLS1_2_VERSION);
    each(TLS1_3_VERSION);
    shared();
    broken_resumption();
    not_stored();
    flushed_in_between(TLS1_2_VERSION);
    flushed_in_between(TLS1_3_VERSION);
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
