/* SSL_CTX_sessions once returned the table from before a flush: the number of changes, by which it knew whether its table
 * was of now, had come back to a former value when an emptied cache gave its storage up. */
#include "support.h"

enum { MANY = 20000 };

static unsigned long listed(SSL_CTX *ctx)
{
    return OPENSSL_LH_num_items((OPENSSL_LHASH *)SSL_CTX_sessions(ctx));
}

int main(void)
{
    static SSL_SESSION *session[MANY];
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, 0);
    for (unsigned n = 0; n < MANY; n++) {
        session[n] = numbered_session(n + 1, 1000, 100);
        SSL_CTX_add_session(ctx, session[n]);
    }
    expect("C14", listed(ctx) == MANY, "all are listed");
    if (!stock_cannot("C18", "an id that is changed while the session is stored breaks its table")) {
        for (unsigned n = 0; n < MANY; n++) {
            unsigned id = n + 10000000;
            SSL_SESSION_set1_id(session[n], (unsigned char *)&id, sizeof id);
        }
        better("C14", listed(ctx) == MANY, "all are listed under other ids");
    }
    flush(ctx, 0);
    expect("C14", listed(ctx) == 0 && SSL_CTX_sess_number(ctx) == 0, "after a flush of all none is");
    /* As many changes once more, of each kind. */
    for (unsigned n = 0; n < 100; n++)
        SSL_CTX_add_session(ctx, session[n]);
    expect("C14", listed(ctx) == 100, "what is stored then is");
    for (unsigned n = 0; n < 100; n++) {
        SSL_CTX_remove_session(ctx, session[n]);
        SSL_CTX_add_session(ctx, session[MANY - 1 - n]);
    }
    expect("C14", listed(ctx) == 100, "and what came in its place");
    int there = 1;
    for (unsigned n = 0; n < 100; n++)
        there &= OPENSSL_LH_retrieve((OPENSSL_LHASH *)SSL_CTX_sessions(ctx), session[MANY - 1 - n]) == session[MANY - 1 - n];
    expect("C14", there, "each of it");
    for (unsigned n = 0; n < MANY; n++)
        SSL_SESSION_free(session[n]);
    SSL_CTX_free(ctx);
    return done();
}
