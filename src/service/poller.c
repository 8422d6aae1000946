/* SPDX-License-Identifier: MIT
 * A poller's thread and its loop. */
#define _GNU_SOURCE
#include "service/poller.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "service/poller_inside.h"

#define STATUS_US          (CLOCK_SECOND / 4)
#define RECEIVE_MESSAGES   2000 /* at a time, so that answers are looked at in between */
#define START_RETRY_US     (5 * CLOCK_SECOND)
#define STOP_GRACE_US      (5 * CLOCK_SECOND)
#define RECEIVE_AT_LEAST_US (CLOCK_SECOND / 2) /* while there is something to do */

/* What the connector may deliver now. */
static struct sluice_room present_room(const struct poller *poller)
{
    struct sluice_room room = engine_room(poller->engine);
    size_t most = poller_park_receives(poller);

    if (room.messages > RECEIVE_MESSAGES)
        room.messages = RECEIVE_MESSAGES;
    if (room.messages > most)
        room.messages = most;
    poller_memory_bound(poller, &room);
    if (poller->stopping || poller->paused || !room.messages)
        room = (struct sluice_room){0};
    return room;
}

static void on_connector(void *argument, uint32_t events)
{
    struct poller *poller = argument;

    (void)events;
    poller->readable = true;
    /* Nothing is received before there is room: a ready descriptor would only keep the loop busy. */
    if (!poller->stopping && !present_room(poller).messages) {
        loop_unwatch(poller->loop, poller->connector->descriptor(poller->instance));
        poller->muted = true;
    }
}

static void watch_connector(struct poller *poller)
{
    loop_watch(poller->loop, poller->connector->descriptor(poller->instance), EPOLLIN,
               on_connector, poller);
    poller->muted = false;
}

static void on_mailbox(void *argument, uint32_t events)
{
    struct poller *poller = argument;
    struct mailbox_item *item = mailbox_take_all(&poller->mailbox), *next;

    (void)events;
    for (; item; item = next) {
        next = item->next;
        if (!poller_recorded(poller, item, loop_now(poller->loop)))
            poller_claim_answered(poller, item);
    }
}

static int make_parts(struct poller *poller, struct fault *fault)
{
    const struct mapping *mapping = poller->mapping;
    uint64_t seed;

    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)clock_wall();
    poller->random.state = seed | 1;
    poller->loop = loop_new(fault);
    if (!poller->loop || mailbox_init(&poller->mailbox, fault))
        return -1;
    poller->token_rule = token_rule_new(&mapping->rules.token, fault);
    poller->client = http_client_new(poller->loop, &mapping->target, fault);
    if (!poller->token_rule || !poller->client)
        return -1;
    if (poller->connector->open(&poller->host, &poller_host_api, mapping->values,
                                &poller->instance))
        return fault_set(fault, "the connector %s refused its options", poller->connector->name);
    poller->engine = engine_new(&mapping->rules, poller->token_rule,
                                mapping->capabilities & SLUICE_CAN_SETTLE_UP_TO,
                                &poller_engine_ops, poller, seed * 3 | 1);
    if (loop_watch(poller->loop, mailbox_fd(&poller->mailbox), EPOLLIN, on_mailbox, poller))
        return fault_set(fault, "cannot watch a descriptor: %s", strerror(errno));
    return 0;
}

struct poller *poller_new(const struct poller_context *context, struct fault *fault)
{
    struct poller *poller = memory_zero(1, sizeof *poller);

    poller->context = *context;
    poller->mapping = context->mapping;
    poller->connector = context->mapping->connector;
    poller->host.poller = poller;
    poller->mailbox.fd = -1;
    poller->servers = mapping_servers(poller->mapping);
    poller->envelope = (struct envelope_context){
        .format = poller->mapping->rules.format,
        .mapping = poller->mapping->name,
        .kind = mapping_kind(poller->mapping),
        .servers = poller->servers,
    };
    buffer_init(&poller->tokens, (size_t)64 << 20);
    buffer_init(&poller->unescaped, (size_t)1 << 30);
    buffer_init(&poller->finished.values, (size_t)1 << 30);
    buffer_init(&poller->dead.values, (size_t)1 << 30);
    poller_park_init(poller);
    pthread_mutex_init(&poller->status_lock, NULL);
    poller->present.state = SLUICE_STATE_CONNECTING;
    poller->present.lag = poller->present.oldest_ms = -1;
    if (context->book && !context->replay && lane_slots_most(context->book->lanes)) {
        poller->lanes = memory_zero(lane_slots_most(context->book->lanes) + 1,
                                    sizeof *poller->lanes);
        poller->present_lanes = memory_zero(lane_slots_most(context->book->lanes) + 1,
                                            sizeof *poller->lanes);
    }
    if (make_parts(poller, fault)) {
        poller_free(poller);
        return NULL;
    }
    return poller;
}

/* ---- the loop ---- */

static void start_connector(struct poller *poller, int64_t now_us)
{
    char host[64] = "localhost", name[192];

    if (poller->started || poller->stopping || now_us < poller->start_us)
        return;
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "sluice-%s-%u@%s", poller->mapping->name, poller->context.number,
             host);
    if (poller->connector->start(poller->instance, name)) {
        poller->start_us = now_us + START_RETRY_US;
        return;
    }
    poller->started = true;
    poller->readable = true;
    watch_connector(poller);
}

/* Whether all that can come is told by a descriptor, or has its time: nothing of what others do with the
 * park, or with the memory of all, is waited for. */
static bool is_quiet(const struct poller *poller)
{
    const struct poller_park *park = &poller->park;

    return poller->connector->abi_minor >= 1 && !poller->context.replay && !poller->stopping &&
           poller->present.state == SLUICE_STATE_RUNNING && !engine_unfinished(poller->engine) &&
           present_room(poller).messages &&
           (!park->feeds || (poller->mapping->pollers == 1 && lot_is_empty(park->lot)));
}

/* The connector is called when it has something to say and we have room, and from time to time in
 * any case, so that sessions stay alive. */
static void receive(struct poller *poller, int64_t now_us)
{
    struct sluice_room room = present_room(poller);
    int64_t again_us, most_us;

    if (!poller->started || poller->stopped)
        return;
    if (now_us < poller->receive_us && (!poller->readable || !room.messages))
        return;
    poller->readable = false;
    poller_settle_all(poller);
    again_us = poller->connector->receive(poller->instance, &room);
    poller_memory_tell(poller);
    if (poller->muted)
        watch_connector(poller);
    /* What it has and could not deliver its descriptor does not tell again. */
    poller->readable = again_us == 0 || !room.messages;
    most_us = is_quiet(poller) ? POLLER_TURN_MOST_US : RECEIVE_AT_LEAST_US;
    if (again_us <= 0 || again_us > most_us)
        again_us = most_us;
    poller->receive_us = now_us + again_us;
}

/* Asked to stop, or to hurry with it. */
static void begin_stop(struct poller *poller, int64_t now_us)
{
    int64_t drain_us = atomic_load(&poller->drain_us);

    if (poller->stopping && !poller->stopped && now_us >= poller->stop_most_us) {
        log_event(LOG_ERROR, "stop_late", LOG_TEXT("mapping", poller->mapping->name),
                  LOG_TEXT("connector", poller->connector->name),
                  LOG_TEXT("error", "the connector does not stop by its deadline; it is closed"));
        poller->stopped = true;
    }
    if (!atomic_load(&poller->stop_asked) || (poller->stopping && drain_us >= poller->stop_us))
        return;
    poller->stopping = true;
    poller->stop_us = drain_us;
    poller->stop_most_us = now_us + drain_us + STOP_GRACE_US;
    poller->receive_us = 0;
    poller_park_close(poller);
    if (poller->started)
        poller->connector->stop(poller->instance, drain_us);
    else
        poller->stopped = true;
}

static void take_orders(struct poller *poller, int64_t now_us)
{
    bool paused = atomic_load(&poller->pause_asked);

    begin_stop(poller, now_us);
    if (paused != poller->paused)
        engine_hold(poller->engine, paused, now_us);
    poller->paused = paused;
    engine_cap(poller->engine, atomic_load(&poller->cap));
    if (atomic_exchange(&poller->resume_asked, false))
        engine_resume(poller->engine);
}

/* Returns when to do it again, so that what others see last is how it ended. */
static int64_t publish_status(struct poller *poller, int64_t now_us)
{
    struct poller_status *present = &poller->present;
    const struct gate *gate = engine_gate(poller->engine);

    if (now_us < poller->status_us)
        return poller->status_us;
    poller->status_us = now_us + STATUS_US;
    present->counts = *engine_counts(poller->engine);
    present->gate = gate->state;
    present->gate_next_wall_us = gate_probing(gate) && gate->next_us > now_us
                                     ? clock_wall() + gate->next_us - now_us
                                     : 0;
    present->in_flight = gate->in_flight;
    present->limit = gate_present_limit(gate);
    present->unfinished = engine_unfinished(poller->engine);
    present->waiting_retries = engine_waiting_retries(poller->engine);
    present->suspects = engine_suspects(poller->engine);
    present->dead_letters_stuck = poller->dead.failing;
    present->records_stuck = poller->finished.failing || poller->parked.failing;
    present->memory_short = poller_memory_short(poller, now_us);
    present->begun = true;
    present->turn_us = now_us;
    poller_watch_fill(poller, now_us);
    pthread_mutex_lock(&poller->status_lock);
    poller->status = *present;
    if (poller->lanes)
        memcpy(poller->lanes, poller->present_lanes,
               (lane_slots_most(poller->context.book->lanes) + 1) * sizeof *poller->lanes);
    pthread_mutex_unlock(&poller->status_lock);
    return CLOCK_NEVER;
}

static int64_t earliest(int64_t a_us, int64_t b_us)
{
    return a_us < b_us ? a_us : b_us;
}

/* What came from the park lands too, unless it takes too long. */
static bool has_stopped(const struct poller *poller)
{
    return poller->stopped &&
           (poller_park_drained(poller) || loop_now(poller->loop) >= poller->stop_most_us);
}

static void turn(struct poller *poller)
{
    int64_t now_us = loop_now(poller->loop), until_us;

    take_orders(poller, now_us);
    start_connector(poller, now_us);
    /* Answers came in the last turn: what they let go on comes before new messages. */
    engine_run(poller->engine, now_us);
    receive(poller, now_us);
    poller_park_feed(poller, now_us);
    if (poller->token_retry_us && now_us >= poller->token_retry_us)
        poller_claim_retry(poller);
    until_us = engine_run(poller->engine, now_us);
    poller_answer_refused(poller);
    poller_record(poller, now_us);
    poller_release_all(poller);
    poller_memory_tell(poller);
    until_us = earliest(until_us, publish_status(poller, now_us));
    until_us = earliest(until_us, now_us + POLLER_TURN_MOST_US);
    until_us = earliest(until_us, poller_record_again_us(poller));
    until_us = earliest(until_us, poller_park_again_us(poller, now_us));
    if (poller->started)
        until_us = earliest(until_us, poller->receive_us);
    if (poller->token_retry_us)
        until_us = earliest(until_us, poller->token_retry_us);
    if (poller->refused || (poller->readable && present_room(poller).messages))
        until_us = now_us;
    if (!has_stopped(poller))
        loop_turn(poller->loop, until_us);
}

static void *run(void *argument)
{
    struct poller *poller = argument;
    struct token_store *store = poller->context.token_store;
    struct fault fault;

    poller->reader = store->ops->reader_new(store, &fault);
    if (!poller->reader)
        log_event(LOG_ERROR, "poller_failed", LOG_TEXT("mapping", poller->mapping->name),
                  LOG_TEXT("error", fault.text));
    while (poller->reader && !has_stopped(poller))
        turn(poller);
    if (poller->started && !poller->muted)
        loop_unwatch(poller->loop, poller->connector->descriptor(poller->instance));
    if (poller->instance)
        poller->connector->close(poller->instance);
    poller->instance = NULL;
    /* What the recorder has is finished there; its replies must not outlive the mailbox. */
    poller_park_end(poller);
    if (poller->reader)
        store->ops->reader_free(poller->reader);
    poller_memory_end(poller);
    poller->status_us = 0;
    poller->present.lanes = 0;
    atomic_store(&poller->ended, true);
    return NULL;
}

int poller_start(struct poller *poller, struct fault *fault)
{
    char name[16];
    int failed;

    poller->status.turn_us = clock_now(); /* so that one stuck in its first turn is noticed */
    failed = pthread_create(&poller->thread, NULL, run, poller);

    if (failed)
        return fault_set(fault, "cannot start a thread: %s", strerror(failed));
    poller->running = true;
    snprintf(name, sizeof name, "p%u-%.11s", poller->context.number % 100, poller->mapping->name);
    pthread_setname_np(poller->thread, name);
    return 0;
}

void poller_stop(struct poller *poller, int64_t drain_us)
{
    atomic_store(&poller->drain_us, drain_us);
    atomic_store(&poller->stop_asked, true);
    mailbox_wake(&poller->mailbox);
}

void poller_pause(struct poller *poller, bool paused)
{
    atomic_store(&poller->pause_asked, paused);
    mailbox_wake(&poller->mailbox);
}

void poller_resume(struct poller *poller)
{
    atomic_store(&poller->resume_asked, true);
    mailbox_wake(&poller->mailbox);
}

void poller_cap(struct poller *poller, uint32_t invocations)
{
    atomic_store(&poller->cap, invocations);
    mailbox_wake(&poller->mailbox);
}

bool poller_ended(const struct poller *poller)
{
    return !poller->running || atomic_load(&poller->ended);
}

void poller_free(struct poller *poller)
{
    if (!poller)
        return;
    if (poller->running)
        pthread_join(poller->thread, NULL);
    /* Nobody posts to the mailbox any more. */
    claims_forget(poller->context.claims, &poller->mailbox);
    recorder_quiesce(poller->context.recorder);
    if (poller->instance)
        poller->connector->close(poller->instance);
    engine_free(poller->engine);
    poller_park_fini(poller);
    http_client_free(poller->client);
    poller_free_invocations(poller);
    poller_free_recordings(poller);
    free(poller->waiter);
    claims_leave(poller->context.claims, &poller->mailbox);
    token_rule_free(poller->token_rule);
    buffer_fini(&poller->unescaped);
    if (poller->mailbox.fd >= 0)
        mailbox_fini(&poller->mailbox);
    loop_free(poller->loop);
    pthread_mutex_destroy(&poller->status_lock);
    free(poller->servers);
    free(poller->lanes);
    free(poller->present_lanes);
    free(poller);
}

void poller_read_status(struct poller *poller, struct poller_status *ret_status)
{
    pthread_mutex_lock(&poller->status_lock);
    *ret_status = poller->status;
    pthread_mutex_unlock(&poller->status_lock);
}
