/* P1: a plug-in that has brought sslsweep along is unloaded, while libssl stays in the process, which had it
 * before, for another plug-in that knows nothing of sslsweep. What libssl calls at the end of contexts and connections must still be
 * there. (In the preload way sslsweep is the process's own, which nobody unloads.)
 *
 * The program is linked with neither. The same source is both plug-ins (-DPLUGIN): presence_unload.so, which in the shared
 * and static ways is linked with sslsweep, and presence_unload.plain.so. See plugins.mk. */
#ifdef PLUGIN

#include "handshake.h"

/* Leaves nothing of its own behind. 1: all well. */
int work(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    record_removals(server, 'P');
    forget_removals();
    SSL_SESSION *session = hs_first(server, client);
    int ok = hs_resume(server, client, session) == HS_RESUMED && store(server, 1, 1000, 100) == 1;
    flush(server, 1101);
    ok = ok && removals() == 1 && SSL_CTX_sess_number(server) == 1;
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    ok = ok && removals() == 2;
    forget_removals();
    hs_end();
    return ok;
}

/* Of the one that stays. */
void state(int ok, const char *text)
{
    expect("P1", ok, "%s", text);
}

int end(void)
{
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}

#else

# include <dlfcn.h>
# include <limits.h>
# include <stdio.h>
# include <stdlib.h>
# include <string.h>
# include <unistd.h>

# include "support.h" /* for LIBSSL_SONAME alone */

static void *load(const char *name)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 16);
    if (length < 0)
        exit(1);
    strcpy(path + length, name);
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL) {
        printf("FAILED P1 - %s\n", dlerror());
        exit(1);
    }
    return plugin;
}

static void *function(void *plugin, const char *name)
{
    void *address = dlsym(plugin, name);
    if (address == NULL) {
        printf("FAILED P1 - %s\n", dlerror());
        exit(1);
    }
    return address;
}

int main(void)
{
    int (*work)(void), (*plain_work)(void), (*end)(void);
    void (*state)(int, const char *);
    alarm(getenv("TEST_SLOW") ? 600 : 120);
    if (dlopen(LIBSSL_SONAME, RTLD_NOW | RTLD_LOCAL) == NULL) {
        printf("FAILED P1 - %s\n", dlerror());
        return 1;
    }
    for (int round = 1; round <= 3; round++) {
        void *plugin = load(".so"), *plain = load(".plain.so");
        *(void **)&work = function(plugin, "work");
        *(void **)&plain_work = function(plain, "work");
        *(void **)&state = function(plain, "state");
        state(work(), "a plug-in works, with or without sslsweep");
        state(plain_work(), "the other works beside it");
        state(dlclose(plugin) == 0, "the plug-in is unloaded");
        state(plain_work(), "the other goes on");
        if (round == 2) /* now and then nobody is left */
            state(dlclose(plain) == 0, "and is unloaded as well");
    }
    *(void **)&end = function(load(".plain.so"), "end");
    return end();
}

#endif
