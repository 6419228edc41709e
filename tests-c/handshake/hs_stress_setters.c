/* Handshakes while another thread keeps changing the stored sessions' times, the cache's size and mode,
 * and a third one flushes.
 *
 * Stock moves a session within the context's list through the session's owner, which it reads without
 * the lock: between that and the lock a flush may free it. Versions 3.0 to 4.0 crash here, and so does
 * 1.1.1, which has no such pointer (see hs_threads.c for what else goes wrong there). */
#include "handshake.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

enum { KEPT = 8, THREADS = 2 };

static SSL_CTX *server;
static SSL_SESSION *kept[KEPT];
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int stop, failed;
static atomic_uint stored_count;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    unsigned place = atomic_fetch_add(&stored_count, 1) % KEPT;
    pthread_mutex_lock(&kept_lock);
    SSL_SESSION *old = kept[place];
    kept[place] = session;
    pthread_mutex_unlock(&kept_lock);
    SSL_SESSION_free(old);
    return 1;
}

static SSL_SESSION *any_kept(unsigned i)
{
    pthread_mutex_lock(&kept_lock);
    SSL_SESSION *session = kept[i % KEPT];
    if (session != NULL)
        SSL_SESSION_up_ref(session);
    pthread_mutex_unlock(&kept_lock);
    return session;
}

static void *change(void *arg)
{
    (void)arg;
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        SSL_SESSION *session = any_kept(i);
        if (session != NULL) {
            SSL_SESSION_set_timeout(session, 3000 + i % 1000);
            SSL_SESSION_set_time(session, (long)time(NULL) + i % 100);
            SSL_SESSION_free(session);
        }
        switch (i % 50) {
        case 10:
            SSL_CTX_sess_set_cache_size(server, 20 + i % 7);
            break;
        case 20:
            SSL_CTX_set_timeout(server, 5000 + i % 3);
            break;
        case 30:
            SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR);
            break;
        case 40:
            SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER);
            break;
        }
        sched_yield();
    }
    return NULL;
}

static void *flush_often(void *arg)
{
    (void)arg;
    for (unsigned i = 1; !atomic_load(&stop); i++) {
        flush(server, time(NULL) + (long)(i % 8000));
        sched_yield();
    }
    return NULL;
}

/* Before that fix a TLS 1.2 session that is flushed between its lookup and the ServerHello goes out without
 * its id, so that the client takes the handshake for a full one (see hs_bad_session). */
static int is_accident(const hs_pair *pair)
{
    return libssl_before_cve_2024_2511() && SSL_version(pair->server) == TLS1_2_VERSION
        && SSL_session_reused(pair->server) && pair->client_error == SSL_R_UNEXPECTED_MESSAGE;
}

static void *shake(void *arg)
{
    SSL_CTX *client = hs_client(*(int *)arg);
    SSL_SESSION *session = NULL, *next;
    int rounds = slowly() ? 20 : 200;
    for (int i = 0; i < rounds; i++) {
        hs_pair pair = hs_new(server, client, session);
        hs_result result = hs_drive(&pair);
        if (result == HS_FAILED && !is_accident(&pair))
            atomic_fetch_add(&failed, 1);
        next = result == HS_FAILED ? NULL : SSL_get1_session(pair.client);
        hs_close(&pair);
        SSL_SESSION_free(session);
        session = next;
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    return NULL;
}

int main(void)
{
    static int versions[THREADS] = {TLS1_2_VERSION, TLS1_3_VERSION};
    pthread_t shakers[THREADS], changer, flusher;
    limit_time();
    if (stock_cannot("C6", "it changes cached sessions through a pointer that a flush may have freed"))
        return done();
    server = hs_server(ANY_TLS, WITHOUT_TICKETS);
    SSL_CTX_sess_set_new_cb(server, on_new);
    hs_start(&changer, change, NULL);
    hs_start(&flusher, flush_often, NULL);
    for (int i = 0; i < THREADS; i++)
        hs_start(&shakers[i], shake, &versions[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(shakers[i], NULL);
    atomic_store(&stop, 1);
    pthread_join(changer, NULL);
    pthread_join(flusher, NULL);
    better("C6", atomic_load(&failed) == 0, "no handshake failed: %d", atomic_load(&failed));
    printf("# stored %u, left %ld\n", atomic_load(&stored_count), SSL_CTX_sess_number(server));
    flush(server, 0);
    better("F2", SSL_CTX_sess_number(server) == 0, "a flush of all leaves nothing");
    for (int i = 0; i < KEPT; i++)
        SSL_SESSION_free(kept[i]);
    SSL_CTX_free(server);
    return done();
}
