/* C18: sessions without an id, and sessions whose id or version is changed while they are stored, are
 * evicted, flushed and expire again like others, and are in nobody's way. */
#include "support.h"

#include <string.h>

static int gone, gone_index;

static void on_gone(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    gone += ptr != NULL;
}

static SSL_SESSION *watched(SSL_SESSION *session, unsigned n)
{
    number_session(session, n);
    SSL_SESSION_set_ex_data(session, gone_index, &gone);
    return session;
}

static SSL_SESSION *without_id(int version, unsigned n, long timeout)
{
    return watched(make_session(version, "", 0, 1000, timeout), n);
}

static SSL_CTX *ctx;

static void begin(void)
{
    ctx = server_context();
    record_removals(ctx, 'A');
    forget_removals();
    gone = 0;
}

static void zero_length(void)
{
    begin();
    SSL_SESSION *session = without_id(TLS1_2_VERSION, 1, 100);
    expect("C18", SSL_CTX_add_session(ctx, session) == 1, "a session without an id can be stored");
    expect("C18", SSL_CTX_add_session(ctx, session) == 0 && SSL_CTX_sess_number(ctx) == 1, "once");
    store(ctx, 2, 1000, 50);
    store(ctx, 3, 1000, 300);
    expect("C18", SSL_CTX_remove_session(ctx, session) == 0 && SSL_CTX_sess_number(ctx) == 3, "not removed");
    flush(ctx, 1100);
    expect("C18", strcmp(removed(), "A2") == 0, "it does not expire early: %s", removed());
    flush(ctx, 1101);
    expect("C18", strcmp(removed(), "A2 A1") == 0, "but in its turn: %s", removed());
    expect("C18", !SSL_SESSION_is_resumable(session), "it cannot be resumed");
    SSL_CTX_add_session(ctx, session);
    SSL_SESSION_set_time(session, 3000);
    flush(ctx, 2000);
    expect("C18", strcmp(removed(), "A2 A1 A3") == 0, "it can expire later: %s", removed());
    SSL_SESSION_free(session);
    flush(ctx, 0);
    expect("C18", gone == 1 && SSL_CTX_sess_number(ctx) == 0, "and be flushed");
    SSL_CTX_free(ctx);

    begin();
    SSL_SESSION *a = without_id(TLS1_2_VERSION, 1, 100), *b = without_id(TLS1_2_VERSION, 2, 100),
                *c = without_id(TLS1_3_VERSION, 3, 100);
    SSL_CTX_add_session(ctx, a);
    SSL_CTX_add_session(ctx, b);
    SSL_CTX_add_session(ctx, c);
    expect("C18", SSL_CTX_sess_number(ctx) == 2, "no id is a key like others: one for each version");
    SSL_SESSION_free(a);
    SSL_SESSION_free(b);
    SSL_SESSION_free(c);
    SSL_CTX_free(ctx);
    expect("C18", gone == 3 && removals() == 2, "all leave");
}

/* Stock cannot evict it: while it is the first to go, the cache grows without bound. */
static void zero_length_eviction(void)
{
    begin();
    SSL_SESSION *session = without_id(TLS1_2_VERSION, 1, 1);
    SSL_CTX_sess_set_cache_size(ctx, 3);
    SSL_CTX_add_session(ctx, session);
    SSL_SESSION_free(session);
    for (unsigned n = 2; n <= 10; n++)
        store(ctx, n, 1000, 100 + (long)n);
    better("C18", SSL_CTX_sess_number(ctx) == 3, "it makes room like any other");
    better("C18", gone == 1 && removals() == 7 && removal_at(0).session == 1, "in its turn");
    better("C18", SSL_CTX_sess_cache_full(ctx) == 7, "and is counted");
    SSL_CTX_free(ctx);
}

static void rename_it(SSL_SESSION *session, unsigned char to, unsigned length)
{
    unsigned char id[32];
    memset(id, to, sizeof id);
    SSL_SESSION_set1_id(session, id, length);
}

static void give_version(SSL_SESSION *session, unsigned char to, unsigned length)
{
    (void)length;
    SSL_SESSION_set_protocol_version(session, 0x300 + to % 5);
}

/* Without their ids only the versions tell sessions apart. */
static void lose_id(SSL_SESSION *session, unsigned char to, unsigned length)
{
    SSL_SESSION_set_protocol_version(session, 0x300 + to);
    SSL_SESSION_set1_id(session, &to, length);
}

static void changed(void (*change)(SSL_SESSION *, unsigned char, unsigned), unsigned length, const char *what)
{
    SSL_SESSION *session[11];
    begin();
    for (unsigned n = 1; n <= 10; n++) {
        session[n] = watched(numbered_session(n, 1000, 100 * (long)n), n);
        SSL_CTX_add_session(ctx, session[n]);
    }
    for (unsigned n = 1; n <= 9; n += 2)
        change(session[n], (unsigned char)(4 * n), length);
    better("C18", SSL_CTX_sess_number(ctx) == 10, "%s: still stored", what);
    flush(ctx, 1100);
    better("C18", removals() == 0, "%s: not early", what);
    flush(ctx, 1301);
    better("C18", strcmp(removed(), "A1 A2 A3") == 0, "%s: flushed in order: %s", what, removed());
    SSL_SESSION_set_timeout(session[5], 5000);
    SSL_SESSION_set_time(session[7], 100);
    flush(ctx, 1400);
    better("C18", strcmp(removed(), "A1 A2 A3 A7") == 0, "%s: expiring anew: %s", what, removed());
    SSL_CTX_sess_set_cache_size(ctx, 3);
    store(ctx, 20, 1000, 9000);
    store(ctx, 21, 1000, 9000);
    better("C18", SSL_CTX_sess_number(ctx) == 3, "%s: evicted: %s", what, removed());
    better("C18", !SSL_SESSION_is_resumable(session[1]) && !SSL_SESSION_is_resumable(session[3]),
           "%s: what was flushed cannot be resumed", what);
    for (int n = 1; n <= 10; n++)
        SSL_SESSION_free(session[n]);
    flush(ctx, 0);
    better("C18", SSL_CTX_sess_number(ctx) == 0 && gone == 10, "%s: none is left", what);
    SSL_CTX_free(ctx);
}

/* Under its new key it may be added, meet others, or be removed: nothing is lost, nothing freed twice. */
static void changed_and_used(void)
{
    begin();
    SSL_SESSION *a = watched(numbered_session(1, 1000, 100), 1), *b = watched(numbered_session(2, 1000, 200), 2);
    SSL_CTX_add_session(ctx, a);
    SSL_CTX_add_session(ctx, b);
    unsigned length;
    unsigned char id[2][32];
    memcpy(id[0], SSL_SESSION_get_id(a, &length), 32);
    memcpy(id[1], SSL_SESSION_get_id(b, &length), 32);
    SSL_SESSION_set1_id(a, id[1], 32);
    SSL_SESSION_set1_id(b, id[0], 32);
    SSL_CTX_add_session(ctx, a);
    SSL_CTX_add_session(ctx, b);
    SSL_CTX_remove_session(ctx, a);
    SSL_CTX_add_session(ctx, a);
    rename_it(a, 7, 32);
    SSL_CTX_add_session(ctx, a);
    rename_it(a, 8, 0);
    SSL_CTX_add_session(ctx, a);
    SSL_CTX_remove_session(ctx, b);
    SSL_SESSION_free(a);
    SSL_SESSION_free(b);
    flush(ctx, 0);
    better("C18", SSL_CTX_sess_number(ctx) == 0 && gone == 2, "swapped, added, removed: nothing is lost");
    SSL_CTX_free(ctx);
    better("C18", gone == 2, "nor dropped twice");
}

/* Two stored sessions come to have the same key: as in adding, the later one stays. */
static void changed_to_one_key(void)
{
    SSL_SESSION *session[6];
    begin();
    for (unsigned n = 1; n <= 5; n++) {
        session[n] = watched(numbered_session(n, 1000, 100 * (long)n), n);
        SSL_CTX_add_session(ctx, session[n]);
    }
    for (unsigned n = 1; n <= 3; n++)
        rename_it(session[n], 9, 32);
    better("C18", SSL_CTX_sess_number(ctx) == 3, "the same id for three: one of them is stored");
    flush(ctx, 5000);
    better("C18", strcmp(removed(), "A3 A4 A5") == 0, "the last: %s", removed());
    better("C18", SSL_SESSION_is_resumable(session[1]), "the others left as replaced ones do");
    for (int n = 1; n <= 5; n++)
        SSL_SESSION_free(session[n]);
    better("C18", gone == 5, "and none is lost");
    SSL_CTX_free(ctx);
}

int main(void)
{
    gone_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, on_gone);
    zero_length();
    zero_length_eviction();
    if (!stock_cannot("C18", "its table no longer finds such a session, so it frees what it still holds")) {
        changed(rename_it, 32, "another id");
        changed(rename_it, 5, "a short id");
        changed(give_version, 0, "another version");
        changed(lose_id, 0, "no id any more");
        changed_to_one_key();
        changed_and_used();
    }
    expect("C18", no_errors(), "no error is left in the queue");
    return done();
}
