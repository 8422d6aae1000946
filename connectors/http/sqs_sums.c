/* SPDX-License-Identifier: MIT
 * SQS tells the MD5 of what it was sent: of a body, and of all attributes. */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "base64.h"
#include "sqs.h"

bool sqs_is_binary(json_t *attribute)
{
    const char *type = json_string_value(json_object_get(attribute, "DataType"));

    return type && !strncmp(type, "Binary", 6);
}

static void digest_text(EVP_MD_CTX *context, const void *text, size_t size)
{
    unsigned char length[4] = {(unsigned char)(size >> 24), (unsigned char)(size >> 16),
                               (unsigned char)(size >> 8), (unsigned char)size};

    EVP_DigestUpdate(context, length, sizeof length);
    EVP_DigestUpdate(context, text, size);
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* As "Calculating the MD5 message digest for message attributes" in the developer guide has it. -1: the
 * library has no MD5, or a value cannot be read. */
static int md5_of_attributes(json_t *attributes, char ret[HASHES_MD5_HEX])
{
    const char *names[SQS_ATTRIBUTES_MOST], *name;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t count = 0;
    int status = context && EVP_DigestInit_ex(context, EVP_md5(), NULL) == 1 ? 0 : -1;
    json_t *attribute;

    json_object_foreach(attributes, name, attribute)
        if (count < SQS_ATTRIBUTES_MOST)
            names[count++] = name;
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count && !status; i++) {
        json_t *type, *value;
        size_t size;
        void *bytes;

        attribute = json_object_get(attributes, names[i]);
        type = json_object_get(attribute, "DataType");
        value = json_object_get(attribute, sqs_is_binary(attribute) ? "BinaryValue" : "StringValue");
        digest_text(context, names[i], strlen(names[i]));
        digest_text(context, json_string_value(type), json_string_length(type));
        EVP_DigestUpdate(context, sqs_is_binary(attribute) ? "\2" : "\1", 1);
        if (!sqs_is_binary(attribute)) {
            digest_text(context, json_string_value(value), json_string_length(value));
            continue;
        }
        bytes = base64_decode(json_string_value(value), json_string_length(value), &size);
        if (bytes)
            digest_text(context, bytes, size);
        else
            status = -1;
        free(bytes);
    }
    if (!status && EVP_DigestFinal_ex(context, digest, NULL) == 1)
        hashes_hex(digest, MD5_SIZE, ret);
    else
        status = -1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return status;
}

static int differ(struct http_fault *fault, struct sluice_bytes id, const char *what)
{
    return http_fault(fault, SLUICE_STATE_FAILED,
                      "message %.80s has other %s than its MD5 says: it was changed on its way, by a proxy "
                      "or memory that fails; it is received again when its lease ends",
                      (const char *)id.data, what);
}

int sqs_sums_attributes(json_t *attributes, struct json_slice sum, struct sluice_bytes id,
                        struct http_fault *fault)
{
    char found[HASHES_MD5_HEX];

    if (json_object_size(attributes) && !md5_of_attributes(attributes, found) && !json_slice_is(sum, found))
        return differ(fault, id, "attributes");
    return 0;
}

void sqs_sums_add(struct sqs_sums *sums, struct sluice_bytes id, struct sluice_bytes body, struct json_slice sum)
{
    sums->bodies[sums->count] = (struct md5_text){body.data, body.size};
    sums->ids[sums->count] = id;
    sums->sums[sums->count++] = sum;
}

int sqs_sums_check(const struct sqs *sqs, struct sqs_sums *sums, struct http_fault *fault)
{
    char found[MD5_MANY_MOST][HASHES_MD5_HEX];
    size_t count = sums->count;

    sums->count = 0;
    if (hashes_md5_many(sqs->hashes, sums->bodies, count, found))
        return 0;
    for (size_t i = 0; i < count; i++)
        if (!json_slice_is(sums->sums[i], found[i]))
            return differ(fault, sums->ids[i], "bytes");
    return 0;
}
