/* O3: sslsweep_for_each_session, a visit to a snapshot of the sessions. */
#include "own.h"

#include "handshake.h"

#include <stdint.h>
#include <string.h>

enum { COUNT = 200 };

static SSL_CTX *filled(unsigned count)
{
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, 0);
    record_removals(ctx, 'A');
    forget_removals();
    for (unsigned n = 1; n <= count; n++)
        store(ctx, n, 1000, 100);
    return ctx;
}

typedef struct visit {
    SSL_CTX *ctx;
    int seen[2 * COUNT + 1];
    int calls, stop_after;
    uintptr_t last; /* the address of the session before */
    int in_order;
    void (*meanwhile)(struct visit *, SSL_SESSION *);
} visit;

static int visitor(SSL_SESSION *session, void *argument)
{
    visit *v = argument;
    unsigned n = session_number(session), length = 0;
    /* Whatever happened to the cache, it is alive. */
    SSL_SESSION_get_id(session, &length);
    if (n <= 2 * COUNT && length == 32)
        v->seen[n]++;
    v->calls++;
    v->in_order += (uintptr_t)session > v->last;
    v->last = (uintptr_t)session;
    if (v->meanwhile != NULL)
        v->meanwhile(v, session);
    return v->calls == v->stop_after;
}

/* Sessions 1 to count were seen once each, and no others. */
static int each_once(const visit *v, int count)
{
    int ok = v->calls == count;
    for (int n = 1; n <= 2 * COUNT; n++)
        ok &= v->seen[n] == (n <= count);
    return ok;
}

static void plain(void)
{
    visit v = {.ctx = filled(COUNT)};
    better("O3", own_for_each_session(v.ctx, visitor, &v) == COUNT && each_once(&v, COUNT), "each session is visited once");
    /* Any other order would depend on the secrets by which the cache finds its sessions, and tell about them. */
    better("O3", v.in_order == COUNT, "by address");
    better("O3", SSL_CTX_sess_number(v.ctx) == COUNT && removals() == 0, "and all of them stay");
    better("O3", own_statistics(v.ctx).hits == 0, "it counts as no lookup");
    SSL_CTX *empty = server_context();
    visit none = {.ctx = empty};
    better("O3", own_for_each_session(empty, visitor, &none) == 0 && none.calls == 0, "an empty cache: 0");
    SSL_CTX_free(empty);

    visit some = {.stop_after = 17};
    better("O3", own_for_each_session(v.ctx, visitor, &some) == 17 && some.calls == 17, "the visitor stops it early");
    visit one = {.stop_after = 1};
    better("O3", own_for_each_session(v.ctx, visitor, &one) == 1, "at once");
    flush(v.ctx, 0);
    better("O3", removals() == COUNT && SSL_CTX_sess_number(v.ctx) == 0, "a visit that was stopped holds nothing");
    better("O3", own_for_each_session(NULL, visitor, &v) == -1, "NULL: -1");
    better("O3", own_for_each_session(v.ctx, NULL, &v) == -1, "no visitor: -1");
    SSL_CTX_free(v.ctx);
}

/* Identity: what is visited is the very object, with the program's ex_data. */
static int find(SSL_SESSION *session, void *argument)
{
    return session == *(SSL_SESSION **)argument;
}

static void identity(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *session = numbered_session(1, 1000, 100);
    SSL_CTX_add_session(ctx, session);
    better("C16", own_for_each_session(ctx, find, &session) == 1, "the very object that was stored");
    SSL_CTX_free(ctx);
    SSL_SESSION_free(session);
}

static void remove_it(visit *v, SSL_SESSION *session)
{
    SSL_CTX_remove_session(v->ctx, session);
}

static void flush_all(visit *v, SSL_SESSION *session)
{
    (void)session;
    if (v->calls == 1)
        flush(v->ctx, 0);
}

static void store_more(visit *v, SSL_SESSION *session)
{
    store(v->ctx, session_number(session) + COUNT, 1000, 100);
}

static void change_size(visit *v, SSL_SESSION *session)
{
    (void)session;
    SSL_CTX_sess_set_cache_size(v->ctx, 1);
    store(v->ctx, 2 * COUNT, 1000, 100);
}

static void visit_inside(visit *v, SSL_SESSION *session)
{
    visit inner = {.ctx = v->ctx};
    (void)session;
    if (v->calls == 1)
        better("O3", own_for_each_session(v->ctx, visitor, &inner) == COUNT && each_once(&inner, COUNT),
               "a visit inside a visit");
}

static void from_the_visitor(void)
{
    static const struct {
        const char *what;
        void (*meanwhile)(visit *, SSL_SESSION *);
        long left;
    } cases[] = {
        {"removes each", remove_it, 0},
        {"flushes", flush_all, 0},
        {"stores others", store_more, 2 * COUNT},
        {"makes the cache small", change_size, 1},
        {"visits", visit_inside, COUNT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        visit v = {.ctx = filled(COUNT), .meanwhile = cases[i].meanwhile};
        better("O3", own_for_each_session(v.ctx, visitor, &v) == COUNT && each_once(&v, COUNT),
               "the visitor %s: the snapshot stays", cases[i].what);
        better("O3", SSL_CTX_sess_number(v.ctx) == cases[i].left, "the visitor %s: %ld left", cases[i].what, cases[i].left);
        SSL_CTX_free(v.ctx);
    }
}

static void free_context(visit *v, SSL_SESSION *session)
{
    (void)session;
    if (v->calls == 1)
        SSL_CTX_free(v->ctx);
}

static void end_inside(void)
{
    visit v = {.ctx = filled(COUNT), .meanwhile = free_context};
    better("O3", own_for_each_session(v.ctx, visitor, &v) == COUNT && each_once(&v, COUNT),
           "the visitor frees the context: the sessions live on until they were visited");
    better("C15", removals() == COUNT, "the context has ended with its callbacks");
}

static int stop;

static void *change(void *arg)
{
    SSL_CTX *ctx = arg;
    for (unsigned n = 1; !__atomic_load_n(&stop, __ATOMIC_RELAXED); n++) {
        store(ctx, 1000 + n % 500, 1000, 100);
        if (n % 100 == 0)
            flush(ctx, 2000);
    }
    return NULL;
}

static int count_it(SSL_SESSION *session, void *argument)
{
    unsigned length = 0;
    SSL_SESSION_get_id(session, &length);
    *(long *)argument += length == 32;
    return 0;
}

static void threads(void)
{
    pthread_t thread[3];
    SSL_CTX *ctx = server_context();
    int whole = 1;
    for (int i = 0; i < 3; i++)
        hs_start(&thread[i], change, ctx);
    for (int i = 0; i < (slowly() ? 20 : 1000); i++) {
        long seen = 0;
        int64_t visited = own_for_each_session(ctx, count_it, &seen);
        whole &= visited == seen && visited <= 500;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    better("O3", whole, "visits while threads store and flush");
    SSL_CTX_free(ctx);
}

int main(void)
{
    limit_time();
    if (own_functions("O3")) {
        plain();
        identity();
        from_the_visitor();
        end_inside();
        threads();
        better("C12", no_errors(), "the error queue is empty");
    }
    return done();
}
