/* SPDX-License-Identifier: MIT
 * What is parked of one mapping: places, by due time and order, over all its pollers. The messages
 * themselves are in the store (io/parked_store.h); here is what must be known of each at once.
 *
 *   reserved ──lot_written──▶ waiting ──lot_take──▶ out ──lot_remove──▶ gone
 *      └──lot_remove──▶ gone     ▲                   │
 *                                └─────lot_back──────┘
 *
 * What was restored after a restart may have been parked just before the record of it: then its source
 * delivers it once more, perhaps when its place is gone. So its token is remembered until it was met.
 *
 * Places of one *queue* (an order key; 0: none) leave in the order in which they were made, and none
 * leaves while others of it are out: so messages come back in order whatever each waits for. Those of a
 * queue with LOT_IN_A_ROW leave one behind the other, also while others are out: who has them keeps their
 * order, and gives none back before those behind it. A place's number is that of its row. All functions lock; any thread. */
#ifndef SERVICE_LOT_H
#define SERVICE_LOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a place costs beside the bytes of its message: its story, its row, what is kept here. */
#define LOT_PLACE_BYTES 1024

/* In the number of a queue. */
#define LOT_IN_A_ROW (UINT64_C(1) << 63)

struct lot;

struct lot *lot_new(void);
void lot_free(struct lot *lot); /* NULL is fine */

/* What is known of a parked message. */
struct lot_place {
    int64_t number;
    int64_t due_wall_us;     /* 0: as soon as it is the first of its queue */
    size_t bytes;            /* LOT_PLACE_BYTES and what the message holds */
    uint64_t queue;          /* 0: in no order with others; see LOT_IN_A_ROW */
    uint64_t token[2];       /* fingerprint of the token that names it; both 0: nothing does */
    uint64_t fingerprint;    /* of what tells messages of one token apart */
    bool restored;           /* its token is remembered when the place is gone */
};

/* Makes a place, in reserve, unless that would take the lot over `most_bytes`; with `most_bytes` 0 in
 * any case. */
bool lot_reserve(struct lot *lot, const struct lot_place *place, size_t most_bytes);
/* Its row is durable, and it is due then. */
void lot_written(struct lot *lot, int64_t number, int64_t due_wall_us);
/* Takes due places out, at most so many and (past the first) so many bytes. Returns how many. */
size_t lot_take(struct lot *lot, int64_t now_wall_us, size_t most, size_t most_bytes,
                int64_t *ret_numbers);
/* One that was out waits again until then; -1: until when it waited before. */
void lot_back(struct lot *lot, int64_t number, int64_t due_wall_us);
void lot_remove(struct lot *lot, int64_t number);
/* Makes what waits due now. Returns how many. */
size_t lot_hurry(struct lot *lot, int64_t now_wall_us);

/* Whether a message of that token is parked, its row durable; sets its fingerprint. */
bool lot_has(struct lot *lot, const uint64_t token[2], uint64_t *ret_fingerprint);
/* Whether that message was parked and its place was restored and is gone; true once. */
bool lot_had(struct lot *lot, const uint64_t token[2], uint64_t fingerprint);
/* Whether the queue has any place, in whatever state; with `waiting` any that is not out. */
bool lot_queues(struct lot *lot, uint64_t queue, bool waiting);
/* Without the lock: whether there is nothing at all, and whether nothing is remembered. */
bool lot_is_empty(const struct lot *lot);
bool lot_has_no_memory(const struct lot *lot);

struct lot_state {
    uint64_t count, bytes;
    bool waits;          /* whether any can go on by itself */
    int64_t due_wall_us; /* when the first of them is due; may be 0, which is long ago */
    bool full;           /* the last that asked for a place got none, and none went since */
};
void lot_state(struct lot *lot, struct lot_state *ret_state);

#endif
