/* P9: OpenSSL inside of a plug-in, exported as a plain link does, is none of our business: it works as if we were not
 * there, alone and beside a libssl whose caches are ours.
 *
 * The program has neither libssl nor helpers. The same source is both plug-ins (-DPLUGIN), loaded with RTLD_LOCAL:
 * presence_embedded.inside.so with a static OpenSSL in it, and presence_embedded.beside.so with a shared one. In the static way
 * the program exports none of our names but sslsweep_*; see plugins.mk. */

/* What a plug-in exports, as `table`. */
typedef struct side {
    int (*begin)(int serving); /* whether plug-ins find our names: not in the static way */
    int (*end)(void);
} side;

#ifdef PLUGIN

#include "handshake.h"

#include <sslsweep.h>

#include <dlfcn.h>

# ifdef INSIDE
#  define MANAGED 0
#  define NAME "inside"
# else
#  define MANAGED 1
#  define NAME "beside"
# endif

static SSL_CTX *server, *client, *other;
static SSL_SESSION *kept;
static int freed;

static void count_free(void *ctx, void *value, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    (void)ctx, (void)data, (void)index, (void)argl, (void)argp;
    freed += value != NULL;
}

static int is_managed(SSL_CTX *ctx)
{
    int (*statistics)(SSL_CTX *, struct sslsweep_statistics *, size_t);
    struct sslsweep_statistics figures;
    *(void **)&statistics = dlsym(RTLD_DEFAULT, "sslsweep_get_statistics");
    return statistics != NULL && statistics(ctx, &figures, sizeof figures);
}

/* Each function that is interposed, and then some. */
static int begin(int serving)
{
    server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    other = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    client = hs_client(TLS1_2_VERSION);
    if (MANAGED)
        better("P9", is_managed(server) == serving, NAME ": the cache is ours, where our names are to be seen");
    else
        expect("P9", !is_managed(server), NAME ": the cache is its own");
    record_removals(server, 'A');
    forget_removals();
    int index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, count_free);
    expect("P9", index > 0 && SSL_CTX_set_ex_data(server, index, server) == 1, NAME ": an ex_data index");

    kept = hs_first(server, client);
    expect("P9", hs_resume(server, client, kept) == HS_RESUMED, NAME ": stored and resumed");
    SSL_SESSION *session = numbered_session(7, 1000, 50);
    expect("P9", SSL_CTX_add_session(server, session) == 1 && SSL_CTX_sess_number(server) == 2, NAME ": added");
    SSL_SESSION_set_timeout(session, 500);
    SSL_SESSION_set_time(session, 400);
    expect("P9", SSL_SESSION_get_timeout(session) == 500 && SSL_SESSION_get_time(session) == 400, NAME ": the setters");
    expect("P9", SSL_CTX_remove_session(server, session) == 1 && removals() == 1, NAME ": removed");
    SSL_SESSION_free(session);

    /* By whatever name the program has for it: without a version it is found with us. */
    forget_removals();
    store(server, 1, 1000, 100);
    store(server, 2, 1000, 200);
    flush(server, 1101);
    expect("P9", removals() == 1 && removal_at(0).session == 1, NAME ": flushed");
    SSL_CTX_flush_sessions(server, 1201);
    expect("P9", removals() == 2 && SSL_CTX_sess_number(server) == 1, NAME ": flushed by the legacy function");

    hs_pair pair = hs_new(server, client, kept);
    expect("P9", SSL_set_SSL_CTX(pair.server, other) == other && hs_drive(&pair) == HS_RESUMED, NAME ": after a switch");
    hs_close(&pair);
    SSL *ssl = SSL_new(server), *copy = SSL_dup(ssl);
    unsigned length;
    const unsigned char *id = SSL_SESSION_get_id(kept, &length);
    expect("P9", copy != NULL && SSL_get_SSL_CTX(copy) == server, NAME ": SSL_dup");
    SSL_free(copy);
    say(NAME ": SSL_has_matching_session_id %d", SSL_has_matching_session_id(ssl, id, length));
    SSL_free(ssl);
    expect("P9", OPENSSL_LH_num_items((OPENSSL_LHASH *)SSL_CTX_sessions(server)) == 1, NAME ": SSL_CTX_sessions");
    expect("P9", SSL_CTX_get_session_cache_mode(server) == SSL_SESS_CACHE_SERVER, NAME ": the mode");
    say(NAME ": the size %ld", SSL_CTX_sess_get_cache_size(server));
    expect("P9", no_errors(), NAME ": the error queue is empty");
    return 1;
}

/* When the other has begun. */
static int end(void)
{
    expect("P9", hs_resume(server, client, kept) == HS_RESUMED, NAME ": resumed after the other has begun");
    forget_removals();
    flush(server, 0);
    expect("P9", removals() == 1 && SSL_CTX_sess_number(server) == 0, NAME ": everything flushed");
    expect("P9", hs_resume(server, client, kept) == HS_FULL, NAME ": not resumed");
    forget_removals();
    SSL_SESSION_free(kept);
    SSL_CTX_free(client);
    SSL_CTX_free(other);
    SSL_CTX_free(server);
    expect("P9", removals() == 1 && freed == 1, NAME ": a callback at the end, and the program's ex_data is freed");
    expect("P9", no_errors(), NAME ": the error queue is still empty");
    forget_removals();
    hs_end();
    return done();
}

extern const side table;
const side table = {begin, end};

#else

# include <dlfcn.h>
# include <limits.h>
# include <stdio.h>
# include <stdlib.h>
# include <string.h>
# include <unistd.h>

static const side *load(const char *which)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 32);
    if (length < 0)
        abort();
    snprintf(path + length, sizeof path - (size_t)length, ".%s.so", which);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const side *found = handle != NULL ? dlsym(handle, "table") : NULL;
    if (found == NULL) {
        printf("GAVE UP - %s\n", dlerror());
        exit(1);
    }
    return found;
}

int main(void)
{
    const int serving = dlsym(RTLD_DEFAULT, "SSL_CTX_flush_sessions") != NULL;
    const side *inside = load("inside");
    inside->begin(serving);
    const side *beside = load("beside");
    beside->begin(serving);
    int failed = inside->end();
    return failed | beside->end();
}

#endif
