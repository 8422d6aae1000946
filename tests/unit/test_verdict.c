/* SPDX-License-Identifier: MIT
 * Outcome classes: which status means what. */
#include "core/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void every_status_has_its_class(void **state)
{
    static const struct {
        uint32_t first, last;
        enum outcome_class wanted;
    } rows[] = {
        {100, 199, OUTCOME_FAILED}, {200, 299, OUTCOME_DONE},        {300, 399, OUTCOME_POISON},
        {400, 400, OUTCOME_POISON}, {401, 401, OUTCOME_FATAL},       {402, 402, OUTCOME_POISON},
        {403, 404, OUTCOME_FATAL},  {405, 407, OUTCOME_POISON},      {408, 409, OUTCOME_FAILED},
        {410, 410, OUTCOME_FATAL},  {411, 424, OUTCOME_POISON},      {425, 425, OUTCOME_FAILED},
        {426, 428, OUTCOME_POISON}, {429, 429, OUTCOME_THROTTLED},   {430, 499, OUTCOME_POISON},
        {500, 501, OUTCOME_FAILED}, {502, 504, OUTCOME_UNAVAILABLE}, {505, 599, OUTCOME_FAILED},
        {0, 0, OUTCOME_FAILED},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (uint32_t status = rows[i].first; status <= rows[i].last; status++)
            assert_int_equal(outcome_of_status(status), rows[i].wanted);
}

static void classes_have_names(void **state)
{
    static const char *const names[] = {"done", "failed", "throttled",
                                        "unavailable", "poison", "fatal"};

    for (int i = OUTCOME_DONE; i <= OUTCOME_FATAL; i++)
        assert_string_equal(outcome_class_name((enum outcome_class)i), names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_class),
        cmocka_unit_test(classes_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
