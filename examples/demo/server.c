/*
 * A TLS server with a busy session cache and its clients, in one program.
 *
 * It walks through the life of a cache step by step and prints one line of key=value pairs for each:
 * stored (sessions in the cache afterwards), resumed and refused (offered sessions that the server
 * took, or answered with a full handshake), removed (sessions that a flush took out), callbacks
 * (calls of the remove callback), took_us (how long the flush or the storing took), wait_us (the
 * longest handshake at the time) and handshakes (how many were finished while the flush was running).
 * Times are not waited for: a flush is told the time that it shall assume.
 *
 * With an argument it fills and flushes its cache for that many seconds instead, and prints nothing.
 */
#include "peer.h"

#include <dlfcn.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    CLIENTS = 16,         /* half of them speak TLS 1.2, half TLS 1.3 */
    CROWD = 200000,       /* sessions in a large cache */
    CROWD_CALLBACK = 40000,
    CROWD_MIXED = 20000,
    CALLBACK_US = 20,
    TRIALS = 3,           /* of which the one with the shortest wait is reported */
    LIMIT_SECONDS = 300   /* of the whole program, on a machine that is slow and busy */
};

static const long timeouts[4] = {60, 300, 3600, 86400};

typedef long timeout_of(int i, int count);

static SSL_CTX *server, *client;
static struct listener listener;
static time_t start;

static atomic_long callbacks;
static atomic_bool slow_callback, age_new_sessions;

/* Stock libssl before 3.4 has only the function that takes a long. */
static void (*flush_ex)(SSL_CTX *, time_t);

static void flush(time_t tm)
{
    if (flush_ex)
        flush_ex(server, tm);
    else
        SSL_CTX_flush_sessions(server, (long)tm);
}

static long stored(void) { return SSL_CTX_sess_number(server); }

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    callbacks++;
    if (slow_callback) /* for instance a message to the other servers of a farm */
        for (double until = clock_now() + CALLBACK_US / 1e6; clock_now() < until;)
            ;
}

/* What waiting for two hours would do to a new session. */
static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    if (age_new_sessions)
        SSL_SESSION_set_time(session, SSL_SESSION_get_time(session) - 7200);
    return 0;
}

static int version_of(int i) { return i % 2 ? TLS1_3_VERSION : TLS1_2_VERSION; }

/* Has `count` clients connect. With `offer` they offer the sessions there, without they keep the
 * new ones in `keep`, if any. */
static void connect_clients(int count, SSL_SESSION **offer, SSL_SESSION **keep, int *resumed, int *refused)
{
    for (int i = 0; i < count; i++) {
        struct visit v = visit(client, listener.port, version_of(i), offer ? offer[i] : NULL);
        if (offer)
            v.resumed ? ++*resumed : ++*refused;
        if (keep)
            keep[i] = v.session;
        else
            SSL_SESSION_free(v.session);
    }
}

static void free_all(SSL_SESSION **sessions, int count)
{
    for (int i = 0; i < count; i++)
        SSL_SESSION_free(sessions[i]);
}

static void report(const char *step, int resumed, int refused, long removed, long called)
{
    printf("step=%s stored=%ld resumed=%d refused=%d removed=%ld callbacks=%ld\n", step, stored(),
           resumed, refused, removed, called);
}

static void flush_step(const char *step, time_t tm)
{
    long before = stored(), called = callbacks;
    flush(tm);
    report(step, 0, 0, before - stored(), callbacks - called);
}

/* The life of a few sessions. */
static void few_sessions(void)
{
    SSL_SESSION *sessions[CLIENTS], *aged[4];
    int resumed = 0, refused = 0;

    for (int i = 0; i < CLIENTS; i += 2) {
        SSL_CTX_set_timeout(server, timeouts[i / 2 % 4]);
        connect_clients(2, NULL, sessions + i, NULL, NULL);
    }
    report("store", 0, 0, 0, callbacks);

    connect_clients(CLIENTS, sessions, NULL, &resumed, &refused);
    report("resume", resumed, refused, 0, callbacks);

    flush_step("flush_early", start);
    flush_step("flush_100s", start + 100);

    resumed = refused = 0;
    SSL_CTX_set_timeout(server, 7200);
    long called = callbacks;
    connect_clients(CLIENTS, sessions, NULL, &resumed, &refused);
    report("resume_again", resumed, refused, 0, callbacks - called);

    resumed = refused = 0;
    called = callbacks;
    SSL_CTX_set_timeout(server, 3600);
    age_new_sessions = true;
    connect_clients(4, NULL, aged, NULL, NULL);
    age_new_sessions = false;
    connect_clients(4, aged, NULL, &resumed, &refused);
    report("expired", resumed, refused, 0, callbacks - called);

    flush_step("flush_all", 0);
    resumed = refused = 0;
    connect_clients(CLIENTS, sessions, NULL, &resumed, &refused);
    report("resume_none", resumed, refused, 0, 0);
    flush(0);
    free_all(sessions, CLIENTS);
    free_all(aged, 4);
}

/* A quarter of the sessions has each timeout, shorter ones stored first. */
static long quarters(int i, int count) { return timeouts[(long)i * 4 / count]; }

/* All over a day, in no order, the same in each run. */
static long mixed(int i, int count)
{
    (void)count;
    return 1 + (long)((unsigned)i * 2654435761u >> 8) % 86400;
}

/* Stores `count` sessions, as that many clients would have. Returns the seconds that storing took. */
static double fill(int count, timeout_of *timeout)
{
    double took = 0;
    for (int i = 0; i < count; i++) {
        unsigned char id[32];
        SSL_SESSION *session = SSL_SESSION_new();
        if (!session || RAND_bytes(id, sizeof id) != 1 || !SSL_SESSION_set1_id(session, id, sizeof id) ||
            !SSL_SESSION_set_protocol_version(session, TLS1_2_VERSION))
            die("no session");
        SSL_SESSION_set_time(session, start);
        SSL_SESSION_set_timeout(session, timeout(i, count));
        double from = clock_now();
        if (SSL_CTX_add_session(server, session) != 1)
            die("a session was not stored");
        took += clock_now() - from;
        SSL_SESSION_free(session);
    }
    return took;
}

/* A thread that resumes again and again; a handshake counts if the flush ran during any part of it. With more of
 * them, handshakes would wait for a processor on both sides, and that would hide how long they wait for the cache. */
static atomic_bool visiting;
static _Atomic double flush_start, flush_end;
static atomic_long warm_up;

struct visitor {
    pthread_t thread;
    SSL_SESSION *session;
    double longest;
    long finished, refused; /* finished: while the flush was running */
};

static void *keep_visiting(void *argument)
{
    struct visitor *me = argument;
    while (visiting) {
        struct visit v = visit(client, listener.port, TLS1_2_VERSION, me->session);
        double from = flush_start, to = flush_end;
        if (v.ready > from && v.started < to) {
            if (v.ready - v.started > me->longest)
                me->longest = v.ready - v.started;
            me->finished += v.ready < to;
        }
        me->refused += !v.resumed;
        SSL_SESSION_free(v.session);
        warm_up++;
    }
    return NULL;
}

struct trial {
    long removed, callbacks, handshakes, refused;
    double took, wait;
};

/* Fills the cache, then flushes half of it while the visitor comes. */
static struct trial flush_under_load(int count, long handshakes_before)
{
    struct visitor visitor = {0};
    const double never = 1e300;
    struct trial trial = {0};

    SSL_CTX_set_timeout(server, 86400);
    flush_start = never;
    flush_end = never;
    visiting = true;
    warm_up = 0;
    connect_clients(1, NULL, &visitor.session, NULL, NULL);
    fill(count, quarters);
    if (pthread_create(&visitor.thread, NULL, keep_visiting, &visitor) != 0)
        die("no thread");
    while (warm_up < handshakes_before)
        usleep(1000);

    long before = stored(), called = callbacks;
    flush_start = clock_now();
    flush(start + 1000); /* after the timeouts of 60 and 300 seconds */
    flush_end = clock_now();
    trial.took = flush_end - flush_start;
    trial.removed = before - stored();
    trial.callbacks = callbacks - called;

    visiting = false;
    pthread_join(visitor.thread, NULL);
    SSL_SESSION_free(visitor.session);
    trial.handshakes = visitor.finished;
    trial.refused = visitor.refused;
    trial.wait = visitor.longest;
    return trial;
}

/* What else the machine does can only lengthen a wait, so the shortest tells most about the cache. */
static void load_step(const char *step, int count)
{
    struct trial best = {.wait = 1e300};
    long left = 0, refused = 0;
    for (int i = 0; i < TRIALS; i++) {
        flush(0);
        struct trial trial = flush_under_load(count, 20);
        left = stored();
        refused += trial.refused;
        if (trial.wait < best.wait)
            best = trial;
    }
    printf("step=%s stored=%ld resumed=0 refused=%ld removed=%ld callbacks=%ld took_us=%.0f "
           "wait_us=%.0f handshakes=%ld\n",
           step, left, refused, best.removed, best.callbacks, best.took * 1e6, best.wait * 1e6, best.handshakes);
}

/* Servers flush on a timer: mostly there is nothing to remove. */
static void idle_step(const char *step)
{
    double best = 1e300;
    long before = stored(), called = callbacks;
    for (int i = 0; i < 20; i++) {
        double from = clock_now();
        flush(start + 1000);
        double took = clock_now() - from;
        if (took < best)
            best = took;
    }
    printf("step=%s stored=%ld resumed=0 refused=0 removed=%ld callbacks=%ld took_us=%.1f\n", step,
           stored(), before - stored(), callbacks - called, best * 1e6);
}

/* A timeout of its own for each session. */
static void mixed_steps(void)
{
    flush(0);
    double took = fill(CROWD_MIXED, mixed);
    printf("step=mixed stored=%ld resumed=0 refused=0 removed=0 callbacks=0 took_us=%.0f\n", stored(),
           took * 1e6);
    flush_step("mixed_half", start + 43200);
}

static void walk(void)
{
    printf("library=%s\n", OpenSSL_version(OPENSSL_VERSION));
    printf("function=SSL_CTX_flush_sessions%s\n", flush_ex ? "_ex" : "");
    few_sessions();

    SSL_CTX_sess_set_remove_cb(server, NULL);
    load_step("crowd", CROWD);
    idle_step("crowd_idle");
    flush(0);

    SSL_CTX_sess_set_remove_cb(server, on_remove);
    slow_callback = true;
    load_step("crowd_callback", CROWD_CALLBACK);
    slow_callback = false;

    mixed_steps();
}

/* Fills and flushes again and again, for sslsweep top to watch. */
static void go_on(long seconds)
{
    for (double end = clock_now() + (double)seconds; clock_now() < end; flush(0))
        flush_under_load(CROWD_CALLBACK, 1000);
}

int main(int argc, char **argv)
{
    long seconds = argc == 2 ? atol(argv[1]) : 0;
    if (argc > 1 && (argc > 2 || seconds < 1 || seconds > 3600)) {
        fprintf(stderr, "server: cannot run for that time; usage: server [SECONDS], from 1 to 3600\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    alarm((unsigned)seconds + LIMIT_SECONDS);
    setvbuf(stdout, NULL, _IOLBF, 0);
    *(void **)&flush_ex = dlsym(RTLD_DEFAULT, "SSL_CTX_flush_sessions_ex");

    server = server_context();
    client = client_context();
    SSL_CTX_sess_set_new_cb(server, on_new);
    SSL_CTX_sess_set_remove_cb(server, on_remove);
    listener_start(&listener, server);
    start = time(NULL);

    seconds ? go_on(seconds) : walk();

    listener_stop(&listener);
    long before = stored(), called = callbacks;
    SSL_CTX_free(server);
    if (!seconds)
        printf("step=end stored=0 resumed=0 refused=0 removed=%ld callbacks=%ld\n", before, callbacks - called);
    SSL_CTX_free(client);
    return 0;
}
