/* A program with one libssl loads a plug-in that was linked with another version. Each keeps calling its
 * own, or sslsweep says once that it serves only one of them; nothing crashes.
 *
 * The other libssl has to come from outside: TEST_OTHER_PLUGIN is the path of a presence_dlopen.so that
 * was built in the stock way with another version's headers and library. Without it nothing is tested. */
#include "handshake.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child. plugin_main prints lines of its own, which belong to the other version. */
static int load_and_run(const char *path)
{
    int (*plugin_main)(int);
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    *(void **)&plugin_main = dlsym(plugin, "plugin_main");
    return plugin_main == NULL || plugin_main(0) != 0;
}

/* 1: all that this program itself does works. */
static int live(SSL_CTX *server, SSL_CTX *client)
{
    SSL_SESSION *session = hs_first(server, client);
    int ok = hs_resume(server, client, session) == HS_RESUMED;
    store(server, 1, 1000, 100);
    flush(server, 0);
    ok &= SSL_CTX_sess_number(server) == 0 && hs_resume(server, client, session) == HS_FULL;
    SSL_SESSION_free(session);
    return ok;
}

int main(void)
{
    const char *path = getenv("TEST_OTHER_PLUGIN");
    int status = -1;
    hs_limit_time();
    if (path == NULL || *path == '\0') {
        expect("P3", 1, "no other libssl here: left out");
        return done();
    }
    for (int first = 0; first < 2; first++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            hs_limit_time();
            if (freopen("/dev/null", "w", stdout) == NULL)
                _exit(1);
            SSL_CTX *server = hs_server(ANY_TLS, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
            int ok = first || live(server, client);
            ok &= load_and_run(path) == 0;
            ok &= live(server, client);
            SSL_CTX_free(server);
            SSL_CTX_free(client);
            exit(ok ? 7 : 1);
        }
        waitpid(child, &status, 0);
        expect("P3", WIFEXITED(status) && WEXITSTATUS(status) == 7,
               "a plug-in with another libssl, %s use of ours",
               first ? "before the first" : "after some");
        if (WIFSIGNALED(status))
            printf("# signal %d\n", WTERMSIG(status));
    }
    return done();
}
