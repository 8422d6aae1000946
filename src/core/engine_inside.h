/* SPDX-License-Identifier: MIT
 * What the files of the engine share. Nothing else includes it. */
#ifndef CORE_ENGINE_INSIDE_H
#define CORE_ENGINE_INSIDE_H

#include "core/engine.h"
#include "core/token.h"

struct strand_list {
    struct strand *first, *last;
    size_t messages, bytes; /* waiting in the strands of the list */
};

struct engine {
    const struct rules *rules;
    const struct token_rule *token_rule;
    bool settle_up_to;
    const struct engine_ops *ops;
    void *argument;
    struct random random;

    struct lane *lanes;
    size_t lane_count, closing_count;
    size_t park_lanes; /* of them, those from which parked messages came */
    struct strand **slots; /* strands of keys, by hash */
    size_t slot_count, keyed_strands;
    struct strand_list ready;
    struct strand_list doubted; /* ordered strands behind a suspect: they give witnesses only */

    struct gate gate;
    bool on_hold;
    struct batch *flying;
    struct batch_heap waiting; /* batches that wait for their next try */
    struct message_list finished, dead, parked;
    bool lost_parked; /* a message that is parked lost its lane: it may be in `finished` */
    bool endangered, behind; /* a strand, a lane may be so */
    struct message *free_messages;
    size_t free_count;
    struct buffer token; /* scratch */

    size_t held;       /* messages not yet durable */
    size_t held_bytes; /* payloads not yet released */
    size_t unjudged;   /* messages without a verdict */
    size_t untried;    /* of them, those that never failed */
    size_t accused;    /* of them, those that were suspects since the target was last found guilty */
    int64_t age_at_us; /* when the next message may be too old */

    /* Blame, see engine_blame.c. */
    struct message_list suspects;
    uint64_t successes;
    uint64_t run;              /* number of the present run of failures without a success */
    uint32_t run_failures;     /* disjoint batches that failed in it */
    uint32_t acquittals;       /* runs of probes that failed since the last success */
    int64_t success_started_us; /* start of the newest invocation that succeeded; 0: none */
    int64_t success_landed_us;
    int64_t refused_us; /* when the target was last unavailable or throttled */
    int64_t patience_us, patience_from_us;
    int64_t lonely_probe_us;
    uint32_t lonely_probes;

    struct engine_counts counts;
};

/* Takes a message out of those of its lane. */
static inline void engine_unlink_live(struct message *message)
{
    struct lane *lane = message->lane;

    if (message->live_previous)
        message->live_previous->live_next = message->live_next;
    else
        lane->live = message->live_next;
    if (message->live_next)
        message->live_next->live_previous = message->live_previous;
    else
        lane->oldest = message->live_previous;
}

/* It has a verdict now, or is another's. */
static inline void engine_leave_unjudged(struct engine *engine, struct message *message)
{
    engine->unjudged--;
    if (!message->first_failed_us)
        engine->untried--;
    if (message->suspect_since_us)
        engine->accused--;
    message->suspect_since_us = 0;
}

/* engine.c */
void engine_finish(struct engine *engine, struct message *message, enum verdict verdict);
void engine_bury(struct engine *engine, struct message *message, enum dead_letter_class class,
                 const char *reason);
/* Gives up the claim of a message that is not in flight any more, if it has it. */
void engine_unclaim(struct engine *engine, struct message *message);
void engine_release(struct engine *engine, struct message *message);
void engine_discard(struct engine *engine, struct message *message);
/* A message as it comes in, in no strand yet. */
struct message *engine_take_in(struct engine *engine, const struct sluice_message *source,
                               int64_t now_us);

/* engine_lane.c */
void engine_check_drained(struct engine *engine, struct lane *lane);

/* engine_park.c */
/* Parks those of a batch that may be, where their next try is `delay_us` away, with all that follow
 * them in their order; the others stay in the batch. */
void engine_park(struct engine *engine, struct batch *batch, int64_t delay_us, int64_t now_us);
/* Whether the park takes a message that comes in, because it has it or what is before it. */
bool engine_park_takes(struct engine *engine, struct message *message);
/* All that is recorded of a message is durable: if it is parked, its place counts from now on, or is given
 * up where the message comes again. */
void engine_park_begin(struct engine *engine, struct message *message);
/* Takes those out of the finished ones that are parked, and come again as their lane was lost. */
void engine_park_drop_lost(struct engine *engine);

/* Parks all that waits in an ordered strand. */
void engine_park_strand(struct engine *engine, struct strand *strand);
/* Gives a message a place behind others of its order, which the host never refuses. */
void engine_park_behind(struct engine *engine, struct message *message);
/* Gives a message that has a place and is in no strand its verdict. */
void engine_park_one(struct engine *engine, struct message *message);

/* engine_danger.c */
/* Parks an endangered message that comes in, with what waits before it in its strand, or takes note that
 * this is to be done. False: it is not endangered, or cannot be parked. */
bool danger_take(struct engine *engine, struct message *message);
/* The park has messages that go before what is received of the lane. */
void danger_wait(struct engine *engine, struct lane *lane);
/* Parks what could not be parked yet, and lets lanes go on that waited for the park. */
void danger_run(struct engine *engine);
/* How many messages wait for the park: they cannot be asked whether the target lives. */
size_t danger_behind(const struct engine *engine);

/* engine_age.c */
bool engine_too_old(const struct engine *engine, const struct message *message, int64_t now_us);
/* Buries what is tried for longer than retry.age. */
void engine_bury_old(struct engine *engine, struct message *message);
/* Takes note of when a message that failed will be too old. */
void age_note(struct engine *engine, const struct message *message);
/* Ends what is too old. Returns when to look again. */
int64_t age_run(struct engine *engine, int64_t now_us);

/* engine_strand.c */
struct strand *strand_of(struct engine *engine, struct lane *lane,
                         const struct sluice_message *message);
struct strand *strand_new(struct lane *lane, uint64_t key, bool parallel);
/* Puts the strand into the list where it belongs if it can be worked on, takes it out if it cannot. */
void strand_update(struct engine *engine, struct strand *strand);
/* The same for one from which messages were taken: the others come first now. */
void strand_served(struct engine *engine, struct strand *strand);
/* A message of the strand left its batch. */
void strand_leave(struct engine *engine, struct strand *strand);
void strand_append(struct engine *engine, struct strand *strand, struct message *message);
/* Puts a message back where it belongs in its strand. */
void strand_restore(struct engine *engine, struct message *message);
/* Takes the first waiting message out. */
struct message *strand_take(struct engine *engine, struct strand *strand);
/* Takes a waiting message out, wherever it is. */
void strand_remove(struct engine *engine, struct message *message);
/* Frees the strand of a key that has nothing left. */
void strand_drop_if_empty(struct engine *engine, struct strand *strand);
void strand_drop_lane(struct engine *engine, struct lane *lane);

/* engine_batch.c */
/* Discards orphans and frees the batch with what follows it. */
void engine_drop(struct engine *engine, struct batch *batch);
/* Gives a message that left its strand for good its verdict or its own batch. */
void engine_leave(struct engine *engine, struct message *message);
void engine_wait(struct engine *engine, struct batch *batch, int64_t due_us);
/* Waits for the next try of what is left in the batch, after `failures` of them (at least 1), and not
 * before `floor_us` from now; with nothing left it is resolved. `own`: the messages failed, not the
 * target, so that they may be parked. */
void engine_retry(struct engine *engine, struct batch *batch, uint32_t failures, int64_t floor_us,
                  bool own, int64_t now_us);
/* The batch is resolved: its other half may follow; frees it. */
void engine_resolve(struct engine *engine, struct batch *batch, int64_t now_us);

/* engine_blame.c */
/* Counts an attempt that failed; `proven`: it is held against the message whatever follows. */
void blame_count(struct engine *engine, struct message *message, bool proven);
void blame_success(struct engine *engine, const struct batch *batch, int64_t now_us);
/* A failed, poison or fatal answer for the whole batch. Takes the batch over. */
void blame_failure(struct engine *engine, struct batch *batch, const struct outcome *outcome,
                   int64_t now_us);
/* What only time decides: patience, lonely probes. Returns when to look again. */
int64_t blame_run(struct engine *engine, int64_t now_us);
void blame_forget_suspect(struct engine *engine, struct message *message);
/* Calls the suspects of an ordered strand back if it is a while since one of them failed: a message
 * behind them is asked only just after them. Returns whether it did. */
bool blame_ask_again(struct engine *engine, struct strand *strand, int64_t now_us);
/* Whether a suspect of the strand failed just now, so that the next message is to be asked at once. */
bool blame_is_fresh(const struct strand *strand, int64_t now_us);

#endif
