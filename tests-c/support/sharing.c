#include "sharing.h"
#include "own.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

void sharing_on(char **argv)
{
    /* Large, since the sessions of handshakes that fail leave dead slots: a record may find its bucket full of them. */
    own_option(argv, "SSLSWEEP_SHARE", "family:16m");
    /* More handshakes than other programs. */
    limit_long_time();
}

/* ---- A segment with a name, and its key ---- */

const char fleet_key[] = "00000001 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

static const char folder_of[] = "TEST_SHARING_FOLDER";

void sharing_on_host(char **argv)
{
    char value[PATH_MAX + 16], keys[PATH_MAX + 8], made[PATH_MAX] = "";
    limit_long_time();
    if (getenv(folder_of) != NULL)
        return;
    if (readlink("/proc/self/exe", made, sizeof made - 8) < 0 || mkdtemp(strcat(made, ".XXXXXX")) == NULL)
        give_up("mkdtemp %s", made);
    snprintf(keys, sizeof keys, "%s/keys", made);
    int fd = open(keys, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, fleet_key, strlen(fleet_key)) != (ssize_t)strlen(fleet_key))
        give_up("cannot write %s", keys);
    close(fd);
    snprintf(value, sizeof value, "host:%s/segment:1m", made);
    setenv(folder_of, made, 1);
    setenv("SSLSWEEP_SHARE_KEY", keys, 1);
    own_option(argv, "SSLSWEEP_SHARE", value);
}

void sharing_end(void)
{
    const char *made = getenv(folder_of);
    char name[PATH_MAX + 16];
    const char *const files[] = {"keys", "segment"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(name, sizeof name, "%s/%s", made, files[i]);
        unlink(name);
    }
    if (rmdir(made) != 0)
        give_up("rmdir %s", made);
}

/* HMAC-SHA-256, in its first bytes. */
static void hmac(const void *key, int key_length, const void *data, size_t length, unsigned char *out)
{
    if (HMAC(EVP_sha256(), key, key_length, data, length, out, NULL) == NULL)
        give_up("HMAC");
}

void fleet_mac(unsigned char id[FLEET_ID])
{
    static const char salt[] = "sslsweep records 1";
    unsigned char key[32], part[32], mac[32];
    for (size_t i = 0; i < sizeof key; i++)
        if (sscanf(fleet_key + 9 + 2 * i, "%2hhx", &key[i]) != 1)
            give_up("no key");
    hmac(salt, sizeof salt - 1, key, sizeof key, key);
    hmac(key, sizeof key, "id\001", 3, part); /* HKDF's expansion to one block */
    hmac(part, sizeof part, id, FLEET_RANDOM, mac);
    memcpy(id + FLEET_RANDOM, mac, FLEET_ID - FLEET_RANDOM);
}

/* ---- Certificates ---- */

identity new_identity(int type)
{
    static long serial = 100;
    identity who = {NULL, X509_new()};
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_id(type, NULL);
    X509_NAME *name = X509_NAME_new();
    if (who.certificate == NULL || name == NULL || maker == NULL || EVP_PKEY_keygen_init(maker) <= 0
        || (type == EVP_PKEY_EC && EVP_PKEY_CTX_set_ec_paramgen_curve_nid(maker, NID_X9_62_prime256v1) <= 0)
        || (type == EVP_PKEY_RSA && EVP_PKEY_CTX_set_rsa_keygen_bits(maker, 2048) <= 0)
        || EVP_PKEY_keygen(maker, &who.key) <= 0)
        give_up("cannot make a key");
    EVP_PKEY_CTX_free(maker);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"others", -1, -1, 0);
    X509_set_version(who.certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(who.certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(who.certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(who.certificate), 24 * 3600);
    X509_set_subject_name(who.certificate, name);
    X509_set_issuer_name(who.certificate, name);
    X509_set_pubkey(who.certificate, who.key);
    X509_NAME_free(name);
    if (!X509_sign(who.certificate, who.key, type == EVP_PKEY_ED25519 ? NULL : EVP_sha256()))
        give_up("cannot sign a certificate");
    return who;
}

void free_identity(identity *who)
{
    EVP_PKEY_free(who->key);
    X509_free(who->certificate);
}

void write_identity(const char *file)
{
    identity who = new_identity(EVP_PKEY_EC);
    BIO *to = BIO_new_file(file, "w");
    if (to == NULL || !PEM_write_bio_PrivateKey(to, who.key, NULL, NULL, 0, NULL, NULL) || !PEM_write_bio_X509(to, who.certificate))
        give_up("cannot write %s", file);
    BIO_free(to);
    free_identity(&who);
}

void use_identity(SSL_CTX *ctx, const identity *who)
{
    if (!SSL_CTX_use_certificate(ctx, who->certificate) || !SSL_CTX_use_PrivateKey(ctx, who->key))
        give_up("cannot use a certificate");
}

/* ---- Connections ---- */

hs_result visit(SSL_CTX *server, SSL_CTX *client, const char *name, void (*adjust)(SSL *), SSL_SESSION *resume,
                SSL_SESSION **next)
{
    hs_pair pair = hs_new(server, client, resume);
    if (name != NULL && !SSL_set_tlsext_host_name(pair.client, name))
        give_up("SSL_set_tlsext_host_name");
    if (adjust != NULL)
        adjust(pair.server);
    hs_result result = hs_drive(&pair);
    if (next != NULL)
        *next = result == HS_FAILED ? NULL : SSL_get1_session(pair.client);
    hs_close(&pair);
    return result;
}

const char *version_name(int version)
{
    return version == TLS1_2_VERSION ? "TLS 1.2" : version == TLS1_3_VERSION ? "TLS 1.3" : "DTLS 1.2";
}

/* ---- Another process ---- */

int elsewhere(int (*work)(void *), void *arg)
{
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        limit_time();
        _exit(work(arg));
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        give_up("fork");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

enum { ROOM = 16384 };

typedef struct making {
    SSL_SESSION *(*make)(void *);
    void *arg;
    struct made {
        int length;
        unsigned char der[ROOM];
    } *made; /* memory of both processes */
} making;

static int make_and_write(void *arg)
{
    making *m = arg;
    SSL_SESSION *session = m->make(m->arg);
    int length = session == NULL ? 0 : i2d_SSL_SESSION(session, NULL);
    if (length > ROOM)
        return 1;
    unsigned char *to = m->made->der;
    m->made->length = session == NULL ? 0 : i2d_SSL_SESSION(session, &to);
    SSL_SESSION_free(session);
    return 0;
}

SSL_SESSION *session_elsewhere(SSL_SESSION *(*make)(void *), void *arg)
{
    making m = {make, arg, mmap(NULL, sizeof *m.made, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
    if (m.made == MAP_FAILED)
        give_up("mmap");
    int status = elsewhere(make_and_write, &m);
    if (status != 0)
        give_up("the child ended with %d", status);
    const unsigned char *from = m.made->der;
    SSL_SESSION *session = m.made->length == 0 ? NULL : d2i_SSL_SESSION(NULL, &from, m.made->length);
    if (m.made->length != 0 && session == NULL)
        give_up("d2i_SSL_SESSION");
    munmap(m.made, sizeof *m.made);
    return session;
}

typedef struct ends {
    SSL_CTX *server, *client;
    SSL_SESSION *session;
} ends;

static SSL_SESSION *first(void *arg)
{
    ends *e = arg;
    return hs_first(e->server, e->client);
}

SSL_SESSION *first_elsewhere(SSL_CTX *server, SSL_CTX *client)
{
    ends e = {server, client, NULL};
    return session_elsewhere(first, &e);
}

static int resume(void *arg)
{
    ends *e = arg;
    return (int)hs_resume(e->server, e->client, e->session);
}

hs_result resume_elsewhere(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session)
{
    ends e = {server, client, session};
    int status = elsewhere(resume, &e);
    if (status < 0)
        give_up("the child was ended by signal %d", -status);
    return (hs_result)status;
}

/* ---- A sandbox ---- */

#ifdef __x86_64__
# define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined __aarch64__
# define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

int close_sandbox(int may_map)
{
#if HAS_SANDBOX
#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(read), ALLOW(write), ALLOW(exit_group), ALLOW(getrandom), ALLOW(getpid),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, may_map ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
#undef ALLOW
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return 0;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
#else
    (void)may_map;
    return 0;
#endif
}

void take_memory(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    mallopt(M_TOP_PAD, 64 << 20);
#endif
    void *volatile room = malloc(16 << 20); /* volatile, or the compiler leaves both calls out */
    free(room);
}
