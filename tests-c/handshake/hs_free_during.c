/* The end of a context whose sessions came from handshakes: under connections that still hold it, inside
 * callbacks, and in another thread. */
#include "handshake.h"
#include <stdatomic.h>

static int context_note; /* ex_data index of contexts */
static char mark;
static int usable; /* callbacks that found their context in order */

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    usable += SSL_CTX_get_ex_data(ctx, context_note) == &mark
              && SSL_CTX_get_session_cache_mode(ctx) == SSL_SESS_CACHE_SERVER
              && SSL_CTX_sess_get_remove_cb(ctx) == on_remove && SSL_CTX_get_timeout(ctx) == 7200;
    record_removal(ctx, session);
}

static SSL_CTX *new_server(int version)
{
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS);
    SSL_CTX_set_ex_data(server, context_note, &mark);
    record_removals(server, 'A');
    SSL_CTX_sess_set_remove_cb(server, on_remove);
    SSL_CTX_set_timeout(server, 7200);
    forget_removals();
    usable = 0;
    return server;
}

static void by_the_program(int version)
{
    SSL_CTX *server = new_server(version), *client = hs_client(version);
    for (int i = 0; i < 5; i++)
        hs_connect(server, client, NULL, NULL);
    size_t stored = (size_t)SSL_CTX_sess_number(server);
    SSL_CTX_up_ref(server);
    SSL_CTX_free(server);
    expect("C15", removals() == 0, "not the last reference: nothing happens");
    SSL_CTX_free(server);
    expect("C15", removals() == stored && (size_t)usable == stored, "%d of %zu callbacks found all in order",
           usable, stored);
    SSL_CTX_free(client);
}

static void under_connections(int version)
{
    SSL_CTX *server = new_server(version), *client = hs_client(version);
    SSL_SESSION *session = hs_first(server, client);
    hs_pair one = hs_new(server, client, NULL), two = hs_new(server, client, session),
        three = hs_new(server, client, NULL);
    SSL_CTX_free(server);
    expect("C15", hs_drive(&one) == HS_FULL, "a connection outlives the program's reference");
    expect("C15", hs_drive(&two) == HS_RESUMED, "another resumes from the cache of the same context");
    say("number %ld", SSL_CTX_sess_number(server));
    hs_close(&one);
    hs_close(&two);
    expect("C15", removals() == 0, "a third connection still holds the context");
    size_t stored = (size_t)SSL_CTX_sess_number(server);
    hs_drop(&three);
    expect("C15", removals() == stored && (size_t)usable == stored, "its end is the context's: %d of %zu",
           usable, stored);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
}

/* A lost connection that holds the last reference: its own session leaves first, then the others. */
static void by_a_lost_connection(void)
{
    SSL_CTX *server = new_server(TLS1_2_VERSION), *client = hs_client(TLS1_2_VERSION);
    hs_connect(server, client, NULL, NULL);
    hs_pair pair = hs_new(server, client, NULL);
    hs_drive(&pair);
    number_session(SSL_get_session(pair.server), 2);
    SSL_CTX_free(server);
    hs_drop(&pair);
    expect("C15", removals() == 2 && usable == 2 && removal_at(0).session == 2, "lost with its context: %s",
           removed());
    SSL_CTX_free(client);
}

static SSL_CTX *other;

static void free_other(SSL_CTX *ctx, SSL_SESSION *session)
{
    on_remove(ctx, session);
    SSL_CTX_free(other);
    other = NULL;
}

/* One context's callback ends another one, with sessions of its own. */
static void in_another_callback(void)
{
    SSL_CTX *server = new_server(TLS1_2_VERSION), *client = hs_client(TLS1_2_VERSION);
    SSL_CTX *holder = new_server(TLS1_2_VERSION);
    other = server;
    for (int i = 0; i < 3; i++)
        hs_connect(server, client, NULL, NULL);
    hs_connect(holder, client, NULL, NULL);
    SSL_CTX_sess_set_remove_cb(holder, free_other);
    flush(holder, 0);
    expect("C15", removals() == 4 && other == NULL, "freed in another context's callback: %zu", removals());
    SSL_CTX_free(holder);
    expect("C15", removals() == 4, "nothing twice");
    SSL_CTX_free(client);
}

static void free_self(SSL_CTX *ctx, SSL_SESSION *session)
{
    on_remove(ctx, session);
    if (removals() == 1)
        SSL_CTX_free(ctx);
}

static void in_its_own_callback(void)
{
    if (stock_cannot("F5", "its flush goes on in the context that the callback freed"))
        return;
    for (int with_connection = 0; with_connection < 2; with_connection++) {
        SSL_CTX *server = new_server(TLS1_2_VERSION), *client = hs_client(TLS1_2_VERSION);
        hs_pair pair = {0};
        for (int i = 0; i < 100; i++)
            hs_connect(server, client, NULL, NULL);
        if (with_connection)
            pair = hs_new(server, client, NULL);
        SSL_CTX_sess_set_remove_cb(server, free_self);
        flush(server, 0);
        better("F5", removals() == 100, "freed in its own callback: %zu removed", removals());
        if (with_connection) {
            better("F5", hs_drive(&pair) == HS_FULL, "a connection still works");
            hs_close(&pair);
            better("C15", removals() == 101, "then the end comes: %zu removed", removals());
        }
        SSL_CTX_free(client);
    }
}

static void *shake(void *context)
{
    SSL_CTX *server = context, *client = hs_client(ANY_TLS);
    SSL_SESSION *session = NULL, *next;
    for (int i = 0; i < (slowly() ? 5 : 40); i++) {
        if (hs_connect(server, client, session, &next) == HS_FAILED)
            give_up("a handshake failed");
        SSL_SESSION_free(session);
        session = next;
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return NULL;
}

static atomic_long news;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    atomic_fetch_add(&news, 1);
    return 0;
}

/* The last of several threads to let go ends the context, whichever it is. */
static void in_threads(void)
{
    enum { THREADS = 3 };
    for (int round = 0; round < 5; round++) {
        SSL_CTX *server = new_server(ANY_TLS);
        pthread_t threads[THREADS];
        atomic_store(&news, 0);
        SSL_CTX_sess_set_new_cb(server, on_new);
        for (int i = 0; i < THREADS; i++) {
            SSL_CTX_up_ref(server);
            hs_start(&threads[i], shake, server);
        }
        SSL_CTX_free(server);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        expect("C15", (long)removals() == atomic_load(&news), "every stored session has had its callback");
    }
}

int main(void)
{
    limit_time();
    context_note = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        by_the_program(version);
        under_connections(version);
    }
    by_a_lost_connection();
    in_another_callback();
    in_its_own_callback();
    in_threads();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
