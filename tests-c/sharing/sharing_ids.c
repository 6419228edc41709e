/* S8, C14: where a key is shared with other machines, the session ids of a server tell holders of the key that one of them has
 * made them. A program sees ids as before, and its own generators keep their meaning. */
#include "sharing.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/rand.h>
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#include <openssl/provider.h>
#endif

static int version;
static SSL_CTX *client;

static const char *in(void)
{
    return version_name(version);
}

typedef struct name {
    unsigned char bytes[64];
    unsigned length;
} name;

/* What a client asks for the session by: its id, or in TLS 1.3 the stateful ticket, which is the id. */
static name id_of(SSL_SESSION *session)
{
    name id = {.length = 0};
    const unsigned char *from;
    size_t length;
    if (version == TLS1_3_VERSION) {
        SSL_SESSION_get0_ticket(session, &from, &length);
    } else {
        from = SSL_SESSION_get_id(session, &id.length);
        length = id.length;
    }
    if (from == NULL || length > sizeof id.bytes)
        give_up("an id of %zu bytes", length);
    memcpy(id.bytes, from, length);
    id.length = (unsigned)length;
    return id;
}

static int is_of_the_fleet(const name *id)
{
    unsigned char made[FLEET_ID];
    memcpy(made, id->bytes, sizeof made);
    fleet_mac(made);
    return id->length == FLEET_ID && memcmp(made, id->bytes, sizeof made) == 0;
}

static void made_by_libssl(const name *id, const char *what)
{
    expect("C14", id->length == 32, "%s: %s: an id of %u bytes", in(), what, id->length);
    better("S8", is_of_the_fleet(id), "%s: %s: the fleet knows it", in(), what);
}

static name next_id(SSL_CTX *server, void (*adjust)(SSL *))
{
    SSL_SESSION *session = NULL;
    if (visit(server, client, NULL, adjust, NULL, &session) != HS_FULL || session == NULL)
        give_up("%s: no full handshake", in());
    name id = id_of(session);
    SSL_SESSION_free(session);
    return id;
}

static void without_generator(int tickets)
{
    SSL_CTX *server = hs_server(version, tickets);
    SSL_SESSION *session = hs_first(server, client);
    if (tickets == WITHOUT_TICKETS) {
        name one = id_of(session), two = next_id(server, NULL);
        made_by_libssl(&one, "no generator");
        made_by_libssl(&two, "another one");
        expect("C14", memcmp(one.bytes, two.bytes, FLEET_RANDOM) != 0, "%s: ids are random", in());
    }
    expect("C9", hs_resume(server, client, session) == HS_RESUMED, "%s: it resumes, %s tickets", in(),
           tickets == WITH_TICKETS ? "with" : "without");
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
}

/* ---- The program's generators ---- */

static unsigned calls;

static int numbered(unsigned char *id, unsigned *length, unsigned char kind)
{
    memset(id, kind, *length);
    calls++;
    memcpy(id, &calls, sizeof calls);
    return 1;
}

static int of_the_context(SSL *ssl, unsigned char *id, unsigned *length)
{
    (void)ssl;
    return numbered(id, length, 'c');
}

static int of_the_connection(SSL *ssl, unsigned char *id, unsigned *length)
{
    (void)ssl;
    return numbered(id, length, 's');
}

static int gives_up(SSL *ssl, unsigned char *id, unsigned *length)
{
    (void)ssl, (void)id, (void)length;
    return 0;
}

static void made_by(const name *id, unsigned char kind, const char *what)
{
    expect("C14", id->length == 32 && id->bytes[31] == kind, "%s: %s", in(), what);
}

static void set_it(SSL *ssl)
{
    SSL_set_generate_session_id(ssl, of_the_connection);
}

static void set_and_unset_it(SSL *ssl)
{
    set_it(ssl);
    SSL_set_generate_session_id(ssl, NULL);
}

/* The connection is there already. */
static void set_at_context(SSL *ssl)
{
    SSL_CTX_set_generate_session_id(SSL_get_SSL_CTX(ssl), of_the_context);
}

static void unset_at_context(SSL *ssl)
{
    SSL_CTX_set_generate_session_id(SSL_get_SSL_CTX(ssl), NULL);
}

static void with_generators(void)
{
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS);
    name id = next_id(server, set_it);
    made_by(&id, 's', "the connection's generator");
    id = next_id(server, set_and_unset_it);
    made_by_libssl(&id, "set and taken away");
    id = next_id(server, set_at_context);
    made_by(&id, 'c', "the context's, set after the connection began");
    id = next_id(server, NULL);
    made_by(&id, 'c', "the context's");
    id = next_id(server, set_and_unset_it);
    made_by(&id, 'c', "the context's, where the connection's was taken away");
    id = next_id(server, unset_at_context);
    made_by(&id, 'c', "taken away after the connection began");
    id = next_id(server, NULL);
    made_by_libssl(&id, "taken away");

    expect("C14", SSL_CTX_set_generate_session_id(server, gives_up) == 1, "%s: a generator that gives up is set", in());
    hs_pair pair = hs_new(server, client, NULL);
    expect("C14", hs_drive(&pair) == HS_FAILED, "%s: and fails the handshake", in());
    hs_close(&pair);
    SSL_CTX_free(server);
}

/* The program's own ex_data functions see a context before anybody else. */
static int sets_early;

static void on_new_context(void *ctx, void *value, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    (void)value, (void)data, (void)index, (void)argl, (void)argp;
    if (sets_early)
        SSL_CTX_set_generate_session_id(ctx, of_the_context);
}

static void while_it_is_made(void)
{
    sets_early = 1;
    SSL_CTX *server = hs_server(version, WITHOUT_TICKETS);
    sets_early = 0;
    name id = next_id(server, NULL);
    made_by(&id, 'c', "a generator that was set while the context was made");
    SSL_CTX *other = hs_server(version, WITHOUT_TICKETS);
    id = next_id(other, NULL);
    made_by_libssl(&id, "the next context, without one");
    SSL_CTX_free(server);
    SSL_CTX_free(other);
}

/* ---- Another library context ---- */

#if OPENSSL_VERSION_NUMBER >= 0x30000000L
/* In a process of its own: a server whose library context alone has a generator of random bytes. (Programs that must use no
 * algorithm by accident leave the default one empty.) */
static int library(const char *identity_file)
{
    OSSL_PROVIDER *none = OSSL_PROVIDER_load(NULL, "null");
    OSSL_LIB_CTX *own = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *all = own == NULL ? NULL : OSSL_PROVIDER_load(own, "default");
    if (none == NULL || all == NULL)
        return 10;
    SSL_CTX *server = SSL_CTX_new_ex(own, NULL, TLS_server_method()), *one = SSL_CTX_new_ex(own, NULL, TLS_client_method());
    if (server == NULL || one == NULL || SSL_CTX_use_certificate_file(server, identity_file, SSL_FILETYPE_PEM) != 1
        || SSL_CTX_use_PrivateKey_file(server, identity_file, SSL_FILETYPE_PEM) != 1)
        return 11;
    SSL_CTX_set_options(server, SSL_OP_NO_TICKET);
    unsigned char byte;
    if (RAND_bytes(&byte, 1) == 1)
        return 12;
    ERR_clear_error();
    hs_result first = hs_connect(server, one, NULL, NULL);
    SSL_CTX_set_max_proto_version(one, TLS1_2_VERSION);
    hs_result second = hs_connect(server, one, NULL, NULL);
    SSL_CTX_free(server);
    SSL_CTX_free(one);
    OSSL_PROVIDER_unload(all);
    OSSL_PROVIDER_unload(none);
    OSSL_LIB_CTX_free(own);
    return first == HS_FULL && second == HS_FULL ? 0 : 1;
}

static void other_library(char **argv)
{
    char identity_file[PATH_MAX + 16];
    int status = -1;
    snprintf(identity_file, sizeof identity_file, "%s.pem", getenv("SSLSWEEP_SHARE_KEY"));
    write_identity(identity_file);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char self[PATH_MAX] = "";
        if (readlink("/proc/self/exe", self, sizeof self - 1) > 0)
            execl(self, argv[0], identity_file, (char *)NULL);
        _exit(126);
    }
    if (waitpid(child, &status, 0) != child)
        give_up("waitpid");
    unlink(identity_file);
    expect("S5", WIFEXITED(status) && WEXITSTATUS(status) == 0, "a server with a library context of its own: %#x", status);
}
#endif

int main(int argc, char **argv)
{
    limit_time();
    sharing_on_host(argv);
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    if (argc == 2)
        return library(argv[1]);
    other_library(argv);
#else
    (void)argc;
#endif
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION, DTLS1_2_VERSION};
    SSL_CTX_get_ex_new_index(0, NULL, on_new_context, NULL, NULL);
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        version = versions[i];
        client = hs_client(version);
        without_generator(WITHOUT_TICKETS);
        without_generator(WITH_TICKETS);
        with_generators();
        while_it_is_made();
        SSL_CTX_free(client);
    }
    hs_end();
    sharing_end();
    return done();
}
