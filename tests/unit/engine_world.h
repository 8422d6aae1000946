/* SPDX-License-Identifier: MIT
 * A world around an engine, in virtual time: a source with lanes, a scripted target, a recorder that
 * is durable after a while or fails, claims. It checks at every step what must always hold, and
 * counts what tests ask for. Drives the engine as src/service/poller.c does. */
#ifndef ENGINE_WORLD_H
#define ENGINE_WORLD_H

#include "engine_world_park.h"

static const struct engine_ops world_ops = {
    .filter = world_filter,
    .invoke = world_invoke,
    .claim = world_claim_any,
    .unclaim = world_unclaim,
    .settle = world_settle_any,
    .release = world_release,
    .pause_lane = world_pause_lane,
    .lane_drained = world_drained,
    .headers = world_headers,
    .fingerprint = world_fingerprint,
    .sha256 = world_sha256,
    .event = world_event,
    .park = world_park,
    .parked = world_parked,
    .park_precedes = world_park_precedes,
    .park_begins = world_park_begins,
    .unpark = world_unpark,
    .release_parked = world_release_parked,
};

/* ---- source ---- */

UNUSED static void world_start_engine(struct world *world)
{
    struct fault fault;

    if (!world->token_rule)
        world->token_rule = token_rule_new(&world->rules.token, &fault);
    world->engine = engine_new(&world->rules, world->token_rule, !world->by_message, &world_ops,
                               world, random_next(&world->random) | 1);
}

UNUSED static struct world *world_new(size_t lanes, uint64_t seed)
{
    struct world *world = memory_zero(1, sizeof *world);

    world->rules = (struct rules){
        .order = ORDER_LANE,
        .batch = {.size = 100, .bytes = 1 << 20},
        .token = {.source = TOKEN_POSITION},
        .retry = {.attempts = 5,
                  .backoff_first_us = 200 * CLOCK_MS,
                  .backoff_most_us = 30 * CLOCK_SECOND,
                  .patience_us = 2 * CLOCK_MINUTE,
                  .probe_first_us = 30 * CLOCK_SECOND,
                  .probe_most_us = 10 * CLOCK_MINUTE,
                  .split = true},
        .concurrency = {.least = 1, .most = 32},
        .buffer_messages = 10000,
        .buffer_bytes = 64 << 20,
        .distance = 100000,
    };
    world->now_us = 1000 * CLOCK_SECOND;
    world->random.state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    world->latency_us = 20 * CLOCK_MS;
    world->record_us = 5 * CLOCK_MS;
    world->lane_count = lanes;
    world->stable = true;
    world->park.lot = lot_new();
    for (size_t i = 0; i < lanes; i++) {
        snprintf(world->lanes[i].name, sizeof world->lanes[i].name, "orders/%zu", i);
        buffer_init(&world->lanes[i].record, POSITIONS_BYTES_MOST);
        buffer_init(&world->finished.values[i], POSITIONS_BYTES_MOST);
    }
    return world;
}

UNUSED static struct item *world_add(struct world *world, size_t lane_number, int64_t at_us)
{
    struct source_lane *lane = &world->lanes[lane_number];
    struct item *item;

    /* Items keep their place: handles point to them. */
    assert_true(lane->count < 20000);
    if (!lane->items)
        lane->items = memory_zero(20000, sizeof *lane->items);
    item = &lane->items[lane->count];
    *item = (struct item){.lane = (uint32_t)lane_number, .index = (uint32_t)lane->count,
                          .position = lane->count ? lane->items[lane->count - 1].position + 1 : 0,
                          .at_us = world->now_us + at_us};
    item->size = (size_t)snprintf(item->payload, sizeof item->payload, "message %zu/%u",
                                  lane_number, item->index);
    lane->count++;
    return item;
}

/* So many messages, spread over all lanes, `every_us` apart. */
UNUSED static void world_add_many(struct world *world, size_t count, int64_t every_us)
{
    for (size_t i = 0; i < count; i++)
        world_add(world, i % world->lane_count, (int64_t)i * every_us);
}

UNUSED static void world_assign(struct world *world, size_t number)
{
    struct source_lane *lane = &world->lanes[number];
    struct sluice_lane info = {.name = lane->name, .source = "orders",
                               .partition = (int32_t)number, .cookie = lane};
    struct positions positions = {0};

    if (lane->record.size)
        assert_int_equal(positions_read(&positions, lane->record.data, lane->record.size), 0);
    lane->lane = engine_lane_open(world->engine, &info, &positions);
    lane->paused = lane->drained = false;
    lane->generation++;
    lane->committing = lane->committed;
    lane->commit_us = 0;
    lane->next = 0;
    while (lane->next < lane->count && lane->items[lane->next].position < lane->committed)
        lane->next++;
    if (lane->committed && !world->silent_source && !world->by_message)
        engine_lane_settled(world->engine, lane->lane, lane->committed);
}

UNUSED static void world_lose(struct world *world, size_t number)
{
    struct source_lane *lane = &world->lanes[number];

    engine_lane_lost(world->engine, lane->lane);
    lane->lane = NULL;
    if (lane->commit_us && random_up_to(&world->random, 1))
        lane->committed = lane->committing;
}

UNUSED static void world_assign_all(struct world *world)
{
    for (size_t i = 0; i < world->lane_count; i++)
        if (!world->lanes[i].lane)
            world_assign(world, i);
}

UNUSED static void world_open(struct world *world)
{
    world_start_engine(world);
    world_assign_all(world);
}

static void deliver_one(struct world *world, struct source_lane *lane, struct item *item)
{
    struct handle *handle = handle_new(world, item);
    size_t key = strlen(item->key);
    struct sluice_message message = {.lane = lane->lane, .handle = handle,
                                     .position = item->position};

    if (world->by_message) /* nothing tells that it was done */
        item->durable &= item->token[0] != 0;
    item->delivered++;
    message.endangered = world->many && item->delivered >= world->many;
    if (key)
        message.key = (struct sluice_bytes){handle->bytes, key};
    message.payload = (struct sluice_bytes){handle->bytes + key, item->size};
    if (item->token[0])
        message.message_id = (struct sluice_bytes){item->token, strlen(item->token)};
    engine_feed(world->engine, &message, 1, world->now_us);
}

static bool deliverable(const struct world *world, const struct source_lane *lane)
{
    return lane->lane && !lane->paused && !lane->lane->closing && lane->next < lane->count &&
           lane->items[lane->next].at_us <= world->now_us;
}

static void deliver(struct world *world)
{
    struct sluice_room room = engine_room(world->engine);
    size_t fed = 0, parked = world->park.out, parked_bytes = world->park.out_bytes;

    if (room.messages > park_receives(world))
        room.messages = park_receives(world);
    for (bool any = true; any && fed < room.messages;) {
        any = false;
        for (size_t i = 0; i < world->lane_count && fed < room.messages; i++) {
            struct source_lane *lane = &world->lanes[i];

            for (int j = 0; j < 50 && deliverable(world, lane) && fed < room.messages; j++) {
                struct item *item = &lane->items[lane->next];
                size_t bytes = item->size + strlen(item->key);

                if (!(world->by_message && item->settled)) {
                    if (fed && room.bytes < bytes)
                        return;
                    room.bytes -= room.bytes < bytes ? room.bytes : bytes;
                    deliver_one(world, lane, item);
                    fed++;
                }
                lane->next++;
                any = true;
            }
        }
    }
    /* 8 more may come in to be witnesses. */
    assert_true(engine_unjudged(world->engine) <= world->rules.buffer_messages + 8 + parked);
    assert_true(engine_unfinished(world->engine) <=
                5 * (size_t)world->rules.buffer_messages + 8 + parked);
    assert_true(world->handle_bytes <=
                world->rules.buffer_bytes + 9 * sizeof(struct item) + parked_bytes);
}

/* ---- recorder, see src/service/poller_record.c ---- */

#define JOBS 3

static struct job *job_of(struct world *world, size_t number)
{
    struct job *jobs[JOBS] = {&world->finished, &world->dead, &world->park.job};

    return jobs[number];
}

static void submit(struct world *world, struct job *job)
{
    job->busy = true;
    job->due_us = world->now_us + 1 + random_up_to(&world->random, world->record_us);
}

static void write_lanes(struct world *world)
{
    for (struct message *m = world->finished.messages.first; m; m = m->next)
        if (m->lane && !m->lane->parked)
            source_of(world, m->lane)->lane->to_record = true;
    for (size_t i = 0; i < world->lane_count; i++) {
        struct lane *lane = world->lanes[i].lane;

        world->finished.writes[i] = lane && lane->to_record && !world->by_message;
        world->finished.generations[i] = world->lanes[i].generation;
        if (!world->finished.writes[i])
            continue;
        lane->to_record = false;
        buffer_reset(&world->finished.values[i]);
        lane_record_write(lane, &world->finished.values[i]);
    }
}

/* A message whose lane was lost before the record of it is on its way comes again. */
static void check_parked(const struct message_list *finished)
{
    for (const struct message *m = finished->first; m; m = m->next)
        if (m->verdict == VERDICT_PARKED && !m->from_park && !m->lane)
            fail_msg("%u/%u is to be kept parked although it comes again", item_of(m)->lane,
                     item_of(m)->index);
}

static void record(struct world *world)
{
    struct job *finished = &world->finished, *dead = &world->dead, *parked = &world->park.job;

    if (!dead->busy && (!dead->failing || world->now_us >= dead->retry_us)) {
        if (!dead->failing)
            engine_take_dead(world->engine, 100, 8 << 20, &dead->messages);
        if (dead->messages.count)
            submit(world, dead);
    }
    if (!parked->busy && (!parked->failing || world->now_us >= parked->retry_us)) {
        if (!parked->failing) {
            engine_take_parked(world->engine, 100, 8 << 20, &parked->messages);
            list_writing(world);
        }
        if (parked->messages.count)
            submit(world, parked);
    }
    if (!finished->busy && (!finished->failing || world->now_us >= finished->retry_us)) {
        if (!finished->failing) {
            engine_take_finished(world->engine, &finished->messages);
            check_parked(&finished->messages);
            list_unparked(world, &finished->messages);
            write_lanes(world);
        }
        if (finished->messages.count || world->park.unparked_count)
            submit(world, finished);
    }
}

static bool write_fails(struct world *world)
{
    return world->now_us < world->record_fails_until_us ||
           (uint32_t)random_up_to(&world->random, 99) < world->record_fails_percent;
}

/* Whoever opens the lane from now on knows this. One who opened it before the record landed does
 * not: that is a lane torn away, of which only `nothing lost` is promised. */
static void write_record(struct world *world, size_t number)
{
    struct source_lane *lane = &world->lanes[number];
    struct positions positions;

    buffer_reset(&lane->record);
    buffer_add(&lane->record, world->finished.values[number].data,
               world->finished.values[number].size);
    assert_int_equal(positions_read(&positions, lane->record.data, lane->record.size), 0);
    for (size_t i = 0; i < lane->count; i++) {
        struct item *item = &lane->items[i];

        if (!positions_contain(&positions, item->position))
            continue;
        if (!item->succeeded && !item->buried && !item->duplicates &&
            item->filtered != FILTER_DROP && !is_kept(world, item))
            fail_msg("the record of %s contains %llu, which is neither done nor buried",
                     lane->name, (unsigned long long)item->position);
        if (lane->generation == world->finished.generations[number] && !is_kept(world, item))
            item->durable = true;
    }
    positions_fini(&positions);
}

static void make_durable(struct world *world)
{
    for (struct message *m = world->finished.messages.first; m; m = m->next) {
        if (m->token && m->verdict == VERDICT_DONE) {
            struct token_entry *entry = token_entry(world, m);

            entry->recorded = true;
            entry->fingerprint[0] = m->fingerprint[0];
        }
        if (m->verdict == VERDICT_DUPLICATE && !m->token)
            assert_true(item_of(m)->succeeded || item_of(m)->buried || item_of(m)->duplicates > 1 ||
                        item_of(m)->filtered == FILTER_DROP || is_kept(world, item_of(m)));
        if (m->verdict == VERDICT_FILTERED)
            assert_int_equal(item_of(m)->filtered, FILTER_DROP);
        /* The record of a positional token is its lane's, which an orphan has no more; what is parked
           is finished with its row. */
        item_of(m)->torn |= m->verdict == VERDICT_PARKED && !m->lane && !world->by_message;
        /* Done or dead once, its record late, and parked since. */
        if (m->verdict == VERDICT_DUPLICATE && is_kept(world, item_of(m)) &&
            (item_of(m)->succeeded || item_of(m)->buried))
            item_of(m)->torn = item_of(m)->durable = true;
        if ((m->token && m->verdict == VERDICT_DONE) ||
            (m->lane && !m->from_park && m->verdict != VERDICT_PARKED &&
             !(m->verdict == VERDICT_DUPLICATE && is_kept(world, item_of(m)))))
            item_of(m)->durable = true;
    }
    for (size_t i = 0; i < world->lane_count; i++)
        if (world->finished.writes[i])
            write_record(world, i);
}

/* Rows go last: what is known of their messages is durable by then. */
static void finish_rows(struct world *world)
{
    remove_rows(world, world->park.unparked, world->park.unparked_count);
    world->park.unparked_count = 0;
    for (struct message *m = world->finished.messages.first; m; m = m->next)
        if (m->from_park && m->verdict != VERDICT_PARKED)
            item_of(m)->durable = true;
}

/* Some of a job that fails is there. */
static void write_some(struct world *world, struct job *job)
{
    if (random_up_to(&world->random, 1))
        return;
    if (job == &world->park.job)
        write_rows(world, (size_t)random_up_to(&world->random, (int64_t)job->messages.count));
    if (job == &world->finished)
        make_durable(world);
}

static void end_job(struct world *world, struct job *job)
{
    job->busy = false;
    job->failing = write_fails(world);
    job->retry_us = world->now_us + CLOCK_SECOND;
    if (job->failing) {
        write_some(world, job);
        return;
    }
    if (job == &world->park.job) {
        write_rows(world, job->messages.count);
        engine_parked(world->engine, &job->messages);
    } else if (job == &world->dead) {
        for (struct message *m = job->messages.first; m; m = m->next) {
            item_of(m)->buried = true;
            world->dead_letters++;
        }
        engine_buried(world->engine, &job->messages);
    } else {
        make_durable(world);
        finish_rows(world);
        engine_durable(world->engine, &job->messages);
    }
}

/* ---- time ---- */

static void sooner(int64_t *at_us, int64_t other_us)
{
    if (other_us < *at_us)
        *at_us = other_us;
}

/* Notes what the answer must have cost each message. */
static void note_failures(struct world *world, const struct flight *flight)
{
    const struct batch *batch = flight->batch;
    size_t i = 0;
    enum outcome_class class = flight->outcome.class;
    bool counts = class != OUTCOME_THROTTLED && class != OUTCOME_UNAVAILABLE &&
                  (batch->messages.count == 1 || !world->rules.retry.split);

    for (struct message *m = batch->messages.first; m; m = m->next, i++) {
        struct handle *handle = handle_of(m);
        bool named = flight->outcome.named && flight->outcome.named[i];

        handle->landed_us = world->now_us;
        if (flight->outcome.class == OUTCOME_DONE && !named)
            continue;
        if (!handle->first_failed_us)
            handle->first_failed_us = world->now_us;
        handle->counted += counts || named;
        handle->other |= class == OUTCOME_FATAL || named;
    }
}

static void land_flights(struct world *world)
{
    for (size_t i = 0; i < world->flight_count;) {
        struct flight flight = world->flights[i];

        if (flight.due_us > world->now_us) {
            i++;
            continue;
        }
        world->flights[i] = world->flights[--world->flight_count];
        note_failures(world, &flight);
        engine_answer(world->engine, flight.batch, &flight.outcome, world->now_us);
        free(flight.named);
        i = 0;
    }
}

static void answer_claims(struct world *world)
{
    for (size_t i = 0; i < world->waiter_count;) {
        struct message *message = world->waiters[i];

        if (message && !world->posted[i]) {
            i++;
            continue;
        }
        world->waiter_count--;
        world->waiters[i] = world->waiters[world->waiter_count];
        world->posted[i] = world->posted[world->waiter_count];
        if (message) {
            message->waiter = NULL;
            engine_claim_again(world->engine, message);
        }
        i = 0;
    }
}

static void commit(struct world *world)
{
    for (size_t i = 0; i < world->lane_count; i++) {
        struct source_lane *lane = &world->lanes[i];

        if (!lane->lane || !lane->commit_us || lane->commit_us > world->now_us)
            continue;
        lane->commit_us = 0;
        lane->committed = lane->committing;
        engine_lane_settled(world->engine, lane->lane, lane->committed);
    }
}

/* One turn of the loop; returns when the next is needed. */
UNUSED static int64_t world_turn(struct world *world)
{
    int64_t at_us;

    land_flights(world);
    for (size_t i = 0; i < JOBS; i++)
        if (job_of(world, i)->busy && job_of(world, i)->due_us <= world->now_us)
            end_job(world, job_of(world, i));
    answer_claims(world);
    commit(world);
    deliver(world);
    feed_parked(world);
    at_us = engine_run(world->engine, world->now_us);
    record(world);
    for (size_t i = 0; i < world->flight_count; i++)
        sooner(&at_us, world->flights[i].due_us);
    for (size_t i = 0; i < JOBS; i++) {
        const struct job *job = job_of(world, i);

        if (job->busy || job->failing)
            sooner(&at_us, job->busy ? job->due_us : job->retry_us);
    }
    sooner(&at_us, parked_due(world));
    for (size_t i = 0; i < world->waiter_count; i++)
        if (world->posted[i])
            sooner(&at_us, world->now_us);
    for (size_t i = 0; i < world->lane_count; i++) {
        struct source_lane *lane = &world->lanes[i];

        if (lane->lane && lane->commit_us)
            sooner(&at_us, lane->commit_us);
        if (deliverable(world, lane) && park_receives(world) && engine_room(world->engine).messages)
            sooner(&at_us, world->now_us);
        else if (lane->next < lane->count && lane->items[lane->next].at_us > world->now_us)
            sooner(&at_us, lane->items[lane->next].at_us);
    }
    return at_us;
}

UNUSED static bool world_is_over(const struct world *world)
{
    for (size_t i = 0; i < world->lane_count; i++)
        for (size_t j = 0; j < world->lanes[i].count; j++)
            if (!item_over(&world->lanes[i].items[j]))
                return false;
    return !world->park.row_count && lot_is_empty(world->park.lot);
}

static bool all_lanes_are_ours(const struct world *world)
{
    for (size_t i = 0; i < world->lane_count; i++)
        if (!world->lanes[i].lane || world->lanes[i].lane->closing)
            return false;
    return true;
}

/* Runs until all is durable, or until `until_us` (from now on). */
UNUSED static void world_run(struct world *world, int64_t until_us)
{
    int64_t end_us = world->now_us + until_us;

    while (world->now_us < end_us) {
        int64_t at_us = world_turn(world);

        if (at_us <= world->now_us) {
            if (++world->steps_now > 20000)
                fail_msg("the engine turns without end at one moment");
            continue;
        }
        world->steps_now = 0;
        if (world_is_over(world))
            return;
        if (at_us == CLOCK_NEVER && all_lanes_are_ours(world))
            fail_msg("nothing will ever happen again, but there are unfinished messages: gate %d, "
                     "held %zu, suspects %zu, retries %zu, in flight %zu, claims waited for %zu",
                     engine_gate(world->engine)->state, engine_unfinished(world->engine),
                     engine_suspects(world->engine), engine_waiting_retries(world->engine),
                     world->flight_count, world->waiter_count);
        world->now_us = at_us < end_us ? at_us : end_us;
    }
}

static void end_engine(struct world *world)
{
    struct message_list none = {0};

    engine_durable(world->engine, &world->finished.messages);
    engine_durable(world->engine, &world->dead.messages);
    for (size_t i = 0; i < JOBS; i++) {
        job_of(world, i)->messages = none;
        job_of(world, i)->busy = job_of(world, i)->failing = false;
    }
    for (size_t i = 0; i < world->flight_count; i++)
        free(world->flights[i].named);
    world->flight_count = 0;
    engine_free(world->engine);
    world->engine = NULL;
    world->waiter_count = 0;
    for (size_t i = 0; i < world->token_count; i++)
        assert_null(world->tokens[i].holder); /* every claim was given up */
    assert_int_equal(world->handle_count, 0);
    assert_int_equal(world->handle_bytes, 0);
}

static void lose_all(struct world *world)
{
    for (size_t i = 0; i < world->lane_count; i++)
        if (world->lanes[i].lane)
            world_lose(world, i);
    drop_park_lanes(world);
}

/* As a crash: what the engine knew is gone, and some of what was with the recorder is there. */
UNUSED static void world_drop_engine(struct world *world)
{
    for (size_t i = 0; i < JOBS; i++)
        if (job_of(world, i)->busy)
            write_some(world, job_of(world, i));
    lose_all(world);
    engine_parked(world->engine, &world->park.job.messages); /* memory alone */
    end_engine(world);
    load_park(world);
}

/* As a reload whose time to drain is over: what is with the recorder ends there, the park stays. */
UNUSED static void world_reload(struct world *world)
{
    struct world_park *park = &world->park;
    struct message_list unrecorded = {0};

    lose_all(world);
    for (size_t i = 0; i < JOBS; i++)
        if (job_of(world, i)->busy)
            end_job(world, job_of(world, i));
    if (park->job.failing)
        engine_parked(world->engine, &park->job.messages);
    if (world->finished.failing) {
        engine_durable(world->engine, &world->finished.messages);
        remove_rows(world, park->unparked, park->unparked_orphans);
    }
    engine_take_finished(world->engine, &unrecorded);
    engine_durable(world->engine, &unrecorded);
    remove_rows(world, park->orphans, park->orphan_count);
    park->orphan_count = park->unparked_count = 0;
    end_engine(world);
}

UNUSED static void world_free(struct world *world)
{
    if (world->engine)
        world_drop_engine(world);
    for (struct handle *handle = world->handles, *next; handle; handle = next) {
        next = handle->next;
        free(handle);
    }
    for (size_t i = 0; i < world->lane_count; i++) {
        free(world->lanes[i].items);
        buffer_fini(&world->lanes[i].record);
        buffer_fini(&world->finished.values[i]);
    }
    free_park(world);
    free(world->tokens);
    token_rule_free(world->token_rule);
    free(world);
}

/* All done but those that were to die, which are dead and nothing else is. */
UNUSED static void world_check(const struct world *world)
{
    for (size_t i = 0; i < world->lane_count; i++)
        for (size_t j = 0; j < world->lanes[i].count; j++) {
            const struct item *item = &world->lanes[i].items[j];
            bool dies = item->poison || item->named;

            if (!item->durable || item->buried != dies || (!dies && !item->succeeded))
                fail_msg("%zu/%zu: %s%s%s, invoked %u times", i, j,
                         item->durable ? "durable" : "unfinished", item->buried ? ", dead: " : "",
                         item->buried ? item->reason : "", item->invoked);
        }
}

#endif
