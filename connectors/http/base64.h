/* SPDX-License-Identifier: MIT
 * Base64 (RFC 4648). */
#ifndef HTTP_BASE64_H
#define HTTP_BASE64_H

#include <stddef.h>

/* Bytes that encoding `size` bytes takes at most, with a NUL. */
#define BASE64_ROOM(size) (((size) + 2) / 3 * 4 + 1)

/* Writes `size` bytes as text with a NUL and returns its length: with the alphabet of section 4 and
 * padding, or (`url`) that of section 5 without padding. */
size_t base64_encode(const void *data, size_t size, char *ret, int url);

/* The bytes of a text in either alphabet, padded or not; the caller frees them. NULL: it is no such
 * text (blanks and line ends are none either), or no memory. */
void *base64_decode(const char *text, size_t size, size_t *ret_size);

#endif
