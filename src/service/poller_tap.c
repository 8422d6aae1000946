/* SPDX-License-Identifier: MIT
 * What a poller tells those who watch its mapping. */
#include "base/clock.h"
#include "service/poller_inside.h"

static struct tap *tap_of(const struct poller *poller)
{
    return poller->context.book ? poller->context.book->tap : NULL;
}

/* Offers one message; positional tokens are written only here. */
static void offer(struct poller *poller, const struct message *message, struct tap_event *event)
{
    event->wall_us = clock_wall();
    event->lane = message->lane ? message->lane->name : "";
    event->position = message->source.position;
    event->key = message->source.key;
    event->payload = message->source.payload;
    event->token = (struct sluice_bytes){message->token, message->token_size};
    if (!message->held) /* they are the connector's again */
        event->key = event->payload = (struct sluice_bytes){NULL, 0};
    tap_offer(tap_of(poller), event, loop_now(poller->loop));
}

void poller_tap_message(struct poller *poller, const struct message *message, const char *outcome,
                        bool failed, const char *why)
{
    struct tap_event event = {.outcome = outcome, .failed = failed, .error = why};

    if (tap_of(poller) && tap_wishes(tap_of(poller), loop_now(poller->loop)))
        offer(poller, message, &event);
}

void poller_tap_outcome(struct poller *poller, const struct batch *batch,
                        const struct outcome *outcome)
{
    unsigned wishes = tap_of(poller) ? tap_wishes(tap_of(poller), loop_now(poller->loop)) : 0;
    size_t i = 0;

    if (!wishes)
        return;
    for (const struct message *message = batch->messages.first; message; message = message->next) {
        bool named = outcome->named && outcome->named[i++];
        struct tap_event event = {
            .outcome = named ? "named" : outcome_class_name(outcome->class),
            .failed = named || outcome->class != OUTCOME_DONE,
            .attempt = message->source.delivery_count +
                       (message->history ? message->history->count : 0) + 1,
            .messages = (uint32_t)batch->messages.count,
            .status = outcome->status,
            .duration_us = outcome->duration_us,
        };

        if (event.failed)
            event.error = outcome->error;
        if (event.failed || wishes & TAP_ALL)
            offer(poller, message, &event);
    }
}
