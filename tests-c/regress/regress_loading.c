/* P1, P6: other objects that have OpenSSL's functions.
 *
 * P6: a program whose OpenSSL is embedded in some other shared object got no context, as there was no
 * libssl to be found. P1: of two preloaded libraries that wrap SSL_new the second was passed over.
 *
 * The same source is the wrapper (-DWRAPPER) and the program with an embedded OpenSSL (-DEMBEDDED); see
 * plugins.mk. */
#ifdef WRAPPER
# include <dlfcn.h>
# include <openssl/ssl.h>

int wrapped_connections;

SSL *SSL_new(SSL_CTX *ctx)
{
    SSL *(*next)(SSL_CTX *);
    *(void **)&next = dlsym(RTLD_NEXT, "SSL_new");
    wrapped_connections++;
    return next(ctx);
}

#else
# include "handshake.h"

# include <dlfcn.h>
# include <stdio.h>
# include <stdlib.h>
# include <string.h>
# include <sys/wait.h>
# include <unistd.h>

/* 0: all works that a server does. */
static int serve(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    if (hs_resume(server, client, session) != HS_RESUMED)
        return 2;
    record_removals(server, 'S');
    if (store(server, 1, 1000, 100) != 1 || SSL_CTX_sess_number(server) != 2)
        return 3;
    flush(server, 1101);
    if (strcmp(removed(), "S1") != 0)
        return 4;
    flush(server, 0);
    if (removals() != 2 || hs_resume(server, client, session) != HS_FULL)
        return 5;
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    forget_removals();
    hs_end();
    return no_errors() ? 0 : 6;
}

# ifdef EMBEDDED

int main(void)
{
    limit_time();
    int result = serve();
    return result == 0 ? 7 : result;
}

# else

static void embedded(const char *self)
{
    char program[4096];
    snprintf(program, sizeof program, "%s.embedded", self);
    if (access(program, X_OK) != 0) {
        expect("P6", 0, "there is a static libssl of this version, to embed in another shared object");
        return;
    }
    int status = run_program(program, NULL, NULL);
    printf("# embedded: %d\n", status);
    expect("P6", status == 7, "OpenSSL embedded in another shared object works");
}

/* In the child: both wrappers are here. */
static int wrapped(void)
{
    int *connections;
    *(void **)&connections = dlsym(RTLD_DEFAULT, "wrapped_connections");
    int result = serve();
    if (connections == NULL || result != 0)
        return connections == NULL ? 1 : result;
    /* Three connections, of two ends each. */
    return *connections == 6 ? 7 : 8;
}

static void preloaded(const char *self)
{
    static const char *const orders[] = {"before", "after"};
    const char *others = getenv("LD_PRELOAD");
    char list[8192], wrapper[4096];
    snprintf(wrapper, sizeof wrapper, "%s.wrapper.so", self);
    for (int i = 0; i < 2; i++) {
        const char *one = i == 0 || others == NULL ? wrapper : others, *two = one == wrapper ? others : wrapper;
        snprintf(list, sizeof list, "%s%s%s", one, two != NULL ? ":" : "", two != NULL ? two : "");
        int status = run_program(self, "wrapped", list);
        printf("# %s: %d\n", orders[i], status);
        expect("P1", status == 7, "a wrapper preloaded %s us sees each SSL_new once", orders[i]);
    }
}

int main(int argc, char **argv)
{
    limit_time();
    if (argc > 1)
        return wrapped();
    embedded(argv[0]);
    preloaded(argv[0]);
    return done();
}

# endif
#endif
