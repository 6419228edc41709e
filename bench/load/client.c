/*
 * client PORT INDEX CLIENTS RATE SECONDS SEED: says "ready", reads when to begin (CLOCK_MONOTONIC, nanoseconds), makes RATE
 * connections a second, each with one handshake, one byte sent and one received, and at its end prints a line for each:
 *
 *   KIND INTENDED TOOK RESUMED EXPECTED FAILURE
 *
 * in nanoseconds, INTENDED by CLOCK_MONOTONIC. TOOK counts from the moment at which the connection was due, not from the
 * one at which it could begin: what waits behind a slow one has waited too. The answer is part of it, because
 * a server stores the session of a full handshake after the client has seen the end of it.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SLOTS = 32, /* sessions of TLS 1.3, each replaced by the one that its resumption brings */
    PATIENCE_SECONDS = 20,
    GRACE_SECONDS = 120,
    LONGEST_LINE = 300
};

enum kind { RESUME_12, RESUME_13, EXPIRED_12, FULL_12, FULL_13, KINDS };
static const struct {
    const char *name;
    int version;
    unsigned percent;
} kinds[KINDS] = {
    [RESUME_12] = {"resume12", TLS1_2_VERSION, 40},
    [RESUME_13] = {"resume13", TLS1_3_VERSION, 35},
    [EXPIRED_12] = {"expired12", TLS1_2_VERSION, 5},
    [FULL_12] = {"full12", TLS1_2_VERSION, 10},
    [FULL_13] = {"full13", TLS1_3_VERSION, 10},
};

static SSL_CTX *contexts[2];      /* of TLS 1.2 and 1.3 */
static SSL_SESSION *slots[SLOTS]; /* of TLS 1.3 */
static SSL_SESSION *template;     /* of TLS 1.2 */
static SSL_SESSION **wanted;      /* where a session of the present connection goes */

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    if (!wanted)
        return 0;
    SSL_SESSION_free(*wanted);
    *wanted = session;
    return 1;
}

static SSL_CTX *context_of(int version)
{
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    if (!made || SSL_CTX_set_min_proto_version(made, version) != 1 || SSL_CTX_set_max_proto_version(made, version) != 1 ||
        SSL_CTX_set_cipher_list(made, CIPHER_OF_TLS12) != 1)
        die("no context");
    SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(made, on_new);
    return made;
}

static const char *reason(const char *where)
{
    static char words[160];
    unsigned long error = ERR_peek_last_error();
    const char *said = error ? ERR_reason_error_string(error) : errno ? strerror(errno) : "end of file";
    snprintf(words, sizeof words, "%s:%s", where, said ? said : "unknown");
    for (char *at = words; *at; at++)
        if (*at == ' ')
            *at = '_';
    return words;
}

static int connected(unsigned port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    struct timeval patience = {PATIENCE_SECONDS, 0};
    /* Reset when closed, at a moment when nothing is left to come: thousands of ports would wait otherwise. */
    struct linger linger = {1, 0};
    int on = 1, made = socket(AF_INET, SOCK_STREAM, 0);
    if (made < 0)
        return -1;
    setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(made, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(made, (struct sockaddr *)&address, sizeof address) == 0)
        return made;
    close(made);
    return -1;
}

/* One connection. NULL, or why it failed. */
static const char *shake(unsigned port, SSL_CTX *context, SSL_SESSION *with, SSL_SESSION **keep, bool *resumed)
{
    const char *failure = NULL;
    char byte = 'x';
    wanted = keep;
    ERR_clear_error();
    errno = 0;
    int connection = connected(port);
    if (connection < 0)
        return reason("connect");
    SSL *ssl = SSL_new(context);
    if (!ssl || SSL_set_fd(ssl, connection) != 1 || (with && SSL_set_session(ssl, with) != 1))
        die("no connection");
    if (SSL_connect(ssl) != 1)
        failure = reason("handshake");
    else if (SSL_write(ssl, &byte, 1) != 1)
        failure = reason("send");
    else if (SSL_read(ssl, &byte, 1) != 1)
        failure = reason("receive");
    *resumed = !failure && SSL_session_reused(ssl);
    SSL_set_quiet_shutdown(ssl, 1);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(connection);
    return failure;
}

static void must(const char *failure)
{
    if (failure)
        die(failure);
}

static void prepare(unsigned port)
{
    bool resumed;
    contexts[0] = context_of(TLS1_2_VERSION);
    contexts[1] = context_of(TLS1_3_VERSION);
    must(shake(port, contexts[0], NULL, &template, &resumed));
    for (int i = 0; i < SLOTS; i++)
        must(shake(port, contexts[1], NULL, &slots[i], &resumed));
    if (!template || !slots[SLOTS - 1])
        die("no session was given");
}

static enum kind choose(void)
{
    unsigned at = (unsigned)(random_number() % 100), kind = 0;
    for (; at >= kinds[kind].percent; kind++)
        at -= kinds[kind].percent;
    return (enum kind)kind;
}

/* A session that the server restored. */
static SSL_SESSION *known(bool expired)
{
    unsigned n;
    do
        n = (unsigned)(random_number() % KNOWN);
    while (known_expired(n) != expired);
    SSL_SESSION *session = SSL_SESSION_dup(template);
    if (!session)
        die("no session");
    make_known(session, n);
    return session;
}

static void visit_once(unsigned port, uint64_t intended)
{
    enum kind kind = choose();
    SSL_SESSION *with = NULL, **keep = NULL;
    if (kind == RESUME_12 || kind == EXPIRED_12)
        with = known(kind == EXPIRED_12);
    if (kind == RESUME_13) {
        keep = &slots[random_number() % SLOTS];
        with = *keep;
        SSL_SESSION_up_ref(with);
    }
    bool resumed = false, expected = kind == RESUME_12 || kind == RESUME_13;
    const char *failure = shake(port, contexts[kinds[kind].version == TLS1_3_VERSION], with, keep, &resumed);
    SSL_SESSION_free(with);
    printf("%s %llu %llu %d %d %s\n", kinds[kind].name, (unsigned long long)intended,
           (unsigned long long)(now_ns() - intended), resumed, expected, failure ? failure : "-");
}

static void wait_until(uint64_t ns)
{
    struct timespec until = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

void visit(int argc, char **argv)
{
    if (argc != 6)
        die("usage: load client PORT INDEX CLIENTS RATE SECONDS SEED");
    unsigned port = (unsigned)atol(argv[0]), index = (unsigned)atol(argv[1]), clients = (unsigned)atol(argv[2]);
    unsigned long rate = strtoul(argv[3], NULL, 10), seconds = strtoul(argv[4], NULL, 10);
    if (!port || !clients || !rate || !seconds)
        die("a client was given nothing to do");
    /* Each client of each seed has its own part of the one sequence. */
    for (unsigned long skip = (strtoul(argv[5], NULL, 10) * clients + index) * 1000000; skip > 0; skip--)
        random_number();
    alarm((unsigned)seconds + GRACE_SECONDS);
    prepare(port);
    puts("ready");
    fflush(stdout);
    /* All of it is kept until the end: nobody reads it before, and a full pipe would stop us. (The C library
     * uses a size only with a buffer.) */
    size_t room = rate * seconds * LONGEST_LINE;
    char *kept = malloc(room);
    if (!kept || setvbuf(stdout, kept, _IOFBF, room) != 0)
        die("no memory");
    uint64_t begin;
    if (scanf("%" SCNu64, &begin) != 1)
        die("nobody said when to begin");
    /* The clients take turns within the interval. */
    begin += 1000000000u / rate * index / clients;
    for (unsigned long i = 0; i < rate * seconds; i++) {
        uint64_t intended = begin + 1000000000u / rate * i;
        wait_until(intended);
        visit_once(port, intended);
    }
    fflush(stdout);
    _exit(0);
}
