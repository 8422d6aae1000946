/* SPDX-License-Identifier: MIT
 * The watermark moves only over what is durable without a gap. */
#include "core/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>


static void watermark_waits_for_the_oldest(void **state)
{
    struct tracker tracker = {0};

    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(tracker_add(&tracker, 10 * i), i);
    assert_int_equal(tracker_distance(&tracker), 4);
    for (uint64_t i = 4; i-- > 1;) {
        tracker_finish(&tracker, i);
        assert_false(tracker_durable(&tracker, i));
    }
    assert_false(tracker.has_watermark);
    tracker_finish(&tracker, 0);
    assert_false(tracker.has_watermark); /* a verdict alone settles nothing */
    assert_true(tracker_durable(&tracker, 0));
    assert_int_equal(tracker.watermark, 30);
    assert_int_equal(tracker_distance(&tracker), 0);
    tracker_fini(&tracker);
}

static void positions_may_have_holes(void **state)
{
    static const uint64_t positions[] = {0, 7, 8, 1000, UINT64_MAX - 1};
    struct tracker tracker = {0};

    for (size_t i = 0; i < 5; i++)
        tracker_add(&tracker, positions[i]);
    for (size_t i = 0; i < 5; i++) {
        tracker_finish(&tracker, i);
        assert_true(tracker_durable(&tracker, i));
        assert_int_equal(tracker.watermark, positions[i]);
    }
    tracker_fini(&tracker);
}

static void ring_grows_while_it_wraps(void **state)
{
    struct tracker tracker = {0};
    uint64_t added = 0, done = 0;

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 50 + round; i++, added++)
            assert_int_equal(tracker_add(&tracker, added * 3), added);
        for (int i = 0; i < 40; i++, done++) {
            tracker_finish(&tracker, done);
            assert_true(tracker_durable(&tracker, done));
            assert_int_equal(tracker.watermark, done * 3);
        }
        assert_int_equal(tracker_distance(&tracker), added - done);
    }
    tracker_fini(&tracker);
}

static void collect_joins_what_has_no_gap(void **state)
{
    struct tracker tracker = {0};
    struct positions positions = {.base = 5};

    for (uint64_t i = 0; i < 8; i++)
        tracker_add(&tracker, 5 + 2 * i); /* 5 7 9 11 13 15 17 19 */
    for (uint64_t i = 0; i < 8; i++)
        if (i != 2 && i != 5 && i != 6)
            tracker_finish(&tracker, i);
    tracker_durable(&tracker, 0);
    tracker_durable(&tracker, 4); /* finished and durable count alike */
    tracker_collect(&tracker, &positions);
    assert_int_equal(positions.count, 3);
    assert_int_equal(positions.ranges[0].first, 5);
    assert_int_equal(positions.ranges[0].last, 7);
    assert_int_equal(positions.ranges[1].first, 11);
    assert_int_equal(positions.ranges[1].last, 13);
    assert_int_equal(positions.ranges[2].first, 19);
    assert_int_equal(positions.ranges[2].last, 19);
    positions_fini(&positions);
    tracker_fini(&tracker);
}

static void collect_of_nothing_finished_is_empty(void **state)
{
    struct tracker tracker = {0};
    struct positions positions = {0};

    tracker_collect(&tracker, &positions);
    tracker_add(&tracker, 3);
    tracker_collect(&tracker, &positions);
    assert_int_equal(positions.count, 0);
    tracker_fini(&tracker);
}

/* Once the source has taken note of the watermark, it is no longer part of the record. */
static void collect_starts_at_the_base(void **state)
{
    struct tracker tracker = {0};
    struct positions positions = {.base = 4};

    for (uint64_t i = 0; i < 8; i++)
        tracker_add(&tracker, i);
    for (uint64_t i = 0; i < 4; i++) {
        tracker_finish(&tracker, i);
        tracker_durable(&tracker, i);
    }
    tracker_finish(&tracker, 6);
    tracker_collect(&tracker, &positions);
    assert_int_equal(positions.count, 1);
    assert_int_equal(positions.ranges[0].first, 6);
    positions_fini(&positions);
    tracker_fini(&tracker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watermark_waits_for_the_oldest),
        cmocka_unit_test(positions_may_have_holes),
        cmocka_unit_test(ring_grows_while_it_wraps),
        cmocka_unit_test(collect_joins_what_has_no_gap),
        cmocka_unit_test(collect_of_nothing_finished_is_empty),
        cmocka_unit_test(collect_starts_at_the_base),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
