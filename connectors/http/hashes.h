/* SPDX-License-Identifier: MIT
 * Hashes, with what OpenSSL would look up anew for each one kept between them. Of one thread. -1 of all of
 * them: the library does not have it, as where the system allows only FIPS 140's. */
#ifndef HASHES_H
#define HASHES_H

#include <stddef.h>

#include "md5_many.h"

#define HASHES_MD5_HEX    33 /* hexadecimal text with its NUL */
#define HASHES_SHA256     32
#define HASHES_SHA256_HEX 65

struct hashes;

struct hashes *hashes_new(void); /* NULL: no memory, or the library has no SHA-256 */
void hashes_free(struct hashes *hashes);

int hashes_md5(struct hashes *hashes, const void *data, size_t size, char ret[HASHES_MD5_HEX]);
/* Of MD5_MANY_MOST texts at most: together, where that is faster. */
int hashes_md5_many(struct hashes *hashes, const struct md5_text *texts, size_t count,
                    char (*ret)[HASHES_MD5_HEX]);
int hashes_sha256(struct hashes *hashes, const void *data, size_t size, char ret[HASHES_SHA256_HEX]);

/* HMAC-SHA256. With `key` NULL that of the call before, which is kept until the end. */
int hashes_hmac(struct hashes *hashes, const void *key, size_t key_size, const void *data, size_t size,
                unsigned char ret[HASHES_SHA256]);

/* Two digits for each byte, and a NUL. */
void hashes_hex(const unsigned char *data, size_t size, char *ret);

#endif
