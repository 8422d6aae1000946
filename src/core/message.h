/* SPDX-License-Identifier: MIT
 * A message inside the engine, and the lists that hold it. */
#ifndef CORE_MESSAGE_H
#define CORE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/message.h>

#include "base/buffer.h"
#include "core/dead_letter.h"
#include "core/verdict.h"

struct lane;
struct strand;

/* One invocation as the messages in it remember it; shared by them. */
struct attempt {
    uint32_t references;
    struct dead_letter_attempt record;
    uint32_t excerpt_size;
    char excerpt[DEAD_LETTER_EXCERPT];
};

/* What a message that failed remembers; made at its first failure. */
struct history {
    uint32_t count;         /* invocations in all */
    uint32_t kept;
    int64_t first_wall_us;
    struct attempt *attempts[DEAD_LETTER_ATTEMPTS]; /* newest last */
};

#define MESSAGE_TOKEN_INLINE 40

/* Where the engine has it. */
enum message_place { PLACE_WAITING, PLACE_BATCH, PLACE_SUSPECT, PLACE_CLAIM, PLACE_JUDGED };

struct message {
    /* The first 64 bytes are what is looked at when a batch is made, and one line of the cache. */
    struct message *next;
    struct lane *lane;       /* NULL: orphan, its lane was lost */
    struct strand *strand;   /* NULL for orphans */
    size_t bytes;            /* key and payload */
    uint64_t entry;          /* number in the lane's tracker */
    char *token;             /* token_inline or own memory; NULL with positional tokens */
    uint8_t place;           /* enum message_place */
    bool held;               /* payload not yet released to the connector */
    bool claimed;            /* holds the claim on its token */
    bool named;              /* the function named it while it did another */
    bool called_back;        /* a suspect whose next attempt decides: it goes alone */
    uint8_t verdict;         /* enum verdict, 0: none yet */
    uint8_t dead_class;      /* enum dead_letter_class, with VERDICT_DEAD */
    bool from_park;          /* its handle is the park's, not the connector's */
    int64_t first_failed_us; /* for retry.age; 0: never failed */

    struct sluice_message source;
    struct message *live_previous, *live_next; /* all of the lane */
    int64_t arrived_us;
    uint32_t token_size;
    uint32_t attempts;       /* counted */
    char *reason;            /* with VERDICT_DEAD: one sentence, owned */
    struct history *history; /* NULL until the first failure */
    void *waiter;            /* the caller's, while it waits for a claim */
    uint32_t attempts_before; /* of them, those before the last success of any message */
    uint64_t attempts_after; /* successes there had been when the newest was counted */
    int64_t blame_since_us;  /* first failure since the target was last found guilty; 0: none */
    int64_t last_failed_us;
    int64_t suspect_since_us;
    uint64_t failed_run;     /* run of failures in which it was counted, alone */
    uint64_t fingerprint[2]; /* of the payload */
    int64_t park_number;     /* the caller's, of its place in the park; 0: none */
    int64_t park_due_wall_us; /* the caller's, with VERDICT_PARKED; 0: behind another */
    char token_inline[MESSAGE_TOKEN_INLINE];
};

struct message_list {
    struct message *first, *last;
    size_t count;
    size_t bytes;
};

static inline void message_list_append(struct message_list *list, struct message *message)
{
    message->next = NULL;
    if (list->last)
        list->last->next = message;
    else
        list->first = message;
    list->last = message;
    list->count++;
    list->bytes += message->bytes;
}

static inline struct message *message_list_take(struct message_list *list)
{
    struct message *message = list->first;

    if (message) {
        list->first = message->next;
        if (!list->first)
            list->last = NULL;
        list->count--;
        list->bytes -= message->bytes;
        message->next = NULL;
    }
    return message;
}

/* Moves all of `from` to the end of `to`. */
static inline void message_list_join(struct message_list *to, struct message_list *from)
{
    if (!from->first)
        return;
    if (to->last)
        to->last->next = from->first;
    else
        to->first = from->first;
    to->last = from->last;
    to->count += from->count;
    to->bytes += from->bytes;
    *from = (struct message_list){0};
}

/* Puts a message where its entry number belongs; for lists of one lane. */
void message_list_insert(struct message_list *list, struct message *message);

/* Takes a message out that is in the list. */
void message_list_remove(struct message_list *list, struct message *message);

/* Remembers an invocation. Takes a reference to `attempt`. */
void message_remember(struct message *message, struct attempt *attempt);
struct attempt *attempt_new(const struct outcome *outcome, uint32_t batch_size, const char *name);
void attempt_unref(struct attempt *attempt);

/* A history as it was when the message was parked. `response` is of the newest attempt. */
struct history *history_restore(int64_t first_wall_us, uint32_t count,
                                const struct dead_letter_attempt *attempts, size_t kept,
                                struct sluice_bytes response);

/* Appends the positional token of a message: its broker identity, else `lane/position`. */
void message_add_position_token(const struct message *message, const char *lane_name,
                                struct buffer *buffer);

/* Copies the token into the message; `size` may be any. */
void message_set_token(struct message *message, const char *token, size_t size);

/* Frees what hangs on it (not itself, not the payload). */
void message_fini(struct message *message);

#endif
