/* SPDX-License-Identifier: MIT */
#include "base/rate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/histogram.h"

static void settles_at_the_true_rate_and_falls_to_zero(void **state)
{
    struct rate rate = {0};
    int64_t now_us = 7 * CLOCK_SECOND;
    uint64_t count = 1000000; /* what was counted before is no rate */

    rate_update(&rate, count, now_us);
    assert_true(rate.per_second == 0);
    for (int i = 0; i < 400; i++)
        rate_update(&rate, count += 50, now_us += CLOCK_SECOND / 4);
    assert_true(fabs(rate.per_second - 200) < 1);
    for (int i = 0; i < 40; i++)
        rate_update(&rate, count, now_us += CLOCK_SECOND / 4);
    assert_true(rate.per_second > 50 && rate.per_second < 100); /* ten seconds later */
    for (int i = 0; i < 4000; i++)
        rate_update(&rate, count, now_us += CLOCK_SECOND / 4);
    assert_true(rate.per_second == 0);
}

static void survives_odd_times_and_counts(void **state)
{
    struct rate rate = {0};

    rate_update(&rate, 10, CLOCK_SECOND);
    rate_update(&rate, 20, CLOCK_SECOND); /* no time passed */
    assert_true(rate.per_second == 0);
    rate_update(&rate, 5, 2 * CLOCK_SECOND); /* began anew */
    assert_true(rate.per_second == 0);
    rate_update(&rate, 3605, 3602 * CLOCK_SECOND); /* slept for an hour */
    assert_true(fabs(rate.per_second - 1) < 0.01);
}

static void histograms_count_up_to_each_bound(void **state)
{
    static const struct histogram_scale scale = {3, {1, 2, 5}};
    struct histogram one = {0}, other = {0};

    histogram_add(&one, &scale, 0);
    histogram_add(&one, &scale, 1);
    histogram_add(&one, &scale, 1.5);
    histogram_add(&other, &scale, 5);
    histogram_add(&other, &scale, 6);
    histogram_join(&one, &other);
    assert_int_equal(one.buckets[0], 2);
    assert_int_equal(one.buckets[1], 1);
    assert_int_equal(one.buckets[2], 1);
    assert_int_equal(one.buckets[3], 1);
    assert_true(one.sum == 13.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settles_at_the_true_rate_and_falls_to_zero),
        cmocka_unit_test(survives_odd_times_and_counts),
        cmocka_unit_test(histograms_count_up_to_each_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
