/* O4: a request that the operator's command writes into the statistics file: each context flushes itself with its next use,
 * once, and says how many sessions went. */
#include "figures.h"
#include "handshake.h"
#include "own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOON = 100, LATER = 100000 }; /* timeouts */

static time_t began;

static void fill(SSL_CTX *ctx, unsigned from, unsigned count, long timeout)
{
    for (unsigned n = from; n < from + count; n++)
        store(ctx, n, timeout == SOON ? 1000 : began, timeout);
}

static uint64_t asked;

static void ask_all(void)
{
    asked = new_request(ALL);
    ask(getpid(), asked);
}

static void answered(const char *how, const volatile uint64_t *is, uint64_t removed)
{
    better("O4", is[ANSWERED] == asked, "%s: it is answered", how);
    same(how, is[ANSWERED_REMOVED], removed);
}

static void what_has_expired(void)
{
    SSL_CTX *ctx = server_context();
    mine = view(path_of(getpid()));
    const volatile uint64_t *is = newest();
    same("nothing is asked at first", process()[REQUEST], 0);
    same("nor answered", is[ANSWERED], 0);
    fill(ctx, 1, 40, SOON);
    fill(ctx, 101, 5, LATER);
    ask(getpid(), asked = new_request(EXPIRED));
    same("nothing happens by itself", is[SESSIONS], 45);
    fill(ctx, 201, 1, LATER);
    same("sessions after the next use", is[SESSIONS], 6);
    answered("what has expired", is, 40);
    same("flushed", is[FLUSHED], 40);
    same("flushes", is[FLUSHES], 1);
    fill(ctx, 301, 3, SOON);
    same("obeyed once", is[SESSIONS], 9);
    ask_all();
    fill(ctx, 202, 1, LATER);
    same("after a request for all", is[SESSIONS], 0);
    answered("all", is, 10);
    SSL_CTX_free(ctx);
}

static void use_add(SSL_CTX *ctx)
{
    store(ctx, 50, began, LATER);
}

static void use_remove(SSL_CTX *ctx)
{
    SSL_SESSION *session = numbered_session(1, began, LATER);
    SSL_CTX_remove_session(ctx, session);
    SSL_SESSION_free(session);
}

static void use_flush(SSL_CTX *ctx)
{
    flush(ctx, 1);
}

static void use_own_flush(SSL_CTX *ctx)
{
    own_flush(ctx, 1, 0, 0, NULL);
}

static void each_use(void)
{
    static const struct {
        const char *name;
        void (*use)(SSL_CTX *);
        unsigned removed; /* of four */
    } uses[] = {{"add", use_add, 5}, {"remove", use_remove, 3}, {"flush", use_flush, 4}, {"sslsweep_flush", use_own_flush, 4}};
    SSL_CTX *ctx = server_context();
    const volatile uint64_t *is = newest();
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        fill(ctx, 1, 4, LATER);
        ask_all();
        uses[i].use(ctx);
        same(uses[i].name, is[SESSIONS], 0);
        answered(uses[i].name, is, uses[i].removed);
    }
    SSL_CTX_free(ctx);
}

/* A lookup obeys before it has a session in hand, which would be one that is just being removed. */
static void handshakes(int version)
{
    SSL_CTX *client = hs_client(version), *server = hs_server(version, WITHOUT_TICKETS);
    const volatile uint64_t *is = newest();
    SSL_SESSION *session = hs_first(server, client);
    uint64_t before = is[SESSIONS];
    better("O4", hs_resume(server, client, session) == HS_RESUMED, "a session is resumed");
    SSL_SESSION_free(session);
    session = hs_first(server, client);
    uint64_t stored = is[SESSIONS], flushes = is[FLUSHES];
    ask_all();
    better("O4", hs_resume(server, client, session) == HS_FULL, "after a request for all it is not");
    answered("a lookup", is, stored);
    same("what the full handshake has stored", is[SESSIONS], before);
    same("flushes", is[FLUSHES], flushes + 1);
    SSL_SESSION_free(session);
    ask_all();
    session = hs_first(server, client);
    better("O4", is[ANSWERED] == asked && is[SESSIONS] < before + 1, "a handshake that stores obeys");
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* A connection that begins obeys only if nothing leaves: a program may not expect its callback there. */
static void connections(void)
{
    SSL_CTX *ctx = server_context();
    const volatile uint64_t *is = newest();
    ask_all();
    SSL_free(SSL_new(ctx));
    answered("an empty context", is, 0);
    fill(ctx, 1, 3, LATER);
    uint64_t before = asked;
    ask_all();
    SSL_free(SSL_new(ctx));
    better("O4", is[ANSWERED] == before && is[SESSIONS] == 3, "one that stores something waits for a use of the cache");
    ask(getpid(), asked = new_request(EXPIRED));
    SSL_free(SSL_new(ctx));
    answered("none of these has expired", is, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    flush(ctx, 0);
    ask_all();
    SSL_free(SSL_new(ctx));
    answered("without a cache", is, 0);
    SSL_CTX_free(ctx);
}

static void begun_later(void)
{
    ask_all();
    SSL_CTX *ctx = server_context();
    const volatile uint64_t *is = newest();
    better("O4", is[ANSWERED] == asked, "a request of before is none to a new context");
    fill(ctx, 1, 3, SOON);
    same("sessions", is[SESSIONS], 3);
    SSL_CTX_free(ctx);
}

static void other_contexts(void)
{
    SSL_CTX *one = server_context();
    const volatile uint64_t *of_one = newest();
    SSL_CTX *other = server_context();
    const volatile uint64_t *of_other = newest();
    fill(one, 1, 3, LATER);
    fill(other, 1, 4, LATER);
    ask_all();
    use_flush(one);
    answered("the context that is used", of_one, 3);
    better("O4", of_other[ANSWERED] != asked && of_other[SESSIONS] == 4, "and no other one");
    use_flush(other);
    answered("which does it in its turn", of_other, 4);
    SSL_CTX_free(other);
    SSL_CTX_free(one);
}

/* ---- Callbacks ---- */

static void in_order(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    for (unsigned n = 1; n <= 4; n++)
        store(ctx, n, began, LATER - (long)n);
    forget_removals();
    ask_all();
    flush(ctx, 1);
    better("O4", strcmp(removed(), "A4 A3 A2 A1") == 0, "callbacks run as in a flush: %s", removed());
    int marked = 1;
    for (size_t i = 0; i < removals(); i++)
        marked &= !removal_at(i).resumable;
    better("O4", marked, "with sessions that are not resumable any more");
    SSL_CTX_free(ctx);
}

static int depth, deepest, called;

static void asks_again(SSL_CTX *ctx, SSL_SESSION *session)
{
    depth++, called++;
    deepest = depth > deepest ? depth : deepest;
    if (session_number(session) == 1) {
        ask_all();
        use_add(ctx);
        use_flush(ctx);
        SSL_CTX_remove_session(ctx, session);
    }
    depth--;
}

/* A request that comes while a callback runs is obeyed after that. */
static void within_a_callback(void)
{
    SSL_CTX *ctx = server_context();
    const volatile uint64_t *is = newest();
    fill(ctx, 1, 3, LATER);
    SSL_CTX_sess_set_remove_cb(ctx, asks_again);
    depth = deepest = called = 0;
    ask_all();
    flush(ctx, 1);
    same("callbacks", (uint64_t)called, 3);
    same("one inside the other", (uint64_t)deepest, 1);
    better("O4", is[ANSWERED] != asked && is[SESSIONS] == 1, "a request within a callback waits");
    flush(ctx, 1);
    answered("for the next use", is, 1);
    same("callbacks", (uint64_t)called, 4);
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    SSL_CTX_free(ctx);
}

static uint64_t seen_inside;

static int stores_itself(SSL *ssl, SSL_SESSION *session)
{
    SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);
    ask_all();
    SSL_CTX_add_session(ctx, session);
    seen_inside = (uint64_t)SSL_CTX_sess_number(ctx);
    return 0;
}

/* As a program does that stores in its new callback. */
static void within_a_new_callback(void)
{
    SSL_CTX *client = hs_client(TLS1_2_VERSION), *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    const volatile uint64_t *is = newest();
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(server, stores_itself);
    SSL_SESSION *session = hs_first(server, client);
    same("stored within the callback", seen_inside, 1);
    same("and gone after it", is[SESSIONS], 0);
    answered("a new callback that stores", is, 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void frees(SSL_CTX *ctx, SSL_SESSION *session)
{
    called++;
    if (session_number(session) == 1)
        SSL_CTX_free(ctx);
}

static void the_last_reference(void)
{
    SSL_CTX *ctx = server_context();
    uint64_t ended = process()[ENDED_CONTEXTS];
    fill(ctx, 1, 40, LATER);
    SSL_CTX_sess_set_remove_cb(ctx, frees);
    called = 0;
    ask_all();
    flush(ctx, 1);
    same("callbacks of a flush in which the context ends", (uint64_t)called, 40);
    same("contexts that have ended", process()[ENDED_CONTEXTS], ended + 1);
}

static void at_the_end(void)
{
    SSL_CTX *ctx = server_context();
    uint64_t flushed = total(FLUSHED), left = total(LEFT_AT_END);
    record_removals(ctx, 'A');
    fill(ctx, 1, 5, SOON);
    forget_removals();
    ask_all();
    SSL_CTX_free(ctx);
    same("callbacks of a context that ends", removals(), 5);
    same("flushed for the request", total(FLUSHED), flushed);
    same("left", total(LEFT_AT_END), left + 5);
}

/* ---- Threads and processes ---- */

static gate all_ready = GATE_INITIALIZER;

static void *use(void *ctx)
{
    gate_wait(&all_ready, 60);
    for (unsigned n = 1; n <= 50; n++)
        use_flush(ctx);
    return NULL;
}

static void once(void)
{
    enum { THREADS = 4, SESSIONS_STORED = 500 };
    pthread_t thread[THREADS];
    SSL_CTX *ctx = server_context();
    const volatile uint64_t *is = newest();
    fill(ctx, 1, SESSIONS_STORED, LATER);
    for (int i = 0; i < THREADS; i++)
        hs_start(&thread[i], use, ctx);
    ask_all();
    gate_open(&all_ready);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    same("flushes by four threads", is[FLUSHES], 1);
    answered("threads", is, SESSIONS_STORED);
    SSL_CTX_free(ctx);
}

static int passed(pid_t child)
{
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 7;
}

static void after_fork(void)
{
    int ready[2], go[2];
    char byte = 0;
    SSL_CTX *ctx = server_context();
    const volatile uint64_t *is = newest();
    fill(ctx, 1, 5, LATER);
    if (pipe(ready) != 0 || pipe(go) != 0)
        give_up("pipe");
    ask_all();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        limit_time();
        close(go[1]);
        /* Nobody could ask this one yet: it takes its parent's request, and obeys it. */
        fill(ctx, 11, 1, LATER);
        uint64_t parents = process()[REQUEST];
        int ok = parents != 0 && newest()[ANSWERED] == parents && newest()[ANSWERED_REMOVED] == 6;
        fill(ctx, 12, 2, LATER);
        ok &= newest()[SESSIONS] == 2;
        ok &= write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1;
        uint64_t request = process()[REQUEST];
        ok &= request != parents && newest()[SESSIONS] == 2;
        fill(ctx, 14, 1, LATER);
        ok &= newest()[SESSIONS] == 0 && newest()[ANSWERED] == request && newest()[ANSWERED_REMOVED] == 3;
        _exit(ok ? 7 : 1);
    }
    better("O4", read(ready[0], &byte, 1) == 1, "a child has taken its place");
    same("the parent's sessions", is[SESSIONS], 5);
    use_flush(ctx);
    answered("the parent obeys", is, 5);
    fill(ctx, 21, 2, LATER);
    ask(child, new_request(ALL));
    better("O4", write(go[1], &byte, 1) == 1 && passed(child), "the child obeys what it is asked itself");
    fill(ctx, 31, 1, LATER);
    same("and the parent does not", is[SESSIONS], 3);
    close(ready[0]), close(ready[1]), close(go[0]), close(go[1]);
    SSL_CTX_free(ctx);
}

/* What a killed process was asked is not asked of the next one that has its place. */
static void a_place_used_again(void)
{
    SSL_CTX *ctx = server_context();
    fill(ctx, 1, 3, LATER);
    fflush(stdout);
    int right = 0;
    /* Obeyed long ago; children have it with their places. */
    uint64_t parents = process()[REQUEST];
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (child == 0) {
            limit_time();
            fill(ctx, 11, 1, LATER);
            int ok = newest()[SESSIONS] == 4 && process()[REQUEST] == parents;
            ask_all();
            exit(ok ? 7 : 1);
        }
        right += passed(child);
    }
    same("children that were asked nothing", (uint64_t)right, 2);
    SSL_CTX_free(ctx);
}

/* ---- Contexts without a block ---- */

static void without_a_block(void)
{
    static SSL_CTX *filler[CONTEXTS];
    for (int i = 0; i < CONTEXTS; i++)
        filler[i] = SSL_CTX_new(TLS_method());
    SSL_CTX *one = server_context(), *other = server_context();
    fill(one, 1, 3, LATER);
    fill(other, 1, 4, LATER);
    ask_all();
    same("nothing by itself", block(OTHERS)[SESSIONS], 7);
    use_flush(one);
    answered("one", block(OTHERS), 3);
    use_flush(other);
    answered("both", block(OTHERS), 7);
    same("sessions", block(OTHERS)[SESSIONS], 0);
    fill(one, 1, 2, LATER);
    same("obeyed once", block(OTHERS)[SESSIONS], 2);
    ask_all();
    use_flush(one);
    answered("the next request", block(OTHERS), 2);
    SSL_CTX_free(other);
    SSL_CTX_free(one);
    for (int i = 0; i < CONTEXTS; i++)
        SSL_CTX_free(filler[i]);
}

/* Whatever somebody writes there: one more flush. */
static void any_word(void)
{
    SSL_CTX *ctx = server_context();
    const volatile uint64_t *is = newest();
    uint64_t word = 0x9e3779b97f4a7c15;
    int right = 1;
    for (int i = 0; i < 64; i++) {
        const uint64_t of[] = {word *= 6364136223846793005, UINT64_C(1) << i, UINT64_MAX << i};
        for (size_t n = 0; n < sizeof of / sizeof *of; n++) {
            fill(ctx, 1, 3, LATER);
            asked = of[n];
            uint64_t before = is[ANSWERED];
            ask(getpid(), asked);
            use_flush(ctx);
            right &= is[ANSWERED] == asked && is[SESSIONS] == (asked & 1 && asked != before ? 0 : 3);
        }
    }
    better("O4", right, "any word is a request, for all if it is odd");
    fill(ctx, 1, 3, LATER);
    ask(getpid(), 0);
    use_flush(ctx);
    same("none is none", is[SESSIONS], 3);
    SSL_CTX_free(ctx);
}

int main(int argc, char **argv)
{
    (void)argc;
    limit_time();
    own_option(argv, "SSLSWEEP_STATS", "1");
    began = time(NULL);
    if (own_functions("O4")) {
        what_has_expired();
        each_use();
        handshakes(TLS1_2_VERSION);
        handshakes(TLS1_3_VERSION);
        connections();
        begun_later();
        other_contexts();
        in_order();
        within_a_callback();
        within_a_new_callback();
        the_last_reference();
        at_the_end();
        once();
        after_fork();
        a_place_used_again();
        without_a_block();
        any_word();
        better("C12", no_errors(), "the error queue is empty");
    }
    return done();
}
