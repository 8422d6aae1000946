/* SPDX-License-Identifier: MIT
 * Back-off: exponential, jittered, floored. */
#include "core/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void interval_doubles_up_to_the_most(void **state)
{
    static const struct {
        int64_t first_us, most_us;
        uint32_t failures;
        int64_t wanted_us;
    } rows[] = {
        {200, 30000, 1, 200},
        {200, 30000, 2, 400},
        {200, 30000, 8, 25600},
        {200, 30000, 9, 30000},
        {200, 30000, UINT32_MAX, 30000},
        {500, 300, 1, 300},
        {0, 300, 3, 0},
        {0, 300, 1000, 0},
        {1, INT64_MAX, 63, INT64_C(1) << 62},
        {1, INT64_MAX, 64, INT64_MAX},
        {1, INT64_MAX, 70, INT64_MAX},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(retry_interval(rows[i].first_us, rows[i].most_us, rows[i].failures),
                         rows[i].wanted_us);
}

static void delay_is_jittered_over_the_whole_interval(void **state)
{
    struct random random = {7};
    int low = 0, high = 0;

    for (int i = 0; i < 2000; i++) {
        int64_t delay = retry_delay(100, 10000, 4, 0, &random);

        assert_in_range(delay, 0, 800);
        low += delay < 80;
        high += delay > 720;
    }
    assert_in_range(low, 100, 300);
    assert_in_range(high, 100, 300);
}

static void delay_is_not_below_the_floor(void **state)
{
    struct random random = {7};

    for (int i = 0; i < 100; i++) {
        assert_in_range(retry_delay(100, 10000, 4, 500, &random), 500, 800);
        assert_int_equal(retry_delay(100, 10000, 4, 60000, &random), 60000);
        assert_int_equal(retry_delay(0, 0, 4, 0, &random), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interval_doubles_up_to_the_most),
        cmocka_unit_test(delay_is_jittered_over_the_whole_interval),
        cmocka_unit_test(delay_is_not_below_the_floor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
