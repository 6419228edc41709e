/* S2, S5: a client hello may name hundreds of sessions, and each is looked up. A hello is written here by hand, with the binder of
 * one session that is there, in the midst of ids that are not. */
#include "sharing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { HASH = 32, ROOM = 65536, RECORD = 16384 };

static void hmac(const unsigned char *key, size_t length, const unsigned char *data, size_t size, unsigned char *out)
{
    unsigned n = HASH;
    if (HMAC(EVP_sha256(), key, (int)length, data, size, out, &n) == NULL)
        give_up("HMAC");
}

/* HKDF-Expand-Label of RFC 8446, for one block. */
static void expand(const unsigned char *secret, const char *label, const unsigned char *context, size_t size, unsigned char *out)
{
    unsigned char info[128];
    size_t at = 0, length = strlen(label);
    info[at++] = 0;
    info[at++] = HASH;
    info[at++] = (unsigned char)(6 + length);
    memcpy(info + at, "tls13 ", 6);
    memcpy(info + at + 6, label, length);
    at += 6 + length;
    info[at++] = (unsigned char)size;
    if (size > 0)
        memcpy(info + at, context, size);
    at += size;
    info[at++] = 1;
    hmac(secret, HASH, info, at, out);
}

static void digest(const unsigned char *data, size_t size, unsigned char *out)
{
    if (!EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL))
        give_up("EVP_Digest");
}

static void binder(SSL_SESSION *session, const unsigned char *hello, size_t size, unsigned char *out)
{
    unsigned char psk[64], zero[HASH] = {0}, early[HASH], nothing[HASH], key[HASH], finished[HASH], hash[HASH];
    size_t length = SSL_SESSION_get_master_key(session, psk, sizeof psk);
    hmac(zero, HASH, psk, length, early);
    digest(NULL, 0, nothing);
    expand(early, "res binder", nothing, HASH, key);
    expand(key, "finished", NULL, 0, finished);
    digest(hello, size, hash);
    hmac(finished, HASH, hash, HASH, out);
}

static unsigned char *put(unsigned char *at, size_t value, int bytes)
{
    while (bytes-- > 0)
        *at++ = (unsigned char)(value >> (8 * bytes));
    return at;
}

/* A client's own first hello, with the extension of pre-shared keys after its others. Returns its length. */
static size_t hello_with(SSL_CTX *client, SSL_SESSION *session, int ids, int place, unsigned char *hello)
{
    unsigned char *first, *at;
    const unsigned char *ticket;
    size_t length;
    /* What this client sends without a session: record header (5), handshake header (4), hello. */
    SSL *ssl = SSL_new(client);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    SSL_do_handshake(ssl);
    ERR_clear_error();
    long sent = BIO_get_mem_data(out, &first);
    if (sent < 64 || first[5] != 1)
        give_up("no hello");
    size_t own = (size_t)sent - 5;
    memcpy(hello, first + 5, own);
    SSL_free(ssl);

    /* Its extensions begin after version, random, session id, ciphers, compressions. */
    size_t extensions = 4 + 2 + 32;
    extensions += 1u + hello[extensions];
    extensions += 2u + ((size_t)hello[extensions] << 8 | hello[extensions + 1]);
    extensions += 1u + hello[extensions];
    SSL_SESSION_get0_ticket(session, &ticket, &length);
    if (length != 32)
        give_up("a ticket of %zu bytes", length);
    size_t identities = (size_t)ids * (2 + 32 + 4), binders = (size_t)place + 1 + HASH;
    at = put(hello + own, 41, 2);
    at = put(at, 2 + identities + 2 + binders, 2);
    at = put(at, identities, 2);
    for (int i = 0; i < ids; i++) {
        at = put(at, 32, 2);
        memcpy(at, ticket, 32);
        if (i != place) {
            memset(at, 0xa5, 32);
            put(at, (size_t)i, 4);
        }
        at = put(at + 32, 0, 4);
    }
    size_t before = (size_t)(at - hello), whole = before + 2 + binders;
    put(hello + 1, whole - 4, 3);
    put(hello + extensions, whole - extensions - 2, 2);
    unsigned char proof[HASH];
    binder(session, hello, before, proof);
    at = put(at, binders, 2);
    /* A server skips those of keys that it does not take. */
    memset(at, 0, (size_t)place);
    at[place] = HASH;
    memcpy(at + place + 1, proof, HASH);
    return whole;
}

/* Gives a server this hello. 1: it resumes a session, 0: it does not, -1: it fails. */
static int answer(SSL_CTX *server, const unsigned char *hello, size_t length)
{
    SSL *ssl = SSL_new(server);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    if (ssl == NULL || in == NULL || out == NULL)
        give_up("out of memory");
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl, in, out);
    SSL_set_accept_state(ssl);
    for (size_t at = 0; at < length; at += RECORD) {
        size_t size = length - at < RECORD ? length - at : RECORD;
        unsigned char header[5] = {22, 3, 1};
        put(header + 3, size, 2);
        BIO_write(in, header, 5);
        BIO_write(in, hello + at, (int)size);
    }
    int n = SSL_do_handshake(ssl);
    int waits = SSL_get_error(ssl, n) == SSL_ERROR_WANT_READ;
    if (!waits)
        printf("# %s\n", ERR_error_string(ERR_peek_error(), NULL));
    ERR_clear_error();
    int result = !waits ? -1 : SSL_session_reused(ssl);
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* the session stays */
    SSL_free(ssl);
    return result;
}

int main(int argc, char **argv)
{
    enum { IDS = 1000 };
    (void)argc;
    sharing_on(argv);
    SSL_CTX *one = hs_server(TLS1_3_VERSION, WITHOUT_TICKETS), *other = hs_server(TLS1_3_VERSION, WITHOUT_TICKETS);
    SSL_CTX *client = hs_client(TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(client, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set1_groups_list(client, "P-256"); /* a small hello */
    SSL_SESSION *session = hs_first(one, client);
    unsigned char *hello = malloc(2 * ROOM);
    if (hello == NULL)
        give_up("out of memory");
    for (int turn = 0; turn < 3; turn++) {
        int ids = turn == 0 ? 1 : IDS, place = turn == 1 ? IDS - 1 : 0;
        size_t length = hello_with(client, session, ids, place, hello);
        expect("C9", answer(one, hello, length) == 1, "%d ids, of which number %d is stored: resumed", ids, place);
        better("S1", answer(other, hello, length) == 1, "and elsewhere");
        hello[length - 1] ^= 1;
        expect("C9", answer(one, hello, length) == -1, "with a wrong binder: refused");
        /* A handshake that fails takes its session along. */
        SSL_SESSION_free(session);
        session = hs_first(one, client);
    }
    long hits = SSL_CTX_sess_hits(other);
    size_t length = hello_with(client, session, IDS, IDS - 1, hello);
    flush(other, 0);
    expect("S2, S5", answer(other, hello, length) == 0, "a thousand ids, none of which may be used: a full handshake");
    expect("S5", SSL_CTX_sess_hits(other) == hits, "and no hit");
    expect("S5", hs_resume(one, client, session) == HS_RESUMED, "the session is resumed by others");
    expect("C12", no_errors(), "the error queue is empty");
    free(hello);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
    hs_end();
    return done();
}
