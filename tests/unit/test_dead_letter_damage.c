/* SPDX-License-Identifier: MIT
 * A damaged file of dead letters: what is still there is read, and what is not is told. */
#define _GNU_SOURCE
#include "dead_letter_fixture.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#define LETTERS 1000

/* A closed file of letters, one a second. */
static int setup_letters(void **state)
{
    static struct dead_letter letters[LETTERS];
    static const char payload[250];
    struct fixture *fixture;

    setup(state);
    fixture = *state;
    for (int i = 0; i < LETTERS; i++)
        letters[i] = (struct dead_letter){.mapping = "orders",
                                          .lane = "orders/3",
                                          .source = "orders",
                                          .partition = 3,
                                          .position = (uint64_t)i,
                                          .token = "t",
                                          .payload = {payload, sizeof payload},
                                          .class = DEAD_ATTEMPTS,
                                          .reason = "HTTP 500: order 17 failed",
                                          .dead_wall_us = T0 + i * CLOCK_SECOND};
    add_n(fixture, letters, LETTERS);
    close_store(fixture);
    return 0;
}

static const char *data_path(const struct fixture *fixture)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/dead-letters.sqlite", fixture->directory);
    return path;
}

static void damage_inside_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter_query query = {0};
    struct seen seen = {0};
    char junk[4096];
    struct stat status;
    int fd, result;

    stat(data_path(fixture), &status);
    memset(junk, 0xa5, sizeof junk);
    fd = open(data_path(fixture), O_WRONLY);
    for (off_t at = 40960; at < status.st_size; at += (off_t)sizeof junk)
        assert_int_equal(pwrite(fd, junk, sizeof junk, at), sizeof junk);
    close(fd);
    open_store(fixture, DEAD_LETTER_READ);
    result = fixture->store->ops->list(fixture->store, &query, 1, see, &seen, &fixture->fault);
    assert_int_equal(result, -1);
    assert_non_null(strstr(fixture->fault.text, "damaged"));
}

/* Overwrites every page of the table or index `name` whose number is below `most` of them. */
static void damage_pages(struct fixture *fixture, const char *name, int skip, int most)
{
    char junk[4096], sql[200];
    sqlite3_stmt *pages;
    sqlite3 *db;
    int fd;

    memset(junk, 0xa5, sizeof junk);
    assert_int_equal(sqlite3_open(data_path(fixture), &db), SQLITE_OK);
    snprintf(sql, sizeof sql,
             "SELECT pageno FROM dbstat WHERE name = '%s' AND pagetype = 'leaf' ORDER BY pageno LIMIT"
             " %d OFFSET %d",
             name, most, skip);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &pages, NULL), SQLITE_OK);
    fd = open(data_path(fixture), O_WRONLY);
    while (sqlite3_step(pages) == SQLITE_ROW)
        assert_int_equal(pwrite(fd, junk, sizeof junk,
                                (sqlite3_column_int64(pages, 0) - 1) * (off_t)sizeof junk),
                         sizeof junk);
    close(fd);
    sqlite3_finalize(pages);
    sqlite3_close(db);
}

/* Lists all of a damaged file: in order, none twice, and what cannot be read is told. */
static size_t read_damaged(struct fixture *fixture, struct dead_letter_query query, int with_payload)
{
    struct seen seen = {0};
    int result = fixture->store->ops->list(fixture->store, &query, with_payload, see, &seen,
                                           &fixture->fault);

    assert_int_equal(result, -1);
    assert_non_null(strstr(fixture->fault.text, "damaged"));
    assert_non_null(strstr(fixture->fault.text, "cannot be read; what can be was"));
    for (size_t i = 1; i < seen.count; i++)
        assert_true(query.sort == DEAD_LETTER_OLDEST ? seen.positions[i - 1] < seen.positions[i]
                                                     : seen.positions[i - 1] > seen.positions[i]);
    return seen.count;
}

static void what_is_not_damaged_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct dead_letter_query newest = {0}, oldest = {.sort = DEAD_LETTER_OLDEST};
    size_t whole;

    /* Payloads are gone: the letters are listed, and those shown whole are the others. */
    damage_pages(fixture, "body", 3, 2);
    open_store(fixture, DEAD_LETTER_READ);
    whole = read_damaged(fixture, oldest, 1);
    assert_in_range(whole, 900, 999);
    assert_int_equal(read_damaged(fixture, newest, 1), whole);
    assert_non_null(strstr(fixture->fault.text, "letters cannot be read"));
    close_store(fixture);
    /* Letters are gone, and nobody knows which: the time between is told. */
    damage_pages(fixture, "letter", 5, 1);
    open_store(fixture, DEAD_LETTER_READ);
    assert_in_range(read_damaged(fixture, oldest, 0), 800, 990);
    assert_non_null(strstr(fixture->fault.text, "died between 2023-11-14T22:"));
    assert_in_range(read_damaged(fixture, newest, 0), 800, 990);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(damage_inside_is_told, setup_letters, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_damaged_is_read, setup_letters, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
