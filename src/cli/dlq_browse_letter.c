/* SPDX-License-Identifier: MIT */
#include "cli/dlq_browse_letter.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "cli/dlq_inside.h"
#include "core/filter.h"
#include "io/json_value.h"

/* ---- reading ---- */

static struct sluice_bytes header_of(const struct sluice_header *headers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (headers[i].name.size == strlen(name) &&
            !memcmp(headers[i].name.data, name, headers[i].name.size))
            return headers[i].value;
    return (struct sluice_bytes){NULL, 0};
}

static const char *keep(char **at, struct sluice_bytes bytes)
{
    char *kept = *at;

    if (bytes.size)
        memcpy(kept, bytes.data, bytes.size);
    kept[bytes.size] = '\0';
    *at += bytes.size + 1;
    return kept;
}

/* Texts that the letter has NUL-terminated: of headers and slices. */
static void keep_texts(struct browse_letter *letter, const struct sluice_header *headers, size_t count)
{
    const struct foreign *foreign = &letter->foreign;
    struct dead_letter *kept = &letter->letter;
    struct sluice_bytes id = header_of(headers, count, "sluice-id"),
                        mapping = header_of(headers, count, "sluice-mapping"),
                        revision = header_of(headers, count, "sluice-revision"),
                        connector = header_of(headers, count, "sluice-connector"), source, token;
    size_t room = mapping.size + revision.size + connector.size + 3;
    char *at;

    source = foreign->source.data ? foreign->source : (struct sluice_bytes){"", 0};
    token = foreign->token.data ? foreign->token : (struct sluice_bytes){"", 0};
    room += 2 * source.size + 16 + token.size + 3;
    at = letter->texts = memory_new(room);
    if (id.size == sizeof kept->id - 1)
        memcpy(kept->id, id.data, id.size);
    kept->mapping = keep(&at, mapping);
    kept->revision = keep(&at, revision);
    kept->connector = keep(&at, connector);
    kept->token = keep(&at, token);
    kept->token_size = token.size;
    kept->source = keep(&at, source);
    kept->lane = at;
    if (foreign->partition >= 0)
        snprintf(at, source.size + 16, "%.*s/%d", (int)source.size, (const char *)source.data,
                 (int)foreign->partition);
    else
        keep(&at, source);
}

void browse_letter_read(struct browse_letter *letter, const struct sluice_lane *lane,
                        const struct sluice_message *message, const struct sluice_header *headers,
                        size_t header_count)
{
    struct foreign *foreign = &letter->foreign;
    struct dead_letter *read = &letter->letter;

    *letter = (struct browse_letter){.lane = lane->name,
                                     .position = message->position,
                                     .written_wall_us = message->timestamp_ms * CLOCK_MS,
                                     .deliveries = message->delivery_count};
    foreign_read(message, headers, header_count, foreign);
    letter->by = foreign->by;
    *read = (struct dead_letter){
        .partition = foreign->partition,
        .position = foreign->position,
        .timestamp_kind = foreign->timestamp_kind,
        .message_wall_us = foreign->timestamp_ms * CLOCK_MS,
        .message_id = foreign->message_id,
        .class = foreign->class,
        .reason = foreign->reason,
        .status = foreign->status,
        .response = foreign->answer,
        .attempt_count = foreign->attempts,
        .dead_wall_us = foreign->failed_ms > 0 ? foreign->failed_ms * CLOCK_MS : letter->written_wall_us,
        .key = foreign->has_message ? foreign->key : message->key,
        .payload = foreign->has_message ? foreign->payload : message->payload,
        .headers = foreign->has_message ? foreign->headers : headers,
        .header_count = foreign->has_message ? foreign->header_count : header_count,
    };
    keep_texts(letter, headers, header_count);
}

void browse_letter_fini(struct browse_letter *letter)
{
    free(letter->texts);
    foreign_fini(&letter->foreign);
}

/* What a letter of the store has and one elsewhere cannot tell. */
static const char *const untold[] = {"attempts",      "replay_count", "last_replay",   "edit_count", "forced",
                                     "first_attempt", "last_attempt", "delivery_count", "identity"};

const char *browse_letter_fate(const struct dead_letter_collected *collected)
{
    static const char *const names[] = {[DEAD_LETTER_HERE] = "here",
                                        [DEAD_LETTER_DONE] = "replayed",
                                        [DEAD_LETTER_DISCARDED] = "discarded",
                                        [DEAD_LETTER_EXPIRED] = "expired"};

    return names[collected->fate];
}

static json_t *json_of_fate(const struct dead_letter_collected *collected)
{
    if (!collected)
        return json_null();
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "state", browse_letter_fate(collected), "id",
                     json_value_text(collected->id[0] ? collected->id : NULL), "replay_count",
                     json_integer(collected->replay_count), "last_replay",
                     dlq_json_time(collected->replayed_wall_us), "ended",
                     dlq_json_time(collected->ended_wall_us));
}

json_t *browse_letter_json(const struct browse_letter *letter,
                           const struct dead_letter_collected *collected)
{
    json_t *object = dlq_json_letter(&letter->letter, true);

    for (size_t i = 0; i < sizeof untold / sizeof untold[0]; i++)
        json_object_del(object, untold[i]);
    if (!letter->letter.id[0])
        json_object_set_new(object, "id", json_null());
    if (!letter->foreign.has_position)
        json_object_set_new(object, "position", json_null());
    json_object_set_new(object, "place",
                        json_pack("{s:o, s:o, s:o, s:o, s:o}", "lane", json_value_text(letter->lane),
                                  "position", json_value_unsigned(letter->position), "written",
                                  dlq_json_time(letter->written_wall_us), "delivery_count",
                                  json_integer(letter->deliveries), "by",
                                  json_value_text(letter->by)));
    json_object_set_new(object, "collected", json_of_fate(collected));
    return object;
}

/* ---- choosing ---- */

struct browse_filter {
    const struct dead_letter_query *query;
    bool has_error;
    regex_t error;
    struct filter *where;
    struct buffer scratch;
};

struct browse_filter *browse_filter_new(const struct dead_letter_query *query, struct fault *fault)
{
    struct browse_filter *filter = memory_zero(1, sizeof *filter);
    bool failed = false;

    filter->query = query;
    buffer_init(&filter->scratch, (size_t)1 << 30);
    if (query->error) {
        failed = regcomp(&filter->error, query->error, REG_EXTENDED | REG_NOSUB) != 0;
        if (failed)
            fault_set(fault, "\"%.100s\" is no regular expression", query->error);
        filter->has_error = !failed;
    }
    if (!failed && query->where) {
        filter->where = filter_compile_payload(query->where, fault);
        failed = !filter->where;
    }
    if (!failed)
        return filter;
    browse_filter_free(filter);
    return NULL;
}

void browse_filter_free(struct browse_filter *filter)
{
    if (!filter)
        return;
    if (filter->has_error)
        regfree(&filter->error);
    filter_free(filter->where);
    buffer_fini(&filter->scratch);
    free(filter);
}

static bool passes_numbers(const struct dead_letter_query *query, const struct dead_letter *letter)
{
    if (query->status && (letter->status < query->status ||
                          letter->status > (query->status_to ? query->status_to : query->status)))
        return false;
    return !(query->no_status && letter->status) && letter->attempt_count >= query->attempts_from &&
           (!query->attempts_to || letter->attempt_count <= query->attempts_to) &&
           letter->dead_wall_us >= query->since_wall_us &&
           (!query->until_wall_us || letter->dead_wall_us < query->until_wall_us);
}

static bool same(struct sluice_bytes a, struct sluice_bytes b)
{
    return a.data && b.data && a.size == b.size && !memcmp(a.data, b.data, a.size);
}

static bool passes_where(struct browse_filter *filter, const struct dead_letter *letter)
{
    const struct filter_message message = {.payload = letter->payload, .partition = -1};
    struct fault why;

    return filter_try(filter->where, &message, &filter->scratch, &why) == FILTER_YES;
}

bool browse_filter_passes_fate(const struct browse_filter *filter,
                               const struct dead_letter_collected *collected)
{
    bool replayed =
        collected && (collected->fate == DEAD_LETTER_DONE || collected->replay_count > 0);

    switch (filter->query->replayed) {
    case DEAD_LETTER_REPLAYED:
        return replayed;
    case DEAD_LETTER_NEVER_REPLAYED:
        return !replayed;
    default:
        return true;
    }
}

bool browse_filter_passes(struct browse_filter *filter, const struct dead_letter *letter)
{
    const struct dead_letter_query *query = filter->query;
    const struct sluice_bytes token = {letter->token, dead_letter_token_size(letter)};

    if (!passes_numbers(query, letter) ||
        (query->class_name && strcmp(dead_letter_class_name(letter->class), query->class_name)) ||
        (query->key.data && !same(query->key, letter->key)) ||
        (query->token && !same((struct sluice_bytes){query->token, strlen(query->token)}, token)))
        return false;
    if (filter->has_error && regexec(&filter->error, letter->reason, 0, NULL, 0) != 0)
        return false;
    return !filter->where || passes_where(filter, letter);
}
