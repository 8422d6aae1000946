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

void poller_watch_outcome(struct poller *poller, const struct batch *batch,
                          const struct outcome *outcome)
{
    const struct message *first = batch->messages.first;
    int64_t age_us;

    histogram_add(&poller->present.duration, &poller_duration_scale,
                  (double)outcome->duration_us / CLOCK_SECOND);
    histogram_add(&poller->present.batch, &poller_batch_scale, (double)batch->messages.count);
    if (outcome->class != OUTCOME_DONE || !first ||
        first->source.timestamp_kind == SLUICE_TIMESTAMP_NONE)
        return;
    age_us = outcome->sent_wall_us + outcome->duration_us - first->source.timestamp_ms * CLOCK_MS;
    histogram_add(&poller->present.age, &poller_age_scale,
                  age_us > 0 ? (double)age_us / CLOCK_SECOND : 0);
}

void poller_watch_fill(struct poller *poller, int64_t now_us)
{
    struct poller_status *present = &poller->present;

    rate_update(&poller->received_rate, present->counts.received, now_us);
    rate_update(&poller->done_rate, present->counts.done, now_us);
    present->received_rate = poller->received_rate.per_second;
    present->done_rate = poller->done_rate.per_second;
    present->bytes = engine_held_bytes(poller->engine);
    present->oldest_ms = engine_oldest_ms(poller->engine);
}
