/* SPDX-License-Identifier: MIT
 * `sluice check --connect`: tries the broker, the login and the queues for real. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_inside.h"

static void report(const struct sluice_check *check, bool ok, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void report(const struct sluice_check *check, bool ok, const char *format, ...)
{
    char text[RABBIT_TEXT + 64];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    check->report(check->cookie, ok, text);
}

/* What the link told about a try to connect. */
static void report_events(const struct sluice_check *check, struct rabbit_link *link)
{
    struct rabbit_event *event = rabbit_link_events(link), *next;

    for (; event; event = next) {
        next = event->next;
        if (event->kind == RABBIT_STATE && event->text[0])
            report(check, false, "%s", event->text);
        else if (event->kind == RABBIT_LOG)
            report(check, true, "%s", event->text);
        free(event);
    }
}

/* On a channel of its own: a refusal closes the channel. -1: it cannot be read, or the connection
 * failed, with `*ret_broken`. */
static int check_queue(const struct sluice_check *check, struct rabbit_link *link, size_t index,
                       bool *ret_broken)
{
    struct rabbit_channel *channel = &link->channels[index];
    const char *queue = link->config->queues[index];
    amqp_channel_t number = (amqp_channel_t)(index + 1);
    const amqp_queue_declare_ok_t *declared;
    struct link_refusal refusal;
    amqp_rpc_reply_t reply;

    declared = amqp_channel_open(link->connection, number)
                   ? amqp_queue_declare(link->connection, number, amqp_cstring_bytes(queue), 1, 0,
                                        0, 0, amqp_empty_table)
                   : NULL;
    if (declared) {
        report(check, true, "queue %s holds %u messages and has %u consumers", queue,
               declared->message_count, declared->consumer_count);
        return 0;
    }
    reply = amqp_get_rpc_reply(link->connection);
    link_read_refusal(&reply, &refusal);
    if (refusal.code == AMQP_NOT_FOUND && link->config->declare) {
        report(check, true, "queue %s does not exist and will be made (declare: %s)", queue,
               link->config->declare);
        return 0;
    }
    channel_refused(link, channel, refusal.code, refusal.text);
    report(check, false, "%s", channel->problem_text);
    *ret_broken = reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION ||
                  reply.reply.id != AMQP_CHANNEL_CLOSE_METHOD;
    return -1;
}

static int check_exchange(const struct sluice_check *check, struct rabbit_link *link, bool *ret_broken)
{
    const char *exchange = link->config->exchange;
    amqp_rpc_reply_t reply;
    struct link_refusal refusal;

    if (amqp_channel_open(link->connection, 1) &&
        amqp_exchange_declare(link->connection, 1, amqp_cstring_bytes(exchange),
                              amqp_cstring_bytes("direct"), 1, 0, 0, 0, amqp_empty_table)) {
        report(check, true, "exchange %s is there", exchange);
        return 0;
    }
    reply = amqp_get_rpc_reply(link->connection);
    link_read_refusal(&reply, &refusal);
    report(check, false, "exchange %s cannot be published to: %s", exchange, refusal.text);
    *ret_broken = true;
    return -1;
}

static void report_timeout(const struct sluice_check *check, const struct rabbit_config *config)
{
    int64_t give_back_us = config->consumer_timeout_us / 10 * 8;
    char held[64] = "without end";

    if (!give_back_us || (check->hold_us >= 0 && check->hold_us < give_back_us))
        return;
    if (check->hold_us >= 0)
        snprintf(held, sizeof held, "%lld s", (long long)(check->hold_us / RABBIT_SECOND));
    report(check, true,
           "a message may be retried %s, but the broker's consumer_timeout is %lld s: after %lld s it "
           "goes back and comes again, which quorum queues count (x-delivery-limit, 20 with RabbitMQ "
           "4); bound retry.age, or raise both the broker's consumer_timeout and "
           "source.rabbitmq.consumer_timeout",
           held, (long long)(config->consumer_timeout_us / RABBIT_SECOND),
           (long long)(give_back_us / RABBIT_SECOND));
}

/* Whether a queue counts at all is told to nobody over AMQP. */
static void report_limit(const struct sluice_check *check, const struct rabbit_link *link)
{
    const struct rabbit_config *config = link->config;
    int64_t limit = link->delivery_limit, danger = rabbit_danger(limit);

    if (config->begin || (config->declare && strcmp(config->declare, "quorum") != 0))
        return;
    if (limit == RABBIT_NO_LIMIT && config->knows_limit)
        return;
    if (limit == RABBIT_NO_LIMIT)
        report(check, true,
               "%s has no delivery limit of its own; where an argument or a policy gives a quorum queue one, say "
               "so with source.rabbitmq.delivery_limit, so that no message is dropped by it",
               link->product);
    else if (limit < 2)
        report(check, true,
               "with a delivery limit of %lld a stop or a crash of sluice can make the broker drop messages of a "
               "quorum queue before they are kept elsewhere: raise it to 3 or more there "
               "(x-delivery-limit, policy delivery-limit) and in source.rabbitmq.delivery_limit",
               (long long)limit);
    else
        report(check, true,
               "a quorum queue's message is dropped after %lld deliveries that failed%s: it is parked here "
               "when it was delivered %lld time%s before",
               (long long)limit, config->knows_limit ? "" : " (what RabbitMQ 4 does unless told otherwise)",
               (long long)danger, danger == 1 ? "" : "s");
}

struct work {
    struct rabbit_config *config;
    const struct sluice_check *check;
    bool publishing;
    const char *destination;
    int result;
};

static void *run(void *argument)
{
    struct work *work = argument;
    struct rabbit_config *config = work->config;
    const struct sluice_check *check = work->check;
    struct rabbit_link *link;
    bool broken = false;
    int result;

    if (config->connect_timeout_us > check->deadline_us)
        config->connect_timeout_us = check->deadline_us;
    if (work->destination)
        rabbit_config_aim(config, work->destination);
    link = rabbit_link_new(config, "sluice-check");
    result = link_connect(link);
    report_events(check, link);
    for (size_t i = 0; link->connection && i < config->queue_count && !broken; i++)
        result |= check_queue(check, link, i, &broken);
    if (link->connection && config->exchange && !broken)
        result |= check_exchange(check, link, &broken);
    if (!result && !work->publishing) {
        report_limit(check, link);
        report_timeout(check, config);
    }
    link_disconnect(link, !broken);
    rabbit_link_free(link);
    work->result = result ? -1 : 0;
    return NULL;
}

int rabbit_check(struct rabbit_config *config, const struct sluice_check *check, bool publishing,
                 const char *destination)
{
    struct work work = {config, check, publishing, destination, -1};
    pthread_t thread;
    int failed = rabbit_thread(&thread, run, &work);

    if (failed) {
        report(check, false, "cannot start a thread: %s", strerror(failed));
        rabbit_config_free(config);
        return -1;
    }
    pthread_join(thread, NULL);
    return work.result;
}
