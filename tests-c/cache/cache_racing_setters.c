/* C6: a session whose timeout is set while another thread stores it is flushed by the new expiry, whichever comes first.
 *
 * The timeout becomes shorter: a flush by the new expiry looks at no session that is stored until a later one. */
#include "support.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { ROUNDS = 30000, FEW = 300, OFFSETS = 61, SECONDS = 5 };

static SSL_SESSION *session;
static atomic_uint begun, set; /* the round; begun is 0 after the last */

static unsigned wait_for_next(atomic_uint *round, unsigned last)
{
    unsigned now;
    for (unsigned looks = 1; (now = atomic_load(round)) == last; looks++)
        if (looks % 1000 == 0)
            sched_yield(); /* there may be one processor */
    return now;
}

/* So that the calls meet at one instruction and another. */
static void wait_a_moment(unsigned looks)
{
    for (volatile unsigned i = 0; i < looks; i++)
        ;
}

static void *setter(void *unused)
{
    (void)unused;
    for (unsigned n = 1;; n++) {
        if (wait_for_next(&begun, n - 1) == 0)
            return NULL;
        wait_a_moment(n % OFFSETS * (1 + n % 5));
        SSL_SESSION_set_timeout(session, 100);
        atomic_store(&set, n);
    }
}

int main(void)
{
    unsigned rounds = slowly() ? FEW : ROUNDS, n, lost = 0;
    time_t until = time(NULL) + SECONDS; /* on a busy machine each round may take some milliseconds */
    SSL_CTX *ctx = server_context();
    pthread_t thread;
    limit_time();
    if (pthread_create(&thread, NULL, setter, NULL) != 0)
        give_up("pthread_create");
    for (n = 1; n <= rounds && (n <= FEW || time(NULL) < until); n++) {
        session = numbered_session(n, 1000, 5000);
        atomic_store(&begun, n);
        wait_a_moment(n / OFFSETS % OFFSETS * (1 + n % 3));
        SSL_CTX_add_session(ctx, session);
        wait_for_next(&set, n - 1);
        flush(ctx, 2000);
        lost += SSL_CTX_sess_number(ctx) != 0;
        flush(ctx, 0);
        SSL_SESSION_free(session);
    }
    atomic_store(&begun, 0);
    pthread_join(thread, NULL);
    printf("# %u rounds, %u lost\n", n - 1, lost);
    better("C6", lost == 0, "no timeout is lost that is set while the session is being stored");
    SSL_CTX_free(ctx);
    return done();
}
