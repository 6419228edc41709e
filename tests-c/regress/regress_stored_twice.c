/* C3, C18, F4: a session that lost its id while it was stored, and is stored again, is stored once.
 *
 * The story, found by the fuzzer of API calls: a session without an id is found by its key like any other when it is
 * stored so, and by what it is when it has lost its id in the cache, or all of those would be one. Storing such a
 * session again looked for the former only, and stored it a second time; a flush then called back twice. */
#include "support.h"

#include <string.h>

int main(void)
{
    if (!stock_cannot("C18", "a session whose id changes while it is stored")) {
        SSL_CTX *ctx = server_context();
        record_removals(ctx, 'A');
        SSL_SESSION *session = numbered_session(1, 1000, 100), *other = numbered_session(2, 1000, 200);
        SSL_CTX_add_session(ctx, session);
        SSL_CTX_add_session(ctx, other);
        SSL_SESSION_set1_id(session, (const unsigned char *)"", 0);
        SSL_SESSION_set1_id(other, (const unsigned char *)"", 0);
        better("C3", SSL_CTX_add_session(ctx, session) == 0, "this object is stored already");
        better("C3", SSL_CTX_add_session(ctx, other) == 0, "and the other one");
        better("C18", SSL_CTX_sess_number(ctx) == 2, "each once");

        /* It expires in its turn, and not twice. */
        SSL_SESSION_set_timeout(session, 300);
        better("C3", SSL_CTX_add_session(ctx, session) == 0, "with another expiry as well");
        flush(ctx, 1250);
        better("F4", strcmp(removed(), "A2") == 0, "the earlier leaves: %s", removed());
        SSL_CTX_free(ctx);
        better("F4", strcmp(removed(), "A2 A1") == 0, "each is called back once: %s", removed());
        SSL_SESSION_free(session);
        SSL_SESSION_free(other);
    }
    expect("C18", no_errors(), "no error is left in the queue");
    return done();
}
