/* An external cache beside the internal one: who is asked when, the copy rule, what is stored where. */
#include "handshake.h"
#include <string.h>

/* The program's own cache of one session. */
static struct {
    SSL_SESSION *held;
    int copy;       /* what the get callback leaves in *copy */
    int news, gets, copy_at_entry;
} external;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    external.news++;
    SSL_SESSION_free(external.held);
    external.held = session;
    hs_follow(session);
    number_session(session, (unsigned)external.news);
    return 1;
}

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    unsigned held_length;
    (void)ssl;
    external.gets++;
    external.copy_at_entry = *copy;
    if (external.held == NULL)
        return NULL;
    const unsigned char *held = SSL_SESSION_get_id(external.held, &held_length);
    if ((unsigned)length != held_length || memcmp(id, held, held_length) != 0)
        return NULL;
    *copy = external.copy;
    if (!external.copy)
        SSL_SESSION_up_ref(external.held);
    return external.held;
}

static SSL_CTX *new_server(int version, long mode)
{
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | mode);
    SSL_CTX_sess_set_new_cb(server, on_new);
    SSL_CTX_sess_set_get_cb(server, on_get);
    record_removals(server, 'A');
    forget_removals();
    SSL_SESSION_free(external.held);
    memset(&external, 0, sizeof external);
    return server;
}

static void combination(int version, const char *name, long mode, int copy)
{
    SSL_CTX *server = new_server(version, mode), *client = hs_client(version);
    int freed = hs_freed();
    external.copy = copy;
    SSL_CTX_set_num_tickets(server, 1);
    say("TLS 1.%d, %s, copy %d", version - TLS1_VERSION, name, copy);

    SSL_SESSION *session = hs_first(server, client);
    int stores = (mode & SSL_SESS_CACHE_NO_INTERNAL_STORE) == 0;
    expect("C7", SSL_CTX_sess_number(server) == stores, stores ? "stored" : "not stored");
    expect("C10", external.news == 1, "the new callback is called either way");
    SSL_SESSION *held = external.held;
    SSL_SESSION_up_ref(held);

    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "resumed");
    say("held: %d gets, %s", external.gets, hs_counters(server));

    /* Gone from the internal cache, and resumable again as if read from a file. */
    SSL_SESSION_free(external.held);
    external.held = SSL_SESSION_dup(held);
    flush(server, 0);
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "after a flush the external cache serves");
    say("flushed: %d gets, copy was %d, %s", external.gets, external.copy_at_entry, hs_counters(server));
    SSL_SESSION_free(external.held);
    external.held = NULL;
    say("then alone: %s", hs_word(hs_resume(server, client, session)));
    say("alone: %d gets, %s", external.gets, hs_counters(server));

    SSL_SESSION_free(held);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    SSL_SESSION_free(external.held);
    external.held = NULL;
    /* P4: with both NO_INTERNAL flags it is all the program's own affair. */
    expect((mode & SSL_SESS_CACHE_NO_INTERNAL) == SSL_SESS_CACHE_NO_INTERNAL ? "P4" : "C9",
           hs_freed() - freed == external.news, "no reference is lost: %d of %d freed", hs_freed() - freed,
           external.news);
    say("removed: %zu", removals());
}

/* Libraries with the fix for CVE-2024-2511 ignore such a session, older ones use it: as stock does. */
static void not_resumable(void)
{
    SSL_CTX *server = new_server(TLS1_2_VERSION, SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    for (int copy = 0; copy < 2; copy++) {
        SSL_SESSION *session = hs_first(server, client);
        int freed = hs_freed();
        external.copy = copy;
        SSL_CTX_remove_session(server, external.held);
        expect("C5", !SSL_SESSION_is_resumable(external.held), "marked");
        SSL_SESSION *held = external.held;
        SSL_SESSION_up_ref(held);
        hs_result result = hs_resume(server, client, session);
        say("not resumable, copy %d: %s, %s", copy, hs_word(result), hs_counters(server));
        SSL_SESSION_free(held);
        SSL_SESSION_free(external.held);
        external.held = NULL;
        say("freed: %d", hs_freed() - freed);
        SSL_SESSION_free(session);
    }
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void expired(long mode, const char *name)
{
    SSL_CTX *server = new_server(TLS1_2_VERSION, mode), *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    SSL_SESSION *copy = SSL_SESSION_dup(external.held);
    flush(server, 0);
    forget_removals();
    SSL_SESSION_free(external.held);
    external.held = copy;
    SSL_SESSION_up_ref(copy);
    hs_age(copy);
    /* UPDATE_TIME makes it young on its way into the internal cache, so that it resumes. */
    hs_result result = hs_resume(server, client, session);
    say("expired, %s: %s, %zu removed, %s", name, hs_word(result), removals(), hs_counters(server));
    say("resumable %d, still old %d", SSL_SESSION_is_resumable(copy), SSL_SESSION_get_time(copy) == 1000);
    SSL_SESSION_free(copy);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static SSL_SESSION *provided;

static SSL_SESSION *provide(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length;
    *copy = -1;
    return provided;
}

static void any_copy(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    provided = hs_stored(server, session);
    hs_follow(provided);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    SSL_CTX_sess_set_get_cb(server, provide);
    int before = hs_freed();
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "copy -1: resumed");
    SSL_CTX_free(server);
    SSL_SESSION_free(session);
    expect("C9", hs_freed() == before, "any copy but 0 leaves the program its reference");
    SSL_SESSION_free(provided);
    expect("C9", hs_freed() == before + 1, "which is the last");
    SSL_CTX_free(client);
}

int main(void)
{
    static const struct {
        const char *name;
        long mode;
    } all[] = {
        {"both caches", 0},
        {"no internal lookup", SSL_SESS_CACHE_NO_INTERNAL_LOOKUP},
        {"no internal store", SSL_SESS_CACHE_NO_INTERNAL_STORE},
        {"no internal", SSL_SESS_CACHE_NO_INTERNAL},
    };
    limit_time();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            for (int copy = 0; copy < 2; copy++)
                combination(version, all[i].name, all[i].mode, copy);
    not_resumable();
    any_copy();
    expired(0, "both caches");
    expired(SSL_SESS_CACHE_NO_INTERNAL_STORE, "no internal store");
    expired(SSL_SESS_CACHE_NO_INTERNAL, "no internal");
    if (libssl_since(0x300)) {
        expired(SSL_SESS_CACHE_UPDATE_TIME, "update time");
        expired(SSL_SESS_CACHE_UPDATE_TIME | SSL_SESS_CACHE_NO_INTERNAL, "update time, no internal");
    }
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
