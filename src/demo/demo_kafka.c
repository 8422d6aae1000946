/* SPDX-License-Identifier: MIT
 * The Kafka of `sluice demo`: librdkafka's mock cluster with a topic `orders`, filled with orders.
 *
 *   sluice-demo-kafka COUNT EMPTY UNREACHABLE
 *
 * Orders are numbered 1..COUNT. Number EMPTY has a quantity of 0 and number UNREACHABLE goes to a
 * country that does not exist: a function refuses both. Prints the brokers as one line once all
 * orders are there, and lives until its standard input is closed. A program of its own, so that
 * sluice itself is not linked with librdkafka. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#define TOPIC      "orders"
#define PARTITIONS 4
#define CUSTOMERS  40
#define FLUSH_MS   10000

static const char *const items[] = {"lamp", "chair", "kettle", "clock", "rug"};
static const char *const countries[] = {"DE", "FR", "IT", "PL", "ES", "NL"};

static int produce(rd_kafka_t *kafka, int number, int empty, int unreachable)
{
    char customer[16], order[256];
    int quantity = number == empty ? 0 : 1 + number % 3;
    rd_kafka_resp_err_t error;

    snprintf(customer, sizeof customer, "c-%d", number * 7 % CUSTOMERS);
    snprintf(order, sizeof order,
             "{\"order\":{\"id\":\"A-%d\",\"customer\":\"%s\",\"item\":\"%s\",\"quantity\":%d,"
             "\"country\":\"%s\"}}",
             1000 + number, customer, items[number % 5], quantity,
             number == unreachable ? "Atlantis" : countries[number % 6]);
    error = rd_kafka_producev(kafka, RD_KAFKA_V_TOPIC(TOPIC),
                              RD_KAFKA_V_KEY(customer, strlen(customer)),
                              RD_KAFKA_V_VALUE(order, strlen(order)),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (error)
        fprintf(stderr, "sluice-demo-kafka: cannot produce: %s\n", rd_kafka_err2str(error));
    return error ? -1 : 0;
}

static rd_kafka_t *start(void)
{
    rd_kafka_conf_t *settings = rd_kafka_conf_new();
    rd_kafka_t *kafka;
    char error[512];

    rd_kafka_conf_set_log_cb(settings, NULL);
    if (rd_kafka_conf_set(settings, "test.mock.num.brokers", "1", error, sizeof error) ||
        !(kafka = rd_kafka_new(RD_KAFKA_PRODUCER, settings, error, sizeof error))) {
        fprintf(stderr, "sluice-demo-kafka: cannot start the mock cluster: %s\n", error);
        rd_kafka_conf_destroy(settings);
        return NULL;
    }
    return kafka;
}

static int fill(rd_kafka_t *kafka, rd_kafka_mock_cluster_t *cluster, char **argv)
{
    int count = atoi(argv[1]);
    rd_kafka_resp_err_t error;

    error = rd_kafka_mock_topic_create(cluster, TOPIC, PARTITIONS, 1);
    if (error) {
        fprintf(stderr, "sluice-demo-kafka: cannot create the topic: %s\n",
                rd_kafka_err2str(error));
        return -1;
    }
    for (int number = 1; number <= count; number++)
        if (produce(kafka, number, atoi(argv[2]), atoi(argv[3])))
            return -1;
    error = rd_kafka_flush(kafka, FLUSH_MS);
    if (error)
        fprintf(stderr, "sluice-demo-kafka: cannot produce: %s\n", rd_kafka_err2str(error));
    return error ? -1 : 0;
}

int main(int argc, char **argv)
{
    rd_kafka_mock_cluster_t *cluster;
    rd_kafka_t *kafka;
    char byte;
    int code = 0;

    if (argc != 4) {
        fputs("Usage: sluice-demo-kafka COUNT EMPTY UNREACHABLE (a part of `sluice demo`)\n",
              stderr);
        return 64;
    }
    /* Ctrl-C reaches all of the terminal's processes; the demo says when this one ends. */
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    kafka = start();
    if (!kafka)
        return 69;
    cluster = rd_kafka_handle_mock_cluster(kafka);
    if (fill(kafka, cluster, argv)) {
        code = 69;
    } else {
        printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
        fflush(stdout);
        while (read(STDIN_FILENO, &byte, 1) > 0)
            ;
    }
    rd_kafka_destroy(kafka);
    return code;
}
