/* SPDX-License-Identifier: MIT
 * Looking into a queue: its first messages are taken, not acknowledged, and given back together by closing the
 * channel, which puts each where it was. A classic queue is asked for one after the other. A quorum queue would
 * put those back in another order (3.10), as each is a consumer of its own to it; so it has one consumer. */
#include "browse_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_TYPE        "sluice-look" /* what no queue is */
#define ARGUMENTS_MOST 16
#define TAG            "sluice-browse"
#define PREFETCH_MOST  65535
#define SILENT_US      (2 * RABBIT_SECOND) /* the next message has come by then, if it comes */
#define ASKED_MOST     3
#define ASK_US         (RABBIT_SECOND / 5)

enum kind { KIND_UNKNOWN, KIND_CLASSIC, KIND_QUORUM, KIND_STREAM };

struct found {
    enum kind kind;
    uint32_t messages, consumers;
};

/* ---- what kind it is ---- */

/* AMQP tells it only where somebody declares the queue otherwise, and then one argument after the other. With a
 * type that there is not, no queue is ever made. */
struct declaration {
    amqp_table_entry_t entries[ARGUMENTS_MOST];
    char names[ARGUMENTS_MOST][64], texts[ARGUMENTS_MOST][256];
    int count;
};

static void add_text(struct declaration *declaration, const char *name, const char *text)
{
    int i = declaration->count++;

    snprintf(declaration->names[i], sizeof declaration->names[i], "%s", name);
    snprintf(declaration->texts[i], sizeof declaration->texts[i], "%s", text);
    declaration->entries[i] = (amqp_table_entry_t){.key = amqp_cstring_bytes(declaration->names[i])};
    declaration->entries[i].value.kind = AMQP_FIELD_KIND_UTF8;
    declaration->entries[i].value.value.bytes = amqp_cstring_bytes(declaration->texts[i]);
}

/* A value as the broker wrote it, and its type. */
static void add_value(struct declaration *declaration, const char *name, const char *value, const char *type)
{
    amqp_table_entry_t *entry = &declaration->entries[declaration->count];

    add_text(declaration, name, value);
    if (!strncmp(type, "bool", 4)) {
        entry->value.kind = AMQP_FIELD_KIND_BOOLEAN;
        entry->value.value.boolean = *value == 't';
    } else if (strncmp(type, "longstr", 7) != 0) {
        entry->value.kind = AMQP_FIELD_KIND_I64;
        entry->value.value.i64 = strtoll(value, NULL, 10);
    }
}

static bool has(const struct declaration *declaration, const char *name)
{
    for (int i = 0; i < declaration->count; i++)
        if (!strcmp(declaration->names[i], name))
            return true;
    return false;
}

/* "... inequivalent arg 'NAME' for queue ... but current is the value 'V' of type 'T'", or "... 'V'", or "none".
 * The kind; KIND_UNKNOWN with the argument added where it says nothing yet; -1: it never will. */
static int read_difference(struct declaration *declaration, const char *text)
{
    const char *named = strstr(text, "inequivalent arg '"), *current = strstr(text, "but current is ");
    char name[64], value[256] = "", type[32] = "longstr";

    if (!named || !current || sscanf(named, "inequivalent arg '%63[^']'", name) != 1)
        return -1;
    current += strlen("but current is ");
    if (!strcmp(name, "durable") || !strcmp(name, "auto_delete"))
        return KIND_CLASSIC; /* the others are durable, and stay */
    if (sscanf(current, "the value '%255[^']' of type '%31[^']'", value, type) < 1)
        sscanf(current, "'%255[^']'", value);
    if (!strcmp(name, "x-queue-type"))
        return !strcmp(value, "quorum")   ? KIND_QUORUM
               : !strcmp(value, "stream") ? KIND_STREAM
               : !*value || !strcmp(value, "classic") ? KIND_CLASSIC
                                                      : KIND_UNKNOWN;
    if (!*value || has(declaration, name) || declaration->count == ARGUMENTS_MOST)
        return -1;
    add_value(declaration, name, value, type);
    return KIND_UNKNOWN;
}

/* On a channel of its own each time, as the broker closes it. KIND_UNKNOWN too where the user may not declare. */
static enum kind find_kind(struct browsing *browsing)
{
    amqp_connection_state_t connection = browsing->link->connection;
    struct declaration declaration = {.count = 0};
    struct link_refusal refusal;
    int kind = KIND_UNKNOWN;

    add_text(&declaration, "x-queue-type", NO_TYPE);
    for (int i = 0; i <= ARGUMENTS_MOST && kind == KIND_UNKNOWN && !browsing->broken; i++) {
        browse_close_channel(browsing);
        if (browse_open_channel(browsing) ||
            amqp_queue_declare(connection, browsing->number, amqp_cstring_bytes(browsing->queue), 0, 1,
                               0, 0, (amqp_table_t){declaration.count, declaration.entries}))
            return KIND_UNKNOWN;
        browse_refusal(browsing, &refusal);
        kind = read_difference(&declaration, refusal.text);
    }
    return kind < 0 ? KIND_UNKNOWN : (enum kind)kind;
}

static void refused(struct browsing *browsing)
{
    struct link_refusal refusal;

    browse_refusal(browsing, &refusal);
    if (refusal.code == AMQP_NOT_FOUND)
        browse_fail(browsing, "queue %s does not exist in the virtual host %s at %s", browsing->queue,
                    browsing->link->config->vhost, browsing->link->config->servers);
    else
        browse_fail(browsing, "queue %s cannot be read: %s%s", browsing->queue, refusal.text,
                    refusal.code == AMQP_ACCESS_REFUSED && !strstr(refusal.text, "exclusive")
                        ? "; give the permission to read"
                        : "");
}

/* -1: told. */
static int find(struct browsing *browsing, struct found *ret_found)
{
    amqp_connection_state_t connection = browsing->link->connection;

    if (browse_open_channel(browsing))
        return -1;
    /* A quorum queue that is slow to answer says that it has no messages. */
    for (int i = 0; i < ASKED_MOST && !ret_found->messages; i++) {
        const amqp_queue_declare_ok_t *declared = amqp_queue_declare(
            connection, browsing->number, amqp_cstring_bytes(browsing->queue), 1, 0, 0, 0, amqp_empty_table);
        amqp_frame_t frame;

        if (!declared) {
            refused(browsing);
            return -1;
        }
        ret_found->messages = declared->message_count;
        ret_found->consumers = declared->consumer_count;
        for (int64_t until_us = rabbit_now() + ASK_US; !ret_found->messages && rabbit_now() < until_us;)
            if (browse_frame(browsing, &frame) < 0)
                return -1;
    }
    ret_found->kind = find_kind(browsing);
    return browsing->broken ? -1 : 0;
}

/* ---- what a look changes ---- */

static const char quorum_costs[] =
    "Each of them counts a delivery more (x-delivery-count), and one that has more deliveries than the "
    "queue's delivery limit is dropped, or goes to its dead-letter exchange, when it is given back. "
    "RabbitMQ 4 has a limit of 20 unless the queue or a policy says otherwise, older ones none; the broker "
    "does not tell it here.";

/* A consumer's messages are counted ahead, and not their bytes. */
static void write_most(const struct browsing *browsing, const struct found *found, char *text, size_t room)
{
    if (found->kind == KIND_CLASSIC)
        snprintf(text, room, "%" PRIu64 " and %zu MiB at most", browsing->asked->most_messages,
                 browsing->asked->most_bytes >> 20);
    else
        snprintf(text, room, "%" PRIu64 " at most", browsing->asked->most_messages);
}

static bool is_allowed(struct browsing *browsing, const struct found *found)
{
    const struct sluice_browse *asked = browsing->asked;
    bool may_lose = found->kind != KIND_CLASSIC;
    char text[4 * RABBIT_TEXT], most[80];
    int64_t asked_us = rabbit_now();
    int size, answer;

    if (!browsing->may_leave_trace || !asked->allow) {
        browse_fail(browsing, "queue %s cannot be looked into without a trace", browsing->queue);
        return false;
    }
    write_most(browsing, found, most, sizeof most);
    size = snprintf(
        text, sizeof text,
        "%s %.255s holds %u messages, and has %u consumers. The first of them, %s, are taken, held while "
        "they are read, and then put back where they were. Nobody else gets them meanwhile, and who receives "
        "may get later ones first. They are marked as "
        "redelivered. ",
        found->kind == KIND_CLASSIC  ? "The classic queue"
        : found->kind == KIND_QUORUM ? "The quorum queue"
                                     : "The queue",
        browsing->queue, found->messages, found->consumers, most);
    if (found->kind == KIND_UNKNOWN)
        size += snprintf(text + size, sizeof text - (size_t)size,
                         "Its type cannot be found out (that takes the permission to configure it); "
                         "should it be a quorum queue: ");
    if (may_lose)
        size += snprintf(text + size, sizeof text - (size_t)size, "%s ", quorum_costs);
    snprintf(text + size, sizeof text - (size_t)size,
             "If the queue has a maximum length and fills up meanwhile, its oldest messages are dropped as "
             "these come back.");
    answer = asked->allow(asked->cookie, may_lose, text);
    browsing->until_us += rabbit_now() - asked_us;
    return !answer;
}

/* ---- its messages ---- */

struct taking {
    uint64_t count, most;
    size_t bytes;
    uint32_t behind; /* messages that wait behind those taken */
};

static void take(struct browsing *browsing, struct taking *taking, struct rabbit_message *message)
{
    taking->count++;
    taking->bytes += message->payload.size;
    browse_show(browsing, message, false);
    free(message);
}

static bool has_room(const struct browsing *browsing, const struct taking *taking)
{
    return taking->count < taking->most && taking->bytes < browsing->asked->most_bytes;
}

/* The next one of a classic queue. False: there is none, or the browsing ends. */
static bool get(struct browsing *browsing, struct taking *taking)
{
    amqp_rpc_reply_t reply =
        amqp_basic_get(browsing->link->connection, browsing->number, amqp_cstring_bytes(browsing->queue), 0);
    const amqp_basic_get_ok_t *got = reply.reply.decoded;
    struct rabbit_message *message;

    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
        refused(browsing);
        return false;
    }
    taking->behind = 0;
    if (reply.reply.id != AMQP_BASIC_GET_OK_METHOD)
        return false;
    taking->behind = got->message_count;
    message = browse_message(browsing, got->delivery_tag, got->redelivered, false, got->exchange,
                             got->routing_key);
    if (!message)
        return false;
    take(browsing, taking, message);
    amqp_maybe_release_buffers_on_channel(browsing->link->connection, browsing->number);
    return true;
}

static int consume(struct browsing *browsing, uint16_t prefetch)
{
    amqp_connection_state_t connection = browsing->link->connection;

    if (amqp_basic_qos(connection, browsing->number, 0, prefetch, 0) &&
        amqp_basic_consume(connection, browsing->number, amqp_cstring_bytes(browsing->queue),
                           amqp_cstring_bytes(TAG), 0, 0, 0, amqp_empty_table))
        return 0;
    refused(browsing);
    return -1;
}

static void read_consuming(struct browsing *browsing, struct taking *taking)
{
    int64_t silent_us = rabbit_now();

    if (taking->most > PREFETCH_MOST)
        taking->most = PREFETCH_MOST;
    if (consume(browsing, (uint16_t)taking->most))
        return;
    while (has_room(browsing, taking) && !browse_ends(browsing) && rabbit_now() - silent_us < SILENT_US) {
        struct rabbit_message *message;
        int got = browse_delivery(browsing, false, &message);

        if (got < 0)
            return;
        if (!got)
            continue;
        take(browsing, taking, message);
        silent_us = rabbit_now();
    }
    if (!taking->count && !browsing->enough)
        browse_fail(browsing,
                    "queue %s gives no message: others hold them, or it has a single active consumer that "
                    "is at work",
                    browsing->queue);
}

static void read_all(struct browsing *browsing, const struct found *found)
{
    struct taking taking = {.most = browsing->asked->most_messages};

    if (found->kind == KIND_CLASSIC) {
        while (has_room(browsing, &taking) && !browse_ends(browsing))
            if (!get(browsing, &taking))
                break;
    } else {
        /* No more than were there: none that come are waited for. */
        if (taking.most > found->messages)
            taking.most = found->messages;
        read_consuming(browsing, &taking);
        taking.behind = found->messages > taking.count ? found->messages - (uint32_t)taking.count : 0;
    }
    if (taking.count && taking.behind)
        browse_note(browsing, "Queue %s: %" PRIu64 " messages were looked at, about %u wait behind them.",
                    browsing->queue, taking.count, taking.behind);
}

void browse_queue(struct browsing *browsing)
{
    struct found found = {.kind = KIND_UNKNOWN};

    if (find(browsing, &found))
        return;
    if (found.kind == KIND_STREAM) {
        browse_stream(browsing);
        return;
    }
    if (!found.messages || !is_allowed(browsing, &found))
        return;
    browse_close_channel(browsing);
    if (!browse_open_channel(browsing))
        read_all(browsing, &found);
    browse_close_channel(browsing);
}
