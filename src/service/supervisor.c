/* SPDX-License-Identifier: MIT */
#include "service/supervisor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

struct running {
    const struct mapping *mapping;
    struct claims *claims;
    struct poller **pollers;
};

struct supervisor {
    const struct configuration *configuration;
    struct token_store *tokens;
    struct dead_letter_store *letters;
    struct recorder *recorder;
    struct running *running; /* one for each mapping */
};

static int64_t longest_ttl(const struct configuration *configuration)
{
    int64_t ttl_us = CLOCK_HOUR;

    for (size_t i = 0; i < configuration->mapping_count; i++)
        if (configuration->mappings[i]->rules.token.ttl_us > ttl_us)
            ttl_us = configuration->mappings[i]->rules.token.ttl_us;
    return ttl_us;
}

static int open_stores(struct supervisor *supervisor, struct fault *fault)
{
    const struct service_settings *service = &supervisor->configuration->service;

    if (mkdir(service->state_directory, 0700) && errno != EEXIST)
        return fault_set(fault,
                         "%s: cannot make the state directory: %s; make it and give it to the user "
                         "that runs sluice, or name another by state_directory or --state",
                         service->state_directory, strerror(errno));
    supervisor->tokens =
        token_store_lmdb_open(service->state_directory, service->store_bytes,
                              longest_ttl(supervisor->configuration), fault);
    if (!supervisor->tokens)
        return -1;
    supervisor->letters =
        dead_letter_store_sqlite_open(service->state_directory, DEAD_LETTER_WRITE, fault);
    if (!supervisor->letters)
        return -1;
    supervisor->recorder = recorder_new(supervisor->tokens, supervisor->letters, NULL, fault);
    return supervisor->recorder ? 0 : -1;
}

static int make_pollers(struct supervisor *supervisor, struct running *running,
                        const struct mapping *mapping, struct fault *fault)
{
    running->mapping = mapping;
    running->claims = claims_new();
    running->pollers = memory_zero(mapping->pollers, sizeof(struct poller *));
    recorder_set_keep(supervisor->recorder, mapping->name, mapping->dead_letter_keep_us);
    recorder_set_limits(supervisor->recorder, mapping->name, &mapping->dead_letter_limits);
    for (uint32_t i = 0; i < mapping->pollers; i++) {
        struct poller_context context = {
            .mapping = mapping,
            .number = i,
            .recorder = supervisor->recorder,
            .token_store = supervisor->tokens,
            .claims = running->claims,
        };

        running->pollers[i] = poller_new(&context, fault);
        if (!running->pollers[i])
            return fault_prefix(fault, "mapping %s", mapping->name);
    }
    return 0;
}

struct supervisor *supervisor_new(const struct configuration *configuration, struct fault *fault)
{
    struct supervisor *supervisor = memory_zero(1, sizeof *supervisor);

    supervisor->configuration = configuration;
    supervisor->running =
        memory_zero(configuration->mapping_count, sizeof *supervisor->running);
    if (open_stores(supervisor, fault)) {
        supervisor_free(supervisor);
        return NULL;
    }
    for (size_t i = 0; i < configuration->mapping_count; i++)
        if (make_pollers(supervisor, &supervisor->running[i], configuration->mappings[i], fault)) {
            supervisor_free(supervisor);
            return NULL;
        }
    return supervisor;
}

int supervisor_start(struct supervisor *supervisor, struct fault *fault)
{
    if (recorder_start(supervisor->recorder, fault))
        return -1;
    for (size_t i = 0; i < supervisor->configuration->mapping_count; i++) {
        const struct running *running = &supervisor->running[i];

        for (uint32_t j = 0; j < running->mapping->pollers; j++)
            if (poller_start(running->pollers[j], fault))
                return -1;
        log_event(LOG_INFO, "mapping_started", LOG_TEXT("mapping", running->mapping->name),
                  LOG_TEXT("connector", running->mapping->connector->name),
                  LOG_TEXT("target", running->mapping->target.url),
                  LOG_NUMBER("pollers", running->mapping->pollers),
                  LOG_TEXT("revision", running->mapping->revision));
    }
    return 0;
}

void supervisor_stop(struct supervisor *supervisor, bool at_once)
{
    for (size_t i = 0; i < supervisor->configuration->mapping_count; i++) {
        const struct running *running = &supervisor->running[i];

        for (uint32_t j = 0; j < running->mapping->pollers; j++)
            poller_stop(running->pollers[j], at_once ? 0 : running->mapping->drain_us);
    }
}

bool supervisor_ended(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->configuration->mapping_count; i++)
        for (uint32_t j = 0; j < supervisor->running[i].mapping->pollers; j++)
            if (!poller_ended(supervisor->running[i].pollers[j]))
                return false;
    return true;
}

static void free_running(struct running *running)
{
    for (uint32_t i = 0; running->pollers && i < running->mapping->pollers; i++)
        poller_free(running->pollers[i]);
    free(running->pollers);
    claims_free(running->claims);
}

void supervisor_free(struct supervisor *supervisor)
{
    if (!supervisor)
        return;
    /* The pollers end before the recorder: they wait for its replies. Their mailboxes stay until
       the recorder's thread can no longer be inside one. */
    while (supervisor->recorder && !supervisor_ended(supervisor))
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    if (supervisor->recorder)
        recorder_stop(supervisor->recorder);
    for (size_t i = 0; i < supervisor->configuration->mapping_count; i++)
        free_running(&supervisor->running[i]);
    recorder_free(supervisor->recorder);
    if (supervisor->letters)
        supervisor->letters->ops->close(supervisor->letters);
    if (supervisor->tokens)
        supervisor->tokens->ops->close(supervisor->tokens);
    free(supervisor->running);
    free(supervisor);
}

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
    sum->in_flight += more->in_flight;
    sum->limit += more->limit;
    sum->unfinished += more->unfinished;
    sum->waiting_retries += more->waiting_retries;
    sum->suspects += more->suspects;
    sum->lanes += more->lanes;
    if (more->lag >= 0)
        sum->lag = (sum->lag < 0 ? 0 : sum->lag) + more->lag;
    sum->dead_letters_stuck |= more->dead_letters_stuck;
    sum->records_stuck |= more->records_stuck;
    if (!sum->turn_us || more->turn_us < sum->turn_us)
        sum->turn_us = more->turn_us;
}

void supervisor_status(struct supervisor *supervisor, size_t index,
                       struct poller_status *ret_status)
{
    const struct running *running = &supervisor->running[index];

    *ret_status = (struct poller_status){.lag = -1};
    for (uint32_t i = 0; i < running->mapping->pollers; i++) {
        struct poller_status status;

        poller_read_status(running->pollers[i], &status);
        add_status(ret_status, &status);
    }
}

void supervisor_recorder_stats(struct supervisor *supervisor, struct recorder_stats *ret_stats)
{
    recorder_stats(supervisor->recorder, ret_stats);
}
