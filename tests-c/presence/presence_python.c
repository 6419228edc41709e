/* Python's ssl module: libssl comes in with an extension module, by dlopen with RTLD_LOCAL, into an
 * interpreter that knows nothing of it. Only the stock and preload ways reach the interpreter. */
#include "handshake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/pem.h>

static const char script[] =
    "import gc, ssl, sys\n"
    "def say(*words): print('python:', *words, flush=True)\n"
    "def server():\n"
    "    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
    "    c.load_cert_chain(sys.argv[1])\n"
    "    c.options |= ssl.OP_NO_TICKET\n"
    "    return c\n"
    "def client(version):\n"
    "    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
    "    c.check_hostname = False\n"
    "    c.verify_mode = ssl.CERT_NONE\n"
    "    c.minimum_version = c.maximum_version = version\n"
    "    return c\n"
    "def connect(s, c, session=None):\n"
    "    a, b = ssl.MemoryBIO(), ssl.MemoryBIO()\n"
    "    ends = [s.wrap_bio(a, b, server_side=True), c.wrap_bio(b, a, session=session)]\n"
    "    for i in range(8):\n"
    "        for end in ends:\n"
    "            try: end.do_handshake()\n"
    "            except ssl.SSLWantReadError: pass\n"
    "    try: ends[1].read(1)\n"
    "    except ssl.SSLWantReadError: pass\n"
    "    result = ends[1].session, ends[1].session_reused\n"
    "    for end in ends:\n"
    "        try: end.unwrap()\n"
    "        except ssl.SSLError: pass\n"
    "    return result\n"
    "for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:\n"
    "    s, c = server(), client(version)\n"
    "    session, reused = connect(s, c)\n"
    "    say(version.name, reused, sorted(s.session_stats().items()))\n"
    "    for i in range(3):\n"
    "        session, reused = connect(s, c, session)\n"
    "        say(version.name, reused, sorted(s.session_stats().items()))\n"
    "    other = server()\n"
    "    say(version.name, 'elsewhere', connect(other, c, session)[1])\n"
    "    def choose(end, name, first): end.context = other\n"
    "    s.sni_callback = choose\n"
    "    say(version.name, 'moved', connect(s, c, session)[1], other.session_stats()['number'])\n"
    "    del s, c, other, session, choose\n"
    "    gc.collect()\n"
    "kept = server()\n"
    "connect(kept, client(ssl.TLSVersion.TLSv1_2))\n"
    "say('ends with', kept.session_stats()['number'])\n";

/* The key and the certificate of the other tests, in the form that Python wants. */
static void write_identity(const char *path)
{
    SSL_CTX *server = hs_server(ANY_TLS, WITHOUT_TICKETS);
    FILE *file = fopen(path, "w");
    if (file == NULL || !PEM_write_PrivateKey(file, SSL_CTX_get0_privatekey(server), NULL, NULL, 0, NULL, NULL)
        || !PEM_write_X509(file, SSL_CTX_get0_certificate(server)) || fclose(file) != 0)
        give_up("cannot write %s", path);
    SSL_CTX_free(server);
}

static int run(char *const argv[], const char *stderr_path)
{
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        limit_time();
        if (freopen(stderr_path, "w", stderr) == NULL)
            _exit(125);
        setenv("SSLSWEEP_VERBOSE", "1", 1);
        execvp(argv[0], argv);
        _exit(127);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* What sslsweep said in the interpreter. 1: it found a libssl. */
static int took_over(const char *stderr_path)
{
    char line[1024];
    int found = 0;
    FILE *file = fopen(stderr_path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        printf("# stderr: %s", line);
        found |= strstr(line, "sslsweep") != NULL && strstr(line, "libssl.so") != NULL;
    }
    if (file != NULL)
        fclose(file);
    return found;
}

int main(void)
{
    char folder[] = "/tmp/presence_python.XXXXXX", pem[64], errors[64];
    char *probe[] = {"python3", "-c", "import ssl", NULL};
    char *python[] = {"python3", "-c", (char *)script, pem, NULL};
    const char *preload = getenv("LD_PRELOAD");
    limit_time();
    if (mkdtemp(folder) == NULL)
        give_up("mkdtemp");
    snprintf(pem, sizeof pem, "%s/pem", folder);
    snprintf(errors, sizeof errors, "%s/stderr", folder);
    if (run(probe, errors) != 0) {
        expect("P1", 0, "there is a python3 with an ssl module (tools/setup.sh test installs it)");
    } else {
        write_identity(pem);
        int status = run(python, errors), took = took_over(errors);
        expect("P1", status == 0, "python ends well: %d", status);
        if (preload != NULL && strstr(preload, "libsslsweep") != NULL && !took)
            better("P1", 0, "sslsweep found the libssl of python"); /* only there is it with the interpreter */
    }
    unlink(pem);
    unlink(errors);
    rmdir(folder);
    return done();
}
