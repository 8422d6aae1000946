/* SPDX-License-Identifier: MIT
 * Dead letters for scripts: one object a line. Times are RFC 3339, absent things are null. */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "cli/dlq_inside.h"
#include "io/json_value.h"

json_t *dlq_json_bytes(struct sluice_bytes bytes)
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

json_t *dlq_json_time(int64_t wall_us)
{
    char text[DLQ_TIME];

    return wall_us ? json_string(dlq_timestamp(wall_us, text)) : json_null();
}

static json_t *number_or_null(uint32_t number)
{
    return number ? json_integer(number) : json_null();
}

static json_t *kind_of(const struct dead_letter *letter)
{
    switch (letter->timestamp_kind) {
    case SLUICE_TIMESTAMP_CREATED:
        return json_string("created");
    case SLUICE_TIMESTAMP_APPENDED:
        return json_string("appended");
    default:
        return json_null();
    }
}

static json_t *attempts_of(const struct dead_letter *letter)
{
    json_t *array = json_array();

    for (size_t i = 0; i < letter->attempts_kept; i++) {
        const struct dead_letter_attempt *attempt = &letter->attempts[i];
        json_t *one = json_object();

        json_object_set_new(one, "time", dlq_json_time(attempt->wall_us));
        json_object_set_new(one, "duration_ms", json_real((double)attempt->duration_us / 1000));
        json_object_set_new(one, "status", number_or_null(attempt->status));
        json_object_set_new(one, "batch_size", json_integer(attempt->batch_size));
        json_object_set_new(one, "outcome", json_value_text(attempt->outcome));
        json_object_set_new(one, "error", json_value_text(attempt->error));
        json_array_append_new(array, one);
    }
    return array;
}

static json_t *headers_of(const struct dead_letter *letter)
{
    json_t *array = json_array();

    for (size_t i = 0; i < letter->header_count; i++) {
        json_t *one = json_object();

        json_object_set_new(one, "name", dlq_json_bytes(letter->headers[i].name));
        json_object_set_new(one, "value", dlq_json_bytes(letter->headers[i].value));
        json_array_append_new(array, one);
    }
    return array;
}

json_t *dlq_json_letter(const struct dead_letter *letter, bool with_payload)
{
    json_t *object = json_object();

    json_object_set_new(object, "id", json_string(letter->id));
    json_object_set_new(object, "died", dlq_json_time(letter->dead_wall_us));
    json_object_set_new(object, "mapping", json_value_text(letter->mapping));
    json_object_set_new(object, "revision", json_value_text(letter->revision));
    json_object_set_new(object, "connector", json_value_text(letter->connector));
    json_object_set_new(object, "source", json_value_text(letter->source));
    json_object_set_new(object, "lane", json_value_text(letter->lane));
    json_object_set_new(object, "partition",
                        letter->partition < 0 ? json_null() : json_integer(letter->partition));
    json_object_set_new(object, "position", json_value_unsigned(letter->position));
    json_object_set_new(object, "token",
                        dlq_json_bytes((struct sluice_bytes){dead_letter_token_size(letter)
                                                                 ? letter->token
                                                                 : NULL,
                                                             dead_letter_token_size(letter)}));
    json_object_set_new(object, "produced", dlq_json_time(letter->message_wall_us));
    json_object_set_new(object, "timestamp_kind", kind_of(letter));
    json_object_set_new(object, "delivery_count", json_integer(letter->delivery_count));
    json_object_set_new(object, "class", json_string(dead_letter_class_name(letter->class)));
    json_object_set_new(object, "status", number_or_null(letter->status));
    json_object_set_new(object, "reason", json_value_text(letter->reason));
    json_object_set_new(object, "attempt_count", json_integer(letter->attempt_count));
    json_object_set_new(object, "first_attempt", dlq_json_time(letter->first_wall_us));
    json_object_set_new(object, "last_attempt", dlq_json_time(letter->last_wall_us));
    json_object_set_new(object, "replay_count", json_integer(letter->replay_count));
    json_object_set_new(object, "last_replay", dlq_json_time(letter->replayed_wall_us));
    json_object_set_new(object, "edit_count", json_integer(letter->edit_count));
    json_object_set_new(object, "forced", json_integer(letter->forced));
    if (!with_payload)
        return object;
    json_object_set_new(object, "message_id", dlq_json_bytes(letter->message_id));
    json_object_set_new(object, "identity", dlq_json_bytes(letter->identity));
    json_object_set_new(object, "attempts", attempts_of(letter));
    json_object_set_new(object, "response", dlq_json_bytes(letter->response));
    json_object_set_new(object, "headers", headers_of(letter));
    json_object_set_new(object, "key", dlq_json_bytes(letter->key));
    json_object_set_new(object, "payload", dlq_json_bytes(letter->payload));
    if (letter->edit_count)
        json_object_set_new(object, "original", dlq_json_bytes(letter->original));
    return object;
}

json_t *dlq_json_group(const struct dlq_group *group, const char *field)
{
    json_t *object = json_object();

    json_object_set_new(object, field,
                        strcmp(field, "key") == 0
                            ? dlq_json_bytes((struct sluice_bytes){group->value, group->value_size})
                            : json_value_text(group->value));
    json_object_set_new(object, "count", json_integer((json_int_t)group->count));
    json_object_set_new(object, "first", dlq_json_time(group->first_wall_us));
    json_object_set_new(object, "last", dlq_json_time(group->last_wall_us));
    json_object_set_new(object, "example", json_value_text(group->example_id));
    json_object_set_new(object, "bytes", json_integer((json_int_t)group->bytes));
    if (group->trend) {
        json_t *trend = json_array();

        for (size_t i = 0; i < DLQ_TREND; i++)
            json_array_append_new(trend, json_integer((json_int_t)group->trend[i]));
        json_object_set_new(object, "trend", trend);
    }
    return object;
}

void dlq_json_print(json_t *document)
{
    json_dumpf(document, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(document);
}
