/* A program that stores sessions when told to, for stat.t and flush.t. Each line of input is "CONTEXT COUNT TIMEOUT": that
 * number of sessions is stored in this context, 1 to 3, and it answers with the number that are stored there; with a TIMEOUT of 0 they have
 * expired. "enter PID" makes a child in the pid namespace of that process, which goes on in its place; it answers with the number
 * that the child has there. "fork" does the same in its own namespace. The end of input ends it. */
#include <fcntl.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void store(SSL_CTX *ctx, unsigned id, long timeout)
{
    SSL_SESSION *session = SSL_SESSION_new();
    SSL_SESSION_set1_id(session, (unsigned char *)&id, sizeof id);
    SSL_SESSION_set_time(session, timeout == 0 ? 1000 : (long)time(NULL));
    SSL_SESSION_set_timeout(session, timeout == 0 ? 1 : timeout);
    SSL_CTX_add_session(ctx, session);
    SSL_SESSION_free(session);
}

int main(void)
{
    SSL_CTX *contexts[3];
    unsigned id = 0, context, count;
    long timeout;
    char line[100];
    for (int i = 0; i < 3; i++)
        contexts[i] = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_session_cache_mode(contexts[2], SSL_SESS_CACHE_OFF);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        int process;
        int enters = sscanf(line, "enter %d", &process) == 1;
        if (enters || strcmp(line, "fork\n") == 0) {
            char path[64];
            snprintf(path, sizeof path, "/proc/%d/ns/pid", enters ? process : (int)getpid());
            int namespace = enters ? open(path, O_RDONLY) : -1;
            if (enters && (namespace == -1 || setns(namespace, CLONE_NEWPID) != 0))
                return 1;
            pid_t child = fork();
            if (child != 0)
                return waitpid(child, NULL, 0) == child ? 0 : 1;
            printf("%d\n", (int)getpid());
            fflush(stdout);
            continue;
        }
        if (sscanf(line, "%u %u %ld", &context, &count, &timeout) != 3 || context < 1 || context > 3)
            return 1;
        while (count-- > 0)
            store(contexts[context - 1], ++id, timeout);
        printf("%ld\n", SSL_CTX_sess_number(contexts[context - 1]));
        fflush(stdout);
    }
    for (int i = 0; i < 3; i++)
        SSL_CTX_free(contexts[i]);
    return 0;
}
