/* P6, P7: programs that run with more rights than their caller (AT_SECURE): set-group-id, which works for root and
 * for whoever is in a second group, and set-user-id, which only root can make. The loader keeps a preloaded library
 * out of them; one that they are linked with works, and ignores the options.
 *
 * The program runs copies of itself. They find their libraries by a path of their own (plugins.mk), as the
 * loader ignores LD_LIBRARY_PATH for them. */
#include "handshake.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

/* In the copy. */
static int work(void)
{
    SSL_CTX *server = hs_server(ANY_TLS, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    hs_result again = hs_resume(server, client, session);
    SSL_CTX_sess_set_cache_size(server, 3);
    for (unsigned n = 1; n <= 5; n++)
        store(server, n, time(NULL), 100 + (long)n);
    long held = SSL_CTX_sess_number(server);
    flush(server, 0);
    printf("WORK %d %d %s %ld %ld\n", getauxval(AT_SECURE) != 0, sweeping(), hs_word(again), held, SSL_CTX_sess_number(server));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return 0;
}

typedef struct outcome {
    int exited, secure, swept, works, complaints;
    long held;
} outcome;

static char self[PATH_MAX];

/* Copies this program, runs the copy as this user and group with bad options, and takes it away. */
static outcome run(const char *folder, gid_t group, mode_t mode, uid_t as)
{
    outcome o = {0};
    char path[PATH_MAX], again[16] = "", text[4096], errors[4096], block[65536];
    int out[2], err[2], status = -1;
    long left = -1;
    ssize_t n;
    snprintf(path, sizeof path, "%s/copy", folder);
    int from = open(self, O_RDONLY | O_CLOEXEC), to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    while (from >= 0 && to >= 0 && (n = read(from, block, sizeof block)) > 0)
        if (write(to, block, (size_t)n) != n)
            give_up("cannot write %s", path);
    if (from < 0 || to < 0 || fchown(to, (uid_t)-1, group) != 0 || fchmod(to, mode) != 0)
        give_up("cannot make %s: %s", path, strerror(errno));
    close(from);
    close(to);
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
        give_up("pipe2");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        limit_time();
        setenv("SSLSWEEP_VERBOSE", "banana", 1);
        setenv("SSLSWEEP_DISABLE", "1", 1);
        setenv("SSLSWEEP_SHARE", "banana", 1);
        dup2(out[1], 1);
        dup2(err[1], 2);
        if (as != 0 && (setgroups(0, NULL) != 0 || setresgid(as, as, as) != 0 || setresuid(as, as, as) != 0))
            _exit(125);
        execl(path, "presence_setuid", "work", (char *)NULL);
        _exit(126);
    }
    close(out[1]);
    close(err[1]);
    /* Little is written to either, so one after the other cannot block. */
    read_all(out[0], text, sizeof text);
    read_all(err[0], errors, sizeof errors);
    waitpid(child, &status, 0);
    unlink(path);
    const char *found = strstr(text, "WORK ");
    if (found != NULL)
        sscanf(found, "WORK %d %d %15s %ld %ld", &o.secure, &o.swept, again, &o.held, &left);
    o.exited = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    o.works = o.exited == 0 && strcmp(again, "resumed") == 0 && left == 0;
    for (const char *c = errors; (c = strstr(c, "SSLSWEEP_")) != NULL; c++)
        o.complaints++;
    errors[strcspn(errors, "\n")] = '\0';
    printf("# exit %d, secure %d, swept %d, held %ld; %s\n", o.exited, o.secure, o.swept, o.held, errors);
    return o;
}

/* A group that a file of ours may have, and that is not our own: root may take any. */
static gid_t another_group(void)
{
    gid_t groups[1024];
    int count = getgroups(1024, groups);
    if (geteuid() == 0)
        return NOBODY;
    for (int i = 0; i < count; i++)
        if (groups[i] != getegid())
            return groups[i];
    give_up("a set-group-id program needs root, or a user who is in two groups");
}

static void secure(const char *name, outcome o)
{
    /* A library that is preloaded by its path. */
    const char *preload = getenv("LD_PRELOAD");
    int preloaded = preload != NULL && strstr(preload, "libsslsweep") != NULL;
    if (!o.secure)
        give_up("%s: not secure (exit %d): is the file system mounted nosuid, or no_new_privs set?", name, o.exited);
    expect("P6", o.works, "%s: works", name);
    expect("P7", o.complaints == 0, "%s: says nothing of the options", name);
    better("P6", o.swept == !preloaded, "%s: preloading is not for it, linking is", name);
    better("P7", !o.swept || o.held == 3, "%s: nor can an option disable what it is linked with", name);
}

int main(int argc, char **argv)
{
    char folder[PATH_MAX], shared_folder[] = "/tmp/sslsweep.XXXXXX";
    limit_time();
    if (argc == 2 && strcmp(argv[1], "work") == 0)
        return work();
    /* Not /proc/self/exe itself: under valgrind that is valgrind. */
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        give_up("readlink");
    snprintf(folder, sizeof folder, "%.4000s.XXXXXX", self);
    if (mkdtemp(folder) == NULL)
        give_up("mkdtemp %s", folder);

    outcome plain = run(folder, getegid(), 0755, 0);
    expect("P7", plain.works, "a program like any other: works");
    better("P7", plain.complaints > 0, "and complains of a bad option");
    better("F10", plain.swept && plain.held == (libssl_since(0x300) ? 2 : 3), "the other is heeded: the cache is libssl's");

    if (!slowly()) /* valgrind can't run such programs */
        secure("set-group-id", run(folder, another_group(), 02755, 0));
    rmdir(folder);
    if (!slowly() && geteuid() == 0) {
        /* It is another user's to run, whom our own folders may be closed to. */
        if (mkdtemp(shared_folder) == NULL || chmod(shared_folder, 0711) != 0)
            give_up("mkdtemp %s", shared_folder);
        outcome o = run(shared_folder, 0, 04755, NOBODY);
        rmdir(shared_folder);
        secure("set-user-id", o);
    } else if (!slowly()) {
        printf("# set-user-id: only root can make such a program; set-group-id has the same meaning to the loader\n");
    }
    return done();
}
