/* P3: several libssl in one process. The program has none; each plug-in (this source with -DPLUGIN) has
 * its own and is loaded with RTLD_LOCAL, as Python's modules are. All do the same, one after the other,
 * with their contexts alive side by side, and then at once: each call has to reach the caller's own
 * libssl, and each cache has to be ours.
 *
 * By default there are two plug-ins: one with the libssl of all the tests, and one with a copy of it under
 * another name, as a wheel brings it along; their version nodes are the same, so that only the caller
 * tells them apart. TEST_PLUGINS names others, colon-separated, for other versions. See plugins.mk. */

/* What a plug-in exports, as `table`. */
typedef struct side {
    unsigned long (*version)(void);
    int (*begin)(const char *name);
    int (*end)(void);
    int (*work)(int rounds);
} side;

#ifdef PLUGIN

#include "handshake.h"

#include <string.h>

static SSL_CTX *server, *client, *other;
static SSL_SESSION *kept;
static int freed, matched;

static void count_free(void *ctx, void *value, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    (void)ctx, (void)data, (void)index, (void)argl, (void)argp;
    freed += value != NULL;
}

/* The id that is asked for is taken: libssl has to find that in the cache. */
static int taken_id(SSL *ssl, unsigned char *id, unsigned *length)
{
    unsigned taken;
    const unsigned char *of_kept = SSL_SESSION_get_id(kept, &taken);
    matched = SSL_has_matching_session_id(ssl, of_kept, taken);
    memcpy(id, of_kept, taken);
    *length = taken;
    return 1;
}

/* Contexts, and every function that is interposed. They stay until `end`. */
static int begin(const char *name)
{
    limit_time();
    server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    other = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    client = hs_client(TLS1_2_VERSION);
    record_removals(server, 'A');
    forget_removals();
    int index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, count_free);
    expect("P3", index > 0 && SSL_CTX_set_ex_data(server, index, server) == 1, "%s: an ex_data index", name);

    kept = hs_first(server, client);
    expect("P3", hs_resume(server, client, kept) == HS_RESUMED, "%s: stored and resumed", name);
    SSL_CTX_sess_set_cache_size(server, 4);
    for (unsigned n = 1; n <= 6; n++)
        store(server, n, 1000, 1000 + (long)n);
    better("C1", SSL_CTX_sess_number(server) == 4, "%s: the size is exact, the cache is ours", name);
    SSL_CTX_sess_set_cache_size(server, 0);

    /* A session's fields lie elsewhere in each version. */
    SSL_SESSION *session = numbered_session(7, 1000, 50);
    expect("P3", SSL_CTX_add_session(server, session) == 1, "%s: added", name);
    SSL_SESSION_set_timeout(session, 500);
    SSL_SESSION_set_time(session, 400);
    expect("P3", SSL_SESSION_get_timeout(session) == 500 && SSL_SESSION_get_time(session) == 400,
           "%s: the setters reach the session", name);
    forget_removals();
    flush(server, 901);
    expect("C6", removals() == 1 && removal_at(0).session == 7, "%s: and a flush goes by that", name);
    SSL_CTX_add_session(server, session);
    expect("C5", SSL_CTX_remove_session(server, session) == 1, "%s: removed", name);
    SSL_SESSION_free(session);

    SSL_SESSION_free(kept);
    kept = hs_first(server, client);
    hs_pair pair = hs_new(server, client, NULL);
    SSL *copy = SSL_dup(pair.server);
    expect("P3", copy != NULL && SSL_get_SSL_CTX(copy) == server, "%s: SSL_dup", name);
    SSL_free(copy);
    expect("P3", SSL_set_generate_session_id(pair.server, taken_id) == 1 && hs_drive(&pair) == HS_FAILED,
           "%s: an id that is stored is refused", name);
    expect("C14", matched == 1, "%s: SSL_has_matching_session_id", name);
    hs_drop(&pair);
    pair = hs_new(server, client, kept);
    expect("C13", SSL_set_SSL_CTX(pair.server, other) == other && hs_drive(&pair) == HS_RESUMED,
           "%s: after a switch the first context's cache is used", name);
    hs_close(&pair);
    expect("C14", OPENSSL_LH_num_items((OPENSSL_LHASH *)SSL_CTX_sessions(server)) == (unsigned long)SSL_CTX_sess_number(server),
           "%s: SSL_CTX_sessions", name);
    expect("C12", no_errors(), "%s: the error queue is empty", name);
    return 0;
}

/* After the others have begun and ended. */
static int end(void)
{
    expect("P3", hs_resume(server, client, kept) == HS_RESUMED, "resumed after the others");
    long stored = SSL_CTX_sess_number(server);
    forget_removals();
    flush(server, 0);
    expect("F2", removals() == (size_t)stored && SSL_CTX_sess_number(server) == 0, "all flushed");
    expect("P3", hs_resume(server, client, kept) == HS_FULL, "not resumed");
    forget_removals();
    SSL_SESSION_free(kept);
    SSL_CTX_free(client);
    SSL_CTX_free(other);
    SSL_CTX_free(server);
    expect("C15", removals() == 1 && freed == 1, "one callback at the end, and the program's ex_data is freed");
    expect("C12", no_errors(), "the error queue is empty");
    hs_end();
    return done();
}

/* In a thread beside the others: how many rounds went well. */
static int work(int rounds)
{
    int well = 0;
    SSL_CTX *mine = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *theirs = hs_client(TLS1_2_VERSION);
    for (int round = 0; round < rounds; round++) {
        SSL_SESSION *session = hs_first(mine, theirs);
        int ok = hs_resume(mine, theirs, session) == HS_RESUMED;
        flush(mine, 0);
        well += ok && hs_resume(mine, theirs, session) == HS_FULL;
        SSL_SESSION_free(session);
    }
    SSL_CTX_free(mine);
    SSL_CTX_free(theirs);
    return well;
}

extern const side table;
const side table = {OpenSSL_version_num, begin, end, work};

#else

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 8, ROUNDS = 20 };

static const side *sides[MOST];
static int count;

static int load(const char *path)
{
    void *plugin = count < MOST ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (plugin == NULL || (sides[count] = dlsym(plugin, "table")) == NULL) {
        printf("FAILED P3 - %s\n", dlerror());
        return 0;
    }
    count++;
    return 1;
}

static int load_all(void)
{
    char path[PATH_MAX];
    const char *paths = getenv("TEST_PLUGINS");
    if (paths == NULL) {
        ssize_t length = readlink("/proc/self/exe", path, sizeof path - sizeof ".1.so");
        if (length < 0)
            return 0;
        strcpy(path + length, ".1.so");
        int first = load(path);
        strcpy(path + length, ".2.so");
        return first && load(path);
    }
    snprintf(path, sizeof path, "%s", paths);
    char *rest = NULL, *one = strtok_r(path, ":", &rest);
    while (one != NULL && load(one))
        one = strtok_r(NULL, ":", &rest);
    return one == NULL;
}

static void *work_of(void *one)
{
    return (void *)(size_t)((const side *)one)->work(ROUNDS);
}

int main(void)
{
    pthread_t threads[MOST];
    int status = !load_all();
    for (int i = 0; i < count; i++) {
        char name[64];
        unsigned long version = sides[i]->version();
        snprintf(name, sizeof name, "%d (OpenSSL %lx.%lx)", i + 1, version >> 28, version >> 20 & 0xff);
        sides[i]->begin(name);
    }
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, work_of, (void *)(size_t)sides[i]);
    for (int i = 0; i < count; i++) {
        void *well;
        pthread_join(threads[i], &well);
        printf("%s P3 - all at once, number %d\n", (size_t)well == ROUNDS ? "ok" : "FAILED", i + 1);
        status |= (size_t)well != ROUNDS;
    }
    for (int i = count; i-- > 0;)
        status |= sides[i]->end();
    return status;
}

#endif
