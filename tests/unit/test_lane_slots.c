/* SPDX-License-Identifier: MIT */
#include "service/lane_slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

static void the_first_lanes_get_the_places(void **state)
{
    struct lane_slots *slots = lane_slots_new(2);

    assert_int_equal(lane_slots_most(slots), 2);
    assert_int_equal(lane_slots_enter(slots, "t/0", 0), 0);
    assert_int_equal(lane_slots_enter(slots, "t/1", 0), 1);
    assert_int_equal(lane_slots_enter(slots, "t/2", 0), 2);
    assert_int_equal(lane_slots_enter(slots, "t/1", 0), 1); /* in another poller */
    assert_string_equal(lane_slots_label(slots, 1), "t/1");
    assert_string_equal(lane_slots_label(slots, 2), "other");
    lane_slots_free(slots);
}

static void a_place_is_kept_for_an_hour(void **state)
{
    struct lane_slots *slots = lane_slots_new(2);

    lane_slots_enter(slots, "a", 0);
    lane_slots_enter(slots, "b", 0);
    lane_slots_enter(slots, "b", 0);
    lane_slots_leave(slots, 0, 10);
    lane_slots_leave(slots, 1, 5); /* the other poller still has it */
    assert_int_equal(lane_slots_enter(slots, "c", LANE_SLOTS_KEPT_US + 9), 2);
    lane_slots_leave(slots, 2, 20); /* it had none */
    assert_int_equal(lane_slots_enter(slots, "a", LANE_SLOTS_KEPT_US + 9), 0);
    lane_slots_leave(slots, 0, 20);
    assert_int_equal(lane_slots_enter(slots, "c", LANE_SLOTS_KEPT_US + 20), 0);
    assert_string_equal(lane_slots_label(slots, 0), "c");
    lane_slots_free(slots);
}

static void the_place_left_longest_ago_is_taken(void **state)
{
    struct lane_slots *slots = lane_slots_new(3);

    lane_slots_enter(slots, "a", 0);
    lane_slots_enter(slots, "b", 0);
    lane_slots_leave(slots, 0, 20);
    lane_slots_leave(slots, 1, 10);
    assert_int_equal(lane_slots_enter(slots, "c", 2 * LANE_SLOTS_KEPT_US), 1);
    assert_int_equal(lane_slots_enter(slots, "a", 2 * LANE_SLOTS_KEPT_US), 0);
    assert_int_equal(lane_slots_enter(slots, "d", 2 * LANE_SLOTS_KEPT_US), 2);
    lane_slots_free(slots);
}

static void no_stream_of_names_makes_more_series(void **state)
{
    struct lane_slots *slots = lane_slots_new(10);
    unsigned taken = 0;
    char name[32];

    for (int i = 0; i < 100000; i++) { /* a minute */
        uint32_t slot;

        snprintf(name, sizeof name, "q/user-%d", i);
        slot = lane_slots_enter(slots, name, i * 600);
        taken += slot < 10;
        lane_slots_leave(slots, slot, i * 600 + 100);
    }
    assert_int_equal(taken, 10);
    lane_slots_free(slots);
}

static void what_is_no_label_is_among_the_others(void **state)
{
    struct lane_slots *slots = lane_slots_new(2);
    char longest[LANE_SLOTS_NAME + 2];

    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(lane_slots_enter(slots, longest, 0), 2);
    assert_int_equal(lane_slots_enter(slots, "q/\xff", 0), 2);
    assert_int_equal(lane_slots_enter(slots, "other", 0), 2);
    assert_int_equal(lane_slots_enter(slots, "q/\\\"\n\xc3\xa9", 0), 0);
    assert_string_equal(lane_slots_label(slots, 0), "q/\\\\\\\"\\n\xc3\xa9");
    longest[LANE_SLOTS_NAME] = '\0';
    assert_int_equal(lane_slots_enter(slots, longest, 0), 1);
    lane_slots_free(slots);
}

static void there_may_be_none(void **state)
{
    struct lane_slots *slots = lane_slots_new(0);

    assert_int_equal(lane_slots_enter(slots, "a", 0), 0);
    lane_slots_leave(slots, 0, 0);
    lane_slots_free(slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_lanes_get_the_places),
        cmocka_unit_test(a_place_is_kept_for_an_hour),
        cmocka_unit_test(the_place_left_longest_ago_is_taken),
        cmocka_unit_test(no_stream_of_names_makes_more_series),
        cmocka_unit_test(what_is_no_label_is_among_the_others),
        cmocka_unit_test(there_may_be_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
