/* Every cache mode of a server, with handshakes; the mode read back is always the program's. */
#include "handshake.h"

static int news;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    news++;
    return 0;
}

static void mode(int version, const char *name, long mode)
{
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS), *client = hs_client(version);
    SSL_CTX_sess_set_new_cb(server, on_new);
    record_removals(server, 'A');
    forget_removals();
    news = 0;
    expect("C7", SSL_CTX_set_session_cache_mode(server, mode) == SSL_SESS_CACHE_SERVER,
           "the default was server");
    expect("C7", SSL_CTX_get_session_cache_mode(server) == mode, "%s is read back", name);
    SSL_SESSION *session = hs_first(server, client);
    expect("C7", SSL_CTX_get_session_cache_mode(server) == mode, "also after a handshake");

    int serves = (mode & SSL_SESS_CACHE_SERVER) != 0;
    int stores = serves && (mode & SSL_SESS_CACHE_NO_INTERNAL_STORE) == 0;
    int finds = stores && (mode & SSL_SESS_CACHE_NO_INTERNAL_LOOKUP) == 0;
    int tickets = version == TLS1_2_VERSION ? 1 : 2;
    expect("C10", news == (serves ? tickets : 0), "%d new", news);
    expect("C7", SSL_CTX_sess_number(server) == (stores ? tickets : 0), stores ? "stored" : "not stored");
    expect("C7", hs_resume(server, client, session) == (finds ? HS_RESUMED : HS_FULL),
           finds ? "resumed" : "full");
    say("TLS 1.%d, %s: %s", version - TLS1_VERSION, name, hs_counters(server));
    flush(server, 0);
    expect("F2", SSL_CTX_sess_number(server) == 0, "flushed: %zu removed", removals());
    expect("F4",
           removals() == (size_t)(stores ? (finds ? (version == TLS1_2_VERSION ? 1 : 3) : 2 * tickets) : 0),
           "each once");
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* The mode may change while sessions are stored. */
static void changes(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);

    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    say("off: %s", hs_word(hs_resume(server, client, session)));
    expect("C7", SSL_CTX_sess_number(server) == 1, "what was stored stays");
    hs_connect(server, client, NULL, NULL);
    expect("C7", SSL_CTX_sess_number(server) == 1, "nothing more is stored");

    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    expect("C7", hs_resume(server, client, session) == HS_FULL, "no internal lookup: not found");
    expect("C7", SSL_CTX_sess_number(server) == 2, "but stored");

    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    expect("C7", hs_resume(server, client, session) == HS_RESUMED, "no internal store: found");
    hs_connect(server, client, NULL, NULL);
    expect("C7", SSL_CTX_sess_number(server) == 2, "and nothing stored");
    expect("C3", store(server, 1, time(NULL), 300) == 1 && SSL_CTX_sess_number(server) == 3,
           "but by SSL_CTX_add_session");

    expect("C7", SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER)
           == (SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE), "the setter returns the mode before");
    say("%s", hs_counters(server));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* The size is exact here; stock 3.x holds one session less. */
static void sizes(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    record_removals(server, 'A');
    forget_removals();
    expect("C1", SSL_CTX_sess_set_cache_size(server, 3) == SSL_SESSION_CACHE_MAX_SIZE_DEFAULT,
           "the default size");
    SSL_SESSION *sessions[5];
    for (int i = 0; i < 5; i++) {
        sessions[i] = hs_first(server, client);
        SSL_SESSION *stored = hs_stored(server, sessions[i]);
        number_session(stored, (unsigned)i + 1);
        SSL_SESSION_set_timeout(stored, 1000 + i);
        SSL_SESSION_free(stored);
    }
    better("C1", SSL_CTX_sess_number(server) == 3, "3 of 5 are held");
    better("C2", removals() == 2 && removal_at(0).session == 1 && removal_at(1).session == 2,
           "those that expire first left: %s", removed());
    better("C2", SSL_CTX_sess_cache_full(server) == 2, "and were counted");
    expect("C2", hs_resume(server, client, sessions[4]) == HS_RESUMED, "the last one resumes");
    expect("C2", hs_resume(server, client, sessions[0]) == HS_FULL, "the first does not");
    for (int i = 0; i < 5; i++)
        SSL_SESSION_free(sessions[i]);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    static const struct {
        const char *name;
        long mode;
    } all[] = {
        {"off", SSL_SESS_CACHE_OFF},
        {"client", SSL_SESS_CACHE_CLIENT},
        {"server", SSL_SESS_CACHE_SERVER},
        {"both", SSL_SESS_CACHE_BOTH},
        {"server, no auto clear", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR},
        {"server, no internal lookup", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP},
        {"server, no internal store", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE},
        {"server, no internal", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL},
        {"both, update time", SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_UPDATE_TIME},
        {"off, no internal", SSL_SESS_CACHE_OFF | SSL_SESS_CACHE_NO_INTERNAL},
    };
    limit_time();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            mode(version, all[i].name, all[i].mode);
    changes();
    sizes();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
