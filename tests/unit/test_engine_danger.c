/* SPDX-License-Identifier: MIT
 * What its source would drop is parked as it comes, whatever becomes of the target, and no order is lost by
 * it. Whatever else happens: test_engine_model.c. */
#include "engine_world.h"

/* A source that settles one by one and counts; the target is down for the first hour. */
static struct world *world_in_outage(enum order order)
{
    struct world *world = world_new(1, 3);

    world->rules.order = order;
    world->rules.retry.park_bytes = 1 << 20;
    world->by_message = true;
    world->outage_to_us = world->now_us + CLOCK_HOUR;
    world->outage = OUTCOME_UNAVAILABLE;
    return world;
}

static size_t settled(const struct world *world)
{
    size_t count = 0;

    for (size_t i = 0; i < world->lanes[0].count; i++)
        count += world->lanes[0].items[i].settled;
    return count;
}

static void crash(struct world *world)
{
    world_drop_engine(world);
    world_open(world);
}

static void an_outage_holds_none_back(void **state)
{
    struct world *world = world_in_outage(ORDER_NONE);

    world->many = 2;
    world_open(world);
    world_add_many(world, 5, 0);
    world_run(world, CLOCK_MINUTE);
    assert_int_equal(world->park.row_count, 0);
    crash(world);
    world_run(world, CLOCK_MINUTE);
    assert_int_equal(world->park.row_count, 5);
    assert_int_equal(settled(world), 5);
    world_run(world, 2 * CLOCK_HOUR);
    world_check(world);
    world_free(world);
}

static void switched_off_or_full_it_is_parked_all_the_same(void **state)
{
    struct world *world = world_in_outage(ORDER_NONE);

    world->many = 1;
    world->rules.retry.park_after_us = 0;
    world->rules.retry.park_bytes = 1;
    world_open(world);
    world_add_many(world, 3, 0);
    world_run(world, CLOCK_MINUTE);
    assert_int_equal(world->park.row_count, 3);
    /* But nothing more is taken in. */
    world_add_many(world, 3, 0);
    world_run(world, CLOCK_MINUTE);
    assert_int_equal(world->park.row_count, 3);
    assert_int_equal(settled(world), 3);
    world_run(world, 2 * CLOCK_HOUR);
    world_check(world);
    world_free(world);
}

/* With `order: lane` what is not endangered waits in memory until those before it are done. */
static void a_lane_keeps_its_order(void **state)
{
    struct world *world = world_in_outage(ORDER_LANE);

    world->many = 2;
    world_open(world);
    world_add_many(world, 5, 0);
    world_run(world, CLOCK_MINUTE);
    crash(world);
    world_add_many(world, 5, 0);
    world_run(world, CLOCK_MINUTE);
    assert_int_equal(world->park.row_count, 5);
    assert_int_equal(settled(world), 5);
    world_run(world, 2 * CLOCK_HOUR);
    world_check(world);
    assert_int_equal(world->late, 0);
    world_free(world);
}

/* It is parked once what is in flight has landed, with all that waits behind that. */
static void it_follows_what_is_in_flight(void **state)
{
    struct world *world = world_in_outage(ORDER_LANE);

    world->outage_to_us = 0;
    world->latency_us = CLOCK_SECOND;
    world->rules.batch.size = 1;
    world_open(world);
    world_add_many(world, 3, 0);
    world_run(world, 1);
    assert_int_equal(world->flight_count, 1);
    world->many = 1;
    world_add_many(world, 1, 0);
    world_run(world, 1);
    assert_int_equal(world->park.row_count + world->parked, 0);
    world_run(world, CLOCK_HOUR);
    assert_int_equal(world->parked, 3);
    world_check(world);
    assert_int_equal(world->late, 0);
    world_free(world);
}

/* Where only bad messages came out of the park, those behind them in the lane are their witnesses. */
static void a_bad_one_has_witnesses(void **state)
{
    struct world *world = world_in_outage(ORDER_LANE);

    world->outage_to_us = 0;
    world->many = 1;
    world_open(world);
    world_add(world, 0, 0)->poison = OUTCOME_FAILED;
    world_run(world, 1);
    world->many = 0;
    world_add_many(world, 20, 0);
    world_run(world, CLOCK_HOUR);
    world_check(world);
    assert_int_equal(world->lanes[0].items[0].dead_class, DEAD_ATTEMPTS);
    assert_true(world->lanes[0].items[0].dead_us < 1000 * CLOCK_SECOND + CLOCK_MINUTE);
    assert_int_equal(world->late_unsuspected, 0);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outage_holds_none_back),
        cmocka_unit_test(switched_off_or_full_it_is_parked_all_the_same),
        cmocka_unit_test(a_lane_keeps_its_order),
        cmocka_unit_test(it_follows_what_is_in_flight),
        cmocka_unit_test(a_bad_one_has_witnesses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
