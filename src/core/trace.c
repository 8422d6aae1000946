/* SPDX-License-Identifier: MIT */
#include "core/trace.h"

#include <stdlib.h>
#include <string.h>

#define SIZE 55 /* of version 00 */

/* `count` lower-case hex digits; with `not_all`, not all of them that digit. */
static bool is_hex(const char *text, size_t count, char not_all)
{
    bool other = !not_all;

    for (size_t i = 0; i < count; i++) {
        if (!memchr("0123456789abcdef", text[i], 16))
            return false;
        other |= text[i] != not_all;
    }
    return other;
}

bool trace_read(const void *value, size_t size, struct trace_parent *ret_parent)
{
    const char *text = value;
    char flags[3] = {0};

    if (size < SIZE || text[2] != '-' || text[35] != '-' || text[52] != '-' ||
        !is_hex(text, 2, 'f') || !is_hex(text + 3, 32, '0') || !is_hex(text + 36, 16, '0') ||
        !is_hex(text + 53, 2, '\0'))
        return false;
    if (size > SIZE && (!memcmp(text, "00", 2) || text[SIZE] != '-'))
        return false;
    memcpy(flags, text + 53, 2);
    *ret_parent = (struct trace_parent){.flags = (uint8_t)strtoul(flags, NULL, 16)};
    memcpy(ret_parent->trace_id, text + 3, 32);
    memcpy(ret_parent->span_id, text + 36, 16);
    return true;
}

bool trace_is_kept(const char trace_id[33], double ratio)
{
    return ratio >= 1 ||
           (double)(strtoull(trace_id + 16, NULL, 16) >> 1) < ratio * (double)(UINT64_C(1) << 63);
}
