/* P1: a program without libssl loads a plug-in that has it, and the first calls find no memory: sslsweep then looks for
 * libssl, which takes some. Each allocation of sslsweep fails in turn, in a process of its own. (The C library's own may
 * not: it ends a process that has no memory for the thread-local data of what was loaded so, libcrypto's too.) See
 * plugins.mk for the build. */
#ifdef PLUGIN

#include "support.h"

static SSL_CTX *ctx;
static int stored;

/* With an allocation failing. */
void plugin_begin(void)
{
    SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    ctx = SSL_CTX_new(TLS_server_method());
    stored = ctx != NULL && store(ctx, 1, 1000, 100);
}

/* With memory again: 1 when all is well. */
int plugin_end(void)
{
    int ok = 1;
    SSL_CTX *later = server_context();
    if (ctx != NULL) {
        ok &= store(ctx, 2, 1000, 100) == 1 && SSL_CTX_sess_number(ctx) == stored + 1;
        flush(ctx, 0);
        ok &= SSL_CTX_sess_number(ctx) == 0;
        SSL_CTX_free(ctx);
    }
    SSL_CTX_sess_set_cache_size(later, size_to_hold(2));
    for (unsigned n = 1; n <= 5; n++)
        store(later, n, 1000, 100);
    ok &= SSL_CTX_sess_number(later) == 2;
    SSL_CTX_free(later);
    return ok;
}

#else

#include "failing.inc"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void (*begin)(void);
static int (*end)(void);

/* In the child: 0 through, 1 an allocation failed, 2 not as it should be. */
static int with_plugin(long at, int from_there_on)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 4);
    if (length < 0)
        return 2;
    strcpy(path + length, ".so");
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL), *version;
    if (plugin == NULL)
        return 2;
    /* In the shared and static ways it has brought sslsweep along. */
    if ((version = dlsym(plugin, "sslsweep_version")) != NULL)
        dl_iterate_phdr(note_code, version);
    *(void **)&begin = dlsym(plugin, "plugin_begin");
    *(void **)&end = dlsym(plugin, "plugin_end");
    if (begin == NULL || end == NULL)
        return 2;
    int more = with_failure(at, from_there_on, 1, begin);
    return end() ? more : 2;
}

/* Without figures in shared memory and, in the same process once more, with them. */
int main(int argc, char **argv)
{
    int bad = 0, tried = 0, status;
    (void)argc;
    for (int from_there_on = 0; from_there_on < 2; from_there_on++)
        for (long at = 0, more = 1; more; at++, tried++) {
            fflush(stdout);
            pid_t child = fork();
            if (child == 0)
                exit(with_plugin(at, from_there_on));
            int ended = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status);
            more = ended && WEXITSTATUS(status) == 1;
            if (!ended || WEXITSTATUS(status) > 1) {
                printf("# allocation %ld%s: status %x\n", at, from_there_on ? " on" : "", status);
                bad++;
            }
        }
    printf("# allocations that failed: %d\n", tried - 2);
    fflush(stdout);
    if (bad == 0 && getenv("SSLSWEEP_STATS") == NULL) {
        setenv("SSLSWEEP_STATS", "1", 1);
        /* By its path: memcheck cannot follow the link, which leads to itself. */
        char path[PATH_MAX] = "";
        if (readlink("/proc/self/exe", path, sizeof path - 1) > 0)
            execv(path, argv);
        bad++;
    }
    printf("%s P1 - the libssl of a plug-in without memory\ndone\n", bad ? "FAILED" : "ok");
    return bad != 0;
}

#endif
