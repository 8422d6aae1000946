/* SPDX-License-Identifier: MIT */
#include "service/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct usage_counts ones = {1, 1, 1, 1, 1}, twos = {2, 2, 2, 2, 2}, none;

static void days_are_summed(void **state)
{
    struct ledger ledger = {0};

    ledger_add(&ledger, "orders", 5, &ones);
    ledger_add(&ledger, "orders", 5, &twos);
    ledger_add(&ledger, "mails", 5, &ones);
    ledger_add(&ledger, "orders", 6, &ones);
    ledger_add(&ledger, "orders", 7, &none);
    assert_int_equal(ledger.count, 2);
    assert_int_equal(ledger.mappings[0].count, 2);
    assert_int_equal(ledger.mappings[0].days[0].counts.messages, 3);
    assert_int_equal(ledger.mappings[0].days[0].counts.function_us, 3);
    assert_int_equal(ledger.mappings[0].days[1].day, 6);
    ledger_fini(&ledger);
}

static void a_clock_that_jumps_back_finds_its_day(void **state)
{
    static const int64_t days[] = {5, 9, 5, 7, 9, 4};
    static const int64_t sorted[] = {4, 5, 7, 9}, sums[] = {1, 2, 1, 2};
    struct ledger ledger = {0};

    for (size_t i = 0; i < 6; i++)
        ledger_add(&ledger, "orders", days[i], &ones);
    assert_int_equal(ledger.mappings[0].count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(ledger.mappings[0].days[i].day, sorted[i]);
        assert_int_equal(ledger.mappings[0].days[i].counts.messages, sums[i]);
    }
    ledger_fini(&ledger);
}

static void the_latest_days_are_kept(void **state)
{
    struct ledger ledger = {0};

    for (int64_t day = 0; day < 2 * LEDGER_DAYS; day++)
        ledger_add(&ledger, "orders", day, &ones);
    assert_int_equal(ledger.mappings[0].count, LEDGER_DAYS);
    assert_int_equal(ledger.mappings[0].days[0].day, LEDGER_DAYS);
    ledger_add(&ledger, "orders", 3, &ones); /* before all of them */
    assert_int_equal(ledger.mappings[0].days[0].day, LEDGER_DAYS);
    assert_int_equal(ledger.mappings[0].days[LEDGER_DAYS - 1].day, 2 * LEDGER_DAYS - 1);
    ledger_fini(&ledger);
}

static void what_is_unwritten_is_known(void **state)
{
    struct usage_row *rows, stored = {"orders", 5, {10, 10, 10, 10, 10}};
    struct ledger ledger = {0};
    size_t count;

    ledger_load(&ledger, &stored);
    rows = ledger_take_unwritten(&ledger, &count);
    assert_int_equal(count, 0);
    free(rows);
    ledger_add(&ledger, "orders", 5, &ones);
    ledger_add(&ledger, "orders", 6, &ones);
    rows = ledger_take_unwritten(&ledger, &count);
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].mapping, "orders");
    assert_int_equal(rows[0].counts.invocations, 11);
    ledger_give_back(&ledger, rows + 1, 1);
    free(rows);
    rows = ledger_take_unwritten(&ledger, &count);
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].day, 6);
    free(rows);
    free(ledger_take_unwritten(&ledger, &count));
    assert_int_equal(count, 0);
    ledger_fini(&ledger);
}

/* ---- on disk ---- */

static void load(void *argument, const struct usage_row *row)
{
    ledger_load(argument, row);
}

static void read_all(struct usage_store *store, struct ledger *ret_ledger)
{
    struct fault fault;

    *ret_ledger = (struct ledger){0};
    assert_int_equal(usage_store_read(store, load, ret_ledger, &fault), 0);
}

static void it_is_there_again(void **state)
{
    const char *directory = *state;
    struct usage_row rows[] = {{"orders", 5, ones}, {"mails", 5, twos}, {"orders", 6, twos}};
    struct usage_counts large = {1, 2, INT64_MAX, 3, 4};
    struct usage_store *store;
    struct ledger ledger;
    struct fault fault;
    struct stat status;
    char path[256];

    store = usage_store_open(directory, &fault);
    assert_non_null(store);
    assert_int_equal(usage_store_write(store, rows, 3, LEDGER_DAYS, &fault), 0);
    rows[0].counts = large;
    assert_int_equal(usage_store_write(store, rows, 1, LEDGER_DAYS, &fault), 0);
    usage_store_close(store);
    store = usage_store_open(directory, &fault);
    assert_non_null(store);
    read_all(store, &ledger);
    assert_int_equal(ledger.count, 2);
    assert_string_equal(ledger.mappings[1].name, "orders");
    assert_int_equal(ledger.mappings[1].count, 2);
    assert_memory_equal(&ledger.mappings[1].days[0].counts, &large, sizeof large);
    ledger_fini(&ledger);
    usage_store_close(store);
    snprintf(path, sizeof path, "%s/usage.db", directory);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void it_does_not_grow_for_ever(void **state)
{
    struct usage_store *store;
    struct ledger ledger;
    struct fault fault;

    store = usage_store_open(*state, &fault);
    assert_non_null(store);
    for (int64_t day = 0; day < 20; day++) {
        struct usage_row rows[] = {{"orders", day, ones}, {"mails", 1, ones}};

        assert_int_equal(usage_store_write(store, rows, 2, 7, &fault), 0);
    }
    read_all(store, &ledger);
    assert_int_equal(ledger.mappings[0].count, 1);
    assert_int_equal(ledger.mappings[1].count, 7);
    assert_int_equal(ledger.mappings[1].days[0].day, 13);
    ledger_fini(&ledger);
    usage_store_close(store);
}

static void what_is_no_store_is_refused(void **state)
{
    char path[256];
    struct fault fault;
    FILE *file;

    snprintf(path, sizeof path, "%s/usage.db", (const char *)*state);
    file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        fputs("this is something else\n", file);
    fclose(file);
    assert_null(usage_store_open(*state, &fault));
    assert_non_null(strstr(fault.text, "usage.db"));
    assert_null(usage_store_open("/nonexistent", &fault));
}

static int make_directory(void **state)
{
    char *directory = strdup("/tmp/sluice-ledger-XXXXXX");

    *state = mkdtemp(directory);
    return *state ? 0 : -1;
}

static int remove_directory(void **state)
{
    char command[128];
    int code;

    snprintf(command, sizeof command, "rm -rf %s", (const char *)*state);
    code = system(command);
    free(*state);
    return code;
}

#define ON_DISK(test_) cmocka_unit_test_setup_teardown(test_, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_are_summed),
        cmocka_unit_test(a_clock_that_jumps_back_finds_its_day),
        cmocka_unit_test(the_latest_days_are_kept),
        cmocka_unit_test(what_is_unwritten_is_known),
        ON_DISK(it_is_there_again),
        ON_DISK(it_does_not_grow_for_ever),
        ON_DISK(what_is_no_store_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
