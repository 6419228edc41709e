/* A program with libcrypto alone: what we interpose of it must work without a libssl. No helpers here,
 * they need libssl; see support.h for the lines. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/lhash.h>
#include <openssl/x509.h>

static int failed, freed;

static void state(const char *number, int ok, const char *text)
{
    printf("%s %s - %s\n", ok ? "ok" : "FAILED", number, text);
    failed |= !ok;
}

static void on_free(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long l, void *p)
{
    (void)parent, (void)data, (void)index, (void)l, (void)p;
    freed += ptr == &freed;
}

int main(void)
{
    unsigned char digest[32];
    unsigned length = 0;
    printf("# under: %s\n", dlsym(RTLD_DEFAULT, "sslsweep_version") != NULL ? "sslsweep" : "stock");

    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    EVP_DigestUpdate(md, "abc", 3);
    EVP_DigestFinal_ex(md, digest, &length);
    EVP_MD_CTX_free(md);
    state("P1", length == 32 && digest[0] == 0xba && digest[31] == 0xad, "libcrypto works");

    static const int classes[] = {CRYPTO_EX_INDEX_X509, CRYPTO_EX_INDEX_BIO, CRYPTO_EX_INDEX_APP};
    int indices[3];
    for (int i = 0; i < 3; i++)
        indices[i] = CRYPTO_get_ex_new_index(classes[i], 0, NULL, NULL, NULL, on_free);
    state("P1", indices[0] > 0 && indices[1] > 0 && indices[2] > 0, "ex_data indices are given");
    state("P1", CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_X509, 0, NULL, NULL, NULL, NULL) == indices[0] + 1,
          "in order");
    X509 *x = X509_new();
    X509_set_ex_data(x, indices[0], &freed);
    state("P1", X509_get_ex_data(x, indices[0]) == &freed, "and hold data");
    X509_free(x);
    state("P1", freed == 1, "which are freed");
    state("P1", CRYPTO_free_ex_index(CRYPTO_EX_INDEX_APP, indices[2]) == 1, "an index can be given back");

    OPENSSL_LHASH *table = OPENSSL_LH_new((OPENSSL_LH_HASHFUNC)OPENSSL_LH_strhash,
                                          (OPENSSL_LH_COMPFUNC)strcmp);
    OPENSSL_LH_insert(table, "one");
    OPENSSL_LH_insert(table, "two");
    state("P1", OPENSSL_LH_num_items(table) == 2, "hash tables work");
    OPENSSL_LH_free(table);

    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf("x", 1);
    state("P1", BIO_get_mem_data(bio, NULL) == 1 && ERR_peek_error() == 0, "BIOs and the error queue work");
    BIO_free(bio);
    printf("%s\n", failed ? "done: FAILED" : "done");
    return failed;
}
