/* SPDX-License-Identifier: MIT
 * A real RabbitMQ as a source: lane 0 is a quorum queue, lane 1 a classic one. The cases of a program
 * share one broker, each with queues and a way to it of its own. */
#ifndef RABBITMQ_SOURCE_H
#define RABBITMQ_SOURCE_H

#include "source.h"

extern const struct source_kind rabbitmq_kind;
/* One stream. */
extern const struct source_kind rabbitmq_stream_kind;

/* The queue of lane 0. */
const char *rabbitmq_queue(struct source *source);

/* Starts the broker for this program and those that it starts; it ends with this one. False: it cannot be
 * had here, and why was printed. */
bool rabbitmq_begin(void);

#endif
