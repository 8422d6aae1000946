/* SPDX-License-Identifier: MIT
 * Word of a letter that is kept elsewhere, from a place that knows no headers: an object whose members are the
 * headers of the story and nothing else (letter_word_write). Anything more is a message. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/memory.h"
#include "core/foreign_inside.h"

#define KEPT FOREIGN_OWN "payload-kept"

/* The whole name of a header of ours. */
static bool read_name(const struct json_scan_value *member, char *out, struct sluice_bytes *ret_name)
{
    size_t prefix = strlen(FOREIGN_OWN);
    const char *name;

    memcpy(out, FOREIGN_OWN, prefix);
    for (size_t i = 0; (name = foreign_own_name(i)); i++) {
        size_t size = prefix + strlen(name);

        if (member->size < size)
            continue; /* and there may be no room for it */
        memcpy(out + prefix, name, size - prefix);
        if (!json_scan_same(member, out, size))
            continue;
        *ret_name = (struct sluice_bytes){out, size};
        return true;
    }
    return false;
}

/* A string, or {"base64":"..."}. */
static bool read_value(const struct json_scan_value *member, char *out, struct sluice_bytes *ret_value)
{
    static const struct json_scan_step path[] = {{"base64", 6, -1}};
    struct json_scan_value encoded;
    struct buffer text;
    size_t size;

    if (member->kind == JSON_SCAN_STRING) {
        buffer_init(&text, member->size);
        json_scan_unescape(&text, member);
        size = text.size;
        if (size)
            memcpy(out, text.data, size);
        buffer_fini(&text);
    } else if (member->kind == JSON_SCAN_OBJECT &&
               json_scan(member->text, member->size, path, 1, &encoded) &&
               encoded.kind == JSON_SCAN_STRING) {
        size = base64_read(out, encoded.text, encoded.size);
    } else {
        return false;
    }
    *ret_value = (struct sluice_bytes){out, size};
    return size != SIZE_MAX;
}

bool foreign_word_read(const struct sluice_bytes *payload, struct foreign_headers *ret_headers,
                       void **ret_memory)
{
    struct foreign_members members;
    struct sluice_header *headers;
    size_t count = 0;
    char *at;

    /* The name first: it is looked for in all that comes. */
    if (!payload->data || !memmem(payload->data, payload->size, "\"" KEPT "\"", sizeof KEPT + 1) ||
        !foreign_members_read(&members, payload->data, payload->size) ||
        !foreign_member(&members, KEPT) || !foreign_member(&members, FOREIGN_OWN "class") ||
        !foreign_member(&members, FOREIGN_OWN "mapping"))
        return false;
    /* Nothing is longer than it was as JSON. */
    headers = memory_new(members.count * sizeof *headers + payload->size);
    at = (char *)(headers + members.count);
    for (; count < members.count; count++) {
        struct sluice_header *header = &headers[count];

        if (!read_name(&members.list[count].name, at, &header->name))
            break;
        at += header->name.size;
        if (!read_value(&members.list[count].value, at, &header->value))
            break;
        at += header->value.size;
    }
    if (count < members.count) {
        free(headers);
        return false;
    }
    *ret_headers = (struct foreign_headers){headers, count};
    *ret_memory = headers;
    return true;
}
