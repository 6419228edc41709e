/* C14, C18: SSL_CTX_sessions lists every stored session that has no id.
 *
 * The story, found by the fuzzer of API calls: the table was told that sessions are the same when their version and
 * id are, as libssl tells its own. But several sessions without an id can be stored here, where stock has one at most,
 * so one of them took the others' place in the table. */
#include "support.h"

#include <openssl/lhash.h>

static unsigned count, sum;

static void add_up(void *session)
{
    count++;
    sum += session_number(session);
}

int main(void)
{
    if (!stock_cannot("C18", "a session whose id changes while it is stored")) {
        SSL_CTX *ctx = server_context();
        SSL_SESSION *session[3];
        for (unsigned n = 0; n < 3; n++) {
            session[n] = numbered_session(n + 1, 1000, 100);
            SSL_CTX_add_session(ctx, session[n]);
        }
        for (unsigned n = 0; n < 3; n++)
            SSL_SESSION_set1_id(session[n], (const unsigned char *)"", 0);
        better("C18", SSL_CTX_sess_number(ctx) == 3, "all stay stored");
        OPENSSL_LHASH *table = (OPENSSL_LHASH *)SSL_CTX_sessions(ctx);
        better("C14", OPENSSL_LH_num_items(table) == 3, "the table has %lu", OPENSSL_LH_num_items(table));
        OPENSSL_LH_doall(table, add_up);
        better("C14", count == 3, "%u are listed", count);
        for (unsigned n = 0; n < 3; n++)
            better("C14", OPENSSL_LH_retrieve(table, session[n]) == session[n], "each is found in it");
        SSL_CTX_free(ctx);
        for (unsigned n = 0; n < 3; n++)
            SSL_SESSION_free(session[n]);
    }
    expect("C14", no_errors(), "no error is left in the queue");
    return done();
}
