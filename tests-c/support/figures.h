/* A reader of the statistics file of SSLSWEEP_STATS=1. Its layout is written down here once more, for whoever reads it
 * depends on that. */
#ifndef TESTS_FIGURES_H
#define TESTS_FIGURES_H

#include "support.h"

#include <stdint.h>
#include <sys/types.h>

/* A file belongs to a family: the process that made it, and its children. Words: the header, who owns which block, the
 * table of processes, the blocks. An owner is a pid, bit 32 when all is complete, and how often it was claimed. */
enum { MAGIC, LAYOUT, BYTES, NAMESPACE, PID, START, UNCOUNTED, FORKS, NAME, FORKED = 16, VERSION = 48 };
enum { FIGURES = 96, STRIPES = 8, STRIPE = 8, BLOCK = FIGURES + STRIPES * STRIPE };
enum { CONTEXTS = 256, BLOCKS = 512, PROCESSES = 128, SHARING = 40, PROCESS = 16 + SHARING + 2 * BLOCK };
enum { OWNERS = 64, TABLE = OWNERS + BLOCKS, POOL = TABLE + PROCESSES * PROCESS, WORDS = POOL + BLOCKS * BLOCK };
enum { OWNER, DEAD, SINCE, BEGUN, ENDED_CONTEXTS, LEFT_SHARED, REQUEST }; /* of a process */
enum { ENDED, OTHERS, FIRST }; /* blocks of a process, as this test counts them */
enum { READY_BITS = 33 };
enum {
    NUMBER, SESSIONS, LIMIT, STORES, HITS, MISSES, EXTERNAL_HITS, EVICTIONS, FLUSHED, REMOVALS, FLUSHES,
    LONGEST_BATCH, LAST_FLUSH, LAST_REMOVED, LAST_TOOK, CURVE_MADE, CURVE, FLUSH_TIMES = 32, BATCH_TIMES = 56,
    EXTERNAL_MISSES = 80, MODE, ACCEPTED, CONNECTED, RESUMED, LEFT_AT_END, ANSWERED, ANSWERED_REMOVED
};
enum { PARTS = 16, STEPS = 24 };

/* The mode of a context, beside SSL_SESS_CACHE_*. */
#define MODE_KNOWN (UINT64_C(1) << 63)
#define MODE_TICKETS (UINT64_C(1) << 62)
#define MODE_EXTERNAL (UINT64_C(1) << 61)

/* The file that a process has, if it has one. */
const char *path_of(pid_t pid);

/* Whether there is something under this name. */
int there(const char *path);

/* A reader's view of a file. */
const volatile uint64_t *view(const char *path);

/* The file that the functions below look into: assign a view. */
extern const volatile uint64_t *mine;

/* The place of a process in the table; NULL: it has none. */
const volatile uint64_t *process_of(pid_t pid);

/* That of this process; gives up if there is none. */
const volatile uint64_t *process(void);

/* One of this process's blocks. */
const volatile uint64_t *block(int number);

/* The block of the context that was made last; gives up if it has none. */
const volatile uint64_t *newest(void);

/* A word of all blocks together. */
uint64_t total(int word);

/* A request to a process that has a place in the table, as the operator's command makes it: this word. */
void ask(pid_t pid, uint64_t request);

/* A request that nobody has made before: to remove what has expired, or all. */
enum { EXPIRED, ALL };
uint64_t new_request(int what);

/* Hits or misses of a block, wherever a thread has counted them. */
uint64_t lookups(const volatile uint64_t *is, int word);

/* States that a figure is right. */
void same(const char *what, uint64_t is, uint64_t wanted);

#endif
