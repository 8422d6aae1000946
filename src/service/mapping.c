/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/mapping.h"

#include <stdlib.h>
#include <string.h>

#include <sluice/connector.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/filter.h"
#include "service/options.h"
#include "service/secret.h"

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)

/* The orders are those of the enums in core/settings.h. */
static const char *const orders[] = {"lane", "key", "none", NULL};
static const char *const missing[] = {"dead_letter", "position", NULL};
static const char *const conflicts[] = {"dead_letter", "invoke", "drop", NULL};
static const char *const formats[] = {"lambda", "json", "raw", NULL};
static const char *const stores[] = {"local", NULL};
static const char *const received[] = {"messages", "dead_letters", NULL};
static const char *const letter_formats[] = {"message", "aws", NULL};
static const char *const filtered[] = {"drop", "dead_letter", NULL};
static const char *const never[] = {"never", NULL};
static const char *const fulls[] = {"wait", "drop_oldest", NULL};

#define REQUIRED SLUICE_OPTION_REQUIRED
#define ADVANCED SLUICE_OPTION_ADVANCED

const struct sluice_option mapping_table[] = {
    {"source", OPTION_ELSEWHERE, REQUIRED, NULL, 0, 0, NULL,
     "Where messages come from: one connector and its options, as `kafka: { brokers: ... }`."},
    {"receive", SLUICE_ENUM, 0, "messages", 0, 0, received,
     "What the source holds: messages for the function; or dead letters of something else, which are kept "
     "as such and reach the function when they are replayed."},
    {"filter", OPTION_ELSEWHERE, 0, NULL, 0, 0, NULL,
     "Which messages to take: a pattern, or a list of which one must match, as "
     "`- value: { status: [paid] }`; all if unset."},
    {"on_filtered", SLUICE_ENUM, 0, "drop", 0, 0, filtered,
     "What becomes of a message that the filter leaves out: it is dropped, or kept as a dead letter."},

    {"batch.size", SLUICE_INT, 0, "100", 1, 10000, NULL,
     "Messages in a batch at most; 1 where target.format is raw."},
    {"batch.bytes", SLUICE_BYTES, 0, "1 MiB", KIB, 256 * MIB, NULL,
     "Bytes of keys and payloads in a batch at most; a larger message goes alone."},
    {"batch.window", SLUICE_DURATION, 0, "200ms", 0, 5 * CLOCK_MINUTE, NULL,
     "How long a batch waits for more, from its oldest message on; 0: it does not wait."},

    {"order", SLUICE_ENUM, 0, NULL, 0, 0, orders,
     "What is kept in order: each lane, the messages of each key, or nothing; lane where the "
     "source "
     "is ordered, else none."},

    {"idempotency.token", SLUICE_STRING, 0, NULL, 0, 0, NULL,
     "What names a message: position, message_id, key, hash, header:NAME, or a JSON Pointer into "
     "the payload such as /order/id; position where the source gives a message the same one each "
     "time (Kafka), else message_id."},
    {"idempotency.ttl", SLUICE_DURATION, 0, "24h", CLOCK_SECOND, 366 * CLOCK_DAY, NULL,
     "How long a token is remembered, and a message with it taken for a duplicate."},
    {"idempotency.on_missing", SLUICE_ENUM, 0, NULL, 0, 0, missing,
     "What becomes of a message without a token: a dead letter, or it is named by its position; "
     "dead_letter where idempotency.token is set, else position."},
    {"idempotency.on_conflict", SLUICE_ENUM, 0, "dead_letter", 0, 0, conflicts,
     "What becomes of a message whose token was seen with another payload: a dead letter, "
     "invoked all the same, or dropped."},

    {"target.http.url", SLUICE_STRING, REQUIRED, NULL, 0, 0, NULL,
     "Address of the function, http:// or https://."},
    {"target.http.timeout", SLUICE_DURATION, 0, "30s", 100 * CLOCK_MS, CLOCK_DAY, NULL,
     "How long an invocation may take in all."},
    {"target.http.connect_timeout", SLUICE_DURATION, 0, "5s", 10 * CLOCK_MS, 5 * CLOCK_MINUTE, NULL,
     "How long resolving, connecting and TLS may take; at most target.http.timeout."},
    {"target.http.concurrency", OPTION_INT_RANGE, 0, "1..32", 1, 1000, NULL,
     "Invocations in flight for each poller: a number, or a range to adapt within."},
    {"target.http.auth.basic.username", SLUICE_STRING, 0, NULL, 0, 0, NULL,
     "User name for HTTP basic authentication."},
    {"target.http.auth.basic.password", SLUICE_SECRET, 0, NULL, 0, 0, NULL,
     "Password for HTTP basic authentication."},
    {"target.http.auth.bearer", SLUICE_SECRET, 0, NULL, 0, 0, NULL,
     "Token for `Authorization: Bearer`."},
    {"target.http.headers", SLUICE_MAP, 0, NULL, 0, 0, NULL,
     "Headers to send along, name to value."},
    {"target.http.tls.ca_file", OPTION_PATH, 0, NULL, 0, 0, NULL,
     "Certificates (PEM) that the function's is checked against; the system's if unset."},
    {"target.http.tls.certificate_file", OPTION_PATH, 0, NULL, 0, 0, NULL,
     "Certificate (PEM) that sluice shows to the function."},
    {"target.http.tls.key_file", OPTION_PATH, 0, NULL, 0, 0, NULL,
     "Private key (PEM) of certificate_file."},
    {"target.http.tls.key_password", SLUICE_SECRET, 0, NULL, 0, 0, NULL, "Password of key_file."},
    {"target.http.tls.verify", SLUICE_BOOL, 0, "true", 0, 0, NULL,
     "Whether the function's certificate is checked; false only for tests."},
    {"target.http.response_limit", SLUICE_BYTES, ADVANCED, "1 MiB", KIB, 64 * MIB, NULL,
     "Bytes of an answer that are read at most; a longer answer counts as failed."},
    {"target.http.unix_socket", OPTION_PATH, ADVANCED, NULL, 0, 0, NULL,
     "Connect to this Unix socket instead of the address in the URL."},
    {"target.format", SLUICE_ENUM, 0, "json", 0, 0, formats,
     "The body: AWS Lambda's event for the kind of source, sluice's own JSON, or the payload of "
     "one "
     "message as it is."},
    {"target.report_failures", SLUICE_BOOL, 0, "false", 0, 0, NULL,
     "Whether the function's answer names the messages that failed (batchItemFailures)."},

    {"retry.attempts", SLUICE_INT, 0, "5", 1, 10000, NULL,
     "Counted attempts of a message before it may be given up; one more decides where "
     "nothing else succeeded between the last two."},
    {"retry.backoff", OPTION_DURATION_RANGE, 0, "200ms..30s", CLOCK_MS, CLOCK_DAY, NULL,
     "Pause before the second attempt, and the longest; it doubles between, with jitter."},
    {"retry.probe", OPTION_DURATION_RANGE, 0, "30s..10m", CLOCK_MS, CLOCK_DAY, NULL,
     "How long a paused mapping waits before it tries a single invocation again: first..most."},
    {"retry.age", SLUICE_DURATION, 0, "0s", 0, 366 * CLOCK_DAY, NULL,
     "How long after its first failure a message is tried at most; 0: no limit."},
    {"retry.patience", SLUICE_DURATION, 0, "2m", 0, CLOCK_DAY, NULL,
     "How long a message to be given up waits for another to succeed, which proves that the "
     "function is not to blame; 0: it does not wait, every failure counts."},
    {"retry.split", SLUICE_BOOL, 0, "true", 0, 0, NULL,
     "Whether a failing batch is tried again in halves, to find the bad message."},
    {"retry.park_after", SLUICE_DURATION, 0, "1m", CLOCK_SECOND, 366 * CLOCK_DAY, never,
     "A message that waits longer for its retry is parked: it moves to the state directory, is settled "
     "at its source, and is tried again when it is due; never: it waits at its source."},
    {"retry.park_bytes", SLUICE_BYTES, ADVANCED, "1 GiB", MIB, 64 * 1024 * 1024 * MIB, NULL,
     "Bytes of parked messages of this mapping at most, 1 KiB more for each; beyond it they wait at "
     "their source."},

    {"dead_letter.store", SLUICE_ENUM, 0, "local", 0, 0, stores,
     "Where dead letters are kept: in the state directory."},
    {"dead_letter.to", OPTION_ELSEWHERE, 0, NULL, 0, 0, NULL,
     "Where dead letters go in place of the state directory: one connector and its options, as "
     "`kafka: { brokers: ..., topic: ... }`, or the name of another topic or queue at the source's "
     "own server."},
    {"dead_letter.headers", SLUICE_LIST, 0, NULL, 0, 0, NULL,
     "Whose names for the story of a dead letter it gets there besides sluice's own: kafka-connect, "
     "spring, rabbitmq, cloudevents."},
    {"dead_letter.format", SLUICE_ENUM, 0, "message", 0, 0, letter_formats,
     "What it is there: the message with its key and payload as they were, or AWS's record of a "
     "failure, which holds them."},
    {"dead_letter.keep", SLUICE_DURATION, 0, "30d", 0, 3660 * CLOCK_DAY, NULL,
     "How long dead letters are kept; 0: for ever."},
    {"dead_letter.max_count", SLUICE_INT, 0, "0", 0, INT64_C(1000000000), NULL,
     "Dead letters of this mapping at most, a batch more or less; 0: no limit."},
    {"dead_letter.max_bytes", SLUICE_BYTES, 0, "0", 0, 64 * 1024 * 1024 * MIB, NULL,
     "Bytes of keys, payloads and headers of its dead letters at most, a batch more or less; 0: no "
     "limit."},
    {"dead_letter.on_full", SLUICE_ENUM, 0, "wait", 0, 0, fulls,
     "What happens at those limits: the lane waits until there is room, or the oldest dead letters "
     "are dropped."},

    {"pollers", SLUICE_INT, 0, "1", 1, 64, NULL,
     "Consumers that this mapping joins the source with, each on a thread of its own."},
    {"buffer.messages", SLUICE_INT, ADVANCED, NULL, 1, 10000000, NULL,
     "Messages received and not yet done or given up, for each poller; held in all, with those whose "
     "record is not yet on disk, are up to four times as many. Twice what may be in flight, 1000 to "
     "100000, if unset. Where all have failed, up to 8 more come in to show whether the function "
     "lives."},
    {"buffer.bytes", SLUICE_BYTES, ADVANCED, NULL, KIB, 64 * 1024 * MIB, NULL,
     "Bytes of messages received and not yet finished, for each poller; 64 MiB or twice "
     "batch.bytes "
     "if unset."},
    {"buffer.distance", SLUICE_INT, ADVANCED, "100000", 1, 10000000, NULL,
     "Messages of a lane between the oldest unfinished and the newest received; at the bound the "
     "lane waits."},
    {"drain", SLUICE_DURATION, 0, NULL, 0, CLOCK_HOUR, NULL,
     "How long a stop waits for invocations in flight; 30s or target.http.timeout, the longer, if "
     "unset."},
    {0},
};

bool mapping_same(const struct mapping *one, const struct mapping *other)
{
    return one->connector == other->connector &&
           !memcmp(one->identity, other->identity, sizeof one->identity);
}

void mapping_free(struct mapping *mapping)
{
    struct http_settings *target;
    char **header;

    if (!mapping)
        return;
    target = &mapping->target;
    for (header = target->headers; header && *header; header++)
        secret_free(*header);
    free(target->headers);
    free(target->url);
    free(target->unix_socket);
    free(target->username);
    secret_free(target->password);
    secret_free(target->token);
    free(target->ca_file);
    free(target->certificate_file);
    free(target->key_file);
    secret_free(target->key_password);
    filter_free(mapping->filter);
    free(mapping->filter_text);
    free(mapping->rules.token.argument);
    free(mapping->name);
    free(mapping->file);
    free(mapping->source_group);
    if (!mapping->letters_to.is_source)
        options_free(mapping->letters_to.values);
    free(mapping->letters_to.name);
    free(mapping->letters_to.text);
    options_free(mapping->values);
    options_free(mapping->settings);
    free(mapping);
}

static void add_servers(const struct sluice_values *values, const struct sluice_option *option,
                        struct buffer *text)
{
    if (option->type == SLUICE_STRING && options_is_set(values, option->name))
        buffer_add_text(text, options_text(values, option->name));
    if (option->type != SLUICE_LIST)
        return;
    for (size_t i = 0; i < options_count(values, option->name); i++) {
        if (i)
            buffer_add(text, ",", 1);
        buffer_add_text(text, options_item(values, option->name, i, NULL));
    }
}

static bool trusts_any(const struct sluice_values *values)
{
    return values && options_known(values, "tls.verify") && !options_number(values, "tls.verify");
}

bool mapping_trusts_any_source(const struct mapping *mapping)
{
    return trusts_any(mapping->values);
}

bool mapping_trusts_any_place(const struct mapping *mapping)
{
    return !mapping->letters_to.is_source && trusts_any(mapping->letters_to.values);
}

const char *mapping_kind(const struct mapping *mapping)
{
    static const char option[] = "dialect";
    const char *dialect = mapping->values && options_known(mapping->values, option)
                              ? options_text(mapping->values, option)
                              : NULL;

    return dialect ? dialect : mapping->connector ? mapping->connector->name : "";
}

char *mapping_servers(const struct mapping *mapping)
{
    const struct sluice_option *option = options_table(mapping->values);
    struct buffer text;
    char *copy;

    buffer_init(&text, 1 << 16);
    for (; option->name; option++)
        if (option->flags & SLUICE_OPTION_SERVERS) {
            add_servers(mapping->values, option, &text);
            break;
        }
    copy = memory_text(buffer_text(&text));
    buffer_fini(&text);
    return copy;
}

/* Bits that come with an operation, which was looked for when the connector was loaded. */
#define WITH_OPERATION                                                                             \
    (SLUICE_CAN_DELAY | SLUICE_CAN_EXTEND | SLUICE_CAN_PUBLISH | SLUICE_CAN_BROWSE |               \
     SLUICE_CAN_PAUSE_LANE)

uint32_t mapping_capabilities(const struct sluice_connector *connector,
                              const struct sluice_values *values)
{
    if (!connector->capabilities_with)
        return connector->capabilities;
    return connector->capabilities_with(&options_api, values) &
           (connector->capabilities | ~WITH_OPERATION);
}
