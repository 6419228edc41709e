/* C14, C16: seeing the stored sessions from outside: SSL_has_matching_session_id, SSL_CTX_sessions. */
#include "handshake.h"

#include <openssl/lhash.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* The type's functions are libssl's own business, so a program that wants them defines them again. */
#ifdef DEFINE_LHASH_OF_EX
DEFINE_LHASH_OF_EX(SSL_SESSION);
#else
DEFINE_LHASH_OF(SSL_SESSION);
#endif

typedef struct {
    unsigned count, sum;
} TALLY;

IMPLEMENT_LHASH_DOALL_ARG(SSL_SESSION, TALLY);

static void add_up(SSL_SESSION *session, TALLY *tally)
{
    tally->count++;
    tally->sum += session_number(session);
}

static TALLY all;

static void add_up_all(SSL_SESSION *session)
{
    add_up(session, &all);
}

static void add_up_generic(void *session, void *tally)
{
    add_up(session, tally);
}

static void iterate(SSL_CTX *ctx, unsigned count, unsigned sum, const char *what)
{
    TALLY typed = {0, 0}, generic = {0, 0};
    LHASH_OF(SSL_SESSION) *table = SSL_CTX_sessions(ctx);
    expect("C14", lh_SSL_SESSION_num_items(table) == count, "%s: num_items is %u", what, count);
    all.count = all.sum = 0;
    lh_SSL_SESSION_doall(table, add_up_all);
    expect("C14", all.count == count && all.sum == sum, "%s: doall", what);
    lh_SSL_SESSION_doall_TALLY(table, add_up, &typed);
    expect("C14", typed.count == count && typed.sum == sum, "%s: doall with an argument", what);
    OPENSSL_LH_doall_arg((OPENSSL_LHASH *)table, add_up_generic, &generic);
    expect("C14", generic.count == count && generic.sum == sum, "%s: the untyped functions", what);
    expect("C14", lh_SSL_SESSION_error(table) == 0, "%s: no error", what);
}

static void table(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *session[101];
    iterate(ctx, 0, 0, "empty");
    for (unsigned n = 1; n <= 100; n++) {
        session[n] = numbered_session(n, 1000, 100 * (long)(n % 2));
        SSL_CTX_add_session(ctx, session[n]);
    }
    iterate(ctx, 100, 5050, "full");

    int same = 0;
    for (unsigned n = 1; n <= 100; n++) {
        SSL_SESSION *probe = numbered_session(n, 1, 1);
        same += lh_SSL_SESSION_retrieve(SSL_CTX_sessions(ctx), probe) == session[n];
        SSL_SESSION_free(probe);
    }
    expect("C16", same == 100, "retrieve finds the very object that was stored");
    SSL_SESSION *absent = numbered_session(101, 1, 1);
    expect("C14", lh_SSL_SESSION_retrieve(SSL_CTX_sessions(ctx), absent) == NULL, "and nothing else");
    SSL_SESSION_free(absent);

    flush(ctx, 1001);
    iterate(ctx, 50, 2500, "after a flush");
    SSL_CTX_remove_session(ctx, session[1]);
    iterate(ctx, 49, 2499, "after a removal");
    for (unsigned n = 1; n <= 100; n++)
        SSL_SESSION_free(session[n]);
    iterate(ctx, 49, 2499, "when only the cache holds them");
    flush(ctx, 0);
    iterate(ctx, 0, 0, "empty again");
    SSL_CTX_free(ctx);
}

/* A table stays what it is until a session comes or goes: threads may look at once. */
static atomic_int wrong;

static void *count(void *ctx)
{
    for (int i = 0; i < (slowly() ? 100 : 1000); i++)
        wrong += lh_SSL_SESSION_num_items(SSL_CTX_sessions(ctx)) != 50;
    return NULL;
}

static void several_readers(void)
{
    pthread_t thread[3];
    SSL_CTX *ctx = server_context();
    for (unsigned n = 1; n <= 50; n++)
        store(ctx, n, 1000, 100);
    for (int i = 0; i < 3; i++)
        if (pthread_create(&thread[i], NULL, count, ctx) != 0)
            give_up("pthread_create");
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    expect("C14", wrong == 0, "threads may look at once");
    expect("C14", SSL_CTX_sessions(ctx) == SSL_CTX_sessions(ctx), "it is one table");
    SSL_SESSION *session = numbered_session(51, 1000, 100);
    SSL_CTX_add_session(ctx, session);
    iterate(ctx, 51, 51 * 52 / 2, "one more");
    SSL_CTX_remove_session(ctx, session);
    iterate(ctx, 50, 50 * 51 / 2, "one less");
    SSL_SESSION_free(session);
    session = numbered_session(50, 1000, 200);
    SSL_CTX_add_session(ctx, session);
    expect("C14", lh_SSL_SESSION_retrieve(SSL_CTX_sessions(ctx), session) == session, "another one in place of one");
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
}

static int gone;

static void on_gone(void *parent, void *mark, CRYPTO_EX_DATA *data, int index, long l, void *p)
{
    (void)parent, (void)data, (void)index, (void)l, (void)p;
    gone += mark != NULL;
}

/* Sessions that have left the cache stay alive for who still reads an older table. */
static void table_keeps(void)
{
    SSL_CTX *ctx = server_context();
    int index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, on_gone);
    for (unsigned n = 1; n <= 3; n++) {
        SSL_SESSION *session = numbered_session(n, 1000, 100);
        SSL_SESSION_set_ex_data(session, index, &gone);
        SSL_CTX_add_session(ctx, session);
        SSL_SESSION_free(session);
    }
    OPENSSL_LHASH *sessions = (OPENSSL_LHASH *)SSL_CTX_sessions(ctx);
    flush(ctx, 0);
    better("C14", gone == 0 && OPENSSL_LH_num_items(sessions) == 3, "a table keeps its sessions");
    TALLY tally = {0, 0};
    if (gone == 0)
        OPENSSL_LH_doall_arg(sessions, add_up_generic, &tally);
    better("C14", tally.count == 3 && tally.sum == 6, "and is what it was");
    SSL_CTX_sessions(ctx);
    expect("C14", gone == 3, "until the next one");
    SSL_CTX_free(ctx);
}

static void versions(void)
{
    unsigned char id[32] = {7};
    SSL_CTX *ctx = server_context();
    SSL_SESSION *one = make_session(TLS1_2_VERSION, id, sizeof id, 1000, 100);
    SSL_SESSION *other = make_session(TLS1_3_VERSION, id, sizeof id, 1000, 100);
    SSL_CTX_add_session(ctx, one);
    SSL_CTX_add_session(ctx, other);
    LHASH_OF(SSL_SESSION) *sessions = SSL_CTX_sessions(ctx);
    expect("C14", lh_SSL_SESSION_num_items(sessions) == 2, "one id in two versions: both are listed");
    expect("C16", lh_SSL_SESSION_retrieve(sessions, one) == one && lh_SSL_SESSION_retrieve(sessions, other) == other,
           "and found");
    SSL_SESSION_free(one);
    SSL_SESSION_free(other);
    SSL_CTX_free(ctx);
}

static SSL_CTX *being_emptied;

static void remove_it(SSL_SESSION *session)
{
    SSL_CTX_remove_session(being_emptied, session);
}

/* Programs do empty a cache like this. */
static void removing_meanwhile(void)
{
    being_emptied = server_context();
    record_removals(being_emptied, 'A');
    for (unsigned n = 1; n <= 5; n++)
        store(being_emptied, n, 1000, 100);
    LHASH_OF(SSL_SESSION) *sessions = SSL_CTX_sessions(being_emptied);
    unsigned long load = OPENSSL_LH_get_down_load((OPENSSL_LHASH *)sessions);
    OPENSSL_LH_set_down_load((OPENSSL_LHASH *)sessions, 0); /* its manual asks for this */
    lh_SSL_SESSION_doall(sessions, remove_it);
    OPENSSL_LH_set_down_load((OPENSSL_LHASH *)SSL_CTX_sessions(being_emptied), load);
    expect("C14", removals() == 5 && SSL_CTX_sess_number(being_emptied) == 0,
           "doall may remove the sessions: %s", removed_sorted());
    SSL_CTX_free(being_emptied);
    forget_removals();
}

/* ssl is a connection of ctx and of this version. */
static void matching(int version, SSL_CTX *ctx, SSL *ssl, const char *what)
{
    unsigned char id[33] = {1, 2, 3}, other[32] = {1, 2, 4};
    expect("C14", SSL_has_matching_session_id(ssl, id, 32) == 0, "%s: nothing is stored", what);
    SSL_SESSION *session = make_session(version, id, 32, 1000, 100), *former = make_session(0x300, other, 32, 1000, 100);
    SSL_CTX_add_session(ctx, session);
    SSL_CTX_add_session(ctx, former);
    expect("C14", SSL_has_matching_session_id(ssl, id, 32) == 1, "%s: a stored id is seen", what);
    expect("C14", SSL_has_matching_session_id(ssl, id, 31) == 0, "%s: but not a part of it", what);
    expect("C14", SSL_has_matching_session_id(ssl, id, 33) == 0, "%s: nor one that is too long", what);
    expect("C14", SSL_has_matching_session_id(ssl, other, 32) == 0, "%s: nor that of another version", what);
    SSL_CTX_remove_session(ctx, session);
    expect("C14", SSL_has_matching_session_id(ssl, id, 32) == 0, "%s: a removed one is not", what);
    SSL_SESSION_free(session);
    SSL_SESSION_free(former);
}

/* Before its handshake a connection counts as one of the latest version. */
static void matching_latest(int version, const SSL_METHOD *method, const char *what)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    SSL *ssl = SSL_new(ctx);
    matching(version, ctx, ssl, what);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

/* 4.0 has no methods for one version only, so it takes a handshake. */
static void matching_negotiated(int version, const char *what)
{
    SSL_CTX *server = hs_server(version, WITH_TICKETS), *client = hs_client(version);
    hs_pair pair = hs_new(server, client, NULL);
    expect("C14", hs_drive(&pair) == HS_FULL, "%s: a connection", what);
    matching(version, server, pair.server, what);
    hs_close(&pair);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* Expired ones are still stored: this is about ids in use. */
static void switched(void)
{
    unsigned char id[32] = {9};
    SSL_CTX *a = SSL_CTX_new(TLS_server_method()), *b = SSL_CTX_new(TLS_server_method());
    SSL_SESSION *session = make_session(TLS1_3_VERSION, id, 32, 1000, 0);
    SSL *ssl = SSL_new(a), *of_b = SSL_new(b);
    SSL_CTX_add_session(a, session);
    SSL_SESSION_free(session);
    SSL_set_SSL_CTX(ssl, b);
    SSL_set_SSL_CTX(of_b, a);
    expect("C13", SSL_has_matching_session_id(ssl, id, 32) == 1, "after a switch the first context's cache is used");
    expect("C13", SSL_has_matching_session_id(of_b, id, 32) == 0, "and not the second's");
    SSL_set_SSL_CTX(ssl, a);
    expect("C13", SSL_has_matching_session_id(ssl, id, 32) == 1, "back again");
    SSL_set_SSL_CTX(ssl, b);
    SSL_CTX_free(a);
    expect("C13", SSL_has_matching_session_id(ssl, id, 32) == 1, "the connection keeps its first context alive");
    SSL_free(of_b);
    SSL_free(ssl);
    SSL_CTX_free(b);
}

int main(void)
{
    table();
    several_readers();
    table_keeps();
    versions();
    removing_meanwhile();
    matching_latest(TLS1_3_VERSION, TLS_server_method(), "TLS");
    matching_latest(DTLS1_2_VERSION, DTLS_server_method(), "DTLS");
    matching_negotiated(TLS1_2_VERSION, "TLS 1.2");
    switched();
    expect("C14", no_errors(), "no error is left in the queue");
    return done();
}
