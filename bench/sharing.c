/* sharing.c calls SHARE-LIBRARY: what the share library's operations cost, called as the core calls them, inside libssl's
 * own callbacks.
 * sharing.c resume: a server's time for a resumption from its own cache and from another context's, with sslsweep preloaded.
 *
 * sharing.py runs both. Beside bench.c, because contexts have other callbacks than there. */
#include "bench.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* crates/share-table/src/table.rs */
struct state;
struct questions {
    uint64_t hello;
    uint8_t asked, waits;
};
struct resumed {
    size_t session;
    struct {
        uint64_t home, number;
        int64_t time;
        uint64_t epoch;
    } origin;
    bool fetched;
    unsigned char trust[32];
};
struct core {
    unsigned char version[16];
    void *(*find)(size_t libssl, const char *name);
    void (*report)(const unsigned char *text, size_t length);
    void (*event)(uint32_t event);
};
struct share {
    unsigned char version[16];
    struct state *(*begin)(size_t libssl, SSL_CTX *ctx, void *library);
    void (*end)(struct state *);
    void (*before_connection)(const struct state *);
    void (*stand_aside)(const struct state *, uint32_t);
    void (*set_names)(const struct state *, bool);
    bool (*makes_ids)(const struct state *);
    bool (*make_id)(const struct state *, size_t libssl, unsigned char *id, size_t length);
    SSL_SESSION *(*fetch)(const struct state *, SSL *, const unsigned char *id, size_t length, bool single_use,
                          struct questions *(*)(size_t libssl, SSL *), struct resumed *);
    void (*found)(const struct state *, SSL_SESSION *, struct resumed *);
    int (*publish)(const struct state *, const struct state *current, SSL *, SSL_SESSION *, bool single_use,
                   const struct resumed *);
};
enum { PUBLISHED = 0, OPERATIONS = 2000, EVENTS = 40 };

static const struct share *share;
static struct state *state;
static unsigned long events[EVENTS];
static double put_ns[OPERATIONS], get_ns[OPERATIONS], first_get_ns;
static bool timing;

static void *find(size_t libssl, const char *name)
{
    (void)libssl;
    return dlsym(RTLD_DEFAULT, name);
}
static void report(const unsigned char *text, size_t length) { fprintf(stderr, "bench: %.*s\n", (int)length, text); }
static void event(uint32_t number) { events[number % EVENTS]++; }
static struct questions *no_questions(size_t libssl, SSL *ssl)
{
    (void)libssl, (void)ssl;
    return NULL;
}

static int by_size(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static double middle(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_size);
    return values[count / 2];
}

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    for (int i = 0; timing && !SSL_session_reused(ssl) && i < OPERATIONS; i++) {
        uint64_t before = now_ns();
        if (share->publish(state, state, ssl, session, false, NULL) != PUBLISHED)
            die("a session was not published");
        put_ns[i] = (double)(now_ns() - before);
    }
    return 0;
}

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    struct resumed resumed;
    *copy = 0;
    for (int i = 0;; i++) {
        uint64_t before = now_ns();
        SSL_SESSION *session = share->fetch(state, ssl, id, (size_t)length, false, no_questions, &resumed);
        double took = (double)(now_ns() - before);
        if (!session)
            die("a session was not fetched");
        if (i == 0)
            first_get_ns = took;
        if (!timing || i == OPERATIONS)
            return session;
        get_ns[i] = took;
        SSL_SESSION_free(session);
    }
}

/* One connection, which resumes `with` if there is one. Adds the server's part of it to *server_ns. */
static SSL_SESSION *visit(SSL_CTX *server_context, SSL_CTX *client_context, SSL_SESSION *with, uint64_t *server_ns)
{
    if (share)
        share->before_connection(state);
    struct connection made = connect_to(server_context, client_context, with, true, own_ns);
    if (with && !made.resumed)
        die("a session was not resumed");
    *server_ns += made.server_ns;
    return made.session;
}

static SSL_CTX *server_like(SSL_CTX *other)
{
    SSL_CTX *made = new_server_context();
    SSL_CTX_set_options(made, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_id_context(made, (const unsigned char *)"bench", 5);
    if (!other)
        get_certificate(made);
    else if (SSL_CTX_use_certificate(made, SSL_CTX_get0_certificate(other)) != 1 ||
             SSL_CTX_use_PrivateKey(made, SSL_CTX_get0_privatekey(other)) != 1)
        die("no certificate");
    return made;
}

static void calls(const char *library, int version, const char *name)
{
    static const struct share *opened;
    if (!opened) {
        void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        const struct share *(*open)(const struct core *) = NULL;
        if (handle)
            *(void **)&open = dlsym(handle, "sslsweep_share");
        static struct core core = {"", find, report, event};
        /* Asked with another version it tells its own. */
        const struct share *any = open ? open(&core) : NULL;
        if (!any)
            die("no share library");
        memcpy(core.version, any->version, sizeof core.version);
        opened = open(&core);
        if (!opened)
            die("it shares nothing");
    }
    share = opened;
    SSL_CTX *server = server_like(NULL), *client = client_of(version);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(server, on_new);
    SSL_CTX_sess_set_get_cb(server, on_get);
    state = share->begin(0, server, NULL);
    if (!state)
        die("the context shares nothing");
    uint64_t ignored = 0;
    timing = true;
    SSL_SESSION *session = visit(server, client, NULL, &ignored);
    char figure[32];
    snprintf(figure, sizeof figure, "put_%s", name);
    print(figure, middle(put_ns, OPERATIONS) / 1e3, "us");
    SSL_SESSION *next = visit(server, client, session, &ignored);
    snprintf(figure, sizeof figure, "get_%s", name);
    print(figure, middle(get_ns, OPERATIONS) / 1e3, "us");
    timing = false;
    SSL_SESSION_free(next);
    fflush(stdout);
    if (fork() == 0) {
        next = visit(server, client, session, &ignored);
        snprintf(figure, sizeof figure, "first_get_in_child_%s", name);
        print(figure, first_get_ns / 1e3, "us");
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    SSL_SESSION_free(session);
    share->end(state);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void resume(int version, const char *name)
{
    static double local[OPERATIONS], shared[OPERATIONS];
    SSL_CTX *one = server_like(NULL), *other = server_like(one), *client = client_of(version);
    uint64_t ignored = 0;
    for (int i = 0; i < OPERATIONS; i++) {
        SSL_SESSION *first = visit(one, client, NULL, &ignored);
        uint64_t took[2] = {0, 0};
        /* Each in turn is the first. */
        for (int turn = 0; turn < 2; turn++) {
            int which = (i + turn) % 2;
            SSL_SESSION_free(visit(which ? other : one, client, first, &took[which]));
        }
        SSL_SESSION_free(first);
        local[i] = (double)took[0];
        shared[i] = (double)took[1];
    }
    char figure[32];
    snprintf(figure, sizeof figure, "resume_own_%s", name);
    print(figure, middle(local, OPERATIONS) / 1e3, "us");
    snprintf(figure, sizeof figure, "resume_shared_%s", name);
    print(figure, middle(shared, OPERATIONS) / 1e3, "us");
    SSL_CTX_free(one);
    SSL_CTX_free(other);
    SSL_CTX_free(client);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "calls") == 0) {
        calls(argv[2], TLS1_2_VERSION, "tls12");
        calls(argv[2], TLS1_3_VERSION, "tls13");
    } else if (argc == 2 && strcmp(argv[1], "resume") == 0) {
        resume(TLS1_2_VERSION, "tls12");
        resume(TLS1_3_VERSION, "tls13");
    } else {
        die("usage: sharing calls SHARE-LIBRARY, or sharing resume");
    }
    return 0;
}
