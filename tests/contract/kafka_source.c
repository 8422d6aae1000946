/* SPDX-License-Identifier: MIT */
#include "kafka_source.h"

#define TOPIC  "orders"
#define LETTERS "letters"
#define GROUP  "sluice-orders"
#define WAIT_MS 10000

struct source {
    rd_kafka_t *producer; /* owns the cluster */
    rd_kafka_mock_cluster_t *cluster;
    rd_kafka_t *observer; /* of the group's offsets; a member of nothing */
    rd_kafka_t *reader;   /* of LETTERS, once used */
    int64_t ends[KAFKA_PARTITIONS];
};

static rd_kafka_t *client(rd_kafka_type_t type, const char *const (*settings)[2], size_t count)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char error[512];
    rd_kafka_t *rk;

    rd_kafka_conf_set_log_cb(conf, NULL);
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], error, sizeof error))
            fail_msg("%s", error);
    rk = rd_kafka_new(type, conf, error, sizeof error);
    if (!rk)
        fail_msg("%s", error);
    return rk;
}

static struct source *start(void)
{
    static const char *const producing[][2] = {
        {"test.mock.num.brokers", "1"}, {"linger.ms", "0"}, {"message.max.bytes", "4000000"}};
    struct source *source = calloc(1, sizeof *source);
    const char *brokers;

    source->producer = client(RD_KAFKA_PRODUCER, producing, 3);
    source->cluster = rd_kafka_handle_mock_cluster(source->producer);
    assert_int_equal(rd_kafka_mock_topic_create(source->cluster, TOPIC, KAFKA_PARTITIONS, 1), 0);
    assert_int_equal(rd_kafka_mock_topic_create(source->cluster, LETTERS, 1, 1), 0);
    brokers = rd_kafka_mock_cluster_bootstraps(source->cluster);
    {
        const char *const observing[][2] = {{"bootstrap.servers", brokers}, {"group.id", GROUP}};

        source->observer = client(RD_KAFKA_CONSUMER, observing, 2);
    }
    return source;
}

static void stop(struct source *source)
{
    if (source->reader)
        rd_kafka_destroy(source->reader);
    rd_kafka_destroy(source->observer);
    rd_kafka_destroy(source->producer);
    free(source);
}

static void options(struct source *source, struct sluice_host *host)
{
    host_option(host, "brokers", rd_kafka_mock_cluster_bootstraps(source->cluster));
    host_option(host, "topic", TOPIC);
    host_option(host, "group", GROUP);
    host_option(host, "session_timeout", "6s");
    host_option(host, "commit_interval", "50ms");
    /* The mock cluster does not wake a fetch when something is produced. */
    host_property(host, "properties", "fetch.wait.max.ms", "10");
    host_property(host, "properties", "heartbeat.interval.ms", "200");
    host_property(host, "properties", "reconnect.backoff.max.ms", "500");
}

static rd_kafka_headers_t *headers_of(const struct record *record)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);

    for (size_t i = 0; i < record->header_count; i++)
        rd_kafka_header_add(headers, record->headers[i].name.data,
                            (ssize_t)record->headers[i].name.size, record->headers[i].value.data,
                            (ssize_t)record->headers[i].value.size);
    return headers;
}

static void produce(struct source *source, unsigned lane, const struct record *records,
                    size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(
            rd_kafka_producev(source->producer, RD_KAFKA_V_TOPIC(TOPIC),
                              RD_KAFKA_V_PARTITION((int32_t)lane),
                              RD_KAFKA_V_KEY(records[i].key.data, records[i].key.size),
                              RD_KAFKA_V_VALUE((void *)(uintptr_t)records[i].payload.data,
                                               records[i].payload.size),
                              RD_KAFKA_V_HEADERS(headers_of(&records[i])),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
            0);
    assert_int_equal(rd_kafka_flush(source->producer, WAIT_MS), 0);
    source->ends[lane] += (int64_t)count;
}

rd_kafka_mock_cluster_t *kafka_cluster(struct source *source)
{
    return source->cluster;
}

int64_t kafka_committed(struct source *source, int partition)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    int64_t offset;

    rd_kafka_topic_partition_list_add(list, TOPIC, partition);
    assert_int_equal(rd_kafka_committed(source->observer, list, WAIT_MS), 0);
    offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return offset;
}

void kafka_set_committed(struct source *source, int partition, int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, TOPIC, partition)->offset = offset;
    assert_int_equal(rd_kafka_commit(source->observer, list, 0), 0);
    rd_kafka_topic_partition_list_destroy(list);
}

static size_t unsettled(struct source *source)
{
    size_t count = 0;

    for (int i = 0; i < KAFKA_PARTITIONS; i++) {
        int64_t committed = kafka_committed(source, i);

        assert_true(committed <= source->ends[i]);
        count += (size_t)(source->ends[i] - (committed > 0 ? committed : 0));
    }
    return count;
}

static struct sluice_bytes copy(const void *data, size_t size)
{
    char *bytes = data ? malloc(size + 1) : NULL;

    if (data)
        memcpy(bytes, data, size);
    return (struct sluice_bytes){bytes, data ? size : 0};
}

static bool read_letter(struct source *source, const char *destination, struct record *ret_record)
{
    const char *const reading[][2] = {
        {"bootstrap.servers", rd_kafka_mock_cluster_bootstraps(source->cluster)},
        {"group.id", "reader"},
        {"auto.offset.reset", "earliest"}};
    rd_kafka_message_t *message = NULL;
    rd_kafka_headers_t *headers;

    if (!source->reader) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

        source->reader = client(RD_KAFKA_CONSUMER, reading, 3);
        rd_kafka_topic_partition_list_add(list, destination, 0)->offset = 0;
        rd_kafka_assign(source->reader, list);
        rd_kafka_topic_partition_list_destroy(list);
    }
    message = rd_kafka_consumer_poll(source->reader, WAIT_MS);
    if (!message)
        return false;
    assert_int_equal(message->err, 0);
    *ret_record = (struct record){.key = copy(message->key, message->key_len),
                                  .payload = copy(message->payload, message->len)};
    if (!rd_kafka_message_headers(message, &headers)) {
        ret_record->header_count = rd_kafka_header_cnt(headers);
        ret_record->headers = calloc(ret_record->header_count, sizeof *ret_record->headers);
        for (size_t i = 0; i < ret_record->header_count; i++) {
            const char *name;
            const void *value;
            size_t size;

            rd_kafka_header_get_all(headers, i, &name, &value, &size);
            ret_record->headers[i] =
                (struct sluice_header){copy(name, strlen(name)), copy(value, size)};
        }
    }
    rd_kafka_message_destroy(message);
    return true;
}

static void refuse(struct source *source)
{
    rd_kafka_mock_push_request_errors(source->cluster, KAFKA_PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
}

static void down(struct source *source)
{
    rd_kafka_mock_broker_set_down(source->cluster, 1);
}

static void up(struct source *source)
{
    rd_kafka_mock_broker_set_up(source->cluster, 1);
}

const struct source_kind kafka_kind = {
    .connector = "kafka",
    .lanes = KAFKA_PARTITIONS,
    .headers_repeat = true,
    .start = start,
    .stop = stop,
    .options = options,
    .produce = produce,
    .unsettled = unsettled,
    .read = read_letter,
    .destination = LETTERS,
    .no_destination = LETTERS,
    .refuse = refuse,
    .down = down,
    .up = up,
};
