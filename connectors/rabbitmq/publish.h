/* SPDX-License-Identifier: MIT
 * Publishing: a connection and a thread of its own, so that a broker that takes no messages for now
 * (an alarm of memory or disk) never keeps anybody from consuming. Every publication is persistent,
 * mandatory and confirmed. */
#ifndef RABBITMQ_PUBLISH_H
#define RABBITMQ_PUBLISH_H

#include "rabbitmq.h"

/* A copy of what is to be published, so that a thread that hangs can be left behind; one pool of memory
 * with all it points to. Then its outcome. */
struct rabbit_publication {
    struct rabbit_publication *next;
    amqp_pool_t pool;
    struct rabbit_ticket *ticket; /* the host's side's */
    uint64_t tag; /* of its confirmation, once sent */
    size_t size;  /* of key, payload and headers */
    amqp_bytes_t exchange, routing_key, payload;
    amqp_basic_properties_t properties;
    bool confirmed;
    bool never; /* it does not fit, whatever is tried */
    char error[RABBIT_TEXT];
};

/* ---- publish_message.c ---- */

/* `destination`: the name of one of `config`'s queues or of any other queue, EXCHANGE/ROUTING-KEY, or
 * /QUEUE for a queue with a slash in its name; NULL: as the options say. With `error` set where it
 * cannot be sent at all. NULL: no memory. */
struct rabbit_publication *rabbit_publication_new(const struct rabbit_config *config,
                                                  const struct sluice_publication *from);
void rabbit_publication_free(struct rabbit_publication *publication);
/* `queue orders` or `exchange x with the routing key k`. */
const char *rabbit_publication_place(const struct rabbit_publication *publication, char *text,
                                     size_t room);

/* ---- field.c ---- */

/* The header that text_add_field wrote, of AMQP's type `kind`. False: it is none. */
bool rabbit_read_field(amqp_pool_t *pool, char kind, struct sluice_bytes text,
                       amqp_field_value_t *ret_value);

/* ---- publish.c, the host's side ---- */

struct rabbit_publisher;

/* Takes the configuration over and starts the thread, which connects with the first publication; at
 * once if `eager`. `wake_fd` is written to where there is news. NULL: no memory or thread. */
struct rabbit_publisher *rabbit_publisher_new(struct rabbit_config *config, const char *name,
                                              int wake_fd, bool eager);
/* As `publish` of struct sluice_connector. */
int rabbit_publisher_put(struct rabbit_publisher *publisher,
                         const struct sluice_publication *publication);
/* Tells the host what became of publications, and what happened; with `tells_state` its states too. */
void rabbit_publisher_serve(struct rabbit_publisher *publisher, struct sluice_host *host,
                            const struct sluice_host_api *api, bool tells_state);
/* Whether nothing is under way. */
bool rabbit_publisher_idle(struct rabbit_publisher *publisher);
/* Ends the thread, and tells of what was under way. False: the thread is left behind. NULL is fine. */
bool rabbit_publisher_close(struct rabbit_publisher *publisher, int64_t wait_us,
                            struct sluice_host *host, const struct sluice_host_api *api);

#endif
