/* SPDX-License-Identifier: MIT */
#include "service/lot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MOST 100000000

static bool reserve(struct lot *lot, int64_t number, uint64_t queue)
{
    return lot_reserve(
        lot, &(struct lot_place){.number = number, .queue = queue, .bytes = LOT_PLACE_BYTES}, MOST);
}

static void add(struct lot *lot, int64_t number, uint64_t queue, int64_t due)
{
    assert_true(reserve(lot, number, queue));
    lot_written(lot, number, due);
}

/* Numbers of what is due, as text. */
static const char *take(struct lot *lot, int64_t now, size_t most)
{
    static char text[256];
    int64_t numbers[64];
    size_t count = lot_take(lot, now, most, MOST, numbers);

    text[0] = 0;
    for (size_t i = 0; i < count; i++)
        sprintf(text + strlen(text), "%s%lld", i ? " " : "", (long long)numbers[i]);
    return text;
}

static struct lot_state state_of(struct lot *lot)
{
    struct lot_state state;

    lot_state(lot, &state);
    return state;
}

static void what_is_due_comes_out_by_its_time(void **state)
{
    struct lot *lot = lot_new();

    assert_true(lot_is_empty(lot));
    assert_false(state_of(lot).waits);
    add(lot, 1, 0, 500);
    add(lot, 2, 0, 300);
    add(lot, 3, 0, 400);
    assert_true(reserve(lot, 4, 0)); /* not written: not there yet */
    assert_int_equal(state_of(lot).count, 4);
    assert_int_equal(state_of(lot).due_wall_us, 300);
    assert_string_equal(take(lot, 299, 10), "");
    assert_string_equal(take(lot, 450, 10), "2 3");
    assert_string_equal(take(lot, 450, 10), "");
    lot_back(lot, 2, 700);
    lot_back(lot, 3, -1); /* as it was due */
    assert_string_equal(take(lot, 450, 10), "3");
    assert_string_equal(take(lot, 800, 10), "1 2");
    lot_remove(lot, 1);
    lot_remove(lot, 2);
    lot_remove(lot, 3);
    lot_remove(lot, 4);
    assert_true(lot_is_empty(lot));
    assert_int_equal(state_of(lot).bytes, 0);
    lot_free(lot);
}

/* In the order in which they were made, whatever each is due; and none while others are out. */
static void a_queue_keeps_its_order(void **state)
{
    struct lot *lot = lot_new();

    add(lot, 1, 7, 100);
    add(lot, 2, 7, 0);
    add(lot, 3, 7, 50);
    add(lot, 4, 8, 0);
    add(lot, 5, 7, 200);
    add(lot, 6, 7, 0);
    assert_true(lot_queues(lot, 7, false));
    assert_string_equal(take(lot, 60, 10), "4");
    assert_string_equal(take(lot, 100, 10), "1 2 3");
    lot_remove(lot, 1);
    assert_string_equal(take(lot, 1000, 10), "");
    lot_back(lot, 2, 300); /* failed again */
    assert_string_equal(take(lot, 1000, 10), "");
    lot_back(lot, 3, 0); /* went back behind it */
    assert_string_equal(take(lot, 299, 10), "");
    assert_string_equal(take(lot, 300, 2), "2 3");
    lot_remove(lot, 2);
    lot_remove(lot, 3);
    assert_string_equal(take(lot, 199, 10), "");
    assert_string_equal(take(lot, 200, 10), "5 6");
    lot_remove(lot, 5);
    lot_remove(lot, 6);
    assert_false(lot_queues(lot, 7, false));
    assert_true(lot_queues(lot, 8, false));
    lot_remove(lot, 4);
    lot_free(lot);
}

/* Whoever has them keeps their order: they need not wait for one another. */
static void those_in_a_row_leave_while_others_are_out(void **state)
{
    const uint64_t queue = LOT_IN_A_ROW | 7;
    struct lot *lot = lot_new();

    add(lot, 1, queue, 0);
    add(lot, 2, queue, 0);
    add(lot, 3, queue, 500);
    add(lot, 4, queue, 0);
    assert_string_equal(take(lot, 100, 1), "1");
    assert_string_equal(take(lot, 100, 9), "2");
    assert_true(lot_queues(lot, queue, true));
    assert_string_equal(take(lot, 100, 9), ""); /* the third is not due */
    assert_int_equal(state_of(lot).due_wall_us, 500);
    lot_back(lot, 2, -1);
    assert_string_equal(take(lot, 500, 9), "2 3 4");
    assert_true(lot_queues(lot, queue, false));
    assert_false(lot_queues(lot, queue, true));
    for (int64_t number = 1; number <= 4; number++)
        lot_remove(lot, number);
    assert_false(lot_queues(lot, queue, false));
    assert_true(lot_is_empty(lot));
    lot_free(lot);
}

static void a_reserved_place_holds_its_queue_up(void **state)
{
    struct lot *lot = lot_new();

    assert_true(reserve(lot, 1, 7));
    add(lot, 2, 7, 0);
    assert_true(lot_queues(lot, 7, false));
    assert_string_equal(take(lot, 10, 10), "");
    lot_written(lot, 1, 5);
    assert_string_equal(take(lot, 10, 10), "1 2");
    lot_back(lot, 1, 0);
    lot_back(lot, 2, 0);
    assert_true(reserve(lot, 3, 7));
    add(lot, 4, 7, 0);
    assert_string_equal(take(lot, 10, 10), "1 2"); /* up to what is not written */
    lot_remove(lot, 3);
    lot_remove(lot, 1);
    lot_remove(lot, 2);
    assert_string_equal(take(lot, 10, 10), "4");
    lot_free(lot);
}

static void bytes_are_bounded(void **state)
{
    struct lot *lot = lot_new();
    const struct lot_place place = {.number = 3, .bytes = 600};
    int64_t numbers[8];

    assert_true(lot_reserve(lot, &(struct lot_place){.number = 1, .bytes = 500}, 1000));
    assert_false(lot_reserve(lot, &place, 1000));
    assert_true(state_of(lot).full);
    assert_int_equal(state_of(lot).count, 1);
    assert_true(lot_reserve(lot, &(struct lot_place){.number = 2, .bytes = 700}, 0)); /* must */
    assert_int_equal(state_of(lot).bytes, 1200);
    assert_false(lot_reserve(lot, &place, 1000));
    lot_remove(lot, 2);
    assert_false(state_of(lot).full);
    assert_false(lot_reserve(lot, &place, 1000));
    lot_remove(lot, 1);
    assert_true(lot_reserve(lot, &place, 1000));
    assert_true(lot_reserve(lot, &(struct lot_place){.number = 4, .bytes = 300}, 1000));
    lot_written(lot, 3, 0);
    lot_written(lot, 4, 0);
    assert_int_equal(lot_take(lot, 1, 8, 100, numbers), 1); /* the first in any case */
    assert_int_equal(lot_take(lot, 1, 8, 0, numbers), 0);
    lot_free(lot);
}

static void tokens_are_known_once_they_are_written(void **state)
{
    const struct lot_place one = {.number = 1, .token = {5, 6}, .fingerprint = 9, .bytes = 1};
    const struct lot_place two = {.number = 2, .token = {5, 7}, .fingerprint = 10, .bytes = 1};
    struct lot *lot = lot_new();
    uint64_t fingerprint = 0;

    assert_false(lot_has(lot, one.token, &fingerprint));
    lot_reserve(lot, &one, MOST);
    lot_reserve(lot, &two, MOST);
    assert_false(lot_has(lot, one.token, &fingerprint));
    lot_written(lot, 1, 100);
    assert_true(lot_has(lot, one.token, &fingerprint));
    assert_int_equal(fingerprint, 9);
    assert_false(lot_has(lot, two.token, &fingerprint));
    assert_string_equal(take(lot, 100, 1), "1");
    assert_true(lot_has(lot, one.token, &fingerprint)); /* while it is out, too */
    lot_remove(lot, 1);
    assert_false(lot_has(lot, one.token, &fingerprint));
    lot_free(lot);
}

/* Its source may deliver it once more when its place is gone. */
static void what_was_restored_is_remembered_until_it_was_met(void **state)
{
    struct lot *lot = lot_new();
    struct lot_place place = {.number = 1, .token = {5, 6}, .fingerprint = 9, .restored = true};
    const uint64_t other[2] = {5, 7};
    uint64_t fingerprint;

    assert_true(lot_reserve(lot, &place, 0));
    lot_written(lot, 1, 0);
    assert_false(lot_had(lot, place.token, 9)); /* it has it */
    lot_remove(lot, 1);
    assert_true(lot_is_empty(lot));
    assert_false(lot_has_no_memory(lot));
    assert_false(lot_has(lot, place.token, &fingerprint));
    assert_false(lot_had(lot, other, 9));
    assert_false(lot_had(lot, place.token, 8));
    assert_true(lot_had(lot, place.token, 9));
    assert_false(lot_had(lot, place.token, 9));
    assert_true(lot_has_no_memory(lot));
    place.number = 2;
    assert_true(lot_reserve(lot, &place, 0));
    lot_written(lot, 2, 0);
    lot_remove(lot, 2); /* the memory of it is freed with the lot */
    place.number = 3;
    assert_true(lot_reserve(lot, &place, 0));
    lot_free(lot);
}

static void all_can_be_hurried(void **state)
{
    struct lot *lot = lot_new();

    add(lot, 1, 0, 500);
    add(lot, 2, 7, 600);
    add(lot, 3, 7, 700);
    add(lot, 4, 0, 50);
    assert_int_equal(lot_hurry(lot, 100), 3);
    assert_string_equal(take(lot, 100, 2), "4 1");
    assert_string_equal(take(lot, 100, 10), "2 3");
    lot_free(lot);
}

/* Against a list that is searched through. */
static void many_come_and_go(void **state)
{
    enum { ALL = 3000 };
    static int64_t due[ALL];
    static bool there[ALL];
    struct lot *lot = lot_new();
    uint64_t seed = 1;
    size_t left = 0;

    for (int i = 0; i < ALL; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        due[i] = 1 + (int64_t)(seed >> 40) % 1000;
        there[i] = true;
        add(lot, i + 1, 0, due[i]);
    }
    for (int i = 0; i < ALL; i += 3) {
        lot_remove(lot, i + 1);
        there[i] = false;
    }
    for (int64_t now = 0; now <= 1000; now += 10) {
        int64_t numbers[ALL];
        size_t count = lot_take(lot, now, ALL, MOST, numbers), wanted = 0;

        for (int i = 0; i < ALL; i++)
            wanted += there[i] && due[i] <= now;
        assert_int_equal(count, wanted);
        for (size_t i = 0; i < count; i++) {
            assert_true(there[numbers[i] - 1] && due[numbers[i] - 1] <= now);
            if (i)
                assert_true(due[numbers[i - 1] - 1] <= due[numbers[i] - 1]);
            there[numbers[i] - 1] = false;
            lot_remove(lot, numbers[i]);
        }
    }
    for (int i = 0; i < ALL; i++)
        left += there[i];
    assert_int_equal(left, 0);
    assert_true(lot_is_empty(lot));
    lot_free(lot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_due_comes_out_by_its_time),
        cmocka_unit_test(a_queue_keeps_its_order),
        cmocka_unit_test(those_in_a_row_leave_while_others_are_out),
        cmocka_unit_test(a_reserved_place_holds_its_queue_up),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(tokens_are_known_once_they_are_written),
        cmocka_unit_test(what_was_restored_is_remembered_until_it_was_met),
        cmocka_unit_test(all_can_be_hurried),
        cmocka_unit_test(many_come_and_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
