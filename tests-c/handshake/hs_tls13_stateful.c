/* TLS 1.3 with stateful tickets (SSL_OP_NO_TICKET): a ticket is a session id, so the cache decides. */
#include "handshake.h"

int main(void)
{
    limit_time();
    SSL_CTX *server = hs_server(TLS1_3_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_3_VERSION);
    SSL_SESSION *next, *stored;
    record_removals(server, 'A');

    SSL_SESSION *session = hs_first(server, client);
    expect("C11", SSL_CTX_sess_number(server) == 2, "a full handshake stores its two tickets");
    stored = hs_stored(server, session);
    expect("C14", stored != NULL, "the last ticket's session is in the table");

    expect("C9", hs_connect(server, client, session, &next) == HS_RESUMED, "the ticket resumes");
    expect("C11", SSL_CTX_sess_number(server) == 3, "a resumption stores one ticket more");
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "a ticket is not single use here");
    expect("C9", hs_resume(server, client, next) == HS_RESUMED, "the successor resumes as well");
    expect("C12", SSL_CTX_sess_misses(server) == 0, "no miss");
    say("%s", hs_counters(server));

    /* Unlike a TLS 1.2 session, an expired ticket's session is refused but not removed. */
    number_session(stored, 1);
    hs_age(stored);
    expect("C9", hs_resume(server, client, session) == HS_FULL, "expired, it does not resume");
    expect("C12", SSL_CTX_sess_timeouts(server) == 1, "the time-out is counted");
    say("callbacks: %zu, %s", removals(), hs_counters(server));
    flush(server, time(NULL));
    expect("F1", removals() == 1 && removal_at(0).session == 1, "a flush takes it: %s", removed());
    expect("C9", hs_resume(server, client, session) == HS_FULL, "now it is unknown");
    say("%s", hs_counters(server));

    expect("C9", hs_resume(server, client, next) == HS_RESUMED, "the successor still resumes");
    flush(server, 0);
    expect("F2", SSL_CTX_sess_number(server) == 0, "time 0 removes all");
    expect("F2", hs_resume(server, client, next) == HS_FULL, "the successor is refused after it");
    say("%s", hs_counters(server));
    SSL_SESSION_free(stored);
    SSL_SESSION_free(next);
    SSL_SESSION_free(session);

    flush(server, 0);
    for (size_t tickets = 0; tickets < 4; tickets++) {
        SSL_CTX_set_num_tickets(server, tickets);
        long before = SSL_CTX_sess_number(server);
        hs_connect(server, client, NULL, NULL);
        expect("C11", SSL_CTX_sess_number(server) - before == (long)tickets, "%zu tickets", tickets);
    }
    expect("C12", no_errors(), "the error queue is empty");
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return done();
}
