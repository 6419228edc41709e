/* S4: a ticket that allows 0-RTT is accepted once by all processes together, also when several race for it; no context keeps a
 * copy of its own. */
#include "sharing.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RACERS = 3, ROOM = 8192 };

static SSL_CTX *early_server(void)
{
    SSL_CTX *server = hs_server(TLS1_3_VERSION, WITH_TICKETS);
    SSL_CTX_set_max_early_data(server, 4096);
    SSL_CTX_set_num_tickets(server, 1);
    return server;
}

static hs_result try_early(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *ticket, int *accepted, SSL_SESSION **next)
{
    hs_pair pair = hs_new(server, client, ticket);
    hs_result result = hs_drive_early(&pair, accepted);
    if (next != NULL)
        *next = SSL_get1_session(pair.client);
    hs_close(&pair);
    return result;
}

static SSL_CTX *client;

static void once(void)
{
    SSL_CTX *one = early_server(), *other = early_server();
    SSL_SESSION *next = NULL;
    int accepted;
    SSL_SESSION *ticket = hs_first(one, client);
    better("S4", SSL_CTX_sess_number(one) == 0, "a ticket that allows 0-RTT is not stored locally");
    hs_result got = try_early(other, client, ticket, &accepted, &next);
    better("S4", got == HS_RESUMED && accepted, "another context accepts early data");
    /* Without the fix of CVE-2024-2511 the successor, a copy, has the mark of the original, which was removed for it. Such a
     * successor may be resumed where it was made, but is not shared. (Some distributions have the fix in an older release.) */
    int is_shared = SSL_CTX_sess_number(other) == 0;
    if (!libssl_before_cve_2024_2511())
        better("S4", is_shared, "and stores no successor locally either");
    if (sweeping()) {
        for (int i = 0; i < 2; i++) {
            got = try_early(i == 0 ? one : other, client, ticket, &accepted, NULL);
            better("S4", got == HS_FULL && !accepted, "a replay is refused, with a full handshake, %d", i);
        }
        better("S4", hs_resume(one, client, ticket) == HS_FULL, "also without early data");
        int by_first, by_other;
        try_early(one, client, next, &by_first, NULL);
        try_early(other, client, next, &by_other, NULL);
        better("S4", by_first == is_shared && by_other == !by_first, "the successor is accepted once, by the first context if it is shared");
    }
    SSL_SESSION_free(next);
    SSL_SESSION_free(ticket);

    ticket = hs_first(one, client);
    better("S4", hs_resume(other, client, ticket) == HS_RESUMED, "a connection without early data takes a ticket, too");
    got = try_early(one, client, ticket, &accepted, NULL);
    if (sweeping())
        better("S4", got == HS_FULL && !accepted, "and then it is used");
    SSL_SESSION_free(ticket);

    ticket = hs_first(one, client);
    flush(one, 0);
    got = try_early(one, client, ticket, &accepted, NULL);
    expect("F2", got == HS_FULL && !accepted, "a context does not get back what it has flushed");
    SSL_SESSION_free(ticket);

    /* The context's own is still found. */
    ticket = hs_first(one, client);
    got = try_early(one, client, ticket, &accepted, NULL);
    expect("C11", got == HS_RESUMED && accepted, "early data for the context that gave the ticket out");
    got = try_early(one, client, ticket, &accepted, NULL);
    expect("C11", got == HS_FULL && !accepted, "once");
    SSL_SESSION_free(ticket);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
}

/* Anti-replay is a matter of TLS 1.3: the sessions of TLS 1.2 on the same server are shared, and stay. */
static void tls12(void)
{
    SSL_CTX *one = hs_server(ANY_TLS, WITHOUT_TICKETS), *other = hs_server(ANY_TLS, WITHOUT_TICKETS);
    SSL_CTX *old = hs_client(TLS1_2_VERSION);
    SSL_CTX_set_max_early_data(one, 4096);
    SSL_CTX_set_max_early_data(other, 4096);
    SSL_SESSION *session = hs_first(one, old);
    for (int i = 0; i < 3; i++)
        better("S1", hs_resume(other, old, session) == HS_RESUMED, "TLS 1.2 resumes elsewhere, time %d", i + 1);
    expect("C11", hs_resume(one, old, session) == HS_RESUMED, "and where it was made");
    SSL_SESSION_free(session);
    SSL_CTX_free(old);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
}

/* What parent and racers see of each other. */
static struct {
    atomic_int round, ready, done, accepted, resumed, failed;
    int length;
    unsigned char ticket[ROOM];
} *table;

static void wait_for(atomic_int *what, int least)
{
    while (atomic_load(what) < least) {
        /* Under a tool that runs one at a time, whoever spins holds the others up. */
        if (slowly())
            usleep(1000);
        else
            sched_yield();
    }
}

/* A worker: the context was made before the fork. */
static void run_races(SSL_CTX *server, int rounds)
{
    limit_long_time();
    for (int i = 1; i <= rounds; i++) {
        int accepted;
        wait_for(&table->round, i);
        const unsigned char *from = table->ticket;
        SSL_SESSION *ticket = d2i_SSL_SESSION(NULL, &from, table->length);
        atomic_fetch_add(&table->ready, 1);
        wait_for(&table->ready, RACERS * i);
        hs_result got = try_early(server, client, ticket, &accepted, NULL);
        atomic_fetch_add(&table->accepted, accepted);
        atomic_fetch_add(&table->resumed, got == HS_RESUMED);
        atomic_fetch_add(&table->failed, got == HS_FAILED);
        SSL_SESSION_free(ticket);
        atomic_fetch_add(&table->done, 1);
    }
}

static void races(int rounds)
{
    SSL_CTX *server = early_server();
    pid_t racers[RACERS];
    int wrong = 0, again = 0, status = 0, ended = 0;
    table = mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED)
        give_up("mmap");
    fflush(stdout);
    for (int i = 0; i < RACERS; i++) {
        racers[i] = fork();
        if (racers[i] < 0)
            give_up("fork");
        if (racers[i] == 0) {
            run_races(server, rounds);
            _exit(0);
        }
    }
    for (int i = 1; i <= rounds; i++) {
        int accepted;
        SSL_SESSION *ticket = hs_first(server, client);
        unsigned char *to = table->ticket;
        if (i2d_SSL_SESSION(ticket, NULL) > ROOM)
            give_up("a ticket of such a size");
        table->length = i2d_SSL_SESSION(ticket, &to);
        atomic_store(&table->round, i);
        wait_for(&table->done, RACERS * i);
        wrong += atomic_exchange(&table->accepted, 0) != 1 || atomic_exchange(&table->resumed, 0) != 1;
        if (sweeping()) {
            again += try_early(server, client, ticket, &accepted, NULL) != HS_FULL || accepted;
        }
        SSL_SESSION_free(ticket);
    }
    for (int i = 0; i < RACERS; i++)
        ended += waitpid(racers[i], &status, 0) == racers[i] && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    expect("S4", ended == RACERS, "all racers come to their end");
    better("S4", wrong == 0, "of %d racing processes exactly one gets early data: %d rounds wrong", RACERS, wrong);
    better("S4", again == 0, "and after that not even the one that gave the ticket out: %d", again);
    expect("S5", atomic_load(&table->failed) == 0, "no handshake fails");
    munmap(table, sizeof *table);
    SSL_CTX_free(server);
}

int main(int argc, char **argv)
{
    (void)argc;
    sharing_on(argv);
    client = hs_client(TLS1_3_VERSION);
    once();
    tls12();
    races(slowly() ? 10 : 200);
    expect("C12", no_errors(), "the error queue is empty");
    SSL_CTX_free(client);
    hs_end();
    return done();
}
