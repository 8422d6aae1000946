/* SPDX-License-Identifier: MIT
 * MD5 (RFC 1321) of several texts at once, each in a lane of the processor's vectors. One text after the
 * other, each step waits for the one before; so it takes a third of the time where the lanes are full, and
 * longer than a library where few are. A checksum, no protection: AWS says what bodies have. */
#ifndef MD5_MANY_H
#define MD5_MANY_H

#include <stddef.h>

#define MD5_MANY_MOST 12 /* texts */
#define MD5_SIZE      16

struct md5_text {
    const void *data; /* NULL where `size` is 0 */
    size_t size;
};

/* Takes the time of the longest text, whatever the others are. `count` is MD5_MANY_MOST at most. */
void md5_many(const struct md5_text *texts, size_t count, unsigned char (*ret)[MD5_SIZE]);

#endif
