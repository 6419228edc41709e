/*
 * The server: WORKERS threads take connections from one socket, one at a time each, answer one byte, and close.
 * Its first line says the port. Then it does what its standard input asks, and answers each line by one:
 *
 *   restore COUNT SPREAD TIMEOUT  COUNT sessions of mixed timeouts, 1 to SPREAD seconds; those that clients know, and
 *                                 all that handshakes make, have TIMEOUT
 *   fill COUNT                    COUNT sessions of one timeout, of a day; COUNT is then the size of the cache, which is flushed
 *                                 as it is in any server: by libssl itself, from time to time
 *   flush TM                      answers when it began and ended, by CLOCK_MONOTONIC in nanoseconds
 *   store COUNT SPREAD            COUNT more of random timeouts, and how long each took, in the middle
 *   trim                          lets malloc give back what it can
 *   counts
 *
 * At the end of its input it frees the context and exits.
 */
#include "load.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WORKERS = 4, BACKLOG = 1024, PATIENCE_SECONDS = 20, LIMIT_SECONDS = 7200 };

static atomic_ulong stored;   /* by SSL_CTX_add_session here */
static atomic_ulong made;     /* by handshakes */
static atomic_ulong removed;  /* remove callbacks */
static atomic_ulong answered; /* connections that came to their end */
static atomic_ulong failed;   /* and those that did not */
static SSL_SESSION *newest;   /* while templates are made: what the new callback was given */
static bool templating;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    atomic_fetch_add(&made, 1);
    if (!templating)
        return 0;
    SSL_SESSION_free(newest);
    newest = session;
    return 1;
}

static void on_removed(SSL_CTX *context, SSL_SESSION *session)
{
    (void)context;
    (void)session;
    atomic_fetch_add(&removed, 1);
}

/* ---- Connections ---- */

static void answer(int connection)
{
    struct timeval patience = {PATIENCE_SECONDS, 0};
    int on = 1;
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    char byte;
    SSL *ssl = SSL_new(ctx);
    if (!ssl || SSL_set_fd(ssl, connection) != 1)
        die("no connection");
    bool well = SSL_accept(ssl) == 1 && SSL_read(ssl, &byte, 1) == 1 && SSL_write(ssl, &byte, 1) == 1;
    atomic_fetch_add(well ? &answered : &failed, 1);
    if (well) { /* a session whose connection was not shut down is not resumable */
        SSL_set_quiet_shutdown(ssl, 1);
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    close(connection);
}

static void *work(void *argument)
{
    int listening = *(int *)argument;
    for (;;) {
        int connection = accept(listening, NULL, NULL);
        if (connection >= 0)
            answer(connection);
    }
    return NULL;
}

static unsigned listen_on_loopback(int *listening)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    *listening = socket(AF_INET, SOCK_STREAM, 0);
    if (*listening < 0 || bind(*listening, (struct sockaddr *)&address, length) != 0 || listen(*listening, BACKLOG) != 0 ||
        getsockname(*listening, (struct sockaddr *)&address, &length) != 0)
        die("no port to listen on");
    return ntohs(address.sin_port);
}

/* ---- Sessions ---- */

struct template {
    unsigned char *der;
    int length;
};

/* A real session of the server, as a program writes it out to restore it later. */
static struct template template_of(int version)
{
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    if (!client || SSL_CTX_set_min_proto_version(client, version) != 1 ||
        SSL_CTX_set_max_proto_version(client, version) != 1)
        die("no context");
    templating = true;
    handshake(client, NULL, false);
    templating = false;
    struct template template = {NULL, i2d_SSL_SESSION(newest, &template.der)};
    if (template.length <= 0)
        die("a session cannot be written out");
    SSL_SESSION_free(newest);
    newest = NULL;
    SSL_CTX_free(client);
    return template;
}

static SSL_SESSION *read_in(const struct template *template)
{
    const unsigned char *at = template->der;
    session_id id;
    random_id(id);
    SSL_SESSION *session = d2i_SSL_SESSION(NULL, &at, template->length);
    if (!session || SSL_SESSION_set1_id(session, id, ID_LENGTH) != 1)
        die("a session cannot be read in");
    return session;
}

static long mixed(long spread) { return 1 + (long)(random_number() % (unsigned long)spread); }

struct restored {
    SSL_SESSION *session;
    time_t expiry;
};

static int by_expiry(const void *a, const void *b)
{
    time_t first = ((const struct restored *)a)->expiry, second = ((const struct restored *)b)->expiry;
    return (first > second) - (first < second);
}

static void store(SSL_SESSION *session)
{
    if (SSL_CTX_add_session(ctx, session) != 1)
        die("a session was not stored");
    SSL_SESSION_free(session);
    atomic_fetch_add(&stored, 1);
}

static struct template templates[2];

/*
 * Stored in the order in which they expire, because stock libssl from 3.0 on walks its list for any other:
 * it would take hours. In memory they lie as they were read in, in no order of expiry.
 */
static void restore(size_t count, long spread, long timeout)
{
    SSL_CTX_set_timeout(ctx, timeout);
    templates[0] = template_of(TLS1_2_VERSION);
    templates[1] = template_of(TLS1_3_VERSION);
    struct restored *all = calloc(count, sizeof *all);
    if (!all || count < KNOWN)
        die("cannot restore so many");
    time_t now = time(NULL);
    for (size_t i = 0; i < count; i++) {
        /* The known ones lie among the others. */
        unsigned n = (unsigned)(i / (count / KNOWN));
        bool known = i % (count / KNOWN) == 0 && n < KNOWN;
        SSL_SESSION *session = read_in(&templates[known ? 0 : random_number() % 2]);
        long from = (long)now, lasts = known ? timeout : mixed(spread);
        if (known) {
            make_known(session, n);
            if (known_expired(n))
                from -= lasts + 1;
        }
        SSL_SESSION_set_time(session, from);
        SSL_SESSION_set_timeout(session, lasts);
        all[i] = (struct restored){session, from + lasts};
    }
    qsort(all, count, sizeof *all, by_expiry);
    for (size_t i = 0; i < count; i++)
        store(all[i].session);
    free(all);
    printf("restored %ld\n", (long)now);
}

/* A full cache: each session that handshakes make from now on takes the place of another one. */
static void fill(size_t count)
{
    SSL_CTX_set_timeout(ctx, SECONDS_OF_A_DAY);
    templates[0] = template_of(TLS1_2_VERSION);
    templates[1] = template_of(TLS1_3_VERSION);
    for (size_t i = 0; i < count; i++)
        store(read_in(&templates[i % 2]));
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(ctx, (long)count);
    printf("filled %ld\n", SSL_CTX_sess_number(ctx));
}

static int by_time(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

static void store_more(size_t count, long spread)
{
    uint64_t *took = calloc(count, sizeof *took);
    if (!took || count == 0)
        die("nothing to store");
    for (size_t i = 0; i < count; i++) {
        SSL_SESSION *session = read_in(&templates[0]);
        SSL_SESSION_set_time(session, (long)time(NULL));
        SSL_SESSION_set_timeout(session, mixed(spread));
        uint64_t before = now_ns();
        store(session);
        took[i] = now_ns() - before;
    }
    qsort(took, count, sizeof *took, by_time);
    printf("stored %llu\n", (unsigned long long)took[count / 2]);
    free(took);
}

/* ---- Commands ---- */

static void flush_until(time_t tm)
{
    unsigned long before = atomic_load(&removed);
    uint64_t from = now_ns();
    flush(tm);
    uint64_t to = now_ns();
    printf("flushed %llu %llu %lu\n", (unsigned long long)from, (unsigned long long)to, atomic_load(&removed) - before);
}

static void obey(const char *line)
{
    size_t count;
    long spread, timeout, tm;
    if (sscanf(line, "restore %zu %ld %ld", &count, &spread, &timeout) == 3) {
        restore(count, spread, timeout);
    } else if (sscanf(line, "fill %zu", &count) == 1) {
        fill(count);
    } else if (sscanf(line, "flush %ld", &tm) == 1) {
        flush_until((time_t)tm);
    } else if (sscanf(line, "store %zu %ld", &count, &spread) == 2) {
        store_more(count, spread);
    } else if (strcmp(line, "trim\n") == 0) {
        malloc_trim(0);
        puts("trimmed");
    } else if (strcmp(line, "counts\n") == 0) {
        printf("counts stored=%lu made=%lu removed=%lu number=%ld answered=%lu failed=%lu full=%ld\n", atomic_load(&stored),
               atomic_load(&made), atomic_load(&removed), SSL_CTX_sess_number(ctx), atomic_load(&answered),
               atomic_load(&failed), SSL_CTX_sess_cache_full(ctx));
    } else {
        die("no such command");
    }
    fflush(stdout);
}

void serve(void)
{
    static int listening;
    alarm(LIMIT_SECONDS);
    ctx = new_server_context();
    /* Flushed when told so, and at no other time. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET); /* sessions are kept by the server, in TLS 1.3 too */
    SSL_CTX_sess_set_new_cb(ctx, on_new);
    SSL_CTX_sess_set_remove_cb(ctx, on_removed);
    if (SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"load", 4) != 1 ||
        SSL_CTX_set_cipher_list(ctx, CIPHER_OF_TLS12) != 1)
        die("the context cannot be set up");
    get_certificate(ctx);

    printf("port %u\n", listen_on_loopback(&listening));
    fflush(stdout);
    for (int i = 0; i < WORKERS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, &listening) != 0)
            die("no thread");
        pthread_detach(thread);
    }
    char line[128];
    while (fgets(line, sizeof line, stdin))
        obey(line);
    /* The workers wait in accept, where they hold nothing. */
    SSL_CTX_free(ctx);
    printf("freed removed=%lu\n", atomic_load(&removed));
    fflush(stdout);
    _exit(0);
}
