/* SPDX-License-Identifier: MIT */
#include "json_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_slice.h"

#define HEADERS_MOST 200

json_t *json_read(const struct http_answer *answer)
{
    return json_loadb(answer->body, answer->size, JSON_ALLOW_NUL, NULL);
}

char *json_write(json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    json_decref(json);
    return text;
}

int json_keep_string(json_t *string, struct http_message *message, struct sluice_bytes *ret)
{
    size_t size = json_string_length(string);
    void *kept = http_message_keep(message, json_string_value(string), size);

    if (!kept)
        return -1;
    *ret = (struct sluice_bytes){kept, size};
    return 0;
}

static int keep_value(json_t *value, struct http_message *message, struct sluice_bytes *ret)
{
    char *text;

    if (json_is_string(value))
        return json_keep_string(value, message, ret);
    text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text || http_message_take(message, text))
        return -1;
    *ret = (struct sluice_bytes){text, strlen(text)};
    return 0;
}

int json_keep_headers(json_t *object, struct http_message *message)
{
    size_t count = json_object_size(object);
    const char *name;
    json_t *value;

    if (!count)
        return 0;
    if (count > HEADERS_MOST)
        count = HEADERS_MOST;
    message->headers = http_message_keep(message, NULL, count * sizeof *message->headers);
    if (!message->headers)
        return -1;
    json_object_foreach(object, name, value)
    {
        struct sluice_header *header = &message->headers[message->header_count];
        char *kept = http_message_keep(message, name, strlen(name));

        if (message->header_count == count)
            break;
        if (!kept || keep_value(value, message, &header->value))
            return -1;
        header->name = (struct sluice_bytes){kept, strlen(kept)};
        message->header_count++;
    }
    return 0;
}

uint32_t json_earlier_deliveries(int64_t attempts)
{
    return attempts < 1 ? 0 : attempts > 1000000 ? 1000000 : (uint32_t)(attempts - 1);
}

uint32_t json_read_deliveries(json_t *attempts)
{
    return json_earlier_deliveries(json_integer_value(attempts));
}

char *json_put_string(char *out, const char *text)
{
    const char *end = text + strlen(text);

    *out++ = '"';
    for (;; text++) {
        size_t plain = (size_t)(json_slice_skip_plain(text, end) - text);

        memcpy(out, text, plain);
        out += plain;
        text += plain;
        if (!*text)
            break;
        if (*text == '"' || *text == '\\') {
            *out++ = '\\';
            *out++ = *text;
        } else {
            out += sprintf(out, "\\u%04x", (unsigned)*text);
        }
    }
    *out++ = '"';
    return out;
}
