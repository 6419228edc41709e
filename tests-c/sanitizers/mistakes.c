/* Are the tools that look for errors of memory really on? Without an argument all is done rightly, and says
 * so. With one the program makes that mistake where sslsweep itself comes upon it, and mistakes.t wants
 * to see the tool's report. */
#include "support.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define ID 32
#define WORD 8 /* memcheck lets a word be read that is there in part */
#define SESSIONS 20

static const char *mistake = "";

static int is(const char *name) { return strcmp(mistake, name) == 0; }

/* sslsweep reads the id that the program passes. */
static void look_up(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);
    unsigned char *id = malloc(is("overflow") ? ID - WORD : ID);
    if (ssl == NULL || id == NULL)
        give_up("no memory");
    if (!is("uninitialised"))
        memset(id, 7, is("overflow") ? ID - WORD : ID);
    if (is("use-after-free"))
        free(id);
    expect("C14", SSL_has_matching_session_id(ssl, id, ID) == 0, "no session has this id");
    if (!is("use-after-free"))
        free(id);
    SSL_free(ssl);
}

/* sslsweep's cache gives up the references that it took. (Several, since a stale copy of one pointer on
 * the stack would hide its session from the tool.) */
static void store_some(SSL_CTX *ctx)
{
    int stored = 0;
    for (unsigned n = 1; n <= SESSIONS; n++) {
        SSL_SESSION *session = numbered_session(n, 1000, 100);
        stored += SSL_CTX_add_session(ctx, session);
        if (!is("leak"))
            SSL_SESSION_free(session);
    }
    expect("C3", stored == SESSIONS, "%d sessions stored", stored);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        mistake = argv[1];
    SSL_CTX *ctx = server_context();
    store_some(ctx);
    look_up(ctx);
    flush(ctx, 0);
    expect("F2", SSL_CTX_sess_number(ctx) == 0, "all flushed");
    volatile int number = is("undefined") ? INT_MAX : 1;
    say("one more is %d", number + 1); /* what only the compiler can watch */
    SSL_CTX_free(ctx);
    return done();
}
