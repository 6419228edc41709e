/* C3, C9, C11, C13, C15, F4: allocations of sslsweep fail in real handshakes, each in turn, once or from there on.
 * A handshake goes on as if a cache were smaller: it may not store or not find a session, it never fails for
 * that, and each session that was made is freed once and was called back as it should. (A switch to another context that
 * could not be noted gives the session to that one's cache.) Then several threads at once, in which any allocation may fail.
 *
 * libssl's own allocations are left alone: what its handshakes do without memory is not ours to say. */
#include "failing.inc"

#include "handshake.h"

#include <stdio.h>

static SSL_CTX *server, *second, *client;
static SSL_SESSION *resume, *next, *external;
static hs_result result;
static int made, removed_count, copy, conflicts, accepted;
static int followed_before;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    made++;
    hs_follow(session);
    return 0;
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    removed_count++;
}

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copies)
{
    (void)ssl, (void)id, (void)length;
    *copies = copy;
    if (external != NULL && !copy)
        SSL_SESSION_up_ref(external);
    return external;
}

static int on_id(SSL *ssl, unsigned char *id, unsigned *length)
{
    (void)ssl;
    memset(id, 7, *length);
    return 1;
}

static int on_name(SSL *ssl, int *alert, void *arg)
{
    (void)alert, (void)arg;
    return SSL_set_SSL_CTX(ssl, second) == second ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- What is tried ---- */

static void connect_it(void)
{
    hs_pair pair = hs_new(server, client, resume);
    SSL_set_tlsext_host_name(pair.client, "other.example");
    result = hs_drive(&pair);
    next = result == HS_FAILED ? NULL : SSL_get1_session(pair.client);
    hs_close(&pair);
}

static void lose_it(void)
{
    hs_pair pair = hs_new(server, client, resume);
    result = hs_drive(&pair);
    hs_drop(&pair);
}

static void connect_early(void)
{
    hs_pair pair = hs_new(server, client, resume);
    result = hs_drive_early(&pair, &accepted);
    hs_close(&pair);
}

static void plain(void) {}
static void with_callback(void) { SSL_CTX_sess_set_remove_cb(server, on_remove); }
static void small(void) { with_callback(); SSL_CTX_sess_set_cache_size(server, size_to_hold(1)); }
static void expired(void)
{
    SSL_SESSION *stored = hs_stored(server, resume);
    with_callback();
    hs_age(stored);
    SSL_SESSION_free(stored);
}
static void fetched(void)
{
    external = hs_stored(server, resume);
    flush(server, (time_t)1); /* removes nothing */
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    SSL_CTX_sess_set_get_cb(server, on_get);
    copy = 1;
}
static void fetched_for_good(void) { fetched(); copy = 0; }
static void named(void) { SSL_CTX_set_tlsext_servername_callback(server, on_name); with_callback(); }
static void with_ids(void) { SSL_CTX_set_generate_session_id(server, on_id); }

static const struct scenario {
    const char *number, *name;
    int version, resumes, early;
    void (*prepare)(void), (*operate)(void);
} scenarios[] = {
    {"C3", "full handshake, TLS 1.2", TLS1_2_VERSION, 0, 0, plain, connect_it},
    {"C3", "full handshake, TLS 1.3", TLS1_3_VERSION, 0, 0, plain, connect_it},
    {"C9", "resumed, TLS 1.2", TLS1_2_VERSION, 1, 0, with_callback, connect_it},
    {"C9", "resumed, TLS 1.3", TLS1_3_VERSION, 1, 0, with_callback, connect_it},
    {"C2", "with eviction, TLS 1.2", TLS1_2_VERSION, 1, 0, small, connect_it},
    {"C2", "with eviction, TLS 1.3", TLS1_3_VERSION, 1, 0, small, connect_it},
    {"C9", "expired, TLS 1.2", TLS1_2_VERSION, 1, 0, expired, connect_it},
    {"C9", "expired, TLS 1.3", TLS1_3_VERSION, 1, 0, expired, connect_it},
    {"C9", "from the get callback, TLS 1.2", TLS1_2_VERSION, 1, 0, fetched, connect_it},
    {"C9", "from the get callback, TLS 1.3", TLS1_3_VERSION, 1, 0, fetched_for_good, connect_it},
    {"C11", "0-RTT", TLS1_3_VERSION, 1, 1, with_callback, connect_early},
    {"C13", "another context by name, TLS 1.2", TLS1_2_VERSION, 0, 0, named, connect_it},
    {"C13", "another context by name, TLS 1.3, resumed", TLS1_3_VERSION, 1, 0, named, connect_it},
    {"C14", "an id of the program's", TLS1_2_VERSION, 0, 0, with_ids, connect_it},
    {"C14", "an id that is stored", TLS1_2_VERSION, 1, 0, with_ids, connect_it},
    {"C5", "lost, TLS 1.2", TLS1_2_VERSION, 0, 0, with_callback, lose_it},
    {"C5", "lost, TLS 1.3", TLS1_3_VERSION, 1, 0, with_callback, lose_it},
};

static void begin(const struct scenario *s)
{
    made = removed_count = accepted = 0;
    followed_before = hs_freed();
    resume = next = external = NULL;
    server = hs_server(s->version, s->early ? WITH_TICKETS : WITHOUT_TICKETS);
    second = hs_server(s->version, WITHOUT_TICKETS);
    client = hs_client(s->version);
    if (s->early)
        SSL_CTX_set_max_early_data(server, 4096);
    SSL_CTX_sess_set_new_cb(server, on_new);
    conflicts = s->prepare == with_ids && s->resumes;
    if (conflicts) /* the same id before */
        with_ids();
    if (s->resumes)
        resume = hs_first(server, client);
    s->prepare();
    if (conflicts) { /* the client comes without */
        SSL_SESSION_free(resume);
        resume = NULL;
    }
}

/* Nothing is left over, nothing lacks. */
static int end(int callback, int may_move)
{
    long number = SSL_CTX_sess_number(server);
    int before = removed_count;
    int ok = number >= 0 && number <= made && (may_move || SSL_CTX_sess_number(second) == 0);
    SSL_SESSION_free(resume);
    SSL_SESSION_free(next);
    SSL_SESSION_free(external);
    SSL_CTX_free(server);
    SSL_CTX_free(second);
    SSL_CTX_free(client);
    ok &= removed_count - before == (callback ? number : 0);
    ERR_clear_error();
    return ok && hs_freed() - followed_before == made;
}

static void try_each(const struct scenario *s)
{
    int bad = 0, tried = 0, callback = s->prepare == with_callback || s->prepare == small || s->prepare == expired || s->prepare == named;
    hs_result normal = HS_FAILED;
    for (int from_there_on = 0; from_there_on < 2; from_there_on++) {
        /* First without any failure, to know what comes of it. */
        for (long at = -1, more = 1; more && at < 300; at++, tried++) {
            begin(s);
            more = with_failure(at < 0 ? 1L << 30 : at, from_there_on, 1, s->operate) || at < 0;
            if (at < 0)
                normal = result;
            int good = result == normal || (result == HS_FULL && normal == HS_RESUMED) || (conflicts && result != HS_RESUMED);
            int kept = end(callback, at >= 0 && s->prepare == named);
            if (!good || !kept) {
                bad++;
                printf("# %s, allocation %ld%s: %s%s\n", s->name, at, from_there_on ? " on" : "", hs_word(result),
                       kept ? "" : ", not conserved");
            }
            if (!sweeping() || slowly())
                break; /* there are none to fail */
        }
    }
    say("%s: %s", s->name, hs_word(normal));
    printf("# %s: %d times\n", s->name, tried);
    expect(s->number, bad == 0, "%s without memory", s->name);
}

/* ---- Several threads ---- */

enum { THREADS = 4, ROUNDS = 4000, SESSIONS = 400 };

static SSL_CTX *shared;
static SSL_SESSION *session[SESSIONS];
static atomic_int entered, left, freed;
static int mark_index;
static pthread_barrier_t all_there;

static void on_marked_free(void *parent, void *mark, CRYPTO_EX_DATA *data, int index, long l, void *p)
{
    (void)parent, (void)data, (void)index, (void)l, (void)p;
    if (mark != NULL)
        atomic_fetch_add(&freed, 1);
}

static void on_leave(SSL_CTX *ctx, SSL_SESSION *s)
{
    (void)ctx, (void)s;
    atomic_fetch_add(&left, 1);
}

/* Each thread has sessions of its own, so that each call's answer says what it did. */
static void *stress(void *arg)
{
    size_t me = (size_t)arg;
    unsigned random = (unsigned)me * 7919 + 1;
    pthread_barrier_wait(&all_there);
    failing.random = random, failing.only_ours = 1;
    for (int round = 0; round < ROUNDS; round++) {
        random = random * 1664525u + 1013904223u;
        unsigned n = (random >> 8) % (SESSIONS / THREADS) * THREADS + (unsigned)me;
        failing.armed = 1;
        switch (random >> 28) {
        case 0:
            flush(shared, 1000 + (time_t)((random >> 8) % 300));
            break;
        case 1:
            flush(shared, 1);
            break;
        case 2:
        case 3:
            SSL_SESSION_set_timeout(session[n], (long)((random >> 8) % 300));
            break;
        case 4: {
            SSL_CTX *another = SSL_CTX_new(TLS_server_method());
            failing.armed = 0;
            if (another != NULL) {
                store(another, 1, 1000, 100);
                SSL_CTX_free(another);
            }
            break;
        }
        default: {
            int stored = SSL_CTX_add_session(shared, session[n]);
            atomic_fetch_add(&entered, stored);
        }
        }
        failing.armed = 0;
    }
    ERR_clear_error();
    return NULL;
}

static void try_threads(void)
{
    pthread_t thread[THREADS];
    const long before = atomic_load(&failures);
    if (slowly() || stock_cannot("C6", "setters race"))
        return;
    mark_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, on_marked_free);
    shared = server_context();
    SSL_CTX_sess_set_cache_size(shared, 150);
    SSL_CTX_sess_set_remove_cb(shared, on_leave);
    for (unsigned n = 0; n < SESSIONS; n++) {
        session[n] = numbered_session(n + 1, 1000, n % 300);
        SSL_SESSION_set_ex_data(session[n], mark_index, &freed);
    }
    pthread_barrier_init(&all_there, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        hs_start(&thread[i], stress, (void *)i);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    better("F13", SSL_CTX_sess_number(shared) + left == entered, "what was stored by threads without memory is there or has left");
    better("C1", SSL_CTX_sess_number(shared) <= 150, "and the size holds");
    flush(shared, 0);
    better("F2", SSL_CTX_sess_number(shared) == 0 && left == entered, "all of it leaves");
    for (unsigned n = 0; n < SESSIONS; n++)
        SSL_SESSION_free(session[n]);
    better("F4", freed == SESSIONS, "and is freed once");
    SSL_CTX_free(shared);
    printf("# threads: entered %d, left %d, %ld failures\n", entered, left, atomic_load(&failures) - before);
}

int main(void)
{
    limit_time();
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        try_each(&scenarios[i]);
    try_threads();
    printf("# allocations that failed: %ld\n", atomic_load(&failures));
    better("C3", atomic_load(&failures) > 0 || slowly(), "allocations did fail");
    hs_end();
    return done();
}
