/* SPDX-License-Identifier: MIT
 * The contract of connectors, for HTTP queues. */
#include "cases.h"
#include "http_source.h"

/* What nobody settles is not given to anybody else while it is held, however long that takes. */
static void test_leases_last_as_long_as_messages_are_held(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *first = case_host(source), *second = case_host(source);
    struct sluice_host *both[] = {first, second};

    case_produce(source, 0, "m", 10);
    host_run(first, "sluice-contract-0@here");
    host_wait_messages(first, 10);
    host_run(second, "sluice-contract-1@here");
    hosts_stay(both, 2, NULL, NULL, 12 * HOST_SECOND, "");
    assert_int_equal(second->message_count, 0);
    host_settle_all(first);
    cases_wait_unsettled(source, both, 2, 0);
    assert_int_equal(second->message_count, 0);
    host_free(second);
    host_free(first);
    the_kind->stop(source);
}

/* A message that is given back with a delay comes again after it, not before. */
static void test_a_release_with_a_delay(void **state)
{
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    int64_t begin_us;

    case_produce(source, 0, "m", 1);
    host_run(host, "sluice-contract-0@here");
    host_wait_messages(host, 1);
    begin_us = host_now();
    host_give_back(host, 0, 2 * HOST_SECOND);
    host_wait_messages(host, 2);
    assert_true(host_now() - begin_us >= 2 * HOST_SECOND);
    assert_int_equal(case_seen(host, "m-0"), 2);
    host_settle(host, 1);
    case_wait_unsettled(source, host, 0);
    host_free(host);
    the_kind->stop(source);
}

#define CASE(case_) {.name = #case_, .run = test_##case_}
static const struct contract_case http_cases[] = {
    CASE(leases_last_as_long_as_messages_are_held),
    CASE(a_release_with_a_delay),
};

int main(int argc, char **argv)
{
    return cases_main(argc, argv, &http_kind, http_cases, sizeof http_cases / sizeof http_cases[0]);
}
