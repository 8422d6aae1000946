/* SPDX-License-Identifier: MIT */
#include "service/replay_letter.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define FORCED_ROOM 16 /* `~`, a number and NUL */

static size_t size_of(struct sluice_bytes bytes)
{
    return bytes.data ? bytes.size : 0;
}

static struct sluice_bytes take_copy(char **at, struct sluice_bytes bytes)
{
    struct sluice_bytes copy = {bytes.data ? *at : NULL, bytes.size};

    if (bytes.data && bytes.size)
        memcpy(*at, bytes.data, bytes.size);
    *at += size_of(bytes);
    return copy;
}

struct replay_letter *replay_letter_copy(const struct dead_letter *letter)
{
    size_t token = dead_letter_token_size(letter) + FORCED_ROOM;
    size_t headers = letter->header_count * sizeof *letter->headers;
    struct sluice_message message = dead_letter_message(letter);
    size_t size = token + size_of(message.key) + size_of(message.payload) +
                  size_of(message.identity) + size_of(message.message_id);
    struct replay_letter *copy;
    char *at;

    for (size_t i = 0; i < letter->header_count; i++)
        size += size_of(letter->headers[i].name) + size_of(letter->headers[i].value);
    copy = memory_new(sizeof *copy + headers + size);
    *copy = (struct replay_letter){
        .number = letter->dead_wall_us,
        .edits = letter->edit_count,
        .headers = (struct sluice_header *)(copy + 1),
        .header_count = letter->header_count,
        .message = message,
    };
    memcpy(copy->id, letter->id, sizeof copy->id);
    at = (char *)(copy + 1) + headers;
    copy->token = (struct sluice_bytes){at, dead_letter_token(letter, at, token)};
    at += token;
    copy->message.key = take_copy(&at, message.key);
    copy->message.payload = take_copy(&at, message.payload);
    copy->message.identity = take_copy(&at, message.identity);
    copy->message.message_id = take_copy(&at, message.message_id);
    for (size_t i = 0; i < letter->header_count; i++) {
        copy->headers[i].name = take_copy(&at, letter->headers[i].name);
        copy->headers[i].value = take_copy(&at, letter->headers[i].value);
    }
    return copy;
}

struct reading {
    struct replay_pick *picks[REPLAY_PICKS]; /* by number */
    size_t at, count;
    size_t bytes;
    bool full;
};

static int by_number(const void *one, const void *other)
{
    int64_t a = (*(struct replay_pick *const *)one)->number;
    int64_t b = (*(struct replay_pick *const *)other)->number;

    return (a > b) - (a < b);
}

static int keep_copy(void *argument, const struct dead_letter *letter)
{
    struct reading *reading = argument;
    struct replay_pick *pick;
    size_t size;

    while (reading->picks[reading->at]->number < letter->dead_wall_us)
        reading->picks[reading->at++]->state = REPLAY_GONE;
    pick = reading->picks[reading->at++];
    pick->letter = replay_letter_copy(letter);
    pick->state = REPLAY_READ;
    size = pick->letter->message.key.size + pick->letter->message.payload.size;
    reading->full = size >= reading->bytes;
    reading->bytes -= reading->full ? 0 : size;
    return reading->full;
}

static void unread(struct replay_pick *picks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(picks[i].letter);
        picks[i].letter = NULL;
        picks[i].state = REPLAY_UNREAD;
    }
}

static int read_in_order(struct dead_letter_store *store, struct replay_pick *picks, size_t count,
                         size_t bytes, struct fault *fault)
{
    struct reading reading = {.count = count, .bytes = bytes};
    int64_t numbers[REPLAY_PICKS];

    for (size_t i = 0; i < count; i++)
        reading.picks[i] = &picks[i];
    qsort(reading.picks, count, sizeof reading.picks[0], by_number);
    for (size_t i = 0; i < count; i++)
        numbers[i] = reading.picks[i]->number;
    if (store->ops->read_messages(store, numbers, count, keep_copy, &reading, fault) != 0)
        return -1;
    while (!reading.full && reading.at < count)
        reading.picks[reading.at++]->state = REPLAY_GONE;
    return 0;
}

int replay_letters_read(struct dead_letter_store *store, struct replay_pick *picks, size_t count,
                        size_t bytes, struct fault *fault)
{
    int result = read_in_order(store, picks, count, bytes, fault);

    if (result == 0 && count && picks[0].state == REPLAY_UNREAD)
        result = read_in_order(store, picks, 1, bytes, fault);
    if (result != 0)
        unread(picks, count);
    return result;
}
