/* SPDX-License-Identifier: MIT
 * What the store remembers of letters that were collected from a place that keeps them. */
#define _GNU_SOURCE
#include "dead_letter_fixture.h"

#define WRITTEN (T0 - CLOCK_HOUR)
#define MANY    200 /* enough to be removed as runs */

static struct dead_letter letter(uint64_t position)
{
    return (struct dead_letter){.mapping = "mending",
                                .connector = "kafka",
                                .lane = "orders/3",
                                .source = "orders",
                                .partition = 3,
                                .position = position + 1000,
                                .token = "t",
                                .payload = {"{}", 2},
                                .class = DEAD_FOREIGN,
                                .reason = "",
                                .dead_wall_us = T0 + (int64_t)position,
                                .found_lane = "dead/0",
                                .found_position = position,
                                .found_wall_us = WRITTEN};
}

static int64_t add(struct fixture *fixture, struct dead_letter one)
{
    assert_int_equal(fixture->store->ops->add(fixture->store, &one, 1, &fixture->fault), 0);
    return one.dead_wall_us;
}

static enum dead_letter_fate fate_at(struct fixture *fixture, uint64_t position,
                                     struct dead_letter_collected *ret_collected)
{
    int found = fixture->store->ops->collected(fixture->store, "kafka", "dead/0", position, WRITTEN,
                                               ret_collected, &fixture->fault);

    assert_true(found >= 0);
    return found ? ret_collected->fate : 0;
}

static void remove_as(struct fixture *fixture, const char *action, const int64_t *numbers, size_t count)
{
    struct dead_letter_act act = {.action = action, .detail = "", .login = ""};

    assert_int_equal(fixture->store->ops->remove(fixture->store, numbers, NULL, count,
                                                 action ? &act : NULL, &fixture->fault),
                     count);
}

static void what_became_of_each_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter_collected collected;
    struct dead_letter again = letter(1);
    int64_t numbers[5], before = clock_wall();

    for (uint64_t i = 0; i < 5; i++)
        numbers[i] = add(fixture, letter(i));
    assert_int_equal(fate_at(fixture, 9, &collected), 0);
    assert_int_equal(fate_at(fixture, 0, &collected), DEAD_LETTER_HERE);
    assert_int_equal(strlen(collected.id), 26);
    assert_int_equal(collected.replay_count, 0);

    fate_at(fixture, 1, &collected);
    again.replay = true;
    again.last_wall_us = T0 + 77;
    again.found_lane = NULL;
    strcpy(again.id, collected.id);
    add(fixture, again);
    assert_int_equal(fate_at(fixture, 1, &collected), DEAD_LETTER_HERE);
    assert_int_equal(collected.replay_count, 1);
    assert_true(collected.replayed_wall_us == T0 + 77);

    remove_as(fixture, "replay", &numbers[2], 1);
    remove_as(fixture, "discard", &numbers[3], 1);
    remove_as(fixture, NULL, &numbers[4], 1); /* the limits */
    assert_int_equal(fate_at(fixture, 2, &collected), DEAD_LETTER_DONE);
    assert_string_equal(collected.id, "");
    assert_true(collected.ended_wall_us >= before);
    assert_int_equal(fate_at(fixture, 3, &collected), DEAD_LETTER_DISCARDED);
    assert_int_equal(fate_at(fixture, 4, &collected), DEAD_LETTER_EXPIRED);
    assert_int_equal(fixture->store->ops->expire(fixture->store, "mending", CLOCK_NEVER, 10,
                                                 &fixture->fault),
                     2);
    assert_int_equal(fate_at(fixture, 0, &collected), DEAD_LETTER_EXPIRED);
}

static void many_end_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter_collected collected;
    int64_t numbers[MANY];

    for (uint64_t i = 0; i < MANY; i++)
        numbers[i] = add(fixture, letter(i));
    remove_as(fixture, "replay", numbers, MANY - 1);
    for (uint64_t i = 0; i < MANY; i++)
        assert_int_equal(fate_at(fixture, i, &collected),
                         i < MANY - 1 ? DEAD_LETTER_DONE : DEAD_LETTER_HERE);
}

/* A place that was made anew has other letters at the same positions. */
static void another_letter_of_that_position_is_none(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter_collected collected;
    struct dead_letter other = letter(0), plain = letter(7);
    const struct dead_letter_store_ops *ops = fixture->store->ops;

    remove_as(fixture, "replay", (int64_t[]){add(fixture, letter(0))}, 1);
    plain.found_lane = NULL;
    add(fixture, plain);
    assert_int_equal(fate_at(fixture, 7, &collected), 0);
    assert_int_equal(ops->collected(fixture->store, "kafka", "dead/0", 0, WRITTEN + 1, &collected,
                                    &fixture->fault),
                     0);
    assert_int_equal(ops->collected(fixture->store, "kafka", "dead/1", 0, WRITTEN, &collected,
                                    &fixture->fault),
                     0);
    assert_int_equal(ops->collected(fixture->store, "rabbitmq", "dead/0", 0, WRITTEN, &collected,
                                    &fixture->fault),
                     0);
    other.found_wall_us++;
    other.payload = (struct sluice_bytes){"[]", 2};
    add(fixture, other);
    assert_int_equal(fate_at(fixture, 0, &collected), 0);
    assert_int_equal(ops->collected(fixture->store, "kafka", "dead/0", 0, WRITTEN + 1, &collected,
                                    &fixture->fault),
                     1);
    assert_int_equal(collected.fate, DEAD_LETTER_HERE);
}

/* As after a crash before its source was settled, or where the group was set back. */
static void one_that_is_collected_again_is_here(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter_collected collected;
    int64_t number = add(fixture, letter(0));

    assert_true(add(fixture, letter(0)) == number);
    assert_int_equal(fate_at(fixture, 0, &collected), DEAD_LETTER_HERE);
    remove_as(fixture, "discard", &number, 1);
    assert_int_equal(fate_at(fixture, 0, &collected), DEAD_LETTER_DISCARDED);
    add(fixture, letter(0));
    assert_int_equal(fate_at(fixture, 0, &collected), DEAD_LETTER_HERE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_became_of_each_is_told),
        TEST(many_end_at_once),
        TEST(another_letter_of_that_position_is_none),
        TEST(one_that_is_collected_again_is_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
