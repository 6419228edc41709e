/* observe.so: preloaded before whatever else into a server, with sslsweep or without. Writes what the public API
 * says of the session caches to the file that OBSERVE names, a line for each context when the process
 * ends and a line for each flush that the program asks for and that removes something:
 *
 *   context PID number=2 connect=0 ... full=0 held=2
 *   flush PID before=20 after=2
 *
 * held: how many sessions libssl itself holds, asked past sslsweep.
 *
 * Programs show few or none of these counters themselves, and on stock libssl nothing else does. SSL_CTX_new
 * is left alone: sslsweep should see the program as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNTERS = 12, CONTEXTS = 64 };

static const struct {
    const char *name;
    int command;
} counters[COUNTERS] = {
    {"number", SSL_CTRL_SESS_NUMBER}, /* the others never fall */
    {"connect", SSL_CTRL_SESS_CONNECT},
    {"connect_good", SSL_CTRL_SESS_CONNECT_GOOD},
    {"connect_again", SSL_CTRL_SESS_CONNECT_RENEGOTIATE},
    {"accept", SSL_CTRL_SESS_ACCEPT},
    {"accept_good", SSL_CTRL_SESS_ACCEPT_GOOD},
    {"accept_again", SSL_CTRL_SESS_ACCEPT_RENEGOTIATE},
    {"hits", SSL_CTRL_SESS_HIT},
    {"external_hits", SSL_CTRL_SESS_CB_HIT},
    {"misses", SSL_CTRL_SESS_MISSES},
    {"timeouts", SSL_CTRL_SESS_TIMEOUTS},
    {"full", SSL_CTRL_SESS_CACHE_FULL},
};

/* A context may be gone once the program has given up a reference: what it showed just before is kept. */
static struct context {
    SSL_CTX *ctx;
    bool may_be_gone;
    long last[COUNTERS], held;
} contexts[CONTEXTS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int file = -1;

/* What the program would have called: sslsweep has these names under libssl's version nodes only. */
static void *next(const char *name)
{
    void *function = NULL;
#ifdef __GLIBC__ /* others know no versions */
    static const char *const nodes[] = {"OPENSSL_3.0.0", "OPENSSL_4.0.0", "OPENSSL_1_1_0", "OPENSSL_1_1_1"};
    for (size_t i = 0; function == NULL && i < sizeof nodes / sizeof *nodes; i++)
        function = dlvsym(RTLD_NEXT, name, nodes[i]);
#endif
    if (!function)
        function = dlsym(RTLD_NEXT, name);
    if (!function) {
        fprintf(stderr, "observe: no %s\n", name);
        abort();
    }
    return function;
}

typedef long ctrl(SSL_CTX *ctx, int command, long number, void *pointer);

static long ask(SSL_CTX *ctx, int command)
{
    return ((ctrl *)next("SSL_CTX_ctrl"))(ctx, command, 0, NULL);
}

static long ask_libssl(SSL_CTX *ctx, int command)
{
    Dl_info libssl; /* where a function is that nobody replaces */
    void *handle = dladdr(next("SSL_get_version"), &libssl) ? dlopen(libssl.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    ctrl *real = handle ? (ctrl *)dlsym(handle, "SSL_CTX_ctrl") : NULL;
    if (!real)
        abort();
    long answer = real(ctx, command, 0, NULL);
    dlclose(handle);
    return answer;
}

static void look(struct context *c)
{
    for (int i = 0; i < COUNTERS; i++)
        c->last[i] = ask(c->ctx, counters[i].command);
    c->held = ask_libssl(c->ctx, SSL_CTRL_SESS_NUMBER);
}

static struct context *find(const SSL_CTX *ctx)
{
    for (int i = 0; i < CONTEXTS; i++)
        if (contexts[i].ctx == ctx)
            return &contexts[i];
    return NULL;
}

static void open_file(void);

static void say(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (file >= 0 && write(file, line, (size_t)length) != length) {
        open_file(); /* ProFTPD closes whatever its processes inherit */
        if (write(file, line, (size_t)length) != length)
            abort();
    }
}

static void report(struct context *c)
{
    char text[400];
    int used = 0;
    for (int i = 0; i < COUNTERS; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, " %s=%ld", counters[i].name, c->last[i]);
    say("context %d%s held=%ld\n", getpid(), text, c->held);
    c->ctx = NULL; /* said once, also when the program ends twice */
}

static void end(void)
{
    pthread_mutex_lock(&lock);
    for (struct context *c = contexts; c < contexts + CONTEXTS; c++) {
        if (!c->ctx)
            continue;
        if (!c->may_be_gone)
            look(c);
        report(c);
    }
    pthread_mutex_unlock(&lock);
}

/* Opened early: a server may change its root folder or its user later. */
static void open_file(void)
{
    const char *path = getenv("OBSERVE");
    if (path)
        file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
}

__attribute__((constructor)) static void begin(void)
{
    open_file();
    atexit(end);
}

void _exit(int status)
{
    end();
    ((void (*)(int))next("_exit"))(status);
    __builtin_unreachable();
}

/* Debian's libssl calls its own functions through here as well. */
static bool is_libssl(const void *caller)
{
    Dl_info object;
    return dladdr(caller, &object) && strstr(object.dli_fname, "libssl.so");
}

SSL *SSL_new(SSL_CTX *ctx)
{
    pthread_mutex_lock(&lock);
    struct context *c = find(ctx);
    if (c && c->may_be_gone) {
        struct context now = {.ctx = ctx};
        look(&now);
        for (int i = 1; c->ctx && i < COUNTERS; i++)
            if (now.last[i] < c->last[i]) /* another one at the same address */
                report(c);
        c = find(ctx);
    }
    if (!c)
        c = find(NULL);
    if (c) {
        c->ctx = ctx;
        c->may_be_gone = false;
    }
    pthread_mutex_unlock(&lock);
    if (!c)
        abort(); /* more contexts than anybody expected */
    return ((SSL * (*)(SSL_CTX *))next("SSL_new"))(ctx);
}

void SSL_CTX_free(SSL_CTX *ctx)
{
    pthread_mutex_lock(&lock);
    struct context *c = ctx ? find(ctx) : NULL;
    if (c) {
        look(c);
        /* libssl gives up the reference of a connection that ends; the program's is not the last one after it. */
        c->may_be_gone |= !is_libssl(__builtin_return_address(0));
    }
    pthread_mutex_unlock(&lock);
    ((void (*)(SSL_CTX *))next("SSL_CTX_free"))(ctx);
}

static void flush(const char *name, SSL_CTX *ctx, time_t at, const void *caller)
{
    static __thread int depth; /* one of the two functions may call the other */
    long before = ask(ctx, SSL_CTRL_SESS_NUMBER);
    depth++;
    ((void (*)(SSL_CTX *, time_t))next(name))(ctx, at); /* the older function takes a long, which is a time_t here */
    depth--;
    long after = ask(ctx, SSL_CTRL_SESS_NUMBER);
    if (after < before && depth == 0 && !is_libssl(caller))
        say("flush %d before=%ld after=%ld\n", getpid(), before, after);
}
_Static_assert(sizeof(time_t) == sizeof(long), "one type for both functions");

void SSL_CTX_flush_sessions(SSL_CTX *ctx, long at)
{
    flush("SSL_CTX_flush_sessions", ctx, at, __builtin_return_address(0));
}

void SSL_CTX_flush_sessions_ex(SSL_CTX *ctx, time_t at)
{
    flush("SSL_CTX_flush_sessions_ex", ctx, at, __builtin_return_address(0));
}
