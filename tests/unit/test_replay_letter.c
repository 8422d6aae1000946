/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/replay_letter.h"

#include "dead_letter_fixture.h"

/* Letters 1 to 9, each with a payload of as many bytes. */
static int setup_letters(void **state)
{
    struct dead_letter letters[9];

    setup(state);
    for (unsigned i = 0; i < 9; i++)
        letters[i] = (struct dead_letter){.mapping = "orders",
                                          .revision = "r1",
                                          .connector = "kafka",
                                          .lane = "orders/3",
                                          .source = "orders",
                                          .position = i + 1,
                                          .token = "t",
                                          .payload = {"123456789", i + 1},
                                          .class = DEAD_ATTEMPTS,
                                          .reason = "HTTP 500",
                                          .dead_wall_us = T0 + i + 1};
    add_n(*state, letters, 9);
    return 0;
}

/* What becomes of picks of these letters: their payloads' sizes, `-` for gone, `?` for unread. */
static const char *read_picks(struct fixture *fixture, const char *letters, size_t bytes)
{
    static char text[16];
    struct replay_pick picks[16] = {{.number = 0}};
    size_t count = strlen(letters);

    memset(text, 0, sizeof text);
    for (size_t i = 0; i < count; i++)
        picks[i].number = T0 + letters[i] - '0';
    assert_int_equal(
        replay_letters_read(fixture->store, picks, count, bytes, &fixture->fault), 0);
    for (size_t i = 0; i < count; i++) {
        text[i] = picks[i].state == REPLAY_UNREAD ? '?'
                  : picks[i].state == REPLAY_GONE ? '-'
                                                  : (char)('0' + picks[i].letter->message.payload.size);
        assert_int_equal(picks[i].state == REPLAY_READ, picks[i].letter != NULL);
        free(picks[i].letter);
    }
    return text;
}

static void picks_get_their_own_letters(void **state)
{
    assert_string_equal(read_picks(*state, "519283", 1000), "519283");
    assert_string_equal(read_picks(*state, "9", 1000), "9");
}

static void picks_that_are_gone_are_told(void **state)
{
    struct fixture *fixture = *state;
    const int64_t numbers[] = {T0 + 2, T0 + 9};

    assert_int_equal(
        fixture->store->ops->remove(fixture->store, numbers, NULL, 2, NULL, &fixture->fault), 2);
    assert_string_equal(read_picks(fixture, "9271", 1000), "--71");
    assert_string_equal(read_picks(fixture, "29", 1000), "--");
}

static void no_more_is_read_than_there_is_room_for(void **state)
{
    assert_string_equal(read_picks(*state, "1753", 9), "1?53");
    assert_string_equal(read_picks(*state, "1753", 8), "1?53");
    assert_string_equal(read_picks(*state, "1753", 4), "1??3");
    assert_string_equal(read_picks(*state, "597", 1), "5??");
}

/* Else a lane whose first letter died last would never go on: the others of it are read, and wait for it. */
static void the_first_is_always_read(void **state)
{
    struct fixture *fixture = *state;
    const int64_t number = T0 + 9;

    assert_string_equal(read_picks(fixture, "7531", 4), "7?31");
    assert_string_equal(read_picks(fixture, "975", 1), "9?5");
    assert_int_equal(
        fixture->store->ops->remove(fixture->store, &number, NULL, 1, NULL, &fixture->fault), 1);
    assert_string_equal(read_picks(fixture, "975", 1), "-?5");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup_letters, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(picks_get_their_own_letters),
        TEST(picks_that_are_gone_are_told),
        TEST(no_more_is_read_than_there_is_room_for),
        TEST(the_first_is_always_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
