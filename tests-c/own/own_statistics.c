/* O2: sslsweep_get_statistics, each figure against what was done. */
#include "own.h"

#include "handshake.h"

#include <stdlib.h>
#include <string.h>

static int same(const char *what, uint64_t is, uint64_t wanted)
{
    better("O2", is == wanted, "%s: %llu, wanted %llu", what, (unsigned long long)is, (unsigned long long)wanted);
    return is == wanted;
}

static void nothing_done(void)
{
    SSL_CTX *ctx = server_context();
    struct sslsweep_statistics s = own_statistics(ctx), empty;
    memset(&empty, 0, sizeof empty);
    empty.version = SSLSWEEP_API_VERSION;
    empty.limit = SSL_SESSION_CACHE_MAX_SIZE_DEFAULT;
    better("O2", memcmp(&s, &empty, sizeof s) == 0, "a new context: version and size, all else 0");
    SSL_CTX_sess_set_cache_size(ctx, 0);
    same("limit, unlimited", own_statistics(ctx).limit, 0);
    SSL_CTX_free(ctx);
}

static void by_hand(void)
{
    time_t now = time(NULL);
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, 100);
    for (unsigned n = 1; n <= 60; n++)
        store(ctx, n, 1000, 100);
    for (unsigned n = 61; n <= 100; n++)
        store(ctx, n, now, 3600);
    struct sslsweep_statistics s = own_statistics(ctx);
    same("sessions", s.sessions, 100);
    same("limit", s.limit, 100);
    same("due", s.due, 60);
    same("stores", s.stores, 100);

    /* Another object under a stored key, and one that is stored already. */
    SSL_SESSION *other = numbered_session(61, now, 3600);
    SSL_CTX_add_session(ctx, other);
    same("stores, one in place of another", own_statistics(ctx).stores, 101);
    SSL_CTX_add_session(ctx, other);
    s = own_statistics(ctx);
    same("stores, one that is there", s.stores, 101);
    same("sessions after both", s.sessions, 100);

    for (unsigned n = 101; n <= 105; n++)
        store(ctx, n, now, 7200);
    s = own_statistics(ctx);
    same("evictions", s.evictions, 5);
    same("evictions, as counted by libssl's name", s.evictions, (uint64_t)SSL_CTX_sess_cache_full(ctx));
    same("due, of which five left", s.due, 55);

    better("O2", SSL_CTX_remove_session(ctx, other) == 1, "one is removed");
    SSL_CTX_remove_session(ctx, other);
    s = own_statistics(ctx);
    same("removals, and one that was not there", s.removals, 1);
    same("flushes before the first", s.flushes, 0);
    same("batches", s.batches, 0);
    same("longest batch", s.longest_batch_ns, 0);

    flush(ctx, now);
    s = own_statistics(ctx);
    same("flushed", s.flushed, 55);
    same("flushes", s.flushes, 1);
    same("batches, of 32 and 23", s.batches, 2);
    same("due after a flush", s.due, 0);
    same("histogram of flushes", own_sum(s.flush_times), 1);
    same("histogram of batches", own_sum(s.batch_times), 2);
    better("O2", s.longest_batch_ns > 0, "longest batch: more than nothing");
    flush(ctx, now);
    s = own_statistics(ctx);
    same("flushes that remove nothing are none", s.flushes, 1);
    same("nor do they take batches", s.batches, own_sum(s.batch_times));

    own_flush(ctx, 0, 10, 0, NULL);
    flush(ctx, 0);
    s = own_statistics(ctx);
    same("flushed in the end", s.flushed, 55 + 44);
    same("flushes, with one on a budget", s.flushes, 3);
    same("histogram of flushes again", own_sum(s.flush_times), s.flushes);
    same("histogram of batches again", own_sum(s.batch_times), s.batches);
    same("what came has gone", s.stores - 1, s.sessions + s.evictions + s.flushed + s.removals);
    better("O2", s.longest_batch_ns < UINT64_MAX, "longest batch: %d digits at most", 20);
    SSL_SESSION_free(other);
    SSL_CTX_free(ctx);
}

/* The steps from `from` on. */
static uint64_t steps_from(const uint64_t *steps, int from)
{
    uint64_t sum = 0;
    for (int i = from; i < SSLSWEEP_HISTOGRAM_STEPS; i++)
        sum += steps[i];
    return sum;
}

static void slow(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    struct timespec moment = {0, 5 * 1000 * 1000};
    nanosleep(&moment, NULL);
}

/* Five thousandths of a second are step 13 (4096 to 8191 microseconds) or more. */
static void durations(void)
{
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_remove_cb(ctx, slow);
    store(ctx, 1, 1000, 100);
    flush(ctx, 0);
    struct sslsweep_statistics s = own_statistics(ctx);
    same("a flush counts its callbacks", steps_from(s.flush_times, 13), 1);
    same("a batch does not", own_sum(s.batch_times), 1);
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    SSL_CTX_free(ctx);
}

static SSL_SESSION *elsewhere;

static SSL_SESSION *fetch(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length;
    *copy = 1;
    return elsewhere;
}

static void handshakes(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    for (int i = 0; i < 7; i++)
        hs_resume(server, client, session);
    struct sslsweep_statistics s = own_statistics(server);
    same("stores by a handshake", s.stores, 1);
    same("hits", s.hits, 7);
    same("misses", s.misses, 0);

    elsewhere = hs_stored(server, session);
    flush(server, 0);
    hs_resume(server, client, session);
    s = own_statistics(server);
    same("misses of a session that was flushed", s.misses, 1);
    same("as counted by libssl's name", s.misses, (uint64_t)SSL_CTX_sess_misses(server));
    SSL_SESSION_free(elsewhere);
    SSL_SESSION_free(session);

    session = hs_first(server, client);
    elsewhere = hs_stored(server, session);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    SSL_CTX_sess_set_get_cb(server, fetch);
    hs_resume(server, client, session);
    hs_resume(server, client, session);
    s = own_statistics(server);
    same("hits of the program's own cache", s.external_hits, 2);
    same("as counted by libssl's name", s.external_hits, (uint64_t)SSL_CTX_sess_cb_hits(server));
    same("hits here meanwhile", s.hits, 7);
    SSL_SESSION_free(elsewhere);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Misses of a cache of the program's own, for which libssl has no counter. One lookup is one miss, whoever else
 * was asked. */
static void misses_elsewhere(int version)
{
    static const struct {
        long mode;
        int has_callback;
        uint64_t misses; /* of a lookup that finds nothing anywhere */
        uint64_t external; /* of one that only the callback finds */
    } cases[] = {
        {0, 0, 1, 1},
        {0, 1, 1, 1},
        {SSL_SESS_CACHE_NO_INTERNAL_STORE, 1, 1, 1},
        {SSL_SESS_CACHE_NO_INTERNAL_LOOKUP, 0, 0, 0},
        {SSL_SESS_CACHE_NO_INTERNAL_LOOKUP, 1, 1, 0},
        {SSL_SESS_CACHE_NO_INTERNAL, 1, 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SSL_CTX *server = hs_server(version, WITHOUT_TICKETS), *client = hs_client(version);
        SSL_SESSION *session = hs_first(server, client);
        SSL_SESSION *found = hs_stored(server, session);
        SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | cases[i].mode);
        if (cases[i].has_callback)
            SSL_CTX_sess_set_get_cb(server, fetch);
        flush(server, 0);
        elsewhere = NULL;
        better("C9", hs_resume(server, client, session) == HS_FULL, "TLS %x, mode %lx: found nowhere", version, cases[i].mode);
        same("misses", own_statistics(server).misses, cases[i].misses);
        better("C12", SSL_CTX_sess_misses(server) == (cases[i].mode & SSL_SESS_CACHE_NO_INTERNAL_LOOKUP ? 0 : 1),
               "by libssl's name: as ever");
        SSL_SESSION_free(found);
        SSL_SESSION_free(session);

        session = hs_first(server, client);
        SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER);
        SSL_SESSION *again = hs_first(server, client);
        elsewhere = SSL_SESSION_dup(found = hs_stored(server, again));
        SSL_SESSION_free(found);
        SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | cases[i].mode);
        flush(server, 0);
        struct sslsweep_statistics before = own_statistics(server);
        hs_result result = hs_resume(server, client, again);
        better("C9", (result == HS_RESUMED) == cases[i].has_callback, "then found by the callback, if there is one");
        same("misses", own_statistics(server).misses - before.misses, cases[i].external);
        same("external hits", own_statistics(server).external_hits - before.external_hits, (uint64_t)cases[i].has_callback);
        SSL_SESSION_free(elsewhere);
        SSL_SESSION_free(again);
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

/* A program of another time than the library: less room, or more. */
static void sizes(void)
{
    struct {
        struct sslsweep_statistics known;
        unsigned char later[64], beyond[64];
    } room;
    SSL_CTX *ctx = server_context();
    store(ctx, 1, 1000, 100);

    memset(&room, 0x55, sizeof room);
    size_t least = offsetof(struct sslsweep_statistics, stores);
    better("O2", own_get_statistics(ctx, &room.known, least) == 1, "less room");
    const unsigned char *bytes = (const unsigned char *)&room;
    int untouched = 1;
    for (size_t i = least; i < sizeof room; i++)
        untouched &= bytes[i] == 0x55;
    better("O2", untouched && room.known.sessions == 1 && room.known.due == 1, "is filled and nothing behind it");

    memset(&room, 0x55, sizeof room);
    better("O2", own_get_statistics(ctx, &room.known, sizeof room.known + sizeof room.later) == 1, "more room");
    int zeroed = 1;
    untouched = 1;
    for (size_t i = 0; i < sizeof room.later; i++)
        zeroed &= room.later[i] == 0;
    for (size_t i = 0; i < sizeof room.beyond; i++)
        untouched &= room.beyond[i] == 0x55;
    better("O2", zeroed && room.known.stores == 1, "what the library does not know is 0");
    better("O2", untouched, "and nothing behind it changes");

    memset(&room, 0x55, sizeof room);
    better("O2", own_get_statistics(ctx, &room.known, sizeof(uint32_t)) == 1
           && room.known.version == SSLSWEEP_API_VERSION && room.known.reserved == 0x55555555, "room for the version alone");
    better("O2", own_get_statistics(ctx, &room.known, sizeof(uint32_t) - 1) == 0, "room for less: 0");
    better("O2", own_get_statistics(ctx, NULL, sizeof room.known) == 0, "nowhere to: 0");
    better("O2", own_get_statistics(NULL, &room.known, sizeof room.known) == 0, "NULL: 0");
    SSL_CTX_free(ctx);
}

/* Due is what has expired by now, to the second. */
static void due_now(void)
{
    time_t now = time(NULL);
    SSL_CTX *ctx = server_context();
    store(ctx, 1, now - 10, 9);
    store(ctx, 2, now, 3000);
    better("O2", own_statistics(ctx).due == 1, "due is what has expired by now");
    SSL_CTX_free(ctx);
}

static void *change(void *arg)
{
    SSL_CTX *ctx = arg;
    for (unsigned n = 1; n <= (slowly() ? 200 : 5000); n++) {
        store(ctx, n, 1000, 100);
        if (n % 50 == 0)
            flush(ctx, 2000);
    }
    return NULL;
}

static void while_it_changes(void)
{
    pthread_t thread[2];
    SSL_CTX *ctx = server_context();
    int grows = 1;
    uint64_t before = 0;
    for (int i = 0; i < 2; i++)
        hs_start(&thread[i], change, ctx);
    for (int i = 0; i < 500; i++) {
        struct sslsweep_statistics s = own_statistics(ctx);
        grows &= s.stores >= before && s.flushed + s.sessions <= 2 * 5000;
        before = s.stores;
    }
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    flush(ctx, 0);
    struct sslsweep_statistics s = own_statistics(ctx);
    better("O2", grows, "counters only rise while threads change the cache");
    better("O2", s.flushes == own_sum(s.flush_times) && s.batches >= own_sum(s.batch_times) && s.sessions == 0,
           "and add up when they have ended");
    SSL_CTX_free(ctx);
}

int main(void)
{
    limit_time();
    if (own_functions("O2")) {
        nothing_done();
        by_hand();
        durations();
        handshakes();
    misses_elsewhere(TLS1_2_VERSION);
    misses_elsewhere(TLS1_3_VERSION);
        sizes();
        due_now();
        while_it_changes();
        better("C12", no_errors(), "the error queue is empty");
    }
    return done();
}
