/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/json_text.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define ONES             UINT64_C(0x0101010101010101)
#define REPLACEMENT      "\xef\xbf\xbd"
#define REPLACEMENT_SIZE 3
#define BLOCK            16
#define STRIDE           (4 * BLOCK)

size_t json_text_sequence(const unsigned char *at, const unsigned char *end)
{
    size_t room = (size_t)(end - at);
    unsigned char least = 0x80, most = 0xbf; /* of the second byte */
    size_t size;

    if (at[0] < 0x80)
        return 1;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    size = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (room < size)
        return 0;
    if (at[0] == 0xe0)
        least = 0xa0;
    else if (at[0] == 0xed)
        most = 0x9f;
    else if (at[0] == 0xf0)
        least = 0x90;
    else if (at[0] == 0xf4)
        most = 0x8f;
    if (at[1] < least || at[1] > most)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

bool json_text_is_utf8(const void *data, size_t size)
{
    const unsigned char *at = data, *end = at + size;

    while (at < end) {
        uint64_t word;
        size_t step;

        if (end - at >= 8) {
            memcpy(&word, at, 8);
            if (!(word & 0x80 * ONES)) {
                at += 8;
                continue;
            }
        }
        step = json_text_sequence(at, end);
        if (!step)
            return false;
        at += step;
    }
    return true;
}

/* The letter after the backslash; 0 where there is none. */
static char short_escape(unsigned char byte)
{
    switch (byte) {
    case '"':
    case '\\':
        return (char)byte;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

static inline bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

typedef signed char characters __attribute__((vector_size(BLOCK)));

/* -1 for each byte that is not plain. */
static inline characters find_odd(const unsigned char *at)
{
    characters bytes;

    memcpy(&bytes, at, BLOCK);
    return (bytes < 0x20) | (bytes == '"') | (bytes == '\\'); /* those above 0x7f are below 0 */
}

static inline bool are_plain(const unsigned char *at)
{
    characters odd = find_odd(at) | find_odd(at + BLOCK) | find_odd(at + 2 * BLOCK) | find_odd(at + 3 * BLOCK);
    uint64_t halves[2];

    memcpy(halves, &odd, BLOCK);
    return !(halves[0] | halves[1]);
}

/* How many of BLOCK bytes come before one that is not plain. */
static inline size_t count_plain(const unsigned char *at)
{
    characters odd = find_odd(at);
    uint64_t halves[2];

    memcpy(halves, &odd, BLOCK);
    if (halves[0])
        return (size_t)__builtin_ctzll(le64toh(halves[0])) / 8;
    return halves[1] ? 8 + (size_t)__builtin_ctzll(le64toh(halves[1])) / 8 : BLOCK;
}

/* Goes on to the first byte that is not plain. */
static inline const unsigned char *skip_plain(const unsigned char *at, const unsigned char *end)
{
    const unsigned char *begin = at;

    while (end - at >= BLOCK) {
        size_t count = count_plain(at);

        at += count;
        if (count < BLOCK)
            return at;
        while (end - at >= STRIDE && are_plain(at))
            at += STRIDE;
    }
    if (at > begin) /* the last block again, most of which is known to be plain: none is looked at alone */
        return end - BLOCK + count_plain(end - BLOCK);
    while (at < end && is_plain(*at))
        at++;
    return at;
}

/* How many bytes from `at` stand for themselves. */
static size_t plain_run(const unsigned char *at, const unsigned char *end)
{
    const unsigned char *from = at;

    while ((at = skip_plain(at, end)) < end && *at >= 0x80) {
        size_t step = json_text_sequence(at, end);

        if (!step)
            break;
        at += step;
    }
    return (size_t)(at - from);
}

size_t json_text_size(const void *data, size_t size)
{
    const unsigned char *at = data, *end = at + size;
    size_t total = 0;

    for (; at < end; at++) {
        size_t run = plain_run(at, end);

        total += run;
        at += run;
        if (at == end)
            break;
        total += short_escape(*at) ? 2 : *at < 0x20 ? 6 : REPLACEMENT_SIZE;
    }
    return total;
}

char *json_text_write(char *out, const void *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *at = data, *end = at + size;

    for (; at < end; at++) {
        size_t run = plain_run(at, end);

        memcpy(out, at, run);
        out += run;
        at += run;
        if (at == end)
            break;
        if (short_escape(*at)) {
            *out++ = '\\';
            *out++ = short_escape(*at);
        } else if (*at < 0x20) {
            memcpy(out, "\\u00", 4);
            out[4] = digits[*at >> 4];
            out[5] = digits[*at & 15];
            out += 6;
        } else {
            memcpy(out, REPLACEMENT, REPLACEMENT_SIZE);
            out += REPLACEMENT_SIZE;
        }
    }
    return out;
}
