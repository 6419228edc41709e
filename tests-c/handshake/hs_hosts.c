/* Virtual hosts: a session that one has stored is resumed by another exactly where stock libssl would do so. Hosts
 * with the same session id context, another or none, with and without client certificates, chosen by name
 * before the lookup (client hello callback) or after it (server name callback), or each on a port of its own; and a
 * get callback that returns the session of another context. */
#include "handshake.h"

#include <stdio.h>
#include <string.h>

typedef struct host {
    const char *id_context;
    int verify;
} host;

static const host hosts[] = {{"one", 0}, {"one", 0}, {"two", 0}, {"", 0}, {"one", 1}, {"two", 1}, {"", 1}};
#define HOSTS (int)(sizeof hosts / sizeof *hosts)

static SSL_CTX *served[HOSTS], *client;
static int wanted; /* the host that the client asks for */

static int on_name(SSL *ssl, int *alert, void *arg)
{
    (void)alert, (void)arg;
    return SSL_set_SSL_CTX(ssl, served[wanted]) != NULL ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The connection takes over what SSL_set_SSL_CTX leaves as it was: programs do that as well. */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
    const host *h = &hosts[wanted];
    on_name(ssl, alert, arg);
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(served[wanted]), SSL_CTX_get_verify_callback(served[wanted]));
    SSL_set_session_id_context(ssl, (const unsigned char *)h->id_context, (unsigned)strlen(h->id_context));
    return SSL_CLIENT_HELLO_SUCCESS;
}

static int trust_anyone(int ok, X509_STORE_CTX *store)
{
    (void)ok, (void)store;
    return 1;
}

enum { BY_NAME, BY_HELLO, BY_PORT, WAYS };
static const char *const way_names[] = {"by name", "by hello", "by port"};

static void begin(int version, int tickets, int way)
{
    for (int i = 0; i < HOSTS; i++) {
        const host *h = &hosts[i];
        served[i] = hs_server(version, tickets);
        SSL_CTX_set_session_id_context(served[i], (const unsigned char *)h->id_context, (unsigned)strlen(h->id_context));
        if (h->verify)
            SSL_CTX_set_verify(served[i], SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, trust_anyone);
    }
    if (way == BY_NAME)
        SSL_CTX_set_tlsext_servername_callback(served[0], on_name);
    if (way == BY_HELLO)
        SSL_CTX_set_client_hello_cb(served[0], on_hello, NULL);
    client = hs_client(version);
    SSL_CTX_use_certificate(client, SSL_CTX_get0_certificate(served[0]));
    SSL_CTX_use_PrivateKey(client, SSL_CTX_get0_privatekey(served[0]));
}

static void end(void)
{
    for (int i = 0; i < HOSTS; i++)
        SSL_CTX_free(served[i]);
    SSL_CTX_free(client);
}

/* Visits a host; what became of it, and whether the server knows who the client is. */
static hs_result visit(int way, int to, SSL_SESSION *resume, SSL_SESSION **next, int *known)
{
    char name[] = "a.example";
    wanted = to;
    name[0] = (char)('a' + to);
    hs_pair pair = hs_new(served[way == BY_PORT ? to : 0], client, resume);
    SSL_set_tlsext_host_name(pair.client, name);
    hs_result result = hs_drive(&pair);
    SSL_SESSION *session = SSL_get0_session(pair.server);
    *known = session != NULL && SSL_SESSION_get0_peer(session) != NULL;
    if (next != NULL)
        *next = SSL_get1_session(pair.client);
    hs_close(&pair);
    return result;
}

/* A session of each host is offered to each. */
static void offer(int version, int tickets, int way)
{
    int wrong = 0, resumed = 0;
    begin(version, tickets, way);
    for (int from = 0; from < HOSTS; from += slowly() ? 3 : 1) {
        char line[256] = "";
        for (int to = 0; to < HOSTS; to++) {
            SSL_SESSION *session = NULL;
            int before, after;
            if (visit(way, from, NULL, &session, &before) != HS_FULL)
                give_up("host %d cannot be visited", from);
            hs_result result = visit(way, to, session, NULL, &after);
            /* By name the default host's cache and id context are in force when the session is looked up. */
            int apart = way == BY_HELLO ? strcmp(hosts[from].id_context, hosts[to].id_context) != 0
                                        : way == BY_PORT && from != to;
            wrong += apart && result == HS_RESUMED;
            resumed += result == HS_RESUMED;
            size_t used = strlen(line);
            snprintf(line + used, sizeof line - used, " %s%s", hs_word(result), after ? "+" : "");
            SSL_SESSION_free(session);
        }
        say("TLS 1.%d, tickets %d, %s, from %d:%s", version - TLS1_VERSION, tickets, way_names[way], from, line);
        say("host %d: %s", from, hs_counters(served[from]));
    }
    end();
    expect("C9", wrong == 0 && resumed > 0, "resumed %d times, %d times where hosts are kept apart", resumed, wrong);
}

/* ---- A get callback that returns what another context has stored ---- */

static SSL_SESSION *elsewhere;
static int asked;

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length;
    asked++;
    *copy = 1;
    return elsewhere;
}

static void handed_over(int version, const char *id_context, int verify, long mode)
{
    SSL_CTX *first = hs_server(version, WITHOUT_TICKETS), *second = hs_server(version, WITHOUT_TICKETS);
    int same = strcmp(id_context, "tests") == 0;
    client = hs_client(version);
    asked = 0;
    SSL_CTX_set_num_tickets(first, 1);
    SSL_CTX_set_session_cache_mode(second, SSL_SESS_CACHE_SERVER | mode);
    SSL_CTX_set_session_id_context(second, (const unsigned char *)id_context, (unsigned)strlen(id_context));
    SSL_CTX_sess_set_get_cb(second, on_get);
    if (verify)
        SSL_CTX_set_verify(second, SSL_VERIFY_PEER, trust_anyone);

    SSL_SESSION *session = hs_first(first, client);
    elsewhere = hs_stored(first, session);
    SSL_SESSION *copy = SSL_SESSION_dup(session); /* a failure makes the client give up its own */
    hs_result result = hs_resume(second, client, copy);
    void (*promise)(const char *, int, const char *, ...) = mode ? expect : better;
    promise("C9", asked == 1, "TLS 1.%d, \"%s\": the get callback is asked", version - TLS1_VERSION, id_context);
    promise("C9", same == (result == HS_RESUMED), "%s", hs_word(result));
    if (mode) {
        say("second: %s", hs_counters(second));
        say("first: %s", hs_counters(first));
    } else {
        /* And what is stored there now is not let through by the second's own lookup either. */
        SSL_CTX_sess_set_get_cb(second, NULL);
        SSL_SESSION_free(copy);
        copy = SSL_SESSION_dup(session);
        better("C9", same == (hs_resume(second, client, copy) == HS_RESUMED), "stored there, the same again");
    }
    promise("C17", hs_resume(first, client, session) == HS_RESUMED, "the first context resumes it");
    SSL_SESSION_free(copy);
    SSL_SESSION_free(session);
    SSL_SESSION_free(elsewhere);
    SSL_CTX_free(client);
    SSL_CTX_free(second);
    SSL_CTX_free(first);
}

static void all_handed_over(int version, long mode)
{
    handed_over(version, "tests", 0, mode);
    handed_over(version, "others", 0, mode);
    handed_over(version, "", 0, mode);
    handed_over(version, "others", 1, mode);
    handed_over(version, "", 1, mode);
}

int main(void)
{
    limit_time();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        for (int tickets = 0; tickets < 2; tickets++)
            for (int way = 0; way < WAYS; way++)
                offer(version, tickets, way);
        all_handed_over(version, SSL_SESS_CACHE_NO_INTERNAL_STORE);
        if (!stock_cannot("C17", "one session in two contexts corrupts its list"))
            all_handed_over(version, 0);
    }
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
