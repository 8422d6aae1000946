/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/lane.h"

static void deliver_and_finish(struct lane *lane, uint64_t first, uint64_t last)
{
    for (uint64_t position = first; position <= last; position++) {
        uint64_t entry = tracker_add(&lane->tracker, position);

        lane_note_delivered(lane, position);
        tracker_finish(&lane->tracker, entry);
        tracker_durable(&lane->tracker, entry);
    }
}

static struct positions record_of(const struct lane *lane)
{
    struct buffer buffer;
    struct positions positions;

    buffer_init(&buffer, 1 << 20);
    lane_record_write(lane, &buffer);
    assert_int_equal(positions_read(&positions, buffer.data, buffer.size), 0);
    buffer_fini(&buffer);
    return positions;
}

/* A source that tells of nothing settled yet began at 50: what is before was never delivered. */
static void before_the_first_delivery_nothing_is_finished(void **state)
{
    struct lane lane = {0};
    struct positions positions;

    (void)state;
    deliver_and_finish(&lane, 50, 82);
    positions = record_of(&lane);
    assert_int_equal(positions.base, 50);
    assert_false(positions_contain(&positions, 0));
    assert_false(positions_contain(&positions, 49));
    assert_true(positions_contain(&positions, 50));
    assert_true(positions_contain(&positions, 82));
    positions_fini(&positions);
    tracker_fini(&lane.tracker);
}

static void what_the_source_settled_is_the_base(void **state)
{
    struct lane lane = {.has_settled = true, .settled = 60};
    struct positions positions;

    (void)state;
    deliver_and_finish(&lane, 50, 82);
    positions = record_of(&lane);
    assert_int_equal(positions.base, 60);
    assert_true(positions_contain(&positions, 61));
    positions_fini(&positions);
    tracker_fini(&lane.tracker);
}

static void what_was_finished_before_stays_until_it_comes_again(void **state)
{
    struct lane lane = {0};
    struct positions positions;

    (void)state;
    lane.finished_before.base = 50;
    positions_append(&lane.finished_before, 55, false);
    positions_append(&lane.finished_before, 70, true);
    deliver_and_finish(&lane, 50, 57);
    positions = record_of(&lane);
    assert_int_equal(positions.base, 50);
    assert_true(positions_contain(&positions, 70));
    assert_false(positions_contain(&positions, 71));
    positions_fini(&positions);
    positions_fini(&lane.finished_before);
    tracker_fini(&lane.tracker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_the_first_delivery_nothing_is_finished),
        cmocka_unit_test(what_the_source_settled_is_the_base),
        cmocka_unit_test(what_was_finished_before_stays_until_it_comes_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
