/* SPDX-License-Identifier: MIT
 * Options, and the configuration that they come to. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "http.h"

static const struct http_dialect *const dialects[] = {&sqs_dialect, &cloudflare_dialect, &pubsub_dialect,
                                                      &generic_dialect};
static const char *const dialect_names[] = {"sqs", "cloudflare", "pubsub", "generic", NULL};
static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", NULL};
static const char *const authentications[] = {"key", "metadata", "none", NULL};
static const char *const credentials[] = {"keys",      "environment", "profile", "web_identity",
                                          "container", "instance",    "none",    NULL};
static const char *const encodings[] = {"text", "base64", NULL};

/* One call of the dialect generic. */
#define CALL(call, what) CALL_BY("POST", call, what)
#define CALL_BY(by, call, what)                                                                    \
    {.name = "generic." call ".url", .type = SLUICE_STRING, .help = "Address that " what "."},     \
    {.name = "generic." call ".method", .type = SLUICE_ENUM, .default_text = by,                   \
     .choices = methods, .help = "Method of that request."},                                       \
    {.name = "generic." call ".body", .type = SLUICE_STRING, .help = "Body of that request."}

const struct sluice_option http_options[] = {
    {.name = "dialect", .type = SLUICE_ENUM, .flags = SLUICE_OPTION_REQUIRED, .choices = dialect_names,
     .help = "Which API the queue has."},
    {.name = "url", .type = SLUICE_STRING, .flags = SLUICE_OPTION_SERVERS,
     .help = "Address of the API, where it is not the provider's own (sqs, cloudflare, pubsub)."},
    {.name = "token", .type = SLUICE_SECRET,
     .help = "Token of cloudflare; what {secret} stands for in generic."},
    {.name = "lease", .type = SLUICE_DURATION, .default_text = "2m", .minimum = HTTP_SECOND,
     .maximum = 12 * 3600 * HTTP_SECOND,
     .help = "How long a received message is kept from others; renewed while it is worked on, where "
             "the API can."},
    {.name = "receives", .type = SLUICE_INT, .default_text = "4", .minimum = 1,
     .maximum = HTTP_RECEIVES_MOST,
     .help = "Receiving requests at a time, at most, when many messages wait."},
    {.name = "poll.least", .type = SLUICE_DURATION, .default_text = "500ms",
     .minimum = HTTP_SECOND / 100, .maximum = 3600 * HTTP_SECOND,
     .help = "Pause after a receive that brought nothing."},
    {.name = "poll.most", .type = SLUICE_DURATION, .default_text = "10s", .minimum = HTTP_SECOND / 100,
     .maximum = 3600 * HTTP_SECOND,
     .help = "The pause doubles up to this while nothing comes."},
    {.name = "timeout", .type = SLUICE_DURATION, .default_text = "30s", .minimum = HTTP_SECOND / 10,
     .maximum = 600 * HTTP_SECOND,
     .help = "How long the server may take to answer."},
    {.name = "connect_timeout", .type = SLUICE_DURATION, .default_text = "10s",
     .minimum = HTTP_SECOND / 10, .maximum = 300 * HTTP_SECOND, .flags = SLUICE_OPTION_ADVANCED,
     .help = "How long a connection may take."},
    {.name = "answer_bytes", .type = SLUICE_BYTES, .default_text = "32 MiB", .minimum = 65536,
     .maximum = INT64_C(1) << 30, .flags = SLUICE_OPTION_ADVANCED,
     .help = "The largest answer that is taken."},
    {.name = "tls.ca_file", .type = SLUICE_STRING, .flags = SLUICE_OPTION_FILE,
     .help = "Certificates to trust instead of the system's."},
    {.name = "tls.certificate_file", .type = SLUICE_STRING, .flags = SLUICE_OPTION_FILE,
     .help = "Own certificate, for servers that ask for one."},
    {.name = "tls.key_file", .type = SLUICE_STRING, .flags = SLUICE_OPTION_FILE,
     .help = "Key of the own certificate."},
    {.name = "tls.key_password", .type = SLUICE_SECRET, .help = "Password of the key."},
    {.name = "tls.verify", .type = SLUICE_BOOL, .default_text = "true",
     .help = "Whether to check the server's certificate and name."},

    {.name = "sqs.queue", .type = SLUICE_STRING, .help = "The queue's name, or its URL."},
    {.name = "sqs.region", .type = SLUICE_STRING,
     .help = "The queue's region (default: that of its URL, AWS_REGION, or the profile's)."},
    {.name = "sqs.account", .type = SLUICE_STRING,
     .help = "The account that owns a queue that is given by name (default: that of the keys)."},
    {.name = "sqs.wait", .type = SLUICE_DURATION, .default_text = "20s", .maximum = 20 * HTTP_SECOND,
     .flags = SLUICE_OPTION_ADVANCED,
     .help = "How long SQS holds a receive open until there is a message, in whole seconds."},
    {.name = "sqs.credentials", .type = SLUICE_ENUM, .choices = credentials,
     .help = "Where keys come from (default: the first that is found, as sluice-http(7) says); none "
             "signs no request."},
    {.name = "sqs.access_key_id", .type = SLUICE_STRING, .help = "Id of an access key."},
    {.name = "sqs.secret_access_key", .type = SLUICE_SECRET, .help = "Secret of that key."},
    {.name = "sqs.session_token", .type = SLUICE_SECRET,
     .help = "Session of that key, where it is a temporary one."},
    {.name = "sqs.profile", .type = SLUICE_STRING,
     .help = "Profile of the shared files of AWS (default: AWS_PROFILE, or default)."},

    {.name = "cloudflare.account", .type = SLUICE_STRING, .help = "The account's id."},
    {.name = "cloudflare.queue", .type = SLUICE_STRING, .help = "The queue's id (not its name)."},

    {.name = "pubsub.project", .type = SLUICE_STRING, .help = "Id of the Google Cloud project."},
    {.name = "pubsub.subscription", .type = SLUICE_STRING, .help = "Name of the pull subscription."},
    {.name = "pubsub.topic", .type = SLUICE_STRING,
     .help = "Topic to publish to where none is named."},
    {.name = "pubsub.authentication", .type = SLUICE_ENUM, .choices = authentications,
     .help = "By a service account's key, by the machine's metadata server, or none (default: key if "
             "there is one, none with PUBSUB_EMULATOR_HOST, else metadata)."},
    {.name = "pubsub.key", .type = SLUICE_SECRET,
     .help = "Content of the service account's JSON key file, by !file or !credential."},

    {.name = "generic.queue", .type = SLUICE_STRING,
     .help = "Name of the queue in status and metrics (default: the server's address)."},
    {.name = "generic.headers", .type = SLUICE_MAP, .help = "Headers of all requests."},
    CALL("receive", "gives messages"),
    {.name = "generic.list", .type = SLUICE_STRING,
     .help = "JSON Pointer to the list of messages in that answer (default: the answer itself)."},
    {.name = "generic.id", .type = SLUICE_STRING, .help = "JSON Pointer to the id in a message."},
    {.name = "generic.receipt", .type = SLUICE_STRING,
     .help = "JSON Pointer to what names this delivery of the message (default: its id)."},
    {.name = "generic.body", .type = SLUICE_STRING, .help = "JSON Pointer to the body in a message."},
    {.name = "generic.encoding", .type = SLUICE_ENUM, .default_text = "text", .choices = encodings,
     .help = "How bodies that are texts are encoded."},
    {.name = "generic.attempts", .type = SLUICE_STRING,
     .help = "JSON Pointer to how often a message was delivered, this time counted."},
    {.name = "generic.key", .type = SLUICE_STRING,
     .help = "JSON Pointer to what keeps messages in order: those of one key are a lane."},
    {.name = "generic.error", .type = SLUICE_STRING,
     .help = "JSON Pointer to an error in an answer whose status says success."},
    CALL("ack", "takes a message out of the queue"),
    CALL("release", "gives a message back"),
    CALL("extend", "renews a message's lease"),
    {.name = "generic.extend.receipt", .type = SLUICE_STRING,
     .help = "JSON Pointer to the new receipt in that answer, where each renewal gives one."},
    CALL("publish", "takes a new message"),
    {.name = "generic.publish.content_type", .type = SLUICE_STRING,
     .help = "Content-Type of that request (default: that of generic.headers, or application/json)."},
    CALL_BY("GET", "check", "tells whether messages would be taken, for `sluice check --connect`"),
    {.name = NULL},
};

/* ---- what a source can do ---- */

/* Whether the queue that `sqs.queue` names, by URL or not, is a FIFO queue. */
static bool is_fifo(const char *queue)
{
    size_t size = queue ? strlen(queue) : 0;

    return size > 5 && !strcmp(queue + size - 5, ".fifo");
}

uint32_t http_capabilities(const struct sluice_values_api *api, const struct sluice_values *values)
{
    const char *dialect = api->text(values, "dialect");
    uint32_t can = HTTP_CAPABILITIES;

    if (!dialect)
        return can;
    if (!strcmp(dialect, "sqs"))
        return is_fifo(api->text(values, "sqs.queue")) ? can | SLUICE_IS_ORDERED : can & ~SLUICE_HAS_KEY;
    if (!strcmp(dialect, "pubsub"))
        return can;
    can = (can | SLUICE_LACKS_HEADERS) & ~HTTP_CAN_LOOK; /* cloudflare and generic */
    return strcmp(dialect, "generic") || !api->is_set(values, "generic.key") ? can & ~SLUICE_HAS_KEY : can;
}

/* ---- the configuration ---- */

static char *copy_of(const struct http_reader *reader, const char *name)
{
    const char *text = http_text(reader, name);

    return text ? strdup(text) : NULL;
}

static void read_wire(struct http_reader *reader, struct http_wire_options *wire)
{
    wire->connect_timeout_us = http_number(reader, "connect_timeout");
    wire->answer_most = (size_t)http_number(reader, "answer_bytes");
    wire->ca_file = copy_of(reader, "tls.ca_file");
    wire->certificate_file = copy_of(reader, "tls.certificate_file");
    wire->key_file = copy_of(reader, "tls.key_file");
    wire->key_password = copy_of(reader, "tls.key_password");
    wire->verify = http_number(reader, "tls.verify");
    if (!wire->certificate_file != !wire->key_file)
        http_refuse(reader, wire->key_file ? "tls.key_file" : "tls.certificate_file",
                    "goes with tls.%s, which is missing", wire->key_file ? "certificate_file" : "key_file");
}

/* What belongs to another dialect would be ignored in silence. */
static void refuse_others(struct http_reader *reader, const char *dialect)
{
    for (const struct sluice_option *option = http_options; option->name; option++) {
        const char *dot = strchr(option->name, '.');
        size_t group = dot ? (size_t)(dot - option->name) : 0;

        if (!dot || option->default_text || (strlen(dialect) == group &&
                                             !strncmp(option->name, dialect, group)))
            continue;
        for (size_t i = 0; dialect_names[i]; i++)
            if (strlen(dialect_names[i]) == group && !strncmp(option->name, dialect_names[i], group) &&
                http_is_set(reader, option->name))
                http_refuse(reader, option->name, "belongs to dialect: %s, and this is dialect: %s",
                            dialect_names[i], dialect);
    }
}

static void read_dialect(struct http_reader *reader, struct http_config *config)
{
    const char *name = http_text(reader, "dialect");

    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++)
        if (name && !strcmp(dialects[i]->name, name))
            config->dialect = dialects[i];
    if (!config->dialect)
        return;
    refuse_others(reader, name);
    if (!strcmp(name, "pubsub") && http_is_set(reader, "token"))
        http_refuse(reader, "token", "is not used by the dialect pubsub: it has pubsub.key");
    if (!strcmp(name, "sqs") && http_is_set(reader, "token"))
        http_refuse(reader, "token", "is not used by the dialect sqs: it has sqs.secret_access_key");
    config->instance = config->dialect->open(reader, config->lease_us, &config->can);
    if (config->instance && !reader->refused && config->lease_us > config->can.lease_most_us)
        http_refuse(reader, "lease", "found %lld s, expected at most %lld s, as %s allows no more",
                    (long long)(config->lease_us / HTTP_SECOND),
                    (long long)(config->can.lease_most_us / HTTP_SECOND), name);
}

struct http_config *http_config_new(const struct sluice_host_api *api, const struct sluice_values *values,
                                    bool publishing)
{
    struct http_config *config = calloc(1, sizeof *config);
    struct http_reader reader = {api, values, false, publishing};

    if (!config)
        return NULL;
    config->lease_us = http_number(&reader, "lease");
    config->receives = (unsigned)http_number(&reader, "receives");
    config->poll_least_us = http_number(&reader, "poll.least");
    config->poll_most_us = http_number(&reader, "poll.most");
    config->timeout_us = http_number(&reader, "timeout");
    if (config->poll_most_us < config->poll_least_us)
        http_refuse(&reader, "poll.most", "is less than poll.least");
    read_wire(&reader, &config->wire);
    read_dialect(&reader, config);
    if (!reader.refused && config->instance)
        return config;
    http_config_free(config);
    return NULL;
}

static void wipe(const char *secret)
{
    if (secret)
        explicit_bzero((char *)(uintptr_t)secret, strlen(secret));
    free((char *)(uintptr_t)secret);
}

void http_config_free(struct http_config *config)
{
    if (!config)
        return;
    if (config->instance)
        config->dialect->close(config->instance);
    free((char *)(uintptr_t)config->wire.ca_file);
    free((char *)(uintptr_t)config->wire.certificate_file);
    free((char *)(uintptr_t)config->wire.key_file);
    wipe(config->wire.key_password);
    free(config);
}
