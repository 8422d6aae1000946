/* SPDX-License-Identifier: MIT */
#include "core/reply.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/memory.h"

#define LINEAR_MAX 16 /* up to so many records are searched through without sorting */

/* What one itemIdentifier names. */
struct identifier {
    const char *token; /* NULL: source, partition and position count */
    size_t token_size;
    bool is_message_id; /* that is a message's id instead */
    const char *source;
    size_t source_size;
    int64_t partition; /* -1: none */
    uint64_t position;
};

struct judging {
    const struct envelope_context *context;
    const struct envelope_record *records;
    size_t count;
    const struct envelope_record **by_token, **by_id, **by_place; /* sorted; NULL until needed */
    bool *failed;
};

/* ---- finding records ---- */

static int compare_bytes(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t size = a_size < b_size ? a_size : b_size;
    int order = size ? memcmp(a, b, size) : 0;

    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_identifier(const struct identifier *identifier,
                              const struct envelope_record *record)
{
    uint64_t position = record->message->position;
    int order;

    if (identifier->is_message_id)
        return compare_bytes(identifier->token, identifier->token_size,
                             record->message->message_id.data, record->message->message_id.size);
    if (identifier->token)
        return compare_bytes(identifier->token, identifier->token_size, record->token,
                             record->token_size);
    order = compare_bytes(identifier->source, identifier->source_size, record->source,
                          strlen(record->source));
    if (!order)
        order = (identifier->partition > record->partition) -
                (identifier->partition < record->partition);
    return order ? order : (identifier->position > position) - (identifier->position < position);
}

static int compare_tokens(const void *left, const void *right)
{
    const struct envelope_record *a = *(const struct envelope_record *const *)left;
    const struct envelope_record *b = *(const struct envelope_record *const *)right;

    return compare_bytes(a->token, a->token_size, b->token, b->token_size);
}

static int compare_ids(const void *left, const void *right)
{
    const struct envelope_record *a = *(const struct envelope_record *const *)left;
    const struct envelope_record *b = *(const struct envelope_record *const *)right;

    return compare_bytes(a->message->message_id.data, a->message->message_id.size,
                         b->message->message_id.data, b->message->message_id.size);
}

static int compare_places(const void *left, const void *right)
{
    const struct envelope_record *a = *(const struct envelope_record *const *)left;
    const struct envelope_record *b = *(const struct envelope_record *const *)right;
    struct identifier identifier = {.source = a->source,
                                    .source_size = strlen(a->source),
                                    .partition = a->partition,
                                    .position = a->message->position};

    return compare_identifier(&identifier, b);
}

static int compare_for_search(const void *key, const void *element)
{
    return compare_identifier(key, *(const struct envelope_record *const *)element);
}

static const struct envelope_record **sort_records(const struct judging *judging,
                                                   int (*compare)(const void *, const void *))
{
    const struct envelope_record **sorted = memory_new(judging->count * sizeof *sorted);

    for (size_t i = 0; i < judging->count; i++)
        sorted[i] = &judging->records[i];
    qsort(sorted, judging->count, sizeof *sorted, compare);
    return sorted;
}

static const struct envelope_record *find(struct judging *judging,
                                          const struct identifier *identifier)
{
    const struct envelope_record ***sorted, **found;

    if (judging->count <= LINEAR_MAX) {
        for (size_t i = 0; i < judging->count; i++)
            if (!compare_identifier(identifier, &judging->records[i]))
                return &judging->records[i];
        return NULL;
    }
    sorted = identifier->is_message_id ? &judging->by_id
             : identifier->token       ? &judging->by_token
                                       : &judging->by_place;
    if (!*sorted)
        *sorted = sort_records(judging, identifier->is_message_id ? compare_ids
                                        : identifier->token       ? compare_tokens
                                                                  : compare_places);
    found = bsearch(identifier, *sorted, judging->count, sizeof **sorted, compare_for_search);
    return found ? *found : NULL;
}

/* ---- reading identifiers ---- */

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {"an object", "an array", "a string", "a whole number",
                                        "a number",  "true",     "false",    "null"};

    return value ? names[json_typeof(value)] : "missing";
}

static int read_position(const json_t *value, const char *name, struct identifier *identifier,
                         struct fault *fault)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return fault_set(fault, "itemIdentifier.%s is %s: expected a whole number from 0", name,
                         type_name(value));
    identifier->position = (uint64_t)json_integer_value(value);
    return 0;
}

/* {"partition":"topic-0","offset":100} */
static int read_kafka(const json_t *item, struct identifier *identifier, struct fault *fault)
{
    const json_t *partition = json_object_get(item, "partition");
    const char *text = json_string_value(partition), *digit;
    size_t size = json_string_length(partition), at = size;

    if (!json_is_object(item) || !text)
        return fault_set(fault,
                         "itemIdentifier is %s: expected "
                         "{\"partition\":\"topic-0\",\"offset\":100}",
                         json_is_object(item) ? "without a string `partition`" : type_name(item));
    while (at && text[at - 1] >= '0' && text[at - 1] <= '9')
        at--;
    digit = text + at;
    if (at < 2 || text[at - 1] != '-' || size - at < 1 || size - at > 10 ||
        (*digit == '0' && size - at > 1))
        return fault_set(fault, "itemIdentifier.partition is \"%.200s\": expected TOPIC-NUMBER",
                         text);
    identifier->source = text;
    identifier->source_size = at - 1;
    for (; at < size; at++)
        identifier->partition = identifier->partition * 10 + (text[at] - '0');
    return read_position(json_object_get(item, "offset"), "offset", identifier, fault);
}

/* "token" or {"source":"orders","partition":3,"position":100} */
static int read_own(const json_t *item, struct identifier *identifier, struct fault *fault)
{
    const json_t *source = json_object_get(item, "source");
    const json_t *partition = json_object_get(item, "partition");

    if (json_is_string(item) && json_string_length(item)) {
        identifier->token = json_string_value(item);
        identifier->token_size = json_string_length(item);
        return 0;
    }
    if (!json_is_object(item))
        return fault_set(fault,
                         "itemIdentifier is %s: expected the record's token, or "
                         "{\"source\":...,\"partition\":...,\"position\":...}",
                         json_is_string(item) ? "empty" : type_name(item));
    if (!json_is_string(source))
        return fault_set(fault, "itemIdentifier.source is %s: expected a string",
                         type_name(source));
    if (partition && !json_is_null(partition) && !json_is_integer(partition))
        return fault_set(fault, "itemIdentifier.partition is %s: expected a whole number or null",
                         type_name(partition));
    identifier->source = json_string_value(source);
    identifier->source_size = json_string_length(source);
    identifier->partition = json_is_integer(partition) ? json_integer_value(partition) : -1;
    return read_position(json_object_get(item, "position"), "position", identifier, fault);
}

static int judge_item(struct judging *judging, const json_t *item, struct fault *fault)
{
    const struct envelope_context *context = judging->context;
    const json_t *name = json_object_get(item, "itemIdentifier");
    const struct envelope_record *record;
    struct identifier identifier = {.partition = 0};
    bool is_kafka = context->format == ENVELOPE_LAMBDA && !strcmp(context->kind, "kafka");
    bool is_sqs = context->format == ENVELOPE_LAMBDA && !strcmp(context->kind, "sqs");

    if (!json_is_object(item))
        return fault_set(fault, "an item is %s: expected {\"itemIdentifier\":...}",
                         type_name(item));
    if (!name)
        return fault_set(fault, "an item has no `itemIdentifier`");
    if (is_kafka ? read_kafka(name, &identifier, fault) : read_own(name, &identifier, fault))
        return -1;
    identifier.is_message_id = is_sqs && identifier.token;
    record = find(judging, &identifier);
    if (!record && identifier.is_message_id) {
        identifier.is_message_id = false;
        record = find(judging, &identifier);
    }
    if (!record && identifier.token)
        return fault_set(fault, "it names \"%.200s\", which was not in the batch",
                         identifier.token);
    if (!record)
        return fault_set(fault, "it names partition %.*s-%lld at %llu, which was not in the batch",
                         (int)(identifier.source_size > 200 ? 200 : identifier.source_size),
                         identifier.source, (long long)identifier.partition,
                         (unsigned long long)identifier.position);
    if (judging->failed[record - judging->records])
        return fault_set(fault, "it names the record at %llu twice",
                         (unsigned long long)record->message->position);
    judging->failed[record - judging->records] = true;
    return 0;
}

/* ---- the answer as a whole ---- */

static enum reply_kind judge_items(struct judging *judging, const json_t *items,
                                   struct fault *fault)
{
    const json_t *item;
    size_t index;

    if (!json_is_array(items)) {
        fault_set(fault, "`batchItemFailures` is %s: expected an array", type_name(items));
        return REPLY_MALFORMED;
    }
    if (json_array_size(items) > judging->count) {
        fault_set(fault, "it names %zu failures for a batch of %zu", json_array_size(items),
                  judging->count);
        return REPLY_MALFORMED;
    }
    json_array_foreach(items, index, item)
    {
        if (judge_item(judging, item, fault)) {
            fault_prefix(fault, "item %zu of `batchItemFailures`", index + 1);
            return REPLY_MALFORMED;
        }
    }
    return index ? REPLY_PARTIAL : REPLY_DONE;
}

static enum reply_kind judge_document(struct judging *judging, const json_t *document,
                                      struct fault *fault)
{
    const json_t *items = json_object_get(document, "batchItemFailures");

    if (json_is_null(document) || json_is_null(items) ||
        (json_is_string(document) && !json_string_length(document)) ||
        (json_is_array(document) && !json_array_size(document)) ||
        (json_is_object(document) && !json_object_size(document)))
        return REPLY_DONE;
    if (items)
        return judge_items(judging, items, fault);
    if (json_is_object(document))
        fault_set(fault,
                  "the answer is an object without `batchItemFailures` (its first member is "
                  "`%.100s`): misspelt?",
                  json_object_iter_key(json_object_iter((json_t *)(uintptr_t)document)));
    else
        fault_set(fault, "the answer is %s: expected {\"batchItemFailures\":[...]} or nothing",
                  type_name(document));
    return REPLY_MALFORMED;
}

static bool is_blank(const char *body, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (body[i] != ' ' && body[i] != '\t' && body[i] != '\r' && body[i] != '\n')
            return false;
    return true;
}

enum reply_kind reply_judge(const struct envelope_context *context,
                            const struct envelope_record *records, size_t count, const char *body,
                            size_t body_size, bool *ret_failed, struct fault *fault)
{
    struct judging judging = {
        .context = context, .records = records, .count = count, .failed = ret_failed};
    enum reply_kind kind = REPLY_DONE;
    json_error_t error;
    json_t *document;

    memset(ret_failed, 0, count * sizeof *ret_failed);
    if (is_blank(body, body_size))
        return REPLY_DONE;
    document = json_loadb(body, body_size,
                          JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (document) {
        kind = judge_document(&judging, document, fault);
    } else {
        kind = REPLY_MALFORMED;
        fault_set(fault, "the answer is not JSON: %s at byte %d", error.text, error.position);
    }
    if (kind == REPLY_MALFORMED) /* nothing of a malformed answer counts */
        for (size_t i = 0; i < count; i++)
            ret_failed[i] = true;
    json_decref(document);
    free(judging.by_token);
    free(judging.by_id);
    free(judging.by_place);
    return kind;
}
