/* SPDX-License-Identifier: MIT
 * Dead letters that others wrote: lines `name: value` are headers, what follows an empty line is the
 * payload. */
#include "fuzz.h"

#include <string.h>

#include "core/foreign.h"

#define HEADERS_MOST 32

static unsigned sum;

/* A sanitizer sees what is not there. */
static void touch(struct sluice_bytes bytes)
{
    for (size_t i = 0; bytes.data && i < bytes.size; i++)
        sum += ((const uint8_t *)bytes.data)[i];
}

/* The line at `at`; returns the place after it. */
static const uint8_t *take_line(const uint8_t *at, const uint8_t *end, struct sluice_header *ret)
{
    const uint8_t *newline = memchr(at, '\n', (size_t)(end - at)), *colon;
    const uint8_t *stop = newline ? newline : end;

    colon = at < stop ? memchr(at, ':', (size_t)(stop - at)) : NULL;
    ret->name = (struct sluice_bytes){at, (size_t)((colon ? colon : stop) - at)};
    ret->value = (struct sluice_bytes){NULL, 0};
    if (colon && stop - colon >= 2)
        ret->value = (struct sluice_bytes){colon + 2, (size_t)(stop - colon - 2)};
    return newline ? newline + 1 : end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sluice_header headers[HEADERS_MOST];
    const uint8_t *at = data, *end = data + size;
    struct sluice_message message = {0};
    struct foreign foreign;
    size_t count = 0;

    while (at < end && *at != '\n' && count < HEADERS_MOST)
        at = take_line(at, end, &headers[count++]);
    if (at < end)
        message.payload = (struct sluice_bytes){at + 1, (size_t)(end - at - 1)};
    foreign_read(&message, headers, count, &foreign);
    MUST(memchr(foreign.reason, '\0', sizeof foreign.reason));
    MUST(foreign.by || (!foreign.source.data && !foreign.has_position && !foreign.has_message));
    MUST(foreign.partition >= -1 && dead_letter_class_name(foreign.class)[0]);
    MUST(!strpbrk(foreign.reason, "\n\r\t"));
    touch(foreign.source);
    touch(foreign.token);
    touch(foreign.answer);
    if (foreign.has_message) {
        touch(foreign.key);
        touch(foreign.payload);
        for (size_t i = 0; i < foreign.header_count; i++) {
            touch(foreign.headers[i].name);
            touch(foreign.headers[i].value);
        }
    }
    foreign_fini(&foreign);
    return 0;
}
