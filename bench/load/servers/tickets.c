/*
 * Preloaded into a server, on libssl alone and beside sslsweep: each connection gets as many tickets of TLS 1.3 as the first word of
 * the file says that TICKETS names, unless that is 0. So few handshakes fill a cache. (Stateful tickets are meant: each is a
 * session that the server stores.) The second word says how many sessions such a connection found in the cache.
 */
#define _GNU_SOURCE /* RTLD_NEXT */
#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/mman.h>

static int (*real_set_fd)(SSL *, int);
static volatile size_t *tickets;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("TICKETS");
    void *page = mmap(NULL, 2 * sizeof *tickets, PROT_READ | PROT_WRITE, MAP_SHARED, path ? open(path, O_RDWR) : -1, 0);
    *(void **)&real_set_fd = dlsym(RTLD_NEXT, "SSL_set_fd");
    if (page != MAP_FAILED)
        tickets = page;
}

/* Every server of sockets calls it, and sslsweep has no part in it. */
int SSL_set_fd(SSL *ssl, int fd)
{
    if (tickets && tickets[0]) {
        SSL_set_num_tickets(ssl, tickets[0]);
        tickets[1] = (size_t)SSL_CTX_sess_number(SSL_get_SSL_CTX(ssl));
    }
    return real_set_fd(ssl, fd);
}
