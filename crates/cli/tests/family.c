/* A program with two workers, each of which stores as many sessions as its number, and is killed at the end. Prints "worker
 * PID" for each, then "ready", and ends with its standard input. */
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void store(SSL_CTX *ctx, unsigned id)
{
    SSL_SESSION *session = SSL_SESSION_new();
    SSL_SESSION_set1_id(session, (unsigned char *)&id, sizeof id);
    SSL_CTX_add_session(ctx, session);
    SSL_SESSION_free(session);
}

int main(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    pid_t workers[2];
    int done[2];
    char byte;
    store(ctx, 1);
    if (pipe(done) != 0)
        return 1;
    for (int worker = 0; worker < 2; worker++) {
        workers[worker] = fork();
        if (workers[worker] == 0) {
            for (int i = 0; i <= worker; i++)
                store(ctx, 100 + (unsigned)i);
            if (write(done[1], "", 1) != 1)
                _exit(1);
            for (;;)
                pause();
        }
        if (read(done[0], &byte, 1) != 1)
            return 1;
        printf("worker %d\n", (int)workers[worker]);
    }
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    for (int worker = 0; worker < 2; worker++) {
        kill(workers[worker], SIGKILL);
        waitpid(workers[worker], NULL, 0);
    }
    return 0;
}
