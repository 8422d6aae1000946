/* SPDX-License-Identifier: MIT
 * The contract of connectors, for RabbitMQ, against a real broker. */
#include "cases.h"
#include "rabbitmq_source.h"

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

/* ---- publishing ---- */

static struct sluice_bytes text(const char *text)
{
    return (struct sluice_bytes){text, strlen(text)};
}

/* What a message carried when it was received is what it carries when it is published again. */
static void test_what_was_received_is_published_as_it_was(void **state)
{
    /* By their names, as RabbitMQ 4 sorts them. */
    struct sluice_header headers[] = {
        {text("at"), text("1700000000")},{text("amqp:fieldType"), text("T")},
        {text("half"), text("0.5")},     {text("amqp:fieldType"), text("d")},
        {text("n"), text("-7")},         {text("amqp:fieldType"), text("I")},
        {text("nothing"), {NULL, 0}},
        {text("plain"), text("x")},
        {text("price"), text("-12.50")}, {text("amqp:fieldType"), text("D")},
        {text("raw"), {"\0\xff", 2}},    {text("amqp:fieldType"), text("x")},
        {text("x-death"), text("[{\"count\":3,\"time\":{\"$timestamp\":5},\"r\":\"a\\\"\\u0007\","
                               "\"b\":{\"$bytes\":\"AP8=\"},\"l\":[],\"t\":{},\"v\":null}]")},
        {text("amqp:fieldType"), text("A")},
        {text("yes"), text("true")},     {text("amqp:fieldType"), text("t")},
        {text("amqp:contentType"), text("text/plain")},
        {text("amqp:deliveryMode"), text("2")},
        {text("amqp:priority"), text("3")},
        {text("amqp:correlationId"), text("c")},
        {text("amqp:messageId"), text("id-1")},
        {text("amqp:timestamp"), text("1700000001")},
        {text("amqp:type"), text("kind")},
    };
    struct sluice_header expected[sizeof headers / sizeof headers[0]];
    struct record sent = {.payload = text("v"), .headers = headers,
                          .header_count = sizeof headers / sizeof headers[0]};
    struct record same = sent;
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);
    size_t properties = 0;

    host_run(host, "sluice-contract-0@here");
    assert_true(case_publish(host, rabbitmq_queue(source), &sent));
    host_wait_messages(host, 1);
    /* Properties come in an order of their own, behind the headers. */
    same.headers = expected;
    memcpy(expected, headers, sizeof headers);
    while (strncmp(headers[properties].name.data, "amqp:c", 6) != 0)
        properties++;
    expected[properties + 1] = headers[properties + 3];
    expected[properties + 2] = headers[properties + 4];
    expected[properties + 3] = headers[properties + 6];
    expected[properties + 4] = headers[properties + 1];
    expected[properties + 5] = headers[properties + 2];
    expected[properties + 6] = headers[properties + 5];
    if (!record_same(&host->messages[0].record, &same))
        for (size_t i = 0; i < host->messages[0].record.header_count; i++)
            print_message("%s: %s\n", (const char *)host->messages[0].record.headers[i].name.data,
                          (const char *)host->messages[0].record.headers[i].value.data);
    assert_true(record_same(&host->messages[0].record, &same));
    host_free(host);
    the_kind->stop(source);
}

static int by_name(const void *one, const void *other)
{
    const struct sluice_header *a = one, *b = other;
    size_t least = a->name.size < b->name.size ? a->name.size : b->name.size;
    int order = memcmp(a->name.data, b->name.data, least);

    return order ? order : (a->name.size > b->name.size) - (a->name.size < b->name.size);
}

/* Types that do not fit, or were never AMQP's, are texts. */
static void test_types_that_are_none_are_texts(void **state)
{
    struct sluice_header headers[] = {
        {text("a"), text("300")},        {text("amqp:fieldType"), text("b")},
        {text("b"), text("[1,{")},       {text("c"), text("{\"x\":")},
        {text("d"), text("\xff")},       {text("amqp:expiration"), text("1")},
        {text("amqp:userId"), text("somebody")},
    };
    struct record sent = {.payload = text("v"), .headers = headers,
                          .header_count = sizeof headers / sizeof headers[0]}, read;
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);

    host_run(host, "sluice-contract-0@here");
    assert_true(case_publish(host, the_kind->destination, &sent));
    assert_true(the_kind->read(source, the_kind->destination, &read));
    /* RabbitMQ 4 sorts them. */
    qsort(headers, sent.header_count, sizeof *headers, by_name);
    qsort(read.headers, read.header_count, sizeof *read.headers, by_name);
    assert_true(record_same(&read, &sent));
    record_free(&read);
    host_free(host);
    the_kind->stop(source);
}

static void test_where_no_queue_is_bound(void **state)
{
    struct record record = {.payload = text("v")};
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);

    host_run(host, "sluice-contract-0@here");
    assert_false(case_publish(host, "amq.direct/nowhere", &record));
    assert_non_null(strstr(host->publish_error, "exchange amq.direct"));
    assert_non_null(strstr(host->publish_error, "nowhere"));
    assert_false(case_publish(host, "no-such-exchange/x", &record));
    assert_non_null(strstr(host->publish_error, "exchange no-such-exchange"));
    assert_non_null(strstr(host->publish_error, "NOT_FOUND"));
    /* It goes on after the channel was closed for that. */
    assert_true(case_publish(host, the_kind->destination, &record));
    assert_int_equal(host->unpublishable, 0);
    host_free(host);
    the_kind->stop(source);
}

static void test_what_does_not_fit_is_told_for_good(void **state)
{
    static char large[130000], name[300];
    struct sluice_header headers[] = {{text("h"), {large, sizeof large}}, {{name, 256}, text("v")}};
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);

    memset(name, 'n', sizeof name - 1);
    host_run(host, "sluice-contract-0@here");
    for (size_t i = 0; i < 2; i++) {
        struct record record = {.payload = text("v"), .headers = &headers[i], .header_count = 1};

        assert_false(case_publish(host, the_kind->destination, &record));
        assert_int_equal(host->unpublishable, i + 1);
    }
    host_free(host);
    the_kind->stop(source);
}

/* What was not confirmed when the connection broke is told as failed. */
static void test_a_lost_connection_fails_what_is_under_way(void **state)
{
    struct record record = {.payload = text("v")};
    struct source *source = the_kind->start();
    struct sluice_host *host = case_host(source);

    host_run(host, "sluice-contract-0@here");
    assert_true(case_publish(host, the_kind->destination, &record));
    the_kind->down(source);
    assert_false(case_publish(host, the_kind->destination, &record));
    assert_non_null(strstr(host->publish_error, the_kind->destination));
    the_kind->up(source);
    while (!case_publish(host, the_kind->destination, &record)) {}
    host_free(host);
    the_kind->stop(source);
}

#define CASE(case_) {.name = #case_, .run = test_##case_}
static const struct contract_case rabbitmq_cases[] = {
    CASE(what_one_held_comes_to_the_other),
    CASE(what_was_received_is_published_as_it_was),
    CASE(types_that_are_none_are_texts),
    CASE(where_no_queue_is_bound),
    CASE(what_does_not_fit_is_told_for_good),
    CASE(a_lost_connection_fails_what_is_under_way),
};

static void test_nothing(void **state)
{
    skip();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest nothing[] = {cmocka_unit_test(test_nothing)};
    static const struct source_kind *const kinds[] = {&rabbitmq_kind, &rabbitmq_stream_kind};

    if (!rabbitmq_begin())
        return cmocka_run_group_tests(nothing, NULL, NULL);
    return cases_main_of(argc, argv, kinds, sizeof kinds / sizeof kinds[0], rabbitmq_cases,
                         sizeof rabbitmq_cases / sizeof rabbitmq_cases[0]);
}
