/* P5: fork in the middle of a flush, from its callback or while another thread is in one. No lock of the library
 * is held then, so the child goes on with its copy of the context, and the parent with its own. Stock's child
 * inherits the lock of the flush, locked by nobody. */
/* Leaks: what another thread had in hand is lost to the child, which has only the thread that forked. */
#include "handshake.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = 100 };

static pid_t child, parent;
static unsigned fork_at;

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (session_number(session) == fork_at && child == 0) {
        fflush(stdout);
        child = fork();
        if (child < 0)
            give_up("fork");
        if (child == 0)
            child = -1;
    }
}

static SSL_CTX *filled(unsigned at)
{
    SSL_CTX *ctx = server_context();
    forget_removals();
    record_removals(ctx, 'A');
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    for (unsigned n = 1; n <= MANY; n++)
        store(ctx, n, 1000, 100 + (long)n);
    fork_at = at;
    child = 0;
    return ctx;
}

static int exit_status(pid_t process)
{
    int status = -1;
    return waitpid(process, &status, 0) == process && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* From the callback: the rest of the flush takes place twice, once in each process. */
static void in_a_callback(void)
{
    SSL_CTX *ctx = filled(50);
    flush(ctx, 0);
    int ok = removals() == MANY && SSL_CTX_sess_number(ctx) == 0;
    ok = ok && store(ctx, 1000, 1000, 100) == 1;
    flush(ctx, 0);
    SSL_CTX_free(ctx);
    ok = ok && removals() == MANY + 1;
    if (getpid() != parent)
        _exit(ok ? 7 : 1);
    better("P5", ok, "a callback forks: the parent's flush ends as ever");
    better("P5", exit_status(child) == 7, "and so does the child's");
}

/* ---- While another thread is in a callback ---- */

static gate entered = GATE_INITIALIZER, go_on = GATE_INITIALIZER;

static void block(SSL_CTX *ctx, SSL_SESSION *session)
{
    record_removal(ctx, session);
    if (session_number(session) == 50) {
        gate_open(&entered);
        gate_wait(&go_on, 60);
    }
}

static void *flush_all(void *ctx)
{
    flush(ctx, 0);
    return NULL;
}

static void beside_a_callback(void)
{
    pthread_t thread;
    SSL_CTX *ctx = filled(0);
    SSL_CTX_sess_set_remove_cb(ctx, block);
    hs_start(&thread, flush_all, ctx);
    if (!gate_wait(&entered, 60))
        give_up("no callback");
    fflush(stdout);
    pid_t process = fork();
    if (process == 0) {
        limit_time();
        /* Session 50 is the other thread's, which is not in this process. */
        int ok = removals() == 50 && store(ctx, 1000, 9000, 100) == 1;
        flush(ctx, 5000);
        ok = ok && SSL_CTX_sess_number(ctx) == 1;
        SSL_CTX_free(ctx);
        _exit(ok && removals() == MANY + 1 ? 7 : 1);
    }
    gate_open(&go_on);
    pthread_join(thread, NULL);
    better("P5", exit_status(process) == 7, "forked beside a flush: the child calls back for what that had detached");
    better("P5", removals() == MANY && SSL_CTX_sess_number(ctx) == 0, "the flush itself ends in the parent");
    SSL_CTX_free(ctx);
}

/* ---- A server that forks workers, each with connections of its own ---- */

static void prefork(void)
{
    enum { WORKERS = 3 };
    pid_t workers[WORKERS];
    SSL_CTX *server = hs_server(ANY_TLS, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    for (int i = 0; i < WORKERS; i++) {
        fflush(stdout);
        workers[i] = fork();
        if (workers[i] == 0) {
            limit_time();
            int ok = 1;
            for (int round = 0; ok && round < 5; round++) {
                SSL_SESSION *session = hs_first(server, client);
                ok = hs_resume(server, client, session) == HS_RESUMED && SSL_CTX_sess_number(server) == round + 1;
                SSL_SESSION_free(session);
            }
            flush(server, 0);
            _exit(ok && SSL_CTX_sess_number(server) == 0 ? 7 : 1);
        }
    }
    for (int i = 0; i < WORKERS; i++)
        expect("P5", exit_status(workers[i]) == 7, "worker %d has a cache of its own", i + 1);
    expect("P5", SSL_CTX_sess_number(server) == 0, "the master's is empty");
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* ---- While threads look contexts up ---- */

static SSL_CTX *looked_up[2];
static atomic_int stop;

/* Two contexts in turn, so that neither is the one of the call before. */
static void *look_up(void *arg)
{
    while (!atomic_load(&stop))
        for (int i = 0; i < 2; i++)
            if (SSL_CTX_sess_number(looked_up[i]) != 0)
                give_up("a session out of nowhere");
    return arg;
}

/* (P5, and not better: stock has no lock there.) */
static void beside_lookups(void)
{
    enum { ROUNDS = 60 };
    pthread_t thread[2];
    int right = 0;
    for (int i = 0; i < 2; i++)
        looked_up[i] = server_context();
    for (int i = 0; i < 2; i++)
        hs_start(&thread[i], look_up, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        fflush(stdout);
        pid_t process = fork();
        if (process == 0) {
            limit_time();
            SSL_CTX *ctx = server_context();
            int ok = store(ctx, 1, 1000, 100) == 1 && store(looked_up[0], 1, 1000, 100) == 1;
            SSL_CTX_free(ctx);
            SSL_CTX_free(looked_up[0]);
            _exit(ok ? 7 : 1);
        }
        int status = exit_status(process);
        right += status == 7;
        if (status != 7)
            break; /* each would take its time */
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 2; i++)
        SSL_CTX_free(looked_up[i]);
    expect("P5", right == ROUNDS, "forked beside lookups: the child makes and frees contexts");
}

int main(void)
{
    limit_time();
    parent = getpid();
    beside_lookups();
    prefork();
    if (libssl_calls_back_unlocked() || !stock_cannot("P5", "the child inherits the flush's lock, locked for ever")) {
        in_a_callback();
        beside_a_callback();
    }
    return done();
}
