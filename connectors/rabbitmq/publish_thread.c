/* SPDX-License-Identifier: MIT
 * The publisher's thread: its connection, what it sends, and what the broker says to that. */
#define _GNU_SOURCE
#include "publish_inside.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHANNEL    1
#define RETRY_US   (5 * RABBIT_SECOND) /* at most, between two tries to connect */
#define REOPEN_US  (RABBIT_SECOND / 10)
#define REST_US    (RABBIT_SECOND / 2) /* heartbeats are due at most twice a second */
#define PLACE_TEXT 300

/* ---- outcomes ---- */

/* Appends to the outcomes that the host's side takes. */
static void finish(struct rabbit_publisher *publisher, struct rabbit_publication *publication)
{
    struct rabbit_link *link = publisher->link;

    pthread_mutex_lock(&link->lock);
    publisher_list_add(&publisher->done, publication);
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
}

static void fail(struct rabbit_publisher *publisher, struct rabbit_publication *publication,
                 const char *why)
{
    char place[PLACE_TEXT];

    if (!publication->error[0])
        snprintf(publication->error, sizeof publication->error, "%s: %.200s",
                 rabbit_publication_place(publication, place, sizeof place), why);
    finish(publisher, publication);
}

void publisher_fail_sent(struct rabbit_publisher *publisher, const char *why)
{
    struct rabbit_publication *publication;

    while ((publication = publisher_list_take(&publisher->sent)))
        fail(publisher, publication, why);
}

static struct rabbit_publication *take_queued(struct rabbit_publisher *publisher)
{
    struct rabbit_publication *publication;

    pthread_mutex_lock(&publisher->link->lock);
    publication = publisher_list_take(&publisher->queued);
    pthread_mutex_unlock(&publisher->link->lock);
    return publication;
}

void publisher_fail_queued(struct rabbit_publisher *publisher, const char *why)
{
    struct rabbit_publication *publication;

    while ((publication = take_queued(publisher)))
        fail(publisher, publication, why);
}

/* ---- the connection ---- */

static void lost(struct rabbit_publisher *publisher, const char *why)
{
    struct rabbit_link *link = publisher->link;

    if (!link->connection)
        return;
    link_failed(link, why);
    if (link->retry_us > rabbit_now() + RETRY_US)
        link->retry_us = rabbit_now() + RETRY_US;
    publisher_fail_sent(publisher, link->state_text);
}

/* The broker has refused something, which closes a channel: it is opened anew with a connection. */
static void refused(struct rabbit_publisher *publisher, const char *why)
{
    struct rabbit_link *link = publisher->link;

    publisher_fail_sent(publisher, why);
    link_disconnect(link, true);
    link->retry_us = rabbit_now() + REOPEN_US;
}

static const char *open_channel(struct rabbit_publisher *publisher, struct link_refusal *refusal)
{
    struct rabbit_link *link = publisher->link;
    amqp_connection_state_t connection = link->connection;
    const struct rabbit_config *config = &publisher->config;
    amqp_rpc_reply_t reply;
    bool fine = amqp_channel_open(connection, CHANNEL) && amqp_confirm_select(connection, CHANNEL);

    for (size_t i = 0; fine && config->declare && i < config->queue_count; i++)
        fine = amqp_queue_declare(connection, CHANNEL, amqp_cstring_bytes(config->queues[i]), 0, 1,
                                  0, 0, config->arguments);
    if (fine)
        return NULL;
    reply = amqp_get_rpc_reply(connection);
    link_read_refusal(&reply, refusal);
    return refusal->text;
}

static void connect_now(struct rabbit_publisher *publisher)
{
    struct rabbit_link *link = publisher->link;
    struct link_refusal refusal;
    const char *why;

    if (link_connect(link)) {
        if (link->retry_us > rabbit_now() + RETRY_US)
            link->retry_us = rabbit_now() + RETRY_US;
        publisher_fail_queued(publisher, link->state_text);
        return;
    }
    why = open_channel(publisher, &refusal);
    if (why) {
        link_disconnect(link, false);
        link->retry_us = rabbit_now() + rabbit_backoff(link->tries++, RABBIT_RETRY_FIRST_US, RETRY_US);
        link_state(link,
                   refusal.code == AMQP_ACCESS_REFUSED ? SLUICE_STATE_UNAUTHORISED
                                                       : SLUICE_STATE_FAILED,
                   "%s lets nothing be published: %s; it is tried again",
                   publisher->config.servers, why);
        publisher_fail_queued(publisher, link->state_text);
        return;
    }
    publisher->tag = 0;
    publisher->blocked = false;
    link->tries = 0;
    link_state(link, SLUICE_STATE_RUNNING, NULL);
}

/* ---- what the broker says ---- */

/* Tags come in the order of sending. */
static void on_confirm(struct rabbit_publisher *publisher, uint64_t tag, bool multiple,
                       const char *error)
{
    struct rabbit_publication **at = &publisher->sent.first, *publication;

    while ((publication = *at) && publication->tag <= tag) {
        if (!multiple && publication->tag != tag) {
            at = &publication->next;
            continue;
        }
        *at = publication->next;
        if (error) {
            fail(publisher, publication, error);
        } else {
            publication->confirmed = true;
            finish(publisher, publication);
        }
    }
    while (*at)
        at = &(*at)->next;
    publisher->sent.end = at;
}

static bool same(amqp_bytes_t a, amqp_bytes_t b)
{
    return a.len == b.len && !memcmp(a.bytes, b.bytes, a.len);
}

/* What is returned is not named, and is confirmed soon. So all that is under way to the same place counts
 * as returned: rather twice than not at all. */
static void on_return(struct rabbit_publisher *publisher, const amqp_basic_return_t *returned)
{
    struct rabbit_publication **at = &publisher->sent.first, *publication;
    const struct rabbit_config *config = &publisher->config;
    char why[RABBIT_TEXT / 2];

    snprintf(why, sizeof why,
             returned->exchange.len
                 ? "no queue is bound for it in the virtual host %.60s at %.100s: bind one"
                 : "it does not exist in the virtual host %.60s at %.100s: create it, or set declare",
             config->vhost, config->servers);
    while ((publication = *at)) {
        if (!same(publication->exchange, returned->exchange) ||
            !same(publication->routing_key, returned->routing_key)) {
            at = &publication->next;
            continue;
        }
        *at = publication->next;
        fail(publisher, publication, why);
    }
    publisher->sent.end = at;
}

/* A message larger than the broker takes ends the channel, with all that is under way on it. */
static void mark_too_large(struct rabbit_publisher *publisher, const char *why)
{
    const char *found = strstr(why, "max size ");
    size_t most = found ? strtoull(found + strlen("max size "), NULL, 10) : 0;

    for (struct rabbit_publication *each = publisher->sent.first; most && each; each = each->next)
        each->never = each->payload.len > most;
}

static void on_channel_close(struct rabbit_publisher *publisher, const amqp_channel_close_t *close)
{
    amqp_channel_close_ok_t ok = {0};
    char why[RABBIT_TEXT / 2];

    link_copy_text(close->reply_text, why, sizeof why);
    amqp_send_method(publisher->link->connection, CHANNEL, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    if (close->reply_code == AMQP_PRECONDITION_FAILED)
        mark_too_large(publisher, why);
    refused(publisher, why);
}

static void on_blocked(struct rabbit_publisher *publisher, const amqp_connection_blocked_t *blocked)
{
    char why[RABBIT_TEXT / 4];

    link_copy_text(blocked->reason, why, sizeof why);
    publisher->blocked = true;
    link_state(publisher->link, SLUICE_STATE_FAILED,
               "%s takes no messages for now (%s); they wait until it does",
               publisher->config.servers, why);
}

static void on_method(struct rabbit_publisher *publisher, const amqp_method_t *method)
{
    const amqp_basic_ack_t *ack = method->decoded;
    const amqp_basic_nack_t *nack = method->decoded;
    amqp_connection_close_ok_t ok = {0};
    char why[RABBIT_TEXT / 2];

    switch (method->id) {
    case AMQP_BASIC_ACK_METHOD:
        on_confirm(publisher, ack->delivery_tag, ack->multiple, NULL);
        break;
    case AMQP_BASIC_NACK_METHOD:
        on_confirm(publisher, nack->delivery_tag, nack->multiple,
                   "the broker refuses it (a full queue with overflow: reject-publish, or a failure "
                   "of its own)");
        break;
    case AMQP_BASIC_RETURN_METHOD:
        on_return(publisher, method->decoded);
        break;
    case AMQP_CHANNEL_CLOSE_METHOD:
        on_channel_close(publisher, method->decoded);
        break;
    case AMQP_CONNECTION_BLOCKED_METHOD:
        on_blocked(publisher, method->decoded);
        break;
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        publisher->blocked = false;
        link_state(publisher->link, SLUICE_STATE_RUNNING, NULL);
        break;
    case AMQP_CONNECTION_CLOSE_METHOD:
        link_copy_text(((const amqp_connection_close_t *)method->decoded)->reply_text, why,
                       sizeof why);
        amqp_send_method(publisher->link->connection, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
        lost(publisher, why);
        break;
    default:
        break;
    }
}

static void read_frames(struct rabbit_publisher *publisher)
{
    struct rabbit_link *link = publisher->link;

    while (link->connection) {
        struct timeval now = {0, 0};
        amqp_frame_t frame;
        int status = amqp_simple_wait_frame_noblock(link->connection, &frame, &now);

        if (status == AMQP_STATUS_TIMEOUT)
            return;
        if (status != AMQP_STATUS_OK)
            lost(publisher, status == AMQP_STATUS_HEARTBEAT_TIMEOUT
                                ? "it gives no sign of life (heartbeats)"
                                : amqp_error_string2(status));
        else if (frame.frame_type == AMQP_FRAME_METHOD)
            on_method(publisher, &frame.payload.method);
        if (link->connection)
            amqp_maybe_release_buffers(link->connection);
    }
}

/* ---- the thread ---- */

static void send_queued(struct rabbit_publisher *publisher)
{
    struct rabbit_link *link = publisher->link;
    struct rabbit_publication *publication;

    while (link->connection && !publisher->blocked && (publication = take_queued(publisher))) {
        int status = amqp_basic_publish(link->connection, CHANNEL, publication->exchange,
                                        publication->routing_key, 1, 0, &publication->properties,
                                        publication->payload);

        publication->tag = ++publisher->tag;
        publisher_list_add(&publisher->sent, publication);
        if (status)
            lost(publisher, amqp_error_string2(status));
        else
            read_frames(publisher);
    }
}

static bool has_queued(struct rabbit_publisher *publisher)
{
    bool has;

    pthread_mutex_lock(&publisher->link->lock);
    has = publisher->queued.first;
    pthread_mutex_unlock(&publisher->link->lock);
    return has;
}

static void rest(struct rabbit_publisher *publisher, int64_t until_us)
{
    struct rabbit_link *link = publisher->link;
    struct pollfd fds[2] = {{.fd = link->work_fd, .events = POLLIN},
                            {.fd = link->connection ? amqp_get_sockfd(link->connection) : -1,
                             .events = POLLIN}};
    int64_t left_us = until_us - rabbit_now();
    struct timespec left = {0};
    uint64_t count;

    if (link->connection &&
        (amqp_frames_enqueued(link->connection) || amqp_data_in_buffer(link->connection)))
        left_us = 0;
    if (left_us > 0)
        left = (struct timespec){left_us / RABBIT_SECOND, left_us % RABBIT_SECOND * 1000};
    if (ppoll(fds, 2, &left, NULL) > 0 && fds[0].revents &&
        read(link->work_fd, &count, sizeof count) < 0)
        return; /* it was taken off already */
}

static void turn(struct rabbit_publisher *publisher)
{
    struct rabbit_link *link = publisher->link;

    if (link->connection) {
        read_frames(publisher);
        send_queued(publisher);
        if (link->connection && (publisher->blocked || !has_queued(publisher)))
            rest(publisher, rabbit_now() + REST_US);
    } else if (!publisher->eager && !has_queued(publisher)) {
        rest(publisher, rabbit_now() + 60 * RABBIT_SECOND);
    } else if (rabbit_now() < link->retry_us) {
        rest(publisher, link->retry_us);
    } else {
        connect_now(publisher);
    }
}

void *publisher_run(void *argument)
{
    struct rabbit_publisher *publisher = argument;

    while (!atomic_load(&publisher->link->stop))
        turn(publisher);
    link_disconnect(publisher->link, true);
    if (link_end_thread(publisher->link))
        publisher_free(publisher);
    return NULL;
}
