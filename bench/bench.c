/*
 * bench MEASURE SIZE [CALLS]: takes one measurement of a session cache that holds SIZE sessions, by the public
 * API alone, and prints lines of "FIGURE VALUE UNIT", or "FIGURE - why there is none". run.py runs it on
 * libssl alone and under sslsweep. profile.py says how many lookups or handshakes it wants counted.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT_SECONDS = 500, MORE_SECONDS_EACH_MILLION = 20 }; /* of the whole program, also on a busy machine */

static void flush_half(size_t count) { measure_flush(count, false, false); }
static void flush_half_shuffled(size_t count) { measure_flush(count, true, false); }
static void flush_all(size_t count) { measure_flush(count, false, true); }
static void flush_all_shuffled(size_t count) { measure_flush(count, true, true); }
static void floor_half(size_t count) { measure_floor(count, false, false); }
static void floor_half_shuffled(size_t count) { measure_floor(count, true, false); }
static void floor_all(size_t count) { measure_floor(count, false, true); }
static void wait_update(size_t count) { measure_wait(count, UPDATE, NO_CALLBACK); }
static void wait_update_1us(size_t count) { measure_wait(count, UPDATE, 1000); }
static void wait_update_50us(size_t count) { measure_wait(count, UPDATE, 50000); }
static void wait_apart(size_t count) { measure_wait(count, UPDATE_APART, NO_CALLBACK); }
static void wait_lookup(size_t count) { measure_wait(count, LOOKUP, NO_CALLBACK); }

static void full_tls12(size_t count) { measure_full_handshakes(count, TLS1_2_VERSION); }
static void full_tls13(size_t count) { measure_full_handshakes(count, TLS1_3_VERSION); }
static void resumed_tls12(size_t count) { measure_resumed_handshakes(count, TLS1_2_VERSION); }
static void resumed_tls13(size_t count) { measure_resumed_handshakes(count, TLS1_3_VERSION); }

static const struct {
    const char *name;
    void (*run)(size_t count);
} measures[] = {
    {"store", measure_store},
    {"store_mixed", measure_store_mixed},
    {"store_full", measure_store_full},
    {"set_latest", measure_set_latest},
    {"set_mixed", measure_set_mixed},
    {"flush_none", measure_flush_none},
    {"flush_half", flush_half},
    {"flush_half_shuffled", flush_half_shuffled},
    {"flush_all", flush_all},
    {"flush_all_shuffled", flush_all_shuffled},
    {"floor_half", floor_half},
    {"floor_half_shuffled", floor_half_shuffled},
    {"floor_all", floor_all},
    {"wait_update", wait_update},
    {"wait_update_1us", wait_update_1us},
    {"wait_update_50us", wait_update_50us},
    {"wait_apart", wait_apart},
    {"wait_lookup", wait_lookup},
    {"memory", measure_memory},
    {"handshakes", measure_handshakes},
    {"full_tls12", full_tls12},
    {"full_tls13", full_tls13},
    {"resumed_tls12", resumed_tls12},
    {"resumed_tls13", resumed_tls13},
};

static const char *version(void)
{
#if defined OPENSSL_IS_AWSLC
    return "AWS-LC " AWSLC_VERSION_NUMBER_STRING;
#elif defined OPENSSL_IS_BORINGSSL
    return "BoringSSL";
#else
    return OpenSSL_version(OPENSSL_VERSION);
#endif
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        puts(version());
        return 0;
    }
    long size = argc >= 3 ? strtol(argv[2], NULL, 10) : 0, calls = argc == 4 ? strtol(argv[3], NULL, 10) : 500000;
    if (size < 2 || calls < 1 || argc > 4)
        die("usage: bench MEASURE SIZE [CALLS]");
    calls_each = (size_t)calls;
    alarm(LIMIT_SECONDS + (unsigned)(size / 1000000) * MORE_SECONDS_EACH_MILLION);
    start = time(NULL);
    ctx = new_server_context();

    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++)
        if (strcmp(measures[i].name, argv[1]) == 0) {
            measures[i].run((size_t)size);
            fflush(stdout);
            _exit(0); /* freeing everything would take longer than the measurement */
        }
    die("unknown measure");
}
