/* The automatic flush: after every 255 sessions that a cache took from handshakes.
 *
 * Stock looks at the counter of good handshakes instead, and before it is raised: under TLS 1.2 it
 * flushes in the 256th handshake, resumed or not. Where both must agree we look after the 256th. A cache that
 * the program fills itself during handshakes, from its callbacks, is flushed as well. */
#include "handshake.h"

static SSL_CTX *server, *client;

static void new_contexts(int version)
{
    server = hs_server(version, WITHOUT_TICKETS);
    client = hs_client(version);
    record_removals(server, 'A');
    forget_removals();
}

static void free_contexts(void)
{
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void connect_times(int times)
{
    for (int i = 0; i < times; i++) {
        if (hs_connect(server, client, NULL, NULL) != HS_FULL)
            give_up("handshake %d", i);
    }
}

/* A session of a handshake, numbered and made old. */
static void old_session(unsigned n)
{
    SSL_SESSION *session = hs_first(server, client), *stored = hs_stored(server, session);
    number_session(stored, n);
    hs_age(stored);
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);
}

static void in_time(void)
{
    new_contexts(TLS1_2_VERSION);
    store(server, 1, 1000, 100);
    store(server, 2, 1000, 300);
    store(server, 3, time(NULL), 3600);
    connect_times(200);
    expect("C8", removals() == 0, "after 200 handshakes expired sessions are still there");
    connect_times(56);
    expect("C8", removals() == 2, "after 256 they are gone: %s", removed_sorted());
    say("number %ld", SSL_CTX_sess_number(server));
    free_contexts();
}

/* What has expired by now, to the second, and nothing else. */
static void by_now(void)
{
    time_t now = time(NULL);
    new_contexts(TLS1_2_VERSION);
    store(server, 1, now - 10, 9);
    store(server, 2, now, 3000);
    connect_times(256);
    expect("C8", removals() == 1 && removal_at(0).session == 1, "the present time decides: %s", removed_sorted());
    free_contexts();
}

static void to_the_session(void)
{
    new_contexts(TLS1_2_VERSION);
    old_session(1);
    connect_times(253);
    expect("C8", removals() == 0, "254 stored: nothing has left");
    connect_times(1);
    better("C8", removals() == 1 && removal_at(0).session == 1, "255 stored: the expired one left");
    connect_times(1);
    expect("C8", removals() == 1, "256 stored: it has left for sure");

    forget_removals();
    old_session(2);
    connect_times(200);
    expect("C8", removals() == 0, "456 stored: nothing more");
    connect_times(56);
    expect("C8", removals() == 1 && removal_at(0).session == 2, "512 stored: the next one left");
    say("number %ld", SSL_CTX_sess_number(server));
    free_contexts();
}

static void no_auto_clear(void)
{
    new_contexts(TLS1_2_VERSION);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    old_session(1);
    connect_times(256);
    expect("C8", removals() == 0 && SSL_CTX_sess_number(server) == 257, "no auto clear: never");
    free_contexts();
}

/* Stock counts handshakes, of which each stores two sessions here. */
static void tls13(void)
{
    new_contexts(TLS1_3_VERSION);
    old_session(1);
    connect_times(127);
    better("C8", removals() == 1, "TLS 1.3: 128 handshakes stored 256 sessions");
    connect_times(128);
    expect("C8", removals() == 1, "TLS 1.3: after 256 handshakes it is gone");
    say("number %ld", SSL_CTX_sess_number(server));
    free_contexts();
}

static void resumptions(void)
{
    new_contexts(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    old_session(1);
    for (int i = 0; i < 256; i++)
        hs_resume(server, client, session);
    better("C8", removals() == 0, "resumptions store nothing, so they flush nothing");
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "the session still resumes");
    flush(server, time(NULL));
    expect("F1", removals() == 1, "a flush takes the expired one at last");
    SSL_SESSION_free(session);
    free_contexts();
}

/* Only handshakes flush: a program may fill a cache with old sessions by hand. */
static void by_hand(void)
{
    new_contexts(TLS1_2_VERSION);
    for (unsigned n = 1; n <= 600; n++)
        store(server, n, 1000, 100);
    expect("C8", removals() == 0 && SSL_CTX_sess_number(server) == 600, "SSL_CTX_add_session flushes nothing");
    free_contexts();
}

static void by_client(void)
{
    new_contexts(TLS1_2_VERSION);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
    record_removals(client, 'C');
    store(client, 1, 1000, 100);
    connect_times(200);
    expect("C8", removals() == 0, "client: after 200 handshakes the expired session is still there");
    connect_times(56);
    expect("C8", removals() == 1 && removal_at(0).session == 1, "client: after 256 it is gone");
    say("client: number %ld", SSL_CTX_sess_number(client));
    free_contexts();
}

static int store_it(SSL *ssl, SSL_SESSION *session)
{
    SSL_CTX_add_session(SSL_get_SSL_CTX(ssl), session);
    return 0;
}

/* As stunnel does it. */
static void by_new_callback(void)
{
    new_contexts(TLS1_2_VERSION);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(server, store_it);
    old_session(1);
    connect_times(199);
    expect("C8", removals() == 0, "new callback: after 200 handshakes the expired session is still there");
    connect_times(56);
    expect("C8", removals() == 1 && removal_at(0).session == 1, "new callback: after 256 it is gone");
    say("new callback: number %ld", SSL_CTX_sess_number(server));
    free_contexts();
}

static SSL_SESSION *elsewhere;

static SSL_SESSION *fetch(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl;
    (void)id;
    (void)length;
    *copy = 1;
    return elsewhere;
}

/* Sessions that handshakes fetch from the program's own cache enter this one too. */
static void by_get_callback(void)
{
    new_contexts(TLS1_2_VERSION);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    SSL_SESSION *session = hs_first(server, client);
    elsewhere = hs_stored(server, session);
    SSL_CTX_sess_set_get_cb(server, fetch);
    store(server, 1, 1000, 100);
    int resumed = 0;
    for (int i = 0; i < 199; i++)
        resumed += hs_resume(server, client, session) == HS_RESUMED;
    expect("C8", removals() == 0, "get callback: after 200 handshakes the expired session is still there");
    for (int i = 0; i < 56; i++)
        resumed += hs_resume(server, client, session) == HS_RESUMED;
    expect("C8", removals() == 1 && removal_at(0).session == 1, "get callback: after 256 it is gone");
    expect("C9", resumed == 255, "get callback: all were resumed: %d", resumed);
    say("get callback: number %ld", SSL_CTX_sess_number(server));
    SSL_SESSION_free(elsewhere);
    SSL_SESSION_free(session);
    free_contexts();
}

int main(void)
{
    limit_time();
    in_time();
    by_now();
    to_the_session();
    no_auto_clear();
    tls13();
    resumptions();
    by_hand();
    by_client();
    by_new_callback();
    by_get_callback();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
