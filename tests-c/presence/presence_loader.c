/* P8: no function of ours waits for the dynamic loader. A plug-in's constructor, and its destructor, run under the loader's lock;
 * here they wait for a thread of the plug-in's that calls every function which is interposed. Stock waits for nobody, as
 * OpenSSL was initialised long before.
 *
 * Twice: with the libssl that the program has; and in a program without (-DHOST), where each of two plug-ins has its own, the
 * second one's a copy of another name, as a wheel brings it along: the thread is the first that we hear of either from. And
 * both with SSLSWEEP_DISABLE=1, which makes us hand each call on. The plug-ins are this source with -DPLUGIN; see plugins.mk. */
#include <openssl/crypto.h>
#include <openssl/ssl.h>

#ifdef PLUGIN
# include <pthread.h>
# include <string.h>

static pthread_t worker;
static volatile int stop;
static volatile int failed; /* the line of the call that did not work */

# define MUST(works)           \
    do {                       \
        if (!(works))          \
            failed = __LINE__; \
    } while (0)

static int no_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    return 0;
}

static void no_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
}

static SSL_SESSION *no_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    return NULL;
}

static int no_id(SSL *ssl, unsigned char *id, unsigned *length)
{
    (void)ssl, (void)id, (void)length;
    return 0;
}

/* Every function once. A session first: setters reach their libssl before it has a context. */
static void call_all(void)
{
    unsigned char id[32] = "an id";
    SSL_SESSION *session = SSL_SESSION_new();
    MUST(SSL_SESSION_set1_id(session, id, sizeof id) == 1 && SSL_SESSION_set_protocol_version(session, TLS1_2_VERSION) == 1);
    MUST(SSL_SESSION_set_time(session, 1000) && SSL_SESSION_set_timeout(session, 100) == 1);
    MUST(SSL_SESSION_get_time(session) == 1000 && SSL_SESSION_get_timeout(session) == 100);
    MUST(SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL) >= 0);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method()), *other = SSL_CTX_new(TLS_client_method());
    MUST(ctx != NULL && other != NULL);
    SSL_CTX_sess_set_new_cb(ctx, no_new);
    SSL_CTX_sess_set_remove_cb(ctx, no_remove);
    SSL_CTX_sess_set_get_cb(ctx, no_get);
    MUST(SSL_CTX_sess_get_new_cb(ctx) == no_new && SSL_CTX_sess_get_remove_cb(ctx) == no_remove && SSL_CTX_sess_get_get_cb(ctx) == no_get);
    MUST(SSL_CTX_set_generate_session_id(ctx, no_id) == 1 && SSL_CTX_sess_set_cache_size(ctx, 10) > 0);
    MUST(SSL_CTX_add_session(ctx, session) == 1 && SSL_CTX_sess_number(ctx) == 1);
    SSL_SESSION_set_timeout(session, 200);
    MUST(SSL_CTX_sessions(ctx) != NULL && SSL_CTX_remove_session(ctx, session) == 1);
    SSL_CTX_add_session(ctx, session);
    SSL_CTX_flush_sessions(ctx, 5000);
    MUST(SSL_CTX_sess_number(ctx) == 0);
    SSL *ssl = SSL_new(ctx), *copy = SSL_dup(ssl);
    MUST(ssl != NULL && copy != NULL && SSL_set_SSL_CTX(ssl, other) == other);
    MUST(SSL_set_generate_session_id(ssl, no_id) == 1 && SSL_has_matching_session_id(ssl, id, sizeof id) == 0);
    SSL_free(copy);
    SSL_free(ssl);
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
    SSL_CTX_free(other);
# if OPENSSL_VERSION_NUMBER >= 0x30000000L
    OSSL_LIB_CTX_free(OSSL_LIB_CTX_new());
    SSL_CTX_free(SSL_CTX_new_ex(NULL, NULL, TLS_method()));
# endif
}

static void *work(void *unused)
{
    (void)unused;
    do
        call_all();
    while (!stop);
    return NULL;
}

__attribute__((constructor)) static void begin(void)
{
    stop = 1;
    pthread_create(&worker, NULL, work, NULL);
    pthread_join(worker, NULL);
    stop = 0;
    pthread_create(&worker, NULL, work, NULL);
}

__attribute__((destructor)) static void end(void)
{
    stop = 1;
    pthread_join(worker, NULL);
}

/* What every function has done in the constructor. */
int outcome(void);
int outcome(void)
{
    return failed;
}

#else
# include <dlfcn.h>
# include <stdio.h>
# include <stdlib.h>
# include <string.h>
# include <sys/wait.h>
# include <unistd.h>

/* The plug-in of this number comes, works and goes. 0: it did. */
static int with_plugin(const char *folder, int number)
{
    char path[4096];
    int (*outcome)(void);
    snprintf(path, sizeof path, "%s/presence_loader.%d.so", folder, number);
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL)
        return 102;
    *(void **)&outcome = dlsym(plugin, "outcome");
    int result = outcome();
    dlclose(plugin);
    if (dlopen(path, RTLD_NOW | RTLD_NOLOAD) != NULL)
        return 103;
    return result != 0 ? 104 : 0;
}

# ifdef HOST

/* Initialises a libssl, which asks the loader meanwhile, past us. 0: done. */
static int initialise(const char *path)
{
    int (*init)(uint64_t, const void *);
    SSL_CTX *(*new)(const SSL_METHOD *);
    const SSL_METHOD *(*method)(void);
    void (*end)(SSL_CTX *);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return 100;
    *(void **)&init = dlsym(handle, "OPENSSL_init_ssl");
    *(void **)&new = dlsym(handle, "SSL_CTX_new");
    *(void **)&method = dlsym(handle, "TLS_method");
    *(void **)&end = dlsym(handle, "SSL_CTX_free");
    if (!init(0, NULL))
        return 101;
    end(new(method()));
    return 0;
}

/* Of the program without libssl: the folder of the plug-ins, and a path of each one's libssl. */
int main(int argc, char **argv)
{
    if (argc < 4)
        return 99;
    alarm(getenv("TEST_SLOW") ? 600 : 60);
    int result = initialise(argv[2]);
    result = result ? result : initialise(argv[3]);
    result = result ? result : with_plugin(argv[1], 1);
    result = result ? result : with_plugin(argv[1], 2);
    return result ? result : with_plugin(argv[1], 1);
}

# else
# include "support.h"

static int run_child(const char *program, const char *const *arguments, const char *disable)
{
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (disable != NULL)
            setenv("SSLSWEEP_DISABLE", disable, 1);
        execv(program, (char *const *)arguments);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        give_up("fork");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        limit_time();
        SSL_CTX *ctx = SSL_CTX_new(TLS_method());
        SSL *ssl = SSL_new(ctx);
        SSL_free(SSL_dup(ssl));
        SSL_free(ssl);
        SSL_CTX_free(ctx);
        return with_plugin(argv[1], 1);
    }
    char path[4096], folder[4096], first[4096] = "", second[4096] = "";
    snprintf(path, sizeof path, "%s.paths", argv[0]);
    FILE *file = fopen(path, "r");
    if (file == NULL || fscanf(file, "%4095s %4095s %4095s", folder, first, second) != 3)
        give_up("%s does not tell where the plug-ins are", path);
    fclose(file);
    snprintf(path, sizeof path, "%s.host", argv[0]);
    const char *const alone[] = {argv[0], folder, NULL}, *const beside[] = {path, folder, first, second, NULL};
    static const char *const disable[] = {NULL, "1"};
    for (int i = 0; i < 2; i++) {
        const char *how = i == 0 ? "" : ", SSLSWEEP_DISABLE=1";
        int status = run_child(argv[0], alone, disable[i]);
        expect("P8", status == 0, "a plug-in waits for its thread, which calls libssl%s: %d", how, status);
        status = run_child(path, beside, disable[i]);
        expect("P8", status == 0, "two, each with a libssl of its own, in a program that has none%s: %d", how, status);
    }
    return done();
}
# endif
#endif
