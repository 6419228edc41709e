/* S1, S5, P5, P10: sharing in children of fork. A child shares at once, at whatever moment it was forked, and whatever other threads were
 * doing; also one that no fork handler has run for. No handshake makes a system call for sharing: not even the first one in a
 * child that would be killed for it. */
/* Leaks: what another thread had in hand is lost to the child, which has only the thread that forked. */
#include "sharing.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stdatomic.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
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

static atomic_int stop, connections;

static void *busy(void *arg)
{
    int version = *(int *)arg;
    SSL_CTX *mine[2] = {hs_server(version, WITHOUT_TICKETS), hs_server(version, WITHOUT_TICKETS)};
    SSL_CTX *own_client = hs_client(version);
    while (!atomic_load(&stop)) {
        SSL_SESSION *own = hs_first(mine[0], own_client);
        if (hs_resume(mine[1], own_client, own) == HS_FAILED)
            give_up("a handshake of a thread failed");
        SSL_SESSION_free(own);
        atomic_fetch_add(&connections, 1);
    }
    SSL_CTX_free(mine[0]);
    SSL_CTX_free(mine[1]);
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
    atomic_store(&connections, 0);
    for (int i = 0; i < THREADS; i++)
        hs_start(&threads[i], busy, &version);
    while (atomic_load(&connections) < THREADS)
        usleep(1000);
    for (int i = 0; i < forks; i++)
        bad += elsewhere(work, NULL) != 0;
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    expect("P10, S1", bad == 0, "%s: children forked while threads connect share at once: %d of %d did not", version_name(version), bad, forks);
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
        hs_limit_time();
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
            hs_limit_time();
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

#ifdef __x86_64__
# define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined __aarch64__
# define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* From here on any other system call ends the process. libcrypto asks for random numbers, and in a child for its pid. */
static int close_sandbox(void)
{
#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(read), ALLOW(write), ALLOW(exit_group), ALLOW(getrandom), ALLOW(getpid),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
#undef ALLOW
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return 0;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* The C library takes memory from the system now, and none later. */
static void take_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    mallopt(M_TOP_PAD, 64 << 20);
    free(malloc(1 << 20));
}

static int in_sandbox(void *forbidden)
{
    take_memory();
    if (!close_sandbox())
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
        among_threads(version, slowly() ? 3 : 60);
#ifdef ARCHITECTURE
        /* Tools make system calls of their own. */
        if (!slowly())
            sandbox(version);
#endif
    }
    expect("C12", no_errors(), "the error queue is empty");
    hs_end();
    return done();
}
