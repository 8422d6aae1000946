/* SPDX-License-Identifier: MIT
 * What the files of the publisher share. Nothing else includes it. */
#ifndef RABBITMQ_PUBLISH_INSIDE_H
#define RABBITMQ_PUBLISH_INSIDE_H

#include "link_inside.h"
#include "publish.h"

struct publisher_list {
    struct rabbit_publication *first, **end;
};

/* What the host waits to hear of; the host's side alone has it, as the thread may be left behind. */
struct rabbit_ticket {
    struct rabbit_ticket *next, **at;
    void *cookie;
};

struct rabbit_publisher {
    /* A connection, a lock and events of the usual kind, without queues to consume. */
    struct rabbit_link *link;
    struct rabbit_config config; /* the link's, with the queues; read only */
    bool eager;
    struct rabbit_ticket *tickets; /* the host's side's */
    /* Under the link's lock: */
    struct publisher_list queued, done;
    size_t under_way, bytes;
    /* The thread's: */
    struct publisher_list sent;
    uint64_t tag;
    bool blocked; /* by an alarm of the broker */
};

static inline void publisher_list_init(struct publisher_list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static inline void publisher_list_add(struct publisher_list *list, struct rabbit_publication *publication)
{
    publication->next = NULL;
    *list->end = publication;
    list->end = &publication->next;
}

static inline struct rabbit_publication *publisher_list_take(struct publisher_list *list)
{
    struct rabbit_publication *publication = list->first;

    if (publication && !(list->first = publication->next))
        list->end = &list->first;
    return publication;
}

/* ---- publish_thread.c ---- */

/* What the publisher's thread does; the argument is the publisher. */
void *publisher_run(void *publisher);
/* The thread's, and once it has ended the host's side's. All that was sent and is not confirmed, which may
 * be there, and all that was not sent fails, as `why` says. */
void publisher_fail_sent(struct rabbit_publisher *publisher, const char *why);
void publisher_fail_queued(struct rabbit_publisher *publisher, const char *why);

/* ---- publish.c ---- */

void publisher_free(struct rabbit_publisher *publisher);

#endif
