/* C3, C15, F4: malloc fails at each allocation in turn, once or from there on. Each operation fails as its man
 * page says or succeeds, nothing aborts, and every session that was stored is still there or was called
 * back once, with the references right.
 *
 * The story: small pieces of a library (a lock's queue, a list of what leaves) abort when there is no memory,
 * and a thread that could not be noted once was never served again. */
#include "failing.inc"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- What becomes of each session ---- */

#define STORED 50
#define NEW (STORED + 1) /* the operation's own */

static struct {
    int entered, here, calls, frees, replaced;
} fate[NEW + 1];
static int fate_index, callback_set, result;
static SSL_CTX *ctx, *other;
static SSL_SESSION *first, *new; /* references of ours */
static SSL *ssl;
static void *table;

static size_t number_of(SSL_SESSION *session)
{
    return (size_t)SSL_SESSION_get_ex_data(session, fate_index);
}

static void on_remove(SSL_CTX *c, SSL_SESSION *session)
{
    (void)c;
    fate[number_of(session)].calls++;
}

static void on_free(void *parent, void *n, CRYPTO_EX_DATA *data, int index, long l, void *p)
{
    (void)parent, (void)data, (void)index, (void)l, (void)p;
    fate[(size_t)n].frees++;
}

static void on_listed(void *session)
{
    fate[number_of(session)].here++;
}

static SSL_SESSION *fated(size_t n, unsigned like)
{
    SSL_SESSION *session = numbered_session(like, 1000, 100 + (long)n);
    if (!SSL_SESSION_set_ex_data(session, fate_index, (void *)n))
        give_up("SSL_SESSION_set_ex_data");
    return session;
}

static void begin(int callback, size_t stored)
{
    memset(fate, 0, sizeof fate);
    table = NULL;
    ctx = server_context();
    if ((callback_set = callback))
        SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    for (size_t n = 1; n <= STORED; n++) {
        SSL_SESSION *session = fated(n, (unsigned)n);
        if (n <= stored)
            fate[n].entered = SSL_CTX_add_session(ctx, session);
        if (n == 1)
            first = session;
        else
            SSL_SESSION_free(session);
    }
    new = fated(NEW, NEW);
}

static int listed(void)
{
    for (size_t n = 1; n <= NEW; n++)
        fate[n].here = 0;
    OPENSSL_LHASH *all = (OPENSSL_LHASH *)SSL_CTX_sessions(ctx);
    if (all == NULL)
        return 0;
    OPENSSL_LH_doall(all, on_listed);
    return 1;
}

/* Each is there or has left in the right way. */
static int conserved(void)
{
    int ok = ctx == NULL || listed();
    for (size_t n = 2; n <= NEW; n++) {
        int left = fate[n].replaced + (callback_set ? fate[n].calls : fate[n].entered * fate[n].frees);
        ok &= fate[n].here + left == fate[n].entered;
    }
    return ok;
}

static int end(void)
{
    int ok = 1;
    SSL_CTX_free(ctx);
    ctx = NULL;
    SSL_SESSION_free(first);
    SSL_SESSION_free(new);
    for (size_t n = 1; n <= NEW; n++)
        ok &= fate[n].frees == 1 && fate[n].calls == (callback_set && fate[n].entered && !fate[n].replaced);
    ERR_clear_error();
    return ok;
}

/* ---- Operations, and whether what came of each is right ---- */

static void add(void) { result = SSL_CTX_add_session(ctx, new); }
static int added(void)
{
    fate[NEW].entered = result;
    return (result == 0 || result == 1) && listed() && fate[NEW].here == result;
}

static void prepare_twin(void)
{
    SSL_SESSION_free(new);
    new = fated(NEW, 2);
    memset(&fate[NEW], 0, sizeof fate[NEW]); /* the end of the former one */
}
static int replaced(void) { return fate[2].replaced = result, added(); }

static void prepare_full(void) { SSL_CTX_sess_set_cache_size(ctx, STORED); }
static int evicted(void) { return added() && (result == 0 || fate[1].calls == 1); }

static void take(void) { result = SSL_CTX_remove_session(ctx, first); }
static int taken(void) { return result == 1 && fate[1].calls == 1 && SSL_CTX_sess_number(ctx) == STORED - 1; }

static void flush_some(void) { flush(ctx, 1111); }
static int flushed_some(void) { return SSL_CTX_sess_number(ctx) == STORED - 10; }
static void flush_all(void) { flush(ctx, 0); }
static int flushed_all(void) { return SSL_CTX_sess_number(ctx) == 0; }

static void list(void) { table = SSL_CTX_sessions(ctx); }
static int lists(void) { return table == NULL || OPENSSL_LH_num_items(table) == STORED; }

static void set_timeout(void) { result = (int)SSL_SESSION_set_timeout(first, 5000); }
static int timeout_counts(void)
{
    flush(ctx, 2000);
    return SSL_SESSION_get_timeout(first) == (result ? 5000 : 101) && SSL_CTX_sess_number(ctx) == (result ? 1 : 0);
}

static void set_id(void) { result = SSL_SESSION_set1_id(first, (const unsigned char *)"another", 7); }
static int id_counts(void)
{
    unsigned length;
    SSL_SESSION_get_id(first, &length);
    flush(ctx, 1102);
    return length == (result ? 7 : 32) && fate[1].calls == 1 && SSL_CTX_sess_number(ctx) == STORED - 1;
}

static void prepare_connection(void) { ssl = SSL_new(ctx); }
static void switch_context(void) { result = SSL_set_SSL_CTX(ssl, other) == other; }
static int switched(void)
{
    SSL_CTX *now = SSL_get_SSL_CTX(ssl);
    SSL_free(ssl);
    return now == (result ? other : ctx);
}

static void set_version(void) { result = SSL_SESSION_set_protocol_version(first, TLS1_3_VERSION); }
static int version_counts(void)
{
    int version = SSL_SESSION_get_protocol_version(first);
    flush(ctx, 1102);
    return version == (result ? TLS1_3_VERSION : TLS1_2_VERSION) && fate[1].calls == 1
        && SSL_CTX_sess_number(ctx) == STORED - 1;
}

static void set_time(void) { SSL_SESSION_set_time(first, 5000); }
static int time_counts(void)
{
    flush(ctx, 2000);
    return SSL_SESSION_get_time(first) == 5000 && SSL_CTX_sess_number(ctx) == 1;
}

/* Many leave at once. */
static void prepare_small(void) { SSL_CTX_sess_set_cache_size(ctx, size_to_hold(5)); }
static int made_room(void)
{
    /* What has left has left, also when there was no memory to store. */
    return added() && SSL_CTX_sess_number(ctx) <= (result ? 5 : STORED);
}

static int generate(SSL *s, unsigned char *id, unsigned *length)
{
    (void)s, (void)id, (void)length;
    return 0;
}
static void new_connection(void) { ssl = SSL_new(ctx); }
static void prepare_generator(void) { SSL_CTX_set_generate_session_id(ctx, generate); }
static int connected(void) { return SSL_free(ssl), 1; }
static void set_generator(void) { result = SSL_set_generate_session_id(ssl, generate); }
static int generator_set(void) { return SSL_free(ssl), result == 1; }
static SSL *copy;
static void prepare_generating(void) { prepare_connection(); set_generator(); }
static void duplicate(void) { copy = SSL_dup(ssl); }
static int duplicated(void) { return SSL_free(copy), SSL_free(ssl), 1; }
static void has_it(void)
{
    unsigned length;
    const unsigned char *id = SSL_SESSION_get_id(first, &length);
    result = SSL_has_matching_session_id(ssl, id, length);
}
static int asked(void) { return SSL_free(ssl), 1; }

static void set_all(void)
{
    SSL_CTX_sess_set_cache_size(ctx, 1000);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH);
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    SSL_CTX_sess_set_new_cb(ctx, NULL);
    SSL_CTX_sess_set_get_cb(ctx, NULL);
    SSL_CTX_set_generate_session_id(ctx, NULL);
}
static int all_set(void)
{
    return SSL_CTX_sess_get_cache_size(ctx) == 1000 && SSL_CTX_get_session_cache_mode(ctx) == SSL_SESS_CACHE_BOTH
        && SSL_CTX_sess_get_remove_cb(ctx) == on_remove && SSL_CTX_sess_number(ctx) == STORED;
}

/* Its callbacks flush in turn, this deep; the deepest takes what is left. (A callback costs more the deeper it is,
 * and each allocation at each depth fails in turn: as deep as there are sessions takes 30 seconds.) */
#define DEEP 20
static int depth;
static void on_remove_flush(SSL_CTX *c, SSL_SESSION *session)
{
    on_remove(c, session);
    if (++depth <= DEEP)
        flush(c, depth < DEEP ? (time_t)(1100 + number_of(session) + 2) : 0);
    depth--;
}
static void prepare_nested(void) { SSL_CTX_sess_set_remove_cb(ctx, on_remove_flush); }
static void flush_nested(void) { flush(ctx, 1102); }

/* A session of two contexts, and a third one that has had some. */
static SSL_CTX *third;
static void prepare_shared(void)
{
    third = server_context();
    SSL_CTX_add_session(third, first);
}
static int time_counts_twice(void)
{
    flush(third, 2000);
    int there = SSL_CTX_sess_number(third) == 1;
    SSL_CTX_free(third);
    return there && time_counts();
}

static void free_it(void) { SSL_CTX_free(ctx); ctx = NULL; }

static const struct operation {
    const char *number, *name;
    int callback;
    size_t stored;
    void (*prepare)(void), (*operate)(void);
    int (*good)(void);
    enum { BEARS_IT, CRASHES, LOSES_CALLBACKS } stock;
} operations[] = {
    {"C3", "the first SSL_CTX_add_session", 1, 0, NULL, add, added, CRASHES},
    {"C3", "SSL_CTX_add_session", 1, STORED, NULL, add, added, CRASHES},
    {"C3", "SSL_CTX_add_session, replacing", 1, STORED, prepare_twin, add, replaced, BEARS_IT},
    {"C2", "SSL_CTX_add_session, evicting", 1, STORED, prepare_full, add, evicted, CRASHES},
    {"C5", "SSL_CTX_remove_session", 1, STORED, NULL, take, taken, BEARS_IT},
    {"F1", "flush of some", 1, STORED, NULL, flush_some, flushed_some, LOSES_CALLBACKS},
    {"F2", "flush of all", 1, STORED, NULL, flush_all, flushed_all, LOSES_CALLBACKS},
    {"F1", "flush of some without a callback", 0, STORED, NULL, flush_some, flushed_some, BEARS_IT},
    {"F2", "flush of all without a callback", 0, STORED, NULL, flush_all, flushed_all, BEARS_IT},
    {"C14", "SSL_CTX_sessions", 1, STORED, NULL, list, lists, BEARS_IT},
    {"C6", "SSL_SESSION_set_timeout", 1, STORED, NULL, set_timeout, timeout_counts, BEARS_IT},
    {"C18", "SSL_SESSION_set1_id", 1, STORED, NULL, set_id, id_counts, CRASHES},
    {"C13", "SSL_set_SSL_CTX", 1, STORED, prepare_connection, switch_context, switched, BEARS_IT},
    {"C18", "SSL_SESSION_set_protocol_version", 1, STORED, NULL, set_version, version_counts, CRASHES},
    {"C6", "SSL_SESSION_set_time", 1, STORED, NULL, set_time, time_counts, BEARS_IT},
    {"C17", "SSL_SESSION_set_time, of a session in two contexts", 1, STORED, prepare_shared, set_time, time_counts_twice, CRASHES},
    {"C2", "SSL_CTX_add_session, evicting many", 1, STORED, prepare_small, add, made_room, CRASHES},
    {"C2", "SSL_CTX_add_session, evicting many without a callback", 0, STORED, prepare_small, add, made_room, CRASHES},
    {"C7", "setters of the context", 1, STORED, NULL, set_all, all_set, BEARS_IT},
    {"C14", "SSL_new", 1, STORED, NULL, new_connection, connected, BEARS_IT},
    {"C14", "SSL_new, with a generator", 1, STORED, prepare_generator, new_connection, connected, BEARS_IT},
    {"C14", "SSL_set_generate_session_id", 1, STORED, prepare_connection, set_generator, generator_set, BEARS_IT},
    {"C14", "SSL_dup", 1, STORED, prepare_generating, duplicate, duplicated, CRASHES},
    {"C14", "SSL_has_matching_session_id", 1, STORED, prepare_connection, has_it, asked, BEARS_IT},
    {"F5", "flushes inside flushes", 1, STORED, prepare_nested, flush_nested, flushed_all, CRASHES},
    {"C15", "SSL_CTX_free", 1, STORED, NULL, free_it, NULL, LOSES_CALLBACKS},
    {"C15", "SSL_CTX_free without a callback", 0, STORED, NULL, free_it, NULL, BEARS_IT},
};

static void try_each(const struct operation *o)
{
    int bad = 0, tried = 0;
    if (o->stock == CRASHES && stock_cannot(o->number, o->name))
        return;
    for (int from_there_on = 0; from_there_on < 2; from_there_on++) {
        int more = 1;
        for (long at = 0; more; at++, tried++) {
            begin(o->callback, o->stored);
            if (o->prepare != NULL)
                o->prepare();
            more = with_failure(at, from_there_on, 0, o->operate) && at < 1000;
            int good = o->good == NULL || o->good(), there = conserved(), released = end();
            if (!good || !there || !released) {
                bad++;
                printf("# %s, allocation %ld%s: result %d, %s%s%s\n", o->name, at, from_there_on ? " on" : "",
                       result, good ? "" : "wrong ", there ? "" : "not conserved ", released ? "" : "references");
            }
        }
    }
    printf("# %s: %d failures\n", o->name, tried - 2);
    /* A flush that calls back without the lock makes a list of what leaves, and loses what does not go in. */
    int stock_can = o->stock == BEARS_IT || (o->stock == LOSES_CALLBACKS && !libssl_calls_back_unlocked());
    (stock_can ? expect : better)(o->number, bad == 0, "%s without memory", o->name);
}

/* ---- Growing: each table, at each of its allocations ---- */

static SSL_SESSION *growing;

static void add_growing(void) { result = SSL_CTX_add_session(ctx, growing); }

/* Until it is stored, each time with a later allocation failing. */
static void try_growing(void)
{
    int bad = 0;
    const unsigned most = slowly() ? 100 : 5000;
    const long before = atomic_load(&failures);
    if (stock_cannot("C3", "a growing table"))
        return;
    ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, 0);
    for (unsigned n = 1; n <= most; n++) {
        growing = numbered_session(n, 1000, 1 + (long)n);
        result = 0;
        for (long at = 0; at < 100 && result == 0; at++) {
            with_failure(at, 0, 0, add_growing);
            ERR_clear_error();
            bad += SSL_CTX_sess_number(ctx) != (long)n - 1 + result;
        }
        bad += result != 1;
        SSL_SESSION_free(growing);
    }
    record_removals(ctx, 'A');
    flush(ctx, 0);
    better("C3", bad == 0 && removals() == most, "a growing cache without memory");
    better("C20", SSL_CTX_sess_number(ctx) == 0, "and emptied");
    forget_removals();
    SSL_CTX_free(ctx);
    ctx = NULL;
    printf("# growing: %ld failures\n", atomic_load(&failures) - before);
}

#define MANY 200

static SSL_CTX *many[MANY];
static int making;

static void make_one(void)
{
    many[making] = SSL_CTX_new(TLS_server_method());
    if (many[making] != NULL)
        SSL_CTX_sess_set_cache_size(many[making], size_to_hold(1));
}

/* Contexts until the table of them has grown, each with a failure of ours. One that could not be taken over
 * has the cache that it had. */
static void try_many(void)
{
    int bad = 0;
    const int most = slowly() ? 5 : MANY;
    for (making = 0; making < most; making++) {
        with_failure(making % 6, making % 2, 1, make_one);
        SSL_CTX *c = many[making];
        bad += c == NULL || store(c, 1, 1000, 100) != 1 || store(c, 2, 1000, 200) != 1 || SSL_CTX_sess_number(c) != 1;
    }
    for (int i = 0; i < most; i++)
        SSL_CTX_free(many[i]);
    ERR_clear_error();
    expect("C15", bad == 0, "many contexts without memory");
}

static SSL *connection[MANY];

static void switch_one(void) { SSL_set_SSL_CTX(connection[making], other); }

/* The table of connections that have switched grows. One that could not be noted has switched. */
static void try_switches(void)
{
    int bad = 0;
    const int most = slowly() ? 5 : MANY;
    ctx = server_context();
    for (making = 0; making < most; making++) {
        connection[making] = SSL_new(ctx);
        with_failure(making % 3, making % 2, 1, switch_one);
        bad += SSL_get_SSL_CTX(connection[making]) != other;
    }
    for (int i = 0; i < most; i++)
        SSL_free(connection[i]);
    SSL_CTX_free(ctx);
    ctx = NULL;
    expect("C13", bad == 0, "many connections without memory");
}

/* ---- The beginning: a process whose first calls find no memory ---- */

static void first_calls(void)
{
    SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    ctx = SSL_CTX_new(TLS_server_method());
    result = ctx != NULL && store(ctx, 1, 1000, 100);
}

/* In a process of its own; its exit status. */
static int begin_with_failure(long at, int from_there_on)
{
    int more = with_failure(at, from_there_on, 1, first_calls), bad = 0;
    if (ctx != NULL) {
        store(ctx, 2, 1000, 100);
        store(ctx, 3, 1000, 100);
        bad += SSL_CTX_sess_number(ctx) != result + 2;
        flush(ctx, 0);
        bad += SSL_CTX_sess_number(ctx) != 0;
        SSL_CTX_free(ctx);
    }
    return bad ? 2 : more;
}

static void try_beginning(const char *program)
{
    int bad = 0, tried = 0;
    for (int from_there_on = 0; from_there_on < 2; from_there_on++)
        for (long at = 0, more = 1; more && !bad && at < 500; at++, tried++) {
            char number[24];
            int status;
            snprintf(number, sizeof number, "%ld", at);
            pid_t child = fork();
            if (child == 0) {
                int out = open("/dev/null", O_WRONLY);
                dup2(out, 1);
                execl(program, program, number, from_there_on ? "on" : "once", (char *)NULL);
                _exit(3);
            }
            if (child < 0 || waitpid(child, &status, 0) != child)
                give_up("no process");
            more = WIFEXITED(status) && WEXITSTATUS(status) == 1;
            if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) {
                printf("# beginning, allocation %ld%s: status %x\n", at, from_there_on ? " on" : "", status);
                bad++;
            }
        }
    printf("# the first calls of a process: %d failures\n", tried - 2);
    expect("P1", bad == 0, "a process whose first calls find no memory");
}

static void make(void) { ctx = SSL_CTX_new(TLS_server_method()); }

/* Where there are thousands of allocations, most of them libcrypto's, only some of all but the last. */
static void try_new(void)
{
    int bad = 0, tried = 0;
    with_failure(1L << 30, 0, 0, make);
    SSL_CTX_free(ctx);
    const long count = failing.count;
    for (long at = 0; at < count; at += count - at > 1000 ? 17 : 1, tried++) {
        with_failure(at, 1, 0, make);
        bad += ctx != NULL && (store(ctx, 1, 1000, 100) != 1 || SSL_CTX_sess_number(ctx) != 1);
        SSL_CTX_free(ctx);
        ERR_clear_error();
    }
    ctx = NULL;
    printf("# SSL_CTX_new: %d failures of %ld\n", tried, count);
    expect("C15", bad == 0 && (tried > 0 || slowly()), "SSL_CTX_new without memory");
}

static gate tried_once = GATE_INITIALIZER, may_end = GATE_INITIALIZER;

static void ask(void) { SSL_CTX_sess_number(other); }

static void *unlucky_thread(void *arg)
{
    with_failure(0, 1, 0, ask);
    gate_open(&tried_once);
    gate_wait(&may_end, 60);
    return arg;
}

/* A thread that had no memory when it first came here idles: contexts made meanwhile are taken over. */
static void try_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, unlucky_thread, NULL) != 0 || !gate_wait(&tried_once, 60))
        give_up("no thread");
    ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, 2);
    for (unsigned n = 1; n <= 3; n++)
        store(ctx, n, 1000, 100);
    better("C1", SSL_CTX_sess_number(ctx) == 2, "taken over after a thread had no memory");
    SSL_CTX_free(ctx);
    gate_open(&may_end);
    pthread_join(thread, NULL);
}

int main(int count, char **argument)
{
    if (count == 3)
        return begin_with_failure(atol(argument[1]), strcmp(argument[2], "on") == 0);
    try_beginning(argument[0]);
    fate_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, on_free);
    other = server_context();
    try_thread();
    try_new();
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        try_each(&operations[i]);
    try_growing();
    try_many();
    try_switches();
    SSL_CTX_free(other);
    printf("# allocations that failed: %ld\n", atomic_load(&failures));
    return done();
}
