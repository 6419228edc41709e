/*
 * The least that a flush on the public API can take for a session: marking it not resumable (the only way
 * is SSL_CTX_remove_session, which does so for an absent one as well) and freeing it. There is no index
 * here: the sessions stand in an array in the order in which they expire.
 *
 * Three ways take turns, a piece of the array each, so that all meet the same heap and the same machine:
 * one after the other; with the next ones asked from memory in advance; and the piece sorted by address
 * first (sorting included). The floor is the best of them.
 */
#include "bench.h"

#include <malloc.h>
#include <stdlib.h>

enum {
    PIECE = 512,
    AHEAD = 6, /* sessions: about what a core keeps under way */
    LINE = 64
};

static size_t session_size;

/* With the heap's own words before it and the lock that some libssl allocate behind it. */
static void prefetch(const SSL_SESSION *session)
{
    const char *at = (const char *)session;
    for (size_t offset = 0; offset < session_size + 2 * LINE; offset += LINE)
        __builtin_prefetch(at + offset - LINE, 1);
}

static void drop(SSL_SESSION *session)
{
    SSL_CTX_remove_session(ctx, session);
    SSL_SESSION_free(session);
}

static void plain(SSL_SESSION **piece, size_t count)
{
    for (size_t i = 0; i < count; i++)
        drop(piece[i]);
}

static void prefetched(SSL_SESSION **piece, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            prefetch(piece[i + AHEAD]);
        drop(piece[i]);
    }
}

/* In place: qsort takes memory, and malloc would then look through all that was just freed. */
static void sort(SSL_SESSION **piece, size_t count)
{
    static const size_t gaps[] = {301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++)
        for (size_t i = gaps[g]; i < count; i++) {
            SSL_SESSION *session = piece[i];
            size_t j = i;
            for (; j >= gaps[g] && (uintptr_t)piece[j - gaps[g]] > (uintptr_t)session; j -= gaps[g])
                piece[j] = piece[j - gaps[g]];
            piece[j] = session;
        }
}

static void sorted(SSL_SESSION **piece, size_t count)
{
    sort(piece, count);
    prefetched(piece, count);
}

static const struct {
    const char *figure;
    void (*run)(SSL_SESSION **piece, size_t count);
} ways[] = {{"plain", plain}, {"prefetch", prefetched}, {"address", sorted}};
enum { WAYS = sizeof ways / sizeof *ways };

void measure_floor(size_t count, bool shuffled, bool all)
{
    struct pool pool = pool_new(count, UNIFORM);
    size_t until = all ? count : count / 2, done[WAYS] = {0};
    uint64_t took[WAYS] = {0};

    if (shuffled)
        pool_shuffle_memory(&pool);
    session_size = malloc_usable_size(pool.sessions[0]);
    for (size_t at = 0, piece; at < until; at += piece) {
        size_t way = at / PIECE % WAYS;
        piece = until - at < PIECE ? until - at : PIECE;
        uint64_t from = own_ns();
        ways[way].run(pool.sessions + at, piece);
        took[way] += own_ns() - from;
        done[way] += piece;
    }
    for (size_t way = 0; way < WAYS; way++)
        if (done[way])
            print(ways[way].figure, (double)took[way] / (double)done[way], "ns");
}
