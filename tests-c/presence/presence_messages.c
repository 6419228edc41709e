/* P5: lines on standard error reach the file that it was when the program began, or nobody. A daemon that closes it gets
 * its number for something else; and what nobody reads ends no program. */
#include "own.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char self[PATH_MAX];

/* What a child with this mode ended as, and what it said on what its standard error was. */
static int child_says(const char *mode, char *said, size_t room)
{
    int err[2];
    if (pipe(err) != 0)
        give_up("pipe");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        limit_time();
        setenv("SSLSWEEP_VERBOSE", "1", 1);
        signal(SIGPIPE, SIG_DFL);
        if (strcmp(mode, "closed at first") == 0 || strcmp(mode, "opened later") == 0)
            close(2);
        else
            dup2(err[1], 2);
        if (strcmp(mode, "limited") == 0) {
            struct rlimit none = {0, 0};
            FILE *file = tmpfile();
            /* What is said on standard output may be written to a file too. */
            if (file == NULL || dup2(fileno(file), 2) != 2 || freopen("/dev/null", "w", stdout) == NULL
                || setrlimit(RLIMIT_FSIZE, &none) != 0)
                _exit(125);
        }
        close(err[0]);
        close(err[1]);
        execl(self, "presence_messages", "fresh", mode, (char *)NULL);
        _exit(126);
    }
    close(err[1]);
    /* Nobody will read it. */
    if (strcmp(mode, "nobody reads") == 0) {
        close(err[0]);
        err[0] = -1;
    }
    size_t used = 0;
    ssize_t n;
    while (err[0] >= 0 && used + 1 < room && (n = read(err[0], said + used, room - used - 1)) > 0)
        used += (size_t)n;
    said[used] = '\0';
    if (err[0] >= 0)
        close(err[0]);
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* The number 2 becomes this; returns what else reads it. */
static int reuse(const char *what, int *other)
{
    int pair[2] = {-1, -1};
    if (strcmp(what, "pipe") == 0) {
        if (pipe(pair) != 0)
            return 0;
        *other = pair[0];
        return dup2(pair[1], 2) == 2 && close(pair[1]) == 0;
    }
    if (strcmp(what, "socket") == 0) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
            return 0;
        *other = pair[0];
        return dup2(pair[1], 2) == 2 && close(pair[1]) == 0;
    }
    char name[] = "/tmp/presence_messages.XXXXXX";
    int file = mkstemp(name);
    *other = open(name, O_RDONLY);
    unlink(name);
    /* It may have got that very number. */
    return file == 2 || (file >= 0 && dup2(file, 2) == 2 && close(file) == 0);
}

/* Whether anything has come to it beside what the program writes. */
static int is_untouched(int other)
{
    char byte[64];
    if (write(2, "RECORD\n", 7) != 7)
        return 0;
    close(2);
    ssize_t length = read(other, byte, sizeof byte);
    return length == 7 && memcmp(byte, "RECORD\n", 7) == 0;
}

static int fresh(const char *mode)
{
    int other = -1;
    errno = ENOTTY;
    SSL_CTX *ctx = NULL;
    if (strcmp(mode, "nobody reads") == 0) {
        sigset_t pending;
        sleep(1); /* until its other end is closed */
        ctx = server_context();
        sigpending(&pending);
        return ctx != NULL && !sigismember(&pending, SIGPIPE) ? 7 : 1;
    }
    if (strcmp(mode, "opened later") == 0) {
        if (!reuse("file", &other))
            return 2;
        ctx = server_context();
        return ctx != NULL && is_untouched(other) ? 7 : 1;
    }
    if (strcmp(mode, "stays") == 0 || strcmp(mode, "limited") == 0 || strcmp(mode, "closed at first") == 0)
        return server_context() != NULL ? 7 : 1;
    if (strcmp(mode, "closed") == 0) {
        /* Who waits for its end gets it: nothing holds a pipe open. */
        close(2);
        return server_context() != NULL ? 7 : 1;
    }
    if (!reuse(mode, &other))
        return 2;
    ctx = server_context(); /* which says that it was taken over */
    return ctx != NULL && is_untouched(other) ? 7 : 1;
}

int main(int argc, char **argv)
{
    static const char *const reused[] = {"file", "pipe", "socket"};
    char said[4096];
    if (argc == 3 && strcmp(argv[1], "fresh") == 0)
        return fresh(argv[2]);
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        give_up("readlink");
    if (own_functions("P5")) {
        better("P5", child_says("stays", said, sizeof said) == 7 && strstr(said, "]: took over ") != NULL
               && strstr(said, " SSL_CTX taken over; ") != NULL, "a standard error that stays gets the lines");
        for (size_t i = 0; i < sizeof reused / sizeof *reused; i++)
            better("P5", child_says(reused[i], said, sizeof said) == 7 && strstr(said, "took over") == NULL,
                   "a %s under its number gets none", reused[i]);
        better("P5", child_says("closed", said, sizeof said) == 7 && strstr(said, "took over") == NULL, "nor does what it was");
        better("P5", child_says("closed at first", said, sizeof said) == 7 && *said == '\0', "closed from the start: silent");
        better("P5", child_says("opened later", said, sizeof said) == 7 && *said == '\0', "and so it stays");
        better("P5", child_says("nobody reads", said, sizeof said) == 7, "a pipe that nobody reads ends no program");
        /* (A tool has files of its own in that process.) */
        better("P5", slowly() || child_says("limited", said, sizeof said) == 7, "nor does a file at its limit");
    }
    return done();
}
