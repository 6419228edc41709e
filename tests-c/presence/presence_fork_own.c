/* P10: forked beside threads that are in the middle of things, a child uses what is its own. Each child ends by SIGALRM
 * if it hangs. By _Fork, which runs no handlers, and beside handlers of the program's that come first and call us.
 *
 * Stock keeps this as far as libcrypto's own locks let it; so what makes or frees objects is left out of children whose
 * parent's threads do that too, but for connections on releases where stock's do not meet. */
/* Leaks: what another thread had in hand is lost to the child, which has only the thread that forked. */
#include "handshake.h"

#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 2, SHARED = 64, OWN = 8, ROUNDS = 80 };

static SSL_CTX *theirs[2], *own;
static SSL_SESSION *shared[THREADS][SHARED], *mine[OWN], *unstored;
static atomic_int stop, running, in_handler;
static int handled;

/* ---- What threads of the parent do ---- */

/* No memory is taken or freed in there: _Fork leaves the allocator as it is. */
static void store_and_remove(int me, unsigned n)
{
    SSL_CTX_add_session(theirs[0], shared[me][n % SHARED]);
    SSL_CTX_remove_session(theirs[0], shared[me][(n + SHARED / 2) % SHARED]);
}

static void store_and_flush(int me, unsigned n)
{
    SSL_CTX_add_session(theirs[n % 2], shared[me][n % SHARED]);
    if (n % 50 == 0)
        flush(theirs[0], 0);
}

static void set_times(int me, unsigned n)
{
    if (n % SHARED == 0)
        SSL_CTX_add_session(theirs[0], shared[me][n / SHARED % SHARED]);
    SSL_SESSION_set_timeout(shared[me][n % SHARED], (long)(n % 100));
}

static void list(int me, unsigned n)
{
    store_and_remove(me, n);
    if (me == 0) /* one at a time may look at the table */
        SSL_CTX_sessions(theirs[0]);
}

static void make_contexts(int me, unsigned n)
{
    SSL_CTX *ctx = server_context();
    SSL_CTX_add_session(ctx, shared[me][n % SHARED]);
    SSL_CTX_free(ctx);
}

static int generate(SSL *ssl, unsigned char *id, unsigned *length)
{
    (void)ssl, (void)id, (void)length;
    return 1;
}

static void switch_connections(int me, unsigned n)
{
    SSL *ssl = SSL_new(theirs[me]);
    SSL_set_SSL_CTX(ssl, theirs[!me]);
    if (n % 2)
        SSL_set_generate_session_id(ssl, generate);
    SSL_free(ssl);
}

/* Two contexts in turn, so that neither is the one of the call before. */
static void look_up(int me, unsigned n)
{
    (void)me;
    SSL_CTX_sess_number(theirs[n % 2]);
    SSL_CTX_get_session_cache_mode(theirs[(n + 1) % 2]);
}

static int pass_by(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)info, (void)size, (void)unused;
    return 0;
}

/* The lock of the loader's list stays locked in the child. */
static void walk_objects(int me, unsigned n)
{
    (void)me, (void)n;
    dl_iterate_phdr(pass_by, NULL);
}

/* ---- What a child does: 1 if all of it is right ---- */

static int use_indices(void)
{
    int ok = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL) >= 0 && SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL) >= 0;
    ok &= CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_APP, 0, NULL, NULL, NULL, NULL) >= 0;
    SSL_CTX *ctx = server_context();
    ok &= SSL_CTX_add_session(ctx, mine[0]) == 1;
    SSL_CTX_free(ctx);
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    OSSL_LIB_CTX_free(OSSL_LIB_CTX_new());
#endif
    return ok;
}

static int use_sessions(void)
{
    int ok = 1;
    SSL_SESSION_set_timeout(unstored, 100);
    SSL_SESSION_set_time(unstored, 1000);
    for (int i = 0; i < OWN; i++)
        ok &= SSL_CTX_add_session(own, mine[i]) == 1;
    ok &= SSL_CTX_sess_number(own) == OWN && SSL_CTX_add_session(own, mine[0]) == 0;
    ok &= SSL_CTX_remove_session(own, mine[OWN - 1]) == 1;
    return ok && SSL_CTX_sess_number(own) == OWN - 1;
}

/* With memory: setters of a session that is stored look wherever it might be, also where threads were inside. */
static int use_cache(void)
{
    int ok = use_sessions();
    SSL_SESSION_set_time(mine[0], 5000);
    flush(own, 4000);
    ok &= SSL_CTX_sess_number(own) == 1 && SSL_CTX_sessions(own) != NULL;
    SSL_SESSION_set_time(mine[0], 1000);
    flush(own, 4000);
    return ok && SSL_CTX_sess_number(own) == 0;
}

static int use_connections(void)
{
    SSL *ssl = SSL_new(own);
    int ok = ssl != NULL && SSL_set_generate_session_id(ssl, generate);
    ok &= SSL_set_SSL_CTX(ssl, theirs[0]) == theirs[0];
    ok &= SSL_has_matching_session_id(ssl, (const unsigned char *)"none", 4) == 0;
    SSL_free(ssl);
    return ok;
}

/* A handler of the program's, registered before anything of libssl was used. */
static void child_handler(void)
{
    if (atomic_load(&in_handler)) {
        limit_time();
        handled = use_sessions();
    }
}

/* ---- Rounds ---- */

static void (*work)(int me, unsigned n);

static void *run(void *arg)
{
    int me = (int)(size_t)arg;
    atomic_fetch_add(&running, 1);
    for (unsigned n = 0; !atomic_load(&stop); n++)
        work(me, n);
    return NULL;
}

/* Prints and counts nothing in the child. Returns how many children ended well; the first that does not is the last. */
static int rounds(void (*beside)(int, unsigned), int (*use)(void), pid_t (*fork_by)(void))
{
    pthread_t thread[THREADS];
    int right = 0;
    work = beside;
    atomic_store(&stop, 0);
    atomic_store(&running, 0);
    fflush(stdout);
    for (size_t i = 0; i < THREADS; i++)
        hs_start(&thread[i], run, (void *)i);
    while (atomic_load(&running) < THREADS)
        usleep(100);
    for (int round = 0; round < (slowly() ? 10 : ROUNDS); round++) {
        int status = -1;
        pid_t child = fork_by();
        if (child < 0)
            give_up("fork");
        if (child == 0) {
            limit_time();
            _exit((use == NULL ? handled : use()) ? 7 : 1);
        }
        waitpid(child, &status, 0);
        right += WIFEXITED(status) && WEXITSTATUS(status) == 7;
        if (right <= round) {
            printf("# round %d: status %x\n", round, (unsigned)status);
            break; /* each would take its time */
        }
        usleep((unsigned)(round * 37 % 500));
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 2; i++)
        flush(theirs[i], 0);
    return right == (slowly() ? 10 : ROUNDS);
}

static void prepare(void)
{
    for (int i = 0; i < 2; i++)
        theirs[i] = server_context();
    own = server_context();
    for (unsigned i = 0; i < THREADS * SHARED; i++)
        shared[i / SHARED][i % SHARED] = numbered_session(100 + i, 1000, 100);
    for (unsigned i = 0; i < OWN; i++)
        mine[i] = numbered_session(1 + i, 1000, 100);
    unstored = numbered_session(99, 1000, 100);
    /* Room that children need not ask for. */
    for (int i = 0; i < OWN; i++)
        SSL_CTX_add_session(own, mine[i]);
    for (int i = 0; i < OWN; i++)
        SSL_CTX_remove_session(own, mine[i]);
}

static void end(void)
{
    for (unsigned i = 0; i < THREADS * SHARED; i++)
        SSL_SESSION_free(shared[i / SHARED][i % SHARED]);
    for (unsigned i = 0; i < OWN; i++)
        SSL_SESSION_free(mine[i]);
    SSL_SESSION_free(unstored);
    SSL_CTX_free(own);
    for (int i = 0; i < 2; i++)
        SSL_CTX_free(theirs[i]);
}

int main(void)
{
    pid_t (*fork_alone)(void);
    limit_long_time();
    pthread_atfork(NULL, NULL, child_handler);
    prepare();
    *(void **)&fork_alone = dlsym(RTLD_DEFAULT, "_Fork"); /* glibc 2.34 */
    if (fork_alone == NULL)
        fork_alone = fork;

    expect("P10", rounds(look_up, use_cache, fork), "beside lookups");
    expect("P10", rounds(store_and_remove, use_sessions, fork), "beside stores and removals");
    expect("P10", rounds(store_and_remove, use_sessions, fork_alone), "the same by _Fork");
    expect("P10", rounds(look_up, use_sessions, fork_alone), "and beside lookups by _Fork");
    expect("P10", rounds(walk_objects, use_indices, fork), "beside threads that ask for the loaded objects");
    atomic_store(&in_handler, 1);
    expect("P10", rounds(store_and_remove, NULL, fork), "in a handler of the program's that came first");
    expect("P10", rounds(make_contexts, NULL, fork), "and beside contexts that come and go");
    atomic_store(&in_handler, 0);
    expect("P10", rounds(make_contexts, use_sessions, fork), "beside contexts that come and go");
    if (libssl_since(0x305)) {
        expect("P10", rounds(switch_connections, use_connections, fork), "beside connections that switch contexts");
    } else {
        expect("P10", 1, "beside connections: libcrypto's own lock is in the way"); /* of ex_data */
    }
    if (!stock_cannot("P10", "setters of stored sessions race, and all caches' sessions share their locks")) {
        better("P10", rounds(set_times, use_cache, fork), "beside setters of stored sessions");
        better("P10", rounds(store_and_flush, use_cache, fork), "beside flushes");
        better("P10", rounds(list, use_cache, fork), "beside listings");
    }
    end();
    return done();
}
