/* SPDX-License-Identifier: MIT
 * AWS's record of a failure (AWS Lambda developer guide, "Kafka on-failure destinations"). */
#include "core/letter_story.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "core/envelope.h"

static void add_text(struct buffer *out, const char *text)
{
    size_t size = strlen(text);

    if (!buffer_reserve(out, json_text_size(text, size) + 2))
        return;
    out->data[out->size++] = '"';
    out->size = (size_t)(json_text_write(out->data + out->size, text, size) - out->data);
    out->data[out->size++] = '"';
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
    buffer_add_text(out, "\"payload\":");
    envelope_write(out, &context, &record, 1);
    buffer_add_text(out, "}");
}
