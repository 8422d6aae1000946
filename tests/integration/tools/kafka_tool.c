/* SPDX-License-Identifier: MIT
 * long: one program made by one call of the compiler; each command is a few lines of its own.
 *
 * The tests' hands on a Kafka cluster: makes topics, produces, reads, looks at groups. One process
 * for a whole test session, as starting Java's tools costs seconds each.
 *
 *   kafka_tool PROPERTY=VALUE...      librdkafka properties, bootstrap.servers among them
 *
 * Commands come as JSON lines on stdin; each but `produce` is answered by one JSON line on stdout,
 * {"ok": true, ...} or {"ok": false, "error": "..."}. Bytes are a string, null, or {"hex": "00ff"}.
 */
#include <jansson.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADMIN_TIMEOUT_MS 30000

struct bytes {
    char *data; /* owned; NULL: absent */
    size_t size;
};

static char **properties;
static int property_count;
static rd_kafka_t *plain;         /* producer and admin client */
static rd_kafka_t *transactional; /* NULL until `transactions` */
static rd_kafka_t *current;       /* the one that `produce` uses */
static long long delivered, failed;
static char first_error[256];

static void die(const char *what, const char *why)
{
    fprintf(stderr, "kafka_tool: %s: %s\n", what, why);
    exit(1);
}

/* ---- answers ---- */

static void answer(json_t *reply)
{
    json_object_set_new(reply, "ok", json_true());
    json_dumpf(reply, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(reply);
}

static void refuse(const char *error)
{
    json_t *reply = json_pack("{s:b, s:s}", "ok", 0, "error", error);

    json_dumpf(reply, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(reply);
}

/* ---- values ---- */

static const char *text_of(const json_t *command, const char *name)
{
    const char *text = json_string_value(json_object_get(command, name));

    if (!text)
        die("missing text", name);
    return text;
}

static long long number_of(const json_t *command, const char *name, long long otherwise)
{
    const json_t *number = json_object_get(command, name);

    return json_is_integer(number) ? json_integer_value(number) : otherwise;
}

static struct bytes bytes_of(const json_t *value)
{
    struct bytes bytes = {NULL, 0};
    const char *hex;

    if (json_is_string(value)) {
        bytes.size = json_string_length(value);
        bytes.data = malloc(bytes.size + 1);
        memcpy(bytes.data, json_string_value(value), bytes.size);
    } else if (json_is_object(value)) {
        hex = text_of(value, "hex");
        bytes.size = strlen(hex) / 2;
        bytes.data = malloc(bytes.size + 1);
        for (size_t i = 0; i < bytes.size; i++) {
            char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};
            bytes.data[i] = (char)strtoul(digits, NULL, 16);
        }
    }
    return bytes;
}

static json_t *json_of(const void *data, size_t size)
{
    json_t *value = data ? json_stringn(data, size) : json_null();

    if (!value) { /* not UTF-8 */
        char *hex = malloc(2 * size + 1);
        for (size_t i = 0; i < size; i++)
            sprintf(hex + 2 * i, "%02x", ((const unsigned char *)data)[i]);
        value = json_pack("{s:s}", "hex", hex);
        free(hex);
    }
    return value;
}

/* ---- handles ---- */

static void set_property(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char error[256];

    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK)
        die(name, error);
}

static rd_kafka_conf_t *new_conf(void)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    for (int i = 0; i < property_count; i++) {
        char *name = strdup(properties[i]);
        char *value = strchr(name, '=');
        if (!value)
            die("not PROPERTY=VALUE", name);
        *value++ = 0;
        set_property(conf, name, value);
        free(name);
    }
    return conf;
}

static rd_kafka_t *new_handle(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char error[256];
    rd_kafka_t *handle = rd_kafka_new(type, conf, error, sizeof error);

    if (!handle)
        die("rd_kafka_new", error);
    return handle;
}

static void on_delivery(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
    (void)handle;
    (void)opaque;
    if (!message->err) {
        delivered++;
        return;
    }
    if (!failed++)
        snprintf(first_error, sizeof first_error, "%s", rd_kafka_err2str(message->err));
}

static rd_kafka_t *new_producer(const char *transactional_id)
{
    rd_kafka_conf_t *conf = new_conf();

    set_property(conf, "linger.ms", "2");
    set_property(conf, "enable.idempotence", "true"); /* order is kept, so tests may rely on it */
    set_property(conf, "queue.buffering.max.messages", "1000000");
    set_property(conf, "topic.metadata.refresh.fast.interval.ms", "50");
    if (transactional_id)
        set_property(conf, "transactional.id", transactional_id);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    return new_handle(RD_KAFKA_PRODUCER, conf);
}

/* ---- producing ---- */

static rd_kafka_headers_t *headers_of(const json_t *list)
{
    rd_kafka_headers_t *headers;
    const json_t *pair;
    size_t index;

    if (!json_array_size(list))
        return NULL;
    headers = rd_kafka_headers_new(json_array_size(list));
    json_array_foreach(list, index, pair)
    {
        struct bytes name = bytes_of(json_array_get(pair, 0));
        struct bytes value = bytes_of(json_array_get(pair, 1));
        rd_kafka_header_add(headers, name.data, (ssize_t)name.size, value.data,
                            (ssize_t)value.size);
        free(name.data);
        free(value.data);
    }
    return headers;
}

static void produce(const json_t *command)
{
    struct bytes key = bytes_of(json_object_get(command, "key"));
    struct bytes value = bytes_of(json_object_get(command, "value"));
    rd_kafka_headers_t *headers = headers_of(json_object_get(command, "headers"));
    rd_kafka_resp_err_t error;

    for (;;) {
        error = rd_kafka_producev(
            current, RD_KAFKA_V_TOPIC(text_of(command, "topic")),
            RD_KAFKA_V_PARTITION((int32_t)number_of(command, "partition", RD_KAFKA_PARTITION_UA)),
            RD_KAFKA_V_KEY(key.data, key.size), RD_KAFKA_V_VALUE(value.data, value.size),
            RD_KAFKA_V_TIMESTAMP(number_of(command, "timestamp", 0)),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            break;
        rd_kafka_poll(current, 100);
    }
    if (error) {
        if (!failed++)
            snprintf(first_error, sizeof first_error, "%s", rd_kafka_err2str(error));
        if (headers)
            rd_kafka_headers_destroy(headers);
    }
    rd_kafka_poll(current, 0);
    free(key.data);
    free(value.data);
}

static void flush(const json_t *command)
{
    rd_kafka_resp_err_t error =
        rd_kafka_flush(current, (int)number_of(command, "timeout_ms", ADMIN_TIMEOUT_MS));
    long long done = delivered;

    if (error || failed)
        refuse(failed ? first_error : rd_kafka_err2str(error));
    else
        answer(json_pack("{s:I}", "delivered", (json_int_t)done));
    delivered = failed = 0;
}

/* Answers for a transaction call and frees its error. */
static void conclude(rd_kafka_error_t *error)
{
    if (error)
        refuse(rd_kafka_error_string(error));
    else
        answer(json_object());
    if (error)
        rd_kafka_error_destroy(error);
}

static void transactions(const json_t *command)
{
    if (transactional)
        rd_kafka_destroy(transactional);
    transactional = new_producer(text_of(command, "id"));
    conclude(rd_kafka_init_transactions(transactional, ADMIN_TIMEOUT_MS));
}

static void begin(const json_t *command)
{
    (void)command;
    current = transactional;
    conclude(rd_kafka_begin_transaction(transactional));
}

static void commit_transaction(const json_t *command)
{
    (void)command;
    current = plain;
    delivered = failed = 0;
    conclude(rd_kafka_commit_transaction(transactional, ADMIN_TIMEOUT_MS));
}

static void abort_transaction(const json_t *command)
{
    (void)command;
    current = plain;
    rd_kafka_flush(transactional, ADMIN_TIMEOUT_MS); /* so that they are really in the log */
    delivered = failed = 0;
    conclude(rd_kafka_abort_transaction(transactional, ADMIN_TIMEOUT_MS));
}

/* ---- administration ---- */

static rd_kafka_AdminOptions_t *admin_options(rd_kafka_admin_op_t operation)
{
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(plain, operation);
    char error[256];

    rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_TIMEOUT_MS, error, sizeof error);
    return options;
}

/* Waits for the result of an admin call. NULL after having answered that it failed. */
static rd_kafka_event_t *admin_result(rd_kafka_queue_t *queue, rd_kafka_AdminOptions_t *options)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ADMIN_TIMEOUT_MS + 1000);

    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    if (!event) {
        refuse("no answer");
    } else if (rd_kafka_event_error(event)) {
        refuse(rd_kafka_event_error_string(event));
        rd_kafka_event_destroy(event);
        event = NULL;
    }
    return event;
}

static void answer_topics(const rd_kafka_topic_result_t *const *results, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_topic_result_error(results[i])) {
            refuse(rd_kafka_topic_result_error_string(results[i]));
            return;
        }
    answer(json_object());
}

static void create_topic(const json_t *command)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(plain);
    rd_kafka_AdminOptions_t *options = admin_options(RD_KAFKA_ADMIN_OP_CREATETOPICS);
    char error[256];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(text_of(command, "topic"), (int)number_of(command, "partitions", 1),
                              1, error, sizeof error);
    const char *name;
    json_t *value;
    rd_kafka_event_t *event;
    size_t count;

    if (!topic)
        die("topic", error);
    json_object_foreach(json_object_get(command, "config"), name, value)
        rd_kafka_NewTopic_set_config(topic, name, json_string_value(value));
    rd_kafka_AdminOptions_set_operation_timeout(options, ADMIN_TIMEOUT_MS, error, sizeof error);
    rd_kafka_CreateTopics(plain, &topic, 1, options, queue);
    event = admin_result(queue, options);
    if (event) {
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        answer_topics(results, count);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_NewTopic_destroy(topic);
}

/* Up to "partitions" in all. */
static void create_partitions(const json_t *command)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(plain);
    rd_kafka_AdminOptions_t *options = admin_options(RD_KAFKA_ADMIN_OP_CREATEPARTITIONS);
    char error[256];
    rd_kafka_NewPartitions_t *wanted =
        rd_kafka_NewPartitions_new(text_of(command, "topic"),
                                   (size_t)number_of(command, "partitions", 1), error, sizeof error);
    rd_kafka_event_t *event;
    size_t count;

    if (!wanted)
        die("partitions", error);
    rd_kafka_CreatePartitions(plain, &wanted, 1, options, queue);
    event = admin_result(queue, options);
    if (event) {
        const rd_kafka_topic_result_t **results = rd_kafka_CreatePartitions_result_topics(
            rd_kafka_event_CreatePartitions_result(event), &count);
        answer_topics(results, count);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_NewPartitions_destroy(wanted);
}

static void delete_topic(const json_t *command)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(plain);
    rd_kafka_AdminOptions_t *options = admin_options(RD_KAFKA_ADMIN_OP_DELETETOPICS);
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(text_of(command, "topic"));
    rd_kafka_event_t *event;
    size_t count;

    rd_kafka_DeleteTopics(plain, &topic, 1, options, queue);
    event = admin_result(queue, options);
    if (event) {
        const rd_kafka_topic_result_t **results =
            rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
        answer_topics(results, count);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_DeleteTopic_destroy(topic);
}

/* Partitions and offsets of a command: {"topic": "t", "offsets": {"0": 17}}. */
static rd_kafka_topic_partition_list_t *offsets_of(const json_t *command)
{
    json_t *offsets = json_object_get(command, "offsets");
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)json_object_size(offsets));
    const char *partition;
    json_t *offset;

    json_object_foreach(offsets, partition, offset)
        rd_kafka_topic_partition_list_add(list, text_of(command, "topic"), atoi(partition))
            ->offset = json_integer_value(offset);
    return list;
}

static void delete_records(const json_t *command)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(plain);
    rd_kafka_AdminOptions_t *options = admin_options(RD_KAFKA_ADMIN_OP_DELETERECORDS);
    rd_kafka_topic_partition_list_t *list = offsets_of(command);
    rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_event_t *event;

    rd_kafka_DeleteRecords(plain, &request, 1, options, queue);
    event = admin_result(queue, options);
    if (event) {
        answer(json_object());
        rd_kafka_event_destroy(event);
    }
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
}

static void set_committed(const json_t *command)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(plain);
    rd_kafka_AdminOptions_t *options = admin_options(RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS);
    rd_kafka_topic_partition_list_t *list = offsets_of(command);
    rd_kafka_AlterConsumerGroupOffsets_t *request =
        rd_kafka_AlterConsumerGroupOffsets_new(text_of(command, "group"), list);
    rd_kafka_event_t *event;

    rd_kafka_AlterConsumerGroupOffsets(plain, &request, 1, options, queue);
    event = admin_result(queue, options);
    if (event) {
        answer(json_object());
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AlterConsumerGroupOffsets_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
}

static void groups(const json_t *command)
{
    const struct rd_kafka_group_list *list;
    json_t *names = json_array();
    rd_kafka_resp_err_t failed = rd_kafka_list_groups(plain, NULL, &list, 10000);

    (void)command;
    if (failed)
        die("groups", rd_kafka_err2str(failed));
    for (int i = 0; i < list->group_cnt; i++)
        json_array_append_new(names, json_string(list->groups[i].group));
    rd_kafka_group_list_destroy(list);
    answer(json_pack("{s:o}", "groups", names));
}

static void describe_group(const json_t *command)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(plain);
    rd_kafka_AdminOptions_t *options = admin_options(RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    const char *group = text_of(command, "group");
    rd_kafka_event_t *event;
    size_t count;

    rd_kafka_DescribeConsumerGroups(plain, &group, 1, options, queue);
    event = admin_result(queue, options);
    if (event) {
        const rd_kafka_ConsumerGroupDescription_t **groups =
            rd_kafka_DescribeConsumerGroups_result_groups(
                rd_kafka_event_DescribeConsumerGroups_result(event), &count);
        json_t *members = json_array();
        for (size_t i = 0; i < rd_kafka_ConsumerGroupDescription_member_count(groups[0]); i++) {
            const rd_kafka_MemberDescription_t *member =
                rd_kafka_ConsumerGroupDescription_member(groups[0], i);
            const rd_kafka_topic_partition_list_t *list =
                rd_kafka_MemberAssignment_partitions(rd_kafka_MemberDescription_assignment(member));
            json_array_append_new(
                members, json_pack("{s:s, s:s, s:s?, s:i}", "client",
                                   rd_kafka_MemberDescription_client_id(member), "id",
                                   rd_kafka_MemberDescription_consumer_id(member), "instance",
                                   rd_kafka_MemberDescription_group_instance_id(member),
                                   "partitions", list ? list->cnt : 0));
        }
        answer(json_pack(
            "{s:s, s:o}", "state",
            rd_kafka_consumer_group_state_name(rd_kafka_ConsumerGroupDescription_state(groups[0])),
            "members", members));
        rd_kafka_event_destroy(event);
    }
}

static const struct {
    const char *name;
    rd_kafka_ResourceType_t type;
} resources[] = {{"topic", RD_KAFKA_RESOURCE_TOPIC}, {"group", RD_KAFKA_RESOURCE_GROUP}};

/* {"user": "User:bob", "topic": "t"} or {"group": "g"}: allows everything on it. */
static void allow(const json_t *command)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(plain);
    rd_kafka_AdminOptions_t *options = admin_options(RD_KAFKA_ADMIN_OP_CREATEACLS);
    rd_kafka_AclBinding_t *binding = NULL;
    rd_kafka_event_t *event;
    char error[256] = "neither topic nor group";

    for (size_t i = 0; i < sizeof resources / sizeof resources[0]; i++)
        if (json_object_get(command, resources[i].name))
            binding =
                rd_kafka_AclBinding_new(resources[i].type, text_of(command, resources[i].name),
                                        RD_KAFKA_RESOURCE_PATTERN_LITERAL, text_of(command, "user"),
                                        "*", RD_KAFKA_ACL_OPERATION_ALL,
                                        RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, error, sizeof error);
    if (!binding)
        die("allow", error);
    rd_kafka_CreateAcls(plain, &binding, 1, options, queue);
    event = admin_result(queue, options);
    if (event) {
        answer(json_object());
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AclBinding_destroy(binding);
}

/* ---- groups ---- */

/* A consumer handle that never joins: only to ask for a group's offsets. (librdkafka 2.0.2's
 * ListConsumerGroupOffsets crashes on an error of a coordinator that has just started.) */
static rd_kafka_t *group_handle(const char *group)
{
    static struct {
        char group[256];
        rd_kafka_t *handle;
    } known[8];
    static unsigned next;
    rd_kafka_conf_t *conf;
    unsigned slot;

    for (slot = 0; slot < 8; slot++)
        if (known[slot].handle && !strcmp(known[slot].group, group))
            return known[slot].handle;
    slot = next++ % 8;
    if (known[slot].handle)
        rd_kafka_destroy(known[slot].handle);
    conf = new_conf();
    set_property(conf, "group.id", group);
    set_property(conf, "enable.auto.commit", "false");
    snprintf(known[slot].group, sizeof known[slot].group, "%s", group);
    known[slot].handle = new_handle(RD_KAFKA_CONSUMER, conf);
    return known[slot].handle;
}

static void committed(const json_t *command)
{
    rd_kafka_t *handle = group_handle(text_of(command, "group"));
    const char *topic = text_of(command, "topic");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    json_t *offsets = json_object();
    rd_kafka_resp_err_t error;

    for (int i = 0; i < (int)number_of(command, "partitions", 1); i++)
        rd_kafka_topic_partition_list_add(list, topic, i);
    error = rd_kafka_committed(handle, list, ADMIN_TIMEOUT_MS);
    for (int i = 0; !error && i < list->cnt; i++) {
        char partition[16];
        snprintf(partition, sizeof partition, "%d", (int)list->elems[i].partition);
        if (list->elems[i].err)
            error = list->elems[i].err;
        else if (list->elems[i].offset >= 0)
            json_object_set_new(offsets, partition, json_integer(list->elems[i].offset));
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (error) {
        refuse(rd_kafka_err2str(error));
        json_decref(offsets);
    } else {
        answer(json_pack("{s:o}", "offsets", offsets));
    }
}

/* ---- reading ---- */

/* Assigns all partitions of a topic from the beginning. Returns how many; 0 if there is no topic.
 */
static int assign_all(rd_kafka_t *consumer, const char *topic)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(consumer, topic, NULL);
    const rd_kafka_metadata_t *metadata = NULL;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    int count = 0;

    if (!rd_kafka_metadata(consumer, 0, handle, &metadata, ADMIN_TIMEOUT_MS)) {
        if (metadata->topic_cnt == 1)
            count = metadata->topics[0].partition_cnt;
        rd_kafka_metadata_destroy(metadata);
    }
    for (int i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_topic_destroy(handle);
    return count;
}

/* All that a topic holds now, as read_committed sees it. */
static json_t *json_headers(const rd_kafka_message_t *message)
{
    json_t *list = json_array();
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t size;

    if (rd_kafka_message_headers(message, &headers))
        return list;
    for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size); i++)
        json_array_append_new(list, json_pack("[s, o]", name, json_of(value, size)));
    return list;
}

static void read_topic(const json_t *command)
{
    rd_kafka_conf_t *conf = new_conf();
    rd_kafka_t *consumer;
    json_t *records = json_array();
    const char *error = NULL;
    int open;

    set_property(conf, "group.id", "kafka_tool");
    set_property(conf, "enable.partition.eof", "true");
    set_property(conf, "enable.auto.commit", "false");
    consumer = new_handle(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(consumer);
    open = assign_all(consumer, text_of(command, "topic"));
    if (!open)
        error = "no such topic";
    while (open && !error) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, ADMIN_TIMEOUT_MS);
        if (!message)
            error = "no message and no end of partition came";
        else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            open--;
        else if (!message->err)
            json_array_append_new(records, json_pack("[i, I, o, o, o]", (int)message->partition,
                                                     (json_int_t)message->offset,
                                                     json_of(message->key, message->key_len),
                                                     json_of(message->payload, message->len),
                                                     json_headers(message)));
        if (message)
            rd_kafka_message_destroy(message);
    }
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    if (error) {
        refuse(error);
        json_decref(records);
    } else {
        answer(json_pack("{s:o}", "records", records));
    }
}

/* First offset and the one after the last, of each partition named in "partitions" (a count). */
static void watermarks(const json_t *command)
{
    json_t *list = json_array();

    for (int i = 0; i < (int)number_of(command, "partitions", 1); i++) {
        int64_t low = 0, high = 0;
        rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(
            plain, text_of(command, "topic"), i, &low, &high, ADMIN_TIMEOUT_MS);
        if (error) {
            json_decref(list);
            refuse(rd_kafka_err2str(error));
            return;
        }
        json_array_append_new(list, json_pack("[I, I]", (json_int_t)low, (json_int_t)high));
    }
    answer(json_pack("{s:o}", "watermarks", list));
}

/* Answers once a broker does. */
static void ping(const json_t *command)
{
    const rd_kafka_metadata_t *metadata = NULL;
    rd_kafka_resp_err_t error = rd_kafka_metadata(
        plain, 0, NULL, &metadata, (int)number_of(command, "timeout_ms", ADMIN_TIMEOUT_MS));

    if (error) {
        refuse(rd_kafka_err2str(error));
        return;
    }
    answer(json_pack("{s:i}", "brokers", metadata->broker_cnt));
    rd_kafka_metadata_destroy(metadata);
}

/* Of librdkafka. */
static void version(const json_t *command)
{
    (void)command;
    answer(json_pack("{s:i}", "number", rd_kafka_version()));
}

static const struct {
    const char *name;
    void (*run)(const json_t *command);
} operations[] = {{"produce", produce},
                  {"flush", flush},
                  {"transactions", transactions},
                  {"begin", begin},
                  {"commit", commit_transaction},
                  {"abort", abort_transaction},
                  {"create_topic", create_topic},
                  {"create_partitions", create_partitions},
                  {"delete_topic", delete_topic},
                  {"delete_records", delete_records},
                  {"set_committed", set_committed},
                  {"committed", committed},
                  {"describe_group", describe_group},
                  {"groups", groups},
                  {"allow", allow},
                  {"read", read_topic},
                  {"watermarks", watermarks},
                  {"ping", ping},
                  {"version", version}};

static void run(const char *line)
{
    json_error_t error;
    json_t *command = json_loads(line, JSON_ALLOW_NUL, &error);
    const char *name;

    if (!command)
        die("not JSON", line);
    name = text_of(command, "op");
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (!strcmp(operations[i].name, name)) {
            operations[i].run(command);
            json_decref(command);
            return;
        }
    die("unknown operation", name);
}

int main(int argc, char **argv)
{
    char *line = NULL;
    size_t room = 0;

    properties = argv + 1;
    property_count = argc - 1;
    current = plain = new_producer(NULL);
    while (getline(&line, &room, stdin) > 0)
        run(line);
    free(line);
    /* No rd_kafka_destroy: it would wait for brokers that tests have killed. */
    return 0;
}
