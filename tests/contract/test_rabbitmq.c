/* SPDX-License-Identifier: MIT
 * The contract of connectors, for RabbitMQ, against a real broker. */
#include "cases.h"
#include "rabbitmq_source.h"

static void test_nothing(void **state)
{
    skip();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest nothing[] = {cmocka_unit_test(test_nothing)};

    if (!rabbitmq_begin())
        return cmocka_run_group_tests(nothing, NULL, NULL);
    return cases_main(argc, argv, &rabbitmq_kind, NULL, 0);
}
