/* The cache of a client: stored sessions, the new callback's reference, single use under TLS 1.3. */
#include "handshake.h"

static struct {
    int calls, answer;
    SSL_SESSION *last;
    long stored; /* sessions stored when the callback ran */
} news;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    news.calls++;
    news.stored = SSL_CTX_sess_number(SSL_get_SSL_CTX(ssl));
    news.last = session;
    number_session(session, (unsigned)news.calls);
    hs_follow(session);
    return news.answer;
}

static SSL_CTX *caching_client(int version, long mode)
{
    SSL_CTX *client = hs_client(version);
    SSL_CTX_set_session_cache_mode(client, mode);
    SSL_CTX_sess_set_new_cb(client, on_new);
    record_removals(client, 'C');
    forget_removals();
    news.calls = news.answer = 0;
    return client;
}

static void tls12(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    SSL_CTX *client = caching_client(TLS1_2_VERSION, SSL_SESS_CACHE_CLIENT);
    int before = hs_freed();

    SSL_SESSION *session = hs_first(server, client);
    expect("C7", SSL_CTX_sess_number(client) == 1, "the client stores its session");
    expect("C10", news.calls == 1 && news.last == session, "the new callback gets that very session");
    expect("C10", news.stored == 1, "which is stored by then");
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "it resumes");
    expect("C10", news.calls == 1 && SSL_CTX_sess_number(client) == 1, "a resumption stores nothing");
    say("TLS 1.2 client: %s", hs_counters(client));
    SSL_SESSION_free(session);
    expect("C10", hs_freed() == before, "the cache holds it");
    flush(client, 0);
    expect("C10", hs_freed() == before + 1, "answer 0: the callback kept no reference");
    expect("F4", removals() == 1 && removal_at(0).session == 1, "removed: %s", removed());

    news.answer = 1;
    hs_connect(server, client, NULL, NULL);
    flush(client, 0);
    expect("C10", hs_freed() == before + 1, "answer 1: the reference is the callback's");
    expect("F4", !SSL_SESSION_is_resumable(news.last), "a flush marks it all the same");
    SSL_SESSION_free(news.last);
    expect("C10", hs_freed() == before + 2, "and ends with the application's free");
    news.answer = 0;

    /* The server has forgotten: the client takes the full handshake's session as a new one. */
    session = hs_first(server, client);
    flush(server, 0);
    expect("C9", hs_resume(server, client, session) == HS_FULL, "a full handshake instead");
    say("TLS 1.2 client, %d new: %s", news.calls, hs_counters(client));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    expect("C15", removals() == 4, "the end of the context removes the rest: %s", removed_sorted());
    SSL_CTX_free(server);
}

static void tls13(int tickets)
{
    SSL_CTX *server = hs_server(TLS1_3_VERSION, tickets);
    SSL_CTX *client = caching_client(TLS1_3_VERSION, SSL_SESS_CACHE_CLIENT);
    SSL_SESSION *next;

    SSL_SESSION *session = hs_first(server, client);
    expect("C11", SSL_CTX_sess_number(client) == 2 && news.calls == 2, "TLS 1.3: both tickets are stored");
    expect("C10", news.last == session, "the last one is the connection's session");
    expect("C9", hs_connect(server, client, session, &next) == HS_RESUMED, "TLS 1.3: resumed");
    expect("C12", removals() == 1 && removal_at(0).session == 2, "the used one was removed: %s", removed());
    expect("F4", !SSL_SESSION_is_resumable(session), "so that it is used once");
    expect("C12", SSL_CTX_sess_number(client) == 2 && news.calls == 3, "its successor was stored");
    expect("C16", session_number(next) == 3, "and is the one the callback saw");
    say("TLS 1.3 client: %s", hs_counters(client));
    flush(client, 0);
    expect("F2", removals() == 3 && SSL_CTX_sess_number(client) == 0, "flushed: %s", removed_sorted());
    expect("F4", !SSL_SESSION_is_resumable(next), "not resumable any more");
    SSL_SESSION_free(session);
    SSL_SESSION_free(next);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void modes(void)
{
    static const struct {
        const char *name;
        long mode;
    } all[] = {
        {"off", SSL_SESS_CACHE_OFF},
        {"server", SSL_SESS_CACHE_SERVER},
        {"both", SSL_SESS_CACHE_BOTH},
        {"client, no internal store", SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE},
        {"client, no internal lookup", SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP},
        {"client, no internal", SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL},
    };
    SSL_CTX *server = hs_server(ANY_TLS, WITHOUT_TICKETS);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            SSL_CTX *client = caching_client(version, all[i].mode);
            SSL_SESSION *session = hs_first(server, client);
            hs_result again = hs_resume(server, client, session);
            int stores = (all[i].mode & SSL_SESS_CACHE_CLIENT) != 0
                      && (all[i].mode & SSL_SESS_CACHE_NO_INTERNAL_STORE) == 0;
            expect("C7", (SSL_CTX_sess_number(client) > 0) == stores, "%s, TLS 1.%d: %s", all[i].name,
                   version - TLS1_VERSION, stores ? "stored" : "not stored");
            say("%d new, %zu removed, again: %s, resumable %d, %s", news.calls, removals(),
                hs_word(again), SSL_SESSION_is_resumable(session), hs_counters(client));
            SSL_SESSION_free(session);
            SSL_CTX_free(client);
        }
    }
    SSL_CTX_free(server);
}

int main(void)
{
    limit_time();
    tls12();
    tls13(WITH_TICKETS);
    tls13(WITHOUT_TICKETS);
    modes();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
