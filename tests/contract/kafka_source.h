/* SPDX-License-Identifier: MIT
 * librdkafka's mock cluster as a source: topic `orders` with four partitions. */
#ifndef KAFKA_SOURCE_H
#define KAFKA_SOURCE_H

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "source.h"

#define KAFKA_PARTITIONS 4

/* Requests, by their number in Kafka's protocol. */
enum {
    KAFKA_PRODUCE = 0,
    KAFKA_FETCH = 1,
    KAFKA_LIST_OFFSETS = 2,
    KAFKA_METADATA = 3,
    KAFKA_OFFSET_COMMIT = 8,
    KAFKA_OFFSET_FETCH = 9,
    KAFKA_FIND_COORDINATOR = 10,
    KAFKA_JOIN_GROUP = 11,
    KAFKA_HEARTBEAT = 12,
    KAFKA_SYNC_GROUP = 14,
    KAFKA_INIT_PRODUCER_ID = 22
};

extern const struct source_kind kafka_kind;

rd_kafka_mock_cluster_t *kafka_cluster(struct source *source);
/* The group's committed offset, -1001 where there is none. */
int64_t kafka_committed(struct source *source, int partition);
/* Moves the group's offset as an operator would, with no member in the group. */
void kafka_set_committed(struct source *source, int partition, int64_t offset);

#endif
