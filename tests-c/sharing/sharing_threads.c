/* S1, S3, S5: threads that share through the same contexts, while others flush, remove and change times. Whatever the order: no
 * handshake fails, and what was removed never comes back. */
#include "sharing.h"

#include <stdatomic.h>

enum { CONTEXTS = 3, THREADS = 4 };

static SSL_CTX *contexts[CONTEXTS];
static atomic_int failed, shared, came_back, next_thread;
static int rounds;

/* One connection. made[0] and made[1], if given, receive the client's and the server's session. */
static hs_result at(int which, SSL_CTX *client, SSL_SESSION *session, SSL_SESSION **made)
{
    hs_pair pair = hs_new(contexts[which % CONTEXTS], client, session);
    hs_result got = hs_drive(&pair);
    if (made != NULL) {
        made[0] = SSL_get1_session(pair.client);
        made[1] = SSL_get1_session(pair.server);
    }
    hs_close(&pair);
    if (got == HS_FAILED)
        atomic_fetch_add(&failed, 1);
    return got;
}

static void *work(void *arg)
{
    int me = atomic_fetch_add(&next_thread, 1);
    SSL_CTX *client = hs_client(*(int *)arg);
    for (int i = 0; i < rounds; i++) {
        int home = me + i, away = home + 1 + i % (CONTEXTS - 1);
        SSL_SESSION *made[2];
        if (at(home, client, NULL, made) != HS_FULL)
            give_up("a first handshake was not a full one");
        SSL_SESSION *session = made[0], *object = made[1];
        if (at(away, client, session, NULL) == HS_RESUMED)
            atomic_fetch_add(&shared, 1);
        switch (i % 4) {
        case 0:
            SSL_CTX_remove_session(contexts[home % CONTEXTS], object);
            for (int k = 0; k < CONTEXTS; k++)
                if (at(k, client, session, NULL) == HS_RESUMED)
                    atomic_fetch_add(&came_back, 1);
            break;
        case 1:
            /* Stock looks at the context's list through a pointer that another thread's flush may have freed, and crashes. */
            if (sweeping())
                SSL_SESSION_set_timeout(object, 100);
            at(away, client, session, NULL);
            break;
        case 2:
            flush(contexts[away % CONTEXTS], 0);
            if (at(away, client, session, NULL) == HS_RESUMED)
                atomic_fetch_add(&came_back, 1);
            break;
        default:
            flush(contexts[home % CONTEXTS], time(NULL));
        }
        SSL_SESSION_free(object);
        SSL_SESSION_free(session);
    }
    SSL_CTX_free(client);
    return NULL;
}

static void run(int version)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < CONTEXTS; i++) {
        contexts[i] = hs_server(version, WITHOUT_TICKETS);
        SSL_CTX_set_num_tickets(contexts[i], 1);
    }
    atomic_store(&shared, 0);
    for (int i = 0; i < THREADS; i++)
        hs_start(&threads[i], work, &version);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    expect("S5", failed == 0, "%s: no handshake fails: %d", version_name(version), failed);
    better("S1", shared > 0, "%s: sessions are shared", version_name(version));
    expect("S3", came_back == 0, "%s: none comes back: %d", version_name(version), came_back);
    for (int i = 0; i < CONTEXTS; i++)
        SSL_CTX_free(contexts[i]);
}

int main(int argc, char **argv)
{
    (void)argc;
    sharing_on(argv);
    rounds = slowly() ? 20 : 200;
    run(TLS1_2_VERSION);
    run(TLS1_3_VERSION);
    expect("C12", no_errors(), "the error queue is empty");
    hs_end();
    return done();
}
