/* Session ids made by the program: libssl's check for conflicts must see the stored sessions. */
#include "handshake.h"
#include <string.h>

static struct {
    unsigned char id[SSL_MAX_SSL_SESSION_ID_LENGTH];
    unsigned length;
    int calls, answer, matching;
} generator;

static int generate(SSL *ssl, unsigned char *id, unsigned *length)
{
    generator.calls++;
    if (*length != SSL_MAX_SSL_SESSION_ID_LENGTH)
        give_up("room for %u bytes", *length);
    memcpy(id, generator.id, sizeof generator.id);
    generator.matching = SSL_has_matching_session_id(ssl, id, generator.length);
    *length = generator.length;
    return generator.answer;
}

/* What the documentation recommends: try until the id is free. */
static int generate_free(SSL *ssl, unsigned char *id, unsigned *length)
{
    generator.calls++;
    memset(id, 0, *length);
    do
        id[0]++;
    while (SSL_has_matching_session_id(ssl, id, *length));
    return 1;
}

static void next_id(unsigned char byte, unsigned length)
{
    memset(generator.id, byte, sizeof generator.id);
    generator.length = length;
    generator.answer = 1;
    generator.calls = generator.matching = 0;
}

static SSL_SESSION *first_with_id(SSL_CTX *server, SSL_CTX *client, const char *what)
{
    unsigned length;
    SSL_SESSION *session = hs_first(server, client);
    const unsigned char *id = SSL_SESSION_get_id(session, &length);
    expect("C14", length == generator.length && memcmp(id, generator.id, length) == 0, "%s: the id is ours",
           what);
    expect("C14", !generator.matching, "%s: nothing matched before", what);
    return session;
}

static void fails(SSL_CTX *server, SSL_CTX *client, int reason, const char *what)
{
    hs_pair pair = hs_new(server, client, NULL);
    expect("C14", hs_drive(&pair) == HS_FAILED && pair.server_error == reason, "%s fails the handshake", what);
    say("reason %d, matching %d", pair.server_error, generator.matching);
    hs_close(&pair);
}

static void of_the_context(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    record_removals(server, 'A');
    forget_removals();
    expect("C14", SSL_CTX_set_generate_session_id(server, generate) == 1, "set");
    next_id(1, 32);
    SSL_SESSION *one = first_with_id(server, client, "first");
    expect("C9", hs_resume(server, client, one) == HS_RESUMED, "it resumes");
    fails(server, client, SSL_R_SSL_SESSION_ID_CONFLICT, "the same id again");
    expect("C14", SSL_CTX_sess_number(server) == 1 && removals() == 0, "nothing else has changed");
    expect("C14", hs_resume(server, client, one) == HS_RESUMED, "the first still resumes");

    next_id(1, 8);
    SSL_SESSION *two = first_with_id(server, client, "a short one with the same bytes");
    expect("C4", SSL_CTX_sess_number(server) == 2, "is another session");
    expect("C9", hs_resume(server, client, two) == HS_RESUMED, "and resumes");
    fails(server, client, SSL_R_SSL_SESSION_ID_CONFLICT, "the short one again");

    next_id(3, 0);
    fails(server, client, SSL_R_SSL_SESSION_ID_HAS_BAD_LENGTH, "no length");
    next_id(3, 32);
    generator.answer = 0;
    fails(server, client, SSL_R_SSL_SESSION_ID_CALLBACK_FAILED, "an answer of 0");

    /* Another version's session with the same id is no conflict. */
    next_id(4, 32);
    SSL_SESSION *alien = make_session(TLS1_3_VERSION, generator.id, 32, time(NULL), 300);
    expect("C4", SSL_CTX_add_session(server, alien) == 1, "a TLS 1.3 session by hand");
    SSL_SESSION_free(alien);
    SSL_SESSION *four = first_with_id(server, client, "a TLS 1.2 session with its id");
    next_id(5, 32);
    SSL_SESSION *by_hand = make_session(TLS1_2_VERSION, generator.id, 32, time(NULL), 300);
    expect("C3", SSL_CTX_add_session(server, by_hand) == 1, "a TLS 1.2 session by hand");
    fails(server, client, SSL_R_SSL_SESSION_ID_CONFLICT, "its id");
    expect("C5", SSL_CTX_remove_session(server, by_hand) == 1, "removed");
    SSL_SESSION_free(by_hand);
    next_id(5, 32);
    SSL_SESSION *five = first_with_id(server, client, "then the id is free");

    say("callbacks: %zu, %s", removals(), hs_counters(server));
    flush(server, 0);
    expect("F2", SSL_CTX_sess_number(server) == 0, "flushed");
    next_id(1, 32);
    SSL_SESSION *again = first_with_id(server, client, "after the flush");
    say("callbacks: %zu, %s", removals(), hs_counters(server));

    SSL_CTX_set_generate_session_id(server, NULL);
    hs_connect(server, client, NULL, NULL);
    expect("C14", generator.calls == 1 && SSL_CTX_sess_number(server) == 2,
           "without generator: libssl's own ids");

    SSL_CTX_set_generate_session_id(server, generate_free);
    for (int i = 0; i < 5; i++)
        hs_connect(server, client, NULL, NULL);
    expect("C14", SSL_CTX_sess_number(server) == 7, "a generator that asks for matches never conflicts");
    SSL_SESSION *all[] = {one, two, four, five, again};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        SSL_SESSION_free(all[i]);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void of_the_connection(void)
{
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    for (int i = 0; i < 2; i++) {
        hs_pair pair = hs_new(server, client, NULL);
        next_id(9, 32);
        SSL_set_generate_session_id(pair.server, generate);
        hs_result result = hs_drive(&pair);
        expect("C14", result == (i ? HS_FAILED : HS_FULL) && generator.calls == 1,
               "set on a connection, time %d", i + 1);
        expect("C14", pair.server_error == (i ? SSL_R_SSL_SESSION_ID_CONFLICT : 0), "reason %d",
               pair.server_error);
        hs_close(&pair);
    }

    /* SSL_dup copies the generator. */
    for (int i = 0; i < 2; i++) {
        hs_pair pair = hs_new(server, client, NULL);
        next_id(10, 32);
        SSL_set_generate_session_id(pair.server, generate);
        SSL *copy = SSL_dup(pair.server);
        BIO *from = SSL_get_rbio(pair.server), *to = SSL_get_wbio(pair.server);
        BIO_up_ref(from);
        BIO_up_ref(to);
        SSL_set_bio(copy, from, to);
        SSL_free(pair.server);
        pair.server = copy;
        hs_result result = hs_drive(&pair);
        expect("C14", result == (i ? HS_FAILED : HS_FULL) && generator.calls == 1, "on a copy, time %d", i + 1);
        expect("C14", pair.server_error == (i ? SSL_R_SSL_SESSION_ID_CONFLICT : 0), "reason %d",
               pair.server_error);
        hs_close(&pair);
    }

    /* Taken away from a connection, the context's own counts; a connection inherits it at its birth. */
    SSL_CTX_set_generate_session_id(server, generate);
    hs_pair pair = hs_new(server, client, NULL);
    SSL_CTX_set_generate_session_id(server, NULL);
    next_id(11, 32);
    hs_drive(&pair);
    say("inherited: %d calls", generator.calls);
    hs_close(&pair);
    SSL_CTX_set_generate_session_id(server, generate);
    pair = hs_new(server, client, NULL);
    SSL_set_generate_session_id(pair.server, NULL);
    next_id(12, 32);
    hs_drive(&pair);
    say("taken away: %d calls", generator.calls);
    hs_close(&pair);
    say("%s", hs_counters(server));
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Under TLS 1.3 the id is that of a ticket; a conflict comes after the client has finished. */
static void tls13(void)
{
    SSL_CTX *server = hs_server(TLS1_3_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_3_VERSION);
    SSL_CTX_set_num_tickets(server, 1);
    SSL_CTX_set_generate_session_id(server, generate);
    next_id(20, 32);
    SSL_SESSION *session = hs_first(server, client);
    expect("C14", generator.calls == 1 && SSL_CTX_sess_number(server) == 1, "TLS 1.3: stored under our id");
    fails(server, client, SSL_R_SSL_SESSION_ID_CONFLICT, "TLS 1.3: the same id again");
    SSL_CTX_set_generate_session_id(server, NULL);
    say("TLS 1.3: %s, %ld", hs_word(hs_resume(server, client, session)),
        SSL_CTX_sess_number(server) > 0 ? 1L : 0L);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    limit_time();
    of_the_context();
    of_the_connection();
    tls13();
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
