/*
 * visitor fill PORT NUMBER [TICKETS]: leaves NUMBER sessions in the server's cache, TICKETS by each full handshake of TLS 1.3
 *     (two, unless tickets.c is in the server).
 * visitor probe PORT RATE SECONDS: RATE connections a second by TLS 1.2, at moments that are fixed beforehand. Every
 *     other one is a full handshake, the others resume. Prints a line for each: FULL RESUMED NANOSECONDS, from the moment at which
 *     the connection was due to the end of the answer.
 * visitor measure PORT VERSION KIND: as fill and probe, with handshakes of one kind: 12 or 13, full or resumed. Says "ready", then
 *     for each line "RATE SECONDS" of its input prints one: COUNT ELAPSED P50 P99 LONGEST UNEXPECTED, times in nanoseconds. With RATE 0
 *     CLOSED connections are under way at any time, and a connection's time counts from its own beginning. UNEXPECTED counts the
 *     connections that were resumed where they should not be, or the reverse.
 * visitor back: the plain server behind a TLS proxy. Prints its port, and answers until it is killed.
 *
 * The clients use no tickets, so each resumption is by the server's cache.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FILLERS = 4, PROBERS = 32, CLOSED = 8, PATIENCE_SECONDS = 20, FULL_EVERY = 2 };

struct worker {
    pthread_t thread;
    SSL_CTX *context;
    SSL_SESSION *session; /* the one that this thread resumes */
    unsigned number, port;
    unsigned long visits, rate;
    uint64_t begin, end;
    int full;
    struct seen {
        int full, resumed;
        uint64_t took;
    } *seen;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "visitor: %s\n", what);
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
    struct timespec until = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

/* Servers are measured here, so clients do as little as they can. */
static int accept_any(X509_STORE_CTX *store, void *argument)
{
    (void)store, (void)argument;
    return 1;
}

static SSL_CTX *client_of(int version)
{
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    if (!made || !SSL_CTX_set_min_proto_version(made, version) || !SSL_CTX_set_max_proto_version(made, version))
        die("no context");
    SSL_CTX_set_options(made, SSL_OP_NO_TICKET);
#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
    SSL_CTX_set_options(made, SSL_OP_IGNORE_UNEXPECTED_EOF); /* the load test's server closes without a word */
#endif
    SSL_CTX_set_cert_verify_callback(made, accept_any, NULL);
    return made;
}

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
}

/* One connection with an HTTP request. Returns whether it was resumed; gives its session away if `keep`. */
static int visit(SSL_CTX *context, unsigned port, SSL_SESSION *with, SSL_SESSION **keep)
{
    static const char request[] = "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n";
    struct sockaddr_in address = loopback(port);
    struct timeval patience = {PATIENCE_SECONDS, 0};
    struct linger linger = {1, 0}; /* reset when closed, after all has come: thousands of ports would wait otherwise */
    int on = 1, connection = socket(AF_INET, SOCK_STREAM, 0), resumed;
    char answer[4096];
    if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address) != 0)
        die(strerror(errno));
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(connection, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    SSL *ssl = SSL_new(context);
    if (!ssl || !SSL_set_fd(ssl, connection) || (with && !SSL_set_session(ssl, with)))
        die("no connection");
    if (SSL_connect(ssl) != 1 || SSL_write(ssl, request, sizeof request - 1) <= 0 || SSL_read(ssl, answer, sizeof answer) <= 0)
        die("a connection failed");
    while (SSL_read(ssl, answer, sizeof answer) > 0)
        ;
    resumed = SSL_session_reused(ssl);
    SSL_shutdown(ssl); /* without it the session is thrown away */
    if (keep)
        *keep = SSL_get1_session(ssl);
    SSL_free(ssl);
    close(connection);
    return resumed;
}

static void *fill(void *argument)
{
    struct worker *me = argument;
    for (unsigned long i = 0; i < me->visits; i++)
        visit(me->context, me->port, NULL, NULL);
    return NULL;
}

static void *probe(void *argument)
{
    struct worker *me = argument;
    for (unsigned long i = 0; i < me->visits; i++) {
        uint64_t due = me->begin + (i * PROBERS + me->number) * 1000000000u / me->rate;
        sleep_until(due);
        int full = (i + me->number) % FULL_EVERY == 0;
        int resumed = visit(me->context, me->port, full ? NULL : me->session, NULL);
        me->seen[i] = (struct seen){full, resumed, now_ns() - due};
    }
    return NULL;
}

static void *measure(void *argument)
{
    struct worker *me = argument;
    size_t room = 0;
    sleep_until(me->begin);
    for (me->visits = 0;; me->visits++) {
        uint64_t due = me->rate ? me->begin + (me->visits * PROBERS + me->number) * 1000000000u / me->rate : now_ns();
        if (due >= me->end)
            return NULL;
        sleep_until(due);
        if (me->visits == room && !(me->seen = realloc(me->seen, (room = 2 * room + 1024) * sizeof *me->seen)))
            die("no memory");
        SSL_SESSION *next = NULL;
        int resumed = visit(me->context, me->port, me->full ? NULL : me->session, me->full ? NULL : &next);
        me->seen[me->visits] = (struct seen){me->full, resumed, now_ns() - due};
        if (next) { /* of TLS 1.3 a server may take each session once */
            SSL_SESSION_free(me->session);
            me->session = next;
        }
    }
}

static void all(struct worker *workers, int count, void *(*work)(void *))
{
    for (int i = 0; i < count; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            die("no thread");
    for (int i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
}

static int by_time(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

/* What all have seen, as one line. */
static void summarise(struct worker *workers, int count, uint64_t elapsed)
{
    size_t visits = 0, at = 0, unexpected = 0;
    for (int i = 0; i < count; i++)
        visits += workers[i].visits;
    uint64_t *took = calloc(visits + 1, sizeof *took);
    if (!took || !visits)
        die("nothing was measured");
    for (int i = 0; i < count; i++)
        for (unsigned long n = 0; n < workers[i].visits; n++) {
            took[at++] = workers[i].seen[n].took;
            unexpected += workers[i].seen[n].full == workers[i].seen[n].resumed;
        }
    qsort(took, visits, sizeof *took, by_time);
    printf("%zu %llu %llu %llu %llu %zu\n", visits, (unsigned long long)elapsed, (unsigned long long)took[visits / 2],
           (unsigned long long)took[visits * 99 / 100], (unsigned long long)took[visits - 1], unexpected);
    free(took);
}

static _Noreturn void measure_all(unsigned port, int version, int full)
{
    static struct worker workers[PROBERS];
    unsigned long rate, seconds;
    for (unsigned i = 0; i < PROBERS; i++) {
        workers[i] = (struct worker){.context = client_of(version), .number = i, .port = port, .full = full};
        visit(workers[i].context, port, NULL, &workers[i].session);
    }
    puts("ready");
    fflush(stdout);
    while (scanf("%lu %lu", &rate, &seconds) == 2) {
        int count = rate ? PROBERS : CLOSED;
        uint64_t begin = now_ns() + 10000000u;
        for (int i = 0; i < count; i++) {
            workers[i].rate = rate;
            workers[i].begin = begin;
            workers[i].end = begin + seconds * 1000000000u;
            workers[i].seen = NULL;
        }
        all(workers, count, measure);
        summarise(workers, count, now_ns() - begin);
        fflush(stdout);
        for (int i = 0; i < count; i++)
            free(workers[i].seen);
    }
    exit(0);
}

static _Noreturn void answer_all(void)
{
    static const char text[] = "HTTP/1.0 200 OK\r\n\r\nok";
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    char request[512];
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    if (listening < 0 || bind(listening, (struct sockaddr *)&address, length) != 0 || listen(listening, 512) != 0 ||
        getsockname(listening, (struct sockaddr *)&address, &length) != 0)
        die("no port");
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int connection = accept(listening, NULL, NULL);
        if (connection >= 0 && read(connection, request, sizeof request) > 0)
            if (write(connection, text, sizeof text - 1) < 0)
                perror("visitor: answer");
        close(connection);
    }
}

int main(int argc, char **argv)
{
    static struct worker workers[PROBERS];
    signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && strcmp(argv[1], "back") == 0)
        answer_all();
    if (argc == 5 && strcmp(argv[1], "measure") == 0)
        measure_all((unsigned)atol(argv[2]), strcmp(argv[3], "12") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION,
                    strcmp(argv[4], "full") == 0);
    if ((argc == 4 || argc == 5) && strcmp(argv[1], "fill") == 0) {
        SSL_CTX *context = client_of(TLS1_3_VERSION);
        for (unsigned i = 0; i < FILLERS; i++)
            workers[i] = (struct worker){.context = context, .number = i, .port = (unsigned)atol(argv[2]),
                                         .visits = strtoul(argv[3], NULL, 10) / (argc == 5 ? strtoul(argv[4], NULL, 10) : 2) / FILLERS};
        all(workers, FILLERS, fill);
        return 0;
    }
    if (argc == 5 && strcmp(argv[1], "probe") == 0) {
        unsigned long rate = strtoul(argv[3], NULL, 10), visits = rate * strtoul(argv[4], NULL, 10) / PROBERS;
        uint64_t begin = now_ns() + 500000000u;
        if (!rate || !visits)
            die("nothing to do");
        for (unsigned i = 0; i < PROBERS; i++) {
            struct worker *one = &workers[i];
            *one = (struct worker){.context = client_of(TLS1_2_VERSION), .number = i, .port = (unsigned)atol(argv[2]),
                                   .visits = visits, .rate = rate, .begin = begin, .seen = calloc(visits, sizeof *one->seen)};
            if (!one->seen)
                die("no memory");
            visit(one->context, one->port, NULL, &one->session);
        }
        all(workers, PROBERS, probe);
        for (int i = 0; i < PROBERS; i++)
            for (unsigned long n = 0; n < visits; n++)
                printf("%d %d %llu\n", workers[i].seen[n].full, workers[i].seen[n].resumed, (unsigned long long)workers[i].seen[n].took);
        return 0;
    }
    die("usage: visitor back | fill PORT NUMBER [TICKETS] | probe PORT RATE SECONDS | measure PORT VERSION KIND");
}
