/* 0-RTT: with anti-replay a ticket is taken out of the cache by its first use, so it is accepted once,
 * also when two replays race. */
#include "handshake.h"

static SSL_CTX *early_server(int version, uint64_t options)
{
    SSL_CTX *server = hs_server(version, WITH_TICKETS);
    SSL_CTX_set_max_early_data(server, 4096);
    SSL_CTX_set_options(server, options);
    return server;
}

static hs_result try_early(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *ticket, int *accepted)
{
    hs_pair pair = hs_new(server, client, ticket);
    hs_result result = hs_drive_early(&pair, accepted);
    hs_close(&pair);
    return result;
}

static void once(SSL_CTX *client)
{
    SSL_CTX *server = early_server(TLS1_3_VERSION, 0);
    int accepted;
    SSL_CTX_set_num_tickets(server, 1);
    SSL_SESSION *ticket = hs_first(server, client);
    expect("C11", SSL_CTX_sess_number(server) == 1, "a ticket that allows 0-RTT is stored");
    record_removals(server, 'A');
    SSL_SESSION *stored = hs_stored(server, ticket);
    number_session(stored, 1);

    hs_result result = try_early(server, client, ticket, &accepted);
    expect("C11", result == HS_RESUMED && accepted, "0-RTT is accepted");
    expect("C11", removals() == 1 && removal_at(0).session == 1, "its session is removed: %s", removed());
    expect("F4", removal_at(0).resumable == 0 && removal_at(0).stored == 0, "as any removed session");
    expect("C11", SSL_CTX_sess_number(server) == 1, "the successor is stored");
    say("accepted: %s", hs_counters(server));

    result = try_early(server, client, ticket, &accepted);
    expect("C11", result == HS_FULL && !accepted, "a replay is refused, the handshake goes on in full");
    say("replayed: callbacks %zu, %s", removals(), hs_counters(server));
    SSL_SESSION_free(stored);
    SSL_SESSION_free(ticket);

    /* Anti-replay takes the ticket away even from a client that sends no early data. */
    ticket = hs_first(server, client);
    expect("C11", hs_resume(server, client, ticket) == HS_RESUMED, "resumed without early data");
    result = try_early(server, client, ticket, &accepted);
    expect("C11", result == HS_FULL && !accepted, "then 0-RTT is refused");
    say("used: callbacks %zu, %s", removals(), hs_counters(server));
    SSL_SESSION_free(ticket);

    ticket = hs_first(server, client);
    stored = hs_stored(server, ticket);
    hs_age(stored);
    result = try_early(server, client, ticket, &accepted);
    expect("C9", result == HS_FULL && !accepted, "an expired ticket is refused");
    say("expired: callbacks %zu, %s", removals(), hs_counters(server));
    SSL_SESSION_free(stored);
    SSL_SESSION_free(ticket);

    ticket = hs_first(server, client);
    flush(server, 0);
    result = try_early(server, client, ticket, &accepted);
    expect("F2", result == HS_FULL && !accepted, "a flushed ticket is refused");
    say("flushed: callbacks %zu, %s", removals(), hs_counters(server));
    SSL_SESSION_free(ticket);
    SSL_CTX_free(server);
}

/* A connection may differ from its context. */
static void per_connection(SSL_CTX *client)
{
    SSL_CTX *server = early_server(TLS1_3_VERSION, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(server, 1);
    SSL_SESSION *ticket = hs_first(server, client);
    for (int i = 0; i < 2; i++) {
        hs_pair pair = hs_new(server, client, ticket);
        SSL_set_max_early_data(pair.server, 0);
        expect("C11", hs_drive(&pair) == HS_RESUMED, "a connection without 0-RTT leaves the ticket, %d", i);
        hs_close(&pair);
    }
    for (int i = 0; i < 2; i++) {
        hs_pair pair = hs_new(server, client, ticket);
        SSL_set_options(pair.server, SSL_OP_NO_ANTI_REPLAY);
        expect("C11", hs_drive(&pair) == HS_RESUMED, "so does one without anti-replay, %d", i);
        hs_close(&pair);
    }
    expect("C11", hs_resume(server, client, ticket) == HS_RESUMED, "one with both resumes");
    expect("C11", hs_resume(server, client, ticket) == HS_FULL, "and takes it away");
    say("per connection: %s", hs_counters(server));
    SSL_SESSION_free(ticket);
    SSL_CTX_free(server);
}

static void without_anti_replay(SSL_CTX *client, int no_ticket)
{
    SSL_CTX *server = early_server(TLS1_3_VERSION, SSL_OP_NO_ANTI_REPLAY | (no_ticket ? SSL_OP_NO_TICKET : 0));
    int accepted[2];
    SSL_CTX_set_num_tickets(server, 1);
    SSL_SESSION *ticket = hs_first(server, client);
    expect("C11", SSL_CTX_sess_number(server) == no_ticket,
           "without anti-replay only stateful ones are stored");
    for (int i = 0; i < 2; i++)
        try_early(server, client, ticket, &accepted[i]);
    expect("C11", accepted[0] && accepted[1], "and a ticket is accepted twice");
    say("no anti-replay: %s", hs_counters(server));
    SSL_SESSION_free(ticket);
    SSL_CTX_free(server);
}

/* Anti-replay is a matter of TLS 1.3: the session ids of TLS 1.2 on the same server stay. */
static void tls12(void)
{
    SSL_CTX *server = early_server(ANY_TLS, SSL_OP_NO_TICKET), *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    for (int i = 0; i < 3; i++)
        expect("C11", hs_resume(server, client, session) == HS_RESUMED, "TLS 1.2 resumes, time %d", i + 1);
    say("TLS 1.2: %s", hs_counters(server));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

typedef struct racer {
    SSL_CTX *server, *client;
    SSL_SESSION *ticket;
    pthread_barrier_t *start;
    int accepted, failed;
} racer;

static void *race(void *arg)
{
    racer *r = arg;
    pthread_barrier_wait(r->start);
    r->failed = try_early(r->server, r->client, r->ticket, &r->accepted) == HS_FAILED;
    return NULL;
}

static void races(SSL_CTX *client)
{
    enum { ROUNDS = 60, RACERS = 2 };
    SSL_CTX *server = early_server(TLS1_3_VERSION, 0);
    int wrong = 0, failed = 0;
    SSL_CTX_set_num_tickets(server, 1);
    for (int i = 0; i < ROUNDS; i++) {
        SSL_SESSION *ticket = hs_first(server, client);
        pthread_barrier_t start;
        pthread_t threads[RACERS];
        racer racers[RACERS];
        int accepted = 0;
        pthread_barrier_init(&start, NULL, RACERS);
        for (int k = 0; k < RACERS; k++) {
            racers[k] = (racer){server, client, SSL_SESSION_dup(ticket), &start, 0, 0};
            hs_start(&threads[k], race, &racers[k]);
        }
        for (int k = 0; k < RACERS; k++) {
            pthread_join(threads[k], NULL);
            accepted += racers[k].accepted;
            failed += racers[k].failed;
            SSL_SESSION_free(racers[k].ticket);
        }
        wrong += accepted != 1;
        pthread_barrier_destroy(&start);
        SSL_SESSION_free(ticket);
    }
    expect("C11", wrong == 0, "of two racing replays exactly one is accepted: %d of %d rounds wrong", wrong,
           ROUNDS);
    expect("C11", failed == 0, "no handshake fails: %d", failed);
    say("races: number %ld", SSL_CTX_sess_number(server));
    SSL_CTX_free(server);
}

int main(void)
{
    limit_time();
    SSL_CTX *client = hs_client(TLS1_3_VERSION);
    once(client);
    per_connection(client);
    without_anti_replay(client, 0);
    without_anti_replay(client, 1);
    tls12();
    races(client);
    expect("C12", no_errors(), "the error queue is empty");
    SSL_CTX_free(client);
    return done();
}
