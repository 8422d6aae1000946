/* SPDX-License-Identifier: MIT */
#include "core/batch.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

struct batch *batch_new(void)
{
    return memory_zero(1, sizeof(struct batch));
}

void batch_free(struct batch *batch)
{
    free(batch);
}

struct batch *batch_split(struct batch *batch)
{
    struct batch *second = batch_new();
    struct message_list first = {0};
    size_t half = (batch->messages.count + 1) / 2;

    assert(batch->messages.count >= 2);
    while (first.count < half)
        message_list_append(&first, message_list_take(&batch->messages));
    second->messages = batch->messages;
    batch->messages = first;
    return second;
}

void batch_heap_fini(struct batch_heap *heap)
{
    free(heap->slots);
    *heap = (struct batch_heap){0};
}

static void place(struct batch_heap *heap, size_t slot, struct batch *batch)
{
    heap->slots[slot] = batch;
    batch->heap_slot = slot + 1;
}

static void sift_up(struct batch_heap *heap, size_t slot, struct batch *batch)
{
    while (slot) {
        size_t parent = (slot - 1) / 2;

        if (heap->slots[parent]->due_us <= batch->due_us)
            break;
        place(heap, slot, heap->slots[parent]);
        slot = parent;
    }
    place(heap, slot, batch);
}

static void sift_down(struct batch_heap *heap, size_t slot, struct batch *batch)
{
    for (;;) {
        size_t child = 2 * slot + 1;

        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->slots[child + 1]->due_us < heap->slots[child]->due_us)
            child++;
        if (batch->due_us <= heap->slots[child]->due_us)
            break;
        place(heap, slot, heap->slots[child]);
        slot = child;
    }
    place(heap, slot, batch);
}

void batch_heap_add(struct batch_heap *heap, struct batch *batch, int64_t due_us)
{
    assert(!batch->heap_slot);
    if (heap->count == heap->room) {
        heap->room = heap->room ? heap->room * 2 : 16;
        heap->slots = memory_resize(heap->slots, heap->room, sizeof(struct batch *));
    }
    batch->due_us = due_us;
    sift_up(heap, heap->count++, batch);
}

void batch_heap_remove(struct batch_heap *heap, struct batch *batch)
{
    size_t slot = batch->heap_slot - 1;
    struct batch *last = heap->slots[--heap->count];

    assert(batch->heap_slot);
    batch->heap_slot = 0;
    if (last == batch)
        return;
    if (slot && last->due_us < heap->slots[(slot - 1) / 2]->due_us)
        sift_up(heap, slot, last);
    else
        sift_down(heap, slot, last);
}
