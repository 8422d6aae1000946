/* SPDX-License-Identifier: MIT
 * `sluice check --connect`: tries brokers, topics and group for real. */
#include "kafka.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void report(const struct sluice_check *check, bool ok, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void report(const struct sluice_check *check, bool ok, const char *format, ...)
{
    char text[KAFKA_TEXT];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    check->report(check->cookie, ok, text);
}

static int check_topic(const struct sluice_check *check, struct kafka_visit *visit, const char *name,
                       int timeout_ms)
{
    char text[KAFKA_TEXT];
    int count = kafka_visit_topic(visit, name, visit->kafka->publishes_only ? "WRITE" : "READ",
                                  timeout_ms, text);

    if (count < 0)
        report(check, false, "%s", text);
    else
        report(check, true, "topic %s has %d partitions", name, count);
    return count < 0 ? -1 : 0;
}

static int check_group(const struct sluice_check *check, struct kafka *kafka, rd_kafka_t *rk,
                       int timeout_ms)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t failed;
    int64_t committed;

    rd_kafka_topic_partition_list_add(list, kafka->topics->elems[0].topic, 0);
    failed = rd_kafka_committed(rk, list, timeout_ms);
    committed = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (failed) {
        report(check, false, "group %s: %s: allow READ on the group", kafka->group,
               rd_kafka_err2str(failed));
        return -1;
    }
    if (committed >= 0)
        report(check, true, "group %s has committed offsets and goes on from them", kafka->group);
    else
        report(check, true, "group %s is new and starts at %s", kafka->group,
               kafka->api->values->text(kafka->values, "start"));
    return 0;
}

int kafka_check(void *instance, const struct sluice_check *check)
{
    struct kafka *kafka = instance;
    const char *destination = kafka->publishes_only && kafka->api->abi_minor ? check->destination
                                                                             : NULL;
    int64_t until_us = kafka_now() + check->deadline_us;
    struct kafka_visit visit;
    char text[KAFKA_TEXT];
    int brokers, left_ms, result = 0;

    if (kafka_visit_begin(&visit, kafka,
                          kafka->publishes_only ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER,
                          rd_kafka_conf_dup(kafka->conf))) {
        report(check, false, "%s", visit.error);
        return -1;
    }
    brokers = kafka_visit_wait(&visit, until_us, text);
    left_ms = (int)((until_us - kafka_now()) / 1000) + 1000;
    if (brokers < 0) {
        report(check, false, "%s", text);
        result = -1;
    } else {
        report(check, true, "%d brokers answer", brokers);
        if (destination)
            result = check_topic(check, &visit, destination, left_ms);
        for (int i = 0; i < kafka->topics->cnt && !destination; i++)
            result |= check_topic(check, &visit, kafka->topics->elems[i].topic, left_ms);
        if (!result && !kafka->publishes_only)
            result = check_group(check, kafka, visit.rk, left_ms);
    }
    kafka_visit_end(&visit);
    return result;
}
