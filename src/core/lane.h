/* SPDX-License-Identifier: MIT
 * A lane inside the engine, and the strands of work that it is made of. */
#ifndef CORE_LANE_H
#define CORE_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/connector.h>

#include "base/buffer.h"
#include "core/message.h"
#include "core/positions.h"
#include "core/tracker.h"

struct strand_list;

struct strand {
    struct lane *lane;
    uint64_t key; /* hash of the message key; two keys of one hash merely wait for each other */
    struct strand *next_in_slot;
    struct strand *previous_ready, *next_ready;
    struct strand_list *list; /* of those that can be worked on, NULL: cannot */
    bool parallel; /* several batches at once */
    bool blocked;  /* its first message waits for a claim */
    bool recall;   /* take suspects back once what is in flight has landed */
    bool leaving;  /* its messages are on their way to the park */
    bool endangered; /* ordered: it has a message that is to be parked, see engine_danger.c */
    uint32_t outstanding; /* messages in batches */
    uint32_t suspects;
    bool ask_again;     /* its suspects are to be asked again before the message behind them */
    bool slow;          /* its suspects' answers take long: only the first is asked again */
    int64_t suspect_us; /* when one of its suspects last failed */
    struct message_list waiting;
};

struct lane {
    struct lane *previous, *next;
    char *name;
    char *source;
    int32_t partition;
    void *cookie; /* the connector's */
    uint32_t slot; /* the host's: its place in the metrics */
    struct tracker tracker;
    struct positions finished_before; /* from the store: duplicates when delivered again */
    bool has_settled;
    uint64_t settled;   /* the source knows that all before it is finished */
    bool first_seen;
    uint64_t first, newest; /* positions delivered first and last, once first_seen */
    bool disordered;    /* the source broke its promise of growing positions */
    bool disorder_told; /* the host's: has said so */
    bool closing, drained, paused;
    bool behind;        /* what is received waits until the park has no more of it, see engine_danger.c */
    bool parked;        /* its messages come from the park: they are settled there, one by one */
    bool to_settle;     /* the watermark moved since the last settle */
    bool to_record;     /* has finished messages that are being recorded */
    /* The host's, where it is the source's memory (SLUICE_NEEDS_POSITION): */
    bool recording, recorded; /* a record is on its way; is durable */
    bool unread;              /* its record could not be read */
    uint64_t begin;           /* recorded: where the source is to deliver from */
    uint32_t flying;    /* messages in flight */
    size_t judged;      /* messages with a verdict that is not yet durable */
    size_t unfinished;  /* messages not yet durable */
    struct message *live;  /* all messages of the lane, newest first, through live_next */
    struct message *oldest; /* the last of them */
    struct strand *main; /* the lane's own strand */
};

/* Takes note that a position was delivered. */
void lane_note_delivered(struct lane *lane, uint64_t position);

/* What is to be recorded of the lane now: everything finished beyond what the source knows. */
void lane_record_write(const struct lane *lane, struct buffer *buffer);

#endif
