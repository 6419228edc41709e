/* Ids at and beyond the edges of what is allowed, and versions that nobody speaks. */
#include "support.h"

#include <limits.h>
#include <string.h>

static void lengths(void)
{
    unsigned char id[64];
    SSL_CTX *ctx = server_context();
    memset(id, 1, sizeof id);
    record_removals(ctx, 'A');

    SSL_SESSION *session = make_session(TLS1_2_VERSION, id, 32, 1000, 100);
    expect("C4", SSL_SESSION_set1_id(session, id, 33) == 0, "an id of 33 bytes is refused");
    expect("C4", ERR_GET_REASON(ERR_peek_error()) == SSL_R_SSL_SESSION_ID_TOO_LONG, "with libssl's own error");
    ERR_clear_error();
    expect("C4", SSL_SESSION_set1_id(session, id, UINT_MAX) == 0, "so is one of 2^32 - 1");
    ERR_clear_error();
    unsigned length = 0;
    SSL_SESSION_get_id(session, &length);
    expect("C4", length == 32, "and the former stays");
    SSL_SESSION_free(session);

    for (unsigned n = 0; n <= 32; n++) {
        session = make_session(TLS1_2_VERSION, id, n, 1000, 100 + (long)n);
        SSL_CTX_add_session(ctx, session);
        SSL_SESSION_free(session);
    }
    expect("C4", SSL_CTX_sess_number(ctx) == 33, "every length from 0 to 32 is a key");
    flush(ctx, 1117);
    expect("F1", removals() == 17, "flushed by their expiry");
    int found = 0;
    for (unsigned n = 17; n <= 32; n++) {
        session = make_session(TLS1_2_VERSION, id, n, 1, 1);
        found += SSL_CTX_remove_session(ctx, session);
        SSL_SESSION_free(session);
    }
    expect("C5", found == 16 && SSL_CTX_sess_number(ctx) == 0, "removed by their keys");
    SSL_CTX_free(ctx);
    forget_removals();
}

static void versions(void)
{
    const int all[] = {0, 1, -1, 0x2ff, 0x300, 0x304, 0x305, 0xfeff, 0xfefd, 0x100, INT_MAX, INT_MIN};
    const int count = sizeof all / sizeof *all;
    unsigned char id[32] = {3};
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    int stored = 0, found = 0;
    for (int i = 0; i < count; i++) {
        SSL_SESSION *session = make_session(all[i], id, sizeof id, 1000, 100);
        stored += SSL_CTX_add_session(ctx, session);
        SSL_SESSION_free(session);
    }
    expect("C4", stored == count && SSL_CTX_sess_number(ctx) == count, "every number is a version");
    for (int i = 0; i < count; i += 2) {
        SSL_SESSION *session = make_session(all[i], id, sizeof id, 1, 1);
        found += SSL_CTX_remove_session(ctx, session);
        SSL_SESSION_free(session);
    }
    expect("C5", found == count / 2, "and removed as such");
    flush(ctx, 1101);
    expect("F1", SSL_CTX_sess_number(ctx) == 0, "and flushed");
    SSL_CTX_free(ctx);
    forget_removals();
}

/* An id of zeros, and ids of zeros of different lengths. */
static void zeros(void)
{
    unsigned char id[32] = {0};
    SSL_CTX *ctx = server_context();
    for (unsigned n = 1; n <= 32; n++) {
        SSL_SESSION *session = make_session(TLS1_2_VERSION, id, n, 1000, 100);
        SSL_CTX_add_session(ctx, session);
        SSL_SESSION_free(session);
    }
    expect("C4", SSL_CTX_sess_number(ctx) == 32, "zeros of different lengths are different ids");
    SSL_CTX_free(ctx);
}

int main(void)
{
    lengths();
    versions();
    zeros();
    expect("C4", no_errors(), "no other error is left in the queue");
    return done();
}
