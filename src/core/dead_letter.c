/* SPDX-License-Identifier: MIT */
#include "core/dead_letter.h"

#include <stdio.h>

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
    }
    return "unknown";
}

size_t dead_letter_token(const struct dead_letter *letter, char *ret_token, size_t room)
{
    const char *token = letter->token ? letter->token : "";
    int size = letter->forced ? snprintf(ret_token, room, "%s~%u", token, letter->forced)
                              : snprintf(ret_token, room, "%s", token);

    return (size_t)size < room ? (size_t)size : room - 1;
}
