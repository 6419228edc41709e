/* P1, P12: libraries that wrap one of libssl's functions each, preloaded before us and after us, and find the function that
 * they wrap by dlsym(RTLD_NEXT), which looks past ours. What goes past us must not hurt: sessions are stored, resumed,
 * flushed and called back as on stock. And what we call goes through a wrapper that comes after us.
 *
 * The wrappers (this source with -DWRAPPER) are one object, linked once for each function; see plugins.mk. */
/* Leaks: what is found to be otherwise stops half way. */
#ifdef WRAPPER
# include <dlfcn.h>
# include <stddef.h>
# include <time.h>
# include <openssl/crypto.h>
# include <openssl/ssl.h>

int wrapped_calls;

static void *next(const char *name)
{
    wrapped_calls++;
    return dlsym(RTLD_NEXT, name);
}

# define WRAP(type, name, parameters, arguments) \
    type name parameters                         \
    {                                            \
        type(*function) parameters;              \
        *(void **)&function = next(#name);       \
        return function arguments;               \
    }
typedef int (*new_cb)(SSL *, SSL_SESSION *);
typedef void (*remove_cb)(SSL_CTX *, SSL_SESSION *);
typedef SSL_SESSION *(*get_cb)(SSL *, const unsigned char *, int, int *);

WRAP(SSL_CTX *, SSL_CTX_new, (const SSL_METHOD *a), (a))
WRAP(long, SSL_CTX_ctrl, (SSL_CTX *a, int b, long c, void *d), (a, b, c, d))
WRAP(int, SSL_CTX_add_session, (SSL_CTX *a, SSL_SESSION *b), (a, b))
WRAP(int, SSL_CTX_remove_session, (SSL_CTX *a, SSL_SESSION *b), (a, b))
WRAP(void, SSL_CTX_flush_sessions, (SSL_CTX *a, long b), (a, b))
WRAP(void, SSL_CTX_sess_set_new_cb, (SSL_CTX *a, new_cb b), (a, b))
WRAP(new_cb, SSL_CTX_sess_get_new_cb, (SSL_CTX *a), (a))
WRAP(void, SSL_CTX_sess_set_remove_cb, (SSL_CTX *a, remove_cb b), (a, b))
WRAP(remove_cb, SSL_CTX_sess_get_remove_cb, (SSL_CTX *a), (a))
WRAP(void, SSL_CTX_sess_set_get_cb, (SSL_CTX *a, get_cb b), (a, b))
WRAP(get_cb, SSL_CTX_sess_get_get_cb, (SSL_CTX *a), (a))
WRAP(int, SSL_CTX_set_generate_session_id, (SSL_CTX *a, GEN_SESSION_CB b), (a, b))
WRAP(LHASH_OF(SSL_SESSION) *, SSL_CTX_sessions, (SSL_CTX *a), (a))
WRAP(SSL *, SSL_new, (SSL_CTX *a), (a))
WRAP(SSL *, SSL_dup, (SSL *a), (a))
WRAP(SSL_CTX *, SSL_set_SSL_CTX, (SSL *a, SSL_CTX *b), (a, b))
WRAP(int, SSL_set_generate_session_id, (SSL *a, GEN_SESSION_CB b), (a, b))
WRAP(int, SSL_has_matching_session_id, (const SSL *a, const unsigned char *b, unsigned c), (a, b, c))
WRAP(long, SSL_SESSION_set_time, (SSL_SESSION *a, long b), (a, b))
WRAP(long, SSL_SESSION_set_timeout, (SSL_SESSION *a, long b), (a, b))
WRAP(int, SSL_SESSION_set1_id, (SSL_SESSION *a, const unsigned char *b, unsigned c), (a, b, c))
WRAP(int, SSL_SESSION_set_protocol_version, (SSL_SESSION *a, int b), (a, b))
WRAP(int, CRYPTO_get_ex_new_index, (int a, long b, void *c, CRYPTO_EX_new *d, CRYPTO_EX_dup *e, CRYPTO_EX_free *f), (a, b, c, d, e, f))
# if OPENSSL_VERSION_NUMBER >= 0x30000000L
WRAP(SSL_CTX *, SSL_CTX_new_ex, (OSSL_LIB_CTX *a, const char *b, const SSL_METHOD *c), (a, b, c))
WRAP(void, OSSL_LIB_CTX_free, (OSSL_LIB_CTX *a), (a))
# endif
# if OPENSSL_VERSION_NUMBER >= 0x30300000L
WRAP(time_t, SSL_SESSION_set_time_ex, (SSL_SESSION *a, time_t b), (a, b))
# endif
# if OPENSSL_VERSION_NUMBER >= 0x30400000L
WRAP(void, SSL_CTX_flush_sessions_ex, (SSL_CTX *a, time_t b), (a, b))
# endif

#else
# include "handshake.h"

# include <dlfcn.h>
# include <dirent.h>
# include <stdio.h>
# include <stdlib.h>
# include <string.h>
# include <sys/wait.h>
# include <unistd.h>

static int plain_id(SSL *ssl, unsigned char *id, unsigned *length)
{
    static unsigned made;
    (void)ssl;
    memset(id, 7, *length);
    made++;
    memcpy(id, &made, sizeof made);
    return 1;
}

static int no_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    return 0;
}

static SSL_SESSION *no_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    return NULL;
}

/* What a server and a client do, with every function that is interposed. 0: as on stock, else the step that was not. */
static int work(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_CTX *other = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    SSL_CTX_sess_set_new_cb(server, no_new);
    SSL_CTX_sess_set_get_cb(server, no_get);
    record_removals(server, 'A');
    forget_removals();
    SSL_CTX_sess_get_new_cb(server), SSL_CTX_sess_get_get_cb(server), SSL_CTX_sess_get_remove_cb(server);
    if (!SSL_CTX_set_generate_session_id(server, plain_id) || SSL_CTX_sess_set_cache_size(server, 100) < 0)
        return 1;
    SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);

    SSL_SESSION *first = hs_first(server, client), *second = hs_first(server, client), *third = hs_first(server, client);
    if (hs_resume(server, client, first) != HS_RESUMED || hs_resume(server, client, second) != HS_RESUMED)
        return 2;
    hs_pair pair = hs_new(server, client, first);
    SSL *copy = SSL_dup(pair.server);
    SSL_free(copy);
    if (copy == NULL || !SSL_set_generate_session_id(pair.server, plain_id) || SSL_set_SSL_CTX(pair.server, other) != other)
        return 3;
    if (hs_drive(&pair) != HS_RESUMED)
        return 4;
    unsigned length;
    const unsigned char *id = SSL_SESSION_get_id(first, &length);
    SSL_has_matching_session_id(pair.server, id, length);
    hs_close(&pair);
    SSL_CTX_sessions(server);

    SSL_SESSION *added = numbered_session(9, time(NULL), 1000), *loose = numbered_session(8, 1000, 10);
    if (SSL_CTX_add_session(server, added) != 1 || SSL_SESSION_set_time(loose, 20) != 20 || !SSL_SESSION_set_timeout(loose, 30))
        return 5;
    if (SSL_SESSION_get_time(loose) != 20 || SSL_SESSION_get_timeout(loose) != 30)
        return 6;
    SSL_SESSION_free(loose);
    SSL_SESSION *stored = hs_stored(server, third);
    if (stored != NULL && SSL_CTX_remove_session(server, stored) != 1)
        return 7;
    if (hs_resume(server, client, third) != (stored != NULL ? HS_FULL : HS_RESUMED))
        return 8;
    size_t removed = removals();
    if (removed != (stored != NULL))
        return 9;
    SSL_SESSION_free(stored);
    forget_removals();
    /* first, second, added, and the one that the removal made room for or the third itself */
    flush(server, 0);
    if (removals() < 4 || hs_resume(server, client, first) != HS_FULL || hs_resume(server, client, second) != HS_FULL)
        return 10;
    forget_removals();
    SSL_SESSION *last = hs_first(server, client);
    if (hs_resume(server, client, last) != HS_RESUMED)
        return 11;
    forget_removals();
    SSL_SESSION_free(first), SSL_SESSION_free(second), SSL_SESSION_free(third), SSL_SESSION_free(last), SSL_SESSION_free(added);
    SSL_CTX_free(server), SSL_CTX_free(client), SSL_CTX_free(other);
    if (removals() < 1)
        return 12;
    forget_removals();
    hs_end();
    return no_errors() ? 0 : 13;
}

/* In the child. 0: all well, and the wrapper, where it comes after us, was called if it was to be. */
static int wrapped(int must_be_called)
{
    int *calls;
    *(void **)&calls = dlsym(RTLD_DEFAULT, "wrapped_calls");
    int result = work();
    if (calls == NULL)
        return 100;
    return result == 0 && must_be_called && *calls == 0 ? 101 : result;
}

/* Functions that are called whatever is managed: ours go on to the real ones. */
static int goes_on(const char *name)
{
    static const char *const names[] = {"SSL_CTX_new", "SSL_CTX_ctrl", "SSL_CTX_set_generate_session_id", "SSL_new", "SSL_dup",
        "SSL_set_SSL_CTX", "SSL_set_generate_session_id", "SSL_SESSION_set_time", "SSL_SESSION_set_timeout", "CRYPTO_get_ex_new_index"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return 1;
    return 0;
}

/* What cannot be seen from behind libssl, as docs/compatibility.md says: a session that is added past us is libssl's, a removal
 * past us returns what libssl found, and after a switch past us there is a full handshake. Nothing else may differ. */
static int status_allowed(const char *name)
{
    return !sweeping() ? 0 : strcmp(name, "SSL_CTX_add_session") == 0 ? 10 : strcmp(name, "SSL_CTX_remove_session") == 0 ? 7
        : strcmp(name, "SSL_set_SSL_CTX") == 0 ? 4 : 0;
}

static void with_wrapper(const char *self, const char *name)
{
    const char *others = getenv("LD_PRELOAD");
    char wrapper[4096], list[8192];
    snprintf(wrapper, sizeof wrapper, "%s.%s.so", self, name);
    snprintf(list, sizeof list, "%s%s%s", wrapper, others != NULL ? ":" : "", others != NULL ? others : "");
    int status = run_program(self, "before", list);
    printf("# %s before us: %d\n", name, status);
    expect("P12", status == 0 || status == status_allowed(name), "%s wrapped before us", name);
    snprintf(list, sizeof list, "%s%s%s", others != NULL ? others : "", others != NULL ? ":" : "", wrapper);
    status = run_program(self, goes_on(name) ? "after" : "before", list);
    printf("# %s after us: %d\n", name, status);
    /* Linked, ours comes after whatever is preloaded. */
    expect("P1", status == 0 || (others == NULL && status == status_allowed(name)), "%s wrapped after us", name);
}

# define PREFIX "presence_wrapped."

static int is_wrapper(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) == 0 && strcmp(entry->d_name + length - 3, ".so") == 0;
}

int main(int argc, char **argv)
{
    limit_time();
    if (argc > 1)
        return wrapped(strcmp(argv[1], "after") == 0);
    expect("P1", work() == 0, "without a wrapper");
    struct dirent **found;
    const char *slash = strrchr(argv[0], '/');
    char folder[4096];
    snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - argv[0]), slash == NULL ? "." : argv[0]);
    int count = scandir(folder, &found, is_wrapper, alphasort);
    for (int i = 0; i < count; i++) {
        if (slowly() && i % 7 != 0)
            continue;
        char *name = found[i]->d_name + sizeof PREFIX - 1;
        name[strlen(name) - 3] = '\0';
        with_wrapper(argv[0], name);
        free(found[i]);
    }
    free(found);
    expect("P12", count >= 23, "each function was wrapped");
    return done();
}
#endif
