/* SPDX-License-Identifier: MIT */
#include "service/park.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/hash.h"

struct mapping_lot {
    char *mapping;
    struct lot *lot;
};

/* What was parked so long before the last one had its record long before the end of the process. */
#define RECENT_US (10 * CLOCK_MINUTE)

struct park {
    struct parked_store *store;
    int64_t newest_wall_us; /* see parked_store_newest, at the beginning */
    char *directory;
    _Atomic int64_t next;
    pthread_mutex_t lock; /* guards the list */
    struct mapping_lot *lots;
    size_t count;
};

static int load_one(void *argument, const struct parked *parked)
{
    struct park *park = argument;
    struct lot *lot = park_lot(park, parked->letter.mapping);
    struct lot_place place = {
        .number = parked->number,
        .bytes = parked->bytes,
        .queue = parked->queue,
        .fingerprint = parked->fingerprint,
        .restored = parked->parked_wall_us >= park->newest_wall_us - RECENT_US,
    };

    if (parked->has_token)
        hash_fingerprint(parked->letter.token, dead_letter_token_size(&parked->letter),
                         place.token);
    lot_reserve(lot, &place, 0);
    lot_written(lot, parked->number, parked->due_wall_us);
    if (parked->number >= park->next)
        park->next = parked->number + 1;
    return 0;
}

struct park *park_open(const char *directory, struct fault *fault)
{
    struct park *park = memory_zero(1, sizeof *park);

    pthread_mutex_init(&park->lock, NULL);
    park->directory = memory_text(directory);
    park->next = 1;
    park->store = parked_store_open(directory, true, fault);
    if (park->store)
        park->newest_wall_us = parked_store_newest(park->store);
    if (!park->store || parked_store_list(park->store, NULL, load_one, park, fault) != 0) {
        park_close(park);
        return NULL;
    }
    return park;
}

void park_close(struct park *park)
{
    if (!park)
        return;
    parked_store_close(park->store);
    for (size_t i = 0; i < park->count; i++) {
        free(park->lots[i].mapping);
        lot_free(park->lots[i].lot);
    }
    free(park->lots);
    free(park->directory);
    pthread_mutex_destroy(&park->lock);
    free(park);
}

struct parked_store *park_store(struct park *park)
{
    return park->store;
}

const char *park_directory(const struct park *park)
{
    return park->directory;
}

int64_t park_next_number(struct park *park)
{
    return atomic_fetch_add(&park->next, 1);
}

struct lot *park_lot(struct park *park, const char *mapping)
{
    struct lot *lot = NULL;

    pthread_mutex_lock(&park->lock);
    for (size_t i = 0; i < park->count && !lot; i++)
        if (strcmp(park->lots[i].mapping, mapping) == 0)
            lot = park->lots[i].lot;
    if (!lot) {
        lot = lot_new();
        park->lots = memory_resize(park->lots, park->count + 1, sizeof *park->lots);
        park->lots[park->count++] = (struct mapping_lot){memory_text(mapping), lot};
    }
    pthread_mutex_unlock(&park->lock);
    return lot;
}

void park_look(struct park *park, park_look_fn look, void *argument)
{
    pthread_mutex_lock(&park->lock);
    for (size_t i = 0; i < park->count; i++) {
        struct lot_state state;

        if (lot_is_empty(park->lots[i].lot))
            continue;
        lot_state(park->lots[i].lot, &state);
        look(argument, park->lots[i].mapping, &state);
    }
    pthread_mutex_unlock(&park->lock);
}
