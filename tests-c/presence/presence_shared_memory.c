/* P11: servers that keep OpenSSL's memory where all their processes see it (CRYPTO_set_mem_functions), and so have one
 * context and one cache for all of them. Such contexts are left to libssl, whichever process made them; contexts in
 * memory that the program only manages in its own way are not. */

/* Leaks: memory of the program's own is dropped as a whole. */
#include "handshake.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Memory: blocks of powers of two, freed ones in lists, one lock for all processes ---- */

enum { AREA = 64 << 20, PAGE = 4096, LEAST = 5, CLASSES = 27 };

struct block {
    union {
        struct {
            struct block *next;
            int class;
        };
        char align[16];
    };
};

struct area {
    atomic_flag lock;
    size_t used;
    struct block *freed[CLASSES];
};

static struct area *area;

/* One page apart, which the next large block gets: a context's. */
static char *page;
static int wants_page;

static void lock_area(void)
{
    while (atomic_flag_test_and_set(&area->lock))
        sched_yield();
}

static void *area_malloc(size_t size, const char *file, int line)
{
    int class = LEAST;
    (void)file, (void)line;
    if (size == 0)
        return NULL;
    if (wants_page && size > 512 && size < PAGE) {
        wants_page = 0;
        return page;
    }
    while (((size_t)1 << class) < size + sizeof(struct block))
        class++;
    lock_area();
    struct block *block = class < CLASSES ? area->freed[class] : NULL;
    if (block != NULL) {
        area->freed[class] = block->next;
    } else if (class < CLASSES && area->used + ((size_t)1 << class) <= AREA) {
        block = (struct block *)((char *)area + area->used);
        area->used += (size_t)1 << class;
        block->class = class;
    }
    atomic_flag_clear(&area->lock);
    return block != NULL ? block + 1 : NULL;
}

static void area_free(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    if (memory == NULL || memory == page)
        return;
    struct block *block = (struct block *)memory - 1;
    lock_area();
    block->next = area->freed[block->class];
    area->freed[block->class] = block;
    atomic_flag_clear(&area->lock);
}

static void *area_realloc(void *memory, size_t size, const char *file, int line)
{
    if (memory == NULL)
        return area_malloc(size, file, line);
    size_t had = ((size_t)1 << ((struct block *)memory - 1)->class) - sizeof(struct block);
    if (size > 0 && size <= had)
        return memory;
    void *more = area_malloc(size, file, line);
    if (more != NULL)
        memcpy(more, memory, had);
    if (more != NULL || size == 0)
        area_free(memory, file, line);
    return more;
}

static void *map(void *address, size_t size, int kind)
{
    int flags = kind | MAP_ANONYMOUS | (address != NULL ? MAP_FIXED : 0);
    void *memory = mmap(address, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED)
        give_up("mmap");
    return memory;
}

/* Before anything else of OpenSSL's. */
static void use_area(int kind)
{
    area = map(NULL, AREA, kind);
    area->used = (sizeof *area + 63) / 64 * 64;
    if (!CRYPTO_set_mem_functions(area_malloc, area_realloc, area_free))
        give_up("the memory functions are refused");
}

/* ---- Processes, one after another ---- */

static int in_child(int (*body)(void))
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(body());
    if (child < 0 || waitpid(child, &status, 0) != child)
        give_up("fork");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* What the processes tell one another. */
static struct {
    SSL_CTX *server, *client;
    SSL_SESSION *session;
    int removals;
} *seen;

static int is_managed(SSL_CTX *ctx)
{
    int (*get_statistics)(SSL_CTX *, void *, size_t) = NULL;
    unsigned version;
    *(void **)&get_statistics = dlsym(RTLD_DEFAULT, "sslsweep_get_statistics");
    return get_statistics != NULL && get_statistics(ctx, &version, sizeof version) == 1;
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    seen->removals++;
}

static int make_contexts(void)
{
    seen->server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    seen->client = hs_client(TLS1_2_VERSION);
    SSL_CTX_sess_set_remove_cb(seen->server, on_remove);
    return is_managed(seen->server);
}

static int connect_first(void)
{
    seen->session = hs_first(seen->server, seen->client);
    return SSL_CTX_sess_number(seen->server) == 1 ? 0 : 1;
}

static int resume(void)
{
    return hs_resume(seen->server, seen->client, seen->session);
}

static int number(void)
{
    return (int)SSL_CTX_sess_number(seen->server);
}

static int flush_all(void)
{
    flush(seen->server, 0);
    return seen->removals;
}

/* Each function, in a process that did not make the context. */
static int use_all(void)
{
    SSL_CTX *ctx = seen->server;
    seen->removals = 0;
    SSL_SESSION *session = numbered_session(1, 1000, 100);
    long size = SSL_CTX_sess_get_cache_size(ctx), mode = SSL_CTX_get_session_cache_mode(ctx);
    int bad = SSL_CTX_sess_get_remove_cb(ctx) != on_remove || SSL_CTX_sess_get_new_cb(ctx) != NULL
        || SSL_CTX_sess_get_get_cb(ctx) != NULL;
    bad |= 2 * (SSL_CTX_sess_set_cache_size(ctx, size) != size || SSL_CTX_set_session_cache_mode(ctx, mode) != mode);
    bad |= 4 * (SSL_CTX_add_session(ctx, session) != 1 || SSL_CTX_sess_number(ctx) != 1);
    bad |= 8 * (OPENSSL_LH_num_items((OPENSSL_LHASH *)SSL_CTX_sessions(ctx)) != 1);
    SSL_SESSION_set_timeout(session, 200);
    flush(ctx, 1101);
    bad |= 16 * (SSL_CTX_sess_number(ctx) != 1 || seen->removals != 0);
    flush(ctx, 1201);
    bad |= 32 * (SSL_CTX_sess_number(ctx) != 0 || seen->removals != 1);
    SSL_CTX_add_session(ctx, session);
    bad |= 64 * (SSL_CTX_remove_session(ctx, session) != 1 || seen->removals != 2);
    SSL_SESSION_free(session);
    return bad;
}

static int free_contexts(void)
{
    seen->removals = 0;
    SSL_CTX_free(seen->server);
    SSL_CTX_free(seen->client);
    return seen->removals;
}

static int shared(void)
{
    use_area(MAP_SHARED);
    better("P11", make_contexts() == 0, "a context in shared memory is left to libssl");
    expect("P11", in_child(connect_first) == 0, "one process stores a session");
    expect("P11", in_child(number) == 1, "another one sees it");
    expect("P11", in_child(resume) == HS_RESUMED, "and resumes it");
    expect("P11", resume() == HS_RESUMED, "and so does the one that made the context");
    expect("P11", in_child(flush_all) == 1 && number() == 0, "a third one flushes it, with its callback");
    expect("P11", in_child(resume) == HS_FULL, "then it is gone for all");
    flush(seen->server, 0);
    expect("P11", in_child(use_all) == 0, "each function, in a process that did not make it");
    expect("P11", use_all() == 0, "and in the one that did");
    in_child(connect_first);
    expect("P11", in_child(free_contexts) == 1, "it is freed by another process");

    expect("P11", in_child(make_contexts) == 0, "a context is made after the fork, by another process");
    expect("P11", !is_managed(seen->server) && number() == 0, "perhaps at the former's address");
    expect("P11", in_child(connect_first) == 0 && number() == 1 && resume() == HS_RESUMED, "it has one cache for all");
    expect("P11", flush_all() > 0 && in_child(number) == 0 && in_child(resume) == HS_FULL, "and is flushed for all");
    free_contexts();
    return done();
}

/* Functions of the program's own for memory that nobody else sees. */
static int own_memory(void)
{
    use_area(MAP_PRIVATE);
    better("P11", make_contexts() == 1, "a context in memory of the program's own is managed");
    expect("P11", in_child(connect_first) == 0 && number() == 0, "and each process has its cache");
    expect("P11", connect_first() == 0 && resume() == HS_RESUMED, "with sessions of its own");
    expect("P11", free_contexts() >= 1, "to its end");
    return done();
}

/* What is known of a context that has gone unseen is not taken for that of the next one at its address. */
static int same_address(void)
{
    use_area(MAP_PRIVATE);
    page = map(NULL, PAGE, MAP_PRIVATE);
    make_contexts(); /* what libssl makes once is made */
    wants_page = 1;
    make_contexts();
    if ((char *)seen->server != page)
        give_up("the context is not where it was meant to be");
    better("P11", is_managed(seen->server), "a context that is managed");
    connect_first();
    map(page, PAGE, MAP_SHARED);
    wants_page = 1;
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    if ((char *)server != page)
        give_up("the next one is not where it was meant to be");
    expect("P11", !is_managed(server), "goes unseen, and one in shared memory comes to its address");
    expect("P11", SSL_CTX_sess_number(server) == 0 && SSL_CTX_sess_get_remove_cb(server) == NULL, "as if it were new");
    expect("P11", hs_resume(server, seen->client, seen->session) == HS_FULL, "the former's sessions are not its");
    flush(server, 0);
    SSL_CTX_free(server);
    return done();
}

/* SSLSWEEP_VERBOSE says it once. */
static void said(const char *program)
{
    int lines = 0, status;
    char line[300];
    int pipes[2];
    if (pipe(pipes) != 0)
        give_up("pipe");
    pid_t child = fork();
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        setenv("SSLSWEEP_VERBOSE", "1", 1);
        execl(program, program, "quietly", (char *)NULL);
        _exit(1);
    }
    close(pipes[1]);
    FILE *file = fdopen(pipes[0], "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        lines += strstr(line, "in memory that processes share") != NULL;
    if (file == NULL || waitpid(child, &status, 0) != child || status != 0)
        give_up("the program run again");
    fclose(file);
    better("P11", lines == 1, "SSLSWEEP_VERBOSE says it once");
}

static int quietly(void)
{
    use_area(MAP_SHARED);
    make_contexts();
    make_contexts();
    return SSL_CTX_sess_number(seen->server) != 0;
}

int main(int argc, char **argv)
{
    limit_time();
    seen = map(NULL, PAGE, MAP_SHARED);
    if (argc > 1 && strcmp(argv[1], "quietly") == 0) {
        fclose(stdout);
        return quietly();
    }
    /* Memory functions are set before anything else, once in a process. */
    int (*const parts[])(void) = {shared, own_memory, same_address};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        expect("P11", in_child(parts[i]) == 0, "part %zu", i + 1);
    said(argv[0]);
    return done();
}
