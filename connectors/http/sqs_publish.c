/* SPDX-License-Identifier: MIT
 * Publishing to SQS. Headers become attributes, of which SQS has at most 10, with names of few letters and
 * texts that are not empty; where they are more than that, one attribute has all of them (SQS_HEADERS). An empty
 * payload, which SQS refuses, is told by an attribute too (SQS_EMPTY). */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "base64.h"
#include "json_read.h"
#include "sqs.h"

#define PUBLISHED_MOST 10
#define GROUP_MOST      128
#define GROUP           "sluice" /* of messages without a key: they stay in the order of publishing */
#define HEX             65
#define TYPE_MOST       64

/* ---- what may be where ---- */

/* The characters that SQS takes: #x9, #xA, #xD, #x20 to #xD7FF, #xE000 to #xFFFD, #x10000 to #x10FFFF. Only
 * for what is UTF-8. */
static bool has_its_characters(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < 0x20 && c != '\t' && c != '\n' && c != '\r')
            return false;
        if (c == 0xef && size - i > 2 && (unsigned char)text[i + 1] == 0xbf &&
            (unsigned char)text[i + 2] >= 0xbe)
            return false;
    }
    return true;
}

/* The bytes as a JSON string, if SQS takes them as text; NULL if not. */
static json_t *as_text(const struct sluice_bytes *bytes)
{
    return bytes->size && has_its_characters(bytes->data, bytes->size)
               ? json_stringn(bytes->data, bytes->size)
               : NULL;
}

/* Letters, digits, _ - and points that neither begin, end nor repeat; not what AWS keeps to itself. */
static bool is_name(const struct sluice_bytes *name)
{
    const char *text = name->data;

    if (!name->size || name->size > 256 || text[0] == '.' || text[name->size - 1] == '.' ||
        (name->size >= 4 && !strncasecmp(text, "AWS.", 4)) ||
        (name->size >= 7 && !strncasecmp(text, "Amazon.", 7)))
        return false;
    for (size_t i = 0; i < name->size; i++)
        if (!(isalnum((unsigned char)text[i]) || text[i] == '_' || text[i] == '-' ||
              (text[i] == '.' && text[i + 1] != '.')))
            return false;
    return true;
}

static bool is_own(const struct sluice_bytes *name)
{
    return name->size >= strlen(SQS_OWN) && !memcmp(name->data, SQS_OWN, strlen(SQS_OWN));
}

static bool equals(const struct sluice_bytes *bytes, const char *text)
{
    return bytes->size == strlen(text) && !memcmp(bytes->data, text, bytes->size);
}

/* ---- attributes ---- */

static json_t *base64_of(const struct sluice_bytes *bytes)
{
    char *text = malloc(BASE64_ROOM(bytes->size));
    json_t *string = NULL;

    if (text) {
        base64_encode(bytes->data ? bytes->data : "", bytes->size, text, 0);
        string = json_string(text);
    }
    free(text);
    return string;
}

/* An attribute of the type that its header had where it came from SQS, else String or Binary; NULL where
 * it cannot be one. */
static json_t *attribute_of(const struct sluice_bytes *value, const struct sluice_bytes *type)
{
    bool known = type && type->size >= 6 && type->size <= TYPE_MOST;
    bool is_number = known && !memcmp(type->data, "Number", 6);
    bool is_binary = known && !memcmp(type->data, "Binary", 6);
    json_t *text = is_binary ? NULL : as_text(value), *name;

    if (!value->size)
        return NULL;
    known = known && (text ? is_number || !memcmp(type->data, "String", 6) : is_binary);
    name = known ? json_stringn(type->data, type->size) : json_string(text ? "String" : "Binary");
    return text ? json_pack("{so so}", "DataType", name, "StringValue", text)
                : json_pack("{so so}", "DataType", name, "BinaryValue", base64_of(value));
}

/* The header behind this one, where it says its type. */
static const struct sluice_bytes *type_of(const struct sluice_publication *publication, size_t index)
{
    const struct sluice_header *next = &publication->headers[index + 1];

    return index + 1 < publication->header_count && equals(&next->name, SQS_OWN "dataType") ? &next->value : NULL;
}

static int pack_header(json_t *list, const struct sluice_header *header)
{
    json_t *name = json_stringn(header->name.data, header->name.size), *value = NULL;

    if (!name)
        return -1; /* no UTF-8 */
    if (!header->value.data)
        value = json_null();
    else
        value = json_stringn(header->value.data, header->value.size);
    if (!value)
        value = json_pack("{so}", "base64", base64_of(&header->value));
    return json_array_append_new(list, json_pack("[oo]", name, value));
}

/* All headers in one attribute. The JSON is ASCII, so that it has SQS's characters only. */
static int pack_headers(json_t *attributes, const struct sluice_publication *publication)
{
    json_t *list = json_array();
    char *text = NULL;
    int status = 0;

    for (size_t i = 0; i < publication->header_count && !status; i++)
        if (!is_own(&publication->headers[i].name))
            status = pack_header(list, &publication->headers[i]);
    if (!status)
        text = json_dumps(list, JSON_COMPACT | JSON_ENSURE_ASCII);
    status = !text || json_object_set_new(attributes, SQS_HEADERS,
                                          json_pack("{ss ss}", "DataType", "String", "StringValue", text));
    free(text);
    json_decref(list);
    return status ? -1 : 0;
}

/* NULL with a fault. At most `room` of them. */
static json_t *write_attributes(const struct sluice_publication *publication, size_t room,
                                struct http_fault *fault)
{
    json_t *attributes = json_object(), *attribute;
    bool whole = true;
    int status = attributes ? 0 : -1;

    for (size_t i = 0; i < publication->header_count && !status; i++) {
        const struct sluice_header *header = &publication->headers[i];
        char name[257];

        if (is_own(&header->name))
            continue;
        attribute = is_name(&header->name) && json_object_size(attributes) < room
                        ? attribute_of(&header->value, type_of(publication, i))
                        : NULL;
        if (attribute) {
            memcpy(name, header->name.data, header->name.size);
            name[header->name.size] = '\0';
        }
        if (!attribute || json_object_get(attributes, name)) {
            json_decref(attribute);
            whole = false;
        } else {
            status = json_object_set_new(attributes, name, attribute);
        }
    }
    if (!whole && !status) {
        while (json_object_size(attributes) >= room) /* the others are for people only */
            json_object_del(attributes, json_object_iter_key(json_object_iter(attributes)));
        status = pack_headers(attributes, publication);
    }
    if (!status)
        return attributes;
    json_decref(attributes);
    http_fault(fault, SLUICE_STATE_FAILED, "no memory for its attributes, or a header's name is not UTF-8");
    return NULL;
}

/* ---- FIFO queues ---- */

static bool is_group(const struct sluice_bytes *key)
{
    const char *text = key->data;

    if (!key->size || key->size > GROUP_MOST)
        return false;
    for (size_t i = 0; i < key->size; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return true;
}

static void digest_bytes(EVP_MD_CTX *context, const struct sluice_bytes *bytes)
{
    EVP_DigestUpdate(context, &bytes->size, sizeof bytes->size);
    EVP_DigestUpdate(context, bytes->data ? bytes->data : "", bytes->size);
}

static void finish_digest(EVP_MD_CTX *context, char ret[HEX])
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};

    EVP_DigestFinal_ex(context, digest, NULL);
    for (int i = 0; i < 32; i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

/* The same for a message that is published again because an answer was lost, and for no other. */
static int name_message(const struct sluice_publication *publication, char ret_id[HEX], char ret_group[HEX])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        return -1;
    }
    digest_bytes(context, &publication->key);
    digest_bytes(context, &publication->payload);
    for (size_t i = 0; i < publication->header_count; i++) {
        digest_bytes(context, &publication->headers[i].name);
        digest_bytes(context, &publication->headers[i].value);
    }
    finish_digest(context, ret_id);
    EVP_DigestInit_ex(context, EVP_sha256(), NULL);
    digest_bytes(context, &publication->key);
    finish_digest(context, ret_group);
    EVP_MD_CTX_free(context);
    return 0;
}

/* Adds MessageGroupId, by which order is kept, and MessageDeduplicationId. */
static int add_group(json_t *message, const struct sluice_publication *publication)
{
    char id[HEX], group[HEX];
    json_t *name;

    if (name_message(publication, id, group))
        return -1;
    name = is_group(&publication->key) ? json_stringn(publication->key.data, publication->key.size)
           : publication->key.data     ? json_string(group)
                                       : json_string(GROUP);
    return json_object_set_new(message, "MessageGroupId", name) ||
                   json_object_set_new(message, "MessageDeduplicationId", json_string(id))
               ? -1
               : 0;
}

/* ---- a message ---- */

char *sqs_url_of(const struct sqs *sqs, const char *destination, struct http_fault *fault)
{
    const char *name = strrchr(sqs->url, '/') + 1;
    char *url;

    if (!destination || !strcmp(destination, sqs->url) || !strcmp(destination, name)) {
        url = strdup(sqs->url);
    } else if (strpbrk(destination, "/:?# ")) {
        if (strncmp(destination, sqs->url, (size_t)(name - sqs->url)) != 0) {
            http_fault(fault, SLUICE_STATE_MISSING,
                       "expected the name of a queue beside %.200s, or a URL that begins as its does",
                       sqs->url);
            return NULL;
        }
        url = strdup(destination);
    } else if (asprintf(&url, "%.*s%s", (int)(name - sqs->url), sqs->url, destination) < 0) {
        url = NULL;
    }
    if (!url)
        http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
    return url;
}

/* Attributes that say what the message is beside its body and headers. */
static json_t *write_own_attributes(const struct sluice_publication *publication, bool takes_key)
{
    json_t *attributes = json_object();

    if (takes_key)
        json_object_set_new(attributes, SQS_KEY, attribute_of(&publication->key, NULL));
    if (!publication->payload.size)
        json_object_set_new(attributes, SQS_EMPTY, json_pack("{ss ss}", "DataType", "String", "StringValue", "1"));
    return attributes;
}

static json_t *write_message(const struct sluice_publication *publication, const char *url,
                             struct http_fault *fault)
{
    size_t size = strlen(url);
    bool is_fifo = size > 5 && !strcmp(url + size - 5, ".fifo");
    bool takes_key = publication->key.size && !(is_fifo && is_group(&publication->key));
    json_t *body = publication->payload.size ? as_text(&publication->payload) : json_string(SQS_EMPTY_BODY);
    json_t *attributes, *own, *message;

    if (!body) {
        http_fault(fault, SLUICE_STATE_FAILED,
                   "the payload is not UTF-8, or has control characters, and SQS takes text only");
        return NULL;
    }
    own = write_own_attributes(publication, takes_key);
    attributes = write_attributes(publication, PUBLISHED_MOST - json_object_size(own), fault);
    if (!attributes) {
        json_decref(own);
        json_decref(body);
        return NULL;
    }
    json_object_update(attributes, own);
    json_decref(own);
    message = json_pack("{ss so}", "QueueUrl", url, "MessageBody", body);
    if (json_object_size(attributes))
        json_object_set(message, "MessageAttributes", attributes);
    json_decref(attributes);
    if (message && (!is_fifo || !add_group(message, publication)))
        return message;
    json_decref(message);
    http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
    return NULL;
}

int sqs_publish(void *dialect, const struct sluice_publication *publication,
                struct http_request *ret_request, struct http_fault *fault)
{
    const struct sqs *sqs = dialect;
    char *url = sqs_url_of(sqs, publication->destination, fault);
    json_t *message = url ? write_message(publication, url, fault) : NULL;

    free(url);
    if (!message)
        return -1;
    return sqs_request(sqs, "SendMessage", message, ret_request)
               ? http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request")
               : 0;
}

int sqs_published(void *dialect, const struct http_answer *answer, struct http_fault *fault)
{
    json_t *root = sqs_read(answer, fault);
    bool named = json_is_string(json_object_get(root, "MessageId"));

    (void)dialect;
    if (root && !named)
        http_fault_answer(fault, answer, "a MessageId");
    json_decref(root);
    return named ? 0 : -1;
}

/* ---- looking at the queue ---- */

int sqs_look(void *dialect, const char *destination, unsigned step, struct http_request *ret_request,
             struct http_fault *fault)
{
    const struct sqs *sqs = dialect;
    char *url = sqs_url_of(sqs, destination, fault);
    int failed;

    (void)step;
    if (!url)
        return -1;
    failed = sqs_request(sqs, "GetQueueAttributes",
                         json_pack("{ss s[s]}", "QueueUrl", url, "AttributeNames", "QueueArn"),
                         ret_request);
    free(url);
    return failed ? http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request") : 0;
}

bool sqs_may_not(const struct http_answer *answer)
{
    json_t *root = json_read(answer);
    const char *type = json_string_value(json_object_get(root, "__type"));
    bool denied = type && strstr(type, "AccessDenied") != NULL;

    json_decref(root);
    return denied;
}

int sqs_looked(void *dialect, const char *destination, unsigned step, const struct http_answer *answer,
               struct http_fault *fault, char ret_found[HTTP_TEXT])
{
    const struct sqs *sqs = dialect;
    const char *queue = destination ? destination : sqs->url;
    json_t *root;

    (void)step;
    if (answer->status / 100 != 2) {
        if (!sqs_may_not(answer)) /* who may only send may not look: that is no mistake */
            return -1;
        snprintf(ret_found, HTTP_TEXT,
                 "SQS knows the credentials; that queue %.300s is there and takes messages cannot be told "
                 "without publishing, as they do not allow sqs:GetQueueAttributes",
                 queue);
        return 0;
    }
    root = sqs_read(answer, fault);
    if (!root)
        return -1;
    json_decref(root);
    snprintf(ret_found, HTTP_TEXT,
             "queue %.300s is there; that sqs:SendMessage is allowed cannot be told without publishing",
             queue);
    return 0;
}
