/* SPDX-License-Identifier: MIT
 * What the host's side settled, on its way to the broker. */
#include "link_inside.h"

#include <stdlib.h>

static void put_off(struct rabbit_link *link, const struct rabbit_settlement *settlement)
{
    if (link->later_count == link->later_room) {
        link->later_room = link->later_room ? link->later_room * 2 : 64;
        link->later = reallocarray(link->later, link->later_room, sizeof *link->later);
    }
    link->later[link->later_count++] = *settlement;
}

/* -1: the connection failed. */
static int give_back_message(struct rabbit_link *link, struct rabbit_channel *channel,
                             const struct rabbit_settlement *settlement)
{
    amqp_basic_reject_t reject = {.delivery_tag = settlement->tag,
                                  .requeue = settlement->action == SLUICE_RELEASE};

    if (!rabbit_tags_gone(&channel->tags, settlement->tag))
        return 0;
    return channel_request(link, channel, AMQP_BASIC_REJECT_METHOD, &reject);
}

static int settle(struct rabbit_link *link, const struct rabbit_settlement *settlement)
{
    struct rabbit_channel *channel = channel_of_generation(link, settlement->generation);

    if (!channel)
        return 0; /* its lane is lost */
    switch (settlement->action) {
    case SLUICE_ACCEPT:
        rabbit_tags_done(&channel->tags, settlement->tag);
        return 0;
    case RABBIT_GIVE_BACK:
        return channel_let_go(link, channel);
    case RABBIT_ACCEPT_UP_TO:
        rabbit_tags_done_to(&channel->tags, settlement->tag);
        return 0;
    case RABBIT_BEGIN:
    case RABBIT_BEGIN_AT:
        return stream_begin(link, channel, settlement->action == RABBIT_BEGIN_AT,
                            settlement->tag);
    case SLUICE_RELEASE:
        if (settlement->due_us > rabbit_now()) {
            put_off(link, settlement);
            return 0;
        }
        break;
    default:
        break;
    }
    return give_back_message(link, channel, settlement);
}

static int settle_due(struct rabbit_link *link)
{
    int64_t now_us = rabbit_now();

    for (size_t i = 0; i < link->later_count;) {
        struct rabbit_settlement settlement = link->later[i];

        if (settlement.due_us > now_us) {
            i++;
            continue;
        }
        link->later[i] = link->later[--link->later_count];
        if (settle(link, &settlement))
            return -1;
    }
    return 0;
}

int link_settle(struct rabbit_link *link)
{
    struct rabbit_settlement *settlements;
    size_t count;
    int result = 0;

    pthread_mutex_lock(&link->lock);
    settlements = link->settlements;
    count = link->settlement_count;
    link->settlements = NULL;
    link->settlement_count = link->settlement_room = 0;
    pthread_mutex_unlock(&link->lock);
    for (size_t i = 0; i < count && !result && link->connection; i++)
        result = settle(link, &settlements[i]);
    free(settlements);
    return result ? result : settle_due(link);
}
