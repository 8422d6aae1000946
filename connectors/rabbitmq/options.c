/* SPDX-License-Identifier: MIT
 * Options, and the configuration that they come to. */
#define _GNU_SOURCE
#include "rabbitmq.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PORT     5672
#define PORT_TLS 5671

static const char *const mechanisms[] = {"PLAIN", "EXTERNAL", NULL};
static const char *const queue_types[] = {"classic", "quorum", "stream", NULL};

const struct sluice_option rabbit_options[] = {
    {.name = "hosts", .type = SLUICE_LIST, .flags = SLUICE_OPTION_SERVERS,
     .help = "Brokers of one cluster, as host or host:port, tried in turn; a list."},
    {.name = "url", .type = SLUICE_SECRET,
     .help = "Instead of hosts, vhost, username and password: amqp[s]://user:password@host:port/vhost."},
    {.name = "queue", .type = SLUICE_LIST,
     .flags = SLUICE_OPTION_REQUIRED | SLUICE_OPTION_CONSUME | SLUICE_OPTION_PUBLISH,
     .help = "Queue to consume, or a list of queues; for dead letters: the queue that they go to."},
    {.name = "exchange", .type = SLUICE_STRING, .flags = SLUICE_OPTION_PUBLISH,
     .help = "Exchange that dead letters go to, instead of a queue."},
    {.name = "routing_key", .type = SLUICE_STRING, .flags = SLUICE_OPTION_PUBLISH,
     .help = "Their routing key at that exchange (default: none)."},
    {.name = "stream_offset", .type = SLUICE_STRING, .flags = SLUICE_OPTION_CONSUME,
     .help = "The queues are streams, begun here the first time: first, last (the last chunk), next, an "
             "offset, or a time (2026-01-31T12:00:00Z)."},
    {.name = "declare", .type = SLUICE_ENUM, .choices = queue_types,
     .help = "Make queues that do not exist, durable and of this type; unset: nothing is declared."},
    {.name = "arguments", .type = SLUICE_MAP,
     .help = "With declare: further arguments to make them with, as x-max-length; true, false and whole "
             "numbers are meant as such."},
    {.name = "vhost", .type = SLUICE_STRING, .help = "Virtual host (default: /)."},
    {.name = "username", .type = SLUICE_STRING, .help = "User name (default: guest)."},
    {.name = "password", .type = SLUICE_SECRET, .help = "Password for PLAIN (default: guest)."},
    {.name = "mechanism", .type = SLUICE_ENUM, .default_text = "PLAIN", .choices = mechanisms,
     .help = "How to authenticate: by password, or EXTERNAL by the TLS certificate."},
    {.name = "prefetch", .type = SLUICE_INT, .minimum = 1, .maximum = 65535,
     .flags = SLUICE_OPTION_CONSUME,
     .help = "Messages that each poller may hold of each queue (default: twice what it has room for)."},
    {.name = "priority", .type = SLUICE_INT, .minimum = -1000, .maximum = 1000,
     .flags = SLUICE_OPTION_ADVANCED | SLUICE_OPTION_CONSUME,
     .help = "Priority of this consumer: the broker fills those of the highest first."},
    {.name = "heartbeat", .type = SLUICE_DURATION, .default_text = "30s",
     .minimum = RABBIT_SECOND, .maximum = 3600 * RABBIT_SECOND,
     .help = "After twice this long without a sign of life a connection counts as dead."},
    {.name = "connect_timeout", .type = SLUICE_DURATION, .default_text = "10s",
     .minimum = RABBIT_SECOND / 10, .maximum = 300 * RABBIT_SECOND,
     .flags = SLUICE_OPTION_ADVANCED,
     .help = "How long a broker may take to answer a connection, a login or a request."},
    {.name = "consumer_timeout", .type = SLUICE_DURATION, .default_text = "30m",
     .maximum = INT64_C(1000) * 86400 * RABBIT_SECOND, .flags = SLUICE_OPTION_CONSUME,
     .help = "The broker's consumer_timeout: messages held nearly as long are given back and "
             "consumed anew; 0 where the broker has none."},
    {.name = "delivery_limit", .type = SLUICE_INT, .minimum = RABBIT_NO_LIMIT, .maximum = 1000000,
     .flags = SLUICE_OPTION_CONSUME,
     .help = "The queues' delivery limit: messages delivered nearly as often are parked as they come; -1 for none "
             "(default: x-delivery-limit of arguments, else 20 with RabbitMQ 4 and later, none before)."},
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
    {.name = NULL},
};

struct reader {
    const struct sluice_host_api *api;
    const struct sluice_values *values;
    struct rabbit_config *config;
    bool refused;
};

static void refuse(struct reader *reader, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void refuse(struct reader *reader, const char *name, const char *format, ...)
{
    char text[RABBIT_TEXT];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    reader->api->values->refuse(reader->values, name, text);
    reader->refused = true;
}

static const char *text_of(const struct reader *reader, const char *name)
{
    return reader->api->values->text(reader->values, name);
}

static int64_t number_of(const struct reader *reader, const char *name)
{
    return reader->api->values->number(reader->values, name);
}

static char *copy_of(const struct reader *reader, const char *name, const char *otherwise)
{
    const char *text = text_of(reader, name);

    return text || otherwise ? strdup(text ? text : otherwise) : NULL;
}

/* ---- where ---- */

static void add_host(struct rabbit_config *config, const char *name, size_t size, int port)
{
    config->hosts = reallocarray(config->hosts, config->host_count + 1, sizeof *config->hosts);
    config->hosts[config->host_count++] = (struct rabbit_host){strndup(name, size), port};
}

/* `host`, `host:port`, `[address]:port`. */
static void read_host(struct reader *reader, const char *text)
{
    const char *name = text, *end = text + strlen(text), *colon;
    int port = reader->config->tls ? PORT_TLS : PORT;

    if (*text == '[') {
        name++;
        end = strchr(name, ']');
        colon = end && end[1] ? end + 1 : NULL;
    } else {
        colon = strchr(text, ':');
        end = colon ? colon : end;
    }
    if (colon) {
        char *rest;
        long number = strtol(colon + 1, &rest, 10);

        port = *colon == ':' && *rest == '\0' && number > 0 && number < 65536 ? (int)number : 0;
    }
    if (!end || end == name || !port) {
        refuse(reader, "hosts",
               "found \"%.100s\", expected host, host:port or [address]:port, with a port from 1 to "
               "65535",
               text);
        return;
    }
    add_host(reader->config, name, (size_t)(end - name), port);
}

static void read_hosts(struct reader *reader)
{
    size_t count = reader->api->values->count(reader->values, "hosts");

    for (size_t i = 0; i < count; i++) {
        char *list = strdup(reader->api->values->item(reader->values, "hosts", i, NULL));
        char *rest = list, *word;

        while ((word = strsep(&rest, ", ")))
            if (*word)
                read_host(reader, word);
        free(list);
    }
}

/* The text itself, a secret, appears in no message. */
static void read_url(struct reader *reader)
{
    static const char *const instead[] = {"hosts", "vhost", "username", "password", NULL};
    struct rabbit_config *config = reader->config;
    char *url = strdup(text_of(reader, "url"));
    struct amqp_connection_info found;

    for (size_t i = 0; instead[i]; i++)
        if (reader->api->values->is_set(reader->values, instead[i]))
            refuse(reader, instead[i], "is part of url already; take one of them out");
    if (amqp_parse_url(url, &found)) {
        refuse(reader, "url",
               "found something else (it is secret), expected "
               "amqp://user:password@host:port/vhost, or amqps:// for TLS; what is special in a URL "
               "is written as %%XX, the vhost / as %%2f");
    } else {
        config->tls = config->tls || found.ssl;
        config->vhost = strdup(*found.vhost ? found.vhost : "/");
        config->username = strdup(found.user);
        config->password = strdup(found.password);
        add_host(config, found.host, strlen(found.host), found.port);
    }
    explicit_bzero(url, strlen(text_of(reader, "url")));
    free(url);
}

static void read_servers(struct reader *reader)
{
    struct rabbit_config *config = reader->config;
    size_t size = 0;
    FILE *out;

    if (text_of(reader, "url")) {
        read_url(reader);
    } else {
        config->vhost = copy_of(reader, "vhost", "/");
        config->username = copy_of(reader, "username", "guest");
        config->password = copy_of(reader, "password", "guest");
        if (!reader->api->values->is_set(reader->values, "hosts"))
            refuse(reader, "hosts", "is missing: say where the broker is, here or with url");
        read_hosts(reader);
    }
    out = open_memstream(&config->servers, &size);
    for (size_t i = 0; i < config->host_count; i++)
        fprintf(out, "%s%s:%d", i ? "," : "", config->hosts[i].name, config->hosts[i].port);
    fclose(out);
}

static void read_queues(struct reader *reader)
{
    struct rabbit_config *config = reader->config;
    size_t count = reader->api->values->count(reader->values, "queue");

    config->queues = calloc(count ? count : 1, sizeof *config->queues);
    for (size_t i = 0; i < count; i++) {
        const char *name = reader->api->values->item(reader->values, "queue", i, NULL);

        for (size_t j = 0; j < i; j++)
            if (!strcmp(config->queues[j], name))
                refuse(reader, "queue", "found %.200s twice, expected each queue once", name);
        if (!*name || strlen(name) > 255)
            refuse(reader, "queue",
                   "found a name of %zu bytes, expected 1 to 255, as queues of RabbitMQ have",
                   strlen(name));
        config->queues[config->queue_count++] = strdup(name);
    }
    if (count > 1000)
        refuse(reader, "queue", "found %zu queues, expected at most 1000: make more mappings", count);
}

/* ---- TLS ---- */

static void read_tls(struct reader *reader)
{
    static const char *const others[] = {"tls.ca_file", "tls.certificate_file", "tls.key_file",
                                         "tls.key_password", NULL};
    struct rabbit_config *config = reader->config;

    config->tls = number_of(reader, "tls.enabled") || !number_of(reader, "tls.verify");
    for (size_t i = 0; others[i]; i++)
        config->tls = config->tls || text_of(reader, others[i]);
    config->verify = number_of(reader, "tls.verify");
    config->ca_file = copy_of(reader, "tls.ca_file", NULL);
    config->certificate_file = copy_of(reader, "tls.certificate_file", NULL);
    config->key_file = copy_of(reader, "tls.key_file", NULL);
    config->key_password = copy_of(reader, "tls.key_password", NULL);
    if (!config->certificate_file != !config->key_file)
        refuse(reader, config->key_file ? "tls.key_file" : "tls.certificate_file",
               "goes with tls.%s, which is missing",
               config->key_file ? "certificate_file" : "key_file");
    config->external = !strcmp(text_of(reader, "mechanism"), "EXTERNAL");
    if (config->external && !config->certificate_file)
        refuse(reader, "mechanism",
               "found EXTERNAL, which logs in by a certificate: expected tls.certificate_file and "
               "tls.key_file too");
}

/* One place: a queue, or an exchange with a routing key. */
static void read_place(struct reader *reader)
{
    struct rabbit_config *config = reader->config;

    config->exchange = copy_of(reader, "exchange", NULL);
    config->routing_key = copy_of(reader, "routing_key", "");
    if (config->exchange && config->queue_count)
        refuse(reader, "exchange", "goes not together with queue: say one of them");
    else if (!config->exchange && !config->queue_count)
        refuse(reader, "queue", "is missing: name the queue to publish to, or an exchange");
    else if (!config->exchange && text_of(reader, "routing_key"))
        refuse(reader, "routing_key", "goes with exchange, which is missing");
    if (config->exchange && (!*config->exchange || strlen(config->exchange) > 255))
        refuse(reader, "exchange", "found a name of %zu bytes, expected 1 to 255",
               strlen(config->exchange));
    if (strlen(config->routing_key) > 255)
        refuse(reader, "routing_key", "found %zu bytes, expected at most 255",
               strlen(config->routing_key));
}

/* ---- declaring ---- */

static amqp_bytes_t copy_text(const char *text)
{
    return (amqp_bytes_t){strlen(text), strdup(text)};
}

static void add_argument(struct rabbit_config *config, const char *name, const char *text)
{
    amqp_table_entry_t *entry = &config->arguments.entries[config->arguments.num_entries++];
    char *rest;
    long long number = strtoll(text, &rest, 10);

    *entry = (amqp_table_entry_t){.key = copy_text(name)};
    if (!strcmp(text, "true") || !strcmp(text, "false")) {
        entry->value.kind = AMQP_FIELD_KIND_BOOLEAN;
        entry->value.value.boolean = *text == 't';
    } else if (*text && !*rest && strlen(text) < 19) {
        entry->value.kind = AMQP_FIELD_KIND_I64;
        entry->value.value.i64 = number;
    } else {
        entry->value.kind = AMQP_FIELD_KIND_UTF8;
        entry->value.value.bytes = copy_text(text);
    }
}

static void read_declare(struct reader *reader)
{
    struct rabbit_config *config = reader->config;
    size_t count = reader->api->values->count(reader->values, "arguments");

    config->declare = copy_of(reader, "declare", NULL);
    if (count && !config->declare)
        refuse(reader, "arguments", "goes with declare, which is missing");
    if (!config->declare)
        return;
    config->arguments.entries = calloc(count + 1, sizeof *config->arguments.entries);
    add_argument(config, "x-queue-type", config->declare);
    for (size_t i = 0; i < count; i++) {
        const char *value;
        const char *name = reader->api->values->item(reader->values, "arguments", i, &value);

        if (!strcmp(name, "x-queue-type") || !*name || strlen(name) > 128)
            refuse(reader, "arguments", "found %.40s, expected the name of an argument%s", name,
                   *name == 'x' ? "; the type of the queue is said by declare" : "");
        else
            add_argument(config, name, value);
    }
}

static void read_limit(struct reader *reader)
{
    static const char name[] = "x-delivery-limit";
    struct rabbit_config *config = reader->config;

    for (int i = 0; i < config->arguments.num_entries; i++) {
        const amqp_table_entry_t *entry = &config->arguments.entries[i];

        if (entry->key.len != strlen(name) || memcmp(entry->key.bytes, name, strlen(name)) != 0 ||
            entry->value.kind != AMQP_FIELD_KIND_I64)
            continue;
        config->knows_limit = true;
        config->delivery_limit = entry->value.value.i64;
    }
    if (!reader->api->values->is_set(reader->values, "delivery_limit"))
        return;
    config->knows_limit = true;
    config->delivery_limit = number_of(reader, "delivery_limit");
}

static void free_arguments(amqp_table_t *arguments)
{
    for (int i = 0; i < arguments->num_entries; i++) {
        free(arguments->entries[i].key.bytes);
        if (arguments->entries[i].value.kind == AMQP_FIELD_KIND_UTF8)
            free(arguments->entries[i].value.value.bytes.bytes);
    }
    free(arguments->entries);
}

/* ---- streams ---- */

static int parse_time(const char *text, uint64_t *ret_seconds)
{
    struct tm parts = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    time_t seconds = rest && !strcmp(rest, "Z") ? timegm(&parts) : -1;

    if (seconds < 0)
        return -1;
    *ret_seconds = (uint64_t)seconds;
    return 0;
}

static void read_stream(struct reader *reader)
{
    struct rabbit_config *config = reader->config;
    const char *text = text_of(reader, "stream_offset");
    bool declares = config->declare && !strcmp(config->declare, "stream");

    if (declares != (text != NULL) && config->declare)
        refuse(reader, "declare",
               declares ? "found stream: say with stream_offset too where to begin it"
                        : "found %s, but stream_offset is for streams: expected stream",
               config->declare);
    if (!text)
        return;
    if (!strcmp(text, "first"))
        config->begin = RABBIT_BEGIN_FIRST;
    else if (!strcmp(text, "last"))
        config->begin = RABBIT_BEGIN_LAST;
    else if (!strcmp(text, "next"))
        config->begin = RABBIT_BEGIN_NEXT;
    else if (*text && strlen(text) <= 18 && text[strspn(text, "0123456789")] == '\0') {
        config->begin = RABBIT_BEGIN_NUMBER;
        config->begin_at = strtoull(text, NULL, 10);
    } else if (!parse_time(text, &config->begin_at))
        config->begin = RABBIT_BEGIN_TIME;
    else
        refuse(reader, "stream_offset",
               "found \"%.100s\", expected first, last, next, an offset as 1500, or a time in UTC as "
               "2026-01-31T12:00:00Z",
               text);
}

uint32_t rabbit_capabilities(const struct sluice_values_api *api,
                             const struct sluice_values *values)
{
    const uint32_t always = SLUICE_CAN_PUBLISH | SLUICE_CAN_BROWSE | SLUICE_CAN_PAUSE_LANE | SLUICE_HAS_MESSAGE_ID |
                            SLUICE_IS_ORDERED;

    return always | (api->is_set(values, "stream_offset")
                         ? SLUICE_CAN_SETTLE_UP_TO | SLUICE_HAS_STABLE_IDENTITY |
                               SLUICE_NEEDS_POSITION
                         : SLUICE_HAS_DELIVERY_COUNT | SLUICE_BROWSE_LEAVES_TRACE);
}

struct rabbit_config *rabbit_config_new(const struct sluice_host_api *api,
                                        const struct sluice_values *values, bool publishing)
{
    struct rabbit_config *config = calloc(1, sizeof *config);
    struct reader reader = {api, values, config, false};

    if (!config)
        return NULL;
    read_tls(&reader);
    read_servers(&reader);
    read_queues(&reader);
    if (publishing)
        read_place(&reader);
    config->heartbeat_s = (int)((number_of(&reader, "heartbeat") + RABBIT_SECOND - 1) / RABBIT_SECOND);
    config->connect_timeout_us = number_of(&reader, "connect_timeout");
    config->consumer_timeout_us = number_of(&reader, "consumer_timeout");
    if (config->consumer_timeout_us && config->consumer_timeout_us < 2 * RABBIT_SECOND)
        refuse(&reader, "consumer_timeout", "expected at least 2s, or 0 for none");
    read_declare(&reader);
    read_limit(&reader);
    if (!publishing)
        read_stream(&reader);
    config->prefetch = (unsigned)number_of(&reader, "prefetch");
    config->has_priority = api->values->is_set(values, "priority");
    config->priority = (int)number_of(&reader, "priority");
    if (!reader.refused)
        return config;
    rabbit_config_free(config);
    return NULL;
}

void rabbit_config_aim(struct rabbit_config *config, const char *destination)
{
    const char *slash = strchr(destination, '/');

    while (config->queue_count)
        free(config->queues[--config->queue_count]);
    free(config->exchange);
    config->exchange = slash && slash > destination
                           ? strndup(destination, (size_t)(slash - destination))
                           : NULL;
    if (!config->exchange)
        config->queues[config->queue_count++] = strdup(slash ? slash + 1 : destination);
}

static void wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void rabbit_config_free(struct rabbit_config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->host_count; i++)
        free(config->hosts[i].name);
    free(config->hosts);
    free(config->servers);
    for (size_t i = 0; i < config->queue_count; i++)
        free(config->queues[i]);
    free(config->queues);
    free(config->declare);
    free_arguments(&config->arguments);
    free(config->exchange);
    free(config->routing_key);
    free(config->vhost);
    free(config->username);
    wipe(config->password);
    free(config->ca_file);
    free(config->certificate_file);
    free(config->key_file);
    wipe(config->key_password);
    free(config);
}
