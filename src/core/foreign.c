/* SPDX-License-Identifier: MIT
 * Those who tell by headers. Records of AWS are in foreign_aws.c. */
#define _GNU_SOURCE
#include "core/foreign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json_scan.h"
#include "core/foreign_inside.h"

/* ---- headers ---- */

static const struct sluice_bytes nothing;

struct sluice_bytes foreign_find(const struct foreign_headers *headers, const char *name, bool last)
{
    struct sluice_bytes found = nothing;
    size_t size = strlen(name);

    for (size_t i = 0; i < headers->count; i++) {
        const struct sluice_header *header = &headers->list[i];

        if (header->name.size != size || memcmp(header->name.data, name, size) != 0 ||
            !header->value.data)
            continue;
        found = header->value;
        if (!last)
            break;
    }
    return found;
}

bool foreign_number(struct sluice_bytes bytes, uint64_t *ret)
{
    const unsigned char *at = bytes.data;
    uint64_t number = 0;
    size_t digits = 0;

    if (!at || !bytes.size || bytes.size > 19)
        return false;
    while (digits < bytes.size && at[digits] >= '0' && at[digits] <= '9')
        number = number * 10 + (at[digits++] - '0');
    if (digits < bytes.size) {
        if (bytes.size != 4 && bytes.size != 8)
            return false;
        number = 0;
        for (size_t i = 0; i < bytes.size; i++)
            number = number << 8 | at[i];
    }
    if (number > INT64_MAX)
        return false;
    *ret = number;
    return true;
}

void foreign_take_place(struct foreign *foreign, const struct foreign_headers *headers,
                        const char *topic, const char *partition, const char *offset)
{
    uint64_t number;

    foreign->source = foreign_find(headers, topic, false);
    if (!foreign->source.size)
        foreign->source = nothing;
    if (foreign_number(foreign_find(headers, partition, false), &number) && number <= INT32_MAX)
        foreign->partition = (int32_t)number;
    if (foreign_number(foreign_find(headers, offset, false), &number)) {
        foreign->has_position = true;
        foreign->position = number;
    }
}

int64_t foreign_time(struct sluice_bytes text)
{
    struct tm parts = {0};
    const char *end;
    char copy[40];
    int ms = 0;

    if (!text.data || text.size >= sizeof copy)
        return 0;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    end = strptime(copy, "%Y-%m-%dT%H:%M:%S", &parts);
    if (!end)
        return 0;
    if (*end == '.')
        sscanf(end, ".%3d", &ms);
    return (int64_t)timegm(&parts) * 1000 + ms;
}

void foreign_say(struct foreign *foreign, const char *before, struct sluice_bytes text)
{
    size_t used = strlen(foreign->reason), room = sizeof foreign->reason - 1 - used;
    size_t size = text.size;
    char *at = foreign->reason + used;

    if (!text.data || !size)
        return;
    snprintf(at, room + 1, "%s", before);
    used = strlen(at);
    at += used;
    room -= used;
    if (size > room)
        size = room;
    for (size_t i = 0; i < size; i++) {
        char c = ((const char *)text.data)[i];

        at[i] = (char)(c == '\n' || c == '\r' || c == '\t' || !c ? ' ' : c);
    }
    at[size] = '\0';
}

/* ---- Kafka Connect ---- */

#define CONNECT "__connect.errors."

static bool read_connect(struct foreign *foreign, const struct foreign_headers *headers)
{
    if (!foreign_find(headers, CONNECT "topic", true).data &&
        !foreign_find(headers, CONNECT "exception.class.name", true).data)
        return false;
    foreign->by = "Kafka Connect";
    foreign_take_place(foreign, headers, CONNECT "topic", CONNECT "partition", CONNECT "offset");
    foreign_say(foreign, " ", foreign_find(headers, CONNECT "connector.name", true));
    foreign_say(foreign, ", ", foreign_find(headers, CONNECT "stage", true));
    foreign_say(foreign, ": ", foreign_find(headers, CONNECT "exception.class.name", true));
    foreign_say(foreign, ": ", foreign_find(headers, CONNECT "exception.message", true));
    foreign->answer = foreign_find(headers, CONNECT "exception.stacktrace", true);
    return true;
}

/* ---- Spring Kafka ---- */

#define SPRING "kafka_dlt-"

static bool read_spring(struct foreign *foreign, const struct foreign_headers *headers)
{
    struct sluice_bytes cause = foreign_find(headers, SPRING "exception-cause-fqcn", true), message;
    uint64_t number;

    if (!foreign_find(headers, SPRING "original-topic", true).data &&
        !foreign_find(headers, SPRING "exception-fqcn", true).data &&
        !foreign_find(headers, SPRING "key-exception-fqcn", true).data)
        return false;
    foreign->by = "Spring Kafka";
    /* Topics of retries lie between: the first place is told besides. */
    if (foreign_find(headers, "kafka_original-topic", false).data)
        foreign_take_place(foreign, headers, "kafka_original-topic", "kafka_original-partition",
                   "kafka_original-offset");
    else
        foreign_take_place(foreign, headers, SPRING "original-topic", SPRING "original-partition",
                   SPRING "original-offset");
    if (foreign_number(foreign_find(headers, SPRING "original-timestamp", false), &number) && number) {
        struct sluice_bytes kind = foreign_find(headers, SPRING "original-timestamp-type", false);

        foreign->timestamp_ms = (int64_t)number;
        foreign->timestamp_kind = kind.size == 13 && !memcmp(kind.data, "LogAppendTime", 13)
                                      ? SLUICE_TIMESTAMP_APPENDED
                                      : SLUICE_TIMESTAMP_CREATED;
    }
    if (foreign_number(foreign_find(headers, "retry_topic-attempts", true), &number) && number <= UINT32_MAX)
        foreign->attempts = (uint32_t)number;
    if (!cause.data)
        cause = foreign_find(headers, SPRING "exception-fqcn", true);
    if (!cause.data)
        cause = foreign_find(headers, SPRING "key-exception-fqcn", true);
    message = foreign_find(headers, SPRING "exception-message", true);
    if (!message.data)
        message = foreign_find(headers, SPRING "key-exception-message", true);
    foreign_say(foreign, ", group ", foreign_find(headers, SPRING "original-consumer-group", true));
    foreign_say(foreign, ": ", cause);
    foreign_say(foreign, ": ", message);
    foreign->answer = foreign_find(headers, SPRING "exception-stacktrace", true);
    if (!foreign->answer.data)
        foreign->answer = foreign_find(headers, SPRING "key-exception-stacktrace", true);
    return true;
}

/* ---- RabbitMQ ---- */

/* What is at `index` (-1: the table itself), `name` of x-death, as text; absent where nothing is. */
static struct sluice_bytes death(struct sluice_bytes deaths, const char *name, const char *below)
{
    const struct json_scan_step path[] = {
        {"0", 1, 0}, {name, strlen(name), -1}, {below ? below : "", below ? strlen(below) : 0, 0}};
    struct json_scan_value value;

    if (!deaths.data || !json_scan(deaths.data, deaths.size, path, below ? 3 : 2, &value) ||
        !value.text)
        return nothing;
    return (struct sluice_bytes){value.text, value.size};
}

static bool read_rabbitmq(struct foreign *foreign, const struct foreign_headers *headers)
{
    struct sluice_bytes deaths = foreign_find(headers, "x-death", true);
    struct sluice_bytes queue = foreign_find(headers, "x-first-death-queue", false);
    struct sluice_bytes last = death(deaths, "queue", NULL);
    uint64_t number;

    if (!queue.data)
        queue = last;
    if (!queue.data || !queue.size)
        return false;
    foreign->by = "RabbitMQ";
    foreign->source = queue;
    /* The newest death comes first; one that dies in the same way again is counted up. */
    if (foreign_number(death(deaths, "count", NULL), &number) && number <= UINT32_MAX)
        foreign->attempts = (uint32_t)number;
    if (foreign_number(death(deaths, "time", "$timestamp"), &number) && number < UINT32_MAX)
        foreign->failed_ms = (int64_t)number * 1000;
    foreign_say(foreign, ": ",
                deaths.data ? death(deaths, "reason", NULL)
                            : foreign_find(headers, "x-first-death-reason", false));
    foreign_say(foreign, " from queue ", last.data ? last : queue);
    if (last.data && (last.size != queue.size || memcmp(last.data, queue.data, last.size) != 0))
        foreign_say(foreign, ", first from ", queue);
    foreign_say(foreign, ", exchange ", death(deaths, "exchange", NULL));
    foreign_say(foreign, ", routing key ", death(deaths, "routing-keys", "0"));
    return true;
}

/* ---- a queue that a redrive policy of SQS's names ---- */

static bool read_sqs(struct foreign *foreign, const struct foreign_headers *headers)
{
    struct sluice_bytes arn = foreign_find(headers, "sqs:DeadLetterQueueSourceArn", true);
    const char *colon = arn.data ? memrchr(arn.data, ':', arn.size) : NULL;

    if (!colon || colon + 1 == (const char *)arn.data + arn.size)
        return false;
    foreign->by = "Amazon SQS";
    foreign->source =
        (struct sluice_bytes){colon + 1,
                              (size_t)((const char *)arn.data + arn.size - colon - 1)};
    foreign_say(foreign, ": received as often as the redrive policy allows from queue ",
                foreign->source);
    return true;
}

/* ---- the dead letter queue of a function of AWS's ---- */

static bool read_function(struct foreign *foreign, const struct foreign_headers *headers)
{
    struct sluice_bytes message = foreign_find(headers, "ErrorMessage", true);
    uint64_t status;

    if (!foreign_find(headers, "RequestID", true).data || !foreign_find(headers, "ErrorCode", true).data)
        return false;
    foreign->by = "AWS Lambda";
    if (foreign_number(foreign_find(headers, "ErrorCode", true), &status) && status <= 999)
        foreign->status = (uint32_t)status;
    foreign_say(foreign, ": ", message);
    foreign->answer = message;
    return true;
}

void foreign_read(const struct sluice_message *message, const struct sluice_header *headers,
                  size_t count, struct foreign *ret_foreign)
{
    const struct foreign_headers all = {headers, count};
    struct foreign *foreign = ret_foreign;
    char said[FOREIGN_REASON];

    *foreign = (struct foreign){.partition = -1, .class = DEAD_FOREIGN};
    if (foreign_sluice_read(foreign, &all, message))
        return; /* in its own words */
    if (!read_spring(foreign, &all) && !read_connect(foreign, &all) &&
        !foreign_aws_read(foreign, &message->payload) && !read_rabbitmq(foreign, &all) &&
        !read_function(foreign, &all) && !read_sqs(foreign, &all))
        return;
    memcpy(said, foreign->reason, sizeof said);
    snprintf(foreign->reason, sizeof foreign->reason, "%s%.*s", foreign->by,
             (int)(sizeof said - 1 - strlen(foreign->by)), said);
}

void foreign_fini(struct foreign *foreign)
{
    free(foreign->memory);
}
