#include "own.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int (*own_flush)(SSL_CTX *, time_t, uint64_t, uint64_t, struct sslsweep_flushed *);
int (*own_get_statistics)(SSL_CTX *, struct sslsweep_statistics *, size_t);
const char *(*own_version)(void);
int64_t (*own_for_each_session)(SSL_CTX *, int (*)(SSL_SESSION *, void *), void *);

int own_functions(const char *number)
{
    *(void **)&own_flush = dlsym(RTLD_DEFAULT, "sslsweep_flush");
    *(void **)&own_get_statistics = dlsym(RTLD_DEFAULT, "sslsweep_get_statistics");
    *(void **)&own_version = dlsym(RTLD_DEFAULT, "sslsweep_version");
    *(void **)&own_for_each_session = dlsym(RTLD_DEFAULT, "sslsweep_for_each_session");
    if (own_flush != NULL && own_get_statistics != NULL && own_version != NULL && own_for_each_session != NULL)
        return 1;
    better(number, 0, "sslsweep's own functions are found by name");
    return !stock_cannot(number, "it has no functions of sslsweep") && own_flush != NULL;
}

struct sslsweep_statistics own_statistics(SSL_CTX *ctx)
{
    struct sslsweep_statistics statistics;
    if (own_get_statistics(ctx, &statistics, sizeof statistics) != 1)
        give_up("no statistics");
    return statistics;
}

uint64_t own_sum(const uint64_t *steps)
{
    uint64_t sum = 0;
    for (int i = 0; i < SSLSWEEP_HISTOGRAM_STEPS; i++)
        sum += steps[i];
    return sum;
}

void own_option(char **argv, const char *name, const char *value)
{
    char self[PATH_MAX] = "";
    const char *now = getenv(name);
    if (now != NULL && strcmp(now, value) == 0)
        return;
    setenv(name, value, 1);
    fflush(stdout);
    /* Not /proc/self/exe itself: under valgrind that is valgrind. */
    if (readlink("/proc/self/exe", self, sizeof self - 1) > 0)
        execv(self, argv);
    give_up("cannot run the program again");
}
