/* SPDX-License-Identifier: MIT */
#include "cli/dlq_browse_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

#define PAYLOAD 4000

static char payload[PAYLOAD];

static void add(struct browse_rows *rows, uint64_t position, size_t size)
{
    const struct sluice_lane lane = {.name = "dead/0", .source = "dead"};
    const struct sluice_message message = {.position = position,
                                           .payload = {payload, size},
                                           .timestamp_ms = (int64_t)position};
    struct browse_letter letter;

    browse_letter_read(&letter, &lane, &message, NULL, 0);
    browse_rows_add(rows, &letter, NULL);
    browse_letter_fini(&letter);
}

/* The positions that are printed, as JSON lines. */
static size_t printed(struct browse_rows *rows, uint64_t *ret_positions, size_t room)
{
    FILE *file = tmpfile();
    int out = dup(STDOUT_FILENO);
    size_t count = 0;
    char *line = NULL;
    size_t size = 0;

    fflush(stdout);
    assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
    browse_rows_end(rows);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    close(out);
    rewind(file);
    while (getline(&line, &size, file) > 0 && count < room) {
        json_t *json = json_loads(line, 0, NULL);

        ret_positions[count++] = (uint64_t)json_integer_value(
            json_object_get(json_object_get(json, "place"), "position"));
        json_decref(json);
    }
    free(line);
    fclose(file);
    return count;
}

static void the_first_of_the_order_are_held(void **state)
{
    struct browse_rows rows = {.json = true, .limit = 10};
    uint64_t positions[100];

    (void)state;
    for (uint64_t i = 1; i <= 100; i++)
        add(&rows, i * 37 % 101, 10);
    assert_int_equal(printed(&rows, positions, 100), 10);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(positions[i], 100 - i);
    assert_false(rows.cut);
    assert_int_equal(rows.added, 100);
    browse_rows_fini(&rows);
    assert_int_equal(rows.bytes, 0);
}

/* Without a gap: the first of all, however many fit. */
static void what_is_held_is_bounded(void **state)
{
    struct browse_rows rows = {.json = true, .limit = 50, .bytes_most = 20 * PAYLOAD};
    uint64_t positions[100];
    size_t count, most = 0;

    (void)state;
    for (uint64_t i = 1; i <= 100; i++) {
        add(&rows, i * 37 % 101, PAYLOAD);
        most = rows.bytes > most ? rows.bytes : most;
    }
    assert_true(most <= rows.bytes_most && most > rows.bytes_most / 2);
    count = printed(&rows, positions, 100);
    assert_true(rows.cut && count == rows.limit && count >= 10 && count < 20);
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(positions[i], 100 - i);
    browse_rows_fini(&rows);
}

static void one_is_always_shown(void **state)
{
    struct browse_rows rows = {.json = true, .limit = 5, .sort = DEAD_LETTER_OLDEST, .bytes_most = 10};
    uint64_t positions[5];

    (void)state;
    for (uint64_t i = 5; i >= 1; i--)
        add(&rows, i, PAYLOAD);
    assert_int_equal(printed(&rows, positions, 5), 1);
    assert_int_equal(positions[0], 1);
    browse_rows_fini(&rows);
}

/* Twice the limit is held at most, and what is beyond the limit goes first. */
static void what_is_not_shown_takes_no_room_from_what_is(void **state)
{
    struct browse_rows rows = {.json = true, .limit = 10, .bytes_most = 15 * PAYLOAD};
    uint64_t positions[20];

    (void)state;
    for (uint64_t i = 1; i <= 100; i++)
        add(&rows, i, PAYLOAD);
    assert_int_equal(printed(&rows, positions, 20), 10);
    assert_false(rows.cut);
    browse_rows_fini(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_of_the_order_are_held),
        cmocka_unit_test(what_is_held_is_bounded),
        cmocka_unit_test(one_is_always_shown),
        cmocka_unit_test(what_is_not_shown_takes_no_room_from_what_is),
    };

    memset(payload, 'x', sizeof payload);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
