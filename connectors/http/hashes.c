/* SPDX-License-Identifier: MIT */
#include "hashes.h"

#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#define MD5_MANY_PAYS 3 /* times the longest text, beyond which all together take less time than one by one */

struct hashes {
    EVP_MD_CTX *context;
    EVP_MD *md5, *sha256; /* md5: NULL where there is none */
    EVP_MAC_CTX *hmac;
};

static EVP_MAC_CTX *hmac_new(void)
{
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0), OSSL_PARAM_END};
    EVP_MAC *kind = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *hmac = kind ? EVP_MAC_CTX_new(kind) : NULL;

    EVP_MAC_free(kind);
    if (hmac && EVP_MAC_CTX_set_params(hmac, parameters) == 1)
        return hmac;
    EVP_MAC_CTX_free(hmac);
    return NULL;
}

struct hashes *hashes_new(void)
{
    struct hashes *hashes = calloc(1, sizeof *hashes);

    if (!hashes)
        return NULL;
    hashes->context = EVP_MD_CTX_new();
    hashes->md5 = EVP_MD_fetch(NULL, "MD5", NULL);
    hashes->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hashes->hmac = hmac_new();
    ERR_clear_error();
    if (hashes->context && hashes->sha256 && hashes->hmac)
        return hashes;
    hashes_free(hashes);
    return NULL;
}

void hashes_free(struct hashes *hashes)
{
    if (!hashes)
        return;
    EVP_MD_CTX_free(hashes->context);
    EVP_MD_free(hashes->md5);
    EVP_MD_free(hashes->sha256);
    EVP_MAC_CTX_free(hashes->hmac); /* leaves no trace of the key */
    free(hashes);
}

void hashes_hex(const unsigned char *data, size_t size, char *ret)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        *ret++ = digits[data[i] >> 4];
        *ret++ = digits[data[i] & 15];
    }
    *ret = '\0';
}

static int digest(struct hashes *hashes, const EVP_MD *kind, const void *data, size_t size, size_t digest_size,
                  char *ret)
{
    unsigned char found[EVP_MAX_MD_SIZE];

    if (!kind || EVP_DigestInit_ex(hashes->context, kind, NULL) != 1 ||
        EVP_DigestUpdate(hashes->context, data ? data : "", size) != 1 ||
        EVP_DigestFinal_ex(hashes->context, found, NULL) != 1) {
        ERR_clear_error();
        return -1;
    }
    hashes_hex(found, digest_size, ret);
    return 0;
}

int hashes_md5(struct hashes *hashes, const void *data, size_t size, char ret[HASHES_MD5_HEX])
{
    return digest(hashes, hashes->md5, data, size, MD5_SIZE, ret);
}

int hashes_md5_many(struct hashes *hashes, const struct md5_text *texts, size_t count,
                    char (*ret)[HASHES_MD5_HEX])
{
    unsigned char digests[MD5_MANY_MOST][MD5_SIZE];
    size_t longest = 0, sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += texts[i].size;
        longest = texts[i].size > longest ? texts[i].size : longest;
    }
    if (!hashes->md5)
        return -1;
    if (sum <= MD5_MANY_PAYS * longest) {
        for (size_t i = 0; i < count; i++)
            if (hashes_md5(hashes, texts[i].data, texts[i].size, ret[i]))
                return -1;
        return 0;
    }
    md5_many(texts, count, digests);
    for (size_t i = 0; i < count; i++)
        hashes_hex(digests[i], MD5_SIZE, ret[i]);
    return 0;
}

int hashes_sha256(struct hashes *hashes, const void *data, size_t size, char ret[HASHES_SHA256_HEX])
{
    return digest(hashes, hashes->sha256, data, size, HASHES_SHA256, ret);
}

int hashes_hmac(struct hashes *hashes, const void *key, size_t key_size, const void *data, size_t size,
                unsigned char ret[HASHES_SHA256])
{
    size_t got;

    if (EVP_MAC_init(hashes->hmac, key, key ? key_size : 0, NULL) == 1 &&
        EVP_MAC_update(hashes->hmac, data, size) == 1 &&
        EVP_MAC_final(hashes->hmac, ret, &got, HASHES_SHA256) == 1)
        return 0;
    ERR_clear_error();
    return -1;
}
