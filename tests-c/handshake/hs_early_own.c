/* C9, C11: 0-RTT where the program stores sessions in libssl's cache itself, by SSL_CTX_add_session from the new
 * callback, and serves them from a get callback. libssl then demands of its own cache that it gives the session up,
 * whatever the mode says of lookups and stores: the first use of a ticket is accepted, and a replay is not, also
 * when two come at once. */
#include "handshake.h"

#include <stdatomic.h>
#include <string.h>

static const long modes[] = {0, SSL_SESS_CACHE_NO_INTERNAL_LOOKUP, SSL_SESS_CACHE_NO_INTERNAL_STORE,
                             SSL_SESS_CACHE_NO_INTERNAL};

enum { MOST = 200 };
static SSL_SESSION *kept[MOST];
static int count, gets, copies; /* copies: the get callback serves another object with the same key */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    int added = SSL_CTX_add_session(SSL_get_SSL_CTX(ssl), session);
    pthread_mutex_lock(&lock);
    SSL_SESSION *mine = copies ? SSL_SESSION_dup(session) : session;
    if (count < MOST)
        kept[count++] = mine;
    pthread_mutex_unlock(&lock);
    (void)added; /* 0 where libssl has stored it as well */
    return !copies;
}

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    SSL_SESSION *found = NULL;
    (void)ssl;
    pthread_mutex_lock(&lock);
    gets++;
    *copy = 1;
    for (int i = 0; i < count; i++) {
        unsigned n;
        const unsigned char *its = SSL_SESSION_get_id(kept[i], &n);
        if ((int)n == length && memcmp(its, id, n) == 0)
            found = kept[i];
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static SSL_CTX *early_server(long mode)
{
    SSL_CTX *server = hs_server(TLS1_3_VERSION, WITH_TICKETS);
    SSL_CTX_set_max_early_data(server, 4096);
    SSL_CTX_set_num_tickets(server, 1);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | mode);
    SSL_CTX_sess_set_new_cb(server, on_new);
    SSL_CTX_sess_set_get_cb(server, on_get);
    record_removals(server, 'A');
    forget_removals();
    count = gets = 0;
    return server;
}

static void end(SSL_CTX *server)
{
    SSL_CTX_free(server);
    for (int i = 0; i < count; i++)
        SSL_SESSION_free(kept[i]);
    count = 0;
}

static void try_early(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *ticket, const char *what)
{
    int accepted;
    hs_pair pair = hs_new(server, client, ticket);
    hs_result result = hs_drive_early(&pair, &accepted);
    hs_close(&pair);
    say("%s: %s, early data %s, %zu callbacks, %d gets, %s", what, hs_word(result), accepted ? "accepted" : "refused",
        removals(), gets, hs_counters(server));
}

static void stored_by_the_program(SSL_CTX *client, long mode)
{
    SSL_CTX *server = early_server(mode);
    say("mode %lx, %s", mode, copies ? "the program's own copies" : "the very sessions");
    SSL_SESSION *ticket = hs_first(server, client);
    say("stored: %s", hs_counters(server));
    try_early(server, client, ticket, "first");
    try_early(server, client, ticket, "again");
    SSL_SESSION_free(ticket);
    ticket = hs_first(server, client);
    flush(server, 0);
    try_early(server, client, ticket, "flushed");
    SSL_SESSION_free(ticket);
    flush(server, 0);
    expect("C11", SSL_CTX_sess_number(server) == 0, "nothing stays behind");
    say("%zu callbacks", removals());
    end(server);
}

/* ---- Two that come at once ---- */

static SSL_CTX *racing;
static SSL_SESSION *replayed;
static atomic_int accepted_ones;
static pthread_barrier_t start;

static void *replay(void *arg)
{
    SSL_CTX *client = arg;
    int accepted;
    hs_pair pair = hs_new(racing, client, replayed);
    pthread_barrier_wait(&start);
    hs_drive_early(&pair, &accepted);
    atomic_fetch_add(&accepted_ones, accepted);
    hs_close(&pair);
    return NULL;
}

/* Before CVE-2024-2511 was mended libssl serves what is marked, and stock stores it again for the second. */
static void at_once(SSL_CTX *client, long mode)
{
    enum { THREADS = 4 };
    int rounds = slowly() ? 4 : 40, once = 0;
    racing = early_server(mode);
    pthread_barrier_init(&start, NULL, THREADS);
    for (int round = 0; round < rounds; round++) {
        pthread_t thread[THREADS];
        replayed = hs_first(racing, client);
        atomic_store(&accepted_ones, 0);
        for (int i = 0; i < THREADS; i++)
            hs_start(&thread[i], replay, client);
        for (int i = 0; i < THREADS; i++)
            pthread_join(thread[i], NULL);
        once += atomic_load(&accepted_ones) == 1;
        SSL_SESSION_free(replayed);
    }
    pthread_barrier_destroy(&start);
    expect("C11", once == rounds, "mode %lx: of replays at once one is accepted", mode);
    end(racing);
}

int main(void)
{
    limit_time();
    SSL_CTX *client = hs_client(TLS1_3_VERSION);
    for (copies = 0; copies < 2; copies++)
        for (int i = 0; i < 4; i++)
            stored_by_the_program(client, modes[i]);
    copies = 0;
    at_once(client, SSL_SESS_CACHE_NO_INTERNAL);
    at_once(client, SSL_SESS_CACHE_NO_INTERNAL_STORE);
    expect("C12", no_errors(), "the error queue is empty");
    SSL_CTX_free(client);
    return done();
}
