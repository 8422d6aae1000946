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

static const char *const state_names[] = {"",           "connecting",   "running", "unreachable",
                                          "unauthorised", "missing", "failed"};

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
              LOG_NUMBER("poller", poller->context.number), LOG_TEXT("state", state_names[state]),
              LOG_TEXT("text", text));
}

bool poller_keeps_positions(const struct poller *poller)
{
    return !poller->context.replay && poller->connector->capabilities & SLUICE_CAN_SETTLE_UP_TO;
}

/* What was finished of the lane before this process began, or before it was away. */
static struct positions load_positions(struct poller *poller, const char *lane)
{
    struct token_store *store = poller->context.token_store;
    struct positions positions = {0};
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
                  LOG_TEXT("effect", "messages done but not committed are invoked again"));
    else if (found > 0 && size <= POSITIONS_BYTES_MOST && positions_read(&positions, value, size))
        log_event(LOG_WARNING, "positions_damaged", LOG_TEXT("mapping", poller->mapping->name),
                  LOG_TEXT("lane", lane));
    free(value);
    return positions;
}

static void *host_lane_opened(struct sluice_host *host, const struct sluice_lane *info)
{
    struct poller *poller = host->poller;
    struct positions positions = {0};

    if (poller_keeps_positions(poller))
        positions = load_positions(poller, info->name);
    return engine_lane_open(poller->engine, info, &positions);
}

static void host_lane_closing(struct sluice_host *host, void *lane)
{
    engine_lane_close(host->poller->engine, lane);
}

static void host_lane_lost(struct sluice_host *host, void *lane)
{
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

static void host_deliver(struct sluice_host *host, const struct sluice_message *messages,
                         size_t count)
{
    engine_feed(host->poller->engine, messages, count, loop_now(host->poller->loop));
    tell_disorder(host->poller, messages, count);
}

static void host_settled(struct sluice_host *host, void *lane_pointer, uint64_t position)
{
    struct lane *lane = lane_pointer;

    engine_lane_settled(host->poller->engine, lane, position);
    if (!poller_keeps_positions(host->poller))
        return;
    lane->to_record = lane->tracker.next > 0;
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
};
