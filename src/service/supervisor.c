/* SPDX-License-Identifier: MIT */
#include "service/supervisor_inside.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#define START_RETRY_US (5 * CLOCK_SECOND)
#define AT_ONCE        1 /* as a time to start at */

static int open_stores(struct supervisor *supervisor, struct fault *fault)
{
    const struct service_settings *service = &supervisor->configuration->service;

    if (mkdir(service->state_directory, 0700) && errno != EEXIST)
        return fault_set(fault,
                         "%s: cannot make the state directory: %s; make it and give it to the user "
                         "that runs sluice, or name another by state_directory or --state",
                         service->state_directory, strerror(errno));
    supervisor->state_directory = memory_text(service->state_directory);
    supervisor->tokens =
        token_store_lmdb_open(service->state_directory, service->store_bytes,
                              configuration_longest_ttl(supervisor->configuration), fault);
    if (!supervisor->tokens)
        return -1;
    supervisor->letters =
        dead_letter_store_sqlite_open(service->state_directory, DEAD_LETTER_WRITE, fault);
    if (!supervisor->letters)
        return -1;
    supervisor->park = park_open(service->state_directory, fault);
    if (!supervisor->park)
        return -1;
    supervisor->recorder = recorder_new(supervisor->tokens, supervisor->letters, NULL, fault);
    if (!supervisor->recorder)
        return -1;
    recorder_use_park(supervisor->recorder, park_store(supervisor->park));
    return 0;
}

const struct mapping *supervisor_mapping_of(const struct slot *slot)
{
    return slot->next ? slot->next->mapping : slot->now->mapping;
}

static const char *name_of(const struct slot *slot)
{
    return supervisor_mapping_of(slot)->name;
}

struct supervisor *supervisor_new(struct configuration *configuration, struct fault *fault)
{
    struct supervisor *supervisor = memory_zero(1, sizeof *supervisor);
    struct supervisor_changes changes;

    pthread_mutex_init(&supervisor->mutex, NULL);
    supervisor->configuration = configuration_hold(configuration);
    supervisor->first = configuration_hold(configuration);
    if (configuration->service.traces.http.url) {
        supervisor->tracer = tracer_start(&configuration->service.traces, fault);
        if (!supervisor->tracer) {
            supervisor_free(supervisor);
            return NULL;
        }
    }
    supervisor->books = books_new(configuration->service.metric_lanes, supervisor->tracer);
    allowance_set(&supervisor->allowance, configuration->service.memory);
    if (open_stores(supervisor, fault)) {
        supervisor_free(supervisor);
        return NULL;
    }
    supervisor->context = (struct running_context){
        .recorder = supervisor->recorder,
        .token_store = supervisor->tokens,
        .books = supervisor->books,
        .park = supervisor->park,
        .allowance = &supervisor->allowance,
    };
    if (supervisor_apply(supervisor, configuration, &changes, fault)) {
        supervisor_free(supervisor);
        return NULL;
    }
    return supervisor;
}

/* ---- taking a configuration over ---- */

/* The place of the name among the slots; *ret_found: whether it is there. */
static size_t find_slot(const struct supervisor *supervisor, const char *name, bool *ret_found)
{
    size_t low = 0, high = supervisor->slot_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name_of(&supervisor->slots[middle]), name);

        if (!order) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = false;
    return low;
}

/* What a configuration makes of its mappings: something new that runs for it, NULL: stays. */
static int prepare(struct supervisor *supervisor, struct configuration *configuration,
                   struct running **fresh, struct fault *fault)
{
    for (size_t i = 0; i < configuration->mapping_count; i++) {
        const struct mapping *mapping = configuration->mappings[i];
        bool found;
        const struct slot *slot = &supervisor->slots[find_slot(supervisor, mapping->name, &found)];

        if (found && !slot->removed && mapping_same(supervisor_mapping_of(slot), mapping))
            continue;
        fresh[i] = running_new(configuration, mapping, found ? slot->now->claims : NULL,
                               &supervisor->context);
        if ((!found || slot->wish != SUPERVISOR_DRAIN) && running_prepare(fresh[i], fault))
            return -1;
    }
    return 0;
}

static void insert_slot(struct supervisor *supervisor, size_t at, struct running *running)
{
    supervisor->slots = memory_resize(supervisor->slots, supervisor->slot_count + 1,
                                      sizeof *supervisor->slots);
    memmove(&supervisor->slots[at + 1], &supervisor->slots[at],
            (supervisor->slot_count - at) * sizeof *supervisor->slots);
    supervisor->slot_count++;
    supervisor->slots[at] = (struct slot){.now = running, .start_us = AT_ONCE};
}

static void replace(struct slot *slot, struct running *running)
{
    running_free(slot->next); /* never started */
    slot->next = running;
    slot->removed = false;
    if (!slot->now->stopping)
        running_stop(slot->now, false);
}

static bool is_wanted(const struct configuration *configuration, const char *name)
{
    for (size_t i = 0; i < configuration->mapping_count; i++)
        if (!strcmp(configuration->mappings[i]->name, name))
            return true;
    return false;
}

static void remove_unwanted(struct supervisor *supervisor, struct supervisor_changes *changes)
{
    for (size_t i = 0; i < supervisor->slot_count; i++) {
        struct slot *slot = &supervisor->slots[i];

        if (slot->removed || is_wanted(supervisor->configuration, name_of(slot)))
            continue;
        changes->removed++;
        slot->removed = true;
        log_event(LOG_INFO, "mapping_removed", LOG_TEXT("mapping", name_of(slot)));
        running_free(slot->next); /* never started */
        slot->next = NULL;
        if (!slot->now->stopping)
            running_stop(slot->now, false);
    }
}

static void commit(struct supervisor *supervisor, struct configuration *configuration,
                   struct running **fresh, struct supervisor_changes *changes)
{
    configuration_free(supervisor->configuration);
    supervisor->configuration = configuration_hold(configuration);
    for (size_t i = 0; i < configuration->mapping_count; i++) {
        bool found;
        size_t at;

        if (!fresh[i]) {
            changes->unchanged++;
            continue;
        }
        at = find_slot(supervisor, configuration->mappings[i]->name, &found);
        if (found) {
            changes->changed++;
            log_event(LOG_INFO, "mapping_changed",
                      LOG_TEXT("mapping", configuration->mappings[i]->name));
            replace(&supervisor->slots[at], fresh[i]);
        } else {
            changes->added++;
            insert_slot(supervisor, at, fresh[i]);
        }
    }
    remove_unwanted(supervisor, changes);
}

int supervisor_apply(struct supervisor *supervisor, struct configuration *configuration,
                     struct supervisor_changes *ret_changes, struct fault *fault)
{
    struct supervisor_changes changes = {0};
    struct running **fresh;
    int failed;

    if (supervisor->stopping)
        return fault_set(fault, "the service is stopping");
    fresh = memory_zero(configuration->mapping_count, sizeof *fresh);
    failed = prepare(supervisor, configuration, fresh, fault);
    if (failed) {
        for (size_t i = 0; i < configuration->mapping_count; i++)
            running_free(fresh[i]);
    } else {
        pthread_mutex_lock(&supervisor->mutex);
        commit(supervisor, configuration, fresh, &changes);
        for (size_t i = 0; i < supervisor->slot_count; i++)
            running_cap(supervisor->slots[i].now, 0);
        pthread_mutex_unlock(&supervisor->mutex);
        *ret_changes = changes;
    }
    free(fresh);
    return failed;
}

/* ---- from one to the next ---- */

/* Starts what runs for the slot, unless it is to stay drained. */
static int start(struct slot *slot, struct fault *fault)
{
    slot->start_us = 0;
    if (slot->wish == SUPERVISOR_DRAIN) {
        running_drop_pollers(slot->now);
        return 0;
    }
    if (!slot->now->pollers && running_prepare(slot->now, fault))
        return -1;
    running_pause(slot->now, slot->wish == SUPERVISOR_PAUSE);
    if (!running_start(slot->now, fault))
        return 0;
    running_stop(slot->now, true);
    return -1;
}

int supervisor_start(struct supervisor *supervisor, struct fault *fault)
{
    int failed = 0;

    if (recorder_start(supervisor->recorder, fault))
        return -1;
    pthread_mutex_lock(&supervisor->mutex);
    for (size_t i = 0; i < supervisor->slot_count && !failed; i++)
        failed = start(&supervisor->slots[i], fault);
    pthread_mutex_unlock(&supervisor->mutex);
    return failed;
}

static void start_or_wait(struct slot *slot)
{
    struct fault fault;

    if (!start(slot, &fault))
        return;
    log_event(LOG_ERROR, "mapping_start_failed", LOG_TEXT("mapping", name_of(slot)),
              LOG_TEXT("error", fault.text), LOG_TEXT("effect", "it is tried again"));
    slot->start_us = clock_now() + START_RETRY_US;
}

/* Goes on with one slot. Returns whether it can be dropped. */
static bool advance(struct slot *slot)
{
    if (slot->now->stopping) {
        if (!running_ended(slot->now))
            return false;
        /* A replay goes on with its claims: whoever adds the mapping again has to meet it there. */
        if (slot->removed && claims_shared(slot->now->claims))
            return false;
        log_event(LOG_INFO, "mapping_stopped", LOG_TEXT("mapping", name_of(slot)));
        if (slot->removed)
            return true;
        if (slot->next) {
            running_free(slot->now);
            slot->now = slot->next;
            slot->next = NULL;
        } else {
            running_drop_pollers(slot->now);
        }
        if (!slot->start_us)
            slot->start_us = AT_ONCE; /* which leaves drained what is to be */
    }
    if (slot->start_us && clock_now() >= slot->start_us)
        start_or_wait(slot);
    return false;
}

void supervisor_tick(struct supervisor *supervisor)
{
    size_t kept = 0;

    books_tidy(supervisor->books, clock_now());
    if (supervisor->stopping)
        return;
    pthread_mutex_lock(&supervisor->mutex);
    for (size_t i = 0; i < supervisor->slot_count; i++) {
        if (advance(&supervisor->slots[i])) {
            running_free(supervisor->slots[i].now);
            running_free(supervisor->slots[i].next);
        } else {
            supervisor->slots[kept++] = supervisor->slots[i];
        }
    }
    supervisor->slot_count = kept;
    pthread_mutex_unlock(&supervisor->mutex);
}

/* ---- wishes ---- */

static int run_again(struct slot *slot, struct fault *fault)
{
    struct running *running = slot->now;

    if (running->stopping || slot->start_us)
        return 0; /* supervisor_tick starts it */
    if (!running->pollers)
        return start(slot, fault);
    running_pause(running, false);
    running_resume(running);
    return 0;
}

static int grant(struct slot *slot, enum supervisor_wish wish, struct fault *fault)
{
    if (wish == SUPERVISOR_PAUSE && slot->wish == SUPERVISOR_DRAIN)
        return fault_set(fault, "%s is drained, which is more than paused; resume starts it",
                         name_of(slot));
    if (slot->wish != wish)
        slot->wish_since_wall_us = clock_wall();
    slot->wish = wish;
    if (wish == SUPERVISOR_RUN)
        return run_again(slot, fault);
    if (wish == SUPERVISOR_PAUSE)
        running_pause(slot->now, true);
    else if (!slot->now->stopping)
        running_stop(slot->now, false);
    return 0;
}

bool supervisor_knows(const struct supervisor *supervisor, const char *mapping)
{
    bool found;
    size_t at = find_slot(supervisor, mapping, &found);

    return found && !supervisor->slots[at].removed;
}

int supervisor_wish(struct supervisor *supervisor, const char *mapping, enum supervisor_wish wish,
                    struct fault *fault)
{
    bool found;
    size_t at = find_slot(supervisor, mapping, &found);
    int failed;

    if (!found || supervisor->slots[at].removed)
        return fault_set(fault, "there is no mapping %s", mapping);
    if (supervisor->stopping)
        return fault_set(fault, "the service is stopping");
    pthread_mutex_lock(&supervisor->mutex);
    failed = grant(&supervisor->slots[at], wish, fault);
    pthread_mutex_unlock(&supervisor->mutex);
    return failed;
}

int supervisor_cap(struct supervisor *supervisor, const char *mapping, int64_t invocations,
                   struct fault *fault)
{
    bool found;
    size_t at = find_slot(supervisor, mapping, &found);
    uint32_t most;

    if (!found || supervisor->slots[at].removed)
        return fault_set(fault, "there is no mapping %s", mapping);
    most = supervisor->slots[at].now->mapping->rules.concurrency.most;
    if (invocations < 1 || invocations > most)
        return fault_set(fault,
                         "concurrency: found %lld, expected 1 to %u, as target.http.concurrency of "
                         "%s allows; for more change its file and reload",
                         (long long)invocations, most, mapping);
    pthread_mutex_lock(&supervisor->mutex);
    running_cap(supervisor->slots[at].now, (uint32_t)invocations);
    pthread_mutex_unlock(&supervisor->mutex);
    return 0;
}

/* ---- the end ---- */

void supervisor_stop(struct supervisor *supervisor, bool at_once)
{
    pthread_mutex_lock(&supervisor->mutex);
    supervisor->stopping = true;
    for (size_t i = 0; i < supervisor->slot_count; i++)
        running_stop(supervisor->slots[i].now, at_once);
    pthread_mutex_unlock(&supervisor->mutex);
}

int64_t supervisor_drain_us(const struct supervisor *supervisor)
{
    int64_t drain_us = 0;

    for (size_t i = 0; i < supervisor->slot_count; i++)
        if (supervisor->slots[i].now->mapping->drain_us > drain_us)
            drain_us = supervisor->slots[i].now->mapping->drain_us;
    return drain_us;
}

bool supervisor_ended(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->slot_count; i++)
        if (!running_ended(supervisor->slots[i].now))
            return false;
    return supervisor->stopping;
}

void supervisor_free(struct supervisor *supervisor)
{
    if (!supervisor)
        return;
    /* The pollers end before the recorder: they wait for its replies. Their mailboxes stay until
       the recorder's thread can no longer be inside one. */
    supervisor->stopping = true;
    while (supervisor->recorder && !supervisor_ended(supervisor))
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    if (supervisor->recorder)
        recorder_stop(supervisor->recorder);
    for (size_t i = 0; i < supervisor->slot_count; i++) {
        running_free(supervisor->slots[i].now);
        running_free(supervisor->slots[i].next);
    }
    free(supervisor->slots);
    tracer_stop(supervisor->tracer);
    books_free(supervisor->books);
    recorder_free(supervisor->recorder);
    park_close(supervisor->park);
    if (supervisor->letters)
        supervisor->letters->ops->close(supervisor->letters);
    if (supervisor->tokens)
        supervisor->tokens->ops->close(supervisor->tokens);
    configuration_free(supervisor->configuration);
    configuration_free(supervisor->first);
    free(supervisor->state_directory);
    pthread_mutex_destroy(&supervisor->mutex);
    free(supervisor);
}

/* ---- replays ---- */

struct held_mapping {
    struct configuration *configuration;
    struct claims *claims;
};

struct supervisor_hold {
    struct mapping **mappings;
    struct held_mapping *held; /* of each */
    size_t count;
};

static struct claims *held_claims(void *argument, const char *mapping)
{
    const struct supervisor_hold *hold = argument;

    for (size_t i = 0; i < hold->count; i++)
        if (!strcmp(hold->mappings[i]->name, mapping))
            return hold->held[i].claims;
    return NULL;
}

static void hold_slot(struct supervisor_hold *hold, const struct slot *slot)
{
    const struct running *running = slot->next ? slot->next : slot->now;

    hold->mappings[hold->count] = (struct mapping *)(uintptr_t)running->mapping;
    hold->held[hold->count++] = (struct held_mapping){
        .configuration = configuration_hold(running->configuration),
        .claims = claims_hold(running->claims),
    };
}

struct supervisor_hold *supervisor_hold(struct supervisor *supervisor,
                                        struct replay_context *ret_context)
{
    struct supervisor_hold *hold = NULL;

    pthread_mutex_lock(&supervisor->mutex);
    if (!supervisor->stopping) {
        hold = memory_zero(1, sizeof *hold);
        hold->mappings = memory_zero(supervisor->slot_count + 1, sizeof *hold->mappings);
        hold->held = memory_zero(supervisor->slot_count + 1, sizeof *hold->held);
        for (size_t i = 0; i < supervisor->slot_count; i++)
            if (!supervisor->slots[i].removed)
                hold_slot(hold, &supervisor->slots[i]);
        *ret_context = (struct replay_context){
            .state_directory = supervisor->state_directory,
            .mappings = hold->mappings,
            .mapping_count = hold->count,
            .recorder = supervisor->recorder,
            .token_store = supervisor->tokens,
            .books = supervisor->books,
            .allowance = &supervisor->allowance,
            .claims = held_claims,
            .argument = hold,
        };
    }
    pthread_mutex_unlock(&supervisor->mutex);
    return hold;
}

void supervisor_let_go(struct supervisor_hold *hold)
{
    if (!hold)
        return;
    for (size_t i = 0; i < hold->count; i++) {
        claims_free(hold->held[i].claims);
        configuration_free(hold->held[i].configuration);
    }
    free(hold->mappings);
    free(hold->held);
    free(hold);
}
