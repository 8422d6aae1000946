/* SPDX-License-Identifier: MIT
 * The floor: what the libraries alone cost for the main job, Kafka to HTTP functions, as the
 * shortest honest loop over them. librdkafka's consumer, AWS's event written without a tree,
 * libcurl's multi interface with so many requests in flight, offsets stored up to the oldest
 * unfinished message. It has no tokens, retries, dead letters, order or limits: sluice is measured
 * against it, and shares no code with it.
 *
 *   floor --brokers B --topic T --group G --url U [--batch N] [--in-flight N] [--messages N]
 *         [--window-ms N] [--latency] [-X librdkafka.property=value]...
 *
 * --latency: batch 1, window 0 (the function measures). Ends once --messages are done and prints
 * one JSON object; time and CPU (of all threads) are counted from the first message on. */
#define _GNU_SOURCE
#include <getopt.h>
#include <sys/eventfd.h>

#include <librdkafka/rdkafka.h>

#include "floor.h"

#define PARTITIONS 4096

/* The messages of one partition in one batch. */
struct part {
    struct part *newer; /* of the same partition */
    int32_t partition;
    int64_t last_offset;
    bool done;
    int first, last; /* into the batch's messages, linked by `next` */
};

struct batch {
    CURL *easy;
    struct batch *next;
    char *body;
    size_t size, capacity;
    struct part **parts;
    int part_count, count;
};

static struct {
    const char *brokers, *topic, *group, *url;
    int batch, in_flight;
    int64_t messages, window_us;
} options = {.batch = 1, .in_flight = 64, .messages = INT64_MAX, .window_us = 50000};

static rd_kafka_t *consumer;
static CURLM *multi;
static struct batch *idle;
static struct part *oldest[PARTITIONS], *newest[PARTITIONS];
static struct floor_counts counts;
static rd_kafka_message_t **pending; /* the batch that is being filled */
static int *next_of, pending_count;
static int64_t pending_since_us;

static char *put_headers(char *out, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t size;

    if (rd_kafka_message_headers(message, &headers))
        return out;
    for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size); i++) {
        out = i ? PUT(out, ",{\"") : PUT(out, "{\"");
        out = put(out, name, strlen(name));
        out = PUT(out, "\":[");
        for (size_t j = 0; j < size; j++) {
            if (j)
                *out++ = ',';
            out = put_number(out, ((const signed char *)value)[j]);
        }
        out = PUT(out, "]}");
    }
    return out;
}

static size_t headers_size(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t size, total = 0;

    if (rd_kafka_message_headers(message, &headers))
        return 0;
    for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size); i++)
        total += strlen(name) + size * 5 + 8;
    return total;
}

static char *put_record(char *out, const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(message, &type);

    out = PUT(out, "{\"topic\":\"");
    out = put(out, options.topic, strlen(options.topic));
    out = PUT(out, "\",\"partition\":");
    out = put_number(out, message->partition);
    out = PUT(out, ",\"offset\":");
    out = put_number(out, message->offset);
    out = PUT(out, ",\"timestamp\":");
    out = put_number(out, timestamp);
    out = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME
              ? PUT(out, ",\"timestampType\":\"LOG_APPEND_TIME\"")
              : PUT(out, ",\"timestampType\":\"CREATE_TIME\"");
    if (message->key) {
        out = PUT(out, ",\"key\":\"");
        out = put_base64(out, message->key, message->key_len);
        *out++ = '"';
    }
    out = PUT(out, ",\"value\":");
    if (message->payload) {
        *out++ = '"';
        out = put_base64(out, message->payload, message->len);
        *out++ = '"';
    } else {
        out = PUT(out, "null");
    }
    out = PUT(out, ",\"headers\":[");
    out = put_headers(out, message);
    return PUT(out, "]}");
}

static void write_event(struct batch *batch)
{
    size_t wanted = 512 + strlen(options.brokers);
    char *out;

    for (int i = 0; i < pending_count; i++)
        wanted += 300 + 2 * strlen(options.topic) + pending[i]->key_len * 4 / 3 +
                  pending[i]->len * 4 / 3 + headers_size(pending[i]);
    if (wanted > batch->capacity)
        batch->body = realloc(batch->body, batch->capacity = wanted * 2);
    out = PUT(batch->body, "{\"eventSource\":\"SelfManagedKafka\",\"bootstrapServers\":\"");
    out = put(out, options.brokers, strlen(options.brokers));
    out = PUT(out, "\",\"records\":{");
    for (int i = 0; i < batch->part_count; i++) {
        out = i ? PUT(out, ",\"") : PUT(out, "\"");
        out = put(out, options.topic, strlen(options.topic));
        *out++ = '-';
        out = put_number(out, batch->parts[i]->partition);
        out = PUT(out, "\":[");
        for (int j = batch->parts[i]->first; j >= 0; j = next_of[j]) {
            out = put_record(out, pending[j]);
            *out++ = ',';
        }
        out[-1] = ']';
    }
    out = PUT(out, "}}");
    batch->size = (size_t)(out - batch->body);
}

/* ---- batches ---- */

static void sort_into_parts(struct batch *batch)
{
    batch->part_count = 0;
    for (int i = 0; i < pending_count; i++) {
        int32_t partition = pending[i]->partition;
        struct part *part = NULL;

        for (int j = 0; j < batch->part_count && !part; j++)
            if (batch->parts[j]->partition == partition)
                part = batch->parts[j];
        next_of[i] = -1;
        if (part) {
            next_of[part->last] = i;
        } else {
            part = calloc(1, sizeof *part);
            part->partition = partition;
            part->first = i;
            batch->parts[batch->part_count++] = part;
            if (newest[partition])
                newest[partition]->newer = part;
            else
                oldest[partition] = part;
            newest[partition] = part;
        }
        part->last = i;
        part->last_offset = pending[i]->offset;
    }
}

static void send_batch(void)
{
    struct batch *batch = idle;

    idle = batch->next;
    sort_into_parts(batch);
    write_event(batch);
    batch->count = pending_count;
    for (int i = 0; i < pending_count; i++)
        rd_kafka_message_destroy(pending[i]);
    pending_count = 0;
    floor_send(multi, batch->easy, batch->body, batch->size, &counts);
}

static void finish_batch(struct batch *batch)
{
    for (int i = 0; i < batch->part_count; i++) {
        int32_t partition = batch->parts[i]->partition;
        int64_t offset = -1;

        batch->parts[i]->done = true;
        while (oldest[partition] && oldest[partition]->done) {
            struct part *part = oldest[partition];

            offset = part->last_offset + 1;
            oldest[partition] = part->newer;
            if (!part->newer)
                newest[partition] = NULL;
            free(part);
        }
        if (offset >= 0) {
            rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

            rd_kafka_topic_partition_list_add(list, options.topic, partition)->offset = offset;
            rd_kafka_offsets_store(consumer, list);
            rd_kafka_topic_partition_list_destroy(list);
        }
    }
    counts.messages += batch->count;
    batch->next = idle;
    idle = batch;
}

static void take_answers(void)
{
    struct batch *batch;

    while ((batch = floor_answer(multi, &counts)))
        finish_batch(batch);
}

/* Returns whether it stopped for want of an idle request, so that there may be more. */
static bool take_messages(void)
{
    while (idle) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 0);

        if (!message) {
            if (pending_count && now_us() - pending_since_us >= options.window_us)
                send_batch();
            return false;
        }
        if (message->err) {
            fprintf(stderr, "floor: %s\n", rd_kafka_message_errstr(message));
            rd_kafka_message_destroy(message);
            continue;
        }
        if (message->partition >= PARTITIONS)
            die("partition", "too many");
        floor_begin(&counts);
        if (!pending_count)
            pending_since_us = now_us();
        pending[pending_count++] = message;
        if (pending_count == options.batch)
            send_batch();
    }
    return true;
}

/* ---- set-up ---- */

static void make_batches(void)
{
    multi = floor_multi(options.in_flight);
    for (int i = 0; i < options.in_flight; i++) {
        struct batch *batch = calloc(1, sizeof *batch);

        batch->parts = calloc((size_t)options.batch, sizeof *batch->parts);
        batch->easy = floor_request(options.url, batch);
        batch->next = idle;
        idle = batch;
    }
}

static void set_property(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];

    if (rd_kafka_conf_set(conf, name, value, why, sizeof why))
        die(name, why);
}

static void set_defaults(rd_kafka_conf_t *conf)
{
    set_property(conf, "bootstrap.servers", options.brokers);
    set_property(conf, "group.id", options.group);
    set_property(conf, "auto.offset.reset", "earliest");
    set_property(conf, "enable.auto.offset.store", "false");
    if (rd_kafka_version() >= 0x02020000) {
        set_property(conf, "fetch.queue.backoff.ms", "10");
    } else { /* below, it stalls for up to a second each time that a threshold is reached */
        set_property(conf, "queued.min.messages", "1000000");
        set_property(conf, "queued.max.messages.kbytes", "1048576");
    }
}

static void make_consumer(rd_kafka_conf_t *conf)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    char why[256];

    consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!consumer)
        die("consumer", why);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_add(topics, options.topic, RD_KAFKA_PARTITION_UA);
    if (rd_kafka_subscribe(consumer, topics))
        die(options.topic, "cannot subscribe");
    rd_kafka_topic_partition_list_destroy(topics);
}

static void read_options(int count, char **arguments, char **ret_properties, int *ret_count)
{
    static const struct option known[] = {{"brokers", 1, NULL, 'b'},  {"topic", 1, NULL, 't'},
                                          {"group", 1, NULL, 'g'},    {"url", 1, NULL, 'u'},
                                          {"batch", 1, NULL, 'n'},    {"in-flight", 1, NULL, 'f'},
                                          {"messages", 1, NULL, 'm'}, {"window-ms", 1, NULL, 'w'},
                                          {"latency", 0, NULL, 'l'},  {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(count, arguments, "X:", known, NULL)) >= 0) {
        switch (option) {
        case 'b':
            options.brokers = optarg;
            break;
        case 't':
            options.topic = optarg;
            break;
        case 'g':
            options.group = optarg;
            break;
        case 'u':
            options.url = optarg;
            break;
        case 'n':
            options.batch = atoi(optarg);
            break;
        case 'f':
            options.in_flight = atoi(optarg);
            break;
        case 'm':
            options.messages = atoll(optarg);
            break;
        case 'w':
            options.window_us = atoll(optarg) * 1000;
            break;
        case 'l':
            options.batch = 1;
            options.window_us = 0;
            break;
        case 'X':
            ret_properties[(*ret_count)++] = optarg;
            break;
        default:
            exit(64);
        }
    }
    if (!options.brokers || !options.topic || !options.group || !options.url || options.batch < 1 ||
        options.in_flight < 1)
        die("usage", "floor --brokers B --topic T --group G --url U [--batch N] [--in-flight N] "
                     "[--messages N] [--window-ms N] [--latency] [-X property=value]...");
}

int main(int count, char **arguments)
{
    struct curl_waitfd wait = {.events = CURL_WAIT_POLLIN};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char **properties = calloc((size_t)count, sizeof *properties);
    int property_count = 0, running;

    read_options(count, arguments, properties, &property_count);
    set_defaults(conf);
    for (int i = 0; i < property_count; i++) {
        char *value = strchr(properties[i], '=');

        if (!value)
            die(properties[i], "expected property=value");
        *value = '\0';
        set_property(conf, properties[i], value + 1);
    }
    make_pairs();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    make_batches();
    pending = calloc((size_t)options.batch, sizeof *pending);
    next_of = calloc((size_t)options.batch, sizeof *next_of);
    make_consumer(conf);
    wait.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    rd_kafka_queue_io_event_enable(rd_kafka_queue_get_consumer(consumer), wait.fd, &(uint64_t){1},
                                   8);
    while (counts.messages < options.messages) {
        eventfd_t ignored;
        bool more;

        eventfd_read(wait.fd, &ignored); /* before polling: what comes later wakes again */
        more = take_messages();
        curl_multi_perform(multi, &running);
        take_answers();
        if (counts.messages >= options.messages)
            break;
        /* With all requests out, messages may wait; else wait for either. */
        if (!idle)
            curl_multi_poll(multi, NULL, 0, 1000, NULL);
        else if (!more)
            curl_multi_poll(multi, &wait, 1, pending_count ? 5 : 1000, NULL);
    }
    floor_report(&counts);
    rd_kafka_consumer_close(consumer);
    return counts.failed ? 1 : 0;
}
