/*
 * visitor fill PORT NUMBER: leaves NUMBER sessions in the server's cache, two by each full handshake of TLS 1.3.
 * visitor probe PORT RATE SECONDS: RATE connections a second by TLS 1.2, at moments that are fixed beforehand. Every
 *     other one is a full handshake, the others resume. Prints a line for each: FULL RESUMED NANOSECONDS, from the moment at which
 *     the connection was due to the end of the answer.
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

enum { FILLERS = 4, PROBERS = 32, PATIENCE_SECONDS = 20, FULL_EVERY = 2 };

struct worker {
    pthread_t thread;
    SSL_CTX *context;
    SSL_SESSION *session; /* the one that this thread resumes */
    unsigned number, port;
    unsigned long visits, rate;
    uint64_t begin;
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

static SSL_CTX *client_of(int version)
{
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    if (!made || !SSL_CTX_set_min_proto_version(made, version) || !SSL_CTX_set_max_proto_version(made, version))
        die("no context");
    SSL_CTX_set_options(made, SSL_OP_NO_TICKET);
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
    int on = 1, connection = socket(AF_INET, SOCK_STREAM, 0), resumed;
    char answer[4096];
    if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address) != 0)
        die(strerror(errno));
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
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
        struct timespec until = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
            ;
        int full = (i + me->number) % FULL_EVERY == 0;
        int resumed = visit(me->context, me->port, full ? NULL : me->session, NULL);
        me->seen[i] = (struct seen){full, resumed, now_ns() - due};
    }
    return NULL;
}

static void all(struct worker *workers, int count, void *(*work)(void *))
{
    for (int i = 0; i < count; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            die("no thread");
    for (int i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
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
    if (argc == 4 && strcmp(argv[1], "fill") == 0) {
        SSL_CTX *context = client_of(TLS1_3_VERSION);
        for (unsigned i = 0; i < FILLERS; i++)
            workers[i] = (struct worker){.context = context, .number = i, .port = (unsigned)atol(argv[2]),
                                         .visits = strtoul(argv[3], NULL, 10) / 2 / FILLERS};
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
    die("usage: visitor back | fill PORT NUMBER | probe PORT RATE SECONDS");
}
