/* SPDX-License-Identifier: MIT */
#include "service/lot.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/memory.h"

#define FIRST_SLOTS 64

/* ---- a table of what has a hash within itself ---- */

struct link {
    struct link *next;
    uint64_t hash;
};

struct table {
    struct link **slots;
    size_t room, count; /* room: a power of two */
};

static struct link **slot_of(const struct table *table, uint64_t hash)
{
    return &table->slots[(hash * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (table->room - 1)];
}

static void grow(struct table *table)
{
    struct table old = *table;

    table->room = old.room ? old.room * 2 : FIRST_SLOTS;
    table->slots = memory_zero(table->room, sizeof *table->slots);
    for (size_t i = 0; i < old.room; i++)
        for (struct link *link = old.slots[i], *next; link; link = next) {
            struct link **slot = slot_of(table, link->hash);

            next = link->next;
            link->next = *slot;
            *slot = link;
        }
    free(old.slots);
}

static void table_add(struct table *table, struct link *link, uint64_t hash)
{
    struct link **slot;

    if (table->count >= table->room)
        grow(table);
    link->hash = hash;
    slot = slot_of(table, hash);
    link->next = *slot;
    *slot = link;
    table->count++;
}

static void table_remove(struct table *table, struct link *link)
{
    struct link **at = slot_of(table, link->hash);

    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    table->count--;
}

/* The first of that hash from `link` on. */
static struct link *same_hash(struct link *link, uint64_t hash)
{
    while (link && link->hash != hash)
        link = link->next;
    return link;
}

static struct link *table_find(const struct table *table, uint64_t hash)
{
    return table->room ? same_hash(*slot_of(table, hash), hash) : NULL;
}

#define OF_LINK(type, member, link)                                                                \
    ((type *)(void *)((char *)(link) - offsetof(type, member)))

/* ---- places and queues ---- */

enum state { RESERVED, WAITING, OUT, GONE };

struct place {
    struct link by_number, by_token;
    struct lot_place info;
    enum state state;
    struct queue *queue;
    struct place *previous, *next; /* of the queue */
};

struct queue {
    struct link by_key;  /* not linked where the key is 0 */
    struct place *first, *last;
    size_t out;
    size_t heap_slot;    /* 1-based; 0: cannot go on */
    int64_t due_wall_us; /* of the first that may leave, while it is in the heap */
};

struct lot {
    pthread_mutex_t lock;
    struct table numbers, tokens, keys;
    struct queue **heap; /* queues whose first waits, by due time */
    size_t heap_count, heap_room;
    uint64_t bytes;
    bool full;
    atomic_size_t count, remembered; /* remembered: places that are gone, by their tokens alone */
};

struct lot *lot_new(void)
{
    struct lot *lot = memory_zero(1, sizeof *lot);

    pthread_mutex_init(&lot->lock, NULL);
    return lot;
}

/* ---- the heap ---- */

static void put(struct lot *lot, size_t slot, struct queue *queue)
{
    lot->heap[slot] = queue;
    queue->heap_slot = slot + 1;
}

static void sift_up(struct lot *lot, size_t slot, struct queue *queue)
{
    while (slot && lot->heap[(slot - 1) / 2]->due_wall_us > queue->due_wall_us) {
        put(lot, slot, lot->heap[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    put(lot, slot, queue);
}

static void sift_down(struct lot *lot, size_t slot, struct queue *queue)
{
    for (;;) {
        size_t child = 2 * slot + 1;

        if (child + 1 < lot->heap_count &&
            lot->heap[child + 1]->due_wall_us < lot->heap[child]->due_wall_us)
            child++;
        if (child >= lot->heap_count || lot->heap[child]->due_wall_us >= queue->due_wall_us)
            break;
        put(lot, slot, lot->heap[child]);
        slot = child;
    }
    put(lot, slot, queue);
}

static void heap_remove(struct lot *lot, struct queue *queue)
{
    size_t slot = queue->heap_slot - 1;
    struct queue *last = lot->heap[--lot->heap_count];

    queue->heap_slot = 0;
    if (last == queue)
        return;
    sift_up(lot, slot, last);
    sift_down(lot, last->heap_slot - 1, last);
}

static void heap_add(struct lot *lot, struct queue *queue)
{
    if (lot->heap_count == lot->heap_room) {
        lot->heap_room = lot->heap_room ? lot->heap_room * 2 : FIRST_SLOTS;
        lot->heap = memory_resize(lot->heap, lot->heap_room, sizeof *lot->heap);
    }
    sift_up(lot, lot->heap_count++, queue);
}

/* The first place that may leave, or comes before those that may; NULL: none. */
static struct place *next_out(const struct queue *queue)
{
    struct place *place = queue->first;

    if (queue->by_key.hash & LOT_IN_A_ROW)
        while (place && place->state == OUT)
            place = place->next;
    else if (queue->out)
        return NULL;
    return place;
}

/* Puts the queue where it belongs after a change, or frees it. */
static void settle(struct lot *lot, struct queue *queue)
{
    struct place *place;

    if (queue->heap_slot)
        heap_remove(lot, queue);
    if (!queue->first) {
        if (queue->by_key.hash)
            table_remove(&lot->keys, &queue->by_key);
        free(queue);
        return;
    }
    place = next_out(queue);
    if (!place || place->state != WAITING)
        return;
    queue->due_wall_us = place->info.due_wall_us;
    heap_add(lot, queue);
}

/* ---- what changes ---- */

static struct place *find(const struct lot *lot, int64_t number)
{
    struct link *link = table_find(&lot->numbers, (uint64_t)number);

    assert(link);
    return OF_LINK(struct place, by_number, link);
}

static struct queue *queue_of(struct lot *lot, uint64_t key)
{
    struct link *link = key ? table_find(&lot->keys, key) : NULL;
    struct queue *queue;

    if (link)
        return OF_LINK(struct queue, by_key, link);
    queue = memory_zero(1, sizeof *queue);
    if (key)
        table_add(&lot->keys, &queue->by_key, key);
    return queue;
}

static void append(struct queue *queue, struct place *place)
{
    place->queue = queue;
    place->previous = queue->last;
    if (queue->last)
        queue->last->next = place;
    else
        queue->first = place;
    queue->last = place;
}

static void unlink_place(struct place *place)
{
    struct queue *queue = place->queue;

    if (place->previous)
        place->previous->next = place->next;
    else
        queue->first = place->next;
    if (place->next)
        place->next->previous = place->previous;
    else
        queue->last = place->previous;
    queue->out -= place->state == OUT;
}

static bool is_named(const struct lot_place *info)
{
    return info->token[0] || info->token[1];
}

bool lot_reserve(struct lot *lot, const struct lot_place *info, size_t most_bytes)
{
    struct place *place = NULL;

    pthread_mutex_lock(&lot->lock);
    lot->full = most_bytes && lot->bytes + info->bytes > most_bytes;
    if (!lot->full) {
        place = memory_zero(1, sizeof *place);
        place->info = *info;
        table_add(&lot->numbers, &place->by_number, (uint64_t)info->number);
        if (is_named(info))
            table_add(&lot->tokens, &place->by_token, info->token[0]);
        append(queue_of(lot, info->queue), place);
        lot->bytes += info->bytes;
        atomic_fetch_add(&lot->count, 1);
    }
    pthread_mutex_unlock(&lot->lock);
    return place != NULL;
}

void lot_written(struct lot *lot, int64_t number, int64_t due_wall_us)
{
    struct place *place;

    pthread_mutex_lock(&lot->lock);
    place = find(lot, number);
    assert(place->state == RESERVED);
    place->state = WAITING;
    place->info.due_wall_us = due_wall_us;
    settle(lot, place->queue);
    pthread_mutex_unlock(&lot->lock);
}

/* Takes from the front of one queue what is due. */
static size_t take_queue(struct queue *queue, int64_t now_wall_us, size_t most, size_t *bytes_left,
                         int64_t *ret_numbers)
{
    size_t count = 0;

    for (struct place *place = next_out(queue); place && count < most; place = place->next) {
        if (place->state != WAITING || place->info.due_wall_us > now_wall_us || !*bytes_left)
            break;
        *bytes_left -= place->info.bytes < *bytes_left ? place->info.bytes : *bytes_left;
        place->state = OUT;
        queue->out++;
        ret_numbers[count++] = place->info.number;
    }
    return count;
}

size_t lot_take(struct lot *lot, int64_t now_wall_us, size_t most, size_t most_bytes,
                int64_t *ret_numbers)
{
    size_t count = 0;

    if (lot_is_empty(lot))
        return 0;
    pthread_mutex_lock(&lot->lock);
    while (count < most && most_bytes && lot->heap_count &&
           /* What settle frees is in the heap no more. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
           lot->heap[0]->due_wall_us <= now_wall_us) {
        struct queue *queue = lot->heap[0];

        count += take_queue(queue, now_wall_us, most - count, &most_bytes, ret_numbers + count);
        settle(lot, queue);
    }
    pthread_mutex_unlock(&lot->lock);
    return count;
}

void lot_back(struct lot *lot, int64_t number, int64_t due_wall_us)
{
    struct place *place;

    pthread_mutex_lock(&lot->lock);
    place = find(lot, number);
    assert(place->state == OUT);
    place->state = WAITING;
    place->queue->out--;
    if (due_wall_us >= 0)
        place->info.due_wall_us = due_wall_us;
    settle(lot, place->queue);
    pthread_mutex_unlock(&lot->lock);
}

void lot_remove(struct lot *lot, int64_t number)
{
    struct place *place;

    pthread_mutex_lock(&lot->lock);
    place = find(lot, number);
    table_remove(&lot->numbers, &place->by_number);
    unlink_place(place);
    lot->bytes -= place->info.bytes;
    lot->full = false;
    atomic_fetch_sub(&lot->count, 1);
    settle(lot, place->queue);
    if (is_named(&place->info) && place->info.restored) {
        place->state = GONE;
        atomic_fetch_add(&lot->remembered, 1);
    } else {
        if (is_named(&place->info))
            table_remove(&lot->tokens, &place->by_token);
        free(place);
    }
    pthread_mutex_unlock(&lot->lock);
}

size_t lot_hurry(struct lot *lot, int64_t now_wall_us)
{
    size_t count = 0;

    pthread_mutex_lock(&lot->lock);
    for (size_t i = 0; i < lot->numbers.room; i++)
        for (struct link *link = lot->numbers.slots[i]; link; link = link->next) {
            struct place *place = OF_LINK(struct place, by_number, link);

            if (place->state != WAITING || place->info.due_wall_us <= now_wall_us)
                continue;
            place->info.due_wall_us = now_wall_us;
            settle(lot, place->queue);
            count++;
        }
    pthread_mutex_unlock(&lot->lock);
    return count;
}

/* ---- looking in ---- */

bool lot_has(struct lot *lot, const uint64_t token[2], uint64_t *ret_fingerprint)
{
    bool found = false;

    if (lot_is_empty(lot))
        return false;
    pthread_mutex_lock(&lot->lock);
    for (struct link *link = table_find(&lot->tokens, token[0]); link && !found;
         link = same_hash(link->next, token[0])) {
        const struct place *place = OF_LINK(struct place, by_token, link);

        found = (place->state == WAITING || place->state == OUT) &&
                place->info.token[1] == token[1];
        if (found)
            *ret_fingerprint = place->info.fingerprint;
    }
    pthread_mutex_unlock(&lot->lock);
    return found;
}

bool lot_had(struct lot *lot, const uint64_t token[2], uint64_t fingerprint)
{
    struct place *place = NULL;
    bool found = false;

    if (lot_has_no_memory(lot))
        return false;
    pthread_mutex_lock(&lot->lock);
    for (struct link *link = table_find(&lot->tokens, token[0]); link && !found;
         link = same_hash(link->next, token[0])) {
        place = OF_LINK(struct place, by_token, link);
        found = place->state == GONE && place->info.token[1] == token[1] &&
                place->info.fingerprint == fingerprint;
    }
    if (found) {
        table_remove(&lot->tokens, &place->by_token);
        free(place);
        atomic_fetch_sub(&lot->remembered, 1);
    }
    pthread_mutex_unlock(&lot->lock);
    return found;
}

bool lot_queues(struct lot *lot, uint64_t number, bool waiting)
{
    struct link *link;
    bool found;

    if (lot_is_empty(lot))
        return false;
    pthread_mutex_lock(&lot->lock);
    link = table_find(&lot->keys, number);
    /* What went back is before what is out. */
    found = link && !(waiting && OF_LINK(struct queue, by_key, link)->last->state == OUT);
    pthread_mutex_unlock(&lot->lock);
    return found;
}

bool lot_is_empty(const struct lot *lot)
{
    return !atomic_load(&lot->count);
}

bool lot_has_no_memory(const struct lot *lot)
{
    return !atomic_load(&lot->remembered);
}

void lot_state(struct lot *lot, struct lot_state *ret_state)
{
    pthread_mutex_lock(&lot->lock);
    *ret_state = (struct lot_state){
        .count = atomic_load(&lot->count),
        .bytes = lot->bytes,
        .waits = lot->heap_count > 0,
        .due_wall_us = lot->heap_count ? lot->heap[0]->due_wall_us : 0,
        .full = lot->full,
    };
    pthread_mutex_unlock(&lot->lock);
}

void lot_free(struct lot *lot)
{
    if (!lot)
        return;
    for (size_t i = 0; i < lot->tokens.room; i++)
        for (struct link *link = lot->tokens.slots[i], *next; link; link = next) {
            struct place *place = OF_LINK(struct place, by_token, link);

            next = link->next;
            if (place->state == GONE)
                free(place);
        }
    for (size_t i = 0; i < lot->numbers.room; i++)
        for (struct link *link = lot->numbers.slots[i], *next; link; link = next) {
            struct place *place = OF_LINK(struct place, by_number, link);

            next = link->next;
            unlink_place(place);
            if (!place->queue->first)
                free(place->queue);
            free(place);
        }
    free(lot->numbers.slots);
    free(lot->tokens.slots);
    free(lot->keys.slots);
    free(lot->heap);
    pthread_mutex_destroy(&lot->lock);
    free(lot);
}
