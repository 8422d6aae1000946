/* SPDX-License-Identifier: MIT
 * What the engine asks of the poller. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/hash.h"
#include "service/poller_inside.h"
#include "service/replay_source.h"

void poller_settle_all(struct poller *poller)
{
    if (poller->settle_count)
        poller->connector->settle(poller->instance, poller->settle, poller->settle_count);
    poller->settle_count = 0;
}

static void settle(void *argument, struct lane *lane, const struct message *message,
                   uint64_t position)
{
    struct poller *poller = argument;

    if (message && message->from_park) {
        poller_park_settle(poller, message);
        return;
    }
    if (poller->context.replay && message) {
        replay_source_settle(poller->context.replay, message->source.handle,
                             (enum verdict)message->verdict);
        return;
    }
    /* Recorded before; the source takes no note of it. */
    if (poller_is_memory(poller))
        engine_lane_settled(poller->engine, lane, position + 1);
    poller->settle[poller->settle_count++] = (struct sluice_settle_item){
        .lane = lane->cookie,
        .handle = message ? message->source.handle : NULL,
        .position = position,
        .action = SLUICE_ACCEPT,
    };
    if (poller->settle_count == sizeof poller->settle / sizeof poller->settle[0])
        poller_settle_all(poller);
}

void poller_release_all(struct poller *poller)
{
    poller_settle_all(poller);
    if (poller->release_count)
        poller->connector->release(poller->instance, poller->release, poller->release_count);
    poller->release_count = 0;
}

static void release(void *argument, void *handle)
{
    struct poller *poller = argument;

    poller->release[poller->release_count++] = handle;
    if (poller->release_count == sizeof poller->release / sizeof poller->release[0])
        poller_release_all(poller);
}

static void pause_lane(void *argument, struct lane *lane, bool paused)
{
    struct poller *poller = argument;

    if (!lane->parked && poller->mapping->capabilities & SLUICE_CAN_PAUSE_LANE)
        poller->connector->pause_lane(poller->instance, lane->cookie, paused);
}

static void lane_drained(void *argument, struct lane *lane)
{
    struct poller *poller = argument;

    if (lane->parked)
        return;
    poller_settle_all(poller);
    poller->connector->lane_drained(poller->instance, lane->cookie);
    poller->readable = true;
}

size_t poller_headers(struct poller *poller, const struct message *message,
                      struct sluice_header *ret, size_t room)
{
    if (message->from_park)
        return poller_park_headers(message->source.handle, ret, room);
    return poller->connector->headers(poller->instance, message->source.handle, ret, room);
}

static size_t headers(void *argument, const struct message *message, struct sluice_header *ret,
                      size_t room)
{
    return poller_headers(argument, message, ret, room);
}

static const char *const gate_names[] = {"open", "target unavailable", "target failing",
                                         "paused"};

static void gate_opened(struct poller *poller, const char *why)
{
    const struct gate *gate = engine_gate(poller->engine);

    snprintf(poller->present.gate_text, sizeof poller->present.gate_text, "%s", why ? why : "");
    poller->present.gate_since_wall_us = clock_wall();
    poller->status_us = 0;
    /* Often the failure that opened it was told just before. */
    if (strcmp(poller->present.errors[0].text, poller->present.gate_text) != 0)
        poller_watch_error(poller, why);
    log_event(LOG_WARNING, gate->state == GATE_PAUSED ? "target_paused" : "target_down",
              LOG_TEXT("mapping", poller->mapping->name),
              LOG_NUMBER("poller", poller->context.number),
              LOG_TEXT("state", gate_names[gate->state]), LOG_TEXT("error", why),
              LOG_TEXT("effect", "messages wait; single invocations probe the target"));
}

static void message_event(struct poller *poller, enum log_level level, const char *event,
                          const struct message *message, const char *why)
{
    log_event(level, event, LOG_TEXT("mapping", poller->mapping->name),
              LOG_TEXT("lane", message->lane ? message->lane->name : ""),
              LOG_UNSIGNED("position", message->source.position),
              LOG_NUMBER("attempts", message->attempts),
              LOG_TEXT("class", message->dead_class
                                    ? dead_letter_class_name(message->dead_class)
                                    : ""),
              LOG_TEXT("error", why));
}

static void on_event(void *argument, enum engine_event event, const struct batch *batch,
                     const struct message *message, const char *text)
{
    struct poller *poller = argument;

    bool collected = event == ENGINE_DEAD && message->dead_class == DEAD_FOREIGN;

    if (event == ENGINE_BATCH_FAILED || (event == ENGINE_DEAD && !collected))
        poller_watch_error(poller, text);
    if (event == ENGINE_DEAD || event == ENGINE_DUPLICATE)
        poller_tap_message(poller, message, event == ENGINE_DEAD ? "dead" : "duplicate",
                           event == ENGINE_DEAD, text);
    switch (event) {
    case ENGINE_GATE_OPENED:
        gate_opened(poller, text);
        break;
    case ENGINE_GATE_CLOSED:
        poller->present.gate_text[0] = '\0';
        poller->status_us = 0;
        log_event(LOG_INFO, "target_up", LOG_TEXT("mapping", poller->mapping->name),
                  LOG_NUMBER("poller", poller->context.number));
        break;
    case ENGINE_BATCH_FAILED:
        log_event(LOG_WARNING, "invocation_failed", LOG_TEXT("mapping", poller->mapping->name),
                  LOG_NUMBER("messages", (int64_t)batch->messages.count),
                  LOG_TEXT("lane", batch->messages.first->lane->name),
                  LOG_UNSIGNED("position", batch->messages.first->source.position),
                  LOG_TEXT("error", text));
        break;
    case ENGINE_SUSPECT:
        message_event(poller, LOG_WARNING, "suspect", message,
                      "its attempts are used up; it steps aside until another message succeeds");
        break;
    case ENGINE_DEAD:
        if (!collected)
            message_event(poller, LOG_ERROR, "dead_letter", message, text);
        else if (log_enabled(LOG_DEBUG))
            message_event(poller, LOG_DEBUG, "dead_letter_collected", message, "");
        break;
    case ENGINE_DUPLICATE:
        if (log_enabled(LOG_DEBUG))
            message_event(poller, LOG_DEBUG, "duplicate", message, "");
        break;
    }
}

const struct engine_ops poller_engine_ops = {
    .filter = poller_filter,
    .invoke = poller_invoke,
    .claim = poller_claim,
    .unclaim = poller_unclaim,
    .settle = settle,
    .release = release,
    .pause_lane = pause_lane,
    .lane_drained = lane_drained,
    .headers = headers,
    .fingerprint = hash_fingerprint,
    .sha256 = hash_sha256,
    .event = on_event,
    .park = poller_park,
    .parked = poller_parked,
    .park_precedes = poller_park_precedes,
    .park_begins = poller_park_begins,
    .unpark = poller_unpark,
    .release_parked = poller_release_parked,
};
