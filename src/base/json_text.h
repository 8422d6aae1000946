/* SPDX-License-Identifier: MIT
 * Bytes as the inside of JSON strings, and UTF-8 (RFC 8259, RFC 3629). */
#ifndef BASE_JSON_TEXT_H
#define BASE_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the UTF-8 sequence that starts at `at` (before `end`); 0 where it is not valid: cut off,
 * overlong, a surrogate, above U+10FFFF. */
size_t json_text_sequence(const unsigned char *at, const unsigned char *end);

/* Whether all of it is valid UTF-8. */
bool json_text_is_utf8(const void *data, size_t size);

/* Bytes that json_text_write writes, and what that can be at most. */
size_t json_text_size(const void *data, size_t size);
#define JSON_TEXT_MOST(size) (6 * (size))

/* Writes the inside of a JSON string (no quotes) and returns the place after it. What is not valid
 * UTF-8 becomes U+FFFD, one for each byte, so that the result is always valid. */
char *json_text_write(char *out, const void *data, size_t size);

/* Of eight bytes that were read into a word and tested, with the highest bit set of those that failed:
 * how many are sure to have passed before the first of them. */
static inline size_t json_text_passed(uint64_t failed)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (size_t)__builtin_ctzll(failed) / 8;
#else
    (void)failed; /* a borrow may have run ahead of the first */
    return 0;
#endif
}

#endif
