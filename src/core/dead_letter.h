/* SPDX-License-Identifier: MIT
 * A dead letter: a message that was given up on, with the whole story why. */
#ifndef CORE_DEAD_LETTER_H
#define CORE_DEAD_LETTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/message.h>

/* Why it was given up. Stored as the text of dead_letter_class_name. */
enum dead_letter_class {
    DEAD_ATTEMPTS = 1,  /* failed as often as retry.attempts allows, and a witness succeeded */
    DEAD_POISON,        /* the function said that it will never work, and a witness succeeded */
    DEAD_NAMED,         /* the function named this message in a partial response, attempts used up */
    DEAD_PATIENCE,      /* no witness came within retry.patience */
    DEAD_AGE,           /* retry.age passed */
    DEAD_TOO_LARGE,     /* larger than the target takes */
    DEAD_TOKEN_MISSING, /* idempotency.on_missing: dead_letter */
    DEAD_TOKEN_CONFLICT,/* idempotency.on_conflict: dead_letter */
    DEAD_FILTERED,      /* on_filtered: dead_letter, or the filter could not tell */
    DEAD_FOREIGN,       /* receive: dead_letters: something else gave it up */
    DEAD_BURIED         /* an operator took it out of the park */
};
#define DEAD_LETTER_CLASS_LAST DEAD_BURIED

/* `attempts`, `poison`, `named`, `patience`, `age`, `too_large`, `token_missing`, `token_conflict`,
 * `filtered`, `foreign`, `buried`. */
const char *dead_letter_class_name(enum dead_letter_class class);

#define DEAD_LETTER_EXCERPT  512 /* bytes of the response kept */
#define DEAD_LETTER_ATTEMPTS 16  /* newest attempts kept; `attempt_count` says how many there were */

/* One invocation that this message was part of. */
struct dead_letter_attempt {
    int64_t wall_us;     /* when it was sent */
    int64_t duration_us;
    uint32_t status;     /* HTTP status, 0 where none came */
    uint32_t batch_size; /* messages in that invocation */
    char outcome[32];    /* failed, poison, throttled, unavailable, fatal, named */
    char error[128];     /* transport error or first line of the answer */
};

/* All pointers are borrowed unless a function says otherwise. */
struct dead_letter {
    char id[27]; /* ULID: sortable by time, given by the store */
    bool replay;  /* it has its row in the store (`id`) and died again in a replay */
    const char *mapping;
    const char *revision; /* of the mapping's file when the letter was written */
    const char *connector;
    const char *lane;   /* `orders/3` */
    const char *source; /* `orders` */
    int32_t partition;  /* -1: none */
    uint64_t position;
    int64_t message_wall_us; /* the message's own timestamp, 0: none */
    uint32_t timestamp_kind; /* enum sluice_timestamp_kind; NONE besides in letters of older versions */
    uint32_t delivery_count; /* earlier deliveries, as its source counted them */
    struct sluice_bytes message_id; /* and identity: see struct sluice_message */
    struct sluice_bytes identity;
    const char *token; /* may hold any bytes; NUL-terminated besides */
    size_t token_size; /* 0: up to the first NUL */
    struct sluice_bytes key, payload;
    const struct sluice_header *headers;
    size_t header_count;
    enum dead_letter_class class;
    const char *reason;              /* one sentence for people */
    uint32_t status;                 /* of the last answer, 0: none */
    struct sluice_bytes response;    /* excerpt of the last answer */
    const struct dead_letter_attempt *attempts; /* newest last, at most DEAD_LETTER_ATTEMPTS */
    size_t attempts_kept;
    uint32_t attempt_count;
    int64_t first_wall_us; /* first and last attempt; both the time of writing if there was none */
    int64_t last_wall_us;
    int64_t dead_wall_us;  /* when it was written */
    uint32_t replay_count;    /* replays in which it died again */
    int64_t replayed_wall_us; /* the last of them, 0: none */
    uint32_t edit_count;
    uint32_t forced; /* not 0: its token is `token~forced`, see dead_letter_token */
    struct sluice_bytes original; /* payload before the first edit; absent where edit_count is 0 */
    /* Where a mapping that collects found it, if that place keeps it: the lane there (NULL: it does not, or
     * the letter is no such), position and time of writing. For the store alone, which does not tell it. */
    const char *found_lane;
    uint64_t found_position;
    int64_t found_wall_us;
};

/* The token that a replay sends: the message's own, or where a new one was forced, that with `~` and
 * the number of the replay. Writes it NUL-terminated and returns its size, at most `room` - 1. */
size_t dead_letter_token(const struct dead_letter *letter, char *ret_token, size_t room);
/* Bytes of the message's own token. */
size_t dead_letter_token_size(const struct dead_letter *letter);

/* The message as its source gave it, for an envelope; without lane and handle. */
struct sluice_message dead_letter_message(const struct dead_letter *letter);

#endif
