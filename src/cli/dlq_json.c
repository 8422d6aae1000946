/* SPDX-License-Identifier: MIT
 * Dead letters for scripts: one object a line. Times are RFC 3339, absent things are null. */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "cli/dlq_inside.h"

static json_t *text_or_null(const char *text)
{
    char *valid, *end;
    json_t *value;

    if (!text || !*text)
        return json_null();
    value = json_string(text);
    if (value)
        return value;
    valid = memory_new(strlen(text) * 3 + 1); /* what is not UTF-8 takes 3 bytes at most */
    for (end = valid; *text;) {
        size_t size = json_text_sequence((const unsigned char *)text,
                                         (const unsigned char *)text + strlen(text));

        if (size) {
            memcpy(end, text, size);
            end += size;
            text += size;
        } else {
            memcpy(end, "\xef\xbf\xbd", 3);
            end += 3;
            text++;
        }
    }
    value = json_stringn(valid, (size_t)(end - valid));
    free(valid);
    return value;
}

/* A string where it is UTF-8, {"base64": ...} where not, null where absent: nothing is lost. */
static json_t *bytes_or_null(struct sluice_bytes bytes)
{
    json_t *value;
    char *text;

    if (!bytes.data)
        return json_null();
    if (json_text_is_utf8(bytes.data, bytes.size) &&
        (value = json_stringn(bytes.data, bytes.size)) != NULL)
        return value;
    text = memory_new(BASE64_SIZE(bytes.size));
    base64_write(text, bytes.data, bytes.size);
    value = json_pack("{s:o}", "base64", json_stringn(text, BASE64_SIZE(bytes.size)));
    free(text);
    return value;
}

static json_t *time_or_null(int64_t wall_us)
{
    char text[DLQ_TIME];

    return wall_us ? json_string(dlq_timestamp(wall_us, text)) : json_null();
}

static json_t *number_or_null(uint32_t number)
{
    return number ? json_integer(number) : json_null();
}

static json_t *attempts_of(const struct dead_letter *letter)
{
    json_t *array = json_array();

    for (size_t i = 0; i < letter->attempts_kept; i++) {
        const struct dead_letter_attempt *attempt = &letter->attempts[i];
        json_t *one = json_object();

        json_object_set_new(one, "time", time_or_null(attempt->wall_us));
        json_object_set_new(one, "duration_ms", json_real((double)attempt->duration_us / 1000));
        json_object_set_new(one, "status", number_or_null(attempt->status));
        json_object_set_new(one, "batch_size", json_integer(attempt->batch_size));
        json_object_set_new(one, "outcome", text_or_null(attempt->outcome));
        json_object_set_new(one, "error", text_or_null(attempt->error));
        json_array_append_new(array, one);
    }
    return array;
}

static json_t *headers_of(const struct dead_letter *letter)
{
    json_t *array = json_array();

    for (size_t i = 0; i < letter->header_count; i++) {
        json_t *one = json_object();

        json_object_set_new(one, "name", bytes_or_null(letter->headers[i].name));
        json_object_set_new(one, "value", bytes_or_null(letter->headers[i].value));
        json_array_append_new(array, one);
    }
    return array;
}

json_t *dlq_json_letter(const struct dead_letter *letter, bool with_payload)
{
    json_t *object = json_object();

    json_object_set_new(object, "id", json_string(letter->id));
    json_object_set_new(object, "died", time_or_null(letter->dead_wall_us));
    json_object_set_new(object, "mapping", text_or_null(letter->mapping));
    json_object_set_new(object, "revision", text_or_null(letter->revision));
    json_object_set_new(object, "connector", text_or_null(letter->connector));
    json_object_set_new(object, "source", text_or_null(letter->source));
    json_object_set_new(object, "lane", text_or_null(letter->lane));
    json_object_set_new(object, "partition",
                        letter->partition < 0 ? json_null() : json_integer(letter->partition));
    /* JSON's numbers end where scripts lose digits, but Kafka's offsets never get there. */
    json_object_set_new(object, "position",
                        letter->position <= INT64_MAX ? json_integer((json_int_t)letter->position)
                                                      : json_real((double)letter->position));
    json_object_set_new(object, "token", text_or_null(letter->token));
    json_object_set_new(object, "produced", time_or_null(letter->message_wall_us));
    json_object_set_new(object, "class", json_string(dead_letter_class_name(letter->class)));
    json_object_set_new(object, "status", number_or_null(letter->status));
    json_object_set_new(object, "reason", text_or_null(letter->reason));
    json_object_set_new(object, "attempt_count", json_integer(letter->attempt_count));
    json_object_set_new(object, "first_attempt", time_or_null(letter->first_wall_us));
    json_object_set_new(object, "last_attempt", time_or_null(letter->last_wall_us));
    json_object_set_new(object, "replay_count", json_integer(letter->replay_count));
    if (!with_payload)
        return object;
    json_object_set_new(object, "attempts", attempts_of(letter));
    json_object_set_new(object, "response", bytes_or_null(letter->response));
    json_object_set_new(object, "headers", headers_of(letter));
    json_object_set_new(object, "key", bytes_or_null(letter->key));
    json_object_set_new(object, "payload", bytes_or_null(letter->payload));
    return object;
}

json_t *dlq_json_group(const struct dlq_group *group, const char *field)
{
    json_t *object = json_object();

    json_object_set_new(object, field, text_or_null(group->value));
    json_object_set_new(object, "count", json_integer((json_int_t)group->count));
    json_object_set_new(object, "first", time_or_null(group->first_wall_us));
    json_object_set_new(object, "last", time_or_null(group->last_wall_us));
    json_object_set_new(object, "example", text_or_null(group->example_id));
    return object;
}

void dlq_json_print(json_t *document)
{
    json_dumpf(document, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(document);
}
