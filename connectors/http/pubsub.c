/* SPDX-License-Identifier: MIT
 * Google Pub/Sub by its REST API v1 (cloud.google.com/pubsub/docs/reference/rest/v1): pull, acknowledge,
 * modifyAckDeadline, publish. */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base64.h"
#include "json_read.h"
#include "pubsub.h"

#define API             "https://pubsub.googleapis.com"
#define EMULATOR        "PUBSUB_EMULATOR_HOST" /* as Google's own libraries have it */
#define SETTLE_MOST     1000
#define DEADLINE_LEAST_S 10
#define WAIT_S          100
#define KEY_MOST        1024
#define ATTRIBUTES_MOST     100
#define ATTRIBUTE_MOST      1024 /* bytes */
#define ATTRIBUTE_NAME_MOST 256

static void pubsub_close(void *dialect)
{
    struct pubsub *pubsub = dialect;

    pubsub_token_free(pubsub->token);
    free(pubsub->subscription);
    free(pubsub->topic);
    free(pubsub->topics);
    free(pubsub->source);
    free(pubsub);
}

/* ---- options ---- */

/* Names of subscriptions and topics: a letter, then letters, digits and -_.~+%, 3 to 255 in all. */
static bool is_name(const char *name)
{
    size_t size = strlen(name);

    return size >= 3 && size <= 255 && isalpha((unsigned char)*name) &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~+%") == size;
}

static const char *read_name(struct http_reader *reader, const char *option, bool demanded)
{
    const char *expected = "the name alone: a letter, then letters, digits and -_.~+%, 3 to 255 in all";
    const char *name = demanded ? http_demand(reader, option, expected) : http_text(reader, option);

    if (name && !is_name(name)) {
        http_refuse(reader, option, "found \"%.80s\", expected %s", name, expected);
        return NULL;
    }
    return name;
}

/* Where the API is: the option, an emulator that the environment names, Google. */
static char *read_api(struct http_reader *reader, bool *ret_emulator)
{
    const char *url = http_text(reader, "url"), *emulator = getenv(EMULATOR);
    struct http_request api = {0};

    *ret_emulator = !url && emulator && *emulator;
    if (url)
        http_check_url(reader, "url", url);
    if (*ret_emulator)
        http_request_url(&api, "http://%s", emulator);
    else
        http_request_url(&api, "%s", url ? url : API);
    return api.url;
}

static int set_places(struct pubsub *pubsub, const char *api, const char *project,
                      const char *subscription, const char *topic)
{
    struct http_request urls[3] = {0};
    int failed = http_request_url(&urls[0], "%s/v1/projects/%s/%s/%s", api, project,
                                  subscription ? "subscriptions" : "topics",
                                  subscription ? subscription : topic) ||
                 http_request_url(&urls[1], "%s/v1/projects/%s/topics/", api, project) ||
                 (topic && http_request_url(&urls[2], "%s%s", urls[1].url, topic));

    pubsub->subscription = urls[0].url;
    pubsub->topics = urls[1].url;
    pubsub->topic = urls[2].url;
    pubsub->has_subscription = subscription;
    pubsub->source = strdup(subscription ? subscription : topic);
    return failed || !pubsub->source ? -1 : 0;
}

static void *pubsub_open(struct http_reader *reader, int64_t lease_us,
                         struct http_abilities *ret_abilities)
{
    struct pubsub *pubsub = calloc(1, sizeof *pubsub);
    const char *project = http_demand(reader, "pubsub.project", "the id of the Google Cloud project");
    const char *topic = read_name(reader, "pubsub.topic", reader->publishing);
    const char *subscription = read_name(reader, "pubsub.subscription", !reader->publishing);
    bool emulator;
    char *api = read_api(reader, &emulator);

    (void)lease_us;
    if (project && strspn(project, "abcdefghijklmnopqrstuvwxyz0123456789-:.") != strlen(project))
        http_refuse(reader, "pubsub.project",
                    "found \"%.80s\", expected a project's id: lower-case letters, digits and -", project);
    if (pubsub && api)
        pubsub->token = pubsub_token_open(reader, emulator);
    if (!pubsub || !api || reader->refused || !pubsub->token ||
        set_places(pubsub, api, project, subscription, topic)) {
        free(api);
        if (pubsub)
            pubsub_close(pubsub);
        return NULL;
    }
    free(api);
    *ret_abilities = (struct http_abilities){
        .source = pubsub->source,
        .where = pubsub->subscription,
        .receive_most = HTTP_MESSAGES,
        .settle_most = SETTLE_MOST,
        .lease_most_us = PUBSUB_DEADLINE_MOST_S * HTTP_SECOND,
        .delay_most_us = PUBSUB_DEADLINE_MOST_S * HTTP_SECOND,
        .first_lease_us = DEADLINE_LEAST_S * HTTP_SECOND, /* it does not tell the subscription's */
        .wait_us = WAIT_S * HTTP_SECOND,
        .extends = true,
        .releases = true,
        .publishes = true,
    };
    return pubsub;
}

/* ---- credentials ---- */

static int pubsub_authorise(void *dialect, int64_t now_s, struct http_request *ret_request,
                            struct http_fault *fault)
{
    return pubsub_token_ask(((struct pubsub *)dialect)->token, now_s, ret_request, fault);
}

static int pubsub_authorised(void *dialect, const struct http_answer *answer, int64_t now_s,
                             struct http_fault *fault)
{
    return pubsub_token_take(((struct pubsub *)dialect)->token, answer, now_s, fault);
}

static void pubsub_forget(void *dialect)
{
    pubsub_token_forget(((struct pubsub *)dialect)->token);
}

static int pubsub_sign(void *dialect, int64_t now_s, struct http_request *request)
{
    (void)now_s;
    return pubsub_token_sign(((struct pubsub *)dialect)->token, request);
}

/* ---- answers ---- */

json_t *pubsub_read(const struct http_answer *answer, struct http_fault *fault)
{
    json_t *root = json_read(answer), *error;
    const char *message;

    if (!json_is_object(root)) {
        json_decref(root);
        http_fault_answer(fault, answer, "a JSON object");
        return NULL;
    }
    error = json_object_get(root, "error");
    if (!error)
        return root;
    message = json_string_value(json_object_get(error, "message"));
    http_fault(fault, SLUICE_STATE_FAILED, "Pub/Sub answers \"%.200s\"; it is tried again",
               message ? message : "error");
    json_decref(root);
    return NULL;
}

static void pubsub_explain(void *dialect, const struct http_answer *answer, struct http_fault *fault)
{
    json_t *root = json_read(answer);
    const char *message =
        json_string_value(json_object_get(json_object_get(root, "error"), "message"));
    uint32_t state = fault->state;

    (void)dialect;
    if (message)
        http_fault(fault, state, "Pub/Sub answers %ld, \"%.300s\"%s", answer->status, message,
                   state == SLUICE_STATE_UNAUTHORISED
                       ? ": the account needs the role Pub/Sub Subscriber on the subscription, Publisher on "
                         "a topic"
                   : state == SLUICE_STATE_MISSING ? ": check pubsub.project and pubsub.subscription"
                                                   : "");
    json_decref(root);
}

/* ---- receiving ---- */

static int pubsub_receive(void *dialect, unsigned count, struct http_request *ret_request)
{
    const struct pubsub *pubsub = dialect;
    json_t *body = json_pack("{si}", "maxMessages", (int)count);

    if (pubsub->looks)
        json_object_set_new(body, "returnImmediately", json_true());
    return http_request_json(ret_request, json_write(body)) ||
                   http_request_url(ret_request, "%s:pull", pubsub->subscription)
               ? -1
               : 0;
}

static int read_data(json_t *data, struct http_message *message)
{
    size_t size;
    void *bytes;

    if (!data)
        bytes = http_message_keep(message, "", size = 0);
    else
        bytes = base64_decode(json_string_value(data), json_string_length(data), &size);
    message->payload = (struct sluice_bytes){bytes, size};
    return !bytes || (data && http_message_take(message, bytes)) ? -1 : 0;
}

static struct http_message *read_message(json_t *received)
{
    json_t *ack = json_object_get(received, "ackId"), *from = json_object_get(received, "message");
    json_t *id = json_object_get(from, "messageId"), *key = json_object_get(from, "orderingKey");
    json_t *data = json_object_get(from, "data"), *attributes = json_object_get(from, "attributes");
    json_t *attempts = json_object_get(received, "deliveryAttempt");
    struct http_message *message;

    if (!json_is_string(ack) || !json_string_length(ack) || !json_is_string(id) ||
        (data && !json_is_string(data)) || (attributes && !json_is_object(attributes)) ||
        (key && !json_is_string(key)) || (attempts && !json_is_integer(attempts)))
        return NULL;
    message = http_message_new(0);
    if (!message)
        return NULL;
    message->timestamp_ms = http_read_time(json_string_value(json_object_get(from, "publishTime")));
    message->delivery_count = json_read_deliveries(attempts);
    if (json_keep_string(id, message, &message->id) ||
        !(message->receipt = http_message_keep(message, json_string_value(ack),
                                               json_string_length(ack))) ||
        (json_string_length(key) && json_keep_string(key, message, &message->key)) ||
        json_keep_headers(attributes, message) || read_data(data, message)) {
        http_message_free(message);
        return NULL;
    }
    return message;
}

static int pubsub_received(void *dialect, const struct http_answer *answer, struct http_list *ret_list,
                           struct http_fault *fault)
{
    json_t *root = pubsub_read(answer, fault), *list = json_object_get(root, "receivedMessages"), *from;
    size_t index;
    int status = 0;

    (void)dialect;
    if (!root)
        return -1;
    if (list && (!json_is_array(list) || json_array_size(list) > HTTP_MESSAGES))
        status = http_fault_answer(fault, answer, "a list receivedMessages");
    json_array_foreach(list, index, from)
    {
        struct http_message *message = status ? NULL : read_message(from);

        if (message)
            http_list_add(ret_list, message);
        else if (!status)
            status = http_fault_answer(fault, answer,
                                       "messages with the texts ackId, messageId, and data in base64");
    }
    if (status)
        http_list_free(ret_list);
    json_decref(root);
    return status;
}

/* ---- settling ---- */

static int64_t deadline_of(const struct http_item *item)
{
    return item->seconds < PUBSUB_DEADLINE_MOST_S ? item->seconds : PUBSUB_DEADLINE_MOST_S;
}

/* Whether both can be in one request. A release is a deadline too: the message comes again behind it. */
static bool together(const struct http_item *a, const struct http_item *b)
{
    bool acknowledge = a->action == HTTP_ACKNOWLEDGE;

    if (a == b)
        return true;
    return !a->alone && !b->alone && acknowledge == (b->action == HTTP_ACKNOWLEDGE) &&
           (acknowledge || deadline_of(a) == deadline_of(b));
}

static int pubsub_settle(void *dialect, struct http_item *const *items, size_t count,
                         struct http_request *ret_request, struct http_fault *fault)
{
    const struct pubsub *pubsub = dialect;
    bool acknowledge = items[0]->action == HTTP_ACKNOWLEDGE;
    json_t *ids = json_array(), *body;
    int status = ids ? 0 : -1;

    for (size_t i = 0; i < count && json_array_size(ids) < SETTLE_MOST && !status; i++)
        if (together(items[0], items[i])) {
            status = json_array_append_new(ids, json_string(items[i]->message->receipt));
            items[i]->taken = true;
        }
    body = acknowledge ? json_pack("{sO}", "ackIds", ids)
                       : json_pack("{sO sI}", "ackIds", ids, "ackDeadlineSeconds",
                                   (json_int_t)deadline_of(items[0]));
    json_decref(ids);
    if (status || http_request_json(ret_request, json_write(body)) ||
        http_request_url(ret_request, "%s:%s", pubsub->subscription,
                         acknowledge ? "acknowledge" : "modifyAckDeadline"))
        return http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
    return 0;
}

static int pubsub_settled(void *dialect, const struct http_answer *answer,
                          struct http_item *const *items, size_t count, struct http_fault *fault)
{
    json_t *root = pubsub_read(answer, fault);

    (void)dialect;
    if (!root)
        return -1;
    json_decref(root);
    for (size_t i = 0; i < count; i++)
        items[i]->result = HTTP_DONE;
    return 0;
}

/* ---- publishing ---- */

/* Of what is told for people a part will do, or nothing. */
static bool is_for_people(const struct sluice_bytes *name)
{
    static const char *const names[] = {"sluice-error", "sluice-response"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (name->size == strlen(names[i]) && !memcmp(name->data, names[i], name->size))
            return true;
    return false;
}

static bool is_within_bounds(const struct sluice_header *header)
{
    return header->name.size && header->name.size <= ATTRIBUTE_NAME_MOST &&
           (header->name.size < 4 || memcmp(header->name.data, "goog", 4) != 0) &&
           header->value.size <= ATTRIBUTE_MOST;
}

/* Where a text in UTF-8 can be cut, at most `most`. */
static size_t cut(const struct sluice_bytes *text, size_t most)
{
    const unsigned char *data = text->data;

    if (text->size <= most)
        return text->size;
    while (most && (data[most] & 0xc0) == 0x80)
        most--;
    return most;
}

static int refuse(const struct sluice_header *header, const char *why, struct http_fault *fault)
{
    int size = header->name.size < 80 ? (int)header->name.size : 80;

    return http_fault(fault, SLUICE_STATE_FAILED, "header %.*s %s", size, (const char *)header->name.data, why);
}

static int write_attribute(const struct sluice_header *header, json_t *attributes, struct http_fault *fault)
{
    bool for_people = is_for_people(&header->name);
    size_t size = for_people ? cut(&header->value, ATTRIBUTE_MOST) : header->value.size;
    json_t *value;
    char *name;
    int failed;

    if (!for_people && !is_within_bounds(header))
        return refuse(header,
                      "cannot be an attribute of Pub/Sub, which has a name of 1 to 256 bytes that does not begin "
                      "with goog, and at most 1024 bytes",
                      fault);
    value = json_stringn(header->value.data ? header->value.data : "", size);
    if (!value && for_people)
        return 0;
    name = strndup(header->name.data, header->name.size);
    failed = !value || !name || json_object_set(attributes, name, value);
    free(name);
    json_decref(value);
    return failed ? refuse(header, "is not UTF-8, and attributes of Pub/Sub are text", fault) : 0;
}

/* Headers as attributes: both texts, within the bounds of cloud.google.com/pubsub/quotas; of a name that repeats,
 * the last. NULL with a fault. */
static json_t *write_attributes(const struct sluice_publication *publication, struct http_fault *fault)
{
    json_t *attributes = json_object();
    int status = 0;

    for (size_t i = 0; i < publication->header_count && !status; i++)
        status = write_attribute(&publication->headers[i], attributes, fault);
    if (!status && json_object_size(attributes) > ATTRIBUTES_MOST)
        status = http_fault(fault, SLUICE_STATE_FAILED, "it has more than the %d headers that Pub/Sub takes",
                            ATTRIBUTES_MOST);
    if (!status)
        return attributes;
    json_decref(attributes);
    return NULL;
}

static json_t *write_message(const struct sluice_publication *publication, struct http_fault *fault)
{
    json_t *attributes = write_attributes(publication, fault), *message = NULL;
    char *data = attributes ? malloc(BASE64_ROOM(publication->payload.size)) : NULL;
    json_t *key = publication->key.size && publication->key.size <= KEY_MOST
                      ? json_stringn(publication->key.data, publication->key.size)
                      : NULL;

    if (data) {
        base64_encode(publication->payload.data, publication->payload.size, data, 0);
        message = json_pack("{ss sO so*}", "data", data, "attributes", attributes, "orderingKey", key);
    } else {
        json_decref(key);
    }
    free(data);
    json_decref(attributes);
    return message;
}

/* "https://.../topics/T". NULL with a fault. */
static char *url_of_topic(const struct pubsub *pubsub, const char *name, struct http_fault *fault)
{
    char *url = NULL;

    /* Messages from a subscription came from its topic. */
    if (name && !strcmp(name, pubsub->source))
        name = NULL;
    if (!name && !pubsub->topic)
        http_fault(fault, SLUICE_STATE_MISSING, "no topic to publish to: set pubsub.topic");
    else if (name && !is_name(name))
        http_fault(fault, SLUICE_STATE_MISSING, "\"%.100s\" is no name of a topic", name);
    else if (asprintf(&url, "%s%s", name ? pubsub->topics : pubsub->topic, name ? name : "") < 0 &&
             !(url = NULL))
        http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
    return url;
}

static int pubsub_publish(void *dialect, const struct sluice_publication *publication,
                          struct http_request *ret_request, struct http_fault *fault)
{
    char *url = url_of_topic(dialect, publication->destination, fault);
    json_t *message;
    int failed;

    if (!url)
        return -1;
    failed = http_request_url(ret_request, "%s:publish", url);
    free(url);
    if (!publication->payload.size && !publication->header_count)
        return http_fault(fault, SLUICE_STATE_FAILED,
                          "the message has neither payload nor headers, which Pub/Sub refuses");
    fault->text[0] = '\0';
    message = write_message(publication, fault);
    if (!message && fault->text[0])
        return -1;
    if (http_request_json(ret_request,
                          json_write(message ? json_pack("{s[o]}", "messages", message) : NULL)) ||
        failed)
        return http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
    return 0;
}

static int pubsub_published(void *dialect, const struct http_answer *answer, struct http_fault *fault)
{
    json_t *root = pubsub_read(answer, fault);
    bool named = json_array_size(json_object_get(root, "messageIds")) == 1;

    (void)dialect;
    if (root && !named)
        http_fault_answer(fault, answer, "a list messageIds of one");
    json_decref(root);
    return named ? 0 : -1;
}

/* A request of 10 MB or more, a key or an attribute beyond the bounds of cloud.google.com/pubsub/quotas: "The
 * value for request_size is too large. You passed ..." or "Request payload size exceeds the limit: ...". */
static bool pubsub_refuses(const struct http_answer *answer)
{
    json_t *root = answer->status == 400 ? json_read(answer) : NULL, *error = json_object_get(root, "error");
    const char *status = json_string_value(json_object_get(error, "status"));
    const char *message = json_string_value(json_object_get(error, "message"));
    bool refuses = status && message && !strcmp(status, "INVALID_ARGUMENT") &&
                   (strstr(message, "too large") || strstr(message, "exceeds the limit"));

    json_decref(root);
    return refuses;
}

/* ---- looking at the topic ---- */

#define MAY_PUBLISH "pubsub.topics.publish"

enum look { LOOK_PERMISSION, LOOK_TOPIC };

/* Whether the account may publish, which every account may ask; of an emulator, which knows no permissions,
 * whether the topic is there. */
static int pubsub_look(void *dialect, const char *destination, unsigned step,
                       struct http_request *ret_request, struct http_fault *fault)
{
    char *url = url_of_topic(dialect, destination, fault);
    int failed;

    if (!url)
        return -1;
    if (step == LOOK_PERMISSION) {
        failed = http_request_url(ret_request, "%s:testIamPermissions", url) ||
                 http_request_json(ret_request,
                                   json_write(json_pack("{s[s]}", "permissions", MAY_PUBLISH)));
    } else {
        ret_request->method = "GET";
        failed = http_request_url(ret_request, "%s", url);
    }
    free(url);
    return failed ? http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request") : 0;
}

static int found_permission(const struct http_answer *answer, const char *topic,
                            struct http_fault *fault, char ret_found[HTTP_TEXT])
{
    json_t *root = pubsub_read(answer, fault), *permissions = json_object_get(root, "permissions");
    const char *first = json_string_value(json_array_get(permissions, 0));
    bool may = first && !strcmp(first, MAY_PUBLISH);

    if (!root)
        return -1;
    json_decref(root);
    if (!may)
        return http_fault(fault, SLUICE_STATE_MISSING,
                          "topic %.255s does not exist, or the account may not publish to it: check "
                          "pubsub.project and pubsub.topic, or grant it the role Pub/Sub Publisher",
                          topic);
    snprintf(ret_found, HTTP_TEXT, "topic %.255s may be published to", topic);
    return 0;
}

static int pubsub_looked(void *dialect, const char *destination, unsigned step,
                         const struct http_answer *answer, struct http_fault *fault,
                         char ret_found[HTTP_TEXT])
{
    const struct pubsub *pubsub = dialect;
    const char *topic = destination && strcmp(destination, pubsub->source) != 0
                            ? destination
                        : pubsub->topic ? strrchr(pubsub->topic, '/') + 1
                                        : pubsub->source;
    long status = answer->status;

    if (step == LOOK_PERMISSION && status / 100 == 2)
        return found_permission(answer, topic, fault, ret_found);
    if (step == LOOK_PERMISSION)
        return status == 404 || status == 405 || status == 501 || status == 400 ? 1 : -1;
    if (status / 100 == 2) {
        snprintf(ret_found, HTTP_TEXT, "topic %.255s is there", topic);
        return 0;
    }
    if (status == 404)
        http_fault(fault, SLUICE_STATE_MISSING,
                   "topic %.255s does not exist: create it, or correct pubsub.project and pubsub.topic",
                   topic);
    return -1;
}

const struct http_dialect pubsub_dialect = {
    .name = "pubsub",
    .open = pubsub_open,
    .close = pubsub_close,
    .authorise = pubsub_authorise,
    .authorised = pubsub_authorised,
    .forget = pubsub_forget,
    .sign = pubsub_sign,
    .receive = pubsub_receive,
    .received = pubsub_received,
    .settle = pubsub_settle,
    .settled = pubsub_settled,
    .publish = pubsub_publish,
    .published = pubsub_published,
    .refuses = pubsub_refuses,
    .look = pubsub_look,
    .looked = pubsub_looked,
    .peek = pubsub_peek,
    .costs = pubsub_costs,
    .costed = pubsub_costed,
    .explain = pubsub_explain,
};
