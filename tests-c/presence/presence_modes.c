/* O4: a context's mode in the statistics file, its handshakes as libssl counts them, and what left at its end. */
#include "figures.h"
#include "handshake.h"
#include "own.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static SSL_SESSION *fetch(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    return NULL;
}

static void modes(void)
{
    static const long of[] = {SSL_SESS_CACHE_OFF, SSL_SESS_CACHE_CLIENT, SSL_SESS_CACHE_SERVER, SSL_SESS_CACHE_BOTH,
                              SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR,
                              SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL_STORE | SSL_SESS_CACHE_UPDATE_TIME};
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    mine = view(path_of(getpid()));
    const volatile uint64_t *is = newest();
    same("the mode that libssl begins with", is[MODE], MODE_KNOWN | MODE_TICKETS | (uint64_t)SSL_CTX_get_session_cache_mode(ctx));
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        SSL_CTX_set_session_cache_mode(ctx, of[i]);
        same("a mode", is[MODE], MODE_KNOWN | MODE_TICKETS | (uint64_t)of[i]);
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_sess_set_get_cb(ctx, fetch);
    same("with a get callback", is[MODE], MODE_KNOWN | MODE_TICKETS | MODE_EXTERNAL);
    SSL_CTX_sess_set_get_cb(ctx, NULL);
    same("without it again", is[MODE], MODE_KNOWN | MODE_TICKETS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_free(SSL_new(ctx));
    same("without tickets", is[MODE], MODE_KNOWN);
    SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
    SSL_free(SSL_new(ctx));
    same("with tickets again", is[MODE], MODE_KNOWN | MODE_TICKETS);
    SSL_CTX_free(ctx);
    same("none where there is no context any more", total(MODE), 0);
}

/* Set past us: taken in with the next connection. */
static void modes_past_us(void)
{
    long (*ctrl)(SSL_CTX *, int, long, void *);
    void (*set_get)(SSL_CTX *, SSL_SESSION *(*)(SSL *, const unsigned char *, int, int *));
    *(void **)&ctrl = libssl_function_past("SSL_CTX_ctrl");
    *(void **)&set_get = libssl_function_past("SSL_CTX_sess_set_get_cb");
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    const volatile uint64_t *is = newest();
    ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_CLIENT, NULL);
    set_get(ctx, fetch);
    SSL_free(SSL_new(ctx));
    same("a mode and a get callback set past us", is[MODE], MODE_KNOWN | MODE_TICKETS | MODE_EXTERNAL | SSL_SESS_CACHE_CLIENT);
    SSL_CTX_free(ctx);
}

/* Connections are counted when the next one begins, or with a ticket, and at the end of the context. */
static void handshakes(int version, int tickets)
{
    uint64_t accepted = block(ENDED)[ACCEPTED], connected = block(ENDED)[CONNECTED], resumed = block(ENDED)[RESUMED];
    SSL_CTX *client = hs_client(version);
    const volatile uint64_t *of_client = newest();
    SSL_CTX *server = hs_server(version, tickets);
    const volatile uint64_t *of_server = newest();
    SSL_SESSION *session = hs_first(server, client), *next = NULL;
    for (int i = 0; i < 3; i++) {
        if (hs_connect(server, client, session, &next) != HS_RESUMED)
            give_up("not resumed");
        SSL_SESSION_free(session);
        session = next;
    }
    SSL_free(SSL_new(server));
    SSL_free(SSL_new(client));
    same("accepted", of_server[ACCEPTED], 4);
    same("accepted, as libssl has it", of_server[ACCEPTED], (uint64_t)SSL_CTX_sess_accept_good(server));
    same("connected by the server", of_server[CONNECTED], 0);
    same("resumed by the server", of_server[RESUMED], 3);
    same("resumed, as libssl has it", of_server[RESUMED], (uint64_t)SSL_CTX_sess_hits(server));
    same("connected", of_client[CONNECTED], 4);
    same("connected, as libssl has it", of_client[CONNECTED], (uint64_t)SSL_CTX_sess_connect_good(client));
    same("accepted by the client", of_client[ACCEPTED], 0);
    same("resumed by the client", of_client[RESUMED], 3);

    /* The last one before the end. */
    hs_resume(server, client, session);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    same("accepted by all that have ended", block(ENDED)[ACCEPTED], accepted + 5);
    same("connected", block(ENDED)[CONNECTED], connected + 5);
    same("resumed, at both ends", block(ENDED)[RESUMED], resumed + 8);
}

static void *connect_often(void *server)
{
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    for (int i = 0; i < (slowly() ? 3 : 30); i++)
        hs_connect(server, client, NULL, NULL);
    SSL_CTX_free(client);
    return NULL;
}

static void handshakes_of_threads(void)
{
    enum { THREADS = 4 };
    pthread_t thread[THREADS];
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    const volatile uint64_t *is = newest();
    for (int i = 0; i < THREADS; i++)
        hs_start(&thread[i], connect_often, server);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    SSL_free(SSL_new(server));
    same("accepted by threads", is[ACCEPTED], THREADS * (slowly() ? 3 : 30));
    SSL_CTX_free(server);
}

/* Contexts that have found no block of their own are counted together. */
static void handshakes_without_a_block(void)
{
    static SSL_CTX *fill[CONTEXTS];
    for (int i = 0; i < CONTEXTS; i++)
        fill[i] = SSL_CTX_new(TLS_method());
    SSL_CTX *client = hs_client(TLS1_2_VERSION), *server[2];
    for (int i = 0; i < 2; i++)
        server[i] = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    for (int i = 0; i < 2; i++) {
        SSL_SESSION *session = hs_first(server[i], client);
        hs_resume(server[i], client, session);
        SSL_SESSION_free(session);
    }
    SSL_CTX_free(server[0]);
    SSL_CTX_free(server[1]);
    SSL_CTX_free(client);
    same("accepted by those without a block", block(OTHERS)[ACCEPTED], 4);
    same("connected", block(OTHERS)[CONNECTED], 4);
    same("resumed, at both ends", block(OTHERS)[RESUMED], 4);
    same("left at the end", block(OTHERS)[LEFT_AT_END], 2);
    same("flushed", block(OTHERS)[FLUSHED], 0);
    same("a sum has no mode", block(OTHERS)[MODE], 0);
    for (int i = 0; i < CONTEXTS; i++)
        SSL_CTX_free(fill[i]);
}

static SSL_CTX *in_child;

/* Handshakes of a child are counted on from those of the parent. */
static void handshakes_after_fork(void)
{
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    in_child = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    hs_connect(in_child, client, NULL, NULL);
    hs_connect(in_child, client, NULL, NULL);
    SSL_free(SSL_new(in_child));
    uint64_t mode = newest()[MODE];
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        limit_time();
        hs_connect(in_child, client, NULL, NULL);
        SSL_free(SSL_new(in_child));
        _exit(process_of(getpid()) != NULL && newest()[ACCEPTED] == 3 && newest()[MODE] == mode && mode != 0 ? 7 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    better("O4", WIFEXITED(status) && WEXITSTATUS(status) == 7, "a child counts on, and knows the mode");
    same("the parent's", newest()[ACCEPTED], 2);
    SSL_CTX_free(in_child);
    SSL_CTX_free(client);
}

static SSL_CTX *ending;
static uint64_t flushed_in_end, api_flushed, own_left;

static void at_end(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)session;
    if (ctx == ending) {
        flush(ctx, 0); /* which is the end all the same */
        flushed_in_end = total(FLUSHED);
        own_left = total(LEFT_AT_END);
        api_flushed = own_statistics(ctx).flushed;
    }
}

/* Sessions that leave with their context have not been flushed. */
static void left_at_end(void)
{
    uint64_t flushed = total(FLUSHED), flushes = total(FLUSHES), left = total(LEFT_AT_END), batches = 0;
    ending = server_context();
    SSL_CTX_sess_set_remove_cb(ending, at_end);
    for (unsigned n = 1; n <= 70; n++)
        store(ending, n, 1000, n <= 20 ? 100 : 5000);
    SSL_CTX *ctx = ending;
    ending = NULL; /* the callback has nothing to do in this flush */
    flush(ctx, 2000);
    ending = ctx;
    const volatile uint64_t *is = newest();
    same("a flush", total(FLUSHED), flushed + 20);
    same("nothing has left at an end", total(LEFT_AT_END), left);
    /* A flush of all, while the context goes on, is one. */
    SSL_CTX *goes_on = server_context();
    for (unsigned n = 1; n <= 5; n++)
        store(goes_on, n, 1000, 100);
    flush(goes_on, 0);
    same("a flush of all", newest()[FLUSHED], 5);
    same("leaves nothing to an end", newest()[LEFT_AT_END], 0);
    for (unsigned n = 1; n <= 5; n++)
        store(goes_on, n, 1000, 100);
    SSL_free(SSL_new(goes_on));
    own_flush(goes_on, 0, 0, 0, NULL);
    same("another one", newest()[FLUSHED], 10);
    same("in all", newest()[FLUSHES], 2);
    SSL_CTX_free(goes_on);
    for (int i = 0; i < STEPS; i++)
        batches += is[BATCH_TIMES + i] + block(ENDED)[BATCH_TIMES + i];
    SSL_CTX_free(ending);
    same("flushed when the context has ended", total(FLUSHED), flushed + 30);
    same("flushes", total(FLUSHES), flushes + 3);
    same("left", total(LEFT_AT_END), left + 50);
    same("flushed as seen in the last callback", flushed_in_end, flushed + 30);
    same("left as seen in the last callback", own_left, left + 50);
    same("flushed as the program's own statistics have it", api_flushed, 70);
    uint64_t after = 0;
    for (int i = 0; i < STEPS; i++)
        after += block(ENDED)[BATCH_TIMES + i];
    same("the end adds no batch", after, batches);
}

int main(int argc, char **argv)
{
    (void)argc;
    limit_time();
    own_option(argv, "SSLSWEEP_STATS", "1");
    if (own_functions("O4")) {
        modes();
        modes_past_us();
        handshakes(TLS1_2_VERSION, WITHOUT_TICKETS);
        handshakes(TLS1_2_VERSION, WITH_TICKETS);
        handshakes(TLS1_3_VERSION, WITHOUT_TICKETS);
        handshakes(TLS1_3_VERSION, WITH_TICKETS);
        handshakes_of_threads();
        left_at_end();
        handshakes_after_fork();
        handshakes_without_a_block();
        better("C12", no_errors(), "the error queue is empty");
    }
    return done();
}
