/* Master keys: once a session has left, by whatever way, and all that held it is freed, no copy of its master
 * key is anywhere in the process; and while it is stored, there is no more of them than on stock. All writable
 * memory is searched, stacks and freed blocks too. Nor does SSLSWEEP_VERBOSE say anything of a session. */
#include "handshake.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- The keys, noted so that the notes are no copies ---- */

#define MOST_KEYS 64
#define KEY_PART 16 /* of 48 bytes: half a copy is one too many */

static struct {
    unsigned char hidden[KEY_PART];
} keys[MOST_KEYS];
static int known;

static unsigned char hide(unsigned char byte) { return byte ^ 0xa5; }

static void note_key(const SSL_SESSION *session)
{
    unsigned char key[SSL_MAX_MASTER_KEY_LENGTH];
    size_t length = SSL_SESSION_get_master_key(session, key, sizeof key);
    if (length < KEY_PART || known == MOST_KEYS)
        give_up("a session with a key of %zu bytes, the %dth", length, known);
    for (int i = 0; i < KEY_PART; i++)
        keys[known].hidden[i] = hide(key[i]);
    known++;
    OPENSSL_cleanse(key, sizeof key);
}

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    note_key(session);
    return 0;
}

/* ---- The search ---- */

#define PIECE (1 << 20)
#define LARGEST (1ul << 32) /* what is larger is address space that a sanitizer has set apart for its marks */

/* Memory is read through a file, by the kernel: whatever is there may be read, whoever it belongs to. */
__attribute__((no_sanitize("address", "undefined"))) /* for speed */
static int copies_in(const unsigned char *memory, size_t length, const unsigned char *begins, int *found)
{
    int copies = 0;
    for (size_t at = 0; at + KEY_PART <= length; at++) {
        if (!begins[memory[at] << 8 | memory[at + 1]])
            continue;
        for (int k = 0; k < known; k++) {
            int i = 0;
            while (i < KEY_PART && hide(memory[at + (size_t)i]) == keys[k].hidden[i])
                i++;
            if (i == KEY_PART) {
                copies++;
                found[k]++;
            }
        }
    }
    return copies;
}

/* Copies of all known keys; *missing: keys of which there is none. */
static int search(int *missing)
{
    static unsigned char *piece, begins[1 << 16];
    int found[MOST_KEYS] = {0}, copies = 0;
    char line[512];
    if (piece == NULL)
        piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(begins, 0, sizeof begins);
    for (int k = 0; k < known; k++)
        begins[hide(keys[k].hidden[0]) << 8 | hide(keys[k].hidden[1])] = 1;

    int memory = open("/proc/self/mem", O_RDONLY);
    FILE *maps = fopen("/proc/self/maps", "r");
    if (memory < 0 || maps == NULL || piece == MAP_FAILED)
        give_up("cannot read this process's memory");
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        char may[5];
        if (sscanf(line, "%lx-%lx %4s", &from, &to, may) != 3 || may[0] != 'r' || may[1] != 'w' || to - from > LARGEST)
            continue;
        while (from + KEY_PART <= to) {
            size_t length = to - from < PIECE ? to - from : PIECE;
            /* What was read before lies in the piece itself. */
            unsigned long own = (unsigned long)piece;
            if (from < own + PIECE && own < from + length) {
                length = from < own ? own - from : 0;
                if (length < KEY_PART) {
                    from = own + PIECE;
                    continue;
                }
            }
            ssize_t n = pread(memory, piece, length, (off_t)from);
            if (n < KEY_PART)
                break; /* nothing is behind it */
            copies += copies_in(piece, (size_t)n, begins, found);
            from += (unsigned long)n - KEY_PART + 1;
        }
    }
    fclose(maps);
    close(memory);
    OPENSSL_cleanse(piece, PIECE);
    *missing = 0;
    for (int k = 0; k < known; k++)
        *missing += found[k] == 0;
    return copies;
}

/* What is on the stack below us is of functions that have returned: the next ones write over it. */
static __attribute__((noinline)) void wipe_stack(void)
{
    volatile unsigned char below[1 << 16];
    for (size_t i = 0; i < sizeof below; i++)
        below[i] = 0;
}

static void stored(const char *how)
{
    int missing;
    wipe_stack();
    int copies = search(&missing);
    printf("# %s: %d copies of %d keys while stored\n", how, copies, known);
    expect("C16", known > 0 && missing == 0, "%s: stored, the key of each session is found", how);
    expect("C16", copies == known, "%s: once", how);
}

static void gone(const char *how)
{
    int missing;
    wipe_stack();
    int copies = search(&missing);
    expect("C16", copies == 0, "%s: %d copies are left", how, copies);
    known = 0;
}

/* ---- Ways to leave ---- */

typedef struct scene {
    SSL_CTX *server;
    int version;
} scene;

static scene begin(int version, int tickets)
{
    scene s = {hs_server(version, tickets), version};
    SSL_CTX_sess_set_new_cb(s.server, on_new);
    SSL_CTX_set_num_tickets(s.server, 1);
    return s;
}

/* One session is made and stored; nothing of the connection and the client is left. */
static void make_one(scene *s)
{
    SSL_CTX *client = hs_client(s->version);
    SSL_SESSION_free(hs_first(s->server, client));
    SSL_CTX_free(client);
}

static SSL_SESSION *only;
static void note_session(void *session) { only = session; }

/* The one that is stored, with a reference. */
static SSL_SESSION *take_note(scene *s)
{
    only = NULL;
    OPENSSL_LH_doall((OPENSSL_LHASH *)SSL_CTX_sessions(s->server), note_session);
    if (only == NULL)
        give_up("nothing is stored");
    SSL_SESSION_up_ref(only);
    return only;
}

static void by_flush(scene *s) { flush(s->server, 0); }

static void by_expiry(scene *s) { flush(s->server, time(NULL) + 1000000); }

static void by_removal(scene *s)
{
    SSL_SESSION *session = take_note(s);
    SSL_CTX_remove_session(s->server, session);
    SSL_SESSION_free(session);
    /* A table that was asked for keeps its sessions until the next one. */
    SSL_CTX_sessions(s->server);
}

static void by_lack_of_room(scene *s)
{
    SSL_CTX_sess_set_cache_size(s->server, size_to_hold(1));
    store(s->server, 1, time(NULL), 1000000);
}

/* By another session of the same id, which is then flushed. */
static void by_another(scene *s)
{
    unsigned length;
    SSL_SESSION *session = take_note(s);
    const unsigned char *id = SSL_SESSION_get_id(session, &length);
    SSL_SESSION *other = make_session(SSL_SESSION_get_protocol_version(session), id, length, time(NULL), 100);
    SSL_CTX_add_session(s->server, other);
    SSL_SESSION_free(other);
    SSL_SESSION_free(session);
    SSL_CTX_sessions(s->server);
}

static void by_end(scene *s)
{
    SSL_CTX_free(s->server);
    s->server = NULL;
}

static void by_end_with_a_table(scene *s)
{
    SSL_CTX_sessions(s->server);
    by_end(s);
}

static const struct {
    const char *name;
    void (*leave)(scene *);
} ways[] = {
    {"flushed", by_flush},
    {"expired", by_expiry},
    {"removed", by_removal},
    {"evicted", by_lack_of_room},
    {"replaced", by_another},
    {"context freed", by_end},
    {"context freed with a table", by_end_with_a_table},
};

static void leaving(int version)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i += slowly() ? 6 : 1) { /* the first and the last */
        char how[64];
        snprintf(how, sizeof how, "TLS 1.%d, %s", version - TLS1_VERSION, ways[i].name);
        scene s = begin(version, WITHOUT_TICKETS);
        make_one(&s);
        stored(how);
        ways[i].leave(&s);
        gone(how);
        SSL_CTX_free(s.server);
    }
}

/* ---- Through handshakes: resumption, 0-RTT with its stand-ins, a program's own cache ---- */

static void resuming(int version)
{
    scene s = begin(version, WITHOUT_TICKETS);
    SSL_CTX *client = hs_client(version);
    SSL_SESSION *session = hs_first(s.server, client);
    for (int i = 0; i < 3; i++)
        expect("C9", hs_resume(s.server, client, session) == HS_RESUMED, "resumed, time %d", i + 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    flush(s.server, 0);
    gone(version == TLS1_2_VERSION ? "TLS 1.2, resumed" : "TLS 1.3, resumed");
    SSL_CTX_free(s.server);
}

/* The server refuses the third: what stood in for its session is left behind. */
static void early(void)
{
    scene s = begin(TLS1_3_VERSION, WITH_TICKETS);
    SSL_CTX *client = hs_client(TLS1_3_VERSION);
    SSL_CTX_set_max_early_data(s.server, 4096);
    for (int i = 0; i < 3; i++) {
        int accepted;
        SSL_SESSION *ticket = hs_first(s.server, client);
        hs_pair pair = hs_new(s.server, client, ticket);
        if (i == 2)
            SSL_set_session_id_context(pair.server, (const unsigned char *)"others", 6);
        hs_result result = hs_drive_early(&pair, &accepted);
        hs_close(&pair);
        expect("C11", result == (i < 2 ? HS_RESUMED : HS_FULL) && accepted == (i < 2), "0-RTT, time %d", i + 1);
        SSL_SESSION_free(ticket);
    }
    SSL_CTX_free(client);
    flush(s.server, 0);
    SSL_CTX_free(s.server);
    gone("0-RTT");
}

static SSL_SESSION *own;
static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length;
    *copy = 1;
    return own;
}

static void external(void)
{
    scene s = begin(TLS1_2_VERSION, WITHOUT_TICKETS);
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    SSL_CTX_set_session_cache_mode(s.server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    SSL_SESSION *session = hs_first(s.server, client);
    own = take_note(&s);
    SSL_CTX_sess_set_get_cb(s.server, on_get);
    expect("C9", hs_resume(s.server, client, session) == HS_RESUMED, "resumed from the program's cache");
    SSL_SESSION_free(session);
    SSL_SESSION_free(own);
    SSL_CTX_free(client);
    SSL_CTX_free(s.server);
    gone("from the program's cache");
}

/* ---- What is said ---- */

static int said_of_sessions(const char *text, size_t length)
{
    static const char *const formats[] = {"%02x", "%02X"};
    for (int k = 0; k < known; k++) {
        unsigned char plain[4];
        char hex[16];
        for (int i = 0; i < 4; i++)
            plain[i] = hide(keys[k].hidden[i]);
        if (memmem(text, length, plain, 4) != NULL)
            return 1;
        for (int f = 0; f < 2; f++) {
            for (int i = 0; i < 4; i++)
                snprintf(hex + 2 * i, 3, formats[f], plain[i]);
            if (memmem(text, length, hex, 8) != NULL)
                return 1;
        }
    }
    return 0;
}

/* An id is noted beside the keys. */
static void note_id(SSL_SESSION *session)
{
    unsigned length;
    const unsigned char *id = SSL_SESSION_get_id(session, &length);
    for (int i = 0; i < KEY_PART; i++)
        keys[known].hidden[i] = hide(id[i]);
    known++;
}

static int work(void)
{
    scene s = begin(TLS1_2_VERSION, WITHOUT_TICKETS);
    SSL_CTX *client = hs_client(TLS1_2_VERSION);
    SSL_SESSION *session = hs_first(s.server, client);
    note_id(session);
    hs_resume(s.server, client, session);
    flush(s.server, 0);
    hs_resume(s.server, client, session);
    printf("KEYS");
    for (int k = 0; k < known; k++) {
        putchar(' ');
        for (int i = 0; i < KEY_PART; i++)
            printf("%02x", keys[k].hidden[i]);
    }
    printf("\n");
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(s.server);
    return 0;
}

static void verbose(const char *self)
{
    static char told[1 << 16];
    char command[PATH_MAX + 64];
    size_t length;
    setenv("SSLSWEEP_VERBOSE", "1", 1);
    snprintf(command, sizeof command, "'%s' work 2>&1", self);
    FILE *run = popen(command, "r");
    unsetenv("SSLSWEEP_VERBOSE");
    length = run == NULL ? 0 : fread(told, 1, sizeof told - 1, run);
    expect("P1", run != NULL && pclose(run) == 0, "the same at work, with SSLSWEEP_VERBOSE=1");
    better("P1", strstr(told, "took over the internal session cache") != NULL, "which it says");

    char *list = strstr(told, "KEYS");
    if (list == NULL)
        give_up("%s", told);
    char *end = strchr(list, '\n');
    for (char *at = list + 4; at < end && *at == ' '; at += 1 + 2 * KEY_PART, known++)
        for (int i = 0; i < KEY_PART; i++) {
            unsigned byte;
            sscanf(at + 1 + 2 * i, "%2x", &byte);
            keys[known].hidden[i] = (unsigned char)byte;
        }
    expect("C16", known >= 3, "keys and ids of the sessions there are known: %d", known);
    expect("C16", !said_of_sessions(told, length), "and nothing is said of them");
    known = 0;
}

int main(int argc, char **argv)
{
    char self[PATH_MAX] = "";
    limit_time();
    if (argc == 2 && strcmp(argv[1], "work") == 0)
        return work();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        leaving(version);
        resuming(version);
    }
    early();
    external();
    /* Not /proc/self/exe itself: under valgrind that is valgrind. */
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        give_up("readlink");
    verbose(self);
    expect("C12", no_errors(), "the error queue is empty");
    return done();
}
