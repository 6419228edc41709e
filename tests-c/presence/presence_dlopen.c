/* A program without libssl loads a plug-in that has it, with RTLD_LOCAL: Python's case, and that of many
 * servers. In the shared and static ways the plug-in brings sslsweep too. See plugins.mk for the build. */
#ifdef PLUGIN

#include "handshake.h"

/* Sessions by handshakes and by hand; the second time the plug-in was unloaded in between. */
int plugin_main(int time_of_call)
{
    limit_time();
    say("time %d", time_of_call);
    SSL_CTX *server = hs_server(ANY_TLS, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    record_removals(server, 'A');
    forget_removals();
    SSL_SESSION *session = hs_first(server, client);
    expect("P1", SSL_CTX_sess_number(server) == 1, "stored");
    expect("P1", hs_resume(server, client, session) == HS_RESUMED, "resumed");
    SSL_CTX_sess_set_cache_size(server, 3);
    for (unsigned n = 1; n <= 5; n++)
        store(server, n, time(NULL), 100 + (long)n);
    better("C1", SSL_CTX_sess_number(server) == 3, "the size is exact: the cache is ours");
    flush(server, 0);
    expect("P1", SSL_CTX_sess_number(server) == 0, "flushed");
    expect("P1", hs_resume(server, client, session) == HS_FULL, "not resumed");
    size_t called = removals();
    expect("P1", called >= 6, "%zu callbacks", called);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    expect("C15", removals() == called + 1, "one more at the end");
    expect("C12", no_errors(), "the error queue is empty");
    forget_removals();
    hs_end();
    return done();
}

#else

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void *load(void)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 4);
    if (length < 0)
        return NULL;
    strcpy(path + length, ".so");
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

int main(void)
{
    if (dlsym(RTLD_DEFAULT, "SSL_CTX_get0_certificate") != NULL) { /* a function that only libssl has */
        printf("FAILED - this program has a libssl\n");
        return 1;
    }
    for (int time = 1; time <= 2; time++) {
        void *plugin = load();
        int (*plugin_main)(int);
        if (plugin == NULL) {
            printf("FAILED - %s\n", dlerror());
            return 1;
        }
        *(void **)&plugin_main = dlsym(plugin, "plugin_main");
        if (plugin_main == NULL || plugin_main(time) != 0)
            return 1;
        fflush(stdout);
        if (dlclose(plugin) != 0)
            return 1;
    }
    return 0;
}

#endif
