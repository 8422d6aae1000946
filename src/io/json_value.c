/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/json_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "base/memory.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

json_t *json_value_text(const char *text)
{
    char *valid, *end;
    json_t *value;

    if (!text || !*text)
        return json_null();
    value = json_string(text);
    if (value)
        return value;
    valid = end = memory_new(strlen(text) * (sizeof replacement - 1));
    for (const char *stop = text + strlen(text); text < stop;) {
        size_t size = json_text_sequence((const unsigned char *)text, (const unsigned char *)stop);
        size_t written = size ? size : sizeof replacement - 1;

        memcpy(end, size ? text : replacement, written);
        end += written;
        text += size ? size : 1;
    }
    value = json_stringn(valid, (size_t)(end - valid));
    free(valid);
    return value;
}

json_t *json_value_time(int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / CLOCK_SECOND);
    char text[64];
    struct tm tm;
    size_t size;

    if (!wall_us || !gmtime_r(&seconds, &tm))
        return json_null();
    size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + size, sizeof text - size, ".%03dZ",
             (int)(wall_us % CLOCK_SECOND / CLOCK_MS));
    return json_string(text);
}

json_t *json_value_unsigned(uint64_t number)
{
    char text[24];

    if (number <= INT64_MAX)
        return json_integer((json_int_t)number);
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return json_string(text);
}
