/* SPDX-License-Identifier: MIT
 * What a dead letter tells where it is published: the headers that it gets beside those of its message,
 * and AWS's record of a failure. No I/O. */
#ifndef CORE_LETTER_STORY_H
#define CORE_LETTER_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/message.h>

#include "base/buffer.h"
#include "core/dead_letter.h"

/* Names that others give the same, beside ours; bits. */
#define LETTER_KAFKA_CONNECT 1u /* `__connect.errors.*`: texts, as Kafka Connect writes them */
#define LETTER_SPRING        2u /* `kafka_dlt-*`: numbers in big-endian bytes, as Spring for Kafka has them */
#define LETTER_RABBITMQ      4u /* `x-death`, `x-first-death-*`, as RabbitMQ writes them */
#define LETTER_CLOUDEVENTS   8u /* CloudEvents in binary mode, with Knative's error extensions */

enum letter_format {
    LETTER_MESSAGE, /* key and payload of the message, byte by byte */
    LETTER_AWS      /* AWS's on-failure record for Kafka, as JSON */
};

struct letter_place {
    const char *connector; /* `kafka`: decides how others' names are written */
    bool keeps_keys;       /* else the key becomes the header sluice-key */
    bool lacks_headers;    /* what tells where a letter is kept is in the payload */
    unsigned styles;
    const char *source_connector; /* what the message came from: the kind of source */
    const char *servers;          /* of the source, as configured */
    const char *target;           /* URL of the function, without what is secret in one */
    const char *group;            /* of the source's consumers; NULL: none */
};

/* Headers with the memory that they point to. */
struct letter_story {
    struct sluice_header *headers;
    size_t count;
    struct buffer text;
};

/* Headers of the message, but for earlier ones of our own names, then ours: sluice-id, -mapping,
 * -revision, -class, -error, -status, -attempts, -token, -connector, -source, -partition, -position,
 * -timestamp, -first-failure, -last-failure, -response, -key; what is absent is left out; times as
 * 2026-01-31T08:00:00.000Z. Then those of the styles. `kept_at` (NULL: nowhere): the host where the payload is kept under the
 * letter's id, as it did not fit; of the message's own headers there are none then, and a long key is
 * left out. The letter's headers are borrowed for the life of the story. With `text.full` it would have
 * been more than 16 MiB: it is not whole, and not to be published. */
void letter_story_write(struct letter_story *story, const struct dead_letter *letter,
                        const struct letter_place *place, const char *kept_at);
void letter_story_fini(struct letter_story *story);

/* Appends AWS's record, which is whole unless the buffer is full: requestContext, responseContext, version,
 * timestamp, the batch's information (KafkaBatchInfo, or MessageBatchInfo for what is not Kafka) and as
 * `payload` the event with that one message, in AWS's shape where there is one for the source, else in
 * sluice's. */
void letter_aws_write(struct buffer *out, const struct dead_letter *letter,
                      const struct letter_place *place);

/* Appends the word of a letter that is kept elsewhere (`kept_at` of letter_story_write), for a place that knows
 * no headers: our own headers of the story as members of an object, in the same order, T as in letter_aws.c:
 *   {"sluice-id":"01M8H13YK4JFMZ4TSX2JQNBHQY","sluice-mapping":"orders",...,"sluice-payload-kept":"host-1"}
 * foreign_word.c reads it. */
void letter_word_write(struct buffer *out, const struct letter_story *story);
/* Appends T. */
void letter_add_bytes(struct buffer *out, const struct sluice_bytes *bytes);

#define LETTER_TIME 32
/* 2026-01-31T08:00:00.000Z */
const char *letter_time(int64_t wall_us, char text[LETTER_TIME]);

#endif
