/* Processes that end with connections and sessions in their hands, in every way there is. Each case runs
 * in a child; what it printed and how it ended is the observation. */
#include "handshake.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static SSL_CTX *server, *client;
static hs_pair open_pair;
static atomic_int ending;

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    if (atomic_load(&ending))
        printf("FAILED C15 - a callback at the end of the process\n");
    record_removal(ctx, session);
}

/* Sessions stored, one connection open. */
static void fill(void)
{
    server = hs_server(ANY_TLS, WITHOUT_TICKETS);
    client = hs_client(ANY_TLS);
    SSL_CTX_sess_set_remove_cb(server, on_remove);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
    for (int i = 0; i < 3; i++)
        hs_connect(server, client, NULL, NULL);
    for (unsigned n = 1; n <= 100; n++)
        store(server, n, 1000, 100);
    open_pair = hs_new(server, client, NULL);
    hs_drive(&open_pair);
    say("number %ld", SSL_CTX_sess_number(server));
}

static void by_exit(void)
{
    fill();
    atomic_store(&ending, 1);
    exit(7);
}

static void by_quick_exit(void)
{
    fill();
    atomic_store(&ending, 1);
    fflush(stdout);
    quick_exit(7);
}

static void *exit_now(void *arg)
{
    (void)arg;
    atomic_store(&ending, 1);
    exit(7);
}

static void from_a_thread(void)
{
    pthread_t thread;
    fill();
    hs_start(&thread, exit_now, NULL);
    pthread_join(thread, NULL);
}

/* The last thread ends the process with status 0 if main is gone: make it 7 all the same. */
static void *exit_after_main(void *main_thread)
{
    pthread_join(*(pthread_t *)main_thread, NULL);
    flush(server, 1101);
    say("number %ld", SSL_CTX_sess_number(server));
    return exit_now(NULL);
}

static void after_main_thread(void)
{
    static pthread_t self, thread;
    fill();
    self = pthread_self();
    hs_start(&thread, exit_after_main, &self);
    pthread_exit(NULL);
}

/* The thread-local data of a thread end before it does: a destructor may still use its context. */
static void use_at_end(void *context)
{
    flush(context, 1101);
    SSL_CTX_free(context);
    say("at a thread's end: %zu callbacks", removals());
}

static pthread_key_t at_end;

static void *work(void *context)
{
    pthread_setspecific(at_end, context);
    flush(context, 1);
    return NULL;
}

static void in_a_thread_destructor(void)
{
    pthread_t thread;
    fill();
    hs_drop(&open_pair);
    pthread_key_create(&at_end, use_at_end);
    hs_start(&thread, work, server);
    pthread_join(thread, NULL);
    SSL_CTX_free(client);
    exit(7);
}

static void exit_in_callback(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    exit_now(NULL);
}

static void in_a_callback(void)
{
    fill();
    SSL_CTX_sess_set_remove_cb(server, exit_in_callback);
    flush(server, 1101);
    say("not reached");
}

/* ---- While another thread flushes ---- */

static SSL_SESSION *kept[100];
static gate flushing = GATE_INITIALIZER;

/* No reference is the last: what frees a session needs what the end of the process takes away. */
static void *flush_for_ever(void *arg)
{
    (void)arg;
    for (int round = 0;; round++) {
        for (int i = 0; i < 100; i++)
            SSL_CTX_add_session(server, kept[i]);
        flush(server, 1101);
        if (round == 3)
            gate_open(&flushing);
    }
    return NULL;
}

static void *flush_and_stay(void *arg)
{
    (void)arg;
    flush(server, 1101);
    return NULL;
}

static void stay(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    gate_open(&flushing);
    for (;;)
        pause();
}

static void beside_a_flush(void *(*flusher)(void *), void (*callback)(SSL_CTX *, SSL_SESSION *))
{
    pthread_t thread;
    fill();
    flush(server, 0);
    for (unsigned n = 0; n < 100; n++) {
        kept[n] = numbered_session(n + 1, 1000, 100);
        SSL_CTX_add_session(server, kept[n]);
    }
    SSL_CTX_sess_set_remove_cb(server, callback);
    hs_start(&thread, flusher, NULL);
    if (!gate_wait(&flushing, 60))
        give_up("no flush");
    exit(7);
}

static void beside_many_flushes(void)
{
    beside_a_flush(flush_for_ever, NULL);
}

/* A callback that never returns. */
static void beside_a_callback(void)
{
    beside_a_flush(flush_and_stay, stay);
}

/* Legal, if unusual: libssl's own objects need nothing of what the cleanup takes away. */
static void after_cleanup(void)
{
    fill();
    hs_close(&open_pair);
    long stored = SSL_CTX_sess_number(server);
    OPENSSL_cleanup();
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    say("freed after OPENSSL_cleanup: %s",
        (long)removals() == stored ? "every callback" : "callbacks are missing");
    exit(7);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } cases[] = {
        {"exit", by_exit},
        {"quick_exit", by_quick_exit},
        {"exit in a thread", from_a_thread},
        {"exit after the main thread", after_main_thread},
        {"in the destructor of thread-local data", in_a_thread_destructor},
        {"exit in a callback", in_a_callback},
        {"exit beside flushes", beside_many_flushes},
        {"exit beside a callback that never returns", beside_a_callback},
        {"after OPENSSL_cleanup", after_cleanup},
    };
    limit_time();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = -1;
        say("%s", cases[i].name);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            limit_time();
            cases[i].run();
            _exit(1);
        }
        waitpid(child, &status, 0);
        expect("C15", WIFEXITED(status) && WEXITSTATUS(status) == 7, "%s: ended well", cases[i].name);
        if (WIFSIGNALED(status))
            printf("# signal %d\n", WTERMSIG(status));
    }
    return done();
}
