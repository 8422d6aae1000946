/* SPDX-License-Identifier: MIT
 * What a broker sends, as the link reads it: the first byte says what the channel waits for, the rest are
 * AMQP's frames. */
#include "fuzz.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp_tcp_socket.h>
#endif

#include "link_inside.h"

#define LOOKS 16 /* of an input's first byte */

static struct rabbit_link *make_link(bool streams, int fd)
{
    struct rabbit_config *config = calloc(1, sizeof *config);
    struct rabbit_link *link;

    config->queues = calloc(1, sizeof *config->queues);
    config->queues[0] = strdup("q");
    config->queue_count = 1;
    config->servers = strdup("broker:5672");
    config->vhost = strdup("/");
    config->username = strdup("guest");
    config->connect_timeout_us = RABBIT_SECOND;
    config->begin = streams ? RABBIT_BEGIN_FIRST : RABBIT_NO_STREAM;
    link = rabbit_link_new(config, "ctag");
    link->bytes = 1 << 20;
    link->next_number = 2;
    link->connection = amqp_new_connection();
    amqp_tcp_socket_set_sockfd(amqp_tcp_socket_new(link->connection), fd);
    link->channels[0].number = 1;
    link->channels[0].prefetch = 100;
    link->channels[0].phase = RABBIT_OPENING;
    return link;
}

/* Every byte of it is there, and what is no string is JSON. */
static void read_message(const struct rabbit_message *message)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < message->payload.size; i++)
        sum += ((const unsigned char *)message->payload.data)[i];
    for (size_t i = 0; i < message->header_count; i++) {
        const struct sluice_header *header = &message->headers[i];

        for (size_t j = 0; j < header->name.size; j++)
            sum += ((const unsigned char *)header->name.data)[j];
        if (i + 1 < message->header_count && header[1].name.size == 14 && header->value.data &&
            !memcmp(header[1].name.data, "amqp:fieldType", 14) && header[1].value.size == 1 &&
            strchr("FAtDT", *(const char *)header[1].value.data)) {
            json_t *json = json_loadb(header->value.data, header->value.size,
                                      JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL,
                                      NULL);

            MUST(json);
            json_decref(json);
        }
    }
    MUST(sum != UINT64_MAX);
}

static void read_list(const struct rabbit_list *list)
{
    size_t count = 0;

    for (const struct rabbit_message *message = list->first; message; message = message->next) {
        read_message(message);
        count++;
    }
    MUST(count == list->count);
}

static void take_events(struct rabbit_link *link)
{
    struct rabbit_event *event = rabbit_link_events(link), *next;

    for (; event; event = next) {
        next = event->next;
        MUST(event->kind != RABBIT_STATE || event->number);
        if (event->kind == RABBIT_LANE_LOST) {
            read_list(&event->lane->fetched);
            rabbit_list_free(&event->lane->fetched);
            free(event->lane);
        }
        free(event);
    }
}

static void begin(struct rabbit_link *link, unsigned how)
{
    struct rabbit_channel *channel = &link->channels[0];

    if (how == 1) {
        channel_opened(link, channel);
    } else if (how == 2) {
        stream_declared(link, channel);
        stream_begin(link, channel, true, 5);
    } else if (how == 3) {
        stream_declared(link, channel);
        channel->resumed = true;
        channel->begin = 5;
        channel_opened(link, channel);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rabbit_link *link;
    int fds[2], more;

    if (!size)
        return 0;
    MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds));
    link = make_link(data[0] % 4 >= 2, fds[0]);
    if (data[0] & LOOKS) { /* what comes is for the look at the stream's end */
        link->channels[0].number = 2;
        link->next_number = 3;
        link->look = (struct rabbit_look){.number = 1, .step = RABBIT_LOOK_READS, .answer_us = INT64_MAX};
    }
    begin(link, data[0] % 4);
    size = size - 1 < 64 << 10 ? size - 1 : 64 << 10;
    MUST(write(fds[1], data + 1, size) == (ssize_t)size);
    shutdown(fds[1], SHUT_WR);
    do {
        more = frames_read(link);
        if (more >= 0)
            frames_hand_over(link);
        take_events(link);
    } while (more > 0);
    link_disconnect(link, false);
    take_events(link);
    rabbit_link_free(link);
    close(fds[1]);
    return 0;
}
