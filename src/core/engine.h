/* SPDX-License-Identifier: MIT
 * The rules of one poller: from a delivered message to its settlement. No I/O, no clock: time and
 * randomness come as arguments, everything outside is reached through struct engine_ops.
 *
 *   feed -> filter -> token -> strand -> claim -> batch -> invoke -> answer
 *        -> done | retry | split | suspect | parked -> finished -> durable -> settle
 *
 * A *strand* is what must be worked on one batch after the other: a lane with `order: lane`, the
 * messages of one key with `order: key`. With `order: none`, and for messages without a key, a
 * lane's strand is parallel. One thread. */
#ifndef CORE_ENGINE_H
#define CORE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "core/batch.h"
#include "core/gate.h"
#include "core/lane.h"
#include "core/message.h"
#include "core/random.h"
#include "core/settings.h"
#include "core/verdict.h"

enum claim {
    CLAIM_MINE,     /* nobody has it: this message now does */
    CLAIM_RECORDED, /* done before, with the same payload: a duplicate */
    CLAIM_CONFLICT, /* done before, with another payload */
    CLAIM_WAIT      /* another message in flight has it, or the store cannot be read now:
                       engine_claim_again follows */
};

enum filter_answer {
    FILTER_PASS,
    FILTER_DROP,       /* not for this target: settled in its order, never invoked, takes no token */
    FILTER_DEAD_LETTER, /* the same, but kept: `on_filtered: dead_letter`, or it cannot be told */
    FILTER_FOREIGN /* something else gave it up: kept as a dead letter (`receive: dead_letters`) */
};

/* What the park has of a message that the source delivers. */
enum park_answer {
    PARK_HAS_NOTHING,
    PARK_HAS_IT,     /* this very message, safely, or had it: a duplicate */
    PARK_HAS_EARLIER /* messages before it in its order: it queues behind them, there or (`order: lane`) here */
};

/* What happened, for logs and states; `text` is borrowed. */
enum engine_event {
    ENGINE_GATE_OPENED, /* text: why */
    ENGINE_GATE_CLOSED,
    ENGINE_BATCH_FAILED, /* text: why; batch given */
    ENGINE_SUSPECT,      /* message given */
    ENGINE_DEAD,         /* message given; text: reason */
    ENGINE_DUPLICATE     /* message given */
};

struct engine_ops {
    /* Whether the mapping takes the message, asked once when it is delivered, before its token is
     * looked for. With FILTER_DEAD_LETTER and FILTER_FOREIGN `why` is set to the reason. NULL: it takes all. */
    enum filter_answer (*filter)(void *argument, const struct message *message, struct fault *why);
    /* Begins the invocation; engine_answer follows, never from within. */
    void (*invoke)(void *argument, struct batch *batch);
    enum claim (*claim)(void *argument, struct message *message);
    /* Gives the claim up. Told also for a message that waits after CLAIM_WAIT and is dropped. */
    void (*unclaim)(void *argument, struct message *message);
    /* Sources that settle up to a position: `message` NULL. Others: one message. */
    void (*settle)(void *argument, struct lane *lane, const struct message *message,
                   uint64_t position);
    /* The payload is needed no more. */
    void (*release)(void *argument, void *handle);
    void (*pause_lane)(void *argument, struct lane *lane, bool paused);
    void (*lane_drained)(void *argument, struct lane *lane);
    size_t (*headers)(void *argument, const struct message *message, struct sluice_header *ret,
                      size_t room);
    /* 128-bit fingerprint of bytes; SHA-256 as 64 hex digits. */
    void (*fingerprint)(const void *data, size_t size, uint64_t ret_value[2]);
    void (*sha256)(const void *data, size_t size, char ret_hex[64]);
    void (*event)(void *argument, enum engine_event event, const struct batch *batch,
                  const struct message *message, const char *text);

    /* ---- the park; all NULL: nothing is ever parked ---- */
    /* Finds the message a place in the park, for so long; with `follows` behind others of its order
     * that have one, which must not fail. False: it is full. */
    bool (*park)(void *argument, struct message *message, int64_t delay_us, bool follows);
    /* Asked once the message has its token. */
    enum park_answer (*parked)(void *argument, const struct message *message);
    /* With `order: lane`: whether the park has messages of the lane; with `waiting` only those that did not
     * come out of it yet. */
    bool (*park_precedes)(void *argument, const struct lane *lane, bool waiting);
    /* All that was to be recorded of a message that is parked is durable: from now on its place
     * counts. Not told of one that came from the park, which is settled. */
    void (*park_begins)(void *argument, const struct message *message);
    /* A message that was to be parked is not after all: its lane was lost, and with it comes again.
     * `written`: it is in the park already. */
    void (*unpark)(void *argument, struct message *message, bool written);
    /* As `release`, of a message from the park. */
    void (*release_parked)(void *argument, void *handle);
};

struct engine_counts {
    uint64_t received, done, filtered, duplicates, dead, invocations, failed, retried, named;
    uint64_t parked;
    uint64_t refused; /* invocations that were throttled or did not reach the target */
    uint64_t settled; /* messages finished with the source */
};

struct engine;
struct token_rule;

/* `rules`, `token_rule` and `ops` are borrowed for the engine's life. `settle_up_to`: the source has
 * SLUICE_CAN_SETTLE_UP_TO. `seed` is not 0. */
struct engine *engine_new(const struct rules *rules, const struct token_rule *token_rule,
                          bool settle_up_to, const struct engine_ops *ops, void *argument,
                          uint64_t seed);
/* Lanes must have been lost before. */
void engine_free(struct engine *engine);

/* ---- lanes ---- */
/* `finished` (may be NULL) is taken over: positions that count as done already. */
struct lane *engine_lane_open(struct engine *engine, const struct sluice_lane *info,
                              struct positions *finished);
/* The source will take the lane away: nothing new begins; ops->lane_drained when all has landed. */
void engine_lane_close(struct engine *engine, struct lane *lane);
/* The lane is gone: releases all its payloads; `lane` is invalid afterwards. */
void engine_lane_lost(struct engine *engine, struct lane *lane);
/* The source knows that everything before `position` is finished. */
void engine_lane_settled(struct engine *engine, struct lane *lane, uint64_t position);

/* ---- messages ---- */
/* How much more may be fed now. Where all that is held has failed, one message more than the buffer
 * is bounded to, up to 8: another must show whether the target lives. */
struct sluice_room engine_room(const struct engine *engine);
/* Whether a few more messages are wanted, whatever else holds them up: the target is doubted or a message
 * is suspect, and all that is here has failed. */
bool engine_needs_witness(const struct engine *engine);
/* Whether what it holds keeps nobody busy: less than a batch, all of which is done or waits for a retry. */
bool engine_lacks_work(const struct engine *engine);
void engine_feed(struct engine *engine, const struct sluice_message *messages, size_t count,
                 int64_t now_us);
/* A claim that a message waited for was given up, or the store can be read again. */
void engine_claim_again(struct engine *engine, struct message *message);

/* What a message brings along from the park. */
struct parked_story {
    int64_t number;            /* struct message, park_number */
    struct sluice_bytes token; /* copied; NULL: its identity names it, which is no record of it */
    uint32_t attempts;
    bool named;              /* struct message */
    uint64_t fingerprint;    /* of what tells messages of its token apart beside the payload; 0: nothing */
    struct history *history; /* taken over; NULL: it never failed, it only queued behind another */
    int64_t first_failed_us; /* 0: never; may be before the clock's zero */
};
/* Feeds a message from the park. Its lane has `parked` set; it needs not grow in position. */
void engine_feed_parked(struct engine *engine, const struct sluice_message *source,
                        const struct parked_story *story, int64_t now_us);

/* ---- invocations ---- */
/* Begins what may begin now; returns when to be called again at the latest. */
int64_t engine_run(struct engine *engine, int64_t now_us);
void engine_answer(struct engine *engine, struct batch *batch, const struct outcome *outcome,
                   int64_t now_us);
/* Ends a pause: the next probe may go out at once. */
void engine_resume(struct engine *engine);
/* At most so many invocations in flight from now on, whatever the rules allow; 0: as they do. */
void engine_cap(struct engine *engine, uint32_t invocations);
/* While held no invocation begins, and no suspect's patience runs out for want of a witness. */
void engine_hold(struct engine *engine, bool held, int64_t now_us);

/* ---- verdicts to be made durable ---- */
/* Takes what was judged done, filtered or duplicate. The caller records tokens (VERDICT_DONE only)
 * and lanes (lane_record_write), then gives the list to engine_durable. */
void engine_take_finished(struct engine *engine, struct message_list *ret_list);
void engine_durable(struct engine *engine, struct message_list *list);
/* Takes messages to be written as dead letters, at most so many and (past the first) so many bytes;
 * then engine_buried, which passes them on to the finished ones. */
void engine_take_dead(struct engine *engine, size_t most, size_t most_bytes,
                      struct message_list *ret_list);
void engine_buried(struct engine *engine, struct message_list *list);
/* The same for messages to be parked, then engine_parked. */
void engine_take_parked(struct engine *engine, size_t most, size_t most_bytes,
                        struct message_list *ret_list);
void engine_parked(struct engine *engine, struct message_list *list);

/* ---- looking in ---- */
const struct gate *engine_gate(const struct engine *engine);
const struct engine_counts *engine_counts(const struct engine *engine);
size_t engine_unfinished(const struct engine *engine); /* messages received and not yet durable */
size_t engine_unjudged(const struct engine *engine);   /* of them, those without a verdict */
size_t engine_askable(const struct engine *engine);    /* of those, all but what waits for the park */
size_t engine_held_bytes(const struct engine *engine); /* payloads and keys not yet released */
size_t engine_waiting_retries(const struct engine *engine);
size_t engine_suspects(const struct engine *engine);
/* Timestamp of the oldest message received and not yet durable; -1: none, or none has one. */
int64_t engine_oldest_ms(const struct engine *engine);
int64_t engine_lane_oldest_ms(const struct lane *lane); /* the same of one lane */
/* First lane, or the one after `lane`; NULL at the end. */
struct lane *engine_next_lane(const struct engine *engine, const struct lane *lane);

#endif
