/* The options in the environment: what each does, and what a bad value gets. The program runs itself
 * again with one option set and reads what that run wrote to its standard error. */
#include "handshake.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each with its default. */
static const struct {
    const char *name, *value;
} options[] = {
    {"SSLSWEEP_VERBOSE", "0"},       {"SSLSWEEP_DISABLE", "0"},      {"SSLSWEEP_STATS", "0"},
    {"SSLSWEEP_AUTOFLUSH", "batch"}, {"SSLSWEEP_EVICTION", "expiry"},
    {"SSLSWEEP_TICKETS", "program"},
};

/* In the second run: some work, then three observations on standard output. */
static int work(void)
{
    SSL_CTX *server = hs_server(ANY_TLS, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    hs_result again = hs_resume(server, client, session);
    SSL_CTX_sess_set_cache_size(server, 3);
    for (unsigned n = 1; n <= 5; n++)
        store(server, n, time(NULL), 100 + (long)n);
    long held = SSL_CTX_sess_number(server);
    flush(server, 0);
    printf("WORK %s %ld %ld\n", hs_word(again), held, SSL_CTX_sess_number(server));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return 0;
}

typedef struct outcome {
    int status;
    char again[16];
    long held, left;
    char stderr_text[8192];
    int lines;
} outcome;

static void close_both(int out[2], int err[2])
{
    close(out[0]);
    close(out[1]);
    close(err[0]);
    close(err[1]);
}

static char self[PATH_MAX];

static outcome run(const char *name, const char *value)
{
    outcome o = {.status = -1, .held = -1, .left = -1};
    char text[4096];
    int out[2], err[2];
    if (pipe(out) != 0 || pipe(err) != 0)
        give_up("pipe");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        limit_time();
        for (size_t i = 0; i < sizeof options / sizeof *options; i++)
            unsetenv(options[i].name);
        if (name != NULL)
            setenv(name, value, 1);
        dup2(out[1], 1);
        dup2(err[1], 2);
        close_both(out, err);
        execl(self, "presence_options", "work", (char *)NULL);
        _exit(126);
    }
    close(out[1]);
    close(err[1]);
    /* Little is written to either, so one after the other cannot block. */
    read_all(out[0], text, sizeof text);
    read_all(err[0], o.stderr_text, sizeof o.stderr_text);
    waitpid(child, &o.status, 0);
    const char *found = strstr(text, "WORK ");
    if (found != NULL && sscanf(found, "WORK %15s %ld %ld", o.again, &o.held, &o.left) != 3)
        o.held = -1;
    for (const char *c = o.stderr_text; *c != '\0'; c++)
        o.lines += *c == '\n';
    return o;
}

static int works(const outcome *o)
{
    return WIFEXITED(o->status) && WEXITSTATUS(o->status) == 0 && strcmp(o->again, "resumed") == 0
        && o->left == 0;
}

static int has(const outcome *o, const char *text)
{
    return strstr(o->stderr_text, text) != NULL;
}

static void show(const outcome *o)
{
    char text[sizeof o->stderr_text];
    char *rest = strcpy(text, o->stderr_text);
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (*line != '\0')
            printf("# stderr: %s\n", line);
    }
}

static void bad(const char *name, const char *value, const char *shown, const char *used)
{
    char using[64], neither[128];
    snprintf(neither, sizeof neither, "%s=%s is neither", name, shown);
    snprintf(using, sizeof using, "using %s", used);
    outcome o = run(name, value);
    expect("P7", works(&o), "%s=%s: the program runs", name, shown);
    /* valgrind's launcher is preloaded too, and says it once more. */
    int one_line = slowly() ? o.lines > 0 : o.lines == 1;
    better("P7", one_line && has(&o, neither), "%s=%s: one line names both", name, shown);
    better("P7", has(&o, using), "%s=%s: and what is used instead", name, shown);
    better("P7", o.held == 3, "%s=%s: the default is in force", name, shown);
    show(&o);
}

/* What these do is looked at in presence_statistics, presence_incremental, presence_lru and hs_tickets. */
static void quiet(const char *name, const char *value)
{
    outcome o = run(name, value);
    expect("P7", works(&o) && o.lines == 0, "%s=%s: nothing is said", name, value);
    better("P7", o.held == 3, "%s=%s: the cache is ours", name, value);
    show(&o);
}

static void verbose(void)
{
    char version[64] = "";
    outcome o = run("SSLSWEEP_VERBOSE", "1");
    sscanf(OpenSSL_version(OPENSSL_VERSION), "OpenSSL %63s", version);
    expect("P7", works(&o), "verbose: the program runs");
    better("P7", o.held == 3, "verbose: as without");
    better("P7", has(&o, "libssl.so"), "verbose: the libssl that was found is named");
    better("P7", has(&o, version), "verbose: and its version");
    better("P7", o.lines >= 2, "verbose: what was taken over, and what the cache did");
    show(&o);
}

static void disabled(void)
{
    outcome o = run("SSLSWEEP_DISABLE", "1");
    expect("P7", works(&o), "disabled: the program runs");
    better("F10", o.lines == 0, "disabled: nothing is said");
    /* A stock 3.x holds one session less than its size. */
    SSL_CTX *plain = server_context();
    printf("# disabled: %ld held, %ld here\n", o.held, SSL_CTX_sess_get_cache_size(plain));
    SSL_CTX_free(plain);
    show(&o);
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    expect("F10", o.held == 2, "disabled: stock's own cache is used");
#endif
}

int main(int argc, char **argv)
{
    limit_time();
    if (argc == 2 && strcmp(argv[1], "work") == 0)
        return work();
    /* Not /proc/self/exe itself: under valgrind that is valgrind. */
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        give_up("readlink");
    outcome o = run(NULL, NULL);
    expect("P7", works(&o) && o.lines == 0, "without options nothing is said");
    show(&o);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const char *name = options[i].name, *value = options[i].value;
        o = run(name, value);
        expect("P7", works(&o) && o.lines == 0, "%s=%s: nor with the default", name, value);
        better("P7", o.held == 3, "%s=%s: the cache is ours", name, value);
        show(&o);
        bad(name, "banana", "banana", value);
        if (slowly())
            continue;
        bad(name, "", "", value);
        bad(name, "1 ", "1 ", value);
        bad(name, "two\nlines", "two\\nlines", value);
    }
    quiet("SSLSWEEP_STATS", "1");
    quiet("SSLSWEEP_AUTOFLUSH", "incremental");
    quiet("SSLSWEEP_EVICTION", "lru");
    quiet("SSLSWEEP_TICKETS", "stateful");
    verbose();
    disabled();
    return done();
}
