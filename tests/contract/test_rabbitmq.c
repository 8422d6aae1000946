/* SPDX-License-Identifier: MIT
 * The contract of connectors, for RabbitMQ, against a real broker. */
#include "cases.h"
#include "rabbitmq_source.h"

/* What is done behind a gap is acknowledged alone, in any order; the gap alone comes again. */
static void test_settled_in_any_order(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source), *next = case_host(source);

    case_produce(source, 0, "m", 20);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 20);
    for (size_t i = 20; i-- > 0;)
        if (i != 3 && i != 11)
            assert_int_equal(host_settle(host, i), 0);
    case_wait_unsettled(source, host, 2);
    host_free(host);
    host_run(next, "sluice-contract-0@here");
    host_wait_messages(next, 2);
    assert_int_equal(case_seen(next, "m-3"), 1);
    assert_int_equal(case_seen(next, "m-11"), 1);
    host_settle_all(next);
    case_wait_unsettled(source, next, 0);
    host_free(next);
    the_kind->stop(source);
}

/* Two consumers share the queues; what one held when it was cut off comes to the other. */
static void test_what_one_held_comes_to_the_other(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *first = case_host(source), *second = case_host(source);

    case_produce(source, 0, "m", 300);
    case_produce(source, 1, "n", 300);
    host_run(first, "sluice-contract-0@here");
    host_wait_messages(first, 600);
    host_run(second, "sluice-contract-1@here");
    host_wait_state(second, SLUICE_STATE_RUNNING);
    assert_int_equal(second->message_count, 0);
    host_free(first);
    host_wait_messages(second, 600);
    for (size_t i = 0; i < 600; i++)
        assert_int_equal(case_seen(second, second->messages[i].record.payload.data), 1);
    host_settle_all(second);
    case_wait_unsettled(source, second, 0);
    host_free(second);
    the_kind->stop(source);
}

#define CASE(name) {#name, test_##name}
static const struct contract_case rabbitmq_cases[] = {
    CASE(settled_in_any_order),
    CASE(what_one_held_comes_to_the_other),
};

static void test_nothing(void **state)
{
    skip();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest nothing[] = {cmocka_unit_test(test_nothing)};

    if (!rabbitmq_begin())
        return cmocka_run_group_tests(nothing, NULL, NULL);
    return cases_main(argc, argv, &rabbitmq_kind, rabbitmq_cases,
                      sizeof rabbitmq_cases / sizeof rabbitmq_cases[0]);
}
