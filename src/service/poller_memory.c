/* SPDX-License-Identifier: MIT
 * What a poller does with the memory that messages of all mappings share. */
#include "base/clock.h"
#include "base/log.h"
#include "service/poller_inside.h"

#define TELL_AGAIN_US (60 * CLOCK_SECOND)
/* Of a message beside its key and payload: its entries here and in the connector, its headers. */
#define MESSAGE_BYTES 512

static uint64_t memory_left(const struct poller *poller)
{
    return poller->context.allowance
               ? allowance_room(poller->context.allowance, poller->held_told)
               : UINT64_MAX;
}

void poller_memory_bound(const struct poller *poller, struct sluice_room *room)
{
    size_t batch = poller->mapping->rules.batch.bytes;
    uint64_t left = memory_left(poller), least = room->bytes < batch ? room->bytes : batch;

    if (room->bytes <= left)
        return;
    room->bytes = (size_t)(left > least ? left : least);
    if (left >= least || engine_lacks_work(poller->engine))
        return;
    if (engine_needs_witness(poller->engine))
        room->messages = room->messages ? 1 : 0;
    else
        *room = (struct sluice_room){0};
}

static void tell_memory(struct poller *poller, uint64_t held)
{
    if (poller->context.allowance)
        allowance_tell(poller->context.allowance, poller->held_told, held);
    poller->held_told = held;
}

void poller_memory_tell(struct poller *poller)
{
    tell_memory(poller, engine_held_bytes(poller->engine) +
                            MESSAGE_BYTES * engine_unfinished(poller->engine));
}

void poller_memory_end(struct poller *poller)
{
    tell_memory(poller, 0);
}

bool poller_memory_short(struct poller *poller, int64_t now_us)
{
    const struct rules *rules = &poller->mapping->rules;
    struct sluice_room wanted = engine_room(poller->engine), room = wanted;

    poller_memory_bound(poller, &room);
    if (!wanted.messages || room.messages || poller->stopping || poller->paused ||
        poller->held_told >= rules->buffer_bytes / 4)
        return false;
    if (!poller->memory_told_us || now_us - poller->memory_told_us >= TELL_AGAIN_US) {
        poller->memory_told_us = now_us;
        log_event(LOG_WARNING, "memory_short", LOG_TEXT("mapping", poller->mapping->name),
                  LOG_NUMBER("bytes", (int64_t)atomic_load(&poller->context.allowance->most)),
                  LOG_TEXT("effect", "messages wait at their source, as those received by all mappings "
                                     "take what `memory` of sluice.yaml allows them"));
    }
    return true;
}
