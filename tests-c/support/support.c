#include "support.h"

#include <dlfcn.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Statements ---- */

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static int stated, failed;

int sweeping(void)
{
    return dlsym(RTLD_DEFAULT, "sslsweep_version") != NULL;
}

static int is_set(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0';
}

int slowly(void)
{
    return is_set("TEST_SLOW");
}

void limit_time(void)
{
    alarm(slowly() ? 600 : 60);
}

void limit_long_time(void)
{
    alarm(slowly() ? 800 : 240);
}

int emulated(void)
{
    return is_set("TEST_EMULATED");
}

/* The harness checks this line against the way it asked for. It comes first, whatever happens later. */
__attribute__((constructor)) static void announce(void)
{
    /* Line by line, so that what came before a crash is seen. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("# under: %s\n", sweeping() ? "sslsweep" : "stock");
}

static void line(const char *before, const char *fmt, va_list args)
{
    pthread_mutex_lock(&output);
    fputs(before, stdout);
    vprintf(fmt, args);
    putchar('\n');
    pthread_mutex_unlock(&output);
}

void say(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    line("", fmt, args);
    va_end(args);
}

static void count(int ok)
{
    __atomic_add_fetch(&stated, 1, __ATOMIC_RELAXED);
    if (!ok)
        __atomic_add_fetch(&failed, 1, __ATOMIC_RELAXED);
}

void expect(const char *number, int ok, const char *fmt, ...)
{
    char before[64];
    va_list args;
    count(ok);
    snprintf(before, sizeof before, "%s %s - ", ok ? "ok" : "FAILED", number);
    va_start(args, fmt);
    line(before, fmt, args);
    va_end(args);
}

void better(const char *number, int ok, const char *fmt, ...)
{
    char before[64];
    va_list args;
    count(ok || !sweeping());
    if (sweeping()) {
        snprintf(before, sizeof before, "+ %s %s - ", ok ? "ok" : "FAILED", number);
    } else {
        snprintf(before, sizeof before, "+ stock %s %s - ", ok ? "too:" : "not:", number);
    }
    va_start(args, fmt);
    line(before, fmt, args);
    va_end(args);
}

int stock_cannot(const char *number, const char *reason)
{
    if (sweeping())
        return 0;
    count(1);
    pthread_mutex_lock(&output);
    printf("- %s stock cannot: %s\n", number, reason);
    pthread_mutex_unlock(&output);
    return 1;
}

int libssl_since(unsigned release)
{
    return OpenSSL_version_num() >> 20 >= release;
}

int libssl_calls_back_unlocked(void)
{
    return OpenSSL_version_num() >= 0x30600050L;
}

int libssl_before_cve_2024_2511(void)
{
    unsigned long version = OpenSSL_version_num() >> 4;
    return version < 0x300000e || (version >= 0x3010000 && version < 0x3010006)
        || (version >= 0x3020000 && version < 0x3020002);
}

/* What the dynamic section of libssl says. */
static int is_symbolic(struct dl_phdr_info *info, size_t size, void *symbolic)
{
    (void)size;
    if (strstr(info->dlpi_name, "/libssl.so") == NULL)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_DYNAMIC)
            continue;
        const ElfW(Dyn) *entry = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        for (; entry->d_tag != DT_NULL; entry++)
            if (entry->d_tag == DT_SYMBOLIC || (entry->d_tag == DT_FLAGS && entry->d_un.d_val & DF_SYMBOLIC))
                *(int *)symbolic = 1;
    }
    return 1;
}

int libssl_binds_itself(void)
{
    int symbolic = 0;
    dl_iterate_phdr(is_symbolic, &symbolic);
    return symbolic;
}

void *libssl_function(const char *name, const char *node)
{
    Dl_info own, found;
    void *function = dlsym(RTLD_DEFAULT, name);
    /* Of the static library the program has the plain name. */
    if (function != NULL && dladdr(function, &found) && dladdr((void *)(size_t)libssl_function, &own) && found.dli_fbase == own.dli_fbase)
        return function;
#ifdef __GLIBC__
    function = dlvsym(RTLD_DEFAULT, name, node);
    return function != NULL ? function : dlvsym(RTLD_DEFAULT, name, "OPENSSL_4.0.0");
#else /* a C library without versions */
    (void)node;
    return function;
#endif
}

void *libssl_function_past(const char *name)
{
    static void *libssl;
    if (libssl == NULL && (libssl = dlopen(LIBSSL_SONAME, RTLD_NOW | RTLD_LOCAL)) == NULL)
        give_up("%s", dlerror());
    void *function = dlsym(libssl, name);
    if (function == NULL)
        give_up("%s", dlerror());
    return function;
}

int run_program(const char *program, const char *argument, const char *preload)
{
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (preload != NULL)
            setenv("LD_PRELOAD", preload, 1);
        if (freopen("/dev/null", "w", stdout) != NULL)
            execl(program, program, argument, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        give_up("fork");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int done(void)
{
    if (stated == 0) {
        printf("FAILED - nothing was stated\n");
        failed = 1;
    }
    /* The matrix checks that this is the libssl it asked for. */
    printf("# libssl: %s, %s\n", OpenSSL_version(OPENSSL_VERSION), libssl_binds_itself() ? "symbolic" : "plt");
    printf("# stated: %d, failed: %d\n", stated, failed);
    printf("%s\n", failed ? "done: FAILED" : "done");
    return failed ? 1 : 0;
}

_Noreturn void give_up(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    line("GAVE UP - ", fmt, args);
    va_end(args);
    fflush(stdout);
    abort();
}

/* ---- OpenSSL ---- */

void flush(SSL_CTX *ctx, time_t tm)
{
#if OPENSSL_VERSION_NUMBER >= 0x30400000L
    SSL_CTX_flush_sessions_ex(ctx, tm);
#else
    void (*flush_ex)(SSL_CTX *, time_t) = NULL;
    if (sweeping()) /* what stock finds by this name may be of another libssl than ctx */
        *(void **)&flush_ex = dlsym(RTLD_DEFAULT, "SSL_CTX_flush_sessions_ex");
    if (flush_ex != NULL)
        flush_ex(ctx, tm);
    else
        SSL_CTX_flush_sessions(ctx, (long)tm);
#endif
}

SSL_CTX *server_context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL)
        give_up("SSL_CTX_new");
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    return ctx;
}

SSL_SESSION *make_session(int version, const void *id, unsigned id_len, time_t time, long timeout)
{
    SSL_SESSION *session = SSL_SESSION_new();
    if (session == NULL || !SSL_SESSION_set_protocol_version(session, version)
        || !SSL_SESSION_set1_id(session, id, id_len))
        give_up("make_session: version %x, id of %u bytes", version, id_len);
    SSL_SESSION_set_time(session, (long)time);
    SSL_SESSION_set_timeout(session, timeout);
    return session;
}

static int number_index = -1;
static pthread_once_t number_once = PTHREAD_ONCE_INIT;

static void new_number_index(void)
{
    number_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    if (number_index < 0)
        give_up("SSL_SESSION_get_ex_new_index");
}

void number_session(SSL_SESSION *session, unsigned n)
{
    pthread_once(&number_once, new_number_index);
    if (!SSL_SESSION_set_ex_data(session, number_index, (void *)(size_t)n))
        give_up("SSL_SESSION_set_ex_data");
}

unsigned session_number(const SSL_SESSION *session)
{
    pthread_once(&number_once, new_number_index);
    return (unsigned)(size_t)SSL_SESSION_get_ex_data(session, number_index);
}

SSL_SESSION *numbered_session(unsigned n, time_t time, long timeout)
{
    unsigned char id[32];
    unsigned spread = n * 2654435761u; /* stock hashes the first four bytes only: keep its table fast */
    memset(id, 0x5a, sizeof id);
    for (int i = 0; i < 4; i++) {
        id[i] = (unsigned char)(spread >> (8 * i));
        id[4 + i] = (unsigned char)(n >> (8 * i));
    }
    SSL_SESSION *session = make_session(TLS1_2_VERSION, id, sizeof id, time, timeout);
    number_session(session, n);
    return session;
}

int store(SSL_CTX *ctx, unsigned n, time_t time, long timeout)
{
    SSL_SESSION *session = numbered_session(n, time, timeout);
    int stored = SSL_CTX_add_session(ctx, session);
    SSL_SESSION_free(session);
    return stored;
}

long size_to_hold(long n)
{
    return sweeping() || !libssl_since(0x300) ? n : n + 1;
}

int no_errors(void)
{
    unsigned long error = ERR_peek_error();
    char text[256];
    if (error == 0)
        return 1;
    ERR_error_string_n(error, text, sizeof text);
    printf("# error queue: %s\n", text);
    ERR_clear_error();
    return 0;
}

/* ---- Recorder ---- */

static struct {
    pthread_mutex_t lock;
    removal *all;
    size_t count, room;
    struct {
        SSL_CTX *ctx;
        char name;
    } names[26];
    int named;
    char text[4096];
} recorder = {.lock = PTHREAD_MUTEX_INITIALIZER};

void record_removals(SSL_CTX *ctx, char name)
{
    pthread_mutex_lock(&recorder.lock);
    int i = 0;
    /* Addresses are reused, and so are letters: the last word on either wins. */
    while (i < recorder.named && recorder.names[i].ctx != ctx && recorder.names[i].name != name)
        i++;
    if (i == 26)
        give_up("record_removals: too many contexts");
    recorder.names[i].ctx = ctx;
    recorder.names[i].name = name;
    if (i == recorder.named)
        recorder.named++;
    pthread_mutex_unlock(&recorder.lock);
    SSL_CTX_sess_set_remove_cb(ctx, record_removal);
}

void record_removal(SSL_CTX *ctx, SSL_SESSION *session)
{
    removal r = {ctx, session_number(session), SSL_SESSION_is_resumable(session),
                 SSL_CTX_sess_number(ctx)};
    pthread_mutex_lock(&recorder.lock);
    if (recorder.count == recorder.room) {
        recorder.room = recorder.room ? 2 * recorder.room : 64;
        recorder.all = realloc(recorder.all, recorder.room * sizeof *recorder.all);
        if (recorder.all == NULL)
            abort();
    }
    recorder.all[recorder.count++] = r;
    pthread_mutex_unlock(&recorder.lock);
}

void forget_removals(void)
{
    pthread_mutex_lock(&recorder.lock);
    free(recorder.all);
    recorder.all = NULL;
    recorder.count = recorder.room = 0;
    pthread_mutex_unlock(&recorder.lock);
}

size_t removals(void)
{
    pthread_mutex_lock(&recorder.lock);
    size_t count = recorder.count;
    pthread_mutex_unlock(&recorder.lock);
    return count;
}

removal removal_at(size_t i)
{
    removal r = {NULL, 0, -1, -1};
    pthread_mutex_lock(&recorder.lock);
    if (i < recorder.count)
        r = recorder.all[i];
    pthread_mutex_unlock(&recorder.lock);
    return r;
}

static char name_of(SSL_CTX *ctx)
{
    for (int i = 0; i < recorder.named; i++)
        if (recorder.names[i].ctx == ctx)
            return recorder.names[i].name;
    return '?';
}

static int by_name_and_number(const void *a, const void *b)
{
    const removal *x = a, *y = b;
    int names = name_of(x->ctx) - name_of(y->ctx);
    return names != 0 ? names : (x->session > y->session) - (x->session < y->session);
}

static const char *list(int sorted)
{
    size_t used = 0;
    pthread_mutex_lock(&recorder.lock);
    recorder.text[0] = '\0';
    removal *copy = malloc((recorder.count + 1) * sizeof *copy);
    if (copy == NULL)
        abort();
    if (recorder.count)
        memcpy(copy, recorder.all, recorder.count * sizeof *copy);
    if (sorted)
        qsort(copy, recorder.count, sizeof *copy, by_name_and_number);
    for (size_t i = 0; i < recorder.count; i++) {
        if (used + 32 > sizeof recorder.text) {
            strcpy(recorder.text + used, "...");
            break;
        }
        used += (size_t)sprintf(recorder.text + used, "%s%c%u", i ? " " : "", name_of(copy[i].ctx),
                                copy[i].session);
    }
    free(copy);
    pthread_mutex_unlock(&recorder.lock);
    return recorder.text;
}

const char *removed(void)
{
    return list(0);
}

const char *removed_sorted(void)
{
    return list(1);
}

/* ---- Gate ---- */

void gate_open(gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->open = 1;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

int gate_wait(gate *g, int seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&g->lock);
    while (!g->open && pthread_cond_timedwait(&g->changed, &g->lock, &until) == 0)
        ;
    int open = g->open;
    pthread_mutex_unlock(&g->lock);
    return open;
}

void read_all(int fd, char *text, size_t room)
{
    size_t used = 0;
    ssize_t n;
    while (used + 1 < room && (n = read(fd, text + used, room - used - 1)) > 0)
        used += (size_t)n;
    text[used] = '\0';
    close(fd);
}
