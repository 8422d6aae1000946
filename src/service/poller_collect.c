/* SPDX-License-Identifier: MIT
 * Letters about messages that something else gave up on (`receive: dead_letters`). */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "core/foreign.h"
#include "io/hash.h"
#include "service/poller_inside.h"

static void set_text(const char **text, struct sluice_bytes bytes)
{
    free((void *)(uintptr_t)*text);
    *text = memory_text_n(bytes.data, bytes.size);
}

static void set_bytes(struct sluice_bytes *bytes, struct sluice_bytes from)
{
    struct sluice_bytes copy = {from.data ? memory_new(from.size) : NULL, from.size};

    if (from.data && from.size)
        memcpy((void *)(uintptr_t)copy.data, from.data, from.size);
    free((void *)(uintptr_t)bytes->data);
    *bytes = copy;
}

/* The last to be set: what the story tells may be within the headers that are freed. */
static void set_headers(struct dead_letter *letter, const struct foreign *foreign)
{
    struct sluice_header *headers = memory_zero(foreign->header_count + 1, sizeof *headers);

    for (size_t i = 0; i < foreign->header_count; i++) {
        set_bytes(&headers[i].name, foreign->headers[i].name);
        set_bytes(&headers[i].value, foreign->headers[i].value);
    }
    for (size_t i = 0; i < letter->header_count; i++) {
        free((void *)(uintptr_t)letter->headers[i].name.data);
        free((void *)(uintptr_t)letter->headers[i].value.data);
    }
    free((void *)(uintptr_t)letter->headers);
    letter->headers = headers;
    letter->header_count = foreign->header_count;
}

/* Where it was before it was given up; else it stays where it was found. */
static void set_place(struct dead_letter *letter, const struct foreign *foreign)
{
    char *lane;

    if (!foreign->source.data)
        return;
    set_text(&letter->source, foreign->source);
    letter->partition = foreign->partition;
    lane = letter->partition < 0 ? memory_text(letter->source)
                                 : memory_format("%s/%d", letter->source, letter->partition);
    free((void *)(uintptr_t)letter->lane);
    letter->lane = lane;
    if (foreign->has_position)
        letter->position = foreign->position;
}

/* A log keeps what was collected: who looks there may ask what became of it. */
static void set_found(struct dead_letter *letter, const struct sluice_message *message)
{
    letter->found_lane = memory_text(letter->lane);
    letter->found_position = message->position;
    letter->found_wall_us = message->timestamp_ms * CLOCK_MS;
}

static void take_token(struct dead_letter *letter, struct sluice_bytes token)
{
    set_text(&letter->token, token);
    letter->token_size = token.size;
}

/* By the mapping's rule, from the message as it was. */
static void set_token(struct poller *poller, struct dead_letter *letter, bool has_place)
{
    const struct token_settings *settings = token_rule_settings(poller->token_rule);
    struct sluice_message message = dead_letter_message(letter);
    struct buffer *token = &poller->tokens;
    struct fault why;
    char hash[64];

    buffer_reset(token);
    if (settings->source == TOKEN_HASH) {
        hash_sha256(letter->payload.data, letter->payload.size, hash);
        buffer_add(token, hash, sizeof hash);
    } else if (token_rule_is_positional(poller->token_rule) ||
               !token_find(poller->token_rule, &message, letter->headers, letter->header_count, token,
                           &why)) {
        if (!has_place)
            return; /* as it is: by the place where it was found */
        buffer_reset(token);
        buffer_format(token, "%s/%llu", letter->lane, (unsigned long long)letter->position);
    }
    take_token(letter, (struct sluice_bytes){token->data, token->size});
}

void poller_collect(struct poller *poller, const struct message *message,
                    struct dead_letter *letter)
{
    struct foreign foreign;
    bool told, has_place;

    foreign_read(&message->source, letter->headers, letter->header_count, &foreign);
    told = foreign.token.data && foreign.token.size;
    has_place = foreign.source.data && foreign.has_position;
    letter->class = foreign.class;
    if (poller->mapping->capabilities & SLUICE_CAN_SETTLE_UP_TO)
        set_found(letter, &message->source);
    set_place(letter, &foreign);
    if (foreign.timestamp_kind != SLUICE_TIMESTAMP_NONE || foreign.is_whole) {
        letter->message_wall_us = foreign.timestamp_ms * CLOCK_MS;
        letter->timestamp_kind = foreign.timestamp_kind;
    }
    if (foreign.is_whole)
        set_bytes(&letter->message_id, foreign.message_id);
    if (foreign.failed_ms > 0)
        letter->first_wall_us = letter->last_wall_us = foreign.failed_ms * CLOCK_MS;
    letter->status = foreign.status;
    letter->attempt_count = foreign.attempts;
    letter->delivery_count = 0; /* those of the place where it was found */
    if (foreign.answer.data)
        set_bytes(&letter->response, foreign.answer);
    if (letter->response.size > DEAD_LETTER_EXCERPT)
        letter->response.size = DEAD_LETTER_EXCERPT;
    if (foreign.reason[0])
        set_text(&letter->reason, (struct sluice_bytes){foreign.reason, strlen(foreign.reason)});
    if (told)
        take_token(letter, foreign.token);
    if (foreign.has_message) {
        set_bytes(&letter->key, foreign.key);
        set_bytes(&letter->payload, foreign.payload);
        set_headers(letter, &foreign);
    }
    if (!told)
        set_token(poller, letter, has_place);
    foreign_fini(&foreign);
}
