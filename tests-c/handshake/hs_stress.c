/* Everything at once, with the books kept: threads that shake hands, add, remove, flush and change sessions,
 * sizes and modes, in contexts that come and go under them; callbacks that enter again; sessions in several
 * caches. At the end each session was taken out exactly as often as it was stored, and every one was freed.
 *
 *   STRESS_SEED      what the threads do (not in which order they come); printed
 *   STRESS_SECONDS   how long; without it a fixed number of steps
 *
 * The account of a session hangs on it from its creation, and is closed when it is freed, when nobody can
 * change it any more:
 *
 *   came      times that SSL_CTX_add_session returned 1 for it, or the new callback brought it
 *   left      times that the remove callback brought it for a flush, for want of room or at a context's end, and
 *             that SSL_CTX_remove_session, given it, returned 1 (its own callback is counted apart)
 *   unsure    times that libssl removed it for a lost connection, which does not say whether it was there
 *
 * Sessions of a few ids ("twins") take each other's place, which is silent; so do those whose id libssl has
 * taken away, as it did before CVE-2024-2511 was mended. All others: came = left, or left + unsure. No
 * session expires by itself here: flushes look into the future. */
#include "handshake.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, CONTEXTS = 4, POOL = 64, HOT = 2, TWINS = 8, STEPS = 3000, SPAN = 4000 };

/* ---- Random choices: of each thread its own, from the seed ---- */

static _Thread_local unsigned long long random_state;

static unsigned below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33) % n;
}

/* ---- The books ---- */

typedef struct account {
    atomic_int came, left, unsure;
    int twin;
} account;

static int account_index, context_index;
static atomic_long created, freed, came, left_by_callback, left_by_call, unsure_callbacks;
static atomic_long contexts_made, contexts_ended;
static atomic_long twins_came, twins_left, twins_silent, twins_removed_by_key;
static atomic_long handshakes, resumed, accidents, calls;
/* What must not be. */
static atomic_long unbalanced, no_callback, failed, resumable, after_the_end;
static atomic_int stop;

static account *account_of(const SSL_SESSION *session)
{
    return SSL_SESSION_get_ex_data(session, account_index);
}

/* Before that fix libssl takes the id from a session that it resumes and finds marked. */
static int has_lost_its_id(const SSL_SESSION *session)
{
    unsigned length;
    SSL_SESSION_get_id(session, &length);
    return length == 0 && libssl_before_cve_2024_2511();
}

static void open_account(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long l, void *p)
{
    (void)parent, (void)ptr, (void)l, (void)p;
    account *a = calloc(1, sizeof *a);
    if (a == NULL || !CRYPTO_set_ex_data(data, index, a))
        give_up("out of memory");
    atomic_fetch_add(&created, 1);
}

/* libssl copies sessions: the copy has been given an account of its own, which it keeps. */
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
static int keep_account(CRYPTO_EX_DATA *to, const CRYPTO_EX_DATA *from, void **mark, int index, long l, void *p)
#else
static int keep_account(CRYPTO_EX_DATA *to, const CRYPTO_EX_DATA *from, void *mark, int index, long l, void *p)
#endif
{
    (void)from, (void)l, (void)p;
    *(void **)mark = CRYPTO_get_ex_data(to, index);
    return 1;
}

static void close_account(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long l, void *p)
{
    (void)data, (void)index, (void)l, (void)p;
    account *a = ptr;
    if (a == NULL) /* made before there were accounts, which no session was */
        give_up("a session without an account");
    int silent = a->twin || has_lost_its_id(parent);
    int rest = atomic_load(&a->came) - atomic_load(&a->left);
    if (rest < 0 || rest > (silent ? atomic_load(&a->came) : atomic_load(&a->unsure))) {
        printf("# a session came %d times, left %d times, %d unsure\n", a->came, a->left, a->unsure);
        atomic_fetch_add(&unbalanced, 1);
    }
    if (a->twin) {
        atomic_fetch_add(&twins_came, a->came);
        atomic_fetch_add(&twins_left, a->left);
        atomic_fetch_add(&twins_silent, rest);
    }
    atomic_fetch_add(&freed, 1);
    free(a);
}

static void context_ends(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long l, void *p)
{
    (void)parent, (void)data, (void)index, (void)l, (void)p;
    if (ptr != NULL)
        atomic_fetch_add(&contexts_ended, 1);
}

static void note_came(SSL_SESSION *session)
{
    atomic_fetch_add(&account_of(session)->came, 1);
    atomic_fetch_add(&came, 1);
}

/* ---- Sessions that several threads know ---- */

static SSL_SESSION *pool[POOL];
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;

/* Takes over the caller's reference. */
static void keep(SSL_SESSION *session)
{
    unsigned place = below(POOL);
    pthread_mutex_lock(&pool_lock);
    SSL_SESSION *old = pool[place];
    pool[place] = session;
    pthread_mutex_unlock(&pool_lock);
    SSL_SESSION_free(old);
}

/* A reference of the caller's, or NULL. Often one of a few, so that threads meet at them. */
static SSL_SESSION *any_session(void)
{
    unsigned place = below(below(4) ? HOT : POOL);
    pthread_mutex_lock(&pool_lock);
    SSL_SESSION *session = pool[place];
    if (session != NULL)
        SSL_SESSION_up_ref(session);
    pthread_mutex_unlock(&pool_lock);
    return session;
}

static SSL_SESSION *new_session(unsigned long long name)
{
    unsigned char id[32] = {0};
    memcpy(id, &name, sizeof name);
    return make_session(below(2) ? TLS1_2_VERSION : TLS1_3_VERSION, id, sizeof id, time(NULL) + below(SPAN),
                        10000 + below(SPAN));
}

static SSL_SESSION *unique_session(void)
{
    static atomic_ullong names = TWINS;
    return new_session(atomic_fetch_add(&names, 1));
}

static SSL_SESSION *new_twin(void)
{
    SSL_SESSION *twin = new_session(below(TWINS));
    account_of(twin)->twin = 1;
    return twin;
}

/* ---- Contexts that several threads use ---- */

static SSL_CTX *contexts[CONTEXTS];
static pthread_mutex_t contexts_lock = PTHREAD_MUTEX_INITIALIZER;

static int on_new(SSL *ssl, SSL_SESSION *session);
static void on_remove(SSL_CTX *ctx, SSL_SESSION *session);

static SSL_CTX *new_context(void)
{
    SSL_CTX *ctx = hs_server(ANY_TLS, WITHOUT_TICKETS);
    SSL_CTX_set_ex_data(ctx, context_index, &contexts_made);
    SSL_CTX_set_timeout(ctx, 10000);
    SSL_CTX_sess_set_cache_size(ctx, 100);
    SSL_CTX_sess_set_new_cb(ctx, on_new);
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    atomic_fetch_add(&contexts_made, 1);
    return ctx;
}

static SSL_CTX *any_context(void)
{
    unsigned place = below(CONTEXTS);
    pthread_mutex_lock(&contexts_lock);
    SSL_CTX *ctx = contexts[place];
    SSL_CTX_up_ref(ctx);
    pthread_mutex_unlock(&contexts_lock);
    return ctx;
}

/* Whoever lets go of it last, here or in another thread, ends the former one. */
static void renew_context(void)
{
    unsigned place = below(CONTEXTS);
    SSL_CTX *fresh = new_context();
    pthread_mutex_lock(&contexts_lock);
    SSL_CTX *old = contexts[place];
    contexts[place] = fresh;
    pthread_mutex_unlock(&contexts_lock);
    SSL_CTX_free(old);
}

/* ---- What a thread does ---- */

/* The call that is going on in this thread, if it removes a session of its own accord. */
typedef struct removing {
    SSL_SESSION *session; /* the one given to SSL_CTX_remove_session */
    SSL *connection;      /* or the server that libssl may remove its session for */
    int called;
} removing;

static _Thread_local removing own;
static _Thread_local int depth;

static void add(SSL_CTX *ctx, SSL_SESSION *session)
{
    if (SSL_CTX_add_session(ctx, session))
        note_came(session);
}

/* The remove callbacks that run in this thread, one inside the other. */
static _Thread_local struct {
    SSL_CTX *ctx;
    SSL_SESSION *session;
} running[8];
static _Thread_local unsigned runs;

/* A removal of what one of them was called for is none (C5). Twins have each other's key. */
static int is_running(SSL_CTX *ctx, SSL_SESSION *session)
{
    unsigned length, other_length;
    const unsigned char *id = SSL_SESSION_get_id(session, &length), *other;
    for (unsigned i = 0; i < runs && i < sizeof running / sizeof *running; i++) {
        other = SSL_SESSION_get_id(running[i].session, &other_length);
        if (running[i].ctx == ctx && length == other_length && memcmp(id, other, length) == 0)
            return 1;
    }
    return 0;
}

static int remove_session(SSL_CTX *ctx, SSL_SESSION *session)
{
    removing outer = own;
    own = (removing){.session = session};
    int runs_for_it = is_running(ctx, session), removed = SSL_CTX_remove_session(ctx, session);
    if (runs_for_it ? own.called || removed : !own.called && !has_lost_its_id(session))
        atomic_fetch_add(&no_callback, 1);
    own = outer;
    return removed;
}

static void add_unique(SSL_CTX *ctx)
{
    SSL_SESSION *session = unique_session();
    add(ctx, session);
    keep(session);
}

static void add_known(SSL_CTX *ctx)
{
    SSL_SESSION *session = any_session();
    if (session != NULL)
        add(ctx, session);
    SSL_SESSION_free(session);
}

static void remove_known(SSL_CTX *ctx)
{
    SSL_SESSION *session = any_session();
    unsigned length = 0;
    if (session != NULL)
        SSL_SESSION_get_id(session, &length);
    /* Without an id nothing happens. */
    if (length > 0 && remove_session(ctx, session)) {
        atomic_fetch_add(&account_of(session)->left, 1);
        atomic_fetch_add(&left_by_call, 1);
    }
    SSL_SESSION_free(session);
}

static void add_twin(SSL_CTX *ctx)
{
    SSL_SESSION *twin = new_twin();
    add(ctx, twin);
    SSL_SESSION_free(twin);
}

/* Whatever has its id and version. */
static void remove_twin(SSL_CTX *ctx)
{
    SSL_SESSION *twin = new_twin();
    if (remove_session(ctx, twin))
        atomic_fetch_add(&twins_removed_by_key, 1);
    SSL_SESSION_free(twin);
}

static void flush_some(SSL_CTX *ctx)
{
    static const long ahead[] = {0, 10000, 10000 + SPAN / 2, 10000 + SPAN, 10000 + 2 * SPAN};
    unsigned which = below(6);
    flush(ctx, which < 5 ? time(NULL) + ahead[which] + below(SPAN / 2) : 0);
}

static void change_session(void)
{
    SSL_SESSION *session = any_session();
    if (session == NULL)
        return;
    if (below(2))
        SSL_SESSION_set_time(session, (long)time(NULL) + below(SPAN));
    else
        SSL_SESSION_set_timeout(session, 10000 + below(SPAN));
    SSL_SESSION_free(session);
}

static void change_context(SSL_CTX *ctx)
{
    static const long sizes[] = {0, 1, 10, 40, 100, 1000};
    static const long modes[] = {0, SSL_SESS_CACHE_NO_AUTO_CLEAR, SSL_SESS_CACHE_UPDATE_TIME};
    if (below(2))
        SSL_CTX_sess_set_cache_size(ctx, sizes[below(6)]);
    else
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | modes[below(3)]);
}

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    note_came(session);
    if (below(2))
        return 0;
    keep(session);
    return 1;
}

/* Callbacks may do anything (F5). */
static void enter_again(SSL_CTX *ctx)
{
    if (depth >= 2 || below(8) != 0)
        return;
    depth++;
    switch (below(6)) {
    case 0:
        flush_some(ctx);
        break;
    case 1:
        add_unique(ctx);
        break;
    case 2:
        remove_known(ctx);
        break;
    case 3:
        add_twin(ctx);
        break;
    case 4:
        change_context(ctx);
        break;
    case 5:
        SSL_CTX_sess_number(ctx);
        SSL_CTX_sess_cache_full(ctx);
        break;
    }
    depth--;
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    if (SSL_CTX_get_ex_data(ctx, context_index) == NULL)
        atomic_fetch_add(&after_the_end, 1);
    if (session == own.session && !own.called) {
        own.called = 1; /* should it be stored and flushed again before the call returns, that is another matter */
        if (SSL_SESSION_is_resumable(session))
            atomic_fetch_add(&resumable, 1);
    } else if (own.connection != NULL && session == SSL_get_session(own.connection)) {
        atomic_fetch_add(&account_of(session)->unsure, 1);
        atomic_fetch_add(&unsure_callbacks, 1);
    } else {
        atomic_fetch_add(&account_of(session)->left, 1);
        atomic_fetch_add(&left_by_callback, 1);
    }
    if (runs < sizeof running / sizeof *running) {
        running[runs].ctx = ctx;
        running[runs].session = session;
    }
    runs++;
    enter_again(ctx);
    runs--;
}

/* See hs_stress_setters. */
static int is_accident(const hs_pair *pair)
{
    return libssl_before_cve_2024_2511() && SSL_version(pair->server) == TLS1_2_VERSION
        && SSL_session_reused(pair->server) && pair->client_error == SSL_R_UNEXPECTED_MESSAGE;
}

static SSL_SESSION *connect_once(SSL_CTX *ctx, SSL_CTX *client, SSL_SESSION *resume)
{
    hs_pair pair = hs_new(ctx, client, resume);
    own = (removing){.connection = pair.server};
    hs_result result = hs_drive(&pair);
    SSL_SESSION *next = result == HS_FAILED ? NULL : SSL_get1_session(pair.client);
    atomic_fetch_add(&handshakes, 1);
    atomic_fetch_add(&resumed, result == HS_RESUMED);
    if (result == HS_FAILED)
        atomic_fetch_add(is_accident(&pair) ? &accidents : &failed, 1);
    if (below(8))
        hs_close(&pair);
    else
        hs_drop(&pair);
    own = (removing){0};
    return next;
}

static void *work(void *arg)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    unsigned me = (unsigned)(size_t)arg;
    long steps = getenv("STRESS_SECONDS") != NULL ? -1 : slowly() ? STEPS / 20 : STEPS;
    SSL_CTX *client = hs_client(versions[me % 2]);
    SSL_SESSION *session = NULL;
    random_state = 0x9e3779b97f4a7c15ull * (me + 1) + strtoull(getenv("STRESS_SEED"), NULL, 0);
    while (steps-- != 0 && !atomic_load(&stop)) {
        SSL_CTX *ctx = any_context();
        unsigned what = below(256);
        if (what < 24) {
            SSL_SESSION *next = connect_once(ctx, client, session);
            SSL_SESSION_free(session);
            session = next;
        } else if (what < 25)
            renew_context();
        else if (what < 35)
            flush_some(ctx);
        else if (what < 45)
            change_context(ctx);
        else if (what < 85)
            change_session();
        else if (what < 125)
            add_known(ctx);
        else if (what < 165)
            remove_known(ctx);
        else if (what < 195)
            add_twin(ctx);
        else if (what < 205)
            remove_twin(ctx);
        else
            add_unique(ctx);
        SSL_CTX_free(ctx);
        atomic_fetch_add(&calls, 1);
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    if (!no_errors())
        atomic_fetch_add(&failed, 1);
    return NULL;
}

/* Until the time is up, with a line now and then. */
static void watch(long seconds)
{
    for (long second = 1; second <= seconds; second++) {
        sleep(1);
        if (second % 10 == 0 || second == seconds)
            printf("# %ld s: %ld steps, %ld handshakes (%ld resumed), %ld contexts, %ld stored, %ld removed\n", second,
                   atomic_load(&calls), atomic_load(&handshakes), atomic_load(&resumed),
                   atomic_load(&contexts_made), atomic_load(&came),
                   atomic_load(&left_by_callback) + atomic_load(&left_by_call));
    }
    atomic_store(&stop, 1);
}

static void *add_and_change(void *arg)
{
    random_state = 0x9e3779b97f4a7c15ull * ((unsigned)(size_t)arg + 1);
    for (int i = 0; i < POOL; i++) {
        SSL_CTX *ctx = any_context();
        add_known(ctx);
        SSL_CTX_free(ctx);
        change_session();
    }
    return NULL;
}

/* Whatever is changed while it is stored, or being stored, is flushed by its last time and timeout. */
static void check_times(int rounds)
{
    long late = 0;
    pthread_t threads[THREADS];
    for (int round = 0; round < rounds; round++) {
        time_t half = time(NULL) + 10000 + SPAN;
        for (int i = 0; i < CONTEXTS; i++)
            SSL_CTX_sess_set_cache_size(contexts[i], 0);
        for (int i = 0; i < THREADS; i++)
            hs_start(&threads[i], add_and_change, (void *)(size_t)(round * THREADS + i));
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < CONTEXTS; i++) {
            flush(contexts[i], half);
            for (int j = 0; j < POOL; j++) {
                SSL_SESSION *session = pool[j];
                if (session == NULL || (time_t)SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session) >= half)
                    continue;
                int removed = remove_session(contexts[i], session);
                atomic_fetch_add(&account_of(session)->left, removed);
                late += removed;
            }
        }
    }
    better("C6", late == 0, "no session changed while it was stored is flushed late");
}

static void check_what_is_left(void)
{
    long stored = 0, before = atomic_load(&left_by_callback);
    for (int i = 0; i < CONTEXTS; i++) {
        stored += SSL_CTX_sess_number(contexts[i]);
        if (i % 2)
            flush(contexts[i], 0);
        SSL_CTX_free(contexts[i]);
    }
    long gone = atomic_load(&left_by_callback) - before;
    better("C15", gone == stored, "the last flushes and ends remove what is there, each with a callback");
    for (int i = 0; i < POOL; i++)
        SSL_SESSION_free(pool[i]);
}

int main(void)
{
    pthread_t threads[THREADS];
    const char *seconds = getenv("STRESS_SECONDS");
    setenv("STRESS_SEED", "1", 0);
    printf("# seed: %s\n", getenv("STRESS_SEED"));
    if (seconds == NULL)
        limit_time();
    if (stock_cannot("F13", "it crashes at sessions changed while stored, or stored twice, and deadlocks in callbacks"))
        return done();
    account_index = SSL_SESSION_get_ex_new_index(0, NULL, open_account, keep_account, close_account);
    context_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, context_ends);
    random_state = 1;
    for (int i = 0; i < CONTEXTS; i++)
        contexts[i] = new_context();
    for (int i = 0; i < THREADS; i++)
        hs_start(&threads[i], work, (void *)(size_t)i);
    if (seconds != NULL)
        watch(atol(seconds));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    depth = 2; /* no callback enters again: nothing else happens any more */
    check_times(slowly() ? 5 : 100);
    check_what_is_left();

    printf("# %ld steps, %ld handshakes, %ld resumed, %ld accidents of libssl's; %ld contexts, %ld sessions\n", calls,
           handshakes, resumed, accidents, contexts_made, created);
    printf("# %ld stored; %ld left by callback, %ld by call, %ld of lost connections; twins: %ld stored, %ld left, "
           "%ld replaced\n",
           came, left_by_callback, left_by_call, unsure_callbacks, twins_came, twins_left,
           twins_silent - twins_removed_by_key);
    better("F13", unbalanced == 0, "each session was removed as often as it was stored");
    better("F13", created == freed, "and freed: no reference is left over");
    better("C3", twins_silent >= twins_removed_by_key, "a removal by key took another one's place at most");
    better("C5", no_callback == 0, "a removal calls back once, and not from inside its own callback");
    better("F4", resumable == 0, "with the session marked");
    better("C15", after_the_end == 0 && contexts_made == contexts_ended, "no callback for a context that is gone");
    better("C9", failed == 0, "no handshake failed, and no error is left in a queue");
    if (!slowly()) /* then there are few handshakes, of which none may be resumed */
        better("C9", resumed > 0, "some are resumed");
    return done();
}
