/* SPDX-License-Identifier: MIT
 * Strands: what must be worked on one batch after the other. */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "core/engine_inside.h"

#define FIRST_SLOTS 256

struct strand *strand_new(struct lane *lane, uint64_t key, bool parallel)
{
    struct strand *strand = memory_zero(1, sizeof *strand);

    strand->lane = lane;
    strand->key = key;
    strand->parallel = parallel;
    return strand;
}

static struct strand **slot_of(const struct engine *engine, const struct lane *lane, uint64_t key)
{
    uint64_t mixed = (key ^ (uintptr_t)lane) * UINT64_C(0x9e3779b97f4a7c15);

    return &engine->slots[(mixed >> 20) & (engine->slot_count - 1)];
}

static void grow_slots(struct engine *engine)
{
    struct strand **old = engine->slots;
    size_t old_count = engine->slot_count;

    engine->slot_count = old_count ? old_count * 2 : FIRST_SLOTS;
    engine->slots = memory_zero(engine->slot_count, sizeof *engine->slots);
    for (size_t i = 0; i < old_count; i++)
        for (struct strand *strand = old[i], *next; strand; strand = next) {
            struct strand **slot = slot_of(engine, strand->lane, strand->key);

            next = strand->next_in_slot;
            strand->next_in_slot = *slot;
            *slot = strand;
        }
    free(old);
}

struct strand *strand_of(struct engine *engine, struct lane *lane,
                         const struct sluice_message *message)
{
    uint64_t fingerprint[2];
    struct strand **slot, *strand;

    if (engine->rules->order != ORDER_KEY || !message->key.data)
        return lane->main;
    engine->ops->fingerprint(message->key.data, message->key.size, fingerprint);
    if (engine->keyed_strands >= engine->slot_count)
        grow_slots(engine);
    slot = slot_of(engine, lane, fingerprint[0]);
    for (strand = *slot; strand; strand = strand->next_in_slot)
        if (strand->key == fingerprint[0] && strand->lane == lane)
            return strand;
    strand = strand_new(lane, fingerprint[0], false);
    strand->next_in_slot = *slot;
    *slot = strand;
    engine->keyed_strands++;
    return strand;
}

static void list_remove(struct strand *strand)
{
    struct strand_list *list = strand->list;

    if (strand->previous_ready)
        strand->previous_ready->next_ready = strand->next_ready;
    else
        list->first = strand->next_ready;
    if (strand->next_ready)
        strand->next_ready->previous_ready = strand->previous_ready;
    else
        list->last = strand->previous_ready;
    strand->previous_ready = strand->next_ready = NULL;
    list->messages -= strand->waiting.count;
    list->bytes -= strand->waiting.bytes;
    strand->list = NULL;
}

static void list_add(struct strand_list *list, struct strand *strand, bool front)
{
    if (front) {
        strand->next_ready = list->first;
        list->first->previous_ready = strand;
        list->first = strand;
    } else {
        strand->previous_ready = list->last;
        if (list->last)
            list->last->next_ready = strand;
        list->last = strand;
        if (!list->first)
            list->first = strand;
    }
    list->messages += strand->waiting.count;
    list->bytes += strand->waiting.bytes;
    strand->list = list;
}

static struct strand_list *list_for(struct engine *engine, const struct strand *strand)
{
    bool workable = strand->waiting.count && !strand->blocked && !strand->lane->closing &&
                    !strand->lane->behind &&
                    (strand->parallel || !strand->outstanding);

    if (!workable)
        return NULL;
    return strand->suspects && !strand->parallel ? &engine->doubted : &engine->ready;
}

void strand_update(struct engine *engine, struct strand *strand)
{
    struct strand_list *list = list_for(engine, strand);
    bool front;

    if (list == strand->list)
        return;
    if (strand->list)
        list_remove(strand);
    if (!list)
        return;
    /* Work that waits longer than what waits first goes before it, all else to the end: so each
       strand has its turn. A suspect that failed just now has its witness at once. */
    front = list->first && (list == &engine->doubted ||
                            strand->waiting.first->arrived_us <
                                list->first->waiting.first->arrived_us);
    list_add(list, strand, front);
}

void strand_served(struct engine *engine, struct strand *strand)
{
    if (strand->list)
        list_remove(strand);
    strand_update(engine, strand);
}

/* Changes the waiting list of a strand while keeping its list's sums right. */
static void account(const struct strand *strand, const struct message_list *before)
{
    if (!strand->list)
        return;
    strand->list->messages += strand->waiting.count - before->count;
    strand->list->bytes += strand->waiting.bytes - before->bytes;
}

void strand_append(struct engine *engine, struct strand *strand, struct message *message)
{
    struct message_list before = strand->waiting;

    message->place = PLACE_WAITING;
    message_list_append(&strand->waiting, message);
    account(strand, &before);
    strand_update(engine, strand);
}

void strand_restore(struct engine *engine, struct message *message)
{
    struct strand *strand = message->strand;
    struct message_list before = strand->waiting;

    /* It is not in flight any more, and one before it may wait for its token. */
    engine_unclaim(engine, message);
    message->place = PLACE_WAITING;
    message_list_insert(&strand->waiting, message);
    account(strand, &before);
    if (strand->blocked && strand->waiting.first == message) {
        /* What waits for its claim is no longer the first, and may wait for this very message. */
        engine->ops->unclaim(engine->argument, message->next);
        message->next->place = PLACE_WAITING;
        strand->blocked = false;
    }
    strand_update(engine, strand);
}

struct message *strand_take(struct engine *engine, struct strand *strand)
{
    struct message_list before = strand->waiting;
    struct message *message = message_list_take(&strand->waiting);

    account(strand, &before);
    return message;
}

void strand_remove(struct engine *engine, struct message *message)
{
    struct strand *strand = message->strand;
    struct message_list before = strand->waiting;

    message_list_remove(&strand->waiting, message);
    account(strand, &before);
    strand_update(engine, strand);
}

void strand_leave(struct engine *engine, struct strand *strand)
{
    assert(strand->outstanding);
    strand->outstanding--;
    if (!strand->outstanding)
        strand_update(engine, strand);
}

void strand_drop_if_empty(struct engine *engine, struct strand *strand)
{
    struct strand **at;

    if (strand == strand->lane->main || strand->outstanding || strand->suspects ||
        strand->waiting.count || strand->blocked)
        return;
    if (strand->list)
        list_remove(strand);
    for (at = slot_of(engine, strand->lane, strand->key); *at != strand; at = &(*at)->next_in_slot)
        ;
    *at = strand->next_in_slot;
    engine->keyed_strands--;
    free(strand);
}

void strand_drop_lane(struct engine *engine, struct lane *lane)
{
    for (size_t i = 0; i < engine->slot_count; i++)
        for (struct strand **at = &engine->slots[i]; *at;) {
            struct strand *strand = *at;

            if (strand->lane != lane) {
                at = &strand->next_in_slot;
                continue;
            }
            *at = strand->next_in_slot;
            engine->keyed_strands--;
            if (strand->list)
                list_remove(strand);
            free(strand);
        }
    if (lane->main->list)
        list_remove(lane->main);
    free(lane->main);
}
