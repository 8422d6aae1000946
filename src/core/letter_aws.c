/* SPDX-License-Identifier: MIT
 * AWS's record of a failure (AWS Lambda developer guide, "Kafka on-failure destinations"), and beside what
 * AWS puts into it a member `sluice`, from which the letter is had back as it was (foreign_record.c):
 *   {"letter":{"id":...,"mapping":...,"revision":...,"class":...,"error":...,"status":500,"attempts":5,
 *      "token":T,"connector":...,"source":...,"partition":3,"position":"4711","timestamp":<ms>,
 *      "timestampKind":"created","lastFailure":"2026-01-31T08:00:00.000Z","response":T,"messageId":T,
 *      "key":T,"headers":[{"name":T,"value":T}]},
 *    "payload":T}           only where the event does not have it byte by byte
 * T is a string where the bytes are UTF-8 without NUL (which stores of JSON refuse, as PostgreSQL's jsonb),
 * {"base64":"..."} where not, null where absent; partition, and timestamp with its kind, are left out where
 * there is none. */
#include "core/letter_story.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "core/envelope_shapes.h"

static void add_text(struct buffer *out, const char *text)
{
    buffer_add_text(out, "\"");
    envelope_add_text(out, text, strlen(text));
    buffer_add_text(out, "\"");
}

static const char *condition(enum dead_letter_class class)
{
    switch (class) {
    case DEAD_ATTEMPTS:
    case DEAD_POISON:
    case DEAD_NAMED:
    case DEAD_PATIENCE:
        return "RetryAttemptsExhausted";
    case DEAD_AGE:
        return "RecordAgeExceeded";
    case DEAD_TOO_LARGE:
        return "MaximumPayloadSizeExceeded";
    default: /* what AWS has no word for */
        return dead_letter_class_name(class);
    }
}

static void add_contexts(struct buffer *out, const struct dead_letter *letter,
                         const struct letter_place *place)
{
    char time[LETTER_TIME];

    buffer_add_text(out, "{\"requestContext\":{\"requestId\":");
    add_text(out, letter->id);
    buffer_add_text(out, ",\"functionArn\":");
    add_text(out, place->target);
    buffer_format(out, ",\"condition\":\"%s\",\"approximateInvokeCount\":%" PRIu32 "},",
                  condition(letter->class), letter->attempt_count);
    if (letter->status && letter->class != DEAD_AGE && letter->class != DEAD_TOO_LARGE)
        buffer_format(out,
                      "\"responseContext\":{\"statusCode\":%" PRIu32
                      ",\"executedVersion\":\"$LATEST\",\"functionError\":%s},",
                      letter->status, letter->class == DEAD_NAMED ? "null" : "\"Unhandled\"");
    else if (letter->class != DEAD_AGE)
        buffer_add_text(out, "\"responseContext\":null,");
    buffer_format(out, "\"version\":\"1.0\",\"timestamp\":\"%s\",",
                  letter_time(letter->last_wall_us, time));
}

static void add_batch(struct buffer *out, const struct dead_letter *letter,
                      const struct letter_place *place)
{
    bool kafka = strcmp(place->source_connector, "kafka") == 0;
    char time[LETTER_TIME];

    buffer_format(out, "\"%s\":{\"batchSize\":1,\"eventSourceArn\":",
                  kafka ? "KafkaBatchInfo" : "MessageBatchInfo");
    add_text(out, letter->lane);
    buffer_add_text(out, kafka ? ",\"bootstrapServers\":" : ",\"servers\":");
    add_text(out, place->servers);
    buffer_format(out, ",\"payloadSize\":%zu,\"recordInfo\":{\"%s\":\"%" PRIu64 "\"",
                  letter->payload.size, kafka ? "offset" : "position", letter->position);
    if (letter->message_wall_us)
        buffer_format(out, ",\"timestamp\":\"%s\"", letter_time(letter->message_wall_us, time));
    buffer_add_text(out, "}},");
}

/* ---- the letter as it was ---- */

void letter_add_bytes(struct buffer *out, const struct sluice_bytes *bytes)
{
    if (!bytes->data || !memchr(bytes->data, '\0', bytes->size)) {
        envelope_add_text_or_base64(out, bytes);
        return;
    }
    buffer_add_text(out, "{\"base64\":\"");
    envelope_add_base64(out, bytes);
    buffer_add_text(out, "\"}");
}

/* Whether AWS's event has the payload so that it can be had back. */
static bool event_has_payload(const struct dead_letter *letter, const struct letter_place *place)
{
    const struct sluice_bytes *payload = &letter->payload;

    if (!payload->data || !envelope_has_lambda(place->source_connector))
        return false;
    return strcmp(place->source_connector, "sqs") != 0 || /* the others have it in base64 */
           json_text_is_utf8(payload->data, payload->size);
}

static void add_member(struct buffer *out, const char *name, const char *text)
{
    buffer_add_text(out, name);
    add_text(out, text ? text : "");
}

static void add_headers(struct buffer *out, const struct dead_letter *letter)
{
    buffer_add_text(out, ",\"headers\":[");
    for (size_t i = 0; i < letter->header_count; i++) {
        buffer_add_text(out, i ? ",{\"name\":" : "{\"name\":");
        letter_add_bytes(out, &letter->headers[i].name);
        buffer_add_text(out, ",\"value\":");
        letter_add_bytes(out, &letter->headers[i].value);
        buffer_add_text(out, "}");
    }
    buffer_add_text(out, "]");
}

static void add_letter(struct buffer *out, const struct dead_letter *letter)
{
    const struct sluice_bytes token = {letter->token, dead_letter_token_size(letter)};
    char time[LETTER_TIME];

    add_member(out, "{\"id\":", letter->id);
    add_member(out, ",\"mapping\":", letter->mapping);
    add_member(out, ",\"revision\":", letter->revision);
    add_member(out, ",\"class\":", dead_letter_class_name(letter->class));
    add_member(out, ",\"error\":", letter->reason);
    buffer_format(out, ",\"status\":%" PRIu32 ",\"attempts\":%" PRIu32 ",\"token\":", letter->status,
                  letter->attempt_count);
    letter_add_bytes(out, &token);
    add_member(out, ",\"connector\":", letter->connector);
    add_member(out, ",\"source\":", letter->source);
    if (letter->partition >= 0)
        buffer_format(out, ",\"partition\":%" PRId32, letter->partition);
    buffer_format(out, ",\"position\":\"%" PRIu64 "\"", letter->position);
    if (letter->timestamp_kind != SLUICE_TIMESTAMP_NONE)
        buffer_format(out, ",\"timestamp\":%" PRId64 ",\"timestampKind\":\"%s\"",
                      letter->message_wall_us / CLOCK_MS,
                      letter->timestamp_kind == SLUICE_TIMESTAMP_APPENDED ? "appended" : "created");
    add_member(out, ",\"lastFailure\":", letter_time(letter->last_wall_us, time));
    buffer_add_text(out, ",\"response\":");
    letter_add_bytes(out, &letter->response);
    buffer_add_text(out, ",\"messageId\":");
    letter_add_bytes(out, &letter->message_id);
    buffer_add_text(out, ",\"key\":");
    letter_add_bytes(out, &letter->key);
    add_headers(out, letter);
    buffer_add_text(out, "}");
}

static void add_own(struct buffer *out, const struct dead_letter *letter,
                    const struct letter_place *place)
{
    buffer_add_text(out, "\"sluice\":{\"letter\":");
    add_letter(out, letter);
    if (!event_has_payload(letter, place)) {
        buffer_add_text(out, ",\"payload\":");
        letter_add_bytes(out, &letter->payload);
    }
    buffer_add_text(out, "},");
}

void letter_aws_write(struct buffer *out, const struct dead_letter *letter,
                      const struct letter_place *place)
{
    struct sluice_message message = dead_letter_message(letter);
    const struct envelope_context context = {
        .format = envelope_has_lambda(place->source_connector) ? ENVELOPE_LAMBDA : ENVELOPE_JSON,
        .mapping = letter->mapping,
        .kind = place->source_connector,
        .servers = place->servers,
    };
    const struct envelope_record record = {
        .message = &message,
        .headers = letter->headers,
        .header_count = letter->header_count,
        .source = letter->source,
        .partition = letter->partition,
        .token = letter->token,
        .token_size = dead_letter_token_size(letter),
        .attempt = letter->attempt_count ? letter->attempt_count : 1,
    };

    add_contexts(out, letter, place);
    add_batch(out, letter, place);
    add_own(out, letter, place);
    buffer_add_text(out, "\"payload\":");
    envelope_write(out, &context, &record, 1);
    buffer_add_text(out, "}");
}
