/* SNI: a connection may move to another context, its cache stays that of the context given to SSL_new. */
#include "handshake.h"

static SSL_CTX *first, *second, *third;
static SSL_CTX *path[3]; /* what the servername callback switches to, in turn */
static int switches;

static int on_name(SSL *ssl, int *alert, void *arg)
{
    (void)alert, (void)arg;
    for (int i = 0; i < 3; i++) {
        if (path[i] != NULL && SSL_set_SSL_CTX(ssl, path[i]) != NULL)
            switches++;
    }
    return SSL_TLSEXT_ERR_OK;
}

static int on_hello(SSL *ssl, int *alert, void *arg)
{
    on_name(ssl, alert, arg);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static void new_contexts(int version)
{
    first = hs_server(version, WITHOUT_TICKETS);
    second = hs_server(version, WITHOUT_TICKETS);
    third = hs_server(version, WITHOUT_TICKETS);
    SSL_CTX_set_tlsext_servername_callback(first, on_name);
    path[0] = path[1] = path[2] = NULL;
    switches = 0;
    record_removals(first, 'A');
    record_removals(second, 'B');
    record_removals(third, 'C');
    forget_removals();
}

static void free_contexts(void)
{
    SSL_CTX_free(first);
    SSL_CTX_free(second);
    SSL_CTX_free(third);
}

static void numbers(const char *when)
{
    say("%s: first %ld, second %ld, third %ld", when, SSL_CTX_sess_number(first),
        SSL_CTX_sess_number(second), SSL_CTX_sess_number(third));
}

static hs_pair named(SSL_CTX *client, SSL_SESSION *resume)
{
    hs_pair pair = hs_new(first, client, resume);
    SSL_set_tlsext_host_name(pair.client, "other.example");
    return pair;
}

static hs_result visit(SSL_CTX *client, SSL_SESSION *resume, SSL_SESSION **next)
{
    hs_pair pair = named(client, resume);
    hs_result result = hs_drive(&pair);
    if (next != NULL)
        *next = SSL_get1_session(pair.client);
    hs_close(&pair);
    return result;
}

/* ways: 0 the servername callback, 1 the client hello callback, which comes before the lookup */
static void switching(int version, int way, int hops)
{
    SSL_CTX *client = hs_client(version);
    SSL_SESSION *session;
    int stored = version == TLS1_2_VERSION ? 1 : 2;
    new_contexts(version);
    if (way == 1) {
        SSL_CTX_set_tlsext_servername_callback(first, NULL);
        SSL_CTX_set_client_hello_cb(first, on_hello, NULL);
    }
    path[0] = second;
    path[1] = hops > 1 ? third : NULL;
    path[2] = hops > 2 ? first : NULL;

    say("TLS 1.%d, %s, %d hops", version - TLS1_VERSION, way ? "hello" : "name", hops);
    expect("C13", visit(client, NULL, &session) == HS_FULL && switches == hops, "full, switched");
    expect("C13", SSL_CTX_sess_number(first) == stored && SSL_CTX_sess_number(second) == 0
           && SSL_CTX_sess_number(third) == 0, "stored in the first context");
    expect("C13", visit(client, session, NULL) == HS_RESUMED, "and found there");
    say("first: %s", hs_counters(first));
    say("second: %s", hs_counters(second));

    flush(second, 0);
    flush(third, 0);
    expect("F3", visit(client, session, NULL) == HS_RESUMED, "flushing the others leaves it");
    flush(first, 0);
    expect("F4", removals() > 0 && removal_at(0).ctx == first, "the callback names the first context");
    expect("F2", visit(client, session, NULL) == HS_FULL, "flushing the first removes it");
    numbers("then");
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    free_contexts();
}

/* A connection that is lost takes its session out of the first context's cache. */
static void lost(void)
{
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    new_contexts(TLS1_2_VERSION);
    path[0] = second;
    hs_pair pair = named(client, NULL);
    hs_drive(&pair);
    number_session(SSL_get_session(pair.server), 1);
    numbers("connected");
    hs_drop(&pair);
    numbers("lost");
    expect("C13", removals() == 1 && removal_at(0).ctx == first, "removed from the first: %s", removed());
    SSL_CTX_free(client);
    free_contexts();
}

static void back_to_the_first(void)
{
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    new_contexts(TLS1_2_VERSION);
    hs_pair pair = hs_new(first, client, NULL);
    expect("C13", SSL_set_SSL_CTX(pair.server, second) == second, "switched");
    expect("C13", SSL_get_SSL_CTX(pair.server) == second, "and read back");
    expect("C13", SSL_set_SSL_CTX(pair.server, NULL) == first, "NULL means the first context");
    hs_drive(&pair);
    hs_close(&pair);
    numbers("back");
    SSL_CTX_free(client);
    free_contexts();
}

/* Contexts given up by the program live on in the connection. */
static void freed_contexts(void)
{
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    new_contexts(TLS1_2_VERSION);
    hs_pair pair = hs_new(first, client, NULL);
    SSL_set_SSL_CTX(pair.server, second);
    SSL_CTX_free(second);
    SSL_CTX_free(first);
    expect("C13", hs_drive(&pair) == HS_FULL, "both contexts freed, the handshake goes on");
    number_session(SSL_get_session(pair.server), 1);
    expect("C13", SSL_CTX_sess_number(first) == 1, "stored in the first");
    expect("C15", removals() == 0, "nothing removed yet");
    hs_close(&pair);
    expect("C15", removals() == 1 && removal_at(0).session == 1, "the last reference removes it: %s",
           removed());
    SSL_CTX_free(third);
    SSL_CTX_free(client);
}

/* What is known of a connection must not stick to its address, which the next one gets. */
static void reused_addresses(void)
{
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    int wrong = 0;
    new_contexts(TLS1_2_VERSION);
    for (int i = 0; i < 30; i++) {
        hs_pair pair = hs_new(i % 3 == 2 ? second : first, client, NULL);
        long before = SSL_CTX_sess_number(i % 3 == 2 ? second : first);
        if (i % 3 == 0)
            SSL_set_SSL_CTX(pair.server, second);
        hs_drive(&pair);
        wrong += SSL_CTX_sess_number(i % 3 == 2 ? second : first) != before + 1;
        hs_close(&pair);
    }
    expect("C13", wrong == 0, "connections one after the other: %d wrong", wrong);
    numbers("after 30");
    SSL_CTX_free(client);
    free_contexts();
}

static void duplicates(void)
{
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    new_contexts(TLS1_2_VERSION);
    SSL *original = SSL_new(first);
    SSL_set_accept_state(original);
    SSL_set_SSL_CTX(original, second);
    SSL *copy = SSL_dup(original);
    expect("C13", copy != NULL && copy != original, "a fresh SSL is copied");

    /* SSL_dup makes the copy with SSL_new on the context that is current. */
    hs_pair pair = hs_new(first, client, NULL);
    BIO *from = SSL_get_rbio(pair.server), *to = SSL_get_wbio(pair.server);
    BIO_up_ref(from);
    BIO_up_ref(to);
    SSL_set_bio(copy, from, to);
    SSL_free(pair.server);
    pair.server = copy;
    expect("C13", hs_drive(&pair) == HS_FULL, "the copy works");
    hs_close(&pair);
    numbers("by the copy");

    pair = hs_new(first, client, NULL);
    from = SSL_get_rbio(pair.server), to = SSL_get_wbio(pair.server);
    BIO_up_ref(from);
    BIO_up_ref(to);
    SSL_set_bio(original, from, to);
    SSL_free(pair.server);
    pair.server = original;
    expect("C13", hs_drive(&pair) == HS_FULL, "the original works");
    hs_close(&pair);
    numbers("by the original");
    SSL_CTX_free(client);
    free_contexts();
}

/* Stock flushes by the first context's good handshakes, which count in the second: never here. */
static void automatic_flush(void)
{
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    new_contexts(TLS1_2_VERSION);
    path[0] = second;
    store(first, 1, 1000, 100);
    for (int i = 0; i < 256; i++)
        visit(client, NULL, NULL);
    better("C8", removals() == 1 && removal_at(0).session == 1, "expired sessions leave by themselves");
    flush(first, time(NULL));
    say("removed at last: %s", removed());
    numbers("after 256");
    SSL_CTX_free(client);
    free_contexts();
}

/* A connection that libssl makes itself, perhaps at the address of one that was switched to its context and has ended: its
 * cache is its own context's. */
static void begun_inside_libssl(void)
{
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    int right = 0;
    new_contexts(TLS1_2_VERSION);
    path[0] = second;
    for (int i = 0; i < 5; i++) {
        visit(client, NULL, NULL);
        long before = SSL_CTX_sess_number(second);
        hs_pair pair = hs_new(second, client, NULL);
        BIO *in = SSL_get_rbio(pair.server), *out = SSL_get_wbio(pair.server), *holder;
        SSL *ssl = NULL;
        BIO_up_ref(in);
        BIO_up_ref(out);
        SSL_free(pair.server);
        holder = BIO_new_ssl(second, 0);
        BIO_get_ssl(holder, &ssl);
        SSL_up_ref(ssl);
        SSL_set_bio(ssl, in, out);
        SSL_set_accept_state(ssl);
        pair.server = ssl;
        right += hs_drive(&pair) == HS_FULL && SSL_CTX_sess_number(second) == before + 1;
        hs_close(&pair);
        BIO_free(holder);
    }
    ERR_clear_error(); /* of shutting down twice */
    expect("C13", right == 5, "a connection made by BIO_new_ssl stores in its own context: %d", right);
    SSL_CTX_free(client);
    free_contexts();
}

int main(void)
{
    limit_time();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
        for (int way = 0; way < 2; way++)
            for (int hops = 1; hops <= 3; hops++)
                switching(version, way, hops);
    lost();
    back_to_the_first();
    freed_contexts();
    reused_addresses();
    duplicates();
    automatic_flush();
    begun_inside_libssl();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
