/* C15: the default OSSL_LIB_CTX may be another one when a context is freed than when it was made. Tables
 * of ex_data belong to it: free functions do not run then, and indices are given out again. */
#include <malloc.h>
#include <stdlib.h>

#include "support.h"

#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#include <openssl/provider.h>

#include <stdio.h>

static int calls, usable, index_in_other;
static SSL_CTX *ending;
static char mark[2];

/* Sessions by their ids, not by session_number: that ex_data is from one library context only. */
static SSL_SESSION *plain_session(unsigned char n)
{
    unsigned char id[32] = {n};
    return make_session(TLS1_2_VERSION, id, sizeof id, 1000, 100);
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    unsigned length;
    const unsigned char *id = SSL_SESSION_get_id(session, &length);
    calls++;
    usable += ctx == ending && SSL_CTX_get_app_data(ctx) == &calls && length == 32 && id[0] != 0
              && SSL_CTX_sess_get_remove_cb(ctx) == on_remove;
}

static void fill(SSL_CTX *ctx, int from)
{
    for (int n = from; n < from + 50; n++) {
        SSL_SESSION *session = plain_session((unsigned char)n);
        SSL_CTX_add_session(ctx, session);
        SSL_SESSION_free(session);
    }
}

static SSL_CTX *filled_context(void)
{
    SSL_CTX *ctx = server_context();
    SSL_CTX_set_app_data(ctx, &calls);
    SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    fill(ctx, 1);
    calls = usable = 0;
    return ending = ctx;
}

static void in_between(OSSL_LIB_CTX *made, OSSL_LIB_CTX *freed, const char *what)
{
    OSSL_LIB_CTX *before = OSSL_LIB_CTX_set0_default(made);
    SSL_CTX *ctx = filled_context();
    OSSL_LIB_CTX_set0_default(freed);
    expect("C15", SSL_CTX_sess_number(ctx) == 50, "%s: the cache is still seen", what);
    fill(ctx, 101);
    SSL_SESSION *one = plain_session(1);
    expect("C15", SSL_CTX_remove_session(ctx, one) == 1 && calls == 1, "%s: one is removed", what);
    SSL_SESSION_free(one);
    flush(ctx, 1);
    expect("C15", SSL_CTX_sess_number(ctx) == 99, "%s: a flush of nothing", what);
    SSL_CTX_free(ctx);
    expect("C15", calls == 100, "%s: the end calls back for the others", what);
    expect("C15", usable == 100, "%s: with a usable context", what);

    OSSL_LIB_CTX_set0_default(made);
    ctx = filled_context();
    OSSL_LIB_CTX_set0_default(freed);
    flush(ctx, 5000);
    expect("C15", calls == 50 && usable == 50 && SSL_CTX_sess_number(ctx) == 0, "%s: a flush calls back", what);
    SSL_CTX_free(ctx);
    expect("C15", calls == 50, "%s: and nothing is left for the end", what);
    expect("C15", no_errors(), "%s: no error is left in the queue", what);
    OSSL_LIB_CTX_set0_default(before);
}

/* The program's own data must not land where anyone else's is. */
static void index_there(OSSL_LIB_CTX *other)
{
    OSSL_LIB_CTX *before = OSSL_LIB_CTX_set0_default(other);
    index_in_other = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    SSL_CTX *ctx = filled_context();
    SSL_CTX_set_ex_data(ctx, index_in_other, &mark[1]);
    fill(ctx, 51);
    flush(ctx, 1);
    SSL *ssl = SSL_new(ctx);
    int of_ssl = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    SSL_set_ex_data(ssl, of_ssl, &mark[0]);
    SSL_CTX *second = server_context();
    SSL_set_SSL_CTX(ssl, second);
    expect("C15", SSL_get_ex_data(ssl, of_ssl) == &mark[0], "the program's ex_data of a connection is its own");
    SSL_free(ssl);
    SSL_CTX_free(second);
    expect("C15", SSL_CTX_get_ex_data(ctx, index_in_other) == &mark[1], "and that of a context");
    SSL_CTX_free(ctx);
    expect("C15", calls == 100 && usable == 100, "all leave");
    OSSL_LIB_CTX_set0_default(before);
}

/* libcrypto's memory is the C library's, but for one piece: what is kept when it is freed, and given to the next that
 * asks. So a new library context has the address of the last one with every allocator. */
static void *kept, *given_back;

static void *own_malloc(size_t size, const char *file, int line)
{
    void *memory = given_back != NULL && size <= malloc_usable_size(given_back) ? given_back : malloc(size);
    (void)file, (void)line;
    if (memory == given_back)
        given_back = NULL;
    return memory;
}

static void *own_realloc(void *memory, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return realloc(memory, size);
}

static void own_free(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    if (memory == NULL || memory != kept)
        free(memory);
}

static OSSL_LIB_CTX *made_again(OSSL_LIB_CTX *former)
{
    kept = former;
    OSSL_LIB_CTX_free(former);
    kept = NULL;
    given_back = former;
    return OSSL_LIB_CTX_new();
}

/* A library context may be freed, and the next one have its address. */
static void address_reused(void)
{
    OSSL_LIB_CTX *usual = OSSL_LIB_CTX_set0_default(NULL), *library = OSSL_LIB_CTX_new();
    int good = 0, reused = 0;
    for (int i = 0; i < 10; i++) {
        OSSL_LIB_CTX *former = library;
        SSL_CTX *before = filled_context();
        OSSL_LIB_CTX_set0_default(library);
        SSL_CTX_free(before);
        good += calls == 50 && usable == 50;
        SSL_CTX_free(filled_context());
        good += calls == 50 && usable == 50;
        OSSL_LIB_CTX_set0_default(usual);
        library = made_again(library);
        reused += library == former;
    }
    OSSL_LIB_CTX_free(library);
    expect("C15", reused == 10, "the address of one was used again");
    expect("C15", good == 20, "ten library contexts one after another: nothing is lost");
}

int main(void)
{
    expect("C15", CRYPTO_set_mem_functions(own_malloc, own_realloc, own_free), "nothing has asked libcrypto for memory yet");
    OSSL_LIB_CTX *other = OSSL_LIB_CTX_new(), *third = OSSL_LIB_CTX_new(), *bare = OSSL_LIB_CTX_new();
    OSSL_LIB_CTX *usual = OSSL_LIB_CTX_set0_default(NULL);
    /* No ciphers at all: no context can be made while it is the default one. */
    OSSL_PROVIDER *null = OSSL_PROVIDER_load(bare, "null");
    in_between(usual, other, "usual, other");
    in_between(other, usual, "other, usual");
    in_between(other, third, "other, third");
    in_between(usual, bare, "usual, one without ciphers");
    in_between(other, other, "other throughout");
    index_there(other);
    address_reused();
    OSSL_PROVIDER_unload(null);
    OSSL_LIB_CTX_free(other);
    OSSL_LIB_CTX_free(third);
    OSSL_LIB_CTX_free(bare);
    return done();
}
#else
int main(void)
{
    expect("C15", 1, "libssl 1.1.1 has only one library context");
    return done();
}
#endif
