/* SPDX-License-Identifier: MIT
 * What a poller remembers for its status and metrics. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "service/poller_inside.h"

/* Seconds, as OpenTelemetry suggests, on to the longest timeouts. */
const struct histogram_scale poller_duration_scale = {
    14, {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}};
const struct histogram_scale poller_batch_scale = {
    13, {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000}};
const struct histogram_scale poller_age_scale = {
    15, {0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 86400}};

void poller_watch_error(struct poller *poller, const char *text)
{
    struct poller_error *errors = poller->present.errors, error = {.count = 0};
    size_t at = 0;

    snprintf(error.text, sizeof error.text, "%s", text ? text : "");
    while (at < POLLER_ERRORS - 1 && strcmp(errors[at].text, error.text) != 0)
        at++;
    if (!strcmp(errors[at].text, error.text))
        error.count = errors[at].count;
    error.count++;
    error.wall_us = clock_wall();
    memmove(errors + 1, errors, at * sizeof *errors);
    errors[0] = error;
}

/* The latest of each bucket, so that slow invocations have one too. */
static void exemplify(struct poller *poller, const struct invocation *invocation, size_t bucket,
                      double seconds)
{
    struct poller_exemplar *exemplar = &poller->present.exemplars[bucket];

    if (!(invocation->trace.flags & TRACE_FLAG_SAMPLED))
        return;
    memcpy(exemplar->trace_id, invocation->trace.trace_id, sizeof exemplar->trace_id);
    exemplar->value = seconds;
    exemplar->wall_us = clock_wall();
}

void poller_watch_received(struct poller *poller, const struct sluice_message *messages,
                           size_t count)
{
    uint64_t bytes = 0;

    if (!poller->context.book || poller->context.replay)
        return; /* letters were received before */
    for (size_t i = 0; i < count; i++)
        bytes += messages[i].key.size + messages[i].payload.size;
    meter_add(&poller->context.book->meter.received_bytes, bytes);
}

static void count_usage(struct meter *meter, const struct invocation *invocation,
                        const struct batch *batch, const struct outcome *outcome)
{
    uint64_t done = outcome->class == OUTCOME_DONE ? batch->messages.count : 0;

    for (size_t i = 0; i < batch->messages.count && outcome->named; i++)
        done -= outcome->named[i];
    meter_add(&meter->invocations, 1);
    meter_add(&meter->messages, done);
    meter_add(&meter->sent_bytes, invocation->body.size);
    meter_add(&meter->function_us, (uint64_t)outcome->duration_us);
}

void poller_watch_outcome(struct poller *poller, const struct invocation *invocation,
                          const struct batch *batch, const struct outcome *outcome)
{
    const struct message *first = batch->messages.first;
    double seconds = (double)outcome->duration_us / CLOCK_SECOND;
    int64_t age_us;

    exemplify(poller, invocation,
              histogram_add(&poller->present.duration, &poller_duration_scale, seconds), seconds);
    if (poller->context.book && invocation->reached)
        count_usage(&poller->context.book->meter, invocation, batch, outcome);
    histogram_add(&poller->present.batch, &poller_batch_scale, (double)batch->messages.count);
    if (outcome->class != OUTCOME_DONE || !first ||
        first->source.timestamp_kind == SLUICE_TIMESTAMP_NONE)
        return;
    age_us = outcome->sent_wall_us + outcome->duration_us - first->source.timestamp_ms * CLOCK_MS;
    histogram_add(&poller->present.age, &poller_age_scale,
                  age_us > 0 ? (double)age_us / CLOCK_SECOND : 0);
}

/* ---- lanes ---- */

void poller_watch_opened(struct poller *poller, struct lane *lane)
{
    if (poller->lanes)
        lane->slot = lane_slots_enter(poller->context.book->lanes, lane->name,
                                      loop_now(poller->loop));
}

void poller_watch_lost(struct poller *poller, struct lane *lane)
{
    if (poller->lanes)
        lane_slots_leave(poller->context.book->lanes, lane->slot, loop_now(poller->loop));
}

static int64_t older(int64_t one_ms, int64_t other_ms)
{
    return one_ms < 0 || (other_ms >= 0 && other_ms < one_ms) ? other_ms : one_ms;
}

static int64_t more_lag(int64_t lag, int64_t more)
{
    return more < 0 ? lag : lag < 0 ? more : lag + more;
}

static void add_lane(struct poller_lane *sum, int64_t lag, int64_t oldest_ms)
{
    sum->lag = sum->lanes ? more_lag(sum->lag, lag) : lag;
    sum->oldest_ms = sum->lanes ? older(sum->oldest_ms, oldest_ms) : oldest_ms;
    sum->lanes++;
}

static void watch_lanes(struct poller *poller)
{
    struct poller_status *present = &poller->present;
    struct lane *lane = NULL;

    present->lanes = 0;
    present->lag = -1;
    if (poller->lanes)
        memset(poller->present_lanes, 0,
               (lane_slots_most(poller->context.book->lanes) + 1) * sizeof *poller->lanes);
    while ((lane = engine_next_lane(poller->engine, lane))) {
        struct sluice_lag lag;

        if (lane->parked)
            continue;
        poller->connector->lag(poller->instance, lane->cookie, &lag);
        present->lanes++;
        present->lag = more_lag(present->lag, lag.messages);
        if (poller->lanes)
            add_lane(&poller->present_lanes[lane->slot], lag.messages,
                     older(engine_lane_oldest_ms(lane), lag.oldest_ms));
    }
    if (poller->connector->source_lag && poller->started) {
        struct sluice_lag lag;

        poller->connector->source_lag(poller->instance, &lag);
        present->lag = lag.messages;
        present->lag_is_shared = true;
    }
}

void poller_add_lanes(struct poller *poller, struct poller_lane *sum)
{
    uint32_t others = poller->lanes ? lane_slots_most(poller->context.book->lanes) : 0;

    if (!poller->lanes)
        return;
    pthread_mutex_lock(&poller->status_lock);
    for (uint32_t i = 0; i <= others; i++) {
        const struct poller_lane *lane = &poller->lanes[i];

        if (!lane->lanes)
            continue;
        if (i < others && sum[i].lanes) {
            sum[i].lag = lane->lag > sum[i].lag ? lane->lag : sum[i].lag;
            sum[i].oldest_ms = older(sum[i].oldest_ms, lane->oldest_ms);
        } else {
            add_lane(&sum[i], lane->lag, lane->oldest_ms);
        }
    }
    pthread_mutex_unlock(&poller->status_lock);
}

/* ---- both ---- */

void poller_watch_fill(struct poller *poller, int64_t now_us)
{
    struct poller_status *present = &poller->present;

    watch_lanes(poller);
    rate_update(&poller->received_rate, present->counts.received, now_us);
    rate_update(&poller->done_rate, present->counts.done, now_us);
    present->received_rate = poller->received_rate.per_second;
    present->done_rate = poller->done_rate.per_second;
    present->bytes = engine_held_bytes(poller->engine);
    present->oldest_ms = engine_oldest_ms(poller->engine);
}
