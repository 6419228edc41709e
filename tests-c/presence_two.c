/* P3: two libssl in one process. The second one is a copy of the first under another path, so that its
 * constants are its own: a context with a method of it is refused, which is said once, and nothing is
 * called with what belongs to the other. The first one goes on. */
#include "handshake.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char copied[4096];

static void remove_copy(void) { unlink(copied); }

/* Loads a copy of the libssl that this program is linked with. */
static void *load_copy(void)
{
    Dl_info info;
    const char *folder = getenv("TEST_BUILD");
    char buffer[65536];
    size_t length;
    if (dladdr((void *)(size_t)TLS_method, &info) == 0)
        return NULL;
    snprintf(copied, sizeof copied, "%s/libssl-copy-%ld.so", folder ? folder : ".", (long)getpid());
    FILE *from = fopen(info.dli_fname, "rb"), *to = fopen(copied, "wb");
    if (from == NULL || to == NULL)
        return NULL;
    atexit(remove_copy);
    while ((length = fread(buffer, 1, sizeof buffer, from)) > 0)
        if (fwrite(buffer, 1, length, to) != length)
            return NULL;
    fclose(from);
    return fclose(to) == 0 ? dlopen(copied, RTLD_NOW | RTLD_LOCAL) : NULL;
}

/* What the library says meanwhile, from a pipe in the place of standard error. */
static int lines_said(SSL_CTX *(*call)(const SSL_METHOD *), const SSL_METHOD *method, SSL_CTX **made)
{
    int ends[2], lines = 0, old = dup(2);
    char text[4096];
    if (pipe(ends) != 0 || old < 0)
        return -1;
    dup2(ends[1], 2);
    *made = call(method);
    dup2(old, 2);
    close(old);
    close(ends[1]);
    ssize_t length = read(ends[0], text, sizeof text);
    close(ends[0]);
    for (ssize_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    return lines;
}

int main(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    SSL_CTX *first, *second;
    const SSL_METHOD *(*method)(void);

    void *copy = load_copy();
    expect("P3", copy != NULL, "a second libssl can be loaded");
    if (copy == NULL)
        return done();
    *(void **)&method = dlsym(copy, "TLS_method");
    int said = lines_said(SSL_CTX_new, method(), &first);
    better("P3", first == NULL && said == 1, "its method is refused, with %d line", said);
    said = lines_said(SSL_CTX_new, method(), &second);
    better("P3", second == NULL && said == 0, "which is said once");
    /* On stock these are contexts: it is the same version after all. */
    SSL_CTX_free(first);
    SSL_CTX_free(second);

    expect("P3", hs_resume(server, client, session) == HS_RESUMED, "the first libssl is served on");
    flush(server, 0);
    expect("P3", hs_resume(server, client, session) == HS_FULL, "and flushed");
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    return done();
}
