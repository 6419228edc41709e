/* S1, S3, S5, C7, C12, C16: what the cache's operations mean where sessions are shared: removal, times, flushes, modes,
 * counters; and which sessions are never shared. "Another" is a second context of equal trust, or a copy of the context in
 * another process. */
#include "sharing.h"

#include <limits.h>
#include <string.h>

#include <openssl/x509.h>

static int version;
static SSL_CTX *client;
static identity ec;

static SSL_CTX *server(void)
{
    return hs_server(version, WITHOUT_TICKETS);
}

static const char *in(void)
{
    return version_name(version);
}

static void shared(hs_result got, const char *what)
{
    better("S1", got == HS_RESUMED, "%s: %s: %s", in(), what, hs_word(got));
}

static void apart(const char *number, hs_result got, const char *what)
{
    expect(number, got == HS_FULL, "%s: %s: %s", in(), what, hs_word(got));
}

/* The server's end of a connection that resumes: its session, a reference of the caller's. */
static SSL_SESSION *resumed_object(SSL_CTX *ctx, SSL_SESSION *session)
{
    hs_pair pair = hs_new(ctx, client, session);
    if (version == TLS1_3_VERSION)
        SSL_set_num_tickets(pair.server, 0); /* or it would be that of the next ticket */
    SSL_SESSION *object = hs_drive(&pair) == HS_RESUMED ? SSL_get1_session(pair.server) : NULL;
    hs_close(&pair);
    return object;
}

/* ---- What is published, and when ---- */

static enum { KEEPS, REMOVES, EXPIRES, PROLONGS, ATTACHES } in_new;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    switch (in_new) {
    case KEEPS:
        break;
    case REMOVES:
        SSL_CTX_remove_session(SSL_get_SSL_CTX(ssl), session);
        break;
    case EXPIRES:
        hs_age(session);
        break;
    case PROLONGS:
        SSL_SESSION_set_timeout(session, LONG_MAX);
        break;
    case ATTACHES:
        number_session(session, 1);
        break;
    }
    return 0;
}

static hs_result after_new(int what)
{
    SSL_CTX *one = server(), *other = server();
    in_new = what;
    SSL_CTX_sess_set_new_cb(one, on_new);
    SSL_SESSION *session = hs_first(one, client);
    hs_result got = hs_resume(other, client, session);
    SSL_SESSION_free(session);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
    return got;
}

static void published_last(void)
{
    shared(after_new(KEEPS), "a new callback that does nothing");
    apart("S3", after_new(REMOVES), "a new callback that removes the session");
    apart("S1", after_new(EXPIRES), "one that makes it expired");
    shared(after_new(PROLONGS), "one that gives it all time there is");
    apart("S2", after_new(ATTACHES), "one that attaches data to it");
}

/* ---- Removal ---- */

static void removal_elsewhere(void)
{
    SSL_CTX *one = server(), *other = server(), *third = server();
    SSL_SESSION *session = hs_first(one, client);
    SSL_SESSION *object = resumed_object(other, session);
    better("S1", object != NULL, "%s: another context resumes", in());
    if (object != NULL)
        SSL_CTX_remove_session(other, object);
    apart("S3", hs_resume(other, client, session), "what it removes it never gets again");
    apart("S3", hs_resume(third, client, session), "nor does a third one");
    if (object != NULL) /* stock has nothing to remove there */
        better("S3", hs_resume(one, client, session) == HS_FULL, "%s: nor the one that has stored it", in());
    SSL_SESSION_free(object);
    SSL_SESSION_free(session);

    session = hs_first(one, client);
    object = hs_stored(one, session);
    SSL_CTX_remove_session(one, object);
    apart("S3", hs_resume(other, client, session), "a session that its own context removes");
    apart("S3", hs_resume(one, client, session), "is gone there as well");
    SSL_SESSION_free(object);
    SSL_SESSION_free(session);

    /* A connection that ends without a goodbye: libssl itself removes its session. */
    hs_pair pair = hs_new(one, client, NULL);
    hs_drive(&pair);
    session = SSL_SESSION_dup(SSL_get_session(pair.client));
    hs_drop(&pair);
    apart("S3", hs_resume(other, client, session), "a session of a connection that was lost");
    SSL_SESSION_free(session);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
    SSL_CTX_free(third);
}

typedef struct removing {
    SSL_CTX *ctx;
    SSL_SESSION *session;
} removing;

static int remove_it(void *arg)
{
    removing *r = arg;
    SSL_SESSION *object = resumed_object(r->ctx, r->session);
    if (object == NULL)
        return 1;
    SSL_CTX_remove_session(r->ctx, object);
    SSL_SESSION_free(object);
    return 0;
}

static int flush_it(void *arg)
{
    flush(arg, 0);
    return 0;
}

static void processes(void)
{
    SSL_CTX *one = server(), *other = server(), *third = server();
    SSL_SESSION *session = first_elsewhere(one, client);
    shared(hs_resume(one, client, session), "a session of a process that has ended, at the same context here");
    shared(hs_resume(other, client, session), "and at another one");
    shared(resume_elsewhere(third, client, session), "and in another process");
    removing r = {third, session};
    better("S1", elsewhere(remove_it, &r) == 0, "%s: which removes it", in());
    if (sweeping()) {
        apart("S3", hs_resume(one, client, session), "then the first resumes it no more");
        apart("S3", hs_resume(other, client, session), "nor does the other");
    } else {
        say("ok S3 - %s: then the first resumes it no more: full", in());
        say("ok S3 - %s: nor does the other: full", in());
    }
    SSL_SESSION_free(session);

    session = first_elsewhere(one, client);
    elsewhere(flush_it, other);
    shared(hs_resume(one, client, session), "a flush in another process, of a context that has not stored it");
    SSL_SESSION_free(session);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
    SSL_CTX_free(third);
}

/* ---- Times ---- */

static void times(void)
{
    SSL_CTX *one = server(), *other = server();
    SSL_SESSION *session = hs_first(one, client), *object = hs_stored(one, session);
    hs_age(object);
    apart("S3", hs_resume(other, client, session), "a stored session whose time is set back");
    SSL_SESSION_free(object);
    SSL_SESSION_free(session);

    session = hs_first(one, client);
    object = hs_stored(one, session);
    SSL_SESSION_set_timeout(object, 0);
    SSL_SESSION_set_time(object, (long)time(NULL) - 1);
    apart("S3", hs_resume(other, client, session), "one whose timeout ends");
    SSL_SESSION_free(object);
    SSL_SESSION_free(session);

    session = hs_first(one, client);
    object = hs_stored(one, session);
    SSL_SESSION_set_timeout(object, 100000);
    shared(hs_resume(other, client, session), "one that has got more time");
    SSL_SESSION_free(object);
    SSL_SESSION_free(session);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
}

/* ---- Flushes ---- */

/* When the server's session of this connection expires. */
static time_t expiry_of(SSL_CTX *ctx, SSL_SESSION *session)
{
    SSL_SESSION *object = hs_stored(ctx, session);
    if (object == NULL)
        give_up("the session is not stored");
    time_t expiry = (time_t)SSL_SESSION_get_time(object) + SSL_SESSION_get_timeout(object);
    SSL_SESSION_free(object);
    return expiry;
}

static void flushes(void)
{
    SSL_CTX *one = server(), *other = server(), *third = server();
    SSL_CTX_set_num_tickets(one, 1);

    SSL_SESSION *session = hs_first(one, client);
    flush(one, 0);
    apart("F2", hs_resume(one, client, session), "what a context has flushed");
    apart("S3", hs_resume(other, client, session), "and had stored itself is gone for all");
    SSL_SESSION_free(session);
    session = hs_first(one, client);
    shared(hs_resume(other, client, session), "what comes after that is shared");

    flush(other, 0);
    apart("F2", hs_resume(other, client, session), "what a context has flushed and others have stored");
    shared(hs_resume(third, client, session), "stays for others");
    expect("F3", hs_resume(one, client, session) == HS_RESUMED, "%s: and where it is stored", in());
    SSL_SESSION_free(session);

    /* Strictly before, as in a cache: the session's own second stays, the next one does not. */
    session = hs_first(one, client);
    time_t expiry = expiry_of(one, session);
    flush(other, expiry);
    shared(hs_resume(other, client, session), "a flush of what expires before the session");
    flush(other, time(NULL) - 10);
    shared(hs_resume(other, client, session), "a flush of what has expired");
    flush(other, -1);
    shared(hs_resume(other, client, session), "a flush of nothing");
    flush(other, expiry + 1);
    apart("F1", hs_resume(other, client, session), "a flush of what expires by then");
    flush(other, expiry - 100);
    apart("F1", hs_resume(other, client, session), "a later flush of less brings nothing back");
    SSL_SESSION_free(session);
    SSL_CTX_set_timeout(one, SSL_CTX_get_timeout(one) + 1000);
    session = hs_first(one, client);
    flush(other, expiry + 1);
    shared(hs_resume(other, client, session), "a session that has longer to live");
    SSL_SESSION_free(session);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
    SSL_CTX_free(third);
}

/* Tickets that a resumption gives out are of the same origin: what a context has flushed does not come back in them. */
static void chain(void)
{
    SSL_CTX *one = server(), *other = server(), *third = server();
    SSL_SESSION *session = first_elsewhere(one, client), *next[3] = {NULL};
    flush(other, 0);
    apart("S3", hs_resume(other, client, session), "flushed before it was looked for");
    shared(hs_connect(third, client, session, &next[0]), "a third context resumes it");
    shared(hs_connect(one, client, next[0], &next[1]), "and the first one what followed");
    shared(hs_connect(third, client, next[1], &next[2]), "and so on");
    if (sweeping()) {
        for (int i = 0; i < 3; i++)
            apart("S3", hs_resume(other, client, next[i]), "which never comes back");
    } else {
        for (int i = 0; i < 3; i++)
            say("ok S3 - %s: which never comes back: full", in());
    }
    for (int i = 0; i < 3; i++)
        SSL_SESSION_free(next[i]);
    SSL_SESSION_free(session);
    session = first_elsewhere(one, client);
    shared(hs_connect(other, client, session, NULL), "a session of later comes");
    SSL_SESSION_free(session);

    /* The origin of one that the context itself has stored is not known: a flush of another one hides all of those. */
    session = hs_first(one, client);
    flush(other, 0);
    expect("C9", hs_connect(one, client, session, &next[0]) == HS_RESUMED, "%s: resumed where it is stored", in());
    apart("S3", hs_resume(other, client, next[0]), "what follows that is hidden as well");
    shared(hs_resume(third, client, next[0]), "from nobody else");
    SSL_SESSION_free(next[0]);
    SSL_SESSION_free(session);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
    SSL_CTX_free(third);
}

/* ---- Eviction and ends ---- */

static void ends(void)
{
    SSL_CTX *one = server(), *other = server();
    SSL_CTX_set_num_tickets(one, 1);
    SSL_SESSION *first = hs_first(one, client);
    SSL_CTX_sess_set_cache_size(one, size_to_hold(1));
    SSL_SESSION *second = hs_first(one, client);
    shared(hs_resume(other, client, first), "a session that was evicted");
    shared(hs_resume(one, client, first), "also where it was evicted");
    shared(hs_resume(other, client, second), "and the one in its place");
    SSL_CTX_free(one);
    shared(hs_resume(other, client, second), "the context's end forgets nothing");
    one = server();
    shared(hs_resume(one, client, second), "a new context, as after a reload");
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
}

/* ---- Modes ---- */

static hs_result with_modes(long one_mode, long other_mode)
{
    SSL_CTX *one = server(), *other = server();
    SSL_CTX_set_session_cache_mode(one, one_mode);
    SSL_CTX_set_session_cache_mode(other, other_mode);
    SSL_SESSION *session = hs_first(one, client);
    hs_result got = hs_resume(other, client, session);
    SSL_SESSION_free(session);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
    return got;
}

static void modes(void)
{
    const long on = SSL_SESS_CACHE_SERVER;
    static const struct {
        const char *name;
        long mode;
    } all[] = {
        {"no internal store", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE},
        {"no internal cache", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL},
        {"off", SSL_SESS_CACHE_OFF},
        {"a client's cache", SSL_SESS_CACHE_CLIENT},
    };
    shared(with_modes(on, on), "a server's cache");
    shared(with_modes(SSL_SESS_CACHE_BOTH, SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_AUTO_CLEAR), "both caches");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char text[80];
        snprintf(text, sizeof text, "%s: publishes nothing", all[i].name);
        apart("C7", with_modes(all[i].mode, on), text);
    }
    apart("C7", with_modes(on, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP), "no internal lookup: fetches nothing");
    apart("C7", with_modes(on, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL), "no internal cache: fetches nothing");
    shared(with_modes(SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP, on), "no internal lookup: publishes");
}

/* ---- Counters and identity ---- */

static void counters(void)
{
    SSL_CTX *one = server(), *other = server();
    SSL_CTX_set_num_tickets(one, 1);
    SSL_CTX_set_num_tickets(other, 1);
    SSL_SESSION *session = hs_first(one, client);
    hs_resume(other, client, session);
    /* A miss is a session that was "not found in the internal session cache", as SSL_CTX_sess_number(3) has it. */
    better("C12", SSL_CTX_sess_hits(other) == 1 && SSL_CTX_sess_cb_hits(other) == 0 && SSL_CTX_sess_misses(other) == 1
               && SSL_CTX_sess_accept(other) == 1 && SSL_CTX_sess_accept_good(other) == 1,
           "%s: a session that was fetched is a hit: %s", in(), sweeping() ? hs_counters(other) : "");
    better("S1", SSL_CTX_sess_number(other) == (version == TLS1_3_VERSION), "%s: and is not stored; its successor is", in());
    flush(other, 0);
    hs_resume(other, client, session);
    better("C12", SSL_CTX_sess_hits(other) == 1 && SSL_CTX_sess_misses(other) == 2, "%s: one that is refused is not: %s", in(),
           sweeping() ? hs_counters(other) : "");
    SSL_SESSION_free(session);

    session = hs_first(one, client);
    SSL_SESSION *object = hs_stored(one, session);
    SSL_SESSION *resumed = resumed_object(one, session);
    expect("C16", resumed == object, "%s: the context's own session is that very object", in());
    SSL_SESSION_free(resumed);
    resumed = resumed_object(other, session);
    better("S1", resumed != NULL && resumed != object, "%s: another context has an object of its own", in());
    SSL_SESSION_free(resumed);
    SSL_SESSION_free(object);
    SSL_SESSION_free(session);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
}

/* ---- Who a client is ---- */

static int accept_any(int ok, X509_STORE_CTX *store)
{
    (void)ok, (void)store;
    return 1;
}

static SSL_SESSION *with_certificate(SSL_CTX *ctx, SSL_CTX *who, void (*adjust)(SSL *))
{
    SSL_SESSION *session = NULL;
    if (visit(ctx, who, NULL, adjust, NULL, &session) != HS_FULL)
        give_up("a handshake with a certificate failed");
    return session;
}

static void ask(SSL *ssl)
{
    SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_any);
}

static void client_certificates(void)
{
    SSL_CTX *one = server(), *other = server(), *who = hs_client(version);
    use_identity(who, &ec);
    SSL_SESSION *session = with_certificate(one, who, ask);
    expect("S2, S5", visit(other, who, NULL, ask, session, NULL) == HS_FULL, "%s: a session with a client's certificate", in());
    expect("S2, S5", visit(other, who, NULL, NULL, session, NULL) == HS_FULL, "%s: also where nobody asks for one", in());
    SSL_SESSION_free(session);
    session = with_certificate(one, who, NULL);
    expect("S2, S5", visit(other, who, NULL, ask, session, NULL) == HS_FULL, "%s: a session without, where one is asked for", in());
    better("S1", visit(other, who, NULL, NULL, session, NULL) == HS_RESUMED, "%s: it is shared where nobody asks", in());
    SSL_SESSION_free(session);

    /* The certificate is asked for after the handshake, and tickets that follow are those of its owner. */
    if (version == TLS1_3_VERSION) {
        SSL_CTX_set_post_handshake_auth(who, 1);
        hs_pair pair = hs_new(one, who, NULL);
        hs_drive(&pair);
        SSL_set_verify(pair.server, SSL_VERIFY_PEER, accept_any);
        if (!SSL_verify_client_post_handshake(pair.server) || SSL_do_handshake(pair.server) != 1)
            give_up("post-handshake authentication");
        char byte;
        SSL_read(pair.client, &byte, 1);
        SSL_read(pair.server, &byte, 1);
        SSL_read(pair.client, &byte, 1);
        ERR_clear_error();
        X509 *shown = SSL_get_peer_certificate(pair.server);
        expect("S2", shown != NULL, "the client has shown its certificate after the handshake");
        X509_free(shown);
        session = SSL_get1_session(pair.client);
        hs_close(&pair);
        expect("S2, S5", hs_resume(other, who, session) == HS_FULL, "and the tickets that follow are not shared");
        SSL_SESSION_free(session);
    }
    SSL_CTX_free(who);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
}

static unsigned on_psk_server(SSL *ssl, const char *who, unsigned char *psk, unsigned room)
{
    (void)ssl;
    /* In TLS 1.3 tickets are asked for as well. */
    if (strcmp(who, "somebody") != 0 || room < 32)
        return 0;
    memset(psk, 7, 32);
    return 32;
}

static unsigned on_psk_client(SSL *ssl, const char *hint, char *who, unsigned who_room, unsigned char *psk, unsigned room)
{
    (void)hint;
    snprintf(who, who_room, "somebody");
    return on_psk_server(ssl, who, psk, room);
}

/* Pre-shared keys: in TLS 1.2 by cipher; in TLS 1.3 by the same callbacks, to which a resumed session looks the same. */
static void pre_shared_keys(void)
{
    SSL_CTX *one = server(), *other = server(), *who = hs_client(version);
    SSL_CTX *all[] = {one, other, who};
    for (int i = 0; i < 3; i++) {
        if (version != TLS1_3_VERSION && !SSL_CTX_set_cipher_list(all[i], "PSK-AES128-GCM-SHA256"))
            give_up("cipher list");
        if (!SSL_CTX_set_ciphersuites(all[i], "TLS_AES_128_GCM_SHA256"))
            give_up("cipher suites");
    }
    SSL_CTX_set_psk_server_callback(one, on_psk_server);
    SSL_CTX_set_psk_server_callback(other, on_psk_server);
    SSL_CTX_set_psk_client_callback(who, on_psk_client);
    SSL_SESSION *session = NULL;
    hs_result got = hs_connect(one, who, NULL, &session);
    say("%s: with a pre-shared key: %s", in(), hs_word(got));
    SSL_CTX_set_psk_client_callback(who, NULL);
    got = session == NULL ? HS_FAILED : hs_resume(other, who, session);
    expect("S2", got == (version == TLS1_3_VERSION ? HS_FULL : HS_FAILED),
           "%s: a session that began with one, and without the key: %s", in(), hs_word(got));
    SSL_SESSION_free(session);
    SSL_CTX_free(who);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
}

int main(int argc, char **argv)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION, DTLS1_2_VERSION};
    (void)argc;
    sharing_on(argv);
    ec = new_identity(EVP_PKEY_EC);
    for (int i = 0; i < 3; i++) {
        version = versions[i];
        client = hs_client(version);
        published_last();
        removal_elsewhere();
        processes();
        times();
        flushes();
        if (version == TLS1_3_VERSION)
            chain();
        ends();
        modes();
        counters();
        client_certificates();
        pre_shared_keys();
        SSL_CTX_free(client);
    }
    expect("C12", no_errors(), "the error queue is empty");
    free_identity(&ec);
    hs_end();
    return done();
}
