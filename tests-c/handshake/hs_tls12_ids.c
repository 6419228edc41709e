/* TLS 1.2 with session ids: stored, found, refused when expired or flushed, and counted. */
#include "handshake.h"

static void resumption(SSL_CTX *server, SSL_CTX *client)
{
    SSL_SESSION *sessions[3];
    for (int i = 0; i < 3; i++) {
        sessions[i] = hs_first(server, client);
        expect("C1", SSL_CTX_sess_number(server) == i + 1, "full handshake %d is stored", i + 1);
    }
    for (int i = 0; i < 3; i++)
        expect("C9", hs_resume(server, client, sessions[i]) == HS_RESUMED, "session %d resumes", i + 1);
    expect("C9", hs_resume(server, client, sessions[0]) == HS_RESUMED, "session 1 resumes again");
    expect("C12,P2", SSL_CTX_sess_hits(server) == 4 && SSL_CTX_sess_misses(server) == 0, "4 hits, no miss");
    expect("C10", SSL_CTX_sess_number(server) == 3, "a resumption stores nothing");
    expect("C12", removals() == 0, "nothing was removed");
    for (int i = 0; i < 3; i++)
        SSL_SESSION_free(sessions[i]);
    say("after resumptions: %s", hs_counters(server));
}

static void unknown(SSL_CTX *server, SSL_CTX *client)
{
    SSL_CTX *other = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    SSL_SESSION *foreign = hs_first(other, client);
    long misses = SSL_CTX_sess_misses(server);
    expect("F3", hs_resume(server, client, foreign) == HS_FULL, "another context's session is not found");
    expect("C12", SSL_CTX_sess_misses(server) == misses + 1, "and counted as a miss");
    SSL_SESSION_free(foreign);
    SSL_CTX_free(other);
}

static void expired(SSL_CTX *server, SSL_CTX *client)
{
    SSL_SESSION *session = hs_first(server, client);
    SSL_SESSION *stored = hs_stored(server, session);
    long number = SSL_CTX_sess_number(server), timeouts = SSL_CTX_sess_timeouts(server);
    time_t was = (time_t)SSL_SESSION_get_time(stored);
    number_session(stored, 7);

    hs_age(stored);
    SSL_SESSION_set_time(stored, (long)was);
    expect("C6", hs_resume(server, client, session) == HS_RESUMED, "made young again, it resumes");

    hs_age(stored);
    forget_removals();
    expect("C9", hs_resume(server, client, session) == HS_FULL, "expired, it does not");
    expect("C12", SSL_CTX_sess_timeouts(server) == timeouts + 1, "the time-out is counted");
    expect("C9", removals() == 1 && removal_at(0).session == 7, "it was removed: %s", removed());
    expect("F4", removal_at(0).resumable == 0, "marked not resumable before its callback");
    expect("F4", removal_at(0).stored == number - 1, "already out of the cache in its callback");
    expect("C1", SSL_CTX_sess_number(server) == number, "the new session took its place");

    forget_removals();
    expect("C9", hs_resume(server, client, session) == HS_FULL, "now it is unknown");
    expect("C12", removals() == 0 && SSL_CTX_sess_timeouts(server) == timeouts + 1, "no second time-out");
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);

    /* A timeout of zero seconds still counts its last second in. */
    session = hs_first(server, client);
    stored = hs_stored(server, session);
    SSL_SESSION_set_timeout(stored, 0);
    SSL_SESSION_set_time(stored, (long)time(NULL) + 100);
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "time in the future, timeout 0: resumes");
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);
}

static void flushed(SSL_CTX *server, SSL_CTX *client)
{
    SSL_SESSION *session = hs_first(server, client);
    SSL_SESSION *stored = hs_stored(server, session);
    time_t end = (time_t)(SSL_SESSION_get_time(stored) + SSL_SESSION_get_timeout(stored));
    long number = SSL_CTX_sess_number(server);

    flush(server, (time_t)SSL_SESSION_get_time(stored) - 10);
    expect("F1", hs_resume(server, client, session) == HS_RESUMED, "a flush before its expiry leaves it");
    SSL_SESSION_set_timeout(stored, 20);
    end = (time_t)SSL_SESSION_get_time(stored) + 20;
    flush(server, end);
    expect("F1", SSL_CTX_sess_number(server) == number, "a flush at its expiry too");
    forget_removals();
    number_session(stored, 8);
    flush(server, end + 1);
    expect("F1", SSL_CTX_sess_number(server) == number - 1, "a second later it goes");
    expect("F4", removals() == 1 && removal_at(0).session == 8, "with its callback: %s", removed());
    expect("F4", !SSL_SESSION_is_resumable(stored), "not resumable");
    expect("F1", hs_resume(server, client, session) == HS_FULL, "and is refused");
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);

    flush(server, 0);
    expect("F2", SSL_CTX_sess_number(server) == 0, "time 0 removes all");
}

static void timeouts(SSL_CTX *client)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    say("the timeout was %ld", SSL_CTX_set_timeout(server, 77));
    SSL_SESSION *session = hs_first(server, client), *stored = hs_stored(server, session);
    expect("C6", SSL_SESSION_get_timeout(stored) == 77, "a session gets the context's timeout");
    flush(server, (time_t)SSL_SESSION_get_time(stored) + 78);
    expect("F1", SSL_CTX_sess_number(server) == 0, "and goes by it");
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
}

int main(void)
{
    limit_time();
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    record_removals(server, 'A');
    resumption(server, client);
    unknown(server, client);
    expired(server, client);
    flushed(server, client);
    say("at the end: %s", hs_counters(server));
    timeouts(client);
    expect("C12", no_errors(), "the error queue is empty");
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return done();
}
