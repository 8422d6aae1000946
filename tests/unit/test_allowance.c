/* SPDX-License-Identifier: MIT */
#include "service/allowance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void nobody_holds_more_than_is_left(void **state)
{
    struct allowance allowance = {0};

    allowance_set(&allowance, 1000);
    assert_int_equal(allowance_room(&allowance, 0), 1000);
    allowance_tell(&allowance, 0, 400);
    assert_int_equal(allowance_room(&allowance, 400), 200);
    assert_int_equal(allowance_room(&allowance, 0), 600);
    allowance_tell(&allowance, 400, 500);
    assert_int_equal(allowance_room(&allowance, 500), 0);
    assert_int_equal(allowance_room(&allowance, 0), 500);
}

static void what_is_given_back_is_there_for_others(void **state)
{
    struct allowance allowance = {0};

    allowance_set(&allowance, 1000);
    allowance_tell(&allowance, 0, 600);
    allowance_tell(&allowance, 0, 700);
    assert_int_equal(allowance_room(&allowance, 0), 0);
    allowance_tell(&allowance, 600, 0);
    assert_int_equal(allowance_room(&allowance, 0), 300);
    allowance_tell(&allowance, 700, 0);
    assert_int_equal(allowance_room(&allowance, 0), 1000);
}

static void a_lower_limit_leaves_no_room_until_enough_is_done(void **state)
{
    struct allowance allowance = {0};

    allowance_set(&allowance, 1000);
    allowance_tell(&allowance, 0, 400);
    allowance_set(&allowance, 300);
    assert_int_equal(allowance_room(&allowance, 400), 0);
    assert_int_equal(allowance_room(&allowance, 0), 0);
    allowance_tell(&allowance, 400, 100);
    assert_int_equal(allowance_room(&allowance, 100), 100);
}

static void without_a_setting_there_is_a_limit_all_the_same(void **state)
{
    struct allowance allowance = {0};

    allowance_set(&allowance, 0);
    assert_true(allowance_room(&allowance, 0) > 0);
    assert_true(allowance_room(&allowance, 0) < UINT64_C(1) << 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_holds_more_than_is_left),
        cmocka_unit_test(what_is_given_back_is_there_for_others),
        cmocka_unit_test(a_lower_limit_leaves_no_room_until_enough_is_done),
        cmocka_unit_test(without_a_setting_there_is_a_limit_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
