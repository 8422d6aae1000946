/* SPDX-License-Identifier: MIT
 * Messages invoked together, and those of them that wait for their next try. */
#ifndef CORE_BATCH_H
#define CORE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/message.h"

struct batch {
    struct message_list messages;
    struct batch *then;     /* the other half, to follow when this one is resolved */
    struct batch *previous_flying, *next_flying;
    void *invocation;       /* the caller's, while in flight */
    bool flying;
    size_t heap_slot;       /* 1-based; 0: not waiting */
    int64_t due_us;
    int64_t started_us;
    size_t sent;             /* messages in that invocation; some may be orphans since */
    int64_t success_seen_us; /* start of the newest success known when this invocation began */
    int64_t success_landed_us; /* when the newest known success landed */
    uint32_t refusals;       /* in a row, of this batch */
    uint64_t counted_run;    /* run of failures in which this batch was counted */
};

struct batch *batch_new(void);
void batch_free(struct batch *batch); /* the messages are not its own */

/* Cuts the second half off into a new batch. At least two messages. */
struct batch *batch_split(struct batch *batch);

/* Batches by due time. */
struct batch_heap {
    struct batch **slots;
    size_t count, room;
};
void batch_heap_fini(struct batch_heap *heap);
void batch_heap_add(struct batch_heap *heap, struct batch *batch, int64_t due_us);
void batch_heap_remove(struct batch_heap *heap, struct batch *batch);
static inline struct batch *batch_heap_first(const struct batch_heap *heap)
{
    return heap->count ? heap->slots[0] : NULL;
}

#endif
