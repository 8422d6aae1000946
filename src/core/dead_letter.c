/* SPDX-License-Identifier: MIT */
#include "core/dead_letter.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

const char *dead_letter_class_name(enum dead_letter_class class)
{
    switch (class) {
    case DEAD_ATTEMPTS:
        return "attempts";
    case DEAD_POISON:
        return "poison";
    case DEAD_NAMED:
        return "named";
    case DEAD_PATIENCE:
        return "patience";
    case DEAD_AGE:
        return "age";
    case DEAD_TOO_LARGE:
        return "too_large";
    case DEAD_TOKEN_MISSING:
        return "token_missing";
    case DEAD_TOKEN_CONFLICT:
        return "token_conflict";
    case DEAD_FILTERED:
        return "filtered";
    case DEAD_FOREIGN:
        return "foreign";
    case DEAD_BURIED:
        return "buried";
    }
    return "unknown";
}

size_t dead_letter_token(const struct dead_letter *letter, char *ret_token, size_t room)
{
    size_t size = dead_letter_token_size(letter);
    int more = 0;

    if (size >= room)
        size = room - 1;
    if (size)
        memcpy(ret_token, letter->token, size);
    ret_token[size] = '\0';
    if (letter->forced)
        more = snprintf(ret_token + size, room - size, "~%u", letter->forced);
    return size + (size_t)more < room ? size + (size_t)more : room - 1;
}

struct sluice_message dead_letter_message(const struct dead_letter *letter)
{
    uint32_t kind = letter->timestamp_kind;

    if (letter->message_wall_us && kind == SLUICE_TIMESTAMP_NONE)
        kind = SLUICE_TIMESTAMP_CREATED;
    return (struct sluice_message){.position = letter->position,
                                   .key = letter->key,
                                   .payload = letter->payload,
                                   .identity = letter->identity,
                                   .message_id = letter->message_id,
                                   .timestamp_ms = letter->message_wall_us / CLOCK_MS,
                                   .timestamp_kind = kind,
                                   .delivery_count = letter->delivery_count,
                                   .has_headers = letter->header_count > 0};
}

size_t dead_letter_token_size(const struct dead_letter *letter)
{
    return letter->token_size ? letter->token_size : letter->token ? strlen(letter->token) : 0;
}
