/* SPDX-License-Identifier: MIT
 * What the files of browsing share: a connection of its own, on a thread of its own, which waits for what it
 * asks. Channels follow one after the other, each with a number of its own. */
#ifndef RABBITMQ_BROWSE_INSIDE_H
#define RABBITMQ_BROWSE_INSIDE_H

#include "link_inside.h"

struct browsing {
    struct rabbit_link *link;
    const struct sluice_browse *asked;
    bool may_leave_trace; /* the host knows of `allow` and what follows */
    int64_t until_us;
    amqp_channel_t number; /* of the channel that is open; 0: none */
    const char *queue;
    bool enough;  /* it was enough, or is to end */
    bool failed;
    bool broken;  /* the connection is no use any more */
    char exchange[256], routing_key[256]; /* of the delivery that is coming in */
};

void browse_fail(struct browsing *browsing, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void browse_note(struct browsing *browsing, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Whether it is to end: it was enough, the time is over (told once), or the connection broke. */
bool browse_ends(struct browsing *browsing);

/* Opens the next channel. -1: told. */
int browse_open_channel(struct browsing *browsing);
/* Closes it, and waits until the broker has done that: what was out is back then. */
void browse_close_channel(struct browsing *browsing);
/* What the broker refused, from the library's last answer; a channel that it closed is none any more, and a
 * connection is broken. */
void browse_refusal(struct browsing *browsing, struct link_refusal *ret_refusal);

/* The next frame of the channel that is open, a moment waited for at most. 1; 0: none came; -1: the
 * connection broke, or the channel was closed, both told. */
int browse_frame(struct browsing *browsing, amqp_frame_t *ret_frame);
/* The rest of a delivery that a method began: header and body. NULL: the browsing ends. */
struct rabbit_message *browse_message(struct browsing *browsing, uint64_t tag, bool redelivered,
                                      bool is_stream, amqp_bytes_t exchange, amqp_bytes_t routing_key);
/* The next message of a consumer, a moment waited for at most. 1; 0: none came; -1: the browsing ends. */
int browse_delivery(struct browsing *browsing, bool is_stream, struct rabbit_message **ret_message);
/* Shows it to the host. */
void browse_show(struct browsing *browsing, const struct rabbit_message *message, bool is_stream);

/* browse_stream.c; false: it is no stream, and nothing was read */
bool browse_stream(struct browsing *browsing);
/* browse_queue.c */
void browse_queue(struct browsing *browsing);

#endif
