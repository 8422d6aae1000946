/* SPDX-License-Identifier: MIT */
#include "io/hash.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <xxhash.h>

void hash_fingerprint(const void *data, size_t size, uint64_t ret_value[2])
{
    XXH128_hash_t hash = XXH3_128bits(data ? data : "", data ? size : 0);

    ret_value[0] = hash.low64;
    ret_value[1] = hash.high64;
}

void hash_sha256(const void *data, size_t size, char ret_hex[64])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[32];

    EVP_Digest(data ? data : "", data ? size : 0, digest, NULL, EVP_sha256(), NULL);
    for (size_t i = 0; i < sizeof digest; i++) {
        ret_hex[2 * i] = digits[digest[i] >> 4];
        ret_hex[2 * i + 1] = digits[digest[i] & 15];
    }
}

bool hash_same_secret(const char *one, const char *other)
{
    char first[64], second[64];

    hash_sha256(one, strlen(one), first);
    hash_sha256(other, strlen(other), second);
    return CRYPTO_memcmp(first, second, sizeof first) == 0;
}
