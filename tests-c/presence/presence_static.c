/* P6: a program with a static libssl. Its calls never leave it, so sslsweep, preloaded or linked before that
 * archive, leaves it alone. (The two archives do not go together at all: the linker finds each function twice. In
 * the static way the program is that of the stock way.)
 *
 * The same source is that program (-DLINKED), presence_static.linked; see plugins.mk. */
#include "handshake.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef LINKED

static int has_library(const char *name)
{
    char line[4096];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        found |= strstr(line, name) != NULL;
    if (maps != NULL)
        fclose(maps);
    return found;
}

/* The lines of the program, which are the same whoever is preloaded. */
int main(void)
{
    limit_time();
    SSL_CTX *server = hs_server(ANY_TLS, WITHOUT_TICKETS), *client = hs_client(ANY_TLS);
    record_removals(server, 'S');
    SSL_SESSION *session = hs_first(server, client);
    printf("%d %d", has_library("/libssl.so"), hs_resume(server, client, session) == HS_RESUMED);
    SSL_CTX_flush_sessions(server, 0); /* whatever TLS 1.3 has left */
    forget_removals();
    SSL_CTX_sess_set_cache_size(server, 10);
    for (unsigned n = 1; n <= 20; n++)
        store(server, n, 1000, 100 + (long)n);
    printf(" %ld %zu", SSL_CTX_sess_number(server), removals());
    SSL_CTX_flush_sessions(server, 1118);
    printf(" %ld %zu", SSL_CTX_sess_number(server), removals());
    SSL_CTX_flush_sessions(server, 0);
    printf(" %ld %zu", SSL_CTX_sess_number(server), removals());
    printf(" %d", hs_resume(server, client, session) == HS_FULL);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    printf(" %d\n", no_errors());
    return 7;
}

#else

int main(void)
{
    char program[PATH_MAX], text[4096] = "", *line = NULL;
    int out[2], status = -1;
    size_t used = 0;
    ssize_t n;
    limit_time();
    n = readlink("/proc/self/exe", program, sizeof program - sizeof ".linked");
    if (n < 0 || pipe(out) != 0)
        give_up("readlink, pipe");
    strcpy(program + n, ".linked");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(out[1], 1);
        close(out[0]);
        close(out[1]);
        execl(program, program, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    while (used + 1 < sizeof text && (n = read(out[0], text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)n;
    waitpid(child, &status, 0);
    expect("P6", WIFEXITED(status) && WEXITSTATUS(status) == 7, "a program with a static libssl ends well");
    if (text[0] == '#') /* who it thinks is there */
        line = strchr(text, '\n');
    /* Stock 3.0 and later hold one less than the size, and evict the earliest; 1.1.1 the first stored. */
    const char *wanted = libssl_since(0x300) ? "0 1 9 11 3 17 0 20 1 1\n" : "0 1 10 10 3 17 0 20 1 1\n";
    printf("# %s", line == NULL ? "nothing\n" : line + 1);
    expect("P6", line != NULL && strcmp(line + 1, wanted) == 0, "its cache is that of its own libssl, and works");
    return done();
}

#endif
