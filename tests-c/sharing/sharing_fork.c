/* S1, S5, P5, P10: sharing in children of fork. A child shares at once, at whatever moment it was forked, and whatever other threads were
 * doing; also one that no fork handler has run for. No handshake makes a system call for sharing: not even the first one in a
 * child that would be killed for it. */
/* Leaks: what another thread had in hand is lost to the child, which has only the thread that forked. */
#include "sharing.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static SSL_CTX *one, *other, *client;
static SSL_SESSION *session, *second;

static void prepare(int version)
{
    one = hs_server(version, WITHOUT_TICKETS);
    other = hs_server(version, WITHOUT_TICKETS);
    client = hs_client(version);
    session = hs_first(one, client);
    second = hs_first(one, client);
    SSL_SESSION_free(hs_first(other, client));
}

static void finish(void)
{
    SSL_SESSION_free(session);
    SSL_SESSION_free(second);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
    SSL_CTX_free(client);
}

/* In a child: resumes what the parent has published, and publishes. Returns whether all is as it should be. */
static int share_once(SSL_CTX *from, SSL_CTX *to)
{
    SSL_SESSION *own = NULL;
    hs_result got = hs_resume(to, client, session), full = hs_connect(from, client, NULL, &own);
    if (own == NULL)
        return 0;
    hs_result again = hs_resume(to, client, own);
    SSL_SESSION_free(own);
    return full == HS_FULL && got == (sweeping() ? HS_RESUMED : HS_FULL) && again == got;
}

static int work(void *arg)
{
    (void)arg;
    return share_once(one, other) ? 0 : 1;
}

/* ---- Threads ---- */

/* Threads that are in the midst of a handshake, in a callback of the program's: there libcrypto's own locks, which a child
 * would inherit, are free. */
static gate reached, released;
static enum { NOWHERE, IN_GET, IN_NAME, IN_NEW } stops;

static void stop_in(int place)
{
    if (place != (int)stops)
        return;
    stops = NOWHERE;
    gate_open(&reached);
    gate_wait(&released, 60);
}

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    stop_in(IN_GET);
    return NULL;
}

static int on_name(SSL *ssl, int *alert, void *arg)
{
    (void)ssl, (void)alert, (void)arg;
    stop_in(IN_NAME);
    return SSL_TLSEXT_ERR_OK;
}

static int on_new(SSL *ssl, SSL_SESSION *made)
{
    (void)ssl, (void)made;
    stop_in(IN_NEW);
    return 0;
}

typedef struct visitor {
    SSL_CTX *server;
    SSL_SESSION *resume;
    hs_result got;
} visitor;

static void *visit_in_thread(void *arg)
{
    visitor *v = arg;
    v->got = visit(v->server, client, "host.example", NULL, v->resume, NULL);
    return NULL;
}

static void in_callbacks(int version)
{
    static const char *const names[] = {"", "get", "servername", "new"};
    prepare(version);
    for (int place = IN_GET; place <= IN_NEW; place++) {
        SSL_CTX *mine[2] = {hs_server(version, WITHOUT_TICKETS), hs_server(version, WITHOUT_TICKETS)};
        SSL_SESSION *former;
        pthread_t thread;
        for (int i = 0; i < 2; i++) {
            SSL_CTX_sess_set_get_cb(mine[i], on_get);
            SSL_CTX_sess_set_new_cb(mine[i], on_new);
            SSL_CTX_set_tlsext_servername_callback(mine[i], on_name);
            visit(mine[i], client, "host.example", NULL, NULL, &former);
            if (i == 0)
                SSL_SESSION_free(former);
        }
        /* The second has what the first fetches; but where the get callback is to be asked, nobody has it. */
        if (place == IN_GET)
            flush(mine[1], 0);
        visitor v = {mine[0], place == IN_NEW ? NULL : former, HS_FAILED};
        reached = released = (gate)GATE_INITIALIZER;
        stops = place;
        hs_start(&thread, visit_in_thread, &v);
        int is_there = gate_wait(&reached, 60), ended = elsewhere(work, NULL);
        gate_open(&released);
        pthread_join(thread, NULL);
        expect("P10, S1", is_there && ended == 0, "%s: a child forked while a thread is in its %s callback shares at once", version_name(version),
               names[place]);
        expect("S5", v.got != HS_FAILED, "%s: and the thread's handshake goes on", version_name(version));
        SSL_SESSION_free(former);
        SSL_CTX_free(mine[0]);
        SSL_CTX_free(mine[1]);
    }
    finish();
}

/* Threads that are inside of our library all the time, each with a context of its own. */
static atomic_int stop, ready;

static void *busy(void *arg)
{
    int version = *(int *)arg;
    SSL_CTX *mine = hs_server(version, WITHOUT_TICKETS), *own_client = hs_client(version);
    enum { LONG = 100000000 };
    SSL_CTX_set_timeout(mine, LONG);
    SSL_SESSION *own = hs_first(mine, own_client), *object = hs_stored(mine, own);
    SSL_SESSION *unknown = numbered_session(1, time(NULL), 1000);
    atomic_fetch_add(&ready, 1);
    for (long n = 1; !atomic_load(&stop); n++) {
        SSL_SESSION_set_timeout(object, LONG - n); /* sealed anew */
        SSL_CTX_remove_session(mine, unknown);
        flush(mine, 1);
    }
    SSL_SESSION_free(unknown);
    SSL_SESSION_free(object);
    SSL_SESSION_free(own);
    SSL_CTX_free(mine);
    SSL_CTX_free(own_client);
    return NULL;
}

static void among_threads(int version, int forks)
{
    enum { THREADS = 2 };
    pthread_t threads[THREADS];
    int bad = 0;
    prepare(version);
    atomic_store(&stop, 0);
    atomic_store(&ready, 0);
    for (int i = 0; i < THREADS; i++)
        hs_start(&threads[i], busy, &version);
    /* Beyond their handshakes. */
    while (atomic_load(&ready) < THREADS)
        usleep(1000);
    for (int i = 0; i < forks; i++)
        bad += elsewhere(work, NULL) != 0;
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    expect("P10, S1", bad == 0, "%s: children forked while threads seal, forget and flush share at once: %d of %d did not",
           version_name(version), bad, forks);
    expect("S5", work(NULL) == 0, "%s: and so does the parent after that", version_name(version));
    finish();
}

/* ---- Other ways to become a child ---- */

static int ended_well(pid_t child)
{
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void other_children(int version)
{
    pid_t (*bare_fork)(void) = NULL;
    prepare(version);
    /* (glibc 2.34) */
    *(void **)&bare_fork = dlsym(RTLD_DEFAULT, "_Fork");
    fflush(stdout);
    pid_t child = bare_fork != NULL ? bare_fork() : fork();
    if (child == 0) {
        limit_time();
        _exit(work(NULL));
    }
    expect("P10, S1", ended_well(child), "%s: a child without fork handlers shares", version_name(version));
    child = vfork();
    if (child == 0)
        _exit(0);
    expect("P10", ended_well(child), "%s: a child of vfork ends", version_name(version));
    expect("S1", work(NULL) == 0, "%s: and the parent shares", version_name(version));

    /* Of a child's child, after its parent has ended. */
    int grandchild[2];
    char result = 1;
    if (pipe(grandchild) != 0)
        give_up("pipe");
    child = fork();
    if (child == 0) {
        if (fork() == 0) {
            limit_time();
            while (getppid() != 1 && waitpid(-1, NULL, 0) == 0)
                ;
            result = (char)work(NULL);
            _exit(write(grandchild[1], &result, 1) != 1);
        }
        _exit(0);
    }
    close(grandchild[1]);
    expect("S1", ended_well(child) && read(grandchild[0], &result, 1) == 1 && result == 0, "%s: a child's child shares",
           version_name(version));
    close(grandchild[0]);
    finish();
}

/* ---- A sandbox ---- */

static int in_sandbox(void *forbidden)
{
    take_memory();
    if (!close_sandbox(0))
        return 2;
    if (forbidden != NULL)
        syscall(SYS_getppid);
    if (!share_once(one, other))
        return 1;
    SSL_CTX_remove_session(other, second);
    flush(other, 0);
    return hs_resume(other, client, session) == HS_FULL ? 0 : 3;
}

static void sandbox(int version)
{
    prepare(version);
    expect("S5", elsewhere(in_sandbox, &version) == -SIGSYS, "%s: the sandbox ends a process for a system call", version_name(version));
    int ended = elsewhere(in_sandbox, NULL);
    expect("S5", ended == 0, "%s: a child in it shares, removes and flushes: %d", version_name(version), ended);
    expect("S1", work(NULL) == 0, "%s: and the parent goes on", version_name(version));
    finish();
}

int main(int argc, char **argv)
{
    (void)argc;
    sharing_on(argv);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        other_children(version);
        in_callbacks(version);
        among_threads(version, slowly() ? 3 : 60);
#if HAS_SANDBOX
        /* Tools make system calls of their own. */
        if (!slowly())
            sandbox(version);
#endif
    }
    expect("C12", no_errors(), "the error queue is empty");
    hs_end();
    return done();
}
