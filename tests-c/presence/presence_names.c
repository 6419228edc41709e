/* P9: libraries that are no libssl and have functions of its names. One has a version node of its own, as GnuTLS's library for
 * OpenSSL's programs; one has no versions and is called libssl.so, as AWS-LC's and BoringSSL's; one has nothing but the flush
 * functions, whose names are found without a version with us. Objects and prototypes differ there (CRYPTO_get_ex_new_index puts
 * the index where its second argument says), so each call must reach its library with all that it was given, and come back
 * with all that was returned: alone, beside a real libssl, and under SSLSWEEP_DISABLE=1.
 *
 * The program has no libssl, and uses none of the helpers, which need one. The same source is each library (-DLIBRARY) and
 * the plug-ins that are linked with it (-DPLUGIN). NAMES is a list that is made of checks/abi/symbols.tsv; see plugins.mk. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ARGUMENTS = 6 };

/* The last call that has arrived in a library. */
typedef struct arrival {
    const char *name;
    uint64_t arguments[ARGUMENTS];
} arrival;

#define SIX uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t

#ifdef LIBRARY

static arrival last;

arrival *names_last(void);
arrival *names_last(void) { return &last; }

static uint64_t arrived(const char *name, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
    last = (arrival){name, {a, b, c, d, e, f}};
    return ~a; /* more than an int holds */
}

# define X(name)                                                                                                             \
    uint64_t name(SIX);                                                                                                      \
    uint64_t name(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)                                     \
    {                                                                                                                        \
        return arrived(#name, a, b, c, d, e, f);                                                                             \
    }
# include NAMES

#elif defined PLUGIN

extern arrival *names_last(void);
# define X(name) extern uint64_t name(SIX);
# include NAMES
# undef X

static struct {
    long fields[64];
} object; /* what the libraries call a context, a session, a connection */

/* A flush has two arguments and returns nothing, in all of these libraries; either may arrive as the other (F10). */
static int is_right(const char *name, uint64_t first, uint64_t returned)
{
    const arrival *last = names_last();
    const size_t flush = strncmp(name, "SSL_CTX_flush_sessions", 22) == 0 ? 22 : 0;
    if (last->name == NULL || (flush ? strncmp(last->name, name, flush) : strcmp(last->name, name)) != 0)
        return 0;
    if (!flush && returned != ~first)
        return 0;
    for (unsigned i = 0; i < (flush ? 2 : ARGUMENTS); i++)
        if (last->arguments[i] != (i == 0 ? first : 0x0123456700000000u + i))
            return 0;
    return 1;
}

/* Calls each. The first one that went wrong, or NULL. */
const char *call_all(void);
const char *call_all(void)
{
    const uint64_t first = (uint64_t)(uintptr_t)&object, more = 0x0123456700000000u;
    const char *wrong = NULL;
# define X(name)                                                                                                             \
    memset(names_last(), 0, sizeof(arrival));                                                                                \
    if (!is_right(#name, first, name(first, more + 1, more + 2, more + 3, more + 4, more + 5)) && wrong == NULL)             \
        wrong = #name;
# include NAMES
    return wrong;
}

#else

# include <dlfcn.h>
# include <limits.h>
# include <stdio.h>
# include <stdlib.h>
# include <unistd.h>

# include "support.h" /* for LIBSSL_SONAME alone */

static int failed;

static void *load(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        printf("GAVE UP - %s\n", dlerror());
        exit(1);
    }
    return handle;
}

/* The plug-in of this name beside the program. */
static void *load_beside(const char *program, const char *which)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s.%s.so", program, which);
    return load(path);
}

static void call(void *plug_in, const char *text)
{
    const char *(*call_all)(void);
    *(void **)&call_all = dlsym(plug_in, "call_all");
    const char *wrong = call_all(), *disabled = getenv("SSLSWEEP_DISABLE");
    printf("%s P9 - %s%s%s%s\n", wrong ? "FAILED" : "ok", disabled ? "disabled: " : "", text, wrong ? ", but for " : "",
           wrong ? wrong : "");
    failed |= wrong != NULL;
}

int main(int count, char **argument)
{
    (void)count;
    char program[PATH_MAX - 32];
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("# under: %s\n", dlsym(RTLD_DEFAULT, "sslsweep_version") != NULL ? "sslsweep" : "stock");
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0)
        return 1;
    program[length] = '\0';
    void *versioned = load_beside(program, "versioned"), *plain = load_beside(program, "plain"),
         *few = load_beside(program, "few");
    call(versioned, "each call reaches a library with a node of its own");
    call(plain, "each call reaches a library without versions");
    call(few, "a flush reaches a library that has nothing else");
    load(LIBSSL_SONAME);
    call(versioned, "a library with a node of its own beside a libssl");
    call(plain, "a library without versions beside a libssl");
    call(few, "a library that has only a flush beside a libssl");
    if (!failed && getenv("SSLSWEEP_DISABLE") == NULL) {
        setenv("SSLSWEEP_DISABLE", "1", 1);
        execv(program, argument);
    }
    printf("%s\n", failed ? "done: FAILED" : "done");
    return failed;
}

#endif
