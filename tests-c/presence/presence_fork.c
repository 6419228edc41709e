/* fork: parent and child go on with their own copies; and nothing of ours shows in the process. */
#include "handshake.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int entries(const char *folder)
{
    int count = 0;
    DIR *dir = opendir(folder);
    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        closedir(dir);
    return count;
}

static int handlers(void)
{
    int count = 0;
    for (int n = 1; n < 32; n++) {
        struct sigaction action;
        if (sigaction(n, NULL, &action) == 0 && action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN)
            count++;
    }
    return count;
}

static void nothing_shows(void)
{
    int fds = entries("/proc/self/fd"), tasks = entries("/proc/self/task");
    /* ".", "..", this one, and under emulation the emulator's. */
    int alone = emulated() ? 4 : 3;
    SSL_CTX *server = hs_server(ANY_TLS, WITHOUT_TICKETS), *client = hs_client(ANY_TLS);
    SSL_SESSION *session = hs_first(server, client);
    hs_resume(server, client, session);
    for (unsigned n = 1; n <= 2000; n++)
        store(server, n, 1000, n);
    flush(server, 2000);
    /* libcrypto may keep its source of random bytes open: as many as stock, so no number is printed. */
    printf("# fds: %d, then %d\n", fds, entries("/proc/self/fd"));
    say("fds opened: %d", entries("/proc/self/fd") - fds);
    expect("P5", entries("/proc/self/task") == tasks && tasks == alone, "no threads of our own");
    expect("P5", handlers() == 0, "no signal handlers");
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static SSL_CTX *server, *client;
static SSL_SESSION *shared;

/* The whole of a server's life, from what it inherited; prints nothing. 1: all well. */
static int live(unsigned from)
{
    int ok = SSL_CTX_sess_number(server) == 101;
    ok &= hs_resume(server, client, shared) == HS_RESUMED;
    for (unsigned n = from; n < from + 100; n++)
        ok &= store(server, n, 1000, 100) == 1;
    ok &= SSL_CTX_sess_number(server) == 201;
    SSL_SESSION *own = hs_first(server, client);
    ok &= hs_resume(server, client, own) == HS_RESUMED;
    flush(server, 1101);
    ok &= removals() == 200 && SSL_CTX_sess_number(server) == 2;
    ok &= hs_resume(server, client, shared) == HS_RESUMED;
    flush(server, 0);
    ok &= removals() == 202 && hs_resume(server, client, own) == HS_FULL;
    ok &= hs_resume(server, client, shared) == HS_FULL;
    SSL_SESSION_free(own);
    SSL_SESSION_free(shared);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    ok &= removals() == 204;
    return ok;
}

static void copies(void)
{
    enum { CHILDREN = 4 };
    pid_t child[CHILDREN];
    server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    client = hs_client(TLS1_2_VERSION);
    record_removals(server, 'A');
    shared = hs_first(server, client);
    for (unsigned n = 1; n <= 100; n++)
        store(server, n, 1000, 100);

    fflush(stdout);
    for (unsigned i = 0; i < CHILDREN; i++) {
        child[i] = fork();
        if (child[i] == 0) {
            limit_time();
            _exit(live(1000 * (i + 1)) ? 7 : 1);
        }
    }
    expect("P5", live(500), "the parent goes on");
    for (int i = 0; i < CHILDREN; i++) {
        int status = -1;
        waitpid(child[i], &status, 0);
        expect("P5", WIFEXITED(status) && WEXITSTATUS(status) == 7, "child %d goes on with its own copy",
               i + 1);
    }
}

/* A child that comes first: nothing has been used before the fork. */
static void first_use_in_child(void)
{
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        SSL_CTX *ctx = server_context();
        int ok = store(ctx, 1, 1000, 100) == 1;
        flush(ctx, 0);
        ok &= SSL_CTX_sess_number(ctx) == 0;
        SSL_CTX_free(ctx);
        _exit(ok ? 7 : 1);
    }
    waitpid(child, &status, 0);
    expect("P5", WIFEXITED(status) && WEXITSTATUS(status) == 7, "a child uses it first");
}

int main(void)
{
    limit_time();
    first_use_in_child();
    nothing_shows();
    copies();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
