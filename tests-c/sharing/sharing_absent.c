/* P7, S1, S2, S9: what SSLSWEEP_SHARE asks for, and what happens if it cannot be had: one line on standard error, and the program
 * goes on without sharing. The program runs itself again and reads what that run wrote. */
#include "sharing.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/pem.h>

static const char share[] = "SSLSWEEP_SHARE", share_key[] = "SSLSWEEP_SHARE_KEY";

static int on_hello(SSL *ssl, int *alert, void *arg)
{
    (void)ssl, (void)alert, (void)arg;
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* In the second run: whether one context resumes another one's session, and one of a run before, if there is a file with it. */
static int work(const char *file, const char *identity_file)
{
    identity who = {NULL, NULL};
    BIO *from = BIO_new_file(identity_file, "r");
    who.key = PEM_read_bio_PrivateKey(from, NULL, NULL, NULL);
    who.certificate = PEM_read_bio_X509(from, NULL, NULL, NULL);
    BIO_free(from);
    SSL_CTX *one = hs_server(ANY_TLS, WITHOUT_TICKETS), *other = hs_server(ANY_TLS, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    SSL_CTX *aside = hs_server(ANY_TLS, WITHOUT_TICKETS);
    use_identity(one, &who);
    use_identity(other, &who);
    SSL_CTX_set_client_hello_cb(aside, on_hello, NULL);
    SSL_SESSION_free(hs_first(aside, client));
    SSL_SESSION *session = hs_first(one, client);
    hs_result own = hs_resume(one, client, session), got = hs_resume(other, client, session);
    printf("WORK %s %s\n", hs_word(own), hs_word(got));
    BIO *bio = BIO_new_file(file, "r");
    if (bio != NULL) {
        SSL_SESSION *former = PEM_read_bio_SSL_SESSION(bio, NULL, NULL, NULL);
        printf("FORMER %s\n", hs_word(hs_resume(one, client, former)));
        SSL_SESSION_free(former);
        BIO_free(bio);
    }
    ERR_clear_error();
    bio = BIO_new_file(file, "w");
    if (bio != NULL)
        PEM_write_bio_SSL_SESSION(bio, session);
    BIO_free(bio);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(aside);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
    free_identity(&who);
    hs_end();
    return 0;
}

typedef struct outcome {
    int exited, lines;
    char own[16], other[16], former[16];
    char text[4096];
} outcome;

static char self[PATH_MAX], folder[PATH_MAX], session_file[PATH_MAX + 16], identity_file[PATH_MAX + 16];

/* A run of `program` with this environment: pairs of name and value, ended by NULL. */
static outcome run(const char *program, const char *const *environment)
{
    outcome o = {.exited = -1};
    char text[4096];
    int out[2], err[2], status = -1;
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
        give_up("pipe2");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        limit_time();
        unsetenv(share);
        for (; *environment != NULL; environment += 2)
            setenv(environment[0], environment[1], 1);
        dup2(out[1], 1);
        dup2(err[1], 2);
        execl(program, program, "work", session_file, identity_file, (char *)NULL);
        _exit(126);
    }
    close(out[1]);
    close(err[1]);
    /* Little is written to either, so one after the other cannot block. */
    read_all(out[0], text, sizeof text);
    read_all(err[0], o.text, sizeof o.text);
    if (waitpid(child, &status, 0) == child && WIFEXITED(status))
        o.exited = WEXITSTATUS(status);
    const char *found = strstr(text, "WORK ");
    if (found != NULL)
        sscanf(found, "WORK %15s %15s", o.own, o.other);
    found = strstr(text, "FORMER ");
    if (found != NULL)
        sscanf(found, "FORMER %15s", o.former);
    for (const char *c = o.text; *c != '\0'; c++)
        o.lines += *c == '\n';
    for (char *rest = text, *line = strcpy(text, o.text); (line = strsep(&rest, "\n")) != NULL;)
        if (*line != '\0')
            printf("# stderr: %s\n", line);
    return o;
}

static int works(const outcome *o)
{
    return o->exited == 0 && strcmp(o->own, "resumed") == 0;
}

static int apart(const outcome *o)
{
    return strcmp(o->other, "full") == 0;
}

/* valgrind's launcher is preloaded too, and says it once more. */
static int one_line(const outcome *o)
{
    return slowly() ? o->lines > 0 : o->lines == 1;
}

static void shares(const char *what, const char *const *environment)
{
    outcome o = run(self, environment);
    expect("P7", works(&o) && o.lines == 0, "%s: the program runs, and nothing is said", what);
    better("S1", strcmp(o.other, "resumed") == 0, "%s: sessions are shared: %s", what, o.other);
}

static void refused(const char *what, const char *program, const char *const *environment, const char *says)
{
    outcome o = run(program, environment);
    expect("P7", works(&o) && apart(&o), "%s: the program runs, and shares nothing", what);
    better("P7", one_line(&o) && strncmp(o.text, "sslsweep", 8) == 0 && strstr(o.text, says) != NULL, "%s: one line says why", what);
}

static void quiet(const char *what, const char *program, const char *const *environment)
{
    outcome o = run(program, environment);
    expect("P7", works(&o) && apart(&o) && o.lines == 0, "%s: the program runs, shares nothing, and nothing is said", what);
}

/* ---- Files ---- */

static const char *path(const char *name)
{
    static char text[4][PATH_MAX + 64];
    static int turn;
    char *to = text[turn++ % 4];
    snprintf(to, sizeof text[0], "%s/%s", folder, name);
    return to;
}

static void write_file(const char *to, const void *data, size_t size, mode_t mode)
{
    unlink(to);
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 || fchmod(fd, mode) != 0 || write(fd, data, size) != (ssize_t)size)
        give_up("cannot write %s: %s", to, strerror(errno));
    close(fd);
}

/* A copy, in which the bytes `from` are `to`, wherever they are. Returns how often that was. */
static int copy(const char *source, const char *target, const char *from, const char *to, size_t size)
{
    struct stat about;
    int fd = open(source, O_RDONLY | O_CLOEXEC), changed = 0;
    if (fd < 0 || fstat(fd, &about) != 0)
        give_up("cannot read %s: %s", source, strerror(errno));
    size_t length = (size_t)about.st_size, got = 0;
    char *data = malloc(length);
    ssize_t n;
    while (data != NULL && got < length && (n = read(fd, data + got, length - got)) > 0)
        got += (size_t)n;
    close(fd);
    if (data == NULL || got < length)
        give_up("cannot read %s", source);
    for (char *at = data; size > 0 && (at = memmem(at, length - (size_t)(at - data), from, size)) != NULL; at += size) {
        memcpy(at, to, size);
        changed++;
    }
    write_file(target, data, length, 0755);
    free(data);
    return changed;
}

/* ---- The cases ---- */

static void values(void)
{
    static const char *const bad[] = {"", "banana", "family:0", "family:1x", "host:relative", "host:/dev/shm/a"};
    quiet("not set", self, (const char *[]){NULL});
    shares("family", (const char *[]){share, "family", NULL});
    shares("family:1m", (const char *[]){share, "family:1m", NULL});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char what[64];
        snprintf(what, sizeof what, "SSLSWEEP_SHARE=%s", bad[i]);
        refused(what, self, (const char *[]){share, bad[i], NULL}, what);
        if (slowly())
            break;
    }
    quiet("disabled", self, (const char *[]){share, "family", "SSLSWEEP_DISABLE", "1", NULL});
}

static void figures(void)
{
    unlink(session_file);
    outcome o = run(self, (const char *[]){share, "family", "SSLSWEEP_VERBOSE", "1", NULL});
    expect("P7", works(&o), "verbose: the program runs");
    better("S9", strstr(o.text, "sharing: 1 published, 1 not published (1 context aside), ") != NULL, "verbose: what was published and what was not");
    better("S9", strstr(o.text, " 1 fetched") != NULL, "verbose: what was fetched");
    better("S9", strstr(o.text, "(1 client hello callback)") != NULL, "verbose: which contexts stand aside, and why");
}

/* A segment with a name outlives the process. */
static void restart(void)
{
    static const char key[] = "00000001 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
    static const char other_key[] = "00000002 f123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
    char value[PATH_MAX + 80];
    const char *keys = path("keys"), *segment = path("segment");
    snprintf(value, sizeof value, "host:%s:1m", segment);
    const char *environment[] = {share, value, share_key, keys, NULL};

    refused("a key file that is not there", self, environment, keys);
    write_file(keys, "banana\n", 7, 0600);
    refused("a key file without a key", self, environment, keys);
    write_file(keys, key, sizeof key - 1, 0644);
    refused("a key file that others can read", self, environment, keys);

    write_file(keys, key, sizeof key - 1, 0600);
    unlink(session_file);
    outcome o = run(self, environment);
    expect("P7", works(&o) && o.lines == 0, "host: the program runs, and nothing is said");
    better("S1", strcmp(o.other, "resumed") == 0, "host: sessions are shared");
    o = run(self, environment);
    expect("P7", works(&o), "host: it starts again");
    better("S1", strcmp(o.former, "resumed") == 0, "host: and resumes a session from before");
    write_identity(identity_file);
    o = run(self, environment);
    expect("S2, S5", works(&o) && strcmp(o.former, "full") == 0, "host: with another certificate it does not");
    write_file(keys, other_key, sizeof other_key - 1, 0600);
    o = run(self, environment);
    expect("S2, S5", works(&o) && strcmp(o.former, "full") == 0, "host: nor with another key of the segment");
    better("S1", strcmp(o.other, "resumed") == 0, "host: with which new ones are shared");
    unlink(keys);
    unlink(segment);
}

/* What a link in this folder leads to, which has to be a name in it. */
static void follow(const char *in, const char *name, char *to, size_t room)
{
    char link[2 * PATH_MAX];
    snprintf(link, sizeof link, "%s/%s", in, name);
    ssize_t length = readlink(link, to, room - 1);
    if (length < 0)
        give_up("%s: %s", link, strerror(errno));
    to[length] = '\0';
}

/* A library folder of its own, first in the loader's search, instead of the one of the tests. */
static void libraries(void)
{
    const char *search = getenv("LD_LIBRARY_PATH"), *preload = getenv("LD_PRELOAD");
    char of_tests[PATH_MAX], new_search[2 * PATH_MAX], found[2 * PATH_MAX];
    char soname[NAME_MAX], file[NAME_MAX], share_name[2 * NAME_MAX], version[16] = "", other_version[16] = "9.9.9";
    if (search == NULL)
        give_up("LD_LIBRARY_PATH is not set");
    size_t first = strcspn(search, ":");
    snprintf(of_tests, sizeof of_tests, "%.*s", (int)first, search);
    snprintf(new_search, sizeof new_search, "%s%s", folder, search + first);
    snprintf(found, sizeof found, "%s/libsslsweep.so", of_tests);
    if (!sweeping() && access(found, R_OK) != 0) {
        /* make stock, before anything was built: there is nothing to be refused. */
        return;
    }
    /* libsslsweep.so -> libsslsweep.so.ABI -> libsslsweep.so.VERSION */
    follow(of_tests, "libsslsweep.so", soname, sizeof soname);
    follow(of_tests, soname, file, sizeof file);
    strncpy(version, file + strlen("libsslsweep.so."), sizeof version - 1);
    snprintf(share_name, sizeof share_name, "libsslsweep-share%s", soname + strlen("libsslsweep"));
    copy(found, path(soname), NULL, NULL, 0);
    preload = preload != NULL && strstr(preload, "libsslsweep") != NULL ? path(soname) : "";
    const char *environment[] = {share, "family", "LD_LIBRARY_PATH", new_search, "LD_PRELOAD", preload, NULL};

    refused("the share library is missing", self, environment, share_name);
    write_file(path(share_name), "no library", 10, 0755);
    refused("the share library is none", self, environment, share_name);
    snprintf(found, sizeof found, "%s/%s", of_tests, share_name);
    if (copy(found, path(share_name), version, other_version, sizeof version) == 0)
        give_up("%s has no version in it", found);
    refused("the share library has another version", self, environment, "9.9.9");
    copy(found, path(share_name), NULL, NULL, 0);
    shares("a copy of both", environment);
    unlink(path(share_name));
    unlink(path(soname));
}

/* To an FTP server a resumed session is evidence of who the client is. */
static void programs(void)
{
    static const char *const names[] = {"vsftpd", "proftpd", "pure-ftpd"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        copy(self, path(names[i]), NULL, NULL, 0);
        outcome o = run(path(names[i]), (const char *[]){share, "family", NULL});
        expect("S2", works(&o) && apart(&o), "%s: the program runs, and shares nothing", names[i]);
        unlink(path(names[i]));
    }
}

int main(int argc, char **argv)
{
    limit_time();
    if (argc == 4 && strcmp(argv[1], "work") == 0)
        return work(argv[2], argv[3]);
    /* Not /proc/self/exe itself: under valgrind that is valgrind. */
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        give_up("readlink");
    snprintf(folder, sizeof folder, "%.4000s.XXXXXX", self);
    if (mkdtemp(folder) == NULL)
        give_up("mkdtemp %s", folder);
    snprintf(session_file, sizeof session_file, "%s/session", folder);
    snprintf(identity_file, sizeof identity_file, "%s/identity", folder);
    write_identity(identity_file);
    values();
    figures();
    restart();
    if (!slowly()) { /* under valgrind the name of the program is valgrind's */
        libraries();
        programs();
    }
    unlink(session_file);
    unlink(identity_file);
    if (rmdir(folder) != 0)
        give_up("rmdir %s: %s", folder, strerror(errno));
    return done();
}
