/* SPDX-License-Identifier: MIT
 * Random rules, lanes, targets, recorders, revocations and crashes: whatever happens, each message
 * is done or dead in the end, nothing is settled before its time or invoked after it, order is kept,
 * and every payload is released exactly once (see engine_world.h, which checks at every step).
 *
 * ENGINE_MODEL_SEED=N runs that one seed; ENGINE_MODEL_RUNS=N so many. */
#include "core/engine.h"

#include "engine_world.h"

#define RUNS     4000
#define ROUND_US (2 * CLOCK_HOUR)

static uint64_t present_seed, parked_in_all;

static int64_t up_to(struct world *world, int64_t most)
{
    return random_up_to(&world->random, most);
}

static bool chance(struct world *world, int percent)
{
    return up_to(world, 99) < percent;
}

static void choose_rules(struct world *world)
{
    static const uint32_t sizes[] = {1, 2, 7, 100};
    struct rules *rules = &world->rules;

    rules->order = (enum order)up_to(world, 2);
    rules->batch.size = sizes[up_to(world, 3)];
    rules->batch.bytes = chance(world, 30) ? 60 : 1 << 20;
    rules->batch.window_us = chance(world, 50) ? 0 : up_to(world, CLOCK_SECOND);
    rules->retry.attempts = 1 + (uint32_t)up_to(world, 5);
    rules->retry.backoff_most_us = chance(world, 50) ? CLOCK_SECOND : 30 * CLOCK_SECOND;
    rules->retry.split = chance(world, 80);
    rules->retry.age_us = chance(world, 20) ? 1 + up_to(world, 30 * CLOCK_MINUTE) : 0;
    if (chance(world, 10))
        rules->retry.patience_us = 0;
    rules->concurrency.least = 1;
    rules->concurrency.most = 1 + (uint32_t)up_to(world, 15);
    rules->buffer_messages = 16 + (uint32_t)up_to(world, chance(world, 50) ? 20 : 300);
    rules->buffer_bytes = chance(world, 30) ? 600 : 1 << 20;
    rules->distance = 300; /* a bound that one bad message reaches is a wait that no one ends */
    if (chance(world, 30))
        rules->token = (struct token_settings){
            .source = TOKEN_MESSAGE_ID,
            .on_missing = chance(world, 50) ? TOKEN_MISSING_POSITION : TOKEN_MISSING_DEAD_LETTER,
            .on_conflict = (enum token_conflict)up_to(world, 2)};
    rules->retry.park_bytes = chance(world, 30) ? 8000 : 1 << 20;
    if (chance(world, 50)) {
        rules->retry.park_after_us = 1 + up_to(world, 20 * CLOCK_SECOND);
        rules->retry.backoff_first_us = up_to(world, CLOCK_MINUTE);
        rules->retry.backoff_most_us = 10 * CLOCK_MINUTE;
    }
    world->by_message = chance(world, 20);
    world->stable = !world->by_message || chance(world, 50);
    world->silent_source = chance(world, 20);
    world->many = chance(world, 30) ? 1 + (uint32_t)up_to(world, 2) : 0;
}

static void choose_world(struct world *world)
{
    static const enum outcome_class classes[] = {OUTCOME_FAILED, OUTCOME_THROTTLED,
                                                 OUTCOME_UNAVAILABLE, OUTCOME_POISON,
                                                 OUTCOME_FATAL};
    size_t count = (size_t)up_to(world, 150);
    int filtered = chance(world, 20) ? 1 + (int)up_to(world, 98) : 0;

    for (size_t i = 0; i < count; i++) {
        struct item *item = world_add(world, (size_t)up_to(world, (int64_t)world->lane_count - 1),
                                      (int64_t)i * up_to(world, 300 * CLOCK_MS));

        item->position += chance(world, 20) ? (uint64_t)up_to(world, 1000) : 0;
        if (item->index && item->at_us < item[-1].at_us)
            item->at_us = item[-1].at_us;
        if (chance(world, 70))
            snprintf(item->key, sizeof item->key, "k%d", (int)up_to(world, 5));
        if (world->rules.token.source == TOKEN_MESSAGE_ID && chance(world, 80))
            snprintf(item->token, sizeof item->token, "t%d", (int)up_to(world, 100));
        if (chance(world, 2))
            item->poison = (int)classes[chance(world, 50) ? 0 : 3 + up_to(world, 1)];
        if (chance(world, 1))
            item->named = true;
        if (chance(world, filtered))
            item->filtered = chance(world, 80) ? FILTER_DROP : FILTER_DEAD_LETTER;
    }
    world->latency_us = up_to(world, CLOCK_SECOND);
    world->record_us = up_to(world, CLOCK_SECOND);
    world->failing_percent = chance(world, 50) ? (uint32_t)up_to(world, 60) : 0;
    world->failing = classes[up_to(world, 4)];
    world->heals_us = world->now_us + up_to(world, 2 * CLOCK_MINUTE);
    if (chance(world, 50)) {
        world->outage_from_us = world->now_us + up_to(world, 20 * CLOCK_SECOND);
        world->outage_to_us = world->outage_from_us + up_to(world, 5 * CLOCK_MINUTE);
        world->outage = classes[up_to(world, 4)];
        world->retry_after_us = chance(world, 20) ? up_to(world, CLOCK_MINUTE) : 0;
    }
    world->record_fails_percent = chance(world, 30) ? (uint32_t)up_to(world, 70) : 0;
}

/* What a source and its group may do to a poller. */
static void disturb(struct world *world)
{
    size_t number = (size_t)up_to(world, (int64_t)world->lane_count - 1);
    struct source_lane *lane = &world->lanes[number];

    if (chance(world, 25)) {
        if (chance(world, 70))
            world_drop_engine(world);
        else
            world_reload(world);
        world_start_engine(world);
        if (chance(world, 40)) /* a group gives its lanes away after a while */
            world_run(world, up_to(world, CLOCK_MINUTE));
        world_assign_all(world);
    } else if (!lane->lane) {
        world_assign(world, number);
    } else if (chance(world, 50)) {
        world_lose(world, number);
        if (chance(world, 70))
            world_assign(world, number);
    } else if (chance(world, 50)) {
        engine_lane_close(world->engine, lane->lane);
        world_run(world, up_to(world, CLOCK_MINUTE));
        world_lose(world, number);
        world_assign(world, number);
    } else {
        engine_resume(world->engine);
    }
}

/* With a token, so that it is not given up for want of one. */
static void add_witness(struct world *world, size_t lane, unsigned number)
{
    struct item *item = world_add(world, lane, 0);

    snprintf(item->token, sizeof item->token, "w%u", number * LANES_MOST + (unsigned)lane);
}

static void run_once(uint64_t seed)
{
    struct world *world = world_new(1 + seed % 4, seed);

    present_seed = seed;
    choose_rules(world);
    choose_world(world);
    world_open(world);
    for (int64_t i = up_to(world, 12); i > 0; i--) {
        world_run(world, up_to(world, chance(world, 50) ? CLOCK_SECOND : CLOCK_MINUTE));
        disturb(world);
    }
    world_assign_all(world);
    /* A paused target needs traffic to show that it lives: bad messages alone wait for it. */
    for (int round = 0; round < 100 && !world_is_over(world); round++) {
        world_run(world, ROUND_US);
        for (size_t i = 0; i < world->lane_count && !world_is_over(world); i++)
            add_witness(world, i, (unsigned)round);
    }
    for (size_t i = 0; i < world->lane_count; i++)
        for (size_t j = 0; j < world->lanes[i].count; j++) {
            const struct item *item = &world->lanes[i].items[j];

            if (!item->durable)
                fail_msg("%zu/%zu was never finished: invoked %u times, suspect %d, gate %d, "
                         "unfinished %zu, suspects %zu, waiting %zu, in flight %zu, order %d",
                         i, j, item->invoked, item->suspected, engine_gate(world->engine)->state,
                         engine_unfinished(world->engine), engine_suspects(world->engine),
                         engine_waiting_retries(world->engine), world->flight_count,
                         world->rules.order);
            if (!item->succeeded && !item->buried && !item->duplicates &&
                item->filtered != FILTER_DROP)
                fail_msg("%zu/%zu was neither done nor buried: lost", i, j);
        }
    if (world->late_unsuspected && !world->rules.token.source)
        fail_msg("%d messages overtaken that were never suspect", (int)world->late_unsuspected);
    parked_in_all += world->parked;
    world_free(world);
}

static int tell_seed(void **state)
{
    if (present_seed)
        print_message("to run this again: ENGINE_MODEL_SEED=%llu\n",
                      (unsigned long long)present_seed);
    return 0;
}

static void whatever_happens(void **state)
{
    const char *seed = getenv("ENGINE_MODEL_SEED"), *runs = getenv("ENGINE_MODEL_RUNS");
    uint64_t count = runs ? strtoull(runs, NULL, 10) : RUNS;

    if (seed)
        run_once(strtoull(seed, NULL, 10));
    for (uint64_t i = 1; !seed && i <= count; i++)
        run_once(i);
    present_seed = 0;
    if (!seed && !runs)
        assert_true(parked_in_all > 1000); /* what it is about does happen */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(whatever_happens, tell_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
