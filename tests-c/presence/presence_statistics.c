/* O4: the statistics file of SSLSWEEP_STATS=1: whose it is, what is in it and what is not, and how long it is
 * there. */
#include "figures.h"
#include "handshake.h"
#include "own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char self[PATH_MAX];

/* Between then and now. (time() may be a tick behind.) */
static int lately(uint64_t second, time_t then)
{
    return second >= (uint64_t)then && second <= (uint64_t)time(NULL) + 1;
}

static void whose_it_is(void)
{
    struct stat found;
    char name[64] = "", comm[64] = "";
    const char *path = path_of(getpid());
    better("O4", !there(path), "none before the first context");
    SSL_CTX *first = server_context();
    if (lstat(path, &found) != 0)
        give_up("%s: %s", path, strerror(errno));
    better("O4", S_ISREG(found.st_mode) && (found.st_mode & 07777) == 0600, "a file that only its owner reads");
    better("O4", found.st_uid == geteuid() && found.st_nlink == 1, "the owner is the process's user");
    better("O4", found.st_size == WORDS * 8, "its size is always the same");
    mine = view(path);
    better("O4", memcmp((const void *)(mine + MAGIC), "SSLSWEEP", 8) == 0, "it says what it is");
    same("layout", mine[LAYOUT], 6);
    same("bytes", mine[BYTES], WORDS * 8);
    better("O4", stat("/proc/self/ns/pid", &found) == 0 && mine[NAMESPACE] == found.st_ino, "of which pid namespace");
    better("O4", mine[PID] == (uint64_t)getpid(), "whose it is");
    better("O4", mine[START] == strtoull(strrchr(path, '.') + 1, NULL, 10), "since when");
    memcpy(name, (const void *)(mine + NAME), sizeof name);
    int file = open("/proc/self/comm", O_RDONLY);
    ssize_t length = read(file, comm, sizeof comm);
    close(file);
    unsigned version[3] = {0};
    sscanf(own_version(), "%u.%u.%u", &version[0], &version[1], &version[2]);
    same("of which version", mine[VERSION], (uint64_t)version[0] << 32 | (uint64_t)version[1] << 16 | version[2]);
    better("O4", length > 1 && strncmp(name, comm, (size_t)length - 1) == 0 && name[length - 1] == '\0', "and its name");
    same("contexts begun", process()[BEGUN], 1);
    SSL_CTX_free(first);
    same("contexts ended", process()[ENDED_CONTEXTS], 1);
}

static void nothing_is_open(void)
{
    char target[PATH_MAX];
    int open_files = 0;
    DIR *folder = opendir("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1);
        target[length > 0 ? length : 0] = '\0';
        open_files += strstr(target, "/dev/shm/sslsweep.") != NULL;
    }
    closedir(folder);
    better("P5", open_files == 0, "no descriptor stays open for it");
}

static SSL_SESSION *elsewhere;

static SSL_SESSION *fetch(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length;
    *copy = 1;
    return elsewhere;
}

/* Every figure, against what OpenSSL's names and sslsweep's own function say. */
static void compare(SSL_CTX *ctx, const char *when)
{
    const volatile uint64_t *is = newest();
    struct sslsweep_statistics wanted = own_statistics(ctx);
    int steps = 1;
    for (int i = 0; i < STEPS; i++)
        steps &= is[FLUSH_TIMES + i] == wanted.flush_times[i] && is[BATCH_TIMES + i] == wanted.batch_times[i];
    printf("# %s:\n", when);
    same("sessions", is[SESSIONS], wanted.sessions);
    same("sessions", is[SESSIONS], (uint64_t)SSL_CTX_sess_number(ctx));
    same("limit", is[LIMIT], wanted.limit);
    same("limit", is[LIMIT], (uint64_t)SSL_CTX_sess_get_cache_size(ctx));
    same("stores", is[STORES], wanted.stores);
    same("hits", lookups(is, HITS), wanted.hits);
    same("misses", lookups(is, MISSES), wanted.misses);
    same("misses", lookups(is, MISSES), (uint64_t)SSL_CTX_sess_misses(ctx));
    same("external hits", is[EXTERNAL_HITS], wanted.external_hits);
    same("external hits", is[EXTERNAL_HITS], (uint64_t)SSL_CTX_sess_cb_hits(ctx));
    same("evictions", is[EVICTIONS], wanted.evictions);
    same("evictions", is[EVICTIONS], (uint64_t)SSL_CTX_sess_cache_full(ctx));
    same("flushed", is[FLUSHED], wanted.flushed);
    same("removals", is[REMOVALS], wanted.removals);
    same("flushes", is[FLUSHES], wanted.flushes);
    better("O4", is[LONGEST_BATCH] == wanted.longest_batch_ns, "longest batch");
    better("O4", steps, "histograms");
}

static void figures(void)
{
    time_t now = time(NULL);
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS), *client = hs_client(TLS1_2_VERSION);
    /* The client's context is the newest. */
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    client = hs_client(TLS1_2_VERSION);
    server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    compare(server, "nothing done");

    SSL_SESSION *session = hs_first(server, client);
    hs_resume(server, client, session);
    hs_resume(server, client, session);
    elsewhere = hs_stored(server, session);
    SSL_CTX_remove_session(server, elsewhere);
    hs_resume(server, client, session); /* marked, and not found */
    compare(server, "handshakes");
    SSL_SESSION_free(elsewhere);
    SSL_SESSION_free(session);

    session = hs_first(server, client);
    elsewhere = hs_stored(server, session);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    SSL_CTX_sess_set_get_cb(server, fetch);
    hs_resume(server, client, session);
    compare(server, "a session of the program's own cache");
    better("O4", lookups(newest(), HITS) == 2 && lookups(newest(), MISSES) > 0 && newest()[EXTERNAL_HITS] == 1
           && newest()[REMOVALS] == 1, "none of them is 0");
    SSL_SESSION_free(elsewhere);
    SSL_SESSION_free(session);

    SSL_CTX_sess_set_cache_size(server, 50);
    for (unsigned n = 1; n <= 70; n++)
        store(server, n, n < 65 ? 1000 : now, 3600);
    compare(server, "a cache that is full");
    flush(server, now);
    compare(server, "a flush");
    const volatile uint64_t *is = newest();
    better("O4", is[LAST_REMOVED] == own_statistics(server).flushed && is[LAST_REMOVED] > 32, "what the last flush removed");
    better("O4", lately(is[LAST_FLUSH], now), "and when");
    better("O4", is[LAST_TOOK] > 0, "and that it took some time");
    own_flush(server, 0, 3, 0, NULL);
    compare(server, "a flush on a budget");
    same("removed by that", newest()[LAST_REMOVED], 3);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* What will expire when: parts end at 0, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, ... seconds. */
static void curve(void)
{
    static const struct {
        long timeout; /* from now on; the tests' machine may be slow, so no bound is near */
        int part;
    } of[] = {{-100, 0}, {59, 3}, {200, 5}, {200, 5}, {1200, 7}, {5000, 9}, {500000, 13}, {9000000, 14}, {LONG_MAX, 15}};
    /* From 3.2 on a timeout is nanoseconds in 64 bits: not for ever. */
    int last = libssl_since(0x302) ? 14 : 15;
    enum { COUNT = sizeof of / sizeof *of };
    uint64_t wanted[PARTS] = {0};
    time_t now = time(NULL);
    SSL_CTX *ctx = server_context();
    for (unsigned n = 0; n < COUNT; n++) {
        store(ctx, 10 + n, of[n].timeout < 0 ? now - 200 : now, of[n].timeout < 0 ? 100 : of[n].timeout);
        wanted[of[n].part == 15 ? last : of[n].part]++;
    }
    /* It is not drawn at each store; as many of one second as there are seconds later it has been. */
    for (unsigned n = 0; n < 10; n++)
        store(ctx, 100 + n, now, 200);
    const volatile uint64_t *is = newest();
    uint64_t sum = 0;
    int right = 1;
    for (int part = 0; part < PARTS; part++) {
        sum += is[CURVE + part];
        right &= part == 5 ? is[CURVE + part] > wanted[part] : is[CURVE + part] == wanted[part];
    }
    better("O4", right && sum > COUNT && sum <= is[SESSIONS], "what is due, and what will expire when");
    better("O4", lately(is[CURVE_MADE], now), "seen when");
    /* Where little changes, time passes. */
    uint64_t before = is[CURVE + 7];
    sleep(3);
    store(ctx, 200, now, 1200);
    same("drawn again some seconds later", is[CURVE + 7], before + 1);
    /* Sessions that are removed one by one are gone from it too. */
    before = is[CURVE + 5];
    for (unsigned n = 0; n < 10; n++) {
        SSL_SESSION *session = numbered_session(100 + n, now, 200);
        SSL_CTX_remove_session(ctx, session);
        SSL_SESSION_free(session);
    }
    better("O4", is[CURVE + 5] < before, "removals change it");
    flush(ctx, 0);
    sum = 0;
    for (int part = 0; part < PARTS; part++)
        sum += newest()[CURVE + part];
    better("O4", sum == 0, "after a flush of all: nothing");
    SSL_CTX_free(ctx);
}

/* Thousands of virtual hosts: the file stays as it is, and the totals are right. */
static void many(void)
{
    enum { MANY = 700 };
    static SSL_CTX *ctx[MANY];
    uint64_t stores = total(STORES), sessions = total(SESSIONS), flushed = total(FLUSHED);
    uint64_t flushes = total(FLUSHES), left = total(LEFT_AT_END), begun = process()[BEGUN], ended = process()[ENDED_CONTEXTS];
    better("O4", begun == ended && sessions == 0, "all contexts so far have ended");
    for (unsigned i = 0; i < MANY; i++) {
        ctx[i] = server_context();
        SSL_CTX_sess_set_cache_size(ctx[i], 2);
        for (unsigned n = 1; n <= 3; n++)
            store(ctx[i], n, 1000, 100 + (long)n);
    }
    int blocks = 0;
    for (int i = FIRST; i < FIRST + BLOCKS; i++)
        blocks += block(i)[NUMBER] != 0;
    same("contexts with blocks of their own", (uint64_t)blocks, CONTEXTS);
    same("contexts begun", process()[BEGUN], begun + MANY);
    same("sessions of all", total(SESSIONS), 2 * MANY);
    same("sessions of those without", block(OTHERS)[SESSIONS], 2 * (MANY - CONTEXTS));
    same("stores of all", total(STORES), stores + 3 * MANY);
    same("evictions of those without", block(OTHERS)[EVICTIONS], MANY - CONTEXTS);
    for (unsigned i = 0; i < MANY; i++)
        flush(ctx[i], 1103);
    same("flushed of all", total(FLUSHED), flushed + MANY);
    same("flushes of all", total(FLUSHES), flushes + MANY);
    for (unsigned i = 0; i < MANY; i += 2)
        SSL_CTX_free(ctx[i]);
    same("sessions when half of them have ended", total(SESSIONS), MANY / 2);
    same("ended", process()[ENDED_CONTEXTS], ended + MANY / 2);
    same("their stores stay in the totals", total(STORES), stores + 3 * MANY);
    for (unsigned i = 1; i < MANY; i += 2)
        SSL_CTX_free(ctx[i]);
    same("sessions in the end", total(SESSIONS), 0);
    same("flushed in the end", total(FLUSHED), flushed + MANY);
    same("flushes in the end", total(FLUSHES), flushes + MANY);
    same("left at the end of their contexts", total(LEFT_AT_END), left + MANY);
    blocks = 0;
    for (int i = 0; i < BLOCKS; i++)
        blocks += (uint32_t)mine[OWNERS + i] != 0;
    same("blocks that are not free again", (uint64_t)blocks, 0);
    SSL_CTX *again = server_context();
    better("O4", newest() != NULL && newest()[STORES] == 0, "and are found empty by the next context");
    SSL_CTX_free(again);
}

static void *work(void *arg)
{
    for (unsigned n = 1; n <= (slowly() ? 200 : 4000); n++) {
        SSL_CTX *ctx = n % 100 == 0 ? server_context() : NULL; /* contexts come and go meanwhile */
        store(arg, n % 300, 1000, 100 + n % 3);
        if (n % 97 == 0)
            flush(arg, 1102);
        SSL_CTX_free(ctx);
    }
    return NULL;
}

static void threads(void)
{
    pthread_t thread[4];
    SSL_CTX *ctx = server_context();
    SSL_CTX_sess_set_cache_size(ctx, 100);
    const volatile uint64_t *is = newest();
    for (int i = 0; i < 4; i++)
        hs_start(&thread[i], work, ctx);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    struct sslsweep_statistics wanted = own_statistics(ctx);
    better("O4", is[SESSIONS] == wanted.sessions && is[STORES] == wanted.stores && is[EVICTIONS] == wanted.evictions
           && is[FLUSHED] == wanted.flushed && is[FLUSHES] == wanted.flushes && is[LONGEST_BATCH] == wanted.longest_batch_ns,
           "threads: the file says what the context does");
    SSL_CTX_free(ctx);
}

/* A table of SSL_CTX_sessions is good until another thread asks for one. */
static pthread_mutex_t one_table = PTHREAD_MUTEX_INITIALIZER;

static void *look_up(void *server)
{
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(server, client);
    hs_resume(server, client, session);
    hs_resume(server, client, session);
    pthread_mutex_lock(&one_table);
    SSL_SESSION *stored = hs_stored(server, session);
    pthread_mutex_unlock(&one_table);
    SSL_CTX_remove_session(server, stored);
    hs_resume(server, client, session); /* marked, and not found */
    SSL_SESSION_free(stored);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    return NULL;
}

/* Of a cache of the program's own. */
static void misses_elsewhere(void)
{
    SSL_CTX *client = hs_client(TLS1_2_VERSION), *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    const volatile uint64_t *is = newest();
    SSL_SESSION *session = hs_first(server, client);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_get_cb(server, fetch);
    elsewhere = NULL;
    hs_resume(server, client, session);
    same("misses of the get callback", lookups(is, MISSES), 1);
    same("as sslsweep's own function has them", lookups(is, MISSES), own_statistics(server).misses);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* More threads than stripes. */
static void lookups_of_threads(void)
{
    enum { THREADS = STRIPES + 3 };
    pthread_t thread[THREADS];
    SSL_CTX *server = hs_server(TLS1_2_VERSION, WITHOUT_TICKETS);
    const volatile uint64_t *is = newest();
    uint64_t hits = lookups(block(ENDED), HITS), misses = lookups(block(ENDED), MISSES);
    for (int i = 0; i < THREADS; i++)
        hs_start(&thread[i], look_up, server);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    same("hits of threads", lookups(is, HITS), 2 * THREADS);
    same("misses of threads", lookups(is, MISSES), own_statistics(server).misses);
    better("O4", lookups(is, MISSES) >= THREADS, "each thread has missed one");
    int used = 0;
    for (int stripe = 0; stripe < STRIPES; stripe++)
        used += is[FIGURES + stripe * STRIPE] > 0;
    same("stripes in use", (uint64_t)used, STRIPES);
    hits += lookups(is, HITS), misses += lookups(is, MISSES);
    SSL_CTX_free(server);
    /* The clients' contexts have looked nothing up. */
    same("hits of contexts that have ended", lookups(block(ENDED), HITS), hits);
    same("misses of contexts that have ended", lookups(block(ENDED), MISSES), misses);
}

/* Whether a piece of something is anywhere in the file. */
static int holds(const void *what, size_t length)
{
    return memmem((const void *)mine, WORDS * 8, what, length) != NULL;
}

static void nothing_secret(void)
{
    SSL_CTX *server = hs_server(ANY_TLS, WITHOUT_TICKETS), *client = hs_client(ANY_TLS);
    SSL_CTX *old = hs_client(TLS1_2_VERSION);
    enum { PIECE = 6 }; /* bytes; of four, one run in ten thousand finds some by chance */
    int found = 0, looked = 0;
    for (int i = 0; i < 20; i++) {
        unsigned char key[SSL_MAX_MASTER_KEY_LENGTH];
        unsigned length = 0;
        SSL_SESSION *session = hs_first(server, i % 2 ? client : old), *stored = hs_stored(server, session);
        const unsigned char *id = SSL_SESSION_get_id(stored, &length);
        size_t bytes = SSL_SESSION_get_master_key(stored, key, sizeof key);
        for (size_t at = 0; at + PIECE <= length; at++, looked++)
            found += holds(id + at, PIECE);
        for (size_t at = 0; at + PIECE <= bytes; at++, looked++)
            found += holds(key + at, PIECE);
        found += holds(&stored, sizeof stored);
        hs_resume(server, i % 2 ? client : old, session);
        SSL_SESSION_free(stored);
        SSL_SESSION_free(session);
    }
    found += holds(&server, sizeof server) + holds(&client, sizeof client);
    better("O4", looked > 20 * 64 && found == 0, "no piece of an id or of a master key is in it, and no address");
    SSL_CTX_free(old);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static int passed(pid_t child)
{
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 7;
}

/* The pid of this child, which it may not ask for any more. */
static pid_t noted;

static pid_t getpid_noted(void)
{
    return noted;
}

/* As _Fork of newer C libraries: a child for which no handler of forks runs. */
static pid_t raw_child(void)
{
    fflush(stdout);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child < 0)
        give_up("clone");
    return child;
}

static pid_t child_begins(void)
{
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        give_up("fork");
    if (child == 0) {
        limit_time();
        noted = getpid();
    }
    return child;
}

/* The child counts on from where it began, in a place of its own that it takes with its first change. */
static void after_fork(void)
{
    SSL_CTX *ctx = server_context();
    for (unsigned n = 1; n <= 10; n++)
        store(ctx, n, 1000, 100);
    int ready[2], go[2];
    if (pipe(ready) != 0 || pipe(go) != 0)
        give_up("pipe");
    uint64_t begun = process()[BEGUN];
    pid_t child = child_begins();
    if (child == 0) {
        char byte = 0;
        int ok = process_of(getpid()) == NULL && !there(path_of(getpid()));
        store(ctx, 11, 1000, 100);
        ok &= process_of(getpid()) != NULL && process()[BEGUN] == begun && newest()[SESSIONS] == 11;
        for (unsigned n = 12; n <= 15; n++)
            store(ctx, n, 1000, 100);
        ok &= newest()[SESSIONS] == 15 && newest()[STORES] == 15 && !there(path_of(getpid()));
        ok &= write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1;
        _exit(ok ? 7 : 1);
    }
    char byte;
    better("O4", read(ready[0], &byte, 1) == 1 && process_of(child) != NULL, "a child has a place of its own");
    same("the parent's sessions meanwhile", newest()[SESSIONS], 10);
    store(ctx, 20, 1000, 100);
    same("and the parent's stores", newest()[STORES], 11);
    better("O4", write(go[1], &byte, 1) == 1 && passed(child), "the child counts for itself");
    better("O4", process_of(child) != NULL, "_exit leaves its place for others to clear away");

    /* A child that ends well gives its place up, and takes nothing of the parent's away. */
    child = child_begins();
    if (child == 0) {
        store(ctx, 30, 1000, 100);
        exit(process_of(getpid()) != NULL ? 7 : 1);
    }
    better("O4", passed(child) && process_of(child) == NULL, "exit gives the child's place up");
    better("O4", there(path_of(getpid())) && process()[BEGUN] == begun, "and leaves the parent's file");

    /* Nobody runs handlers of forks for this one. */
    child = raw_child();
    if (child == 0) {
        for (unsigned n = 40; n < 50; n++)
            store(ctx, n, 1000, 100);
        exit(process_of(getpid()) != NULL && newest()[STORES] == 21 ? 7 : 1);
    }
    better("O4", passed(child) && process_of(child) == NULL, "a child of _Fork counts for itself");
    child = raw_child();
    if (child == 0)
        exit(7);
    better("O4", passed(child) && there(path_of(getpid())), "one that counts nothing leaves all as it was");
    same("the parent's stores after all", newest()[STORES], 11);
    SSL_CTX_free(ctx);
}

/* Workers that come and go: places and blocks are found again, also those of killed ones once a reader has marked them. */
static void prefork(void)
{
    enum { ROUNDS = 3 * PROCESSES };
    SSL_CTX *ctx = server_context();
    int counted = 0;
    for (int i = 0; i < (slowly() ? 10 : ROUNDS); i++) {
        pid_t child = child_begins();
        if (child == 0) {
            store(ctx, 1, 1000, 100);
            exit(process_of(getpid()) != NULL && newest()[STORES] == 1 ? 7 : 1);
        }
        counted += passed(child);
    }
    same("workers that ended well and counted", (uint64_t)counted, slowly() ? 10 : ROUNDS);

    uint64_t uncounted = mine[UNCOUNTED];
    /* An operator's reader that runs on this machine may mark some meanwhile: then it takes more. */
    const int killed = slowly() ? 3 : PROCESSES + 2, most = slowly() ? 3 : 10 * PROCESSES;
    for (int i = 0; i < killed || (i < most && mine[UNCOUNTED] == uncounted); i++) {
        pid_t child = child_begins();
        if (child == 0) {
            store(ctx, 1, 1000, 100);
            _exit(7);
        }
        passed(child);
    }
    better("O4", slowly() || mine[UNCOUNTED] > uncounted, "a table full of killed processes: the next counts for nobody");
    /* As a reader does it. */
    int file = open(path_of(getpid()), O_RDWR | O_NOFOLLOW), marked = 0;
    for (int i = 0; i < PROCESSES; i++) {
        size_t at = TABLE + (size_t)i * PROCESS;
        uint64_t pid = (uint32_t)mine[at + OWNER];
        if (pid != 0 && pid != (uint64_t)getpid())
            marked += pwrite(file, &pid, sizeof pid, (off_t)(at + DEAD) * 8) == sizeof pid;
    }
    close(file);
    pid_t child = child_begins();
    if (child == 0) {
        store(ctx, 1, 1000, 100);
        exit(process_of(getpid()) != NULL && newest()[STORES] == 1 ? 7 : 1);
    }
    better("O4", marked > 0 && passed(child), "those that a reader has marked are found again");
    SSL_CTX_free(ctx);
}

/* ---- A sandbox ---- */

/* From here on a system call ends the process, but for what a store needs on stock: memory, the clock, and the end. */
static void sandbox(void)
{
    static const int allowed[] = {SYS_read, SYS_write, SYS_exit_group, SYS_exit, SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap,
                                  SYS_mprotect, SYS_madvise, SYS_futex, SYS_clock_gettime, SYS_rt_sigreturn, SYS_getrandom,
#ifndef __GLIBC__ /* stdio and the end of musl's */
                                  SYS_writev, SYS_rt_sigprocmask,
#endif
    };
    enum { COUNT = sizeof allowed / sizeof *allowed };
    struct sock_filter filter[COUNT + 3] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    for (int i = 0; i < COUNT; i++)
        filter[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], (unsigned char)(COUNT - i), 0);
    filter[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    filter[COUNT + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {COUNT + 3, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(3);
}

static int ended_as(pid_t child, int *killed)
{
    int status = -1;
    waitpid(child, &status, 0);
    *killed = WIFSIGNALED(status);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void sandboxed(void)
{
    if (slowly())
        return; /* memcheck makes system calls of its own */
    SSL_CTX *ctx = server_context(), *another = server_context();
    int killed;
    /* By fork, with a store, a connection, a request, a flush, the end of a context, and the end by exit. */
    pid_t child = child_begins();
    if (child == 0) {
        sandbox();
        store(ctx, 1, 1000, 100);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH);
        SSL_free(SSL_new(ctx));
        int ok = process_of(getpid_noted()) != NULL;
        ask(noted, new_request(EXPIRED));
        flush(ctx, 1);
        ok &= SSL_CTX_sess_number(ctx) == 0;
        store(ctx, 2, 1000, 100);
        flush(ctx, 2000);
        SSL_CTX_free(another);
        exit(ok ? 7 : 1);
    }
    int status = ended_as(child, &killed);
    if (status == 3) {
        printf("# this user cannot make a sandbox\n");
        SSL_CTX_free(another);
        SSL_CTX_free(ctx);
        return;
    }
    better("O4", !killed && status == 7, "a sandboxed worker stores, connects, obeys, flushes and ends: %d", status);
    better("O4", process_of(child) == NULL, "and has given its place up");
    SSL_CTX_free(another);
    SSL_CTX_free(ctx);
}

/* In a process that has become this program again by exec: that it counts, has no file, or just runs. */
static int frees_at_exit(void), cancelled_at_first(void), leaves(void), daemonizes(void);

static int fresh(const char *what)
{
    if (strcmp(what, "frees_at_exit") == 0)
        return frees_at_exit();
    if (strcmp(what, "cancelled") == 0)
        return cancelled_at_first();
    if (strcmp(what, "leaves") == 0)
        return leaves();
    if (strcmp(what, "daemonizes") == 0)
        return daemonizes();
    const char *path = path_of(getpid());
    int counts = strcmp(what, "counts") == 0, ok = strcmp(what, "none") != 0 || !there(path);
    SSL_CTX *ctx = server_context();
    if (counts) {
        mine = view(path);
        ok &= mine[PID] == (uint64_t)getpid() && process()[BEGUN] == 1;
    }
    ok &= store(ctx, 1, 1000, 100) == 1 && SSL_CTX_sess_number(ctx) == 1;
    ok &= !counts || total(STORES) == 1;
    if (strcmp(what, "killed") == 0)
        raise(SIGSTOP);
    if (strcmp(what, "forks") == 0) {
        /* The child needs no file. */
        pid_t child = fork();
        if (child == 0) {
            mine = view(path);
            ok &= store(ctx, 2, 1000, 100) == 1 && SSL_CTX_sess_number(ctx) == 2 && process_of(getpid()) != NULL;
            _exit(ok ? 7 : 1);
        }
        int status = -1;
        waitpid(child, &status, 0);
        ok &= there(path) && WIFEXITED(status) && WEXITSTATUS(status) == 7;
    }
    SSL_CTX_free(ctx);
    return ok ? 7 : 1;
}

/* A child that finds something under its name when it becomes this program, and what that says. 1: all well; + 2: something
 * was left under its name. */
static int begin_over(void (*plant)(const char *path), const char *what, char *said, size_t room)
{
    int err[2];
    char path[64];
    if (pipe(err) != 0)
        give_up("pipe");
    pid_t child = child_begins();
    if (child == 0) {
        const char *own = path_of(getpid());
        if (plant != NULL) {
            unlink(own);
            plant(own);
        }
        dup2(err[1], 2);
        close(err[0]);
        close(err[1]);
        execl(self, "presence_statistics", "fresh", what, (char *)NULL);
        _exit(126);
    }
    close(err[1]);
    strcpy(path, path_of(child));
    size_t used = 0;
    ssize_t n;
    while (used + 1 < room && (n = read(err[0], said + used, room - used - 1)) > 0)
        used += (size_t)n;
    said[used] = '\0';
    close(err[0]);
    int ok = passed(child);
    struct stat left;
    if (lstat(path, &left) == 0) {
        printf("# left behind: %s\n", path);
        if (S_ISDIR(left.st_mode))
            rmdir(path);
        else
            unlink(path);
        ok |= 2;
    }
    return ok;
}

static char victim[] = "/tmp/presence_statistics.XXXXXX";

static void plant_link(const char *path)
{
    if (symlink(victim, path) != 0)
        _exit(125);
}

static void plant_foreign_link(const char *path)
{
    plant_link(path);
    if (lchown(path, 65534, 65534) != 0)
        _exit(125);
}

static void plant_folder(const char *path)
{
    if (mkdir(path, 0700) != 0)
        _exit(125);
}

static void after_exec(void)
{
    char said[4096];
    better("O4", begin_over(NULL, "counts", said, sizeof said) == 1 && *said == '\0',
           "a program that takes the process over begins anew, and takes its file away");

    int file = mkstemp(victim);
    if (file < 0 || write(file, "as it was", 9) != 9)
        give_up("mkstemp");
    struct stat before, after;
    fstat(file, &before);
    better("O4", begin_over(plant_link, "counts", said, sizeof said) == 1, "a link of the user's own in its place is replaced");
    stat(victim, &after);
    better("O4", before.st_size == after.st_size && before.st_ino == after.st_ino
           && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec, "and not followed");
    /* Only root can make somebody else's. (Emulated, a program has another beginning after its exec, and so another file.) */
    if (geteuid() == 0 && !emulated()) {
        better("O4", begin_over(plant_foreign_link, "runs", said, sizeof said) == 3, "somebody else's is left alone");
        better("O4", strstr(said, "no statistics: ") != NULL, "which is said");
        stat(victim, &after);
        better("O4", before.st_size == after.st_size && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec, "and not followed");
    }
    if (!emulated())
        better("O4", begin_over(plant_folder, "runs", said, sizeof said) == 3 && strstr(said, "no statistics: ") != NULL,
               "nor does a folder do harm");
    close(file);
    unlink(victim);
}

/* A folder without room for the file, or with just enough for one: Only root can make one, and not everywhere. */
static void without_room(const char *room, const char *mode)
{
    int err[2];
    char said[4096];
    if (pipe(err) != 0)
        give_up("pipe");
    pid_t child = child_begins();
    if (child == 0) {
        unlink(path_of(getpid()));
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0
            || mount("none", "/dev/shm", "tmpfs", 0, room) != 0)
            _exit(3);
        dup2(err[1], 2);
        execl(self, "presence_statistics", "fresh", mode, (char *)NULL);
        _exit(126);
    }
    close(err[1]);
    ssize_t length = read(err[0], said, sizeof said - 1);
    said[length > 0 ? length : 0] = '\0';
    close(err[0]);
    int status = -1;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3) {
        printf("# this user cannot make a folder without room\n");
        return;
    }
    better("O4", WIFEXITED(status) && WEXITSTATUS(status) == 7, "%s: the program runs", room);
    const char *line = strstr(said, "no statistics: ");
    if (strcmp(mode, "none") != 0) {
        better("O4", line == NULL, "with figures for all");
        return;
    }
    better("O4", line != NULL && strstr(line, "No space left") != NULL, "and says so");
    better("O4", line != NULL && strstr(line + 1, "no statistics: ") == NULL, "once");
}

/* A limit for files, as services have it, is none for the program: what is too large is not made. */
static void limited(void)
{
    pid_t child = child_begins();
    if (child == 0) {
        struct rlimit limit = {100 * 1024, 100 * 1024};
        if (freopen("/dev/null", "w", stderr) == NULL || setrlimit(RLIMIT_FSIZE, &limit) != 0)
            _exit(126);
        execl(self, "presence_statistics", "fresh", "none", (char *)NULL);
        _exit(126);
    }
    better("O4", passed(child), "a program that may not write files of that size runs without");
    SSL_CTX *ctx = server_context();
    child = child_begins();
    if (child == 0) {
        struct rlimit limit = {1024, 1024};
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
            _exit(126);
        _exit(store(ctx, 1, 1000, 100) == 1 && process_of(getpid()) != NULL ? 7 : 1);
    }
    better("O4", passed(child), "a child that may not counts all the same");
    SSL_CTX_free(ctx);
}

static void *begin_cancelled(void *arg)
{
    (void)arg;
    pthread_cancel(pthread_self());
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    return ctx;
}

/* SSL_CTX_new is no cancellation point, also where it makes the file. Run by a process of its own. */
static int cancelled_at_first(void)
{
    pthread_t thread;
    void *result = NULL;
    OPENSSL_init_ssl(0, NULL); /* which reads its configuration */
    hs_start(&thread, begin_cancelled, NULL);
    pthread_join(thread, &result);
    return result != NULL && result != PTHREAD_CANCELED && there(path_of(getpid())) ? 7 : 1;
}

static void cancelled(void)
{
    char said[4096];
    better("O4", begin_over(NULL, "cancelled", said, sizeof said) == 1, "a cancellation that is pending strikes no one who makes the file");
}

/* A process that is gone leaves its file to the next that begins, whatever it had been allowed to do. */
static int leaves(void)
{
    SSL_CTX *ctx = server_context();
    /* (At exit LeakSanitizer looks into /proc for ever.) */
    if (!slowly() && geteuid() == 0 && (chroot("/proc/self/fdinfo") != 0 || chdir("/") != 0 || setgid(65534) != 0 || setuid(65534) != 0))
        return 1;
    SSL_CTX_free(ctx);
    return 7;
}

enum { DAEMON_SAYS = 100 }; /* a descriptor */

/* The first process of a daemon ends before the second has counted anything. */
static int daemonizes(void)
{
    SSL_CTX *ctx = server_context();
    pid_t first = getpid();
    char byte = 0;
    const char *path = path_of(first);
    pid_t child = fork();
    if (child == 0) {
        while (getppid() == first)
            usleep(1000);
        int ok = there(path);
        mine = view(path);
        ok &= store(ctx, 1, 1000, 100) == 1 && process_of(getpid()) != NULL && newest()[STORES] == 1;
        byte = ok ? 7 : 1;
        if (write(DAEMON_SAYS, &byte, 1) != 1)
            _exit(1);
        exit(0);
    }
    return 7;
}

static void killed(void)
{
    char said[4096], path[64];
    pid_t child = child_begins();
    if (child == 0) {
        execl(self, "presence_statistics", "fresh", "killed", (char *)NULL);
        _exit(126);
    }
    strcpy(path, path_of(child));
    int ended = 0, stopped = 0;
    better("O4", waitpid(child, &stopped, WUNTRACED) == child && WIFSTOPPED(stopped) && there(path), "a process has a file");
    kill(child, SIGKILL);
    ended_as(child, &ended);
    better("O4", begin_over(NULL, "counts", said, sizeof said) == 1 && ended && !there(path),
           "which the next to begin takes away when it was killed");
}

static void gone(void)
{
    char said[4096], path[64];
    int status = begin_over(NULL, "leaves", said, sizeof said);
    better("O4", (status & 1) == 1, "a process in another root, and another user, ends well");
    if (!emulated())
        killed();

    int done[2];
    char byte = 0;
    if (pipe(done) != 0)
        give_up("pipe");
    pid_t child = child_begins();
    if (child == 0) {
        dup2(done[1], DAEMON_SAYS);
        close(done[0]);
        close(done[1]);
        execl(self, "presence_statistics", "fresh", "daemonizes", (char *)NULL);
        _exit(126);
    }
    strcpy(path, path_of(child));
    close(done[1]);
    better("O4", passed(child), "the first process of a daemon ends");
    better("O4", read(done[0], &byte, 1) == 1 && byte == 7, "the second counts on in the file that was left to it");
    while (read(done[0], &byte, 1) > 0)
        ;
    close(done[0]);
    better("O4", !there(path), "and takes it away");
}

static SSL_CTX *freed_at_exit;

static void free_at_exit(void)
{
    SSL_CTX_free(freed_at_exit);
}

/* Run by a process of its own: handlers that were there before ours run after it. */
static int frees_at_exit(void)
{
    OPENSSL_init_ssl(0, NULL); /* whose own handler comes last */
    atexit(free_at_exit);
    freed_at_exit = server_context();
    pid_t child = fork();
    if (child == 0)
        exit(0);
    siginfo_t ended;
    int status = -1;
    if (waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT) != 0)
        return 1;
    const char *path = path_of(child);
    waitpid(child, &status, 0);
    return WIFEXITED(status) && !there(path) ? 7 : 1;
}

static void nothing_after_the_end(void)
{
    pid_t child = child_begins();
    if (child == 0) {
        unlink(path_of(getpid()));
        execl(self, "presence_statistics", "fresh", "frees_at_exit", (char *)NULL);
        _exit(126);
    }
    better("O4", passed(child), "a child that has changed nothing makes no file at its end");
}

/* Only who asks for it gets one. */
static void only_when_asked(void)
{
    static const char *const values[] = {"0", "yes"};
    for (size_t i = 0; i < 2; i++) {
        pid_t child = child_begins();
        if (child == 0) {
            unlink(path_of(getpid()));
            setenv("SSLSWEEP_STATS", values[i], 1);
            if (freopen("/dev/null", "w", stderr) == NULL)
                _exit(125);
            execl(self, "presence_statistics", "fresh", "none", (char *)NULL);
            _exit(126);
        }
        better("O4", passed(child), "SSLSWEEP_STATS=%s: no file", values[i]);
    }
}

int main(int argc, char **argv)
{
    limit_time();
    if (argc == 3 && strcmp(argv[1], "fresh") == 0)
        return fresh(argv[2]);
    own_option(argv, "SSLSWEEP_STATS", "1");
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        give_up("readlink");
    if (own_functions("O4")) {
        whose_it_is();
        nothing_is_open();
        figures();
        curve();
        many();
        threads();
        misses_elsewhere();
        lookups_of_threads();
        nothing_secret();
        after_fork();
        prefork();
        sandboxed();
        after_exec();
        gone();
        without_room("size=64k", "none");
        without_room("size=1m", "forks");
        limited();
        if (!emulated())
            cancelled();
        nothing_after_the_end();
        only_when_asked();
        better("C12", no_errors(), "the error queue is empty");
    }
    return done();
}
