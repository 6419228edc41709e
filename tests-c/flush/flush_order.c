/* F6: earliest expiry first, among equals first stored first. Stock 3.0 to 3.5 keep a list in this
 * order too; 1.1.1 goes through its hash table, and 4.0 calls back in reverse. */
#include "support.h"

#include <stdio.h>
#include <string.h>

static void check(const char *wanted, const char *what)
{
    better("F6", strcmp(removed(), wanted) == 0, "%s: %s", what, wanted);
    if (strcmp(removed(), wanted) != 0)
        printf("# %s\n", removed());
    forget_removals();
}

static void by_expiry(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    store(ctx, 1, 1000, 500);
    store(ctx, 2, 1000, 100);
    store(ctx, 3, 1300, 100);
    store(ctx, 4, 900, 600);
    store(ctx, 5, 1000, 99);
    store(ctx, 6, 1000, 100);
    flush(ctx, 1401);
    check("A5 A2 A6 A3", "expired only");
    flush(ctx, 0);
    check("A1 A4", "the others by flush(0)");
    SSL_CTX_free(ctx);
}

static void equals(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    for (unsigned n = 1; n <= 9; n++)
        store(ctx, n, 1000, n % 3 ? 100 : 50);
    flush(ctx, 0);
    check("A3 A6 A9 A1 A2 A4 A5 A7 A8", "equals: first stored first");
    SSL_CTX_free(ctx);
}

/* A session that is given its expiry again is the last of its equals: it was stored there last. */
static void moved(void)
{
    SSL_CTX *ctx = server_context();
    SSL_SESSION *session[4];
    record_removals(ctx, 'A');
    for (unsigned n = 1; n <= 3; n++) {
        session[n] = numbered_session(n, 1000, 100);
        SSL_CTX_add_session(ctx, session[n]);
    }
    SSL_SESSION_set_timeout(session[1], 300);
    SSL_SESSION_set_time(session[3], 900);
    flush(ctx, 0);
    check("A3 A2 A1", "after a change of expiry");

    for (unsigned n = 1; n <= 3; n++)
        SSL_SESSION_free(session[n]);
    SSL_CTX_free(ctx);
}

static void at_the_end(void)
{
    SSL_CTX *ctx = server_context();
    record_removals(ctx, 'A');
    store(ctx, 1, 1000, 300);
    store(ctx, 2, 1000, 100);
    store(ctx, 3, 1000, 200);
    SSL_CTX_free(ctx);
    check("A2 A3 A1", "the end of a context has the same order");
}

/* Far more than any batch, in an order that is neither that of storing nor that of ids. */
static void many(void)
{
    const unsigned count = slowly() ? 300 : 3000;
    SSL_CTX *ctx = server_context();
    int in_order = 1;
    record_removals(ctx, 'A');
    for (unsigned n = 1; n <= count; n++)
        store(ctx, n, 1000, 1 + (n * 7919u) % 613u);
    flush(ctx, 0);
    for (size_t i = 1; i < removals(); i++) {
        unsigned a = removal_at(i - 1).session, b = removal_at(i).session;
        unsigned long expiry_a = (a * 7919u) % 613u, expiry_b = (b * 7919u) % 613u;
        if (expiry_a > expiry_b || (expiry_a == expiry_b && a > b))
            in_order = 0;
    }
    better("F6", removals() == count && in_order, "%s of sessions keep the order", "thousands");
    forget_removals();
    SSL_CTX_free(ctx);
}

int main(void)
{
    by_expiry();
    equals();
    moved();
    at_the_end();
    many();
    return done();
}
