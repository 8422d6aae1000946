/* SPDX-License-Identifier: MIT
 * Base64 with padding, in one line (RFC 4648, section 4). */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stddef.h>

/* Characters that `size` bytes take. */
#define BASE64_SIZE(size) (((size) + 2) / 3 * 4)

/* Writes BASE64_SIZE(size) characters, no NUL, and returns the place after the last. */
char *base64_write(char *out, const void *data, size_t size);

/* Writes at most size / 4 * 3 bytes and returns how many; SIZE_MAX where the text is not base64 with
 * padding. */
size_t base64_read(void *out, const char *text, size_t size);

#endif
