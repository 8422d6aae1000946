/* SPDX-License-Identifier: MIT */
#include "service/running.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"

struct running *running_new(struct configuration *configuration, const struct mapping *mapping,
                            struct claims *claims, const struct running_context *context)
{
    struct running *running = memory_zero(1, sizeof *running);

    running->configuration = configuration_hold(configuration);
    running->mapping = mapping;
    running->claims = claims ? claims_hold(claims) : claims_new();
    running->book = books_of(context->books, mapping->name);
    running->context = context;
    return running;
}

void running_drop_pollers(struct running *running)
{
    /* Its thread first: it posts to their mailboxes. */
    publisher_free(running->publisher);
    running->publisher = NULL;
    for (uint32_t i = 0; running->pollers && i < running->mapping->pollers; i++)
        poller_free(running->pollers[i]);
    free(running->pollers);
    running->pollers = NULL;
    running->stopping = false;
}

void running_free(struct running *running)
{
    if (!running)
        return;
    running_drop_pollers(running);
    claims_free(running->claims);
    configuration_free(running->configuration);
    free(running);
}

int running_prepare(struct running *running, struct fault *fault)
{
    const struct mapping *mapping = running->mapping;

    running->pollers = memory_zero(mapping->pollers, sizeof(struct poller *));
    if (mapping->letters_to.connector) {
        running->publisher = publisher_new(mapping, running->context->recorder,
                                           running->context->park, fault);
        if (!running->publisher) {
            running_drop_pollers(running);
            return fault_prefix(fault, "mapping %s", mapping->name);
        }
    }
    for (uint32_t i = 0; i < mapping->pollers; i++) {
        struct poller_context context = {
            .mapping = mapping,
            .number = i,
            .recorder = running->context->recorder,
            .publisher = running->publisher,
            .token_store = running->context->token_store,
            .claims = running->claims,
            .book = running->book,
            .park = running->context->park,
            .allowance = running->context->allowance,
        };

        running->pollers[i] = poller_new(&context, fault);
        if (!running->pollers[i]) {
            running_drop_pollers(running);
            return fault_prefix(fault, "mapping %s", mapping->name);
        }
        poller_cap(running->pollers[i], running->cap);
    }
    return 0;
}

int running_start(struct running *running, struct fault *fault)
{
    const struct mapping *mapping = running->mapping;

    recorder_set_keep(running->context->recorder, mapping->name, mapping->dead_letter_keep_us);
    recorder_set_limits(running->context->recorder, mapping->name, &mapping->dead_letter_limits);
    if (running->publisher && publisher_start(running->publisher, fault))
        return -1;
    for (uint32_t i = 0; i < mapping->pollers; i++)
        if (poller_start(running->pollers[i], fault))
            return -1;
    log_event(LOG_INFO, "mapping_started", LOG_TEXT("mapping", mapping->name),
              LOG_TEXT("connector", mapping->connector->name),
              LOG_TEXT("target", mapping->target.url), LOG_NUMBER("pollers", mapping->pollers),
              LOG_TEXT("revision", mapping->revision));
    return 0;
}

void running_stop(struct running *running, bool at_once)
{
    running->stopping = true;
    for (uint32_t i = 0; running->pollers && i < running->mapping->pollers; i++)
        poller_stop(running->pollers[i], at_once ? 0 : running->mapping->drain_us);
    if (running->publisher)
        publisher_stop(running->publisher, at_once ? 0 : running->mapping->drain_us);
}

void running_pause(struct running *running, bool paused)
{
    for (uint32_t i = 0; running->pollers && i < running->mapping->pollers; i++)
        poller_pause(running->pollers[i], paused);
}

void running_resume(struct running *running)
{
    for (uint32_t i = 0; running->pollers && i < running->mapping->pollers; i++)
        poller_resume(running->pollers[i]);
}

void running_cap(struct running *running, uint32_t invocations)
{
    running->cap = invocations;
    for (uint32_t i = 0; running->pollers && i < running->mapping->pollers; i++)
        poller_cap(running->pollers[i], invocations);
}

bool running_ended(const struct running *running)
{
    for (uint32_t i = 0; running->pollers && i < running->mapping->pollers; i++)
        if (!poller_ended(running->pollers[i]))
            return false;
    if (running->publisher)
        publisher_finish(running->publisher);
    return !running->publisher || publisher_ended(running->publisher);
}

/* ---- status ---- */

static void add_counts(struct engine_counts *sum, const struct engine_counts *more)
{
    sum->received += more->received;
    sum->done += more->done;
    sum->filtered += more->filtered;
    sum->duplicates += more->duplicates;
    sum->dead += more->dead;
    sum->invocations += more->invocations;
    sum->failed += more->failed;
    sum->retried += more->retried;
    sum->named += more->named;
    sum->refused += more->refused;
    sum->settled += more->settled;
    sum->parked += more->parked;
}

/* The latest of both. */
static void join_errors(struct poller_error *errors, const struct poller_error *more)
{
    for (size_t i = 0; i < POLLER_ERRORS; i++) {
        size_t at = 0, same = 0;

        while (same < POLLER_ERRORS && strcmp(errors[same].text, more[i].text) != 0)
            same++;
        if (!more[i].wall_us)
            break;
        if (same < POLLER_ERRORS) { /* another poller saw it too */
            errors[same].count += more[i].count;
            if (errors[same].wall_us < more[i].wall_us)
                errors[same].wall_us = more[i].wall_us;
            continue;
        }
        while (at < POLLER_ERRORS && errors[at].wall_us >= more[i].wall_us)
            at++;
        if (at == POLLER_ERRORS)
            continue;
        memmove(errors + at + 1, errors + at, (POLLER_ERRORS - 1 - at) * sizeof *errors);
        errors[at] = more[i];
    }
}

static void add_status(struct poller_status *sum, const struct poller_status *more)
{
    add_counts(&sum->counts, &more->counts);
    if (more->state > sum->state) {
        sum->state = more->state;
        memcpy(sum->state_text, more->state_text, sizeof sum->state_text);
    }
    if (more->gate > sum->gate) {
        sum->gate = more->gate;
        sum->gate_since_wall_us = more->gate_since_wall_us;
        memcpy(sum->gate_text, more->gate_text, sizeof sum->gate_text);
    }
    if (more->gate_next_wall_us &&
        (!sum->gate_next_wall_us || more->gate_next_wall_us < sum->gate_next_wall_us))
        sum->gate_next_wall_us = more->gate_next_wall_us;
    sum->begun &= more->begun;
    sum->in_flight += more->in_flight;
    sum->limit += more->limit;
    sum->unfinished += more->unfinished;
    sum->bytes += more->bytes;
    sum->waiting_retries += more->waiting_retries;
    sum->suspects += more->suspects;
    sum->lanes += more->lanes;
    if (more->lag_is_shared)
        sum->lag = more->lag > sum->lag ? more->lag : sum->lag;
    else if (more->lag >= 0)
        sum->lag = (sum->lag < 0 ? 0 : sum->lag) + more->lag;
    if (more->oldest_ms >= 0 && (sum->oldest_ms < 0 || more->oldest_ms < sum->oldest_ms))
        sum->oldest_ms = more->oldest_ms;
    sum->received_rate += more->received_rate;
    sum->done_rate += more->done_rate;
    join_errors(sum->errors, more->errors);
    sum->settle_failures += more->settle_failures;
    histogram_join(&sum->duration, &more->duration);
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++)
        if (more->exemplars[i].wall_us > sum->exemplars[i].wall_us)
            sum->exemplars[i] = more->exemplars[i];
    histogram_join(&sum->batch, &more->batch);
    histogram_join(&sum->age, &more->age);
    sum->dead_letters_stuck |= more->dead_letters_stuck;
    sum->records_stuck |= more->records_stuck;
    sum->memory_short |= more->memory_short;
    if (!sum->turn_us || more->turn_us < sum->turn_us)
        sum->turn_us = more->turn_us;
}

/* Its state is that of the pollers whose letters wait there. */
static void add_publisher(const struct running *running, struct poller_status *sum)
{
    struct publisher_status *publisher = &sum->publisher;

    if (!running->publisher)
        return;
    publisher_read_status(running->publisher, publisher);
    sum->dead_letters_stuck |= publisher->stuck;
    if (publisher->turn_us && (!sum->turn_us || publisher->turn_us < sum->turn_us))
        sum->turn_us = publisher->turn_us;
}

void running_status(const struct running *running, struct poller_status *ret_status)
{
    *ret_status = (struct poller_status){.lag = -1, .oldest_ms = -1, .begun = true};
    for (uint32_t i = 0; running->pollers && i < running->mapping->pollers; i++) {
        struct poller_status status;

        poller_read_status(running->pollers[i], &status);
        if (poller_ended(running->pollers[i]))
            status.turn_us = 0; /* it turns no more, and need not */
        add_status(ret_status, &status);
    }
    add_publisher(running, ret_status);
}

void running_lanes(const struct running *running, struct poller_lane *ret_lanes)
{
    memset(ret_lanes, 0, (lane_slots_most(running->book->lanes) + 1) * sizeof *ret_lanes);
    for (uint32_t i = 0; running->pollers && i < running->mapping->pollers; i++)
        if (!poller_ended(running->pollers[i]))
            poller_add_lanes(running->pollers[i], ret_lanes);
}
