/* sslsweep's own functions, looked up by name, as a program does that may be preloaded or not. */
#ifndef TESTS_OWN_H
#define TESTS_OWN_H

#include "support.h"

#include <stdint.h>

#include <sslsweep.h>

extern int (*own_flush)(SSL_CTX *, time_t, uint64_t, uint64_t, struct sslsweep_flushed *);
extern int (*own_get_statistics)(SSL_CTX *, struct sslsweep_statistics *, size_t);
extern const char *(*own_version)(void);
extern int64_t (*own_for_each_session)(SSL_CTX *, int (*)(SSL_SESSION *, void *), void *);

/* 1 when they are there; on stock, which has none, 0, and stated so under this number. */
int own_functions(const char *number);

/* The statistics of a context; gives up where there are none. */
struct sslsweep_statistics own_statistics(SSL_CTX *ctx);

/* The sum of a histogram's steps. */
uint64_t own_sum(const uint64_t *steps);

/* The program again, with this option in its environment, unless that is so already. Begin main with it. */
void own_option(char **argv, const char *name, const char *value);

#endif
