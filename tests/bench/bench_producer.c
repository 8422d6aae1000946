/* SPDX-License-Identifier: MIT
 * Fills a topic for the benchmark: bench_producer BROKERS TOPIC PARTITIONS COUNT SIZE [mixed]. Each
 * message is a JSON object of SIZE bytes with an order id of its own; `mixed`: ids in no order, like
 * those of test_dead_letter_store's bench. */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char error[256];

    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "bench_producer: %s\n", error);
        exit(1);
    }
}

static void send_one(rd_kafka_t *producer, const char *topic, int partition, int number,
                     size_t size, bool mixed)
{
    char *value = malloc(size), key[24];
    int head = mixed ? snprintf(value, size, "{\"order\":{\"id\":\"order-%08x\"},\"note\":\"",
                                (unsigned)number * 2654435761U)
                     : snprintf(value, size, "{\"order\":{\"id\":\"o-%d\"},\"note\":\"", number);
    int key_size = snprintf(key, sizeof key, "customer-%d", number % 1000);

    memset(value + head, 'x', size - (size_t)head);
    memcpy(value + size - 2, "\"}", 2);
    while (rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
                             RD_KAFKA_V_KEY(key, (size_t)key_size), RD_KAFKA_V_VALUE(value, size),
                             RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_FREE), RD_KAFKA_V_END))
        rd_kafka_poll(producer, 100);
    rd_kafka_poll(producer, 0);
}

int main(int argc, char **argv)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *producer;

    if (argc < 6 || argc > 7 || atoi(argv[5]) < 64) {
        fputs("bench_producer BROKERS TOPIC PARTITIONS COUNT SIZE [mixed]\n", stderr);
        return 64;
    }
    set(conf, "bootstrap.servers", argv[1]);
    set(conf, "batch.num.messages", "1000");
    set(conf, "queue.buffering.max.messages", "100000");
    producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    for (int i = 0; i < atoi(argv[4]); i++)
        send_one(producer, argv[2], i % atoi(argv[3]), i, (size_t)atoi(argv[5]), argc == 7);
    if (rd_kafka_flush(producer, 120000))
        return 1;
    rd_kafka_destroy(producer);
    return 0;
}
