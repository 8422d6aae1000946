/* SPDX-License-Identifier: MIT
 * Options, and the librdkafka configuration that they come to. */
#define _GNU_SOURCE
#include "kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const mechanisms[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER",
                                         NULL};
static const char *const assignments[] = {"eager", "cooperative", NULL};
static const char *const isolations[] = {"read_committed", "read_uncommitted", NULL};

#define FETCH_LEAST 1000000 /* what librdkafka takes beside its own message.max.bytes */
#define SECOND INT64_C(1000000)

const struct sluice_option kafka_options[] = {
    {.name = "brokers", .type = SLUICE_LIST,
     .flags = SLUICE_OPTION_REQUIRED | SLUICE_OPTION_SERVERS,
     .help = "Brokers to begin with, as host:port; a list, or one text with commas."},
    {.name = "topic", .type = SLUICE_LIST, .flags = SLUICE_OPTION_REQUIRED,
     .help = "Topic to read, or a list of topics; for dead letters: the topic that they go to."},
    {.name = "group", .type = SLUICE_STRING,
     .flags = SLUICE_OPTION_REQUIRED | SLUICE_OPTION_CONSUME,
     .help = "Consumer group; no other mapping may read these topics in it."},
    {.name = "start", .type = SLUICE_STRING, .default_text = "earliest",
     .flags = SLUICE_OPTION_CONSUME,
     .help = "Where a group without committed offsets begins: earliest, latest, or a time such as "
             "2026-01-31T08:00:00Z."},
    {.name = "isolation", .type = SLUICE_ENUM, .default_text = "read_committed",
     .choices = isolations, .flags = SLUICE_OPTION_CONSUME,
     .help = "Whether messages of open or aborted transactions are read."},
    {.name = "assignment", .type = SLUICE_ENUM, .default_text = "eager", .choices = assignments,
     .flags = SLUICE_OPTION_CONSUME,
     .help = "How partitions move between members of the group."},
    {.name = "instance_id", .type = SLUICE_STRING, .flags = SLUICE_OPTION_CONSUME,
     .help = "Static membership: a restart within session_timeout moves no partition; the poller's "
             "number is put behind it."},
    {.name = "session_timeout", .type = SLUICE_DURATION, .default_text = "45s",
     .minimum = 6 * SECOND, .maximum = 1800 * SECOND, .flags = SLUICE_OPTION_CONSUME,
     .help = "After this long without a sign of life the group gives the partitions to others."},
    {.name = "commit_interval", .type = SLUICE_DURATION, .default_text = "1s",
     .minimum = SECOND / 20, .maximum = 60 * SECOND,
     .flags = SLUICE_OPTION_ADVANCED | SLUICE_OPTION_CONSUME,
     .help = "How often settled offsets are committed."},
    {.name = "fetch.buffer", .type = SLUICE_BYTES, .default_text = "4 MiB",
     .minimum = 1 << 20, .maximum = 1 << 30,
     .flags = SLUICE_OPTION_ADVANCED | SLUICE_OPTION_CONSUME,
     .help = "Memory for messages fetched ahead, per poller, and three times that per lane that must wait."},
    {.name = "sasl.mechanism", .type = SLUICE_ENUM, .choices = mechanisms,
     .help = "How to authenticate."},
    {.name = "sasl.username", .type = SLUICE_STRING, .help = "User name for PLAIN and SCRAM."},
    {.name = "sasl.password", .type = SLUICE_SECRET, .help = "Password for PLAIN and SCRAM."},
    {.name = "sasl.oauth.token_url", .type = SLUICE_STRING,
     .help = "OIDC token endpoint for OAUTHBEARER (client credentials grant)."},
    {.name = "sasl.oauth.client_id", .type = SLUICE_STRING, .help = "OIDC client."},
    {.name = "sasl.oauth.client_secret", .type = SLUICE_SECRET, .help = "OIDC client secret."},
    {.name = "sasl.oauth.scope", .type = SLUICE_STRING, .help = "Scope to ask for."},
    {.name = "tls.enabled", .type = SLUICE_BOOL, .default_text = "false",
     .help = "Whether to use TLS; any other tls option switches it on."},
    {.name = "tls.ca_file", .type = SLUICE_STRING, .flags = SLUICE_OPTION_FILE,
     .help = "Certificates to trust instead of the system's."},
    {.name = "tls.certificate_file", .type = SLUICE_STRING, .flags = SLUICE_OPTION_FILE,
     .help = "Own certificate, for brokers that ask for one."},
    {.name = "tls.key_file", .type = SLUICE_STRING, .flags = SLUICE_OPTION_FILE,
     .help = "Key of the own certificate."},
    {.name = "tls.key_password", .type = SLUICE_SECRET, .help = "Password of the key."},
    {.name = "tls.verify", .type = SLUICE_BOOL, .default_text = "true",
     .help = "Whether to check the broker's certificate and name."},
    {.name = "properties", .type = SLUICE_MAP, .flags = SLUICE_OPTION_ADVANCED,
     .help = "Further librdkafka properties; those that would break the promise are refused."},
    {.name = NULL},
};

/* librdkafka cannot be told the least version of TLS. This leaves out all ciphers that older ones than
 * 1.2 know, so that none of those comes about; those of 1.3 are not part of it and always there. */
#define TLS_1_2_CIPHERS "DEFAULT:!SSLv3:!TLSv1"

/* Properties that are not the user's, and why. A name that ends with a dot stands for all with that
 * beginning. */
static const struct {
    const char *name, *reason;
} refused[] = {
    {"enable.auto.commit", "sluice commits what is settled, and nothing else"},
    {"enable.auto.offset.store", "sluice stores the offset of what is settled, and nothing else"},
    {"auto.commit.interval.ms", "use commit_interval"},
    {"auto.offset.reset", "use start; an offset out of range always falls back to the oldest "
                          "message, so that none is skipped"},
    {"group.id", "use group"},
    {"group.instance.id", "use instance_id"},
    {"group.protocol", "only the classic protocol is supported"},
    {"bootstrap.servers", "use brokers"},
    {"metadata.broker.list", "use brokers"},
    {"isolation.level", "use isolation"},
    {"partition.assignment.strategy", "use assignment"},
    {"session.timeout.ms", "use session_timeout"},
    {"queued.max.messages.kbytes", "use fetch.buffer"},
    {"fetch.max.bytes", "use fetch.buffer"},
    {"security.protocol", "it follows from sasl and tls"},
    {"enable.partition.eof", "sluice has no use for it"},
    {"enable.idempotence", "sluice publishes idempotently"},
    {"enable.ssl.certificate.verification", "use tls.verify"},
    {"log.queue", "sluice writes the log"},
    {"check.crcs", "librdkafka skips what fails the check, and sluice skips nothing"},
    {"statistics.interval.ms", "sluice needs the statistics for the lag"},
    {"plugin.library.paths", "sluice loads connectors only"},
    {"sasl.", "use sasl"},
    {"ssl.", "use tls"},
    {"test.", "it is for librdkafka's own tests"},
};

static const char *text_of(const struct kafka *kafka, const char *name)
{
    return kafka->api->values->text(kafka->values, name);
}

static int64_t number_of(const struct kafka *kafka, const char *name)
{
    return kafka->api->values->number(kafka->values, name);
}

static int refuse(struct kafka *kafka, const char *name, const char *reason)
{
    kafka->api->values->refuse(kafka->values, name, reason);
    return -1;
}

static int set(struct kafka *kafka, const char *property, const char *value, const char *option)
{
    char error[KAFKA_TEXT];

    if (rd_kafka_conf_set(kafka->conf, property, value, error, sizeof error) == RD_KAFKA_CONF_OK)
        return 0;
    return refuse(kafka, option, error);
}

static int set_number(struct kafka *kafka, const char *property, int64_t value, const char *option)
{
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)value);
    return set(kafka, property, text, option);
}

static char *join(struct kafka *kafka, const char *name)
{
    size_t count = kafka->api->values->count(kafka->values, name), size = 1;
    char *text, *end;

    for (size_t i = 0; i < count; i++)
        size += strlen(kafka->api->values->item(kafka->values, name, i, NULL)) + 1;
    text = end = calloc(1, size);
    for (size_t i = 0; i < count; i++) {
        if (i)
            *end++ = ',';
        end = stpcpy(end, kafka->api->values->item(kafka->values, name, i, NULL));
    }
    return text;
}

/* ISO 8601 with Z: the one form that means the same everywhere. */
static int parse_time(const char *text, int64_t *ret_ms)
{
    struct tm time = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &time);

    if (!rest || strcmp(rest, "Z"))
        return -1;
    *ret_ms = (int64_t)timegm(&time) * 1000;
    return 0;
}

static int configure_start(struct kafka *kafka)
{
    const char *start = text_of(kafka, "start");
    char reason[KAFKA_TEXT];

    if (!strcmp(start, "earliest"))
        kafka->start = KAFKA_START_EARLIEST;
    else if (!strcmp(start, "latest"))
        kafka->start = KAFKA_START_LATEST;
    else if (!parse_time(start, &kafka->start_ms))
        kafka->start = KAFKA_START_TIMESTAMP;
    else {
        snprintf(reason, sizeof reason,
                 "found \"%s\", expected earliest, latest, or a time such as 2026-01-31T08:00:00Z",
                 start);
        return refuse(kafka, "start", reason);
    }
    return 0;
}

static int configure_topics(struct kafka *kafka)
{
    size_t count = kafka->api->values->count(kafka->values, "topic");

    kafka->topics = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        const char *topic = kafka->api->values->item(kafka->values, "topic", i, NULL);

        if (topic[0] == '^' || strchr(topic, ','))
            return refuse(kafka, "topic",
                          "patterns and texts with commas are no topics: write a list of topics");
        if (!topic[0] || strlen(topic) > 249)
            return refuse(kafka, "topic", "a topic's name has 1 to 249 characters");
        rd_kafka_topic_partition_list_add(kafka->topics, topic, RD_KAFKA_PARTITION_UA);
    }
    if (!count)
        return refuse(kafka, "topic", "found an empty list, expected at least one topic");
    if (count > 1 && kafka->publishes_only && !kafka->group)
        return refuse(kafka, "topic", "found several topics, expected the one to publish to");
    return 0;
}

static int configure_tls(struct kafka *kafka, bool *ret_tls)
{
    const char *ca = text_of(kafka, "tls.ca_file");
    const char *certificate = text_of(kafka, "tls.certificate_file");
    const char *key = text_of(kafka, "tls.key_file");
    const char *password = text_of(kafka, "tls.key_password");
    int failed = 0;

    *ret_tls = number_of(kafka, "tls.enabled") || ca || certificate || key;
    if (*ret_tls)
        failed |= set(kafka, "ssl.cipher.suites", TLS_1_2_CIPHERS, "tls.enabled");
    if (!certificate != !key)
        return refuse(kafka, certificate ? "tls.certificate_file" : "tls.key_file",
                      "tls.certificate_file and tls.key_file belong together: give both");
    if (ca)
        failed |= set(kafka, "ssl.ca.location", ca, "tls.ca_file");
    if (certificate) {
        failed |= set(kafka, "ssl.certificate.location", certificate, "tls.certificate_file");
        failed |= set(kafka, "ssl.key.location", key, "tls.key_file");
    }
    if (password)
        failed |= set(kafka, "ssl.key.password", password, "tls.key_password");
    if (!number_of(kafka, "tls.verify")) {
        failed |= set(kafka, "enable.ssl.certificate.verification", "false", "tls.verify");
        failed |= set(kafka, "ssl.endpoint.identification.algorithm", "none", "tls.verify");
    } else {
        failed |= set(kafka, "ssl.endpoint.identification.algorithm", "https", "tls.verify");
    }
    return failed;
}

static int configure_sasl(struct kafka *kafka, bool *ret_sasl)
{
    const char *mechanism = text_of(kafka, "sasl.mechanism");
    const char *username = text_of(kafka, "sasl.username");
    const char *password = text_of(kafka, "sasl.password");
    bool oauth = mechanism && !strcmp(mechanism, "OAUTHBEARER");

    *ret_sasl = mechanism != NULL;
    if (!mechanism && (username || password))
        return refuse(kafka, username ? "sasl.username" : "sasl.password",
                      "sasl.mechanism is missing: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or "
                      "OAUTHBEARER");
    if (!mechanism)
        return 0;
    if (!oauth && (!username || !password))
        return refuse(kafka, "sasl.mechanism", "this mechanism needs sasl.username and "
                                               "sasl.password");
    if (oauth && (!text_of(kafka, "sasl.oauth.token_url") ||
                  !text_of(kafka, "sasl.oauth.client_id") ||
                  !text_of(kafka, "sasl.oauth.client_secret")))
        return refuse(kafka, "sasl.mechanism",
                      "OAUTHBEARER needs sasl.oauth.token_url, client_id and client_secret");
    if (set(kafka, "sasl.mechanism", mechanism, "sasl.mechanism"))
        return -1;
    if (oauth)
        return 0;
    return set(kafka, "sasl.username", username, "sasl.username") |
           set(kafka, "sasl.password", password, "sasl.password");
}

static const char *reason_to_refuse(const char *property)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        size_t size = strlen(refused[i].name);

        if (refused[i].name[size - 1] == '.' ? !strncmp(property, refused[i].name, size)
                                             : !strcmp(property, refused[i].name))
            return refused[i].reason;
    }
    return NULL;
}

static int configure_properties(struct kafka *kafka)
{
    size_t count = kafka->api->values->count(kafka->values, "properties");
    int failed = 0;

    for (size_t i = 0; i < count; i++) {
        const char *value;
        const char *property = kafka->api->values->item(kafka->values, "properties", i, &value);
        const char *reason = reason_to_refuse(property);
        char option[300];

        snprintf(option, sizeof option, "properties.%s", property);
        if (reason)
            failed |= refuse(kafka, option, reason);
        else if (!strcmp(property, "max.poll.interval.ms") && atoi(value) < 10000)
            failed |= refuse(kafka, option, "less than 10000 would throw members out of the group");
        else
            failed |= set(kafka, property, value, option);
    }
    return failed;
}

static int configure_consumer(struct kafka *kafka)
{
    int64_t buffer = number_of(kafka, "fetch.buffer");
    bool cooperative = !strcmp(text_of(kafka, "assignment"), "cooperative");
    int failed = 0;

    failed |= set(kafka, "bootstrap.servers", kafka->brokers, "brokers");
    if (kafka->group)
        failed |= set(kafka, "group.id", kafka->group, "group");
    failed |= set(kafka, "enable.auto.commit", "true", "group");
    failed |= set(kafka, "enable.auto.offset.store", "false", "group");
    failed |= set(kafka, "auto.offset.reset", "earliest", "start");
    failed |= set(kafka, "isolation.level", text_of(kafka, "isolation"), "isolation");
    failed |= set(kafka, "partition.assignment.strategy",
                  cooperative ? "cooperative-sticky" : "range,roundrobin", "assignment");
    failed |= set_number(kafka, "session.timeout.ms", number_of(kafka, "session_timeout") / 1000,
                         "session_timeout");
    failed |= set_number(kafka, "auto.commit.interval.ms",
                         number_of(kafka, "commit_interval") / 1000, "commit_interval");
    failed |= set_number(kafka, "queued.max.messages.kbytes", buffer / 1024, "fetch.buffer");
    failed |= set_number(kafka, "queued.min.messages", KAFKA_QUEUE_MESSAGES, "fetch.buffer");
    failed |= set_number(kafka, "fetch.max.bytes", buffer / 4 > FETCH_LEAST ? buffer / 4 : FETCH_LEAST,
                         "fetch.buffer");
    kafka->fetch_buffer = buffer;
    /* One that waits at its partitions' ends keeps the others of its broker from being fetched. */
    failed |= set(kafka, "fetch.wait.max.ms", "500", "fetch.buffer");
    failed |= set(kafka, "statistics.interval.ms", "5000", "group");
    failed |= set(kafka, "socket.nagle.disable", "true", "brokers");
    failed |= set(kafka, "log.connection.close", "false", "brokers");
    failed |= set(kafka, "log.queue", "true", "brokers");
    if (rd_kafka_version() >= 0x02020000)
        failed |= set(kafka, "fetch.queue.backoff.ms", "10", "fetch.buffer");
    else
        kafka->needs_nudges = true;
    return failed;
}

int kafka_configure(struct kafka *kafka)
{
    bool tls, sasl;
    int failed = 0;

    kafka->conf = rd_kafka_conf_new();
    kafka->sizes = rd_kafka_topic_partition_list_new(0);
    kafka->brokers = join(kafka, "brokers");
    kafka->group = text_of(kafka, "group") ? strdup(text_of(kafka, "group")) : NULL;
    if (!kafka->brokers[0])
        failed |= refuse(kafka, "brokers", "found nothing, expected host:port");
    failed |= configure_topics(kafka);
    failed |= configure_start(kafka);
    failed |= configure_consumer(kafka);
    failed |= configure_tls(kafka, &tls);
    failed |= configure_sasl(kafka, &sasl);
    failed |= set(kafka, "security.protocol",
                  sasl ? (tls ? "SASL_SSL" : "SASL_PLAINTEXT") : (tls ? "SSL" : "PLAINTEXT"),
                  sasl ? "sasl.mechanism" : "tls.enabled");
    failed |= configure_properties(kafka);
    return failed;
}

void kafka_unconfigure(struct kafka *kafka)
{
    if (kafka->conf)
        rd_kafka_conf_destroy(kafka->conf);
    if (kafka->topics)
        rd_kafka_topic_partition_list_destroy(kafka->topics);
    if (kafka->sizes)
        rd_kafka_topic_partition_list_destroy(kafka->sizes);
    free(kafka->brokers);
    free(kafka->group);
}
