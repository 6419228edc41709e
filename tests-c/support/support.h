/* What every test program shares: a way to state what was seen, free-standing sessions, a recorder of
 * remove callbacks, and a gate for threads.
 *
 * A program runs four ways (stock, preload, shared, static; see harness.t) and its stdout must be the
 * same in all of them, so it prints no addresses, times or thread-dependent order. Kinds of lines:
 *
 *   text                  say, expect, done: equal in all four ways
 *   + text                better: equal in the three ways under sslsweep, left out against stock
 *   - C17 stock cannot    stock_cannot: only ever printed by the stock way
 *   # text                never compared
 *
 * What stock does from some release on is `(libssl_since(0x300) ? expect : better)("C2", ...)`.
 */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <pthread.h>
#include <stddef.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define PRINTF_LIKE(text, first) __attribute__((__format__(__printf__, text, first)))

/* ---- Statements ---- */

/* An observation: the same in all four ways. */
void say(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* A promise that stock keeps as well. */
void expect(const char *number, int ok, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* A deliberate difference: asserted under sslsweep; stock only prints what it did. */
void better(const char *number, int ok, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* 1 on stock, where the part that follows would crash, block or corrupt memory: leave it out.
 * 0 under sslsweep. The part may use only `better`, as stock has no lines to compare with. */
int stock_cannot(const char *number, const char *reason);

/* 1 when sslsweep is in force in this process. */
int sweeping(void);

/* 1 when the harness runs us under a slow tool (valgrind): use smaller numbers of sessions. */
int slowly(void);

/* No test may hang: SIGALRM ends the process after a minute, or four for much work (more under a slow tool). */
void limit_time(void);
void limit_long_time(void);

/* 1 when an emulator runs us. Its /proc/self/stat says for each thread when it began there, and anew after an exec. */
int emulated(void);

/* 1 when the libssl of this process is of this release or later: 0x300 is 3.0, 0x101 is 1.1.1. */
int libssl_since(unsigned release);

/* 1 when its flush and eviction call back without the context's lock: from 4.0 on, and in 3.6.5. (3.6.3 held it.) */
int libssl_calls_back_unlocked(void);

/* 1 when it lacks the fix of CVE-2024-2511: a server then empties the id of a session that it finds marked. */
int libssl_before_cve_2024_2511(void);

/* 1 when that libssl was linked with -Bsymbolic, so that its own calls never reach sslsweep. */
int libssl_binds_itself(void);

/* A function that libssl has under this version node, or since 4.0 under that of 4.0, as a program that is linked with it
 * gets it; NULL if there is none. (dlsym alone would look past sslsweep, whose shared library has these names with a version only.) */
void *libssl_function(const char *name, const char *node);

/* libssl's own function, looked up on a handle of libssl itself, so that a call goes past sslsweep. Gives up if there is none. */
void *libssl_function_past(const char *name);

/* Runs a program with at most one argument, its output dropped; with LD_PRELOAD set to `preload` unless that is NULL. Returns its
 * exit status, or the negative signal that ended it. */
int run_program(const char *program, const char *argument, const char *preload);

/* Prints the closing line; main's exit status: 0 if nothing failed and something was stated. */
int done(void);

/* Ends the program at once with a clear line: the test itself cannot go on. Never for a promise. */
_Noreturn void give_up(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Reads up to the end, or until `room` is full but for the final zero byte, and closes the descriptor. */
void read_all(int fd, char *text, size_t room);

/* ---- OpenSSL ---- */

/* libssl.so.3 and its like, for dlopen. */
#if OPENSSL_VERSION_NUMBER >= 0x40000000L
# define LIBSSL_SONAME "libssl.so.4"
#elif OPENSSL_VERSION_NUMBER >= 0x30000000L
# define LIBSSL_SONAME "libssl.so.3"
#else
# define LIBSSL_SONAME "libssl.so.1.1"
#endif

#ifndef SSL_SESS_CACHE_UPDATE_TIME
#define SSL_SESS_CACHE_UPDATE_TIME 0x0400 /* 3.0 */
#endif

/* SSL_CTX_flush_sessions_ex where the process has one, else the legacy function. */
void flush(SSL_CTX *ctx, time_t tm);

/* A server's context that has its internal cache on; gives up when libssl refuses. */
SSL_CTX *server_context(void);

/* A free-standing session, its one reference the caller's. */
SSL_SESSION *make_session(int version, const void *id, unsigned id_len, time_t time, long timeout);

/* A TLS 1.2 session with a 32-byte id derived from n, and n noted in its ex_data. */
SSL_SESSION *numbered_session(unsigned n, time_t time, long timeout);

/* The number noted in a session's ex_data: it survives a change of the id. 0: none. */
void number_session(SSL_SESSION *session, unsigned n);
unsigned session_number(const SSL_SESSION *session);

/* Adds numbered_session(n, time, timeout) and keeps no reference. What SSL_CTX_add_session said. */
int store(SSL_CTX *ctx, unsigned n, time_t time, long timeout);

/* The cache size that makes room for n sessions: stock 3.0 and later hold one less than the size. */
long size_to_hold(long n);

/* 1 when nothing was left in this thread's error queue; otherwise prints what and clears it. */
int no_errors(void);

/* ---- Recorder of remove callbacks (any number of contexts; safe from several threads) ---- */

typedef struct removal {
    SSL_CTX *ctx;
    unsigned session; /* session_number */
    int resumable;    /* SSL_SESSION_is_resumable inside the callback */
    long stored;      /* SSL_CTX_sess_number inside the callback */
} removal;

/* Sets record_removal as the context's remove callback; name is its one letter in `removed`. */
void record_removals(SSL_CTX *ctx, char name);

/* The callback itself, to be called from a test's own callback. */
void record_removal(SSL_CTX *ctx, SSL_SESSION *session);

void forget_removals(void);
size_t removals(void);
removal removal_at(size_t i);

/* What was removed, as "A3 A1 B2": in the order of the callbacks, or sorted (for promises that do not
 * speak of order: stock's differs). Valid until the next call; ends in "..." when very long. */
const char *removed(void);
const char *removed_sorted(void);

/* ---- Gate: lets one thread wait for another, never for ever ---- */

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int open;
} gate;

#define GATE_INITIALIZER {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

void gate_open(gate *g);
/* 1 once the gate is open, 0 after seconds. */
int gate_wait(gate *g, int seconds);

#endif
