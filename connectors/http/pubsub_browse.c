/* SPDX-License-Identifier: MIT
 * Looking into a subscription of Pub/Sub: what is pulled is kept by its acknowledgement deadline, and given
 * back by a deadline of 0. */

#include "pubsub.h"

int pubsub_peek(void *dialect, const char *destination, int64_t lease_s, struct http_abilities *abilities,
                struct http_fault *fault)
{
    struct pubsub *pubsub = dialect;

    (void)lease_s;
    (void)abilities;
    if (!pubsub->has_subscription || destination)
        return http_fault(fault, SLUICE_STATE_FAILED,
                          "a topic of Pub/Sub cannot be looked into, as its subscriptions keep the "
                          "messages: browse a mapping with receive: dead_letters and one of them");
    /* A pull that waits is given up in the end, and what it brings then is nobody's until its deadline. */
    pubsub->looks = true;
    return 0;
}

int pubsub_costs(void *dialect, struct http_request *ret_request)
{
    const struct pubsub *pubsub = dialect;

    ret_request->method = "GET";
    return http_request_url(ret_request, "%s", pubsub->subscription);
}

int pubsub_costed(void *dialect, const struct http_answer *answer, struct http_costs *ret_costs,
                  struct http_fault *fault)
{
    bool told = answer->status / 100 == 2;
    json_t *root, *policy;
    const char *topic;

    (void)dialect;
    *ret_costs = (struct http_costs){.messages = -1};
    if (!told && answer->status != 403)
        return -1;
    root = told ? pubsub_read(answer, fault) : NULL;
    if (told && !root)
        return -1;
    policy = json_object_get(root, "deadLetterPolicy");
    topic = json_string_value(json_object_get(policy, "deadLetterTopic"));
    ret_costs->may_lose = !told || policy;
    if (policy)
        http_costs_add(ret_costs,
                       "Pub/Sub counts a delivery attempt more for each of them, and forwards a message to "
                       "%.200s after about %lld. ",
                       topic ? topic : "another topic",
                       (long long)json_integer_value(json_object_get(policy, "maxDeliveryAttempts")));
    else if (!told)
        http_costs_add(ret_costs,
                       "Whether the subscription has a dead-letter policy, which counts that and moves messages "
                       "away in the end, is not known, as the account may not get it "
                       "(pubsub.subscriptions.get). ");
    if (json_object_get(root, "retryPolicy"))
        http_costs_add(ret_costs, "By its retry policy they come again some time later. ");
    http_costs_add(ret_costs, "%s",
                   json_is_true(json_object_get(root, "enableMessageOrdering"))
                       ? "Of an ordering key nobody gets anything meanwhile, and all behind these comes "
                         "again, also what was acknowledged."
                       : "Which ones it gives, and in which order, is up to Pub/Sub.");
    json_decref(root);
    return 0;
}
