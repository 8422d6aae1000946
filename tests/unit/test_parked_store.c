/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/parked_store.h"

#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"

struct fixture {
    char directory[64];
    struct parked_store *store;
    struct fault fault;
};

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    return remove(path);
}

static struct parked_store *open_store(struct fixture *fixture, bool write)
{
    struct parked_store *store = parked_store_open(fixture->directory, write, &fixture->fault);

    if (!store)
        fail_msg("%s", fixture->fault.text);
    return store;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    strcpy(fixture->directory, "/tmp/test-parked-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    fixture->store = open_store(fixture, true);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    parked_store_close(fixture->store);
    nftw(fixture->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(fixture);
    return 0;
}

static const struct dead_letter_attempt attempts[] = {
    {.wall_us = 11, .duration_us = 12, .status = 500, .batch_size = 3, .outcome = "failed",
     .error = "no"},
    {.wall_us = 21, .duration_us = 22, .status = 0, .batch_size = 1, .outcome = "unavailable",
     .error = "refused"},
};
static const struct sluice_header headers[] = {
    {{"a", 1}, {"1", 1}}, {{"a", 1}, {NULL, 0}}, {{"", 0}, {"\0\xff", 2}}};

static struct parked example(int64_t number)
{
    return (struct parked){
        .number = number,
        .due_wall_us = 1000 + number,
        .parked_wall_us = 900,
        .queue = UINT64_MAX - 5,
        .bytes = 1100,
        .fingerprint = UINT64_C(1) << 63,
        .has_token = true,
        .attempts = 7,
        .named = true,
        .first_failed_wall_us = 10,
        .letter = {.mapping = "orders",
                   .revision = "r1",
                   .connector = "kafka",
                   .lane = "orders/3",
                   .source = "orders",
                   .partition = 3,
                   .position = UINT64_MAX - 1,
                   .message_wall_us = 5000,
                   .timestamp_kind = SLUICE_TIMESTAMP_APPENDED,
                   .delivery_count = 4,
                   .identity = {"who\0", 4},
                   .message_id = {"id", 2},
                   .token = "tok\0en",
                   .token_size = 6,
                   .key = {"key\0", 4},
                   .payload = {"pay\0load", 8},
                   .headers = headers,
                   .header_count = 3,
                   .status = 500,
                   .response = {"oh\0no", 5},
                   .attempts = attempts,
                   .attempts_kept = 2,
                   .attempt_count = 9,
                   .first_wall_us = 11,
                   .last_wall_us = 21},
    };
}

static void assert_bytes(struct sluice_bytes found, struct sluice_bytes wanted)
{
    assert_int_equal(!found.data, !wanted.data);
    assert_int_equal(found.size, wanted.size);
    if (wanted.data)
        assert_memory_equal(found.data, wanted.data, wanted.size);
}

static void compare_attempt(const struct dead_letter_attempt *found,
                            const struct dead_letter_attempt *wanted)
{
    assert_int_equal(found->wall_us, wanted->wall_us);
    assert_int_equal(found->duration_us, wanted->duration_us);
    assert_int_equal(found->status, wanted->status);
    assert_int_equal(found->batch_size, wanted->batch_size);
    assert_string_equal(found->outcome, wanted->outcome);
    assert_string_equal(found->error, wanted->error);
}

static int compare(void *argument, const struct parked *found)
{
    const struct parked *wanted = argument;
    const struct dead_letter *a = &found->letter, *b = &wanted->letter;

    assert_int_equal(found->number, wanted->number);
    assert_int_equal(found->due_wall_us, wanted->due_wall_us);
    assert_int_equal(found->parked_wall_us, wanted->parked_wall_us);
    assert_true(found->queue == wanted->queue);
    assert_int_equal(found->bytes, wanted->bytes);
    assert_true(found->fingerprint == wanted->fingerprint);
    assert_int_equal(found->has_token, wanted->has_token);
    assert_bytes(a->identity, b->identity);
    assert_bytes(a->message_id, b->message_id);
    assert_int_equal(a->timestamp_kind, b->timestamp_kind);
    assert_int_equal(a->delivery_count, b->delivery_count);
    assert_int_equal(found->attempts, wanted->attempts);
    assert_int_equal(found->named, wanted->named);
    assert_int_equal(found->first_failed_wall_us, wanted->first_failed_wall_us);
    assert_string_equal(a->mapping, b->mapping);
    assert_string_equal(a->revision, b->revision);
    assert_string_equal(a->connector, b->connector);
    assert_string_equal(a->lane, b->lane);
    assert_string_equal(a->source, b->source);
    assert_int_equal(a->partition, b->partition);
    assert_true(a->position == b->position);
    assert_int_equal(a->message_wall_us, b->message_wall_us);
    assert_int_equal(a->token_size, b->token_size);
    assert_memory_equal(a->token, b->token, b->token_size);
    assert_bytes(a->key, b->key);
    assert_bytes(a->payload, b->payload);
    assert_int_equal(a->header_count, b->header_count);
    for (size_t i = 0; i < b->header_count; i++) {
        assert_bytes(a->headers[i].name, b->headers[i].name);
        assert_bytes(a->headers[i].value, b->headers[i].value);
    }
    assert_int_equal(a->status, b->status);
    assert_bytes(a->response, b->response);
    assert_int_equal(a->attempts_kept, b->attempts_kept);
    for (size_t i = 0; i < b->attempts_kept; i++)
        compare_attempt(&a->attempts[i], &b->attempts[i]);
    assert_int_equal(a->attempt_count, b->attempt_count);
    assert_int_equal(a->first_wall_us, b->first_wall_us);
    assert_int_equal(a->last_wall_us, b->last_wall_us);
    return 0;
}

static void read_and_compare(struct parked_store *store, struct parked wanted)
{
    struct fault fault;

    assert_int_equal(parked_store_read(store, wanted.number, compare, &wanted, &fault), 1);
}

static void all_of_a_message_is_kept(void **state)
{
    struct fixture *fixture = *state;
    struct parked rows[2] = {example(1), {.number = 2, .letter = {.mapping = "m", .lane = "l",
                                                                  .source = "s", .revision = "",
                                                                  .connector = "c", .token = ""}}};
    struct parked_store *reader;

    rows[1].letter.key = (struct sluice_bytes){"", 0}; /* empty is not absent */
    assert_int_equal(parked_store_write(fixture->store, rows, 2, &fixture->fault), 0);
    read_and_compare(fixture->store, rows[0]);
    reader = open_store(fixture, false);
    read_and_compare(reader, rows[0]);
    read_and_compare(reader, rows[1]);
    assert_int_equal(parked_store_read(reader, 3, compare, NULL, &fixture->fault), 0);
    assert_int_equal(parked_store_write(reader, rows, 1, &fixture->fault), -1);
    parked_store_close(reader);
}

static void the_same_number_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    struct parked row = example(5);

    assert_int_equal(parked_store_write(fixture->store, &row, 1, &fixture->fault), 0);
    row.attempts = 8;
    row.due_wall_us = 2000;
    assert_int_equal(parked_store_write(fixture->store, &row, 1, &fixture->fault), 0);
    read_and_compare(fixture->store, row);
}

static int note(void *argument, const struct parked *parked)
{
    char *text = argument;

    sprintf(text + strlen(text), " %s/%lld", parked->letter.mapping, (long long)parked->number);
    assert_string_equal(parked->letter.reason, "refused");
    return parked->number == 4;
}

static void lists_by_number_and_mapping(void **state)
{
    struct fixture *fixture = *state;
    struct parked rows[4] = {example(4), example(2), example(9), example(3)};
    char text[128] = "";

    rows[1].letter.mapping = rows[2].letter.mapping = "other";
    rows[2].parked_wall_us = 77;
    assert_int_equal(parked_store_newest(fixture->store), -1);
    assert_int_equal(parked_store_write(fixture->store, rows, 4, &fixture->fault), 0);
    assert_int_equal(parked_store_list(fixture->store, "other", note, text, &fixture->fault), 0);
    assert_string_equal(text, " other/2 other/9");
    assert_int_equal(parked_store_newest(fixture->store), 77);
    text[0] = 0;
    assert_int_equal(parked_store_list(fixture->store, NULL, note, text, &fixture->fault), 0);
    assert_string_equal(text, " other/2 orders/3 orders/4");
    assert_int_equal(parked_store_remove(fixture->store, (int64_t[]){3, 77, 2}, 3, &fixture->fault),
                     0);
    text[0] = 0;
    assert_int_equal(parked_store_list(fixture->store, NULL, note, text, &fixture->fault), 0);
    assert_string_equal(text, " orders/4");
}

/* Killed at any moment, what it was told to be written is there. */
static void what_was_written_survives_a_kill(void **state)
{
    struct fixture *fixture = *state;
    int pipes[2], written = 0, number;
    pid_t child;

    parked_store_close(fixture->store);
    fixture->store = NULL;
    assert_int_equal(pipe(pipes), 0);
    child = fork();
    if (!child) {
        struct parked_store *store = parked_store_open(fixture->directory, true, &fixture->fault);

        for (number = 1; store; number++) {
            struct parked row = example(number);

            if (parked_store_write(store, &row, 1, &fixture->fault) != 0 ||
                write(pipes[1], &number, sizeof number) != sizeof number)
                break;
        }
        _exit(1);
    }
    close(pipes[1]);
    while (written < 20 && read(pipes[0], &number, sizeof number) == sizeof number)
        written = number;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    while (read(pipes[0], &number, sizeof number) == sizeof number)
        written = number;
    close(pipes[0]);
    assert_true(written >= 20);
    fixture->store = open_store(fixture, true);
    for (number = 1; number <= written; number++)
        read_and_compare(fixture->store, example(number));
}

static void run_sql(struct fixture *fixture, const char *statement)
{
    char *path = memory_format("%s/parked.sqlite", fixture->directory);
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    free(path);
}

static void refuse(struct fixture *fixture, const char *why)
{
    for (int write = 0; write < 2; write++) {
        assert_null(parked_store_open(fixture->directory, write, &fixture->fault));
        if (!strstr(fixture->fault.text, why))
            fail_msg("%s: no %s", fixture->fault.text, why);
    }
}

static void other_files_are_refused(void **state)
{
    struct fixture *fixture = *state;
    char *path = memory_format("%s/parked.sqlite", fixture->directory);
    struct stat status;
    FILE *file;

    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    parked_store_close(fixture->store);
    fixture->store = NULL;
    run_sql(fixture, "PRAGMA user_version = 2");
    refuse(fixture, "written by a newer sluice (format 2");
    run_sql(fixture, "PRAGMA application_id = 1");
    refuse(fixture, "not a store of parked messages");
    file = fopen(path, "w");
    fputs("something else, longer than a header of SQLite's would be ............................"
          "........................................................................",
          file);
    fclose(file);
    refuse(fixture, "damaged or not a store of parked messages");
    assert_int_equal(remove(path), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_null(parked_store_open(fixture->directory, true, &fixture->fault));
    free(path);
}

/* As a writer leaves it for a moment, or for good when it is killed then. */
static void a_store_that_is_not_made_yet_is_none(void **state)
{
    static const char *const made[] = {"PRAGMA application_id", "PRAGMA journal_mode = WAL"};
    struct fixture *fixture = *state;
    char *path = memory_format("%s/parked.sqlite", fixture->directory);

    parked_store_close(fixture->store);
    assert_int_equal(remove(path), 0);
    for (size_t i = 0; i <= 2; i++) {
        memset(fixture->fault.text, 'x', 8);
        assert_null(parked_store_open(fixture->directory, false, &fixture->fault));
        assert_string_equal(fixture->fault.text, "");
        if (i < 2)
            run_sql(fixture, made[i]);
    }
    fixture->store = open_store(fixture, true);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_of_a_message_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_number_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_by_number_and_mapping, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_written_survives_a_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(other_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_that_is_not_made_yet_is_none, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
