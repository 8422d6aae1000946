/* SPDX-License-Identifier: MIT */
#include "service/replay_letter.h"

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
