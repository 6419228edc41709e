/* C20: what a large cache took goes back to the allocator when it is emptied, and a context that stores
 * nothing costs next to nothing. Stock keeps its hash table at its largest until the context ends. */
#include "support.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLACK (64 * 1024)

/* What is mapped, and not from a file: large blocks of malloc, and tables that the library maps itself. */
static size_t mapped(void)
{
    char line[512];
    size_t sum = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (maps == NULL)
        give_up("/proc/self/maps");
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to, inode;
        char rights[5];
        int name = 0;
        if (sscanf(line, "%lx-%lx %4s %*x %*s %lu%n", &from, &to, rights, &inode, &name) == 4 && inode == 0
            && rights[0] == 'r' && rights[1] == 'w' && strchr(line + name, '[') == NULL)
            sum += to - from;
    }
    fclose(maps);
    return sum;
}

/* (Not what a tool maps that keeps its own books; it has another allocator, too.) */
static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + (slowly() ? 0 : mapped());
}

static SSL_SESSION *filling(unsigned n)
{
    unsigned char id[32] = {0};
    memcpy(id, &n, sizeof n);
    return make_session(TLS1_2_VERSION, id, sizeof id, 1000, 100 + (long)(n / 5000));
}

static void fill(SSL_CTX *ctx, unsigned many)
{
    for (unsigned n = 1; n <= many; n++) {
        SSL_SESSION *session = filling(n);
        SSL_CTX_add_session(ctx, session);
        SSL_SESSION_free(session);
    }
}

static void after_flush(time_t tm, const char *what)
{
    const unsigned many = slowly() ? 5000 : 100000;
    /* The C library keeps some pieces of each size at hand for a thread, and counts them as in use: it has
     * had them all before. */
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, 0);
    fill(ctx, many);
    SSL_CTX_free(ctx);

    ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, 0);
    store(ctx, 1, 1000, 100);
    flush(ctx, 0);
    size_t before = in_use();
    fill(ctx, many);
    size_t full = in_use();
    flush(ctx, tm);
    size_t after = in_use();
    printf("# %s: %zu kB before, %zu kB full, %zu kB after\n", what, before / 1024, full / 1024, after / 1024);
    /* Another allocator (valgrind's) is not counted: only that it goes well. */
    expect("C20", full > before + many * 300ul || slowly(), "%s: the sessions were counted", what);
    better("C20", after < before + SLACK, "%s: less than 64 kB stays of what they took", what);
    SSL_CTX_free(ctx);
    size_t end = in_use();
    expect("C20", end < before + SLACK, "%s: the end of the context gives up the rest", what);
}

static void emptied_by_removals(void)
{
    const unsigned many = slowly() ? 2000 : 20000; /* the index is some 60 bytes for each */
    for (int round = 0; round < 2; round++) {
        SSL_CTX *ctx = server_context();
        SSL_CTX_sess_set_cache_size(ctx, 0);
        store(ctx, many + 1, 1000, 100);
        flush(ctx, 0);
        size_t before = in_use();
        fill(ctx, many);
        for (unsigned n = 1; n <= many; n++) {
            SSL_SESSION *session = filling(n);
            SSL_CTX_remove_session(ctx, session);
            SSL_SESSION_free(session);
        }
        /* The first round fills what the C library keeps at hand. */
        if (round == 1)
            better("C20", in_use() < before + SLACK, "emptied by removals: less than 64 kB stays");
        SSL_CTX_free(ctx);
    }
}

static void again_and_again(void)
{
    SSL_CTX *ctx = server_context();
    size_t before = 0;
    unsigned stored = 0, many = slowly() ? 200 : 2000;
    for (int i = 0; i < 20; i++) {
        for (unsigned n = 1; n <= many; n++)
            stored += store(ctx, n, 1000, 100) == 1;
        flush(ctx, 0);
        if (i == 3)
            before = in_use();
    }
    expect("C3", stored == 20 * many, "each time all are stored");
    expect("C20", in_use() < before + SLACK, "filling and flushing again and again takes no more");
    SSL_CTX_free(ctx);
}

/* Bytes for each of many contexts, that store nothing: so many that what is allocated once does not count. */
static double of_empty_contexts(void)
{
    enum { MANY = 1000 };
    static SSL_CTX *ctx[MANY];
    int many = slowly() ? 50 : MANY;
    SSL_CTX_free(SSL_CTX_new(TLS_method()));
    size_t before = in_use();
    for (int i = 0; i < many; i++)
        ctx[i] = SSL_CTX_new(TLS_method());
    size_t after = in_use();
    for (int i = 0; i < many; i++)
        SSL_CTX_free(ctx[i]);
    return (double)(after - before) / many;
}

/* Under sslsweep in a child that is told to manage none. */
static double without_us(const char *program)
{
    int ends[2];
    double bytes = 0;
    if (pipe(ends) != 0)
        give_up("pipe");
    pid_t child = fork();
    if (child < 0)
        give_up("fork");
    if (child == 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", ends[1]);
        setenv("SSLSWEEP_DISABLE", "1", 1);
        setenv("TEST_REPORT_TO", number, 1);
        execl(program, program, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    if (read(ends[0], &bytes, sizeof bytes) != sizeof bytes)
        give_up("read from the child");
    close(ends[0]);
    waitpid(child, NULL, 0);
    return bytes;
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *report = getenv("TEST_REPORT_TO");
    if (report != NULL) {
        double bytes = of_empty_contexts();
        return write(atoi(report), &bytes, sizeof bytes) != sizeof bytes;
    }
    double ours = of_empty_contexts(), stock = without_us(argv[0]);
    printf("# an empty context: %.0f bytes, %.0f of them ours\n", ours, ours - stock);
    expect("C20", ours - stock < 1024, "a context that stores nothing costs a few hundred bytes more");
    after_flush(0, "flush(0)");
    after_flush(5000, "flush(tm)");
    emptied_by_removals();
    again_and_again();
    return done();
}
