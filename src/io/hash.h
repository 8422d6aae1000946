/* SPDX-License-Identifier: MIT
 * Hashes: XXH3 for fingerprints and tables, SHA-256 for tokens made of payloads. */
#ifndef IO_HASH_H
#define IO_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 128 bits that tell payloads apart; not for keeping secrets. NULL with size 0 is fine. */
void hash_fingerprint(const void *data, size_t size, uint64_t ret_value[2]);
/* SHA-256 (FIPS 180-4) as 64 lower-case hex digits, not NUL-terminated. */
void hash_sha256(const void *data, size_t size, char ret_hex[64]);
/* Whether two texts are the same, in a time that tells nothing about where they differ or how long
 * either is. */
bool hash_same_secret(const char *one, const char *other);

#endif
