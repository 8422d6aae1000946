/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/units.h"

#define BAD INT64_MIN

struct parsing {
    const char *text;
    int64_t amount; /* BAD: refused */
};

static void check(const struct parsing *table, size_t count,
                  int (*parse)(const char *text, int64_t *ret_amount))
{
    size_t i;

    for (i = 0; i < count; i++) {
        int64_t amount = -77;
        int result = parse(table[i].text, &amount);

        if (table[i].amount == BAD) {
            if (result != -1)
                fail_msg("\"%s\" was taken for %lld", table[i].text, (long long)amount);
            assert_int_equal(amount, -77);
        } else if (result != 0 || amount != table[i].amount) {
            fail_msg("\"%s\": result %d, %lld", table[i].text, result, (long long)amount);
        }
    }
}

#define CHECK(table_, parse_) check(table_, sizeof(table_) / sizeof((table_)[0]), parse_)

static void test_bytes(void **state)
{
    static const struct parsing table[] = {
        {"0", 0},
        {"4096", 4096},
        {"1 MiB", 1 << 20},
        {"1MiB", 1 << 20},
        {"1   MiB", 1 << 20},
        {"1.5 KiB", 1536},
        {"0.5kB", 500},
        {"1.000 kB", 1000},
        {"7 B", 7},
        {"2 kB", 2000},
        {"3 MB", 3000000},
        {"1 GB", 1000000000},
        {"1 GiB", 1 << 30},
        {"1 TB", INT64_C(1000000000000)},
        {"1 TiB", INT64_C(1) << 40},
        {"8388607 TiB", INT64_C(8388607) << 40},
        {"9223372036854775807", INT64_MAX},
        {"0.0009765625 KiB", BAD}, /* ten digits behind the point */
        {"8388608 TiB", BAD},
        {"9223372036854775808", BAD},
        {"99999999999999999999", BAD},
        {"", BAD},
        {" 1", BAD},
        {"1 ", BAD},
        {"-1", BAD},
        {"+1", BAD},
        {"1.5", BAD},
        {"1.5 B", BAD},
        {"0.3 KiB", BAD},
        {".5 KiB", BAD},
        {"1. KiB", BAD},
        {"1,5 KiB", BAD},
        {"1 mib", BAD},
        {"1 K", BAD},
        {"1 M", BAD},
        {"1 MiBs", BAD},
        {"1 MiB ", BAD},
        {"1\tMiB", BAD},
        {"MiB", BAD},
        {"1e3", BAD},
        {"0x10", BAD},
        {"1 2", BAD},
        {"1_000", BAD},
        {"five", BAD},
        {"1 s", BAD},
    };

    CHECK(table, units_parse_bytes);
}

static void test_durations(void **state)
{
    static const struct parsing table[] = {
        {"0", 0},
        {"0s", 0},
        {"1us", 1},
        {"200ms", 200000},
        {"200 ms", 200000},
        {"1.5s", 1500000},
        {"0.000001 s", 1},
        {"30s", 30000000},
        {"2m", 120000000},
        {"1.5m", 90000000},
        {"6h", INT64_C(21600000000)},
        {"30d", INT64_C(2592000000000)},
        {"106751991d", INT64_C(9223372022400000000)},
        {"106751992d", BAD},
        {"200", BAD},
        {"1", BAD},
        {"0.0", BAD},
        {"1.5us", BAD},
        {"0.0000001s", BAD},
        {"5 parsecs", BAD},
        {"5 seconds", BAD},
        {"5S", BAD},
        {"5 M", BAD},
        {"-5s", BAD},
        {"5s ", BAD},
        {"1m30s", BAD},
        {"1m 30s", BAD},
        {"s", BAD},
        {"", BAD},
        {"1w", BAD},
        {"5 KiB", BAD},
        {"inf", BAD},
    };

    CHECK(table, units_parse_duration);
}

static void test_integers(void **state)
{
    static const struct parsing table[] = {
        {"0", 0},
        {"007", 7},
        {"-5", -5},
        {"-0", 0},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775807", -INT64_MAX},
        {"9223372036854775808", BAD},
        {"-9223372036854775809", BAD},
        {"", BAD},
        {"-", BAD},
        {"--5", BAD},
        {"+5", BAD},
        {" 5", BAD},
        {"5 ", BAD},
        {"5.0", BAD},
        {"1e3", BAD},
        {"0x10", BAD},
        {"1_000", BAD},
        {"many", BAD},
    };
    int64_t least;

    CHECK(table, units_parse_integer);
    assert_int_equal(units_parse_integer("-9223372036854775808", &least), 0);
    assert_true(least == INT64_MIN);
}

static void test_print_bytes(void **state)
{
    static const struct {
        int64_t bytes;
        const char *text;
    } table[] = {
        {0, "0 B"},           {1, "1 B"},         {1000, "1 kB"},    {1024, "1 KiB"},
        {1023, "1023 B"},     {1 << 20, "1 MiB"}, {1000000, "1 MB"}, {1536, "1536 B"},
        {64 << 20, "64 MiB"}, {1 << 30, "1 GiB"}, {10000, "10 kB"},  {3 << 19, "1536 KiB"},
    };
    char text[UNITS_TEXT];
    size_t i;

    for (i = 0; i < sizeof table / sizeof table[0]; i++) {
        int64_t again;

        assert_string_equal(units_print_bytes(table[i].bytes, text), table[i].text);
        assert_int_equal(units_parse_bytes(text, &again), 0);
        assert_int_equal(again, table[i].bytes);
    }
}

static void test_print_durations(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } table[] = {
        {0, "0s"},
        {1, "1us"},
        {1500, "1500us"},
        {200000, "200ms"},
        {90000000, "90s"},
        {120000000, "2m"},
        {1500000, "1500ms"},
        {5400000000, "90m"},
        {3600000000, "1h"},
        {21600000000, "6h"},
        {86400000000, "1d"},
        {2592000000000, "30d"},
        {INT64_MAX, "9223372036854775807us"},
    };
    char text[UNITS_TEXT];
    size_t i;

    for (i = 0; i < sizeof table / sizeof table[0]; i++) {
        int64_t again;

        assert_string_equal(units_print_duration(table[i].us, text), table[i].text);
        assert_int_equal(units_parse_duration(text, &again), 0);
        assert_true(again == table[i].us);
    }
}

static void test_decimals(void **state)
{
    static const struct {
        const char *text;
        double number; /* negative: refused */
    } cases[] = {{"0", 0},       {"12", 12},     {"0.01", 0.01}, {"2e-7", 2e-7},   {"1E+2", 100},
                 {"", -1},       {".5", -1},     {"5.", -1},     {"-1", -1},       {"+1", -1},
                 {"1 ", -1},     {" 1", -1},     {"0x10", -1},   {"nan", -1},      {"inf", -1},
                 {"1e999", -1},  {"1e", -1},     {"1,5", -1},    {"1.2.3", -1},    {"1e5.5", -1}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double number = -7;

        if ((units_parse_decimal(cases[i].text, &number) == 0) != (cases[i].number >= 0))
            fail_msg("\"%s\"", cases[i].text);
        assert_true(number == (cases[i].number < 0 ? -7 : cases[i].number));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),           cmocka_unit_test(test_durations),
        cmocka_unit_test(test_integers),        cmocka_unit_test(test_print_bytes),
        cmocka_unit_test(test_print_durations), cmocka_unit_test(test_decimals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
