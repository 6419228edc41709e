/* A program that has no libssl and no libcrypto runs as if nothing were there. It uses none of the
 * helpers, which need libssl, and states its lines itself (see support.h). */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failed, ours;

static void state(const char *number, int ok, const char *text)
{
    printf("%s%s %s - %s\n", ours ? "+ " : "", ok ? "ok" : "FAILED", number, text);
    failed |= !ok;
}

/* What the loader knows by these names must be nobody's but ours. */
static int loaded(const char *library)
{
    char line[512];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        found |= strstr(line, library) != NULL;
    if (maps != NULL)
        fclose(maps);
    return found;
}

int main(void)
{
    int sweeping = dlsym(RTLD_DEFAULT, "sslsweep_version") != NULL, status = -1;
    printf("# under: %s\n", sweeping ? "sslsweep" : "stock");
    state("P3", !loaded("/libssl.") && !loaded("/libcrypto."), "neither libssl nor libcrypto is loaded");

    ours = 1;
    if (sweeping) {
        void (*flush)(void *, time_t);
        *(void **)&flush = dlsym(RTLD_DEFAULT, "SSL_CTX_flush_sessions_ex");
        state("F11", flush != NULL, "SSL_CTX_flush_sessions_ex is found");
        if (flush != NULL)
            flush(NULL, 0);
        state("F8", flush != NULL, "and does nothing for NULL");
        void (*legacy)(void *, long);
        *(void **)&legacy = dlsym(RTLD_DEFAULT, "SSL_CTX_flush_sessions");
        if (legacy != NULL)
            legacy(NULL, 0);
        state("F7", legacy != NULL, "so does SSL_CTX_flush_sessions");
    }
    ours = 0;

    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    waitpid(child, &status, 0);
    state("P1", WIFEXITED(status) && WEXITSTATUS(status) == 7, "it can fork");
    state("P3", !loaded("/libssl.") && !loaded("/libcrypto."), "still neither of them is loaded");
    printf("%s\n", failed ? "done: FAILED" : "done");
    return failed;
}
