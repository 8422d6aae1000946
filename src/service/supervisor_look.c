/* SPDX-License-Identifier: MIT
 * What others see of the supervisor. */
#include "service/supervisor_inside.h"

static enum supervisor_phase phase_of(const struct supervisor *supervisor, const struct slot *slot)
{
    if (supervisor->stopping)
        return SUPERVISOR_STOPPING;
    if (slot->removed)
        return SUPERVISOR_REMOVING;
    if (slot->next)
        return SUPERVISOR_RESTARTING;
    if (slot->wish == SUPERVISOR_DRAIN)
        return slot->now->pollers ? SUPERVISOR_DRAINING : SUPERVISOR_DRAINED;
    return slot->wish == SUPERVISOR_PAUSE ? SUPERVISOR_PAUSED : SUPERVISOR_RUNNING;
}

void supervisor_look(struct supervisor *supervisor, supervisor_view_fn look, void *argument)
{
    pthread_mutex_lock(&supervisor->mutex);
    for (size_t i = 0; i < supervisor->slot_count; i++) {
        const struct slot *slot = &supervisor->slots[i];
        struct supervisor_view view = {
            .mapping = supervisor_mapping_of(slot),
            .phase = phase_of(supervisor, slot),
            .cap = slot->now->cap,
            .wish_since_wall_us = slot->wish == SUPERVISOR_RUN ? 0 : slot->wish_since_wall_us,
            .running = slot->now,
        };

        running_status(slot->now, &view.status);
        lot_state(park_lot(supervisor->park, view.mapping->name), &view.parked);
        look(argument, &view);
    }
    pthread_mutex_unlock(&supervisor->mutex);
}

struct park *supervisor_park(struct supervisor *supervisor)
{
    return supervisor->park;
}

void supervisor_recorder_stats(struct supervisor *supervisor, struct recorder_stats *ret_stats)
{
    recorder_stats(supervisor->recorder, ret_stats);
}

void supervisor_prices(struct supervisor *supervisor, struct prices *ret_prices)
{
    pthread_mutex_lock(&supervisor->mutex);
    *ret_prices = supervisor->configuration->service.prices;
    pthread_mutex_unlock(&supervisor->mutex);
}

void supervisor_tracer_stats(struct supervisor *supervisor, struct tracer_stats *ret_stats)
{
    *ret_stats = tracer_stats(supervisor->tracer);
}

struct allowance *supervisor_allowance(struct supervisor *supervisor)
{
    return &supervisor->allowance;
}

struct books *supervisor_books(const struct supervisor *supervisor)
{
    return supervisor->books;
}

const char *supervisor_state_directory(const struct supervisor *supervisor)
{
    return supervisor->state_directory;
}
