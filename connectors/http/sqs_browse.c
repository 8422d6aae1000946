/* SPDX-License-Identifier: MIT
 * Looking into a queue of SQS: what is received is hidden for so long, and made visible again. */
#include <stdlib.h>
#include <string.h>

#include "sqs.h"

#define LOOK_WAIT_S 1 /* a receive that does not wait asks some of SQS's servers only */

int sqs_peek(void *dialect, const char *destination, int64_t lease_s, struct http_abilities *abilities,
             struct http_fault *fault)
{
    struct sqs *sqs = dialect;
    char *url = sqs_url_of(sqs, destination, fault), *where = url ? strdup(url) : NULL;
    char *queue = where && strrchr(where, '/') ? strdup(strrchr(where, '/') + 1) : NULL;

    if (!url || !where || !queue || sqs_use_url(sqs, url)) {
        free(where);
        free(queue);
        return url ? http_fault(fault, SLUICE_STATE_FAILED, "no memory for the queue's URL") : -1;
    }
    free(sqs->where);
    free(sqs->queue);
    abilities->where = sqs->where = where;
    abilities->source = sqs->queue = queue;
    sqs->is_fifo = strlen(queue) > 5 && !strcmp(queue + strlen(queue) - 5, ".fifo");
    sqs->lease_s = lease_s;
    sqs->wait_s = LOOK_WAIT_S;
    return 0;
}

int sqs_costs(void *dialect, struct http_request *ret_request)
{
    const struct sqs *sqs = dialect;

    return sqs_request(sqs, "GetQueueAttributes",
                       json_pack("{ss s[ss]}", "QueueUrl", sqs->url, "AttributeNames",
                                 "ApproximateNumberOfMessages", "RedrivePolicy"),
                       ret_request);
}

static int64_t number_of(json_t *attributes, const char *name)
{
    const char *text = json_string_value(json_object_get(attributes, name));

    return text && *text && strlen(text) < 18 && strspn(text, "0123456789") == strlen(text)
               ? strtoll(text, NULL, 10)
               : -1;
}

/* A queue of dead letters may have one of its own. */
static void add_redrive(json_t *attributes, struct http_costs *costs)
{
    const char *text = json_string_value(json_object_get(attributes, "RedrivePolicy"));
    json_t *policy = text ? json_loads(text, 0, NULL) : NULL;
    json_t *most = json_object_get(policy, "maxReceiveCount");
    const char *arn = json_string_value(json_object_get(policy, "deadLetterTargetArn"));
    long long count = json_is_string(most) ? strtoll(json_string_value(most), NULL, 10)
                                           : (long long)json_integer_value(most);

    costs->may_lose = text && *text;
    if (costs->may_lose)
        http_costs_add(costs,
                       " Its redrive policy moves a message that was received more than %lld times to %.120s.",
                       count, arn ? arn : "another queue");
    json_decref(policy);
}

int sqs_costed(void *dialect, const struct http_answer *answer, struct http_costs *ret_costs,
               struct http_fault *fault)
{
    const struct sqs *sqs = dialect;
    json_t *root, *attributes;

    *ret_costs = (struct http_costs){.messages = -1};
    if (answer->status / 100 != 2 && !sqs_may_not(answer))
        return -1;
    root = answer->status / 100 == 2 ? sqs_read(answer, fault) : NULL;
    if (!root && answer->status / 100 == 2)
        return -1;
    attributes = json_object_get(root, "Attributes");
    ret_costs->messages = number_of(attributes, "ApproximateNumberOfMessages");
    http_costs_add(ret_costs, "SQS counts one receive more for each of them.");
    if (root)
        add_redrive(attributes, ret_costs);
    else
        http_costs_add(ret_costs,
                       " Whether a redrive policy then moves some of them to another queue is not known, as the "
                       "credentials do not allow sqs:GetQueueAttributes.");
    ret_costs->may_lose |= !root;
    if (sqs->is_fifo)
        http_costs_add(ret_costs, " Of a message group nobody gets anything meanwhile, and only its first "
                                  "messages are seen.");
    else
        http_costs_add(ret_costs, " Which ones it gives, and in which order, is up to SQS.");
    json_decref(root);
    return 0;
}
