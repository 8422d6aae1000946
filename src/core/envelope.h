/* SPDX-License-Identifier: MIT
 * The body of an invocation, written straight into a buffer (no document tree).
 *
 * lambda: AWS's event for the kind of source; for Kafka `SelfManagedKafka`, for RabbitMQ `aws:rmq`, for SQS
 *         `aws:sqs` (AWS Lambda developer guide, event shapes).
 * json:   {"mapping":..., "records":[{"token":..., "attempt":..., "source":..., "partition":...,
 *         "position":..., "timestamp":..., "key":..., "value":..., "headers":[...]}]}; a value that is
 *         valid JSON is embedded as such, valid UTF-8 as a string, anything else as
 *         {"base64": "..."}.
 * raw:    the payload of the one message, byte for byte. */
#ifndef CORE_ENVELOPE_H
#define CORE_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/message.h>

#include "base/buffer.h"
#include "core/settings.h"

/* One message as the envelope needs it. All pointers are borrowed. */
struct envelope_record {
    const struct sluice_message *message;
    const struct sluice_header *headers;
    size_t header_count;
    const char *source; /* topic or queue */
    int32_t partition;  /* -1: none */
    const char *token;  /* not NUL-terminated */
    size_t token_size;
    uint32_t attempt; /* 1 for the first, deliveries that the source counted included */
};

struct envelope_context {
    enum envelope_format format;
    const char *mapping;
    const char *kind;      /* of source: the connector, `kafka`; of several dialects, that: `sqs` */
    const char *servers;   /* `h1:9092,h2:9092`, as configured */
};

/* Whether there is an event of AWS's for this kind of source. */
bool envelope_has_lambda(const char *kind);

/* Appends the body for `count` messages (for raw exactly 1). Records of one lane stay in their
 * order. Watch buffer->full. */
void envelope_write(struct buffer *buffer, const struct envelope_context *context,
                    const struct envelope_record *records, size_t count);

/* `application/json`, for raw `application/octet-stream` or `application/json` by the payload's
 * first byte. */
const char *envelope_content_type(const struct envelope_context *context,
                                  const struct envelope_record *records);

#endif
