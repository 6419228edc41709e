/* P10, C6: a setter of a session that is stored nowhere looks at no context, whatever their number. Not by the clock,
 * which proves nothing on a busy machine: a parent counts the instructions of its child one by one. */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FEW = 1, MANY = 3000 };

static SSL_SESSION *session;

static void set_timeout(void) { SSL_SESSION_set_timeout(session, 100); }
static void set_time(void) { SSL_SESSION_set_time(session, 1000); }
static void set_id(void) { SSL_SESSION_set1_id(session, (const unsigned char *)"an id", 5); }
static void set_version(void) { SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION); }

/* Between two signals of the child's. -1: it cannot be traced here. */
static long instructions(void (*call)(void))
{
    int status;
    long steps = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        call(); /* what is only done once */
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(1);
        raise(SIGUSR1);
        call();
        raise(SIGUSR2);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
        return -1;
    while (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0 && waitpid(child, &status, 0) == child && WIFSTOPPED(status)
           && WSTOPSIG(status) == SIGTRAP)
        steps++;
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return steps;
}

static void (*const calls[])(void) = {set_timeout, set_time, set_id, set_version};
static const char *const names[] = {"timeout", "time", "id", "version"};
enum { CALLS = sizeof calls / sizeof *calls };

int main(void)
{
    static SSL_CTX *ctx[MANY];
    long with_few[CALLS] = {0}, with_many[CALLS] = {0};
    int traced = !slowly(); /* such a tool is itself the tracer; a few contexts do for what it looks at */
    const unsigned many = traced ? MANY : 30;
    session = numbered_session(MANY + 1, 1000, 100);
    for (unsigned n = 0; n < many; n++) {
        ctx[n] = server_context();
        store(ctx[n], n + 1, 1000, 100);
        for (int i = 0; traced && i < CALLS && n + 1 == FEW; i++)
            with_few[i] = instructions(calls[i]);
    }
    for (int i = 0; i < CALLS; i++) {
        if (traced)
            with_many[i] = instructions(calls[i]);
        printf("# %s: %ld instructions, then %ld\n", names[i], with_few[i], with_many[i]);
        /* It may have to step over some in a table. */
        expect("P10", with_many[i] < with_few[i] + 300, "setting the %s costs the same beside 3000 contexts", names[i]);
        expect("P10", !traced || with_few[i] < 0 || with_many[i] > 20, "and is counted");
    }
    SSL_SESSION_free(session);
    for (unsigned n = 0; n < many; n++)
        SSL_CTX_free(ctx[n]);
    return done();
}
