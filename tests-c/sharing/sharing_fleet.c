/* S1, S3, S4, S5, S8, S9: what comes from other machines, and what is asked of them.
 *
 * A machine is a segment with a name, and a server there a process of its own. Between them this program does what an agent
 * does: it carries records from one segment to another, and writes into the header what an agent would write there. */
#include "sharing.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/rand.h>

/* ---- A segment's file, by the layout of crates/segment/src/header.rs ---- */

enum { SEGMENT = 1 << 20, HEADER = 8192 };
enum { EPOCH = 16, FLOOR = 17, AGENT = 18, UPSTREAM = 19, MISSED = 32, PENDING = 48 }; /* words */
enum { SLOT_WORDS = 64, LIVE = 2, DEAD = 3, EXPIRES = 3, PUT = 4, RECORD = 6 };
enum { CELLS = 512, CELL = 8, ANSWERS = 3 };

typedef struct machine {
    const char *name;
    char segment[PATH_MAX + 32];
} machine;

static machine here = {.name = "here"}, there = {.name = "there"};

/* NULL if the machine has no segment, as on stock. */
static uint64_t *map(const char *segment)
{
    int fd = open(segment, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    void *found = mmap(NULL, SEGMENT, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found == MAP_FAILED)
        give_up("mmap");
    return found;
}

static void set(const machine *at, int word, uint64_t value)
{
    uint64_t *words = map(at->segment);
    if (words == NULL)
        return;
    __atomic_store_n(&words[word], value, __ATOMIC_SEQ_CST);
    munmap(words, SEGMENT);
}

static uint64_t get(const machine *at, int word)
{
    uint64_t *words = map(at->segment), value = words == NULL ? 0 : words[word];
    if (words != NULL)
        munmap(words, SEGMENT);
    return value;
}

static void lose_records(const char *segment)
{
    uint64_t *words = map(segment);
    if (words == NULL)
        return;
    memset((char *)words + HEADER, 0, SEGMENT - HEADER);
    munmap(words, SEGMENT);
}

/* All records of one machine to another. (Names decide upon places, so they are the same everywhere.) */
static void carry(const machine *from, const machine *to)
{
    uint64_t *source = map(from->segment), *target = map(to->segment);
    if (source == NULL || target == NULL)
        return;
    memcpy((char *)target + HEADER, (char *)source + HEADER, SEGMENT - HEADER);
    munmap(target, SEGMENT);
    munmap(source, SEGMENT);
}

/* The public flags of the record that was put last; -1 if there is none. */
static int flags_of_newest(const machine *at)
{
    uint64_t *words = map(at->segment), newest = 0;
    int flags = -1;
    if (words == NULL)
        return -1;
    for (uint64_t *slot = words + HEADER / 8; slot < words + SEGMENT / 8; slot += SLOT_WORDS)
        if ((slot[0] & 3) == LIVE && slot[PUT] > newest) {
            newest = slot[PUT];
            flags = ((unsigned char *)(slot + RECORD))[3];
        }
    munmap(words, SEGMENT);
    return flags;
}

/* The seconds for which the segment remembers a removal; the longest of several, and -1 if there is none. */
static long long remembers(const machine *at)
{
    uint64_t *words = map(at->segment);
    long long longest = -1, now = time(NULL);
    if (words == NULL)
        return -1;
    for (uint64_t *slot = words + HEADER / 8; slot < words + SEGMENT / 8; slot += SLOT_WORDS)
        if ((slot[0] & 3) == DEAD && (long long)slot[EXPIRES] - now > longest)
            longest = (long long)slot[EXPIRES] - now;
    munmap(words, SEGMENT);
    return longest;
}

static void has_agent(const machine *at, int has)
{
    set(at, AGENT, (uint64_t)has);
    set(at, UPSTREAM, (uint64_t)has);
    set(at, PENDING, 0);
    set(at, MISSED, 0);
}

/* An agent of this machine, in a process of its own, whose fleet has what another machine has, or nothing. It answers all
 * questions until it is ended. */
static pid_t start_agent(const machine *at, const machine *fleet)
{
    has_agent(at, 1);
    fflush(stdout);
    pid_t child = fork();
    if (child != 0)
        return child;
    limit_time();
    uint64_t *words = map(at->segment);
    while (words != NULL) {
        uint64_t pending = __atomic_exchange_n(&words[PENDING], 0, __ATOMIC_SEQ_CST);
        if (pending != 0 && fleet != NULL)
            carry(fleet, at);
        for (int cell = 0; cell < 64; cell++) {
            uint64_t *answers = &words[CELLS + cell * CELL + ANSWERS];
            if (pending >> cell & 1) {
                __atomic_fetch_add(answers, 1, __ATOMIC_SEQ_CST);
                syscall(SYS_futex, answers, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
            }
        }
        sched_yield();
    }
    pause(); /* stock has no segment, and asks nothing */
    _exit(0);
}

static void end_agent(const machine *at, pid_t agent)
{
    kill(agent, SIGKILL);
    waitpid(agent, NULL, 0);
    has_agent(at, 0);
}

/* ---- A server, in a process of its own ---- */

typedef struct work {
    const char *what, *session, *identity;
    int version;
} work;

static int of_the_program(SSL *ssl, unsigned char *id, unsigned *length)
{
    (void)ssl;
    return RAND_bytes(id, (int)*length);
}

static void raise_epoch(void)
{
    uint64_t *words = map(getenv("TEST_SEGMENT"));
    if (words != NULL)
        __atomic_fetch_add(&words[EPOCH], 1, __ATOMIC_SEQ_CST);
}

/* A revocation when the server has chosen the session that it resumes. */
static void revoke_midway(const SSL *ssl, int where, int value)
{
    (void)value;
    if ((where & SSL_CB_LOOP) && SSL_get_state(ssl) == TLS_ST_SW_SRVR_HELLO && SSL_session_reused(ssl))
        raise_epoch();
}

/* As if the ticket were made when the revocation is long known. */
static int made_later(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_set_time(session, (long)time(NULL) + 10);
    return 0;
}

static SSL_SESSION *read_session(const char *file)
{
    BIO *from = BIO_new_file(file, "r");
    SSL_SESSION *session = from == NULL ? NULL : PEM_read_bio_SSL_SESSION(from, NULL, NULL, NULL);
    BIO_free(from);
    if (session == NULL)
        give_up("no session in %s", file);
    return session;
}

static void write_session(const char *file, SSL_SESSION *session)
{
    BIO *to = BIO_new_file(file, "w");
    if (to == NULL || !PEM_write_bio_SSL_SESSION(to, session))
        give_up("cannot write %s", file);
    BIO_free(to);
}

static unsigned char *put(unsigned char *to, size_t bytes, size_t value)
{
    while (bytes > 0)
        *to++ = (unsigned char)(value >> 8 * --bytes);
    return to;
}

/* A hello of TLS 1.3 that asks for this number of sessions, each by another id, of the fleet's or not. */
static size_t long_hello(unsigned char *hello, unsigned sessions, int of_fleet)
{
    static const unsigned char extensions[] = {
        0, 43, 0, 3, 2, 3, 4,          /* TLS 1.3 */
        0, 10, 0, 4, 0, 2, 0, 23,      /* P-256 */
        0, 13, 0, 6, 0, 4, 4, 3, 8, 4, /* signatures */
        0, 51, 0, 2, 0, 0,             /* no share of a key */
        0, 45, 0, 2, 1, 1,             /* sessions with a new exchange of keys */
    };
    size_t identities = sessions * (2 + FLEET_ID + 4), keys = 2 + identities + 2 + 33;
    size_t all = sizeof extensions + 4 + keys, body = 2 + 32 + 1 + 4 + 2 + 2 + all;
    unsigned char *to = hello;
    *to++ = SSL3_MT_CLIENT_HELLO;
    to = put(to, 3, body);
    to = put(to, 2, TLS1_2_VERSION);
    RAND_bytes(to, 32);
    to += 32;
    *to++ = 0; /* no id */
    to = put(to, 2, 2);
    to = put(to, 2, 0x1301);
    to = put(to, 2, 0x100); /* no compression */
    to = put(to, 2, all);
    memcpy(to, extensions, sizeof extensions);
    to = put(to + sizeof extensions, 2, 41);
    to = put(to, 2, keys);
    to = put(to, 2, identities);
    while (sessions-- > 0) {
        to = put(to, 2, FLEET_ID);
        RAND_bytes(to, FLEET_ID);
        if (of_fleet)
            fleet_mac(to);
        to = put(to + FLEET_ID, 4, 0);
    }
    to = put(to, 2, 33);
    *to++ = 32;
    memset(to, 0, 32);
    return (size_t)(to + 32 - hello);
}

static void greet_at_length(SSL_CTX *server, unsigned sessions, int of_fleet)
{
    static unsigned char hello[1 << 16];
    size_t length = long_hello(hello, sessions, of_fleet), most = 16384;
    SSL *ssl = SSL_new(server);
    BIO *in = BIO_new(BIO_s_mem());
    for (size_t at = 0, part; at < length; at += part) {
        unsigned char header[5] = {SSL3_RT_HANDSHAKE, 3, 1};
        part = length - at < most ? length - at : most;
        put(header + 3, 2, part);
        BIO_write(in, header, sizeof header);
        BIO_write(in, hello + at, (int)part);
    }
    SSL_set_bio(ssl, in, BIO_new(BIO_s_mem()));
    /* The server asks for another hello, with a share of a key. */
    printf("HELLO %d\n", SSL_get_error(ssl, SSL_accept(ssl)) == SSL_ERROR_WANT_READ);
    SSL_free(ssl);
    ERR_clear_error();
}

/* What `what` says, with one context; prints how it went. */
static int serve(work w)
{
    SSL_CTX *server = hs_server(ANY_TLS, WITHOUT_TICKETS), *client = hs_client(w.version);
    if (SSL_CTX_use_certificate_file(server, w.identity, SSL_FILETYPE_PEM) != 1
        || SSL_CTX_use_PrivateKey_file(server, w.identity, SSL_FILETYPE_PEM) != 1)
        give_up("no identity");
    if (strstr(w.what, "generator") != NULL)
        SSL_CTX_set_generate_session_id(server, of_the_program);
    if (strstr(w.what, "early") != NULL)
        SSL_CTX_set_max_early_data(server, 1000);
    if (strstr(w.what, "replays") != NULL)
        SSL_CTX_set_options(server, SSL_OP_NO_ANTI_REPLAY);
    if (strstr(w.what, "make") != NULL) {
        SSL_SESSION *session = hs_first(server, client);
        write_session(w.session, session);
        SSL_SESSION_free(session);
    }
    if (strstr(w.what, "flush") != NULL)
        flush(server, 0);
    if (strstr(w.what, "revoke") != NULL)
        raise_epoch();
    if (strstr(w.what, "midway") != NULL) {
        SSL_SESSION *session = read_session(w.session), *next = NULL;
        SSL_CTX_set_info_callback(server, revoke_midway);
        SSL_CTX_sess_set_new_cb(server, made_later);
        if (hs_connect(server, client, session, &next) != HS_RESUMED || next == NULL)
            give_up("the session is not resumed");
        SSL_CTX_set_info_callback(server, NULL);
        SSL_CTX_sess_set_new_cb(server, NULL);
        write_session(w.session, next);
        SSL_SESSION_free(session);
        SSL_SESSION_free(next);
    }
    if (strstr(w.what, "remove") != NULL) {
        SSL_SESSION *session = read_session(w.session);
        hs_pair pair = hs_new(server, client, session);
        SSL_set_num_tickets(pair.server, 0); /* or the connection would have that of the next ticket */
        hs_drive(&pair);
        SSL_CTX_remove_session(server, SSL_get_session(pair.server));
        if (strstr(w.what, "evicted") != NULL) {
            lose_records(getenv("TEST_SEGMENT"));
            SSL_CTX_remove_session(server, SSL_get_session(pair.server));
        }
        hs_close(&pair);
        SSL_SESSION_free(session);
    }
    SSL_SESSION *to_try = read_session(w.session);
    if (strstr(w.what, "sandbox") != NULL) {
        SSL_SESSION_free(hs_first(server, client));
        fflush(stdout);
        take_memory();
        /* The cache's tables may have to grow: that has nothing to do with questions. */
        if (!close_sandbox(1))
            give_up("no sandbox");
        _exit(hs_resume(server, client, to_try) == HS_FAILED);
    }
    SSL_SESSION_free(to_try);
    for (const char *at = w.what; (at = strstr(at, "try")) != NULL; at++) {
        SSL_SESSION *session = read_session(w.session);
        printf("RESUMED %s\n", hs_word(hs_resume(server, client, session)));
        SSL_SESSION_free(session);
    }
    if (strstr(w.what, "long") != NULL)
        greet_at_length(server, 1600, strstr(w.what, "strange") == NULL);
    if (strstr(w.what, "longtwice") != NULL)
        greet_at_length(server, 1600, 1);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    hs_end();
    return 0;
}

/* ---- Runs ---- */

typedef struct outcome {
    int failed, status, complained;
    char last[16];   /* of the words that were printed */
    char said[4096]; /* the line of sslsweep's on sharing, between commas */
} outcome;

static char self[PATH_MAX], folder[PATH_MAX], keys[PATH_MAX + 16], session_file[PATH_MAX + 16], identity_file[PATH_MAX + 16];
static int version;
static const char *wait_for = "0";

static outcome run(const machine *at, const char *what)
{
    outcome o = {.failed = 1, .status = -1};
    char out[4096], err[8192], number[16], value[PATH_MAX + 64];
    int to[2], errors[2];
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0)
        give_up("pipe2");
    snprintf(number, sizeof number, "%d", version);
    snprintf(value, sizeof value, "host:%s:1m", at->segment);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        limit_time();
        setenv("SSLSWEEP_SHARE", value, 1);
        setenv("SSLSWEEP_SHARE_KEY", keys, 1);
        setenv("SSLSWEEP_SHARE_WAIT", wait_for, 1);
        setenv("SSLSWEEP_VERBOSE", "1", 1);
        setenv("TEST_SEGMENT", at->segment, 1);
        dup2(to[1], 1);
        dup2(errors[1], 2);
        execl(self, self, "serve", what, session_file, identity_file, number, (char *)NULL);
        _exit(126);
    }
    close(to[1]);
    close(errors[1]);
    /* Little is written to either, so one after the other cannot block. */
    read_all(to[0], out, sizeof out);
    read_all(errors[0], err, sizeof err);
    if (waitpid(child, &o.status, 0) == child)
        o.failed = !WIFEXITED(o.status) || WEXITSTATUS(o.status) != 0;
    for (const char *word = out; (word = strstr(word, "RESUMED ")) != NULL; word++)
        sscanf(word, "RESUMED %15s", o.last);
    if (strstr(out, "HELLO 0") != NULL)
        o.failed = 1;
    o.complained = strstr(err, "SSLSWEEP_SHARE_WAIT=") != NULL;
    const char *line = strstr(err, "sharing: ");
    if (line != NULL) {
        o.said[0] = ' ';
        sscanf(line, "sharing: %4000[^\n]", o.said + 1);
        strcat(o.said, ",");
    }
    printf("# %s, %s:%s\n", at->name, what, o.said);
    for (char *rest = err, *text; o.failed && (text = strsep(&rest, "\n")) != NULL;)
        printf("# stderr: %s\n", text);
    return o;
}

static int resumed(const outcome *o)
{
    return !o->failed && strcmp(o->last, "resumed") == 0;
}

static int full(const outcome *o)
{
    return !o->failed && strcmp(o->last, "full") == 0;
}

/* How often something was counted: "asked", or a reason as in "revoked". */
static int count(const outcome *o, const char *what)
{
    for (const char *at = o->said; (at = strpbrk(at, " (")) != NULL; at++) {
        int number = 0, length = 0;
        char word[64] = "";
        if (sscanf(at + 1, "%d %63[a-z ]%n", &number, word, &length) == 2 && length > 0) {
            word[strcspn(word, ",()")] = '\0';
            if (word[0] != '\0' && word[strlen(word) - 1] == ' ')
                word[strlen(word) - 1] = '\0';
            if (strcmp(word, what) == 0)
                return number;
        }
    }
    return 0;
}

static const char *in(void)
{
    return version_name(version);
}

static void made(const machine *at, const char *what)
{
    outcome o = run(at, what);
    expect("S5", !o.failed, "%s: %s: %s", in(), at->name, what);
}

/* The session there, which is refused for this reason. */
static void refused(const char *number, const char *what, const char *reason)
{
    outcome o = run(&there, what);
    expect(number, full(&o), "%s: %s, %s: a full handshake", in(), what, reason);
    better("S9", count(&o, reason) == 1, "%s: it is refused as %s", in(), reason);
}

/* ---- The cases ---- */

static void crossing(void)
{
    made(&there, "make"); /* so that there is a segment */
    made(&here, "make");
    outcome o = run(&there, "try");
    expect("S5", full(&o), "%s: another machine, which has no record: a full handshake", in());
    carry(&here, &there);
    o = run(&there, "try");
    better("S1", resumed(&o), "%s: it resumes what was made elsewhere", in());
    o = run(&there, "try flush try");
    expect("S5", !o.failed, "%s: a flush there", in());
    carry(&here, &there);
    refused("S3", "flush try", "flushed");

    set(&there, EPOCH, 1);
    refused("S3", "try", "revoked");
    o = run(&there, "make try");
    better("S3", resumed(&o), "%s: what is made after the revocation is resumed", in());
    made(&here, "make");
    carry(&here, &there);
    set(&there, EPOCH, 0);
    set(&there, FLOOR, (uint64_t)time(NULL) + 10);
    refused("S3", "try", "gap");
    set(&there, FLOOR, (uint64_t)time(NULL) - 1000);
    o = run(&there, "try");
    better("S1", resumed(&o), "%s: what was published after the gap is resumed", in());
    set(&there, FLOOR, 0);
}

/* Sessions in the caches of servers are revoked as well. */
static void stored(void)
{
    outcome o = run(&there, "make try");
    expect("C9", resumed(&o), "%s: a server resumes its own session", in());
    o = run(&there, "make revoke try");
    better("S3", full(&o), "%s: not after a revocation", in());
    set(&there, EPOCH, 0);
    if (version == TLS1_3_VERSION) {
        o = run(&there, "make midway try");
        better("S3", full(&o), "%s: nor by a ticket of a handshake that was under way", in());
        set(&there, EPOCH, 0);
    }
    set(&there, FLOOR, (uint64_t)time(NULL) + 1000);
    o = run(&there, "make try");
    better("S3", full(&o), "%s: nor one from before a gap", in());
    set(&there, FLOOR, 0);
}

/* What is to be used but once is not used elsewhere. */
static void single_use(void)
{
    made(&here, "make early");
    better("S4", flags_of_newest(&here) == 1, "%s: a record that is marked for one use", in());
    carry(&here, &there);
    refused("S4", "try early", "single use");
    refused("S4", "try", "single use");
    outcome o = run(&here, "try early");
    better("S4", resumed(&o), "%s: on its own machine it is used", in());
    made(&here, "make early replays");
    better("S4", flags_of_newest(&here) == 2, "%s: a record whose early data may be replayed is to stay", in());
    made(&here, "make");
    carry(&here, &there);
    refused("S4", "try early", "single use");
}

/* A session that is removed when its record has left the segment: the fleet may still have it. */
static void evicted(void)
{
    SSL_CTX *like = hs_server(ANY_TLS, WITHOUT_TICKETS);
    long longest = SSL_CTX_get_timeout(like);
    SSL_CTX_free(like);
    has_agent(&there, 1);
    outcome o = run(&there, "make remove evicted");
    expect("S3", !o.failed, "%s: a session is removed once more, when its record was evicted", in());
    long long left = remembers(&there);
    printf("# remembered for %lld s of %ld\n", left, longest);
    /* (time() may be a tick behind the clock that the library asks.) */
    better("S3", left > longest - 60 && left <= longest + 1, "%s: that is remembered as long as a new session lives", in());
    has_agent(&there, 0);
}

static void questions(void)
{
    made(&here, "make");
    better("S8", flags_of_newest(&here) == 0, "%s: a record that may leave the machine", in());
    lose_records(there.segment);
    outcome o = run(&there, "try");
    expect("S5", full(&o), "%s: without an agent", in());
    better("S8", count(&o, "asked") == 0 && get(&there, PENDING) == 0, "%s: nobody is asked", in());

    has_agent(&there, 1);
    o = run(&there, "try");
    expect("S5", full(&o), "%s: with an agent", in());
    better("S8", count(&o, "asked") == 1 && get(&there, PENDING) != 0, "%s: the fleet is asked", in());
    better("S5", count(&o, "waits") == 0, "%s: and nobody waits", in());
    set(&there, PENDING, 0);
    if (version == TLS1_3_VERSION) {
        o = run(&there, "try early");
        better("S4", full(&o) && count(&o, "asked") == 0, "%s: a server that refuses replays does not ask", in());
    }

    made(&here, "make generator");
    better("S8", flags_of_newest(&here) == 2, "%s: the record of a foreign id is to stay", in());
    lose_records(there.segment);
    o = run(&there, "try");
    better("S8", full(&o) && count(&o, "asked") == 0 && count(&o, "foreign") == 1, "%s: nor for a foreign id", in());
    better("S8", get(&there, PENDING) == 0, "%s: which costs the fleet nothing", in());

    made(&here, "make");
    carry(&here, &there);
    o = run(&there, "remove try");
    expect("S3", full(&o), "%s: a session that was removed", in());
    better("S3", count(&o, "fetched") == 1 && count(&o, "removed") > 0, "%s: (it was there)", in());
    better("S8", count(&o, "asked") == 0, "%s: is not asked for", in());
    has_agent(&there, 0);
}

static void waits(void)
{
    made(&here, "make");
    lose_records(there.segment);
    has_agent(&there, 1);
    wait_for = "1";
    outcome o = run(&there, "try");
    expect("S5", full(&o), "%s: an agent that does not answer", in());
    better("S5", count(&o, "asked") == 1 && count(&o, "missed") == 1, "%s: one wait", in());
    /* Once a second somebody tries again, so that more may have missed. */
    o = run(&there, "try try try try try try");
    expect("S5", full(&o), "%s: again and again", in());
    better("S5", count(&o, "asked") == 6 && count(&o, "missed") + count(&o, "skipped") == 6 && count(&o, "missed") >= 2,
           "%s: the breaker opens after three", in());
    better("S5", get(&there, MISSED) == 3, "%s: for all processes", in());
    has_agent(&there, 0);

    if (version == TLS1_3_VERSION) {
        has_agent(&there, 1);
        o = run(&there, "long");
        expect("S5", !o.failed, "a hello that asks for 1,600 sessions");
        better("S5, S8", count(&o, "asked") == 2 && count(&o, "missed") == 1 && count(&o, "absent") == 1600,
               "two questions and one wait");
        has_agent(&there, 1);
        o = run(&there, "longtwice");
        better("S5, S8", count(&o, "asked") == 4 && count(&o, "missed") == 2, "and so for the next one");
        wait_for = "0";
        has_agent(&there, 1);
        o = run(&there, "long");
        better("S5, S8", count(&o, "asked") == 2 && count(&o, "waits") == 0, "without SSLSWEEP_SHARE_WAIT nobody waits");
        o = run(&there, "long strange");
        better("S8", count(&o, "asked") == 0 && count(&o, "foreign") == 1600, "for 1,600 foreign ids nobody is asked");
        has_agent(&there, 0);
    }
    wait_for = "0";
}

/* An agent that answers. (It may be late on a busy machine, so it gets some tries. An answer that comes too late may be found by
 * the next try, which then asks nothing.) */
static void answers(void)
{
    enum { TRIES = 30 };
    outcome o;
    int tries;
    made(&here, "make");
    wait_for = "20";
    pid_t agent = start_agent(&there, &here);
    for (tries = 0, o = (outcome){.failed = 0}; tries < TRIES && sweeping() && !(resumed(&o) && count(&o, "answered") == 1); tries++) {
        lose_records(there.segment);
        set(&there, MISSED, 0);
        o = run(&there, "try");
    }
    end_agent(&there, agent);
    better("S1", resumed(&o) && count(&o, "answered") == 1 && count(&o, "fetched") == 1, "%s: the fleet's answer is resumed", in());

    agent = start_agent(&there, NULL);
    for (tries = 0, o = (outcome){.failed = 0}; tries < TRIES && sweeping() && count(&o, "answered") == 0; tries++) {
        lose_records(there.segment);
        set(&there, MISSED, 0);
        o = run(&there, "try");
    }
    end_agent(&there, agent);
    better("S5", full(&o) && count(&o, "absent") == 1, "%s: an answer without a session is a full handshake", in());
    wait_for = "0";
}

/* In a sandbox, which ends whoever makes a system call. */
static void sandbox(void)
{
    made(&here, "make");
    lose_records(there.segment);
    has_agent(&there, 1);
    outcome o = run(&there, "sandbox");
    expect("S5", !o.failed, "%s: a question makes no system call", in());
    better("S5", get(&there, PENDING) != 0, "%s: (it was asked)", in());
    wait_for = "1";
    o = run(&there, "sandbox");
    better("S5", WIFSIGNALED(o.status) && WTERMSIG(o.status) == SIGSYS, "%s: a wait does, if it was asked for", in());
    wait_for = "0";
    has_agent(&there, 0);
}

/* P7 */
static void values(void)
{
    static const char *const bad[] = {"", "21", "-1", "1.5", "soon"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        wait_for = bad[i];
        outcome o = run(&there, "make try");
        expect("P7", resumed(&o), "SSLSWEEP_SHARE_WAIT=%s: the program runs", bad[i]);
        better("P7", o.complained && count(&o, "published") > 0, "says so, and shares");
    }
    wait_for = "0";
}

static void make_files(void)
{
    snprintf(keys, sizeof keys, "%s/keys", folder);
    snprintf(session_file, sizeof session_file, "%s/session", folder);
    snprintf(identity_file, sizeof identity_file, "%s/identity", folder);
    snprintf(here.segment, sizeof here.segment, "%s/here", folder);
    snprintf(there.segment, sizeof there.segment, "%s/there", folder);
    int fd = open(keys, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, fleet_key, strlen(fleet_key)) != (ssize_t)strlen(fleet_key))
        give_up("cannot write %s", keys);
    close(fd);
    write_identity(identity_file);
}

int main(int argc, char **argv)
{
    limit_time();
    if (argc == 6 && strcmp(argv[1], "serve") == 0)
        return serve((work){argv[2], argv[3], argv[4], atoi(argv[5])});
    limit_long_time();
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        give_up("readlink");
    snprintf(folder, sizeof folder, "%.4000s.XXXXXX", self);
    if (mkdtemp(folder) == NULL)
        give_up("mkdtemp %s", folder);
    make_files();
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        version = versions[i];
        crossing();
        stored();
        if (version == TLS1_3_VERSION)
            single_use();
        evicted();
        questions();
        waits();
        answers();
        if (HAS_SANDBOX && !slowly()) /* tools make system calls of their own */
            sandbox();
    }
    values();
    const char *const files[] = {keys, session_file, identity_file, here.segment, there.segment};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(files[i]);
    if (rmdir(folder) != 0)
        give_up("rmdir %s", folder);
    hs_end();
    return done();
}
