/* SPDX-License-Identifier: MIT
 * The floor of idle mappings: consumers of librdkafka, each in a group of its own, of topics in which
 * nothing comes.
 *
 *   floor_idle BROKERS [property=value]... TOPIC...
 *
 * Prints a line when each has its partitions, and runs until it is ended. */
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#include "floor.h"

#define POLL_MS 100

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char error[256];

    if (rd_kafka_conf_set(conf, name, value, error, sizeof error))
        die(name, error);
}

static rd_kafka_t *consume(const char *brokers, char **properties, int count, const char *topic)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_t *rk;
    char error[256];

    set(conf, "bootstrap.servers", brokers);
    set(conf, "group.id", topic);
    for (int i = 0; i < count; i++) {
        char *value = strchr(properties[i], '=');
        char *name = strndup(properties[i], (size_t)(value - properties[i]));

        set(conf, name, value + 1);
        free(name);
    }
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
    if (!rk)
        die("consumer", error);
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    if (rd_kafka_subscribe(rk, topics))
        die("subscribe", topic);
    rd_kafka_topic_partition_list_destroy(topics);
    return rk;
}

static int partitions_of(rd_kafka_t *rk)
{
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, POLL_MS);
    int count;

    if (message)
        rd_kafka_message_destroy(message);
    if (rd_kafka_assignment(rk, &list))
        return 0;
    count = list->cnt;
    rd_kafka_topic_partition_list_destroy(list);
    return count;
}

int main(int argc, char **argv)
{
    int first = 2;
    rd_kafka_t **consumers = calloc((size_t)argc, sizeof(rd_kafka_t *));

    while (first < argc && strchr(argv[first], '='))
        first++;
    if (first >= argc)
        die("usage", "floor_idle BROKERS [property=value]... TOPIC...");
    for (int i = first; i < argc; i++)
        consumers[i] = consume(argv[1], argv + 2, first - 2, argv[i]);
    for (int i = first; i < argc; i++)
        while (!partitions_of(consumers[i]))
            ;
    puts("assigned");
    fflush(stdout);
    pause();
    return 0;
}
