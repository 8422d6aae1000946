/* SPDX-License-Identifier: MIT
 * The publisher as the host's side has it. */
#include "publish_inside.h"

#include <stdlib.h>

#define UNDER_WAY  1000              /* publications, at most */
#define BYTES_MOST ((size_t)64 << 20) /* of them */

/* ---- its life ---- */

static void free_list(struct publisher_list *list)
{
    struct rabbit_publication *publication;

    while ((publication = publisher_list_take(list)))
        rabbit_publication_free(publication);
}

void publisher_free(struct rabbit_publisher *publisher)
{
    struct rabbit_event *event = rabbit_link_events(publisher->link), *next;

    for (; event; event = next) {
        next = event->next;
        free(event);
    }
    free_list(&publisher->queued);
    free_list(&publisher->sent);
    free_list(&publisher->done);
    publisher->link->config->queue_count = publisher->config.queue_count;
    rabbit_link_free(publisher->link);
    free(publisher);
}

struct rabbit_publisher *rabbit_publisher_new(struct rabbit_config *config, const char *name,
                                              int wake_fd, bool eager)
{
    struct rabbit_publisher *publisher = calloc(1, sizeof *publisher);

    if (!publisher) {
        rabbit_config_free(config);
        return NULL;
    }
    publisher->config = *config;
    config->queue_count = 0;
    publisher->eager = eager;
    publisher_list_init(&publisher->queued);
    publisher_list_init(&publisher->done);
    publisher_list_init(&publisher->sent);
    publisher->link = rabbit_link_new(config, name);
    if (!link_start_thread(publisher->link, wake_fd, publisher_run, publisher))
        return publisher;
    publisher_free(publisher);
    return NULL;
}

static struct rabbit_ticket *ticket_new(struct rabbit_publisher *publisher, void *cookie)
{
    struct rabbit_ticket *ticket = calloc(1, sizeof *ticket);

    *ticket = (struct rabbit_ticket){publisher->tickets, &publisher->tickets, cookie};
    if (ticket->next)
        ticket->next->at = &ticket->next;
    publisher->tickets = ticket;
    return ticket;
}

static void *ticket_take(struct rabbit_ticket *ticket)
{
    void *cookie = ticket->cookie;

    *ticket->at = ticket->next;
    if (ticket->next)
        ticket->next->at = ticket->at;
    free(ticket);
    return cookie;
}

int rabbit_publisher_put(struct rabbit_publisher *publisher,
                         const struct sluice_publication *from)
{
    struct rabbit_link *link = publisher->link;
    struct rabbit_publication *publication;
    bool full;

    pthread_mutex_lock(&link->lock);
    full = publisher->under_way >= UNDER_WAY ||
           (publisher->under_way && publisher->bytes + from->payload.size > BYTES_MOST);
    pthread_mutex_unlock(&link->lock);
    publication = full ? NULL : rabbit_publication_new(&publisher->config, from);
    if (!publication)
        return -1;
    publication->ticket = ticket_new(publisher, from->cookie);
    pthread_mutex_lock(&link->lock);
    publisher->under_way++;
    publisher->bytes += publication->size;
    publisher_list_add(publication->error[0] ? &publisher->done : &publisher->queued, publication);
    pthread_mutex_unlock(&link->lock);
    if (publication->error[0])
        link_wake(link);
    else
        link_wake_thread(link);
    return 0;
}

static void tell(struct rabbit_publication *publication, struct sluice_host *host,
                 const struct sluice_host_api *api)
{
    const char *error = publication->confirmed ? NULL : publication->error;
    void *cookie = ticket_take(publication->ticket);

    if (error && publication->never && SLUICE_HOST_HAS(api, unpublishable))
        api->unpublishable(host, cookie, error);
    else
        api->published(host, cookie, error);
    rabbit_publication_free(publication);
}

static void tell_outcomes(struct rabbit_publisher *publisher, struct sluice_host *host,
                          const struct sluice_host_api *api)
{
    struct publisher_list done;
    struct rabbit_publication *publication;

    pthread_mutex_lock(&publisher->link->lock);
    done.first = publisher->done.first;
    publisher_list_init(&publisher->done);
    for (publication = done.first; publication; publication = publication->next) {
        publisher->under_way--;
        publisher->bytes -= publication->size;
    }
    pthread_mutex_unlock(&publisher->link->lock);
    while ((publication = done.first)) {
        done.first = publication->next;
        tell(publication, host, api);
    }
}

static void tell_event(const struct rabbit_event *event, struct sluice_host *host,
                       const struct sluice_host_api *api, bool tells_state)
{
    if (event->kind == RABBIT_LOG)
        api->log(host, event->number, event->name, event->text);
    else if (event->kind == RABBIT_STATE && tells_state)
        api->state(host, event->number, event->text[0] ? event->text : NULL);
    else if (event->kind == RABBIT_STATE && event->text[0])
        api->log(host, SLUICE_LOG_WARNING, "publishing_stuck", event->text);
}

void rabbit_publisher_serve(struct rabbit_publisher *publisher, struct sluice_host *host,
                            const struct sluice_host_api *api, bool tells_state)
{
    struct rabbit_event *event = rabbit_link_events(publisher->link), *next;

    for (; event; event = next) {
        next = event->next;
        tell_event(event, host, api, tells_state);
        free(event);
    }
    tell_outcomes(publisher, host, api);
}

bool rabbit_publisher_idle(struct rabbit_publisher *publisher)
{
    bool idle;

    pthread_mutex_lock(&publisher->link->lock);
    idle = !publisher->under_way;
    pthread_mutex_unlock(&publisher->link->lock);
    return idle;
}

bool rabbit_publisher_close(struct rabbit_publisher *publisher, int64_t wait_us,
                            struct sluice_host *host, const struct sluice_host_api *api)
{
    struct rabbit_ticket *tickets = publisher ? publisher->tickets : NULL, *next;

    if (!publisher)
        return true;
    if (!rabbit_link_end(publisher->link, wait_us)) {
        for (; tickets; tickets = next) {
            next = tickets->next;
            api->published(host, tickets->cookie,
                           "the connector is closed while RabbitMQ does not answer; the message may "
                           "have been published");
            free(tickets);
        }
        return false;
    }
    tell_outcomes(publisher, host, api);
    publisher_fail_sent(publisher, "the connector is closed; the message may have been published");
    publisher_fail_queued(publisher, "the connector is closed before it was sent");
    tell_outcomes(publisher, host, api);
    publisher_free(publisher);
    return true;
}
