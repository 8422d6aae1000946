/* SPDX-License-Identifier: MIT
 * Parked messages that are buried at a place: out of the park only when the place has them, whatever the place,
 * the disk or a stop do in between. */
#define _GNU_SOURCE
#include "service/publisher.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scripted_place.h"
#include "service/options.h"
#include "service/park.h"
#include "service/park_bury.h"

struct fixture {
    char directory[64];
    struct mapping mapping;
    struct park *park;
    struct lot *lot;
    struct recorder *recorder;
    struct publisher *publisher;
    struct fault fault;
};

static void start(struct fixture *fixture)
{
    fixture->recorder = recorder_new(NULL, NULL, NULL, &fixture->fault);
    recorder_use_park(fixture->recorder, park_store(fixture->park));
    assert_int_equal(recorder_start(fixture->recorder, &fixture->fault), 0);
    fixture->publisher =
        publisher_new(&fixture->mapping, fixture->recorder, fixture->park, &fixture->fault);
    assert_non_null(fixture->publisher);
    assert_int_equal(publisher_start(fixture->publisher, &fixture->fault), 0);
}

static void park_one(struct fixture *fixture, int64_t number)
{
    char token[16];
    struct lot_place where = {.number = number, .bytes = 100};
    struct parked row = {.number = number,
                         .due_wall_us = clock_wall() + CLOCK_HOUR,
                         .letter = {.mapping = "m", .revision = "1", .connector = "place", .lane = "q",
                                    .source = "q", .partition = -1, .token = token, .payload = {"p", 1}}};

    snprintf(token, sizeof token, "t%d", (int)number);
    assert_int_equal(parked_store_write(park_store(fixture->park), &row, 1, &fixture->fault), 0);
    lot_reserve(fixture->lot, &where, 0);
    lot_written(fixture->lot, number, row.due_wall_us);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct problems problems = {0};

    open_place();
    strcpy(fixture->directory, "/tmp/sluice-bury-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    fixture->mapping = (struct mapping){.name = (char *)"m", .connector = &connector};
    fixture->mapping.values =
        options_read(no_options, "source.place", NULL, (struct place){0}, &problems);
    fixture->mapping.letters_to = (struct letters_to){
        .connector = &connector, .values = fixture->mapping.values, .text = (char *)"place letters"};
    fixture->park = park_open(fixture->directory, &fixture->fault);
    assert_non_null(fixture->park);
    fixture->lot = park_lot(fixture->park, "m");
    start(fixture);
    *state = fixture;
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    return remove(path);
}

static void end(struct fixture *fixture)
{
    publisher_stop(fixture->publisher, 0);
    publisher_free(fixture->publisher);
    recorder_free(fixture->recorder);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    end(fixture);
    park_close(fixture->park);
    nftw(fixture->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    options_free(fixture->mapping.values);
    close(place.fd);
    free(fixture);
    return 0;
}

static int count_row(void *argument, const struct parked *parked)
{
    (void)parked;
    ++*(size_t *)argument;
    return 0;
}

/* As they are on the disk. */
static size_t rows_of(struct fixture *fixture)
{
    struct parked_store *reader = parked_store_open(fixture->directory, false, &fixture->fault);
    size_t count = 0;

    assert_non_null(reader);
    assert_int_equal(parked_store_list(reader, "m", count_row, &count, &fixture->fault), 0);
    parked_store_close(reader);
    return count;
}

static uint64_t waiting_in(struct lot *lot)
{
    struct lot_state state;

    lot_state(lot, &state);
    return state.waits ? state.count : 0;
}

/* Asks until the answer is that; what was counted on the way is added up. */
static void ask_until(struct fixture *fixture, uint64_t count, uint64_t waiting)
{
    int64_t until_us = clock_now() + PATIENCE_US;
    struct publisher_burial burial;
    uint64_t sum = 0;

    do {
        publisher_bury(fixture->publisher, &burial);
        sum += burial.count;
        if (clock_now() > until_us)
            fail_msg("%d buried and %d waiting within 20 s", (int)sum, (int)burial.waiting);
        poll(NULL, 0, 5);
    } while (sum != count || burial.waiting != waiting);
}

/* ---- */

static void what_is_confirmed_leaves_the_park(void **state)
{
    struct fixture *fixture = *state;
    struct publisher_status status;

    ask_until(fixture, 0, 0); /* nothing is parked */
    for (int64_t number = 1; number <= 3; number++)
        park_one(fixture, number);
    ask_until(fixture, 0, 3);
    await_pieces(3);
    assert_name(0, "t1");
    assert_int_equal(strlen(place.pieces[0].id), 26);
    confirm(0);
    confirm(1);
    ask_until(fixture, 0, 3); /* together, or not at all */
    assert_int_equal(rows_of(fixture), 3);
    confirm(2);
    ask_until(fixture, 3, 0);
    assert_int_equal(rows_of(fixture), 0);
    assert_true(lot_is_empty(fixture->lot));
    publisher_read_status(fixture->publisher, &status);
    assert_int_equal(status.published, 3);
}

static void what_is_refused_stays_and_is_tried_again(void **state)
{
    struct fixture *fixture = *state;

    park_one(fixture, 1);
    park_one(fixture, 2);
    ask_until(fixture, 0, 2);
    await_pieces(2);
    confirm(0);
    refuse(1);
    await_pieces(3);
    assert_name(2, "t2");
    assert_int_equal(rows_of(fixture), 2);
    confirm(2);
    ask_until(fixture, 2, 0);
    assert_int_equal(rows_of(fixture), 0);
}

static void more_than_fits_goes_in_parts(void **state)
{
    struct fixture *fixture = *state;

    for (int64_t number = 1; number <= PARK_BURY_MOST + 5; number++)
        park_one(fixture, number);
    ask_until(fixture, 0, PARK_BURY_MOST);
    await_pieces(PARK_BURY_MOST);
    for (size_t i = 0; i < PARK_BURY_MOST; i++)
        confirm(i);
    ask_until(fixture, PARK_BURY_MOST, 5);
    await_pieces(PARK_BURY_MOST + 5);
    for (size_t i = 0; i < 5; i++)
        confirm(PARK_BURY_MOST + i);
    ask_until(fixture, 5, 0);
}

/* One order is for what is there: what is parked later, while the place is away, is nobody's wish. */
static void what_comes_later_is_left(void **state)
{
    struct fixture *fixture = *state;
    struct publisher_burial burial;

    park_one(fixture, 1);
    publisher_bury(fixture->publisher, &burial);
    assert_int_equal(burial.waiting, 1);
    await_pieces(1);
    park_one(fixture, 2);
    publisher_bury(fixture->publisher, &burial); /* only asks how it goes */
    confirm(0);
    while (rows_of(fixture) != 1)
        poll(NULL, 0, 5);
    poll(NULL, 0, 50);
    assert_int_equal(place.piece_count, 1);
    assert_int_equal(waiting_in(fixture->lot), 1);
}

static void a_stop_leaves_it_parked(void **state)
{
    struct fixture *fixture = *state;

    park_one(fixture, 1);
    park_one(fixture, 2);
    ask_until(fixture, 0, 2);
    await_pieces(2);
    confirm(0);
    end(fixture);
    assert_int_equal(rows_of(fixture), 2);
    assert_int_equal(waiting_in(fixture->lot), 2); /* for whoever comes next */
    close(place.fd);
    open_place();
    start(fixture);
    ask_until(fixture, 0, 2);
    await_pieces(2);
    confirm(0);
    confirm(1);
    ask_until(fixture, 2, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_confirmed_leaves_the_park, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_refused_stays_and_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(more_than_fits_goes_in_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(what_comes_later_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_leaves_it_parked, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
