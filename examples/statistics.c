/* Prints the figures of the cache of a context.
 *
 *   linked:      cc statistics.c $(pkg-config --cflags --libs sslsweep) -lssl -lcrypto -ldl
 *   without:     cc statistics.c -I... -lssl -lcrypto -ldl, and sslsweep is used when it is preloaded
 *
 * The program looks the function up by name, which finds it in any library. (A program that is linked with the static
 * library needs -rdynamic for this.) */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>

#define OPENSSL_SUPPRESS_DEPRECATED /* every libssl has SSL_CTX_flush_sessions() */
#include <openssl/ssl.h>

#include <sslsweep.h>

typedef int get_statistics(SSL_CTX *, struct sslsweep_statistics *, size_t);

static void line(const char *name, uint64_t value)
{
    printf("%-14s %llu\n", name, (unsigned long long)value);
}

/* Step 0 of a histogram ends at a microsecond, each further one at twice the one before; the last has no end. */
static void histogram(const char *name, const uint64_t *steps)
{
    for (int step = 0; step < SSLSWEEP_HISTOGRAM_STEPS; step++)
        if (steps[step] > 0)
            printf("%-14s %s %llu us: %llu\n", name, step < SSLSWEEP_HISTOGRAM_STEPS - 1 ? "<" : ">=",
                   1ULL << (step < SSLSWEEP_HISTOGRAM_STEPS - 1 ? step : step - 1), (unsigned long long)steps[step]);
}

/* 0: there is no sslsweep in this process, or it does not manage this context. */
static int print_statistics(SSL_CTX *ctx)
{
    struct sslsweep_statistics is;
    /* A program that is linked with sslsweep calls sslsweep_get_statistics() by its name. */
    get_statistics *get = (get_statistics *)dlsym(RTLD_DEFAULT, "sslsweep_get_statistics");

    /* The size tells the library which members this program knows. */
    if (get == NULL || !get(ctx, &is, sizeof is))
        return 0;
    line("sessions", is.sessions);
    line("limit", is.limit);
    line("due", is.due);
    line("stores", is.stores);
    line("hits", is.hits);
    line("misses", is.misses);
    line("external hits", is.external_hits);
    line("evictions", is.evictions);
    line("flushed", is.flushed);
    line("removals", is.removals);
    histogram("flushes", is.flush_times);
    histogram("batches", is.batch_times);
    return 1;
}

/* A session as a handshake leaves it behind, for an example without a network. */
static void store(SSL_CTX *ctx, unsigned number, time_t made, long timeout)
{
    unsigned char id[32] = {(unsigned char)number, (unsigned char)(number >> 8), (unsigned char)(number >> 16)};
    SSL_SESSION *session = SSL_SESSION_new();

    SSL_SESSION_set_protocol_version(session, TLS1_2_VERSION);
    SSL_SESSION_set1_id(session, id, sizeof id);
    SSL_SESSION_set_time(session, (long)made);
    SSL_SESSION_set_timeout(session, timeout);
    SSL_CTX_add_session(ctx, session);
    SSL_SESSION_free(session);
}

int main(void)
{
    time_t now = time(NULL);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL)
        return 1;
    SSL_CTX_sess_set_cache_size(ctx, 1000);
    for (unsigned number = 0; number < 1200; number++)
        store(ctx, number, number % 2 ? now : now - 600, 300);
    SSL_CTX_flush_sessions(ctx, (long)now);
    if (!print_statistics(ctx))
        printf("no sslsweep here: libssl counts %ld sessions\n", SSL_CTX_sess_number(ctx));
    SSL_CTX_free(ctx);
    return 0;
}
