/* SPDX-License-Identifier: MIT
 * The mapping's filter, asked for each message that is delivered. */
#include "base/log.h"
#include "core/filter.h"
#include "service/poller_inside.h"

/* What the filter takes; a replay's letters were collected before. */
static enum filter_answer pass(const struct poller *poller, struct fault *why)
{
    if (!poller->mapping->collects || poller->context.replay)
        return FILTER_PASS;
    fault_set(why, "found among dead letters; nothing in it tells why");
    return FILTER_FOREIGN;
}

enum filter_answer poller_filter(void *argument, const struct message *message, struct fault *why)
{
    struct poller *poller = argument;
    const struct mapping *mapping = poller->mapping;
    const struct sluice_message *source = &message->source;
    struct filter_message seen = {
        .key = source->key,
        .payload = source->payload,
        .partition = message->lane->partition,
        .source = message->lane->source,
        .has_timestamp = source->timestamp_kind != SLUICE_TIMESTAMP_NONE,
        .timestamp_ms = source->timestamp_ms,
    };

    if (!mapping->filter)
        return pass(poller, why);
    if (source->has_headers && filter_reads_headers(mapping->filter)) {
        seen.header_count = poller_collect_headers(poller, message, 0);
        seen.headers = poller->headers;
    }
    switch (filter_try(mapping->filter, &seen, &poller->unescaped, why)) {
    case FILTER_YES:
        return pass(poller, why);
    case FILTER_NO:
        if (!mapping->keeps_filtered) {
            poller_tap_message(poller, message, "filtered", false, NULL);
            return FILTER_DROP;
        }
        fault_set(why, "the filter leaves it out");
        return FILTER_DEAD_LETTER;
    case FILTER_UNTOLD: /* never dropped for what cannot be told */
        break;
    }
    return FILTER_DEAD_LETTER;
}
