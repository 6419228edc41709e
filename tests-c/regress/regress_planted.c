/* C6, C11, C17, C5, F4, C15, C20: what is laid for a moment into libssl's own cache (a ticket's session before
 * libssl removes it, an id before libssl looks for a conflict) is ours alone. It used to be the program's
 * session, linked into a list by pointers inside it, and it used to be left there. */
#include "handshake.h"

#include <malloc.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* ---- 0-RTT ---- */

/* The C library counts what it keeps at hand for a thread as in use. */
#define SLACK (32 * 1024)

#define ROUNDS 150
static int rounds;

static SSL_CTX *early_server(void)
{
    SSL_CTX *ctx = hs_server(TLS1_3_VERSION, WITH_TICKETS);
    SSL_CTX_set_max_early_data(ctx, 4096);
    SSL_CTX_set_num_tickets(ctx, 1);
    return ctx;
}

static SSL_SESSION *kept[ROUNDS];
static atomic_int newest = -1, stop;

static void *set_times(void *arg)
{
    while (!atomic_load(&stop)) {
        int i = atomic_load(&newest);
        if (i >= 0) {
            SSL_SESSION_set_timeout(kept[i], 300);
            SSL_SESSION_set_time(kept[i], (long)time(NULL));
        }
        sched_yield();
    }
    return arg;
}

/* The program's setter, finding the session linked into libssl's list, moved it there while libssl was
 * removing it: a list of freed memory. */
static void setters(void)
{
    pthread_t thread[2];
    int resumed = 0, before = hs_freed();
    SSL_CTX *server = early_server(), *client = hs_client(TLS1_3_VERSION);
    for (int i = 0; i < 2; i++)
        hs_start(&thread[i], set_times, NULL);
    for (int i = 0; i < rounds; i++) {
        SSL_SESSION *ticket = hs_first(server, client);
        if ((kept[i] = hs_stored(server, ticket)) == NULL)
            give_up("the ticket's session is not stored");
        hs_follow(kept[i]);
        atomic_store(&newest, i);
        resumed += hs_resume(server, client, ticket) == HS_RESUMED;
        SSL_SESSION_free(ticket);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    better("C11", resumed == rounds, "each ticket is taken once while others set its times");
    flush(server, 0);
    better("C6", SSL_CTX_sess_number(server) == 0, "and the cache can be emptied");
    for (int i = 0; i < rounds; i++)
        SSL_SESSION_free(kept[i]);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    better("C11", hs_freed() - before == rounds, "no reference is lost");
}

static SSL_CTX *twin[2], *twin_client;
static SSL_SESSION *common;
static pthread_barrier_t together;

static void *resume_at(void *server)
{
    SSL_SESSION *copy = SSL_SESSION_dup(common);
    pthread_barrier_wait(&together);
    hs_result result = hs_resume(server, twin_client, copy);
    SSL_SESSION_free(copy);
    return result == HS_FAILED ? server : NULL;
}

/* One session, stored in two servers, was linked into both their lists by the same pointers. */
static void two_contexts(void)
{
    unsigned char keys[80];
    int failed = 0, before = hs_freed();
    twin_client = hs_client(TLS1_3_VERSION);
    for (int i = 0; i < 2; i++)
        twin[i] = early_server();
    SSL_CTX_get_tlsext_ticket_keys(twin[0], keys, sizeof keys);
    SSL_CTX_set_tlsext_ticket_keys(twin[1], keys, sizeof keys);
    pthread_barrier_init(&together, NULL, 2);
    for (int i = 0; i < rounds; i++) {
        pthread_t thread[2];
        common = hs_first(twin[0], twin_client);
        SSL_SESSION *stored = hs_stored(twin[0], common);
        hs_follow(stored);
        SSL_CTX_add_session(twin[1], stored);
        SSL_SESSION_free(stored);
        for (int k = 0; k < 2; k++)
            hs_start(&thread[k], resume_at, twin[k]);
        for (int k = 0; k < 2; k++) {
            void *result;
            pthread_join(thread[k], &result);
            failed += result != NULL;
        }
        SSL_SESSION_free(common);
    }
    better("C17", failed == 0, "a ticket of two servers is used at both at once");
    for (int k = 0; k < 2; k++) {
        flush(twin[k], 0);
        better("C17", SSL_CTX_sess_number(twin[k]) == 0, "server %d can be emptied", k + 1);
        SSL_CTX_free(twin[k]);
    }
    better("C17", hs_freed() - before == rounds, "no reference is lost");
    pthread_barrier_destroy(&together);
    SSL_CTX_free(twin_client);
}

/* ---- Session ids that are in use ---- */

static SSL_SESSION *real_one;
static int calls, of_real_one, strangers;

static int same_id(SSL *ssl, unsigned char *id, unsigned *length)
{
    (void)ssl;
    memset(id, 7, *length);
    return 1;
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx;
    calls++;
    of_real_one += session == real_one;
    strangers += session != real_one && session_number(session) == 0;
}

/* A server in whose second handshake libssl found the id in use; client as well is the caller's. */
static SSL_CTX *with_conflict(SSL_CTX *client)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    SSL_CTX_set_generate_session_id(server, same_id);
    SSL_CTX_sess_set_remove_cb(server, on_remove);
    calls = of_real_one = strangers = 0;
    SSL_SESSION *session = hs_first(server, client);
    SSL_SESSION_free(real_one);
    real_one = hs_stored(server, session);
    SSL_SESSION_free(session);
    hs_pair pair = hs_new(server, client, NULL);
    if (hs_drive(&pair) != HS_FAILED)
        give_up("an id in use was not refused");
    hs_drop(&pair);
    return server;
}

/* The one that was laid out was called back for, or found in the place of the stored one. */
static void removing(SSL_CTX *client)
{
    SSL_CTX *server = with_conflict(client);
    expect("C5", SSL_CTX_sess_number(server) == 1, "a conflict stores nothing");
    expect("C5", SSL_CTX_remove_session(server, real_one) == 1, "the stored session is removed");
    expect("C5", SSL_CTX_remove_session(server, real_one) == 0, "and then there is none");
    SSL_CTX_free(server);
    expect("C5", calls == 2 && of_real_one == 2, "called back for the stored session alone");
    server = with_conflict(client);
    SSL_CTX_free(server);
    expect("F4", calls == 1 && of_real_one == 1, "at the end too");
}

static void evicting(SSL_CTX *client)
{
    SSL_CTX *server = with_conflict(client);
    SSL_CTX_sess_set_cache_size(server, 3);
    for (unsigned n = 1; n <= 3; n++)
        store(server, n, time(NULL) + 100000, 3000);
    expect("F4", of_real_one == 1, "the first to expire leaves a full cache");
    better("C2", calls == 1, "alone");
    expect("C5", SSL_CTX_remove_session(server, real_one) == 0, "and is not found any more");
    expect("C5", of_real_one == 2, "the removal's argument is called back");
    SSL_CTX_free(server);
    expect("F4", calls == 5 && strangers == 0, "no callback for a session that is not the program's");
}

/* Freed under another library context, where no free function of ours runs: the next handshake of this
 * thread took back what lay in a context that was gone. */
static void freed_elsewhere(SSL_CTX *client)
{
    SSL_CTX *server = with_conflict(client), *next = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    OSSL_LIB_CTX *library = OSSL_LIB_CTX_new(), *usual = OSSL_LIB_CTX_set0_default(library);
    SSL_CTX_free(server);
    OSSL_LIB_CTX_set0_default(usual);
    OSSL_LIB_CTX_free(library);
#else
    SSL_CTX_free(server);
#endif
    SSL_SESSION_free(hs_first(next, client));
    expect("C15", calls == 1 && of_real_one == 1, "a context with a conflict is freed, another one is used");
    SSL_CTX_free(next);
}

static void *conflict_once(void *client)
{
    SSL_CTX_free(with_conflict(client));
    return NULL;
}

static void *conflict_only(void *pair)
{
    hs_drive(pair);
    hs_drop(pair);
    return NULL;
}

/* What lay there was taken back by the thread that had laid it, if it ever came again. */
static void threads_that_end(SSL_CTX *client)
{
    const int many = slowly() ? 5 : 120;
    size_t before = 0;
    for (int i = 0; i < many; i++) {
        pthread_t thread;
        SSL_CTX *server = with_conflict(client);
        hs_pair pair = hs_new(server, client, NULL);
        hs_start(&thread, conflict_only, &pair);
        pthread_join(thread, NULL);
        SSL_CTX_free(server);
        hs_start(&thread, conflict_once, client);
        pthread_join(thread, NULL);
        struct mallinfo2 info = mallinfo2();
        if (i == many / 3)
            before = info.uordblks + info.hblkhd;
        else if (i == many - 1) {
            printf("# bytes more: %ld\n", (long)(info.uordblks + info.hblkhd - before));
            expect("C20", info.uordblks + info.hblkhd < before + SLACK,
                   "threads that end leave nothing behind");
        }
    }
}

int main(void)
{
    limit_time();
    rounds = slowly() ? 5 : ROUNDS;
    if (!stock_cannot("C6", "a setter puts a session that was just removed back into the list"))
        setters();
    if (!stock_cannot("C17", "a session is in one list only: a second context corrupts the first's"))
        two_contexts();
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    removing(client);
    evicting(client);
    freed_elsewhere(client);
    threads_that_end(client);
    SSL_SESSION_free(real_one);
    SSL_CTX_free(client);
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
