/* fleet.c make CERTIFICATE KEY SESSIONS: a server's time for full handshakes, whose sessions go into the files SESSIONS.tls12
 * and .tls13.
 * fleet.c resume CERTIFICATE KEY SESSIONS: a server's time for resuming each of them, first from another machine and then from
 * the own segment.
 * fleet.c delay PORT ENGINE MICROSECONDS: hands connections to PORT on to ENGINE (another port), and holds answers up.
 *
 * fleet.py runs them, the first two with sslsweep preloaded. Client and server are in one thread with memory between them. Times
 * are of the clock, because a wait takes no processor time. */
#include "bench.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HANDSHAKES = 2000 };

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
static const char *const names[] = {"tls12", "tls13"};

static SSL_CTX *server_of(const char *certificate, const char *key)
{
    SSL_CTX *made = new_server_context();
    SSL_CTX_set_options(made, SSL_OP_NO_TICKET);
    if (SSL_CTX_set_session_id_context(made, (const unsigned char *)"fleet", 5) != 1 ||
        SSL_CTX_use_certificate_file(made, certificate, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(made, key, SSL_FILETYPE_PEM) != 1)
        die("no certificate");
    return made;
}

/* One connection; *server_ns becomes the server's part of it. *session is offered if there is one, and replaced by the new one
 * if there is none. Returns whether it was resumed. */
static bool connection(SSL_CTX *server_context, SSL_CTX *client_context, SSL_SESSION **session, double *server_ns)
{
    struct connection made = connect_to(server_context, client_context, *session, !*session, now_ns);
    *server_ns = (double)made.server_ns;
    if (made.session)
        *session = made.session;
    return made.resumed;
}

static int by_size(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* The median, and how many a second there are if they follow each other. */
static void report(const char *what, const char *version, double *ns)
{
    char figure[48];
    double sum = 0;
    for (int i = 0; i < HANDSHAKES; i++)
        sum += ns[i];
    qsort(ns, HANDSHAKES, sizeof *ns, by_size);
    snprintf(figure, sizeof figure, "%s_%s", what, version);
    print(figure, ns[HANDSHAKES / 2] / 1e3, "us");
    snprintf(figure, sizeof figure, "%s_each_second_%s", what, version);
    print(figure, HANDSHAKES * 1e9 / sum, "/s");
}

static FILE *file_of(const char *sessions, const char *version, const char *mode)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.%s", sessions, version);
    FILE *file = fopen(path, mode);
    if (!file)
        die("a file of sessions cannot be opened");
    return file;
}

static void make(SSL_CTX *server, const char *sessions, int version, const char *name)
{
    static double took[HANDSHAKES];
    SSL_CTX *client = client_of(version);
    FILE *file = file_of(sessions, name, "w");
    for (int i = 0; i < HANDSHAKES; i++) {
        SSL_SESSION *session = NULL;
        connection(server, client, &session, &took[i]);
        if (PEM_write_SSL_SESSION(file, session) != 1)
            die("a session cannot be written");
        SSL_SESSION_free(session);
    }
    fclose(file);
    report("full", name, took);
    SSL_CTX_free(client);
}

static void resume(SSL_CTX *server, const char *sessions, int version, const char *name)
{
    static double remote[HANDSHAKES], here[HANDSHAKES];
    SSL_CTX *client = client_of(version);
    FILE *file = file_of(sessions, name, "r");
    SSL_SESSION *none = NULL;
    double ignored;
    int full = 0;
    connection(server, client, &none, &ignored); /* the server has to meet the name */
    SSL_SESSION_free(none);
    for (int i = 0; i < HANDSHAKES; i++) {
        SSL_SESSION *session = PEM_read_SSL_SESSION(file, NULL, NULL, NULL);
        if (!session)
            die("a session cannot be read");
        full += !connection(server, client, &session, &remote[i]); /* the deadline was missed */
        if (!connection(server, client, &session, &here[i]) && !connection(server, client, &session, &here[i]))
            die("a session was not resumed");
        SSL_SESSION_free(session);
    }
    fclose(file);
    report("remote", name, remote);
    report("here", name, here);
    char figure[32];
    snprintf(figure, sizeof figure, "missed_%s", name);
    print(figure, full, "times");
    SSL_CTX_free(client);
}

/* ---- The delay ---- */

static uint64_t held_ns;

struct way {
    int from, to;
    bool hold;
};

static void *carry(void *argument)
{
    struct way way = *(struct way *)argument;
    static _Thread_local char piece[1 << 16];
    free(argument);
    ssize_t size;
    while ((size = read(way.from, piece, sizeof piece)) > 0) {
        if (way.hold)
            wait_ns(held_ns); /* busy, because a sleep is longer than asked for */
        for (ssize_t sent = 0, now; sent < size; sent += now)
            if ((now = write(way.to, piece + sent, (size_t)(size - sent))) <= 0)
                break;
    }
    shutdown(way.from, SHUT_RDWR);
    shutdown(way.to, SHUT_RDWR);
    return NULL;
}

static void begin(int from, int to, bool hold)
{
    pthread_t thread;
    struct way *way = malloc(sizeof *way);
    if (!way)
        die("out of memory");
    *way = (struct way){from, to, hold};
    if (pthread_create(&thread, NULL, carry, way) != 0 || pthread_detach(thread) != 0)
        die("no thread");
}

static void delay(int port, int engine)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 16) != 0)
        die("the port cannot be used");
    address.sin_port = htons((uint16_t)engine);
    for (;;) {
        int client = accept(listener, NULL, NULL), server = socket(AF_INET, SOCK_STREAM, 0);
        if (client < 0 || connect(server, (struct sockaddr *)&address, sizeof address) != 0)
            die("no connection to the engine");
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        begin(client, server, false);
        begin(server, client, true);
    }
}

int main(int argc, char **argv)
{
    bool making = argc == 5 && strcmp(argv[1], "make") == 0;
    if (making || (argc == 5 && strcmp(argv[1], "resume") == 0)) {
        SSL_CTX *server = server_of(argv[2], argv[3]);
        for (int i = 0; i < 2; i++)
            (making ? make : resume)(server, argv[4], versions[i], names[i]);
        SSL_CTX_free(server);
    } else if (argc == 5 && strcmp(argv[1], "delay") == 0) {
        held_ns = strtoul(argv[4], NULL, 10) * 1000;
        delay(atoi(argv[2]), atoi(argv[3]));
    } else {
        die("usage: fleet make|resume CERTIFICATE KEY SESSIONS, or fleet delay PORT ENGINE MICROSECONDS");
    }
    return 0;
}
