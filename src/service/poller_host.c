/* SPDX-License-Identifier: MIT
 * What the connector gets from its host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/positions.h"
#include "base/memory.h"
#include "service/options.h"
#include "service/poller_inside.h"
#include "service/state_name.h"

#define DELIVERED_OFTEN 15

static void host_log(struct sluice_host *host, uint32_t level, const char *event, const char *text)
{
    log_event((enum log_level)level, event, LOG_TEXT("mapping", host->poller->mapping->name),
              LOG_NUMBER("poller", host->poller->context.number), LOG_TEXT("text", text));
}

static void host_state(struct sluice_host *host, uint32_t state, const char *text)
{
    struct poller *poller = host->poller;
    struct poller_status *present = &poller->present;

    if (state == 0 || state > SLUICE_STATE_FAILED)
        state = SLUICE_STATE_FAILED;
    if (present->state == state && !strcmp(present->state_text, text ? text : ""))
        return;
    present->state = state;
    snprintf(present->state_text, sizeof present->state_text, "%s", text ? text : "");
    poller->status_us = 0;
    log_event(text ? LOG_WARNING : LOG_INFO, "source_state",
              LOG_TEXT("mapping", poller->mapping->name),
              LOG_NUMBER("poller", poller->context.number), LOG_TEXT("state", state_name(state)),
              LOG_TEXT("text", text));
}

bool poller_keeps_positions(const struct poller *poller)
{
    return !poller->context.replay && poller->mapping->capabilities & SLUICE_CAN_SETTLE_UP_TO;
}

bool poller_is_memory(const struct poller *poller)
{
    return poller_keeps_positions(poller) &&
           poller->mapping->capabilities & SLUICE_NEEDS_POSITION;
}

/* What was finished of the lane before this process began, or before it was away. 1; 0: nothing was
 * recorded; -1: it cannot be told. */
static int load_positions(struct poller *poller, const char *lane, struct positions *ret_positions)
{
    struct token_store *store = poller->context.token_store;
    const char *effect = poller_is_memory(poller)
                             ? "nothing is taken from it until the record can be read"
                             : "messages done but not committed are invoked again";
    struct fault fault = {.text = ""};
    void *value = memory_new(POSITIONS_BYTES_MOST);
    size_t size = 0;
    int found = store->ops->reader_begin(poller->reader, &fault);

    if (!found) {
        found = store->ops->find_lane(poller->reader, poller->mapping->name, lane, clock_wall(),
                                      value, POSITIONS_BYTES_MOST, &size, &fault);
        store->ops->reader_end(poller->reader);
    }
    if (found < 0)
        log_event(LOG_WARNING, "positions_unreadable", LOG_TEXT("mapping", poller->mapping->name),
                  LOG_TEXT("lane", lane), LOG_TEXT("error", fault.text),
                  LOG_TEXT("effect", effect));
    else if (found > 0 &&
             (size > POSITIONS_BYTES_MOST || positions_read(ret_positions, value, size))) {
        found = -1;
        log_event(LOG_WARNING, "positions_damaged", LOG_TEXT("mapping", poller->mapping->name),
                  LOG_TEXT("lane", lane), LOG_TEXT("effect", effect));
    }
    free(value);
    return found;
}

static void load_lane(struct poller *poller, struct lane *lane)
{
    int found = load_positions(poller, lane->name, &lane->finished_before);

    lane->unread = found < 0;
    lane->recorded = found > 0;
    if (lane->recorded)
        lane->begin = positions_end(&lane->finished_before);
}

static void *host_lane_opened(struct sluice_host *host, const struct sluice_lane *info)
{
    struct poller *poller = host->poller;
    struct lane *lane = engine_lane_open(poller->engine, info, NULL);

    if (poller_keeps_positions(poller))
        load_lane(poller, lane);
    poller_watch_opened(poller, lane);
    return lane;
}

static int host_lane_position(struct sluice_host *host, void *lane_pointer, uint64_t *ret_position)
{
    struct lane *lane = lane_pointer;

    if (!poller_is_memory(host->poller))
        return 0;
    if (lane->unread)
        load_lane(host->poller, lane);
    if (lane->recorded)
        *ret_position = lane->begin;
    return lane->unread ? -1 : lane->recorded;
}

static void host_lane_closing(struct sluice_host *host, void *lane)
{
    engine_lane_close(host->poller->engine, lane);
}

static void host_lane_lost(struct sluice_host *host, void *lane)
{
    poller_watch_lost(host->poller, lane);
    engine_lane_lost(host->poller->engine, lane);
    poller_release_all(host->poller);
}

static void tell_disorder(struct poller *poller, const struct sluice_message *messages,
                          size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct lane *lane = messages[i].lane;

        if (!lane->disordered || lane->disorder_told)
            continue;
        lane->disorder_told = true;
        log_event(LOG_ERROR, "positions_disordered", LOG_TEXT("mapping", poller->mapping->name),
                  LOG_TEXT("lane", lane->name),
                  LOG_TEXT("error", "the connector delivers positions that do not grow"),
                  LOG_TEXT("effect", "messages done but not committed may be invoked again"));
    }
}

/* Which of two is nearer to being dropped. */
static bool is_nearer(const struct sluice_message *one, const struct sluice_message *other)
{
    if (!one->endangered != !other->endangered)
        return one->endangered;
    return one->delivery_count > other->delivery_count;
}

/* Before a queue with a delivery limit drops them. */
static void tell_deliveries(struct poller *poller, const struct sluice_message *messages, size_t count)
{
    int64_t now_us = loop_now(poller->loop);
    const struct sluice_message *most = messages;

    for (size_t i = 1; i < count; i++)
        if (is_nearer(&messages[i], most))
            most = &messages[i];
    if ((most->delivery_count < DELIVERED_OFTEN && !most->endangered) ||
        (poller->deliveries_told_us && now_us - poller->deliveries_told_us < CLOCK_MINUTE))
        return;
    poller->deliveries_told_us = now_us;
    log_event(LOG_WARNING, "delivered_often", LOG_TEXT("mapping", poller->mapping->name),
              LOG_TEXT("lane", ((const struct lane *)most->lane)->name),
              LOG_NUMBER("deliveries", most->delivery_count),
              LOG_TEXT("effect",
                       most->endangered
                           ? "the source drops such a message soon: it is parked as it comes"
                           : "a source with a delivery limit drops such a message soon; if it fails here "
                             "it is parked, but for order: lane"));
}

static void host_deliver(struct sluice_host *host, const struct sluice_message *messages,
                         size_t count)
{
    poller_watch_received(host->poller, messages, count);
    engine_feed(host->poller->engine, messages, count, loop_now(host->poller->loop));
    tell_disorder(host->poller, messages, count);
    if (count && host->poller->connector->capabilities & SLUICE_HAS_DELIVERY_COUNT)
        tell_deliveries(host->poller, messages, count);
}

static void host_settled(struct sluice_host *host, void *lane_pointer, uint64_t position)
{
    struct lane *lane = lane_pointer;

    engine_lane_settled(host->poller->engine, lane, position);
    if (!poller_keeps_positions(host->poller))
        return;
    lane->to_record = lane->tracker.next > 0 || poller_is_memory(host->poller);
    lane->begin = lane->recorded ? lane->begin : position;
    host->poller->lanes_to_record |= lane->to_record;
}

static void host_published(struct sluice_host *host, void *cookie, const char *error)
{
    (void)cookie;
    log_event(LOG_ERROR, "unexpected_publication", LOG_TEXT("mapping", host->poller->mapping->name),
              LOG_TEXT("error", error));
}

static void host_stopped(struct sluice_host *host)
{
    host->poller->stopped = true;
}

static void host_settle_failed(struct sluice_host *host, uint32_t requests)
{
    host->poller->present.settle_failures += requests;
}

const struct sluice_host_api poller_host_api = {
    .struct_size = sizeof(struct sluice_host_api),
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .values = &options_api,
    .log = host_log,
    .state = host_state,
    .lane_opened = host_lane_opened,
    .lane_closing = host_lane_closing,
    .lane_lost = host_lane_lost,
    .deliver = host_deliver,
    .settled = host_settled,
    .published = host_published,
    .stopped = host_stopped,
    .settle_failed = host_settle_failed,
    .lane_position = host_lane_position,
};
