/*
 * load server: a threaded TLS server on the public API alone, told on its standard input what to do (server.c).
 * load client ...: visits it at a fixed rate (client.c).
 * run.py runs the server on libssl alone and under sslsweep; the clients always have libssl alone.
 */
#include "load.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

bool known_expired(unsigned n) { return n % EXPIRED_EVERY == 0; }

void make_known(SSL_SESSION *session, unsigned n)
{
    unsigned char bytes[SECRET_LENGTH];
    memset(bytes, 0xa5, sizeof bytes);
    memcpy(bytes, &n, sizeof n);
    if (SSL_SESSION_set1_id(session, bytes, ID_LENGTH) != 1)
        die("a known session got no id");
    bytes[SECRET_LENGTH - 1] = 0x5a;
    if (SSL_SESSION_set1_master_key(session, bytes, sizeof bytes) != 1)
        die("a known session got no secret");
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        puts(OpenSSL_version(OPENSSL_VERSION));
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "server") == 0)
        serve();
    if (argc > 2 && strcmp(argv[1], "client") == 0)
        visit(argc - 2, argv + 2);
    die("usage: load version | server | client ...");
}
