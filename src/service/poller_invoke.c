/* SPDX-License-Identifier: MIT
 * Invocations: from a batch to a request, from an answer to an outcome. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "core/reply.h"
#include "io/hash.h"
#include "service/poller_inside.h"
#include "service/replay_source.h"

#define BODY_MOST        ((size_t)1 << 30)
#define EXCERPT_SHOWN    120

/* ---- the records of a batch ---- */

static void reserve_records(struct poller *poller, size_t count)
{
    if (count <= poller->record_room)
        return;
    poller->record_room = count * 2;
    poller->records =
        memory_resize(poller->records, poller->record_room, sizeof *poller->records);
    poller->named = memory_resize(poller->named, poller->record_room, sizeof *poller->named);
}

size_t poller_collect_headers(struct poller *poller, const struct message *message, size_t used)
{
    size_t count, room = poller->header_room - used;

    count = poller_headers(poller, message, room ? poller->headers + used : NULL, room);
    if (count <= room)
        return count;
    poller->header_room = (used + count) * 2;
    poller->headers =
        memory_resize(poller->headers, poller->header_room, sizeof *poller->headers);
    return poller_headers(poller, message, poller->headers + used, count);
}

/* Positional tokens are written only where they are seen. */
static void add_token(struct poller *poller, const struct message *message)
{
    if (message->token)
        buffer_add(&poller->tokens, message->token, message->token_size);
    else
        message_add_position_token(message, message->lane ? message->lane->name : "",
                                   &poller->tokens);
}

/* Fills poller->records for the batch. With `tokens` false they stay empty. */
static size_t make_records(struct poller *poller, const struct batch *batch, bool with_headers,
                           bool with_tokens)
{
    size_t count = 0, used = 0;

    reserve_records(poller, batch->messages.count);
    buffer_reset(&poller->tokens);
    for (const struct message *message = batch->messages.first; message; message = message->next) {
        struct envelope_record *record = &poller->records[count++];
        size_t token_at = poller->tokens.size;

        *record = (struct envelope_record){
            .message = poller->context.replay && message->held
                           ? replay_source_message(message->source.handle)
                           : &message->source,
            .source = message->lane ? message->lane->source : "",
            .partition = message->lane ? message->lane->partition : -1,
            .attempt = message->source.delivery_count +
                       (message->history ? message->history->count : 0) + 1,
        };
        if (with_headers && message->source.has_headers && message->held)
            used += record->header_count = poller_collect_headers(poller, message, used);
        if (with_tokens)
            add_token(poller, message);
        record->token_size = poller->tokens.size - token_at;
    }
    used = 0;
    for (size_t i = 0, token_at = 0; i < count; i++) {
        poller->records[i].headers = poller->headers + used;
        used += poller->records[i].header_count;
        poller->records[i].token = poller->tokens.data + token_at;
        token_at += poller->records[i].token_size;
    }
    return count;
}

/* ---- the request ---- */

/* A Structured Fields string (RFC 9651 section 3.3.3): printable ASCII in quotes; other bytes are
 * percent-encoded. */
static void add_quoted(struct buffer *buffer, const char *text, size_t size)
{
    buffer_add(buffer, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];

        if (byte < 0x20 || byte > 0x7e) {
            buffer_format(buffer, "%%%02X", byte);
            continue;
        }
        if (byte == '"' || byte == '\\')
            buffer_add(buffer, "\\", 1);
        buffer_add(buffer, &text[i], 1);
    }
    buffer_add(buffer, "\"", 1);
}

/* The token of the one message; for several a name that is the same for the same messages. */
static void add_idempotency_key(struct poller *poller, struct buffer *headers, size_t count)
{
    buffer_add_text(headers, "Idempotency-Key: ");
    if (count == 1) {
        add_quoted(headers, poller->records[0].token, poller->records[0].token_size);
    } else {
        uint64_t hash[2];

        hash_fingerprint(poller->tokens.data, poller->tokens.size, hash);
        buffer_format(headers, "\"%s/%016" PRIx64 "%016" PRIx64 "\"", poller->mapping->name, hash[1],
                      hash[0]);
    }
    buffer_add(headers, "", 1);
}

static size_t make_headers(struct poller *poller, struct invocation *invocation, size_t count)
{
    struct buffer *headers = &invocation->headers;
    size_t texts = 0;

    buffer_reset(headers);
    buffer_format(headers, "Content-Type: %s",
                  envelope_content_type(&poller->envelope, poller->records));
    buffer_add(headers, "", 1);
    add_idempotency_key(poller, headers, count);
    buffer_format(headers, "Sluice-Mapping: %s", poller->mapping->name);
    buffer_add(headers, "", 1);
    buffer_format(headers, "Sluice-Attempt: %" PRIu32, poller->records[0].attempt);
    buffer_add(headers, "", 1);
    poller_trace_begin(poller, invocation, count);
    for (size_t at = 0; at < headers->size; at += strlen(headers->data + at) + 1)
        invocation->header_texts[texts++] = headers->data + at;
    return texts;
}

/* ---- the answer ---- */

static void finish(struct invocation *invocation, const struct outcome *outcome)
{
    struct poller *poller = invocation->poller;
    struct batch *batch = invocation->batch;

    invocation->batch = NULL;
    invocation->next = poller->idle;
    poller->idle = invocation;
    batch->invocation = NULL;
    poller_watch_outcome(poller, invocation, batch, outcome);
    poller_tap_outcome(poller, batch, outcome);
    poller_trace_end(poller, invocation, batch, outcome);
    engine_answer(poller->engine, batch, outcome, loop_now(poller->loop));
}

static void describe_status(const struct http_answer *answer, char *text, size_t room)
{
    int shown = answer->body_size > EXCERPT_SHOWN ? EXCERPT_SHOWN : (int)answer->body_size;
    int used = snprintf(text, room, "the function answered %" PRIu32 "%s%.*s", answer->status,
                        shown ? ": " : "", shown, answer->body ? answer->body : "");

    for (int i = 0; i < used && (size_t)i < room - 1; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = ' ';
}

/* Class and text of an answer, all but partial responses. */
static void judge(const struct http_answer *answer, struct outcome *outcome, char *text,
                  size_t room)
{
    switch (answer->end) {
    case HTTP_UNREACHABLE:
    case HTTP_CONNECT_TIMEOUT:
        outcome->class = OUTCOME_UNAVAILABLE;
        snprintf(text, room, "%s", answer->error);
        return;
    case HTTP_TIMEOUT:
    case HTTP_BROKEN:
    case HTTP_TOO_LARGE:
        outcome->class = OUTCOME_FAILED;
        snprintf(text, room, "%s", answer->error);
        return;
    case HTTP_ANSWERED:
        break;
    }
    outcome->class = outcome_of_status(answer->status);
    if (outcome->class != OUTCOME_DONE) {
        describe_status(answer, text, room);
    } else if (answer->function_error[0]) {
        outcome->class = OUTCOME_FAILED;
        snprintf(text, room, "the function failed: %s", answer->function_error);
    }
}

static void judge_reply(struct poller *poller, const struct batch *batch,
                        const struct http_answer *answer, struct outcome *outcome, char *text,
                        size_t room)
{
    size_t count = make_records(poller, batch, false, true);
    struct fault fault = {.text = ""};

    switch (reply_judge(&poller->envelope, poller->records, count, answer->body, answer->body_size,
                        poller->named, &fault)) {
    case REPLY_DONE:
        break;
    case REPLY_PARTIAL:
        outcome->named = poller->named;
        snprintf(text, room, "the function named it in batchItemFailures");
        break;
    case REPLY_MALFORMED:
        outcome->class = OUTCOME_FAILED;
        snprintf(text, room, "%s", fault.text);
        break;
    }
}

static void on_answer(void *argument, const struct http_answer *answer)
{
    struct invocation *invocation = argument;
    struct poller *poller = invocation->poller;
    char text[sizeof answer->error + 64] = "";
    struct outcome outcome = {
        .status = answer->status,
        .retry_after_us = answer->retry_after_us,
        .duration_us = answer->duration_us,
        .sent_wall_us = invocation->sent_wall_us,
        .error = text,
        .excerpt = answer->body,
        .excerpt_size = answer->body_size,
    };

    invocation->reached =
        answer->end != HTTP_UNREACHABLE && answer->end != HTTP_CONNECT_TIMEOUT;
    judge(answer, &outcome, text, sizeof text);
    if (outcome.class == OUTCOME_DONE && answer->body_size &&
        poller->mapping->rules.partial_response)
        judge_reply(poller, invocation->batch, answer, &outcome, text, sizeof text);
    finish(invocation, &outcome);
}

void poller_answer_refused(struct poller *poller)
{
    struct invocation *invocation;

    while ((invocation = poller->refused)) {
        struct outcome outcome = {
            .class = OUTCOME_POISON,
            .sent_wall_us = invocation->sent_wall_us,
            .error = invocation->refusal,
        };

        poller->refused = invocation->next;
        finish(invocation, &outcome);
    }
}

/* ---- sending ---- */

static struct invocation *take_invocation(struct poller *poller)
{
    struct invocation *invocation = poller->idle;

    if (invocation) {
        poller->idle = invocation->next;
        return invocation;
    }
    invocation = memory_zero(1, sizeof *invocation);
    invocation->poller = poller;
    invocation->older = poller->newest;
    poller->newest = invocation;
    buffer_init(&invocation->body, BODY_MOST);
    buffer_init(&invocation->headers, 1 << 16);
    return invocation;
}

void poller_invoke(void *argument, struct batch *batch)
{
    struct poller *poller = argument;
    struct invocation *invocation = take_invocation(poller);
    size_t count = make_records(poller, batch, true, true);
    struct http_request request = {.done = on_answer, .argument = invocation};
    struct fault fault = {.text = ""};

    invocation->batch = batch;
    invocation->reached = false;
    invocation->sent_wall_us = clock_wall();
    batch->invocation = invocation;
    buffer_reset(&invocation->body);
    envelope_write(&invocation->body, &poller->envelope, poller->records, count);
    request.header_count = make_headers(poller, invocation, count);
    request.headers = invocation->header_texts;
    request.body = invocation->body.data;
    request.body_size = invocation->body.size;
    if (invocation->body.full)
        fault_set(&fault, "the body would be larger than %zu bytes", BODY_MOST);
    else if (!http_client_send(poller->client, &request, &fault))
        return;
    snprintf(invocation->refusal, sizeof invocation->refusal, "%.*s",
             (int)sizeof invocation->refusal - 1, fault.text);
    invocation->next = poller->refused;
    poller->refused = invocation;
}

void poller_free_invocations(struct poller *poller)
{
    struct invocation *invocation;

    while ((invocation = poller->newest)) {
        poller->newest = invocation->older;
        buffer_fini(&invocation->body);
        buffer_fini(&invocation->headers);
        free(invocation->span);
        free(invocation);
    }
    free(poller->records);
    free(poller->named);
    free(poller->headers);
    buffer_fini(&poller->tokens);
}
