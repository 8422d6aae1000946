/* SPDX-License-Identifier: MIT
 * What another system wrote about a message that it gave up on:
 *
 *   sluice          headers `sluice-source`, `sluice-error` and so on, in a place that another mapping names
 *                   as its dead_letter.to
 *   Kafka Connect   headers `__connect.errors.topic`, `.partition`, `.offset` and so on, as text
 *                   (errors.deadletterqueue.context.headers.enable, KIP-298)
 *   Spring Kafka    headers `kafka_dlt-original-topic`, `-partition`, `-offset`, `kafka_dlt-exception-...`
 *                   (DeadLetterPublishingRecoverer), numbers big-endian; `kafka_original-...` where it was
 *                   retried in topics of its own
 *   RabbitMQ        headers `x-death` (a table, as the connector writes it: JSON), `x-first-death-...`
 *   AWS             the record of a failure destination: an event source mapping's for Kafka, with or
 *                   without the message, or that of an asynchronous invocation; a function's own dead
 *                   letter queue (attributes RequestID, ErrorCode, ErrorMessage)
 *   Amazon SQS      header `sqs:DeadLetterQueueSourceArn`, as the connector writes that attribute, in a
 *                   queue that a redrive policy names */
#ifndef CORE_FOREIGN_H
#define CORE_FOREIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/dead_letter.h"

#define FOREIGN_REASON 512

/* Slices are of the message that was read, or of `memory`. */
struct foreign {
    const char *by;             /* who gave it up, for people; NULL: nobody that is known here */
    struct sluice_bytes source; /* topic or queue that it came from; absent: not told */
    int32_t partition;          /* -1: none */
    bool has_position;
    uint64_t position;
    int64_t timestamp_ms;       /* the message's own, */
    uint32_t timestamp_kind;    /* SLUICE_TIMESTAMP_NONE: not told */
    int64_t failed_ms;          /* when it was given up; 0: not told */
    uint32_t attempts;          /* 0: not told */
    uint32_t status;            /* of the function's last answer; 0: none, or not told */
    enum dead_letter_class class;
    struct sluice_bytes token;  /* absent: not told */
    struct sluice_bytes answer; /* what the function said, or where it failed; absent: not told */
    bool has_message;           /* the message itself is within: key, payload and headers are its own */
    struct sluice_bytes key, payload;
    const struct sluice_header *headers;
    size_t header_count;
    bool is_whole; /* the message had no timestamp, id or key where none is told */
    struct sluice_bytes message_id;
    char reason[FOREIGN_REASON]; /* one sentence; "" where nobody is known */
    void *memory;
};

/* Reads what came. Anything may be missing or nonsense: what cannot be read is not told. */
void foreign_read(const struct sluice_message *message, const struct sluice_header *headers,
                  size_t count, struct foreign *ret_foreign);
void foreign_fini(struct foreign *foreign);

#endif
