/* SPDX-License-Identifier: MIT */
#include "io/dead_letter_store_id.h"

#include <stddef.h>
#include <string.h>

#define TIME_DIGITS 10 /* of five bits: 48 bits of milliseconds, the first digit at most 7 */

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; /* Crockford's base 32 */

static void write_digits(char *at, unsigned count, uint64_t value)
{
    while (count--) {
        at[count] = alphabet[value & 31];
        value >>= 5;
    }
}

void dead_letter_store_id_write(int64_t wall_us, const uint64_t random[2],
                                char ret_id[DEAD_LETTER_ID + 1])
{
    write_digits(ret_id, TIME_DIGITS, (uint64_t)wall_us / 1000);
    write_digits(ret_id + 10, 2, (uint64_t)wall_us % 1000);
    write_digits(ret_id + 12, 7, random[0]);
    write_digits(ret_id + 19, 7, random[1]);
    ret_id[DEAD_LETTER_ID] = '\0';
}

static int digit(char c)
{
    const char *at;

    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

int dead_letter_store_id_range(const char *prefix, int64_t *ret_since_us, int64_t *ret_until_us)
{
    size_t size = strlen(prefix);
    uint64_t first = 0, step = 1000;

    if (size > DEAD_LETTER_ID)
        return -1;
    for (size_t i = 0; i < size; i++) {
        int value = digit(prefix[i]);

        if (value < 0 || (i == 0 && value > 7))
            return -1;
        if (i < TIME_DIGITS)
            first = first << 5 | (uint64_t)value;
    }
    for (size_t i = size; i < TIME_DIGITS; i++) {
        first <<= 5;
        step <<= 5;
    }
    *ret_since_us = (int64_t)(first * 1000);
    *ret_until_us = (int64_t)(first * 1000 + step);
    return 0;
}
