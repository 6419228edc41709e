/*
 * Preloaded into a server on libssl alone: the longest time for which one of its flushes held the context's lock, in
 * nanoseconds, as the first word of the file that HOLD names. It needs a libssl that calls its own functions through the PLT,
 * as Debian's does. (sslsweep publishes its own such figure.)
 */
#define _GNU_SOURCE /* RTLD_NEXT */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

typedef void flush_function(void *, long);
typedef int lock_function(void *);

static flush_function *real_flush;
static lock_function *real_lock, *real_unlock;
static _Atomic uint64_t *longest;
static _Thread_local int flushing;
static _Thread_local uint64_t since;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("HOLD");
    int file = path ? open(path, O_RDWR) : -1;
    void *page = mmap(NULL, sizeof *longest, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    real_flush = (flush_function *)dlsym(RTLD_NEXT, "SSL_CTX_flush_sessions");
    real_lock = (lock_function *)dlsym(RTLD_NEXT, "CRYPTO_THREAD_write_lock");
    real_unlock = (lock_function *)dlsym(RTLD_NEXT, "CRYPTO_THREAD_unlock");
    if (page != MAP_FAILED)
        longest = page;
}

void SSL_CTX_flush_sessions(void *ctx, long tm)
{
    flushing = 1;
    real_flush(ctx, tm);
    flushing = 0;
}

int CRYPTO_THREAD_write_lock(void *lock)
{
    int locked = real_lock(lock);
    if (flushing && !since)
        since = now_ns();
    return locked;
}

int CRYPTO_THREAD_unlock(void *lock)
{
    if (since && longest) {
        uint64_t held = now_ns() - since, before = atomic_load(longest);
        while (held > before && !atomic_compare_exchange_weak(longest, &before, held))
            ;
    }
    since = 0;
    return real_unlock(lock);
}
