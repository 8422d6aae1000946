/* SPDX-License-Identifier: MIT
 * Verdicts on their way to the recorder and back. One job of each kind at a time: what comes
 * meanwhile goes with the next, so that a busy poller writes few and large ones. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "service/poller_inside.h"
#include "service/replay_source.h"

#define LETTERS_MOST      100
#define LETTERS_BYTES     ((size_t)8 << 20)
#define RETRY_US          CLOCK_SECOND
#define TELL_AGAIN_US     (60 * CLOCK_SECOND)

void poller_submit(struct poller *poller, struct recording *recording)
{
    recording->busy = true;
    recording->job.reply_to = &poller->mailbox;
    if (recording == &poller->dead && poller->context.publisher)
        publisher_submit(poller->context.publisher, &recording->job);
    else
        recorder_submit(poller->context.recorder, &recording->job);
}

/* ---- tokens and lanes ---- */

/* Lane and position; of a long name only its beginning. */
static void write_place(const struct message *message, struct token_record *record)
{
    const char *lane = message->lane ? message->lane->name : "";
    size_t size = strnlen(lane, sizeof record->place - BUFFER_DIGITS - 2);
    char *out = record->place + size;

    memcpy(record->place, lane, size);
    *out++ = '/';
    *buffer_put_unsigned(out, message->source.position) = '\0';
}

static size_t make_tokens(struct poller *poller, struct recording *recording)
{
    int64_t now_us = clock_wall();
    size_t count = 0;

    if (token_rule_is_positional(poller->token_rule) && !poller->park.out)
        return 0;
    if (recording->messages.count > recording->token_room) {
        recording->token_room = recording->messages.count;
        recording->tokens =
            memory_resize(recording->tokens, recording->token_room, sizeof *recording->tokens);
    }
    for (struct message *message = recording->messages.first; message; message = message->next) {
        struct token_record *record = &recording->tokens[count];

        if (!message->token || message->verdict != VERDICT_DONE)
            continue;
        *record = (struct token_record){
            .mapping = poller->mapping->name,
            .token = message->token,
            .token_size = message->token_size,
            .fingerprint = {message->fingerprint[0], message->fingerprint[1]},
            .recorded_wall_us = now_us,
            .expires_wall_us = now_us + poller->mapping->rules.token.ttl_us,
        };
        write_place(message, record);
        count++;
    }
    return count;
}

static size_t make_lanes(struct poller *poller, struct recording *recording)
{
    /* What is the source's memory is not forgotten. */
    int64_t expires_us = poller_is_memory(poller)
                             ? INT64_MAX
                             : clock_wall() + poller->mapping->rules.token.ttl_us;
    struct lane *lane = NULL;
    size_t count = 0;

    for (struct message *message = recording->messages.first; message; message = message->next)
        if (message->lane)
            message->lane->to_record = true;
    buffer_reset(&recording->values);
    while ((lane = engine_next_lane(poller->engine, lane))) {
        size_t at = recording->values.size;

        if (!lane->to_record || lane->parked)
            continue;
        lane->to_record = false;
        lane->recording = true;
        recording->lanes = memory_resize(recording->lanes, count + 1, sizeof *recording->lanes);
        lane_record_write(lane, &recording->values);
        buffer_add(&recording->values, lane->name, strlen(lane->name) + 1);
        recording->lanes[count++] = (struct lane_record){
            .mapping = poller->mapping->name,
            .value_size = recording->values.size - at - strlen(lane->name) - 1,
            .expires_wall_us = expires_us,
        };
    }
    for (size_t i = 0, at = 0; i < count; i++) {
        recording->lanes[i].value = recording->values.data + at;
        recording->lanes[i].lane = recording->values.data + at + recording->lanes[i].value_size;
        at += recording->lanes[i].value_size + strlen(recording->lanes[i].lane) + 1;
    }
    poller->lanes_to_record = false;
    return count;
}

static void record_finished(struct poller *poller)
{
    struct recording *recording = &poller->finished;

    engine_take_finished(poller->engine, &recording->messages);
    if (!recording->messages.count && !poller->lanes_to_record && !poller->park.orphan_count)
        return;
    recording->job.token_count = make_tokens(poller, recording);
    recording->job.tokens = recording->tokens;
    recording->job.lane_count = poller_keeps_positions(poller) ? make_lanes(poller, recording) : 0;
    recording->job.lanes = recording->lanes;
    recording->job.unparked_count = poller_park_list_done(poller, recording);
    recording->job.unparked = recording->numbers;
    if (recording->job.token_count || recording->job.lane_count || recording->job.unparked_count)
        poller_submit(poller, recording);
    else
        engine_durable(poller->engine, &recording->messages);
}

static void note_recorded(struct poller *poller)
{
    struct lane *lane = NULL;

    while ((lane = engine_next_lane(poller->engine, lane))) {
        if (lane->recording && !lane->recorded)
            poller->readable = true; /* its connector may wait for that */
        lane->recorded = lane->recorded || lane->recording;
        lane->recording = false;
    }
}

/* ---- dead letters ---- */

static void *copy(const void *data, size_t size)
{
    void *bytes = memory_new(size);

    if (size)
        memcpy(bytes, data, size);
    return bytes;
}

static struct sluice_bytes copy_bytes(struct sluice_bytes bytes)
{
    return bytes.data ? (struct sluice_bytes){copy(bytes.data, bytes.size), bytes.size}
                      : (struct sluice_bytes){NULL, 0};
}

static void copy_headers(struct poller *poller, const struct message *message,
                         struct dead_letter *letter)
{
    struct sluice_header *headers;
    size_t count;

    if (!message->source.has_headers)
        return;
    count = poller_headers(poller, message, NULL, 0);
    headers = memory_zero(count, sizeof *headers);
    poller_headers(poller, message, headers, count);
    for (size_t i = 0; i < count; i++) {
        headers[i].name = copy_bytes(headers[i].name);
        headers[i].value = copy_bytes(headers[i].value);
    }
    letter->headers = headers;
    letter->header_count = count;
}

static void copy_history(const struct message *message, struct dead_letter *letter)
{
    const struct history *history = message->history;
    struct dead_letter_attempt *attempts;
    const struct attempt *last;

    letter->reason = memory_text(message->reason ? message->reason : "");
    letter->first_wall_us = letter->last_wall_us = letter->dead_wall_us;
    if (!history)
        return;
    attempts = memory_zero(history->kept, sizeof *attempts);
    for (uint32_t i = 0; i < history->kept; i++)
        attempts[i] = history->attempts[i]->record;
    last = history->attempts[history->kept - 1];
    letter->attempts = attempts;
    letter->attempts_kept = history->kept;
    letter->attempt_count = history->count;
    letter->status = last->record.status;
    letter->response =
        copy_bytes((struct sluice_bytes){last->excerpt_size ? last->excerpt : NULL,
                                         last->excerpt_size});
    letter->first_wall_us = history->first_wall_us;
    letter->last_wall_us = last->record.wall_us;
}

static char *copy_token(struct poller *poller, const struct message *message, size_t *ret_size)
{
    if (message->token) {
        *ret_size = message->token_size;
        return memory_text_n(message->token, message->token_size);
    }
    buffer_reset(&poller->tokens);
    message_add_position_token(message, message->lane->name, &poller->tokens);
    *ret_size = poller->tokens.size;
    return memory_text_n(poller->tokens.data, poller->tokens.size);
}

void poller_make_letter(struct poller *poller, const struct message *message,
                        struct dead_letter *letter)
{
    size_t token_size;
    char *token = copy_token(poller, message, &token_size);

    *letter = (struct dead_letter){
        .mapping = poller->mapping->name,
        .revision = poller->mapping->revision,
        .connector = poller->connector->name,
        .lane = memory_text(message->lane->name),
        .source = memory_text(message->lane->source),
        .partition = message->lane->partition,
        .position = message->source.position,
        .message_wall_us = message->source.timestamp_ms * CLOCK_MS,
        .timestamp_kind = message->source.timestamp_kind,
        .delivery_count = message->source.delivery_count,
        .message_id = copy_bytes(message->source.message_id),
        .identity = copy_bytes(message->source.identity),
        .token = token,
        .token_size = token_size,
        .key = copy_bytes(message->source.key),
        .payload = copy_bytes(message->source.payload),
        .class = message->dead_class,
        .dead_wall_us = clock_wall(),
    };
    copy_headers(poller, message, letter);
    copy_history(message, letter);
    if (poller->context.replay)
        replay_source_name(message->source.handle, letter);
    else if (message->dead_class == DEAD_FOREIGN)
        poller_collect(poller, message, letter);
}

void poller_free_letter(struct dead_letter *letter)
{
    for (size_t i = 0; i < letter->header_count; i++) {
        free((void *)(uintptr_t)letter->headers[i].name.data);
        free((void *)(uintptr_t)letter->headers[i].value.data);
    }
    free((void *)(uintptr_t)letter->headers);
    free((void *)(uintptr_t)letter->lane);
    free((void *)(uintptr_t)letter->found_lane);
    free((void *)(uintptr_t)letter->source);
    free((void *)(uintptr_t)letter->token);
    free((void *)(uintptr_t)letter->message_id.data);
    free((void *)(uintptr_t)letter->identity.data);
    free((void *)(uintptr_t)letter->key.data);
    free((void *)(uintptr_t)letter->payload.data);
    free((void *)(uintptr_t)letter->response.data);
    free((void *)(uintptr_t)letter->reason);
    free((void *)(uintptr_t)letter->attempts);
}

static void free_letters(struct recording *recording)
{
    for (size_t i = 0; i < recording->job.letter_count; i++)
        poller_free_letter(&recording->letters[i]);
    recording->job.letter_count = 0;
}

static void record_dead(struct poller *poller)
{
    struct recording *recording = &poller->dead;
    size_t count = 0;

    engine_take_dead(poller->engine, LETTERS_MOST, LETTERS_BYTES, &recording->messages);
    if (!recording->messages.count)
        return;
    recording->letters = memory_resize(recording->letters, recording->messages.count,
                                       sizeof *recording->letters);
    for (struct message *message = recording->messages.first; message; message = message->next)
        poller_make_letter(poller, message, &recording->letters[count++]);
    recording->job.letters = recording->letters;
    recording->job.letter_count = count;
    poller_submit(poller, recording);
}

/* ---- both ---- */

static bool idle_or_due(const struct recording *recording, int64_t now_us)
{
    return !recording->busy && (!recording->failing || now_us >= recording->retry_us);
}

void poller_record(struct poller *poller, int64_t now_us)
{
    if (idle_or_due(&poller->dead, now_us)) {
        if (poller->dead.failing)
            poller_submit(poller, &poller->dead);
        else
            record_dead(poller);
    }
    if (idle_or_due(&poller->parked, now_us)) {
        if (poller->parked.failing)
            poller_submit(poller, &poller->parked);
        else
            poller_park_record(poller, &poller->parked);
    }
    if (idle_or_due(&poller->finished, now_us)) {
        if (poller->finished.failing)
            poller_submit(poller, &poller->finished);
        else
            record_finished(poller);
    }
}

static void tell_failure(struct poller *poller, struct recording *recording, int64_t now_us)
{
    const char *event = recording == &poller->dead     ? "dead_letters_stuck"
                        : recording == &poller->parked ? "parking_stuck"
                                                       : "records_stuck";

    recording->failing = true;
    recording->retry_us = now_us + RETRY_US;
    if (recording->told_us && now_us - recording->told_us < TELL_AGAIN_US)
        return;
    recording->told_us = now_us;
    log_event(LOG_ERROR, event,
              LOG_TEXT("mapping", poller->mapping->name),
              LOG_NUMBER("messages", (int64_t)recording->messages.count),
              LOG_TEXT("error", recording->job.fault.text),
              LOG_TEXT("effect", "nothing of them is settled; it is tried again every second"));
}

bool poller_recorded(struct poller *poller, struct mailbox_item *item, int64_t now_us)
{
    struct recording *recording = item == &poller->finished.job.item ? &poller->finished
                                  : item == &poller->dead.job.item   ? &poller->dead
                                  : item == &poller->parked.job.item ? &poller->parked
                                                                     : NULL;

    if (!recording)
        return false;
    recording->busy = false;
    if (recording->job.failed) {
        tell_failure(poller, recording, now_us);
        return true;
    }
    if (recording->failing)
        log_event(LOG_INFO,
                  recording == &poller->dead     ? "dead_letters_written"
                  : recording == &poller->parked ? "parking_written"
                                                 : "records_written",
                  LOG_TEXT("mapping", poller->mapping->name));
    recording->failing = false;
    recording->told_us = 0;
    if (recording == &poller->dead) {
        free_letters(recording);
        engine_buried(poller->engine, &recording->messages);
    } else if (recording == &poller->parked) {
        poller_park_free_rows(recording);
        engine_parked(poller->engine, &recording->messages);
    } else {
        note_recorded(poller);
        engine_durable(poller->engine, &recording->messages);
    }
    return true;
}

int64_t poller_record_again_us(const struct poller *poller)
{
    int64_t at_us = CLOCK_NEVER;

    if (poller->finished.failing && !poller->finished.busy)
        at_us = poller->finished.retry_us;
    if (poller->dead.failing && !poller->dead.busy && poller->dead.retry_us < at_us)
        at_us = poller->dead.retry_us;
    if (poller->parked.failing && !poller->parked.busy && poller->parked.retry_us < at_us)
        at_us = poller->parked.retry_us;
    return at_us;
}

bool poller_recording(const struct poller *poller)
{
    return poller->finished.busy || poller->dead.busy || poller->parked.busy;
}

static void free_recording(struct recording *recording)
{
    free_letters(recording);
    poller_park_free_rows(recording);
    free(recording->rows);
    free(recording->numbers);
    free(recording->tokens);
    free(recording->lanes);
    free(recording->letters);
    buffer_fini(&recording->values);
}

void poller_free_recordings(struct poller *poller)
{
    free_recording(&poller->finished);
    free_recording(&poller->dead);
    free_recording(&poller->parked);
}
